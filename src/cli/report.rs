//! `report`: what the stored sessions say of a period.

#![expect(
    clippy::doc_markdown,
    reason = "help texts are read in a terminal, where nothing renders back-quotes"
)]

use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;

use chrono::{Days, Months, NaiveDate};
use clap::Args;
use uuid::Uuid;

use super::choices::{Choice, choice, name_of};
use super::formats::ReportFormat;
use super::{
    Access, Calendar, Catalog, Context, Exit, Failure, dates, exact_is_for_csv, refused_options,
    stored, whole_file,
};
use crate::config::{Zone, nearest};
use crate::data::{Resource, Timestamp};
use crate::output::terminal_width;
use crate::report::{self, Format, Language, METRICS, Metrics, Report, ShownFilter};
use crate::reporting::{
    Asked, Bucket, By, Compare, Facts, Filter, Frame, LAST_DAY, Named, Names, OpenClock,
    OpenSession, Period, Question, Settings, Stage, figures, local_date,
};
use crate::store::{ReportBasis, ReportSnapshot};

/// Report on the stored sessions of a period.
///
/// Reads only the database, beside a running sync, and from one state of it, so that all figures
/// agree. Prints how many sessions were opened and completed, how long people waited, and a
/// breakdown; csv has the breakdown alone, the other formats have all sections. html is one page to
/// forward, without scripts and without personal data of contacts.
///
/// Days, open hours and targets are those of the configuration that last synced this database. The
/// last day is left out unless it is over, or asked for with --to today. Each figure counts by the
/// day on which sessions were opened, or on which they ended; --definitions says which.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  helena-sync report
  helena-sync report --month 2026-05 --by agent
  helena-sync report --last 90d --lang pt-BR --format html --output relatorio.html
  helena-sync report --from 2026-05-01 --to today --channel Loja --by hour --format csv", args = refused_options::hidden(refused_options::REPORT))]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own"
)]
pub struct ReportArgs {
    /// First day: 2025-12-31, 2025-12, today, yesterday or 7d (so long ago) [default: 30 days before
    /// the last one]
    #[arg(long, value_name = "DAY", conflicts_with_all = ["month", "last"], help_heading = "Which sessions")]
    pub from: Option<String>,
    /// Last day, included; today means up to now [default: the last day that is over]
    #[arg(long, value_name = "DAY", conflicts_with_all = ["month", "last"], help_heading = "Which sessions")]
    pub to: Option<String>,
    /// A month: 2025-12; of the present one, the days that are over
    #[arg(long, value_name = "MONTH", value_parser = month, conflicts_with = "last", help_heading = "Which sessions")]
    pub month: Option<NaiveDate>,
    /// The last days, weeks or months that are over: 30d, 4w or 3m [default: 30d]
    #[arg(long, value_name = "TIME", value_parser = last, help_heading = "Which sessions")]
    pub last: Option<Asked>,
    /// Channel, by name, number or id; may be repeated, or a list with commas, to match any of several
    #[arg(
        long = "channel",
        value_name = "CHANNEL",
        help_heading = "Which sessions"
    )]
    pub channels: Vec<String>,
    /// Department, by name or id; may be repeated, or a list with commas, to match any of several
    #[arg(
        long = "department",
        value_name = "DEPARTMENT",
        help_heading = "Which sessions"
    )]
    pub departments: Vec<String>,
    /// Last agent, by name, e-mail or user id; may be repeated, or a list with commas, to match any of
    /// several
    #[arg(
        long = "agent",
        visible_alias = "user",
        value_name = "AGENT",
        help_heading = "Which sessions"
    )]
    pub agents: Vec<String>,
    /// Tag, by name or id; may be repeated, or a list with commas, to match any of several
    #[arg(long = "tag", value_name = "TAG", help_heading = "Which sessions")]
    pub tags: Vec<String>,
    /// Status; may be repeated, or a list with commas, to match any of several
    #[arg(long, value_name = "STATUS", value_delimiter = ',', value_parser = name_of(&STATUSES), help_heading = "Which sessions")]
    pub status: Vec<&'static str>,
    /// Campaign, as in utm_campaign; may be repeated to match any of several
    #[arg(
        long = "campaign",
        value_name = "CAMPAIGN",
        help_heading = "Which sessions"
    )]
    pub campaigns: Vec<String>,
    /// Breakdown; day, week and month also divide the charts [default: day]
    #[arg(long, value_name = "WHAT", value_parser = choice(By::ALL.map(|by| (by.as_str(), by))))]
    pub by: Option<By>,
    /// Compare with the previous period, with the same days a year ago (364 days, so that weekdays
    /// meet), or with none
    #[arg(long, value_name = "WHAT", value_parser = compared(), default_value = "previous")]
    pub compare: Compare,
    /// Which hours times to the first response and to the end count: all, or open, which needs
    /// [report.hours] in the configuration
    #[arg(long, value_name = "WHICH", value_parser = hours(), default_value = "all")]
    pub hours: CountedHours,
    /// Show only these metrics, in figures, times and breakdowns, and no other sections; may be repeated,
    /// or a list with commas; not for html. An unknown name lists all
    #[arg(long = "metric", value_name = "METRIC", value_delimiter = ',', value_parser = name_of(&METRICS))]
    pub metrics: Vec<&'static str>,
    /// The format.
    #[command(flatten)]
    pub format: ReportFormat,
    /// Language; csv in pt-BR has semicolons and decimal commas, for spreadsheets
    #[arg(long, value_name = "LANGUAGE", default_value_t, value_parser = languages())]
    pub lang: Language,
    /// With csv: write texts as they are. Otherwise those that a spreadsheet would take for formulas get
    /// an apostrophe
    #[arg(long)]
    pub exact: bool,
    /// Write to this file instead of stdout
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Number the agents instead of naming them
    #[arg(long)]
    pub anonymous: bool,
    /// Add what each figure means, and how the platform's times compare with known ones; html and
    /// xlsx have that anyway
    #[arg(long)]
    pub definitions: bool,
    /// Report although the first load has not read the whole period yet
    #[arg(long)]
    pub partial: bool,
}

#[cfg(feature = "sandbox")]
impl Default for ReportArgs {
    /// What nobody asked for in another way.
    fn default() -> Self {
        Self {
            from: None,
            to: None,
            month: None,
            last: None,
            channels: Vec::new(),
            departments: Vec::new(),
            agents: Vec::new(),
            tags: Vec::new(),
            status: Vec::new(),
            campaigns: Vec::new(),
            by: None,
            compare: Compare::Previous,
            hours: CountedHours::All,
            metrics: Vec::new(),
            format: ReportFormat::default(),
            lang: Language::default(),
            exact: false,
            output: None,
            anonymous: false,
            definitions: false,
            partial: false,
        }
    }
}

/// Which hours count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CountedHours {
    /// All.
    All,
    /// Open ones.
    Open,
}

fn month(text: &str) -> Result<NaiveDate, String> {
    let text = text.trim();
    let is_shaped = text.len() == 7 && text.as_bytes()[4] == b'-';
    is_shaped
        .then(|| format!("{text}-01").parse().ok())
        .flatten()
        .ok_or_else(|| "must be a month such as 2025-12".to_owned())
}

fn last(text: &str) -> Result<Asked, String> {
    let text = text.trim();
    let problem = || "must be a number of days, weeks or months such as 30d, 4w or 3m".to_owned();
    let unit = text.chars().last().ok_or_else(problem)?;
    let number = &text[..text.len() - unit.len_utf8()];
    // So many days are more than any account has.
    let number: u32 = number.trim().parse().map_err(|_| problem())?;
    let number = number.min(100_000);
    match unit {
        _ if number == 0 => Err(problem()),
        'd' => Ok(Asked::LastDays(number)),
        'w' => Ok(Asked::LastDays(number * 7)),
        'm' => Ok(Asked::LastMonths(number)),
        _ => Err(problem()),
    }
}

fn compared() -> Choice<Compare> {
    choice([
        ("previous", Compare::Previous),
        ("year", Compare::Year),
        ("none", Compare::None),
    ])
}

fn hours() -> Choice<CountedHours> {
    choice([("all", CountedHours::All), ("open", CountedHours::Open)])
}

pub(super) fn languages() -> Choice<Language> {
    choice([("en", Language::En), ("pt-BR", Language::PtBr)]).also(&[("pt-BR", &["pt", "pt_BR"])])
}

/// Prints the report.
pub(super) async fn run(context: &Context, args: ReportArgs) -> Result<Exit, Failure> {
    let is_terminal = args.output.is_none() && io::stdout().is_terminal();
    let format = args.format.chosen();
    if format == Format::Xlsx && is_terminal {
        return Err(Failure::usage_text(
            "a workbook cannot be shown in a terminal: add --output FILE",
        ));
    }
    if format == Format::Csv && args.definitions {
        return Err(Failure::usage_text(
            "--definitions: csv is one table and has no room for definitions; take another format",
        ));
    }
    exact_is_for_csv(args.exact, args.format.chosen() == Format::Csv)?;
    let statuses = args.status.iter().map(|it| Stage::of(Some(it))).collect();
    let metrics = metrics(&args)?;
    let store = context.store(Access::Read).await?;
    let account = stored::account(context, &store).await?;
    let snapshot = store.report_snapshot(account.id).await?;
    let asked = (statuses, metrics);
    let read = read(context, &args, account.name, asked, snapshot).await;
    // That may be why it failed.
    let unwritten = store.check_unwritten();
    store.close().await;
    unwritten?;
    let report = read?;
    check_places(&report, format)?;
    if report.figures.is_empty() {
        let period = &report.figures.question.period;
        context.note(&format!(
            "no sessions from {} to {}{}",
            period.from,
            period.to,
            if report.filters.is_empty() {
                ""
            } else {
                " with these filters"
            }
        ));
        // A file is written in any case: what it held before is of other days.
        if format == Format::Table && args.output.is_none() {
            return Ok(Exit::Done);
        }
    }
    let width = if args.output.is_none() {
        terminal_width()
    } else {
        None
    };
    let bytes = report::render(&report, format, args.lang, width).map_err(Failure::failed)?;
    match &args.output {
        None => {
            let mut out = io::stdout().lock();
            out.write_all(&bytes)?;
            out.flush()?;
        }
        Some(file) => {
            whole_file::replace(file, &bytes).map_err(|error| {
                Failure::from(error).context(format!("cannot write {}", file.display()))
            })?;
            context.note(&format!("{} written", file.display()));
        }
    }
    Ok(Exit::Done)
}

/// Writes the report of the last days that are over as a page.
#[cfg(feature = "sandbox")]
pub(super) async fn write_page(
    context: &Context,
    account: String,
    snapshot: ReportSnapshot,
    file: &std::path::Path,
) -> Result<(), Failure> {
    let args = ReportArgs::default();
    let report = read(
        context,
        &args,
        account,
        (Vec::new(), Metrics(Vec::new())),
        snapshot,
    )
    .await?;
    let page = report::render(&report, Format::Html, args.lang, None).map_err(Failure::failed)?;
    whole_file::replace(file, &page)
        .map_err(|error| Failure::from(error).context(format!("cannot write {}", file.display())))
}

const STATUSES: [&str; 4] = ["STARTED", "PENDING", "IN_PROGRESS", "COMPLETED"];

/// The metrics to show.
fn metrics(args: &ReportArgs) -> Result<Metrics, Failure> {
    if args.format.chosen() == Format::Html && !args.metrics.is_empty() {
        return Err(Failure::usage_text(
            "--metric is not for --format html: the page always has all sections. Leave it out, or take \
             another format.",
        ));
    }
    Ok(Metrics(args.metrics.clone()))
}

/// Refuses metrics that this format has no place for.
fn check_places(report: &Report, format: Format) -> Result<(), Failure> {
    let lacking = report::metrics_without_place(report, format);
    if lacking.is_empty() {
        return Ok(());
    }
    let need = |metric: &str, what: &str| {
        if lacking.contains(&metric) {
            format!(" {metric} needs {what} in the configuration.")
        } else {
            String::new()
        }
    };
    Err(Failure::usage_text(format!(
        "--metric {}: --format {format} with --by {} has no place for it. Leave it out, or take another \
         format or breakdown.{}{}",
        lacking.join(","),
        report.figures.question.by.as_str(),
        need("sla", "a target, such as report.sla_first_response,"),
        need("opened_outside_hours", "[report.hours]"),
    )))
}

/// Reads all that the report needs and computes its figures.
async fn read(
    context: &Context,
    args: &ReportArgs,
    account: String,
    (statuses, metrics): (Vec<Stage>, Metrics),
    mut snapshot: ReportSnapshot,
) -> Result<Report, Failure> {
    let basis = snapshot.basis().await?;
    let settings = settings(context, &basis)?;
    let zone = settings.zone;
    let now = basis.as_of.unwrap_or_else(|| context.clock.now());
    let day_first = context.calendar()?.day_first;
    let period = period(args, &settings, now, day_first)?;
    let is_partial = is_pending(&basis, period, &settings);
    if is_partial && !args.partial {
        return Err(Failure::failed(anyhow::anyhow!(
            "the first load has not read all sessions from {} to {} yet: wait until it ends \
             (`helena-sync status` shows how far it is), or add --partial",
            period.from,
            period.to
        )));
    }
    let compared = period.compared(args.compare, zone);
    let lacks_compared = compared.is_some_and(|period| is_pending(&basis, period, &settings));
    let compared = compared.filter(|_| !lacks_compared);
    let is_open_hours = args.hours == CountedHours::Open;
    if is_open_hours && !settings.hours.are_known() {
        return Err(Failure::usage_text(
            "--hours open: no open hours are known; set [report.hours] in the configuration, and \
             run `helena-sync sync` once",
        ));
    }
    let names = snapshot.names().await?;
    let (filter, filters) = filters(args, statuses, &names)?;
    let frame = Frame {
        clock: clock(&settings, &basis, now),
        settings: settings.clone(),
        as_of: basis.as_of,
        filter,
        watched: period.instants(zone),
    };
    let mut facts = Facts::new(frame);
    let (from, to) = period.instants(zone);
    let ranges = match compared.map(|compared| compared.instants(zone)) {
        Some((before, end)) if end < from => [(before, end), (from, to)],
        // A year ago may be less than the length of the period.
        Some((before, _)) => [(before, before), (before, to)],
        None => [(from, from), (from, to)],
    };
    snapshot
        .sessions(ranges, |session| facts.add(session))
        .await?;
    let mut open: Vec<OpenSession> = Vec::new();
    snapshot
        .open_sessions(|session| {
            if facts.accepts(&session) {
                open.push(session);
            }
        })
        .await?;
    snapshot.end().await;
    check_campaigns(args, facts.campaign_names())?;
    let bucket = match args.by {
        Some(By::Day) => Bucket::Day,
        Some(By::Week) => Bucket::Week,
        Some(By::Month) => Bucket::Month,
        _ => Bucket::for_days(period.days()),
    };
    let question = Question {
        period,
        compared,
        by: args.by.unwrap_or(By::Day),
        bucket,
        is_anonymous: args.anonymous,
    };
    Ok(Report {
        account,
        as_of: basis.as_of,
        filters,
        is_open_hours,
        is_exact: args.exact,
        metrics,
        is_by_asked: args.by.is_some(),
        is_partial,
        lacks_compared,
        has_definitions: args.definitions,
        without_created_at: basis.without_created_at,
        rejects: basis.rejects,
        verified: basis.verified,
        figures: figures(question, &facts, &open, &names),
        settings,
    })
}

/// The settings in the database, by which its views count, too. A database that none were stored in takes
/// those of the configuration.
fn settings(context: &Context, basis: &ReportBasis) -> Result<Settings, Failure> {
    let configured = context.settings.report()?.settings(context.zone()?);
    let Some(stored) = &basis.settings else {
        return Ok(configured);
    };
    // A configuration that says nothing of reports need not be that of the program that syncs.
    let says_something = configured != Settings::of_zone(configured.zone);
    let in_zone = Settings {
        zone: stored.zone,
        ..configured
    };
    if says_something && in_zone != *stored {
        context.note(
            "[report] of the configuration differs from what the database keeps, which counts; the \
             next run or sync stores it",
        );
    }
    Ok(stored.clone())
}

fn period(
    args: &ReportArgs,
    settings: &Settings,
    now: Timestamp,
    day_first: bool,
) -> Result<Period, Failure> {
    let today = local_date(settings.zone, now);
    let calendar = Calendar {
        zone: Zone(settings.zone),
        now,
        day_first,
    };
    let read = |flag, text: Option<&str>| {
        text.map(|text| dates::days(flag, text, &calendar))
            .transpose()
    };
    let from = read("--from", args.from.as_deref())?.map(|(first, _)| first);
    let to = read("--to", args.to.as_deref())?.map(|(_, last)| last);
    let asked = match (args.month, args.last) {
        (Some(month), _) => Asked::Month(month),
        (None, Some(last)) => last,
        (None, None) => Asked::Range(from, to),
    };
    let period = Period::of(asked, settings.zone, now).map_err(Failure::usage)?;
    // Days that are all yet to come have no sessions, and stay as they were asked for.
    let to = match asked {
        Asked::Range(Some(_), Some(to)) => to,
        Asked::Month(first) => first + Months::new(1) - Days::new(1),
        _ => period.to,
    };
    Ok(if period.from > today {
        Period {
            to: to.min(LAST_DAY - Days::new(1)).max(period.from),
            ..period
        }
    } else {
        period
    })
}

/// Whether sessions of a period are still to be loaded.
fn is_pending(basis: &ReportBasis, period: Period, settings: &Settings) -> bool {
    let (from, to) = period.instants(settings.zone);
    let is_never_loaded = basis.as_of.is_none() && basis.oldest.is_none();
    is_never_loaded || basis.pending.iter().any(|span| span.meets((from, to)))
}

fn clock(settings: &Settings, basis: &ReportBasis, now: Timestamp) -> OpenClock {
    OpenClock::new(settings, basis.oldest.unwrap_or(now).min(now), now)
}

/// The filters with ids instead of names, and as they are shown.
fn filters(
    args: &ReportArgs,
    stages: Vec<Stage>,
    names: &Names,
) -> Result<(Filter, Vec<ShownFilter>), Failure> {
    let mut shown = Vec::new();
    let mut resolve = |of, flag: &str, resource, wanted: &[String], list: &[Named]| {
        let ids = resolved(flag, resource, wanted, list)?;
        if !ids.is_empty() {
            let name = |id: &Uuid| {
                let known = list.iter().find(|known| known.id == *id);
                known.map_or_else(|| id.to_string(), Named::shown)
            };
            let mut names: Vec<String> = ids.iter().map(name).collect();
            if of == "agent" && args.anonymous {
                names = vec![ids.len().to_string()];
            }
            shown.push(ShownFilter { of, names });
        }
        Ok::<_, Failure>(ids)
    };
    let filter = Filter {
        channels: resolve(
            "channel",
            "--channel",
            Resource::Channels,
            &args.channels,
            &names.channels,
        )?,
        departments: resolve(
            "department",
            "--department",
            Resource::Departments,
            &args.departments,
            &names.departments,
        )?,
        agents: resolve(
            "agent",
            "--agent",
            Resource::Agents,
            &args.agents,
            &names.agents,
        )?,
        tags: resolve("tag", "--tag", Resource::Tags, &args.tags, &names.tags)?,
        stages,
        campaigns: args.campaigns.clone(),
    };
    if !args.status.is_empty() {
        shown.push(ShownFilter {
            of: "status",
            names: args.status.iter().map(|&it| it.to_owned()).collect(),
        });
    }
    if !args.campaigns.is_empty() {
        shown.push(ShownFilter {
            of: "campaign",
            names: args.campaigns.clone(),
        });
    }
    Ok((filter, shown))
}

fn resolved(
    flag: &str,
    resource: Resource,
    wanted: &[String],
    list: &[Named],
) -> Result<Vec<Uuid>, Failure> {
    let names = list.iter().map(|it| (it.id, it.names.as_slice()));
    let catalog = Catalog::of_names(resource, names);
    catalog.resolve_all(flag, wanted)
}

/// Refuses campaigns that no session of these days has: there is no list of them.
fn check_campaigns(args: &ReportArgs, known: &[String]) -> Result<(), Failure> {
    for name in &args.campaigns {
        if known.contains(name) {
            continue;
        }
        let near = nearest(name, known.iter().map(String::as_str), 5);
        let near = if near.is_empty() {
            String::new()
        } else {
            format!(" (similar: {})", near.join(", "))
        };
        return Err(Failure::usage_text(format!(
            "--campaign: no session of these days has the campaign {name:?}{near}"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_months_and_lengths_are_read() {
        assert_eq!(last("30d"), Ok(Asked::LastDays(30)));
        assert_eq!(last(" 4w "), Ok(Asked::LastDays(28)));
        assert_eq!(last("3m"), Ok(Asked::LastMonths(3)));
        for text in ["", "0d", "d", "30", "3y", "-3d", "3é"] {
            assert!(last(text).is_err(), "{text}");
        }
        assert_eq!(month("2026-05"), Ok("2026-05-01".parse().unwrap()));
        for text in ["2026-13", "2026-5", "05/2026", "2026-05-01", "ééé"] {
            assert!(month(text).is_err(), "{text}");
        }
    }
}
