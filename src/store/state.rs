//! The state of streams, `sync_state`, and changes of it by operators.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::account::AccountId;
use super::backfill;
use super::error::StoreError;
use super::lease::Lease;
use super::open::Store;
use super::run::count;
use super::transaction::{Transaction, record};
use super::upsert::Stamp;
use super::value::{Time, args};
use crate::data::{
    Ordering, Resource, RunKind, RunOutcome, SourceError, Stream, StreamState, Timestamp,
};

/// The state of a stream or a list, for `status`.
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
    /// When it was last read completely, by this machine's clock.
    pub last_success_at: Option<Timestamp>,
    /// Why the last attempt failed. `None` if it succeeded.
    pub last_error: Option<String>,
    /// When that was.
    pub last_error_at: Option<Timestamp>,
    /// Since when the platform refuses the token for it. `None` if the last attempt did not end so.
    pub refused_since: Option<Timestamp>,
    /// How many milliseconds the `Date` header was ahead of the time stamps of records when the two
    /// last differed by more than the overlap (negative if behind), and when that was.
    pub clock_difference: Option<(i64, Timestamp)>,
    /// Since when a list lacks most of the stored records. A later reading must confirm it.
    pub doubted_at: Option<Timestamp>,
    /// The keys of the records that it lacks.
    pub doubted_keys: Vec<Uuid>,
    /// Sessions that were read with a `lastInteractionDate` well after their `updatedAt`.
    pub interactions_ahead: u64,
    /// When the last of them was read.
    pub interactions_ahead_at: Option<Timestamp>,
}

record! {
    #[derive(Debug)]
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
        watermark_seen_at: Option<Time>,
        watermark_seen_locally_at: Option<Time>,
        clock_difference_ms: Option<i64>,
        clock_difference_at: Option<Time>,
        doubted_at: Option<Time>,
        doubted_keys: Option<String>,
        interactions_ahead: i64,
        interactions_ahead_at: Option<Time>,
    }
}

impl StoredState {
    fn state(&self, stream: Stream) -> StreamState {
        StreamState {
            stream,
            watermark: self.watermark.map(|Time(at)| at),
            observed_at: self.observed_at.map(|Time(at)| at),
            observed_locally_at: self.last_success_at.map(|Time(at)| at),
            watermark_seen_at: self.watermark_seen_at.map(|Time(at)| at),
            watermark_seen_locally_at: self.watermark_seen_locally_at.map(|Time(at)| at),
            interactions_ahead_at: self.interactions_ahead_at.map(|Time(at)| at),
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
            clock_difference: stored
                .clock_difference_ms
                .zip(stored.clock_difference_at.map(|Time(at)| at)),
            doubted_at: stored.doubted_at.map(|Time(at)| at),
            // What cannot be read is not known, so that the list is doubted anew.
            doubted_keys: stored
                .doubted_keys
                .and_then(|keys| serde_json::from_str(&keys).ok())
                .unwrap_or_default(),
            interactions_ahead: count(stored.interactions_ahead),
            interactions_ahead_at: stored.interactions_ahead_at.map(|Time(at)| at),
            last_error: stored.last_error,
            last_error_at: stored.last_error_at.map(|Time(at)| at),
            refused_since: None,
        }
    }
}

/// An instant before the platform's first record: the lower bound before anything was read.
const NOTHING_READ: Timestamp = Timestamp::from_micros(0);

impl Transaction {
    /// The stream of interactions has a state from its first load on. It is not shown before it is
    /// followed.
    async fn stored_states(&mut self, account: AccountId) -> Result<Vec<StoredState>, StoreError> {
        self.rows(
            "select resource, partition, watermark, observed_at, ordering, ordering_checked_at, \
             last_success_at, last_error, last_error_at, watermark_seen_at, \
             watermark_seen_locally_at, clock_difference_ms, clock_difference_at, doubted_at, \
             doubted_keys, interactions_ahead, interactions_ahead_at from sync_state \
             where account_id = $1 and (partition <> $2 or exists \
             (select 1 from sync_state as sessions where sessions.account_id = $1 \
             and sessions.resource = $3 and sessions.partition = '' \
             and sessions.interactions_ahead_at is not null)) \
             order by resource, partition",
            args![
                account.0,
                Stream::INTERACTIONS.partition.as_str(),
                Stream::INTERACTIONS.resource.name(),
            ],
        )
        .await
    }

    /// When the platform first refused the token for a stream after its last success. `None` if no run says so
    /// any more.
    async fn refused_since(
        &mut self,
        account: AccountId,
        status: &StreamStatus,
    ) -> Result<Option<Timestamp>, StoreError> {
        let row: Option<(Option<Time>,)> = self
            .row(
                // A load is one run for all parts of its resource.
                "select finished_at from sync_runs where account_id = $1 and started_at >= $2 \
                 and resource = $3 and (partition = $4 or partition = '') \
                 and kind in ('incremental', 'list', 'first_load') and outcome = 'failed' \
                 and error like '% was refused with 40_: %' order by started_at limit 1",
                args![
                    account.0,
                    status.last_success_at.unwrap_or(NOTHING_READ),
                    status.resource.as_str(),
                    status.partition.as_str(),
                ],
            )
            .await?;
        Ok(row.and_then(|(at,)| at).map(|Time(at)| at))
    }

    /// Whether a version is so old that every replica of the platform shows it: the clock that
    /// stamps records had reached one overlap more when the last complete pass of any stream began.
    pub(super) async fn is_settled(
        &mut self,
        version: Timestamp,
        stamp: Stamp<'_>,
    ) -> Result<bool, StoreError> {
        let reached = if let Some(reached) = self.reached {
            reached
        } else {
            let states = self.stored_states(stamp.lease.account()).await?;
            let streams = states
                .iter()
                .filter_map(|row| Some(row.state(Stream::find(&row.resource, &row.partition)?)))
                .filter(|state| state.stream != Stream::INTERACTIONS);
            let reached = streams
                .filter_map(|state| Some(state.reached(state.watermark?, stamp.overlap)))
                .max();
            *self.reached.insert(reached.unwrap_or(NOTHING_READ))
        };
        Ok(version + stamp.overlap <= reached)
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

    /// The state of one stream. If none is stored, that of a stream that was never read.
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
        let mut tx = self.reading("read the state", "sync_state").await?;
        let rows = tx.stored_states(account).await?;
        let mut statuses: Vec<StreamStatus> = rows.into_iter().map(StreamStatus::from).collect();
        for status in &mut statuses {
            let error = status.last_error.as_deref();
            if error.is_some_and(SourceError::is_refusal) {
                let since = tx.refused_since(account, status).await?;
                status.refused_since = since.or(status.last_error_at);
            }
        }
        tx.end().await;
        Ok(statuses)
    }

    async fn stored_states(&self, account: AccountId) -> Result<Vec<StoredState>, StoreError> {
        let mut tx = self.reading("read the state", "sync_state").await?;
        let rows = tx.stored_states(account).await?;
        tx.end().await;
        Ok(rows)
    }

    /// Changes watermarks for an operator, in one transaction. `to` may be earlier than the old
    /// watermarks. Without it, the resources are loaded again: unfinished first loads of them are
    /// cancelled, and the watermarks of all streams of such a resource are cleared, since none of
    /// them was loaded. Deletes what was learned by reading up to the old watermarks. Stores the
    /// old value, the new value and the time, with a run for each stream. Returns the streams with
    /// their old watermarks.
    pub async fn set_watermarks(
        &self,
        lease: &Lease,
        streams: &[Stream],
        to: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Vec<(Stream, Option<Timestamp>)>, StoreError> {
        let mut tx = self
            .writing_under(lease, "set the watermarks", "sync_state")
            .await?;
        let mut streams = streams.to_vec();
        if to.is_none() {
            let resources: BTreeSet<Resource> = streams.iter().map(|it| it.resource).collect();
            for resource in resources {
                if backfill::give_up_first_loads(&mut tx, lease, resource, now).await? {
                    let others = resource.streams().into_iter();
                    let others: Vec<Stream> = others.filter(|it| !streams.contains(it)).collect();
                    streams.extend(others);
                }
            }
        }
        let mut olds = Vec::with_capacity(streams.len());
        for stream in streams {
            let old = set_watermark(&mut tx, lease, stream, to, now).await?;
            olds.push((stream, old));
        }
        tx.commit().await?;
        Ok(olds)
    }

    /// Stores whether the server sorts as requested.
    pub async fn set_ordering(
        &self,
        lease: &Lease,
        stream: Stream,
        ordering: Ordering,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self
            .writing_under(lease, "store a stream's order", "sync_state")
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
                stream.partition.as_str(),
                ordering.as_str(),
                now,
            ],
        )
        .await?;
        tx.commit().await
    }
}

async fn set_watermark(
    tx: &mut Transaction,
    lease: &Lease,
    stream: Stream,
    to: Option<Timestamp>,
    now: Timestamp,
) -> Result<Option<Timestamp>, StoreError> {
    let account = lease.account().0;
    let (resource, partition) = (stream.resource.name(), stream.partition.as_str());
    let old = stored_watermark(tx, lease, stream).await?;
    tx.execute(
        "insert into sync_state (account_id, resource, partition, watermark) \
         values ($1, $2, $3, $4) on conflict (account_id, resource, partition) \
         do update set watermark = excluded.watermark, observed_at = null, \
         watermark_seen_at = null, watermark_seen_locally_at = null, \
         clock_difference_ms = null, clock_difference_at = null, doubted_at = null, \
         doubted_keys = null, interactions_ahead = 0, interactions_ahead_at = null",
        args![account, resource, partition, to],
    )
    .await?;
    let run = tx
        .number(
            "insert into sync_runs (account_id, kind, resource, partition, started_at, finished_at, \
             outcome, watermark_before, watermark_after) \
             values ($1, $2, $3, $4, $5, $5, $6, $7, $8) \
             returning id",
            args![
                account,
                RunKind::State.as_str(),
                resource,
                partition,
                now,
                RunOutcome::Succeeded.as_str(),
                old,
                to,
            ],
        )
        .await?;
    tx.execute(
        "insert into state_changes (account_id, resource, partition, old_watermark, \
         new_watermark, changed_at, run_id) values ($1, $2, $3, $4, $5, $6, $7)",
        args![account, resource, partition, old, to, now, run],
    )
    .await?;
    Ok(old)
}

/// The stored watermark, inside a transaction.
pub(super) async fn stored_watermark(
    tx: &mut Transaction,
    lease: &Lease,
    stream: Stream,
) -> Result<Option<Timestamp>, StoreError> {
    let row: Option<(Option<Time>,)> = tx
        .row(
            "select watermark from sync_state \
             where account_id = $1 and resource = $2 and partition = $3",
            args![
                lease.account().0,
                stream.resource.name(),
                stream.partition.as_str()
            ],
        )
        .await?;
    Ok(row.and_then(|(watermark,)| watermark).map(|Time(at)| at))
}
