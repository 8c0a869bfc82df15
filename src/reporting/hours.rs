//! In which hours a company attends, and for how many seconds that is.
//!
//! Must not know where the hours were configured.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chrono::{Days, NaiveDate};
use serde::{Deserialize, Serialize};

use super::days::{Day, naive_midnight};

/// The names of the days of the week, Monday first.
const WEEK: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// Local times of the day, from one to another, in seconds since midnight.
type Intervals = Vec<(u32, u32)>;

/// In which hours a company attends, in local time, and on which days it does not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hours {
    /// From Monday on; `None` if nothing is said of any day.
    week: Option<[Intervals; 7]>,
    /// Dates on which nobody attends, with their names.
    holidays: BTreeMap<NaiveDate, String>,
}

/// What is wrong with configured hours, as a sentence without its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct HoursError(String);

/// Their form in the database.
#[derive(Serialize, Deserialize)]
struct Stored {
    week: Option<[Intervals; 7]>,
    holidays: BTreeMap<String, String>,
}

fn time(text: &str) -> Option<u32> {
    let (hour, minute) = text.trim().split_once(':')?;
    if hour.len() > 2 || minute.len() != 2 {
        return None;
    }
    let (hour, minute): (u32, u32) = (hour.parse().ok()?, minute.parse().ok()?);
    let is_time = minute < 60 && (hour < 24 || (hour, minute) == (24, 0));
    is_time.then_some(hour * 3600 + minute * 60)
}

fn intervals(texts: &[String]) -> Result<Intervals, HoursError> {
    let mut intervals = Intervals::new();
    for text in texts {
        let interval = text
            .split_once('-')
            .and_then(|(from, to)| Some((time(from)?, time(to)?)))
            .filter(|(from, to)| from < to);
        let Some(interval) = interval else {
            return Err(HoursError(format!(
                "{text:?} is not an interval (accepted: two times of one day such as 08:00-12:00, the \
                 second at most 24:00; one that goes past midnight is written as two)"
            )));
        };
        intervals.push(interval);
    }
    intervals.sort_unstable();
    if let Some(pair) = intervals.windows(2).find(|pair| pair[0].1 > pair[1].0) {
        return Err(HoursError(format!(
            "{} and {} overlap",
            shown(pair[0]),
            shown(pair[1])
        )));
    }
    Ok(intervals)
}

fn shown((from, to): (u32, u32)) -> String {
    let time = |seconds: u32| format!("{:02}:{:02}", seconds / 3600, seconds / 60 % 60);
    format!("{}-{}", time(from), time(to))
}

impl Hours {
    /// Reads a week's hours, each day given by its place from Monday on, and holidays: `2026-12-25`, or
    /// with a name behind it. A day that is not given is closed.
    pub fn new(week: &[(usize, Vec<String>)], holidays: &[String]) -> Result<Self, HoursError> {
        let mut hours = Self::default();
        for (day, texts) in week {
            let days = hours.week.get_or_insert_default();
            if let Some(place) = days.get_mut(*day) {
                *place = intervals(texts)?;
            }
        }
        for text in holidays {
            let text = text.trim();
            let (date, name) = text.split_once(' ').unwrap_or((text, ""));
            let date = date.parse().map_err(|_| {
                HoursError(format!(
                    "{text:?} is not a holiday (accepted: a date such as 2026-12-25, and its name \
                     behind it)"
                ))
            })?;
            hours.holidays.insert(date, name.trim().to_owned());
        }
        Ok(hours)
    }

    /// Whether any hours are configured.
    pub const fn are_known(&self) -> bool {
        self.week.is_some()
    }

    /// The name of a holiday, `holiday` if it has none; `None` for any other day.
    pub fn holiday(&self, date: NaiveDate) -> Option<&str> {
        let name = self.holidays.get(&date)?;
        Some(if name.is_empty() { "holiday" } else { name })
    }

    /// In which hours of this date somebody attends.
    fn on(&self, date: NaiveDate) -> &[(u32, u32)] {
        let days = self
            .week
            .as_ref()
            .filter(|_| !self.holidays.contains_key(&date));
        let day = chrono::Datelike::weekday(&date).num_days_from_monday();
        days.and_then(|days| days.get(day as usize))
            .map_or(&[], Vec::as_slice)
    }

    /// As the database keeps them; [`Self::parse`] reads it.
    pub fn stored(&self) -> String {
        let stored = Stored {
            week: self.week.clone(),
            holidays: self
                .holidays
                .iter()
                .map(|(date, name)| (date.to_string(), name.clone()))
                .collect(),
        };
        serde_json::to_string(&stored).unwrap_or_default()
    }

    /// Reads what [`Self::stored`] wrote; `None` if it is nothing of the kind.
    pub fn parse(text: &str) -> Option<Self> {
        let stored: Stored = serde_json::from_str(text).ok()?;
        let holidays = stored
            .holidays
            .into_iter()
            .map(|(date, name)| Some((date.parse().ok()?, name)));
        Some(Self {
            week: stored.week,
            holidays: holidays.collect::<Option<_>>()?,
        })
    }

    /// For people: `mon 08:00-12:00 13:30-18:00, sat 09:00-13:00`; empty if none are configured.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        for (name, intervals) in WEEK.iter().zip(self.week.iter().flatten()) {
            if intervals.is_empty() {
                continue;
            }
            // Writing to a String cannot fail.
            let _ = write!(text, "{}{name}", if text.is_empty() { "" } else { ", " });
            for &interval in intervals {
                let _ = write!(text, " {}", shown(interval));
            }
        }
        text
    }

    /// When somebody attends within a day, in seconds since 1970, in order; of a clock that is put back
    /// the repeated time counts twice.
    pub fn open(&self, day: &Day) -> Vec<(i64, i64)> {
        let border = day.shift.map_or(day.ends_at, |shift| shift.at);
        let later = day.utc_offset + day.shift.map_or(0, |shift| shift.seconds);
        let mut spans: Vec<(i64, i64)> = Vec::new();
        for (from, to, offset) in [
            (day.starts_at, border, day.utc_offset),
            (border, day.ends_at, later),
        ] {
            // A clock that is put back at midnight shows the date before for a while.
            for date in [day.date - Days::new(1), day.date, day.date + Days::new(1)] {
                let midnight = naive_midnight(date) - offset;
                for &(opens, closes) in self.on(date) {
                    let opens = (midnight + i64::from(opens)).max(from);
                    let closes = (midnight + i64::from(closes)).min(to);
                    if opens < closes {
                        spans.push((opens, closes));
                    }
                }
            }
        }
        spans.sort_unstable();
        spans
    }
}

/// An interval in which somebody attends, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenHours {
    /// Its first instant.
    pub starts_at: i64,
    /// The first instant after it.
    pub ends_at: i64,
    /// The seconds of all intervals before it.
    pub open_before: i64,
}

/// All intervals of these days, behind one of length 0 that is earlier than any session; none if no
/// hours are configured.
pub fn open_hours(hours: &Hours, days: &[Day]) -> Vec<OpenHours> {
    if !hours.are_known() {
        return Vec::new();
    }
    let mut open_before = 0;
    // The year 1900.
    let long_ago = [(-2_208_988_800, -2_208_988_800)];
    let spans = days.iter().flat_map(|day| hours.open(day));
    long_ago
        .into_iter()
        .chain(spans)
        .map(|(starts_at, ends_at)| {
            let interval = OpenHours {
                starts_at,
                ends_at,
                open_before,
            };
            open_before += ends_at - starts_at;
            interval
        })
        .collect()
}
