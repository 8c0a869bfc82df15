//! Ids that another account of the database already holds: the platform gives an id once, so that this
//! should not happen, and nothing is overwritten if it does.

use helena_sync::data::{Resource, StateChange};
use helena_sync::store::{RejectFilter, StoredReject};
use serde_json::{Value, json};

use super::{Writer, at, batch, batch_by_id, contact, contact_details, id, rows, session, with};
use crate::support::database::{Database, on_both};
use crate::support::proof::proof;

async fn open_rejects(writer: &Writer) -> Vec<StoredReject> {
    let filter = RejectFilter::default();
    let rejects = writer.store.rejects(writer.account, filter).await;
    rejects.unwrap()
}

/// Every column of every row of a table, but for those of other accounts.
async fn of_account(database: &Database, table: &str, writer: &Writer) -> Vec<String> {
    let sql = format!(
        "select cast(synced_at as text) || cast(run_id as text) || cast(change_seq as text) || {} \
         from {table} where account_id = {} order by 1",
        match table {
            "session_tags" => "cast(session_id as text) || cast(tag_id as text)",
            "contact_tags" => "cast(contact_id as text) || cast(tag_id as text)",
            "sessions" => "cast(id as text) || coalesce(title, '')",
            "channels" => "cast(id as text) || coalesce(identity_display_name, '')",
            _ => "cast(id as text) || coalesce(name, '')",
        },
        writer.account.0
    );
    database.texts(&sql).await
}

async fn two_accounts(database: &Database) -> (Writer, Writer) {
    let first = Writer::named(database, "first").await;
    let second = Writer::named(database, "second").await;
    (first, second)
}

#[tokio::test]
async fn a_record_of_another_account_is_a_reject_and_changes_nothing() {
    on_both(|database| async move {
        let (first, second) = two_accounts(&database).await;
        first.store(Resource::Sessions, &[session(1, 1)], 1).await;
        let tables = ["sessions", "session_tags", "contacts", "contact_tags"];
        let mut before = Vec::new();
        for table in tables {
            before.push(of_account(&database, table, &first).await);
        }

        // The others of its batch are stored.
        let theirs = with(session(1, 5), "title", json!("theirs"));
        let theirs = with(theirs, "contactDetails", contact_details("Bia", &[3]));
        let items = [theirs.clone(), session(2, 5)];
        let counters = second.store(Resource::Sessions, &items, 5).await;
        assert_eq!(rows(&counters), [1, 0, 0, 1]);
        for (table, before) in tables.iter().zip(&before) {
            assert_eq!(&of_account(&database, table, &first).await, before);
        }
        let raw = format!("id = '{}' and account_id = {}", id(1), second.account.0);
        assert_eq!(database.count("raw_records", &raw).await, 0);
        assert_eq!(open_rejects(&first).await, []);
        let rejects = open_rejects(&second).await;
        assert_eq!(rejects.len(), 1, "{rejects:?}");
        assert!(!rejects[0].partial);
        assert_eq!(rejects[0].resource, "sessions");
        assert_eq!(rejects[0].record_id, Some(id(1)));
        let raw: Value = serde_json::from_str(&rejects[0].raw).unwrap();
        assert_eq!(raw, theirs);
        assert!(
            rejects[0]
                .reason
                .contains("account \"first\" (account_id 1) holds a record with this id")
                && rejects[0].reason.contains("remove one of them"),
            "{}",
            rejects[0].reason
        );

        // However often it comes, and also as the answer to a question for its id, or with a flaw.
        let flawed = with(theirs.clone(), "unreadCount", json!({"no": "number"}));
        let flawed = batch(Resource::Sessions, &[flawed], 6);
        let by_id = batch_by_id(Resource::Sessions, &[theirs], 7);
        for (batch, second_of) in [(flawed, 6), (by_id, 7)] {
            let counters = second.try_commit(&batch, &[], second_of).await.unwrap();
            assert_eq!(rows(&counters), [0, 0, 0, 1]);
            let rejects = open_rejects(&second).await;
            assert_eq!(rejects.len(), 1, "{rejects:?}");
            assert_eq!(rejects[0].last_seen_at, at(second_of));
        }
        let gone = StateChange::Gone {
            proof: proof(Resource::Sessions).await,
            keys: vec![id(1)],
        };
        second.progress(gone, 8).await;
        let differing = StateChange::Differing {
            resource: Resource::Sessions,
            keys: vec![id(1)],
        };
        second.progress(differing, 8).await;
        assert_eq!(of_account(&database, "sessions", &first).await, before[0]);
        let intact = format!(
            "id = '{}' and removed_at is null and content_hash is not null",
            id(1)
        );
        assert_eq!(database.count("sessions", &intact).await, 1);
        let (account, ids) = (second.account, [id(1), id(2)]);
        let stored = second.store.versions(account, Resource::Sessions, &ids);
        assert_eq!(stored.await.unwrap().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_record_is_stored_once_the_other_account_no_longer_holds_it() {
    on_both(|database| async move {
        let (first, second) = two_accounts(&database).await;
        let record = [contact(100, "Ana", 1, &[1])];
        first.store(Resource::Contacts, &record, 1).await;
        // Without its text, the reject has what the columns would hold.
        let mut without = batch(Resource::Contacts, &record, 2);
        for row in without.writes.iter_mut().flat_map(|write| &mut write.rows) {
            row.raw = None;
        }
        let counters = second.try_commit(&without, &[], 2).await.unwrap();
        assert_eq!(rows(&counters), [0, 0, 0, 1]);
        let raw: Value = serde_json::from_str(&open_rejects(&second).await[0].raw).unwrap();
        assert_eq!(raw["name"], "Ana");
        assert_eq!(raw["custom_fields"], json!({"cpf": "1"}));
        assert_eq!(raw["tags"], json!([id(1)]));

        for table in ["contact_tags", "raw_records", "contacts"] {
            let sql = format!("delete from {table} where account_id = {}", first.account.0);
            database.execute(&sql).await;
        }
        let counters = second.store(Resource::Contacts, &record, 3).await;
        assert_eq!(rows(&counters), [1, 0, 0, 0]);
        assert_eq!(open_rejects(&second).await, []);
        let stored = of_account(&database, "contact_tags", &second).await;
        assert_eq!(stored.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn what_a_session_brings_along_leaves_the_rows_of_another_account_alone() {
    on_both(|database| async move {
        let (first, second) = two_accounts(&database).await;
        first.store(Resource::Sessions, &[session(1, 1)], 1).await;
        let tables = [
            "contacts",
            "contact_tags",
            "tags",
            "channels",
            "departments",
        ];
        let mut before = Vec::new();
        for table in tables {
            before.push(of_account(&database, table, &first).await);
        }
        let theirs = with(
            session(2, 5),
            "contactDetails",
            contact_details("Bia", &[2, 3]),
        );
        let theirs = with(theirs, "channelDetails", json!({"displayName": "Filial"}));
        let department = json!({"id": id(300), "companyId": id(900), "name": "Compras"});
        let theirs = with(theirs, "departmentDetails", department);
        for time in [5, 6] {
            let unseen = batch(Resource::Sessions, std::slice::from_ref(&theirs), time);
            second.try_commit(&unseen, &[], time).await.unwrap();
        }
        for (table, before) in tables.iter().zip(&before) {
            assert_eq!(&of_account(&database, table, &first).await, before);
        }
        assert_eq!(open_rejects(&second).await, []);
        // The session refers to them, and its tags are its own.
        let stored = format!(
            "account_id = {} and contact_id = '{}' and channel_id = '{}' and department_id = '{}'",
            second.account.0,
            id(100),
            id(200),
            id(300)
        );
        assert_eq!(database.count("sessions", &stored).await, 1);
        let tags = "select substr(cast(session_id as text), 36) || ' has ' \
                    || substr(cast(tag_id as text), 36) from session_tags order by 1";
        assert_eq!(
            database.texts(tags).await,
            ["1 has 1", "1 has 2", "2 has 2", "2 has 3"]
        );
        let owners = "select cast(account_id as text) from tags order by id";
        assert_eq!(database.texts(owners).await, ["1", "1", "2"]);
        // Agents are people, who may work for both.
        assert_eq!(database.count("agents", "true").await, 2);
    })
    .await;
}

#[tokio::test]
async fn a_list_marks_and_counts_its_own_account_s_records_only() {
    on_both(|database| async move {
        let (first, second) = two_accounts(&database).await;
        for (resource, item) in [
            (Resource::Tags, json!({"id": id(1), "name": "a"})),
            (Resource::Channels, json!({"id": id(1), "name": "a"})),
            (Resource::Departments, json!({"id": id(1), "name": "a"})),
        ] {
            first.store(resource, std::slice::from_ref(&item), 1).await;
            let other = with(item, "id", json!(id(2)));
            let theirs = with(other.clone(), "id", json!(id(1)));
            for second_of in [2, 3] {
                let read = StateChange::ListRead {
                    resource,
                    keys: vec![id(1), id(2)],
                };
                let list = batch(resource, &[theirs.clone(), other.clone()], second_of);
                let counters = second.try_commit(&list, &[read], second_of).await.unwrap();
                assert_eq!(counters.rows_rejected, 1, "{resource}");
            }
            let empty = StateChange::ListRead {
                resource,
                keys: Vec::new(),
            };
            second.progress(empty, 4).await;
            let kept = "select cast(account_id as text) || case when removed_at is null \
                        then '' else ' removed' end from";
            let kept = format!("{kept} {resource} order by id");
            assert_eq!(
                database.texts(&kept).await,
                ["1", "2 removed"],
                "{resource}"
            );
        }
        // The agents of one are no reject of the other.
        let agent = json!({"id": id(5), "userId": id(6), "name": "Rui"});
        for writer in [&first, &second] {
            let counters = writer
                .store(Resource::Agents, std::slice::from_ref(&agent), 5)
                .await;
            assert_eq!(rows(&counters), [1, 0, 0, 0]);
        }
        assert_eq!(database.count("agents", "true").await, 2);
    })
    .await;
}
