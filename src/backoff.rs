//! How long to wait before the next attempt of something that failed.
//!
//! Must not know what is retried, or which clock the wait is spent on.

use std::time::Duration;

/// The wait before the next attempt. It doubles with each failure in a row.
///
/// After the n-th failure in a row, the wait is `min(first * 2^(n - 1), longest)`. If it is
/// [jittered](Self::jittered), a random part of up to a tenth is added or subtracted; even then it is
/// never longer than `longest`.
///
/// A backoff only computes. The caller waits, on its injected clock, and gives up: by
/// [`Self::failures`], by the time spent, or never.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    is_jittered: bool,
    failures: u32,
}

impl Backoff {
    /// No failure so far. The first wait is `first`, and none is longer than `longest`.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            is_jittered: false,
            failures: 0,
        }
    }

    /// With a random part in each wait, so that several clients do not retry at the same time.
    #[must_use]
    pub const fn jittered(mut self) -> Self {
        self.is_jittered = true;
        self
    }

    /// Counts a failure. Returns the wait before the next attempt.
    pub fn after_failure(&mut self) -> Duration {
        let doublings = self.failures.min(31);
        self.failures = self.failures.saturating_add(1);
        let wait = self.first.saturating_mul(1 << doublings).min(self.longest);
        if !self.is_jittered {
            return wait;
        }
        let part = 0.9 + 0.2 * fastrand::f64();
        // An error means that the product is longer than any duration.
        Duration::try_from_secs_f64(wait.as_secs_f64() * part)
            .map_or(self.longest, |wait| wait.min(self.longest))
    }

    /// The number of failures in a row.
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// Starts over after a success.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_wait_doubles_up_to_the_longest_and_starts_over_after_a_success() {
        let mut backoff = Backoff::new(seconds(1), seconds(30));
        for expected in [1, 2, 4, 8, 16, 30, 30] {
            assert_eq!(backoff.after_failure(), seconds(expected));
        }
        assert_eq!(backoff.failures(), 7);
        backoff.reset();
        assert_eq!(backoff.failures(), 0);
        assert_eq!(backoff.after_failure(), seconds(1));
    }

    #[test]
    fn the_random_part_is_a_tenth_at_most_and_never_makes_a_wait_too_long() {
        for _ in 0..100 {
            let mut backoff = Backoff::new(seconds(1), seconds(30)).jittered();
            for expected in [1.0, 2.0, 4.0, 8.0, 16.0, 30.0] {
                let wait = backoff.after_failure().as_secs_f64();
                assert!(wait >= expected * 0.9, "{wait} for {expected}");
                assert!(wait <= (expected * 1.1).min(30.0), "{wait} for {expected}");
            }
        }
    }

    #[test]
    fn no_number_of_failures_and_no_length_overflows() {
        for longest in [seconds(3600), Duration::MAX] {
            let plain = Backoff::new(seconds(60), longest);
            for mut backoff in [plain, plain.jittered()] {
                backoff.failures = u32::MAX - 1;
                for _ in 0..100 {
                    assert!(backoff.after_failure() <= longest);
                }
            }
        }
    }
}
