//! Parses schedules: `every 1m`, or a cron expression.
//!
//! Must not know what is scheduled, and does not wait ([`crate::schedule`] does).

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use croner::parser::{CronParser, Seconds, Year};

/// A schedule that fires repeatedly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schedule {
    /// At this interval, counted from the start. Whole seconds, at least one.
    Every(Duration),
    /// At local times: a cron expression of six fields, second first.
    Cron(String),
}

/// Why a text is not a valid schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// The text has neither form.
    #[error(
        "{text:?} is not a valid schedule: {problem} (accepted: every 1m, or a cron expression of 5 fields such as \"*/5 * * * *\", or of 6 fields with the second first)"
    )]
    Form {
        /// What was given.
        text: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A date that does not exist in any year.
    #[error(
        "{0:?} never fires, since no date matches it (fields: [second] minute hour day-of-month month day-of-week)"
    )]
    Never(String),
}

impl FromStr for Schedule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let form = |problem: String| ScheduleError::Form {
            text: text.to_owned(),
            problem,
        };
        if let Some(every) = text.strip_prefix("every ") {
            let every =
                humantime::parse_duration(every.trim()).map_err(|error| form(error.to_string()))?;
            if every < Duration::from_secs(1) {
                return Err(form("the interval is shorter than a second".into()));
            }
            if every.subsec_nanos() != 0 {
                return Err(form("the interval is not a whole number of seconds".into()));
            }
            if every > Duration::from_hours(366 * 24) {
                return Err(form("the interval is longer than a year".into()));
            }
            return Ok(Self::Every(every));
        }
        let fields: Vec<&str> = text.split_whitespace().collect();
        let expression = match fields.len() {
            5 => format!("0 {}", fields.join(" ")),
            6 => fields.join(" "),
            1 => return Err(form("it has 1 field".into())),
            count => return Err(form(format!("it has {count} fields"))),
        };
        let cron = CronParser::builder()
            .seconds(Seconds::Required)
            .year(Year::Disallowed)
            .build()
            .parse(&expression)
            .map_err(|error| form(error.to_string()))?;
        // Without a year field, an expression that ever fires also fires after this instant.
        let from = DateTime::<Utc>::from_timestamp(1_704_067_200, 0).unwrap_or_default();
        cron.find_next_occurrence(&from, false)
            .map_err(|_| ScheduleError::Never(text.to_owned()))?;
        Ok(Self::Cron(expression))
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Every(every) => write!(f, "every {}", humantime::format_duration(*every)),
            Self::Cron(expression) => f.write_str(expression),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        assert_eq!(
            "every 90s".parse(),
            Ok(Schedule::Every(Duration::from_secs(90)))
        );
        assert_eq!(
            "*/5 * * * *".parse(),
            Ok(Schedule::Cron("0 */5 * * * *".into()))
        );
        assert_eq!(
            "30 0 3 * * MON".parse(),
            Ok(Schedule::Cron("30 0 3 * * MON".into()))
        );
        assert!("0 0 29 2 *".parse::<Schedule>().is_ok());
    }

    #[test]
    fn a_schedule_that_never_fires_is_refused() {
        for text in ["0 0 30 2 *", "0 0 0 31 4 *"] {
            let error = text.parse::<Schedule>().unwrap_err();
            assert_eq!(error, ScheduleError::Never(text.into()));
        }
    }

    #[test]
    fn what_is_no_schedule_is_refused_with_the_accepted_forms() {
        for text in [
            "",
            "every",
            "every 0s",
            "every 500ms",
            "1m",
            "* * *",
            "61 * * * *",
            "every year of peace",
            "0 0 0 1 1 * 2030",
        ] {
            let error = text.parse::<Schedule>().unwrap_err().to_string();
            assert!(error.contains("every 1m"), "{text}: {error}");
        }
    }
}
