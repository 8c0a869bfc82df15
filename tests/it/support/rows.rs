//! Rows that no answer of the API makes.

use helena_sync::data::{Batch, ColumnGroup, Reading, Row, Table, Timestamp, Values, Write};
use uuid::Uuid;

/// A row with its key and these columns, as JSON texts; the others are null.
pub(crate) fn row(table: &Table, key: Uuid, given: &[(&str, &str)]) -> Row {
    let id = format!("\"{key}\"");
    let mut values = Values::default();
    for column in table.columns {
        let value = if column.name == table.key {
            &id
        } else {
            let given = given.iter().find(|(name, _)| *name == column.name);
            given.map_or("null", |(_, value)| value)
        };
        values.push(|text| text.push_str(value));
    }
    Row {
        key,
        version: None,
        reading: Reading {
            at: Timestamp::from_micros(0),
            certain: true,
        },
        hash: 1,
        unknown: ColumnGroup::NONE,
        values,
        raw: None,
    }
}

/// A batch of nothing but these rows.
pub(crate) fn batch(table: &'static Table, rows: Vec<Row>) -> Batch {
    Batch {
        writes: vec![Write { table, rows }],
        ..Batch::default()
    }
}
