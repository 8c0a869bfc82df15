//! `state`: the watermarks, shown and changed.

use clap::{Args, Subcommand};

use crate::data::Resource;

/// Show or change the watermarks.
///
/// A watermark is the time of change up to which a resource is complete. Changing one is refused
/// while another process writes for the account, and is recorded with its old and new value.
#[derive(Debug, Args)]
pub struct StateArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: StateCommand,
}

/// What to do with the state.
#[derive(Debug, Subcommand)]
pub enum StateCommand {
    /// Show the watermarks
    #[command(after_long_help = "Example:\n  helena-sync state show")]
    Show,
    /// Set a watermark; what changed since then is read again
    #[command(after_long_help = "\
Examples:
  helena-sync state set sessions 2026-01-31
  helena-sync state set contacts \"2026-01-31 18:30\" --status ARCHIVED")]
    Set(SetArgs),
    /// Forget a watermark; the resource is loaded from its beginning again
    #[command(after_long_help = "Example:\n  helena-sync state reset sessions")]
    Reset(ResetArgs),
    /// Print the state as JSON
    #[command(after_long_help = "Example:\n  helena-sync state export > state.json")]
    Export,
}

/// Which watermark.
#[derive(Debug, Clone, Args)]
pub struct StreamArgs {
    /// sessions or contacts; the other resources are lists, read whole, without a watermark
    #[arg(value_name = "RESOURCE")]
    pub resource: Resource,
    /// Only the contacts with this status: ACTIVE, ARCHIVED or BLOCKED [default: all three]
    #[arg(long, value_name = "STATUS")]
    pub status: Option<String>,
}

/// Which watermark, and its new value.
#[derive(Debug, Args)]
pub struct SetArgs {
    /// Which.
    #[command(flatten)]
    pub stream: StreamArgs,
    /// The new watermark: 2025-12-31 (its first instant), "2025-12-31 18:30" in the configured time
    /// zone, or RFC 3339
    #[arg(value_name = "DATE")]
    pub date: String,
}

/// Which watermark.
#[derive(Debug, Args)]
pub struct ResetArgs {
    /// Which.
    #[command(flatten)]
    pub stream: StreamArgs,
}
