//! The integration tests: one binary.

#![expect(clippy::unwrap_used, reason = "a failing test says where it failed")]
#![expect(
    clippy::print_stdout,
    reason = "a long search or torture says what it did, and how to repeat it"
)]

mod alerts;
mod contract;
mod layers;
mod limits;
mod messages;
mod mirror;
mod outside;
mod packaging;
mod process;
mod progress;
mod readme;
mod reporting;
mod store;
mod support;
mod torture;
mod verify;
