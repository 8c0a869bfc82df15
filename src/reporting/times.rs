//! Averages, medians and percentiles of durations.
//!
//! Must not know what the durations are of.

use serde::Serialize;

use super::session::LONG;

/// What a set of durations amounts to, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Times {
    /// How many there are.
    pub n: u64,
    /// Their sum.
    pub sum: u64,
    /// `None` if there is none.
    pub average: Option<f64>,
    /// The mean of the two middle ones if their number is even.
    pub median: Option<f64>,
    /// The value at place nine tenths, rounded up.
    pub p90: Option<u64>,
}

impl Times {
    /// Sorts the durations and looks them up. Those from [`LONG`] on are places in `long`.
    #[expect(
        clippy::cast_precision_loss,
        reason = "sums of seconds stay far below 2^53"
    )]
    pub(super) fn of(values: &mut [u32], long: &[i64]) -> Self {
        let seconds = |value: u32| match value.checked_sub(LONG) {
            None => u64::from(value),
            Some(place) => long
                .get(place as usize)
                .map_or(0, |&it| u64::try_from(it).unwrap_or(0)),
        };
        if long.is_empty() {
            values.sort_unstable();
        } else {
            values.sort_unstable_by_key(|&value| seconds(value));
        }
        let n = values.len();
        let sum: u64 = values
            .iter()
            .map(|&value| seconds(value))
            .fold(0, u64::saturating_add);
        let at = |place: usize| values.get(place).copied().map(seconds);
        let (low, high) = (at(n.saturating_sub(1) / 2), at(n / 2));
        Self {
            n: n as u64,
            sum,
            average: (n > 0).then(|| sum as f64 / n as f64),
            median: low
                .zip(high)
                .map(|(low, high)| f64::midpoint(low as f64, high as f64)),
            p90: (9 * n).div_ceil(10).checked_sub(1).and_then(at),
        }
    }

    /// The 90th percentile as a number like the others.
    #[expect(clippy::cast_precision_loss, reason = "seconds stay far below 2^53")]
    pub fn p90_seconds(&self) -> Option<f64> {
        self.p90.map(|seconds| seconds as f64)
    }

    /// Whether there are enough for a median that says something.
    pub const fn shows_median(&self) -> bool {
        self.n >= 3
    }

    /// Whether there are enough for a 90th percentile that says something.
    pub const fn shows_p90(&self) -> bool {
        self.n >= 10
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn they_are_those_of_a_sorted_list(mut values in proptest::collection::vec(0_u32..50, 0..500)) {
            let mut sorted = values.clone();
            sorted.sort_unstable();
            let times = Times::of(&mut values, &[]);
            let n = sorted.len();
            assert_eq!(times.n, n as u64);
            assert_eq!(times.sum, sorted.iter().map(|&it| u64::from(it)).sum::<u64>());
            if n == 0 {
                assert_eq!(times, Times::default());
            } else {
                let half = f64::from(sorted[(n - 1) / 2]) / 2.0 + f64::from(sorted[n / 2]) / 2.0;
                assert!((times.median.unwrap() - half).abs() < 1e-9);
                // At least nine tenths are no greater, and with any smaller value fewer would be.
                let p90 = times.p90.unwrap();
                let up_to = sorted.iter().filter(|&&it| u64::from(it) <= p90).count();
                let below = sorted.iter().filter(|&&it| u64::from(it) < p90).count();
                assert!(10 * up_to >= 9 * n && 10 * below < 9 * n);
            }
        }
    }

    #[test]
    fn few_durations_are_not_enough() {
        let two = Times::of(&mut [1, 2], &[]);
        assert!(!two.shows_median() && !two.shows_p90());
        let nine = Times::of(&mut [1; 9], &[]);
        assert!(nine.shows_median() && !nine.shows_p90());
        assert!(Times::of(&mut [1; 10], &[]).shows_p90());
    }

    #[test]
    fn long_durations_count_as_long_as_they_are() {
        let long = [20_000_000_000, 5_000_000_000];
        // In the order of their places they would be in the wrong one.
        let times = Times::of(&mut [LONG, LONG + 1, 7], &long);
        assert_eq!(times.sum, 25_000_000_007);
        assert_eq!(times.median, Some(5e9));
        assert_eq!(times.p90, Some(20_000_000_000));
    }
}
