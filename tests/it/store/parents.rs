//! Contacts and lists, which several kinds of answers fill.

use helena_sync::data::{Batch, Resource, Span, StateChange};
use serde_json::json;

use super::{Writer, at, contact, contact_details, id, rows, session, with};
use crate::support::database::on_both;
use crate::support::proof::proof;

#[tokio::test]
async fn details_win_over_a_contact_only_if_read_later() {
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        let name = "select name || ' ' || coalesce(email, '-') from contacts";
        let counters = writer
            .store(
                Resource::Contacts,
                &[contact(100, "From list", 10, &[1])],
                20,
            )
            .await;
        assert_eq!(rows(&counters), [1, 0, 0, 0]);

        let early = with(
            session(1, 1),
            "contactDetails",
            contact_details("Early", &[2]),
        );
        writer.store(Resource::Sessions, &[early], 15).await;
        assert_eq!(database.text(name).await, "From list ana@example.com");
        assert_eq!(database.count("contact_tags", "true").await, 1);

        let late = with(
            session(1, 2),
            "contactDetails",
            contact_details("Late", &[2, 3]),
        );
        writer.store(Resource::Sessions, &[late], 25).await;
        assert_eq!(database.text(name).await, "Late ana@example.com");
        assert_eq!(database.count("contact_tags", "true").await, 2);

        // The same version of the list's record, read later still: the details are undone.
        let counters = writer
            .store(
                Resource::Contacts,
                &[contact(100, "From list", 10, &[1])],
                30,
            )
            .await;
        assert_eq!(rows(&counters), [0, 1, 0, 0]);
        assert_eq!(database.text(name).await, "From list ana@example.com");
        assert_eq!(database.count("contact_tags", "true").await, 1);
        let counters = writer
            .store(
                Resource::Contacts,
                &[contact(100, "From list", 10, &[1])],
                31,
            )
            .await;
        assert_eq!(rows(&counters), [0, 0, 1, 0]);
    })
    .await;
}

#[tokio::test]
async fn a_contact_read_before_its_details_keeps_theirs_until_it_is_read_again() {
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        writer.store(Resource::Sessions, &[session(1, 1)], 20).await;
        let counters = writer
            .store(Resource::Contacts, &[contact(100, "Old", 5, &[7])], 10)
            .await;
        assert_eq!(rows(&counters), [1, 0, 0, 0]);
        let name = "select name || ' ' || email from contacts";
        assert_eq!(database.text(name).await, "Ana ana@example.com");
        assert_eq!(database.count("contact_tags", "true").await, 2);
        writer
            .store(Resource::Contacts, &[contact(100, "Old", 5, &[7])], 30)
            .await;
        assert_eq!(database.text(name).await, "Old ana@example.com");
        assert_eq!(database.count("contact_tags", "true").await, 1);
        // What the process remembers of the details must not hide them now.
        writer.store(Resource::Sessions, &[session(1, 2)], 40).await;
        assert_eq!(database.text(name).await, "Ana ana@example.com");
        assert_eq!(database.count("contact_tags", "true").await, 2);
    })
    .await;
}

#[tokio::test]
async fn a_record_known_by_its_id_alone_counts_as_inserted_when_it_comes() {
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        writer.store(Resource::Sessions, &[session(1, 1)], 1).await;
        let tag = json!({"id": id(1), "createdAt": at(0), "updatedAt": at(0), "name": "VIP", "color": "RED_500"});
        let counters = writer.store(Resource::Tags, &[tag], 2).await;
        assert_eq!(rows(&counters), [1, 0, 0, 0]);
        // A name seen beside a session is a hint and no more.
        writer.store(Resource::Sessions, &[session(2, 1)], 3).await;
        assert_eq!(
            database.texts("select name from tags order by name").await,
            ["VIP", "tag 2"]
        );
    })
    .await;
}

#[tokio::test]
async fn what_a_list_no_longer_shows_is_marked_and_what_returns_is_not() {
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        let tag = |number: u128| json!({"id": id(number), "updatedAt": at(0), "name": "t"});
        writer.store(Resource::Tags, &[tag(1), tag(2)], 1).await;
        let read = |keys: &[u128]| StateChange::ListRead {
            resource: Resource::Tags,
            keys: keys.iter().map(|&key| id(key)).collect(),
        };
        writer.progress(read(&[1]), 2).await;
        assert_eq!(database.count("tags", "removed_at is not null").await, 1);
        writer.progress(read(&[1, 2]), 3).await;
        assert_eq!(database.count("tags", "removed_at is not null").await, 0);

        // Stored again though nothing in it changed.
        writer.progress(read(&[1]), 4).await;
        let counters = writer.store(Resource::Tags, &[tag(1), tag(2)], 5).await;
        assert_eq!(rows(&counters), [0, 1, 1, 0]);
        assert_eq!(database.count("tags", "removed_at is not null").await, 0);

        let counts = database.store.table_counts(writer.account).await.unwrap();
        assert_eq!((counts[0].rows, counts[0].removed), (2, 0));
    })
    .await;
}

#[tokio::test]
async fn sessions_are_marked_as_removed_by_id_and_open_ones_can_be_asked_for() {
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        let closed = with(session(3, 1), "status", json!("COMPLETED"));
        writer
            .store(
                Resource::Sessions,
                &[session(1, 1), session(2, 1), closed],
                1,
            )
            .await;
        let store = &database.store;
        let open = store
            .open_session_ids(writer.account, Span::OPEN)
            .await
            .unwrap();
        assert_eq!(open, [id(1), id(2)]);
        let gone = StateChange::Gone {
            proof: proof(Resource::Sessions).await,
            keys: vec![id(1)],
        };
        let batch = Batch::default();
        for marked in [1, 0] {
            let counters = writer
                .try_commit(&batch, std::slice::from_ref(&gone), 2)
                .await;
            assert_eq!(counters.unwrap().rows_updated, marked);
        }
        assert_eq!(
            store
                .open_session_ids(writer.account, Span::OPEN)
                .await
                .unwrap(),
            [id(2)]
        );
    })
    .await;
}

#[tokio::test]
async fn fields_that_nobody_modelled_are_kept_and_named() {
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        let record = with(session(1, 1), "brandNew", json!({"x": 1}));
        writer.store(Resource::Sessions, &[record], 1).await;
        let extra = database.store.extra_keys(writer.account).await.unwrap();
        assert_eq!(extra.len(), 1);
        assert_eq!(extra[0].resource, Resource::Sessions);
        assert_eq!(extra[0].keys, ["brandNew"]);
    })
    .await;
}
