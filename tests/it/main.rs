//! The integration tests: one binary.

#![expect(clippy::unwrap_used, reason = "a failing test says where it failed")]

mod contract;
mod limits;
mod mirror;
mod outside;
mod process;
mod progress;
mod readme;
mod store;
mod support;
mod torture;
mod verify;
