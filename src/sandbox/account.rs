//! The account: its records, its clock, and the changes to them.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::agenda::{self, Agenda};
use super::company::Company;
use super::config::{FaultRates, Moods, Poison, RequestLimit, SandboxConfig};
use super::ids::{self, IdKind};
use super::limits::Limiter;
use super::messages::Talk;
use super::odd::Odd;
use super::record::{Contact, ContactStatus, Session};
use super::slots::{ContactSlot, NO_CONTACT, NONE, SessionSlot};
use super::table::{Table, Version};
use super::ticks::{SECOND, ticks};
use super::webhooks::Webhooks;
use super::year::{Size, Year};
use super::{Ticks, dress};
use crate::clock::Clock;
use crate::data::Timestamp;

/// A simulated account: the data that the sandbox serves. Tests read and change it directly.
///
/// Every change carries the server's present (`updatedAt`), a moment later than the change before
/// it, unless the caller says otherwise.
#[derive(Debug)]
pub struct SandboxAccount {
    /// The platform's moods; may be changed at any time.
    pub moods: Moods,
    /// How often each fault occurs; may be changed at any time.
    pub faults: FaultRates,
    /// Request limits; may be changed at any time.
    pub limits: Vec<RequestLimit>,
    pub(super) limiter: Limiter,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) company: Company,
    pub(super) year: Year,
    pub(super) sessions: Table<SessionSlot, Session>,
    pub(super) contacts: Table<ContactSlot, Contact>,
    pub(super) open: Vec<u32>,
    pub(super) agenda: Agenda,
    pub(super) poison: std::collections::HashMap<Uuid, Option<Poison>>,
    pub(super) webhooks: Webhooks,
    pub(super) talk: Talk,
    pub(super) dice: fastrand::Rng,
    pub(super) fault_dice: fastrand::Rng,
    pub(super) odd: Odd,
    pub(super) made: u32,
    started: Timestamp,
    /// Of the first server, and of the second, whose clock may be behind.
    last_stamps: [i64; 2],
}

impl SandboxAccount {
    /// An account without a server.
    pub fn new(config: &SandboxConfig, clock: Arc<dyn Clock>) -> Self {
        let started = clock.now();
        let until = Ticks::from(config.until.unwrap_or(started));
        let contacts = config
            .contacts
            .unwrap_or_else(|| u32::try_from(u64::from(config.sessions) * 2 / 5).unwrap_or(0));
        let (year, sessions) = Year::new(
            config.seed,
            Size {
                sessions: config.sessions,
                contacts,
                days: config.days,
                until,
            },
        );
        let open: Vec<u32> = (0_u32..)
            .zip(&sessions)
            .filter(|(_, slot)| slot.status.is_open())
            .map(|(number, _)| number)
            .collect();
        let mut agenda = Agenda::default();
        for number in &open {
            let status = sessions[*number as usize].status;
            agenda.add(agenda::next(&year.planned(*number), status), *number);
        }
        let contacts = (0..contacts).map(|number| year.contact(number)).collect();
        Self {
            moods: config.moods.clone(),
            faults: config.faults.clone(),
            limits: config.limits.clone(),
            limiter: Limiter::default(),
            clock,
            company: Company::new(config.seed, until, year.staff.count()),
            sessions: Table::new(sessions),
            contacts: Table::new(contacts),
            open,
            agenda,
            poison: std::collections::HashMap::new(),
            webhooks: Webhooks::default(),
            talk: Talk::default(),
            dice: fastrand::Rng::with_seed(ids::mix(config.seed ^ 0x6c69_7665)),
            fault_dice: fastrand::Rng::with_seed(ids::mix(config.seed ^ 0x6661_756c)),
            odd: Odd::new(ids::mix(config.seed ^ 0x6f64_6473)),
            made: 0,
            started,
            last_stamps: [0; 2],
            year,
        }
    }

    /// The server's present.
    pub fn now(&self) -> Ticks {
        let micros = self
            .clock
            .now()
            .micros()
            .saturating_add(self.moods.skew_micros);
        Ticks(micros.saturating_mul(10))
    }

    /// When the account's past begins.
    pub fn since(&self) -> Timestamp {
        self.year.start().timestamp()
    }

    /// Whether there is an outage now.
    pub(super) fn is_offline(&self) -> bool {
        let after = self.clock.now().since(self.started);
        self.moods.offline || self.moods.outage.is_some_and(|outage| outage.holds(after))
    }

    /// The `updatedAt` of a change made now: the present, or a moment after the last change if
    /// the clock stands still. In a mood a second server gives it, whose clock is behind.
    pub fn stamp(&mut self) -> Ticks {
        let second = self.chance(self.moods.behind_share);
        let behind = if second {
            ticks(self.moods.behind_by)
        } else {
            0
        };
        let now = self.now().0 - behind;
        let last = &mut self.last_stamps[usize::from(second)];
        // A server whose clock was set back does not wait for it to catch up.
        let floor = if *last - now > SECOND { now } else { *last + 1 };
        *last = now.max(floor);
        Ticks(*last)
    }

    /// An unused id.
    pub fn new_id(&mut self) -> Uuid {
        self.made += 1;
        ids::id(self.year.seed, IdKind::Error, self.made)
    }

    /// The account's company id.
    pub fn company_id(&self) -> Uuid {
        self.company.id
    }

    /// Makes all changes visible that are due. Every answer and every comparison calls it first.
    pub fn settle(&mut self) {
        let (now, keep) = (self.now().0, ticks(self.moods.stale_max));
        self.sessions.settle(now, keep);
        self.contacts.settle(now, keep);
    }

    pub(super) fn session_index(&self, id: Uuid) -> Option<u32> {
        self.sessions.foreign(id).or_else(|| {
            ids::number(self.year.seed, IdKind::Session, id)
                .filter(|number| *number < self.year.sessions())
        })
    }

    pub(super) fn contact_index(&self, id: Uuid) -> Option<u32> {
        self.contacts.foreign(id).or_else(|| {
            ids::number(self.year.seed, IdKind::Contact, id)
                .filter(|number| *number < self.year.contacts())
        })
    }

    /// The id of the visible session at an index.
    pub(super) fn session_id(&self, index: u32) -> Option<Uuid> {
        if let Some(session) = self.sessions.changed(index) {
            return Some(session.id);
        }
        (index < self.year.sessions()).then(|| ids::id(self.year.seed, IdKind::Session, index))
    }

    pub(super) fn contact_id(&self, index: u32) -> Option<Uuid> {
        if index < self.year.contacts() {
            return Some(ids::id(self.year.seed, IdKind::Contact, index));
        }
        self.contacts
            .changed(index)
            .map(|contact| contact.id)
            .or_else(|| Some(self.contacts.committed(index)?.record?.id))
    }

    /// The whole session of a version.
    pub(super) fn session_of(
        &self,
        index: u32,
        slot: &SessionSlot,
        record: Option<&Session>,
    ) -> Session {
        if let Some(record) = record {
            return record.clone();
        }
        let sketch = self.year.sketch(index);
        let find = |contact| self.contact_id(contact);
        let mut session = dress::session(&self.year, index, &sketch, find, &self.company);
        session.updated_at = Ticks(slot.updated);
        session
    }

    pub(super) fn contact_of(
        &self,
        index: u32,
        slot: &ContactSlot,
        record: Option<&Contact>,
    ) -> Contact {
        record.cloned().unwrap_or_else(|| {
            let id = ids::id(self.year.seed, IdKind::Contact, index);
            dress::contact(self.year.seed, index, id, slot, &self.company)
        })
    }

    pub(super) fn session_slot(&mut self, session: &Session) -> SessionSlot {
        SessionSlot {
            created: session.created_at.0,
            updated: session.updated_at.0,
            interaction: session.last_interaction.map_or(NONE, |at| at.0),
            end: session.end_at.map_or(NONE, |at| at.0),
            contact: session
                .contact_id
                .map_or(NO_CONTACT, |id| self.contact_slot_for(id)),
            channel: self.company.channel_index(session.channel_id),
            department: session.department_id.map_or(super::company::NOBODY, |id| {
                self.company.department_index(id)
            }),
            agent: session
                .user_id
                .map_or(super::company::NOBODY, |id| self.company.agent_index(id)),
            said: 0,
            status: session.status,
            kind: session.kind,
            alive: true,
        }
    }

    /// The slot of a contact; an unknown contact gets an empty slot.
    pub(super) fn contact_slot_for(&mut self, id: Uuid) -> u32 {
        if let Some(index) = self.contact_index(id) {
            return index;
        }
        let index = self.contacts.reserve(ContactSlot {
            created: NONE,
            updated: NONE,
            tags: 0,
            status: ContactStatus::Active,
            alive: false,
        });
        self.contacts.adopt(id, index);
        index
    }

    pub(super) fn contact_slot(&self, contact: &Contact) -> ContactSlot {
        ContactSlot {
            created: contact.created_at.0,
            updated: contact.updated_at.0,
            tags: self.company.tag_mask(|tag| contact.tags.contains(&tag.id)),
            status: contact.status,
            alive: true,
        }
    }

    pub(super) fn put_session(
        &mut self,
        index: u32,
        session: Session,
        said: u16,
        visible_at: Option<Ticks>,
    ) {
        let slot = SessionSlot {
            said,
            ..self.session_slot(&session)
        };
        if slot.status.is_open() {
            self.open.push(index);
        }
        let version = Version {
            slot,
            record: Some(Box::new(session)),
        };
        match visible_at {
            None => self.sessions.show(index, version),
            Some(at) => self.sessions.show_at(at.0, index, version),
        }
    }

    pub(super) fn put_contact(&mut self, index: u32, contact: Contact, visible_at: Option<Ticks>) {
        let slot = self.contact_slot(&contact);
        let version = Version {
            slot,
            record: Some(Box::new(contact)),
        };
        match visible_at {
            None => self.contacts.show(index, version),
            Some(at) => self.contacts.show_at(at.0, index, version),
        }
    }

    /// The random delay of a live change, if it is delayed.
    pub(super) fn lateness(&mut self, at: Ticks) -> Option<Ticks> {
        if self.moods.late_share <= 0.0 || self.dice.f64() >= self.moods.late_share {
            return None;
        }
        let most = u64::try_from(self.moods.late_max.as_micros())
            .unwrap_or(u64::MAX)
            .max(1);
        Some(at + Duration::from_micros(self.dice.u64(..most)))
    }
}
