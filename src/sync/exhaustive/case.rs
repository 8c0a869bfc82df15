//! A case of the search: how the model behaves and what the mirror has at first. Runs the walks in it.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::mirror::Mirror;
use super::model::{Change, Event, Model, Mood, Server, changed, id, seconds};
use super::{HERE, OVERLAP, PAGE, QUIET, asked};
use crate::data::{BackfillWindow, Direction, Order, Ordering, PageQuery, Resource, Span};
use crate::sync::plan;
use crate::sync::policy::RunError;
use crate::sync::walk::{Chunk, Climb, PROBE_SIZE, Safeguard, Walk, WalkSettings};

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
pub(super) struct Case {
    pub(super) mood: Mood,
    /// The mirror's first watermark, in seconds. Records that changed more than the overlap before it are
    /// already in the mirror.
    pub(super) watermark: i64,
    pub(super) first_load: bool,
    pub(super) depth: u32,
    /// What an earlier pass has found out about the server's order. The server may have changed since then.
    pub(super) believed: Ordering,
    pub(super) without: Option<Safeguard>,
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
    pub(super) fn search(&self) -> (Option<(Vec<Event>, String)>, usize) {
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
