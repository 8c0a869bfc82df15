//! What a commit proves besides its rows: watermarks, lists read whole, windows done.

use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::error::StoreError;
use super::parameter;
use super::reject;
use super::run::stored_count;
use super::state::stored_watermark;
use super::transaction::{Statement, Transaction};
use super::upsert::{CONTENT_HASH, Stamp};
use super::value::args;
use crate::data::{Counters, Progress, Resource, Span, Stream, Timestamp};

/// The name of a resource's key column.
pub(super) const fn key_of(resource: Resource) -> &'static str {
    match resource {
        Resource::Agents => "user_id",
        _ => "id",
    }
}

/// Records one proof. Yields the rows that it changed, if it is a change of rows that counts.
pub(super) async fn record(
    tx: &mut Transaction,
    progress: &Progress,
    stamp: Stamp<'_>,
) -> Result<Counters, StoreError> {
    let mut counters = Counters::default();
    match progress {
        Progress::Watermark { stream, to } => watermark(tx, *stream, *to, stamp).await?,
        Progress::PassDone {
            stream,
            server_time,
        } => pass_done(tx, *stream, *server_time, stamp).await?,
        Progress::ListRead { resource, keys } => {
            counters.rows_updated += list_read(tx, *resource, keys, stamp).await?;
        }
        // The rows that come with it are written after it is said, so that has been done.
        Progress::Differing { keys, .. } => counters.rows_differing += keys.len() as u64,
        Progress::Gone { resource, keys } => {
            counters.rows_updated += gone(tx, *resource, keys, stamp).await?;
        }
        Progress::WindowDone { window, records } => {
            let done = tx
                .execute(
                    "update backfill_windows set done_at = $3, records = $4 \
                     where id = $1 and account_id = $2 and split_at is null",
                    args![
                        *window,
                        stamp.lease.account().0,
                        stamp.now,
                        stored_count(*records),
                    ],
                )
                .await?;
            require_window(done)?;
        }
        Progress::WindowSplit { window, into } => split(tx, *window, into, stamp).await?,
        Progress::WindowsJoined { window } => join(tx, *window, stamp).await?,
    }
    Ok(counters)
}

/// Takes from the rows that were found to differ the hash that says what they hold, so that the next
/// version is stored.
pub(super) async fn distrust(
    tx: &mut Transaction,
    progress: &[Progress],
    stamp: Stamp<'_>,
) -> Result<(), StoreError> {
    for proof in progress {
        if let Progress::Differing { resource, keys } = proof {
            let sql = format!(
                "update {} set {CONTENT_HASH} = null where account_id = $2 and {} in ({})",
                resource.name(),
                key_of(*resource),
                tx.backend().ids("$1")
            );
            let keys = parameter::ids(keys.iter().copied());
            tx.execute(
                Statement::planned_anew(sql),
                args![keys, stamp.lease.account().0],
            )
            .await?;
        }
    }
    Ok(())
}

/// Marks records that the platform says it has no longer, and resolves their rejects. Yields how many
/// were not marked yet.
async fn gone(
    tx: &mut Transaction,
    resource: Resource,
    keys: &[Uuid],
    stamp: Stamp<'_>,
) -> Result<u64, StoreError> {
    let sql = format!(
        "update {} set removed_at = $4, run_id = $3, synced_at = $4 \
         where account_id = $2 and removed_at is null and {} in ({})",
        resource.name(),
        key_of(resource),
        tx.backend().ids("$1")
    );
    reject::gone(tx, resource, keys, stamp).await?;
    let keys = parameter::ids(keys.iter().copied());
    tx.execute(
        Statement::planned_anew(sql),
        args![keys, stamp.lease.account().0, stamp.run, stamp.now],
    )
    .await
}

/// The condition on the stored value is what keeps a watermark from ever going back.
async fn watermark(
    tx: &mut Transaction,
    stream: Stream,
    to: Timestamp,
    stamp: Stamp<'_>,
) -> Result<(), StoreError> {
    let account = stamp.lease.account().0;
    let before = stored_watermark(tx, stamp.lease, stream).await?;
    let moved = tx
        .execute(
            "insert into sync_state (account_id, resource, partition, watermark) \
             values ($1, $2, $3, $4) on conflict (account_id, resource, partition) \
             do update set watermark = excluded.watermark \
             where sync_state.watermark is null or sync_state.watermark < excluded.watermark",
            args![account, stream.resource.name(), stream.partition, to],
        )
        .await?;
    if moved == 1 {
        // Of a run's many commits the first knows where it started.
        tx.execute(
            "update sync_runs set watermark_after = $4, watermark_before = \
             case when watermark_after is null then $3 else watermark_before end \
             where id = $1 and account_id = $2",
            args![stamp.run, account, before, to],
        )
        .await?;
    }
    Ok(())
}

async fn pass_done(
    tx: &mut Transaction,
    stream: Stream,
    server_time: Timestamp,
    stamp: Stamp<'_>,
) -> Result<(), StoreError> {
    tx.execute(
        "insert into sync_state (account_id, resource, partition, observed_at, last_success_at) \
         values ($1, $2, $3, $4, $5) on conflict (account_id, resource, partition) \
         do update set last_success_at = excluded.last_success_at, \
         observed_at = excluded.observed_at",
        args![
            stamp.lease.account().0,
            stream.resource.name(),
            stream.partition,
            server_time,
            stamp.now,
        ],
    )
    .await?;
    Ok(())
}

/// Marks what a list no longer shows as removed, and what it shows again as there. Yields how many
/// rows that changed.
async fn list_read(
    tx: &mut Transaction,
    resource: Resource,
    keys: &[Uuid],
    stamp: Stamp<'_>,
) -> Result<u64, StoreError> {
    let (table, key) = (resource.name(), key_of(resource));
    let ids = tx.backend().ids("$1");
    let gone = format!(
        "update {table} set removed_at = $4, run_id = $3, synced_at = $4 \
         where account_id = $2 and removed_at is null and {key} not in ({ids})"
    );
    let back = format!(
        "update {table} set removed_at = null, run_id = $3, synced_at = $4 \
         where account_id = $2 and removed_at is not null and {key} in ({ids})"
    );
    let mut changed = 0;
    for sql in [gone, back] {
        let keys = parameter::ids(keys.iter().copied());
        changed += tx
            .execute(
                AssertSqlSafe(sql),
                args![keys, stamp.lease.account().0, stamp.run, stamp.now],
            )
            .await?;
    }
    Ok(changed)
}

async fn split(
    tx: &mut Transaction,
    window: i64,
    into: &[Span],
    stamp: Stamp<'_>,
) -> Result<(), StoreError> {
    let account = stamp.lease.account().0;
    let done = tx
        .execute(
            "update backfill_windows set split_at = $3 \
             where id = $1 and account_id = $2 and done_at is null and split_at is null",
            args![window, account, stamp.now],
        )
        .await?;
    require_window(done)?;
    for span in into {
        tx.execute(
            "insert into backfill_windows (backfill_id, account_id, resource, partition, \
             filter_index, created_after, created_before) \
             select backfill_id, account_id, resource, partition, filter_index, $3, $4 \
             from backfill_windows where id = $1 and account_id = $2",
            args![window, account, span.after, span.before],
        )
        .await?;
    }
    Ok(())
}

/// Replaces a window and those beside it by one that is open at both ends.
async fn join(tx: &mut Transaction, window: i64, stamp: Stamp<'_>) -> Result<(), StoreError> {
    let account = stamp.lease.account().0;
    tx.execute(
        "update backfill_windows set split_at = $3 \
         where account_id = $2 and id <> $1 and done_at is null and split_at is null \
         and (backfill_id, resource, partition, filter_index) in \
         (select backfill_id, resource, partition, filter_index from backfill_windows \
         where id = $1)",
        args![window, account, stamp.now],
    )
    .await?;
    split(tx, window, &[Span::OPEN], stamp).await
}

fn require_window(changed: u64) -> Result<(), StoreError> {
    if changed == 1 {
        return Ok(());
    }
    Err(StoreError::Inconsistent {
        doing: "record a window of a backfill",
        table: "backfill_windows",
        column: "id".to_owned(),
        problem: "lacks this window, or it was split before".to_owned(),
    })
}
