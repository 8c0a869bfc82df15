//! Every key of the configuration: name, default, environment variable and meaning.
//!
//! The one list that defaults, the environment, the check for unknown keys and the README's table
//! come from. Must not know what a section does with its values.

use std::fmt::Write;

/// How a key's text from the environment or from a flag becomes a value.
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
    /// Its default as it would be written in the environment; empty if there is none.
    pub default: &'static str,
    /// The variable that sets it, if that is another one than `HELENA_SYNC__SECTION__KEY`.
    own_variable: Option<&'static str>,
    /// The shape of its value.
    pub shape: Shape,
    /// What it means, with units and accepted values.
    pub meaning: &'static str,
}

impl Key {
    /// The environment variable that sets it.
    pub fn variable(&self) -> String {
        self.own_variable.map_or_else(
            || format!("{PREFIX}{}", self.name.to_uppercase().replace('.', "__")),
            str::to_owned,
        )
    }

    /// Looks a key up by its name.
    pub fn find(name: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.name == name)
    }
}

/// What the variables of all keys without a name of their own begin with.
pub const PREFIX: &str = "HELENA_SYNC__";

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
        "The account's token, made in the account settings under Integrations > API. Never printed, logged or stored.",
    ),
    named(
        "api.token_file",
        TOKEN_FILE_VARIABLE,
        "",
        "A file that holds the token, instead of the token itself; readable by its owner only.",
    ),
    named(
        "api.base_url",
        "HELENA_BASE_URL",
        "https://api.helena.run",
        "Where the API answers: https://api.helena.run, https://api.wts.chat, https://api.flw.chat or another brand's host.",
    ),
    key(
        "api.allow_http",
        Shape::Bool,
        "false",
        "Whether plain http is accepted for hosts that are not this machine. The token then travels unencrypted.",
    ),
    key(
        "api.rate_limit.sustained",
        Shape::Text,
        "1000/5m",
        "The platform's lasting limit for the account: requests, a slash, and the time they are counted in.",
    ),
    key(
        "api.rate_limit.burst",
        Shape::Text,
        "200/5s",
        "The platform's short limit for the account, in the same form.",
    ),
    key(
        "api.rate_limit.share",
        Shape::Number,
        "0.9",
        "The part of both limits to use, above 0 and up to 1; the rest is left to other programs that use the account.",
    ),
    key(
        "api.page_size",
        Shape::Integer,
        "100",
        "Records a request, 1 to 100 (the platform's own maximum).",
    ),
    key(
        "api.connect_timeout",
        Shape::Text,
        "10s",
        "How long a connection may take to open.",
    ),
    key(
        "api.read_timeout",
        Shape::Text,
        "30s",
        "How long an answer may stand still.",
    ),
    key(
        "api.request_timeout",
        Shape::Text,
        "2m",
        "How long a request may take as a whole.",
    ),
    named(
        "database.url",
        "DATABASE_URL",
        "sqlite://helena.db",
        "The database: sqlite://FILE or postgres://USER:PASSWORD@HOST/NAME.",
    ),
    key(
        "database.migrate",
        Shape::Bool,
        "true",
        "Whether run, sync and backfill bring the tables up to date by themselves; otherwise that is left to helena-sync migrate.",
    ),
    key(
        "sync.schedule",
        Shape::Text,
        "every 1m",
        "When run makes a pass: every and a length of time, or a cron expression of 5 fields (minute first) or 6 (second first), in timezone.",
    ),
    key(
        "sync.overlap",
        Shape::Text,
        "2m",
        "The longest time after which a change may become visible in the platform's lists; read again by every pass.",
    ),
    key(
        "sync.catalog_interval",
        Shape::Text,
        "15m",
        "How often run reads tags, channels, departments and agents.",
    ),
    key(
        "sync.refresh_open",
        Shape::Text,
        "6h",
        "How often run re-reads the sessions that are still open, for changes that no timestamp shows.",
    ),
    key(
        "sync.include_details",
        Shape::List,
        "AgentDetails,DepartmentsDetails,ContactDetails,ChannelTypeDetails,ClassificationDetails,ChannelDetails",
        "The details requested with sessions. What is not requested is never cleared.",
    ),
    key(
        "sync.resources",
        Shape::List,
        "tags,channels,departments,agents,sessions,contacts",
        "What is mirrored.",
    ),
    key(
        "backfill.concurrency",
        Shape::Integer,
        "4",
        "Pages of a window read at the same time, 1 to 32.",
    ),
    key(
        "backfill.window_pages",
        Shape::Integer,
        "50",
        "Pages a window may have before it is split, 1 to 1000.",
    ),
    key(
        "store.raw",
        Shape::Bool,
        "false",
        "Whether the complete JSON of every record is kept too, in raw_records; about three times the space.",
    ),
    key(
        "verify.schedule",
        Shape::Text,
        "30 3 * * *",
        "When run compares the mirror with the API and repairs it, in the form of sync.schedule; off for never.",
    ),
    key(
        "log.format",
        Shape::Text,
        "text",
        "text for people, json for one JSON object a line. Logs go to stderr.",
    ),
    key(
        "log.level",
        Shape::Text,
        "info",
        "error, warn, info, debug or trace. RUST_LOG, with its finer filters, wins.",
    ),
    key(
        "timezone",
        Shape::Text,
        "local",
        "The time zone of dates, of cron expressions and of what is printed: a name such as America/Sao_Paulo, or local for the machine's.",
    ),
];

/// The keys of an `[[accounts]]` entry; the file only.
pub const ACCOUNT_KEYS: &[(&str, &str)] = &[
    (
        "name",
        "What the account is called in the database, in logs and on the command line: letters, digits, '-', '_' and '.'.",
    ),
    ("base_url", "Its base URL; api.base_url if absent."),
    ("token", "Its token; exactly one of the three token keys."),
    ("token_file", "A file that holds its token."),
    (
        "token_env",
        "The name of the environment variable that holds its token.",
    ),
];

/// The table of all keys, in Markdown: the README holds it word for word.
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
        row(key.name, key.default, &key.variable(), key.meaning);
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
