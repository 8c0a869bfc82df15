//! Rows: what is stored, what is left alone, and that it is all or nothing.

use helena_sync::data::{ColumnGroup, RecheckReason, Resource, Span, StateChange, Stream};
use helena_sync::schema::BatchBuilder;
use helena_sync::store::StoreError;
use serde_json::{Value, json};

use super::{
    Writer, at, batch, batch_by_id, batch_without, contact_details, id, page, rows, session, with,
};
use crate::support::database::{Database, Kind, on_both};

const SESSIONS: Stream = Stream::whole(Resource::Sessions);

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

/// The titles of all sessions, and how many are to be asked for by their ids.
async fn titles(database: &Database) -> (String, i64) {
    let titles = database
        .text("select title from sessions order by id")
        .await;
    let queued = "resource = 'sessions' and reason = 'older'";
    (titles, database.count("rechecks", queued).await)
}

#[tokio::test]
async fn an_older_version_is_asked_for_by_its_id_while_it_may_come_from_a_stale_copy() {
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        let resource = Resource::Sessions;
        let newer = with(session(1, 50), "title", json!("new"));
        writer.store(resource, &[newer], 50).await;
        let older = [with(session(1, 40), "title", json!("old"))];
        let counters = writer.store(resource, &older, 169).await;
        assert_eq!(rows(&counters), [0, 0, 1, 0]);
        assert_eq!(titles(&database).await, ("new".to_owned(), 1));
        // It is queued once.
        writer.store(resource, &older, 169).await;
        assert_eq!(titles(&database).await, ("new".to_owned(), 1));
        let store = &writer.store;
        let rechecks = async |only, second| {
            let lately = Span::after(at(second));
            let account = writer.account;
            let queued = store.rechecks(account, resource, only, lately, 9).await;
            queued.unwrap()
        };
        let queued = rechecks(None, 500).await;
        assert_eq!(queued.len(), 1);
        assert_eq!((queued[0].id, queued[0].attempts), (id(1), 0));
        for (reason, expected) in [(RecheckReason::Older, 1), (RecheckReason::NotListed, 0)] {
            assert_eq!(rechecks(Some(reason), 500).await.len(), expected);
        }

        // One that could not be asked for waits.
        let failed = StateChange::RecheckFailed {
            resource,
            id: id(1),
            error: "500".to_owned(),
        };
        writer.progress(failed, 169).await;
        for (second, expected) in [(169, 0), (170, 1)] {
            assert_eq!(rechecks(None, second).await.len(), expected, "{second}");
        }
        let counts = store.recheck_counts(writer.account).await.unwrap();
        assert_eq!(counts, (1, 1));

        // The answer by id is believed, and the record leaves the queue with it.
        let done = StateChange::Rechecked {
            resource,
            ids: vec![id(1)],
        };
        let answer = batch_by_id(resource, &older, 169);
        let counters = writer.try_commit(&answer, &[done], 170).await.unwrap();
        assert_eq!(rows(&counters), [0, 1, 0, 0]);
        assert_eq!(counters.rows_reverted, 1);
        assert_eq!(titles(&database).await, ("old".to_owned(), 0));
        let run = &database.store.last_runs(writer.account, 1).await.unwrap()[0];
        assert_eq!(run.counters.rows_reverted, 1);
    })
    .await;
}

#[tokio::test]
async fn an_older_version_is_believed_where_no_copy_can_be_as_stale() {
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        let newer = with(session(1, 50), "title", json!("new"));
        writer.store(Resource::Sessions, &[newer], 50).await;
        let older = [with(session(1, 40), "title", json!("old"))];
        // The clock that stamps records has shown 169 s at least, which is one second too little.
        for (second, expected) in [(169, [0, 0, 1, 0]), (170, [0, 1, 0, 0])] {
            let watermark = StateChange::Watermark {
                stream: Resource::Sessions.streams()[0],
                to: at(second),
                seen_at: at(second),
            };
            writer.progress(watermark, 900).await;
            let counters = writer.store(Resource::Sessions, &older, 900).await;
            assert_eq!(rows(&counters), expected);
        }
        let run = &database.store.last_runs(writer.account, 1).await.unwrap()[0];
        let counters = run.counters;
        assert_eq!(counters.rows_reverted, 1);
        assert_eq!(titles(&database).await, ("old".to_owned(), 1));
    })
    .await;
}

#[tokio::test]
async fn a_version_that_is_dated_in_the_future_guards_against_nothing() {
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        let ahead = with(session(1, 1_000_000), "title", json!("ahead"));
        writer.store(Resource::Sessions, &[ahead], 5).await;
        let now = [with(session(1, 6), "title", json!("now"))];
        writer.store(Resource::Sessions, &now, 7).await;
        assert_eq!(titles(&database).await, ("ahead".to_owned(), 1));
        let answer = batch_by_id(Resource::Sessions, &now, 8);
        writer.try_commit(&answer, &[], 8).await.unwrap();
        assert_eq!(titles(&database).await.0, "now");
    })
    .await;
}

#[tokio::test]
async fn what_a_list_shows_later_is_believed_at_once() {
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        let tag = |name: &str, second| json!({"id": id(1), "name": name, "updatedAt": at(second)});
        writer.store(Resource::Tags, &[tag("new", 50)], 50).await;
        writer.store(Resource::Tags, &[tag("old", 40)], 51).await;
        assert_eq!(database.text("select name from tags").await, "old");
        assert_eq!(database.count("rechecks", "true").await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_record_without_a_readable_time_of_change_is_stored_by_its_content() {
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        for (number, unreadable) in [(1, json!(null)), (2, json!("soon")), (3, json!(7))] {
            let known = with(session(number, 5), "title", json!("known"));
            writer.store(Resource::Sessions, &[known], 5).await;
            let odd = with(session(number, 5), "title", json!("odd"));
            let odd = [with(odd, "updatedAt", unreadable)];
            let counters = writer.store(Resource::Sessions, &odd, 7).await;
            assert_eq!(rows(&counters), [0, 1, 0, 1], "{number}");
            let is = format!("id = '{}'", id(number));
            let title = format!("select title from sessions where {is}");
            assert_eq!(database.text(&title).await, "odd", "{number}");
            let unknown = format!("{is} and updated_at is null");
            assert_eq!(database.count("sessions", &unknown).await, 1, "{number}");
            let reject = "cast(partial as integer) = 1 and resolved_at is null \
                          and reason like 'updatedAt: expected%'";
            assert_eq!(database.count("rejects", reject).await, 1, "{number}");
            // The same again is nothing new.
            let counters = writer.store(Resource::Sessions, &odd, 8).await;
            assert_eq!(rows(&counters), [0, 0, 1, 1], "{number}");
            // Whatever can be read later is newer.
            let good = with(session(number, 3), "title", json!("good"));
            writer.store(Resource::Sessions, &[good], 9).await;
            assert_eq!(database.text(&title).await, "good", "{number}");
            assert_eq!(database.count("rejects", reject).await, 0, "{number}");
        }
    })
    .await;
}

#[tokio::test]
async fn placeholders_of_dotnet_are_null_and_kept_in_extra() {
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        let nil = json!("00000000-0000-0000-0000-000000000000");
        let never = json!("0001-01-01T00:00:00");
        let mut session = session(1, 5);
        for field in ["departmentId", "userId", "botId"] {
            session[field] = nil.clone();
        }
        for field in ["endAt", "firstResponseAt"] {
            session[field] = never.clone();
        }
        session["classification"]["id"] = nil.clone();
        session["agentDetails"] = json!(null);
        session["departmentDetails"] = json!(null);
        let counters = writer.store(Resource::Sessions, &[session], 5).await;
        assert_eq!(rows(&counters), [1, 0, 0, 0]);
        let unset = "department_id is null and user_id is null and bot_id is null \
                     and end_at is null and first_response_at is null \
                     and classification_id is null and contact_id is not null";
        assert_eq!(database.count("sessions", unset).await, 1);
        for table in ["agents", "departments"] {
            assert_eq!(database.count(table, "true").await, 0, "{table}");
        }
        let extra = database
            .text("select cast(extra as text) from sessions")
            .await;
        let extra: Value = serde_json::from_str(&extra).unwrap();
        for field in ["departmentId", "userId", "botId"] {
            assert_eq!(extra[field], nil, "{field}");
        }
        for field in ["endAt", "firstResponseAt"] {
            assert_eq!(extra[field], never, "{field}");
        }
        assert_eq!(extra["classification"]["id"], nil);
    })
    .await;
}

#[tokio::test]
async fn references_that_only_the_details_tell_are_kept() {
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        writer.store(Resource::Sessions, &[session(1, 5)], 5).await;
        let mut without = session(1, 6);
        for field in ["contactId", "departmentId", "userId"] {
            without.as_object_mut().unwrap().remove(field);
        }
        writer.store(Resource::Sessions, &[without], 6).await;
        let linked = format!(
            "contact_id = '{}' and department_id = '{}' and user_id = '{}'",
            id(100),
            id(300),
            id(400)
        );
        assert_eq!(database.count("sessions", &linked).await, 1);
        // A session that shows neither has none.
        let mut none = session(1, 7);
        for field in ["contactId", "userId", "contactDetails", "agentDetails"] {
            none[field] = json!(null);
        }
        writer.store(Resource::Sessions, &[none], 7).await;
        let unlinked = "contact_id is null and user_id is null and department_id is not null";
        assert_eq!(database.count("sessions", unlinked).await, 1);
    })
    .await;
}

#[tokio::test]
async fn fractions_of_a_second_are_compared_as_time() {
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        let newer = with(session(1, 5), "title", json!("new"));
        writer.store(Resource::Sessions, &[newer], 5).await;
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
        let progress = [StateChange::Watermark {
            stream: SESSIONS,
            to: at(2),
            seen_at: at(2),
        }];
        let error = writer.try_commit(&batch, &progress, 2).await.unwrap_err();
        assert!(
            !matches!(
                error,
                StoreError::Unavailable { .. } | StoreError::Locked { .. }
            ),
            "{error:?}"
        );
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
        let contact = with(contact_details("Bia", &[1, 2]), "id", json!(id(101)));
        let other = with(other, "contactId", json!(id(101)));
        let other = with(other, "contactDetails", contact);
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
        let removed = StateChange::ListRead {
            resource: Resource::Agents,
            keys: vec![],
        };
        second.progress(removed, 2).await;
        assert_eq!(database.count("agents", "removed_at is null").await, 2);
    })
    .await;
}

#[tokio::test]
async fn raw_records_that_were_not_kept_are_added_by_the_next_reading() {
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        let sessions = [session(1, 1), session(2, 1)];
        let mut without = batch(Resource::Sessions, &sessions, 1);
        for write in &mut without.writes {
            for row in &mut write.rows {
                row.raw = None;
            }
        }
        writer.try_commit(&without, &[], 1).await.unwrap();
        assert_eq!(database.count("raw_records", "true").await, 0);
        let synced = "select cast(max(synced_at) as text) from sessions";
        let before = database.text(synced).await;
        // What did not change is not written again, but for its raw record.
        let counters = writer.store(Resource::Sessions, &sessions, 2).await;
        assert_eq!(rows(&counters), [0, 0, 2, 0]);
        assert_eq!(database.text(synced).await, before);
        let newest = database.text("select cast(change_seq as text) from leases");
        let newest = newest.await;
        let added = format!("resource = 'sessions' and change_seq = {newest}");
        assert_eq!(database.count("raw_records", &added).await, 2);
        let older = format!("change_seq < {newest}");
        assert_eq!(database.count("sessions", &older).await, 2);
        writer.store(Resource::Sessions, &sessions, 3).await;
        assert_eq!(database.count("raw_records", &added).await, 2);
    })
    .await;
}

#[tokio::test]
async fn an_older_version_that_was_read_later_in_one_commit_is_asked_for() {
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        let newer = with(session(1, 9), "title", json!("newer"));
        let older = with(session(1, 7), "title", json!("older"));
        let mut builder = BatchBuilder::new(Resource::Sessions, true);
        builder.add(&page(&[newer], 20, ColumnGroup::NONE));
        builder.add(&page(std::slice::from_ref(&older), 21, ColumnGroup::NONE));
        let both = builder.finish();
        writer.try_commit(&both, &[], 22).await.unwrap();
        assert_eq!(database.count("sessions", "title = 'newer'").await, 1);
        let queued = format!("record_id = '{}' and reason = 'older'", id(1));
        assert_eq!(database.count("rechecks", &queued).await, 1);
        // Its answer is the last word.
        let answer = batch_by_id(Resource::Sessions, &[older], 23);
        writer.try_commit(&answer, &[], 24).await.unwrap();
        assert_eq!(database.count("sessions", "title = 'older'").await, 1);
    })
    .await;
}
