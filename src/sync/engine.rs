//! The engine of one account: which walks are due, in which order, and what their failures mean.
//!
//! Owns the sequence; what is read completely is decided by the walks, what is stored by the store.
//! Must not know the HTTP client, schedules or the command line.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::gaps::Gaps;
use super::identity;
use super::lists::Lists;
use super::load::{self, Loads};
use super::open::{OpenRefresh, OpenSessions};
use super::passes::Passes;
use super::policy::{FailureAction, RunError};
use super::recheck::Rechecks;
use super::run::{RunReport, Runner};
use super::upkeep::{Pauses, Planned, Upkeep};
use super::verify::{Verification, Verified, Verifier};
use super::walk::WalkSettings;
use crate::clock::Clock;
use crate::data::{
    Learned, RecheckReason, Resource, RunKind, SessionFilter, Source, Span, Stream, Timestamp,
};
use crate::store::{Backfill, Lease, Store, StoreError};

/// How the engine works.
#[derive(Debug, Clone, Copy)]
pub struct EngineSettings {
    /// How walks behave.
    pub walk: WalkSettings,
    /// Whether the complete JSON of every record is kept.
    pub keep_raw: bool,
    /// How long runs are remembered.
    pub keep_runs: Duration,
    /// How often incremental passes are made while a long load goes on.
    pub interleave: Duration,
    /// How often the lists are read while a long load goes on.
    pub catalog: Duration,
}

/// How far the present work has come, for progress bars.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// What is being done.
    pub phase: String,
    /// Records read.
    pub rows: u64,
    /// Records there will be, if that is known.
    pub total: Option<u64>,
}

/// What is asked of one call of the engine.
#[derive(Debug, Clone, Copy)]
pub struct RunLimits<'a> {
    /// Cancelled when nothing new is to begin.
    pub stop: &'a CancellationToken,
    /// Records that may still be read.
    pub budget: Option<&'a AtomicU64>,
}

impl RunLimits<'_> {
    /// Whether as many records were read as may be.
    pub fn is_spent(&self) -> bool {
        self.budget
            .is_some_and(|left| left.load(std::sync::atomic::Ordering::SeqCst) == 0)
    }
}

/// The runs of a pass, in the order in which they were made.
pub type Runs = Vec<RunReport>;

/// Reads one account into the store: the door to its jobs, each of which is made of what it needs.
pub struct Engine<S> {
    runner: Runner<S>,
    planned: Planned,
    pauses: Pauses,
    keep_runs: Duration,
    interleave: Duration,
    catalog: Duration,
}

impl<S: Source + 'static> Engine<S> {
    /// An engine that writes under this lease.
    pub fn new(
        name: String,
        source: Arc<S>,
        store: Store,
        clock: Arc<dyn Clock>,
        lease: Lease,
        settings: EngineSettings,
    ) -> Self {
        let how = (settings.walk, settings.keep_raw);
        Self {
            runner: Runner::new(name, source, store, clock, lease, how),
            planned: Planned::default(),
            pauses: Pauses::default(),
            keep_runs: settings.keep_runs,
            interleave: settings.interleave,
            catalog: settings.catalog,
        }
    }

    /// The engine of an account of which this is stored.
    #[must_use]
    pub fn remembering(self, learned: Learned) -> Self {
        self.runner.remember(learned);
        self
    }

    /// The account's name.
    pub fn name(&self) -> &str {
        self.runner.name()
    }

    /// Where to look how far it has come.
    pub fn reports(&self) -> watch::Receiver<Report> {
        self.runner.report().subscribe()
    }

    /// The lease it writes under.
    pub fn lease(&self) -> &Lease {
        self.runner.lease()
    }

    fn lists_job(&self) -> Lists<'_, S> {
        let runner = &self.runner;
        Lists { runner }
    }

    fn gaps_job(&self) -> Gaps<'_, S> {
        let runner = &self.runner;
        Gaps { runner }
    }

    fn rechecks_job(&self) -> Rechecks<'_, S> {
        Rechecks {
            runner: &self.runner,
            pauses: &self.pauses,
        }
    }

    fn passes_job(&self) -> Passes<'_, S> {
        Passes {
            runner: &self.runner,
            gaps: self.gaps_job(),
            rechecks: self.rechecks_job(),
        }
    }

    fn verifier(&self) -> Verifier<'_, S> {
        Verifier {
            runner: &self.runner,
            passes: self.passes_job(),
            interleave: self.interleave,
        }
    }

    fn loads_job(&self) -> Loads<'_, S> {
        Loads {
            runner: &self.runner,
            planned: &self.planned,
            passes: self.passes_job(),
            lists: self.lists_job(),
            verifier: self.verifier(),
            interleave: self.interleave,
            catalog: self.catalog,
        }
    }

    fn open_job(&self) -> OpenRefresh<'_, S> {
        let runner = &self.runner;
        OpenRefresh { runner }
    }

    fn upkeep(&self) -> Upkeep<'_, S> {
        Upkeep {
            runner: &self.runner,
            keep_runs: self.keep_runs,
        }
    }

    /// Makes sure that the token still belongs to the company whose data is here, and that no other
    /// account is the same company. Asks for as little as shows a company's id.
    pub async fn identify(&self, stop: &CancellationToken) -> Result<(), RunError> {
        let runner = &self.runner;
        runner.begin("checking the token's company".to_owned(), None);
        if let Some(company) = identity::company(runner.source(), stop).await? {
            runner
                .store()
                .set_company(runner.account(), company)
                .await?;
        }
        Ok(())
    }

    /// Records a run that failed before it could begin, so that whoever asks later is told why.
    pub async fn failed(&self, kind: RunKind, resource: Resource, error: RunError) -> RunReport {
        self.runner.failed(kind, resource, error).await
    }

    /// Reads the lists among `resources` whole.
    pub async fn lists(&self, resources: &[Resource], limits: RunLimits<'_>) -> Runs {
        self.lists_job().all(resources, limits).await
    }

    /// Reads one list whole: what is stored and not in it is marked as removed, unless that is too much
    /// to be believed at once.
    pub async fn list(&self, resource: Resource, limits: RunLimits<'_>) -> RunReport {
        self.lists_job().one(resource, limits).await
    }

    /// Makes one incremental pass over every stream of `resources` that has been loaded, or whose
    /// load has begun, and asks by their ids for the records of which it may have seen stale versions.
    pub async fn incremental(&self, resources: &[Resource], limits: RunLimits<'_>) -> Runs {
        self.passes_job().incremental(resources, limits).await
    }

    /// The resources among `resources` of which nothing was loaded yet.
    pub async fn unloaded(&self, resources: &[Resource]) -> Result<Vec<Resource>, StoreError> {
        let runner = &self.runner;
        load::unloaded(runner.store(), runner.account(), resources).await
    }

    /// Records the first load of a resource. From here on the incremental passes read what changes,
    /// and the load what was there.
    pub async fn plan_first_load(
        &self,
        resource: Resource,
        limits: RunLimits<'_>,
    ) -> Result<i64, RunError> {
        let filters = vec![SessionFilter::default()];
        self.plan_backfill(resource, Span::OPEN, filters, true, limits)
            .await
    }

    /// Records a backfill, in place of an unfinished one that asks the same. Nothing is read yet but
    /// what planning it takes.
    pub async fn plan_backfill(
        &self,
        resource: Resource,
        range: Span,
        filters: Vec<SessionFilter>,
        first_load: bool,
        limits: RunLimits<'_>,
    ) -> Result<i64, RunError> {
        self.loads_job()
            .plan(resource, range, filters, first_load, limits)
            .await
    }

    /// Works on a backfill until it is finished, or something ends it. Incremental passes over
    /// `fresh` are made between its windows whenever they are due, and its lists are read.
    pub async fn work_on(
        &self,
        backfill: &Backfill,
        fresh: &[Resource],
        limits: RunLimits<'_>,
    ) -> Runs {
        self.loads_job().work_on(backfill, fresh, limits).await
    }

    /// Goes on with every unfinished load and backfill of these resources, oldest first, with
    /// incremental passes over the same resources in between.
    pub async fn work_off(&self, resources: &[Resource], limits: RunLimits<'_>) -> Runs {
        self.loads_job().work_off(resources, limits).await
    }

    /// Asks for records of the queue by their ids, at most so many, those that are there for one reason
    /// only or all. `None` if there are none.
    pub async fn recheck(
        &self,
        resource: Resource,
        only: Option<RecheckReason>,
        limit: u32,
        limits: RunLimits<'_>,
    ) -> Option<RunReport> {
        self.rechecks_job()
            .queued(resource, only, limit, limits)
            .await
    }

    /// Fetches rejected records again by their ids. Those that are gone are rejects no longer; one that
    /// cannot be asked for stays, and holds up no other.
    pub async fn retry_rejects(
        &self,
        resource: Resource,
        ids: &HashSet<Uuid>,
        limits: RunLimits<'_>,
    ) -> RunReport {
        if resource.is_list() {
            return self.list(resource, limits).await;
        }
        self.rechecks_job().rejects(resource, ids, limits).await
    }

    /// Reads the windows of gaps again, those first that were not looked at for longest: what is shown is
    /// stored, and a gap of which everything is shown is closed. One recorded run a stream.
    pub async fn recheck_gaps(&self, limits: RunLimits<'_>) -> Runs {
        self.gaps_job().all(limits).await
    }

    /// Reads all open sessions again, and asks for those that are stored as open and no longer listed
    /// so. A daemon does it in portions.
    pub async fn refresh_open(&self, limits: RunLimits<'_>) -> RunReport {
        self.open_job().all(limits).await
    }

    /// Goes on with it for half a minute.
    pub async fn refresh_portion(
        &self,
        sessions: &mut OpenSessions,
        limits: RunLimits<'_>,
    ) -> RunReport {
        self.open_job().portion(sessions, limits).await
    }

    /// Compares these resources with the API and repairs what differs: what is missing or another
    /// version is stored, what is gone gets `removed_at`. Each stream and list is a recorded run, or
    /// several if it takes long, which counts what differed; that should stay 0.
    ///
    /// What changed since the last pass is no difference, so a pass should go before. While it goes on,
    /// passes are made as they are while a load does.
    pub async fn verify(
        &self,
        resources: &[Resource],
        samples: u32,
        limits: RunLimits<'_>,
    ) -> Vec<Verified> {
        self.verifier().resources(resources, samples, limits).await
    }

    /// Goes on with a verification for half a minute. Yields the part that ended it, if one did, by a
    /// failure that concerns all of them; the next portion begins that part anew.
    pub async fn verify_portion(
        &self,
        verification: &mut Verification,
        limits: RunLimits<'_>,
    ) -> Option<Verified> {
        self.verifier().portion(verification, limits).await
    }

    /// Stores since when and why the platform does not answer, once that has lasted for a while, and
    /// that it answers again: at most once a minute, or at once where it is `last` time to.
    pub async fn note_trouble(&self, last: bool) {
        self.runner.note_trouble(last).await;
    }

    /// When the open sessions were last as fresh as reading them again makes them: the beginning of
    /// the last time that this ended well, or their first load.
    pub async fn open_refreshed_at(&self) -> Result<Option<Timestamp>, StoreError> {
        self.upkeep().open_refreshed_at().await
    }

    /// Forgets old runs; see [`Store::forget_runs`](crate::store::Store::forget_runs). That this fails is
    /// no reason to leave other work undone: it is said, and tried again the next time.
    pub async fn forget_runs(&self) {
        self.upkeep().forget_runs().await;
    }

    /// Adds the days of reports that have come into reach; see
    /// [`Store::extend_days`](crate::store::Store::extend_days). That this fails is no reason to leave
    /// other work undone: a year of days is there.
    pub async fn extend_days(&self) {
        self.upkeep().extend_days().await;
    }
}

impl RunReport {
    /// The report of a run that could not even be recorded.
    pub(super) fn not_begun(kind: RunKind, stream: Stream, error: StoreError) -> Self {
        Self {
            stream,
            account: None,
            kind,
            counters: crate::data::Counters::default(),
            watermark: None::<Timestamp>,
            duration: Duration::ZERO,
            error: Some(error.into()),
        }
    }
}

/// Whether a pass goes on after this run.
pub(super) fn goes_on(run: &RunReport) -> bool {
    run.error
        .as_ref()
        .is_none_or(|error| error.action() == FailureAction::NextResource)
}
