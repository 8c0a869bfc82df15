//! Questions about what is stored, for `status`, the re-reading of open sessions and the like.

use std::collections::BTreeSet;

use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::account::AccountId;
use super::error::StoreError;
use super::open::Store;
use super::run::count;
use super::value::{Id, args};
use crate::data::Resource;

/// How many rows a table holds of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableCount {
    /// Of which resource.
    pub resource: Resource,
    /// Rows that are not removed, placeholders included.
    pub rows: u64,
    /// Rows with `removed_at`.
    pub removed: u64,
}

/// Fields of the platform's records that have no column here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtraKeys {
    /// Of which resource.
    pub resource: Resource,
    /// Their names, in alphabetical order.
    pub keys: Vec<String>,
}

/// Rows of a table that are looked through for extra fields, the last changed ones.
const EXTRA_SAMPLE: i64 = 500;

/// Names of extra fields that are listed.
const EXTRA_KEYS: usize = 50;

/// The tables that people ask.
const ASKED: [&str; 9] = [
    "sessions",
    "contacts",
    "tags",
    "channels",
    "departments",
    "agents",
    "contact_tags",
    "session_tags",
    "sync_runs",
];

impl Store {
    /// Ids of the sessions that are stored as open and not removed.
    pub async fn open_session_ids(&self, account: AccountId) -> Result<Vec<Uuid>, StoreError> {
        let mut tx = self.reading("read the open sessions", "sessions").await?;
        let rows: Vec<(Id,)> = tx
            .rows(
                "select id from sessions where account_id = $1 and removed_at is null \
                 and status in ('STARTED', 'PENDING', 'IN_PROGRESS') order by id",
                args![account.0],
            )
            .await?;
        tx.end().await;
        Ok(rows.into_iter().map(|(Id(id),)| id).collect())
    }

    /// How many rows each table holds. Counts them one by one: seconds for millions.
    pub async fn table_counts(&self, account: AccountId) -> Result<Vec<TableCount>, StoreError> {
        let mut tx = self.reading("count the rows", "the mirror").await?;
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

    /// How many rows the tables hold that people ask, all accounts together.
    pub async fn all_counts(&self) -> Result<Vec<(&'static str, u64)>, StoreError> {
        let mut tx = self.reading("count the rows", "the mirror").await?;
        let mut counts = Vec::with_capacity(ASKED.len());
        for table in ASKED {
            let sql = format!("select count(*) from {table}");
            let rows = tx.number(AssertSqlSafe(sql), Vec::new()).await?;
            counts.push((table, count(rows)));
        }
        tx.end().await;
        Ok(counts)
    }

    /// Fields that the platform sends and that have no column, as far as the records that changed
    /// last show any; resources without such fields are left out.
    pub async fn extra_keys(&self, account: AccountId) -> Result<Vec<ExtraKeys>, StoreError> {
        let mut tx = self.reading("read the extra fields", "the mirror").await?;
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
                        .map_err(|_| tx.inconsistent("extra", "is no JSON object"))?;
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
