//! A way to a server that can fall silent: what is sent vanishes, and nobody is told.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Passes bytes on in both directions.
#[derive(Debug)]
pub(crate) struct Proxy {
    port: u16,
    trap: Arc<Mutex<Option<String>>>,
}

impl Proxy {
    /// A way to the server at this address.
    pub(crate) async fn to(address: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let trap = Arc::default();
        let set = Arc::clone(&trap);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&address).await.unwrap();
                tokio::spawn(pass(client, server, Arc::clone(&set)));
            }
        });
        Self { port, trap }
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

async fn pass(mut client: TcpStream, mut server: TcpStream, trap: Arc<Mutex<Option<String>>>) {
    let (mut sent, mut answered) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    loop {
        tokio::select! {
            read = client.read(&mut sent) => {
                let Ok(length @ 1..) = read else { return };
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
