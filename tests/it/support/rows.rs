//! Rows that no answer of the API makes.

use helena_sync::data::{Table, Values};

/// A row's values of which only the first, as JSON texts, are given: the others are null.
pub(crate) fn first_values<const N: usize>(table: &Table, first: [String; N]) -> Values {
    let mut values = Values::default();
    for value in &first {
        values.push(|text| text.push_str(value));
    }
    for _ in N..table.columns.len() {
        values.push(|text| text.push_str("null"));
    }
    values
}
