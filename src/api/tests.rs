//! The client against a scripted server that speaks bare bytes, for what no proper server does:
//! bodies that break off, pages of HTML, answers without a date.

mod dead;
mod echo;
mod pulse;
mod server;
mod sessions;
mod standing;
mod token;
mod weather;

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, FakeClock};
use crate::data::{Order, PageQuery, Resource, Span, Timestamp};

use super::{Client, ClientConfig, Detail};
use server::Server;

/// What the scripted server says in every `Date` header.
const DATE: &str = "Mon, 04 May 2026 13:00:00 GMT";
const TOKEN: &str = "pn_secret_of_the_account";

fn server_time() -> Timestamp {
    Timestamp::parse("2026-05-04T13:00:00Z").unwrap()
}

fn client(server: &Server, patience: Option<Duration>) -> (Client, Arc<FakeClock>) {
    let clock = Arc::new(FakeClock::at(server_time() + Duration::from_hours(1)));
    (client_on(server, patience, &clock), clock)
}

fn client_on(server: &Server, patience: Option<Duration>, clock: &Arc<FakeClock>) -> Client {
    Client::new(
        config(server, patience),
        Arc::clone(clock) as Arc<dyn Clock>,
    )
    .unwrap()
}

/// The only real time in these tests are the timeouts; they are long enough for a busy machine.
fn config(server: &Server, patience: Option<Duration>) -> ClientConfig {
    ClientConfig {
        base_url: super::base_url(&server.url(), false).unwrap(),
        token: super::token(TOKEN).unwrap(),
        sustained: "1000/5m".parse().unwrap(),
        burst: "200/5s".parse().unwrap(),
        share: 0.9,
        connect_timeout: Duration::from_secs(10),
        read_timeout: Duration::from_secs(10),
        request_timeout: Duration::from_secs(30),
        include_details: Detail::ALL.to_vec(),
        patience,
        waits_for_limits: false,
    }
}

fn first_page(resource: Resource) -> PageQuery {
    PageQuery {
        stream: resource.streams()[0],
        created: Span::OPEN,
        updated: Span::OPEN,
        filter: Arc::default(),
        order: Some(Order::UPDATED),
        number: 1,
        size: 2,
    }
}
