//! Reads records by id: those of the queue `rechecks`, and rejects.
//!
//! A record that is not found counts as deleted only if a listed record is found by id *after* it:
//! see [`ByIdProof`]. A record that cannot be read is logged, stays in the queue and is retried a
//! day later. It does not fail the run, unless the others cannot be read either.

use std::collections::HashSet;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::warn;
use uuid::Uuid;

use super::engine::{RunLimits, goes_on};
use super::run::{RunReport, Runner, Task};
use super::stop::unless_stopped;
use super::upkeep::Pauses;
use super::walk::Chunk;
use super::{RunError, Runs};
use crate::clock::Clock;
use crate::data::{
    ByIdProof, Page, RecheckReason, Resource, RunKind, Source, SourceError, Span, StateChange,
    Stream,
};

/// How many records are read by id after a pass, at most. A pass meets older versions of few records. If
/// there are more, the rest waits for the next pass, so that no pass takes more than a quarter of a minute
/// longer.
const AFTER_A_PASS: u32 = 50;

/// How many records of a resource a night reads by id: eleven minutes of the platform's request limit. The
/// others wait for the next night. Each resource has its own limit, so that none uses up the limit of
/// another.
pub(super) const A_NIGHT: u32 = 2_000;

/// How long a record that could not be read by id is not retried.
pub(super) const AGAIN_AFTER: Duration = Duration::from_hours(24);

/// How long passes read nothing by id after no record could be read by id.
const PAUSE: Duration = Duration::from_mins(30);

/// For how long a record that was found proves that records can be read by id, if another one fails.
const BELIEVED: Duration = Duration::from_mins(1);

/// The time limit of reading by id between two passes, in case each answer takes long.
const TIME: Duration = Duration::from_mins(2);

/// How many records are read before the proof is obtained that those not found are deleted.
pub(super) const BATCH: usize = 50;

/// Reads records of one resource by id, one at a time.
pub(super) struct ById<'a, S> {
    source: &'a S,
    clock: &'a dyn Clock,
    stop: &'a CancellationToken,
    resource: Resource,
    /// When a record was last found, by [`Clock::running`], and its id.
    found_at: Option<Duration>,
    found: Option<Uuid>,
    /// The proof, if it was obtained after the last answer that needs one.
    proof: Option<ByIdProof>,
    /// When to stop reading, by [`Clock::running`].
    until: Option<Duration>,
}

/// The answer for one record.
#[derive(Debug)]
pub(super) enum Lookup {
    /// The record.
    Found(Page),
    /// The platform has no such record. This needs a proof.
    NotFound,
    /// Any other answer, as text.
    Failed(String),
}

impl<'a, S: Source> ById<'a, S> {
    pub(super) fn new(
        source: &'a S,
        clock: &'a dyn Clock,
        stop: &'a CancellationToken,
        resource: Resource,
    ) -> Self {
        Self {
            source,
            clock,
            stop,
            resource,
            found_at: None,
            found: None,
            proof: None,
            until: None,
        }
    }

    /// Stops reading after so much time that a pass should not have to wait longer.
    pub(super) fn between_passes(mut self) -> Self {
        self.until = Some(self.clock.running() + TIME);
        self
    }

    fn is_over(&self) -> bool {
        self.until
            .is_some_and(|until| self.clock.running() >= until)
    }

    /// Reads one record. Returns an error only if no other record can be read either.
    pub(super) async fn ask(&mut self, id: Uuid) -> Result<Lookup, RunError> {
        let answer = unless_stopped(self.stop, self.source.by_id(self.resource, id)).await?;
        let answer = match answer {
            Ok(page) if page.items.is_empty() => Lookup::NotFound,
            Ok(page) if shows(&page, id) => {
                self.found_at = Some(self.clock.running());
                self.found = Some(id);
                return Ok(Lookup::Found(page));
            }
            Ok(_) => Lookup::Failed("the answer has another record".to_owned()),
            Err(error) => Lookup::Failed(line(&error)),
        };
        self.proof = None;
        let is_believed = |at: Duration| self.clock.elapsed(at) < BELIEVED;
        if !self.found_at.is_some_and(is_believed) {
            // Obtain the proof now, and not after fifty other records, each of which may take a minute.
            self.proof = self.prove().await?;
        }
        Ok(answer)
    }

    /// Obtains the proof, which is later than all answers. Without it, no record counts as deleted or as
    /// unreadable by id. `None` if no record is listed that could be read by id.
    pub(super) async fn prove(&mut self) -> Result<Option<ByIdProof>, RunError> {
        if let Some(proof) = self.proof.take() {
            return Ok(Some(proof));
        }
        let proof = ByIdProof::obtain(self.source, self.resource, self.found);
        let proof = unless_stopped(self.stop, proof).await??;
        if proof.is_some() {
            self.found_at = Some(self.clock.running());
        }
        Ok(proof)
    }
}

/// Why a record that was not found does not count as deleted.
pub(super) const UNPROVEN: &str =
    "not found, but no listed record could prove that reading by id works";

/// Whether an answer is about this record, readable or not.
fn shows(page: &Page, id: Uuid) -> bool {
    let ids = page.items.iter().map(|item| item.head.id);
    ids.into_iter().all(|shown| shown.is_none_or(|it| it == id))
}

fn line(error: &SourceError) -> String {
    RunError::from(error.clone()).line()
}

/// Reads these records by id. Sends each answer, and the state change that the record was read. Returns the
/// records that could not be read.
pub(super) async fn ask_each<S: Source>(
    by_id: &mut ById<'_, S>,
    ids: &[Uuid],
    out: &mpsc::Sender<Chunk>,
) -> Result<Vec<(Uuid, String)>, RunError> {
    let resource = by_id.resource;
    let mut all_failed = Vec::new();
    for ids in ids.chunks(BATCH) {
        let (mut missing, mut failed) = (Vec::new(), Vec::new());
        for &id in ids {
            if by_id.is_over() {
                break;
            }
            match by_id.ask(id).await? {
                Lookup::Found(page) => {
                    let ids = vec![id];
                    let state_changes = vec![StateChange::Rechecked { resource, ids }];
                    send(out, Some(page), state_changes).await?;
                }
                Lookup::NotFound => missing.push(id),
                Lookup::Failed(error) => failed.push((id, error)),
            }
        }
        if missing.is_empty() && failed.is_empty() {
            continue;
        }
        match by_id.prove().await? {
            Some(proof) if !missing.is_empty() => send(out, None, gone(proof, missing)).await?,
            Some(_) => {}
            None => failed.extend(missing.into_iter().map(unproven)),
        }
        send(out, None, not_asked(resource, &failed)).await?;
        all_failed.append(&mut failed);
    }
    Ok(all_failed)
}

/// The state changes that these records could not be read by id.
pub(super) fn not_asked(resource: Resource, failed: &[(Uuid, String)]) -> Vec<StateChange> {
    let state_changes = failed.iter().map(|(id, error)| StateChange::RecheckFailed {
        resource,
        id: *id,
        error: error.clone(),
    });
    state_changes.collect()
}

/// The state changes that these records are deleted and were read by id.
pub(super) fn gone(proof: ByIdProof, keys: Vec<Uuid>) -> Vec<StateChange> {
    let rechecked = StateChange::Rechecked {
        resource: proof.resource(),
        ids: keys.clone(),
    };
    vec![StateChange::Gone { proof, keys }, rechecked]
}

/// The failure of a record that was not found, if nothing proves that it is deleted.
pub(super) fn unproven(id: Uuid) -> (Uuid, String) {
    (id, UNPROVEN.to_owned())
}

/// Sends a chunk, unless it is empty.
pub(super) async fn send(
    out: &mpsc::Sender<Chunk>,
    page: Option<Page>,
    state_changes: Vec<StateChange>,
) -> Result<(), RunError> {
    if page.is_none() && state_changes.is_empty() {
        return Ok(());
    }
    let chunk = Chunk {
        page,
        state_changes,
    };
    out.send(chunk).await.map_err(|_| RunError::Closed)
}

/// Reads by id the records that a listing left in doubt.
pub(super) struct Rechecks<'a, S> {
    pub(super) runner: &'a Runner<S>,
    pub(super) pauses: &'a Pauses,
}

impl<S: Source + 'static> Runner<S> {
    pub(super) fn by_id<'a>(&'a self, resource: Resource, limits: RunLimits<'a>) -> ById<'a, S> {
        ById::new(self.source(), self.clock(), limits.stop, resource)
    }

    /// Logs which records could not be read by id.
    pub(super) fn tell_failed(&self, resource: Resource, failed: &[(Uuid, String)]) {
        let Some((id, error)) = failed.first() else {
            return;
        };
        let (account, count) = (self.name(), failed.len());
        let others = match count {
            1 => String::new(),
            more => format!(" and {} others", more - 1),
        };
        warn!(
            account,
            resource = resource.name(),
            count,
            %id,
            error,
            "{resource}: could not read {id}{others} by id: {error}; retry tomorrow"
        );
    }
}

impl<S: Source + 'static> Rechecks<'_, S> {
    /// Reads at most `limit` queued records by id, either all of them or those with the reason `only`.
    /// Returns `None` if there are none.
    pub(super) async fn queued(
        &self,
        resource: Resource,
        only: Option<RecheckReason>,
        limit: u32,
        limits: RunLimits<'_>,
    ) -> Option<RunReport> {
        let now = self.runner.clock().now();
        let account = self.runner.account();
        // If a record failed in the future, the clock was set back since then.
        let lately = Span::between(now - AGAIN_AFTER, now);
        let queued = self
            .runner
            .store()
            .rechecks(account, resource, only, lately, limit)
            .await;
        let queued = match queued {
            Ok(queued) if queued.is_empty() => return None,
            Ok(queued) => queued,
            Err(error) => {
                let stream = Stream::whole(resource);
                return Some(RunReport::not_begun(RunKind::Recheck, stream, error));
            }
        };
        let ids: Vec<Uuid> = queued.iter().map(|recheck| recheck.id).collect();
        self.runner
            .begin(format!("{resource} by id"), Some(ids.len() as u64));
        let task = Task::of(RunKind::Recheck, resource);
        let (report, failed) = self
            .runner
            .run(task, limits.stop, |out| {
                let mut by_id = self.runner.by_id(resource, limits).between_passes();
                let ids = &ids;
                async move { ask_each(&mut by_id, ids, &out).await }
            })
            .await;
        let known: HashSet<Uuid> = queued
            .iter()
            .filter(|recheck| recheck.attempts > 0)
            .map(|recheck| recheck.id)
            .collect();
        let mut failed = failed.unwrap_or_default();
        failed.retain(|(id, _)| !known.contains(id));
        self.runner.tell_failed(resource, &failed);
        Some(report)
    }

    /// Runs after a pass over these resources. Reads by id the records of which this pass or an earlier one
    /// met an older version.
    pub(super) async fn after(
        &self,
        resources: &[Resource],
        runs: &mut Runs,
        limits: RunLimits<'_>,
    ) {
        for &resource in resources.iter().filter(|resource| !resource.is_list()) {
            if limits.is_spent() || limits.stop.is_cancelled() {
                return;
            }
            let its = |run: &&RunReport| run.stream.resource == resource;
            let was_read = runs.iter().filter(its).all(RunReport::succeeded);
            if !was_read || !self.pauses.are_over(resource, self.runner.clock()) {
                continue;
            }
            let older = Some(RecheckReason::Older);
            let Some(run) = self.queued(resource, older, AFTER_A_PASS, limits).await else {
                continue;
            };
            if run.error.as_ref().is_some_and(|error| !error.is_stop()) {
                self.pauses
                    .begin(resource, self.runner.clock().running() + PAUSE);
            }
            let go_on = goes_on(&run);
            runs.push(run);
            if !go_on {
                return;
            }
        }
    }

    /// Reads rejected records again by id. A record that was deleted is no longer a reject. A record that
    /// cannot be read by id stays a reject, and does not delay the others.
    pub(super) async fn rejects(
        &self,
        resource: Resource,
        ids: &HashSet<Uuid>,
        limits: RunLimits<'_>,
    ) -> RunReport {
        self.runner
            .begin(format!("rejected {resource}"), Some(ids.len() as u64));
        let ids: Vec<Uuid> = ids.iter().copied().collect();
        let task = Task::of(RunKind::RetryRejects, resource);
        let (report, failed) = self
            .runner
            .run(task, limits.stop, |out| {
                let mut by_id = self.runner.by_id(resource, limits);
                let ids = &ids;
                async move { ask_each(&mut by_id, ids, &out).await }
            })
            .await;
        self.runner
            .tell_failed(resource, &failed.unwrap_or_default());
        report
    }
}
