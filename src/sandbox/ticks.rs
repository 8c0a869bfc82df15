//! Instants at the platform's precision.
//!
//! The platform's dates have up to seven decimals, one more than the mirror keeps. The sandbox
//! keeps all seven, so that tests can show whether the mirror handles them.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use crate::data::Timestamp;

/// An instant in UTC, in units of 100 ns since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Ticks(pub i64);

/// Ticks in a second.
pub(super) const SECOND: i64 = 10_000_000;
/// Ticks in a day.
pub(super) const DAY: i64 = 86_400 * SECOND;

impl Ticks {
    /// Reads what clients are known to send (API notes, 3.2): RFC 3339 with any number of
    /// decimals, `YYYY-MM-DD hh:mm`, or a date alone; no zone means UTC.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let micros = match text.len() {
            10 => Timestamp::parse(&format!("{text}T00:00:00Z")),
            16 => Timestamp::parse(&format!("{text}:00Z")),
            _ => Timestamp::parse(text),
        }
        .ok()?
        .micros();
        let seventh = text
            .split_once('.')
            .and_then(|(_, fraction)| fraction.as_bytes().get(..7))
            .filter(|digits| digits.iter().all(u8::is_ascii_digit))
            .map_or(0, |digits| i64::from(digits[6] - b'0'));
        Some(Self(micros.checked_mul(10)?.checked_add(seventh)?))
    }

    /// The instant to the microsecond; the seventh decimal is cut off.
    pub fn timestamp(self) -> Timestamp {
        Timestamp::from_micros(self.0.div_euclid(10))
    }

    /// Appends the platform's notation: `2026-05-04T12:44:52.1182041Z`, trailing zeros of the
    /// fraction dropped, and the point with them (API notes, 3.5).
    pub(super) fn write(self, out: &mut Vec<u8>) {
        let second_of_day = self.0.rem_euclid(DAY) / SECOND;
        let (year, month, day) = civil(self.0.div_euclid(DAY));
        digits(out, year, 4);
        out.push(b'-');
        digits(out, month, 2);
        out.push(b'-');
        digits(out, day, 2);
        out.push(b'T');
        digits(out, second_of_day / 3_600, 2);
        out.push(b':');
        digits(out, second_of_day / 60 % 60, 2);
        out.push(b':');
        digits(out, second_of_day % 60, 2);
        let fraction = self.0.rem_euclid(SECOND);
        if fraction != 0 {
            out.push(b'.');
            digits(out, fraction, 7);
            while out.last() == Some(&b'0') {
                out.pop();
            }
        }
        out.push(b'Z');
    }
}

fn digits(out: &mut Vec<u8>, value: i64, count: u32) {
    for place in (0..count).rev() {
        let digit = value / 10_i64.pow(place) % 10;
        out.push(b'0' + u8::try_from(digit).unwrap_or(0));
    }
}

/// Year, month and day of a number of days since 1970-01-01, in the proleptic Gregorian calendar
/// (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms"). Formatting through chrono
/// costs more than everything else that a session's line needs.
pub(super) fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// The length of a duration in ticks.
pub(super) fn ticks(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos() / 100).unwrap_or(i64::MAX)
}

impl From<Timestamp> for Ticks {
    fn from(at: Timestamp) -> Self {
        Self(at.micros().saturating_mul(10))
    }
}

impl Add<Duration> for Ticks {
    type Output = Self;
    fn add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(ticks(by)))
    }
}

impl Sub<Duration> for Ticks {
    type Output = Self;
    fn sub(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(ticks(by)))
    }
}

impl fmt::Display for Ticks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(28);
        self.write(&mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

impl fmt::Debug for Ticks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailing_zeros_of_the_fraction_are_dropped() {
        for text in [
            "2026-05-04T13:10:00Z",
            "2026-05-04T13:12:44.9Z",
            "2026-05-04T12:44:52.118204Z",
            "2026-05-04T13:15:01.9999999Z",
            "2024-02-29T23:59:59.0000001Z",
            "1999-12-31T00:00:00.01Z",
        ] {
            assert_eq!(Ticks::parse(text).unwrap().to_string(), text);
        }
        let padded = Ticks::parse("2026-05-04T13:12:44.9000000Z").unwrap();
        assert_eq!(padded.to_string(), "2026-05-04T13:12:44.9Z");
    }

    #[test]
    fn the_forms_that_clients_send_are_read() {
        let expected = Ticks::parse("2026-05-04T13:10:00Z");
        for text in [
            "2026-05-04 13:10",
            "2026-05-04T13:10:00.000000Z",
            "2026-05-04T10:10:00-03:00",
            "2026-05-04T13:10:00",
        ] {
            assert_eq!(Ticks::parse(text), expected, "{text}");
        }
        assert_eq!(Ticks::parse("04/05/2026"), None);
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_reads_back(ticks in 0_i64..40_000_000_000_000_000) {
            proptest::prop_assert_eq!(Ticks::parse(&Ticks(ticks).to_string()), Some(Ticks(ticks)));
        }
    }
}
