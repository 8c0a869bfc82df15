//! Both sides of the wire against the contract: what the client asks and what the sandbox answers.
//!
//! The two share no code, and were written from the same notes. This is what keeps a
//! misunderstanding of one from being confirmed by the other.

mod answers;
mod requests;
mod spec;

use std::sync::Arc;

use helena_sync::clock::{Clock, FakeClock};
use helena_sync::data::Timestamp;
use helena_sync::sandbox::{Sandbox, SandboxConfig};

/// A sandbox on a clock that stands still.
async fn start(config: SandboxConfig) -> (Sandbox, Arc<FakeClock>) {
    let noon = Timestamp::parse("2026-05-04T15:00:00Z").unwrap();
    let clock = Arc::new(FakeClock::at(noon));
    let sandbox = Sandbox::start(config, Arc::clone(&clock) as Arc<dyn Clock>)
        .await
        .unwrap();
    (sandbox, clock)
}

/// Fails with everything that is wrong, each once.
#[track_caller]
fn assert_none(mut wrong: Vec<String>) {
    wrong.sort();
    wrong.dedup();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
