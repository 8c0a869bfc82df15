//! The configuration: defaults, then `helena-sync.toml`, then the environment, then flags.
//!
//! Owns every key ([`KEYS`]) and is the only module that reads the environment. It returns only valid
//! values, and refuses others with the file, the key and what is accepted. Each command reads the
//! sections that it needs, so the live lists work without a database and `migrate` without a token.
//! Must not know what the values are used for.

mod accounts;
mod alerts;
mod database;
mod doorbell;
mod http;
mod keys;
mod known;
mod load;
mod local_zone;
mod nearest;
mod report;
mod schedule;
mod secret_file;
mod shown;
#[cfg(test)]
mod tests;
mod values;
mod zone;

use std::io;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::data::RateLimit;

pub use accounts::{AccountConfig, Accounts, DEFAULT_ACCOUNT};
pub use alerts::{ALERT_FORMATS, AlertFormat, Alerts, Webhook};
pub use database::DatabaseUrl;
pub use doorbell::Doorbell;
pub use http::{Http, reachable};
pub use keys::{ACCOUNT_KEYS, CONFIG_VARIABLE, KEYS, Key, PREFIX, Shape, markdown};
pub use load::{BaseUrlSource, Environment, Flag, Settings};
pub use local_zone::LocatedZone;
pub use nearest::nearest;
pub use report::Report;
pub use schedule::{Schedule, ScheduleError};
pub use shown::Shown;
pub use values::{DETAILS, LOG_FORMATS, LOG_LEVELS, LogFormat, duration_of, one_of};
pub use zone::{Edge, UnknownZone, Zone};

/// The file that is read by default, if it exists.
pub const DEFAULT_FILE: &str = "helena-sync.toml";

/// `[api]` without the keys that belong to the accounts.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Api {
    /// Whether plain http is accepted for other hosts than this machine.
    #[serde(deserialize_with = "values::bool")]
    pub allow_http: bool,
    /// The platform's rate limits, and our share of them.
    pub rate_limit: RateLimits,
    /// Records per request, 1 to 100.
    #[serde(deserialize_with = "values::page_size")]
    pub page_size: NonZeroU32,
    /// The only version of the session list to read. `None` reads version 2, or version 1 if
    /// version 2 does not answer.
    #[serde(deserialize_with = "values::session_version")]
    pub session_version: Option<crate::data::SessionVersion>,
    /// Timeout for opening a connection.
    #[serde(deserialize_with = "values::duration")]
    pub connect_timeout: Duration,
    /// Timeout for the next data of an answer.
    #[serde(deserialize_with = "values::duration")]
    pub read_timeout: Duration,
    /// Timeout for a whole request.
    #[serde(deserialize_with = "values::duration")]
    pub request_timeout: Duration,
}

/// `[api.rate_limit]`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct RateLimits {
    /// The long-term limit.
    #[serde(deserialize_with = "values::rate_limit")]
    pub sustained: RateLimit,
    /// The short-term limit.
    #[serde(deserialize_with = "values::rate_limit")]
    pub burst: RateLimit,
    /// The share of both limits to use: above 0, up to 1.
    #[serde(deserialize_with = "values::share")]
    pub share: f64,
}

/// `[database]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Database {
    /// Its address.
    pub url: DatabaseUrl,
    /// Whether commands that write migrate the tables.
    #[serde(deserialize_with = "values::bool")]
    pub migrate: bool,
    /// The schema of the tables in Postgres. It is part of [`Self::url`], too.
    #[serde(default, deserialize_with = "values::schema")]
    pub schema: Option<String>,
    /// Whether tables may be created among those of another program.
    #[serde(deserialize_with = "values::bool")]
    pub shared: bool,
    /// Whether nobody has chosen the address.
    #[serde(skip)]
    pub is_default: bool,
}

impl Database {
    /// A short text that differs from that of any other database, and shows nothing of the address.
    pub fn fingerprint(&self) -> String {
        self.url.fingerprint(self.schema.as_deref())
    }
}

/// `[sync]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Sync {
    /// When the daemon syncs.
    #[serde(deserialize_with = "values::schedule")]
    pub schedule: Schedule,
    /// The longest delay after which a change may appear in the platform's lists.
    #[serde(deserialize_with = "values::duration")]
    pub overlap: Duration,
    /// How often the daemon reads the lists.
    #[serde(deserialize_with = "values::duration")]
    pub catalog_interval: Duration,
    /// How often the daemon re-reads open sessions.
    #[serde(deserialize_with = "values::duration")]
    pub refresh_open: Duration,
    /// Details to request with sessions, in the platform's spelling ([`DETAILS`]).
    #[serde(deserialize_with = "values::details")]
    pub include_details: Vec<&'static str>,
    /// The resources to mirror, parents first. Never empty.
    #[serde(deserialize_with = "values::resources")]
    pub resources: Vec<crate::data::Resource>,
}

/// `[backfill]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Backfill {
    /// How many pages of a window to read at the same time.
    #[serde(deserialize_with = "values::concurrency")]
    pub concurrency: NonZeroU32,
    /// The maximum number of pages of a window.
    #[serde(deserialize_with = "values::window_pages")]
    pub window_pages: NonZeroU32,
}

/// `[store]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Store {
    /// Whether to store the complete JSON of every record, too.
    #[serde(deserialize_with = "values::bool")]
    pub raw: bool,
    /// How long to keep runs: whole days.
    #[serde(deserialize_with = "values::days")]
    pub keep_runs: Duration,
}

/// `[verify]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Verify {
    /// When the daemon compares the mirror with the account. `None` for never.
    #[serde(deserialize_with = "values::schedule_or_off")]
    pub schedule: Option<Schedule>,
}

/// `[log]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Log {
    /// The format of log lines.
    #[serde(deserialize_with = "values::log_format")]
    pub format: LogFormat,
    /// The lowest level to print, unless `RUST_LOG` is set.
    #[serde(deserialize_with = "values::level")]
    pub level: tracing::Level,
}

/// Why the configuration is not usable. All of these are usage errors.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not valid TOML.
    #[error("{}:{line}:{column}: {problem}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// What the parser says.
        problem: String,
    },
    /// An unknown key.
    #[error("{origin}: unknown key {key} ({hint})")]
    UnknownKey {
        /// The file.
        origin: String,
        /// The key as given.
        key: String,
        /// A similar key, or all accepted ones.
        hint: String,
    },
    /// An unknown variable with our prefix.
    #[error(
        "unknown environment variable {variable} (similar: {nearest}, which sets {key}); rename it, or unset it"
    )]
    UnknownVariable {
        /// The variable.
        variable: String,
        /// A similar variable.
        nearest: String,
        /// The key that it sets.
        key: &'static str,
    },
    /// A value that its key does not accept.
    #[error("{origin}: {key}: {problem}")]
    Value {
        /// File, variable or flag.
        origin: String,
        /// The key.
        key: String,
        /// What is wrong with it and what is accepted.
        problem: String,
    },
    /// No token is configured.
    #[error(
        "no API token is configured: set HELENA_API_TOKEN to it, or HELENA_API_TOKEN_FILE to a file that holds it{}; {}",
        hint.as_deref().map(|name| format!(" ({name} is set; did you mean HELENA_API_TOKEN?)")).unwrap_or_default(),
        accounts::WHERE_TOKENS_ARE_MADE
    )]
    NoToken {
        /// A variable that is set and has a similar name.
        hint: Option<String>,
    },
    /// The token is empty.
    #[error(
        "the API token is empty ({origin}): set it to a token; {}",
        accounts::WHERE_TOKENS_ARE_MADE
    )]
    EmptyToken {
        /// Where it comes from.
        origin: String,
    },
    /// The token's variable is not set.
    #[error(
        "the environment variable {variable} is not set; set it to the token of account {account}; {}",
        accounts::WHERE_TOKENS_ARE_MADE
    )]
    NoTokenVariable {
        /// The variable.
        variable: String,
        /// The account.
        account: String,
    },
    /// The token's file cannot be read.
    #[error(
        "cannot read the token file {path} (set by {origin}); create it, or set HELENA_API_TOKEN to the token; {}",
        accounts::WHERE_TOKENS_ARE_MADE
    )]
    TokenFile {
        /// The file.
        path: String,
        /// The key or variable that names it.
        origin: String,
        /// Why.
        source: io::Error,
    },
    /// An account without exactly one token.
    #[error(
        "{origin}: account {account} {problem}; set exactly one of token, token_file and token_env; {}",
        accounts::WHERE_TOKENS_ARE_MADE
    )]
    AccountToken {
        /// The file.
        origin: String,
        /// The account.
        account: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// Both token variables are set.
    #[error("HELENA_API_TOKEN and HELENA_API_TOKEN_FILE are both set: unset one of them")]
    TwoTokens,
    /// One of our variables is not valid UTF-8.
    #[error("the environment variable {0} is not valid UTF-8")]
    NotText(String),
}
