//! What is found, and at what cost.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use helena_sync::clock::Clock as _;
use helena_sync::data::{ReadAs, Resource};
use helena_sync::sandbox::{Moods, Poison, Precision, SandboxConfig, Ticks, Totals};
use helena_sync::sync::{Comparison, Outcome, RunLimits, Verified};

use super::{World, found, of, requests_of, set};
use crate::support::database::on_both;

#[tokio::test]
async fn a_mirror_without_differences_costs_its_pages_or_64_windows_and_a_list_one_request() {
    on_both(|database| async move {
        let world = World::loaded(database, 1_500).await;
        // Sessions name contacts that are gone, which are asked for once.
        world.repair().await;
        let all = world.compare(0).await;
        assert_eq!(all.len(), Resource::ALL.len() + 2);
        for verified in &all {
            let found = found(verified);
            assert_eq!(found.differences(), 0, "{verified:?}");
            assert_eq!(found.shown, found.stored);
            let pages = found.stored.div_ceil(10);
            let expected =
                if let ReadAs::List(_, questions) = verified.resource.descriptor().reading {
                    let questions = questions.len() as u64;
                    questions..=questions
                } else if pages <= 64 {
                    // One for what no window holds, and one more where a part ends within a page.
                    2 + pages..=3 + pages
                } else {
                    // Here and there is no place to cut. Both versions of the session list are counted once,
                    // so is all of it, and one page behind the last is looked at.
                    62..=69
                };
            assert!(expected.contains(&verified.requests), "{verified:?}");
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
        let requests = requests_of(&all, Resource::Sessions);
        assert!(requests < 100, "{requests}");
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
        let world = World::loaded(database, 1_500).await;
        let ids = world.sandbox.account().session_ids();
        world.lose(&[ids[700]]).await;
        world.sandbox.account().delete_session(ids[701]);
        let sessions = of(&world.compare(1_000).await, Resource::Sessions);
        assert_eq!(sessions.missing, set(&[ids[700]]));
        assert_eq!(sessions.gone, set(&[ids[701]]));
        assert_eq!(sessions.sampled, 150);
        let few = of(&world.compare(3).await, Resource::Sessions);
        assert_eq!(few.sampled, 3);
        // What has few pages is read whole anyway.
        let small = of(&world.compare(3).await, Resource::Contacts);
        assert_eq!(small.sampled, 0);
    })
    .await;
}

#[tokio::test]
async fn samples_are_taken_in_turns_until_all_had_theirs() {
    on_both(|database| async move {
        let world = World::loaded(database, 1_500).await;
        let ids = world.sandbox.account().session_ids();
        world.lose(&[ids[700]]).await;
        world.sandbox.account().delete_session(ids[701]);
        // Thirty windows of fifty rows, of which each night reads two further ones.
        let mut nights = 0;
        while of(&world.compare(30).await, Resource::Sessions)
            .missing
            .is_empty()
        {
            nights += 1;
            assert!(nights <= 25, "not found");
            world.clock.advance(std::time::Duration::from_hours(24));
        }
    })
    .await;
}

#[tokio::test]
async fn a_miss_and_a_surplus_in_different_months_are_found_without_samples() {
    on_both(|database| async move {
        let world = World::loaded(database, 1_500).await;
        let ids = world.sandbox.account().session_ids();
        world.lose(&[ids[200]]).await;
        world.sandbox.account().delete_session(ids[1_200]);
        let all = world.compare(0).await;
        let sessions = of(&all, Resource::Sessions);
        assert_eq!(sessions.missing, set(&[ids[200]]));
        assert_eq!(sessions.gone, set(&[ids[1_200]]));
        // 64 windows, two of which are halved; the contacts of each status are read whole.
        let requests = requests_of(&all, Resource::Sessions);
        assert!(requests < 85, "{requests}");
    })
    .await;
}

#[tokio::test]
async fn a_miss_and_a_surplus_side_by_side_are_found_in_another_night_at_the_latest() {
    on_both(|database| async move {
        fastrand::seed(11);
        let world = World::loaded(database, 1_500).await;
        let ids = world.sandbox.account().session_ids();
        world.lose(&[ids[700]]).await;
        world.sandbox.account().delete_session(ids[704]);
        for night in 0.. {
            assert!(night < 60, "never found");
            let sessions = of(&world.compare(0).await, Resource::Sessions);
            if sessions.differences() > 0 {
                assert_eq!(sessions.missing, set(&[ids[700]]));
                assert_eq!(sessions.gone, set(&[ids[704]]));
                break;
            }
        }
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
        // They changed in the second in which the load began, which the pass behind it read again.
        world.clock.advance(Duration::from_mins(10));
        for run in world.pass().await {
            assert!(run.succeeded(), "{:?}", run.error);
        }
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

#[tokio::test]
async fn what_a_first_load_has_read_is_compared() {
    on_both(|database| async move {
        let mut world = World::new(database, SandboxConfig::of_size(1_500)).await;
        world.walk.window_pages = 10;
        world.set_page_size(10);
        world.engine.identify(&world.stop).await.unwrap();
        let resource = Resource::Sessions;
        let planned = world.engine.plan_first_load(resource, world.limits()).await;
        planned.unwrap();
        let budget = AtomicU64::new(400);
        let limits = RunLimits {
            budget: Some(&budget),
            ..world.limits()
        };
        world.engine.work_off(&[resource], limits).await;
        let stored = world.database.count("sessions", "true").await;
        assert!((300..1_000).contains(&stored), "{stored}");
        world.clock.advance(Duration::from_mins(10));
        world.engine.incremental(&[resource], world.limits()).await;

        let ids = world.sandbox.account().session_ids();
        world.lose(&ids[1_450..1_453]).await;
        world.sandbox.account().delete_session(ids[1_400]);
        let all = world.compare(0).await;
        let sessions = of(&all, resource);
        assert_eq!(sessions.missing, set(&ids[1_450..1_453]));
        assert_eq!(sessions.gone, set(&ids[1_400..1_401]));
        let compared = found(all.iter().find(|one| one.resource == resource).unwrap());
        assert!(compared.loading > 0);
        assert!(compared.shown < 1_000, "{}", compared.shown);
    })
    .await;
}

#[tokio::test]
async fn records_that_are_counted_and_never_shown_are_gaps() {
    on_both(|database| async move {
        for size in [200, 1_500] {
            let name = format!("{size}");
            let world = World::loaded_as(database.clone(), size, &name).await;
            let ids = world.sandbox.account().session_ids();
            let ghost = ids[100];
            world.lose(&[ghost]).await;
            world.sandbox.account().poison(ghost, Poison::Ghost);
            let sessions = |all: &[Verified]| -> Comparison {
                let one = all.iter().find(|one| one.resource == Resource::Sessions);
                found(one.unwrap()).clone()
            };
            let compared = sessions(&world.compare(0).await);
            assert_eq!(compared.differences(), 0);
            assert!(compared.is_unexplained());

            let created = world.sandbox.account().session(ghost).unwrap().created_at;
            let at = created.timestamp();
            let millisecond = Duration::from_millis(1);
            world
                .database
                .execute(&format!(
                    "insert into gaps (account_id, resource, partition, field, window_after, \
                     window_before, counted, shown, first_seen_at, last_seen_at, run_id) values \
                     ({}, 'sessions', '', 'created', '{}', '{}', 1, 0, '{at}', '{at}', 1)",
                    world.account.0,
                    at - millisecond,
                    at + millisecond
                ))
                .await;
            let all = world.compare(0).await;
            let compared = sessions(&all);
            assert_eq!((compared.differences(), compared.gaps), (0, 1));
            assert!(!compared.is_unexplained());
            // Its window is not looked into again.
            assert!(requests_of(&all, Resource::Sessions) <= 70);
        }
    })
    .await;
}

/// What differs is found and repaired whatever the platform counts.
async fn whatever_is_counted(totals: Totals) {
    on_both(move |database| async move {
        let config = SandboxConfig::of_size(720);
        let world = World::new(database, config).await;
        world.load().await;
        let ids = world.sandbox.account().session_ids();
        world.sandbox.account().moods.totals = totals;
        // The page of another one lacks a record.
        world.sandbox.account().poison(ids[34], Poison::Hidden);
        let missing = [ids[33], ids[300], ids[700]];
        world.lose(&missing).await;
        let gone = [ids[80], ids[500]];
        for id in gone {
            assert!(world.sandbox.account().delete_session(id));
        }
        let all = world.compare(0).await;
        let sessions = of(&all, Resource::Sessions);
        assert_eq!(sessions.missing, set(&missing));
        assert_eq!(sessions.gone, set(&gone));
        assert_eq!(sessions.differences(), 5);
        world.repair().await;
        world.assert_equal().await;
    })
    .await;
}

macro_rules! counts {
    ($($name:ident: $totals:expr;)*) => {
        $(#[tokio::test]
        async fn $name() {
            whatever_is_counted($totals).await;
        })*
    };
}

counts! {
    a_platform_without_totals_is_compared: Totals::Uncounted;
    a_platform_that_says_nothing_of_what_follows_is_compared: Totals::Absent;
    a_platform_whose_index_stops_counting_is_compared: Totals::Capped(95);
    a_platform_whose_totals_are_short_is_compared: Totals::Short(4);
    a_platform_that_says_that_no_page_follows_is_compared: Totals::NoMore;
    a_platform_whose_pages_are_counted_short_is_compared: Totals::PagesCapped(95);
}

#[tokio::test]
async fn a_miss_that_cancels_with_a_short_total_is_found() {
    on_both(|database| async move {
        let world = World::loaded(database, 900).await;
        let ids = world.sandbox.account().session_ids();
        world.sandbox.account().moods.totals = Totals::Short(1);
        world.lose(&ids[..1]).await;
        let sessions = of(&world.compare(0).await, Resource::Sessions);
        assert_eq!(sessions.missing, set(&ids[..1]));
        // A server that answers with its last page behind it counts as any other.
        world.sandbox.account().moods = Moods {
            clamp_page_number: true,
            no_echo: true,
            ..Moods::default()
        };
        let all = world.compare(0).await;
        assert_eq!(of(&all, Resource::Sessions).missing, set(&ids[..1]));
        assert!(requests_of(&all, Resource::Sessions) < 85);
    })
    .await;
}

#[tokio::test]
async fn sessions_that_no_window_of_creation_times_holds_are_found() {
    on_both(|database| async move {
        for size in [200, 900] {
            let world = World::loaded_as(database.clone(), size, &format!("{size}")).await;
            let ids = world.sandbox.account().session_ids();
            // As a database orders what is null: first of all, or last.
            let undated = [ids[0], ids[1], ids[ids.len() - 1]];
            for id in undated {
                world.sandbox.account().poison(id, Poison::Undated);
            }
            world.lose(&undated).await;
            let sessions = |all: &[Verified]| of(all, Resource::Sessions);
            assert_eq!(sessions(&world.compare(0).await).missing, set(&undated));
            world.repair().await;
            let account = world.account.0;
            let stored = format!("account_id = {account} and created_at is null and id in ");
            let stored = format!(
                "{stored}('{}', '{}', '{}')",
                undated[0], undated[1], undated[2]
            );
            assert_eq!(world.database.count("sessions", &stored).await, 3);
            assert_eq!(sessions(&world.compare(0).await).differences(), 0);

            // Stored ones are asked for by their ids.
            world.sandbox.account().delete_session(undated[0]);
            let other = format!(
                "update sessions set title = 'other', content_hash = null where id = '{}'",
                undated[1]
            );
            world.database.execute(&other).await;
            let all = world.repair().await;
            assert_eq!(sessions(&all).gone, set(&undated[..1]));
            assert_eq!(sessions(&all).altered, set(&undated[1..2]));
            assert_eq!(sessions(&world.compare(0).await).differences(), 0);
        }
    })
    .await;
}

#[tokio::test]
async fn a_mirror_counts_as_verified_once_all_of_it_was_compared() {
    on_both(|database| async move {
        let world = World::loaded(database, 60).await;
        let verified = || world.database.store.verified(world.account);
        // The totals of contacts were counted after their load.
        assert_eq!(verified().await.unwrap(), None);
        world.engine.recheck_gaps(world.limits()).await;
        assert_eq!(verified().await.unwrap(), None);
        world.repair().await;
        assert_eq!(verified().await.unwrap().unwrap().0, world.clock.now());
    })
    .await;
}
