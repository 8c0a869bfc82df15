//! Reads a record field by field.
//!
//! Owns which values are valid and the texts of objections. A field of the wrong type becomes null,
//! with an objection. A field that nobody reads is kept in `extra`. Must not know which fields a
//! record has.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde_json::value::RawValue;
use uuid::Uuid;

use super::json::{self, Field, Fields};
use crate::data::Timestamp;

/// The instants that `PostgreSQL` accepts in our form: the years 1 to 9999.
const INSTANTS: std::ops::RangeInclusive<i64> = -62_135_596_800_000_000..=253_402_300_799_999_999;

/// The maximum length of an enumeration's value, in bytes. Such columns are indexed, and an index
/// cannot store long texts.
const MAX_WORD: usize = 255;

/// The maximum number of objections to one record that are described. Others are only counted.
const MAX_OBJECTIONS: usize = 20;

/// The problems of a record: `utm.source: expected text, found a number`.
#[derive(Debug, Default)]
pub(super) struct Objections {
    texts: Vec<String>,
    more: usize,
}

impl Objections {
    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.texts.len() + self.more
    }

    /// Adds one about the field at a path.
    pub(super) fn add(&mut self, path: &str, expected: &str, found: &str) {
        if self.texts.len() < MAX_OBJECTIONS {
            self.texts
                .push(format!("{path}: expected {expected}, found {found}"));
        } else {
            self.more += 1;
        }
    }

    /// All of them in one line.
    pub(super) fn reason(&self) -> String {
        let mut reason = self.texts.join("; ");
        if self.more > 0 {
            // Writing to a String cannot fail.
            let _ = write!(reason, "; and {} more", self.more);
        }
        reason
    }
}

/// The type of a value, as text.
pub(super) fn kind_of(value: &RawValue) -> &'static str {
    match value.get().as_bytes().first() {
        Some(b'"') => "text",
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// An object whose fields are taken out one by one.
pub(super) struct Record<'a> {
    fields: Vec<Option<Field<'a>>>,
    /// The position after the field that was found last. Fields are read in the order in which the
    /// platform sends them, so the next one is usually there.
    next: usize,
    /// Its path in the whole record. Empty for the record itself.
    path: &'static str,
}

impl<'a> Record<'a> {
    /// Reads an object; `Err` says what the text is instead.
    pub(super) fn parse(text: &'a str) -> Result<Self, &'static str> {
        match serde_json::from_str::<Fields<'a>>(text) {
            Ok(fields) => Ok(Self::of(fields, "")),
            Err(_) => Err(serde_json::from_str::<&RawValue>(text).map_or("invalid JSON", kind_of)),
        }
    }

    fn of(fields: Fields<'a>, path: &'static str) -> Self {
        Self {
            fields: fields.0.into_iter().map(Some).collect(),
            next: 0,
            path,
        }
    }

    /// An object without fields, instead of one that is missing.
    pub(super) fn empty(path: &'static str) -> Self {
        Self::of(Fields(Vec::new()), path)
    }

    /// The object that `value` is.
    pub(super) fn nested(value: &'a RawValue, path: &'static str) -> Option<Self> {
        let fields = serde_json::from_str::<Fields<'a>>(value.get()).ok()?;
        Some(Self::of(fields, path))
    }

    /// The path of a field, as objections show it.
    pub(super) fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        }
    }

    fn find(&self, name: &str) -> Option<usize> {
        let is_it = |at: &usize| matches!(&self.fields[*at], Some((known, _)) if known == name);
        (self.next..self.fields.len())
            .find(is_it)
            .or_else(|| (0..self.next).find(is_it))
    }

    /// Whether the field exists, even if it is null.
    pub(super) fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// The field's value, without taking it out. `None` if it is absent or null.
    pub(super) fn peek(&self, name: &str) -> Option<&'a RawValue> {
        let (_, value) = self.fields[self.find(name)?].as_ref()?;
        (value.get() != "null").then_some(*value)
    }

    /// The field's value; `None` if it is absent or null.
    pub(super) fn take(&mut self, name: &str) -> Option<&'a RawValue> {
        let at = self.find(name)?;
        self.next = at + 1;
        let (_, value) = self.fields[at].take()?;
        (value.get() != "null").then_some(value)
    }

    /// The value of the first of several spellings that has one. The other spellings are kept as
    /// extra fields unless they are null.
    pub(super) fn take_any(&mut self, names: &[&str]) -> Option<&'a RawValue> {
        let mut found = None;
        for name in names {
            if found.is_none() || self.peek(name).is_none() {
                found = found.or(self.take(name));
            }
        }
        found
    }

    /// Puts back the field that was taken last: it counts as an extra field.
    pub(super) fn put_back(&mut self, name: &str, value: &'a RawValue) {
        if let Some(field) = self
            .next
            .checked_sub(1)
            .and_then(|at| self.fields.get_mut(at))
        {
            *field = Some((Cow::Owned(name.to_owned()), value));
        }
    }

    /// The fields that nobody read, as the fields of a JSON object in canonical form.
    pub(super) fn leftovers(self) -> impl Iterator<Item = Field<'a>> {
        self.fields.into_iter().flatten()
    }

    /// An object. `None` if it is absent or null, or if it is something else, which adds an
    /// objection.
    pub(super) fn object(
        &mut self,
        name: &'static str,
        objections: &mut Objections,
    ) -> Option<(&'a RawValue, Self)> {
        let value = self.take(name)?;
        let nested = Self::nested(value, name);
        if nested.is_none() {
            objections.add(&self.path_of(name), "an object", kind_of(value));
        }
        Some((value, nested?))
    }

    /// Parses a field's value with `read`. Adds an objection if that fails.
    pub(super) fn read<T>(
        &mut self,
        names: &[&str],
        expected: &str,
        objections: &mut Objections,
        read: impl FnOnce(&'a RawValue) -> Option<T>,
    ) -> Option<T> {
        let value = match names {
            [name] => self.take(name)?,
            _ => self.take_any(names)?,
        };
        let found = read(value);
        if found.is_none() {
            let name = names.first().copied().unwrap_or_default();
            objections.add(&self.path_of(name), expected, kind_of(value));
        }
        found
    }
}

/// A text, without NUL.
pub(super) fn text(value: &RawValue) -> Option<Cow<'_, str>> {
    value
        .get()
        .starts_with('"')
        .then(|| json::decode(value.get()))
}

/// A text, or a number or boolean as it is written.
pub(super) fn plain(value: &RawValue) -> Option<Cow<'_, str>> {
    let is_nested = value.get().starts_with(['{', '[']);
    text(value).or_else(|| (!is_nested).then(|| Cow::Borrowed(value.get())))
}

/// A word of an enumeration, known or not.
pub(super) fn word(value: &RawValue) -> Option<Cow<'_, str>> {
    text(value).filter(|word| word.len() <= MAX_WORD)
}

/// A uuid, in any of its notations. The nil uuid is one: see [`is_placeholder`].
pub(super) fn uuid(value: &RawValue) -> Option<Uuid> {
    Uuid::try_parse(&text(value)?).ok()
}

/// The uuid of something that exists: any but the nil uuid.
pub(super) fn id(value: &RawValue) -> Option<Uuid> {
    uuid(value).filter(|id| !id.is_nil())
}

/// An instant.
pub(super) fn time(value: &RawValue) -> Option<Timestamp> {
    let at = Timestamp::parse(&text(value)?).ok()?;
    INSTANTS.contains(&at.micros()).then_some(at)
}

/// Whether a value is what .NET writes for an unset value: the nil uuid, or an instant of the year 1.
pub(super) fn is_placeholder(value: &RawValue) -> bool {
    let text = value.get();
    // Most values are none, and are not parsed once more.
    if text.starts_with("\"0001-") {
        return Timestamp::parse(&json::decode(text)).is_ok_and(Timestamp::is_unset);
    }
    text.starts_with("\"00000000") && uuid(value).is_some_and(|id| id.is_nil())
}

/// True or false.
pub(super) fn boolean(value: &RawValue) -> Option<bool> {
    value.get().parse().ok()
}

/// A whole number of 64 bits.
pub(super) fn int(value: &RawValue) -> Option<i64> {
    value.get().parse().ok()
}

/// A number that fits a `double`.
pub(super) fn real(value: &RawValue) -> Option<f64> {
    let number = value.get();
    if !number.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
        return None;
    }
    number.parse().ok().filter(|value: &f64| value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> &RawValue {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_field_is_taken_once_and_what_is_left_is_known() {
        let mut record = Record::parse(r#"{"a":1,"b":null,"c":"x","a":2}"#).unwrap();
        assert_eq!(record.take("c").unwrap().get(), "\"x\"");
        assert_eq!(record.take("a").unwrap().get(), "2");
        assert!(record.take("a").is_none());
        let left: Vec<_> = record.leftovers().map(|(name, _)| name).collect();
        assert_eq!(left, ["b"]);
    }

    #[test]
    fn the_first_spelling_with_a_value_counts_and_null_ones_vanish() {
        let mut record = Record::parse(r#"{"one":null,"two":2,"three":null,"four":4}"#).unwrap();
        let found = record.take_any(&["one", "two", "three", "four"]).unwrap();
        assert_eq!(found.get(), "2");
        let left: Vec<_> = record.leftovers().map(|(name, _)| name).collect();
        assert_eq!(left, ["four"]);
    }

    #[test]
    fn names_are_exact_in_case() {
        let mut record = Record::parse(r#"{"Id":1}"#).unwrap();
        assert!(record.take("id").is_none());
    }

    #[test]
    fn what_is_no_object_is_named() {
        for (text, expected) in [
            ("7", "a number"),
            ("[]", "an array"),
            ("\"x\"", "text"),
            ("null", "null"),
            ("", "invalid JSON"),
            ("{\"a\":1", "invalid JSON"),
        ] {
            assert_eq!(Record::parse(text).err(), Some(expected), "{text}");
        }
    }

    #[test]
    fn values_of_another_type_are_not_converted() {
        for text in ["\"1\"", "1.5", "99999999999999999999", "true", "[1]", "{}"] {
            assert_eq!(int(value(text)), None, "{text}");
        }
        for text in ["\"1\"", "1e999", "true", "[]"] {
            assert_eq!(real(value(text)), None, "{text}");
        }
        for text in ["1", "\"true\"", "{}"] {
            assert_eq!(boolean(value(text)), None, "{text}");
        }
        for text in [
            "\"0000-06-01T00:00:00Z\"",
            "\"9999-12-31T23:59:59-03:00\"",
            "1767225600",
        ] {
            assert_eq!(time(value(text)), None, "{text}");
        }
        assert!(word(value(&format!("\"{}\"", "x".repeat(256)))).is_none());
    }

    #[test]
    fn nil_uuids_and_instants_of_the_year_one_stand_for_nothing() {
        for text in [
            "\"00000000-0000-0000-0000-000000000000\"",
            "\"00000000000000000000000000000000\"",
            "\"0001-01-01T00:00:00\"",
            "\"0001-01-01T00:00:00Z\"",
            "\"0001-01-01T00:00:00.0000000-03:06\"",
            "\"0001-01-01T00:00:00+03:00\"",
        ] {
            assert!(is_placeholder(value(text)), "{text}");
        }
        for text in [
            "\"00000000-0000-0000-0000-000000000001\"",
            "\"0002-01-01T00:00:00Z\"",
            "\"00000000\"",
            "null",
            "0",
        ] {
            assert!(!is_placeholder(value(text)), "{text}");
        }
    }

    #[test]
    fn a_flood_of_objections_is_counted() {
        let mut objections = Objections::default();
        for _ in 0..25 {
            objections.add("a.b", "text", "a number");
        }
        let reason = objections.reason();
        assert!(reason.starts_with("a.b: expected text, found a number; "));
        assert!(reason.ends_with("; and 5 more"), "{reason}");
    }
}
