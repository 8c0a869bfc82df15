//! The types of configuration values that cannot be wrong, and how they are read.
//!
//! Must not know where a value came from: the caller puts file and key before the messages.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use figment::value::{Num, Value};
use secrecy::SecretString;
use serde::de::{Deserialize, Deserializer, Error};

use super::nearest::nearest;
use super::{Schedule, Zone};
use crate::data::Resource;

/// A number of requests in a length of time: `1000/5m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: NonZeroU32,
    /// In how long.
    pub per: Duration,
}

impl FromStr for Rate {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("{text:?} is no limit (accepted: requests/time, such as 1000/5m)");
        let (count, per) = text.split_once('/').ok_or_else(wrong)?;
        let count = count.trim().parse().map_err(|_| wrong())?;
        let per = humantime::parse_duration(per.trim()).map_err(|_| wrong())?;
        if per < Duration::from_millis(1) {
            return Err(wrong());
        }
        Ok(Self { count, per })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, humantime::format_duration(self.per))
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The details that can be requested with sessions, spelt as the platform spells them
/// (API notes, 4.4).
pub const DETAILS: [&str; 6] = [
    "AgentDetails",
    "DepartmentsDetails",
    "ContactDetails",
    "ChannelTypeDetails",
    "ClassificationDetails",
    "ChannelDetails",
];

/// The name in `known` that `text` spells in any case; otherwise what is accepted and what is
/// nearest.
pub fn one_of<'a>(text: &str, known: &[&'a str]) -> Result<&'a str, String> {
    known
        .iter()
        .copied()
        .find(|name| name.eq_ignore_ascii_case(text.trim()))
        .ok_or_else(|| {
            let near = nearest(text.trim(), known.iter().copied(), 1);
            let near = near
                .first()
                .map_or_else(String::new, |name| format!("; nearest: {name}"));
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

/// A text that its type reads; `what` is expected of a value that is no text.
pub(super) fn parsed<'de, D, T>(from: D, what: &str) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    text_of(from, what)?.parse().map_err(D::Error::custom)
}

pub(super) fn text<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = text_of(from, "a text")?;
    if text.trim().is_empty() {
        return Err(D::Error::custom("is empty"));
    }
    Ok(text.trim().to_owned())
}

/// A text that must not be repeated in a message.
pub(super) fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<SecretString, D::Error> {
    match <Value as Deserialize>::deserialize(from)? {
        Value::String(_, text) => Ok(SecretString::from(text)),
        _ => Err(D::Error::custom("expected a text in quotes")),
    }
}

pub(super) fn rate<'de, D: Deserializer<'de>>(from: D) -> Result<Rate, D::Error> {
    parsed(from, "a limit such as \"1000/5m\"")
}

pub(super) fn zone<'de, D: Deserializer<'de>>(from: D) -> Result<Zone, D::Error> {
    parsed(from, "a time zone such as \"America/Sao_Paulo\"")
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

/// The message for a text that is no length of time.
pub fn duration_of(text: &str) -> Result<Duration, String> {
    let wrong = |problem: &str| {
        format!(
            "{text:?} is no length of time{problem} (accepted: a number and a unit, such as 30s, 2m, 1h 30m, 7d)"
        )
    };
    let duration = humantime::parse_duration(text.trim()).map_err(|error| match error {
        humantime::DurationError::NumberOverflow => wrong(": too long"),
        _ => wrong(""),
    })?;
    if duration > Duration::from_hours(100 * 366 * 24) {
        return Err(wrong(": more than a century"));
    }
    Ok(duration)
}

/// A length of time above zero.
pub(super) fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = text_of(from, "a length of time with its unit, such as \"30s\"")?;
    let duration = duration_of(&text).map_err(D::Error::custom)?;
    if duration.is_zero() {
        return Err(D::Error::custom("must be longer than nothing"));
    }
    Ok(duration)
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
            "names nothing (accepted: {})",
            known.join(", ")
        )));
    }
    // In the order in which they refer to each other, each once.
    Ok(Resource::ALL
        .into_iter()
        .filter(|resource| wanted.contains(&resource.name()))
        .collect())
}

pub(super) fn log_format<'de, D: Deserializer<'de>>(from: D) -> Result<LogFormat, D::Error> {
    let text = text_of(from, "text or json")?;
    match one_of(&text, &["text", "json"]).map_err(D::Error::custom)? {
        "json" => Ok(LogFormat::Json),
        _ => Ok(LogFormat::Text),
    }
}

pub(super) fn level<'de, D: Deserializer<'de>>(from: D) -> Result<tracing::Level, D::Error> {
    let text = text_of(from, "a level such as \"info\"")?;
    let name =
        one_of(&text, &["error", "warn", "info", "debug", "trace"]).map_err(D::Error::custom)?;
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
    fn a_limit_reads_back_as_it_is_shown() {
        let rate: Rate = "1000/5m".parse().unwrap();
        assert_eq!(rate.count.get(), 1000);
        assert_eq!(rate.per, Duration::from_mins(5));
        assert_eq!(rate.to_string(), "1000/5m");
    }

    #[test]
    fn what_is_no_limit_says_what_one_looks_like() {
        for text in ["1000", "0/5m", "x/5m", "10/0s", "10/", "-1/5m", "10/5"] {
            let error = text.parse::<Rate>().unwrap_err();
            assert!(error.contains("accepted: requests/time"), "{text}");
        }
    }

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
        assert!(error.contains("nearest: DepartmentsDetails"), "{error}");
    }
}
