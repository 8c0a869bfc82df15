//! The nouns that all other modules share: instants, resources, pages, rows, progress, and the
//! seam [`Source`] at which the HTTP client and the sync engine meet.
//!
//! Plain data. Must not know sqlx, reqwest, clap or any other module of this crate.

mod filter;
mod page;
mod progress;
mod resource;
mod row;
mod source;
mod timestamp;

pub use filter::SessionFilter;
pub use page::{Direction, Head, Item, Order, OrderField, Page, PageQuery, Span};
pub use progress::{
    BackfillWindow, Counters, Ordering, Progress, RunKind, RunOutcome, StreamState,
};
pub use resource::{CONTACT_STATUSES, Resource, Stream, UnknownResource};
pub use row::{Batch, Column, ColumnGroup, Guard, Kind, Links, Reject, Row, Table, Values, Write};
pub use source::{Source, SourceError, Usage};
pub use timestamp::{Timestamp, TimestampError};
