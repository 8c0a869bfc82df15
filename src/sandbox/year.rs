//! The year with which an account begins: when customers wrote, and what happened to their
//! sessions.
//!
//! Everything is generated from the seed and the record's number, so none of it is stored but who
//! wrote each session. A sketch (times, states and relations) is separate from the texts: the start
//! needs a million sketches, but an answer needs about a hundred texts.

use std::borrow::Cow;

use super::calendar::{self, DayShape, HOUR};
use super::company::NOBODY;
use super::ids::{self, IdKind};
use super::names;
use super::plan::Plan;
use super::record::{Category, ContactStatus, SessionKind, Status};
use super::slots::{ContactSlot, NO_CONTACT, NONE, SessionSlot};
use super::staff::{Load, Staff};
use super::ticks::{DAY, SECOND};
use super::{Ticks, chance, dress, segments};

const MINUTE: i64 = 60 * SECOND;

/// Who a session is with, by whether it is a group.
const KINDS: [SessionKind; 2] = [SessionKind::Individual, SessionKind::Group];
/// How much busier the year's last day is than its first.
const GROWTH: f64 = 0.35;
/// After so many sessions a contact seldom writes again.
const OFTEN: u32 = 14;
/// Days after the year of which the load is known.
const KNOWN_AFTER: i64 = 14;

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
    /// Whether the bot alone ended it.
    pub(super) contained: bool,
    pub(super) campaign: Option<u8>,
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
    pub(super) staff: Staff,
    pub(super) load: Load,
    /// Who wrote each session.
    writers: Vec<u32>,
}

/// What is known of a contact while the year is drawn.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// Until when a session of theirs goes on.
    busy: i64,
    sessions: u32,
}

impl Default for Known {
    fn default() -> Self {
        Self {
            busy: NONE,
            sessions: 0,
        }
    }
}

/// How large an account is, and of which time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    pub(super) sessions: u32,
    pub(super) contacts: u32,
    pub(super) days: u32,
    pub(super) until: Ticks,
}

impl Year {
    /// The year, and the slots of its sessions.
    pub(super) fn new(seed: u64, size: Size) -> (Self, Vec<SessionSlot>) {
        let until = size.until.0 - size.until.0.rem_euclid(SECOND);
        let start = calendar::nearest_month(until - i64::from(size.days) * DAY).min(until - DAY);
        let first_day = calendar::local_day(start);
        let days: Vec<DayShape> = (first_day..=calendar::local_day(until) + KNOWN_AFTER)
            .map(|day| DayShape::of(seed, day, until))
            .collect();
        let hours = usize::try_from((until - start).div_euclid(HOUR)).unwrap_or(0) + 1;
        let mut sum = 0;
        let sums = (0..hours)
            .map(|hour| {
                // Even the quietest hour of the night has a little.
                sum += days.get(hour / 24).map_or(1, |day| {
                    let grown = 1.0 + GROWTH * part(hour, hours);
                    whole(day.hour(hour % 24) * grown * 1_000_000.0).max(1)
                });
                sum
            })
            .collect();
        let mut year = Self {
            seed,
            sessions: size.sessions,
            contacts: size.contacts,
            start,
            until,
            sums,
            staff: Staff::new(seed, size.sessions, start, until),
            load: Load::new(seed, first_day, until, &days),
            writers: Vec::with_capacity(size.sessions as usize),
        };
        let slots = year.draw();
        (year, slots)
    }

    /// Draws all sessions in their order. Nobody writes a second session while the first is going
    /// on, as long as there are others to write it.
    fn draw(&mut self) -> Vec<SessionSlot> {
        let mut slots: Vec<SessionSlot> = Vec::with_capacity(self.sessions as usize);
        let mut known = vec![Known::default(); self.contacts as usize];
        for number in 0..self.sessions {
            let mut dice = ids::dice(self.seed, IdKind::Session, number);
            let (created, group) = self.begin(number, &mut dice);
            let writer = self.contact_of(number, created, &slots, &known);
            self.writers.push(writer);
            let slot = self.continued(number, created, group, &mut dice).slot;
            if slot.contact != NO_CONTACT
                && let Some(known) = known.get_mut(writer as usize)
            {
                known.busy = if slot.end == NONE { i64::MAX } else { slot.end };
                known.sessions += 1;
            }
            slots.push(slot);
        }
        slots
    }

    pub(super) fn sessions(&self) -> u32 {
        self.sessions
    }

    pub(super) fn contacts(&self) -> u32 {
        self.contacts
    }

    /// The year's beginning.
    pub(super) fn start(&self) -> Ticks {
        Ticks(self.start)
    }

    /// The year's end.
    pub(super) fn until(&self) -> Ticks {
        Ticks(self.until)
    }

    /// Sessions in an hour of an ordinary kind that begins at an instant.
    pub(super) fn expected(&self, at: i64) -> f64 {
        let shape = DayShape::of(self.seed, calendar::local_day(at), self.until);
        let total = self.sums.last().copied().unwrap_or(1);
        let total = chance::float(i64::try_from(total).unwrap_or(i64::MAX)) / 1_000_000.0;
        shape.hour(calendar::hour_of(at)) * (1.0 + GROWTH) * f64::from(self.sessions) / total
    }

    /// The channel of a session, from the one drawn: `WhatsApp` takes a phone number, Instagram a
    /// name there, and groups are on `WhatsApp`.
    pub(super) fn channel_of(&self, drawn: u16, contact: u32, group: bool) -> u16 {
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
            .min(self.sums.len() - 1);
        let before = hour.checked_sub(1).map_or(0, |before| self.sums[before]);
        let span = u128::from((self.sums[hour] - before).max(1)) * FINE;
        let within = position.saturating_sub(u128::from(before) * FINE);
        // The last hour is not over yet.
        let begins = self.start + i64::try_from(hour).unwrap_or(0) * HOUR;
        let length = HOUR.min(self.until - begins).max(1);
        let ticks = within * u128::try_from(length).unwrap_or(1) / span;
        begins + i64::try_from(ticks).unwrap_or(0).min(length - 1)
    }

    /// When a session was created, and whether it is with a group.
    fn begin(&self, number: u32, dice: &mut fastrand::Rng) -> (i64, bool) {
        let part = u64::from(number) * 65_536 + dice.u64(..65_536);
        let created = self.at(part, u64::from(self.sessions) * 65_536);
        let created = ragged(created, dice).max(self.start);
        (created, dice.u32(..100) < 2)
    }

    /// The contact that writes for the first time in session `number`, or an earlier one.
    fn contact_of(
        &self,
        number: u32,
        created: i64,
        slots: &[SessionSlot],
        writers: &[Known],
    ) -> u32 {
        if self.contacts == 0 {
            return NO_CONTACT;
        }
        let known = |number: u32| {
            u64::from(number) * u64::from(self.contacts) / u64::from(self.sessions.max(1))
        };
        let (before, now) = (known(number), known(number + 1));
        if now > before || now == 0 {
            return u32::try_from(before).unwrap_or(NO_CONTACT);
        }
        let mut dice = fastrand::Rng::with_seed(ids::drawn(self.seed, IdKind::Session, number, 1));
        let free = |contact: u32| {
            writers
                .get(contact as usize)
                .is_some_and(|known| known.busy < created)
        };
        let tired = |contact: u32| {
            writers
                .get(contact as usize)
                .is_some_and(|known| known.sessions >= OFTEN)
        };
        let lately = chance::hit(&mut dice, 0.33);
        let mut chosen = 0;
        for attempt in 0..8 {
            chosen = if lately && attempt < 5 {
                // Who wrote lately writes again: most of them within days.
                let back = chance::lognormal(&mut dice, 2.0 * 1_440.0, 0.9);
                let then = created - chance::minutes(back);
                let at = slots.partition_point(|slot| slot.created < then);
                slots.get(at).map_or(0, |slot| slot.contact)
            } else {
                u32::try_from(dice.u64(..now)).unwrap_or(0)
            };
            if free(chosen) && (!tired(chosen) || chance::hit(&mut dice, 0.1)) {
                return chosen;
            }
        }
        // Also in a small account somebody is free.
        let now = u32::try_from(now).unwrap_or(u32::MAX);
        let mut others = (0..now.min(64)).map(|step| (chosen.min(now) + step) % now.max(1));
        others
            .find(|contact| free(*contact))
            .unwrap_or(chosen.min(now.saturating_sub(1)))
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
        let month = calendar::day_number(created) / 100 % 100;
        let tags = segments::tags(segments::of(self.seed, number), month, &mut dice);
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

    /// What is to happen in a session: of the year, or one created later under the next number.
    pub(super) fn plan(&self, number: u32, created: i64, contact: u32, group: bool) -> Plan {
        let mut dice = fastrand::Rng::with_seed(ids::drawn(self.seed, IdKind::Session, number, 2));
        Plan::draw(self, number, created, contact, group, &mut dice)
    }

    /// What is to happen in a session of the year.
    pub(super) fn planned(&self, number: u32) -> Plan {
        let mut dice = ids::dice(self.seed, IdKind::Session, number);
        let (created, group) = self.begin(number, &mut dice);
        self.plan(number, created, self.writer(number), group)
    }

    fn writer(&self, number: u32) -> u32 {
        let writer = self.writers.get(number as usize);
        writer.copied().unwrap_or(NO_CONTACT)
    }

    pub(super) fn sketch(&self, number: u32) -> Sketch {
        let mut dice = ids::dice(self.seed, IdKind::Session, number);
        let (created, group) = self.begin(number, &mut dice);
        self.continued(number, created, group, &mut dice)
    }

    /// The sketch of a session that began like this.
    fn continued(
        &self,
        number: u32,
        created: i64,
        group: bool,
        dice: &mut fastrand::Rng,
    ) -> Sketch {
        let contact = self.writer(number);
        let plan = self.plan(number, created, contact, group);

        // Also a small account has somebody waiting at the end of its year.
        let recent = self.sessions - number <= 12;
        let drawn = if recent { dice.u32(..3) } else { 0 };
        let over = plan.end <= self.until && drawn == 0;
        let answered = (plan.answered != NONE && plan.answered <= self.until && drawn < 2)
            .then(|| ragged(plan.answered, dice).max(created));
        let end = if plan.nightly {
            plan.end
        } else {
            ragged(plan.end, dice).max(answered.unwrap_or(created))
        };
        let first_in = (created + dice.i64(0..3 * SECOND))
            .min(self.until)
            .max(created);
        let (last_in, last_out) = match answered {
            Some(answered) => {
                let last = if over { end } else { self.until };
                let span = (last - answered).max(1);
                (
                    ragged(answered + dice.i64(0..span), dice).max(created),
                    ragged(last - dice.i64(0..span.min(5 * MINUTE)), dice).max(answered),
                )
            }
            None if plan.contained && over => {
                let span = (end - created).max(4);
                (
                    created + span / 2 + dice.i64(0..span / 4),
                    end - dice.i64(0..(span / 4).max(1)),
                )
            }
            None => (first_in, NONE),
        };
        let interaction = last_in.max(last_out).max(created);
        let status = match (over, answered) {
            (true, _) if dice.u32(..200) == 0 => Status::Hidden,
            (true, _) => Status::Completed,
            (false, Some(_)) => Status::InProgress,
            (false, None) if plan.queued > self.until || plan.contained => Status::Started,
            (false, None) => Status::Pending,
        };
        let updated = if over {
            let later = if plan.nightly {
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
        Sketch {
            slot: SessionSlot {
                created,
                updated,
                interaction,
                end: if over { end } else { NONE },
                contact: if group { NO_CONTACT } else { contact },
                channel: plan.channel,
                department: if status == Status::Started {
                    NOBODY
                } else {
                    plan.department
                },
                agent: if answered.is_some() || over {
                    plan.agent
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
            bot: plan.bot,
            contained: plan.contained,
            campaign: plan.campaign,
            outcome: plan.outcome.filter(|_| over && answered.is_some()),
        }
    }
}

/// The share of a whole that a part is.
fn part(part: usize, whole: usize) -> f64 {
    let float = |count: usize| chance::float(i64::try_from(count).unwrap_or(i64::MAX));
    float(part) / float(whole.max(1))
}

/// A whole number of a number that is not negative.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float that is out of range becomes the nearest number"
)]
fn whole(value: f64) -> u64 {
    value as u64
}

/// When the nightly job closes what was left open: everything of a day at the same instant.
pub(super) fn nightly_close(after: i64) -> i64 {
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
