//! A SOCKS 5 proxy (RFC 1928) that resolves every name to one address.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// The proxy. It ends with the runtime.
pub(crate) struct Socks {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Socks {
    /// A proxy that connects to this address, whatever name it is asked for.
    pub(crate) async fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::default();
        let log = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, server.clone(), Arc::clone(&log)));
            }
        });
        Self { address, asked }
    }

    /// The value of `ALL_PROXY`.
    pub(crate) fn url(&self) -> String {
        format!("socks5h://{}", self.address)
    }

    /// The names that it was asked for.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn pass(mut client: TcpStream, server: String, log: Arc<Mutex<Vec<String>>>) {
    // Version and methods; none is needed.
    assert_eq!(client.read_u8().await.unwrap(), 5);
    let methods = client.read_u8().await.unwrap();
    let mut offered = vec![0; methods.into()];
    client.read_exact(&mut offered).await.unwrap();
    client.write_all(&[5, 0]).await.unwrap();
    // Version, connect, reserved, a name.
    let mut head = [0; 4];
    client.read_exact(&mut head).await.unwrap();
    assert_eq!(head, [5, 1, 0, 3], "the proxy resolves the name");
    let length = client.read_u8().await.unwrap();
    let mut name = vec![0; length.into()];
    client.read_exact(&mut name).await.unwrap();
    let _port = client.read_u16().await.unwrap();
    log.lock().unwrap().push(String::from_utf8(name).unwrap());
    let mut server = TcpStream::connect(server).await.unwrap();
    client
        .write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])
        .await
        .unwrap();
    // Either side may end it.
    let _ended = tokio::io::copy_bidirectional(&mut client, &mut server).await;
}
