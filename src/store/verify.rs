//! The stored data in the forms that `verify` compares: counts by window, versions by id.
//!
//! Placeholders are left out everywhere: they were made for a foreign key, and no list showed them.
//! Ranges of creation times include their beginning but not their end.

use std::collections::{BTreeMap, HashMap};

use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::account::AccountId;
use super::backend::is_listed;
use super::error::StoreError;
use super::open::Store;
use super::parameter;
use super::run::count;
use super::transaction::Statement;
use super::value::{Id, Time, args};
use crate::data::{Resource, Span, Stream, Table, Timestamp};

/// The maximum number of rejects that are considered, newest first.
const MOST_REJECTS: i64 = 10_000;

/// The condition of a row that some list showed.
const SHOWN: &str =
    "(updated_at is not null or created_at is not null or content_hash is not null)";

/// The condition of a contact whose status is not among those of its
/// [`Descriptor`](crate::data::Descriptor), so that no stream shows it.
fn in_no_stream() -> String {
    let streams = Resource::Contacts.streams();
    let listed: Vec<String> = streams
        .iter()
        .map(|stream| format!("'{}'", stream.partition))
        .collect();
    format!(
        "(status is not null and status not in ({}))",
        listed.join(", ")
    )
}

/// The rows of a stream in a range: 1 the account, 2 the status or nothing, 3 and 4 the range.
fn in_range(stream: Stream) -> String {
    format!(
        "from {} where account_id = $1 and removed_at is null and {SHOWN} \
         and ($2 = '' or status = $2) and created_at >= $3 and created_at < $4",
        stream.resource.name()
    )
}

pub(super) fn after(span: Span) -> Timestamp {
    // 0001-01-01: no text of a later instant sorts before it.
    span.after
        .unwrap_or(Timestamp::from_micros(-62_135_596_800_000_000))
}

pub(super) fn before(span: Span) -> Timestamp {
    // 9999-12-31.
    span.before
        .unwrap_or(Timestamp::from_micros(253_402_214_400_000_000))
}

/// The parts of a stored row that can be compared with a record's head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredVersion {
    /// Its `updated_at`.
    pub updated_at: Option<Timestamp>,
    /// The partition of its resource. `None` if the resource has only one.
    pub partition: Option<String>,
    /// The hash of its content. `None` if the row does not equal any version of the record.
    pub hash: Option<i64>,
    /// When it was last written, by this machine's clock.
    pub synced_at: Timestamp,
    /// Whether it is marked as removed.
    pub removed: bool,
}

impl Store {
    /// How many rows of a stream were created in a range.
    pub async fn count_created(
        &self,
        account: AccountId,
        stream: Stream,
        created: Span,
    ) -> Result<u64, StoreError> {
        let mut tx = self
            .reading_at_length("count the rows", stream.resource.name())
            .await?;
        let sql = format!("select count(*) {}", in_range(stream));
        let number = tx
            .number(
                AssertSqlSafe(sql),
                args![
                    account.0,
                    stream.partition.as_str(),
                    after(created),
                    before(created)
                ],
            )
            .await?;
        tx.end().await;
        Ok(count(number))
    }

    /// Creation times of a range's rows in ascending order, with their ranks from 0: from the rank
    /// `offset` on, the first `width` of every `step` rows.
    pub async fn created_ranks(
        &self,
        account: AccountId,
        stream: Stream,
        created: Span,
        (offset, step, width): (u64, u64, u64),
    ) -> Result<Vec<(u64, Timestamp)>, StoreError> {
        let mut tx = self
            .reading_at_length("order the rows", stream.resource.name())
            .await?;
        let sql = format!(
            "select n, created_at from (select created_at, \
             row_number() over (order by created_at) - 1 as n {}) as ranked \
             where n >= $5 and (n - $5) % $6 < $7 order by n",
            in_range(stream)
        );
        let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let rows: Vec<(i64, Time)> = tx
            .rows(
                AssertSqlSafe(sql),
                args![
                    account.0,
                    stream.partition.as_str(),
                    after(created),
                    before(created),
                    whole(offset),
                    whole(step.max(1)),
                    whole(width),
                ],
            )
            .await?;
        tx.end().await;
        Ok(rows
            .into_iter()
            .map(|(rank, Time(at))| (count(rank), at))
            .collect())
    }

    /// Ids of a range's rows.
    pub async fn ids_created(
        &self,
        account: AccountId,
        stream: Stream,
        created: Span,
    ) -> Result<Vec<Uuid>, StoreError> {
        let mut tx = self
            .reading_at_length("read the ids", stream.resource.name())
            .await?;
        let sql = format!("select id {} order by id", in_range(stream));
        let rows: Vec<(Id,)> = tx
            .rows(
                AssertSqlSafe(sql),
                args![
                    account.0,
                    stream.partition.as_str(),
                    after(created),
                    before(created)
                ],
            )
            .await?;
        tx.end().await;
        Ok(rows.into_iter().map(|(Id(id),)| id).collect())
    }

    /// The stored rows with these keys.
    pub async fn versions(
        &self,
        account: AccountId,
        resource: Resource,
        ids: &[Uuid],
    ) -> Result<HashMap<Uuid, StoredVersion>, StoreError> {
        let mut tx = self
            .reading_at_length("compare the rows", resource.name())
            .await?;
        let key = resource.descriptor().key;
        let sql = format!(
            "select {key}, updated_at, {}, content_hash, synced_at, removed_at is not null \
             from {} \
             where {SHOWN} and {}",
            partition_of(resource),
            resource.name(),
            is_listed(tx.backend(), key)
        );
        let ids = parameter::ids(ids.iter().copied());
        let rows = tx
            .rows(Statement::planned_anew(sql), args![ids, account.0])
            .await?;
        tx.end().await;
        Ok(by_key(rows))
    }

    /// The complete stored rows of a table with these keys, as JSON objects. Instants and uuids are
    /// the texts of each database, and SQLite's booleans are numbers.
    pub async fn row_objects(
        &self,
        account: AccountId,
        table: &Table,
        keys: &[Uuid],
    ) -> Result<HashMap<Uuid, serde_json::Value>, StoreError> {
        let mut tx = self.reading_at_length("read the rows", table.name).await?;
        let sql = format!(
            "select {key}, {} from {} \
             where removed_at is null and {SHOWN} and {}",
            tx.backend().object(table.columns),
            table.name,
            is_listed(tx.backend(), table.key),
            key = table.key,
        );
        let keys = parameter::ids(keys.iter().copied());
        let rows: Vec<(Id, String)> = tx
            .rows(Statement::planned_anew(sql), args![keys, account.0])
            .await?;
        tx.end().await;
        rows.into_iter()
            .map(|(Id(key), row)| match serde_json::from_str(&row) {
                Ok(row) => Ok((key, row)),
                Err(_) => Err(tx.inconsistent("", "is not a JSON object")),
            })
            .collect()
    }

    /// All stored rows of a resource. For a list these are few.
    pub async fn all_versions(
        &self,
        account: AccountId,
        list: Resource,
    ) -> Result<HashMap<Uuid, StoredVersion>, StoreError> {
        let mut tx = self.reading("compare the rows", list.name()).await?;
        let sql = format!(
            "select {}, updated_at, {}, content_hash, synced_at, removed_at is not null \
             from {} \
             where account_id = $1 and {SHOWN}",
            list.descriptor().key,
            partition_of(list),
            list.name()
        );
        let rows = tx.rows(AssertSqlSafe(sql), args![account.0]).await?;
        tx.end().await;
        Ok(by_key(rows))
    }

    /// Contacts that no list shows: only a session names them, or their status cannot be listed.
    /// Limited to so many; each call continues where the last one ended.
    pub async fn never_listed(
        &self,
        account: AccountId,
        turn: u64,
        limit: u32,
    ) -> Result<Vec<Uuid>, StoreError> {
        let mut tx = self
            .reading_at_length("read the contacts that no list shows", "contacts")
            .await?;
        let in_no_stream = in_no_stream();
        let from = format!(
            "from contacts where account_id = $1 and removed_at is null \
             and (not {SHOWN} or {in_no_stream}) and not exists (select 1 from rechecks \
             where rechecks.account_id = contacts.account_id and resource = 'contacts' \
             and record_id = contacts.id)"
        );
        let sql = format!("select count(*) {from}");
        let all = count(tx.number(AssertSqlSafe(sql), args![account.0]).await?);
        let turns = all.div_ceil(u64::from(limit)).max(1);
        let skipped = turn % turns * u64::from(limit);
        let sql = format!("select id {from} order by id limit $2 offset $3");
        let skipped = i64::try_from(skipped).unwrap_or(i64::MAX);
        let rows: Vec<(Id,)> = tx
            .rows(
                AssertSqlSafe(sql),
                args![account.0, i64::from(limit), skipped],
            )
            .await?;
        tx.end().await;
        Ok(rows.into_iter().map(|(Id(id),)| id).collect())
    }

    /// Rows of a stream without a creation time, which no window holds. At most so many, in turns that each
    /// begin where the last one ended.
    pub async fn undated(
        &self,
        account: AccountId,
        stream: Stream,
        turn: u64,
        limit: u32,
    ) -> Result<Vec<Uuid>, StoreError> {
        let table = stream.resource.name();
        let mut tx = self
            .reading_at_length("read the rows without a creation time", table)
            .await?;
        let from = format!(
            "from {table} where account_id = $1 and removed_at is null and {SHOWN} \
             and ($2 = '' or status = $2) and created_at is null"
        );
        let partition = stream.partition.as_str();
        let sql = format!("select count(*) {from}");
        let all = count(
            tx.number(AssertSqlSafe(sql), args![account.0, partition])
                .await?,
        );
        let turns = all.div_ceil(u64::from(limit)).max(1);
        let skipped = turn % turns * u64::from(limit);
        let skipped = i64::try_from(skipped).unwrap_or(i64::MAX);
        let sql = format!("select id {from} order by id limit $3 offset $4");
        let args = args![account.0, partition, i64::from(limit), skipped];
        let rows: Vec<(Id,)> = tx.rows(AssertSqlSafe(sql), args).await?;
        tx.end().await;
        Ok(rows.into_iter().map(|(Id(id),)| id).collect())
    }

    /// How many contacts have which status that cannot be listed.
    pub async fn unlisted_statuses(
        &self,
        account: AccountId,
    ) -> Result<BTreeMap<String, u64>, StoreError> {
        let mut tx = self
            .reading_at_length("count the contacts that no list shows", "contacts")
            .await?;
        let sql = format!(
            "select status, count(*) from contacts \
             where account_id = $1 and removed_at is null and {} group by status",
            in_no_stream()
        );
        let rows: Vec<(String, i64)> = tx.rows(AssertSqlSafe(sql), args![account.0]).await?;
        tx.end().await;
        Ok(rows
            .into_iter()
            .map(|(status, rows)| (status, count(rows)))
            .collect())
    }

    /// The records of a resource that only exist as rejects: their ids, if readable, and their raw
    /// texts.
    pub async fn rejected_records(
        &self,
        account: AccountId,
        resource: Resource,
    ) -> Result<Vec<(Option<Uuid>, String)>, StoreError> {
        let mut tx = self
            .reading_at_length("read the rejects", "rejects")
            .await?;
        let rows: Vec<(Option<Id>, String)> = tx
            .rows(
                "select record_id, raw from rejects where account_id = $1 and resource = $2 \
                 and resolved_at is null and not cast(partial as boolean) \
                 order by last_seen_at desc limit $3",
                args![account.0, resource.name(), MOST_REJECTS],
            )
            .await?;
        tx.end().await;
        Ok(rows
            .into_iter()
            .map(|(id, raw)| (id.map(|Id(id)| id), raw))
            .collect())
    }
}

/// An expression for the partition of a row.
fn partition_of(resource: Resource) -> &'static str {
    if resource.is_partitioned() {
        "status"
    } else {
        "cast(null as text)"
    }
}

type KeyedVersion = (Id, Option<Time>, Option<String>, Option<i64>, Time, bool);

fn by_key(rows: Vec<KeyedVersion>) -> HashMap<Uuid, StoredVersion> {
    rows.into_iter()
        .map(
            |(Id(key), updated_at, partition, hash, Time(synced_at), removed)| {
                let version = StoredVersion {
                    updated_at: updated_at.map(|Time(at)| at),
                    partition,
                    hash,
                    synced_at,
                    removed,
                };
                (key, version)
            },
        )
        .collect()
}
