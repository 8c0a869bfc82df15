//! The sheets of a report.

mod breakdown;
mod now;
mod outcomes;
mod waiting;

use super::sheet::{Sheet, Value};
use super::words::{Metric, Words};
use crate::reporting::{By, Group, Key, Row, Share, Times};

/// A duration of a group.
type Of = fn(&Group) -> Times;

/// A share in time of a group.
type In = fn(&Group) -> Share;

/// How many rows a section for people has before the rest is one row.
const MOST: usize = 10;

fn median(times: &Times) -> Value {
    Value::of_enough(times.median, times.shows_median())
}

fn p90(times: &Times) -> Value {
    Value::of_enough(times.p90_seconds(), times.shows_p90())
}

/// The places of rows that are no like of the others.
fn apart(rows: &[Row], is_none_apart: bool) -> Vec<usize> {
    let is_apart =
        |row: &Row| matches!(row.key, Key::Rest(_)) || is_none_apart && row.key == Key::None;
    let places = rows.iter().enumerate();
    places
        .filter(|(_, row)| is_apart(row))
        .map(|(place, _)| place)
        .collect()
}

impl Words<'_> {
    /// How many rows a section has before the rest is one row.
    const fn most(self) -> usize {
        if self.is_whole { usize::MAX } else { MOST }
    }

    /// All sheets, in the order in which they are read.
    pub(super) fn sheets(self) -> Vec<Sheet> {
        let mut sheets = vec![self.about(), self.figures_sheet(), self.times_sheet()];
        sheets.push(self.by_sheet());
        if self.report.metrics.are_chosen() {
            // The other sections are of metrics of their own.
            for by in [By::Department, By::Agent, By::Channel] {
                sheets.push(self.people(by));
            }
            sheets.push(self.quality());
            sheets.push(self.definitions_sheet());
            return sheets;
        }
        sheets.push(self.volume());
        sheets.push(self.classes());
        sheets.push(self.waiting());
        sheets.push(self.hours_sheet());
        for by in [By::Department, By::Agent, By::Channel] {
            sheets.push(self.people(by));
        }
        sheets.push(self.funnel());
        sheets.push(self.reasons());
        sheets.push(self.campaigns());
        sheets.push(self.ads());
        sheets.push(self.tags());
        sheets.extend(self.open_now());
        sheets.push(self.quality());
        sheets.push(self.definitions_sheet());
        sheets
    }

    /// What the report is of.
    pub(super) fn about(self) -> Sheet {
        let mut sheet = Sheet::new("about", self.pick("About", "Sobre"))
            .words("what", self.pick("What", "O quê"))
            .words("value", self.pick("Value", "Valor"));
        for (what, value) in self.head() {
            sheet.row(vec![Value::text(what), Value::Text(value)]);
        }
        sheet
    }

    /// The figures of the whole period.
    pub(super) fn figures_sheet(self) -> Sheet {
        let mut sheet = Sheet::new("figures", self.pick("Figures", "Indicadores"))
            .words("figure", self.pick("Figure", "Indicador"))
            .numbers("value", self.pick("Value", "Valor"))
            .numbers("n", "n")
            .numbers("before", self.pick("Before", "Antes"))
            .numbers("n_before", self.pick("n before", "n antes"))
            .numbers("change", self.pick("Change", "Variação"));
        for figure in self.figures() {
            let moved = figure.moved().map_or(Value::None, Value::Moved);
            sheet.row(vec![
                Value::text(figure.name),
                figure.value,
                Value::Count(figure.n),
                figure.before,
                Value::Count(figure.n_before),
                moved,
            ]);
        }
        if self.report.figures.before.is_none() {
            for row in &mut sheet.rows {
                row[4] = Value::None;
            }
        }
        sheet.notes = self.period_notes();
        sheet
    }

    /// The durations of the whole period.
    pub(super) fn times_sheet(self) -> Sheet {
        let mut sheet = Sheet::new("times", self.pick("Times", "Tempos"))
            .words("metric", self.pick("Time", "Tempo"))
            .words("anchor", self.pick("Counts by", "Conta pelo"))
            .times("average", self.pick("Average", "Média"))
            .times("median", self.pick("Median", "Mediana"))
            .times("p90", self.pick("90th percentile", "Percentil 90"))
            .numbers("n", "n")
            .times("median_before", self.pick("Median before", "Mediana antes"))
            .numbers("n_before", self.pick("n before", "n antes"))
            .numbers("change", self.pick("Change", "Variação"));
        for metric in self.metrics() {
            let figure = metric.median(metric.name);
            let Metric {
                times,
                before,
                anchor,
                ..
            } = metric;
            sheet.row(vec![
                Value::text(metric.name),
                Value::text(anchor),
                Value::seconds(times.average),
                median(&times),
                p90(&times),
                Value::Count(times.n),
                before.as_ref().map_or(Value::None, median),
                before.map_or(Value::None, |before| Value::Count(before.n)),
                figure.moved().map_or(Value::None, Value::Moved),
            ]);
        }
        sheet
    }

    /// The breakdown that was asked for, with all columns.
    pub(super) fn by_sheet(self) -> Sheet {
        let by = self.report.figures.question.by;
        let sheet = self.full(by, &self.report.figures.by);
        self.with_notes(by, sheet)
    }

    /// What each figure means.
    pub(super) fn definitions_sheet(self) -> Sheet {
        let mut sheet = Sheet::new("definitions", self.pick("Definitions", "Definições"))
            .words("figure", self.pick("Figure", "Indicador"))
            .words("meaning", self.pick("Meaning", "Significado"));
        for (figure, meaning) in self.definitions() {
            sheet.row(vec![Value::text(figure), Value::text(meaning)]);
        }
        sheet
    }
}
