//! What the answers are made of: the state of the process, and what the database says.
//!
//! Everything is read by one reader at a time and kept for a short while, so that nobody who asks often
//! disturbs the writer.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::{Mutex as Turn, watch};

use super::measure;
use crate::alerts::Kind;
use crate::api::{Allowance, Client, WaitReason};
use crate::clock::Clock;
use crate::config::{Schedule, Sync, Zone};
use crate::data::{Resource, Timestamp};
use crate::health::Health;
use crate::metrics::{Recorder, Samples};
use crate::schedule::{Slots, Trigger, promised};
use crate::status::{self, AccountStatus, AlertStatus, PassStatus, Promise};
use crate::store::{RejectFilter, Store, StoreError, StoredAccount, StreamStatus};
use crate::sync::Report;

/// How much later than its schedule a stream may be read before the process is not ready: as much as
/// `status --max-lag` allows.
const ALLOWANCE: Duration = Duration::from_mins(10);

/// How long the database may take to answer a question about readiness.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long answers are kept at least.
const KEPT: Duration = Duration::from_secs(2);

/// What took this long to read is kept for so many times as long. So no more than a twentieth of the
/// time is spent on reading it.
const SHARE: u32 = 20;

/// How many of the last runs the passes are made of.
const RUNS: u32 = 200;

/// How many passes are shown.
const PASSES: usize = 40;

/// How many rejects are shown with their reasons.
const REJECTS: u32 = 5;

/// Readiness is kept no longer than this, since somebody acts on it.
const READINESS_KEPT: Duration = Duration::from_secs(10);

/// That the database does not answer is kept no longer than this, so that metrics show soon when it does.
const SILENCE_KEPT: Duration = Duration::from_secs(10);

/// What metrics are read from the database is kept no longer than this, so that most scrapes measure anew.
const MEASURED_KEPT: Duration = Duration::from_secs(15);

/// How long the database may take to answer what metrics ask. Prometheus waits for 10 seconds.
const MEASURING: Duration = Duration::from_secs(5);

const NOT_OPEN: &str = "the database is not open yet";
const SILENT: &str = "the database does not answer";

/// An account as this process works on it.
#[derive(Debug)]
pub struct Observed {
    /// Its name.
    pub name: String,
    /// The client that reads it.
    pub client: Client,
    /// When its next triggers are due.
    pub slots: Slots,
    /// The progress of its current work, while this process holds its lease.
    pub progress: Arc<Mutex<Option<watch::Receiver<Report>>>>,
}

/// What the answers are made of.
#[derive(Debug)]
pub struct View {
    clock: Arc<dyn Clock>,
    zone: Zone,
    health: Arc<Health>,
    recorder: Option<Recorder>,
    started_at: Timestamp,
    /// A short text that differs between databases.
    database: String,
    served: Mutex<Option<Arc<Served>>>,
    ready: Turn<Kept<Readiness>>,
    status: Turn<Kept<Result<String, String>>>,
    measured: Turn<Kept<Measured>>,
}

/// What was read from the database for metrics.
#[derive(Debug, Clone)]
struct Measured {
    samples: Samples,
    /// Whether it answered. Otherwise there are no samples.
    is_up: bool,
}

/// What there is once the database is open.
#[derive(Debug)]
struct Served {
    store: Store,
    sync: Sync,
    /// When verifications are due. `None` for never.
    verify: Option<Schedule>,
    /// The file of a SQLite database.
    file: Option<PathBuf>,
    accounts: Vec<Observed>,
}

/// An answer, and until when it is kept by [`Clock::running`].
#[derive(Debug)]
struct Kept<T>(Option<(Duration, T)>);

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Clone> Kept<T> {
    fn fresh(&self, clock: &dyn Clock) -> Option<T> {
        let (until, value) = self.0.as_ref()?;
        (clock.running() < *until).then(|| value.clone())
    }

    fn keep(&mut self, clock: &dyn Clock, began: Duration, value: T) {
        self.keep_at_most(clock, began, Duration::MAX, value);
    }

    fn keep_at_most(&mut self, clock: &dyn Clock, began: Duration, most: Duration, value: T) {
        let now = clock.running();
        let took = now.saturating_sub(began);
        let until = now.saturating_add((took * SHARE).clamp(KEPT, most));
        self.0 = Some((until, value));
    }
}

/// Whether the mirror is as fresh as its schedule promises.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// Whether it is.
    pub ready: bool,
    /// Why it is not.
    pub reasons: Vec<String>,
    /// First loads that are not done. Changes are read meanwhile, so they are no reason.
    pub loading: Vec<String>,
    /// Resources for which the platform refuses the token, while others are read. They are no reason either.
    pub refused: Vec<String>,
}

impl Readiness {
    /// Not ready for this reason alone.
    fn not(reason: String) -> Self {
        Self {
            ready: false,
            reasons: vec![reason],
            loading: Vec::new(),
            refused: Vec::new(),
        }
    }
}

/// An account of `/api/status`: what `status --json` prints, and what this process knows besides.
#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    status: AccountStatus,
    /// Streams that should have been read again, as text.
    overdue: Vec<String>,
    /// When each stream is due.
    due: Vec<Promised>,
    passes: Vec<PassStatus>,
    newest_rejects: Vec<Reject>,
    live: Live,
}

#[derive(Debug, Serialize)]
struct Promised {
    stream: String,
    due_at: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
struct Reject {
    id: i64,
    resource: String,
    reason: String,
    last_seen_at: Timestamp,
}

/// What this process knows of an account.
#[derive(Debug, Serialize)]
struct Live {
    next_pass_at: Option<Timestamp>,
    next_verify_at: Option<Timestamp>,
    /// Whether this process holds the account's lease.
    works: bool,
    /// What it does now.
    phase: String,
    rows: u64,
    total: Option<u64>,
    waiting: Option<Waits>,
    budget: [RateBudget; 2],
}

#[derive(Debug, Serialize)]
struct Waits {
    reason: &'static str,
    until: Timestamp,
}

#[derive(Debug, Serialize)]
struct RateBudget {
    window: &'static str,
    seconds: u64,
    allowed: usize,
    left: usize,
}

#[derive(Debug, Serialize)]
struct Whole {
    version: &'static str,
    database: &'static str,
    now: Timestamp,
    started_at: Timestamp,
    schedule: String,
    healthy: bool,
    ready: bool,
    reasons: Vec<String>,
    /// Alerts that concern no account.
    alerts: Vec<AlertStatus>,
    accounts: Vec<Shown>,
}

impl Observed {
    fn live(&self) -> Live {
        let report = {
            let progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
            // The sender is gone once the engine has ended.
            let report = progress.as_ref().filter(|it| it.has_changed().is_ok());
            report.map(|report| report.borrow().clone())
        };
        let works = report.is_some();
        let report = report.unwrap_or_default();
        let budget = self.client.budget();
        let allowed = |window, one: Allowance| RateBudget {
            window,
            seconds: one.window.as_secs(),
            allowed: one.allowed,
            left: one.left,
        };
        Live {
            next_pass_at: self.slots.next(Trigger::Pass),
            next_verify_at: self.slots.next(Trigger::Verify),
            works,
            phase: report.phase,
            rows: report.rows,
            total: report.total,
            waiting: self.client.waiting().map(|waiting| Waits {
                reason: match waiting.reason {
                    WaitReason::OwnLimit => "limit",
                    WaitReason::Refused => "refused",
                    WaitReason::Backoff => "retry",
                },
                until: waiting.until,
            }),
            budget: [
                allowed("sustained", budget.sustained),
                allowed("burst", budget.burst),
            ],
        }
    }
}

impl View {
    /// Of a process that has not opened its database yet. `database` is a short text that differs between
    /// databases.
    pub fn new(
        clock: Arc<dyn Clock>,
        zone: Zone,
        health: Arc<Health>,
        recorder: Option<Recorder>,
        database: String,
    ) -> Self {
        Self {
            started_at: clock.now(),
            clock,
            zone,
            health,
            recorder,
            database,
            served: Mutex::default(),
            ready: Turn::default(),
            status: Turn::default(),
            measured: Turn::default(),
        }
    }

    /// The database is open, and from now on these accounts are synced and verified in this way.
    pub fn begin(
        &self,
        store: Store,
        file: Option<PathBuf>,
        (sync, verify): (Sync, Option<Schedule>),
        accounts: Vec<Observed>,
    ) {
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        *served = Some(Arc::new(Served {
            store,
            sync,
            verify,
            file,
            accounts,
        }));
    }

    /// What there is, once the database is open.
    fn served(&self) -> Option<Arc<Served>> {
        let served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        served.clone()
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }

    /// A short text that differs between databases and shows nothing of them.
    pub(super) fn database(&self) -> &str {
        &self.database
    }

    /// The tasks that make no progress, as text.
    pub(super) fn stuck(&self) -> Vec<String> {
        let stuck = self.health.stuck().into_iter();
        let text = stuck.map(|stuck| {
            let silent = Duration::from_secs(stuck.silent.as_secs());
            format!(
                "{} makes no progress since {}",
                stuck.task,
                humantime::format_duration(silent)
            )
        });
        text.collect()
    }

    fn promises(&self, sync: &Sync, streams: &[StreamStatus]) -> Vec<Promise> {
        status::promises(
            streams,
            &sync.resources,
            sync.catalog_interval,
            |at, after| promised(&sync.schedule, self.zone, at, after),
        )
    }

    /// Whether the database answers and every account is as fresh as its schedule promises.
    pub(super) async fn readiness(&self) -> Readiness {
        let mut kept = self.ready.lock().await;
        if let Some(readiness) = kept.fresh(self.clock()) {
            return readiness;
        }
        let began = self.clock.running();
        let looked = tokio::select! {
            looked = self.look() => looked.map_err(|error| {
                // Its text may name the database, and readers of this address need no token.
                tracing::debug!(%error, "the database cannot be read for /readyz: {error}");
                "the database cannot be read; the log has the reason at the level debug".to_owned()
            }),
            () = self.clock.sleep(PATIENCE) => Err(SILENT.to_owned()),
        };
        let readiness = looked.unwrap_or_else(Readiness::not);
        kept.keep_at_most(self.clock(), began, READINESS_KEPT, readiness.clone());
        readiness
    }

    /// Why the mirror is not ready, what is still being loaded, and what is refused.
    async fn look(&self) -> Result<Readiness, StoreError> {
        let Some(served) = self.served() else {
            return Ok(Readiness::not(NOT_OPEN.to_owned()));
        };
        served.store.check_schema().await?;
        let now = self.clock.now();
        let (mut reasons, mut loading, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        for observed in &served.accounts {
            let name = &observed.name;
            let Some(account) = served.store.find_account(name).await? else {
                reasons.push(format!("{name}: nothing was synced yet"));
                continue;
            };
            let streams = served.store.stream_statuses(account.id).await?;
            let promises = self.promises(&served.sync, &streams);
            let late = status::too_old(&promises, &streams, now, ALLOWANCE);
            let named = |text: String| format!("{name}: {text}");
            reasons.extend(late.stale.into_iter().map(named));
            refused.extend(late.refused.into_iter().map(named));
            let resources = &served.sync.resources;
            let loads =
                status::incomplete(&served.store, account.id, &streams, resources, now).await?;
            for (resource, progress) in loads {
                if let Some(progress) = progress {
                    loading.push(format!("{name}: {resource}: {}", progress.text()));
                }
            }
        }
        Ok(Readiness {
            ready: reasons.is_empty(),
            reasons,
            loading,
            refused,
        })
    }

    /// The data of the page, as JSON. If the reader goes away meanwhile, it is read to the end all the same,
    /// so that the next one finds it, and nobody makes the database begin again and again.
    pub(super) async fn status(self: &Arc<Self>) -> Result<String, String> {
        let view = Arc::clone(self);
        let reading = tokio::spawn(async move {
            let mut kept = view.status.lock().await;
            if let Some(status) = kept.fresh(view.clock()) {
                return status;
            }
            let began = view.clock().running();
            let status = Box::pin(view.read_status()).await;
            kept.keep(view.clock(), began, status.clone());
            status
        });
        reading
            .await
            .unwrap_or_else(|_| Err("reading the status ended unexpectedly".to_owned()))
    }

    async fn read_status(&self) -> Result<String, String> {
        let readiness = self.readiness().await;
        let Some(served) = self.served() else {
            return Err(NOT_OPEN.to_owned());
        };
        let now = self.clock.now();
        let mut accounts = Vec::new();
        for observed in &served.accounts {
            let shown = self.shown(&served, observed, now).await;
            accounts.extend(shown.map_err(|error| format!("cannot read the status: {error}"))?);
        }
        let alerts = status::open_alerts(&served.store, None).await;
        let alerts = alerts.map_err(|error| format!("cannot read the alerts: {error}"))?;
        let whole = Whole {
            version: env!("CARGO_PKG_VERSION"),
            database: served.store.kind(),
            now,
            started_at: self.started_at,
            schedule: served.sync.schedule.to_string(),
            healthy: self.stuck().is_empty(),
            ready: readiness.ready,
            reasons: readiness.reasons,
            alerts,
            accounts,
        };
        serde_json::to_string(&whole).map_err(|error| error.to_string())
    }

    async fn shown(
        &self,
        served: &Served,
        observed: &Observed,
        now: Timestamp,
    ) -> Result<Option<Shown>, StoreError> {
        let Served { store, .. } = served;
        let Some(account) = store.find_account(&observed.name).await? else {
            return Ok(None);
        };
        let streams = store.stream_statuses(account.id).await?;
        let promises = self.promises(&served.sync, &streams);
        let overdue = status::too_old(&promises, &streams, now, ALLOWANCE).stale;
        let filter = RejectFilter {
            limit: REJECTS,
            ..RejectFilter::default()
        };
        let rejects = store.rejects(account.id, filter).await?;
        let mut passes = status::passes(&store.last_runs(account.id, RUNS).await?);
        passes.drain(..passes.len().saturating_sub(PASSES));
        let status = self
            .gathered(served, &account, streams, now, &overdue)
            .await?;
        Ok(Some(Shown {
            status,
            overdue,
            due: promises
                .iter()
                .map(|promise| Promised {
                    stream: promise.stream.to_string(),
                    due_at: promise.kept.map(|(_, due)| due),
                })
                .collect(),
            passes,
            newest_rejects: rejects
                .into_iter()
                .map(|reject| Reject {
                    id: reject.id,
                    resource: reject.resource,
                    reason: reject.reason,
                    last_seen_at: reject.last_seen_at,
                })
                .collect(),
            live: observed.live(),
        }))
    }

    async fn gathered(
        &self,
        served: &Served,
        account: &StoredAccount,
        streams: Vec<StreamStatus>,
        now: Timestamp,
        old: &[String],
    ) -> Result<AccountStatus, StoreError> {
        let store = &served.store;
        let resources: &[Resource] = &served.sync.resources;
        let gathered = status::gather(store, account, streams, resources, now, old.to_vec());
        let mut status = Box::pin(gathered).await?;
        status.configured = Some(true);
        Ok(status)
    }

    /// All metrics as text. `None` if the process records none.
    pub(super) async fn metrics(&self) -> Option<String> {
        let recorder = self.recorder.as_ref()?;
        let samples = self.measure().await;
        Some(recorder.text() + &samples.text())
    }

    /// Measures what nobody records while it happens: what the process itself knows for each answer, and what the
    /// database says from time to time.
    async fn measure(&self) -> Samples {
        let Some(served) = self.served() else {
            let mut samples = Samples::default();
            measure::process(&mut samples, self.stuck().len());
            measure::database(&mut samples, None, false, None);
            return samples;
        };
        let Measured { mut samples, is_up } = self.measured(&served).await;
        measure::process(&mut samples, self.stuck().len());
        for observed in &served.accounts {
            measure::client(&mut samples, &observed.name, &observed.client);
        }
        let (store, file) = (Some(&served.store), served.file.as_deref());
        measure::database(&mut samples, store, is_up, file);
        samples
    }

    /// What the database says of accounts: as a whole or not at all.
    async fn measured(&self, served: &Served) -> Measured {
        let mut kept = self.measured.lock().await;
        if let Some(measured) = kept.fresh(self.clock()) {
            return measured;
        }
        let began = self.clock.running();
        let asked = tokio::select! {
            asked = self.measure_accounts(served) => asked.map_err(|error| error.to_string()),
            () = self.clock.sleep(MEASURING) => Err(SILENT.to_owned()),
        };
        if let Err(error) = &asked {
            tracing::debug!(%error, "the database cannot be read for /metrics: {error}");
        }
        let is_up = asked.is_ok();
        let samples = asked.unwrap_or_default();
        let measured = Measured { samples, is_up };
        let most = if is_up { MEASURED_KEPT } else { SILENCE_KEPT };
        kept.keep_at_most(self.clock(), began, most, measured.clone());
        measured
    }

    async fn measure_accounts(&self, served: &Served) -> Result<Samples, StoreError> {
        let now = self.clock.now();
        let mut samples = Samples::default();
        let open = served.store.current_alerts(None).await?;
        measure::alerts(&mut samples, "", &[Kind::Disk], &open);
        measure::messages(&mut samples, &served.store, now).await?;
        for observed in &served.accounts {
            self.measure_account(&mut samples, served, &observed.name, now)
                .await?;
        }
        Ok(samples)
    }

    async fn measure_account(
        &self,
        into: &mut Samples,
        served: &Served,
        name: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (store, sync) = (&served.store, &served.sync);
        let Some(account) = store.find_account(name).await? else {
            measure::no_lease(into, name);
            return Ok(());
        };
        let streams = store.stream_statuses(account.id).await?;
        let mirrored = |one: &&StreamStatus| {
            let mut resources = sync.resources.iter();
            resources.any(|resource| resource.name() == one.resource)
        };
        let promises = self.promises(sync, &streams);
        let times = (self.started_at, now);
        let mirrored = streams.iter().filter(mirrored);
        let refused = status::refused(&streams, &sync.resources).into_iter();
        let refused: Vec<Resource> = refused.map(|(resource, _)| resource).collect();
        measure::streams(into, name, mirrored, &promises, &refused, times);
        let verify_due = |last: Option<Timestamp>| {
            let last = last.unwrap_or(self.started_at);
            let schedule = served.verify.as_ref()?;
            Some(promised(schedule, self.zone, last, Duration::ZERO))
        };
        let which = (name, account.id);
        let resources = (sync.resources.as_slice(), refused.as_slice());
        measure::stored(into, which, store, resources, verify_due, now).await
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::clock::{FakeClock, Sleep};
    use crate::config::{Environment, Settings};
    use crate::health::Pulse;
    use crate::store::OpenOptions;

    const SECOND: Duration = Duration::from_secs(1);

    /// A clock on which nobody waits too long.
    #[derive(Debug)]
    struct Patient(FakeClock);

    impl Clock for Patient {
        fn now(&self) -> Timestamp {
            self.0.now()
        }

        fn running(&self) -> Duration {
            self.0.running()
        }

        fn sleep(&self, _: Duration) -> Sleep {
            Box::pin(std::future::pending())
        }
    }

    #[tokio::test]
    async fn what_the_process_itself_knows_is_never_kept() {
        let clock = Arc::new(Patient(FakeClock::at(Timestamp::from_micros(0))));
        let health = Arc::new(Health::new(Arc::clone(&clock) as _));
        let view = View::new(
            Arc::clone(&clock) as _,
            Zone::UTC,
            Arc::clone(&health),
            None,
            String::new(),
        );
        let store = Store::open("sqlite::memory:", &OpenOptions::default()).await;
        let store = store.unwrap();
        store.migrate().await.unwrap();
        let path = Path::new("helena-sync.toml");
        let settings = Settings::parse(path, "", Environment::default(), &[]).unwrap();
        let sync = settings.sync().unwrap();
        view.begin(store.clone(), None, (sync, None), Vec::new());
        health.watch("account north".to_owned(), Pulse::default(), SECOND);
        let measured = async || view.measure().await.text();
        assert!(measured().await.contains("helena_sync_stuck_tasks 0\n"));
        // What the database said is still kept, since it does not answer any more.
        store.close().await;
        clock.0.advance(SECOND + SECOND / 2);
        let text = measured().await;
        assert!(text.contains("helena_sync_database_up 1\n"), "{text}");
        assert!(text.contains("helena_sync_stuck_tasks 1\n"), "{text}");
        clock.0.advance(SECOND);
        let text = measured().await;
        assert!(text.contains("helena_sync_database_up 0\n"), "{text}");
    }

    #[test]
    fn what_took_long_to_measure_is_not_kept_for_longer_than_it_may() {
        let clock = FakeClock::at(Timestamp::from_micros(0));
        let began = clock.running();
        clock.advance(SECOND * 5);
        let mut kept = Kept::default();
        kept.keep_at_most(&clock, began, MEASURED_KEPT, ());
        clock.advance(SECOND * 14);
        assert_eq!(kept.fresh(&clock), Some(()));
        clock.advance(SECOND);
        assert_eq!(kept.fresh(&clock), None);
    }
}
