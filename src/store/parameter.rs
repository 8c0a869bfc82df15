//! JSON texts that carry many rows as one parameter.
//!
//! Must not know any table.

use std::borrow::Cow;

use uuid::Uuid;

use super::upsert::CONTENT_HASH;
use crate::data::{Column, Row};

/// An array with an array of values a row, the row's hash before them.
pub(super) fn arrays(rows: &[&Row]) -> String {
    let mut size = 2;
    for row in rows {
        size += row.values.text().len() + 24;
    }
    let mut text = String::with_capacity(size);
    for row in rows {
        text.push_str(if text.is_empty() { "[[" } else { ",[" });
        text.push_str(&row.hash.to_string());
        text.push(',');
        text.push_str(&storable(row.values.text()));
        text.push(']');
    }
    text.push(']');
    text
}

/// An array with an object a row, column name to value, the row's hash among them.
pub(super) fn objects(rows: &[&Row], columns: &[Column]) -> String {
    let mut text = String::new();
    for row in rows {
        text.push_str(if text.is_empty() { "[{\"" } else { ",{\"" });
        text.push_str(CONTENT_HASH);
        text.push_str("\":");
        text.push_str(&row.hash.to_string());
        text.push(',');
        text.push_str(&storable(&row.fields(columns)));
        text.push('}');
    }
    text.push(']');
    text
}

/// An array of uuids.
pub(super) fn ids(ids: impl IntoIterator<Item = Uuid>) -> String {
    list(ids, quote)
}

/// An array of pairs of uuids.
pub(super) fn pairs(pairs: impl IntoIterator<Item = (Uuid, Uuid)>) -> String {
    list(pairs, |text, (left, right)| {
        text.push('[');
        quote(text, left);
        text.push(',');
        quote(text, right);
        text.push(']');
    })
}

/// An array of pairs of a uuid and a text.
pub(super) fn texts(pairs: &[(Uuid, &str)]) -> String {
    list(pairs.iter(), |text, &(id, value)| {
        text.push('[');
        quote(text, id);
        text.push(',');
        text.push_str(&serde_json::Value::from(value).to_string());
        text.push(']');
    })
}

fn list<T>(items: impl IntoIterator<Item = T>, push: impl Fn(&mut String, T)) -> String {
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

/// The JSON text without what Postgres cannot hold: escaped NULs are left out, halves of surrogate
/// pairs become U+FFFD. Both databases get the same text. Almost always the text itself.
pub(super) fn storable(json: &str) -> Cow<'_, str> {
    let suspicious = |rest: &str| {
        let bytes = rest.as_bytes();
        bytes.starts_with(b"0000") || matches!(bytes.first(), Some(b'd' | b'D'))
    };
    if !json
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

    proptest::proptest! {
        #[test]
        fn texts_without_nul_stay_as_they_are(text in "[^\0]{0,30}") {
            let json = serde_json::to_string(&text).unwrap();
            proptest::prop_assert_eq!(storable(&json), json.as_str());
        }
    }
}
