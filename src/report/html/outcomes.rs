//! What came of the sessions: outcomes, campaigns and tags.

use maud::{Markup, html};

use super::Page;
use super::chart::{self, bar_list, chart};
use crate::report::sheet::{Sheet, Value};
use crate::reporting::{Key, Share};

impl Page<'_> {
    #[expect(clippy::too_many_lines, reason = "a few lines for each step")]
    pub(super) fn outcomes(&self) -> Markup {
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

    pub(super) fn none(&self) -> Markup {
        html! { p class="soft" { (self.pick("None in this period.", "Nenhum neste período.")) } }
    }

    pub(super) fn campaigns(&self) -> Markup {
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

    pub(super) fn tags(&self) -> Markup {
        let sheet = self.words.tags();
        html! {
            section {
                h2 { (self.pick("Tags", "Etiquetas")) }
                p class="sub" { (sheet.notes.join(" ")) }
                @if sheet.rows.is_empty() { (self.none()) } @else { (self.cards(&sheet, &["opened"])) }
            }
        }
    }
}
