//! Alerts: conditions of which operators are told, `alerts`, and messages that are still to be sent,
//! `alert_messages`.
//!
//! Several processes may look at the same conditions. Each change happens once: it names the state that it
//! changes, and does nothing if another process was faster. A message is created in the transaction of the
//! change that it tells. Must not know when a condition is worth an alert.

use std::collections::BTreeMap;
use std::time::Duration;

use super::account::AccountId;
use super::error::StoreError;
use super::holder::Holder;
use super::open::Store;
use super::run::count;
use super::transaction::{Transaction, record};
use super::value::{Time, args};
use crate::data::Timestamp;

/// How long alerts that have ended are kept.
const KEPT: Duration = Duration::from_hours(90 * 24);

/// What a message tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlertEvent {
    /// A condition has begun.
    Begin,
    /// It goes on.
    Reminder,
    /// It has ended.
    End,
    /// Nothing has happened: somebody tries whether messages arrive.
    Test,
}

impl AlertEvent {
    /// Its name in the database and in messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Begin => "begin",
            Self::Reminder => "reminder",
            Self::End => "end",
            Self::Test => "test",
        }
    }

    fn from_stored(text: &str) -> Option<Self> {
        [Self::Begin, Self::Reminder, Self::End, Self::Test]
            .into_iter()
            .find(|event| event.as_str() == text)
    }
}

/// An alert as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAlert {
    /// Its id.
    pub id: i64,
    /// The account. `None` for the whole database.
    pub account: Option<AccountId>,
    /// The kind of the condition.
    pub kind: String,
    /// What was found, as text, when it was last told.
    pub detail: String,
    /// Since when the condition is there.
    pub began_at: Timestamp,
    /// Since when it has lasted long enough to be told. `None` until then.
    pub opened_at: Option<Timestamp>,
    /// When it was last told.
    pub told_at: Option<Timestamp>,
    /// When it ended. `None` while it lasts.
    pub ended_at: Option<Timestamp>,
}

/// A change of an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AlertChange {
    /// A condition is there that was not there before. `is_open` if it is told at once.
    Found {
        /// The kind of the condition.
        kind: &'static str,
        /// What was found, as text.
        detail: String,
        /// Since when.
        began_at: Timestamp,
        /// Whether it is told at once.
        is_open: bool,
    },
    /// A condition has lasted long enough to be told.
    Opened {
        /// The alert.
        id: i64,
        /// What was found, as text.
        detail: String,
    },
    /// A condition still lasts, and is told again.
    Reminded {
        /// The alert.
        id: i64,
        /// What was found, as text.
        detail: String,
        /// When it was last told.
        told_at: Option<Timestamp>,
    },
    /// A condition is gone.
    Ended {
        /// The alert.
        id: i64,
    },
}

/// What is new since an instant and not resolved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NewlyFound {
    /// Rejects.
    pub rejects: u64,
    /// Gaps.
    pub gaps: u64,
    /// Differences that verifications found.
    pub differences: u64,
    /// When the first of the rejects was found.
    pub rejects_since: Option<Timestamp>,
    /// When the first of the gaps was found.
    pub gaps_since: Option<Timestamp>,
    /// When the first run ended that found one of the differences.
    pub differences_since: Option<Timestamp>,
}

/// A message that is still to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingMessage {
    /// The way that it goes.
    pub channel: String,
    /// What it tells.
    pub event: AlertEvent,
    /// How often it was tried.
    pub attempts: u64,
    /// When it was last tried.
    pub tried_at: Option<Timestamp>,
    /// The alert.
    pub alert: StoredAlert,
}

record! {
    #[derive(Debug)]
    struct Alert {
        id: i64,
        account_id: Option<i64>,
        kind: String,
        detail: String,
        began_at: Time,
        opened_at: Option<Time>,
        told_at: Option<Time>,
        ended_at: Option<Time>,
    }
}

record! {
    #[derive(Debug)]
    struct Message {
        channel: String,
        event: String,
        attempts: i64,
        tried_at: Option<Time>,
        id: i64,
        account_id: Option<i64>,
        kind: String,
        detail: String,
        began_at: Time,
        opened_at: Option<Time>,
        told_at: Option<Time>,
        ended_at: Option<Time>,
    }
}

impl From<Alert> for StoredAlert {
    fn from(stored: Alert) -> Self {
        Self {
            id: stored.id,
            account: stored.account_id.map(AccountId),
            kind: stored.kind,
            detail: stored.detail,
            began_at: stored.began_at.0,
            opened_at: stored.opened_at.map(|Time(at)| at),
            told_at: stored.told_at.map(|Time(at)| at),
            ended_at: stored.ended_at.map(|Time(at)| at),
        }
    }
}

impl Store {
    /// The alerts of an account, or of the whole database, that have not ended.
    pub async fn current_alerts(
        &self,
        account: Option<AccountId>,
    ) -> Result<Vec<StoredAlert>, StoreError> {
        let mut tx = self.reading("read the alerts", "alerts").await?;
        let alerts: Vec<Alert> = tx
            .rows(
                "select id, account_id, kind, detail, began_at, opened_at, told_at, ended_at \
                 from alerts where coalesce(account_id, 0) = $1 and ended_at is null order by id",
                args![of(account)],
            )
            .await?;
        tx.end().await;
        Ok(alerts.into_iter().map(StoredAlert::from).collect())
    }

    /// Whether this process may speak for an account: it holds the lease, or nobody does.
    pub async fn may_speak_for(
        &self,
        account: AccountId,
        holder: &Holder,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut tx = self.reading("read the lease", "leases").await?;
        let may = tx.may_speak_for(account, holder, now).await?;
        tx.end().await;
        Ok(may)
    }

    /// Changes the alerts of an account, or of the whole database, and creates a message for each of these
    /// ways. Nothing happens if another process speaks for the account.
    pub async fn change_alerts(
        &self,
        account: Option<AccountId>,
        changes: &[AlertChange],
        channels: &[&str],
        holder: &Holder,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self.writing("store the alerts", "alerts").await?;
        if let Some(account) = account
            && !tx.may_speak_for(account, holder, now).await?
        {
            tx.end().await;
            return Ok(());
        }
        for change in changes {
            tx.change_alert(account, change, channels, now).await?;
        }
        let forgotten = "ended_at < $1";
        tx.execute(
            sqlx::AssertSqlSafe(format!(
                "delete from alert_messages where alert_id in \
                 (select id from alerts where {forgotten})"
            )),
            args![now - KEPT],
        )
        .await?;
        let sql = format!("delete from alerts where {forgotten}");
        tx.execute(sqlx::AssertSqlSafe(sql), args![now - KEPT])
            .await?;
        tx.commit().await
    }

    /// All messages that are still to be sent this way, oldest first.
    pub async fn pending_messages(&self, channel: &str) -> Result<Vec<PendingMessage>, StoreError> {
        let mut tx = self.reading("read the messages", "alert_messages").await?;
        let messages: Vec<Message> = tx
            .rows(
                "select channel, event, attempts, tried_at, id, account_id, kind, detail, began_at, \
                 opened_at, told_at, ended_at from alert_messages join alerts on id = alert_id \
                 where channel = $1 order by created_at, id",
                args![channel],
            )
            .await?;
        tx.end().await;
        messages
            .into_iter()
            .map(|stored| {
                Ok(PendingMessage {
                    event: AlertEvent::from_stored(&stored.event)
                        .ok_or_else(|| tx.inconsistent("event", "names no event"))?,
                    channel: stored.channel,
                    attempts: count(stored.attempts),
                    tried_at: stored.tried_at.map(|Time(at)| at),
                    alert: StoredAlert::from(Alert {
                        id: stored.id,
                        account_id: stored.account_id,
                        kind: stored.kind,
                        detail: stored.detail,
                        began_at: stored.began_at,
                        opened_at: stored.opened_at,
                        told_at: stored.told_at,
                        ended_at: stored.ended_at,
                    }),
                })
            })
            .collect()
    }

    /// How many messages are still to be sent each way that were created or tried since an instant.
    pub async fn unsent_messages(
        &self,
        since: Timestamp,
    ) -> Result<BTreeMap<String, u64>, StoreError> {
        let mut tx = self.reading("count the messages", "alert_messages").await?;
        let rows: Vec<(String, i64)> = tx
            .rows(
                "select channel, count(*) from alert_messages \
                 where coalesce(tried_at, created_at) >= $1 group by channel",
                args![since],
            )
            .await?;
        tx.end().await;
        Ok(rows
            .into_iter()
            .map(|(channel, number)| (channel, count(number)))
            .collect())
    }

    /// Takes a message over for one attempt. False if another process was faster, or if a later one has taken its place.
    pub async fn try_message(
        &self,
        message: &PendingMessage,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut tx = self
            .writing("take a message over", "alert_messages")
            .await?;
        let attempts = i64::try_from(message.attempts).unwrap_or(i64::MAX);
        let taken = tx
            .execute(
                "update alert_messages set attempts = attempts + 1, tried_at = $5 \
                 where alert_id = $1 and channel = $2 and event = $3 and attempts = $4",
                args![
                    message.alert.id,
                    message.channel.as_str(),
                    message.event.as_str(),
                    attempts,
                    now
                ],
            )
            .await?;
        tx.commit().await?;
        Ok(taken > 0)
    }

    /// A message was sent. One that has taken its place meanwhile stays.
    pub async fn message_sent(&self, message: &PendingMessage) -> Result<(), StoreError> {
        let mut tx = self
            .writing("note a sent message", "alert_messages")
            .await?;
        tx.execute(
            "delete from alert_messages where alert_id = $1 and channel = $2 and event = $3",
            args![
                message.alert.id,
                message.channel.as_str(),
                message.event.as_str()
            ],
        )
        .await?;
        tx.commit().await
    }

    /// The rejects and gaps of an account that were found since an instant and are not resolved, and the
    /// differences that verifications found since.
    pub async fn newly_found(
        &self,
        account: AccountId,
        since: Timestamp,
    ) -> Result<NewlyFound, StoreError> {
        let mut tx = self
            .reading_at_length("count what is new", "rejects")
            .await?;
        let found =
            |(number, first): (i64, Option<Time>)| (count(number), first.map(|Time(at)| at));
        let mut counts = [(0, None); 3];
        for (place, sql) in counts.iter_mut().zip([
            "select count(*), min(first_seen_at) from rejects \
             where account_id = $1 and resolved_at is null and first_seen_at > $2",
            "select count(*), min(first_seen_at) from gaps \
             where account_id = $1 and resolved_at is null and first_seen_at > $2",
            "select cast(coalesce(sum(rows_differing), 0) as bigint), min(finished_at) from sync_runs \
             where account_id = $1 and kind = 'verify' and rows_differing > 0 and finished_at > $2",
        ]) {
            let row: Option<(i64, Option<Time>)> = tx.row(sql, args![account.0, since]).await?;
            *place = row.map_or((0, None), found);
        }
        tx.end().await;
        let [rejects, gaps, differences] = counts;
        Ok(NewlyFound {
            rejects: rejects.0,
            gaps: gaps.0,
            differences: differences.0,
            rejects_since: rejects.1,
            gaps_since: gaps.1,
            differences_since: differences.1,
        })
    }
}

/// The account as the index of current alerts has it. No account has the id 0.
fn of(account: Option<AccountId>) -> i64 {
    account.map_or(0, |account| account.0)
}

impl Transaction {
    async fn change_alert(
        &mut self,
        account: Option<AccountId>,
        change: &AlertChange,
        channels: &[&str],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let told = match change {
            AlertChange::Found {
                kind,
                detail,
                began_at,
                is_open,
            } => {
                let opened = is_open.then_some(now);
                let row: Option<(i64,)> = self
                    .row(
                        "insert into alerts (account_id, kind, detail, began_at, opened_at, told_at) \
                         values ($1, $2, $3, $4, $5, $5) on conflict do nothing returning id",
                        args![
                            account.map(|account| account.0),
                            *kind,
                            detail.as_str(),
                            *began_at,
                            opened
                        ],
                    )
                    .await?;
                let told = row.map(|(id,)| (id, AlertEvent::Begin));
                told.filter(|_| *is_open)
            }
            AlertChange::Opened { id, detail } => {
                let opened = self
                    .execute(
                        "update alerts set opened_at = $2, told_at = $2, detail = $3 \
                         where id = $1 and opened_at is null and ended_at is null",
                        args![*id, now, detail.as_str()],
                    )
                    .await?;
                (opened > 0).then_some((*id, AlertEvent::Begin))
            }
            AlertChange::Reminded {
                id,
                detail,
                told_at,
            } => {
                let reminded = self
                    .execute(
                        "update alerts set told_at = $2, detail = $3 \
                         where id = $1 and told_at = $4 and ended_at is null",
                        args![*id, now, detail.as_str(), *told_at],
                    )
                    .await?;
                (reminded > 0).then_some((*id, AlertEvent::Reminder))
            }
            AlertChange::Ended { id } => {
                // Nobody was told of it.
                self.execute(
                    "delete from alerts where id = $1 and opened_at is null and ended_at is null",
                    args![*id],
                )
                .await?;
                let ended = self
                    .execute(
                        "update alerts set ended_at = $2 where id = $1 and ended_at is null",
                        args![*id, now],
                    )
                    .await?;
                (ended > 0).then_some((*id, AlertEvent::End))
            }
        };
        let Some((id, event)) = told else {
            return Ok(());
        };
        // What was not sent yet, also by ways that are configured no more, is too old to be sent.
        self.execute("delete from alert_messages where alert_id = $1", args![id])
            .await?;
        for channel in channels {
            self.execute(
                "insert into alert_messages (alert_id, channel, event, created_at, attempts) \
                 values ($1, $2, $3, $4, 0)",
                args![id, *channel, event.as_str(), now],
            )
            .await?;
        }
        Ok(())
    }
}
