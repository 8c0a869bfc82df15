//! The processes of `run` that share the accounts: who is there, and which accounts each can sync.
//!
//! A process that syncs nothing holds no lease, so the leases alone do not show it. What is stored here
//! only decides who takes which lease; the right to write is the lease itself.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sqlx::AssertSqlSafe;

use super::account::AccountId;
use super::error::StoreError;
use super::holder::Holder;
use super::lease::{self, LEASE_TTL, LeaseStatus};
use super::open::Store;
use super::transaction::record;
use super::value::{Time, args};
use crate::data::Timestamp;

/// A process counts as gone if it was not seen for this long. Shorter than [`LEASE_TTL`]: when its leases
/// expire, nobody leaves them to it any more.
pub const INSTANCE_TTL: Duration = Duration::from_secs(LEASE_TTL.as_secs() * 4 / 5);

/// How long a statement about processes may take: one that is not answered must not hide a process.
const PATIENCE: Duration = Duration::from_secs(3);

/// For how many times [`INSTANCE_TTL`] the row of a process that has gone is kept.
const FORGET_AFTER: u32 = 100;

/// A process of `run`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// The process.
    pub holder: Holder,
    /// The accounts that it can sync.
    pub accounts: BTreeSet<AccountId>,
}

/// Who shares the accounts, and who holds which.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shared {
    /// The processes that were seen within [`INSTANCE_TTL`].
    pub instances: Vec<Instance>,
    /// The leases that are valid. The lease of every other account is free.
    pub leases: BTreeMap<AccountId, LeaseStatus>,
}

record! {
    #[derive(Debug)]
    struct StoredInstance {
        ..holder: Holder,
        accounts: String,
        seen_at: Time,
        now: Time,
    }
}

const IS_SAME: &str = "host = $1 and boot_id = $2 and pid_namespace = $3 and pid = $4 \
                       and process_start = $5";

impl Store {
    /// Records that this process is there and can sync these accounts. Call it well within
    /// [`INSTANCE_TTL`]. Deletes processes that have gone long ago.
    pub async fn announce(
        &self,
        me: &Holder,
        accounts: &BTreeSet<AccountId>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let ids: Vec<i64> = accounts.iter().map(|account| account.0).collect();
        let ids = serde_json::json!(ids).to_string();
        let store = self.clone().with_patience_up_to(PATIENCE);
        let mut tx = store.writing("announce this process", "instances").await?;
        let clock = tx.backend().lease_now("$7");
        let sql = format!(
            "insert into instances (host, boot_id, pid_namespace, pid, process_start, accounts, \
             seen_at) values ($1, $2, $3, $4, $5, $6, {clock}) \
             on conflict (host, boot_id, pid_namespace, pid, process_start) \
             do update set accounts = excluded.accounts, seen_at = excluded.seen_at"
        );
        tx.execute(
            AssertSqlSafe(sql),
            args![
                me.host.as_str(),
                me.boot_id.as_str(),
                me.pid_namespace.as_str(),
                me.pid,
                me.process_start,
                ids,
                now,
            ],
        )
        .await?;
        let sql = format!("select {} as now", tx.backend().lease_now("$1"));
        let clock: Option<(Time,)> = tx.row(AssertSqlSafe(sql), args![now]).await?;
        let now = clock.map_or(now, |(Time(now),)| now);
        tx.execute(
            "delete from instances where seen_at < $1",
            args![now - INSTANCE_TTL * FORGET_AFTER],
        )
        .await?;
        tx.commit().await
    }

    /// Records that this process is about to end, and takes no lease any more.
    pub async fn withdraw(&self, me: &Holder) -> Result<(), StoreError> {
        let mut tx = self.writing("withdraw this process", "instances").await?;
        tx.execute(
            AssertSqlSafe(format!("delete from instances where {IS_SAME}")),
            args![
                me.host.as_str(),
                me.boot_id.as_str(),
                me.pid_namespace.as_str(),
                me.pid,
                me.process_start,
            ],
        )
        .await?;
        tx.commit().await
    }

    /// Who shares the accounts now, as far as `me` can know. Writes nothing.
    pub async fn shared(&self, me: &Holder, now: Timestamp) -> Result<Shared, StoreError> {
        let mut tx = self
            .reading("read who shares the accounts", "instances")
            .await?;
        let sql = format!(
            "select host, boot_id, pid_namespace, pid, process_start, accounts, seen_at, {} as now \
             from instances order by host, boot_id, pid_namespace, pid, process_start",
            tx.backend().lease_now("$1"),
        );
        let stored: Vec<StoredInstance> = tx.rows(AssertSqlSafe(sql), args![now]).await?;
        let mut instances = Vec::new();
        for stored in stored {
            let (seen, now) = (stored.seen_at.0, stored.now.0);
            // Either clock may have been set back since.
            let age = now.since(seen).max(seen.since(now));
            if age > INSTANCE_TTL || me.knows_dead(&stored.holder) {
                continue;
            }
            let accounts: Vec<i64> = serde_json::from_str(&stored.accounts)
                .map_err(|_| tx.inconsistent("accounts", "is not a list of ids"))?;
            let accounts = accounts.into_iter().map(AccountId).collect();
            instances.push(Instance {
                holder: stored.holder,
                accounts,
            });
        }
        let leases = lease::valid(&mut tx, me, now).await?;
        tx.end().await;
        Ok(Shared { instances, leases })
    }
}
