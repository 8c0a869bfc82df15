//! Parses configuration values into types that cannot hold a wrong value.
//!
//! Must not know where a value comes from. The caller puts file and key before the messages.

use std::fmt;
use std::num::NonZeroU32;

use std::str::FromStr;
use std::time::Duration;

use figment::value::{Num, Value};
use secrecy::SecretString;
use serde::de::{Deserialize, Deserializer, Error};

use super::nearest::nearest;
use super::{Schedule, Zone};
use crate::data::{RateLimit, Resource, SessionVersion};

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text for people.
    Text,
    /// One JSON object on each line.
    Json,
}

/// The names of the formats of log lines.
pub const LOG_FORMATS: [&str; 2] = ["text", "json"];

/// The levels of log lines, the most important first.
pub const LOG_LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// The details that can be requested with sessions, in the platform's spelling (API notes, 4.4).
pub const DETAILS: [&str; 6] = [
    "AgentDetails",
    "DepartmentsDetails",
    "ContactDetails",
    "ChannelTypeDetails",
    "ClassificationDetails",
    "ChannelDetails",
];

/// The name in `known` that equals `text` without regard to case. The error lists the accepted
/// names and a similar one.
pub fn one_of<'a>(text: &str, known: &[&'a str]) -> Result<&'a str, String> {
    known
        .iter()
        .copied()
        .find(|name| name.eq_ignore_ascii_case(text.trim()))
        .ok_or_else(|| {
            let near = nearest(text.trim(), known.iter().copied(), 1);
            let near = near
                .first()
                .map_or_else(String::new, |name| format!("; similar: {name}"));
            format!(
                "unknown name {text:?} (accepted: {}{near})",
                known.join(", ")
            )
        })
}

fn found(value: &Value) -> String {
    match value {
        Value::String(_, text) => format!("found the text {text:?}"),
        Value::Char(_, char) => format!("found the text {char:?}"),
        Value::Bool(_, value) => format!("found {value}"),
        Value::Num(_, num) => num.to_f64().map_or_else(
            || {
                num.to_i128().map_or_else(
                    || "found a number".into(),
                    |n| format!("found the number {n}"),
                )
            },
            |n| format!("found the number {n}"),
        ),
        Value::Empty(..) => "found nothing".into(),
        Value::Dict(..) => "found a section".into(),
        Value::Array(..) => "found a list".into(),
    }
}

fn expected<E: Error>(what: &str, value: &Value) -> E {
    E::custom(format!("expected {what}, {}", found(value)))
}

fn text_of<'de, D: Deserializer<'de>>(from: D, what: &str) -> Result<String, D::Error> {
    match <Value as Deserialize>::deserialize(from)? {
        Value::String(_, text) => Ok(text),
        Value::Char(_, char) => Ok(char.to_string()),
        other => Err(expected(what, &other)),
    }
}

/// Parses text into its type. `what` is the expected value, for the error if the value is not text.
pub(super) fn parsed<'de, D, T>(from: D, what: &str) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    text_of(from, what)?.parse().map_err(D::Error::custom)
}

pub(super) fn text<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = text_of(from, "text")?;
    if text.trim().is_empty() {
        return Err(D::Error::custom("is empty"));
    }
    Ok(text.trim().to_owned())
}

/// Text that must not be repeated in a message.
pub(super) fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<SecretString, D::Error> {
    match <Value as Deserialize>::deserialize(from)? {
        Value::String(_, text) => Ok(SecretString::from(text)),
        _ => Err(D::Error::custom("expected text in quotes")),
    }
}

pub(super) fn rate_limit<'de, D: Deserializer<'de>>(from: D) -> Result<RateLimit, D::Error> {
    parsed(from, "a rate limit such as \"1000/5m\"")
}

/// `None` for the local one.
pub(super) fn zone<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Zone>, D::Error> {
    let text = text_of(from, "a time zone such as \"America/Sao_Paulo\"")?;
    if text.trim().eq_ignore_ascii_case("local") {
        return Ok(None);
    }
    text.parse().map(Some).map_err(D::Error::custom)
}

/// The name of a schema. `None` if it is empty.
pub(super) fn schema<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let text = text_of(from, "the name of a schema")?;
    let name = text.trim();
    if name.len() > 63
        || name
            .chars()
            .any(|c| c.is_control() || matches!(c, '"' | ','))
    {
        return Err(D::Error::custom(
            "is not the name of one schema (accepted: one name of at most 63 bytes, such as helena)",
        ));
    }
    Ok((!name.is_empty()).then(|| name.to_owned()))
}

const SCHEDULE: &str = "a schedule such as \"every 1m\" or \"*/5 * * * *\"";

pub(super) fn schedule<'de, D: Deserializer<'de>>(from: D) -> Result<Schedule, D::Error> {
    parsed(from, SCHEDULE)
}

pub(super) fn schedule_or_off<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Schedule>, D::Error> {
    let text = text_of(from, SCHEDULE)?;
    if text.trim().eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    let schedule: Result<Schedule, _> = text.parse();
    schedule
        .map(Some)
        .map_err(|error| D::Error::custom(format!("{error}; off for never")))
}

/// Parses a duration. The error says what is accepted.
pub fn duration_of(text: &str) -> Result<Duration, String> {
    let wrong = |problem: &str| {
        format!(
            "{text:?} is not a valid duration{problem} (accepted: a number and a unit, such as 30s, 2m, 1h 30m, 7d)"
        )
    };
    let duration = humantime::parse_duration(text.trim()).map_err(|error| match error {
        humantime::DurationError::NumberOverflow => wrong(": too long"),
        _ => wrong(""),
    })?;
    if duration > Duration::from_hours(100 * 366 * 24) {
        return Err(wrong(": longer than a century"));
    }
    Ok(duration)
}

/// A duration greater than zero.
pub(super) fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = text_of(from, "a duration with its unit, such as \"30s\"")?;
    let duration = duration_of(&text).map_err(D::Error::custom)?;
    if duration.is_zero() {
        return Err(D::Error::custom("must be greater than zero"));
    }
    Ok(duration)
}

/// A duration of whole days, since 3m is three minutes and easily meant as three months.
pub(super) fn days<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    const DAY: u64 = 24 * 60 * 60;
    let length = duration(from)?;
    if length.as_secs().is_multiple_of(DAY) && length.subsec_nanos() == 0 {
        return Ok(length);
    }
    let found = humantime::format_duration(length);
    Err(D::Error::custom(format!(
        "is {found}, not a whole number of days (accepted: days, such as 90d; m means minutes)"
    )))
}

pub(super) fn bool<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    match <Value as Deserialize>::deserialize(from)? {
        Value::Bool(_, value) => Ok(value),
        other => Err(expected("true or false", &other)),
    }
}

pub(super) fn share<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    let value = <Value as Deserialize>::deserialize(from)?;
    let number = match &value {
        Value::Num(_, num) => num_as_f64(*num),
        _ => None,
    };
    number
        .filter(|share| *share > 0.0 && *share <= 1.0)
        .ok_or_else(|| expected("a number above 0 and up to 1", &value))
}

fn num_as_f64(num: Num) -> Option<f64> {
    num.to_f64()
        .or_else(|| {
            num.to_i128()
                .and_then(|n| i32::try_from(n).ok())
                .map(f64::from)
        })
        .or_else(|| {
            num.to_u128()
                .and_then(|n| u32::try_from(n).ok())
                .map(f64::from)
        })
}

fn whole<'de, D: Deserializer<'de>>(from: D, most: u32) -> Result<NonZeroU32, D::Error> {
    let value = <Value as Deserialize>::deserialize(from)?;
    let number = match &value {
        Value::Num(_, num) => num
            .to_u128()
            .and_then(|n| u32::try_from(n).ok())
            .or_else(|| num.to_i128().and_then(|n| u32::try_from(n).ok())),
        _ => None,
    };
    number
        .filter(|n| *n <= most)
        .and_then(NonZeroU32::new)
        .ok_or_else(|| expected(&format!("a whole number from 1 to {most}"), &value))
}

pub(super) fn page_size<'de, D: Deserializer<'de>>(from: D) -> Result<NonZeroU32, D::Error> {
    whole(from, 100)
}

pub(super) fn percent<'de, D: Deserializer<'de>>(from: D) -> Result<NonZeroU32, D::Error> {
    whole(from, 99)
}

pub(super) fn concurrency<'de, D: Deserializer<'de>>(from: D) -> Result<NonZeroU32, D::Error> {
    whole(from, 32)
}

pub(super) fn window_pages<'de, D: Deserializer<'de>>(from: D) -> Result<NonZeroU32, D::Error> {
    whole(from, 1000)
}

fn names<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let what = "a list of names such as [\"a\", \"b\"]";
    let value = <Value as Deserialize>::deserialize(from)?;
    let Value::Array(_, items) = &value else {
        return Err(expected(what, &value));
    };
    items
        .iter()
        .map(|item| {
            item.as_str()
                .map(str::to_owned)
                .ok_or_else(|| expected(what, item))
        })
        .collect()
}

pub(super) fn details<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<&'static str>, D::Error> {
    let mut details = Vec::new();
    for name in names(from)? {
        let detail = one_of(&name, &DETAILS).map_err(D::Error::custom)?;
        if !details.contains(&detail) {
            details.push(detail);
        }
    }
    Ok(details)
}

pub(super) fn resources<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Resource>, D::Error> {
    let known = Resource::ALL.map(Resource::name);
    let mut wanted = Vec::new();
    for name in names(from)? {
        wanted.push(one_of(&name, &known).map_err(D::Error::custom)?);
    }
    if wanted.is_empty() {
        return Err(D::Error::custom(format!(
            "must name at least one resource (accepted: {})",
            known.join(", ")
        )));
    }
    // Parents first, and without duplicates.
    Ok(Resource::ALL
        .into_iter()
        .filter(|resource| wanted.contains(&resource.name()))
        .collect())
}

pub(super) fn session_version<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<SessionVersion>, D::Error> {
    let value = <Value as Deserialize>::deserialize(from)?;
    let text = match &value {
        Value::String(_, text) => text.clone(),
        // The file may contain the version as a number.
        Value::Num(_, num) => {
            num_as_f64(*num).map_or_else(String::new, |number| number.to_string())
        }
        other => return Err(expected("auto, 1 or 2", other)),
    };
    Ok(
        match one_of(&text, &["auto", "1", "2"]).map_err(D::Error::custom)? {
            "1" => Some(SessionVersion::First),
            "2" => Some(SessionVersion::Second),
            _ => None,
        },
    )
}

pub(super) fn log_format<'de, D: Deserializer<'de>>(from: D) -> Result<LogFormat, D::Error> {
    let text = text_of(from, "text or json")?;
    match one_of(&text, &LOG_FORMATS).map_err(D::Error::custom)? {
        "json" => Ok(LogFormat::Json),
        _ => Ok(LogFormat::Text),
    }
}

pub(super) fn level<'de, D: Deserializer<'de>>(from: D) -> Result<tracing::Level, D::Error> {
    let text = text_of(from, "a level such as \"info\"")?;
    let name = one_of(&text, &LOG_LEVELS).map_err(D::Error::custom)?;
    Ok(match name {
        "error" => tracing::Level::ERROR,
        "warn" => tracing::Level::WARN,
        "debug" => tracing::Level::DEBUG,
        "trace" => tracing::Level::TRACE,
        _ => tracing::Level::INFO,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_needs_its_unit() {
        assert_eq!(duration_of("1h 30m"), Ok(Duration::from_mins(90)));
        for text in ["", "90", "2 moons", "-5s", "1000y"] {
            let error = duration_of(text).unwrap_err();
            assert!(error.contains("accepted: a number and a unit"), "{text}");
        }
    }

    #[test]
    fn an_unknown_name_comes_with_the_nearest() {
        assert_eq!(one_of("agentdetails", &DETAILS), Ok("AgentDetails"));
        let error = one_of("DepartmentDetails", &DETAILS).unwrap_err();
        assert!(error.contains("similar: DepartmentsDetails"), "{error}");
    }
}
