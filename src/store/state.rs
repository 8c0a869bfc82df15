//! The state of the streams, `sync_state`, and what operators did to it.

use sqlx::FromRow;

use super::account::AccountId;
use super::error::StoreError;
use super::lease::Lease;
use super::open::Store;
use super::transaction::Transaction;
use super::value::{Time, args};
use crate::data::{Ordering, Stream, StreamState, Timestamp};

/// The state of a stream or a list, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamStatus {
    /// The resource's name.
    pub resource: String,
    /// The stream's partition; empty if it has none.
    pub partition: String,
    /// See [`StreamState::watermark`].
    pub watermark: Option<Timestamp>,
    /// See [`StreamState::observed_at`].
    pub observed_at: Option<Timestamp>,
    /// See [`StreamState::ordering`].
    pub ordering: Ordering,
    /// When a pass last ended well, by this machine's clock.
    pub last_success_at: Option<Timestamp>,
    /// Why it could not be read when that was last tried; `None` if it was read.
    pub last_error: Option<String>,
    /// When that was.
    pub last_error_at: Option<Timestamp>,
}

#[derive(Debug, FromRow)]
struct StoredState {
    resource: String,
    partition: String,
    watermark: Option<Time>,
    observed_at: Option<Time>,
    ordering: String,
    ordering_checked_at: Option<Time>,
    last_success_at: Option<Time>,
    last_error: Option<String>,
    last_error_at: Option<Time>,
}

impl StoredState {
    fn state(&self, stream: Stream) -> StreamState {
        StreamState {
            stream,
            watermark: self.watermark.map(|Time(at)| at),
            observed_at: self.observed_at.map(|Time(at)| at),
            ordering: Ordering::from_stored(&self.ordering),
            ordering_checked_at: self.ordering_checked_at.map(|Time(at)| at),
        }
    }
}

impl From<StoredState> for StreamStatus {
    fn from(stored: StoredState) -> Self {
        Self {
            resource: stored.resource,
            partition: stored.partition,
            watermark: stored.watermark.map(|Time(at)| at),
            observed_at: stored.observed_at.map(|Time(at)| at),
            ordering: Ordering::from_stored(&stored.ordering),
            last_success_at: stored.last_success_at.map(|Time(at)| at),
            last_error: stored.last_error,
            last_error_at: stored.last_error_at.map(|Time(at)| at),
        }
    }
}

impl Store {
    /// The state of every stream that has one.
    pub async fn states(&self, account: AccountId) -> Result<Vec<StreamState>, StoreError> {
        let rows = self.stored_states(account).await?;
        // Lists have a row for their last success, but are no streams.
        Ok(rows
            .iter()
            .filter_map(|row| Some(row.state(Stream::find(&row.resource, &row.partition)?)))
            .collect())
    }

    /// The state of one stream; that of a stream never read if none is stored.
    pub async fn state(
        &self,
        account: AccountId,
        stream: Stream,
    ) -> Result<StreamState, StoreError> {
        let states = self.states(account).await?;
        Ok(states
            .into_iter()
            .find(|state| state.stream == stream)
            .unwrap_or_else(|| StreamState::new(stream)))
    }

    /// Streams and lists with their last success and error.
    pub async fn stream_statuses(
        &self,
        account: AccountId,
    ) -> Result<Vec<StreamStatus>, StoreError> {
        let rows = self.stored_states(account).await?;
        Ok(rows.into_iter().map(StreamStatus::from).collect())
    }

    async fn stored_states(&self, account: AccountId) -> Result<Vec<StoredState>, StoreError> {
        let mut tx = self.reading("read the state", "sync_state").await?;
        let rows = tx
            .rows(
                "select resource, partition, watermark, observed_at, ordering, ordering_checked_at, \
                 last_success_at, last_error, last_error_at from sync_state \
                 where account_id = $1 order by resource, partition",
                args![account.0],
            )
            .await?;
        tx.end().await;
        Ok(rows)
    }

    /// The operator's way to set a watermark: it may go back, and what was observed is forgotten.
    /// Old value, new value and time are recorded. Yields the old one.
    pub async fn set_watermark(
        &self,
        lease: &Lease,
        run: i64,
        stream: Stream,
        to: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        let mut tx = self
            .writing_under(lease, "set a watermark", "sync_state")
            .await?;
        let account = lease.account().0;
        let (resource, partition) = (stream.resource.name(), stream.partition);
        let old = stored_watermark(&mut tx, lease, stream).await?;
        tx.execute(
            "insert into sync_state (account_id, resource, partition, watermark) \
             values ($1, $2, $3, $4) on conflict (account_id, resource, partition) \
             do update set watermark = excluded.watermark, observed_at = null",
            args![account, resource, partition, to],
        )
        .await?;
        tx.execute(
            "insert into state_changes (account_id, resource, partition, old_watermark, \
             new_watermark, changed_at, run_id) values ($1, $2, $3, $4, $5, $6, $7)",
            args![account, resource, partition, old, to, now, run],
        )
        .await?;
        tx.execute(
            "update sync_runs set watermark_before = $3, watermark_after = $4 \
             where id = $1 and account_id = $2",
            args![run, account, old, to],
        )
        .await?;
        tx.commit().await?;
        Ok(old)
    }

    /// Notes whether the server honours the order asked for.
    pub async fn set_ordering(
        &self,
        lease: &Lease,
        stream: Stream,
        ordering: Ordering,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self
            .writing_under(lease, "note a stream's order", "sync_state")
            .await?;
        tx.execute(
            "insert into sync_state \
             (account_id, resource, partition, ordering, ordering_checked_at) \
             values ($1, $2, $3, $4, $5) on conflict (account_id, resource, partition) \
             do update set ordering = excluded.ordering, \
             ordering_checked_at = excluded.ordering_checked_at",
            args![
                lease.account().0,
                stream.resource.name(),
                stream.partition,
                ordering.as_str(),
                now,
            ],
        )
        .await?;
        tx.commit().await
    }
}

/// The watermark as stored, inside a transaction.
pub(super) async fn stored_watermark(
    tx: &mut Transaction,
    lease: &Lease,
    stream: Stream,
) -> Result<Option<Timestamp>, StoreError> {
    let row: Option<(Option<Time>,)> = tx
        .row(
            "select watermark from sync_state \
             where account_id = $1 and resource = $2 and partition = $3",
            args![lease.account().0, stream.resource.name(), stream.partition],
        )
        .await?;
    Ok(row.and_then(|(watermark,)| watermark).map(|Time(at)| at))
}
