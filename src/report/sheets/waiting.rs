//! Sheets of volume, waiting times and hours.

use super::{median, p90};
use crate::report::sheet::{Sheet, Value};
use crate::report::words::Words;
use crate::reporting::{Bucket, CLASSES, Classes, Share};

impl Words<'_> {
    /// The head of a column of charts' time.
    pub(in crate::report) const fn bucket(self) -> &'static str {
        let lang = self.lang;
        match self.report.figures.question.bucket {
            Bucket::Day => lang.pick("Day", "Dia"),
            Bucket::Week | Bucket::Month => lang.pick("From", "De"),
        }
    }

    /// Opened, completed and open, in the order of time.
    pub(in crate::report) fn volume(self) -> Sheet {
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
    pub(in crate::report) fn class(self, place: usize) -> String {
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
    pub(in crate::report) fn classes(self) -> Sheet {
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
    pub(in crate::report) fn waiting(self) -> Sheet {
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
    pub(in crate::report) fn hours_sheet(self) -> Sheet {
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
}
