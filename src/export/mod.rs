//! Writes tables and views to files: CSV, NDJSON, XLSX and Parquet, with a manifest.
//!
//! All rows of one call are of one state of the database. They are written as they arrive, so that memory
//! stays flat, into a folder beside the files that are to be replaced. Only when all of them are complete
//! do they get their names, the manifest last. Must not know the command line, SQL or the clock.

mod csv;
mod folder;
mod manifest;
mod ndjson;
#[cfg(feature = "parquet")]
mod parquet;
mod xlsx;

use std::fmt;
use std::fs::File;
use std::io;
use std::path::PathBuf;

use chrono::{Datelike as _, Days, Months, NaiveDate, Offset as _};
use chrono_tz::Tz;
use tokio_util::sync::CancellationToken;

use crate::data::Timestamp;
use crate::report::Language;
use crate::reporting::{first_instant, local_date};
use crate::store::{
    Cell, DayStart, ExportSnapshot, Relation, RelationColumn, RowTime, Rows, StoreError,
};

pub use folder::Folder;
pub use manifest::{ExportedAccount, ExportedFile, ExportedTable, Manifest};

/// The form of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Values separated by commas.
    #[default]
    Csv,
    /// A JSON object on each line.
    Ndjson,
    /// Workbooks.
    Xlsx,
    /// Apache Parquet.
    #[cfg(feature = "parquet")]
    Parquet,
}

impl Format {
    /// All formats.
    pub const ALL: &[Self] = &[
        Self::Csv,
        Self::Ndjson,
        Self::Xlsx,
        #[cfg(feature = "parquet")]
        Self::Parquet,
    ];

    /// As typed on the command line, and the ending of files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
            Self::Xlsx => "xlsx",
            #[cfg(feature = "parquet")]
            Self::Parquet => "parquet",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// The form of files.
    pub format: Format,
    /// In Portuguese, CSV is as the spreadsheets of Brazil open it.
    pub language: Language,
    /// What separates values of CSV, instead of that of the language.
    pub delimiter: Option<u8>,
    /// Whether CSV has texts as they are, also those that a spreadsheet takes for formulas.
    pub is_exact: bool,
    /// The zone of times in files for people.
    pub zone: Tz,
}

impl Style {
    /// What separates values, in CSV.
    pub fn csv_delimiter(&self) -> Option<u8> {
        let by_language = match self.language {
            Language::En => b',',
            Language::PtBr => b';',
        };
        (self.format == Format::Csv).then(|| self.delimiter.unwrap_or(by_language))
    }

    /// Whether times are those of the zone's clocks, for people, instead of UTC.
    pub fn has_local_times(&self) -> bool {
        match self.format {
            Format::Csv => self.language == Language::PtBr,
            Format::Xlsx => true,
            Format::Ndjson => false,
            #[cfg(feature = "parquet")]
            Format::Parquet => false,
        }
    }

    /// The reading of the zone's clocks, in microseconds since 1970 there.
    fn local(self, at: Timestamp) -> i64 {
        let offset = at
            .to_datetime()
            .with_timezone(&self.zone)
            .offset()
            .fix()
            .local_minus_utc();
        at.micros() + i64::from(offset) * MICROS
    }
}

const MICROS: i64 = 1_000_000;

/// Spreadsheets do not keep whole numbers from this one on.
const NOT_KEPT_WHOLE: u64 = 1_000_000_000_000_000;

/// The days since 1970-01-01.
fn days_since_1970(day: NaiveDate) -> i64 {
    day.signed_duration_since(NaiveDate::default()).num_days()
}

/// When a table becomes a file for each month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Split {
    /// If it has more than [`LARGE`] rows.
    #[default]
    Auto,
    /// Always.
    Month,
    /// Never.
    None,
}

/// A table of more rows becomes a file for each month.
pub const LARGE: u64 = 100_000;

/// Days of the reports' time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DayRange {
    /// The first day; `None` for no limit.
    pub from: Option<NaiveDate>,
    /// The last day, included; `None` for no limit.
    pub to: Option<NaiveDate>,
}

impl DayRange {
    /// Whether it has no limit on either side.
    pub const fn is_all(self) -> bool {
        self.from.is_none() && self.to.is_none()
    }

    /// The whole months that its days belong to.
    fn months(self) -> Self {
        let last = |to: NaiveDate| next_month(to).and_then(|next| next.pred_opt());
        Self {
            from: self.from.map(month_of),
            to: self.to.map(|to| last(to).unwrap_or(to)),
        }
    }

    /// The first day and the one after the last, with their first instants.
    fn starts(self, zone: Tz) -> (Option<DayStart>, Option<DayStart>) {
        let after = self.to.and_then(|to| to.checked_add_days(Days::new(1)));
        (
            self.from.and_then(|from| starts(zone, from)),
            after.and_then(|after| starts(zone, after)),
        )
    }

    /// Its first instant and the one after its last, in microseconds since 1970.
    pub fn instants(self, zone: Tz) -> (i64, i64) {
        let (from, to) = self.starts(zone);
        (
            from.map_or(i64::MIN, |it| it.at.micros()),
            to.map_or(i64::MAX, |it| it.at.micros()),
        )
    }
}

/// What to export.
#[derive(Debug, Clone)]
pub struct Request {
    /// The tables and views.
    pub relations: Vec<&'static Relation>,
    /// How values are written.
    pub style: Style,
    /// When a table becomes a file for each month.
    pub split: Split,
    /// The days of tables and views that know days.
    pub days: DayRange,
}

/// Why an export ended.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file could not be written.
    #[error("cannot write {}", .path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It was stopped.
    #[error("stopped: no file was replaced")]
    Stopped,
}

/// What writes the rows of one file.
trait RowWriter: Send {
    fn row(&mut self, cells: &[Cell]) -> io::Result<()>;

    /// Ends the file. Returns what was written in another way than it is stored.
    fn finish(self: Box<Self>) -> io::Result<Altered>;
}

/// How many texts a file has in another way than they are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Altered {
    /// With an apostrophe before them, so that no spreadsheet computes them.
    pub guarded: u64,
    /// Cut, because a cell of a workbook holds no more.
    pub cut: u64,
}

fn writer(
    style: Style,
    folder: &Folder,
    file: File,
    of: &Relation,
) -> io::Result<Box<dyn RowWriter>> {
    let columns: Vec<RelationColumn> = of.columns.clone();
    Ok(match style.format {
        Format::Csv => Box::new(csv::Csv::new(file, &columns, style)?),
        Format::Ndjson => Box::new(ndjson::Ndjson::new(file, &columns)),
        Format::Xlsx => {
            let beside = folder.staging().to_owned();
            Box::new(xlsx::Xlsx::new(file, beside, of.name, columns, style)?)
        }
        #[cfg(feature = "parquet")]
        Format::Parquet => Box::new(parquet::Parquet::new(file, &columns)?),
    })
}

/// The first day of the month of a day.
fn month_of(day: NaiveDate) -> NaiveDate {
    day.with_day(1).unwrap_or(day)
}

/// The first day of the month after that of a day.
fn next_month(day: NaiveDate) -> Option<NaiveDate> {
    month_of(day).checked_add_months(Months::new(1))
}

/// The years of which both databases can tell instants apart. No row lies before or after them.
const YEARS: std::ops::RangeInclusive<i32> = 1..=9999;

/// The beginning of a day; `None` where all rows lie on one side of it.
fn starts(zone: Tz, day: NaiveDate) -> Option<DayStart> {
    let at = Timestamp::from_micros(first_instant(zone, day) * MICROS);
    let is_known = YEARS.contains(&day.year()) && YEARS.contains(&at.to_datetime().year());
    is_known.then_some(DayStart { day, at })
}

/// A month as it is written: `2026-05`.
fn named(month: NaiveDate) -> String {
    month.format("%Y-%m").to_string()
}

/// What a call knows while it writes.
struct Exporting<'a> {
    request: &'a Request,
    snapshot: &'a mut ExportSnapshot,
    folder: &'a mut Folder,
    stop: &'a CancellationToken,
}

/// A file that is being written.
struct OpenFile {
    name: String,
    month: Option<NaiveDate>,
    writer: Box<dyn RowWriter>,
    rows: u64,
}

/// Writes the files of all tables and views, beside those that they are to replace. `told` hears of each
/// table that is complete.
pub async fn export(
    request: &Request,
    snapshot: &mut ExportSnapshot,
    folder: &mut Folder,
    stop: &CancellationToken,
    mut told: impl FnMut(&ExportedTable),
) -> Result<Vec<ExportedTable>, ExportError> {
    let mut tables = Vec::new();
    for relation in &request.relations {
        let mut exporting = Exporting {
            request,
            snapshot,
            folder,
            stop,
        };
        let table = exporting.table(relation).await?;
        told(&table);
        tables.push(table);
    }
    Ok(tables)
}

impl Exporting<'_> {
    async fn table(&mut self, of: &'static Relation) -> Result<ExportedTable, ExportError> {
        let days = match of.time() {
            None => DayRange::default(),
            Some(RowTime::Month(_)) => self.request.days.months(),
            Some(_) => self.request.days,
        };
        let mut table = ExportedTable::new(of, days);
        let (from, to) = days.starts(self.request.style.zone);
        let rows = if days.is_all() {
            Rows::All
        } else {
            Rows::Range { from, to }
        };
        let is_split = of.has_months()
            && match self.request.split {
                Split::None => false,
                Split::Month => true,
                Split::Auto => self.snapshot.count(of, rows).await? > LARGE,
            };
        let mut whole = None;
        if of.has_months() {
            // A month at a time: the database need not sort more.
            let mut parts = self.months(of, from, to).await?;
            if days.is_all() {
                parts.push((None, Rows::Undated));
            }
            for (month, rows) in parts {
                if is_split {
                    let name = month.map_or_else(|| "undated".to_owned(), named);
                    let mut own = self.open(of, Some(&name), month)?;
                    self.copy(of, rows, &mut own).await?;
                    // A view may leave out all rows of the month.
                    if own.rows > 0 {
                        table.files.push(self.close(own)?);
                    }
                } else {
                    let file = self.opened(of, &mut whole)?;
                    self.copy(of, rows, file).await?;
                }
            }
        } else {
            let file = self.opened(of, &mut whole)?;
            self.copy(of, rows, file).await?;
        }
        // A table without any rows has a file, too.
        if whole.is_none() && table.files.is_empty() {
            whole = Some(self.open(of, None, None)?);
        }
        if let Some(file) = whole {
            table.files.push(self.close(file)?);
        }
        if !days.is_all() && of.has_undated() {
            table.undated_rows = self.snapshot.count(of, Rows::Undated).await?;
        }
        Ok(table)
    }

    /// The months that may have rows, each with them. They follow each other without a gap, and the first
    /// and the last one are as open as the range.
    async fn months(
        &mut self,
        of: &Relation,
        from: Option<DayStart>,
        to: Option<DayStart>,
    ) -> Result<Vec<(Option<NaiveDate>, Rows)>, ExportError> {
        let zone = self.request.style.zone;
        let mut months = Vec::new();
        let mut next = from;
        while let Some(first) = self.snapshot.first_from(of, next, to).await? {
            // Where clocks are put back across midnight, the last hour of a month comes a second time in
            // the first day of the next one, to which it belongs.
            let day = local_date(zone, first);
            let month = month_of(next.map_or(day, |next| day.max(next.day)));
            let ends = next_month(month).and_then(|ends| starts(zone, ends));
            let is_last = match (ends, to) {
                (None, _) => true,
                (Some(ends), Some(to)) => ends.day >= to.day,
                (Some(_), None) => false,
            };
            let ends = if is_last { to } else { ends };
            let rows = Rows::Range {
                from: next,
                to: ends,
            };
            months.push((Some(month), rows));
            if is_last {
                break;
            }
            next = ends;
        }
        Ok(months)
    }

    fn open(
        &mut self,
        of: &Relation,
        part: Option<&str>,
        month: Option<NaiveDate>,
    ) -> Result<OpenFile, ExportError> {
        let style = self.request.style;
        let part = part.map_or_else(String::new, |part| format!("-{part}"));
        let name = format!("{}{part}.{}", of.name, style.format);
        let made = self.folder.create(&name);
        let writer = made.and_then(|file| writer(style, self.folder, file, of));
        let writer = writer.map_err(|source| self.folder.failed(&name, source))?;
        Ok(OpenFile {
            name,
            month,
            writer,
            rows: 0,
        })
    }

    fn opened<'a>(
        &mut self,
        of: &Relation,
        file: &'a mut Option<OpenFile>,
    ) -> Result<&'a mut OpenFile, ExportError> {
        let opened = match file.take() {
            Some(opened) => opened,
            None => self.open(of, None, None)?,
        };
        Ok(file.insert(opened))
    }

    async fn copy(
        &mut self,
        of: &Relation,
        rows: Rows,
        into: &mut OpenFile,
    ) -> Result<(), ExportError> {
        let Self {
            snapshot,
            folder,
            stop,
            ..
        } = self;
        let take = |cells: &[Cell]| {
            if stop.is_cancelled() {
                return Err(ExportError::Stopped);
            }
            into.rows += 1;
            into.writer
                .row(cells)
                .map_err(|source| folder.failed(&into.name, source))
        };
        let copied = snapshot.rows(of, rows, take);
        tokio::select! {
            // A query may take its time before its first row.
            () = stop.cancelled() => Err(ExportError::Stopped),
            copied = copied => copied,
        }
    }

    fn close(&mut self, file: OpenFile) -> Result<ExportedFile, ExportError> {
        let OpenFile {
            name,
            month,
            writer,
            rows,
        } = file;
        let finished = writer.finish();
        let sealed = finished.and_then(|altered| Ok((altered, self.folder.seal(&name)?)));
        let (altered, (bytes, sha256)) =
            sealed.map_err(|source| self.folder.failed(&name, source))?;
        if self.stop.is_cancelled() {
            return Err(ExportError::Stopped);
        }
        Ok(ExportedFile {
            name,
            month: month.map(named),
            rows,
            bytes,
            sha256,
            altered,
        })
    }
}
