//! Local days and open hours, without a database.

use chrono::{Datelike as _, Days, NaiveDate, TimeZone as _, Timelike as _};
use chrono_tz::Tz;
use helena_sync::reporting::{Day, Hours, days, open_hours};
use proptest::prelude::*;

fn date(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn at(text: &str) -> i64 {
    chrono::DateTime::parse_from_rfc3339(text)
        .unwrap()
        .timestamp()
}

fn local(zone: Tz, at: i64) -> chrono::NaiveDateTime {
    zone.timestamp_opt(at, 0).unwrap().naive_local()
}

#[test]
fn the_days_of_every_zone_follow_each_other_and_begin_with_their_date() {
    let half = chrono_tz::TZ_VARIANTS.len() / 2;
    let (some, others) = chrono_tz::TZ_VARIANTS.split_at(half);
    std::thread::scope(|scope| {
        for zones in [some, others] {
            scope.spawn(move || zones.iter().for_each(|zone| follow_each_other(*zone)));
        }
    });
}

fn follow_each_other(zone: Tz) {
    let (from, to) = (date("2010-01-01"), date("2031-01-01"));
    // Casey in Antarctica changed its clocks by three hours, all others by two at most.
    let lengths = if zone == chrono_tz::Antarctica::Casey {
        21 * 3600..=27 * 3600
    } else {
        22 * 3600..=26 * 3600
    };
    let mut expected = from;
    let mut ends_at = None;
    for day in days(zone, from, to) {
        assert!(
            ends_at.is_none_or(|ends| ends == day.starts_at),
            "{zone} {}",
            day.date
        );
        ends_at = Some(day.ends_at);
        while expected < day.date {
            // Samoa and Tokelau went to the other side of the date line.
            assert_eq!(expected, date("2011-12-30"), "{zone}");
            expected = expected + Days::new(1);
        }
        assert_eq!(day.date, expected, "{zone}");
        expected = expected + Days::new(1);
        let length = day.ends_at - day.starts_at;
        assert!(lengths.contains(&length), "{zone} {} {length}", day.date);
        let first = local(zone, day.starts_at);
        assert_eq!(first.date(), day.date, "{zone}");
        assert!(
            local(zone, day.starts_at - 1).date() < day.date,
            "{zone} {}",
            day.date
        );
        assert_eq!(
            i64::from(first.hour()),
            day.first_hour,
            "{zone} {}",
            day.date
        );
    }
    assert_eq!(expected, to, "{zone}");
}

fn day(zone: Tz, text: &str) -> Day {
    days(zone, date(text), date(text) + Days::new(1))[0]
}

#[test]
fn days_of_brazil_with_a_change_of_the_clock_have_23_and_25_hours() {
    let zone = chrono_tz::America::Sao_Paulo;
    let short = day(zone, "2018-11-04");
    assert_eq!(short.starts_at, at("2018-11-04T03:00:00Z"));
    assert_eq!(short.ends_at - short.starts_at, 23 * 3600);
    assert_eq!((short.first_hour, short.shift), (1, None));
    let long = day(zone, "2019-02-16");
    assert_eq!(long.ends_at - long.starts_at, 25 * 3600);
    let shift = long.shift.unwrap();
    assert_eq!(
        (shift.at, shift.seconds),
        (at("2019-02-17T02:00:00Z"), -3600)
    );
    assert_eq!(long.starts_at, at("2019-02-16T02:00:00Z"));
    // Half an hour, in the middle of a day.
    let shift = day(chrono_tz::Australia::Lord_Howe, "2026-04-05").shift;
    assert_eq!(shift.unwrap().seconds, -1800);
}

#[test]
fn weeks_begin_on_the_day_that_is_asked_for() {
    let day = day(chrono_tz::UTC, "2026-11-30");
    assert_eq!((day.weekday(), day.month()), (1, date("2026-11-01")));
    assert_eq!(day.week(1), date("2026-11-30"));
    assert_eq!(day.week(7), date("2026-11-29"));
    assert_eq!(day.week(2), date("2026-11-24"));
}

/// Local intervals that do not touch each other's inside, as texts.
fn intervals() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::btree_set(0_u32..=96, 0..6).prop_map(|quarters| {
        let quarters: Vec<u32> = quarters.into_iter().collect();
        let time = |quarter: u32| format!("{:02}:{:02}", quarter / 4, quarter % 4 * 15);
        quarters
            .chunks_exact(2)
            .map(|pair| format!("{}-{}", time(pair[0]), time(pair[1])))
            .collect()
    })
}

fn is_open(week: &[Vec<String>], holiday: NaiveDate, local: chrono::NaiveDateTime) -> bool {
    let second = |text: &str| {
        let (hour, minute) = text.split_once(':').unwrap();
        hour.parse::<u32>().unwrap() * 3600 + minute.parse::<u32>().unwrap() * 60
    };
    let today = &week[local.weekday().num_days_from_monday() as usize];
    let now = local.num_seconds_from_midnight();
    local.date() != holiday
        && today.iter().any(|interval| {
            let (from, to) = interval.split_once('-').unwrap();
            (second(from)..second(to)).contains(&now)
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn open_seconds_are_those_that_one_counts(
        week in proptest::collection::vec(intervals(), 7),
        place in 0..6_usize,
        holiday in 0..4_u64,
        step in 1..120_i64,
    ) {
        let (zone, first) = [
            (chrono_tz::America::Sao_Paulo, "2018-11-03"),
            (chrono_tz::America::Sao_Paulo, "2019-02-15"),
            (chrono_tz::America::St_Johns, "2011-11-05"),
            (chrono_tz::Australia::Lord_Howe, "2026-04-04"),
            (chrono_tz::Pacific::Apia, "2011-12-28"),
            (chrono_tz::Europe::Lisbon, "2026-03-28"),
        ][place];
        let first = date(first);
        let holiday = first + Days::new(holiday);
        let given: Vec<_> = week.iter().cloned().enumerate().collect();
        let hours = Hours::new(&given, &[holiday.to_string()]).unwrap();
        prop_assert_eq!(&Hours::parse(&hours.stored()).unwrap(), &hours);
        let days = days(zone, first, first + Days::new(4));
        let open = open_hours(&hours, &days);
        let until = |at: i64| {
            let last = open.iter().rfind(|open| open.starts_at <= at).unwrap();
            last.open_before + at.min(last.ends_at) - last.starts_at
        };
        let begin = days[0].starts_at;
        let mut counted = 0;
        let mut last = 0;
        for second in begin..days.last().unwrap().ends_at {
            if (second - begin) % step == 0 {
                let told = until(second);
                prop_assert_eq!(told, counted, "{}", second);
                prop_assert!(told >= last && told - last <= step);
                last = told;
            }
            counted += i64::from(is_open(&week, holiday, local(zone, second)));
        }
        for pair in open.windows(2) {
            prop_assert!(pair[0].ends_at <= pair[1].starts_at);
        }
    }
}

#[test]
fn a_whole_day_is_open_for_as_long_as_it_lasts() {
    let week: Vec<_> = (0..7)
        .map(|day| (day, vec!["00:00-24:00".to_owned()]))
        .collect();
    let hours = Hours::new(&week, &[]).unwrap();
    for text in ["2018-11-04", "2019-02-16", "2026-11-30"] {
        let day = day(chrono_tz::America::Sao_Paulo, text);
        let open: i64 = hours.open(&day).iter().map(|(from, to)| to - from).sum();
        assert_eq!(open, day.ends_at - day.starts_at);
    }
}

#[test]
fn hours_that_make_no_sense_are_refused_with_what_is_accepted() {
    let refused = |texts: &[&str]| {
        let texts = texts.iter().map(|&text| text.to_owned()).collect();
        Hours::new(&[(0, texts)], &[]).unwrap_err().to_string()
    };
    for text in [
        "8-12",
        "18:00-08:00",
        "08:00-24:01",
        "08:60-09:00",
        "x",
        "08:00",
    ] {
        assert!(
            refused(&[text]).contains("accepted: two times of one day"),
            "{text}"
        );
    }
    let overlap = refused(&["08:00-12:00", "11:00-13:00"]);
    assert_eq!(overlap, "08:00-12:00 and 11:00-13:00 overlap");
    let holiday = Hours::new(&[], &["25/12/2026".to_owned()]).unwrap_err();
    assert!(holiday.to_string().contains("a date such as 2026-12-25"));
}
