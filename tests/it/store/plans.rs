//! What a database makes of statements that it planned long ago.

use helena_sync::data::Resource;
use serde_json::{Value, json};

use super::{Writer, contact_details, id, rows, session, with};
use crate::support::database::{Database, Kind, on_both};

/// Sessions from one number on, each of its own contact, tagged.
fn sessions(from: u128, count: u128) -> Vec<Value> {
    let session = |number: u128| {
        let contact = id(1_000_000 + number);
        let details = with(contact_details("Ana", &[1, 2]), "id", json!(contact));
        let session = with(session(number, 1), "contactId", json!(contact));
        with(session, "contactDetails", details)
    };
    (from..from + count).map(session).collect()
}

/// How many rows Postgres has read one after the other, without an index.
async fn read_in_sequence(database: &Database) -> u64 {
    // A server process counts what it did when it ends, at the latest.
    database.store.close().await;
    let others = "pid <> pg_backend_pid() and datname = current_database()";
    while database.count("pg_stat_activity", others).await > 0 {
        tokio::task::yield_now().await;
    }
    let sql = "select cast(sum(seq_tup_read) as text) from pg_stat_user_tables";
    database.text(sql).await.parse().unwrap()
}

#[tokio::test]
async fn what_was_planned_for_small_tables_does_not_read_large_ones_whole() {
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        writer.store(Resource::Sessions, &sessions(0, 60), 1).await;
        // As after a quiet first day. That the server notices later how large the tables have
        // become is nothing to count on.
        if database.kind == Kind::Postgres {
            database
                .execute(
                    "alter table sessions set (autovacuum_enabled = false); \
                     alter table contacts set (autovacuum_enabled = false); \
                     alter table contact_tags set (autovacuum_enabled = false); \
                     alter table session_tags set (autovacuum_enabled = false); \
                     analyze",
                )
                .await;
        }
        // Postgres makes a plan for every time that a statement runs, five times, and then one for
        // all times.
        for pass in 0..7 {
            let changed = sessions(pass * 3, 3)
                .into_iter()
                .map(|session| with(session, "unreadCount", json!(pass + 10)));
            let counters = writer
                .store(Resource::Sessions, &changed.collect::<Vec<_>>(), 2)
                .await;
            assert_eq!(rows(&counters), [0, 3, 0, 0]);
        }
        for part in 0..6 {
            let new = sessions(60 + part * 500, 500);
            let counters = writer.store(Resource::Sessions, &new, 3).await;
            assert_eq!(rows(&counters), [500, 0, 0, 0]);
        }
        assert_eq!(database.count("sessions", "true").await, 3_060);
        assert_eq!(database.count("contact_tags", "true").await, 6_120);
        if database.kind == Kind::Postgres {
            let read = read_in_sequence(&database).await;
            // The counts above are half of it.
            assert!(read < 20_000, "{read} rows were read in sequence");
        }
    })
    .await;
}
