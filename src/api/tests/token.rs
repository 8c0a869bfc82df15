//! How the token is sent: with the word `Bearer`, and where that is refused, without.

use std::time::Duration;

use crate::data::{Resource, Source as _, SourceError};

use super::server::{Reply, Seen, Server};
use super::{TOKEN, client, first_page};

const EMPTY: &str = r#"{"items":[],"totalItems":0,"hasMorePages":false}"#;
const REFUSED: &str = r#"{"error":true,"key":"ERROR_UNAUTHORIZED","httpStatusCode":401}"#;

/// The value of the header by which a request says who asks.
fn sent(seen: &Seen) -> String {
    let line = seen.head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("authorization").then_some(value)
    });
    line.unwrap().to_owned()
}

/// What was sent to a server, request by request: `b` for bare, `B` for `Bearer`.
fn schemes(server: &Server) -> String {
    let (bare, bearer) = (TOKEN.to_owned(), format!("Bearer {TOKEN}"));
    let scheme = |seen: &Seen| match sent(seen) {
        value if value == bare => 'b',
        value if value == bearer => 'B',
        other => panic!("{other}"),
    };
    server.seen().iter().map(scheme).collect()
}

/// Accepts what is sent so.
async fn accepting(bare: bool) -> Server {
    Server::start(move |_, seen| {
        if (sent(seen) == TOKEN) == bare {
            Reply::json(200, EMPTY)
        } else {
            Reply::json(401, REFUSED)
        }
    })
    .await
}

#[tokio::test]
async fn a_token_that_is_refused_is_tried_bare_and_what_works_is_kept() {
    let server = accepting(true).await;
    let (client, _clock) = client(&server, None);
    for _ in 0..3 {
        client.page(&first_page(Resource::Contacts)).await.unwrap();
    }
    assert_eq!(schemes(&server), "Bbbb");
    assert_eq!(client.usage().requests, 4);
    assert_eq!(client.usage().retries, 1);
}

#[tokio::test]
async fn a_token_that_is_refused_either_way_is_tried_bare_once() {
    let server = Server::start(|_, _| Reply::json(401, REFUSED)).await;
    let (client, _clock) = client(&server, None);
    for _ in 0..3 {
        let error = client.page(&first_page(Resource::Contacts)).await;
        let error = error.unwrap_err();
        assert!(matches!(error, SourceError::Refused { status: 401, .. }));
        assert!(!format!("{error:?}").contains(TOKEN), "{error:?}");
    }
    assert_eq!(schemes(&server), "BbBB");
}

#[tokio::test]
async fn a_token_that_was_refused_either_way_is_tried_bare_again_after_an_hour() {
    // Renewed after three requests, and accepted bare alone.
    let server = Server::start(|number, seen| {
        if number > 3 && sent(seen) == TOKEN {
            Reply::json(200, EMPTY)
        } else {
            Reply::json(401, REFUSED)
        }
    })
    .await;
    let (client, clock) = client(&server, None);
    let query = first_page(Resource::Contacts);
    client.page(&query).await.unwrap_err();
    clock.advance(Duration::from_mins(59));
    client.page(&query).await.unwrap_err();
    clock.advance(Duration::from_mins(2));
    client.page(&query).await.unwrap();
    assert_eq!(schemes(&server), "BbBBb");
}

#[tokio::test]
async fn a_token_that_was_accepted_is_not_tried_bare() {
    let server = Server::start(|number, _| match number {
        0 => Reply::json(200, EMPTY),
        _ => Reply::json(401, REFUSED),
    })
    .await;
    let (client, _clock) = client(&server, None);
    let query = first_page(Resource::Contacts);
    client.page(&query).await.unwrap();
    client.page(&query).await.unwrap_err();
    assert_eq!(schemes(&server), "BB");
}

#[tokio::test]
async fn neither_a_403_nor_a_firewall_nor_a_missing_path_is_about_how_the_token_is_sent() {
    let gone = r#"{"httpStatusCode":404}"#;
    for (status, body) in [(403, REFUSED), (401, "<html>"), (401, gone), (404, "{}")] {
        let server = Server::start(move |_, _| Reply::json(status, body)).await;
        let (client, _clock) = client(&server, None);
        client
            .page(&first_page(Resource::Contacts))
            .await
            .unwrap_err();
        assert!(!schemes(&server).contains('b'), "{status} {body}");
    }
}

#[tokio::test]
async fn a_trial_that_fails_for_another_reason_proves_nothing_and_is_made_again() {
    let server = Server::start(|number, seen| match (number, sent(seen) == TOKEN) {
        (_, false) => Reply::json(401, REFUSED),
        (1, true) => Reply::json(503, ""),
        (_, true) => Reply::json(200, EMPTY),
    })
    .await;
    let (client, _clock) = client(&server, None);
    let query = first_page(Resource::Contacts);
    let error = client.page(&query).await.unwrap_err();
    assert!(matches!(error, SourceError::Refused { .. }), "{error}");
    client.page(&query).await.unwrap();
    assert_eq!(schemes(&server), "BbBb");
}

#[tokio::test]
async fn requests_that_are_refused_together_make_one_trial() {
    for bare in [true, false] {
        let server = Server::start(move |_, seen| {
            if sent(seen) == TOKEN && bare {
                Reply::json(200, EMPTY)
            } else {
                Reply::json(401, REFUSED)
            }
        })
        .await;
        let (client, _clock) = client(&server, None);
        let query = first_page(Resource::Contacts);
        let pages = futures::future::join_all((0..4).map(|_| client.page(&query))).await;
        assert!(pages.iter().all(|page| page.is_ok() == bare));
        let trials = schemes(&server).matches('b').count();
        assert_eq!(trials, if bare { 4 } else { 1 });
    }
}
