//! Comparing a stream with the API by count, at a cost that grows with the differences.
//!
//! Every count starts at the beginning of time. C(t) is the number of records created before t, and costs one
//! request for a page of one record. The count of a window is the difference of two such counts, so it costs
//! one request to halve a window. It does not matter how the server treats the instant t itself: each record
//! lies in exactly one of two neighbouring windows. The window of a stored row is certain, too. A cut lies at
//! an instant with no stored row within two milliseconds, and one millisecond is the coarsest precision at
//! which the platform may compare instants.
//!
//! A missing record and a surplus record in one window cancel out. So an account is always cut into
//! [`windows::WINDOWS`] windows with equal numbers of rows. Each window is counted, and windows whose counts
//! differ are halved. The borders change each time, so that differences that cancel out once do not cancel
//! out forever. An account with at most that many pages is read completely, which costs as many requests. If
//! the platform does not count, the account is read completely, too.
//!
//! The `updatedAt` of each record that is read is compared: the stored version may be older or newer. If both
//! have the same `updatedAt`, the content is compared.
//!
//! The account changes while it is compared. Records that the next pass reads anyway are not compared: those
//! created or changed after the instant up to which passes have read everything. No difference counts until
//! it has been seen twice. A record on a page is looked up by its id in the store when the page has been
//! read. A stored record that no page shows is read from the platform by id. A record is also read by id if
//! the stored version is newer than the listed one and so recent that the listed one may come from a stale
//! replica.
//!
//! If a record in doubt cannot be read by id, it is read from the listing, in a window of its own. That is
//! repeated each night until it is certain what the listing shows.
//!
//! A comparison is done step by step, so that passes can be made in between: [`windows`] counts, [`pages`]
//! reads and compares, [`undated`] looks for records that no window holds, and [`by_id`] reads records by id.
//! Must not know what is done about differences, except that it sends the pages with differences to be
//! stored.

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

/// For how many rows in doubt, of each stream, a night reads windows of the listing. The next night takes
/// other rows.
const DOUBTED: u32 = 200;

/// A gap that was last seen within this time counts as still open, without being counted again.
const COUNTED_LATELY: Duration = Duration::from_hours(1);

/// How many other gaps of a stream are counted again before a comparison.
const COUNTED_AGAIN: usize = 50;

const DAY: Duration = Duration::from_hours(24);

/// The next step of a comparison.
#[derive(Debug)]
enum Step {
    /// Load the records that earlier nights left to be read by id.
    Queue,
    /// Queue contacts that no list shows, to be read by id.
    NeverListed,
    /// Read windows around rows that may differ from the platform's version.
    Doubted,
    /// Determine what to compare.
    Begin,
    /// Count the records of a span, and cut it into windows.
    Span(Span),
    /// Count the parts of a window, one by one.
    Cut(Cutting),
    /// Find the differences of a window whose counts differ.
    Narrow(Window),
    /// Read a window and compare every record of it.
    Read(Reading),
    /// Choose windows to read although their counts are equal.
    Samples(Span),
    /// Look for records that no window holds.
    Undated,
    /// Sum up.
    End,
}

/// The two sides of a comparison, and the channel for its findings.
pub(super) struct Sides<'a, S> {
    pub(super) mirror: Mirror<'a, S>,
    /// The channel for pages with differences; `None` if differences are not repaired.
    pub(super) out: Option<mpsc::Sender<Chunk>>,
    /// The portion that this work belongs to. At its end, other work goes first.
    pub(super) portion: Option<&'a Portion<'a, S>>,
}

impl<S: Source> Sides<'_, S> {
    async fn ask(&self, query: &PageQuery) -> Result<Page, RunError> {
        survey::ask(self.mirror.source, query, self.mirror.stop).await
    }

    /// The totals of both versions of the session list; `None` if only this query fails. Nothing else depends
    /// on the totals, so a failure that does not concern other queries is ignored.
    async fn session_totals(&self) -> Result<Option<VersionTotals>, RunError> {
        let Mirror { source, stop, .. } = self.mirror;
        let totals = unless_stopped(stop, source.session_totals()).await?;
        match totals.map_err(RunError::from) {
            Ok(totals) => Ok(totals),
            Err(error) if error.action() == FailureAction::NextResource => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends a page and state changes to be stored, if differences are repaired.
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

/// A comparison of one stream that is in progress.
#[derive(Debug)]
pub(super) struct Comparing {
    stream: Stream,
    /// Passes should have read everything that was created or changed before this instant, as far as the
    /// `Date` header of their answers shows.
    horizon: Timestamp,
    /// Passes have certainly read everything that changed before this instant.
    read_until: Timestamp,
    /// Windows of a first load that are not read yet.
    unread: Vec<Span>,
    /// Whether windows are counted although the totals are equal, and records that no list shows are read by
    /// id.
    is_thorough: bool,
    /// Whether the platform sends no totals.
    is_uncounted: bool,
    samples: u32,
    /// How many more records may be read by id.
    pub(super) may_ask: u32,
    pub(super) found: Comparison,
    /// The remaining steps; the last element is the next step.
    steps: Vec<Step>,
    /// Creation times of the records that exist only as rejects.
    rejects: Vec<Timestamp>,
    rejected: HashSet<Uuid>,
    /// Rows that earlier comparisons queued because they are no longer listed. They are read by id anyway.
    unlisted: HashMap<Uuid, Timestamp>,
    /// Rows in doubt: earlier passes or comparisons found that they may differ from the platform's version.
    doubted: HashSet<Uuid>,
    /// Windows in which the platform is known to count more records than it shows, and how many more.
    gaps: Vec<(Span, u64)>,
    /// Windows that were read completely.
    read: Vec<Span>,
    /// The platform's count of records created before the end of the compared range.
    counted: Option<u64>,
    to_ask: VecDeque<Uuid>,
    /// Records that earlier nights left to be read by id. They are read after the records that this night
    /// finds.
    backlog: Vec<Uuid>,
    /// All records that are in `to_ask` or `backlog`, or were queued for the next night.
    asked: HashSet<Uuid>,
    /// Why no record can be read by id.
    by_id_error: Option<RunError>,
}

impl Comparing {
    /// A comparison of the records of a stream that were created before `horizon`, without the windows
    /// `unread` of a first load. Changes after `read_until` may not have been read yet.
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

    /// Whether there is nothing to compare, because nothing was read yet.
    pub(super) fn is_empty(&self) -> bool {
        complement(self.horizon, &self.unread).is_empty()
    }

    /// Counts every window, reads `samples` windows although their counts are equal, and reads at most
    /// `may_ask` records by id, including records that no list shows.
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

    /// Takes the next step, which needs a few requests at most. Returns whether it was the last step.
    pub(super) async fn step<S: Source>(&mut self, on: &Sides<'_, S>) -> Result<bool, RunError> {
        // Records that are missing in the mirror are stored first. Records that the platform may have deleted
        // can wait.
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

    /// Determines what to compare.
    async fn begin<S: Source>(&mut self, on: &Sides<'_, S>) -> Result<(), RunError> {
        let Mirror { store, account, .. } = on.mirror;
        if self.is_thorough && self.stream.resource == Resource::Sessions {
            self.found.versions = on.session_totals().await?;
        }
        self.note_rejects(on).await?;
        if on.out.is_some() {
            // These rows are read by id anyway.
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
            // A gap that no longer exists would hide another missing record.
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

    /// Reads windows around rows in doubt; each night reads others. Windows that were already read are not
    /// read again.
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

    /// Sums up. Returns an error if no record could be read by id.
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
            // The raw text of a record that another account holds has the names of the columns.
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

/// The number of the night. Work that is spread over several nights begins at a different part each night.
fn tonight(now: Timestamp) -> u64 {
    let day = i64::try_from(DAY.as_micros()).unwrap_or(i64::MAX);
    u64::try_from(now.micros().div_euclid(day)).unwrap_or(0)
}
