//! From schedules to triggers in a bounded channel.
//!
//! Knows when something is due, nothing of what is done then. tokio-cron-scheduler would overlap
//! runs, and keeps the time zone's offset of the day it was started; so it only wakes this module
//! every second, [`Due`] decides, and a trigger that finds its channel full is a counted skip: the
//! pass that is still running makes it superfluous.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds};
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

use crate::clock::Clock;
use crate::config::{Schedule, Zone};
use crate::data::Timestamp;

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trigger {
    /// A pass over the due resources.
    Pass,
    /// A comparison with the API.
    Verify,
}

/// Why nothing can be scheduled.
#[derive(Debug, thiserror::Error)]
pub enum SchedulerError {
    /// The library's own trouble.
    #[error("the scheduler could not be set up")]
    Library(#[from] JobSchedulerError),
}

/// How many triggers were skipped because the one before was still waiting.
#[derive(Debug, Clone, Default)]
pub struct Skips(Arc<AtomicU64>);

impl Skips {
    /// Since the start.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// When a schedule fires next, and whether it has.
#[derive(Debug)]
pub struct Due {
    rule: Rule,
    next: Option<Timestamp>,
}

#[derive(Debug)]
enum Rule {
    Every(Duration),
    Cron { cron: Box<Cron>, zone: Tz },
}

impl Due {
    /// What of this schedule comes after `start`.
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
        let mut due = Self { rule, next: None };
        due.next = due.following(start, start);
        due
    }

    /// When it fires next.
    pub fn next(&self) -> Option<Timestamp> {
        self.next
    }

    /// Whether it fires now. What was missed, by a machine that slept, counts once.
    pub fn fires(&mut self, now: Timestamp) -> bool {
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

/// Sends triggers until it is stopped.
pub struct Scheduler {
    library: JobScheduler,
    clock: Arc<dyn Clock>,
}

impl Scheduler {
    /// A scheduler without anything to do.
    pub async fn new(clock: Arc<dyn Clock>) -> Result<Self, SchedulerError> {
        Ok(Self {
            library: JobScheduler::new().await?,
            clock,
        })
    }

    /// Adds a schedule. The channel should hold one trigger, so that one that comes while another
    /// is being worked off waits, and a third is skipped.
    pub async fn add(
        &self,
        trigger: Trigger,
        schedule: &Schedule,
        zone: Zone,
        channel: Sender<Trigger>,
    ) -> Result<Skips, SchedulerError> {
        let skips = Skips::default();
        let counted = skips.clone();
        let clock = Arc::clone(&self.clock);
        let mut due = Due::after(clock.now(), schedule, zone);
        let job = Job::new_repeated_async(Duration::from_secs(1), move |_id, _scheduler| {
            if due.fires(clock.now()) {
                offer(&channel, trigger, &counted);
            }
            Box::pin(std::future::ready(()))
        })?;
        self.library.add(job).await?;
        Ok(skips)
    }

    /// Begins to send.
    pub async fn start(&self) -> Result<(), SchedulerError> {
        Ok(self.library.start().await?)
    }

    /// Sends nothing more.
    pub async fn stop(mut self) -> Result<(), SchedulerError> {
        Ok(self.library.shutdown().await?)
    }
}

fn offer(channel: &Sender<Trigger>, trigger: Trigger, skips: &Skips) {
    match channel.try_send(trigger) {
        // A closed channel belongs to a daemon that is stopping.
        Ok(()) | Err(TrySendError::Closed(_)) => {}
        Err(TrySendError::Full(_)) => {
            let count = skips.0.fetch_add(1, Ordering::Relaxed) + 1;
            tracing::debug!(
                ?trigger,
                count,
                "the last trigger still waits; this one is skipped"
            );
        }
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
    fn a_full_channel_is_a_counted_skip() {
        let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
        let skips = Skips::default();
        for _ in 0..3 {
            offer(&sender, Trigger::Pass, &skips);
        }
        assert_eq!(skips.count(), 2);
        assert_eq!(receiver.try_recv(), Ok(Trigger::Pass));
        drop(receiver);
        offer(&sender, Trigger::Pass, &skips);
        assert_eq!(skips.count(), 2);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn triggers_arrive_until_the_scheduler_is_stopped() {
        let scheduler = Scheduler::new(Arc::new(SystemClock)).await.unwrap();
        let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
        let schedule = "every 1s".parse().unwrap();
        let zone = "UTC".parse().unwrap();
        scheduler
            .add(Trigger::Verify, &schedule, zone, sender)
            .await
            .unwrap();
        scheduler.start().await.unwrap();
        assert_eq!(receiver.recv().await, Some(Trigger::Verify));
        scheduler.stop().await.unwrap();
    }
}
