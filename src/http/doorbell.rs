//! The doorbell: the address that the platform calls when something changes.
//!
//! Whoever knows the secret path is heard, whatever the method and the body: a call that is refused might
//! be the only one. Everybody else is told that there is nothing. A call is answered before anything is
//! done, also by a process that can only pass it on, and nothing of it is logged.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::{nothing_here, said};
use crate::clock::Clock;
use crate::doorbell::{Bells, Ring};
use crate::metrics;

/// The largest body that is read. A larger one may concern anything.
const LARGEST: usize = 256 << 10;

/// How long a body may take to arrive. A slower one may concern anything.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Clone)]
struct Door {
    bells: Bells,
    clock: Arc<dyn Clock>,
}

/// The addresses of the doorbells of all accounts.
pub fn doorbell_routes(bells: Bells, clock: Arc<dyn Clock>) -> Router {
    Router::new()
        .fallback(call)
        .with_state(Door { bells, clock })
}

async fn call(State(door): State<Door>, request: Request) -> Response {
    // Before the body is read, so that nobody else can make this read one.
    let Some(bell) = door.bells.at(request.uri().path()) else {
        metrics::stranger();
        return nothing_here();
    };
    bell.ring(read(request.into_body(), door.clock.as_ref()).await);
    said(StatusCode::ACCEPTED, "")
}

/// What a delivery concerns.
async fn read(body: Body, clock: &dyn Clock) -> Ring {
    let body = tokio::select! {
        body = to_bytes(body, LARGEST) => body.ok(),
        () = clock.sleep(PATIENCE) => None,
    };
    body.map_or(Ring::UNKNOWN, |body| Ring::of(&body))
}
