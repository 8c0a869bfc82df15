//! SIGHUP: `run` reads its configuration again.

use helena_sync::sandbox::Sandbox;
use rustix::process::Signal;
use tokio::net::UnixDatagram;

use super::accounts::{other_account, with_tokens};
use super::doorbell::{SECRET, call, door, path_of};
use super::http;
use super::mirror::differences;
use super::program::{Place, Running, TOKEN, account, on_both, until};

const FILE: &str = "helena-sync.toml";

/// What `run` says when it has read its configuration again.
const READ: &str = "the configuration was read again";

/// Asks a program to read its configuration again, and waits until it has said so once more.
async fn reload(program: &mut Running) -> String {
    let said = |program: &Running| program.err().matches(READ).count();
    let before = said(program);
    program.signal(Signal::HUP);
    until("it has read its configuration again", async || {
        assert!(!program.has_ended(), "{}", program.err());
        said(program) > before
    })
    .await;
    let said = program.err();
    let mut lines = said.lines().filter(|line| line.contains(READ));
    lines.next_back().unwrap().to_owned()
}

async fn stop(program: Running) {
    program.signal(Signal::TERM);
    let done = program.end().await;
    assert_eq!(done.code, Some(0), "{done:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_is_applied_and_what_needs_a_restart_is_named() {
    on_both(|place| async move {
        let sandbox = account(20).await;
        let place = place.with("HELENA_BASE_URL", &sandbox.base_url());
        let quiet = "[sync]\nschedule = \"every 12h\"\n";
        place.write(FILE, quiet);
        let mut program = place.start(&["run"]);
        program.says("contacts: first load").await;
        let line = reload(&mut program).await;
        assert!(line.ends_with("nothing has changed"), "{line}");

        // Syncs come at once and often now, and each has its lines.
        place.write(
            FILE,
            "[sync]\nschedule = \"every 1s\"\n[log]\nlevel = \"debug\"\n",
        );
        let line = reload(&mut program).await;
        assert!(
            line.ends_with("applied: sync.schedule, log.level"),
            "{line}"
        );
        program.says("sessions: nothing new").await;

        // A changed limit makes the account's work begin anew.
        let begun = || program.err().matches("keeping account default in").count();
        assert_eq!(begun(), 0);
        place.write(
            FILE,
            "timezone = \"Asia/Tokyo\"\n[sync]\nschedule = \"every 1s\"\n[log]\nlevel = \"debug\"\n\
             [api]\npage_size = 7\n[database]\nshared = true\n",
        );
        // A variable goes before the file, so the time zone does not change.
        let line = reload(&mut program).await;
        assert!(
            line.contains("applied: api.page_size; to apply database.shared, restart the process"),
            "{line}"
        );
        program.says("keeping account default in").await;
        sandbox.take_requests();
        until("pages have the new size", async || {
            let requests = sandbox.take_requests();
            let sizes = requests.iter().flat_map(|request| &request.query);
            sizes
                .clone()
                .any(|(name, size)| name == "PageSize" && size == "7")
        })
        .await;
        // It is named until somebody restarts the process.
        let line = reload(&mut program).await;
        assert!(
            line.ends_with("to apply database.shared, restart the process"),
            "{line}"
        );
        assert!(!line.contains("page_size"), "{line}");
        stop(program).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_file_changes_nothing_and_is_said() {
    let sandbox = account(20).await;
    let place = Place::beside(&sandbox);
    place.write(
        FILE,
        "[sync]\nschedule = \"every 1s\"\n[log]\nlevel = \"debug\"\n",
    );
    let mut program = place.start(&["run"]);
    program.says("contacts: first load").await;
    for (text, said) in [
        ("[sync]\nschedule = ", "helena-sync.toml:2"),
        ("[sync]\nschedule = \"sometimes\"\n", "not a valid schedule"),
        (
            "[sync]\nshedule = \"every 9h\"\n",
            "similar key: sync.schedule",
        ),
        ("[[accounts]]\nname = \"north\"\n", "has no token"),
        ("[alerts]\nwebhook = \"nowhere\"\n", "not a web address"),
    ] {
        place.write(FILE, text);
        let line = reload(&mut program).await;
        assert!(line.contains(said), "{line}");
        assert!(line.contains("is wrong, so nothing changes"), "{line}");
        assert!(line.contains("send SIGHUP again"), "{line}");
    }
    std::fs::remove_file(place.path().join(FILE)).unwrap();
    let passes = || program.err().matches(" sessions: nothing new").count();
    let before = passes();
    until("it goes on as before", async || passes() >= before + 2).await;
    stop(program).await;
}

/// A file of accounts, each with its own address.
fn accounts(accounts: &[(&str, &Sandbox)]) -> String {
    let entries = accounts.iter().map(|(name, sandbox)| {
        let url = sandbox.base_url();
        format!("[[accounts]]\nname = \"{name}\"\nbase_url = \"{url}\"\ntoken_env = \"TOKEN_OF_{name}\"\n")
    });
    format!(
        "[sync]\nschedule = \"every 1s\"\n{}",
        entries.collect::<Vec<_>>().join("\n")
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_added_and_removed_while_the_others_go_on() {
    on_both(|place| async move {
        let (north, south) = (account(40).await, other_account(60).await);
        let place = with_tokens(place);
        place.write(FILE, &accounts(&[("north", &north)]));
        let mut program = place.start(&["run"]);
        program.says("contacts: first load").await;
        place.write(FILE, &accounts(&[("north", &north), ("south", &south)]));
        let line = reload(&mut program).await;
        assert!(line.ends_with("applied: account south added"), "{line}");
        let database = place.database().await;
        let held = "released_at is null";
        for (name, sandbox) in [("north", &north), ("south", &south)] {
            sandbox.account().live_step(10);
            until(&format!("the mirror of {name} is perfect"), async || {
                differences(&database, sandbox, name).await.is_empty()
            })
            .await;
        }
        assert_eq!(database.count("leases", held).await, 2);

        place.write(FILE, &accounts(&[("south", &south)]));
        let line = reload(&mut program).await;
        assert!(line.ends_with("applied: account north removed"), "{line}");
        until("the lease of north is released", async || {
            database.count("leases", held).await == 1
        })
        .await;
        north.take_requests();
        south.account().live_step(10);
        until("the mirror of south is perfect", async || {
            differences(&database, &south, "south").await.is_empty()
        })
        .await;
        assert!(north.requests().is_empty());

        place.write(FILE, &accounts(&[("north", &north), ("south", &south)]));
        reload(&mut program).await;
        north.account().live_step(10);
        until("the mirror of north is perfect again", async || {
            differences(&database, &north, "north").await.is_empty()
        })
        .await;
        database.store.close().await;
        stop(program).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_gets_a_second_account_shares_both_with_others() {
    on_both(|place| async move {
        let (north, south) = (account(20).await, other_account(30).await);
        let place = with_tokens(place);
        place.write(FILE, &accounts(&[("north", &north)]));
        let mut one = place.start(&["run"]);
        one.says("contacts: first load").await;
        place.write(FILE, &accounts(&[("north", &north), ("south", &south)]));
        let line = reload(&mut one).await;
        assert!(line.ends_with("applied: account south added"), "{line}");
        let database = place.database().await;
        let held = "released_at is null";
        until("it has both", async || {
            database.count("leases", held).await == 2
        })
        .await;
        let mut two = place.start(&["run"]);
        until("each process has one", async || {
            let holders =
                format!("select cast(count(distinct pid) as text) from leases where {held}");
            database.count("leases", held).await == 2 && database.text(&holders).await == "2"
        })
        .await;
        two.says("sharing 2 accounts with process ").await;
        for (name, sandbox) in [("north", &north), ("south", &south)] {
            sandbox.account().live_step(10);
            until(&format!("the mirror of {name} is perfect"), async || {
                differences(&database, sandbox, name).await.is_empty()
            })
            .await;
        }
        stop(one).await;
        until("the other one has both", async || {
            database.count("leases", held).await == 2
        })
        .await;
        database.store.close().await;
        stop(two).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_replaced_in_its_file_is_used_without_a_restart() {
    let sandbox = account(20).await;
    let place = Place::beside(&sandbox)
        .without("HELENA_API_TOKEN")
        .with("HELENA_API_TOKEN_FILE", "token")
        .with("HELENA_SYNC__SYNC__SCHEDULE", "every 1s");
    place.write("token", TOKEN);
    let mut program = place.start(&["run"]);
    program.says("contacts: first load").await;
    place.write("token", "pn_wrong");
    let line = reload(&mut program).await;
    assert!(line.ends_with("applied: account default changed"), "{line}");
    program
        .says("the API refuses the token for every resource")
        .await;
    assert!(!program.has_ended());
    place.write("token", TOKEN);
    reload(&mut program).await;
    sandbox.account().live_step(10);
    let database = place.database().await;
    until("the mirror is perfect", async || {
        differences(&database, &sandbox, "default").await.is_empty()
    })
    .await;
    database.store.close().await;
    stop(program).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_that_were_replaced_in_their_files_count_without_a_restart() {
    let sandbox = account(20).await;
    let place = Place::beside(&sandbox)
        .with("HELENA_SYNC__HTTP__LISTEN", "127.0.0.1:0")
        .with("HELENA_SYNC__DOORBELL__LISTEN", "127.0.0.1:0")
        .without("HELENA_SYNC__DOORBELL__SECRET");
    let configuration = "[http]\ntoken_file = \"reader\"\n[doorbell]\nsecret_file = \"secret\"\n";
    place.write(FILE, configuration);
    place.write("reader", "0123456789abcdef0123");
    place.write("secret", SECRET);
    let mut program = place.start(&["run"]);
    let page = http::address(&mut program).await;
    let doorbell = door(&mut program).await;
    program.says("contacts: first load").await;
    let reads = async |token: &str| {
        let header = format!("Authorization: Bearer {token}\r\n");
        http::ask(page, "GET", "/metrics", &header).await.status
    };
    let rings = async || call(doorbell, &path_of("default"), "{}").await.status;
    assert_eq!(reads("0123456789abcdef0123").await, 200);
    assert_eq!(rings().await, 202);
    let line = reload(&mut program).await;
    assert!(line.ends_with("nothing has changed"), "{line}");

    place.write("reader", "fedcba9876543210fedc");
    let line = reload(&mut program).await;
    let applied = "applied: the new content of http.token_file";
    assert!(line.ends_with(applied), "{line}");
    assert_eq!(reads("0123456789abcdef0123").await, 401);
    assert_eq!(reads("fedcba9876543210fedc").await, 200);
    assert_eq!(rings().await, 202);

    place.write("secret", &SECRET.replace('5', "6"));
    let line = reload(&mut program).await;
    let applied = "applied: the new content of doorbell.secret_file";
    assert!(line.ends_with(applied), "{line}");
    program
        .says("run `helena-sync webhooks install --url")
        .await;
    assert_eq!(rings().await, 404);
    assert_eq!(reads("fedcba9876543210fedc").await, 200);

    // Unreadable, it changes nothing. And nobody is let in without a token.
    place.write("reader", "short");
    let line = reload(&mut program).await;
    assert!(line.contains("shorter than 16"), "{line}");
    assert_eq!(reads("fedcba9876543210fedc").await, 200);
    place.write(FILE, "[doorbell]\nsecret_file = \"secret\"\n");
    for _ in 0..2 {
        let line = reload(&mut program).await;
        assert!(
            line.ends_with("to apply http.token, restart the process"),
            "{line}"
        );
    }
    assert_eq!(reads("0123456789abcdef0123").await, 401);
    // Another file, and another token.
    place.write("other", "00112233445566778899");
    place.write(FILE, &configuration.replace("reader", "other"));
    let line = reload(&mut program).await;
    assert!(line.ends_with("applied: http.token_file"), "{line}");
    assert_eq!(reads("00112233445566778899").await, 200);
    stop(program).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_are_switched_on_while_it_runs() {
    let sandbox = account(5).await;
    let place = Place::beside(&sandbox);
    let mut program = place.start(&["run"]);
    program.says("contacts: first load").await;
    place.write(FILE, "[alerts]\ncommand = \"cat > told.json\"\n");
    let line = reload(&mut program).await;
    assert!(line.ends_with("applied: alerts.command"), "{line}");
    stop(program).await;
}

/// Receives messages until one has a line that begins like this.
async fn heard(socket: &UnixDatagram, wanted: &str) -> String {
    let listening = async {
        loop {
            let mut message = [0; 4096];
            let length = socket.recv(&mut message).await.unwrap();
            let text = String::from_utf8_lossy(&message[..length]).into_owned();
            if text.lines().any(|line| line.starts_with(wanted)) {
                return text;
            }
        }
    };
    let heard = tokio::time::timeout(super::program::GUARD, listening).await;
    heard.unwrap_or_else(|_| panic!("no {wanted}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_is_told_when_the_configuration_is_read_again_and_when_that_is_done() {
    let sandbox = account(5).await;
    let place = Place::beside(&sandbox);
    let socket = place.path().join("notify");
    let listener = UnixDatagram::bind(&socket).unwrap();
    let place = place.with("NOTIFY_SOCKET", socket.to_str().unwrap());
    let mut program = place.start(&["run"]);
    program.says("contacts: first load").await;
    heard(&listener, "READY=1").await;
    program.signal(Signal::HUP);
    let told = heard(&listener, "RELOADING=1").await;
    assert!(told.contains("MONOTONIC_USEC="), "{told}");
    let told = heard(&listener, "READY=1").await;
    assert!(told.contains("STATUS=keeping 1 account"), "{told}");
    stop(program).await;
}
