//! What is found, and at what cost.

use std::time::Duration;

use helena_sync::data::Resource;
use helena_sync::sandbox::{Moods, Precision, SandboxConfig, Ticks};
use helena_sync::sync::Outcome;

use super::{World, found, of, requests, set};
use crate::support::database::on_both;

#[tokio::test]
async fn a_mirror_without_differences_costs_one_request_a_stream_and_list() {
    on_both(|database| async move {
        let world = World::loaded(database, 300).await;
        let all = world.compare(0).await;
        assert_eq!(all.len(), 8);
        for verified in &all {
            assert_eq!(found(verified).differences(), 0, "{verified:?}");
            assert_eq!(found(verified).shown, found(verified).stored);
            assert_eq!(verified.requests, 1, "{verified:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_missing_and_what_is_gone_is_found_in_few_requests() {
    on_both(|database| async move {
        let world = World::loaded(database, 1_500).await;
        let ids = world.sandbox.account().session_ids();
        let missing = [ids[77], ids[900], ids[1_300]];
        let gone = [ids[400], ids[1_490]];
        world.lose(&missing).await;
        for id in gone {
            assert!(world.sandbox.account().delete_session(id));
        }
        let runs = world.database.count("sync_runs", "1 = 1").await;
        let all = world.compare(0).await;
        let sessions = of(&all, Resource::Sessions);
        assert_eq!(sessions.missing, set(&missing));
        assert_eq!(sessions.gone, set(&gone));
        assert!(sessions.older.is_empty());
        // 150 pages: 64 windows of 3, each difference found by 2 halvings.
        assert!(requests(&all) < 100, "{}", requests(&all));
        // Nothing was written.
        assert_eq!(world.database.count("sessions", "1 = 1").await, 1_497);
        assert_eq!(world.database.count("sync_runs", "1 = 1").await, runs);
    })
    .await;
}

#[tokio::test]
async fn differences_are_found_whatever_the_server_makes_of_a_windows_ends() {
    on_both(|database| async move {
        let world = World::loaded(database, 400).await;
        let ids = world.sandbox.account().session_ids();
        let missing = [ids[0], ids[30], ids[31], ids[399]];
        world.lose(&missing).await;
        for precision in [Precision::Ticks, Precision::Micros, Precision::Millis] {
            for inclusive in [false, true] {
                world.sandbox.account().moods = Moods {
                    precision,
                    after_inclusive: inclusive,
                    before_inclusive: inclusive,
                    ..Moods::default()
                };
                let sessions = of(&world.compare(0).await, Resource::Sessions);
                assert_eq!(sessions.missing, set(&missing), "{precision:?} {inclusive}");
                assert_eq!(sessions.gone, set(&[]), "{precision:?} {inclusive}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_miss_and_a_surplus_that_cancel_are_found_by_samples() {
    on_both(|database| async move {
        let world = World::loaded(database, 300).await;
        let ids = world.sandbox.account().session_ids();
        world.lose(&[ids[100]]).await;
        world.sandbox.account().delete_session(ids[101]);
        let sessions = of(&world.compare(0).await, Resource::Sessions);
        assert_eq!(sessions.differences(), 0);
        let sessions = of(&world.compare(1_000).await, Resource::Sessions);
        assert_eq!(sessions.missing, set(&[ids[100]]));
        assert_eq!(sessions.gone, set(&[ids[101]]));
        assert!(sessions.sampled > 20, "{}", sessions.sampled);
        let few = of(&world.compare(3).await, Resource::Sessions);
        assert_eq!(few.sampled, 3);
    })
    .await;
}

#[tokio::test]
async fn what_changed_after_the_last_pass_is_no_difference() {
    on_both(|database| async move {
        let world = World::loaded(database, 200).await;
        world.clock.advance(Duration::from_secs(5));
        let ids = world.sandbox.account().session_ids();
        {
            let mut account = world.sandbox.account();
            for _ in 0..15 {
                let draft = account.draft_session();
                account.insert_session(draft);
            }
            account.update_session(ids[100], |session| session.title = None);
        }
        let all = world.compare(1_000).await;
        let sessions = of(&all, Resource::Sessions);
        assert_eq!(sessions.differences(), 0);
        assert_eq!(sessions.unread, 1);
    })
    .await;
}

#[tokio::test]
async fn many_sessions_of_one_instant_are_compared_too() {
    on_both(|database| async move {
        let world = World::new(database, SandboxConfig::of_size(120)).await;
        let at = Ticks::from(
            helena_sync::data::Timestamp::parse("2026-02-01T09:00:00.123456Z").unwrap(),
        );
        let mut bulk = Vec::new();
        {
            let mut account = world.sandbox.account();
            for _ in 0..90 {
                let mut draft = account.draft_session();
                draft.created_at = at;
                bulk.push(account.insert_session(draft));
            }
        }
        world.load().await;
        world.lose(&bulk[3..5]).await;
        world.sandbox.account().delete_session(bulk[50]);
        let sessions = of(&world.compare(0).await, Resource::Sessions);
        assert_eq!(sessions.missing, set(&bulk[3..5]));
        assert_eq!(sessions.gone, set(&bulk[50..51]));
    })
    .await;
}

#[tokio::test]
async fn a_server_that_ignores_windows_is_read_whole() {
    on_both(|database| async move {
        let world = World::loaded(database, 200).await;
        let ids = world.sandbox.account().session_ids();
        world.lose(&ids[20..22]).await;
        world.sandbox.account().moods.ignore_created_filter = true;
        let sessions = of(&world.compare(0).await, Resource::Sessions);
        assert_eq!(sessions.missing, set(&ids[20..22]));
        assert_eq!(sessions.gone, set(&[]));
    })
    .await;
}

#[tokio::test]
async fn records_that_could_not_be_read_are_no_differences() {
    on_both(|database| async move {
        let world = World::new(database, SandboxConfig::of_size(300)).await;
        let ids = world.sandbox.account().session_ids();
        for (kind, &id) in [
            helena_sync::sandbox::Poison::NoId,
            helena_sync::sandbox::Poison::BrokenId,
            helena_sync::sandbox::Poison::NotAnObject,
            helena_sync::sandbox::Poison::WrongType,
        ]
        .into_iter()
        .zip(&ids[100..])
        {
            world.sandbox.account().poison(id, kind);
        }
        world.load().await;
        let all = world.compare(0).await;
        let sessions = of(&all, Resource::Sessions);
        assert_eq!(sessions.differences(), 0);
        for verified in &all {
            assert!(!found(verified).is_unexplained(), "{verified:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_mirror_whose_first_load_is_unfinished_is_not_compared() {
    on_both(|database| async move {
        let world = World::new(database, SandboxConfig::of_size(50)).await;
        world.engine.identify(&world.stop).await.unwrap();
        let planned = world
            .engine
            .plan_first_load(Resource::Sessions, world.limits())
            .await;
        planned.unwrap();
        let asked = world.sandbox.take_requests().len();
        assert!(asked > 0);
        for verified in world.compare(10).await {
            assert!(
                matches!(verified.outcome, Outcome::NotLoaded),
                "{verified:?}"
            );
        }
        assert_eq!(world.sandbox.take_requests().len(), 0);
    })
    .await;
}
