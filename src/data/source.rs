//! The interface between the sync engine and the platform.

use std::future::Future;

use uuid::Uuid;

use super::{Learned, Page, PageQuery, Resource, Standing, Subscription, VersionTotals};

/// How much a source was used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Requests sent, retries included.
    pub requests: u64,
    /// Retries after a failure.
    pub retries: u64,
}

/// A source of records: the platform's API, or a model of it in a test.
///
/// A source retries and keeps the platform's rate limits by itself. An error that reaches the
/// caller is final for this pass. Dropping one of its futures cancels the request.
pub trait Source: Send + Sync {
    /// One page of a stream.
    fn page(&self, query: &PageQuery) -> impl Future<Output = Result<Page, SourceError>> + Send;

    /// A complete list, as one page.
    fn list(&self, resource: Resource) -> impl Future<Output = Result<Page, SourceError>> + Send;

    /// One record by its id, as a page of one record. If the server says that it does not exist,
    /// the page is empty.
    fn by_id(
        &self,
        resource: Resource,
        id: Uuid,
    ) -> impl Future<Output = Result<Page, SourceError>> + Send;

    /// How much it was used so far.
    fn usage(&self) -> Usage;

    /// What it learned about the platform, to be stored for later processes.
    fn learned(&self) -> Learned {
        Learned::default()
    }

    /// Whether the platform answers.
    fn standing(&self) -> Standing {
        Standing::Unknown
    }

    /// How many sessions each version of the list counts. Sends one request for each version, and
    /// one more if the counts differ, since a session may have been created in between. `None`
    /// unless both versions answer and count. An error says nothing about the version that is read.
    ///
    /// Each verification calls it once. [`VersionTotals::difference`] is the message, and
    /// [`VersionTotals::lacks`] says whether the mirror lacks sessions because of it.
    fn session_totals(
        &self,
    ) -> impl Future<Output = Result<Option<VersionTotals>, SourceError>> + Send {
        async { Ok(None) }
    }

    /// The account's subscriptions of webhooks.
    fn subscriptions(&self) -> impl Future<Output = Result<Vec<Subscription>, SourceError>> + Send {
        async { Ok(Vec::new()) }
    }
}

/// Why a request failed. Every message names the request as `GET /path`, without its parameters, and
/// never contains a token or a body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// 401 or 403: the token may not read this, or is not valid.
    #[error("{request} was refused with {status}: {detail}")]
    Refused {
        /// Method and path.
        request: String,
        /// The HTTP status.
        status: u16,
        /// The platform's own words.
        detail: String,
    },
    /// 404 or 410: the path or record does not exist.
    #[error("{request} does not exist ({status}): {detail}")]
    NotFound {
        /// Method and path.
        request: String,
        /// The HTTP status.
        status: u16,
        /// The platform's own words.
        detail: String,
    },
    /// Another 4xx, or a repeated 500: the platform does not accept the request.
    #[error("{request} was not accepted ({status}): {detail}")]
    NotAccepted {
        /// Method and path.
        request: String,
        /// The HTTP status.
        status: u16,
        /// The platform's own words.
        detail: String,
    },
    /// No connection, or the platform is down or limits requests for too long to wait.
    #[error("{request} failed{}: {detail}", after(*attempts))]
    Unavailable {
        /// Method and path.
        request: String,
        /// The number of attempts.
        attempts: u32,
        /// What happened last.
        detail: String,
    },
    /// The answer does not follow the contract.
    #[error("{request} had an unreadable answer{}: {detail}", after(*attempts))]
    Malformed {
        /// Method and path.
        request: String,
        /// The number of attempts.
        attempts: u32,
        /// What came instead.
        detail: String,
    },
    /// The platform ignores a parameter without which nothing can be read completely.
    #[error("{request} ignores {parameter}: {detail}")]
    Ignored {
        /// Method and path.
        request: String,
        /// The parameter.
        parameter: &'static str,
        /// What was requested and what came.
        detail: String,
    },
}

impl SourceError {
    /// Whether this is the text of a [`Self::Refused`]. Of a failed run, the text is all that is stored.
    pub fn is_refusal(text: &str) -> bool {
        text.split_once(" was refused with ")
            .is_some_and(|(request, rest)| {
                request.split(' ').count() == 2
                    && ["401: ", "403: "]
                        .iter()
                        .any(|status| rest.starts_with(status))
            })
    }
}

/// The number of attempts, as text. Empty if there was none.
fn after(attempts: u32) -> String {
    match attempts {
        0 => String::new(),
        1 => " at the first attempt".to_owned(),
        more => format!(" after {more} attempts"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_refusal_is_known_and_no_other_one_is() {
        let (request, detail) = ("GET /core/v1/tag".to_owned(), "Acesso negado".to_owned());
        for status in [401, 403] {
            let (request, detail) = (request.clone(), detail.clone());
            let refused = SourceError::Refused {
                request,
                status,
                detail,
            };
            assert!(SourceError::is_refusal(&refused.to_string()));
        }
        let absent = SourceError::NotFound {
            request,
            status: 404,
            detail: "GET /core/v1/tag was refused with 401: no".to_owned(),
        };
        assert!(!SourceError::is_refusal(&absent.to_string()));
        assert!(!SourceError::is_refusal(""));
    }
}
