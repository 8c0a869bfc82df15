//! From the platform's records to rows.
//!
//! Owns the tables' descriptors and, per resource, the mapping of a record's JSON to its row and
//! to the rows it brings along. Pure: pages in, a batch out. Must not know SQL, HTTP or the clock.

pub mod tables;
