//! Rows: what is stored, what is left alone, and that it is all or nothing.

use helena_sync::data::{ColumnGroup, Progress, Resource, Stream};
use serde_json::json;

use super::{Writer, at, batch, batch_without, contact_details, id, rows, session, with};
use crate::support::database::{Kind, on_both};

const SESSIONS: Stream = Stream {
    resource: Resource::Sessions,
    partition: "",
};

#[tokio::test]
async fn a_session_is_stored_with_all_that_it_mentions() {
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        let counters = writer.store(Resource::Sessions, &[session(1, 1)], 1).await;
        assert_eq!(rows(&counters), [1, 0, 0, 0]);
        assert_eq!(
            (counters.pages, counters.requests, counters.retries),
            (1, 2, 1)
        );
        assert_eq!(
            database
                .text(
                    "select c.name || ' ' || c.phone_number || ' ' || a.name || ' ' || d.name \
                     || ' ' || ch.identity_display_name || ' ' || s.status || ' ' \
                     || s.classification_amount || ' ' || s.time_service_seconds \
                     from sessions s join contacts c on c.id = s.contact_id \
                     join agents a on a.user_id = s.user_id \
                     join departments d on d.id = s.department_id \
                     join channels ch on ch.id = s.channel_id",
                )
                .await,
            "Ana +55|11999999999 Rui Vendas Loja IN_PROGRESS 12.5 93601"
        );
        assert_eq!(
            database.texts("select name from tags order by name").await,
            ["tag 1", "tag 2"]
        );
        assert_eq!(database.count("session_tags", "true").await, 2);
        assert_eq!(database.count("contact_tags", "true").await, 2);
        assert_eq!(
            database.count("raw_records", "resource = 'sessions'").await,
            1
        );
        let created = match database.kind {
            Kind::Sqlite => "created_at",
            Kind::Postgres => {
                "to_char(created_at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
            }
        };
        assert_eq!(
            database
                .text(&format!("select {created} from sessions"))
                .await,
            "2026-05-04T12:00:00.118204Z"
        );
        let metadata = match database.kind {
            Kind::Sqlite => "metadata ->> '$.a[1]'",
            Kind::Postgres => "metadata -> 'a' ->> 1",
        };
        let sql = format!("select cast({metadata} as text) from sessions");
        assert_eq!(database.text(&sql).await, "2");
    })
    .await;
}

#[tokio::test]
async fn what_comes_back_unchanged_is_not_written_again() {
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        let synced = "select cast(max(synced_at) as text) from sessions";
        writer
            .store(Resource::Sessions, &[session(1, 1), session(2, 1)], 1)
            .await;
        let before = database.text(synced).await;
        let again = writer
            .store(Resource::Sessions, &[session(1, 1), session(2, 1)], 9)
            .await;
        assert_eq!(rows(&again), [0, 0, 2, 0]);
        assert_eq!(database.text(synced).await, before);
        for table in ["contacts", "agents", "channels", "departments", "tags"] {
            let sql = format!("select cast(max(synced_at) as text) from {table}");
            assert_eq!(database.text(&sql).await, before, "{table}");
        }
        let changed = with(session(1, 2), "status", json!("COMPLETED"));
        let counters = writer
            .store(Resource::Sessions, &[changed, session(2, 1)], 10)
            .await;
        assert_eq!(rows(&counters), [0, 1, 1, 0]);
        assert_ne!(database.text(synced).await, before);
        let run = &database.store.last_runs(writer.account, 1).await.unwrap()[0];
        assert_eq!(rows(&run.counters), [2, 1, 3, 0]);
        assert_eq!(run.counters.rows_read, 6);
        assert_eq!((run.counters.pages, run.counters.requests), (3, 6));
    })
    .await;
}

#[tokio::test]
async fn an_older_version_never_replaces_a_newer_one() {
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        let newer = with(session(1, 5), "title", json!("new"));
        writer.store(Resource::Sessions, &[newer], 5).await;
        let older = with(session(1, 4), "title", json!("old"));
        let counters = writer.store(Resource::Sessions, &[older], 6).await;
        assert_eq!(rows(&counters), [0, 0, 1, 0]);
        assert_eq!(database.text("select title from sessions").await, "new");
        let mut versionless = with(session(1, 5), "title", json!("none"));
        versionless["updatedAt"] = json!(null);
        writer.store(Resource::Sessions, &[versionless], 7).await;
        assert_eq!(database.text("select title from sessions").await, "new");
        // Fractions are compared as time: .3 is later than the whole second.
        let fraction = with(session(1, 5), "updatedAt", json!("2026-05-04T14:00:05.3Z"));
        let fraction = with(fraction, "title", json!("newest"));
        assert_eq!(
            rows(&writer.store(Resource::Sessions, &[fraction], 8).await),
            [0, 1, 0, 0]
        );
        let whole = with(session(1, 5), "title", json!("whole"));
        writer.store(Resource::Sessions, &[whole], 9).await;
        assert_eq!(database.text("select title from sessions").await, "newest");
    })
    .await;
}

#[tokio::test]
async fn tags_that_are_gone_from_a_session_lose_their_link() {
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        writer
            .store(Resource::Sessions, &[session(1, 1), session(2, 1)], 1)
            .await;
        let retagged = with(
            session(1, 2),
            "contactDetails",
            contact_details("Ana", &[2, 3]),
        );
        writer.store(Resource::Sessions, &[retagged], 2).await;
        let names = |owner: &str, number: u128| {
            format!(
                "select t.name from {owner}_tags l join tags t on t.id = l.tag_id \
                 where l.{owner}_id = '{}' order by t.name",
                id(number)
            )
        };
        assert_eq!(
            database.texts(&names("session", 1)).await,
            ["tag 2", "tag 3"]
        );
        assert_eq!(
            database.texts(&names("contact", 100)).await,
            ["tag 2", "tag 3"]
        );
        // The other session keeps what it had when it was read.
        assert_eq!(
            database.texts(&names("session", 2)).await,
            ["tag 1", "tag 2"]
        );
        let bare = with(session(1, 3), "contactDetails", contact_details("Ana", &[]));
        writer.store(Resource::Sessions, &[bare], 3).await;
        assert!(database.texts(&names("session", 1)).await.is_empty());
        assert!(database.texts(&names("contact", 100)).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn columns_that_an_answer_cannot_know_keep_their_values() {
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        let full = with(session(1, 1), "channelType", json!("WEBCHAT"));
        let full = with(full, "type", json!("GROUP"));
        writer.store(Resource::Sessions, &[full], 1).await;
        let bare = json!({
            "id": id(1), "updatedAt": at(2), "createdAt": at(0), "status": "COMPLETED",
            "contactId": id(100), "channelId": id(200),
        });
        let unknown = ColumnGroup::CLASSIFICATION
            .with(ColumnGroup::CHANNEL_TYPE)
            .with(ColumnGroup::SESSION_TYPE)
            .with(ColumnGroup::CONTACT)
            .with(ColumnGroup::AGENT)
            .with(ColumnGroup::DEPARTMENT)
            .with(ColumnGroup::CHANNEL);
        let batch = batch_without(Resource::Sessions, &[bare], 2, unknown);
        writer.try_commit(&batch, &[], 2).await.unwrap();
        assert_eq!(
            database
                .text(
                    "select status || ' ' || channel_type || ' ' || type || ' ' \
                     || classification_category from sessions"
                )
                .await,
            "COMPLETED WEBCHAT GROUP WON"
        );
        assert_eq!(database.text("select name from contacts").await, "Ana");
        assert_eq!(database.count("session_tags", "true").await, 2);
    })
    .await;
}

#[tokio::test]
async fn a_failing_commit_leaves_nothing_half_written() {
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        writer.store(Resource::Sessions, &[session(1, 1)], 1).await;
        let trigger = match database.kind {
            Kind::Sqlite => {
                "create trigger stop before update on sync_runs begin \
                 select raise(abort, 'stopped'); end"
            }
            Kind::Postgres => {
                "create function stop() returns trigger language plpgsql as \
                 $$ begin raise exception 'stopped'; end $$; \
                 create trigger stop before update on sync_runs \
                 for each row execute function stop()"
            }
        };
        database.execute(trigger).await;
        let moved = with(
            session(2, 2),
            "contactDetails",
            contact_details("Bia", &[9]),
        );
        let batch = batch(Resource::Sessions, &[moved, json!("no object")], 2);
        let progress = [Progress::Watermark {
            stream: SESSIONS,
            to: at(2),
        }];
        let error = writer.try_commit(&batch, &progress, 2).await.unwrap_err();
        assert!(!error.is_temporary(), "{error:?}");
        assert_eq!(database.count("sessions", "true").await, 1);
        assert_eq!(database.count("rejects", "true").await, 0);
        assert_eq!(database.count("session_tags", "true").await, 2);
        assert_eq!(database.text("select name from contacts").await, "Ana");
        let state = database
            .store
            .state(writer.account, SESSIONS)
            .await
            .unwrap();
        assert_eq!(state.watermark, None);

        // The same batch again, now that it can be stored: nothing was remembered as stored.
        let drop = match database.kind {
            Kind::Sqlite => "drop trigger stop",
            Kind::Postgres => "drop trigger stop on sync_runs",
        };
        database.execute(drop).await;
        let counters = writer.try_commit(&batch, &progress, 3).await.unwrap();
        assert_eq!(rows(&counters), [1, 0, 0, 1]);
        assert_eq!(database.text("select name from contacts").await, "Bia");
        let state = database
            .store
            .state(writer.account, SESSIONS)
            .await
            .unwrap();
        assert_eq!(state.watermark, Some(at(2)));
    })
    .await;
}

#[tokio::test]
async fn one_key_twice_is_one_row_in_its_newest_version() {
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        let newer = with(session(1, 2), "title", json!("newer"));
        let counters = writer
            .store(Resource::Sessions, &[newer, session(1, 1)], 2)
            .await;
        assert_eq!(rows(&counters), [1, 0, 0, 0]);
        assert_eq!(counters.rows_read, 2);
        assert_eq!(database.text("select title from sessions").await, "newer");
    })
    .await;
}

#[tokio::test]
async fn accounts_that_share_a_person_do_not_share_the_row() {
    on_both(|database| async move {
        let first = Writer::named(&database, "first").await;
        let second = Writer::named(&database, "second").await;
        first.store(Resource::Sessions, &[session(1, 1)], 1).await;
        let other = with(
            session(2, 1),
            "agentDetails",
            json!({"id": id(402), "userId": id(400), "name": "Rui, elsewhere"}),
        );
        second.store(Resource::Sessions, &[other], 1).await;
        assert_eq!(
            database
                .texts("select name from agents order by account_id")
                .await,
            ["Rui", "Rui, elsewhere"]
        );
        // Nor its tags.
        let tags = "select substr(cast(tag_id as text), 36) from contact_tags \
                    order by account_id, tag_id";
        assert_eq!(database.texts(tags).await, ["1", "2", "1", "2"]);
        let retagged = with(
            session(1, 3),
            "contactDetails",
            contact_details("Ana", &[2, 3]),
        );
        first.store(Resource::Sessions, &[retagged], 3).await;
        assert_eq!(database.texts(tags).await, ["2", "3", "1", "2"]);
        // Nor how new it is.
        let listed = |name: &str, updated: u64| {
            json!({"id": id(500), "userId": id(401), "name": name, "updatedAt": at(updated)})
        };
        for (writer, name, updated) in [(&first, "new", 9), (&second, "old", 5)] {
            let counters = writer
                .store(Resource::Agents, &[listed(name, updated)], 9)
                .await;
            assert_eq!(rows(&counters), [1, 0, 0, 0]);
        }
        let listed = "select name from agents where updated_at is not null order by account_id";
        assert_eq!(database.texts(listed).await, ["new", "old"]);
        let removed = Progress::ListRead {
            resource: Resource::Agents,
            keys: vec![],
        };
        second.progress(removed, 2).await;
        assert_eq!(database.count("agents", "removed_at is null").await, 2);
    })
    .await;
}
