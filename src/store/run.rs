//! The journal of runs, `sync_runs`.

use std::str::FromStr;
use std::time::Duration;

use sqlx::{AssertSqlSafe, FromRow};

use super::account::AccountId;
use super::error::StoreError;
use super::lease::Lease;
use super::open::Store;
use super::transaction::Transaction;
use super::upsert::Stamp;
use super::value::{Time, args};
use crate::data::{Counters, Resource, RunKind, RunOutcome, Timestamp};

/// How long runs that ended well and found nothing are remembered.
const IDLE_RUNS_KEPT: Duration = Duration::from_hours(7 * 24);

/// How long those are that ended in another way and stored nothing.
const FAILED_RUNS_KEPT: Duration = Duration::from_hours(90 * 24);

/// A run as recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRecord {
    /// Its id, found as `run_id` in the rows that it changed.
    pub id: i64,
    /// See [`RunKind::as_str`].
    pub kind: String,
    /// The stream or resource.
    pub resource: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended; `None` while it runs.
    pub finished_at: Option<Timestamp>,
    /// See [`RunOutcome::as_str`]; `None` while it runs.
    pub outcome: Option<String>,
    /// What it did.
    pub counters: Counters,
    /// The stream's watermark before its first commit that moved it.
    pub watermark_before: Option<Timestamp>,
    /// The stream's watermark after its last commit that moved it.
    pub watermark_after: Option<Timestamp>,
    /// Why it failed.
    pub error: Option<String>,
}

#[derive(Debug, FromRow)]
struct StoredRun {
    id: i64,
    kind: String,
    resource: String,
    started_at: Time,
    finished_at: Option<Time>,
    outcome: Option<String>,
    pages: i64,
    requests: i64,
    retries: i64,
    rows_read: i64,
    rows_inserted: i64,
    rows_updated: i64,
    rows_unchanged: i64,
    rows_rejected: i64,
    rows_differing: i64,
    watermark_before: Option<Time>,
    watermark_after: Option<Time>,
    error: Option<String>,
}

/// A count as stored; one beyond what fits is cut off.
pub(super) fn stored_count(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A count out of the database; none is ever negative.
pub(super) fn count(stored: i64) -> u64 {
    u64::try_from(stored).unwrap_or(0)
}

impl From<StoredRun> for RunRecord {
    fn from(run: StoredRun) -> Self {
        Self {
            id: run.id,
            kind: run.kind,
            resource: run.resource,
            started_at: run.started_at.0,
            finished_at: run.finished_at.map(|Time(at)| at),
            outcome: run.outcome,
            counters: Counters {
                pages: count(run.pages),
                requests: count(run.requests),
                retries: count(run.retries),
                rows_read: count(run.rows_read),
                rows_inserted: count(run.rows_inserted),
                rows_updated: count(run.rows_updated),
                rows_unchanged: count(run.rows_unchanged),
                rows_rejected: count(run.rows_rejected),
                rows_differing: count(run.rows_differing),
            },
            watermark_before: run.watermark_before.map(|Time(at)| at),
            watermark_after: run.watermark_after.map(|Time(at)| at),
            error: run.error,
        }
    }
}

impl Store {
    /// Records that a run begins; `subject` is a stream or a resource, as displayed.
    pub async fn begin_run(
        &self,
        lease: &Lease,
        kind: RunKind,
        subject: &str,
        now: Timestamp,
    ) -> Result<i64, StoreError> {
        let mut tx = self
            .writing_under(lease, "record the beginning of a run", "sync_runs")
            .await?;
        let id = tx
            .number(
                "insert into sync_runs (account_id, kind, resource, started_at) \
                 values ($1, $2, $3, $4) returning id",
                args![lease.account().0, kind.as_str(), subject, now],
            )
            .await?;
        tx.commit().await?;
        Ok(id)
    }

    /// Records how a run ended. For passes and lists the stream's state says so too.
    pub async fn finish_run(
        &self,
        lease: &Lease,
        run: i64,
        outcome: RunOutcome,
        error: Option<&str>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self
            .writing_under(lease, "record the end of a run", "sync_runs")
            .await?;
        let found: Option<(String, String)> = tx
            .row(
                "update sync_runs set outcome = $3, error = $4, finished_at = $5 \
                 where id = $1 and account_id = $2 returning kind, resource",
                args![run, lease.account().0, outcome.as_str(), error, now],
            )
            .await?;
        let (kind, subject) = found.ok_or_else(|| tx.inconsistent("id", "lacks this run"))?;
        let is = |known: RunKind| known.as_str() == kind;
        let shows_freshness = is(RunKind::Incremental) || is(RunKind::List);
        let stated: Vec<(&str, &str)> = match names(&subject) {
            Some(one) if shows_freshness => vec![one],
            // A load is one run for all parts of its resource, and says nothing of their freshness.
            Some((name, _)) if is(RunKind::FirstLoad) && outcome == RunOutcome::Failed => {
                let resource = Resource::from_str(name).into_iter();
                let streams = resource.flat_map(Resource::streams);
                streams.map(|stream| (name, stream.partition)).collect()
            }
            _ => Vec::new(),
        };
        for (resource, partition) in stated {
            match outcome {
                RunOutcome::Succeeded => {
                    tx.execute(
                        "insert into sync_state (account_id, resource, partition, last_success_at) \
                         values ($1, $2, $3, $4) \
                         on conflict (account_id, resource, partition) \
                         do update set last_success_at = excluded.last_success_at, \
                         last_error = null, last_error_at = null",
                        args![lease.account().0, resource, partition, now],
                    )
                    .await?;
                }
                RunOutcome::Failed => {
                    tx.execute(
                        "insert into sync_state \
                         (account_id, resource, partition, last_error, last_error_at) \
                         values ($1, $2, $3, $4, $5) \
                         on conflict (account_id, resource, partition) do update \
                         set last_error = excluded.last_error, \
                         last_error_at = excluded.last_error_at",
                        args![lease.account().0, resource, partition, error, now],
                    )
                    .await?;
                }
                RunOutcome::Stopped | RunOutcome::Interrupted => {}
            }
        }
        tx.commit().await
    }

    /// Forgets runs that no row names: those that found nothing after a week, those that ended in
    /// another way after three months. Yields how many.
    pub async fn forget_idle_runs(&self, lease: &Lease, now: Timestamp) -> Result<u64, StoreError> {
        let mut tx = self
            .writing_under(lease, "forget idle runs", "sync_runs")
            .await?;
        let forgotten = forget_idle(&mut tx, lease.account(), now).await?;
        tx.commit().await?;
        Ok(forgotten)
    }

    /// When open sessions were last read again with success, as of its beginning, or their first load
    /// ended; while it goes on, when that began.
    pub async fn open_refreshed_at(
        &self,
        account: AccountId,
    ) -> Result<Option<Timestamp>, StoreError> {
        let mut tx = self.reading("read the runs", "sync_runs").await?;
        let row: Option<(Option<Time>,)> = tx
            .row(
                "select max(done_at) from ( \
                 select max(started_at) as done_at from sync_runs \
                 where account_id = $1 and kind = $2 and outcome = 'succeeded' union all \
                 select max(coalesce(finished_at, created_at)) from backfills \
                 where account_id = $1 and resource = $3 and first_load) as times",
                args![
                    account.0,
                    RunKind::RefreshOpen.as_str(),
                    Resource::Sessions.name(),
                ],
            )
            .await?;
        tx.end().await;
        Ok(row.and_then(|(at,)| at).map(|Time(at)| at))
    }

    /// When the account was last verified, and how many records were ever found to differ; `None` if
    /// it never was.
    pub async fn verified(
        &self,
        account: AccountId,
    ) -> Result<Option<(Timestamp, u64)>, StoreError> {
        let mut tx = self.reading("read the runs", "sync_runs").await?;
        let row: Option<(Option<Time>, i64)> = tx
            .row(
                "select max(finished_at), cast(coalesce(sum(rows_differing), 0) as bigint) \
                 from sync_runs where account_id = $1 and kind = $2",
                args![account.0, RunKind::Verify.as_str()],
            )
            .await?;
        tx.end().await;
        Ok(row.and_then(|(at, differing)| Some((at?.0, count(differing)))))
    }

    /// The newest runs of an account, newest first.
    pub async fn last_runs(
        &self,
        account: AccountId,
        limit: u32,
    ) -> Result<Vec<RunRecord>, StoreError> {
        let mut tx = self.reading("read the runs", "sync_runs").await?;
        let rows: Vec<StoredRun> = tx
            .rows(
                "select * from sync_runs where account_id = $1 order by id desc limit $2",
                args![account.0, i64::from(limit)],
            )
            .await?;
        tx.end().await;
        Ok(rows.into_iter().map(RunRecord::from).collect())
    }
}

/// Resource and partition of a run's subject: `sessions`, `contacts (ARCHIVED)`.
fn names(subject: &str) -> Option<(&'static str, &str)> {
    let (resource, partition) = match subject.split_once(" (") {
        Some((resource, partition)) => (resource, partition.trim_end_matches(')')),
        None => (subject, ""),
    };
    let resource = Resource::from_str(resource).ok()?;
    Some((resource.name(), partition))
}

/// Forgets runs that no row names: those that found nothing for a week, others for three months.
pub(super) async fn forget_idle(
    tx: &mut Transaction,
    account: AccountId,
    now: Timestamp,
) -> Result<u64, StoreError> {
    tx.execute(
        "delete from sync_runs where account_id = $1 and kind <> 'state' and not touched \
         and outcome is not null \
         and started_at < case when outcome = 'succeeded' then $2 else $3 end",
        args![account.0, now - IDLE_RUNS_KEPT, now - FAILED_RUNS_KEPT],
    )
    .await
}

/// Adds what a commit did to its run; `touched` if any row names the run now.
pub(super) async fn add(
    tx: &mut Transaction,
    stamp: Stamp<'_>,
    counters: Counters,
    touched: bool,
) -> Result<(), StoreError> {
    const COLUMNS: [&str; 9] = [
        "pages",
        "requests",
        "retries",
        "rows_read",
        "rows_inserted",
        "rows_updated",
        "rows_unchanged",
        "rows_rejected",
        "rows_differing",
    ];
    let sets: Vec<String> = COLUMNS
        .iter()
        .zip(3..)
        .map(|(column, number)| format!("{column} = {column} + ${number}"))
        .collect();
    let sql = format!(
        "update sync_runs set {}, touched = touched or $12 where id = $1 and account_id = $2",
        sets.join(", ")
    );
    let changed = tx
        .execute(
            AssertSqlSafe(sql),
            args![
                stamp.run,
                stamp.lease.account().0,
                stored_count(counters.pages),
                stored_count(counters.requests),
                stored_count(counters.retries),
                stored_count(counters.rows_read),
                stored_count(counters.rows_inserted),
                stored_count(counters.rows_updated),
                stored_count(counters.rows_unchanged),
                stored_count(counters.rows_rejected),
                stored_count(counters.rows_differing),
                touched,
            ],
        )
        .await?;
    if changed == 1 {
        Ok(())
    } else {
        Err(StoreError::Inconsistent {
            doing: "add to a run's counters",
            table: "sync_runs",
            column: "id".to_owned(),
            problem: "lacks this run".to_owned(),
        })
    }
}
