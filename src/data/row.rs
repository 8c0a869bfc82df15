//! Rows on their way into the store, and the descriptors of the tables they go to.

use uuid::Uuid;

use super::{Resource, Timestamp};

/// The SQL type of a column; each backend has its own word for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
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

/// A set of columns that an answer may be unable to know (see [`super::Page::unknown`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ColumnGroup(u8);

impl ColumnGroup {
    /// No column.
    pub const NONE: Self = Self(0);
    /// `classification_*` of sessions.
    pub const CLASSIFICATION: Self = Self(1);
    /// `channel_type` of sessions.
    pub const CHANNEL_TYPE: Self = Self(2);
    /// `type` of sessions, which the first version of the list does not have.
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

    /// A number that stands for the set. It goes into stored hashes, so it must never change.
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
    pub kind: Kind,
    /// The group it belongs to, if some answers cannot know it.
    pub group: ColumnGroup,
    /// Filled by two kinds of answers, so that the one read later wins
    /// (compared by `observed_at`), whatever the record's version.
    pub shared: bool,
}

/// When a row may replace the one stored under its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Guard {
    /// The new one has other content and is not older by `updated_at`.
    Version,
    /// The new one has other content and was not read earlier by `observed_at`; its columns carry
    /// no version of their own.
    Observed,
    /// Never: it only makes sure that the key exists, for foreign keys.
    Absent,
}

/// A way of writing to a table. A table that is filled by several kinds of answers has several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    /// The table's name.
    pub name: &'static str,
    /// The name of its key column.
    pub key: &'static str,
    /// The columns that this way of writing fills, the key among them.
    pub columns: &'static [Column],
    /// When a stored row is replaced.
    pub guard: Guard,
}

impl Table {
    /// The columns of a row that does not know those of these groups.
    pub fn known(&self, unknown: ColumnGroup) -> impl Iterator<Item = &'static Column> {
        self.columns.iter().filter(move |column| {
            column.group == ColumnGroup::NONE || !unknown.contains(column.group)
        })
    }
}

/// The values of a row, as JSON texts in the order of its table's columns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Values {
    /// With a comma between each two.
    text: String,
    ends: Vec<u32>,
}

impl Values {
    /// No value yet, with room for so many bytes and values.
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

    /// All of them, as they stand in a JSON array.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// So many at a time, as they stand in a JSON array.
    pub fn groups(&self, size: usize) -> impl Iterator<Item = &str> {
        let mut start = 0;
        self.ends.chunks(size).map(move |ends| {
            let end = ends.last().map_or(start, |&end| end as usize);
            let group = self.text.get(start..end).unwrap_or("null");
            start = end + 1;
            group
        })
    }

    /// Each of them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let value = self.text.get(start..end as usize).unwrap_or("null");
            start = end as usize + 1;
            value
        })
    }
}

/// A row for a [`Table`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The key.
    pub key: Uuid,
    /// The record's `updatedAt`, for [`Guard::Version`].
    pub version: Option<Timestamp>,
    /// Hash of the content, links included and the time of reading excluded.
    pub hash: i64,
    /// The columns this row does not know.
    pub unknown: ColumnGroup,
    /// The values of the columns that it knows.
    pub values: Values,
    /// The complete JSON of the record as it came, if raw records are kept.
    pub raw: Option<String>,
}

impl Row {
    /// The row as a JSON object, for those who don't store it.
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

/// Rows for one table, at most one a key.
#[derive(Debug, Clone)]
pub struct Write {
    /// Where they go.
    pub table: &'static Table,
    /// The rows.
    pub rows: Vec<Row>,
}

/// The whole set of tags of one owner: links that are not in it are removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Links {
    /// The session or contact.
    pub owner: Uuid,
    /// Its tags, sorted, each once.
    pub tags: Vec<Uuid>,
}

/// A record, or a part of one, that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// The resource it came from.
    pub resource: Resource,
    /// The record's id, if that could be read.
    pub record_id: Option<Uuid>,
    /// The text as it came.
    pub raw: String,
    /// Where and what: `utm.source: expected text, found a number`.
    pub reason: String,
    /// Whether the rest of the record is stored; otherwise none of it is.
    pub partial: bool,
    /// The record's `updatedAt`, if that could be read.
    pub version: Option<Timestamp>,
}

/// What a number of pages put into the tables.
///
/// Writes are in the order in which foreign keys allow them; within a table a key occurs once, in
/// its newest version.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Rows, parents first.
    pub writes: Vec<Write>,
    /// Tags of sessions, for the session rows among `writes`.
    pub session_tags: Vec<Links>,
    /// Tags of contacts, for the contact rows among `writes`.
    pub contact_tags: Vec<Links>,
    /// What could not be read.
    pub rejects: Vec<Reject>,
    /// Ids of the records of the run's own resource that were read without any objection, with their
    /// versions; rejects of those and of older versions are resolved.
    pub clean: Vec<(Uuid, Option<Timestamp>)>,
    /// Records read, rejected ones included, repeated ones counted each time.
    pub rows_read: u64,
    /// Server time at which the newest of the pages was read.
    pub observed_at: Option<Timestamp>,
}
