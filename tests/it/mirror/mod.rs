//! The real client, engine and store against the simulated account: whole databases are compared
//! with what the account holds, on both databases.

mod accounts;
mod backfills;
mod changes;
mod churn;
mod commits;
mod daemon;
mod faults;
mod instants;
mod moods;
mod quiet;
mod random;
mod refresh;
mod rejects;
mod resume;
