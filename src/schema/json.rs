//! JSON as text: parses and writes strings, and brings values into one canonical form.
//!
//! Works on text that `serde_json` has accepted. Changes what a database cannot store: removes NUL,
//! replaces half a surrogate pair with U+FFFD, and turns numbers that do not fit a `double` and
//! values that are nested too deeply into text. Must not know records or tables.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::{self, Write as _};

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use xxhash_rust::xxh3::xxh3_64;

/// The maximum nesting of a value. `SQLite` refuses JSON deeper than 1,000 levels, and `PostgreSQL`
/// refuses JSON that exhausts its stack. Real records are far below.
const MAX_DEPTH: usize = 100;

/// Longest number that is kept as a number.
const MAX_NUMBER: usize = 300;

/// Up to this many fields are searched one by one, which beats hashing them.
const FEW_FIELDS: usize = 64;

/// A field of an object.
pub(super) type Field<'a> = (Cow<'a, str>, &'a RawValue);

/// The fields of an object in their order, each name once: of several the last one counts.
pub(super) struct Fields<'a>(pub(super) Vec<Field<'a>>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields: Vec<Field<'de>> = Vec::with_capacity(48);
        let mut seen = Seen::default();
        let mut places: HashMap<Cow<'de, str>, usize> = HashMap::new();
        // Names are read raw too: one with half a surrogate pair would fail as a string.
        while let Some((name, value)) = map.next_entry::<&'de RawValue, &'de RawValue>()? {
            let name = decode(name.get());
            let place = if fields.len() < FEW_FIELDS {
                if seen.add(&name) {
                    fields.iter().position(|(known, _)| *known == name)
                } else {
                    None
                }
            } else {
                if places.is_empty() {
                    places.extend(
                        (0..)
                            .zip(&fields)
                            .map(|(at, (known, _))| (known.clone(), at)),
                    );
                }
                let place = places.get(&name).copied();
                if place.is_none() {
                    places.insert(name.clone(), fields.len());
                }
                place
            };
            match place {
                Some(place) => fields[place].1 = value,
                None => fields.push((name, value)),
            }
        }
        Ok(Fields(fields))
    }
}

/// Which names have occurred, approximately. Almost every name of a record is new, so it need not be
/// compared with all earlier names.
#[derive(Default)]
struct Seen([u64; 16]);

impl Seen {
    /// Adds a name. Returns whether it may have occurred before.
    fn add(&mut self, name: &str) -> bool {
        let bit = xxh3_64(name.as_bytes());
        let word = &mut self.0[(bit >> 6) as usize % 16];
        let mask = 1 << (bit % 64);
        let is_old = *word & mask != 0;
        *word |= mask;
        is_old
    }
}

/// The text of a JSON string literal, its quotes included in `literal`; without NUL, and with
/// U+FFFD for half a surrogate pair.
pub(super) fn decode(literal: &str) -> Cow<'_, str> {
    let inner = literal
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .unwrap_or(literal);
    // JSON has no bare control character: without an escape there is no NUL.
    if !inner.as_bytes().contains(&b'\\') {
        return Cow::Borrowed(inner);
    }
    let mut text = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        let mut tail = rest[at + 1..].chars();
        match tail.next() {
            Some('n') => text.push('\n'),
            Some('t') => text.push('\t'),
            Some('r') => text.push('\r'),
            Some('b') => text.push('\u{8}'),
            Some('f') => text.push('\u{c}'),
            Some('u') => {
                let (found, after) = unicode(tail.as_str());
                text.push(found);
                tail = after.chars();
            }
            Some(other) => text.push(other),
            None => {}
        }
        rest = tail.as_str();
    }
    text.push_str(rest);
    text.retain(|c| c != '\0');
    Cow::Owned(text)
}

/// Reads what follows `\u`, and the second half of a pair if there is one.
fn unicode(text: &str) -> (char, &str) {
    let Some((first, rest)) = hex4(text) else {
        return (char::REPLACEMENT_CHARACTER, text);
    };
    if let Some(found) = char::from_u32(first) {
        return (found, rest);
    }
    let second = rest.strip_prefix("\\u").and_then(hex4);
    if let (0xD800..0xDC00, Some((low @ 0xDC00..0xE000, rest))) = (first, second) {
        let code = 0x1_0000 + ((first - 0xD800) << 10) + (low - 0xDC00);
        return (
            char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER),
            rest,
        );
    }
    (char::REPLACEMENT_CHARACTER, rest)
}

fn hex4(text: &str) -> Option<(u32, &str)> {
    let (digits, rest) = text.split_at_checked(4)?;
    Some((u32::from_str_radix(digits, 16).ok()?, rest))
}

/// Appends a JSON string literal.
pub(super) fn push_string(text: &str, out: &mut String) {
    out.push('"');
    let mut from = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0 => "",
            1..0x20 => {
                out.push_str(&text[from..at]);
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{byte:04x}");
                from = at + 1;
                continue;
            }
            _ => continue,
        };
        out.push_str(&text[from..at]);
        out.push_str(escape);
        from = at + 1;
    }
    out.push_str(&text[from..]);
    out.push('"');
}

/// Appends a value in canonical form: no white space, names sorted and each once. Equal values
/// give equal texts, whatever order the platform's serialiser chose.
pub(super) fn push_value(value: &RawValue, out: &mut String) {
    push_at(value, out, 0);
}

fn push_at(value: &RawValue, out: &mut String, depth: usize) {
    let text = value.get();
    match text.as_bytes().first() {
        Some(b'"') => push_string(&decode(text), out),
        Some(b'{' | b'[') if depth == MAX_DEPTH => push_string(text, out),
        Some(b'{') => {
            let Ok(Fields(fields)) = serde_json::from_str(text) else {
                return push_string(text, out);
            };
            push_object(fields, out, depth);
        }
        Some(b'[') => {
            let Some(values) = array(value) else {
                return push_string(text, out);
            };
            out.push('[');
            for (at, value) in values.into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                push_at(value, out, depth + 1);
            }
            out.push(']');
        }
        Some(b'-' | b'0'..=b'9') if !is_tame(text) => push_string(text, out),
        _ => out.push_str(text),
    }
}

fn push_object(mut fields: Vec<Field<'_>>, out: &mut String, depth: usize) {
    fields.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    out.push('{');
    for (at, (name, value)) in fields.into_iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        push_string(&name, out);
        out.push(':');
        push_at(value, out, depth + 1);
    }
    out.push('}');
}

/// The elements of an array. `None` if the value is not an array.
pub(super) fn array(value: &RawValue) -> Option<Vec<&RawValue>> {
    if !value.get().starts_with('[') {
        return None;
    }
    serde_json::from_str(value.get()).ok()
}

/// Whether both databases can hold a number as a number.
fn is_tame(number: &str) -> bool {
    number.len() <= MAX_NUMBER
        && number.parse::<f64>().is_ok_and(|value| {
            let mantissa = number.split(['e', 'E']).next().unwrap_or(number);
            value.is_finite() && (value != 0.0 || !mantissa.contains(|c| matches!(c, '1'..='9')))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> String {
        let mut out = String::new();
        push_value(serde_json::from_str(text).unwrap(), &mut out);
        out
    }

    #[test]
    fn strings_lose_nul_and_half_pairs_and_nothing_else() {
        for (literal, expected) in [
            (r#""Ação""#, "Ação"),
            (r#""A\u00e7\u00E3o""#, "Ação"),
            (r#""a\u0000b\u0000""#, "ab"),
            (r#""\ud83d\ude00!""#, "😀!"),
            (r#""cut \ud83d""#, "cut \u{fffd}"),
            (r#""\ude00\ud83d\ude00""#, "\u{fffd}😀"),
            (r#""\ud83d\u0041""#, "\u{fffd}A"),
            (r#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{c}\n\r\t"),
            (r#""\\u0000""#, "\\u0000"),
        ] {
            assert_eq!(decode(literal), expected, "{literal}");
        }
    }

    #[test]
    fn equal_values_have_one_form() {
        assert_eq!(
            canonical(
                "{ \"b\" : [1, 2.50, null],\n \"a\":{\"x\":\"\\u00e7\\u0000\"}, \"b\":true }"
            ),
            r#"{"a":{"x":"ç"},"b":true}"#
        );
        assert_eq!(canonical(r#"{"a\u0000":1,"a":2}"#), r#"{"a":2}"#);
    }

    #[test]
    fn what_no_database_holds_becomes_text() {
        assert_eq!(
            canonical("[1e400,1e-400,0e9,-0.0]"),
            r#"["1e400","1e-400",0e9,-0.0]"#
        );
        let long = "9".repeat(400);
        assert_eq!(canonical(&long), format!("\"{long}\""));
        let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
        let kept = canonical(&deep);
        assert!(kept.starts_with(&"[".repeat(MAX_DEPTH)) && kept.contains("[\"[["));
        assert_eq!(canonical(&kept), kept);
    }

    #[test]
    fn an_object_of_many_fields_is_read_in_time_and_its_last_value_counts() {
        let fields: Vec<String> = (0..100_000)
            .map(|n| format!("\"f{}\":{n}", n % 50_000))
            .collect();
        let text = format!("{{{}}}", fields.join(","));
        let Fields(read) = serde_json::from_str(&text).unwrap();
        assert_eq!(read.len(), 50_000);
        assert_eq!(read[3].1.get(), "50003");
    }

    proptest::proptest! {
        #[test]
        fn written_strings_read_back_without_nul(text in proptest::prelude::any::<String>()) {
            let mut literal = String::new();
            push_string(&text, &mut literal);
            proptest::prop_assert_eq!(
                serde_json::from_str::<String>(&literal).unwrap(),
                text.replace('\0', "")
            );
            let read = decode(&literal).into_owned();
            proptest::prop_assert_eq!(read, text.replace('\0', ""));
        }
    }
}
