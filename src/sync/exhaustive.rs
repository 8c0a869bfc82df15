//! Both walks against a model of the server, under every interleaving of a few changes.
//!
//! The model has six records and shows two a page. Up to two changes, or three if asked (an update,
//! an insert, a commit that becomes visible late but within the overlap, or a request that fails)
//! are made at every combination of points of one pass or first load; then come quiet passes; then
//! the mirror must hold exactly what the model holds. With one safeguard taken out the same search
//! must find a loss.

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
use super::walk::{Chunk, Safeguard, Walk, WalkError, WalkSettings};
use crate::data::{
    BackfillWindow, ColumnGroup, Direction, Head, Item, Ordering, Page, PageQuery, Progress,
    Resource, Source, SourceError, Span, StreamState, Timestamp, Usage,
};

const RECORDS: usize = 6;
const PAGE: u32 = 2;
const OVERLAP: Duration = Duration::from_secs(20);
/// A late commit takes this long to become visible: longer than any pass lasts here.
const LATE: Duration = Duration::from_secs(19);
/// A commit that has been under way for a while still takes this long: it appears within the pass,
/// in a place that the pass may have left behind.
const HANGING: Duration = Duration::from_millis(2005);
const TICK: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Update(usize),
    Insert,
    LateUpdate(usize),
    LateInsert,
    HangingUpdate(usize),
    HangingInsert,
    /// No change of a record: the next request fails, and with it the pass.
    Failure,
}

impl Change {
    fn all() -> Vec<Self> {
        let mut all = vec![
            Self::Insert,
            Self::LateInsert,
            Self::HangingInsert,
            Self::Failure,
        ];
        all.extend((0..RECORDS).map(Self::Update));
        // The first, a middle and the last record stand for the places a late one can leave.
        for record in [0, 2, RECORDS - 1] {
            all.extend([Self::LateUpdate(record), Self::HangingUpdate(record)]);
        }
        all
    }
}

/// A change, and before which request it happens.
type Event = (usize, Change);

#[derive(Debug, Clone, Copy)]
struct Version {
    updated: Timestamp,
    visible: Timestamp,
}

/// The versions of a record, oldest first; it was created with the first.
#[derive(Debug, Clone)]
struct Record {
    created: Timestamp,
    versions: Vec<Version>,
}

impl Record {
    fn shown(&self, now: Timestamp) -> Option<Timestamp> {
        self.versions
            .iter()
            .filter(|version| version.visible <= now)
            .map(|v| v.updated)
            .max()
    }
}

#[derive(Debug, Clone, Copy)]
struct Mood {
    ordered: bool,
    inclusive: bool,
    /// The order of the six records' last changes, by their order of creation.
    shuffle: [i64; RECORDS],
}

#[derive(Debug)]
struct Model {
    mood: Mood,
    now: Timestamp,
    records: Vec<Record>,
    pending: Vec<Event>,
    requests: usize,
    fails: bool,
}

fn origin() -> Timestamp {
    Timestamp::from_micros(1_700_000_000_000_000)
}

fn seconds(count: i64) -> Timestamp {
    Timestamp::from_micros(origin().micros() + count * 1_000_000)
}

impl Model {
    fn new(mood: Mood, events: &[Event]) -> Self {
        let records = mood
            .shuffle
            .iter()
            .enumerate()
            .map(|(index, &place)| {
                let updated = seconds(100 + place * 10);
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
        }
    }

    fn apply(&mut self, change: Change) {
        if change == Change::Failure {
            self.fails = true;
            return;
        }
        // No two changes share an instant, as they would not on a server.
        self.now = self.now + Duration::from_millis(10);
        let (age, delay) = match change {
            Change::Update(_) | Change::Insert => (Duration::ZERO, Duration::ZERO),
            Change::LateUpdate(_) | Change::LateInsert => (Duration::ZERO, LATE),
            Change::HangingUpdate(_) | Change::HangingInsert => {
                (OVERLAP.saturating_sub(HANGING), HANGING)
            }
            Change::Failure => unreachable!("no version comes of it"),
        };
        let version = Version {
            updated: self.now - age,
            visible: self.now + delay,
        };
        match change {
            Change::Update(record) | Change::LateUpdate(record) | Change::HangingUpdate(record) => {
                self.records[record].versions.push(version);
            }
            Change::Insert | Change::LateInsert | Change::HangingInsert => {
                self.records.push(Record {
                    created: version.updated,
                    versions: vec![version],
                });
            }
            Change::Failure => {}
        }
    }

    /// Whether the mirror holds every record in its newest version; with `settled`, also that no
    /// commit is still on its way and no change still to come.
    fn is_mirrored(&self, mirror: &Mirror, settled: bool) -> bool {
        (!settled || self.pending.is_empty())
            && self.records.iter().enumerate().all(|(index, record)| {
                let newest = if settled {
                    record.versions.iter().map(|version| version.updated).max()
                } else {
                    record.shown(self.now)
                };
                mirror.rows.get(&Uuid::from_u128(index as u128)).copied() == newest
            })
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
        let mut shown: Vec<Head> = self
            .records
            .iter()
            .enumerate()
            .filter_map(|(index, record)| {
                let updated = record.shown(self.now)?;
                (inside(query.updated, updated) && inside(query.created, record.created)).then(
                    || Head {
                        id: Some(Uuid::from_u128(index as u128)),
                        updated_at: Some(updated),
                        created_at: Some(record.created),
                    },
                )
            })
            .collect();
        if let Some(order) = query.order.filter(|_| self.mood.ordered) {
            shown.sort_by_key(|head| match order.field {
                crate::data::OrderField::UpdatedAt => head.updated_at,
                crate::data::OrderField::CreatedAt => head.created_at,
            });
            if order.direction == Direction::Descending {
                shown.reverse();
            }
        }
        let total = shown.len();
        let from = ((query.number - 1) * query.size) as usize;
        let items: Vec<Item> = shown
            .into_iter()
            .skip(from)
            .take(query.size as usize)
            .map(|head| Item { head, raw: 0..0 })
            .collect();
        Ok(Page {
            body: Arc::from(""),
            has_more: from + items.len() < total,
            items,
            total: Some(total as u64),
            // What the `Date` header would say, in whole seconds, less the time the answer took.
            server_time: Timestamp::from_micros(self.now.micros() / 1_000_000 * 1_000_000) - TICK,
            unknown: ColumnGroup::NONE,
        })
    }
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
    rows: BTreeMap<Uuid, Timestamp>,
    watermark: Option<Timestamp>,
    observed: Option<Timestamp>,
    ordering: Ordering,
    left: Vec<Span>,
}

impl Mirror {
    fn store(&mut self, chunk: Chunk, window: Option<Span>) {
        for item in chunk.page.iter().flat_map(|page| &page.items) {
            let (id, updated) = (item.head.id.unwrap(), item.head.updated_at.unwrap());
            let row = self.rows.entry(id).or_insert(updated);
            *row = (*row).max(updated);
        }
        for progress in chunk.progress {
            match progress {
                Progress::Watermark { to, .. } => self.watermark = self.watermark.max(Some(to)),
                Progress::PassDone { server_time, .. } => self.observed = Some(server_time),
                Progress::WindowDone { .. } => self.left.retain(|left| Some(*left) != window),
                Progress::WindowSplit { into, .. } => {
                    self.left.retain(|left| Some(*left) != window);
                    self.left.extend(into);
                }
                Progress::WindowsJoined { .. } => self.left = vec![Span::OPEN],
                Progress::ListRead { .. } | Progress::Gone { .. } | Progress::Differing { .. } => {
                    unreachable!("walks read neither lists nor by id")
                }
            }
        }
    }
}

/// Runs a walk to its end without a runtime: nothing in it waits for anything but the channel.
fn drive<T>(
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
            mirror.store(chunk, window);
        }
        if let Poll::Ready(result) = polled {
            return result;
        }
    }
}

#[derive(Debug)]
struct Case {
    mood: Mood,
    /// Where the watermark of the mirror stands at first, in seconds; what lies before it by more
    /// than the overlap is mirrored already.
    watermark: i64,
    first_load: bool,
    depth: u32,
    /// What an earlier pass has found out of the order; the server may have changed since.
    believed: Ordering,
    without: Option<Safeguard>,
}

impl Case {
    fn walk<'a>(
        &self,
        server: &'a Server,
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
        let mut walk = Walk::new(server, stream, settings, stop, out);
        walk.without = self.without;
        (walk, chunks)
    }

    fn pass(&self, server: &Server, mirror: &mut Mirror) -> Result<(), WalkError> {
        let stop = CancellationToken::new();
        let (walk, mut chunks) = self.walk(server, &stop);
        let mut state = StreamState::new(walk.stream);
        state.observed_at = mirror.observed;
        state.ordering = mirror.ordering;
        let watermark = mirror.watermark.unwrap();
        let end = drive(
            mirror,
            None,
            &mut chunks,
            walk.incremental(&state, watermark),
        )?;
        mirror.ordering = end.ordering;
        Ok(())
    }

    fn load(&self, server: &Server, mirror: &mut Mirror) -> Result<(), WalkError> {
        let now = server.0.lock().unwrap().now;
        let total = server.0.lock().unwrap().records.len() as u64;
        mirror.watermark = Some(now);
        let pages = plan::pages(total, PAGE);
        mirror.left = plan::windows(
            Span::OPEN,
            Some(seconds(0)),
            now,
            OVERLAP,
            (pages, self.depth),
        );
        while let Some(created) = mirror.left.first().copied() {
            let stop = CancellationToken::new();
            let (walk, mut chunks) = self.walk(server, &stop);
            let window = BackfillWindow {
                id: 1,
                stream: walk.stream,
                created,
                filter: 0,
            };
            drive(
                mirror,
                Some(created),
                &mut chunks,
                walk.backfill_window(&window),
            )?;
        }
        Ok(())
    }

    /// What the mirror lacks after the events and quiet passes; and how many requests the disturbed
    /// part took.
    fn run(&self, events: &[Event]) -> (Option<String>, usize) {
        let server = Server(Mutex::new(Model::new(self.mood, events)));
        let mut mirror = Mirror {
            watermark: Some(seconds(self.watermark)),
            ordering: self.believed,
            ..Mirror::default()
        };
        for (index, place) in self.mood.shuffle.iter().enumerate() {
            let updated = seconds(100 + place * 10);
            if !self.first_load && updated <= seconds(self.watermark) - OVERLAP {
                mirror.rows.insert(Uuid::from_u128(index as u128), updated);
            }
        }
        let disturbed = if self.first_load {
            self.load(&server, &mut mirror)
        } else {
            self.pass(&server, &mut mirror)
        };
        let requests = server.0.lock().unwrap().requests;
        // A first load that failed would go on; here it is simply begun again.
        let mut failed = disturbed.is_err();
        for _ in 0..3 {
            if !failed && server.0.lock().unwrap().is_mirrored(&mirror, true) {
                // Quiet passes only read again what is there.
                return (None, requests);
            }
            {
                let mut model = server.0.lock().unwrap();
                model.requests = usize::MAX / 2;
                model.due();
                model.fails = false;
                model.now = model.now + Duration::from_mins(1);
            }
            if failed && self.first_load {
                failed = self.load(&server, &mut mirror).is_err();
            }
            if let Err(error) = self.pass(&server, &mut mirror) {
                return (Some(format!("a quiet pass failed: {error}")), requests);
            }
        }
        let model = server.0.lock().unwrap();
        for (index, record) in model.records.iter().enumerate() {
            let truth = record.shown(model.now).unwrap();
            let stored = mirror.rows.get(&Uuid::from_u128(index as u128));
            if stored != Some(&truth) {
                return (
                    Some(format!(
                        "record {index}: {truth} on the server, {stored:?} here"
                    )),
                    requests,
                );
            }
        }
        (None, requests)
    }

    /// Every combination of up to `most` changes at every point; the first loss, and how many
    /// combinations were tried.
    fn search(&self, most: usize) -> (Option<(Vec<Event>, String)>, usize) {
        let (calm, points) = self.run(&[]);
        if let Some(loss) = calm {
            return (Some((Vec::new(), loss)), 1);
        }
        // Changes make a walk longer; two points more than it takes in calm reach into what
        // it does about them.
        let points = points + 2;
        let singles: Vec<Event> = (0..points)
            .flat_map(|at| Change::all().into_iter().map(move |change| (at, change)))
            .collect();
        let mut tried = 1;
        let mut stack: Vec<Vec<Event>> = singles.iter().map(|event| vec![*event]).collect();
        while let Some(events) = stack.pop() {
            tried += 1;
            if let (Some(loss), _) = self.run(&events) {
                return (Some((events, loss)), tried);
            }
            if events.len() < most {
                let last = events.last().map_or(0, |(at, _)| *at);
                for event in singles.iter().filter(|(at, _)| *at >= last) {
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
            };
            let (unknown, believed) = (Ordering::Unknown, Ordering::Honoured);
            for (watermark, first_load, depth, believed) in [
                (50, false, 50, unknown),
                (125, false, 50, unknown),
                (50, false, 50, believed),
                (0, true, 50, unknown),
                (0, true, 2, unknown),
            ] {
                // Where the order is honoured, to believe so is to find it out.
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

/// Changes that are combined. `EXHAUSTIVE=3 cargo test --release --lib exhaustive` combines three,
/// which takes an optimised build and some patience.
fn changes() -> usize {
    std::env::var("EXHAUSTIVE").map_or(2, |value| value.parse().unwrap())
}

fn search(cases: impl IntoIterator<Item = Case>) {
    let mut tried = 0;
    for case in cases {
        let (loss, count) = case.search(changes());
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
        let (events, loss) = case.search(2).0?;
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
    // Imported records: made just now, changed long ago.
    let loads = cases(None)
        .into_iter()
        .filter(|case| case.first_load && case.mood.ordered && case.mood.shuffle == REVERSED);
    loss_without(Safeguard::Count, loads);
}
