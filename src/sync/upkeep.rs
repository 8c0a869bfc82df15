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

/// The failures that were told, so that one that lasts is told once.
#[derive(Debug, Default)]
pub(super) struct ReportedFailures(Mutex<HashMap<(RunKind, String), String>>);

impl ReportedFailures {
    /// Notes how a run ended: with this error, or well. Yields whether that is another end than it
    /// had the last time.
    fn note(&self, kind: RunKind, subject: &str, error: Option<String>) -> bool {
        // Nothing in here panics while it is held.
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let run = (kind, subject.to_owned());
        match error {
            Some(error) => told.insert(run, error.clone()) != Some(error),
            None => told.remove(&run).is_some(),
        }
    }
}

/// Until when passes ask for nothing of a resource by its id, by the clock's running time.
#[derive(Debug, Default)]
pub(super) struct Pauses(Mutex<HashMap<Resource, Duration>>);

/// How many records the backfills hold that were just planned, by their ids in the database.
#[derive(Debug, Default)]
pub(super) struct Planned(Mutex<HashMap<i64, u64>>);

impl Planned {
    /// Notes that a backfill was counted.
    pub(super) fn note(&self, backfill: i64, records: u64) {
        // Nothing in here panics while it is held.
        let mut planned = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        planned.insert(backfill, records);
    }

    /// What was counted of a backfill, once.
    pub(super) fn take(&self, backfill: i64) -> Option<u64> {
        let mut planned = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        planned.remove(&backfill)
    }
}

impl Pauses {
    /// Lets passes ask for nothing of a resource by its id until the clock has run for so long.
    pub(super) fn begin(&self, resource: Resource, until: Duration) {
        let mut pauses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pauses.insert(resource, until);
    }

    /// Whether passes may ask for records of a resource by their ids.
    pub(super) fn are_over(&self, resource: Resource, clock: &dyn Clock) -> bool {
        let pauses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let until = pauses.get(&resource).copied().unwrap_or_default();
        clock.running() >= until
    }
}

impl<S: Source + 'static> Runner<S> {
    /// Whether it is news that this line is to be said of a subject, or that none is.
    pub(super) fn is_news(&self, kind: RunKind, subject: &str, line: Option<String>) -> bool {
        self.reported().note(kind, subject, line)
    }

    /// Whether a run failed as it did the last time, which is told to those alone who look for more.
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

/// What is done for the store beside reading.
pub(super) struct Upkeep<'a, S> {
    pub(super) runner: &'a Runner<S>,
    /// How long runs are remembered.
    pub(super) keep_runs: Duration,
}

impl<S: Source + 'static> Upkeep<'_, S> {
    /// When the open sessions were last as fresh as reading them again makes them: the beginning of
    /// the last time that this ended well, or their first load.
    pub(super) async fn open_refreshed_at(&self) -> Result<Option<Timestamp>, StoreError> {
        self.runner
            .store()
            .open_refreshed_at(self.runner.account())
            .await
    }

    /// Forgets old runs; see [`Store::forget_runs`](crate::store::Store::forget_runs). That this fails is
    /// no reason to leave other work undone: it is said, and tried again the next time.
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

    /// Adds the days of reports that have come into reach; see
    /// [`Store::extend_days`](crate::store::Store::extend_days). That this fails is no reason to leave
    /// other work undone: a year of days is there.
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
