//! What a daemon needs from an engine in addition to walks: when something was last done, deleting
//! old runs, and whether a failure was logged before.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tracing::{debug, warn};

use super::policy::{FailureAction, RunError};
use super::run::{RunReport, Runner};
use crate::clock::Clock;
use crate::data::{Resource, RunKind, Source, Timestamp};
use crate::store::StoreError;

/// The failures that were logged, so that a lasting failure is logged once.
#[derive(Debug, Default)]
pub(super) struct ReportedFailures(Mutex<HashMap<(RunKind, String), String>>);

impl ReportedFailures {
    /// Notes how a run ended: with this error, or successfully. Returns whether it ended differently the last
    /// time.
    fn note(&self, kind: RunKind, subject: &str, error: Option<String>) -> bool {
        // No code here panics while it holds the lock.
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let run = (kind, subject.to_owned());
        match error {
            Some(error) => told.insert(run, error.clone()) != Some(error),
            None => told.remove(&run).is_some(),
        }
    }
}

/// For each resource: until when passes read no record by id, by the clock's running time.
#[derive(Debug, Default)]
pub(super) struct Pauses(Mutex<HashMap<Resource, Duration>>);

/// How many records the backfills have that were just planned, by the backfill's id in the database.
#[derive(Debug, Default)]
pub(super) struct Planned(Mutex<HashMap<i64, u64>>);

impl Planned {
    /// Stores the count of a backfill.
    pub(super) fn note(&self, backfill: i64, records: u64) {
        // No code here panics while it holds the lock.
        let mut planned = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        planned.insert(backfill, records);
    }

    /// Returns the count of a backfill, and forgets it.
    pub(super) fn take(&self, backfill: i64) -> Option<u64> {
        let mut planned = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        planned.remove(&backfill)
    }
}

impl Pauses {
    /// From now on, passes read no record of a resource by id until the clock's running time is `until`.
    pub(super) fn begin(&self, resource: Resource, until: Duration) {
        let mut pauses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pauses.insert(resource, until);
    }

    /// Whether passes may read records of a resource by id.
    pub(super) fn are_over(&self, resource: Resource, clock: &dyn Clock) -> bool {
        let pauses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let until = pauses.get(&resource).copied().unwrap_or_default();
        clock.running() >= until
    }
}

impl<S: Source + 'static> Runner<S> {
    /// Whether this line about a subject, or the absence of a line, differs from the last call.
    pub(super) fn is_news(&self, kind: RunKind, subject: &str, line: Option<String>) -> bool {
        self.reported().note(kind, subject, line)
    }

    /// Whether a run failed for the same reason as the last time. Then only the debug log has the failure.
    pub(super) fn was_told(&self, report: &RunReport) -> bool {
        let error = match &report.error {
            Some(error) if error.action() == FailureAction::Stop => return false,
            error => error.as_ref().map(RunError::line),
        };
        let failed = error.is_some();
        let is_news = self.reported().note(report.kind, &report.subject(), error);
        if !failed || is_news {
            return false;
        }
        let (account, resource) = (self.name(), report.stream);
        let kind = report.kind.as_str();
        debug!(
            account,
            resource = %resource, kind, "{resource}: {kind} failed again for the same reason"
        );
        true
    }
}

/// Maintenance of the store, in addition to reading.
pub(super) struct Upkeep<'a, S> {
    pub(super) runner: &'a Runner<S>,
    /// How long runs are kept in the database.
    pub(super) keep_runs: Duration,
}

impl<S: Source + 'static> Upkeep<'_, S> {
    /// When the open sessions were last up to date: when the last successful refresh began, or their first
    /// load.
    pub(super) async fn open_refreshed_at(&self) -> Result<Option<Timestamp>, StoreError> {
        self.runner
            .store()
            .open_refreshed_at(self.runner.account())
            .await
    }

    /// Deletes old runs; see [`Store::forget_runs`](crate::store::Store::forget_runs). A failure does not
    /// stop other work: it is logged, and the next call retries.
    pub(super) async fn forget_runs(&self) {
        let account = self.runner.name();
        let forgotten = self
            .runner
            .store()
            .forget_runs(
                self.runner.lease(),
                self.runner.clock().now(),
                self.keep_runs,
            )
            .await;
        match forgotten {
            Ok(forgotten) => debug!(account, forgotten, "deleted {forgotten} old runs"),
            Err(error) => {
                let error = RunError::from(error).line();
                warn!(
                    account,
                    error, "account {account}: could not delete old runs, retrying later: {error}"
                );
            }
        }
    }

    /// Adds the days that reports are to have for a year ahead; see
    /// [`Store::extend_days`](crate::store::Store::extend_days). A failure does not stop other work, since
    /// the stored days reach a year ahead.
    pub(super) async fn extend_days(&self) {
        let account = self.runner.name();
        if let Err(error) = self
            .runner
            .store()
            .extend_days(self.runner.clock().now())
            .await
        {
            let error = RunError::from(error).line();
            warn!(
                account,
                error,
                "account {account}: days of reports could not be added, which is tried again \
                 later: {error}"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_news_until_it_was_told_and_again_when_its_cause_changes() {
        let told = ReportedFailures::default();
        let note = |subject: &str, error: Option<&str>| {
            told.note(RunKind::List, subject, error.map(str::to_owned))
        };
        assert!(note("tags", Some("401")));
        assert!(!note("tags", Some("401")));
        assert!(note("channels", Some("401")));
        assert!(note("tags", Some("403")));
        assert!(note("tags", None));
        assert!(!note("tags", None));
        assert!(note("tags", Some("403")));
    }
}
