//! Reading cells out of a record's JSON, for people.

use serde_json::Value;

use crate::config::Zone;
use crate::data::Timestamp;

/// A record's fields.
pub(super) struct Fields<'a>(pub(super) &'a Value);

impl Fields<'_> {
    /// The text at a path, numbers and booleans included; `None` if absent, null or empty. A
    /// number in the path is an index.
    pub(super) fn text(&self, path: &[&str]) -> Option<String> {
        let mut value = self.0;
        for key in path {
            value = match value {
                Value::Array(items) => items.get(key.parse::<usize>().ok()?)?,
                other => other.get(key)?,
            };
        }
        match value {
            Value::String(text) if text.is_empty() => None,
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(value) => Some(if *value { "yes" } else { "no" }.to_owned()),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }
}

/// An instant of the platform in the configured time zone; what is none, as it is.
pub(super) fn shown_at(zone: Zone, text: Option<String>) -> String {
    text.map(|text| match Timestamp::parse(&text) {
        Ok(at) => zone.show(at),
        Err(_) => text,
    })
    .unwrap_or_default()
}

/// A number with separators, as people read it.
pub(super) fn number(number: u64) -> String {
    indicatif::HumanCount(number).to_string()
}
