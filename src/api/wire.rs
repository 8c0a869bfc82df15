//! Decodes answers: splits them into records without interpreting the records.
//!
//! Owns the envelope, the end of paging, and the few fields of a record that a walk needs. Must not
//! know what a record means: an invalid record passes here and becomes a reject later.

mod records;

use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::data::{Echo, Head, Item, Timestamp};

use self::records::Record;
use super::problem;
use super::retry::{FailedRequest, FailureKind};

/// The expected shape of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A page of a list.
    Page {
        /// The page's number, from 1.
        number: u32,
        /// Records per page.
        size: u32,
    },
    /// A complete list: a plain array or, to be safe, a page (API notes, 3.1).
    List,
    /// One record.
    Record,
}

/// A body, split into records.
#[derive(Debug, Clone)]
pub(super) struct Decoded {
    pub(super) body: Arc<str>,
    pub(super) items: Vec<Item>,
    pub(super) total: Option<u64>,
    pub(super) has_more: bool,
    pub(super) contradictory: bool,
    pub(super) silent: bool,
    pub(super) order_by: Repeated,
}

impl Decoded {
    /// Records of a body without any other information. The caller fills in the body.
    pub(super) fn of(items: Vec<Item>) -> Self {
        Self {
            body: Arc::default(),
            items,
            total: None,
            has_more: false,
            contradictory: false,
            silent: false,
            order_by: Repeated::default(),
        }
    }
}

/// How an answer repeats a text parameter of the request (API notes, 17).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Repeated {
    /// It has no such field.
    #[default]
    Absent,
    /// The field is null, or not text.
    Null,
    /// The field is this text.
    Text(String),
}

impl Repeated {
    /// Compares this with the value that was sent, if the parameter was sent.
    pub(super) fn echo(&self, sent: Option<&str>) -> Echo {
        match (sent, self) {
            (None, _) | (_, Self::Absent) => Echo::Silent,
            (Some(sent), Self::Text(text)) if text.eq_ignore_ascii_case(sent) => Echo::Same,
            (Some(_), Self::Null | Self::Text(_)) => Echo::Other,
        }
    }
}

/// Decodes the body of a successful answer.
pub(super) fn decode(
    body: Vec<u8>,
    content_type: Option<&str>,
    shape: Shape,
) -> Result<Decoded, FailedRequest> {
    if problem::is_html(&body, content_type) || body.iter().all(u8::is_ascii_whitespace) {
        let came = problem::describe(&body, content_type);
        return Err(FailedRequest {
            html: problem::is_html(&body, content_type),
            ..FailedRequest::new(FailureKind::NoJson, format!("status 200 with {came}"))
        });
    }
    // Invalid UTF-8 spoils only the text that contains it, not the page.
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
            return Err(wrong_shape("the JSON has another shape than documented"));
        }
    };
    Ok(Decoded {
        body: text.into(),
        ..cut
    })
}

/// Says where the JSON is invalid, but shows no content.
fn no_json(error: &serde_json::Error) -> FailedRequest {
    if error.is_eof() {
        FailedRequest::new(FailureKind::NoJson, "the JSON is cut off")
    } else {
        FailedRequest::new(
            FailureKind::NoJson,
            format!(
                "the body is not valid JSON at line {}, column {}",
                error.line(),
                error.column()
            ),
        )
    }
}

fn wrong_shape(detail: &str) -> FailedRequest {
    FailedRequest::new(FailureKind::Shape, detail)
}

/// Splits an array that was parsed as part of `text`.
fn items(text: &str, raws: Vec<&RawValue>) -> Vec<Item> {
    raws.into_iter()
        .map(|raw| Item {
            head: head(raw.get()),
            raw: range(text, raw.get()),
        })
        .collect()
}

/// The position of a part in the text that it was borrowed from.
fn range(text: &str, part: &str) -> Range<usize> {
    let start = offset(text, part);
    start..start + part.len()
}

/// The beginning of a part in the text that it was borrowed from.
fn offset(text: &str, part: &str) -> usize {
    part.as_ptr() as usize - text.as_ptr() as usize
}

fn array(text: &str, shape: Shape) -> Result<Decoded, FailedRequest> {
    let items = if let Ok(records) = serde_json::from_str(text) {
        records::cut(text, records)
    } else {
        let raws = serde_json::from_str(text).map_err(|error| no_json(&error))?;
        items(text, raws)
    };
    // If it is longer than a page, the platform ignored the paging, and this is everything.
    let has_more = match shape {
        Shape::Page { size, .. } => !items.is_empty() && items.len() == size as usize,
        Shape::List | Shape::Record => false,
    };
    Ok(Decoded {
        total: (!has_more && matches!(shape, Shape::List)).then_some(items.len() as u64),
        has_more,
        ..Decoded::of(items)
    })
}

fn envelope(text: &str, shape: Shape) -> Result<Decoded, FailedRequest> {
    let fields = match fields(text) {
        // Whatever items come with it.
        Ok(Fields { error: true, .. }) => return Err(error_inside(text)),
        Ok(fields) => fields,
        // `says_error` fails on invalid JSON, too. Otherwise the items are not an array, for which
        // serde_json has several kinds of errors.
        Err(_) => {
            return Err(if says_error(text)? {
                error_inside(text)
            } else {
                wrong_shape("the page's items are not an array")
            });
        }
    };
    let total = fields.total.and_then(whole);
    if fields.items.is_none() && total.is_none() {
        // A page after the last one may have null items.
        if !fields.has_items {
            return Err(wrong_shape("the object has no items, so it is not a page"));
        }
        if matches!(shape, Shape::List) {
            return Err(wrong_shape("the list is null"));
        }
    }
    let mut items = fields.items.unwrap_or_default();
    let says_more = fields.more.and_then(|raw| match raw.get() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    });
    let order_by = match fields.order_by.map(RawValue::get) {
        None => Repeated::Absent,
        Some(raw) => serde_json::from_str(raw).map_or(Repeated::Null, Repeated::Text),
    };
    let pages = fields.pages.and_then(whole);
    let is_behind = is_behind(shape, fields.number, total);
    if is_behind {
        items.clear();
    }
    let shown = items.len() as u64;
    let (signs, denied, full) = match shape {
        Shape::Page { number, size } => {
            if !is_behind {
                turned_to(number, fields.number)?;
            }
            let (number, size) = (u64::from(number), u64::from(size));
            let before = number.saturating_sub(1) * size;
            let signs = [
                says_more,
                pages.map(|pages| pages > number),
                total.map(|total| total > number * size),
            ];
            let denied = shown > 0 && total.is_some_and(|total| total < before + shown);
            (signs, denied, shown >= size)
        }
        Shape::List | Shape::Record => {
            if shown == 0 && total.is_some_and(|total| total > 0) {
                return Err(wrong_shape("the list counts records but shows none"));
            }
            let signs = [
                says_more,
                pages.map(|pages| pages > 1),
                total.map(|total| total > shown),
            ];
            (signs, total.is_some_and(|total| total < shown), false)
        }
    };
    let is_page = matches!(shape, Shape::Page { .. });
    let is_said = |more| signs.contains(&Some(more));
    Ok(Decoded {
        total,
        // One sign that more pages follow is enough, even if others say the opposite. A full page
        // is such a sign.
        has_more: shown > 0 && (is_said(true) || full),
        contradictory: denied || is_said(true) && is_said(false),
        silent: is_page && !is_said(false) && (shown == 0 || signs.iter().all(Option::is_none)),
        order_by,
        ..Decoded::of(items)
    })
}

/// Parses a count. Anything other than a whole number is `None`.
fn whole(raw: &RawValue) -> Option<u64> {
    let number: f64 = serde_json::from_str(raw.get()).ok()?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be a whole number in range"
    )]
    (number >= 0.0 && number.fract() == 0.0 && number < 1e15).then_some(number as u64)
}

/// Whether the request was for a page past the end, and the server sent the last page instead, with
/// its number: the requested page does not exist.
fn is_behind(shape: Shape, said: Option<&RawValue>, total: Option<u64>) -> bool {
    let (Shape::Page { number, size }, Some(said), Some(total)) =
        (shape, said.and_then(whole), total)
    else {
        return false;
    };
    let (number, size) = (u64::from(number), u64::from(size));
    let is_last = said >= 1 && said.saturating_mul(size) >= total;
    said < number && is_last && total <= number.saturating_sub(1) * size
}

/// Refuses a page with another number than the requested one. A page without a number may be the
/// right one.
fn turned_to(number: u32, said: Option<&RawValue>) -> Result<(), FailedRequest> {
    let said: Option<f64> = said.and_then(|raw| serde_json::from_str(raw.get()).ok());
    match said {
        #[expect(
            clippy::float_cmp,
            reason = "a number that is written the same is the same"
        )]
        Some(said) if said != f64::from(number) => Err(FailedRequest::new(
            FailureKind::Ignored("PageNumber"),
            format!("the request was for page {number}, the answer is page {said}"),
        )),
        _ => Ok(()),
    }
}

fn record(text: &str) -> Result<Decoded, FailedRequest> {
    let says_error = says_error(text)?;
    let head = head(text);
    if says_error && head.id.is_none() {
        return Err(error_inside(text));
    }
    let item = Item {
        head,
        raw: 0..text.len(),
    };
    Ok(Decoded {
        total: Some(1),
        ..Decoded::of(vec![item])
    })
}

fn error_inside(text: &str) -> FailedRequest {
    let said = problem::describe(text.as_bytes(), None);
    FailedRequest::new(
        FailureKind::ErrorInside,
        format!("status 200 with an error in the body: {said}"),
    )
}

/// The fields of an envelope, and its records. Almost every record is an object with members, and such
/// records are split and read in one pass.
fn fields(text: &str) -> Result<Fields<'_, Item>, serde_json::Error> {
    if let Ok(fields) = serde_json::from_str::<Fields<'_, Record<'_>>>(text) {
        return Ok(fields.split(|records| records::cut(text, records)));
    }
    let fields: Fields<'_, &RawValue> = serde_json::from_str(text)?;
    Ok(fields.split(|raws| items(text, raws)))
}

/// The fields of an envelope as raw JSON.
struct Fields<'a, R> {
    /// Split while the envelope is parsed, to avoid parsing twice.
    items: Option<Vec<R>>,
    /// Whether there is a member `items`, even if it is null.
    has_items: bool,
    total: Option<&'a RawValue>,
    pages: Option<&'a RawValue>,
    more: Option<&'a RawValue>,
    number: Option<&'a RawValue>,
    order_by: Option<&'a RawValue>,
    error: bool,
}

/// Whether an object says that it is an error.
fn says_error(text: &str) -> Result<bool, FailedRequest> {
    let mut says_error = false;
    each_member(text, |name, value| {
        if matches!(name, Name::Error) {
            says_error = value.get() == "true";
        }
    })
    .map_err(|error| no_json(&error))?;
    Ok(says_error)
}

impl<R> Default for Fields<'_, R> {
    fn default() -> Self {
        Self {
            items: None,
            has_items: false,
            total: None,
            pages: None,
            more: None,
            number: None,
            order_by: None,
            error: false,
        }
    }
}

impl<'a, R> Fields<'a, R> {
    /// The same fields with records of another type.
    fn split<T>(self, items: impl FnOnce(Vec<R>) -> Vec<T>) -> Fields<'a, T> {
        Fields {
            items: self.items.map(items),
            has_items: self.has_items,
            total: self.total,
            pages: self.pages,
            more: self.more,
            number: self.number,
            order_by: self.order_by,
            error: self.error,
        }
    }
}

impl<'de, R: Deserialize<'de>> Deserialize<'de> for Fields<'de, R> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Envelope<R>(PhantomData<R>);
        impl<'de, R: Deserialize<'de>> Visitor<'de> for Envelope<R> {
            type Value = Fields<'de, R>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Fields<'de, R>, M::Error> {
                let mut found = Fields::default();
                while let Some(name) = map.next_key::<Name>()? {
                    match name {
                        Name::Items => {
                            found.items = map.next_value()?;
                            found.has_items = true;
                        }
                        Name::TotalItems => found.total = Some(map.next_value()?),
                        Name::TotalPages => found.pages = Some(map.next_value()?),
                        Name::HasMorePages => found.more = Some(map.next_value()?),
                        Name::PageNumber => found.number = Some(map.next_value()?),
                        Name::OrderBy => found.order_by = Some(map.next_value()?),
                        Name::Error => {
                            found.error = map.next_value::<&RawValue>()?.get() == "true";
                        }
                        Name::Id
                        | Name::UpdatedAt
                        | Name::CreatedAt
                        | Name::LastInteractionDate
                        | Name::Other => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(found)
            }
        }
        deserializer.deserialize_map(Envelope(PhantomData))
    }
}

/// The readable part of a record's head. If the record is cut off, that is what comes before the
/// cut. If it is not an object, the head is empty.
pub(super) fn head(record: &str) -> Head {
    let mut head = Head::default();
    // The members before an error are kept, so the error itself is ignored.
    let _incomplete = each_member(record, |name, value| note(&mut head, name, value));
    head
}

/// Notes a member of a record in its head.
fn note(head: &mut Head, name: Name, value: &RawValue) {
    let text = |raw: &RawValue| serde_json::from_str::<String>(raw.get()).ok();
    let instant = |raw: &RawValue| {
        let at = Timestamp::parse(&text(raw)?).ok()?;
        (!at.is_unset()).then_some(at)
    };
    match name {
        Name::Id => {
            head.id = text(value)
                .and_then(|id| Uuid::try_parse(&id).ok())
                .filter(|id| !id.is_nil());
        }
        Name::UpdatedAt => head.updated_at = instant(value),
        Name::CreatedAt => head.created_at = instant(value),
        Name::LastInteractionDate => head.last_interaction_at = instant(value),
        Name::Items
        | Name::TotalItems
        | Name::TotalPages
        | Name::HasMorePages
        | Name::PageNumber
        | Name::OrderBy
        | Name::Error
        | Name::Other => {}
    }
}

/// The members that are parsed. All others are skipped.
#[derive(Clone, Copy)]
enum Name {
    Id,
    UpdatedAt,
    CreatedAt,
    LastInteractionDate,
    Items,
    TotalItems,
    TotalPages,
    HasMorePages,
    PageNumber,
    OrderBy,
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
                    "lastInteractionDate" => Name::LastInteractionDate,
                    "items" => Name::Items,
                    "totalItems" => Name::TotalItems,
                    "totalPages" => Name::TotalPages,
                    "hasMorePages" => Name::HasMorePages,
                    "pageNumber" => Name::PageNumber,
                    "orderBy" => Name::OrderBy,
                    "error" => Name::Error,
                    _ => Name::Other,
                })
            }
        }
        deserializer.deserialize_identifier(Named)
    }
}

/// Calls `found` for every member of an object that has one of the names. If a name occurs twice, the
/// last one counts.
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
