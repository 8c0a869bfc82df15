//! `status`: how up to date and complete the mirror is.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use uuid::Uuid;

use super::formats::TextOrJson;
use super::record::number;
use super::{Access, Context, Exit, Failure, duration, refused_options, stored};
use crate::config::Zone;
use crate::data::{Resource, SessionFilter, Timestamp, counted};
use crate::output::{Format, Printer, Wrapping, cell, terminal_width};
use crate::schedule::promised;
use crate::status::{
    AccountStatus, AlertStatus, BackfillStatus, DoorbellStatus, Lateness, Loading, RecheckStatus,
    RunStatus, StreamLine, gather, incomplete, open_alerts, promises, stream_name, too_old,
};
use crate::store::{AccountId, Store, StreamStatus};

/// Show how up to date and complete the mirror is.
///
/// Prints for each account: the lease holder; an outage of the platform, and since when; alerts; rows,
/// watermark and time of the last read of every resource; unfinished backfills; the last
/// verification and how many differences all verifications found; records that the platform counts
/// but does not show; disagreeing clocks of the platform; rejects; fields that have no column (they
/// are kept in the column extra); and the last runs. Only reads the database.
///
/// With --max-lag or --complete and without --json, prints only what is too old or not loaded and
/// counts no rows, so that a health check is cheap. Both check the accounts of the configuration, or those of
/// --account. An account that was removed from the configuration is shown, but is never too old.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  helena-sync status
  helena-sync status --json
  helena-sync status --max-lag || echo outdated
  helena-sync status --complete && echo \"the first load is done\"", args = refused_options::hidden(refused_options::STORED))]
pub struct StatusArgs {
    /// The format.
    #[command(flatten)]
    pub format: TextOrJson,
    /// Exit with 1 if a resource was never read, or was due longer ago than this (30s, 10m, 2h); for
    /// health checks. It is due when sync.schedule fires after it was last read, and the small lists
    /// after sync.catalog_interval. So a schedule that rests at night is no lag. A resource that the
    /// platform refuses to the token is named and does not count, unless it refuses all [default: no limit;
    /// without a time: 10m]
    #[arg(
        long,
        value_name = "TIME",
        value_parser = duration,
        num_args = 0..=1,
        default_missing_value = "10m"
    )]
    pub max_lag: Option<Duration>,
    /// Exit with 1 until the first load of every resource in sync.resources is done; for scripts and
    /// health checks that need all rows. May be combined with --max-lag
    #[arg(long)]
    pub complete: bool,
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
    let checks = args.max_lag.is_some() || args.complete;
    let whole = args.format.is_json() || !checks;
    let mut shown = Vec::new();
    let (mut stale, mut loading, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    for account in &accounts {
        let streams = store.stream_statuses(account.id).await?;
        let concerns = concerned.is_empty() || concerned.contains(&account.name);
        let late = args
            .max_lag
            .filter(|_| concerns)
            .map_or_else(Lateness::default, |max_lag| {
                let promises = promises(
                    &streams,
                    &sync.resources,
                    sync.catalog_interval,
                    |at, after| promised(&sync.schedule, zone, at, after),
                );
                too_old(&promises, &streams, now, max_lag)
            });
        let named = |text: &String| format!("{}: {text}", account.name);
        stale.extend(late.stale.iter().map(named));
        refused.extend(late.refused.iter().map(named));
        if checks && concerns {
            for (text, has_begun) in
                loads(&store, account.id, &streams, &sync.resources, now).await?
            {
                let text = format!("{}: {text}", account.name);
                if args.complete {
                    stale.push(text);
                } else if has_begun {
                    loading.push(format!("{text}; changes are read meanwhile"));
                } else {
                    loading.push(text);
                }
            }
        }
        if whole {
            let (mirrored, old) = (&sync.resources, late.stale);
            let mut status = gather(&store, account, streams, mirrored, now, old).await?;
            status.configured =
                (!configured.is_empty()).then(|| configured.contains(&account.name));
            shown.push(status);
        }
    }
    let of_database = if whole && !args.format.is_json() {
        open_alerts(&store, None).await?
    } else {
        Vec::new()
    };
    if !args.format.is_json()
        && let Some((log, size)) = store.large_log()
    {
        context.note(&super::check::large_log(&log, size));
    }
    store.close().await;
    if accounts.is_empty() {
        stale.push("nothing was synced into this database yet; run `helena-sync sync`".to_owned());
    } else {
        let stored = |name: &&String| accounts.iter().any(|account| account.name == **name);
        let missing = concerned.iter().filter(|name| !stored(name));
        stale.extend(missing.map(|name| format!("{name}: nothing was synced yet")));
    }
    if args.format.is_json() {
        let mut out = io::stdout().lock();
        serde_json::to_writer_pretty(&mut out, &shown).map_err(io::Error::from)?;
        writeln!(out)?;
    } else if whole {
        print_all(context, &shown, &of_database, (zone, now))?;
    }
    if !checks {
        return Ok(Exit::Done);
    }
    for text in loading.iter().chain(&refused).chain(&stale) {
        context.note(text);
    }
    if !stale.is_empty() {
        return Ok(Exit::Failed);
    }
    context.note(match (args.complete, loading.is_empty()) {
        (true, _) if args.max_lag.is_none() => "the first load is done",
        (_, true) if refused.is_empty() => "up to date",
        (_, true) => "the other resources are up to date",
        (_, false) => "changes are up to date, but not all rows are loaded yet",
    });
    Ok(Exit::Done)
}

/// Prints the status of all accounts, and the alerts that concern none of them.
fn print_all(
    context: &Context,
    accounts: &[AccountStatus],
    alerts: &[AlertStatus],
    (zone, now): (Zone, Timestamp),
) -> io::Result<()> {
    if accounts.is_empty() {
        context.note("nothing was synced into this database yet; run `helena-sync sync`");
    }
    for account in accounts {
        let (out, width) = (io::stdout().lock(), terminal_width());
        print(out, width, account, (zone, now))?;
    }
    let mut out = Wrapping::new(io::stdout().lock(), terminal_width());
    for alert in alerts {
        writeln!(out, "{}", alert_text(alert, zone))?;
    }
    Ok(())
}

/// What is not loaded yet, as text, and whether its load has begun.
async fn loads(
    store: &Store,
    account: AccountId,
    streams: &[StreamStatus],
    mirrored: &[Resource],
    now: Timestamp,
) -> Result<Vec<(String, bool)>, Failure> {
    let incomplete = incomplete(store, account, streams, mirrored, now).await?;
    let text = |(resource, loading): &(Resource, Option<Loading>)| match loading {
        Some(loading) => (format!("{resource}: loading, {}", loading.text()), true),
        None if resource.is_list() => (format!("{resource} was never read completely"), false),
        None => (format!("{resource}: the first load has not begun"), false),
    };
    Ok(incomplete.iter().map(text).collect())
}

/// The range and the filters of a backfill, as text.
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
        .map(|filter| filter_text(filter, &backfill.names, zone))
        .collect();
    if !filters.is_empty() {
        let _ = write!(text, " with {}", filters.join(", or "));
    }
    text
}

/// The names of the options, where those of the fields differ.
const OPTIONS: [(&str, &str); 4] = [
    ("user", "agent"),
    ("kind", "type"),
    ("tags", "tag"),
    ("channels", "channel"),
];

/// `status PENDING or STARTED and agent Ana Souza`. An id without a stored name stays an id.
fn filter_text(filter: &SessionFilter, names: &BTreeMap<Uuid, String>, zone: Zone) -> String {
    let Ok(Value::Object(fields)) = serde_json::to_value(filter) else {
        return String::new();
    };
    let word = |value: &Value| {
        let Some(text) = value.as_str() else {
            return value.to_string();
        };
        let name = text.parse().ok().and_then(|id: Uuid| names.get(&id));
        name.map_or_else(|| text.to_owned(), |name| cell(name))
    };
    let instant = |value: &Value| {
        let at = value.as_str().and_then(|text| Timestamp::parse(text).ok());
        at.map_or_else(|| word(value), |at| zone.show_seconds(at))
    };
    let parts: Vec<String> = fields
        .iter()
        .map(|(name, value)| {
            let option = OPTIONS.iter().find(|(field, _)| field == name);
            (option.map_or(name.as_str(), |(_, option)| option), value)
        })
        .map(|(name, value)| match value {
            Value::Array(values) => {
                let values: Vec<String> = values.iter().map(word).collect();
                format!("{name} {}", values.join(" or "))
            }
            Value::Object(ends) => {
                let ends: Vec<String> = ends
                    .iter()
                    .map(|(end, at)| format!("{name} {end} {}", instant(at)))
                    .collect();
                ends.join(" and ")
            }
            other => format!("{name} {}", word(other)),
        })
        .collect();
    parts.join(" and ")
}

fn ago(duration: Duration) -> String {
    humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string()
}

/// Whose mirror it is, who writes it, and what keeps it from being complete.
fn print_head(out: &mut impl Write, status: &AccountStatus, zone: Zone) -> io::Result<()> {
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
            "lease holder: {} since {}",
            writer.holder,
            zone.show_seconds(writer.since)
        )?;
    }
    if let Some(version) = status.session_list {
        writeln!(
            out,
            "session list: version {version}, which may omit sessions of groups; when version 2 \
             answers again, the next sync reads all sessions again"
        )?;
    }
    if let Some(trouble) = &status.trouble {
        writeln!(
            out,
            "platform not available since {}: {}",
            zone.show_seconds(trouble.since),
            trouble.what
        )?;
    }
    for alert in &status.alerts {
        writeln!(out, "{}", alert_text(alert, zone))?;
    }
    if !status.failing.is_empty() {
        let failing = status.failing.join(", ");
        writeln!(out, "partial: the last attempt failed for {failing}")?;
    }
    Ok(())
}

/// An alert that is open, and since when.
fn alert_text(alert: &AlertStatus, zone: Zone) -> String {
    let (kind, detail) = (&alert.alert, &alert.detail);
    let since = zone.show_seconds(alert.since);
    if detail.is_empty() {
        format!("alert: {kind} since {since}")
    } else {
        format!("alert: {kind} since {since}: {detail}")
    }
}

/// Prints the status for a terminal of this width, or for none.
fn print(
    out: impl Write,
    width: Option<u16>,
    status: &AccountStatus,
    (zone, now): (Zone, Timestamp),
) -> io::Result<()> {
    let mut out = Wrapping::new(out, width);
    print_head(&mut out, status, zone)?;
    writeln!(out)?;
    print_resources(&mut out, width, status, (zone, now))?;
    for backfill in &status.backfills {
        writeln!(out, "\n{}", backfill_text(backfill, zone))?;
    }
    print_doubts(&mut out, status, zone)?;
    if let Some(doorbell) = &status.doorbell {
        writeln!(out, "\n{}", doorbell_text(doorbell, now))?;
    }
    let is_odd = |line: &StreamLine| {
        line.clock_difference_ms.is_some() || line.interactions_ahead_at.is_some()
    };
    let mut lines = status.resources.iter().flat_map(|it| &it.streams);
    if status.verified.is_some()
        || !status.gaps.is_empty()
        || lines.any(is_odd)
        || !status.rejects.is_empty()
        || !status.extra_fields.is_empty()
    {
        writeln!(out)?;
    }
    if let Some(verified) = &status.verified {
        writeln!(
            out,
            "last verified {} ago; differences found by all verifications: {}",
            ago(now.since(verified.at)),
            number(verified.differences)
        )?;
    }
    print_oddities(&mut out, status, zone, now)?;
    for (resource, count) in &status.rejects {
        let (rejects, them) = if *count == 1 {
            ("reject", "it")
        } else {
            ("rejects", "them")
        };
        writeln!(
            out,
            "{} {rejects} of {resource}; `helena-sync rejects` shows {them}",
            number(*count)
        )?;
    }
    for (resource, keys) in &status.extra_fields {
        writeln!(
            out,
            "fields of {resource} without a column, kept in the column extra: {}",
            keys.join(", ")
        )?;
    }
    print_runs(&mut out, width, &status.runs, zone)?;
    writeln!(out)
}

/// Whether the platform rings, and when it did last.
fn doorbell_text(doorbell: &DoorbellStatus, now: Timestamp) -> String {
    let state = match (doorbell.subscription, doorbell.problem) {
        (None, _) => "nobody has looked yet whether the platform rings".to_owned(),
        (Some(_), None) => "the platform rings".to_owned(),
        (Some(_), Some(problem)) => problem.to_owned(),
    };
    let last = doorbell.last_ring_at.map_or_else(
        || "it has not rung yet".to_owned(),
        |at| {
            let rings = counted(doorbell.rings, "ring");
            format!("last ring {} ago, {rings} in all", ago(now.since(at)))
        },
    );
    format!("doorbell: {state}; {last}")
}

/// How far a first load or backfill is, and what resumes it.
pub(super) fn backfill_text(backfill: &BackfillStatus, zone: Zone) -> String {
    let (id, resource) = (backfill.id, backfill.resource);
    let what = format!("{resource}{}", which(backfill, zone));
    let progress = format!(
        "{}; {} done, {} left",
        backfill.loading.text(),
        counted(backfill.windows_done, "window"),
        number(backfill.windows_left)
    );
    if backfill.first_load {
        format!("loading {what}: {progress}; the next run or sync resumes it")
    } else if backfill.on_request {
        format!(
            "backfill {id} of {what}: {progress}; the same `helena-sync backfill` resumes it, \
             `helena-sync backfill --cancel {id}` cancels it"
        )
    } else {
        let cancels = if backfill.cancellable {
            format!(", `helena-sync backfill --cancel {id}` cancels it")
        } else {
            String::new()
        };
        format!("reading {what} again: {progress}; the next run or sync resumes it{cancels}")
    }
}

/// Prints lists in doubt, and records that are still to be read by id.
fn print_doubts(out: &mut impl Write, status: &AccountStatus, zone: Zone) -> io::Result<()> {
    for resource in &status.resources {
        let since = resource.streams.iter().find_map(|line| line.doubted_at);
        if let Some(since) = since {
            writeln!(
                out,
                "\nsince {1}, the list of {0} lacks most of the stored records; they are marked as removed \
                 only if the list still lacks them when it is read again some minutes later",
                resource.resource,
                zone.show_seconds(since)
            )?;
        }
    }
    let RecheckStatus { waiting, failed } = status.rechecks;
    if waiting > 0 {
        let failed = match failed {
            0 => String::new(),
            failed => format!(" ({} of them failed and are retried daily)", number(failed)),
        };
        let are = if waiting == 1 { "is" } else { "are" };
        let records = counted(waiting, "record");
        writeln!(out, "\n{records} {are} still to be read by id{failed}")?;
    }
    Ok(())
}

/// Prints records that the platform counts but does not show, and signs that the platform's clocks or
/// time fields disagree.
fn print_oddities(
    out: &mut impl Write,
    status: &AccountStatus,
    zone: Zone,
    now: Timestamp,
) -> io::Result<()> {
    for gap in &status.gaps {
        let end = |at: Option<Timestamp>, open: &str| {
            at.map_or_else(|| open.to_owned(), |at| zone.show_seconds(at))
        };
        writeln!(
            out,
            "gap: for {} with {} between {} and {}, the platform counts {} but shows {}; first seen \
             {}, checked again every night",
            gap.stream,
            gap.field,
            end(gap.after, "the beginning"),
            end(gap.before, "now"),
            number(gap.counted),
            number(gap.shown),
            zone.show_seconds(gap.first_seen_at)
        )?;
    }
    for resource in &status.resources {
        for line in &resource.streams {
            let name = stream_name(resource.resource, &line.status);
            if let (Some(difference), Some(at)) =
                (line.clock_difference_ms, line.clock_difference_at)
            {
                let by = ago(Duration::from_millis(difference.unsigned_abs()));
                let which = if difference > 0 { "ahead of" } else { "behind" };
                writeln!(
                    out,
                    "clocks: the Date header was {by} {which} the time stamps of {name}, seen {} ago",
                    ago(now.since(at))
                )?;
            }
            if let Some(at) = line.interactions_ahead_at {
                writeln!(
                    out,
                    "{} had a lastInteractionDate later than updatedAt, the last one {} ago; syncs \
                     follow both fields",
                    counted(line.interactions_ahead, "session"),
                    ago(now.since(at))
                )?;
            }
        }
    }
    Ok(())
}

fn print_resources(
    out: &mut impl Write,
    width: Option<u16>,
    status: &AccountStatus,
    (zone, now): (Zone, Timestamp),
) -> io::Result<()> {
    let columns = [
        "resource",
        "rows",
        "removed",
        "watermark",
        "last read",
        "last error",
    ];
    let printer = Printer::new(out, Format::Table, &columns, width)?;
    let mut printer = printer.apart("last error");
    for resource in &status.resources {
        let mut first = true;
        let never = StreamLine {
            status: String::new(),
            watermark: None,
            last_success_at: None,
            lag_seconds: None,
            last_error: None,
            last_error_at: None,
            doubted_at: None,
            clock_difference_ms: None,
            clock_difference_at: None,
            interactions_ahead: 0,
            interactions_ahead_at: None,
        };
        let lines = if resource.streams.is_empty() {
            std::slice::from_ref(&never)
        } else {
            &resource.streams
        };
        if lines.len() > 1 {
            // The row counts cover all streams of the resource.
            let (rows, removed) = (number(resource.rows), number(resource.removed));
            let mut whole = [resource.resource.to_owned(), rows, removed].to_vec();
            whole.resize(columns.len(), String::new());
            printer.record(&whole, "")?;
            first = false;
        }
        for line in lines {
            let name = stream_name(resource.resource, &line.status);
            let read = match (resource.loading, line.last_success_at) {
                (
                    Some(Loading {
                        percent: Some(percent),
                        ..
                    }),
                    _,
                ) => format!("loading, {percent} %"),
                (Some(_), _) => "loading".to_owned(),
                (None, None) => "never".to_owned(),
                (None, Some(at)) => format!("{} ago", ago(now.since(at))),
            };
            // During the first load, older records are still missing.
            let watermark = line.watermark.filter(|_| resource.loading.is_none());
            let only_first = |count: u64| if first { number(count) } else { String::new() };
            printer.record(
                &[
                    name,
                    only_first(resource.rows),
                    only_first(resource.removed),
                    watermark.map_or("-".into(), |at| zone.show_seconds(at)),
                    read,
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

fn print_runs(
    out: &mut impl Write,
    width: Option<u16>,
    runs: &[RunStatus],
    zone: Zone,
) -> io::Result<()> {
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
    let printer = Printer::new(out, Format::Table, &columns, width)?;
    let mut printer = printer.apart("error");
    for run in runs {
        printer.record(
            &[
                run.id.to_string(),
                run.kind.clone(),
                stream_name(&run.resource, &run.partition),
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
    use crate::data::Span;
    use crate::status::{ResourceStatus, TroubleStatus};

    fn line(error: Option<&str>) -> StreamLine {
        StreamLine {
            status: String::new(),
            watermark: Some(at("2026-05-04T12:00:00Z")),
            last_success_at: Some(at("2026-05-04T12:00:05Z")),
            lag_seconds: Some(60),
            last_error: error.map(str::to_owned),
            last_error_at: error.map(|_| at("2026-05-04T12:00:30Z")),
            doubted_at: None,
            clock_difference_ms: None,
            clock_difference_at: None,
            interactions_ahead: 0,
            interactions_ahead_at: None,
        }
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn resource(
        resource: &'static str,
        rows: u64,
        loading: Option<Loading>,
        line: StreamLine,
    ) -> ResourceStatus {
        ResourceStatus {
            resource,
            rows,
            removed: 3,
            loaded: loading.is_none(),
            loading,
            streams: vec![line],
        }
    }

    const LOADING: Loading = Loading {
        records_done: 4_555,
        records: Some(20_040),
        percent: Some(22),
        seconds_left: Some(290),
    };

    /// An account in the middle of its first load, with a list that cannot be read.
    fn loading() -> AccountStatus {
        let error = "GET /core/v1/tag was refused with 401: ERROR_UNAUTHORIZED: Acesso negado (id a1b2c3d4)";
        AccountStatus {
            account: "default".into(),
            configured: Some(true),
            base_url: "https://api.helena.run/".into(),
            company_id: None,
            writer: None,
            session_list: None,
            trouble: Some(TroubleStatus {
                since: at("2026-05-04T12:00:10Z"),
                what: "api.helena.run: no connection: the name is not known to this machine's DNS"
                    .into(),
            }),
            failing: vec!["tags".into()],
            refused: vec!["tags"],
            alerts: vec![AlertStatus {
                alert: "failing".into(),
                since: at("2026-05-04T11:20:00Z"),
                told_at: Some(at("2026-05-04T11:50:00Z")),
                detail: format!("tags: {error}"),
            }],
            resources: vec![
                resource("tags", 12, None, line(Some(error))),
                resource("sessions", 4_555, Some(LOADING), line(None)),
            ],
            backfills: vec![BackfillStatus {
                id: 1,
                resource: "sessions",
                first_load: true,
                on_request: false,
                cancellable: false,
                loading: LOADING,
                after: None,
                before: None,
                created_at: at("2026-05-04T12:00:00Z"),
                windows_done: 2,
                windows_left: 9,
                rows_done: 4_555,
                filters: vec![SessionFilter::default()],
                names: BTreeMap::new(),
            }],
            gaps: Vec::new(),
            rejects: BTreeMap::new(),
            rechecks: RecheckStatus {
                waiting: 0,
                failed: 0,
            },
            extra_fields: BTreeMap::new(),
            verified: None,
            doorbell: Some(DoorbellStatus {
                subscription: Some("good"),
                problem: None,
                checked_at: Some(at("2026-05-04T12:00:00Z")),
                last_ring_at: Some(at("2026-05-04T12:00:48Z")),
                rings: 1_204,
            }),
            runs: vec![RunStatus {
                id: 7,
                kind: "list".into(),
                resource: "tags".into(),
                partition: String::new(),
                started_at: at("2026-05-04T12:00:30Z"),
                finished_at: Some(at("2026-05-04T12:00:30Z")),
                outcome: Some("failed".into()),
                requests: 1,
                rows_read: 0,
                rows_inserted: 0,
                rows_updated: 0,
                rows_unchanged: 0,
                rows_rejected: 0,
                error: Some(error.into()),
            }],
            stale: Vec::new(),
        }
    }

    #[test]
    fn a_narrow_terminal_shows_errors_in_full_and_says_what_has_no_room() {
        let now = at("2026-05-04T12:01:00Z");
        let zone = "UTC".parse().unwrap();
        for width in [40, 80, 120] {
            let mut out = Vec::new();
            print(&mut out, Some(width), &loading(), (zone, now)).unwrap();
            let text = String::from_utf8(out).unwrap();
            let widest = text.lines().map(|line| line.chars().count()).max();
            assert!(widest <= Some(usize::from(width)), "{text}");
            insta::assert_snapshot!(format!("status_on_{width}_columns"), text);
        }
    }

    #[test]
    fn an_unfinished_backfill_says_what_it_reads() {
        let zone = "UTC".parse().unwrap();
        let mut backfill = BackfillStatus {
            id: 5,
            resource: "sessions",
            first_load: false,
            on_request: true,
            cancellable: true,
            loading: Loading {
                records_done: 0,
                records: Some(20),
                percent: Some(0),
                seconds_left: None,
            },
            after: Some(Timestamp::from_micros(0)),
            before: None,
            created_at: Timestamp::from_micros(0),
            windows_done: 2,
            windows_left: 1,
            rows_done: 0,
            filters: vec![SessionFilter::default()],
            names: [(Uuid::nil(), "Ana Souza".to_owned())].into(),
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
            " with status PENDING or STARTED and agent Ana Souza"
        );
        backfill.filters[0] = SessionFilter {
            updated: Span {
                after: Some(at("2026-05-04T12:00:00Z")),
                before: Some(at("2026-05-05T12:00:00Z")),
            },
            ..SessionFilter::default()
        };
        assert_eq!(
            which(&backfill, "America/Sao_Paulo".parse().unwrap()),
            " with updated after 2026-05-04 09:00:00 and updated before 2026-05-05 09:00:00"
        );
    }
}
