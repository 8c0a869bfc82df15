//! A real HTTP/2 server whose connections stay open and answer nothing any more.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::net::{TcpListener, TcpStream};

use crate::api::{Client, ClientConfig, Detail};
use crate::clock::{Clock as _, FakeClock};
use crate::data::{Resource, Source as _};

use super::{DATE, TOKEN, first_page, server_time};

const PAGE: &str = r#"{"items":[],"totalItems":0}"#;

/// How a connection that died behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Death {
    /// It takes requests and answers pings, but never a request.
    AnswersPings,
    /// It answers nothing at all.
    Silent,
}

/// The connections that came, and how many of them died.
#[derive(Default)]
struct Counts {
    came: AtomicUsize,
    died: AtomicUsize,
}

async fn serve(death: Death) -> (SocketAddr, Arc<Counts>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let counts = Arc::new(Counts::default());
    let shared = Arc::clone(&counts);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let number = shared.came.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(connection(stream, number, death, Arc::clone(&shared)));
        }
    });
    (address, counts)
}

async fn connection(stream: TcpStream, number: usize, death: Death, counts: Arc<Counts>) {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    let mut unanswered = Vec::new();
    while let Some(Ok((_request, mut respond))) = connection.accept().await {
        if number < counts.died.load(Ordering::SeqCst) {
            unanswered.push(respond);
            if death == Death::Silent {
                std::future::pending::<()>().await;
            }
            continue;
        }
        let answer = http::Response::builder()
            .header("date", DATE)
            .header("content-type", "application/json")
            .body(())
            .unwrap();
        let mut body = respond.send_response(answer, false).unwrap();
        body.send_data(Bytes::from_static(PAGE.as_bytes()), true)
            .unwrap();
    }
}

#[tokio::test]
async fn a_connection_that_died_without_closing_is_replaced_at_the_next_attempt() {
    for death in [Death::AnswersPings, Death::Silent] {
        let (address, counts) = serve(death).await;
        let config = ClientConfig {
            base_url: crate::api::base_url(&format!("http://{address}"), false).unwrap(),
            token: crate::api::token(TOKEN).unwrap(),
            sustained: "1000/5m".parse().unwrap(),
            burst: "200/5s".parse().unwrap(),
            share: 0.9,
            connect_timeout: Duration::from_secs(10),
            // Long enough for an answer on a busy machine.
            read_timeout: Duration::from_secs(2),
            request_timeout: Duration::from_secs(20),
            include_details: Detail::ALL.to_vec(),
            patience: None,
            waits_for_limits: false,
        };
        let clock = Arc::new(FakeClock::at(server_time()));
        let same = Arc::clone(&clock);
        let client = Client::adapted(config, same, reqwest::ClientBuilder::http2_prior_knowledge);
        let client = client.unwrap();
        let ask = async || client.page(&first_page(Resource::Contacts)).await;
        for _ in 0..2 {
            ask().await.unwrap();
        }
        assert_eq!(counts.came.load(Ordering::SeqCst), 1, "they share one");
        counts.died.store(1, Ordering::SeqCst);
        let before = clock.now();
        ask().await.unwrap();
        assert_eq!(counts.came.load(Ordering::SeqCst), 2, "{death:?}");
        let usage = client.usage();
        assert_eq!((usage.requests, usage.retries), (4, 1), "{death:?}");
        assert!(clock.now() > before, "it waited before the retry");
        // The new one stays.
        ask().await.unwrap();
        assert_eq!(counts.came.load(Ordering::SeqCst), 2, "{death:?}");
    }
}
