//! A JSON object on each line.

use std::fs::File;
use std::io::{self, BufWriter, Write};

use super::{Altered, RowWriter};
use crate::store::{Cell, RelationColumn};

/// A file of objects.
pub(super) struct Ndjson {
    out: BufWriter<File>,
    /// The names of columns, as they stand before values.
    keys: Vec<String>,
}

impl Ndjson {
    pub(super) fn new(file: File, columns: &[RelationColumn]) -> Self {
        let keys = columns.iter().zip(0..);
        let keys = keys.map(|(column, place)| {
            let before = if place == 0 { '{' } else { ',' };
            format!("{before}\"{}\":", column.name)
        });
        Self {
            out: BufWriter::new(file),
            keys: keys.collect(),
        }
    }
}

fn text(out: &mut impl Write, text: &str) -> io::Result<()> {
    Ok(serde_json::to_writer(out, text)?)
}

impl RowWriter for Ndjson {
    fn row(&mut self, cells: &[Cell]) -> io::Result<()> {
        let out = &mut self.out;
        for (cell, key) in cells.iter().zip(&self.keys) {
            out.write_all(key.as_bytes())?;
            match cell {
                Cell::Null => out.write_all(b"null")?,
                Cell::Text(value) => text(out, value)?,
                Cell::Integer(number) => write!(out, "{number}")?,
                Cell::Real(number) => serde_json::to_writer(&mut *out, number)?,
                Cell::Boolean(is) => write!(out, "{is}")?,
                Cell::Date(day) => write!(out, "\"{day}\"")?,
                Cell::Timestamp(at) => write!(out, "\"{at}\"")?,
                Cell::Uuid(id) => write!(out, "\"{id}\"")?,
                // Line breaks between its parts are white space; within texts there are none.
                Cell::Json(json) if json.contains(['\n', '\r']) => {
                    out.write_all(json.replace(['\n', '\r'], " ").as_bytes())?;
                }
                Cell::Json(json) => out.write_all(json.as_bytes())?,
            }
        }
        out.write_all(b"}\n")
    }

    fn finish(mut self: Box<Self>) -> io::Result<Altered> {
        self.out.flush()?;
        Ok(Altered::default())
    }
}
