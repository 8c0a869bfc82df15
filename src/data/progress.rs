//! How far the mirror has come, and what a run did.

use std::fmt;

use uuid::Uuid;

use super::{Resource, Span, Stream, Timestamp};

/// What a commit proves besides its rows. It is written in the transaction of the rows that
/// justify it, and nowhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// The stream is complete up to this instant. Moves forward only: an earlier one is ignored.
    Watermark {
        /// Which stream.
        stream: Stream,
        /// The `updatedAt` up to which it is complete.
        to: Timestamp,
    },
    /// A pass over the stream read everything that the server showed at `server_time`.
    PassDone {
        /// Which stream.
        stream: Stream,
        /// Server time before the pass's first answer.
        server_time: Timestamp,
    },
    /// A list was read whole: what is stored and not among these keys is gone.
    ListRead {
        /// Which list.
        resource: Resource,
        /// The keys of all the records that it showed (`user_id` for agents).
        keys: Vec<Uuid>,
    },
    /// The stored rows of these records, if there are any, are not what the platform shows: what the
    /// same commit brings replaces them, whatever they say of themselves. Counted.
    Differing {
        /// Of which resource.
        resource: Resource,
        /// Their keys.
        keys: Vec<Uuid>,
    },
    /// The platform said of each of these, asked for it by its id, that it has no such record.
    Gone {
        /// Of which resource.
        resource: Resource,
        /// Their keys.
        keys: Vec<Uuid>,
    },
    /// A window of a backfill is complete.
    WindowDone {
        /// The window's id in the database.
        window: i64,
        /// Records it holds.
        records: u64,
    },
    /// A window of a backfill was too deep, or would not hold still; it is read in parts.
    WindowSplit {
        /// The window's id in the database.
        window: i64,
        /// What replaces it, newest first.
        into: Vec<Span>,
    },
    /// The server does not know windows: one that is open at both ends replaces this one and all
    /// others of its stream and filter.
    WindowsJoined {
        /// The window's id in the database.
        window: i64,
    },
}

/// What is known of whether the server honours `OrderBy=UpdatedAt` for a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ordering {
    /// Not yet shown by enough records.
    #[default]
    Unknown,
    /// Shown: ascending and descending answers were what they should be.
    Honoured,
    /// An answer was in another order.
    Ignored,
}

impl Ordering {
    /// As stored in `sync_state`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Honoured => "honoured",
            Self::Ignored => "ignored",
        }
    }

    /// From what is stored; anything else counts as unknown, which is always safe.
    pub fn from_stored(text: &str) -> Self {
        match text {
            "honoured" => Self::Honoured,
            "ignored" => Self::Ignored,
            _ => Self::Unknown,
        }
    }
}

/// The stored state of a stream (`sync_state`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamState {
    /// Which stream.
    pub stream: Stream,
    /// The `updatedAt` up to which it is complete; `None` before the first load has begun.
    pub watermark: Option<Timestamp>,
    /// Server time before the first answer of the last pass that read everything.
    pub observed_at: Option<Timestamp>,
    /// Whether the server honours the order that the keyset walk needs.
    pub ordering: Ordering,
    /// When that was found out, by this machine's clock.
    pub ordering_checked_at: Option<Timestamp>,
}

impl StreamState {
    /// The state of a stream that was never read.
    pub const fn new(stream: Stream) -> Self {
        Self {
            stream,
            watermark: None,
            observed_at: None,
            ordering: Ordering::Unknown,
            ordering_checked_at: None,
        }
    }
}

/// A window of a backfill that is still to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackfillWindow {
    /// Its id in the database.
    pub id: i64,
    /// Which stream.
    pub stream: Stream,
    /// Its range of creation times.
    pub created: Span,
    /// Index into the filters of the backfill: a question with several departments or users is
    /// asked once for each.
    pub filter: usize,
}

/// Why a run was made (`sync_runs.kind`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RunKind {
    /// An incremental pass over a stream.
    Incremental,
    /// The first load of an empty database.
    FirstLoad,
    /// A backfill asked for by the operator.
    Backfill,
    /// A list read whole.
    List,
    /// Open sessions re-read.
    RefreshOpen,
    /// Rejected records fetched again.
    RetryRejects,
    /// A comparison with the API.
    Verify,
    /// A change of the state by the operator.
    State,
}

impl RunKind {
    /// As stored in `sync_runs`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Incremental => "incremental",
            Self::FirstLoad => "first_load",
            Self::Backfill => "backfill",
            Self::List => "list",
            Self::RefreshOpen => "refresh_open",
            Self::RetryRejects => "retry_rejects",
            Self::Verify => "verify",
            Self::State => "state",
        }
    }
}

impl fmt::Display for RunKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How a run ended (`sync_runs.outcome`; null while it runs).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RunOutcome {
    /// Everything was read and stored.
    Succeeded,
    /// It ended by an error; what was committed before stays.
    Failed,
    /// It was stopped by the operator or by a limit of time or rows; the next one goes on.
    Stopped,
    /// The process died; found by the next one.
    Interrupted,
}

impl RunOutcome {
    /// As stored in `sync_runs`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
            Self::Interrupted => "interrupted",
        }
    }
}

/// What a run did, in numbers. Rows are records of the run's own resource; the contacts and tags
/// that a session mentions are not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Pages read.
    pub pages: u64,
    /// Requests sent, repeated ones included.
    pub requests: u64,
    /// Requests that were sent again after a failure.
    pub retries: u64,
    /// Records read. A record that is shown twice counts twice.
    pub rows_read: u64,
    /// Records that were not stored before.
    pub rows_inserted: u64,
    /// Records stored in a newer version.
    pub rows_updated: u64,
    /// Records that were stored as they are, or in a newer version.
    pub rows_unchanged: u64,
    /// Records that could not be read, or not wholly.
    pub rows_rejected: u64,
    /// Records in which a verification found the mirror to differ from the platform.
    pub rows_differing: u64,
}

impl std::ops::AddAssign for Counters {
    fn add_assign(&mut self, other: Self) {
        self.pages += other.pages;
        self.requests += other.requests;
        self.retries += other.retries;
        self.rows_read += other.rows_read;
        self.rows_inserted += other.rows_inserted;
        self.rows_updated += other.rows_updated;
        self.rows_unchanged += other.rows_unchanged;
        self.rows_rejected += other.rows_rejected;
        self.rows_differing += other.rows_differing;
    }
}
