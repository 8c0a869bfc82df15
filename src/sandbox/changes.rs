//! Every way to change a session or a contact.

use uuid::Uuid;

use super::Ticks;
use super::account::SandboxAccount;
use super::messages::Ends;
use super::record::{Contact, Session};
use super::slots::SessionSlot;
use super::table::Slot;

/// Whether two versions differ only in fields that a message changes.
fn is_message(before: &Session, after: &Session) -> bool {
    let touched = Session {
        updated_at: after.updated_at,
        ..before.clone()
    };
    let said = Session {
        last_interaction: after.last_interaction,
        last_message_in: after.last_message_in,
        last_message_out: after.last_message_out,
        last_message_text: after.last_message_text.clone(),
        unread_count: after.unread_count,
        window_status: after.window_status,
        ..touched.clone()
    };
    said == *after && touched != *after
}

impl SandboxAccount {
    /// Inserts a session unchanged, dates included. Replaces a session with the same id.
    pub fn insert_session(&mut self, session: Session) -> Uuid {
        self.insert_session_at(session, None)
    }

    /// The same, but it becomes visible only at an instant of the server's clock.
    pub fn insert_session_late(&mut self, session: Session, visible_at: Ticks) -> Uuid {
        self.insert_session_at(session, Some(visible_at))
    }

    pub(super) fn insert_session_at(&mut self, session: Session, at: Option<Ticks>) -> Uuid {
        self.settle();
        let id = session.id;
        let index = self.session_index(id).unwrap_or_else(|| {
            let slot = self.session_slot(&session);
            let index = self.sessions.reserve(slot);
            self.sessions.adopt(id, index);
            index
        });
        let version = self.sessions.committed(index);
        let said = version.as_ref().map_or(0, |version| version.slot.said);
        let before = version.filter(|version| version.slot.alive).map(|version| {
            let record = version.record.as_deref();
            (self.session_of(index, &version.slot, record), version.slot)
        });
        self.commit_session(index, said, before.as_ref(), session, at);
        id
    }

    /// Stores a session's next version and makes it visible.
    fn commit_session(
        &mut self,
        index: u32,
        said: u16,
        before: Option<&(Session, SessionSlot)>,
        session: Session,
        at: Option<Ticks>,
    ) {
        let slot = self.session_slot(&session);
        self.tell_session((&session, &slot), before);
        let ends = before.map(|(before, _)| Ends::of(before));
        let said = self.hear(index, said, &ends.unwrap_or_default(), &session);
        self.put_session(index, session, said, at);
    }

    /// Inserts a contact unchanged, dates included. Replaces a contact with the same id.
    pub fn insert_contact(&mut self, contact: Contact) -> Uuid {
        self.insert_contact_at(contact, None)
    }

    /// The same, but it becomes visible only at an instant of the server's clock.
    pub fn insert_contact_late(&mut self, contact: Contact, visible_at: Ticks) -> Uuid {
        self.insert_contact_at(contact, Some(visible_at))
    }

    pub(super) fn insert_contact_at(&mut self, contact: Contact, at: Option<Ticks>) -> Uuid {
        self.settle();
        let id = contact.id;
        let index = self.contact_slot_for(id);
        let version = self.contacts.committed(index);
        let before = version.filter(|version| version.slot.alive).map(|version| {
            let record = version.record.as_deref();
            (self.contact_of(index, &version.slot, record), version.slot)
        });
        self.tell_contact(&contact, before.as_ref());
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
        let before = self.session_of(index, &version.slot, version.record.as_deref());
        let mut session = before.clone();
        let stamp = self.stamp();
        session.updated_at = stamp;
        change(&mut session);
        if self.moods.silent_messages
            && session.updated_at == stamp
            && is_message(&before, &session)
        {
            session.updated_at = before.updated_at;
        }
        let said = version.slot.said;
        self.commit_session(index, said, Some(&(before, version.slot)), session, at);
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
        let before = self.contact_of(index, &version.slot, version.record.as_deref());
        let mut contact = before.clone();
        contact.updated_at = self.stamp();
        change(&mut contact);
        self.tell_contact(&contact, Some(&(before, version.slot)));
        self.put_contact(index, contact, at);
        true
    }

    /// Replaces the tags of a contact.
    pub fn set_contact_tags(&mut self, id: Uuid, tags: &[Uuid]) -> bool {
        self.update_contact(id, |contact| contact.tags = tags.to_vec())
    }

    /// Renames a contact.
    pub fn rename_contact(&mut self, id: Uuid, name: &str) -> bool {
        self.update_contact(id, |contact| contact.name = Some(name.to_owned().into()))
    }

    /// A bulk edit: all these sessions get the same `updatedAt`; nothing else changes.
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

    /// Deletes a session: no list shows it any more, and it is not found by id.
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

    /// Deletes a contact. Sessions keep its id.
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
}
