//! Backfills and their windows.

use helena_sync::data::{Progress, Resource, SessionFilter, Span, Stream};
use helena_sync::store::{NewBackfill, StoreError};

use super::{Writer, at};
use crate::support::database::on_both;

const SESSIONS: Stream = Stream {
    resource: Resource::Sessions,
    partition: "",
};

#[tokio::test]
async fn a_first_load_sets_its_watermark_and_is_resumed_window_by_window() {
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        let store = &database.store;
        let filter = SessionFilter {
            status: vec!["COMPLETED".to_owned()],
            ..SessionFilter::default()
        };
        let new = NewBackfill {
            resource: Resource::Sessions,
            first_load: true,
            range: Span::OPEN,
            filters: vec![SessionFilter::default(), filter],
            windows: vec![
                (SESSIONS, Span::between(at(0), at(10)), 0),
                (SESSIONS, Span::after(at(20)), 0),
                (SESSIONS, Span::between(at(10), at(20)), 1),
            ],
            watermark: Some(at(50)),
        };
        let id = store
            .create_backfill(&writer.lease, &new, at(1))
            .await
            .unwrap();
        let state = store.state(writer.account, SESSIONS).await.unwrap();
        assert_eq!(state.watermark, Some(at(50)));

        let windows = store.pending_windows(id).await.unwrap();
        let spans: Vec<_> = windows.iter().map(|w| (w.created, w.filter)).collect();
        assert_eq!(
            spans,
            [
                (Span::after(at(20)), 0),
                (Span::between(at(10), at(20)), 1),
                (Span::between(at(0), at(10)), 0),
            ]
        );
        writer
            .progress(
                Progress::WindowDone {
                    window: windows[0].id,
                    records: 7,
                },
                2,
            )
            .await;
        let split = Progress::WindowSplit {
            window: windows[1].id,
            into: vec![Span::between(at(15), at(20)), Span::between(at(10), at(15))],
        };
        writer.progress(split.clone(), 3).await;
        let again = writer
            .try_commit(&helena_sync::data::Batch::default(), &[split], 3)
            .await;
        assert!(
            matches!(again, Err(StoreError::Inconsistent { .. })),
            "{again:?}"
        );
        let left = store.pending_windows(id).await.unwrap();
        let spans: Vec<_> = left
            .iter()
            .map(|w| (w.created.after.unwrap(), w.filter))
            .collect();
        assert_eq!(spans, [(at(15), 1), (at(10), 1), (at(0), 0)]);

        let found = store.unfinished_backfills(writer.account).await.unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].filters, new.filters);
        assert!(found[0].first_load);
        assert_eq!(
            (
                found[0].windows_done,
                found[0].windows_left,
                found[0].rows_done
            ),
            (1, 3, 7)
        );
        store
            .finish_backfill(&writer.lease, id, at(4))
            .await
            .unwrap();
        assert!(
            store
                .unfinished_backfills(writer.account)
                .await
                .unwrap()
                .is_empty()
        );

        // A later one does not move the watermark; cancelled, it is not resumed.
        let later = NewBackfill {
            watermark: Some(at(90)),
            ..new
        };
        let id = store
            .create_backfill(&writer.lease, &later, at(5))
            .await
            .unwrap();
        let state = store.state(writer.account, SESSIONS).await.unwrap();
        assert_eq!(state.watermark, Some(at(50)));
        store
            .cancel_backfill(&writer.lease, id, at(6))
            .await
            .unwrap();
        assert!(
            store
                .unfinished_backfills(writer.account)
                .await
                .unwrap()
                .is_empty()
        );
    })
    .await;
}
