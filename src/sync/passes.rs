//! Incremental passes: what changed since the watermark of each stream.
//!
//! Owns which streams are due, and which records are read by id after a pass. The walk decides what of a
//! stream was read completely.

use std::time::Duration;

use super::engine::{RunLimits, Runs, goes_on};
use super::gaps::{self, Gaps};
use super::plan;
use super::policy::RunError;
use super::recheck::Rechecks;
use super::run::{RunReport, Runner, Task};
use crate::data::{Ordering, Resource, RunKind, Source, Stream, StreamState};
use crate::store::StoreError;

/// How long a finding about the server's order is trusted before it is checked again.
const ORDERING_KEPT: Duration = Duration::from_hours(24);

/// Makes incremental passes.
pub(super) struct Passes<'a, S> {
    pub(super) runner: &'a Runner<S>,
    pub(super) gaps: Gaps<'a, S>,
    pub(super) rechecks: Rechecks<'a, S>,
}

impl<S: Source + 'static> Passes<'_, S> {
    /// Makes one incremental pass over every stream of `resources` whose load has begun or ended. Then reads
    /// by id the records of which a pass may have seen stale versions.
    pub(super) async fn incremental(&self, resources: &[Resource], limits: RunLimits<'_>) -> Runs {
        let mut runs = Runs::new();
        let mut streams = Vec::new();
        for &resource in resources {
            streams.extend(resource.streams());
            if resource == Resource::Sessions {
                streams.push(Stream::INTERACTIONS);
            }
        }
        for stream in streams {
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
                return runs;
            }
        }
        self.rechecks.after(resources, &mut runs, limits).await;
        runs
    }

    async fn pass(&self, stream: Stream, limits: RunLimits<'_>) -> Option<RunReport> {
        let (account, store) = (self.runner.account(), self.runner.store());
        let known = async {
            let states = store.states(account).await?;
            Ok::<_, StoreError>((states, store.open_gaps(account).await?))
        };
        let now = self.runner.clock().now();
        let (states, gaps) = match known.await {
            Ok(known) => known,
            Err(error) => return Some(RunReport::not_begun(RunKind::Incremental, stream, error)),
        };
        let state = |stream| states.iter().find(|state| state.stream == stream).copied();
        let watermark = if stream == Stream::INTERACTIONS {
            // Interactions are followed once a session has shown that messages do not always change
            // `updatedAt`.
            let sessions = Resource::Sessions.streams().into_iter().find_map(state);
            sessions?.interactions_ahead_at?;
            // If there is no watermark yet, the mirror was loaded before loads stored one. Then the beginning
            // of the load is unknown.
            let known = state(stream).and_then(|state| state.watermark);
            known.unwrap_or(plan::FLOOR)
        } else {
            state(stream)?.watermark?
        };
        let mut state = state(stream).unwrap_or_else(|| StreamState::new(stream));
        if state
            .ordering_checked_at
            .is_none_or(|at| now.since(at) > ORDERING_KEPT)
        {
            state.ordering = Ordering::Unknown;
        }
        self.runner.begin(format!("changes of {stream}"), None);
        let known = state.ordering;
        let (mut report, end) = self
            .runner
            .run(
                Task {
                    kind: RunKind::Incremental,
                    stream,
                    watermark: Some(watermark),
                },
                limits.stop,
                |out| {
                    let walk = self
                        .runner
                        .walk(stream, limits, out.clone())
                        .knowing(gaps::known(&gaps));
                    async move {
                        let end = walk.incremental(&state, watermark).await?;
                        if walk.has_found_gaps() {
                            self.gaps.close_older(stream, gaps, limits, &out).await?;
                        }
                        Ok::<_, RunError>(end)
                    }
                },
            )
            .await;
        if let Some(end) = end
            && end.ordering != known
        {
            let now = self.runner.clock().now();
            let lease = self.runner.lease();
            let noted = store.set_ordering(lease, stream, end.ordering, now).await;
            if let Err(error) = noted {
                report.error = Some(error.into());
            }
        }
        Some(report)
    }
}
