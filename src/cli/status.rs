//! `status`: how fresh and complete the mirror is.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::record::number;
use super::{Access, Context, Exit, Failure, duration, meaning, stored};
use crate::config::Zone;
use crate::data::{Resource, SessionFilter, Timestamp};
use crate::report::{Format, Printer, terminal_width};
use crate::store::{Account, Backfill, LEASE_TTL, RunRecord, Store, StreamStatus, TableCount};

/// Show how fresh and complete the mirror is.
///
/// For each account: rows and watermark of every resource and when it was last read, unfinished
/// backfills, when it was last verified and how many differences that ever found, records that could
/// not be read, fields of the platform that are not modelled (kept in
/// the column extra), the last runs, and who writes now. Reads the database only.
///
/// With --max-lag alone, only what is too old is printed and nothing is counted, so that a health
/// check costs nothing. It is about the accounts of the configuration: one that was taken out of it
/// is shown, and cannot be too old.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  helena-sync status
  helena-sync status --json
  helena-sync status --max-lag 10m || echo stale", args = meaning::hidden(meaning::STORED))]
pub struct StatusArgs {
    /// Print JSON instead of tables
    #[arg(long)]
    pub json: bool,
    /// Exit with 1 if a resource was last read longer ago than this (30s, 10m, 2h), or never; for
    /// health checks. Tags, channels, departments and agents, which are read less often, have
    /// sync.catalog_interval on top [default: no limit]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub max_lag: Option<Duration>,
}

/// How many of the last runs are shown.
const RUNS: u32 = 10;

/// An account, as printed.
#[derive(Debug, Serialize)]
struct AccountStatus {
    account: String,
    /// Whether the configuration names it; `None` if it names none.
    configured: Option<bool>,
    base_url: String,
    company_id: Option<Uuid>,
    writer: Option<Writer>,
    /// Of the resources that are mirrored, those that failed when they were last tried.
    failing: Vec<String>,
    resources: Vec<ResourceStatus>,
    backfills: Vec<BackfillStatus>,
    /// Unresolved ones, by resource.
    rejects: BTreeMap<String, u64>,
    /// Fields that are not modelled, by resource.
    extra_fields: BTreeMap<&'static str, Vec<String>>,
    /// `None` if it was never verified.
    verified: Option<VerifiedStatus>,
    runs: Vec<RunStatus>,
    stale: Vec<String>,
}

#[derive(Debug, Serialize)]
struct VerifiedStatus {
    at: Timestamp,
    /// Of all verifications ever made; should stay 0.
    differences: u64,
}

#[derive(Debug, Serialize)]
struct Writer {
    holder: String,
    since: Timestamp,
    renewed_at: Timestamp,
}

#[derive(Debug, Serialize)]
struct ResourceStatus {
    resource: &'static str,
    rows: u64,
    removed: u64,
    streams: Vec<StreamLine>,
}

#[derive(Debug, Serialize)]
struct StreamLine {
    status: String,
    watermark: Option<Timestamp>,
    last_success_at: Option<Timestamp>,
    /// Seconds since the last success.
    lag_seconds: Option<u64>,
    last_error: Option<String>,
    last_error_at: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
struct BackfillStatus {
    id: i64,
    resource: &'static str,
    first_load: bool,
    after: Option<Timestamp>,
    before: Option<Timestamp>,
    created_at: Timestamp,
    windows_done: u64,
    windows_left: u64,
    /// Of the windows that are done.
    rows_done: u64,
    /// One a question; an empty one lets everything through.
    filters: Vec<SessionFilter>,
}

#[derive(Debug, Serialize)]
struct RunStatus {
    id: i64,
    kind: String,
    resource: String,
    started_at: Timestamp,
    finished_at: Option<Timestamp>,
    outcome: Option<String>,
    requests: u64,
    rows_read: u64,
    rows_inserted: u64,
    rows_updated: u64,
    rows_unchanged: u64,
    rows_rejected: u64,
    error: Option<String>,
}

/// Prints the status.
pub(super) async fn run(context: &Context, args: StatusArgs) -> Result<Exit, Failure> {
    let zone = context.zone()?;
    let sync = context.settings.sync()?;
    let now = context.clock.now();
    let store = context.store(Access::Read).await?;
    let accounts = stored::accounts(context, &store).await?;
    let configured = context.settings.account_names()?;
    let concerned = stored::concerned(context)?;
    let whole = args.json || args.max_lag.is_none();
    let mut shown = Vec::new();
    let mut stale = Vec::new();
    for account in &accounts {
        let streams = store.stream_statuses(account.id).await?;
        let concerns = concerned.is_empty() || concerned.contains(&account.name);
        let old = args
            .max_lag
            .filter(|_| concerns)
            .map_or_else(Vec::new, |max_lag| {
                too_old(
                    &streams,
                    &sync.resources,
                    now,
                    max_lag,
                    sync.catalog_interval,
                )
            });
        stale.extend(old.iter().map(|text| format!("{}: {text}", account.name)));
        if whole {
            let mut status = gather(&store, account, streams, &sync.resources, now, old).await?;
            status.configured =
                (!configured.is_empty()).then(|| configured.contains(&account.name));
            shown.push(status);
        }
    }
    store.close().await;
    if accounts.is_empty() {
        stale.push("nothing was ever synced into this database".to_owned());
    } else {
        let stored = |name: &&String| accounts.iter().any(|account| account.name == **name);
        let missing = concerned.iter().filter(|name| !stored(name));
        stale.extend(missing.map(|name| format!("{name}: nothing was ever synced")));
    }
    if args.json {
        let mut out = io::stdout().lock();
        serde_json::to_writer_pretty(&mut out, &shown).map_err(io::Error::from)?;
        writeln!(out)?;
    } else if whole {
        if accounts.is_empty() {
            context.note("nothing was ever synced into this database");
        }
        for account in &shown {
            print(account, zone, now)?;
        }
    }
    if args.max_lag.is_none() {
        return Ok(Exit::Done);
    }
    if stale.is_empty() {
        context.note("fresh");
        return Ok(Exit::Done);
    }
    for text in &stale {
        context.note(text);
    }
    Ok(Exit::Failed)
}

/// Which of the resources that should be mirrored were last read too long ago.
fn too_old(
    statuses: &[StreamStatus],
    resources: &[Resource],
    now: Timestamp,
    max_lag: Duration,
    catalog_interval: Duration,
) -> Vec<String> {
    let mut old = Vec::new();
    for resource in resources {
        let streams = resource.streams();
        let names: Vec<(String, &str)> = if streams.is_empty() {
            vec![(resource.to_string(), "")]
        } else {
            streams
                .iter()
                .map(|stream| (stream.to_string(), stream.partition))
                .collect()
        };
        let most = if resource.is_list() {
            max_lag + catalog_interval
        } else {
            max_lag
        };
        for (shown, partition) in names {
            let last = statuses
                .iter()
                .find(|s| s.resource == resource.name() && s.partition == partition)
                .and_then(|status| status.last_success_at);
            match last {
                None => old.push(format!("{shown} was never read to its end")),
                Some(at) if now.since(at) > most => {
                    let ago = ago(now.since(at));
                    old.push(format!("{shown} was last read {ago} ago"));
                }
                Some(_) => {}
            }
        }
    }
    old
}

fn ago(duration: Duration) -> String {
    humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string()
}

/// Which of the resources that should be mirrored failed when they were last tried.
fn failing(statuses: &[StreamStatus], resources: &[Resource]) -> Vec<String> {
    let mirrored =
        |status: &&StreamStatus| resources.iter().any(|one| one.name() == status.resource);
    statuses
        .iter()
        .filter(mirrored)
        .filter(|status| status.last_error_at.is_some())
        .map(|status| stream_name(&status.resource, &status.partition))
        .collect()
}

/// `tags`, `contacts (ACTIVE)`.
fn stream_name(resource: &str, partition: &str) -> String {
    if partition.is_empty() {
        resource.to_owned()
    } else {
        format!("{resource} ({partition})")
    }
}

async fn gather(
    store: &Store,
    account: &Account,
    streams: Vec<StreamStatus>,
    mirrored: &[Resource],
    now: Timestamp,
    stale: Vec<String>,
) -> Result<AccountStatus, Failure> {
    let counts = store.table_counts(account.id).await?;
    let writer = store
        .lease_status(account.id)
        .await?
        .filter(|lease| now.since(lease.renewed_at) <= LEASE_TTL)
        .map(|lease| Writer {
            holder: lease.by,
            since: lease.since,
            renewed_at: lease.renewed_at,
        });
    Ok(AccountStatus {
        account: account.name.clone(),
        configured: None,
        base_url: account.base_url.clone(),
        company_id: account.company,
        writer,
        failing: failing(&streams, mirrored),
        resources: counts
            .iter()
            .map(|count| resource_status(count, &streams, now))
            .collect(),
        backfills: store
            .unfinished_backfills(account.id)
            .await?
            .iter()
            .map(backfill_status)
            .collect(),
        rejects: store.reject_counts(account.id).await?,
        extra_fields: store
            .extra_keys(account.id)
            .await?
            .into_iter()
            .map(|extra| (extra.resource.name(), extra.keys))
            .collect(),
        verified: store
            .verified(account.id)
            .await?
            .map(|(at, differences)| VerifiedStatus { at, differences }),
        runs: store
            .last_runs(account.id, RUNS)
            .await?
            .into_iter()
            .map(run_status)
            .collect(),
        stale,
    })
}

fn resource_status(count: &TableCount, streams: &[StreamStatus], now: Timestamp) -> ResourceStatus {
    ResourceStatus {
        resource: count.resource.name(),
        rows: count.rows,
        removed: count.removed,
        streams: streams
            .iter()
            .filter(|stream| stream.resource == count.resource.name())
            .map(|stream| StreamLine {
                status: stream.partition.clone(),
                watermark: stream.watermark,
                last_success_at: stream.last_success_at,
                lag_seconds: stream.last_success_at.map(|at| now.since(at).as_secs()),
                last_error: stream.last_error.clone(),
                last_error_at: stream.last_error_at,
            })
            .collect(),
    }
}

fn backfill_status(backfill: &Backfill) -> BackfillStatus {
    BackfillStatus {
        id: backfill.id,
        resource: backfill.resource.name(),
        first_load: backfill.first_load,
        after: backfill.range.after,
        before: backfill.range.before,
        created_at: backfill.created_at,
        windows_done: backfill.windows_done,
        windows_left: backfill.windows_left,
        rows_done: backfill.rows_done,
        filters: backfill.filters.clone(),
    }
}

/// Which part of its resource a backfill reads: its range and its filters.
fn which(backfill: &BackfillStatus, zone: Zone) -> String {
    let mut text = String::new();
    for (word, at) in [("from", backfill.after), ("up to", backfill.before)] {
        if let Some(at) = at {
            // Writing to a String cannot fail.
            let _ = write!(text, " {word} {}", zone.show_seconds(at));
        }
    }
    let filters: Vec<String> = backfill
        .filters
        .iter()
        .filter(|filter| !filter.is_empty())
        .map(filter_text)
        .collect();
    if !filters.is_empty() {
        let _ = write!(text, " with {}", filters.join(", or "));
    }
    text
}

/// `status PENDING or STARTED and user 0123…`, by the ids that the platform was asked for.
fn filter_text(filter: &SessionFilter) -> String {
    let Ok(Value::Object(fields)) = serde_json::to_value(filter) else {
        return String::new();
    };
    let word = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    let parts: Vec<String> = fields
        .iter()
        .map(|(name, value)| match value {
            Value::Array(values) => {
                let values: Vec<String> = values.iter().map(word).collect();
                format!("{name} {}", values.join(" or "))
            }
            Value::Object(ends) => {
                let ends: Vec<String> = ends
                    .iter()
                    .map(|(end, at)| format!("{name} {end} {}", word(at)))
                    .collect();
                ends.join(" and ")
            }
            other => format!("{name} {}", word(other)),
        })
        .collect();
    parts.join(" and ")
}

fn run_status(run: RunRecord) -> RunStatus {
    RunStatus {
        id: run.id,
        kind: run.kind,
        resource: run.resource,
        started_at: run.started_at,
        finished_at: run.finished_at,
        outcome: run.outcome,
        requests: run.counters.requests,
        rows_read: run.counters.rows_read,
        rows_inserted: run.counters.rows_inserted,
        rows_updated: run.counters.rows_updated,
        rows_unchanged: run.counters.rows_unchanged,
        rows_rejected: run.counters.rows_rejected,
        error: run.error,
    }
}

fn print(status: &AccountStatus, zone: Zone, now: Timestamp) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let left = if status.configured == Some(false) {
        " (not in the configuration)"
    } else {
        ""
    };
    writeln!(
        out,
        "account {} at {}{left}",
        status.account, status.base_url
    )?;
    if let Some(writer) = &status.writer {
        writeln!(
            out,
            "written by {} since {}",
            writer.holder,
            zone.show_seconds(writer.since)
        )?;
    }
    if !status.failing.is_empty() {
        let failing = status.failing.join(", ");
        writeln!(out, "partial: not read when last tried: {failing}")?;
    }
    writeln!(out)?;
    print_resources(&mut out, status, zone, now)?;
    for backfill in &status.backfills {
        let what = if backfill.first_load {
            "first load"
        } else {
            "backfill"
        };
        writeln!(
            out,
            "\n{what} {} of {}{}: {} windows done with {} rows, {} left; goes on with the next run, sync or backfill",
            backfill.id,
            backfill.resource,
            which(backfill, zone),
            number(backfill.windows_done),
            number(backfill.rows_done),
            number(backfill.windows_left)
        )?;
    }
    if status.verified.is_some() || !status.rejects.is_empty() || !status.extra_fields.is_empty() {
        writeln!(out)?;
    }
    if let Some(verified) = &status.verified {
        writeln!(
            out,
            "verified {} ago; differences ever found: {}",
            ago(now.since(verified.at)),
            number(verified.differences)
        )?;
    }
    for (resource, count) in &status.rejects {
        let (rejects, them) = if *count == 1 {
            ("reject", "it")
        } else {
            ("rejects", "them")
        };
        writeln!(
            out,
            "{} {rejects} of {resource}; helena-sync rejects shows {them}",
            number(*count)
        )?;
    }
    for (resource, keys) in &status.extra_fields {
        writeln!(
            out,
            "fields of {resource} without a column, kept in extra: {}",
            keys.join(", ")
        )?;
    }
    print_runs(&mut out, &status.runs, zone)?;
    writeln!(out)
}

fn print_resources(
    out: &mut impl Write,
    status: &AccountStatus,
    zone: Zone,
    now: Timestamp,
) -> io::Result<()> {
    let columns = [
        "resource",
        "rows",
        "removed",
        "watermark",
        "last read",
        "last error",
    ];
    let mut printer = Printer::new(out, Format::Table, &columns, terminal_width())?;
    for resource in &status.resources {
        let mut first = true;
        let never = StreamLine {
            status: String::new(),
            watermark: None,
            last_success_at: None,
            lag_seconds: None,
            last_error: None,
            last_error_at: None,
        };
        let lines = if resource.streams.is_empty() {
            std::slice::from_ref(&never)
        } else {
            &resource.streams
        };
        if lines.len() > 1 {
            // The rows are those of all streams together.
            let (rows, removed) = (number(resource.rows), number(resource.removed));
            let mut whole = [resource.resource.to_owned(), rows, removed].to_vec();
            whole.resize(columns.len(), String::new());
            printer.record(&whole, "")?;
            first = false;
        }
        for line in lines {
            let name = stream_name(resource.resource, &line.status);
            let only_first = |count: u64| if first { number(count) } else { String::new() };
            printer.record(
                &[
                    name,
                    only_first(resource.rows),
                    only_first(resource.removed),
                    line.watermark
                        .map_or("-".into(), |at| zone.show_seconds(at)),
                    line.last_success_at
                        .map_or("never".into(), |at| format!("{} ago", ago(now.since(at)))),
                    line.last_error.clone().unwrap_or_default(),
                ],
                "",
            )?;
            first = false;
        }
    }
    printer.finish()?;
    Ok(())
}

fn print_runs(out: &mut impl Write, runs: &[RunStatus], zone: Zone) -> io::Result<()> {
    if runs.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    let columns = [
        "run",
        "kind",
        "resource",
        "started",
        "outcome",
        "requests",
        "read",
        "inserted",
        "updated",
        "unchanged",
        "rejected",
        "error",
    ];
    let mut printer = Printer::new(out, Format::Table, &columns, terminal_width())?;
    for run in runs {
        printer.record(
            &[
                run.id.to_string(),
                run.kind.clone(),
                run.resource.clone(),
                zone.show_seconds(run.started_at),
                run.outcome.clone().unwrap_or_else(|| "running".into()),
                number(run.requests),
                number(run.rows_read),
                number(run.rows_inserted),
                number(run.rows_updated),
                number(run.rows_unchanged),
                number(run.rows_rejected),
                run.error.clone().unwrap_or_default(),
            ],
            "",
        )?;
    }
    printer.finish()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Ordering;

    fn status(resource: &str, partition: &str, last: Option<i64>) -> StreamStatus {
        StreamStatus {
            resource: resource.into(),
            partition: partition.into(),
            watermark: None,
            observed_at: None,
            ordering: Ordering::Unknown,
            last_success_at: last.map(|minute| Timestamp::from_micros(minute * 60_000_000)),
            last_error: None,
            last_error_at: None,
        }
    }

    #[test]
    fn an_unfinished_backfill_says_what_it_reads() {
        let zone = "UTC".parse().unwrap();
        let mut backfill = BackfillStatus {
            id: 5,
            resource: "sessions",
            first_load: false,
            after: Some(Timestamp::from_micros(0)),
            before: None,
            created_at: Timestamp::from_micros(0),
            windows_done: 2,
            windows_left: 1,
            rows_done: 0,
            filters: vec![SessionFilter::default()],
        };
        assert_eq!(which(&backfill, zone), " from 1970-01-01 00:00:00");
        backfill.after = None;
        backfill.filters = vec![SessionFilter {
            status: vec!["PENDING".into(), "STARTED".into()],
            user: Some(Uuid::nil()),
            ..SessionFilter::default()
        }];
        assert_eq!(
            which(&backfill, zone),
            " with status PENDING or STARTED and user 00000000-0000-0000-0000-000000000000"
        );
    }

    #[test]
    fn what_was_not_read_for_too_long_or_never_is_stale() {
        let statuses = [
            status("sessions", "", Some(55)),
            status("contacts", "ACTIVE", Some(40)),
            status("contacts", "ARCHIVED", None),
            status("tags", "", Some(40)),
            status("agents", "", Some(30)),
        ];
        let resources = [
            Resource::Tags,
            Resource::Agents,
            Resource::Sessions,
            Resource::Contacts,
        ];
        let now = Timestamp::from_micros(60 * 60_000_000);
        let minutes = Duration::from_mins;
        assert_eq!(
            too_old(&statuses, &resources, now, minutes(10), minutes(15)),
            [
                "agents was last read 30m ago",
                "contacts (ACTIVE) was last read 20m ago",
                "contacts (ARCHIVED) was never read to its end",
                "contacts (BLOCKED) was never read to its end",
            ]
        );
    }
}
