//! The integration tests: one binary.

#![expect(clippy::unwrap_used, reason = "a failing test says where it failed")]

mod contract;
mod outside;
mod process;
mod readme;
mod store;
mod support;
mod torture;
mod verify;
