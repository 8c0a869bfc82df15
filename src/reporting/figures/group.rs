//! The figures of one group of sessions, such as those of a day or of an agent.

use super::MICROS;
use crate::reporting::days::{Day, days};
use crate::reporting::period::Period;
use crate::reporting::session::{Attendance, Fact, Facts, NONE, place_of};
use crate::reporting::times::Times;
use chrono::Days;
use serde::Serialize;

/// Shares: how many, among how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Share {
    /// How many.
    pub of: u64,
    /// Among how many.
    pub n: u64,
}

impl Share {
    /// So many among so many.
    pub const fn new(of: u64, n: u64) -> Self {
        Self { of, n }
    }

    /// Their quotient; `None` among none.
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    pub fn value(self) -> Option<f64> {
        (self.n > 0).then(|| self.of as f64 / self.n as f64)
    }

    pub(super) fn add(&mut self, is: Option<bool>) {
        if let Some(is) = is {
            self.of += u64::from(is);
            self.n += 1;
        }
    }
}

/// The figures of some sessions.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Group {
    /// Created.
    pub opened: u64,
    /// Of these, created in open hours; `None` if none are configured.
    pub opened_open: Option<u64>,
    /// Contacts with a session that was created.
    pub contacts: u64,
    /// Of these, with no session before.
    pub new_contacts: u64,
    /// Created, and of a contact.
    pub with_contact: u64,
    /// Of those created, over.
    pub closed: u64,
    /// Of these, answered.
    pub answered: u64,
    /// Of these, closed by an agent without an answer.
    pub closed_unanswered: u64,
    /// Of these, ended in the queue.
    pub lost_in_queue: u64,
    /// Of these, ended with the bot.
    pub bot_only: u64,
    /// Ended.
    pub completed: u64,
    /// Of these, won.
    pub won: u64,
    /// Of these, lost.
    pub lost: u64,
    /// Of these, questions.
    pub info: u64,
    /// Of these, another outcome.
    pub other: u64,
    /// Of these, with any outcome.
    pub classified: u64,
    /// The amount of those won.
    pub amount_won: f64,
    /// How many of those won have an amount.
    pub amounts: u64,
    /// Of those that ended, with a contact that came back within 7 days.
    pub returned: Share,
    /// The platform's waiting time, of those created.
    pub wait: Times,
    /// Time to the first response, of those created.
    pub first_response: Times,
    /// The same within open hours.
    pub first_response_open: Times,
    /// The platform's service time, of those that ended.
    pub service: Times,
    /// Time from creation to the end, of those that ended.
    pub resolution: Times,
    /// The same within open hours.
    pub resolution_open: Times,
    /// Time from the first response to the end, of those that ended.
    pub conversation: Times,
    /// In time: waiting.
    pub sla_wait: Share,
    /// In time: first response.
    pub sla_first_response: Share,
    /// In time: service.
    pub sla_service: Share,
    /// In time: resolution.
    pub sla_resolution: Share,
    /// On how many days a session ended.
    pub days_active: u64,
    /// Open now.
    pub open_now: u64,
}

impl Group {
    /// Answered among those that are over.
    pub const fn answered_share(&self) -> Share {
        Share::new(self.answered, self.closed)
    }

    /// Won among those won or lost.
    pub const fn win_rate(&self) -> Share {
        Share::new(self.won, self.won + self.lost)
    }

    /// What was won with a session, on average.
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    pub fn ticket(&self) -> Option<f64> {
        (self.amounts > 0).then(|| self.amount_won / self.amounts as f64)
    }
}

/// A session's part in a group.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) key: u32,
    pub(super) fact: u32,
    pub(super) is_opened: bool,
    pub(super) is_ended: bool,
}

/// A period in instants, and its days.
pub(super) struct Stretch {
    pub(super) starts: i64,
    pub(super) ends: i64,
    pub(super) days: Vec<Day>,
    pub(super) day_starts: Vec<i64>,
}

impl Stretch {
    pub(super) fn new(period: &Period, facts: &Facts) -> Self {
        let zone = facts.frame.zone();
        let (starts, ends) = period.instants(zone);
        let days = days(zone, period.from, period.to + Days::new(1));
        let day_starts = days.iter().map(|day| day.starts_at).collect();
        Self {
            starts,
            ends,
            days,
            day_starts,
        }
    }

    pub(super) fn has(&self, at: i64) -> bool {
        (self.starts..self.ends).contains(&at)
    }

    pub(super) fn has_end(&self, fact: &Fact) -> bool {
        fact.ended.is_some_and(|at| self.has(at))
    }

    /// The place of the day of an instant within the period.
    pub(super) fn day(&self, at: i64) -> Option<usize> {
        let end = self.days.last()?.ends_at;
        place_of(&self.day_starts, end, at.div_euclid(MICROS)).filter(|_| self.has(at))
    }
}

/// The figures of some parts.
pub(super) fn group(facts: &Facts, stretch: &Stretch, parts: &[Part]) -> Group {
    let mut group = Group::default();
    let mut contacts: Vec<(u32, bool)> = Vec::new();
    let mut active: Vec<usize> = Vec::new();
    let [mut wait, mut first, mut first_open]: [Vec<u32>; 3] = Default::default();
    let [
        mut service,
        mut resolution,
        mut resolution_open,
        mut conversation,
    ]: [Vec<u32>; 4] = Default::default();
    let push = |into: &mut Vec<u32>, value: u32| {
        if value != NONE {
            into.push(value);
        }
    };
    let mut opened_open = 0;
    for part in parts {
        let fact = &facts.list[part.fact as usize];
        if part.is_opened {
            group.opened += 1;
            opened_open += u64::from(fact.arrived_open == Some(true));
            if fact.contact > 0 {
                group.with_contact += 1;
                contacts.push((fact.contact, fact.is_new_contact == Some(true)));
            }
            if let Some(attendance) = fact.attendance {
                group.closed += 1;
                match attendance {
                    Attendance::Answered => group.answered += 1,
                    Attendance::Assigned => group.closed_unanswered += 1,
                    Attendance::Queue => group.lost_in_queue += 1,
                    Attendance::Bot => group.bot_only += 1,
                    Attendance::Nobody => {}
                }
            }
            push(&mut wait, fact.wait);
            push(&mut first, fact.first_response);
            push(&mut first_open, fact.first_response_open);
            group.sla_wait.add(fact.within[0]);
            group.sla_first_response.add(fact.within[1]);
        }
        if part.is_ended {
            group.completed += 1;
            group.classified += u64::from(fact.outcome != 1);
            match fact.outcome {
                2 => group.won += 1,
                3 => group.lost += 1,
                4 => group.info += 1,
                5 => group.other += 1,
                _ => {}
            }
            group.amount_won += fact.amount;
            group.amounts += u64::from(fact.amount > 0.0);
            group.returned.add(fact.returned);
            push(&mut service, fact.service);
            push(&mut resolution, fact.resolution);
            push(&mut resolution_open, fact.resolution_open);
            push(&mut conversation, fact.conversation);
            group.sla_service.add(fact.within[2]);
            group.sla_resolution.add(fact.within[3]);
            active.extend(fact.ended.and_then(|at| stretch.day(at)));
        }
    }
    contacts.sort_unstable();
    contacts.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        kept.1 |= same && next.1;
        same
    });
    group.contacts = contacts.len() as u64;
    group.new_contacts = contacts.iter().filter(|(_, is_new)| *is_new).count() as u64;
    active.sort_unstable();
    active.dedup();
    group.days_active = active.len() as u64;
    let has_hours = facts.frame.settings.hours.are_known();
    group.opened_open = has_hours.then_some(opened_open);
    group.wait = Times::of(&mut wait, &facts.long);
    group.first_response = Times::of(&mut first, &facts.long);
    group.first_response_open = Times::of(&mut first_open, &facts.long);
    group.service = Times::of(&mut service, &facts.long);
    group.resolution = Times::of(&mut resolution, &facts.long);
    group.resolution_open = Times::of(&mut resolution_open, &facts.long);
    group.conversation = Times::of(&mut conversation, &facts.long);
    group
}
