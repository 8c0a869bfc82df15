//! What commands print: tables, JSON, CSV on stdout, and progress on a terminal.
//!
//! Must not know where the data came from. Nothing else in this crate writes data to stdout.

mod listing;
mod progress;

pub use listing::{Format, Printer, cell, terminal_width};
pub use progress::{Pace, Progress, Snapshot, on_terminal};
