//! The sandbox, asked over the wire as a client would ask it.

mod by_id;
mod clocks;
mod deliveries;
mod faults;
mod lifelike;
mod listing;
mod living;
mod messages;
mod moods;
mod others;
mod pages;
mod plausible;
mod unseen;
mod webhooks;

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::*;
use crate::clock::{Clock, FakeClock};
use crate::data::Timestamp;

/// A sandbox on a clock that stands still, and a client that knows nothing of this crate.
struct Asked {
    sandbox: Sandbox,
    clock: Arc<FakeClock>,
    http: reqwest::Client,
}

struct Got {
    status: u16,
    headers: reqwest::header::HeaderMap,
    body: Value,
}

fn noon() -> Timestamp {
    Timestamp::parse("2026-05-04T15:00:00Z").unwrap()
}

impl Asked {
    async fn start(config: SandboxConfig) -> Self {
        // Another test may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let clock = Arc::new(FakeClock::at(noon()));
        let sandbox = Sandbox::start(config, Arc::clone(&clock) as Arc<dyn Clock>)
            .await
            .unwrap();
        Self {
            sandbox,
            clock,
            http: reqwest::Client::new(),
        }
    }

    async fn of_size(sessions: u32) -> Self {
        Self::start(SandboxConfig::of_size(sessions)).await
    }

    async fn in_mood(sessions: u32, moods: Moods) -> Self {
        Self::start(SandboxConfig {
            moods,
            ..SandboxConfig::of_size(sessions)
        })
        .await
    }

    async fn send(&self, path: &str) -> reqwest::Result<reqwest::Response> {
        let url = format!("{}{path}", self.sandbox.base_url());
        self.http
            .get(url)
            .bearer_auth(self.sandbox.token())
            .send()
            .await
    }

    async fn get(&self, path: &str) -> Got {
        let answer = self.send(path).await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = serde_json::from_str(&answer.text().await.unwrap()).unwrap_or(Value::Null);
        Got {
            status,
            headers,
            body,
        }
    }

    async fn post(&self, path: &str, body: &str) -> (u16, Value) {
        let request = self
            .http
            .post(format!("{}{path}", self.sandbox.base_url()))
            .bearer_auth(self.sandbox.token())
            .body(body.to_owned());
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let body = serde_json::from_str(&answer.text().await.unwrap()).unwrap_or(Value::Null);
        (status, body)
    }

    /// All pages of a listing.
    async fn all(&self, path: &str) -> Vec<Value> {
        let mut items = Vec::new();
        for number in 1.. {
            let page = self
                .get(&format!("{path}&PageSize=100&PageNumber={number}"))
                .await;
            assert_eq!(page.status, 200, "{path}: {}", page.body);
            let body = page.body;
            items.extend(body["items"].as_array().unwrap().iter().cloned());
            if body["hasMorePages"] == false {
                assert_eq!(body["totalItems"], items.len(), "{path}");
                return items;
            }
        }
        unreachable!()
    }
}

impl Got {
    fn items(&self) -> &Vec<Value> {
        self.body["items"].as_array().unwrap()
    }

    fn ids(&self) -> Vec<&str> {
        self.items()
            .iter()
            .map(|item| item["id"].as_str().unwrap())
            .collect()
    }
}

fn ticks(value: &Value) -> Ticks {
    Ticks::parse(value.as_str().unwrap()).unwrap()
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

const DETAILS: &str = "IncludeDetails=AgentDetails&IncludeDetails=DepartmentsDetails\
    &IncludeDetails=ContactDetails&IncludeDetails=ChannelTypeDetails\
    &IncludeDetails=ClassificationDetails&IncludeDetails=ChannelDetails";
