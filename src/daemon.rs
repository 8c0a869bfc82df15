//! The daemon: triggers to engines, one task an account, until told to stop.
//!
//! Owns what is due when, the lease's life, and what a failed pass means for the next one. Must not
//! know SQL, HTTP or the command line.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::clock::Clock;
use crate::data::{Resource, RunKind, Source, Timestamp};
use crate::schedule::{Trigger, Triggers};
use crate::store::StoreError;
use crate::sync::{Engine, Limits, RunError, RunReport, Runs, Verdict, Verified};

/// How long the first pause is after the API has refused the token, for everything or for one
/// resource; it doubles.
const FIRST_PAUSE: Duration = Duration::from_mins(1);

/// The longest pause: a token that was renewed, or given more rights, is noticed within this time.
const LONGEST_PAUSE: Duration = Duration::from_hours(1);

/// How often runs that nothing refers to are forgotten.
const FORGET_EVERY: Duration = Duration::from_hours(24);

/// Windows of each stream that a nightly verification re-reads although their counts agree.
const SAMPLES: u32 = 5;

/// What the daemon does when.
#[derive(Debug, Clone, Copy)]
pub struct Intervals {
    /// How often the lists are read.
    pub catalog: Duration,
    /// How often open sessions are read again.
    pub refresh_open: Duration,
}

/// Why an account's task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It was told to.
    Stopped,
    /// Another process has taken over the account.
    LeaseLost,
}

/// One account of the daemon.
pub struct Tender<S> {
    engine: Arc<Engine<S>>,
    clock: Arc<dyn Clock>,
    resources: Vec<Resource>,
    intervals: Intervals,
    identified: bool,
    /// When each list was last read.
    lists_at: HashMap<Resource, Timestamp>,
    /// When open sessions were last fresh, if that is known.
    open_at: Option<Timestamp>,
    open_pause: Pause,
    forgot_at: Timestamp,
    /// Of the resources that the API refuses.
    pauses: HashMap<Resource, Pause>,
    /// While it refuses everything.
    pause: Pause,
}

/// The distance between attempts at what fails: it grows with each.
#[derive(Debug, Clone, Copy, Default)]
struct Pause {
    failures: u32,
    /// By [`Clock::running`]: a clock that is set makes it neither longer nor shorter; a machine that
    /// sleeps makes it longer.
    until: Option<Duration>,
}

impl Pause {
    fn is_over(&self, now: Duration) -> bool {
        self.until.is_none_or(|until| now >= until)
    }

    /// Begins a pause, longer than the last one.
    fn grow(&mut self, now: Duration) -> Duration {
        let pause = FIRST_PAUSE * 2_u32.saturating_pow(self.failures.min(16));
        let pause = pause.min(LONGEST_PAUSE);
        self.failures += 1;
        self.until = Some(now + pause);
        pause
    }

    /// Ends it early, and does not forget it.
    fn cut(&mut self) {
        self.until = None;
    }
}

impl<S: Source + 'static> Tender<S> {
    /// Tends an account with this engine.
    pub fn new(
        engine: Arc<Engine<S>>,
        clock: Arc<dyn Clock>,
        resources: Vec<Resource>,
        intervals: Intervals,
    ) -> Self {
        // Whoever takes the lease has just forgotten what was to be.
        let forgot_at = clock.now();
        Self {
            engine,
            clock,
            resources,
            intervals,
            identified: false,
            lists_at: HashMap::new(),
            open_at: None,
            open_pause: Pause::default(),
            forgot_at,
            pauses: HashMap::new(),
            pause: Pause::default(),
        }
    }

    /// Works off triggers until told to stop. The first pass does not wait for one.
    pub async fn tend(
        &mut self,
        triggers: &mut Triggers,
        stop: &CancellationToken,
        lost: &CancellationToken,
    ) -> End {
        let mut trigger = Some(Trigger::Pass);
        loop {
            if let Some(trigger) = trigger {
                self.step(trigger, lost).await;
                let skipped = triggers.take_skipped();
                if skipped > 0 {
                    let account = self.engine.name();
                    info!(
                        account,
                        skipped,
                        "account {account}: {skipped} triggers were skipped: they came while \
                         another still waited for the end of this work"
                    );
                }
            }
            if stop.is_cancelled() {
                return End::Stopped;
            }
            if lost.is_cancelled() {
                return End::LeaseLost;
            }
            trigger = tokio::select! {
                biased;
                () = lost.cancelled() => None,
                trigger = triggers.next() => match trigger {
                    Some(trigger) => Some(trigger),
                    None => return End::Stopped,
                },
            };
        }
    }

    /// Does what one trigger asks for. `stop` ends it between pages.
    pub async fn step(&mut self, trigger: Trigger, stop: &CancellationToken) -> Runs {
        if !self.pause.is_over(self.clock.running()) {
            return Runs::new();
        }
        let limits = Limits { stop, budget: None };
        let runs = match trigger {
            Trigger::Pass => self.pass(limits).await,
            Trigger::Verify => self.verify(limits).await,
        };
        let runs = match runs {
            Ok(runs) => runs,
            Err(error) => {
                if error.verdict() == Verdict::LeaseLost {
                    stop.cancel();
                } else if error.verdict() != Verdict::Stop {
                    let account = self.engine.name();
                    let error = RunError::line(&error);
                    error!(
                        account,
                        error, "account {account}: the pass failed: {error}"
                    );
                }
                vec![RunReport::failed(
                    RunKind::Incremental,
                    Resource::Sessions,
                    error,
                )]
            }
        };
        let lost = |run: &RunReport| {
            run.error
                .as_ref()
                .is_some_and(|error| error.verdict() == Verdict::LeaseLost)
        };
        if runs.iter().any(lost) {
            stop.cancel();
        }
        self.note_refusals(&runs);
        runs
    }

    async fn pass(&mut self, limits: Limits<'_>) -> Result<Runs, RunError> {
        let engine = Arc::clone(&self.engine);
        if !self.identified {
            engine.identify(limits.stop).await?;
            self.identified = true;
        }
        if self.is_due(Some(self.forgot_at), FORGET_EVERY) {
            engine.forget_idle_runs().await?;
            self.forgot_at = self.clock.now();
        }
        let mut runs = self.due_lists(limits).await;
        for resource in engine.unloaded(&self.wanted()).await? {
            match engine.plan_first_load(resource, limits).await {
                Ok(_) => {}
                Err(error) if error.verdict() == Verdict::NextResource => {
                    let run = engine.failed(RunKind::FirstLoad, resource, error).await;
                    self.note_resource(resource, std::slice::from_ref(&run));
                    runs.push(run);
                }
                Err(error) => return Err(error),
            }
        }
        for resource in self.wanted() {
            let passes = engine.incremental(&[resource], limits).await;
            self.note_resource(resource, &passes);
            let go_on = passes.iter().all(goes_on);
            runs.extend(passes);
            if !go_on {
                break;
            }
        }
        if !limits.stop.is_cancelled() {
            runs.extend(engine.work_off(&self.resources, limits).await);
        }
        if !limits.stop.is_cancelled() {
            runs.extend(self.due_open(limits).await?);
        }
        Ok(runs)
    }

    /// The resources but those that the API refuses and that it is too early to ask for again.
    fn wanted(&self) -> Vec<Resource> {
        let now = self.clock.running();
        let is_wanted = |resource: &&Resource| {
            let pause = self.pauses.get(resource);
            pause.is_none_or(|pause| pause.is_over(now))
        };
        self.resources.iter().filter(is_wanted).copied().collect()
    }

    /// Reads each list that is due.
    async fn due_lists(&mut self, limits: Limits<'_>) -> Runs {
        let mut runs = Runs::new();
        for resource in self.wanted() {
            let last = self.lists_at.get(&resource).copied();
            if !resource.is_list() || !self.is_due(last, self.intervals.catalog) {
                continue;
            }
            let run = self.engine.list(resource, limits).await;
            if run.succeeded() {
                self.lists_at.insert(resource, self.clock.now());
            }
            self.note_resource(resource, std::slice::from_ref(&run));
            let go_on = goes_on(&run);
            runs.push(run);
            if !go_on {
                break;
            }
        }
        runs
    }

    /// Reads open sessions again if that is due. The database knows when it was done last, so that
    /// a daemon that is often restarted does it too, and one whose first load has just ended does
    /// not.
    async fn due_open(&mut self, limits: Limits<'_>) -> Result<Option<RunReport>, RunError> {
        let every = self.intervals.refresh_open;
        if !self.wanted().contains(&Resource::Sessions)
            || !self.open_pause.is_over(self.clock.running())
            || !self.is_due(self.open_at, every)
        {
            return Ok(None);
        }
        self.open_at = self.engine.open_refreshed_at().await?;
        if !self.is_due(self.open_at, every) {
            return Ok(None);
        }
        let begun = self.clock.now();
        let run = self.engine.refresh_open(limits).await;
        if run.succeeded() {
            self.open_at = Some(begun);
            self.open_pause = Pause::default();
        } else {
            self.open_pause.grow(self.clock.running());
        }
        Ok(Some(run))
    }

    /// Lets the distance between attempts at a resource grow while the platform gives none of it. A
    /// platform that cannot be reached is tried again at the next trigger.
    fn note_resource(&mut self, resource: Resource, runs: &[RunReport]) {
        let refused = |run: &RunReport| {
            run.error.as_ref().is_some_and(|error| {
                // A list is read whole each time, so that one that cannot be read is costly, too.
                error.is_refusal() || resource.is_list() && error.verdict() == Verdict::NextResource
            })
        };
        if runs.is_empty() {
            return;
        }
        if runs.iter().all(refused) {
            let now = self.clock.running();
            self.pauses.entry(resource).or_default().grow(now);
        } else {
            self.pauses.remove(&resource);
        }
    }

    /// Compares the mirror with the API and repairs it. A pass goes before, lists included: what it
    /// reads is fresh, and no difference. A resource that the API refuses is left out.
    async fn verify(&mut self, limits: Limits<'_>) -> Result<Runs, RunError> {
        self.lists_at.clear();
        self.pauses.values_mut().for_each(Pause::cut);
        let mut runs = self.pass(limits).await?;
        let ended_well = |run: &RunReport| run.error.as_ref().is_none_or(RunError::is_refusal);
        let resources = self.wanted();
        if limits.stop.is_cancelled() || resources.is_empty() || !runs.iter().all(ended_well) {
            let account = self.engine.name();
            info!(
                account,
                "verification left out: the pass before it did not end well"
            );
            return Ok(runs);
        }
        let engine = Arc::clone(&self.engine);
        let verified = engine.verify(&resources, SAMPLES, limits).await;
        let differences: u64 = verified.iter().map(Verified::differences).sum();
        let account = engine.name();
        info!(
            account,
            differences, "account {account}: verified, {differences} differences"
        );
        runs.extend(verified.into_iter().filter_map(Verified::into_failure));
        Ok(runs)
    }

    fn is_due(&self, last: Option<Timestamp>, every: Duration) -> bool {
        let now = self.clock.now();
        // What was done in the future was done before the clock was set back.
        last.is_none_or(|at| now >= at + every || now < at)
    }

    /// Lets the distance between passes grow while the API refuses everything.
    fn note_refusals(&mut self, runs: &[RunReport]) {
        let refused = |run: &RunReport| run.error.as_ref().is_some_and(RunError::is_refusal);
        if runs.is_empty() {
            return;
        }
        if !runs.iter().all(refused) {
            self.pause = Pause::default();
            return;
        }
        let pause = self.pause.grow(self.clock.running());
        let account = self.engine.name();
        error!(
            account,
            pause_s = pause.as_secs(),
            "account {account}: the API refuses the token everywhere; next try in {}",
            humantime::format_duration(pause)
        );
    }
}

/// Whether a pass goes on after this run.
fn goes_on(run: &RunReport) -> bool {
    run.error
        .as_ref()
        .is_none_or(|error| error.verdict() == Verdict::NextResource)
}

/// Opens the database, or begins to work on it, however long it takes to come up. What waiting
/// cannot mend is returned.
pub async fn patiently<T, F>(
    clock: &Arc<dyn Clock>,
    stop: &CancellationToken,
    mut open: impl FnMut() -> F,
) -> Option<Result<T, anyhow::Error>>
where
    F: Future<Output = Result<T, anyhow::Error>>,
{
    let mut pause = Duration::from_secs(1);
    loop {
        let error = match open().await {
            Ok(opened) => return Some(Ok(opened)),
            Err(error) => error,
        };
        let mendable = error
            .chain()
            .filter_map(|cause| cause.downcast_ref::<StoreError>())
            .any(|error| {
                matches!(
                    error,
                    StoreError::Unavailable { .. } | StoreError::Database { .. }
                )
            });
        if !mendable {
            return Some(Err(error));
        }
        let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
        let causes = causes.join(": ");
        warn!(
            error = causes,
            "{causes}; trying again in {}",
            humantime::format_duration(pause)
        );
        tokio::select! {
            biased;
            () = stop.cancelled() => {
                info!("stopped before the database came up");
                return None;
            }
            () = clock.sleep(pause) => {}
        }
        pause = (pause * 2).min(Duration::from_secs(30));
    }
}
