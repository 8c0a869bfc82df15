//! Comparing a stream with the API by count, at a cost that grows with the differences.
//!
//! Only beginnings are counted: C(t), the number of records created before t, is one request of one
//! record. A window's count is the difference of two of them, so a window is halved at the price of
//! one request, and whatever the server makes of the instant t itself, each record lies in exactly
//! one of two neighbours. Which of them a stored row belongs to is certain too, since windows are
//! cut where no row is stored within two milliseconds, the coarsest precision at which the platform
//! may compare being one.
//!
//! A miss and a surplus in one window cancel. So an account is always cut into [`WINDOWS`] windows
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
//! It is done step by step, so that passes can be made in between. Must not know what is done about
//! differences, but for sending the pages that hold them on.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::plan::{self, STEP};
use super::policy::{FailureAction, RunError};
use super::portion::Portion;
use super::recheck::{self, A_NIGHT, AGAIN_AFTER, BATCH, ById, Lookup};
use super::stop::unless_stopped;
use super::survey;
use super::verify::Mirror;
use super::walk::{Chunk, leaves};
use crate::data::{
    ColumnGroup, Gap, Guard, Head, OrderField, Page, PageQuery, RecheckReason, Resource, Row,
    Source, SourceError, Span, StateChange, Stream, Table, Timestamp, VersionTotals,
};
use crate::schema::BatchBuilder;
use crate::store::StoredVersion;

/// Into how many windows an account is cut: 20 seconds of the platform's request limit.
const WINDOWS: u64 = 64;

/// Neighbouring rows among which a place to cut is looked for.
const NEIGHBOURS: u64 = 8;

/// Rows of a window that are looked through for a place to cut, if its middle has none.
const SEARCHED: u64 = 20_000;

/// How far a cut stays away from the stored rows.
const QUIET: Duration = STEP.saturating_mul(2);

/// Rows of a stream that are in doubt, round which a night reads the listing; the next night reads round
/// others.
const DOUBTED: u32 = 200;

/// A gap that was found again within this time is still there.
const COUNTED_LATELY: Duration = Duration::from_hours(1);

/// Other gaps of a stream that are counted again before a comparison.
const COUNTED_AGAIN: usize = 50;

/// Contacts that no list shows and that a night asks for by their ids; the next night asks for others.
const NEVER_LISTED: u32 = 200;

/// Stored rows without a creation time that a night asks for by their ids; the next night asks for others.
const UNDATED: u32 = 200;

/// Pages of a listing without a window that are read for records without a creation time.
const UNDATED_PAGES: u32 = 64;

/// Pages in a row that show nothing new although more are said to follow: the number of the page is
/// ignored.
const MOST_STALE: u32 = 3;

/// A row that was written so long ago is no newer than what any copy of the platform's data shows now.
const STORED_LONG_AGO: Duration = Duration::from_hours(1);

const DAY: Duration = Duration::from_hours(24);

/// What was found of one stream or list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Up to which creation time it was compared; `None` for a list, which is compared whole.
    pub until: Option<Timestamp>,
    /// Records that the API counts.
    pub shown: u64,
    /// Rows that are stored.
    pub stored: u64,
    /// Records that the API shows and that are not stored.
    pub missing: BTreeSet<Uuid>,
    /// Records that are stored in an older version, or in another partition.
    pub older: BTreeSet<Uuid>,
    /// Records that are stored in a version which is newer by its `updatedAt`.
    pub newer: BTreeSet<Uuid>,
    /// Records that are stored in this version with another content.
    pub altered: BTreeSet<Uuid>,
    /// Records that are stored and that the API has no longer.
    pub gone: BTreeSet<Uuid>,
    /// Records met that changed after the last pass: the next one reads them.
    pub unread: u64,
    /// Records met that are kept among the rejects.
    pub rejected: u64,
    /// Windows that were re-read although their counts agree.
    pub sampled: u64,
    /// Windows of a first load that are not read yet, and were not compared.
    pub loading: u64,
    /// Records that the platform counts and was found never to show.
    pub gaps: u64,
    /// Records that could not be asked for by their ids, and what was answered.
    pub failed: Vec<(Uuid, String)>,
    /// Records that are still to be asked for by their ids.
    pub left: u64,
    /// Whether a list lacks too much to be believed at once.
    pub doubted: bool,
    /// How many sessions each version of their list counts, if both answered.
    pub versions: Option<VersionTotals>,
    /// How many contacts have which status that no list shows.
    pub unlisted: BTreeMap<String, u64>,
    /// Of what was to be repaired, what is as it was.
    pub unrepaired: BTreeSet<Uuid>,
    /// What the platform shows of the differences that were found last.
    pub(super) expected: BTreeMap<Uuid, ListedVersion>,
    /// Those of `gone` that were found last.
    pub(super) vanished: BTreeSet<Uuid>,
}

/// What the platform shows of a record, as far as it is compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ListedVersion {
    /// Its `updatedAt`.
    pub(super) version: Option<Timestamp>,
    /// Where the resource is listed in several parts, the one that the record belongs to by its own
    /// words; `None` if it does not say.
    pub(super) partition: Option<String>,
    /// What its content is compared by, if that was compared.
    pub(super) hash: Option<i64>,
}

/// How a record that is stored differs from what is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Difference {
    /// It is not stored.
    Missing,
    /// The stored one is older, or elsewhere.
    Older,
    /// The stored one is newer.
    Newer,
    /// Only the content is another.
    Altered,
}

impl ListedVersion {
    /// How the stored row differs from this by what both say of themselves; `None` if it does not.
    pub(super) fn differs(&self, stored: Option<&StoredVersion>) -> Option<Difference> {
        let Some(stored) = stored.filter(|stored| !stored.removed) else {
            return Some(Difference::Missing);
        };
        let is_elsewhere = self.partition.is_some() && self.partition != stored.partition;
        match (self.version, stored.updated_at) {
            (Some(shown), Some(stored)) if shown < stored => Some(Difference::Newer),
            (shown, stored) if shown != stored || is_elsewhere => Some(Difference::Older),
            _ => None,
        }
    }

    /// Whether a row that is this record is stored.
    pub(super) fn is_stored(&self, stored: Option<&StoredVersion>) -> bool {
        let has_content = |stored: &StoredVersion| self.hash.is_none() || self.hash == stored.hash;
        self.differs(stored).is_none() && stored.is_some_and(has_content)
    }
}

impl Comparison {
    /// How many differences were found.
    pub fn differences(&self) -> u64 {
        (self.missing.len() + self.differing().count() + self.gone.len()) as u64
    }

    /// The records that are there on both sides, and not the same.
    pub fn differing(&self) -> impl Iterator<Item = Uuid> {
        let sets = [&self.older, &self.newer, &self.altered];
        sets.into_iter().flatten().copied()
    }

    /// Whether the counts differ although nothing was found that explains it: no difference, nothing
    /// that the next pass reads, no reject, no known gap, and nothing that is still to be asked for. A
    /// server may count what it does not show.
    pub fn is_unexplained(&self) -> bool {
        let asked = self.failed.len() as u64 + self.left;
        let explained = self.differences() + self.unread + self.rejected + asked;
        explained == 0 && self.shown.abs_diff(self.stored) > self.gaps
    }

    /// Whether another version of the session list shows sessions that the one which is read does not.
    pub fn is_lacking(&self) -> bool {
        self.versions.is_some_and(|versions| versions.lacks())
    }

    /// Notes a difference.
    pub(super) fn note(&mut self, id: Uuid, how: Difference, shown: ListedVersion) {
        let set = match how {
            Difference::Missing => &mut self.missing,
            Difference::Older => &mut self.older,
            Difference::Newer => &mut self.newer,
            Difference::Altered => &mut self.altered,
        };
        set.insert(id);
        self.expected.insert(id, shown);
    }
}

/// A window: what it holds here and there.
#[derive(Debug, Clone, Copy)]
struct Window {
    span: Span,
    /// Records created before it.
    below: u64,
    /// Records created before its end.
    upto: u64,
    stored: u64,
}

impl Window {
    const fn shown(&self) -> u64 {
        self.upto.saturating_sub(self.below)
    }

    const fn differing(&self) -> u64 {
        self.shown().abs_diff(self.stored)
    }

    fn pages(&self, size: u32) -> u64 {
        u64::from(plan::pages(self.shown().max(self.stored), size))
    }
}

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

/// A window that is being cut.
#[derive(Debug)]
struct Cutting {
    whole: Window,
    cuts: VecDeque<Timestamp>,
    parts: Vec<Window>,
    rest: Window,
}

/// A window that is being read.
#[derive(Debug)]
struct Reading {
    span: Span,
    query: PageQuery,
    seen: HashSet<Uuid>,
    stale: u32,
    /// Whether the page before showed nothing.
    blank: bool,
}

/// What a page brought.
#[derive(Debug, Default)]
struct Findings {
    /// Records that differ.
    differing: Vec<Uuid>,
    /// Records of which the page may be stale.
    doubtful: Vec<Uuid>,
    /// Records that need not be asked for by their ids, if they were to be.
    listed: Vec<Uuid>,
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

    /// How much of a gap is still there: nothing, if that cannot be told from one page.
    async fn count_gap<S: Source>(&self, on: &Sides<'_, S>, gap: &Gap) -> Result<u64, RunError> {
        let size = on.mirror.settings.page_size;
        let query = survey::everything(self.stream, plan::widen(gap.window), size);
        let page = on.ask(&query).await?;
        let missing = page
            .total
            .unwrap_or(0)
            .saturating_sub(page.items.len() as u64);
        Ok(if page.has_more {
            0
        } else {
            missing.min(gap.missing())
        })
    }

    /// Counts a span that was read completely. Its windows are counted, too, where that is asked for or
    /// the totals differ.
    async fn span<S: Source>(&mut self, on: &Sides<'_, S>, span: Span) -> Result<(), RunError> {
        let Some(before) = span.before else {
            return Ok(());
        };
        let below = match span.after {
            Some(after) => self.count_before(on, after).await?,
            None => Some(0),
        };
        let upto = self.count_before(on, before).await?;
        let stored = self.stored(on, span).await?;
        self.found.stored += stored;
        if self.found.until == Some(before) {
            self.counted = upto;
        }
        let Some((below, upto)) = below.zip(upto) else {
            self.is_uncounted = true;
            return self.read_span(on, span).await;
        };
        let window = Window {
            span,
            below,
            upto,
            stored,
        };
        self.found.shown += window.shown();
        if !self.is_thorough {
            self.steps.push(Step::Narrow(window));
            return Ok(());
        }
        let pages = window.pages(on.mirror.settings.page_size);
        if pages == 0 {
            return Ok(());
        }
        if pages <= WINDOWS || self.shows_uncounted(on, before, upto).await? {
            return self.read_span(on, span).await;
        }
        self.steps.push(Step::Samples(span));
        let step = window.stored.div_ceil(WINDOWS).max(1);
        let offset = fastrand::u64(0..step);
        let cuts = self.ranked_cuts(on, span, (offset, step)).await?;
        if cuts.is_empty() {
            self.steps.push(Step::Narrow(window));
        } else {
            self.steps.push(cutting(window, cuts));
        }
        Ok(())
    }

    /// Counts the next part of a window.
    async fn cut<S: Source>(
        &mut self,
        on: &Sides<'_, S>,
        mut cutting: Cutting,
    ) -> Result<(), RunError> {
        if let Some(cut) = cutting.cuts.pop_front() {
            let rest = cutting.rest;
            let span = Span {
                before: Some(cut),
                ..rest.span
            };
            let Some(upto) = self.count_before(on, cut).await? else {
                return self.read_span(on, cutting.whole.span).await;
            };
            let part = Window {
                span,
                upto,
                stored: self.stored(on, span).await?,
                ..rest
            };
            cutting.parts.push(part);
            cutting.rest = Window {
                span: Span {
                    after: Some(cut),
                    ..rest.span
                },
                below: part.upto,
                stored: rest.stored.saturating_sub(part.stored),
                ..rest
            };
            self.steps.push(Step::Cut(cutting));
            return Ok(());
        }
        let Cutting {
            whole,
            mut parts,
            rest,
            ..
        } = cutting;
        if parts.iter().all(|part| part.upto == whole.upto) {
            // A server that counts everything whatever the window.
            self.steps.push(self.reading(on, whole.span));
            return Ok(());
        }
        parts.push(rest);
        let differing = parts.into_iter().filter(|part| part.differing() > 0);
        self.steps.extend(differing.map(Step::Narrow));
        Ok(())
    }

    /// Finds the differences of a window.
    async fn narrow<S: Source>(
        &mut self,
        on: &Sides<'_, S>,
        window: Window,
    ) -> Result<(), RunError> {
        if window.differing() == 0 {
            return Ok(());
        }
        let pages = window.pages(on.mirror.settings.page_size);
        // As many differences as pages: reading all of them costs no more than looking.
        let cuts = if pages <= 1 || window.differing() >= pages {
            Vec::new()
        } else {
            self.halves(on, window).await?
        };
        if cuts.is_empty() {
            return self.read_span(on, window.span).await;
        }
        self.steps.push(cutting(window, cuts));
        Ok(())
    }

    /// Reads a span, in parts that are not too deep by what is stored of it.
    async fn read_span<S: Source>(
        &mut self,
        on: &Sides<'_, S>,
        span: Span,
    ) -> Result<(), RunError> {
        let settings = on.mirror.settings;
        let depth = u64::from(settings.window_pages) * u64::from(settings.page_size);
        let cuts = self
            .ranked_cuts(on, span, (0, (depth * 3 / 4).max(1)))
            .await?;
        let mut rest = span;
        for cut in cuts {
            let part = Span {
                before: Some(cut),
                ..rest
            };
            self.steps.push(self.reading(on, part));
            rest.after = Some(cut);
        }
        self.steps.push(self.reading(on, rest));
        Ok(())
    }

    fn reading<S: Source>(&self, on: &Sides<'_, S>, span: Span) -> Step {
        let size = on.mirror.settings.page_size;
        Step::Read(Reading {
            span,
            query: survey::everything(self.stream, plan::widen(span), size),
            seen: HashSet::new(),
            stale: 0,
            blank: false,
        })
    }

    /// Reads the next page of a window.
    async fn read<S: Source>(
        &mut self,
        on: &Sides<'_, S>,
        mut reading: Reading,
    ) -> Result<(), RunError> {
        let page = on.ask(&reading.query).await?;
        let depth = on.mirror.settings.window_pages;
        let query = &mut reading.query;
        let pages = plan::pages(page.total.unwrap_or(0), query.size);
        let follows = !leaves(&page, query.created, |head| head.created_at);
        if query.number == 1 && pages > depth && follows {
            let parts = plan::split(reading.span, pages, depth);
            if !parts.is_empty() {
                let parts = parts.into_iter().map(|part| self.reading(on, part));
                let parts: Vec<Step> = parts.collect();
                self.steps.extend(parts);
                return Ok(());
            }
        }
        let ids: Vec<Uuid> = page.items.iter().filter_map(|item| item.head.id).collect();
        let before = reading.seen.len();
        if self.is_uncounted {
            let is_new = |head: &Head| head.id.is_none_or(|id| !reading.seen.contains(&id));
            let heads = page.items.iter().map(|item| &item.head);
            let new = heads.filter(|head| is_new(head) && lies_in(reading.span, head.created_at));
            self.found.shown += new.count() as u64;
        }
        reading.seen.extend(&ids);
        let is_stale = !ids.is_empty() && reading.seen.len() == before;
        reading.stale = if is_stale { reading.stale + 1 } else { 0 };
        // Behind the last page a server may answer with that one.
        let seen = reading.seen.len() as u64;
        let is_all = is_stale && page.total.is_some_and(|total| seen >= total);
        // No page is the last one because some of its records are not shown, or because counts say so that
        // its records contradict.
        let counted = u64::from(reading.query.number) * u64::from(reading.query.size);
        let counts_on = page.total.is_some_and(|total| total > counted);
        let ends = page.items.is_empty() && (reading.blank || !page.silent);
        reading.blank = page.items.is_empty();
        let shows_on = !ends && (page.has_more || page.is_doubtful());
        let more = (counts_on || shows_on) && !is_all;
        if more && reading.stale >= MOST_STALE {
            return Err(SourceError::Malformed {
                request: format!("a page of {}", self.stream),
                attempts: MOST_STALE,
                detail: "it repeats the page before: the server ignores PageNumber".to_owned(),
            }
            .into());
        }
        self.take_page(on, page).await?;
        if more {
            reading.query.number += 1;
            self.steps.push(Step::Read(reading));
            return Ok(());
        }
        let Mirror { store, account, .. } = on.mirror;
        let mut unseen = store
            .ids_created(account, self.stream, reading.span)
            .await?;
        unseen.retain(|id| !reading.seen.contains(id) && !self.unlisted.contains_key(id));
        self.read.push(reading.span);
        self.queue(on, unseen, RecheckReason::NotListed).await
    }

    /// Compares the records of a page, and sends it on if some of them differ.
    async fn take_page<S: Source>(
        &mut self,
        on: &Sides<'_, S>,
        page: Page,
    ) -> Result<(), RunError> {
        let findings = self.compare_page(on, &page).await?;
        if !findings.differing.is_empty() || !findings.listed.is_empty() {
            let mut state_changes = self.differing(findings.differing);
            state_changes.extend(self.rechecked(findings.listed));
            on.send(Some(page), state_changes).await?;
        }
        self.queue(on, findings.doubtful, RecheckReason::Older)
            .await
    }

    fn differing(&self, keys: Vec<Uuid>) -> Vec<StateChange> {
        let resource = self.stream.resource;
        let differing = StateChange::Differing { resource, keys };
        vec![differing]
            .into_iter()
            .filter(
                |change| !matches!(change, StateChange::Differing { keys, .. } if keys.is_empty()),
            )
            .collect()
    }

    fn rechecked(&self, ids: Vec<Uuid>) -> Option<StateChange> {
        let resource = self.stream.resource;
        (!ids.is_empty()).then_some(StateChange::Rechecked { resource, ids })
    }

    /// Compares the records of a page with what is stored now.
    async fn compare_page<S: Source>(
        &mut self,
        on: &Sides<'_, S>,
        page: &Page,
    ) -> Result<Findings, RunError> {
        let Mirror {
            store,
            account,
            clock,
            ..
        } = on.mirror;
        let now = clock.now();
        let resource = self.stream.resource;
        let ids: Vec<Uuid> = page.items.iter().filter_map(|item| item.head.id).collect();
        let stored = store.versions(account, resource, &ids).await?;
        let (table, rows) = mapped(resource, page);
        let mut findings = Findings::default();
        let mut same_version = Vec::new();
        // What changed within the overlap may be shown by a stale copy as it was before. What was stored
        // long ago was shown long ago, whatever its stamp.
        let read_until = self.read_until;
        let settled = |stored: &StoredVersion| {
            let changed = stored.updated_at;
            changed.is_some_and(|at| at <= read_until) || stored.synced_at + STORED_LONG_AGO <= now
        };
        for item in &page.items {
            let Some(id) = item.head.id else {
                self.found.rejected += 1;
                continue;
            };
            let row = rows.get(&id);
            let shown = ListedVersion {
                // As it would be stored.
                version: row.map_or(item.head.updated_at, |row| row.version),
                partition: self.partition(page.raw(item)),
                hash: None,
            };
            let stored = stored.get(&id);
            if self.unlisted.remove(&id).is_some() {
                findings.listed.push(id);
            }
            let Some(how) = shown.differs(stored) else {
                let hash = stored.and_then(|stored| stored.hash);
                if self.doubted.contains(&id) && stored.is_some_and(settled) {
                    self.doubted.remove(&id);
                    findings.listed.push(id);
                }
                if let Some(row) = row.filter(|row| hash != Some(row.hash)) {
                    same_version.push((row, shown, hash.is_some()));
                }
                continue;
            };
            if self.rejected.contains(&id) {
                self.found.rejected += 1;
                continue;
            }
            if shown.version > Some(self.read_until) {
                self.found.unread += 1;
                continue;
            }
            if how == Difference::Newer {
                let settled = page.by_id || stored.is_some_and(settled);
                findings.listed.retain(|listed| *listed != id);
                if !settled {
                    findings.doubtful.push(id);
                    continue;
                }
                findings.listed.push(id);
            }
            self.found.note(id, how, shown);
            findings.differing.push(id);
        }
        if let Some(table) = table.filter(|_| !same_version.is_empty()) {
            let keys: Vec<Uuid> = same_version.iter().map(|(row, ..)| row.key).collect();
            let objects = store.row_objects(account, table, &keys).await?;
            for (row, shown, is_whole) in same_version {
                let object = objects.get(&row.key);
                if object.is_some_and(|object| is_altered(table, row, object, is_whole)) {
                    let hash = Some(row.hash);
                    let shown = ListedVersion { hash, ..shown };
                    self.found.note(row.key, Difference::Altered, shown);
                    findings.differing.push(row.key);
                }
            }
        }
        Ok(findings)
    }

    /// Which part of its resource a record belongs to by its own words, if there are parts.
    fn partition(&self, raw: &str) -> Option<String> {
        #[derive(Deserialize)]
        struct Record {
            status: String,
        }
        if self.stream.partition.is_whole() {
            return None;
        }
        let record: Option<Record> = serde_json::from_str(raw).ok();
        record.map(|record| record.status)
    }

    /// Takes records that are to be asked for by their ids: as many as may be asked for, and for the
    /// others the next night.
    async fn queue<S: Source>(
        &mut self,
        on: &Sides<'_, S>,
        ids: Vec<Uuid>,
        reason: RecheckReason,
    ) -> Result<(), RunError> {
        let new = ids.into_iter().filter(|id| self.asked.insert(*id));
        let ids: Vec<Uuid> = new.collect();
        if ids.is_empty() {
            return Ok(());
        }
        self.take(&ids);
        let queued = StateChange::Recheck {
            resource: self.stream.resource,
            ids,
            reason,
        };
        on.send(None, vec![queued]).await
    }

    fn take(&mut self, ids: &[Uuid]) {
        let may_ask = match self.by_id_error {
            Some(_) => 0,
            None => self.may_ask,
        };
        let taken = ids.len().min(may_ask as usize);
        self.to_ask.extend(&ids[..taken]);
        // Not more than there was.
        self.may_ask -= u32::try_from(taken).unwrap_or(self.may_ask);
        self.found.left += (ids.len() - taken) as u64;
    }

    /// Finds what earlier nights left to be asked for.
    async fn take_queue<S: Source>(&mut self, on: &Sides<'_, S>) -> Result<(), RunError> {
        if on.out.is_none() {
            return Ok(());
        }
        let Mirror { store, account, .. } = on.mirror;
        let resource = self.stream.resource;
        let now = on.mirror.clock.now();
        let lately = Span::between(now - AGAIN_AFTER, now);
        let all = store.count_rechecks(account, resource, lately).await?;
        let queued = store
            .rechecks(account, resource, None, lately, self.may_ask)
            .await?;
        let ids: Vec<Uuid> = queued.into_iter().map(|recheck| recheck.id).collect();
        self.asked.extend(&ids);
        self.found.left += all.saturating_sub(ids.len() as u64);
        self.backlog = ids;
        Ok(())
    }

    /// Takes contacts that no list shows, in turns.
    async fn never_listed<S: Source>(&mut self, on: &Sides<'_, S>) -> Result<(), RunError> {
        let Mirror { store, account, .. } = on.mirror;
        let turn = tonight(on.mirror.clock.now());
        let ids = store.never_listed(account, turn, NEVER_LISTED).await?;
        self.queue(on, ids, RecheckReason::NeverListed).await
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

    /// Asks for some records by their ids. Where nothing can be asked for so, the rest of the comparison
    /// can be made all the same.
    async fn ask<S: Source>(&mut self, on: &Sides<'_, S>) -> Result<(), RunError> {
        let (mut missing, mut failed) = (Vec::new(), Vec::new());
        let asked = self.ask_each(on, &mut missing, &mut failed).await;
        match asked {
            Err(error) if error.action() == FailureAction::NextResource => {
                let left = missing.len() + failed.len() + self.to_ask.len();
                self.found.left += left as u64;
                self.to_ask.clear();
                self.by_id_error = Some(error);
                Ok(())
            }
            asked => asked,
        }
    }

    /// The same: only what the platform says it has not is gone. Until that is proven it is among
    /// `missing`, and what could not be asked for among `failed`.
    async fn ask_each<S: Source>(
        &mut self,
        on: &Sides<'_, S>,
        missing: &mut Vec<Uuid>,
        failed: &mut Vec<(Uuid, String)>,
    ) -> Result<(), RunError> {
        let Mirror {
            source,
            store,
            account,
            stop,
            clock,
            ..
        } = on.mirror;
        let resource = self.stream.resource;
        let mut by_id = ById::new(source, clock, stop, resource);
        let ids: Vec<Uuid> = self.to_ask.iter().take(BATCH).copied().collect();
        let stored = store.versions(account, resource, &ids).await?;
        for id in ids {
            if on.is_over() {
                break;
            }
            self.to_ask.pop_front();
            if stored.get(&id).is_some_and(|stored| stored.removed) {
                let done = self.rechecked(vec![id]);
                on.send(None, done.into_iter().collect()).await?;
                continue;
            }
            match by_id.ask(id).await? {
                Lookup::Found(page) => {
                    let found = self.compare_page(on, &page).await?;
                    let mut state_changes = self.differing(found.differing);
                    state_changes.extend(self.rechecked(vec![id]));
                    on.send(Some(page), state_changes).await?;
                }
                Lookup::NotFound => missing.push(id),
                Lookup::Failed(error) => failed.push((id, error)),
            }
        }
        if missing.is_empty() && failed.is_empty() {
            return Ok(());
        }
        let proof = by_id.prove().await?;
        let missing = std::mem::take(missing);
        let mut failed = std::mem::take(failed);
        match proof {
            Some(proof) if !missing.is_empty() => {
                let mut gone = missing.clone();
                gone.retain(|id| stored.get(id).is_some_and(|stored| !stored.removed));
                self.found.gone.extend(&gone);
                self.found.vanished.extend(&gone);
                let mut state_changes = self.differing(gone);
                state_changes.extend(recheck::gone(proof, missing));
                on.send(None, state_changes).await?;
            }
            Some(_) => {}
            None => failed.extend(missing.into_iter().map(recheck::unproven)),
        }
        let state_changes = recheck::not_asked(resource, &failed);
        self.found.failed.append(&mut failed);
        on.send(None, state_changes).await
    }

    /// Compares records without a creation time, which no window holds: those that are stored by their ids,
    /// and those that the listing shows if all of it counts more than what was created before and after an
    /// instant. Ordered by creation they are the first ones, or the last.
    async fn undated<S: Source>(&mut self, on: &Sides<'_, S>) -> Result<(), RunError> {
        let Mirror { store, account, .. } = on.mirror;
        let turn = tonight(on.mirror.clock.now());
        let stored = store.undated(account, self.stream, turn, UNDATED).await?;
        self.queue(on, stored, RecheckReason::NotListed).await?;
        let Some(until) = self.found.until.filter(|_| self.unread.is_empty()) else {
            return Ok(());
        };
        let size = on.mirror.settings.page_size;
        let query = survey::everything(self.stream, Span::OPEN, size);
        let mut page = on.ask(&query).await?;
        let total = page.total.unwrap_or(0);
        let mut left = match page.total.zip(self.counted) {
            // It does not count: what the first page shows decides.
            None => u64::from(size) * u64::from(UNDATED_PAGES),
            Some((total, before)) if total > before => {
                let later = survey::everything(self.stream, Span::after(until), 1);
                let after = on.ask(&later).await?.total.unwrap_or(0);
                total.saturating_sub(before + after)
            }
            Some(_) => 0,
        };
        let last = plan::pages(total, size);
        let numbers = (2..=UNDATED_PAGES).map(Some).chain([None]);
        let mut number = 1;
        for next in numbers {
            let found = self.take_undated(on, page).await?;
            left = left.saturating_sub(found);
            let Some(next) = next.filter(|_| left > 0 && found > 0) else {
                break;
            };
            number = next;
            page = on
                .ask(&PageQuery {
                    number,
                    ..query.clone()
                })
                .await?;
        }
        for number in (number + 1..=last).rev().take(UNDATED_PAGES as usize) {
            if left == 0 {
                break;
            }
            let page = on
                .ask(&PageQuery {
                    number,
                    ..query.clone()
                })
                .await?;
            let found = self.take_undated(on, page).await?;
            if found == 0 {
                break;
            }
            left = left.saturating_sub(found);
        }
        Ok(())
    }

    /// Compares those records of a page that have no creation time. Yields how many there are.
    async fn take_undated<S: Source>(
        &mut self,
        on: &Sides<'_, S>,
        mut page: Page,
    ) -> Result<u64, RunError> {
        page.items
            .retain(|item| item.head.id.is_some() && item.head.created_at.is_none());
        let found = page.items.len() as u64;
        if found > 0 {
            self.take_page(on, page).await?;
        }
        Ok(found)
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

    /// Chooses windows of about a page that were not read yet, in turns.
    async fn sample<S: Source>(&mut self, on: &Sides<'_, S>, whole: Span) -> Result<(), RunError> {
        let samples = u64::from(self.samples);
        if samples == 0 {
            return Ok(());
        }
        let page = u64::from(on.mirror.settings.page_size);
        let Mirror { store, account, .. } = on.mirror;
        let rows = store.count_created(account, self.stream, whole).await?;
        if samples * page >= rows {
            self.found.sampled += rows.div_ceil(page);
            return self.read_span(on, whole).await;
        }
        // Of every `step` rows the first ones.
        let width = page.saturating_sub(NEIGHBOURS).max(1) + 2 * NEIGHBOURS;
        let step = (rows / samples).max(width + 1);
        // Each night those behind the ones of the night before, so that all of them have their turn.
        let forward = page.saturating_sub(NEIGHBOURS).max(1);
        let offset = tonight(on.mirror.clock.now()).wrapping_mul(forward) % step;
        let ranks = store
            .created_ranks(account, self.stream, whole, (offset, step, width))
            .await?;
        let windows: Vec<Span> = ranks
            .chunk_by(|one, other| one.0 + 1 == other.0)
            .filter_map(quiet_span)
            .filter(|span| !self.read.iter().any(|read| overlap(*read, *span)))
            .collect();
        for span in windows.into_iter().take(self.samples as usize) {
            self.steps.push(self.reading(on, span));
            self.found.sampled += 1;
        }
        Ok(())
    }

    /// Where to cut a window into two.
    async fn halves<S: Source>(
        &self,
        on: &Sides<'_, S>,
        window: Window,
    ) -> Result<Vec<Timestamp>, RunError> {
        let step = window.stored.div_ceil(2).max(1);
        let cuts = self.ranked_cuts(on, window.span, (0, step)).await?;
        if !cuts.is_empty() || window.stored > SEARCHED {
            return Ok(cuts);
        }
        // Many rows share an instant there: the quiet place nearest to the middle.
        let Mirror { store, account, .. } = on.mirror;
        let ranks = store
            .created_ranks(account, self.stream, window.span, (0, 1, 1))
            .await?;
        let middle = window.stored / 2;
        let nearest = ranks
            .windows(2)
            .filter_map(|pair| Some((pair[1].0.abs_diff(middle), between(pair[0].1, pair[1].1)?)))
            .min();
        Ok(nearest.map(|(_, cut)| cut).into_iter().collect())
    }

    /// A cut behind the row of the rank `offset`, and behind about every `step` rows from there.
    async fn ranked_cuts<S: Source>(
        &self,
        on: &Sides<'_, S>,
        span: Span,
        (offset, step): (u64, u64),
    ) -> Result<Vec<Timestamp>, RunError> {
        let Mirror { store, account, .. } = on.mirror;
        let width = NEIGHBOURS.min(step) + 1;
        let ranks = store
            .created_ranks(account, self.stream, span, (offset, step, width))
            .await?;
        let mut cuts: Vec<(u64, Timestamp)> = Vec::new();
        for pair in ranks.windows(2) {
            let [(left, before), (right, after)] = [pair[0], pair[1]];
            let group = (right - offset) / step;
            let is_first = cuts.last().is_none_or(|(last, _)| *last < group);
            // A part of nothing is none.
            if offset + group > 0
                && is_first
                && left + 1 == right
                && let Some(cut) = between(before, after)
            {
                cuts.push((group, cut));
            }
        }
        Ok(cuts.into_iter().map(|(_, cut)| cut).collect())
    }

    /// An instant at or before `at` with no stored row near it.
    async fn quiet_before<S: Source>(
        &self,
        on: &Sides<'_, S>,
        at: Timestamp,
    ) -> Result<Timestamp, RunError> {
        let mut at = whole_step(at);
        for _ in 0..100 {
            if self.is_quiet(on, at).await? {
                break;
            }
            at = at - QUIET * 2;
        }
        Ok(at)
    }

    /// An instant at or after `at` with no stored row near it.
    async fn quiet_after<S: Source>(
        &self,
        on: &Sides<'_, S>,
        at: Timestamp,
    ) -> Result<Timestamp, RunError> {
        let mut at = whole_step(at) + STEP;
        for _ in 0..100 {
            if self.is_quiet(on, at).await? {
                break;
            }
            at = at + QUIET * 2;
        }
        Ok(at)
    }

    async fn is_quiet<S: Source>(
        &self,
        on: &Sides<'_, S>,
        at: Timestamp,
    ) -> Result<bool, RunError> {
        let near = Span::between(at - QUIET, at + QUIET);
        let Mirror { store, account, .. } = on.mirror;
        Ok(store.count_created(account, self.stream, near).await? == 0)
    }

    /// C(at): how many records the API counts that were created before an instant; `None` if it does not
    /// say.
    async fn count_before<S: Source>(
        &self,
        on: &Sides<'_, S>,
        at: Timestamp,
    ) -> Result<Option<u64>, RunError> {
        let span = Span {
            after: None,
            before: Some(at),
        };
        let query: PageQuery = survey::everything(self.stream, span, 1);
        Ok(on.ask(&query).await?.total)
    }

    /// Whether more records that were created before an instant are shown than are counted. Where totals are
    /// short, a record that is missing here and one that is not counted there cancel in every window.
    async fn shows_uncounted<S: Source>(
        &self,
        on: &Sides<'_, S>,
        at: Timestamp,
        total: u64,
    ) -> Result<bool, RunError> {
        let size = on.mirror.settings.page_size;
        let span = Span {
            after: None,
            before: Some(at),
        };
        let Ok(number) = u32::try_from(total / u64::from(size.max(1)) + 1) else {
            return Ok(false);
        };
        let ask = async |number| {
            let query = survey::everything(self.stream, span, size);
            match on.ask(&PageQuery { number, ..query }).await {
                Ok(page) => Ok(Some(page)),
                // Pages may end somewhere.
                Err(error) if error.action() == FailureAction::NextResource => Ok(None),
                Err(error) => Err(error),
            }
        };
        let Some(last) = ask(number).await?.filter(|page| page.contradictory) else {
            return Ok(false);
        };
        if number == 1 {
            return Ok(true);
        }
        // Behind its last page a server may answer with that one.
        let Some(before) = ask(number - 1).await? else {
            return Ok(true);
        };
        let ids = |page: &Page| -> HashSet<Uuid> {
            page.items.iter().filter_map(|item| item.head.id).collect()
        };
        Ok(!ids(&last).is_subset(&ids(&before)))
    }

    /// Rows of a window, as the API should count them: with the records among the rejects and those that
    /// it never shows, without the rows that it no longer lists.
    async fn stored<S: Source>(&self, on: &Sides<'_, S>, span: Span) -> Result<u64, RunError> {
        let Mirror { store, account, .. } = on.mirror;
        let rows = store.count_created(account, self.stream, span).await?;
        let is_in = |at: &Timestamp| lies_in(span, Some(*at));
        let rejects = self.rejects.iter().filter(|at| is_in(at)).count() as u64;
        let unlisted = self.unlisted.values().filter(|at| is_in(at)).count() as u64;
        let is_within = |gap: Span| {
            span.after
                .is_none_or(|after| gap.after.is_some_and(|begin| after <= begin))
                && span
                    .before
                    .is_none_or(|before| gap.before.is_some_and(|end| end <= before))
        };
        let gaps = self.gaps.iter().filter(|(gap, _)| is_within(*gap));
        let gaps: u64 = gaps.map(|(_, missing)| missing).sum();
        Ok((rows + rejects + gaps).saturating_sub(unlisted))
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

fn cutting(whole: Window, cuts: Vec<Timestamp>) -> Step {
    Step::Cut(Cutting {
        whole,
        cuts: cuts.into(),
        parts: Vec::new(),
        rest: whole,
    })
}

/// The table of a stream's records, and the rows that the records of a page are mapped to.
fn mapped(resource: Resource, page: &Page) -> (Option<&'static Table>, HashMap<Uuid, Row>) {
    let mut builder = BatchBuilder::new(resource, false);
    builder.add(page);
    let own =
        builder.finish().writes.into_iter().find(|write| {
            write.table.guard == Guard::Version && write.table.name == resource.name()
        });
    match own {
        Some(write) => {
            let rows = write.rows.into_iter().map(|row| (row.key, row));
            (Some(write.table), rows.collect())
        }
        None => (None, HashMap::new()),
    }
}

/// Whether a stored row of the same version has another content than a record that is shown, in the
/// columns that its answer knows. Those that some answers cannot know are compared where one did when
/// the row was read. A row that is no faithful copy of any version has got what others tell, too, from
/// their answers.
fn is_altered(table: &Table, row: &Row, stored: &Value, is_whole: bool) -> bool {
    let shown: Value = serde_json::from_str(&row.object(table)).unwrap_or_default();
    let mut columns = table.known(row.unknown).filter(|column| {
        column.name != "observed_at"
            && (column.group == ColumnGroup::NONE || !stored[column.name].is_null())
            && (is_whole || !column.shared)
    });
    columns.any(|column| column.plain(&shown[column.name]) != column.plain(&stored[column.name]))
}

/// The span of a run of rows, begun and ended at quiet places near its ends.
fn quiet_span(rows: &[(u64, Timestamp)]) -> Option<Span> {
    let neighbours = usize::try_from(NEIGHBOURS).unwrap_or(usize::MAX);
    let cut = |pair: &[(u64, Timestamp)]| between(pair[0].1, pair[1].1);
    let after = rows.windows(2).take(neighbours).find_map(cut)?;
    let before = rows.windows(2).rev().take(neighbours).find_map(cut)?;
    (after < before).then(|| Span::between(after, before))
}

/// What of all the time before an instant belongs to none of these spans.
fn complement(until: Timestamp, spans: &[Span]) -> Vec<Span> {
    let mut spans = spans.to_vec();
    // An open beginning first.
    spans.sort_unstable_by_key(|span| span.after);
    let mut left = Vec::new();
    // Where what is left begins; `None` is the beginning of time.
    let mut from = None;
    for span in spans {
        if let Some(after) = span
            .after
            .filter(|after| from.is_none_or(|from| from < *after))
        {
            left.push(Span {
                after: from,
                before: Some(after.min(until)),
            });
        }
        match span.before {
            Some(before) => from = from.max(Some(before)),
            None => {
                return left
                    .into_iter()
                    .filter(|span| is_before(*span, until))
                    .collect();
            }
        }
    }
    left.push(Span {
        after: from,
        before: Some(until),
    });
    left.retain(|span| is_before(*span, until));
    left
}

fn is_before(span: Span, until: Timestamp) -> bool {
    span.after.is_none_or(|after| after < until)
}

/// The instant in the middle between two rows, if it is far enough from both.
fn between(before: Timestamp, after: Timestamp) -> Option<Timestamp> {
    (after.since(before) >= QUIET * 2 + STEP).then(|| whole_step(before.middle(after)))
}

/// The last whole step at or before an instant, which is the same instant at any precision.
fn whole_step(at: Timestamp) -> Timestamp {
    let step = i64::try_from(STEP.as_micros()).unwrap_or(1);
    Timestamp::from_micros(at.micros() - at.micros().rem_euclid(step))
}

/// Whether an instant belongs to a span, and not to its neighbours.
fn lies_in(span: Span, at: Option<Timestamp>) -> bool {
    at.is_some_and(|at| {
        span.after.is_none_or(|after| after <= at) && span.before.is_none_or(|before| at < before)
    })
}

fn overlap(one: Span, other: Span) -> bool {
    let ends_after = |one: Span, other: Span| match (one.before, other.after) {
        (Some(before), Some(after)) => before > after,
        _ => true,
    };
    ends_after(one, other) && ends_after(other, one)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(1_700_000_000_000_000 + micros)
    }

    fn span(after: Option<i64>, before: Option<i64>) -> Span {
        Span {
            after: after.map(at),
            before: before.map(at),
        }
    }

    #[test]
    fn a_cut_is_a_whole_step_with_no_row_near_it() {
        assert_eq!(between(at(0), at(4_999)), None);
        assert_eq!(between(at(0), at(5_001)), Some(at(2_000)));
        assert_eq!(between(at(900), at(10_900)), Some(at(5_000)));
    }

    #[test]
    fn windows_that_touch_do_not_overlap() {
        assert!(!overlap(span(None, Some(5)), span(Some(5), None)));
        assert!(overlap(span(None, Some(6)), span(Some(5), None)));
        assert!(overlap(span(Some(1), Some(9)), span(Some(2), Some(3))));
    }

    #[test]
    fn what_a_load_has_not_read_is_left_out() {
        let left = |spans: &[Span]| complement(at(100), spans);
        assert_eq!(left(&[]), [span(None, Some(100))]);
        assert_eq!(left(&[Span::OPEN]), []);
        assert_eq!(left(&[span(None, Some(40))]), [span(Some(40), Some(100))]);
        assert_eq!(left(&[span(Some(120), None)]), [span(None, Some(100))]);
        let several = [
            span(Some(60), Some(80)),
            span(None, Some(20)),
            span(Some(90), None),
        ];
        let expected = [span(Some(20), Some(60)), span(Some(80), Some(90))];
        assert_eq!(left(&several), expected);
        let touching = [
            span(Some(18), Some(40)),
            span(None, Some(20)),
            span(Some(40), Some(300)),
        ];
        assert_eq!(left(&touching), []);
    }
}
