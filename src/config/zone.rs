//! The time zone in which dates are parsed and printed.
//!
//! Must not know what the dates are used for.

use std::fmt;
use std::str::FromStr;

use chrono::{MappedLocalTime, NaiveDateTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

use super::nearest::nearest;
use crate::data::Timestamp;

/// A time zone of the IANA database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Zone(pub Tz);

/// Which of two instants a local time means that occurs twice, when clocks are set back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    /// The earlier one: the beginning of a range.
    Start,
    /// The later one: the end of a range.
    End,
}

impl Zone {
    /// Coordinated universal time.
    pub const UTC: Self = Self(Tz::UTC);

    /// The instant of a local time. If clocks are set forward and skip the time, it means the first
    /// instant after the gap. If the time occurs twice, it means the instant that makes the range
    /// wider.
    pub fn instant(self, local: NaiveDateTime, edge: Edge) -> Timestamp {
        // A gap is usually an hour, and a day where a country moved across the date line. So the
        // search ends after 26 hours. Gaps start and end at whole minutes.
        let mut candidate = local;
        for _ in 0..=(26 * 60) {
            match self.0.from_local_datetime(&candidate) {
                MappedLocalTime::Single(at) => {
                    return Timestamp::from_datetime(at.with_timezone(&Utc));
                }
                MappedLocalTime::Ambiguous(a, b) => {
                    let at = if edge == Edge::Start {
                        a.min(b)
                    } else {
                        a.max(b)
                    };
                    return Timestamp::from_datetime(at.with_timezone(&Utc));
                }
                MappedLocalTime::None => {
                    let next = candidate + TimeDelta::minutes(1);
                    candidate = next - TimeDelta::seconds(i64::from(seconds_of(next)));
                }
            }
        }
        Timestamp::from_datetime(local.and_utc())
    }

    /// An instant as local time: `2026-01-31 12:34`.
    pub fn show(self, at: Timestamp) -> String {
        at.to_datetime()
            .with_timezone(&self.0)
            .format("%Y-%m-%d %H:%M")
            .to_string()
    }

    /// An instant as local time with its difference from UTC: `2026-01-31 12:34:56-03:00`.
    pub fn show_offset(self, at: Timestamp) -> String {
        at.to_datetime()
            .with_timezone(&self.0)
            .format("%Y-%m-%d %H:%M:%S%:z")
            .to_string()
    }

    /// An instant as local time with seconds: `2026-01-31 12:34:56`.
    pub fn show_seconds(self, at: Timestamp) -> String {
        at.to_datetime()
            .with_timezone(&self.0)
            .format("%Y-%m-%d %H:%M:%S")
            .to_string()
    }
}

fn seconds_of(time: NaiveDateTime) -> u32 {
    use chrono::Timelike;
    time.second()
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
    }
}

/// A name that is not a known time zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown time zone {name:?} (accepted: local, or a name such as America/Sao_Paulo or UTC){}",
    suggestion(near)
)]
pub struct UnknownZone {
    name: String,
    near: Vec<&'static str>,
}

fn suggestion(near: &[&str]) -> String {
    if near.is_empty() {
        String::new()
    } else {
        format!("; similar: {}", near.join(", "))
    }
}

impl FromStr for Zone {
    type Err = UnknownZone;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = text.trim();
        let known = || chrono_tz::TZ_VARIANTS.iter();
        known()
            .find(|zone| zone.name().eq_ignore_ascii_case(name))
            .map(|zone| Self(*zone))
            .ok_or_else(|| UnknownZone {
                name: name.to_owned(),
                near: nearest(name, known().map(|zone| zone.name()), 3),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(zone: &str, local: &str, edge: Edge) -> String {
        let local = NaiveDateTime::parse_from_str(local, "%Y-%m-%d %H:%M").unwrap();
        zone.parse::<Zone>()
            .unwrap()
            .instant(local, edge)
            .to_string()
    }

    #[test]
    fn a_midnight_that_was_skipped_means_the_first_instant_of_that_day() {
        // Brazil put its clocks forward at midnight until 2018.
        assert_eq!(
            at("America/Sao_Paulo", "2018-11-04 00:00", Edge::Start),
            "2018-11-04T03:00:00.000000Z"
        );
        assert_eq!(
            at("America/Sao_Paulo", "2018-11-04 00:30", Edge::End),
            "2018-11-04T03:00:00.000000Z"
        );
    }

    #[test]
    fn a_time_that_occurs_twice_makes_the_range_wider() {
        assert_eq!(
            at("America/Sao_Paulo", "2018-02-17 23:30", Edge::Start),
            "2018-02-18T01:30:00.000000Z"
        );
        assert_eq!(
            at("America/Sao_Paulo", "2018-02-17 23:30", Edge::End),
            "2018-02-18T02:30:00.000000Z"
        );
    }

    #[test]
    fn an_unknown_zone_is_refused_with_the_nearest_names() {
        let error = "America/Sao_Pualo".parse::<Zone>().unwrap_err().to_string();
        assert!(
            error.contains("America/Sao_Paulo;") || error.contains("similar: America/Sao_Paulo")
        );
        assert!(error.contains("accepted: local"));
    }
}
