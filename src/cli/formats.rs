//! `--format`, and `--json` as its short form: the same for every command that prints data.

use clap::Args;

use super::choices::{Choice, choice};
use crate::output::Format;
use crate::report;

/// The format of records.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct RecordFormat {
    /// table (the most important fields, as far as they fit), json (one array), ndjson (one record on
    /// each line) or csv (all columns, named as in the database, with times in UTC)
    #[arg(short, long, value_name = "FORMAT", default_value_t, value_parser = records())]
    format: Format,
    /// Short for --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

impl RecordFormat {
    /// The chosen format.
    pub fn chosen(self) -> Format {
        if self.json { Format::Json } else { self.format }
    }
}

fn records() -> Choice<Format> {
    choice(Format::ALL.map(|format| (format.as_str(), format)))
}

/// The format of what is no list of records: a text with tables, or JSON.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct TextOrJson {
    /// table, or json for programs
    #[arg(short, long, value_name = "FORMAT", default_value_t, value_parser = texts())]
    format: Format,
    /// Short for --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

impl TextOrJson {
    /// Whether JSON was chosen.
    pub fn is_json(self) -> bool {
        self.chosen() == Format::Json
    }

    /// The chosen format.
    pub fn chosen(self) -> Format {
        if self.json { Format::Json } else { self.format }
    }
}

fn texts() -> Choice<Format> {
    choice([Format::Table, Format::Json].map(|format| (format.as_str(), format)))
}

/// The format of a report.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct ReportFormat {
    /// table, json, csv, md, html or xlsx
    #[arg(short, long, value_name = "FORMAT", default_value_t, value_parser = reports())]
    format: report::Format,
    /// Short for --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

impl ReportFormat {
    /// The chosen format.
    pub fn chosen(self) -> report::Format {
        if self.json {
            report::Format::Json
        } else {
            self.format
        }
    }
}

fn reports() -> Choice<report::Format> {
    choice(report::Format::ALL.map(|format| (format.as_str(), format)))
}
