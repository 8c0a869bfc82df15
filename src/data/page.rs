//! One answer of a listing, and the question it answers.

use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{ColumnGroup, SessionFilter, Stream, Timestamp};

/// A range of time. Whether its ends belong to it is the server's secret (API notes, 16), so
/// callers ask for one step more on either side and expect either answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Span {
    /// Only what is later than this; open if `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Timestamp>,
    /// Only what is earlier than this; open if `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Timestamp>,
}

impl Span {
    /// All of time.
    pub const OPEN: Self = Self {
        after: None,
        before: None,
    };

    /// Whether it has no end on either side.
    pub fn is_open(&self) -> bool {
        *self == Self::OPEN
    }

    /// Everything after an instant.
    pub const fn after(after: Timestamp) -> Self {
        Self {
            after: Some(after),
            before: None,
        }
    }

    /// A range with both ends.
    pub const fn between(after: Timestamp, before: Timestamp) -> Self {
        Self {
            after: Some(after),
            before: Some(before),
        }
    }
}

/// The field that a listing is ordered or windowed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OrderField {
    /// `UpdatedAt`.
    UpdatedAt,
    /// `CreatedAt`.
    CreatedAt,
}

/// `ASCENDING` or `DESCENDING`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Oldest first.
    Ascending,
    /// Newest first.
    Descending,
}

/// An order asked of the server. Whether it was honoured is checked on every page, never assumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Order {
    /// By which field.
    pub field: OrderField,
    /// Which end first.
    pub direction: Direction,
}

impl Order {
    /// Oldest change first.
    pub const UPDATED: Self = Self {
        field: OrderField::UpdatedAt,
        direction: Direction::Ascending,
    };
    /// Oldest record first.
    pub const CREATED: Self = Self {
        field: OrderField::CreatedAt,
        direction: Direction::Ascending,
    };
}

/// A question to a listing: one page of one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageQuery {
    /// What is listed.
    pub stream: Stream,
    /// Window of creation.
    pub created: Span,
    /// Window of change.
    pub updated: Span,
    /// Further filters; sessions only.
    pub filter: Arc<SessionFilter>,
    /// The order asked for.
    pub order: Option<Order>,
    /// Which page, from 1.
    pub number: u32,
    /// Records a page, 1 to 100 (API notes, 3.1).
    pub size: u32,
}

/// What a walk needs to know of a record, readable even where the rest is not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Head {
    /// The record's id; `None` if it has none that can be read.
    pub id: Option<Uuid>,
    /// When it last changed, by the server's clock.
    pub updated_at: Option<Timestamp>,
    /// When it was created, by the server's clock.
    pub created_at: Option<Timestamp>,
}

/// A record of a page: its head, and where its text stands in [`Page::body`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// What the walk needs.
    pub head: Head,
    /// Byte range of the record's JSON text in the page's body.
    pub raw: Range<usize>,
}

/// One answer of a listing.
#[derive(Debug, Clone)]
pub struct Page {
    /// The answer's text; records are ranges of it, so that nothing is copied until a record is
    /// mapped.
    pub body: Arc<str>,
    /// The records, in the server's order.
    pub items: Vec<Item>,
    /// How many records the server says match the question; `None` if it does not say.
    pub total: Option<u64>,
    /// Whether the server says that further pages follow.
    pub has_more: bool,
    /// An instant on the server's clock at which the server had not yet begun to answer: the
    /// `Date` header less the time the answer took. Everything that was visible then is in this
    /// answer.
    pub server_time: Timestamp,
    /// Columns that this answer cannot know, because their details were not requested or this
    /// version of the list has no such field. They stay as they are in the database.
    pub unknown: ColumnGroup,
}

impl Page {
    /// The JSON text of a record of this page.
    pub fn raw(&self, item: &Item) -> &str {
        self.body.get(item.raw.clone()).unwrap_or_default()
    }
}
