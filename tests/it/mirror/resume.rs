//! A first load that is interrupted goes on where it stopped, as the requests show.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use helena_sync::clock::Clock as _;
use helena_sync::data::Resource;
use helena_sync::sandbox::{Poison, RequestSeen, SandboxAccount};

use super::churn::Churn;
use crate::support::database::on_both;
use crate::support::mirror::{Mirror, Plan, assert_good};
use crate::support::truth::Scope;

const PAGE: u32 = 10;
const WINDOW_PAGES: u32 = 5;

fn plan() -> Plan {
    let mut plan = Plan::of(500);
    plan.walk.page_size = PAGE;
    plan.walk.window_pages = WINDOW_PAGES;
    plan.sandbox.contacts = Some(50);
    plan
}

/// Pages of a load: not the counts that are asked for on the way, nor the passes.
fn pages(requests: &[RequestSeen]) -> usize {
    requests
        .iter()
        .filter(|request| request.path.ends_with("/session"))
        .filter(|request| request.param("UpdatedAt.After").is_none() && request.items > 0)
        .count()
}

#[tokio::test]
async fn a_load_that_was_interrupted_reads_the_rest_and_one_window_more_at_most() {
    on_both(|database| async move {
        let mut mirror = Mirror::begin(database, plan()).await;
        let budget = AtomicU64::new(375);
        let runs = mirror.sync_within(Some(&budget)).await;
        assert!(runs.iter().any(|run| run.error.is_some()));
        let first = pages(&mirror.sandbox.take_requests());
        let stored = mirror
            .database
            .count("sessions", "updated_at is not null")
            .await;
        assert!((300..500).contains(&stored), "{stored}");

        mirror.restart().await;
        assert_good(&mirror.sync().await);
        let second = pages(&mirror.sandbox.take_requests());
        mirror.assert_mirrors().await;
        // 50 pages in all. The windows are split where they are too deep, which takes a page each;
        // planning, and saying how much is left, takes another.
        let rest = 50 / 4;
        let window = usize::try_from(WINDOW_PAGES).unwrap();
        assert!(first >= 37, "{first}");
        assert!(second <= rest + window + 8, "{second} pages after {first}");
    })
    .await;
}

#[tokio::test]
async fn a_load_that_is_interrupted_again_and_again_still_ends() {
    on_both(|database| async move {
        let mut mirror = Mirror::begin(database, plan()).await;
        let mut starts = 0;
        loop {
            starts += 1;
            assert!(starts < 60, "no progress");
            // Now and then less than a window holds, or even a page.
            let budget = AtomicU64::new([120, 30, 3][starts % 3]);
            let runs = mirror.sync_within(Some(&budget)).await;
            if runs.iter().all(|run| run.error.is_none()) {
                break;
            }
            mirror.restart().await;
        }
        assert!(starts > 3, "{starts}");
        mirror.assert_mirrors().await;
        // Whoever is asked to stop before anything began does nothing.
        mirror.stop.cancel();
        let before = mirror.contents().await;
        let _stopped = mirror.sync().await;
        assert_eq!(mirror.contents().await, before);
    })
    .await;
}

#[tokio::test]
async fn a_record_that_is_never_shown_keeps_no_other_from_being_read_and_is_named() {
    on_both(|database| async move {
        let mirror = Mirror::begin(database, plan()).await;
        let ids = mirror.change(SandboxAccount::session_ids);
        // Newer than most: windows are read newest first.
        let hidden = ids[ids.len() - 40];
        mirror.change(|account| account.poison(hidden, Poison::Hidden));
        assert_good(&mirror.sync().await);
        let stored = mirror.database.count("sessions", "true").await;
        assert_eq!(stored, 499);
        let open = "resource = 'sessions' and counted - shown = 1 and resolved_at is null";
        assert_eq!(mirror.database.count("gaps", open).await, 1);
        // It is asked for again at night, and stored once it is shown.
        assert_good(&mirror.sync().await);
        assert_good(&mirror.engine.recheck_gaps(mirror.limits()).await);
        assert_eq!(mirror.database.count("gaps", open).await, 1);
        mirror.change(|account| account.heal(hidden));
        assert_good(&mirror.engine.recheck_gaps(mirror.limits()).await);
        assert_eq!(mirror.database.count("gaps", open).await, 0);
        mirror.assert_mirrors().await;
    })
    .await;
}

#[tokio::test]
async fn lists_are_kept_fresh_while_a_long_load_goes_on() {
    on_both(|database| async move {
        let mirror = Mirror::begin(database, plan()).await;
        let clock = mirror.clock.clone();
        mirror.sandbox.on_answer(move |account, seen| {
            clock.advance(Duration::from_secs(20));
            if seen.path.ends_with("/contact") {
                return;
            }
            // From the first page of the load on.
            if seen.param("CreatedAt.Before").is_some() && account.tags().len() == 20 {
                account.add_tag("Durante a carga");
                // Whatever the clock shows meanwhile.
                clock.set(clock.now() - Duration::from_hours(6));
            }
        });
        assert_good(&mirror.sync().await);
        let read = "resource = 'tags' and kind = 'list'";
        assert!(mirror.database.count("sync_runs", read).await > 1);
        let tag = "name = 'Durante a carga' and created_at is not null";
        assert_eq!(mirror.database.count("tags", tag).await, 1);
    })
    .await;
}

#[tokio::test]
async fn only_what_was_asked_for_is_gone_on_with() {
    on_both(|database| async move {
        let mut mirror = Mirror::begin(database, plan()).await;
        let budget = AtomicU64::new(120);
        let _stopped = mirror.sync_within(Some(&budget)).await;
        let before = mirror.database.count("sessions", "true").await;
        let asked_for = std::mem::replace(&mut mirror.plan.resources, vec![Resource::Tags]);
        assert_good(&mirror.sync().await);
        assert_eq!(mirror.database.count("sessions", "true").await, before);
        mirror.plan.resources = asked_for;
        assert_good(&mirror.sync().await);
        mirror.assert_mirrors().await;
    })
    .await;
}

#[tokio::test]
async fn a_load_that_is_stopped_while_the_account_changes_loses_nothing() {
    on_both(|database| async move {
        let mut mirror = Mirror::begin(database, plan()).await;
        let _made = Churn {
            changes: 200,
            ..Churn::of(3)
        }
        .after_answers(&mirror);
        for turn in 0..6 {
            // Stops after some answers, whatever was being done.
            let stop = mirror.stop.clone();
            let mut left = 5 + 7 * turn;
            mirror.sandbox.on_answer(move |_, _| {
                left -= 1;
                if left == 0 {
                    stop.cancel();
                }
            });
            let _stopped = mirror.sync().await;
            mirror.clock.advance(Duration::from_secs(10));
            mirror.restart().await;
        }
        mirror.quiet().await;
        let scope = Scope::of_churn();
        mirror.assert_mirrors_within(&scope).await;
    })
    .await;
}
