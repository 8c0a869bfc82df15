//! Lengths of time and shares with the shapes that real support teams show.
//!
//! What is published of such teams agrees on a few facts, which the generated year follows:
//!
//! - Times to a first answer and times of handling are skewed to the right and close to lognormal
//!   (Brown and others, "Statistical Analysis of a Telephone Call Center", 2005, for times of
//!   service). The median of messaging teams is minutes; the 90th percentile is several times that;
//!   the mean says more of nights than of people.
//! - Waiting grows faster than linearly as the load comes near the capacity of those on shift, and
//!   the share that gives up grows with it (Gans, Koole and Mandelbaum, "Telephone Call Centers",
//!   2003).
//! - Arrivals have a rhythm of hours, weekdays and seasons, and days scatter more around it than
//!   independent arrivals would (the same two).
//! - Of those who were attended, between a tenth and a third write again within a week: a first
//!   contact resolution of 70 to 80 % is what trade surveys call usual.
//! - Bots end between a fifth and two fifths of the conversations that they begin.

/// A draw from the standard normal distribution (Box and Muller).
pub(super) fn normal(dice: &mut fastrand::Rng) -> f64 {
    let radius = (-2.0 * (1.0 - dice.f64()).max(f64::MIN_POSITIVE).ln()).sqrt();
    radius * (std::f64::consts::TAU * dice.f64()).cos()
}

/// A draw from the lognormal distribution with this median; `spread` is the standard deviation of
/// its logarithm.
pub(super) fn lognormal(dice: &mut fastrand::Rng, median: f64, spread: f64) -> f64 {
    median * (spread * normal(dice)).exp()
}

/// Whether something of this share (0 to 1) happens.
pub(super) fn hit(dice: &mut fastrand::Rng, share: f64) -> bool {
    dice.f64() < share
}

/// The position that a share falls on.
pub(super) fn weighted(
    dice: &mut fastrand::Rng,
    weights: impl Iterator<Item = u32> + Clone,
) -> usize {
    let mut left = dice.u32(..weights.clone().sum::<u32>().max(1));
    for (position, weight) in weights.enumerate() {
        if left < weight {
            return position;
        }
        left -= weight;
    }
    0
}

/// A number from 0 to 1 for each of a few, spread evenly whatever their number is, so that also two
/// of them differ.
pub(super) fn spread(number: u32, start: u64, step: f64) -> f64 {
    let start = f64::from(u16::try_from(start % 1_000).unwrap_or(0)) / 1_000.0;
    (start + f64::from(number) * step).fract()
}

/// A count or a length as a number to compute with.
#[expect(
    clippy::cast_precision_loss,
    reason = "no year has so many ticks that the digits of minutes would be lost"
)]
pub(super) fn float(number: i64) -> f64 {
    number as f64
}

/// Ticks of a number of minutes.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a million minutes have fewer ticks than the largest number"
)]
pub(super) fn minutes(minutes: f64) -> i64 {
    (minutes.clamp(0.0, 1_000_000.0) * 60.0 * float(super::ticks::SECOND)) as i64
}
