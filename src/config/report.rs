//! `[report]` and `[report.hours]`: what an operator decides about reports.
//!
//! Must not know how days and hours are computed.

use std::time::Duration;

use figment::value::Value;
use serde::Deserialize;
use serde::de::{Deserializer, Error};

use super::{Zone, values};
use crate::reporting::{Hours, Settings, Targets};

/// `[report]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Report {
    /// 1 for Monday to 7 for Sunday.
    #[serde(deserialize_with = "weekday")]
    pub week_starts_on: u32,
    /// In which amounts are printed.
    #[serde(deserialize_with = "values::text")]
    pub currency: String,
    /// After how long without a message an open session counts as forgotten.
    #[serde(deserialize_with = "values::duration")]
    pub stale: Duration,
    /// The longest waiting time that is in time.
    #[serde(default, deserialize_with = "target")]
    pub sla_wait: Option<Duration>,
    /// The same of the time to the first response.
    #[serde(default, deserialize_with = "target")]
    pub sla_first_response: Option<Duration>,
    /// The same of the service time.
    #[serde(default, deserialize_with = "target")]
    pub sla_service: Option<Duration>,
    /// The same of the time to the end.
    #[serde(default, deserialize_with = "target")]
    pub sla_resolution: Option<Duration>,
    /// When the company attends.
    #[serde(default, deserialize_with = "hours")]
    pub hours: Hours,
}

impl Report {
    /// The same, of this zone.
    pub fn settings(self, zone: Zone) -> Settings {
        Settings {
            zone: zone.0,
            week_starts_on: self.week_starts_on,
            currency: self.currency,
            targets: Targets {
                wait: self.sla_wait,
                first_response: self.sla_first_response,
                service: self.sla_service,
                resolution: self.sla_resolution,
            },
            stale: self.stale,
            hours: self.hours,
        }
    }
}

const DAYS: [&str; 7] = [
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
];

fn weekday<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    let text = values::text(from)?;
    let day = values::one_of(&text, &DAYS).map_err(D::Error::custom)?;
    let place = DAYS.iter().position(|name| *name == day);
    Ok(place
        .and_then(|place| u32::try_from(place + 1).ok())
        .unwrap_or(1))
}

fn target<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    values::duration(from).map(Some)
}

/// `[report.hours]` as it is written.
#[derive(Deserialize)]
struct Written {
    #[serde(rename = "mon-fri")]
    mon_fri: Option<Vec<String>>,
    mon: Option<Vec<String>>,
    tue: Option<Vec<String>>,
    wed: Option<Vec<String>>,
    thu: Option<Vec<String>>,
    fri: Option<Vec<String>>,
    sat: Option<Vec<String>>,
    sun: Option<Vec<String>>,
    holidays: Option<Vec<String>>,
}

fn hours<'de, D: Deserializer<'de>>(from: D) -> Result<Hours, D::Error> {
    let value = <Value as Deserialize>::deserialize(from)?;
    let written: Written = value.deserialize().map_err(D::Error::custom)?;
    let days = [
        written.mon,
        written.tue,
        written.wed,
        written.thu,
        written.fri,
        written.sat,
        written.sun,
    ];
    let mut week = Vec::new();
    for (place, day) in days.into_iter().enumerate() {
        let of_week = written.mon_fri.as_ref().filter(|_| place < 5);
        if let Some(intervals) = day.or_else(|| of_week.cloned()) {
            week.push((place, intervals));
        }
    }
    Hours::new(&week, &written.holidays.unwrap_or_default()).map_err(D::Error::custom)
}
