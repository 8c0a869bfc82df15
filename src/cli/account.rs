//! An account that commands work on: checked base URL and token, and the client made of them.

use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::{Context, Exit, Failure};
use crate::api::{self, Client, ClientConfig, Detail, Limit};
use crate::config::{self, Rate};

/// An account of the configuration whose base URL and token can be used.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Where its API answers.
    pub base_url: Url,
    token: SecretString,
    token_origin: String,
}

impl Account {
    /// Checks what is configured.
    pub(super) fn new(account: config::Account, allow_http: bool) -> Result<Self, Failure> {
        let concerning =
            |failure: Failure| failure.context(format!("account {} cannot be used", account.name));
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

    /// A failure that concerns this account, with where it was asked and what to do about a token
    /// that is refused.
    pub(super) fn concern(&self, failure: Failure) -> Failure {
        let refused = if failure.exit == Exit::Refused {
            format!("; check its token ({})", self.token_origin)
        } else {
            String::new()
        };
        let (name, url) = (&self.name, &self.base_url);
        failure.context(format!("account {name} at {url} cannot be synced{refused}"))
    }

    /// A client of this account; it holds the account's one rate limiter, so a command makes one
    /// and clones it.
    ///
    /// `details` are what walks request of sessions. `patience` is the time that a request may
    /// spend on retries; without it a 429 is waited out for ever.
    pub fn client(
        &self,
        context: &Context,
        details: &[&str],
        patience: Option<Duration>,
    ) -> Result<Client, Failure> {
        let api = context.settings.api()?;
        let config = ClientConfig {
            base_url: self.base_url.clone(),
            token: self.token.clone(),
            sustained: limit(api.rate_limit.sustained),
            burst: limit(api.rate_limit.burst),
            share: api.rate_limit.share,
            connect_timeout: api.connect_timeout,
            read_timeout: api.read_timeout,
            request_timeout: api.request_timeout,
            include_details: details
                .iter()
                .map(|name| name.parse::<Detail>())
                .collect::<Result<_, _>>()
                .map_err(Failure::usage)?,
            patience,
        };
        Ok(Client::new(config, Arc::clone(&context.clock))?)
    }
}

fn limit(rate: Rate) -> Limit {
    Limit {
        count: rate.count,
        per: rate.per,
    }
}
