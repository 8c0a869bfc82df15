//! One run: a walk on one side, the store on the other, and the record of what was done.
//!
//! The walk asks for the next page while the last ones become rows and those before are being
//! stored; the channels between the three bound the memory, whatever the account's size.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::engine::Engine;
use super::policy::{RunError, Verdict};
use super::walk::{Chunk, WalkError};
use crate::clock::Clock;
use crate::data::{
    Batch, Counters, Progress, Resource, RunKind, RunOutcome, Source, Timestamp, Usage,
};
use crate::schema::BatchBuilder;
use crate::store::{Commit, Lease, Store, StoreError};

/// The name of an account that nobody has named.
const DEFAULT_NAME: &str = "default";

/// Pages that wait to become rows.
const QUEUE: usize = 4;

/// Pages that are stored in one transaction at most. A transaction costs the database a wait for
/// the disk, so several share one; but never does a page wait for others to come.
const PAGES_A_COMMIT: u64 = 10;

/// Pages of more than this are not kept waiting for others: rows travel to the database as
/// parameters of one statement, of which it takes a gigabyte at most.
const BYTES_A_COMMIT: usize = 16 << 20;

/// What a run did.
#[derive(Debug)]
pub struct RunReport {
    /// What it read, as displayed.
    pub subject: String,
    /// Why.
    pub kind: RunKind,
    /// What it did until it ended.
    pub counters: Counters,
    /// Up to where the stream is complete, if it is one and that is known.
    pub watermark: Option<Timestamp>,
    /// How long it took.
    pub duration: Duration,
    /// Why it did not end well.
    pub error: Option<RunError>,
}

impl RunReport {
    /// The report of a run that failed before it began.
    pub fn failed(kind: RunKind, resource: Resource, error: RunError) -> Self {
        Self {
            subject: resource.to_string(),
            kind,
            counters: Counters::default(),
            watermark: None,
            duration: Duration::ZERO,
            error: Some(error),
        }
    }

    /// The report of a run that a limit kept from beginning.
    pub(super) fn stopped(kind: RunKind, resource: Resource) -> Self {
        Self::failed(kind, resource, WalkError::Stopped.into())
    }

    /// Whether it read and stored everything.
    pub fn succeeded(&self) -> bool {
        self.error.is_none()
    }
}

/// What a run is for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Task<'a> {
    /// Why it is made.
    pub(super) kind: RunKind,
    /// What is read, as displayed and recorded.
    pub(super) subject: &'a str,
    /// Whose records come.
    pub(super) resource: Resource,
    /// Up to where the stream was complete before, if it is one.
    pub(super) watermark: Option<Timestamp>,
}

impl<'a> Task<'a> {
    /// A run over a resource as a whole.
    pub(super) const fn of(kind: RunKind, resource: Resource) -> Task<'a> {
        Task {
            kind,
            subject: resource.name(),
            resource,
            watermark: None,
        }
    }
}

/// Some pages as rows, and what they prove.
struct Portion {
    batch: Batch,
    progress: Vec<Progress>,
    pages: u64,
}

/// Makes rows of what a walk sends, while the rows before them are being stored.
///
/// The longer that takes, the more pages share the next transaction; when nothing waits to be
/// stored, a page goes on at once.
async fn normalise(
    resource: Resource,
    keep_raw: bool,
    mut chunks: mpsc::Receiver<Chunk>,
    out: mpsc::Sender<Portion>,
) {
    loop {
        let next = tokio::select! {
            biased;
            // The walk is to notice at once that nobody stores any more, not with its next page.
            () = out.closed() => None,
            chunk = chunks.recv() => chunk,
        };
        let Some(chunk) = next else { return };
        let mut builder = BatchBuilder::new(resource, keep_raw);
        let mut progress = Vec::new();
        let mut pages = 0;
        let mut bytes = 0;
        let mut next = Some(chunk);
        while let Some(chunk) = next {
            if let Some(page) = &chunk.page {
                builder.add(page);
                pages += 1;
                bytes += page.body.len();
            }
            progress.extend(chunk.progress);
            let is_full = pages >= PAGES_A_COMMIT || bytes >= BYTES_A_COMMIT;
            next = tokio::select! {
                biased;
                chunk = chunks.recv(), if !is_full => chunk,
                permit = out.reserve() => match permit {
                    Ok(_) => None,
                    // Nobody stores anything any more; the cause is known there.
                    Err(_) => return,
                },
            };
        }
        let portion = Portion {
            batch: builder.finish(),
            progress,
            pages,
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
    stop: CancellationToken,
    rows: tokio::sync::watch::Sender<super::engine::Report>,
    used: Usage,
    counters: Counters,
    watermark: Option<Timestamp>,
}

impl<S: Source> Writer<S> {
    /// Until the walk ends or is stopped. What waits of a stopped walk is dropped with what it
    /// would prove, and read again.
    async fn write(&mut self, mut portions: mpsc::Receiver<Portion>) -> Result<(), RunError> {
        while let Some(portion) = portions.recv().await {
            if self.stop.is_cancelled() {
                return Err(WalkError::Stopped.into());
            }
            self.commit(&portion.batch, &portion.progress, portion.pages)
                .await?;
        }
        Ok(())
    }

    async fn commit(
        &mut self,
        batch: &Batch,
        progress: &[Progress],
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
            progress,
            spent,
            now: self.clock.now(),
        };
        let counters = self.store.commit(commit).await?;
        self.used = used;
        self.counters += counters;
        for progress in progress {
            if let Progress::Watermark { to, .. } = progress {
                self.watermark = self.watermark.max(Some(*to));
            }
        }
        self.rows
            .send_modify(|report| report.rows += counters.rows_read);
        Ok(())
    }
}

impl<S: Source + 'static> Engine<S> {
    /// Records a run that failed before it could begin, so that whoever asks later is told why.
    pub async fn failed(&self, kind: RunKind, resource: Resource, error: RunError) -> RunReport {
        let task = Task::of(kind, resource);
        let stop = CancellationToken::new();
        let walk = |_| async { Err::<(), _>(error) };
        self.run(task, &stop, walk).await.0
    }

    /// Carries out a walk and stores what it sends, as one recorded run.
    ///
    /// The second part of the answer is what the walk yields, if it ended well.
    pub(super) async fn run<T, E, F>(
        &self,
        task: Task<'_>,
        stop: &CancellationToken,
        walk: impl FnOnce(mpsc::Sender<Chunk>) -> F,
    ) -> (RunReport, Option<T>)
    where
        F: Future<Output = Result<T, E>>,
        E: Into<RunError>,
    {
        let (begun, begun_after) = (self.clock.now(), self.clock.running());
        let Task {
            kind,
            subject,
            resource,
            watermark,
        } = task;
        let mut report = RunReport {
            subject: subject.to_owned(),
            kind,
            counters: Counters::default(),
            watermark,
            duration: Duration::ZERO,
            error: None,
        };
        let run = match self
            .store
            .begin_run(&self.lease, kind, subject, begun)
            .await
        {
            Ok(run) => run,
            Err(error) => {
                report.error = Some(error.into());
                self.log(&report);
                return (report, None);
            }
        };
        let (out, chunks) = mpsc::channel(QUEUE);
        let mut writer = Writer {
            source: Arc::clone(&self.source),
            store: self.store.clone(),
            lease: self.lease.clone(),
            run,
            clock: Arc::clone(&self.clock),
            stop: stop.clone(),
            rows: self.report.clone(),
            used: self.source.usage(),
            counters: Counters::default(),
            watermark,
        };
        let (rows, portions) = mpsc::channel(1);
        let normalising = tokio::spawn(normalise(resource, self.settings.keep_raw, chunks, rows));
        let writing = tokio::spawn(async move {
            let result = writer.write(portions).await;
            (writer, result)
        });
        let walked = walk(out).await;
        let result = match tokio::join!(writing, normalising) {
            (Ok((mut writer, written)), Ok(())) => {
                let stored = written.as_ref().err().is_none_or(RunError::is_stop);
                if stored && self.source.usage() != writer.used {
                    // The requests of a failed walk count too, and those that brought nothing to
                    // store; a failure of its own is worth more than theirs.
                    let _uncounted = writer.commit(&Batch::default(), &[], 0).await;
                }
                report.counters = writer.counters;
                report.watermark = writer.watermark;
                match (written, walked) {
                    (Err(error), _) => Err(error),
                    (Ok(()), Err(error)) => Err(error.into()),
                    (Ok(()), Ok(value)) => Ok(value),
                }
            }
            // Neither panics and nobody aborts them, but the runtime may be going down.
            _ => Err(RunError::Walk(WalkError::Closed)),
        };
        let (value, error) = match result {
            Ok(value) => (Some(value), None),
            Err(error) => (None, Some(error)),
        };
        let outcome = match error.as_ref().map(RunError::verdict) {
            None => RunOutcome::Succeeded,
            Some(Verdict::Stop) => RunOutcome::Stopped,
            Some(_) => RunOutcome::Failed,
        };
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
        report.duration = self.clock.elapsed(begun_after);
        self.log(&report);
        let value = if report.error.is_some() { None } else { value };
        (report, value)
    }

    /// What tells the lines of several accounts apart.
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
        let lag = report
            .watermark
            .map(|at| self.clock.now().since(at).as_secs());
        let (account, resource, kind) = (&self.name, &report.subject, report.kind.as_str());
        let duration_ms = u64::try_from(report.duration.as_millis()).unwrap_or(u64::MAX);
        match &report.error {
            Some(error) if error.verdict() != Verdict::Stop => {
                let error = error.line();
                warn!(
                    account,
                    resource,
                    kind,
                    pages,
                    requests,
                    retries,
                    rows_read,
                    duration_ms,
                    error,
                    "{}{resource}: {kind} failed: {error}",
                    self.prefix()
                );
            }
            _ => info!(
                account,
                resource,
                kind,
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
                "{}{resource}: {}",
                self.prefix(),
                summary(report, lag)
            ),
        }
    }
}

/// `3 new, 2 changed, 7 unchanged (1 request, 0.2 s)`, or that there is nothing new. `lag` is how many
/// seconds a stream is behind.
fn summary(report: &RunReport, lag: Option<u64>) -> String {
    let counters = report.counters;
    let requests = match counters.requests {
        1 => "1 request".to_owned(),
        more => format!("{more} requests"),
    };
    let stopped = if report.error.is_some() {
        ", stopped"
    } else {
        ""
    };
    let lag = lag.map_or_else(String::new, |lag| format!(", {lag} s behind"));
    let spent = format!(
        "({requests}, {:.1} s{lag}{stopped})",
        report.duration.as_secs_f64()
    );
    let kind = match report.kind {
        RunKind::Incremental | RunKind::List => String::new(),
        kind => format!("{}: ", kind.as_str().replace('_', " ")),
    };
    // What a pass reads again because it may have become visible late is no news.
    if counters.rows_inserted + counters.rows_updated + counters.rows_rejected == 0 {
        let what = match (report.kind, counters.rows_unchanged) {
            _ if report.error.is_some() => "nothing new so far".to_owned(),
            (RunKind::Incremental, _) | (_, 0) => "nothing new".to_owned(),
            (_, unchanged) => format!("nothing new, {unchanged} unchanged"),
        };
        // Of what changed: while a first load goes on, what was there before is not complete.
        let watermark = report.watermark.filter(|_| report.error.is_none());
        let watermark = watermark.map_or_else(String::new, |at| {
            let at = at.to_datetime().format("%Y-%m-%dT%H:%M:%SZ");
            format!(", all changes up to {at} are read")
        });
        return format!("{kind}{what}{watermark} {spent}");
    }
    let rejected = match counters.rows_rejected {
        0 => String::new(),
        some => format!(", {some} rejected"),
    };
    format!(
        "{kind}{} new, {} changed, {} unchanged{rejected} {spent}",
        counters.rows_inserted, counters.rows_updated, counters.rows_unchanged,
    )
}
