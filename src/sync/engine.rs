//! The engine of one account: which walks are due, in which order, and what their failures mean.
//!
//! Owns the sequence. The walks decide what was read completely, and the store decides what is stored. Must
//! not know the HTTP client, schedules or the command line.

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
use super::load::{self, Loads, Purpose};
use super::open::{OpenRefresh, OpenSessions};
use super::passes::Passes;
use super::policy::{FailureAction, RunError};
use super::recheck::Rechecks;
use super::ring::Rings;
use super::run::{RunReport, Runner};
use super::stop::unless_stopped;
use super::upkeep::{Pauses, Planned, Upkeep};
use super::verify::{Verification, Verified, Verifier};
use super::walk::WalkSettings;
use crate::clock::Clock;
use crate::config::Zone;
use crate::data::{
    Learned, RecheckReason, Resource, RunKind, Rung, SessionFilter, Source, SourceError, Span,
    Stream, Subscription, SubscriptionState, Timestamp,
};
use crate::metrics::Meter;
use crate::store::{Backfill, Lease, Store, StoreError};

/// How the engine works.
#[derive(Debug, Clone, Copy)]
pub struct EngineSettings {
    /// How walks behave.
    pub walk: WalkSettings,
    /// Whether the complete JSON of every record is kept.
    pub keep_raw: bool,
    /// How long runs are kept in the database.
    pub keep_runs: Duration,
    /// How often incremental passes are made during a long load.
    pub interleave: Duration,
    /// How often the lists are read during a long load.
    pub catalog: Duration,
}

/// The progress of the current work, for progress bars.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// What is being done.
    pub phase: String,
    /// Records read.
    pub rows: u64,
    /// The expected number of records, if it is known.
    pub total: Option<u64>,
}

/// The limits of one call of the engine.
#[derive(Debug, Clone, Copy)]
pub struct RunLimits<'a> {
    /// Cancelled when no new work may begin.
    pub stop: &'a CancellationToken,
    /// How many more records may be read; `None` without a limit.
    pub budget: Option<&'a AtomicU64>,
}

impl RunLimits<'_> {
    /// Whether the limit of records is reached.
    pub fn is_spent(&self) -> bool {
        self.budget
            .is_some_and(|left| left.load(std::sync::atomic::Ordering::SeqCst) == 0)
    }
}

/// The runs of a pass, in the order in which they were made.
pub type Runs = Vec<RunReport>;

/// Reads one account into the store. It is the entry point to the jobs, each of which holds only what it
/// needs.
pub struct Engine<S> {
    runner: Runner<S>,
    planned: Planned,
    pauses: Pauses,
    keep_runs: Duration,
    interleave: Duration,
    catalog: Duration,
    requested: bool,
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
            requested: false,
        }
    }

    /// Resumes backfills that were requested, too, if `too`.
    #[must_use]
    pub fn resuming_requested(mut self, too: bool) -> Self {
        self.requested = too;
        self
    }

    /// Logs what passes do for debugging only: the caller logs each pass as a whole.
    #[must_use]
    pub fn quietly(mut self) -> Self {
        self.runner.be_quiet();
        self
    }

    /// Takes over what is stored about the account's platform.
    #[must_use]
    pub fn remembering(self, learned: Learned) -> Self {
        self.runner.remember(learned);
        self
    }

    /// Shows times in messages in this zone. Without it, they are in UTC.
    #[must_use]
    pub fn shown_in(mut self, zone: Zone) -> Self {
        self.runner.show_in(zone);
        self
    }

    /// Records what the engine does with this meter.
    #[must_use]
    pub fn metered(mut self, meter: Meter) -> Self {
        self.runner.record_with(meter);
        self
    }

    /// The account's name.
    pub fn name(&self) -> &str {
        self.runner.name()
    }

    /// A receiver for the progress of the current work.
    pub fn reports(&self) -> watch::Receiver<Report> {
        self.runner.report().subscribe()
    }

    /// The lease under which the engine writes.
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
            requested: self.requested,
            verifier: self.verifier(),
            interleave: self.interleave,
            catalog: self.catalog,
        }
    }

    fn open_job(&self) -> OpenRefresh<'_, S> {
        let runner = &self.runner;
        OpenRefresh { runner }
    }

    fn rings_job(&self) -> Rings<'_, S> {
        Rings {
            runner: &self.runner,
            lists: self.lists_job(),
        }
    }

    fn upkeep(&self) -> Upkeep<'_, S> {
        Upkeep {
            runner: &self.runner,
            keep_runs: self.keep_runs,
        }
    }

    /// Verifies that the token still belongs to the company whose data is stored, and that no other account
    /// has the same company. Sends as few requests as needed to find the company's id. Records a refusal of
    /// the token, so that `status` shows it.
    pub async fn identify(&self, stop: &CancellationToken) -> Result<(), RunError> {
        let runner = &self.runner;
        runner.begin("checking the token's company".to_owned(), None);
        let found = identity::company(runner.source(), stop).await;
        if let Err(RunError::Source(refused @ SourceError::Refused { .. })) = &found {
            // Boxed, since every caller would have room for it.
            Box::pin(self.record(refused.clone().into())).await;
        }
        if let Some(company) = found? {
            runner
                .store()
                .set_company(runner.account(), company)
                .await?;
        }
        Ok(())
    }

    /// Records a run that failed before it could begin, so that the reason can be looked up later.
    pub async fn failed(&self, kind: RunKind, resource: Resource, error: RunError) -> RunReport {
        self.runner.failed(kind, resource, error).await
    }

    /// Records a failure that kept a sync from beginning, so that `status` shows it. The caller logs it.
    pub async fn record(&self, error: RunError) {
        let (kind, resource) = (RunKind::Incremental, Resource::Sessions);
        let stream = Stream::whole(resource).to_string();
        self.runner.is_news(kind, &stream, Some(error.line()));
        self.failed(kind, resource, error).await;
    }

    /// Reads the lists among `resources` completely.
    pub async fn lists(&self, resources: &[Resource], limits: RunLimits<'_>) -> Runs {
        self.lists_job().all(resources, limits).await
    }

    /// Reads one list completely. Stored records that the list lacks are marked as removed, unless the list
    /// lacks too many of them to be believed at once.
    pub async fn list(&self, resource: Resource, limits: RunLimits<'_>) -> RunReport {
        self.lists_job().one(resource, limits).await
    }

    /// Makes one incremental pass over every stream of `resources` whose load has begun or ended. Then reads
    /// by id the records of which a pass may have seen stale versions.
    pub async fn incremental(&self, resources: &[Resource], limits: RunLimits<'_>) -> Runs {
        self.passes_job().incremental(resources, limits).await
    }

    /// The resources among `resources` of which nothing is loaded yet.
    pub async fn unloaded(&self, resources: &[Resource]) -> Result<Vec<Resource>, StoreError> {
        let runner = &self.runner;
        load::unloaded(runner.store(), runner.account(), resources).await
    }

    /// Plans the first load of a resource. From then on, incremental passes read changes, and the load reads
    /// the records that already exist.
    pub async fn plan_first_load(
        &self,
        resource: Resource,
        limits: RunLimits<'_>,
    ) -> Result<i64, RunError> {
        let filters = vec![SessionFilter::default()];
        let purpose = Purpose::FirstLoad;
        self.loads_job()
            .plan(resource, Span::OPEN, filters, purpose, limits)
            .await
    }

    /// Plans a backfill. It replaces an unfinished backfill with the same range and filters. Reads only what
    /// planning needs. If it is `on_request`, syncs do not resume it.
    pub async fn plan_backfill(
        &self,
        resource: Resource,
        range: Span,
        filters: Vec<SessionFilter>,
        on_request: bool,
        limits: RunLimits<'_>,
    ) -> Result<i64, RunError> {
        let purpose = if on_request {
            Purpose::OnRequest
        } else {
            Purpose::Reading
        };
        self.loads_job()
            .plan(resource, range, filters, purpose, limits)
            .await
    }

    /// The resources among `resources` whose first load has not begun or is not finished.
    pub async fn loading(&self, resources: &[Resource]) -> Result<Vec<Resource>, StoreError> {
        let mut loading = self.unloaded(resources).await?;
        let runner = &self.runner;
        let unfinished = runner.store().unfinished_backfills(runner.account());
        for backfill in unfinished.await? {
            let resource = backfill.resource;
            let concerns = backfill.first_load && resources.contains(&resource);
            if concerns && !loading.contains(&resource) {
                loading.push(resource);
            }
        }
        Ok(loading)
    }

    /// Whether anything of this account was ever read completely.
    pub async fn has_read(&self) -> Result<bool, StoreError> {
        let runner = &self.runner;
        let statuses = runner.store().stream_statuses(runner.account()).await?;
        Ok(statuses.iter().any(|one| one.last_success_at.is_some()))
    }

    /// How many records of each of these resources are stored and not marked as removed.
    pub async fn stored(&self, resources: &[Resource]) -> Result<Vec<(Resource, u64)>, StoreError> {
        let runner = &self.runner;
        let counts = runner.store().table_counts(runner.account()).await?;
        let counts = counts.into_iter();
        let counts = counts.filter(|count| resources.contains(&count.resource));
        Ok(counts.map(|count| (count.resource, count.rows)).collect())
    }

    /// Works on a backfill until it is finished or a failure or limit ends it. Between its windows,
    /// incremental passes over `fresh` are made, and the lists of `fresh` are read, whenever they are due.
    pub async fn work_on(
        &self,
        backfill: &Backfill,
        fresh: &[Resource],
        limits: RunLimits<'_>,
    ) -> Runs {
        self.loads_job().work_on(backfill, fresh, limits).await
    }

    /// Continues every unfinished load and backfill of these resources, oldest first. Incremental passes over
    /// the same resources are made in between.
    pub async fn work_off(&self, resources: &[Resource], limits: RunLimits<'_>) -> Runs {
        self.loads_job().work_off(resources, limits).await
    }

    /// Reads at most `limit` queued records by id, either all of them or those with the reason `only`.
    /// Returns `None` if there are none.
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

    /// Reads rejected records again by id. A record that was deleted is no longer a reject. A record that
    /// cannot be read by id stays a reject, and does not delay the others.
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

    /// Reads the windows of gaps again, beginning with those that were not read for the longest time. Records
    /// that are shown are stored, and a gap is closed if all its records are shown. Each stream is one
    /// recorded run.
    pub async fn recheck_gaps(&self, limits: RunLimits<'_>) -> Runs {
        self.gaps_job().all(limits).await
    }

    /// Reads all open sessions again. Then reads by id the sessions that are stored as open but no longer
    /// listed as open. A daemon does this in portions.
    pub async fn refresh_open(&self, limits: RunLimits<'_>) -> RunReport {
        self.open_job().all(limits).await
    }

    /// Continues a refresh of open sessions for half a minute.
    pub async fn refresh_portion(
        &self,
        sessions: &mut OpenSessions,
        limits: RunLimits<'_>,
    ) -> RunReport {
        self.open_job().portion(sessions, limits).await
    }

    /// Reads what the platform has called about, with one request for a list, or one for each record if they
    /// are read by id. Moves no watermark. Returns also the records whose change was shown and is stored.
    /// `None` if nothing of the resource is loaded yet.
    pub async fn ring(
        &self,
        rung: &Rung,
        limits: RunLimits<'_>,
    ) -> Option<(RunReport, HashSet<Uuid>)> {
        self.rings_job().follow(rung, limits).await
    }

    /// Looks at the account's subscriptions of webhooks, and stores the state of the one of the doorbell.
    pub async fn check_subscription(
        &self,
        judge: impl Fn(&[Subscription]) -> SubscriptionState,
        stop: &CancellationToken,
    ) -> Result<SubscriptionState, RunError> {
        let runner = &self.runner;
        let asked = unless_stopped(stop, runner.source().subscriptions()).await?;
        let state = asked.map_or(SubscriptionState::Unknown, |all| judge(&all));
        let now = runner.clock().now();
        let store = runner.store();
        store.note_subscription(runner.lease(), state, now).await?;
        Ok(state)
    }

    /// Stores that the platform has called so often, and when it did last.
    pub async fn note_rings(&self, count: u64, last: Timestamp) -> Result<(), StoreError> {
        let runner = &self.runner;
        let lease = runner.lease();
        runner.store().note_rings(lease, count, last).await
    }

    /// Forgets what is stored of the doorbell, since there is none any more.
    pub async fn forget_doorbell(&self) -> Result<(), StoreError> {
        let runner = &self.runner;
        runner.store().forget_doorbell(runner.lease()).await
    }

    /// Compares these resources with the API and repairs the differences: records that are missing or have
    /// another version are stored, and deleted records get `removed_at`. Each stream and list is one recorded
    /// run, or several if it takes long. The run counts the differences; the count should stay 0.
    ///
    /// Changes since the last pass are not differences, so a pass should be made first. During the
    /// verification, passes are made as often as during a load.
    pub async fn verify(
        &self,
        resources: &[Resource],
        samples: u32,
        limits: RunLimits<'_>,
    ) -> Vec<Verified> {
        self.verifier().resources(resources, samples, limits).await
    }

    /// Continues a verification for half a minute. If a failure that concerns all parts ended it, returns the
    /// current part; the next portion begins that part anew.
    pub async fn verify_portion(
        &self,
        verification: &mut Verification,
        limits: RunLimits<'_>,
    ) -> Option<Verified> {
        self.verifier().portion(verification, limits).await
    }

    /// Stores since when and why the platform does not answer, once that has lasted for a while. Also stores
    /// that it answers again. Writes at most once a minute, unless this is the `last` call.
    pub async fn note_trouble(&self, last: bool) {
        self.runner.note_trouble(last).await;
    }

    /// When the open sessions were last up to date: when the last successful refresh began, or their first
    /// load.
    pub async fn open_refreshed_at(&self) -> Result<Option<Timestamp>, StoreError> {
        self.upkeep().open_refreshed_at().await
    }

    /// Deletes old runs; see [`Store::forget_runs`](crate::store::Store::forget_runs). A failure does not
    /// stop other work: it is logged, and the next call retries.
    pub async fn forget_runs(&self) {
        self.upkeep().forget_runs().await;
    }

    /// Adds the days that reports are to have for a year ahead; see
    /// [`Store::extend_days`](crate::store::Store::extend_days). A failure does not stop other work, since
    /// the stored days reach a year ahead.
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
            lag: None,
            error: Some(error.into()),
        }
    }
}

/// Whether a pass continues after this run.
pub(super) fn goes_on(run: &RunReport) -> bool {
    run.error
        .as_ref()
        .is_none_or(|error| error.action() == FailureAction::NextResource)
}
