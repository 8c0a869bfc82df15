//! A server that answers with the bytes it is told, one connection a request.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::DATE;

/// An answer: its bytes, and whether the connection stays open and silent after them.
pub(super) struct Reply {
    bytes: Vec<u8>,
    hang: bool,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) path: String,
    pub(super) query: String,
    pub(super) head: String,
}

pub(super) struct Server {
    address: std::net::SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Answers every request with what `script` says to it and to its number, from 0.
    pub(super) async fn start(
        script: impl Fn(usize, &Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, script) = (Arc::clone(&seen), Arc::new(script));
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (log, script) = (Arc::clone(&log), Arc::clone(&script));
                tokio::spawn(async move { answer(stream, &log, script.as_ref()).await });
            }
        });
        Self {
            address,
            seen,
            task,
        }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The paths asked for, in order.
    pub(super) fn paths(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.path).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    mut stream: TcpStream,
    log: &Mutex<Vec<Seen>>,
    script: &(impl Fn(usize, &Seen) -> Reply + ?Sized),
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let target = head.split(' ').nth(1).unwrap().to_owned();
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let seen = Seen {
        path: path.to_owned(),
        query: query.to_owned(),
        head,
    };
    let reply = {
        let mut log = log.lock().unwrap();
        let reply = script(log.len(), &seen);
        log.push(seen);
        reply
    };
    let _ = stream.write_all(&reply.bytes).await;
    let _ = stream.flush().await;
    if reply.hang {
        std::future::pending::<()>().await;
    }
}

impl Reply {
    /// Exactly these bytes, then the end of the connection.
    pub(super) fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            bytes: bytes.into(),
            hang: false,
        }
    }

    /// Silence after what was sent so far.
    pub(super) fn hanging(mut self) -> Self {
        self.hang = true;
        self
    }

    /// A whole answer with a date.
    pub(super) fn json(status: u16, body: &str) -> Self {
        Self::with(status, "", body)
    }

    /// A whole answer with a date and further header lines, each with its line break.
    pub(super) fn with(status: u16, headers: &str, body: &str) -> Self {
        let kind = if body.starts_with('<') {
            "text/html"
        } else {
            "application/json"
        };
        Self::raw(format!(
            "HTTP/1.1 {status} X\r\nDate: {DATE}\r\nConnection: close\r\n\
             Content-Type: {kind}\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        ))
    }
}
