//! What an operator decides about reports.

use std::time::Duration;

use chrono_tz::Tz;

use super::hours::Hours;

/// Within which time something is to be done; `None` for no target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Targets {
    /// The platform's waiting time.
    pub wait: Option<Duration>,
    /// From the session's creation to the first response.
    pub first_response: Option<Duration>,
    /// The platform's service time.
    pub service: Option<Duration>,
    /// From the session's creation to its end.
    pub resolution: Option<Duration>,
}

/// What an operator decides about reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Of days and hours.
    pub zone: Tz,
    /// 1 for Monday to 7 for Sunday.
    pub week_starts_on: u32,
    /// In which amounts are printed.
    pub currency: String,
    /// What counts as in time.
    pub targets: Targets,
    /// After how long without a message an open session counts as forgotten.
    pub stale: Duration,
    /// When the company attends.
    pub hours: Hours,
}

impl Settings {
    /// Days of this zone and nothing else.
    pub fn of_zone(zone: Tz) -> Self {
        Self {
            zone,
            week_starts_on: 1,
            currency: "BRL".to_owned(),
            targets: Targets::default(),
            stale: Duration::from_hours(72),
            hours: Hours::default(),
        }
    }
}
