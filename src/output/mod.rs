//! Prints tables, JSON and CSV to stdout, and progress to a terminal.
//!
//! Must not know where the data comes from.

mod csv;
mod listing;
mod progress;

pub use crate::telemetry::{Wrapping, wrapped};
pub use csv::{harmless, harmless_cell, harmless_json, is_mistaken, quoted};
pub use listing::{Format, Printer, cell, terminal_width};
pub use progress::{Pace, ProgressDisplay, Snapshot, on_terminal};
