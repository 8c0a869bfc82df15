//! Gathers how up to date and complete the mirror is, and decides what is failing; [`freshness`] decides what
//! is too old.
//!
//! Owns the shape of `status --json`. Must not know the
//! API, clap or how the status is shown.

mod freshness;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use uuid::Uuid;

use crate::data::{
    DoorbellRecord, OrderField, Resource, SessionFilter, SessionVersion, SubscriptionState,
    Timestamp, grouped,
};
use crate::store::{
    AccountId, Backfill, RunRecord, Store, StoreError, StoredAccount, StoredGap, StreamStatus,
    TableCount,
};

pub use freshness::{
    Lateness, Oldest, Promise, oldest_verification, parts, promises, refused, too_old,
};

/// How many of the last runs are gathered.
const RUNS: u32 = 10;

/// An account, as `status --json` prints it.
#[derive(Debug, Serialize)]
pub struct AccountStatus {
    /// Its name.
    pub account: String,
    /// Whether the configuration has this account. `None` if the configuration has no account.
    pub configured: Option<bool>,
    /// The address of its API.
    pub base_url: String,
    /// The company on the platform. `None` until a record has named it.
    pub company_id: Option<Uuid>,
    /// The lease holder, if its lease is valid.
    pub writer: Option<Writer>,
    /// The version of the platform's session list that is read, if it is not the usual one.
    pub session_list: Option<u8>,
    /// An outage of the platform. `None` if the platform answers, as far as is known.
    pub trouble: Option<TroubleStatus>,
    /// Mirrored resources whose last attempt failed.
    pub failing: Vec<String>,
    /// Those for which the platform refuses the token, if it accepts it for others. Their age does not count.
    pub refused: Vec<&'static str>,
    /// Alerts that are open.
    pub alerts: Vec<AlertStatus>,
    /// One entry for each resource.
    pub resources: Vec<ResourceStatus>,
    /// Unfinished loads and backfills.
    pub backfills: Vec<BackfillStatus>,
    /// Records that the platform counts but does not show.
    pub gaps: Vec<GapStatus>,
    /// Unresolved rejects, by resource.
    pub rejects: BTreeMap<String, u64>,
    /// Records that are still to be read by id.
    pub rechecks: RecheckStatus,
    /// Fields without a column, by resource.
    pub extra_fields: BTreeMap<&'static str, Vec<String>>,
    /// The last verification. `None` if there was none.
    pub verified: Option<VerifiedStatus>,
    /// The doorbell. `None` if the account has none, as far as is known.
    pub doorbell: Option<DoorbellStatus>,
    /// The last runs, newest first, without those that the platform rang for.
    pub runs: Vec<RunStatus>,
    /// What is too old, as text (see [`too_old`]).
    pub stale: Vec<String>,
}

/// A gap: records that the platform counts in a window but does not show.
#[derive(Debug, Serialize)]
pub struct GapStatus {
    /// The stream, as displayed.
    pub stream: String,
    /// Whether the window is of times of creation, change or interaction.
    pub field: &'static str,
    /// The window's beginning, exclusive; `None` if it is open.
    pub after: Option<Timestamp>,
    /// The window's end, exclusive; `None` if it is open.
    pub before: Option<Timestamp>,
    /// Records that the platform counts there.
    pub counted: u64,
    /// Records that it shows there.
    pub shown: u64,
    /// When the gap was first seen.
    pub first_seen_at: Timestamp,
    /// When it was last seen.
    pub last_seen_at: Timestamp,
}

/// The last verification.
#[derive(Debug, Serialize)]
pub struct VerifiedStatus {
    /// When the last verification ended.
    pub at: Timestamp,
    /// The number of differences that all verifications found. It should stay 0.
    pub differences: u64,
}

/// An alert that is open: operators were told of it, or are to be told.
#[derive(Debug, Serialize)]
pub struct AlertStatus {
    /// Its kind, such as `failing`.
    pub alert: String,
    /// Since when its condition is there.
    pub since: Timestamp,
    /// When it was last told.
    pub told_at: Option<Timestamp>,
    /// What was found, as text, when it was last told. Empty if the kind says it all.
    pub detail: String,
}

/// The alerts of an account that are open, or without an account those of the whole database.
pub async fn open_alerts(
    store: &Store,
    account: Option<AccountId>,
) -> Result<Vec<AlertStatus>, StoreError> {
    let current = store.current_alerts(account).await?;
    let open = current
        .into_iter()
        .filter(|alert| alert.opened_at.is_some());
    let shown = open.map(|alert| AlertStatus {
        alert: alert.kind,
        since: alert.began_at,
        told_at: alert.told_at,
        detail: alert.detail,
    });
    Ok(shown.collect())
}

/// The doorbell of an account: whether the platform calls when something changes.
#[derive(Debug, Serialize)]
pub struct DoorbellStatus {
    /// The state of its subscription on the platform: `good`, `missing`, `disabled`, `other_address`,
    /// `lacks_events` or `unknown`. `None` if nobody has looked yet.
    pub subscription: Option<&'static str>,
    /// What is wrong with it, and what to do. `None` if all is well.
    pub problem: Option<&'static str>,
    /// When that was last looked at.
    pub checked_at: Option<Timestamp>,
    /// When the platform last called. At most some seconds old.
    pub last_ring_at: Option<Timestamp>,
    /// How often it has called.
    pub rings: u64,
}

impl From<DoorbellRecord> for DoorbellStatus {
    fn from(record: DoorbellRecord) -> Self {
        Self {
            subscription: record.state.map(SubscriptionState::as_str),
            problem: record.state.and_then(SubscriptionState::problem),
            checked_at: record.checked_at,
            last_ring_at: record.last_ring_at,
            rings: record.rings,
        }
    }
}

/// Records that are still to be read by id.
#[derive(Debug, Serialize)]
pub struct RecheckStatus {
    /// The number of records.
    pub waiting: u64,
    /// The number of those whose last attempt failed.
    pub failed: u64,
}

/// An outage of the platform.
#[derive(Debug, Serialize)]
pub struct TroubleStatus {
    /// Since when requests fail.
    pub since: Timestamp,
    /// Which requests fail, why, and when the next retry is.
    pub what: String,
}

/// The process that holds the account's lease.
#[derive(Debug, Serialize)]
pub struct Writer {
    /// Machine, process and version.
    pub holder: String,
    /// Since when it holds the lease.
    pub since: Timestamp,
    /// When it last renewed it.
    pub renewed_at: Timestamp,
}

/// A resource, as stored.
#[derive(Debug, Serialize)]
pub struct ResourceStatus {
    /// Its name.
    pub resource: &'static str,
    /// Rows that are not marked as removed.
    pub rows: u64,
    /// Rows that are marked as removed.
    pub removed: u64,
    /// Whether its first load is finished; of a list, whether it was ever read completely.
    pub loaded: bool,
    /// The progress of its first load. `None` if that is finished or has not begun.
    pub loading: Option<Loading>,
    /// One entry for each stream that was ever read.
    pub streams: Vec<StreamLine>,
}

/// The progress of a first load or a backfill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Loading {
    /// Records in the windows that were read.
    pub records_done: u64,
    /// Records that are to be read in all, as counted when it was planned.
    pub records: Option<u64>,
    /// How much of it is done, in whole percent, at most 99.
    pub percent: Option<u64>,
    /// How long the rest takes at the pace of the last runs. `None` while no process loads.
    pub seconds_left: Option<u64>,
}

/// A stream, as stored.
#[derive(Debug, Serialize)]
pub struct StreamLine {
    /// The part of its resource, such as a contact's status. Empty for the whole resource.
    pub status: String,
    /// The `updatedAt` up to which the mirror is complete.
    pub watermark: Option<Timestamp>,
    /// When it was last read completely.
    pub last_success_at: Option<Timestamp>,
    /// How far the mirror is behind the platform: seconds since the beginning of the last pass that was
    /// read to its end, by the platform's clock.
    pub lag_seconds: Option<u64>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
    /// When the last attempt failed.
    pub last_error_at: Option<Timestamp>,
    /// Since when a list lacks most of the stored records. A later read must confirm it.
    pub doubted_at: Option<Timestamp>,
    /// How far the `Date` header was ahead of the time stamps of records when the two last differed
    /// by more than the overlap. Negative if it was behind.
    pub clock_difference_ms: Option<i64>,
    /// When they last differed so much.
    pub clock_difference_at: Option<Timestamp>,
    /// The number of sessions that were read with a `lastInteractionDate` well after their
    /// `updatedAt`.
    pub interactions_ahead: u64,
    /// When the last such session was read.
    pub interactions_ahead_at: Option<Timestamp>,
}

/// An unfinished load or backfill.
#[derive(Debug, Serialize)]
pub struct BackfillStatus {
    /// Its id in the database.
    pub id: i64,
    /// What it reads.
    pub resource: &'static str,
    /// Whether it is the first load of its resource.
    pub first_load: bool,
    /// Whether only the command `backfill` resumes it. Syncs resume all others.
    pub on_request: bool,
    /// Whether it may be cancelled.
    pub cancellable: bool,
    /// How far it is.
    #[serde(flatten)]
    pub loading: Loading,
    /// The start of the range of creation times, exclusive; `None` if it is open.
    pub after: Option<Timestamp>,
    /// The end of the range, exclusive; `None` if it is open.
    pub before: Option<Timestamp>,
    /// When it was planned.
    pub created_at: Timestamp,
    /// Windows that were read.
    pub windows_done: u64,
    /// Windows that are still to be read.
    pub windows_left: u64,
    /// Rows of the windows that were read.
    pub rows_done: u64,
    /// One filter for each query. An empty filter accepts everything.
    pub filters: Vec<SessionFilter>,
    /// The names of what the filters name by id, as far as they are stored.
    pub names: BTreeMap<Uuid, String>,
}

/// A run.
#[derive(Debug, Serialize)]
pub struct RunStatus {
    /// Its id in the database.
    pub id: i64,
    /// Its kind, such as `incremental`.
    pub kind: String,
    /// The resource that it read.
    pub resource: String,
    /// The part of its resource. Empty for the whole resource.
    #[serde(rename = "status", skip_serializing_if = "String::is_empty")]
    pub partition: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended. `None` while it runs.
    pub finished_at: Option<Timestamp>,
    /// How it ended. `None` while it runs.
    pub outcome: Option<String>,
    /// Requests sent.
    pub requests: u64,
    /// Records read.
    pub rows_read: u64,
    /// Rows inserted.
    pub rows_inserted: u64,
    /// Rows updated.
    pub rows_updated: u64,
    /// Rows that did not change.
    pub rows_unchanged: u64,
    /// Records that could not be stored.
    pub rows_rejected: u64,
    /// Why it failed.
    pub error: Option<String>,
}

/// Which of the mirrored resources failed at the last attempt.
fn failing(statuses: &[StreamStatus], resources: &[Resource]) -> Vec<String> {
    let mirrored =
        |status: &&StreamStatus| resources.iter().any(|one| one.name() == status.resource);
    statuses
        .iter()
        .filter(mirrored)
        .filter(|status| status.last_error_at.is_some())
        .map(|status| stream_name(&status.resource, &status.partition))
        .collect()
}

/// `tags`, `contacts (ACTIVE)`.
pub fn stream_name(resource: &str, partition: &str) -> String {
    if partition.is_empty() {
        resource.to_owned()
    } else {
        format!("{resource} ({partition})")
    }
}

/// Reads the status of an account from the database.
pub async fn gather(
    store: &Store,
    account: &StoredAccount,
    streams: Vec<StreamStatus>,
    mirrored: &[Resource],
    now: Timestamp,
    stale: Vec<String>,
) -> Result<AccountStatus, StoreError> {
    let counts = store.table_counts(account.id).await?;
    let writer = writer(store, account.id, now).await?;
    let backfills = unfinished(store, account.id, now).await?;
    let (waiting, failed) = store.recheck_counts(account.id).await?;
    Ok(AccountStatus {
        account: account.name.clone(),
        configured: None,
        base_url: account.base_url.clone(),
        company_id: account.company,
        writer,
        session_list: store
            .learned(account.id)
            .await?
            .session_list
            .map(SessionVersion::number),
        trouble: store
            .trouble(account.id)
            .await?
            .map(|(since, what)| TroubleStatus { since, what }),
        failing: failing(&streams, mirrored),
        refused: refused(&streams, mirrored)
            .into_iter()
            .map(|(resource, _)| resource.name())
            .collect(),
        alerts: open_alerts(store, Some(account.id)).await?,
        resources: counts
            .iter()
            .map(|count| resource_status(count, &streams, &backfills, now))
            .collect(),
        backfills,
        gaps: store
            .open_gaps(account.id)
            .await?
            .iter()
            .map(gap_status)
            .collect(),
        rejects: store.reject_counts(account.id).await?,
        rechecks: RecheckStatus { waiting, failed },
        extra_fields: store
            .extra_keys(account.id)
            .await?
            .into_iter()
            .map(|extra| (extra.resource.name(), extra.keys))
            .collect(),
        verified: store
            .verified(account.id)
            .await?
            .map(|(at, differences)| VerifiedStatus { at, differences }),
        doorbell: store.doorbell(account.id).await?.map(DoorbellStatus::from),
        runs: store
            .last_runs(account.id, RUNS)
            .await?
            .into_iter()
            .map(run_status)
            .collect(),
        stale,
    })
}

/// The unfinished loads and backfills of an account, oldest first.
pub async fn unfinished(
    store: &Store,
    account: AccountId,
    now: Timestamp,
) -> Result<Vec<BackfillStatus>, StoreError> {
    let is_written = writer(store, account, now).await?.is_some();
    let mut backfills = Vec::new();
    for backfill in store.unfinished_backfills(account).await? {
        let pace = if is_written {
            store.load_pace(account, &backfill, now).await?
        } else {
            None
        };
        let names = store.names(account, &named_ids(&backfill.filters)).await?;
        backfills.push(backfill_status(&backfill, pace, names));
    }
    Ok(backfills)
}

/// The lease holder, if its lease is valid.
async fn writer(
    store: &Store,
    account: AccountId,
    now: Timestamp,
) -> Result<Option<Writer>, StoreError> {
    let lease = store.valid_lease(account, now).await?;
    Ok(lease.map(|lease| Writer {
        holder: lease.by,
        since: lease.since,
        renewed_at: lease.renewed_at,
    }))
}

/// The resources among `mirrored` whose first load is not finished, each with its progress. It is `None`
/// if the load has not begun.
pub async fn incomplete(
    store: &Store,
    account: AccountId,
    streams: &[StreamStatus],
    mirrored: &[Resource],
    now: Timestamp,
) -> Result<Vec<(Resource, Option<Loading>)>, StoreError> {
    let mut incomplete = Vec::new();
    let is_written = writer(store, account, now).await?.is_some();
    let backfills = store.unfinished_backfills(account).await?;
    for &resource in mirrored {
        let load = |one: &&Backfill| one.first_load && one.resource == resource;
        if let Some(backfill) = backfills.iter().find(load) {
            let pace = if is_written {
                store.load_pace(account, backfill, now).await?
            } else {
                None
            };
            incomplete.push((resource, Some(Loading::of(backfill, pace))));
        } else if !has_begun(resource, streams) {
            incomplete.push((resource, None));
        }
    }
    Ok(incomplete)
}

/// Whether the first load of a resource has begun or is finished. A list has none: it must have been read
/// completely.
fn has_begun(resource: Resource, statuses: &[StreamStatus]) -> bool {
    if resource.is_list() {
        return statuses
            .iter()
            .any(|status| status.resource == resource.name() && status.last_success_at.is_some());
    }
    resource.streams().iter().all(|stream| {
        statuses.iter().any(|status| {
            status.resource == resource.name()
                && status.partition == stream.partition.as_str()
                && status.watermark.is_some()
        })
    })
}

impl Loading {
    fn of(backfill: &Backfill, pace: Option<(u64, Duration)>) -> Self {
        let done = backfill.rows_done;
        let records = backfill.records.filter(|records| *records > 0);
        let left = records.map(|records| records.saturating_sub(done));
        let seconds_left = pace.zip(left).and_then(|((rows, took), left)| {
            let took = u64::try_from(took.as_millis()).ok()?;
            let millis = left.checked_mul(took)?.checked_div(rows)?;
            Some(millis.div_ceil(1_000))
        });
        Self {
            records_done: done,
            records: backfill.records,
            percent: records.map(|records| (done.saturating_mul(100) / records).min(99)),
            seconds_left,
        }
    }

    /// `22 % (4,555 of 20,040), about 5 min`.
    pub fn text(&self) -> String {
        let done = grouped(self.records_done);
        let mut text = match (self.percent, self.records) {
            (Some(percent), Some(records)) => {
                format!("{percent} % ({done} of {})", grouped(records))
            }
            _ => format!("{done} read"),
        };
        if let Some(left) = self.seconds_left {
            text.push_str(", about ");
            text.push_str(&rough(left));
        }
        text
    }
}

/// `40 s`, `5 min`, `3 h`: for estimates.
fn rough(seconds: u64) -> String {
    match seconds {
        0..=90 => format!("{} s", seconds.div_ceil(10) * 10),
        91..=5_400 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h", seconds.div_ceil(3_600)),
    }
}

/// Free and all bytes of the file system that a file is on.
pub fn disk(file: &Path) -> Option<(u64, u64)> {
    let found = rustix::fs::statvfs(file).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    Some((bytes(found.f_bavail), bytes(found.f_blocks)))
}

/// How far a stream is behind. The platform's clock may be ahead of this machine's.
pub fn lag(stream: &StreamStatus, now: Timestamp) -> Option<u64> {
    let ended = now.since(stream.last_success_at?);
    let began = stream.observed_at.map_or(ended, |at| now.since(at));
    Some(ended.max(began).as_secs())
}

/// The ids in filters that have names.
fn named_ids(filters: &[SessionFilter]) -> Vec<Uuid> {
    let mut ids = Vec::new();
    for filter in filters {
        ids.extend(filter.department.iter().chain(&filter.user));
        ids.extend(filter.contact.iter());
        ids.extend(filter.tags.iter().chain(&filter.channels));
    }
    ids.sort_unstable();
    ids.dedup();
    ids
}

fn resource_status(
    count: &TableCount,
    streams: &[StreamStatus],
    backfills: &[BackfillStatus],
    now: Timestamp,
) -> ResourceStatus {
    let name = count.resource.name();
    let mut loads = backfills.iter().filter(|one| one.first_load);
    let loading = loads.find(|one| one.resource == name);
    let loading = loading.map(|one| one.loading);
    ResourceStatus {
        loaded: loading.is_none() && has_begun(count.resource, streams),
        loading,
        resource: count.resource.name(),
        rows: count.rows,
        removed: count.removed,
        streams: streams
            .iter()
            .filter(|stream| stream.resource == count.resource.name())
            .map(|stream| StreamLine {
                status: stream.partition.clone(),
                watermark: stream.watermark,
                last_success_at: stream.last_success_at,
                lag_seconds: lag(stream, now),
                last_error: stream.last_error.clone(),
                last_error_at: stream.last_error_at,
                doubted_at: stream.doubted_at,
                clock_difference_ms: stream.clock_difference.map(|(difference, _)| difference),
                clock_difference_at: stream.clock_difference.map(|(_, at)| at),
                interactions_ahead: stream.interactions_ahead,
                interactions_ahead_at: stream.interactions_ahead_at,
            })
            .collect(),
    }
}

/// A pass: the runs that followed each other without a pause.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PassStatus {
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took.
    pub seconds: f64,
    /// Requests sent.
    pub requests: u64,
    /// Records that were new or changed.
    pub rows_changed: u64,
    /// Whether any of its runs failed.
    pub failed: bool,
}

/// Runs that begin this soon after the last one belong to the same pass.
const SAME_PASS: Duration = Duration::from_millis(500);

/// The passes that these finished runs made, oldest first. `runs` are newest first, as stored.
pub fn passes(runs: &[RunRecord]) -> Vec<PassStatus> {
    let mut passes: Vec<PassStatus> = Vec::new();
    let mut ended: Option<Timestamp> = None;
    for run in runs.iter().rev() {
        let Some(finished) = run.finished_at else {
            continue;
        };
        let goes_on = ended.is_some_and(|at| run.started_at.since(at) <= SAME_PASS);
        let changed = run.counters.rows_inserted + run.counters.rows_updated;
        let failed = run.outcome.as_deref() == Some("failed");
        match passes.last_mut().filter(|_| goes_on) {
            Some(pass) => {
                pass.seconds = finished.since(pass.started_at).as_secs_f64();
                pass.requests += run.counters.requests;
                pass.rows_changed += changed;
                pass.failed |= failed;
            }
            None => passes.push(PassStatus {
                started_at: run.started_at,
                seconds: finished.since(run.started_at).as_secs_f64(),
                requests: run.counters.requests,
                rows_changed: changed,
                failed,
            }),
        }
        ended = Some(finished);
    }
    passes
}

fn gap_status(stored: &StoredGap) -> GapStatus {
    let gap = &stored.gap;
    GapStatus {
        stream: gap.stream.to_string(),
        field: match gap.field {
            OrderField::CreatedAt => "created",
            OrderField::UpdatedAt => "updated",
            OrderField::LastInteractionAt => "interacted",
        },
        after: gap.window.after,
        before: gap.window.before,
        counted: gap.counted,
        shown: gap.shown,
        first_seen_at: stored.first_seen_at,
        last_seen_at: stored.last_seen_at,
    }
}

fn backfill_status(
    backfill: &Backfill,
    pace: Option<(u64, Duration)>,
    names: BTreeMap<Uuid, String>,
) -> BackfillStatus {
    BackfillStatus {
        id: backfill.id,
        resource: backfill.resource.name(),
        first_load: backfill.first_load,
        on_request: backfill.on_request,
        cancellable: backfill.is_cancellable(),
        loading: Loading::of(backfill, pace),
        after: backfill.range.after,
        before: backfill.range.before,
        created_at: backfill.created_at,
        windows_done: backfill.windows_done,
        windows_left: backfill.windows_left,
        rows_done: backfill.rows_done,
        filters: backfill.filters.clone(),
        names,
    }
}

fn run_status(run: RunRecord) -> RunStatus {
    RunStatus {
        id: run.id,
        kind: run.kind,
        resource: run.resource,
        partition: run.partition,
        started_at: run.started_at,
        finished_at: run.finished_at,
        outcome: run.outcome,
        requests: run.counters.requests,
        rows_read: run.counters.rows_read,
        rows_inserted: run.counters.rows_inserted,
        rows_updated: run.counters.rows_updated,
        rows_unchanged: run.counters.rows_unchanged,
        rows_rejected: run.counters.rows_rejected,
        error: run.error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Counters;

    #[test]
    fn runs_that_follow_each_other_are_one_pass() {
        let at = |second: i64| Timestamp::from_micros(second * 1_000_000);
        let run = |id: i64, began: i64, ended: Option<i64>, outcome: &str| RunRecord {
            id,
            kind: "incremental".into(),
            resource: "sessions".into(),
            partition: String::new(),
            started_at: at(began),
            finished_at: ended.map(at),
            outcome: ended.map(|_| outcome.to_owned()),
            counters: Counters {
                requests: 2,
                rows_inserted: 3,
                rows_updated: 4,
                ..Counters::default()
            },
            watermark_before: None,
            watermark_after: None,
            error: None,
        };
        let runs = [
            run(4, 70, None, ""),
            run(3, 60, Some(61), "succeeded"),
            run(2, 4, Some(8), "failed"),
            run(1, 0, Some(4), "succeeded"),
        ];
        let pass = |began, seconds, times: u64, failed| PassStatus {
            started_at: at(began),
            seconds,
            requests: 2 * times,
            rows_changed: 7 * times,
            failed,
        };
        assert_eq!(
            passes(&runs),
            [pass(0, 8.0, 2, true), pass(60, 1.0, 1, false)]
        );
    }
}
