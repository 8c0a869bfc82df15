//! The refresh of open sessions: reads them again, whatever their `updatedAt` says.
//!
//! It reads them in portions, window by window, with passes in between. Only the sessions of one
//! window are in memory. A session that is stored as open, but no longer listed as open, has ended
//! or was deleted; it is read by id.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::mpsc;
use tracing::debug;
use uuid::Uuid;

use super::engine::RunLimits;
use super::policy::{FailureAction, RunError};
use super::portion::Portion;
use super::recheck::{ask_each, send};
use super::run::{RunReport, Runner, Task};
use super::walk::{Chunk, Walk};
use crate::data::{
    Order, PageQuery, Partition, RecheckReason, Resource, RunKind, SessionFilter, Source, Span,
    StateChange, Stream,
};

/// How many stored open sessions a window holds.
const WINDOW: u64 = 2_000;

/// How many sessions a refresh reads by id at most because they are no longer listed as open: a minute of the
/// platform's request limit. The others wait for the next night.
const ASKED: usize = 200;

/// The statuses of a session that is not over (API notes, 4.2).
const OPEN: [&str; 3] = ["STARTED", "PENDING", "IN_PROGRESS"];

/// A refresh of open sessions that is in progress.
#[derive(Debug, Default)]
pub struct OpenSessions {
    /// Windows of creation times that are still to be read, oldest first; `None` before the first request.
    left: Option<VecDeque<Span>>,
    /// How many sessions were read by id.
    asked: usize,
    /// Sessions that could not be read by id, until that is logged.
    failed: Vec<(Uuid, String)>,
}

impl OpenSessions {
    /// A refresh that has read no session yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether all windows were read.
    pub fn is_done(&self) -> bool {
        self.left.as_ref().is_some_and(VecDeque::is_empty)
    }
}

/// Reads the open sessions again.
pub(super) struct OpenRefresh<'a, S> {
    pub(super) runner: &'a Runner<S>,
}

impl<S: Source + 'static> OpenRefresh<'_, S> {
    /// Reads all open sessions again. Then reads by id the sessions that are stored as open but no longer
    /// listed as open. A daemon does this in portions.
    pub(super) async fn all(&self, limits: RunLimits<'_>) -> RunReport {
        let mut sessions = OpenSessions::new();
        loop {
            let report = self.portion(&mut sessions, limits).await;
            if sessions.is_done() || !report.succeeded() {
                return report;
            }
        }
    }

    /// Continues a refresh of open sessions for half a minute.
    pub(super) async fn portion(
        &self,
        sessions: &mut OpenSessions,
        limits: RunLimits<'_>,
    ) -> RunReport {
        self.runner.begin("open sessions".to_owned(), None);
        let resource = Resource::Sessions;
        let task = Task::of(RunKind::RefreshOpen, resource);
        let (report, _) = self
            .runner
            .run(task, limits.stop, |out| {
                self.refresh_windows(sessions, limits, out)
            })
            .await;
        self.runner
            .tell_failed(resource, &std::mem::take(&mut sessions.failed));
        report.unpaused()
    }

    async fn refresh_windows(
        &self,
        sessions: &mut OpenSessions,
        limits: RunLimits<'_>,
        out: mpsc::Sender<Chunk>,
    ) -> Result<(), RunError> {
        let account = self.runner.account();
        let stream = Stream {
            resource: Resource::Sessions,
            partition: Partition::WHOLE,
        };
        let filter = SessionFilter {
            status: OPEN.map(str::to_owned).to_vec(),
            ..SessionFilter::default()
        };
        let walk = self
            .runner
            .walk(stream, limits, out.clone())
            .filtered(Arc::new(filter));
        let portion = Portion::begin(self.runner.source(), self.runner.clock());
        #[expect(clippy::single_match_else, reason = "the longer arm is the rarer one")]
        let mut left = match sessions.left.take() {
            Some(left) => left,
            None => {
                let query = PageQuery {
                    size: 1,
                    ..walk.query(Span::OPEN, Span::OPEN, Order::CREATED)
                };
                let now = walk.fetch(&query).await?.server_time;
                let cuts = self
                    .runner
                    .store()
                    .open_session_cuts(account, WINDOW)
                    .await?;
                let cuts: Vec<_> = cuts.into_iter().filter(|cut| *cut < now).collect();
                let begins = std::iter::once(None).chain(cuts.iter().copied().map(Some));
                let ends = cuts.iter().copied().chain([now]).map(Some);
                begins
                    .zip(ends)
                    .map(|(after, before)| Span { after, before })
                    .collect()
            }
        };
        // A window that cannot be read now does not delay the others. It is retried last.
        let mut unread = VecDeque::new();
        let mut failure = None;
        let ended = loop {
            let Some(&window) = left.front() else {
                break failure.map_or(Ok(()), Err);
            };
            match self
                .refresh_window(&walk, window, sessions, limits, &out)
                .await
            {
                Ok(()) => {}
                Err(error) if error.action() == FailureAction::NextResource => {
                    unread.push_back(window);
                    failure = Some(error);
                }
                Err(error) => break Err(error),
            }
            left.pop_front();
            if !left.is_empty() && portion.is_over() {
                break Err(RunError::Paused);
            }
        };
        left.extend(unread);
        sessions.left = Some(left);
        ended
    }

    /// Reads the open sessions of a window. Then reads by id the sessions that are stored as open in it but
    /// were not shown. Those that cannot be read by id wait in the queue.
    async fn refresh_window(
        &self,
        walk: &Walk<'_, S>,
        window: Span,
        sessions: &mut OpenSessions,
        limits: RunLimits<'_>,
        out: &mpsc::Sender<Chunk>,
    ) -> Result<(), RunError> {
        let resource = Resource::Sessions;
        // Sessions created after the window's end are not expected in it. So a `Date` header that is behind
        // does not make them look missing.
        let stored = self
            .runner
            .store()
            .open_session_ids(self.runner.account(), window);
        let mut missing = stored.await?;
        let seen = walk.created_range(window).await?;
        missing.retain(|id| !seen.contains(id));
        if missing.is_empty() {
            return Ok(());
        }
        let queued = StateChange::Recheck {
            resource,
            ids: missing.clone(),
            reason: RecheckReason::NotListed,
        };
        send(out, None, vec![queued]).await?;
        missing.truncate(ASKED - sessions.asked.min(ASKED));
        sessions.asked += missing.len();
        let mut by_id = self.runner.by_id(resource, limits).between_passes();
        match ask_each(&mut by_id, &missing, out).await {
            Ok(failed) => sessions.failed.extend(failed),
            Err(error) => {
                if error.action() != FailureAction::NextResource {
                    return Err(error);
                }
                let error = error.line();
                debug!(
                    error,
                    "could not read sessions that are no longer listed as open; a later recheck does"
                );
            }
        }
        Ok(())
    }
}
