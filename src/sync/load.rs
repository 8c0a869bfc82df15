//! First loads and backfills: ranges of creation times, read window by window.
//!
//! Every finished window is a checkpoint in the database, from which the next process resumes.
//! Between windows, incremental passes keep the mirror up to date during a long load.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::engine::{Report, RunLimits, Runs, goes_on};
use super::gaps;
use super::lists::Lists;
use super::passes::Passes;
use super::plan;
use super::policy::RunError;
use super::run::{RunReport, Runner, Task};
use super::survey;
use super::upkeep::Planned;
use super::verify::{Verified, Verifier};
use super::walk::Mark;
use super::window::WindowEnd;
use crate::data::{
    BackfillWindow, Gap, Learned, Resource, RunKind, SessionFilter, Source, Span, Stream,
    StreamState, Timestamp, grouped,
};
use crate::store::{AccountId, Backfill, FirstWatermark, NewBackfill, Store, StoreError};

/// The first watermarks of streams whose load begins now, from the server time and the newest mark then.
///
/// A stream that shows no record is complete up to its first record, whenever that comes. The interactions of
/// sessions are only followed if that is necessary. If so, they are followed from the beginning of the load
/// on.
fn watermarks(newest: &HashMap<Stream, (Timestamp, Option<Mark>)>) -> Vec<FirstWatermark> {
    let mut watermarks = Vec::new();
    for (&stream, &(server_time, mark)) in newest {
        let watermark = FirstWatermark {
            stream,
            to: mark.map_or(plan::FLOOR, |mark| mark.to),
            seen_at: mark.map_or(server_time, |mark| mark.seen_at),
        };
        watermarks.push(watermark);
        if stream.resource == Resource::Sessions {
            watermarks.push(FirstWatermark {
                stream: Stream::INTERACTIONS,
                ..watermark
            });
        }
    }
    watermarks
}

/// What a load or backfill is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The first load of its resource. Syncs resume it.
    FirstLoad,
    /// To read a range again, or everything. Syncs resume it.
    Reading,
    /// To read what somebody asked for. Only the command `backfill` resumes it.
    OnRequest,
}

/// What is known of the account while windows are read.
#[derive(Clone, Copy)]
struct Known<'a> {
    gaps: &'a Arc<[Gap]>,
    states: &'a [StreamState],
}

impl Known<'_> {
    fn watermark(self, stream: Stream) -> Option<Timestamp> {
        let state = self.states.iter().find(|state| state.stream == stream);
        state.and_then(|state| state.watermark)
    }
}

/// The resources among `resources` of which nothing is loaded yet.
pub(super) async fn unloaded(
    store: &Store,
    account: AccountId,
    resources: &[Resource],
) -> Result<Vec<Resource>, StoreError> {
    let states = store.states(account).await?;
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

/// Plans a backfill over all sessions. The same transaction stores what was learned about the platform:
/// sessions are read from the usual version of their list again, and the other version may have omitted some
/// of them.
pub(super) async fn plan_rereading<S: Source + 'static>(
    runner: &Runner<S>,
    learned: &Learned,
    stop: &CancellationToken,
) -> Result<(), RunError> {
    let filters = vec![SessionFilter::default()];
    let (new, _) = survey_backfill(
        runner,
        Resource::Sessions,
        Span::OPEN,
        (filters, Purpose::Reading),
        stop,
    )
    .await?;
    let now = runner.clock().now();
    runner
        .store()
        .create_backfill_having_learned(runner.lease(), &new, learned, now)
        .await?;
    Ok(())
}

/// Surveys what is needed to plan a backfill. Also returns how many records the backfill has to read, if the
/// server counts them.
async fn survey_backfill<S: Source + 'static>(
    runner: &Runner<S>,
    resource: Resource,
    range: Span,
    (filters, purpose): (Vec<SessionFilter>, Purpose),
    stop: &CancellationToken,
) -> Result<(NewBackfill, Option<u64>), RunError> {
    let settings = runner.settings();
    let mut windows = Vec::new();
    let (mut records, mut uncounted) = (0, false);
    let mut newest: HashMap<Stream, (Timestamp, Option<Mark>)> = HashMap::new();
    for (index, filter) in filters.iter().enumerate() {
        for stream in resource.streams() {
            let survey = survey::survey(
                runner.source(),
                survey::Range {
                    stream,
                    created: range,
                    filter,
                },
                settings.page_size,
                stop,
            )
            .await?;
            // The newest change is older than the current time of the clock that stamps records, whatever the
            // `Date` header says.
            let (server_time, mark) = if let Some(known) = newest.get(&stream) {
                *known
            } else {
                let now = survey.server_time;
                let source = runner.source();
                let mark = survey::newest(source, stream, now, stop).await?;
                newest.insert(stream, (now, mark));
                (now, mark)
            };
            records += survey.total;
            uncounted |= survey.uncounted;
            let pages = plan::pages(survey.total, settings.page_size);
            let depth = settings.window_pages;
            let slices = plan::windows(
                range,
                survey.oldest,
                mark.map_or(server_time, |mark| mark.to),
                settings.overlap,
                (pages, depth),
            );
            windows.extend(slices.into_iter().map(|span| (stream, span, index)));
        }
    }
    let first_load = purpose == Purpose::FirstLoad;
    let records = (!uncounted).then_some(records);
    let new = NewBackfill {
        resource,
        first_load,
        on_request: purpose == Purpose::OnRequest,
        records,
        range,
        filters,
        windows,
        watermarks: if first_load {
            watermarks(&newest)
        } else {
            Vec::new()
        },
    };
    Ok((new, records))
}

/// Reads ranges of creation times, window by window.
pub(super) struct Loads<'a, S> {
    pub(super) runner: &'a Runner<S>,
    pub(super) planned: &'a Planned,
    pub(super) passes: Passes<'a, S>,
    pub(super) lists: Lists<'a, S>,
    /// Whether backfills that were requested are resumed, too.
    pub(super) requested: bool,
    pub(super) verifier: Verifier<'a, S>,
    /// How often passes are made during a load.
    pub(super) interleave: Duration,
    /// How often the lists are read during a load.
    pub(super) catalog: Duration,
}

impl<S: Source + 'static> Loads<'_, S> {
    /// Plans a backfill. It replaces an unfinished backfill with the same range and filters. Reads only what
    /// planning needs.
    pub(super) async fn plan(
        &self,
        resource: Resource,
        range: Span,
        filters: Vec<SessionFilter>,
        purpose: Purpose,
        limits: RunLimits<'_>,
    ) -> Result<i64, RunError> {
        let how = (filters, purpose);
        let (new, records) =
            survey_backfill(self.runner, resource, range, how, limits.stop).await?;
        let now = self.runner.clock().now();
        let (store, lease) = (self.runner.store(), self.runner.lease());
        let id = store.create_backfill(lease, &new, now).await?;
        if let Some(records) = records {
            self.planned.note(id, records);
        }
        Ok(id)
    }

    /// How many records a backfill reads, for progress bars, and whether the server counts them. A backfill
    /// that was just planned is already counted.
    async fn records_of(&self, backfill: &Backfill, limits: RunLimits<'_>) -> (Option<u64>, bool) {
        if let Some(records) = self.planned.take(backfill.id).or(backfill.records) {
            return (Some(records), true);
        }
        let estimate = survey::estimate(
            self.runner.source(),
            backfill.resource,
            backfill.range,
            &backfill.filters,
            self.runner.settings().page_size,
            limits.stop,
        );
        match estimate.await {
            Ok(estimate) if estimate.uncounted => (None, false),
            Ok(estimate) => (Some(estimate.records), true),
            Err(_) => (None, true),
        }
    }

    /// Works on a backfill until it is finished or a failure or limit ends it. Between its windows,
    /// incremental passes over `fresh` are made, and the lists of `fresh` are read, whenever they are due.
    pub(super) async fn work_on(
        &self,
        backfill: &Backfill,
        fresh: &[Resource],
        limits: RunLimits<'_>,
    ) -> Runs {
        let mut runs = Runs::new();
        // By the running time, and not by the clock: if the clock were set back, passes would wait that much
        // longer.
        let mut due = self.runner.clock().running() + self.interleave;
        let mut lists_due = self.runner.clock().running() + self.catalog;
        let what = if backfill.first_load {
            "first load"
        } else {
            "backfill"
        };
        let phase = format!("{what} of {}", backfill.resource);
        let (total, counts) = self.records_of(backfill, limits).await;
        let mut done = backfill.rows_done;
        let mut unsteady = HashSet::new();
        loop {
            let known = async {
                let pending = self.runner.store().pending_windows(backfill.id).await?;
                let account = self.runner.account();
                let gaps = gaps::known(&self.runner.store().open_gaps(account).await?);
                let states = self.runner.store().states(account).await?;
                Ok::<_, StoreError>((pending, gaps, states))
            };
            let (mut pending, gaps, states) = match known.await {
                Ok(known) => known,
                Err(error) => {
                    runs.push(RunReport::not_begun(
                        RunKind::Backfill,
                        Stream::whole(backfill.resource),
                        error,
                    ));
                    return runs;
                }
            };
            if pending.is_empty() {
                // What the server does not count cannot be compared by counts.
                if backfill.first_load && counts {
                    let counted = self.count(backfill, limits).await;
                    let go_on = counted.iter().all(goes_on);
                    runs.extend(counted);
                    if !go_on {
                        return runs;
                    }
                }
                let now = self.runner.clock().now();
                if let Err(error) = self
                    .runner
                    .store()
                    .finish_backfill(self.runner.lease(), backfill.id, now)
                    .await
                {
                    let stream = Stream::whole(backfill.resource);
                    let kind = RunKind::Backfill;
                    runs.push(RunReport::not_begun(kind, stream, error));
                }
                self.passes
                    .rechecks
                    .after(&[backfill.resource], &mut runs, limits)
                    .await;
                return runs;
            }
            // A window that cannot be read does not delay the others. The window stays pending and its run is
            // recorded as failed. The next call tries it again.
            pending.retain(|window| !unsteady.contains(&window.id));
            if pending.is_empty() {
                return runs;
            }
            self.runner.begin(phase.clone(), total);
            self.runner
                .report()
                .send_modify(|report| report.rows = done);
            let known = Known {
                gaps: &gaps,
                states: &states,
            };
            let (run, failed) = self
                .read_windows(backfill, &pending, known, due, limits)
                .await;
            let go_on = run.succeeded() || failed.is_some();
            unsteady.extend(failed);
            done += run.counters.rows_read;
            runs.push(run);
            if !go_on {
                return runs;
            }
            if self.runner.clock().running() >= due {
                let passes = self.passes.incremental(fresh, limits).await;
                let go_on = passes.iter().all(goes_on);
                runs.extend(passes);
                if !go_on {
                    return runs;
                }
                due = self.runner.clock().running() + self.interleave;
            }
            if self.runner.clock().running() >= lists_due {
                let lists = self.lists.all(fresh, limits).await;
                let go_on = lists.iter().all(goes_on);
                runs.extend(lists);
                if !go_on {
                    return runs;
                }
                lists_due = self.runner.clock().running() + self.catalog;
            }
        }
    }

    /// Counts what a first load has read, if each partition of the resource is a stream of its own. While a
    /// window is read, one record may leave its partition and another may enter it. The two cancel out in the
    /// window's own counts, and a third record slips over the border between two pages. That record is
    /// missing from then on, and no pass shows it.
    async fn count(&self, load: &Backfill, limits: RunLimits<'_>) -> Runs {
        let resource = load.resource;
        if resource.streams().len() < 2 {
            return Runs::new();
        }
        if limits.is_spent() {
            return vec![RunReport::stopped(RunKind::Recheck, resource)];
        }
        // A pass first reads the records that have moved to another partition. Otherwise such a record would
        // still count in its old partition, and would hide the missing one.
        let mut runs = self.passes.incremental(&[resource], limits).await;
        if !runs.iter().all(goes_on) {
            return runs;
        }
        let verified = self.verifier.loaded(resource, limits).await;
        runs.extend(verified.into_iter().filter_map(Verified::into_failure));
        runs
    }

    /// Reads windows until one is split, a pass is due, or all are read. Returns the window that kept
    /// changing, if there was one.
    async fn read_windows(
        &self,
        backfill: &Backfill,
        pending: &[BackfillWindow],
        known: Known<'_>,
        due: Duration,
        limits: RunLimits<'_>,
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
            .runner
            .run(Task::of(kind, resource), limits.stop, |out| async move {
                for window in pending {
                    // A window begins only when all pages of the last window have left the queue. So a
                    // process that is killed here loses at most the last window's checkpoint with the two
                    // batches of rows that are on their way into the database, and the first pages of this
                    // window.
                    let room = out.reserve_many(out.max_capacity()).await;
                    drop(room.map_err(|_| RunError::Closed)?);
                    let filter = backfill
                        .filters
                        .get(window.filter)
                        .cloned()
                        .unwrap_or_default();
                    if limits.is_spent() {
                        return Err(RunError::Stopped);
                    }
                    let walk = self
                        .runner
                        .walk(window.stream, limits, out.clone())
                        .filtered(Arc::new(filter))
                        .knowing(Arc::clone(known.gaps))
                        .settled(known.watermark(window.stream));
                    let end = walk.backfill_window(window).await;
                    if matches!(end, Err(RunError::Unsteady { .. })) {
                        let _first = unsteady.set(window.id);
                    }
                    let is_done = matches!(end?, WindowEnd::Done { .. });
                    if !is_done || self.runner.clock().running() >= due {
                        break;
                    }
                }
                Ok::<_, RunError>(())
            })
            .await;
        (report, failed.into_inner())
    }

    /// Continues every unfinished load and backfill of these resources that a sync resumes, oldest first.
    /// Incremental passes over the same resources are made in between.
    pub(super) async fn work_off(&self, resources: &[Resource], limits: RunLimits<'_>) -> Runs {
        let mut runs = Runs::new();
        let backfills = match self
            .runner
            .store()
            .unfinished_backfills(self.runner.account())
            .await
        {
            Ok(backfills) => backfills,
            Err(error) => {
                let stream =
                    Stream::whole(resources.first().copied().unwrap_or(Resource::Sessions));
                return vec![RunReport::not_begun(RunKind::Backfill, stream, error)];
            }
        };
        let asked_for = |backfill: &Backfill| {
            resources.contains(&backfill.resource) && (self.requested || !backfill.on_request)
        };
        for backfill in backfills.into_iter().filter(asked_for) {
            if limits.is_spent() || limits.stop.is_cancelled() {
                runs.push(RunReport::stopped(RunKind::Backfill, backfill.resource));
                break;
            }
            if backfill.windows_done > 0 {
                tracing::info!(
                    account = self.runner.name(),
                    resource = backfill.resource.name(),
                    windows_done = backfill.windows_done,
                    windows_left = backfill.windows_left,
                    "resuming the {} of {}: {} done, {} left",
                    if backfill.first_load {
                        "first load"
                    } else {
                        "backfill"
                    },
                    backfill.resource,
                    grouped(backfill.windows_done),
                    grouped(backfill.windows_left),
                );
            }
            let more = self.work_on(&backfill, resources, limits).await;
            // The progress of a finished load is not shown while the daemon waits for its next pass.
            self.runner.report().send_replace(Report::default());
            let go_on = more.iter().all(goes_on);
            runs.extend(more);
            if !go_on {
                break;
            }
        }
        runs
    }
}
