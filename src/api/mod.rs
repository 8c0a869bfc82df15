//! The platform's HTTP API, as a [`Source`].
//!
//! Owns everything that is said to the platform: addresses, questions, limits, retries, and the
//! cutting of answers into records. What the records mean is [`crate::schema`]'s; where they go is
//! [`crate::store`]'s. Every wait is on the injected [`Clock`]; only the timeouts of the
//! connections are real time.

mod address;
mod exchange;
mod limit;
mod listing;
mod problem;
mod query;
mod retry;
#[cfg(test)]
mod tests;
mod wire;

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;
use uuid::Uuid;

use crate::clock::Clock;
use crate::data::{ColumnGroup, Page, PageQuery, Resource, Source, SourceError, Timestamp, Usage};

pub use address::{BaseUrlError, TokenError, base_url, token};
pub use exchange::Trouble;
pub use limit::{Limit, LimitError, WaitReason, Waiting};
pub use query::{Detail, LiveQuery, UnknownDetail};
pub use wire::Shape;

/// What a [`Client`] is made of.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Where the platform is, as [`base_url`] reads it.
    pub base_url: Url,
    /// The account's token, as [`token`] reads it.
    pub token: SecretString,
    /// The platform's limit over the longer window: 1000 in 5 minutes (API notes, 13).
    pub sustained: Limit,
    /// The platform's limit over the shorter window: 200 in 5 seconds (API notes, 13).
    pub burst: Limit,
    /// The part of both limits that is ours, above 0 and up to 1; the rest is for whatever else
    /// uses the account.
    pub share: f64,
    /// How long to wait for a connection.
    pub connect_timeout: Duration,
    /// How long to wait for the next bytes of an answer.
    pub read_timeout: Duration,
    /// How long a request may take, from connecting to the answer's last byte.
    pub request_timeout: Duration,
    /// The details that walks request of every session.
    pub include_details: Vec<Detail>,
    /// The total time that one request may spend on 429, 5xx and connection failures. With `None`
    /// a 429 is waited out for ever, and other failures are tried a bounded number of times.
    pub patience: Option<Duration>,
}

/// Why no [`Client`] can be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The share is not a part of a whole.
    #[error("the share of the rate limit is {0} (accepted: above 0 and up to 1, such as 0.9)")]
    Share(f64),
    /// The token cannot be sent.
    #[error("the API token holds characters that cannot be sent")]
    Token,
    /// The HTTP client cannot be set up, for example for want of root certificates.
    #[error(
        "the HTTP client could not be set up (does this machine have root certificates? on a \
         small system they are a package of their own, ca-certificates)"
    )]
    Http(#[source] reqwest::Error),
}

/// Why a body cannot be read as an answer; says where, and nothing of what stood there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BodyError(String);

/// Reads the body of a success as the client does, for those who have one without a client: a
/// recorded answer, or one made up to see what becomes of it.
///
/// The page says that everything was asked for, at `server_time`.
pub fn decode(
    body: Vec<u8>,
    content_type: Option<&str>,
    shape: Shape,
    server_time: Timestamp,
) -> Result<Page, BodyError> {
    let decoded =
        wire::decode(body, content_type, shape).map_err(|failure| BodyError(failure.detail))?;
    Ok(Page {
        body: decoded.body,
        items: decoded.items,
        total: decoded.total,
        has_more: decoded.has_more,
        server_time,
        unknown: ColumnGroup::NONE,
    })
}

/// A client of one account. Clones share the connections, the rate limiter and all that was
/// learned of the platform.
#[derive(Clone)]
pub struct Client(Arc<listing::Listing>);

impl Client {
    /// A client of the account; connects when first asked something.
    pub fn new(config: ClientConfig, clock: Arc<dyn Clock>) -> Result<Self, ClientError> {
        if !(config.share > 0.0 && config.share <= 1.0) {
            return Err(ClientError::Share(config.share));
        }
        // Whoever installed a provider before, this client works with it.
        let _installed_before = rustls::crypto::ring::default_provider().install_default();
        let limiter = limit::Limiter::new(
            config.sustained,
            config.burst,
            config.share,
            Arc::clone(&clock),
        );
        let exchange = exchange::Exchange {
            http: http(&config)?,
            base: config.base_url.as_str().trim_end_matches('/').to_owned(),
            token: config.token,
            limiter,
            clock,
            patience: config.patience,
            longest_wait: config.sustained.per.max(config.burst.per),
            requests: AtomicU64::new(0),
            latest: AtomicI64::new(i64::MIN),
            retries: AtomicU64::new(0),
            trouble: Mutex::new(None),
        };
        Ok(Self(Arc::new(listing::Listing {
            exchange,
            version: listing::SessionVersion::new(),
            details: config.include_details,
        })))
    }

    /// A page of the live list of sessions.
    pub async fn sessions(&self, query: &LiveQuery) -> Result<Page, SourceError> {
        self.0.live_sessions(query).await
    }

    /// What requests wait for now: for progress bars.
    pub fn waiting(&self) -> Option<Waiting> {
        self.0.exchange.limiter.waiting()
    }

    /// Why the last request failed, while it is tried again.
    pub fn trouble(&self) -> Option<Trouble> {
        self.0.exchange.trouble().clone()
    }

    /// Which version of the session list is in use, 1 or 2.
    pub fn session_version(&self) -> u8 {
        self.0.version.get()
    }

    /// Sets the version of the session list to use, as remembered from an earlier run: 2, or 1 for
    /// any other number.
    pub fn set_session_version(&self, version: u8) {
        self.0.version.set(version);
    }
}

impl Source for Client {
    async fn page(&self, query: &PageQuery) -> Result<Page, SourceError> {
        self.0.page(query).await
    }

    async fn list(&self, resource: Resource) -> Result<Page, SourceError> {
        self.0.list(resource).await
    }

    async fn by_id(&self, resource: Resource, id: Uuid) -> Result<Page, SourceError> {
        self.0.by_id(resource, id).await
    }

    fn usage(&self) -> Usage {
        self.0.exchange.usage()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("base_url", &self.0.exchange.base)
            .finish_non_exhaustive()
    }
}

fn http(config: &ClientConfig) -> Result<reqwest::Client, ClientError> {
    let mut bearer = HeaderValue::try_from(format!("Bearer {}", config.token.expose_secret()))
        .map_err(|_| ClientError::Token)?;
    bearer.set_sensitive(true);
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, bearer);
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("helena-sync/", env!("CARGO_PKG_VERSION")))
        .default_headers(headers)
        .connect_timeout(config.connect_timeout)
        .read_timeout(config.read_timeout)
        .timeout(config.request_timeout)
        .gzip(true)
        // The token goes to the base URL and nowhere else.
        .redirect(reqwest::redirect::Policy::none())
        // Every request is counted by the limiter, so none is repeated behind its back.
        .retry(reqwest::retry::never());
    if config.base_url.scheme() == "http" {
        // No certificate will ever be looked at, and a machine may have none.
        builder = builder.tls_certs_only([]);
    }
    if address::is_loopback(&config.base_url) {
        builder = builder.no_proxy();
    }
    builder.build().map_err(ClientError::Http)
}
