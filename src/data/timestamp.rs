//! Instants, in microseconds, and the platform's text forms of them.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An instant in UTC, in microseconds since 1970-01-01.
///
/// The platform sends steps of 100 ns and finer (API notes, 3.5). Parts of a microsecond are cut
/// off, never rounded: a watermark that is slightly too early reads a row twice, one that is
/// slightly too late skips it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// A text that is not an instant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a valid time (accepted: 2026-01-31T12:34:56Z with any number of decimals)")]
pub struct TimestampError(String);

impl Timestamp {
    /// From microseconds since 1970-01-01T00:00:00Z.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// From chrono's type; nanoseconds are cut off.
    pub fn from_datetime(at: DateTime<Utc>) -> Self {
        Self(at.timestamp_micros())
    }

    /// As chrono's type.
    pub fn to_datetime(self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0).unwrap_or(if self.0 < 0 {
            DateTime::<Utc>::MIN_UTC
        } else {
            DateTime::<Utc>::MAX_UTC
        })
    }

    /// Parses the platform's forms: `2026-05-04T12:44:52.1182041Z` with any number of decimals, `T`
    /// or a space, and `Z`, an offset, or no zone, which means UTC (API notes, 3.5).
    pub fn parse(text: &str) -> Result<Self, TimestampError> {
        parse(text.as_bytes()).ok_or_else(|| TimestampError(text.chars().take(40).collect()))
    }

    /// Whether it is in the year 1, which .NET writes for an unset time. An offset may move it into
    /// the year before.
    pub const fn is_unset(self) -> bool {
        const BEGINS: i64 = -62_135_596_800_000_000;
        const DAY: i64 = 86_400_000_000;
        self.0 >= BEGINS - DAY && self.0 < BEGINS + 365 * DAY
    }

    /// The time from `earlier` to this instant. Zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The instant in the middle between this one and a later one.
    #[must_use]
    pub fn middle(self, later: Self) -> Self {
        Self(self.0 + (later.0 - self.0) / 2)
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

impl Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(micros(by)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;
    fn sub(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(micros(by)))
    }
}

fn digits(bytes: &[u8]) -> Option<i64> {
    let mut value = 0_i64;
    for byte in bytes {
        if !byte.is_ascii_digit() {
            return None;
        }
        value = value * 10 + i64::from(byte - b'0');
    }
    Some(value)
}

fn parse(text: &[u8]) -> Option<Timestamp> {
    if text.len() < 19 || text[4] != b'-' || text[7] != b'-' || text[13] != b':' || text[16] != b':'
    {
        return None;
    }
    if !matches!(text[10], b'T' | b't' | b' ') {
        return None;
    }
    let part = |from: usize, to: usize| digits(&text[from..to]);
    let date = NaiveDate::from_ymd_opt(
        i32::try_from(part(0, 4)?).ok()?,
        u32::try_from(part(5, 7)?).ok()?,
        u32::try_from(part(8, 10)?).ok()?,
    )?;
    let (hour, minute, second) = (part(11, 13)?, part(14, 16)?, part(17, 19)?);
    // 60 is a leap second (RFC 3339, 5.7). It counts as the last microsecond of its minute, to keep
    // the order.
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut rest = &text[19..];
    let mut fraction = 0_i64;
    if let [b'.' | b',', tail @ ..] = rest {
        let len = tail.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if len == 0 {
            return None;
        }
        for index in 0..6 {
            let digit = tail[..len]
                .get(index)
                .map_or(0, |byte| i64::from(byte - b'0'));
            fraction = fraction * 10 + digit;
        }
        rest = &tail[len..];
    }
    let offset_minutes = match rest {
        [] | [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), zone @ ..] => {
            let (hours, minutes) = match zone.len() {
                2 => (digits(zone)?, 0),
                4 => (digits(&zone[..2])?, digits(&zone[2..])?),
                5 if zone[2] == b':' => (digits(&zone[..2])?, digits(&zone[3..])?),
                _ => return None,
            };
            if hours > 23 || minutes > 59 {
                return None;
            }
            (hours * 60 + minutes) * if *sign == b'-' { -1 } else { 1 }
        }
        _ => return None,
    };
    let days = date
        .signed_duration_since(NaiveDate::from_ymd_opt(1970, 1, 1)?)
        .num_days();
    if second == 60 {
        fraction = 999_999;
    }
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second.min(59) - offset_minutes * 60;
    Some(Timestamp(seconds * 1_000_000 + fraction))
}

/// `2026-05-04T12:44:52.118204Z`, always with six decimals, so that texts sort like instants. SQLite
/// stores this form, and the platform gets it.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match digits_of(self.0) {
            Some(text) => f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?),
            None => write!(f, "{}", self.to_datetime().format("%Y-%m-%dT%H:%M:%S%.6fZ")),
        }
    }
}

/// The text of an instant of the years 0 to 9999. A row has ten instants, and with chrono's formatter
/// they would take most of the time of mapping a row.
fn digits_of(micros: i64) -> Option<[u8; 27]> {
    let (days, of_day) = (
        micros.div_euclid(86_400_000_000),
        micros.rem_euclid(86_400_000_000),
    );
    // Days are counted from 0000-03-01, in eras of 400 years, so that the leap day comes last.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    if !(0..=9999).contains(&year) {
        return None;
    }
    let mut text = *b"0000-00-00T00:00:00.000000Z";
    let (seconds, fraction) = (of_day / 1_000_000, of_day % 1_000_000);
    for (value, place) in [
        (year / 100, 0),
        (year % 100, 2),
        (month, 5),
        (day, 8),
        (seconds / 3_600, 11),
        (seconds / 60 % 60, 14),
        (seconds % 60, 17),
        (fraction / 10_000, 20),
        (fraction / 100 % 100, 22),
        (fraction % 100, 24),
    ] {
        // Each is less than 100.
        let value = u8::try_from(value).unwrap_or(0);
        text[place] = b'0' + value / 10;
        text[place + 1] = b'0' + value % 10;
    }
    Some(text)
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Timestamp {
    type Err = TimestampError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        Timestamp::parse(text).unwrap().to_string()
    }

    #[test]
    fn every_form_the_platform_sends_is_read_and_cut_to_microseconds() {
        for (text, expected) in [
            ("2026-05-04T13:10:00Z", "2026-05-04T13:10:00.000000Z"),
            ("2026-05-04T13:12:44.9Z", "2026-05-04T13:12:44.900000Z"),
            ("2026-05-04T12:44:52.118204Z", "2026-05-04T12:44:52.118204Z"),
            (
                "2026-05-04T13:15:01.9999999Z",
                "2026-05-04T13:15:01.999999Z",
            ),
            (
                "2026-05-04T13:15:01.12345678",
                "2026-05-04T13:15:01.123456Z",
            ),
            ("2026-05-04 13:15:01", "2026-05-04T13:15:01.000000Z"),
            ("2026-05-04T13:15:01-03:00", "2026-05-04T16:15:01.000000Z"),
            ("1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59.500000Z"),
            ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_instant_is_refused() {
        for text in [
            "",
            "null",
            "2026-05-04",
            "2026-02-30T00:00:00Z",
            "2026-05-04T24:00:00Z",
            "2026-05-04T13:15:01.Z",
            "2026-05-04T13:15:01+3",
            "31/12/2025 10:00:00",
            "2026-05-04T13:15:01Zz",
            "２０２６-05-04T13:15:01Z",
        ] {
            assert!(Timestamp::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn instants_compare_as_time_and_not_as_text() {
        let whole = Timestamp::parse("2026-05-04T13:15:57Z").unwrap();
        let later = Timestamp::parse("2026-05-04T13:15:57.3Z").unwrap();
        assert!(whole < later);
        assert!(whole.to_string() < later.to_string());
    }

    fn any_instant() -> impl proptest::strategy::Strategy<Value = i64> {
        proptest::prop_oneof![
            proptest::num::i64::ANY,
            -62_300_000_000_000_000_i64..253_500_000_000_000_000,
            -1_000_000_000_000_000_i64..3_000_000_000_000_000,
        ]
    }

    proptest::proptest! {
        #[test]
        fn what_is_shown_reads_back(micros in -62_135_596_800_000_000_i64..253_402_300_800_000_000) {
            let at = Timestamp::from_micros(micros);
            proptest::prop_assert_eq!(Timestamp::parse(&at.to_string()), Ok(at));
        }

        #[test]
        fn what_is_shown_is_what_chrono_shows(micros in any_instant()) {
            let at = Timestamp::from_micros(micros);
            let expected = at.to_datetime().format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
            proptest::prop_assert_eq!(at.to_string(), expected);
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = Timestamp::parse(&text);
        }
    }
}
