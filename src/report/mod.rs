//! A report as people read it: tables, JSON, CSV, Markdown, HTML and XLSX, in two languages.
//!
//! Every format is made from the same [`Sheet`]s, so that they cannot disagree. Pure: numbers in, bytes
//! out. Must not know the database, the command line or the clock.

mod csv;
mod html;
mod json;
mod language;
mod metrics;
mod sheet;
mod sheets;
mod terminal;
mod words;
mod xlsx;

use std::fmt;
use std::str::FromStr;

use chrono_tz::Tz;

use crate::data::Timestamp;
use crate::reporting::{By, Figures, Settings};
use words::Words;

pub use language::{Language, Moved};
pub use metrics::{METRICS, Metrics};
pub use sheet::{Column, Sheet, Value};

/// The form of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Tables for a terminal.
    #[default]
    Table,
    /// All sections, with whole numbers.
    Json,
    /// The breakdown alone.
    Csv,
    /// All sections, for a wiki or a chat.
    Md,
    /// One page to forward, with charts.
    Html,
    /// A workbook with a sheet for each section.
    Xlsx,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 6] = [
        Self::Table,
        Self::Json,
        Self::Csv,
        Self::Md,
        Self::Html,
        Self::Xlsx,
    ];

    /// As typed on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Md => "md",
            Self::Html => "html",
            Self::Xlsx => "xlsx",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Format {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|format| format.as_str() == text)
            .ok_or_else(|| "must be table, json, csv, md, html or xlsx".to_owned())
    }
}

/// A filter as it is shown: what it is of, and the names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownFilter {
    /// The flag without its dashes, such as `channel`.
    pub of: &'static str,
    /// What was chosen.
    pub names: Vec<String>,
}

/// A report: its figures, and what must be known to read them.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own"
)]
pub struct Report {
    /// The account.
    pub account: String,
    /// Days, hours and targets.
    pub settings: Settings,
    /// Up to when the copy is complete.
    pub as_of: Option<Timestamp>,
    /// Which sessions.
    pub filters: Vec<ShownFilter>,
    /// Whether durations to the first response and to the end count open hours alone.
    pub is_open_hours: bool,
    /// Whether CSV has texts as they are, also those that a spreadsheet takes for formulas.
    pub is_exact: bool,
    /// Which metrics are shown.
    pub metrics: Metrics,
    /// Whether the breakdown was asked for, and is shown even where sections have it anyway.
    pub is_by_asked: bool,
    /// Whether the period is not loaded completely.
    pub is_partial: bool,
    /// Whether days were to be compared that are not loaded.
    pub lacks_compared: bool,
    /// Whether to add definitions where they are not shown anyway.
    pub has_definitions: bool,
    /// Sessions that only others refer to.
    pub without_created_at: u64,
    /// Records that could not be stored.
    pub rejects: u64,
    /// When sessions were last verified, and how many differences that found.
    pub verified: Option<(Timestamp, u64)>,
    /// The figures.
    pub figures: Figures,
}

impl Report {
    const fn zone(&self) -> Tz {
        self.settings.zone
    }

    const fn has_hours(&self) -> bool {
        self.settings.hours.are_known()
    }
}

/// The metrics that were chosen, but have no row and no column in this format.
pub fn metrics_without_place(report: &Report, format: Format) -> Vec<&'static str> {
    let words = Words::whole(report, Language::En);
    let question = &report.figures.question;
    let mut sheets = Vec::new();
    match format {
        Format::Table => sheets.push(words.short(question.by, &report.figures.by)),
        Format::Md if !report.is_by_asked => {}
        _ => sheets.push(words.by_sheet()),
    }
    if !matches!(format, Format::Table | Format::Csv) {
        sheets.extend([By::Department, By::Agent, By::Channel].map(|by| words.people(by)));
    }
    let columns = sheets.iter().flat_map(|sheet| &sheet.columns);
    let mut keys: Vec<&str> = columns.map(|column| column.key).collect();
    if format != Format::Csv {
        keys.extend(words.figures().iter().map(|figure| figure.key));
        keys.extend(words.metrics().iter().map(|metric| metric.key));
    }
    let has_place = |metric: &&'static str| {
        let metric = Metrics(vec![*metric]);
        keys.iter().any(|key| metric.show(key))
    };
    let chosen = report.metrics.0.iter().copied();
    chosen.filter(|metric| !has_place(metric)).collect()
}

/// Why a report could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the report as {format}")]
pub struct RenderError {
    format: Format,
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// The bytes of a report. `width` is that of the terminal, if it is for one.
pub fn render(
    report: &Report,
    format: Format,
    language: Language,
    width: Option<u16>,
) -> Result<Vec<u8>, RenderError> {
    let failed = |source| RenderError { format, source };
    match format {
        Format::Table => Ok(terminal::table(report, language, width).into_bytes()),
        Format::Md => Ok(terminal::markdown(report, language).into_bytes()),
        Format::Json => json::render(report).map_err(|error| failed(error.into())),
        Format::Csv => csv::render(report, language).map_err(|error| failed(error.into())),
        Format::Html => Ok(html::render(report, language).into_bytes()),
        Format::Xlsx => xlsx::render(report, language).map_err(|error| failed(error.into())),
    }
}
