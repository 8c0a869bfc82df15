//! The account: its records, its clock, and every way to change it.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::company::Company;
use super::config::{FaultRates, Moods, Poison, RequestLimit, SandboxConfig};
use super::ids::{self, Of};
use super::limits::Limiter;
use super::messages::{Ends, Talk};
use super::record::{Contact, ContactStatus, Session};
use super::slots::{ContactSlot, NO_CONTACT, NONE, SessionSlot};
use super::table::{Slot, Table, Version};
use super::webhooks::Webhooks;
use super::year::Year;
use super::{Ticks, dress};
use crate::clock::Clock;
use crate::data::Timestamp;

/// A simulated account: what the sandbox serves, open for tests to look into and to change.
///
/// Every change carries the server's present (`updatedAt`), a moment later than the change before
/// it, unless the caller says otherwise.
#[derive(Debug)]
pub struct Account {
    /// Answers to the platform's open questions; may be changed at any time.
    pub moods: Moods,
    /// How often what goes wrong; may be changed at any time.
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
    pub(super) poison: std::collections::HashMap<Uuid, Option<Poison>>,
    pub(super) webhooks: Webhooks,
    pub(super) talk: Talk,
    pub(super) dice: fastrand::Rng,
    pub(super) fault_dice: fastrand::Rng,
    pub(super) made: u32,
    started: Timestamp,
    last_stamp: i64,
}

impl Account {
    /// An account of its own, without a server.
    pub fn new(config: &SandboxConfig, clock: Arc<dyn Clock>) -> Self {
        let started = clock.now();
        let until = Ticks::from(config.until.unwrap_or(started));
        let contacts = config
            .contacts
            .unwrap_or_else(|| u32::try_from(u64::from(config.sessions) * 2 / 5).unwrap_or(0));
        let year = Year::new(config.seed, config.sessions, contacts, until);
        let sessions: Vec<SessionSlot> = (0..config.sessions)
            .map(|number| year.sketch(number).slot)
            .collect();
        let open = (0_u32..)
            .zip(&sessions)
            .filter(|(_, slot)| slot.status.is_open())
            .map(|(number, _)| number)
            .collect();
        let contacts = (0..contacts).map(|number| year.contact(number)).collect();
        Self {
            moods: config.moods.clone(),
            faults: config.faults.clone(),
            limits: config.limits.clone(),
            limiter: Limiter::default(),
            clock,
            company: Company::new(config.seed, until),
            sessions: Table::new(sessions),
            contacts: Table::new(contacts),
            open,
            poison: std::collections::HashMap::new(),
            webhooks: Webhooks::default(),
            talk: Talk::default(),
            dice: fastrand::Rng::with_seed(ids::mix(config.seed ^ 0x6c69_7665)),
            fault_dice: fastrand::Rng::with_seed(ids::mix(config.seed ^ 0x6661_756c)),
            made: 0,
            started,
            last_stamp: 0,
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

    /// Whether nothing is answered now.
    pub(super) fn is_offline(&self) -> bool {
        let after = self.clock.now().since(self.started);
        self.moods.offline || self.moods.outage.is_some_and(|outage| outage.holds(after))
    }

    /// What `Date` says now.
    pub(super) fn date(&self) -> Ticks {
        let ahead = self.moods.date_micros.saturating_mul(10);
        Ticks(self.now().0.saturating_add(ahead))
    }

    /// The `updatedAt` of a change made now: the present, or a moment after the last change if
    /// the clock stands still.
    pub fn stamp(&mut self) -> Ticks {
        let now = self.now().0;
        // A server whose clock was set back does not wait for it to catch up.
        let floor = if self.last_stamp - now > super::ticks::SECOND {
            now
        } else {
            self.last_stamp + 1
        };
        self.last_stamp = now.max(floor);
        Ticks(self.last_stamp)
    }

    /// An id that no record has yet.
    pub fn new_id(&mut self) -> Uuid {
        self.made += 1;
        ids::id(self.year.seed, Of::Error, self.made)
    }

    /// The account's company id.
    pub fn company_id(&self) -> Uuid {
        self.company.id
    }

    /// Makes visible what is due; every answer and every look at the truth begins with it.
    pub fn settle(&mut self) {
        let now = self.now().0;
        self.sessions.settle(now);
        self.contacts.settle(now);
    }

    pub(super) fn session_index(&self, id: Uuid) -> Option<u32> {
        self.sessions.foreign(id).or_else(|| {
            ids::number(self.year.seed, Of::Session, id)
                .filter(|number| *number < self.year.sessions())
        })
    }

    pub(super) fn contact_index(&self, id: Uuid) -> Option<u32> {
        self.contacts.foreign(id).or_else(|| {
            ids::number(self.year.seed, Of::Contact, id)
                .filter(|number| *number < self.year.contacts())
        })
    }

    /// The id of the visible session at an index.
    pub(super) fn session_id(&self, index: u32) -> Option<Uuid> {
        if let Some(session) = self.sessions.changed(index) {
            return Some(session.id);
        }
        (index < self.year.sessions()).then(|| ids::id(self.year.seed, Of::Session, index))
    }

    pub(super) fn contact_id(&self, index: u32) -> Option<Uuid> {
        if index < self.year.contacts() {
            return Some(ids::id(self.year.seed, Of::Contact, index));
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
            let id = ids::id(self.year.seed, Of::Contact, index);
            dress::contact(self.year.seed, index, id, slot, &self.company)
        })
    }

    fn session_slot(&mut self, session: &Session) -> SessionSlot {
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

    /// The slot of a contact; one that does not exist gets one in which nobody lives.
    fn contact_slot_for(&mut self, id: Uuid) -> u32 {
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

    fn contact_slot(&self, contact: &Contact) -> ContactSlot {
        ContactSlot {
            created: contact.created_at.0,
            updated: contact.updated_at.0,
            tags: self.company.tag_mask(|tag| contact.tags.contains(&tag.id)),
            status: contact.status,
            alive: true,
        }
    }

    fn put_session(&mut self, index: u32, session: Session, said: u16, visible_at: Option<Ticks>) {
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

    fn put_contact(&mut self, index: u32, contact: Contact, visible_at: Option<Ticks>) {
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

    /// Inserts a session as it is, dates included; one with the same id is replaced.
    pub fn insert_session(&mut self, session: Session) -> Uuid {
        self.insert_session_at(session, None)
    }

    /// The same, but it becomes visible only at an instant of the server's clock.
    pub fn insert_session_late(&mut self, session: Session, visible_at: Ticks) -> Uuid {
        self.insert_session_at(session, Some(visible_at))
    }

    pub(super) fn insert_session_at(&mut self, session: Session, at: Option<Ticks>) -> Uuid {
        let id = session.id;
        let index = self.session_index(id).unwrap_or_else(|| {
            let slot = self.session_slot(&session);
            let index = self.sessions.reserve(slot);
            self.sessions.adopt(id, index);
            index
        });
        let version = self.sessions.committed(index);
        let said = version.as_ref().map_or(0, |version| version.slot.said);
        let before = version
            .filter(|version| version.slot.alive)
            .map(|version| self.session_of(index, &version.slot, version.record.as_deref()));
        self.webhooks
            .session(&session, before.as_ref().map(|before| before.status));
        let ends = before.as_ref().map(Ends::of).unwrap_or_default();
        let said = self.hear(index, said, &ends, &session);
        self.put_session(index, session, said, at);
        id
    }

    /// Inserts a contact as it is, dates included; one with the same id is replaced.
    pub fn insert_contact(&mut self, contact: Contact) -> Uuid {
        self.insert_contact_at(contact, None)
    }

    /// The same, but it becomes visible only at an instant of the server's clock.
    pub fn insert_contact_late(&mut self, contact: Contact, visible_at: Ticks) -> Uuid {
        self.insert_contact_at(contact, Some(visible_at))
    }

    pub(super) fn insert_contact_at(&mut self, contact: Contact, at: Option<Ticks>) -> Uuid {
        let id = contact.id;
        let index = self.contact_slot_for(id);
        let before = self
            .contacts
            .committed(index)
            .filter(|version| version.slot.alive)
            .map(|version| self.contact_of(index, &version.slot, version.record.as_deref()));
        self.webhooks
            .contact(&contact, before.as_ref().map(|before| &*before.tags));
        self.put_contact(index, contact, at);
        id
    }

    /// Changes a session; its `updatedAt` is now unless the closure sets another. False if there
    /// is none with this id.
    pub fn update_session(&mut self, id: Uuid, change: impl FnOnce(&mut Session)) -> bool {
        self.update_session_at(id, None, change)
    }

    /// The same, but the change becomes visible only at an instant of the server's clock; until
    /// then the API shows the version before.
    pub fn update_session_late(
        &mut self,
        id: Uuid,
        visible_at: Ticks,
        change: impl FnOnce(&mut Session),
    ) -> bool {
        self.update_session_at(id, Some(visible_at), change)
    }

    pub(super) fn update_session_at(
        &mut self,
        id: Uuid,
        at: Option<Ticks>,
        change: impl FnOnce(&mut Session),
    ) -> bool {
        self.settle();
        let found = self
            .session_index(id)
            .and_then(|index| Some((index, self.sessions.committed(index)?)));
        let Some((index, version)) = found.filter(|(_, version)| version.slot.alive) else {
            return false;
        };
        let mut session = self.session_of(index, &version.slot, version.record.as_deref());
        let (status, ends) = (session.status, Ends::of(&session));
        session.updated_at = self.stamp();
        change(&mut session);
        self.webhooks.session(&session, Some(status));
        let said = self.hear(index, version.slot.said, &ends, &session);
        self.put_session(index, session, said, at);
        true
    }

    /// Changes a contact; see [`Self::update_session`].
    pub fn update_contact(&mut self, id: Uuid, change: impl FnOnce(&mut Contact)) -> bool {
        self.update_contact_at(id, None, change)
    }

    /// Changes a contact late; see [`Self::update_session_late`].
    pub fn update_contact_late(
        &mut self,
        id: Uuid,
        visible_at: Ticks,
        change: impl FnOnce(&mut Contact),
    ) -> bool {
        self.update_contact_at(id, Some(visible_at), change)
    }

    pub(super) fn update_contact_at(
        &mut self,
        id: Uuid,
        at: Option<Ticks>,
        change: impl FnOnce(&mut Contact),
    ) -> bool {
        self.settle();
        let found = self
            .contact_index(id)
            .and_then(|index| Some((index, self.contacts.committed(index)?)));
        let Some((index, version)) = found.filter(|(_, version)| version.slot.alive) else {
            return false;
        };
        let mut contact = self.contact_of(index, &version.slot, version.record.as_deref());
        let tags = contact.tags.clone();
        contact.updated_at = self.stamp();
        change(&mut contact);
        self.webhooks.contact(&contact, Some(&tags));
        self.put_contact(index, contact, at);
        true
    }

    /// Gives a contact these tags and no others.
    pub fn set_contact_tags(&mut self, id: Uuid, tags: &[Uuid]) -> bool {
        self.update_contact(id, |contact| contact.tags = tags.to_vec())
    }

    /// Renames a contact.
    pub fn rename_contact(&mut self, id: Uuid, name: &str) -> bool {
        self.update_contact(id, |contact| contact.name = Some(name.to_owned().into()))
    }

    /// A bulk edit: all these sessions get the same `updatedAt` and change in nothing else.
    pub fn bulk_touch(&mut self, sessions: &[Uuid]) -> Ticks {
        self.settle();
        let at = self.stamp();
        for index in sessions
            .iter()
            .filter_map(|id| self.session_index(*id))
            .collect::<Vec<_>>()
        {
            let Some(mut version) = self.sessions.committed(index) else {
                continue;
            };
            if version.slot.alive {
                version.slot.set_updated(at.0);
                if let Some(record) = &mut version.record {
                    record.updated_at = at;
                }
                self.sessions.show(index, version);
            }
        }
        at
    }

    /// Deletes a session for good: no list shows it any more, and by id it is not found.
    pub fn delete_session(&mut self, id: Uuid) -> bool {
        self.settle();
        let found = self
            .session_index(id)
            .and_then(|index| Some((index, self.sessions.committed(index)?)));
        let Some((index, mut version)) = found.filter(|(_, version)| version.slot.alive) else {
            return false;
        };
        version.slot.bury();
        self.sessions.show(index, version);
        true
    }

    /// Deletes a contact for good; sessions go on naming its id.
    pub fn delete_contact(&mut self, id: Uuid) -> bool {
        self.settle();
        let found = self
            .contact_index(id)
            .and_then(|index| Some((index, self.contacts.committed(index)?)));
        let Some((index, mut version)) = found.filter(|(_, version)| version.slot.alive) else {
            return false;
        };
        version.slot.bury();
        self.contacts.show(index, version);
        true
    }

    /// The random lateness of a live change, if it is to be late.
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
