//! `helena-sync` keeps a SQL copy of a Helena account, complete and fresh.

pub mod api;
pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod data;
pub mod report;
pub mod sandbox;
pub mod schedule;
pub mod schema;
pub mod store;
pub mod sync;
pub mod telemetry;
