//! Records that the platform counts in a window of time but does not show: `gaps`.
//!
//! Every reading of a window finds its gap again, so a gap is one row for the same stream, field and
//! window. It is resolved when the platform shows all records that it counts there.

use super::account::AccountId;
use super::error::StoreError;
use super::open::Store;
use super::run::{count, stored_count};
use super::transaction::{Transaction, record};
use super::upsert::Stamp;
use super::value::{Time, args};
use crate::data::{Gap, OrderField, Span, Stream, Timestamp};

/// A gap as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredGap {
    /// Its id.
    pub id: i64,
    /// The gap.
    pub gap: Gap,
    /// When it was first found.
    pub first_seen_at: Timestamp,
    /// When it was last found.
    pub last_seen_at: Timestamp,
    /// When the last attempt to read it failed.
    pub last_tried_at: Option<Timestamp>,
}

record! {
    #[derive(Debug)]
    struct Stored {
        id: i64,
        resource: String,
        partition: String,
        field: String,
        window_after: Option<Time>,
        window_before: Option<Time>,
        counted: i64,
        shown: i64,
        first_seen_at: Time,
        last_seen_at: Time,
        last_tried_at: Option<Time>,
    }
}

const CREATED: &str = "created";
const UPDATED: &str = "updated";
const INTERACTED: &str = "interacted";

const fn name(field: OrderField) -> &'static str {
    match field {
        OrderField::CreatedAt => CREATED,
        OrderField::UpdatedAt => UPDATED,
        OrderField::LastInteractionAt => INTERACTED,
    }
}

impl Store {
    /// The gaps of an account that are not resolved, oldest first.
    pub async fn open_gaps(&self, account: AccountId) -> Result<Vec<StoredGap>, StoreError> {
        let mut tx = self.reading("read the gaps", "gaps").await?;
        let rows: Vec<Stored> = tx
            .rows(
                "select id, resource, partition, field, window_after, window_before, counted, \
                 shown, first_seen_at, last_seen_at, last_tried_at from gaps \
                 where account_id = $1 and resolved_at is null order by id",
                args![account.0],
            )
            .await?;
        tx.end().await;
        rows.into_iter()
            .map(|row| {
                let stream = Stream::find(&row.resource, &row.partition)
                    .ok_or_else(|| tx.inconsistent("resource", "names no stream"))?;
                let field = match row.field.as_str() {
                    CREATED => OrderField::CreatedAt,
                    UPDATED => OrderField::UpdatedAt,
                    INTERACTED => OrderField::LastInteractionAt,
                    _ => return Err(tx.inconsistent("field", "names no field")),
                };
                let window = Span {
                    after: row.window_after.map(|Time(at)| at),
                    before: row.window_before.map(|Time(at)| at),
                };
                Ok(StoredGap {
                    id: row.id,
                    gap: Gap {
                        stream,
                        field,
                        window,
                        counted: count(row.counted),
                        shown: count(row.shown),
                    },
                    first_seen_at: row.first_seen_at.0,
                    last_seen_at: row.last_seen_at.0,
                    last_tried_at: row.last_tried_at.map(|Time(at)| at),
                })
            })
            .collect()
    }
}

/// Stores a gap, or that it was found again.
pub(super) async fn store(
    tx: &mut Transaction,
    gap: &Gap,
    stamp: Stamp<'_>,
) -> Result<(), StoreError> {
    let account = stamp.lease.account().0;
    let (resource, partition) = (gap.stream.resource.name(), gap.stream.partition.as_str());
    let found = tx
        .execute(
            "update gaps set counted = $7, shown = $8, last_seen_at = $9, run_id = $10 \
             where account_id = $1 and resolved_at is null and resource = $2 and partition = $3 \
             and field = $4 and window_after is not distinct from $5 \
             and window_before is not distinct from $6",
            args![
                account,
                resource,
                partition,
                name(gap.field),
                gap.window.after,
                gap.window.before,
                stored_count(gap.counted),
                stored_count(gap.shown),
                stamp.now,
                stamp.run,
            ],
        )
        .await?;
    if found == 0 {
        tx.execute(
            "insert into gaps (account_id, resource, partition, field, window_after, \
             window_before, counted, shown, first_seen_at, last_seen_at, run_id) \
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, $10)",
            args![
                account,
                resource,
                partition,
                name(gap.field),
                gap.window.after,
                gap.window.before,
                stored_count(gap.counted),
                stored_count(gap.shown),
                stamp.now,
                stamp.run,
            ],
        )
        .await?;
    }
    Ok(())
}

/// Stores that an attempt to read a gap again failed.
pub(super) async fn tried(
    tx: &mut Transaction,
    gap: i64,
    stamp: Stamp<'_>,
) -> Result<(), StoreError> {
    tx.execute(
        "update gaps set last_tried_at = $3 where id = $1 and account_id = $2",
        args![gap, stamp.lease.account().0, stamp.now],
    )
    .await?;
    Ok(())
}

/// Resolves a gap.
pub(super) async fn close(
    tx: &mut Transaction,
    gap: i64,
    stamp: Stamp<'_>,
) -> Result<(), StoreError> {
    tx.execute(
        "update gaps set resolved_at = $3 where id = $1 and account_id = $2",
        args![gap, stamp.lease.account().0, stamp.now],
    )
    .await?;
    Ok(())
}
