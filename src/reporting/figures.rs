//! The figures of a report, computed from the sessions that were read.
//!
//! Each figure belongs to the day on which its session was created, or on which it ended, as in the views.
//! Must not know how figures are shown.

use std::collections::HashMap;

use chrono::{Days, NaiveDate};
use serde::Serialize;
use uuid::Uuid;

use super::days::{Day, days};
use super::period::Period;
use super::session::{
    Attendance, Calibration, Campaign, Fact, Facts, Kept, NONE, OpenSession, Quality, Stage,
    hour_of, place_of,
};
use super::times::Times;
use crate::data::Timestamp;

const MICROS: i64 = 1_000_000;

/// By what a report breaks its figures down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// Local days.
    Day,
    /// Weeks.
    Week,
    /// Months.
    Month,
    /// Hours of the clock.
    Hour,
    /// Channels.
    Channel,
    /// Departments.
    Department,
    /// Agents.
    Agent,
    /// Tags.
    Tag,
    /// Campaigns and ads.
    Campaign,
    /// Why sessions ended as they did.
    Reason,
    /// Statuses.
    Status,
}

impl By {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Day,
        Self::Week,
        Self::Month,
        Self::Hour,
        Self::Channel,
        Self::Department,
        Self::Agent,
        Self::Tag,
        Self::Campaign,
        Self::Reason,
        Self::Status,
    ];

    /// As typed on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Hour => "hour",
            Self::Channel => "channel",
            Self::Department => "department",
            Self::Agent => "agent",
            Self::Tag => "tag",
            Self::Campaign => "campaign",
            Self::Reason => "reason",
            Self::Status => "status",
        }
    }

    /// Whether it is a stretch of time, so that what is created and what ends may fall into different ones.
    pub const fn is_time(self) -> bool {
        matches!(self, Self::Day | Self::Week | Self::Month | Self::Hour)
    }
}

/// The days that a bar of a chart stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Bucket {
    /// One.
    Day,
    /// A week.
    Week,
    /// A month.
    Month,
}

impl Bucket {
    /// That which makes a chart of so many days readable.
    pub const fn for_days(days: u64) -> Self {
        match days {
            0..=62 => Self::Day,
            63..=400 => Self::Week,
            _ => Self::Month,
        }
    }

    fn of(self, day: &Day, week_starts_on: u32) -> NaiveDate {
        match self {
            Self::Day => day.date,
            Self::Week => day.week(week_starts_on),
            Self::Month => day.month(),
        }
    }
}

/// Shares: how many, among how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Share {
    /// How many.
    pub of: u64,
    /// Among how many.
    pub n: u64,
}

impl Share {
    /// So many among so many.
    pub const fn new(of: u64, n: u64) -> Self {
        Self { of, n }
    }

    /// Their quotient; `None` among none.
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    pub fn value(self) -> Option<f64> {
        (self.n > 0).then(|| self.of as f64 / self.n as f64)
    }

    fn add(&mut self, is: Option<bool>) {
        if let Some(is) = is {
            self.of += u64::from(is);
            self.n += 1;
        }
    }
}

/// The figures of some sessions.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Group {
    /// Created.
    pub opened: u64,
    /// Of these, created in open hours; `None` if none are configured.
    pub opened_open: Option<u64>,
    /// Contacts with a session that was created.
    pub contacts: u64,
    /// Of these, with no session before.
    pub new_contacts: u64,
    /// Created, and of a contact.
    pub with_contact: u64,
    /// Of those created, over.
    pub closed: u64,
    /// Of these, answered.
    pub answered: u64,
    /// Of these, closed by an agent without an answer.
    pub closed_unanswered: u64,
    /// Of these, ended in the queue.
    pub lost_in_queue: u64,
    /// Of these, ended with the bot.
    pub bot_only: u64,
    /// Ended.
    pub completed: u64,
    /// Of these, won.
    pub won: u64,
    /// Of these, lost.
    pub lost: u64,
    /// Of these, questions.
    pub info: u64,
    /// Of these, another outcome.
    pub other: u64,
    /// Of these, with any outcome.
    pub classified: u64,
    /// The amount of those won.
    pub amount_won: f64,
    /// How many of those won have an amount.
    pub amounts: u64,
    /// Of those that ended, with a contact that came back within 7 days.
    pub returned: Share,
    /// The platform's waiting time, of those created.
    pub wait: Times,
    /// Time to the first response, of those created.
    pub first_response: Times,
    /// The same within open hours.
    pub first_response_open: Times,
    /// The platform's service time, of those that ended.
    pub service: Times,
    /// Time from creation to the end, of those that ended.
    pub resolution: Times,
    /// The same within open hours.
    pub resolution_open: Times,
    /// Time from the first response to the end, of those that ended.
    pub conversation: Times,
    /// In time: waiting.
    pub sla_wait: Share,
    /// In time: first response.
    pub sla_first_response: Share,
    /// In time: service.
    pub sla_service: Share,
    /// In time: resolution.
    pub sla_resolution: Share,
    /// On how many days a session ended.
    pub days_active: u64,
    /// Open now.
    pub open_now: u64,
}

impl Group {
    /// Answered among those that are over.
    pub const fn answered_share(&self) -> Share {
        Share::new(self.answered, self.closed)
    }

    /// Won among those won or lost.
    pub const fn win_rate(&self) -> Share {
        Share::new(self.won, self.won + self.lost)
    }

    /// What was won with a session, on average.
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    pub fn ticket(&self) -> Option<f64> {
        (self.amounts > 0).then(|| self.amount_won / self.amounts as f64)
    }
}

/// A session's part in a group.
#[derive(Debug, Clone, Copy)]
struct Part {
    key: u32,
    fact: u32,
    is_opened: bool,
    is_ended: bool,
}

/// A period in instants, and its days.
struct Stretch {
    starts: i64,
    ends: i64,
    days: Vec<Day>,
    day_starts: Vec<i64>,
}

impl Stretch {
    fn new(period: &Period, facts: &Facts) -> Self {
        let zone = facts.frame.zone();
        let (starts, ends) = period.instants(zone);
        let days = days(zone, period.from, period.to + Days::new(1));
        let day_starts = days.iter().map(|day| day.starts_at).collect();
        Self {
            starts,
            ends,
            days,
            day_starts,
        }
    }

    fn has(&self, at: i64) -> bool {
        (self.starts..self.ends).contains(&at)
    }

    fn has_end(&self, fact: &Fact) -> bool {
        fact.ended.is_some_and(|at| self.has(at))
    }

    /// The place of the day of an instant within the period.
    fn day(&self, at: i64) -> Option<usize> {
        let end = self.days.last()?.ends_at;
        place_of(&self.day_starts, end, at.div_euclid(MICROS)).filter(|_| self.has(at))
    }
}

/// The figures of some parts.
fn group(facts: &Facts, stretch: &Stretch, parts: &[Part]) -> Group {
    let mut group = Group::default();
    let mut contacts: Vec<(u32, bool)> = Vec::new();
    let mut active: Vec<usize> = Vec::new();
    let [mut wait, mut first, mut first_open]: [Vec<u32>; 3] = Default::default();
    let [
        mut service,
        mut resolution,
        mut resolution_open,
        mut conversation,
    ]: [Vec<u32>; 4] = Default::default();
    let push = |into: &mut Vec<u32>, value: u32| {
        if value != NONE {
            into.push(value);
        }
    };
    let mut opened_open = 0;
    for part in parts {
        let fact = &facts.list[part.fact as usize];
        if part.is_opened {
            group.opened += 1;
            opened_open += u64::from(fact.arrived_open == Some(true));
            if fact.contact > 0 {
                group.with_contact += 1;
                contacts.push((fact.contact, fact.is_new_contact == Some(true)));
            }
            if let Some(attendance) = fact.attendance {
                group.closed += 1;
                match attendance {
                    Attendance::Answered => group.answered += 1,
                    Attendance::Assigned => group.closed_unanswered += 1,
                    Attendance::Queue => group.lost_in_queue += 1,
                    Attendance::Bot => group.bot_only += 1,
                    Attendance::Nobody => {}
                }
            }
            push(&mut wait, fact.wait);
            push(&mut first, fact.first_response);
            push(&mut first_open, fact.first_response_open);
            group.sla_wait.add(fact.within[0]);
            group.sla_first_response.add(fact.within[1]);
        }
        if part.is_ended {
            group.completed += 1;
            group.classified += u64::from(fact.outcome != 1);
            match fact.outcome {
                2 => group.won += 1,
                3 => group.lost += 1,
                4 => group.info += 1,
                5 => group.other += 1,
                _ => {}
            }
            group.amount_won += fact.amount;
            group.amounts += u64::from(fact.amount > 0.0);
            group.returned.add(fact.returned);
            push(&mut service, fact.service);
            push(&mut resolution, fact.resolution);
            push(&mut resolution_open, fact.resolution_open);
            push(&mut conversation, fact.conversation);
            group.sla_service.add(fact.within[2]);
            group.sla_resolution.add(fact.within[3]);
            active.extend(fact.ended.and_then(|at| stretch.day(at)));
        }
    }
    contacts.sort_unstable();
    contacts.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        kept.1 |= same && next.1;
        same
    });
    group.contacts = contacts.len() as u64;
    group.new_contacts = contacts.iter().filter(|(_, is_new)| *is_new).count() as u64;
    active.sort_unstable();
    active.dedup();
    group.days_active = active.len() as u64;
    let has_hours = facts.frame.settings.hours.are_known();
    group.opened_open = has_hours.then_some(opened_open);
    group.wait = Times::of(&mut wait);
    group.first_response = Times::of(&mut first);
    group.first_response_open = Times::of(&mut first_open);
    group.service = Times::of(&mut service);
    group.resolution = Times::of(&mut resolution);
    group.resolution_open = Times::of(&mut resolution_open);
    group.conversation = Times::of(&mut conversation);
    group
}

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

fn shortened(id: Uuid) -> String {
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

/// What a bar of a chart of time shows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bar {
    /// The first day, of those in the period.
    pub from: NaiveDate,
    /// The last one.
    pub to: NaiveDate,
    /// Whether it is a day on which hardly anybody works: a Saturday, Sunday or holiday.
    pub is_quiet: bool,
    /// Created.
    pub opened: u64,
    /// Ended.
    pub completed: u64,
    /// Open when it ended; `None` if that is yet to come.
    pub open_at_end: Option<u64>,
    /// Created in the same place of the compared period.
    pub opened_before: Option<u64>,
    /// Time to the first response.
    pub first_response: Times,
    /// The same within open hours.
    pub first_response_open: Times,
}

/// The longest durations of classes of time to the first response, in seconds; a last class is longer.
pub const CLASSES: [u32; 6] = [60, 300, 900, 3_600, 4 * 3_600, 24 * 3_600];

/// How long people waited for a response: how many in each class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Classes {
    /// In each class of [`CLASSES`] and longer.
    pub counts: [u64; 7],
    /// Without a response.
    pub unanswered: u64,
}

impl Classes {
    fn add(&mut self, seconds: u32) {
        let place = CLASSES.iter().position(|&most| seconds <= most);
        self.counts[place.unwrap_or(CLASSES.len())] += 1;
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum::<u64>() + self.unanswered
    }
}

/// An hour of a weekday.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Cell {
    /// Created.
    pub opened: u64,
    /// How many such hours the period has.
    pub times: u64,
    /// Time to the first response.
    pub first_response: Times,
    /// The same within open hours.
    pub first_response_open: Times,
    /// Whether it lies in open hours; `None` if none are configured.
    pub is_open: Option<bool>,
}

impl Cell {
    /// Created in such an hour, on average.
    pub fn average(&self) -> Option<f64> {
        Share::new(self.opened, self.times).value()
    }
}

/// The ages by which open sessions are counted, in seconds; a last class is older.
pub const AGES: [i64; 6] = [3_600, 14_400, 86_400, 259_200, 604_800, 2_592_001];

/// One of the oldest open sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Oldest {
    /// Its number.
    pub number: Option<String>,
    /// Its page on the platform.
    pub url: Option<String>,
    /// Where it stands.
    pub stage: Stage,
    /// Its age in seconds.
    pub age: i64,
    /// Which department has it.
    pub department: Option<String>,
    /// Whether the company is to answer.
    pub is_ours: bool,
}

/// What is open now.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct OpenNow {
    /// By age, and by stage: bot, queue, service.
    pub ages: [[u64; 3]; 7],
    /// In the queue or with an agent, and without one.
    pub unassigned: u64,
    /// The contact wrote last.
    pub awaiting: u64,
    /// For how long, at least, the oldest of these waits, in seconds.
    pub longest_wait: Option<i64>,
    /// Of these, the window for free messages is closed.
    pub window_closed: u64,
    /// Nobody wrote for long.
    pub stale: u64,
    /// Messages that nobody read.
    pub unread: u64,
    /// The oldest ones.
    pub oldest: Vec<Oldest>,
}

impl OpenNow {
    /// How many are open at a stage.
    pub fn of(&self, stage: Stage) -> u64 {
        let place = [Stage::Bot, Stage::Queue, Stage::Service];
        let place = place.iter().position(|it| *it == stage);
        place.map_or(0, |place| self.ages.iter().map(|age| age[place]).sum())
    }

    /// How many are open.
    pub fn total(&self) -> u64 {
        self.ages.iter().flatten().sum()
    }
}

/// What a report asks of its sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// Which days.
    pub period: Period,
    /// Which days they are compared with.
    pub compared: Option<Period>,
    /// The breakdown.
    pub by: By,
    /// How charts divide time.
    pub bucket: Bucket,
    /// Whether agents are numbered instead of named.
    pub is_anonymous: bool,
}

/// All figures of a report.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// What was asked.
    pub question: Question,
    /// Of the period.
    pub total: Group,
    /// Of the compared one; `None` if there is none, or it has no sessions.
    pub before: Option<Group>,
    /// Open when the period ended; `None` if that is yet to come.
    pub open_at_end: Option<u64>,
    /// Open when the compared one ended.
    pub open_at_end_before: Option<u64>,
    /// The breakdown that was asked for.
    pub by: Vec<Row>,
    /// In the order of time.
    pub bars: Vec<Bar>,
    /// Times to the first response.
    pub classes: Classes,
    /// The same within open hours.
    pub classes_open: Option<Classes>,
    /// By weekday from Monday on, and hour.
    pub hours: Vec<[Cell; 24]>,
    /// By department.
    pub departments: Vec<Row>,
    /// By agent.
    pub agents: Vec<Row>,
    /// By channel.
    pub channels: Vec<Row>,
    /// By outcome and reason, of those that have one.
    pub reasons: Vec<Row>,
    /// By campaign and source.
    pub campaigns: Vec<Row>,
    /// By ad, of those that have one.
    pub ads: Vec<Row>,
    /// By tag: a session may be in several rows.
    pub tags: Vec<Row>,
    /// Open now; `None` before the first load.
    pub open: Option<OpenNow>,
    /// What the figures rest on.
    pub quality: Quality,
}

impl Figures {
    /// How the platform's times compare with known ones.
    pub const fn calibration(&self) -> &Calibration {
        &self.quality.calibration
    }

    /// Whether no session was created or ended in the period.
    pub const fn is_empty(&self) -> bool {
        self.total.opened == 0 && self.total.completed == 0
    }
}

/// Names to show, looked up by id.
struct Lookup<'a> {
    names: HashMap<Uuid, &'a Named>,
}

impl<'a> Lookup<'a> {
    fn new(list: &'a [Named]) -> Self {
        Self {
            names: list.iter().map(|it| (it.id, it)).collect(),
        }
    }

    fn key(&self, id: Option<Uuid>) -> Key {
        id.map_or(Key::None, |id| Key::Named {
            name: self
                .names
                .get(&id)
                .map_or_else(|| shortened(id), |named| named.shown()),
            id,
        })
    }
}

/// Computes all figures.
pub fn figures(question: Question, facts: &Facts, open: &[OpenSession], names: &Names) -> Figures {
    let computed = Computing {
        facts,
        stretch: Stretch::new(&question.period, facts),
        question,
        open,
        names,
    };
    computed.figures()
}

struct Computing<'a> {
    facts: &'a Facts,
    stretch: Stretch,
    question: Question,
    open: &'a [OpenSession],
    names: &'a Names,
}

impl Computing<'_> {
    fn figures(&self) -> Figures {
        let total = self.total(&self.stretch);
        let before = self.question.compared.map(|period| {
            let stretch = Stretch::new(&period, self.facts);
            (self.total(&stretch), self.open_at(stretch.ends))
        });
        // With days of which nothing is stored nothing can be compared.
        let before = before.filter(|(group, _)| group.opened + group.completed > 0);
        let mut bars = self.bars();
        if before.is_none() {
            for bar in &mut bars {
                bar.opened_before = None;
            }
        }
        let mut by = self.breakdown(self.question.by);
        let mut agents = self.breakdown(By::Agent);
        if self.question.is_anonymous {
            number_agents(&mut agents);
            if self.question.by == By::Agent {
                by.clone_from(&agents);
            }
        }
        let mut reasons = self.breakdown(By::Reason);
        reasons.retain(|row| {
            row.group.completed > 0
                && matches!(&row.key, Key::Reason { outcome, .. } if outcome != "none")
        });
        let campaigns = self.by_campaign(|it| {
            let is_unnamed = it.campaign.is_none() && it.source.is_none() && it.medium.is_none();
            // Of what has no name, the click is all that is known; an ad alone is no campaign.
            (!is_unnamed || it.has_click_id).then(|| Campaign {
                ad: None,
                has_click_id: is_unnamed,
                ..it.clone()
            })
        });
        let mut ads = self.by_campaign(|it| {
            Some(Campaign {
                ad: Some(it.ad.clone()?),
                campaign: it.campaign.clone(),
                source: None,
                medium: None,
                has_click_id: false,
            })
        });
        ads.retain(|row| row.key != Key::None);
        Figures {
            question: self.question,
            open_at_end: self.open_at(self.stretch.ends),
            open_at_end_before: before.as_ref().and_then(|(_, open)| *open),
            before: before.map(|(group, _)| group),
            total,
            by,
            bars,
            classes: self.classes(|fact| fact.first_response),
            classes_open: self
                .facts
                .frame
                .clock
                .is_known()
                .then(|| self.classes(|fact| fact.first_response_open)),
            hours: self.hours(),
            departments: self.breakdown(By::Department),
            agents,
            channels: self.breakdown(By::Channel),
            reasons,
            campaigns,
            ads,
            tags: self.breakdown(By::Tag),
            open: self.open_now(),
            quality: self.facts.quality,
        }
    }

    fn parts(&self, stretch: &Stretch, key: impl Fn(&Fact) -> u32) -> Vec<Part> {
        let facts = self.facts.list.iter().zip(0_u32..);
        facts
            .map(|(fact, place)| Part {
                key: key(fact),
                fact: place,
                is_opened: stretch.has(fact.created),
                is_ended: stretch.has_end(fact),
            })
            .filter(|part| part.is_opened || part.is_ended)
            .collect()
    }

    fn total(&self, stretch: &Stretch) -> Group {
        let mut total = group(self.facts, stretch, &self.parts(stretch, |_| 0));
        total.open_now = self.open.len() as u64;
        total
    }

    /// How many were open at an instant. An open session was open since its creation, one that is over
    /// from its creation to its end.
    fn open_at(&self, at: i64) -> Option<u64> {
        self.open_at_each(&[at])[0]
    }

    /// The same at several instants in ascending order, from one pass over the sessions. `None` for those
    /// that are yet to come.
    fn open_at_each(&self, instants: &[i64]) -> Vec<Option<u64>> {
        let as_of = self.facts.frame.as_of.map_or(i64::MAX, Timestamp::micros);
        let mut changes = vec![0_i64; instants.len() + 1];
        // The first of the instants that is later.
        let after = |at: i64| instants.partition_point(|&instant| instant <= at);
        for fact in &self.facts.list {
            if let Some(ended) = fact.ended.filter(|&ended| ended >= fact.created) {
                changes[after(fact.created)] += 1;
                changes[after(ended)] -= 1;
            }
        }
        for open in self.open {
            changes[after(open.session.created_at.micros())] += 1;
        }
        let mut count = 0;
        let counts = changes.iter().zip(instants).map(|(change, &instant)| {
            count += change;
            u64::try_from(count).ok().filter(|_| instant <= as_of)
        });
        counts.collect()
    }

    /// Sorts parts by key and computes a group of each.
    fn groups(&self, mut parts: Vec<Part>) -> Vec<(u32, Group)> {
        parts.sort_unstable_by_key(|part| (part.key, part.fact));
        parts
            .chunk_by(|a, b| a.key == b.key)
            .map(|parts| (parts[0].key, group(self.facts, &self.stretch, parts)))
            .collect()
    }

    fn breakdown(&self, by: By) -> Vec<Row> {
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
    fn by_name(
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
    fn by_campaign(&self, common: impl Fn(&Campaign) -> Option<Campaign>) -> Vec<Row> {
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
    fn by_tag(&self) -> Vec<Row> {
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

    /// Parts by a stretch of time: what is created and what ended may fall into different ones.
    fn parts_of_time(&self, key: impl Fn(i64) -> Option<u32>) -> Vec<Part> {
        let mut parts = Vec::new();
        for part in self.parts(&self.stretch, |_| 0) {
            let fact = &self.facts.list[part.fact as usize];
            let opened = key(fact.created).filter(|_| part.is_opened);
            let ended = fact.ended.and_then(&key).filter(|_| part.is_ended);
            if opened.is_some() && opened == ended {
                let key = opened.unwrap_or(0);
                parts.push(Part { key, ..part });
                continue;
            }
            parts.extend(opened.map(|key| Part {
                key,
                is_ended: false,
                ..part
            }));
            parts.extend(ended.map(|key| Part {
                key,
                is_opened: false,
                ..part
            }));
        }
        parts
    }

    /// The buckets of the period: each with the places of its days.
    fn buckets(&self, bucket: Bucket) -> Vec<std::ops::Range<usize>> {
        let starts_on = self.facts.frame.settings.week_starts_on;
        let mut buckets = Vec::new();
        let mut first = 0;
        for place in 1..=self.stretch.days.len() {
            let date = |place: usize| bucket.of(&self.stretch.days[place], starts_on);
            if place == self.stretch.days.len() || date(place) != date(first) {
                buckets.push(first..place);
                first = place;
            }
        }
        buckets
    }

    /// A group for each bucket, those without sessions included.
    fn by_bucket(&self, buckets: &[std::ops::Range<usize>]) -> Vec<Group> {
        let of_day: Vec<u32> = buckets
            .iter()
            .zip(0..)
            .flat_map(|(days, key)| days.clone().map(move |_| key))
            .collect();
        let key = |at: i64| of_day.get(self.stretch.day(at)?).copied();
        let mut groups: Vec<Group> = buckets
            .iter()
            .map(|_| group(self.facts, &self.stretch, &[]))
            .collect();
        for (key, group) in self.groups(self.parts_of_time(key)) {
            if let Some(place) = groups.get_mut(key as usize) {
                *place = group;
            }
        }
        groups
    }

    fn by_date(&self, bucket: Bucket) -> Vec<Row> {
        let buckets = self.buckets(bucket);
        let starts_on = self.facts.frame.settings.week_starts_on;
        let groups = self.by_bucket(&buckets).into_iter();
        groups
            .zip(&buckets)
            .map(|(group, days)| Row {
                key: Key::Date(bucket.of(&self.stretch.days[days.start], starts_on)),
                group,
            })
            .collect()
    }

    fn by_hour(&self) -> Vec<Row> {
        let hour = |at: i64| {
            let day = &self.stretch.days[self.stretch.day(at)?];
            u32::try_from(hour_of(day, at.div_euclid(MICROS))).ok()
        };
        let mut rows: Vec<Row> = (0..24)
            .map(|hour| Row {
                key: Key::Hour(hour),
                group: Group::default(),
            })
            .collect();
        for (key, group) in self.groups(self.parts_of_time(hour)) {
            if let Some(row) = rows.get_mut(key as usize) {
                row.group = group;
            }
        }
        rows
    }

    fn bars(&self) -> Vec<Bar> {
        let facts = self.facts;
        let buckets = self.buckets(self.question.bucket);
        let groups = self.by_bucket(&buckets);
        let mut opened_before: Vec<Option<u64>> = vec![None; buckets.len()];
        if let Some(compared) = &self.question.compared {
            let stretch = Stretch::new(compared, facts);
            let mut days = vec![0_u64; stretch.days.len()];
            for fact in &facts.list {
                if let Some(place) = stretch.day(fact.created) {
                    days[place] += 1;
                }
            }
            for (before, places) in opened_before.iter_mut().zip(&buckets) {
                // Of a month that is longer than the one before, the last days have no like.
                *before = days.get(places.clone()).map(|days| days.iter().sum());
            }
        }
        let holidays = &facts.frame.settings.hours;
        let ends: Vec<i64> = buckets
            .iter()
            .map(|places| self.stretch.days[places.end - 1].ends_at * MICROS)
            .map(|end| end.min(self.stretch.ends))
            .collect();
        buckets
            .iter()
            .zip(groups)
            .zip(opened_before)
            .zip(self.open_at_each(&ends))
            .map(|(((places, group), opened_before), open_at_end)| {
                let days = &self.stretch.days[places.clone()];
                let (first, last) = (days[0], days[days.len() - 1]);
                let is_quiet =
                    |day: &Day| day.weekday() > 5 || holidays.holiday(day.date).is_some();
                Bar {
                    from: first.date,
                    to: last.date,
                    is_quiet: days.iter().all(is_quiet),
                    opened: group.opened,
                    completed: group.completed,
                    open_at_end,
                    opened_before,
                    first_response: group.first_response,
                    first_response_open: group.first_response_open,
                }
            })
            .collect()
    }

    fn classes(&self, seconds: impl Fn(&Fact) -> u32) -> Classes {
        let mut classes = Classes::default();
        for fact in &self.facts.list {
            if !self.stretch.has(fact.created) {
                continue;
            }
            match seconds(fact) {
                NONE if !fact.has_response => classes.unanswered += 1,
                // A response before the session was created says nothing.
                NONE => {}
                seconds => classes.add(seconds),
            }
        }
        classes
    }

    fn hours(&self) -> Vec<[Cell; 24]> {
        let mut cells = vec![[Cell::default(); 24]; 7];
        let clock = &self.facts.frame.clock;
        for day in &self.stretch.days {
            let weekday = (day.weekday() - 1) as usize;
            let mut at = day.starts_at;
            let mut last = None;
            while at < day.ends_at && at * MICROS < self.stretch.ends {
                let hour = hour_of(day, at);
                let cell = &mut cells[weekday][hour];
                // An hour that comes twice in a day is one hour of the clock.
                if last != Some(hour) {
                    cell.times += 1;
                }
                last = Some(hour);
                let is_open = clock.is_open(at).map(|first| {
                    first || (1..60).any(|minute| clock.is_open(at + minute * 60) == Some(true))
                });
                cell.is_open = is_open.map(|is| is || cell.is_open == Some(true));
                at += 3600;
            }
        }
        let key = |at: i64| {
            let day = &self.stretch.days[self.stretch.day(at)?];
            let hour = hour_of(day, at.div_euclid(MICROS));
            u32::try_from((day.weekday() as usize - 1) * 24 + hour).ok()
        };
        let mut parts = self.parts_of_time(key);
        parts.retain(|part| part.is_opened);
        for (key, group) in self.groups(parts) {
            let (weekday, hour) = (key as usize / 24, key as usize % 24);
            let cell = &mut cells[weekday][hour];
            cell.opened = group.opened;
            cell.first_response = group.first_response;
            cell.first_response_open = group.first_response_open;
        }
        cells
    }

    fn open_now(&self) -> Option<OpenNow> {
        let as_of = self.facts.frame.as_of?;
        let stale = self.facts.frame.settings.stale;
        let lookup = Lookup::new(&self.names.departments);
        let mut now = OpenNow::default();
        let mut oldest: Vec<(&OpenSession, i64, bool)> = Vec::new();
        for open in self.open {
            let session = &open.session;
            let age = whole(as_of) - whole(session.created_at);
            let place = AGES.iter().position(|&most| age < most);
            let column = match session.stage() {
                Stage::Bot => 0,
                Stage::Queue => 1,
                _ => 2,
            };
            now.ages[place.unwrap_or(AGES.len())][column] += 1;
            let is_ours = match (open.last_in, open.last_out) {
                (Some(last_in), Some(last_out)) => last_in > last_out,
                (last_in, _) => last_in.is_some(),
            };
            now.unassigned += u64::from(column > 0 && session.agent.is_none());
            now.unread += open.unread;
            let idle = open.last_interaction.map(|last| whole(as_of) - whole(last));
            let stale = i64::try_from(stale.as_secs()).unwrap_or(i64::MAX);
            now.stale += u64::from(idle.is_some_and(|idle| idle > stale));
            if is_ours {
                now.awaiting += 1;
                now.window_closed += u64::from(open.is_window_closed);
                let waited = open.last_in.map(|last| whole(as_of) - whole(last));
                now.longest_wait = now.longest_wait.max(waited.filter(|&waited| waited >= 0));
            }
            oldest.push((open, age, is_ours));
        }
        oldest.sort_by(|(a, age_a, _), (b, age_b, _)| {
            age_b.cmp(age_a).then_with(|| a.number.cmp(&b.number))
        });
        now.oldest = oldest
            .into_iter()
            .take(10)
            .map(|(open, age, is_ours)| Oldest {
                number: open.number.clone(),
                url: open.url.clone(),
                stage: open.session.stage(),
                age: age.max(0),
                department: match lookup.key(open.session.department) {
                    Key::Named { name, .. } => Some(name),
                    _ => None,
                },
                is_ours,
            })
            .collect();
        Some(now)
    }
}

fn whole(at: Timestamp) -> i64 {
    at.micros().div_euclid(MICROS)
}

/// Rows of groups, the largest first.
fn ranked(groups: Vec<(u32, Group)>, key: impl Fn(u32) -> Key) -> Vec<Row> {
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
fn sort(rows: &mut [Row]) {
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
fn number_agents(rows: &mut [Row]) {
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
fn added(rows: &[&Row]) -> Group {
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
