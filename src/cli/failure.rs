//! Failures of commands, their exit statuses and their messages.
//!
//! Only this module maps errors to exit statuses.

#![warn(
    clippy::wildcard_enum_match_arm,
    reason = "each layer decides about every case of a failure"
)]

use std::fmt::Write;
use std::io;
use std::process::ExitCode;

use crate::api::{BaseUrlError, ClientError, TokenError};
use crate::config::ConfigError;
use crate::data::{SourceError, without_os_numbers};
use crate::store::StoreError;
use crate::sync::RunError;
use crate::telemetry::TelemetryError;

/// The exit status of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: everything was done.
    Done,
    /// 1: something failed.
    Failed,
    /// 2: wrong usage or configuration.
    Usage,
    /// 3: the API refuses the token.
    Refused,
}

impl Exit {
    /// The number that the shell sees.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Refused => 3,
        }
    }

    /// That of a failed request.
    pub(super) const fn of_source(error: &SourceError) -> Self {
        match error {
            SourceError::Refused { .. } => Self::Refused,
            SourceError::NotFound { .. }
            | SourceError::NotAccepted { .. }
            | SourceError::Unavailable { .. }
            | SourceError::Malformed { .. }
            | SourceError::Ignored { .. } => Self::Failed,
        }
    }

    /// That of a failure of the store.
    pub(super) const fn of_store(error: &StoreError) -> Self {
        match error {
            StoreError::Url(_)
            | StoreError::Encoding { .. }
            | StoreError::Pooler { .. }
            | StoreError::Parameter { .. }
            | StoreError::SameCompany { .. }
            | StoreError::OtherCompany { .. } => Self::Usage,
            StoreError::TooOld { .. }
            | StoreError::TooNew { .. }
            | StoreError::Locked { .. }
            | StoreError::Replaced { .. }
            | StoreError::Foreign { .. }
            | StoreError::Altered { .. }
            | StoreError::SharedIds { .. }
            | StoreError::Certificate { .. }
            | StoreError::OldLog { .. }
            | StoreError::LeaseLost
            | StoreError::Unavailable { .. }
            | StoreError::Inconsistent { .. }
            | StoreError::Unfit { .. }
            | StoreError::Database { .. }
            | StoreError::Migrate(_) => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command failed, with its exit status.
#[derive(Debug)]
pub struct Failure {
    /// The exit status.
    pub exit: Exit,
    /// What happened, with its causes as sources.
    pub error: anyhow::Error,
}

impl Failure {
    /// A mistake in the command line or the configuration.
    pub fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self {
            exit: Exit::Usage,
            error: error.into(),
        }
    }

    /// A usage error with this text.
    pub fn usage_text(text: impl Into<String>) -> Self {
        Self::usage(anyhow::Error::msg(text.into()))
    }

    /// Any other failure.
    pub fn failed(error: impl Into<anyhow::Error>) -> Self {
        Self {
            exit: Exit::Failed,
            error: error.into(),
        }
    }

    /// Adds what the program was doing.
    #[must_use]
    pub fn context(self, doing: impl Into<String>) -> Self {
        Self {
            exit: self.exit,
            error: self.error.context(doing.into()),
        }
    }

    /// Whether the output was closed by its reader, as in `helena-sync tags | head`.
    pub fn is_closed_pipe(&self) -> bool {
        self.error.chain().any(|cause| {
            cause
                .downcast_ref::<io::Error>()
                .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
        })
    }

    /// Whether the command was stopped, by a signal or by a limit of its own.
    pub fn is_stop(&self) -> bool {
        self.error.chain().any(|cause| {
            cause
                .downcast_ref::<RunError>()
                .is_some_and(|error| matches!(error, RunError::Stopped))
        })
    }

    /// The printed form: one line for the failure and one for each cause.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (index, cause) in self.causes().iter().enumerate() {
            let start = if index == 0 { "error: " } else { "  because: " };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{start}{}", cause.trim_end().replace('\n', "\n  "));
        }
        text
    }

    /// The logged form: the failure and its causes on one line.
    pub fn line(&self) -> String {
        let causes: Vec<String> = self
            .causes()
            .iter()
            .map(|cause| cause.trim_end().replace('\n', " "))
            .collect();
        causes.join(": ")
    }

    /// The failure and its causes, without repetitions.
    fn causes(&self) -> Vec<String> {
        let mut said: Vec<String> = Vec::new();
        for cause in self.error.chain() {
            let cause = without_os_numbers(&cause.to_string());
            // Some libraries repeat the text of their source in their own.
            if !cause.is_empty() && !said.iter().any(|before| before.contains(&cause)) {
                said.push(cause);
            }
        }
        said
    }
}

impl AsRef<anyhow::Error> for Failure {
    fn as_ref(&self) -> &anyhow::Error {
        &self.error
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::usage(error)
    }
}

impl From<BaseUrlError> for Failure {
    fn from(error: BaseUrlError) -> Self {
        Self::usage(error)
    }
}

impl From<TokenError> for Failure {
    fn from(error: TokenError) -> Self {
        Self::usage(error)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::usage(error)
    }
}

impl From<TelemetryError> for Failure {
    fn from(error: TelemetryError) -> Self {
        Self::usage(error)
    }
}

impl From<super::DateError> for Failure {
    fn from(error: super::DateError) -> Self {
        Self::usage(error)
    }
}

impl From<super::NameError> for Failure {
    fn from(error: super::NameError) -> Self {
        Self::usage(error)
    }
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        Self {
            exit: Exit::of_source(&error),
            error: error.into(),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self {
            exit: Exit::of_store(&error),
            error: error.into(),
        }
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Source(error) => error.into(),
            RunError::Store(error) => error.into(),
            RunError::Unsteady { .. }
            | RunError::Unfiltered { .. }
            | RunError::Unpaged { .. }
            | RunError::Stopped
            | RunError::Paused
            | RunError::Closed => Self::failed(error),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::failed(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> SourceError {
        SourceError::Refused {
            request: "GET /core/v1/tag".into(),
            status: 401,
            detail: "Unauthorized".into(),
        }
    }

    #[test]
    fn a_failure_is_one_line_and_one_for_each_cause() {
        let failure = Failure::from(refused()).context("cannot list tags");
        assert_eq!(failure.exit, Exit::Refused);
        assert_eq!(
            failure.text(),
            "error: cannot list tags\n  because: GET /core/v1/tag was refused with 401: Unauthorized\n"
        );
        assert_eq!(
            failure.line(),
            "cannot list tags: GET /core/v1/tag was refused with 401: Unauthorized"
        );
    }

    #[test]
    fn a_cause_that_was_said_already_is_not_repeated() {
        let inner = anyhow::anyhow!("disk full");
        let failure = Failure::failed(inner.context("cannot write: disk full"));
        assert_eq!(failure.text(), "error: cannot write: disk full\n");
    }

    #[test]
    fn a_closed_pipe_is_recognised() {
        let error = io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(Failure::from(error).is_closed_pipe());
        assert!(!Failure::usage_text("no").is_closed_pipe());
    }
}
