//! First loads and backfills: ranges of creation times, read window by window.
//!
//! Every finished window is a checkpoint in the database; whoever comes next goes on from there.
//! Between windows the incremental passes go on, so that a long load does not let today's data
//! grow old.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::engine::{Engine, Limits, Report, Runs, goes_on};
use super::plan;
use super::policy::RunError;
use super::run::{RunReport, Task};
use super::survey;
use super::verify::Verified;
use super::walk::WalkError;
use super::window::WindowEnd;
use crate::data::{
    BackfillWindow, Resource, RunKind, SessionFilter, Source, Span, Stream, Timestamp,
};
use crate::store::{Backfill, NewBackfill, StoreError};

impl<S: Source + 'static> Engine<S> {
    /// The resources among `resources` of which nothing was loaded yet.
    pub async fn unloaded(&self, resources: &[Resource]) -> Result<Vec<Resource>, StoreError> {
        let states = self.store.states(self.lease.account()).await?;
        let begun = |stream: &Stream| {
            states
                .iter()
                .any(|state| state.stream == *stream && state.watermark.is_some())
        };
        Ok(resources
            .iter()
            .copied()
            .filter(|resource| !resource.streams().iter().all(begun) && !resource.is_list())
            .collect())
    }

    /// Records the first load of a resource. From here on the incremental passes read what changes,
    /// and the load what was there.
    pub async fn plan_first_load(
        &self,
        resource: Resource,
        limits: Limits<'_>,
    ) -> Result<i64, RunError> {
        let filters = vec![SessionFilter::default()];
        self.plan_backfill(resource, Span::OPEN, filters, true, limits)
            .await
    }

    /// Records a backfill. Nothing is read yet but what planning it takes.
    pub async fn plan_backfill(
        &self,
        resource: Resource,
        range: Span,
        filters: Vec<SessionFilter>,
        first_load: bool,
        limits: Limits<'_>,
    ) -> Result<i64, RunError> {
        let mut windows = Vec::new();
        let mut begun: Option<Timestamp> = None;
        for (index, filter) in filters.iter().enumerate() {
            for stream in resource.streams() {
                let survey = survey::survey(
                    self.source.as_ref(),
                    survey::Range {
                        stream,
                        created: range,
                        filter,
                    },
                    self.settings.walk.page_size,
                    limits.stop,
                )
                .await?;
                // The earliest of the answers: what each of them saw was visible then.
                let now = begun.map_or(survey.server_time, |at| at.min(survey.server_time));
                begun = Some(now);
                let pages = plan::pages(survey.total, self.settings.walk.page_size);
                let depth = self.settings.walk.window_pages;
                let slices = plan::windows(
                    range,
                    survey.oldest,
                    survey.server_time,
                    self.settings.walk.overlap,
                    (pages, depth),
                );
                windows.extend(slices.into_iter().map(|span| (stream, span, index)));
            }
        }
        let new = NewBackfill {
            resource,
            first_load,
            range,
            filters,
            windows,
            watermark: begun.filter(|_| first_load),
        };
        Ok(self
            .store
            .create_backfill(&self.lease, &new, self.clock.now())
            .await?)
    }

    /// Works on a backfill until it is finished, or something ends it. Incremental passes over
    /// `fresh` are made between its windows whenever they are due, and its lists are read.
    pub async fn work_on(
        &self,
        backfill: &Backfill,
        fresh: &[Resource],
        limits: Limits<'_>,
    ) -> Runs {
        let mut runs = Runs::new();
        // Not by what the clock shows: set back, it would hold them off for as long.
        let mut due = self.clock.running() + self.settings.interleave;
        let mut lists_due = self.clock.running() + self.settings.catalog;
        let what = if backfill.first_load {
            "first load"
        } else {
            "backfill"
        };
        let phase = format!("{what} of {}", backfill.resource);
        let total = survey::estimate(
            self.source.as_ref(),
            backfill.resource,
            backfill.range,
            &backfill.filters,
            self.settings.walk.page_size,
            limits.stop,
        )
        .await
        .ok()
        .map(|estimate| estimate.records);
        let mut done = backfill.rows_done;
        let mut unsteady = HashSet::new();
        loop {
            let mut pending = match self.store.pending_windows(backfill.id).await {
                Ok(pending) => pending,
                Err(error) => {
                    runs.push(RunReport::not_begun(
                        RunKind::Backfill,
                        backfill.resource.to_string(),
                        error,
                    ));
                    return runs;
                }
            };
            if pending.is_empty() {
                if backfill.first_load {
                    let counted = self.count(backfill, limits).await;
                    let go_on = counted.iter().all(goes_on);
                    runs.extend(counted);
                    if !go_on {
                        return runs;
                    }
                }
                let now = self.clock.now();
                if let Err(error) = self
                    .store
                    .finish_backfill(&self.lease, backfill.id, now)
                    .await
                {
                    let subject = backfill.resource.to_string();
                    let kind = RunKind::Backfill;
                    runs.push(RunReport::not_begun(kind, subject, error));
                }
                return runs;
            }
            // One that cannot be read keeps no other from being read. It stays, and with it the
            // run that failed; whoever goes on later tries again.
            pending.retain(|window| !unsteady.contains(&window.id));
            if pending.is_empty() {
                return runs;
            }
            self.begin(phase.clone(), total);
            self.report.send_modify(|report| report.rows = done);
            let (run, failed) = self.read_windows(backfill, &pending, due, limits).await;
            let go_on = run.succeeded() || failed.is_some();
            unsteady.extend(failed);
            done += run.counters.rows_read;
            runs.push(run);
            if !go_on {
                return runs;
            }
            if self.clock.running() >= due {
                let passes = self.incremental(fresh, limits).await;
                let go_on = passes.iter().all(goes_on);
                runs.extend(passes);
                if !go_on {
                    return runs;
                }
                due = self.clock.running() + self.settings.interleave;
            }
            if self.clock.running() >= lists_due {
                let lists = self.lists(fresh, limits).await;
                let go_on = lists.iter().all(goes_on);
                runs.extend(lists);
                if !go_on {
                    return runs;
                }
                lists_due = self.clock.running() + self.settings.catalog;
            }
        }
    }

    /// Counts what a first load has read, where each part of the resource is a stream of its own: a
    /// record that leaves a part while its window is read and one that enters it cancel in the
    /// window's own counts, and a third slips over the border of two pages. It is missing from then
    /// on, and no pass shows it.
    async fn count(&self, load: &Backfill, limits: Limits<'_>) -> Runs {
        let resource = load.resource;
        if resource.streams().len() < 2 {
            return Runs::new();
        }
        if limits.is_spent() {
            return vec![RunReport::stopped(RunKind::Verify, resource)];
        }
        // Whatever has moved to another part is taken along first: stored where it was before, it
        // would stand for the one that is missing.
        let mut runs = self.incremental(&[resource], limits).await;
        if !runs.iter().all(goes_on) {
            return runs;
        }
        let verified = self
            .verify_after(Some(load.id), &[resource], 0, limits)
            .await;
        runs.extend(verified.into_iter().filter_map(Verified::into_failure));
        runs
    }

    /// Reads windows until one is split, a pass is due, or all are read. Yields the window that
    /// would not hold still, if there was one.
    async fn read_windows(
        &self,
        backfill: &Backfill,
        pending: &[BackfillWindow],
        due: Duration,
        limits: Limits<'_>,
    ) -> (RunReport, Option<i64>) {
        let failed = OnceLock::new();
        let unsteady = &failed;
        let kind = if backfill.first_load {
            RunKind::FirstLoad
        } else {
            RunKind::Backfill
        };
        let resource = backfill.resource;
        let (report, _) = self
            .run(Task::of(kind, resource), limits.stop, |out| async move {
                for window in pending {
                    // No window begins before what was read of the last one has left the queue:
                    // killed here, its checkpoint is lost at most with the two portions of rows
                    // that are on their way into the database, and this one's first pages.
                    let room = out.reserve_many(out.max_capacity()).await;
                    drop(room.map_err(|_| WalkError::Closed)?);
                    let filter = backfill
                        .filters
                        .get(window.filter)
                        .cloned()
                        .unwrap_or_default();
                    if limits.is_spent() {
                        return Err(WalkError::Stopped);
                    }
                    let walk = self
                        .walk(window.stream, limits, out.clone())
                        .filtered(Arc::new(filter));
                    let end = walk.backfill_window(window).await;
                    if matches!(end, Err(WalkError::Unsteady { .. })) {
                        let _first = unsteady.set(window.id);
                    }
                    let is_done = matches!(end?, WindowEnd::Done { .. });
                    if !is_done || self.clock.running() >= due {
                        break;
                    }
                }
                Ok::<_, WalkError>(())
            })
            .await;
        (report, failed.into_inner())
    }

    /// Goes on with every unfinished load and backfill of these resources, oldest first, with
    /// incremental passes over the same resources in between.
    pub async fn work_off(&self, resources: &[Resource], limits: Limits<'_>) -> Runs {
        let mut runs = Runs::new();
        let backfills = match self.store.unfinished_backfills(self.lease.account()).await {
            Ok(backfills) => backfills,
            Err(error) => {
                let kind = RunKind::Backfill;
                return vec![RunReport::not_begun(kind, "backfills".to_owned(), error)];
            }
        };
        let asked_for = |backfill: &Backfill| resources.contains(&backfill.resource);
        for backfill in backfills.into_iter().filter(asked_for) {
            if limits.is_spent() {
                runs.push(RunReport::stopped(RunKind::Backfill, backfill.resource));
                break;
            }
            if backfill.windows_done > 0 {
                tracing::info!(
                    account = self.name,
                    resource = backfill.resource.name(),
                    windows_done = backfill.windows_done,
                    windows_left = backfill.windows_left,
                    "{} of {} goes on: {} windows are done, {} are left",
                    if backfill.first_load {
                        "first load"
                    } else {
                        "backfill"
                    },
                    backfill.resource,
                    backfill.windows_done,
                    backfill.windows_left,
                );
            }
            let more = self.work_on(&backfill, resources, limits).await;
            // A finished load is nothing to show while the daemon waits for its next pass.
            self.report.send_replace(Report::default());
            let go_on = more.iter().all(goes_on);
            runs.extend(more);
            if !go_on {
                break;
            }
        }
        runs
    }
}
