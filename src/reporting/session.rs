//! Sessions as a report reads them, and the compact form in which it keeps them.
//!
//! Definitions of single values are those of the views. Must not know what is made of the values.

use std::collections::HashMap;
use std::hash::Hash;

use chrono_tz::Tz;
use serde::Serialize;
use uuid::Uuid;

use super::days::{FIRST_DAY, days, local_date};
use super::hours::{OpenHours, open_hours};
use super::settings::{Settings, Targets};
use crate::data::Timestamp;

const MICROS: i64 = 1_000_000;

/// What a duration is that is not known.
pub(super) const NONE: u32 = u32::MAX;

/// Shorter durations are kept as they are: 68 years.
pub(super) const LONG: u32 = 1 << 31;

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// With the bot.
    Bot,
    /// In the queue.
    Queue,
    /// With an agent.
    Service,
    /// Over.
    Closed,
    /// Anything else.
    Other,
}

impl Stage {
    /// All stages.
    pub const ALL: [Self; 5] = [
        Self::Bot,
        Self::Queue,
        Self::Service,
        Self::Closed,
        Self::Other,
    ];

    /// The stage of a status.
    pub fn of(status: Option<&str>) -> Self {
        match status {
            Some("STARTED") => Self::Bot,
            Some("PENDING") => Self::Queue,
            Some("IN_PROGRESS") => Self::Service,
            Some("COMPLETED") => Self::Closed,
            _ => Self::Other,
        }
    }

    /// Whether a session of this stage is open.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Bot | Self::Queue | Self::Service)
    }
}

/// How a session was attended, once it is over. It is derived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attendance {
    /// There was a response.
    Answered,
    /// An agent had it, and there was no response.
    Assigned,
    /// It ended in the queue.
    Queue,
    /// It ended with the bot.
    Bot,
    /// Nobody had it.
    Nobody,
}

/// A session as it is read.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a column or a flag of its own"
)]
pub struct Session {
    /// When it was created.
    pub created_at: Timestamp,
    /// When it began.
    pub start_at: Option<Timestamp>,
    /// When somebody responded first.
    pub first_response_at: Option<Timestamp>,
    /// When it ended.
    pub end_at: Option<Timestamp>,
    /// The platform's status.
    pub status: Option<String>,
    /// Whether it is of a group.
    pub is_group: bool,
    /// Whether the platform deleted it.
    pub is_removed: bool,
    /// Of whom.
    pub contact: Option<Uuid>,
    /// On which channel.
    pub channel: Option<Uuid>,
    /// Which department had it last.
    pub department: Option<Uuid>,
    /// Which agent had it last.
    pub agent: Option<Uuid>,
    /// Whether a bot took part.
    pub has_bot: bool,
    /// The platform's waiting time, if it could be read.
    pub wait: Option<i64>,
    /// The platform's service time, if it could be read.
    pub service: Option<i64>,
    /// How it was classified.
    pub category: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// Over which amount.
    pub amount: Option<f64>,
    /// `utm_source`, `utm_medium`, `utm_campaign` and `utm_source_id`, `None` if empty.
    pub utm: [Option<String>; 4],
    /// Whether it came by a click on an ad.
    pub has_click_id: bool,
    /// The tags of the contact, as ids with `; ` between them.
    pub tags: Option<String>,
    /// Whether the contact had no session before.
    pub is_new_contact: Option<bool>,
    /// Whether the contact came back within 7 days of the end.
    pub returned: Option<bool>,
}

/// An open session as it is read, whenever it was created.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenSession {
    /// What it shares with any session.
    pub session: Session,
    /// Its number.
    pub number: Option<String>,
    /// Its page on the platform.
    pub url: Option<String>,
    /// When the contact wrote last.
    pub last_in: Option<Timestamp>,
    /// When the company wrote last.
    pub last_out: Option<Timestamp>,
    /// When anybody wrote last.
    pub last_interaction: Option<Timestamp>,
    /// Whether the channel's window for free messages is closed.
    pub is_window_closed: bool,
    /// Messages that nobody read.
    pub unread: u64,
}

/// Which sessions a report is of; an empty list is no filter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// One of these channels.
    pub channels: Vec<Uuid>,
    /// One of these departments.
    pub departments: Vec<Uuid>,
    /// One of these agents.
    pub agents: Vec<Uuid>,
    /// At least one of these tags.
    pub tags: Vec<Uuid>,
    /// One of these stages.
    pub stages: Vec<Stage>,
    /// One of these campaigns.
    pub campaigns: Vec<String>,
}

impl Filter {
    /// Whether a session is meant.
    pub fn accepts(&self, session: &Session) -> bool {
        let one = |wanted: &[Uuid], id: Option<Uuid>| {
            wanted.is_empty() || id.is_some_and(|id| wanted.contains(&id))
        };
        one(&self.channels, session.channel)
            && one(&self.departments, session.department)
            && one(&self.agents, session.agent)
            && (self.stages.is_empty() || self.stages.contains(&session.stage()))
            && (self.campaigns.is_empty()
                || session.utm[2]
                    .as_ref()
                    .is_some_and(|name| self.campaigns.contains(name)))
            && (self.tags.is_empty() || session.tag_ids().any(|tag| self.tags.contains(&tag)))
    }
}

/// Whole seconds from one instant to another, fractions cut off before subtracting; `None` if that is
/// negative.
fn seconds(from: Timestamp, to: Timestamp) -> Option<i64> {
    let whole = |at: Timestamp| at.micros().div_euclid(MICROS);
    Some(whole(to) - whole(from)).filter(|&seconds| seconds >= 0)
}

impl Session {
    /// Where it stands.
    pub fn stage(&self) -> Stage {
        Stage::of(self.status.as_deref())
    }

    fn tag_ids(&self) -> impl Iterator<Item = Uuid> + '_ {
        let ids = self.tags.as_deref().unwrap_or_default().split("; ");
        ids.filter_map(|id| id.parse().ok())
    }

    fn is_closed(&self) -> bool {
        self.stage() == Stage::Closed
    }

    fn first_response(&self) -> Option<i64> {
        seconds(self.created_at, self.first_response_at?)
    }

    fn resolution(&self) -> Option<i64> {
        seconds(self.created_at, self.end_at.filter(|_| self.is_closed())?)
    }

    fn after_response(&self) -> Option<i64> {
        seconds(
            self.first_response_at?,
            self.end_at.filter(|_| self.is_closed())?,
        )
    }

    fn attendance(&self) -> Option<Attendance> {
        self.is_closed().then(|| {
            if self.first_response_at.is_some() {
                Attendance::Answered
            } else if self.agent.is_some() {
                Attendance::Assigned
            } else if self.department.is_some() {
                Attendance::Queue
            } else if self.has_bot {
                Attendance::Bot
            } else {
                Attendance::Nobody
            }
        })
    }

    /// `won`, `lost`, `info`, `other`, `none`, or what else the platform says.
    fn outcome(&self) -> String {
        match self.category.as_deref() {
            None | Some("" | "UNDEFINED") => "none".to_owned(),
            Some(category) => category.to_ascii_lowercase(),
        }
    }
}

/// The seconds of open hours, looked up.
#[derive(Debug, Clone, Default)]
pub struct OpenClock {
    intervals: Vec<OpenHours>,
}

impl OpenClock {
    /// That of these settings, for instants from `oldest` to `newest`.
    pub fn new(settings: &Settings, oldest: Timestamp, newest: Timestamp) -> Self {
        let first = local_date(settings.zone, oldest).max(FIRST_DAY);
        let last = local_date(settings.zone, newest) + chrono::Days::new(2);
        Self {
            intervals: open_hours(&settings.hours, &days(settings.zone, first, last)),
        }
    }

    /// Whether any hours are configured.
    pub fn is_known(&self) -> bool {
        !self.intervals.is_empty()
    }

    /// The last interval that begins at an instant or before it.
    fn interval(&self, at: i64) -> Option<&OpenHours> {
        let after = self.intervals.partition_point(|it| it.starts_at <= at);
        self.intervals.get(after.checked_sub(1)?)
    }

    fn until(&self, at: i64) -> Option<i64> {
        let it = self.interval(at)?;
        Some(it.open_before + at.min(it.ends_at) - it.starts_at)
    }

    /// The open seconds between two instants; `None` if no hours are configured, or the second one is
    /// earlier.
    pub fn between(&self, from: Timestamp, to: Timestamp) -> Option<i64> {
        let whole = |at: Timestamp| at.micros().div_euclid(MICROS);
        seconds(from, to)?;
        Some(self.until(whole(to))? - self.until(whole(from))?)
    }

    /// Whether an instant, in seconds since 1970, lies in open hours; `None` if none are configured.
    pub fn is_open(&self, at: i64) -> Option<bool> {
        self.is_known()
            .then(|| self.interval(at).is_some_and(|it| at < it.ends_at))
    }
}

/// Values that occur often, each kept once. Number 0 stands for none.
#[derive(Debug, Clone)]
pub(super) struct Kept<T> {
    numbers: HashMap<T, u32>,
    values: Vec<T>,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self {
            numbers: HashMap::new(),
            values: Vec::new(),
        }
    }
}

impl<T: Eq + Hash + Clone> Kept<T> {
    pub(super) fn number(&mut self, value: T) -> u32 {
        if let Some(&number) = self.numbers.get(&value) {
            return number;
        }
        let number = u32::try_from(self.values.len() + 1).unwrap_or(u32::MAX);
        self.values.push(value.clone());
        self.numbers.insert(value, number);
        number
    }

    pub(super) fn maybe(&mut self, value: Option<T>) -> u32 {
        value.map_or(0, |value| self.number(value))
    }

    /// The value with a number.
    pub(super) fn value(&self, number: u32) -> Option<&T> {
        self.values.get((number as usize).checked_sub(1)?)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// All of them.
    pub(super) fn values(&self) -> &[T] {
        &self.values
    }
}

/// Where a session came from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Campaign {
    /// `utm_campaign`.
    pub campaign: Option<String>,
    /// `utm_source`.
    pub source: Option<String>,
    /// `utm_medium`.
    pub medium: Option<String>,
    /// `utm_source_id`: the ad.
    pub ad: Option<String>,
    /// Whether it came by a click on an ad.
    pub has_click_id: bool,
}

/// A session in compact form. Instants are microseconds since 1970; keys are numbers of [`Facts`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Fact {
    pub(super) created: i64,
    /// Of a session that is over and has an end.
    pub(super) ended: Option<i64>,
    pub(super) stage: Stage,
    pub(super) attendance: Option<Attendance>,
    pub(super) has_response: bool,
    pub(super) first_response: u32,
    pub(super) first_response_open: u32,
    pub(super) wait: u32,
    pub(super) service: u32,
    pub(super) resolution: u32,
    pub(super) resolution_open: u32,
    pub(super) conversation: u32,
    pub(super) contact: u32,
    pub(super) channel: u32,
    pub(super) department: u32,
    pub(super) agent: u32,
    pub(super) tags: u32,
    pub(super) campaign: u32,
    pub(super) reason: u32,
    pub(super) outcome: u32,
    pub(super) amount: f64,
    pub(super) is_new_contact: Option<bool>,
    pub(super) returned: Option<bool>,
    pub(super) arrived_open: Option<bool>,
    /// In time; `None` where that is not known yet: wait, first response, service, resolution.
    pub(super) within: [Option<bool>; 4],
}

/// How sure the figures are: what was left out, and what is odd. Of the sessions created in the period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Quality {
    /// Sessions that count.
    pub sessions: u64,
    /// Deleted on the platform.
    pub removed: u64,
    /// Made by a campaign and not answered yet.
    pub hidden: u64,
    /// Of groups.
    pub groups: u64,
    /// Of a status that is not known.
    pub unknown_status: u64,
    /// Without a contact.
    pub without_contact: u64,
    /// With a first response before their creation.
    pub negative_first_response: u64,
    /// With an end before their creation.
    pub negative_resolution: u64,
    /// Over, and without an end.
    pub closed_without_end: u64,
    /// Open, and with an end.
    pub open_with_end: u64,
    /// With two tags or more.
    pub with_several_tags: u64,
    /// Of sessions that are over: how many times the platform's figures and the known times could be
    /// compared, and how often they agree within 2 seconds.
    pub calibration: Calibration,
}

/// How the platform's times compare with known ones: agreeing, and compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Calibration {
    /// Waiting time and time to the first response.
    pub wait_is_first_response: (u64, u64),
    /// Waiting time and time from the start to the first response.
    pub wait_is_start_to_response: (u64, u64),
    /// Service time and time from the first response to the end.
    pub service_is_response_to_end: (u64, u64),
    /// Service time and time from creation to the end.
    pub service_is_created_to_end: (u64, u64),
    /// First responses within 3 seconds of creation.
    pub answered_within_3s: (u64, u64),
}

impl Calibration {
    fn add(&mut self, session: &Session) {
        let near = |into: &mut (u64, u64), theirs: Option<i64>, known: Option<i64>| {
            if let Some((theirs, known)) = theirs.zip(known) {
                into.0 += u64::from((theirs - known).abs() <= 2);
                into.1 += 1;
            }
        };
        let wait = session.wait.filter(|&wait| wait >= 0);
        let service = session.service.filter(|&service| service >= 0);
        let from_start = || seconds(session.start_at?, session.first_response_at?);
        near(
            &mut self.wait_is_first_response,
            wait,
            session.first_response(),
        );
        near(&mut self.wait_is_start_to_response, wait, from_start());
        near(
            &mut self.service_is_response_to_end,
            service,
            session.after_response(),
        );
        near(
            &mut self.service_is_created_to_end,
            service,
            session.resolution(),
        );
        if let Some(first) = session.first_response() {
            self.answered_within_3s.0 += u64::from(first <= 3);
            self.answered_within_3s.1 += 1;
        }
    }
}

/// What a report knows before it reads sessions.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Days, hours and targets.
    pub settings: Settings,
    /// Up to when the copy is complete.
    pub as_of: Option<Timestamp>,
    /// Open hours, looked up.
    pub clock: OpenClock,
    /// Which sessions count.
    pub filter: Filter,
    /// The range of creation times of which left-out and odd sessions are counted, in microseconds.
    pub watched: (i64, i64),
}

/// The sessions of a report, each once.
#[derive(Debug, Clone)]
pub struct Facts {
    pub(super) frame: Frame,
    pub(super) list: Vec<Fact>,
    pub(super) contacts: Kept<Uuid>,
    pub(super) channels: Kept<Uuid>,
    pub(super) departments: Kept<Uuid>,
    pub(super) agents: Kept<Uuid>,
    pub(super) tag_sets: Kept<Vec<Uuid>>,
    pub(super) campaigns: Kept<Campaign>,
    pub(super) reasons: Kept<String>,
    pub(super) outcomes: Kept<String>,
    pub(super) quality: Quality,
    /// Durations that are too long for a fact, which has [`LONG`] and their place.
    pub(super) long: Vec<i64>,
    /// The names of campaigns, whether the filter accepts their sessions or not.
    pub(super) campaign_names: Kept<String>,
}

/// The number of an outcome: those that have a meaning come first.
pub(super) const OUTCOMES: [&str; 5] = ["none", "won", "lost", "info", "other"];

impl Facts {
    /// None yet.
    pub fn new(frame: Frame) -> Self {
        let mut outcomes = Kept::default();
        for outcome in OUTCOMES {
            outcomes.number(outcome.to_owned());
        }
        Self {
            frame,
            list: Vec::new(),
            contacts: Kept::default(),
            channels: Kept::default(),
            departments: Kept::default(),
            agents: Kept::default(),
            tag_sets: Kept::default(),
            campaigns: Kept::default(),
            reasons: Kept::default(),
            outcomes,
            quality: Quality::default(),
            long: Vec::new(),
            campaign_names: Kept::default(),
        }
    }

    /// The names of campaigns among the sessions that were read.
    pub fn campaign_names(&self) -> &[String] {
        self.campaign_names.values()
    }

    /// Whether there is no session.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether an open session is meant.
    pub fn accepts(&self, open: &OpenSession) -> bool {
        self.frame.filter.accepts(&open.session)
    }

    /// Adds a session.
    pub fn add(&mut self, session: Session) {
        let created = session.created_at.micros();
        let (from, to) = self.frame.watched;
        let is_watched = (from..to).contains(&created);
        if let Some(name) = &session.utm[2] {
            self.campaign_names.maybe(Some(name.clone()));
        }
        if !self.frame.filter.accepts(&session) {
            return;
        }
        let is_hidden = session.status.as_deref() == Some("HIDDEN");
        if session.is_removed || is_hidden || session.is_group {
            if is_watched {
                let quality = &mut self.quality;
                quality.removed += u64::from(session.is_removed);
                quality.hidden += u64::from(is_hidden && !session.is_removed);
                quality.groups += u64::from(session.is_group && !session.is_removed && !is_hidden);
            }
            return;
        }
        let tags: Vec<Uuid> = session.tag_ids().collect();
        if is_watched {
            self.watch(&session, tags.len());
        }
        let fact = self.fact(session, tags);
        self.list.push(fact);
    }

    /// Counts what is odd.
    fn watch(&mut self, session: &Session, tags: usize) {
        let quality = &mut self.quality;
        let whole = |at: Timestamp| at.micros().div_euclid(MICROS);
        let is_before =
            |at: Option<Timestamp>| at.is_some_and(|at| whole(at) < whole(session.created_at));
        let (stage, ended) = (session.stage(), session.end_at);
        quality.sessions += 1;
        quality.unknown_status += u64::from(stage == Stage::Other);
        quality.without_contact += u64::from(session.contact.is_none());
        quality.negative_first_response += u64::from(is_before(session.first_response_at));
        quality.negative_resolution += u64::from(session.is_closed() && is_before(ended));
        quality.closed_without_end += u64::from(session.is_closed() && ended.is_none());
        quality.open_with_end += u64::from(stage.is_open() && ended.is_some());
        quality.with_several_tags += u64::from(tags > 1);
        if session.is_closed() {
            quality.calibration.add(session);
        }
    }

    /// A duration as a fact has it.
    fn kept(&mut self, seconds: Option<i64>) -> u32 {
        let Some(seconds) = seconds else {
            return NONE;
        };
        match u32::try_from(seconds) {
            Ok(seconds) if seconds < LONG => seconds,
            _ => {
                // So many sessions fit into no memory.
                let place = u32::try_from(self.long.len()).unwrap_or(LONG).min(LONG - 2);
                self.long.push(seconds);
                LONG + place
            }
        }
    }

    fn fact(&mut self, session: Session, tags: Vec<Uuid>) -> Fact {
        let clock = &self.frame.clock;
        let created_at = session.created_at;
        let stage = session.stage();
        let is_closed = stage == Stage::Closed;
        let ended_at = session.end_at.filter(|_| is_closed);
        let open = |to: Option<Timestamp>| to.and_then(|to| clock.between(created_at, to));
        let (response_open, resolution_open) = (open(session.first_response_at), open(ended_at));
        let arrived_open = clock.is_open(created_at.micros().div_euclid(MICROS));
        let own = |seconds: Option<i64>| seconds.filter(|&it| is_closed && it >= 0);
        let (wait, service) = (own(session.wait), own(session.service));
        let service = service.filter(|_| session.agent.is_some());
        let (first_response, resolution) = (session.first_response(), session.resolution());
        let age = self.frame.as_of.filter(|_| stage.is_open());
        let age = age.and_then(|as_of| seconds(created_at, as_of));
        let Targets {
            wait: in_wait,
            first_response: in_first,
            service: in_service,
            resolution: in_resolution,
        } = self.frame.settings.targets;
        let within = |value: Option<i64>, target: Option<std::time::Duration>| {
            let target = i64::try_from(target?.as_secs()).unwrap_or(i64::MAX);
            match value {
                Some(value) => Some(value <= target),
                None => age.filter(|&age| age > target).map(|_| false),
            }
        };
        let within = [
            within(wait, in_wait),
            within(first_response, in_first),
            within(service, in_service),
            within(resolution, in_resolution),
        ];
        let outcome = session.outcome();
        let is_won = outcome == "won";
        let [source, medium, campaign, ad] = session.utm.clone();
        let has_campaign = session.has_click_id
            || [&source, &medium, &campaign, &ad]
                .iter()
                .any(|it| it.is_some());
        let campaign = has_campaign.then_some(Campaign {
            campaign,
            source,
            medium,
            ad,
            has_click_id: session.has_click_id,
        });
        Fact {
            created: created_at.micros(),
            ended: ended_at.map(Timestamp::micros),
            stage,
            attendance: session.attendance(),
            has_response: session.first_response_at.is_some(),
            first_response: self.kept(first_response),
            first_response_open: self.kept(response_open),
            wait: self.kept(wait),
            service: self.kept(service),
            resolution: self.kept(resolution),
            resolution_open: self.kept(resolution_open),
            conversation: self.kept(session.after_response()),
            arrived_open,
            within,
            contact: self.contacts.maybe(session.contact),
            channel: self.channels.maybe(session.channel),
            department: self.departments.maybe(session.department),
            agent: self.agents.maybe(session.agent),
            tags: self.tag_sets.maybe((!tags.is_empty()).then_some(tags)),
            campaign: self.campaigns.maybe(campaign),
            reason: self.reasons.maybe(session.reason),
            outcome: self.outcomes.number(outcome),
            amount: session.amount.filter(|_| is_won).unwrap_or(0.0),
            is_new_contact: session.is_new_contact,
            returned: session.returned.filter(|_| is_closed),
        }
    }
}

/// The local day of an instant, by its place in a list of days; `None` outside of them.
pub(super) fn place_of(starts: &[i64], end: i64, at: i64) -> Option<usize> {
    if at >= end {
        return None;
    }
    starts.partition_point(|&start| start <= at).checked_sub(1)
}

/// The clock's hour at an instant within a day.
pub(super) fn hour_of(day: &super::days::Day, at: i64) -> usize {
    let shift = day.shift.filter(|shift| at >= shift.at);
    let seconds =
        day.first_hour * 3600 + at - day.starts_at + shift.map_or(0, |shift| shift.seconds);
    usize::try_from(seconds / 3600).unwrap_or(0).min(23)
}

/// The zone of a frame.
impl Frame {
    pub(super) const fn zone(&self) -> Tz {
        self.settings.zone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_takes_as_little_memory_as_the_documentation_says() {
        assert!(size_of::<Fact>() <= 104, "{}", size_of::<Fact>());
    }
}
