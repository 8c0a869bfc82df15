//! Sheets of outcomes, reasons, campaigns and tags.

use super::{apart, median};
use crate::report::language::Language;
use crate::report::sheet::{Sheet, Value};
use crate::report::words::Words;
use crate::reporting::{By, Campaign, Key, Row, Share, shortened_rows};

impl Words<'_> {
    /// From opened to won.
    pub(in crate::report) fn funnel(self) -> Sheet {
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
    pub(in crate::report) fn reasons(self) -> Sheet {
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
    pub(in crate::report) fn campaigns(self) -> Sheet {
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
    pub(in crate::report) fn ads(self) -> Sheet {
        let p = |en, pt| self.pick(en, pt);
        let sheet = Sheet::new("ads", p("Ads", "Anúncios"))
            .words("ad", p("Ad", "Anúncio"))
            .words("campaign", p("Campaign", "Campanha"));
        self.brought(sheet, &self.report.figures.ads, |campaign| {
            [campaign.ad.clone(), campaign.campaign.clone()]
        })
    }

    pub(super) fn brought(
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
    pub(in crate::report) fn tags(self) -> Sheet {
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
}
