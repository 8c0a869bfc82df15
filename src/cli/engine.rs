//! Builds the engine that syncs a configured account, and takes its lease. `run`, `sync`,
//! `backfill`, `verify --repair` and `rejects retry` share it.

#![warn(
    clippy::wildcard_enum_match_arm,
    reason = "each layer decides about every case of a failure"
)]

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::choices::{Choice, choice};
use super::stored::{self, Busy};
use super::{Account, Context, Exit, Failure, Patience};
use crate::api::{Client, WaitReason};
use crate::clock::{Clock, SystemClock};
use crate::config::{DEFAULT_ACCOUNT, Zone};
use crate::daemon::KeptLease;
use crate::data::{Resource, RunKind, Source as _, Standing, Timestamp, Trouble, counted};
use crate::metrics::Meter;
use crate::output::{ProgressDisplay, Snapshot};
use crate::store::{Lease, Store, StoreError};
use crate::sync::{
    Engine, EngineSettings, FailureAction, Report, RunError, RunReport, Runs, WalkSettings,
};

/// How often the progress bar reads the state of the engine.
const LOOK: Duration = Duration::from_millis(250);

/// How often the engine's record of an outage is brought up to date.
const LOOK_FOR_TROUBLE: Duration = Duration::from_secs(5);

/// The progress bar does not show shorter waits.
const WORTH_SAYING: Duration = Duration::from_secs(2);

/// A shorter wait for the rate limit is not logged.
const LONG_WAIT: Duration = Duration::from_secs(5);

/// Signals that arrive this close together count as one. `timeout`, for example, signals the process
/// and then its process group.
const SAME_WISH: Duration = Duration::from_millis(100);

/// How often an incremental pass interrupts a long load, for commands without a schedule.
const INTERLEAVE: Duration = Duration::from_mins(1);

/// An engine and the lease that it writes under. The lease is renewed until [`Self::end`].
pub(super) struct LeasedEngine {
    pub(super) engine: Arc<Engine<Client>>,
    pub(super) store: Store,
    pub(super) stop: CancellationToken,
    lease: KeptLease,
    watcher: JoinHandle<()>,
}

/// Builds the engines of an account.
pub(super) struct EngineMaker {
    name: String,
    client: Client,
    store: Store,
    clock: Arc<dyn Clock>,
    settings: EngineSettings,
    /// The longer window of the platform's rate limits.
    limit_window: Duration,
    /// How long before this was made each request was sent that is not in the database.
    earlier: Vec<Duration>,
    made_at: Timestamp,
    /// Whether the engines resume requested backfills, too.
    requested: bool,
    /// Whether the engines log runs of passes for debugging only.
    is_quiet: bool,
    zone: Zone,
    meter: Meter,
    progress: Arc<Mutex<Option<watch::Receiver<Report>>>>,
}

/// The engine's settings from the configuration.
pub(super) fn settings(context: &Context) -> Result<EngineSettings, Failure> {
    let (api, sync) = (context.settings.api()?, context.settings.sync()?);
    let (backfill, store) = (context.settings.backfill()?, context.settings.store()?);
    Ok(EngineSettings {
        walk: WalkSettings {
            overlap: sync.overlap,
            page_size: api.page_size.get(),
            window_pages: backfill.window_pages.get(),
            concurrency: usize::try_from(backfill.concurrency.get()).unwrap_or(1),
        },
        keep_raw: store.raw,
        keep_runs: store.keep_runs,
        interleave: INTERLEAVE,
        catalog: sync.catalog_interval,
    })
}

/// A client of the account that requests the configured details.
pub(super) fn client(
    context: &Context,
    account: &Account,
    patience: Option<Duration>,
) -> Result<Client, Failure> {
    // A request that fails gives up before the command's time is over. So the error names the cause, not
    // only the elapsed time. A pause for the rate limit is no failure, and lasts until the time is over.
    let patience = patience.map_or(Patience::Endless, |whole| {
        Patience::ForLimits(whole * 3 / 4)
    });
    account.client(context, &context.settings.sync()?.include_details, patience)
}

impl EngineMaker {
    /// For the account of this name, with the client that reads it.
    pub(super) fn new(
        context: &Context,
        store: &Store,
        name: &str,
        client: Client,
    ) -> Result<Self, Failure> {
        Ok(Self {
            name: name.to_owned(),
            client,
            store: store.clone(),
            clock: Arc::clone(&context.clock),
            settings: settings(context)?,
            limit_window: context.settings.api()?.rate_limit.sustained.per,
            earlier: context.requests_are_recorded(name),
            made_at: context.clock.now(),
            requested: false,
            is_quiet: false,
            zone: context.zone()?,
            meter: Meter::new(name),
            progress: Arc::default(),
        })
    }

    /// Its engines resume backfills that were requested, too, if `too`.
    pub(super) fn resuming_requested(mut self, too: bool) -> Self {
        self.requested = too;
        self
    }

    /// Its engines and its client record what they do with this meter.
    pub(super) fn metered(mut self, meter: Meter) -> Self {
        self.client.metered(&meter);
        self.meter = meter;
        self
    }

    /// The progress of its latest engine.
    pub(super) fn progress(&self) -> Arc<Mutex<Option<watch::Receiver<Report>>>> {
        Arc::clone(&self.progress)
    }

    /// Its engines log runs of passes for debugging only.
    pub(super) fn quietly(mut self) -> Self {
        self.is_quiet = true;
        self
    }

    /// An engine that writes under this lease, and the task that shows its progress.
    pub(super) async fn begin(
        &self,
        lease: &Lease,
    ) -> Result<
        (
            Arc<Engine<Client>>,
            impl Future<Output = ()> + Send + 'static,
        ),
        StoreError,
    > {
        let learned = self.store.learned(lease.account()).await?;
        self.client.remember(&learned);
        let now = self.clock.now();
        let since = now - self.limit_window;
        let account = lease.account();
        let sent = Box::pin(self.store.requests_since(account, since, now)).await?;
        let stored = sent.into_iter().map(|at| now.since(at));
        let since_made = now.since(self.made_at);
        let others = self.earlier.iter().map(|age| *age + since_made);
        self.client.note_earlier(stored.chain(others));
        let engine = Engine::new(
            self.name.clone(),
            Arc::new(self.client.clone()),
            self.store.clone(),
            Arc::clone(&self.clock),
            lease.clone(),
            self.settings,
        );
        let mut engine = engine
            .remembering(learned)
            .shown_in(self.zone)
            .metered(self.meter.clone())
            .resuming_requested(self.requested);
        if self.is_quiet {
            engine = engine.quietly();
        }
        let engine = Arc::new(engine);
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner) = Some(engine.reports());
        // As in the lines of its runs.
        let whose = (self.name != DEFAULT_ACCOUNT).then(|| self.name.clone());
        let clock = Arc::clone(&self.clock);
        let noting = note_trouble(Arc::clone(&clock), Arc::downgrade(&engine));
        let watching = show(clock, whose, engine.reports(), self.client.clone());
        let both = async move {
            tokio::join!(watching, noting);
        };
        Ok((engine, both))
    }
}

impl LeasedEngine {
    /// Acquires the account's lease and starts to renew it.
    pub(super) async fn begin(
        context: &Context,
        store: &Store,
        account: &Account,
        client: Client,
        wait: bool,
        stop: &CancellationToken,
    ) -> Result<Self, Failure> {
        let maker = EngineMaker::new(context, store, &account.name, client)?;
        Box::pin(Self::made_by(maker, context, store, account, wait, stop)).await
    }

    /// The same, with an engine that this maker makes.
    pub(super) async fn made_by(
        maker: EngineMaker,
        context: &Context,
        store: &Store,
        account: &Account,
        wait: bool,
        stop: &CancellationToken,
    ) -> Result<Self, Failure> {
        let busy = if wait { Busy::Wait } else { Busy::GiveUp };
        let url = account.base_url.as_str();
        let mut claim = stored::claim(context, store, &account.name, url)?;
        let lease = Box::pin(stored::acquire(context, &mut claim, busy, stop)).await?;
        let (engine, watching) = match Box::pin(maker.begin(lease.lease())).await {
            Ok(begun) => begun,
            Err(error) => {
                lease.release().await;
                return Err(error.into());
            }
        };
        Ok(Self {
            engine,
            store: store.clone(),
            stop: lease.stop().clone(),
            lease,
            watcher: tokio::spawn(watching),
        })
    }

    /// Releases the lease.
    pub(super) async fn end(self) {
        self.watcher.abort();
        // The progress bar disappears before the command's last message.
        let _aborted = self.watcher.await;
        self.engine.note_trouble(true).await;
        self.lease.release().await;
    }
}

/// Records in the database since when the platform does not answer. Ends with the engine.
async fn note_trouble(clock: Arc<dyn Clock>, engine: Weak<Engine<Client>>) {
    loop {
        clock.sleep(LOOK_FOR_TROUBLE).await;
        let Some(engine) = engine.upgrade() else {
            return;
        };
        engine.note_trouble(false).await;
    }
}

/// Logs why requests wait: once for each cause, and once when the platform answers again.
#[derive(Debug, Default)]
struct Causes {
    told: Option<String>,
    limit_was_told: bool,
}

impl Causes {
    fn tell(&mut self, client: &Client, clock: &dyn Clock) {
        let waiting = client.waiting();
        let left = |at: Timestamp| at.since(clock.now()).as_secs() + 1;
        match client.standing() {
            // The limiter logs its pauses.
            Standing::Troubled(_)
                if waiting.is_some_and(|waiting| waiting.reason == WaitReason::Refused) => {}
            Standing::Troubled(trouble) if trouble.lasting >= WORTH_SAYING => {
                // The numbers of a cause differ from try to try.
                let cause = trouble.cause.replace(|c: char| c.is_ascii_digit(), "");
                if self.told.as_ref() != Some(&cause) {
                    self.told = Some(cause);
                    let next = trouble.next_try.map_or_else(
                        || "the next sync tries again".to_owned(),
                        |at| format!("next try in {} s", left(at)),
                    );
                    let Trouble { place, detail, .. } = trouble;
                    tracing::warn!(
                        address = place,
                        error = detail,
                        "no usable answer from {place}: {detail}; {next}"
                    );
                }
            }
            Standing::Answering => {
                if self.told.take().is_some() {
                    tracing::info!("the platform answers again");
                }
            }
            Standing::Troubled(_) | Standing::Unknown => {}
        }
        if let Some(waiting) = waiting
            && waiting.reason == WaitReason::OwnLimit
            && !self.limit_was_told
            && waiting.until.since(clock.now()) >= LONG_WAIT
        {
            self.limit_was_told = true;
            tracing::info!(
                "the configured share of the platform's rate limit is used up; next request in {} s. Loads \
                 take longer because of the limit, and nothing is lost",
                left(waiting.until)
            );
        }
    }
}

/// Shows the engine's progress until the engine ends. Short runs show no progress bar.
async fn show(
    clock: Arc<dyn Clock>,
    account: Option<String>,
    reports: watch::Receiver<Report>,
    client: Client,
) {
    let on_terminal = crate::output::on_terminal();
    let mut shown: Option<ProgressDisplay> = None;
    let mut causes = Causes::default();
    loop {
        clock.sleep(LOOK).await;
        if reports.has_changed().is_err() {
            return;
        }
        let report = reports.borrow().clone();
        causes.tell(&client, clock.as_ref());
        let waiting = client.waiting().and_then(|waiting| {
            let rest = waiting.until.since(clock.now());
            if rest < WORTH_SAYING {
                return None;
            }
            let rest = rest.as_secs() + 1;
            // A line of the log has the cause.
            Some(match waiting.reason {
                WaitReason::OwnLimit => format!("rate limit, {rest}s"),
                WaitReason::Refused => format!("rate limit of the platform, {rest}s"),
                WaitReason::Backoff => format!("retry in {rest}s"),
            })
        });
        // A load has a total. On a terminal, everything else is shown while it waits.
        if report.total.is_none() && (waiting.is_none() || !on_terminal) {
            shown = None;
            continue;
        }
        let snapshot = Snapshot {
            account: account.clone(),
            phase: report.phase,
            // A window that is read twice counts its rows twice.
            rows: report
                .total
                .map_or(report.rows, |total| report.rows.min(total)),
            total: report.total,
            waiting,
        };
        shown
            .get_or_insert_with(|| ProgressDisplay::new(Arc::clone(&clock), on_terminal))
            .show(&snapshot);
    }
}

/// How long the command may take to end after a signal. A database that does not answer would delay
/// it for longer. Whatever is not committed by then is rolled back, and the next sync reads it
/// again.
const GRACE: Duration = Duration::from_secs(9);

/// A token that SIGINT or SIGTERM cancels. A second signal ends the process at once, with 130. If the
/// process has not ended [`GRACE`] after the first, it exits with `stopped`.
pub(super) fn signals(stopped: Exit) -> Result<CancellationToken, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let stop = CancellationToken::new();
    let told = stop.clone();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        let mut first: Option<Instant> = None;
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                () = SystemClock.sleep(GRACE), if first.is_some() => {
                    tracing::warn!("the database does not answer; exiting without waiting for it");
                    std::process::exit(stopped.code().into());
                }
            }
            match first {
                Some(at) if at.elapsed() > SAME_WISH => std::process::exit(130),
                Some(_) => continue,
                None => first = Some(Instant::now()),
            }
            tracing::info!("stopping after the current transaction");
            told.cancel();
        }
    });
    Ok(stop)
}

/// A token that is cancelled together with `stop`, or after a time. `stop` itself is cancelled by
/// signals only, so the caller can tell a signal from the time limit.
pub(super) fn stop_after(
    clock: &Arc<dyn Clock>,
    stop: &CancellationToken,
    after: Option<Duration>,
) -> CancellationToken {
    let over = stop.child_token();
    if let Some(after) = after {
        let (clock, over) = (Arc::clone(clock), over.clone());
        tokio::spawn(async move {
            clock.sleep(after).await;
            tracing::info!("stopping: --max-runtime is over");
            over.cancel();
        });
    }
    over
}

/// What resumes the work of a command that was stopped early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resumed {
    /// The next sync.
    BySync,
    /// The same backfill.
    ByBackfill,
}

impl Resumed {
    /// What a command prints that was stopped before its work was done.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::BySync => "stopped early; the next sync resumes here",
            Self::ByBackfill => {
                "stopped early; the same backfill resumes here (`helena-sync status` shows how far it is)"
            }
        }
    }
}

/// The exit status of a one-shot command with these runs. It is a failure if a signal stopped the
/// command, since a command that follows may rely on the complete result.
pub(super) fn conclude_unless_stopped(
    context: &Context,
    runs: &[RunReport],
    stop: &CancellationToken,
    resumed: Resumed,
) -> Exit {
    let exit = conclude(context, runs, resumed);
    if exit != Exit::Done || !stop.is_cancelled() {
        return exit;
    }
    // Otherwise `conclude` has printed it.
    if runs.iter().all(RunReport::succeeded) {
        context.note(resumed.text());
    }
    Exit::Failed
}

/// An account's runs. If the command was stopped before the first run, the result is a stopped run
/// instead of a failure.
pub(super) fn stopped_or(made: Result<Runs, Failure>) -> Result<Runs, Failure> {
    made.or_else(|failure| {
        if !failure.is_stop() {
            return Err(failure);
        }
        let (kind, resource) = (RunKind::Incremental, Resource::Sessions);
        Ok(vec![RunReport::failed(kind, resource, RunError::Stopped)])
    })
}

/// Adds the account's name to each run, for messages about several accounts.
pub(super) fn named(account: &Account, mut runs: Runs, several: bool) -> Runs {
    if several {
        for run in &mut runs {
            run.account = Some(account.name.clone());
        }
    }
    runs
}

/// The exit status of a command with these runs. Prints a line on stderr if a run failed or stopped.
pub(super) fn conclude(context: &Context, runs: &[RunReport], resumed: Resumed) -> Exit {
    let failed: Vec<&RunReport> = runs
        .iter()
        .filter(|run| {
            run.error
                .as_ref()
                .is_some_and(|error| error.action() != FailureAction::Stop)
        })
        .collect();
    if failed.is_empty() {
        if runs.iter().any(|run| !run.succeeded()) {
            context.note(resumed.text());
        }
        return Exit::Done;
    }
    // A resource that the failure of another one stopped is incomplete, too.
    let unread = runs.iter().filter(|run| !run.succeeded());
    let mut names: Vec<String> = unread.map(RunReport::subject).collect();
    let mut seen = HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    let refused = |run: &&RunReport| run.error.as_ref().is_some_and(RunError::is_refusal);
    if failed.iter().all(refused) && !runs.iter().any(RunReport::succeeded) {
        let everything = match names.as_slice() {
            [one] => format!("for {one}"),
            _ => "for every resource".to_owned(),
        };
        let tokens = context.token_origins().join("; ");
        context.note(&format!(
            "error: the API refuses the token {everything}; check the token ({tokens})"
        ));
        return Exit::Refused;
    }
    let others = if runs.iter().any(RunReport::succeeded) {
        "; the other resources are stored"
    } else {
        ""
    };
    context.note(&format!(
        "error: could not read all of {}{others}",
        names.join(", ")
    ));
    Exit::Failed
}

/// `1 request`, `2,000 requests`.
pub(super) fn requests(count: u64) -> String {
    counted(count, "request")
}

/// The shortest time that so many requests take under the configured rate limits, as text.
pub(super) fn least_time(context: &Context, requests: u64) -> Result<String, Failure> {
    let limit = context.settings.api()?.rate_limit;
    let rounds = |rate: crate::data::RateLimit| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a positive count"
        )]
        let ours = ((f64::from(rate.count.get()) * limit.share) as u64).max(1);
        rate.per * u32::try_from(requests.saturating_sub(1) / ours).unwrap_or(u32::MAX)
    };
    let least = rounds(limit.sustained).max(rounds(limit.burst));
    Ok(if least.is_zero() {
        "no waiting for the rate limits".to_owned()
    } else {
        let least = humantime::format_duration(least);
        format!("at least {least} under the rate limits")
    })
}

/// The help of `--resource`, which names all resources.
pub(super) const WHICH_RESOURCES: &str =
    "Use only this resource; may be repeated, or a list with commas [default: sync.resources]";

/// The names of resources, which are those of their tables. The spelling of the commands, with a hyphen,
/// is accepted, too.
pub(super) fn resources() -> Choice<Resource> {
    choice(Resource::ALL.map(|resource| (resource.name(), resource))).also(&[
        (Resource::CustomFields.name(), &["custom-fields"]),
        (Resource::OfficeHours.name(), &["office-hours"]),
    ])
}

/// The chosen resources: those named, or all in sync.resources.
pub(super) fn chosen(context: &Context, named: &[Resource]) -> Result<Vec<Resource>, Failure> {
    let mirrored = context.settings.sync()?.resources;
    if named.is_empty() {
        return Ok(mirrored);
    }
    // Parents come first, whatever the order of the flags.
    Ok(Resource::ALL
        .into_iter()
        .filter(|resource| named.contains(resource))
        .collect())
}
