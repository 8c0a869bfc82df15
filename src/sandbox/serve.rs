//! The HTTP server: reads requests and sends answers.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use url::form_urlencoded;

use super::account::SandboxAccount;
use super::config::{Fault, SandboxConfig};
use super::errors::Reply;
use super::wire::{Line, Wires};
use super::{faults, routes, webhooks};
use crate::clock::Clock;
use crate::data::Timestamp;

/// A request that was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestSeen {
    /// `GET`, `POST`, …
    pub method: String,
    /// Without the query.
    pub path: String,
    /// Decoded, in the order sent.
    pub query: Vec<(String, String)>,
    /// The status answered; 0 if the connection was reset instead.
    pub status: u16,
    /// When, by the sandbox's clock (not the server's, which may be skewed).
    pub at: Timestamp,
    /// Records in the answer.
    pub items: usize,
    /// Which of the accepted tokens it carried: 0 for [`SandboxConfig::token`], then those of
    /// [`SandboxConfig::more_tokens`]. `None` for any other.
    pub token: Option<usize>,
}

impl RequestSeen {
    /// The first value of a query parameter.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

type Hook = Box<dyn FnMut(&mut SandboxAccount, &RequestSeen) + Send>;

struct Shared {
    account: Mutex<SandboxAccount>,
    hooks: Mutex<Vec<Hook>>,
    script: Mutex<VecDeque<Fault>>,
    seen: Mutex<VecDeque<RequestSeen>>,
    remembered: usize,
    /// The accepted tokens.
    tokens: Vec<String>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// A running simulated account on a loopback port; it stops when dropped.
#[derive(Debug)]
pub struct Sandbox {
    shared: Arc<Shared>,
    address: SocketAddr,
    stopping: CancellationToken,
    server: JoinHandle<()>,
    others: Vec<JoinHandle<()>>,
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A test that panicked while it held the account says so itself.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sandbox {
    /// Generates the account and serves it on 127.0.0.1.
    pub async fn start(config: SandboxConfig, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, config.port)).await?;
        let address = listener.local_addr()?;
        let mut account = SandboxAccount::new(&config, Arc::clone(&clock));
        let deliveries = tokio::spawn(webhooks::deliver(account.webhooks.open()));
        let shared = Arc::new(Shared {
            account: Mutex::new(account),
            hooks: Mutex::default(),
            script: Mutex::default(),
            seen: Mutex::default(),
            remembered: config.remembered_requests,
            tokens: [vec![config.token], config.more_tokens].concat(),
            clock: Arc::clone(&clock),
        });
        let mut router = Router::new()
            .fallback(handle)
            .with_state(Arc::clone(&shared));
        if config.gzip {
            router = router.layer(CompressionLayer::new().quality(CompressionLevel::Fastest));
        }
        let stopping = CancellationToken::new();
        let stopped = stopping.clone().cancelled_owned();
        let server = tokio::spawn(async move {
            let service = router.into_make_service_with_connect_info::<Line>();
            let server = axum::serve(Wires(listener), service).with_graceful_shutdown(stopped);
            if let Err(error) = server.await {
                tracing::warn!(%error, "the sandbox stopped serving");
            }
        });
        let mut others = vec![deliveries];
        if config.live_rate > 0.0 {
            others.push(tokio::spawn(live(Arc::clone(&shared), config.live_rate)));
        }
        Ok(Self {
            shared,
            address,
            stopping,
            server,
            others,
        })
    }

    /// `http://127.0.0.1:PORT`, without a trailing slash.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The first token that is accepted.
    pub fn token(&self) -> &str {
        &self.shared.tokens[0]
    }

    /// The account, to look into and to change. No request is answered while the guard is held:
    /// never await an answer under it.
    pub fn account(&self) -> MutexGuard<'_, SandboxAccount> {
        lock(&self.shared.account)
    }

    /// Runs after every answer is computed and before it is sent, with the account in hand: what
    /// it changes is not in that answer. Several hooks run in the order given.
    pub fn on_answer(&self, hook: impl FnMut(&mut SandboxAccount, &RequestSeen) + Send + 'static) {
        lock(&self.shared.hooks).push(Box::new(hook));
    }

    /// Drops all hooks.
    pub fn clear_hooks(&self) {
        lock(&self.shared.hooks).clear();
    }

    /// What happens to the next answers, in order, whatever is asked; goes before chance and
    /// limits. Appends to what is still to happen.
    pub fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        lock(&self.shared.script).extend(faults);
    }

    /// Drops what of the script has not happened yet.
    pub fn clear_script(&self) {
        lock(&self.shared.script).clear();
    }

    /// Scripted faults that have not happened yet.
    pub fn scripted(&self) -> usize {
        lock(&self.shared.script).len()
    }

    /// The requests answered so far, oldest first.
    pub fn requests(&self) -> Vec<RequestSeen> {
        lock(&self.shared.seen).iter().cloned().collect()
    }

    /// The requests answered so far, which are then forgotten.
    pub fn take_requests(&self) -> Vec<RequestSeen> {
        lock(&self.shared.seen).drain(..).collect()
    }

    /// Stops serving: idle connections are closed, answers under way get a second.
    pub async fn stop(mut self) {
        self.stopping.cancel();
        // What is left after that is aborted by the drop.
        let _ = tokio::time::timeout(Duration::from_secs(1), &mut self.server).await;
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.stopping.cancel();
        self.server.abort();
        for other in &self.others {
            other.abort();
        }
    }
}

async fn live(shared: Arc<Shared>, rate: f64) {
    let pause = Duration::from_secs_f64((1.0 / rate).clamp(0.02, 3_600.0));
    let mut due = 0.0;
    let mut last = shared.clock.now();
    loop {
        shared.clock.sleep(pause).await;
        let now = shared.clock.now();
        due += now.since(last).as_secs_f64() * rate;
        last = now;
        while due >= 1.0 {
            due -= 1.0;
            lock(&shared.account).live_step(1);
        }
    }
}

async fn handle(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(line): ConnectInfo<Line>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap_or_default();
    let (latency, bare) = {
        let moods = &lock(&shared.account).moods;
        (moods.latency, moods.bare_token)
    };
    if latency > Duration::ZERO {
        shared.clock.sleep(latency).await;
    }
    let token = parts
        .headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| {
            if bare {
                Some(value)
            } else {
                value.strip_prefix("Bearer ")
            }
        });
    let token = token.and_then(|token| shared.tokens.iter().position(|known| known == token));
    let query: Vec<(String, String)> =
        form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes())
            .into_owned()
            .collect();
    let request = routes::Request {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        query: &query,
        body: &body,
        authorised: token.is_some(),
    };
    let (answer, fault, date) = shared.answer(&request, token);
    if date.is_none() {
        line.leave_date_out();
    }
    match &fault {
        Fault::Reset => line.tear(),
        Fault::Late(wait) => shared.clock.sleep(*wait).await,
        _ => {}
    }
    respond(answer, &fault, date.as_deref(), &shared.clock)
}

impl Shared {
    /// Everything between a request and its answer, in one turn of the account.
    fn answer(
        &self,
        request: &routes::Request<'_>,
        token: Option<usize>,
    ) -> (Reply, Fault, Option<String>) {
        let scripted = lock(&self.script).pop_front();
        let mut account = lock(&self.account);
        let mut fault = if account.is_offline() {
            Some(Fault::Reset)
        } else {
            scripted
        };
        let refused = if fault.is_none() {
            account.refuse(request)
        } else {
            None
        };
        if fault.is_none() && refused.is_none() {
            fault = Some(account.draw_fault());
        }
        let fault = fault.unwrap_or(Fault::None);
        let replaced = refused.or_else(|| account.faulty(&fault));
        let answer = match replaced {
            Some(answer) => answer,
            None if request.authorised => account.answer(request),
            None => account.unauthorised(),
        };
        let seen = RequestSeen {
            method: request.method.to_owned(),
            path: request.path.to_owned(),
            query: request.query.to_vec(),
            status: if fault == Fault::Reset {
                0
            } else {
                answer.status
            },
            at: self.clock.now(),
            items: answer.items,
            token,
        };
        let date = account.date_header();
        for hook in lock(&self.hooks).iter_mut() {
            hook(&mut account, &seen);
        }
        let mut log = lock(&self.seen);
        if log.len() >= self.remembered {
            log.pop_front();
        }
        if self.remembered > 0 {
            log.push_back(seen);
        }
        (answer, fault, date)
    }
}

fn respond(answer: Reply, fault: &Fault, date: Option<&str>, clock: &Arc<dyn Clock>) -> Response {
    let length = answer.body.len();
    let body = match fault {
        Fault::Cut => faults::cut(&answer.body),
        Fault::Slow(over) => faults::slow(answer.body, *over, Arc::clone(clock)),
        _ => Body::from(answer.body),
    };
    let mut response = Response::new(body);
    *response.status_mut() =
        StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(answer.kind));
    if let Some(date) = date.and_then(|date| HeaderValue::from_str(date).ok()) {
        headers.insert(header::DATE, date);
    }
    if *fault == Fault::Cut {
        // Announced whole, and never compressed, so that the client can tell that half is missing.
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        headers.insert(
            header::CONTENT_ENCODING,
            HeaderValue::from_static("identity"),
        );
    }
    if let Some(wait) = answer
        .retry_after
        .and_then(|text| HeaderValue::from_str(&text).ok())
    {
        headers.insert(header::RETRY_AFTER, wait);
    }
    response
}
