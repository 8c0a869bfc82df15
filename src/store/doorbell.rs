//! What is known of an account's doorbell: the subscription on the platform, and how often it rang.

use super::account::AccountId;
use super::error::StoreError;
use super::lease::Lease;
use super::open::Store;
use super::run::{count, stored_count};
use super::value::{Time, args};
use crate::data::{DoorbellRecord, SubscriptionState, Timestamp};

impl Store {
    /// What is known of the account's doorbell. `None` if it has none, as far as is known.
    pub async fn doorbell(&self, account: AccountId) -> Result<Option<DoorbellRecord>, StoreError> {
        type Row = (Option<String>, Option<Time>, Option<Time>, i64);
        let mut tx = self.reading("read the account", "accounts").await?;
        let row: Option<Row> = tx
            .row(
                "select doorbell, doorbell_checked_at, last_ring_at, rings from accounts \
                 where id = $1 and (doorbell is not null or last_ring_at is not null)",
                args![account.0],
            )
            .await?;
        tx.end().await;
        Ok(row.map(|(state, checked, last, rings)| DoorbellRecord {
            state: state.map(|text| SubscriptionState::from_stored(&text)),
            checked_at: checked.map(|Time(at)| at),
            last_ring_at: last.map(|Time(at)| at),
            rings: count(rings),
        }))
    }

    /// Stores the state of the subscription that rings the doorbell.
    pub async fn note_subscription(
        &self,
        lease: &Lease,
        state: SubscriptionState,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self
            .writing_under(lease, "store the state of the doorbell", "accounts")
            .await?;
        tx.execute(
            "update accounts set doorbell = $2, doorbell_checked_at = $3 where id = $1",
            args![lease.account().0, state.as_str(), now],
        )
        .await?;
        tx.commit().await
    }

    /// Stores that the platform has called so often, and when it did last.
    pub async fn note_rings(
        &self,
        lease: &Lease,
        rings: u64,
        last: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self
            .writing_under(lease, "store the state of the doorbell", "accounts")
            .await?;
        tx.execute(
            "update accounts set rings = rings + $2, last_ring_at = case when last_ring_at > $3 \
             then last_ring_at else $3 end where id = $1",
            args![lease.account().0, stored_count(rings), last],
        )
        .await?;
        tx.commit().await
    }

    /// Forgets the doorbell of an account that has none any more. Writes nothing if nothing is known of it.
    pub async fn forget_doorbell(&self, lease: &Lease) -> Result<(), StoreError> {
        if self.doorbell(lease.account()).await?.is_none() {
            return Ok(());
        }
        let mut tx = self
            .writing_under(lease, "store the state of the doorbell", "accounts")
            .await?;
        tx.execute(
            "update accounts set doorbell = null, doorbell_checked_at = null, last_ring_at = null, \
             rings = 0 where id = $1",
            args![lease.account().0],
        )
        .await?;
        tx.execute(
            "delete from doorbell_calls where account_id = $1",
            args![lease.account().0],
        )
        .await?;
        tx.commit().await
    }
}
