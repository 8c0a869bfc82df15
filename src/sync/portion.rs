//! Splits long work into portions, with passes in between.

use std::time::Duration;

use crate::clock::Clock;
use crate::data::Source;

/// How many requests a portion sends: half a minute of the platform's request limit.
const REQUESTS: u64 = 100;

/// How long a portion takes at most, so that a slow platform does not delay passes either.
const TIME: Duration = Duration::from_secs(30);

/// A portion of long work, which ends after some requests or some time.
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

    /// Whether the portion is over and may send no further request.
    pub(super) fn is_over(&self) -> bool {
        self.source.usage().requests - self.requests >= REQUESTS
            || self.clock.elapsed(self.began) >= TIME
    }
}
