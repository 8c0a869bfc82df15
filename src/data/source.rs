//! The seam between the engine and whatever answers its questions.

use std::future::Future;

use uuid::Uuid;

use super::{Page, PageQuery, Resource};

/// How much a source was used since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Requests sent, repeated ones included.
    pub requests: u64,
    /// Requests sent again after a failure.
    pub retries: u64,
}

/// Something that lists records: the platform's API, or a model of it in a test.
///
/// A source retries what can be retried and keeps the platform's limits by itself; an error that
/// reaches the caller is final for this pass. Dropping a future of it abandons the request.
pub trait Source: Send + Sync {
    /// One page of a stream.
    fn page(&self, query: &PageQuery) -> impl Future<Output = Result<Page, SourceError>> + Send;

    /// A list, whole; its page has no further ones.
    fn list(&self, resource: Resource) -> impl Future<Output = Result<Page, SourceError>> + Send;

    /// One record by its id, as a page of one record; a page without records if the server says
    /// that there is none.
    fn by_id(
        &self,
        resource: Resource,
        id: Uuid,
    ) -> impl Future<Output = Result<Page, SourceError>> + Send;

    /// How much it was used so far.
    fn usage(&self) -> Usage;
}

/// Why a question was not answered. Every text names the request as `GET /path`, without its
/// parameters, and never holds a token or a body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// 401 or 403: this token may not read this, or is none.
    #[error("{request} was refused with {status}: {detail}")]
    Refused {
        /// Method and path.
        request: String,
        /// The HTTP status.
        status: u16,
        /// The platform's own words.
        detail: String,
    },
    /// 404 or 410: there is no such path or record.
    #[error("{request} does not exist ({status}): {detail}")]
    NotFound {
        /// Method and path.
        request: String,
        /// The HTTP status.
        status: u16,
        /// The platform's own words.
        detail: String,
    },
    /// Another 4xx, or a 500 that came back every time: the platform does not take the question.
    #[error("{request} was not accepted ({status}): {detail}")]
    NotAccepted {
        /// Method and path.
        request: String,
        /// The HTTP status.
        status: u16,
        /// The platform's own words.
        detail: String,
    },
    /// No usable connection, or the platform is down or limiting, for longer than is waited.
    #[error("{request} could not be answered{}: {detail}", after(*attempts))]
    Unavailable {
        /// Method and path.
        request: String,
        /// How often it was tried.
        attempts: u32,
        /// What happened last.
        detail: String,
    },
    /// The answer is not what the contract says.
    #[error("{request} answered what could not be read, {attempts} times: {detail}")]
    Malformed {
        /// Method and path.
        request: String,
        /// How often it was tried.
        attempts: u32,
        /// What came instead.
        detail: String,
    },
}

/// How often it was tried, in words; nothing if it was not.
fn after(attempts: u32) -> String {
    match attempts {
        0 => String::new(),
        1 => " at the first attempt".to_owned(),
        more => format!(" after {more} attempts"),
    }
}
