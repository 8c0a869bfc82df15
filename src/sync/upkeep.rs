//! What a daemon asks of an engine beside its walks: when something was last done, what may be
//! forgotten, and whether a failure was told before.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tracing::debug;

use super::engine::Engine;
use super::policy::{RunError, Verdict};
use super::run::RunReport;
use crate::data::{RunKind, Source, Timestamp};
use crate::store::StoreError;

/// The failures that were told, so that one that lasts is told once.
#[derive(Debug, Default)]
pub(super) struct Told(Mutex<HashMap<(RunKind, String), String>>);

impl Told {
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

impl<S: Source + 'static> Engine<S> {
    /// Whether a run failed as it did the last time, which is told to those alone who look for more.
    pub(super) fn was_told(&self, report: &RunReport) -> bool {
        let error = match &report.error {
            Some(error) if error.verdict() == Verdict::Stop => return false,
            error => error.as_ref().map(RunError::line),
        };
        let failed = error.is_some();
        let is_news = self.told.note(report.kind, &report.subject, error);
        if !failed || is_news {
            return false;
        }
        let (account, resource) = (&self.name, &report.subject);
        let kind = report.kind.as_str();
        debug!(
            account,
            resource, kind, "{resource}: {kind} failed as before"
        );
        true
    }

    /// When the open sessions were last as fresh as reading them again makes them: the beginning of
    /// the last time that this ended well, or their first load.
    pub async fn open_refreshed_at(&self) -> Result<Option<Timestamp>, StoreError> {
        self.store.open_refreshed_at(self.lease.account()).await
    }

    /// Forgets runs that nothing refers to; see [`Store`](crate::store::Store).
    pub async fn forget_idle_runs(&self) -> Result<(), StoreError> {
        let forgotten = self
            .store
            .forget_idle_runs(&self.lease, self.clock.now())
            .await?;
        debug!(account = self.name, forgotten, "idle runs forgotten");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_news_until_it_was_told_and_again_when_its_cause_changes() {
        let told = Told::default();
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
