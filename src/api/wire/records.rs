//! Splits an array into its records, and reads their heads in the same pass.
//!
//! A record's text is found by its first member's name: `serde_json` tells where a value that it skips
//! lies only if it reads the value a second time. Must not know what surrounds the array.

use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Name, note, offset, range};
use crate::data::{Head, Item};

/// A record that is an object with at least one member.
pub(super) struct Record<'a> {
    head: Head,
    /// The literal of its first member's name.
    first: &'a str,
}

impl<'de> Deserialize<'de> for Record<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RecordVisitor)
    }
}

struct RecordVisitor;

impl<'de> Visitor<'de> for RecordVisitor {
    type Value = Record<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a member")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Record<'de>, M::Error> {
        let Some(first) = map.next_key::<&'de RawValue>()? else {
            return Err(M::Error::custom("the object is empty"));
        };
        let first = first.get();
        let mut head = Head::default();
        let mut name = Some(serde_json::from_str::<Name>(first).map_err(M::Error::custom)?);
        while let Some(known) = name {
            if matches!(known, Name::Other) {
                map.next_value::<IgnoredAny>()?;
            } else {
                note(&mut head, known, map.next_value()?);
            }
            name = map.next_key()?;
        }
        Ok(Record { head, first })
    }
}

/// The records as ranges of `text`, from which they were borrowed.
pub(super) fn cut(text: &str, records: Vec<Record<'_>>) -> Vec<Item> {
    // Only white space is between the brace and the name.
    let begins = |record: &Record<'_>| text[..offset(text, record.first)].trim_end().len() - 1;
    let starts: Vec<usize> = records.iter().map(begins).collect();
    let ends = starts.iter().skip(1).map(|&next| {
        let before = text[..next].trim_end();
        before.strip_suffix(',').unwrap_or(before).trim_end().len()
    });
    let last = starts.last().map(|&start| last(text, start).end);
    let ends: Vec<usize> = ends.chain(last).collect();
    let ranges = starts.into_iter().zip(ends);
    records
        .into_iter()
        .zip(ranges)
        .map(|(Record { head, .. }, (start, end))| Item {
            head,
            raw: start..end,
        })
        .collect()
}

/// The range of the value that begins at `start`.
fn last(text: &str, start: usize) -> Range<usize> {
    let mut values = serde_json::Deserializer::from_str(&text[start..]).into_iter::<&RawValue>();
    match values.next() {
        Some(Ok(raw)) => range(text, raw.get()),
        // The whole text was parsed before.
        _ => start..text.len(),
    }
}
