//! A way to a server that can fall silent, so that what is sent vanishes and nobody is told, or end.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// Passes bytes on in both directions.
#[derive(Debug)]
pub(crate) struct Proxy {
    port: u16,
    trap: Arc<Mutex<Option<String>>>,
}

/// How many commits may still pass, if that is limited.
#[derive(Debug, Clone)]
struct Commits {
    left: Arc<AtomicUsize>,
    /// Cancelled when none may any more.
    cut: CancellationToken,
}

impl Proxy {
    /// A way to the server at this address.
    pub(crate) async fn to(address: String) -> Self {
        let commits = Commits {
            left: Arc::new(AtomicUsize::new(usize::MAX)),
            cut: CancellationToken::new(),
        };
        Self::with(address, commits).await
    }

    /// A way to the Postgres at this URL that ends for all connections, and for ever, just before the
    /// n-th transaction would be committed. The token is cancelled then.
    pub(crate) async fn until_commit(url: &str, number: usize) -> (Self, CancellationToken) {
        let url = url::Url::parse(url).unwrap();
        let port = url.port().unwrap_or(5432);
        let address = format!("{}:{port}", url.host_str().unwrap());
        let cut = CancellationToken::new();
        let commits = Commits {
            left: Arc::new(AtomicUsize::new(number)),
            cut: cut.clone(),
        };
        (Self::with(address, commits).await, cut)
    }

    async fn with(address: String, commits: Commits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let trap = Arc::default();
        let set = Arc::clone(&trap);
        tokio::spawn(async move {
            let cut = commits.cut.clone();
            let accepting = async {
                while let Ok((client, _)) = listener.accept().await {
                    let server = TcpStream::connect(&address).await.unwrap();
                    tokio::spawn(pass(client, server, Arc::clone(&set), commits.clone()));
                }
            };
            cut.run_until_cancelled(accepting).await;
        });
        Self { port, trap }
    }

    /// The URL of a server as it is reached this way.
    pub(crate) fn address(&self, url: &str) -> String {
        let mut url = url::Url::parse(url).unwrap();
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(self.port)).unwrap();
        url.to_string()
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The next connection whose client sends this text is silent from then on, for ever: the text
    /// does not arrive. The others, and new ones, go on.
    pub(crate) fn silence_at(&self, text: &str) {
        *self.trap.lock().unwrap() = Some(text.to_owned());
    }
}

async fn pass(
    mut client: TcpStream,
    mut server: TcpStream,
    trap: Arc<Mutex<Option<String>>>,
    commits: Commits,
) {
    let (mut sent, mut answered) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    loop {
        tokio::select! {
            () = commits.cut.cancelled() => return,
            read = client.read(&mut sent) => {
                let Ok(length @ 1..) = read else { return };
                // As a statement of its own, the way transactions are ended.
                if sent[..length].ends_with(b"commit\0")
                    && commits.left.fetch_sub(1, Ordering::SeqCst) == 1
                {
                    commits.cut.cancel();
                    return;
                }
                let caught = {
                    let mut trap = trap.lock().unwrap();
                    let text = String::from_utf8_lossy(&sent[..length]);
                    trap.take_if(|awaited| text.contains(awaited.as_str())).is_some()
                };
                if caught {
                    // Both ends stay open, and hear nothing of each other, not even an end.
                    std::future::pending::<()>().await;
                }
                server.write_all(&sent[..length]).await.unwrap();
            }
            read = server.read(&mut answered) => {
                let Ok(length @ 1..) = read else { return };
                if client.write_all(&answered[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}
