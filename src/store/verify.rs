//! What is stored, in the forms in which `verify` compares it: counts by window, versions by id.
//!
//! Placeholders are left out everywhere: they were made for a foreign key, and no listing showed
//! them. Ranges of creation times hold their beginning and not their end.

use std::collections::HashMap;

use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::account::AccountId;
use super::error::StoreError;
use super::open::Store;
use super::parameter;
use super::progress::key_of;
use super::run::count;
use super::transaction::Statement;
use super::value::{Id, Time, args};
use crate::data::{Resource, Span, Stream, Table, Timestamp};

/// Rejects that are looked at, the newest.
const MOST_REJECTS: i64 = 10_000;

/// A row that some listing showed.
const SHOWN: &str =
    "(updated_at is not null or created_at is not null or content_hash is not null)";

/// The rows of a stream in a range: 1 the account, 2 the status or nothing, 3 and 4 the range.
fn in_range(stream: Stream) -> String {
    format!(
        "from {} where account_id = $1 and removed_at is null and {SHOWN} \
         and ($2 = '' or status = $2) and created_at >= $3 and created_at < $4",
        stream.resource.name()
    )
}

fn after(span: Span) -> Timestamp {
    // 0001-01-01: no text of a later instant sorts before it.
    span.after
        .unwrap_or(Timestamp::from_micros(-62_135_596_800_000_000))
}

fn before(span: Span) -> Timestamp {
    // 9999-12-31.
    span.before
        .unwrap_or(Timestamp::from_micros(253_402_214_400_000_000))
}

/// A stored row, as far as it can be compared with a record's head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredVersion {
    /// Its `updated_at`.
    pub updated_at: Option<Timestamp>,
    /// The partition of its resource that it belongs to; `None` where there is one only.
    pub partition: Option<String>,
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
            .reading("count the rows", stream.resource.name())
            .await?;
        let sql = format!("select count(*) {}", in_range(stream));
        let number = tx
            .number(
                AssertSqlSafe(sql),
                args![account.0, stream.partition, after(created), before(created)],
            )
            .await?;
        tx.end().await;
        Ok(count(number))
    }

    /// Creation times of a range's rows in ascending order with their ranks from 0: of every `step`
    /// rows the first `width`.
    pub async fn created_ranks(
        &self,
        account: AccountId,
        stream: Stream,
        created: Span,
        step: u64,
        width: u64,
    ) -> Result<Vec<(u64, Timestamp)>, StoreError> {
        let mut tx = self
            .reading("order the rows", stream.resource.name())
            .await?;
        let sql = format!(
            "select n, created_at from (select created_at, \
             row_number() over (order by created_at) - 1 as n {}) as ranked \
             where n % $5 < $6 order by n",
            in_range(stream)
        );
        let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let rows: Vec<(i64, Time)> = tx
            .rows(
                AssertSqlSafe(sql),
                args![
                    account.0,
                    stream.partition,
                    after(created),
                    before(created),
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
        let mut tx = self.reading("read the ids", stream.resource.name()).await?;
        let sql = format!("select id {} order by id", in_range(stream));
        let rows: Vec<(Id,)> = tx
            .rows(
                AssertSqlSafe(sql),
                args![account.0, stream.partition, after(created), before(created)],
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
        let mut tx = self.reading("compare the rows", resource.name()).await?;
        let key = key_of(resource);
        let sql = format!(
            "select {key}, updated_at, {}, removed_at is not null from {} \
             where account_id = $2 and {SHOWN} and {key} in ({})",
            partition_of(resource),
            resource.name(),
            tx.backend().ids("$1")
        );
        let ids = parameter::ids(ids.iter().copied());
        let rows = tx
            .rows(Statement::planned_anew(sql), args![ids, account.0])
            .await?;
        tx.end().await;
        Ok(by_key(rows))
    }

    /// The stored rows of a table with these keys, whole, as JSON objects: instants and uuids are
    /// texts, each database's own, and SQLite's booleans numbers.
    pub async fn row_objects(
        &self,
        account: AccountId,
        table: &Table,
        keys: &[Uuid],
    ) -> Result<HashMap<Uuid, serde_json::Value>, StoreError> {
        let mut tx = self.reading("read the rows", table.name).await?;
        let sql = format!(
            "select {key}, {} from {} \
             where account_id = $2 and removed_at is null and {SHOWN} and {key} in ({})",
            tx.backend().object(table.columns),
            table.name,
            tx.backend().ids("$1"),
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
                Err(_) => Err(tx.inconsistent("", "is no JSON object")),
            })
            .collect()
    }

    /// All stored rows of a resource; of a list, that is few.
    pub async fn all_versions(
        &self,
        account: AccountId,
        list: Resource,
    ) -> Result<HashMap<Uuid, StoredVersion>, StoreError> {
        let mut tx = self.reading("compare the rows", list.name()).await?;
        let sql = format!(
            "select {}, updated_at, {}, removed_at is not null from {} \
             where account_id = $1 and {SHOWN}",
            key_of(list),
            partition_of(list),
            list.name()
        );
        let rows = tx.rows(AssertSqlSafe(sql), args![account.0]).await?;
        tx.end().await;
        Ok(by_key(rows))
    }

    /// The records of a resource that are nowhere but among the rejects: their ids, where those can
    /// be read, and their texts.
    pub async fn rejected_records(
        &self,
        account: AccountId,
        resource: Resource,
    ) -> Result<Vec<(Option<Uuid>, String)>, StoreError> {
        let mut tx = self.reading("read the rejects", "rejects").await?;
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

/// An expression that yields which partition of a resource a row belongs to.
fn partition_of(resource: Resource) -> &'static str {
    let is_parted = resource
        .streams()
        .iter()
        .any(|stream| !stream.partition.is_empty());
    if is_parted {
        "status"
    } else {
        "cast(null as text)"
    }
}

fn by_key(rows: Vec<(Id, Option<Time>, Option<String>, bool)>) -> HashMap<Uuid, StoredVersion> {
    rows.into_iter()
        .map(|(Id(key), updated_at, partition, removed)| {
            let version = StoredVersion {
                updated_at: updated_at.map(|Time(at)| at),
                partition,
                removed,
            };
            (key, version)
        })
        .collect()
}
