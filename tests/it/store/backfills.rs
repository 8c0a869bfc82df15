//! Backfills and their windows.

use helena_sync::data::{Resource, SessionFilter, Span, StateChange, Stream};
use helena_sync::store::{FirstWatermark, NewBackfill, StoreError};

use super::{Writer, at};
use crate::support::database::on_both;

const SESSIONS: Stream = Stream::whole(Resource::Sessions);

fn first_watermark(second: u64) -> FirstWatermark {
    FirstWatermark {
        stream: SESSIONS,
        to: at(second),
        seen_at: at(second + 1),
    }
}

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
            on_request: false,
            records: None,
            range: Span::OPEN,
            filters: vec![SessionFilter::default(), filter],
            windows: vec![
                (SESSIONS, Span::between(at(0), at(10)), 0),
                (SESSIONS, Span::after(at(20)), 0),
                (SESSIONS, Span::between(at(10), at(20)), 1),
            ],
            watermarks: vec![first_watermark(50)],
        };
        let id = store
            .create_backfill(&writer.lease, &new, at(1))
            .await
            .unwrap();
        let state = store.state(writer.account, SESSIONS).await.unwrap();
        assert_eq!(
            (
                state.watermark,
                state.watermark_seen_at,
                state.watermark_seen_locally_at
            ),
            (Some(at(50)), Some(at(51)), Some(at(1)))
        );

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
                StateChange::WindowDone {
                    window: windows[0].id,
                    records: 7,
                },
                2,
            )
            .await;
        let split = StateChange::WindowSplit {
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
    })
    .await;
}

#[tokio::test]
async fn a_later_backfill_moves_no_watermark_and_one_that_is_begun_again_or_reset_is_not_resumed() {
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        let store = &database.store;
        writer
            .progress(
                StateChange::Watermark {
                    stream: SESSIONS,
                    to: at(50),
                    seen_at: at(50),
                },
                1,
            )
            .await;
        let later = NewBackfill {
            watermarks: vec![first_watermark(90)],
            resource: Resource::Sessions,
            first_load: false,
            on_request: false,
            records: None,
            range: Span::OPEN,
            filters: Vec::new(),
            windows: Vec::new(),
        };
        let id = store
            .create_backfill(&writer.lease, &later, at(5))
            .await
            .unwrap();
        let state = store.state(writer.account, SESSIONS).await.unwrap();
        assert_eq!(state.watermark, Some(at(50)));
        let other = NewBackfill {
            range: Span::after(at(3)),
            ..later.clone()
        };
        let create = async |new: &NewBackfill, second| {
            let created = store.create_backfill(&writer.lease, new, at(second));
            created.await.unwrap()
        };
        let unfinished = async || {
            let found = store.unfinished_backfills(writer.account).await.unwrap();
            found.iter().map(|found| found.id).collect::<Vec<_>>()
        };
        let other = create(&other, 6).await;
        assert_eq!(unfinished().await, [id, other]);
        let again = create(&later, 7).await;
        assert_eq!(unfinished().await, [other, again]);
        let given_up = format!("id = {id} and cancelled_at is not null");
        assert_eq!(database.count("backfills", &given_up).await, 1);
        // A first load of the same range is another question.
        let first = NewBackfill {
            first_load: true,
            on_request: false,
            records: None,
            ..later
        };
        let first = create(&first, 8).await;
        assert_eq!(unfinished().await, [other, again, first]);
        for reset in [Resource::Contacts, Resource::Sessions] {
            assert_eq!(unfinished().await, [other, again, first], "{reset}");
            let streams = reset.streams();
            let set = store.set_watermarks(&writer.lease, &streams, None, at(9));
            set.await.unwrap();
        }
        assert_eq!(unfinished().await, [other, again]);
    })
    .await;
}

#[tokio::test]
async fn a_cancelled_backfill_has_no_windows_and_keeps_what_it_stored() {
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        let store = &database.store;
        let new = |on_request| NewBackfill {
            resource: Resource::Sessions,
            first_load: false,
            on_request,
            records: Some(40),
            range: Span::OPEN,
            filters: vec![SessionFilter::default()],
            windows: vec![(SESSIONS, Span::OPEN, 0)],
            watermarks: Vec::new(),
        };
        let create = async |on_request| {
            let new = new(on_request);
            store
                .create_backfill(&writer.lease, &new, at(1))
                .await
                .unwrap()
        };
        // Of the same range, but what a sync needs is not replaced by what somebody asked for.
        let (needed, asked) = (create(false).await, create(true).await);
        let found = store.unfinished_backfills(writer.account).await.unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|it| (it.id, it.on_request, it.is_cancellable(), it.records))
            .collect();
        let expected = [
            (needed, false, false, Some(40)),
            (asked, true, true, Some(40)),
        ];
        assert_eq!(found, expected);
        assert_eq!(store.pending_windows(asked).await.unwrap().len(), 1);
        let cancel = async || {
            let cancelled = store
                .cancel_backfills(writer.account, &[asked], at(2))
                .await;
            cancelled.unwrap()
        };
        assert_eq!((cancel().await, cancel().await), (1, 0));
        assert_eq!(store.pending_windows(asked).await.unwrap(), []);
        // Whoever still reads it may end it.
        store
            .finish_backfill(&writer.lease, asked, at(3))
            .await
            .unwrap();
        let cancelled =
            format!("id = {asked} and cancelled_at is not null and finished_at is null");
        assert_eq!(database.count("backfills", &cancelled).await, 1);
        let left = store.unfinished_backfills(writer.account).await.unwrap();
        assert_eq!(left.len(), 1);
    })
    .await;
}
