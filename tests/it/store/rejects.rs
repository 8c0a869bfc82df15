//! Records that could not be read.

use helena_sync::data::{Resource, StateChange};
use helena_sync::store::RejectFilter;
use serde_json::json;

use super::{Writer, at, batch, id, rows, session, with};
use crate::support::database::on_both;

#[tokio::test]
async fn a_reject_is_one_row_however_often_it_comes_and_resolved_by_a_good_version() {
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        let store = &database.store;
        let bad = with(session(1, 1), "unreadCount", json!({"no": "number"}));
        let counters = writer
            .store(
                Resource::Sessions,
                &[bad.clone(), json!("no\0object"), session(2, 1)],
                1,
            )
            .await;
        assert_eq!(rows(&counters), [2, 0, 0, 2]);
        writer
            .store(
                Resource::Sessions,
                &[with(bad, "updatedAt", json!(at(2))), json!("no\0object")],
                2,
            )
            .await;
        let all = store
            .rejects(writer.account, RejectFilter::default())
            .await
            .unwrap();
        assert_eq!(all.len(), 2, "{all:?}");
        for reject in &all {
            assert_eq!((reject.first_seen_at, reject.last_seen_at), (at(1), at(2)));
            assert_eq!(reject.partial, reject.record_id == Some(id(1)));
            assert!(!reject.raw.contains('\0'));
        }
        let mut named = store.rejected(writer.account).await.unwrap();
        named.sort_by_key(|reject| reject.record_id);
        let records: Vec<_> = named.iter().map(|reject| reject.record_id).collect();
        assert_eq!(records, [None, Some(id(1))]);
        for reject in &all {
            assert!(named.iter().any(|named| named.id == reject.id));
        }
        let one = store.reject(writer.account, all[0].id).await.unwrap();
        assert_eq!(one.as_ref(), Some(&all[0]));
        assert_eq!(
            store.reject_counts(writer.account).await.unwrap()["sessions"],
            2
        );

        writer.store(Resource::Sessions, &[session(1, 3)], 3).await;
        let open = store
            .rejects(writer.account, RejectFilter::default())
            .await
            .unwrap();
        assert_eq!(open.len(), 1);
        assert_eq!(open[0].record_id, None);
        let filter = RejectFilter {
            resource: Some(Resource::Sessions),
            resolved: true,
            limit: 10,
        };
        let all = store.rejects(writer.account, filter).await.unwrap();
        let resolved = all.iter().find(|reject| reject.record_id == Some(id(1)));
        assert_eq!(resolved.unwrap().resolved_at, Some(at(3)));

        // It goes wrong in the same way again.
        let bad = with(session(1, 4), "unreadCount", json!({"no": "number"}));
        writer.store(Resource::Sessions, &[bad], 4).await;
        assert_eq!(
            store.reject_counts(writer.account).await.unwrap()["sessions"],
            2
        );
    })
    .await;
}

async fn open(writer: &Writer) -> usize {
    let rejects = writer
        .store
        .rejects(writer.account, RejectFilter::default());
    rejects.await.unwrap().len()
}

#[tokio::test]
async fn a_reject_is_not_resolved_by_an_older_version_that_comes_late() {
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        let bad = with(session(1, 5), "unreadCount", json!({"no": "number"}));
        writer.store(Resource::Sessions, &[bad], 5).await;
        for (version, left) in [(4, 1), (5, 0)] {
            writer
                .store(Resource::Sessions, &[session(1, version)], 6)
                .await;
            assert_eq!(open(&writer).await, left, "{version}");
        }
    })
    .await;
}

#[tokio::test]
async fn rejects_of_a_list_that_was_read_whole_without_them_are_resolved() {
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        let tag = |number| json!({"id": id(number), "name": "x"});
        let half = with(tag(2), "color", json!({"no": "text"}));
        let broken = json!({"id": "no id", "name": "x"});
        let list = |items: &[serde_json::Value], second| {
            let keys = vec![id(1), id(2)];
            let resource = Resource::Tags;
            let read = StateChange::ListRead { resource, keys };
            (batch(Resource::Tags, items, second), read)
        };
        writer
            .store(Resource::Tags, &[tag(1), half.clone(), broken], 1)
            .await;
        writer
            .store(Resource::Sessions, &[json!("no object")], 1)
            .await;
        assert_eq!(open(&writer).await, 3);
        let (rows, read) = list(&[tag(1), half], 2);
        writer.try_commit(&rows, &[read], 2).await.unwrap();
        assert_eq!(open(&writer).await, 2, "the tag's color and the session");
        let (rows, read) = list(&[tag(1), tag(2)], 3);
        writer.try_commit(&rows, &[read], 3).await.unwrap();
        assert_eq!(open(&writer).await, 1, "the session");
    })
    .await;
}
