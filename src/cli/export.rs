//! `export`: writes tables and views to files.

#![expect(
    clippy::doc_markdown,
    reason = "help texts are read in a terminal, where nothing renders back-quotes"
)]

use std::path::PathBuf;

use chrono::NaiveDate;
use clap::Args;
use tokio_util::sync::CancellationToken;

use super::choices::{Choice, choice};
use super::record::number;
use super::{
    Access, Calendar, Context, Exit, Failure, dates, engine, exact_is_for_csv, refused_options,
    report, stored,
};
use crate::config::{Zone, nearest};
use crate::data::{Resource, counted};
use crate::export::{
    self, ExportError, ExportedAccount, ExportedTable, Folder, Format, Manifest, Request, Split,
    Style,
};
use crate::report::Language;
use crate::store::{ExportSnapshot, Relation, StoredAccount, relations};

/// Write tables and views to files.
///
/// Reads only the database, beside a running sync, and all files from one state of it. Writes a file
/// for each table or view, for large ones a file for each month, and manifest.json with the rows, the
/// columns, the length and the SHA-256 of each file. The files get their names when all of them are
/// complete: an export that fails or is stopped changes nothing. Only the user who runs it may read
/// them.
///
/// Without --table and --view it writes the tables of records and of their tags. Files contain
/// personal data of contacts, unless only views without it are chosen.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  helena-sync export
  helena-sync export --format parquet --output /srv/lake/helena
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
    /// views to their own day; lists such as channels are always whole
    #[arg(long, value_name = "DAY", help_heading = "Which rows")]
    pub from: Option<String>,
    /// Last day, included
    #[arg(long, value_name = "DAY", help_heading = "Which rows")]
    pub to: Option<String>,
    /// csv, ndjson (a JSON object on each line), xlsx or parquet
    #[arg(short, long, value_name = "FORMAT", default_value_t, value_parser = formats())]
    pub format: Format,
    /// Folder of the files; it is created, and files of the same names in it are replaced
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
    /// an apostrophe
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
    store.close().await;
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
    now: crate::data::Timestamp,
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
    let days = days(args, &calendar)?;
    let style = Style {
        format: args.format,
        language: args.lang.unwrap_or_default(),
        delimiter: args.delimiter,
        is_exact: args.exact,
        zone,
    };
    let request = Request {
        relations,
        style,
        split: args.split,
        days,
    };
    let as_of = snapshot.as_of().await?;
    let mut folder = Folder::take(&args.output)?;
    let told = |table: &ExportedTable| {
        let files = match table.files.len() {
            1 => table.files[0].name.clone(),
            several => format!("{several} files"),
        };
        let rows = table.rows();
        let rows_are = if rows == 1 { "row" } else { "rows" };
        context.note(&format!(
            "{}: {} {rows_are}, {files}",
            table.name,
            number(rows)
        ));
    };
    let tables = export::export(&request, snapshot, &mut folder, stop, told).await?;
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
        accounts: accounts
            .iter()
            .zip(as_of)
            .map(|(account, as_of)| ExportedAccount {
                id: account.id.0,
                name: account.name.clone(),
                as_of,
            })
            .collect(),
        tables,
    };
    let text = manifest.text().map_err(Failure::failed)?;
    folder.publish("manifest.json", &text)?;
    Ok(manifest)
}

/// The first and the last day.
fn days(args: &ExportArgs, calendar: &Calendar) -> Result<Option<(NaiveDate, NaiveDate)>, Failure> {
    let day = |flag, text: Option<&str>| {
        text.map(|text| dates::days(flag, text, calendar))
            .transpose()
            .map_err(Failure::usage)
    };
    let from = day("--from", args.from.as_deref())?.map(|(first, _)| first);
    let to = day("--to", args.to.as_deref())?.map(|(_, last)| last);
    if from.is_none() && to.is_none() {
        return Ok(None);
    }
    let from = from.unwrap_or(crate::reporting::FIRST_DAY);
    let to = to.unwrap_or(crate::reporting::LAST_DAY);
    if from > to {
        return Err(Failure::usage_text(format!(
            "--from {from} is after --to {to}: exchange them"
        )));
    }
    Ok(Some((from, to)))
}

/// Says what there is to know about the files.
fn conclude(context: &Context, args: &ExportArgs, manifest: &Manifest) {
    let whole: Vec<&str> = manifest
        .tables
        .iter()
        .filter(|table| table.from.is_none())
        .map(|table| table.name)
        .collect();
    if (args.from.is_some() || args.to.is_some()) && !whole.is_empty() {
        context.note(&format!(
            "whole, since their rows belong to no day: {}",
            whole.join(", ")
        ));
    }
    let altered = manifest.altered();
    let texts = |count: u64| match count {
        1 => "1 text".to_owned(),
        several => format!("{} texts", number(several)),
    };
    if altered.guarded > 0 {
        context.note(&format!(
            "{} got an apostrophe, because a spreadsheet would compute or change what it says; --exact \
             leaves it out",
            texts(altered.guarded)
        ));
    }
    if altered.cut > 0 {
        context.note(&format!(
            "{} cut, because a cell of a workbook holds no more; csv, ndjson and parquet have all of it",
            if altered.cut == 1 {
                "1 text was".to_owned()
            } else {
                format!("{} were", texts(altered.cut))
            }
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
        assert!(help.contains(&number(export::LARGE)), "{help}");
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
