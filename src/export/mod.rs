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

use chrono::{Datelike as _, Days, Months, NaiveDate};
use chrono_tz::Tz;
use tokio_util::sync::CancellationToken;

use crate::data::Timestamp;
use crate::report::Language;
use crate::reporting::{FIRST_DAY, LAST_DAY, first_instant, local_date};
use crate::store::{Cell, ExportSnapshot, Relation, RelationColumn, Rows, StoreError};

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
        use chrono::Offset as _;
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

/// What to export.
#[derive(Debug, Clone)]
pub struct Request {
    /// The tables and views.
    pub relations: Vec<&'static Relation>,
    /// How values are written.
    pub style: Style,
    /// When a table becomes a file for each month.
    pub split: Split,
    /// The first and the last day, both included, of tables and views that know days.
    pub days: Option<(NaiveDate, NaiveDate)>,
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
        let days = self.request.days.filter(|_| of.time().is_some());
        let mut table = ExportedTable::new(of, days);
        let (from, to) = days.map_or((FIRST_DAY, LAST_DAY), |(from, to)| {
            (from, to.checked_add_days(Days::new(1)).unwrap_or(to))
        });
        let rows = if days.is_some() {
            self.range(from, to)
        } else {
            Rows::All
        };
        let is_split = of.has_months()
            && match self.request.split {
                Split::None => false,
                Split::Month => true,
                Split::Auto => self.snapshot.count(of, rows).await? > LARGE,
            };
        let mut file = None;
        if of.has_months() {
            // A month at a time: the database need not sort more.
            let mut next = from;
            while let Some(month) = self.next_month(of, next, to).await? {
                let begins = month.max(from);
                let ends = month.checked_add_months(Months::new(1)).unwrap_or(to);
                let range = self.range(begins, ends.min(to));
                if is_split {
                    let name = month.format("%Y-%m").to_string();
                    let mut own = self.open(of, Some(&name), Some(month))?;
                    self.copy(of, range, &mut own).await?;
                    table.files.push(self.close(own)?);
                } else {
                    let file = self.opened(of, &mut file)?;
                    self.copy(of, range, file).await?;
                }
                next = ends;
            }
            if days.is_none() {
                if is_split {
                    let mut own = self.open(of, Some("undated"), None)?;
                    self.copy(of, Rows::Undated, &mut own).await?;
                    // A table without any rows has a file, too.
                    if own.rows > 0 || table.files.is_empty() {
                        table.files.push(self.close(own)?);
                    }
                } else {
                    let file = self.opened(of, &mut file)?;
                    self.copy(of, Rows::Undated, file).await?;
                }
            }
        } else {
            let file = self.opened(of, &mut file)?;
            self.copy(of, rows, file).await?;
        }
        if file.is_none() && table.files.is_empty() {
            file = Some(self.open(of, None, None)?);
        }
        if let Some(file) = file {
            table.files.push(self.close(file)?);
        }
        Ok(table)
    }

    fn range(&self, from: NaiveDate, to: NaiveDate) -> Rows {
        let zone = self.request.style.zone;
        let instant = |day| first_instant(zone, day) * MICROS;
        Rows::Range {
            days: (from, to),
            instants: (instant(from), instant(to)),
        }
    }

    /// The next month that has rows.
    async fn next_month(
        &mut self,
        of: &Relation,
        from: NaiveDate,
        to: NaiveDate,
    ) -> Result<Option<NaiveDate>, ExportError> {
        if from >= to {
            return Ok(None);
        }
        let zone = self.request.style.zone;
        let instant = |day| first_instant(zone, day) * MICROS;
        let range = (instant(from), instant(to));
        let first = self.snapshot.first_from(of, range).await?;
        Ok(first.map(|at| month_of(local_date(zone, at))))
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
            month: month.map(|month| month.format("%Y-%m").to_string()),
            rows,
            bytes,
            sha256,
            altered,
        })
    }
}
