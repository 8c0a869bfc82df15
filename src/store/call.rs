//! Calls of the platform that wait for the lease holder of their account, `doorbell_calls`.
//!
//! A process without the lease stores what it was called about, and the lease holder takes it. A call is a
//! hint, so this needs no lease: what is lost here is read by the next sync. Must not know what follows from
//! a call.

use std::collections::BTreeSet;
use std::time::Duration;

use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::account::AccountId;
use super::error::StoreError;
use super::open::Store;
use super::run::{count, stored_count};
use super::transaction::record;
use super::value::{Time, args};
use crate::data::{Resource, Timestamp};

/// How long calls wait for a lease holder. Later, a sync has read what they concern, or nobody works on the
/// account: then the first sync of the next lease holder reads it.
const KEPT: Duration = Duration::from_mins(1);

/// How long a statement may take. Whoever waits longer is not faster than the next sync.
const PATIENCE: Duration = Duration::from_secs(5);

/// Calls about one record that waited for the lease holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingCall {
    /// The account.
    pub account: AccountId,
    /// What has changed.
    pub resource: Resource,
    /// The record. `None` if the calls named none.
    pub record: Option<Uuid>,
    /// How many calls this stands for. 0 if they are counted elsewhere.
    pub calls: u64,
    /// When the last one was stored.
    pub called_at: Timestamp,
}

record! {
    #[derive(Debug)]
    struct Stored {
        account_id: i64,
        resource: String,
        record: String,
        calls: i64,
        called_at: Time,
    }
}

impl Stored {
    /// `None` if another version of the program has stored something else.
    fn call(self) -> Option<WaitingCall> {
        let record = Some(self.record).filter(|record| !record.is_empty());
        Some(WaitingCall {
            account: AccountId(self.account_id),
            resource: self.resource.parse().ok()?,
            record: record.map(|record| record.parse()).transpose().ok()?,
            calls: count(self.calls),
            called_at: self.called_at.0,
        })
    }
}

impl Store {
    /// Stores what the platform has called about, for the process that works on the account of this name:
    /// records of one resource, `None` for calls that named none, and how many calls that were. Deletes what
    /// nobody has taken for a minute, of any account.
    pub async fn forward_calls(
        &self,
        account: &str,
        resource: Resource,
        records: &[Option<Uuid>],
        calls: u64,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let names = records.iter().map(|record| match record {
            Some(id) => id.to_string(),
            None => String::new(),
        });
        // One order, so that no two processes wait for each other's rows.
        let names: BTreeSet<String> = names.collect();
        let Some(first) = names.first() else {
            return Ok(());
        };
        let list = serde_json::json!(names).to_string();
        let store = self.clone().with_patience_up_to(PATIENCE);
        let mut tx = store.writing("forward a call", "doorbell_calls").await?;
        let clock = tx.backend().lease_now("$6");
        let values = tx.backend().values("$3");
        let sql = format!(
            "insert into doorbell_calls (account_id, resource, record, calls, called_at) \
             select accounts.id, $2, named.value, case when named.value = $4 then $5 else 0 end, {clock} \
             from accounts cross join ({values}) as named where accounts.name = $1 \
             order by named.value \
             on conflict (account_id, resource, record) do update \
             set calls = doorbell_calls.calls + excluded.calls, called_at = excluded.called_at"
        );
        tx.execute(
            AssertSqlSafe(sql),
            args![
                account,
                resource.name(),
                list,
                first.as_str(),
                stored_count(calls),
                now
            ],
        )
        .await?;
        let sql = format!("select {} as now", tx.backend().lease_now("$1"));
        let clock: Option<(Time,)> = tx.row(AssertSqlSafe(sql), args![now]).await?;
        let now = clock.map_or(now, |(Time(now),)| now);
        // Of all accounts, since some may have no process any more. What another process is storing or taking
        // just now is left.
        let sql = format!(
            "delete from doorbell_calls where (account_id, resource, record) in \
             (select account_id, resource, record from doorbell_calls where called_at < $1{})",
            tx.backend().lock_if_free()
        );
        tx.execute(AssertSqlSafe(sql), args![now - KEPT]).await?;
        tx.commit().await
    }

    /// Takes the calls that wait for the lease holder of these accounts. Nobody else gets them any more. Only
    /// reads if there are none.
    pub async fn take_calls(&self, accounts: &[AccountId]) -> Result<Vec<WaitingCall>, StoreError> {
        let ids: Vec<i64> = accounts.iter().map(|account| account.0).collect();
        let ids = serde_json::json!(ids).to_string();
        let store = self.clone().with_patience_up_to(PATIENCE);
        let mut tx = store
            .reading("look for calls of the platform", "doorbell_calls")
            .await?;
        let these = format!(
            "account_id in (select cast(value as bigint) from ({}) as held)",
            tx.backend().values("$1")
        );
        let sql = format!("select count(*) from doorbell_calls where {these}");
        let waiting = tx.number(AssertSqlSafe(sql), args![ids.as_str()]).await?;
        tx.end().await;
        if waiting == 0 {
            return Ok(Vec::new());
        }
        let mut tx = store
            .writing("take calls of the platform", "doorbell_calls")
            .await?;
        // A row that is just being stored is taken the next time.
        let sql = format!(
            "delete from doorbell_calls where (account_id, resource, record) in \
             (select account_id, resource, record from doorbell_calls where {these} \
             order by account_id, resource, record{}) \
             returning account_id, resource, record, calls, called_at",
            tx.backend().lock_if_free()
        );
        let taken: Vec<Stored> = tx.rows(AssertSqlSafe(sql), args![ids]).await?;
        tx.commit().await?;
        Ok(taken.into_iter().filter_map(Stored::call).collect())
    }
}
