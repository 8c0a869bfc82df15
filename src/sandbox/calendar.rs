//! The calendar of the company: local time, holidays, opening hours, and how busy days and hours
//! are.

use super::ids;
use super::ticks::{DAY, SECOND, civil};

pub(super) const HOUR: i64 = 3_600 * SECOND;
/// `America/Sao_Paulo`; without summer time since 2019.
pub(super) const ZONE: i64 = -3 * HOUR;

const SALES: u16 = 0;
const SUPPORT: u16 = 1;
const BILLING: u16 = 2;
const RETENTION: u16 = 4;

/// How busy an hour of a working day is, from 00:00 local.
const BUSY: [f64; 24] = [
    2.0, 1.0, 1.0, 1.0, 1.0, 2.0, 6.0, 20.0, 66.0, 93.0, 100.0, 90.0, 58.0, 72.0, 94.0, 100.0,
    96.0, 82.0, 47.0, 29.0, 21.0, 15.0, 9.0, 5.0,
];
/// The same of a Saturday.
const BUSY_SATURDAY: [f64; 24] = [
    3.0, 2.0, 1.0, 1.0, 1.0, 2.0, 5.0, 16.0, 60.0, 95.0, 100.0, 92.0, 66.0, 44.0, 34.0, 30.0, 28.0,
    25.0, 21.0, 18.0, 16.0, 13.0, 9.0, 5.0,
];
/// The same of a Sunday or a holiday.
const BUSY_SUNDAY: [f64; 24] = [
    4.0, 3.0, 2.0, 1.0, 1.0, 1.0, 4.0, 12.0, 30.0, 52.0, 66.0, 70.0, 58.0, 50.0, 60.0, 72.0, 80.0,
    88.0, 94.0, 100.0, 96.0, 76.0, 44.0, 20.0,
];
/// How busy a day of the week is, from Sunday.
const WEEK: [f64; 7] = [0.13, 1.17, 1.07, 1.0, 0.97, 0.92, 0.40];

/// A local day: days since 1970-01-01.
pub(super) fn local_day(at: i64) -> i64 {
    (at + ZONE).div_euclid(DAY)
}

/// The instant at which a local day begins.
pub(super) fn midnight(day: i64) -> i64 {
    day * DAY - ZONE
}

/// 0 for Sunday to 6 for Saturday.
pub(super) fn weekday(day: i64) -> usize {
    usize::try_from((day + 4).rem_euclid(7)).unwrap_or(0)
}

/// The local hour of an instant.
pub(super) fn hour_of(at: i64) -> usize {
    usize::try_from((at + ZONE).rem_euclid(DAY) / HOUR).unwrap_or(0)
}

/// The day of an instant in local time, `yyyymmdd`.
pub(super) fn day_number(ticks: i64) -> i64 {
    let (year, month, day) = civil(local_day(ticks));
    year * 10_000 + month * 100 + day
}

/// Days since 1970-01-01 of a date (the inverse of [`civil`]).
fn day_of(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Easter Sunday (the anonymous Gregorian algorithm).
#[expect(
    clippy::many_single_char_names,
    reason = "the algorithm is known by these names"
)]
fn easter(year: i64) -> i64 {
    let (a, b, c) = (year % 19, year / 100, year % 100);
    let g = (8 * b + 13) / 25;
    let h = (19 * a + b - b / 4 - g + 15) % 30;
    let l = (32 + 2 * (b % 4) + 2 * (c / 4) - h - c % 4) % 7;
    let m = (a + 11 * h + 22 * l) / 451;
    let n = h + l - 7 * m + 114;
    day_of(year, n / 31, n % 31 + 1)
}

/// Whether offices are closed: the national holidays of Brazil, and Carnival.
pub(super) fn is_holiday(day: i64) -> bool {
    let (year, month, date) = civil(day);
    let fixed = matches!(
        (month, date),
        (1 | 5, 1) | (4, 21) | (9, 7) | (10, 12) | (11, 2 | 15 | 20) | (12, 25)
    );
    // Carnival is on Monday and Tuesday, then Good Friday and Corpus Christi.
    let movable = || [-48, -47, -2, 60].contains(&(day - easter(year)));
    fixed || ((2..=6).contains(&month) && movable())
}

/// The local month's first day that is nearest to an instant.
pub(super) fn nearest_month(at: i64) -> i64 {
    let (year, month, date) = civil(local_day(at));
    let (year, month) = match (date > 15, month) {
        (false, _) => (year, month),
        (true, 12) => (year + 1, 1),
        (true, _) => (year, month + 1),
    };
    midnight(day_of(year, month, 1))
}

/// What the season makes of a day.
fn season(day: i64) -> f64 {
    let (year, month, date) = civil(day);
    let sunday = |month: i64, nth: i64| {
        let first = day_of(year, month, 1);
        first + (3 - first).rem_euclid(7) + 7 * (nth - 1)
    };
    // The Friday after the fourth Thursday of November.
    let black_friday = {
        let first = day_of(year, 11, 1);
        first + (7 - first).rem_euclid(7) + 22
    };
    match day - black_friday {
        -11..=-5 => return 1.15,
        -4..=-1 => return 1.4,
        0 => return 2.3,
        1..=2 => return 1.9,
        3 => return 1.7,
        _ => {}
    }
    let before = |feast: i64, days: i64| (feast - days..feast).contains(&day);
    match (month, date) {
        (12, 1..=20) => 1.28,
        (12, 21..=23) => 1.1,
        (12, 24 | 31) => 0.45,
        (12, _) => 0.72,
        (1, 1..=10) => 0.74,
        (1, _) => 0.86,
        (2, _) => 0.9,
        (5, _) if before(sunday(5, 2), 12) => 1.3,
        (6, 1..=12) => 1.14,
        (7, _) => 1.08,
        (8, _) if before(sunday(8, 2), 9) => 1.15,
        (10, 3..=11) => 1.12,
        _ => 1.0,
    }
}

/// What a seed makes of a day: some are quiet and some are not, for no reason that anybody knows.
fn weather(seed: u64, day: i64) -> f64 {
    let drawn = ids::mix(seed ^ ids::mix(day.unsigned_abs()));
    let mut dice = fastrand::Rng::with_seed(drawn);
    super::chance::lognormal(&mut dice, 1.0, 0.11)
}

/// The days on which the shop's payment fails and everybody writes to the support: two Tuesdays, of
/// which the second is in the last month.
pub(super) fn is_incident(day: i64, until: i64) -> bool {
    let until = local_day(until);
    let tuesday = |day: i64| {
        let tuesday = day - (day + 2).rem_euclid(7);
        tuesday - if is_holiday(tuesday) { 7 } else { 0 }
    };
    day == tuesday(until - 12) || day == tuesday(until - 150)
}

/// A day's measures.
#[derive(Debug, Clone, Copy)]
pub(super) struct DayShape {
    /// How busy it is.
    pub(super) volume: f64,
    /// How busy a working day of the season is.
    pub(super) season: f64,
    busy: &'static [f64; 24],
}

impl DayShape {
    pub(super) fn of(seed: u64, day: i64, until: i64) -> Self {
        let season = season(day);
        let weekday = weekday(day);
        let rest = is_holiday(day);
        let bridge =
            !rest && (weekday == 5 && is_holiday(day - 1) || weekday == 1 && is_holiday(day + 1));
        let of_week = match (rest, bridge) {
            (true, _) => (WEEK[weekday] * 0.2).max(0.1),
            (false, true) => WEEK[weekday] * 0.72,
            (false, false) => WEEK[weekday],
        };
        let incident = if is_incident(day, until) { 1.35 } else { 1.0 };
        Self {
            volume: season * of_week * weather(seed, day) * incident,
            season,
            busy: match (rest, weekday) {
                (true, _) | (_, 0) => &BUSY_SUNDAY,
                (false, 6) => &BUSY_SATURDAY,
                (false, _) => &BUSY,
            },
        }
    }

    /// How busy an hour is, where a working day's hours add up to 1.
    pub(super) fn hour(&self, hour: usize) -> f64 {
        self.volume * self.busy[hour] / self.busy.iter().sum::<f64>()
    }
}

/// When a department works on a day, in local hours. Sales and support have a second shift.
pub(super) fn shift(department: u16, day: i64) -> Option<(i64, i64)> {
    if is_holiday(day) {
        return None;
    }
    match (weekday(day), department) {
        (6, SALES | SUPPORT) => Some((8, 13)),
        (0 | 6, _) => None,
        (_, SALES | SUPPORT) => Some((8, 20)),
        (_, BILLING | RETENTION) => Some((9, 18)),
        _ => Some((8, 18)),
    }
}

/// The instant itself while a department works, else when it does again.
pub(super) fn opening(department: u16, at: i64) -> i64 {
    let today = local_day(at);
    for day in today..today + 10 {
        let Some((opens, closes)) = shift(department, day) else {
            continue;
        };
        let midnight = midnight(day);
        if at < midnight + closes * HOUR {
            return at.max(midnight + opens * HOUR);
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_agree() {
        for day in -1_000..40_000 {
            let (year, month, date) = civil(day);
            assert_eq!(day_of(year, month, date), day);
        }
    }

    #[test]
    fn the_holidays_of_a_year_are_known() {
        let of = |year: i64| -> Vec<(i64, i64)> {
            let days = day_of(year, 1, 1)..day_of(year + 1, 1, 1);
            days.filter(|day| is_holiday(*day))
                .map(|day| (civil(day).1, civil(day).2))
                .collect()
        };
        assert_eq!(
            of(2026),
            [
                (1, 1),
                (2, 16),
                (2, 17),
                (4, 3),
                (4, 21),
                (5, 1),
                (6, 4),
                (9, 7),
                (10, 12),
                (11, 2),
                (11, 15),
                (11, 20),
                (12, 25)
            ]
        );
        assert!(of(2025).contains(&(3, 4)) && of(2025).contains(&(6, 19)));
        assert!(of(2024).contains(&(2, 13)) && of(2024).contains(&(3, 29)));
    }

    #[test]
    fn black_friday_is_the_busiest_day() {
        for (year, date) in [(2024, 29), (2025, 28), (2026, 27)] {
            assert!(season(day_of(year, 11, date)) > 2.0, "{year}");
            assert_eq!(weekday(day_of(year, 11, date)), 5);
        }
    }

    #[test]
    fn who_writes_on_a_holiday_is_answered_on_the_next_working_day() {
        // Good Friday of 2026: support works on Saturday, billing on Monday.
        let friday = midnight(day_of(2026, 4, 3)) + 10 * HOUR;
        let day = |at: i64| (civil(local_day(at)).2, hour_of(at));
        assert_eq!(day(opening(SUPPORT, friday)), (4, 8));
        assert_eq!(day(opening(BILLING, friday)), (6, 9));
        assert_eq!(opening(SALES, friday - DAY), friday - DAY);
    }
}
