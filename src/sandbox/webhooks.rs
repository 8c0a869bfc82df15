//! Webhook subscriptions: kept, and called when something happens (API notes, 11).
//!
//! Deliveries are made once, in order, by a task beside the server; nobody learns whether they
//! arrived, as on the platform, which documents no retries. Only plain http to loopback
//! addresses is called: a sandbox has no business elsewhere.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use url::{Host, Url};
use uuid::Uuid;

use super::Ticks;
use super::account::Account;
use super::ids::{self, Of};
use super::json::Object;
use super::messages::Message;
use super::record::{Contact, Session, Status};

/// Every event that the platform documents.
pub(super) const EVENTS: [&str; 18] = [
    "SESSION_NEW",
    "SESSION_UPDATE",
    "SESSION_COMPLETE",
    "MESSAGE_RECEIVED",
    "MESSAGE_UPDATED",
    "MESSAGE_SENT",
    "CONTACT_NEW",
    "CONTACT_UPDATE",
    "CONTACT_TAG_UPDATE",
    "PAYMENT_NEW",
    "PAYMENT_UPDATE",
    "PANEL_CARD_NEW",
    "PANEL_CARD_UPDATE",
    "PANEL_CARD_STEP_CHANGE",
    "PANEL_CARD_NOTE_NEW",
    "PANEL_CARD_NOTE_UPDATE",
    "TEMPLATE_NEW",
    "TEMPLATE_UPDATE",
];

/// A call to make.
#[derive(Debug)]
pub(super) struct Delivery {
    url: Url,
    body: String,
}

#[derive(Debug, Clone)]
pub(super) struct Subscription {
    pub(super) id: Uuid,
    created_at: Ticks,
    updated_at: Ticks,
    name: String,
    url: String,
    enabled: bool,
    events: Vec<&'static str>,
}

#[derive(Debug, Default)]
pub(super) struct Webhooks {
    pub(super) subscriptions: Vec<Subscription>,
    made: u32,
    outbox: Option<mpsc::UnboundedSender<Delivery>>,
}

impl Webhooks {
    /// Where deliveries come out.
    pub(super) fn open(&mut self) -> mpsc::UnboundedReceiver<Delivery> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.outbox = Some(sender);
        receiver
    }

    /// A session that is new, or whose status was `before`.
    pub(super) fn session(&self, session: &Session, before: Option<Status>) {
        if self.subscriptions.is_empty() {
            return;
        }
        let event = match (before, session.status) {
            (None, _) => "SESSION_NEW",
            (Some(before), Status::Completed) if before != Status::Completed => "SESSION_COMPLETE",
            _ => "SESSION_UPDATE",
        };
        // Not the listing's record: the platform sends a shape of its own here.
        self.send(
            event,
            session.updated_at,
            &json!({
                "id": session.id,
                "createdAt": session.created_at.to_string(),
                "updatedAt": session.updated_at.to_string(),
                "active": session.status.is_open(),
                "status": session.status.as_str(),
                "contactId": session.contact_id,
                "channelId": session.channel_id,
                "departmentId": session.department_id,
                "userId": session.user_id,
                "firstAgentMessageAt": session.first_response_at.map(|at| at.to_string()),
            }),
        );
    }

    /// A message that is new, or was changed at an instant.
    pub(super) fn message(&self, message: &Message, session: &Session, edited: Option<Ticks>) {
        if self.subscriptions.is_empty() {
            return;
        }
        let event = match (edited, message.incoming) {
            (Some(_), _) => "MESSAGE_UPDATED",
            (None, true) => "MESSAGE_RECEIVED",
            (None, false) => "MESSAGE_SENT",
        };
        self.send(
            event,
            message.updated_at,
            &json!({
                "id": message.id,
                "createdAt": message.at.to_string(),
                "updatedAt": message.updated_at.to_string(),
                "active": session.status.is_open(),
                "waitingOptIn": false,
                "sessionId": session.id,
                "contactId": session.contact_id,
                "channelId": session.channel_id,
                "type": message.kind(),
                "direction": message.direction(),
                "text": message.text(),
            }),
        );
    }

    /// A contact that is new, or whose tags were `before`.
    pub(super) fn contact(&self, contact: &Contact, before: Option<&[Uuid]>) {
        if self.subscriptions.is_empty() {
            return;
        }
        let event = if before.is_none() {
            "CONTACT_NEW"
        } else {
            "CONTACT_UPDATE"
        };
        let content = json!({
            "id": contact.id,
            "updatedAt": contact.updated_at.to_string(),
            "name": contact.name,
            "phonenumber": contact.phone,
            "tagsId": contact.tags,
            "customFieldValues": contact.custom_fields,
        });
        self.send(event, contact.updated_at, &content);
        if before.is_some_and(|before| !same(before, &contact.tags)) {
            self.send("CONTACT_TAG_UPDATE", contact.updated_at, &content);
        }
    }

    fn send(&self, event: &'static str, at: Ticks, content: &Value) {
        let Some(outbox) = &self.outbox else {
            return;
        };
        for subscription in &self.subscriptions {
            if subscription.enabled && subscription.events.contains(&event) {
                let Some(url) = callable(&subscription.url) else {
                    continue;
                };
                let body = json!({"eventType": event, "date": at.to_string(), "content": content});
                // Only a stopped server has nobody at the other end.
                let _ = outbox.send(Delivery {
                    url,
                    body: body.to_string(),
                });
            }
        }
    }
}

/// Whether two sets of tags are the same, in whatever order.
fn same(left: &[Uuid], right: &[Uuid]) -> bool {
    left.iter().all(|tag| right.contains(tag)) && right.iter().all(|tag| left.contains(tag))
}

/// The address, if the sandbox may call it.
fn callable(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let loopback = match url.host()? {
        Host::Domain(name) => name == "localhost",
        Host::Ipv4(address) => IpAddr::from(address).is_loopback(),
        Host::Ipv6(address) => IpAddr::from(address).is_loopback(),
    };
    (url.scheme() == "http" && loopback).then_some(url)
}

/// Makes the calls, one after the other, until the account is gone.
pub(super) async fn deliver(mut inbox: mpsc::UnboundedReceiver<Delivery>) {
    while let Some(delivery) = inbox.recv().await {
        // A receiver that hangs must not hold up the others for ever.
        let _ = tokio::time::timeout(Duration::from_secs(5), call(&delivery)).await;
    }
}

async fn call(delivery: &Delivery) -> std::io::Result<()> {
    let addresses = delivery.url.socket_addrs(|| Some(80))?;
    let mut stream = tokio::net::TcpStream::connect(&*addresses).await?;
    let path = &delivery.url[url::Position::BeforePath..url::Position::AfterQuery];
    let host = &delivery.url[url::Position::BeforeHost..url::Position::AfterPort];
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{}",
        delivery.body.len(),
        delivery.body
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(4_096).read_to_end(&mut answer).await?;
    Ok(())
}

/// Why a subscription is not taken.
#[derive(Debug)]
pub(super) struct Invalid(pub(super) &'static str);

impl Account {
    /// Creates a subscription from a request's body, or changes one.
    pub(super) fn subscribe(
        &mut self,
        id: Option<Uuid>,
        body: &[u8],
    ) -> Result<Option<Subscription>, Invalid> {
        let body: Value =
            serde_json::from_slice(body).map_err(|_| Invalid("O corpo não é JSON."))?;
        let text = |key: &str, most: usize| {
            body[key]
                .as_str()
                .filter(|text| !text.is_empty() && text.chars().count() <= most)
                .map(str::to_owned)
        };
        let name = text("name", 100).ok_or(Invalid("name: 1 a 100 caracteres."))?;
        let url = text("url", 500).ok_or(Invalid("url: 1 a 500 caracteres."))?;
        let address = Url::parse(&url).ok().filter(|address| {
            matches!(address.scheme(), "http" | "https") && address.host().is_some()
        });
        if address.is_none() {
            return Err(Invalid("url: não é um endereço http ou https."));
        }
        let none = Vec::new();
        let events = match &body["events"] {
            Value::Null => &none,
            Value::Array(events) => events,
            _ => return Err(Invalid("events: não é uma lista.")),
        };
        if events.is_empty() {
            return Err(Invalid("events: pelo menos um."));
        }
        let events = events
            .iter()
            .map(|event| {
                let event = event.as_str().or_else(|| event["event"].as_str())?;
                EVENTS
                    .into_iter()
                    .find(|known| known.eq_ignore_ascii_case(event))
            })
            .collect::<Option<Vec<&'static str>>>()
            .ok_or(Invalid("events: há um evento desconhecido."))?;
        let enabled = match &body["enabled"] {
            Value::Null => true,
            Value::Bool(enabled) => *enabled,
            _ => return Err(Invalid("enabled: true ou false.")),
        };
        let at = self.stamp();
        if let Some(id) = id {
            let found = self
                .webhooks
                .subscriptions
                .iter_mut()
                .find(|old| old.id == id);
            return Ok(found.map(|old| {
                *old = Subscription {
                    name,
                    url,
                    enabled,
                    events,
                    updated_at: at,
                    ..old.clone()
                };
                old.clone()
            }));
        }
        self.webhooks.made += 1;
        let subscription = Subscription {
            id: ids::id(self.year.seed, Of::Subscription, self.webhooks.made),
            created_at: at,
            updated_at: at,
            name,
            url,
            enabled,
            events,
        };
        self.webhooks.subscriptions.push(subscription.clone());
        Ok(Some(subscription))
    }

    pub(super) fn render_subscription(&self, out: &mut Vec<u8>, subscription: &Subscription) {
        let mut object = Object::new(out, None);
        object.id("id", subscription.id);
        object.time("createdAt", subscription.created_at);
        object.time("updatedAt", subscription.updated_at);
        object.id("companyId", self.company.id);
        object.text("name", &subscription.name);
        object.text("url", &subscription.url);
        object.flag("enabled", subscription.enabled);
        object.list("events", &subscription.events, |out, event| {
            write_event(out, event);
        });
        object.end();
    }
}

pub(super) fn write_event(out: &mut Vec<u8>, event: &str) {
    let mut object = Object::new(out, None);
    object.text("event", event);
    object.null("description");
    object.end();
}
