//! The year with which an account begins: when customers wrote, and what happened to their
//! sessions.
//!
//! Everything is generated from the seed and the record's number, so none of it is stored. A
//! sketch (times, states and relations) is separate from the texts: the start needs a million
//! sketches, but an answer needs about a hundred texts.

use std::borrow::Cow;

use super::company::{AGENTS, NOBODY};
use super::ids::{self, IdKind};
use super::names;
use super::record::{Category, ContactStatus, SessionKind, Status};
use super::slots::{ContactSlot, NO_CONTACT, NONE, SessionSlot};
use super::ticks::{DAY, SECOND};
use super::{Ticks, dress};

const HOUR: i64 = 3_600 * SECOND;
const MINUTE: i64 = 60 * SECOND;
/// `America/Sao_Paulo`; without summer time since 2019.
const ZONE: i64 = -3 * HOUR;
const HOURS: usize = 365 * 24;

/// Who a session is with, by whether it is a group.
const KINDS: [SessionKind; 2] = [SessionKind::Individual, SessionKind::Group];

/// How busy an hour of a working day is, from 00:00 local.
const BUSY: [u64; 24] = [
    3, 2, 1, 1, 1, 3, 8, 25, 70, 95, 100, 90, 60, 75, 95, 100, 95, 80, 45, 25, 18, 14, 9, 5,
];

/// The sketch of a session: its slot and what the texts are written from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sketch {
    pub(super) slot: SessionSlot,
    /// When an agent first answered, or [`NONE`].
    pub(super) answered: i64,
    /// Last message from the contact, or [`NONE`].
    pub(super) last_in: i64,
    /// Last message to the contact, or [`NONE`].
    pub(super) last_out: i64,
    pub(super) bot: bool,
    pub(super) outcome: Option<Category>,
}

/// The shape of the year.
#[derive(Debug)]
pub(super) struct Year {
    pub(super) seed: u64,
    sessions: u32,
    contacts: u32,
    start: i64,
    until: i64,
    /// Busyness up to each hour.
    sums: Vec<u64>,
}

impl Year {
    pub(super) fn new(seed: u64, sessions: u32, contacts: u32, until: Ticks) -> Self {
        let until = until.0 - until.0.rem_euclid(SECOND);
        let start = until - i64::try_from(HOURS).unwrap_or(0) * HOUR;
        let mut sum = 0;
        let sums = (0_u64..)
            .take(HOURS)
            .zip((0..).map(|hour| start + hour * HOUR))
            .map(|(number, at)| {
                sum += weight(at) * (10_000 + number) / 10_000;
                sum
            })
            .collect();
        Self {
            seed,
            sessions,
            contacts,
            start,
            until,
            sums,
        }
    }

    pub(super) fn sessions(&self) -> u32 {
        self.sessions
    }

    pub(super) fn contacts(&self) -> u32 {
        self.contacts
    }

    /// The year's end.
    pub(super) fn until(&self) -> Ticks {
        Ticks(self.until)
    }

    /// The channel of a session, from the one drawn: `WhatsApp` takes a phone number, Instagram a
    /// name there, and groups are on `WhatsApp`.
    fn channel_of(&self, drawn: u16, contact: u32, group: bool) -> u16 {
        let whatsapp = |channel: u16| {
            let kinds = names::CHANNELS.get(usize::from(channel));
            kinds.is_some_and(|(kind, ..)| kind.ends_with("WhatsApp"))
        };
        let social = contact != NO_CONTACT && !group && dress::is_social(self.seed, contact);
        if social && whatsapp(drawn) {
            names::INSTAGRAM
        } else if (group && !whatsapp(drawn)) || (!social && drawn == names::INSTAGRAM) {
            0
        } else {
            drawn
        }
    }

    /// The instant by which `part / whole` of the year's busyness lies behind.
    fn at(&self, part: u64, whole: u64) -> i64 {
        const FINE: u128 = 1 << 32;
        let total = u128::from(self.sums.last().copied().unwrap_or(1)) * FINE;
        let position = total * u128::from(part) / u128::from(whole.max(1));
        let hour = self
            .sums
            .partition_point(|sum| u128::from(*sum) * FINE <= position)
            .min(HOURS - 1);
        let before = hour.checked_sub(1).map_or(0, |before| self.sums[before]);
        let span = u128::from((self.sums[hour] - before).max(1)) * FINE;
        let within = position.saturating_sub(u128::from(before) * FINE);
        let ticks = within * u128::try_from(HOUR).unwrap_or(1) / span;
        let hours = i64::try_from(hour).unwrap_or(0);
        self.start + hours * HOUR + i64::try_from(ticks).unwrap_or(0).min(HOUR - 1)
    }

    /// The contact that writes for the first time in session `number`, or an earlier one.
    fn contact_of(&self, number: u32, dice: &mut fastrand::Rng) -> u32 {
        if self.contacts == 0 {
            return NO_CONTACT;
        }
        let known = |number: u32| {
            u64::from(number) * u64::from(self.contacts) / u64::from(self.sessions.max(1))
        };
        let (before, now) = (known(number), known(number + 1));
        let chosen = if now > before {
            before
        } else if now == 0 {
            0
        } else if dice.u32(..3) == 0 {
            // Who wrote lately writes again.
            now - 1 - dice.u64(..now.min(200))
        } else {
            dice.u64(..now)
        };
        u32::try_from(chosen).unwrap_or(NO_CONTACT)
    }

    /// How long after `from` something happened that is to be over by now: what would still be to
    /// come happened at another time, so that the year's last minute is no busier than others.
    fn passed(&self, from: i64, later: i64) -> i64 {
        later % (self.until - from).max(1)
    }

    pub(super) fn contact(&self, number: u32) -> ContactSlot {
        let mut dice = ids::dice(self.seed, IdKind::Contact, number);
        let created = ragged(
            self.at(u64::from(number), u64::from(self.contacts)),
            &mut dice,
        );
        let later = if dice.u32(..10) < 3 {
            dice.i64(0..5 * SECOND)
        } else {
            cubed(&mut dice, 200 * DAY)
        };
        let updated = ragged(created + self.passed(created, later), &mut dice).max(created);
        let mut tags = 0_u128;
        for _ in 0..[0, 0, 1, 1, 1, 2, 2, 3, 4][dice.usize(..9)] {
            let most = dice.usize(..names::TAGS.len());
            tags |= 1 << dice.usize(..=most);
        }
        ContactSlot {
            created,
            updated,
            tags,
            status: match dice.u32(..100) {
                0..88 => ContactStatus::Active,
                88..97 => ContactStatus::Archived,
                _ => ContactStatus::Blocked,
            },
            alive: true,
        }
    }

    pub(super) fn sketch(&self, number: u32) -> Sketch {
        let mut dice = ids::dice(self.seed, IdKind::Session, number);
        let dice = &mut dice;
        let part = u64::from(number) * 65_536 + dice.u64(..65_536);
        let created = ragged(self.at(part, u64::from(self.sessions) * 65_536), dice);
        let group = dice.u32(..100) < 2;
        let channel = channel(dice);
        let contact = self.contact_of(number, dice);
        let channel = self.channel_of(channel, contact, group);
        let bot = dice.u32(..10) < 6;
        let department = [0, 0, 0, 1, 1, 1, 2, 3, 4, 5][dice.usize(..10)];

        let answered = created + wait(created, dice);
        let unanswered = dice.u32(..100) < 6;
        let long = if dice.u32(..100) < 3 {
            dice.i64(DAY..6 * DAY)
        } else {
            0
        };
        let talk = MINUTE + cubed(dice, 3 * HOUR) + long;
        let nightly = unanswered || dice.u32(..100) < 2;
        let end = if nightly {
            nightly_close(if unanswered {
                created + 4 * HOUR
            } else {
                answered + talk
            })
        } else {
            ragged(answered + talk, dice)
        };
        // Also a small account has somebody waiting at the end of its year.
        let recent = self.sessions - number <= 12 + self.sessions / 200;
        let over = end <= self.until && !(recent && dice.u32(..3) > 0);
        let answered = (!unanswered && answered <= self.until).then(|| ragged(answered, dice));
        let first_in = created + dice.i64(0..3 * SECOND);
        let (last_in, last_out) = match answered {
            Some(answered) => {
                let last = if over { end } else { self.until };
                let span = (last - answered).max(1);
                (
                    ragged(answered + dice.i64(0..span), dice).max(created),
                    ragged(last - dice.i64(0..span.min(5 * MINUTE)), dice).max(answered),
                )
            }
            None => (first_in.min(self.until).max(created), NONE),
        };
        let interaction = last_in.max(last_out).max(created);
        let status = match (over, answered) {
            (true, _) if dice.u32(..200) == 0 => Status::Hidden,
            (true, _) => Status::Completed,
            (false, Some(_)) => Status::InProgress,
            (false, None) if bot && self.until - created < 2 * MINUTE => Status::Started,
            (false, None) => Status::Pending,
        };
        let updated = if over {
            let later = if nightly {
                0
            } else if dice.u32(..100) < 8 {
                cubed(dice, 20 * DAY)
            } else {
                dice.i64(0..2 * SECOND)
            };
            ragged(end + self.passed(end, later), dice).max(end)
        } else {
            interaction.max(answered.unwrap_or(created))
        };
        let outcome = if over && answered.is_some() {
            outcome(dice)
        } else {
            None
        };
        let attended = answered.is_some() && department != NOBODY;
        Sketch {
            slot: SessionSlot {
                created,
                updated,
                interaction,
                end: if over { end } else { NONE },
                contact: if group { NO_CONTACT } else { contact },
                channel,
                department: if status == Status::Started {
                    NOBODY
                } else {
                    department
                },
                agent: if attended {
                    agent_of(department, dice)
                } else {
                    NOBODY
                },
                said: 0,
                status,
                kind: KINDS[usize::from(group)],
                alive: true,
            },
            answered: answered.unwrap_or(NONE),
            last_in,
            last_out,
            bot,
            outcome,
        }
    }
}

/// How busy the hour that begins at an instant is.
fn weight(at: i64) -> u64 {
    let local = at + ZONE;
    let days = local.div_euclid(DAY);
    let hour = usize::try_from(local.rem_euclid(DAY) / HOUR).unwrap_or(0);
    let (_, month, day) = super::ticks::civil(days);
    let of_day = match (days + 4).rem_euclid(7) {
        0 => 8,
        6 => 35,
        _ => 100,
    };
    let of_year = match (month, day) {
        (12, 25) | (1, 1) => 5,
        (11, 20..) => 170,
        (12, 1..=20) => 130,
        (2, _) => 85,
        _ => 100,
    };
    (BUSY[hour] * of_day * of_year).max(1)
}

/// The instant itself within business hours, else the next opening: Monday to Friday 08:00 to
/// 18:00, Saturday to noon, local time.
fn opening(at: i64) -> i64 {
    let local = at + ZONE;
    let midnight = local - local.rem_euclid(DAY);
    for day in 0..4 {
        let opens = midnight + day * DAY + 8 * HOUR;
        let closes = match ((midnight + day * DAY).div_euclid(DAY) + 4).rem_euclid(7) {
            0 => continue,
            6 => opens + 4 * HOUR,
            _ => opens + 10 * HOUR,
        };
        if local < closes {
            return opens.max(local) - ZONE;
        }
    }
    at
}

/// When the nightly job closes what was left open: everything of a day at the same instant.
fn nightly_close(after: i64) -> i64 {
    let night = (after - 2 * HOUR).div_euclid(DAY) + 1;
    let fraction = ids::mix(u64::try_from(night).unwrap_or(0)) % 9_999_999;
    night * DAY + 2 * HOUR + i64::try_from(fraction).unwrap_or(0)
}

/// A length of time up to `most`, short ones far more often.
fn cubed(dice: &mut fastrand::Rng, most: i64) -> i64 {
    let third = dice.i64(0..1_000);
    third * third * third * (most / 1_000_000_000) + dice.i64(0..SECOND)
}

/// Drops low digits, so that fractions of 0 to 7 digits occur (API notes, 3.5).
fn ragged(ticks: i64, dice: &mut fastrand::Rng) -> i64 {
    let step = match dice.u32(..100) {
        0..55 => 1,
        55..85 => 10,
        85..89 => 100,
        89..92 => 1_000,
        92..95 => 10_000,
        95..97 => 100_000,
        97..98 => 1_000_000,
        _ => SECOND,
    };
    ticks - ticks.rem_euclid(step)
}

/// How long somebody who wrote at an instant waits for an agent.
fn wait(created: i64, dice: &mut fastrand::Rng) -> i64 {
    let opens = opening(created);
    if opens == created {
        4 * SECOND + cubed(dice, 40 * MINUTE)
    } else {
        opens - created + cubed(dice, 50 * MINUTE)
    }
}

/// How a session that was attended ended for the business, if the agent said so.
fn outcome(dice: &mut fastrand::Rng) -> Option<Category> {
    match dice.u32(..100) {
        0..25 => Some(Category::Won),
        25..45 => Some(Category::Lost),
        45..75 => Some(Category::Info),
        75..80 => Some(Category::Other),
        _ => None,
    }
}

fn channel(dice: &mut fastrand::Rng) -> u16 {
    let mut left = dice.u32(..100);
    for (number, (.., share)) in (0..).zip(names::CHANNELS) {
        if left < share {
            return number;
        }
        left -= share;
    }
    0
}

/// An agent of a department: agents are dealt out to departments in turn.
pub(super) fn agent_of(department: u16, dice: &mut fastrand::Rng) -> u16 {
    let departments = u16::try_from(names::DEPARTMENTS.len()).unwrap_or(1);
    let agents = u16::try_from(AGENTS).unwrap_or(1);
    let home = department % departments;
    home + departments * dice.u16(..agents / departments)
}

/// `HH:MM:SS` of a length in ticks; hours run on beyond 24.
pub(super) fn span(ticks: i64) -> Cow<'static, str> {
    let seconds = ticks.max(0) / SECOND;
    Cow::Owned(format!(
        "{:02}:{:02}:{:02}",
        seconds / 3_600,
        seconds / 60 % 60,
        seconds % 60
    ))
}

/// The day of an instant in local time, `yyyymmdd`.
pub(super) fn local_day(ticks: i64) -> i64 {
    let (year, month, day) = super::ticks::civil((ticks + ZONE).div_euclid(DAY));
    year * 10_000 + month * 100 + day
}
