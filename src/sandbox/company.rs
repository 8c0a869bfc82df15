//! The small lists of an account: tags, channels, departments, agents and bots.
//!
//! They only grow. A removed entry is not listed any more but can still be referred to: on the
//! platform, old sessions keep the ids of deleted agents (API notes, 9).

use std::borrow::Cow;

use uuid::Uuid;

use super::Ticks;
use super::catalog::Catalog;
use super::ids::{self, IdKind};
use super::names;
use super::record::{
    Agent, AgentMore, Channel, ChannelMore, Department, DepartmentMore, Entry, Tag, TagMore, Text,
};
use super::staff;
use super::ticks::DAY;

/// No such index.
pub(super) const NOBODY: u16 = u16::MAX;
/// How many tags contacts can carry; further ones are listed only.
pub(super) const TAG_ROOM: usize = 128;

/// A chatbot.
#[derive(Debug, Clone)]
pub(super) struct Bot {
    pub(super) id: Uuid,
    pub(super) key: Uuid,
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    pub(super) status: &'static str,
    pub(super) usage: &'static [&'static str],
    pub(super) archived: bool,
    pub(super) created_at: Ticks,
    pub(super) updated_at: Ticks,
}

/// The lists.
#[derive(Debug, Clone)]
pub(super) struct Company {
    pub(super) id: Uuid,
    pub(super) tags: Vec<Tag>,
    pub(super) channels: Vec<Channel>,
    pub(super) departments: Vec<Department>,
    pub(super) agents: Vec<Agent>,
    pub(super) bots: Vec<Bot>,
    pub(super) catalog: Catalog,
}

fn entry<T>(seed: u64, of: IdKind, number: usize, until: Ticks, name: Text, more: T) -> Entry<T> {
    let number = u32::try_from(number).unwrap_or(u32::MAX);
    let mut dice = ids::dice(seed, of, number);
    let created = until.0 - 400 * DAY - dice.i64(0..200 * DAY);
    Entry {
        id: ids::id(seed, of, number),
        created_at: Ticks(created),
        updated_at: Ticks(created + dice.i64(0..380 * DAY)),
        name,
        listed: true,
        more,
    }
}

impl Company {
    pub(super) fn new(seed: u64, until: Ticks, agents: u32) -> Self {
        let tags = names::TAGS
            .iter()
            .enumerate()
            .map(|(number, (name, color))| {
                let more = TagMore {
                    color: color.map(Cow::Borrowed),
                    dangling: false,
                };
                entry(seed, IdKind::Tag, number, until, Cow::Borrowed(*name), more)
            })
            .collect();
        let channels = names::CHANNELS
            .iter()
            .enumerate()
            .map(|(position, (kind, session_kind, name, number, _))| {
                let last = position + 1 == names::CHANNELS.len();
                let more = ChannelMore {
                    kind,
                    session_kind,
                    active: !last,
                    number: number.map(Cow::Borrowed),
                    identity: !last,
                };
                entry(
                    seed,
                    IdKind::Channel,
                    position,
                    until,
                    Cow::Borrowed(*name),
                    more,
                )
            })
            .collect();
        let departments: Vec<Department> = names::DEPARTMENTS
            .iter()
            .enumerate()
            .map(|(number, (name, description))| {
                let more = DepartmentMore {
                    description: description.map(Cow::Borrowed),
                    is_default: number == 0,
                };
                entry(
                    seed,
                    IdKind::Department,
                    number,
                    until,
                    Cow::Borrowed(*name),
                    more,
                )
            })
            .collect();
        let agents = (0..agents)
            .map(|number| agent(seed, number, until, agents))
            .collect();
        Self {
            id: ids::id(seed, IdKind::Company, 0),
            tags,
            channels,
            departments,
            agents,
            bots: bots(seed, until),
            catalog: Catalog::new(seed, until),
        }
    }

    /// The index of a channel; one that does not exist gets one, unlisted and without a name.
    pub(super) fn channel_index(&mut self, id: Uuid) -> u16 {
        index(
            &mut self.channels,
            |entry| entry.id == id,
            || {
                unknown(
                    id,
                    ChannelMore {
                        kind: "WebChat",
                        session_kind: "WEBCHAT",
                        active: false,
                        number: None,
                        identity: false,
                    },
                )
            },
        )
    }

    /// The same for a department.
    pub(super) fn department_index(&mut self, id: Uuid) -> u16 {
        index(
            &mut self.departments,
            |entry| entry.id == id,
            || {
                unknown(
                    id,
                    DepartmentMore {
                        description: None,
                        is_default: false,
                    },
                )
            },
        )
    }

    /// The same for an agent, by its user id.
    pub(super) fn agent_index(&mut self, user_id: Uuid) -> u16 {
        index(
            &mut self.agents,
            |entry| entry.more.user_id == user_id,
            || {
                unknown(
                    user_id,
                    AgentMore {
                        user_id,
                        email: None,
                        phone: None,
                        is_owner: false,
                        available: false,
                        departments: Vec::new(),
                    },
                )
            },
        )
    }

    /// The tags of a set that contacts show.
    pub(super) fn shown_tags(&self, mask: u128) -> impl Iterator<Item = &Tag> {
        self.tags
            .iter()
            .take(TAG_ROOM)
            .enumerate()
            .filter(move |(bit, tag)| mask & (1 << bit) != 0 && (tag.listed || tag.more.dangling))
            .map(|(_, tag)| tag)
    }

    /// The set of tags that satisfy a condition.
    pub(super) fn tag_mask(&self, mut wanted: impl FnMut(&Tag) -> bool) -> u128 {
        self.tags
            .iter()
            .take(TAG_ROOM)
            .enumerate()
            .filter(|(_, tag)| wanted(tag))
            .fold(0, |mask, (bit, _)| mask | (1 << bit))
    }
}

fn unknown<T>(id: Uuid, more: T) -> Entry<T> {
    Entry {
        id,
        created_at: Ticks(0),
        updated_at: Ticks(0),
        name: Cow::Borrowed(""),
        listed: false,
        more,
    }
}

fn index<T>(list: &mut Vec<T>, found: impl FnMut(&T) -> bool, new: impl FnOnce() -> T) -> u16 {
    let position = list.iter().position(found).unwrap_or_else(|| {
        list.push(new());
        list.len() - 1
    });
    u16::try_from(position).unwrap_or(NOBODY)
}

fn agent(seed: u64, number: u32, until: Ticks, count: u32) -> Agent {
    let mut dice = ids::dice(seed, IdKind::User, number);
    let first = names::FIRST_NAMES[dice.usize(..names::FIRST_NAMES.len())];
    let last = names::LAST_NAMES[dice.usize(..names::LAST_NAMES.len())];
    let more = AgentMore {
        user_id: ids::id(seed, IdKind::User, number),
        email: Some(Cow::Owned(format!("agente{number}@loja-ipe.example"))),
        phone: (dice.u32(..2) == 0)
            .then(|| Cow::Owned(format!("+55|119{:08}", dice.u32(..100_000_000)))),
        is_owner: number == 0,
        available: dice.u32(..3) != 0,
        departments: staff::departments_of(seed, number, count),
    };
    entry(
        seed,
        IdKind::Agent,
        number as usize,
        until,
        Cow::Owned(format!("{first} {last}")),
        more,
    )
}

fn bots(seed: u64, until: Ticks) -> Vec<Bot> {
    [
        ("Boas-vindas", "Reactive", "READY", &["Api"][..], false),
        (
            "Menu principal",
            "Reactive",
            "READY",
            &["Manual"][..],
            false,
        ),
        (
            "Pesquisa de satisfação",
            "Automation",
            "READY",
            &["Campaign", "Sequence"][..],
            false,
        ),
        (
            "Natal (rascunho)",
            "Automation",
            "NOT_PUBLISHED",
            &[][..],
            true,
        ),
    ]
    .into_iter()
    .zip(0_u32..)
    .map(|((name, kind, status, usage, archived), number)| {
        let dates = entry(
            seed,
            IdKind::Bot,
            number as usize,
            until,
            Cow::Borrowed(name),
            (),
        );
        Bot {
            id: dates.id,
            key: ids::id(seed, IdKind::BotKey, number),
            name,
            kind,
            status,
            usage,
            archived,
            created_at: dates.created_at,
            updated_at: dates.updated_at,
        }
    })
    .collect()
}
