//! Queries for `status`, for the refresh of open sessions, and the like.

use std::collections::BTreeSet;

use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::account::AccountId;
use super::error::StoreError;
use super::open::Store;
use super::run::count;
use super::value::{Id, Time, args};
use super::verify::{after, before};
use crate::data::{Resource, Span, Timestamp};

/// The number of rows of an account in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableCount {
    /// Of which resource.
    pub resource: Resource,
    /// Rows that are not removed, placeholders included.
    pub rows: u64,
    /// Rows with `removed_at`.
    pub removed: u64,
}

/// Fields of the platform's records without a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtraKeys {
    /// Of which resource.
    pub resource: Resource,
    /// Their names, in alphabetical order.
    pub keys: Vec<String>,
}

/// How many rows of a table are searched for extra fields: the last changed ones.
const EXTRA_SAMPLE: i64 = 500;

/// The maximum number of extra fields that are listed.
const EXTRA_KEYS: usize = 50;

/// Tables for users, in addition to those of resources.
const ASKED: [&str; 3] = ["contact_tags", "session_tags", "sync_runs"];

/// The sessions of an account that are stored as open.
const OPEN: &str = "sessions where account_id = $1 and removed_at is null \
                    and status in ('STARTED', 'PENDING', 'IN_PROGRESS')";

impl Store {
    /// Ids of the sessions created in a range that are stored as open and not removed, except those
    /// that are queued to be read by id.
    pub async fn open_session_ids(
        &self,
        account: AccountId,
        created: Span,
    ) -> Result<Vec<Uuid>, StoreError> {
        let mut tx = self
            .reading_at_length("read the open sessions", "sessions")
            .await?;
        let sql = format!(
            "select id from {OPEN} and created_at >= $2 and created_at < $3 \
             and not exists (select 1 from rechecks \
             where rechecks.account_id = sessions.account_id and resource = 'sessions' \
             and record_id = sessions.id) order by id"
        );
        let rows: Vec<(Id,)> = tx
            .rows(
                AssertSqlSafe(sql),
                args![account.0, after(created), before(created)],
            )
            .await?;
        tx.end().await;
        Ok(rows.into_iter().map(|(Id(id),)| id).collect())
    }

    /// Creation times, in ascending order, that split the open sessions into windows of this many.
    pub async fn open_session_cuts(
        &self,
        account: AccountId,
        size: u64,
    ) -> Result<Vec<Timestamp>, StoreError> {
        let mut tx = self
            .reading_at_length("order the open sessions", "sessions")
            .await?;
        let sql = format!(
            "select created_at from (select created_at, \
             row_number() over (order by created_at) - 1 as n from {OPEN} \
             and created_at is not null) as ranked where n > 0 and n % $2 = 0 order by n"
        );
        let size = i64::try_from(size.max(1)).unwrap_or(i64::MAX);
        let rows: Vec<(Time,)> = tx.rows(AssertSqlSafe(sql), args![account.0, size]).await?;
        tx.end().await;
        let mut cuts: Vec<Timestamp> = rows.into_iter().map(|(Time(at),)| at).collect();
        cuts.dedup();
        Ok(cuts)
    }

    /// How many rows each table holds. Counts them one by one: seconds for millions.
    pub async fn table_counts(&self, account: AccountId) -> Result<Vec<TableCount>, StoreError> {
        let mut tx = self
            .reading_at_length("count the rows", "the mirror")
            .await?;
        let mut counts = Vec::with_capacity(Resource::ALL.len());
        for resource in Resource::ALL {
            let sql = format!(
                "select count(*), count(removed_at) from {} where account_id = $1",
                resource.name()
            );
            let row: Option<(i64, i64)> = tx.row(AssertSqlSafe(sql), args![account.0]).await?;
            let (all, removed) = row.unwrap_or_default();
            counts.push(TableCount {
                resource,
                rows: count(all - removed),
                removed: count(removed),
            });
        }
        tx.end().await;
        Ok(counts)
    }

    /// The number of rows of all accounts in the tables for users.
    pub async fn all_counts(&self) -> Result<Vec<(&'static str, u64)>, StoreError> {
        let mut tx = self
            .reading_at_length("count the rows", "the mirror")
            .await?;
        let mut counts = Vec::new();
        // Those first that the others refer to least.
        let resources = Resource::ALL.into_iter().rev().map(Resource::name);
        for table in resources.chain(ASKED) {
            let sql = format!("select count(*) from {table}");
            let rows = tx.number(AssertSqlSafe(sql), Vec::new()).await?;
            counts.push((table, count(rows)));
        }
        tx.end().await;
        Ok(counts)
    }

    /// Fields that the platform sends and that have no column, as far as the last changed records
    /// have any. Resources without such fields are left out.
    pub async fn extra_keys(&self, account: AccountId) -> Result<Vec<ExtraKeys>, StoreError> {
        let mut tx = self
            .reading_at_length("read the extra fields", "the mirror")
            .await?;
        let mut found = Vec::new();
        for resource in Resource::ALL {
            let sql = format!(
                "select cast(extra as text) from (select extra from {} where account_id = $1 \
                 order by updated_at desc limit {EXTRA_SAMPLE}) as newest \
                 where extra is not null",
                resource.name()
            );
            let rows: Vec<(String,)> = tx.rows(AssertSqlSafe(sql), args![account.0]).await?;
            let mut keys = BTreeSet::new();
            for (extra,) in &rows {
                let fields: serde_json::Map<String, serde_json::Value> =
                    serde_json::from_str(extra)
                        .map_err(|_| tx.inconsistent("extra", "is not a JSON object"))?;
                keys.extend(fields.into_iter().map(|(key, _)| key));
            }
            if !keys.is_empty() {
                found.push(ExtraKeys {
                    resource,
                    keys: keys.into_iter().take(EXTRA_KEYS).collect(),
                });
            }
        }
        tx.end().await;
        Ok(found)
    }
}
