//! The types that all other modules share: instants, resources, pages, rows, state changes, and the
//! trait [`Source`], the interface between the HTTP client and the sync engine.
//!
//! Plain data, except the requests of [`ByIdProof`]. Must not know sqlx, reqwest, clap or any other
//! module of this crate.

mod causes;
mod filter;
mod number;
mod page;
mod pager;
mod platform;
mod proof;
mod rate_limit;
mod resource;
mod row;
mod source;
mod state;
mod timestamp;
mod webhook;

pub use causes::{last_cause, with_causes};
pub use filter::SessionFilter;
pub use number::{counted, grouped, without_os_numbers};
pub use page::{Direction, Echo, Head, Item, Order, OrderField, Page, PageQuery, Span};
pub use pager::{Pager, Taken};
pub use platform::{Learned, SessionVersion, Standing, Trouble, VersionTotals};
pub use proof::ByIdProof;
pub use rate_limit::{RateLimit, RateLimitError};
pub use resource::{Descriptor, Parameters, Partition, ReadAs, Resource, Stream, UnknownResource};
pub use row::{
    Batch, Column, ColumnGroup, ColumnType, Guard, Links, Reading, Reject, Row, Table, Values,
    Write,
};
pub use source::{Source, SourceError, Usage};
pub use state::{
    BackfillWindow, Counters, Gap, Ordering, RecheckReason, RunKind, RunOutcome, StateChange,
    StreamState,
};
pub use timestamp::{Timestamp, TimestampError};
pub use webhook::{DoorbellRecord, Rung, Subscription, SubscriptionState};
