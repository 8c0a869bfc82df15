//! What is known about the platform itself: what was learned about it, and whether it answers.

use std::cmp::Ordering;
use std::time::Duration;

use super::Timestamp;

/// A version of the platform's session list (API notes, 4.1 and 4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SessionVersion {
    /// The older one, which has no field `type` and may omit sessions of groups.
    First,
    /// The preferred one, which is read if it answers.
    Second,
}

impl SessionVersion {
    /// 1 or 2, as in its path.
    pub const fn number(self) -> u8 {
        match self {
            Self::First => 1,
            Self::Second => 2,
        }
    }

    /// The version of a number, if there is one.
    pub const fn of_number(number: i64) -> Option<Self> {
        match number {
            1 => Some(Self::First),
            2 => Some(Self::Second),
            _ => None,
        }
    }

    /// The version that is not this one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

/// What was learned about the platform, to be stored. The default is the usual case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Learned {
    /// The version of the session list that is read, if it is not version 2. It is stored before
    /// any of its sessions, and until a load of all sessions is planned, since it may have omitted
    /// some.
    pub session_list: Option<SessionVersion>,
    /// Whether the token is sent without the word `Bearer`, because the platform accepts only that.
    pub bare_token: bool,
}

/// How many sessions each version of the list counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VersionTotals {
    /// What the first version counts.
    pub first: u64,
    /// What the second version counts.
    pub second: u64,
    /// The version that is read.
    pub in_use: SessionVersion,
}

impl VersionTotals {
    /// The count of the version in use, and that of the other one.
    const fn counts(&self) -> (u64, u64) {
        match self.in_use {
            SessionVersion::First => (self.first, self.second),
            SessionVersion::Second => (self.second, self.first),
        }
    }

    /// Whether the version in use shows fewer sessions than the other one.
    pub const fn lacks(&self) -> bool {
        let (used, other) = self.counts();
        used < other
    }

    /// A message about the difference. `None` if there is none.
    pub fn difference(&self) -> Option<String> {
        let (used, other) = self.counts();
        let version = self.in_use.other().number();
        match used.cmp(&other) {
            Ordering::Equal => None,
            Ordering::Greater => Some(format!("version {version} shows fewer sessions: {other}")),
            Ordering::Less => Some(format!(
                "version {version} shows more sessions: {other}; set api.session_version to {version} to \
                 read them"
            )),
        }
    }
}

/// Whether the platform answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Not known, for example before the first request.
    Unknown,
    /// The last request was answered.
    Answering,
    /// Requests fail and are retried.
    Troubled(Trouble),
}

/// Why requests fail that are retried. Contains neither a token nor a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The base URL.
    pub place: String,
    /// The last failure, in one line, with the platform's own message.
    pub detail: String,
    /// The last failure without the platform's message, for the database: host and kind.
    pub cause: String,
    /// Whether there is no connection at all.
    pub unreachable: bool,
    /// When the first of them failed, by this machine's clock.
    pub since: Timestamp,
    /// How long ago that is, by a monotonic clock.
    pub lasting: Duration,
    /// When the next retry is, if that is known.
    pub next_try: Option<Timestamp>,
    /// Whether a request was answered before the first failure.
    pub answered_before: bool,
}
