//! The log of runs: `sync_runs`.

use std::time::Duration;

use sqlx::AssertSqlSafe;

use super::account::AccountId;
use super::error::StoreError;
use super::lease::Lease;
use super::open::Store;
use super::transaction::{Transaction, record};
use super::upsert::Stamp;
use super::value::{Time, args};
use crate::data::{Counters, Resource, RunKind, RunOutcome, Stream, Timestamp};

/// How long successful runs that found nothing are kept.
const IDLE_RUNS_KEPT: Duration = Duration::from_hours(7 * 24);

/// How long other runs that stored nothing are kept.
const FAILED_RUNS_KEPT: Duration = Duration::from_hours(90 * 24);

/// The maximum number of runs that one transaction deletes.
const FORGOTTEN_AT_ONCE: u64 = 5_000;

/// A run as recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRecord {
    /// Its id, found as `run_id` in the rows that it changed.
    pub id: i64,
    /// See [`RunKind::as_str`].
    pub kind: String,
    /// The resource.
    pub resource: String,
    /// The partition that was read. Empty for the whole resource.
    pub partition: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended; `None` while it runs.
    pub finished_at: Option<Timestamp>,
    /// See [`RunOutcome::as_str`]; `None` while it runs.
    pub outcome: Option<String>,
    /// Its counters.
    pub counters: Counters,
    /// The stream's watermark before its first commit that moved it.
    pub watermark_before: Option<Timestamp>,
    /// The stream's watermark after its last commit that moved it.
    pub watermark_after: Option<Timestamp>,
    /// Why it failed.
    pub error: Option<String>,
}

record! {
    #[derive(Debug)]
    struct StoredRun {
        id: i64,
        kind: String,
        resource: String,
        partition: String,
        started_at: Time,
        finished_at: Option<Time>,
        outcome: Option<String>,
        pages: i64,
        requests: i64,
        retries: i64,
        rows_read: i64,
        rows_inserted: i64,
        rows_updated: i64,
        rows_reverted: i64,
        rows_unchanged: i64,
        rows_rejected: i64,
        rows_differing: i64,
        watermark_before: Option<Time>,
        watermark_after: Option<Time>,
        error: Option<String>,
    }
}

/// The verifications of a stream, or of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedStream {
    /// The resource's name.
    pub resource: String,
    /// The stream's partition; empty if it has none.
    pub partition: String,
    /// Since when it can be verified: its first load has ended, or it was first read. `None` if it is still being
    /// loaded. Later than that if the runs of that time are not kept any more.
    pub can_be_since: Option<Timestamp>,
    /// When its last successful verification ended.
    pub verified_at: Option<Timestamp>,
    /// The differences that its verifications found.
    pub differing: u64,
}

record! {
    #[derive(Debug)]
    struct Verifications {
        resource: String,
        partition: String,
        began_at: Time,
        verified_at: Option<Time>,
        differing: i64,
    }
}

/// A count as stored. A larger one is cut off.
pub(super) fn stored_count(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Longer than most runs: loads and verifications are recorded in portions.
const RUNS_LAST: Duration = Duration::from_mins(10);

/// More requests of one run say nothing more.
const MOST_REQUESTS: u64 = 10_000;

/// A count from the database. It is never negative.
pub(super) fn count(stored: i64) -> u64 {
    u64::try_from(stored).unwrap_or(0)
}

impl From<StoredRun> for RunRecord {
    fn from(run: StoredRun) -> Self {
        Self {
            id: run.id,
            kind: run.kind,
            resource: run.resource,
            partition: run.partition,
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
                rows_reverted: count(run.rows_reverted),
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
    /// Stores that a run of a stream or resource begins. If the end of an earlier run could not be
    /// stored because the database was away, that run is marked as interrupted: no other process
    /// writes for the account.
    pub async fn begin_run(
        &self,
        lease: &Lease,
        kind: RunKind,
        stream: Stream,
        now: Timestamp,
    ) -> Result<i64, StoreError> {
        let mut tx = self
            .writing_under(lease, "record the beginning of a run", "sync_runs")
            .await?;
        interrupt_unfinished(&mut tx, lease.account(), now).await?;
        let id = tx
            .number(
                "insert into sync_runs (account_id, kind, resource, partition, started_at) \
                 values ($1, $2, $3, $4, $5) returning id",
                args![
                    lease.account().0,
                    kind.as_str(),
                    stream.resource.name(),
                    stream.partition.as_str(),
                    now,
                ],
            )
            .await?;
        tx.commit().await?;
        Ok(id)
    }

    /// Stores how a run ended. For incremental runs and lists, also in the stream's state.
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
        let found: Option<(String, String, String)> = tx
            .row(
                "update sync_runs set outcome = $3, error = $4, finished_at = $5 \
                 where id = $1 and account_id = $2 returning kind, resource, partition",
                args![run, lease.account().0, outcome.as_str(), error, now],
            )
            .await?;
        let (kind, resource, partition) =
            found.ok_or_else(|| tx.inconsistent("id", "does not have this run"))?;
        let is = |known: RunKind| known.as_str() == kind;
        let shows_freshness = is(RunKind::Incremental) || is(RunKind::List);
        let stated: Vec<String> = match resource.parse::<Resource>() {
            Ok(_) if shows_freshness => vec![partition],
            // A load is one run for all parts of its resource, and says nothing of their freshness.
            Ok(known) if is(RunKind::FirstLoad) && outcome == RunOutcome::Failed => {
                let streams = known.streams().into_iter();
                streams.map(|stream| stream.partition.to_string()).collect()
            }
            _ => Vec::new(),
        };
        for partition in &stated {
            let (resource, partition) = (resource.as_str(), partition.as_str());
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

    /// Deletes runs that no row refers to (those that found nothing after a week, others after
    /// three months) and all that are older than `keep`. Keeps those that found differences,
    /// changes by operators, and the newest of each kind. Returns how many were deleted. Writes
    /// nothing if there is none.
    pub async fn forget_runs(
        &self,
        lease: &Lease,
        now: Timestamp,
        keep: Duration,
    ) -> Result<u64, StoreError> {
        let account = lease.account();
        let mut tx = self.reading("look for old runs", "sync_runs").await?;
        let oldest: Option<(Option<Time>,)> = tx
            .row(
                "select min(started_at) from sync_runs where account_id = $1",
                args![account.0],
            )
            .await?;
        tx.end().await;
        let oldest = oldest.and_then(|(at,)| at).map(|Time(at)| at);
        if oldest.is_none_or(|at| at >= now - keep.min(IDLE_RUNS_KEPT)) {
            return Ok(0);
        }
        let mut forgotten = 0;
        // In portions: what writes for other accounts of a SQLite file waits between two of them
        // alone.
        for what in [Forgotten::Idle, Forgotten::Old(keep)] {
            loop {
                let mut tx = self
                    .writing_under(lease, "delete old runs", "sync_runs")
                    .await?;
                let portion = forget(&mut tx, account, what, now).await?;
                tx.commit().await?;
                forgotten += portion;
                if portion < FORGOTTEN_AT_ONCE {
                    break;
                }
            }
        }
        Ok(forgotten)
    }

    /// When the last successful refresh of open sessions began, or when their first load ended;
    /// during the first load, when it began.
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

    /// When the last successful verification of the account ended, and how many differences all
    /// verifications found. `None` if there was none.
    pub async fn verified(
        &self,
        account: AccountId,
    ) -> Result<Option<(Timestamp, u64)>, StoreError> {
        let mut tx = self.reading("read the runs", "sync_runs").await?;
        let row: Option<(Option<Time>, i64)> = tx
            .row(
                "select max(case when outcome = 'succeeded' then finished_at end), \
                 cast(coalesce(sum(rows_differing), 0) as bigint) \
                 from sync_runs where account_id = $1 and kind = $2",
                args![account.0, RunKind::Verify.as_str()],
            )
            .await?;
        tx.end().await;
        Ok(row.and_then(|(at, differing)| Some((at?.0, count(differing)))))
    }

    /// The verifications of each stream and list that was ever read, by name.
    pub async fn verifications(
        &self,
        account: AccountId,
    ) -> Result<Vec<VerifiedStream>, StoreError> {
        let mut tx = self.reading("read the runs", "sync_runs").await?;
        let rows: Vec<Verifications> = tx
            .rows(
                "select resource, partition, min(started_at) as began_at, \
                 max(case when kind = $2 and outcome = 'succeeded' then finished_at end) as verified_at, \
                 cast(coalesce(sum(case when kind = $2 then rows_differing end), 0) as bigint) as differing \
                 from sync_runs where account_id = $1 group by resource, partition \
                 order by resource, partition",
                args![account.0, RunKind::Verify.as_str()],
            )
            .await?;
        let loads: Vec<(String, Option<Time>)> = tx
            .rows(
                "select resource, finished_at from backfills \
                 where account_id = $1 and first_load and cancelled_at is null order by id",
                args![account.0],
            )
            .await?;
        tx.end().await;
        let verified = rows.into_iter().map(|row| {
            let mut its = loads.iter().filter(|load| load.0 == row.resource);
            let can_be_since = match its.next_back() {
                // Nothing of it is compared before it is loaded.
                Some((_, ended)) => ended.as_ref().map(|ended| ended.0.max(row.began_at.0)),
                None => Some(row.began_at.0),
            };
            VerifiedStream {
                resource: row.resource,
                partition: row.partition,
                can_be_since,
                verified_at: row.verified_at.map(|Time(at)| at),
                differing: count(row.differing),
            }
        });
        Ok(verified.collect())
    }

    /// When each request of the account's runs was sent since an instant, estimated: the requests of a run
    /// are spread evenly over its time. Needs no write of its own, since runs count their requests.
    pub async fn requests_since(
        &self,
        account: AccountId,
        since: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<Timestamp>, StoreError> {
        let mut tx = self.reading("read the runs", "sync_runs").await?;
        let rows: Vec<(Time, Option<Time>, i64)> = tx
            .rows(
                "select started_at, finished_at, requests from sync_runs \
                 where account_id = $1 and started_at >= $2 and requests > 0 order by id",
                // A run of that time may have begun before.
                args![account.0, since - RUNS_LAST],
            )
            .await?;
        tx.end().await;
        let mut sent = Vec::new();
        for (Time(started), finished, requests) in rows {
            let ended = finished.map_or(now, |Time(at)| at).min(now);
            let requests = count(requests).min(MOST_REQUESTS);
            let step = ended.since(started) / u32::try_from(requests).unwrap_or(u32::MAX).max(1);
            let mut at = ended;
            for _ in 0..requests {
                if at < since {
                    break;
                }
                sent.push(at);
                at = at - step;
            }
        }
        Ok(sent)
    }

    /// The newest runs of an account, newest first. Without those that the platform rang for, which are many
    /// and short.
    pub async fn last_runs(
        &self,
        account: AccountId,
        limit: u32,
    ) -> Result<Vec<RunRecord>, StoreError> {
        let mut tx = self.reading("read the runs", "sync_runs").await?;
        let rows: Vec<StoredRun> = tx
            .rows(
                "select * from sync_runs where account_id = $1 and kind <> $3 \
                 order by id desc limit $2",
                args![account.0, i64::from(limit), RunKind::Ring.as_str()],
            )
            .await?;
        tx.end().await;
        Ok(rows.into_iter().map(RunRecord::from).collect())
    }
}

/// Marks unfinished runs as interrupted.
pub(super) async fn interrupt_unfinished(
    tx: &mut Transaction,
    account: AccountId,
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.execute(
        "update sync_runs set outcome = 'interrupted', finished_at = $2 \
         where account_id = $1 and outcome is null",
        args![account.0, now],
    )
    .await?;
    Ok(())
}

/// Which runs to delete.
#[derive(Debug, Clone, Copy)]
enum Forgotten {
    /// Runs that no row refers to: those that found nothing after a week, others after three months. Keeps the
    /// newest verifications of each stream.
    Idle,
    /// All older runs, except those that found differences, changes by operators, and the newest of
    /// each kind.
    Old(Duration),
}

/// Deletes at most [`FORGOTTEN_AT_ONCE`] runs. Returns how many.
async fn forget(
    tx: &mut Transaction,
    account: AccountId,
    what: Forgotten,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let (condition, before, failed_before) = match what {
        Forgotten::Idle => (
            // When a stream was last verified is known for longer than that.
            "not touched and started_at < case when outcome = 'succeeded' then $2 else $3 end \
             and (kind <> 'verify' or id not in (select max(id) from sync_runs \
             where account_id = $1 and kind = 'verify' group by resource, partition, outcome))",
            now - IDLE_RUNS_KEPT,
            now - FAILED_RUNS_KEPT,
        ),
        Forgotten::Old(keep) => (
            "started_at < $2 and started_at < $3 and rows_differing = 0 \
             and id not in (select max(id) from sync_runs \
             where account_id = $1 group by kind, resource, partition, outcome)",
            now - keep,
            now - keep,
        ),
    };
    let sql = format!(
        "delete from sync_runs where id in (select id from sync_runs where account_id = $1 \
         and kind <> 'state' and outcome is not null and {condition} \
         order by id limit {FORGOTTEN_AT_ONCE})"
    );
    let args = args![account.0, before, failed_before];
    tx.execute(AssertSqlSafe(sql), args).await
}

/// Adds the counters of a commit to its run. `touched` says whether any row refers to the run now.
pub(super) async fn add(
    tx: &mut Transaction,
    stamp: Stamp<'_>,
    counters: Counters,
    touched: bool,
) -> Result<(), StoreError> {
    const COLUMNS: [&str; 10] = [
        "pages",
        "requests",
        "retries",
        "rows_read",
        "rows_inserted",
        "rows_updated",
        "rows_reverted",
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
        "update sync_runs set {}, touched = touched or $13 where id = $1 and account_id = $2",
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
                stored_count(counters.rows_reverted),
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
            problem: "does not have this run".to_owned(),
        })
    }
}
