//! What `run` logs about its syncs: one line for each that changed something.
//!
//! The engine logs failures and loads itself.

use std::collections::BTreeMap;
use std::time::Duration;

use tracing::info;

use crate::data::{Resource, Timestamp, counted, grouped};
use crate::sync::RunReport;
use crate::telemetry::is_on_terminal;

/// How often a line says that nothing changes.
const QUIET: Duration = Duration::from_hours(1);

/// The name of an account that has no name of its own.
const DEFAULT_NAME: &str = "default";

/// What was logged, and what was done since then.
#[derive(Debug)]
pub(super) struct Telling {
    account: String,
    /// Whether the first load was still going on after the last sync. `None` before the first sync.
    pub(super) was_loading: Option<bool>,
    /// When the last line was logged, by [`crate::clock::Clock::running`].
    told_after: Duration,
    /// Syncs and requests since then.
    syncs: u64,
    requests: u64,
}

/// What is known at the end of a sync.
#[derive(Debug)]
pub(super) struct Ended {
    /// How long it took.
    pub(super) took: Duration,
    /// Now, by [`crate::clock::Clock::running`].
    pub(super) running: Duration,
    /// The time until the next one, if it is known.
    pub(super) next: Option<Duration>,
    /// Whether the first load is going on.
    pub(super) is_loading: bool,
    /// How many records are stored, if the first load has just ended.
    pub(super) stored: Vec<(Resource, u64)>,
}

/// New, changed and rejected records of a resource.
#[derive(Debug, Default, Clone, Copy)]
struct Changes {
    new: u64,
    changed: u64,
    rejected: u64,
}

impl Telling {
    pub(super) fn new(account: &str) -> Self {
        let account = account.to_owned();
        Self {
            account,
            was_loading: None,
            told_after: Duration::ZERO,
            syncs: 0,
            requests: 0,
        }
    }

    /// Logs what a sync did, if that is worth a line.
    pub(super) fn tell(&mut self, runs: &[RunReport], ended: &Ended) {
        let requests = runs.iter().map(|run| run.counters.requests).sum::<u64>();
        self.syncs += 1;
        self.requests += requests;
        let was_loading = self.was_loading.replace(ended.is_loading);
        let changes = changes(runs);
        let is_first = was_loading.is_none();
        let has_loaded = !ended.is_loading && was_loading == Some(true);
        let failed = runs.iter().any(|run| !run.succeeded());
        let spent = spent(requests, ended.took);
        let mut text = if has_loaded {
            let stored = ended.stored.iter();
            let stored: Vec<String> = stored
                .map(|(resource, count)| format!("{resource} {}", grouped(*count)))
                .collect();
            format!("the first load is done; stored: {}", stored.join(", "))
        } else if ended.is_loading || failed && changes.is_empty() {
            // The load and the failure have lines of their own.
            return;
        } else if !changes.is_empty() {
            format!("{} {spent}", described(&changes))
        } else if is_first {
            format!("nothing changed since the last sync {spent}")
        } else if ended.running.saturating_sub(self.told_after) >= QUIET {
            let syncs = counted(self.syncs, "sync");
            format!(
                "up to date: nothing changed in the last {syncs} ({})",
                counted(self.requests, "request")
            )
        } else {
            return;
        };
        if is_first || has_loaded {
            text.push_str(&next(ended.next, is_on_terminal()));
        }
        let whose = if self.account == DEFAULT_NAME {
            String::new()
        } else {
            format!("{}: ", self.account)
        };
        let sum = |of: fn(&Changes) -> u64| changes.values().map(of).sum::<u64>();
        let lag = runs.iter().filter_map(|run| run.lag).max();
        info!(
            account = self.account,
            syncs = self.syncs,
            requests = self.requests,
            rows_inserted = sum(|of| of.new),
            rows_updated = sum(|of| of.changed),
            rows_rejected = sum(|of| of.rejected),
            duration_ms = u64::try_from(ended.took.as_millis()).unwrap_or(u64::MAX),
            lag_s = lag.map(|lag| lag.as_secs()),
            "{whose}{text}"
        );
        self.told_after = ended.running;
        self.syncs = 0;
        self.requests = 0;
    }
}

/// What passes changed, by resource. Loads have lines of their own.
fn changes(runs: &[RunReport]) -> BTreeMap<Resource, Changes> {
    let mut all: BTreeMap<Resource, Changes> = BTreeMap::new();
    for run in runs.iter().filter(|run| run.kind.is_pass()) {
        let counters = run.counters;
        let of = all.entry(run.stream.resource).or_default();
        of.new += counters.rows_inserted;
        of.changed += counters.rows_updated;
        of.rejected += counters.rows_rejected;
    }
    all.retain(|_, of| of.new + of.changed + of.rejected > 0);
    all
}

/// `sessions: 3 new, 2 changed; contacts: 1 new`.
fn described(changes: &BTreeMap<Resource, Changes>) -> String {
    let of = |(resource, changes): (&Resource, &Changes)| {
        let kinds = [
            (changes.new, "new"),
            (changes.changed, "changed"),
            (changes.rejected, "rejected"),
        ];
        let kinds: Vec<String> = kinds
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, kind)| format!("{} {kind}", grouped(count)))
            .collect();
        format!("{resource}: {}", kinds.join(", "))
    };
    let all: Vec<String> = changes.iter().map(of).collect();
    all.join("; ")
}

fn spent(requests: u64, took: Duration) -> String {
    let requests = counted(requests, "request");
    format!("({requests}, {:.1} s)", took.as_secs_f64())
}

/// When the next sync is and, for a person at a terminal, how to stop.
fn next(next: Option<Duration>, is_on_terminal: bool) -> String {
    let mut text = next.map_or_else(String::new, |left| {
        let left = humantime::format_duration(Duration::from_secs(left.as_secs().max(1)));
        format!("; next sync in {left}")
    });
    if is_on_terminal {
        text.push_str("; Ctrl-C stops");
    }
    text
}

/// The time from now until an instant.
pub(super) fn until(next: Option<Timestamp>, now: Timestamp) -> Option<Duration> {
    next.map(|at| at.since(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_terminal_is_told_how_to_stop() {
        let soon = Some(Duration::from_mins(1));
        assert_eq!(next(soon, true), "; next sync in 1m; Ctrl-C stops");
        assert_eq!(next(soon, false), "; next sync in 1m");
        assert_eq!(next(None, false), "");
    }
}
