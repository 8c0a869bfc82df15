//! The right to write for an account: one process at a time.
//!
//! A lease is a row with a number, its epoch, that grows by one whenever the right changes hands.
//! Every writing transaction looks its epoch up and keeps the row from changing until it ends, so
//! that a process which was stopped, replaced and woken again can write nothing (fencing).

use std::time::Duration;

use sqlx::{AssertSqlSafe, FromRow};

use super::account::AccountId;
use super::error::StoreError;
use super::holder::Holder;
use super::open::Store;
use super::run;
use super::transaction::Transaction;
use super::value::{Time, args};
use crate::data::Timestamp;

/// How long a lease lives without being renewed.
pub const LEASE_TTL: Duration = Duration::from_secs(30);

/// The right to write for one account, until it is released or lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub(super) account: AccountId,
    pub(super) epoch: i64,
}

impl Lease {
    /// The account it is for.
    pub const fn account(&self) -> AccountId {
        self.account
    }

    /// How often the right had changed hands when it was given.
    pub const fn epoch(&self) -> i64 {
        self.epoch
    }
}

/// The answer to [`Store::acquire`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acquired {
    /// It is ours.
    Lease(Lease),
    /// Another process has it.
    Held {
        /// Which one, for people.
        by: String,
        /// Since when.
        since: Timestamp,
    },
}

/// Who writes for an account at present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseStatus {
    /// Which process, for people.
    pub by: String,
    /// Which process, for others that could look for it.
    pub holder: Holder,
    /// Since when.
    pub since: Timestamp,
    /// When it last said that it lives.
    pub renewed_at: Timestamp,
}

#[derive(Debug, FromRow)]
struct Stored {
    epoch: i64,
    host: String,
    boot_id: String,
    pid_namespace: String,
    pid: i64,
    process_start: i64,
    acquired_at: Time,
    renewed_at: Time,
    released_at: Option<Time>,
    now: Time,
}

impl Stored {
    /// Whether nobody has it. A renewal from the future means that the clock was set back since:
    /// a live holder corrects it within seconds, a dead one must not keep it until the clock has
    /// caught up.
    fn is_free_for(&self, claimant: &Holder) -> bool {
        let (now, renewed) = (self.now.0, self.renewed_at.0);
        let age = now.since(renewed).max(renewed.since(now));
        self.released_at.is_some() || age > LEASE_TTL || claimant.knows_dead(&self.holder())
    }

    fn holder(&self) -> Holder {
        Holder {
            host: self.host.clone(),
            boot_id: self.boot_id.clone(),
            pid_namespace: self.pid_namespace.clone(),
            pid: self.pid,
            process_start: self.process_start,
        }
    }
}

const COLUMNS: &str = "epoch, host, boot_id, pid_namespace, pid, process_start, acquired_at, \
                       renewed_at, released_at";

impl Store {
    /// Takes the right to write for an account, if nobody has it: it was released, its holder's
    /// process has ended on this machine, or it was not renewed for [`LEASE_TTL`]. Runs that the
    /// last holder left unfinished are marked as interrupted, and idle ones forgotten as by
    /// [`Store::forget_idle_runs`].
    pub async fn acquire(
        &self,
        account: AccountId,
        holder: &Holder,
        now: Timestamp,
    ) -> Result<Acquired, StoreError> {
        let mut tx = self.writing("acquire the lease", "leases").await?;
        // The row must exist to be locked.
        tx.execute(
            "insert into leases (account_id, epoch, host, boot_id, pid_namespace, pid, \
             process_start, acquired_at, renewed_at, released_at) \
             values ($1, 0, '', '', '', 0, 0, $2, $2, $2) on conflict (account_id) do nothing",
            args![account.0, now],
        )
        .await?;
        let sql = format!(
            "select {COLUMNS}, {} as now from leases where account_id = $1{}",
            tx.backend().lease_now("$2"),
            tx.backend().lock()
        );
        let stored: Stored = tx
            .row(AssertSqlSafe(sql), args![account.0, now])
            .await?
            .ok_or_else(|| tx.inconsistent("account_id", "lacks this account"))?;
        if !stored.is_free_for(holder) {
            return Ok(Acquired::Held {
                by: stored.holder().to_string(),
                since: stored.acquired_at.0,
            });
        }
        let epoch = stored.epoch + 1;
        tx.execute(
            "update leases set epoch = $2, host = $3, boot_id = $4, pid_namespace = $5, pid = $6, \
             process_start = $7, acquired_at = $8, renewed_at = $8, released_at = null \
             where account_id = $1",
            args![
                account.0,
                epoch,
                holder.host.as_str(),
                holder.boot_id.as_str(),
                holder.pid_namespace.as_str(),
                holder.pid,
                holder.process_start,
                stored.now.0,
            ],
        )
        .await?;
        tx.execute(
            "update sync_runs set outcome = 'interrupted', finished_at = $2 \
             where account_id = $1 and outcome is null",
            args![account.0, now],
        )
        .await?;
        run::forget_idle(&mut tx, account, now).await?;
        tx.commit().await?;
        Ok(Acquired::Lease(Lease { account, epoch }))
    }

    /// Says that the holder lives. To be called well within [`LEASE_TTL`]. Refused if what the holder
    /// wrote last had no answer: who cannot write need not keep others from it.
    pub async fn renew(&self, lease: &Lease, now: Timestamp) -> Result<(), StoreError> {
        if self.wrote_in_vain() {
            return Err(StoreError::silent("renew the lease"));
        }
        let mut tx = self.writing("renew the lease", "leases").await?;
        let sql = format!(
            "update leases set renewed_at = {} \
             where account_id = $1 and epoch = $2 and released_at is null",
            tx.backend().lease_now("$3")
        );
        let renewed = tx
            .execute(AssertSqlSafe(sql), args![lease.account.0, lease.epoch, now])
            .await?;
        if renewed == 0 {
            return Err(StoreError::LeaseLost);
        }
        tx.commit().await
    }

    /// Gives the right back. Not an error if it was lost before.
    pub async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        let mut tx = self.writing("release the lease", "leases").await?;
        tx.execute(
            "update leases set released_at = renewed_at where account_id = $1 and epoch = $2",
            args![lease.account.0, lease.epoch],
        )
        .await?;
        tx.commit().await
    }

    /// Who writes for the account; `None` if the lease was released or never taken. A holder that
    /// died without a word is still shown: `renewed_at` tells.
    pub async fn lease_status(
        &self,
        account: AccountId,
    ) -> Result<Option<LeaseStatus>, StoreError> {
        let mut tx = self.reading("read the lease", "leases").await?;
        let sql = format!(
            "select {COLUMNS}, renewed_at as now from leases \
             where account_id = $1 and released_at is null"
        );
        let stored: Option<Stored> = tx.row(AssertSqlSafe(sql), args![account.0]).await?;
        tx.end().await;
        Ok(stored.map(|stored| LeaseStatus {
            by: stored.holder().to_string(),
            holder: stored.holder(),
            since: stored.acquired_at.0,
            renewed_at: stored.renewed_at.0,
        }))
    }
}

impl Transaction {
    /// Fails unless `lease` is still the one in force, and keeps it so until this transaction ends,
    /// from renewals too: [`Transaction::renewed`] makes up for those.
    pub(super) async fn fence(&mut self, lease: &Lease) -> Result<(), StoreError> {
        let sql = format!(
            "select epoch from leases where account_id = $1 and released_at is null{}",
            self.backend().lock()
        );
        let epoch: Option<(i64,)> = self.row(AssertSqlSafe(sql), args![lease.account.0]).await?;
        match epoch {
            Some((epoch,)) if epoch == lease.epoch => Ok(()),
            _ => Err(StoreError::LeaseLost),
        }
    }
}

impl Transaction {
    /// Renews the lease at the end of a long transaction: while it lasted nothing else could, and
    /// whoever waits for the lease sees it next. SQLite leaves whoever waits with an error before
    /// that.
    pub(super) async fn renewed(&mut self, lease: &Lease) -> Result<(), StoreError> {
        self.execute(
            "update leases set renewed_at = clock_timestamp() \
             where account_id = $1 and epoch = $2 and released_at is null",
            args![lease.account.0, lease.epoch],
        )
        .await?;
        Ok(())
    }
}

impl Store {
    /// A transaction that writes under a lease.
    pub(super) async fn writing_under(
        &self,
        lease: &Lease,
        doing: &'static str,
        table: &'static str,
    ) -> Result<Transaction, StoreError> {
        let mut tx = self.writing(doing, table).await?;
        tx.under(lease);
        tx.fence(lease).await?;
        Ok(tx)
    }
}
