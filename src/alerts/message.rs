//! What messages say: a text for people, and JSON for programs.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::condition::{Kind, cut, lasting};
use crate::config::Zone;
use crate::data::{Timestamp, counted, with_causes};
use crate::store::AlertEvent;

/// A message has so many lines at most.
const LINES: usize = 10;

/// Characters of these lines together, and of one of them. Discord refuses texts of more than 2,000.
const LONGEST_TEXT: usize = 1_700;
const LONGEST_LINE: usize = 800;

/// A line of at most so many characters.
fn shortened(line: String, longest: usize) -> String {
    if line.chars().count() <= longest {
        return line;
    }
    let begin: String = line.chars().take(longest - 1).collect();
    format!("{begin}…")
}

/// What happened to one alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The kind of the condition. `None` for a test.
    pub kind: Option<Kind>,
    /// What is told of it.
    pub event: AlertEvent,
    /// The account's name. `None` for the whole database.
    pub account: Option<String>,
    /// What was found, as text.
    pub detail: String,
    /// Since when the condition is there.
    pub since: Timestamp,
    /// When it ended. `None` while it lasts.
    pub until: Option<Timestamp>,
}

/// What is told in one message. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// What happened.
    pub notices: Vec<Notice>,
    /// The machine that tells it.
    pub host: String,
    /// The time zone of the text.
    pub zone: Zone,
    /// When it is told.
    pub now: Timestamp,
}

/// An alert, as programs read it.
#[derive(Serialize)]
struct Told<'a> {
    alert: &'a str,
    event: &'a str,
    account: Option<&'a str>,
    since: Timestamp,
    until: Option<Timestamp>,
    lasted_seconds: u64,
    detail: &'a str,
    text: String,
}

impl Notice {
    /// A message that tries whether messages arrive.
    pub fn test(now: Timestamp) -> Self {
        Self {
            kind: None,
            event: AlertEvent::Test,
            account: None,
            detail: String::new(),
            since: now,
            until: None,
        }
    }

    fn lasted(&self, now: Timestamp) -> Duration {
        self.until.unwrap_or(now).since(self.since)
    }

    /// The name of the condition.
    fn name(&self) -> &'static str {
        self.kind.map_or("test", Kind::as_str)
    }

    /// One line for people.
    fn text(&self, zone: Zone, now: Timestamp) -> String {
        let Some(kind) = self.kind else {
            return "this is a test: alerts arrive here".to_owned();
        };
        let whose = self
            .account
            .as_ref()
            .map_or_else(String::new, |name| format!("account {name}: "));
        let since = zone.show_offset(self.since);
        let lasted = lasting(self.lasted(now));
        match self.event {
            AlertEvent::End => format!(
                "resolved: {whose}{}. It began at {since} and lasted {lasted}",
                over(kind)
            ),
            AlertEvent::Reminder => format!(
                "reminder: {whose}{}. It began at {since}, {lasted} ago",
                self.there(kind)
            ),
            AlertEvent::Begin | AlertEvent::Test => {
                format!("{whose}{}. It began at {since}", self.there(kind))
            }
        }
    }

    /// What is wrong and what to do.
    fn there(&self, kind: Kind) -> String {
        let detail = &self.detail;
        let some = |what: &str| counted(detail.parse().unwrap_or(0), what);
        match kind {
            Kind::Failing => format!(
                "syncs fail: {detail}. run retries by itself; `helena-sync status` shows the errors"
            ),
            Kind::TokenRefused => "the platform refuses the token, so nothing is synced. Create a token \
                 in the account settings, under Integrations > API, and put it in the place of the old one; \
                 then reload run"
                .to_owned(),
            Kind::Behind => format!(
                "the mirror is outdated: {detail}. `helena-sync status` shows what run does"
            ),
            Kind::Rejects => format!(
                "{} could not be stored in the last day; `helena-sync rejects` shows why",
                some("record")
            ),
            Kind::Gaps => format!(
                "the platform counts records that it does not show ({} in the last day). run asks for them \
                 every night; `helena-sync status` shows where",
                some("new gap")
            ),
            Kind::Differences => format!(
                "verifications found {} in the last day, and repaired what they could; `helena-sync \
                 status` shows the runs",
                some("difference")
            ),
            Kind::Disk => format!(
                "the disk of the database is nearly full: {detail} are free. Make room, since without it \
                 nothing more is stored"
            ),
            Kind::Database => format!(
                "the database does not answer: {detail}. Check the database; run retries by itself"
            ),
        }
    }
}

/// What is right again.
fn over(kind: Kind) -> &'static str {
    match kind {
        Kind::Failing => "syncs succeed again",
        Kind::TokenRefused => "the platform accepts the token again",
        Kind::Behind => "the mirror is up to date again",
        Kind::Rejects => "no new record was rejected for a day, or those that were are stored now",
        Kind::Gaps => "no new gap was found for a day, or those that were are closed",
        Kind::Differences => "no verification has found a difference for a day",
        Kind::Disk => "the disk of the database has room again",
        Kind::Database => "the database answers again",
    }
}

impl Group {
    /// A short line, such as the subject of a mail.
    pub fn subject(&self) -> String {
        match self.notices.as_slice() {
            [one] => {
                let whose = one
                    .account
                    .as_ref()
                    .map_or_else(String::new, |name| format!(", account {name}"));
                let (name, event) = (one.name().replace('_', " "), one.event);
                match event {
                    AlertEvent::End => format!("helena-sync: resolved: {name}{whose}"),
                    AlertEvent::Reminder => format!("helena-sync: reminder: {name}{whose}"),
                    AlertEvent::Begin | AlertEvent::Test => format!("helena-sync: {name}{whose}"),
                }
            }
            several => format!("helena-sync: {}", counted(several.len() as u64, "alert")),
        }
    }

    /// The text for people: a line for each alert.
    ///
    /// The character that begins a mention in Slack and Google Chat is replaced: an answer of the platform
    /// may be part of the text.
    pub fn text(&self) -> String {
        let mut lines: Vec<String> = Vec::new();
        let mut room = LONGEST_TEXT;
        for notice in self.notices.iter().take(LINES) {
            let line = notice.text(self.zone, self.now);
            let line = line.replace('<', "‹").replace(char::is_control, " ");
            let line = shortened(line, LONGEST_LINE);
            let length = line.chars().count();
            if length > room {
                break;
            }
            room -= length;
            lines.push(line);
        }
        let more = self.notices.len() - lines.len();
        if more > 0 {
            lines.push(format!("and {more} more; `helena-sync alerts` lists them"));
        }
        match lines.as_slice() {
            [line] => format!("helena-sync on {}: {line}.", self.host),
            lines => format!("helena-sync on {}:\n• {}", self.host, lines.join("\n• ")),
        }
    }

    /// All fields.
    pub fn json(&self) -> Value {
        let alerts: Vec<Told<'_>> = self
            .notices
            .iter()
            .map(|notice| Told {
                alert: notice.name(),
                event: notice.event.as_str(),
                account: notice.account.as_deref(),
                since: notice.since,
                until: notice.until,
                lasted_seconds: notice.lasted(self.now).as_secs(),
                detail: &notice.detail,
                text: notice.text(self.zone, self.now),
            })
            .collect();
        json!({
            "text": self.text(),
            "subject": self.subject(),
            "host": self.host,
            "version": env!("CARGO_PKG_VERSION"),
            "sent_at": self.now,
            "alerts": alerts,
        })
    }
}

/// The words of a failure of the database.
pub(super) fn of_error(error: &dyn std::error::Error) -> String {
    cut(&with_causes(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: u64) -> Timestamp {
        Timestamp::parse("2026-05-04T14:00:00Z").unwrap() + Duration::from_mins(minute)
    }

    fn notice(kind: Kind, event: AlertEvent, detail: &str) -> Notice {
        Notice {
            kind: Some(kind),
            event,
            account: (kind != Kind::Disk && kind != Kind::Database).then(|| "north".to_owned()),
            detail: detail.to_owned(),
            since: at(0),
            until: (event == AlertEvent::End).then(|| at(125)),
        }
    }

    fn group(notices: Vec<Notice>) -> Group {
        Group {
            notices,
            host: "db1".to_owned(),
            zone: Zone::UTC,
            now: at(125),
        }
    }

    #[test]
    fn messages_say_what_happened_and_what_to_do() {
        let kinds = [
            (
                Kind::Failing,
                "tags: GET /core/v1/tag failed after 5 attempts: 503",
            ),
            (Kind::TokenRefused, ""),
            (
                Kind::Behind,
                "sessions was last read 45m ago, and was due 44m ago",
            ),
            (Kind::Rejects, "3"),
            (Kind::Gaps, "1"),
            (Kind::Differences, "12"),
            (Kind::Disk, "1.2 GB of 20.0 GB"),
            (Kind::Database, "no answer within 30s"),
        ];
        let mut texts = Vec::new();
        for event in [AlertEvent::Begin, AlertEvent::End] {
            for (kind, detail) in kinds {
                texts.push(group(vec![notice(kind, event, detail)]).text());
            }
        }
        texts.push(group(vec![notice(Kind::TokenRefused, AlertEvent::Reminder, "")]).text());
        texts.push(group(vec![Notice::test(at(0))]).text());
        insta::assert_snapshot!(texts.join("\n"));
    }

    #[test]
    fn many_alerts_are_one_message() {
        let many = vec![notice(Kind::Gaps, AlertEvent::Begin, "1"); 14];
        let group = group(many);
        let text = group.text();
        // Discord takes no more than 2,000 characters.
        assert!(text.chars().count() <= 2_000);
        let shown = text.lines().count() - 2;
        assert!((5..=LINES).contains(&shown), "{text}");
        let rest = 14 - shown;
        assert!(text.ends_with(&format!("and {rest} more; `helena-sync alerts` lists them")));
        assert_eq!(group.subject(), "helena-sync: 14 alerts");
        assert_eq!(group.json()["alerts"].as_array().unwrap().len(), 14);
    }

    #[test]
    fn no_text_mentions_people_of_a_chat() {
        let text = group(vec![notice(
            Kind::Failing,
            AlertEvent::Begin,
            "tags: <!channel>\n<users/all>",
        )])
        .text();
        assert!(!text.contains('<') && !text.contains('\n'), "{text}");
    }
}
