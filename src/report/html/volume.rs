//! How many sessions were opened and completed, and how many were open.

use maud::{Markup, html};

use super::chart::{Panel, chart, labels, scale, stripes};
use super::{Page, number};
use crate::report::language::Language;
use crate::reporting::Bucket;

impl<'a> Page<'a> {
    pub(super) fn bucket_labels(&self) -> (Vec<String>, usize) {
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

    pub(super) const fn per_bucket(&self) -> &'a str {
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
    pub(super) fn volume(&self) -> Markup {
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
}
