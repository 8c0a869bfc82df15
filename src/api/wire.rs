//! What comes over the wire: answers of listings, cut into records without understanding them.
//!
//! Owns the envelope, the end of paging, and the few fields of a record that a walk needs. Must
//! not know what a record means: one that is broken inside passes here and becomes a reject later.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::data::{Head, Item, Timestamp};

use super::problem;
use super::retry::{Failure, Kind};

/// What kind of answer is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// A page of a listing: this one, of so many records.
    Page {
        /// From 1.
        number: u32,
        /// Records a page.
        size: u32,
    },
    /// A whole list, as a plain array or, to be safe, as a page (API notes, 3.1).
    List,
    /// One record.
    Record,
}

/// A body, cut into records.
#[derive(Debug, Clone)]
pub(super) struct Decoded {
    pub(super) body: Arc<str>,
    pub(super) items: Vec<Item>,
    pub(super) total: Option<u64>,
    pub(super) has_more: bool,
}

/// Reads the body of a successful answer.
pub(super) fn decode(
    body: Vec<u8>,
    content_type: Option<&str>,
    shape: Shape,
) -> Result<Decoded, Failure> {
    if problem::is_html(&body, content_type) || body.iter().all(u8::is_ascii_whitespace) {
        let came = problem::describe(&body, content_type);
        return Err(Failure {
            html: problem::is_html(&body, content_type),
            ..Failure::new(Kind::NoJson, format!("a success with {came}"))
        });
    }
    // Bytes that are no UTF-8 spoil the text they stand in, not the page.
    let text = String::from_utf8(body)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text).trim();
    let cut = match (text.as_bytes().first(), shape) {
        (Some(b'['), Shape::Page { .. } | Shape::List) => array(text, shape)?,
        (Some(b'{'), Shape::Page { .. } | Shape::List) => envelope(text, shape)?,
        (Some(b'{'), Shape::Record) => record(text)?,
        _ => {
            // Distinguishes a body that broke off from one of another shape.
            serde_json::from_str::<IgnoredAny>(text).map_err(|error| no_json(&error))?;
            return Err(wrong_shape("JSON of another shape than documented"));
        }
    };
    Ok(Decoded {
        body: text.into(),
        ..cut
    })
}

/// Says where the reading stopped, never what stood there.
fn no_json(error: &serde_json::Error) -> Failure {
    if error.is_eof() {
        Failure::new(Kind::NoJson, "JSON that breaks off before its end")
    } else {
        Failure::new(
            Kind::NoJson,
            format!(
                "a body that is no JSON from line {}, column {} on",
                error.line(),
                error.column()
            ),
        )
    }
}

fn wrong_shape(detail: &str) -> Failure {
    Failure::new(Kind::Shape, detail)
}

/// The records of an array, as ranges of `text`.
fn items(text: &str, array: &str) -> Result<Vec<Item>, Failure> {
    let raws: Vec<&RawValue> = serde_json::from_str(array).map_err(|error| no_json(&error))?;
    Ok(raws
        .into_iter()
        .map(|raw| Item {
            head: head(raw.get()),
            raw: range(text, raw.get()),
        })
        .collect())
}

/// Where a part stands in the text that it was borrowed from.
fn range(text: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr() as usize - text.as_ptr() as usize;
    start..start + part.len()
}

fn array(text: &str, shape: Shape) -> Result<Decoded, Failure> {
    let items = items(text, text)?;
    // Longer than a page: paging was not understood, and this is everything.
    let has_more = match shape {
        Shape::Page { size, .. } => !items.is_empty() && items.len() == size as usize,
        Shape::List | Shape::Record => false,
    };
    let total = (!has_more && matches!(shape, Shape::List)).then_some(items.len() as u64);
    Ok(Decoded {
        body: Arc::default(),
        items,
        total,
        has_more,
    })
}

fn envelope(text: &str, shape: Shape) -> Result<Decoded, Failure> {
    let fields = fields(text).map_err(|error| no_json(&error))?;
    let array = fields.items.map(RawValue::get).filter(|raw| *raw != "null");
    if fields.error && array.is_none() {
        return Err(error_inside(text));
    }
    let total = fields.total.and_then(|raw| {
        let number: f64 = serde_json::from_str(raw.get()).ok()?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked to be a whole number in range"
        )]
        (number >= 0.0 && number.fract() == 0.0 && number < 1e15).then_some(number as u64)
    });
    let items = match array {
        Some(array) if array.starts_with('[') => items(text, array)?,
        Some(_) => return Err(wrong_shape("a page whose items are no array")),
        None => {
            // A page after the last one may well say null. But records that are counted and not
            // shown would be taken for read.
            let skipped = match shape {
                Shape::Page { number, size } => {
                    u64::from(number.saturating_sub(1)) * u64::from(size)
                }
                Shape::List | Shape::Record => 0,
            };
            match total {
                Some(total) if total > skipped => {
                    return Err(wrong_shape("a page that counts records and shows none"));
                }
                None if fields.items.is_none() => {
                    return Err(wrong_shape("an object that is no page: it has no items"));
                }
                Some(_) | None => Vec::new(),
            }
        }
    };
    let says_more = fields.more.and_then(|raw| match raw.get() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    });
    let full = match shape {
        Shape::Page { size, .. } => items.len() >= size as usize,
        Shape::List | Shape::Record => total.is_some_and(|total| total > items.len() as u64),
    };
    let has_more = !items.is_empty() && says_more.unwrap_or(full);
    Ok(Decoded {
        body: Arc::default(),
        items,
        total,
        has_more,
    })
}

fn record(text: &str) -> Result<Decoded, Failure> {
    let fields = fields(text).map_err(|error| no_json(&error))?;
    let head = head(text);
    if fields.error && head.id.is_none() {
        return Err(error_inside(text));
    }
    Ok(Decoded {
        body: Arc::default(),
        items: vec![Item {
            head,
            raw: 0..text.len(),
        }],
        total: Some(1),
        has_more: false,
    })
}

fn error_inside(text: &str) -> Failure {
    let said = problem::describe(text.as_bytes(), None);
    Failure::new(
        Kind::ErrorInside,
        format!("a success that says it is an error: {said}"),
    )
}

/// The fields of an envelope, unread.
#[derive(Default)]
struct Fields<'a> {
    items: Option<&'a RawValue>,
    total: Option<&'a RawValue>,
    more: Option<&'a RawValue>,
    error: bool,
}

fn fields(text: &str) -> Result<Fields<'_>, serde_json::Error> {
    let mut found = Fields::default();
    each_member(text, |name, value| match name {
        Name::Items => found.items = Some(value),
        Name::TotalItems => found.total = Some(value),
        Name::HasMorePages => found.more = Some(value),
        Name::Error => found.error = value.get() == "true",
        Name::Id | Name::UpdatedAt | Name::CreatedAt | Name::Other => {}
    })?;
    Ok(found)
}

/// What can be read of a record's head. A record that breaks off or is no object at all has an
/// empty one, or what stood before the break.
pub(super) fn head(record: &str) -> Head {
    let mut head = Head::default();
    let text = |raw: &RawValue| serde_json::from_str::<String>(raw.get()).ok();
    let instant = |raw: &RawValue| Timestamp::parse(&text(raw)?).ok();
    // What was found before an error stays, so the error itself says nothing more.
    let _incomplete = each_member(record, |name, value| match name {
        Name::Id => head.id = text(value).and_then(|id| Uuid::try_parse(&id).ok()),
        Name::UpdatedAt => head.updated_at = instant(value),
        Name::CreatedAt => head.created_at = instant(value),
        Name::Items | Name::TotalItems | Name::HasMorePages | Name::Error | Name::Other => {}
    });
    head
}

/// The members that are looked at; all others are skipped without being read.
#[derive(Clone, Copy)]
enum Name {
    Id,
    UpdatedAt,
    CreatedAt,
    Items,
    TotalItems,
    HasMorePages,
    Error,
    Other,
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Named;
        impl Visitor<'_> for Named {
            type Value = Name;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a member's name")
            }
            fn visit_str<E>(self, name: &str) -> Result<Name, E> {
                Ok(match name {
                    "id" => Name::Id,
                    "updatedAt" => Name::UpdatedAt,
                    "createdAt" => Name::CreatedAt,
                    "items" => Name::Items,
                    "totalItems" => Name::TotalItems,
                    "hasMorePages" => Name::HasMorePages,
                    "error" => Name::Error,
                    _ => Name::Other,
                })
            }
        }
        deserializer.deserialize_identifier(Named)
    }
}

/// Calls `found` for every member of an object that has one of the names; the last of equal names
/// wins, as everywhere else.
fn each_member<'a>(
    text: &'a str,
    found: impl FnMut(Name, &'a RawValue),
) -> Result<(), serde_json::Error> {
    struct Members<'a, F>(F, PhantomData<&'a ()>);
    impl<'a, F: FnMut(Name, &'a RawValue)> Visitor<'a> for Members<'a, F> {
        type Value = ();
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<M: MapAccess<'a>>(mut self, mut map: M) -> Result<(), M::Error> {
            while let Some(name) = map.next_key::<Name>()? {
                if matches!(name, Name::Other) {
                    map.next_value::<IgnoredAny>()?;
                } else {
                    (self.0)(name, map.next_value()?);
                }
            }
            Ok(())
        }
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    deserializer.deserialize_map(Members(found, PhantomData))?;
    deserializer.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: Shape = Shape::Page { number: 1, size: 2 };
    const ID: &str = "43f4d144-bff5-4a50-b940-b74d0b95e198";

    fn read(body: &str, shape: Shape) -> Result<Decoded, (Kind, String)> {
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
            (r#"{"items":[1,2],"hasMorePages":false}"#, 2, None, false),
            (r#"{"items":[1,2]}"#, 2, None, true),
            (r#"{"items":[1,2],"hasMorePages":null}"#, 2, None, true),
            (r#"{"items":[1]}"#, 1, None, false),
            (
                r#"{"items":[],"hasMorePages":true,"totalItems":9}"#,
                0,
                Some(9),
                false,
            ),
            (r#"{"items":null,"totalItems":0}"#, 0, Some(0), false),
            (r#"{"items":null}"#, 0, None, false),
            (r#"{"pageNumber":1,"totalItems":0}"#, 0, Some(0), false),
            (r#"{"items":[1],"totalItems":"9"}"#, 1, None, false),
            (r#"{"items":[1],"totalItems":-1}"#, 1, None, false),
            (r#"{"items":[1],"totalItems":3.0}"#, 1, Some(3), false),
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
            ("", Kind::NoJson),
            ("  ", Kind::NoJson),
            ("<html>secret", Kind::NoJson),
            ("secret", Kind::NoJson),
            (r#"{"items":[{"secret":1"#, Kind::NoJson),
            (r#"{"items":[{"secret":1}]} secret"#, Kind::NoJson),
            (r#"{"items":[secret]}"#, Kind::NoJson),
            ("[1,", Kind::NoJson),
            ("17", Kind::Shape),
            ("null", Kind::Shape),
            (r#"{"secret":1}"#, Kind::Shape),
            (r#"{"items":"secret"}"#, Kind::Shape),
            (r#"{"items":null,"totalItems":4}"#, Kind::Shape),
            (r#"{"totalItems":4}"#, Kind::Shape),
            (r#"{"error":true,"text":"x"}"#, Kind::ErrorInside),
            (
                r#"{"error":true,"items":null,"key":"x"}"#,
                Kind::ErrorInside,
            ),
        ] {
            let (came, detail) = read(body, PAGE).unwrap_err();
            assert_eq!(came, kind, "{body}");
            assert!(!detail.contains("secret"), "{detail}");
        }
        assert!(decode(b"[]".to_vec(), Some("text/html"), PAGE).is_err());
        assert_eq!(read("[]", Shape::Record).unwrap_err().0, Kind::Shape);
        assert_eq!(read("null", Shape::Record).unwrap_err().0, Kind::Shape);
        assert_eq!(
            read(r#"{"error":true}"#, Shape::Record).unwrap_err().0,
            Kind::ErrorInside
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
                "createdAt":"2026-05-04 13:12:44.9"}}"#
        ));
        assert_eq!(
            whole,
            Head {
                id: Some(ID.parse().unwrap()),
                updated_at: Some(at),
                created_at: Some(at),
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
    fn bytes_that_are_no_text_spoil_only_the_record_they_are_in() {
        let mut body = br#"{"items":[{"name":"a"#.to_vec();
        body.extend([0xff, 0xfe]);
        body.extend(br#""},{"name":"b"}],"totalItems":2}"#);
        let page = decode(body, None, PAGE).unwrap();
        assert_eq!(raws(&page)[1], r#"{"name":"b"}"#);
    }

    proptest::proptest! {
        #[test]
        fn no_body_panics(body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
            for shape in [PAGE, Shape::List, Shape::Record] {
                let _ = decode(body.clone(), None, shape);
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
}
