//! The metrics of the process: their names, their meaning, and the handle through which they are
//! recorded.
//!
//! Owns every name ([`METRICS`]), the recorder, which keeps what was recorded ([`Recorder`]), and what is
//! measured anew for each answer ([`Samples`]). Where no recorder is installed, recording does nothing. Labels have few values: accounts, resources, kinds, outcomes. Must not know who reads the
//! metrics.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ::metrics::{
    SharedString, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::data::{Counters, Resource, RunKind, RunOutcome};
use crate::health::Pulse;

/// What a metric counts or measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows while the process runs.
    Counter,
    /// It goes up and down.
    Gauge,
    /// It counts values by size.
    Histogram,
}

impl Kind {
    /// As Prometheus calls it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its name, with its unit.
    pub name: &'static str,
    /// What it counts or measures.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// Its meaning.
    pub meaning: &'static str,
}

const fn metric(
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    meaning: &'static str,
) -> Metric {
    Metric {
        name,
        kind,
        labels,
        meaning,
    }
}

/// Version and database of this process.
pub const BUILD_INFO: &str = "helena_sync_build_info";
/// Whether the database answers.
pub const DATABASE_UP: &str = "helena_sync_database_up";
/// Whether the tables are being migrated.
pub const MIGRATING: &str = "helena_sync_migrating";
/// How far a stream is behind.
pub const LAG: &str = "helena_sync_lag_seconds";
/// How long ago a stream was due.
pub const OVERDUE: &str = "helena_sync_overdue_seconds";
/// The watermark of a stream.
pub const WATERMARK: &str = "helena_sync_watermark_timestamp_seconds";
/// When a stream was last read completely.
pub const LAST_SUCCESS: &str = "helena_sync_last_success_timestamp_seconds";
/// Whether the last attempt failed.
pub const FAILING: &str = "helena_sync_failing";
/// Whether the platform refuses the token for a stream alone.
pub const STREAM_REFUSED: &str = "helena_sync_refused";
/// Windows of loads that are still to be read.
pub const WINDOWS_LEFT: &str = "helena_sync_load_windows_left";
/// Passes by outcome.
pub const PASSES: &str = "helena_sync_passes_total";
/// How long passes take.
pub const PASS_SECONDS: &str = "helena_sync_pass_duration_seconds";
/// Runs by kind and outcome.
pub const RUNS: &str = "helena_sync_runs_total";
/// Records by resource and outcome.
pub const ROWS: &str = "helena_sync_rows_total";
/// Requests by resource and status.
pub const REQUESTS: &str = "helena_sync_requests_total";
/// How long requests take.
pub const REQUEST_SECONDS: &str = "helena_sync_request_duration_seconds";
/// Retries.
pub const RETRIES: &str = "helena_sync_request_retries_total";
/// Answers with 429.
pub const RATE_LIMITED: &str = "helena_sync_rate_limited_total";
/// How long requests wait before they are sent.
pub const WAIT_SECONDS: &str = "helena_sync_request_wait_seconds";
/// Requests that are allowed in a window.
pub const BUDGET: &str = "helena_sync_request_budget";
/// Requests of the window that are left.
pub const BUDGET_LEFT: &str = "helena_sync_request_budget_left";
/// Whether the platform does not answer.
pub const OUTAGE: &str = "helena_sync_platform_outage";
/// Whether the platform refuses the token.
pub const TOKEN_REFUSED: &str = "helena_sync_token_refused";
/// How long transactions take.
pub const COMMIT_SECONDS: &str = "helena_sync_commit_duration_seconds";
/// How many records a transaction stores.
pub const COMMIT_ROWS: &str = "helena_sync_commit_rows";
/// Triggers that were skipped.
pub const SKIPPED: &str = "helena_sync_triggers_skipped_total";
/// Calls of the platform.
pub const RINGS: &str = "helena_sync_rings_total";
/// Calls of others.
pub const STRANGERS: &str = "helena_sync_doorbell_strangers_total";
/// How long after a call the change is stored.
pub const RING_SECONDS: &str = "helena_sync_ring_duration_seconds";
/// When the platform last called.
pub const LAST_RING: &str = "helena_sync_last_ring_timestamp_seconds";
/// Whether the platform is to call.
pub const SUBSCRIBED: &str = "helena_sync_doorbell_subscribed";
/// Rejects that are not resolved.
pub const REJECTS: &str = "helena_sync_rejects_open";
/// Records that the platform counts but does not show.
pub const GAPS: &str = "helena_sync_gaps_open";
/// Records that are to be read by id.
pub const RECHECKS: &str = "helena_sync_rechecks_waiting";
/// Differences that verifications found.
pub const DIFFERENCES: &str = "helena_sync_verify_differences_total";
/// When the last verification ended.
pub const LAST_VERIFY: &str = "helena_sync_last_verify_timestamp_seconds";
/// How long ago a verification was due.
pub const VERIFY_OVERDUE: &str = "helena_sync_verify_overdue_seconds";
/// Whether this process holds the lease.
pub const LEASE_HELD: &str = "helena_sync_lease_held";
/// Whether any process holds the lease.
pub const LEASE_VALID: &str = "helena_sync_lease_valid";
/// Alerts that are open now.
pub const ALERTS_OPEN: &str = "helena_sync_alerts_open";
/// Messages of alerts.
pub const ALERT_MESSAGES: &str = "helena_sync_alert_messages_total";
/// Messages of alerts that wait.
pub const ALERTS_UNSENT: &str = "helena_sync_alert_messages_unsent";
/// The size of the log of a SQLite database.
pub const WAL_BYTES: &str = "helena_sync_sqlite_wal_bytes";
/// Free space where a SQLite database is.
pub const DISK_FREE: &str = "helena_sync_disk_free_bytes";
/// Space where a SQLite database is.
pub const DISK_SIZE: &str = "helena_sync_disk_size_bytes";
/// Tasks that are stuck.
pub const STUCK: &str = "helena_sync_stuck_tasks";
/// Memory of the process.
pub const MEMORY: &str = "process_resident_memory_bytes";
/// Open files of the process.
pub const OPEN_FILES: &str = "process_open_fds";

const STREAM: &[&str] = &["account", "stream"];
const ACCOUNT: &[&str] = &["account"];

/// All metrics.
pub const METRICS: &[Metric] = &[
    metric(
        BUILD_INFO,
        Kind::Gauge,
        &["database", "version"],
        "Always 1; the labels are the version and the kind of database.",
    ),
    metric(
        DATABASE_UP,
        Kind::Gauge,
        &[],
        "1 if the database answered when the metrics were read, else 0.",
    ),
    metric(
        MIGRATING,
        Kind::Gauge,
        &[],
        "1 while this process migrates the tables, else 0. It does not read the database meanwhile.",
    ),
    metric(
        LAG,
        Kind::Gauge,
        STREAM,
        "How far the mirror is behind the platform: seconds since the beginning of the last pass over the stream that was read to its end.",
    ),
    metric(
        OVERDUE,
        Kind::Gauge,
        STREAM,
        "Seconds since the stream should have been read again by its schedule, or since the process began if it was never read; 0 if it is not due.",
    ),
    metric(
        WATERMARK,
        Kind::Gauge,
        STREAM,
        "The updatedAt up to which the stream is complete, as a Unix time.",
    ),
    metric(
        LAST_SUCCESS,
        Kind::Gauge,
        STREAM,
        "When the stream was last read completely, as a Unix time.",
    ),
    metric(
        FAILING,
        Kind::Gauge,
        STREAM,
        "1 if the last attempt to read the stream failed, else 0.",
    ),
    metric(
        STREAM_REFUSED,
        Kind::Gauge,
        STREAM,
        "1 if the platform refuses the token for the resource of the stream, and not for the others, else 0. Readiness leaves such a stream out.",
    ),
    metric(
        WINDOWS_LEFT,
        Kind::Gauge,
        &["account", "resource"],
        "Windows of unfinished loads and backfills that are still to be read.",
    ),
    metric(
        PASSES,
        Kind::Counter,
        &["account", "outcome"],
        "Passes by outcome: succeeded, failed or stopped.",
    ),
    metric(
        PASS_SECONDS,
        Kind::Histogram,
        ACCOUNT,
        "How long passes took, first loads included.",
    ),
    metric(
        RUNS,
        Kind::Counter,
        &["account", "kind", "outcome"],
        "Runs as in the table sync_runs, by kind and outcome.",
    ),
    metric(
        ROWS,
        Kind::Counter,
        &["account", "outcome", "resource"],
        "Records by what became of them: inserted, updated, unchanged or rejected.",
    ),
    metric(
        REQUESTS,
        Kind::Counter,
        &["account", "resource", "status"],
        "Requests to the platform by HTTP status; the status none means that no answer came.",
    ),
    metric(
        REQUEST_SECONDS,
        Kind::Histogram,
        ACCOUNT,
        "How long requests took, from sending to the last byte of the answer.",
    ),
    metric(
        RETRIES,
        Kind::Counter,
        ACCOUNT,
        "Requests that were sent again after a failure.",
    ),
    metric(
        RATE_LIMITED,
        Kind::Counter,
        ACCOUNT,
        "Answers with status 429 (too many requests).",
    ),
    metric(
        WAIT_SECONDS,
        Kind::Histogram,
        &["account", "reason"],
        "How long requests waited: for the rate limits (limit) or before a retry (retry).",
    ),
    metric(
        BUDGET,
        Kind::Gauge,
        &["account", "window"],
        "Requests that this process may send in each window of the platform's rate limits: sustained or burst.",
    ),
    metric(
        BUDGET_LEFT,
        Kind::Gauge,
        &["account", "window"],
        "Requests of the budget that are left now.",
    ),
    metric(
        OUTAGE,
        Kind::Gauge,
        ACCOUNT,
        "1 if the platform does not answer, else 0.",
    ),
    metric(
        TOKEN_REFUSED,
        Kind::Gauge,
        ACCOUNT,
        "1 if the platform refused the token for every resource at the last sync of this process, else 0. Absent before its first sync.",
    ),
    metric(
        COMMIT_SECONDS,
        Kind::Histogram,
        ACCOUNT,
        "How long the transactions took that store records.",
    ),
    metric(
        COMMIT_ROWS,
        Kind::Histogram,
        ACCOUNT,
        "How many records a transaction stored.",
    ),
    metric(
        SKIPPED,
        Kind::Counter,
        ACCOUNT,
        "Triggers of schedules that were skipped because an earlier one still waited.",
    ),
    metric(
        RINGS,
        Kind::Counter,
        &["account", "resource"],
        "Calls of the platform at the doorbell, by what they concern; unknown if the event is unknown. Only with a doorbell.",
    ),
    metric(
        STRANGERS,
        Kind::Counter,
        &[],
        "Requests to the doorbell that were answered with 404, since their path is not secret. Only with a doorbell.",
    ),
    metric(
        RING_SECONDS,
        Kind::Histogram,
        ACCOUNT,
        "How long it took from a call of the platform until the changed record was stored. Only with a doorbell.",
    ),
    metric(
        LAST_RING,
        Kind::Gauge,
        ACCOUNT,
        "When the platform last called at the doorbell, as a Unix time. Only with a doorbell.",
    ),
    metric(
        SUBSCRIBED,
        Kind::Gauge,
        ACCOUNT,
        "1 if the platform has an enabled subscription that calls the doorbell, else 0. Only with a doorbell.",
    ),
    metric(
        REJECTS,
        Kind::Gauge,
        &["account", "resource"],
        "Rejects that are not resolved.",
    ),
    metric(
        GAPS,
        Kind::Gauge,
        STREAM,
        "Gaps: windows in which the platform counts records that it does not show.",
    ),
    metric(
        RECHECKS,
        Kind::Gauge,
        ACCOUNT,
        "Records that are still to be read by id.",
    ),
    metric(
        DIFFERENCES,
        Kind::Counter,
        ACCOUNT,
        "Differences that all verifications found. It should not grow.",
    ),
    metric(
        LAST_VERIFY,
        Kind::Gauge,
        ACCOUNT,
        "When the stream or list was last verified whose last verification is the oldest, as a Unix time.",
    ),
    metric(
        VERIFY_OVERDUE,
        Kind::Gauge,
        ACCOUNT,
        "Seconds since verify.schedule was due after the oldest of the last verifications of all streams and lists; 0 if it is not due. One that was never verified counts from its first load, or from its first reading. What the platform refuses does not count. Absent if verify.schedule is off.",
    ),
    metric(
        LEASE_HELD,
        Kind::Gauge,
        ACCOUNT,
        "1 if this process holds the lease of the account, else 0.",
    ),
    metric(
        LEASE_VALID,
        Kind::Gauge,
        ACCOUNT,
        "1 if any process holds the lease of the account, else 0.",
    ),
    metric(
        ALERTS_OPEN,
        Kind::Gauge,
        &["account", "kind"],
        "1 if an alert of this kind has begun and not ended, else 0. The account is empty for the disk. An alert about the database is not counted: see helena_sync_database_up.",
    ),
    metric(
        ALERT_MESSAGES,
        Kind::Counter,
        &["channel", "outcome"],
        "Messages of alerts that this process tried to send, by webhook or command: sent, or failed and tried again.",
    ),
    metric(
        ALERTS_UNSENT,
        Kind::Gauge,
        &["channel"],
        "Messages of alerts that are still to be sent, by webhook or command, and were created or tried within two hours. The processes of a database share them.",
    ),
    metric(
        WAL_BYTES,
        Kind::Gauge,
        &[],
        "Size of the log of the SQLite database. Absent on Postgres.",
    ),
    metric(
        DISK_FREE,
        Kind::Gauge,
        &[],
        "Free bytes on the file system of the SQLite database. Absent on Postgres.",
    ),
    metric(
        DISK_SIZE,
        Kind::Gauge,
        &[],
        "Size of the file system of the SQLite database. Absent on Postgres.",
    ),
    metric(
        STUCK,
        Kind::Gauge,
        &[],
        "Tasks of the process that make no progress.",
    ),
    metric(
        MEMORY,
        Kind::Gauge,
        &[],
        "Resident memory of the process. Linux only.",
    ),
    metric(
        OPEN_FILES,
        Kind::Gauge,
        &[],
        "Open file descriptors of the process. Linux only.",
    ),
];

/// The table of all metrics in Markdown. `docs/monitoring.md` contains it word for word.
pub fn markdown() -> String {
    let mut text = String::from("| metric | type | labels | meaning |\n|---|---|---|---|\n");
    for metric in METRICS {
        let labels: Vec<String> = metric.labels.iter().map(|it| format!("`{it}`")).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} |",
            metric.name,
            metric.kind.as_str(),
            labels.join(", "),
            metric.meaning
        );
    }
    text
}

/// Upper ends of the classes of durations, in seconds.
const SECONDS: &[f64] = &[
    0.005, 0.02, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 1_800.0,
];

/// The same of numbers of records.
const COUNTS: &[f64] = &[0.0, 1.0, 10.0, 50.0, 100.0, 250.0, 500.0, 1_000.0];

/// The recorder of the process. Its text is what Prometheus reads.
#[derive(Clone)]
pub struct Recorder(PrometheusHandle);

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").finish_non_exhaustive()
    }
}

impl Recorder {
    /// The recorder of the process, which the first call installs. `None` if the process has another
    /// one.
    pub fn of_process() -> Option<Self> {
        static RECORDER: OnceLock<Option<Recorder>> = OnceLock::new();
        RECORDER.get_or_init(Self::install).clone()
    }

    fn install() -> Option<Self> {
        let counts = Matcher::Full(COMMIT_ROWS.to_owned());
        let recorder = PrometheusBuilder::new()
            .set_buckets(SECONDS)
            .and_then(|builder| builder.set_buckets_for_metric(counts, COUNTS))
            .ok()?
            .build_recorder();
        let handle = recorder.handle();
        ::metrics::set_global_recorder(recorder).ok()?;
        for metric in METRICS {
            match metric.kind {
                Kind::Counter => describe_counter!(metric.name, Unit::Count, metric.meaning),
                Kind::Gauge => describe_gauge!(metric.name, metric.meaning),
                Kind::Histogram => describe_histogram!(metric.name, metric.meaning),
            }
        }
        Some(Self(handle))
    }

    /// Sums up what was recorded since the last call. Without it, every record is kept until somebody reads
    /// the metrics.
    pub fn tidy(&self) {
        self.0.run_upkeep();
    }

    /// All metrics in Prometheus' text format.
    pub fn text(&self) -> String {
        self.tidy();
        self.0.render()
    }
}

/// Labels with their values.
type Labels = Vec<(&'static str, String)>;

/// Values that are measured when somebody reads the metrics. What could not be measured is not among them.
#[derive(Debug, Clone, Default)]
pub struct Samples(BTreeMap<&'static str, BTreeMap<Labels, f64>>);

impl Samples {
    /// Adds a value. It takes the place of an earlier one with the same labels.
    pub fn set(&mut self, name: &'static str, labels: &[(&'static str, &str)], value: f64) {
        let labels = labels.iter();
        let labels: Labels = labels
            .map(|&(label, text)| (label, text.to_owned()))
            .collect();
        self.0.entry(name).or_default().insert(labels, value);
    }

    /// Adds the values of others.
    pub fn extend(&mut self, others: Self) {
        for (name, values) in others.0 {
            self.0.entry(name).or_default().extend(values);
        }
    }

    /// All values in Prometheus' text format.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for metric in METRICS {
            let Some(values) = self.0.get(metric.name) else {
                continue;
            };
            let (name, kind) = (metric.name, metric.kind.as_str());
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "# HELP {name} {}\n# TYPE {name} {kind}",
                metric.meaning
            );
            for (labels, value) in values {
                let labels: Vec<String> = labels
                    .iter()
                    .map(|(label, text)| format!("{label}=\"{}\"", escaped(text)))
                    .collect();
                let _ = if labels.is_empty() {
                    writeln!(text, "{name} {value}")
                } else {
                    writeln!(text, "{name}{{{}}} {value}", labels.join(","))
                };
            }
            text.push('\n');
        }
        text
    }
}

/// The value of a label, as the text format has it.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

/// The tables are being migrated, or not any more.
pub fn migrating(is_so: bool) {
    gauge!(MIGRATING).set(f64::from(u8::from(is_so)));
}

/// A message of alerts was sent this way, or could not be sent.
pub fn alert_message(channel: &'static str, is_sent: bool) {
    let outcome = if is_sent { "sent" } else { "failed" };
    counter!(ALERT_MESSAGES, "channel" => channel, "outcome" => outcome).increment(1);
}

/// Makes the counters of messages known that go this way.
pub fn begin_alert_messages(channel: &'static str) {
    for outcome in ["sent", "failed"] {
        counter!(ALERT_MESSAGES, "channel" => channel, "outcome" => outcome).increment(0);
    }
}

/// Somebody called at the doorbell who does not know its address.
pub fn stranger() {
    counter!(STRANGERS).increment(1);
}

/// Why a request waits before it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// For the rate limits.
    Limit,
    /// Before a retry.
    Retry,
}

/// Records what the tasks of an account do. Whatever is recorded is a sign of life of the account's
/// task. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Meter {
    account: SharedString,
    pulse: Pulse,
    /// Whether the platform refuses the token: one of [`UNKNOWN`], [`ACCEPTED`] and [`REFUSED`].
    token: Arc<AtomicU8>,
}

const UNKNOWN: u8 = 0;
const ACCEPTED: u8 = 1;
const REFUSED: u8 = 2;

impl Meter {
    /// For the account of this name.
    pub fn new(account: &str) -> Self {
        Self {
            account: SharedString::from(account.to_owned()),
            pulse: Pulse::default(),
            token: Arc::new(AtomicU8::new(UNKNOWN)),
        }
    }

    /// The platform refuses the account's token for everything, or accepts it.
    pub fn token(&self, is_refused: bool) {
        let state = if is_refused { REFUSED } else { ACCEPTED };
        self.token.store(state, Ordering::Relaxed);
        let refused = f64::from(u8::from(is_refused));
        gauge!(TOKEN_REFUSED, "account" => self.account()).set(refused);
    }

    /// Whether the platform refused the account's token for everything at the last sync. `None` if there
    /// was none.
    pub fn token_refused(&self) -> Option<bool> {
        match self.token.load(Ordering::Relaxed) {
            UNKNOWN => None,
            state => Some(state == REFUSED),
        }
    }

    /// The signs of life.
    pub fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    fn account(&self) -> SharedString {
        self.account.clone()
    }

    /// A request ended with this HTTP status; `None` if no answer came.
    pub fn request(&self, resource: &'static str, status: Option<u16>, took: Duration) {
        self.pulse.beat();
        let text = status.map_or_else(
            || SharedString::const_str("none"),
            |status| SharedString::from(status.to_string()),
        );
        counter!(REQUESTS, "account" => self.account(), "resource" => resource, "status" => text)
            .increment(1);
        histogram!(REQUEST_SECONDS, "account" => self.account()).record(took.as_secs_f64());
        if status == Some(429) {
            counter!(RATE_LIMITED, "account" => self.account()).increment(1);
        }
    }

    /// A request is sent again.
    pub fn retried(&self) {
        counter!(RETRIES, "account" => self.account()).increment(1);
    }

    /// A request waited.
    pub fn waited(&self, reason: Reason, took: Duration) {
        let reason = match reason {
            Reason::Limit => "limit",
            Reason::Retry => "retry",
        };
        histogram!(WAIT_SECONDS, "account" => self.account(), "reason" => reason)
            .record(took.as_secs_f64());
    }

    /// A transaction stored records.
    pub fn committed(&self, took: Duration, rows: u64) {
        self.pulse.beat();
        histogram!(COMMIT_SECONDS, "account" => self.account()).record(took.as_secs_f64());
        // So few records of a transaction are exact in a float.
        let rows = f64::from(u32::try_from(rows).unwrap_or(u32::MAX));
        histogram!(COMMIT_ROWS, "account" => self.account()).record(rows);
    }

    /// A run ended.
    pub fn ran(&self, kind: RunKind, resource: Resource, outcome: RunOutcome, counters: &Counters) {
        self.pulse.beat();
        counter!(
            RUNS,
            "account" => self.account(), "kind" => kind.as_str(), "outcome" => outcome.as_str()
        )
        .increment(1);
        for (outcome, rows) in [
            ("inserted", counters.rows_inserted),
            ("updated", counters.rows_updated),
            ("unchanged", counters.rows_unchanged),
            ("rejected", counters.rows_rejected),
        ] {
            counter!(
                ROWS,
                "account" => self.account(), "outcome" => outcome, "resource" => resource.name()
            )
            .increment(rows);
        }
    }

    /// A pass ended.
    pub fn passed(&self, outcome: RunOutcome, took: Duration) {
        self.pulse.beat();
        counter!(PASSES, "account" => self.account(), "outcome" => outcome.as_str()).increment(1);
        histogram!(PASS_SECONDS, "account" => self.account()).record(took.as_secs_f64());
    }

    /// Triggers were skipped.
    pub fn skipped(&self, triggers: u64) {
        counter!(SKIPPED, "account" => self.account()).increment(triggers);
    }

    /// Makes the counters known that may stay 0 for long, so that their growth can be seen.
    pub fn begin(&self) {
        self.retries_and_limits();
        self.skipped(0);
        for outcome in [
            RunOutcome::Succeeded,
            RunOutcome::Failed,
            RunOutcome::Stopped,
        ] {
            counter!(PASSES, "account" => self.account(), "outcome" => outcome.as_str())
                .increment(0);
        }
    }

    /// Makes the counters of the doorbell known.
    pub fn begin_rings(&self) {
        counter!(STRANGERS).increment(0);
        for resource in [Some(Resource::Sessions), Some(Resource::Contacts), None] {
            self.count_rings(resource, 0);
        }
    }

    /// The platform called about this resource; `None` if the event is unknown.
    pub fn rang(&self, resource: Option<Resource>) {
        self.count_rings(resource, 1);
    }

    fn count_rings(&self, resource: Option<Resource>, count: u64) {
        let resource = resource.map_or("unknown", Resource::name);
        counter!(RINGS, "account" => self.account(), "resource" => resource).increment(count);
    }

    /// The change that the platform called about is stored.
    pub fn followed(&self, took: Duration) {
        histogram!(RING_SECONDS, "account" => self.account()).record(took.as_secs_f64());
    }

    fn retries_and_limits(&self) {
        for name in [RETRIES, RATE_LIMITED] {
            counter!(name, "account" => self.account()).increment(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_written_as_prometheus_reads_them() {
        let mut samples = Samples::default();
        samples.set(
            REJECTS,
            &[("account", "a\\b\"c\nd"), ("resource", "tags")],
            2.0,
        );
        samples.set(DATABASE_UP, &[], 0.0);
        let mut others = Samples::default();
        others.set(DATABASE_UP, &[], 1.0);
        others.set(
            LAG,
            &[("account", "north"), ("stream", "contacts (ACTIVE)")],
            0.25,
        );
        samples.extend(others);
        let text = samples.text();
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| !line.starts_with("# HELP"))
            .collect();
        assert_eq!(
            lines,
            [
                "# TYPE helena_sync_database_up gauge",
                "helena_sync_database_up 1",
                "",
                "# TYPE helena_sync_lag_seconds gauge",
                "helena_sync_lag_seconds{account=\"north\",stream=\"contacts (ACTIVE)\"} 0.25",
                "",
                "# TYPE helena_sync_rejects_open gauge",
                "helena_sync_rejects_open{account=\"a\\\\b\\\"c\\nd\",resource=\"tags\"} 2",
                "",
            ]
        );
    }

    #[test]
    fn the_table_has_a_row_for_every_metric_and_no_name_twice() {
        let text = markdown();
        assert_eq!(text.lines().count(), 2 + METRICS.len());
        let mut names: Vec<&str> = METRICS.iter().map(|metric| metric.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), METRICS.len());
        for metric in METRICS {
            let is_total = metric.name.ends_with("_total");
            assert_eq!(metric.kind == Kind::Counter, is_total, "{}", metric.name);
        }
    }
}
