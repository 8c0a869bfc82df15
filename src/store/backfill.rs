//! Backfills and their windows: what is still to be read of a range that was asked for once.

use sqlx::FromRow;
use sqlx::types::Json;

use super::account::AccountId;
use super::error::StoreError;
use super::lease::Lease;
use super::open::Store;
use super::run::count;
use super::value::{Time, args};
use crate::data::{BackfillWindow, Resource, SessionFilter, Span, Stream, Timestamp};

/// A backfill to be recorded.
#[derive(Debug, Clone)]
pub struct NewBackfill {
    /// What it reads.
    pub resource: Resource,
    /// Whether it is the first load of an empty database.
    pub first_load: bool,
    /// The range of creation times asked for.
    pub range: Span,
    /// The questions; a window is a window of one of them.
    pub filters: Vec<SessionFilter>,
    /// The windows, with the index of their question.
    pub windows: Vec<(Stream, Span, usize)>,
    /// For a first load: where the incremental passes of the resource's streams will begin, the
    /// server's time now.
    pub watermark: Option<Timestamp>,
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
    /// The range of creation times asked for.
    pub range: Span,
    /// The questions.
    pub filters: Vec<SessionFilter>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Windows read.
    pub windows_done: u64,
    /// Windows still to be read.
    pub windows_left: u64,
    /// Records in the windows read.
    pub rows_done: u64,
}

#[derive(Debug, FromRow)]
struct StoredBackfill {
    id: i64,
    resource: String,
    first_load: bool,
    range_after: Option<Time>,
    range_before: Option<Time>,
    filters: Json<Vec<SessionFilter>>,
    created_at: Time,
    windows_done: i64,
    windows_left: i64,
    rows_done: i64,
}

#[derive(Debug, FromRow)]
struct StoredWindow {
    id: i64,
    resource: String,
    partition: String,
    created_after: Option<Time>,
    created_before: Option<Time>,
    filter_index: i64,
}

fn span(after: Option<Time>, before: Option<Time>) -> Span {
    Span {
        after: after.map(|Time(at)| at),
        before: before.map(|Time(at)| at),
    }
}

impl Store {
    /// Records a backfill with its windows. For a first load the watermarks of the resource's
    /// streams are set in the same transaction, where they have none.
    pub async fn create_backfill(
        &self,
        lease: &Lease,
        new: &NewBackfill,
        now: Timestamp,
    ) -> Result<i64, StoreError> {
        let mut tx = self
            .writing_under(lease, "record a backfill", "backfills")
            .await?;
        let account = lease.account().0;
        let filters = serde_json::to_string(&new.filters)
            .map_err(|error| tx.inconsistent("filters", &error.to_string()))?;
        let filters_cast = match self {
            Self::Sqlite(_) => {
                "insert into backfills (account_id, resource, first_load, range_after, \
                 range_before, filters, created_at) values ($1, $2, $3, $4, $5, $6, $7) returning id"
            }
            Self::Postgres(_) => {
                "insert into backfills (account_id, resource, first_load, range_after, \
                 range_before, filters, created_at) values ($1, $2, $3, $4, $5, $6::jsonb, $7) \
                 returning id"
            }
        };
        let id = tx
            .number(
                filters_cast,
                args![
                    account,
                    new.resource.name(),
                    new.first_load,
                    new.range.after,
                    new.range.before,
                    filters,
                    now,
                ],
            )
            .await?;
        for (stream, created, filter) in &new.windows {
            tx.execute(
                "insert into backfill_windows (backfill_id, account_id, resource, partition, \
                 created_after, created_before, filter_index) values ($1, $2, $3, $4, $5, $6, $7)",
                args![
                    id,
                    account,
                    stream.resource.name(),
                    stream.partition,
                    created.after,
                    created.before,
                    i64::try_from(*filter).unwrap_or(i64::MAX),
                ],
            )
            .await?;
        }
        if let Some(watermark) = new.watermark {
            for stream in new.resource.streams() {
                tx.execute(
                    "insert into sync_state (account_id, resource, partition, watermark) \
                     values ($1, $2, $3, $4) on conflict (account_id, resource, partition) \
                     do update set watermark = excluded.watermark \
                     where sync_state.watermark is null",
                    args![account, stream.resource.name(), stream.partition, watermark],
                )
                .await?;
            }
        }
        tx.commit().await?;
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
                "select b.id, b.resource, b.first_load, b.range_after, b.range_before, b.filters, \
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

    /// The windows of a backfill that are still to be read, newest first.
    pub async fn pending_windows(&self, backfill: i64) -> Result<Vec<BackfillWindow>, StoreError> {
        let mut tx = self
            .reading("read the windows of a backfill", "backfill_windows")
            .await?;
        let rows: Vec<StoredWindow> = tx
            .rows(
                "select id, resource, partition, created_after, created_before, filter_index \
                 from backfill_windows \
                 where backfill_id = $1 and done_at is null and split_at is null \
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

    /// Records that a backfill has no window left.
    pub async fn finish_backfill(
        &self,
        lease: &Lease,
        backfill: i64,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self
            .writing_under(lease, "finish a backfill", "backfills")
            .await?;
        tx.execute(
            "update backfills set finished_at = $3 where id = $1 and account_id = $2 \
             and finished_at is null and cancelled_at is null",
            args![backfill, lease.account().0, now],
        )
        .await?;
        tx.commit().await
    }

    /// Gives a backfill up; what it stored stays.
    pub async fn cancel_backfill(
        &self,
        lease: &Lease,
        backfill: i64,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self
            .writing_under(lease, "cancel a backfill", "backfills")
            .await?;
        tx.execute(
            "update backfills set cancelled_at = $3 where id = $1 and account_id = $2 \
             and finished_at is null and cancelled_at is null",
            args![backfill, lease.account().0, now],
        )
        .await?;
        tx.commit().await
    }
}
