//! The texts of CSV that people open in spreadsheets, for every CSV that this program writes.
//!
//! Texts stand in quotes, so that an empty text is not a missing one, and what a spreadsheet would take for
//! a formula gets an apostrophe. Must not know where the texts come from.

use std::borrow::Cow;
use std::fmt::Write as _;

/// What separates the pieces of a line in one spreadsheet or another.
const SEPARATORS: [char; 5] = [',', ';', '\t', '\r', '\n'];

/// Whether this may stand before a formula. A quotation mark opens the cell and is no part of it.
fn is_before_formula(it: char) -> bool {
    matches!(it, ' ' | '\t' | '\r' | '\n' | '"')
}

/// Whether a formula begins with this.
fn is_formula_sign(it: char) -> bool {
    "=+-@＝＋－＠".contains(it)
}

/// Whether a spreadsheet takes a cell that begins with this text for a formula.
fn is_formula(text: &str) -> bool {
    let text = text.trim_start_matches(is_before_formula);
    text.starts_with(is_formula_sign)
}

/// A text that no spreadsheet takes for a formula, whether it separates cells by commas, semicolons or
/// tabs: quotes around a text hold it together only for those that separate as this file does.
pub fn harmless(text: &str) -> Cow<'_, str> {
    let begins_oddly = is_formula(text) || text.starts_with(['\t', '\r']);
    if !begins_oddly && !text.split(SEPARATORS).any(is_formula) {
        return Cow::Borrowed(text);
    }
    let mut harmless = String::with_capacity(text.len() + 1);
    for piece in text.split_inclusive(SEPARATORS) {
        if is_formula(piece) || harmless.is_empty() && begins_oddly {
            harmless.push('\'');
        }
        harmless.push_str(piece);
    }
    Cow::Owned(harmless)
}

/// JSON of the same value that no spreadsheet takes for a formula: an apostrophe would make it no JSON, so
/// `=` becomes `\u003d`, and so on. Only texts in it are changed: a negative number computes nothing.
pub fn harmless_json(json: &str) -> Cow<'_, str> {
    // White space before JSON means nothing.
    let json = json.trim_start_matches([' ', '\t', '\r', '\n']);
    let mut harmless = String::new();
    let (mut is_text, mut is_escaped, mut is_first, mut copied) = (false, false, true, 0);
    for (place, it) in json.char_indices() {
        if is_text && is_first && is_formula_sign(it) {
            harmless.push_str(&json[copied..place]);
            // Writing to a String cannot fail.
            let _ = write!(harmless, "\\u{:04x}", u32::from(it));
            copied = place + it.len_utf8();
        }
        is_first = SEPARATORS.contains(&it) || is_first && is_before_formula(it);
        if it == '"' && !is_escaped {
            is_text = !is_text;
            is_first |= is_text;
        }
        is_escaped = it == '\\' && !is_escaped;
    }
    if harmless.is_empty() {
        return Cow::Borrowed(json);
    }
    harmless.push_str(&json[copied..]);
    Cow::Owned(harmless)
}

/// The same for cells that may be numbers, which stay as they are: a spreadsheet computes nothing of `-1.5`.
pub fn harmless_cell(text: &str) -> Cow<'_, str> {
    let is_number = text
        .strip_prefix('-')
        .is_some_and(|rest| rest.starts_with(|it: char| it.is_ascii_digit()))
        && text.parse::<f64>().is_ok();
    if is_number {
        Cow::Borrowed(text)
    } else {
        harmless(text)
    }
}

/// Whether a spreadsheet would make a number, a day or a time of a text and lose how it is written:
/// telephone and protocol numbers, leading zeros, `10-11`.
pub fn is_mistaken(text: &str) -> bool {
    let is_plain = text.bytes().all(|it| it.is_ascii_digit());
    let is_short = text.len() <= 11 && !(text.len() > 1 && text.starts_with('0'));
    let has_digit = text.bytes().any(|it| it.is_ascii_digit());
    let like_number = |it: char| it.is_ascii_digit() || "+-/.:,() eE%".contains(it);
    has_digit && !(is_plain && is_short) && text.chars().all(like_number)
}

/// A text in quotes.
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_formula_gets_an_apostrophe() {
        for text in ["=1+1", "+55 11", "-1", "@x", " =cmd", "\tx", "\rx"] {
            assert_eq!(harmless(text), format!("'{text}"));
        }
        for text in ["a=1", "Vendas", "", "5-1", "Loja, centro; 2"] {
            assert_eq!(harmless(text), text);
        }
    }

    #[test]
    fn a_formula_behind_another_separator_gets_an_apostrophe() {
        assert_eq!(harmless("verao;=1+1"), "verao;'=1+1");
        assert_eq!(harmless("verao,=1+1"), "verao,'=1+1");
        assert_eq!(harmless("a;\"=1+1"), "a;'\"=1+1");
        assert_eq!(harmless("a\t@x\n-1"), "a\t'@x\n'-1");
        assert_eq!(quoted("a \"b\";c"), "\"a \"\"b\"\";c\"");
    }

    #[test]
    fn json_without_formulas_is_json_of_the_same_value() {
        for (json, expected) in [
            (r#""=1+1""#, r#""\u003d1+1""#),
            (
                r#"{"a": "x", "-b": "+1"}"#,
                r#"{"a": "x", "\u002db": "\u002b1"}"#,
            ),
            (r#"{"a": "x;=1,@y"}"#, r#"{"a": "x;\u003d1,\u0040y"}"#),
            (r#"["a, \"=1", "＝2"]"#, r#"["a, \"=1", "\uff1d2"]"#),
            (r#"["\\", "=1"]"#, r#"["\\", "\u003d1"]"#),
            ("\t[\n\"=1\"]", "[\n\"\\u003d1\"]"),
        ] {
            let found = harmless_json(json);
            assert_eq!(found, expected);
            let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
            assert_eq!(value(&found), value(json));
        }
        for json in ["[1,-2]", "-5", r#"{"a":"b=c"}"#, "null", "{}"] {
            assert_eq!(harmless_json(json), json);
        }
    }

    #[test]
    fn a_negative_number_in_a_cell_is_no_formula() {
        for text in ["-1", "-12.5", "7", ""] {
            assert_eq!(harmless_cell(text), text);
        }
        for text in ["-1+1", "-x", "+1", "-inf"] {
            assert_eq!(harmless_cell(text), format!("'{text}"));
        }
    }

    #[test]
    fn numbers_that_are_names_are_seen() {
        for text in [
            "5511999990000",
            "0123",
            "10-11",
            "1/2",
            "10:30",
            "1.5",
            "(11) 3333-4444",
            "+55 11",
            "12e5",
        ] {
            assert!(is_mistaken(text), "{text}");
        }
        for text in ["", "0", "2026001", "55|11999990000", "Loja 1", "-", "e"] {
            assert!(!is_mistaken(text), "{text}");
        }
    }
}
