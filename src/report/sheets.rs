//! The sheets of a report.

use super::language::Language;
use super::sheet::{Sheet, Value};
use super::words::{Metric, Words};
use crate::reporting::{
    AGES, Bucket, By, CLASSES, Campaign, Classes, Group, Key, Row, Share, Stage, Times,
    shortened_rows,
};

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
    Value::of_enough(times.p90.map(f64::from), times.shows_p90())
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

/// What a row of campaigns is of, in the columns of the views.
fn campaign_values(key: &Key) -> [Value; 5] {
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
    /// How many rows a section has before the rest is one row.
    const fn most(self) -> usize {
        if self.is_whole { usize::MAX } else { MOST }
    }

    /// All sheets, in the order in which they are read.
    pub(super) fn sheets(self) -> Vec<Sheet> {
        let mut sheets = vec![self.about(), self.figures_sheet(), self.times_sheet()];
        sheets.push(self.by_sheet());
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

    fn with_notes(self, by: By, sheet: Sheet) -> Sheet {
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

    fn tags_note(self) -> String {
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
    fn full(self, by: By, rows: &[Row]) -> Sheet {
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
        sheet
    }

    /// The head of a column of medians of the time to the first response.
    const fn first_response_head(self) -> &'static str {
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
    pub(super) fn short(self, by: By, rows: &[Row]) -> Sheet {
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
        sheet
    }

    /// Departments, agents or channels: the largest, the rest, and those without.
    pub(super) fn people(self, by: By) -> Sheet {
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

    /// The head of a column of charts' time.
    pub(super) const fn bucket(self) -> &'static str {
        let lang = self.lang;
        match self.report.figures.question.bucket {
            Bucket::Day => lang.pick("Day", "Dia"),
            Bucket::Week | Bucket::Month => lang.pick("From", "De"),
        }
    }

    /// Opened, completed and open, in the order of time.
    pub(super) fn volume(self) -> Sheet {
        let p = |en, pt| self.pick(en, pt);
        let is_compared = self.report.figures.before.is_some();
        let mut sheet = Sheet::new("volume", p("Volume", "Volume"))
            .words("from", self.bucket())
            .numbers("opened", p("Opened", "Novos atendimentos"))
            .numbers("completed", p("Completed", "Finalizados"))
            .numbers("open_at_end", p("Open at the end", "Pendentes no fim"));
        if is_compared {
            sheet = sheet.numbers(
                "opened_before",
                p("Opened before", "Novos atendimentos antes"),
            );
        }
        for bar in &self.report.figures.bars {
            let mut row = vec![
                Value::Date(bar.from),
                Value::Count(bar.opened),
                Value::Count(bar.completed),
                bar.open_at_end.map_or(Value::None, Value::Count),
            ];
            if is_compared {
                row.push(bar.opened_before.map_or(Value::None, Value::Count));
            }
            sheet.row(row);
        }
        sheet
    }

    /// The name of a class of waiting times.
    pub(super) fn class(self, place: usize) -> String {
        let short = |seconds: u32| self.lang.short_duration(f64::from(seconds));
        match (
            place.checked_sub(1).and_then(|it| CLASSES.get(it)),
            CLASSES.get(place),
        ) {
            (None, Some(&most)) => format!("≤ {}", short(most)),
            (Some(&least), Some(&most)) => {
                let (least, most) = (short(least), short(most));
                // 1–5 min
                let (number, unit) = least.split_once('\u{a0}').unwrap_or((&least, ""));
                if most.ends_with(unit) {
                    format!("{number}–{most}")
                } else {
                    format!("{least} – {most}")
                }
            }
            (Some(&least), None) if place == CLASSES.len() => format!("> {}", short(least)),
            _ => self.pick("no answer", "sem resposta").to_owned(),
        }
    }

    /// How long people waited, in classes.
    pub(super) fn classes(self) -> Sheet {
        let p = |en, pt| self.pick(en, pt);
        let figures = &self.report.figures;
        let mut sheet = Sheet::new(
            "first_response_classes",
            p("How long they waited", "Quanto tempo esperaram"),
        )
        .words("class", p("First response within", "1ª resposta em"))
        .numbers("sessions", p("Sessions", "Atendimentos"))
        .numbers("share", p("Share", "Participação"));
        if figures.classes_open.is_some() {
            sheet = sheet
                .numbers(
                    "sessions_open",
                    p("Open hours: sessions", "No expediente: atendimentos"),
                )
                .numbers(
                    "share_open",
                    p("Open hours: share", "No expediente: participação"),
                );
        }
        let values = |classes: &Classes, place: usize| {
            let count = classes.counts.get(place).copied();
            let count = count.unwrap_or(classes.unanswered);
            let share = Share::new(count, classes.total()).value();
            [Value::Count(count), Value::share(share)]
        };
        for place in 0..=CLASSES.len() + 1 {
            let mut row = vec![Value::Text(self.class(place))];
            row.extend(values(&figures.classes, place));
            if let Some(open) = &figures.classes_open {
                row.extend(values(open, place));
            }
            sheet.row(row);
        }
        sheet
    }

    /// Times to the first response, in the order of time.
    pub(super) fn waiting(self) -> Sheet {
        let p = |en, pt| self.pick(en, pt);
        let has_hours = self.report.has_hours();
        let mut sheet = Sheet::new(
            "first_response_over_time",
            p("First response over time", "1ª resposta por período"),
        )
        .words("from", self.bucket())
        .times("average", p("Average", "Média"))
        .times("median", p("Median", "Mediana"))
        .times("p90", p("90th percentile", "Percentil 90"))
        .numbers("n", "n");
        if has_hours {
            sheet = sheet
                .times(
                    "median_open",
                    p("Open hours: median", "No expediente: mediana"),
                )
                .times(
                    "p90_open",
                    p("Open hours: 90th percentile", "No expediente: percentil 90"),
                );
        }
        for bar in &self.report.figures.bars {
            let times = &bar.first_response;
            let mut row = vec![
                Value::Date(bar.from),
                Value::seconds(times.average),
                median(times),
                p90(times),
                Value::Count(times.n),
            ];
            if has_hours {
                let open = &bar.first_response_open;
                row.extend([median(open), p90(open)]);
            }
            sheet.row(row);
        }
        sheet
    }

    /// When people write: each hour of the week.
    pub(super) fn hours_sheet(self) -> Sheet {
        let p = |en, pt| self.pick(en, pt);
        let has_hours = self.report.has_hours();
        let mut sheet = Sheet::new("hours", p("Peak hours", "Horários de pico"))
            .words("weekday", p("Weekday", "Dia da semana"))
            .words("hour", p("Hour", "Hora"))
            .numbers("opened", p("Opened", "Novos atendimentos"))
            .numbers("per_hour", p("Average per hour", "Média por hora"))
            .times("first_response_median", self.first_response_head())
            .numbers("first_response_n", "n");
        if has_hours {
            sheet = sheet.words("is_open", p("Open", "Expediente"));
        }
        for (weekday, hours) in self.report.figures.hours.iter().enumerate() {
            for (hour, cell) in hours.iter().enumerate() {
                if cell.opened == 0 {
                    continue;
                }
                let mut row = vec![
                    Value::text(self.lang.weekday(weekday)),
                    Value::Text(format!("{hour:02}:00")),
                    Value::Count(cell.opened),
                    cell.average().map_or(Value::None, Value::Number),
                    median(&self.first_response_at(cell)),
                    Value::Count(self.first_response_at(cell).n),
                ];
                if has_hours {
                    let is_open = cell.is_open == Some(true);
                    row.push(Value::text(if is_open {
                        p("yes", "sim")
                    } else {
                        p("no", "não")
                    }));
                }
                sheet.row(row);
            }
        }
        sheet
    }

    /// From opened to won.
    pub(super) fn funnel(self) -> Sheet {
        let p = |en, pt| self.pick(en, pt);
        let total = &self.report.figures.total;
        let mut sheet = Sheet::new("outcomes", p("Outcomes", "Resultados"))
            .words("step", p("Step", "Etapa"))
            .words("anchor", p("Counts by", "Conta pelo"))
            .numbers("sessions", p("Sessions", "Atendimentos"))
            .numbers("share", p("Share", "Participação"))
            .words("of", p("Of", "De"));
        let created = p("day opened", "dia de abertura");
        let ended = p("day ended", "dia do encerramento");
        let opened = p("Opened", "Novos atendimentos");
        let completed = p("Completed", "Finalizados");
        let decided = p("Won or lost", "Atingido ou perdido");
        let cohort = p("Of those opened, completed", "Dos novos, já finalizados");
        sheet.notes = self.period_notes();
        for (step, anchor, n, of, among) in [
            (opened, created, total.opened, "", 0),
            (cohort, created, total.closed, opened, total.opened),
            (
                p("Answered", "Respondidos"),
                created,
                total.answered,
                cohort,
                total.closed,
            ),
            (completed, ended, total.completed, "", 0),
            (
                p("Classified", "Com classificação"),
                ended,
                total.classified,
                completed,
                total.completed,
            ),
            (
                p("Won", "Objetivo atingido"),
                ended,
                total.won,
                decided,
                total.won + total.lost,
            ),
            (
                p("Lost", "Objetivo perdido"),
                ended,
                total.lost,
                decided,
                total.won + total.lost,
            ),
        ] {
            sheet.row(vec![
                Value::text(step),
                Value::text(anchor),
                Value::Count(n),
                Value::share(Share::new(n, among).value()),
                if of.is_empty() {
                    Value::None
                } else {
                    Value::text(of)
                },
            ]);
        }
        sheet
    }

    /// The largest reasons and the rest.
    pub(super) fn reasons(self) -> Sheet {
        let p = |en, pt| self.pick(en, pt);
        let figures = &self.report.figures;
        let mut sheet = Sheet::new("reasons", p("Reasons", "Motivos"))
            .words("outcome", p("Outcome", "Resultado"))
            .words("reason", p("Reason", "Motivo"))
            .numbers("completed", p("Completed", "Finalizados"))
            .numbers("share", p("Of those classified", "Dos classificados"))
            .numbers("amount_won", p("Amount won", "Valor ganho"));
        let rows = shortened_rows(&figures.reasons, self.most());
        sheet.apart = apart(&rows, false);
        for Row { key, group } in rows {
            let (outcome, reason) = match &key {
                Key::Reason { outcome, reason } => (
                    Value::Text(self.outcome(outcome)),
                    reason.clone().map_or(Value::None, Value::Text),
                ),
                other => (self.key(By::Reason, other), Value::None),
            };
            sheet.row(vec![
                outcome,
                reason,
                Value::Count(group.completed),
                Value::share(Share::new(group.completed, figures.total.classified).value()),
                if group.won > 0 {
                    Value::Money(group.amount_won)
                } else {
                    Value::None
                },
            ]);
        }
        sheet
    }

    /// Which campaign brought what.
    pub(super) fn campaigns(self) -> Sheet {
        let p = |en, pt| self.pick(en, pt);
        let sheet = Sheet::new("campaigns", p("Campaigns", "Campanhas"))
            .words("campaign", p("Campaign", "Campanha"))
            .words("source", p("Source", "Origem"));
        self.brought(sheet, &self.report.figures.campaigns, |campaign| {
            let source = [&campaign.source, &campaign.medium];
            let source: Vec<String> = source.into_iter().flatten().cloned().collect();
            [
                match &campaign.campaign {
                    None if campaign.has_click_id => {
                        Some(p("ad click", "clique em anúncio").into())
                    }
                    name => name.clone(),
                },
                (!source.is_empty()).then(|| source.join(" / ")),
            ]
        })
    }

    /// Which ad brought what.
    pub(super) fn ads(self) -> Sheet {
        let p = |en, pt| self.pick(en, pt);
        let sheet = Sheet::new("ads", p("Ads", "Anúncios"))
            .words("ad", p("Ad", "Anúncio"))
            .words("campaign", p("Campaign", "Campanha"));
        self.brought(sheet, &self.report.figures.ads, |campaign| {
            [campaign.ad.clone(), campaign.campaign.clone()]
        })
    }

    fn brought(
        self,
        sheet: Sheet,
        rows: &[Row],
        names: impl Fn(&Campaign) -> [Option<String>; 2],
    ) -> Sheet {
        let p = |en, pt| self.pick(en, pt);
        let mut sheet = sheet
            .numbers("opened", p("Opened", "Novos atendimentos"))
            .numbers("contacts", p("Contacts", "Contatos"))
            .numbers("completed", p("Completed", "Finalizados"))
            .numbers("won", p("Won", "Objetivo atingido"))
            .numbers("win_rate", p("Win rate", "Conversão"))
            .numbers("amount_won", p("Amount won", "Valor ganho"));
        let rows = shortened_rows(rows, self.most());
        sheet.apart = apart(&rows, true);
        for Row { key, group } in rows {
            let mut row: Vec<Value> = match &key {
                Key::Campaign(campaign) => names(campaign)
                    .map(|name| name.map_or(Value::None, Value::Text))
                    .into(),
                other => vec![self.key(By::Campaign, other), Value::None],
            };
            let is_rest = matches!(key, Key::Rest(_));
            row.extend([
                Value::Count(group.opened),
                // A contact of two campaigns is one.
                if is_rest {
                    Value::None
                } else {
                    Value::Count(group.contacts)
                },
                Value::Count(group.completed),
                Value::Count(group.won),
                Value::share(group.win_rate().value()),
                Value::Money(group.amount_won),
            ]);
            sheet.row(row);
        }
        sheet
    }

    /// Tags: no total, and no row for the rest, since a session may be in several.
    pub(super) fn tags(self) -> Sheet {
        let p = |en, pt| self.pick(en, pt);
        let mut sheet = Sheet::new("tags", p("Tags", "Etiquetas"))
            .note(self.tags_note())
            .words("tag", p("Tag", "Etiqueta"))
            .numbers("opened", p("Opened", "Novos atendimentos"))
            .numbers("answered_share", p("Answered", "Respondidos"))
            .times("first_response_median", self.first_response_head())
            .numbers("won", p("Won", "Objetivo atingido"));
        let rows = &self.report.figures.tags;
        let most = self.most().saturating_mul(2);
        let mut shown = 0;
        for Row { key, group } in rows {
            if *key != Key::None {
                shown += 1;
                if shown > most {
                    continue;
                }
            }
            sheet.row(vec![
                self.key(By::Tag, key),
                Value::Count(group.opened),
                Value::share(group.answered_share().value()),
                median(&self.first_response(group)),
                Value::Count(group.won),
            ]);
        }
        if shown > most {
            let more = self.lang.count((shown - most) as u64);
            sheet.notes.push(match self.lang {
                Language::En => format!("{more} smaller tags are not shown."),
                Language::PtBr => format!("{more} etiquetas menores não aparecem."),
            });
        }
        sheet
    }

    /// What is open now: by age, in all, and the oldest.
    pub(super) fn open_now(self) -> Vec<Sheet> {
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

    fn days_text(self, days: u64) -> String {
        let word = self.lang.plural(days, ("day", "dia"), ("days", "dias"));
        format!("{} {word}", self.lang.count(days))
    }

    /// The name of a class of ages.
    #[expect(clippy::unused_self, reason = "reads like the names of other classes")]
    pub(super) fn age(self, place: usize) -> String {
        const NAMES: [&str; AGES.len() + 1] = [
            "< 1 h", "1–4 h", "4–24 h", "1–3 d", "3–7 d", "7–30 d", "> 30 d",
        ];
        NAMES[place].replace(' ', "\u{a0}")
    }

    /// What the figures rest on.
    pub(super) fn quality(self) -> Sheet {
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
