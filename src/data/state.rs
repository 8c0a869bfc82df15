//! The state of streams, and the results of runs.

use std::fmt;
use std::time::Duration;

use uuid::Uuid;

use super::{ByIdProof, OrderField, Resource, Span, Stream, Timestamp};

/// A state change that the rows of a commit prove. It is written only in the transaction of these
/// rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateChange {
    /// The stream is complete up to this instant. It only moves forward: an earlier one is ignored.
    Watermark {
        /// Which stream.
        stream: Stream,
        /// The `updatedAt` up to which it is complete.
        to: Timestamp,
        /// Server time of the answer that showed the record which `to` was taken from.
        seen_at: Timestamp,
    },
    /// A pass over the stream read everything that the server showed at `server_time`.
    PassDone {
        /// Which stream.
        stream: Stream,
        /// Server time before the pass's first answer.
        server_time: Timestamp,
    },
    /// The platform's clocks disagree: its `Date` header is ahead of the time stamps of records by
    /// this many milliseconds. Negative if it is behind.
    ClockDifference {
        /// Which stream.
        stream: Stream,
        /// Header minus time stamps.
        milliseconds: i64,
    },
    /// This many sessions were read with a `lastInteractionDate` well after their `updatedAt`:
    /// interactions do not always change `updatedAt`.
    InteractionsAhead {
        /// The number of sessions.
        rows: u64,
    },
    /// The platform counts records that it does not show.
    Gap(Gap),
    /// A gap was read again, and all records that the platform counts there were shown.
    GapClosed {
        /// The gap's id in the database.
        gap: i64,
    },
    /// An attempt to read a gap again failed.
    GapTried {
        /// The gap's id in the database.
        gap: i64,
    },
    /// A list lacks most of the stored records. Those that a later reading lacks, too, are removed.
    ListDoubted {
        /// Which list.
        resource: Resource,
        /// The keys of the records that it lacks.
        keys: Vec<Uuid>,
        /// Whether it was already in doubt for the same keys. Then the time since when is kept.
        again: bool,
    },
    /// These records must be read by id.
    Recheck {
        /// Of which resource.
        resource: Resource,
        /// Their ids.
        ids: Vec<Uuid>,
        /// Why.
        reason: RecheckReason,
    },
    /// These records were read by id, and the answers are stored.
    Rechecked {
        /// Of which resource.
        resource: Resource,
        /// Their ids.
        ids: Vec<Uuid>,
    },
    /// This record could not be read by id.
    RecheckFailed {
        /// Of which resource.
        resource: Resource,
        /// Its id.
        id: Uuid,
        /// The error, in one line.
        error: String,
    },
    /// A list was read completely: stored records that are not among these keys were deleted.
    ListRead {
        /// Which list.
        resource: Resource,
        /// The keys of all the records that it showed (`user_id` for agents).
        keys: Vec<Uuid>,
    },
    /// The stored rows of these records differ from the platform's. The versions in the same commit
    /// replace them, whatever their `updatedAt`. They are counted.
    Differing {
        /// Of which resource.
        resource: Resource,
        /// Their keys.
        keys: Vec<Uuid>,
    },
    /// These records were deleted: the platform did not find them by id.
    Gone {
        /// The proof that the platform finds existing records of this resource by id.
        proof: ByIdProof,
        /// Their keys.
        keys: Vec<Uuid>,
    },
    /// A window of a backfill is complete.
    WindowDone {
        /// The window's id in the database.
        window: i64,
        /// The number of its records.
        records: u64,
    },
    /// A window of a backfill had too many pages or kept changing, and is split.
    WindowSplit {
        /// The window's id in the database.
        window: i64,
        /// The windows that replace it, newest first.
        into: Vec<Span>,
    },
    /// The server ignores the filter of windows. One window that is open at both ends replaces this
    /// one and all others of its stream and filter.
    WindowsJoined {
        /// The window's id in the database.
        window: i64,
    },
}

/// Records that the platform counts in a window of time but does not show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Which stream.
    pub stream: Stream,
    /// The field of the window.
    pub field: OrderField,
    /// The requested window.
    pub window: Span,
    /// Records that the platform counts in it.
    pub counted: u64,
    /// Records that it shows.
    pub shown: u64,
}

impl Gap {
    /// How many records are missing.
    pub const fn missing(&self) -> u64 {
        self.counted.saturating_sub(self.shown)
    }
}

/// Why a record must be read by id (`rechecks.reason`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecheckReason {
    /// A list showed an older version than the stored one. It may be a stale copy, or the right
    /// version from a server whose clock is behind.
    Older,
    /// No list shows it where it should be: it may have been deleted.
    NotListed,
    /// A session names it, but no list ever showed it.
    NeverListed,
    /// It wears a tag that was removed, which need not have moved its `updatedAt`.
    TagRemoved,
}

impl RecheckReason {
    /// As stored in `rechecks`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Older => "older",
            Self::NotListed => "not_listed",
            Self::NeverListed => "never_listed",
            Self::TagRemoved => "tag_removed",
        }
    }

    /// Parses a stored value. Any other value counts as [`Self::NotListed`], which checks the most.
    pub fn from_stored(text: &str) -> Self {
        match text {
            "older" => Self::Older,
            "never_listed" => Self::NeverListed,
            "tag_removed" => Self::TagRemoved,
            _ => Self::NotListed,
        }
    }
}

/// Whether the server honours `OrderBy=UpdatedAt` for a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ordering {
    /// Not known yet: too few records were read.
    #[default]
    Unknown,
    /// Ascending and descending answers were in the requested order.
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

    /// Parses a stored value. Any other value counts as unknown, which is always safe.
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
    /// The end of that pass, by this machine's clock.
    pub observed_locally_at: Option<Timestamp>,
    /// Server time of the answer that first showed the record which the watermark was taken from.
    pub watermark_seen_at: Option<Timestamp>,
    /// When that was, by this machine's clock.
    pub watermark_seen_locally_at: Option<Timestamp>,
    /// When a session was last read that shows that messages do not always change `updatedAt`.
    pub interactions_ahead_at: Option<Timestamp>,
    /// Whether the server honours the order that the keyset walk needs.
    pub ordering: Ordering,
    /// When that was last checked, by this machine's clock.
    pub ordering_checked_at: Option<Timestamp>,
}

impl StreamState {
    /// The state of a stream that was never read.
    pub const fn new(stream: Stream) -> Self {
        Self {
            stream,
            watermark: None,
            observed_at: None,
            observed_locally_at: None,
            watermark_seen_at: None,
            watermark_seen_locally_at: None,
            interactions_ahead_at: None,
            ordering: Ordering::Unknown,
            ordering_checked_at: None,
        }
    }

    /// A lower bound for the clock that stamps records, at the time when the last complete pass
    /// began.
    ///
    /// The clock had reached `watermark` when the record with that time was first shown. Since then
    /// it has advanced by as much as other clocks did: the platform's `Date` and this machine's
    /// clock. Only the elapsed time of these two is used, never their time, since neither need be
    /// the clock that stamps records. The shorter elapsed time counts, so that setting a clock does
    /// no harm. One overlap is subtracted as a margin: `Date` has whole seconds, and answers and
    /// passes take time.
    pub fn reached(&self, watermark: Timestamp, overlap: Duration) -> Timestamp {
        let since = |at: Option<Timestamp>, seen: Option<Timestamp>| {
            at.zip(seen).map(|(at, seen)| at.since(seen))
        };
        let theirs = since(self.observed_at, self.watermark_seen_at);
        let ours = since(self.observed_locally_at, self.watermark_seen_locally_at);
        let elapsed = theirs.zip(ours).map_or(Duration::ZERO, |(a, b)| a.min(b));
        watermark + elapsed.saturating_sub(overlap)
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
    /// The index of its filter in the backfill. A backfill with several departments or users has
    /// one filter for each.
    pub filter: usize,
}

/// The kind of a run (`sync_runs.kind`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RunKind {
    /// An incremental pass over a stream.
    Incremental,
    /// The first load of an empty database.
    FirstLoad,
    /// A backfill by the operator.
    Backfill,
    /// The complete reading of a list.
    List,
    /// A refresh of open sessions.
    RefreshOpen,
    /// Rejects whose records were fetched again.
    RetryRejects,
    /// A verification.
    Verify,
    /// Records read by id, because a list may have shown stale versions of them.
    Recheck,
    /// The newest changes, read because the platform rang.
    Ring,
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
            Self::Recheck => "recheck",
            Self::Ring => "ring",
            Self::State => "state",
        }
    }

    /// Whether syncs make such runs again and again.
    pub const fn is_pass(self) -> bool {
        matches!(
            self,
            Self::Incremental | Self::List | Self::RefreshOpen | Self::Recheck | Self::Ring
        )
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
    /// It failed. What was committed before stays.
    Failed,
    /// The operator, or a limit of time or rows, stopped it. The next run resumes.
    Stopped,
    /// The process died. The next run marked it.
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

/// The counters of a run. Rows are records of the run's own resource; contacts and tags inside
/// sessions are not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Pages read.
    pub pages: u64,
    /// Requests sent, retries included.
    pub requests: u64,
    /// Retries after a failure.
    pub retries: u64,
    /// Records read. A record that is shown twice counts twice.
    pub rows_read: u64,
    /// Records that were not stored before.
    pub rows_inserted: u64,
    /// Records stored in another version than before.
    pub rows_updated: u64,
    /// Those of them whose `updatedAt` became older.
    pub rows_reverted: u64,
    /// Records whose stored version is the same or newer.
    pub rows_unchanged: u64,
    /// Records that could not be stored completely.
    pub rows_rejected: u64,
    /// Records in which a verification found a difference between the mirror and the platform.
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
        self.rows_reverted += other.rows_reverted;
        self.rows_unchanged += other.rows_unchanged;
        self.rows_rejected += other.rows_rejected;
        self.rows_differing += other.rows_differing;
    }
}
