//! Results of several accounts: one that fails does not stop the others.

use super::{Context, Exit, Failure};

/// The results of the accounts that a command works on.
pub(super) struct AccountOutcomes<'a> {
    context: &'a Context,
    accounts: usize,
    failed: Vec<Exit>,
    only: Option<Failure>,
}

impl<'a> AccountOutcomes<'a> {
    /// No results yet, for this many accounts.
    pub(super) const fn of(context: &'a Context, accounts: usize) -> Self {
        Self {
            context,
            accounts,
            failed: Vec::new(),
            only: None,
        }
    }

    /// Whether messages must name the account.
    pub(super) const fn several(&self) -> bool {
        self.accounts > 1
    }

    /// Whether no account has failed.
    pub(super) const fn all_well(&self) -> bool {
        self.failed.is_empty()
    }

    /// Whether every account has failed.
    pub(super) const fn all_failed(&self) -> bool {
        self.failed.len() == self.accounts
    }

    /// Records an account's result. With several accounts, prints a failure at once; with one,
    /// keeps it for [`Self::conclude`].
    pub(super) fn record<T>(&mut self, made: Result<T, Failure>) -> Option<T> {
        match made {
            Ok(made) => Some(made),
            Err(failure) => {
                self.failed.push(failure.exit);
                if self.several() {
                    self.context.note_failure(&failure);
                } else {
                    self.only = Some(failure);
                }
                None
            }
        }
    }

    /// The command's result; `exit` is that of the accounts that did not fail.
    pub(super) fn conclude(self, exit: Exit) -> Result<Exit, Failure> {
        match self.only {
            Some(failure) => Err(failure),
            None => Ok(together(&self.failed, self.accounts, exit)),
        }
    }
}

/// The exit status of several accounts: 3 only if the API refuses the token of every account.
pub(super) fn together(failed: &[Exit], accounts: usize, others: Exit) -> Exit {
    if failed.is_empty() {
        return others;
    }
    let refused = failed.iter().all(|exit| *exit == Exit::Refused);
    if refused && (failed.len() == accounts || others == Exit::Refused) {
        Exit::Refused
    } else if failed.contains(&Exit::Usage) {
        Exit::Usage
    } else {
        Exit::Failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_accounts_that_are_all_refused_end_with_3() {
        use Exit::{Done, Failed, Refused, Usage};
        for (failed, others, expected) in [
            (&[][..], Done, Done),
            (&[], Refused, Refused),
            (&[Refused], Done, Failed),
            (&[Refused], Refused, Refused),
            (&[Refused, Refused], Done, Refused),
            (&[Refused, Failed], Done, Failed),
            (&[Refused, Usage], Done, Usage),
        ] {
            let exit = together(failed, 2, others);
            assert_eq!(exit, expected, "{failed:?} {others:?}");
        }
    }
}
