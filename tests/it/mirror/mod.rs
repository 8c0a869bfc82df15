//! The real client, engine and store against the simulated account: whole databases are compared
//! with what the account holds, on both databases.

mod accounts;
mod backfills;
mod changes;
mod churn;
mod clocks;
mod commits;
mod daemon;
mod faults;
mod gaps;
mod instants;
mod interactions;
mod killed;
mod lists;
mod moods;
mod nights;
mod oddities;
mod platform;
mod quiet;
mod random;
mod rechecks;
mod refresh;
mod rejects;
mod resume;
mod rings;
