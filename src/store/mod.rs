//! The mirror's database: its tables, and the transactions that keep the promise that a watermark
//! never runs ahead of its rows.
//!
//! Owns all SQL. Both databases are behind [`Store`]; what differs between them is in `backend`.
//! Time comes in as an argument. Must not know where rows come from, nor any other module of this
//! crate but [`crate::data`].
//!
//! Every write names a [`Lease`] and is refused with [`StoreError::LeaseLost`] in its own
//! transaction once another process has taken over.

mod account;
mod backend;
mod backfill;
mod commit;
mod error;
mod holder;
mod lease;
mod links;
mod memory;
mod migrate;
mod open;
mod parameter;
mod privileges;
mod progress;
mod questions;
mod read;
mod reject;
mod run;
mod state;
mod transaction;
mod upsert;
mod value;
mod verify;

pub use account::{Account, AccountId};
pub use backfill::{Backfill, NewBackfill};
pub use commit::Commit;
pub use error::{Cause, StoreError};
pub use holder::Holder;
pub use lease::{Acquired, LEASE_TTL, Lease, LeaseStatus};
pub use open::{OpenOptions, Postgres, Sqlite, Store};
pub use questions::{QUESTIONS, Question};
pub use read::{ExtraKeys, TableCount};
pub use reject::{RejectFilter, RejectedRecord, StoredReject};
pub use run::RunRecord;
pub use state::StreamStatus;
pub use verify::StoredVersion;
