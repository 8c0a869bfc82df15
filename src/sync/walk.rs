//! What both walks share: requesting pages, checking them, and sending them on.
//!
//! A walk reads pages from a [`Source`] and sends them, with the state changes that they prove,
//! into a bounded channel to the storing side. It decides what was read completely. Must not know
//! the database, the clock of this machine, or where pages come from.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering as Atomic};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::warn;
use uuid::Uuid;

use super::oddities::{Oddities, Oddity};
use super::plan::{self, STEP, TOLERANCE};
use super::policy::RunError;
use crate::data::{
    Direction, Gap, Head, Order, OrderField, Page, PageQuery, SessionFilter, Source, Span,
    StateChange, Stream, Timestamp,
};

/// The page size of queries that look for the newest change, or check whether the server orders. This is the
/// maximum page size.
pub(super) const PROBE_SIZE: u32 = 100;

/// How many queries for the newest stamp are sent at most. A server that orders shows it in the first answer.
/// A server that does not order shows a hundred records of any age. So after each query, about a hundredth of
/// the newer records is left.
const MOST_QUESTIONS: u32 = 20;

/// How walks behave.
#[derive(Debug, Clone, Copy)]
pub struct WalkSettings {
    /// A change becomes visible at most this long after the `updatedAt` it carries.
    pub overlap: Duration,
    /// Records on a page, 1 to 100.
    pub page_size: u32,
    /// A window with more pages than this is split.
    pub window_pages: u32,
    /// How many pages of a window of creation times are read concurrently.
    pub concurrency: usize,
}

/// A page on its way to the store, and what it proves once it is stored.
#[derive(Debug)]
pub struct Chunk {
    /// The page; `None` if there are only state changes.
    pub page: Option<Page>,
    /// What is true once this chunk and all chunks before it are stored.
    pub state_changes: Vec<StateChange>,
}

/// The checks on which the promise rests. A test can disable each of them, and must then find the loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Safeguard {
    /// The order of every page is verified, not assumed.
    OrderCheck,
    /// The watermark stays at or before what was visible when the pass began.
    Cap,
    /// The stamps of records tell what was visible then, and not the `Date` header.
    Stamps,
    /// The time for which the newest change has been known is measured as a duration. Its stamp is not
    /// compared with the `Date` header.
    Durations,
    /// Another page may follow a full page, whatever the totals say.
    FullPages,
    /// Records that are counted but never shown are recorded as a gap, and do not block the stream.
    Gaps,
    /// A window of change ends where changes may still appear, and not later.
    Settled,
    /// A settled window is read from its last page to its first.
    Backward,
    /// Totals and distinct ids of a window must agree.
    Count,
    /// The version that is read later is right, even if its stamp is older. The store implements this, and
    /// the test models it.
    #[cfg(test)]
    LaterWins,
}

/// A walk over one stream.
pub struct Walk<'a, S> {
    pub(super) source: &'a S,
    pub(super) stream: Stream,
    pub(super) filter: Arc<SessionFilter>,
    pub(super) settings: WalkSettings,
    pub(super) stop: &'a CancellationToken,
    pub(super) out: mpsc::Sender<Chunk>,
    /// How many more records may be read; `None` without a limit.
    pub(super) budget: Option<&'a AtomicU64>,
    /// The known gaps of the account.
    pub(super) gaps: Arc<[Gap]>,
    /// Whether this walk found other gaps.
    pub(super) has_gaps: AtomicBool,
    /// Changes before this instant were visible when the walk began; `None` if that is not known.
    pub(super) settled: Option<Timestamp>,
    oddities: Option<&'a Oddities>,
    #[cfg(test)]
    pub(super) without: Option<Safeguard>,
}

impl<'a, S: Source> Walk<'a, S> {
    /// A walk that sends what it reads to `out` until `stop` is cancelled.
    pub fn new(
        source: &'a S,
        stream: Stream,
        settings: WalkSettings,
        stop: &'a CancellationToken,
        out: mpsc::Sender<Chunk>,
    ) -> Self {
        Self {
            source,
            stream,
            filter: Arc::default(),
            settings,
            stop,
            out,
            budget: None,
            gaps: Arc::default(),
            has_gaps: AtomicBool::new(false),
            settled: None,
            oddities: None,
            #[cfg(test)]
            without: None,
        }
    }

    /// Reads only records that match this filter.
    #[must_use]
    pub fn filtered(mut self, filter: Arc<SessionFilter>) -> Self {
        self.filter = filter;
        self
    }

    /// Stops when the records of the budget have been read and proven, counted across walks. Windows are
    /// split so that one window is not much larger than the rest of the budget.
    #[must_use]
    pub fn limited(mut self, budget: Option<&'a AtomicU64>) -> Self {
        if let Some(budget) = budget {
            let left = plan::pages(budget.load(Atomic::SeqCst), self.settings.page_size);
            self.settings.window_pages = self.settings.window_pages.min(left.max(1));
        }
        self.budget = budget;
        self
    }

    /// Expects that these gaps still exist, and does not search for their records again.
    #[must_use]
    pub fn knowing(mut self, gaps: Arc<[Gap]>) -> Self {
        self.gaps = gaps;
        self
    }

    /// Whether it has found gaps.
    pub(super) fn has_found_gaps(&self) -> bool {
        self.has_gaps.load(Atomic::SeqCst)
    }

    /// Changes before `settled` were visible when the walk began.
    #[must_use]
    pub fn settled(mut self, settled: Option<Timestamp>) -> Self {
        self.settled = settled;
        self
    }

    /// Logs only oddities that were not logged before.
    #[must_use]
    pub fn telling(mut self, oddities: &'a Oddities) -> Self {
        self.oddities = Some(oddities);
        self
    }

    /// Whether an oddity of the platform is to be logged.
    pub(super) fn is_news(&self, oddity: Oddity) -> bool {
        self.oddities
            .is_none_or(|oddities| oddities.is_news(self.stream, oddity))
    }

    #[cfg(test)]
    pub(super) fn has(&self, safeguard: Safeguard) -> bool {
        self.without != Some(safeguard)
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "the test's twin needs it")]
    pub(super) const fn has(&self, _safeguard: Safeguard) -> bool {
        true
    }

    /// The query for the first page.
    pub(super) fn query(&self, created: Span, updated: Span, order: Order) -> PageQuery {
        PageQuery {
            stream: self.stream,
            created,
            updated,
            filter: Arc::clone(&self.filter),
            order: Some(order),
            number: 1,
            size: self.settings.page_size,
        }
    }

    /// The query for what changed within a window, by the stream's cursor field.
    pub(super) fn changes(&self, window: Span, direction: Direction) -> PageQuery {
        let field = self.stream.cursor();
        let order = Order { field, direction };
        match field {
            OrderField::LastInteractionAt => PageQuery {
                filter: Arc::new(SessionFilter {
                    interacted: window,
                    ..SessionFilter::clone(&self.filter)
                }),
                ..self.query(Span::OPEN, Span::OPEN, order)
            },
            OrderField::UpdatedAt | OrderField::CreatedAt => self.query(Span::OPEN, window, order),
        }
    }

    /// Reads a record's stamp from the stream's cursor field.
    pub(super) fn stamp(&self) -> Stamp {
        stamp_of(self.stream.cursor())
    }

    /// How many records of a window are known to be counted but not shown.
    pub(super) fn missing(&self, field: OrderField, window: Span) -> u64 {
        self.gaps
            .iter()
            .filter(|gap| gap.stream == self.stream && gap.field == field)
            .filter(|gap| overlap(gap.window, window))
            .map(Gap::missing)
            .sum()
    }

    /// Whether any sign says that another page follows this page.
    pub(super) fn goes_on(&self, page: &Page, query: &PageQuery) -> bool {
        let counted = u64::from(query.number) * u64::from(query.size);
        let counts_on = page.total.is_some_and(|total| total > counted);
        let is_believed = self.has(Safeguard::FullPages) || page.total.is_none();
        counts_on || (page.has_more && is_believed)
    }

    /// The same. Also true if the counts are wrong or absent, so that only the next page can tell.
    pub(super) fn may_go_on(&self, page: &Page, query: &PageQuery) -> bool {
        let is_wrong = page.is_doubtful() && self.has(Safeguard::FullPages);
        self.goes_on(page, query) || is_wrong
    }

    /// Warns once that the platform's counts contradict its pages.
    pub(super) fn tell_contradiction(&self) {
        if self.is_news(Oddity::Contradiction) {
            warn!(
                stream = %self.stream,
                "the platform's counts of {} contradict its pages; syncs follow the pages",
                self.stream
            );
        }
    }

    /// Verifies that a page other than the first is not the first page again.
    ///
    /// If its records were on the first page, they may have moved since that was read. So the first page is
    /// read again before this is an error.
    pub(super) async fn require_paging(
        &self,
        first: &HashSet<Uuid>,
        page: &Page,
        query: &PageQuery,
    ) -> Result<(), RunError> {
        let is_on = |first: &HashSet<Uuid>| ids(page).all(|id| first.contains(&id));
        if query.number <= 1 || ids(page).next().is_none() || !is_on(first) {
            return Ok(());
        }
        // If only the first page is counted, the server may answer every later page with the first one.
        let size = u64::from(query.size);
        if page.total.is_some_and(|total| total <= size) {
            return Ok(());
        }
        let again = self
            .fetch(&PageQuery {
                number: 1,
                ..query.clone()
            })
            .await?;
        if !is_on(&ids(&again).collect()) {
            return Ok(());
        }
        Err(RunError::Unpaged {
            stream: self.stream,
            number: query.number,
        })
    }

    /// Sends a query, unless the walk is stopped.
    pub(super) async fn fetch(&self, query: &PageQuery) -> Result<Page, RunError> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(RunError::Stopped),
            // If the database goes away, the walk notices that at once, and not after minutes of rate limit.
            () = self.out.closed() => Err(RunError::Closed),
            page = self.source.page(query) => Ok(page?),
        }
    }

    /// Sends a page and state changes to the storing side.
    pub(super) async fn send(
        &self,
        page: Option<Page>,
        state_changes: Vec<StateChange>,
    ) -> Result<(), RunError> {
        let records = page.as_ref().map_or(0, |page| page.items.len() as u64);
        self.out
            .send(Chunk {
                page,
                state_changes,
            })
            .await
            .map_err(|_| RunError::Closed)?;
        if let Some(budget) = self.budget
            && records > 0
        {
            let _previous = budget.fetch_update(Atomic::SeqCst, Atomic::SeqCst, |left| {
                Some(left.saturating_sub(records))
            });
        }
        Ok(())
    }

    /// Ends the walk if the limit of records is reached. Called where everything that was read is proven, or
    /// will be proven by the next page. So a later walk continues there, and not where this walk began.
    pub(super) fn pause(&self) -> Result<(), RunError> {
        match self.budget {
            Some(budget) if budget.load(Atomic::SeqCst) == 0 => Err(RunError::Stopped),
            _ => Ok(()),
        }
    }

    pub(super) fn watermark(&self, mark: Mark) -> StateChange {
        StateChange::Watermark {
            stream: self.stream,
            to: mark.to,
            seen_at: mark.seen_at,
        }
    }
}

/// Reads the time of change from a record.
pub(super) type Stamp = fn(&Head) -> Option<Timestamp>;

fn stamp_of(field: OrderField) -> Stamp {
    match field {
        OrderField::UpdatedAt => |head| head.updated_at,
        OrderField::CreatedAt => |head| head.created_at,
        OrderField::LastInteractionAt => |head| head.last_interaction_at,
    }
}

/// The stamp of a record, and when the record was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) to: Timestamp,
    /// Server time of the answer.
    pub(super) seen_at: Timestamp,
}

impl Mark {
    /// The newest stamp on a page, not counting those after `until`.
    pub(super) fn of(page: &Page, stamp: Stamp, until: Timestamp) -> Option<Self> {
        let to = stamps(page, stamp).filter(|at| *at <= until).max()?;
        let seen_at = page.server_time;
        Some(Self { to, seen_at })
    }

    /// The later of two marks. If both have the same stamp, the one that was shown first.
    pub(super) fn later(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        match (one, other) {
            (Some(one), Some(other)) if other.to > one.to => Some(other),
            (one, other) => one.or(other),
        }
    }
}

/// Looks for the newest stamp that the server shows, not counting those after `until`, with a few queries. A
/// second query is only sent if the first answer shows that the server does not order.
#[derive(Debug)]
pub(super) struct Climb {
    query: PageQuery,
    until: Timestamp,
    questions: u32,
    /// The newest stamp found so far.
    pub(super) best: Option<Mark>,
}

impl Climb {
    /// Begins with a query for descending stamps.
    pub(super) const fn new(query: PageQuery, until: Timestamp) -> Self {
        Self {
            query,
            until,
            questions: 0,
            best: None,
        }
    }

    /// The next query.
    pub(super) const fn query(&self) -> &PageQuery {
        &self.query
    }

    /// Takes the answer to the query. Returns whether another query follows.
    pub(super) fn take(&mut self, page: &Page) -> bool {
        let stamp = stamp_of(self.query.stream.cursor());
        let before = self.best;
        self.best = Mark::later(before, Mark::of(page, stamp, self.until));
        let is_first = self.questions == 0;
        self.questions += 1;
        let ordered = is_sorted(page, stamp, true) && distinct_instants(page, stamp) > 1;
        if is_first && (!(page.has_more || page.is_doubtful()) || (self.best.is_some() && ordered))
        {
            return false;
        }
        match self.best {
            // So far all stamps are after `until`.
            None if is_first => window_mut(&mut self.query).before = Some(self.until + STEP),
            Some(best) if before != self.best && self.questions < MOST_QUESTIONS => {
                window_mut(&mut self.query).after = Some(best.to);
            }
            None | Some(_) => return false,
        }
        true
    }
}

/// The window of changes of a query.
pub(super) fn window_of(query: &PageQuery) -> Span {
    match query.stream.cursor() {
        OrderField::LastInteractionAt => query.filter.interacted,
        OrderField::UpdatedAt | OrderField::CreatedAt => query.updated,
    }
}

fn window_mut(query: &mut PageQuery) -> &mut Span {
    match query.stream.cursor() {
        OrderField::LastInteractionAt => &mut Arc::make_mut(&mut query.filter).interacted,
        OrderField::UpdatedAt | OrderField::CreatedAt => &mut query.updated,
    }
}

/// Whether two windows have an instant in common.
pub(super) fn overlap(one: Span, other: Span) -> bool {
    let begins_before_end = |one: Span, other: Span| {
        one.after
            .zip(other.before)
            .is_none_or(|(after, before)| after < before)
    };
    begins_before_end(one, other) && begins_before_end(other, one)
}

/// The ids that a page shows.
pub(super) fn ids(page: &Page) -> impl Iterator<Item = Uuid> {
    page.items.iter().filter_map(|item| item.head.id)
}

fn stamps(page: &Page, stamp: Stamp) -> impl Iterator<Item = Timestamp> {
    page.items.iter().filter_map(move |item| stamp(&item.head))
}

/// The newest change on a page.
pub(super) fn newest(page: &Page, stamp: Stamp) -> Option<Timestamp> {
    stamps(page, stamp).max()
}

/// Whether the stamps on a page ascend, or descend if `descending`. Records without a readable time are
/// skipped.
pub(super) fn is_sorted(page: &Page, stamp: Stamp, descending: bool) -> bool {
    if descending {
        stamps(page, stamp).is_sorted_by(|a, b| a >= b)
    } else {
        stamps(page, stamp).is_sorted()
    }
}

/// How many different stamps the records of a page have.
pub(super) fn distinct_instants(page: &Page, stamp: Stamp) -> usize {
    stamps(page, stamp).collect::<HashSet<_>>().len()
}

/// How many records of a page lie outside the window by more than the tolerance.
fn outside(page: &Page, window: Span, field: Stamp) -> usize {
    stamps(page, field)
        .filter(|at| {
            window.after.is_some_and(|after| *at < after - TOLERANCE)
                || window.before.is_some_and(|before| *at > before + TOLERANCE)
        })
        .count()
}

/// Whether a page shows records outside the window. If so, the server ignored the filter (API notes, 3.4).
pub(super) fn leaves(page: &Page, window: Span, field: Stamp) -> bool {
    outside(page, window, field) > 0
}

/// Whether most records of a page lie outside the window. A few of them prove nothing here: windows of
/// creation times only divide the reading into parts, and one record whose two times disagree must not turn
/// all parts into one.
pub(super) fn mostly_leaves(page: &Page, window: Span, field: Stamp) -> bool {
    outside(page, window, field) * 2 > page.items.len()
}
