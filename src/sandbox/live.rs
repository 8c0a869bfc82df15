//! Live changes: sessions are opened, answered, transferred, completed and reopened, and contacts
//! are renamed, retagged and archived.

use std::borrow::Cow;

use uuid::Uuid;

use super::account::SandboxAccount;
use super::agenda;
use super::calendar;
use super::chance;
use super::company::NOBODY;
use super::dress;
use super::names;
use super::plan::{self, Plan};
use super::record::{Category, ContactStatus, Entry, Session, Status};
use super::segments;
use super::slots::NONE;
use super::ticks::DAY;
use super::year::span;

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
            let now = self.now().0;
            let still = self.agenda.stands_still(now);
            if let Some(index) = self.take_due() {
                self.advance_session(index);
            } else if self.takes_arrival() {
                self.open_session();
            } else {
                self.one_more(still);
            }
        }
    }

    /// A change beside what is due.
    fn one_more(&mut self, still: bool) {
        match self.dice.u32(..100) {
            0..18 if still || self.takes_extra() => self.open_session(),
            0..24 => self.touch_contact(),
            24..28 => self.touch_old_session(still),
            _ if still => self.hasten_session(),
            _ => self.talk_on(),
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
        let contact = self.caller().unwrap_or_else(|| self.new_caller());
        let mut session = self.draft_session();
        // The number under which it will be kept.
        let number = self.sessions.size();
        let writer = self.contact_slot_for(contact);
        let plan = self.year.plan(number, session.created_at.0, writer, false);
        let channels = self.channels_of(contact);
        let planned = self.company.channels.get(usize::from(plan.channel));
        if let Some(planned) = planned.filter(|planned| channels.contains(&planned.id)) {
            session.channel_id = planned.id;
        } else if !channels.is_empty() {
            session.channel_id = channels[self.dice.usize(..channels.len())];
        }
        session.contact_id = Some(contact);
        session.number = Some(Cow::Owned(format!(
            "{}{:05}",
            calendar::day_number(session.created_at.0),
            number % 100_000
        )));
        session.utm = dress::utm(plan.campaign, &mut self.dice);
        session.bot_id = if plan.bot {
            self.company.bots.first().map(|bot| bot.id)
        } else {
            None
        };
        session.unread_count = 1;
        session.last_message_text = Some(Cow::Borrowed(
            names::QUESTIONS[self.dice.usize(..names::QUESTIONS.len())],
        ));
        session.status_description = Some(Cow::Borrowed(dress::description(session.status)));
        let late = self.lateness(session.updated_at);
        let due = agenda::next(&plan, session.status);
        let id = self.insert_session_at(session, late);
        if let Some(index) = self.session_index(id) {
            self.agenda.add(due, index);
        }
    }

    /// A known contact who writes again, most of them within days; nobody who is writing already.
    fn caller(&mut self) -> Option<Uuid> {
        if self.dice.u32(..5) < 2 {
            return None;
        }
        for attempt in 0..6 {
            let id = if attempt < 3 && chance::hit(&mut self.dice, 0.36) {
                let back = chance::lognormal(&mut self.dice, 2.0 * 1_440.0, 0.9);
                let then = self.now().0 - chance::minutes(back);
                let order = &self.sessions.by_created;
                let at = order.below(then);
                let found = order.slots(at, at + 1).next();
                found
                    .and_then(|index| self.sessions.slot(index))
                    .map(|slot| slot.contact)
                    .filter(|contact| {
                        let known = self.contacts.committed(*contact);
                        known.is_some_and(|version| version.slot.alive)
                    })
                    .and_then(|contact| self.contact_id(contact))
            } else {
                self.any_contact()
            };
            if let Some(id) = id
                && !self.is_writing(id)
            {
                return Some(id);
            }
        }
        None
    }

    /// Whether a contact has an open session.
    fn is_writing(&self, contact: Uuid) -> bool {
        let Some(contact) = self.contact_index(contact) else {
            return false;
        };
        let mut open = self.open.iter();
        open.any(|index| {
            let version = self.sessions.committed(*index);
            version.is_some_and(|version| {
                let slot = version.slot;
                slot.alive && slot.status.is_open() && slot.contact == contact
            })
        })
    }

    /// Somebody who writes for the first time.
    fn new_caller(&mut self) -> Uuid {
        let first = names::FIRST_NAMES[self.dice.usize(..names::FIRST_NAMES.len())];
        let last = names::LAST_NAMES[self.dice.usize(..names::LAST_NAMES.len())];
        let mut contact = self.draft_contact(&format!("{first} {last}"));
        let number = self.contacts.size();
        if dress::is_social(self.year.seed, number) {
            contact.instagram = Some(Cow::Owned(format!("{}.{number}", dress::ascii(first))));
        } else {
            let area = names::AREA_CODES[self.dice.usize(..names::AREA_CODES.len())];
            contact.phone = Some(Cow::Owned(format!(
                "+55|{area}9{:08}",
                self.dice.u32(..100_000_000)
            )));
        }
        let segment = segments::of(self.year.seed, number);
        let month = calendar::day_number(contact.created_at.0) / 100 % 100;
        let tags = segments::tags(segment, month, &mut self.dice);
        let named = names::TAGS.len();
        let carried = self.company.tags.iter().take(named).enumerate();
        contact.tags = carried
            .filter(|(bit, tag)| tags & (1 << bit) != 0 && tag.listed)
            .map(|(_, tag)| tag.id)
            .collect();
        let late = self.lateness(contact.updated_at);
        self.insert_contact_at(contact, late)
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
    fn any_open(&mut self) -> Option<u32> {
        while !self.open.is_empty() {
            let at = self.dice.usize(..self.open.len());
            let index = self.open[at];
            let version = self.sessions.committed(index)?;
            if version.slot.alive && version.slot.status.is_open() {
                return Some(index);
            }
            self.open.swap_remove(at);
        }
        None
    }

    /// The department of a plan if there still is one, or any.
    fn planned_department(&mut self, plan: &Plan) -> Option<Uuid> {
        let planned = self.company.departments.get(usize::from(plan.department));
        let planned = planned.filter(|entry| entry.listed).map(|entry| entry.id);
        planned.or_else(|| self.any_department())
    }

    /// The agent of a plan if there still is one, or any of a department.
    fn planned_agent(&mut self, plan: &Plan, department: Option<Uuid>) -> Option<Uuid> {
        let planned = self.company.agents.get(usize::from(plan.agent));
        let planned = planned.filter(|agent| agent.listed);
        let planned = planned.map(|agent| agent.more.user_id);
        planned.or_else(|| self.any_agent(department))
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

    /// What a session's plan says comes next.
    fn advance_session(&mut self, index: u32) {
        let Some(version) = self.sessions.committed(index) else {
            return;
        };
        let slot = version.slot;
        let plan = self.plan_of(index, &slot);
        let event = match slot.status {
            Status::Started if plan.contained => Event::End,
            Status::Started => Event::Queue,
            Status::Pending if plan.answered != NONE => Event::Answer,
            _ => Event::End,
        };
        self.happen(index, &plan, event);
        let status = match event {
            Event::Queue => Status::Pending,
            Event::Answer => Status::InProgress,
            _ => return,
        };
        // What comes next comes after what was.
        let due = agenda::next(&plan, status).max(self.now().0 + 1);
        self.agenda.add(due, index);
    }

    /// The next event in an open session, ahead of its time.
    fn hasten_session(&mut self) {
        let Some(index) = self.any_open() else {
            return self.open_session();
        };
        let Some(version) = self.sessions.committed(index) else {
            return;
        };
        let plan = self.plan_of(index, &version.slot);
        let roll = self.dice.u32(..100);
        let event = match version.slot.status {
            Status::Started => Event::Queue,
            Status::Pending if roll < 60 => Event::Answer,
            _ if roll < 45 => Event::Ask,
            Status::InProgress if roll < 65 => Event::Reply,
            _ if roll < 75 => Event::Transfer,
            _ => Event::End,
        };
        self.happen(index, &plan, event);
    }

    /// Something is said in an open session, or it is handed over.
    fn talk_on(&mut self) {
        let Some(index) = self.any_open() else {
            return self.touch_contact();
        };
        let Some(version) = self.sessions.committed(index) else {
            return;
        };
        let plan = self.plan_of(index, &version.slot);
        let event = match (version.slot.status, self.dice.u32(..100)) {
            (Status::InProgress, 0..55) => Event::Reply,
            (Status::InProgress, 55..58) => Event::Transfer,
            _ => Event::Ask,
        };
        self.happen(index, &plan, event);
    }

    /// Lets something happen in a session.
    fn happen(&mut self, index: u32, plan: &Plan, event: Event) {
        let Some(version) = self.sessions.committed(index) else {
            return;
        };
        let slot = version.slot;
        let session = self.session_of(index, &slot, version.record.as_deref());
        let id = session.id;
        let department = match event {
            Event::Transfer => self.any_department(),
            _ => session
                .department_id
                .or_else(|| self.planned_department(plan)),
        };
        let agent = match event {
            Event::Transfer => self.any_agent(department),
            _ => self.planned_agent(plan, department),
        };
        let taken = agent.filter(|_| plan.agent != NOBODY);
        let (text, number) = (self.dice.usize(..1_000), self.made);
        let mut dice = fastrand::Rng::with_seed(self.dice.u64(..));
        let seed = self.year.seed;
        let late = self.lateness(self.now());
        let plan = *plan;
        self.update_session_at(id, late, |session| {
            match event {
                Event::Queue => {
                    session.department_id = department;
                    set_status(session, Status::Pending);
                }
                Event::Answer => {
                    session.department_id = department;
                    session.user_id = agent;
                    session.time_wait = Some(span(session.updated_at.0 - session.created_at.0));
                    answer(session, text);
                    set_status(session, Status::InProgress);
                }
                Event::Ask => ask(session, text),
                Event::Reply => answer(session, text),
                Event::Transfer => {
                    session.department_id = department;
                    if session.status == Status::InProgress {
                        session.user_id = agent.or(session.user_id);
                    }
                }
                Event::End => {
                    session.end_at = Some(session.updated_at);
                    session.unread_count = 0;
                    if plan.contained && session.user_id.is_none() && session.bot_id.is_some() {
                        say(session, text);
                    }
                    if let Some(from) = session.first_response_at {
                        session.time_service = Some(span(session.updated_at.0 - from.0));
                        // Only who attended a session can say how it ended.
                        if session.user_id.is_some()
                            && let Some(category) = plan.outcome
                        {
                            let said =
                                dress::classify(seed, number, category, plan.department, &mut dice);
                            session.classification = Some(said);
                        }
                    } else if !plan.contained {
                        session.time_wait = Some(span(session.updated_at.0 - session.created_at.0));
                        // Some are taken, and closed without a word.
                        session.user_id = session.user_id.or(taken);
                    }
                    set_status(session, Status::Completed);
                }
            }
            session.window_status = dress::window(session.last_message_in, session.updated_at);
        });
    }

    /// A session closed lately is reopened, or an old one gets another title or class.
    fn touch_old_session(&mut self, still: bool) {
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
        // As time passes, few are classified again.
        let roll = match self.dice.u32(..3) {
            1 if !still && self.dice.u32(..20) > 0 => 2,
            roll => roll,
        };
        let now = self.now();
        let late = self.lateness(now);
        // A conversation of last month is not gone on with: the customer begins another one.
        let young = slot.end > now.0 - 3 * DAY && !self.is_taken(&slot);
        let mut reopened = false;
        self.update_session_at(id, late, |session| {
            match (session.status, roll) {
                (Status::Completed, 0) if young => {
                    reopened = true;
                    session.end_at = None;
                    let attended = session.user_id.is_some() && session.first_response_at.is_some();
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
        if reopened {
            let due = plan::some_time_after(now, &mut self.dice);
            self.agenda.add(due, index);
        }
    }

    /// Whether the contact of a session has another one open.
    fn is_taken(&self, slot: &super::slots::SessionSlot) -> bool {
        self.contact_id(slot.contact)
            .is_some_and(|contact| self.is_writing(contact))
    }

    fn touch_contact(&mut self) {
        let Some(id) = self.any_contact() else {
            return self.open_session();
        };
        let tags = self.tags();
        let most = self.dice.usize(..tags.len().max(1));
        let tag = tags.get(self.dice.usize(..=most)).copied();
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

/// What happens in a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    /// It leaves the bot and waits.
    Queue,
    /// An agent answers for the first time.
    Answer,
    /// The customer writes.
    Ask,
    /// The agent writes.
    Reply,
    /// Another department or agent gets it.
    Transfer,
    /// It is closed.
    End,
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
    say(session, text);
}

fn say(session: &mut Session, text: usize) {
    session.last_message_out = Some(session.updated_at);
    session.last_interaction = Some(session.updated_at);
    session.last_message_text = Some(Cow::Borrowed(names::ANSWERS[text % names::ANSWERS.len()]));
}
