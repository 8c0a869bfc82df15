//! From a configured account to an engine that may write: what `run`, `sync`, `backfill` and
//! `rejects retry` share.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::record::number;
use super::stored::{Busy, acquire};
use super::{Account, Context, Exit, Failure};
use crate::api::{Client, WaitReason};
use crate::clock::{Clock, SystemClock};
use crate::config::DEFAULT_ACCOUNT;
use crate::data::{Resource, RunKind};
use crate::report::{Progress, Snapshot};
use crate::store::{Lease, Store};
use crate::sync::{
    Engine, EngineSettings, Keeper, Report, RunError, RunReport, Runs, Verdict, WalkError,
    WalkSettings,
};

/// How often a progress bar looks at the engine.
const LOOK: Duration = Duration::from_millis(250);

/// Shorter waits are not worth a line.
const WORTH_SAYING: Duration = Duration::from_secs(2);

/// Signals this close together are one wish: `timeout`, for one, sends its signal to the process and
/// then to the group that the process is in.
const SAME_WISH: Duration = Duration::from_millis(100);

/// Incremental passes during a long load, where no schedule says how often.
const INTERLEAVE: Duration = Duration::from_mins(1);

/// An engine at work: it has the lease, and keeps it while this lives.
pub(super) struct Working {
    pub(super) engine: Arc<Engine<Client>>,
    pub(super) store: Store,
    pub(super) stop: CancellationToken,
    client: Client,
    /// The version of the session list that was known at the beginning.
    remembered: u8,
    keeper: Keeper,
    watcher: JoinHandle<()>,
}

/// What the configuration says about the engine.
pub(super) fn settings(context: &Context) -> Result<EngineSettings, Failure> {
    let (api, sync) = (context.settings.api()?, context.settings.sync()?);
    let backfill = context.settings.backfill()?;
    Ok(EngineSettings {
        walk: WalkSettings {
            overlap: sync.overlap,
            page_size: api.page_size.get(),
            window_pages: backfill.window_pages.get(),
            concurrency: usize::try_from(backfill.concurrency.get()).unwrap_or(1),
        },
        keep_raw: context.settings.store()?.raw,
        resources: sync.resources,
        interleave: INTERLEAVE,
        catalog: sync.catalog_interval,
    })
}

/// A client of the account with the details that the configuration asks for.
pub(super) fn client(
    context: &Context,
    account: &Account,
    patience: Option<Duration>,
) -> Result<Client, Failure> {
    // A request gives up before the command's time is over, so that the trouble is named and not
    // only the time that it took.
    let patience = patience.map(|whole| whole * 3 / 4);
    account.client(context, &context.settings.sync()?.include_details, patience)
}

impl Working {
    /// Takes the lease of the account and begins to keep it.
    pub(super) async fn begin(
        context: &Context,
        store: &Store,
        account: &Account,
        client: Client,
        wait: bool,
        stop: &CancellationToken,
    ) -> Result<Self, Failure> {
        let now = context.clock.now();
        let id = store
            .account(&account.name, account.base_url.as_str(), now)
            .await?;
        let busy = if wait { Busy::Wait } else { Busy::GiveUp };
        let lease: Lease = tokio::select! {
            biased;
            () = stop.cancelled() => return Err(Failure::failed(WalkError::Stopped)),
            lease = acquire(context, store, &account.name, id, busy) => lease?,
        };
        let remembered = store.session_version(id).await?;
        if remembered == 2 {
            client.set_session_version(remembered);
        }
        let stop = stop.child_token();
        let clock = Arc::clone(&context.clock);
        let keeper = Keeper::start(store.clone(), lease.clone(), clock, stop.clone());
        let engine = Arc::new(Engine::new(
            account.name.clone(),
            Arc::new(client.clone()),
            store.clone(),
            Arc::clone(&context.clock),
            lease,
            settings(context)?,
        ));
        // As in the lines of its runs.
        let whose = (account.name != DEFAULT_ACCOUNT).then(|| account.name.clone());
        let clock = Arc::clone(&context.clock);
        let watching = watch(clock, whose, engine.reports(), client.clone());
        let watcher = tokio::spawn(watching);
        Ok(Self {
            client,
            remembered,
            engine,
            store: store.clone(),
            stop,
            keeper,
            watcher,
        })
    }

    /// Gives the lease back.
    pub(super) async fn end(self) {
        self.watcher.abort();
        // The bar disappears before the command's last words.
        let _aborted = self.watcher.await;
        if self.client.session_version() == 2 && self.remembered != 2 {
            let account = self.engine.lease().account();
            let noted = self.store.first_version_is_withdrawn(account).await;
            if let Err(error) = noted {
                tracing::debug!(error = %error, "the list's version is found out again next time");
            }
        }
        if !self.keeper.is_lost()
            && let Err(error) = self.store.release(self.engine.lease()).await
        {
            tracing::debug!(error = %error, "lease not released; it expires by itself");
        }
    }
}

/// Shows how far the engine has come. What is quickly done is not worth a bar.
async fn watch(
    clock: Arc<dyn Clock>,
    account: Option<String>,
    reports: tokio::sync::watch::Receiver<Report>,
    client: Client,
) {
    let on_terminal = crate::report::on_terminal();
    let mut shown: Option<Progress> = None;
    loop {
        clock.sleep(LOOK).await;
        let report = reports.borrow().clone();
        let waiting = client.waiting().and_then(|waiting| {
            let rest = waiting.until.since(clock.now());
            if rest < WORTH_SAYING {
                return None;
            }
            let rest = rest.as_secs() + 1;
            let why = match waiting.reason {
                WaitReason::OwnLimit => "rate limit",
                WaitReason::Refused => "the platform limits this account",
                WaitReason::Backoff => "the platform is in trouble",
            };
            Some(format!("{why}, {rest}s"))
        });
        // A load has a total; everything else shows itself only while it waits.
        if report.total.is_none() && waiting.is_none() {
            shown = None;
            continue;
        }
        let snapshot = Snapshot {
            account: account.clone(),
            phase: report.phase,
            // A window that is read again brings the same rows.
            rows: report
                .total
                .map_or(report.rows, |total| report.rows.min(total)),
            total: report.total,
            waiting,
        };
        shown
            .get_or_insert_with(|| Progress::new(Arc::clone(&clock), on_terminal))
            .show(&snapshot);
    }
}

/// How long the end may take after a signal. A database that does not answer would hold it up for
/// longer; what it has not committed by then is rolled back and read again.
const GRACE: Duration = Duration::from_secs(9);

/// Cancelled by SIGINT or SIGTERM; a second signal ends the process at once, with 130, and so does
/// a first one after [`GRACE`], with the exit status of a command that was stopped.
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
                    tracing::warn!("the database does not answer; ending without it");
                    std::process::exit(stopped.code().into());
                }
            }
            match first {
                Some(at) if at.elapsed() > SAME_WISH => std::process::exit(130),
                Some(_) => continue,
                None => first = Some(Instant::now()),
            }
            tracing::info!("stopping: the transaction in progress is finished first");
            told.cancel();
        }
    });
    Ok(stop)
}

/// Cancelled with `stop`, and after a time; `stop` itself still tells a signal from the limit that
/// was asked for.
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
            tracing::info!("the time given by --max-runtime is over");
            over.cancel();
        });
    }
    over
}

/// The exit status of a one-shot command that made these runs unless a signal ended it: then what
/// the next command relies on is not there.
pub(super) fn conclude_unless_stopped(
    context: &Context,
    runs: &[RunReport],
    stop: &CancellationToken,
) -> Exit {
    let exit = conclude(context, runs);
    if exit != Exit::Done || !stop.is_cancelled() {
        return exit;
    }
    // Otherwise it has been said.
    if runs.iter().all(RunReport::succeeded) {
        context.note("stopped before the end; the next start goes on from there");
    }
    Exit::Failed
}

/// What was made of an account, where being stopped before the first run is no failure of its own:
/// it is concluded like a run that was stopped.
pub(super) fn stopped_or(made: Result<Runs, Failure>) -> Result<Runs, Failure> {
    made.or_else(|failure| {
        if !failure.is_stop() {
            return Err(failure);
        }
        let error = WalkError::Stopped.into();
        let (kind, resource) = (RunKind::Incremental, Resource::Sessions);
        Ok(vec![RunReport::failed(kind, resource, error)])
    })
}

/// With the account in each run's name, for messages about several.
pub(super) fn named(account: &Account, mut runs: Runs, several: bool) -> Runs {
    if several {
        for run in &mut runs {
            run.subject = format!("{} of {}", run.subject, account.name);
        }
    }
    runs
}

/// The exit status of a command that made these runs, with a line on stderr if there is something
/// to say.
pub(super) fn conclude(context: &Context, runs: &[RunReport]) -> Exit {
    let failed: Vec<&RunReport> = runs
        .iter()
        .filter(|run| {
            run.error
                .as_ref()
                .is_some_and(|error| error.verdict() != Verdict::Stop)
        })
        .collect();
    if failed.is_empty() {
        if runs.iter().any(|run| !run.succeeded()) {
            context.note("stopped before the end; the next start goes on from there");
        }
        return Exit::Done;
    }
    // What was stopped by the failure of another is not complete either.
    let unread = runs.iter().filter(|run| !run.succeeded());
    let mut names: Vec<&str> = unread.map(|run| run.subject.as_str()).collect();
    let mut seen = HashSet::new();
    names.retain(|name| seen.insert(*name));
    let refused = |run: &&RunReport| run.error.as_ref().is_some_and(RunError::is_refusal);
    if failed.iter().all(refused) && !runs.iter().any(RunReport::succeeded) {
        let everything = match names[..] {
            [one] => format!("for {one}"),
            _ => "everywhere".to_owned(),
        };
        let tokens = context.token_origins().join("; ");
        context.note(&format!(
            "error: the API refuses the token {everything}; check it ({tokens})"
        ));
        return Exit::Refused;
    }
    let (partial, others) = if runs.iter().any(RunReport::succeeded) {
        ("partial, ", "; the others are stored")
    } else {
        ("", "")
    };
    context.note(&format!(
        "error: {partial}not read completely: {}{others}",
        names.join(", ")
    ));
    Exit::Failed
}

/// `1 session`, `2,000 sessions`.
pub(super) fn counted(count: u64, what: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{} {what}{s}", number(count))
}

/// So many requests, in words.
pub(super) fn requests(count: u64) -> String {
    counted(count, "request")
}

/// The least time that so many requests take under the configured limits, in words.
pub(super) fn least_time(context: &Context, requests: u64) -> Result<String, Failure> {
    let limit = context.settings.api()?.rate_limit;
    let rounds = |rate: crate::config::Rate| {
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
        "no waiting under the limits".to_owned()
    } else {
        let least = humantime::format_duration(least);
        format!("at least {least} under the limits")
    })
}

/// The resources to work on: those named, or all that the configuration mirrors.
pub(super) fn chosen(context: &Context, named: &[Resource]) -> Result<Vec<Resource>, Failure> {
    let mirrored = context.settings.sync()?.resources;
    if named.is_empty() {
        return Ok(mirrored);
    }
    // Parents first, whatever the order of the flags.
    Ok(Resource::ALL
        .into_iter()
        .filter(|resource| named.contains(resource))
        .collect())
}
