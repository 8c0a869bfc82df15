//! The mirror's database: its tables, and the transactions that make sure that a watermark is never
//! ahead of its rows.
//!
//! Owns all SQL. Both databases are behind [`Store`]; `backend` has the differences between them.
//! Time is an argument. Must not know where rows come from, nor any other module of this crate
//! except [`crate::data`] and [`crate::reporting`].
//!
//! Every write of records and their progress names a [`Lease`]. If another process has taken over the lease,
//! the write's own transaction refuses it with [`StoreError::LeaseLost`]. Some writes need no lease, since
//! they cannot hurt its holder: [`Store::cancel_backfills`], [`Store::keep_reports`],
//! [`Store::announce`] with [`Store::withdraw`], and [`Store::forward_calls`] with [`Store::take_calls`].

mod account;
mod alert;
mod backend;
mod backfill;
mod call;
mod commit;
mod dictionary;
mod doorbell;
mod error;
mod export;
mod file;
mod gap;
mod history;
mod holder;
mod instance;
mod lease;
mod links;
mod memory;
mod migrate;
mod names;
mod open;
mod parameter;
mod privileges;
mod questions;
mod read;
mod recheck;
mod reject;
mod relation;
mod report;
mod reporting;
mod run;
mod server;
mod state;
mod state_change;
mod transaction;
mod upsert;
mod value;
mod verify;
mod views;

pub use account::{AccountId, StoredAccount};
pub use alert::{AlertChange, AlertEvent, NewlyFound, PendingMessage, StoredAlert};
pub use backfill::{Backfill, FirstWatermark, NewBackfill};
pub use call::WaitingCall;
pub use commit::Commit;
pub use dictionary::{TableMeaning, meanings};
pub use error::{Cause, StoreError};
pub use export::{Cell, DayStart, ExportBasis, ExportSnapshot, Rows};
pub use file::{create_privately, network_file_system};
pub use gap::StoredGap;
pub use holder::Holder;
pub use instance::{INSTANCE_TTL, Instance, Shared};
pub use lease::{Acquired, LEASE_TTL, Lease, LeaseStatus};
pub use open::{OpenOptions, Postgres, Sqlite, Store};
pub use questions::{QUESTIONS, Question};
pub use read::{ExtraKeys, TableCount};
pub use recheck::Recheck;
pub use reject::{RejectFilter, RejectedRecord, StoredReject};
pub use relation::{CellType, Relation, RelationColumn, RowTime, relations};
pub use report::{ReportBasis, ReportSnapshot};
pub use run::{RunRecord, VerifiedStream};
pub use state::StreamStatus;
pub use verify::StoredVersion;
