//! A configured account with checked base URL and token, and its client.

use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::recent_use::RecentUse;
use super::{Context, Exit, Failure};
use crate::api::{self, Client, ClientConfig, Detail};
use crate::config;

/// A configured account whose base URL and token are valid.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Address of its API.
    pub base_url: Url,
    token: SecretString,
    token_origin: String,
}

/// How long requests of a command are retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// After a 429 for ever, after other failures a limited number of times.
    Endless,
    /// Until this time is over.
    Within(Duration),
    /// Until this time is over, and after a 429 for ever: the caller ends it.
    ForLimits(Duration),
}

impl Patience {
    const fn time(self) -> Option<Duration> {
        match self {
            Self::Endless => None,
            Self::Within(time) | Self::ForLimits(time) => Some(time),
        }
    }
}

impl Account {
    /// Checks the base URL and the token.
    pub(super) fn new(account: config::AccountConfig, allow_http: bool) -> Result<Self, Failure> {
        let concerning =
            |failure: Failure| failure.context(format!("cannot use account {}", account.name));
        let base_url = api::base_url(&account.base_url, allow_http)
            .map_err(|error| concerning(error.into()))?;
        let token =
            api::token(account.token.expose_secret()).map_err(|error| concerning(error.into()))?;
        Ok(Self {
            name: account.name,
            base_url,
            token,
            token_origin: account.token_origin,
        })
    }

    /// Adds the account and its address to a failure and, if the API refused the token, where the
    /// token comes from.
    pub(super) fn concern(&self, failure: Failure) -> Failure {
        let refused = if failure.exit == Exit::Refused {
            format!("; check the token ({})", self.token_origin)
        } else {
            String::new()
        };
        let (name, url) = (&self.name, &self.base_url);
        failure.context(format!("cannot sync account {name} at {url}{refused}"))
    }

    /// Whether its requests are the same as those of another configuration: the same address and token.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.base_url == other.base_url && self.token.expose_secret() == other.token.expose_secret()
    }

    /// A client of this account. It holds the account's rate limiter, so a command makes one client
    /// and clones it.
    ///
    /// `details` are the details of sessions that a sync requests. `patience` limits the time that a
    /// request spends on retries.
    pub fn client(
        &self,
        context: &Context,
        details: &[&str],
        patience: Patience,
    ) -> Result<Client, Failure> {
        let api = context.settings.api()?;
        let config = ClientConfig {
            base_url: self.base_url.clone(),
            token: self.token.clone(),
            sustained: api.rate_limit.sustained,
            burst: api.rate_limit.burst,
            share: api.rate_limit.share,
            connect_timeout: api.connect_timeout,
            read_timeout: api.read_timeout,
            request_timeout: api.request_timeout,
            include_details: details
                .iter()
                .map(|name| name.parse::<Detail>())
                .collect::<Result<_, _>>()
                .map_err(Failure::usage)?,
            patience: patience.time(),
            waits_for_limits: matches!(patience, Patience::ForLimits(_)),
        };
        let client = Client::new(config, Arc::clone(&context.clock))?;
        if let Some(version) = api.session_version {
            client.pin_session_version(version);
        }
        if let Some(recent) = RecentUse::of(&context.settings, &self.base_url, &self.token) {
            let window = api.rate_limit.sustained.per;
            context.count_requests(&self.name, recent, &client, window);
        }
        Ok(client)
    }
}
