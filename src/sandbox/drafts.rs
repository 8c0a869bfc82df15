//! New records to fill in and insert.

use uuid::Uuid;

use super::account::SandboxAccount;
use super::record::{Contact, ContactStatus, Origin, Session, SessionKind, Status, WindowStatus};

impl SandboxAccount {
    /// A new session to fill in and insert: individual, started just now, on the first channel.
    pub fn draft_session(&mut self) -> Session {
        let at = self.stamp();
        Session {
            id: self.new_id(),
            created_at: at,
            updated_at: at,
            start_at: at,
            end_at: None,
            status: Status::Started,
            contact_id: None,
            channel_id: self
                .company
                .channels
                .first()
                .map_or(Uuid::nil(), |entry| entry.id),
            department_id: None,
            user_id: None,
            title: None,
            number: None,
            utm: None,
            origin: None,
            classification: None,
            status_description: None,
            time_service: None,
            time_wait: None,
            first_response_at: None,
            bot_id: None,
            unread_count: 0,
            last_message_text: None,
            last_interaction: Some(at),
            last_message_out: None,
            last_message_in: Some(at),
            window_status: WindowStatus::Active,
            metadata: None,
            kind: SessionKind::Individual,
        }
    }

    /// A new contact to fill in and insert: active, without tags.
    pub fn draft_contact(&mut self, name: &str) -> Contact {
        let at = self.stamp();
        Contact {
            id: self.new_id(),
            created_at: at,
            updated_at: at,
            name: Some(name.to_owned().into()),
            phone: None,
            email: None,
            instagram: None,
            annotation: None,
            tags: Vec::new(),
            status: ContactStatus::Active,
            origin: Origin::CreatedFromHub,
            imported_at: None,
            utm: None,
            custom_fields: None,
            metadata: None,
            picture_url: None,
        }
    }
}
