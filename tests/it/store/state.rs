//! Watermarks and what is known of a stream.

use helena_sync::data::{Ordering, Progress, Resource, RunKind, RunOutcome, Stream};

use super::{Writer, at};
use crate::support::database::on_both;

const SESSIONS: Stream = Stream {
    resource: Resource::Sessions,
    partition: "",
};

#[tokio::test]
async fn a_watermark_only_moves_forward_until_an_operator_sets_it() {
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        let store = &database.store;
        let to = |second| Progress::Watermark {
            stream: SESSIONS,
            to: at(second),
        };
        for (second, expected) in [(5, 5), (3, 5), (5, 5), (8, 8)] {
            writer.progress(to(second), 1).await;
            let state = store.state(writer.account, SESSIONS).await.unwrap();
            assert_eq!(state.watermark, Some(at(expected)));
        }
        let run = &store.last_runs(writer.account, 1).await.unwrap()[0];
        assert_eq!(
            (run.watermark_before, run.watermark_after),
            (None, Some(at(8)))
        );
        let pass = |second| Progress::PassDone {
            stream: SESSIONS,
            server_time: at(second),
        };
        writer.progress(pass(9), 2).await;
        writer.progress(pass(4), 2).await;
        let state = store.state(writer.account, SESSIONS).await.unwrap();
        // The later of two answers may well be the one whose time was right.
        assert_eq!(state.observed_at, Some(at(4)));

        let old = store
            .set_watermark(&writer.lease, writer.run, SESSIONS, Some(at(2)), at(10))
            .await
            .unwrap();
        assert_eq!(old, Some(at(8)));
        let state = store.state(writer.account, SESSIONS).await.unwrap();
        assert_eq!((state.watermark, state.observed_at), (Some(at(2)), None));
        store
            .set_watermark(&writer.lease, writer.run, SESSIONS, None, at(11))
            .await
            .unwrap();
        let state = store.state(writer.account, SESSIONS).await.unwrap();
        assert_eq!(state.watermark, None);
        assert_eq!(
            database
                .count("state_changes", "old_watermark is not null")
                .await,
            2
        );
        writer.progress(to(1), 1).await;
        let state = store.state(writer.account, SESSIONS).await.unwrap();
        assert_eq!(state.watermark, Some(at(1)));
    })
    .await;
}

#[tokio::test]
async fn the_order_of_a_stream_and_its_last_error_are_kept() {
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        let store = &database.store;
        let archived = Stream::find("contacts", "ARCHIVED").unwrap();
        store
            .set_ordering(&writer.lease, archived, Ordering::Ignored, at(1))
            .await
            .unwrap();
        let state = store.state(writer.account, archived).await.unwrap();
        assert_eq!(state.ordering, Ordering::Ignored);
        assert_eq!(state.ordering_checked_at, Some(at(1)));

        for (subject, outcome, error) in [
            (
                "contacts (ARCHIVED)",
                RunOutcome::Failed,
                Some("it was down"),
            ),
            ("tags", RunOutcome::Succeeded, None),
        ] {
            let run = store
                .begin_run(&writer.lease, RunKind::Incremental, subject, at(1))
                .await
                .unwrap();
            store
                .finish_run(&writer.lease, run, outcome, error, at(2))
                .await
                .unwrap();
        }
        let statuses = store.stream_statuses(writer.account).await.unwrap();
        let found: Vec<_> = statuses
            .iter()
            .map(|status| {
                (
                    status.resource.as_str(),
                    status.partition.as_str(),
                    status.last_success_at,
                    status.last_error.as_deref(),
                )
            })
            .collect();
        assert_eq!(
            found,
            [
                ("contacts", "ARCHIVED", None, Some("it was down")),
                ("tags", "", Some(at(2)), None),
            ]
        );
        // A list is no stream.
        assert_eq!(store.states(writer.account).await.unwrap().len(), 1);

        // Read again it fails no more, whatever the clock has been set to since.
        let run = store
            .begin_run(
                &writer.lease,
                RunKind::Incremental,
                "contacts (ARCHIVED)",
                at(0),
            )
            .await
            .unwrap();
        store
            .finish_run(&writer.lease, run, RunOutcome::Succeeded, None, at(1))
            .await
            .unwrap();
        let statuses = store.stream_statuses(writer.account).await.unwrap();
        assert_eq!(statuses[0].last_success_at, Some(at(1)));
        assert_eq!(statuses[0].last_error, None);
        assert_eq!(statuses[0].last_error_at, None);
    })
    .await;
}
