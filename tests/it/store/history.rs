//! What changes in stored sessions, and which tags are taken away, as readers downstream see it.

use helena_sync::data::{ColumnGroup, Resource};
use serde_json::{Value, json};

use super::{Writer, at, batch_without, contact_details, id, rows, session, with};
use crate::support::database::{Database, on_both};

/// The changes, in order: the session's number, the field, both values, when and by which commit.
async fn changes(database: &Database) -> Vec<String> {
    let sql = "select cast(session_id as text) || ' ' || field || ' ' || coalesce(old_value, '-') \
               || ' > ' || coalesce(new_value, '-') from session_changes \
               order by change_seq, field, session_id";
    let lines = database.texts(sql).await;
    lines
        .iter()
        .map(|line| line.replace("00000000-0000-0000-0000-000000000", ""))
        .collect()
}

fn ended(number: u128, updated: u64) -> Value {
    let ended = with(session(number, updated), "status", json!("COMPLETED"));
    with(ended, "endAt", json!("2026-05-04T14:00:05.1234567Z"))
}

#[tokio::test]
async fn changes_of_a_stored_session_are_kept_and_its_first_version_is_none() {
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        let store = async |items: &[Value], second| {
            rows(&writer.store(Resource::Sessions, items, second).await)
        };
        assert_eq!(
            store(&[session(1, 1), session(2, 1)], 1).await,
            [2, 0, 0, 0]
        );
        // What has no history, and what is the same again.
        let read = with(session(1, 2), "unreadCount", json!(0));
        assert_eq!(store(&[read.clone(), session(2, 1)], 2).await, [0, 1, 1, 0]);
        assert_eq!(changes(&database).await, Vec::<String>::new());
        // One ends, the other one gets an agent and a department.
        let other = with(session(2, 3), "userId", json!(id(402)));
        let other = with(other, "departmentId", Value::Null);
        let other = with(
            with(other, "agentDetails", Value::Null),
            "departmentDetails",
            Value::Null,
        );
        assert_eq!(store(&[ended(1, 3), other], 3).await, [0, 2, 0, 0]);
        let first = [
            "002 department_id 12c > -".to_owned(),
            "001 end_at - > 2026-05-04T14:00:05.123456Z".to_owned(),
            "001 status IN_PROGRESS > COMPLETED".to_owned(),
            "002 user_id 190 > 192".to_owned(),
        ];
        assert_eq!(changes(&database).await, first);
        let stamped = format!(
            "observed_at = '{}' and run_id = {} and account_id = 1 \
             and change_seq = (select change_seq from sessions where id = '{}')",
            at(3),
            writer.run,
            id(1)
        );
        assert_eq!(database.count("session_changes", &stamped).await, 4);
        // It is opened again; an answer that does not know the classification changes none.
        let unknown = batch_without(
            Resource::Sessions,
            &[session(1, 4)],
            4,
            ColumnGroup::CLASSIFICATION,
        );
        writer.try_commit(&unknown, &[], 4).await.unwrap();
        let lost = json!({"id": id(500), "category": "LOST"});
        let lost = with(session(1, 5), "classification", lost);
        store(&[lost], 5).await;
        assert_eq!(
            changes(&database).await[4..],
            [
                "001 end_at 2026-05-04T14:00:05.123456Z > -".to_owned(),
                "001 status COMPLETED > IN_PROGRESS".to_owned(),
                "001 classification_category WON > LOST".to_owned(),
            ]
        );
        // What failed left nothing.
        let refused = ended(1, 6);
        let stale = super::batch(Resource::Sessions, &[refused], 6);
        writer.store.release(&writer.lease).await.unwrap();
        assert!(writer.try_commit(&stale, &[], 6).await.is_err());
        assert_eq!(changes(&database).await.len(), 7);
    })
    .await;
}

#[tokio::test]
async fn a_reader_that_reads_on_sees_which_tags_were_taken_away() {
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        let tagged = |tags: &[u128], second: u64| {
            let details = contact_details("Ana", tags);
            with(session(1, second), "contactDetails", details)
        };
        let seq = async |table: &str, tag: u128| {
            let sql = format!(
                "select cast(change_seq as text) from {table} where tag_id = '{}'",
                id(tag)
            );
            database.text(&sql).await.parse::<i64>().ok()
        };
        let tables = [
            ("session_tags", "session_tags_removed"),
            ("contact_tags", "contact_tags_removed"),
        ];
        writer
            .store(Resource::Sessions, &[tagged(&[1, 2], 1)], 1)
            .await;
        for (_, removed) in tables {
            assert_eq!(database.count(removed, "true").await, 0);
        }
        writer
            .store(Resource::Sessions, &[tagged(&[2, 3], 2)], 2)
            .await;
        for (links, removed) in tables {
            assert_eq!(seq(links, 1).await, None);
            let gone = seq(removed, 1).await.unwrap();
            // In the order of all changes, together with the session's own.
            let of_session = "select cast(change_seq as text) from sessions";
            assert_eq!(database.text(of_session).await, gone.to_string());
            assert!(gone > seq(links, 2).await.unwrap());
            assert_eq!(database.count(removed, "true").await, 1);
            let stamped = format!("removed_at = '{}' and run_id = {}", at(2), writer.run);
            assert_eq!(database.count(removed, &stamped).await, 1);
        }
        // It comes back, and the link is what is right; then it goes again.
        writer
            .store(Resource::Sessions, &[tagged(&[1, 2, 3], 3)], 3)
            .await;
        for (links, removed) in tables {
            assert!(seq(links, 1).await > seq(removed, 1).await);
        }
        writer.store(Resource::Sessions, &[tagged(&[], 4)], 4).await;
        for (links, removed) in tables {
            assert_eq!(database.count(links, "true").await, 0);
            assert_eq!(database.count(removed, "true").await, 3);
        }
    })
    .await;
}

#[tokio::test]
async fn a_commit_that_stores_an_older_session_adds_its_days() {
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        let zone = helena_sync::reporting::Settings::of_zone(chrono_tz::America::Sao_Paulo);
        let old = |number, created: &str| with(session(number, 1), "createdAt", json!(created));
        // Nobody has said yet which days there are.
        writer
            .store(Resource::Sessions, &[old(1, "2022-05-04T12:00:00Z")], 1)
            .await;
        assert_eq!(database.count("report_days", "true").await, 0);
        database.store.keep_reports(&zone, at(0)).await.unwrap();
        let ends =
            "select cast(min(day) as text) || ' ' || cast(max(day) as text) from report_days";
        assert_eq!(database.text(ends).await, "2022-01-01 2027-06-07");
        // The first hours of a year in UTC are of the year before in São Paulo.
        writer
            .store(Resource::Sessions, &[old(2, "2021-01-01T02:00:00Z")], 2)
            .await;
        assert_eq!(database.text(ends).await, "2020-01-01 2027-06-07");
        writer
            .store(Resource::Sessions, &[old(3, "2028-02-03T12:00:00Z")], 3)
            .await;
        assert_eq!(database.text(ends).await, "2020-01-01 2028-02-03");
        let all = "select cast(count(*) as text) from report_sessions";
        assert_eq!(database.text(all).await, "3");
    })
    .await;
}
