//! `status`: how up to date and complete the mirror is.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::record::number;
use super::{Access, Context, Exit, Failure, duration, refused_options, stored};
use crate::config::Zone;
use crate::data::{SessionFilter, Timestamp};
use crate::output::{Format, Printer, terminal_width};
use crate::status::{
    AccountStatus, BackfillStatus, RecheckStatus, RunStatus, StreamLine, gather, stream_name,
    too_old,
};

/// Show how up to date and complete the mirror is.
///
/// Prints for each account: the lease holder; an outage of the platform, and since when; rows,
/// watermark and time of the last read of every resource; unfinished backfills; the last
/// verification and how many differences all verifications found; records that the platform counts
/// but does not show; disagreeing clocks of the platform; rejects; fields that have no column (they
/// are kept in the column extra); and the last runs. Only reads the database.
///
/// With --max-lag and without --json, prints only what is too old and counts no rows, so that a
/// health check is cheap. --max-lag checks the accounts of the configuration, or those of
/// --account. An account that was removed from the configuration is shown, but is never too old.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  helena-sync status
  helena-sync status --json
  helena-sync status --max-lag 10m || echo stale", args = refused_options::hidden(refused_options::STORED))]
pub struct StatusArgs {
    /// Print JSON instead of tables
    #[arg(long)]
    pub json: bool,
    /// Exit with 1 if a resource was last read longer ago than this (30s, 10m, 2h), or never; for
    /// health checks. For the small lists, which are read less often, sync.catalog_interval is added
    /// [default: no limit]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub max_lag: Option<Duration>,
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
        stale.push("nothing was synced into this database yet; run `helena-sync sync`".to_owned());
    } else {
        let stored = |name: &&String| accounts.iter().any(|account| account.name == **name);
        let missing = concerned.iter().filter(|name| !stored(name));
        stale.extend(missing.map(|name| format!("{name}: nothing was synced yet")));
    }
    if args.json {
        let mut out = io::stdout().lock();
        serde_json::to_writer_pretty(&mut out, &shown).map_err(io::Error::from)?;
        writeln!(out)?;
    } else if whole {
        if accounts.is_empty() {
            context.note("nothing was synced into this database yet; run `helena-sync sync`");
        }
        for account in &shown {
            print(account, zone, now)?;
        }
    }
    if args.max_lag.is_none() {
        return Ok(Exit::Done);
    }
    if stale.is_empty() {
        context.note("up to date");
        return Ok(Exit::Done);
    }
    for text in &stale {
        context.note(text);
    }
    Ok(Exit::Failed)
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
        .map(filter_text)
        .collect();
    if !filters.is_empty() {
        let _ = write!(text, " with {}", filters.join(", or "));
    }
    text
}

/// `status PENDING or STARTED and user 0123…`. Names are shown as ids.
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
    if !status.failing.is_empty() {
        let failing = status.failing.join(", ");
        writeln!(out, "partial: the last attempt failed for {failing}")?;
    }
    Ok(())
}

fn print(status: &AccountStatus, zone: Zone, now: Timestamp) -> io::Result<()> {
    let mut out = io::stdout().lock();
    print_head(&mut out, status, zone)?;
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
            "\n{what} {} of {}{}: {} windows done with {} rows, {} left; the next run, sync or backfill \
             resumes it",
            backfill.id,
            backfill.resource,
            which(backfill, zone),
            number(backfill.windows_done),
            number(backfill.rows_done),
            number(backfill.windows_left)
        )?;
    }
    print_doubts(&mut out, status, zone)?;
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
    print_runs(&mut out, &status.runs, zone)?;
    writeln!(out)
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
        let records = if waiting == 1 {
            "1 record is".to_owned()
        } else {
            format!("{} records are", number(waiting))
        };
        writeln!(out, "\n{records} still to be read by id{failed}")?;
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
                    "{} {name} had a lastInteractionDate later than their updatedAt, the last one {} \
                     ago; syncs follow both fields",
                    number(line.interactions_ahead),
                    ago(now.since(at))
                )?;
            }
        }
    }
    Ok(())
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
    use uuid::Uuid;

    use super::*;

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
}
