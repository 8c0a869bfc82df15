//! `verify`: is the mirror complete? Every stream and list compared with the API, and repaired.
//!
//! Owns what is compared up to when, and what is done about differences; how they are found is
//! `compare`'s. Must not know the command line.

use std::collections::{BTreeSet, HashSet};

use tokio_util::sync::CancellationToken;
use tracing::warn;
use uuid::Uuid;

use super::compare::{Comparing, Comparison, Shown};
use super::engine::{Engine, Limits, keys};
use super::policy::{RunError, Verdict};
use super::run::{RunReport, Task};
use super::walk::{Chunk, WalkError, WalkSettings};
use crate::data::{Guard, Page, Progress, Resource, RunKind, Source, Stream, Timestamp};
use crate::schema::BatchBuilder;
use crate::store::{AccountId, Store, StoreError};

/// One stream or list, verified.
#[derive(Debug)]
pub struct Verified {
    /// As displayed.
    pub subject: String,
    /// The resource.
    pub resource: Resource,
    /// Requests used.
    pub requests: u64,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of verifying.
#[derive(Debug)]
pub enum Outcome {
    /// It was compared; differences were repaired if that was asked for.
    Compared(Comparison),
    /// Its first load is not finished: there is nothing to compare yet.
    NotLoaded,
    /// It could not be compared, or not be repaired.
    Failed(RunError),
}

impl Verified {
    /// How many differences were found.
    pub fn differences(&self) -> u64 {
        match &self.outcome {
            Outcome::Compared(found) => found.differences(),
            Outcome::NotLoaded | Outcome::Failed(_) => 0,
        }
    }

    /// As a run that failed, if it could not be compared or repaired.
    pub fn into_failure(self) -> Option<RunReport> {
        match self.outcome {
            Outcome::Failed(error) => {
                Some(RunReport::failed(RunKind::Verify, self.resource, error))
            }
            Outcome::Compared(_) | Outcome::NotLoaded => None,
        }
    }

    fn ends_pass(&self) -> bool {
        matches!(&self.outcome, Outcome::Failed(error) if error.verdict() != Verdict::NextResource)
    }
}

/// What is verified: one stream, or one list.
#[derive(Debug, Clone, Copy)]
enum Part {
    Stream(Stream),
    List(Resource),
}

impl Part {
    fn all(resources: &[Resource]) -> Vec<Self> {
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

    fn subject(self) -> String {
        match self {
            Self::Stream(stream) => stream.to_string(),
            Self::List(resource) => resource.to_string(),
        }
    }
}

/// A mirror beside the API it mirrors. Compares without writing anything, and so without a lease.
#[derive(Debug, Clone, Copy)]
pub struct Mirror<'a, S> {
    /// The API.
    pub source: &'a S,
    /// The mirror.
    pub store: &'a Store,
    /// The account.
    pub account: AccountId,
    /// How walks behave.
    pub settings: WalkSettings,
    /// Windows to re-read of every stream although their counts agree.
    pub samples: u32,
    /// Cancelled when nothing new is to begin.
    pub stop: &'a CancellationToken,
}

impl<S: Source> Mirror<'_, S> {
    /// Compares these resources with the API.
    pub async fn compare(&self, resources: &[Resource]) -> Vec<Verified> {
        let mut all = Vec::new();
        for part in Part::all(resources) {
            let before = self.source.usage().requests;
            let outcome = match self.horizon(part, None).await {
                Ok(None) => Outcome::NotLoaded,
                Ok(Some(horizon)) => match self.part(part, horizon, None).await {
                    Ok(found) => Outcome::Compared(found),
                    Err(error) => Outcome::Failed(error),
                },
                Err(error) => Outcome::Failed(error.into()),
            };
            all.push(Verified {
                subject: part.subject(),
                resource: part.resource(),
                requests: self.source.usage().requests - before,
                outcome,
            });
            if all.last().is_some_and(Verified::ends_pass) {
                break;
            }
        }
        all
    }

    /// Up to when passes have read everything; `None` while the first load is not finished. The
    /// load `counted` is about to be.
    async fn horizon(
        &self,
        part: Part,
        counted: Option<i64>,
    ) -> Result<Option<Timestamp>, StoreError> {
        let overlap = self.settings.overlap;
        match part {
            Part::Stream(stream) => {
                let loading = self.store.unfinished_backfills(self.account).await?;
                let state = self.store.state(self.account, stream).await?;
                let is_loading = loading.iter().any(|load| {
                    load.first_load && load.resource == stream.resource && Some(load.id) != counted
                });
                let read = state.watermark.max(state.observed_at);
                let loaded = state.watermark.is_some() && !is_loading;
                Ok(read.filter(|_| loaded).map(|at| at - overlap))
            }
            Part::List(resource) => {
                let states = self.store.stream_statuses(self.account).await?;
                let read = states
                    .into_iter()
                    .find(|state| state.resource == resource.name())
                    .and_then(|state| state.last_success_at);
                Ok(read.map(|at| at - overlap))
            }
        }
    }

    async fn part(
        &self,
        part: Part,
        horizon: Timestamp,
        out: Option<tokio::sync::mpsc::Sender<Chunk>>,
    ) -> Result<Comparison, RunError> {
        match part {
            Part::Stream(stream) => {
                let comparing = Comparing {
                    source: self.source,
                    store: self.store,
                    account: self.account,
                    settings: self.settings,
                    stream,
                    horizon,
                    stop: self.stop,
                    out: out.clone(),
                    found: Comparison::default(),
                    rejects: Vec::new(),
                    rejected: HashSet::new(),
                    unseen: BTreeSet::new(),
                    read: Vec::new(),
                };
                let found = comparing.compare(self.samples).await?;
                if let Some(out) = out.filter(|_| !found.gone.is_empty()) {
                    let resource = stream.resource;
                    let keys: Vec<Uuid> = found.gone.iter().copied().collect();
                    let gone = vec![
                        Progress::Differing {
                            resource,
                            keys: keys.clone(),
                        },
                        Progress::Gone { resource, keys },
                    ];
                    send(&out, None, gone).await?;
                }
                Ok(found)
            }
            Part::List(resource) => self.list(resource, horizon, out).await,
        }
    }

    /// Compares a list, whole. What vanished from it is gone once a second answer lacks it too: the
    /// platform has no lists' records by id.
    async fn list(
        &self,
        resource: Resource,
        horizon: Timestamp,
        out: Option<tokio::sync::mpsc::Sender<Chunk>>,
    ) -> Result<Comparison, RunError> {
        let mut page = self.ask_list(resource).await?;
        let stored = self.store.all_versions(self.account, resource).await?;
        let mut found = Comparison {
            stored: stored.values().filter(|stored| !stored.removed).count() as u64,
            shown: page.items.len() as u64,
            ..Comparison::default()
        };
        let shown = versions(resource, &page);
        found.rejected = found.shown - shown.len() as u64;
        for &(key, version) in &shown {
            let stored = stored.get(&key).filter(|stored| !stored.removed);
            let shown = Shown {
                version,
                partition: None,
            };
            if shown.is_stored(stored) {
                continue;
            }
            if version > Some(horizon) {
                found.unread += 1;
            } else {
                found.note(key, stored.is_some(), shown);
            }
        }
        let mut unseen: BTreeSet<Uuid> = stored
            .iter()
            .filter(|(_, stored)| !stored.removed)
            .map(|(key, _)| *key)
            .collect();
        for (key, _) in &shown {
            unseen.remove(key);
        }
        if !unseen.is_empty() {
            page = self.ask_list(resource).await?;
            for (key, _) in versions(resource, &page) {
                unseen.remove(&key);
            }
            // A record that cannot be read may be any of them.
            if keys(resource, &page).is_some() {
                found.gone = unseen;
            }
        }
        if let Some(out) = out.filter(|_| found.differences() > 0) {
            let proof = if let Some(keys) = keys(resource, &page) {
                Progress::ListRead { resource, keys }
            } else {
                let keys = found.gone.iter().copied().collect();
                Progress::Gone { resource, keys }
            };
            let all = [&found.missing, &found.older, &found.gone];
            let differing = Progress::Differing {
                resource,
                keys: all.into_iter().flatten().copied().collect(),
            };
            send(&out, Some(page), vec![differing, proof]).await?;
        }
        Ok(found)
    }

    async fn ask_list(&self, resource: Resource) -> Result<Page, RunError> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(WalkError::Stopped.into()),
            page = self.source.list(resource) => Ok(page?),
        }
    }
}

async fn send(
    out: &tokio::sync::mpsc::Sender<Chunk>,
    page: Option<Page>,
    progress: Vec<Progress>,
) -> Result<(), RunError> {
    let chunk = Chunk { page, progress };
    Ok(out.send(chunk).await.map_err(|_| WalkError::Closed)?)
}

/// Keys and versions of the readable records of a list.
fn versions(resource: Resource, page: &Page) -> Vec<(Uuid, Option<Timestamp>)> {
    let mut builder = BatchBuilder::new(resource, false);
    builder.add(page);
    let batch = builder.finish();
    let own = batch
        .writes
        .iter()
        .filter(|write| write.table.guard == Guard::Version && write.table.name == resource.name());
    own.flat_map(|write| &write.rows)
        .map(|row| (row.key, row.version))
        .collect()
}

impl<S: Source + 'static> Engine<S> {
    /// Compares these resources with the API and repairs what differs: what is missing or older is
    /// stored, what is gone gets `removed_at`. Each stream and list is a recorded run, which counts
    /// what differed; that should stay 0.
    ///
    /// What changed since the last pass is no difference, so a pass should go before.
    pub async fn verify(
        &self,
        resources: &[Resource],
        samples: u32,
        limits: Limits<'_>,
    ) -> Vec<Verified> {
        self.verify_after(None, resources, samples, limits).await
    }

    /// The same, where a first load of which all windows are read counts as finished.
    pub(super) async fn verify_after(
        &self,
        load: Option<i64>,
        resources: &[Resource],
        samples: u32,
        limits: Limits<'_>,
    ) -> Vec<Verified> {
        let mirror = Mirror {
            source: self.source.as_ref(),
            store: &self.store,
            account: self.lease.account(),
            settings: self.settings.walk,
            samples,
            stop: limits.stop,
        };
        let mut all = Vec::new();
        for part in Part::all(resources) {
            let (subject, resource) = (part.subject(), part.resource());
            self.begin(format!("verifying {subject}"), None);
            let (requests, outcome) = match mirror.horizon(part, load).await {
                Ok(None) => (0, Outcome::NotLoaded),
                Err(error) => (0, Outcome::Failed(error.into())),
                Ok(Some(horizon)) => {
                    let task = Task {
                        subject: &subject,
                        ..Task::of(RunKind::Verify, resource)
                    };
                    let (report, found) = self
                        .run(task, limits.stop, |out| {
                            mirror.part(part, horizon, Some(out))
                        })
                        .await;
                    let requests = report.counters.requests;
                    match outcome(report, found) {
                        Outcome::Compared(found) => (requests, self.proven(resource, found).await),
                        failed => (requests, failed),
                    }
                }
            };
            let verified = Verified {
                subject,
                resource,
                requests,
                outcome,
            };
            self.log_verified(&verified);
            let is_last = verified.ends_pass();
            all.push(verified);
            if is_last {
                break;
            }
        }
        all
    }

    /// Looks for what was to be repaired among what is stored now, rejects included.
    async fn proven(&self, resource: Resource, mut found: Comparison) -> Outcome {
        let account = self.lease.account();
        let keys = found.expected.keys().chain(&found.gone);
        let keys: Vec<Uuid> = keys.copied().collect();
        if keys.is_empty() {
            return Outcome::Compared(found);
        }
        let looked = async {
            let stored = self.store.versions(account, resource, &keys).await?;
            let rejected = self.store.rejected_records(account, resource).await?;
            Ok::<_, StoreError>((stored, rejected))
        };
        let (stored, rejected) = match looked.await {
            Ok(looked) => looked,
            Err(error) => return Outcome::Failed(error.into()),
        };
        let rejected: HashSet<Uuid> = rejected.into_iter().filter_map(|(id, _)| id).collect();
        let is_as_it_was = |key: &Uuid| match found.expected.get(key) {
            Some(shown) => !shown.is_stored(stored.get(key)) && !rejected.contains(key),
            None => stored.get(key).is_some_and(|stored| !stored.removed),
        };
        found.unrepaired = keys.into_iter().filter(is_as_it_was).collect();
        Outcome::Compared(found)
    }

    /// The run's own line counts what was read and stored; this one is for what should not be.
    fn log_verified(&self, verified: &Verified) {
        let Outcome::Compared(found) = &verified.outcome else {
            return;
        };
        let differences = found.differences();
        if differences == 0 {
            return;
        }
        let (account, resource) = (self.name(), &verified.subject);
        let (missing, older, gone) = (found.missing.len(), found.older.len(), found.gone.len());
        let unrepaired = found.unrepaired.len();
        let repaired = match unrepaired {
            0 => "and repaired them".to_owned(),
            some => format!("of which {some} could not be repaired"),
        };
        warn!(
            account,
            resource,
            differences,
            missing,
            older,
            gone,
            unrepaired,
            "{resource}: verify found {differences} differences, {repaired}: {missing} missing, \
             {older} older, {gone} gone"
        );
    }
}

fn outcome(report: RunReport, found: Option<Comparison>) -> Outcome {
    match (report.error, found) {
        (Some(error), _) => Outcome::Failed(error),
        (None, Some(found)) => Outcome::Compared(found),
        (None, None) => Outcome::Failed(WalkError::Closed.into()),
    }
}
