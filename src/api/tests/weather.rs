//! Failures: which are tried again, how long, and what is said in the end.

use std::sync::Arc;
use std::time::Duration;

use crate::api::Client;
use crate::clock::{Clock as _, FakeClock};
use crate::data::{Resource, Source as _, SourceError};

use super::server::{Reply, Server};
use super::{DATE, TOKEN, client, client_on, config, first_page, server_time};

const PAGE: &str = r#"{"items":[{"id":"43f4d144-bff5-4a50-b940-b74d0b95e198"}],"totalItems":1,"hasMorePages":false}"#;

/// [`PAGE`], compressed.
const GZIP: &[u8] =
    b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xab\x56\xca\x2c\x49\xcd\x2d\x56\xb2\x8a\
    \xae\x56\xca\x4c\x51\xb2\x52\x32\x31\x4e\x33\x49\x31\x34\x31\xd1\x4d\x4a\x4b\x33\
    \xd5\x35\x49\x34\x35\xd0\x4d\xb2\x34\x01\x12\xe6\x26\x29\x06\x49\x96\xa6\xa9\x86\
    \x96\x16\x4a\xb5\xb1\x3a\x4a\x25\xf9\x25\x89\x39\x9e\x10\xcd\x86\x3a\x4a\x19\x89\
    \xc5\xbe\xf9\x45\xa9\x01\x89\xe9\xa9\x40\x81\xb4\xc4\x9c\xe2\xd4\x5a\x00\xd5\xe7\
    \x37\x4b\x5d\x00\x00\x00";

/// Answers badly so many times, then well.
async fn after(bad: usize, reply: impl Fn() -> Reply + Send + Sync + 'static) -> Server {
    Server::start(move |number, _| {
        if number < bad {
            reply()
        } else {
            Reply::json(200, PAGE)
        }
    })
    .await
}

/// Asks for a page of contacts, answered badly for ever; the error and the number of requests.
async fn fails(reply: impl Fn() -> Reply + Send + Sync + 'static) -> (SourceError, usize) {
    let server = after(usize::MAX, reply).await;
    let (client, _clock) = client(&server, None);
    let error = client.page(&first_page(Resource::Contacts)).await;
    (error.unwrap_err(), server.seen().len())
}

#[tokio::test]
async fn a_page_comes_with_the_servers_time_and_the_question_as_documented() {
    let server = after(0, || Reply::json(500, "")).await;
    let (client, _clock) = client(&server, None);
    let page = client.page(&first_page(Resource::Contacts)).await.unwrap();
    assert_eq!(page.server_time, server_time());
    assert_eq!(page.items.len(), 1);
    let seen = &server.seen()[0];
    assert_eq!(seen.path, "/core/v1/contact");
    assert!(seen.query.ends_with(
        "Status=ACTIVE&PageNumber=1&PageSize=2&OrderBy=UpdatedAt&OrderDirection=ASCENDING"
    ));
    let head = seen.head.to_lowercase();
    assert!(head.contains(&format!("authorization: bearer {TOKEN}")));
    assert!(head.contains("accept-encoding: gzip"));
    assert_eq!(client.usage().requests, 1);
    assert_eq!(client.usage().retries, 0);
}

#[tokio::test]
async fn the_servers_time_is_that_at_which_it_had_not_yet_begun_to_answer() {
    let clock = Arc::new(FakeClock::at(server_time()));
    let moved = Arc::clone(&clock);
    let server = Server::start(move |number, _| {
        moved.advance(Duration::from_secs(4));
        Reply::json(if number == 0 { 502 } else { 200 }, PAGE)
    })
    .await;
    let client = client_on(&server, None, &clock);
    let page = client.page(&first_page(Resource::Contacts)).await.unwrap();
    // The four seconds of the answer itself, not those of the failure before it.
    assert_eq!(page.server_time, server_time() - Duration::from_secs(4));
}

#[tokio::test]
async fn a_clock_that_is_set_back_during_an_answer_makes_the_servers_time_no_later() {
    let clock = Arc::new(FakeClock::at(server_time()));
    let moved = Arc::clone(&clock);
    let server = Server::start(move |_, _| {
        moved.advance(Duration::from_secs(4));
        moved.set(server_time() - Duration::from_hours(1));
        Reply::json(200, PAGE)
    })
    .await;
    let client = client_on(&server, None, &clock);
    let page = client.page(&first_page(Resource::Contacts)).await.unwrap();
    assert_eq!(page.server_time, server_time() - Duration::from_secs(4));
}

#[tokio::test]
async fn dates_are_sent_percent_encoded() {
    let server = after(0, || Reply::json(500, "")).await;
    let (client, _clock) = client(&server, None);
    let mut query = first_page(Resource::Contacts);
    query.updated.after = Some(server_time());
    client.page(&query).await.unwrap();
    let seen = &server.seen()[0];
    assert!(
        seen.query
            .contains("UpdatedAt.After=2026-05-04T13%3A00%3A00.000000Z"),
        "{}",
        seen.query
    );
}

#[tokio::test]
async fn a_compressed_answer_is_read_and_one_that_is_cut_is_not_believed() {
    let server = Server::start(|number, _| {
        let sent = if number == 0 {
            GZIP.len() - 9
        } else {
            GZIP.len()
        };
        let head = format!(
            "HTTP/1.1 200 OK\r\nDate: {DATE}\r\nContent-Encoding: gzip\r\n\
             Connection: close\r\nContent-Length: {sent}\r\n\r\n"
        );
        Reply::raw([head.as_bytes(), &GZIP[..sent]].concat())
    })
    .await;
    let (client, _clock) = client(&server, None);
    let page = client.page(&first_page(Resource::Contacts)).await.unwrap();
    assert_eq!(&*page.body, PAGE);
    assert_eq!(client.usage().retries, 1);
}

#[tokio::test]
async fn what_passes_by_is_tried_again() {
    for reply in [
        || Reply::json(500, "{}"),
        || Reply::json(502, "<html>bad gateway</html>"),
        || Reply::json(408, ""),
        || Reply::json(200, "<html>maintenance</html>"),
        || Reply::json(200, r#"{"error":true,"text":"x"}"#),
        || Reply::json(200, r#"{"items":[{"#),
        || Reply::json(200, ""),
        || Reply::raw(""),
        || {
            Reply::raw(format!(
                "HTTP/1.1 200 OK\r\nDate: {DATE}\r\nContent-Length: 900\r\n\r\n{{\"items\":["
            ))
        },
        || Reply::raw("this is no HTTP\r\n\r\n"),
    ] {
        let server = after(2, reply).await;
        let (client, clock) = client(&server, None);
        let began = clock.now();
        let page = client.page(&first_page(Resource::Contacts)).await.unwrap();
        assert_eq!(page.items.len(), 1);
        assert_eq!(client.usage().requests, 3);
        assert_eq!(client.usage().retries, 2);
        let waited = clock.now().since(began);
        assert!(waited > Duration::from_millis(2700) && waited < Duration::from_millis(3300));
    }
}

#[tokio::test]
async fn silence_is_not_waited_out() {
    for reply in [
        || Reply::raw("").hanging(),
        || {
            Reply::raw(format!(
                "HTTP/1.1 200 OK\r\nDate: {DATE}\r\nContent-Length: 900\r\n\r\n{{\"items\":["
            ))
            .hanging()
        },
    ] {
        let server = after(2, reply).await;
        let mut config = config(&server, None);
        config.read_timeout = Duration::from_millis(250);
        let client = Client::new(config, Arc::new(FakeClock::at(server_time()))).unwrap();
        let page = client.page(&first_page(Resource::Contacts)).await.unwrap();
        assert_eq!(page.items.len(), 1);
        assert!(client.usage().retries >= 2);
    }
}

#[tokio::test]
async fn what_does_not_pass_ends_after_a_bounded_number_of_tries_and_names_what_came() {
    let (error, requests) = fails(|| {
        Reply::json(
            500,
            r#"{"error":true,"key":"ERROR_INTERNAL","text":"PageSize","id":{"shortValue":"a1b2"}}"#,
        )
    })
    .await;
    assert_eq!(requests, 3);
    assert_eq!(
        error.to_string(),
        "GET /core/v1/contact was not accepted (500): ERROR_INTERNAL: PageSize (id a1b2); failed 3 \
         times"
    );
    let (error, requests) = fails(|| Reply::json(503, "<html>secret</html>")).await;
    assert_eq!(requests, 7);
    assert_eq!(
        error.to_string(),
        "GET /core/v1/contact failed after 7 attempts: status 503: an HTML page instead of JSON"
    );
    let (error, _) = fails(|| Reply::json(200, "<html>secret</html>")).await;
    assert_eq!(
        error.to_string(),
        "GET /core/v1/contact had an unreadable answer after 7 attempts: status 200 with an HTML \
         page instead of JSON"
    );
    let (error, _) = fails(|| {
        Reply::raw(format!(
            "HTTP/1.1 200 OK\r\nDate: {DATE}\r\nContent-Length: 900\r\n\r\n{{\"items\":["
        ))
    })
    .await;
    assert_eq!(
        error.to_string(),
        "GET /core/v1/contact had an unreadable answer after 7 attempts: the body broke off after \
         10 bytes"
    );
}

/// [`PAGE`] in an answer without a `Date` header.
fn dateless() -> Reply {
    Reply::raw(format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{PAGE}",
        PAGE.len()
    ))
}

#[tokio::test]
async fn without_a_date_the_servers_time_is_the_local_clocks_less_the_time_taken() {
    let begun = server_time() + Duration::from_hours(1);
    let clock = Arc::new(FakeClock::at(begun));
    let moved = Arc::clone(&clock);
    let server = Server::start(move |_, _| {
        moved.advance(Duration::from_secs(4));
        dateless()
    })
    .await;
    let client = client_on(&server, None, &clock);
    for took in [0, 4] {
        let page = client.page(&first_page(Resource::Contacts)).await.unwrap();
        assert_eq!(page.items.len(), 1);
        assert_eq!(page.server_time, begun + Duration::from_secs(took));
    }
    assert_eq!(client.usage().requests, 2);
}

#[tokio::test]
async fn a_date_that_is_missing_now_and_then_is_the_last_one_and_what_went_by_since() {
    let clock = Arc::new(FakeClock::at(server_time() + Duration::from_hours(1)));
    let moved = Arc::clone(&clock);
    let server = Server::start(move |number, _| {
        moved.advance(Duration::from_secs(4));
        match number {
            0 => Reply::json(200, PAGE),
            1 => Reply::with(200, "", PAGE),
            _ => dateless(),
        }
    })
    .await;
    let client = client_on(&server, None, &clock);
    let query = first_page(Resource::Contacts);
    client.page(&query).await.unwrap();
    client.page(&query).await.unwrap();
    clock.advance(Duration::from_mins(10));
    // Whatever the local clock is set to.
    clock.set(server_time() - Duration::from_hours(9));
    let page = client.page(&query).await.unwrap();
    assert_eq!(page.server_time, server_time() + Duration::from_mins(10));
    // A record that is gone comes with a time, too.
    let page = client.page(&query).await.unwrap();
    let later = server_time() + Duration::from_mins(10) + Duration::from_secs(4);
    assert_eq!(page.server_time, later);
}

#[tokio::test]
async fn a_page_of_html_is_a_firewalls_or_a_proxys_whatever_its_status() {
    for status in [400, 401, 403, 404, 410, 422] {
        let html = move || Reply::json(status, "<html>secret</html>");
        let server = after(2, html).await;
        let (client, _clock) = client(&server, None);
        let page = client.page(&first_page(Resource::Contacts)).await.unwrap();
        assert_eq!(page.items.len(), 1, "{status}");
        assert_eq!(client.usage().retries, 2, "{status}");
        let (error, requests) = fails(html).await;
        assert_eq!(requests, 7, "{status}");
        assert_eq!(
            error.to_string(),
            format!(
                "GET /core/v1/contact failed after 7 attempts: status {status} from a firewall or \
                 proxy: an HTML page instead of JSON"
            )
        );
        assert!(matches!(error, SourceError::Unavailable { .. }));
    }
    // One that leads elsewhere is none: it says that the base URL is wrong.
    let moved = || {
        Reply::with(
            301,
            "Location: http://127.0.0.1:9/\r\n",
            "<html>moved</html>",
        )
    };
    let (error, requests) = fails(moved).await;
    assert_eq!(requests, 1);
    assert!(error.to_string().contains("check the base URL"), "{error}");
}

#[tokio::test]
async fn a_401_that_says_404_inside_means_that_there_is_no_such_thing() {
    for code in ["404", "\"404\"", "\"NotFound\""] {
        let body = format!(r#"{{"key":"NO","text":"x","httpStatusCode":{code}}}"#);
        let (error, requests) = fails(move || Reply::json(401, &body)).await;
        assert_eq!(requests, 1);
        assert!(
            matches!(error, SourceError::NotFound { status: 401, .. }),
            "{error:?}"
        );
        let body = format!(r#"{{"key":"NO","text":"x","httpStatusCode":{code}}}"#);
        let server = after(usize::MAX, move || Reply::json(401, &body)).await;
        let (client, _clock) = client(&server, None);
        for resource in [Resource::Contacts, Resource::Sessions] {
            let gone = client.by_id(resource, uuid::Uuid::nil()).await.unwrap();
            assert_eq!((gone.items.len(), gone.by_id), (0, true), "{code}");
            assert_eq!(gone.server_time, server_time());
        }
        assert_eq!(client.usage().requests, 2);
    }
}

#[tokio::test]
async fn what_the_platform_refuses_is_asked_once() {
    for status in [301, 400, 401, 403, 404, 410, 422] {
        let (error, requests) = fails(move || {
            Reply::with(
                status,
                "Location: http://127.0.0.1:9/\r\n",
                &format!(r#"{{"key":"NO","text":"because {TOKEN}"}}"#),
            )
        })
        .await;
        // A 401 may be about how the token is sent.
        assert_eq!(requests, if status == 401 { 2 } else { 1 }, "{status}");
        match (&error, status) {
            (SourceError::Refused { status: said, .. }, 401 | 403)
            | (SourceError::NotFound { status: said, .. }, 404 | 410)
            | (SourceError::NotAccepted { status: said, .. }, 301 | 400 | 422) => {
                assert_eq!(*said, status);
            }
            _ => panic!("{status}: {error:?}"),
        }
        assert!(!error.to_string().contains(TOKEN), "{error}");
    }
}

#[tokio::test]
async fn nobody_listening_is_unavailable() {
    let server = after(0, || Reply::json(500, "")).await;
    let (client, _clock) = client(&server, None);
    drop(server);
    tokio::task::yield_now().await;
    let error = client.page(&first_page(Resource::Contacts)).await;
    let error = error.unwrap_err();
    assert!(
        matches!(error, SourceError::Unavailable { attempts: 7, .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains("no connection"), "{error}");
}

#[tokio::test]
async fn a_429_is_waited_out_however_long_it_takes() {
    let server = after(40, || Reply::json(429, "")).await;
    let (client, clock) = client(&server, None);
    let began = clock.now();
    client.page(&first_page(Resource::Contacts)).await.unwrap();
    assert_eq!(client.usage().retries, 40);
    // 2, 4, … 2048 seconds, then an hour each, a tenth more or less.
    let waited = clock.now().since(began).as_secs();
    assert!(
        (3684 + 29 * 3240..=4504 + 29 * 3600).contains(&waited),
        "{waited}"
    );
}

#[tokio::test]
async fn a_429_that_says_how_long_is_waited_for_so_long() {
    for (header, seconds) in [
        ("Retry-After: 17\r\n", 17),
        // By the answer's own clock, which is an hour behind ours.
        ("Retry-After: Mon, 04 May 2026 13:01:00 GMT\r\n", 60),
        ("Retry-After: 1800\r\n", 1800),
        ("Retry-After: 86400\r\n", 3600),
    ] {
        let server = after(1, move || Reply::with(429, header, "")).await;
        let (client, clock) = client(&server, None);
        let began = clock.now();
        client.page(&first_page(Resource::Contacts)).await.unwrap();
        assert_eq!(clock.now().since(began), Duration::from_secs(seconds));
    }
}

#[tokio::test]
async fn patience_bounds_every_kind_of_waiting() {
    for (status, least) in [(429, 3), (503, 3)] {
        let server = after(usize::MAX, move || Reply::json(status, "")).await;
        let (client, clock) = client(&server, Some(Duration::from_secs(12)));
        let began = clock.now();
        let error = client.page(&first_page(Resource::Contacts)).await;
        let error = error.unwrap_err();
        assert!(matches!(error, SourceError::Unavailable { .. }), "{error}");
        assert!(clock.now().since(began) <= Duration::from_secs(12));
        assert!(client.usage().requests >= least);
    }
    let server = after(1, || Reply::with(429, "Retry-After: 200\r\n", "")).await;
    let (client, clock) = client(&server, Some(Duration::from_secs(12)));
    let began = clock.now();
    for _ in 0..2 {
        let error = client.page(&first_page(Resource::Contacts)).await;
        assert!(matches!(error, Err(SourceError::Unavailable { .. })));
    }
    assert_eq!(clock.now(), began);
    assert_eq!(client.usage().requests, 1);
}
