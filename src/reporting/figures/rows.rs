//! A row for each agent, department, channel, campaign, tag or reason.

use super::group::{Group, Part, Share};
use super::{Bucket, By, Computing};
use crate::reporting::session::{Campaign, Fact, Kept, OpenSession, Stage};
use crate::reporting::times::Times;
use chrono::NaiveDate;
use serde::Serialize;
use std::collections::HashMap;
use uuid::Uuid;

/// What a row of a breakdown is of.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(untagged)]
pub enum Key {
    /// Sessions that have none.
    None,
    /// All that are not shown one by one, and how many those are.
    Rest(u64),
    /// From this day on.
    Date(NaiveDate),
    /// An hour of the clock.
    Hour(u32),
    /// A name, and whether it was removed.
    Named {
        /// The name.
        name: String,
        /// Its id.
        id: Uuid,
    },
    /// A campaign or ad.
    Campaign(Campaign),
    /// An outcome and a reason.
    Reason {
        /// The outcome.
        outcome: String,
        /// The reason, if there is one.
        reason: Option<String>,
    },
    /// A stage.
    Stage(Stage),
}

/// A row of a breakdown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// What it is of.
    pub key: Key,
    /// Its figures.
    pub group: Group,
}

/// A record that sessions name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Its id.
    pub id: Uuid,
    /// What it is called; the first name is shown.
    pub names: Vec<String>,
    /// Whether it was deleted.
    pub is_removed: bool,
}

impl Named {
    /// The name that is shown: the first one, else the beginning of the id.
    pub fn shown(&self) -> String {
        let name = self.names.first().filter(|name| !name.trim().is_empty());
        name.cloned().unwrap_or_else(|| shortened(self.id))
    }
}

pub(super) fn shortened(id: Uuid) -> String {
    id.to_string().chars().take(8).collect()
}

/// The records that sessions name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names {
    /// Channels.
    pub channels: Vec<Named>,
    /// Departments.
    pub departments: Vec<Named>,
    /// Agents, by the ids of their users.
    pub agents: Vec<Named>,
    /// Tags.
    pub tags: Vec<Named>,
}

/// Names to show, looked up by id.
pub(super) struct Lookup<'a> {
    names: HashMap<Uuid, &'a Named>,
}

impl<'a> Lookup<'a> {
    pub(super) fn new(list: &'a [Named]) -> Self {
        Self {
            names: list.iter().map(|it| (it.id, it)).collect(),
        }
    }

    pub(super) fn key(&self, id: Option<Uuid>) -> Key {
        id.map_or(Key::None, |id| Key::Named {
            name: self
                .names
                .get(&id)
                .map_or_else(|| shortened(id), |named| named.shown()),
            id,
        })
    }
}

/// Rows of groups, the largest first.
pub(super) fn ranked(groups: Vec<(u32, Group)>, key: impl Fn(u32) -> Key) -> Vec<Row> {
    let rows = groups.into_iter();
    let mut rows: Vec<Row> = rows
        .map(|(number, group)| Row {
            key: key(number),
            group,
        })
        .collect();
    sort(&mut rows);
    rows
}

/// The largest first, by name where they are equal, and those without a key last.
pub(super) fn sort(rows: &mut [Row]) {
    rows.sort_by(|a, b| {
        let is_none = |row: &Row| match &row.key {
            Key::None => true,
            Key::Reason { outcome, .. } => outcome == "none",
            _ => false,
        };
        let size = |row: &Row| match row.key {
            // Outcomes are of sessions that ended.
            Key::Reason { .. } => (row.group.completed, row.group.opened),
            _ => (row.group.opened, row.group.completed),
        };
        is_none(a)
            .cmp(&is_none(b))
            .then_with(|| size(b).cmp(&size(a)))
            .then_with(|| a.key.cmp(&b.key))
    });
}

/// Replaces agents' names by numbers, in their order.
pub(super) fn number_agents(rows: &mut [Row]) {
    let mut number = 0;
    for row in rows {
        if let Key::Named { name, id } = &mut row.key {
            number += 1;
            *name = number.to_string();
            *id = Uuid::from_u128(number);
        }
    }
}

/// The first rows, and one for all others; rows without a key are never left out. The figures of the rest
/// that cannot be added up are `None`.
pub fn shortened_rows(rows: &[Row], most: usize) -> Vec<Row> {
    let (keyed, unkeyed): (Vec<&Row>, Vec<&Row>) =
        rows.iter().partition(|row| row.key != Key::None);
    let mut shown: Vec<Row> = keyed.iter().take(most).copied().cloned().collect();
    let rest = keyed.get(most..).unwrap_or_default();
    if !rest.is_empty() {
        shown.push(Row {
            key: Key::Rest(rest.len() as u64),
            group: added(rest),
        });
    }
    shown.extend(unkeyed.into_iter().cloned());
    shown
}

/// What can be added up of some rows.
pub(super) fn added(rows: &[&Row]) -> Group {
    let mut sum = Group::default();
    let share = |into: &mut Share, other: Share| {
        into.of += other.of;
        into.n += other.n;
    };
    let times = |into: &mut Times, other: &Times| {
        into.n += other.n;
        into.sum += other.sum;
        into.average = Share::new(into.sum, into.n).value();
    };
    for Row { group, .. } in rows {
        sum.opened += group.opened;
        sum.closed += group.closed;
        sum.answered += group.answered;
        sum.closed_unanswered += group.closed_unanswered;
        sum.lost_in_queue += group.lost_in_queue;
        sum.bot_only += group.bot_only;
        sum.completed += group.completed;
        sum.won += group.won;
        sum.lost += group.lost;
        sum.info += group.info;
        sum.other += group.other;
        sum.classified += group.classified;
        sum.amount_won += group.amount_won;
        sum.amounts += group.amounts;
        sum.open_now += group.open_now;
        share(&mut sum.returned, group.returned);
        share(&mut sum.sla_wait, group.sla_wait);
        share(&mut sum.sla_first_response, group.sla_first_response);
        share(&mut sum.sla_service, group.sla_service);
        share(&mut sum.sla_resolution, group.sla_resolution);
        times(&mut sum.wait, &group.wait);
        times(&mut sum.first_response, &group.first_response);
        times(&mut sum.first_response_open, &group.first_response_open);
        times(&mut sum.service, &group.service);
        times(&mut sum.resolution, &group.resolution);
        times(&mut sum.resolution_open, &group.resolution_open);
        times(&mut sum.conversation, &group.conversation);
    }
    sum
}

impl Computing<'_> {
    pub(super) fn breakdown(&self, by: By) -> Vec<Row> {
        let facts = self.facts;
        match by {
            By::Day => self.by_date(Bucket::Day),
            By::Week => self.by_date(Bucket::Week),
            By::Month => self.by_date(Bucket::Month),
            By::Hour => self.by_hour(),
            By::Tag => self.by_tag(),
            By::Channel => self.by_name(
                &self.names.channels,
                |fact| fact.channel,
                |open| open.session.channel,
                |key| facts.channels.value(key).copied(),
            ),
            By::Department => self.by_name(
                &self.names.departments,
                |fact| fact.department,
                |open| open.session.department,
                |key| facts.departments.value(key).copied(),
            ),
            By::Agent => self.by_name(
                &self.names.agents,
                |fact| fact.agent,
                |open| open.session.agent,
                |key| facts.agents.value(key).copied(),
            ),
            By::Campaign => {
                let groups = self.groups(self.parts(&self.stretch, |fact| fact.campaign));
                ranked(groups, |key| {
                    let campaign = facts.campaigns.value(key);
                    campaign.map_or(Key::None, |it| Key::Campaign(it.clone()))
                })
            }
            By::Reason => {
                let outcomes = u32::try_from(facts.outcomes.len() + 1).unwrap_or(u32::MAX);
                let key = |fact: &Fact| fact.reason * outcomes + fact.outcome;
                let groups = self.groups(self.parts(&self.stretch, key));
                ranked(groups, |key| Key::Reason {
                    outcome: facts
                        .outcomes
                        .value(key % outcomes)
                        .cloned()
                        .unwrap_or_default(),
                    reason: facts.reasons.value(key / outcomes).cloned(),
                })
            }
            By::Status => {
                let parts = self.parts(&self.stretch, |fact| fact.stage as u32);
                let groups = self.groups(parts);
                let stage = |key: u32| {
                    let stage = Stage::ALL.into_iter().find(|&stage| stage as u32 == key);
                    Key::Stage(stage.unwrap_or(Stage::Other))
                };
                let mut rows: Vec<Row> = groups
                    .into_iter()
                    .map(|(key, group)| Row {
                        key: stage(key),
                        group,
                    })
                    .collect();
                for row in &mut rows {
                    row.group.open_now = match row.key {
                        Key::Stage(stage) => {
                            let at = |open: &&OpenSession| open.session.stage() == stage;
                            self.open.iter().filter(at).count() as u64
                        }
                        _ => 0,
                    };
                }
                rows
            }
        }
    }

    /// By a record that has a name. Those that were not removed have a row in any case.
    pub(super) fn by_name(
        &self,
        list: &[Named],
        key: impl Fn(&Fact) -> u32,
        of_open: impl Fn(&OpenSession) -> Option<Uuid>,
        id: impl Fn(u32) -> Option<Uuid>,
    ) -> Vec<Row> {
        let mut open: HashMap<Option<Uuid>, u64> = HashMap::new();
        for session in self.open {
            *open.entry(of_open(session)).or_default() += 1;
        }
        let lookup = Lookup::new(list);
        let groups = self.groups(self.parts(&self.stretch, key));
        let mut groups: HashMap<Option<Uuid>, Group> = groups
            .into_iter()
            .map(|(key, group)| (id(key), group))
            .collect();
        for id in open.keys() {
            groups.entry(*id).or_default();
        }
        for named in list.iter().filter(|named| !named.is_removed) {
            groups.entry(Some(named.id)).or_default();
        }
        let mut rows: Vec<Row> = groups
            .into_iter()
            .map(|(id, mut group)| {
                group.open_now = open.get(&id).copied().unwrap_or(0);
                Row {
                    key: lookup.key(id),
                    group,
                }
            })
            .collect();
        sort(&mut rows);
        rows
    }

    /// By what is common to several campaigns; `None` stands for none.
    pub(super) fn by_campaign(&self, common: impl Fn(&Campaign) -> Option<Campaign>) -> Vec<Row> {
        let mut kept = Kept::default();
        let numbers: Vec<u32> = self
            .facts
            .campaigns
            .values()
            .iter()
            .map(|campaign| kept.maybe(common(campaign)))
            .collect();
        let number = |fact: &Fact| {
            let place = (fact.campaign as usize).checked_sub(1);
            place.map_or(0, |place| numbers[place])
        };
        ranked(self.groups(self.parts(&self.stretch, number)), |key| {
            let campaign = kept.value(key);
            campaign.map_or(Key::None, |it| Key::Campaign(it.clone()))
        })
    }

    /// By tag: a session with two is in two rows.
    pub(super) fn by_tag(&self) -> Vec<Row> {
        let facts = self.facts;
        let mut numbers: HashMap<Uuid, u32> = HashMap::new();
        let mut ids: Vec<Uuid> = Vec::new();
        let sets: Vec<Vec<u32>> = facts
            .tag_sets
            .values()
            .iter()
            .map(|set| {
                let mut set: Vec<u32> = set
                    .iter()
                    .map(|&id| {
                        *numbers.entry(id).or_insert_with(|| {
                            ids.push(id);
                            u32::try_from(ids.len()).unwrap_or(u32::MAX)
                        })
                    })
                    .collect();
                set.sort_unstable();
                set.dedup();
                set
            })
            .collect();
        let mut parts = Vec::new();
        for part in self.parts(&self.stretch, |fact| fact.tags) {
            match (part.key as usize).checked_sub(1) {
                None => parts.push(part),
                Some(set) => parts.extend(sets[set].iter().map(|&key| Part { key, ..part })),
            }
        }
        let lookup = Lookup::new(&self.names.tags);
        ranked(self.groups(parts), |key| {
            let place = (key as usize).checked_sub(1);
            lookup.key(place.and_then(|place| ids.get(place)).copied())
        })
    }
}
