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

/// The line below a list: how much of it was shown, and how to see the rest.
pub(super) struct Footer<'a> {
    /// `sessions`.
    pub(super) what: &'a str,
    /// Records shown.
    pub(super) count: u64,
    /// Records there are, if the platform says so.
    pub(super) total: Option<u64>,
    /// Which page was asked for, and of which size.
    pub(super) page: u32,
    pub(super) size: u32,
    /// Whether all pages were.
    pub(super) all: bool,
}

impl Footer<'_> {
    pub(super) fn text(&self) -> String {
        let (what, count, page) = (self.what, number(self.count), self.page);
        let pages = |total: u64| total.div_ceil(u64::from(self.size)).max(1);
        match self.total {
            _ if self.all => format!("{count} {what}"),
            Some(total) if self.count == 0 => format!(
                "page {page} is beyond the end: {} {what} are {} pages of {}",
                number(total),
                number(pages(total)),
                self.size
            ),
            None if self.count == 0 => format!("page {page} is empty"),
            Some(total) => {
                let next = if u64::from(page) < pages(total) {
                    format!("; --page {} for the next, --all for all", page + 1)
                } else {
                    String::new()
                };
                format!(
                    "{count} of {} {what}; page {page} of {}{next}",
                    number(total),
                    number(pages(total))
                )
            }
            None => format!("{count} {what}; page {page}"),
        }
    }
}
