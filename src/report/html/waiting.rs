//! How long people waited for the first response.

use maud::{Markup, html};

use super::chart::{self, Panel, bar_list, chart, labels, stripes};
use super::{Page, number};
use crate::report::language::Language;
use crate::report::sheet::Value;
use crate::reporting::{Bucket, CLASSES, Classes, Times};

impl<'a> Page<'a> {
    pub(super) fn distribution(&self, title: &str, classes: &Classes, times: &Times) -> Markup {
        let total = number(classes.total().max(1));
        let longest = classes.counts.iter().copied().max().unwrap_or(0);
        let longest = number(longest.max(classes.unanswered).max(1));
        let place = |seconds: Option<f64>| {
            let seconds = seconds?;
            let place = CLASSES.iter().position(|&most| seconds <= f64::from(most));
            Some(place.unwrap_or(CLASSES.len()))
        };
        let median = place(times.median.filter(|_| times.shows_median()));
        let p90 = place(times.p90_seconds().filter(|_| times.shows_p90()));
        let bars: Vec<chart::Bar> = (0..=CLASSES.len() + 1)
            .map(|it| {
                let is_last = it > CLASSES.len();
                let count = classes
                    .counts
                    .get(it)
                    .copied()
                    .unwrap_or(classes.unanswered);
                let mut marks = Vec::new();
                if median == Some(it) {
                    marks.push(self.pick("median", "mediana"));
                }
                if p90 == Some(it) {
                    marks.push(self.pick("90th percentile", "percentil 90"));
                }
                chart::Bar {
                    label: self.words.class(it),
                    shown: format!(
                        "{} · {}",
                        self.lang.share(number(count) / total),
                        self.lang.count(count)
                    ),
                    parts: vec![(number(count) / longest, if is_last { "b" } else { "a" })],
                    mark: (!marks.is_empty()).then(|| marks.join(", ")),
                }
            })
            .collect();
        let (height, drawn) = bar_list(&bars);
        let words = self.words;
        let median = words.shown(&Value::of_enough(times.median, times.shows_median()));
        let p90 = words.shown(&Value::of_enough(times.p90_seconds(), times.shows_p90()));
        let average = words.shown(&Value::seconds(times.average));
        let message = match self.lang {
            Language::En => format!("{title}: median {median}, 90th percentile {p90}"),
            Language::PtBr => format!("{title}: mediana {median}, percentil 90 {p90}"),
        };
        let mut sheet = words.classes();
        let first = if title == self.open_title() { 3 } else { 1 };
        sheet.columns = [0, first, first + 1]
            .iter()
            .filter_map(|&place| sheet.columns.get(place).cloned())
            .collect();
        for row in &mut sheet.rows {
            *row = [0, first, first + 1]
                .iter()
                .filter_map(|&place| row.get(place).cloned())
                .collect();
        }
        html! {
            div class="block" {
                figure {
                    h3 { (title) }
                    p class="sub" {
                        (self.pick("median", "mediana")) " " (median) " · "
                        (self.pick("90th percentile", "percentil 90")) " " (p90) " · "
                        (self.pick("average", "média")) " " (average) " · n\u{a0}=\u{a0}"
                        (self.lang.count(times.n))
                    }
                    (chart(&message, height, false, &drawn))
                }
                (self.numbers(&sheet))
            }
        }
    }

    pub(super) const fn open_title(&self) -> &'a str {
        self.pick("Within open hours", "No horário de atendimento")
    }

    /// Median and 90th percentile over time, on an axis whose steps are those at which people give up.
    pub(super) fn over_time(
        &self,
        title: &str,
        of: impl Fn(&crate::reporting::Bar) -> Times,
    ) -> Markup {
        const LINES: [f64; 7] = [10.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 86_400.0];
        let times: Vec<Times> = self.report.figures.bars.iter().map(of).collect();
        // From 5 seconds on; below, all is fast.
        let place = |seconds: f64| (seconds.max(5.0) / 5.0).log10();
        let median: Vec<Option<f64>> = times
            .iter()
            .map(|it| it.median.filter(|_| it.shows_median()).map(place))
            .collect();
        let p90: Vec<Option<f64>> = times
            .iter()
            .map(|it| it.p90_seconds().filter(|_| it.shows_p90()).map(place))
            .collect();
        let most = median.iter().chain(&p90).flatten().copied();
        let most = most.fold(place(300.0), f64::max);
        let panel = Panel {
            top: 16.0,
            height: 150.0,
            most: most * 1.02,
        };
        let lines = LINES.into_iter().filter(|&it| place(it) <= most);
        let (texts, labelled) = self.bucket_labels();
        let quiet: Vec<bool> = self
            .report
            .figures
            .bars
            .iter()
            .map(|bar| bar.is_quiet)
            .collect();
        let is_daily = self.report.figures.question.bucket == Bucket::Day;
        let drawn = html! {
            @if is_daily { (stripes(&quiet, 166.0)) }
            (panel.band(&median, &p90, "c"))
            @for line in lines {
                @let y = format!("{:.2}", panel.top + panel.height * (1.0 - place(line) / panel.most));
                line class="grid" x1="0" x2="100%" y1=(y) y2=(y) {}
                text x="-8" text-anchor="end" y=(y) dy="4" { (self.lang.short_duration(line)) }
            }
            (panel.line(&median, "line"))
            (panel.base())
            (labels(&texts, 184.0, labelled))
        };
        let mut sheet = self.words.waiting();
        if title == self.open_title() {
            sheet.columns.drain(1..5);
            for row in &mut sheet.rows {
                row.drain(1..5);
            }
        } else if self.report.has_hours() {
            sheet.columns.truncate(5);
            for row in &mut sheet.rows {
                row.truncate(5);
            }
        }
        html! {
            div class="block" {
                figure {
                    h3 { (title) ", " (self.per_bucket()) }
                    ul class="legend" {
                        li { i class="ia" {} (self.pick("Median", "Mediana")) }
                        li { i class="ic" {} (self.pick("Up to the 90th percentile", "Até o percentil 90")) }
                        li { (self.pick("logarithmic scale", "escala logarítmica")) }
                    }
                    (chart(title, 188.0, true, &drawn))
                }
                (self.numbers(&sheet))
            }
        }
    }

    pub(super) fn waiting(&self) -> Markup {
        let figures = &self.report.figures;
        let all = self.pick("All hours", "Todas as horas");
        let open = figures.classes_open.as_ref();
        let single = self.pick("How long they waited", "Quanto tempo esperaram");
        let over = self.pick("Median and 90th percentile", "Mediana e percentil 90");
        html! {
            section {
                h2 { (self.pick("Time to the first response", "Tempo até a 1ª resposta")) }
                p class="sub" {
                    (self.pick(
                        "By the day of creation. Sessions without an answer stand in a row of their own.",
                        "Pelo dia da criação. Atendimentos sem resposta aparecem em uma linha própria.",
                    ))
                }
                div class="pair" {
                    (self.distribution(
                        if open.is_some() { all } else { single },
                        &figures.classes,
                        &figures.total.first_response,
                    ))
                    @if let Some(open) = open {
                        (self.distribution(self.open_title(), open, &figures.total.first_response_open))
                    } @else {
                        (self.over_time(over, |bar| bar.first_response))
                    }
                }
                @if open.is_some() {
                    div class="pair" style="margin-top:2rem" {
                        (self.over_time(all, |bar| bar.first_response))
                        (self.over_time(self.open_title(), |bar| bar.first_response_open))
                    }
                }
            }
        }
    }
}
