//! Sheets with a row for each agent, department, channel, campaign or period of time.

use super::{In, Of, apart, median, p90};
use crate::report::language::Language;
use crate::report::sheet::{Sheet, Value};
use crate::report::words::Words;
use crate::reporting::{By, Key, Row, shortened_rows};

/// What a row of campaigns is of, in the columns of the views.
pub(super) fn campaign_values(key: &Key) -> [Value; 5] {
    let Key::Campaign(campaign) = key else {
        let nothing = [const { Value::None }; 4];
        let [source, medium, name, ad] = nothing;
        return [source, medium, name, ad, Value::Count(0)];
    };
    let text = |text: &Option<String>| text.clone().map_or(Value::None, Value::Text);
    [
        text(&campaign.source),
        text(&campaign.medium),
        text(&campaign.campaign),
        text(&campaign.ad),
        Value::Count(u64::from(campaign.has_click_id)),
    ]
}

impl Words<'_> {
    pub(super) fn with_notes(self, by: By, sheet: Sheet) -> Sheet {
        match by {
            By::Tag => sheet.note(self.tags_note()),
            By::Agent => sheet.note(self.pick(
                "The agent who attended last; sessions may have had others before.",
                "O último atendente; outros podem ter atendido antes.",
            )),
            By::Department => sheet.note(self.pick(
                "The department that had the session last.",
                "A última equipe do atendimento.",
            )),
            _ => sheet,
        }
    }

    pub(super) fn tags_note(self) -> String {
        let n = self.report.figures.quality.with_several_tags;
        let count = self.lang.count(n);
        match self.lang {
            Language::En => format!(
                "A session may have several tags: {count} have two or more. Rows do not add up to a total."
            ),
            Language::PtBr => format!(
                "Um atendimento pode ter várias etiquetas: {count} têm duas ou mais. As linhas não somam um total."
            ),
        }
    }

    /// A breakdown with all columns.
    #[expect(clippy::too_many_lines, reason = "a line for each column")]
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    pub(super) fn full(self, by: By, rows: &[Row]) -> Sheet {
        let p = |en, pt| self.pick(en, pt);
        let has_hours = self.report.has_hours();
        let targets = self.report.settings.targets;
        let is_named = matches!(by, By::Channel | By::Department | By::Agent | By::Tag);
        let mut sheet = Sheet::new("by", self.by_title(by))
            .words(by.as_str(), self.by(by))
            .numbers("opened", p("Opened", "Novos atendimentos"))
            .numbers("completed", p("Completed", "Finalizados"))
            .numbers("contacts", p("Contacts", "Contatos"))
            .numbers("new_contacts", p("New contacts", "Contatos novos"))
            .numbers("answered_share", p("Answered", "Respondidos"))
            .numbers("answered", p("Answered (n)", "Respondidos (n)"))
            .numbers(
                "closed_of_opened",
                p("Of opened, completed", "Dos novos, finalizados"),
            )
            .numbers("lost_in_queue", p("Lost in the queue", "Perdidos na fila"))
            .numbers(
                "closed_unanswered",
                p("Closed without answer", "Encerrados sem resposta"),
            )
            .numbers("bot_only", p("With the bot only", "Só com o chatbot"));
        let mut metrics: Vec<([&'static str; 4], &str, Of)> = Vec::new();
        metrics.push((
            ["wait_average", "wait_median", "wait_p90", "wait_n"],
            p("Wait", "Espera"),
            |it| it.wait,
        ));
        metrics.push((
            [
                "first_response_average",
                "first_response_median",
                "first_response_p90",
                "first_response_n",
            ],
            p("First response", "1ª resposta"),
            |it| it.first_response,
        ));
        if has_hours {
            metrics.push((
                [
                    "first_response_open_average",
                    "first_response_open_median",
                    "first_response_open_p90",
                    "first_response_open_n",
                ],
                p("First response, open hours", "1ª resposta no expediente"),
                |it| it.first_response_open,
            ));
        }
        metrics.push((
            [
                "service_average",
                "service_median",
                "service_p90",
                "service_n",
            ],
            p("Service", "Atendimento"),
            |it| it.service,
        ));
        metrics.push((
            [
                "resolution_average",
                "resolution_median",
                "resolution_p90",
                "resolution_n",
            ],
            p("To the end", "Duração total"),
            |it| it.resolution,
        ));
        if has_hours {
            metrics.push((
                [
                    "resolution_open_average",
                    "resolution_open_median",
                    "resolution_open_p90",
                    "resolution_open_n",
                ],
                p("To the end, open hours", "Duração total no expediente"),
                |it| it.resolution_open,
            ));
        }
        if self.report.is_open_hours {
            // As asked, only open hours count.
            metrics.retain(|(keys, ..)| {
                !matches!(keys[0], "first_response_average" | "resolution_average")
            });
        }
        for (keys, name, _) in &metrics {
            sheet = sheet
                .times(keys[0], format!("{name}: {}", p("average", "média")))
                .times(keys[1], format!("{name}: {}", p("median", "mediana")))
                .times(
                    keys[2],
                    format!("{name}: {}", p("90th percentile", "percentil 90")),
                )
                .numbers(keys[3], format!("{name}: n"));
        }
        let mut slas: Vec<([&'static str; 2], &str, In)> = Vec::new();
        if targets.wait.is_some() {
            let keys = ["sla_wait_share", "sla_wait_n"];
            slas.push((keys, p("Wait in time", "Espera no prazo"), |it| it.sla_wait));
        }
        if targets.first_response.is_some() {
            let keys = ["sla_first_response_share", "sla_first_response_n"];
            let name = p("First response in time", "1ª resposta no prazo");
            slas.push((keys, name, |it| it.sla_first_response));
        }
        if targets.service.is_some() {
            let keys = ["sla_service_share", "sla_service_n"];
            let name = p("Service in time", "Atendimento no prazo");
            slas.push((keys, name, |it| it.sla_service));
        }
        if targets.resolution.is_some() {
            let keys = ["sla_resolution_share", "sla_resolution_n"];
            let name = p("Ended in time", "Encerrados no prazo");
            slas.push((keys, name, |it| it.sla_resolution));
        }
        for (keys, name, _) in &slas {
            sheet = sheet
                .numbers(keys[0], *name)
                .numbers(keys[1], format!("{name} (n)"));
        }
        sheet = sheet
            .numbers("won", p("Won", "Objetivo atingido"))
            .numbers("lost", p("Lost", "Objetivo perdido"))
            .numbers("win_rate", p("Win rate", "Taxa de conversão"))
            .numbers("amount_won", p("Amount won", "Valor ganho"))
            .numbers(
                "returned_7d_share",
                p("Return in 7 days", "Retorno em 7 dias"),
            )
            .numbers(
                "returned_7d_n",
                p("Return in 7 days (n)", "Retorno em 7 dias (n)"),
            );
        if is_named && by != By::Tag || by == By::Status {
            sheet = sheet.numbers("open_now", p("Open now", "Abertos agora"));
        }
        if by == By::Agent {
            sheet = sheet
                .numbers(
                    "days_active",
                    p("Days with a completed one", "Dias com finalizados"),
                )
                .numbers(
                    "completed_per_day",
                    p("Completed per such day", "Finalizados por dia"),
                );
        }
        if is_named {
            sheet = sheet.words("id", "id");
        }
        if by == By::Campaign {
            for key in ["utm_source", "utm_medium", "utm_campaign", "utm_source_id"] {
                sheet = sheet.words(key, key);
            }
            sheet = sheet.numbers("has_click_id", p("Ad click", "Clique em anúncio"));
        }
        for Row { key, group } in rows {
            let mut row = vec![
                self.key(by, key),
                Value::Count(group.opened),
                Value::Count(group.completed),
                Value::Count(group.contacts),
                Value::Count(group.new_contacts),
                Value::share(group.answered_share().value()),
                Value::Count(group.answered),
                Value::Count(group.closed),
                Value::Count(group.lost_in_queue),
                Value::Count(group.closed_unanswered),
                Value::Count(group.bot_only),
            ];
            for (_, _, of) in &metrics {
                let times = of(group);
                row.extend([
                    Value::seconds(times.average),
                    median(&times),
                    p90(&times),
                    Value::Count(times.n),
                ]);
            }
            for (_, _, of) in &slas {
                let share = of(group);
                row.extend([Value::share(share.value()), Value::Count(share.n)]);
            }
            row.extend([
                Value::Count(group.won),
                Value::Count(group.lost),
                Value::share(group.win_rate().value()),
                Value::Money(group.amount_won),
                Value::share(group.returned.value()),
                Value::Count(group.returned.n),
            ]);
            if is_named && by != By::Tag || by == By::Status {
                row.push(Value::Count(group.open_now));
            }
            if by == By::Agent {
                row.push(Value::Count(group.days_active));
                row.push(match group.days_active {
                    0 => Value::None,
                    days => Value::Number(group.completed as f64 / days as f64),
                });
            }
            if is_named {
                let is_hidden = by == By::Agent && self.report.figures.question.is_anonymous;
                row.push(match key {
                    Key::Named { id, .. } if !is_hidden => Value::Text(id.to_string()),
                    _ => Value::None,
                });
            }
            if by == By::Campaign {
                row.extend(campaign_values(key));
            }
            sheet.row(row);
        }
        self.chosen(sheet)
    }

    /// A breakdown with the columns of the metrics that were chosen.
    fn chosen(self, mut sheet: Sheet) -> Sheet {
        let metrics = &self.report.metrics;
        let is_key = |key: &str| key == "id" || key.starts_with("utm_") || key == "has_click_id";
        for place in (1..sheet.columns.len()).rev() {
            let key = sheet.columns[place].key;
            if !is_key(key) && !metrics.show(key) {
                sheet.columns.remove(place);
                for row in &mut sheet.rows {
                    row.remove(place);
                }
            }
        }
        sheet
    }

    /// The head of a column of medians of the time to the first response.
    pub(super) const fn first_response_head(self) -> &'static str {
        let lang = self.lang;
        if self.report.is_open_hours {
            lang.pick(
                "First response, open hours (median)",
                "1ª resposta no expediente (mediana)",
            )
        } else {
            lang.pick("First response (median)", "1ª resposta (mediana)")
        }
    }

    /// A breakdown for people: a few columns.
    pub(in crate::report) fn short(self, by: By, rows: &[Row]) -> Sheet {
        let p = |en, pt| self.pick(en, pt);
        let has_sla = self.sla(&self.report.figures.total).is_some();
        let first = self.first_response_head();
        let mut sheet = Sheet::new(by.as_str(), self.by_title(by))
            .words(by.as_str(), self.by(by))
            .numbers("opened", p("Opened", "Novos atendimentos"))
            .numbers("completed", p("Completed", "Finalizados"))
            .numbers("answered_share", p("Answered", "Respondidos"))
            .times("first_response_median", first)
            .times("wait_average", p("Wait (average)", "TME"))
            .times("service_average", p("Service (average)", "TMA"));
        if has_sla {
            sheet = sheet.numbers("sla_share", p("In time", "No prazo"));
        }
        sheet = sheet.numbers("won", p("Won", "Objetivo atingido"));
        if by == By::Agent {
            sheet = sheet.numbers("open_now", p("Open now", "Abertos agora"));
        }
        sheet.apart = apart(rows, false);
        for Row { key, group } in rows {
            let mut row = vec![
                self.key(by, key),
                Value::Count(group.opened),
                Value::Count(group.completed),
                Value::share(group.answered_share().value()),
                median(&self.first_response(group)),
                Value::seconds(group.wait.average),
                Value::seconds(group.service.average),
            ];
            if has_sla {
                let share = self.sla(group).and_then(|(_, share)| share.value());
                row.push(Value::share(share));
            }
            row.push(Value::Count(group.won));
            if by == By::Agent {
                row.push(Value::Count(group.open_now));
            }
            sheet.row(row);
        }
        self.chosen(sheet)
    }

    /// Departments, agents or channels: the largest, the rest, and those without.
    pub(in crate::report) fn people(self, by: By) -> Sheet {
        let figures = &self.report.figures;
        let rows = match by {
            By::Department => &figures.departments,
            By::Agent => &figures.agents,
            _ => &figures.channels,
        };
        let mut sheet = self.short(by, &shortened_rows(rows, self.most()));
        sheet.key = match by {
            By::Department => "departments",
            By::Agent => "agents",
            _ => "channels",
        };
        let title = match by {
            By::Department => self.pick("Departments", "Equipes"),
            By::Agent => self.pick("Agents", "Atendentes"),
            _ => self.pick("Channels", "Canais"),
        };
        title.clone_into(&mut sheet.title);
        self.with_notes(by, sheet)
    }
}
