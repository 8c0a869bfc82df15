//! The head of the page: what it is about, the tiles, and the largest changes.

use maud::{Markup, html};

use super::{Page, isolated};
use crate::data::counted;
use crate::report::language::Language;
use crate::report::sheet::Value;
use crate::report::words::Figure;

impl Page<'_> {
    pub(super) fn head(&self) -> Markup {
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
    pub(super) fn moved(&self, figure: &Figure) -> Markup {
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

    pub(super) fn tile(&self, figure: &Figure, name: &str, small: &str) -> Markup {
        html! {
            div class="tile" {
                h3 { (name) }
                p class="big" { (self.words.shown(&figure.value)) }
                p class="small" { (small) }
                (self.moved(figure))
            }
        }
    }

    pub(super) fn figure(figures: &[Figure], key: &str) -> Figure {
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

    pub(super) fn tiles(&self) -> Markup {
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
                "{}, {} of them new",
                counted(total.contacts, "contact"),
                lang.count(total.new_contacts)
            ),
            Language::PtBr => format!(
                "{} {}, {} novos",
                lang.count(total.contacts),
                if total.contacts == 1 {
                    "contato"
                } else {
                    "contatos"
                },
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
                        shown(times.p90_seconds(), times.shows_p90()),
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
    pub(super) fn period_notes(&self) -> Markup {
        html! { @for note in self.words.period_notes() { p class="note" { (note) } } }
    }

    pub(super) fn sla_tile(&self, figures: &[Figure]) -> Markup {
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

    pub(super) fn changes(&self) -> Markup {
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
}
