//! `[alerts]`: of what operators are told, and how.
//!
//! Must not know what an alert says or how it is sent. The address of a webhook is a secret: whoever has it
//! can write into the channel.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use figment::value::Value;
use serde::Deserialize;
use serde::de::{Deserializer, Error};
use url::Url;

use super::secret_file::{self, Wrong};
use super::values;

/// What the body of a webhook's request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlertFormat {
    /// Text alone for the chats that are known to refuse other fields, else everything.
    Auto,
    /// All fields.
    Json,
    /// The field `text` alone.
    Text,
}

/// The names of the formats.
pub const ALERT_FORMATS: [&str; 3] = ["auto", "json", "text"];

/// `[alerts]`.
#[derive(Debug, Clone, Deserialize)]
pub struct Alerts {
    /// Where alerts are posted.
    #[serde(default, deserialize_with = "webhook")]
    pub webhook: Option<Webhook>,
    /// The file that holds this address.
    #[serde(default, deserialize_with = "optional")]
    webhook_file: Option<String>,
    /// What the body is.
    #[serde(deserialize_with = "format")]
    pub format: AlertFormat,
    /// What the shell runs for each alert.
    #[serde(default, deserialize_with = "optional")]
    pub command: Option<String>,
    /// How long syncs fail, or the database does not answer, before somebody is told.
    #[serde(deserialize_with = "values::duration")]
    pub failing_after: Duration,
    /// How much later than its schedule a stream may be read before somebody is told.
    #[serde(deserialize_with = "values::duration")]
    pub max_lag: Duration,
    /// The free share of the disk of a SQLite file, in percent, below which somebody is told.
    #[serde(deserialize_with = "values::percent")]
    pub disk_percent: NonZeroU32,
}

/// The address of a webhook. Its text shows the host alone.
#[derive(Clone, PartialEq, Eq)]
pub struct Webhook(Url);

impl Alerts {
    /// Whether nobody is told anything.
    pub fn is_off(&self) -> bool {
        self.webhook.is_none() && self.command.is_none()
    }

    /// Refuses what cannot be used together, without reading the file.
    pub(super) fn check(&self) -> Result<(), Wrong> {
        if self.webhook.is_some() && self.webhook_file.is_some() {
            return Err((
                "webhook",
                "set either alerts.webhook or alerts.webhook_file, not both".to_owned(),
            ));
        }
        Ok(())
    }

    /// Reads the file of the webhook, if there is one. Returns a warning about it.
    pub(super) fn with_webhook(mut self) -> Result<(Self, Option<String>), Wrong> {
        const KEY: &str = "webhook_file";
        let Some(path) = self.webhook_file.take() else {
            return Ok((self, None));
        };
        let parse = |text: &str| Webhook::parse(text).map_err(|problem| (KEY, problem));
        let (webhook, warning) = secret_file::read(&path, KEY, "webhook file", parse)?;
        self.webhook = Some(webhook);
        Ok((self, warning))
    }
}

impl Webhook {
    /// Parses an address. The error does not repeat it.
    pub fn parse(text: &str) -> Result<Self, String> {
        const ACCEPTED: &str =
            "(accepted: an address such as https://hooks.example.com/services/...)";
        let text = text.trim();
        let url = Url::parse(text)
            .map_err(|error| format!("is not a web address: {error} {ACCEPTED}"))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(format!("is not a web address {ACCEPTED}"));
        }
        Ok(Self(url))
    }

    /// The whole address.
    pub fn expose(&self) -> &Url {
        &self.0
    }

    /// Whether the address itself is sent unencrypted to another machine.
    pub fn is_exposed(&self) -> bool {
        let is_local = match self.0.host() {
            Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
            Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
            Some(url::Host::Domain(name)) => name == "localhost",
            None => false,
        };
        self.0.scheme() == "http" && !is_local
    }

    /// The host, in lower case.
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// The path.
    pub fn path(&self) -> &str {
        self.0.path()
    }
}

impl fmt::Display for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.0.scheme(), self.host())?;
        if let Some(port) = self.0.port() {
            write!(f, ":{port}")?;
        }
        f.write_str("/***")
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Webhook({self})")
    }
}

/// An empty text is none: a container passes on variables that nobody has set.
fn optional<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    match <Value as Deserialize>::deserialize(from)? {
        Value::String(_, text) => {
            let text = text.trim();
            Ok((!text.is_empty()).then(|| text.to_owned()))
        }
        _ => Err(D::Error::custom("expected text in quotes")),
    }
}

fn webhook<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Webhook>, D::Error> {
    let text = optional(from)?;
    let parsed = text.as_deref().map(Webhook::parse).transpose();
    parsed.map_err(D::Error::custom)
}

fn format<'de, D: Deserializer<'de>>(from: D) -> Result<AlertFormat, D::Error> {
    let text = values::text(from)?;
    let name = values::one_of(&text, &ALERT_FORMATS).map_err(D::Error::custom)?;
    Ok(match name {
        "json" => AlertFormat::Json,
        "text" => AlertFormat::Text,
        _ => AlertFormat::Auto,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_webhook_is_never_shown_in_full() {
        let text = "https://hooks.example.com:8443/services/T0/secret?key=canary";
        let webhook = Webhook::parse(text).unwrap();
        assert_eq!(webhook.to_string(), "https://hooks.example.com:8443/***");
        assert_eq!(
            format!("{webhook:?}"),
            "Webhook(https://hooks.example.com:8443/***)"
        );
        assert_eq!(webhook.expose().as_str(), text);
        for text in [
            "canary",
            "ftp://canary/x",
            "https://",
            "mailto:canary@example.com",
            "http://can ary/",
        ] {
            let error = Webhook::parse(text).unwrap_err();
            assert!(error.contains("accepted: an address"), "{error}");
            assert!(!error.contains("canary"), "{error}");
        }
    }

    #[test]
    fn an_address_without_encryption_is_exposed_unless_it_is_this_machine() {
        let exposed = |text: &str| Webhook::parse(text).unwrap().is_exposed();
        assert!(exposed("http://alerts.example.com/x"));
        for text in [
            "https://alerts.example.com/x",
            "http://127.0.0.1:9/x",
            "http://[::1]/x",
            "http://localhost/x",
        ] {
            assert!(!exposed(text), "{text}");
        }
    }
}
