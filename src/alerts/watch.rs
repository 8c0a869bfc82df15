//! Looks at the database, keeps the alerts in it, and sends the messages that are due.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use tokio::sync::Notify;

use super::condition::{self, Facts, Judged, Kind, NEW, REMIND};
use super::message::{Group, Notice, of_error};
use super::send::{Channel, SendError, send};
use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::config::{Alerts, Sync, Zone};
use crate::data::{Timestamp, counted};
use crate::metrics::{self, Meter};
use crate::schedule::promised;
use crate::status;
use crate::store::{
    AccountId, AlertChange, AlertEvent, Holder, PendingMessage, Store, StoreError, StoredAccount,
    StreamStatus,
};

/// How often the conditions are looked at.
const LOOK: Duration = Duration::from_secs(10);

/// The waits before a message is sent again.
const RETRIES: Backoff = Backoff::new(Duration::from_secs(30), Duration::from_hours(1));

/// The waits before work that panicked starts over.
const RESTARTS: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_mins(1));

/// If work panics after running for longer than this, these waits start over.
const WELL_AFTER: Duration = Duration::from_mins(10);

const NOT_OPEN: &str = "it could not be opened yet";

/// An account of this process.
#[derive(Debug, Clone)]
pub struct Watched {
    /// Its name.
    pub name: String,
    /// Whose task knows whether its token is refused.
    pub meter: Meter,
}

/// What is watched, and who is told.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The section of the configuration.
    pub alerts: Alerts,
    /// When syncs are due.
    pub sync: Sync,
    /// The time zone of schedules and messages.
    pub zone: Zone,
    /// The accounts.
    pub accounts: Vec<Watched>,
    /// The file of a SQLite database.
    pub file: Option<PathBuf>,
    /// The variables that a command does not get, since they hold secrets.
    pub hidden: Vec<String>,
}

impl Subject {
    /// The ways that are configured.
    pub fn channels(&self) -> Vec<Channel> {
        let is_set = |channel: &Channel| match channel {
            Channel::Webhook => self.alerts.webhook.is_some(),
            Channel::Command => self.alerts.command.is_some(),
        };
        Channel::ALL.into_iter().filter(is_set).collect()
    }

    fn names(&self, name: &str) -> bool {
        self.accounts.iter().any(|account| account.name == name)
    }
}

/// An outage of the database, which only this process can remember.
#[derive(Debug, Default)]
struct Outage {
    since: Option<Timestamp>,
    detail: String,
    told_at: Option<Timestamp>,
    /// What is still to be sent.
    messages: Vec<Message>,
}

/// A message about the database.
#[derive(Debug, Clone)]
struct Message {
    channel: Channel,
    notice: Notice,
    attempts: u64,
    tried_at: Option<Timestamp>,
}

/// What is to be sent now: a message of the database, or one of this process.
enum Due {
    Stored(PendingMessage, Option<String>),
    Own(Message),
}

/// A message that was sent, but is not deleted yet: its alert, what it tells, and its way.
type Sent = (i64, &'static str, &'static str);

/// Watches the accounts of a process and tells operators.
#[derive(Debug)]
pub struct Watch {
    clock: Arc<dyn Clock>,
    holder: Holder,
    started_at: Timestamp,
    store: OnceLock<Store>,
    subject: Mutex<Arc<Subject>>,
    outage: Mutex<Outage>,
    /// Messages that were sent while the database could not note it.
    unnoted: Mutex<HashSet<Sent>>,
    /// Somebody has looked.
    looked: Notify,
    /// Nobody is told of alerts, and a read has shown that none is open.
    is_quiet: AtomicBool,
}

/// Locks a mutex. No code in this module panics while it holds one.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watch {
    /// Of a process that has not opened its database yet.
    pub fn new(clock: Arc<dyn Clock>, subject: Subject) -> Self {
        for channel in Channel::ALL {
            metrics::begin_alert_messages(channel.as_str());
        }
        Self {
            holder: Holder::current(),
            started_at: clock.now(),
            clock,
            store: OnceLock::new(),
            subject: Mutex::new(Arc::new(subject)),
            outage: Mutex::default(),
            unnoted: Mutex::default(),
            looked: Notify::new(),
            is_quiet: AtomicBool::new(false),
        }
    }

    /// The database is open. Only the first call counts.
    pub fn begin(&self, store: Store) {
        self.store.get_or_init(|| store);
    }

    /// What is watched from now on.
    pub fn set(&self, subject: Subject) {
        *lock(&self.subject) = Arc::new(subject);
        self.is_quiet.store(false, Ordering::SeqCst);
    }

    fn subject(&self) -> Arc<Subject> {
        Arc::clone(&lock(&self.subject))
    }

    /// Looks and sends until dropped. Whatever panics starts over: a single message or row may be the cause,
    /// and operators would not hear of anything any more.
    pub async fn keep_watching(self: Arc<Self>) {
        // Each is independent of the others: what is sent may take long.
        tokio::join!(
            self.supervise("looks for alerts", || self.keep_looking()),
            self.supervise("sends alerts to alerts.webhook", || {
                self.keep_sending(Channel::Webhook)
            }),
            self.supervise("sends alerts to alerts.command", || {
                self.keep_sending(Channel::Command)
            }),
        );
    }

    /// Does work that never ends, and begins it again when it panics.
    async fn supervise<W: Future<Output = ()>>(&self, what: &str, work: impl Fn() -> W) {
        let mut backoff = RESTARTS;
        loop {
            let begun = self.clock.running();
            let working = AssertUnwindSafe(Box::pin(work())).catch_unwind();
            if working.await.is_ok() {
                return;
            }
            if self.clock.elapsed(begun) > WELL_AFTER {
                backoff.reset();
            }
            let delay = backoff.after_failure();
            tracing::error!(
                "the task that {what} panicked. This is a bug in helena-sync; please report the panic \
                 message above. The task restarts in {}",
                humantime::format_duration(delay)
            );
            self.clock.sleep(delay).await;
        }
    }

    async fn keep_looking(&self) {
        loop {
            // At first, too: the first sync may mend what was stored before.
            self.clock.sleep(LOOK).await;
            self.look().await;
            self.looked.notify_waiters();
        }
    }

    async fn keep_sending(&self, channel: Channel) {
        loop {
            tokio::select! {
                () = self.looked.notified() => {}
                () = self.clock.sleep(LOOK) => {}
            }
            self.deliver(channel).await;
        }
    }

    /// Looks at the conditions once, and stores what has changed.
    pub async fn look(&self) {
        let subject = self.subject();
        if subject.alerts.is_off() {
            self.fall_silent(&subject).await;
            return;
        }
        let looked = match self.store.get() {
            Some(store) => {
                let looked = Box::pin(self.look_at(store, &subject)).await;
                looked.map_err(|error| of_error(&error))
            }
            None => Err(NOT_OPEN.to_owned()),
        };
        self.note_database(&subject, looked.err());
    }

    /// Ends what is open, since nobody looks whether it still is. Nobody is told.
    async fn fall_silent(&self, subject: &Subject) {
        let Some(store) = self.store.get() else {
            return;
        };
        if self.is_quiet.swap(true, Ordering::SeqCst) {
            return;
        }
        let ended = self.end_all(store, subject).await;
        if let Err(error) = &ended {
            tracing::debug!(%error, "cannot end the alerts: {error}");
        }
        if !ended.unwrap_or(false) {
            self.is_quiet.store(false, Ordering::SeqCst);
        }
    }

    /// Ends what is open, unless another process speaks for it. Returns whether nothing was open.
    async fn end_all(&self, store: &Store, subject: &Subject) -> Result<bool, StoreError> {
        let accounts = store.accounts().await?;
        let ours = accounts
            .iter()
            .filter(|account| subject.names(&account.name));
        let whole = subject.file.is_some().then_some(None);
        let mut is_quiet = true;
        for account in ours.map(Some).chain(whole) {
            let id: Option<AccountId> = account.map(|account| account.id);
            let open = store.current_alerts(id).await?;
            is_quiet &= open.is_empty();
            let ends: Vec<AlertChange> = open
                .iter()
                .map(|alert| AlertChange::Ended { id: alert.id })
                .collect();
            self.change(store, subject, account, &ends).await?;
        }
        Ok(is_quiet)
    }

    async fn look_at(&self, store: &Store, subject: &Subject) -> Result<(), StoreError> {
        let accounts = store.accounts().await?;
        for watched in &subject.accounts {
            let Some(account) = accounts.iter().find(|one| one.name == watched.name) else {
                continue;
            };
            Box::pin(self.look_at_account(store, subject, account, &watched.meter)).await?;
        }
        let size = subject.file.as_deref().and_then(status::disk);
        if let Some(size) = size {
            let percent = subject.alerts.disk_percent.get();
            let judged = [condition::disk(size, percent, self.clock.now())];
            let stored = store.current_alerts(None).await?;
            let changes = condition::changes(&stored, &judged, self.clock.now());
            self.change(store, subject, None, &changes).await?;
        }
        Ok(())
    }

    async fn look_at_account(
        &self,
        store: &Store,
        subject: &Subject,
        account: &StoredAccount,
        meter: &Meter,
    ) -> Result<(), StoreError> {
        let now = self.clock.now();
        if !store.may_speak_for(account.id, &self.holder, now).await? {
            return Ok(());
        }
        let streams = store.stream_statuses(account.id).await?;
        let sync = &subject.sync;
        let promises = status::promises(
            &streams,
            &sync.resources,
            sync.catalog_interval,
            |at, after| promised(&sync.schedule, subject.zone, at, after),
        );
        let is_mirrored = |stream: &&StreamStatus| {
            let mut resources = sync.resources.iter();
            resources.any(|resource| resource.name() == stream.resource)
        };
        let stored = store.current_alerts(Some(account.id)).await?;
        let facts = Facts {
            now,
            started_at: self.started_at,
            streams: streams.iter().filter(is_mirrored).collect(),
            promises: &promises,
            trouble: store.trouble(account.id).await?,
            refused: meter.token_refused(),
            new: store.newly_found(account.id, now - NEW).await?,
            failing_after: subject.alerts.failing_after,
            max_lag: subject.alerts.max_lag,
        };
        let judged: Vec<Judged> = facts.judge(&stored);
        let changes = condition::changes(&stored, &judged, now);
        self.change(store, subject, Some(account), &changes).await
    }

    async fn change(
        &self,
        store: &Store,
        subject: &Subject,
        account: Option<&StoredAccount>,
        changes: &[AlertChange],
    ) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        let channels: Vec<&str> = subject
            .channels()
            .into_iter()
            .map(Channel::as_str)
            .collect();
        let account = account.map(|account| account.id);
        let now = self.clock.now();
        store
            .change_alerts(account, changes, &channels, &self.holder, now)
            .await
    }

    /// Notes whether the database could be read, and why not.
    fn note_database(&self, subject: &Subject, failure: Option<String>) {
        let now = self.clock.now();
        let mut outage = lock(&self.outage);
        let event = match failure {
            None => {
                let told = outage.told_at.take();
                let since = outage.since.take();
                let Some((since, _)) = since.zip(told) else {
                    return;
                };
                (AlertEvent::End, since, Some(now))
            }
            Some(detail) => {
                let since = *outage.since.get_or_insert(now);
                outage.detail = detail;
                let event = match outage.told_at {
                    None if now.since(since) >= subject.alerts.failing_after => AlertEvent::Begin,
                    Some(told) if now.since(told) >= REMIND => AlertEvent::Reminder,
                    None | Some(_) => return,
                };
                outage.told_at = Some(now);
                (event, since, None)
            }
        };
        let (event, since, until) = event;
        let notice = Notice {
            kind: Some(Kind::Database),
            event,
            account: None,
            detail: outage.detail.clone(),
            since,
            until,
        };
        // What was not sent yet is too old to be sent.
        outage.messages = subject
            .channels()
            .into_iter()
            .map(|channel| Message {
                channel,
                notice: notice.clone(),
                attempts: 0,
                tried_at: None,
            })
            .collect();
    }

    /// Sends what is due this way, as one message. Failures are logged, and tried again later.
    pub async fn deliver(&self, channel: Channel) {
        let subject = self.subject();
        if !subject.channels().contains(&channel) {
            return;
        }
        let mut due: Vec<Due> = self.own_messages(channel);
        if let Some(store) = self.store.get() {
            match Box::pin(self.stored_messages(store, &subject, channel)).await {
                Ok(messages) => due.extend(messages),
                // The next look tells that the database does not answer.
                Err(error) => {
                    tracing::debug!(%error, "cannot read the messages of alerts: {error}");
                }
            }
        }
        if due.is_empty() {
            return;
        }
        let group = Group {
            notices: due.iter().filter_map(notice).collect(),
            host: self.holder.host.clone(),
            zone: subject.zone,
            now: self.clock.now(),
        };
        if group.notices.is_empty() {
            return;
        }
        let sent = send(&subject, channel, &group).await;
        metrics::alert_message(channel.as_str(), sent.is_ok());
        log(channel, &group, &due, sent.as_ref());
        if sent.is_ok() {
            self.note_sent(channel, due).await;
        }
    }

    /// The messages about the database that are due.
    fn own_messages(&self, channel: Channel) -> Vec<Due> {
        let now = self.clock.now();
        let mut outage = lock(&self.outage);
        let of_channel = outage
            .messages
            .iter_mut()
            .filter(|message| message.channel == channel);
        of_channel
            .filter(|message| is_due(message.attempts, message.tried_at, now))
            .map(|message| {
                message.attempts += 1;
                message.tried_at = Some(now);
                Due::Own(message.clone())
            })
            .collect()
    }

    /// The stored messages that are due, each taken over from other processes.
    async fn stored_messages(
        &self,
        store: &Store,
        subject: &Subject,
        channel: Channel,
    ) -> Result<Vec<Due>, StoreError> {
        let pending = store.pending_messages(channel.as_str()).await?;
        if pending.is_empty() {
            return Ok(Vec::new());
        }
        let accounts = store.accounts().await?;
        let now = self.clock.now();
        let mut due = Vec::new();
        for message in pending {
            if self.was_sent(&message) {
                store.message_sent(&message).await?;
                lock(&self.unnoted).remove(&of(&message));
                continue;
            }
            let name = match message.alert.account {
                None => None,
                Some(id) => {
                    let account = accounts.iter().find(|account| account.id == id);
                    let Some(account) = account.filter(|account| subject.names(&account.name))
                    else {
                        continue;
                    };
                    if !store.may_speak_for(id, &self.holder, now).await? {
                        continue;
                    }
                    Some(account.name.clone())
                }
            };
            if is_due(message.attempts, message.tried_at, now)
                && store.try_message(&message, now).await?
            {
                due.push(Due::Stored(message, name));
            }
        }
        Ok(due)
    }

    fn was_sent(&self, message: &PendingMessage) -> bool {
        lock(&self.unnoted).contains(&of(message))
    }

    async fn note_sent(&self, channel: Channel, sent: Vec<Due>) {
        for due in sent {
            match due {
                Due::Own(message) => {
                    let mut outage = lock(&self.outage);
                    outage.messages.retain(|kept| {
                        kept.channel != channel || kept.notice.event != message.notice.event
                    });
                }
                Due::Stored(message, _) => {
                    let Some(store) = self.store.get() else {
                        continue;
                    };
                    if let Err(error) = store.message_sent(&message).await {
                        tracing::debug!(%error, "cannot note that an alert was sent: {error}");
                        lock(&self.unnoted).insert(of(&message));
                    }
                }
            }
        }
    }
}

impl Due {
    /// How often it was tried before this time.
    fn attempts(&self) -> u64 {
        match self {
            Self::Stored(message, _) => message.attempts,
            Self::Own(message) => message.attempts.saturating_sub(1),
        }
    }
}

/// Logs whether a message was sent.
fn log(channel: Channel, group: &Group, due: &[Due], sent: Result<&(), &SendError>) {
    let way = channel.as_str();
    match sent {
        Ok(()) => {
            let text = group.subject();
            tracing::info!("sent by alerts.{way}: {text}");
        }
        Err(error) => {
            let attempts = due.iter().map(Due::attempts).min().unwrap_or_default();
            let wait = wait_after(attempts + 1);
            let count = counted(group.notices.len() as u64, "alert");
            tracing::warn!(
                error = %error,
                "cannot send {count}: {error}; next try in {}",
                humantime::format_duration(wait)
            );
        }
    }
}

fn of(message: &PendingMessage) -> Sent {
    let channel = Channel::ALL
        .into_iter()
        .find(|channel| channel.as_str() == message.channel);
    (
        message.alert.id,
        message.event.as_str(),
        channel.map_or("", Channel::as_str),
    )
}

/// What a message tells. `None` for a kind of a later version.
fn notice(due: &Due) -> Option<Notice> {
    match due {
        Due::Own(message) => Some(message.notice.clone()),
        Due::Stored(message, account) => {
            let alert = &message.alert;
            Some(Notice {
                kind: Some(Kind::from_stored(&alert.kind)?),
                event: message.event,
                account: account.clone(),
                detail: alert.detail.clone(),
                since: alert.began_at,
                until: alert.ended_at,
            })
        }
    }
}

/// The wait after so many attempts in vain.
fn wait_after(attempts: u64) -> Duration {
    let mut backoff = RETRIES;
    let mut wait = Duration::ZERO;
    for _ in 0..attempts.min(32) {
        wait = backoff.after_failure();
    }
    wait
}

/// Whether a message that was tried so often is to be tried now. One that was tried in the future was tried
/// before the clock was set back.
fn is_due(attempts: u64, tried_at: Option<Timestamp>, now: Timestamp) -> bool {
    tried_at.is_none_or(|tried| now < tried || now.since(tried) >= wait_after(attempts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_tried_less_and_less_often_but_never_given_up() {
        assert_eq!(wait_after(0), Duration::ZERO);
        assert_eq!(wait_after(1), Duration::from_secs(30));
        assert_eq!(wait_after(3), Duration::from_mins(2));
        assert_eq!(wait_after(1_000), Duration::from_hours(1));
        let at = Timestamp::from_micros(1_000_000_000);
        assert!(is_due(0, None, at));
        assert!(!is_due(1, Some(at), at + Duration::from_secs(29)));
        assert!(is_due(1, Some(at), at + Duration::from_secs(30)));
        assert!(is_due(9, Some(at), at - Duration::from_secs(1)));
    }
}
