//! The platform's HTTP API, as a [`Source`].
//!
//! Owns all communication with the platform: addresses, requests, rate limits, retries, and
//! splitting answers into records. [`crate::schema`] knows what records mean, [`crate::store`]
//! where they go. All waits use the injected [`Clock`]; only the timeouts of connections are real
//! time.

#![warn(
    clippy::wildcard_enum_match_arm,
    reason = "each layer decides about every case of a failure"
)]

mod address;
mod connections;
mod exchange;
mod limit;
mod listing;
mod problem;
mod query;
mod retry;
#[cfg(test)]
mod tests;
mod token;
mod webhooks;
mod wire;

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use reqwest::header::{ACCEPT, HeaderMap, HeaderValue};
use secrecy::SecretString;
use url::Url;
use uuid::Uuid;

use crate::clock::Clock;
use crate::data::{
    Learned, Page, PageQuery, RateLimit, Resource, SessionVersion, Source, SourceError, Standing,
    Subscription, Timestamp, Trouble, Usage, VersionTotals,
};
use crate::metrics::Meter;

pub use address::{BaseUrlError, TokenError, base_url, token};
pub use exchange::DateHeader;
pub use limit::{Allowance, Budget, WaitReason, Waiting};
pub use query::{Detail, LiveQuery, UnknownDetail};
pub use webhooks::SubscriptionBody;
pub use wire::Shape;

/// The configuration of a [`Client`].
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// The address of the platform, parsed by [`base_url`].
    pub base_url: Url,
    /// The account's token, parsed by [`token()`].
    pub token: SecretString,
    /// The platform's limit over the longer window: 1000 in 5 minutes (API notes, 13).
    pub sustained: RateLimit,
    /// The platform's limit over the shorter window: 200 in 5 seconds (API notes, 13).
    pub burst: RateLimit,
    /// The share of both limits to use, above 0 and up to 1. The rest is left to other programs
    /// that use the account.
    pub share: f64,
    /// Timeout for opening a connection.
    pub connect_timeout: Duration,
    /// Timeout for the next bytes of an answer.
    pub read_timeout: Duration,
    /// Timeout for a whole request, from connecting to the answer's last byte.
    pub request_timeout: Duration,
    /// The details that a sync requests with every session.
    pub include_details: Vec<Detail>,
    /// The total time that a request may spend on 429, 5xx and connection failures. With `None`, it
    /// retries after a 429 for ever, and after other failures a limited number of times.
    pub patience: Option<Duration>,
    /// Whether a request waits for the platform's rate limit for as long as it takes, whatever the
    /// patience is: the caller ends the wait itself.
    pub waits_for_limits: bool,
}

/// Why a [`Client`] cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The share is out of range.
    #[error("the share of the rate limit is {0} (accepted: above 0 and up to 1, such as 0.9)")]
    Share(f64),
    /// The token cannot be sent.
    #[error("the API token contains characters that cannot be sent; copy it again")]
    Token,
    /// The HTTP client cannot be set up, for example because root certificates are missing.
    #[error(
        "cannot set up the HTTP client; check that this machine has root certificates (on a small \
         system, install the package ca-certificates)"
    )]
    Http(#[source] reqwest::Error),
}

/// Why a body is not a valid answer. The message says where, but shows no content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BodyError(String);

/// Parses the body of a successful answer as the client does, without a client: for recorded or
/// made-up answers.
///
/// The page is one whose details were all requested, and that was answered at `server_time`.
pub fn decode(
    body: Vec<u8>,
    content_type: Option<&str>,
    shape: Shape,
    server_time: Timestamp,
) -> Result<Page, BodyError> {
    let decoded =
        wire::decode(body, content_type, shape).map_err(|failure| BodyError(failure.detail))?;
    Ok(Page {
        total: decoded.total,
        has_more: decoded.has_more,
        contradictory: decoded.contradictory,
        silent: decoded.silent,
        ..Page::new(decoded.body, decoded.items, server_time)
    })
}

/// A client of one account. Clones share the connections, the rate limiter and what the client
/// learned about the platform.
#[derive(Clone)]
pub struct Client(Arc<listing::Listing>);

impl Client {
    /// A client of the account. It connects at the first request.
    pub fn new(config: ClientConfig, clock: Arc<dyn Clock>) -> Result<Self, ClientError> {
        Self::adapted(config, clock, |builder| builder)
    }

    /// The same, with an adaptation of its connections.
    fn adapted(
        config: ClientConfig,
        clock: Arc<dyn Clock>,
        adapt: fn(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
    ) -> Result<Self, ClientError> {
        if !(config.share > 0.0 && config.share <= 1.0) {
            return Err(ClientError::Share(config.share));
        }
        // If a provider is installed already, this client uses it.
        let _installed_before = rustls::crypto::ring::default_provider().install_default();
        let limiter = limit::Limiter::new(
            config.sustained,
            config.burst,
            config.share,
            Arc::clone(&clock),
        );
        let exchange = exchange::Exchange {
            connections: connections(&config, adapt)?,
            base: config.base_url.as_str().trim_end_matches('/').to_owned(),
            credentials: token::Credentials::new(config.token).map_err(|_| ClientError::Token)?,
            limiter,
            clock,
            patience: config.patience,
            waits_for_limits: config.waits_for_limits,
            requests: AtomicU64::new(0),
            latest: AtomicI64::new(i64::MIN),
            retries: AtomicU64::new(0),
            dates: Mutex::default(),
            health: Mutex::default(),
            meter: OnceLock::new(),
        };
        Ok(Self(Arc::new(listing::Listing {
            exchange,
            versions: listing::Versions::new(),
            details: config.include_details,
        })))
    }

    /// A page of the live list of sessions.
    pub async fn sessions(&self, query: &LiveQuery) -> Result<Page, SourceError> {
        self.0.live_sessions(query).await
    }

    /// The names of the events that the platform knows, as it spells them.
    pub async fn webhook_events(&self) -> Result<Vec<String>, SourceError> {
        self.0.webhook_events().await
    }

    /// Creates a subscription of webhooks. This and the two methods below are the only ones that change
    /// anything on the platform. A failure does not prove that nothing was changed.
    pub async fn subscribe(&self, body: &SubscriptionBody<'_>) -> Result<(), SourceError> {
        self.0.write_subscription(None, body).await
    }

    /// Replaces a subscription of webhooks.
    pub async fn resubscribe(
        &self,
        id: Uuid,
        body: &SubscriptionBody<'_>,
    ) -> Result<(), SourceError> {
        self.0.write_subscription(Some(id), body).await
    }

    /// Deletes a subscription of webhooks. One that does not exist any more is no error.
    pub async fn unsubscribe(&self, id: Uuid) -> Result<(), SourceError> {
        self.0.delete_subscription(id).await
    }

    /// Counts requests that other processes of this account sent, each with how long ago that was, so that
    /// all of them together keep the rate limits.
    pub fn note_earlier(&self, ages: impl IntoIterator<Item = Duration>) {
        self.0.exchange.limiter.note_earlier(ages);
    }

    /// Records the client's requests with this meter from now on. Only the first call counts.
    pub fn metered(&self, meter: &Meter) {
        self.0.exchange.meter.get_or_init(|| meter.clone());
    }

    /// How many requests the rate limits allow in their windows, and how many of them are left now.
    pub fn budget(&self) -> Budget {
        self.0.exchange.limiter.budget()
    }

    /// What requests wait for now, for progress bars.
    pub fn waiting(&self) -> Option<Waiting> {
        self.0.exchange.limiter.waiting()
    }

    /// Why the last request failed, while the client retries it.
    pub fn trouble(&self) -> Option<Trouble> {
        match self.0.exchange.standing() {
            Standing::Troubled(trouble) => Some(trouble),
            Standing::Unknown | Standing::Answering => None,
        }
    }

    /// What the `Date` header of the last answer says. `None` before the first answer.
    pub fn date_header(&self) -> Option<DateHeader> {
        self.0.exchange.date_header()
    }

    /// The version of the session list that is in use.
    pub fn session_version(&self) -> SessionVersion {
        self.0.versions.in_use()
    }

    /// Uses only this version of the session list, whether it answers or not. Queries by type still
    /// go to version 2, since only that one has types.
    pub fn pin_session_version(&self, version: SessionVersion) {
        self.0.versions.pin(version);
    }

    /// Starts with what an earlier process learned, unless this client has learned something else.
    pub fn remember(&self, learned: &Learned) {
        if let Some(version) = learned.session_list {
            self.0.versions.remember(version);
        }
        if learned.bare_token {
            self.0.exchange.credentials.remember(token::Scheme::Bare);
        }
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

    fn learned(&self) -> Learned {
        Learned {
            session_list: self.0.versions.learned(),
            bare_token: self.0.exchange.credentials.in_use() == token::Scheme::Bare,
        }
    }

    fn standing(&self) -> Standing {
        self.0.exchange.standing()
    }

    async fn session_totals(&self) -> Result<Option<VersionTotals>, SourceError> {
        self.0.session_totals().await
    }

    async fn subscriptions(&self) -> Result<Vec<Subscription>, SourceError> {
        self.0.subscriptions().await
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("base_url", &self.0.exchange.base)
            .finish_non_exhaustive()
    }
}

fn connections(
    config: &ClientConfig,
    adapt: fn(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
) -> Result<connections::Connections, ClientError> {
    let config = ClientConfig {
        include_details: Vec::new(),
        ..config.clone()
    };
    connections::Connections::new(move || adapt(http(&config))).map_err(ClientError::Http)
}

fn http(config: &ClientConfig) -> reqwest::ClientBuilder {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("helena-sync/", env!("CARGO_PKG_VERSION")))
        .default_headers(headers)
        .connect_timeout(config.connect_timeout)
        .read_timeout(config.read_timeout)
        .timeout(config.request_timeout)
        .gzip(true)
        // The token is sent to the base URL only.
        .redirect(reqwest::redirect::Policy::none())
        // The limiter must count every request, so reqwest must not retry by itself.
        .retry(reqwest::retry::never());
    if config.base_url.scheme() == "http" {
        // Plain http needs no certificates, and a machine may have none.
        builder = builder.tls_certs_only([]);
    }
    if address::is_loopback(&config.base_url) {
        builder = builder.no_proxy();
    }
    builder
}
