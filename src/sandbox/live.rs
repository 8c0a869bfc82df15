//! Live changes: sessions are opened, answered, transferred, completed and reopened, and contacts
//! are renamed, retagged and archived.

use std::borrow::Cow;

use uuid::Uuid;

use super::account::SandboxAccount;
use super::dress;
use super::names;
use super::record::{Category, ContactStatus, Entry, Session, Status};
use super::year::{self, span};

/// Sessions that a bulk edit changes at most.
const BULK: usize = 250;

impl SandboxAccount {
    /// Makes `count` changes, as they happen on a working day; each carries the present. Some
    /// become visible late, as `moods.late_share` says.
    pub fn live_step(&mut self, count: usize) {
        for _ in 0..count {
            self.settle();
            self.tend_webhooks();
            if self.odd_step() {
                continue;
            }
            match self.dice.u32(..100) {
                0..18 => self.open_session(),
                18..24 => self.touch_contact(),
                24..28 => self.touch_old_session(),
                _ => self.move_session(),
            }
        }
    }

    /// A change of a kind that only a mood can request. Returns whether a change was made.
    fn odd_step(&mut self) -> bool {
        let shares = [
            self.moods.deletion_share,
            self.moods.bulk_share,
            self.moods.list_share,
            self.moods.undefined_share,
        ];
        // Without them the dice fall as they would for an account that knows no such changes.
        if shares.iter().all(|share| *share <= 0.0) {
            return false;
        }
        let mut drawn = self.dice.f64();
        let hit = shares.iter().position(|share| {
            drawn -= share;
            drawn < 0.0
        });
        match hit {
            Some(0) => self.delete_some_session(),
            Some(1) => self.edit_in_bulk(),
            Some(2) => self.change_a_list(),
            Some(_) => self.undefine_a_contact(),
            None => false,
        }
    }

    fn delete_some_session(&mut self) -> bool {
        let order = &self.sessions.by_created;
        let at = self.dice.usize(..order.len().max(1));
        let found = order.slots(at, at + 1).next();
        found
            .and_then(|index| self.session_id(index))
            .is_some_and(|id| self.delete_session(id))
    }

    /// Up to [`BULK`] sessions that were created one after the other.
    fn edit_in_bulk(&mut self) -> bool {
        let order = &self.sessions.by_created;
        let from = self.dice.usize(..order.len().max(1));
        let count = self.dice.usize(2..=BULK);
        let edited: Vec<Uuid> = order
            .slots(from, from + count)
            .filter_map(|index| self.session_id(index))
            .collect();
        self.bulk_touch(&edited);
        !edited.is_empty()
    }

    /// A tag or a channel leaves its list, or comes back; the last of its kind stays.
    fn change_a_list(&mut self) -> bool {
        fn turn<T>(list: &mut [Entry<T>], dice: &mut fastrand::Rng) -> bool {
            let listed = list.iter().filter(|entry| entry.listed).count();
            // What has no name was never there.
            let mut known: Vec<&mut Entry<T>> = list
                .iter_mut()
                .filter(|entry| !entry.name.is_empty() && (listed > 1 || !entry.listed))
                .collect();
            if known.is_empty() {
                return false;
            }
            let chosen = dice.usize(..known.len());
            known[chosen].listed = !known[chosen].listed;
            true
        }
        self.remember_lists();
        if self.dice.bool() {
            turn(&mut self.company.tags, &mut self.dice)
        } else {
            turn(&mut self.company.channels, &mut self.dice)
        }
    }

    /// A contact gets a status that no list shows, or leaves it.
    fn undefine_a_contact(&mut self) -> bool {
        let contact = self.any_contact();
        contact.is_some_and(|id| {
            self.update_contact(id, |contact| {
                contact.status = match contact.status {
                    ContactStatus::Undefined => ContactStatus::Active,
                    _ => ContactStatus::Undefined,
                };
            })
        })
    }

    fn any_contact(&mut self) -> Option<Uuid> {
        let order = &self.contacts.by_created;
        let at = self.dice.usize(..order.len().max(1));
        let index = order.slots(at, at + 1).next()?;
        self.contact_id(index)
    }

    fn open_session(&mut self) {
        let contact = if self.dice.u32(..5) < 2 {
            None
        } else {
            self.any_contact()
        };
        let contact = contact.unwrap_or_else(|| {
            let first = names::FIRST_NAMES[self.dice.usize(..names::FIRST_NAMES.len())];
            let last = names::LAST_NAMES[self.dice.usize(..names::LAST_NAMES.len())];
            let mut contact = self.draft_contact(&format!("{first} {last}"));
            let area = names::AREA_CODES[self.dice.usize(..names::AREA_CODES.len())];
            contact.phone = Some(Cow::Owned(format!(
                "+55|{area}9{:08}",
                self.dice.u32(..100_000_000)
            )));
            let late = self.lateness(contact.updated_at);
            self.insert_contact_at(contact, late)
        });
        let mut session = self.draft_session();
        let channels = self.channels_of(contact);
        if !channels.is_empty() {
            session.channel_id = channels[self.dice.usize(..channels.len())];
        }
        session.contact_id = Some(contact);
        session.number = Some(Cow::Owned(format!(
            "{}{:05}",
            year::local_day(session.created_at.0),
            self.sessions.size() % 100_000
        )));
        session.unread_count = 1;
        session.last_message_text = Some(Cow::Borrowed(
            names::QUESTIONS[self.dice.usize(..names::QUESTIONS.len())],
        ));
        session.status_description = Some(Cow::Borrowed(dress::description(session.status)));
        let late = self.lateness(session.updated_at);
        self.insert_session_at(session, late);
    }

    /// The listed channels over which a contact can write.
    fn channels_of(&self, contact: Uuid) -> Vec<Uuid> {
        let contact = self.contact_index(contact).and_then(|index| {
            let version = self.contacts.committed(index)?;
            Some(self.contact_of(index, &version.slot, version.record.as_deref()))
        });
        let reaches = |kind: &str| match &contact {
            None => true,
            Some(contact) => match kind {
                "INSTAGRAM" => contact.instagram.is_some(),
                "MESSENGER" | "WEBCHAT" => true,
                _ => contact.phone.is_some(),
            },
        };
        let listed = self.company.channels.iter().filter(|entry| entry.listed);
        listed
            .filter(|entry| reaches(entry.more.session_kind))
            .map(|entry| entry.id)
            .collect()
    }

    /// An open session, if one is left.
    fn any_open(&mut self) -> Option<Uuid> {
        while !self.open.is_empty() {
            let at = self.dice.usize(..self.open.len());
            let index = self.open[at];
            let version = self.sessions.committed(index)?;
            if version.slot.alive && version.slot.status.is_open() {
                let slot = version.slot;
                return Some(self.session_of(index, &slot, version.record.as_deref()).id);
            }
            self.open.swap_remove(at);
        }
        None
    }

    fn any_department(&mut self) -> Option<Uuid> {
        let departments = self.departments();
        (!departments.is_empty()).then(|| departments[self.dice.usize(..departments.len())])
    }

    fn any_agent(&mut self, department: Option<Uuid>) -> Option<Uuid> {
        let home = self.department_of(department);
        let listed = self.company.agents.iter().filter(|agent| agent.listed);
        let mut found: Vec<Uuid> = listed
            .clone()
            .filter(|agent| agent.more.departments.contains(&home))
            .map(|agent| agent.more.user_id)
            .collect();
        if found.is_empty() {
            found = listed.map(|agent| agent.more.user_id).collect();
        }
        (!found.is_empty()).then(|| found[self.dice.usize(..found.len())])
    }

    /// The next event in an open session.
    fn move_session(&mut self) {
        let Some(id) = self.any_open() else {
            return self.open_session();
        };
        let department = self.any_department();
        let agent = self.any_agent(department);
        let (roll, text, number) = (self.dice.u32(..100), self.dice.usize(..1_000), self.made);
        let mut dice = fastrand::Rng::with_seed(self.dice.u64(..));
        let seed = self.year.seed;
        let now = self.now();
        let late = self.lateness(now);
        self.update_session_at(id, late, |session| {
            match session.status {
                Status::Started => {
                    session.department_id = department;
                    set_status(session, Status::Pending);
                }
                Status::Pending if roll < 60 => {
                    session.department_id = session.department_id.or(department);
                    session.user_id = agent;
                    session.time_wait = Some(span(session.updated_at.0 - session.created_at.0));
                    answer(session, text);
                    set_status(session, Status::InProgress);
                }
                _ if roll < 45 => ask(session, text),
                Status::InProgress if roll < 65 => answer(session, text),
                Status::InProgress if roll < 75 => {
                    session.department_id = department;
                    session.user_id = agent.or(session.user_id);
                }
                _ if roll < 75 => session.department_id = department,
                _ => {
                    session.end_at = Some(session.updated_at);
                    let from = session.first_response_at.unwrap_or(session.created_at);
                    session.time_service = Some(span(session.updated_at.0 - from.0));
                    session.unread_count = 0;
                    // Only who attended a session can say how it ended.
                    if session.user_id.is_some() && session.first_response_at.is_some() {
                        let category = [Category::Won, Category::Lost, Category::Info][text % 3];
                        let said = dress::classify(seed, number, category, &mut dice);
                        session.classification = Some(said);
                    }
                    set_status(session, Status::Completed);
                }
            }
            session.window_status = dress::window(session.last_message_in, session.updated_at);
        });
    }

    /// A session closed long ago is reopened, reclassified or hidden.
    fn touch_old_session(&mut self) {
        let order = &self.sessions.by_created;
        let at = self.dice.usize(..order.len().max(1));
        let Some(index) = order.slots(at, at + 1).next() else {
            return self.open_session();
        };
        let Some(slot) = self.sessions.slot(index).copied() else {
            return;
        };
        let id = self
            .session_of(index, &slot, self.sessions.changed(index))
            .id;
        let roll = self.dice.u32(..3);
        let now = self.now();
        let late = self.lateness(now);
        self.update_session_at(id, late, |session| {
            match (session.status, roll) {
                (Status::Completed, 0) => {
                    session.end_at = None;
                    let attended = session.user_id.is_some();
                    set_status(
                        session,
                        [Status::Pending, Status::InProgress][usize::from(attended)],
                    );
                }
                (Status::Completed, 1) => {
                    if let Some(classification) = &mut session.classification {
                        classification.category = Category::Other;
                        classification.amount += 10.0;
                    }
                }
                _ => session.title = Some(Cow::Borrowed("Revisado")),
            }
            session.window_status = dress::window(session.last_message_in, session.updated_at);
        });
    }

    fn touch_contact(&mut self) {
        let Some(id) = self.any_contact() else {
            return self.open_session();
        };
        let tags = self.tags();
        let tag = (!tags.is_empty()).then(|| tags[self.dice.usize(..tags.len())]);
        let roll = self.dice.u32(..100);
        let now = self.now();
        let late = self.lateness(now);
        self.update_contact_at(id, late, |contact| match (roll, tag) {
            (0..70, Some(tag)) => {
                if let Some(at) = contact.tags.iter().position(|old| *old == tag) {
                    contact.tags.remove(at);
                } else {
                    contact.tags.push(tag);
                }
            }
            (70..85, _) => contact.annotation = Some(Cow::Owned(format!("Ligação {roll}"))),
            (85..95, _) => {
                contact.status = match contact.status {
                    ContactStatus::Active => ContactStatus::Archived,
                    _ => ContactStatus::Active,
                };
            }
            _ => {
                let name = contact.name.take().unwrap_or_default();
                contact.name = Some(Cow::Owned(format!("{} ✓", name.trim_end_matches(" ✓"))));
            }
        });
    }
}

fn set_status(session: &mut Session, status: Status) {
    session.status = status;
    session.status_description = Some(Cow::Borrowed(dress::description(status)));
}

fn ask(session: &mut Session, text: usize) {
    session.unread_count += 1;
    session.last_message_in = Some(session.updated_at);
    session.last_interaction = Some(session.updated_at);
    session.last_message_text = Some(Cow::Borrowed(
        names::QUESTIONS[text % names::QUESTIONS.len()],
    ));
}

fn answer(session: &mut Session, text: usize) {
    session.unread_count = 0;
    session.first_response_at = session.first_response_at.or(Some(session.updated_at));
    session.last_message_out = Some(session.updated_at);
    session.last_interaction = Some(session.updated_at);
    session.last_message_text = Some(Cow::Borrowed(names::ANSWERS[text % names::ANSWERS.len()]));
}
