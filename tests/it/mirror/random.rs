//! Random histories of odd platforms: whatever happens between which answers, the mirror is perfect once
//! the account rests and a daemon's nights are over.
//!
//! A few cases in the normal run. `PROPTEST_CASES=500 cargo test --test it mirror::random` tries more, and
//! `RANDOM_CASE='17 Stale Ghosts'` tells one of them again, by the seed and the oddities that a failure
//! shows.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use helena_sync::clock::Clock as _;
use helena_sync::daemon::Intervals;
use helena_sync::data::RunKind;
use helena_sync::sandbox::{Moods, Poison, Precision};
use helena_sync::schedule::Trigger;
use helena_sync::sync::RunReport;
use proptest::prelude::*;
use serde_json::Value;
use uuid::Uuid;

use super::oddities::{Oddity, odd_change};
use crate::support::database::{Database, Kind, on_one};
use crate::support::mirror::{Mirror, Plan, assert_good, beginning};
use crate::support::truth::{Scope, Truth};

const DAY: Duration = Duration::from_hours(24);

const INTERVALS: Intervals = Intervals {
    catalog: Duration::from_mins(15),
    refresh_open: Duration::from_hours(6),
};

/// What is told: everything but the oddities follows from the seed.
#[derive(Debug, Clone)]
struct Case {
    seed: u64,
    oddities: Vec<Oddity>,
}

impl Case {
    /// The one that somebody asks for.
    fn asked() -> Option<Self> {
        let text = std::env::var("RANDOM_CASE").ok()?;
        let mut words = text.split_whitespace();
        let seed = words.next().unwrap().parse().unwrap();
        let named = |word| {
            let mut all = Oddity::ALL.iter().copied();
            all.find(|oddity| format!("{oddity:?}") == word)
                .unwrap_or_else(|| panic!("there is no oddity {word}"))
        };
        let oddities = words.map(named).collect();
        Some(Self { seed, oddities })
    }

    /// What is open about every platform.
    fn moods(&self, dice: &mut fastrand::Rng) -> Moods {
        let precisions = [Precision::Ticks, Precision::Micros, Precision::Millis];
        let mut moods = Moods {
            ignore_order: dice.bool(),
            after_inclusive: dice.bool(),
            before_inclusive: dice.bool(),
            precision: precisions[dice.usize(..3)],
            skew_micros: dice.i64(-7_200..7_200) * 1_000_000,
            absent_share: dice.f64() * 0.9,
            extra_fields: dice.bool(),
            tags_unasked: dice.bool(),
            ..Moods::default()
        };
        for oddity in &self.oddities {
            // Whatever the others are.
            let mut dice = fastrand::Rng::with_seed(self.seed);
            oddity.put_on(&mut moods, &mut dice);
        }
        moods
    }
}

fn cases() -> impl Strategy<Value = Case> {
    let oddities = prop::sample::subsequence(Oddity::ALL.to_vec(), 0..=4);
    let is_possible = |oddities: &Vec<Oddity>| {
        let excluded = |one: &Oddity| oddities.iter().any(|other| one.excludes(*other));
        !oddities.iter().any(excluded)
    };
    let oddities = oddities.prop_filter("nothing shows some records", is_possible);
    let seed = (0..u64::from(u32::MAX)).no_shrink();
    (seed, oddities).prop_map(|(seed, oddities)| Case { seed, oddities })
}

/// What happens after one answer: so many changes, drawn from a seed, after so many milliseconds.
#[derive(Debug, Clone)]
struct Event {
    changes: u32,
    seed: u64,
    millis: u64,
}

fn events(dice: &mut fastrand::Rng, count: usize) -> VecDeque<Event> {
    let event = |_| Event {
        changes: dice.u32(..4),
        seed: dice.u64(..),
        millis: dice.u64(..5_000),
    };
    (0..count).map(event).collect()
}

/// A case under way.
struct Story {
    mirror: Mirror,
    oddities: Vec<Oddity>,
    deleted: Arc<Mutex<HashSet<Uuid>>>,
    /// What was shown before anything was hidden or deleted.
    shown: Arc<Truth>,
}

impl Story {
    async fn begin(database: Database, case: &Case, dice: &mut fastrand::Rng) -> Self {
        let mut plan = Plan::of(180);
        plan.sandbox.moods = case.moods(dice);
        plan.sandbox.seed = dice.u64(..1_000);
        // A server that is behind has not lived through what a year up to our present holds.
        plan.sandbox.until = Some(beginning() - Duration::from_hours(3));
        Self {
            mirror: Mirror::begin(database, plan).await,
            oddities: case.oddities.clone(),
            deleted: Arc::default(),
            shown: Arc::default(),
        }
    }

    fn has(&self, oddity: Oddity) -> bool {
        self.oddities.contains(&oddity)
    }

    /// Passes of an account that lives while it is read. Ranges that will not hold still may fail runs;
    /// they must not cost a row.
    async fn live(&self, events: VecDeque<Event>, passes: u32) {
        let mirror = &self.mirror;
        let (clock, mut events) = (Arc::clone(&mirror.clock), events);
        let (oddities, deleted) = (self.oddities.clone(), Arc::clone(&self.deleted));
        let shown = self.shown.ids().collect();
        mirror.sandbox.on_answer(move |account, _| {
            let Some(event) = events.pop_front() else {
                return;
            };
            clock.advance(Duration::from_millis(event.millis));
            let mut dice = fastrand::Rng::with_seed(event.seed);
            for _ in 0..event.changes {
                let gone = odd_change(account, &mut dice, &oddities, &shown);
                deleted.lock().unwrap().extend(gone);
            }
        });
        for _ in 0..passes {
            let _runs = mirror.sync().await;
            mirror.clock.advance(Duration::from_secs(25));
        }
    }

    /// Nothing happens any more, and lists are whole again.
    async fn rest(&self) {
        let mirror = &self.mirror;
        mirror.sandbox.clear_hooks();
        mirror.change(|account| account.moods.list_loss_share = 0.0);
        for _ in 0..2 {
            mirror.clock.advance(crate::support::mirror::OVERLAP * 3);
            self.assert_good(&mirror.sync().await);
        }
    }

    /// Where records cannot be asked for by their ids, nothing fails but what asks for them.
    fn assert_good(&self, runs: &[RunReport]) {
        for run in runs {
            let may_fail = match run.kind {
                RunKind::Recheck => self.has(Oddity::ByIdWithdrawn) || self.has(Oddity::Failing),
                RunKind::RefreshOpen => self.has(Oddity::ByIdWithdrawn),
                _ => false,
            };
            if !may_fail {
                assert_good(std::slice::from_ref(run));
            }
        }
    }

    /// Begins to hide some of what was shown.
    fn hide(&mut self, seed: u64) {
        self.shown = Arc::new(self.mirror.truth());
        let oddities = &self.oddities;
        self.mirror.change(|account| {
            for oddity in oddities {
                let mut dice = fastrand::Rng::with_seed(seed);
                oddity.hide(&mut account.moods, &mut dice);
            }
        });
    }

    /// What a daemon does in a night: open sessions are read again, and everything is compared.
    async fn night(&self) {
        let mirror = &self.mirror;
        mirror.clock.advance(DAY + INTERVALS.refresh_open);
        let begun = mirror.clock.now();
        let mut worker = mirror.worker(INTERVALS);
        let mut portions = 0;
        for trigger in [Trigger::Verify, Trigger::Pass, Trigger::Pass] {
            self.assert_good(&worker.step(trigger, &mirror.stop).await);
            while worker.is_verifying() {
                worker.go_on(&mirror.stop).await;
                portions += 1;
                assert!(portions < 100, "a verification does not end");
            }
            mirror.clock.advance(Duration::from_mins(1));
        }
        let failed = "kind = 'verify' and outcome = 'failed'";
        let failed = mirror.database.count("sync_runs", failed).await;
        assert!(failed == 0 || self.has(Oddity::ByIdWithdrawn), "{failed}");
        let verified = mirror.database.store.verified(mirror.account).await;
        let at = verified.unwrap().map(|(at, _)| at);
        assert!(at >= Some(begun), "the night compared nothing: {at:?}");
    }

    /// What nothing shows that anybody could know of: a record that was hidden before any list showed it,
    /// and what only an answer by id would show which the platform refuses.
    fn unknowable(&self) -> HashSet<String> {
        let deleted = self.deleted.lock().unwrap();
        let named = self.mirror.truth().contacts_of_sessions();
        let shown: HashSet<Uuid> = self.shown.ids().collect();
        self.mirror.change(|account| {
            let cannot_ask = |account: &helena_sync::sandbox::SandboxAccount, id: Uuid| {
                account.moods.by_id_withdrawn || account.id_fault(id).is_some()
            };
            let mut ids: Vec<Uuid> = deleted.iter().copied().collect();
            ids.retain(|id| cannot_ask(account, *id));
            for id in account.session_ids() {
                let is_hidden = account.poison_of(id) == Some(Poison::Hidden);
                if is_hidden && (!shown.contains(&id) || cannot_ask(account, id)) {
                    ids.push(id);
                }
            }
            for id in account.contact_ids() {
                let status = account.contact(id).map(|contact| contact.status);
                let is_hidden = account.poison_of(id) == Some(Poison::Hidden)
                    || status == Some(helena_sync::sandbox::ContactStatus::Undefined);
                let is_known = shown.contains(&id) || named.contains(&id);
                let is_ghost = account.poison_of(id) == Some(Poison::Ghost);
                if is_hidden && !is_known || (is_hidden || is_ghost) && cannot_ask(account, id) {
                    ids.push(id);
                }
            }
            ids.iter().map(Uuid::to_string).collect()
        })
    }

    /// The sessions that were shown and are deleted.
    fn gone(&self) -> Vec<Value> {
        let deleted = self.deleted.lock().unwrap();
        let sessions = deleted.iter().filter_map(|id| self.shown.session(*id));
        sessions.cloned().collect()
    }
}

async fn story(database: Database, case: Case) {
    let mut dice = fastrand::Rng::with_seed(case.seed);
    let mut story = Story::begin(database, &case, &mut dice).await;
    let count = dice.usize(30..80);
    story.live(events(&mut dice, count), 2).await;
    story.rest().await;
    story.hide(case.seed);
    let count = dice.usize(15..50);
    story.live(events(&mut dice, count), 2).await;
    story.rest().await;
    for _ in 0..2 {
        story.night().await;
    }
    story.rest().await;
    let scope = Scope {
        session_types: !story.has(Oddity::V2Withdrawn),
        was_asked: !story.has(Oddity::ByIdWithdrawn),
        except: story.unknowable(),
        gone: story.gone(),
        ..Scope::of_churn()
    };
    story.mirror.assert_mirrors_within(&scope).await;
}

/// Tells a case on a database of this kind.
fn tell(kind: Kind, case: &Case) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(on_one(kind, |database| story(database, case.clone())));
}

/// Tells so many cases, or as many as `PROPTEST_CASES` says.
fn tell_cases(kind: Kind, count: u32) {
    if let Some(case) = Case::asked() {
        return tell(kind, &case);
    }
    let asked = std::env::var("PROPTEST_CASES").ok();
    let config = ProptestConfig {
        cases: asked.map_or(count, |asked| asked.parse().unwrap()),
        max_shrink_iters: 12,
        failure_persistence: None,
        source_file: Some(file!()),
        ..ProptestConfig::default()
    };
    proptest!(config, |(case in cases())| tell(kind, &case));
}

#[test]
fn any_history_between_the_answers_ends_in_a_perfect_mirror_on_sqlite() {
    tell_cases(Kind::Sqlite, 5);
}

#[test]
fn any_history_between_the_answers_ends_in_a_perfect_mirror_on_postgres() {
    tell_cases(Kind::Postgres, 3);
}
