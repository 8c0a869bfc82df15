//! `sync`: one pass.

use std::time::Duration;

use clap::Args;

use super::{Context, Exit, Failure, duration};
use crate::data::Resource;

/// Make one pass and exit.
///
/// Reads what changed since the last pass and the small lists whole, or goes on with a first load
/// that was not finished. Prints one line for each resource.
///
/// Exits with 1 if a resource could not be read, naming it; the others are stored all the same.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  helena-sync sync
  helena-sync sync --resource sessions --resource tags
  helena-sync sync --full-refresh --max-runtime 30m")]
pub struct SyncArgs {
    /// Only this resource: sessions, contacts, tags, channels, departments or agents; may be
    /// repeated [default: sync.resources]
    #[arg(long = "resource", value_name = "RESOURCE")]
    pub resources: Vec<Resource>,
    /// Read everything again, whatever the watermark says; rows that did not change stay untouched
    #[arg(long)]
    pub full_refresh: bool,
    /// Say what would be read, and how many requests that takes at least; write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Stop after this long (30s, 10m, 2h); the next start goes on from there [default: no limit]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub max_runtime: Option<Duration>,
    /// Stop after this many records; the next start goes on from there [default: no limit]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Wait until another process that writes for the account has ended, instead of exiting with 1
    #[arg(long)]
    pub wait: bool,
}

/// Makes one pass; needs the engine.
pub(super) async fn run(_context: &Context, _args: SyncArgs) -> Result<Exit, Failure> {
    Err(super::without_engine())
}
