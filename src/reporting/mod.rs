//! What reports rest on: the days of a time zone, the hours in which a company attends, the views, and
//! the figures of a report.
//!
//! Owns how local days lie in UTC, how open hours are counted, the texts of the views, which
//! [`crate::store`] puts into the database, and how figures are computed from the sessions that it reads.
//! Pure: no clock, no SQL is run here. Must not know who asks, nor how figures are shown.

mod days;
mod figures;
mod hours;
mod period;
mod session;
mod settings;
mod times;
mod views;

pub use days::{Day, FIRST_DAY, LAST_DAY, Shift, days, first_instant, local_date};
pub use figures::{
    AGES, Bar, Bucket, By, CLASSES, Cell, Classes, Figures, Group, Key, Named, Names, Oldest,
    OpenNow, Question, Row, Share, figures, shortened_rows,
};
pub use hours::{Hours, HoursError, OpenHours, open_hours};
pub use period::{Asked, Backwards, Compare, Period};
pub use session::{
    Attendance, Calibration, Campaign, Facts, Filter, Frame, OpenClock, OpenSession, Quality,
    Session, Stage,
};
pub use settings::{Settings, Targets};
pub use times::Times;
pub use views::{Dialect, SessionQueries, VIEWS_VERSION, View, session_queries, views, views_hash};

/// Grows when days or open hours are computed in another way, so that those in the database are made anew.
pub const DAYS_VERSION: i64 = 1;

/// The version of the time zones' rules that this program has, such as `2025b`.
pub const ZONE_VERSION: &str = chrono_tz::IANA_TZDB_VERSION;
