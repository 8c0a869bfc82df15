//! `export`: writes tables and views to files.

#![expect(
    clippy::doc_markdown,
    reason = "help texts are read in a terminal, where nothing renders back-quotes"
)]

use std::path::PathBuf;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::choices::{Choice, choice};
use super::{
    Access, Calendar, Context, Exit, Failure, dates, engine, exact_is_for_csv, refused_options,
    report, stored,
};
use crate::config::{Zone, nearest};
use crate::data::{Resource, Timestamp, counted};
use crate::export::{
    self, DayRange, ExportError, ExportedAccount, ExportedTable, Folder, Format, Manifest, Request,
    Split, Style,
};
use crate::report::Language;
use crate::store::{ExportSnapshot, Relation, RowTime, StoredAccount, relations};

/// Write tables and views to files.
///
/// Reads only the database, beside a running sync, and all files from one state of it. Writes a file
/// for each table or view, for large ones a file for each month, and manifest.json with the columns of
/// each table, and the rows, the length and the SHA-256 of each file. The files get their names when
/// all of them are complete: an export that fails or is stopped leaves those of the export before.
/// Only the user who runs it may read them.
///
/// Without --table and --view it writes the tables of records and of their tags. Files contain
/// personal data of contacts, unless only views without it are chosen.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  helena-sync export
  helena-sync export --format ndjson --output /srv/lake/helena
  helena-sync export --view report_daily,report_agents --from 2026-01-01 --lang pt-BR --format xlsx
  helena-sync export --table sessions --split none --exact --format csv", args = refused_options::hidden(refused_options::REPORT))]
pub struct ExportArgs {
    /// Table, or all; may be repeated or a list with commas [default: those of records and tags]
    #[arg(
        long = "table",
        value_name = "TABLE",
        value_delimiter = ',',
        help_heading = "Which rows"
    )]
    pub tables: Vec<String>,
    /// View, or all; may be repeated or a list with commas [default: none]
    #[arg(
        long = "view",
        value_name = "VIEW",
        value_delimiter = ',',
        help_heading = "Which rows"
    )]
    pub views: Vec<String>,
    /// First day: 2025-12-31, 2025-12, today, yesterday or 7d (so long ago). Sessions and contacts
    /// belong to the day of their creation, their tags to that of the session or contact, rows of
    /// views to their own day or month; lists such as channels are always whole [default: no limit]
    #[arg(long, value_name = "DAY", help_heading = "Which rows")]
    pub from: Option<String>,
    /// Last day, included [default: no limit]
    #[arg(long, value_name = "DAY", help_heading = "Which rows")]
    pub to: Option<String>,
    /// Export although the first load has not read all sessions or contacts of these days yet
    #[arg(long, help_heading = "Which rows")]
    pub partial: bool,
    #[cfg_attr(
        feature = "parquet",
        doc = "csv, ndjson (a JSON object on each line), xlsx or parquet"
    )]
    #[cfg_attr(
        not(feature = "parquet"),
        doc = "csv, ndjson (a JSON object on each line) or xlsx"
    )]
    #[arg(short, long, value_name = "FORMAT", default_value_t, value_parser = formats())]
    pub format: Format,
    /// Folder of the files; it is created if necessary. Files of the same names in it are replaced, and
    /// those of the export before that this one does not write are removed
    #[arg(long, value_name = "FOLDER", default_value = "helena-export")]
    pub output: PathBuf,
    /// When sessions, contacts, report_sessions and report_completed become a file for each month:
    /// auto (if they have more than 100,000 rows), month or none
    #[arg(long, value_name = "WHEN", value_parser = splits(), default_value = "auto")]
    pub split: Split,
    /// Language of csv and xlsx: en or pt-BR; csv in pt-BR has semicolons, decimal commas and local
    /// times, for spreadsheets [default: en]
    #[arg(long, value_name = "LANGUAGE", value_parser = report::languages())]
    pub lang: Option<Language>,
    /// What separates values of csv: a comma, a semicolon, a bar or tab [default: a comma; with --lang pt-BR
    /// a semicolon]
    #[arg(long, value_name = "CHARACTER", value_parser = delimiter)]
    pub delimiter: Option<u8>,
    /// With csv: write texts as they are. Otherwise those that a spreadsheet would take for formulas get
    /// an apostrophe, in JSON an escape
    #[arg(long)]
    pub exact: bool,
}

fn formats() -> Choice<Format> {
    choice(Format::ALL.iter().map(|&format| (format.as_str(), format)))
}

fn splits() -> Choice<Split> {
    choice([
        ("auto", Split::Auto),
        ("month", Split::Month),
        ("none", Split::None),
    ])
}

fn delimiter(text: &str) -> Result<u8, String> {
    match text {
        "," | ";" | "|" | "\t" => Ok(text.as_bytes()[0]),
        "tab" | "\\t" => Ok(b'\t'),
        _ => Err("must be , ; | or tab".to_owned()),
    }
}

/// The table or view of this name.
fn relation(flag: &str, name: &str, is_view: bool) -> Result<&'static Relation, Failure> {
    let known = relations().iter().find(|it| it.name == name);
    if let Some(known) = known.filter(|known| known.is_view == is_view) {
        return Ok(known);
    }
    if known.is_some() {
        let (what, other) = if is_view {
            ("table", "--table")
        } else {
            ("view", "--view")
        };
        return Err(Failure::usage_text(format!(
            "{flag}: {name} is a {what}: use {other} {name}"
        )));
    }
    let name: String = name.chars().take(60).collect();
    let kind = relations().iter().filter(|it| it.is_view == is_view);
    let names: Vec<&str> = kind.map(|it| it.name).collect();
    let near = nearest(&name, names.iter().copied(), 5);
    let hint = if near.is_empty() {
        format!("there are: {}", names.join(", "))
    } else {
        format!("did you mean {}?", near.join(", "))
    };
    let what = if is_view { "view" } else { "table" };
    Err(Failure::usage_text(format!(
        "{flag}: there is no {what} {name:?} ({hint})"
    )))
}

/// The tables and views that are asked for, each once.
fn chosen(args: &ExportArgs) -> Result<Vec<&'static Relation>, Failure> {
    let mut chosen: Vec<&'static Relation> = Vec::new();
    let mut add = |relation: &'static Relation| {
        if !chosen.iter().any(|it| it.name == relation.name) {
            chosen.push(relation);
        }
    };
    if args.tables.is_empty() && args.views.is_empty() {
        let of_records = Resource::ALL.map(Resource::name);
        let tables = of_records
            .into_iter()
            .chain(["session_tags", "contact_tags"]);
        for name in tables {
            add(relation("--table", name, false)?);
        }
    }
    for (flag, names, is_view) in [
        ("--table", &args.tables, false),
        ("--view", &args.views, true),
    ] {
        for name in names {
            let name = name.trim();
            if name == "all" {
                let all = relations().iter().filter(|it| it.is_view == is_view);
                all.for_each(&mut add);
            } else {
                add(relation(flag, name, is_view)?);
            }
        }
    }
    Ok(chosen)
}

/// Refuses options that this format has no use for.
fn check(args: &ExportArgs) -> Result<(), Failure> {
    exact_is_for_csv(args.exact, args.format == Format::Csv)?;
    if args.delimiter.is_some() && args.format != Format::Csv {
        return Err(Failure::usage_text(
            "--delimiter is for --format csv. Leave it out.",
        ));
    }
    if args.lang.is_some() && !matches!(args.format, Format::Csv | Format::Xlsx) {
        return Err(Failure::usage_text(format!(
            "--lang is for --format csv and xlsx: {} is the same in every language. Leave it out.",
            args.format
        )));
    }
    Ok(())
}

/// Writes the files.
pub(super) async fn run(context: &Context, args: ExportArgs) -> Result<Exit, Failure> {
    check(&args)?;
    let relations = chosen(&args)?;
    let stop = engine::signals(Exit::Failed)?;
    let store = context.store(Access::Read).await?;
    let accounts = stored::covered(context, &store).await?;
    // Before the first reading: what was committed by now is in the files.
    let now = context.clock.now();
    let ids = accounts.iter().map(|account| account.id).collect();
    let mut snapshot = store.export_snapshot(ids).await?;
    let written = write(
        context,
        &args,
        relations,
        &accounts,
        &mut snapshot,
        now,
        &stop,
    )
    .await;
    snapshot.end().await;
    let unwritten = store.check_unwritten();
    store.close().await;
    if written.is_err() {
        // That may be why.
        unwritten?;
    }
    let manifest = written?;
    conclude(context, &args, &manifest);
    Ok(Exit::Done)
}

async fn write(
    context: &Context,
    args: &ExportArgs,
    relations: Vec<&'static Relation>,
    accounts: &[StoredAccount],
    snapshot: &mut ExportSnapshot,
    now: Timestamp,
    stop: &CancellationToken,
) -> Result<Manifest, Failure> {
    let zone = match snapshot.settings() {
        Some(settings) => settings.zone,
        None => context.settings.report()?.settings(context.zone()?).zone,
    };
    let calendar = Calendar {
        zone: Zone(zone),
        now,
        ..context.calendar()?
    };
    let request = Request {
        relations,
        style: Style {
            format: args.format,
            language: args.lang.unwrap_or_default(),
            delimiter: args.delimiter,
            is_exact: args.exact,
            zone,
        },
        split: args.split,
        days: days(args, &calendar)?,
    };
    let accounts = exported_accounts(context, args.partial, &request, accounts, snapshot).await?;
    let mut folder = Folder::take(&args.output)?;
    let told = |table: &ExportedTable| {
        let files = match table.files.as_slice() {
            [one] => one.name.clone(),
            several => counted(several.len() as u64, "file"),
        };
        context.note(&format!(
            "{}: {}, {files}",
            table.name,
            counted(table.rows(), "row")
        ));
    };
    let tables = export::export(&request, snapshot, &mut folder, stop, told).await?;
    snapshot.check_unwritten()?;
    let style = request.style;
    let is_for_people = matches!(args.format, Format::Csv | Format::Xlsx);
    let manifest = Manifest {
        helena_sync: env!("CARGO_PKG_VERSION"),
        snapshot_at: now,
        format: args.format.as_str(),
        language: is_for_people.then(|| style.language.code()),
        delimiter: style.csv_delimiter().map(|it| char::from(it).to_string()),
        times: if style.has_local_times() {
            zone.name().to_owned()
        } else {
            "UTC".to_owned()
        },
        days: zone.name().to_owned(),
        accounts,
        tables,
    };
    let text = manifest.text().map_err(Failure::failed)?;
    let removed = folder.publish("manifest.json", &text)?;
    if removed > 0 {
        context.note(&format!(
            "{} of the export before removed, which this one does not write",
            counted(removed, "file")
        ));
    }
    Ok(manifest)
}

/// How complete the accounts are. Refuses those of which the first load has not read everything that is
/// asked for, unless a part is wanted.
async fn exported_accounts(
    context: &Context,
    is_partial: bool,
    request: &Request,
    accounts: &[StoredAccount],
    snapshot: &mut ExportSnapshot,
) -> Result<Vec<ExportedAccount>, Failure> {
    // What is not mirrored is never loaded.
    let mut loaded = context.settings.sync()?.resources;
    loaded.retain(|resource| {
        let mut needed = request.relations.iter().map(|it| it.loaded_with());
        needed.any(|needed| needed == Some(*resource))
    });
    let range = request.days.instants(request.style.zone);
    let mut exported = Vec::new();
    let mut lacking: Vec<String> = Vec::new();
    for (account, basis) in accounts.iter().zip(snapshot.basis().await?) {
        let is_pending = |resource: &Resource| {
            let mut pending = basis.pending.iter();
            pending.any(|(of, span)| of == resource && span.meets(range))
        };
        let resources = loaded.iter().filter(|resource| is_pending(resource));
        let resources: Vec<&str> = resources.map(|resource| resource.name()).collect();
        if !resources.is_empty() {
            lacking.push(format!(
                "{} of account {}",
                resources.join(" and "),
                account.name
            ));
        }
        exported.push(ExportedAccount {
            id: account.id.0,
            name: account.name.clone(),
            as_of: basis.as_of,
            complete: resources.is_empty(),
        });
    }
    if lacking.is_empty() {
        return Ok(exported);
    }
    let lacking = lacking.join(", ");
    if !is_partial {
        return Err(Failure::failed(anyhow::anyhow!(
            "the first load has not read everything that is asked for yet ({lacking}): wait until it ends \
             (`helena-sync status` shows how far it is), or add --partial"
        )));
    }
    context.note(&format!(
        "the first load has not read everything yet ({lacking}): the files lack rows"
    ));
    Ok(exported)
}

/// The days that are asked for.
fn days(args: &ExportArgs, calendar: &Calendar) -> Result<DayRange, Failure> {
    let day = |flag, text: Option<&str>| {
        text.map(|text| dates::days(flag, text, calendar))
            .transpose()
            .map_err(Failure::usage)
    };
    let from = day("--from", args.from.as_deref())?.map(|(first, _)| first);
    let to = day("--to", args.to.as_deref())?.map(|(_, last)| last);
    if let (Some(from), Some(to)) = (from, to)
        && from > to
    {
        return Err(Failure::usage_text(format!(
            "--from {from} is after --to {to}: exchange them"
        )));
    }
    Ok(DayRange { from, to })
}

/// The names of tables, in the order of the export.
fn names<'a>(tables: impl Iterator<Item = &'a ExportedTable>) -> String {
    let names: Vec<&str> = tables.map(|table| table.name).collect();
    names.join(", ")
}

/// Says which rows the days leave out, and which they do not.
fn tell_days(context: &Context, manifest: &Manifest) {
    let time = |table: &&ExportedTable| {
        let known = relations().iter().find(|it| it.name == table.name);
        known.and_then(Relation::time)
    };
    let tables = || manifest.tables.iter();
    let whole = names(tables().filter(|table| time(table).is_none()));
    if !whole.is_empty() {
        context.note(&format!(
            "whole, since their rows belong to no day: {whole}"
        ));
    }
    let is_monthly = |table: &&ExportedTable| matches!(time(table), Some(RowTime::Month(_)));
    if let Some(monthly) = tables().find(is_monthly) {
        let limit = |word, day: Option<_>| day.map(|day| format!(" {word} {day}"));
        context.note(&format!(
            "whole months{}{}, since their rows are of months: {}",
            limit("from", monthly.from).unwrap_or_default(),
            limit("to", monthly.to).unwrap_or_default(),
            names(tables().filter(is_monthly))
        ));
    }
    for table in tables().filter(|table| table.undated_rows > 0) {
        let of = match table.name {
            "sessions" | "contacts" => "they have",
            _ => "what they belong to has",
        };
        context.note(&format!(
            "{}: {} without a day left out, since {of} no time of creation",
            table.name,
            counted(table.undated_rows, "row")
        ));
    }
    let mut dated = tables().filter(|table| time(table).is_some()).peekable();
    if dated.peek().is_some() && dated.all(|table| table.rows() == 0) {
        context.note("no row belongs to these days");
    }
}

/// Says what there is to know about the files.
fn conclude(context: &Context, args: &ExportArgs, manifest: &Manifest) {
    if args.from.is_some() || args.to.is_some() {
        tell_days(context, manifest);
    }
    let altered = manifest.altered();
    if altered.guarded > 0 {
        context.note(&format!(
            "{} got an apostrophe, or an escape within JSON, because a spreadsheet would compute or change \
             what it says; --exact leaves it out",
            counted(altered.guarded, "text")
        ));
    }
    if altered.cut > 0 {
        let was = if altered.cut == 1 { "was" } else { "were" };
        context.note(&format!(
            "{} {was} cut, because a cell of a workbook holds no more; the other formats have all of it",
            counted(altered.cut, "text")
        ));
    }
    let files: usize = manifest.tables.iter().map(|table| table.files.len()).sum();
    context.note(&format!(
        "{} and manifest.json written to {}",
        counted(files as u64, "file"),
        args.output.display()
    ));
}

impl From<ExportError> for Failure {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::Store(error) => error.into(),
            ExportError::File { .. } | ExportError::Stopped => Self::failed(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_says_from_how_many_rows_on_tables_are_divided() {
        use clap::CommandFactory as _;
        let mut cli = super::super::Cli::command();
        let command = cli.find_subcommand_mut("export").unwrap();
        let help = command.render_long_help().to_string();
        assert!(
            help.contains(&crate::data::grouped(export::LARGE)),
            "{help}"
        );
    }

    #[test]
    fn names_of_tables_and_views_are_checked() {
        let problem = |flag: &str, name: &str, is_view: bool| {
            relation(flag, name, is_view).unwrap_err().text()
        };
        let text = problem("--table", "session", false);
        assert!(text.contains("did you mean sessions"), "{text}");
        let text = problem("--table", "report_daily", false);
        assert!(
            text.contains("is a view: use --view report_daily"),
            "{text}"
        );
        let text = problem("--view", "zzz", true);
        assert!(text.contains("there are: "), "{text}");
        for text in [",", ";", "|", "tab"] {
            assert!(delimiter(text).is_ok(), "{text}");
        }
        for text in ["", "x", "\"", ",,", "é"] {
            assert!(delimiter(text).is_err(), "{text}");
        }
    }
}
