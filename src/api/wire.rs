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
pub enum Shape {
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
fn items(text: &str, raws: Vec<&RawValue>) -> Vec<Item> {
    raws.into_iter()
        .map(|raw| Item {
            head: head(raw.get()),
            raw: range(text, raw.get()),
        })
        .collect()
}

/// Where a part stands in the text that it was borrowed from.
fn range(text: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr() as usize - text.as_ptr() as usize;
    start..start + part.len()
}

fn array(text: &str, shape: Shape) -> Result<Decoded, Failure> {
    let raws = serde_json::from_str(text).map_err(|error| no_json(&error))?;
    let items = items(text, raws);
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
    let fields = match serde_json::from_str::<Fields<'_>>(text) {
        // Whatever items come with it.
        Ok(Fields { error: true, .. }) => return Err(error_inside(text)),
        Ok(fields) => fields,
        // Broken JSON fails in there, too. What is left has items that are no array, for which
        // serde_json has errors of several kinds.
        Err(_) => {
            return Err(if says_error(text)? {
                error_inside(text)
            } else {
                wrong_shape("a page whose items are no array")
            });
        }
    };
    let total = fields.total.and_then(|raw| {
        let number: f64 = serde_json::from_str(raw.get()).ok()?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked to be a whole number in range"
        )]
        (number >= 0.0 && number.fract() == 0.0 && number < 1e15).then_some(number as u64)
    });
    let items = if let Some(raws) = fields.items {
        items(text, raws)
    } else {
        // A page after the last one may well say null. But records that are counted and not
        // shown would be taken for read.
        let skipped = match shape {
            Shape::Page { number, size } => u64::from(number.saturating_sub(1)) * u64::from(size),
            Shape::List | Shape::Record => 0,
        };
        match total {
            Some(total) if total > skipped => {
                return Err(wrong_shape("a page that counts records and shows none"));
            }
            None if !fields.has_items => {
                return Err(wrong_shape("an object that is no page: it has no items"));
            }
            None if matches!(shape, Shape::List) => {
                return Err(wrong_shape("a list that is null"));
            }
            Some(_) | None => Vec::new(),
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
    let says_error = says_error(text)?;
    let head = head(text);
    if says_error && head.id.is_none() {
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
    /// Cut while the envelope is read, and not by a second reading.
    items: Option<Vec<&'a RawValue>>,
    /// Whether there is a member of that name, be it null.
    has_items: bool,
    total: Option<&'a RawValue>,
    more: Option<&'a RawValue>,
    error: bool,
}

/// Whether an object says that it is an error.
fn says_error(text: &str) -> Result<bool, Failure> {
    let mut says_error = false;
    each_member(text, |name, value| {
        if matches!(name, Name::Error) {
            says_error = value.get() == "true";
        }
    })
    .map_err(|error| no_json(&error))?;
    Ok(says_error)
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Envelope;
        impl<'de> Visitor<'de> for Envelope {
            type Value = Fields<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Fields<'de>, M::Error> {
                let mut found = Fields::default();
                while let Some(name) = map.next_key::<Name>()? {
                    match name {
                        Name::Items => {
                            found.items = map.next_value()?;
                            found.has_items = true;
                        }
                        Name::TotalItems => found.total = Some(map.next_value()?),
                        Name::HasMorePages => found.more = Some(map.next_value()?),
                        Name::Error => {
                            found.error = map.next_value::<&RawValue>()?.get() == "true";
                        }
                        Name::Id | Name::UpdatedAt | Name::CreatedAt | Name::Other => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(found)
            }
        }
        deserializer.deserialize_map(Envelope)
    }
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
mod tests;
