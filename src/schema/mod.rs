//! Maps the platform's records to rows.
//!
//! Owns the descriptors of tables and, for each resource, the mapping of a record's JSON to its row
//! and to the rows of its nested records. Pure: pages in, a batch out. Must not know SQL, HTTP or
//! the clock.
//!
//! A record is read field by field. If a field is invalid, it is corrected where possible.
//! Otherwise only that field is left out, with an objection. A record is rejected only if its id is
//! not readable.

mod batch;
mod contacts;
mod json;
mod lists;
mod mapper;
mod parents;
mod record;
mod sessions;
mod span;
pub mod tables;
mod tag_list;
#[cfg(test)]
mod tests;

pub use batch::{BatchBuilder, ReadingOrder};
pub use span::seconds as span_seconds;
