//! The payloads of webhooks (API notes, 11 and 17).
//!
//! `content` is not the record of the lists: it has fewer fields, and some others. No capture
//! shows all values of `changeMetadata` (the values of `source`, the spelling of properties);
//! those are guesses.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::account::SandboxAccount;
use super::json::Object;
use super::messages::Message;
use super::record::{Contact, Session, Status};
use super::render::{ContactDetails, View};
use super::slots::{ContactSlot, SessionSlot};

/// Fields of a session that are those of the list, under the same names.
const OF_SESSION: [&str; 27] = [
    "id",
    "contactId",
    "status",
    "number",
    "startAt",
    "endAt",
    "createdAt",
    "updatedAt",
    "channelType",
    "channelId",
    "channelDetails",
    "companyId",
    "departmentId",
    "departmentDetails",
    "botId",
    "agentDetails",
    "contactDetails",
    "windowStatus",
    "unreadCount",
    "lastMessageIn",
    "lastMessageOut",
    "lastMessageText",
    "lastInteractionDate",
    "classification",
    "metadata",
    "previewUrl",
    "utm",
];

/// Fields of a contact, by their names in the list.
const OF_CONTACT: [(&str, &str); 15] = [
    ("id", "id"),
    ("name", "name"),
    ("phoneNumber", "phonenumber"),
    ("phoneNumberFormatted", "phonenumberFormatted"),
    ("email", "email"),
    ("status", "status"),
    ("origin", "origin"),
    ("tagNames", "tags"),
    ("tagIds", "tagsId"),
    ("companyId", "companyId"),
    ("createdAt", "createdAt"),
    ("updatedAt", "updatedAt"),
    ("customFields", "customFieldValues"),
    ("utm", "utm"),
    ("metadata", "metadata"),
];

impl SandboxAccount {
    /// A session that is new, or was `before`.
    pub(super) fn tell_session(
        &mut self,
        (session, slot): (&Session, &SessionSlot),
        before: Option<&(Session, SessionSlot)>,
    ) {
        if !self.webhooks.is_heard() {
            return;
        }
        let event = match (before, session.status) {
            (None, _) => "SESSION_NEW",
            (Some((before, _)), Status::Completed) if before.status != Status::Completed => {
                "SESSION_COMPLETE"
            }
            _ => "SESSION_UPDATE",
        };
        let mut content = self.session_content(session, slot);
        let told = before.map(|(before, slot)| {
            let before = self.session_content(before, slot);
            changes(&before, &content, session.user_id)
        });
        if event != "SESSION_COMPLETE" {
            content.remove("endAt");
        }
        let told = told.unwrap_or(Value::Null);
        self.call(event, session.updated_at, &content.into(), &told);
    }

    /// A message that is new, or was `before`.
    pub(super) fn tell_message(
        &mut self,
        message: &Message,
        session: &Session,
        before: Option<&Message>,
    ) {
        if !self.webhooks.is_heard() {
            return;
        }
        let event = match (before, message.incoming) {
            (Some(_), _) => "MESSAGE_UPDATED",
            (None, true) => "MESSAGE_RECEIVED",
            (None, false) => "MESSAGE_SENT",
        };
        let content = self.message_content(message, session, before.is_some());
        let told = match before {
            Some(before) => {
                let before = self.message_content(before, session, false);
                changes(&before, &content, session.user_id)
            }
            None => changes(&content, &content, None),
        };
        self.call(event, message.updated_at, &content.into(), &told);
    }

    /// A contact that is new, or was `before`.
    pub(super) fn tell_contact(
        &mut self,
        contact: &Contact,
        before: Option<&(Contact, ContactSlot)>,
    ) {
        if !self.webhooks.is_heard() {
            return;
        }
        let slot = self.contact_slot(contact);
        let content = self.contact_content(contact, &slot);
        let at = contact.updated_at;
        let Some((before, slot)) = before else {
            let told = changes(&content, &content, None);
            return self.call("CONTACT_NEW", at, &content.into(), &told);
        };
        let told = changes(&self.contact_content(before, slot), &content, None);
        let content = content.into();
        self.call("CONTACT_UPDATE", at, &content, &told);
        if !same(&before.tags, &contact.tags) {
            self.call("CONTACT_TAG_UPDATE", at, &content, &told);
        }
    }

    fn session_content(&self, session: &Session, slot: &SessionSlot) -> Map<String, Value> {
        let mut shown = object(|out| self.render_session(out, session, slot, View::TRUTH));
        let mut content = Map::new();
        for field in OF_SESSION {
            content.insert(field.to_owned(), shown.remove(field).unwrap_or_default());
        }
        if let Some(Value::Object(channel)) = content.get_mut("channelDetails") {
            channel.insert("id".to_owned(), json!(session.channel_id));
        }
        let first_in = session.last_message_in.map(|_| session.created_at);
        let own = [
            ("active", json!(slot.alive)),
            ("expired", json!(false)),
            ("botVersionId", Value::Null),
            ("waitReply", json!(false)),
            (
                "firstUserInteractionAt",
                json!(first_in.map(|at| at.to_string())),
            ),
            (
                "firstAgentMessageAt",
                json!(session.first_response_at.map(|at| at.to_string())),
            ),
            ("previousSessionId", Value::Null),
        ];
        content.extend(own.map(|(field, value)| (field.to_owned(), value)));
        content
    }

    fn message_content(
        &self,
        message: &Message,
        session: &Session,
        edited: bool,
    ) -> Map<String, Value> {
        object(|out| {
            let mut object = Object::new(out, None);
            message.shared(&mut object, session);
            object.opt_time("editedAt", edited.then_some(message.updated_at));
            object.flag("active", true);
            object.flag("waitingOptIn", false);
            object.id("companyId", self.company.id);
            object.object("details", |object| {
                for field in [
                    "from",
                    "to",
                    "file",
                    "location",
                    "contact",
                    "errors",
                    "transcription",
                ] {
                    object.null(field);
                }
            });
            object.end();
        })
    }

    fn contact_content(&self, contact: &Contact, slot: &ContactSlot) -> Map<String, Value> {
        let mut shown =
            object(|out| self.render_contact(out, contact, slot, ContactDetails::ALL, true));
        let own = [("active".to_owned(), json!(slot.alive))];
        let fields = OF_CONTACT.map(|(field, name)| {
            let value = shown.remove(field).unwrap_or_default();
            (name.to_owned(), value)
        });
        fields.into_iter().chain(own).collect()
    }
}

/// What differs between two versions, as `changeMetadata` tells it.
fn changes(before: &Map<String, Value>, after: &Map<String, Value>, user: Option<Uuid>) -> Value {
    let differing = after
        .iter()
        .filter(|(field, value)| *field != "updatedAt" && before.get(*field) != Some(value));
    let changes: Vec<Value> = differing
        .map(|(field, value)| {
            json!({"property": field, "currentValue": value, "previousValue": before.get(field)})
        })
        .collect();
    let source = if user.is_some() { "USER" } else { "SYSTEM" };
    json!({"source": source, "userId": user, "changes": changes})
}

/// Whether two sets of tags are the same, in whatever order.
fn same(left: &[Uuid], right: &[Uuid]) -> bool {
    left.iter().all(|tag| right.contains(tag)) && right.iter().all(|tag| left.contains(tag))
}

fn object(write: impl FnOnce(&mut Vec<u8>)) -> Map<String, Value> {
    let mut out = Vec::new();
    write(&mut out);
    serde_json::from_slice(&out).expect("the renderer writes objects")
}
