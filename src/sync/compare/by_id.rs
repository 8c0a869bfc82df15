//! Reads records by id: those in doubt, those that earlier nights left, and contacts that no list shows.
//!
//! Owns how many records are read by id in one night. Must not know why a record is in doubt.

use uuid::Uuid;

use super::{Comparing, Sides, tonight};
use crate::data::{RecheckReason, Source, Span, StateChange};
use crate::sync::policy::{FailureAction, RunError};
use crate::sync::recheck::{self, AGAIN_AFTER, BATCH, ById, Lookup};
use crate::sync::verify::Mirror;

/// How many contacts that no list shows a night reads by id. The next night reads others.
const NEVER_LISTED: u32 = 200;

impl Comparing {
    /// Queues records to be read by id. As many as allowed are read in this night, and the others in the next
    /// night.
    pub(super) async fn queue<S: Source>(
        &mut self,
        on: &Sides<'_, S>,
        ids: Vec<Uuid>,
        reason: RecheckReason,
    ) -> Result<(), RunError> {
        let new = ids.into_iter().filter(|id| self.asked.insert(*id));
        let ids: Vec<Uuid> = new.collect();
        if ids.is_empty() {
            return Ok(());
        }
        self.take(&ids);
        let queued = StateChange::Recheck {
            resource: self.stream.resource,
            ids,
            reason,
        };
        on.send(None, vec![queued]).await
    }

    pub(super) fn take(&mut self, ids: &[Uuid]) {
        let may_ask = match self.by_id_error {
            Some(_) => 0,
            None => self.may_ask,
        };
        let taken = ids.len().min(may_ask as usize);
        self.to_ask.extend(&ids[..taken]);
        // `taken` is not more than `may_ask`.
        self.may_ask -= u32::try_from(taken).unwrap_or(self.may_ask);
        self.found.left += (ids.len() - taken) as u64;
    }

    /// Loads the records that earlier nights left to be read by id.
    pub(super) async fn take_queue<S: Source>(
        &mut self,
        on: &Sides<'_, S>,
    ) -> Result<(), RunError> {
        if on.out.is_none() {
            return Ok(());
        }
        let Mirror { store, account, .. } = on.mirror;
        let resource = self.stream.resource;
        let now = on.mirror.clock.now();
        let lately = Span::between(now - AGAIN_AFTER, now);
        let all = store.count_rechecks(account, resource, lately).await?;
        let queued = store
            .rechecks(account, resource, None, lately, self.may_ask)
            .await?;
        let ids: Vec<Uuid> = queued.into_iter().map(|recheck| recheck.id).collect();
        self.asked.extend(&ids);
        self.found.left += all.saturating_sub(ids.len() as u64);
        self.backlog = ids;
        Ok(())
    }

    /// Queues contacts that no list shows; each night others.
    pub(super) async fn never_listed<S: Source>(
        &mut self,
        on: &Sides<'_, S>,
    ) -> Result<(), RunError> {
        let Mirror { store, account, .. } = on.mirror;
        let turn = tonight(on.mirror.clock.now());
        let ids = store.never_listed(account, turn, NEVER_LISTED).await?;
        self.queue(on, ids, RecheckReason::NeverListed).await
    }

    /// Reads some records by id. If no record can be read by id, the rest of the comparison continues all the
    /// same.
    pub(super) async fn ask<S: Source>(&mut self, on: &Sides<'_, S>) -> Result<(), RunError> {
        let (mut missing, mut failed) = (Vec::new(), Vec::new());
        let asked = self.ask_each(on, &mut missing, &mut failed).await;
        match asked {
            Err(error) if error.action() == FailureAction::NextResource => {
                let left = missing.len() + failed.len() + self.to_ask.len();
                self.found.left += left as u64;
                self.to_ask.clear();
                self.by_id_error = Some(error);
                Ok(())
            }
            asked => asked,
        }
    }

    /// Does the work of `ask`. Only records that the platform does not find are deleted. Until that is
    /// proven, they are in `missing`. Records that could not be read are in `failed`.
    async fn ask_each<S: Source>(
        &mut self,
        on: &Sides<'_, S>,
        missing: &mut Vec<Uuid>,
        failed: &mut Vec<(Uuid, String)>,
    ) -> Result<(), RunError> {
        let Mirror {
            source,
            store,
            account,
            stop,
            clock,
            ..
        } = on.mirror;
        let resource = self.stream.resource;
        let mut by_id = ById::new(source, clock, stop, resource);
        let ids: Vec<Uuid> = self.to_ask.iter().take(BATCH).copied().collect();
        let stored = store.versions(account, resource, &ids).await?;
        for id in ids {
            if on.is_over() {
                break;
            }
            self.to_ask.pop_front();
            if stored.get(&id).is_some_and(|stored| stored.removed) {
                let done = self.rechecked(vec![id]);
                on.send(None, done.into_iter().collect()).await?;
                continue;
            }
            match by_id.ask(id).await? {
                Lookup::Found(page) => {
                    let found = self.compare_page(on, &page).await?;
                    let mut state_changes = self.differing(found.differing);
                    state_changes.extend(self.rechecked(vec![id]));
                    on.send(Some(page), state_changes).await?;
                }
                Lookup::NotFound => missing.push(id),
                Lookup::Failed(error) => failed.push((id, error)),
            }
        }
        if missing.is_empty() && failed.is_empty() {
            return Ok(());
        }
        let proof = by_id.prove().await?;
        let missing = std::mem::take(missing);
        let mut failed = std::mem::take(failed);
        match proof {
            Some(proof) if !missing.is_empty() => {
                let mut gone = missing.clone();
                gone.retain(|id| stored.get(id).is_some_and(|stored| !stored.removed));
                self.found.gone.extend(&gone);
                self.found.vanished.extend(&gone);
                let mut state_changes = self.differing(gone);
                state_changes.extend(recheck::gone(proof, missing));
                on.send(None, state_changes).await?;
            }
            Some(_) => {}
            None => failed.extend(missing.into_iter().map(recheck::unproven)),
        }
        let state_changes = recheck::not_asked(resource, &failed);
        self.found.failed.append(&mut failed);
        on.send(None, state_changes).await
    }
}
