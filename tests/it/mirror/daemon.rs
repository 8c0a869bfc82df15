//! What the daemon does when, on a clock of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use helena_sync::api::Client;
use helena_sync::clock::{Clock as _, FakeClock, SystemClock};
use helena_sync::config::Zone;
use helena_sync::daemon::{AccountTask, Claim, End, Engines, Intervals, WhenHeld};
use helena_sync::data::Resource;
use helena_sync::health::Health;
use helena_sync::metrics::Meter;
use helena_sync::schedule::{self, Trigger};
use helena_sync::store::{Holder, Lease, StoreError};
use helena_sync::sync::Engine;

use crate::support::database::{Database, Kind, on_both};
use crate::support::mirror::{Mirror, Plan, assert_good, failures};

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

const INTERVALS: Intervals = Intervals {
    catalog: Duration::from_mins(15),
    refresh_open: Duration::from_hours(6),
};

#[tokio::test]
async fn a_list_that_is_refused_is_asked_for_less_and_less_often_and_the_others_when_they_are_due()
{
    on_both(|database| async move {
        let mirror = Mirror::begin(database, Plan::of(40)).await;
        mirror.change(|account| account.moods.refused = vec!["/core/v1/tag".to_owned()]);
        let mut worker = mirror.worker(INTERVALS);
        let runs = worker.step(Trigger::Pass, &mirror.stop).await;
        assert_eq!(failures(&runs).len(), 1, "{:?}", failures(&runs));
        mirror.sandbox.take_requests();
        let (mut refused, mut others) = (Vec::new(), Vec::new());
        for minute in 1..=61 {
            mirror.clock.advance(MINUTE);
            if minute == 5 {
                // A clock that is set makes no pause longer.
                mirror.clock.set(mirror.clock.now() - HOUR / 2);
            }
            for run in worker.step(Trigger::Pass, &mirror.stop).await {
                match run.stream.resource {
                    Resource::Tags => refused.push(minute),
                    Resource::Agents => others.push(minute),
                    _ => assert_good(&[run]),
                }
            }
        }
        assert_eq!(refused.len(), 5, "{refused:?}");
        let distances = refused.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(distances.is_sorted(), "{refused:?}");
        assert_eq!(others.len(), 4, "{others:?}");

        // What may be read is compared all the same.
        worker.step(Trigger::Verify, &mirror.stop).await;
        assert_ne!(
            mirror.database.count("sync_runs", "kind = 'verify'").await,
            0
        );

        mirror.change(|account| account.moods.refused.clear());
        mirror.clock.advance(HOUR + MINUTE);
        assert_good(&worker.step(Trigger::Pass, &mirror.stop).await);
        mirror.quiet().await;
        mirror.assert_mirrors().await;
    })
    .await;
}

impl Database {
    /// Makes it impossible to record that open sessions are read again.
    async fn refuse_refresh(&self) {
        let sql = match self.kind {
            Kind::Sqlite => {
                "create trigger refuse before insert on sync_runs \
                 when new.kind = 'refresh_open' begin select raise(abort, 'refused by a test'); end"
            }
            Kind::Postgres => {
                "create function refuse() returns trigger language plpgsql as $$ \
                 begin raise exception 'refused by a test'; end $$; \
                 create trigger refuse before insert on sync_runs for each row \
                 when (new.kind = 'refresh_open') execute function refuse();"
            }
        };
        self.execute(sql).await;
    }

    async fn accept_refresh(&self) {
        self.execute(match self.kind {
            Kind::Sqlite => "drop trigger refuse",
            Kind::Postgres => "drop trigger refuse on sync_runs",
        })
        .await;
    }
}

#[tokio::test]
async fn open_sessions_are_read_again_in_time_however_often_the_daemon_is_restarted() {
    on_both(|database| async move {
        let mirror = Mirror::begin(database, Plan::of(40)).await;
        let restarted = async || {
            let mut worker = mirror.worker(INTERVALS);
            let runs = worker.step(Trigger::Pass, &mirror.stop).await;
            (worker, runs)
        };
        let refreshed = async || {
            let read = "kind = 'refresh_open' and outcome = 'succeeded'";
            mirror.database.count("sync_runs", read).await
        };
        assert_good(&restarted().await.1);
        for (hours, expected) in [(5, 0), (2, 1), (5, 1), (2, 2)] {
            mirror.clock.advance(HOUR * hours);
            assert_good(&restarted().await.1);
            assert_eq!(refreshed().await, expected);
        }

        // One that failed is no excuse to leave it out.
        mirror.clock.advance(HOUR * 7);
        mirror.database.refuse_refresh().await;
        let (mut worker, runs) = restarted().await;
        assert_eq!(failures(&runs).len(), 1, "{:?}", failures(&runs));
        mirror.database.accept_refresh().await;
        for _ in 0..3 {
            mirror.clock.advance(MINUTE);
            assert_good(&worker.step(Trigger::Pass, &mirror.stop).await);
        }
        assert_eq!(refreshed().await, 3);
    })
    .await;
}

#[tokio::test]
async fn runs_that_cannot_be_forgotten_stop_nobody() {
    on_both(|database| async move {
        let mirror = Mirror::begin(database, Plan::of(20)).await;
        let mut worker = mirror.worker(INTERVALS);
        assert_good(&worker.step(Trigger::Pass, &mirror.stop).await);
        let refuse = match mirror.database.kind {
            Kind::Sqlite => {
                "create trigger refuse before delete on sync_runs \
                 begin select raise(abort, 'refused by a test'); end"
            }
            Kind::Postgres => {
                "create function refuse() returns trigger language plpgsql as $$ \
                 begin raise exception 'refused by a test'; end $$; \
                 create trigger refuse before delete on sync_runs for each row \
                 execute function refuse();"
            }
        };
        mirror.database.execute(refuse).await;
        for _ in 0..3 {
            mirror.clock.advance(HOUR * 24 * 8);
            let runs = worker.step(Trigger::Pass, &mirror.stop).await;
            assert!(runs.len() > 4, "{runs:?}");
            assert_good(&runs);
        }
    })
    .await;
}

/// Makes engines for a mirror, but panics so many times before.
struct Panicking {
    mirror: Arc<Mirror>,
    times: AtomicU32,
}

impl Engines for Panicking {
    type Source = Client;

    async fn begin(&self, lease: &Lease) -> Result<Arc<Engine<Client>>, StoreError> {
        let less = |times: u32| times.checked_sub(1);
        let again = self
            .times
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
        assert!(again.is_err(), "a test panics");
        Ok(Arc::new(self.mirror.engine_under(lease.clone())))
    }
}

/// The task of a mirror's account, whose work panics so many times before it begins.
fn task_that_panics(mirror: &Arc<Mirror>, times: u32, meter: Meter) -> AccountTask<Panicking> {
    AccountTask {
        // Whose clock renews the lease while the other one stands still.
        claim: Claim::new(
            mirror.database.store.clone(),
            Arc::new(SystemClock),
            Zone::UTC,
            "default".to_owned(),
            mirror.sandbox.base_url(),
        ),
        engines: Panicking {
            mirror: Arc::clone(mirror),
            times: AtomicU32::new(times),
        },
        clock: Arc::clone(&mirror.clock) as _,
        resources: mirror.plan.resources.clone(),
        intervals: INTERVALS,
        is_alone: true,
        meter,
        bell: None,
        relay: None,
    }
}

#[tokio::test]
async fn an_account_whose_work_panics_is_served_again() {
    on_both(|database| async move {
        let mirror = Arc::new(Mirror::begin(database, Plan::of(20)).await);
        let store = &mirror.database.store;
        store.release(mirror.engine.lease()).await.unwrap();
        let task = task_that_panics(&mirror, 3, Meter::new("default"));
        let (_slots, triggers) = schedule::slots();
        let serving = tokio::spawn(task.run(WhenHeld::GiveUp, triggers, mirror.stop.clone()));
        while mirror
            .database
            .count("backfills", "finished_at is not null")
            .await
            < 2
        {
            assert!(!serving.is_finished(), "{:?}", serving.await);
            tokio::task::yield_now().await;
        }
        mirror.stop.cancel();
        serving.await.unwrap().unwrap();
        // One for the mirror, three that panicked, and the last.
        assert_eq!(mirror.database.count("leases", "epoch = 5").await, 1);
        mirror.assert_mirrors().await;
    })
    .await;
}

/// How long the watched tasks may be silent.
const PATIENCE: Duration = Duration::from_mins(1);

/// Watches a task on the clock of a mirror.
fn watched(mirror: &Mirror, meter: &Meter) -> Health {
    let health = Health::new(Arc::clone(&mirror.clock) as _);
    health.watch("the task".to_owned(), meter.pulse().clone(), PATIENCE);
    health
}

/// Whether the task is called stuck if it is silent for three times its patience from now on. No other task
/// runs meanwhile, since nobody waits.
fn gets_stuck(clock: &FakeClock, health: &Health) -> bool {
    let mut is_stuck = false;
    for _ in 0..PATIENCE.as_secs() * 3 {
        clock.advance(Duration::from_secs(1));
        is_stuck |= !health.stuck().is_empty();
    }
    is_stuck
}

/// Waits until the task says that it waits for something outside of it.
async fn rests(clock: &FakeClock, health: &Health) {
    for _ in 0..1_000 {
        if !gets_stuck(clock, health) {
            return;
        }
        SystemClock.sleep(Duration::from_millis(10)).await;
    }
    panic!("the task never says that it waits");
}

#[tokio::test]
async fn a_task_that_waits_for_its_next_trigger_is_not_stuck() {
    on_both(|database| async move {
        let mirror = Mirror::begin(database, Plan::of(20)).await;
        let meter = Meter::new("default");
        let mut worker = mirror.worker(INTERVALS).metered(meter.clone());
        let health = watched(&mirror, &meter);
        assert!(gets_stuck(&mirror.clock, &health), "it has not begun");
        let (slots, mut triggers) = schedule::slots();
        let lost = mirror.stop.child_token();
        let working = Box::pin(worker.work(&mut triggers, &mirror.stop, &lost));
        let watching = async {
            rests(&mirror.clock, &health).await;
            // Nor is it after its next pass.
            slots.put(Trigger::Pass);
            SystemClock.sleep(Duration::from_millis(1)).await;
            rests(&mirror.clock, &health).await;
            drop(slots);
        };
        let (end, ()) = tokio::join!(working, watching);
        assert_eq!(end.unwrap(), End::Stopped);
        mirror.assert_mirrors().await;
    })
    .await;
}

#[tokio::test]
async fn a_task_that_waits_for_the_lease_is_not_stuck() {
    on_both(|database| async move {
        let mirror = Arc::new(Mirror::begin(database, Plan::of(20)).await);
        let store = &mirror.database.store;
        store.release(mirror.engine.lease()).await.unwrap();
        let elsewhere = Holder {
            boot_id: "another".to_owned(),
            ..Holder::current()
        };
        let now = SystemClock.now();
        store
            .acquire(mirror.account, &elsewhere, now)
            .await
            .unwrap();
        let meter = Meter::new("default");
        let health = watched(&mirror, &meter);
        let task = task_that_panics(&mirror, 0, meter);
        let (_slots, triggers) = schedule::slots();
        let serving = tokio::spawn(task.run(WhenHeld::Wait, triggers, mirror.stop.clone()));
        rests(&mirror.clock, &health).await;
        assert!(!serving.is_finished());
        assert_eq!(mirror.database.count("leases", "epoch = 2").await, 1);
        mirror.stop.cancel();
        serving.await.unwrap().unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_daemon_that_is_never_restarted_forgets_its_idle_runs_too() {
    on_both(|database| async move {
        let mirror = Mirror::begin(database, Plan::of(20)).await;
        let mut worker = mirror.worker(INTERVALS);
        let early = "not touched and started_at < '2026-05-04T20:00:00.000000Z'";
        for _ in 0..20 {
            assert_good(&worker.step(Trigger::Pass, &mirror.stop).await);
            mirror.clock.advance(MINUTE * 5);
        }
        assert!(mirror.database.count("sync_runs", early).await > 10);
        for _ in 0..8 {
            mirror.clock.advance(HOUR * 24);
            assert_good(&worker.step(Trigger::Pass, &mirror.stop).await);
        }
        assert_eq!(mirror.database.count("sync_runs", early).await, 0);
        for resource in Resource::ALL {
            let table = resource.name();
            let dangling = "run_id not in (select id from sync_runs)";
            assert_eq!(mirror.database.count(table, dangling).await, 0, "{table}");
        }
    })
    .await;
}
