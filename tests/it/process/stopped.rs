//! A process that stands still in the middle of a transaction, with whatever that locks.

use std::time::Duration;

use rustix::process::Signal;
use sqlx::{Connection, PgConnection, SqliteConnection};

use super::accounts::{file, other_account, with_tokens};
use super::mirror::{assert_perfect, differences};
use super::program::{Place, Running, account, on_both, until};
use crate::support::database::{Database, Kind};

const SOON: (&str, &str) = ("HELENA_SYNC__SYNC__SCHEDULE", "every 1s");

fn pid(program: &Running) -> i32 {
    program.pid().as_raw_nonzero().get()
}

/// Expects that others are told who writes, and that nobody who only looks has to wait.
async fn told_who_writes(place: &Place, pid: i32) {
    let holder = format!("process {pid} on ");
    place.refuses(&["sync"], 1, &[&holder, "--wait"]).await;
    let status = place.succeeds(&["status"]).await;
    let written = format!("lease holder: {holder}");
    assert!(status.out.contains(&written), "{status:?}");
}

async fn epoch(database: &Database) -> String {
    database
        .text("select cast(epoch as text) from leases")
        .await
}

/// What Postgres says of the program's connections: one in this state.
async fn one_is(database: &Database, condition: &str) -> bool {
    let sessions = "pg_stat_activity";
    let condition = format!(
        "datname = current_database() and application_name = 'helena-sync' and {condition}"
    );
    database.count(sessions, &condition).await > 0
}

/// Stops a daemon in the middle of a transaction that has locked the row of its lease and changed
/// sessions.
async fn stopped_in_postgres(database: &Database, program: &Running) {
    let mut lock = PgConnection::connect(&database.url).await.unwrap();
    sqlx::raw_sql("begin; lock table sessions in exclusive mode")
        .execute(&mut lock)
        .await
        .unwrap();
    until("it waits for the table", async || {
        one_is(database, "wait_event_type = 'Lock'").await
    })
    .await;
    program.stand_still().await;
    lock.close().await.unwrap();
    until("its transaction is open and nobody's turn", async || {
        one_is(database, "state = 'idle in transaction'").await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_was_stopped_in_a_transaction_loses_it_and_writes_nothing_when_it_comes_back() {
    on_both(|place| async move {
        if place.kind == Kind::Sqlite {
            return;
        }
        let sandbox = account(60).await;
        let place = place
            .with("HELENA_BASE_URL", &sandbox.base_url())
            .with(SOON.0, SOON.1);
        place.succeeds(&["sync"]).await;
        let database = place.database().await;
        let mut first = place.start(&["run"]);
        first.says("keeping 1 account").await;
        sandbox.account().live_step(20);
        stopped_in_postgres(&database, &first).await;

        told_who_writes(&place, pid(&first)).await;
        let mut second = place.start(&["run", "--wait"]);
        second.says(&format!("process {} on ", pid(&first))).await;
        sandbox.account().live_step(20);

        // As the server does by itself once its `idle_in_transaction_session_timeout` is over (see
        // `store::silence`), and as the lease does by then.
        let idle = "select pg_terminate_backend(pid)::text from pg_stat_activity \
                    where datname = current_database() and state = 'idle in transaction'";
        assert_eq!(database.texts(idle).await, ["true"]);
        database
            .execute("update leases set renewed_at = '2020-01-01'")
            .await;
        second.says("keeping 1 account").await;
        until("the second one serves the account", async || {
            differences(&database, &sandbox, "default").await.is_empty()
        })
        .await;
        let then = epoch(&database).await;

        first.signal(Signal::CONT);
        first.says(&format!("process {} on ", pid(&second))).await;
        assert!(!first.has_ended() && !second.has_ended());
        assert_eq!(epoch(&database).await, then);
        sandbox.account().live_step(20);
        until("the second one goes on", async || {
            differences(&database, &sandbox, "default").await.is_empty()
        })
        .await;
        for program in [second, first] {
            program.signal(Signal::TERM);
            assert_eq!(program.end().await.code, Some(0));
        }
        database.store.close().await;
        assert_perfect(&place, &sandbox).await;
    })
    .await;
}

/// Stops a daemon at a moment when it holds the write lock of its file.
async fn stopped_in_sqlite(place: &Place, program: &Running) {
    until("it is stopped in a transaction", async || {
        program.stand_still().await;
        let mut other = SqliteConnection::connect(&place.database_url)
            .await
            .unwrap();
        let free = sqlx::raw_sql("pragma busy_timeout = 0; begin immediate")
            .execute(&mut other)
            .await
            .is_ok();
        // Rolls back.
        other.close_hard().await.unwrap();
        if free {
            program.signal(Signal::CONT);
        }
        !free
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_was_stopped_in_a_transaction_on_a_file_holds_it_until_it_goes_on() {
    let (north, south) = (account(400).await, other_account(30).await);
    north.account().moods.latency = Duration::from_millis(1);
    let place = with_tokens(Place::new())
        .with(SOON.0, SOON.1)
        .with("HELENA_SYNC__API__PAGE_SIZE", "2");
    let both = file([("north", &north.base_url()), ("south", &south.base_url())]);
    place.write("helena-sync.toml", &both);
    place.succeeds(&["sync", "--account", "south"]).await;
    let mut first = place.start(&["run", "--account", "north"]);
    first.says("keeping 1 account").await;
    stopped_in_sqlite(&place, &first).await;

    let holder = format!("process {} on ", pid(&first));
    let north_only = ["sync", "--account", "north"];
    place.refuses(&north_only, 1, &[&holder, "--wait"]).await;
    let status = place.succeeds(&["status"]).await;
    let written = format!("lease holder: {holder}");
    assert!(status.out.contains(&written), "{status:?}");
    // Another account's writer finds the file locked, waits, and says so.
    let locked = place.run(&["sync", "--account", "south"]).await;
    assert_eq!(locked.code, Some(1), "{locked:?}");
    locked.says(&["locked"]);

    first.signal(Signal::CONT);
    place.succeeds(&["sync", "--account", "south"]).await;
    let database = place.database().await;
    for (name, sandbox) in [("north", &north), ("south", &south)] {
        until(&format!("the mirror of {name} is perfect"), async || {
            differences(&database, sandbox, name).await.is_empty()
        })
        .await;
    }
    database.store.close().await;
    first.signal(Signal::TERM);
    assert_eq!(first.end().await.code, Some(0));
}
