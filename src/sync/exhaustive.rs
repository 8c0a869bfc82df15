//! Tests both walks against a model of the server, under every interleaving of a few changes.
//!
//! The model has six records and shows two on each page. A change is an update, a bulk edit, an insert, a
//! commit that becomes visible late but within the overlap, a version whose stamp goes back, an answer of a
//! stale replica, or a request that fails. Up to two changes, or more if requested, are made at every
//! combination of points of one pass or first load. Then quiet passes follow. After them the mirror must hold
//! exactly what the model shows. If one safeguard is disabled, the same search must find a loss.
//!
//! In some moods the model's `Date` header is minutes ahead or behind, its totals are too small or absent, or
//! it counts a record that it never shows. In these moods the account changes again after the quiet passes.
//! The mirror must find those changes, too, and must record a gap for the record that is never shown.
//!
//! The mirror decides as the store does which version to believe (see `store/upsert.rs`).

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::plan;
use super::policy::RunError;
use super::walk::{Chunk, Climb, PROBE_SIZE, Safeguard, Walk, WalkSettings};
use crate::data::{
    BackfillWindow, Direction, Gap, Head, Item, Order, OrderField, Ordering, Page, PageQuery,
    Resource, Source, SourceError, Span, StateChange, StreamState, Timestamp, Usage,
};

const RECORDS: usize = 6;
const PAGE: u32 = 2;
const OVERLAP: Duration = Duration::from_secs(20);
/// A late commit takes this long to become visible: longer than any pass lasts here.
const LATE: Duration = Duration::from_secs(19);
/// How long a commit that has been in progress for a while still takes to become visible. It appears during
/// the pass, at a place that the pass may already have read.
const HANGING: Duration = Duration::from_millis(2005);
const TICK: Duration = Duration::from_secs(1);
/// How far back a stamp goes at most if a second server, whose clock is behind, writes the record.
const BACK: Duration = Duration::from_secs(18);
/// The age of a stale answer.
const STALE: Duration = Duration::from_secs(12);
/// The error of a wrong `Date` header.
const OFF: Duration = Duration::from_mins(10);
/// How far the clock of the mirror's machine is from the server's clock. The two are independent.
const HERE: Duration = Duration::from_hours(7);
/// After this many quiet passes, the mirror must be complete. Some are needed to wait for a record that is
/// never shown.
const QUIET: usize = 6;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
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
    fn all(mood: Mood) -> Vec<Self> {
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
    fn is_combined(self, mood: Mood) -> bool {
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
type Event = (usize, Change);

#[derive(Debug, Clone, Copy)]
struct Version {
    updated: Timestamp,
    visible: Timestamp,
}

/// The versions of a record, oldest first.
#[derive(Debug, Clone)]
struct Record {
    created: Timestamp,
    versions: Vec<Version>,
}

/// A version of a record: its stamp and its index.
type ShownVersion = (Timestamp, usize);

impl Record {
    /// The version that an answer of the age `stale` shows: the one that became visible last. Versions older
    /// than the overlap are visible in every replica.
    fn shown(&self, now: Timestamp, stale: Duration) -> Option<ShownVersion> {
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
enum Totals {
    Right,
    /// At most the size of a page.
    TooSmall,
    Absent,
}

#[derive(Debug, Clone, Copy)]
struct Mood {
    ordered: bool,
    inclusive: bool,
    /// For each of the six records, in order of creation: its place in the order of last changes.
    shuffle: [i64; RECORDS],
    /// How many minutes the `Date` header is ahead.
    date: i64,
    totals: Totals,
    /// The record that is counted and never shown.
    ghost: Option<usize>,
}

impl Mood {
    /// Whether it is one of the moods in which the account changes again after the quiet passes.
    fn is_odd(self) -> bool {
        self.date != 0 || self.totals != Totals::Right || self.ghost.is_some()
    }
}

#[derive(Debug)]
struct Model {
    mood: Mood,
    now: Timestamp,
    records: Vec<Record>,
    pending: Vec<Event>,
    requests: usize,
    /// Whether the next request fails. This field and the next two describe the next answer.
    fails: bool,
    is_stale: bool,
    minutes_ahead: i64,
}

fn origin() -> Timestamp {
    Timestamp::from_micros(1_700_000_000_000_000)
}

fn seconds(count: i64) -> Timestamp {
    Timestamp::from_micros(origin().micros() + count * 1_000_000)
}

/// When the records were last changed, in the order of their changes. The newest is more than the
/// overlap newer than the fourth, so that a settled window has two pages.
fn changed(place: i64) -> Timestamp {
    seconds(100 + place * 10 + place / 5)
}

impl Model {
    fn new(mood: Mood, events: &[Event]) -> Self {
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

    fn apply(&mut self, change: Change) {
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
    fn differing(&self, mirror: &Mirror) -> Option<usize> {
        (0..self.records.len())
            .find(|index| self.truth(*index) != mirror.rows.get(&id(*index)).copied())
    }

    fn difference(&self, mirror: &Mirror) -> Option<String> {
        let index = self.differing(mirror)?;
        let (truth, stored) = (self.truth(index), mirror.rows.get(&id(index)));
        Some(format!(
            "record {index}: {truth:?} on the server, {stored:?} here"
        ))
    }

    /// Whether the mirror has a gap for the record that is counted but never shown. Without such a record, or
    /// without totals, no gap is required.
    fn is_named(&self, mirror: &Mirror) -> bool {
        let missing: u64 = mirror.gaps.iter().map(Gap::missing).sum();
        self.mood.ghost.is_none() || self.mood.totals == Totals::Absent || missing > 0
    }

    fn due(&mut self) {
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

fn id(index: usize) -> Uuid {
    Uuid::from_u128(index as u128)
}

struct Server(Mutex<Model>);

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

/// What the database would hold.
#[derive(Debug, Default)]
struct Mirror {
    rows: BTreeMap<Uuid, ShownVersion>,
    watermark: Option<Timestamp>,
    seen: Option<(Timestamp, Timestamp)>,
    observed: Option<(Timestamp, Timestamp)>,
    ordering: Ordering,
    left: Vec<Span>,
    gaps: Vec<Gap>,
    /// Whether an older version is discarded, as if stamps never went back.
    is_stubborn: bool,
}

impl Mirror {
    fn state(&self) -> StreamState {
        let mut state = StreamState::new(Resource::Sessions.streams()[0]);
        state.watermark = self.watermark;
        state.ordering = self.ordering;
        (state.observed_at, state.observed_locally_at) = self.observed.unzip();
        (state.watermark_seen_at, state.watermark_seen_locally_at) = self.seen.unzip();
        state
    }

    /// Stores a page as the store does. A version with an older stamp replaces the stored version if that was
    /// older than the overlap when the last pass began. Otherwise the record is read by id.
    fn store(&mut self, chunk: Chunk, window: Option<Span>, model: &Model) {
        let here = model.now - HERE;
        let state = self.state();
        let reached = state.watermark.map(|at| state.reached(at, OVERLAP));
        if let Some(page) = &chunk.page {
            for item in &page.items {
                let head = item.head;
                let shown = (head.updated_at.unwrap(), item.raw.start);
                let key = head.id.unwrap();
                let stored = self.rows.get(&key).copied();
                let is_older = stored.is_some_and(|(at, _)| shown.0 < at);
                let is_settled = stored
                    .is_some_and(|(at, _)| reached.is_some_and(|reached| at + OVERLAP <= reached));
                if is_older && self.is_stubborn {
                    continue;
                }
                let believed = if is_older && !is_settled {
                    let index = usize::try_from(key.as_u128()).unwrap();
                    model.records[index]
                        .shown(model.now, Duration::ZERO)
                        .unwrap()
                } else {
                    shown
                };
                self.rows.insert(key, believed);
            }
        }
        for change in chunk.state_changes {
            match change {
                StateChange::Watermark { to, seen_at, .. } => {
                    if self.watermark.is_none_or(|watermark| to > watermark) {
                        self.watermark = Some(to);
                        self.seen = Some((seen_at, here));
                    }
                }
                StateChange::PassDone { server_time, .. } => {
                    self.observed = Some((server_time, here));
                }
                StateChange::WindowDone { .. } => self.left.retain(|left| Some(*left) != window),
                StateChange::WindowSplit { into, .. } => {
                    self.left.retain(|left| Some(*left) != window);
                    self.left.extend(into);
                }
                StateChange::WindowsJoined { .. } => self.left = vec![Span::OPEN],
                StateChange::Gap(gap) => {
                    self.gaps.retain(|known| known.window != gap.window);
                    self.gaps.push(gap);
                }
                StateChange::GapClosed { gap } => {
                    let _closed = self.gaps.remove(usize::try_from(gap).unwrap());
                }
                StateChange::ClockDifference { .. }
                | StateChange::InteractionsAhead { .. }
                | StateChange::GapTried { .. } => {}
                StateChange::ListRead { .. }
                | StateChange::ListDoubted { .. }
                | StateChange::Gone { .. }
                | StateChange::Differing { .. }
                | StateChange::Recheck { .. }
                | StateChange::Rechecked { .. }
                | StateChange::RecheckFailed { .. } => {
                    unreachable!("walks read neither lists nor by id")
                }
            }
        }
    }
}

/// Runs a walk to its end without a runtime. A walk waits for nothing but the channel.
fn drive<T>(
    server: &Server,
    mirror: &mut Mirror,
    window: Option<Span>,
    chunks: &mut mpsc::Receiver<Chunk>,
    walk: impl Future<Output = T>,
) -> T {
    let mut walk = pin!(walk);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        let polled = walk.as_mut().poll(&mut context);
        while let Ok(chunk) = chunks.try_recv() {
            mirror.store(chunk, window, &server.0.lock().unwrap());
        }
        if let Poll::Ready(result) = polled {
            return result;
        }
    }
}

#[derive(Debug)]
struct Case {
    mood: Mood,
    /// The mirror's first watermark, in seconds. Records that changed more than the overlap before it are
    /// already in the mirror.
    watermark: i64,
    first_load: bool,
    depth: u32,
    /// What an earlier pass has found out about the server's order. The server may have changed since then.
    believed: Ordering,
    without: Option<Safeguard>,
}

impl Case {
    fn walk<'a>(
        &self,
        server: &'a Server,
        mirror: &Mirror,
        stop: &'a CancellationToken,
    ) -> (Walk<'a, Server>, mpsc::Receiver<Chunk>) {
        let settings = WalkSettings {
            overlap: OVERLAP,
            page_size: PAGE,
            window_pages: self.depth,
            concurrency: 1,
        };
        let (out, chunks) = mpsc::channel(4);
        let stream = Resource::Sessions.streams()[0];
        let mut walk =
            Walk::new(server, stream, settings, stop, out).knowing(mirror.gaps.as_slice().into());
        walk.without = self.without;
        (walk, chunks)
    }

    fn pass(&self, server: &Server, mirror: &mut Mirror) -> Result<(), RunError> {
        let stop = CancellationToken::new();
        let (walk, mut chunks) = self.walk(server, mirror, &stop);
        let state = mirror.state();
        let watermark = mirror.watermark.unwrap();
        let end = drive(
            server,
            mirror,
            None,
            &mut chunks,
            walk.incremental(&state, watermark),
        )?;
        mirror.ordering = end.ordering;
        Ok(())
    }

    /// Plans a first load as the engine does, and reads it.
    fn load(&self, server: &Server, mirror: &mut Mirror) -> Result<(), RunError> {
        let stop = CancellationToken::new();
        let (walk, mut chunks) = self.walk(server, mirror, &stop);
        let survey = walk.query(Span::OPEN, Span::OPEN, Order::CREATED);
        let plan = async {
            let first = walk.fetch(&survey).await?;
            let until = first.server_time;
            let descending = PageQuery {
                size: PROBE_SIZE,
                ..walk.changes(Span::OPEN, Direction::Descending)
            };
            let mut climb = Climb::new(descending, until);
            while climb.take(&walk.fetch(climb.query()).await?) {}
            let newest = climb.best;
            Ok::<_, RunError>((first, newest))
        };
        let (first, newest) = drive(server, mirror, None, &mut chunks, plan)?;
        drop(walk);
        let mut begun = newest.map_or(plan::FLOOR, |mark| mark.to);
        let mut now = newest.map_or(first.server_time, |mark| mark.to);
        if self.without == Some(Safeguard::Stamps) {
            (begun, now) = (first.server_time, first.server_time);
        }
        mirror.watermark = Some(begun);
        mirror.seen = newest.map(|mark| (mark.seen_at, server.0.lock().unwrap().now - HERE));
        let total = first.total.unwrap_or(first.items.len() as u64);
        let pages = plan::pages(total, PAGE);
        let oldest = first.items.iter().filter_map(|item| item.head.created_at);
        mirror.left = plan::windows(Span::OPEN, oldest.min(), now, OVERLAP, (pages, self.depth));
        while let Some(created) = mirror.left.first().copied() {
            let (walk, mut chunks) = self.walk(server, mirror, &stop);
            let window = BackfillWindow {
                id: 1,
                stream: walk.stream,
                created,
                filter: 0,
            };
            drive(
                server,
                mirror,
                Some(created),
                &mut chunks,
                walk.backfill_window(&window),
            )?;
        }
        Ok(())
    }

    /// Reads every gap again, as each nightly verification does.
    fn look_again(&self, server: &Server, mirror: &mut Mirror) -> Result<(), RunError> {
        let stop = CancellationToken::new();
        let gaps = mirror.gaps.clone();
        for (index, gap) in gaps.iter().enumerate().rev() {
            let (mut walk, mut chunks) = self.walk(server, mirror, &stop);
            walk.gaps = Arc::default();
            let looking = walk.look_again(i64::try_from(index).unwrap(), gap);
            drive(server, mirror, None, &mut chunks, looking)?;
        }
        Ok(())
    }

    /// Returns what the mirror lacks after the events and the quiet passes, and how many requests the
    /// disturbed pass or load took.
    fn run(&self, events: &[Event]) -> (Option<String>, usize) {
        let server = Server(Mutex::new(Model::new(self.mood, events)));
        let mut mirror = Mirror {
            watermark: Some(seconds(self.watermark)),
            ordering: self.believed,
            is_stubborn: self.without == Some(Safeguard::LaterWins),
            ..Mirror::default()
        };
        for (index, place) in self.mood.shuffle.iter().enumerate() {
            let updated = changed(*place);
            let is_ghost = self.mood.ghost == Some(index);
            if !self.first_load && !is_ghost && updated <= seconds(self.watermark) - OVERLAP {
                mirror.rows.insert(id(index), (updated, 0));
            }
        }
        let disturbed = if self.first_load {
            self.load(&server, &mut mirror)
        } else {
            self.pass(&server, &mut mirror)
        };
        let requests = server.0.lock().unwrap().requests;
        // A real first load would resume after a failure. Here it starts over.
        let failed = disturbed.is_err();
        // If a record enters or leaves at the wrong moment, a pass cannot see that another record is counted
        // but not shown. The counts of the nightly verification show it.
        let is_calm = events.is_empty();
        let loss = self.rest(&server, &mut mirror, failed, is_calm);
        (loss, requests)
    }

    /// Makes the quiet passes after the disturbed one. Returns what the mirror then lacks.
    fn rest(
        &self,
        server: &Server,
        mirror: &mut Mirror,
        mut failed: bool,
        is_calm: bool,
    ) -> Option<String> {
        let pass = |failed: &mut bool, mirror: &mut Mirror| {
            {
                let mut model = server.0.lock().unwrap();
                model.requests = usize::MAX / 2;
                model.due();
                model.fails = false;
                model.now = model.now + Duration::from_mins(1);
            }
            if *failed && self.first_load {
                *failed = self.load(server, mirror).is_err();
            }
            *failed = false;
            self.pass(server, mirror)
        };
        let mut passes = 0;
        loop {
            let model = server.0.lock().unwrap();
            let is_quiet = model.pending.is_empty() && !failed;
            let is_named = model.is_named(mirror) || !is_calm;
            // Further quiet passes would only read the same records again.
            if is_quiet && is_named && model.differing(mirror).is_none() {
                break;
            }
            if passes == QUIET {
                return Some(
                    model
                        .difference(mirror)
                        .unwrap_or_else(|| "what is counted and not shown is not named".to_owned()),
                );
            }
            drop(model);
            passes += 1;
            if let Err(error) = pass(&mut failed, mirror) {
                return Some(format!("a quiet pass failed: {error}"));
            }
        }
        if !self.mood.is_odd() {
            return None;
        }
        // The account changes again.
        for later in [
            [Change::Insert, Change::LateUpdate(0)],
            [Change::Update(3); 2],
        ] {
            for change in later {
                server.0.lock().unwrap().apply(change);
            }
            if let Err(error) = pass(&mut failed, mirror) {
                return Some(format!("a later pass failed: {error}"));
            }
        }
        if let Some(difference) = server.0.lock().unwrap().difference(mirror) {
            return Some(format!("later, {difference}"));
        }
        // The gap is read again at night. Its record is still not shown, so the gap must stay.
        if let Err(error) = self.look_again(server, mirror) {
            return Some(format!("a gap could not be looked at again: {error}"));
        }
        let model = server.0.lock().unwrap();
        (is_calm && !model.is_named(mirror)).then(|| "the gap is forgotten".to_owned())
    }

    /// Tries every combination of changes at every point. Returns the first loss, and how many combinations
    /// were tried.
    fn search(&self) -> (Option<(Vec<Event>, String)>, usize) {
        let (calm, points) = self.run(&[]);
        if let Some(loss) = calm {
            return (Some((Vec::new(), loss)), 1);
        }
        // Changes make a walk longer than a walk without changes. So two more points are tried, to reach the
        // requests with which the walk reacts to changes.
        let points = points + 2;
        let changes = Change::all(self.mood);
        let singles: Vec<Event> = (0..points)
            .flat_map(|at| changes.iter().map(move |change| (at, *change)))
            .collect();
        let asked = asked();
        let most = asked.unwrap_or(2);
        let is_combined = |(_, change): &Event| asked.is_some() || change.is_combined(self.mood);
        let mut tried = 1;
        let mut stack: Vec<Vec<Event>> = singles.iter().map(|event| vec![*event]).collect();
        while let Some(events) = stack.pop() {
            tried += 1;
            if let (Some(loss), _) = self.run(&events) {
                return (Some((events, loss)), tried);
            }
            if events.len() < most && events.iter().all(is_combined) {
                let last = events.last().map_or(0, |(at, _)| *at);
                let later = singles.iter().filter(|(at, _)| *at >= last);
                for event in later.filter(|event| is_combined(event)) {
                    stack.push(events.iter().copied().chain([*event]).collect());
                }
            }
        }
        (None, tried)
    }
}

const SORTED: [i64; RECORDS] = [0, 1, 2, 3, 4, 5];
const REVERSED: [i64; RECORDS] = [5, 4, 3, 2, 1, 0];
const MIXED: [i64; RECORDS] = [2, 0, 1, 5, 3, 4];

fn cases(without: Option<Safeguard>) -> Vec<Case> {
    let mut cases = Vec::new();
    for ordered in [true, false] {
        for (shuffle, inclusive) in [
            (MIXED, false),
            (MIXED, true),
            (SORTED, false),
            (REVERSED, false),
        ] {
            let mood = Mood {
                ordered,
                inclusive,
                shuffle,
                date: 0,
                totals: Totals::Right,
                ghost: None,
            };
            let (unknown, believed) = (Ordering::Unknown, Ordering::Honoured);
            for (watermark, first_load, depth, believed) in [
                (50, false, 50, unknown),
                (125, false, 50, unknown),
                (50, false, 50, believed),
                (0, true, 50, unknown),
                (0, true, 2, unknown),
            ] {
                // If the server honours the order, believing it beforehand makes no difference: the pass
                // finds it out anyway.
                if ordered && believed == Ordering::Honoured {
                    continue;
                }
                cases.push(Case {
                    mood,
                    watermark,
                    first_load,
                    depth,
                    believed,
                    without,
                });
            }
        }
    }
    cases
}

/// Cases of a platform with one odd behaviour at a time.
fn odd(without: Option<Safeguard>) -> Vec<Case> {
    let off = i64::try_from(OFF.as_secs() / 60).unwrap();
    let mut cases = Vec::new();
    for ordered in [true, false] {
        let with = |date, totals, ghost| Mood {
            ordered,
            inclusive: false,
            shuffle: MIXED,
            date,
            totals,
            ghost,
        };
        let (right, small, absent) = (Totals::Right, Totals::TooSmall, Totals::Absent);
        for (mood, watermark, first_load, depth) in [
            (with(off, right, None), 50, false, 50),
            (with(off, right, None), 0, true, 2),
            (with(-off, right, None), 125, false, 50),
            (with(-off, right, None), 0, true, 50),
            (with(0, small, None), 50, false, 50),
            (with(0, small, None), 0, true, 2),
            (with(0, absent, None), 125, false, 50),
            (with(0, absent, None), 0, true, 50),
            (with(0, right, Some(2)), 50, false, 50),
            (with(0, right, Some(5)), 125, false, 50),
            (with(0, right, Some(1)), 0, true, 2),
            (with(0, absent, Some(2)), 50, false, 50),
            (with(0, absent, Some(1)), 0, true, 2),
        ] {
            cases.push(Case {
                mood,
                watermark,
                first_load,
                depth,
                believed: Ordering::Unknown,
                without,
            });
        }
    }
    cases
}

/// How many changes are combined, from the variable `EXHAUSTIVE`. If it is set, changes of all kinds are
/// combined; otherwise two changes of the kinds that find the most losses. `EXHAUSTIVE=2 cargo test --release
/// --lib exhaustive` uses an optimised build and takes a minute. With 3 it takes very long.
fn asked() -> Option<usize> {
    let asked = std::env::var("EXHAUSTIVE").ok()?;
    Some(asked.parse().unwrap())
}

fn search(cases: impl IntoIterator<Item = Case>) {
    let mut tried = 0;
    for case in cases {
        let (loss, count) = case.search();
        tried += count;
        assert_eq!(loss, None, "{case:?}");
    }
    println!("{tried} interleavings, nothing lost");
}

#[test]
fn no_interleaving_of_changes_loses_a_record_where_the_order_is_honoured() {
    search(cases(None).into_iter().filter(|case| case.mood.ordered));
}

#[test]
fn no_interleaving_of_changes_loses_a_record_where_the_order_is_ignored() {
    search(cases(None).into_iter().filter(|case| !case.mood.ordered));
}

fn loss_without(safeguard: Safeguard, cases: impl IntoIterator<Item = Case>) {
    let found = cases.into_iter().find_map(|mut case| {
        case.without = Some(safeguard);
        let (events, loss) = case.search().0?;
        Some((format!("{case:?}"), events, loss))
    });
    println!("without {safeguard:?}: {found:#?}");
    assert!(found.is_some(), "nothing is lost without {safeguard:?}");
}

fn passes(ordered: bool, shuffle: [i64; RECORDS], watermark: i64) -> Vec<Case> {
    cases(None)
        .into_iter()
        .filter(|case| {
            !case.first_load
                && case.watermark == watermark
                && case.mood.ordered == ordered
                && case.mood.shuffle == shuffle
        })
        .collect()
}

#[test]
fn without_the_order_check_a_record_is_lost() {
    loss_without(Safeguard::OrderCheck, passes(false, SORTED, 50));
}

#[test]
fn without_the_cap_at_the_beginning_of_the_pass_a_record_is_lost() {
    loss_without(Safeguard::Cap, passes(true, SORTED, 50));
}

#[test]
fn without_settled_windows_a_record_is_lost() {
    loss_without(Safeguard::Settled, passes(false, SORTED, 125));
}

#[test]
fn without_backward_reading_a_record_is_lost() {
    loss_without(Safeguard::Backward, passes(false, MIXED, 50));
}

#[test]
fn without_the_count_check_a_record_is_lost() {
    // One page comes from one replica, and the next page from a stale replica.
    let loads = cases(None).into_iter().filter(|case| case.first_load);
    loss_without(Safeguard::Count, loads);
}

#[test]
fn no_interleaving_of_changes_loses_a_record_of_an_odd_platform_where_the_order_is_honoured() {
    search(odd(None).into_iter().filter(|case| case.mood.ordered));
}

#[test]
fn no_interleaving_of_changes_loses_a_record_of_an_odd_platform_where_the_order_is_ignored() {
    search(odd(None).into_iter().filter(|case| !case.mood.ordered));
}

#[test]
fn without_believing_what_is_read_later_a_record_is_lost() {
    loss_without(Safeguard::LaterWins, passes(true, MIXED, 125));
}

fn odd_where(is: impl Fn(&Case) -> bool) -> Vec<Case> {
    odd(None).into_iter().filter(is).collect()
}

#[test]
fn without_a_watermark_from_the_stamps_of_records_a_record_is_lost() {
    let ahead = |case: &Case| case.mood.date > 0 && case.mood.ordered;
    let loads = odd_where(|case| ahead(case) && case.first_load);
    loss_without(Safeguard::Stamps, loads);
    let passes = odd_where(|case| case.mood.date > 0 && !case.first_load);
    loss_without(Safeguard::Stamps, passes);
}

#[test]
fn without_measuring_how_long_a_change_is_known_a_record_is_lost() {
    let ahead = odd_where(|case| case.mood.date > 0);
    loss_without(Safeguard::Durations, ahead);
}

#[test]
fn without_looking_behind_full_pages_a_record_is_lost() {
    for first_load in [true, false] {
        let small =
            odd_where(|case| case.mood.totals == Totals::TooSmall && case.first_load == first_load);
        loss_without(Safeguard::FullPages, small);
    }
}

#[test]
fn without_naming_what_is_never_shown_a_stream_stands_still() {
    for first_load in [true, false] {
        let ghosts = odd_where(|case| case.mood.ghost.is_some() && case.first_load == first_load);
        loss_without(Safeguard::Gaps, ghosts);
    }
}
