//! A report as one page to forward: no script, nothing from outside, no personal data of contacts.
//!
//! Every chart is followed by its numbers as a table. Texts of the account are escaped by the templates.

mod chart;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::Report;
use super::language::Language;
use super::sheet::{Kind, Sheet, Value};
use super::words::{Figure, Words};
use crate::reporting::{Bucket, By, CLASSES, Cell, Classes, Key, Share, Times};
use chart::{Heat, Panel, bar_list, chart, heat_map, labels, scale, stripes};

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

    fn head(&self) -> Markup {
        let head = self.words.head();
        let is_shown = |what: &str| !matches!(what, "Account" | "Conta" | "Period" | "Período");
        html! {
            header {
                p class="over" { (self.pick("Customer service report", "Relatório de atendimento")) }
                h1 { (isolated(&self.report.account)) }
                p class="lead" { (self.words.period_and_days()) }
                dl class="facts" {
                    @for (what, value) in head.iter().filter(|(what, _)| is_shown(what)) {
                        div class=[matches!(*what, "Attention" | "Atenção").then_some("warn")] {
                            dt { (what) }
                            dd { (isolated(value)) }
                        }
                    }
                }
            }
        }
    }

    /// How far a figure moved, coloured where that is better or worse and more than noise.
    fn moved(&self, figure: &Figure) -> Markup {
        let class = match figure.is_better() {
            Some(true) => "move good",
            Some(false) => "move bad",
            None => "move",
        };
        html! {
            @if self.report.figures.before.is_some() {
                p class=(class) {
                    @match figure.moved() {
                        Some(moved) => {
                            (self.lang.moved(moved)) " "
                            span {
                                (self.pick("from", "antes")) " " (self.words.shown(&figure.before))
                            }
                        }
                        None => {
                            "– "
                            span {
                                @if figure.before.number().is_some() {
                                    (self.pick("from", "antes")) " "
                                    (self.words.shown(&figure.before))
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    fn tile(&self, figure: &Figure, name: &str, small: &str) -> Markup {
        html! {
            div class="tile" {
                h3 { (name) }
                p class="big" { (self.words.shown(&figure.value)) }
                p class="small" { (small) }
                (self.moved(figure))
            }
        }
    }

    fn figure(figures: &[Figure], key: &str) -> Figure {
        let found = figures.iter().find(|figure| figure.key == key);
        found.cloned().unwrap_or(Figure {
            key: "",
            name: "",
            value: Value::None,
            n: 0,
            before: Value::None,
            n_before: 0,
            more_is_better: None,
        })
    }

    fn tiles(&self) -> Markup {
        let words = self.words;
        let (lang, figures) = (self.lang, words.figures());
        let total = &self.report.figures.total;
        let get = |key| Self::figure(&figures, key);
        let metrics = words.metrics();
        let metric = |key: &str| metrics.iter().find(|metric| metric.key == key);
        let shown = |seconds: Option<f64>, is: bool| words.shown(&Value::of_enough(seconds, is));
        let n = |n: u64| format!("n\u{a0}=\u{a0}{}", lang.count(n));
        let first_key = if self.report.is_open_hours {
            "first_response_open"
        } else {
            "first_response"
        };
        let first = metric(first_key);
        let wait = metric("wait");
        let contacts = match lang {
            Language::En => format!(
                "{} contacts, {} of them new",
                lang.count(total.contacts),
                lang.count(total.new_contacts)
            ),
            Language::PtBr => format!(
                "{} contatos, {} novos",
                lang.count(total.contacts),
                lang.count(total.new_contacts)
            ),
        };
        let balance = words.shown(&get("balance").value);
        let balance = balance
            .trim_end_matches(".0")
            .trim_end_matches(",0")
            .to_owned();
        let balance = match lang {
            Language::En => format!("balance: {balance}"),
            Language::PtBr => format!("saldo: {balance}"),
        };
        let open_now = match &self.report.figures.open {
            Some(open) => format!(
                "{}: {}",
                self.pick("open now", "abertos agora"),
                lang.count(open.total())
            ),
            None => String::new(),
        };
        let answered = match lang {
            Language::En => format!("of {} completed", lang.count(total.closed)),
            Language::PtBr => format!("de {} já finalizados", lang.count(total.closed)),
        };
        let p90 = self.pick("90th percentile", "percentil 90");
        let win_rate = words.shown(&get("win_rate").value);
        let won = format!(
            "{} · {} {win_rate}",
            lang.short_money(total.amount_won, &self.report.settings.currency),
            self.pick("win rate", "conversão")
        );
        html! {
            div class="tiles" {
                (self.tile(&get("opened"), self.pick("Opened", "Novos atendimentos"), &contacts))
                (self.tile(&get("completed"), self.pick("Completed", "Finalizados"), &balance))
                (self.tile(&get("open_at_end"), self.pick("Open at the end", "Pendentes no fim"), &open_now))
                (self.tile(&get("answered"), self.pick("Answered", "Respondidos"), &answered))
                @if let Some(first) = first {
                    @let name = if self.report.is_open_hours {
                        self.pick("First response in open hours, median", "1ª resposta no expediente, mediana")
                    } else {
                        self.pick("First response, median", "1ª resposta, mediana")
                    };
                    @let times = &first.times;
                    (self.tile(&first.median(first.name), name, &format!(
                        "{p90}: {} · {}",
                        shown(times.p90.map(f64::from), times.shows_p90()),
                        n(times.n)
                    )))
                }
                @if let Some(wait) = wait {
                    @let times = &wait.times;
                    (self.tile(&wait.average(wait.name), self.pick("Wait, average", "TME, tempo médio de espera"), &format!(
                        "{}: {} · {}",
                        self.pick("median", "mediana"),
                        shown(times.median, times.shows_median()),
                        n(times.n)
                    )))
                }
                (self.sla_tile(&figures))
                (self.tile(&get("won"), self.pick("Won", "Objetivo atingido"), &won))
            }
            (self.period_notes())
        }
    }

    /// What is not final of the period.
    fn period_notes(&self) -> Markup {
        html! { @for note in self.words.period_notes() { p class="note" { (note) } } }
    }

    fn sla_tile(&self, figures: &[Figure]) -> Markup {
        let targets = &self.report.settings.targets;
        let name = self.pick("In time (SLA)", "Dentro do prazo (SLA)");
        let chosen = [
            ("sla_first_response", targets.first_response),
            ("sla_wait", targets.wait),
            ("sla_resolution", targets.resolution),
            ("sla_service", targets.service),
        ];
        let chosen = chosen
            .into_iter()
            .find_map(|(key, target)| Some((key, target?)));
        let Some((key, target)) = chosen else {
            let none = self.pick("no target configured", "nenhuma meta configurada");
            return self.tile(&Self::figure(figures, ""), name, none);
        };
        let figure = Self::figure(figures, key);
        let within = self.lang.short_duration(target.as_secs_f64());
        let what = self.words.sla(&self.report.figures.total);
        let what = what.map_or("", |(name, _)| name);
        let small = format!(
            "{what} ≤ {within} · n\u{a0}=\u{a0}{}",
            self.lang.count(figure.n)
        );
        self.tile(&figure, name, &small)
    }

    fn changes(&self) -> Markup {
        let compared = self.words.compared();
        let Some(compared) = compared.filter(|_| self.report.figures.before.is_some()) else {
            return html! {};
        };
        let changes = self.words.changes();
        html! {
            div class="changes" {
                h3 {
                    (self.pick("Largest changes against ", "Maiores mudanças em relação a "))
                    (compared)
                }
                ul {
                    @for change in &changes { li { (change) } }
                    @if changes.is_empty() {
                        li class="soft" {
                            (self.pick("No notable change.", "Nenhuma mudança relevante."))
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

    fn bucket_labels(&self) -> (Vec<String>, usize) {
        let question = &self.report.figures.question;
        let bars = self.report.figures.bars.iter();
        let labels = bars.map(|bar| match question.bucket {
            Bucket::Day | Bucket::Week => self.lang.short_date(bar.from),
            Bucket::Month => self.lang.month(bar.from),
        });
        let most = if question.bucket == Bucket::Month {
            4
        } else {
            6
        };
        (labels.collect(), most)
    }

    const fn per_bucket(&self) -> &'a str {
        match self.report.figures.question.bucket {
            Bucket::Day => self.pick("per day", "por dia"),
            Bucket::Week => self.pick("per week", "por semana"),
            Bucket::Month => self.pick("per month", "por mês"),
        }
    }

    #[expect(
        clippy::too_many_lines,
        reason = "two charts in one, a line or two for each mark"
    )]
    fn volume(&self) -> Markup {
        let figures = &self.report.figures;
        let bars = &figures.bars;
        let lang = self.lang;
        let opened: Vec<f64> = bars.iter().map(|bar| number(bar.opened)).collect();
        let completed: Vec<f64> = bars.iter().map(|bar| number(bar.completed)).collect();
        let open: Vec<Option<f64>> = bars.iter().map(|bar| bar.open_at_end.map(number)).collect();
        let before: Vec<Option<f64>> = bars
            .iter()
            .map(|bar| bar.opened_before.map(number))
            .collect();
        let most = |values: &mut dyn Iterator<Item = f64>| values.fold(0.0, f64::max);
        let (top, step) = scale(most(
            &mut opened
                .iter()
                .chain(&completed)
                .copied()
                .chain(before.iter().flatten().copied()),
        ));
        let flow = Panel {
            top: 16.0,
            height: 170.0,
            most: top,
        };
        let (top, stock_step) = scale(most(&mut open.iter().flatten().copied()));
        let stock = Panel {
            top: 236.0,
            height: 64.0,
            most: top,
        };
        let shown = |value: f64| lang.decimal(value, 0);
        let quiet: Vec<bool> = bars.iter().map(|bar| bar.is_quiet).collect();
        let is_daily = figures.question.bucket == Bucket::Day;
        let is_compared = before.iter().any(Option::is_some);
        let (texts, labelled) = self.bucket_labels();
        let drawn = html! {
            @if is_daily { (stripes(&quiet, 300.0)) }
            (flow.grid(step, shown))
            (flow.bars(&opened, "a", 0.12, 0.37))
            (flow.bars(&completed, "b", 0.51, 0.37))
            (flow.base())
            @if is_compared { (flow.line(&before, "was")) }
            text class="val" x="0" y="214" { (self.pick("Open at the end", "Pendentes no fim")) }
            (stock.grid(stock_step, shown))
            (stock.line(&open, "ink"))
            (stock.base())
            (labels(&texts, 318.0, labelled))
        };
        let busiest = bars
            .iter()
            .max_by_key(|bar| (bar.opened, std::cmp::Reverse(bar.from)));
        let busiest = busiest.map_or_else(String::new, |bar| match lang {
            Language::En => format!(
                "; most on {}: {}",
                lang.date(bar.from),
                lang.count(bar.opened)
            ),
            Language::PtBr => format!(
                "; o máximo em {}: {}",
                lang.date(bar.from),
                lang.count(bar.opened)
            ),
        });
        let message = match lang {
            Language::En => format!(
                "{} opened and {} completed{busiest}",
                lang.count(figures.total.opened),
                lang.count(figures.total.completed)
            ),
            Language::PtBr => format!(
                "{} novos atendimentos e {} finalizados{busiest}",
                lang.count(figures.total.opened),
                lang.count(figures.total.completed)
            ),
        };
        html! {
            section {
                h2 { (self.pick("Volume", "Volume")) " " (self.per_bucket()) }
                p class="sub" {
                    (self.pick(
                        "Opened by the day of creation, completed by the day of the end. A rising line of open sessions means that more comes in than is done.",
                        "Novos atendimentos pelo dia da criação, finalizados pelo dia do encerramento. Uma linha de pendentes que sobe indica que entra mais do que se conclui.",
                    ))
                }
                figure {
                    ul class="legend" {
                        li { i class="ia" {} (self.pick("Opened", "Novos atendimentos")) }
                        li { i class="ib" {} (self.pick("Completed", "Finalizados")) }
                        @if let Some(compared) = self.words.compared().filter(|_| is_compared) {
                            li {
                                i class="d" {}
                                (self.pick("Opened, ", "Novos atendimentos, ")) (compared)
                            }
                        }
                        li { i class="l" {} (self.pick("Open at the end", "Pendentes no fim")) }
                        @if is_daily {
                            li { i class="iq" {} (self.pick("Weekend or holiday", "Fim de semana ou feriado")) }
                        }
                    }
                    (chart(&message, 322.0, true, &drawn))
                }
                (self.numbers(&self.words.volume()))
            }
        }
    }

    fn distribution(&self, title: &str, classes: &Classes, times: &Times) -> Markup {
        let total = number(classes.total().max(1));
        let longest = classes.counts.iter().copied().max().unwrap_or(0);
        let longest = number(longest.max(classes.unanswered).max(1));
        let place = |seconds: Option<f64>| {
            let seconds = seconds?;
            let place = CLASSES.iter().position(|&most| seconds <= f64::from(most));
            Some(place.unwrap_or(CLASSES.len()))
        };
        let median = place(times.median.filter(|_| times.shows_median()));
        let p90 = place(times.p90.filter(|_| times.shows_p90()).map(f64::from));
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
        let p90 = words.shown(&Value::of_enough(
            times.p90.map(f64::from),
            times.shows_p90(),
        ));
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

    const fn open_title(&self) -> &'a str {
        self.pick("Within open hours", "No horário de atendimento")
    }

    /// Median and 90th percentile over time, on an axis whose steps are those at which people give up.
    fn over_time(&self, title: &str, of: impl Fn(&crate::reporting::Bar) -> Times) -> Markup {
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
            .map(|it| {
                it.p90
                    .filter(|_| it.shows_p90())
                    .map(|it| place(f64::from(it)))
            })
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

    fn waiting(&self) -> Markup {
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

    /// The weekdays, in the order of the account's weeks.
    fn week(&self) -> impl Iterator<Item = usize> {
        let first = self.report.settings.week_starts_on.saturating_sub(1) as usize;
        (0..7).map(move |place| (place + first) % 7)
    }

    fn heat(
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
    fn matrix(&self, value: impl Fn(&Cell) -> Value) -> Sheet {
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

    const fn response_title(&self) -> &'a str {
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

    fn hours(&self) -> Markup {
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
    fn clock(&self, seconds: f64) -> String {
        let minutes = (seconds / 60.0).round().max(0.0) as u64;
        format!("{}:{:02}", minutes / 60, minutes % 60)
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

    #[expect(clippy::too_many_lines, reason = "a few lines for each step")]
    fn outcomes(&self) -> Markup {
        let total = &self.report.figures.total;
        let lang = self.lang;
        let bar = |label: &str, n: u64, among: u64, class| chart::Bar {
            label: label.to_owned(),
            shown: format!(
                "{} · {}",
                lang.count(n),
                Share::new(n, among)
                    .value()
                    .map_or("–".to_owned(), |it| lang.share(it))
            ),
            parts: vec![(Share::new(n, among).value().unwrap_or(0.0).min(1.0), class)],
            mark: None,
        };
        let created = [
            bar(
                self.pick("Opened", "Novos atendimentos"),
                total.opened,
                total.opened,
                "b",
            ),
            bar(
                if self.words.is_in_progress() {
                    self.pick("Completed (in progress)", "Já finalizados (em andamento)")
                } else {
                    self.pick("Completed by now", "Já finalizados")
                },
                total.closed,
                total.opened,
                "a",
            ),
            bar(
                self.pick("Answered", "Respondidos"),
                total.answered,
                total.opened,
                "a",
            ),
            bar(
                self.pick("Lost in the queue", "Perdidos na fila"),
                total.lost_in_queue,
                total.opened,
                "c",
            ),
            bar(
                self.pick("Closed without answer", "Encerrados sem resposta"),
                total.closed_unanswered,
                total.opened,
                "c",
            ),
            bar(
                self.pick("With the bot only", "Só com o chatbot"),
                total.bot_only,
                total.opened,
                "c",
            ),
        ];
        let ended = [
            bar(
                self.pick("Completed", "Finalizados"),
                total.completed,
                total.completed,
                "b",
            ),
            bar(
                self.pick("Classified", "Com classificação"),
                total.classified,
                total.completed,
                "a",
            ),
            bar(
                self.pick("Won", "Objetivo atingido"),
                total.won,
                total.completed,
                "a",
            ),
            bar(
                self.pick("Lost", "Objetivo perdido"),
                total.lost,
                total.completed,
                "c",
            ),
            bar(
                self.pick("Questions", "Dúvidas"),
                total.info,
                total.completed,
                "c",
            ),
            bar(
                self.pick("Other", "Outros"),
                total.other,
                total.completed,
                "c",
            ),
        ];
        let sheet = |title: &str, bars: &[chart::Bar]| {
            let mut sheet = Sheet::new("steps", title)
                .words("step", title)
                .numbers("sessions", self.pick("Sessions", "Atendimentos"))
                .numbers("share", self.pick("Share", "Participação"));
            for bar in bars {
                let (count, share) = bar.shown.split_once(" · ").unwrap_or((&bar.shown, ""));
                sheet.row(vec![
                    Value::text(&bar.label),
                    Value::text(count),
                    Value::text(share),
                ]);
            }
            sheet
        };
        let block = |title: &str, bars: &[chart::Bar]| {
            let (height, drawn) = bar_list(bars);
            let said: Vec<String> = bars
                .iter()
                .map(|bar| format!("{} {}", bar.label, bar.shown))
                .collect();
            html! {
                div class="block" {
                    figure {
                        h3 { (title) }
                        (chart(&format!("{title}: {}", said.join(", ")), height, false, &drawn))
                    }
                    (self.numbers(&sheet(title, bars)))
                }
            }
        };
        let reasons = self.words.reasons();
        let ticket = total.ticket().map_or(Value::None, Value::Money);
        html! {
            section {
                h2 { (self.pick("Outcomes", "Resultados")) }
                p class="sub" {
                    (self.pick(
                        "The left side follows the sessions opened, the right side those that ended: they are not the same ones.",
                        "O primeiro quadro segue os novos atendimentos; o segundo, os encerrados: não são os mesmos.",
                    ))
                }
                div class="pair" {
                    (block(self.pick("By the day opened", "Pelo dia da abertura"), &created))
                    (block(self.pick("By the day ended", "Pelo dia do encerramento"), &ended))
                }
                (self.period_notes())
                dl class="keys" {
                    @for (name, value) in [
                        (self.pick("Win rate", "Taxa de conversão"), Value::share(total.win_rate().value())),
                        (self.pick("Amount won", "Valor ganho"), Value::Money(total.amount_won)),
                        (self.pick("Average ticket", "Ticket médio"), ticket),
                        (
                            self.pick("Return in 7 days", "Retorno em 7 dias"),
                            Value::share(total.returned.value()),
                        ),
                    ] {
                        div { dt { (name) } dd { (self.words.shown(&value)) } }
                    }
                }
                @if !reasons.rows.is_empty() {
                    div class="block" {
                        h3 { (self.pick("Reasons", "Motivos")) }
                        (self.cards(&reasons, &["completed"]))
                    }
                }
            }
        }
    }

    fn none(&self) -> Markup {
        html! { p class="soft" { (self.pick("None in this period.", "Nenhum neste período.")) } }
    }

    fn campaigns(&self) -> Markup {
        let figures = &self.report.figures;
        let has_any = figures.campaigns.iter().any(|row| row.key != Key::None);
        // A list of ads with a session each says nothing.
        let has_ads = figures.ads.first().is_some_and(|row| row.group.opened > 1);
        html! {
            section {
                h2 { (self.pick("Campaigns and ads", "Campanhas e anúncios")) }
                p class="sub" {
                    (self.pick(
                        "Where sessions came from, as the links said (utm_campaign, utm_source, utm_source_id).",
                        "De onde vieram os atendimentos, segundo os links (utm_campaign, utm_source, utm_source_id).",
                    ))
                }
                @if has_any { (self.cards(&self.words.campaigns(), &["opened"])) } @else { (self.none()) }
                @if has_ads {
                    div class="block" {
                        h3 { (self.pick("Ads", "Anúncios")) }
                        (self.cards(&self.words.ads(), &["opened"]))
                    }
                }
            }
        }
    }

    fn tags(&self) -> Markup {
        let sheet = self.words.tags();
        html! {
            section {
                h2 { (self.pick("Tags", "Etiquetas")) }
                p class="sub" { (sheet.notes.join(" ")) }
                @if sheet.rows.is_empty() { (self.none()) } @else { (self.cards(&sheet, &["opened"])) }
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
