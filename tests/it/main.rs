//! The integration tests: one binary.

#![expect(clippy::unwrap_used, reason = "a failing test says where it failed")]

mod mirror;
mod store;
mod support;
