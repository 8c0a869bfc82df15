//! Connections: how many there may be, and how long each may take.
//!
//! A connection may be slow, huge or malformed. It then only hurts itself: headers have a limit of size
//! and time, bodies are not read or have such limits, too, a connection lasts a minute at most, and when there are too many, the
//! oldest makes room for the newest.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;

/// The most connections at a time.
const CONNECTIONS: usize = 64;

/// The headers of a request must be complete within this time.
const HEADERS: Duration = Duration::from_secs(5);

/// The most bytes of headers, and of what waits to be sent.
const BUFFER: usize = 16 << 10;

/// The most headers of a request.
const MOST_HEADERS: usize = 64;

/// How long a connection may last. Clients open another one.
const LIFETIME: Duration = Duration::from_mins(1);

/// How long answers may take to leave when the process stops.
const FAREWELL: Duration = Duration::from_secs(1);

/// The pause after the system refuses a connection, as when it has no file descriptors left.
const REFUSED: Duration = Duration::from_millis(200);

/// The open connections, oldest first.
type Open = Arc<Mutex<VecDeque<(u64, CancellationToken)>>>;

/// Serves until stopped.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) {
    let open = Open::default();
    let tracker = TaskTracker::new();
    let mut number = 0;
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "cannot accept an HTTP connection: {error}");
                clock.sleep(REFUSED).await;
                continue;
            }
        };
        number += 1;
        let end = CancellationToken::new();
        make_room(&open, number, end.clone());
        let stop = stop.clone();
        let (router, clock, open) = (router.clone(), Arc::clone(&clock), Arc::clone(&open));
        tracker.spawn(async move {
            tokio::select! {
                () = end.cancelled() => {}
                () = converse(stream, router, &clock, &stop) => {}
            }
            let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
            open.retain(|(other, _)| *other != number);
        });
    }
    drop(listener);
    tracker.close();
    tokio::select! {
        () = tracker.wait() => {}
        () = clock.sleep(FAREWELL) => {}
    }
}

/// Adds a connection, and ends the oldest ones if there are too many.
fn make_room(open: &Open, number: u64, end: CancellationToken) {
    let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
    open.push_back((number, end));
    while open.len() > CONNECTIONS {
        if let Some((_, oldest)) = open.pop_front() {
            oldest.cancel();
        }
    }
}

/// Answers the requests of a connection until it ends, the process stops, or it has lasted too long.
async fn converse(
    stream: TcpStream,
    router: Router,
    clock: &Arc<dyn Clock>,
    stop: &CancellationToken,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_headers(MOST_HEADERS)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        // A client that breaks off or sends nonsense is no failure of ours.
        _ended = connection.as_mut() => return,
        () = stop.cancelled() => {}
        () = clock.sleep(LIFETIME) => {}
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        _ended = connection => {}
        () = clock.sleep(FAREWELL) => {}
    }
}
