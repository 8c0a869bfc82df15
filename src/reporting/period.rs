//! Which days a report is of, and with which days it compares them.
//!
//! Must not know how days are asked for.

use chrono::{Datelike as _, Days, Months, NaiveDate};
use chrono_tz::Tz;

use super::days::{FIRST_DAY, LAST_DAY, first_instant, local_date};
use crate::data::Timestamp;

const MICROS: i64 = 1_000_000;

/// Which days are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// From one day to another, that one included. Without the first, 30 days; without the second, to the
    /// last complete day.
    Range(Option<NaiveDate>, Option<NaiveDate>),
    /// A month, given by its first day.
    Month(NaiveDate),
    /// So many complete days.
    LastDays(u32),
    /// So many complete months.
    LastMonths(u32),
}

/// With which days a report compares its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compare {
    /// As many days before; for a month that is not over, the same days of the month before.
    #[default]
    Previous,
    /// 364 days earlier, so that weekdays meet.
    Year,
    /// With none.
    None,
}

/// Days of a report, the last one included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// The first day.
    pub from: NaiveDate,
    /// The last day.
    pub to: NaiveDate,
    /// Where it ends if the last day is not over.
    pub until: Option<Timestamp>,
    /// Whether it is the beginning of a month.
    pub is_running_month: bool,
}

/// The first day is later than the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the range is empty: its first day {from} is later than its last day {to}")]
pub struct Backwards {
    /// The first day.
    pub from: NaiveDate,
    /// The last day.
    pub to: NaiveDate,
}

fn back(date: NaiveDate, days: u64) -> NaiveDate {
    date.checked_sub_days(Days::new(days))
        .unwrap_or(FIRST_DAY)
        .max(FIRST_DAY)
}

fn ahead(date: NaiveDate, days: u64) -> NaiveDate {
    date.checked_add_days(Days::new(days))
        .unwrap_or(LAST_DAY)
        .min(LAST_DAY)
}

fn first_of_month(date: NaiveDate) -> NaiveDate {
    date.with_day(1).unwrap_or(date)
}

fn last_of_month(first: NaiveDate) -> NaiveDate {
    let next = first.checked_add_months(Months::new(1)).unwrap_or(LAST_DAY);
    back(next, 1)
}

impl Period {
    /// The days that are asked for, at a present that is known up to `now`.
    pub fn of(asked: Asked, zone: Tz, now: Timestamp) -> Result<Self, Backwards> {
        let today = local_date(zone, now);
        let yesterday = back(today, 1);
        let mut is_running_month = false;
        let (from, to) = match asked {
            Asked::Range(from, to) => {
                let to = to.unwrap_or_else(|| from.unwrap_or(yesterday).max(yesterday));
                (from.unwrap_or_else(|| back(to, 29)), to)
            }
            Asked::Month(first) => {
                let first = first_of_month(first);
                is_running_month = first_of_month(today) == first;
                let last = last_of_month(first);
                let to = if is_running_month {
                    yesterday.max(first)
                } else {
                    last
                };
                (first, to)
            }
            Asked::LastDays(days) => (back(today, u64::from(days.max(1))), yesterday),
            Asked::LastMonths(months) => {
                let this = first_of_month(today);
                let from = this.checked_sub_months(Months::new(months.max(1)));
                (from.unwrap_or(FIRST_DAY), back(this, 1))
            }
        };
        if from > to {
            return Err(Backwards { from, to });
        }
        let from = from.clamp(FIRST_DAY, back(LAST_DAY, 1));
        // What is yet to come has no sessions.
        let to = to.min(today.max(from)).max(from);
        Ok(Self {
            from,
            to,
            until: (to == today).then_some(now),
            is_running_month,
        })
    }

    /// The days to compare it with.
    pub fn compared(&self, with: Compare, zone: Tz) -> Option<Self> {
        let days = self.days();
        let (from, to) = match with {
            Compare::None => return None,
            Compare::Year => (back(self.from, 364), back(self.to, 364)),
            Compare::Previous if self.is_running_month => {
                let from = self.from.checked_sub_months(Months::new(1))?;
                (from, ahead(from, days - 1).min(last_of_month(from)))
            }
            Compare::Previous => (back(self.from, days), back(self.from, 1)),
        };
        // Of a day that is not over, as much as of the present one.
        let until = self.until.map(|until| {
            let elapsed = until.micros() - first_instant(zone, self.to) * MICROS;
            Timestamp::from_micros(first_instant(zone, to) * MICROS + elapsed)
        });
        let is_whole = from < self.from && from <= to;
        is_whole.then_some(Self {
            from,
            to,
            until,
            is_running_month: false,
        })
    }

    /// How many days it has.
    pub fn days(&self) -> u64 {
        u64::try_from((self.to - self.from).num_days() + 1).unwrap_or(1)
    }

    /// Its first instant, and the first one after it, in microseconds since 1970.
    pub fn instants(&self, zone: Tz) -> (i64, i64) {
        let starts = first_instant(zone, self.from) * MICROS;
        let ends = first_instant(zone, ahead(self.to, 1)) * MICROS;
        (
            starts,
            self.until.map_or(ends, |until| until.micros().min(ends)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZONE: Tz = chrono_tz::America::Sao_Paulo;

    fn date(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    /// 14:32 of a Saturday.
    fn now() -> Timestamp {
        Timestamp::parse("2026-06-20T17:32:00Z").unwrap()
    }

    fn of(asked: Asked) -> Period {
        Period::of(asked, ZONE, now()).unwrap()
    }

    fn shown(period: Period) -> (String, String, bool) {
        let Period {
            from, to, until, ..
        } = period;
        (from.to_string(), to.to_string(), until.is_some())
    }

    fn is(period: Period, from: &str, to: &str, is_open: bool) {
        assert_eq!(shown(period), (from.into(), to.into(), is_open));
    }

    #[test]
    fn days_that_are_not_over_are_left_out_unless_they_are_asked_for() {
        is(of(Asked::LastDays(30)), "2026-05-21", "2026-06-19", false);
        is(of(Asked::LastMonths(1)), "2026-05-01", "2026-05-31", false);
        is(
            of(Asked::Range(None, None)),
            "2026-05-21",
            "2026-06-19",
            false,
        );
        is(
            of(Asked::Month(date("2026-05-09"))),
            "2026-05-01",
            "2026-05-31",
            false,
        );
        is(
            of(Asked::Month(date("2026-06-01"))),
            "2026-06-01",
            "2026-06-19",
            false,
        );
        let today = Asked::Range(Some(date("2026-06-01")), Some(date("2026-06-20")));
        is(of(today), "2026-06-01", "2026-06-20", true);
        let later = Asked::Range(Some(date("2026-06-01")), Some(date("2026-07-20")));
        is(of(later), "2026-06-01", "2026-06-20", true);
        let today = Asked::Range(Some(date("2026-06-20")), None);
        is(of(today), "2026-06-20", "2026-06-20", true);
        let future = Asked::Range(Some(date("2026-08-01")), Some(date("2026-08-03")));
        is(of(future), "2026-08-01", "2026-08-01", false);
        assert_eq!(
            of(Asked::Range(Some(date("2026-06-20")), None))
                .instants(ZONE)
                .1,
            now().micros()
        );
    }

    #[test]
    fn a_range_that_ends_before_it_begins_is_refused() {
        let asked = Asked::Range(Some(date("2026-06-02")), Some(date("2026-06-01")));
        assert!(Period::of(asked, ZONE, now()).is_err());
    }

    #[test]
    fn periods_are_compared_with_as_many_days_and_a_running_month_with_the_same_days() {
        let compared = |asked, with| of(asked).compared(with, ZONE);
        let month = Asked::Month(date("2026-05-01"));
        is(
            compared(month, Compare::Previous).unwrap(),
            "2026-03-31",
            "2026-04-30",
            false,
        );
        is(
            compared(month, Compare::Year).unwrap(),
            "2025-05-02",
            "2025-06-01",
            false,
        );
        assert_eq!(compared(month, Compare::None), None);
        let running = Asked::Month(date("2026-06-01"));
        is(
            compared(running, Compare::Previous).unwrap(),
            "2026-05-01",
            "2026-05-19",
            false,
        );
        // The 30th and 31st of a March have no like in February.
        let march = Period::of(
            running_month("2026-03-01"),
            ZONE,
            Timestamp::parse("2026-03-31T17:00:00Z").unwrap(),
        );
        is(
            march.unwrap().compared(Compare::Previous, ZONE).unwrap(),
            "2026-02-01",
            "2026-02-28",
            false,
        );
    }

    fn running_month(first: &str) -> Asked {
        Asked::Month(date(first))
    }

    #[test]
    fn of_a_day_that_is_not_over_as_much_is_compared() {
        let today = of(Asked::Range(Some(date("2026-06-20")), None));
        let compared = today.compared(Compare::Previous, ZONE).unwrap();
        assert_eq!(
            compared.until.unwrap().to_string(),
            "2026-06-19T17:32:00.000000Z"
        );
    }

    proptest::proptest! {
        #[test]
        fn no_days_panic(from in -800_000_i32..800_000, to in -800_000_i32..800_000, last in 0_u32..2_000_000) {
            let day = |number| NaiveDate::from_num_days_from_ce_opt(number);
            for asked in [
                Asked::Range(day(from), day(to)),
                Asked::Month(day(from).unwrap_or(FIRST_DAY)),
                Asked::LastDays(last),
                Asked::LastMonths(last),
            ] {
                if let Ok(period) = Period::of(asked, ZONE, now()) {
                    assert!(period.from <= period.to);
                    let (starts, ends) = period.instants(ZONE);
                    assert!(starts <= ends);
                    for with in [Compare::Previous, Compare::Year] {
                        if let Some(before) = period.compared(with, ZONE) {
                            assert!(before.from <= before.to && before.days() <= period.days());
                        }
                    }
                }
            }
        }
    }
}
