//! Numbers, times and words in the languages of a report.
//!
//! Must not know which figure a number is.

use std::fmt;
use std::str::FromStr;

use chrono::{Datelike as _, NaiveDate, Timelike as _};
use chrono_tz::Tz;

use crate::data::Timestamp;

/// The language of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Language {
    /// English.
    #[default]
    En,
    /// The Portuguese of Brazil.
    PtBr,
}

impl FromStr for Language {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().replace('_', "-").as_str() {
            "en" => Ok(Self::En),
            "pt-br" | "pt" => Ok(Self::PtBr),
            _ => Err("must be en or pt-BR".to_owned()),
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

const MONTHS_EN: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
const MONTHS_PT: [&str; 12] = [
    "jan", "fev", "mar", "abr", "mai", "jun", "jul", "ago", "set", "out", "nov", "dez",
];
const WEEK_EN: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];
const WEEK_PT: [&str; 7] = [
    "segunda-feira",
    "terça-feira",
    "quarta-feira",
    "quinta-feira",
    "sexta-feira",
    "sábado",
    "domingo",
];
const SHORT_EN: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const SHORT_PT: [&str; 7] = ["seg", "ter", "qua", "qui", "sex", "sáb", "dom"];

/// How far a figure moved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Moved {
    /// By a part of what it was.
    Part(f64),
    /// From one share to another, in parts of 1.
    Points(f64),
}

impl Moved {
    /// The number alone.
    pub const fn value(self) -> f64 {
        match self {
            Self::Part(by) | Self::Points(by) => by,
        }
    }
}

impl Language {
    /// As it is called in HTML and on the command line.
    pub const fn code(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::PtBr => "pt-BR",
        }
    }

    /// One of two texts.
    pub const fn pick<'a>(self, en: &'a str, pt: &'a str) -> &'a str {
        match self {
            Self::En => en,
            Self::PtBr => pt,
        }
    }

    /// One of two texts, by number.
    pub fn plural<'a>(self, n: u64, one: (&'a str, &'a str), many: (&'a str, &'a str)) -> &'a str {
        let (en, pt) = if n == 1 { one } else { many };
        self.pick(en, pt)
    }

    /// `1,234` or `1.234`.
    pub fn count(self, n: u64) -> String {
        self.grouped(&n.to_string())
    }

    fn grouped(self, digits: &str) -> String {
        let mark = self.pick(",", ".");
        let mut text = String::new();
        for (place, digit) in digits.chars().enumerate() {
            if place > 0 && (digits.len() - place).is_multiple_of(3) {
                text.push_str(mark);
            }
            text.push(digit);
        }
        text
    }

    /// A number with so many decimals: `1,234.5` or `1.234,5`.
    pub fn decimal(self, number: f64, decimals: usize) -> String {
        let text = format!("{:.decimals$}", number.abs());
        let (whole, rest) = text.split_once('.').unwrap_or((&text, ""));
        let is_zero = text.bytes().all(|byte| matches!(byte, b'0' | b'.'));
        let sign = if number < 0.0 && !is_zero { "−" } else { "" };
        let whole = self.grouped(whole);
        if rest.is_empty() {
            format!("{sign}{whole}")
        } else {
            format!("{sign}{whole}{}{rest}", self.pick(".", ","))
        }
    }

    /// A share: `87.3%`.
    pub fn share(self, share: f64) -> String {
        let percent = share * 100.0;
        let is_whole = (percent - percent.round()).abs() < 0.05;
        format!("{}%", self.decimal(percent, usize::from(!is_whole)))
    }

    /// An amount: `R$ 1.234,00`.
    pub fn money(self, amount: f64, currency: &str) -> String {
        let symbol = match currency {
            "BRL" => "R$",
            "USD" => "US$",
            "EUR" => "€",
            "GBP" => "£",
            other => other,
        };
        format!("{symbol}\u{a0}{}", self.decimal(amount, 2))
    }

    /// A large amount for a small place: `R$ 12,3 mil`.
    pub fn short_money(self, amount: f64, currency: &str) -> String {
        let symbol = self.money(0.0, currency);
        let symbol = symbol.split('\u{a0}').next().unwrap_or_default();
        let (number, unit) = match amount {
            _ if amount.abs() >= 1e6 => (amount / 1e6, self.pick("M", "\u{a0}mi")),
            _ if amount.abs() >= 1e4 => (amount / 1e3, self.pick("k", "\u{a0}mil")),
            _ => (amount, ""),
        };
        let decimals = usize::from(!unit.is_empty() && number.abs() < 100.0);
        format!("{symbol}\u{a0}{}{unit}", self.decimal(number, decimals))
    }

    /// A duration: `45 s`, `4 min 30 s`, `12 min`, `1 h 04 min`, `3 d 04 h`.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is clamped"
    )]
    pub fn duration(self, seconds: f64) -> String {
        let s = seconds.round().clamp(0.0, 1e12) as u64;
        let (nb, minutes) = ('\u{a0}', (s + 30) / 60);
        if s < 60 {
            format!("{s}{nb}s")
        } else if s < 600 {
            match s % 60 {
                0 => format!("{}{nb}min", s / 60),
                rest => format!("{}{nb}min{nb}{rest:02}{nb}s", s / 60),
            }
        } else if minutes < 60 {
            format!("{minutes}{nb}min")
        } else if minutes < 48 * 60 {
            format!("{}{nb}h{nb}{:02}{nb}min", minutes / 60, minutes % 60)
        } else {
            let hours = (s + 1800) / 3600;
            format!("{}{nb}d{nb}{:02}{nb}h", hours / 24, hours % 24)
        }
    }

    /// A duration on an axis, as short as possible.
    pub fn short_duration(self, seconds: f64) -> String {
        let number = |number: f64| {
            let decimals = usize::from((number - number.round()).abs() > 0.05 && number < 10.0);
            self.decimal(number, decimals)
        };
        if seconds < 60.0 {
            format!("{}\u{a0}s", number(seconds))
        } else if seconds < 3_600.0 {
            format!("{}\u{a0}min", number(seconds / 60.0))
        } else if seconds < 48.0 * 3_600.0 {
            format!("{}\u{a0}h", number(seconds / 3_600.0))
        } else {
            format!("{}\u{a0}d", number(seconds / 86_400.0))
        }
    }

    /// A day: `29 Nov 2026` or `29/11/2026`.
    pub fn date(self, date: NaiveDate) -> String {
        match self {
            Self::En => format!(
                "{} {} {}",
                date.day(),
                MONTHS_EN[date.month0() as usize],
                date.year()
            ),
            Self::PtBr => format!("{:02}/{:02}/{}", date.day(), date.month(), date.year()),
        }
    }

    /// A day without its year: `29 Nov` or `29/11`.
    pub fn short_date(self, date: NaiveDate) -> String {
        match self {
            Self::En => format!("{} {}", date.day(), MONTHS_EN[date.month0() as usize]),
            Self::PtBr => format!("{:02}/{:02}", date.day(), date.month()),
        }
    }

    /// A month: `Nov 2026` or `nov/2026`.
    pub fn month(self, date: NaiveDate) -> String {
        let month = date.month0() as usize;
        match self {
            Self::En => format!("{} {}", MONTHS_EN[month], date.year()),
            Self::PtBr => format!("{}/{}", MONTHS_PT[month], date.year()),
        }
    }

    /// An instant in local time.
    pub fn instant(self, at: Timestamp, zone: Tz) -> String {
        let local = at.to_datetime().with_timezone(&zone);
        format!("{} {}", self.date(local.date_naive()), self.time(at, zone))
    }

    /// The time of day of an instant: `14:32`.
    pub fn time(self, at: Timestamp, zone: Tz) -> String {
        let local = at.to_datetime().with_timezone(&zone);
        format!("{:02}:{:02}", local.hour(), local.minute())
    }

    /// The name of a weekday, Monday first.
    pub fn weekday(self, place: usize) -> &'static str {
        let names = match self {
            Self::En => WEEK_EN,
            Self::PtBr => WEEK_PT,
        };
        names[place % 7]
    }

    /// The same, in three letters.
    pub fn short_weekday(self, place: usize) -> &'static str {
        let names = match self {
            Self::En => SHORT_EN,
            Self::PtBr => SHORT_PT,
        };
        names[place % 7]
    }

    /// How far a figure moved: `▲ 12%`, `▼ 4,2 p.p.`, `=` for hardly.
    pub fn moved(self, moved: Moved) -> String {
        let (by, unit) = match moved {
            Moved::Part(by) => (by, "%"),
            Moved::Points(by) => (by, self.pick(" pts", " p.p.")),
        };
        let percent = by.abs() * 100.0;
        let decimals = usize::from(matches!(moved, Moved::Points(_)) && percent < 10.0);
        let text = self.decimal(percent, decimals);
        if text.bytes().all(|byte| matches!(byte, b'0' | b'.' | b',')) {
            return "=".to_owned();
        }
        let (arrow, sign) = if by < 0.0 {
            ("▼", "−")
        } else {
            ("▲", "+")
        };
        format!("{arrow} {sign}{text}{unit}").replace(' ', "\u{a0}")
    }

    /// Texts with commas and an "and" before the last.
    pub fn listed(self, texts: &[String]) -> String {
        match texts {
            [] => String::new(),
            [one] => one.clone(),
            [most @ .., last] => {
                format!("{} {} {last}", most.join(", "), self.pick("and", "e"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Language::{En, PtBr};

    #[test]
    fn numbers_are_written_as_in_each_language() {
        assert_eq!(En.count(1_234_567), "1,234,567");
        assert_eq!(PtBr.count(1_234_567), "1.234.567");
        assert_eq!(PtBr.decimal(-1_234.56, 1), "−1.234,6");
        assert_eq!(PtBr.decimal(-0.04, 1), "0,0");
        assert_eq!(PtBr.share(0.873), "87,3%");
        assert_eq!(En.share(0.87), "87%");
        assert_eq!(En.share(1.0), "100%");
        assert_eq!(PtBr.money(1_234.0, "BRL"), "R$\u{a0}1.234,00");
        assert_eq!(PtBr.short_money(12_345.0, "BRL"), "R$\u{a0}12,3\u{a0}mil");
        assert_eq!(En.short_money(2_500_000.0, "CHF"), "CHF\u{a0}2.5M");
    }

    #[test]
    fn durations_are_as_long_as_they_need() {
        let shown = |seconds: f64| PtBr.duration(seconds).replace('\u{a0}', " ");
        for (seconds, text) in [
            (0.0, "0 s"),
            (59.4, "59 s"),
            (59.6, "1 min"),
            (270.0, "4 min 30 s"),
            (600.0, "10 min"),
            (3_599.0, "1 h 00 min"),
            (3_840.0, "1 h 04 min"),
            (86_400.0, "24 h 00 min"),
            (273_600.0, "3 d 04 h"),
            (-5.0, "0 s"),
            (f64::INFINITY, "11574074 d 02 h"),
        ] {
            assert_eq!(shown(seconds), text);
        }
    }

    #[test]
    fn days_are_written_as_in_each_language() {
        let day = "2026-11-29".parse().unwrap();
        assert_eq!(En.date(day), "29 Nov 2026");
        assert_eq!(PtBr.date(day), "29/11/2026");
        assert_eq!(PtBr.month(day), "nov/2026");
        assert_eq!(
            PtBr.listed(&["a".into(), "b".into(), "c".into()]),
            "a, b e c"
        );
    }

    #[test]
    fn a_change_has_an_arrow_a_sign_and_a_number() {
        let moved = |moved| PtBr.moved(moved).replace('\u{a0}', " ");
        assert_eq!(moved(Moved::Part(0.124)), "▲ +12%");
        assert_eq!(moved(Moved::Part(-0.124)), "▼ −12%");
        assert_eq!(moved(Moved::Points(-0.042)), "▼ −4,2 p.p.");
        assert_eq!(moved(Moved::Part(0.001)), "=");
    }
}
