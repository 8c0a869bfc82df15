//! Maps a record's fields to a row's columns.
//!
//! Owns the form of a row: its values, its hash and its extra fields. Must not know which column
//! comes from which field; the modules of the resources do.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde_json::value::RawValue;
use uuid::Uuid;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::json;
use super::record::{self, Objections, Record};
use super::span;
use crate::data::{ColumnGroup, Table, Timestamp, Values};

/// The values of a row, filled column by column in the order of its table.
#[derive(Debug, Clone)]
pub(super) struct RowJson {
    table: &'static Table,
    values: Values,
    /// The next column of the table.
    next: usize,
    /// The groups of the skipped columns.
    skipped: ColumnGroup,
}

impl RowJson {
    /// A row that starts with its key.
    pub(super) fn new(table: &'static Table, id: Uuid, capacity: usize) -> Self {
        let mut row = Self {
            table,
            values: Values::with_capacity(capacity, table.columns.len()),
            next: 0,
            skipped: ColumnGroup::NONE,
        };
        row.uuid(table.key, Some(id));
        row
    }

    /// The next value, for this column. Only columns of a group may be skipped.
    fn column(&mut self, name: &str, write: impl FnOnce(&mut String)) {
        loop {
            let column = self.table.columns.get(self.next);
            debug_assert!(column.is_some(), "{name} is not to come");
            self.next += 1;
            let Some(column) = column.filter(|column| column.name != name) else {
                break;
            };
            debug_assert_ne!(
                column.group,
                ColumnGroup::NONE,
                "{name} before {}",
                column.name
            );
            self.skipped = self.skipped.with(column.group);
        }
        self.values.push(write);
    }

    pub(super) fn null(&mut self, name: &str) {
        self.column(name, |out| out.push_str("null"));
    }

    pub(super) fn text(&mut self, name: &str, value: Option<&str>) {
        match value {
            Some(text) => self.column(name, |out| json::push_string(text, out)),
            None => self.null(name),
        }
    }

    pub(super) fn uuid(&mut self, name: &str, value: Option<Uuid>) {
        match value {
            Some(id) => self.column(name, |out| {
                let mut text = Uuid::encode_buffer();
                out.push('"');
                out.push_str(id.hyphenated().encode_lower(&mut text));
                out.push('"');
            }),
            None => self.null(name),
        }
    }

    pub(super) fn time(&mut self, name: &str, value: Option<Timestamp>) {
        match value {
            Some(at) => self.column(name, |out| {
                // Writing to a String cannot fail.
                let _ = write!(out, "\"{at}\"");
            }),
            None => self.null(name),
        }
    }

    pub(super) fn boolean(&mut self, name: &str, value: Option<bool>) {
        self.column(name, |out| {
            out.push_str(match value {
                Some(true) => "true",
                Some(false) => "false",
                None => "null",
            });
        });
    }

    pub(super) fn int(&mut self, name: &str, value: Option<i64>) {
        match value {
            Some(number) => self.column(name, |out| {
                let _ = write!(out, "{number}");
            }),
            None => self.null(name),
        }
    }

    fn real(&mut self, name: &str, value: Option<f64>) {
        match value {
            Some(number) => self.column(name, |out| {
                // Debug writes the shortest text that reads back the same, as `1e300` if long.
                let _ = write!(out, "{number:?}");
            }),
            None => self.null(name),
        }
    }

    fn json(&mut self, name: &str, value: Option<&RawValue>) {
        match value {
            Some(value) => self.column(name, |out| json::push_value(value, out)),
            None => self.null(name),
        }
    }

    /// Ends the row with the extra fields.
    pub(super) fn extra(&mut self, extra: Extra) {
        match extra.finish() {
            Some(object) => self.column("extra", |out| out.push_str(&object)),
            None => self.null("extra"),
        }
    }

    /// A hash of the content so far, of the skipped groups, and of a set of tags.
    pub(super) fn hash(&self, tags: Option<&[Uuid]>) -> i64 {
        let tags = tags.map_or(0, |tags| tags_hash(tags).cast_unsigned() | 1);
        let seed = tags ^ (u64::from(self.skipped.bits()) << 1);
        xxh3_64_with_seed(self.values.text().as_bytes(), seed).cast_signed()
    }

    /// The values of the row, with the time of reading if the table has a column for it.
    pub(super) fn finish(mut self, observed_at: Option<Timestamp>) -> Values {
        if observed_at.is_some() {
            self.time("observed_at", observed_at);
        }
        self.values
    }
}

/// The hash of a sorted set of tags.
pub(super) fn tags_hash(tags: &[Uuid]) -> i64 {
    let bytes: Vec<u8> = tags.iter().flat_map(|tag| *tag.as_bytes()).collect();
    xxh3_64(&bytes).cast_signed()
}

/// Fields without a column: name to canonical JSON.
#[derive(Debug, Default)]
pub(super) struct Extra(Vec<(String, String)>);

impl Extra {
    /// Keeps a value.
    pub(super) fn keep(&mut self, name: &str, value: &RawValue) {
        let mut text = String::new();
        json::push_value(value, &mut text);
        self.0.push((name.to_owned(), text));
    }

    /// Keeps what is left of a record's own fields.
    pub(super) fn rest(&mut self, record: Record<'_>) {
        for (name, value) in record.leftovers() {
            self.keep(&name, value);
        }
    }

    /// What is left of a record.
    pub(super) fn of(record: Record<'_>) -> Self {
        let mut extra = Self::default();
        extra.rest(record);
        extra
    }

    /// Keeps what is left of a nested object, under its name.
    pub(super) fn nest(&mut self, name: &str, inner: Self) {
        if let Some(object) = inner.finish() {
            self.0.push((name.to_owned(), object));
        }
    }

    /// Whether there is nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn finish(mut self) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        // Names that differed by a NUL alone are equal by now; the later one counts.
        self.0.sort_by(|a, b| a.0.cmp(&b.0));
        let mut object = String::from("{");
        for (at, (name, value)) in self.0.iter().enumerate() {
            if self.0.get(at + 1).is_some_and(|(next, _)| next == name) {
                continue;
            }
            if object.len() > 1 {
                object.push(',');
            }
            json::push_string(name, &mut object);
            object.push(':');
            object.push_str(value);
        }
        object.push('}');
        Some(object)
    }
}

/// Maps fields of a record to columns of a row. Each method maps one field to one column. The first
/// argument is the platform's name of the field, the second the column.
pub(super) struct Mapper<'a, 'm> {
    /// Where the fields come from.
    pub(super) record: Record<'a>,
    /// Where they go.
    pub(super) row: &'m mut RowJson,
    /// Where objections go.
    pub(super) objections: &'m mut Objections,
}

impl<'a> Mapper<'a, '_> {
    pub(super) fn text(&mut self, field: &str, column: &str) -> Option<Cow<'a, str>> {
        self.text_of(&[field], column)
    }

    /// A text field whose name has several spellings.
    pub(super) fn text_of(&mut self, fields: &[&str], column: &str) -> Option<Cow<'a, str>> {
        let value = self
            .record
            .read(fields, "text", self.objections, record::text);
        self.row.text(column, value.as_deref());
        value
    }

    /// A text, a number or a boolean as text, for a field whose type is not documented.
    pub(super) fn plain(&mut self, field: &str, column: &str) {
        let value = self
            .record
            .read(&[field], "a text or number", self.objections, record::plain);
        self.row.text(column, value.as_deref());
    }

    /// A word of an enumeration, known or not.
    pub(super) fn word(&mut self, field: &str, column: &str) {
        let value = self
            .record
            .read(&[field], "a short text", self.objections, record::word);
        self.row.text(column, value.as_deref());
    }

    pub(super) fn uuid(&mut self, field: &str, column: &str) -> Option<Uuid> {
        let value = self.real_value(field, "a uuid", record::uuid);
        self.row.uuid(column, value);
        value
    }

    /// A reference to another record. If the field is missing, it is taken from the record's
    /// details: from the field `key` of the first of `details` that exists.
    pub(super) fn reference(
        &mut self,
        field: &str,
        column: &str,
        details: &[&str],
        key: &str,
    ) -> Option<Uuid> {
        let own = self.real_value(field, "a uuid", record::uuid);
        let value = own.or_else(|| {
            let shown = details.iter().find_map(|name| self.record.peek(name))?;
            let shown = match json::array(shown).as_deref() {
                Some([only]) => only,
                Some(_) => return None,
                None => shown,
            };
            record::id(Record::nested(shown, "")?.peek(key)?)
        });
        self.row.uuid(column, value);
        value
    }

    pub(super) fn time(&mut self, field: &str, column: &str) -> Option<Timestamp> {
        let value = self.real_value(field, "a time", record::time);
        self.row.time(column, value);
        value
    }

    /// The `updatedAt` of a record whose changes are followed by it. Without it, the record is
    /// stored by its content and gets an objection, since no sync finds its changes.
    pub(super) fn version(&mut self) -> Option<Timestamp> {
        let objections = self.objections.len();
        let version = self.time("updatedAt", "updated_at");
        if version.is_none() && self.objections.len() == objections {
            let path = self.record.path_of("updatedAt");
            self.objections.add(&path, "a time", "none");
        }
        version
    }

    /// The value of a field, parsed by `read`. A placeholder becomes null and is kept as an extra
    /// field.
    fn real_value<T>(
        &mut self,
        field: &str,
        expected: &str,
        read: impl FnOnce(&'a RawValue) -> Option<T>,
    ) -> Option<T> {
        let value = self.record.take(field)?;
        if record::is_placeholder(value) {
            self.record.put_back(field, value);
            return None;
        }
        let found = read(value);
        if found.is_none() {
            let path = self.record.path_of(field);
            self.objections.add(&path, expected, record::kind_of(value));
        }
        found
    }

    pub(super) fn boolean(&mut self, field: &str, column: &str) {
        let value = self
            .record
            .read(&[field], "a boolean", self.objections, record::boolean);
        self.row.boolean(column, value);
    }

    pub(super) fn int(&mut self, field: &str, column: &str) {
        let value = self
            .record
            .read(&[field], "a whole number", self.objections, record::int);
        self.row.int(column, value);
    }

    pub(super) fn real(&mut self, field: &str, column: &str) {
        let value = self
            .record
            .read(&[field], "a number", self.objections, record::real);
        self.row.real(column, value);
    }

    pub(super) fn json(&mut self, field: &str, column: &str) {
        let value = self.record.take(field);
        self.row.json(column, value);
    }

    /// A duration: its text, and its seconds in a second column. Text that is not a duration is
    /// also kept in `extra`, which `status` shows. The word "null" means null (API notes, 4.5).
    pub(super) fn span(&mut self, field: &str, column: &str, seconds: &str, extra: &mut Extra) {
        let raw = self.record.peek(field);
        let value = self
            .record
            .read(&[field], "text", self.objections, record::text)
            .filter(|text| text != "null" && !text.trim().is_empty());
        let parsed = value.as_deref().and_then(span::seconds);
        if let (Some(raw), Some(_), None) = (raw, &value, parsed) {
            extra.keep(field, raw);
        }
        self.row.text(column, value.as_deref());
        self.row.int(seconds, parsed);
    }

    /// Maps a nested object; without it, its columns are null.
    pub(super) fn nested(
        &mut self,
        field: &'static str,
        extra: &mut Extra,
        map: impl FnOnce(&mut Mapper<'a, '_>),
    ) {
        let record = self
            .record
            .object(field, self.objections)
            .map_or_else(|| Record::empty(field), |(_, record)| record);
        let mut inner = Mapper {
            record,
            row: &mut *self.row,
            objections: &mut *self.objections,
        };
        map(&mut inner);
        extra.nest(field, Extra::of(inner.record));
    }
}

/// `utm` (API notes, 4.6).
pub(super) fn utm(m: &mut Mapper<'_, '_>) {
    m.text("sourceId", "utm_source_id");
    m.text("source", "utm_source");
    m.text("clid", "utm_clid");
    m.text("medium", "utm_medium");
    m.text("campaign", "utm_campaign");
    m.text("content", "utm_content");
    m.text("headline", "utm_headline");
    m.text("term", "utm_term");
    m.text("referralUrl", "utm_referral_url");
}

/// `identity` of a channel, `channelDetails` of a session (API notes, 4.6).
pub(super) fn identity(m: &mut Mapper<'_, '_>) {
    m.text("humanId", "identity_human_id");
    m.text("platform", "identity_platform");
    m.text("provider", "identity_provider");
    m.text("providerVariable", "identity_provider_variable");
    m.text("pictureUrl", "identity_picture_url");
    m.text("displayName", "identity_display_name");
}

#[cfg(test)]
mod tests {
    use super::super::tables;
    use super::*;

    #[test]
    fn leftovers_are_sorted_and_each_name_occurs_once() {
        let mut extra = Extra::default();
        let record = Record::parse(r#"{"z":1,"a":{"y":2,"b":3},"m\u0000":4,"m":5}"#).unwrap();
        extra.rest(record);
        assert_eq!(
            extra.finish().as_deref(),
            Some(r#"{"a":{"b":3,"y":2},"m":5,"z":1}"#)
        );
        assert_eq!(Extra::default().finish(), None);
    }

    #[test]
    fn numbers_are_written_as_json() {
        for number in [349.9, 1e300, -0.0, 5e-324, 3.0] {
            let mut row = RowJson::new(&tables::TAG_NAMES, Uuid::nil(), 0);
            row.real("name", Some(number));
            let values = row.finish(None);
            let read: f64 = serde_json::from_str(values.iter().nth(1).unwrap()).unwrap();
            assert_eq!(read.to_bits(), number.to_bits());
        }
    }

    #[test]
    fn the_hash_tells_unknown_tags_from_no_tags() {
        let row = RowJson::new(&tables::TAG_NAMES, Uuid::nil(), 0);
        assert_ne!(row.hash(None), row.hash(Some(&[])));
        assert_ne!(row.hash(Some(&[])), row.hash(Some(&[Uuid::nil()])));
    }
}
