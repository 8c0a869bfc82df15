//! Every key of the configuration: name, default, environment variable and meaning.
//!
//! Defaults, environment variables, the check for unknown keys and the table in
//! `docs/configuration.md` all come from this list. Must not know what a section does with its
//! values.

use std::fmt::Write;

/// How the text of an environment variable or a flag is parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Kept as it is.
    Text,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// `true` or `false`.
    Bool,
    /// Names separated by commas in the environment, an array in the file.
    List,
}

/// A key of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Its name: `section.key`.
    pub name: &'static str,
    /// Its default, as it would be written in the environment. Empty if it has none.
    pub default: &'static str,
    /// The variable that sets it, if its name is not `HELENA_SYNC__SECTION__KEY`.
    own_variable: Option<&'static str>,
    /// The variable that goes before it.
    first_variable: Option<&'static str>,
    /// The shape of its value.
    pub shape: Shape,
    /// Its meaning, with units and accepted values.
    pub meaning: &'static str,
}

impl Key {
    /// The environment variable that sets it.
    pub fn variable(&self) -> String {
        self.own_variable.map_or_else(
            || {
                format!(
                    "{PREFIX}{}",
                    self.name
                        .to_uppercase()
                        .replace('.', "__")
                        .replace('-', "_")
                )
            },
            str::to_owned,
        )
    }

    /// All variables that set it, the one that wins last.
    pub fn variables(&self) -> impl Iterator<Item = String> {
        std::iter::once(self.variable()).chain(self.first_variable.map(str::to_owned))
    }

    /// Whether this variable sets it.
    pub fn is_set_by(&self, variable: &str) -> bool {
        self.first_variable == Some(variable) || self.variable() == variable
    }

    /// Looks a key up by its name.
    pub fn find(name: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.name == name)
    }
}

/// The prefix of the variables of all keys, except those with a variable name of their own.
pub const PREFIX: &str = "HELENA_SYNC__";

/// The variable of the configuration file.
pub const CONFIG_VARIABLE: &str = "HELENA_SYNC_CONFIG";

/// The variable of the token.
pub(super) const TOKEN_VARIABLE: &str = "HELENA_API_TOKEN";
/// The variable of the file that holds the token.
pub(super) const TOKEN_FILE_VARIABLE: &str = "HELENA_API_TOKEN_FILE";

const fn key(
    name: &'static str,
    shape: Shape,
    default: &'static str,
    meaning: &'static str,
) -> Key {
    Key {
        name,
        default,
        own_variable: None,
        first_variable: None,
        shape,
        meaning,
    }
}

const fn named(
    name: &'static str,
    variable: &'static str,
    default: &'static str,
    meaning: &'static str,
) -> Key {
    Key {
        name,
        default,
        own_variable: Some(variable),
        first_variable: None,
        shape: Shape::Text,
        meaning,
    }
}

/// All keys but those of `[[accounts]]`.
pub const KEYS: &[Key] = &[
    named(
        "api.token",
        TOKEN_VARIABLE,
        "",
        "The account's token, created in the account settings under Integrations > API. It is never printed, logged or stored.",
    ),
    named(
        "api.token_file",
        TOKEN_FILE_VARIABLE,
        "",
        "A file that holds the token, instead of api.token. Only its owner should be able to read it.",
    ),
    named(
        "api.base_url",
        "HELENA_BASE_URL",
        "https://api.helena.run",
        "Address of the API: https://api.helena.run, https://api.wts.chat, https://api.flw.chat or another brand's host.",
    ),
    key(
        "api.allow_http",
        Shape::Bool,
        "false",
        "Whether to accept plain http for other hosts than this machine. The token is then sent unencrypted.",
    ),
    key(
        "api.rate_limit.sustained",
        Shape::Text,
        "1000/5m",
        "The platform's long-term rate limit for the account: number of requests, a slash, and the period.",
    ),
    key(
        "api.rate_limit.burst",
        Shape::Text,
        "200/5s",
        "The platform's short-term rate limit for the account, in the same form.",
    ),
    key(
        "api.rate_limit.share",
        Shape::Number,
        "0.9",
        "The share of both rate limits to use, above 0 and up to 1. The rest is left to other programs that use the account.",
    ),
    key(
        "api.page_size",
        Shape::Integer,
        "100",
        "Records per request, 1 to 100 (the platform's maximum).",
    ),
    key(
        "api.session_version",
        Shape::Text,
        "auto",
        "The version of the platform's session list to read: auto reads version 2, or version 1 if version 2 does not answer; 1 or 2 reads only that version. Version 1 has no type and may omit sessions of groups.",
    ),
    key(
        "api.connect_timeout",
        Shape::Text,
        "10s",
        "Timeout for opening a connection.",
    ),
    key(
        "api.read_timeout",
        Shape::Text,
        "30s",
        "Timeout for the next data of an answer.",
    ),
    key(
        "api.request_timeout",
        Shape::Text,
        "2m",
        "Timeout for a whole request.",
    ),
    Key {
        first_variable: Some("HELENA_DATABASE_URL"),
        ..named(
            "database.url",
            "DATABASE_URL",
            "sqlite://helena.db",
            "The database: sqlite://FILE, the path of a file, or postgres://USER:PASSWORD@HOST/NAME. HELENA_DATABASE_URL goes before DATABASE_URL, which other programs read, too.",
        )
    },
    key(
        "database.schema",
        Shape::Text,
        "",
        "The schema of the tables in Postgres, created if it does not exist; the role's search_path if absent.",
    ),
    key(
        "database.shared",
        Shape::Bool,
        "false",
        "Whether to create the tables among those of another program. If false, a database or schema that holds tables of another program is refused.",
    ),
    key(
        "database.migrate",
        Shape::Bool,
        "true",
        "Whether run, sync and backfill migrate the tables. If false, only helena-sync migrate does.",
    ),
    key(
        "sync.schedule",
        Shape::Text,
        "every 1m",
        "When run syncs: every and a duration, or a cron expression of 5 fields (minute first) or 6 fields (second first), in the time zone of timezone.",
    ),
    key(
        "sync.overlap",
        Shape::Text,
        "2m",
        "The longest delay after which a change may appear in the platform's lists. Every sync reads the changes of this time again.",
    ),
    key(
        "sync.catalog_interval",
        Shape::Text,
        "15m",
        "How often run reads the small lists, such as tags and agents.",
    ),
    key(
        "sync.refresh_open",
        Shape::Text,
        "6h",
        "How often run reads open sessions again, to find changes that do not change updatedAt.",
    ),
    key(
        "sync.include_details",
        Shape::List,
        "AgentDetails,DepartmentsDetails,ContactDetails,ChannelTypeDetails,ClassificationDetails,ChannelDetails",
        "The details to request with sessions. Columns of details that are not requested keep their values.",
    ),
    key(
        "sync.resources",
        Shape::List,
        "tags,channels,departments,agents,custom_fields,chatbots,templates,portfolios,office_hours,sessions,contacts",
        "The resources to mirror.",
    ),
    key(
        "backfill.concurrency",
        Shape::Integer,
        "4",
        "How many pages of a window to read at the same time, 1 to 32.",
    ),
    key(
        "backfill.window_pages",
        Shape::Integer,
        "50",
        "The maximum number of pages of a window, 1 to 1000. Larger windows are split.",
    ),
    key(
        "store.raw",
        Shape::Bool,
        "false",
        "Whether to store the complete JSON of every record, too, in raw_records. The database becomes about three times as large.",
    ),
    key(
        "store.keep_runs",
        Shape::Text,
        "90d",
        "How long to keep runs in sync_runs, in days. Runs that found differences, and changes of watermarks by operators, are always kept.",
    ),
    key(
        "verify.schedule",
        Shape::Text,
        "30 3 * * *",
        "When run compares the mirror with the account and repairs it, in the form of sync.schedule; off for never.",
    ),
    key(
        "report.week_starts_on",
        Shape::Text,
        "monday",
        "The weekday on which the weeks of reports begin.",
    ),
    key(
        "report.currency",
        Shape::Text,
        "BRL",
        "The currency in which reports print amounts; the platform's amounts have none.",
    ),
    key(
        "report.stale",
        Shape::Text,
        "3d",
        "After how long without a message an open session counts as forgotten.",
    ),
    key(
        "report.sla_wait",
        Shape::Text,
        "",
        "The longest waiting time that is in time; no target if absent.",
    ),
    key(
        "report.sla_first_response",
        Shape::Text,
        "",
        "The longest time from a session's creation to its first response that is in time; no target if absent.",
    ),
    key(
        "report.sla_service",
        Shape::Text,
        "",
        "The longest service time that is in time; no target if absent.",
    ),
    key(
        "report.sla_resolution",
        Shape::Text,
        "",
        "The longest time from a session's creation to its end that is in time; no target if absent.",
    ),
    key(
        "report.hours.mon-fri",
        Shape::List,
        "",
        "When the company attends from Monday to Friday, in timezone: intervals such as 08:00-12:00, at most up to 24:00. A day that is not named is closed; without any day there are no open hours.",
    ),
    key(
        "report.hours.mon",
        Shape::List,
        "",
        "The same of Mondays, instead of mon-fri.",
    ),
    key("report.hours.tue", Shape::List, "", "The same of Tuesdays."),
    key(
        "report.hours.wed",
        Shape::List,
        "",
        "The same of Wednesdays.",
    ),
    key(
        "report.hours.thu",
        Shape::List,
        "",
        "The same of Thursdays.",
    ),
    key("report.hours.fri", Shape::List, "", "The same of Fridays."),
    key(
        "report.hours.sat",
        Shape::List,
        "",
        "The same of Saturdays.",
    ),
    key("report.hours.sun", Shape::List, "", "The same of Sundays."),
    key(
        "report.hours.holidays",
        Shape::List,
        "",
        "Days on which nobody attends: dates, each with its name behind it or not.",
    ),
    key(
        "http.listen",
        Shape::Text,
        "127.0.0.1:9464",
        "Where run serves its status page, health and metrics: an IP address and a port; off for nowhere. Any address that is not loopback needs a token.",
    ),
    key(
        "http.token",
        Shape::Text,
        "",
        "The token that readers of the status page and the metrics must send, at least 16 characters. It is never printed, logged or stored.",
    ),
    key(
        "http.token_file",
        Shape::Text,
        "",
        "A file that holds this token, instead of http.token.",
    ),
    key(
        "alerts.webhook",
        Shape::Text,
        "",
        "The address to which run posts alerts as JSON, such as an incoming webhook of Slack or Google Chat. It is a secret: only its host is ever printed.",
    ),
    key(
        "alerts.webhook_file",
        Shape::Text,
        "",
        "A file that holds this address, instead of alerts.webhook.",
    ),
    key(
        "alerts.format",
        Shape::Text,
        "auto",
        "What is posted: json for all fields, text for the field text alone, auto for text to the hosts of Slack, Google Chat and Discord, and for json to all others.",
    ),
    key(
        "alerts.command",
        Shape::Text,
        "",
        "A command that the shell runs for each alert, with the alert as JSON on its standard input.",
    ),
    key(
        "alerts.failing_after",
        Shape::Text,
        "30m",
        "How long syncs fail, or the database does not answer, before an alert begins.",
    ),
    key(
        "alerts.max_lag",
        Shape::Text,
        "30m",
        "How much later than its schedule a resource may be read before an alert begins.",
    ),
    key(
        "alerts.disk_percent",
        Shape::Integer,
        "10",
        "An alert begins if less than this share of the disk of the SQLite database is free, in percent, 1 to 99.",
    ),
    key(
        "doorbell.listen",
        Shape::Text,
        "off",
        "Where run hears the platform's calls: an IP address and a port, behind a proxy with TLS; off for nowhere. See docs/doorbell.md.",
    ),
    key(
        "doorbell.secret",
        Shape::Text,
        "",
        "The secret from which the addresses are made that the platform calls, at least 32 characters. It is never printed, logged or stored.",
    ),
    key(
        "doorbell.secret_file",
        Shape::Text,
        "",
        "A file that holds this secret, instead of doorbell.secret.",
    ),
    key(
        "log.format",
        Shape::Text,
        "text",
        "Format of log lines: text, or json for one JSON object on each line. Logs go to stderr.",
    ),
    key(
        "log.level",
        Shape::Text,
        "info",
        "The lowest level of log lines to print: error, warn, info, debug or trace. RUST_LOG overrides it.",
    ),
    key(
        "timezone",
        Shape::Text,
        "local",
        "The time zone of dates, cron expressions, printed times and log lines: a name such as America/Sao_Paulo, or local for that of TZ, else the machine's.",
    ),
];

/// The keys of an `[[accounts]]` entry. Only the file can set them.
pub const ACCOUNT_KEYS: &[(&str, &str)] = &[
    (
        "name",
        "The account's name in the database, in logs and on the command line: letters, digits, '-', '_' and '.'.",
    ),
    ("base_url", "Its base URL. The default is api.base_url."),
    (
        "token",
        "Its token. Set exactly one of the three token keys.",
    ),
    ("token_file", "A file that holds its token."),
    (
        "token_env",
        "The name of the environment variable that holds its token.",
    ),
];

/// The table of all keys in Markdown. `docs/configuration.md` contains it word for word.
pub fn markdown() -> String {
    let mut text = String::from("| key | default | variable | meaning |\n|---|---|---|---|\n");
    let mut row = |name: &str, default: &str, variable: &str, meaning: &str| {
        let code = |text: &str| {
            if text.is_empty() {
                String::new()
            } else {
                format!("`{text}`")
            }
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| `{name}` | {} | {} | {meaning} |",
            code(default),
            code(variable)
        );
    };
    for key in KEYS {
        let mut variables: Vec<String> = key.variables().collect();
        variables.reverse();
        row(key.name, key.default, &variables.join("`, `"), key.meaning);
    }
    for (name, meaning) in ACCOUNT_KEYS {
        row(&format!("accounts.{name}"), "", "", meaning);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_row_for_every_key() {
        let text = markdown();
        assert_eq!(text.lines().count(), 2 + KEYS.len() + ACCOUNT_KEYS.len());
        assert!(text.contains("| `api.page_size` | `100` | `HELENA_SYNC__API__PAGE_SIZE` | "));
        assert!(
            text.lines()
                .all(|line| line.matches(" | ").count() == 3 || line.starts_with("|---"))
        );
    }
}
