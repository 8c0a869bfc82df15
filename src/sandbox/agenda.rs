//! What is to happen next while the account lives: the plans of its open sessions, and arrivals.
//!
//! Where time passes, sessions are opened, answered and closed when their [plans](Plan) say so,
//! which are drawn like those of the year, so that a report shows no seam between the two. What
//! there are more changes for than plans are due, is said in sessions and done to contacts. Where
//! the clock stands still, nothing would ever be due: there the next event comes ahead of its time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::account::SandboxAccount;
use super::calendar::{self, HOUR};
use super::plan::Plan;
use super::record::Status;
use super::slots::{NONE, SessionSlot};

/// Sessions that may be opened on a day in addition to those of the company's volume, so that also
/// a small company at night has something to show.
const EXTRA: f64 = 40.0;

/// What is due, and when.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    due: BinaryHeap<Reverse<(i64, u32)>>,
    /// When the next session is opened.
    arrival: Option<i64>,
    /// The local day of the last session opened in addition, and how many of that day.
    extra: (i64, f64),
    /// When the last change was made.
    last: Option<i64>,
}

/// When the next event of a session is due.
pub(super) fn next(plan: &Plan, status: Status) -> i64 {
    match status {
        Status::Started => plan.queued,
        Status::Pending if plan.answered != NONE => plan.answered,
        _ => plan.end,
    }
}

impl Agenda {
    pub(super) fn add(&mut self, at: i64, index: u32) {
        self.due.push(Reverse((at, index)));
    }

    /// Whether the clock stands still since the last change.
    pub(super) fn stands_still(&mut self, now: i64) -> bool {
        self.last.replace(now) == Some(now)
    }
}

impl SandboxAccount {
    /// The plan of a session.
    pub(super) fn plan_of(&self, index: u32, slot: &SessionSlot) -> Plan {
        if index < self.year.sessions() {
            self.year.planned(index)
        } else {
            self.year.plan(index, slot.created, slot.contact, false)
        }
    }

    /// Takes the session whose next event is due longest.
    pub(super) fn take_due(&mut self) -> Option<u32> {
        let now = self.now().0;
        while let Some(Reverse((at, index))) = self.agenda.due.peek().copied() {
            if at > now {
                return None;
            }
            self.agenda.due.pop();
            let version = self.sessions.committed(index);
            if version.is_some_and(|version| version.slot.alive && version.slot.status.is_open()) {
                return Some(index);
            }
        }
        None
    }

    /// Whether somebody is to open a session now, by the company's volume.
    pub(super) fn takes_arrival(&mut self) -> bool {
        let now = self.now().0;
        let gap = |account: &mut Self, from: i64| {
            let rate = account.year.expected(from).max(0.01);
            let hours = -(1.0 - account.dice.f64()).max(f64::MIN_POSITIVE).ln() / rate;
            from + super::chance::minutes(hours.min(24.0) * 60.0).max(1)
        };
        let due = match self.agenda.arrival {
            // Those of the time in which nothing happened have written elsewhere.
            Some(due) if due > now - HOUR => due,
            Some(_) => now,
            None => gap(self, now),
        };
        let arrives = due <= now;
        let next = if arrives { gap(self, due) } else { due };
        self.agenda.arrival = Some(next);
        arrives
    }

    /// Whether somebody may open a session in addition.
    pub(super) fn takes_extra(&mut self) -> bool {
        let now = self.now().0;
        let day = calendar::local_day(now);
        let (last, count) = self.agenda.extra;
        let count = if last == day { count } else { 0.0 };
        let noon = calendar::midnight(day) + 12 * HOUR;
        let most = EXTRA + self.year.expected(noon);
        let takes = count < most;
        self.agenda.extra = (day, if takes { count + 1.0 } else { count });
        takes
    }
}
