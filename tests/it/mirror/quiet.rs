//! An account in which nothing changes costs next to nothing, and nothing is written.

use std::time::Duration;

use helena_sync::data::Resource;

use crate::support::database::on_both;
use crate::support::mirror::{Mirror, Plan, assert_good};

#[tokio::test]
async fn a_pass_over_an_unchanged_account_asks_once_a_stream_and_writes_no_row() {
    on_both(|database| async move {
        let mirror = Mirror::begin(database, Plan::of(200)).await;
        mirror.load().await;
        mirror.quiet().await;
        let before = mirror.contents().await;
        mirror.clock.advance(Duration::from_mins(1));
        mirror.sandbox.take_requests();

        let runs = mirror.pass().await;
        assert_good(&runs);
        let asked = mirror.sandbox.take_requests();
        let streams: usize = Resource::ALL.iter().map(|r| r.streams().len()).sum();
        assert_eq!((asked.len(), runs.len()), (streams, streams));
        for run in &runs {
            assert_eq!((run.counters.requests, run.counters.rows_read), (1, 0));
        }
        assert_eq!(mirror.contents().await, before);
    })
    .await;
}

#[tokio::test]
async fn records_that_are_read_again_unchanged_are_not_written_again() {
    on_both(|database| async move {
        let mut plan = Plan::of(200);
        plan.keep_raw = true;
        let mirror = Mirror::begin(database, plan).await;
        mirror.load().await;
        mirror.quiet().await;
        let before = mirror.contents().await;
        let raw = "select cast(synced_at as text) || cast(id as text) from raw_records order by 1";
        let raw_before = mirror.database.texts(raw).await;
        mirror.clock.advance(Duration::from_hours(1));

        let resources = [Resource::Sessions, Resource::Contacts];
        for resource in resources {
            let filters = vec![helena_sync::data::SessionFilter::default()];
            let span = helena_sync::data::Span::OPEN;
            let engine = &mirror.engine;
            engine
                .plan_backfill(resource, span, filters, false, mirror.limits())
                .await
                .unwrap();
        }
        let runs = mirror.sync().await;
        assert_good(&runs);
        let sum = |count: fn(&helena_sync::data::Counters) -> u64| -> u64 {
            runs.iter().map(|run| count(&run.counters)).sum()
        };
        assert!(sum(|counters| counters.rows_unchanged) >= 280);
        assert_eq!(sum(|counters| counters.rows_inserted), 0);
        assert_eq!(sum(|counters| counters.rows_updated), 0);
        assert_eq!(mirror.contents().await, before);
        assert_eq!(mirror.database.texts(raw).await, raw_before);
    })
    .await;
}

#[tokio::test]
async fn what_sessions_tell_of_others_is_no_change_of_the_lists() {
    on_both(|database| async move {
        let mirror = Mirror::begin(database, Plan::of(200)).await;
        mirror.load().await;
        let told = "select cast(count(*) as text) from departments \
                    where description is not null and is_supervisor is not null";
        assert_ne!(mirror.database.texts(told).await, ["0"]);
        let before = mirror.contents().await;

        mirror.clock.advance(Duration::from_mins(20));
        let runs = mirror.sync().await;
        assert_good(&runs);
        let lists = Resource::ALL.iter().filter(|resource| resource.is_list());
        for list in lists {
            let run = runs
                .iter()
                .find(|run| run.stream.resource == *list)
                .unwrap();
            let counters = run.counters;
            assert_ne!(counters.rows_unchanged, 0, "{list}");
            assert_eq!(
                (counters.rows_inserted, counters.rows_updated),
                (0, 0),
                "{list}"
            );
        }
        assert_eq!(mirror.contents().await, before);
    })
    .await;
}

#[tokio::test]
async fn what_is_counted_is_what_happened() {
    on_both(|database| async move {
        let mirror = Mirror::begin(database, Plan::of(120)).await;
        let runs = mirror.sync().await;
        let inserted: u64 = runs
            .iter()
            .filter(|run| run.stream.resource == Resource::Sessions)
            .map(|run| run.counters.rows_inserted)
            .sum();
        assert_eq!(inserted, 120);
        mirror.quiet().await;
        let ids = mirror.change(helena_sync::sandbox::SandboxAccount::session_ids);
        mirror.change(|account| {
            for id in &ids[..7] {
                account.update_session(*id, |session| session.unread_count += 1);
            }
            for _ in 0..3 {
                let session = account.draft_session();
                account.insert_session(session);
            }
        });
        mirror.clock.advance(Duration::from_secs(5));
        let runs = mirror.pass().await;
        let counters = runs[0].counters;
        assert_eq!(
            (
                counters.rows_read,
                counters.rows_inserted,
                counters.rows_updated
            ),
            (10, 3, 7)
        );
        // Within the overlap they are read once more.
        mirror.clock.advance(Duration::from_secs(5));
        let counters = mirror.pass().await[0].counters;
        assert_eq!((counters.rows_read, counters.rows_unchanged), (10, 10));
        mirror.assert_mirrors().await;
    })
    .await;
}
