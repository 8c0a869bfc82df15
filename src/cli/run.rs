//! `run`: the daemon.

use clap::Args;

use super::{Context, Exit, Failure};

/// Keep the mirror fresh until stopped.
///
/// Brings the tables up to date, loads the whole history if that was not done or not finished, and
/// then makes a pass whenever sync.schedule fires (every minute by default). Sessions and contacts
/// are read by what changed; tags, channels, departments and agents every sync.catalog_interval;
/// sessions that are still open every sync.refresh_open.
///
/// It survives what passes: a platform or a database that goes away and comes back, limits, a
/// machine that sleeps. SIGTERM or Ctrl-C ends it: the transaction in progress is finished, nothing
/// new begins, and it exits with 0 within 10 seconds; a second signal ends it at once. Killed at
/// any point, the next start goes on from there.
///
/// One process writes for an account at a time. If another one does, this one says which and since
/// when, and exits with 1.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  HELENA_API_TOKEN=pn_... helena-sync run
  DATABASE_URL=postgres://helena:secret@db/helena helena-sync run --log-format json")]
pub struct RunArgs {
    /// Wait until another process that writes for the account has ended, instead of exiting
    #[arg(long)]
    pub wait: bool,
}

/// Runs until stopped; needs the engine.
pub(super) async fn run(_context: &Context, _args: RunArgs) -> Result<Exit, Failure> {
    Err(super::without_engine())
}
