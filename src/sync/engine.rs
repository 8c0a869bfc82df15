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

use super::identity;
use super::policy::{RunError, Verdict};
use super::run::{RunReport, Task};
use super::survey;
use super::upkeep::Told;
use super::walk::{Chunk, Walk, WalkError, WalkSettings};
use crate::clock::Clock;
use crate::data::{
    Guard, Ordering, Page, PageQuery, Progress, Resource, RunKind, SessionFilter, Source,
    SourceError, Span, Stream, Timestamp,
};
use crate::schema::BatchBuilder;
use crate::store::{Lease, Store, StoreError};

/// How long it is believed that the server orders, or does not, before it is shown again.
const ORDERING_KEPT: Duration = Duration::from_hours(24);

/// Open sessions that are asked for one by one, at most, because the platform no longer lists them
/// as open. The rest is left to the next time.
const MISSING_ASKED: usize = 200;

/// The statuses of a session that is not over (API notes, 4.2).
const OPEN: [&str; 3] = ["STARTED", "PENDING", "IN_PROGRESS"];

/// How the engine works.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// How walks behave.
    pub walk: WalkSettings,
    /// Whether the complete JSON of every record is kept.
    pub keep_raw: bool,
    /// What is mirrored.
    pub resources: Vec<Resource>,
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
pub struct Limits<'a> {
    /// Cancelled when nothing new is to begin.
    pub stop: &'a CancellationToken,
    /// Records that may still be read.
    pub budget: Option<&'a AtomicU64>,
}

impl Limits<'_> {
    /// Whether as many records were read as may be.
    pub fn is_spent(&self) -> bool {
        self.budget
            .is_some_and(|left| left.load(std::sync::atomic::Ordering::SeqCst) == 0)
    }
}

/// The runs of a pass, in the order in which they were made.
pub type Runs = Vec<RunReport>;

/// Reads one account into the store.
pub struct Engine<S> {
    pub(super) name: String,
    pub(super) source: Arc<S>,
    pub(super) store: Store,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) lease: Lease,
    pub(super) settings: EngineSettings,
    pub(super) report: watch::Sender<Report>,
    pub(super) told: Told,
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
        let (report, _) = watch::channel(Report::default());
        Self {
            name,
            source,
            store,
            clock,
            lease,
            settings,
            report,
            told: Told::default(),
        }
    }

    /// The account's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where to look how far it has come.
    pub fn reports(&self) -> watch::Receiver<Report> {
        self.report.subscribe()
    }

    /// The lease it writes under.
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    pub(super) fn begin(&self, phase: String, total: Option<u64>) {
        self.report.send_replace(Report {
            phase,
            rows: 0,
            total,
        });
    }

    pub(super) fn walk<'a>(
        &'a self,
        stream: Stream,
        limits: Limits<'a>,
        out: tokio::sync::mpsc::Sender<Chunk>,
    ) -> Walk<'a, S> {
        Walk::new(
            self.source.as_ref(),
            stream,
            self.settings.walk,
            limits.stop,
            out,
        )
        .limited(limits.budget)
    }

    /// Makes sure that the token still belongs to the company whose data is here, and that no other
    /// account is the same company. Asks for as little as shows a company's id.
    pub async fn identify(&self, stop: &CancellationToken) -> Result<(), RunError> {
        self.begin("asking whose token it is".to_owned(), None);
        if let Some(company) = identity::company(self.source.as_ref(), stop).await? {
            self.store
                .set_company(self.lease.account(), company)
                .await?;
        }
        Ok(())
    }

    /// Reads the lists among `resources` whole.
    pub async fn lists(&self, resources: &[Resource], limits: Limits<'_>) -> Runs {
        let mut runs = Runs::new();
        for &resource in resources.iter().filter(|resource| resource.is_list()) {
            let run = self.list(resource, limits).await;
            let go_on = goes_on(&run);
            runs.push(run);
            if !go_on {
                break;
            }
        }
        runs
    }

    /// Reads one list whole: what is stored and not in it, nor when it is asked for once more, is
    /// marked as removed.
    pub async fn list(&self, resource: Resource, limits: Limits<'_>) -> RunReport {
        self.begin(resource.to_string(), None);
        let stored = self
            .store
            .all_versions(self.lease.account(), resource)
            .await;
        let stored: HashSet<Uuid> = match stored {
            Ok(stored) => stored
                .into_iter()
                .filter(|(_, version)| !version.removed)
                .map(|(key, _)| key)
                .collect(),
            Err(error) => {
                let subject = resource.to_string();
                return RunReport::not_begun(RunKind::List, subject, error);
            }
        };
        let stored = &stored;
        let (report, _) = self
            .run(
                Task::of(RunKind::List, resource),
                limits.stop,
                |out| async move {
                    let page = self.fetch_list(resource, limits.stop).await?;
                    let mut listed = keys(resource, &page);
                    let gone = |keys: &Vec<Uuid>| stored.iter().any(|key| !keys.contains(key));
                    let again = if listed.as_ref().is_some_and(gone) {
                        Some(self.fetch_list(resource, limits.stop).await?)
                    } else {
                        None
                    };
                    // What was missing from one answer and not from the other is not gone.
                    if let Some(again) = &again {
                        let more = keys(resource, again);
                        listed = listed.zip(more).map(|(one, other)| [one, other].concat());
                    }
                    let mut progress = listed.map(|keys| Progress::ListRead { resource, keys });
                    for page in [Some(page), again].into_iter().flatten() {
                        let chunk = Chunk {
                            page: Some(page),
                            progress: Vec::new(),
                        };
                        out.send(chunk).await.map_err(|_| WalkError::Closed)?;
                    }
                    let chunk = Chunk {
                        page: None,
                        progress: progress.take().into_iter().collect(),
                    };
                    out.send(chunk).await.map_err(|_| WalkError::Closed)
                },
            )
            .await;
        report
    }

    async fn fetch_list(
        &self,
        resource: Resource,
        stop: &CancellationToken,
    ) -> Result<Page, WalkError> {
        tokio::select! {
            biased;
            () = stop.cancelled() => Err(WalkError::Stopped),
            page = self.source.list(resource) => Ok(page?),
        }
    }

    /// Makes one incremental pass over every stream of `resources` that has been loaded, or whose
    /// load has begun.
    pub async fn incremental(&self, resources: &[Resource], limits: Limits<'_>) -> Runs {
        let mut runs = Runs::new();
        for stream in resources.iter().flat_map(|resource| resource.streams()) {
            if limits.is_spent() {
                runs.push(RunReport::stopped(RunKind::Incremental, stream.resource));
                break;
            }
            let Some(run) = self.pass(stream, limits).await else {
                continue;
            };
            let go_on = goes_on(&run);
            runs.push(run);
            if !go_on {
                break;
            }
        }
        runs
    }

    async fn pass(&self, stream: Stream, limits: Limits<'_>) -> Option<RunReport> {
        let state = self.store.state(self.lease.account(), stream).await;
        let now = self.clock.now();
        let subject = stream.to_string();
        let mut state = match state {
            Ok(state) => state,
            Err(error) => return Some(RunReport::not_begun(RunKind::Incremental, subject, error)),
        };
        let watermark = state.watermark?;
        if state
            .ordering_checked_at
            .is_none_or(|at| now.since(at) > ORDERING_KEPT)
        {
            state.ordering = Ordering::Unknown;
        }
        self.begin(format!("changes of {stream}"), None);
        let known = state.ordering;
        let (mut report, end) = self
            .run(
                Task {
                    kind: RunKind::Incremental,
                    subject: &subject,
                    resource: stream.resource,
                    watermark: Some(watermark),
                },
                limits.stop,
                |out| {
                    let walk = self.walk(stream, limits, out);
                    async move { walk.incremental(&state, watermark).await }
                },
            )
            .await;
        if let Some(end) = end
            && end.ordering != known
        {
            let noted = self
                .store
                .set_ordering(&self.lease, stream, end.ordering, self.clock.now())
                .await;
            if let Err(error) = noted {
                report.error = Some(error.into());
            }
        }
        Some(report)
    }

    /// Reads the sessions that are not over again, whatever their `updatedAt` says, and asks one by
    /// one for those that are stored as open and no longer listed so.
    pub async fn refresh_open(&self, limits: Limits<'_>) -> RunReport {
        self.begin("open sessions".to_owned(), None);
        let stream = Stream {
            resource: Resource::Sessions,
            partition: "",
        };
        let stored = match self.store.open_session_ids(self.lease.account()).await {
            Ok(stored) => stored,
            Err(error) => {
                let subject = stream.to_string();
                return RunReport::not_begun(RunKind::RefreshOpen, subject, error);
            }
        };
        let filter = SessionFilter {
            status: OPEN.map(str::to_owned).to_vec(),
            ..SessionFilter::default()
        };
        let (report, _) = self
            .run(
                Task::of(RunKind::RefreshOpen, stream.resource),
                limits.stop,
                |out| {
                    let walk = self
                        .walk(stream, limits, out.clone())
                        .filtered(Arc::new(filter));
                    async move {
                        let query = PageQuery {
                            size: 1,
                            ..walk.query(Span::OPEN, Span::OPEN, crate::data::Order::CREATED)
                        };
                        let now = walk.fetch(&query).await?.server_time;
                        let seen = walk
                            .created_range(Span {
                                after: None,
                                before: Some(now),
                            })
                            .await?;
                        drop(walk);
                        let missing = stored.into_iter().filter(|id| !seen.contains(id));
                        let missing = missing.take(MISSING_ASKED);
                        let keys = self
                            .ask_each(stream.resource, missing, limits, &out)
                            .await?;
                        if !keys.is_empty() {
                            self.prove_by_id(stream, limits.stop).await?;
                        }
                        let gone = Progress::Gone {
                            resource: stream.resource,
                            keys,
                        };
                        let chunk = Chunk {
                            page: None,
                            progress: vec![gone],
                        };
                        out.send(chunk).await.map_err(|_| WalkError::Closed)
                    }
                },
            )
            .await;
        report
    }

    /// Asks for records by id and sends them on. Yields the ids that the platform says it has not.
    pub(super) async fn ask_each(
        &self,
        resource: Resource,
        ids: impl Iterator<Item = Uuid>,
        limits: Limits<'_>,
        out: &tokio::sync::mpsc::Sender<Chunk>,
    ) -> Result<Vec<Uuid>, WalkError> {
        let mut gone = Vec::new();
        for id in ids {
            let page = tokio::select! {
                biased;
                () = limits.stop.cancelled() => return Err(WalkError::Stopped),
                page = self.source.by_id(resource, id) => page?,
            };
            if page.items.is_empty() {
                gone.push(id);
            } else {
                let chunk = Chunk {
                    page: Some(page),
                    progress: Vec::new(),
                };
                out.send(chunk).await.map_err(|_| WalkError::Closed)?;
            }
        }
        Ok(gone)
    }

    /// Makes sure that asking by id finds a record that is there: where the platform has withdrawn
    /// the route, it answers for every record as if it were gone.
    async fn prove_by_id(&self, stream: Stream, stop: &CancellationToken) -> Result<(), WalkError> {
        let query = survey::everything(stream, Span::OPEN, 1);
        let page = tokio::select! {
            biased;
            () = stop.cancelled() => return Err(WalkError::Stopped),
            page = self.source.page(&query) => page?,
        };
        let Some(id) = page.items.first().and_then(|item| item.head.id) else {
            return Ok(());
        };
        let shown = tokio::select! {
            biased;
            () = stop.cancelled() => return Err(WalkError::Stopped),
            page = self.source.by_id(stream.resource, id) => page?,
        };
        if shown.items.is_empty() {
            return Err(SourceError::Malformed {
                request: format!("one of {stream} by its id"),
                attempts: 1,
                detail: format!("{id} is listed, and not found by its id"),
            }
            .into());
        }
        Ok(())
    }

    /// Fetches rejected records again by their ids. Those that are gone are rejects no longer.
    pub async fn retry_rejects(
        &self,
        resource: Resource,
        ids: &HashSet<Uuid>,
        limits: Limits<'_>,
    ) -> RunReport {
        if resource.is_list() {
            return self.list(resource, limits).await;
        }
        self.begin(format!("rejected {resource}"), Some(ids.len() as u64));
        let (report, _) = self
            .run(
                Task::of(RunKind::RetryRejects, resource),
                limits.stop,
                |out| async move {
                    let ids = ids.iter().copied();
                    let keys = self.ask_each(resource, ids, limits, &out).await?;
                    if !keys.is_empty() {
                        for stream in resource.streams() {
                            self.prove_by_id(stream, limits.stop).await?;
                        }
                    }
                    let chunk = Chunk {
                        page: None,
                        progress: vec![Progress::Gone { resource, keys }],
                    };
                    out.send(chunk).await.map_err(|_| WalkError::Closed)
                },
            )
            .await;
        report
    }
}

impl RunReport {
    /// The report of a run that could not even be recorded.
    pub(super) fn not_begun(kind: RunKind, subject: String, error: StoreError) -> Self {
        Self {
            subject,
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
        .is_none_or(|error| error.verdict() == Verdict::NextResource)
}

/// The keys of all records of a list; `None` if one of them has none that can be read, so that
/// nothing can be said of what is missing.
pub(super) fn keys(resource: Resource, page: &Page) -> Option<Vec<Uuid>> {
    let mut builder = BatchBuilder::new(resource, false);
    builder.add(page);
    let batch = builder.finish();
    if batch.rejects.iter().any(|reject| !reject.partial) {
        return None;
    }
    let rows = batch
        .writes
        .iter()
        .filter(|write| write.table.guard == Guard::Version && write.table.name == resource.name());
    Some(
        rows.flat_map(|write| &write.rows)
            .map(|row| row.key)
            .collect(),
    )
}
