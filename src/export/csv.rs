//! CSV: as RFC 4180 has it for programs, or as the spreadsheets of Brazil open it.
//!
//! Texts stand in quotes, a missing value is nothing at all.

use std::fs::File;
use std::io::{self, BufWriter, Write};

use super::{Altered, NOT_KEPT_WHOLE, RowWriter, Style};
use crate::data::Timestamp;
use crate::output::{harmless, harmless_json, is_mistaken, quoted};
use crate::report::Language;
use crate::store::{Cell, RelationColumn};

/// A file of lines.
pub(super) struct Csv {
    out: BufWriter<File>,
    style: Style,
    delimiter: u8,
    guarded: u64,
}

impl Csv {
    pub(super) fn new(file: File, columns: &[RelationColumn], style: Style) -> io::Result<Self> {
        let mut csv = Self {
            out: BufWriter::new(file),
            style,
            delimiter: style.csv_delimiter().unwrap_or(b','),
            guarded: 0,
        };
        if style.language == Language::PtBr {
            csv.out.write_all("\u{feff}".as_bytes())?;
        }
        for (place, column) in columns.iter().enumerate() {
            csv.separate(place)?;
            csv.out.write_all(column.name.as_bytes())?;
        }
        csv.out.write_all(b"\r\n")?;
        Ok(csv)
    }

    fn separate(&mut self, place: usize) -> io::Result<()> {
        if place > 0 {
            self.out.write_all(&[self.delimiter])?;
        }
        Ok(())
    }

    fn is_for_people(&self) -> bool {
        self.style.language == Language::PtBr
    }

    fn text(&mut self, text: &str) -> String {
        if self.style.is_exact {
            return quoted(text);
        }
        let harmless = harmless(text);
        if harmless != text {
            self.guarded += 1;
            return quoted(&harmless);
        }
        if self.is_for_people() && is_mistaken(text) {
            self.guarded += 1;
            return quoted(&format!("'{text}"));
        }
        quoted(text)
    }

    /// JSON stays JSON.
    fn json(&mut self, text: &str) -> String {
        if self.style.is_exact {
            return quoted(text);
        }
        let harmless = harmless_json(text);
        self.guarded += u64::from(harmless != text);
        quoted(&harmless)
    }

    fn cell(&mut self, cell: &Cell) -> String {
        let is_for_people = self.is_for_people();
        match cell {
            Cell::Null => String::new(),
            Cell::Text(text) => self.text(text),
            Cell::Json(text) => self.json(text),
            Cell::Integer(number) if is_for_people && number.unsigned_abs() >= NOT_KEPT_WHOLE => {
                self.text(&number.to_string())
            }
            Cell::Integer(number) => number.to_string(),
            Cell::Real(number) if is_for_people => {
                self.number(&number.to_string().replace('.', ","))
            }
            Cell::Real(number) => number.to_string(),
            Cell::Boolean(is) if is_for_people => {
                if *is { "VERDADEIRO" } else { "FALSO" }.to_owned()
            }
            Cell::Boolean(is) => is.to_string(),
            Cell::Date(day) if is_for_people => self.style.language.date(*day),
            Cell::Date(day) => day.to_string(),
            Cell::Timestamp(at) if is_for_people => {
                let local = Timestamp::from_micros(self.style.local(*at));
                local.to_datetime().format("%d/%m/%Y %H:%M:%S").to_string()
            }
            Cell::Timestamp(at) => at.to_string(),
            Cell::Uuid(id) => id.to_string(),
        }
    }

    /// A number, in quotes if it has what separates values.
    fn number(&self, text: &str) -> String {
        if text.as_bytes().contains(&self.delimiter) {
            quoted(text)
        } else {
            text.to_owned()
        }
    }
}

impl RowWriter for Csv {
    fn row(&mut self, cells: &[Cell]) -> io::Result<()> {
        for (place, cell) in cells.iter().enumerate() {
            self.separate(place)?;
            let text = self.cell(cell);
            self.out.write_all(text.as_bytes())?;
        }
        self.out.write_all(b"\r\n")
    }

    fn finish(mut self: Box<Self>) -> io::Result<Altered> {
        self.out.flush()?;
        Ok(Altered {
            guarded: self.guarded,
            cut: 0,
        })
    }
}
