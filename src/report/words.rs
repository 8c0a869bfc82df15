//! What a report says in words: its head, names of rows, largest changes, definitions.

use super::language::{Language, Moved};
use super::sheet::Value;
use super::{Report, ShownFilter};
use crate::reporting::{By, Cell, Group, Key, Period, Share, Stage, Times, local_date};

/// A figure of the whole period, and of the compared one.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Figure {
    pub(super) key: &'static str,
    pub(super) name: &'static str,
    pub(super) value: Value,
    /// On how many it rests.
    pub(super) n: u64,
    pub(super) before: Value,
    pub(super) n_before: u64,
    /// Whether more is better; `None` where nobody knows.
    pub(super) more_is_better: Option<bool>,
}

impl Figure {
    /// How far it moved.
    pub(super) fn moved(&self) -> Option<Moved> {
        let (now, before) = (self.value.number()?, self.before.number()?);
        // The part of a difference of two counts says nothing.
        if self.key == "balance" {
            return None;
        }
        if matches!(self.value, Value::FewSeconds(_)) || matches!(self.before, Value::FewSeconds(_))
        {
            return None;
        }
        if matches!(self.value, Value::Share(_)) {
            return Some(Moved::Points(now - before));
        }
        (before != 0.0).then(|| Moved::Part((now - before) / before.abs()))
    }

    /// Its change as a part of what it was, if that is more than noise.
    pub(super) fn telling(&self) -> Option<f64> {
        let (now, before) = (self.value.number()?, self.before.number()?);
        let moved = self.moved()?;
        if self.n < 30 || self.n_before < 30 || before == 0.0 {
            return None;
        }
        let part = (now - before) / before.abs();
        let is_large = match moved {
            Moved::Part(_) => part.abs() >= 0.1,
            Moved::Points(points) => part.abs() >= 0.1 && points.abs() >= 0.03,
        };
        is_large.then_some(part)
    }

    /// Whether it became better; `None` if that is noise or nobody knows.
    pub(super) fn is_better(&self) -> Option<bool> {
        let part = self.telling()?;
        self.more_is_better.map(|more| more == (part > 0.0))
    }
}

/// A duration of the whole period, and of the compared one.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Metric {
    pub(super) key: &'static str,
    pub(super) name: &'static str,
    /// Of which day it counts.
    pub(super) anchor: &'static str,
    pub(super) times: Times,
    pub(super) before: Option<Times>,
}

impl Metric {
    /// Its median as a figure.
    pub(super) fn median(&self, name: &'static str) -> Figure {
        let median = |times: &Times| Value::of_enough(times.median, times.shows_median());
        Figure {
            key: self.key,
            name,
            value: median(&self.times),
            n: self.times.n,
            before: self.before.as_ref().map_or(Value::None, median),
            n_before: self.before.map_or(0, |before| before.n),
            more_is_better: Some(false),
        }
    }

    /// Its average as a figure.
    pub(super) fn average(&self, name: &'static str) -> Figure {
        let average = |times: &Times| Value::seconds(times.average);
        Figure {
            value: average(&self.times),
            before: self.before.as_ref().map_or(Value::None, average),
            ..self.median(name)
        }
    }
}

/// The words of a report in a language.
#[derive(Clone, Copy)]
pub(super) struct Words<'a> {
    pub(super) report: &'a Report,
    pub(super) lang: Language,
    /// Whether sections have all rows, for programs and spreadsheets.
    pub(super) is_whole: bool,
}

impl<'a> Words<'a> {
    /// For people: long sections end in a row for the rest.
    pub(super) const fn new(report: &'a Report, lang: Language) -> Self {
        Self {
            report,
            lang,
            is_whole: false,
        }
    }

    /// For programs and spreadsheets: with all rows.
    pub(super) const fn whole(report: &'a Report, lang: Language) -> Self {
        Self {
            is_whole: true,
            ..Self::new(report, lang)
        }
    }

    pub(super) const fn pick(self, en: &'a str, pt: &'a str) -> &'a str {
        self.lang.pick(en, pt)
    }

    pub(super) fn shown(self, value: &Value) -> String {
        value.shown(self.lang, &self.report.settings.currency)
    }

    /// `Report of default` in both languages.
    pub(super) fn title(self) -> String {
        let account = &self.report.account;
        match self.lang {
            Language::En => format!("Customer service report: {account}"),
            Language::PtBr => format!("Relatório de atendimento: {account}"),
        }
    }

    /// The days of a period.
    pub(super) fn period(self, period: &Period) -> String {
        let (lang, zone) = (self.lang, self.report.zone());
        let mut text = lang.date(period.from);
        if period.to != period.from {
            let word = self.pick("to", "a");
            text = format!("{text} {word} {}", lang.date(period.to));
        }
        if let Some(until) = period.until {
            let word = self.pick("until", "até as");
            text = format!("{text}, {word} {}", lang.time(until, zone));
        }
        text
    }

    fn days(self, days: u64) -> String {
        let word = self.lang.plural(days, ("day", "dia"), ("days", "dias"));
        format!("{} {word}", self.lang.count(days))
    }

    /// Of which days the report is, with their number.
    pub(super) fn period_and_days(self) -> String {
        let period = &self.report.figures.question.period;
        format!("{} ({})", self.period(period), self.days(period.days()))
    }

    /// With which days it compares.
    pub(super) fn compared(self) -> Option<String> {
        let compared = self.report.figures.question.compared.as_ref()?;
        let text = self.period(compared);
        Some(
            if compared.days() == self.report.figures.question.period.days() {
                text
            } else {
                format!("{text} ({})", self.days(compared.days()))
            },
        )
    }

    /// Up to when the data are complete.
    pub(super) fn as_of(self) -> String {
        self.report.as_of.map_or_else(
            || {
                self.pick("not loaded yet", "ainda não carregado")
                    .to_owned()
            },
            |at| self.lang.instant(at, self.report.zone()),
        )
    }

    /// `Mon–Fri 08:00–12:00, 13:30–18:00; Sat 09:00–13:00`.
    pub(super) fn hours(self) -> Option<String> {
        const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
        if !self.report.has_hours() {
            return None;
        }
        let described = self.report.settings.hours.describe();
        let mut runs: Vec<(usize, usize, String)> = Vec::new();
        for day in described.split(", ") {
            let (name, hours) = day.split_once(' ').unwrap_or((day, ""));
            let Some(place) = DAYS.iter().position(|day| *day == name) else {
                continue;
            };
            let hours = hours.replace('-', "–").replace(' ', ", ");
            match runs.last_mut() {
                Some((_, last, same)) if *last + 1 == place && *same == hours => *last = place,
                _ => runs.push((place, place, hours)),
            }
        }
        let runs = runs.iter().map(|(first, last, hours)| {
            let name = |place| self.lang.short_weekday(place);
            match last - first {
                0 => format!("{} {hours}", name(*first)),
                1 => format!("{}, {} {hours}", name(*first), name(*last)),
                _ => format!("{}–{} {hours}", name(*first), name(*last)),
            }
        });
        let text = runs.collect::<Vec<_>>().join("; ");
        Some(if text.is_empty() {
            self.pick("never open", "sempre fechado").to_owned()
        } else {
            text
        })
    }

    fn counted(self, n: u64, one: (&'a str, &'a str), many: (&'a str, &'a str)) -> String {
        format!("{} {}", self.lang.count(n), self.lang.plural(n, one, many))
    }

    /// What the figures leave out.
    pub(super) fn left_out(self) -> String {
        let quality = &self.report.figures.quality;
        let parts = [
            self.counted(quality.hidden, ("hidden", "oculto"), ("hidden", "ocultos")),
            self.counted(
                quality.groups,
                ("of a group", "de grupo"),
                ("of groups", "de grupos"),
            ),
            self.counted(
                quality.removed,
                ("deleted", "excluído"),
                ("deleted", "excluídos"),
            ),
        ];
        self.lang.listed(&parts)
    }

    /// What the last verification found.
    pub(super) fn verified(self) -> String {
        match self.report.verified {
            None => self.pick("never", "nunca").to_owned(),
            Some((at, differing)) => {
                let found = match differing {
                    0 => self.pick("no difference", "nenhuma diferença").to_owned(),
                    n => self.counted(
                        n,
                        ("difference found", "diferença encontrada"),
                        ("differences found", "diferenças encontradas"),
                    ),
                };
                format!("{}: {found}", self.lang.instant(at, self.report.zone()))
            }
        }
    }

    /// What a filter is of.
    pub(super) fn filter(self, filter: &ShownFilter) -> (String, String) {
        let of = match filter.of {
            "channel" => self.pick("channel", "canal"),
            "department" => self.pick("department", "equipe"),
            "agent" => self.pick("agent", "atendente"),
            "tag" => self.pick("tag", "etiqueta"),
            "status" => self.pick("status", "status"),
            _ => self.pick("campaign", "campanha"),
        };
        (of.to_owned(), filter.names.join(", "))
    }

    /// The lines of the head: what, and the text.
    pub(super) fn head(self) -> Vec<(&'a str, String)> {
        let report = self.report;
        let mut head = vec![
            (self.pick("Account", "Conta"), report.account.clone()),
            (self.pick("Period", "Período"), self.period_and_days()),
        ];
        let compared = self.compared();
        if report.lacks_compared {
            let text = self.pick(
                "nothing: those days are not loaded yet",
                "nada: esses dias ainda não foram carregados",
            );
            head.push((self.pick("Compared with", "Comparado com"), text.to_owned()));
        } else if let Some(compared) = compared {
            let nothing = match self.report.figures.before {
                Some(_) => "",
                None => self.pick(": no sessions", ": nenhum atendimento"),
            };
            let text = format!("{compared}{nothing}");
            head.push((self.pick("Compared with", "Comparado com"), text));
        }
        for filter in &report.filters {
            let (of, names) = self.filter(filter);
            head.push((self.pick("Only", "Somente"), format!("{of}: {names}")));
        }
        head.push((
            self.pick("Time zone", "Fuso horário"),
            report.zone().name().to_owned(),
        ));
        let hours = self.hours().unwrap_or_else(|| {
            self.pick(
                "not configured: every hour counts",
                "não configurado: todas as horas contam",
            )
            .to_owned()
        });
        head.push((self.pick("Open hours", "Horário de atendimento"), hours));
        head.push((
            self.pick("Data complete up to", "Dados completos até"),
            self.as_of(),
        ));
        if report.is_partial {
            let text = self.pick(
                "the period is not loaded completely: its figures are too low",
                "o período não foi carregado por completo: os números estão abaixo do real",
            );
            head.push((self.pick("Attention", "Atenção"), text.to_owned()));
        }
        head.push((self.pick("Not counted", "Não contados"), self.left_out()));
        head.push((
            self.pick("Last verification", "Última verificação"),
            self.verified(),
        ));
        head
    }

    /// Whether sessions opened in the period are likely to be completed still: it ended less than 7 days
    /// before the time up to which the copy is complete.
    pub(super) fn is_in_progress(self) -> bool {
        let (_, ends) = self
            .report
            .figures
            .question
            .period
            .instants(self.report.zone());
        let since = self.report.as_of.map(|as_of| as_of.micros() - ends);
        since.is_none_or(|since| since < 7 * 86_400 * 1_000_000)
    }

    /// Whether sessions that ended in the period may be opened again without a new session: its last day is
    /// today or yesterday.
    pub(super) fn is_provisional(self) -> bool {
        let last = self.report.figures.question.period.to;
        self.report.as_of.is_some_and(|as_of| {
            let today = local_date(self.report.zone(), as_of);
            (today - last).num_days() <= 1
        })
    }

    /// What is not final of the period.
    pub(super) fn period_notes(self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.is_in_progress() {
            notes.push(self.pick(
                "In progress: of the sessions opened, more will be completed.",
                "Em andamento: dos atendimentos abertos no período, outros ainda serão finalizados.",
            ));
        }
        if self.is_provisional() {
            notes.push(self.pick(
                "Provisional: sessions that ended in the last hours may be opened again.",
                "Provisório: atendimentos encerrados nas últimas horas podem ser reabertos.",
            ));
        }
        notes.into_iter().map(str::to_owned).collect()
    }

    /// What a breakdown is by.
    pub(super) const fn by(self, by: By) -> &'a str {
        match by {
            By::Day => self.pick("Day", "Dia"),
            By::Week => self.pick("Week from", "Semana de"),
            By::Month => self.pick("Month", "Mês"),
            By::Hour => self.pick("Hour", "Hora"),
            By::Channel => self.pick("Channel", "Canal"),
            By::Department => self.pick("Department", "Equipe"),
            By::Agent => self.pick("Agent", "Atendente"),
            By::Tag => self.pick("Tag", "Etiqueta"),
            By::Campaign => self.pick("Campaign / ad", "Campanha / anúncio"),
            By::Reason => self.pick("Outcome: reason", "Resultado: motivo"),
            By::Status => self.pick("Status", "Status"),
        }
    }

    /// The same in a heading.
    pub(super) const fn by_title(self, by: By) -> &'a str {
        match by {
            By::Day => self.pick("By day", "Por dia"),
            By::Week => self.pick("By week", "Por semana"),
            By::Month => self.pick("By month", "Por mês"),
            By::Hour => self.pick("By hour", "Por hora"),
            By::Channel => self.pick("By channel", "Por canal"),
            By::Department => self.pick("By department", "Por equipe"),
            By::Agent => self.pick("By agent", "Por atendente"),
            By::Tag => self.pick("By tag", "Por etiqueta"),
            By::Campaign => self.pick("By campaign and ad", "Por campanha e anúncio"),
            By::Reason => self.pick("By outcome and reason", "Por resultado e motivo"),
            By::Status => self.pick("By status", "Por status"),
        }
    }

    /// The name of a stage.
    pub(super) const fn stage(self, stage: Stage) -> &'a str {
        match stage {
            Stage::Bot => self.pick("With the bot", "Com o chatbot"),
            Stage::Queue => self.pick("In the queue", "Na fila"),
            Stage::Service => self.pick("In service", "Em atendimento"),
            Stage::Closed => self.pick("Completed", "Finalizado"),
            Stage::Other => self.pick("Other", "Outro"),
        }
    }

    /// The name of an outcome.
    pub(super) fn outcome(self, outcome: &str) -> String {
        match outcome {
            "won" => self.pick("Won", "Objetivo atingido").to_owned(),
            "lost" => self.pick("Lost", "Objetivo perdido").to_owned(),
            "info" => self.pick("Questions", "Dúvidas").to_owned(),
            "other" => self.pick("Other", "Outros").to_owned(),
            "none" => self.pick("Not classified", "Sem classificação").to_owned(),
            unknown => unknown.to_owned(),
        }
    }

    /// The name of a row.
    pub(super) fn key(self, by: By, key: &Key) -> Value {
        let text = match key {
            Key::None => match by {
                By::Agent => self.pick("No agent", "Sem atendente").to_owned(),
                By::Department => self.pick("No department", "Sem equipe").to_owned(),
                By::Channel => self.pick("No channel", "Sem canal").to_owned(),
                By::Tag => self.pick("No tag", "Sem etiqueta").to_owned(),
                By::Campaign => self.pick("No campaign", "Sem campanha").to_owned(),
                _ => "–".to_owned(),
            },
            Key::Rest(n) => {
                let word = self
                    .lang
                    .plural(*n, ("other", "outro"), ("others", "outros"));
                format!("{} {word}", self.lang.count(*n))
            }
            Key::Date(date) if by == By::Month => self.lang.month(*date),
            Key::Date(date) => return Value::Date(*date),
            Key::Hour(hour) => format!("{hour:02}:00"),
            Key::Named { name, .. } if by == By::Agent && self.is_anonymous() => {
                format!("{} {name}", self.by(By::Agent))
            }
            Key::Named { name, .. } => name.clone(),
            Key::Campaign(campaign) => {
                let parts = [
                    &campaign.campaign,
                    &campaign.source,
                    &campaign.medium,
                    &campaign.ad,
                ];
                let mut parts: Vec<String> = parts.into_iter().flatten().cloned().collect();
                if campaign.has_click_id {
                    parts.push(self.pick("ad click", "clique em anúncio").to_owned());
                }
                parts.join(" · ")
            }
            Key::Reason { outcome, reason } => match reason {
                Some(reason) => format!("{}: {reason}", self.outcome(outcome)),
                None => self.outcome(outcome),
            },
            Key::Stage(stage) => self.stage(*stage).to_owned(),
        };
        Value::Text(text)
    }

    const fn is_anonymous(self) -> bool {
        self.report.figures.question.is_anonymous
    }

    /// The time to the first response as the report counts it.
    pub(super) const fn first_response(self, group: &Group) -> Times {
        if self.report.is_open_hours {
            group.first_response_open
        } else {
            group.first_response
        }
    }

    /// The same of an hour of the week.
    pub(super) const fn first_response_at(self, cell: &Cell) -> Times {
        if self.report.is_open_hours {
            cell.first_response_open
        } else {
            cell.first_response
        }
    }

    /// The target that the report puts first: its name, and how many are in time.
    pub(super) fn sla(self, group: &Group) -> Option<(&'static str, Share)> {
        let targets = &self.report.settings.targets;
        let lang = self.lang;
        if targets.first_response.is_some() {
            let name = lang.pick("first response", "1ª resposta");
            Some((name, group.sla_first_response))
        } else if targets.wait.is_some() {
            Some((lang.pick("wait", "espera"), group.sla_wait))
        } else if targets.resolution.is_some() {
            Some((
                lang.pick("time to end", "duração total"),
                group.sla_resolution,
            ))
        } else if targets.service.is_some() {
            Some((lang.pick("service", "atendimento"), group.sla_service))
        } else {
            None
        }
    }

    /// All figures that are no durations.
    #[expect(clippy::too_many_lines, reason = "a line or two for each figure")]
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    pub(super) fn figures(self) -> Vec<Figure> {
        let lang = self.lang;
        let figures = &self.report.figures;
        let (now, before) = (&figures.total, figures.before.as_ref());
        let mut list: Vec<Figure> = Vec::new();
        let mut add = |key: &'static str,
                       name: &'static str,
                       value: &dyn Fn(&Group) -> Value,
                       n: &dyn Fn(&Group) -> u64,
                       more_is_better: Option<bool>| {
            list.push(Figure {
                key,
                name,
                value: value(now),
                n: n(now),
                before: before.map_or(Value::None, value),
                n_before: before.map_or(0, n),
                more_is_better,
            });
        };
        let opened = |group: &Group| group.opened;
        let closed = |group: &Group| group.closed;
        let completed = |group: &Group| group.completed;
        add(
            "opened",
            lang.pick("Opened", "Novos atendimentos"),
            &|it| Value::Count(it.opened),
            &opened,
            None,
        );
        add(
            "contacts",
            lang.pick("Contacts", "Contatos atendidos"),
            &|it| Value::Count(it.contacts),
            &|it| it.contacts,
            None,
        );
        add(
            "new_contacts",
            lang.pick("New contacts", "Contatos novos"),
            &|it| Value::Count(it.new_contacts),
            &|it| it.new_contacts,
            None,
        );
        add(
            "sessions_per_contact",
            lang.pick("Sessions per contact", "Atendimentos por contato"),
            &|it| match it.contacts {
                0 => Value::None,
                contacts => Value::Number(it.with_contact as f64 / contacts as f64),
            },
            &|it| it.contacts,
            None,
        );
        if self.report.has_hours() {
            add(
                "opened_outside_hours",
                lang.pick(
                    "Opened outside hours",
                    "Novos atendimentos fora do expediente",
                ),
                &|it| {
                    it.opened_open
                        .map_or(Value::None, |open| Value::Count(it.opened - open))
                },
                &opened,
                None,
            );
        }
        add(
            "completed",
            lang.pick("Completed", "Finalizados"),
            &|it| Value::Count(it.completed),
            &completed,
            None,
        );
        add(
            "balance",
            lang.pick("Balance of the period", "Saldo do período"),
            &|it| Value::Difference(it.opened.cast_signed() - it.completed.cast_signed()),
            &|_| 0,
            None,
        );
        add(
            "completed_of_opened",
            lang.pick("Of those opened, completed", "Dos novos, já finalizados"),
            &|it| Value::share(Share::new(it.closed, it.opened).value()),
            &opened,
            None,
        );
        add(
            "answered",
            lang.pick("Answered", "Atendimentos respondidos"),
            &|it| Value::share(it.answered_share().value()),
            &closed,
            Some(true),
        );
        add(
            "closed_unanswered",
            lang.pick("Closed without answer", "Encerrados sem resposta"),
            &|it| Value::share(Share::new(it.closed_unanswered, it.closed).value()),
            &closed,
            None,
        );
        add(
            "lost_in_queue",
            lang.pick("Lost in the queue", "Perdidos na fila"),
            &|it| Value::share(Share::new(it.lost_in_queue, it.closed).value()),
            &closed,
            Some(false),
        );
        add(
            "bot_only",
            lang.pick("With the bot only", "Só com o chatbot"),
            &|it| Value::share(Share::new(it.bot_only, it.closed).value()),
            &closed,
            None,
        );
        let targets = &self.report.settings.targets;
        if targets.wait.is_some() {
            add(
                "sla_wait",
                lang.pick("Wait in time (SLA)", "Espera dentro do prazo (SLA)"),
                &|it| Value::share(it.sla_wait.value()),
                &|it| it.sla_wait.n,
                Some(true),
            );
        }
        if targets.first_response.is_some() {
            add(
                "sla_first_response",
                lang.pick(
                    "First response in time (SLA)",
                    "1ª resposta dentro do prazo (SLA)",
                ),
                &|it| Value::share(it.sla_first_response.value()),
                &|it| it.sla_first_response.n,
                Some(true),
            );
        }
        if targets.service.is_some() {
            add(
                "sla_service",
                lang.pick("Service in time (SLA)", "Atendimento dentro do prazo (SLA)"),
                &|it| Value::share(it.sla_service.value()),
                &|it| it.sla_service.n,
                Some(true),
            );
        }
        if targets.resolution.is_some() {
            add(
                "sla_resolution",
                lang.pick("Ended in time (SLA)", "Encerrados dentro do prazo (SLA)"),
                &|it| Value::share(it.sla_resolution.value()),
                &|it| it.sla_resolution.n,
                Some(true),
            );
        }
        add(
            "returned_7d",
            lang.pick("Return in 7 days", "Retorno em 7 dias"),
            &|it| Value::share(it.returned.value()),
            &|it| it.returned.n,
            Some(false),
        );
        add(
            "classified",
            lang.pick("Classified", "Com classificação"),
            &|it| Value::share(Share::new(it.classified, it.completed).value()),
            &completed,
            Some(true),
        );
        add(
            "won",
            lang.pick("Won", "Objetivo atingido"),
            &|it| Value::Count(it.won),
            &|it| it.won,
            Some(true),
        );
        add(
            "lost",
            lang.pick("Lost", "Objetivo perdido"),
            &|it| Value::Count(it.lost),
            &|it| it.lost,
            None,
        );
        add(
            "info",
            lang.pick("Questions", "Dúvidas"),
            &|it| Value::Count(it.info),
            &|it| it.info,
            None,
        );
        add(
            "other",
            lang.pick("Other outcomes", "Outros"),
            &|it| Value::Count(it.other),
            &|it| it.other,
            None,
        );
        add(
            "win_rate",
            lang.pick("Win rate", "Taxa de conversão"),
            &|it| Value::share(it.win_rate().value()),
            &|it| it.win_rate().n,
            Some(true),
        );
        add(
            "won_of_opened",
            lang.pick("Won per opened", "Conversão sobre novos"),
            &|it| Value::share(Share::new(it.won, it.opened).value()),
            &opened,
            Some(true),
        );
        add(
            "amount_won",
            lang.pick("Amount won", "Valor ganho"),
            &|it| Value::Money(it.amount_won),
            &|it| it.amounts,
            Some(true),
        );
        add(
            "ticket",
            lang.pick("Average ticket", "Ticket médio"),
            &|it| it.ticket().map_or(Value::None, Value::Money),
            &|it| it.amounts,
            None,
        );
        // After those that are of sessions of the period.
        let at = list.iter().position(|it| it.key == "balance").unwrap_or(0);
        list.insert(at, self.open_at_end());
        list.retain(|figure| self.report.metrics.show(figure.key));
        list
    }

    fn open_at_end(self) -> Figure {
        let figures = &self.report.figures;
        Figure {
            key: "open_at_end",
            name: self
                .lang
                .pick("Open at the end", "Pendentes no fim do período"),
            value: figures.open_at_end.map_or(Value::None, Value::Count),
            n: figures.open_at_end.unwrap_or(0),
            before: figures.open_at_end_before.map_or(Value::None, Value::Count),
            n_before: figures.open_at_end_before.unwrap_or(0),
            more_is_better: None,
        }
    }

    /// All durations.
    pub(super) fn metrics(self) -> Vec<Metric> {
        let lang = self.lang;
        let figures = &self.report.figures;
        let created = lang.pick("day opened", "dia de abertura");
        let ended = lang.pick("day ended", "dia do encerramento");
        let mut list = Vec::new();
        let mut add = |key, name, anchor, times: &dyn Fn(&Group) -> Times| {
            list.push(Metric {
                key,
                name,
                anchor,
                times: times(&figures.total),
                before: figures.before.as_ref().map(times),
            });
        };
        let (wait, first) = (
            lang.pick("Wait (platform)", "TME, tempo médio de espera"),
            lang.pick("First response", "Tempo até a 1ª resposta (TMPR)"),
        );
        add("wait", wait, created, &|it| it.wait);
        add("first_response", first, created, &|it| it.first_response);
        if self.report.has_hours() {
            add(
                "first_response_open",
                lang.pick(
                    "First response, open hours",
                    "1ª resposta no horário de atendimento",
                ),
                created,
                &|it| it.first_response_open,
            );
        }
        add(
            "service",
            lang.pick("Service (platform)", "TMA, tempo médio de atendimento"),
            ended,
            &|it| it.service,
        );
        add(
            "conversation",
            lang.pick("With the agent", "Tempo com o atendente"),
            ended,
            &|it| it.conversation,
        );
        add(
            "resolution",
            lang.pick("From beginning to end", "Duração total, do início ao fim"),
            ended,
            &|it| it.resolution,
        );
        if self.report.has_hours() {
            add(
                "resolution_open",
                lang.pick(
                    "Beginning to end, open hours",
                    "Duração total no horário de atendimento",
                ),
                ended,
                &|it| it.resolution_open,
            );
        }
        list.retain(|metric: &Metric| self.report.metrics.show(metric.key));
        list
    }

    /// The largest changes that are more than noise, in words.
    pub(super) fn changes(self) -> Vec<String> {
        let mut changed: Vec<(f64, Figure)> = Vec::new();
        let is_open = self.report.is_open_hours;
        let medians = self.metrics();
        let medians = medians.iter().map(|metric| {
            let name = match metric.key {
                // The same things, counted in another way.
                "first_response" | "resolution" if is_open => "",
                "first_response_open" if is_open => self.lang.pick(
                    "The median time to the first response within open hours",
                    "Mediana do tempo até a 1ª resposta no expediente",
                ),
                "resolution_open" if is_open => self.lang.pick(
                    "The median time from beginning to end within open hours",
                    "Mediana da duração total no expediente",
                ),
                "wait" => self
                    .lang
                    .pick("The median wait", "Mediana do tempo de espera"),
                "first_response" => self.lang.pick(
                    "The median time to the first response",
                    "Mediana do tempo até a 1ª resposta",
                ),
                "service" => self
                    .lang
                    .pick("The median service time", "Mediana do tempo de atendimento"),
                "resolution" => self.lang.pick(
                    "The median time from beginning to end",
                    "Mediana da duração total",
                ),
                _ => "",
            };
            metric.median(name)
        });
        // Counts of the same sessions would say one thing twice.
        let told = [
            "opened",
            "new_contacts",
            "open_at_end",
            "completed",
            "answered",
            "lost_in_queue",
            "closed_unanswered",
            "sla_wait",
            "sla_first_response",
            "sla_service",
            "sla_resolution",
            "returned_7d",
            "won",
            "win_rate",
            "amount_won",
        ];
        let figures = self.figures().into_iter();
        let figures = figures.filter(|figure| told.contains(&figure.key));
        for figure in figures.chain(medians.filter(|figure| !figure.name.is_empty())) {
            if let Some(part) = figure.telling() {
                changed.push((part, figure));
            }
        }
        changed.sort_by(|(a, _), (b, _)| b.abs().total_cmp(&a.abs()));
        changed
            .into_iter()
            .take(3)
            .map(|(part, figure)| self.change(part, &figure))
            .collect()
    }

    fn change(self, part: f64, figure: &Figure) -> String {
        let (now, before) = (self.shown(&figure.value), self.shown(&figure.before));
        let by = match figure.moved() {
            Some(Moved::Points(points)) => {
                let points = self.lang.decimal(points.abs() * 100.0, 1);
                match self.lang {
                    Language::En => format!("{points} points"),
                    Language::PtBr => format!("{points} pontos percentuais"),
                }
            }
            _ => format!("{}%", self.lang.decimal(part.abs() * 100.0, 0)),
        };
        let is_up = part > 0.0;
        match self.lang {
            Language::En => {
                let verb = if is_up { "rose" } else { "fell" };
                let name = figure.name;
                let subject = match figure.key {
                    "opened" => "Sessions opened",
                    "completed" => "Sessions completed",
                    "answered" => "The share answered",
                    "won" => "Sessions won",
                    _ => name,
                };
                format!("{subject} {verb} by {by}, from {before} to {now}.")
            }
            Language::PtBr => {
                let verb = if is_up { "alta" } else { "queda" };
                format!("{}: {verb} de {by}, de {before} para {now}.", figure.name)
            }
        }
    }

    /// How the platform's times compare with known ones, in words.
    pub(super) fn calibration(self) -> Vec<String> {
        let calibration = self.report.figures.calibration();
        let mut texts = Vec::new();
        let mut add = |(agreeing, n): (u64, u64), en: &str, pt: &str| {
            if let Some(share) = Share::new(agreeing, n).value() {
                let share = self.lang.share(share);
                let n = self.lang.count(n);
                texts.push(match self.lang {
                    Language::En => format!("{en} in {share} of {n} completed sessions."),
                    Language::PtBr => {
                        format!("{pt} em {share} de {n} atendimentos finalizados.")
                    }
                });
            }
        };
        add(
            calibration.wait_is_first_response,
            "The platform's waiting time equals the time to the first response",
            "O tempo de espera da plataforma é igual ao tempo até a 1ª resposta",
        );
        add(
            calibration.wait_is_start_to_response,
            "The platform's waiting time equals the time from the start to the first response",
            "O tempo de espera da plataforma é igual ao tempo do início até a 1ª resposta",
        );
        add(
            calibration.service_is_response_to_end,
            "The platform's service time equals the time from the first response to the end",
            "O tempo de atendimento da plataforma é igual ao tempo da 1ª resposta ao encerramento",
        );
        add(
            calibration.service_is_created_to_end,
            "The platform's service time equals the time from creation to the end",
            "O tempo de atendimento da plataforma é igual ao tempo da abertura ao encerramento",
        );
        add(
            calibration.answered_within_3s,
            "The first response came within 3 seconds, which suggests a bot,",
            "A 1ª resposta veio em até 3 segundos, o que sugere um chatbot,",
        );
        texts
    }

    /// What each figure means: its name, and a sentence.
    pub(super) fn definitions(self) -> Vec<(&'a str, &'a str)> {
        let target = |is: bool, pair: (&'a str, &'a str)| is.then_some(pair);
        let targets = &self.report.settings.targets;
        let has_target = targets.wait.is_some()
            || targets.first_response.is_some()
            || targets.service.is_some()
            || targets.resolution.is_some();
        let mut list = DEFINITIONS
            .iter()
            .map(|(en, pt, means_en, means_pt)| (self.pick(en, pt), self.pick(means_en, means_pt)))
            .collect::<Vec<_>>();
        list.extend(target(has_target, (
            self.pick("In time (SLA)", "Dentro do prazo (SLA)"),
            self.pick(
                "The value is within the configured target. For wait and first response, an open session that is already late counts as late. For service and time to the end only sessions that ended count.",
                "O valor está dentro da meta configurada. Na espera e na 1ª resposta, um atendimento aberto que já passou da meta conta como atrasado. No tempo de atendimento e na duração total contam só os encerrados.",
            ),
        )));
        list.extend(target(self.report.has_hours(), (
            self.pick("Open hours", "Horário de atendimento"),
            self.pick(
                "Only seconds within the configured hours count. Hours of the past are those of today.",
                "Contam só os segundos dentro do horário configurado. O horário do passado é o de hoje.",
            ),
        )));
        list
    }
}

/// English name, Portuguese name, and what it means in both.
const DEFINITIONS: [(&str, &str, &str, &str); 20] = [
    (
        "Opened",
        "Novos atendimentos",
        "Sessions created in the period, by the day of their creation. Hidden sessions (made by a campaign, not answered yet), sessions of groups and deleted ones do not count.",
        "Atendimentos criados no período, pelo dia da criação. Não contam os ocultos (criados por campanha, ainda sem resposta), os de grupos e os excluídos.",
    ),
    (
        "Completed",
        "Finalizados",
        "Sessions that ended in the period, by the day of their end. They are others than those opened: a quotient of the two says nothing. A session that is opened again loses its end.",
        "Atendimentos encerrados no período, pelo dia do encerramento. Não são os mesmos que os novos: dividir um pelo outro não diz nada. Um atendimento reaberto perde o encerramento.",
    ),
    (
        "Balance of the period",
        "Saldo do período",
        "Opened minus completed.",
        "Novos atendimentos menos finalizados.",
    ),
    (
        "Of those opened, completed",
        "Dos novos, já finalizados",
        "Of the sessions opened in the period, the share that has been completed by now. Still growing if the period ended less than 7 days ago.",
        "Dos atendimentos abertos no período, a parte que já foi finalizada. Ainda cresce se o período terminou há menos de 7 dias.",
    ),
    (
        "Open at the end",
        "Pendentes",
        "Sessions open when the day or period ended. A session that was opened again counts as open for all its life.",
        "Atendimentos abertos no fim do dia ou do período. Um atendimento reaberto conta como aberto durante toda a sua duração.",
    ),
    (
        "Contacts",
        "Contatos atendidos",
        "Distinct contacts of the sessions opened. Cannot be added up over days, agents or tags.",
        "Contatos distintos dos novos atendimentos. Não podem ser somados por dia, atendente ou etiqueta.",
    ),
    (
        "New contacts",
        "Contatos novos",
        "Contacts without an earlier session.",
        "Contatos sem atendimento anterior.",
    ),
    (
        "Wait",
        "TME, tempo médio de espera",
        "The platform's own waiting time of completed sessions, by the day opened. The platform does not say what it counts; see below how it compares with known times.",
        "O tempo de espera da própria plataforma, de atendimentos finalizados, pelo dia de abertura. A plataforma não diz o que conta; veja abaixo como ele se compara com tempos conhecidos.",
    ),
    (
        "First response",
        "Tempo até a 1ª resposta (TMPR)",
        "From the session's creation to the first response, by the day opened. Sessions without a response have none; their share stands beside it. A bot's message may count.",
        "Da criação do atendimento até a 1ª resposta, pelo dia de abertura. Atendimentos sem resposta não entram; a parte deles está ao lado. Uma mensagem do chatbot pode contar.",
    ),
    (
        "Service",
        "TMA, tempo médio de atendimento",
        "The platform's own service time of completed sessions with an agent, by the day ended.",
        "O tempo de atendimento da própria plataforma, de atendimentos finalizados com atendente, pelo dia do encerramento.",
    ),
    (
        "With the agent",
        "Tempo com o atendente",
        "From the first response to the end, by the day ended.",
        "Da 1ª resposta ao encerramento, pelo dia do encerramento.",
    ),
    (
        "From beginning to end",
        "Duração total, do início ao fim",
        "From creation to the end, by the day ended, with bot and waiting.",
        "Da criação ao encerramento, pelo dia do encerramento, com chatbot e espera.",
    ),
    (
        "Median and 90th percentile",
        "Mediana e percentil 90",
        "Half of the values are no greater than the median, nine of ten no greater than the 90th percentile. A dash stands for too few values: less than 3, or 10.",
        "Metade dos valores não passa da mediana; nove em cada dez não passam do percentil 90. Um traço indica valores de menos: abaixo de 3, ou de 10.",
    ),
    (
        "Answered",
        "Atendimentos respondidos",
        "Of the sessions opened in the period that are completed, the share with a first response.",
        "Dos novos atendimentos já finalizados, a parte com 1ª resposta.",
    ),
    (
        "Lost in the queue",
        "Perdidos na fila",
        "Completed without response and without agent, but with a department. Nobody knows who ended it.",
        "Finalizados sem resposta e sem atendente, mas com equipe. Não se sabe quem encerrou.",
    ),
    (
        "Closed without answer",
        "Encerrados sem resposta",
        "Completed with an agent and without a response. Sessions that the company began look the same.",
        "Finalizados com atendente e sem resposta. Atendimentos iniciados pela empresa aparecem aqui também.",
    ),
    (
        "With the bot only",
        "Só com o chatbot",
        "Completed without response, agent and department, but with a bot. That need not mean that the bot resolved it.",
        "Finalizados sem resposta, atendente e equipe, mas com chatbot. Isso não quer dizer que o chatbot resolveu.",
    ),
    (
        "Return in 7 days",
        "Retorno em 7 dias",
        "Of the sessions that ended at least 7 days ago, the share whose contact opened another one within 7 days. An approximation of unresolved matters.",
        "Dos atendimentos encerrados há pelo menos 7 dias, a parte cujo contato abriu outro em até 7 dias. Uma aproximação do que não foi resolvido.",
    ),
    (
        "Win rate; amount won",
        "Taxa de conversão; valor ganho",
        "Won among won and lost, and the amount of those won, by the day ended. The average ticket counts sessions with an amount.",
        "Objetivo atingido entre atingidos e perdidos, e o valor dos atingidos, pelo dia do encerramento. O ticket médio conta atendimentos com valor.",
    ),
    (
        "Agent, department, tag",
        "Atendente, equipe, etiqueta",
        "The last agent and department of a session. Tags are those of the contact when the session was last read; a session with two counts in both rows, so that rows do not add up to a total.",
        "O último atendente e a última equipe do atendimento. As etiquetas são as do contato na última leitura; um atendimento com duas conta nas duas linhas, por isso as linhas não somam um total.",
    ),
];
