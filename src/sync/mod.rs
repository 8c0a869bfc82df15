//! The engine: reads an account through a [`Source`](crate::data::Source) and stores it so that no
//! record is lost.
//!
//! [`walk`], [`keyset`] and [`window`] decide what has been read completely; [`plan`] is their
//! arithmetic; [`run`] joins a walk with the store; [`engine`] and [`load`] say which walks are due;
//! [`identity`] tells whose data it is; [`policy`] says what a failure means. Must not know where
//! pages come from (`api`), when it is called (`schedule`), or SQL.
//!
//! # Why nothing is lost
//!
//! A change becomes visible in the list at most the *overlap* after the `updatedAt` it carries;
//! that is the one assumption. With S the server's time when a pass began: the watermark never goes
//! beyond S, the next pass begins one overlap before it, windows of change are only trusted up to S
//! less the overlap, and the order and filter of every page are verified. The module's tests try
//! every interleaving of a few changes with every request of a pass, and show for each of these
//! safeguards the loss that follows without it.

mod compare;
pub mod engine;
#[cfg(test)]
mod exhaustive;
pub mod identity;
pub mod keeper;
pub mod keyset;
pub mod load;
pub mod plan;
pub mod policy;
pub mod run;
pub mod survey;
mod upkeep;
pub mod verify;
pub mod walk;
pub mod window;

pub use compare::Comparison;
pub use engine::{Engine, EngineSettings, Limits, Report, Runs};
pub use identity::{company, owner};
pub use keeper::Keeper;
pub use policy::{RunError, Verdict};
pub use run::RunReport;
pub use survey::{Estimate, estimate, estimate_changes};
pub use verify::{Mirror, Outcome, Verified};
pub use walk::{WalkError, WalkSettings};
