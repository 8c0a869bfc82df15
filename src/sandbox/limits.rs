//! Sliding windows of requests.

use std::collections::VecDeque;
use std::time::Duration;

use super::config::RequestLimit;
use super::ticks::ticks;

/// The requests that count, oldest first, in ticks of the server's clock.
#[derive(Debug, Default)]
pub(super) struct Limiter(VecDeque<i64>);

impl Limiter {
    /// Counts a request, or returns the time until one is allowed. Refused requests do not count.
    pub(super) fn admit(&mut self, limits: &[RequestLimit], now: i64) -> Result<(), Duration> {
        let longest = limits
            .iter()
            .map(|limit| ticks(limit.per))
            .max()
            .unwrap_or(0);
        // A clock set back would leave requests in the future that never grow old.
        while self.0.back().is_some_and(|at| *at > now) {
            self.0.pop_back();
        }
        while self.0.front().is_some_and(|at| *at <= now - longest) {
            self.0.pop_front();
        }
        let mut wait = 0;
        for limit in limits {
            let Some(nth) = self.0.len().checked_sub(limit.count) else {
                continue;
            };
            let free = self.0.get(nth).map_or(i64::MAX, |at| at + ticks(limit.per));
            wait = wait.max(free - now);
        }
        if wait > 0 {
            return Err(Duration::from_nanos(
                u64::try_from(wait).unwrap_or(0).saturating_mul(100),
            ));
        }
        if !limits.is_empty() {
            self.0.push_back(now);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::ticks::SECOND;
    use super::*;

    #[test]
    fn both_windows_slide_on_the_clock() {
        let limits = RequestLimit::documented();
        let mut limiter = Limiter::default();
        let mut admitted = 0;
        for _ in 0..250 {
            admitted += usize::from(limiter.admit(&limits, 0).is_ok());
        }
        assert_eq!(admitted, 200);
        assert_eq!(limiter.admit(&limits, SECOND), Err(Duration::from_secs(4)));
        assert_eq!(limiter.admit(&limits, 5 * SECOND), Ok(()));
        for second in 2..8 {
            for _ in 0..200 {
                admitted += usize::from(limiter.admit(&limits, second * 5 * SECOND).is_ok());
            }
        }
        // One was admitted at second 5, 200 at 0, so 799 were left of the thousand.
        assert_eq!(admitted + 1, 1_000);
        assert_eq!(
            limiter.admit(&limits, 299 * SECOND),
            Err(Duration::from_secs(1))
        );
        assert_eq!(limiter.admit(&limits, 300 * SECOND), Ok(()));
    }
}
