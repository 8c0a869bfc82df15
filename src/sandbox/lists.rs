//! Changes to the small lists, and everything that a complete mirror must contain.

use std::borrow::Cow;

use serde_json::Value;
use uuid::Uuid;

use super::Ticks;
use super::account::SandboxAccount;
use super::company::NOBODY;
use super::record::{AgentMore, ChannelMore, Contact, DepartmentMore, Entry, Session, TagMore};
use super::render::{ContactDetails, View};
use super::slots::{ContactSlot, SessionSlot};

fn entry<T>(id: Uuid, at: Ticks, name: &str, more: T) -> Entry<T> {
    Entry {
        id,
        created_at: at,
        updated_at: at,
        name: Cow::Owned(name.to_owned()),
        listed: true,
        more,
    }
}

macro_rules! list {
    ($list:ident, $key:expr, $list_doc:literal, $rename:ident, $rename_doc:literal,
     $remove:ident, $remove_doc:literal, $restore:ident, $restore_doc:literal) => {
        #[doc = $rename_doc]
        pub fn $rename(&mut self, id: Uuid, name: &str) -> bool {
            let at = self.stamp();
            self.lists_mut()
                .$list
                .iter_mut()
                .find(|entry| $key(entry) == id)
                .is_some_and(|entry| {
                    entry.name = Cow::Owned(name.to_owned());
                    entry.updated_at = at;
                    true
                })
        }

        #[doc = $remove_doc]
        pub fn $remove(&mut self, id: Uuid) -> bool {
            self.lists_mut()
                .$list
                .iter_mut()
                .find(|entry| $key(entry) == id)
                .is_some_and(|entry| {
                    entry.listed = false;
                    true
                })
        }

        #[doc = $restore_doc]
        pub fn $restore(&mut self, id: Uuid) -> bool {
            self.lists_mut()
                .$list
                .iter_mut()
                .find(|entry| $key(entry) == id)
                .is_some_and(|entry| {
                    entry.listed = true;
                    true
                })
        }

        #[doc = $list_doc]
        pub fn $list(&self) -> Vec<Uuid> {
            self.company
                .$list
                .iter()
                .filter(|entry| entry.listed)
                .map($key)
                .collect()
        }
    };
}

impl SandboxAccount {
    list!(
        tags,
        |tag: &Entry<TagMore>| tag.id,
        "Ids of the tags that the list shows.",
        rename_tag,
        "Renames a tag.",
        remove_tag,
        "Removes a tag from the list and from every contact, whose `updatedAt` does not move.",
        restore_tag,
        "Shows a removed tag again, on its contacts too."
    );
    list!(
        channels,
        |channel: &Entry<ChannelMore>| channel.id,
        "Ids of the channels that the list shows.",
        rename_channel,
        "Renames a channel.",
        remove_channel,
        "Removes a channel from the list; sessions go on naming it.",
        restore_channel,
        "Shows a removed channel again."
    );
    list!(
        departments,
        |department: &Entry<DepartmentMore>| department.id,
        "Ids of the departments that the list shows.",
        rename_department,
        "Renames a department.",
        remove_department,
        "Removes a department from the list; sessions go on naming it.",
        restore_department,
        "Shows a removed department again."
    );
    list!(
        agents,
        |agent: &Entry<AgentMore>| agent.more.user_id,
        "User ids of the agents that the list shows.",
        rename_agent,
        "Renames an agent, by user id.",
        remove_agent,
        "Removes an agent from the list, by user id; sessions go on naming it.",
        restore_agent,
        "Shows a removed agent again, by user id."
    );

    /// Removes a tag from the list only: contacts keep it (API notes, 16).
    pub fn remove_tag_but_keep_it_on_contacts(&mut self, id: Uuid) -> bool {
        self.lists_mut()
            .tags
            .iter_mut()
            .find(|tag| tag.id == id)
            .is_some_and(|tag| {
                tag.listed = false;
                tag.more.dangling = true;
                true
            })
    }

    /// Adds a tag; names need not be unique. Contacts can carry the first 128 only.
    pub fn add_tag(&mut self, name: &str) -> Uuid {
        let (id, at) = (self.new_id(), self.stamp());
        let more = TagMore {
            color: Some(Cow::Borrowed("BLUE_300")),
            dangling: false,
        };
        self.lists_mut().tags.push(entry(id, at, name, more));
        id
    }

    /// Adds a `WhatsApp` channel.
    pub fn add_channel(&mut self, name: &str) -> Uuid {
        let (id, at) = (self.new_id(), self.stamp());
        let more = ChannelMore {
            kind: "CloudAPI_WhatsApp",
            session_kind: "CLOUDAPI_WHATSAPP",
            active: true,
            number: Some(Cow::Borrowed("5511900000199")),
            identity: true,
        };
        self.lists_mut().channels.push(entry(id, at, name, more));
        id
    }

    /// Adds a department.
    pub fn add_department(&mut self, name: &str) -> Uuid {
        let (id, at) = (self.new_id(), self.stamp());
        let more = DepartmentMore {
            description: None,
            is_default: false,
        };
        self.lists_mut().departments.push(entry(id, at, name, more));
        id
    }

    /// Adds an agent of the first department; the answer is its user id.
    pub fn add_agent(&mut self, name: &str) -> Uuid {
        let (id, user_id, at) = (self.new_id(), self.new_id(), self.stamp());
        let more = AgentMore {
            user_id,
            email: None,
            phone: None,
            is_owner: false,
            available: true,
            departments: if self.company.departments.is_empty() {
                Vec::new()
            } else {
                vec![0]
            },
        };
        self.lists_mut().agents.push(entry(id, at, name, more));
        user_id
    }

    /// The visible session with this id.
    pub fn session(&mut self, id: Uuid) -> Option<Session> {
        self.settle();
        let index = self.session_index(id)?;
        let slot = self.sessions.slot(index).filter(|slot| slot.alive)?;
        Some(self.session_of(index, slot, self.sessions.changed(index)))
    }

    /// The visible contact with this id.
    pub fn contact(&mut self, id: Uuid) -> Option<Contact> {
        self.settle();
        let index = self.contact_index(id)?;
        let slot = self.contacts.slot(index).filter(|slot| slot.alive)?;
        Some(self.contact_of(index, slot, self.contacts.changed(index)))
    }

    /// Ids of the visible sessions, oldest first.
    pub fn session_ids(&mut self) -> Vec<Uuid> {
        self.settle();
        let order = &self.sessions.by_created;
        order
            .slots(0, order.len())
            .filter_map(|index| {
                let slot = self.sessions.slot(index)?;
                Some(
                    self.session_of(index, slot, self.sessions.changed(index))
                        .id,
                )
            })
            .collect()
    }

    /// Ids of the visible contacts, oldest first.
    pub fn contact_ids(&mut self) -> Vec<Uuid> {
        self.settle();
        let order = &self.contacts.by_created;
        order
            .slots(0, order.len())
            .filter_map(|index| self.contact_id(index))
            .collect()
    }

    /// Visible sessions.
    pub fn session_count(&mut self) -> usize {
        self.settle();
        self.sessions.by_created.len()
    }

    /// Visible contacts, of any status.
    pub fn contact_count(&mut self) -> usize {
        self.settle();
        self.contacts.by_created.len()
    }

    fn true_session(&self, session: &Session, slot: &SessionSlot) -> Option<Value> {
        let shown = parsed(|out| self.render_session(out, session, slot, View::TRUTH));
        let seen = !self.is_ghost(session.id);
        seen.then(|| self.with_shown_stamp(session.id, shown))
    }

    fn true_contact(&self, contact: &Contact, slot: &ContactSlot) -> Option<Value> {
        let details = ContactDetails::ALL;
        let shown = parsed(|out| self.render_contact(out, contact, slot, details, true));
        let seen = !self.is_ghost(contact.id);
        seen.then(|| self.with_shown_stamp(contact.id, shown))
    }

    fn true_list<T>(
        &self,
        list: &[Entry<T>],
        render: impl Fn(&mut Vec<u8>, &Entry<T>),
    ) -> Vec<Value> {
        let listed = list.iter().filter(|entry| entry.listed);
        listed
            .map(|entry| self.with_shown_stamp(entry.id, parsed(|out| render(out, entry))))
            .collect()
    }

    /// All visible sessions as the second version shows them with all details, oldest first: no
    /// poison but for what is the platform's own truth (a broken `updatedAt`, ghosts, which are
    /// left out), and every null field present.
    pub fn truth_sessions(&mut self) -> Vec<Value> {
        self.settle();
        let order = &self.sessions.by_created;
        order
            .slots(0, order.len())
            .filter_map(|index| {
                let slot = self.sessions.slot(index)?;
                let session = self.session_of(index, slot, self.sessions.changed(index));
                self.true_session(&session, slot)
            })
            .collect()
    }

    /// The same for all stored changes, including those that are not visible yet.
    pub fn committed_sessions(&mut self) -> Vec<Value> {
        self.settle();
        (0..self.sessions.size())
            .filter_map(|index| {
                let version = self.sessions.committed(index)?;
                let slot = version.slot;
                let session = self.session_of(index, &slot, version.record.as_deref());
                self.true_session(&session, &slot).filter(|_| slot.alive)
            })
            .collect()
    }

    /// The same of all visible contacts of every status, also of one that no list shows.
    pub fn truth_contacts(&mut self) -> Vec<Value> {
        self.settle();
        let order = &self.contacts.by_created;
        order
            .slots(0, order.len())
            .filter_map(|index| {
                let slot = self.contacts.slot(index)?;
                let contact = self.contact_of(index, slot, self.contacts.changed(index));
                self.true_contact(&contact, slot)
            })
            .collect()
    }

    /// The same for all stored changes, including those that are not visible yet.
    pub fn committed_contacts(&mut self) -> Vec<Value> {
        self.settle();
        (0..self.contacts.size())
            .filter_map(|index| {
                let version = self.contacts.committed(index)?;
                let slot = version.slot;
                if !slot.alive {
                    return None;
                }
                let contact = self.contact_of(index, &slot, version.record.as_deref());
                self.true_contact(&contact, &slot)
            })
            .collect()
    }

    /// The tags that the list shows.
    pub fn truth_tags(&self) -> Vec<Value> {
        self.true_list(&self.company.tags, |out, entry| self.render_tag(out, entry))
    }

    /// The channels that the list shows.
    pub fn truth_channels(&self) -> Vec<Value> {
        self.true_list(&self.company.channels, |out, entry| {
            self.render_channel(out, entry);
        })
    }

    /// The departments that the list shows.
    pub fn truth_departments(&self) -> Vec<Value> {
        self.true_list(&self.company.departments, |out, entry| {
            self.render_department(out, entry, false, (true, true));
        })
    }

    /// The agents that the list shows.
    pub fn truth_agents(&self) -> Vec<Value> {
        self.true_list(&self.company.agents, |out, entry| {
            self.render_agent(out, entry);
        })
    }

    /// The chatbots.
    pub fn truth_chatbots(&self) -> Vec<Value> {
        let bots = self.company.bots.iter();
        bots.map(|bot| parsed(|out| self.render_bot(out, bot)))
            .collect()
    }

    /// An agent's index, for callers that start from its department.
    pub(super) fn department_of(&self, id: Option<Uuid>) -> u16 {
        id.and_then(|id| {
            self.company
                .departments
                .iter()
                .position(|entry| entry.id == id)
        })
        .and_then(|index| u16::try_from(index).ok())
        .unwrap_or(NOBODY)
    }
}

fn parsed(write: impl FnOnce(&mut Vec<u8>)) -> Value {
    let mut out = Vec::new();
    write(&mut out);
    serde_json::from_slice(&out).expect("the renderer writes JSON")
}
