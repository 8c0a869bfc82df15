//! When people write, and how long they wait then: by weekday and hour.

use maud::{Markup, html};

use super::Page;
use super::chart::{Heat, chart, heat_map};
use crate::report::language::Language;
use crate::report::sheet::{Sheet, Value};
use crate::reporting::Cell;

impl<'a> Page<'a> {
    /// The weekdays, in the order of the account's weeks.
    pub(super) fn week(&self) -> impl Iterator<Item = usize> {
        let first = self.report.settings.week_starts_on.saturating_sub(1) as usize;
        (0..7).map(move |place| (place + first) % 7)
    }

    pub(super) fn heat(
        &self,
        level: impl Fn(&Cell) -> Option<f64>,
        text: impl Fn(&Cell) -> String,
    ) -> (f64, Markup) {
        let hours = &self.report.figures.hours;
        let rows: Vec<(&str, Vec<Heat>)> = self
            .week()
            .map(|weekday| {
                let cells = hours[weekday].iter().map(|cell| Heat {
                    level: level(cell),
                    text: text(cell),
                    is_inside: cell.is_open == Some(true),
                });
                (self.lang.short_weekday(weekday), cells.collect())
            })
            .collect();
        heat_map(&rows)
    }

    /// The numbers of a heat map: hours down, weekdays across.
    pub(super) fn matrix(&self, value: impl Fn(&Cell) -> Value) -> Sheet {
        let mut sheet = Sheet::new("matrix", "").words("hour", self.pick("Hour", "Hora"));
        for weekday in self.week() {
            sheet = sheet.numbers("weekday", self.lang.short_weekday(weekday));
        }
        for hour in 0..24 {
            let mut row = vec![Value::Text(format!("{hour:02}"))];
            row.extend(
                self.week()
                    .map(|weekday| value(&self.report.figures.hours[weekday][hour])),
            );
            sheet.row(row);
        }
        sheet
    }

    pub(super) const fn response_title(&self) -> &'a str {
        if self.report.is_open_hours {
            self.pick(
                "Median time to the first response within open hours",
                "Mediana do tempo até a 1ª resposta no expediente",
            )
        } else {
            self.pick(
                "Median time to the first response",
                "Mediana do tempo até a 1ª resposta",
            )
        }
    }

    pub(super) fn hours(&self) -> Markup {
        let hours = &self.report.figures.hours;
        let lang = self.lang;
        let average = |cell: &Cell| cell.average().unwrap_or(0.0);
        let most = hours.iter().flatten().map(average).fold(0.0, f64::max);
        let median = |cell: &Cell| {
            let times = self.words.first_response_at(cell);
            times.median.filter(|_| times.shows_median())
        };
        let slowest = hours
            .iter()
            .flatten()
            .filter_map(median)
            .fold(0.0, f64::max);
        // As on a logarithmic axis: from a minute to the slowest.
        let slow = |seconds: f64| {
            let most = (slowest.max(120.0) / 60.0).ln();
            ((seconds.max(60.0) / 60.0).ln() / most).clamp(0.0, 1.0)
        };
        let (height, opened) = self.heat(
            |cell| (cell.opened > 0 && most > 0.0).then(|| average(cell) / most),
            |cell| match cell.average() {
                Some(average) if cell.opened > 0 && average >= 9.95 => lang.decimal(average, 0),
                Some(average) if average >= 0.05 => lang.decimal(average, 1),
                _ => String::new(),
            },
        );
        let (_, response) = self.heat(
            |cell| median(cell).map(slow),
            |cell| {
                let seconds = median(cell);
                seconds.map_or_else(String::new, |seconds| self.clock(seconds))
            },
        );
        let mut busiest: Option<(usize, usize)> = None;
        for (weekday, cells) in hours.iter().enumerate() {
            for (hour, cell) in cells.iter().enumerate() {
                let best = busiest.map_or(0.0, |(weekday, hour)| average(&hours[weekday][hour]));
                if average(cell) > best {
                    busiest = Some((weekday, hour));
                }
            }
        }
        let peak = busiest.map(|(weekday, hour)| {
            let per = lang.decimal(average(&hours[weekday][hour]), 1);
            let day = lang.weekday(weekday);
            match lang {
                Language::En => format!(
                    "The busiest hour is {day}, {hour:02}:00 to {:02}:00, with {per} sessions opened on average.",
                    hour + 1
                ),
                Language::PtBr => format!(
                    "O horário de pico é {day}, das {hour} h às {} h, com média de {per} novos atendimentos.",
                    hour + 1
                ),
            }
        });
        let peak = peak.unwrap_or_default();
        let has_hours = self.report.has_hours();
        let opened_title = self.pick("Opened per hour", "Novos atendimentos por hora");
        let response_title = self.response_title();
        html! {
            section {
                h2 { (self.pick("When people write", "Horários de pico")) }
                p class="sub" {
                    (peak) " "
                    (self.pick("Averages over the weekdays of the period.", "Médias sobre os dias da semana do período."))
                }
                ul class="legend" {
                    li { i class="ic" {} (self.pick("few, or fast", "poucos, ou rápido")) }
                    li { i class="ia" {} (self.pick("many, or slow", "muitos, ou lento")) }
                    @if has_hours {
                        li { i class="o" {} (self.pick("Open hours", "Horário de atendimento")) }
                    }
                }
                div class="block" {
                    figure {
                        h3 { (opened_title) }
                        (chart(&format!("{opened_title}. {peak}"), height, false, &opened))
                    }
                    (self.numbers(&self.matrix(|cell| match cell.average() {
                        Some(average) if cell.opened > 0 => Value::Number(average),
                        _ => Value::None,
                    })))
                }
                div class="block" {
                    figure {
                        h3 { (response_title) ", " (self.pick("hours:minutes", "horas:minutos")) }
                        (chart(response_title, height, false, &response))
                    }
                    (self.numbers(&self.matrix(|cell| {
                        let seconds = median(cell);
                        seconds.map_or(Value::None, |seconds| Value::Text(self.clock(seconds)))
                    })))
                }
            }
        }
    }

    /// `0:04`, for a small place.
    #[expect(
        clippy::unused_self,
        reason = "reads like the other forms of durations"
    )]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "durations are not negative"
    )]
    pub(super) fn clock(&self, seconds: f64) -> String {
        let minutes = (seconds / 60.0).round().max(0.0) as u64;
        format!("{}:{:02}", minutes / 60, minutes % 60)
    }
}
