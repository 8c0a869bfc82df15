//! A webhook: an HTTP server that keeps what is posted to it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

/// The path of its address, which no output may ever show.
pub(crate) const SECRET_PATH: &str = "/services/whSecretNeverShown";

#[derive(Debug, Default)]
struct Kept {
    messages: Vec<Value>,
    requests: usize,
    /// What it answers. `None` accepts.
    refusal: Option<StatusCode>,
}

/// A webhook, until it is dropped.
pub(crate) struct Receiver {
    address: SocketAddr,
    kept: Arc<Mutex<Kept>>,
    _serving: AbortOnDropHandle<()>,
}

async fn receive(State(kept): State<Arc<Mutex<Kept>>>, uri: Uri, body: Bytes) -> StatusCode {
    let mut kept = kept.lock().unwrap();
    kept.requests += 1;
    if uri.path() != SECRET_PATH {
        return StatusCode::NOT_FOUND;
    }
    if let Some(refusal) = kept.refusal {
        return refusal;
    }
    kept.messages.push(serde_json::from_slice(&body).unwrap());
    StatusCode::OK
}

impl Receiver {
    pub(crate) async fn begin() -> Self {
        let kept = Arc::<Mutex<Kept>>::default();
        let router = Router::new()
            .fallback(receive)
            .with_state(Arc::clone(&kept));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            axum::serve(listener, router).await.unwrap();
        });
        Self {
            address,
            kept,
            _serving: AbortOnDropHandle::new(serving),
        }
    }

    /// Its address.
    pub(crate) fn url(&self) -> String {
        format!("http://{}{SECRET_PATH}", self.address)
    }

    /// From now on it answers this; `None` accepts.
    pub(crate) fn answer(&self, refusal: Option<u16>) {
        let refusal = refusal.map(|status| StatusCode::from_u16(status).unwrap());
        self.kept.lock().unwrap().refusal = refusal;
    }

    /// How many requests came, accepted or not.
    pub(crate) fn requests(&self) -> usize {
        self.kept.lock().unwrap().requests
    }

    /// The messages that it accepted since the last call.
    pub(crate) fn take(&self) -> Vec<Value> {
        std::mem::take(&mut self.kept.lock().unwrap().messages)
    }

    /// The same as `account alert event` of each alert.
    pub(crate) fn take_events(&self) -> Vec<String> {
        let messages = self.take();
        let alerts = messages
            .iter()
            .flat_map(|message| message["alerts"].as_array().unwrap());
        let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        alerts
            .map(|alert| {
                let words = [&alert["account"], &alert["alert"], &alert["event"]].map(word);
                words.join(" ")
            })
            .collect()
    }
}
