//! The two versions of the session list, lists that turn out to be paged, and single records.

use std::time::Duration;

use uuid::Uuid;

use crate::api::{Detail, LiveQuery};
use crate::data::{ColumnGroup, Resource, Source as _, SourceError};

use super::server::{Reply, Seen, Server};
use super::{client, first_page, server_time};

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

#[tokio::test]
async fn the_first_version_is_read_as_long_as_it_answers() {
    let server = statuses(200, 500, 500).await;
    let (client, _clock) = client(&server, None);
    let page = client.page(&first_page(Resource::Sessions)).await.unwrap();
    assert_eq!(page.unknown, ColumnGroup::SESSION_TYPE);
    assert_eq!(client.session_version(), 1);
    assert_eq!(server.paths(), [V1]);
}

#[tokio::test]
async fn a_first_version_that_is_gone_is_noticed_once() {
    for status in [401, 404, 410] {
        let server = statuses(status, 200, 200).await;
        let (client, _clock) = client(&server, None);
        for _ in 0..3 {
            let page = client.page(&first_page(Resource::Sessions)).await.unwrap();
            assert_eq!(page.unknown, ColumnGroup::NONE);
        }
        assert_eq!(client.session_version(), 2);
        assert_eq!(server.paths(), [V1, V2, V2, V2]);
    }
}

#[tokio::test]
async fn concurrent_pages_notice_it_together() {
    let server = statuses(404, 200, 200).await;
    let (client, _clock) = client(&server, None);
    let query = first_page(Resource::Sessions);
    let pages = futures::future::join_all((0..4).map(|_| client.page(&query))).await;
    assert!(pages.iter().all(Result::is_ok));
    let paths = server.paths();
    assert_eq!(paths.iter().filter(|path| *path == V2).count(), 4);
}

#[tokio::test]
async fn a_token_that_may_not_read_sessions_is_refused_and_changes_nothing() {
    for (tags, note) in [
        (200, "this token may not read sessions"),
        (401, "the token is not accepted"),
    ] {
        let server = statuses(401, 401, tags).await;
        let (client, _clock) = client(&server, None);
        let error = client.page(&first_page(Resource::Sessions)).await;
        let error = error.unwrap_err();
        assert!(matches!(error, SourceError::Refused { status: 401, .. }));
        assert!(error.to_string().contains(note), "{error}");
        assert_eq!(client.session_version(), 1);
        assert_eq!(server.paths(), [V1, V2, TAGS]);
    }
    let server = statuses(404, 401, 200).await;
    let (client, _clock) = client(&server, None);
    let error = client.page(&first_page(Resource::Sessions)).await;
    assert!(matches!(error, Err(SourceError::Refused { .. })));
}

#[tokio::test]
async fn a_second_version_in_trouble_proves_nothing() {
    let server = statuses(401, 503, 200).await;
    let (client, _clock) = client(&server, None);
    let error = client.page(&first_page(Resource::Sessions)).await;
    assert!(matches!(error, Err(SourceError::Unavailable { .. })));
    assert_eq!(client.session_version(), 1);
}

#[tokio::test]
async fn the_second_version_is_never_left_again() {
    let server = statuses(200, 401, 200).await;
    let (client, _clock) = client(&server, None);
    client.set_session_version(2);
    let error = client.page(&first_page(Resource::Sessions)).await;
    assert!(matches!(error, Err(SourceError::Refused { .. })));
    assert_eq!(server.paths(), [V2]);
}

#[tokio::test]
async fn a_question_by_type_goes_to_the_version_that_knows_types() {
    let server = statuses(200, 200, 200).await;
    let (client, _clock) = client(&server, None);
    let mut query = LiveQuery {
        number: 1,
        size: 10,
        ..LiveQuery::default()
    };
    query.filter.kind = Some("GROUP".to_owned());
    query.details = vec![Detail::Contact];
    let page = client.sessions(&query).await.unwrap();
    assert!(!page.unknown.contains(ColumnGroup::SESSION_TYPE));
    assert!(!page.unknown.contains(ColumnGroup::CONTACT));
    assert!(page.unknown.contains(ColumnGroup::AGENT));
    assert_eq!(client.session_version(), 1);
    assert_eq!(server.paths(), [V2]);
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
