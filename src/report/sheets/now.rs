//! Sheets of what is open now, and of what the figures rest on.

use crate::report::language::Language;
use crate::report::sheet::{Sheet, Value};
use crate::report::words::Words;
use crate::reporting::{AGES, Stage};

impl Words<'_> {
    /// What is open now: by age, in all, and the oldest.
    pub(in crate::report) fn open_now(self) -> Vec<Sheet> {
        let p = |en, pt| self.pick(en, pt);
        let mut ages = Sheet::new("open_now", p("Open now", "Abertos agora"))
            .words("age", p("Age", "Idade"))
            .numbers("bot", self.stage(Stage::Bot))
            .numbers("queue", self.stage(Stage::Queue))
            .numbers("service", self.stage(Stage::Service))
            .numbers("open", p("All", "Total"));
        let mut all = Sheet::new(
            "open_figures",
            p("Open now, in short", "Abertos agora, resumo"),
        )
        .words("figure", p("Figure", "Indicador"))
        .numbers("value", p("Value", "Valor"));
        let mut oldest = Sheet::new("oldest_open", p("Oldest open", "Abertos há mais tempo"))
            .words("number", p("Number", "Protocolo"))
            .words("stage", p("Stage", "Situação"))
            .times("age", p("Age", "Idade"))
            .words("department", p("Department", "Equipe"))
            .words("turn", p("To answer", "Quem responde"));
        let Some(open) = &self.report.figures.open else {
            return vec![ages, all, oldest];
        };
        for (place, counts) in open.ages.iter().enumerate() {
            let mut row = vec![Value::Text(self.age(place))];
            row.extend(counts.iter().map(|&n| Value::Count(n)));
            row.push(Value::Count(counts.iter().sum()));
            ages.row(row);
        }
        let mut total = vec![Value::text(p("All", "Total"))];
        let stages = [Stage::Bot, Stage::Queue, Stage::Service];
        total.extend(stages.map(|stage| Value::Count(open.of(stage))));
        total.push(Value::Count(open.total()));
        ages.row(total);
        #[expect(clippy::cast_precision_loss, reason = "ages stay far below 2^53")]
        let waited = open.longest_wait.map(|seconds| seconds as f64);
        let stale = self.report.settings.stale;
        let stale = if stale.as_secs().is_multiple_of(86_400) {
            self.days_text(stale.as_secs() / 86_400)
        } else {
            self.lang.duration(stale.as_secs_f64())
        };
        let stale = match self.lang {
            Language::En => format!("Nobody wrote for more than {stale}"),
            Language::PtBr => format!("Parados há mais de {stale}"),
        };
        for (figure, value) in [
            (
                p(
                    "No agent, in queue or service",
                    "Sem atendente, na fila ou em atendimento",
                )
                .to_owned(),
                Value::Count(open.unassigned),
            ),
            (
                p("Awaiting our answer", "Aguardando nossa resposta").to_owned(),
                Value::Count(open.awaiting),
            ),
            (
                p(
                    "The longest of these, at least",
                    "A mais longa dessas esperas, pelo menos",
                )
                .to_owned(),
                Value::seconds(waited),
            ),
            (
                p("24-hour window closed", "Janela de 24 h encerrada").to_owned(),
                Value::Count(open.window_closed),
            ),
            (stale, Value::Count(open.stale)),
            (
                p("Unread messages", "Mensagens não lidas").to_owned(),
                Value::Count(open.unread),
            ),
        ] {
            all.row(vec![Value::Text(figure), value]);
        }
        for it in &open.oldest {
            let none = p("no number", "sem número");
            let number = it.number.clone().unwrap_or_else(|| none.to_owned());
            let url = it.url.clone().filter(|url| url.starts_with("https://"));
            #[expect(clippy::cast_precision_loss, reason = "ages stay far below 2^53")]
            oldest.row(vec![
                url.map_or(Value::Text(number.clone()), |url| Value::Link(number, url)),
                Value::text(self.stage(it.stage)),
                Value::Seconds(it.age as f64),
                it.department.clone().map_or(Value::None, Value::Text),
                Value::text(if it.is_ours {
                    p("we", "nós")
                } else {
                    p("contact", "contato")
                }),
            ]);
        }
        vec![ages, all, oldest]
    }

    pub(super) fn days_text(self, days: u64) -> String {
        let word = self.lang.plural(days, ("day", "dia"), ("days", "dias"));
        format!("{} {word}", self.lang.count(days))
    }

    /// The name of a class of ages.
    #[expect(clippy::unused_self, reason = "reads like the names of other classes")]
    pub(in crate::report) fn age(self, place: usize) -> String {
        const NAMES: [&str; AGES.len() + 1] = [
            "< 1 h", "1–4 h", "4–24 h", "1–3 d", "3–7 d", "7–30 d", "> 30 d",
        ];
        NAMES[place].replace(' ', "\u{a0}")
    }

    /// What the figures rest on.
    pub(in crate::report) fn quality(self) -> Sheet {
        let p = |en, pt| self.pick(en, pt);
        let report = self.report;
        let quality = &report.figures.quality;
        let mut sheet = Sheet::new("quality", p("Data", "Dados"))
            .words(
                "what",
                p(
                    "Sessions created in the period",
                    "Atendimentos criados no período",
                ),
            )
            .numbers("count", p("Count", "Quantidade"));
        for (what, n) in [
            (p("Counted", "Contados"), quality.sessions),
            (
                p("Hidden, not counted", "Ocultos, não contados"),
                quality.hidden,
            ),
            (
                p("Of groups, not counted", "De grupos, não contados"),
                quality.groups,
            ),
            (
                p("Deleted, not counted", "Excluídos, não contados"),
                quality.removed,
            ),
            (
                p("Of an unknown status", "Com status desconhecido"),
                quality.unknown_status,
            ),
            (
                p("Without a contact", "Sem contato"),
                quality.without_contact,
            ),
            (
                p(
                    "First response before creation",
                    "1ª resposta antes da criação",
                ),
                quality.negative_first_response,
            ),
            (
                p("End before creation", "Encerramento antes da criação"),
                quality.negative_resolution,
            ),
            (
                p(
                    "Completed without an end",
                    "Finalizados sem data de encerramento",
                ),
                quality.closed_without_end,
            ),
            (
                p("Open with an end", "Abertos com data de encerramento"),
                quality.open_with_end,
            ),
            (
                p("With two tags or more", "Com duas etiquetas ou mais"),
                quality.with_several_tags,
            ),
            (
                p(
                    "Without a creation time (whole account)",
                    "Sem data de criação (conta toda)",
                ),
                report.without_created_at,
            ),
            (
                p(
                    "Records that could not be stored (whole account)",
                    "Registros que não puderam ser gravados (conta toda)",
                ),
                report.rejects,
            ),
        ] {
            sheet.row(vec![Value::text(what), Value::Count(n)]);
        }
        sheet.notes = self.calibration();
        sheet
    }
}
