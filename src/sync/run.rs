//! One run: connects a walk with the store, and counts what was done.
//!
//! The walk requests the next page while the last ones are mapped to rows and earlier ones are
//! stored. The channels between these three bound the memory, whatever the account's size.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::field::Empty;
use tracing::{Instrument as _, Span, debug, error_span, info, info_span, warn};

use super::engine::{Report, RunLimits};
use super::oddities::Oddities;
use super::platform::{Remembered, VersionNote};
use super::policy::{FailureAction, RunError};
use super::upkeep::ReportedFailures;
use super::walk::{Chunk, Walk, WalkSettings};
use crate::clock::Clock;
use crate::config::Zone;
use crate::data::{
    Batch, ColumnGroup, Counters, Head, Page, Resource, RunKind, RunOutcome, Source, StateChange,
    Stream, Timestamp, Usage, counted, grouped,
};
use crate::metrics::Meter;
use crate::schema::{BatchBuilder, ReadingOrder};
use crate::store::{AccountId, Commit, Lease, Store, StoreError};
use crate::telemetry::SPANS;

/// The name of an account that has no name of its own.
const DEFAULT_NAME: &str = "default";

/// How many pages may wait to be mapped to rows.
const QUEUE: usize = 4;

/// How many pages one transaction stores at most. A transaction costs the database a wait for the disk, so
/// several pages share one. But a page never waits for later pages.
const PAGES_A_COMMIT: u64 = 10;

/// If the waiting pages have more bytes than this, they do not wait for others. The rows travel to the
/// database as parameters of one statement, and a statement takes a gigabyte at most.
const BYTES_A_COMMIT: usize = 16 << 20;

/// How much later than the `updatedAt` of a session its `lastInteractionDate` may be (API notes, 14).
const INTERACTION_AHEAD: Duration = Duration::from_secs(10);

/// What a run did.
#[derive(Debug)]
pub struct RunReport {
    /// The stream that it read, as displayed.
    pub stream: Stream,
    /// The account's name, where runs of several accounts are shown together.
    pub account: Option<String>,
    /// Why it was made.
    pub kind: RunKind,
    /// What it did until it ended.
    pub counters: Counters,
    /// The instant up to which the stream is complete, if it is a stream and that is known.
    pub watermark: Option<Timestamp>,
    /// How long it took.
    pub duration: Duration,
    /// How far the mirror is behind the platform: the time since the beginning of the last pass over
    /// the stream that was read to its end. `None` unless this run was such a pass.
    pub lag: Option<Duration>,
    /// Why it did not succeed.
    pub error: Option<RunError>,
}

impl RunReport {
    /// The report of a run that failed before it began.
    pub fn failed(kind: RunKind, resource: Resource, error: RunError) -> Self {
        Self {
            stream: Stream::whole(resource),
            account: None,
            kind,
            counters: Counters::default(),
            watermark: None,
            duration: Duration::ZERO,
            lag: None,
            error: Some(error),
        }
    }

    /// The report of a run that a limit prevented.
    pub(super) fn stopped(kind: RunKind, resource: Resource) -> Self {
        Self::failed(kind, resource, RunError::Stopped)
    }

    /// The same report without [`RunError::Paused`], since the end of a portion is not the end of the work.
    pub(super) fn unpaused(mut self) -> Self {
        if matches!(self.error, Some(RunError::Paused)) {
            self.error = None;
        }
        self
    }

    /// What was read, as displayed, and of which account if there are several.
    pub fn subject(&self) -> String {
        match &self.account {
            Some(account) => format!("{} of {account}", self.stream),
            None => self.stream.to_string(),
        }
    }

    /// Whether it read and stored everything.
    pub fn succeeded(&self) -> bool {
        self.error.is_none()
    }
}

/// What a run is for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Task {
    /// Why it is made.
    pub(super) kind: RunKind,
    /// What is read.
    pub(super) stream: Stream,
    /// The instant up to which the stream was complete before, if it is a stream.
    pub(super) watermark: Option<Timestamp>,
}

impl Task {
    /// A run over a resource as a whole.
    pub(super) const fn of(kind: RunKind, resource: Resource) -> Self {
        Self {
            kind,
            stream: Stream::whole(resource),
            watermark: None,
        }
    }
}

/// How many sessions of a page had an interaction well after their `updatedAt`.
pub fn interactions_ahead(resource: Resource, page: &Page) -> u64 {
    if resource != Resource::Sessions {
        return 0;
    }
    let is_ahead = |head: &Head| {
        head.last_interaction_at
            .zip(head.updated_at)
            .is_some_and(|(interaction, update)| interaction > update + INTERACTION_AHEAD)
    };
    let items = page.items.iter();
    items.filter(|item| is_ahead(&item.head)).count() as u64
}

/// A batch: several pages, mapped to rows, and what they prove.
struct Portion {
    batch: Batch,
    state_changes: Vec<StateChange>,
    pages: u64,
    /// Whether any of the pages is from the first version of the session list.
    of_first: bool,
}

/// Maps the pages that a walk sends to rows, while earlier rows are being stored.
///
/// The longer storing takes, the more pages share the next transaction. If no batch waits to be stored, a
/// page is sent on at once.
async fn normalise(
    resource: Resource,
    (keep_raw, order): (bool, ReadingOrder),
    mut chunks: mpsc::Receiver<Chunk>,
    out: mpsc::Sender<Portion>,
) {
    loop {
        let next = tokio::select! {
            biased;
            // If the writer has ended, the walk must notice that at once, and not only with its next page.
            () = out.closed() => None,
            chunk = chunks.recv() => chunk,
        };
        let Some(chunk) = next else { return };
        let mut builder = BatchBuilder::new(resource, keep_raw).ordered(order);
        let mut state_changes = Vec::new();
        let mut pages = 0;
        let mut bytes = 0;
        let mut ahead = 0;
        let mut of_first = false;
        let mut next = Some(chunk);
        while let Some(chunk) = next {
            if let Some(page) = &chunk.page {
                builder.add(page);
                pages += 1;
                bytes += page.body.len();
                ahead += interactions_ahead(resource, page);
                of_first |= page.unknown.contains(ColumnGroup::SESSION_TYPE);
            }
            state_changes.extend(chunk.state_changes);
            let is_full = pages >= PAGES_A_COMMIT || bytes >= BYTES_A_COMMIT;
            next = tokio::select! {
                biased;
                chunk = chunks.recv(), if !is_full => chunk,
                permit = out.reserve() => match permit {
                    Ok(_) => None,
                    // The writer has ended, and reports the cause.
                    Err(_) => return,
                },
            };
        }
        if ahead > 0 {
            state_changes.push(StateChange::InteractionsAhead { rows: ahead });
        }
        let portion = Portion {
            batch: builder.finish(),
            state_changes,
            pages,
            of_first,
        };
        if out.send(portion).await.is_err() {
            return;
        }
    }
}

/// Stores what a walk sends.
struct Writer<S> {
    source: Arc<S>,
    store: Store,
    lease: Lease,
    run: i64,
    clock: Arc<dyn Clock>,
    overlap: Duration,
    versions: VersionNote,
    meter: Meter,
    stop: CancellationToken,
    rows: tokio::sync::watch::Sender<super::engine::Report>,
    used: Usage,
    counters: Counters,
    watermark: Option<Timestamp>,
    /// Whether a pass over the stream was read to its end.
    is_complete: bool,
}

impl<S: Source> Writer<S> {
    /// Stores batches until the walk ends or is stopped. If the walk is stopped, waiting batches are dropped
    /// together with what they would prove, and are read again.
    async fn write(&mut self, mut portions: mpsc::Receiver<Portion>) -> Result<(), RunError> {
        while let Some(portion) = portions.recv().await {
            if self.stop.is_cancelled() {
                return Err(RunError::Stopped);
            }
            if portion.of_first {
                self.versions
                    .first_is_read(&self.store, &self.lease)
                    .await?;
            }
            self.commit(&portion.batch, &portion.state_changes, portion.pages)
                .await?;
        }
        Ok(())
    }

    async fn commit(
        &mut self,
        batch: &Batch,
        state_changes: &[StateChange],
        pages: u64,
    ) -> Result<(), StoreError> {
        let used = self.source.usage();
        let spent = Counters {
            pages,
            requests: used.requests - self.used.requests,
            retries: used.retries - self.used.retries,
            ..Counters::default()
        };
        let commit = Commit {
            lease: &self.lease,
            run: self.run,
            batch,
            state_changes,
            spent,
            now: self.clock.now(),
            overlap: self.overlap,
        };
        let began = self.clock.running();
        let counters = self.store.commit(commit).await?;
        let took = self.clock.elapsed(began);
        self.meter.committed(took, counters.rows_read);
        self.used = used;
        self.counters += counters;
        for change in state_changes {
            if let StateChange::Watermark { to, .. } = change {
                self.watermark = self.watermark.max(Some(*to));
            }
            self.is_complete |= matches!(change, StateChange::PassDone { .. });
        }
        self.rows
            .send_modify(|report| report.rows += counters.rows_read);
        Ok(())
    }
}

/// What every job needs: the source of records, the store, and the recording of runs.
pub(super) struct Runner<S> {
    name: String,
    source: Arc<S>,
    store: Store,
    clock: Arc<dyn Clock>,
    lease: Lease,
    walk: WalkSettings,
    keep_raw: bool,
    report: watch::Sender<Report>,
    reported: ReportedFailures,
    remembered: Remembered,
    /// The order of answers by the time of reading.
    order: ReadingOrder,
    oddities: Oddities,
    /// Whether runs of passes are logged for debugging only.
    is_quiet: bool,
    /// The time zone of messages.
    zone: Zone,
    meter: Meter,
}

impl<S: Source + 'static> Runner<S> {
    pub(super) fn new(
        name: String,
        source: Arc<S>,
        store: Store,
        clock: Arc<dyn Clock>,
        lease: Lease,
        (walk, keep_raw): (WalkSettings, bool),
    ) -> Self {
        let (report, _) = watch::channel(Report::default());
        let order = ReadingOrder {
            // Another engine may already have read under this lease.
            base: lease.reads_from().max(clock.now()),
            from: clock.running(),
        };
        let meter = Meter::new(&name);
        Self {
            name,
            source,
            store,
            clock,
            lease,
            walk,
            keep_raw,
            report,
            reported: ReportedFailures::default(),
            remembered: Remembered::default(),
            order,
            oddities: Oddities::default(),
            is_quiet: false,
            zone: Zone::UTC,
            meter,
        }
    }

    /// From now on, records what is done with this meter.
    pub(super) fn record_with(&mut self, meter: Meter) {
        self.meter = meter;
    }

    /// From now on, runs of passes are logged for debugging only.
    pub(super) fn be_quiet(&mut self) {
        self.is_quiet = true;
    }

    /// Messages show times in this zone.
    pub(super) fn show_in(&mut self, zone: Zone) {
        self.zone = zone;
    }

    /// The time zone of messages.
    pub(super) const fn zone(&self) -> Zone {
        self.zone
    }

    /// The account's name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn source(&self) -> &S {
        &self.source
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }

    pub(super) fn lease(&self) -> &Lease {
        &self.lease
    }

    pub(super) fn account(&self) -> AccountId {
        self.lease.account()
    }

    /// How walks behave.
    pub(super) fn settings(&self) -> WalkSettings {
        self.walk
    }

    pub(super) fn remembered(&self) -> &Remembered {
        &self.remembered
    }

    pub(super) fn reported(&self) -> &ReportedFailures {
        &self.reported
    }

    pub(super) fn report(&self) -> &watch::Sender<Report> {
        &self.report
    }

    /// Reports what is done from now on.
    pub(super) fn begin(&self, phase: String, total: Option<u64>) {
        self.report.send_replace(Report {
            phase,
            rows: 0,
            total,
        });
    }

    /// A walk over a stream, which sends what it reads to `out`.
    pub(super) fn walk<'a>(
        &'a self,
        stream: Stream,
        limits: RunLimits<'a>,
        out: mpsc::Sender<Chunk>,
    ) -> Walk<'a, S> {
        Walk::new(self.source(), stream, self.walk, limits.stop, out)
            .limited(limits.budget)
            .telling(&self.oddities)
    }

    /// Records a run that failed before it could begin, so that the reason can be looked up later.
    pub(super) async fn failed(
        &self,
        kind: RunKind,
        resource: Resource,
        error: RunError,
    ) -> RunReport {
        let task = Task::of(kind, resource);
        let stop = CancellationToken::new();
        let walk = |_| async { Err::<(), _>(error) };
        self.run(task, &stop, walk).await.0
    }

    /// Runs a walk and stores what it sends, as one recorded run.
    ///
    /// The second part of the result is what the walk returned, if the run succeeded.
    pub(super) async fn run<T, F>(
        &self,
        task: Task,
        stop: &CancellationToken,
        walk: impl FnOnce(mpsc::Sender<Chunk>) -> F,
    ) -> (RunReport, Option<T>)
    where
        F: Future<Output = Result<T, RunError>>,
    {
        // Of the highest level, so that it is there whatever is logged.
        let span = error_span!(
            "run",
            account = self.name,
            stream = %task.stream,
            kind = task.kind.as_str(),
            run = Empty
        );
        let walk = |out| walk(out).instrument(info_span!(target: SPANS, "walk"));
        self.recorded(task, stop, walk).instrument(span).await
    }

    async fn recorded<T, F>(
        &self,
        task: Task,
        stop: &CancellationToken,
        walk: impl FnOnce(mpsc::Sender<Chunk>) -> F,
    ) -> (RunReport, Option<T>)
    where
        F: Future<Output = Result<T, RunError>>,
    {
        let (begun, begun_after) = (self.clock.now(), self.clock.running());
        let Task {
            kind,
            stream,
            watermark,
        } = task;
        let mut report = RunReport {
            stream,
            account: None,
            kind,
            counters: Counters::default(),
            watermark,
            duration: Duration::ZERO,
            lag: None,
            error: None,
        };
        let run = match self.store.begin_run(&self.lease, kind, stream, begun).await {
            Ok(run) => run,
            Err(error) => {
                report.error = Some(error.into());
                self.log(&report);
                return (report, None);
            }
        };
        Span::current().record("run", run);
        let (out, chunks) = mpsc::channel(QUEUE);
        let mut writer = Writer {
            source: Arc::clone(&self.source),
            store: self.store.clone(),
            lease: self.lease.clone(),
            run,
            clock: Arc::clone(&self.clock),
            overlap: self.walk.overlap,
            versions: self.version_note(),
            meter: self.meter.clone(),
            stop: stop.clone(),
            rows: self.report.clone(),
            used: self.source.usage(),
            counters: Counters::default(),
            watermark,
            is_complete: false,
        };
        let (rows, portions) = mpsc::channel(1);
        let how = (self.keep_raw, self.order);
        let normalising = normalise(stream.resource, how, chunks, rows);
        let normalising = tokio::spawn(normalising.in_current_span());
        let writing = async move {
            let result = writer.write(portions).await;
            (writer, result)
        };
        let writing = tokio::spawn(writing.in_current_span());
        let walked = walk(out).await;
        let mut is_complete = false;
        let result = match tokio::join!(writing, normalising) {
            (Ok((mut writer, written)), Ok(())) => {
                let stored = written.as_ref().err().is_none_or(RunError::is_stop);
                if stored && self.source.usage() != writer.used {
                    // Requests of a failed walk count, too, and so do requests without anything to store. If
                    // this commit fails, the walk's own failure is more important.
                    let _uncounted = writer.commit(&Batch::default(), &[], 0).await;
                }
                report.counters = writer.counters;
                report.watermark = writer.watermark;
                is_complete = writer.is_complete;
                written.and(walked)
            }
            // Neither task panics and nobody aborts them, but the runtime may be shutting down.
            _ => Err(RunError::Closed),
        };
        let (value, error) = match result {
            Ok(value) => (Some(value), None),
            Err(error) => (None, Some(error)),
        };
        let outcome = match error.as_ref().map(RunError::action) {
            None => RunOutcome::Succeeded,
            Some(FailureAction::Stop) => RunOutcome::Stopped,
            Some(
                FailureAction::NextResource
                | FailureAction::EndPass
                | FailureAction::LeaseLost
                | FailureAction::EndAccount,
            ) => RunOutcome::Failed,
        };
        self.meter
            .ran(kind, stream.resource, outcome, &report.counters);
        report.error = error;
        let line = report.error.as_ref().map(RunError::line);
        let now = self.clock.now();
        let finished = self
            .store
            .finish_run(&self.lease, run, outcome, line.as_deref(), now)
            .await;
        if let (Err(error), None) = (finished, &report.error) {
            report.error = Some(error.into());
        }
        self.keep_learned(stop).await;
        report.duration = self.clock.elapsed(begun_after);
        report.lag = (is_complete && report.error.is_none()).then_some(report.duration);
        self.log(&report);
        let value = if report.error.is_some() { None } else { value };
        (report, value)
    }

    /// The account's name as a prefix of log lines. Empty for the default account.
    fn prefix(&self) -> String {
        if self.name == DEFAULT_NAME {
            String::new()
        } else {
            format!("{}: ", self.name)
        }
    }

    fn log(&self, report: &RunReport) {
        if self.was_told(report) {
            return;
        }
        if matches!(report.error, Some(RunError::Paused)) {
            let (stream, kind) = (report.stream, report.kind.as_str());
            debug!("{stream}: {kind} continues after the next sync");
            return;
        }
        let Counters {
            pages,
            requests,
            retries,
            ..
        } = report.counters;
        let Counters {
            rows_read,
            rows_inserted,
            rows_updated,
            rows_unchanged,
            rows_rejected,
            ..
        } = report.counters;
        let lag = report.lag.map(|lag| lag.as_secs());
        let (stream, kind) = (report.stream, report.kind.as_str());
        let reverted = report.counters.rows_reverted;
        if reverted > 0 {
            info!(
                reverted,
                "{}{stream}: stored {} with an older updatedAt than before, since the platform's later \
                 answer counts",
                self.prefix(),
                grouped(reverted)
            );
        }
        let duration_ms = u64::try_from(report.duration.as_millis()).unwrap_or(u64::MAX);
        match &report.error {
            Some(error) if error.action() != FailureAction::Stop => {
                let error = error.line();
                warn!(
                    pages,
                    requests,
                    retries,
                    rows_read,
                    duration_ms,
                    error,
                    "{}{stream}: {kind} failed: {error}",
                    self.prefix()
                );
            }
            _ => {
                // Both lines are the same; a level is part of a line's code.
                macro_rules! tell {
                    ($level:ident) => {
                        $level!(
                            pages,
                            requests,
                            retries,
                            rows_read,
                            rows_inserted,
                            rows_updated,
                            rows_unchanged,
                            rows_rejected,
                            duration_ms,
                            lag_s = lag,
                            "{}{stream}: {}",
                            self.prefix(),
                            summary(report, self.zone)
                        )
                    };
                }
                if self.is_quiet && report.kind.is_pass() {
                    tell!(debug);
                } else {
                    tell!(info);
                }
            }
        }
    }
}

/// `3 new, 2 changed, 7 unchanged (1 request, 0.2 s)`, or that there is nothing new.
fn summary(report: &RunReport, zone: Zone) -> String {
    let counters = report.counters;
    let requests = counted(counters.requests, "request");
    let stopped = if report.error.is_some() {
        ", stopped"
    } else {
        ""
    };
    let is_news = counters.rows_inserted + counters.rows_updated + counters.rows_rejected > 0;
    let spent = format!(
        "({requests}, {:.1} s{stopped})",
        report.duration.as_secs_f64()
    );
    let kind = if matches!(report.kind, RunKind::Incremental | RunKind::List) {
        String::new()
    } else {
        format!("{}: ", report.kind.as_str().replace('_', " "))
    };
    // Unchanged rows that an incremental pass reads again are not worth printing.
    if !is_news {
        let what = match (report.kind, counters.rows_unchanged) {
            _ if report.error.is_some() => "nothing new so far".to_owned(),
            (RunKind::Incremental, _) | (_, 0) => "nothing new".to_owned(),
            (_, unchanged) => format!("nothing new, {} unchanged", grouped(unchanged)),
        };
        // Only changes: during a first load, older records are not complete yet.
        let watermark = report.watermark.filter(|_| report.error.is_none());
        let watermark = watermark.map_or_else(String::new, |at| {
            format!(", read all changes up to {}", zone.show_offset(at))
        });
        return format!("{kind}{what}{watermark} {spent}");
    }
    let rejected = match counters.rows_rejected {
        0 => String::new(),
        some => format!(", {} rejected", grouped(some)),
    };
    format!(
        "{kind}{} new, {} changed, {} unchanged{rejected} {spent}",
        grouped(counters.rows_inserted),
        grouped(counters.rows_updated),
        grouped(counters.rows_unchanged),
    )
}
