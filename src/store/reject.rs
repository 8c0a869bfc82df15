//! Records that could not be read, `rejects`.
//!
//! A problem of a record is one row however often it comes back; it is resolved when the record
//! is read without any objection in a version that is not older, or is gone.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

use sqlx::{AssertSqlSafe, FromRow};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_128;

use super::account::AccountId;
use super::error::StoreError;
use super::open::Store;
use super::parameter;
use super::run::count;
use super::transaction::{Statement, Transaction};
use super::upsert::Stamp;
use super::value::{Id, Time, args};
use crate::data::{Batch, Progress, Reject, Resource, Timestamp};

/// A reject as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredReject {
    /// Its id.
    pub id: i64,
    /// The name of the resource it came from.
    pub resource: String,
    /// The record's id, if that could be read.
    pub record_id: Option<Uuid>,
    /// The text as it came last.
    pub raw: String,
    /// Where and what.
    pub reason: String,
    /// Whether the rest of the record is stored.
    pub partial: bool,
    /// When it came first.
    pub first_seen_at: Timestamp,
    /// When it came last.
    pub last_seen_at: Timestamp,
    /// When the record was read without objection; `None` while it was not.
    pub resolved_at: Option<Timestamp>,
}

/// Of which record an unresolved reject is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedRecord {
    /// The reject's id.
    pub id: i64,
    /// The name of the resource it came from.
    pub resource: String,
    /// The record's id, if that could be read.
    pub record_id: Option<Uuid>,
}

/// Which rejects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RejectFilter {
    /// Of one resource only.
    pub resource: Option<Resource>,
    /// Also those that are resolved.
    pub resolved: bool,
    /// At most so many, the newest; 0 means all.
    pub limit: u32,
}

#[derive(Debug, FromRow)]
struct Stored {
    id: i64,
    resource: String,
    record_id: Option<Id>,
    raw: String,
    reason: String,
    partial: bool,
    first_seen_at: Time,
    last_seen_at: Time,
    resolved_at: Option<Time>,
}

impl From<Stored> for StoredReject {
    fn from(stored: Stored) -> Self {
        Self {
            id: stored.id,
            resource: stored.resource,
            record_id: stored.record_id.map(|Id(id)| id),
            raw: stored.raw,
            reason: stored.reason,
            partial: stored.partial,
            first_seen_at: stored.first_seen_at.0,
            last_seen_at: stored.last_seen_at.0,
            resolved_at: stored.resolved_at.map(|Time(at)| at),
        }
    }
}

const COLUMNS: &str = "id, resource, record_id, raw, reason, partial, first_seen_at, \
                       last_seen_at, resolved_at";

impl Store {
    /// An account's rejects, newest first.
    pub async fn rejects(
        &self,
        account: AccountId,
        filter: RejectFilter,
    ) -> Result<Vec<StoredReject>, StoreError> {
        let mut tx = self.reading("read the rejects", "rejects").await?;
        let sql = format!(
            "select {COLUMNS} from rejects where account_id = $1 \
             and ($2 = '' or resource = $2) and ($3 = 1 or resolved_at is null) \
             order by last_seen_at desc, id desc limit $4"
        );
        let limit = match filter.limit {
            0 => i64::MAX,
            limit => i64::from(limit),
        };
        let rows: Vec<Stored> = tx
            .rows(
                AssertSqlSafe(sql),
                args![
                    account.0,
                    filter.resource.map_or("", Resource::name),
                    i64::from(filter.resolved),
                    limit,
                ],
            )
            .await?;
        tx.end().await;
        Ok(rows.into_iter().map(StoredReject::from).collect())
    }

    /// Of which records an account has unresolved rejects; without their texts, which together may
    /// be more than fits into memory.
    pub async fn rejected(&self, account: AccountId) -> Result<Vec<RejectedRecord>, StoreError> {
        let mut tx = self.reading("read the rejects", "rejects").await?;
        let rows: Vec<(i64, String, Option<Id>)> = tx
            .rows(
                "select id, resource, record_id from rejects \
                 where account_id = $1 and resolved_at is null order by id",
                args![account.0],
            )
            .await?;
        tx.end().await;
        Ok(rows
            .into_iter()
            .map(|(id, resource, record_id)| RejectedRecord {
                id,
                resource,
                record_id: record_id.map(|Id(id)| id),
            })
            .collect())
    }

    /// One reject of an account.
    pub async fn reject(
        &self,
        account: AccountId,
        id: i64,
    ) -> Result<Option<StoredReject>, StoreError> {
        let mut tx = self.reading("read a reject", "rejects").await?;
        let sql = format!("select {COLUMNS} from rejects where account_id = $1 and id = $2");
        let row: Option<Stored> = tx.row(AssertSqlSafe(sql), args![account.0, id]).await?;
        tx.end().await;
        Ok(row.map(StoredReject::from))
    }

    /// How many rejects of an account are unresolved, by the name of the resource.
    pub async fn reject_counts(
        &self,
        account: AccountId,
    ) -> Result<BTreeMap<String, u64>, StoreError> {
        let mut tx = self.reading("count the rejects", "rejects").await?;
        let rows: Vec<(String, i64)> = tx
            .rows(
                "select resource, count(*) from rejects \
                 where account_id = $1 and resolved_at is null group by resource",
                args![account.0],
            )
            .await?;
        tx.end().await;
        Ok(rows
            .into_iter()
            .map(|(resource, number)| (resource, count(number)))
            .collect())
    }
}

/// What makes two rejects the same one: the problem and the record, or the text where the record
/// has no id that can be read.
fn fingerprint(reject: &Reject) -> String {
    let subject = match reject.record_id {
        Some(id) => id.to_string(),
        None => reject.raw.clone(),
    };
    let text = format!("{}\n{}\n{subject}", reject.resource, reject.reason);
    format!("{:032x}", xxh3_128(text.as_bytes()))
}

/// A text without the character that Postgres cannot hold.
fn without_nul(text: &str) -> Cow<'_, str> {
    if text.contains('\0') {
        text.replace('\0', "").into()
    } else {
        text.into()
    }
}

/// Records whose reading failed, wholly or in part.
pub(super) fn rejected(batch: &Batch) -> u64 {
    let known: HashSet<Uuid> = batch.rejects.iter().filter_map(|r| r.record_id).collect();
    let unknown = batch.rejects.iter().filter(|r| r.record_id.is_none());
    (known.len() + unknown.count()) as u64
}

/// Resolves the rejects of records that the platform says it has no longer.
pub(super) async fn gone(
    tx: &mut Transaction,
    resource: Resource,
    ids: &[Uuid],
    stamp: Stamp<'_>,
) -> Result<(), StoreError> {
    let sql = format!(
        "update rejects set resolved_at = $4 where account_id = $2 and resource = $3 \
         and resolved_at is null and record_id in ({})",
        tx.backend().ids("$1")
    );
    let account = stamp.lease.account().0;
    let ids = parameter::ids(ids.iter().copied());
    tx.execute(
        Statement::planned_anew(sql),
        args![ids, account, resource.name(), stamp.now],
    )
    .await?;
    Ok(())
}

/// Resolves the open rejects of records that were read well, unless what was rejected is a newer
/// version: a page may be older than one that was stored before it.
async fn resolve(tx: &mut Transaction, batch: &Batch, stamp: Stamp<'_>) -> Result<(), StoreError> {
    let sql = format!(
        "select id, record_id, version from rejects where account_id = $2 \
         and resolved_at is null and record_id in ({})",
        tx.backend().ids("$1")
    );
    let account = stamp.lease.account().0;
    let ids = parameter::ids(batch.clean.iter().map(|(id, _)| *id));
    let open: Vec<(i64, Id, Option<Time>)> = tx
        .rows(Statement::planned_anew(sql), args![ids, account])
        .await?;
    if open.is_empty() {
        return Ok(());
    }
    let clean: HashMap<Uuid, Option<Timestamp>> = batch.clean.iter().copied().collect();
    for (reject, Id(record), rejected) in open {
        let rejected = rejected.map(|Time(at)| at);
        let read = clean.get(&record).copied().flatten();
        if rejected.is_none() || read >= rejected {
            tx.execute(
                "update rejects set resolved_at = $2 where id = $1",
                args![reject, stamp.now],
            )
            .await?;
        }
    }
    Ok(())
}

/// Stores the rejects of a batch, and resolves those of records that were read well. Of a list that
/// was read whole, no reject stays that was not met again.
pub(super) async fn record(
    tx: &mut Transaction,
    batch: &Batch,
    progress: &[Progress],
    stamp: Stamp<'_>,
) -> Result<(), StoreError> {
    let account = stamp.lease.account().0;
    for proof in progress {
        if let Progress::ListRead { resource, .. } = proof {
            tx.execute(
                "update rejects set resolved_at = $3 \
                 where account_id = $1 and resource = $2 and resolved_at is null",
                args![account, resource.name(), stamp.now],
            )
            .await?;
        }
    }
    if !batch.clean.is_empty() {
        let any = tx
            .number(
                "select count(*) from (select 1 from rejects \
                 where account_id = $1 and resolved_at is null limit 1) as open",
                args![account],
            )
            .await?;
        if any > 0 {
            resolve(tx, batch, stamp).await?;
        }
    }
    if batch.rejects.is_empty() {
        return Ok(());
    }
    let mut seen = HashSet::new();
    for reject in &batch.rejects {
        let fingerprint = fingerprint(reject);
        if !seen.insert(fingerprint.clone()) {
            continue;
        }
        tx.execute(
            "insert into rejects (account_id, resource, record_id, raw, reason, partial, \
             fingerprint, first_seen_at, last_seen_at, run_id, version) \
             values ($1, $2, $3, $4, $5, $6, $7, $8, $8, $9, $10) \
             on conflict (account_id, fingerprint) do update set raw = excluded.raw, \
             version = case when rejects.version > excluded.version then rejects.version \
             else excluded.version end, partial = excluded.partial, last_seen_at = excluded.last_seen_at, \
             run_id = excluded.run_id, resolved_at = null",
            args![
                account,
                reject.resource.name(),
                reject.record_id,
                without_nul(&reject.raw).as_ref(),
                without_nul(&reject.reason).as_ref(),
                reject.partial,
                fingerprint,
                stamp.now,
                stamp.run,
                reject.version,
            ],
        )
        .await?;
    }
    Ok(())
}
