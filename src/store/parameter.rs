//! Packs many rows into the parameters of one statement: as JSON text for SQLite, and as one array
//! for each column for Postgres. That is the fastest for each.
//!
//! Must not know any table.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde_json::value::RawValue;
use sqlx::error::BoxDynError;
use sqlx::types::Json;
use uuid::Uuid;

use super::value::{Arg, Id, List, Time};
use crate::data::{Column, ColumnType, Row, Timestamp, counted};

/// How many values of a row are in one array of its text. To find a value, SQLite steps over all
/// arrays and values before it: for 45 values that is 7 steps on average, and 22 without groups.
pub(super) const GROUP: usize = 8;

/// JSON text: an array with an array for each row: its hash, then arrays of its values in groups.
pub(super) fn by_row(rows: &[&Row]) -> String {
    let mut size = 2;
    for row in rows {
        size += row.values.text().len() + row.values.iter().len() + 24;
    }
    let mut text = String::with_capacity(size);
    for row in rows {
        text.push_str(if text.is_empty() { "[[" } else { ",[" });
        // Writing to a String cannot fail.
        let _ = write!(text, "{}", row.hash);
        for group in row.values.groups(GROUP) {
            text.push_str(",[");
            text.push_str(&storable(group));
            text.push(']');
        }
        text.push(']');
    }
    text.push(']');
    text
}

/// Why a row cannot be stored. It is a bug of the code that made the row.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unfit {
    /// The row's key.
    pub(super) key: Uuid,
    /// The problem, without any value.
    pub(super) problem: String,
}

/// Fails unless each row has a value for each column. Otherwise values would move to other columns.
pub(super) fn whole(rows: &[&Row], columns: &[Column]) -> Result<(), Unfit> {
    let expected = columns.len();
    for row in rows {
        let values = row.values.iter().len();
        if values != expected {
            return Err(Unfit {
                key: row.key,
                problem: format!(
                    "has {} for {}",
                    counted(values as u64, "value"),
                    counted(expected as u64, "column")
                ),
            });
        }
    }
    Ok(())
}

/// One list for each column, with a value for each row, and one list of hashes if `hash` is set.
/// The rows are [`whole`]. Fails if a value does not have its column's type.
pub(super) fn by_column<'a>(
    rows: &[&'a Row],
    columns: &[Column],
    hash: bool,
) -> Result<Vec<Arg<'a>>, Unfit> {
    let mut lists: Vec<Arg<'a>> = columns
        .iter()
        .map(|column| empty(column.kind, rows.len()))
        .collect();
    for row in rows {
        for ((list, value), column) in lists.iter_mut().zip(row.values.iter()).zip(columns) {
            // The error itself would tell the value.
            push(list, value).map_err(|_| Unfit {
                key: row.key,
                problem: format!(
                    "has no {} in column {}",
                    kind_name(column.kind),
                    column.name
                ),
            })?;
        }
    }
    if hash {
        let hashes = rows.iter().map(|row| Some(row.hash)).collect();
        lists.push(Arg::Ints(List(hashes)));
    }
    Ok(lists)
}

fn empty<'a>(kind: ColumnType, rows: usize) -> Arg<'a> {
    match kind {
        ColumnType::Uuid => Arg::Ids(List(Vec::with_capacity(rows))),
        ColumnType::Text => Arg::Texts(List(Vec::with_capacity(rows))),
        ColumnType::Time => Arg::Times(List(Vec::with_capacity(rows))),
        ColumnType::Bool => Arg::Bools(List(Vec::with_capacity(rows))),
        ColumnType::Int => Arg::Ints(List(Vec::with_capacity(rows))),
        ColumnType::Real => Arg::Reals(List(Vec::with_capacity(rows))),
        ColumnType::Json => Arg::Jsons(List(Vec::with_capacity(rows))),
    }
}

const fn kind_name(kind: ColumnType) -> &'static str {
    match kind {
        ColumnType::Uuid => "uuid",
        ColumnType::Text => "text",
        ColumnType::Time => "instant",
        ColumnType::Bool => "boolean",
        ColumnType::Int => "64-bit integer",
        ColumnType::Real => "number",
        ColumnType::Json => "JSON text",
    }
}

/// Adds a value, which is JSON text, to a list of its type.
fn push<'a>(list: &mut Arg<'a>, json: &'a str) -> Result<(), BoxDynError> {
    let json = (json != "null").then_some(json);
    match list {
        Arg::Ids(List(values)) => values.push(json.map(id).transpose()?),
        Arg::Texts(List(values)) => values.push(json.map(text).transpose()?),
        Arg::Times(List(values)) => values.push(json.map(time).transpose()?),
        Arg::Bools(List(values)) => values.push(json.map(str::parse).transpose()?),
        Arg::Ints(List(values)) => values.push(json.map(str::parse).transpose()?),
        Arg::Reals(List(values)) => values.push(json.map(str::parse).transpose()?),
        Arg::Jsons(List(values)) => values.push(json.map(document).transpose()?),
        _ => return Err("its values are not a list".into()),
    }
    Ok(())
}

fn id(json: &str) -> Result<Id, BoxDynError> {
    Ok(Id(Uuid::try_parse(&text(json)?)?))
}

fn time(json: &str) -> Result<Time, BoxDynError> {
    Ok(Time(Timestamp::parse(&text(json)?)?))
}

fn document(json: &str) -> Result<Json<Cow<'_, RawValue>>, BoxDynError> {
    Ok(Json(match storable(json) {
        Cow::Borrowed(json) => Cow::Borrowed(serde_json::from_str(json)?),
        Cow::Owned(json) => Cow::Owned(RawValue::from_string(json)?),
    }))
}

/// The text of a JSON string, as both databases hold it.
pub(super) fn text(json: &str) -> Result<Cow<'_, str>, BoxDynError> {
    let inner = json
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .filter(|inner| !inner.contains('\\'));
    Ok(match inner {
        Some(inner) => Cow::Borrowed(inner),
        None => Cow::Owned(serde_json::from_str(&storable(json))?),
    })
}

/// Uuids as one parameter.
pub(super) fn ids<'a>(ids: impl IntoIterator<Item = Uuid>) -> Arg<'a> {
    Arg::Ids(List(ids.into_iter().map(|id| Some(Id(id))).collect()))
}

/// The text of an array of pairs of uuids.
pub(super) fn pairs(pairs: &[(Uuid, Uuid)]) -> String {
    array(pairs.iter(), |text, &(left, right)| {
        text.push('[');
        quote(text, left);
        text.push(',');
        quote(text, right);
        text.push(']');
    })
}

/// An array of pairs of a uuid and a text.
pub(super) fn texts(pairs: &[(Uuid, &str)]) -> String {
    array(pairs.iter(), |text, &(id, value)| {
        text.push('[');
        quote(text, id);
        text.push(',');
        text.push_str(&serde_json::Value::from(value).to_string());
        text.push(']');
    })
}

fn array<T>(items: impl IntoIterator<Item = T>, push: impl Fn(&mut String, T)) -> String {
    let mut text = String::from("[");
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        push(&mut text, item);
    }
    text.push(']');
    text
}

fn quote(text: &mut String, id: Uuid) {
    let mut buffer = Uuid::encode_buffer();
    text.push('"');
    text.push_str(id.hyphenated().encode_lower(&mut buffer));
    text.push('"');
}

/// The JSON text without what Postgres cannot store: removes escaped NULs, and replaces halves of
/// surrogate pairs with U+FFFD. Both databases get the same text. It is almost always unchanged.
pub(super) fn storable(json: &str) -> Cow<'_, str> {
    let suspicious = |rest: &str| {
        let bytes = rest.as_bytes();
        bytes.starts_with(b"0000") || matches!(bytes.first(), Some(b'd' | b'D'))
    };
    // A search for one byte is much quicker than one for two.
    if !json.contains('\\')
        || !json
            .match_indices("\\u")
            .any(|(at, _)| suspicious(&json[at + 2..]))
    {
        return Cow::Borrowed(json);
    }
    let mut text = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        // An escape is two characters long, or six; `\\` must not be taken for half of `\\u`.
        let unit = rest.strip_prefix("\\u").and_then(code_unit);
        let len = match unit {
            None => {
                let len = 1 + rest[1..].chars().next().map_or(0, char::len_utf8);
                text.push_str(&rest[..len]);
                len
            }
            Some(0) => 6,
            Some(0xd800..=0xdbff) => {
                let low = rest[6..].strip_prefix("\\u").and_then(code_unit);
                if matches!(low, Some(0xdc00..=0xdfff)) {
                    text.push_str(&rest[..12]);
                    12
                } else {
                    text.push('\u{fffd}');
                    6
                }
            }
            Some(0xdc00..=0xdfff) => {
                text.push('\u{fffd}');
                6
            }
            Some(_) => {
                text.push_str(&rest[..6]);
                6
            }
        };
        rest = &rest[len..];
    }
    text.push_str(rest);
    Cow::Owned(text)
}

fn code_unit(digits: &str) -> Option<u32> {
    u32::from_str_radix(digits.get(..4)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{ColumnGroup, Reading, Values};

    #[test]
    fn what_postgres_cannot_hold_is_left_out_and_nothing_else() {
        for (json, expected) in [
            (r#"{"a":"b"}"#, r#"{"a":"b"}"#),
            (r#"{"a":"x\u0000y"}"#, r#"{"a":"xy"}"#),
            (r#"{"a":"x\\u0000y"}"#, r#"{"a":"x\\u0000y"}"#),
            (r#"{"a":"\\\u0000"}"#, r#"{"a":"\\"}"#),
            (r#""\u0000\u0000\u0001""#, r#""\u0001""#),
            (r#""\ud83d\ude00 \u0000""#, r#""\ud83d\ude00 ""#),
            (r#""\ud83d \ude00""#, "\"\u{fffd} \u{fffd}\""),
            (r#""\"\u0000\"ü\n""#, r#""\"\"ü\n""#),
        ] {
            assert_eq!(storable(json), expected, "{json}");
        }
    }

    const COLUMNS: [Column; 3] = [
        column("id", ColumnType::Uuid),
        column("name", ColumnType::Text),
        column("size", ColumnType::Int),
    ];

    const fn column(name: &'static str, kind: ColumnType) -> Column {
        Column {
            name,
            kind,
            group: ColumnGroup::NONE,
            shared: false,
        }
    }

    fn row(values: &[&str]) -> Row {
        let mut row = Row {
            key: Uuid::nil(),
            version: None,
            reading: Reading {
                at: Timestamp::from_micros(0),
                certain: false,
            },
            hash: 7,
            unknown: ColumnGroup::NONE,
            values: Values::default(),
            raw: None,
        };
        for value in values {
            row.values.push(|out| out.push_str(value));
        }
        row
    }

    #[test]
    fn rows_for_sqlite_have_their_values_in_groups() {
        let values: Vec<String> = (0..GROUP + 2).map(|n| n.to_string()).collect();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let (long, short) = (row(&values), row(&["\"a\\u0000\""]));
        assert_eq!(
            by_row(&[&long, &short]),
            r#"[[7,[0,1,2,3,4,5,6,7],[8,9]],[7,["a"]]]"#
        );
    }

    #[test]
    fn rows_for_postgres_are_columns() {
        let id = "\"0198f0de-0000-7000-8000-000000000001\"";
        let rows = [
            row(&[id, r#""a\"\u0000""#, "-3"]),
            row(&[id, "null", "null"]),
        ];
        let rows: Vec<&Row> = rows.iter().collect();
        let lists = by_column(&rows, &COLUMNS, true).unwrap();
        let [
            Arg::Ids(List(ids)),
            Arg::Texts(List(names)),
            Arg::Ints(List(sizes)),
            Arg::Ints(List(hashes)),
        ] = &lists[..]
        else {
            panic!("{lists:?}");
        };
        assert_eq!(hashes[..], [Some(7), Some(7)]);
        assert_eq!(
            ids[0].unwrap().0.as_u128(),
            0x0198_f0de_0000_7000_8000_0000_0000_0001
        );
        assert_eq!(names[..], [Some("a\"".into()), None]);
        assert_eq!(sizes[..], [Some(-3), None]);
    }

    #[test]
    fn a_value_of_another_kind_than_its_column_is_refused_without_telling_it() {
        for (values, problem) in [
            (["\"x\"", "null", "null"], "has no uuid in column id"),
            (["null", "7", "null"], "has no text in column name"),
            (
                ["null", "null", "true"],
                "has no 64-bit integer in column size",
            ),
        ] {
            let unfit = by_column(&[&row(&values)], &COLUMNS, false).unwrap_err();
            assert_eq!(unfit.problem, problem);
        }
    }

    proptest::proptest! {
        #[test]
        fn texts_without_nul_stay_as_they_are(text in "[^\0]{0,30}") {
            let json = serde_json::to_string(&text).unwrap();
            proptest::prop_assert_eq!(storable(&json), json.as_str());
        }
    }
}
