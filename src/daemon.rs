//! The daemon: triggers to engines, one task an account, until told to stop.
//!
//! Owns what is due when, the lease's life, and what a failed pass means for the next one. Must not
//! know SQL, HTTP or the command line.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::clock::Clock;
use crate::data::{Resource, RunKind, Source, Timestamp};
use crate::schedule::Trigger;
use crate::store::StoreError;
use crate::sync::{Engine, Limits, Outcome, RunError, RunReport, Runs, Verdict, Verified};

/// How long the first pause is after the API has refused the token everywhere; it doubles.
const FIRST_PAUSE: Duration = Duration::from_mins(1);

/// The longest pause: a token that was renewed is noticed within this time.
const LONGEST_PAUSE: Duration = Duration::from_hours(1);

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
    lists_at: Option<Timestamp>,
    open_at: Option<Timestamp>,
    refusals: u32,
    paused_until: Option<Timestamp>,
}

impl<S: Source + 'static> Tender<S> {
    /// Tends an account with this engine.
    pub fn new(
        engine: Arc<Engine<S>>,
        clock: Arc<dyn Clock>,
        resources: Vec<Resource>,
        intervals: Intervals,
    ) -> Self {
        Self {
            engine,
            clock,
            resources,
            intervals,
            identified: false,
            lists_at: None,
            open_at: None,
            refusals: 0,
            paused_until: None,
        }
    }

    /// Works off triggers until told to stop. The first pass does not wait for one.
    pub async fn tend(
        &mut self,
        triggers: &mut mpsc::Receiver<Trigger>,
        stop: &CancellationToken,
        lost: &CancellationToken,
    ) -> End {
        let mut trigger = Some(Trigger::Pass);
        loop {
            if let Some(trigger) = trigger {
                self.step(trigger, lost).await;
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
                trigger = triggers.recv() => match trigger {
                    Some(trigger) => Some(trigger),
                    None => return End::Stopped,
                },
            };
        }
    }

    /// Does what one trigger asks for. `stop` ends it between pages.
    pub async fn step(&mut self, trigger: Trigger, stop: &CancellationToken) -> Runs {
        let now = self.clock.now();
        if self.paused_until.is_some_and(|until| now < until) {
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
        let mut runs = Runs::new();
        if self.is_due(self.lists_at, self.intervals.catalog) {
            let lists = engine.lists(&self.resources, limits).await;
            if lists.iter().all(RunReport::succeeded) {
                self.lists_at = Some(self.clock.now());
            }
            runs.extend(lists);
        }
        for resource in engine.unloaded(&self.resources).await? {
            match engine.plan_first_load(resource, limits).await {
                Ok(_) => {}
                Err(error) if error.verdict() == Verdict::NextResource => {
                    let line = error.line();
                    let account = engine.name();
                    warn!(account, error = line, "{resource} cannot be loaded: {line}");
                    runs.push(RunReport::failed(RunKind::FirstLoad, resource, error));
                }
                Err(error) => return Err(error),
            }
        }
        runs.extend(engine.incremental(&self.resources, limits).await);
        if !limits.stop.is_cancelled() {
            runs.extend(engine.work_off(limits).await);
        }
        let due = self.is_due(self.open_at, self.intervals.refresh_open);
        if due && self.resources.contains(&Resource::Sessions) && !limits.stop.is_cancelled() {
            // What a first load has just read needs no second look.
            if self.open_at.is_some() {
                runs.push(engine.refresh_open(limits).await);
            }
            self.open_at = Some(self.clock.now());
        }
        Ok(runs)
    }

    /// Compares the mirror with the API and repairs it. A pass goes before, lists included: what it
    /// reads is fresh, and no difference.
    async fn verify(&mut self, limits: Limits<'_>) -> Result<Runs, RunError> {
        self.lists_at = None;
        let mut runs = self.pass(limits).await?;
        if limits.stop.is_cancelled() || !runs.iter().all(RunReport::succeeded) {
            let account = self.engine.name();
            info!(
                account,
                "verification left out: the pass before it did not end well"
            );
            return Ok(runs);
        }
        let engine = Arc::clone(&self.engine);
        let verified = engine.verify(&self.resources, SAMPLES, limits).await;
        let differences: u64 = verified.iter().map(Verified::differences).sum();
        let account = engine.name();
        info!(
            account,
            differences, "account {account}: verified, {differences} differences"
        );
        runs.extend(
            verified
                .into_iter()
                .filter_map(|verified| match verified.outcome {
                    Outcome::Failed(error) => {
                        Some(RunReport::failed(RunKind::Verify, verified.resource, error))
                    }
                    Outcome::Compared(_) | Outcome::NotLoaded => None,
                }),
        );
        Ok(runs)
    }

    fn is_due(&self, last: Option<Timestamp>, every: Duration) -> bool {
        last.is_none_or(|at| self.clock.now() >= at + every)
    }

    /// Lets the distance between passes grow while the API refuses everything.
    fn note_refusals(&mut self, runs: &[RunReport]) {
        let refused = |run: &RunReport| run.error.as_ref().is_some_and(RunError::is_refusal);
        if runs.is_empty() || !runs.iter().all(refused) {
            self.refusals = 0;
            self.paused_until = None;
            return;
        }
        let pause = FIRST_PAUSE * 2_u32.saturating_pow(self.refusals.min(16));
        let pause = pause.min(LONGEST_PAUSE);
        self.refusals += 1;
        self.paused_until = Some(self.clock.now() + pause);
        let account = self.engine.name();
        error!(
            account,
            pause_s = pause.as_secs(),
            "account {account}: the API refuses the token everywhere; next try in {}",
            humantime::format_duration(pause)
        );
    }
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
