//! The model of the server: its records and their versions, what changes them, and what it answers.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use uuid::Uuid;

use super::mirror::Mirror;
use super::{BACK, HANGING, LATE, OFF, OVERLAP, PAGE, RECORDS, STALE, TICK};
use crate::data::{
    Direction, Gap, Head, Item, OrderField, Page, PageQuery, Resource, Source, SourceError, Span,
    Timestamp, Usage,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Update(usize),
    Insert,
    LateUpdate(usize),
    LateInsert,
    HangingUpdate(usize),
    HangingInsert,
    /// A new version whose stamp is older than that of the version before.
    BackUpdate(usize),
    /// More records than a page holds get new versions with one stamp.
    BulkUpdate,
    /// No change of a record: the next request fails, and with it the pass.
    Failure,
    /// The next answer comes from a stale replica.
    Stale,
    /// The `Date` of the next answer is ahead by so many minutes.
    Date(i64),
}

impl Change {
    pub(super) fn all(mood: Mood) -> Vec<Self> {
        let mut all = vec![
            Self::Insert,
            Self::LateInsert,
            Self::HangingInsert,
            Self::Failure,
            Self::BulkUpdate,
            Self::Stale,
        ];
        all.extend((0..RECORDS).map(Self::Update));
        // The first, a middle and the last record represent all places that a late change can move a record
        // from.
        for record in [0, 2, RECORDS - 1] {
            all.extend([Self::LateUpdate(record), Self::HangingUpdate(record)]);
        }
        all.extend([2, RECORDS - 1].map(Self::BackUpdate));
        if mood.date != 0 {
            let off = i64::try_from(OFF.as_secs() / 60).unwrap();
            all.extend([Self::Date(off), Self::Date(-off)]);
        }
        all
    }

    /// Whether it is combined with other changes in the short search.
    pub(super) fn is_combined(self, mood: Mood) -> bool {
        let is_odd = mood.is_odd();
        match self {
            Self::Insert | Self::Date(_) => true,
            Self::Update(record) => record == 0 || record == 3,
            Self::HangingUpdate(record) => record == 0,
            // If the totals are right, they distinguish the pages of two replicas.
            Self::Stale => !is_odd || mood.totals != Totals::Right,
            Self::HangingInsert | Self::Failure | Self::BulkUpdate => !is_odd,
            Self::LateUpdate(record) | Self::BackUpdate(record) => !is_odd && record == RECORDS - 1,
            Self::LateInsert => false,
        }
    }
}

/// A change, and the number of the request before which it happens.
pub(super) type Event = (usize, Change);

#[derive(Debug, Clone, Copy)]
pub(super) struct Version {
    pub(super) updated: Timestamp,
    pub(super) visible: Timestamp,
}

/// The versions of a record, oldest first.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) created: Timestamp,
    pub(super) versions: Vec<Version>,
}

/// A version of a record: its stamp and its index.
pub(super) type ShownVersion = (Timestamp, usize);

impl Record {
    /// The version that an answer of the age `stale` shows: the one that became visible last. Versions older
    /// than the overlap are visible in every replica.
    pub(super) fn shown(&self, now: Timestamp, stale: Duration) -> Option<ShownVersion> {
        let visible = |version: &Version| {
            let everywhere = (version.updated + OVERLAP).max(version.visible);
            (version.visible + stale).min(everywhere)
        };
        let versions = self.versions.iter().enumerate();
        versions
            .filter(|(_, version)| visible(version) <= now)
            .max_by_key(|(index, version)| (version.visible, *index))
            .map(|(index, version)| (version.updated, index))
    }
}

/// Which totals the model sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Totals {
    Right,
    /// At most the size of a page.
    TooSmall,
    Absent,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Mood {
    pub(super) ordered: bool,
    pub(super) inclusive: bool,
    /// For each of the six records, in order of creation: its place in the order of last changes.
    pub(super) shuffle: [i64; RECORDS],
    /// How many minutes the `Date` header is ahead.
    pub(super) date: i64,
    pub(super) totals: Totals,
    /// The record that is counted and never shown.
    pub(super) ghost: Option<usize>,
}

impl Mood {
    /// Whether it is one of the moods in which the account changes again after the quiet passes.
    pub(super) fn is_odd(self) -> bool {
        self.date != 0 || self.totals != Totals::Right || self.ghost.is_some()
    }
}

#[derive(Debug)]
pub(super) struct Model {
    mood: Mood,
    pub(super) now: Timestamp,
    pub(super) records: Vec<Record>,
    pub(super) pending: Vec<Event>,
    pub(super) requests: usize,
    /// Whether the next request fails. This field and the next two describe the next answer.
    pub(super) fails: bool,
    is_stale: bool,
    minutes_ahead: i64,
}

fn origin() -> Timestamp {
    Timestamp::from_micros(1_700_000_000_000_000)
}

pub(super) fn seconds(count: i64) -> Timestamp {
    Timestamp::from_micros(origin().micros() + count * 1_000_000)
}

/// When the records were last changed, in the order of their changes. The newest is more than the
/// overlap newer than the fourth, so that a settled window has two pages.
pub(super) fn changed(place: i64) -> Timestamp {
    seconds(100 + place * 10 + place / 5)
}

impl Model {
    pub(super) fn new(mood: Mood, events: &[Event]) -> Self {
        let records = mood
            .shuffle
            .iter()
            .enumerate()
            .map(|(index, &place)| {
                let updated = changed(place);
                let created = seconds(120 + i64::try_from(index).unwrap() * 6);
                Record {
                    created,
                    versions: vec![Version {
                        updated,
                        visible: updated,
                    }],
                }
            })
            .collect();
        Self {
            mood,
            now: seconds(152),
            records,
            pending: events.to_vec(),
            requests: 0,
            fails: false,
            is_stale: false,
            minutes_ahead: 0,
        }
    }

    pub(super) fn apply(&mut self, change: Change) {
        match change {
            Change::Failure => self.fails = true,
            Change::Stale => self.is_stale = true,
            Change::Date(minutes) => self.minutes_ahead = minutes,
            change @ (Change::Update(_)
            | Change::Insert
            | Change::LateUpdate(_)
            | Change::LateInsert
            | Change::HangingUpdate(_)
            | Change::HangingInsert
            | Change::BackUpdate(_)
            | Change::BulkUpdate) => self.write(change),
        }
    }

    fn write(&mut self, change: Change) {
        // No two changes have the same instant, as on a real server.
        self.now = self.now + Duration::from_millis(10);
        let (age, delay) = match change {
            Change::Update(_) | Change::Insert | Change::BulkUpdate => {
                (Duration::ZERO, Duration::ZERO)
            }
            Change::LateUpdate(_) | Change::LateInsert => (Duration::ZERO, LATE),
            Change::HangingUpdate(_) | Change::HangingInsert => {
                (OVERLAP.saturating_sub(HANGING), HANGING)
            }
            Change::BackUpdate(record) => {
                let (before, _) = self.records[record]
                    .shown(self.now, Duration::ZERO)
                    .unwrap();
                let behind = self.now.since(before) + Duration::from_millis(5);
                (behind.min(BACK), Duration::ZERO)
            }
            Change::Failure | Change::Stale | Change::Date(_) => {
                unreachable!("no version comes of it")
            }
        };
        let version = Version {
            updated: self.now - age,
            visible: self.now + delay,
        };
        match change {
            Change::Update(record)
            | Change::LateUpdate(record)
            | Change::HangingUpdate(record)
            | Change::BackUpdate(record) => {
                self.records[record].versions.push(version);
            }
            Change::BulkUpdate => {
                for record in [0, 2, 5] {
                    self.records[record].versions.push(version);
                }
            }
            Change::Insert | Change::LateInsert | Change::HangingInsert => {
                self.records.push(Record {
                    created: version.updated,
                    versions: vec![version],
                });
            }
            Change::Failure | Change::Stale | Change::Date(_) => {}
        }
    }

    fn is_ghost(&self, index: usize) -> bool {
        self.mood.ghost == Some(index)
    }

    /// The final version of a record, when all its versions are visible; `None` if it is never shown.
    fn truth(&self, index: usize) -> Option<ShownVersion> {
        let end = Timestamp::from_micros(i64::MAX);
        self.records[index]
            .shown(end, Duration::ZERO)
            .filter(|_| !self.is_ghost(index))
    }

    /// A record whose version in the mirror is not the model's final version.
    pub(super) fn differing(&self, mirror: &Mirror) -> Option<usize> {
        (0..self.records.len())
            .find(|index| self.truth(*index) != mirror.rows.get(&id(*index)).copied())
    }

    pub(super) fn difference(&self, mirror: &Mirror) -> Option<String> {
        let index = self.differing(mirror)?;
        let (truth, stored) = (self.truth(index), mirror.rows.get(&id(index)));
        Some(format!(
            "record {index}: {truth:?} on the server, {stored:?} here"
        ))
    }

    /// Whether the mirror has a gap for the record that is counted but never shown. Without such a record, or
    /// without totals, no gap is required.
    pub(super) fn is_named(&self, mirror: &Mirror) -> bool {
        let missing: u64 = mirror.gaps.iter().map(Gap::missing).sum();
        self.mood.ghost.is_none() || self.mood.totals == Totals::Absent || missing > 0
    }

    pub(super) fn due(&mut self) {
        let requests = self.requests;
        while let Some(index) = self.pending.iter().position(|(at, _)| *at <= requests) {
            let (_, change) = self.pending.remove(index);
            self.apply(change);
        }
    }

    fn answer(&mut self, query: &PageQuery) -> Result<Page, SourceError> {
        self.due();
        self.requests += 1;
        self.now = self.now + TICK;
        if std::mem::take(&mut self.fails) {
            return Err(SourceError::Malformed {
                request: "GET".to_owned(),
                attempts: 1,
                detail: "half a body".to_owned(),
            });
        }
        let inside = |span: Span, at: Timestamp| {
            let (after, before) = if self.mood.inclusive {
                (
                    span.after.is_none_or(|a| at >= a),
                    span.before.is_none_or(|b| at <= b),
                )
            } else {
                (
                    span.after.is_none_or(|a| at > a),
                    span.before.is_none_or(|b| at < b),
                )
            };
            after && before
        };
        let stale = if std::mem::take(&mut self.is_stale) {
            STALE
        } else {
            Duration::ZERO
        };
        let mut shown: Vec<(Head, usize)> = self
            .records
            .iter()
            .enumerate()
            .filter_map(|(index, record)| {
                let (updated, version) = record.shown(self.now, stale)?;
                let head = Head {
                    id: Some(id(index)),
                    updated_at: Some(updated),
                    created_at: Some(record.created),
                    last_interaction_at: None,
                };
                let is_inside =
                    inside(query.updated, updated) && inside(query.created, record.created);
                is_inside.then_some((head, version))
            })
            .collect();
        if let Some(order) = query.order.filter(|_| self.mood.ordered) {
            shown.sort_by_key(|(head, _)| match order.field {
                OrderField::UpdatedAt => head.updated_at,
                OrderField::CreatedAt => head.created_at,
                OrderField::LastInteractionAt => head.last_interaction_at,
            });
            if order.direction == Direction::Descending {
                shown.reverse();
            }
        }
        let matching = shown.len();
        let size = query.size as usize;
        let from = (query.number - 1) as usize * size;
        // The range that would be the record's text holds the index of the version, which is the record's
        // content.
        let items: Vec<Item> = shown
            .into_iter()
            .skip(from)
            .take(size)
            .filter(|(head, _)| self.mood.ghost.map(id) != head.id)
            .map(|(head, version)| Item {
                head,
                raw: version..version,
            })
            .collect();
        let total = match self.mood.totals {
            Totals::Right => Some(matching),
            Totals::TooSmall => Some(matching.min(PAGE as usize)),
            Totals::Absent => None,
        };
        // The `Date` header in whole seconds, minus the duration of the request.
        let server_time = Timestamp::from_micros(self.now.micros() / 1_000_000 * 1_000_000) - TICK;
        let minutes = self.mood.date + std::mem::take(&mut self.minutes_ahead);
        Ok(Page {
            has_more: items.len() == size
                || !items.is_empty() && total.is_some_and(|total| from + size < total),
            contradictory: total.is_some_and(|total| from + items.len() > total.max(from)),
            silent: total.is_none() && !items.is_empty(),
            total: total.map(|total| total as u64),
            ..Page::new(
                Arc::from(""),
                items,
                Timestamp::from_micros(server_time.micros() + minutes * 60_000_000),
            )
        })
    }
}

pub(super) fn id(index: usize) -> Uuid {
    Uuid::from_u128(index as u128)
}

pub(super) struct Server(pub(super) Mutex<Model>);

impl Source for Server {
    async fn page(&self, query: &PageQuery) -> Result<Page, SourceError> {
        self.0.lock().unwrap().answer(query)
    }
    async fn list(&self, _: Resource) -> Result<Page, SourceError> {
        unreachable!("no walk reads lists")
    }
    async fn by_id(&self, _: Resource, _: Uuid) -> Result<Page, SourceError> {
        unreachable!("no walk reads by id")
    }
    fn usage(&self) -> Usage {
        Usage::default()
    }
}
