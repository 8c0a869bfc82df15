//! The doorbell: the platform calls, and what has changed is read at once.

use std::net::SocketAddr;
use std::time::Duration;

use helena_sync::clock::{Clock as _, SystemClock};
use helena_sync::data::SubscriptionState;
use helena_sync::doorbell::{Address, SUBSCRIPTION};
use helena_sync::sandbox::{ContactStatus, Sandbox, SandboxAccount, Ticks};
use rustix::process::Signal;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use url::Url;
use uuid::Uuid;

use super::accounts::{file, other_account, with_tokens};
use super::http::{Answer, send};
use super::mirror::{assert_perfect, differences};
use super::program::{Place, Running, account, on_both, until};
use crate::support::database::Database;

/// No output may ever show it.
pub(crate) const SECRET: &str = "5b1e0c7a9f3d42868f0a61d7c2e4b9d05b1e0c7a9f3d42868f0a61d7c2e4b9d0";

/// A place whose `run` has a doorbell, and whose next sync is far away.
fn ringing(place: Place, sandbox: &Sandbox) -> Place {
    place
        .with("HELENA_BASE_URL", &sandbox.base_url())
        .with("HELENA_SYNC__DOORBELL__LISTEN", "127.0.0.1:0")
        .with("HELENA_SYNC__DOORBELL__SECRET", SECRET)
        .with("HELENA_SYNC__SYNC__SCHEDULE", "every 12h")
        .with("HELENA_SYNC__VERIFY__SCHEDULE", "off")
}

/// Where its doorbell is.
pub(crate) async fn door(program: &mut Running) -> SocketAddr {
    const BEFORE: &str = "the doorbell is at http://";
    program.says(BEFORE).await;
    let said = program.err();
    let (_, rest) = said.split_once(BEFORE).unwrap();
    rest.split('/').next().unwrap().parse().unwrap()
}

/// The secret path of an account.
pub(crate) fn path_of(account: &str) -> String {
    let address = Address::new(&SecretString::from(SECRET), account);
    let base = Url::parse("http://127.0.0.1").unwrap();
    let url = Url::parse(address.below(&base).expose_secret()).unwrap();
    url.path().to_owned()
}

/// Starts it, waits until everything is loaded, and lets the platform ring.
async fn started(place: &Place) -> (Running, SocketAddr) {
    let mut program = place.start(&["run"]);
    let door = door(&mut program).await;
    program.says("the first load is done").await;
    install(place, door).await;
    (program, door)
}

async fn install(place: &Place, door: SocketAddr) {
    let url = format!("http://{door}/");
    let done = place
        .succeeds(&["webhooks", "install", "--url", &url])
        .await;
    done.says(&["wrote to the platform"]);
    assert!(!done.err.contains(&path_of("default")), "{done:?}");
}

async fn stop(program: Running) {
    program.signal(Signal::TERM);
    let done = program.end().await;
    assert_eq!(done.code, Some(0), "{done:?}");
    for secret in [SECRET, &path_of("default")[6..]] {
        assert!(!done.err.contains(secret), "{done:?}");
    }
}

/// Calls at a door.
pub(crate) async fn call(door: SocketAddr, path: &str, body: &str) -> Answer {
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {door}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    send(door, request.as_bytes()).await.unwrap()
}

async fn arrived(database: &Database, sandbox: &Sandbox) {
    until("every change has arrived", async || {
        differences(database, sandbox, "default").await.is_empty()
    })
    .await;
}

/// The runs of syncs, and the watermarks. Calls must change neither.
async fn synced(database: &Database) -> (i64, Vec<String>) {
    let runs = database
        .count("sync_runs", "kind in ('incremental', 'first_load')")
        .await;
    let watermarks = "select resource || partition || ' ' || cast(watermark as text) from sync_state \
                      where watermark is not null order by 1";
    (runs, database.texts(watermarks).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_changes_arrive_by_their_calls_while_the_next_sync_is_far_away() {
    on_both(|place| async move {
        let sandbox = account(300).await;
        let place = ringing(place, &sandbox);
        let (program, _) = started(&place).await;
        let database = place.database().await;
        let before = synced(&database).await;
        for _ in 0..5 {
            sandbox.account().live_step(40);
            arrived(&database, &sandbox).await;
        }
        assert_eq!(synced(&database).await, before);
        let rings = database.count("sync_runs", "kind = 'ring'").await;
        assert!((5..100).contains(&rings), "{rings}");
        assert_eq!(
            database
                .count("sync_runs", "kind = 'ring' and error is not null")
                .await,
            0
        );
        database.store.close().await;
        stop(program).await;
    })
    .await;
}

/// How long changes of sessions take, four of them every three seconds.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "it takes minutes, and prints how long two hundred changes took"]
async fn how_long_two_hundred_changes_take() {
    on_both(|place| async move {
        let sandbox = account(2_000).await;
        let place = ringing(place, &sandbox);
        let (program, _) = started(&place).await;
        let database = place.database().await;
        let ids = sandbox.account().session_ids();
        let mut took = Vec::new();
        for round in 0..50_usize {
            SystemClock
                .sleep(Duration::from_millis(2_400 + 13 * (round as u64 % 50)))
                .await;
            let title = format!("Volta {round}");
            let began = SystemClock.running();
            for one in 0..4 {
                let id = ids[(round * 37 + one * 411) % ids.len()];
                let title = title.clone();
                sandbox
                    .account()
                    .update_session(id, |session| session.title = Some(title.into()));
            }
            let mut there = 0;
            until("they are there", async || {
                let so_far = database
                    .count("sessions", &format!("title = '{title}'"))
                    .await;
                while there < so_far {
                    there += 1;
                    took.push(SystemClock.elapsed(began));
                }
                there == 4
            })
            .await;
        }
        took.sort_unstable();
        let of = |share: usize| took[(took.len() * share).div_ceil(100) - 1];
        eprintln!(
            "{:?}: {} changes: median {:?}, p95 {:?}, longest {:?}",
            place.kind,
            took.len(),
            of(50),
            of(95),
            of(100)
        );
        database.store.close().await;
        stop(program).await;
    })
    .await;
}

/// A session, a contact, and somebody else's.
fn some(account: &mut SandboxAccount) -> (Uuid, Uuid) {
    (account.session_ids()[5], account.contact_ids()[5])
}

fn in_two_seconds(account: &SandboxAccount) -> Ticks {
    Ticks(account.now().0 + 20_000_000)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_list_does_not_show_yet_is_looked_for_again() {
    on_both(|place| async move {
        let sandbox = account(120).await;
        let place = ringing(place, &sandbox);
        let (program, _) = started(&place).await;
        let database = place.database().await;
        let before = synced(&database).await;
        // The platform calls at once, and shows the change later.
        {
            let mut account = sandbox.account();
            let (session, contact) = some(&mut account);
            let at = in_two_seconds(&account);
            account.update_session_late(session, at, |session| {
                session.title = Some("Tarde".into());
            });
            account.update_contact_late(contact, at, |contact| {
                contact.name = Some("Tarde".into());
            });
            // No list of active contacts shows it.
            let other = account.contact_ids()[9];
            account.update_contact(other, |contact| contact.status = ContactStatus::Blocked);
        }
        until("all of them have arrived", async || {
            database.count("sessions", "title = 'Tarde'").await == 1
                && database.count("contacts", "name = 'Tarde'").await == 1
        })
        .await;
        arrived(&database, &sandbox).await;
        assert_eq!(synced(&database).await, before);
        database.store.close().await;
        stop(program).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_doubled_and_disordered_calls_cost_nothing() {
    on_both(|place| async move {
        let sandbox = account(120).await;
        let place = ringing(place, &sandbox).with("HELENA_SYNC__SYNC__SCHEDULE", "every 1s");
        let (program, _) = started(&place).await;
        {
            let mut account = sandbox.account();
            account.moods.webhook_loss = 0.3;
            account.moods.webhook_duplicates = 0.3;
            account.moods.webhook_disorder = 0.3;
            account.moods.late_share = 0.3;
            account.moods.late_max = Duration::from_secs(2);
            account.faults.internal = 0.05;
            account.faults.reset = 0.05;
        }
        for _ in 0..10 {
            sandbox.account().live_step(10);
            SystemClock.sleep(Duration::from_millis(200)).await;
        }
        // The last change may be shown late.
        let late = sandbox.account().moods.late_max;
        SystemClock.sleep(late + Duration::from_millis(100)).await;
        let database = place.database().await;
        arrived(&database, &sandbox).await;
        assert!(database.count("sync_runs", "kind = 'ring'").await > 0);
        database.store.close().await;
        stop(program).await;
        assert_perfect(&place, &sandbox).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_calls_are_answered_with_404_or_read_what_is_there_anyway() {
    on_both(|place| async move {
        let sandbox = account(60).await;
        let place = ringing(place, &sandbox);
        let (program, door) = started(&place).await;
        let path = path_of("default");
        let database = place.database().await;
        sandbox.take_requests();
        let delivery =
            json!({"eventType": "SESSION_UPDATE", "content": {"id": Uuid::from_u128(7)}});
        let delivery = delivery.to_string();
        for wrong in [
            "/",
            "/ring/",
            &path[..path.len() - 1],
            &format!("{path}0"),
            &format!("{path}/x"),
            &path_of("other"),
            "/ring/0000000000000000000000000000000000000000000000000000000000000000",
        ] {
            let answer = call(door, wrong, &delivery).await;
            assert_eq!(
                (answer.status, answer.body.as_str()),
                (404, "there is nothing at this address\n")
            );
        }
        // Its body is not waited for.
        let endless = "POST /ring/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n";
        assert_eq!(send(door, endless.as_bytes()).await.unwrap().status, 404);
        SystemClock.sleep(Duration::from_secs(1)).await;
        assert_eq!(sandbox.requests().len(), 0);

        // Somebody knows the path, and invents records.
        let rows = database.count("sessions", "removed_at is null").await;
        for number in 0..200 {
            let kind = ["SESSION_NEW", "CONTACT_UPDATE", "PANEL_CARD_NEW"][number % 3];
            let forged =
                json!({"eventType": kind, "content": {"id": Uuid::from_u128(number as u128)}});
            assert_eq!(call(door, &path, &forged.to_string()).await.status, 202);
        }
        until("calls are followed", async || {
            !sandbox.requests().is_empty()
        })
        .await;
        SystemClock.sleep(Duration::from_secs(2)).await;
        // Twenty at once, and one every three seconds; and a look at the subscription.
        let requests = sandbox.requests().len();
        assert!(requests <= 24, "{requests}");
        assert_eq!(database.count("sessions", "removed_at is null").await, rows);
        arrived(&database, &sandbox).await;
        database.store.close().await;
        stop(program).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_with_the_right_path_is_never_refused() {
    let sandbox = account(20).await;
    let place = ringing(Place::new(), &sandbox);
    let (program, door) = started(&place).await;
    let path = path_of("default");
    let mut slow = Vec::new();
    for number in 0..200 {
        let mut stream = TcpStream::connect(door).await.unwrap();
        // Some of them know the path, and never end their body.
        let begin = if number % 2 == 0 {
            format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{")
        } else {
            "POST /ring/x HTTP/1.1\r\nHost: x\r\nX-A: ".to_owned()
        };
        stream.write_all(begin.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    let large = format!(
        "{{\"eventType\":\"SESSION_NEW\",\"content\":{{\"x\":\"{}\"}}}}",
        "a".repeat(1 << 20)
    );
    for body in [
        "",
        "{",
        "null",
        "\u{1}",
        "{\"eventType\":\"SESSION_NEW\"}",
        &large,
    ] {
        assert_eq!(call(door, &path, body).await.status, 202, "{}", body.len());
    }
    // A proxy may add a prefix.
    let prefixed = format!("/helena{path}?a=b");
    assert_eq!(call(door, &prefixed, "{}").await.status, 202);
    for method in ["GET", "PUT", "HEAD"] {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        assert_eq!(
            send(door, request.as_bytes()).await.unwrap().status,
            202,
            "{method}"
        );
    }
    let chunked = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n"
    );
    assert_eq!(send(door, chunked.as_bytes()).await.unwrap().status, 202);
    drop(slow);
    let database = place.database().await;
    until("the calls are counted", async || {
        database
            .count("accounts", "rings > 5 and last_ring_at is not null")
            .await
            == 1
    })
    .await;
    database.store.close().await;
    stop(program).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_at_a_process_that_stands_by_reaches_the_one_that_works_on_the_account() {
    on_both(|place| async move {
        let sandbox = account(120).await;
        let place = ringing(place, &sandbox);
        let (holder, _) = started(&place).await;
        let mut standby = place.start(&["run", "--wait"]);
        let far = door(&mut standby).await;
        standby.says("waiting for process").await;
        // From now on, the platform calls there.
        install(&place, far).await;
        let database = place.database().await;
        let before = synced(&database).await;
        let rung = async || {
            let rings = database
                .text("select cast(rings as text) from accounts")
                .await;
            rings.parse::<u64>().unwrap()
        };
        let rings = rung().await;
        let ids = sandbox.account().session_ids();
        let mut took = Vec::new();
        for (round, id) in ids.iter().take(6).enumerate() {
            // Not always at the same moment of a second.
            SystemClock
                .sleep(Duration::from_millis(170 * round as u64))
                .await;
            let began = SystemClock.running();
            let title = format!("Longe {round}");
            sandbox
                .account()
                .update_session(*id, |session| session.title = Some(title.clone().into()));
            until("the change has arrived", async || {
                database
                    .count("sessions", &format!("title = '{title}'"))
                    .await
                    == 1
            })
            .await;
            took.push(SystemClock.elapsed(began));
        }
        println!("{:?}: changes arrived after {took:?}", place.kind);
        // Ordinary changes of all kinds, and a call that says nothing.
        sandbox.account().live_step(20);
        call(far, &path_of("default"), "{").await;
        arrived(&database, &sandbox).await;
        until("no call is left", async || {
            database.count("doorbell_calls", "true").await == 0
        })
        .await;
        assert_eq!(synced(&database).await, before);
        // That happens every ten seconds, when a call is followed.
        until("the calls are counted", async || {
            let about_sessions = "{\"eventType\": \"SESSION_UPDATE\"}";
            call(far, &path_of("default"), about_sessions).await;
            SystemClock.sleep(Duration::from_secs(1)).await;
            rung().await > rings + 6
        })
        .await;

        // The one that works dies. The other one takes over, and is called directly.
        holder.signal(Signal::KILL);
        holder.end().await;
        until("the other one works", async || {
            synced(&database).await.0 > before.0
        })
        .await;
        sandbox.account().live_step(20);
        arrived(&database, &sandbox).await;
        database.store.close().await;
        stop(standby).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_that_two_processes_share_may_be_called_at_either() {
    on_both(|place| async move {
        let (north, south) = (account(60).await, other_account(60).await);
        let place = with_tokens(ringing(place, &north));
        let both = file([("north", &north.base_url()), ("south", &south.base_url())]);
        place.write("helena-sync.toml", &both);
        place.succeeds(&["migrate"]).await;
        let mut programs = Vec::new();
        let mut doors = Vec::new();
        for _ in 0..2 {
            let mut program = place.start(&["run"]);
            doors.push(door(&mut program).await);
            programs.push(program);
        }
        let database = place.database().await;
        until("each has one, and both are loaded", async || {
            let holders =
                "select cast(count(distinct pid) as text) from leases where released_at is null";
            database.text(holders).await == "2"
                && differences(&database, &north, "north").await.is_empty()
                && differences(&database, &south, "south").await.is_empty()
                && database.count("sync_runs", "finished_at is null").await == 0
        })
        .await;
        for door in doors {
            let url = format!("http://{door}/");
            place
                .succeeds(&["webhooks", "install", "--url", &url])
                .await;
            let before = synced(&database).await.0;
            for _ in 0..2 {
                north.account().live_step(5);
                south.account().live_step(5);
                until("the changes of both have arrived", async || {
                    differences(&database, &north, "north").await.is_empty()
                        && differences(&database, &south, "south").await.is_empty()
                })
                .await;
            }
            assert_eq!(synced(&database).await.0, before);
        }
        database.store.close().await;
        for program in programs {
            stop(program).await;
        }
    })
    .await;
}

/// Asks the platform about its subscriptions.
async fn ask(sandbox: &Sandbox, method: &str, id: &str, body: &str) -> Answer {
    let base = Url::parse(&sandbox.base_url()).unwrap();
    let at = base.socket_addrs(|| None).unwrap()[0];
    let request = format!(
        "{method} /core/v1/webhook/subscription{id} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\
         Authorization: Bearer {}\r\nContent-Length: {}\r\n\r\n{body}",
        sandbox.token(),
        body.len()
    );
    let answer = send(at, request.as_bytes()).await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

async fn subscriptions(sandbox: &Sandbox) -> Vec<Value> {
    let all = ask(sandbox, "GET", "", "").await.json();
    all.as_array().unwrap().clone()
}

async fn change(sandbox: &Sandbox, subscription: &Value, field: &str, value: Value) {
    let id = format!("/{}", subscription["id"].as_str().unwrap());
    let mut body = subscription.clone();
    body[field] = value;
    ask(sandbox, "PUT", &id, &body.to_string()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_subscription_is_managed_and_check_and_status_say_what_is_wrong_with_it() {
    on_both(|place| async move {
        let sandbox = account(20).await;
        let place = ringing(place, &sandbox);
        let says = async |code: i32, said: &str| {
            let done = place.run(&["check"]).await;
            assert_eq!(done.code, Some(code), "{done:?}");
            assert!(done.out.contains(said), "{said}: {done:?}");
        };
        let (program, door) = started(&place).await;
        says(0, "the platform rings").await;
        let url = format!("http://{door}");
        let again = ["webhooks", "install", "--url", &url];
        place.succeeds(&again).await.says(&["is right"]);
        let all = subscriptions(&sandbox).await;
        assert_eq!(all.len(), 1);
        assert_eq!(all[0]["name"], SUBSCRIPTION);
        let events = all[0]["events"].as_array().unwrap();
        assert_eq!(events.len(), 8, "{events:?}");
        assert_eq!(events[0]["event"], "SESSION_NEW");

        let problem = |state: SubscriptionState| state.problem().unwrap();
        let few = json!(["SESSION_NEW"]);
        for (field, value, state) in [
            ("enabled", json!(false), SubscriptionState::Disabled),
            (
                "url",
                json!("https://example.com/ring/0"),
                SubscriptionState::OtherAddress,
            ),
            ("events", few, SubscriptionState::LacksEvents),
        ] {
            change(&sandbox, &all[0], field, value).await;
            says(1, problem(state)).await;
            place.succeeds(&again).await.says(&["corrected"]);
            says(0, "the platform rings").await;
        }

        let listed = place.succeeds(&["webhooks", "list", "--json"]).await.json();
        assert_eq!(listed[0]["doorbell"], "good");
        assert_eq!(listed[0]["address"], format!("http://{door}/..."));
        // A call makes the daemon look again, and status shows what it saw.
        let status = async || {
            let status = place.succeeds(&["status", "--json"]).await.json();
            status[0]["doorbell"].clone()
        };
        until("status knows that the platform rings", async || {
            call(door, &path_of("default"), "{}").await;
            let status = status().await;
            status["subscription"] == "good" && status["last_ring_at"].is_string()
        })
        .await;
        let text = place.succeeds(&["status"]).await.out;
        assert!(
            text.contains("doorbell: the platform rings; last ring"),
            "{text}"
        );

        let removed = place.succeeds(&["webhooks", "remove"]).await;
        removed.says(&["wrote to the platform: deleted"]);
        assert_eq!(subscriptions(&sandbox).await.len(), 0);
        place
            .succeeds(&["webhooks", "remove"])
            .await
            .says(&["there is no subscription"]);
        says(1, problem(SubscriptionState::Missing)).await;
        stop(program).await;

        // Without a doorbell, nothing is known of it.
        let quiet = place.with("HELENA_SYNC__DOORBELL__LISTEN", "off");
        let program = quiet.start(&["run"]);
        let database = quiet.database().await;
        until("it is forgotten", async || {
            database
                .count("accounts", "doorbell is null and last_ring_at is null")
                .await
                == 1
        })
        .await;
        database.store.close().await;
        stop(program).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused_before_anything_is_done() {
    let sandbox = account(20).await;
    let place = Place::beside(&sandbox).with("HELENA_SYNC__DOORBELL__LISTEN", "127.0.0.1:0");
    let url = ["webhooks", "install", "--url", "https://mirror.example.com"];
    place
        .refuses(&["run"], 2, &["needs a secret", "openssl rand -hex 32"])
        .await;
    let short = place.with("HELENA_SYNC__DOORBELL__SECRET", "short");
    short.refuses(&["run"], 2, &["shorter than 32"]).await;
    let place = short.without("HELENA_SYNC__DOORBELL__SECRET");
    let place = place.with("HELENA_SYNC__DOORBELL__LISTEN", "off");
    place
        .refuses(&url, 2, &["the doorbell has no secret"])
        .await;
    place.write("secret", &format!("{SECRET}\n"));
    let place = place.with("HELENA_SYNC__DOORBELL__SECRET_FILE", "secret");
    let lists = place.with("HELENA_SYNC__SYNC__RESOURCES", "tags,channels");
    lists
        .refuses(&url, 2, &["no resource in sync.resources has webhooks"])
        .await;
    let place = lists.without("HELENA_SYNC__SYNC__RESOURCES");
    let same = place
        .with("HELENA_SYNC__DOORBELL__LISTEN", "127.0.0.1:9999")
        .with("HELENA_SYNC__HTTP__LISTEN", "127.0.0.1:9999");
    same.refuses(&["run"], 2, &["choose another port"]).await;
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let place = same
        .with("HELENA_SYNC__DOORBELL__LISTEN", &address)
        .with("HELENA_SYNC__HTTP__LISTEN", "off");
    place
        .refuses(
            &["run"],
            1,
            &["another program uses this address", "doorbell.listen"],
        )
        .await;
    // A token that may not read webhooks.
    sandbox.account().moods.refused = vec!["/core/v1/webhook".to_owned()];
    let refused = place.refuses(
        &url,
        3,
        &["cannot read the subscriptions of account default"],
    );
    let refused = refused.await;
    assert!(!refused.err.contains(SECRET), "{refused:?}");
}
