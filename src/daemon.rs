//! The daemon: runs the engines when triggers fire, with one task for each account.
//!
//! An [`AccountTask`] acquires its account's lease, syncs the account, releases the lease, and
//! starts over. It is independent of the tasks of other accounts. While it holds the lease, an
//! [`AccountWorker`] handles triggers.
//!
//! Owns when work is due, when a lease is acquired and released ([`lease`]), which process has which account
//! ([`sharing`]), and what a failed pass means for the next one. What the platform calls about is read
//! between passes ([`AccountWorker::answer`]), wherever the call arrived ([`relay`]). Must not know SQL, HTTP
//! or the command line.

#![warn(
    clippy::wildcard_enum_match_arm,
    reason = "each layer decides about every case of a failure"
)]

mod answer;
mod fair;
pub mod lease;
pub mod relay;
pub mod sharing;
pub mod task;
mod telling;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::data::{Resource, RunKind, RunOutcome, Source, Timestamp, counted};
use crate::doorbell::Bell;
use crate::metrics::Meter;
use crate::schedule::{Trigger, Triggers};
use crate::store::StoreError;
use crate::sync::{
    Engine, FailureAction, OpenSessions, Outcome, RunError, RunLimits, RunReport, Runs,
    Verification, Verified,
};

use answer::Door;
pub use lease::{Claim, KeptLease, WhenHeld};
pub use relay::Relay;
use sharing::Doing;
pub use sharing::{Handover, Sharing};
pub use task::{AccountTask, Engines};
use telling::{Ended, Telling};

/// The pauses while the API refuses the token, for everything or for one resource. A token that was
/// renewed or got more rights is noticed within the longest one.
const PAUSES: Backoff = Backoff::new(Duration::from_mins(1), Duration::from_hours(1));

/// The waits while the database is away, and before work that panicked starts over.
const RETRIES: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));

/// How often old runs are deleted.
const FORGET_EVERY: Duration = Duration::from_hours(24);

/// Windows of each stream that a nightly verification compares although their counts are equal.
const SAMPLES: u32 = 5;

/// How often in a row a verification may fail as a whole before it is cancelled until the next night.
const MOST_FAILURES: u32 = 3;

/// How often the daemon does its periodic work.
#[derive(Debug, Clone, Copy)]
pub struct Intervals {
    /// How often the lists are read.
    pub catalog: Duration,
    /// How often open sessions are read again.
    pub refresh_open: Duration,
}

/// Why an account is not synced, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// Another process holds the lease, and this one does not wait for it.
    #[error("another process holds the lease: {by}, since {since}")]
    Held {
        /// The holder, as text.
        by: String,
        /// Since when.
        since: Timestamp,
    },
    /// The database or the work failed, or a stop came while waiting for the lease. Only some failures of
    /// the database are worth a retry.
    #[error(transparent)]
    Run(#[from] RunError),
}

impl From<StoreError> for AccountError {
    fn from(error: StoreError) -> Self {
        Self::Run(error.into())
    }
}

/// Why an account's worker ended without a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The daemon was stopped.
    Stopped,
    /// Another process has acquired the lease, or may have.
    LeaseLost,
    /// Another process is to have the account.
    HandedOver,
}

/// Handles the triggers of an account while this process holds its lease.
pub struct AccountWorker<S> {
    engine: Arc<Engine<S>>,
    clock: Arc<dyn Clock>,
    resources: Vec<Resource>,
    intervals: Intervals,
    identified: bool,
    /// When each list was last read.
    lists_at: HashMap<Resource, Timestamp>,
    /// When the last refresh of open sessions began, if that is known.
    open_at: Option<Timestamp>,
    open_pause: Pause,
    /// The refresh of open sessions that is in progress, and since when.
    open: Option<(Timestamp, OpenSessions)>,
    /// The verification that is in progress.
    verifying: Option<Verifying>,
    /// When old runs were last deleted.
    forgot_at: Option<Timestamp>,
    /// Pauses of the resources that the API refuses.
    pauses: HashMap<Resource, Pause>,
    /// The pause while the API refuses everything.
    pause: Pause,
    /// What was logged about syncs.
    telling: Telling,
    /// Whether a token that is refused ends the work if nothing was ever read with it.
    ends_if_refused: bool,
    /// Whether nothing was ever read, and that ends the work.
    is_new: bool,
    meter: Meter,
    /// What the platform calls when something changes.
    door: Door,
    /// Asks to leave the account to another process.
    handover: Handover,
}

/// A verification that is done in portions, between passes.
struct Verifying {
    work: Verification,
    /// How often in a row it failed as a whole.
    failures: u32,
    /// Whether it waits for a pass that succeeds.
    is_held: bool,
}

/// The pause before the next retry. It grows with each failure.
#[derive(Debug, Clone, Copy)]
struct Pause {
    backoff: Backoff,
    /// By [`Clock::running`]: setting the clock does not change the pause, but a machine that sleeps
    /// makes it longer.
    until: Option<Duration>,
}

impl Default for Pause {
    fn default() -> Self {
        Self {
            backoff: PAUSES,
            until: None,
        }
    }
}

impl Pause {
    fn is_over(&self, now: Duration) -> bool {
        self.until.is_none_or(|until| now >= until)
    }

    /// Starts a pause that is longer than the last one.
    fn grow(&mut self, now: Duration) -> Duration {
        let pause = self.backoff.after_failure();
        self.until = Some(now + pause);
        pause
    }

    /// Ends the pause early, and keeps the count of failures.
    fn cut(&mut self) {
        self.until = None;
    }
}

impl<S: Source + 'static> AccountWorker<S> {
    /// A worker with this engine.
    pub fn new(
        engine: Arc<Engine<S>>,
        clock: Arc<dyn Clock>,
        resources: Vec<Resource>,
        intervals: Intervals,
    ) -> Self {
        let name = engine.name().to_owned();
        Self {
            engine,
            clock,
            resources,
            intervals,
            identified: false,
            lists_at: HashMap::new(),
            open_at: None,
            open_pause: Pause::default(),
            open: None,
            verifying: None,
            forgot_at: None,
            pauses: HashMap::new(),
            pause: Pause::default(),
            telling: Telling::new(&name),
            ends_if_refused: false,
            is_new: false,
            meter: Meter::new(&name),
            door: Door::default(),
            handover: Handover::default(),
        }
    }

    /// Reads what the platform calls about at this doorbell.
    #[must_use]
    pub fn ringing(mut self, bell: Option<Arc<Bell>>) -> Self {
        self.door = Door::at(bell);
        self
    }

    /// Records passes with this meter.
    #[must_use]
    pub fn metered(mut self, meter: Meter) -> Self {
        self.meter = meter;
        self
    }

    /// Ends between two syncs when this asks for it, but not within a verification.
    #[must_use]
    pub fn giving_way(mut self, handover: Handover) -> Self {
        self.handover = handover;
        self
    }

    /// From now on, a token that is refused although nothing was ever read with it ends the work. Without
    /// this, the worker retries, since other accounts keep the process going.
    #[must_use]
    pub fn ending_if_refused(mut self) -> Self {
        self.ends_if_refused = true;
        self
    }

    /// Handles triggers until stopped, or until a failure that no retry can repair; see
    /// [`FailureAction::EndAccount`]. The first pass starts without a trigger. `lost` is cancelled when the
    /// lease is lost.
    pub async fn work(
        &mut self,
        triggers: &mut Triggers,
        stop: &CancellationToken,
        lost: &CancellationToken,
    ) -> Result<End, RunError> {
        let mut trigger = Some(Trigger::Pass);
        // Calls and triggers take turns, however many there are of either.
        let mut has_answered = false;
        self.door.forget();
        // A database that cannot be read is not new, as far as is known.
        self.is_new = self.ends_if_refused && !self.engine.has_read().await.unwrap_or(true);
        loop {
            let began = trigger == Some(Trigger::Verify);
            if let Some(trigger) = trigger {
                let verifies = began || self.verifying.is_some();
                self.handover.now(if verifies {
                    Doing::Verifying
                } else {
                    Doing::Syncing
                });
                let at_first = self.clock.running();
                let mut runs = self.step(trigger, lost).await;
                self.count(&runs, at_first);
                if self.is_new
                    && let Some(error) = refusal(&mut runs)
                {
                    return Err(error);
                }
                self.is_new &= !runs.iter().any(RunReport::succeeded);
                self.tell(&runs, at_first, triggers.next_pass()).await;
                if let Some(error) = unmendable(runs) {
                    return Err(error);
                }
                let skipped = triggers.take_skipped();
                if skipped > 0 {
                    self.meter.skipped(skipped);
                    let account = self.engine.name();
                    info!(
                        account,
                        skipped,
                        "account {account}: skipped {skipped} triggers that fired while an earlier one \
                         still waited"
                    );
                }
            }
            if stop.is_cancelled() {
                return Ok(End::Stopped);
            }
            if lost.is_cancelled() {
                return Ok(End::LeaseLost);
            }
            if self.is_verifying() {
                self.handover.now(Doing::Verifying);
                if !began {
                    self.go_on(lost).await;
                }
                if let Some(call) = self.door.waiting() {
                    Box::pin(self.answer(call, lost)).await;
                }
                // Between two portions, a waiting pass goes first.
                trigger = triggers.waiting_pass();
                if trigger.is_some() || self.is_verifying() {
                    continue;
                }
            }
            // Another process would have to begin a verification again.
            if self.verifying.is_none() {
                if self.handover.is_asked() {
                    return Ok(End::HandedOver);
                }
                self.handover.now(Doing::Resting);
            }
            let resting = self.meter.pulse().rest();
            let call;
            (trigger, call) = tokio::select! {
                biased;
                () = lost.cancelled() => (None, None),
                () = self.handover.asked(), if self.verifying.is_none() => (None, None),
                call = self.door.next_call(), if !has_answered => (None, Some(call)),
                trigger = triggers.next() => match trigger {
                    Some(trigger) => (Some(trigger), None),
                    None => return Ok(End::Stopped),
                },
                call = self.door.next_call(), if has_answered => (None, Some(call)),
            };
            drop(resting);
            has_answered = call.is_some();
            if let Some(call) = call {
                if self.verifying.is_none() {
                    self.handover.now(Doing::Syncing);
                }
                Box::pin(self.answer(call, lost)).await;
            }
        }
    }

    /// Logs what a sync did.
    async fn tell(&mut self, runs: &[RunReport], begun: Duration, next: Option<Timestamp>) {
        if runs.is_empty() {
            return;
        }
        let was_loading = self.telling.was_loading.unwrap_or(true);
        let engine = Arc::clone(&self.engine);
        // Once the first load is done, nobody asks for it any more.
        let loading = async {
            if was_loading {
                Ok(!engine.loading(&self.resources).await?.is_empty())
            } else {
                Ok(false)
            }
        };
        let Ok::<_, StoreError>(is_loading) = loading.await else {
            return;
        };
        let is_first_load = |run: &RunReport| run.kind == RunKind::FirstLoad;
        if self.telling.was_loading.is_none() && runs.iter().any(is_first_load) {
            self.telling.was_loading = Some(true);
        }
        let has_loaded = !is_loading && self.telling.was_loading == Some(true);
        let stored = if has_loaded {
            let streams = |resource: &&Resource| !resource.is_list();
            let resources: Vec<Resource> = self.resources.iter().filter(streams).copied().collect();
            engine.stored(&resources).await.unwrap_or_default()
        } else {
            Vec::new()
        };
        let running = self.clock.running();
        let ended = Ended {
            took: running.saturating_sub(begun),
            running,
            next: telling::until(next, self.clock.now()),
            is_loading,
            stored,
        };
        self.telling.tell(runs, &ended);
    }

    /// Does the work of one trigger. `stop` ends it between pages.
    pub async fn step(&mut self, trigger: Trigger, stop: &CancellationToken) -> Runs {
        if !self.pause.is_over(self.clock.running()) {
            return Runs::new();
        }
        let limits = RunLimits { stop, budget: None };
        let runs = match trigger {
            Trigger::Pass => self.pass(limits).await.inspect(|runs| self.release(runs)),
            Trigger::Verify => self.verify(limits).await,
        };
        let runs = match runs {
            Ok(runs) => runs,
            Err(error) => {
                match error.action() {
                    FailureAction::LeaseLost => stop.cancel(),
                    // The caller reports it.
                    FailureAction::Stop | FailureAction::EndAccount => {}
                    FailureAction::NextResource if self.is_new && error.is_refusal() => {}
                    FailureAction::NextResource | FailureAction::EndPass => {
                        let account = self.engine.name();
                        let error = RunError::line(&error);
                        error!(
                            account,
                            error, "account {account}: the sync failed: {error}"
                        );
                    }
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
                .is_some_and(|error| error.action() == FailureAction::LeaseLost)
        };
        if runs.iter().any(lost) {
            stop.cancel();
        }
        self.note_refusals(&runs);
        runs
    }

    /// Whether a verification is in progress that can continue now.
    pub fn is_verifying(&self) -> bool {
        let goes_on = |verifying: &Verifying| !verifying.is_held && verifying.work.can_go_on();
        self.pause.is_over(self.clock.running()) && self.verifying.as_ref().is_some_and(goes_on)
    }

    /// Continues the verification for half a minute.
    pub async fn go_on(&mut self, stop: &CancellationToken) {
        let Some(mut verifying) = self.verifying.take() else {
            return;
        };
        let limits = RunLimits { stop, budget: None };
        let engine = &self.engine;
        let failed = engine.verify_portion(&mut verifying.work, limits).await;
        let account = engine.name();
        if let Some(Outcome::Failed { error, .. }) = failed.map(|failed| failed.outcome) {
            match error.action() {
                FailureAction::LeaseLost => {
                    stop.cancel();
                    return;
                }
                FailureAction::Stop => return,
                // The next pass fails for the same reason and reports it.
                FailureAction::NextResource
                | FailureAction::EndPass
                | FailureAction::EndAccount => {}
            }
            verifying.failures += 1;
            verifying.is_held = true;
            if verifying.failures >= MOST_FAILURES {
                info!(
                    account,
                    "account {account}: the verification failed {MOST_FAILURES} times in a row and is \
                     cancelled; verify.schedule starts the next one"
                );
                return;
            }
        } else {
            verifying.failures = 0;
        }
        if verifying.work.is_done() {
            let verified = verifying.work.verified();
            let differences: u64 = verified.iter().map(Verified::differences).sum();
            info!(
                account,
                differences,
                "account {account}: verified, {}",
                counted(differences, "difference")
            );
            return;
        }
        if !verifying.is_held && !verifying.work.can_go_on() {
            let left = verifying.work.left();
            info!(
                account,
                left, "account {account}: the verification of {left} waits for a successful sync"
            );
        }
        self.verifying = Some(verifying);
    }

    async fn pass(&mut self, limits: RunLimits<'_>) -> Result<Runs, RunError> {
        let engine = Arc::clone(&self.engine);
        if !self.identified {
            engine.identify(limits.stop).await?;
            self.identified = true;
        }
        if self.is_due(self.forgot_at, FORGET_EVERY) {
            engine.forget_runs().await;
            engine.extend_days().await;
            self.forgot_at = Some(self.clock.now());
        }
        Box::pin(self.tend_bell(limits.stop)).await;
        let mut runs = self.due_lists(limits).await;
        for resource in engine.unloaded(&self.wanted()).await? {
            match engine.plan_first_load(resource, limits).await {
                Ok(_) => {}
                Err(error) if error.action() == FailureAction::NextResource => {
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

    /// The resources, except those that the API refused and whose pause is not over.
    fn wanted(&self) -> Vec<Resource> {
        let now = self.clock.running();
        let is_wanted = |resource: &&Resource| {
            let pause = self.pauses.get(resource);
            pause.is_none_or(|pause| pause.is_over(now))
        };
        self.resources.iter().filter(is_wanted).copied().collect()
    }

    /// Reads each list that is due.
    async fn due_lists(&mut self, limits: RunLimits<'_>) -> Runs {
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

    /// Refreshes open sessions if that is due. The database knows when the last refresh was. So a
    /// daemon that is often restarted refreshes them, too, and one whose first load has just ended
    /// does not.
    async fn due_open(&mut self, limits: RunLimits<'_>) -> Result<Option<RunReport>, RunError> {
        let every = self.intervals.refresh_open;
        if !self.wanted().contains(&Resource::Sessions)
            || !self.open_pause.is_over(self.clock.running())
            || !self.is_due(self.open_at, every)
        {
            return Ok(None);
        }
        if self.open.is_none() {
            self.open_at = self.engine.open_refreshed_at().await?;
            if !self.is_due(self.open_at, every) {
                return Ok(None);
            }
        }
        let new = || (self.clock.now(), OpenSessions::new());
        // A refresh that has taken a whole interval starts over.
        let begun = self.open.take();
        let begun = begun.filter(|(begun, _)| !self.is_due(Some(*begun), every));
        let (begun, mut open) = begun.unwrap_or_else(new);
        let run = self.engine.refresh_portion(&mut open, limits).await;
        if !run.succeeded() {
            self.open_pause.grow(self.clock.running());
            self.open = Some((begun, open));
        } else if open.is_done() {
            self.open_at = Some(begun);
            self.open_pause = Pause::default();
        } else {
            self.open = Some((begun, open));
        }
        Ok(Some(run))
    }

    /// Lengthens the pause of a resource while the API refuses it. If the platform cannot be
    /// reached, the next trigger retries without a pause.
    fn note_resource(&mut self, resource: Resource, runs: &[RunReport]) {
        let refused = |run: &RunReport| {
            run.error.as_ref().is_some_and(|error| {
                // Every attempt reads a list completely. So an unreadable list is paused, too.
                error.is_refusal()
                    || resource.is_list() && error.action() == FailureAction::NextResource
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

    /// Begins a verification, which compares the mirror with the account and repairs it. It syncs first,
    /// lists included, so that recent changes are not differences. Resources that the API refuses are left
    /// out.
    async fn verify(&mut self, limits: RunLimits<'_>) -> Result<Runs, RunError> {
        self.lists_at.clear();
        self.pauses.values_mut().for_each(Pause::cut);
        let passed = self.pass(limits).await;
        let resources = self.wanted();
        // If only parts are left that wait for passes of their own, the verification starts over with all
        // resources.
        let goes_on = |verifying: &Verifying| verifying.is_held || verifying.work.can_go_on();
        if !self.verifying.as_ref().is_some_and(goes_on) && !resources.is_empty() {
            self.verifying = Some(Verifying {
                work: Verification::new(&resources, SAMPLES),
                failures: 0,
                is_held: true,
            });
        }
        let runs = passed?;
        if limits.stop.is_cancelled() || resources.is_empty() {
            return Ok(runs);
        }
        self.release(&runs);
        if self.is_verifying() {
            self.go_on(limits.stop).await;
        } else {
            let account = self.engine.name();
            info!(
                account,
                "account {account}: the verification waits for a successful sync, since this one failed"
            );
        }
        Ok(runs)
    }

    /// Lets a held verification continue if these runs completed the pass. Resources that could not be read
    /// are left out until a pass can read them.
    fn release(&mut self, runs: &[RunReport]) {
        if let Some(verifying) = &mut self.verifying
            && !runs.is_empty()
        {
            verifying.work.follow(runs);
            verifying.is_held &= !runs.iter().all(goes_on);
        }
    }

    fn is_due(&self, last: Option<Timestamp>, every: Duration) -> bool {
        let now = self.clock.now();
        // A time in the future means that the clock was set back since.
        last.is_none_or(|at| now >= at + every || now < at)
    }

    /// Records a pass that began then.
    fn count(&self, runs: &[RunReport], begun: Duration) {
        self.meter.pulse().beat();
        if runs.is_empty() {
            return;
        }
        let actions = || runs.iter().filter_map(|run| run.error.as_ref());
        let outcome = if actions().any(|error| error.action() != FailureAction::Stop) {
            RunOutcome::Failed
        } else if actions().next().is_some() {
            RunOutcome::Stopped
        } else {
            RunOutcome::Succeeded
        };
        self.meter.passed(outcome, self.clock.elapsed(begun));
    }

    /// Lengthens the pause between passes while the API refuses everything.
    fn note_refusals(&mut self, runs: &[RunReport]) {
        let refused = |run: &RunReport| run.error.as_ref().is_some_and(RunError::is_refusal);
        if runs.is_empty() {
            return;
        }
        // Of a sync that was stopped, nothing follows for the token.
        if runs.iter().any(RunReport::succeeded) {
            self.meter.token(false);
        }
        if !runs.iter().all(refused) {
            self.pause = Pause::default();
            return;
        }
        self.meter.token(true);
        if self.is_new {
            // The account ends instead.
            return;
        }
        let pause = self.pause.grow(self.clock.running());
        let account = self.engine.name();
        error!(
            account,
            pause_s = pause.as_secs(),
            "account {account}: the API refuses the token for every resource; retry in {}",
            humantime::format_duration(pause)
        );
    }
}

/// Whether a pass continues after this run.
fn goes_on(run: &RunReport) -> bool {
    run.error
        .as_ref()
        .is_none_or(|error| error.action() == FailureAction::NextResource)
}

/// The failure among these runs that ends the account.
fn unmendable(runs: Runs) -> Option<RunError> {
    runs.into_iter()
        .filter_map(|run| run.error)
        .find(|error| error.action() == FailureAction::EndAccount)
}

/// The failure of a sync for which the API refused everything.
fn refusal(runs: &mut Runs) -> Option<RunError> {
    let refused = |run: &RunReport| run.error.as_ref().is_some_and(RunError::is_refusal);
    if runs.iter().all(refused) {
        runs.pop().and_then(|run| run.error)
    } else {
        None
    }
}

/// Whether opening the database or acquiring a lease may succeed at a retry. Here a retry also waits for an
/// operator who grants a right or ends a lock; within a pass ([`RunError::action`]) it does not.
fn is_mendable(error: &StoreError) -> bool {
    match error {
        StoreError::Unavailable { .. }
        | StoreError::Locked { .. }
        | StoreError::Database { .. }
        // The server's certificate can be renewed while this waits.
        | StoreError::Certificate { .. }
        | StoreError::LeaseLost => true,
        StoreError::Url(_)
        | StoreError::SameCompany { .. }
        | StoreError::OtherCompany { .. }
        | StoreError::TooOld { .. }
        | StoreError::TooNew { .. }
        | StoreError::Foreign { .. }
        | StoreError::Altered { .. }
        | StoreError::SharedIds { .. }
        | StoreError::Encoding { .. }
        | StoreError::Pooler { .. }
        | StoreError::Parameter { .. }
        | StoreError::OldLog { .. }
        | StoreError::Inconsistent { .. }
        | StoreError::Unfit { .. }
        | StoreError::Replaced { .. }
        | StoreError::Migrate(_) => false,
    }
}

/// Logs the error and waits for the next attempt. Returns false if stopped meanwhile.
async fn wait(
    backoff: &mut Backoff,
    clock: &Arc<dyn Clock>,
    stop: &CancellationToken,
    error: &anyhow::Error,
) -> bool {
    let delay = backoff.after_failure();
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    let causes = causes.join(": ");
    warn!(
        error = causes,
        "{causes}; retry in {}",
        humantime::format_duration(delay)
    );
    let goes_on = rest(clock, stop, delay).await;
    if !goes_on {
        info!("stopped while waiting for the database");
    }
    goes_on
}

/// Waits. Returns false if stopped meanwhile.
async fn rest(clock: &Arc<dyn Clock>, stop: &CancellationToken, delay: Duration) -> bool {
    tokio::select! {
        biased;
        () = stop.cancelled() => false,
        () = clock.sleep(delay) => true,
    }
}

/// Opens the database, and retries until it is available. Returns errors that no retry can repair, or that
/// only a person can; `None` if stopped meanwhile.
pub async fn patiently<T, E, F>(
    clock: &Arc<dyn Clock>,
    stop: &CancellationToken,
    mut open: impl FnMut() -> F,
) -> Option<Result<T, E>>
where
    E: AsRef<anyhow::Error>,
    F: Future<Output = Result<T, E>>,
{
    let mut backoff = RETRIES;
    loop {
        let error = match open().await {
            Ok(opened) => return Some(Ok(opened)),
            Err(error) => error,
        };
        let mendable = error
            .as_ref()
            .chain()
            .filter_map(|cause| cause.downcast_ref::<StoreError>())
            .any(|error| is_mendable(error) && !error.needs_person());
        if !mendable {
            return Some(Err(error));
        }
        if !wait(&mut backoff, clock, stop, error.as_ref()).await {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locked_tables_are_waited_for_and_those_of_another_program_are_not() {
        let holders = "process 4711".to_owned();
        assert!(is_mendable(&StoreError::Locked { holders }));
        let found = "it has a table customers".to_owned();
        assert!(!is_mendable(&StoreError::Foreign { found }));
    }
}
