//! The transaction that everything serves: rows, tag links, rejects, progress and run counters,
//! all of them or none.

use std::collections::HashSet;

use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::error::StoreError;
use super::lease::Lease;
use super::links::{self, Owner};
use super::memory::{Memory, RowId};
use super::open::Store;
use super::transaction::Transaction;
use super::upsert::{self, Stamp, Written};
use super::value::args;
use super::{parameter, progress, reject, run};
use crate::data::{Batch, Counters, Guard, Progress, Row, Timestamp, Write};

/// What is to be stored as one.
#[derive(Debug, Clone, Copy)]
pub struct Commit<'a> {
    /// The right to write.
    pub lease: &'a Lease,
    /// The run that it belongs to.
    pub run: i64,
    /// Rows, links and rejects.
    pub batch: &'a Batch,
    /// What they prove.
    pub progress: &'a [Progress],
    /// Pages, requests and retries since the run's last commit; the rows are counted here.
    pub spent: Counters,
    /// The present, by this machine's clock.
    pub now: Timestamp,
}

impl Store {
    /// Stores a batch and what it proves, in one transaction. Yields what was done, `spent`
    /// included; the same is added to the run.
    pub async fn commit(&self, commit: Commit<'_>) -> Result<Counters, StoreError> {
        let memory = self.memory();
        memory.enter(commit.lease);
        let result = async {
            let mut tx = self
                .writing_under(commit.lease, "store a batch", "the mirror")
                .await?;
            let (counters, written) = write(&mut tx, memory, commit).await?;
            tx.commit().await?;
            memory.remember(written);
            Ok(counters)
        }
        .await;
        if result.is_err() {
            // Also if only the answer to `commit` was lost, and nobody knows what is stored.
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
        observed_at: batch.observed_at,
    };
    let mut counters = commit.spent;
    counters.rows_read += batch.rows_read;
    counters.rows_rejected += reject::rejected(batch);
    let rows = batch.writes.iter().map(|part| part.rows.len()).sum();
    if let Some(prepare) = tx.backend().make_room(rows) {
        tx.execute(prepare, Vec::new()).await?;
    }
    let mut remembered = Vec::new();
    // Rows of other resources are not counted, but name the run all the same.
    let mut touched = false;
    let mut sessions = Written::default();
    let mut contacts = HashSet::new();
    progress::distrust(tx, commit.progress, stamp).await?;
    for part in &batch.writes {
        let rows = unknown_rows(memory, commit.lease, part);
        if rows.is_empty() {
            continue;
        }
        let written = upsert::write(tx, part.table, &rows, stamp).await?;
        counters += written.counters;
        touched |= !written.changed.is_empty();
        match part.table.guard {
            Guard::Version => {
                for &key in &written.changed {
                    let row = (
                        commit.lease.account().0,
                        part.table.name,
                        Guard::Observed,
                        key,
                    );
                    memory.forget(&row);
                }
                store_raw(tx, part, &rows, &written, stamp).await?;
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
    reject::record(tx, batch, commit.progress, stamp).await?;
    for proof in commit.progress {
        counters += progress::record(tx, proof, stamp).await?;
    }
    touched |= counters.rows_inserted
        + counters.rows_updated
        + counters.rows_rejected
        + counters.rows_differing
        > 0;
    run::add(tx, stamp, counters, touched).await?;
    Ok((counters, remembered))
}

fn row_id(lease: &Lease, part: &Write, row: &Row) -> RowId {
    (
        lease.account().0,
        part.table.name,
        part.table.guard,
        row.key,
    )
}

/// The rows of a write that this process is not sure to have committed before.
fn unknown_rows<'a>(memory: &Memory, lease: &Lease, part: &'a Write) -> Vec<&'a Row> {
    part.rows
        .iter()
        .filter(|row| {
            part.table.guard == Guard::Version || !memory.holds(&row_id(lease, part, row), row.hash)
        })
        .collect()
}

/// Keeps the records as they came, for the rows that were stored.
async fn store_raw(
    tx: &mut Transaction,
    part: &Write,
    rows: &[&Row],
    written: &Written,
    stamp: Stamp<'_>,
) -> Result<(), StoreError> {
    let raw: Vec<(Uuid, &str)> = rows
        .iter()
        .filter(|row| written.changed.contains(&row.key))
        .filter_map(|row| Some((row.key, row.raw.as_deref()?)))
        .collect();
    if raw.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "insert into raw_records (resource, id, json, account_id, run_id, synced_at) \
         select $2, id, json, $3, $4, $5 from ({}) as raw where true \
         on conflict (id, resource, account_id) do update set json = excluded.json, \
         run_id = excluded.run_id, synced_at = excluded.synced_at",
        tx.backend().texts("$1")
    );
    tx.execute(
        AssertSqlSafe(sql),
        args![
            parameter::texts(&raw),
            part.table.name,
            stamp.lease.account().0,
            stamp.run,
            stamp.now,
        ],
    )
    .await?;
    Ok(())
}
