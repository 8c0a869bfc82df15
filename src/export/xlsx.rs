//! Workbooks: a sheet, or several if a sheet has no more room. Rows go to a file as they come.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::PathBuf;

use rust_xlsxwriter::{DocProperties, ExcelDateTime, Format, FormatAlign, Workbook, XlsxError};

use super::{Altered, NOT_KEPT_WHOLE, RowWriter, Style, days_since_1970};
use crate::store::{Cell, CellType, RelationColumn};

/// As many rows as a sheet has, the head included.
const MOST_ROWS: u32 = 1_048_576;

/// As long as a text in a cell may be.
const LONGEST_TEXT: usize = 32_767;

/// As long as a name of a sheet may be, with room for a number.
const LONGEST_NAME: usize = 28;

/// 1970-01-01 in days of a workbook's calendar.
const DAY_OF_1970: f64 = 25_569.0;

/// The first instant that a workbook can show, in days of its calendar, and the first one that it cannot.
const SHOWN_DAYS: std::ops::Range<f64> = 61.0..2_958_466.0;

/// A workbook that is being written.
pub(super) struct Xlsx {
    book: Workbook,
    file: File,
    name: String,
    columns: Vec<RelationColumn>,
    style: Style,
    head: Format,
    day: Format,
    time: Format,
    /// The place of the present sheet.
    sheet: usize,
    /// The next row of the present sheet.
    row: u32,
    cut: u64,
}

fn failed(error: XlsxError) -> io::Error {
    match error {
        XlsxError::IoError(error) => error,
        other => io::Error::other(other),
    }
}

impl Xlsx {
    pub(super) fn new(
        file: File,
        beside: PathBuf,
        name: &str,
        columns: Vec<RelationColumn>,
        style: Style,
    ) -> io::Result<Self> {
        let format = |text: &str| {
            Format::new()
                .set_num_format(text)
                .set_align(FormatAlign::Left)
        };
        let day = style.language.pick("yyyy-mm-dd", "dd/mm/yyyy");
        let time = format!("{day} hh:mm:ss");
        let mut book = Workbook::new();
        book.set_tempdir(beside).map_err(failed)?;
        // The same rows give the same bytes.
        let made = ExcelDateTime::from_ymd(2020, 1, 1).map_err(failed)?;
        book.set_properties(
            &DocProperties::new()
                .set_title(name)
                .set_creation_datetime(&made),
        );
        let mut xlsx = Self {
            book,
            file,
            name: name.chars().take(LONGEST_NAME).collect(),
            columns,
            style,
            head: Format::new().set_bold(),
            day: format(day),
            time: format(&time),
            sheet: 0,
            row: 0,
            cut: 0,
        };
        xlsx.begin_sheet().map_err(failed)?;
        Ok(xlsx)
    }

    fn begin_sheet(&mut self) -> Result<(), XlsxError> {
        let name = match self.sheet {
            0 => self.name.clone(),
            place => format!("{} {}", self.name, place + 1),
        };
        let page = self.book.add_worksheet_with_constant_memory()?;
        page.set_name(&name)?;
        page.set_freeze_panes(1, 0)?;
        for (column, place) in self.columns.iter().zip(0..) {
            let width = match column.kind {
                CellType::Text | CellType::Json => 24.0,
                CellType::Timestamp => 19.0,
                CellType::Uuid => 37.0,
                CellType::Date => 11.0,
                CellType::Integer | CellType::Real | CellType::Boolean => 12.0,
            };
            page.set_column_width(place, width)?;
            page.write_string_with_format(0, place, column.name, &self.head)?;
        }
        self.row = 1;
        Ok(())
    }

    fn write(&mut self, cells: &[Cell]) -> Result<(), XlsxError> {
        if self.row == MOST_ROWS {
            self.sheet += 1;
            self.begin_sheet()?;
        }
        let row = self.row;
        self.row += 1;
        let page = self.book.worksheet_from_index(self.sheet)?;
        for (cell, column) in cells.iter().zip(0..) {
            match cell {
                Cell::Null => {}
                Cell::Text(text) | Cell::Json(text) => {
                    // As a text, whatever it begins with.
                    if text.encode_utf16().count() > LONGEST_TEXT {
                        self.cut += 1;
                        page.write_string(row, column, shortened(text))?;
                    } else {
                        page.write_string(row, column, text)?;
                    }
                }
                Cell::Uuid(id) => {
                    page.write_string(row, column, id.to_string())?;
                }
                #[expect(clippy::cast_precision_loss, reason = "it has few enough digits")]
                Cell::Integer(number) if number.unsigned_abs() < NOT_KEPT_WHOLE => {
                    page.write_number(row, column, *number as f64)?;
                }
                Cell::Integer(number) => {
                    page.write_string(row, column, number.to_string())?;
                }
                Cell::Real(number) if number.is_finite() => {
                    page.write_number(row, column, *number)?;
                }
                Cell::Real(number) => {
                    page.write_string(row, column, number.to_string())?;
                }
                Cell::Boolean(is) => {
                    page.write_boolean(row, column, *is)?;
                }
                Cell::Date(date) => {
                    #[expect(clippy::cast_precision_loss, reason = "days are few")]
                    let days = days_since_1970(*date) as f64 + DAY_OF_1970;
                    if SHOWN_DAYS.contains(&days) {
                        page.write_number_with_format(row, column, days, &self.day)?;
                    } else {
                        page.write_string(row, column, date.to_string())?;
                    }
                }
                Cell::Timestamp(at) => {
                    #[expect(clippy::cast_precision_loss, reason = "a microsecond is kept")]
                    let days = self.style.local(*at) as f64 / 86_400e6 + DAY_OF_1970;
                    if SHOWN_DAYS.contains(&days) {
                        page.write_number_with_format(row, column, days, &self.time)?;
                    } else {
                        page.write_string(row, column, at.to_string())?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// As much of a text as a cell holds, in the units that spreadsheets count.
fn shortened(text: &str) -> String {
    let mut units = 0;
    text.chars()
        .take_while(|it| {
            units += it.len_utf16();
            units <= LONGEST_TEXT
        })
        .collect()
}

impl RowWriter for Xlsx {
    fn row(&mut self, cells: &[Cell]) -> io::Result<()> {
        self.write(cells).map_err(failed)
    }

    fn finish(mut self: Box<Self>) -> io::Result<Altered> {
        let mut out = BufWriter::new(&self.file);
        self.book.save_to_writer(&mut out).map_err(failed)?;
        out.flush()?;
        drop(out);
        Ok(Altered {
            guarded: 0,
            cut: self.cut,
        })
    }
}
