//! A report as one page to forward: no script, nothing from outside, no personal data of contacts.
//!
//! Every chart is followed by its numbers as a table. Texts of the account are escaped by the templates.

mod chart;
mod head;
mod hours;
mod outcomes;
mod volume;
mod waiting;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::Report;
use super::language::Language;
use super::sheet::{Kind, Sheet, Value};
use super::words::Words;
use crate::reporting::By;
use chart::{bar_list, chart};

const STYLE: &str = include_str!("style.css");

/// Nothing may be fetched or run, whatever a text of the account says.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";

/// The page.
pub(super) fn render(report: &Report, language: Language) -> String {
    let page = Page {
        words: Words::new(report, language),
        report,
        lang: language,
    };
    page.whole().into_string()
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
const fn number(count: u64) -> f64 {
    count as f64
}

/// A text as an isolated run: one that is written from right to left turns nothing around it.
fn isolated(text: &str) -> Markup {
    html! { bdi { (text) } }
}

struct Page<'a> {
    words: Words<'a>,
    report: &'a Report,
    lang: Language,
}

/// The class of a cell of words: of those, days are not broken.
const fn aligned(kind: Kind, value: &Value) -> Option<&'static str> {
    match (kind, value) {
        (Kind::Text, Value::Date(_)) => Some("t d"),
        (Kind::Text, _) => Some("t"),
        (Kind::Number | Kind::Seconds, _) => None,
    }
}

fn notes(sheet: &Sheet) -> Markup {
    html! { @for note in &sheet.notes { p class="note" { (note) } } }
}

impl<'a> Page<'a> {
    const fn pick(&self, en: &'a str, pt: &'a str) -> &'a str {
        self.lang.pick(en, pt)
    }

    fn whole(&self) -> Markup {
        html! {
            (DOCTYPE)
            html lang=(self.lang.code()) {
                head {
                    meta charset="utf-8";
                    meta http-equiv="Content-Security-Policy" content=(POLICY);
                    meta name="viewport" content="width=device-width,initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    meta name="robots" content="noindex";
                    meta name="generator" content="helena-sync";
                    title { (self.words.title()) ", " (self.words.period_and_days()) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    main {
                        (self.head())
                        (self.tiles())
                        (self.changes())
                        (self.volume())
                        (self.waiting())
                        (self.hours())
                        (self.people())
                        (self.outcomes())
                        (self.campaigns())
                        (self.tags())
                        (self.open_now())
                        (self.asked())
                        (self.data())
                        footer {
                            "helena-sync report · "
                            (self.pick("data complete up to", "dados completos até")) " "
                            (self.words.as_of())
                        }
                    }
                }
            }
        }
    }

    /// A cell of a table.
    fn cell(&self, value: &Value) -> Markup {
        match value {
            Value::Text(text) => isolated(text),
            Value::Link(text, url) => {
                html! { a href=(url) rel="noreferrer noopener" { (isolated(text)) } }
            }
            other => html! { (self.words.shown(other)) },
        }
    }

    /// The numbers of a chart, behind a line to open.
    fn numbers(&self, sheet: &Sheet) -> Markup {
        html! {
            details {
                summary { (self.pick("Show the numbers", "Ver os números")) }
                div class="scroll" { (self.plain_table(sheet)) }
            }
        }
    }

    fn plain_table(&self, sheet: &Sheet) -> Markup {
        let class = (sheet.key == "matrix").then_some("matrix");
        html! {
            table class=[class] {
                thead {
                    tr {
                        @for column in &sheet.columns {
                            th scope="col" class=[(column.kind == Kind::Text).then_some("t")] {
                                (column.head)
                            }
                        }
                    }
                }
                tbody {
                    @for row in &sheet.rows {
                        tr {
                            @for (value, column) in row.iter().zip(&sheet.columns) {
                                td class=[aligned(column.kind, value)] {
                                    (self.cell(value))
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    /// A table that becomes a list of cards where there is no room, with bars below the numbers of
    /// some columns.
    fn cards(&self, sheet: &Sheet, barred: &[&str]) -> Markup {
        let most: Vec<f64> = (0..sheet.columns.len())
            .map(|place| {
                let rows = sheet.rows.iter().enumerate();
                let rows = rows.filter(|(row, _)| !sheet.apart.contains(row));
                let numbers = rows.filter_map(|(_, row)| row[place].number());
                numbers.fold(0.0, f64::max)
            })
            .collect();
        html! {
            table class="cards" {
                thead {
                    tr {
                        @for column in &sheet.columns {
                            th scope="col" class=[(column.kind == Kind::Text).then_some("t")] {
                                (column.head)
                            }
                        }
                    }
                }
                tbody {
                    @for (line, row) in sheet.rows.iter().enumerate() {
                        @let is_apart = sheet.apart.contains(&line);
                        tr class=[is_apart.then_some("rest")] {
                            @for (place, (value, column)) in row.iter().zip(&sheet.columns).enumerate() {
                                @let part = barred.contains(&column.key)
                                    .then(|| value.number()).flatten()
                                    .filter(|_| most[place] > 0.0 && !is_apart)
                                    .map(|number| number / most[place] * 100.0);
                                @let class = aligned(column.kind, value).or(part.map(|_| "w"));
                                td class=[class] data-l=(column.head) {
                                    (self.cell(value))
                                    @if let Some(part) = part {
                                        b { i style=(format!("width:{part:.1}%")) {} }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    fn people(&self) -> Markup {
        let barred = ["opened", "completed"];
        html! {
            section {
                h2 { (self.pick("Teams, agents, channels", "Equipes, atendentes, canais")) }
                p class="sub" {
                    (self.pick(
                        "Opened, answered, first response and wait by the day of creation; completed, service and outcomes by the day of the end.",
                        "Novos atendimentos, respondidos, 1ª resposta e TME pelo dia da criação; finalizados, TMA e resultados pelo dia do encerramento.",
                    ))
                }
                @for by in [By::Department, By::Agent, By::Channel] {
                    @let sheet = self.words.people(by);
                    div class="block" {
                        h3 { (sheet.title) }
                        (self.cards(&sheet, &barred))
                        (notes(&sheet))
                    }
                }
            }
        }
    }

    fn open_now(&self) -> Markup {
        let [ages, all, oldest] = <[Sheet; 3]>::try_from(self.words.open_now())
            .unwrap_or_else(|_| [Sheet::new("", ""), Sheet::new("", ""), Sheet::new("", "")]);
        let title = self.pick("Open now", "Abertos agora");
        let Some(open) = &self.report.figures.open else {
            return html! { section { h2 { (title) } (self.none()) } };
        };
        let most = open.ages.iter().map(|age| age.iter().sum::<u64>()).max();
        let most = number(most.unwrap_or(0).max(1));
        let bars: Vec<chart::Bar> = open
            .ages
            .iter()
            .enumerate()
            .map(|(place, counts)| chart::Bar {
                label: self.words.age(place),
                shown: self.lang.count(counts.iter().sum()),
                parts: counts
                    .iter()
                    .zip(["c", "b", "a"])
                    .map(|(&count, class)| (number(count) / most, class))
                    .collect(),
                mark: None,
            })
            .collect();
        let (height, drawn) = bar_list(&bars);
        let message = match self.lang {
            Language::En => format!("{} open by age", self.lang.count(open.total())),
            Language::PtBr => format!("{} abertos por idade", self.lang.count(open.total())),
        };
        html! {
            section {
                h2 { (title) }
                p class="sub" {
                    (self.pick("As of", "Situação em")) " " (self.words.as_of()) ". "
                    (self.pick("Includes sessions created outside the period.", "Inclui atendimentos criados fora do período."))
                }
                div class="pair" {
                    div class="block" {
                        figure {
                            h3 { (self.pick("By age", "Por idade")) }
                            ul class="legend" {
                                li { i class="ic" {} (self.words.stage(crate::reporting::Stage::Bot)) }
                                li { i class="ib" {} (self.words.stage(crate::reporting::Stage::Queue)) }
                                li { i class="ia" {} (self.words.stage(crate::reporting::Stage::Service)) }
                            }
                            (chart(&message, height, false, &drawn))
                        }
                        (self.numbers(&ages))
                    }
                    dl class="keys two" {
                        div {
                            dt { (self.pick("Open in all", "Total de abertos")) }
                            dd { (self.lang.count(open.total())) }
                        }
                        @for row in &all.rows {
                            div { dt { (self.cell(&row[0])) } dd { (self.words.shown(&row[1])) } }
                        }
                    }
                }
                div class="block" {
                    h3 { (oldest.title) }
                    @if oldest.rows.is_empty() {
                        p class="soft" { (self.pick("Nothing is open.", "Nada está aberto.")) }
                    } @else {
                        (self.cards(&oldest, &[]))
                    }
                }
            }
        }
    }

    /// The breakdown that was asked for, unless a section has it whole.
    fn asked(&self) -> Markup {
        if !self.report.is_by_asked {
            return html! {};
        }
        let by = self.report.figures.question.by;
        let sheet = self.words.short(by, &self.report.figures.by);
        html! {
            section {
                h2 { (sheet.title) }
                (self.cards(&sheet, &["opened", "completed"]))
                (notes(&self.words.by_sheet()))
            }
        }
    }

    fn data(&self) -> Markup {
        let quality = self.words.quality();
        html! {
            section {
                h2 { (self.pick("What the figures mean", "O que os números significam")) }
                p class="sub" {
                    (self.pick(
                        "Each figure counts by the day a session was opened, by the day it ended, or as of now.",
                        "Cada indicador conta pelo dia de abertura, pelo dia do encerramento ou na situação atual.",
                    ))
                }
                dl class="defs" {
                    @for (name, meaning) in self.words.definitions() {
                        div { dt { (name) } dd { (meaning) } }
                    }
                }
            }
            section {
                h2 { (self.pick("What the figures rest on", "Em que os números se apoiam")) }
                @if !quality.notes.is_empty() {
                    p class="sub" {
                        (self.pick(
                            "The platform does not say what its times count. In this account:",
                            "A plataforma não diz o que os tempos dela contam. Nesta conta:",
                        ))
                    }
                    ul class="list" { @for note in &quality.notes { li { (note) } } }
                }
                div class="block" { (self.plain_table(&quality)) }
            }
        }
    }
}
