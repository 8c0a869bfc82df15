//! Comparing a stream with the API by count, at a cost that grows with the differences.
//!
//! Only beginnings are counted: C(t), the number of records created before t, is one request of one
//! record. A window's count is the difference of two of them, so a window is halved at the price of
//! one request, and whatever the server makes of the instant t itself, each record lies in exactly
//! one of two neighbours. Which of them a stored row belongs to is certain too, since windows are
//! cut where no row is stored within two milliseconds, the coarsest precision at which the platform
//! may compare being one.
//!
//! A miss and a surplus in one window cancel. So an account is always cut into [`windows::WINDOWS`] windows
//! of equally many rows, and each is counted; those that differ are halved. The borders are others
//! each time, so that what cancels once does not cancel for ever. An account of no more pages than
//! that is read whole, at the same price. So is any account of a platform that does not count.
//!
//! Of a record that is read, everything is compared: its `updatedAt` in both directions, and where
//! that is the same, its content.
//!
//! The account lives meanwhile. Nothing is compared that the next pass will read anyway: records
//! created or changed after the instant up to which passes have read everything. And no difference
//! counts until it has been seen twice: what a page shows is looked for by id among what is stored
//! then, and what it does not show is asked for by id. So is a record whose stored version is newer
//! than the one shown and young enough for that to be a stale copy of the platform's.
//!
//! A record in doubt that cannot be asked for is read from the listing, in a window of its own,
//! each night until what is shown is certain.
//!
//! It is done step by step, so that passes can be made in between: [`windows`] counts, [`pages`] reads
//! and compares, [`undated`] looks for records that no window holds, and [`by_id`] asks for records by
//! their ids. Must not know what is done about differences, but for sending the pages that hold them on.

mod by_id;
mod findings;
mod pages;
mod undated;
mod windows;

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::policy::{FailureAction, RunError};
use super::portion::Portion;
use super::recheck::{self, A_NIGHT};
use super::stop::unless_stopped;
use super::survey;
use super::verify::Mirror;
use super::walk::Chunk;
use crate::data::{
    OrderField, Page, PageQuery, Resource, Source, Span, StateChange, Stream, Timestamp,
    VersionTotals,
};

pub use findings::Comparison;
pub(super) use findings::{Difference, ListedVersion};
use pages::Reading;
use windows::{Cutting, QUIET, Window, complement};

/// Rows of a stream that are in doubt, round which a night reads the listing; the next night reads round
/// others.
const DOUBTED: u32 = 200;

/// A gap that was found again within this time is still there.
const COUNTED_LATELY: Duration = Duration::from_hours(1);

/// Other gaps of a stream that are counted again before a comparison.
const COUNTED_AGAIN: usize = 50;

const DAY: Duration = Duration::from_hours(24);

/// What is to be done next.
#[derive(Debug)]
enum Step {
    /// Ask for what the last night left.
    Queue,
    /// Ask for contacts that no list shows.
    NeverListed,
    /// Read what may be another version than the one that is stored.
    Doubted,
    /// Find out what there is to compare.
    Begin,
    /// Count a span, and cut it.
    Span(Span),
    /// Count the parts of a window, one by one.
    Cut(Cutting),
    /// Find the differences of a window whose counts differ.
    Narrow(Window),
    /// Read a window and compare every record of it.
    Read(Reading),
    /// Choose windows to be read although their counts agree.
    Samples(Span),
    /// Look for records that no window holds.
    Undated,
    /// Sum up.
    End,
}

/// The two sides, and where what is found goes.
pub(super) struct Sides<'a, S> {
    pub(super) mirror: Mirror<'a, S>,
    /// Where pages with differences go, if those are to be repaired.
    pub(super) out: Option<mpsc::Sender<Chunk>>,
    /// When to let others go first.
    pub(super) portion: Option<&'a Portion<'a, S>>,
}

impl<S: Source> Sides<'_, S> {
    async fn ask(&self, query: &PageQuery) -> Result<Page, RunError> {
        survey::ask(self.mirror.source, query, self.mirror.stop).await
    }

    /// What each version of the session list counts. Nothing else depends on it, so that a failure that
    /// concerns no other question says nothing.
    async fn session_totals(&self) -> Result<Option<VersionTotals>, RunError> {
        let Mirror { source, stop, .. } = self.mirror;
        let totals = unless_stopped(stop, source.session_totals()).await?;
        match totals.map_err(RunError::from) {
            Ok(totals) => Ok(totals),
            Err(error) if error.action() == FailureAction::NextResource => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends on what is to be repaired, if it is.
    async fn send(
        &self,
        page: Option<Page>,
        state_changes: Vec<StateChange>,
    ) -> Result<(), RunError> {
        match &self.out {
            Some(out) => recheck::send(out, page, state_changes).await,
            None => Ok(()),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.portion.is_some_and(Portion::is_over)
    }
}

/// A comparison of one stream under way.
#[derive(Debug)]
pub(super) struct Comparing {
    stream: Stream,
    /// Everything that was created or changed before should have been read by a pass, as far as the
    /// `Date` header of its answers tells.
    horizon: Timestamp,
    /// Everything that changed before has certainly been read by a pass.
    read_until: Timestamp,
    /// Windows of a first load that are not read yet.
    unread: Vec<Span>,
    /// Whether windows are counted though the totals agree, and what no list shows is asked for.
    is_thorough: bool,
    /// Whether the platform does not say how many records there are.
    is_uncounted: bool,
    samples: u32,
    /// Records that may still be asked for by their ids.
    pub(super) may_ask: u32,
    pub(super) found: Comparison,
    /// The next one last.
    steps: Vec<Step>,
    /// Creation times of the records that are nowhere but among the rejects.
    rejects: Vec<Timestamp>,
    rejected: HashSet<Uuid>,
    /// Rows that are to be asked for anyway since they are no longer listed, by earlier comparisons.
    unlisted: HashMap<Uuid, Timestamp>,
    /// Rows that are in doubt, by earlier passes or comparisons.
    doubted: HashSet<Uuid>,
    /// Where the platform is known to count more than it shows, and how many.
    gaps: Vec<(Span, u64)>,
    /// Windows that were read.
    read: Vec<Span>,
    /// How many records the platform counts that were created before the end of what is compared.
    counted: Option<u64>,
    to_ask: VecDeque<Uuid>,
    /// Records that earlier nights left, which come after those that this one finds.
    backlog: Vec<Uuid>,
    /// Records that were put there, or here.
    asked: HashSet<Uuid>,
    /// Why nothing can be asked for by its id.
    by_id_error: Option<RunError>,
}

impl Comparing {
    /// A comparison of what was created in a stream up to an instant, without these windows of a first
    /// load. What changed after `read_until` may not have been read yet.
    pub(super) fn new(
        stream: Stream,
        horizon: Timestamp,
        read_until: Timestamp,
        unread: Vec<Span>,
    ) -> Self {
        Self {
            stream,
            horizon,
            read_until,
            unread,
            is_thorough: false,
            is_uncounted: false,
            samples: 0,
            may_ask: A_NIGHT,
            found: Comparison::default(),
            steps: vec![Step::End, Step::Begin],
            rejects: Vec::new(),
            rejected: HashSet::new(),
            unlisted: HashMap::new(),
            doubted: HashSet::new(),
            gaps: Vec::new(),
            read: Vec::new(),
            counted: None,
            to_ask: VecDeque::new(),
            backlog: Vec::new(),
            asked: HashSet::new(),
            by_id_error: None,
        }
    }

    /// Whether there is nothing to compare: none of it was read yet.
    pub(super) fn is_empty(&self) -> bool {
        complement(self.horizon, &self.unread).is_empty()
    }

    /// Counts every window, re-reads so many whose counts agree, and asks for at most so many records
    /// by their ids, those that no list shows included.
    pub(super) fn thorough(mut self, samples: u32, may_ask: u32) -> Self {
        self.is_thorough = true;
        self.samples = samples;
        self.may_ask = may_ask;
        let streams = self.stream.resource.streams();
        if streams.last() == Some(&self.stream) {
            self.steps.push(Step::Queue);
        }
        let is_first = streams.first() == Some(&self.stream);
        if is_first && self.stream.resource == Resource::Contacts {
            self.steps.insert(1, Step::NeverListed);
        }
        self.steps.insert(1, Step::Doubted);
        self.steps.insert(1, Step::Undated);
        self
    }

    /// Does the next bit of it: some requests at most. Yields whether that was the last.
    pub(super) async fn step<S: Source>(&mut self, on: &Sides<'_, S>) -> Result<bool, RunError> {
        // What is missing here is stored first; what may be gone there can wait.
        let is_last = matches!(self.steps.as_slice(), [Step::End]);
        if is_last && self.to_ask.is_empty() {
            let backlog: Vec<Uuid> = self.backlog.drain(..).collect();
            self.take(&backlog);
        }
        if is_last && !self.to_ask.is_empty() {
            self.ask(on).await?;
            return Ok(false);
        }
        match self.steps.pop() {
            Some(Step::Queue) => self.take_queue(on).await?,
            Some(Step::NeverListed) => self.never_listed(on).await?,
            Some(Step::Doubted) => self.doubted(on).await?,
            Some(Step::Begin) => self.begin(on).await?,
            Some(Step::Span(span)) => self.span(on, span).await?,
            Some(Step::Cut(cutting)) => self.cut(on, cutting).await?,
            Some(Step::Narrow(window)) => self.narrow(on, window).await?,
            Some(Step::Read(reading)) => self.read(on, reading).await?,
            Some(Step::Samples(span)) => self.sample(on, span).await?,
            Some(Step::Undated) => self.undated(on).await?,
            Some(Step::End) => self.end(on).await?,
            None => {}
        }
        Ok(self.steps.is_empty())
    }

    /// Finds out what is to be compared.
    async fn begin<S: Source>(&mut self, on: &Sides<'_, S>) -> Result<(), RunError> {
        let Mirror { store, account, .. } = on.mirror;
        if self.is_thorough && self.stream.resource == Resource::Sessions {
            self.found.versions = on.session_totals().await?;
        }
        self.note_rejects(on).await?;
        if on.out.is_some() {
            // They are asked for anyway.
            let unlisted = store.unlisted(account, self.stream).await?;
            self.unlisted = unlisted.into_iter().collect();
        }
        let now = on.mirror.clock.now();
        for stored in store.open_gaps(account).await? {
            let gap = stored.gap;
            if gap.stream != self.stream {
                continue;
            }
            self.found.gaps += gap.missing();
            // One that is there no longer would hide that something else is missing.
            let is_fresh = now >= stored.last_seen_at && now < stored.last_seen_at + COUNTED_LATELY;
            if gap.field == OrderField::CreatedAt && is_fresh {
                self.gaps.push((gap.window, gap.missing()));
            } else if gap.field == OrderField::CreatedAt && self.gaps.len() < COUNTED_AGAIN {
                let missing = self.count_gap(on, &gap).await?;
                self.gaps.push((gap.window, missing));
            }
        }
        let until = self.quiet_before(on, self.horizon).await?;
        self.found.until = Some(until);
        self.found.loading = self.unread.len() as u64;
        for span in complement(until, &self.unread) {
            let after = match span.after {
                Some(after) => Some(self.quiet_after(on, after).await?),
                None => None,
            };
            let before = match span.before {
                Some(before) if before < until => self.quiet_before(on, before).await?,
                _ => until,
            };
            if after.is_none_or(|after| after < before) {
                let before = Some(before);
                self.steps.push(Step::Span(Span { after, before }));
            }
        }
        Ok(())
    }

    /// Reads the windows of rows that are in doubt, in turns. What was read already is not read again.
    async fn doubted<S: Source>(&mut self, on: &Sides<'_, S>) -> Result<(), RunError> {
        let Mirror { store, account, .. } = on.mirror;
        let turn = tonight(on.mirror.clock.now());
        let doubted = store.doubted(account, self.stream, turn, DOUBTED).await?;
        for (id, created_at) in doubted {
            self.doubted.insert(id);
            let near = Span::between(created_at - QUIET, created_at + QUIET);
            self.steps.push(self.reading(on, near));
        }
        Ok(())
    }

    /// Sums up. It has failed if nothing could be asked for by its id.
    async fn end<S: Source>(&mut self, on: &Sides<'_, S>) -> Result<(), RunError> {
        let Mirror { store, account, .. } = on.mirror;
        if self.is_thorough
            && self.stream.resource == Resource::Contacts
            && self.stream.resource.streams().last() == Some(&self.stream)
        {
            self.found.unlisted = store.unlisted_statuses(account).await?;
        }
        self.by_id_error.take().map_or(Ok(()), Err)
    }

    async fn note_rejects<S: Source>(&mut self, on: &Sides<'_, S>) -> Result<(), RunError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Rejected {
            // Of a record that another account holds, the names of the columns.
            #[serde(alias = "created_at")]
            created_at: Timestamp,
            status: Option<String>,
        }
        let Mirror { store, account, .. } = on.mirror;
        let rejects = store
            .rejected_records(account, self.stream.resource)
            .await?;
        for (id, raw) in rejects {
            self.rejected.extend(id);
            let Ok(record) = serde_json::from_str::<Rejected>(&raw) else {
                continue;
            };
            let partition = self.stream.partition;
            if partition.is_whole() || record.status.as_deref() == Some(partition.as_str()) {
                self.rejects.push(record.created_at);
            }
        }
        // One record may have been rejected in several versions.
        self.rejects.sort_unstable();
        self.rejects.dedup();
        Ok(())
    }
}

/// The number of the night: what is looked at in turns begins with another part in each.
fn tonight(now: Timestamp) -> u64 {
    let day = i64::try_from(DAY.as_micros()).unwrap_or(i64::MAX);
    u64::try_from(now.micros().div_euclid(day)).unwrap_or(0)
}
