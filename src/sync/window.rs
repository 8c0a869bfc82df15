//! The window walk: reads a closed range of time completely and counts its records.
//!
//! From a settled window of change, records can only leave. So it is read from the last page to the
//! first: records that shift move towards pages that are not read yet, whatever the server's order.
//! From a window of creation, no record leaves, so its pages are read concurrently. In both cases
//! the totals and the number of distinct records must be equal, or the window is read again.
//!
//! Pages count more than totals. After a full page, another one is read, whatever the total says.
//! If two readings in a row show the same records, nothing changed, and the totals are wrong. If
//! more records are shown than counted, these are all. If fewer are shown, the window is split,
//! since a window of one page is one answer that cannot change while it is read. If one answer
//! counts more than it shows, that is a gap: it is recorded, and the stream continues. If replicas
//! answer in turn and disagree, all records that any of them shows are stored, and the surplus of
//! the smallest total is a gap.

use std::collections::HashSet;
use std::sync::atomic::Ordering as Atomic;

use futures::{StreamExt, TryStreamExt, stream};
use tracing::{debug, warn};
use uuid::Uuid;

use super::keyset::{Pass, PassEnd};
use super::oddities::Oddity;
use super::plan::{self, STEP};
use super::policy::RunError;
use super::tally::{Judgement, Readings, Tally};
use super::walk::{Mark, PROBE_SIZE, Safeguard, Walk, ids, leaves, mostly_leaves, window_of};
use crate::data::{
    BackfillWindow, Direction, Gap, Order, OrderField, Page, PageQuery, Source, Span, StateChange,
    Timestamp, grouped,
};

/// Times a window is read before it is read in parts.
const ATTEMPTS: u32 = 3;
/// Times a window that can't be split is read.
const LAST_ATTEMPTS: u32 = 8;
/// How far behind the pages that are counted the last one is looked for. A server that shows records
/// there, too, shows them on any page.
const MOST_UNCOUNTED: u32 = 1 << 20;

/// What became of a window of creation times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WindowEnd {
    /// It was read completely.
    Done {
        /// Records it showed.
        records: u64,
    },
    /// The server shows everything, whatever range is asked for.
    Unfiltered,
    /// It was too deep, or would not hold still, and has to be read in these parts, newest first.
    Split(Vec<Span>),
}

/// What was found of a window.
#[derive(Debug)]
enum Found {
    /// Everything there is.
    Whole(Tally),
    /// Everything that is shown; more is counted.
    Gap(Tally, Gap),
    /// It has to be read in these parts, newest first.
    Parts(Vec<Span>),
    /// The server knows no windows.
    Unfiltered,
}

/// What became of a gap that was looked at again.
#[derive(Debug, Clone, Copy)]
pub enum GapCheck {
    /// Everything that is counted there is shown.
    Closed,
    /// It is still there.
    Open(Gap),
    /// Nothing can be said of its window any more.
    Nothing,
}

/// What a window of change showed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct WindowCount {
    /// So many records; one on a border between two parts counts in both.
    pub(super) records: u64,
    /// Whether more were counted than shown, where nothing is settled yet, so that no gap is noted.
    pub(super) is_short: bool,
}

/// Whether a window may be read in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Splitting {
    /// Where it is deep, will not hold still, or hides something.
    Allowed,
    /// A gap is looked at again: it is what it is.
    No,
}

impl<S: Source> Walk<'_, S> {
    /// Reads what changed after an instant without relying on the server's order.
    ///
    /// First the part that is settled: changes that carry a stamp of before the newest at the beginning
    /// of the pass less the overlap have all become visible. Then what came since, for the sake of
    /// freshness alone: it still moves, so nothing is concluded from it, and the watermark stays before it.
    pub(super) async fn windows(&self, after: Timestamp, pass: Pass) -> Result<PassEnd, RunError> {
        let settled = self.read_settled(after, pass.cap).await?;
        let rest = Span::after(after.max(settled - STEP));
        let query = self.changes(rest, Direction::Ascending);
        let first = self.fetch(&query).await?;
        if leaves(&first, rest, self.stamp()) {
            return Err(self.unfiltered());
        }
        self.backward(&query, first, pass.cap).await?;
        self.finish(pass).await
    }

    /// The same where one answer has shown all of it, which is less than is counted: only what is missing
    /// is looked for.
    pub(super) async fn settled_changes(
        &self,
        after: Timestamp,
        pass: Pass,
    ) -> Result<PassEnd, RunError> {
        self.read_settled(after, pass.cap).await?;
        self.finish(pass).await
    }

    /// Reads what changed after an instant and is settled. Yields up to where that goes.
    async fn read_settled(&self, after: Timestamp, cap: Timestamp) -> Result<Timestamp, RunError> {
        let settled = if self.has(Safeguard::Settled) {
            cap - self.settings.overlap
        } else {
            cap
        };
        if after < settled {
            self.changed_window(Span::between(after, settled), true, cap)
                .await?;
        }
        Ok(settled)
    }

    /// Reads a window of change and, where it is settled, moves the watermark through it, at most to
    /// `cap`.
    pub(super) async fn changed_window(
        &self,
        range: Span,
        settled: bool,
        cap: Timestamp,
    ) -> Result<WindowCount, RunError> {
        let mut windows = vec![range];
        let mut shown = WindowCount::default();
        // Oldest first, since the watermark only moves forward.
        while let Some(window) = windows.pop() {
            let splitting = Splitting::Allowed;
            let (tally, gap) = match self.changed_part(window, settled, cap, splitting).await? {
                Found::Whole(tally) => (tally, None),
                Found::Gap(tally, gap) => (tally, Some(gap)),
                Found::Parts(parts) => {
                    windows.extend(parts.into_iter().map(|part| plan::touching(part, window)));
                    continue;
                }
                Found::Unfiltered => return Err(self.unfiltered()),
            };
            shown.records += tally.records();
            let known = self.missing(self.stream.cursor(), window);
            let is_short = gap.is_some() || tally.counted() > tally.records() + known;
            shown.is_short |= !settled && is_short;
            let mark = tally.mark.filter(|_| settled);
            let proof = mark.map(|mark| self.watermark(mark));
            let gap = gap.filter(|_| settled).map(|gap| self.note_gap(gap));
            self.send(None, gap.into_iter().chain(proof).collect())
                .await?;
            if settled && !windows.is_empty() {
                self.pause()?;
            }
        }
        Ok(shown)
    }

    /// Reads a window of change until it is known what it holds.
    async fn changed_part(
        &self,
        window: Span,
        settled: bool,
        cap: Timestamp,
        splitting: Splitting,
    ) -> Result<Found, RunError> {
        let field = self.stream.cursor();
        let query = self.changes(window, Direction::Ascending);
        let until = window.before.map_or(cap, |before| before.min(cap));
        let split = |pages, depth| match splitting {
            Splitting::Allowed => plan::split(window, pages, depth),
            Splitting::No => Vec::new(),
        };
        let mut readings = Readings::default();
        loop {
            let first = self.fetch(&query).await?;
            if leaves(&first, window, self.stamp()) {
                return Ok(Found::Unfiltered);
            }
            let depth = self.settings.window_pages;
            let pages = plan::pages(first.total.unwrap_or(0), query.size);
            let parts = split(pages, depth);
            if pages > depth && !parts.is_empty() {
                return Ok(Found::Parts(parts));
            }
            let (tally, pages) = self.backward(&query, first, until).await?;
            let known = self.missing(field, window);
            let objection = tally
                .objection(true, known)
                .filter(|_| self.has(Safeguard::Count));
            match self.judge(&mut readings, &tally, objection, window, LAST_ATTEMPTS)? {
                Judgement::Complete => return Ok(Found::Whole(tally)),
                Judgement::Still { missing } => {
                    let missing = missing.saturating_sub(known);
                    let narrower = split(pages, 1);
                    // A part of one page that shows nothing is as narrow as it needs to be.
                    let is_narrow = pages <= 1 && tally.records() == 0;
                    let torn = pages > 1 && tally.is_repeated();
                    if settled && (missing > 0 && !is_narrow || torn) && !narrower.is_empty() {
                        return Ok(Found::Parts(narrower));
                    }
                    if missing == 0 || !settled {
                        return Ok(Found::Whole(tally));
                    }
                    let gap = self.gap(field, window, &tally, missing);
                    return Ok(Found::Gap(tally, gap));
                }
                Judgement::Torn => {
                    return Ok(self.torn(field, window, &mut readings, tally, known));
                }
                Judgement::Moving(_) if readings.attempts.is_multiple_of(ATTEMPTS) => {
                    let parts = split(pages, depth);
                    if !parts.is_empty() {
                        return Ok(Found::Parts(parts));
                    }
                }
                Judgement::Moving(_) => {}
            }
        }
    }

    /// Judges a reading of a window. After so many that were in vain, what they showed is believed.
    fn judge(
        &self,
        readings: &mut Readings,
        tally: &Tally,
        objection: Option<String>,
        window: Span,
        most: u32,
    ) -> Result<Judgement, RunError> {
        let judgement = match (readings.judge(tally, objection.clone()), objection) {
            (Judgement::Still { .. }, Some(objection)) if !self.has(Safeguard::Gaps) => {
                Judgement::Moving(objection)
            }
            (judgement, _) => judgement,
        };
        match &judgement {
            Judgement::Still { missing: 0 } => self.tell_contradiction(),
            Judgement::Complete | Judgement::Still { .. } | Judgement::Torn => {}
            Judgement::Moving(objection) => {
                debug!(stream = %self.stream, ?window, objection, "window read again");
                let attempts = readings.attempts;
                if attempts >= most && self.has(Safeguard::Gaps) {
                    return Ok(Judgement::Torn);
                }
                if attempts >= most {
                    return Err(self.unsteady(window, attempts, objection.clone()));
                }
            }
        }
        Ok(judgement)
    }

    /// What came of a window of which no two readings showed the same.
    fn torn(
        &self,
        field: OrderField,
        window: Span,
        readings: &mut Readings,
        last: Tally,
        known: u64,
    ) -> Found {
        let tally = readings.united().unwrap_or(last);
        let missing = tally.counted().saturating_sub(tally.records() + known);
        if missing == 0 {
            return Found::Whole(tally);
        }
        let gap = self.gap(field, window, &tally, missing);
        Found::Gap(tally, gap)
    }

    /// The gap of a window in which so many records are missing besides those that are known to be. What
    /// another gap tells is not told twice.
    fn gap(&self, field: OrderField, window: Span, tally: &Tally, missing: u64) -> Gap {
        let is_it =
            |gap: &&Gap| (gap.stream, gap.field, gap.window) == (self.stream, field, window);
        let before = self
            .gaps
            .iter()
            .filter(is_it)
            .map(Gap::missing)
            .sum::<u64>();
        Gap {
            stream: self.stream,
            field,
            window,
            counted: tally.records() + before + missing,
            shown: tally.records(),
        }
    }

    fn note_gap(&self, gap: Gap) -> StateChange {
        let missing = gap.missing();
        let stream = self.stream;
        self.has_gaps.store(true, Atomic::SeqCst);
        if self.is_news(Oddity::Gap) {
            warn!(
                %stream,
                missing,
                "{stream}: the platform counts {} records in a window of time but does not show {} of \
                 them; the others are stored, and `helena-sync status` shows the gap",
                grouped(gap.counted),
                grouped(missing)
            );
        } else {
            debug!(%stream, ?gap, "gap found");
        }
        StateChange::Gap(gap)
    }

    /// Reads a window from its last page to its first. Yields how many pages it has.
    async fn backward(
        &self,
        query: &PageQuery,
        first: Page,
        until: Timestamp,
    ) -> Result<(Tally, u32), RunError> {
        let mut tally = Tally::new(self.stamp(), until);
        let window = window_of(query);
        if !self.may_go_on(&first, query) {
            tally.add(&first);
            self.send(Some(first), Vec::new()).await?;
            return Ok((tally, 1));
        }
        tally.add_total(&first);
        let ids: HashSet<Uuid> = ids(&first).collect();
        let total = first.total.unwrap_or(0);
        let counted = plan::pages(total, query.size).max(1);
        // Where the last page that is counted is full, or is this one, there may be one behind it.
        let is_full = total.is_multiple_of(u64::from(query.size.max(1)));
        let behind = u32::from((is_full || counted == 1) && self.has(Safeguard::FullPages));
        let ends = counted.saturating_add(behind);
        let (pages, mut page) = self.last_page(query, &ids, ends).await?;
        let (mut upward, mut downward) = (1..pages, (1..pages).rev());
        loop {
            if leaves(&page, window, self.stamp()) {
                return Err(self.unfiltered());
            }
            tally.add(&page);
            self.send(Some(page), Vec::new()).await?;
            let number = if self.has(Safeguard::Backward) {
                downward.next()
            } else {
                upward.next()
            };
            let Some(number) = number else {
                return Ok((tally, pages));
            };
            let query = query.clone();
            let query = PageQuery { number, ..query };
            page = self.fetch(&query).await?;
            self.require_paging(&ids, &page, &query).await?;
        }
    }

    /// The page behind which there is no other, if that is not before page `from`, and its number. The
    /// page before it goes on. It may be empty.
    async fn last_page(
        &self,
        query: &PageQuery,
        first: &HashSet<Uuid>,
        from: u32,
    ) -> Result<(u32, Page), RunError> {
        let mut below = from.saturating_sub(1);
        let mut number = from;
        let mut stride = 1_u32;
        let mut last = loop {
            let (page, ends) = self.nth_page(query, first, number).await?;
            if ends {
                break page;
            }
            if stride > MOST_UNCOUNTED {
                let stream = self.stream;
                return Err(RunError::Unpaged { stream, number });
            }
            self.tell_contradiction();
            below = number;
            number = number.saturating_add(stride);
            stride *= 2;
        };
        while number - below > 1 {
            let middle = below + (number - below) / 2;
            let (page, ends) = self.nth_page(query, first, middle).await?;
            if ends {
                (number, last) = (middle, page);
            } else {
                below = middle;
            }
        }
        Ok((number, last))
    }

    /// A page other than the first, and whether there is none behind it. One that shows what the page
    /// before it shows is none: the server answers with its last page where there is no other.
    async fn nth_page(
        &self,
        query: &PageQuery,
        first: &HashSet<Uuid>,
        number: u32,
    ) -> Result<(Page, bool), RunError> {
        let query = PageQuery {
            number,
            ..query.clone()
        };
        let mut page = self.fetch(&query).await?;
        self.require_paging(first, &page, &query).await?;
        if page.items.is_empty() {
            let ends = !self.shows_behind(first, &page, &query).await?;
            return Ok((page, ends));
        }
        if !self.may_go_on(&page, &query) {
            return Ok((page, true));
        }
        if page.total.is_some() && !page.contradictory {
            return Ok((page, false));
        }
        let before = PageQuery {
            number: number.saturating_sub(1).max(1),
            ..query.clone()
        };
        let before: HashSet<Uuid> = ids(&self.fetch(&before).await?).collect();
        let is_on =
            |page: &Page| ids(page).next().is_some() && ids(page).all(|id| before.contains(&id));
        if is_on(&page) {
            // They may have moved there meanwhile.
            page = self.fetch(&query).await?;
            if is_on(&page) {
                page.items.clear();
                return Ok((page, true));
            }
        }
        let ends = page.items.is_empty() || !self.may_go_on(&page, &query);
        Ok((page, ends))
    }

    /// Whether records are shown behind a page that shows none. Where nothing is said of what follows, all
    /// records of a page may be some that are not shown; two such pages in a row are the end.
    async fn shows_behind(
        &self,
        first: &HashSet<Uuid>,
        page: &Page,
        query: &PageQuery,
    ) -> Result<bool, RunError> {
        if !page.silent || !self.has(Safeguard::FullPages) {
            return Ok(false);
        }
        let behind = PageQuery {
            number: query.number.saturating_add(1),
            ..query.clone()
        };
        let page = self.fetch(&behind).await?;
        self.require_paging(first, &page, &behind).await?;
        Ok(!page.items.is_empty())
    }

    /// Reads everything there is, for a server that knows no filter.
    pub(super) async fn everything(&self, mut pass: Pass) -> Result<PassEnd, RunError> {
        let field = self.stream.cursor();
        let probe = PageQuery {
            size: PROBE_SIZE,
            ..self.changes(Span::OPEN, Direction::Descending)
        };
        let newest_first = self.fetch(&probe).await?;
        let server_time = pass.end.server_time;
        let seen = Mark::of(&newest_first, self.stamp(), server_time);
        self.learn(&mut pass, seen.map(|mark| mark.to));
        let query = self.query(Span::OPEN, Span::OPEN, Order::CREATED);
        let mut readings = Readings::default();
        let (tally, gap) = loop {
            let first = self.fetch(&query).await?;
            let (tally, _) = self.backward(&query, first, pass.cap).await?;
            let known = self.missing(field, Span::OPEN);
            let objection = tally
                .objection(false, known)
                .filter(|_| self.has(Safeguard::Count));
            match self.judge(&mut readings, &tally, objection, Span::OPEN, ATTEMPTS)? {
                Judgement::Complete => break (tally, None),
                Judgement::Still { missing } if missing <= known => break (tally, None),
                Judgement::Still { missing } => {
                    let gap = self.gap(field, Span::OPEN, &tally, missing - known);
                    break (tally, Some(gap));
                }
                Judgement::Torn => {
                    match self.torn(field, Span::OPEN, &mut readings, tally, known) {
                        Found::Gap(tally, gap) => break (tally, Some(gap)),
                        Found::Whole(tally) => break (tally, None),
                        Found::Parts(_) | Found::Unfiltered => {}
                    }
                }
                Judgement::Moving(_) => {}
            }
        };
        pass.end.newest = pass.end.newest.max(tally.newest);
        let proof = tally.mark.map(|mark| self.watermark(mark));
        let gap = gap.map(|gap| self.note_gap(gap));
        self.send(None, gap.into_iter().chain(proof).collect())
            .await?;
        self.finish(pass).await
    }

    /// Reads one window of a backfill, or replaces it by parts.
    pub async fn backfill_window(&self, window: &BackfillWindow) -> Result<WindowEnd, RunError> {
        let found = self
            .created_part(window.created, &mut HashSet::new(), Splitting::Allowed)
            .await?;
        let done = |tally: &Tally| StateChange::WindowDone {
            window: window.id,
            records: tally.records(),
        };
        let mut gap = None;
        let state_change = match &found {
            Found::Unfiltered => {
                if self.is_news(Oddity::CreationUnfiltered) {
                    warn!(
                        stream = %self.stream,
                        "the server ignores the CreatedAt filter of {}; reading all of them at once",
                        self.stream
                    );
                }
                StateChange::WindowsJoined { window: window.id }
            }
            Found::Whole(tally) => done(tally),
            Found::Gap(tally, found) => {
                gap = Some(self.note_gap(*found));
                done(tally)
            }
            Found::Parts(parts) => StateChange::WindowSplit {
                window: window.id,
                into: parts.clone(),
            },
        };
        self.send(None, gap.into_iter().chain([state_change]).collect())
            .await?;
        self.pause()?;
        Ok(match found {
            Found::Unfiltered => WindowEnd::Unfiltered,
            Found::Whole(tally) | Found::Gap(tally, _) => WindowEnd::Done {
                records: tally.records(),
            },
            Found::Parts(parts) => WindowEnd::Split(parts),
        })
    }

    /// Reads a range of creation times whole, splitting it as needed. Yields the ids it showed.
    pub async fn created_range(&self, range: Span) -> Result<HashSet<Uuid>, RunError> {
        let mut seen = HashSet::new();
        let mut windows = vec![range];
        while let Some(window) = windows.pop() {
            let splitting = Splitting::Allowed;
            match self.created_part(window, &mut seen, splitting).await? {
                // What is counted and not shown is for those to note who read everything.
                Found::Whole(_) | Found::Gap(..) => {}
                Found::Parts(parts) => windows.extend(parts),
                Found::Unfiltered => windows = vec![Span::OPEN],
            }
        }
        Ok(seen)
    }

    /// Looks at a gap again: it is closed if everything that is counted there is shown.
    pub async fn look_again(&self, id: i64, gap: &Gap) -> Result<GapCheck, RunError> {
        let splitting = Splitting::No;
        let found = match gap.field {
            OrderField::CreatedAt => {
                self.created_part(gap.window, &mut HashSet::new(), splitting)
                    .await?
            }
            OrderField::UpdatedAt | OrderField::LastInteractionAt => {
                let cap = Timestamp::from_micros(i64::MAX);
                self.changed_part(gap.window, true, cap, splitting).await?
            }
        };
        let (looked, state_change) = match found {
            Found::Whole(_) => (GapCheck::Closed, StateChange::GapClosed { gap: id }),
            Found::Gap(_, gap) => (GapCheck::Open(gap), StateChange::Gap(gap)),
            Found::Parts(_) | Found::Unfiltered => return Ok(GapCheck::Nothing),
        };
        self.send(None, vec![state_change]).await?;
        Ok(looked)
    }

    /// Reads one window of creation times until it is known what it holds, its pages concurrently, adding
    /// what it shows to `seen`.
    async fn created_part(
        &self,
        window: Span,
        seen: &mut HashSet<Uuid>,
        splitting: Splitting,
    ) -> Result<Found, RunError> {
        let query = self.query(plan::widen(window), Span::OPEN, Order::CREATED);
        let depth = self.settings.window_pages;
        let split = |pages, depth| match splitting {
            Splitting::Allowed => plan::split(window, pages, depth),
            Splitting::No => Vec::new(),
        };
        let mut readings = Readings::default();
        loop {
            let first = self.fetch(&query).await?;
            if mostly_leaves(&first, query.created, |head| head.created_at) {
                return Ok(Found::Unfiltered);
            }
            let pages = plan::pages(first.total.unwrap_or(0), query.size).max(1);
            let parts = split(pages, depth);
            if (pages > depth || readings.attempts >= ATTEMPTS) && !parts.is_empty() {
                self.send(Some(first), Vec::new()).await?;
                return Ok(Found::Parts(parts));
            }
            let begun = first.server_time;
            // Nothing is torn where one answer shows all that it counts.
            let shown = first.items.len() as u64;
            let whole =
                !self.may_go_on(&first, &query) && first.total.is_none_or(|total| total <= shown);
            let most = Some(depth).filter(|_| !split(depth + 1, depth).is_empty());
            let (tally, pages) = match self.forward(&query, first, most).await? {
                Forward::Read(tally, pages) => (tally, pages),
                Forward::Deep(pages) => return Ok(Found::Parts(split(pages, depth))),
                Forward::Unfiltered => return Ok(Found::Unfiltered),
            };
            seen.extend(tally.ids());
            // Where the end is open, new records arrive while it is read; those carry a change after the
            // beginning, which the incremental passes read. The rest of it must have come.
            let arrived = window.before.is_none() && tally.is_complete();
            let objection = tally
                .objection(false, 0)
                .or_else(|| self.may_have_swapped(&tally, begun))
                .filter(|_| !whole && !arrived && self.has(Safeguard::Count));
            match self.judge(&mut readings, &tally, objection, window, LAST_ATTEMPTS)? {
                Judgement::Complete => return Ok(Found::Whole(tally)),
                Judgement::Still { missing } => {
                    let known = self.missing(OrderField::CreatedAt, query.created);
                    let missing = missing.saturating_sub(known);
                    let narrower = split(pages, 1);
                    let torn = missing > 0 || tally.is_repeated();
                    if pages > 1 && torn && !narrower.is_empty() {
                        return Ok(Found::Parts(narrower));
                    }
                    if missing == 0 {
                        return Ok(Found::Whole(tally));
                    }
                    let gap = self.gap(OrderField::CreatedAt, window, &tally, missing);
                    return Ok(Found::Gap(tally, gap));
                }
                Judgement::Torn => {
                    let field = OrderField::CreatedAt;
                    let known = self.missing(field, query.created);
                    return Ok(self.torn(field, window, &mut readings, tally, known));
                }
                Judgement::Moving(_) => {}
            }
        }
    }

    /// Reads a window from its first page to its last, several pages at a time.
    async fn forward(
        &self,
        query: &PageQuery,
        first: Page,
        most: Option<u32>,
    ) -> Result<Forward, RunError> {
        let mut tally = Tally::new(|head| head.updated_at, Timestamp::from_micros(i64::MAX));
        let mut goes_on = self.may_go_on(&first, query);
        let mut pages = plan::pages(first.total.unwrap_or(0), query.size).max(1);
        let ids: HashSet<Uuid> = ids(&first).collect();
        tally.add(&first);
        self.send(Some(first), Vec::new()).await?;
        if !goes_on {
            return Ok(Forward::Read(tally, 1));
        }
        let mut from = 2;
        loop {
            let mut answers = stream::iter(from..=pages)
                .map(|number| {
                    let query = PageQuery {
                        number,
                        ..query.clone()
                    };
                    async move {
                        let page = self.fetch(&query).await?;
                        Ok::<_, RunError>((page, query))
                    }
                })
                .buffered(self.settings.concurrency.max(1));
            while let Some((page, query)) = answers.try_next().await? {
                if mostly_leaves(&page, query.created, |head| head.created_at) {
                    return Ok(Forward::Unfiltered);
                }
                self.require_paging(&ids, &page, &query).await?;
                goes_on = !page.items.is_empty() && self.may_go_on(&page, &query);
                tally.add(&page);
                self.send(Some(page), Vec::new()).await?;
            }
            drop(answers);
            if !goes_on {
                return Ok(Forward::Read(tally, pages));
            }
            let (end, last) = self.last_page(query, &ids, pages + 1).await?;
            // A full last page has an empty one behind it, which makes the window no deeper.
            let filled = end - u32::from(last.items.is_empty());
            if most.is_some_and(|most| filled > most) {
                return Ok(Forward::Deep(filled));
            }
            if end == pages + 1 {
                let pages = pages + u32::from(!last.items.is_empty());
                tally.add(&last);
                self.send(Some(last), Vec::new()).await?;
                return Ok(Forward::Read(tally, pages));
            }
            (from, pages) = (pages + 1, filled);
        }
    }

    /// Where a filter chooses, one session that leaves and one that enters cancel in every count,
    /// and a third slips through. Both changed while the window was read, and the one that entered
    /// shows it. (Contacts, which are listed by status, are counted after their load instead.)
    fn may_have_swapped(&self, tally: &Tally, begun: Timestamp) -> Option<String> {
        // What the header shows need not be what stamps records.
        let begun = self.settled.map_or(begun, |settled| settled.min(begun));
        (!self.filter.is_empty() && tally.newest >= Some(begun))
            .then(|| "a record changed while it was read, and may have moved into it".to_owned())
    }

    pub(super) fn unfiltered(&self) -> RunError {
        RunError::Unfiltered {
            stream: self.stream,
        }
    }

    fn unsteady(&self, window: Span, attempts: u32, last: String) -> RunError {
        let show = |end: Option<Timestamp>, open: &str| {
            end.map_or_else(|| open.to_owned(), |at| at.to_string())
        };
        RunError::Unsteady {
            stream: self.stream,
            after: show(window.after, "the beginning"),
            before: show(window.before, "now"),
            attempts,
            last,
        }
    }
}

/// What came of reading a window from its first page on.
#[derive(Debug)]
enum Forward {
    /// This, on so many pages.
    Read(Tally, u32),
    /// It has so many pages that it is better read in parts.
    Deep(u32),
    /// The server knows no windows.
    Unfiltered,
}
