//! A page of a list, and the query for it.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{ColumnGroup, SessionFilter, Stream, Timestamp};

/// A range of time. It is not known whether the server includes its ends (API notes, 16). So callers
/// widen it by one step on either side and accept both.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Span {
    /// The start; open if `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Timestamp>,
    /// The end; open if `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Timestamp>,
}

impl Span {
    /// All of time.
    pub const OPEN: Self = Self {
        after: None,
        before: None,
    };

    /// Whether it is open on both sides.
    pub fn is_open(&self) -> bool {
        *self == Self::OPEN
    }

    /// Whether an instant of a half-open range in microseconds may lie in it.
    pub fn meets(&self, (from, to): (i64, i64)) -> bool {
        let after = self.after.map_or(i64::MIN, Timestamp::micros);
        let before = self.before.map_or(i64::MAX, Timestamp::micros);
        after < to && before > from
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

/// The field by which a list is sorted or filtered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OrderField {
    /// `UpdatedAt`.
    UpdatedAt,
    /// `CreatedAt`.
    CreatedAt,
    /// `LastInteractionAt`; sessions only.
    LastInteractionAt,
}

/// `ASCENDING` or `DESCENDING`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Oldest first.
    Ascending,
    /// Newest first.
    Descending,
}

/// A requested order. Every page is checked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Order {
    /// The field.
    pub field: OrderField,
    /// The direction.
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

/// A query for one page of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageQuery {
    /// The stream.
    pub stream: Stream,
    /// The range of creation times.
    pub created: Span,
    /// The range of times of change.
    pub updated: Span,
    /// Further filters; sessions only.
    pub filter: Arc<SessionFilter>,
    /// The requested order.
    pub order: Option<Order>,
    /// The page's number, from 1.
    pub number: u32,
    /// Records per page, 1 to 100 (API notes, 3.1).
    pub size: u32,
}

/// The fields of a record that a walk needs. They are parsed even if the rest is invalid.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Head {
    /// The record's id; `None` if it is missing or unreadable.
    pub id: Option<Uuid>,
    /// When it last changed, by the server's clock.
    pub updated_at: Option<Timestamp>,
    /// When it was created, by the server's clock.
    pub created_at: Option<Timestamp>,
    /// The time of its last interaction, by the server's clock; sessions only.
    pub last_interaction_at: Option<Timestamp>,
}

/// A record of a page: its head, and its position in [`Page::body`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The fields that a walk needs.
    pub head: Head,
    /// Byte range of the record's JSON text in the page's body.
    pub raw: Range<usize>,
}

/// Whether an answer repeats a parameter of its request. The platform repeats parameters that it
/// recognises (API notes, 17).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Echo {
    /// The answer has no such field, which proves nothing.
    #[default]
    Silent,
    /// The answer repeats the parameter.
    Same,
    /// The field is null or has another value: the platform ignored the parameter.
    Other,
}

/// A page of a list.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a sign of its own")]
pub struct Page {
    /// The answer's text. Records are ranges of it, so nothing is copied before a record is mapped.
    pub body: Arc<str>,
    /// The records, in the server's order.
    pub items: Vec<Item>,
    /// The server's total of matching records; `None` if the answer has none.
    pub total: Option<u64>,
    /// Whether more pages may follow, by any sign: `hasMorePages`, `totalPages`, `totalItems`, or a
    /// full page.
    pub has_more: bool,
    /// Whether these signs contradict each other: the page has records past the total, or the
    /// numbers of items and pages do not fit.
    pub contradictory: bool,
    /// Whether no sign says that no page follows one that is not full: the page has records and no sign at
    /// all, or it shows no records and no sign says that this is the end.
    pub silent: bool,
    /// Whether the answer repeats the requested order.
    pub order_echo: Echo,
    /// Whether this is the answer to a read of one record by id. Such an answer is authoritative,
    /// while a list may be a stale copy.
    pub by_id: bool,
    /// A lower bound, on the server's clock, of the instant at which the server began to answer: the
    /// `Date` header minus the duration of the request. Everything that was visible then is in this
    /// answer.
    pub server_time: Timestamp,
    /// When the request was sent, by a monotonic clock ([`Clock::running`](crate::clock::Clock)).
    /// Records in the answer to an earlier request may have been replaced since.
    pub asked: Duration,
    /// Columns that this answer does not have, because their details were not requested or this
    /// version of the list lacks them. They keep their values in the database.
    pub unknown: ColumnGroup,
}

impl Page {
    /// Whether more pages may follow although no sign says so. If the platform counts records that
    /// it does not show, a page that is not the last may be short.
    pub const fn is_doubtful(&self) -> bool {
        self.contradictory || self.silent
    }

    /// A page of these records without any other information.
    pub const fn new(body: Arc<str>, items: Vec<Item>, server_time: Timestamp) -> Self {
        Self {
            body,
            items,
            total: None,
            has_more: false,
            contradictory: false,
            silent: false,
            order_echo: Echo::Silent,
            by_id: false,
            server_time,
            asked: Duration::ZERO,
            unknown: ColumnGroup::NONE,
        }
    }

    /// Joins this answer and a later one to the same query. The result has this page's time.
    #[must_use]
    pub fn followed_by(self, later: Self) -> Self {
        let offset = self.body.len();
        let moved = later.items.into_iter().map(|item| Item {
            raw: item.raw.start + offset..item.raw.end + offset,
            ..item
        });
        Self {
            body: [&*self.body, &*later.body].concat().into(),
            items: self.items.into_iter().chain(moved).collect(),
            unknown: self.unknown.with(later.unknown),
            ..self
        }
    }

    /// Joins the answers to two queries that together list everything.
    #[must_use]
    pub fn joined(self, other: Self) -> Self {
        let total = self.total.zip(other.total).map(|(one, two)| one + two);
        Self {
            total,
            ..self.followed_by(other)
        }
    }

    /// The JSON text of a record of this page.
    pub fn raw(&self, item: &Item) -> &str {
        self.body.get(item.raw.clone()).unwrap_or_default()
    }
}
