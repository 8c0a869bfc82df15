//! Apache Parquet: instants in microseconds of UTC, days as days, keys as texts, compressed with zstd.
//!
//! The file's columns are written one after the other for a group of rows, so one group is in memory.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{Type, TypePtr};

use super::{Altered, RowWriter, days_since_1970};
use crate::store::{Cell, CellType, RelationColumn};

/// A group of rows is written when it has so many bytes, or so many rows.
const MOST_BYTES: usize = 8 << 20;
const MOST_ROWS: usize = 100_000;

/// The values of a column in a group of rows, the missing ones left out.
enum Values {
    Text(Vec<ByteArray>),
    Long(Vec<i64>),
    Double(Vec<f64>),
    Bool(Vec<bool>),
    Day(Vec<i32>),
}

struct Column {
    values: Values,
    /// 1 for each row that has a value, 0 for each that has none.
    levels: Vec<i16>,
}

/// A file of columns.
pub(super) struct Parquet {
    out: SerializedFileWriter<BufWriter<File>>,
    columns: Vec<Column>,
    rows: usize,
    bytes: usize,
}

fn failed(error: ParquetError) -> io::Error {
    io::Error::other(error)
}

fn field(column: &RelationColumn) -> Result<TypePtr, ParquetError> {
    let (physical, logical) = match column.kind {
        CellType::Text | CellType::Uuid => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        CellType::Json => (Physical::BYTE_ARRAY, Some(LogicalType::Json)),
        CellType::Integer => (Physical::INT64, None),
        CellType::Real => (Physical::DOUBLE, None),
        CellType::Boolean => (Physical::BOOLEAN, None),
        CellType::Date => (Physical::INT32, Some(LogicalType::Date)),
        CellType::Timestamp => {
            let logical = LogicalType::timestamp(true, TimeUnit::MICROS);
            (Physical::INT64, Some(logical))
        }
    };
    let field = Type::primitive_type_builder(column.name, physical)
        .with_repetition(Repetition::OPTIONAL)
        .with_logical_type(logical);
    field.build().map(Arc::new)
}

impl Column {
    const fn new(kind: CellType) -> Self {
        let values = match kind {
            CellType::Text | CellType::Uuid | CellType::Json => Values::Text(Vec::new()),
            CellType::Integer | CellType::Timestamp => Values::Long(Vec::new()),
            CellType::Real => Values::Double(Vec::new()),
            CellType::Boolean => Values::Bool(Vec::new()),
            CellType::Date => Values::Day(Vec::new()),
        };
        Self {
            values,
            levels: Vec::new(),
        }
    }

    /// Takes a value. Returns how many bytes it has.
    fn add(&mut self, cell: &Cell) -> usize {
        self.levels.push(i16::from(*cell != Cell::Null));
        match (&mut self.values, cell) {
            (Values::Text(values), Cell::Text(text) | Cell::Json(text)) => {
                values.push(ByteArray::from(text.as_str()));
                text.len() + size_of::<ByteArray>()
            }
            (Values::Text(values), Cell::Uuid(id)) => {
                let text = id.to_string();
                values.push(ByteArray::from(text.into_bytes()));
                36 + size_of::<ByteArray>()
            }
            (Values::Long(values), Cell::Integer(number)) => {
                values.push(*number);
                8
            }
            (Values::Long(values), Cell::Timestamp(at)) => {
                values.push(at.micros());
                8
            }
            (Values::Double(values), Cell::Real(number)) => {
                values.push(*number);
                8
            }
            (Values::Bool(values), Cell::Boolean(is)) => {
                values.push(*is);
                1
            }
            (Values::Day(values), Cell::Date(day)) => {
                // All days of chrono fit.
                values.push(i32::try_from(days_since_1970(*day)).unwrap_or(i32::MAX));
                4
            }
            // A missing value: the others are those of the column's type.
            _ => 2,
        }
    }

    fn write(&mut self, into: &mut ColumnWriter<'_>) -> Result<(), ParquetError> {
        let levels = Some(self.levels.as_slice());
        match (&mut self.values, into) {
            (Values::Text(values), ColumnWriter::ByteArrayColumnWriter(out)) => {
                out.write_batch(values, levels, None)?;
                values.clear();
            }
            (Values::Long(values), ColumnWriter::Int64ColumnWriter(out)) => {
                out.write_batch(values, levels, None)?;
                values.clear();
            }
            (Values::Double(values), ColumnWriter::DoubleColumnWriter(out)) => {
                out.write_batch(values, levels, None)?;
                values.clear();
            }
            (Values::Bool(values), ColumnWriter::BoolColumnWriter(out)) => {
                out.write_batch(values, levels, None)?;
                values.clear();
            }
            (Values::Day(values), ColumnWriter::Int32ColumnWriter(out)) => {
                out.write_batch(values, levels, None)?;
                values.clear();
            }
            _ => {
                return Err(ParquetError::General(
                    "a column has another type".to_owned(),
                ));
            }
        }
        self.levels.clear();
        Ok(())
    }
}

impl Parquet {
    pub(super) fn new(file: File, columns: &[RelationColumn]) -> io::Result<Self> {
        let made = || {
            let fields = columns.iter().map(field).collect::<Result<_, _>>()?;
            let schema = Type::group_type_builder("row")
                .with_fields(fields)
                .build()?;
            let properties = WriterProperties::builder()
                .set_created_by(concat!("helena-sync ", env!("CARGO_PKG_VERSION")).to_owned())
                .set_compression(Compression::ZSTD(ZstdLevel::default()))
                .build();
            let out = BufWriter::new(file);
            SerializedFileWriter::new(out, Arc::new(schema), Arc::new(properties))
        };
        Ok(Self {
            out: made().map_err(failed)?,
            columns: columns.iter().map(|it| Column::new(it.kind)).collect(),
            rows: 0,
            bytes: 0,
        })
    }

    fn write_group(&mut self) -> Result<(), ParquetError> {
        if self.rows == 0 {
            return Ok(());
        }
        let mut group = self.out.next_row_group()?;
        for column in &mut self.columns {
            let Some(mut into) = group.next_column()? else {
                break;
            };
            column.write(into.untyped())?;
            into.close()?;
        }
        group.close()?;
        (self.rows, self.bytes) = (0, 0);
        Ok(())
    }
}

impl RowWriter for Parquet {
    fn row(&mut self, cells: &[Cell]) -> io::Result<()> {
        for (cell, column) in cells.iter().zip(&mut self.columns) {
            self.bytes += column.add(cell);
        }
        self.rows += 1;
        if self.rows >= MOST_ROWS || self.bytes >= MOST_BYTES {
            self.write_group().map_err(failed)?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> io::Result<Altered> {
        self.write_group().map_err(failed)?;
        self.out.finish().map_err(failed)?;
        self.out.inner_mut().flush()?;
        Ok(Altered::default())
    }
}
