//! `run`: starts, loads, keeps fresh, survives, and ends when told to.

use std::time::Duration;

use helena_sync::clock::{Clock, SystemClock};
use helena_sync::sandbox::Sandbox;
use rustix::process::Signal;
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};

use super::mirror::{assert_perfect, differences};
use super::program::{Place, Running, account, on_both, until};
use crate::support::database::Kind;
use crate::support::preload::SteppedClock;

/// Often enough that nobody waits for a pass.
fn eager(place: Place, url: &str) -> Place {
    place
        .with("HELENA_BASE_URL", url)
        .with("HELENA_SYNC__SYNC__SCHEDULE", "every 1s")
        // Each pass has its lines.
        .with("HELENA_SYNC__LOG__LEVEL", "debug")
}

async fn ends_well(program: Running, signal: Signal) {
    program.signal(signal);
    let done = program.end().await;
    assert_eq!(done.code, Some(0), "{done:?}");
    done.says(&["stopping", "stopped"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_loads_everything_keeps_it_fresh_and_ends_on_either_signal() {
    on_both(|place| async move {
        let sandbox = account(300).await;
        let place = eager(place, &sandbox.base_url());
        for signal in [Signal::TERM, Signal::INT] {
            let mut program = place.start(&["run"]);
            program.says("keeping 1 account").await;
            for _ in 0..2 {
                sandbox.account().live_step(15);
                until("the mirror is perfect", async || {
                    // Until it has made the tables there is nothing to look into.
                    place.run(&["status", "--max-lag", "1h"]).await.code == Some(0) && {
                        let database = place.database().await;
                        let differences = differences(&database, &sandbox, "default").await;
                        database.store.close().await;
                        differences.is_empty()
                    }
                })
                .await;
            }
            ends_well(program, signal).await;
            let status = place.succeeds(&["status"]).await;
            assert!(!status.out.contains("lease holder"), "{status:?}");
            assert_perfect(&place, &sandbox).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_stop_in_the_middle_of_a_load_it_ends_and_goes_on_next_time() {
    on_both(|place| async move {
        let sandbox = account(600).await;
        sandbox.account().moods.latency = Duration::from_millis(20);
        let place = eager(place, &sandbox.base_url())
            .with("HELENA_SYNC__API__PAGE_SIZE", "10")
            .with("HELENA_SYNC__BACKFILL__WINDOW_PAGES", "10");
        let program = place.start(&["run"]);
        until("it is loading", async || sandbox.requests().len() > 30).await;
        ends_well(program, Signal::TERM).await;
        sandbox.account().moods.latency = Duration::ZERO;
        let done = place.succeeds(&["sync"]).await;
        done.says(&["resuming the first load of sessions"]);
        assert_perfect(&place, &sandbox).await;
    })
    .await;
}

/// A daemon in the middle of a first load whose database somebody else has locked: it can neither
/// store what it reads nor write down that it ends, for as long as the lock is held.
async fn locked_out(sandbox: &Sandbox, place: &Place) -> (Running, SqliteConnection) {
    sandbox.account().moods.latency = Duration::from_millis(30);
    let mut program = place.start(&["run"]);
    program.says("keeping 1 account").await;
    until("it is loading", async || sandbox.requests().len() > 15).await;
    let mut lock = SqliteConnection::connect(&place.database_url)
        .await
        .unwrap();
    sqlx::raw_sql("begin immediate")
        .execute(&mut lock)
        .await
        .unwrap();
    (program, lock)
}

fn one_by_one(sandbox: &Sandbox) -> Place {
    eager(Place::new(), &sandbox.base_url()).with("HELENA_SYNC__API__PAGE_SIZE", "2")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_at_once() {
    let sandbox = account(200).await;
    let place = one_by_one(&sandbox);
    let (mut program, lock) = locked_out(&sandbox, &place).await;
    program.signal(Signal::TERM);
    program.says("stopping").await;
    assert!(!program.has_ended(), "it waits for its transaction");
    // Two signals at the same moment would be one wish.
    until("it ends at once", async || {
        if program.has_ended() {
            return true;
        }
        program.signal(Signal::INT);
        false
    })
    .await;
    let done = program.end().await;
    assert_eq!(done.code, Some(130), "{done:?}");
    lock.close().await.unwrap();
    sandbox.account().moods.latency = Duration::ZERO;
    let place = place.with("HELENA_SYNC__API__PAGE_SIZE", "100");
    place.succeeds(&["sync"]).await;
    assert_perfect(&place, &sandbox).await;
}

/// Waits for two more passes: the first may have been due before.
async fn goes_on(program: &Running) {
    let passes = || program.err().matches(" sessions: nothing new").count();
    let before = passes();
    until("it makes passes", async || passes() >= before + 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_on_when_it_stood_still_and_when_the_machines_clock_is_set() {
    on_both(|place| async move {
        let sandbox = account(5).await;
        let mut place = eager(place, &sandbox.base_url());
        let mut clock = SteppedClock::new(place.path());
        for (name, path) in clock.iter().flat_map(SteppedClock::variables) {
            place.set(name, path.to_str().unwrap());
        }
        let mut program = place.start(&["run"]);
        program.says("contacts: first load").await;
        program.signal(Signal::STOP);
        SystemClock.sleep(Duration::from_millis(2_200)).await;
        program.signal(Signal::CONT);
        goes_on(&program).await;
        for hours in [3, -5] {
            let Some(clock) = &mut clock else { break };
            clock.set(hours * 3_600_000_000);
            goes_on(&program).await;
            let shown = clock.now().to_string();
            let day_and_hour = shown[..13].replace('T', " ");
            let error = program.err();
            assert!(
                error.contains(&day_and_hour),
                "no {day_and_hour} in {error}"
            );
        }
        ends_well(program, Signal::TERM).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_does_not_answer_does_not_hold_up_the_end() {
    let sandbox = account(200).await;
    let place = one_by_one(&sandbox);
    let (program, lock) = locked_out(&sandbox, &place).await;
    program.signal(Signal::TERM);
    let done = program.end().await;
    assert_eq!(done.code, Some(0), "{done:?}");
    done.says(&["the database does not answer"]);
    lock.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn it_waits_for_a_database_that_is_not_there_yet() {
    let sandbox = account(10).await;
    let mut place = eager(Place::new(), &sandbox.base_url());
    let folder = place.path().join("later");
    place.database_url = format!("sqlite://{}", folder.join("helena.db").display());
    let url = place.database_url.clone();
    place.set("DATABASE_URL", &url);
    let mut program = place.start(&["run"]);
    program.says("retry in").await;
    std::fs::create_dir(&folder).unwrap();
    program.says("keeping 1 account").await;
    program.says("contacts: first load").await;
    ends_well(program, Signal::TERM).await;
    assert_perfect(&place, &sandbox).await;
}

#[tokio::test]
async fn it_keeps_trying_a_database_that_is_not_there_and_ends_at_once_if_it_may_not_come_in() {
    let admin = std::env::var("TEST_POSTGRES_URL").unwrap();
    let mut wrong_user = url::Url::parse(&admin).unwrap();
    wrong_user.set_username("nobody_here").unwrap();
    wrong_user.set_password(Some("hunter2")).unwrap();
    let mut wrong_name = url::Url::parse(&admin).unwrap();
    wrong_name.set_path("/no_such_database_here");
    for (url, reason) in [
        (&wrong_user, "nobody_here"),
        (&wrong_name, "no_such_database_here"),
    ] {
        let place = eager(Place::new(), "http://127.0.0.1:9").with("DATABASE_URL", url.as_str());
        let done = place.refuses(&["run"], 1, &[reason]).await;
        assert!(!done.err.contains("retry in"), "{done:?}");
        assert!(!done.err.contains("hunter2"), "{done:?}");
    }
    let nowhere = "postgres://me:hunter2@127.0.0.1:9/helena";
    {
        let url = nowhere;
        let place = eager(Place::new(), "http://127.0.0.1:9").with("DATABASE_URL", url);
        let mut program = place.start(&["run"]);
        program.says("retry in").await;
        program.signal(Signal::TERM);
        let done = program.end().await;
        assert_eq!(done.code, Some(0), "{done:?}");
        assert!(!done.err.contains("hunter2"), "{done:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_goes_away_and_comes_back_is_survived() {
    on_both(|place| async move {
        if place.kind == Kind::Sqlite {
            return;
        }
        let sandbox = account(100).await;
        let place = eager(place, &sandbox.base_url());
        let mut program = place.start(&["run"]);
        program.says("contacts: first load").await;

        let name = place.database_url.rsplit('/').next().unwrap().to_owned();
        let admin = std::env::var("TEST_POSTGRES_URL").unwrap();
        let mut admin = PgConnection::connect(&admin).await.unwrap();
        let allow = |allowed: bool| {
            AssertSqlSafe(format!(
                "alter database \"{name}\" allow_connections {allowed}"
            ))
        };
        sqlx::raw_sql(allow(false))
            .execute(&mut admin)
            .await
            .unwrap();
        let kill = "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1";
        sqlx::query(kill)
            .bind(&name)
            .execute(&mut admin)
            .await
            .unwrap();
        program.says("failed").await;
        sandbox.account().live_step(20);
        assert!(!program.has_ended());
        sqlx::raw_sql(allow(true))
            .execute(&mut admin)
            .await
            .unwrap();
        until("the mirror is perfect again", async || {
            let database = place.database().await;
            let differences = differences(&database, &sandbox, "default").await;
            database.store.close().await;
            differences.is_empty()
        })
        .await;
        ends_well(program, Signal::TERM).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sqlite_file_that_cannot_be_written_for_a_while_is_survived() {
    // Of a statement that fails SQLite takes back that one alone, or, where the disk is full, the
    // whole transaction.
    for extent in ["abort", "rollback"] {
        let sandbox = account(100).await;
        let place = eager(Place::new(), &sandbox.base_url());
        let mut program = place.start(&["run"]);
        program.says("contacts: first load").await;
        let mut other = SqliteConnection::connect(&place.database_url)
            .await
            .unwrap();
        let trigger = format!(
            "create trigger full before insert on sync_runs \
             begin select raise({extent}, 'no room'); end"
        );
        sqlx::raw_sql(AssertSqlSafe(trigger))
            .execute(&mut other)
            .await
            .unwrap();
        program.says("failed").await;
        sandbox.account().live_step(20);
        sqlx::raw_sql("drop trigger full")
            .execute(&mut other)
            .await
            .unwrap();
        other.close().await.unwrap();
        until("the mirror is perfect again", async || {
            let database = place.database().await;
            let differences = differences(&database, &sandbox, "default").await;
            database.store.close().await;
            differences.is_empty()
        })
        .await;
        ends_well(program, Signal::TERM).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_fails_as_it_starts_is_waited_for() {
    let sandbox = account(20).await;
    let place = eager(Place::new(), &sandbox.base_url());
    place.succeeds(&["migrate"]).await;
    for table in ["accounts", "leases"] {
        let mut other = SqliteConnection::connect(&place.database_url)
            .await
            .unwrap();
        let trigger = format!(
            "create trigger full before insert on {table} \
             begin select raise(rollback, 'no room'); end"
        );
        sqlx::raw_sql(AssertSqlSafe(trigger))
            .execute(&mut other)
            .await
            .unwrap();
        let mut program = place.start(&["run"]);
        program.says("retry in").await;
        sqlx::raw_sql("drop trigger full")
            .execute(&mut other)
            .await
            .unwrap();
        other.close().await.unwrap();
        program.says("keeping 1 account").await;
        ends_well(program, Signal::TERM).await;
    }
    place.succeeds(&["sync"]).await;
    assert_perfect(&place, &sandbox).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_that_goes_away_and_comes_back_is_survived() {
    let sandbox = account(100).await;
    let place = eager(Place::new(), &sandbox.base_url());
    let mut program = place.start(&["run"]);
    program.says("contacts: first load").await;
    sandbox.account().moods.refused = vec!["/".to_owned()];
    program
        .says("refuses the token for every resource; retry in")
        .await;
    let refused = sandbox.take_requests().len();
    assert!(!program.has_ended(), "{refused}");
    ends_well(program, Signal::TERM).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn triggers_that_a_long_pass_makes_superfluous_are_counted_and_told() {
    let sandbox = account(60).await;
    sandbox.account().moods.latency = Duration::from_millis(200);
    let place = eager(Place::new(), &sandbox.base_url()).with("HELENA_SYNC__API__PAGE_SIZE", "5");
    let mut program = place.start(&["run"]);
    program.says("triggers that fired").await;
    ends_well(program, Signal::TERM).await;
}
