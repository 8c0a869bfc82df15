//! Parses dates as people type them.
//!
//! Must not know which range a date belongs to. It knows only whether the date starts or ends the
//! range, since that decides what a day without a time means.

use chrono::{DateTime, Days, NaiveDate, NaiveDateTime, Utc};

use crate::config::{Edge, Zone};
use crate::data::{Span, Timestamp};

/// The accepted forms, for help texts and messages.
const FORMS: &str = "2025-12-31, \"2025-12-31 18:30\" (in the configured time zone), or RFC 3339 such as 2025-12-31T18:30:00Z";

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
/// first instant of the next day at the end of a range. If a change of clocks skips a time, it means
/// the first instant after the gap. If a time occurs twice, it means the one that makes the range
/// wider.
pub fn parse(
    flag: &'static str,
    text: &str,
    zone: Zone,
    edge: Edge,
) -> Result<Timestamp, DateError> {
    let shown = || text.chars().take(60).collect();
    let at = read(text.trim(), zone, edge).ok_or_else(|| DateError::Form {
        flag,
        text: shown(),
    })?;
    if text.trim().starts_with("0000") {
        return Err(DateError::Year {
            flag,
            text: shown(),
        });
    }
    Ok(at.clamp(FIRST, LAST))
}

/// 0001-01-02 and 9999-12-31. No record lies outside. A margin is needed: at the very edge, a time
/// zone, the end of a day or a widened range would give a year that the API does not accept.
const FIRST: Timestamp = Timestamp::from_micros(-62_135_510_400_000_000);
const LAST: Timestamp = Timestamp::from_micros(253_402_214_400_000_000);

fn read(text: &str, zone: Zone, edge: Edge) -> Option<Timestamp> {
    // chrono accepts missing zeros, signs and long years, so the form is checked here.
    let date = text.get(..10)?;
    let shaped = date.bytes().enumerate().all(|(index, byte)| match index {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    });
    if !shaped {
        return None;
    }
    let day = NaiveDate::parse_from_str(date, "%Y-%m-%d").ok()?;
    let rest = &text[10..];
    if rest.is_empty() {
        let day = match edge {
            Edge::Start => day,
            Edge::End => day.checked_add_days(Days::new(1))?,
        };
        return Some(zone.instant(day.and_hms_opt(0, 0, 0)?, edge));
    }
    if !rest.starts_with([' ', 'T', 't']) {
        return None;
    }
    let clock = &rest[1..];
    let local = match clock.len() {
        5 => NaiveDateTime::parse_from_str(&format!("{date} {clock}:00"), "%Y-%m-%d %H:%M:%S"),
        8 => NaiveDateTime::parse_from_str(&format!("{date} {clock}"), "%Y-%m-%d %H:%M:%S"),
        _ => {
            let at = DateTime::parse_from_rfc3339(&format!("{date}T{clock}")).ok()?;
            return Some(Timestamp::from_datetime(at.with_timezone(&Utc)));
        }
    };
    local.ok().map(|local| zone.instant(local, edge))
}

/// Parses the two ends of a range, each with its flag.
pub(super) fn span(
    zone: Zone,
    (after_flag, after): (&'static str, Option<&str>),
    (before_flag, before): (&'static str, Option<&str>),
) -> Result<Span, DateError> {
    let span = Span {
        after: after
            .map(|text| parse(after_flag, text, zone, Edge::Start))
            .transpose()?,
        before: before
            .map(|text| parse(before_flag, text, zone, Edge::End))
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

    fn shown(text: &str, edge: Edge) -> Option<String> {
        let zone = "America/Sao_Paulo".parse().unwrap();
        read(text, zone, edge).map(|at| at.to_string())
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
        let zone = "UTC".parse().unwrap();
        for text in [
            "31/12/2025",
            "",
            "2025-1-5",
            "2025-02-30",
            "2025-12-31 25:00",
            "2025-12-31x",
            "yesterday",
            "2025-12-31 18",
            "２０２５-12-31",
            "2025-12-31T18:30:00 America/Sao_Paulo",
        ] {
            let error = parse("--from", text, zone, Edge::Start).unwrap_err();
            let error = error.to_string();
            assert!(error.starts_with("--from: "), "{error}");
            assert!(
                error.contains("accepted: 2025-12-31, \"2025-12-31 18:30\""),
                "{error}"
            );
        }
    }

    #[test]
    fn a_range_that_ends_before_it_begins_is_refused() {
        let zone = "UTC".parse().unwrap();
        let error = span(
            zone,
            ("--from", Some("2026-01-02")),
            ("--to", Some("2026-01-01")),
        )
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "the range is empty: --from \"2026-01-02\" must be earlier than --to \"2026-01-01\""
        );
        let day = span(
            zone,
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
            let zone = zone.parse().unwrap();
            for text in ["0000-01-01", "0000-12-31T23:59:59Z", " 0000-01-01 00:00"] {
                let error = parse("--from", text, zone, Edge::Start).unwrap_err();
                assert!(matches!(error, DateError::Year { .. }), "{text}: {error}");
                assert!(error.to_string().contains("years 0001 to 9999"));
            }
            let first = parse("--from", "0001-01-01", zone, Edge::Start).unwrap();
            assert_eq!(first.to_string(), "0001-01-02T00:00:00.000000Z");
            for text in ["9999-12-31", "9999-12-31 23:59"] {
                let last = parse("--to", text, zone, Edge::End).unwrap();
                assert_eq!(last.to_string(), "9999-12-31T00:00:00.000000Z", "{text}");
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,30}") {
            let _ = parse("--from", &text, "UTC".parse().unwrap(), Edge::End);
        }
    }
}
