//! Bodies as they come, and as they should never come.

use super::*;

const PAGE: Shape = Shape::Page { number: 1, size: 2 };
const ID: &str = "43f4d144-bff5-4a50-b940-b74d0b95e198";

fn read(body: &str, shape: Shape) -> Result<Decoded, (FailureKind, String)> {
    decode(body.as_bytes().to_vec(), Some("application/json"), shape)
        .map_err(|failure| (failure.kind, failure.detail))
}

fn raws(decoded: &Decoded) -> Vec<&str> {
    decoded
        .items
        .iter()
        .map(|item| &decoded.body[item.raw.clone()])
        .collect()
}

#[test]
fn records_are_the_servers_own_text() {
    let body = format!(
        "\u{feff} {{\"totalItems\": 7, \"items\":[ {{\"id\" : \"{ID}\", \"n\": 1.50}} , 17,\"ü\",null ],\
         \"hasMorePages\":true}} "
    );
    let page = read(&body, PAGE).unwrap();
    assert_eq!(
        raws(&page),
        [
            &format!("{{\"id\" : \"{ID}\", \"n\": 1.50}}"),
            "17",
            "\"ü\"",
            "null"
        ]
    );
    assert_eq!(page.items[0].head.id, Some(ID.parse().unwrap()));
    assert_eq!(page.items[1].head, Head::default());
    assert_eq!((page.total, page.has_more), (Some(7), true));
}

#[test]
fn the_end_is_found_however_the_server_says_it() {
    for (body, items, total, has_more) in [
        (
            r#"{"items":[1,2],"hasMorePages":true,"totalItems":5}"#,
            2,
            Some(5),
            true,
        ),
        (r#"{"items":[1,2],"hasMorePages":false}"#, 2, None, true),
        (r#"{"items":[1,2]}"#, 2, None, true),
        (r#"{"items":[1,2],"hasMorePages":null}"#, 2, None, true),
        (r#"{"items":[1]}"#, 1, None, false),
        (
            r#"{"items":[],"hasMorePages":true,"totalItems":9}"#,
            0,
            Some(9),
            false,
        ),
        (
            r#"{"\u0069tems":[1],"total\u0049tems":4}"#,
            1,
            Some(4),
            true,
        ),
        (r#"{"items":[1,2],"items":[3]}"#, 1, None, false),
        (r#"{"items":[1,2],"items":null}"#, 0, None, false),
        (
            r#"{"error":true,"items":[1],"error":false}"#,
            1,
            None,
            false,
        ),
        (r#"{"items":null,"totalItems":0}"#, 0, Some(0), false),
        (r#"{"items":null}"#, 0, None, false),
        (r#"{"pageNumber":1,"totalItems":0}"#, 0, Some(0), false),
        (r#"{"items":[1],"totalItems":"9"}"#, 1, None, false),
        (r#"{"items":[1],"totalItems":-1}"#, 1, None, false),
        (r#"{"items":[1],"totalItems":3.0}"#, 1, Some(3), true),
        ("[1,2]", 2, None, true),
        ("[1,2,3]", 3, None, false),
        ("[]", 0, None, false),
    ] {
        let page = read(body, PAGE).unwrap();
        assert_eq!(
            (page.items.len(), page.total, page.has_more),
            (items, total, has_more),
            "{body}"
        );
    }
    let beyond = Shape::Page { number: 4, size: 2 };
    assert!(read(r#"{"items":null,"totalItems":5}"#, beyond).is_ok());
}

#[test]
fn a_list_may_be_an_array_or_a_page() {
    let array = read("[1,2,3]", Shape::List).unwrap();
    assert_eq!((array.total, array.has_more), (Some(3), false));
    for (body, has_more) in [
        (r#"{"items":[1],"hasMorePages":true}"#, true),
        (r#"{"items":[1],"totalItems":2}"#, true),
        (r#"{"items":[1],"totalItems":1}"#, false),
        (r#"{"items":[1]}"#, false),
    ] {
        assert_eq!(
            read(body, Shape::List).unwrap().has_more,
            has_more,
            "{body}"
        );
    }
}

#[test]
fn what_is_no_page_is_named_and_never_quoted() {
    for (body, kind) in [
        ("", FailureKind::NoJson),
        ("  ", FailureKind::NoJson),
        ("<html>secret", FailureKind::NoJson),
        ("secret", FailureKind::NoJson),
        (r#"{"items":[{"secret":1"#, FailureKind::NoJson),
        (r#"{"items":[{"secret":1}]} secret"#, FailureKind::NoJson),
        (r#"{"items":[secret]}"#, FailureKind::NoJson),
        ("[1,", FailureKind::NoJson),
        ("17", FailureKind::Shape),
        ("null", FailureKind::Shape),
        (r#"{"secret":1}"#, FailureKind::Shape),
        (r#"{"items":"secret"}"#, FailureKind::Shape),
        (r#"{"items":1e999}"#, FailureKind::Shape),
        (r#"{"items":"\ud800"}"#, FailureKind::Shape),
        (r#"{"items":"secret","a":"#, FailureKind::NoJson),
        (
            r#"{"items":"secret","error":true}"#,
            FailureKind::ErrorInside,
        ),
        (r#"{"items":1e999,"error":true}"#, FailureKind::ErrorInside),
        (
            r#"{"error":true,"items":[{"secret":1}"#,
            FailureKind::NoJson,
        ),
        (r#"{"error":true,"text":"x"}"#, FailureKind::ErrorInside),
        (
            r#"{"error":true,"items":[],"totalItems":0}"#,
            FailureKind::ErrorInside,
        ),
        (
            r#"{"items":[{"id":1}],"totalItems":1,"error":true}"#,
            FailureKind::ErrorInside,
        ),
        (
            r#"{"error":true,"items":null,"key":"x"}"#,
            FailureKind::ErrorInside,
        ),
    ] {
        let (came, detail) = read(body, PAGE).unwrap_err();
        assert_eq!(came, kind, "{body}");
        assert!(!detail.contains("secret"), "{detail}");
    }
    assert!(decode(b"[]".to_vec(), Some("text/html"), PAGE).is_err());
    assert_eq!(read("[]", Shape::Record).unwrap_err().0, FailureKind::Shape);
    assert_eq!(
        read("null", Shape::Record).unwrap_err().0,
        FailureKind::Shape
    );
    assert_eq!(
        read(r#"{"error":true}"#, Shape::Record).unwrap_err().0,
        FailureKind::ErrorInside
    );
}

#[test]
fn a_record_is_the_whole_body() {
    let record = read(&format!(" {{\"id\":\"{ID}\"}}\n"), Shape::Record).unwrap();
    assert_eq!(raws(&record), [format!("{{\"id\":\"{ID}\"}}")]);
    assert_eq!((record.total, record.has_more), (Some(1), false));
}

#[test]
fn a_head_is_read_as_far_as_it_can_be() {
    let at = Timestamp::parse("2026-05-04T13:12:44.9Z").unwrap();
    let whole = head(&format!(
        r#"{{"x":{{"id":1}},"id":"{ID}","updatedAt":"2026-05-04T13:12:44.9000000Z",
            "createdAt":"2026-05-04 13:12:44.9","lastInteractionDate":"2026-05-04T13:12:44.9Z"}}"#
    ));
    assert_eq!(
        whole,
        Head {
            id: Some(ID.parse().unwrap()),
            updated_at: Some(at),
            created_at: Some(at),
            last_interaction_at: Some(at),
        }
    );
    for record in [
        "",
        "17",
        "null",
        "[]",
        "{",
        r#"{"id":17,"updatedAt":"soon","createdAt":null}"#,
        r#"{"id":"none","updatedAt":{"id":1},"createdAt":[]}"#,
        r#"{"id":"\ud800"}"#,
    ] {
        assert_eq!(head(record), Head::default(), "{record}");
    }
    // A name that is no text (half of a surrogate pair) ends the reading, not the record.
    let broken = head(&format!(r#"{{"id":"{ID}","\ud800":1,"updatedAt":"x"}}"#));
    assert_eq!(broken.id, Some(ID.parse().unwrap()));
}

#[test]
fn depth_is_no_danger() {
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    let page = read(&format!(r#"{{"items":[{deep}],"x":{deep}}}"#), PAGE).unwrap();
    assert_eq!(page.items[0].raw.len(), 400_000);
    assert!(read(&"[".repeat(200_000), PAGE).is_err());
    assert!(read(&"{\"items\":".repeat(200_000), PAGE).is_err());
}

#[test]
fn bytes_that_are_no_text_spoil_only_the_record_they_are_in() {
    let mut body = br#"{"items":[{"name":"a"#.to_vec();
    body.extend([0xff, 0xfe]);
    body.extend(br#""},{"name":"b"}],"totalItems":2}"#);
    let page = decode(body, None, PAGE).unwrap();
    assert_eq!(raws(&page)[1], r#"{"name":"b"}"#);
}

/// Any JSON, of whose characters many are those that JSON is made of.
fn record() -> impl proptest::prelude::Strategy<Value = String> {
    use proptest::prelude::{Just, Strategy, any, prop_oneof};
    use serde_json::Value;
    let text = r#"[\[\]{}:,"\\ü a]{0,12}"#;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::hash_map(text, inner, 0..4)
                .prop_map(|map| map.into_iter().collect::<Value>()),
        ]
    })
    .prop_map(|value| value.to_string())
}

/// An object, most of whose members are read for its head, some of them twice.
fn object() -> impl proptest::prelude::Strategy<Value = String> {
    use proptest::prelude::{Strategy, prop_oneof};
    use proptest::sample::select;
    let name = select(vec![
        r#""id""#,
        r#""\u0069d""#,
        r#""updatedAt""#,
        r#""createdAt""#,
        r#""lastInteractionDate""#,
        r#""items""#,
        r#""other""#,
    ]);
    let value = prop_oneof![
        select(vec![
            r#""0195b1c0-0000-7000-8000-000000000001""#,
            r#""2025-03-01T10:00:00.123Z""#,
            r#""0001-01-01T00:00:00""#,
            "null",
            "{}",
        ])
        .prop_map(str::to_owned),
        record(),
    ];
    let space = select(vec!["", " ", "\n\t"]);
    (proptest::collection::vec((name, value), 1..6), space).prop_map(|(members, space)| {
        let members: Vec<String> = members
            .iter()
            .map(|(name, value)| format!("{space}{name}{space}:{space}{value}{space}"))
            .collect();
        format!("{{{}}}", members.join(","))
    })
}

proptest::proptest! {
    #[test]
    fn no_body_panics(body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
        for shape in [PAGE, Shape::List, Shape::Record] {
            let _ = decode(body.clone(), None, shape);
        }
    }

    #[test]
    fn records_are_cut_where_they_begin_and_end(
        records in proptest::collection::vec(record(), 0..8),
        other in record(),
        space in "[ \n]{0,2}",
    ) {
        let page = format!(
            r#"{{"x":{other},{space}"items"{space}:[{}]{space},"y":{other}}}"#,
            records.join(&format!("{space},{space}"))
        );
        let list = format!("[{}]", records.join(&format!("{space},{space}")));
        for body in [page, list] {
            let page = read(&body, PAGE).unwrap();
            proptest::prop_assert_eq!(raws(&page), &records[..]);
        }
    }

    #[test]
    fn records_of_a_page_are_split_and_read_as_one_by_one(
        records in proptest::collection::vec(object(), 1..6),
        space in "[ \n]{0,2}",
    ) {
        let list = format!("[{}]", records.join(&format!("{space},{space}")));
        let page = format!(r#"{{"totalItems":9,{space}"items":{space}{list}{space}}}"#);
        for body in [page, list] {
            let page = read(&body, PAGE).unwrap();
            proptest::prop_assert_eq!(raws(&page), &records[..]);
            for (item, record) in page.items.iter().zip(&records) {
                proptest::prop_assert_eq!(&item.head, &head(record));
            }
        }
    }

    #[test]
    fn no_text_of_json_characters_panics(body in r#"[\[\]{}:,"a-z0-9\\ ]{0,60}"#) {
        for shape in [PAGE, Shape::List, Shape::Record] {
            if let Ok(decoded) = decode(body.clone().into_bytes(), None, shape) {
                for item in &decoded.items {
                    proptest::prop_assert!(decoded.body.get(item.raw.clone()).is_some());
                }
            }
        }
    }
}
