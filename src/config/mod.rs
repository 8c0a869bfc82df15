//! The configuration: defaults, then `helena-sync.toml`, then the environment, then flags.
//!
//! Owns every key ([`KEYS`]) and is the only reader of the environment. Whatever leaves this
//! module is valid; what is not is refused with file, key and what is accepted. A command takes
//! the sections that it needs, so that the live lists work without a database and `migrate`
//! without a token. Must not know what the values are used for.

mod accounts;
mod database;
mod keys;
mod known;
mod load;
mod nearest;
mod schedule;
#[cfg(test)]
mod tests;
mod values;
mod zone;

use std::io;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

pub use accounts::{Account, Accounts, DEFAULT_ACCOUNT};
pub use database::DatabaseUrl;
pub use keys::{ACCOUNT_KEYS, KEYS, Key, PREFIX, Shape, markdown};
pub use load::{Environment, Flag, Settings};
pub use nearest::nearest;
pub use schedule::{Schedule, ScheduleError};
pub use values::{DETAILS, LogFormat, Rate, duration_of, one_of};
pub use zone::{Edge, UnknownZone, Zone};

/// The file that is read if there is one and no other is named.
pub const DEFAULT_FILE: &str = "helena-sync.toml";

/// `[api]` without what belongs to the accounts.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Api {
    /// Whether plain http is accepted for hosts that are not this machine.
    #[serde(deserialize_with = "values::bool")]
    pub allow_http: bool,
    /// The platform's limits, and our part of them.
    pub rate_limit: RateLimit,
    /// Records a request, 1 to 100.
    #[serde(deserialize_with = "values::page_size")]
    pub page_size: NonZeroU32,
    /// How long a connection may take to open.
    #[serde(deserialize_with = "values::duration")]
    pub connect_timeout: Duration,
    /// How long an answer may stand still.
    #[serde(deserialize_with = "values::duration")]
    pub read_timeout: Duration,
    /// How long a request may take as a whole.
    #[serde(deserialize_with = "values::duration")]
    pub request_timeout: Duration,
}

/// `[api.rate_limit]`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct RateLimit {
    /// The lasting limit.
    #[serde(deserialize_with = "values::rate")]
    pub sustained: Rate,
    /// The short limit.
    #[serde(deserialize_with = "values::rate")]
    pub burst: Rate,
    /// The part of both that is used: above 0, up to 1.
    #[serde(deserialize_with = "values::share")]
    pub share: f64,
}

/// `[database]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Database {
    /// Where it is.
    pub url: DatabaseUrl,
    /// Whether commands that write bring the tables up to date by themselves.
    #[serde(deserialize_with = "values::bool")]
    pub migrate: bool,
}

/// `[sync]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Sync {
    /// When the daemon makes a pass.
    #[serde(deserialize_with = "values::schedule")]
    pub schedule: Schedule,
    /// The longest time after which a change may become visible.
    #[serde(deserialize_with = "values::duration")]
    pub overlap: Duration,
    /// How often the daemon reads the lists.
    #[serde(deserialize_with = "values::duration")]
    pub catalog_interval: Duration,
    /// How often the daemon re-reads open sessions.
    #[serde(deserialize_with = "values::duration")]
    pub refresh_open: Duration,
    /// Details requested with sessions, spelt as the platform spells them ([`DETAILS`]).
    #[serde(deserialize_with = "values::details")]
    pub include_details: Vec<&'static str>,
    /// What is mirrored, parents first; at least one.
    #[serde(deserialize_with = "values::resources")]
    pub resources: Vec<crate::data::Resource>,
}

/// `[backfill]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Backfill {
    /// Pages of a window read at the same time.
    #[serde(deserialize_with = "values::concurrency")]
    pub concurrency: NonZeroU32,
    /// Pages a window may have before it is split.
    #[serde(deserialize_with = "values::window_pages")]
    pub window_pages: NonZeroU32,
}

/// `[store]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Store {
    /// Whether the complete JSON of every record is kept too.
    #[serde(deserialize_with = "values::bool")]
    pub raw: bool,
}

/// `[verify]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Verify {
    /// When the daemon compares the mirror with the API; `None` for never.
    #[serde(deserialize_with = "values::schedule_or_off")]
    pub schedule: Option<Schedule>,
}

/// `[log]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Log {
    /// How a line looks.
    #[serde(deserialize_with = "values::log_format")]
    pub format: LogFormat,
    /// The least severe lines shown, unless `RUST_LOG` says otherwise.
    #[serde(deserialize_with = "values::level")]
    pub level: tracing::Level,
}

/// Why the configuration cannot be used. All of these are usage errors.
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
    /// The file is no TOML.
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
    /// A key that means nothing.
    #[error("{origin}: unknown key {key} ({hint})")]
    UnknownKey {
        /// The file.
        origin: String,
        /// The key as given.
        key: String,
        /// What was probably meant, or what there is.
        hint: String,
    },
    /// A variable with our prefix that means nothing.
    #[error("unknown environment variable {variable} (nearest: {nearest}, which sets {key})")]
    UnknownVariable {
        /// The variable.
        variable: String,
        /// What was probably meant.
        nearest: String,
        /// The key that it sets.
        key: &'static str,
    },
    /// A value that its key cannot have.
    #[error("{origin}: {key}: {problem}")]
    Value {
        /// File, variable or flag.
        origin: String,
        /// The key.
        key: String,
        /// What is wrong with it and what is accepted.
        problem: String,
    },
    /// No token at all.
    #[error(
        "no API token: set HELENA_API_TOKEN, or HELENA_API_TOKEN_FILE to a file that holds it{}; {}",
        hint.as_deref().map(|name| format!(" ({name} is set: was HELENA_API_TOKEN meant?)")).unwrap_or_default(),
        accounts::WHERE_TOKENS_ARE_MADE
    )]
    NoToken {
        /// A variable that is set and looks alike.
        hint: Option<String>,
    },
    /// The token is empty.
    #[error(
        "the API token is empty ({origin}): set HELENA_API_TOKEN to it; {}",
        accounts::WHERE_TOKENS_ARE_MADE
    )]
    EmptyToken {
        /// Where it came from.
        origin: String,
    },
    /// The token's variable is not set.
    #[error(
        "the environment variable {variable}, which should hold the token of account {account}, is not set; {}",
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
        "cannot read the token file {path} (named by {origin}; the token itself could be given as HELENA_API_TOKEN; {})",
        accounts::WHERE_TOKENS_ARE_MADE
    )]
    TokenFile {
        /// The file.
        path: String,
        /// What names it.
        origin: String,
        /// Why.
        source: io::Error,
    },
    /// An account without exactly one token.
    #[error(
        "{origin}: account {account} {problem}: give exactly one of token, token_file and token_env; {}",
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
    /// Two variables that exclude each other.
    #[error("HELENA_API_TOKEN and HELENA_API_TOKEN_FILE are both set: unset one of them")]
    TwoTokens,
    /// A variable of ours that is no text.
    #[error("the environment variable {0} is not valid UTF-8")]
    NotText(String),
}
