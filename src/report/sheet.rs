//! A table of a report, before it has a format.

use chrono::NaiveDate;

use super::language::{Language, Moved};

/// A value of a cell.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing is known.
    None,
    /// Words, or a text of the account.
    Text(String),
    /// A text that leads to a page.
    Link(String, String),
    /// A day.
    Date(NaiveDate),
    /// A number of something.
    Count(u64),
    /// A difference of two counts.
    Difference(i64),
    /// A number with decimals.
    Number(f64),
    /// A duration in seconds.
    Seconds(f64),
    /// A duration in seconds that rests on too few to be shown to people.
    FewSeconds(f64),
    /// A part of 1.
    Share(f64),
    /// An amount.
    Money(f64),
    /// How far a figure moved.
    Moved(Moved),
}

impl Value {
    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// A share, if there is one.
    pub fn share(share: Option<f64>) -> Self {
        share.map_or(Self::None, Self::Share)
    }

    /// A duration, if there is one.
    pub fn seconds(seconds: Option<f64>) -> Self {
        seconds.map_or(Self::None, Self::Seconds)
    }

    /// A duration, if there is one; shown only where enough stand behind it.
    pub fn of_enough(seconds: Option<f64>, is_shown: bool) -> Self {
        match seconds {
            None => Self::None,
            Some(seconds) if is_shown => Self::Seconds(seconds),
            Some(seconds) => Self::FewSeconds(seconds),
        }
    }

    /// For people.
    pub fn shown(&self, language: Language, currency: &str) -> String {
        match self {
            Self::None | Self::FewSeconds(_) => "–".to_owned(),
            Self::Text(text) | Self::Link(text, _) => text.clone(),
            Self::Date(date) => language.date(*date),
            Self::Count(count) => language.count(*count),
            Self::Difference(0) => "0".to_owned(),
            Self::Difference(by) => {
                let sign = if *by > 0 { "+" } else { "−" };
                format!("{sign}{}", language.count(by.unsigned_abs()))
            }
            Self::Number(number) => language.decimal(*number, 1),
            Self::Seconds(seconds) => language.duration(*seconds),
            Self::Share(share) => language.share(*share),
            Self::Money(amount) => language.money(*amount, currency),
            Self::Moved(moved) => language.moved(*moved),
        }
    }

    /// The bare number, if it is one.
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    pub const fn number(&self) -> Option<f64> {
        match self {
            Self::Count(count) => Some(*count as f64),
            Self::Difference(by) => Some(*by as f64),
            Self::Number(number)
            | Self::Seconds(number)
            | Self::FewSeconds(number)
            | Self::Share(number)
            | Self::Money(number) => Some(*number),
            Self::Moved(moved) => Some(moved.value()),
            Self::None | Self::Text(_) | Self::Link(..) | Self::Date(_) => None,
        }
    }
}

/// What the values of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Words: aligned to the left.
    Text,
    /// Numbers: aligned to the right.
    Number,
    /// Durations: aligned to the right, in seconds where they are not for people.
    Seconds,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name for programs.
    pub key: &'static str,
    /// Its name for people.
    pub head: String,
    /// What it holds.
    pub kind: Kind,
}

/// A table of a report.
#[derive(Debug, Clone, PartialEq)]
pub struct Sheet {
    /// Its name for programs.
    pub key: &'static str,
    /// Its name for people.
    pub title: String,
    /// What must be known to read it.
    pub notes: Vec<String>,
    /// Its columns.
    pub columns: Vec<Column>,
    /// Its rows, with a value for each column.
    pub rows: Vec<Vec<Value>>,
    /// The places of rows that are no like of the others: all that are not shown, or those without any.
    pub apart: Vec<usize>,
}

impl Sheet {
    /// An empty one.
    pub fn new(key: &'static str, title: impl Into<String>) -> Self {
        Self {
            key,
            title: title.into(),
            notes: Vec::new(),
            columns: Vec::new(),
            rows: Vec::new(),
            apart: Vec::new(),
        }
    }

    /// With a note.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    fn column(mut self, kind: Kind, key: &'static str, head: impl Into<String>) -> Self {
        let head = head.into();
        self.columns.push(Column { key, head, kind });
        self
    }

    /// With a column of words.
    #[must_use]
    pub fn words(self, key: &'static str, head: impl Into<String>) -> Self {
        self.column(Kind::Text, key, head)
    }

    /// With a column of numbers.
    #[must_use]
    pub fn numbers(self, key: &'static str, head: impl Into<String>) -> Self {
        self.column(Kind::Number, key, head)
    }

    /// With a column of durations.
    #[must_use]
    pub fn times(self, key: &'static str, head: impl Into<String>) -> Self {
        self.column(Kind::Seconds, key, head)
    }

    /// Adds a row.
    pub fn row(&mut self, values: Vec<Value>) {
        debug_assert_eq!(values.len(), self.columns.len(), "{}", self.key);
        self.rows.push(values);
    }
}
