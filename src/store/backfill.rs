//! Backfills and their windows: which parts of a requested range are still to be read.

use std::time::Duration;

use sqlx::AssertSqlSafe;
use sqlx::types::Json;

use super::account::{self, AccountId};
use super::error::StoreError;
use super::lease::Lease;
use super::open::Store;
use super::run::{count, stored_count};
use super::transaction::{Transaction, record};
use super::value::{Time, args};
use crate::data::{
    BackfillWindow, Learned, Resource, RunKind, SessionFilter, Span, Stream, Timestamp,
};

/// A backfill to be recorded.
#[derive(Debug, Clone)]
pub struct NewBackfill {
    /// What it reads.
    pub resource: Resource,
    /// Whether it is the first load of an empty database.
    pub first_load: bool,
    /// Whether only the command `backfill` resumes it. Syncs resume all others.
    pub on_request: bool,
    /// How many records it has to read, if the platform counted them.
    pub records: Option<u64>,
    /// The requested range of creation times.
    pub range: Span,
    /// The filters. Each window belongs to one of them.
    pub filters: Vec<SessionFilter>,
    /// The windows, with the index of their filter.
    pub windows: Vec<(Stream, Span, usize)>,
    /// For a first load: where the incremental passes of the resource's streams will begin.
    pub watermarks: Vec<FirstWatermark>,
}

/// Where the incremental passes of a stream begin when its first load starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirstWatermark {
    /// Which stream.
    pub stream: Stream,
    /// The newest change that the platform showed.
    pub to: Timestamp,
    /// Server time of the answer that showed it.
    pub seen_at: Timestamp,
}

/// A backfill that is neither finished nor cancelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backfill {
    /// Its id.
    pub id: i64,
    /// What it reads.
    pub resource: Resource,
    /// Whether it is the first load of an empty database.
    pub first_load: bool,
    /// See [`NewBackfill::on_request`].
    pub on_request: bool,
    /// See [`NewBackfill::records`].
    pub records: Option<u64>,
    /// The requested range of creation times.
    pub range: Span,
    /// The filters.
    pub filters: Vec<SessionFilter>,
    /// When it was planned.
    pub created_at: Timestamp,
    /// Windows read.
    pub windows_done: u64,
    /// Windows still to be read.
    pub windows_left: u64,
    /// Records in the windows read.
    pub rows_done: u64,
}

record! {
    #[derive(Debug)]
    struct StoredBackfill {
        id: i64,
        resource: String,
        first_load: bool,
        on_request: bool,
        records: Option<i64>,
        range_after: Option<Time>,
        range_before: Option<Time>,
        filters: Json<Vec<SessionFilter>>,
        created_at: Time,
        windows_done: i64,
        windows_left: i64,
        rows_done: i64,
    }
}

record! {
    #[derive(Debug)]
    struct StoredWindow {
        id: i64,
        resource: String,
        partition: String,
        created_after: Option<Time>,
        created_before: Option<Time>,
        filter_index: i64,
    }
}

/// From so many of the last runs the pace of a load is known.
const RECENT_RUNS: i64 = 5;

/// The condition of an unfinished backfill.
const UNFINISHED: &str = "finished_at is null and cancelled_at is null";

fn span(after: Option<Time>, before: Option<Time>) -> Span {
    Span {
        after: after.map(|Time(at)| at),
        before: before.map(|Time(at)| at),
    }
}

impl Store {
    /// Stores a backfill with its windows, and cancels unfinished ones with the same range and filters, if
    /// the same commands resume them or nothing relies on them. For a first load, also sets the watermarks of the
    /// resource's streams that have none. All of that is one transaction.
    pub async fn create_backfill(
        &self,
        lease: &Lease,
        new: &NewBackfill,
        now: Timestamp,
    ) -> Result<i64, StoreError> {
        let mut tx = self
            .writing_under(lease, "record a backfill", "backfills")
            .await?;
        let id = self.record_backfill(&mut tx, lease, new, now).await?;
        tx.commit().await?;
        Ok(id)
    }

    /// The same for a backfill that something learned about the platform makes necessary. Stores
    /// what was learned in the same transaction.
    pub async fn create_backfill_having_learned(
        &self,
        lease: &Lease,
        new: &NewBackfill,
        learned: &Learned,
        now: Timestamp,
    ) -> Result<i64, StoreError> {
        let mut tx = self
            .writing_under(lease, "record a backfill", "backfills")
            .await?;
        let id = self.record_backfill(&mut tx, lease, new, now).await?;
        account::remember(&mut tx, lease, learned).await?;
        tx.commit().await?;
        Ok(id)
    }

    async fn record_backfill(
        &self,
        tx: &mut Transaction,
        lease: &Lease,
        new: &NewBackfill,
        now: Timestamp,
    ) -> Result<i64, StoreError> {
        let account = lease.account().0;
        let filters = serde_json::to_string(&new.filters)
            .map_err(|error| tx.inconsistent("filters", &error.to_string()))?;
        let json = match self {
            Self::Sqlite(_) => "$6",
            Self::Postgres(_) => "$6::jsonb",
        };
        let asked = || {
            args![
                account,
                new.resource.name(),
                new.first_load,
                new.range.after,
                new.range.before,
                filters.as_str(),
                now,
                new.on_request,
            ]
        };
        // An earlier version did not store what was on request. A sync relies on what reads everything.
        let same = if new.on_request && !is_whole(new.range, &new.filters) {
            "(on_request = $8 or not on_request)"
        } else {
            "on_request = $8"
        };
        let give_up = format!(
            "update backfills set cancelled_at = $7 where account_id = $1 and resource = $2 \
             and first_load = $3 and range_after is not distinct from $4 \
             and range_before is not distinct from $5 and filters = {json} \
             and {same} and {UNFINISHED}"
        );
        tx.execute(AssertSqlSafe(give_up), asked()).await?;
        let record = format!(
            "insert into backfills (account_id, resource, first_load, range_after, range_before, \
             filters, created_at, on_request, records) \
             values ($1, $2, $3, $4, $5, {json}, $7, $8, $9) returning id"
        );
        let mut recorded = asked();
        recorded.extend(args![new.records.map(stored_count)]);
        let id = tx.number(AssertSqlSafe(record), recorded).await?;
        for (stream, created, filter) in &new.windows {
            tx.execute(
                "insert into backfill_windows (backfill_id, account_id, resource, partition, \
                 created_after, created_before, filter_index) values ($1, $2, $3, $4, $5, $6, $7)",
                args![
                    id,
                    account,
                    stream.resource.name(),
                    stream.partition.as_str(),
                    created.after,
                    created.before,
                    i64::try_from(*filter).unwrap_or(i64::MAX),
                ],
            )
            .await?;
        }
        for FirstWatermark {
            stream,
            to,
            seen_at,
        } in &new.watermarks
        {
            tx.execute(
                "insert into sync_state (account_id, resource, partition, watermark, \
                 watermark_seen_at, watermark_seen_locally_at) values ($1, $2, $3, $4, $5, $6) \
                 on conflict (account_id, resource, partition) \
                 do update set watermark = excluded.watermark, \
                 watermark_seen_at = excluded.watermark_seen_at, \
                 watermark_seen_locally_at = excluded.watermark_seen_locally_at \
                 where sync_state.watermark is null",
                args![
                    account,
                    stream.resource.name(),
                    stream.partition.as_str(),
                    *to,
                    *seen_at,
                    now,
                ],
            )
            .await?;
        }
        Ok(id)
    }

    /// The backfills of an account that are neither finished nor cancelled, oldest first.
    pub async fn unfinished_backfills(
        &self,
        account: AccountId,
    ) -> Result<Vec<Backfill>, StoreError> {
        let mut tx = self.reading("read the backfills", "backfills").await?;
        let rows: Vec<StoredBackfill> = tx
            .rows(
                "select b.id, b.resource, b.first_load, b.on_request, b.records, b.range_after, b.range_before, b.filters, \
                 b.created_at, \
                 count(case when w.done_at is not null then 1 end) as windows_done, \
                 count(case when w.id is not null and w.done_at is null and w.split_at is null \
                 then 1 end) as windows_left, \
                 cast(coalesce(sum(w.records), 0) as bigint) as rows_done \
                 from backfills b left join backfill_windows w on w.backfill_id = b.id \
                 where b.account_id = $1 and b.finished_at is null and b.cancelled_at is null \
                 group by b.id order by b.id",
                args![account.0],
            )
            .await?;
        tx.end().await;
        rows.into_iter()
            .map(|row| {
                let resource = row
                    .resource
                    .parse()
                    .map_err(|_| tx.inconsistent("resource", "names no resource"))?;
                Ok(Backfill {
                    id: row.id,
                    resource,
                    first_load: row.first_load,
                    on_request: row.on_request,
                    records: row.records.map(count),
                    range: span(row.range_after, row.range_before),
                    filters: row.filters.0,
                    created_at: row.created_at.0,
                    windows_done: count(row.windows_done),
                    windows_left: count(row.windows_left),
                    rows_done: count(row.rows_done),
                })
            })
            .collect()
    }

    /// How many records the last runs of a load or backfill read, and how long they took: its pace.
    /// `None` while none has read a record.
    pub async fn load_pace(
        &self,
        account: AccountId,
        backfill: &Backfill,
        now: Timestamp,
    ) -> Result<Option<(u64, Duration)>, StoreError> {
        let kind = if backfill.first_load {
            RunKind::FirstLoad
        } else {
            RunKind::Backfill
        };
        let mut tx = self.reading("read the runs", "sync_runs").await?;
        let rows: Vec<(Time, Option<Time>, i64)> = tx
            .rows(
                "select started_at, finished_at, rows_read from sync_runs \
                 where account_id = $1 and kind = $2 and resource = $3 and started_at >= $4 \
                 order by id desc limit $5",
                args![
                    account.0,
                    kind.as_str(),
                    backfill.resource.name(),
                    backfill.created_at,
                    RECENT_RUNS,
                ],
            )
            .await?;
        tx.end().await;
        let mut pace = (0, Duration::ZERO);
        for (Time(started), finished, rows) in rows {
            let ended = finished.map_or(now, |Time(at)| at);
            pace.0 += count(rows);
            pace.1 += ended.since(started);
        }
        Ok((pace.0 > 0 && !pace.1.is_zero()).then_some(pace))
    }

    /// The windows of a backfill that are still to be read, newest first. None if it was cancelled.
    pub async fn pending_windows(&self, backfill: i64) -> Result<Vec<BackfillWindow>, StoreError> {
        let mut tx = self
            .reading("read the windows of a backfill", "backfill_windows")
            .await?;
        let rows: Vec<StoredWindow> = tx
            .rows(
                "select id, resource, partition, created_after, created_before, filter_index \
                 from backfill_windows \
                 where backfill_id = $1 and done_at is null and split_at is null and exists \
                 (select 1 from backfills where id = $1 and cancelled_at is null) \
                 order by case when created_before is null then 0 else 1 end, \
                 created_before desc, id",
                args![backfill],
            )
            .await?;
        tx.end().await;
        rows.into_iter()
            .map(|row| {
                let stream = Stream::find(&row.resource, &row.partition)
                    .ok_or_else(|| tx.inconsistent("resource", "names no stream"))?;
                let filter = usize::try_from(row.filter_index)
                    .map_err(|_| tx.inconsistent("filter_index", "is negative"))?;
                Ok(BackfillWindow {
                    id: row.id,
                    stream,
                    created: span(row.created_after, row.created_before),
                    filter,
                })
            })
            .collect()
    }

    /// Cancels unfinished backfills of an account. Rows that they stored stay. Needs no lease: a process
    /// that reads one of them finds no window of it any more. Returns how many were unfinished.
    pub async fn cancel_backfills(
        &self,
        account: AccountId,
        backfills: &[i64],
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let mut tx = self.writing("cancel a backfill", "backfills").await?;
        let sql = format!(
            "update backfills set cancelled_at = $3 \
             where id = $1 and account_id = $2 and {UNFINISHED}"
        );
        let mut cancelled = 0;
        for id in backfills {
            let args = args![*id, account.0, now];
            cancelled += tx.execute(AssertSqlSafe(sql.clone()), args).await?;
        }
        tx.commit().await?;
        Ok(cancelled)
    }

    /// Whether a backfill was cancelled.
    pub async fn is_cancelled(&self, backfill: i64) -> Result<bool, StoreError> {
        let mut tx = self.reading("read a backfill", "backfills").await?;
        let sql = "select count(*) from backfills where id = $1 and cancelled_at is not null";
        let cancelled = tx.number(sql, args![backfill]).await? > 0;
        tx.end().await;
        Ok(cancelled)
    }

    /// Stores that a backfill is finished, unless it was cancelled.
    pub async fn finish_backfill(
        &self,
        lease: &Lease,
        backfill: i64,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self
            .writing_under(lease, "finish a backfill", "backfills")
            .await?;
        let sql = format!(
            "update backfills set finished_at = $3 \
             where id = $1 and account_id = $2 and {UNFINISHED}"
        );
        let args = args![backfill, lease.account().0, now];
        tx.execute(AssertSqlSafe(sql), args).await?;
        tx.commit().await
    }
}

impl Backfill {
    /// Whether it reads everything of its resource, so that a sync may rely on it.
    pub fn is_whole(&self) -> bool {
        is_whole(self.range, &self.filters)
    }

    /// Whether an operator may cancel it. A first load may not, and neither may a load of everything that
    /// a sync planned: until it is done, rows may be missing.
    pub fn is_cancellable(&self) -> bool {
        self.on_request || !self.first_load && !self.is_whole()
    }
}

fn is_whole(range: Span, filters: &[SessionFilter]) -> bool {
    range == Span::OPEN && filters.iter().all(SessionFilter::is_empty)
}

/// Cancels unfinished first loads of a resource. Rows that they stored stay. Returns whether there
/// was one.
pub(super) async fn give_up_first_loads(
    tx: &mut Transaction,
    lease: &Lease,
    resource: Resource,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let sql = format!(
        "update backfills set cancelled_at = $3 \
         where account_id = $1 and resource = $2 and first_load and {UNFINISHED}"
    );
    let args = args![lease.account().0, resource.name(), now];
    Ok(tx.execute(AssertSqlSafe(sql), args).await? > 0)
}
