//! Records with an `updatedAt` that a clock that only moves forward would not give them.

use std::time::Duration;

use uuid::Uuid;

use super::Ticks;
use super::account::SandboxAccount;
use super::record::{Contact, Session};

impl SandboxAccount {
    /// Changes a session through a server whose clock is behind: the new version's `updatedAt` is
    /// so much older than that of the version before. See [`Self::update_session`].
    pub fn update_session_behind(
        &mut self,
        id: Uuid,
        by: Duration,
        change: impl FnOnce(&mut Session),
    ) -> bool {
        let before = self.session(id).map(|session| session.updated_at - by);
        self.update_session(id, |session| {
            change(session);
            session.updated_at = before.unwrap_or(session.updated_at);
        })
    }

    /// The same for a contact.
    pub fn update_contact_behind(
        &mut self,
        id: Uuid,
        by: Duration,
        change: impl FnOnce(&mut Contact),
    ) -> bool {
        let before = self.contact(id).map(|contact| contact.updated_at - by);
        self.update_contact(id, |contact| {
            change(contact);
            contact.updated_at = before.unwrap_or(contact.updated_at);
        })
    }

    /// Gives a session another `updatedAt`, past or future, and changes nothing else.
    pub fn date_session(&mut self, id: Uuid, at: Ticks) -> bool {
        self.update_session(id, |session| session.updated_at = at)
    }

    /// The same for a contact.
    pub fn date_contact(&mut self, id: Uuid, at: Ticks) -> bool {
        self.update_contact(id, |contact| contact.updated_at = at)
    }

    /// The same for a tag.
    pub fn date_tag(&mut self, id: Uuid, at: Ticks) -> bool {
        let mut tags = self.lists_mut().tags.iter_mut();
        let found = tags.find(|tag| tag.id == id);
        found.map(|tag| tag.updated_at = at).is_some()
    }
}
