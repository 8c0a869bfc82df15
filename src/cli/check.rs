//! `check`: configuration, database, and what the token may read.

use clap::Args;

/// Check configuration, database and what the token may read.
///
/// Reads every section of the configuration, opens the database, and asks the API for one record
/// of each resource with each account's token: at most six requests an account. Changes nothing.
///
/// Exits with 0 if all is well, 1 if something failed, 2 if the configuration is wrong, 3 if the
/// API refuses a token everywhere.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  helena-sync check
  helena-sync check --json")]
pub struct CheckArgs {
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}
