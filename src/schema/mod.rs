//! From the platform's records to rows.
//!
//! Owns the tables' descriptors and, per resource, the mapping of a record's JSON to its row and
//! to the rows it brings along. Pure: pages in, a batch out. Must not know SQL, HTTP or the clock.
//!
//! A record is read leniently, field by field: what can be bent is bent, what cannot costs the
//! field and leaves an objection, and only a record without a readable id costs the record.

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

pub use batch::BatchBuilder;
pub use span::seconds as span_seconds;
