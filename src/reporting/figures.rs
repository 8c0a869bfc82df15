//! The figures of a report, computed from the sessions that were read.
//!
//! Each figure belongs to the day on which its session was created, or on which it ended, as in the views.
//! Must not know how figures are shown.

mod group;
mod open_now;
mod rows;

use chrono::NaiveDate;
use serde::Serialize;

use super::days::Day;
use super::period::Period;
use super::session::{Calibration, Campaign, Fact, Facts, NONE, OpenSession, Quality, hour_of};
use super::times::Times;
use crate::data::Timestamp;

pub use group::{Group, Share};
use group::{Part, Stretch, group};
pub use open_now::{AGES, Oldest, OpenNow};
use rows::number_agents;
pub use rows::{Key, Named, Names, Row, shortened_rows};

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
        // One that is kept elsewhere is longer than all of them, too.
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
}

fn whole(at: Timestamp) -> i64 {
    at.micros().div_euclid(MICROS)
}
