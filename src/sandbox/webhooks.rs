//! Webhook subscriptions and their deliveries (API notes, 11).
//!
//! A background task sends each delivery once, in order, unless a mood loses, repeats or delays
//! some. A failed delivery is dropped, or retried after nine minutes (API notes, 17). Deliveries
//! go only to plain http on loopback addresses, so that a sandbox never calls another machine.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use url::{Host, Url};
use uuid::Uuid;

use super::Ticks;
use super::account::SandboxAccount;
use super::errors::JSON;
use super::ids::{self, IdKind};
use super::json::Object;
use super::ticks::ticks;

/// When a delivery that failed is tried again (API notes, 17).
const AGAIN_AFTER: Duration = Duration::from_mins(9);

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
#[derive(Debug, Clone)]
pub(super) struct Delivery {
    url: Url,
    body: Arc<str>,
    retried: bool,
}

/// Both ends of what the task beside the server does.
#[derive(Debug)]
pub(super) struct Calls {
    inbox: mpsc::UnboundedReceiver<Delivery>,
    failed: mpsc::UnboundedSender<Delivery>,
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

#[derive(Debug)]
pub(super) struct Webhooks {
    pub(super) subscriptions: Vec<Subscription>,
    made: u32,
    outbox: mpsc::UnboundedSender<Delivery>,
    failed: mpsc::UnboundedReceiver<Delivery>,
    /// Sent after the next one.
    held: Vec<Delivery>,
    /// Sent once it is time.
    pub(super) again: Vec<(i64, Delivery)>,
    calls: Option<Calls>,
}

impl Default for Webhooks {
    fn default() -> Self {
        let (outbox, inbox) = mpsc::unbounded_channel();
        let (failures, failed) = mpsc::unbounded_channel();
        Self {
            subscriptions: Vec::new(),
            made: 0,
            outbox,
            failed,
            held: Vec::new(),
            again: Vec::new(),
            calls: Some(Calls {
                inbox,
                failed: failures,
            }),
        }
    }
}

impl Webhooks {
    /// What to make calls from; once.
    pub(super) fn open(&mut self) -> Option<Calls> {
        self.calls.take()
    }

    fn send(&self, delivery: Delivery) {
        // Only a stopped server has nobody at the other end.
        let _ = self.outbox.send(delivery);
    }

    fn release(&mut self) {
        for delivery in std::mem::take(&mut self.held) {
            self.send(delivery);
        }
    }

    /// Whether anybody is to be called.
    pub(super) fn is_heard(&self) -> bool {
        self.subscriptions.iter().any(|one| one.enabled)
    }
}

impl SandboxAccount {
    /// Calls whoever subscribed to an event.
    pub(super) fn call(&mut self, event: &'static str, at: Ticks, content: &Value, told: &Value) {
        let body = json!({
            "eventType": event,
            "date": at.to_string(),
            "content": content,
            "changeMetadata": told,
        });
        let body: Arc<str> = body.to_string().into();
        let all = &self.webhooks.subscriptions;
        let subscribed = all
            .iter()
            .filter(|one| one.enabled && one.events.contains(&event))
            .filter_map(|one| callable(&one.url));
        for url in subscribed.collect::<Vec<_>>() {
            let body = Arc::clone(&body);
            self.post(&Delivery {
                url,
                body,
                retried: false,
            });
        }
    }

    /// Sends a delivery on its way, which is not always straight.
    fn post(&mut self, delivery: &Delivery) {
        if self.chance(self.moods.webhook_loss) {
            return;
        }
        let copies = 1 + usize::from(self.chance(self.moods.webhook_duplicates));
        let late = self.chance(self.moods.webhook_disorder) && self.webhooks.held.is_empty();
        for _ in 0..copies {
            if late {
                self.webhooks.held.push(delivery.clone());
            } else {
                self.webhooks.send(delivery.clone());
            }
        }
        if !late {
            self.webhooks.release();
        }
    }

    /// Lets go what was held back, and what is to be tried again by now.
    pub(super) fn tend_webhooks(&mut self) {
        self.webhooks.release();
        let now = self.now().0;
        let due = now.saturating_add(ticks(AGAIN_AFTER));
        while let Ok(failed) = self.webhooks.failed.try_recv() {
            if self.moods.webhook_retries && !failed.retried {
                self.webhooks.again.push((due, failed));
            }
        }
        let (ready, later) = std::mem::take(&mut self.webhooks.again)
            .into_iter()
            .partition(|(due, _)| *due <= now);
        self.webhooks.again = later;
        for (_, delivery) in ready {
            self.webhooks.send(Delivery {
                retried: true,
                ..delivery
            });
        }
    }
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
pub(super) async fn deliver(calls: Option<Calls>) {
    let Some(Calls { mut inbox, failed }) = calls else {
        return;
    };
    while let Some(delivery) = inbox.recv().await {
        // A receiver that hangs must not hold up the others for ever.
        let called = tokio::time::timeout(Duration::from_secs(5), call(&delivery)).await;
        if !called.is_ok_and(|answer| answer.is_ok_and(|answer| is_good(&answer))) {
            // Nobody asks once the account is gone.
            let _ = failed.send(delivery);
        }
    }
}

async fn call(delivery: &Delivery) -> std::io::Result<Vec<u8>> {
    let addresses = delivery.url.socket_addrs(|| Some(80))?;
    let mut stream = tokio::net::TcpStream::connect(&*addresses).await?;
    let path = &delivery.url[url::Position::BeforePath..url::Position::AfterQuery];
    let host = &delivery.url[url::Position::BeforeHost..url::Position::AfterPort];
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {JSON}\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{}",
        delivery.body.len(),
        delivery.body
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(4_096).read_to_end(&mut answer).await?;
    Ok(answer)
}

fn is_good(answer: &[u8]) -> bool {
    answer.starts_with(b"HTTP/1.1 2")
}

/// Why a subscription is not taken.
#[derive(Debug)]
pub(super) struct Invalid(pub(super) &'static str);

impl SandboxAccount {
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
            id: ids::id(self.year.seed, IdKind::Subscription, self.webhooks.made),
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
