//! Records that are queued to be read by id: `rechecks`.
//!
//! The queue is in the database, so that it survives the process. A record is removed in the
//! transaction that stores its answer. If it cannot be read, it stays with the error, and is
//! retried after all others.

use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::account::AccountId;
use super::error::StoreError;
use super::open::Store;
use super::parameter;
use super::run::count;
use super::transaction::{Statement, Transaction};
use super::upsert::Stamp;
use super::value::{Id, Time, args};
use super::verify::{after, before};
use crate::data::{RecheckReason, Resource, Span, Stream, Timestamp};

/// The maximum number of unlisted records that a verification considers.
const MOST_UNLISTED: i64 = 100_000;

/// A queued record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recheck {
    /// Of which resource.
    pub resource: Resource,
    /// Its id.
    pub id: Uuid,
    /// Why.
    pub reason: RecheckReason,
    /// Since when.
    pub queued_at: Timestamp,
    /// The number of failed attempts.
    pub attempts: u64,
    /// The last error.
    pub last_error: Option<String>,
}

impl Store {
    /// Queued records of a resource, at most so many. Records that never failed come first, and of
    /// them those that a sync waits for. Leaves out records that failed within `lately` and, with
    /// `only`, those with another reason.
    pub async fn rechecks(
        &self,
        account: AccountId,
        resource: Resource,
        only: Option<RecheckReason>,
        lately: Span,
        limit: u32,
    ) -> Result<Vec<Recheck>, StoreError> {
        let mut tx = self
            .reading("read the queue of rechecks", "rechecks")
            .await?;
        let rows: Vec<(Id, String, Time, i64, Option<String>)> = tx
            .rows(
                "select record_id, reason, queued_at, attempts, last_error from rechecks \
                 where account_id = $1 and resource = $2 and ($3 = '' or reason = $3) \
                 and (last_tried_at is null or last_tried_at < $4 or last_tried_at > $5) \
                 order by attempts, case reason when 'older' then 0 else 1 end, queued_at, \
                 record_id limit $6",
                args![
                    account.0,
                    resource.name(),
                    only.map_or("", RecheckReason::as_str),
                    after(lately),
                    before(lately),
                    i64::from(limit),
                ],
            )
            .await?;
        tx.end().await;
        Ok(rows
            .into_iter()
            .map(
                |(Id(id), reason, Time(queued_at), attempts, last_error)| Recheck {
                    resource,
                    id,
                    reason: RecheckReason::from_stored(&reason),
                    queued_at,
                    attempts: count(attempts),
                    last_error,
                },
            )
            .collect())
    }

    /// The number of queued records of a resource, except those that failed within `lately`.
    pub async fn count_rechecks(
        &self,
        account: AccountId,
        resource: Resource,
        lately: Span,
    ) -> Result<u64, StoreError> {
        let mut tx = self.reading("count the rechecks", "rechecks").await?;
        let number = tx
            .number(
                "select count(*) from rechecks where account_id = $1 and resource = $2 \
                 and (last_tried_at is null or last_tried_at < $3 or last_tried_at > $4)",
                args![account.0, resource.name(), after(lately), before(lately)],
            )
            .await?;
        tx.end().await;
        Ok(count(number))
    }

    /// Rows of a stream that are queued because they are no longer listed, with their creation
    /// times. Limited to the first ones.
    pub async fn unlisted(
        &self,
        account: AccountId,
        stream: Stream,
    ) -> Result<Vec<(Uuid, Timestamp)>, StoreError> {
        let mut tx = self
            .reading("read the queue of rechecks", "rechecks")
            .await?;
        let sql = format!(
            "select rows.id, rows.created_at from rechecks join {} as rows \
             on rows.id = rechecks.record_id and rows.account_id = rechecks.account_id \
             where rechecks.account_id = $1 and rechecks.resource = $2 \
             and rechecks.reason = $3 and rows.removed_at is null \
             and rows.created_at is not null and ($4 = '' or rows.status = $4) \
             order by rechecks.queued_at, rechecks.record_id limit $5",
            stream.resource.name()
        );
        let rows: Vec<(Id, Time)> = tx
            .rows(
                AssertSqlSafe(sql),
                args![
                    account.0,
                    stream.resource.name(),
                    RecheckReason::NotListed.as_str(),
                    stream.partition.as_str(),
                    MOST_UNLISTED,
                ],
            )
            .await?;
        tx.end().await;
        Ok(rows
            .into_iter()
            .map(|(Id(id), Time(created_at))| (id, created_at))
            .collect())
    }

    /// Rows of a stream that may differ from the platform's version, with their creation times.
    /// Limited to so many; each call continues where the last one ended.
    pub async fn doubted(
        &self,
        account: AccountId,
        stream: Stream,
        turn: u64,
        limit: u32,
    ) -> Result<Vec<(Uuid, Timestamp)>, StoreError> {
        let mut tx = self
            .reading("read the queue of rechecks", "rechecks")
            .await?;
        let from = format!(
            "from rechecks join {} as rows \
             on rows.id = rechecks.record_id and rows.account_id = rechecks.account_id \
             where rechecks.account_id = $1 and rechecks.resource = $2 \
             and rechecks.reason = $3 and rows.removed_at is null \
             and rows.created_at is not null and ($4 = '' or rows.status = $4)",
            stream.resource.name()
        );
        let (reason, partition) = (RecheckReason::Older.as_str(), stream.partition.as_str());
        let resource = stream.resource.name();
        let sql = format!("select count(*) {from}");
        let args = args![account.0, resource, reason, partition];
        let all = count(tx.number(AssertSqlSafe(sql), args).await?);
        let turns = all.div_ceil(u64::from(limit.max(1))).max(1);
        let skipped = turn % turns * u64::from(limit);
        let sql = format!(
            "select rows.id, rows.created_at {from} order by rows.created_at, rows.id \
             limit $5 offset $6"
        );
        let rows: Vec<(Id, Time)> = tx
            .rows(
                AssertSqlSafe(sql),
                args![
                    account.0,
                    resource,
                    reason,
                    partition,
                    i64::from(limit),
                    i64::try_from(skipped).unwrap_or(i64::MAX),
                ],
            )
            .await?;
        tx.end().await;
        Ok(rows
            .into_iter()
            .map(|(Id(id), Time(created_at))| (id, created_at))
            .collect())
    }

    /// The number of queued records, and the number of those that failed.
    pub async fn recheck_counts(&self, account: AccountId) -> Result<(u64, u64), StoreError> {
        let mut tx = self.reading("count the rechecks", "rechecks").await?;
        let row: Option<(i64, i64)> = tx
            .row(
                "select count(*), count(last_error) from rechecks where account_id = $1",
                args![account.0],
            )
            .await?;
        tx.end().await;
        let (all, failed) = row.unwrap_or_default();
        Ok((count(all), count(failed)))
    }
}

/// Queues records. A record that is queued already keeps its place, unless its version is now in
/// doubt: syncs wait for such records, so they are read again soon.
pub(super) async fn queue(
    tx: &mut Transaction,
    resource: Resource,
    ids: impl IntoIterator<Item = Uuid>,
    reason: RecheckReason,
    stamp: Stamp<'_>,
) -> Result<(), StoreError> {
    let sql = format!(
        "insert into rechecks (record_id, account_id, resource, reason, queued_at) \
         select id, $2, $3, $4, $5 from ({}) as ids where true \
         on conflict (account_id, resource, record_id) do update set reason = excluded.reason, \
         last_tried_at = null where excluded.reason = '{older}' and rechecks.reason <> '{older}'",
        tx.backend().ids("$1"),
        older = RecheckReason::Older.as_str()
    );
    tx.execute(
        AssertSqlSafe(sql),
        args![
            parameter::ids(ids),
            stamp.lease.account().0,
            resource.name(),
            reason.as_str(),
            stamp.now,
        ],
    )
    .await?;
    Ok(())
}

/// Queues the contacts that wear a tag which this transaction has marked as removed: the platform takes it
/// from them, and their `updatedAt` stays as it was (API notes, 7).
pub(super) async fn queue_wearers(
    tx: &mut Transaction,
    stamp: Stamp<'_>,
) -> Result<(), StoreError> {
    tx.execute(
        "insert into rechecks (record_id, account_id, resource, reason, queued_at) \
         select distinct contact_id, account_id, $2, $3, $4 from contact_tags \
         where account_id = $1 and tag_id in (select id from tags where account_id = $1 \
         and removed_at is not null and change_seq = $5) \
         on conflict (account_id, resource, record_id) do nothing",
        args![
            stamp.lease.account().0,
            Resource::Contacts.name(),
            RecheckReason::TagRemoved.as_str(),
            stamp.now,
            stamp.change_seq,
        ],
    )
    .await?;
    Ok(())
}

/// Removes records from the queue.
pub(super) async fn done(
    tx: &mut Transaction,
    resource: Resource,
    ids: &[Uuid],
    stamp: Stamp<'_>,
) -> Result<(), StoreError> {
    let sql = format!(
        "delete from rechecks where account_id = $2 and resource = $3 and record_id in ({})",
        tx.backend().ids("$1")
    );
    tx.execute(
        Statement::planned_anew(sql),
        args![
            parameter::ids(ids.iter().copied()),
            stamp.lease.account().0,
            resource.name(),
        ],
    )
    .await?;
    Ok(())
}

/// Stores that an attempt to read a record failed.
pub(super) async fn failed(
    tx: &mut Transaction,
    resource: Resource,
    id: Uuid,
    error: &str,
    stamp: Stamp<'_>,
) -> Result<(), StoreError> {
    tx.execute(
        "update rechecks set attempts = attempts + 1, last_tried_at = $4, last_error = $5 \
         where account_id = $1 and resource = $2 and record_id = $3",
        args![
            stamp.lease.account().0,
            resource.name(),
            id,
            stamp.now,
            error,
        ],
    )
    .await?;
    Ok(())
}
