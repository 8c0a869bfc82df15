//! Decides what a failure means for the rest of the pass.

use super::walk::WalkError;
use crate::data::SourceError;
use crate::store::StoreError;

/// Why a run did not end well.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The pages could not be read.
    #[error(transparent)]
    Walk(#[from] WalkError),
    /// The pages could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<SourceError> for RunError {
    fn from(error: SourceError) -> Self {
        Self::Walk(error.into())
    }
}

/// What follows from a failed run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureAction {
    /// The resource could not be read or stored; the others may be.
    NextResource,
    /// Nothing else will work either; the next trigger tries again.
    EndPass,
    /// The operator, or a limit of time or rows, ended it.
    Stop,
    /// Another process has taken over the account.
    LeaseLost,
    /// Nothing of this account will work until somebody changes the configuration or the program, which
    /// are read when the program starts.
    EndAccount,
}

impl RunError {
    /// What follows from it.
    pub fn action(&self) -> FailureAction {
        match self {
            Self::Walk(WalkError::Stopped | WalkError::Paused) => FailureAction::Stop,
            Self::Walk(WalkError::Source(SourceError::Unavailable { .. }) | WalkError::Closed) => {
                FailureAction::EndPass
            }
            Self::Walk(
                WalkError::Unsteady { .. }
                | WalkError::Unfiltered { .. }
                | WalkError::Unpaged { .. }
                | WalkError::Source(
                    SourceError::Refused { .. }
                    | SourceError::NotFound { .. }
                    | SourceError::NotAccepted { .. }
                    | SourceError::Malformed { .. }
                    | SourceError::Ignored { .. },
                ),
            )
            | Self::Store(StoreError::Unfit { .. }) => FailureAction::NextResource,
            Self::Store(StoreError::LeaseLost) => FailureAction::LeaseLost,
            Self::Store(
                StoreError::Unavailable { .. }
                | StoreError::Inconsistent { .. }
                | StoreError::Database { .. },
            ) => FailureAction::EndPass,
            Self::Store(
                StoreError::Url(_)
                | StoreError::SameCompany { .. }
                | StoreError::OtherCompany { .. }
                | StoreError::TooOld { .. }
                | StoreError::TooNew { .. }
                | StoreError::Locked { .. }
                | StoreError::Foreign { .. }
                | StoreError::Altered { .. }
                | StoreError::SharedIds { .. }
                | StoreError::Migrate(_),
            ) => FailureAction::EndAccount,
        }
    }

    /// Whether it is no failure: somebody, or a limit, ended the work.
    pub fn is_stop(&self) -> bool {
        self.action() == FailureAction::Stop
    }

    /// Whether the platform refuses the token for this.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Walk(WalkError::Source(SourceError::Refused { .. }))
        )
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
