//! Reads table cells from a record's JSON.

use serde_json::Value;

use crate::config::Zone;
use crate::data::{Timestamp, counted};

/// A record's fields.
pub(super) struct Fields<'a>(pub(super) &'a Value);

impl Fields<'_> {
    /// The value at a path as text. Numbers and booleans become text; an absent, null or empty
    /// value is `None`. A number in the path is an index into an array.
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

/// A time of the platform in the configured time zone. Text that is not a time stays as it is.
pub(super) fn shown_at(zone: Zone, text: Option<String>) -> String {
    text.map(|text| match Timestamp::parse(&text) {
        Ok(at) => zone.show(at),
        Err(_) => text,
    })
    .unwrap_or_default()
}

/// A number with thousands separators.
pub(super) fn number(number: u64) -> String {
    crate::data::grouped(number)
}

/// The line below a list: how many records were shown, and how to see the rest.
pub(super) struct Footer<'a> {
    /// `session`.
    pub(super) what: &'a str,
    /// Which of them: ` with status ACTIVE`.
    pub(super) which: &'a str,
    /// Records shown.
    pub(super) count: u64,
    /// Records in total, if the platform counts them.
    pub(super) total: Option<u64>,
    /// The requested page.
    pub(super) page: u32,
    /// The requested page size.
    pub(super) size: u32,
    /// Whether all pages were requested.
    pub(super) all: bool,
    /// Whether as many records were requested as `--limit` says.
    pub(super) limited: bool,
}

impl Footer<'_> {
    /// Whether the list is empty, as far as the platform says.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0 && self.total.map_or(self.page == 1, |total| total == 0)
    }

    /// Whether the platform counts records on this page but shows none.
    fn is_gap(&self, total: u64) -> bool {
        let before = u64::from(self.page.saturating_sub(1)) * u64::from(self.size);
        self.count == 0 && total > before
    }

    pub(super) fn text(&self) -> String {
        let (count, page) = (number(self.count), self.page);
        let of = |number| format!("{}{}", counted(number, self.what), self.which);
        let pages = |total: u64| total.div_ceil(u64::from(self.size)).max(1);
        match self.total {
            Some(total) if self.is_gap(total) => format!(
                "the platform counts {} but shows none of them; try again later",
                of(total)
            ),
            Some(total) if self.limited && total > self.count => {
                format!("{count} of {}; --all for all", of(total))
            }
            _ if self.all || self.limited => of(self.count),
            Some(total) if self.count == 0 => format!(
                "page {page} is past the end: {} on {} of {}",
                of(total),
                counted(pages(total), "page"),
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
                    "{count} of {}; page {page} of {}{next}",
                    of(total),
                    number(pages(total))
                )
            }
            None => format!("{}; page {page}", of(self.count)),
        }
    }
}
