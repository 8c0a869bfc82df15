//! What a database makes of statements that it planned long ago.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use helena_sync::data::{Resource, StateChange};
use helena_sync::schema::tables;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Writer, batch, contact_details, id, rows, session, with};
use crate::support::database::{Database, Kind, on_both};
use crate::support::proof::proof;

/// Sessions of the first day, and in all.
const FEW: u128 = 60;
const MANY: u128 = 3_560;

/// In no order, as the keys that the platform makes.
fn key(number: u128) -> Uuid {
    id((number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835) >> 40)
}

/// A session with the key of a number, changed at a second.
fn keyed(number: u128, updated: u64) -> Value {
    with(session(number, updated), "id", json!(key(number)))
}

/// Sessions from one number on, each of its own contact, who has one tag of a dozen and one of
/// another dozen.
fn sessions(from: u128, count: u128) -> Vec<Value> {
    (from..from + count)
        .map(|number| session_of(number, &[number % 12 + 1, number % 12 + 13]))
        .collect()
}

fn session_of(number: u128, tags: &[u128]) -> Value {
    let contact = key(1_000_000 + number);
    let details = with(contact_details("Ana", tags), "id", json!(contact));
    let session = with(keyed(number, 1), "contactId", json!(contact));
    with(session, "contactDetails", details)
}

/// All that compares what is stored with a list: of these sessions a tag is taken away, they are
/// looked up, replaced whatever they say of themselves, and then they are gone.
async fn stir(writer: &Writer, from: u128, count: u128, second: u64) {
    let resource = Resource::Sessions;
    let keys: Vec<Uuid> = (from..from + count).map(key).collect();
    let changed: Vec<Value> = (from..from + count)
        .map(|number| {
            let session = session_of(number, &[number % 12 + 1]);
            with(session, "unreadCount", json!(second))
        })
        .collect();
    let counters = writer.store(resource, &changed, second).await;
    assert_eq!(rows(&counters), [0, keys.len() as u64, 0, 0]);
    let account = writer.account;
    let stored = writer.store.versions(account, resource, &keys).await;
    assert_eq!(stored.unwrap().len(), keys.len());
    let table = &tables::SESSIONS;
    let stored = writer.store.row_objects(account, table, &keys).await;
    assert_eq!(stored.unwrap().len(), keys.len());
    let differing = StateChange::Differing {
        resource,
        keys: keys.clone(),
    };
    let again = batch(resource, &changed, second + 1);
    let counters = writer.try_commit(&again, &[differing], second + 1).await;
    assert_eq!(rows(&counters.unwrap()), [0, keys.len() as u64, 0, 0]);
    let proof = proof(resource).await;
    let gone = StateChange::Gone { proof, keys };
    writer.progress(gone, second + 2).await;
}

/// Postgres may notice how large its tables are, but that is nothing to count on.
async fn leave_unnoticed(database: &Database) {
    let tables = "select cast(relname as text) from pg_stat_user_tables";
    for table in database.texts(tables).await {
        let sql = format!("alter table {table} set (autovacuum_enabled = false)");
        database.execute(&sql).await;
    }
    database.execute("analyze").await;
}

/// The store's connections to Postgres, as a condition on `pg_stat_activity`.
const OTHERS: &str = "pid <> pg_backend_pid() and datname = current_database() \
                      and backend_type = 'client backend'";

/// Fails if the statements may have been planned by a connection that has not run them often enough
/// to keep their plans.
async fn take_turns(database: &Database) {
    if database.kind == Kind::Postgres {
        let connections = database.count("pg_stat_activity", OTHERS).await;
        assert!(connections <= 2, "{connections} connections take turns");
    }
}

/// How many rows of these tables Postgres has read one after the other, and how many by an index.
async fn read(database: &Database, tables: &str) -> (u64, u64) {
    // A server process counts what it did when it ends, at the latest.
    database.store.close().await;
    let begun = Instant::now();
    while database.count("pg_stat_activity", OTHERS).await > 0 {
        assert!(begun.elapsed() < Duration::from_mins(1), "still connected");
        tokio::task::yield_now().await;
    }
    let sum = |column| {
        format!(
            "select cast(sum({column}) as text) from pg_stat_user_tables where relname like '{tables}'"
        )
    };
    let in_sequence = database.text(&sum("seq_tup_read")).await;
    let by_index = database.text(&sum("idx_tup_fetch")).await;
    (in_sequence.parse().unwrap(), by_index.parse().unwrap())
}

#[tokio::test]
async fn what_was_planned_for_small_tables_costs_no_more_when_they_are_large() {
    on_both(|database| async move {
        let keys: HashSet<Uuid> = (0..MANY).map(key).collect();
        assert_eq!(keys.len() as u128, MANY);
        let writer = Writer::new(&database).await;
        writer.store(Resource::Sessions, &sessions(0, FEW), 1).await;
        // As after a quiet first day.
        if database.kind == Kind::Postgres {
            leave_unnoticed(&database).await;
        }
        // Postgres makes a plan for every time that a connection runs a statement, five times, and
        // then one for all times. Two connections take turns.
        for pass in 0..14 {
            stir(&writer, u128::from(pass) * 4, 4, 10 + pass * 10).await;
        }
        take_turns(&database).await;
        for from in (FEW..MANY).step_by(500) {
            let new = sessions(from, 500);
            let counters = writer.store(Resource::Sessions, &new, 100).await;
            assert_eq!(rows(&counters), [500, 0, 0, 0]);
        }
        for pass in 0..40 {
            let from = 1_000 + u128::from(pass) * 3;
            stir(&writer, from, 3, 200 + pass * 10).await;
        }
        // Each count reads a table whole.
        let stirred = 14 * 4 + 40 * 3;
        assert_eq!(database.count("sessions", "true").await, 3_560);
        let removed = "removed_at is not null";
        assert_eq!(database.count("sessions", removed).await, stirred);
        let links = database.count("contact_tags", "true").await;
        assert_eq!(links, 2 * 3_560 - stirred);
        if database.kind == Kind::Postgres {
            let (in_sequence, by_index) = read(&database, "%").await;
            assert!(in_sequence < 20_000, "{in_sequence} rows in sequence");
            // The checks of foreign keys are most of them.
            assert!(
                by_index > 30_000,
                "{by_index} rows by an index: not all were counted"
            );
            assert!(by_index < 100_000, "{by_index} rows by an index");
        }
    })
    .await;
}

/// Of these sessions, which could not be read, half are read well, and half are gone.
async fn resolve(writer: &Writer, from: u128, count: u128, second: u64) {
    let good: Vec<Value> = (from..from + count)
        .map(|number| keyed(number, second))
        .collect();
    writer.store(Resource::Sessions, &good, second).await;
    let gone = StateChange::Gone {
        proof: proof(Resource::Sessions).await,
        keys: (from + count..from + 2 * count).map(key).collect(),
    };
    writer.progress(gone, second).await;
    // So that each connection gets its turn of both.
    let account = writer.account;
    let stored = writer
        .store
        .versions(account, Resource::Sessions, &[])
        .await;
    assert!(stored.unwrap().is_empty());
}

#[tokio::test]
async fn what_was_planned_for_few_rejects_costs_no_more_when_they_are_many() {
    on_both(|database| async move {
        let bad = |from: u128, to: u128| -> Vec<Value> {
            let bad = |number| with(keyed(number, 1), "unreadCount", json!({"no": "number"}));
            (from..to).map(bad).collect()
        };
        let writer = Writer::new(&database).await;
        let resource = Resource::Sessions;
        writer.store(resource, &bad(0, 30), 1).await;
        if database.kind == Kind::Postgres {
            leave_unnoticed(&database).await;
        }
        for pass in 0..14 {
            resolve(&writer, u128::from(pass) * 2, 1, 10 + pass).await;
        }
        take_turns(&database).await;
        writer.store(resource, &bad(30, 2_100), 100).await;
        for pass in 0..40 {
            let from = 1_000 + u128::from(pass) * 6;
            resolve(&writer, from, 3, 200 + pass).await;
        }
        let open = database.count("rejects", "resolved_at is null").await;
        assert_eq!(open, 2_100 - 14 * 2 - 40 * 6);
        if database.kind == Kind::Postgres {
            let (in_sequence, by_index) = read(&database, "rejects").await;
            // The count above reads the table whole; fewer, and not all were counted.
            assert!(
                (2_100..5_000).contains(&in_sequence),
                "{in_sequence} rows in sequence"
            );
            assert!(
                (200..5_000).contains(&by_index),
                "{by_index} rows by an index"
            );
        }
    })
    .await;
}
