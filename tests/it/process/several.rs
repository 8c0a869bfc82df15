//! `run` with several accounts, and several processes that run them: each account is served by
//! whoever can, whatever becomes of the others.

use std::time::{Duration, Instant};

use helena_sync::sandbox::{Sandbox, SandboxConfig};
use rustix::process::Signal;
use sqlx::{Connection, SqliteConnection};

use super::accounts::{file, other_account, with_tokens};
use super::mirror::differences;
use super::program::{Done, Place, Running, account, on_both, sandbox, until};
use crate::support::database::{Database, Kind};

const SOON: (&str, &str) = ("HELENA_SYNC__SYNC__SCHEDULE", "every 1s");

/// A pass when the account is taken over, and then none for a long time.
const SELDOM: (&str, &str) = ("HELENA_SYNC__SYNC__SCHEDULE", "every 12h");

/// How long the end may take.
const END: Duration = Duration::from_secs(10);

async fn third_account(sessions: u32) -> Sandbox {
    sandbox(SandboxConfig {
        seed: 3,
        ..SandboxConfig::of_size(sessions)
    })
    .await
}

/// Waits until the database holds what these accounts show.
async fn perfect(place: &Place, accounts: &[(&str, &Sandbox)]) {
    let database = place.database().await;
    for (name, sandbox) in accounts {
        until(&format!("the mirror of {name} is perfect"), async || {
            differences(&database, sandbox, name).await.is_empty()
        })
        .await;
    }
    database.store.close().await;
}

/// The process that holds the account's lease; 0 if none does.
async fn holder(database: &Database, account: &str) -> i64 {
    let sql = format!(
        "select cast(pid as text) from leases join accounts on accounts.id = account_id \
         where name = '{account}' and released_at is null"
    );
    database.text(&sql).await.parse().unwrap_or_default()
}

/// Waits until all of these accounts are held by this process.
async fn held_by(database: &Database, accounts: &[&str], program: &Running) {
    let pid = i64::from(program.pid().as_raw_nonzero().get());
    for account in accounts {
        until(&format!("process {pid} holds {account}"), async || {
            holder(database, account).await == pid
        })
        .await;
    }
}

/// Makes the database refuse what is written for an account in this table.
async fn refuse(database: &Database, table: &str, account: &str) {
    let id = database
        .text(&format!(
            "select cast(id as text) from accounts where name = '{account}'"
        ))
        .await;
    let sql = match database.kind {
        Kind::Sqlite => format!(
            "create trigger refuse before update on {table} when new.account_id = {id} \
             begin select raise(abort, 'refused by a test'); end"
        ),
        Kind::Postgres => format!(
            "create function refuse() returns trigger language plpgsql as $$ \
             begin raise exception 'refused by a test'; end $$; \
             create trigger refuse before update on {table} for each row \
             when (new.account_id = {id}) execute function refuse();"
        ),
    };
    database.execute(&sql).await;
}

async fn accept(database: &Database, table: &str) {
    let sql = match database.kind {
        Kind::Sqlite => "drop trigger refuse".to_owned(),
        Kind::Postgres => format!("drop trigger refuse on {table}"),
    };
    database.execute(&sql).await;
}

/// Tells it to end, which it does in time.
async fn told_to_end(program: Running) -> Done {
    let told = Instant::now();
    program.signal(Signal::TERM);
    let done = program.end().await;
    assert!(told.elapsed() < END, "{:?}: {done:?}", told.elapsed());
    done
}

async fn ends_well(program: Running) -> Done {
    let done = told_to_end(program).await;
    assert_eq!(done.code, Some(0), "{done:?}");
    done.says(&["stopping", "stopped"]);
    done
}

/// Waits until an account has made some more passes.
async fn passes(program: &Running, account: &str) {
    let count = || {
        let pass = format!("{account}: sessions: nothing new");
        program.err().matches(&pass).count()
    };
    let before = count();
    until("it makes passes", async || count() >= before + 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_another_process_holds_keeps_no_other_from_being_served() {
    on_both(|place| async move {
        let (north, south) = (account(20).await, other_account(30).await);
        let place = with_tokens(place)
            .with(SOON.0, SOON.1)
            // Each pass has its lines.
            .with("HELENA_SYNC__LOG__LEVEL", "debug");
        let both = file([("north", &north.base_url()), ("south", &south.base_url())]);
        place.write("helena-sync.toml", &both);
        for arguments in [&["run"][..], &["run", "--wait"]] {
            let mut holder = place.start(&["run", "--account", "north"]);
            holder.says("keeping 1 account").await;
            let pid = holder.pid().as_raw_nonzero().to_string();
            let mut waiting = place.start(arguments);
            let told = format!("process {pid} on ");
            waiting.says(&told).await;
            south.account().live_step(10);
            perfect(&place, &[("south", &south)]).await;
            passes(&waiting, "south").await;
            let lines: Vec<String> = waiting
                .err()
                .lines()
                .filter(|line| line.contains(&told))
                .map(str::to_owned)
                .collect();
            assert_eq!(lines.len(), 1, "told once: {lines:#?}");
            let level = if arguments.len() == 1 { "WARN" } else { "INFO" };
            assert!(
                lines[0].contains(level) && lines[0].contains("account north since 20"),
                "{lines:?}"
            );
            // It ends in time while it waits for one and serves the other.
            ends_well(waiting).await;

            let mut waiting = place.start(arguments);
            waiting.says(&told).await;
            north.account().live_step(10);
            ends_well(holder).await;
            perfect(&place, &[("north", &north), ("south", &south)]).await;
            passes(&waiting, "north").await;
            ends_well(waiting).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_accounts_of_a_process_that_stands_still_or_dies_move_to_another() {
    on_both(|place| async move {
        let (north, south, east) = (
            account(20).await,
            other_account(30).await,
            third_account(10).await,
        );
        let all = [("north", &north), ("south", &south), ("east", &east)];
        let names = all.map(|(name, _)| name);
        let place = with_tokens(place).with(SELDOM.0, SELDOM.1);
        place.succeeds(&["migrate"]).await;
        let urls = all.map(|(name, sandbox)| (name, sandbox.base_url()));
        let [first, second, third] = &urls;
        let entry = |(name, url): &(&'static str, String)| (*name, url.clone());
        for (name, order) in [
            ("one.toml", [first, second, third]),
            ("two.toml", [third, second, first]),
        ] {
            let [a, b, c] = order.map(entry);
            place.write(name, &file([(a.0, &a.1), (b.0, &b.1), (c.0, &c.1)]));
        }
        let mut one = place.start(&["run", "--config", "one.toml"]);
        let mut two = place.start(&["run", "--config", "two.toml"]);
        perfect(&place, &all).await;
        let database = place.database().await;
        until("all accounts are served", async || {
            database.count("leases", "released_at is null").await == 3
                && database
                    .count("sync_runs", "kind = 'recheck' and outcome = 'succeeded'")
                    .await
                    >= 9
                && database.count("sync_runs", "outcome is null").await == 0
        })
        .await;
        assert!(!one.has_ended() && !two.has_ended());

        // The one that holds more stands still, and what it holds runs out.
        let pid = |program: &Running| i64::from(program.pid().as_raw_nonzero().get());
        let mut held = 0;
        for name in names {
            held += i64::from(holder(&database, name).await == pid(&one));
        }
        let (mut stopped, mut other) = if held >= 2 { (one, two) } else { (two, one) };
        stopped.stand_still().await;
        for (_, sandbox) in all {
            sandbox.account().live_step(10);
        }
        let long_ago = match place.kind {
            Kind::Sqlite => "'2020-01-01T00:00:00.000000Z'",
            Kind::Postgres => "'2020-01-01'",
        };
        let of_it = format!("where pid = {}", pid(&stopped));
        database
            .execute(&format!(
                "update leases set renewed_at = {long_ago} {of_it}"
            ))
            .await;
        held_by(&database, &names, &other).await;

        // Awake again it says so, and gets its share again.
        stopped.signal(Signal::CONT);
        stopped.says("has taken over the lease of account").await;
        until("it has its share again", async || {
            let holders = "select cast(count(distinct pid) as text) from leases";
            database.text(holders).await == "2"
        })
        .await;
        assert!(!stopped.has_ended() && !other.has_ended());

        // The other one dies.
        other.signal(Signal::KILL);
        assert_eq!(other.end().await.code, None);
        held_by(&database, &names, &stopped).await;
        perfect(&place, &all).await;
        ends_well(stopped).await;
        assert_eq!(database.count("leases", "released_at is null").await, 0);
        database.store.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_refused_holds_up_its_own_account_alone() {
    on_both(|place| async move {
        let (north, south) = (account(20).await, other_account(30).await);
        let mut place = with_tokens(place).with(SOON.0, SOON.1);
        place.set("TOKEN_OF_north", "pn_wrong");
        let both = file([("north", &north.base_url()), ("south", &south.base_url())]);
        place.write("helena-sync.toml", &both);
        let mut program = place.start(&["run"]);
        program
            .says("account north: the API refuses the token for every resource")
            .await;
        perfect(&place, &[("south", &south)]).await;
        south.account().live_step(10);
        perfect(&place, &[("south", &south)]).await;
        ends_well(program).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_company_that_is_not_the_accounts_ends_its_own_account_alone() {
    on_both(|mut place| async move {
        let (north, south, east) = (
            account(20).await,
            other_account(30).await,
            third_account(10).await,
        );
        place = with_tokens(place)
            .with(SOON.0, SOON.1)
            // Each pass has its lines.
            .with("HELENA_SYNC__LOG__LEVEL", "debug");
        let right = file([("north", &north.base_url()), ("south", &south.base_url())]);
        place.write("helena-sync.toml", &right);
        place.succeeds(&["sync"]).await;

        let wrong = file([("north", &east.base_url()), ("south", &south.base_url())]);
        place.write("helena-sync.toml", &wrong);
        let told = "account \"north\" has the data of company";
        let mut program = place.start(&["run"]);
        program.says(told).await;
        south.account().live_step(10);
        perfect(&place, &[("south", &south)]).await;
        passes(&program, "south").await;
        let done = told_to_end(program).await;
        assert_eq!(done.code, Some(1), "{done:?}");
        assert_eq!(done.err.matches(told).count(), 1, "{done:?}");
        let line = done.err.lines().find(|line| line.contains(told)).unwrap();
        assert!(line.contains("ERROR"), "{line}");

        // Where none is left, it ends by itself.
        let swapped = file([("north", &south.base_url()), ("south", &north.base_url())]);
        place.write("helena-sync.toml", &swapped);
        let both = ["account north", "account south", "same company as account"];
        place.refuses(&["run"], 2, &both).await;
        let alone = ["run", "--account", "north"];
        place.refuses(&alone, 2, &both[2..]).await;
        place.write("helena-sync.toml", &right);
        place.succeeds(&["verify"]).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_database_refuses_for_one_account_holds_up_no_other() {
    on_both(|place| async move {
        let (north, south) = (account(20).await, other_account(30).await);
        let place = with_tokens(place).with(SOON.0, SOON.1);
        let both = file([("north", &north.base_url()), ("south", &south.base_url())]);
        place.write("helena-sync.toml", &both);
        place.succeeds(&["sync"]).await;
        let database = place.database().await;
        for (table, told) in [
            ("leases", "account north: cannot acquire the lease"),
            ("sync_runs", "north: sessions"),
        ] {
            refuse(&database, table, "north").await;
            let mut program = place.start(&["run"]);
            program.says("refused by a test").await;
            program.says(told).await;
            for _ in 0..2 {
                south.account().live_step(10);
                perfect(&place, &[("south", &south)]).await;
            }
            north.account().live_step(10);
            accept(&database, table).await;
            perfect(&place, &[("north", &north), ("south", &south)]).await;
            ends_well(program).await;
            if place.kind == Kind::Postgres {
                database.execute("drop function refuse()").await;
            }
        }
        database.store.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_does_not_answer_holds_up_the_end_of_no_account() {
    let (north, south) = (account(200).await, other_account(200).await);
    for sandbox in [&north, &south] {
        sandbox.account().moods.latency = Duration::from_millis(30);
    }
    let place = with_tokens(Place::new()).with("HELENA_SYNC__API__PAGE_SIZE", "2");
    let both = file([("north", &north.base_url()), ("south", &south.base_url())]);
    place.write("helena-sync.toml", &both);
    for second in [false, true] {
        let mut program = place.start(&["run"]);
        let (before_north, before_south) = (north.requests().len(), south.requests().len());
        until("both are loading", async || {
            north.requests().len() > before_north + 15 && south.requests().len() > before_south + 15
        })
        .await;
        let mut lock = SqliteConnection::connect(&place.database_url)
            .await
            .unwrap();
        sqlx::raw_sql("begin immediate")
            .execute(&mut lock)
            .await
            .unwrap();
        if second {
            program.signal(Signal::TERM);
            program.says("stopping").await;
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
        } else {
            let done = told_to_end(program).await;
            assert_eq!(done.code, Some(0), "{done:?}");
            done.says(&["the database does not answer"]);
        }
        lock.close().await.unwrap();
    }
}
