//! `backfill`: a range of sessions, once.

use std::time::Duration;

use clap::Args;

use super::{Context, Exit, Failure, FilterArgs, duration};

/// Read a range of sessions again, or for the first time.
///
/// Without a range: everything. The range is read in windows of creation time, newest first; every
/// window that is finished is a checkpoint. Killed or stopped, the next backfill with the same
/// range and filters goes on from there and says so; so do run and sync. What is already stored and
/// has not changed is not written again.
///
/// Dates: 2025-12-31, "2025-12-31 18:30" in the configured time zone, or RFC 3339. A day alone
/// is meant whole: --to 2025-12-31 includes that day.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  helena-sync backfill --from 2024-01-01
  helena-sync backfill --from 2025-12-01 --to 2025-12-31 --status COMPLETED --tag VIP --dry-run
  helena-sync backfill --department Vendas --department Suporte --max-runtime 1h")]
pub struct BackfillArgs {
    /// Which sessions.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Say how many sessions and requests there are and how long they take under the limits; write
    /// nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Stop after this long (30s, 10m, 2h); the next start goes on from there [default: no limit]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub max_runtime: Option<Duration>,
    /// Stop after this many sessions; the next start goes on from there [default: no limit]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Begin again instead of going on with an unfinished backfill of the same range
    #[arg(long)]
    pub restart: bool,
    /// Wait until another process that writes for the account has ended, instead of exiting with 1
    #[arg(long)]
    pub wait: bool,
}

/// Reads the range; needs the engine.
pub(super) async fn run(_context: &Context, _args: BackfillArgs) -> Result<Exit, Failure> {
    Err(super::without_engine())
}
