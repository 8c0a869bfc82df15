//! Verifies every stream and list against the account, and repairs the mirror.
//!
//! Owns up to which instant and in which portions it compares, and what it does about differences. `compare`
//! finds the differences. Must not know the command line.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use super::compare::{Comparing, Comparison, Difference, ListedVersion, Sides};
use super::engine::{RunLimits, goes_on};
use super::gaps;
use super::lists;
use super::passes::Passes;
use super::plan;
use super::policy::{FailureAction, RunError};
use super::portion::Portion;
use super::recheck::{A_NIGHT, send};
use super::run::{RunReport, Runner, Task};
use super::walk::WalkSettings;
use crate::clock::Clock;
use crate::data::{
    Guard, Page, Resource, RunKind, Source, Span, StateChange, Stream, Timestamp, counted,
};
use crate::schema::BatchBuilder;
use crate::store::{AccountId, Store, StoreError};

/// The result of verifying one stream or list.
#[derive(Debug)]
pub struct Verified {
    /// The name of the stream or list, as displayed.
    pub subject: String,
    /// The resource.
    pub resource: Resource,
    /// Requests used.
    pub requests: u64,
    /// The outcome.
    pub outcome: Outcome,
}

/// The outcome of verifying one stream or list.
#[derive(Debug)]
pub enum Outcome {
    /// It was compared; differences were repaired if that was asked for.
    Compared(Comparison),
    /// Nothing of it is loaded yet, so there is nothing to compare.
    NotLoaded,
    /// The comparison could not be completed, or a difference could not be repaired.
    Failed {
        /// Why.
        error: RunError,
        /// What was found until then.
        found: Comparison,
    },
}

impl Verified {
    /// What was found, as far as the comparison went.
    pub fn found(&self) -> Option<&Comparison> {
        match &self.outcome {
            Outcome::Compared(found) | Outcome::Failed { found, .. } => Some(found),
            Outcome::NotLoaded => None,
        }
    }

    /// How many differences were found.
    pub fn differences(&self) -> u64 {
        self.found().map_or(0, Comparison::differences)
    }

    /// The report of a failed run, if it could not be compared or repaired.
    pub fn into_failure(self) -> Option<RunReport> {
        match self.outcome {
            Outcome::Failed { error, .. } => {
                Some(RunReport::failed(RunKind::Verify, self.resource, error))
            }
            Outcome::Compared(_) | Outcome::NotLoaded => None,
        }
    }

    fn ends_all(&self) -> bool {
        matches!(&self.outcome, Outcome::Failed { error, .. }
            if error.action() != FailureAction::NextResource)
    }
}

/// What is verified: one stream, or one list.
#[derive(Debug, Clone, Copy)]
enum Part {
    Stream(Stream),
    List(Resource),
}

impl Part {
    fn all(resources: &[Resource]) -> VecDeque<Self> {
        resources
            .iter()
            .flat_map(|&resource| {
                let streams = resource.streams().into_iter().map(Self::Stream);
                let list = resource.is_list().then_some(Self::List(resource));
                streams.chain(list)
            })
            .collect()
    }

    const fn resource(self) -> Resource {
        match self {
            Self::Stream(stream) => stream.resource,
            Self::List(resource) => resource,
        }
    }

    const fn stream(self) -> Stream {
        match self {
            Self::Stream(stream) => stream,
            Self::List(resource) => Stream::whole(resource),
        }
    }

    fn subject(self) -> String {
        self.stream().to_string()
    }
}

/// How many more records of each resource may be read by id.
#[derive(Debug, Clone)]
struct MayAsk(Vec<(Resource, u32)>);

impl MayAsk {
    fn new(resources: &[Resource]) -> Self {
        let asked = resources.iter().filter(|resource| !resource.is_list());
        Self(asked.map(|resource| (*resource, A_NIGHT)).collect())
    }

    fn of(&self, resource: Resource) -> u32 {
        let its = self.0.iter().find(|(its, _)| *its == resource);
        its.map_or(0, |(_, share)| *share)
    }

    fn set(&mut self, resource: Resource, left: u32) {
        for (its, share) in &mut self.0 {
            if *its == resource {
                *share = left;
            }
        }
    }
}

/// A part that is in progress.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
enum Work {
    Stream(Box<Comparing>),
    List {
        resource: Resource,
        horizon: Timestamp,
        found: Comparison,
    },
}

impl Work {
    fn found(&mut self) -> &mut Comparison {
        match self {
            Self::Stream(comparing) => &mut comparing.found,
            Self::List { found, .. } => found,
        }
    }
}

/// A mirror and the API that it mirrors. Comparing them writes nothing, so it needs no lease.
#[derive(Debug)]
pub struct Mirror<'a, S> {
    /// The API.
    pub source: &'a S,
    /// The mirror.
    pub store: &'a Store,
    /// The account.
    pub account: AccountId,
    /// How walks behave.
    pub settings: WalkSettings,
    /// How many windows of each stream are read although their counts are equal.
    pub samples: u32,
    /// The clock.
    pub clock: &'a dyn Clock,
    /// Cancelled when no new work may begin.
    pub stop: &'a CancellationToken,
}

impl<S> Clone for Mirror<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Mirror<'_, S> {}

impl<S: Source> Mirror<'_, S> {
    /// Compares these resources with the API.
    pub async fn compare(&self, resources: &[Resource]) -> Vec<Verified> {
        let mut all = Vec::new();
        let mut may_ask = MayAsk::new(resources);
        let on = Sides {
            mirror: *self,
            out: None,
            portion: None,
        };
        for part in Part::all(resources) {
            let before = self.source.usage().requests;
            let outcome = match self.work(part, true, may_ask.of(part.resource())).await {
                Ok(None) => Outcome::NotLoaded,
                Ok(Some(mut work)) => {
                    let compared = on.work(&mut work).await;
                    if let Work::Stream(comparing) = &work {
                        may_ask.set(part.resource(), comparing.may_ask);
                    }
                    let found = std::mem::take(work.found());
                    match compared {
                        Ok(()) => Outcome::Compared(found),
                        Err(error) => Outcome::Failed { error, found },
                    }
                }
                Err(error) => Outcome::Failed {
                    error: error.into(),
                    found: Comparison::default(),
                },
            };
            all.push(Verified {
                subject: part.subject(),
                resource: part.resource(),
                requests: self.source.usage().requests - before,
                outcome,
            });
            if all.last().is_some_and(Verified::ends_all) {
                break;
            }
        }
        all
    }

    /// The work for a part; `None` while nothing of the part is loaded.
    async fn work(
        &self,
        part: Part,
        is_thorough: bool,
        may_ask: u32,
    ) -> Result<Option<Work>, StoreError> {
        let overlap = self.settings.overlap;
        match part {
            Part::Stream(stream) => {
                let state = self.store.state(self.account, stream).await?;
                let Some(read_until) = plan::read_until(&state, overlap) else {
                    return Ok(None);
                };
                let read = state.watermark.max(state.observed_at);
                let horizon = read.map_or(read_until, |read| read - overlap);
                let unread = self.unread(stream).await?;
                let mut comparing = Comparing::new(stream, horizon, read_until, unread);
                if comparing.is_empty() {
                    return Ok(None);
                }
                if is_thorough {
                    comparing = comparing.thorough(self.samples, may_ask);
                }
                Ok(Some(Work::Stream(Box::new(comparing))))
            }
            Part::List(resource) => {
                let states = self.store.stream_statuses(self.account).await?;
                let read = states
                    .into_iter()
                    .find(|state| state.resource == resource.name())
                    .and_then(|state| state.last_success_at);
                Ok(read.map(|at| Work::List {
                    resource,
                    horizon: at - overlap,
                    found: Comparison::default(),
                }))
            }
        }
    }

    /// The windows of a stream's first load that are not read yet.
    async fn unread(&self, stream: Stream) -> Result<Vec<Span>, StoreError> {
        let mut unread = Vec::new();
        for load in self.store.unfinished_backfills(self.account).await? {
            if load.first_load && load.resource == stream.resource {
                let pending = self.store.pending_windows(load.id).await?;
                let its = pending.into_iter().filter(|window| window.stream == stream);
                unread.extend(its.map(|window| window.created));
            }
        }
        Ok(unread)
    }
}

impl<S: Source> Sides<'_, S> {
    /// Continues a part until it is done, or the portion is over.
    async fn work(&self, work: &mut Work) -> Result<(), RunError> {
        match work {
            Work::Stream(comparing) => loop {
                if comparing.step(self).await? {
                    return Ok(());
                }
                if self.is_over() {
                    return Err(RunError::Paused);
                }
            },
            Work::List {
                resource,
                horizon,
                found,
            } => self.list(*resource, *horizon, found).await,
        }
    }

    /// Compares a list completely. Records that vanished from the list count as deleted once that is
    /// believed, since records of lists cannot be read by id.
    async fn list(
        &self,
        resource: Resource,
        horizon: Timestamp,
        found: &mut Comparison,
    ) -> Result<(), RunError> {
        let Mirror {
            source,
            store,
            account,
            clock,
            stop,
            ..
        } = self.mirror;
        let stored = lists::Stored::read(store, account, resource).await?;
        let reading = lists::read(source, resource, &stored, clock.now(), stop).await?;
        let shown = versions(resource, &reading.page);
        found.stored = stored.rows.len() as u64;
        found.shown = shown.records;
        found.rejected = shown.records - shown.versions.len() as u64;
        for (key, version) in shown.versions {
            let shown = ListedVersion {
                version,
                ..ListedVersion::default()
            };
            let Some(how) = shown.differs(stored.rows.get(&key)) else {
                continue;
            };
            if version > Some(horizon) && how != Difference::Newer {
                found.unread += 1;
            } else {
                found.note(key, how, shown);
            }
        }
        found.doubted = !reading.doubted.is_empty();
        found.gone.extend(&reading.gone);
        found.vanished.extend(&reading.gone);
        let Some(out) = &self.out else {
            return Ok(());
        };
        let keys: Vec<Uuid> = [&found.missing, &found.gone]
            .into_iter()
            .flatten()
            .copied()
            .chain(found.differing())
            .collect();
        let differing = StateChange::Differing { resource, keys };
        let state_changes = std::iter::once(differing).chain(reading.proof);
        send(out, Some(reading.page), state_changes.collect()).await
    }
}

/// The readable records of a list, each once, and the number of all its records.
struct Listed {
    records: u64,
    versions: Vec<(Uuid, Option<Timestamp>)>,
}

fn versions(resource: Resource, page: &Page) -> Listed {
    let mut builder = BatchBuilder::new(resource, false);
    builder.add(page);
    let records = builder.rows() as u64;
    let batch = builder.finish();
    let own = batch
        .writes
        .iter()
        .filter(|write| write.table.guard == Guard::Version && write.table.name == resource.name());
    let versions = own
        .flat_map(|write| &write.rows)
        .map(|row| (row.key, row.version))
        .collect();
    Listed { records, versions }
}

/// A verification in progress. Passes can be made between its portions. It only exists in this process, but
/// nothing is lost with it: each portion stores what it finds, and records that are still to be read by id
/// wait in the database.
#[derive(Debug)]
pub struct Verification {
    samples: u32,
    is_thorough: bool,
    /// Parts that have not begun.
    parts: VecDeque<Part>,
    /// The streams of those parts that wait for a successful pass of their own.
    held: HashSet<Stream>,
    /// The part in progress, and the requests that it took.
    current: Option<(Part, Work, u64)>,
    /// How many more records may be read by id.
    may_ask: MayAsk,
    /// The gaps that are still to be read again.
    gaps: Option<gaps::Night>,
    done: Vec<Verified>,
}

impl Verification {
    /// A verification of these resources that has compared nothing yet. It reads `samples` windows of each
    /// stream although their counts are equal.
    pub fn new(resources: &[Resource], samples: u32) -> Self {
        Self {
            samples,
            is_thorough: true,
            parts: Part::all(resources),
            held: HashSet::new(),
            current: None,
            may_ask: MayAsk::new(resources),
            gaps: Some(gaps::Night::default()),
            done: Vec::new(),
        }
    }

    /// Whether everything was compared.
    pub fn is_done(&self) -> bool {
        self.parts.is_empty() && self.current.is_none()
    }

    /// Whether there is work that does not wait for a pass.
    pub fn can_go_on(&self) -> bool {
        let waits = |part: &Part| self.held.contains(&part.stream());
        let is_over = self.parts.iter().all(waits) && self.current.is_none();
        !is_over || self.gaps.is_some()
    }

    /// The parts that have not begun, as displayed.
    pub fn left(&self) -> String {
        let parts: Vec<String> = self.parts.iter().map(|part| part.subject()).collect();
        parts.join(", ")
    }

    /// Takes a pass into account. Streams that the pass could not read wait for a pass that can read them;
    /// all others do not wait. Streams that the platform refuses do not wait either: the comparison reports
    /// the refusal.
    pub fn follow(&mut self, runs: &[RunReport]) {
        for run in runs {
            if matches!(run.kind, RunKind::Incremental | RunKind::List) {
                let waits = run.error.as_ref().is_some_and(|error| !error.is_refusal());
                if waits {
                    self.held.insert(run.stream);
                } else {
                    self.held.remove(&run.stream);
                }
            }
        }
    }

    /// The failure of the current part, if a pass in between has ended everything.
    fn ended(&self, run: RunReport) -> Option<Verified> {
        let current = self.current.as_ref().map(|(part, ..)| *part);
        let part = current.or_else(|| self.parts.front().copied())?;
        Some(Verified {
            subject: part.subject(),
            resource: part.resource(),
            requests: 0,
            outcome: Outcome::Failed {
                error: run.error?,
                found: Comparison::default(),
            },
        })
    }

    /// What was compared so far.
    pub fn verified(&self) -> &[Verified] {
        &self.done
    }

    /// What was compared so far.
    pub fn into_verified(self) -> Vec<Verified> {
        self.done
    }
}

/// Compares the mirror with the platform.
pub(super) struct Verifier<'a, S> {
    pub(super) runner: &'a Runner<S>,
    pub(super) passes: Passes<'a, S>,
    /// How often passes are made during a verification.
    pub(super) interleave: Duration,
}

impl<S: Source + 'static> Verifier<'_, S> {
    /// Compares these resources with the API and repairs the differences: records that are missing or have
    /// another version are stored, and deleted records get `removed_at`. Each stream and list is one recorded
    /// run, or several if it takes long. The run counts the differences; the count should stay 0.
    ///
    /// Changes since the last pass are not differences, so a pass should be made first. During the
    /// verification, passes are made as often as during a load.
    pub(super) async fn resources(
        &self,
        resources: &[Resource],
        samples: u32,
        limits: RunLimits<'_>,
    ) -> Vec<Verified> {
        let verification = Verification::new(resources, samples);
        self.all(verification, resources, limits).await
    }

    /// Compares what a load has read by its totals. Reads more only if the totals differ.
    pub(super) async fn loaded(&self, resource: Resource, limits: RunLimits<'_>) -> Vec<Verified> {
        let verification = Verification {
            is_thorough: false,
            gaps: None,
            ..Verification::new(&[resource], 0)
        };
        self.all(verification, &[resource], limits).await
    }

    async fn all(
        &self,
        mut verification: Verification,
        resources: &[Resource],
        limits: RunLimits<'_>,
    ) -> Vec<Verified> {
        let mut due = self.runner.clock().running() + self.interleave;
        while !verification.is_done() {
            if let Some(failed) = self.portion(&mut verification, limits).await {
                verification.done.push(failed);
                break;
            }
            if self.runner.clock().running() >= due && !verification.is_done() {
                let passes = self.passes.incremental(resources, limits).await;
                if let Some(ended) = passes.into_iter().find(|run| !goes_on(run)) {
                    verification.done.extend(verification.ended(ended));
                    break;
                }
                due = self.runner.clock().running() + self.interleave;
            }
        }
        verification.into_verified()
    }

    /// Continues a verification for half a minute. If a failure that concerns all parts ended it, returns the
    /// current part; the next portion begins that part anew.
    pub(super) async fn portion(
        &self,
        verification: &mut Verification,
        limits: RunLimits<'_>,
    ) -> Option<Verified> {
        let portion = Portion::begin(self.runner.source(), self.runner.clock());
        if let Some(mut night) = verification.gaps.take() {
            let looked = self.passes.gaps.some(&mut night, Some(&portion), limits);
            let (runs, is_done) = looked.await;
            if !is_done {
                verification.gaps = Some(night);
            }
            if let Some(failed) = runs.into_iter().find(|run| !goes_on(run)) {
                return verification.ended(failed);
            }
            if portion.is_over() {
                return None;
            }
        }
        while verification.can_go_on() {
            let verified = self.part(verification, &portion, limits).await?;
            self.log_verified(&verified);
            if verified.ends_all() {
                return Some(verified);
            }
            verification.done.push(verified);
            if portion.is_over() {
                break;
            }
        }
        None
    }

    /// Continues the part in progress, or begins the next one. Returns the part once it is done.
    async fn part(
        &self,
        verification: &mut Verification,
        portion: &Portion<'_, S>,
        limits: RunLimits<'_>,
    ) -> Option<Verified> {
        let mirror = Mirror {
            source: self.runner.source(),
            store: self.runner.store(),
            account: self.runner.account(),
            settings: self.runner.settings(),
            samples: verification.samples,
            clock: self.runner.clock(),
            stop: limits.stop,
        };
        #[expect(clippy::single_match_else, reason = "the longer arm is the rarer one")]
        let (part, mut work, requests) = match verification.current.take() {
            Some(current) => current,
            None => {
                let held = &verification.held;
                let is_free = |part: &Part| !held.contains(&part.stream());
                let next = verification.parts.iter().position(is_free)?;
                let part = verification.parts.remove(next)?;
                let verified = |outcome| Verified {
                    subject: part.subject(),
                    resource: part.resource(),
                    requests: 0,
                    outcome,
                };
                let may_ask = verification.may_ask.of(part.resource());
                let work = mirror.work(part, verification.is_thorough, may_ask);
                match work.await {
                    Ok(Some(work)) => (part, work, 0),
                    Ok(None) => return Some(verified(Outcome::NotLoaded)),
                    Err(error) => {
                        verification.parts.push_front(part);
                        return Some(verified(Outcome::Failed {
                            error: error.into(),
                            found: Comparison::default(),
                        }));
                    }
                }
            }
        };
        let (subject, resource) = (part.subject(), part.resource());
        self.runner.begin(format!("verifying {subject}"), None);
        // `status` must not show a comparison of totals after a load as a verification.
        let kind = if verification.is_thorough {
            RunKind::Verify
        } else {
            RunKind::Recheck
        };
        let task = Task {
            stream: part.stream(),
            ..Task::of(kind, resource)
        };
        let (report, _) = self
            .runner
            .run(task, limits.stop, |out| {
                let on = Sides {
                    mirror,
                    out: Some(out),
                    portion: Some(portion),
                };
                let work = &mut work;
                async move { on.work(work).await }
            })
            .await;
        let requests = requests + report.counters.requests;
        let is_paused = matches!(report.error, Some(RunError::Paused));
        let proven = self.prove(resource, work.found()).await;
        let failed = report.unpaused().error;
        let error = failed.or_else(|| proven.err().map(RunError::from));
        if let Work::Stream(comparing) = &work {
            verification.may_ask.set(resource, comparing.may_ask);
        }
        if is_paused && error.is_none() {
            verification.current = Some((part, work, requests));
            return None;
        }
        let found = std::mem::take(work.found());
        let verified = Verified {
            subject,
            resource,
            requests,
            outcome: match error {
                None => Outcome::Compared(found),
                Some(error) => Outcome::Failed { error, found },
            },
        };
        if verified.ends_all() {
            verification.parts.push_front(part);
        }
        Some(verified)
    }

    /// Checks that the records to be repaired are stored now, or are rejects.
    async fn prove(&self, resource: Resource, found: &mut Comparison) -> Result<(), StoreError> {
        let account = self.runner.account();
        let expected = std::mem::take(&mut found.expected);
        let vanished = std::mem::take(&mut found.vanished);
        let keys: Vec<Uuid> = expected.keys().chain(&vanished).copied().collect();
        if keys.is_empty() {
            return Ok(());
        }
        let rejected = self
            .runner
            .store()
            .rejected_records(account, resource)
            .await?;
        let rejected: HashSet<Uuid> = rejected.into_iter().filter_map(|(id, _)| id).collect();
        for keys in keys.chunks(1_000) {
            let stored = self
                .runner
                .store()
                .versions(account, resource, keys)
                .await?;
            let is_as_it_was = |key: &&Uuid| match expected.get(*key) {
                Some(shown) => !shown.is_stored(stored.get(*key)) && !rejected.contains(*key),
                None => stored.get(*key).is_some_and(|stored| !stored.removed),
            };
            found.unrepaired.extend(keys.iter().filter(is_as_it_was));
        }
        Ok(())
    }

    /// Logs what a verification should not find. The log line of the run counts what was read and stored.
    fn log_verified(&self, verified: &Verified) {
        let Some(found) = verified.found() else {
            return;
        };
        let (account, resource) = (self.runner.name(), &verified.subject);
        let failed = found.failed.iter().map(|(id, _)| id.to_string());
        let failed: Vec<String> = failed.collect();
        let subject = format!("ids of {resource}");
        let failed = (!failed.is_empty()).then(|| failed.join(" "));
        if self.runner.is_news(RunKind::Verify, &subject, failed) {
            self.runner.tell_failed(verified.resource, &found.failed);
        }
        if found.left > 0 {
            let left = found.left;
            warn!(
                account,
                resource,
                left,
                "{resource}: {} still to be read by id; the next verification continues",
                counted(left, "more record")
            );
        }
        let line = (!found.unlisted.is_empty()).then(|| unlisted(found));
        if let Some(line) = &line
            && self
                .runner
                .is_news(RunKind::Verify, "statuses of contacts", Some(line.clone()))
        {
            warn!(account, resource, "{line}");
        }
        let line = found.versions.and_then(|versions| versions.difference());
        if self.runner.is_news(
            RunKind::Verify,
            "versions of the session list",
            line.clone(),
        ) && let Some(line) = &line
        {
            if found.is_lacking() {
                warn!(account, resource, "{resource}: {line}");
            } else {
                info!(account, resource, "{resource}: {line}");
            }
        }
        let differences = found.differences();
        if differences == 0 {
            return;
        }
        let (missing, older, newer) = (found.missing.len(), found.older.len(), found.newer.len());
        let (altered, gone) = (found.altered.len(), found.gone.len());
        let unrepaired = found.unrepaired.len();
        let repaired = match unrepaired {
            0 => "all repaired".to_owned(),
            some => format!("{some} not repaired"),
        };
        warn!(
            account,
            resource,
            differences,
            missing,
            older,
            newer,
            altered,
            gone,
            unrepaired,
            "{resource}: verify found {differences} differences ({repaired}): {missing} missing, \
             {older} older, {newer} newer, {altered} with different content, {gone} deleted on the \
             platform"
        );
    }
}

/// The message about contacts that no list shows.
pub(super) fn unlisted(found: &Comparison) -> String {
    let statuses: Vec<String> = found
        .unlisted
        .iter()
        .map(|(status, contacts)| {
            format!("{} with the status {status}", counted(*contacts, "contact"))
        })
        .collect();
    format!(
        "{}, which no list shows; each verification reads some of them by id",
        statuses.join(" and ")
    )
}
