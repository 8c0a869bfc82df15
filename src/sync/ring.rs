//! Reads what the platform has just called about: the newest changes of a list, or records by id.
//!
//! Such a read proves nothing about what it does not show: calls are lost, and a list may show a change
//! late. So it moves no watermark and marks nothing as deleted. What it stores, passes read again.

use std::collections::{HashMap, HashSet};

use tokio::sync::mpsc;
use uuid::Uuid;

use super::engine::RunLimits;
use super::lists::Lists;
use super::policy::{FailureAction, RunError};
use super::recheck::send;
use super::run::{RunReport, Runner, Task};
use super::stop::unless_stopped;
use super::walk::Chunk;
use crate::data::{
    Direction, Page, Resource, RunKind, Rung, Source, Span, Stream, StreamState, Timestamp,
};
use crate::store::{StoreError, StoredVersion};

/// Reads what calls concern.
pub(super) struct Rings<'a, S> {
    pub(super) runner: &'a Runner<S>,
    pub(super) lists: Lists<'a, S>,
}

/// The records of a call and what was stored of them before it was followed.
struct Expected {
    ids: Vec<Uuid>,
    stored: HashMap<Uuid, StoredVersion>,
}

impl Expected {
    /// The records that a page shows in another version than the stored one.
    fn changed_on<'a>(&'a self, page: &'a Page) -> impl Iterator<Item = Uuid> {
        let heads = page.items.iter().map(|item| &item.head);
        heads.filter_map(|head| {
            let id = head.id.filter(|id| self.ids.contains(id))?;
            let before = self.stored.get(&id).and_then(|stored| stored.updated_at);
            // What has no readable time cannot be compared.
            let is_new = before
                .zip(head.updated_at)
                .is_none_or(|(old, new)| new > old);
            is_new.then_some(id)
        })
    }
}

impl<S: Source + 'static> Rings<'_, S> {
    /// Reads what calls concern, and returns the records whose change was shown and is stored. `None` if
    /// nothing of the resource is loaded yet.
    pub(super) async fn follow(
        &self,
        rung: &Rung,
        limits: RunLimits<'_>,
    ) -> Option<(RunReport, HashSet<Uuid>)> {
        let resource = rung.resource;
        if resource.is_list() {
            let run = self.lists.one(resource, limits).await;
            return Some((run, rung.ids.iter().copied().collect()));
        }
        let (stream, runner) = (Stream::whole(resource), self.runner);
        let known = async {
            let states = runner.store().states(runner.account()).await?;
            let stored = runner
                .store()
                .versions(runner.account(), resource, &rung.ids);
            Ok::<_, StoreError>((states, stored.await?))
        };
        let (states, stored) = match known.await {
            Ok(known) => known,
            Err(error) => {
                let run = RunReport::not_begun(RunKind::Ring, stream, error);
                return Some((run, HashSet::new()));
            }
        };
        // Of contacts, the active ones: there is one list for each status.
        let first = *resource.streams().first()?;
        let watermark = watermark_of(&states, first)?;
        let expected = Expected {
            ids: rung.ids.clone(),
            stored,
        };
        runner.begin(
            format!("changes of {resource} that the platform rang for"),
            None,
        );
        let task = Task::of(RunKind::Ring, resource);
        let (run, shown) = runner
            .run(task, limits.stop, |out| async move {
                if rung.by_id {
                    self.by_id(resource, &expected, limits, &out).await
                } else {
                    self.newest(first, watermark, &expected, limits, out).await
                }
            })
            .await;
        Some((run, shown.unwrap_or_default()))
    }

    /// Reads the page of the newest changes.
    async fn newest(
        &self,
        stream: Stream,
        watermark: Timestamp,
        expected: &Expected,
        limits: RunLimits<'_>,
        out: mpsc::Sender<Chunk>,
    ) -> Result<HashSet<Uuid>, RunError> {
        let walk = self.runner.walk(stream, limits, out);
        let after = watermark - self.runner.settings().overlap;
        let query = walk.changes(Span::after(after), Direction::Descending);
        let page = walk.fetch(&query).await?;
        let shown = expected.changed_on(&page).collect();
        walk.send(Some(page), Vec::new()).await?;
        Ok(shown)
    }

    /// Reads the records themselves. One that cannot be read does not keep the others from it.
    async fn by_id(
        &self,
        resource: Resource,
        expected: &Expected,
        limits: RunLimits<'_>,
        out: &mpsc::Sender<Chunk>,
    ) -> Result<HashSet<Uuid>, RunError> {
        let mut shown = HashSet::new();
        for &id in &expected.ids {
            let asked = self.runner.source().by_id(resource, id);
            let mut page = match unless_stopped(limits.stop, asked).await? {
                Ok(page) => page,
                Err(error) => {
                    let error = RunError::from(error);
                    match error.action() {
                        FailureAction::NextResource if !error.is_refusal() => continue,
                        FailureAction::NextResource
                        | FailureAction::EndPass
                        | FailureAction::LeaseLost
                        | FailureAction::EndAccount
                        | FailureAction::Stop => return Err(error),
                    }
                }
            };
            // It may come from a server that has not seen the change yet, so it weighs no more than a list.
            page.by_id = false;
            shown.extend(expected.changed_on(&page));
            send(out, Some(page), Vec::new()).await?;
        }
        Ok(shown)
    }
}

/// The instant up to which a stream is complete, if its first load has begun.
fn watermark_of(states: &[StreamState], stream: Stream) -> Option<Timestamp> {
    let state = states.iter().find(|state| state.stream == stream)?;
    state.watermark
}
