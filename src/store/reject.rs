//! Records that could not be stored: `rejects`.
//!
//! The same problem of a record is one row, even if it recurs. It is resolved when the record is read
//! without a problem, in a version that is stored (see `upsert`), or when the record is deleted.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;

use sqlx::AssertSqlSafe;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_128;

use super::account::AccountId;
use super::error::StoreError;
use super::open::Store;
use super::parameter;
use super::run::count;
use super::transaction::{Statement, Transaction, record};
use super::upsert::Stamp;
use super::value::{Id, Time, args};
use crate::data::{Batch, Reading, Reject, Resource, Row, StateChange, Table, Timestamp, Write};

/// A reject as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredReject {
    /// Its id.
    pub id: i64,
    /// The name of the resource it came from.
    pub resource: String,
    /// The record's id, if that could be read.
    pub record_id: Option<Uuid>,
    /// The raw text that came last.
    pub raw: String,
    /// The path and the problem.
    pub reason: String,
    /// Whether the rest of the record is stored.
    pub partial: bool,
    /// When it was first seen.
    pub first_seen_at: Timestamp,
    /// When it was last seen.
    pub last_seen_at: Timestamp,
    /// When the record was read without a problem. `None` if it was not.
    pub resolved_at: Option<Timestamp>,
}

/// The record of an unresolved reject.
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
    /// Also resolved ones.
    pub resolved: bool,
    /// At most so many, newest first. 0 means all.
    pub limit: u32,
}

record! {
    #[derive(Debug)]
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

    /// The records of an account's unresolved rejects, without their raw texts, which may not fit
    /// into memory together.
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

/// What identifies a reject: the problem and the record's id, or the raw text if the id is not
/// readable.
fn fingerprint(reject: &Reject) -> String {
    let subject = match reject.record_id {
        Some(id) => id.to_string(),
        None => reject.raw.clone(),
    };
    let text = format!("{}\n{}\n{subject}", reject.resource, reject.reason);
    format!("{:032x}", xxh3_128(text.as_bytes()))
}

/// A text without NUL, which Postgres cannot store.
fn without_nul(text: &str) -> Cow<'_, str> {
    if text.contains('\0') {
        text.replace('\0', "").into()
    } else {
        text.into()
    }
}

/// Records that could not be stored completely, and those whose id another account holds.
pub(super) fn rejected(batch: &Batch, held: &[Reject]) -> u64 {
    let all = || batch.rejects.iter().chain(held);
    let known: HashSet<Uuid> = all().filter_map(|reject| reject.record_id).collect();
    let unknown = all().filter(|reject| reject.record_id.is_none());
    (known.len() + unknown.count()) as u64
}

/// Rejects for records whose id another account holds.
pub(super) async fn held(
    tx: &mut Transaction,
    batch: &Batch,
    part: &Write,
    rows: &[&Row],
    holders: &HashMap<Uuid, AccountId>,
) -> Result<Vec<Reject>, StoreError> {
    let Some(resource) = Resource::ALL
        .into_iter()
        .find(|resource| resource.name() == part.table.name)
    else {
        return Ok(Vec::new());
    };
    let accounts: Vec<(i64, String)> = tx.rows("select id, name from accounts", Vec::new()).await?;
    let names: HashMap<i64, String> = accounts.into_iter().collect();
    let links: HashMap<Uuid, &[Uuid]> = batch
        .session_tags
        .iter()
        .chain(&batch.contact_tags)
        .map(|links| (links.owner, links.tags.as_slice()))
        .collect();
    let reject = |row: &&Row| {
        let AccountId(holder) = holders.get(&row.key)?;
        let name = names.get(holder).map_or("", String::as_str);
        Some(Reject {
            resource,
            record_id: Some(row.key),
            raw: match &row.raw {
                Some(raw) => raw.clone(),
                None => columns(row, part.table, links.get(&row.key).copied()),
            },
            reason: format!(
                "id: account {name:?} (account_id {holder}) holds a record with this id, so this record \
                 is not stored. If both accounts are the same company, remove one of them from the \
                 configuration; otherwise report this line"
            ),
            partial: false,
            version: row.version,
        })
    };
    Ok(rows.iter().filter_map(reject).collect())
}

/// The content of a record, by column name. Its own text is stored only with `store.raw`.
fn columns(row: &Row, table: &Table, tags: Option<&[Uuid]>) -> String {
    let mut text = row.object(table);
    if let Some(tags) = tags {
        text.truncate(text.len() - 1);
        let tags: Vec<String> = tags.iter().map(|tag| format!("\"{tag}\"")).collect();
        // Writing to a String cannot fail.
        let _ = write!(text, ",\"tags\":[{}]}}", tags.join(","));
    }
    text
}

/// Resolves the rejects of records that were deleted on the platform.
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

/// Resolves the rejects of records that were read without a problem, except those whose rows are
/// `held` by other accounts. Returns records whose reject stays because the rejected version is
/// newer: the page may come from a stale copy.
async fn resolve(
    tx: &mut Transaction,
    batch: &Batch,
    held: &HashSet<Uuid>,
    doubtful: &HashSet<Uuid>,
    stamp: Stamp<'_>,
) -> Result<Vec<Uuid>, StoreError> {
    let sql = format!(
        "select id, record_id, version from rejects where account_id = $2 \
         and resolved_at is null and record_id in ({})",
        tx.backend().ids("$1")
    );
    let account = stamp.lease.account().0;
    let clean = batch.clean.iter().map(|(id, ..)| *id);
    let ids = parameter::ids(clean.filter(|id| !held.contains(id)));
    let open: Vec<(i64, Id, Option<Time>)> = tx
        .rows(Statement::planned_anew(sql), args![ids, account])
        .await?;
    let mut unresolved = Vec::new();
    if open.is_empty() {
        return Ok(unresolved);
    }
    let clean: HashMap<Uuid, (Option<Timestamp>, Reading)> = batch
        .clean
        .iter()
        .map(|&(id, version, reading)| (id, (version, reading)))
        .collect();
    for (reject, Id(record), rejected) in open {
        let Some(&(version, reading)) = clean.get(&record) else {
            continue;
        };
        let is_older = match (version, rejected) {
            (Some(version), Some(Time(rejected))) if version < rejected && !reading.certain => {
                !tx.is_settled(rejected, stamp).await?
            }
            _ => false,
        };
        if is_older || doubtful.contains(&record) {
            unresolved.push(record);
            continue;
        }
        tx.execute(
            "update rejects set resolved_at = $2 where id = $1",
            args![reject, stamp.now],
        )
        .await?;
    }
    Ok(unresolved)
}

/// Stores the rejects of a batch, and resolves those of records that were read without a problem.
/// If a list was read completely, resolves all its rejects that did not recur. The rows of
/// `doubtful` records were not stored, nor those `held` by other accounts. Returns further doubtful
/// records.
pub(super) async fn record(
    tx: &mut Transaction,
    batch: &Batch,
    held: &[Reject],
    state_changes: &[StateChange],
    doubtful: &HashSet<Uuid>,
    stamp: Stamp<'_>,
) -> Result<Vec<Uuid>, StoreError> {
    let account = stamp.lease.account().0;
    for change in state_changes {
        if let StateChange::ListRead { resource, .. } = change {
            tx.execute(
                "update rejects set resolved_at = $3 \
                 where account_id = $1 and resource = $2 and resolved_at is null",
                args![account, resource.name(), stamp.now],
            )
            .await?;
        }
    }
    let held_ids: HashSet<Uuid> = held.iter().filter_map(|reject| reject.record_id).collect();
    let mut unresolved = Vec::new();
    if !batch.clean.is_empty() {
        let any = tx
            .number(
                "select count(*) from (select 1 from rejects \
                 where account_id = $1 and resolved_at is null limit 1) as open",
                args![account],
            )
            .await?;
        if any > 0 {
            unresolved = resolve(tx, batch, &held_ids, doubtful, stamp).await?;
        }
    }
    let mut seen = HashSet::new();
    let is_stored = |reject: &&Reject| {
        // What is said of a part would be said of a rest that is not stored.
        let is_written = |id| !doubtful.contains(&id) && !held_ids.contains(&id);
        !reject.partial || reject.record_id.is_none_or(is_written)
    };
    for reject in batch.rejects.iter().filter(is_stored).chain(held) {
        let fingerprint = fingerprint(reject);
        if !seen.insert(fingerprint.clone()) {
            continue;
        }
        tx.execute(
            "insert into rejects (account_id, resource, record_id, raw, reason, partial, \
             fingerprint, first_seen_at, last_seen_at, run_id, version) \
             values ($1, $2, $3, $4, $5, $6, $7, $8, $8, $9, $10) \
             on conflict (account_id, fingerprint) do update set raw = excluded.raw, \
             version = excluded.version, partial = excluded.partial, \
             last_seen_at = excluded.last_seen_at, \
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
    Ok(unresolved)
}
