//! The window walk: reads a closed range of time completely and counts its records.
//!
//! From a settled window of change, records can only leave. So it is read from the last page to the
//! first: records that shift move towards pages that are not read yet, whatever the server's order.
//! From a window of creation, no record leaves, so its pages are read concurrently. In both cases
//! the totals and the number of distinct records must be equal, or the window is read again.
//!
//! Pages are trusted more than totals. After a full page, another one is read, whatever the total says. If
//! two readings in a row show the same records, nothing changed, and the totals are wrong. If more records
//! are shown than counted, these are all. If fewer are shown, the window is split, since a window of one page
//! is one answer that cannot change while it is read. If one answer counts more than it shows, that is a gap:
//! it is recorded, and the stream continues. If replicas answer in turn and disagree, all records that any of
//! them shows are stored, and the surplus of the smallest total is a gap.

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
    Timestamp, counted, grouped,
};

/// How often a window is read before it is split.
const ATTEMPTS: u32 = 3;
/// How often a window that cannot be split is read.
const LAST_ATTEMPTS: u32 = 8;
/// How far behind the counted pages the last page is searched. A server that still shows records there shows
/// them on every page.
const MOST_UNCOUNTED: u32 = 1 << 20;

/// The result of reading a window of creation times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WindowEnd {
    /// It was read completely.
    Done {
        /// How many records it showed.
        records: u64,
    },
    /// The server shows all records, whatever range is requested.
    Unfiltered,
    /// It has too many pages or kept changing, and must be read in these parts, newest first.
    Split(Vec<Span>),
}

/// What was found in a window.
#[derive(Debug)]
enum Found {
    /// All its records.
    Whole(Tally),
    /// All records that are shown; more are counted.
    Gap(Tally, Gap),
    /// It must be read in these parts, newest first.
    Parts(Vec<Span>),
    /// The server ignores the filter of the window.
    Unfiltered,
}

/// The result of reading a gap again.
#[derive(Debug, Clone, Copy)]
pub enum GapCheck {
    /// All records that are counted there are shown.
    Closed,
    /// It is still there.
    Open(Gap),
    /// Nothing can be said about its window any more.
    Nothing,
}

/// What a window of change showed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct WindowCount {
    /// How many records. A record on the border between two parts counts in both.
    pub(super) records: u64,
    /// Whether more records were counted than shown in a window that is not settled, so that no gap is
    /// recorded.
    pub(super) is_short: bool,
}

/// Whether a window may be read in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Splitting {
    /// The window may be split if it has too many pages, keeps changing, or does not show all records.
    Allowed,
    /// The window of a gap that is read again stays as it is.
    No,
}

impl<S: Source> Walk<'_, S> {
    /// Reads what changed after an instant without relying on the server's order.
    ///
    /// First it reads the settled part: all changes with stamps before the newest stamp at the beginning of
    /// the pass, minus the overlap, are visible. Then it reads the later changes, only to be up to date. They
    /// may still move, so nothing is concluded from them, and the watermark stays before them.
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

    /// The same, if one answer has shown all changes, but fewer than are counted. Only the missing ones are
    /// looked for.
    pub(super) async fn settled_changes(
        &self,
        after: Timestamp,
        pass: Pass,
    ) -> Result<PassEnd, RunError> {
        self.read_settled(after, pass.cap).await?;
        self.finish(pass).await
    }

    /// Reads the settled changes after an instant. Returns the end of the settled part.
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

    /// Reads a window of change. If the window is settled, moves the watermark through it, at most to `cap`.
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

    /// Reads a window of change until its content is known.
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
                    // A part of one page that shows no record need not be split further.
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

    /// Judges a reading of a window. After `most` unsuccessful attempts, what all of them showed together is
    /// believed.
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

    /// The result for a window of which no two readings showed the same.
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

    /// The gap of a window in which `missing` records are missing, in addition to those that are already
    /// known. Records for which another gap accounts are not counted twice.
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
                "{stream}: the platform counts {} in a window of time but does not show {} of \
                 them; the others are stored, and `helena-sync status` shows the gap",
                counted(gap.counted, "record"),
                grouped(missing)
            );
        } else {
            debug!(%stream, ?gap, "gap found");
        }
        StateChange::Gap(gap)
    }

    /// Reads a window from its last page to its first. Returns the tally, and how many pages the window has.
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
        // If the last counted page is full, or is the first page, another page may follow it.
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

    /// Returns the number of the last page and the page itself. The search begins at page `from`: the page
    /// before it is known to be followed by another. The last page may be empty.
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

    /// Reads a page other than the first. Returns the page, and whether it is the last one. A page that shows
    /// the same as the page before it counts as empty: a server may answer a request past the end with its
    /// last page.
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
            // The records may have moved there meanwhile.
            page = self.fetch(&query).await?;
            if is_on(&page) {
                page.items.clear();
                return Ok((page, true));
            }
        }
        let ends = page.items.is_empty() || !self.may_go_on(&page, &query);
        Ok((page, ends))
    }

    /// Whether records are shown behind a page that shows none. If no sign says whether a page follows, all
    /// records of this page may be records that are not shown. Two such pages in a row are the end.
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

    /// Reads all records, for a server that ignores the filter.
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

    /// Reads one window of a backfill, or splits it.
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

    /// Reads a range of creation times completely, and splits it as needed. Returns the ids that it showed.
    pub async fn created_range(&self, range: Span) -> Result<HashSet<Uuid>, RunError> {
        let mut seen = HashSet::new();
        let mut windows = vec![range];
        while let Some(window) = windows.pop() {
            let splitting = Splitting::Allowed;
            match self.created_part(window, &mut seen, splitting).await? {
                // Only a walk that reads everything records gaps.
                Found::Whole(_) | Found::Gap(..) => {}
                Found::Parts(parts) => windows.extend(parts),
                Found::Unfiltered => windows = vec![Span::OPEN],
            }
        }
        Ok(seen)
    }

    /// Reads a gap again. The gap is closed if all records that are counted there are shown.
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

    /// Reads one window of creation times until its content is known. Its pages are read concurrently. Adds
    /// the ids that it shows to `seen`.
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
            // If one answer shows all records that it counts, nothing can have moved between pages.
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
            // If the end of the window is open, new records arrive while it is read. Their changes are later
            // than the beginning of the reading, so incremental passes read them. All other records must have
            // come.
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

    /// Reads a window from its first page to its last, several pages concurrently.
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
            // An empty page behind a full last page does not make the window deeper.
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

    /// If a filter is set, one session may leave the window and another may enter it. The two cancel out in
    /// every count, and a third session may be skipped. Both of them changed while the window was read, and
    /// the one that entered shows that. (Contacts, which are listed by status, are counted after their load
    /// instead.)
    fn may_have_swapped(&self, tally: &Tally, begun: Timestamp) -> Option<String> {
        // The `Date` header need not come from the clock that stamps records.
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

/// The result of reading a window from its first page on.
#[derive(Debug)]
enum Forward {
    /// The tally, and the number of pages.
    Read(Tally, u32),
    /// It has this many pages, so it is better read in parts.
    Deep(u32),
    /// The server ignores the filter of the window.
    Unfiltered,
}
