//! `status`: how fresh and complete the mirror is.

use std::time::Duration;

use clap::Args;

use super::duration;

/// Show how fresh and complete the mirror is.
///
/// For each account: rows and watermark of every resource and when it was last read, unfinished
/// backfills, records that could not be read, fields of the platform that are not modelled (kept in
/// the column extra), the last runs, and who writes now. Reads the database only.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  helena-sync status
  helena-sync status --json
  helena-sync status --max-lag 10m || echo stale")]
pub struct StatusArgs {
    /// Print JSON instead of tables
    #[arg(long)]
    pub json: bool,
    /// Exit with 1 if a resource was last read longer ago than this (30s, 10m, 2h), or never; for
    /// health checks [default: no limit]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub max_lag: Option<Duration>,
}
