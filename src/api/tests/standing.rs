//! Whether the platform answers, and since when it does not; and what its `Date` headers say.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use crate::api::{Client, DateHeader};
use crate::clock::Clock as _;
use crate::data::{Resource, Source as _, Standing, Trouble};

use super::server::{Reply, Server};
use super::{DATE, TOKEN, client, first_page, server_time};

const PAGE: &str = r#"{"items":[],"totalItems":0}"#;

/// Answers with a status that can be changed, always with the same words.
async fn answering(status: &Arc<AtomicU16>) -> Server {
    let status = Arc::clone(status);
    Server::start(move |_, _| match status.load(Ordering::SeqCst) {
        200 => Reply::json(200, PAGE),
        0 => Reply::raw(""),
        other => Reply::json(other, &format!(r#"{{"text":"secret {TOKEN}"}}"#)),
    })
    .await
}

async fn ask(client: &Client) {
    let _answer_or_error = client.page(&first_page(Resource::Contacts)).await;
}

fn trouble(client: &Client) -> Trouble {
    match client.standing() {
        Standing::Troubled(trouble) => trouble,
        other @ (Standing::Unknown | Standing::Answering) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn trouble_lasts_from_the_first_failure_to_the_next_answer() {
    let status = Arc::new(AtomicU16::new(503));
    let server = answering(&status).await;
    let (client, clock) = client(&server, Some(Duration::from_secs(45)));
    assert_eq!(client.standing(), Standing::Unknown);
    let begun = clock.now();
    ask(&client).await;
    clock.advance(Duration::from_mins(10));
    let told = trouble(&client);
    assert_eq!(told.since, begun);
    let lasting = clock.now().since(begun);
    assert!(told.lasting.abs_diff(lasting) < Duration::from_millis(1));
    assert_eq!((told.answered_before, told.next_try), (false, None));
    assert_eq!(told.place, server.url());
    // The cause is the latest, the beginning the first.
    for (code, words) in [
        (502, "answers 502"),
        (500, "answers 500"),
        (0, "the connection failed"),
    ] {
        status.store(code, Ordering::SeqCst);
        ask(&client).await;
        let told = trouble(&client);
        assert!(told.cause.starts_with("127.0.0.1:"), "{told:?}");
        assert!(told.cause.contains(words), "{told:?}");
        assert_eq!((told.since, told.unreachable), (begun, code == 0));
        assert!(!told.cause.contains("secret"), "{told:?}");
        assert!(!told.detail.contains(TOKEN), "{told:?}");
    }
    status.store(200, Ordering::SeqCst);
    ask(&client).await;
    assert_eq!(client.standing(), Standing::Answering);
    // A refusal is an answer, too.
    for code in [200, 404, 401] {
        status.store(503, Ordering::SeqCst);
        clock.advance(Duration::from_secs(7));
        let begun = clock.now();
        ask(&client).await;
        assert_eq!(trouble(&client).since, begun);
        status.store(code, Ordering::SeqCst);
        ask(&client).await;
        assert_eq!(client.standing(), Standing::Answering);
    }
    status.store(503, Ordering::SeqCst);
    ask(&client).await;
    assert!(trouble(&client).answered_before);
}

#[tokio::test]
async fn a_429_says_when_the_platform_is_asked_again() {
    let server = Server::start(|_, _| Reply::with(429, "Retry-After: 3000\r\n", "")).await;
    let (client, clock) = client(&server, Some(Duration::from_secs(12)));
    ask(&client).await;
    let told = trouble(&client);
    assert!(
        told.cause.ends_with(" answers 429 (too many requests)"),
        "{told:?}"
    );
    assert_eq!(told.next_try, Some(clock.now() + Duration::from_mins(50)));
    assert!(!told.unreachable);
}

#[tokio::test]
async fn a_date_header_is_compared_with_this_machines_clock() {
    let server = Server::start(|number, _| match number {
        2 => Reply::raw(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{PAGE}",
            PAGE.len()
        )),
        3 => Reply::raw(format!(
            "HTTP/1.1 200 OK\r\nDate: {DATE} or so\r\nContent-Length: {}\r\n\r\n{PAGE}",
            PAGE.len()
        )),
        _ => Reply::json(200, PAGE),
    })
    .await;
    let (client, clock) = client(&server, None);
    assert_eq!(client.date_header(), None);
    for (to, expected) in [
        (
            server_time() + Duration::from_secs(70),
            DateHeader::Behind(Duration::from_secs(70)),
        ),
        (
            server_time() - Duration::from_secs(70),
            DateHeader::Ahead(Duration::from_secs(70)),
        ),
        (server_time(), DateHeader::Missing),
        (server_time(), DateHeader::Missing),
        (server_time(), DateHeader::Behind(Duration::ZERO)),
    ] {
        clock.set(to);
        ask(&client).await;
        assert_eq!(client.date_header(), Some(expected));
    }
}
