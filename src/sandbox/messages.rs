//! The messages of a session: drawn from the seed each time, never kept.

use std::borrow::Cow;

use uuid::Uuid;

use super::Ticks;
use super::account::Account;
use super::ids::{self, Of};
use super::json::Object;
use super::names;
use super::record::Session;
use super::ticks::SECOND;

/// Messages that a session has at most; also the room for their numbers.
const MOST: u32 = 16;

#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) id: Uuid,
    at: Ticks,
    incoming: bool,
    bot: bool,
    text: &'static str,
}

impl Account {
    /// The messages of a session, oldest first, between its creation and its last interaction.
    pub(super) fn messages(&self, index: u32, session: &Session) -> Vec<Message> {
        let mut dice = ids::dice(self.year.seed, Of::Message, index);
        let count = dice.u32(2..=MOST);
        let last = session.last_interaction.unwrap_or(session.updated_at).0;
        let span = (last - session.created_at.0).max(0);
        (0..count)
            .map(|number| {
                let share = i64::from(number) * span / i64::from(count - 1);
                let incoming = number % 2 == 0;
                let texts: &[&str] = if incoming {
                    &names::QUESTIONS
                } else {
                    &names::ANSWERS
                };
                Message {
                    id: ids::id(
                        self.year.seed,
                        Of::Message,
                        index.wrapping_mul(MOST + 1) + number,
                    ),
                    at: Ticks(session.created_at.0 + share),
                    incoming,
                    bot: number == 1 && session.bot_id.is_some(),
                    text: texts[dice.usize(..texts.len())],
                }
            })
            .collect()
    }

    pub(super) fn message(&mut self, id: Uuid) -> Option<(Session, Message)> {
        let number = ids::number(self.year.seed, Of::Message, id)?;
        let index = number / (MOST + 1);
        let slot = self.sessions.slot(index).filter(|slot| slot.alive)?;
        let session = self.session_of(index, slot, self.sessions.changed(index));
        let message = self
            .messages(index, &session)
            .into_iter()
            .find(|message| message.id == id)?;
        Some((session, message))
    }
}

impl Message {
    pub(super) fn at(&self) -> i64 {
        self.at.0
    }

    pub(super) fn render(&self, out: &mut Vec<u8>, session: &Session) {
        let kind = match self.text {
            "[imagem]" => "IMAGE",
            "[áudio]" => "AUDIO",
            _ => "TEXT",
        };
        let sender = match session.contact_id {
            Some(contact) if self.incoming => Some(Cow::Owned(contact.to_string())),
            _ => None,
        };
        let mut object = Object::new(out, None);
        object.id("id", self.id);
        object.time("createdAt", self.at);
        object.time("updatedAt", self.at);
        object.time("timestamp", Ticks(self.at.0 - self.at.0.rem_euclid(SECOND)));
        object.text("type", kind);
        object.opt_text("senderId", sender.as_deref());
        object.id("sessionId", session.id);
        object.null("templateId");
        object.opt_id(
            "userId",
            session.user_id.filter(|_| !self.incoming && !self.bot),
        );
        object.text(
            "direction",
            if self.incoming { "TO_HUB" } else { "FROM_HUB" },
        );
        object.text("status", if self.incoming { "READ" } else { "DELIVERED" });
        object.text("origin", if self.bot { "BOT" } else { "DEFAULT" });
        object.opt_text("text", (kind == "TEXT").then_some(self.text));
        object.null("fileId");
        object.null("refId");
        object.null("readContactAt");
        object.null("details");
        object.null("failedReason");
        object.null("filesIds");
        object.end();
    }
}
