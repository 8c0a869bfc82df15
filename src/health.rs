//! Whether the process makes progress: signs of life of its tasks, and which of them are stuck.
//!
//! A task gives a sign of life through its [`Pulse`] whenever it has done something, and says when it
//! waits for something outside of it, such as the next trigger or the platform's rate limit. A task is
//! stuck if it does neither for too long. Must not know what the tasks do.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Clock;

/// How often the signs of life are looked at.
const LOOK: Duration = Duration::from_secs(5);

/// If nobody has looked for longer than this, the whole process stood still, as in a paused container.
const STOOD_STILL: Duration = Duration::from_secs(LOOK.as_secs() * 4);

/// The signs of life of a task. Cheap to clone; clones are the same pulse.
#[derive(Debug, Clone, Default)]
pub struct Pulse(Arc<Signs>);

#[derive(Debug, Default)]
struct Signs {
    beats: AtomicU64,
    resting: AtomicUsize,
}

impl Pulse {
    /// The task has done something.
    pub fn beat(&self) {
        self.0.beats.fetch_add(1, Ordering::Relaxed);
    }

    /// The task waits for something outside of it until the result is dropped.
    #[must_use]
    pub fn rest(&self) -> Rest {
        self.0.resting.fetch_add(1, Ordering::SeqCst);
        Rest(self.clone())
    }

    fn beats(&self) -> u64 {
        self.0.beats.load(Ordering::Relaxed)
    }

    fn is_resting(&self) -> bool {
        self.0.resting.load(Ordering::SeqCst) > 0
    }
}

/// While it exists, the task of its [`Pulse`] waits for something outside of it.
#[derive(Debug)]
pub struct Rest(Pulse);

impl Drop for Rest {
    fn drop(&mut self) {
        self.0.0.resting.fetch_sub(1, Ordering::SeqCst);
        self.0.beat();
    }
}

/// A task that gives no sign of life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stuck {
    /// What it is, such as `account default`.
    pub task: String,
    /// How long it has done nothing.
    pub silent: Duration,
}

#[derive(Debug)]
struct Watched {
    task: String,
    pulse: Pulse,
    patience: Duration,
    beats: u64,
    /// When the last sign of life was seen, by [`Clock::running`].
    seen: Duration,
    has_ended: bool,
}

/// The tasks of a process and when each gave its last sign of life.
#[derive(Debug)]
pub struct Health {
    clock: Arc<dyn Clock>,
    watched: Mutex<Vec<Watched>>,
    /// When the signs of life were last looked at, by [`Clock::running`].
    looked: Mutex<Duration>,
}

impl Health {
    /// Without any task.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            looked: Mutex::new(clock.running()),
            clock,
            watched: Mutex::default(),
        }
    }

    /// Watches a task, which is stuck if it gives no sign of life for longer than `patience`.
    pub fn watch(&self, task: String, pulse: Pulse, patience: Duration) {
        let (beats, seen) = (pulse.beats(), self.clock.running());
        self.watched().push(Watched {
            task,
            pulse,
            patience,
            beats,
            seen,
            has_ended: false,
        });
    }

    /// A task has ended, so it is not stuck.
    pub fn ended(&self, task: &str) {
        for watched in self.watched().iter_mut() {
            watched.has_ended |= watched.task == task;
        }
    }

    /// The tasks that are stuck. Time in which the whole process stood still does not count.
    pub fn stuck(&self) -> Vec<Stuck> {
        let now = self.clock.running();
        let gap = {
            let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
            let gap = now.saturating_sub(*looked);
            *looked = now;
            if gap > STOOD_STILL {
                gap
            } else {
                Duration::ZERO
            }
        };
        let mut watched = self.watched();
        let mut stuck = Vec::new();
        for one in watched.iter_mut().filter(|one| !one.has_ended) {
            one.seen += gap;
            let beats = one.pulse.beats();
            if one.pulse.is_resting() || beats != one.beats {
                (one.beats, one.seen) = (beats, now);
            }
            let silent = now.saturating_sub(one.seen);
            if silent > one.patience {
                stuck.push(Stuck {
                    task: one.task.clone(),
                    silent,
                });
            }
        }
        stuck
    }

    /// Looks at the signs of life every few seconds, and says each time whether any task is stuck. Never
    /// ends by itself.
    pub async fn keep_looking(&self, mut say: impl FnMut(&[Stuck])) {
        loop {
            say(&self.stuck());
            self.clock.sleep(LOOK).await;
        }
    }

    fn watched(&self) -> MutexGuard<'_, Vec<Watched>> {
        // The list is valid even if a holder panicked.
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::FakeClock;
    use crate::data::Timestamp;

    const PATIENCE: Duration = Duration::from_mins(10);

    fn health() -> (Arc<FakeClock>, Health, Pulse) {
        let clock = Arc::new(FakeClock::at(Timestamp::from_micros(0)));
        let health = Health::new(Arc::clone(&clock) as _);
        let pulse = Pulse::default();
        health.watch("account north".to_owned(), pulse.clone(), PATIENCE);
        (clock, health, pulse)
    }

    /// Time passes, and somebody looks every few seconds.
    fn pass(clock: &FakeClock, health: &Health, time: Duration) {
        let mut left = time;
        while !left.is_zero() {
            let step = left.min(LOOK);
            clock.advance(step);
            health.stuck();
            left -= step;
        }
    }

    #[test]
    fn a_task_that_does_nothing_for_too_long_is_stuck_until_its_next_sign_of_life() {
        let (clock, health, pulse) = health();
        pass(&clock, &health, PATIENCE);
        assert_eq!(health.stuck(), []);
        clock.advance(Duration::from_secs(1));
        let stuck = health.stuck();
        assert_eq!(stuck[0].task, "account north");
        assert_eq!(stuck[0].silent, PATIENCE + Duration::from_secs(1));
        pulse.beat();
        assert_eq!(health.stuck(), []);
    }

    #[test]
    fn a_process_that_was_paused_as_a_whole_has_no_stuck_task() {
        let (clock, health, _pulse) = health();
        pass(&clock, &health, PATIENCE / 2);
        clock.advance(PATIENCE * 100);
        assert_eq!(health.stuck(), []);
        pass(&clock, &health, PATIENCE / 2);
        assert_eq!(health.stuck(), []);
        pass(&clock, &health, LOOK);
        assert_eq!(health.stuck().len(), 1);
    }

    #[test]
    fn a_task_that_waits_or_has_ended_is_not_stuck() {
        let (clock, health, pulse) = health();
        let rest = pulse.rest();
        pass(&clock, &health, PATIENCE * 3);
        assert_eq!(health.stuck(), []);
        drop(rest);
        pass(&clock, &health, PATIENCE);
        assert_eq!(health.stuck(), []);
        pass(&clock, &health, LOOK * 2);
        assert_eq!(health.stuck().len(), 1);
        health.ended("account north");
        assert_eq!(health.stuck(), []);
    }
}
