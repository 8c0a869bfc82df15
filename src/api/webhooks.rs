//! Subscriptions of webhooks (API notes, 11): the only records that this program ever writes on the
//! platform, and only on command.

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use uuid::Uuid;

use super::exchange::Act;
use super::listing::Listing;
use super::query::{self, Parameters};
use super::retry::{FailedRequest, FailureKind};
use super::wire::Shape;
use crate::data::{SourceError, Subscription};

const SUBSCRIPTIONS: &str = "/core/v1/webhook/subscription";
const EVENTS: &str = "/core/v1/webhook/event";

/// A subscription to be written. It is enabled.
#[derive(Debug)]
pub struct SubscriptionBody<'a> {
    /// Its name, at most 100 characters.
    pub name: &'a str,
    /// The address to call, at most 500 characters. It contains a secret.
    pub url: &'a SecretString,
    /// The events, at least one.
    pub events: &'a [String],
}

impl SubscriptionBody<'_> {
    fn json(&self) -> SecretString {
        let url = self.url.expose_secret();
        let json = json!({"name": self.name, "url": url, "enabled": true, "events": self.events});
        SecretString::from(json.to_string())
    }

    /// A failure without the address, which the answer may repeat.
    fn hidden(&self, failed: FailedRequest) -> FailedRequest {
        let url = self.url.expose_secret();
        let secret = url.rsplit('/').next().unwrap_or(url);
        FailedRequest {
            detail: failed.detail.replace(secret, "***"),
            ..failed
        }
    }
}

impl Listing {
    pub(super) async fn subscriptions(&self) -> Result<Vec<Subscription>, SourceError> {
        let records = self.records(SUBSCRIPTIONS).await?;
        Ok(records.iter().filter_map(subscription).collect())
    }

    pub(super) async fn webhook_events(&self) -> Result<Vec<String>, SourceError> {
        let records = self.records(EVENTS).await?;
        Ok(records.iter().filter_map(event).collect())
    }

    async fn records(&self, path: &str) -> Result<Vec<Value>, SourceError> {
        let parameters = Parameters::default();
        let answer = self.exchange.get(path, &parameters, Shape::List).await?;
        let decoded = answer.decoded;
        let records = decoded.items.iter();
        let texts = records.filter_map(|item| decoded.body.get(item.raw.clone()));
        Ok(texts
            .filter_map(|text| serde_json::from_str(text).ok())
            .collect())
    }

    pub(super) async fn write_subscription(
        &self,
        id: Option<Uuid>,
        body: &SubscriptionBody<'_>,
    ) -> Result<(), SourceError> {
        let json = body.json();
        let written = match id {
            None => self.exchange.write(Act::Post(&json), SUBSCRIPTIONS).await,
            Some(id) => {
                let path = query::with_id(SUBSCRIPTIONS, id);
                self.exchange.write(Act::Put(&json), &path).await
            }
        };
        written.map_err(|failed| body.hidden(failed).into())
    }

    pub(super) async fn delete_subscription(&self, id: Uuid) -> Result<(), SourceError> {
        let path = query::with_id(SUBSCRIPTIONS, id);
        match self.exchange.write(Act::Delete, &path).await {
            Err(failed) if !matches!(failed.kind, FailureKind::Missing(_)) => Err(failed.into()),
            _ => Ok(()),
        }
    }
}

/// A subscription, unless it has no readable id.
fn subscription(record: &Value) -> Option<Subscription> {
    let text = |key: &str| record[key].as_str().unwrap_or_default().to_owned();
    let events = record["events"].as_array().into_iter().flatten();
    Some(Subscription {
        id: record["id"].as_str()?.parse().ok()?,
        name: text("name"),
        url: text("url"),
        // Null or absent counts as the default of new ones.
        enabled: record["enabled"].as_bool().unwrap_or(true),
        events: events.filter_map(event).collect(),
    })
}

/// The name of an event, which may stand alone.
fn event(record: &Value) -> Option<String> {
    let name = record.as_str().or_else(|| record["event"].as_str());
    name.map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_is_read_whatever_form_its_events_have() {
        let id = Uuid::from_u128(7);
        let record = json!({
            "id": id, "name": "doorbell", "url": "https://example.com/x", "enabled": false,
            "events": [{"event": "SESSION_NEW", "description": null}, "SESSION_UPDATE", 7],
        });
        let read = subscription(&record).unwrap();
        assert_eq!(read.id, id);
        assert!(!read.enabled);
        assert_eq!(read.events, ["SESSION_NEW", "SESSION_UPDATE"]);
        assert!(!format!("{read:?}").contains("example.com"));
        assert!(subscription(&json!({"id": 7})).is_none());
        let bare = subscription(&json!({"id": id, "name": null, "events": null})).unwrap();
        assert!(bare.enabled && bare.events.is_empty() && bare.name.is_empty());
    }
}
