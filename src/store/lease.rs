//! Leases: the right to write for an account, which one process holds at a time.
//!
//! A lease is a row with a number, its epoch, which grows by one whenever another process acquires
//! the lease. Every writing transaction checks the epoch and locks the row until it ends. So a
//! process that was frozen, replaced and resumed cannot write (fencing). Waiting for a lease only
//! reads, so it does not delay the holder.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sqlx::AssertSqlSafe;

use super::account::AccountId;
use super::error::StoreError;
use super::holder::Holder;
use super::open::Store;
use super::run;
use super::transaction::{Transaction, record};
use super::value::{Time, args};
use crate::data::Timestamp;

/// The smallest difference between two readings that both databases can represent.
const READING_STEP: Duration = Duration::from_micros(1);

/// A lease expires if it is not renewed for this long.
///
/// The accounts of a process that is lost are to move within 30 seconds. The leases expire after this time, a
/// process that misses an account looks every second, and acquiring the lease takes a moment: 22 or 23
/// seconds. The rest is for machines and databases that are busy, which were seen to add five seconds.
pub const LEASE_TTL: Duration = Duration::from_secs(20);

/// How long a renewal waits for its answer. The first one is sent when a third of [`LEASE_TTL`] has passed,
/// and another one must fit in before the holder gives up, a few seconds before the lease expires.
const RENEWAL: Duration = Duration::from_secs(LEASE_TTL.as_secs() * 3 / 10);

/// The right to write for one account, until it is released or lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub(super) account: AccountId,
    pub(super) epoch: i64,
    pub(super) reads_from: Timestamp,
}

impl Lease {
    /// The account it is for.
    pub const fn account(&self) -> AccountId {
        self.account
    }

    /// How often the lease had been acquired, this time included.
    pub const fn epoch(&self) -> i64 {
        self.epoch
    }

    /// Where the readings of this holder begin in the order of readings
    /// ([`ReadingOrder`](crate::schema::ReadingOrder)): after all readings that earlier holders
    /// stored.
    pub const fn reads_from(&self) -> Timestamp {
        self.reads_from
    }
}

/// The answer to [`Store::acquire`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acquired {
    /// This process acquired the lease.
    Lease(Lease),
    /// Another process holds it.
    Held(LeaseStatus),
}

/// The lease holder of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseStatus {
    /// The holder, as text.
    pub by: String,
    /// The holder, to look for its process.
    pub holder: Holder,
    /// Since when it holds the lease.
    pub since: Timestamp,
    /// When it last renewed the lease.
    pub renewed_at: Timestamp,
}

record! {
    #[derive(Debug)]
    struct Stored {
        ..holder: Holder,
        account_id: i64,
        epoch: i64,
        acquired_at: Time,
        renewed_at: Time,
        released_at: Option<Time>,
        read_to: Option<Time>,
        now: Time,
    }
}

impl Stored {
    /// Whether the lease is free. A renewal in the future means that the clock was set back since.
    /// A live holder corrects it within seconds; a dead one must not keep the lease until the clock
    /// has caught up.
    fn is_free_for(&self, claimant: &Holder) -> bool {
        self.released_at.is_some() || self.has_expired() || claimant.knows_dead(&self.holder)
    }

    fn has_expired(&self) -> bool {
        let (now, renewed) = (self.now.0, self.renewed_at.0);
        now.since(renewed).max(renewed.since(now)) > LEASE_TTL
    }

    fn status(&self) -> LeaseStatus {
        LeaseStatus {
            by: self.holder.to_string(),
            holder: self.holder.clone(),
            since: self.acquired_at.0,
            renewed_at: self.renewed_at.0,
        }
    }

    fn held(&self) -> Acquired {
        Acquired::Held(self.status())
    }
}

const COLUMNS: &str = "account_id, epoch, host, boot_id, pid_namespace, pid, process_start, \
                       acquired_at, renewed_at, released_at, read_to";

/// The time after a wait for the right to write. On SQLite, whose leases are stamped with it, the wait may take
/// longer than a lease has left. A wait that is not worth mentioning is left out.
fn after_wait(asked: Timestamp, began: Instant) -> Timestamp {
    asked + Duration::from_secs(began.elapsed().as_secs())
}

impl Store {
    /// Acquires the lease of an account if it is free: it was released, its holder's process has
    /// ended on this machine, or it was not renewed for [`LEASE_TTL`]. If another process holds it,
    /// this writes nothing and does not wait for other writers. Refused if the tables are not those
    /// of this version, for example because a later version has migrated them. Marks unfinished
    /// runs of the last holder as interrupted.
    pub async fn acquire(
        &self,
        account: AccountId,
        holder: &Holder,
        now: Timestamp,
    ) -> Result<Acquired, StoreError> {
        let mut tx = self.reading("read the lease", "leases").await?;
        let stored = stored(&mut tx, account, now, "").await?;
        tx.end().await;
        if let Some(stored) = stored.filter(|stored| !stored.is_free_for(holder)) {
            return Ok(stored.held());
        }
        let began = Instant::now();
        let mut tx = self.writing("acquire the lease", "leases").await?;
        let now = after_wait(now, began);
        // The row must exist to be locked.
        tx.execute(
            "insert into leases (account_id, epoch, host, boot_id, pid_namespace, pid, \
             process_start, acquired_at, renewed_at, released_at) \
             values ($1, 0, '', '', '', 0, 0, $2, $2, $2) on conflict (account_id) do nothing",
            args![account.0, now],
        )
        .await?;
        let lock = tx.backend().lock();
        let stored = self::stored(&mut tx, account, now, lock)
            .await?
            .ok_or_else(|| tx.inconsistent("account_id", "does not have this account"))?;
        // Another process may have acquired it meanwhile.
        if !stored.is_free_for(holder) {
            return Ok(stored.held());
        }
        // After the lock: a migration increments the epoch after it changed the version.
        self.confirm_version(&mut tx).await?;
        let epoch = stored.epoch + 1;
        // Not the time at which the row was asked for: it may have been locked for a while.
        let clock = tx.backend().lease_now("$8");
        let sql = format!(
            "update leases set epoch = $2, host = $3, boot_id = $4, pid_namespace = $5, pid = $6, \
             process_start = $7, acquired_at = {clock}, renewed_at = {clock}, released_at = null, \
             change_seq = case when change_seq < $9 then $9 else change_seq end \
             where account_id = $1"
        );
        tx.execute(
            AssertSqlSafe(sql),
            args![
                account.0,
                epoch,
                holder.host.as_str(),
                holder.boot_id.as_str(),
                holder.pid_namespace.as_str(),
                holder.pid,
                holder.process_start,
                now,
                // A restored or new database does not know which numbers were used before.
                stored.now.0.micros(),
            ],
        )
        .await?;
        run::interrupt_unfinished(&mut tx, account, now).await?;
        tx.commit().await?;
        let behind = stored.read_to.map(|Time(at)| at + READING_STEP);
        Ok(Acquired::Lease(Lease {
            account,
            epoch,
            reads_from: behind.map_or(now, |behind| behind.max(now)),
        }))
    }

    /// Renews the lease. Call it well within [`LEASE_TTL`]. Does not wait for a transaction that writes under
    /// the lease, which renews it at its end. Refused if the holder's last write had no answer: a holder
    /// that cannot write should not block others.
    pub async fn renew(&self, lease: &Lease, now: Timestamp) -> Result<(), StoreError> {
        if self.wrote_in_vain(lease.account) {
            return Err(StoreError::silent("renew the lease"));
        }
        let store = self.clone().with_patience_up_to(RENEWAL);
        let began = Instant::now();
        let mut tx = store.writing("renew the lease", "leases").await?;
        let now = after_wait(now, began);
        let is_ours = "account_id = $1 and epoch = $2 and released_at is null";
        let sql = format!(
            "update leases set renewed_at = {} where account_id = \
             (select account_id from leases where {is_ours}{})",
            tx.backend().lease_now("$3"),
            tx.backend().lock_if_free(),
        );
        let renewed = tx
            .execute(AssertSqlSafe(sql), args![lease.account.0, lease.epoch, now])
            .await?;
        if renewed == 0 {
            let sql = format!("select count(*) from leases where {is_ours}");
            let args = args![lease.account.0, lease.epoch];
            if tx.number(AssertSqlSafe(sql), args).await? == 0 {
                return Err(StoreError::LeaseLost);
            }
        }
        tx.commit().await
    }

    /// Releases the lease. It is not an error if the lease was lost before.
    pub async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        let mut tx = self.writing("release the lease", "leases").await?;
        tx.execute(
            "update leases set released_at = renewed_at where account_id = $1 and epoch = $2",
            args![lease.account.0, lease.epoch],
        )
        .await?;
        tx.commit().await
    }

    /// The lease holder of the account, if its lease is valid by the clock that leases use. A holder that has
    /// died on this machine is returned until its lease expires.
    pub async fn valid_lease(
        &self,
        account: AccountId,
        now: Timestamp,
    ) -> Result<Option<LeaseStatus>, StoreError> {
        let mut tx = self.reading("read the lease", "leases").await?;
        let stored = stored(&mut tx, account, now, "").await?;
        tx.end().await;
        let is_valid = |stored: &Stored| stored.released_at.is_none() && !stored.has_expired();
        Ok(stored.filter(is_valid).map(|stored| stored.status()))
    }

    /// The lease holder of the account. `None` if the lease was released or never acquired. A dead
    /// holder is still returned, and one whose lease has expired: [`Self::valid_lease`] knows.
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
        Ok(stored.map(|stored| stored.status()))
    }
}

/// The leases of all accounts that are valid, as far as `claimant` can know.
pub(super) async fn valid(
    tx: &mut Transaction,
    claimant: &Holder,
    now: Timestamp,
) -> Result<BTreeMap<AccountId, LeaseStatus>, StoreError> {
    let sql = format!(
        "select {COLUMNS}, {} as now from leases where released_at is null",
        tx.backend().lease_now("$1"),
    );
    let rows: Vec<Stored> = tx.rows(AssertSqlSafe(sql), args![now]).await?;
    // Each answer reads a file.
    let mut known: Vec<(Holder, bool)> = Vec::new();
    let mut is_dead = |holder: &Holder| {
        if let Some((_, is_dead)) = known.iter().find(|(known, _)| known == holder) {
            return *is_dead;
        }
        let is_dead = claimant.knows_dead(holder);
        known.push((holder.clone(), is_dead));
        is_dead
    };
    Ok(rows
        .into_iter()
        .filter(|row| !row.has_expired() && !is_dead(&row.holder))
        .map(|row| (AccountId(row.account_id), row.status()))
        .collect())
}

/// The stored lease, with the current time by the clock that leases use.
async fn stored(
    tx: &mut Transaction,
    account: AccountId,
    now: Timestamp,
    lock: &str,
) -> Result<Option<Stored>, StoreError> {
    let sql = format!(
        "select {COLUMNS}, {} as now from leases where account_id = $1{lock}",
        tx.backend().lease_now("$2"),
    );
    tx.row(AssertSqlSafe(sql), args![account.0, now]).await
}

impl Transaction {
    /// Whether nobody but this process works on an account: it holds the lease, or the lease is free.
    pub(super) async fn may_speak_for(
        &mut self,
        account: AccountId,
        holder: &Holder,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let stored = stored(self, account, now, "").await?;
        Ok(stored.is_none_or(|stored| stored.holder == *holder || stored.is_free_for(holder)))
    }

    /// Fails unless `lease` is still valid, and locks its row until this transaction ends. That
    /// also blocks renewals, so [`Transaction::renewed`] renews it at the end.
    pub(super) async fn fence(&mut self, lease: &Lease) -> Result<(), StoreError> {
        let sql = format!(
            "select epoch, change_seq, {} from leases \
             where account_id = $1 and released_at is null{}",
            self.backend().next_change(),
            self.backend().lock()
        );
        let row: Option<(i64, i64, i64)> =
            self.row(AssertSqlSafe(sql), args![lease.account.0]).await?;
        match row {
            Some((epoch, change_seq, next)) if epoch == lease.epoch => {
                self.under(lease, change_seq, next);
                Ok(())
            }
            _ => Err(StoreError::LeaseLost),
        }
    }
}

impl Transaction {
    /// Renews the lease at the end of a long transaction, since nothing else could renew it
    /// meanwhile, and a waiting process would find it expired. On SQLite a waiting process gets an
    /// error instead.
    pub(super) async fn renewed(
        &mut self,
        lease: &Lease,
        change_seq: i64,
        read_to: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        self.execute(
            "update leases set renewed_at = clock_timestamp(), change_seq = $3, \
             read_to = greatest(read_to, $4) \
             where account_id = $1 and epoch = $2 and released_at is null",
            args![lease.account.0, lease.epoch, change_seq, read_to],
        )
        .await?;
        Ok(())
    }

    /// Stores the account's new `change_seq`, and up to where in the order of readings this
    /// transaction has stored. SQLite only.
    pub(super) async fn changed(
        &mut self,
        lease: &Lease,
        change_seq: i64,
        read_to: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        self.execute(
            "update leases set change_seq = $2, \
             read_to = max(coalesce(read_to, $3), coalesce($3, read_to)) where account_id = $1",
            args![lease.account.0, change_seq, read_to],
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
        tx.fence(lease).await?;
        Ok(tx)
    }
}
