//! What `run` serves: health, readiness, metrics and the status, to whom, and under which limits.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use helena_sync::metrics::{self, METRICS};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::doorbell;
use super::program::{Place, Running, account, on_both, until};
use crate::support::database::Kind;
use crate::support::tools;

/// An answer: its status, its headers and its body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Whether these bytes are a whole answer that says how long it is.
fn is_whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).to_ascii_lowercase();
    let Some((head, _)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    let length: Option<usize> = length.and_then(|length| length.trim().parse().ok());
    length.is_some_and(|length| bytes.len() >= head.len() + 4 + length)
}

/// Sends these bytes and reads the answer: as many bytes as it says, or until the connection is closed.
pub(crate) async fn send(address: SocketAddr, bytes: &[u8]) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(address).await?;
    // The server may answer and close before it has read everything.
    let _unread = stream.write_all(bytes).await;
    let mut text = Vec::new();
    while !is_whole(&text) {
        match stream.read_buf(&mut text).await {
            Ok(0) if text.is_empty() => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if text.is_empty() => return Err(error),
            Err(_) => break,
        }
    }
    let text = String::from_utf8(text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Ok(Answer {
        status,
        head: head.to_ascii_lowercase(),
        body: body.to_owned(),
    })
}

/// Asks with these headers besides.
pub(crate) async fn ask(address: SocketAddr, method: &str, path: &str, headers: &str) -> Answer {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\r\n"
    );
    send(address, request.as_bytes()).await.unwrap()
}

/// Asks as a monitor without a token does.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Answer {
    ask(address, "GET", path, "").await
}

/// A place whose `run` listens on any free port.
pub(crate) fn listening(place: Place) -> Place {
    place
        .with("HELENA_SYNC__HTTP__LISTEN", "127.0.0.1:0")
        .with("HELENA_SYNC__SYNC__SCHEDULE", "every 1s")
}

/// The address at which it listens.
pub(crate) async fn address(program: &mut Running) -> SocketAddr {
    const BEFORE: &str = "status page, health and metrics: http://";
    program.says(BEFORE).await;
    let said = program.err();
    let (_, rest) = said.split_once(BEFORE).unwrap();
    rest.split('/').next().unwrap().parse().unwrap()
}

/// Waits until it says that the mirror is fresh.
pub(crate) async fn ready(address: SocketAddr) {
    until("it is ready", async || {
        get(address, "/readyz").await.status == 200
    })
    .await;
}

async fn stop(program: Running) {
    program.signal(Signal::TERM);
    let done = program.end().await;
    assert_eq!(done.code, Some(0), "{done:?}");
}

/// The names of the metrics in this text, without what histograms add to them.
fn families(text: &str) -> BTreeSet<&str> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.filter_map(|line| line.split(' ').next()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn run_serves_its_health_its_readiness_and_its_status() {
    on_both(|place| async move {
        let sandbox = account(120).await;
        let place = listening(place).with("HELENA_BASE_URL", &sandbox.base_url());
        let mut program = place.start(&["run"]);
        let address = address(&mut program).await;
        let health = get(address, "/healthz").await;
        assert_eq!(health.status, 200, "{health:?}");
        assert_eq!(health.json()["healthy"], true);
        ready(address).await;
        let mut status = serde_json::Value::Null;
        until(
            "everything is loaded, and a pass was made after that",
            async || {
                status = get(address, "/api/status").await.json();
                let shown = &status["accounts"][0];
                let count = |key: &str| shown[key].as_array().map(Vec::len);
                count("backfills") == Some(0) && count("passes") > Some(1)
            },
        )
        .await;
        let shown = &status["accounts"][0];
        assert_eq!(shown["account"], "default");
        assert_eq!(shown["live"]["works"], true);
        assert_eq!(shown["live"]["budget"][0]["allowed"], 90_000);
        assert_eq!(shown["overdue"], serde_json::json!([]));
        assert!(shown["live"]["next_pass_at"].is_string(), "{status}");
        // It is what `status --json` prints.
        let printed = place.succeeds(&["status", "--json"]).await.json();
        for key in printed[0].as_object().unwrap().keys() {
            assert!(shown.get(key).is_some(), "{key}");
        }
        assert_eq!(shown["base_url"], printed[0]["base_url"]);
        let page = get(address, "/").await;
        assert_eq!(page.status, 200);
        assert!(
            page.head
                .contains("content-security-policy: default-src 'none'")
        );
        assert!(page.body.starts_with("<!doctype html>"));
        assert_eq!(get(address, "/elsewhere").await.status, 404);
        assert_eq!(ask(address, "POST", "/api/status", "").await.status, 405);
        stop(program).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_are_those_of_the_table_and_please_promtool() {
    on_both(|place| async move {
        let sandbox = account(120).await;
        let place = listening(place)
            .with("HELENA_BASE_URL", &sandbox.base_url())
            .with("HELENA_SYNC__DOORBELL__LISTEN", "127.0.0.1:0")
            .with("HELENA_SYNC__DOORBELL__SECRET", doorbell::SECRET)
            // It begins and ends within the test.
            .with("HELENA_SYNC__VERIFY__SCHEDULE", "every 2s");
        let kind = place.kind;
        let mut program = place.start(&["run"]);
        let address = address(&mut program).await;
        let door = doorbell::door(&mut program).await;
        let wanted: BTreeSet<&str> = METRICS
            .iter()
            .map(|metric| metric.name)
            .filter(|name| kind == Kind::Sqlite || !name.contains("_sqlite_") && !name.contains("_disk_"))
            .collect();
        let mut text = String::new();
        until("a verification has ended, and the platform has rung", async || {
            let id = sandbox.account().session_ids()[3];
            let delivery = format!("{{\"eventType\":\"SESSION_UPDATE\",\"content\":{{\"id\":\"{id}\"}}}}");
            sandbox.account().update_session(id, |session| session.unread_count += 1);
            doorbell::call(door, &doorbell::path_of("default"), &delivery).await;
            text = get(address, "/metrics").await.body;
            ["helena_sync_last_verify_timestamp_seconds{", "helena_sync_last_ring_timestamp_seconds{",
             "helena_sync_ring_duration_seconds_count{", "helena_sync_doorbell_subscribed{"]
                .iter()
                .all(|name| text.contains(name))
        })
        .await;
        assert_eq!(families(&text), wanted, "{text}");
        for metric in METRICS.iter().filter(|metric| wanted.contains(metric.name)) {
            let line = text.lines().find(|line| {
                let end = [" ", "{", "_count"].into_iter();
                !line.starts_with('#')
                    && end.map(|end| metric.name.to_owned() + end).any(|name| line.starts_with(&name))
            });
            let line = line.unwrap_or_else(|| panic!("{}: {text}", metric.name));
            for label in metric.labels {
                assert!(line.contains(&format!("{label}=\"")), "{line}");
            }
            assert!(text.contains(&format!("# HELP {} {}", metric.name, metric.meaning)));
        }
        let has = |line: &str| assert!(text.lines().any(|it| it == line), "{line}: {text}");
        has("helena_sync_rows_total{account=\"default\",outcome=\"inserted\",resource=\"sessions\"} 120");
        has("helena_sync_lease_held{account=\"default\"} 1");
        has("helena_sync_database_up 1");
        has("helena_sync_request_budget{account=\"default\",window=\"burst\"} 90000");
        has("helena_sync_doorbell_subscribed{account=\"default\"} 0");
        has("helena_sync_doorbell_strangers_total 0");
        has("helena_sync_rejects_open{account=\"default\",resource=\"sessions\"} 0");
        // Ids are no labels.
        assert!(text.lines().count() < 600, "{text}");
        tools::promtool(&["check", "metrics"], place.path(), &text);
        stop(program).await;
    })
    .await;
}

#[test]
fn the_document_has_the_table_of_all_metrics() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/monitoring.md");
    let text = std::fs::read_to_string(path).unwrap();
    let table = metrics::markdown();
    assert!(text.contains(&table), "the table should be:\n{table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_not_ready_while_nothing_can_be_read_but_healthy() {
    on_both(|place| async move {
        let sandbox = account(20).await;
        sandbox.account().moods.offline = true;
        let place = listening(place).with("HELENA_BASE_URL", &sandbox.base_url());
        let mut program = place.start(&["run"]);
        let address = address(&mut program).await;
        program.says("keeping 1 account").await;
        let answer = get(address, "/readyz").await;
        assert_eq!(answer.status, 503, "{answer:?}");
        until("it says why", async || {
            let readiness = get(address, "/readyz").await.json();
            let text = readiness["reasons"].to_string();
            readiness["ready"] == false
                && text.contains("default: sessions was never read completely")
        })
        .await;
        assert_eq!(get(address, "/healthz").await.status, 200);
        until("the outage is a metric", async || {
            let text = get(address, "/metrics").await.body;
            // A stream that was never read is late since the process began.
            let sessions = "helena_sync_overdue_seconds{account=\"default\",stream=\"sessions\"} ";
            let mut lines = text.lines().filter_map(|line| line.strip_prefix(sessions));
            let late = lines.any(|value| value.parse::<f64>().is_ok_and(|late| late > 0.0));
            late && text.contains("helena_sync_platform_outage{account=\"default\"} 1")
        })
        .await;
        sandbox.account().moods.offline = false;
        ready(address).await;
        stop(program).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_token_may_not_read_is_named_and_leaves_the_others_ready() {
    on_both(|place| async move {
        let sandbox = account(20).await;
        sandbox.account().moods.refused = vec!["/core/v1/tag".to_owned()];
        let place = listening(place).with("HELENA_BASE_URL", &sandbox.base_url());
        let mut program = place.start(&["run"]);
        let address = address(&mut program).await;
        ready(address).await;
        let answer = get(address, "/readyz").await.json();
        let refused = answer["refused"].as_array().unwrap();
        assert_eq!(refused.len(), 1, "{answer}");
        let text = refused[0].as_str().unwrap();
        for part in [
            "default: tags does not count",
            "GET /core/v1/tag was refused with 401",
            "sync.resources",
        ] {
            assert!(text.contains(part), "{text}");
        }
        let chosen = place.with("HELENA_SYNC__HTTP__LISTEN", &address.to_string());
        let said = ["default: tags does not count", "ready"];
        chosen.succeeds(&["health", "--ready"]).await.says(&said);
        let said = ["default: tags does not count", "changes are up to date"];
        chosen.succeeds(&["status", "--max-lag"]).await.says(&said);
        let status = chosen.succeeds(&["status", "--json"]).await.json();
        assert_eq!(status[0]["refused"], serde_json::json!(["tags"]));
        until("the metrics say it", async || {
            let text = get(address, "/metrics").await.body;
            let has = |line: &str| text.lines().any(|it| it.starts_with(line));
            let refused = |stream: &str| {
                format!("helena_sync_refused{{account=\"default\",stream=\"{stream}\"}}")
            };
            has(&(refused("tags") + " 1")) && has(&(refused("sessions") + " 0"))
        })
        .await;
        // Not all rows are loaded.
        chosen
            .refuses(&["status", "--complete"], 1, &["tags was never read"])
            .await;
        stop(program).await;

        // If everything is refused, the token is what is wrong.
        sandbox.account().moods.refused = vec!["/".to_owned()];
        let place = chosen.with("HELENA_SYNC__HTTP__LISTEN", "127.0.0.1:0");
        let mut program = place.start(&["run"]);
        program
            .says("the API refuses the token for every resource")
            .await;
        let database = place.database().await;
        database
            .execute("update sync_state set last_success_at = null")
            .await;
        database.store.close().await;
        place
            .refuses(&["status", "--max-lag"], 1, &["agents was never read"])
            .await;
        stop(program).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_revoked_leaves_nothing_out_although_lists_were_not_tried_since() {
    on_both(|place| async move {
        let sandbox = account(20).await;
        let place = listening(place).with("HELENA_BASE_URL", &sandbox.base_url());
        let mut program = place.start(&["run"]);
        let address = address(&mut program).await;
        ready(address).await;
        let loaded = async || {
            let status = get(address, "/api/status").await.json();
            status["accounts"][0]["backfills"] == serde_json::json!([])
        };
        until("everything is loaded", loaded).await;
        let database = place.database().await;
        let refused = async |resource: &str| {
            let sql = format!("resource = '{resource}' and last_error like '%was refused with%'");
            database.count("sync_state", &sql).await > 0
        };
        sandbox.account().moods.refused = vec!["/".to_owned()];
        until("both streams are refused", async || {
            refused("sessions").await && refused("contacts").await
        })
        .await;
        assert!(!refused("tags").await, "lists have time");
        // Long ago, and so the first failure is the first one after it.
        let old = "update sync_state set last_success_at = '2026-01-01T00:00:00.000000Z' \
                   where resource in ('sessions', 'contacts')";
        database.execute(old).await;
        let mut told = serde_json::Value::Null;
        until("it is not ready", async || {
            told = get(address, "/readyz").await.json();
            told["ready"] == false
        })
        .await;
        let reasons = told["reasons"].to_string();
        assert!(reasons.contains("sessions was last read"), "{told}");
        assert!(
            reasons.contains("contacts (ACTIVE) was last read"),
            "{told}"
        );
        assert_eq!(told["refused"], serde_json::json!([]), "{told}");
        stop(program).await;
        // A new token that may not read contacts.
        sandbox.account().moods.refused = vec!["/core/v1/contact".to_owned()];
        let mut program = place.start(&["run"]);
        let address = self::address(&mut program).await;
        ready(address).await;
        let told = get(address, "/readyz").await.json();
        let text = told["refused"].to_string();
        assert!(text.contains("default: contacts does not count"), "{told}");
        database.store.close().await;
        stop(program).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_database_cannot_say_is_absent_and_not_old() {
    /// Metrics that are read from the database.
    const STORED: [&str; 8] = [
        metrics::LAG,
        metrics::OVERDUE,
        metrics::FAILING,
        metrics::REJECTS,
        metrics::GAPS,
        metrics::RECHECKS,
        metrics::DIFFERENCES,
        metrics::LEASE_VALID,
    ];
    on_both(|place| async move {
        let sandbox = account(20).await;
        let place = listening(place).with("HELENA_BASE_URL", &sandbox.base_url());
        let mut program = place.start(&["run"]);
        let address = address(&mut program).await;
        ready(address).await;
        let shown = async |stored: bool, log: bool| {
            let text = get(address, "/metrics").await.body;
            let families = families(&text);
            let is_up = format!("helena_sync_database_up {}", u8::from(stored));
            text.lines().any(|line| line == is_up)
                && STORED.iter().all(|name| families.contains(name) == stored)
                && families.contains(metrics::WAL_BYTES) == log
                // What the process itself knows is there at any time.
                && [metrics::BUILD_INFO, metrics::BUDGET, metrics::PASSES, metrics::STUCK]
                    .iter()
                    .all(|name| families.contains(name))
        };
        let has_log = place.kind == Kind::Sqlite;
        until("all of it is shown", async || shown(true, has_log).await).await;
        let database = place.database().await;
        database.execute("alter table gaps rename to away").await;
        until("nothing of it is shown", async || shown(false, false).await).await;
        database.execute("alter table away rename to gaps").await;
        database.store.close().await;
        until("all of it is shown again", async || {
            shown(true, has_log).await
        })
        .await;
        stop(program).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verification_is_overdue_by_its_own_schedule() {
    const OVERDUE: &str = "helena_sync_verify_overdue_seconds{account=\"default\"} ";
    on_both(|place| async move {
        let sandbox = account(20).await;
        // So that no verification can end.
        sandbox.account().moods.offline = true;
        let mut place = listening(place).with("HELENA_BASE_URL", &sandbox.base_url());
        for (schedule, is_late) in [
            ("every 1s", Some(true)),
            ("every 30d", Some(false)),
            ("off", None),
        ] {
            place.set("HELENA_SYNC__VERIFY__SCHEDULE", schedule);
            let mut program = place.start(&["run"]);
            let address = address(&mut program).await;
            until(&format!("{schedule}: it is measured"), async || {
                let text = get(address, "/metrics").await.body;
                let mut values = text.lines().filter_map(|line| line.strip_prefix(OVERDUE));
                let late = values
                    .next()
                    .map(|value| value.parse::<f64>().unwrap() > 0.0);
                late == is_late && text.contains("helena_sync_lease_held{account=\"default\"} 1")
            })
            .await;
            stop(program).await;
        }
    })
    .await;
}

const SECRET: &str = "f00dfacef00dfacef00dface";

#[tokio::test(flavor = "multi_thread")]
async fn other_machines_need_the_token_except_for_health() {
    let sandbox = account(20).await;
    sandbox.account().moods.offline = true;
    let place = listening(Place::beside(&sandbox)).with("HELENA_SYNC__HTTP__LISTEN", "0.0.0.0:0");
    place
        .refuses(&["run"], 2, &["readers need a token", "http.token_file"])
        .await;
    let short = place.with("HELENA_SYNC__HTTP__TOKEN", "short");
    short.refuses(&["run"], 2, &["shorter than 16"]).await;
    let place = short.without("HELENA_SYNC__HTTP__TOKEN");
    place.write("token", &format!("{SECRET}\n"));
    let place = place.with("HELENA_SYNC__HTTP__TOKEN_FILE", "token");
    let mut program = place.start(&["run"]);
    let mut address = address(&mut program).await;
    address.set_ip([127, 0, 0, 1].into());
    for path in ["/healthz", "/readyz"] {
        assert_ne!(get(address, path).await.status, 401, "{path}");
    }
    for path in ["/", "/api/status", "/metrics"] {
        let refused = get(address, path).await;
        assert_eq!(refused.status, 401, "{path}");
        assert!(
            refused.head.contains("www-authenticate: basic"),
            "{refused:?}"
        );
        let wrong = "Authorization: Bearer f00dfacef00dfacef00dfac0\r\n";
        assert_eq!(ask(address, "GET", path, wrong).await.status, 401, "{path}");
    }
    let right = format!("Authorization: Bearer {SECRET}\r\n");
    // The reasons name accounts.
    until("only who sends the token is told why", async || {
        let told = ask(address, "GET", "/readyz", &right).await.json();
        told["reasons"]
            .to_string()
            .contains("sessions was never read completely")
    })
    .await;
    let told = get(address, "/readyz").await;
    assert_eq!(told.status, 503);
    let hidden = serde_json::json!(["send the token of http.token to be told why"]);
    assert_eq!(told.json()["reasons"], hidden);
    assert_eq!(told.json()["loading"], serde_json::json!([]));
    let asking = place.with(
        "HELENA_SYNC__HTTP__LISTEN",
        &format!("0.0.0.0:{}", address.port()),
    );
    let told = asking.run(&["health", "--ready"]).await;
    assert_eq!(told.code, Some(1), "{told:?}");
    assert!(told.err.contains("never read completely"), "{told:?}");
    asking.succeeds(&["health"]).await;
    let place = asking;
    sandbox.account().moods.offline = false;
    until("it answers whoever sends the token", async || {
        ask(address, "GET", "/api/status", &right).await.status == 200
    })
    .await;
    assert_eq!(ask(address, "GET", "/metrics", &right).await.status, 200);
    program.signal(Signal::TERM);
    let done = program.end().await;
    assert!(!done.err.contains(SECRET), "{done:?}");
    let shown = place.with("HELENA_SYNC__HTTP__TOKEN", SECRET);
    let shown = shown.without("HELENA_SYNC__HTTP__TOKEN_FILE");
    let shown = shown.succeeds(&["config", "show"]).await;
    assert!(!shown.out.contains(SECRET), "{shown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_taken_is_refused_if_it_was_chosen() {
    let sandbox = account(20).await;
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let place = Place::beside(&sandbox).with("HELENA_SYNC__HTTP__LISTEN", &address);
    let said = ["another program uses this address", "http.listen"];
    place.refuses(&["run"], 1, &said).await;
    // Another test, or another program, may have the default address.
    let _held = TcpListener::bind("127.0.0.1:9464").await;
    let place = place.without("HELENA_SYNC__HTTP__LISTEN");
    let mut program = place.start(&["run"]);
    program.says("no status page, health or metrics").await;
    program.says("keeping 1 account").await;
    stop(program).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_page_elsewhere_cannot_read_the_status() {
    let sandbox = account(20).await;
    let place = listening(Place::beside(&sandbox));
    let mut program = place.start(&["run"]);
    let address = address(&mut program).await;
    let request =
        |host: &str| format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let status = async |host: &str| {
        send(address, request(host).as_bytes())
            .await
            .unwrap()
            .status
    };
    assert_eq!(status("rebound.example:9464").await, 403);
    assert_eq!(status("localhost:9464").await, 200);
    stop(program).await;
}

/// How long the server lets a connection last: much longer than it waits for headers.
const LIFETIME: Duration = Duration::from_mins(1);

/// Waits until the server closes a connection, before its time is over. Returns what it has said.
async fn rest(mut stream: TcpStream) -> String {
    let mut said = Vec::new();
    let closed = tokio::time::timeout(LIFETIME / 2, stream.read_to_end(&mut said)).await;
    // It may do so with a reset.
    let _closed = closed.expect("the connection stays open");
    String::from_utf8(said).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_huge_and_malformed_requests_hurt_nobody() {
    let sandbox = account(20).await;
    let place = listening(Place::beside(&sandbox));
    let mut program = place.start(&["run"]);
    let address = address(&mut program).await;
    ready(address).await;
    // Many more than there may be, each of which never ends its request.
    let mut slow = VecDeque::new();
    for _ in 0..300 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: x\r\nX-A: ")
            .await
            .unwrap();
        slow.push_back(stream);
        if slow.len() % 50 == 0 {
            assert_eq!(get(address, "/healthz").await.status, 200);
        }
    }
    assert_eq!(get(address, "/readyz").await.status, 200);
    // The oldest made room, long before their time is over: their connections are closed.
    let files = std::fs::read_dir(format!("/proc/{}/fd", program.pid().as_raw_nonzero()));
    assert!(files.unwrap().count() < 150);
    for stream in slow.drain(..200) {
        assert_eq!(rest(stream).await, "", "nothing is said to them");
    }
    // The others have some seconds for their headers.
    let newest = slow.pop_back().unwrap();
    assert_eq!(rest(newest).await, "");
    let huge = format!("GET / HTTP/1.1\r\nX-A: {}\r\n\r\n", "a".repeat(1 << 20));
    assert_eq!(send(address, huge.as_bytes()).await.unwrap().status, 431);
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(1_000));
    assert_eq!(send(address, many.as_bytes()).await.unwrap().status, 431);
    for nonsense in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"[..],
        b"GET\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
    ] {
        let answer = send(address, nonsense).await.unwrap();
        assert_eq!(answer.status, 400, "{nonsense:?}: {answer:?}");
    }
    let body = ask(
        address,
        "POST",
        "/metrics",
        "Content-Length: 1000000000\r\n",
    )
    .await;
    assert_eq!(body.status, 405);
    assert_eq!(get(address, "/healthz").await.status, 200);
    drop(slow);
    stop(program).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_health_check_asks_the_daemon() {
    let sandbox = account(20).await;
    let place = listening(Place::beside(&sandbox));
    let mut program = place.start(&["run"]);
    let address = address(&mut program).await;
    let place = place.with("HELENA_SYNC__HTTP__LISTEN", &address.to_string());
    place.succeeds(&["health"]).await.says(&["healthy"]);
    ready(address).await;
    place
        .succeeds(&["health", "--ready"])
        .await
        .says(&["ready"]);
    stop(program).await;
    place
        .refuses(&["health"], 1, &["no answer from run at"])
        .await;
    let off = place.with("HELENA_SYNC__HTTP__LISTEN", "off");
    off.refuses(&["health"], 2, &["http.listen is off"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_health_check_notices_that_another_daemon_answers() {
    on_both(|place| async move {
        let sandbox = account(20).await;
        let place = listening(place).with("HELENA_BASE_URL", &sandbox.base_url());
        let mut program = place.start(&["run"]);
        let listen = address(&mut program).await.to_string();
        ready(listen.parse().unwrap()).await;
        let place = place.with("HELENA_SYNC__HTTP__LISTEN", &listen);
        for command in [&["health"][..], &["health", "--ready"]] {
            // Whoever names no database is told how the daemon is that answers.
            place.succeeds(command).await;
            let same = Place::new().with("HELENA_SYNC__HTTP__LISTEN", &listen);
            same.succeeds(command).await;
            let same = same.with("DATABASE_URL", &place.database_url);
            same.succeeds(command).await;
            let other = same.with("DATABASE_URL", "sqlite://other.db");
            let said = ["for another database than sqlite://other.db", "http.listen"];
            other.refuses(command, 1, &said).await;
        }
        stop(program).await;
    })
    .await;
}
