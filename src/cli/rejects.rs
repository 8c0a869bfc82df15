//! `rejects`: what could not be read.

use clap::{Args, Subcommand};

use crate::data::Resource;

/// Show or fetch again what could not be read.
///
/// A record, or a part of one, that breaks a rule is kept as it came, with the reason, and does not
/// hold up its neighbours. A later good version of the same record resolves it by itself.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct RejectsArgs {
    /// What to do; list if nothing is said.
    #[command(subcommand)]
    pub command: Option<RejectsCommand>,
    /// Options of list.
    #[command(flatten)]
    pub list: ListArgs,
}

/// What to do with rejects.
#[derive(Debug, Subcommand)]
pub enum RejectsCommand {
    /// List them, newest first; what nothing is said means too
    #[command(after_long_help = "\
Examples:
  helena-sync rejects
  helena-sync rejects list --resource sessions --json")]
    List(ListArgs),
    /// Show one whole, with its raw text
    #[command(after_long_help = "Example:\n  helena-sync rejects show 17")]
    Show(ShowArgs),
    /// Fetch the records again by their ids
    #[command(after_long_help = "\
Examples:
  helena-sync rejects retry
  helena-sync rejects retry 17 18")]
    Retry(RetryArgs),
}

/// Which rejects to list.
#[derive(Debug, Clone, Default, Args)]
pub struct ListArgs {
    /// Only of this resource
    #[arg(long, value_name = "RESOURCE")]
    pub resource: Option<Resource>,
    /// Resolved ones too
    #[arg(long)]
    pub resolved: bool,
    /// At most this many [default: 50]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..), default_value_t = 50, hide_default_value = true)]
    pub limit: u32,
    /// Print JSON, with the raw texts, instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Which reject to show.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Its id, from the list
    #[arg(value_name = "ID")]
    pub id: i64,
}

/// Which rejects to fetch again.
#[derive(Debug, Args)]
pub struct RetryArgs {
    /// Their ids, from the list [default: all that are unresolved and name a record]
    #[arg(value_name = "ID")]
    pub ids: Vec<i64>,
    /// Wait until another process that writes for the account has ended, instead of exiting with 1
    #[arg(long)]
    pub wait: bool,
}
