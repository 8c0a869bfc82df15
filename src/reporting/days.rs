//! The days of a time zone, and when they begin and end.
//!
//! A day begins at the first instant whose local date it is: midnight, or later where clocks are put
//! forward at midnight. Must not know when anybody attends.

use chrono::{DateTime, Datelike as _, Days, NaiveDate, NaiveTime, Offset as _, TimeZone as _};
use chrono_tz::Tz;

use crate::data::Timestamp;

/// No day before this one is kept.
pub const FIRST_DAY: NaiveDate = NaiveDate::from_ymd_opt(1990, 1, 1).expect("it is a date");
/// No day from this one on is kept.
pub const LAST_DAY: NaiveDate = NaiveDate::from_ymd_opt(2100, 1, 1).expect("it is a date");

const MICROS: i64 = 1_000_000;

/// More than local time differs from UTC anywhere, with a change of the clock, in seconds.
const FAR: i64 = 30 * 60 * 60;

/// A local day. Instants are seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Day {
    /// Its date.
    pub date: NaiveDate,
    /// Its first instant.
    pub starts_at: i64,
    /// The first instant of the next day.
    pub ends_at: i64,
    /// How far local time is ahead of UTC when it begins, in seconds.
    pub utc_offset: i64,
    /// What the clock shows when it begins, in whole hours: 0, unless clocks are put forward then.
    pub first_hour: i64,
    /// When clocks are changed within it.
    pub shift: Option<Shift>,
}

/// A change of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shift {
    /// The first instant after it, in seconds since 1970.
    pub at: i64,
    /// By how many seconds clocks are put forward; negative if they are put back.
    pub seconds: i64,
}

/// How far local time is ahead of UTC, in seconds.
pub(super) fn offset(zone: Tz, at: i64) -> i64 {
    let utc = DateTime::from_timestamp(at, 0).unwrap_or_default();
    let offset = zone.offset_from_utc_datetime(&utc.naive_utc());
    i64::from(offset.fix().local_minus_utc())
}

/// Midnight as if local time were UTC, in seconds since 1970.
pub(super) fn naive_midnight(date: NaiveDate) -> i64 {
    date.and_time(NaiveTime::MIN).and_utc().timestamp()
}

/// The local date of an instant, given in seconds since 1970.
fn date_at(zone: Tz, at: i64) -> NaiveDate {
    DateTime::from_timestamp(at + offset(zone, at), 0)
        .unwrap_or_default()
        .date_naive()
}

/// The local date of an instant.
pub fn local_date(zone: Tz, at: Timestamp) -> NaiveDate {
    date_at(zone, at.micros().div_euclid(MICROS))
}

/// The first whole second for which something holds that does not hold at `low`, does at `high`, and
/// changes once between them.
fn first(mut low: i64, mut high: i64, holds: impl Fn(i64) -> bool) -> i64 {
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if holds(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    high
}

/// The first instant with this local date, or, where a zone left the date out, with a later one; in
/// seconds since 1970.
pub fn first_instant(zone: Tz, date: NaiveDate) -> i64 {
    let midnight = naive_midnight(date);
    // Nearly always the offset before midnight is that of midnight.
    let likely = midnight - offset(zone, midnight - FAR);
    if date_at(zone, likely) == date && date_at(zone, likely - 1) < date {
        return likely;
    }
    match zone.from_local_datetime(&date.and_time(NaiveTime::MIN)) {
        chrono::MappedLocalTime::Single(at) => at.timestamp(),
        chrono::MappedLocalTime::Ambiguous(one, other) => one.timestamp().min(other.timestamp()),
        chrono::MappedLocalTime::None => first(midnight - FAR, midnight + FAR, |at| {
            date_at(zone, at) >= date
        }),
    }
}

/// The days from one to another, that one excluded, in order, without a gap. A date that the zone left
/// out is none of them.
pub fn days(zone: Tz, from: NaiveDate, to: NaiveDate) -> Vec<Day> {
    let mut days = Vec::new();
    let mut starts_at = first_instant(zone, from);
    let mut date = from;
    while date < to {
        let Some(next) = date.checked_add_days(Days::new(1)) else {
            break;
        };
        let ends_at = first_instant(zone, next);
        if ends_at > starts_at {
            days.push(day(zone, date, starts_at, ends_at));
        }
        (date, starts_at) = (next, ends_at);
    }
    days
}

fn day(zone: Tz, date: NaiveDate, starts_at: i64, ends_at: i64) -> Day {
    let utc_offset = offset(zone, starts_at);
    let last = offset(zone, ends_at - 1);
    let shift = (last != utc_offset).then(|| Shift {
        at: first(starts_at, ends_at - 1, |at| offset(zone, at) != utc_offset),
        seconds: last - utc_offset,
    });
    Day {
        date,
        starts_at,
        ends_at,
        utc_offset,
        first_hour: (starts_at + utc_offset).rem_euclid(24 * 60 * 60) / (60 * 60),
        shift,
    }
}

impl Day {
    /// The first day of its week, which begins on this weekday (1 Monday to 7 Sunday).
    pub fn week(&self, starts_on: u32) -> NaiveDate {
        let back = (self.weekday() + 7 - starts_on) % 7;
        self.date - Days::new(u64::from(back))
    }

    /// The first day of its month.
    pub fn month(&self) -> NaiveDate {
        self.date.with_day(1).unwrap_or(self.date)
    }

    /// 1 for Monday to 7 for Sunday.
    pub fn weekday(&self) -> u32 {
        self.date.weekday().number_from_monday()
    }
}
