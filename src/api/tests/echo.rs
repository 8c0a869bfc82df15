//! Servers that do not do what they were asked, and say so or not; and how the end of a listing is
//! found by any sign.

use crate::api::{LiveQuery, decode};
use crate::data::{Echo, PageQuery, Resource, Source as _, SourceError};

use super::server::{Reply, Server};
use super::{client, first_page, server_time};

/// A page of one contact with these further members.
fn page(members: &str) -> Reply {
    let body = format!(r#"{{"items":[{{"id":"43f4d144-bff5-4a50-b940-b74d0b95e198"}}]{members}}}"#);
    Reply::json(200, &body)
}

fn third() -> PageQuery {
    PageQuery {
        number: 3,
        ..first_page(Resource::Contacts)
    }
}

#[tokio::test]
async fn another_page_than_the_one_asked_for_is_no_answer() {
    let server = Server::start(|_, _| page(r#","totalItems":9,"pageNumber":1"#)).await;
    let (client, _clock) = client(&server, None);
    let error = client.page(&third()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "GET /core/v1/contact ignores PageNumber: the request was for page 3, the answer is page 1; failed 3 times"
    );
    assert_eq!(server.seen().len(), 3);
    // The first page is the one that was asked for.
    client.page(&first_page(Resource::Contacts)).await.unwrap();
}

#[tokio::test]
async fn another_page_that_came_once_is_asked_for_again() {
    let server = Server::start(|number, _| {
        page(if number == 0 {
            r#","pageNumber":2"#
        } else {
            r#","pageNumber":3"#
        })
    })
    .await;
    let (client, _clock) = client(&server, None);
    client.page(&third()).await.unwrap();
    assert_eq!(client.usage().retries, 1);
}

#[tokio::test]
async fn a_number_that_is_not_repeated_or_is_none_says_nothing() {
    for members in [
        "",
        r#","pageNumber":null"#,
        r#","pageNumber":"1""#,
        r#","pageNumber":[1]"#,
        r#","pageNumber":3"#,
        r#","pageNumber":3.0"#,
    ] {
        let server = Server::start(move |_, _| page(members)).await;
        let (client, _clock) = client(&server, None);
        let page = client.page(&third()).await;
        assert!(page.is_ok(), "{members}: {page:?}");
    }
}

#[tokio::test]
async fn an_order_that_is_repeated_is_told_from_one_that_is_not() {
    for (members, echo) in [
        ("", Echo::Silent),
        (r#","orderBy":"UpdatedAt""#, Echo::Same),
        (r#","orderBy":"updatedat""#, Echo::Same),
        (r#","orderBy":null"#, Echo::Other),
        (r#","orderBy":"CreatedAt""#, Echo::Other),
        (r#","orderBy":7"#, Echo::Other),
    ] {
        let server = Server::start(move |_, _| page(members)).await;
        let (client, _clock) = client(&server, None);
        let mut query = first_page(Resource::Contacts);
        let came = client.page(&query).await.unwrap();
        assert_eq!(came.order_echo, echo, "{members}");
        let sessions = client.page(&first_page(Resource::Sessions)).await.unwrap();
        assert_eq!(sessions.order_echo, echo, "{members}");
        let mut live = LiveQuery {
            order_by: Some("UPDATEDAT".to_owned()),
            number: 1,
            size: 2,
            ..LiveQuery::default()
        };
        let came = client.sessions(&live).await.unwrap();
        assert_eq!(came.order_echo, echo, "{members}");
        // Where no order was asked for there is nothing to repeat.
        query.order = None;
        live.order_by = None;
        let came = client.page(&query).await.unwrap();
        assert_eq!(came.order_echo, Echo::Silent, "{members}");
        let came = client.sessions(&live).await.unwrap();
        assert_eq!(came.order_echo, Echo::Silent, "{members}");
    }
}

#[tokio::test]
async fn a_list_whose_pages_are_all_the_same_is_given_up_at_once() {
    let full = (1..=100)
        .map(|id| format!(r#"{{"id":"00000000-0000-0000-0000-{id:012}"}}"#))
        .collect::<Vec<_>>()
        .join(",");
    let body = format!(r#"{{"items":[{full}],"totalItems":250,"hasMorePages":true}}"#);
    let server = Server::start(move |_, _| Reply::json(200, &body)).await;
    let (client, _clock) = client(&server, None);
    let error = client.list(Resource::Tags).await.unwrap_err();
    assert!(error.to_string().contains("PageNumber"), "{error}");
    assert!(server.seen().len() < 10, "{}", server.seen().len());
}

/// What the page of this number says of further ones, and whether it contradicts itself.
fn signs(number: u32, body: &str) -> (usize, Option<u64>, bool, bool) {
    let shape = crate::api::Shape::Page { number, size: 2 };
    let page = decode(body.as_bytes().to_vec(), None, shape, server_time()).unwrap();
    (
        page.items.len(),
        page.total,
        page.has_more,
        page.contradictory,
    )
}

#[test]
fn any_sign_of_further_pages_is_believed_and_signs_that_disagree_are_told() {
    for (number, body, more, contradictory) in [
        // One sign each.
        (1, r#"{"items":[1],"hasMorePages":true}"#, true, false),
        (1, r#"{"items":[1],"totalPages":2}"#, true, false),
        (2, r#"{"items":[1],"totalPages":2}"#, false, false),
        (1, r#"{"items":[1],"totalItems":3}"#, true, false),
        (2, r#"{"items":[1],"totalItems":3}"#, false, false),
        (1, r#"{"items":[1,2]}"#, true, false),
        (1, r#"{"items":[1]}"#, false, false),
        // A full page that is the last one.
        (
            1,
            r#"{"items":[1,2],"totalItems":2,"totalPages":1,"hasMorePages":false}"#,
            true,
            false,
        ),
        (1, r#"{"items":[1,2],"hasMorePages":false}"#, true, false),
        // An index that stopped counting.
        (
            1,
            r#"{"items":[1,2],"totalItems":1,"totalPages":1,"hasMorePages":false}"#,
            true,
            true,
        ),
        (
            3,
            r#"{"items":[5],"totalItems":4,"totalPages":2,"hasMorePages":false}"#,
            false,
            true,
        ),
        (
            3,
            r#"{"items":[5,6],"totalItems":4,"totalPages":2,"hasMorePages":false}"#,
            true,
            true,
        ),
        (2, r#"{"items":[3],"totalItems":2}"#, false, true),
        // The three disagree.
        (
            1,
            r#"{"items":[1,2],"totalItems":2,"hasMorePages":true}"#,
            true,
            true,
        ),
        (
            1,
            r#"{"items":[1,2],"totalItems":5,"hasMorePages":false}"#,
            true,
            true,
        ),
        (
            1,
            r#"{"items":[1,2],"totalItems":5,"totalPages":1}"#,
            true,
            true,
        ),
        (
            1,
            r#"{"items":[1,2],"totalPages":3,"hasMorePages":false}"#,
            true,
            true,
        ),
        // Records that are counted and not shown are a gap, and no contradiction.
        (
            1,
            r#"{"items":[1],"totalItems":5,"totalPages":3,"hasMorePages":true}"#,
            true,
            false,
        ),
        (
            1,
            r#"{"items":[],"totalItems":5,"totalPages":3,"hasMorePages":true}"#,
            false,
            false,
        ),
        (1, r#"{"items":null,"totalItems":5}"#, false, false),
        (3, r#"{"items":[],"totalItems":5}"#, false, false),
        (1, r#"{"totalItems":5}"#, false, false),
        // Beyond the end.
        (
            9,
            r#"{"items":[],"totalItems":5,"totalPages":3,"hasMorePages":false}"#,
            false,
            false,
        ),
    ] {
        let (_, _, has_more, denied) = signs(number, body);
        assert_eq!(
            (has_more, denied),
            (more, contradictory),
            "{number}: {body}"
        );
    }
    assert_eq!(
        signs(1, r#"{"items":null,"totalItems":5}"#),
        (0, Some(5), false, false)
    );
}

#[test]
fn a_list_that_counts_and_shows_nothing_is_no_empty_list() {
    for body in [
        r#"{"items":null,"totalItems":4}"#,
        r#"{"items":[],"totalItems":4}"#,
        r#"{"items":null}"#,
    ] {
        let shape = crate::api::Shape::List;
        let read = decode(body.as_bytes().to_vec(), None, shape, server_time());
        assert!(read.is_err(), "{body}");
    }
}
#[test]
fn what_a_server_ignores_is_told_with_the_parameters_name() {
    let error = SourceError::Ignored {
        request: "GET /x".to_owned(),
        parameter: "PageNumber",
        detail: "the request was for page 2, the answer is page 1".to_owned(),
    };
    assert_eq!(
        error.to_string(),
        "GET /x ignores PageNumber: the request was for page 2, the answer is page 1"
    );
}

#[test]
fn a_page_that_is_not_full_and_of_which_nothing_is_said_may_have_another_behind_it() {
    let shape = crate::api::Shape::Page { number: 1, size: 2 };
    let silent = |body: &str| {
        let page = decode(body.as_bytes().to_vec(), None, shape, server_time()).unwrap();
        page.silent
    };
    assert!(silent(r#"{"items":[1]}"#));
    // Its records may be counted and not shown.
    assert!(silent(r#"{"items":[]}"#));
    assert!(!silent(r#"{"items":[],"hasMorePages":false}"#));
    assert!(!silent(r#"{"items":[],"totalItems":0}"#));
    assert!(!silent(r#"{"items":[1],"hasMorePages":false}"#));
    assert!(!silent(r#"{"items":[1],"totalPages":1}"#));
    assert!(!silent(r#"{"items":[1],"totalItems":1}"#));
}
