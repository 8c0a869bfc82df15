//! Turns the platform's error bodies into one readable line.
//!
//! Owns the two shapes of error bodies (API notes, 12) and accepts deviations from both. Must not
//! know what is done about a failure.

use serde_json::Value;

/// The maximum length of the platform's text in an error or a log.
const LONGEST: usize = 240;

/// The message of an error body: `ERROR_UNAUTHORIZED: Acesso negado (id a1b2c3d4)`. Other bodies are
/// described, never quoted.
pub(super) fn describe(body: &[u8], content_type: Option<&str>) -> String {
    if body.iter().all(u8::is_ascii_whitespace) {
        return "no body".to_owned();
    }
    if is_html(body, content_type) {
        return "an HTML page instead of JSON".to_owned();
    }
    match serde_json::from_slice::<Value>(body) {
        Ok(Value::Object(object)) => {
            let text = |name: &str| object.get(name).and_then(words);
            let key = text("key").or_else(|| text("title"));
            let said = text("text")
                .or_else(|| text("detail"))
                .or_else(|| text("message"));
            let errors = object.get("errors").and_then(validation);
            let mut line = [key, said, errors]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(": ");
            if line.is_empty() {
                "JSON without a message".clone_into(&mut line);
            }
            if let Some(id) = object.get("id") {
                let short = id.get("shortValue").or_else(|| id.get("value"));
                if let Some(short) = short.and_then(words) {
                    line.push_str(" (id ");
                    line.push_str(&short);
                    line.push(')');
                }
            }
            line
        }
        Ok(_) => "JSON of another shape".to_owned(),
        Err(_) => "a body that is not JSON".to_owned(),
    }
}

/// Whether an error body says "not found", whatever the answer's status is. `httpStatusCode` is a
/// number in real bodies and a name in the spec (API notes, 12).
pub(super) fn says_missing(body: &[u8]) -> bool {
    let Ok(Value::Object(object)) = serde_json::from_slice::<Value>(body) else {
        return false;
    };
    match object.get("httpStatusCode") {
        Some(Value::Number(number)) => matches!(number.as_u64(), Some(404 | 410)),
        Some(Value::String(text)) => {
            let text = text.trim();
            ["404", "410", "NotFound", "NOT_FOUND", "Gone"]
                .iter()
                .any(|name| name.eq_ignore_ascii_case(text))
        }
        _ => false,
    }
}

/// Whether a body is HTML, by its content type or its first character.
pub(super) fn is_html(body: &[u8], content_type: Option<&str>) -> bool {
    content_type.is_some_and(|kind| kind.to_ascii_lowercase().contains("html"))
        || body.trim_ascii_start().first() == Some(&b'<')
}

/// The field names of a `ProblemDetails`' `errors`. Their values are left out, since they may quote
/// input.
fn validation(errors: &Value) -> Option<String> {
    let names: Vec<String> = errors
        .as_object()?
        .keys()
        .filter_map(|name| line(name))
        .collect();
    (!names.is_empty()).then(|| format!("about {}", names.join(", ")))
}

fn words(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => line(text),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The text as one line of limited length. `None` if it is empty.
fn line(text: &str) -> Option<String> {
    let mut line = String::new();
    for word in text
        .split(|character: char| character.is_whitespace() || character.is_control())
        .filter(|word| !word.is_empty())
    {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
        if line.len() > LONGEST {
            line = line.chars().take(LONGEST).collect();
            line.push('…');
            break;
        }
    }
    (!line.is_empty()).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_error_bodies_become_one_line() {
        for (body, expected) in [
            (
                r#"{"error":true,"key":"ERROR_UNAUTHORIZED","text":"Acesso\nnegado",
                    "id":{"value":"18293786c43a","shortValue":"a1b2c3d4"},"httpStatusCode":401}"#,
                "ERROR_UNAUTHORIZED: Acesso negado (id a1b2c3d4)",
            ),
            (
                r#"{"type":null,"title":"Too Many Requests","status":429,"detail":null}"#,
                "Too Many Requests",
            ),
            (
                r#"{"title":"One or more errors","errors":{"PageSize":["secret"]}}"#,
                "One or more errors: about PageSize",
            ),
            (r#"{"text":"x","id":{"value":"long"}}"#, "x (id long)"),
            (r#"{"error":true,"text":17,"id":null}"#, "17"),
            (r#"{"key":null}"#, "JSON without a message"),
            ("[]", "JSON of another shape"),
            ("{\"a\"", "a body that is not JSON"),
            (" \r\n", "no body"),
            ("", "no body"),
            (" <!doctype html><p>secret", "an HTML page instead of JSON"),
        ] {
            assert_eq!(describe(body.as_bytes(), None), expected, "{body}");
        }
        assert_eq!(
            describe(b"oops", Some("Text/HTML; charset=utf-8")),
            "an HTML page instead of JSON"
        );
    }

    #[test]
    fn a_long_text_is_cut() {
        let body = format!(r#"{{"text":"{}"}}"#, "é".repeat(100_000));
        assert!(describe(body.as_bytes(), None).chars().count() <= LONGEST + 1);
    }

    proptest::proptest! {
        #[test]
        fn no_body_panics_or_breaks_the_line(body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let line = describe(&body, None);
            proptest::prop_assert!(!line.chars().any(char::is_control));
        }
    }
}
