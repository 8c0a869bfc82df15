//! Stores state changes of a commit: watermarks, complete lists, finished windows.

use std::collections::HashSet;

use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::backend::is_listed;
use super::error::StoreError;
use super::parameter;
use super::run::stored_count;
use super::state::stored_watermark;
use super::transaction::{Statement, Transaction};
use super::upsert::{CONTENT_HASH, Stamp};
use super::value::args;
use super::{gap, recheck, reject};
use crate::data::{Counters, Resource, Span, StateChange, Stream, Timestamp};

/// Stores one state change. Returns counters if it changed rows that are counted.
pub(super) async fn record(
    tx: &mut Transaction,
    change: &StateChange,
    stamp: Stamp<'_>,
) -> Result<Counters, StoreError> {
    let mut counters = Counters::default();
    match change {
        StateChange::Watermark {
            stream,
            to,
            seen_at,
        } => watermark(tx, *stream, *to, *seen_at, stamp).await?,
        StateChange::PassDone {
            stream,
            server_time,
        } => pass_done(tx, *stream, *server_time, stamp).await?,
        StateChange::ClockDifference {
            stream,
            milliseconds,
        } => clock_difference(tx, *stream, *milliseconds, stamp).await?,
        StateChange::InteractionsAhead { rows } => interactions_ahead(tx, *rows, stamp).await?,
        StateChange::Gap(gap) => gap::store(tx, gap, stamp).await?,
        StateChange::GapClosed { gap } => gap::close(tx, *gap, stamp).await?,
        StateChange::GapTried { gap } => gap::tried(tx, *gap, stamp).await?,
        StateChange::ListDoubted {
            resource,
            keys,
            again,
        } => list_doubted(tx, *resource, keys, *again, stamp).await?,
        StateChange::Recheck {
            resource,
            ids,
            reason,
        } => recheck::queue(tx, *resource, ids.iter().copied(), *reason, stamp).await?,
        StateChange::Rechecked { resource, ids } => {
            recheck::done(tx, *resource, ids, stamp).await?;
        }
        StateChange::RecheckFailed {
            resource,
            id,
            error,
        } => recheck::failed(tx, *resource, *id, error, stamp).await?,
        StateChange::ListRead { resource, keys } => {
            counters.rows_updated += list_read(tx, *resource, keys, stamp).await?;
        }
        // The rows that come with it are written after it is said, so that has been done.
        StateChange::Differing { keys, .. } => counters.rows_differing += keys.len() as u64,
        StateChange::Gone { proof, keys } => {
            counters.rows_updated += gone(tx, proof.resource(), keys, stamp).await?;
        }
        StateChange::WindowDone { window, records } => {
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
        StateChange::WindowSplit { window, into } => split(tx, *window, into, stamp).await?,
        StateChange::WindowsJoined { window } => join(tx, *window, stamp).await?,
    }
    Ok(counters)
}

/// Clears the content hash of rows that were found to differ, so that the next version is stored.
pub(super) async fn distrust(
    tx: &mut Transaction,
    state_changes: &[StateChange],
    stamp: Stamp<'_>,
) -> Result<(), StoreError> {
    for change in state_changes {
        if let StateChange::Differing { resource, keys } = change {
            let sql = format!(
                "update {} set {CONTENT_HASH} = null where {}",
                resource.name(),
                is_listed(tx.backend(), resource.descriptor().key)
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

/// The keys of the rows that were found to differ.
pub(super) fn differing(state_changes: &[StateChange]) -> HashSet<Uuid> {
    let mut differing = HashSet::new();
    for change in state_changes {
        if let StateChange::Differing { keys, .. } = change {
            differing.extend(keys);
        }
    }
    differing
}

/// Marks records as removed that were deleted on the platform, and resolves their rejects. Returns
/// how many were not marked before.
async fn gone(
    tx: &mut Transaction,
    resource: Resource,
    keys: &[Uuid],
    stamp: Stamp<'_>,
) -> Result<u64, StoreError> {
    let sql = format!(
        "update {} set removed_at = $4, run_id = $3, synced_at = $4, change_seq = $5 \
         where removed_at is null and {}",
        resource.name(),
        is_listed(tx.backend(), resource.descriptor().key)
    );
    reject::gone(tx, resource, keys, stamp).await?;
    let keys = parameter::ids(keys.iter().copied());
    tx.execute(
        Statement::planned_anew(sql),
        args![
            keys,
            stamp.lease.account().0,
            stamp.run,
            stamp.now,
            stamp.change_seq
        ],
    )
    .await
}

/// The condition on the stored value keeps a watermark from moving back.
async fn watermark(
    tx: &mut Transaction,
    stream: Stream,
    to: Timestamp,
    seen_at: Timestamp,
    stamp: Stamp<'_>,
) -> Result<(), StoreError> {
    let account = stamp.lease.account().0;
    let before = stored_watermark(tx, stamp.lease, stream).await?;
    let moved = tx
        .execute(
            "insert into sync_state (account_id, resource, partition, watermark, \
             watermark_seen_at, watermark_seen_locally_at) values ($1, $2, $3, $4, $5, $6) \
             on conflict (account_id, resource, partition) \
             do update set watermark = excluded.watermark, \
             watermark_seen_at = excluded.watermark_seen_at, \
             watermark_seen_locally_at = excluded.watermark_seen_locally_at \
             where sync_state.watermark is null or sync_state.watermark < excluded.watermark \
             or (sync_state.watermark = excluded.watermark \
             and sync_state.watermark_seen_at is null)",
            args![
                account,
                stream.resource.name(),
                stream.partition.as_str(),
                to,
                seen_at,
                stamp.now,
            ],
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
            stream.partition.as_str(),
            server_time,
            stamp.now,
        ],
    )
    .await?;
    Ok(())
}

async fn clock_difference(
    tx: &mut Transaction,
    stream: Stream,
    milliseconds: i64,
    stamp: Stamp<'_>,
) -> Result<(), StoreError> {
    tx.execute(
        "insert into sync_state (account_id, resource, partition, clock_difference_ms, \
         clock_difference_at) values ($1, $2, $3, $4, $5) \
         on conflict (account_id, resource, partition) \
         do update set clock_difference_ms = excluded.clock_difference_ms, \
         clock_difference_at = excluded.clock_difference_at",
        args![
            stamp.lease.account().0,
            stream.resource.name(),
            stream.partition.as_str(),
            milliseconds,
            stamp.now,
        ],
    )
    .await?;
    Ok(())
}

async fn interactions_ahead(
    tx: &mut Transaction,
    rows: u64,
    stamp: Stamp<'_>,
) -> Result<(), StoreError> {
    tx.execute(
        "insert into sync_state (account_id, resource, partition, interactions_ahead, \
         interactions_ahead_at) values ($1, $2, '', $3, $4) \
         on conflict (account_id, resource, partition) \
         do update set interactions_ahead = \
         sync_state.interactions_ahead + excluded.interactions_ahead, \
         interactions_ahead_at = excluded.interactions_ahead_at",
        args![
            stamp.lease.account().0,
            Resource::Sessions.name(),
            stored_count(rows),
            stamp.now,
        ],
    )
    .await?;
    Ok(())
}

/// Stores since when a list lacks most of the stored records, and their keys.
async fn list_doubted(
    tx: &mut Transaction,
    resource: Resource,
    keys: &[Uuid],
    again: bool,
    stamp: Stamp<'_>,
) -> Result<(), StoreError> {
    let since = if again {
        "coalesce(sync_state.doubted_at, excluded.doubted_at)"
    } else {
        "excluded.doubted_at"
    };
    let sql = format!(
        "insert into sync_state (account_id, resource, partition, doubted_at, doubted_keys) \
         values ($1, $2, '', $3, $4) on conflict (account_id, resource, partition) \
         do update set doubted_at = {since}, doubted_keys = excluded.doubted_keys"
    );
    tx.execute(
        AssertSqlSafe(sql),
        args![
            stamp.lease.account().0,
            resource.name(),
            stamp.now,
            serde_json::json!(keys).to_string(),
        ],
    )
    .await?;
    Ok(())
}

/// Marks records that a list no longer shows as removed, and unmarks those that it shows again.
/// Returns the number of changed rows.
async fn list_read(
    tx: &mut Transaction,
    resource: Resource,
    keys: &[Uuid],
    stamp: Stamp<'_>,
) -> Result<u64, StoreError> {
    let (table, key) = (resource.name(), resource.descriptor().key);
    let ids = tx.backend().ids("$1");
    let gone = format!(
        "update {table} set removed_at = $4, run_id = $3, synced_at = $4, change_seq = $5 \
         where account_id = $2 and removed_at is null and {key} not in ({ids})"
    );
    let back = format!(
        "update {table} set removed_at = null, run_id = $3, synced_at = $4, change_seq = $5 \
         where removed_at is not null and {}",
        is_listed(tx.backend(), key)
    );
    let mut changed = 0;
    for sql in [gone, back] {
        let keys = parameter::ids(keys.iter().copied());
        changed += tx
            .execute(
                AssertSqlSafe(sql),
                args![
                    keys,
                    stamp.lease.account().0,
                    stamp.run,
                    stamp.now,
                    stamp.change_seq
                ],
            )
            .await?;
    }
    if resource == Resource::Tags {
        recheck::queue_wearers(tx, stamp).await?;
    }
    tx.execute(
        "update sync_state set doubted_at = null, doubted_keys = null \
         where account_id = $1 and resource = $2 and doubted_at is not null",
        args![stamp.lease.account().0, resource.name()],
    )
    .await?;
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

/// Replaces a window and its neighbours with one that is open at both ends.
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
        problem: "does not have this window, or it was split before".to_owned(),
    })
}
