//! Splits long work into portions, with passes in between.

use std::time::Duration;

use crate::clock::Clock;
use crate::data::Source;

/// Requests of a portion: half a minute of the platform's request limit.
const REQUESTS: u64 = 100;

/// How long a portion takes, so that a slow platform does not hold up passes either.
const TIME: Duration = Duration::from_secs(30);

/// When a portion is over.
pub(super) struct Portion<'a, S> {
    source: &'a S,
    clock: &'a dyn Clock,
    requests: u64,
    began: Duration,
}

impl<'a, S: Source> Portion<'a, S> {
    /// A portion that begins now.
    pub(super) fn begin(source: &'a S, clock: &'a dyn Clock) -> Self {
        Self {
            source,
            clock,
            requests: source.usage().requests,
            began: clock.running(),
        }
    }

    /// Whether no further request belongs to it.
    pub(super) fn is_over(&self) -> bool {
        self.source.usage().requests - self.requests >= REQUESTS
            || self.clock.elapsed(self.began) >= TIME
    }
}
