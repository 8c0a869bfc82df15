//! The settings of reports, the days of their zone and the hours in which the company attends, kept in
//! the database for its views.
//!
//! Must not know how days and hours are computed: see [`crate::reporting`].

use std::fmt::Write as _;
use std::time::Duration;

use chrono::{Datelike as _, Days, NaiveDate};
use chrono_tz::Tz;
use sqlx::AssertSqlSafe;

use super::account::AccountId;
use super::error::StoreError;
use super::open::Store;
use super::transaction::{Transaction, record};
use super::value::{Time, args};
use crate::data::Timestamp;
use crate::reporting::{
    DAYS_VERSION, Day, FIRST_DAY, Hours, LAST_DAY, Settings, Targets, ZONE_VERSION, days,
    local_date, open_hours,
};

/// So many days are kept ahead of the present.
const AHEAD: Days = Days::new(400);

/// So many whole years are kept before the present one, whatever the age of the sessions.
const BACK: i32 = 2;

/// Rows of one statement.
const ROWS: usize = 500;

record! {
    /// What is stored of the settings.
    #[derive(Debug, Clone, PartialEq, Eq)]
    struct Stored {
        zone: Option<String>,
        zone_version: Option<String>,
        week_starts_on: Option<i64>,
        hours: Option<String>,
        days_version: Option<i64>,
        currency: Option<String>,
        sla_wait_seconds: Option<i64>,
        sla_first_response_seconds: Option<i64>,
        sla_service_seconds: Option<i64>,
        sla_resolution_seconds: Option<i64>,
        stale_seconds: Option<i64>,
    }
}

const SETTINGS: &str = "select zone, zone_version, week_starts_on, hours, days_version, currency, \
                        sla_wait_seconds, sla_first_response_seconds, sla_service_seconds, \
                        sla_resolution_seconds, stale_seconds from report_settings where id = 1";

/// What days and hours are made of.
struct Basis {
    zone: Tz,
    week_starts_on: u32,
    hours: Hours,
}

impl Stored {
    fn of(settings: &Settings) -> Self {
        let seconds = |duration: Duration| i64::try_from(duration.as_secs()).ok();
        let targets = settings.targets;
        Self {
            zone: Some(settings.zone.name().to_owned()),
            zone_version: Some(ZONE_VERSION.to_owned()),
            week_starts_on: Some(i64::from(settings.week_starts_on)),
            hours: Some(settings.hours.stored()),
            days_version: Some(DAYS_VERSION),
            currency: Some(settings.currency.clone()),
            sla_wait_seconds: targets.wait.and_then(seconds),
            sla_first_response_seconds: targets.first_response.and_then(seconds),
            sla_service_seconds: targets.service.and_then(seconds),
            sla_resolution_seconds: targets.resolution.and_then(seconds),
            stale_seconds: seconds(settings.stale),
        }
    }

    /// Whether days and hours are the same.
    fn has_days_of(&self, other: &Self) -> bool {
        self.zone == other.zone
            && self.zone_version == other.zone_version
            && self.week_starts_on == other.week_starts_on
            && self.hours == other.hours
            && self.days_version == other.days_version
    }

    /// All that is stored; `None` before the first settings.
    fn settings(&self) -> Option<Settings> {
        let target = |seconds: Option<i64>| {
            seconds.map(|seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
        };
        Some(Settings {
            zone: self.zone.as_ref()?.parse().ok()?,
            week_starts_on: u32::try_from(self.week_starts_on?).ok()?,
            currency: self.currency.clone()?,
            targets: Targets {
                wait: target(self.sla_wait_seconds),
                first_response: target(self.sla_first_response_seconds),
                service: target(self.sla_service_seconds),
                resolution: target(self.sla_resolution_seconds),
            },
            stale: target(self.stale_seconds)?,
            hours: Hours::parse(self.hours.as_ref()?)?,
        })
    }

    /// `None` before the first settings, and where another version of the program left days of its own,
    /// which only [`Store::keep_reports`] replaces.
    fn basis(&self) -> Option<Basis> {
        let is_ours = self.days_version == Some(DAYS_VERSION)
            && self.zone_version.as_deref() == Some(ZONE_VERSION);
        Some(Basis {
            zone: self.zone.as_ref().filter(|_| is_ours)?.parse().ok()?,
            week_starts_on: u32::try_from(self.week_starts_on?).ok()?,
            hours: Hours::parse(self.hours.as_ref()?)?,
        })
    }
}

/// The settings of reports that are stored; `None` before the first.
pub(super) async fn stored_settings(tx: &mut Transaction) -> Result<Option<Settings>, StoreError> {
    let stored: Option<Stored> = tx.row(SETTINGS, Vec::new()).await?;
    Ok(stored.and_then(|stored| stored.settings()))
}

impl Store {
    /// Sees to it that there are days for a year ahead, by the settings that are stored. If none are, those
    /// are stored that are given.
    pub async fn refresh_reports(
        &self,
        settings: &Settings,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self
            .reading("read the settings of reports", "report_settings")
            .await?;
        let sql = "select count(*) from report_settings where zone is not null";
        let are_stored = tx.number(sql, Vec::new()).await? > 0;
        tx.end().await;
        if are_stored {
            self.extend_days(now).await
        } else {
            self.keep_reports(settings, now).await.map(drop)
        }
    }

    /// Makes the settings of reports, the days and the open hours those of `settings`, all in one
    /// transaction, and sees to it that there are days for all sessions and for a year ahead. Yields
    /// whether anything was changed.
    pub async fn keep_reports(
        &self,
        settings: &Settings,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let wanted = Stored::of(settings);
        let mut tx = self
            .reading("read the settings of reports", "report_settings")
            .await?;
        let stored: Option<Stored> = tx.row(SETTINGS, Vec::new()).await?;
        let missing = missing(&mut tx, settings.zone, now).await?;
        tx.end().await;
        if stored.as_ref() == Some(&wanted) && missing.is_empty() {
            return Ok(false);
        }
        let mut tx = self
            .writing("make the days of reports", "report_days")
            .await?;
        let sql = format!("{SETTINGS}{}", tx.backend().lock());
        let stored: Option<Stored> = tx.row(AssertSqlSafe(sql), Vec::new()).await?;
        if !stored.is_some_and(|stored| stored.has_days_of(&wanted)) {
            tx.script("delete from report_days; delete from report_open_hours")
                .await?;
        }
        tx.execute(
            "update report_settings set zone = $1, zone_version = $2, week_starts_on = $3, \
             hours = $4, days_version = $5, currency = $6, sla_wait_seconds = $7, \
             sla_first_response_seconds = $8, sla_service_seconds = $9, \
             sla_resolution_seconds = $10, stale_seconds = $11 where id = 1",
            args![
                wanted.zone.as_deref(),
                wanted.zone_version.as_deref(),
                wanted.week_starts_on,
                wanted.hours.as_deref(),
                wanted.days_version,
                wanted.currency.as_deref(),
                wanted.sla_wait_seconds,
                wanted.sla_first_response_seconds,
                wanted.sla_service_seconds,
                wanted.sla_resolution_seconds,
                wanted.stale_seconds,
            ],
        )
        .await?;
        if let Some(basis) = wanted.basis() {
            fill(&mut tx, &basis, now).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// Sees to it that there are days for a year ahead, in the zone that is stored; nothing is done where
    /// none is.
    pub async fn extend_days(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self
            .reading("read the settings of reports", "report_settings")
            .await?;
        let stored: Option<Stored> = tx.row(SETTINGS, Vec::new()).await?;
        let basis = stored.and_then(|stored| stored.basis());
        let missing = match &basis {
            Some(basis) => missing(&mut tx, basis.zone, now).await?,
            None => Vec::new(),
        };
        tx.end().await;
        if missing.is_empty() {
            return Ok(());
        }
        let mut tx = self.writing("add days for reports", "report_days").await?;
        extend(&mut tx, now).await?;
        tx.commit().await
    }
}

/// Adds the days of sessions of an account that were just stored, if there are none yet.
pub(super) async fn cover(
    tx: &mut Transaction,
    account: AccountId,
    now: Timestamp,
) -> Result<(), StoreError> {
    type Ends = (Option<Time>, Option<Time>, Option<Time>, Option<Time>);
    let ends: Option<Ends> = tx
        .row(
            "select (select min(created_at) from sessions where account_id = $1), \
             (select max(created_at) from sessions where account_id = $1), \
             (select min(starts_at) from report_days), (select max(ends_at) from report_days)",
            args![account.0],
        )
        .await?;
    let Some((Some(Time(oldest)), Some(Time(newest)), Some(Time(first)), Some(Time(last)))) = ends
    else {
        return Ok(());
    };
    if oldest < first || newest >= last {
        extend(tx, now).await?;
    }
    Ok(())
}

async fn extend(tx: &mut Transaction, now: Timestamp) -> Result<(), StoreError> {
    let sql = format!("{SETTINGS}{}", tx.backend().lock());
    let stored: Option<Stored> = tx.row(AssertSqlSafe(sql), Vec::new()).await?;
    match stored.and_then(|stored| stored.basis()) {
        Some(basis) => fill(tx, &basis, now).await,
        None => Ok(()),
    }
}

/// A range of dates, the second excluded.
type Dates = (NaiveDate, NaiveDate);

/// The dates that are stored; `None` for none.
async fn stored_dates(tx: &mut Transaction) -> Result<Option<Dates>, StoreError> {
    let row: Option<(Option<String>, Option<String>)> = tx
        .row(
            "select cast(min(day) as text), cast(max(day) as text) from report_days",
            Vec::new(),
        )
        .await?;
    let parsed = |text: Option<String>| text.and_then(|text| text.parse::<NaiveDate>().ok());
    Ok(row.and_then(|(first, last)| Some((parsed(first)?, parsed(last)? + Days::new(1)))))
}

/// The dates that there should be: from the year of the oldest session on, at least two whole years back,
/// to the newest session, at least a year ahead.
async fn wanted_dates(tx: &mut Transaction, zone: Tz, now: Timestamp) -> Result<Dates, StoreError> {
    let row: Option<(Option<Time>, Option<Time>)> = tx
        .row(
            "select min(oldest), max(newest) from (select \
             (select min(created_at) from sessions where account_id = accounts.id) as oldest, \
             (select max(created_at) from sessions where account_id = accounts.id) as newest \
             from accounts) as ends",
            Vec::new(),
        )
        .await?;
    let (oldest, newest) = row.unwrap_or_default();
    let date = |at: Option<Time>| at.map(|Time(at)| local_date(zone, at));
    let today = local_date(zone, now);
    let year = date(oldest).map_or(today.year() - BACK, |oldest| {
        oldest.year().min(today.year() - BACK)
    });
    let from = NaiveDate::from_ymd_opt(year, 1, 1).unwrap_or(FIRST_DAY);
    let to = date(newest)
        .and_then(|newest| newest.checked_add_days(Days::new(1)))
        .map_or(today + AHEAD, |newest| newest.max(today + AHEAD));
    let from = from.clamp(FIRST_DAY, LAST_DAY);
    Ok((from, to.clamp(from, LAST_DAY)))
}

/// The ranges of dates that there should be and are not.
async fn missing(tx: &mut Transaction, zone: Tz, now: Timestamp) -> Result<Vec<Dates>, StoreError> {
    let (from, to) = wanted_dates(tx, zone, now).await?;
    let ranges = match stored_dates(tx).await? {
        None => vec![(from, to)],
        Some((first, end)) => vec![(from, first), (end, to)],
    };
    Ok(ranges.into_iter().filter(|(from, to)| from < to).collect())
}

/// Adds the days that are missing; the open hours are counted anew then.
async fn fill(tx: &mut Transaction, basis: &Basis, now: Timestamp) -> Result<(), StoreError> {
    let missing = missing(tx, basis.zone, now).await?;
    if missing.is_empty() {
        return Ok(());
    }
    for (from, to) in missing {
        let rows = days(basis.zone, from, to);
        let rows: Vec<String> = rows.iter().map(|day| day_row(day, basis)).collect();
        insert(
            tx,
            "report_days (day, starts_at, ends_at, week, month, year, weekday, open_seconds, \
             holiday, utc_offset, first_hour, shift_at, shift_seconds)",
            &rows,
        )
        .await?;
    }
    tx.script("delete from report_open_hours").await?;
    let Some((from, to)) = stored_dates(tx).await? else {
        return Ok(());
    };
    let open = open_hours(&basis.hours, &days(basis.zone, from, to));
    let rows: Vec<String> = open
        .iter()
        .map(|open| {
            let (starts, ends) = (open.starts_at, open.ends_at);
            let before = open.open_before;
            format!(
                "({}, {}, {starts}, {ends}, {before})",
                instant(starts),
                instant(ends)
            )
        })
        .collect();
    insert(
        tx,
        "report_open_hours (starts_at, ends_at, starts_epoch, ends_epoch, open_before)",
        &rows,
    )
    .await
}

/// Inserts rows of literals.
async fn insert(tx: &mut Transaction, into: &str, rows: &[String]) -> Result<(), StoreError> {
    for rows in rows.chunks(ROWS) {
        let sql = format!("insert into {into} values {}", rows.join(", "));
        tx.script(AssertSqlSafe(sql)).await?;
    }
    Ok(())
}

fn instant(seconds: i64) -> String {
    format!("'{}'", Timestamp::from_micros(seconds * 1_000_000))
}

fn day_row(day: &Day, basis: &Basis) -> String {
    let Day { date, .. } = day;
    let mut row = format!(
        "('{date}', {}, {}, '{}', '{}', {}, {}, ",
        instant(day.starts_at),
        instant(day.ends_at),
        day.week(basis.week_starts_on),
        day.month(),
        date.year(),
        day.weekday()
    );
    // Writing to a String cannot fail.
    let _ = if basis.hours.are_known() {
        let open = basis.hours.open(day);
        let seconds: i64 = open.iter().map(|(opens, closes)| closes - opens).sum();
        write!(row, "{seconds}, ")
    } else {
        write!(row, "null, ")
    };
    let _ = match basis.hours.holiday(*date) {
        Some(name) => write!(row, "'{}', ", name.replace('\'', "''")),
        None => write!(row, "null, "),
    };
    let _ = write!(row, "{}, {}, ", day.utc_offset, day.first_hour);
    let _ = match day.shift {
        Some(shift) => write!(row, "{}, {})", instant(shift.at), shift.seconds),
        None => write!(row, "null, null)"),
    };
    row
}
