//! The central transaction: it stores rows, tag links, rejects, state changes and run counters
//! together.

use std::collections::HashSet;
use std::time::Duration;

use sqlx::AssertSqlSafe;
use tracing::{Instrument as _, info_span};
use uuid::Uuid;

use super::error::StoreError;
use super::lease::Lease;
use super::links::{self, Owner};
use super::memory::{Memory, RowId};
use super::open::Store;
use super::transaction::Transaction;
use super::upsert::{self, Stamp, Written};
use super::value::args;
use super::{parameter, recheck, reject, reporting, run, state_change};
use crate::data::{Batch, Counters, Guard, RecheckReason, Row, StateChange, Timestamp, Write};
use crate::telemetry::SPANS;

/// The content of a transaction.
#[derive(Debug, Clone, Copy)]
pub struct Commit<'a> {
    /// The lease to write under.
    pub lease: &'a Lease,
    /// The run that it belongs to.
    pub run: i64,
    /// Rows, links and rejects.
    pub batch: &'a Batch,
    /// The state changes that they prove.
    pub state_changes: &'a [StateChange],
    /// Pages, requests and retries since the run's last commit. Rows are counted by the commit.
    pub spent: Counters,
    /// The current time, by this machine's clock.
    pub now: Timestamp,
    /// How long a change may take to appear in every replica of the platform. An older version of a
    /// record that changed within this time may come from a stale replica.
    pub overlap: Duration,
}

impl Store {
    /// Stores a batch and its state changes in one transaction. Returns the counters, including
    /// `spent`, and adds them to the run.
    pub async fn commit(&self, commit: Commit<'_>) -> Result<Counters, StoreError> {
        let memory = self.memory();
        let forgotten = memory.enter(commit.lease);
        let span =
            info_span!(target: SPANS, "commit", db.system.name = self.kind(), run = commit.run);
        let result = async {
            let mut tx = self
                .writing_under(commit.lease, "store a batch", "the mirror")
                .await?;
            let (counters, written) = write(&mut tx, memory, commit).await?;
            tx.commit().await?;
            memory.remember(forgotten, written);
            Ok(counters)
        }
        .instrument(span)
        .await;
        if result.is_err() {
            // If only the answer to `commit` was lost, it is not known what is stored.
            memory.clear();
        }
        result
    }
}

async fn write(
    tx: &mut Transaction,
    memory: &Memory,
    commit: Commit<'_>,
) -> Result<(Counters, Vec<(RowId, i64)>), StoreError> {
    let Commit { batch, .. } = commit;
    let stamp = Stamp {
        lease: commit.lease,
        run: commit.run,
        now: commit.now,
        overlap: commit.overlap,
        change_seq: tx.next_change(),
    };
    let mut counters = commit.spent;
    counters.rows_read += batch.rows_read;
    let rows = batch.writes.iter().map(|part| part.rows.len()).sum();
    if let Some(prepare) = tx.backend().make_room(rows) {
        tx.execute(prepare, Vec::new()).await?;
    }
    let mut remembered = Vec::new();
    // Rows of other resources are not counted, but have the run's id, too.
    let mut touched = false;
    let mut sessions = Written::default();
    let mut contacts = HashSet::new();
    let mut doubtful = HashSet::new();
    let mut held = Vec::new();
    state_change::distrust(tx, commit.state_changes, stamp).await?;
    let differing = state_change::differing(commit.state_changes);
    for part in &batch.writes {
        let rows = unknown_rows(memory, commit.lease, part);
        if rows.is_empty() {
            continue;
        }
        let written = upsert::write(tx, part.table, &rows, &differing, stamp).await?;
        counters += written.counters;
        touched |= !written.changed.is_empty();
        doubtful.extend(&written.doubtful);
        if !written.held.is_empty() {
            held.extend(reject::held(tx, batch, part, &rows, &written.held).await?);
        }
        match part.table.guard {
            Guard::Version => {
                forget_details(memory, commit.lease, part, &written);
                touched |= store_raw(tx, part, &rows, &written, stamp).await?;
            }
            Guard::Observed | Guard::Absent => remembered.extend(
                rows.iter()
                    .map(|row| (row_id(commit.lease, part, row), row.hash)),
            ),
        }
        match part.table.name {
            "sessions" => sessions = written,
            "contacts" if part.table.guard != Guard::Absent => contacts.extend(written.prevailed),
            _ => {}
        }
    }
    links::replace(
        tx,
        Owner::Contact,
        &batch.contact_tags,
        &contacts,
        &HashSet::new(),
        stamp,
    )
    .await?;
    links::replace(
        tx,
        Owner::Session,
        &batch.session_tags,
        &sessions.changed,
        &sessions.new,
        stamp,
    )
    .await?;
    if !sessions.new.is_empty() {
        reporting::cover(tx, commit.lease.account(), commit.now).await?;
    }
    counters.rows_rejected += reject::rejected(batch, &held);
    let unresolved =
        reject::record(tx, batch, &held, commit.state_changes, &doubtful, stamp).await?;
    doubtful.extend(unresolved);
    doubtful.extend(&batch.doubtful);
    if let (Some(resource), false) = (batch.resource, doubtful.is_empty()) {
        recheck::queue(tx, resource, doubtful, RecheckReason::Older, stamp).await?;
    }
    for change in commit.state_changes {
        counters += state_change::record(tx, change, stamp).await?;
    }
    touched |= counters.rows_inserted
        + counters.rows_updated
        + counters.rows_rejected
        + counters.rows_differing
        > 0;
    if let Some(at) = batch.observed_at {
        tx.note_reading(at);
    }
    if touched {
        tx.note_changes();
    }
    run::add(tx, stamp, counters, touched).await?;
    Ok((counters, remembered))
}

/// Forgets the rows that details of other records wrote and that this write has replaced, so that
/// they are written when they come again.
fn forget_details(memory: &Memory, lease: &Lease, part: &Write, written: &Written) {
    for &key in &written.changed {
        memory.forget(&(lease.account().0, part.table.name, Guard::Observed, key));
    }
}

fn row_id(lease: &Lease, part: &Write, row: &Row) -> RowId {
    (
        lease.account().0,
        part.table.name,
        part.table.guard,
        row.key,
    )
}

/// The rows of a write, except those that this process has certainly committed before.
fn unknown_rows<'a>(memory: &Memory, lease: &Lease, part: &'a Write) -> Vec<&'a Row> {
    part.rows
        .iter()
        .filter(|row| {
            part.table.guard == Guard::Version || !memory.holds(&row_id(lease, part, row), row.hash)
        })
        .collect()
}

/// Stores the raw JSON of rows that were written, and of unchanged rows that have none yet because
/// raw records were switched off before. Returns whether any was written.
async fn store_raw(
    tx: &mut Transaction,
    part: &Write,
    rows: &[&Row],
    written: &Written,
    stamp: Stamp<'_>,
) -> Result<bool, StoreError> {
    let mut stored = 0;
    for (is_changed, action) in [
        (
            true,
            "update set json = excluded.json, run_id = excluded.run_id, \
             synced_at = excluded.synced_at, change_seq = excluded.change_seq",
        ),
        (false, "nothing"),
    ] {
        let raw: Vec<(Uuid, &str)> = rows
            .iter()
            .filter(|row| written.changed.contains(&row.key) == is_changed)
            .filter(|row| !written.doubtful.contains(&row.key))
            .filter(|row| !written.held.contains_key(&row.key))
            .filter_map(|row| Some((row.key, row.raw.as_deref()?)))
            .collect();
        if raw.is_empty() {
            continue;
        }
        let sql = format!(
            "insert into raw_records (resource, id, json, account_id, run_id, synced_at, change_seq) \
             select $2, id, json, $3, $4, $5, $6 from ({}) as raw where true \
             on conflict (id, resource, account_id) do {action}",
            tx.backend().texts("$1")
        );
        stored += tx
            .execute(
                AssertSqlSafe(sql),
                args![
                    parameter::texts(&raw),
                    part.table.name,
                    stamp.lease.account().0,
                    stamp.run,
                    stamp.now,
                    stamp.change_seq,
                ],
            )
            .await?;
    }
    Ok(stored > 0)
}
