//! Parses dates as people type them.
//!
//! Must not know which range a date belongs to. It knows only whether the date starts or ends the
//! range, since that decides what a day or a month without a time means.

use std::time::Duration;

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveDateTime, Utc};

use crate::config::{Edge, Zone, duration_of};
use crate::data::{Span, Timestamp, counted};

/// The accepted forms, for help texts and messages.
const FORMS: &str = "2025-12-31, 31/12/2025, \"2025-12-31 18:30\" (in the configured time zone), 2025-12, today, yesterday, 7d or 12h (so long ago), or RFC 3339 such as 2025-12-31T18:30:00Z";

/// What a date means depends on where and when it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Calendar {
    /// The time zone of dates.
    pub zone: Zone,
    /// The present.
    pub now: Timestamp,
    /// Whether 05/06/2025 is a day in June, as in Portuguese. Otherwise it is refused.
    pub day_first: bool,
}

impl Calendar {
    /// The present day.
    pub(super) fn today(&self) -> NaiveDate {
        let now = self.now.to_datetime().with_timezone(&self.zone.0);
        now.date_naive()
    }

    /// What to say of a range that begins in the future: nothing can lie in it.
    pub(super) fn remark(&self, flag: &str, span: Span) -> Option<String> {
        let after = span.after.filter(|after| *after > self.now)?;
        Some(format!(
            "{flag} is {}, in the future: nothing matches it yet",
            self.zone.show(after)
        ))
    }
}

/// Why a date or a range cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DateError {
    /// The text has another form, or names a day that does not exist.
    #[error("{flag}: {text:?} is not a valid date (accepted: {FORMS})")]
    Form {
        /// The flag.
        flag: &'static str,
        /// What was typed.
        text: String,
    },
    /// The text names no day.
    #[error(
        "{flag}: {text:?} is not a valid day (accepted: 2025-12-31, 31/12/2025, 2025-12, today, yesterday or 7d; only whole days)"
    )]
    NoDay {
        /// The flag.
        flag: &'static str,
        /// What was typed.
        text: String,
    },
    /// A length of time that is not of whole days, such as `3m`, which is three minutes.
    #[error(
        "{flag}: {text:?} is {length} ago, not a whole number of days; write days, such as 90d, or a date such as 2025-12-31"
    )]
    PartOfDay {
        /// The flag.
        flag: &'static str,
        /// What was typed.
        text: String,
        /// The length that it means, in words.
        length: String,
    },
    /// A day with slashes that can be read in two ways.
    #[error("{flag}: {text:?} can be {} or {}; write one of them", .days[0], .days[1])]
    Ambiguous {
        /// The flag.
        flag: &'static str,
        /// What was typed.
        text: String,
        /// Both days.
        days: [NaiveDate; 2],
    },
    /// A year that the API does not accept.
    #[error("{flag}: {text:?} is too early for the API (accepted: years 0001 to 9999)")]
    Year {
        /// The flag.
        flag: &'static str,
        /// What was typed.
        text: String,
    },
    /// A range that ends before it begins.
    #[error(
        "the range is empty: {after_flag} {after:?} must be earlier than {before_flag} {before:?}"
    )]
    Backwards {
        /// The flag of the beginning.
        after_flag: &'static str,
        /// The beginning as typed.
        after: String,
        /// The flag of the end.
        before_flag: &'static str,
        /// The end as typed.
        before: String,
    },
}

/// Parses a date. A day without a time means its first instant at the start of a range, and the
/// first instant of the next day at the end of a range; so does a month. If a change of clocks skips
/// a time, it means the first instant after the gap. If a time occurs twice, it means the one that
/// makes the range wider.
pub fn parse(
    flag: &'static str,
    text: &str,
    calendar: &Calendar,
    edge: Edge,
) -> Result<Timestamp, DateError> {
    let shown = || text.chars().take(60).collect();
    let at = match read(text.trim(), calendar, edge) {
        Ok(at) => at,
        Err(Unread::Form) => {
            return Err(DateError::Form {
                flag,
                text: shown(),
            });
        }
        Err(Unread::Ambiguous(days)) => {
            let text = shown();
            return Err(DateError::Ambiguous { flag, text, days });
        }
    };
    if text.trim().starts_with("0000") {
        return Err(DateError::Year {
            flag,
            text: shown(),
        });
    }
    Ok(at.clamp(FIRST, LAST))
}

/// Why a text is no date.
#[derive(Debug, PartialEq, Eq)]
enum Unread {
    Form,
    Ambiguous([NaiveDate; 2]),
}

/// 0001-01-02 and 9999-12-31. No record lies outside. A margin is needed: at the very edge, a time
/// zone, the end of a day or a widened range would give a year that the API does not accept.
const FIRST: Timestamp = Timestamp::from_micros(-62_135_510_400_000_000);
const LAST: Timestamp = Timestamp::from_micros(253_402_214_400_000_000);

fn read(text: &str, calendar: &Calendar, edge: Edge) -> Result<Timestamp, Unread> {
    if let Some(month) = month(text) {
        let first = match edge {
            Edge::Start => Some(month),
            Edge::End => month.checked_add_months(Months::new(1)),
        };
        return midnight(first.ok_or(Unread::Form)?, calendar.zone, edge);
    }
    if let Some(at) = ago(text, calendar) {
        return Ok(at);
    }
    let is_dated = is_day(text.get(..10).unwrap_or_default());
    let (day, clock) = match text.split_once(' ') {
        _ if is_dated && matches!(text.get(10..11), Some("T" | "t")) => {
            (&text[..10], Some(&text[11..]))
        }
        Some((day, clock)) => (day, Some(clock)),
        None => (text, None),
    };
    let date = day_of(day, calendar)?;
    let Some(clock) = clock else {
        let first = match edge {
            Edge::Start => Some(date),
            Edge::End => date.checked_add_days(Days::new(1)),
        };
        return midnight(first.ok_or(Unread::Form)?, calendar.zone, edge);
    };
    let local = match clock.len() {
        5 => NaiveDateTime::parse_from_str(&format!("{date} {clock}:00"), "%Y-%m-%d %H:%M:%S"),
        8 => NaiveDateTime::parse_from_str(&format!("{date} {clock}"), "%Y-%m-%d %H:%M:%S"),
        _ => {
            let at = DateTime::parse_from_rfc3339(&format!("{date}T{clock}"));
            let at = at.map_err(|_| Unread::Form)?;
            return Ok(Timestamp::from_datetime(at.with_timezone(&Utc)));
        }
    };
    local
        .map(|local| calendar.zone.instant(local, edge))
        .map_err(|_| Unread::Form)
}

fn midnight(day: NaiveDate, zone: Zone, edge: Edge) -> Result<Timestamp, Unread> {
    let local = day.and_hms_opt(0, 0, 0).ok_or(Unread::Form)?;
    Ok(zone.instant(local, edge))
}

/// Whether the text has the form of 2025-12-31. chrono accepts missing zeros, signs and long years.
fn is_day(text: &str) -> bool {
    text.len() == 10
        && text.bytes().enumerate().all(|(index, byte)| match index {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        })
}

/// The first day of a month such as 2025-12.
fn month(text: &str) -> Option<NaiveDate> {
    let first = format!("{text}-01");
    (text.len() == 7 && is_day(&first)).then(|| first.parse().ok())?
}

/// So long before the present: 7d, 12h, 30m.
fn ago(text: &str, calendar: &Calendar) -> Option<Timestamp> {
    Some(calendar.now - length(text)?)
}

fn length(text: &str) -> Option<Duration> {
    let is_shaped = text.starts_with(|c: char| c.is_ascii_digit())
        && text.ends_with(|c: char| c.is_ascii_lowercase())
        && !text.contains(['-', ':']);
    is_shaped.then(|| duration_of(text).ok())?
}

/// A day: 2025-12-31, 31/12/2025, today or yesterday.
fn day_of(text: &str, calendar: &Calendar) -> Result<NaiveDate, Unread> {
    if is_day(text) {
        return text.parse().map_err(|_| Unread::Form);
    }
    match text.to_lowercase().as_str() {
        "today" | "hoje" => return Ok(calendar.today()),
        "yesterday" | "ontem" => {
            return calendar.today().pred_opt().ok_or(Unread::Form);
        }
        _ => {}
    }
    let parts: Vec<&str> = text.split('/').collect();
    let &[one, two, year] = parts.as_slice() else {
        return Err(Unread::Form);
    };
    let is_short =
        |part: &str| matches!(part.len(), 1 | 2) && part.bytes().all(|b| b.is_ascii_digit());
    if !is_short(one) || !is_short(two) || year.len() != 4 {
        return Err(Unread::Form);
    }
    let number = |text: &str| text.parse::<u32>().map_err(|_| Unread::Form);
    let (one, two) = (number(one)?, number(two)?);
    let year = i32::try_from(number(year)?).map_err(|_| Unread::Form)?;
    let day_first = NaiveDate::from_ymd_opt(year, two, one);
    let month_first = NaiveDate::from_ymd_opt(year, one, two);
    match (day_first, month_first) {
        (Some(day), Some(other)) if day != other && !calendar.day_first => {
            Err(Unread::Ambiguous([day, other]))
        }
        (Some(day), _) | (None, Some(day)) => Ok(day),
        (None, None) => Err(Unread::Form),
    }
}

/// Reads the days that a text means, the first and the last one: a day, a month, or `7d`, which is
/// the day so long ago.
pub(super) fn days(
    flag: &'static str,
    text: &str,
    calendar: &Calendar,
) -> Result<(NaiveDate, NaiveDate), DateError> {
    let text = text.trim();
    if let Some(first) = month(text) {
        let next = first.checked_add_months(Months::new(1));
        let last = next.and_then(|next| next.pred_opt());
        return Ok((first, last.unwrap_or(first)));
    }
    let shown = || text.chars().take(60).collect();
    if let Some(length) = length(text) {
        let day = whole_days(length).and_then(|days| calendar.today().checked_sub_days(days));
        let day = day.ok_or_else(|| DateError::PartOfDay {
            flag,
            text: shown(),
            length: in_words(length),
        })?;
        return Ok((day, day));
    }
    match day_of(text, calendar) {
        Ok(day) if day.year() >= 1 => Ok((day, day)),
        Err(Unread::Ambiguous(days)) => {
            let text = shown();
            Err(DateError::Ambiguous { flag, text, days })
        }
        Ok(_) | Err(Unread::Form) => Err(DateError::NoDay {
            flag,
            text: shown(),
        }),
    }
}

/// The number of days of a length. `None` if it is not of whole days.
fn whole_days(length: Duration) -> Option<Days> {
    const DAY: Duration = Duration::from_hours(24);
    let seconds = length.as_secs();
    (length.subsec_nanos() == 0 && seconds.is_multiple_of(DAY.as_secs()))
        .then(|| Days::new(seconds / DAY.as_secs()))
}

/// `3 minutes`. A length of several units is `1h 30m`.
fn in_words(length: Duration) -> String {
    let seconds = length.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => counted(seconds, "second"),
        (0, minutes, 0) => counted(minutes, "minute"),
        (hours, 0, 0) if hours < 24 => counted(hours, "hour"),
        _ => humantime::format_duration(Duration::from_secs(seconds)).to_string(),
    }
}

/// Parses the two ends of a range, each with its flag.
pub(super) fn span(
    calendar: &Calendar,
    (after_flag, after): (&'static str, Option<&str>),
    (before_flag, before): (&'static str, Option<&str>),
) -> Result<Span, DateError> {
    let span = Span {
        after: after
            .map(|text| parse(after_flag, text, calendar, Edge::Start))
            .transpose()?,
        before: before
            .map(|text| parse(before_flag, text, calendar, Edge::End))
            .transpose()?,
    };
    if let (Some(from), Some(to)) = (span.after, span.before)
        && from >= to
    {
        return Err(DateError::Backwards {
            after_flag,
            after: after.unwrap_or_default().to_owned(),
            before_flag,
            before: before.unwrap_or_default().to_owned(),
        });
    }
    Ok(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Noon of 10 March 2026 in UTC.
    fn calendar(zone: &str) -> Calendar {
        Calendar {
            zone: zone.parse().unwrap(),
            now: Timestamp::parse("2026-03-10T12:00:00Z").unwrap(),
            day_first: false,
        }
    }

    fn shown(text: &str, edge: Edge) -> Option<String> {
        read(text, &calendar("America/Sao_Paulo"), edge)
            .map(|at| at.to_string())
            .ok()
    }

    #[test]
    fn all_forms_are_read_in_the_configured_time_zone() {
        for (text, start, end) in [
            (
                "2025-12-31",
                "2025-12-31T03:00:00.000000Z",
                "2026-01-01T03:00:00.000000Z",
            ),
            (
                "2025-12-31 18:30",
                "2025-12-31T21:30:00.000000Z",
                "2025-12-31T21:30:00.000000Z",
            ),
            (
                "2025-12-31T18:30:15",
                "2025-12-31T21:30:15.000000Z",
                "2025-12-31T21:30:15.000000Z",
            ),
            (
                "2025-12-31T18:30:00Z",
                "2025-12-31T18:30:00.000000Z",
                "2025-12-31T18:30:00.000000Z",
            ),
            (
                "2025-12-31 18:30:00.25+01:00",
                "2025-12-31T17:30:00.250000Z",
                "2025-12-31T17:30:00.250000Z",
            ),
            (
                "2025-12",
                "2025-12-01T03:00:00.000000Z",
                "2026-01-01T03:00:00.000000Z",
            ),
            (
                "today",
                "2026-03-10T03:00:00.000000Z",
                "2026-03-11T03:00:00.000000Z",
            ),
            (
                "Ontem 18:30",
                "2026-03-09T21:30:00.000000Z",
                "2026-03-09T21:30:00.000000Z",
            ),
            (
                "7d",
                "2026-03-03T12:00:00.000000Z",
                "2026-03-03T12:00:00.000000Z",
            ),
            (
                "1h 30m",
                "2026-03-10T10:30:00.000000Z",
                "2026-03-10T10:30:00.000000Z",
            ),
            (
                "31/12/2025",
                "2025-12-31T03:00:00.000000Z",
                "2026-01-01T03:00:00.000000Z",
            ),
            (
                "12/31/2025",
                "2025-12-31T03:00:00.000000Z",
                "2026-01-01T03:00:00.000000Z",
            ),
            (
                "05/05/2025 08:00",
                "2025-05-05T11:00:00.000000Z",
                "2025-05-05T11:00:00.000000Z",
            ),
        ] {
            assert_eq!(shown(text, Edge::Start).as_deref(), Some(start), "{text}");
            assert_eq!(shown(text, Edge::End).as_deref(), Some(end), "{text}");
        }
    }

    #[test]
    fn a_day_that_begins_in_a_gap_or_ends_in_an_overlap_is_whole() {
        assert_eq!(
            shown("2018-11-04", Edge::Start).as_deref(),
            Some("2018-11-04T03:00:00.000000Z")
        );
        // The day that clocks were put back in Brazil had 25 hours.
        assert_eq!(
            shown("2018-02-17", Edge::Start).as_deref(),
            Some("2018-02-17T02:00:00.000000Z")
        );
        assert_eq!(
            shown("2018-02-17", Edge::End).as_deref(),
            Some("2018-02-18T03:00:00.000000Z")
        );
    }

    #[test]
    fn what_is_no_date_is_refused_with_the_accepted_forms() {
        for text in [
            "31/13/2025",
            "1/2",
            "1/2/25",
            "2025-13",
            "7",
            "7 moons",
            "99999999d",
            "",
            "2025-1-5",
            "2025-02-30",
            "2025-12-31 25:00",
            "2025-12-31x",
            "tomorrow",
            "today-ish",
            "2025-12-31 18",
            "２０２５-12-31",
            "2025-12-31T18:30:00 America/Sao_Paulo",
        ] {
            let error = parse("--from", text, &calendar("UTC"), Edge::Start).unwrap_err();
            let error = error.to_string();
            assert!(error.starts_with("--from: "), "{error}");
            assert!(
                error.contains("accepted: 2025-12-31, 31/12/2025, \"2025-12-31 18:30\""),
                "{error}"
            );
        }
    }

    #[test]
    fn a_day_with_slashes_is_read_where_its_meaning_is_certain() {
        let error = parse("--from", "05/06/2025", &calendar("UTC"), Edge::Start).unwrap_err();
        assert_eq!(
            error.to_string(),
            "--from: \"05/06/2025\" can be 2025-06-05 or 2025-05-06; write one of them"
        );
        let portuguese = Calendar {
            day_first: true,
            ..calendar("UTC")
        };
        let day = parse("--from", "05/06/2025", &portuguese, Edge::Start).unwrap();
        assert_eq!(day.to_string(), "2025-06-05T00:00:00.000000Z");
    }

    #[test]
    fn a_start_in_the_future_is_remarked() {
        let calendar = calendar("UTC");
        let of = |text| span(&calendar, ("--from", Some(text)), ("--to", None)).unwrap();
        assert_eq!(calendar.remark("--from", of("today")), None);
        assert_eq!(
            calendar.remark("--from", of("2026-03-11")).as_deref(),
            Some("--from is 2026-03-11 00:00, in the future: nothing matches it yet")
        );
    }

    #[test]
    fn reports_are_of_whole_days() {
        let calendar = calendar("UTC");
        let of = |text| days("--from", text, &calendar);
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        for (text, first, last) in [
            ("2026-02", "2026-02-01", "2026-02-28"),
            ("31/12/2025", "2025-12-31", "2025-12-31"),
            ("today", "2026-03-10", "2026-03-10"),
            ("7d", "2026-03-03", "2026-03-03"),
        ] {
            assert_eq!(of(text), Ok((day(first), day(last))), "{text}");
        }
        for text in ["2026-03-10 12:00", "soon", "0000-01-01", ""] {
            let error = of(text).unwrap_err().to_string();
            assert!(error.contains("only whole days"), "{error}");
        }
        // 3m is three minutes here, and three months only in --last of report.
        for (text, length) in [
            ("3m", "3 minutes"),
            ("1m", "1 minute"),
            ("12h", "12 hours"),
            ("36h", "1day 12h"),
            ("45s", "45 seconds"),
            ("1month", "1month"),
        ] {
            assert_eq!(
                of(text).unwrap_err().to_string(),
                format!(
                    "--from: {text:?} is {length} ago, not a whole number of days; write days, such \
                     as 90d, or a date such as 2025-12-31"
                )
            );
        }
        for (text, expected) in [
            ("24h", "2026-03-09"),
            ("2w", "2026-02-24"),
            ("0d", "2026-03-10"),
        ] {
            assert_eq!(of(text), Ok((day(expected), day(expected))), "{text}");
        }
    }

    #[test]
    fn a_range_that_ends_before_it_begins_is_refused() {
        let error = span(
            &calendar("UTC"),
            ("--from", Some("2026-01-02")),
            ("--to", Some("2026-01-01")),
        )
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "the range is empty: --from \"2026-01-02\" must be earlier than --to \"2026-01-01\""
        );
        let day = span(
            &calendar("UTC"),
            ("--from", Some("2026-01-01")),
            ("--to", Some("2026-01-01")),
        )
        .unwrap();
        assert_eq!(
            day.after.unwrap() + std::time::Duration::from_hours(24),
            day.before.unwrap()
        );
    }

    #[test]
    fn no_date_leaves_the_years_that_the_api_knows() {
        for zone in ["UTC", "Pacific/Kiritimati", "America/Sao_Paulo"] {
            let calendar = calendar(zone);
            for text in ["0000-01-01", "0000-12-31T23:59:59Z", " 0000-01-01 00:00"] {
                let error = parse("--from", text, &calendar, Edge::Start).unwrap_err();
                assert!(matches!(error, DateError::Year { .. }), "{text}: {error}");
                assert!(error.to_string().contains("years 0001 to 9999"));
            }
            let first = parse("--from", "0001-01-01", &calendar, Edge::Start).unwrap();
            assert_eq!(first.to_string(), "0001-01-02T00:00:00.000000Z");
            for text in ["9999-12-31", "9999-12-31 23:59"] {
                let last = parse("--to", text, &calendar, Edge::End).unwrap();
                assert_eq!(last.to_string(), "9999-12-31T00:00:00.000000Z", "{text}");
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,30}") {
            let _ = parse("--from", &text, &calendar("UTC"), Edge::End);
        }
    }
}
