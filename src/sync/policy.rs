//! The error of a run, and what it means for the rest of the pass.

use crate::data::{SourceError, Stream};
use crate::store::StoreError;

/// Why a run did not succeed. Everything that was stored before remains correct.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A request failed.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A range kept changing: every attempt showed other records.
    #[error(
        "{stream} between {after} and {before} could not be read completely in {attempts} \
         attempts; the last one: {last}"
    )]
    Unsteady {
        /// Which stream.
        stream: Stream,
        /// Beginning of the range.
        after: String,
        /// End of the range.
        before: String,
        /// How often it was read.
        attempts: u32,
        /// The problem of the last attempt.
        last: String,
    },
    /// The server ignores a filter.
    #[error("the server ignores the filter by which {stream} are read")]
    Unfiltered {
        /// Which stream.
        stream: Stream,
    },
    /// The server answers every request with the first page.
    #[error("the server ignores PageNumber: page {number} of {stream} is the first page again")]
    Unpaged {
        /// Which stream.
        stream: Stream,
        /// The requested page.
        number: u32,
    },
    /// The operator or a limit of time or rows stopped it.
    #[error("stopped early")]
    Stopped,
    /// A portion of long work is done. The rest follows after the next pass.
    #[error("continues after the next sync")]
    Paused,
    /// The writer has failed, and reports the cause.
    #[error("the pages could not be stored")]
    Closed,
}

/// What follows from a failed run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureAction {
    /// This resource could not be read or stored. Other resources may succeed.
    NextResource,
    /// No other resource can succeed either. The next trigger retries.
    EndPass,
    /// The operator, or a limit of time or rows, ended it.
    Stop,
    /// Another process has taken over the account.
    LeaseLost,
    /// No work on this account can succeed until somebody changes the configuration or the program. Both are
    /// only read when the program starts.
    EndAccount,
}

impl RunError {
    /// What follows from this error.
    pub fn action(&self) -> FailureAction {
        match self {
            Self::Source(error) => after_source(error),
            Self::Store(error) => after_store(error),
            Self::Unsteady { .. } | Self::Unfiltered { .. } | Self::Unpaged { .. } => {
                FailureAction::NextResource
            }
            Self::Stopped | Self::Paused => FailureAction::Stop,
            Self::Closed => FailureAction::EndPass,
        }
    }

    /// Whether this is not a failure: the operator, a limit or the end of a portion ended the work.
    pub fn is_stop(&self) -> bool {
        self.action() == FailureAction::Stop
    }

    /// Whether the platform refuses the token for the requested resource.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Source(SourceError::Refused { .. }))
    }

    /// The error and its causes in one line.
    pub fn line(&self) -> String {
        let mut line = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let text = error.to_string();
            if !line.contains(&text) {
                line = format!("{line}: {text}");
            }
            cause = error.source();
        }
        line
    }
}

fn after_source(error: &SourceError) -> FailureAction {
    match error {
        SourceError::Unavailable { .. } => FailureAction::EndPass,
        SourceError::Refused { .. }
        | SourceError::NotFound { .. }
        | SourceError::NotAccepted { .. }
        | SourceError::Malformed { .. }
        | SourceError::Ignored { .. } => FailureAction::NextResource,
    }
}

fn after_store(error: &StoreError) -> FailureAction {
    match error {
        StoreError::Unfit { .. } => FailureAction::NextResource,
        StoreError::Unavailable { .. }
        | StoreError::Certificate { .. }
        | StoreError::Inconsistent { .. }
        | StoreError::Database { .. } => FailureAction::EndPass,
        StoreError::LeaseLost => FailureAction::LeaseLost,
        StoreError::Url(_)
        | StoreError::SameCompany { .. }
        | StoreError::OtherCompany { .. }
        | StoreError::TooOld { .. }
        | StoreError::TooNew { .. }
        | StoreError::Locked { .. }
        | StoreError::Replaced { .. }
        | StoreError::Foreign { .. }
        | StoreError::Altered { .. }
        | StoreError::SharedIds { .. }
        | StoreError::Encoding { .. }
        | StoreError::Pooler { .. }
        | StoreError::Parameter { .. }
        | StoreError::OldLog { .. }
        | StoreError::Migrate(_) => FailureAction::EndAccount,
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_row_that_was_made_wrongly_says_nothing_of_the_other_resources() {
        let unfit = StoreError::Unfit {
            table: "sessions",
            key: Uuid::nil(),
            problem: "has 1 value for 2 columns".to_owned(),
        };
        assert_eq!(RunError::from(unfit).action(), FailureAction::NextResource);
    }
}
