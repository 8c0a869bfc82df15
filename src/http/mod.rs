//! What `run` serves over HTTP: health, readiness, metrics, the status page and its data, and, at an
//! address of its own, the doorbell.
//!
//! Owns the addresses ([`routes`], [`doorbell_routes`]), who may read them ([`Access`]), and the limits
//! that keep slow, huge and malformed requests from hurting anybody ([`serve()`]). Every answer only
//! reads. Must not know SQL, clap, nor how syncs work.

mod access;
mod doorbell;
mod measure;
mod serve;
mod view;

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use serde::Serialize;

pub use access::Access;
pub use doorbell::doorbell_routes;
pub use serve::serve;
pub use view::{Observed, Readiness, View};

/// An answer that takes longer is given up.
const ANSWER: Duration = Duration::from_secs(20);

/// The page: one file, without anything from elsewhere.
const PAGE: &str = include_str!("page.html");

/// The page may load nothing, and ask only the program that serves it.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
     connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// The format of metrics that Prometheus reads.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All addresses. Health and readiness need no token, but give their reasons only to who may read.
pub fn routes(view: Arc<View>, access: Arc<Access>) -> Router {
    let guarded = Router::new()
        .route("/", get(|| ready(page())))
        .route("/api/status", get(status))
        .route("/metrics", get(metrics))
        .layer(middleware::from_fn_with_state(
            Arc::clone(&access),
            access::guard,
        ));
    Router::new()
        .route("/healthz", get(health))
        .route("/readyz", get(readiness))
        .layer(Extension(access))
        .merge(guarded)
        .fallback(|| ready(nothing_here()))
        .layer(middleware::from_fn_with_state(Arc::clone(&view), in_time))
        .with_state(view)
}

fn answer(status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn said(status: StatusCode, text: &'static str) -> Response {
    answer(status, TEXT, text)
}

fn nothing_here() -> Response {
    said(StatusCode::NOT_FOUND, "there is nothing at this address\n")
}

fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => answer(status, JSON, body),
        Err(_) => said(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the answer cannot be written as JSON\n",
        ),
    }
}

/// Gives up what takes too long.
async fn in_time(State(view): State<Arc<View>>, request: Request, next: Next) -> Response {
    tokio::select! {
        answer = next.run(request) => answer,
        () = view.clock().sleep(ANSWER) => said(
            StatusCode::SERVICE_UNAVAILABLE,
            "the answer took too long; the database may be busy. Try again later\n",
        ),
    }
}

fn page() -> Response {
    let mut page = answer(StatusCode::OK, HTML, PAGE);
    let policy = HeaderValue::from_static(PAGE_POLICY);
    page.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    page
}

/// What those are told instead of the reasons who may not read.
const HIDDEN: &str = "send the token of http.token to be told why";

async fn health(
    State(view): State<Arc<View>>,
    Extension(access): Extension<Arc<Access>>,
    headers: HeaderMap,
) -> Response {
    #[derive(Serialize)]
    struct Health {
        healthy: bool,
        reasons: Vec<String>,
        /// Tells programs on one machine apart.
        #[serde(skip_serializing_if = "Option::is_none")]
        database: Option<String>,
    }
    let may_read = access.may_read(&headers);
    let mut reasons = view.stuck();
    let healthy = reasons.is_empty();
    if !healthy && !may_read {
        reasons = vec![HIDDEN.to_owned()];
    }
    let health = Health {
        healthy,
        reasons,
        database: may_read.then(|| view.database().to_owned()),
    };
    json(status_of(healthy), &health)
}

async fn readiness(
    State(view): State<Arc<View>>,
    Extension(access): Extension<Arc<Access>>,
    headers: HeaderMap,
) -> Response {
    let mut readiness = view.readiness().await;
    if !access.may_read(&headers) {
        readiness.loading.clear();
        readiness.refused.clear();
        if !readiness.ready {
            readiness.reasons = vec![HIDDEN.to_owned()];
        }
    }
    json(status_of(readiness.ready), &readiness)
}

const fn status_of(is_well: bool) -> StatusCode {
    if is_well {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}

async fn status(State(view): State<Arc<View>>) -> Response {
    match view.status().await {
        Ok(body) => answer(StatusCode::OK, JSON, body),
        Err(problem) => {
            #[derive(Serialize)]
            struct Problem {
                error: String,
            }
            json(StatusCode::SERVICE_UNAVAILABLE, &Problem { error: problem })
        }
    }
}

async fn metrics(State(view): State<Arc<View>>) -> Response {
    match view.metrics().await {
        Some(text) => answer(StatusCode::OK, METRICS, text),
        None => said(
            StatusCode::SERVICE_UNAVAILABLE,
            "this process records no metrics\n",
        ),
    }
}
