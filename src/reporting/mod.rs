//! What reports rest on: the days of a time zone, the hours in which a company attends, and the views.
//!
//! Owns how local days lie in UTC, how open hours are counted, and the texts of the views, which
//! [`crate::store`] puts into the database. Pure: no clock, no SQL is run here. Must not know who asks.

mod days;
mod hours;
mod settings;
mod views;

pub use days::{Day, FIRST_DAY, LAST_DAY, Shift, days, first_instant, local_date};
pub use hours::{Hours, HoursError, OpenHours, open_hours};
pub use settings::{Settings, Targets};
pub use views::{Dialect, VIEWS_VERSION, View, views, views_hash};

/// Grows when days or open hours are computed in another way, so that those in the database are made anew.
pub const DAYS_VERSION: i64 = 1;

/// The version of the time zones' rules that this program has, such as `2025b`.
pub const ZONE_VERSION: &str = chrono_tz::IANA_TZDB_VERSION;
