//! Random histories in random moods: whatever happens between which answers, the mirror is perfect
//! once the account rests.

use std::collections::VecDeque;
use std::time::Duration;

use helena_sync::sandbox::{Moods, Precision};
use proptest::prelude::*;

use super::churn::{Churn, change};
use crate::support::database::{Database, on_sqlite};
use crate::support::mirror::{Mirror, Plan, beginning};
use crate::support::truth::Scope;

/// What happens after one answer: so many changes, drawn from a seed, after so many milliseconds.
#[derive(Debug, Clone)]
struct Event {
    changes: u32,
    seed: u64,
    millis: u64,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = (0_u32..4, any::<u64>(), 0_u64..5_000).prop_map(|(changes, seed, millis)| Event {
        changes,
        seed,
        millis,
    });
    prop::collection::vec(event, 40..160)
}

fn moods() -> impl Strategy<Value = Moods> {
    let precision = prop_oneof![
        Just(Precision::Ticks),
        Just(Precision::Micros),
        Just(Precision::Millis)
    ];
    (
        any::<[bool; 3]>(),
        prop::bool::weighted(0.15),
        prop::bool::weighted(0.15),
        precision,
        -7_200_i64..7_200,
        0.0..0.9,
    )
        .prop_map(
            |(
                [ignore_order, after_inclusive, before_inclusive],
                ignore_updated_filter,
                ignore_created_filter,
                precision,
                skew,
                absent_share,
            )| Moods {
                ignore_order,
                after_inclusive,
                before_inclusive,
                precision,
                ignore_updated_filter,
                ignore_created_filter,
                skew_micros: skew * 1_000_000,
                absent_share,
                ..Moods::default()
            },
        )
}

async fn story(database: Database, moods: Moods, events: Vec<Event>) {
    let mut plan = Plan::of(300);
    plan.sandbox.moods = moods;
    // A server that is behind has not lived through what a year up to our present holds.
    plan.sandbox.until = Some(beginning() - Duration::from_hours(3));
    let mirror = Mirror::begin(database, plan).await;
    let clock = std::sync::Arc::clone(&mirror.clock);
    let mut events = VecDeque::from(events);
    mirror.sandbox.on_answer(move |account, _| {
        let Some(event) = events.pop_front() else {
            return;
        };
        clock.advance(Duration::from_millis(event.millis));
        let mut dice = fastrand::Rng::with_seed(event.seed);
        for _ in 0..event.changes {
            change(account, &mut dice, Churn::of(0));
        }
    });
    // Ranges that will not hold still may fail runs; they must not cost a row.
    for _ in 0..3 {
        let _runs = mirror.sync().await;
        mirror.clock.advance(Duration::from_secs(25));
    }
    mirror.quiet().await;
    let scope = Scope::of_churn();
    mirror.assert_mirrors_within(&scope).await;
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 8,
        max_shrink_iters: 12,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_history_between_the_answers_ends_in_a_perfect_mirror(
        moods in moods(),
        events in events(),
    ) {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap()
            .block_on(on_sqlite(|database| story(database, moods, events)));
    }
}
