//! Rows for the store, and the descriptors of their tables.

use serde_json::Value;
use uuid::Uuid;

use super::{Resource, Timestamp};

/// The SQL type of a column. Each database has its own name for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ColumnType {
    /// `uuid`; lower-case text in SQLite.
    Uuid,
    /// `text`.
    Text,
    /// `timestamptz`; text with six decimals and `Z` in SQLite.
    Time,
    /// `boolean`; 0 or 1 in SQLite.
    Bool,
    /// `bigint`.
    Int,
    /// `double precision`.
    Real,
    /// `jsonb`; text in SQLite.
    Json,
}

/// A set of columns that an answer may lack (see [`super::Page::unknown`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ColumnGroup(u8);

impl ColumnGroup {
    /// No column.
    pub const NONE: Self = Self(0);
    /// `classification_*` of sessions.
    pub const CLASSIFICATION: Self = Self(1);
    /// `channel_type` of sessions.
    pub const CHANNEL_TYPE: Self = Self(2);
    /// `type` of sessions, which version 1 of the list does not have.
    pub const SESSION_TYPE: Self = Self(4);
    /// Details of the contact, its tags among them.
    pub const CONTACT: Self = Self(8);
    /// Details of the agent.
    pub const AGENT: Self = Self(16);
    /// Details of the department.
    pub const DEPARTMENT: Self = Self(32);
    /// Details of the channel.
    pub const CHANNEL: Self = Self(64);

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` is in this set; true of the empty set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// A number for the set. It is part of stored hashes, so it must never change.
    pub const fn bits(self) -> u8 {
        self.0
    }
}

/// A column that a mapping fills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Its name, in both databases.
    pub name: &'static str,
    /// Its type.
    pub kind: ColumnType,
    /// Its group, if some answers lack it.
    pub group: ColumnGroup,
    /// Whether two kinds of answers fill it. Then the later reading counts (by `observed_at`),
    /// whatever the record's version.
    pub shared: bool,
}

impl Column {
    /// A value of this column in one form for the platform's records and both databases.
    pub fn plain(&self, value: &Value) -> Value {
        match (self.kind, value) {
            (ColumnType::Time, Value::String(text)) => {
                Timestamp::parse(text).map_or_else(|_| value.clone(), |at| at.micros().into())
            }
            (ColumnType::Bool, Value::Number(number)) => Value::Bool(number.as_i64() != Some(0)),
            (ColumnType::Real, Value::Number(number)) => number.as_f64().into(),
            (ColumnType::Json, _) => plain_json(value),
            _ => value.clone(),
        }
    }
}

/// The same JSON with its numbers in the form that the databases write.
fn plain_json(value: &Value) -> Value {
    match value {
        Value::Number(number) => number.as_f64().into(),
        Value::Array(values) => values.iter().map(plain_json).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), plain_json(value)))
            .collect(),
        Value::Null | Value::Bool(_) | Value::String(_) => value.clone(),
    }
}

/// When a row may replace the stored one with the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Guard {
    /// If the new row has other content and was read later. A row that is older by `updated_at` may
    /// come from a stale copy; the store decides when to accept it.
    Version,
    /// If the new row has other content and was not read earlier, by `observed_at`. Its columns
    /// have no version of their own.
    Observed,
    /// Never: the row only makes sure that the key exists, for foreign keys.
    Absent,
}

/// A way of writing to a table. A table that several kinds of answers fill has several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    /// The table's name.
    pub name: &'static str,
    /// The name of its key column.
    pub key: &'static str,
    /// Whether several accounts may have rows with the same key. If so, the primary key is the key
    /// column and `account_id`; otherwise it is the key column alone.
    pub per_account: bool,
    /// The columns that this way of writing fills, including the key.
    pub columns: &'static [Column],
    /// When a stored row is replaced.
    pub guard: Guard,
}

impl Table {
    /// The columns of a row that lacks the columns of these groups.
    pub fn known(&self, unknown: ColumnGroup) -> impl Iterator<Item = &'static Column> {
        self.columns.iter().filter(move |column| {
            column.group == ColumnGroup::NONE || !unknown.contains(column.group)
        })
    }
}

/// The values of a row, as JSON texts in the order of its table's columns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Values {
    /// Separated by commas.
    text: String,
    ends: Vec<u32>,
}

impl Values {
    /// No values yet, with capacity for so many bytes and values.
    pub fn with_capacity(bytes: usize, values: usize) -> Self {
        Self {
            text: String::with_capacity(bytes),
            ends: Vec::with_capacity(values),
        }
    }

    /// Adds a value, which `write` appends to the text as valid JSON.
    pub fn push(&mut self, write: impl FnOnce(&mut String)) {
        if !self.ends.is_empty() {
            self.text.push(',');
        }
        write(&mut self.text);
        // A record is a part of one answer, which is far smaller.
        self.ends
            .push(u32::try_from(self.text.len()).unwrap_or(u32::MAX));
    }

    /// All values, as the content of a JSON array.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The values in groups of this size, each as the content of a JSON array.
    pub fn groups(&self, size: usize) -> impl Iterator<Item = &str> {
        let mut start = 0;
        self.ends.chunks(size).map(move |ends| {
            let end = ends.last().map_or(start, |&end| end as usize);
            let group = self.text.get(start..end).unwrap_or("null");
            start = end + 1;
            group
        })
    }

    /// The values one by one.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let value = self.text.get(start..end as usize).unwrap_or("null");
            start = end as usize + 1;
            value
        })
    }
}

/// When and how a record was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The answer's position in the order of readings. Only the order has a meaning: see
    /// [`ReadingOrder`](crate::schema::ReadingOrder).
    pub at: Timestamp,
    /// Whether the answer is authoritative: the record was read by id, or its list is read
    /// completely. A list that is read in pages may be a stale copy.
    pub certain: bool,
}

/// A row for a [`Table`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The key.
    pub key: Uuid,
    /// The record's `updatedAt`, for [`Guard::Version`].
    pub version: Option<Timestamp>,
    /// When and how it was read.
    pub reading: Reading,
    /// Hash of the content, including links and excluding the time of reading.
    pub hash: i64,
    /// The columns that this row lacks.
    pub unknown: ColumnGroup,
    /// The values of its columns.
    pub values: Values,
    /// The complete JSON of the record, if raw records are kept.
    pub raw: Option<String>,
}

impl Row {
    /// The row as a JSON object.
    pub fn object(&self, table: &Table) -> String {
        let mut text = String::with_capacity(self.values.text().len() * 2);
        for (column, value) in table.known(self.unknown).zip(self.values.iter()) {
            text.push_str(if text.is_empty() { "{\"" } else { ",\"" });
            text.push_str(column.name);
            text.push_str("\":");
            text.push_str(value);
        }
        text.push('}');
        text
    }
}

/// Rows for one table, with distinct keys.
#[derive(Debug, Clone)]
pub struct Write {
    /// The table.
    pub table: &'static Table,
    /// The rows.
    pub rows: Vec<Row>,
}

/// All tags of one owner. Other stored links of the owner are removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Links {
    /// The session or contact.
    pub owner: Uuid,
    /// Its tags, sorted and without duplicates.
    pub tags: Vec<Uuid>,
}

/// A record, or a part of one, that could not be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// The resource it came from.
    pub resource: Resource,
    /// The record's id, if it is readable.
    pub record_id: Option<Uuid>,
    /// The raw text.
    pub raw: String,
    /// The path and the problem: `utm.source: expected text, found a number`.
    pub reason: String,
    /// Whether the rest of the record is stored. Otherwise none of it is.
    pub partial: bool,
    /// The record's `updatedAt`, if it is readable.
    pub version: Option<Timestamp>,
}

/// The rows of a number of pages.
///
/// Writes are in the order that foreign keys need. Within a table, each key occurs once, in its
/// newest version.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// The resource of the records. `None` for rows that do not come from an answer.
    pub resource: Option<Resource>,
    /// Rows, parents first.
    pub writes: Vec<Write>,
    /// Tags of sessions, for the session rows among `writes`.
    pub session_tags: Vec<Links>,
    /// Tags of contacts, for the contact rows among `writes`.
    pub contact_tags: Vec<Links>,
    /// Records that could not be stored completely.
    pub rejects: Vec<Reject>,
    /// Ids of the records of the run's own resource that were read without an objection, with their
    /// versions and when they were read. Their rejects are resolved.
    pub clean: Vec<(Uuid, Option<Timestamp>, Reading)>,
    /// Records of which a later answer showed an older version. That version is not among the rows,
    /// but may be the right one.
    pub doubtful: Vec<Uuid>,
    /// Records read, including rejected and repeated ones.
    pub rows_read: u64,
    /// The position of the newest page in the order of readings ([`Reading::at`]).
    pub observed_at: Option<Timestamp>,
}
