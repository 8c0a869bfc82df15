//! The two versions of the session list, lists that turn out to be paged, and single records.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use uuid::Uuid;

use crate::api::{Detail, LiveQuery};
use crate::clock::{Clock as _, FakeClock};
use crate::data::{ColumnGroup, Learned, Resource, SessionVersion, Source as _, SourceError};

use super::server::{Reply, Seen, Server};
use super::{client, client_on, first_page, server_time};

const EMPTY: &str = r#"{"items":[],"totalItems":0,"hasMorePages":false}"#;
const V1: &str = "/chat/v1/session";
const V2: &str = "/chat/v2/session";
const TAGS: &str = "/core/v1/tag";

/// Answers each of the three paths with a status; a success is empty.
async fn statuses(v1: u16, v2: u16, tags: u16) -> Server {
    Server::start(move |_, seen| match seen.path.as_str() {
        V1 => Reply::json(v1, EMPTY),
        V2 => Reply::json(v2, EMPTY),
        TAGS => Reply::json(tags, if tags == 200 { "[]" } else { "{}" }),
        other => panic!("{other}"),
    })
    .await
}

/// The status of each path can be changed while it answers.
async fn changing(status: impl Fn(usize, &str) -> u16 + Send + Sync + 'static) -> Server {
    Server::start(move |number, seen| {
        let status = status(number, &seen.path);
        let body = if seen.path == TAGS { "[]" } else { EMPTY };
        Reply::json(status, if status == 200 { body } else { "{}" })
    })
    .await
}

#[tokio::test]
async fn the_second_version_is_read_as_long_as_it_answers() {
    let server = statuses(500, 200, 500).await;
    let (client, _clock) = client(&server, None);
    for _ in 0..2 {
        let page = client.page(&first_page(Resource::Sessions)).await.unwrap();
        assert_eq!(page.unknown, ColumnGroup::NONE);
    }
    assert_eq!(client.session_version(), SessionVersion::Second);
    assert_eq!(server.paths(), [V2, V2]);
}

#[tokio::test]
async fn a_second_version_that_is_gone_is_noticed_once() {
    for status in [401, 404, 410] {
        let server = statuses(200, status, 200).await;
        let (client, _clock) = client(&server, None);
        // So that a 401 is not about how the token is sent.
        client.list(Resource::Tags).await.unwrap();
        for _ in 0..3 {
            let page = client.page(&first_page(Resource::Sessions)).await.unwrap();
            assert_eq!(page.unknown, ColumnGroup::SESSION_TYPE);
        }
        assert_eq!(client.session_version(), SessionVersion::First);
        // Asked once more before it is left.
        assert_eq!(server.paths()[1..], [V2, V1, V2, V1, V1]);
    }
}

#[tokio::test]
async fn a_second_version_behind_a_page_of_html_is_left_when_it_stays_so() {
    let server = Server::start(|_, seen| match seen.path.as_str() {
        V2 => Reply::json(404, "<html>"),
        _ => Reply::json(200, EMPTY),
    })
    .await;
    let (client, _clock) = client(&server, None);
    client.page(&first_page(Resource::Sessions)).await.unwrap();
    assert_eq!(client.session_version(), SessionVersion::First);
}

#[tokio::test]
async fn a_refusal_that_passes_by_does_not_move_an_account_to_the_other_version() {
    for status in [401, 404] {
        // For three seconds.
        let clock = Arc::new(FakeClock::at(server_time()));
        let told = Arc::clone(&clock);
        let server = changing(move |_, path| {
            let is_away = path == V2 && told.running() < Duration::from_secs(3);
            if is_away { status } else { 200 }
        })
        .await;
        let client = client_on(&server, None, &clock);
        client.list(Resource::Tags).await.unwrap();
        let page = client.page(&first_page(Resource::Sessions)).await.unwrap();
        assert_eq!(page.unknown, ColumnGroup::NONE);
        assert_eq!(client.session_version(), SessionVersion::Second);
        assert_eq!(server.paths()[1..], [V2, V1, V2]);
    }
}

#[tokio::test]
async fn a_first_version_that_is_withdrawn_leads_back_to_the_second() {
    let server = changing(|number, path| match path {
        V2 if number < 6 => 404,
        V1 if number >= 6 => 410,
        _ => 200,
    })
    .await;
    let (client, _clock) = client(&server, None);
    client.list(Resource::Tags).await.unwrap();
    for _ in 0..3 {
        let page = client.page(&first_page(Resource::Sessions)).await.unwrap();
        assert_eq!(page.unknown, ColumnGroup::SESSION_TYPE);
    }
    for _ in 0..2 {
        let page = client.page(&first_page(Resource::Sessions)).await.unwrap();
        assert_eq!(page.unknown, ColumnGroup::NONE);
    }
    assert_eq!(client.session_version(), SessionVersion::Second);
    assert_eq!(server.paths()[1..], [V2, V1, V2, V1, V1, V1, V2, V2]);
}

/// Answers v2 but while this is so.
async fn away(is_away: &Arc<AtomicBool>) -> Server {
    let is_away = Arc::clone(is_away);
    changing(move |_, path| {
        if path == V2 && is_away.load(Ordering::SeqCst) {
            404
        } else {
            200
        }
    })
    .await
}

#[tokio::test]
async fn a_second_version_that_was_left_is_asked_again_every_hour() {
    let is_away = Arc::new(AtomicBool::new(true));
    let server = away(&is_away).await;
    let (client, clock) = client(&server, None);
    let ask = async || {
        client.page(&first_page(Resource::Sessions)).await.unwrap();
        client.session_version()
    };
    assert_eq!(ask().await, SessionVersion::First);
    for _ in 0..2 {
        clock.advance(Duration::from_mins(59));
        assert_eq!(ask().await, SessionVersion::First);
        clock.advance(Duration::from_mins(2));
        assert_eq!(ask().await, SessionVersion::First);
    }
    is_away.store(false, Ordering::SeqCst);
    clock.advance(Duration::from_hours(1));
    for _ in 0..2 {
        assert_eq!(ask().await, SessionVersion::Second);
    }
    let asked = [V2, V1, V2];
    let hours = [V1, V2, V1, V1, V2, V1];
    assert_eq!(
        server.paths(),
        [&asked[..], &hours[..], &[V2, V2][..]].concat()
    );
}

#[tokio::test]
async fn a_process_that_begins_with_the_first_version_asks_the_second_one_first() {
    let is_away = Arc::new(AtomicBool::new(true));
    let server = away(&is_away).await;
    let learned = Learned {
        session_list: Some(SessionVersion::First),
        ..Learned::default()
    };
    for (away, version, paths) in [
        (true, SessionVersion::First, &[V2, V1, V1][..]),
        (false, SessionVersion::Second, &[V2, V2][..]),
    ] {
        is_away.store(away, Ordering::SeqCst);
        let (client, _clock) = client(&server, None);
        let before = server.paths().len();
        client.remember(&learned);
        client.page(&first_page(Resource::Sessions)).await.unwrap();
        assert_eq!(client.session_version(), version);
        if away {
            // As at the beginning of the next lease.
            client.remember(&learned);
        }
        client.page(&first_page(Resource::Sessions)).await.unwrap();
        assert_eq!(server.paths()[before..], *paths);
    }
    // One that is pinned is read and no other.
    let (client, clock) = client(&server, None);
    client.pin_session_version(SessionVersion::First);
    let before = server.paths().len();
    for _ in 0..2 {
        client.remember(&learned);
        client.page(&first_page(Resource::Sessions)).await.unwrap();
        clock.advance(Duration::from_hours(2));
    }
    assert_eq!(server.paths()[before..], [V1, V1]);
    assert_eq!(client.learned(), learned);
}

#[tokio::test]
async fn concurrent_pages_notice_it_together() {
    let server = statuses(200, 404, 200).await;
    let (client, _clock) = client(&server, None);
    let query = first_page(Resource::Sessions);
    let pages = futures::future::join_all((0..4).map(|_| client.page(&query))).await;
    assert!(pages.iter().all(Result::is_ok));
    let paths = server.paths();
    assert_eq!(paths.iter().filter(|path| *path == V1).count(), 4);
    assert!(paths.len() <= 9, "{paths:?}");
}

#[tokio::test]
async fn a_token_that_may_not_read_sessions_is_refused_and_changes_nothing() {
    for (tags, note) in [
        (200, "this token may not read sessions"),
        (401, "the token is not valid"),
    ] {
        let server = statuses(401, 401, tags).await;
        let (client, _clock) = client(&server, None);
        let error = client.page(&first_page(Resource::Sessions)).await;
        let error = error.unwrap_err();
        assert!(matches!(error, SourceError::Refused { status: 401, .. }));
        assert!(error.to_string().contains(note), "{error}");
        assert_eq!(client.session_version(), SessionVersion::Second);
        // Twice the first time: a 401 may be about how the token is sent.
        assert_eq!(server.paths(), [V2, V2, V1, TAGS]);
    }
    let server = statuses(401, 404, 200).await;
    let (client, _clock) = client(&server, None);
    let error = client.page(&first_page(Resource::Sessions)).await;
    assert!(matches!(error, Err(SourceError::Refused { .. })));
}

#[tokio::test]
async fn a_first_version_in_trouble_proves_nothing() {
    let server = statuses(503, 404, 200).await;
    let (client, _clock) = client(&server, None);
    let error = client.page(&first_page(Resource::Sessions)).await;
    assert!(matches!(error, Err(SourceError::Unavailable { .. })));
    assert_eq!(client.session_version(), SessionVersion::Second);
}

#[tokio::test]
async fn a_question_by_type_goes_to_the_version_that_knows_types() {
    let server = statuses(200, 404, 200).await;
    let (client, _clock) = client(&server, None);
    let mut query = LiveQuery {
        number: 1,
        size: 10,
        ..LiveQuery::default()
    };
    query.filter.kind = Some("GROUP".to_owned());
    query.details = vec![Detail::Contact];
    // Elsewhere the filter would be ignored, and everything shown.
    let error = client.sessions(&query).await;
    assert!(matches!(error, Err(SourceError::NotFound { .. })));
    assert_eq!(client.session_version(), SessionVersion::Second);
    assert_eq!(server.paths(), [V2]);
    let server = statuses(200, 200, 200).await;
    let (client, _clock) = super::client(&server, None);
    let page = client.sessions(&query).await.unwrap();
    assert!(!page.unknown.contains(ColumnGroup::SESSION_TYPE));
    assert!(!page.unknown.contains(ColumnGroup::CONTACT));
    assert!(page.unknown.contains(ColumnGroup::AGENT));
}

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

/// A list of 250 that pages, in the platform's default size unless asked otherwise.
fn paged(seen: &Seen, moved: bool) -> Reply {
    let number = |name: &str, default: usize| {
        seen.query
            .split('&')
            .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
            .unwrap_or(default)
    };
    let (page, size) = (number("PageNumber", 1), number("PageSize", 15));
    let from = ((page - 1) * size).saturating_sub(usize::from(moved && page > 1));
    let items: Vec<String> = (from..250.min(from + size))
        .map(|index| format!(r#"{{"id":"{}"}}"#, id(index as u128 + 1)))
        .collect();
    let body = format!(
        r#"{{"items":[{}],"totalItems":250,"hasMorePages":{}}}"#,
        items.join(","),
        page * size < 250
    );
    Reply::json(200, &body)
}

#[tokio::test]
async fn a_list_is_an_array_or_pages() {
    let server = Server::start(|_, seen| {
        if seen.path == TAGS {
            paged(seen, false)
        } else {
            Reply::json(200, r#"[{"id":1},{"id":2}]"#)
        }
    })
    .await;
    let (client, _clock) = client(&server, None);
    let tags = client.list(Resource::Tags).await.unwrap();
    assert_eq!(tags.items.len(), 250);
    assert_eq!((tags.total, tags.has_more), (Some(250), false));
    for (item, number) in tags.items.iter().zip(1..) {
        assert_eq!(tags.raw(item), format!(r#"{{"id":"{}"}}"#, id(number)));
    }
    assert_eq!(client.usage().requests, 4);
    for list in [Resource::Channels, Resource::Departments, Resource::Agents] {
        let page = client.list(list).await.unwrap();
        assert_eq!((page.items.len(), page.total), (2, Some(2)));
    }
    let paths = server.paths();
    assert_eq!(
        paths[4..],
        ["/chat/v1/channel", "/core/v2/department", "/core/v1/agent"]
    );
    assert!(server.seen()[4..].iter().all(|seen| seen.query.is_empty()));
}

#[tokio::test]
async fn a_list_that_moves_while_it_is_read_is_read_again_and_never_half_believed() {
    let server = Server::start(|number, seen| paged(seen, number < 4)).await;
    let (client, _clock) = client(&server, None);
    let tags = client.list(Resource::Tags).await.unwrap();
    assert_eq!(tags.items.len(), 250);
    let server = Server::start(|_, seen| paged(seen, true)).await;
    let (client, _clock) = super::client(&server, Some(Duration::from_secs(1)));
    let error = client.list(Resource::Tags).await.unwrap_err();
    assert!(matches!(error, SourceError::Malformed { .. }), "{error}");
}

#[tokio::test]
async fn one_record_is_a_page_of_one_and_a_missing_one_a_page_of_none() {
    let server = Server::start(|_, seen| match seen.path.rsplit_once('/').unwrap() {
        (V2 | "/core/v1/contact", last) if last.ends_with('1') => {
            Reply::json(200, &format!(r#"{{"id":"{last}"}}"#))
        }
        (V2, last) if last.ends_with('2') => Reply::json(404, "{}"),
        (V2, last) if last.ends_with('3') => Reply::json(404, "<html>"),
        (V2, _) => Reply::json(401, "{}"),
        ("/core/v1", "agent") => Reply::json(
            200,
            &format!(
                r#"[{{"id":"{}","userId":"{}"}},17,{{"id":"{}","userId":null}}]"#,
                id(1),
                id(2),
                id(3)
            ),
        ),
        other => panic!("{other:?}"),
    })
    .await;
    let (client, _clock) = client(&server, None);
    let page = client.by_id(Resource::Sessions, id(1)).await.unwrap();
    assert_eq!(page.items[0].head.id, Some(id(1)));
    assert_eq!(page.unknown, ColumnGroup::NONE);
    assert!(server.seen()[0].query.starts_with("includeDetails=Agent"));
    let page = client.by_id(Resource::Sessions, id(2)).await.unwrap();
    assert_eq!((page.items.len(), page.server_time), (0, server_time()));
    let error = client.by_id(Resource::Sessions, id(3)).await;
    assert!(matches!(error, Err(SourceError::NotFound { .. })));
    let error = client.by_id(Resource::Sessions, id(4)).await;
    assert!(matches!(error, Err(SourceError::Refused { .. })));
    let page = client.by_id(Resource::Contacts, id(1)).await.unwrap();
    assert_eq!(page.items.len(), 1);
    // Agents by either of their ids.
    for (number, found) in [(1, 1), (2, 1), (3, 1), (4, 0)] {
        let page = client.by_id(Resource::Agents, id(number)).await.unwrap();
        assert_eq!(page.items.len(), found, "{number}");
    }
}
