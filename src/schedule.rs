//! Sends triggers into bounded channels when schedules fire.
//!
//! Knows when a trigger is due, but not what it causes. tokio-cron-scheduler would let runs
//! overlap, and it keeps the time zone's offset of its start. So it only wakes this module every
//! second, and [`Due`] decides. If the last trigger of the same kind still waits, the new one is
//! skipped and counted. tokio-cron-scheduler also reads the machine's clock itself: after the clock
//! is set back, it wakes nobody until the clock has caught up. A timer replaces it meanwhile.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};
use tokio_util::task::AbortOnDropHandle;

use crate::clock::Clock;
use crate::config::{Schedule, Zone};
use crate::data::Timestamp;
use crate::health::Pulse;

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trigger {
    /// A sync of the due resources.
    Pass,
    /// A verification.
    Verify,
}

/// Why the scheduler does not work.
#[derive(Debug, thiserror::Error)]
pub enum SchedulerError {
    /// The library failed.
    #[error("cannot start the scheduler")]
    Library(#[from] JobSchedulerError),
}

/// The sending side of an account's triggers. One trigger of each kind can wait; more are skipped and
/// counted.
#[derive(Debug, Clone)]
pub struct Slots {
    pass: Sender<()>,
    verify: Sender<()>,
    skipped: Arc<AtomicU64>,
    next_pass: Arc<AtomicI64>,
    /// When the next verification is due, in microseconds since 1970.
    next_verify: Arc<AtomicI64>,
}

/// The receiving side of an account's triggers.
#[derive(Debug)]
pub struct Triggers {
    pass: Receiver<()>,
    verify: Receiver<()>,
    skipped: Arc<AtomicU64>,
    next_pass: Arc<AtomicI64>,
}

/// There is no next pass, or it is not known.
const NEVER: i64 = i64::MIN;

/// Both sides of an account's triggers.
pub fn slots() -> (Slots, Triggers) {
    let (to_pass, pass) = mpsc::channel(1);
    let (to_verify, verify) = mpsc::channel(1);
    let skipped = Arc::new(AtomicU64::new(0));
    let next_pass = Arc::new(AtomicI64::new(NEVER));
    let next_verify = Arc::new(AtomicI64::new(NEVER));
    let slots = Slots {
        pass: to_pass,
        verify: to_verify,
        skipped: Arc::clone(&skipped),
        next_pass: Arc::clone(&next_pass),
        next_verify,
    };
    let triggers = Triggers {
        pass,
        verify,
        skipped,
        next_pass,
    };
    (slots, triggers)
}

impl Slots {
    /// Adds a trigger, unless one of the same kind already waits.
    pub fn put(&self, trigger: Trigger) {
        let slot = match trigger {
            Trigger::Pass => &self.pass,
            Trigger::Verify => &self.verify,
        };
        match slot.try_send(()) {
            // A closed channel belongs to a daemon that is stopping.
            Ok(()) | Err(TrySendError::Closed(())) => {}
            Err(TrySendError::Full(())) => {
                self.skipped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Says when the next trigger of this kind is due.
    fn announce(&self, trigger: Trigger, next: Option<Timestamp>) {
        let next = next.map_or(NEVER, Timestamp::micros);
        self.place(trigger).store(next, Ordering::Relaxed);
    }

    /// When the next trigger of this kind is due. `None` if there is none.
    pub fn next(&self, trigger: Trigger) -> Option<Timestamp> {
        let next = self.place(trigger).load(Ordering::Relaxed);
        (next != NEVER).then(|| Timestamp::from_micros(next))
    }

    fn place(&self, trigger: Trigger) -> &AtomicI64 {
        match trigger {
            Trigger::Pass => &self.next_pass,
            Trigger::Verify => &self.next_verify,
        }
    }
}

impl Triggers {
    /// Waits for the next trigger. `None` after the last one. A verification goes first: it is
    /// rare, and syncs itself.
    pub async fn next(&mut self) -> Option<Trigger> {
        tokio::select! {
            biased;
            Some(()) = self.verify.recv() => Some(Trigger::Verify),
            Some(()) = self.pass.recv() => Some(Trigger::Pass),
            else => None,
        }
    }

    /// The pass that waits, if there is one. Does not wait.
    pub fn waiting_pass(&mut self) -> Option<Trigger> {
        self.pass.try_recv().ok().map(|()| Trigger::Pass)
    }

    /// When the next pass is due, if that is known.
    pub fn next_pass(&self) -> Option<Timestamp> {
        let next = self.next_pass.load(Ordering::Relaxed);
        (next != NEVER).then(|| Timestamp::from_micros(next))
    }

    /// The number of triggers that were skipped since the last call.
    pub fn take_skipped(&mut self) -> u64 {
        self.skipped.swap(0, Ordering::Relaxed)
    }
}

/// If the clock goes back by more than this, it was set. Less is a correction.
const SET_BACK: Duration = Duration::from_mins(1);

/// Decides when a schedule fires.
#[derive(Debug)]
pub struct Due {
    rule: Rule,
    next: Option<Timestamp>,
    /// The time of the last call of [`Self::fires`].
    asked: Timestamp,
}

#[derive(Debug)]
enum Rule {
    Every(Duration),
    Cron { cron: Box<Cron>, zone: Tz },
}

impl Due {
    /// The schedule's instants after `start`.
    pub fn after(start: Timestamp, schedule: &Schedule, zone: Zone) -> Self {
        let rule = match schedule {
            Schedule::Every(every) => Rule::Every(*every),
            Schedule::Cron(expression) => Rule::Cron {
                cron: Box::new(
                    CronParser::builder()
                        .seconds(Seconds::Required)
                        .build()
                        .parse(expression)
                        .expect("a Schedule holds an expression that was parsed"),
                ),
                zone: zone.0,
            },
        };
        let mut due = Self {
            rule,
            next: None,
            asked: start,
        };
        due.next = due.following(start, start);
        due
    }

    /// The next instant.
    pub fn next(&self) -> Option<Timestamp> {
        self.next
    }

    /// Whether it fires now. Instants that the machine slept through count once. If the clock is set
    /// back, the schedule fires after about one interval.
    pub fn fires(&mut self, now: Timestamp) -> bool {
        let too_far = match (&self.rule, self.next) {
            (Rule::Every(every), Some(next)) => next.since(now) > *every + SET_BACK,
            _ => false,
        };
        if too_far || self.asked.since(now) > SET_BACK {
            self.next = self.following(now, now);
        }
        self.asked = now;
        let Some(next) = self.next.filter(|next| *next <= now) else {
            return false;
        };
        self.next = self.following(next, now);
        true
    }

    /// The first instant after `now`, for a rule that fired at `last`.
    fn following(&self, last: Timestamp, now: Timestamp) -> Option<Timestamp> {
        match &self.rule {
            Rule::Every(every) => {
                let missed = now.since(last).as_micros() / every.as_micros().max(1);
                let steps = u32::try_from(missed + 1).unwrap_or(u32::MAX);
                Some(last + every.saturating_mul(steps))
            }
            Rule::Cron { cron, zone } => {
                let local: DateTime<Tz> = now.to_datetime().with_timezone(zone);
                let next = cron.find_next_occurrence(&local, false).ok()?;
                Some(Timestamp::from_datetime(next.with_timezone(&Utc)))
            }
        }
    }
}

/// When the schedule reads something again that was read at this time, and is not read again before
/// this duration has passed.
pub fn promised(schedule: &Schedule, zone: Zone, at: Timestamp, after: Duration) -> Timestamp {
    let from = at + after;
    Due::after(from, schedule, zone).next().unwrap_or(from)
}

/// How often schedules are checked.
const LOOK: Duration = Duration::from_secs(1);

/// The library wakes us every second. After this time without a wake-up, the timer takes over.
const SILENCE: Duration = Duration::from_secs(2);

/// All schedules, and when the library last woke us.
#[derive(Debug)]
struct Agenda {
    clock: Arc<dyn Clock>,
    entries: Mutex<Vec<Entry>>,
    woken_after: Mutex<Duration>,
    pulse: Pulse,
}

#[derive(Debug)]
struct Entry {
    due: Due,
    trigger: Trigger,
    slots: Slots,
}

impl Agenda {
    /// Sends the triggers that are due.
    fn look(&self) {
        self.pulse.beat();
        let mut entries = lock(&self.entries);
        // After the lock: another thread may have checked meanwhile, at a later time.
        let now = self.clock.now();
        for entry in entries.iter_mut() {
            if entry.due.fires(now) {
                entry.slots.put(entry.trigger);
            }
            entry.slots.announce(entry.trigger, entry.due.next());
        }
    }

    /// Checks when the library wakes us.
    fn wake(&self) {
        *lock(&self.woken_after) = self.clock.running();
        self.look();
    }

    /// Checks while the library does not wake us.
    async fn stand_in(self: Arc<Self>) {
        loop {
            self.clock.sleep(LOOK).await;
            if self.clock.elapsed(*lock(&self.woken_after)) > SILENCE {
                self.look();
            }
        }
    }
}

/// Locks a mutex. No code in this module panics while it holds one.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sends triggers until it is stopped.
pub struct Scheduler {
    library: JobScheduler,
    agenda: Arc<Agenda>,
    stand_in: Option<AbortOnDropHandle<()>>,
}

impl Scheduler {
    /// A scheduler without schedules. Time must pass on the clock by itself, since the scheduler
    /// reads it every second.
    pub async fn new(clock: Arc<dyn Clock>) -> Result<Self, SchedulerError> {
        let woken_after = Mutex::new(clock.running());
        Ok(Self {
            library: JobScheduler::new().await?,
            agenda: Arc::new(Agenda {
                clock,
                entries: Mutex::default(),
                woken_after,
                pulse: Pulse::default(),
            }),
            stand_in: None,
        })
    }

    /// Adds a schedule that sends this trigger to these slots.
    pub fn add(&self, trigger: Trigger, schedule: &Schedule, zone: Zone, slots: Slots) {
        let due = Due::after(self.agenda.clock.now(), schedule, zone);
        slots.announce(trigger, due.next());
        let entry = Entry {
            due,
            trigger,
            slots,
        };
        lock(&self.agenda.entries).push(entry);
    }

    /// Removes the schedules that send triggers to these slots.
    pub fn remove(&self, slots: &Slots) {
        let is_other = |entry: &Entry| !Arc::ptr_eq(&entry.slots.skipped, &slots.skipped);
        lock(&self.agenda.entries).retain(is_other);
        for trigger in [Trigger::Pass, Trigger::Verify] {
            slots.announce(trigger, None);
        }
    }

    /// Signs of life: one for each look at the schedules, every second.
    pub fn pulse(&self) -> &Pulse {
        &self.agenda.pulse
    }

    /// Starts to send triggers.
    pub async fn start(&mut self) -> Result<(), SchedulerError> {
        let agenda = Arc::clone(&self.agenda);
        // This is not one of the library's repeated jobs. They compute the next time from the last
        // one, and the library runs no job whose next time is before its last run. So a job that
        // was late by more than a second, because the machine slept or its clock was set forward,
        // never ran again.
        let job = Job::new_async("* * * * * *", move |_id, _scheduler| {
            agenda.wake();
            Box::pin(std::future::ready(()))
        })?;
        self.library.add(job).await?;
        self.library.start().await?;
        let stand_in = tokio::spawn(Arc::clone(&self.agenda).stand_in());
        self.stand_in = Some(AbortOnDropHandle::new(stand_in));
        Ok(())
    }

    /// Stops sending triggers.
    pub async fn stop(mut self) -> Result<(), SchedulerError> {
        self.stand_in = None;
        Ok(self.library.shutdown().await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn fired(schedule: &str, zone: &str, start: &str, count: usize) -> Vec<String> {
        let mut due = Due::after(at(start), &schedule.parse().unwrap(), zone.parse().unwrap());
        (0..count)
            .map(|_| {
                let next = due.next().unwrap();
                assert!(!due.fires(next - Duration::from_micros(1)));
                assert!(due.fires(next));
                next.to_string()
            })
            .collect()
    }

    #[test]
    fn a_distance_counts_from_the_start() {
        assert_eq!(
            fired("every 1m", "UTC", "2026-01-01T00:00:30Z", 2),
            ["2026-01-01T00:01:30.000000Z", "2026-01-01T00:02:30.000000Z"]
        );
    }

    #[test]
    fn a_cron_expression_follows_its_time_zone_through_a_change_of_clocks() {
        assert_eq!(
            fired("30 3 * * *", "Europe/Berlin", "2026-03-27T12:00:00Z", 3),
            [
                "2026-03-28T02:30:00.000000Z",
                "2026-03-29T01:30:00.000000Z",
                "2026-03-30T01:30:00.000000Z"
            ]
        );
    }

    #[test]
    fn what_was_missed_fires_once() {
        for schedule in ["every 1m", "* * * * *"] {
            let zone = "UTC".parse().unwrap();
            let start = at("2026-01-01T00:00:00Z");
            let mut due = Due::after(start, &schedule.parse().unwrap(), zone);
            let late = at("2026-01-01T05:00:10Z");
            assert!(due.fires(late));
            assert!(!due.fires(late));
            assert_eq!(due.next(), Some(at("2026-01-01T05:01:00Z")), "{schedule}");
        }
    }

    #[test]
    fn a_clock_that_is_set_back_delays_nothing_until_it_has_caught_up() {
        for (schedule, next) in [
            ("every 1m", "2026-01-01T03:01:20Z"),
            ("* * * * *", "2026-01-01T03:01:00Z"),
        ] {
            let zone = "UTC".parse().unwrap();
            let start = at("2026-01-01T04:00:00Z");
            let mut due = Due::after(start, &schedule.parse().unwrap(), zone);
            assert!(!due.fires(at("2026-01-01T04:00:20Z")));
            assert!(!due.fires(at("2026-01-01T03:00:20Z")), "{schedule}");
            assert_eq!(due.next(), Some(at(next)), "{schedule}");
            assert!(due.fires(at(next)));
            // A small correction makes nothing fire twice.
            assert!(!due.fires(at(next) - Duration::from_secs(1)));
            assert_eq!(due.next(), Some(at(next) + Duration::from_mins(1)));
        }
    }

    #[test]
    fn a_schedule_that_rests_promises_nothing_before_it_fires_again() {
        let zone: Zone = "America/Sao_Paulo".parse().unwrap();
        let promised = |schedule: &str, from: &str, after: u64| {
            let schedule: Schedule = schedule.parse().unwrap();
            let after = Duration::from_mins(after);
            zone.show(promised(&schedule, zone, at(from), after))
        };
        // Friday evening, and the next day that the schedule works.
        let office = "*/5 8-18 * * mon-fri";
        let last = "2026-05-08T21:55:10Z";
        assert_eq!(promised(office, last, 0), "2026-05-11 08:00");
        assert_eq!(
            promised(office, "2026-05-08T15:00:10Z", 0),
            "2026-05-08 12:05"
        );
        assert_eq!(
            promised(office, "2026-05-08T15:00:10Z", 15),
            "2026-05-08 12:20"
        );
        assert_eq!(
            promised("every 15m", "2026-05-08T15:00:10Z", 0),
            "2026-05-08 12:15"
        );
    }

    #[tokio::test]
    async fn one_trigger_of_each_kind_waits_and_more_are_skipped_and_counted() {
        let (slots, mut triggers) = slots();
        for _ in 0..3 {
            slots.put(Trigger::Pass);
        }
        slots.put(Trigger::Verify);
        assert_eq!(triggers.take_skipped(), 2);
        assert_eq!(triggers.take_skipped(), 0);
        assert_eq!(triggers.next().await, Some(Trigger::Verify));
        assert_eq!(triggers.next().await, Some(Trigger::Pass));
        slots.put(Trigger::Pass);
        drop(slots);
        assert_eq!(triggers.next().await, Some(Trigger::Pass));
        assert_eq!(triggers.next().await, None);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn triggers_arrive_until_the_scheduler_is_stopped() {
        let mut scheduler = Scheduler::new(Arc::new(SystemClock)).await.unwrap();
        let (slots, mut triggers) = slots();
        let schedule = "every 1s".parse().unwrap();
        let zone = "UTC".parse().unwrap();
        scheduler.add(Trigger::Verify, &schedule, zone, slots);
        scheduler.start().await.unwrap();
        assert_eq!(triggers.next().await, Some(Trigger::Verify));
        scheduler.stop().await.unwrap();
    }
}
