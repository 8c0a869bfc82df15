//! The engine: reads an account through a [`Source`](crate::data::Source) and stores it so that no
//! record is lost.
//!
//! [`walk`], [`keyset`] and [`window`] decide what was read completely; [`plan`] computes ranges, and
//! [`tally`] counts records. [`run`] connects a walk with the store. [`engine`] is the entry point to the
//! jobs: [`lists`], [`passes`], [`load`], [`gaps`] (reads gaps again), [`recheck`] (reads records by id),
//! [`open`] (open sessions), [`verify`] (compares the mirror with the account) and [`upkeep`]. Each job holds
//! only what it needs. [`identity`] finds the token's company. [`policy`] decides what a failure means. The
//! engine must not know where pages come from (`api`), when it is called (`schedule`), or SQL.
//!
//! # Why nothing is lost
//!
//! One assumption: a change is visible in the whole list at most the *overlap* after its `updatedAt`. Let N
//! be the newest `updatedAt` that was visible when a pass began. Then every change that becomes visible later
//! has an `updatedAt` later than N minus the overlap. So the watermark never passes N, the next pass begins
//! one overlap before the watermark, and windows of change are only trusted up to N minus the overlap. The
//! order, the filter and the counts of every page are checked. If counts and pages keep disagreeing, the
//! pages are trusted.
//!
//! No clock tells the walks the time. The `Date` header need not come from the clock that stamps records, and
//! this machine's clock is a different clock. Both only measure durations
//! ([`StreamState::reached`](crate::data::StreamState::reached)). `Date` has one more use: it keeps a record
//! that is dated in the future from moving a watermark into the future.
//!
//! The module's tests try every interleaving of a few changes with the requests of a pass. For each of these
//! safeguards, they show that records are lost without it.

#![warn(
    clippy::wildcard_enum_match_arm,
    reason = "each layer decides about every case of a failure"
)]

mod compare;
pub mod engine;
#[cfg(test)]
mod exhaustive;
mod gaps;
pub mod identity;
pub mod keyset;
mod lists;
pub mod load;
mod oddities;
mod open;
mod passes;
pub mod plan;
mod platform;
pub mod policy;
mod portion;
pub mod recheck;
mod ring;
pub mod run;
mod stop;
pub mod survey;
mod tally;
mod upkeep;
pub mod verify;
pub mod walk;
pub mod window;

pub use compare::Comparison;
pub use engine::{Engine, EngineSettings, Report, RunLimits, Runs};
pub use identity::{company, owner};
pub use open::OpenSessions;
pub use policy::{FailureAction, RunError};
pub use run::{RunReport, interactions_ahead};
pub use survey::{Estimate, estimate, estimate_changes};
pub use verify::{Mirror, Outcome, Verification, Verified};
pub use walk::WalkSettings;
