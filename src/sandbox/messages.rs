//! The messages of a session.
//!
//! The messages of the generated year are generated from the seed and never stored: the number of
//! a session always gives the same messages. Later messages are stored in order, and each version
//! of a session records how many of them it includes. A change that becomes visible late therefore
//! brings its message with it.

use std::borrow::Cow;
use std::collections::HashMap;

use uuid::Uuid;

use super::Ticks;
use super::account::SandboxAccount;
use super::ids::{self, IdKind};
use super::json::Object;
use super::names;
use super::record::{Session, Text};
use super::slots::NONE;
use super::ticks::SECOND;
use super::year::Sketch;

/// Room for the numbers of a generated session's messages and of its one event.
const ROOM: u32 = 16;
const FIRST: u32 = 0;
const GREETING: u32 = 1;
const ANSWER: u32 = 2;
/// Where the talk between the first answer and the end begins; ten messages at most.
const TALK: u32 = 3;
const LAST_IN: u32 = 13;
const LAST_OUT: u32 = 14;
/// What is drawn beside the texts; as the number of a message, the event.
const LENGTH: u32 = 15;
const EVENT: u32 = 15;

/// What an entry of the list is that is no conversation (API notes, 6).
const EVENTS: [(&str, Option<&str>); 3] = [
    ("TRACK", None),
    ("TRANSITION", None),
    ("NOTE", Some("Cliente prefere falar à tarde")),
];

#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) id: Uuid,
    pub(super) at: Ticks,
    pub(super) updated_at: Ticks,
    /// Whether the contact wrote it.
    pub(super) incoming: bool,
    bot: bool,
    /// Who of the account wrote it.
    user_id: Option<Uuid>,
    text: Option<Text>,
    /// What happened, where nobody said anything.
    event: Option<&'static str>,
}

/// What changed in a session's messages after the year.
#[derive(Debug)]
enum Said {
    New(Message),
    /// The last message says something else.
    Edited {
        text: Option<Text>,
        at: Ticks,
    },
}

/// Everything said after the year.
#[derive(Debug, Default)]
pub(super) struct Talk {
    said: HashMap<u32, Vec<Said>>,
    /// The session of each message that was added, by the number in its id.
    places: Vec<u32>,
}

/// What a session says of its last messages.
#[derive(Debug, Default)]
pub(super) struct Ends {
    text: Option<Text>,
    incoming: Option<Ticks>,
    outgoing: Option<Ticks>,
}

impl Ends {
    pub(super) fn of(session: &Session) -> Self {
        Self {
            text: session.last_message_text.clone(),
            incoming: session.last_message_in,
            outgoing: session.last_message_out,
        }
    }
}

fn text(seed: u64, index: u32, number: u32, incoming: bool) -> &'static str {
    let texts: &[&str] = if incoming {
        &names::QUESTIONS
    } else {
        &names::ANSWERS
    };
    texts[drawn(seed, index, number, texts.len())]
}

fn drawn(seed: u64, index: u32, number: u32, below: usize) -> usize {
    let drawn = ids::drawn(seed, IdKind::Message, index, number) % (below.max(1) as u64);
    usize::try_from(drawn).unwrap_or(0)
}

/// The text of a generated session's last message.
pub(super) fn last_text(seed: u64, index: u32, sketch: &Sketch) -> &'static str {
    if sketch.last_in > sketch.last_out {
        text(seed, index, LAST_IN, true)
    } else {
        text(seed, index, LAST_OUT, false)
    }
}

/// How often the contact wrote in a generated session that nobody answered: 1 to 4.
pub(super) fn unanswered(seed: u64, index: u32) -> u32 {
    u32::try_from(drawn(seed, index, LENGTH, 4)).unwrap_or(0) + 1
}

impl SandboxAccount {
    /// The messages of a session's version that knows so many of what was said after the year,
    /// oldest first.
    pub(super) fn messages(&self, index: u32, said: u16) -> Vec<Message> {
        let mut messages = if index < self.year.sessions() {
            self.generated_messages(index)
        } else {
            Vec::new()
        };
        let later = self.talk.said.get(&index).into_iter().flatten();
        for said in later.take(usize::from(said)) {
            match said {
                Said::New(message) => {
                    let at = messages.partition_point(|old| old.at <= message.at);
                    messages.insert(at, message.clone());
                }
                Said::Edited { text, at } => {
                    if let Some(last) = messages.last_mut() {
                        last.text.clone_from(text);
                        last.updated_at = *at;
                    }
                }
            }
        }
        messages
    }

    /// The messages that agree with a sketch: one where it says when somebody wrote, and talk
    /// between the first answer and the last words.
    fn generated_messages(&self, index: u32) -> Vec<Message> {
        let seed = self.year.seed;
        let sketch = self.year.sketch(index);
        let created = sketch.slot.created;
        let agent = self.company.agents.get(usize::from(sketch.slot.agent));
        let user_id = agent.map(|agent| agent.more.user_id);
        let message = |number: u32, at: i64, incoming: bool| Message {
            id: ids::id(seed, IdKind::Message, index * ROOM + number),
            at: Ticks(at),
            updated_at: Ticks(at),
            incoming,
            bot: (number == GREETING || sketch.contained) && !incoming,
            user_id: user_id.filter(|_| !incoming && number != GREETING),
            text: Some(Cow::Borrowed(text(seed, index, number, incoming))),
            event: None,
        };
        if sketch.answered == NONE && sketch.last_out != NONE {
            // The bot alone.
            let greets = created + (2 * SECOND).min((sketch.last_in - created) / 2);
            let asks = (created < greets).then(|| message(FIRST, created, true));
            let greeting = message(GREETING, greets, false);
            let last = [
                message(LAST_IN, sketch.last_in, true),
                message(LAST_OUT, sketch.last_out, false),
            ];
            return asks.into_iter().chain([greeting]).chain(last).collect();
        }
        if sketch.answered == NONE {
            let count = unanswered(seed, index);
            let between = |number: u32| {
                created
                    + (sketch.last_in - created) * i64::from(number) / i64::from(count - 1).max(1)
            };
            return (FIRST..count - 1)
                .map(|number| message(number, between(number), true))
                .chain([message(LAST_IN, sketch.last_in, true)])
                .collect();
        }
        let mut messages = Vec::with_capacity(ROOM as usize);
        if created < sketch.last_in {
            messages.push(message(FIRST, created, true));
        }
        if sketch.bot {
            let greets = created + (2 * SECOND).min((sketch.answered - created) / 2);
            messages.push(message(GREETING, greets, false));
        }
        let (event, note) = EVENTS[drawn(seed, index, EVENT, EVENTS.len())];
        messages.push(Message {
            event: Some(event),
            text: note.map(Cow::Borrowed),
            ..message(EVENT, sketch.answered, false)
        });
        if sketch.answered < sketch.last_out {
            messages.push(message(ANSWER, sketch.answered, false));
        }
        let span = sketch.last_in.min(sketch.last_out) - sketch.answered;
        let count = drawn(seed, index, LENGTH, (LAST_IN - TALK + 1) as usize);
        let count = u32::try_from(count).unwrap_or(0);
        for number in (0..count).filter(|_| span > 0) {
            let at = sketch.answered + span * i64::from(number + 1) / i64::from(count + 1);
            messages.push(message(TALK + number, at, number % 2 == 0));
        }
        messages.push(message(LAST_IN, sketch.last_in, true));
        messages.push(message(LAST_OUT, sketch.last_out, false));
        messages.sort_by_key(|message| message.at);
        messages
    }

    /// Adds the messages that a change of a session speaks of: a new last date is a message, and
    /// another text without one an edit. Answers how many words the changed version knows, after
    /// the `known` ones of the version before.
    pub(super) fn hear(&mut self, index: u32, known: u16, before: &Ends, session: &Session) -> u16 {
        let after = Ends::of(session);
        let mut new: Vec<(Ticks, bool)> = [
            (before.incoming, after.incoming, true),
            (before.outgoing, after.outgoing, false),
        ]
        .into_iter()
        .filter(|(before, after, _)| before != after)
        .filter_map(|(_, after, incoming)| Some((after?, incoming)))
        .collect();
        new.sort_by_key(|(at, incoming)| (*at, !incoming));
        let Some((last, _)) = new.last().copied() else {
            if before.text == after.text {
                return known;
            }
            return self.edit(index, known, after.text, session);
        };
        let mut known = known;
        for (at, incoming) in new {
            // More would be a session that went on for years.
            if known == u16::MAX {
                break;
            }
            let number = u32::try_from(self.talk.places.len()).unwrap_or(u32::MAX);
            let message = Message {
                id: ids::id(self.year.seed, IdKind::Said, number),
                at,
                updated_at: at,
                incoming,
                bot: !incoming && session.user_id.is_none() && session.bot_id.is_some(),
                user_id: session.user_id.filter(|_| !incoming),
                text: if at == last {
                    after.text.clone()
                } else {
                    Some(Cow::Borrowed(text(self.year.seed, number, FIRST, incoming)))
                },
                event: None,
            };
            self.tell_message(&message, session, None);
            self.talk.places.push(index);
            let said = self.talk.said.entry(index).or_default();
            said.push(Said::New(message));
            known += 1;
        }
        known
    }

    fn edit(&mut self, index: u32, known: u16, text: Option<Text>, session: &Session) -> u16 {
        let Some(before) = self.messages(index, known).pop() else {
            return known;
        };
        // The session's own stamp may be older than this.
        let at = self.now().max(session.updated_at);
        let last = Message {
            text: text.clone(),
            updated_at: at,
            ..before.clone()
        };
        self.tell_message(&last, session, Some(&before));
        if known == u16::MAX {
            return known;
        }
        let said = self.talk.said.entry(index).or_default();
        said.push(Said::Edited { text, at });
        known + 1
    }

    /// The visible session of a message, and the message.
    pub(super) fn message(&mut self, id: Uuid) -> Option<(Session, Message)> {
        let seed = self.year.seed;
        let index = ids::number(seed, IdKind::Message, id)
            .map(|number| number / ROOM)
            .filter(|index| *index < self.year.sessions())
            .or_else(|| {
                let number = ids::number(seed, IdKind::Said, id)?;
                self.talk.places.get(number as usize).copied()
            })?;
        let slot = self.sessions.slot(index).filter(|slot| slot.alive)?;
        let session = self.session_of(index, slot, self.sessions.changed(index));
        let mut messages = self.messages(index, slot.said).into_iter();
        Some((session, messages.find(|message| message.id == id)?))
    }
}

impl Message {
    pub(super) fn kind(&self) -> &'static str {
        match (self.event, self.text.as_deref()) {
            (Some(event), _) => event,
            (None, Some("[imagem]")) => "IMAGE",
            (None, Some("[áudio]")) => "AUDIO",
            (None, _) => "TEXT",
        }
    }

    /// The hub is the channel's gateway: what comes from it was written by the contact, what goes
    /// to it was sent by the account (API notes, 6).
    fn direction(&self) -> &'static str {
        if self.incoming { "FROM_HUB" } else { "TO_HUB" }
    }

    fn status(&self) -> &'static str {
        match (self.event, self.incoming) {
            (Some(_), _) => "SAVED",
            (None, true) => "DELIVERED",
            (None, false) => "READ",
        }
    }

    fn origin(&self) -> &'static str {
        match (self.incoming, self.bot, self.user_id) {
            (true, ..) => "GATEWAY",
            (false, true, _) => "BOT",
            (false, false, None) => "API",
            // Now and then an agent types on the phone itself.
            (false, false, Some(_)) if self.event.is_none() && self.id.as_bytes()[0] < 16 => {
                "GATEWAY"
            }
            (false, false, Some(_)) => "DEFAULT",
        }
    }

    pub(super) fn render(&self, out: &mut Vec<u8>, session: &Session) {
        let mut object = Object::new(out, None);
        self.shared(&mut object, session);
        object.null("details");
        object.null("failedReason");
        object.null("filesIds");
        object.end();
    }

    /// The fields that lists and deliveries of webhooks have in common. The text of a picture
    /// without a caption is what the session's `lastMessageText` shows in its place, so that the
    /// two can be compared.
    pub(super) fn shared(&self, object: &mut Object<'_>, session: &Session) {
        let sender = session
            .contact_id
            .filter(|_| self.incoming)
            .map(|contact| contact.to_string());
        object.id("id", self.id);
        object.time("createdAt", self.at);
        object.time("updatedAt", self.updated_at);
        object.time("timestamp", Ticks(self.at.0 - self.at.0.rem_euclid(SECOND)));
        object.text("type", self.kind());
        object.opt_text("senderId", sender.as_deref());
        object.id("sessionId", session.id);
        object.null("templateId");
        object.opt_id("userId", self.user_id);
        object.text("direction", self.direction());
        object.text("status", self.status());
        object.text("origin", self.origin());
        object.opt_text("text", self.text.as_deref());
        object.null("fileId");
        object.null("refId");
        object.null("readContactAt");
    }
}
