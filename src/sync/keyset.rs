//! The keyset walk: what changed since the watermark, oldest change first.
//!
//! Offset pages over moving data lose records: one that is updated moves to the end, its followers
//! move up, and one of them slips over a page boundary unread. This walk always asks for page 1,
//! beginning where the last page ended, so that whatever moves is met later. It is only right where
//! the server orders by the field of changes; that is verified, and where it does not hold the
//! window walk reads instead (see [`super::window`]).
//!
//! A pass that one answer completes is not torn, so that the newest record of that answer is the
//! watermark. One of several pages asks first for the newest change there is, and then for the
//! pages: the watermark stays at or before what was visible when the first of them was read.

use tracing::warn;

use super::oddities::Oddity;
use super::plan::{self, STEP};
use super::policy::RunError;
use super::walk::{
    Climb, Mark, PROBE_SIZE, Safeguard, Stamp, Walk, distinct_instants, is_sorted, leaves, newest,
};
use crate::data::{
    Direction, Echo, Ordering, Page, PageQuery, Source, Span, StateChange, Stream, StreamState,
    Timestamp,
};

/// Different instants that both answers must show. A server that ignores the order answers both
/// questions in the same one; to make the second look descending nonetheless, all of these
/// records but one would have to change in between, newest last.
const PROBE_INSTANTS: usize = 5;

/// Pages that are read beyond the newest change at the beginning of the pass and those that were counted
/// then. What lies there is read again by the next pass, and an account that changes faster than it can be
/// read, or dates its records in the future, must not keep a pass from ending.
const PAGES_BEYOND: u32 = 20;

/// How a pass ended that read everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PassEnd {
    /// What is now known of the server's ordering.
    pub ordering: Ordering,
    /// Server time before the first answer.
    pub server_time: Timestamp,
    /// The newest change that was seen, if any was.
    pub newest: Option<Timestamp>,
}

/// A pass under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pass {
    state: StreamState,
    /// What the clock that stamps records had reached before the pass.
    reached: Timestamp,
    /// Up to which stamp the stream may be called complete.
    pub(super) cap: Timestamp,
    pub(super) end: PassEnd,
}

/// What a page shows of what lies behind the instant that it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// Everything that is counted.
    Whole,
    /// Everything there is to be shown, which is less than is counted. It is one answer all the same.
    Short,
    /// A part.
    Part,
}

impl<S: Source> Walk<'_, S> {
    /// Reads everything that changed since the watermark of `state`.
    ///
    /// The watermark moves with every page that proves it, and stays at or before what was visible at the
    /// beginning of the pass: what lies behind it is stored, but read again next time,
    /// since records may still appear among it.
    pub async fn incremental(
        &self,
        state: &StreamState,
        watermark: Timestamp,
    ) -> Result<PassEnd, RunError> {
        let mut begun = None;
        match (
            self.changes_since(state, watermark, &mut begun).await,
            begun,
        ) {
            (Err(RunError::Unfiltered { .. }), Some(pass)) => {
                let stream = self.stream;
                let is_news = self.is_news(Oddity::ChangesUnfiltered);
                if stream == Stream::INTERACTIONS {
                    if is_news {
                        warn!(
                            %stream,
                            "the server ignores the LastInteractionAt filter; only verify and the \
                             refresh of open sessions find changes that do not change UpdatedAt"
                        );
                    }
                    return Ok(pass.end);
                }
                if is_news {
                    warn!(
                        %stream,
                        "the server ignores the UpdatedAt filter of {stream}; every sync reads \
                         everything"
                    );
                }
                self.everything(pass).await
            }
            (end, _) => end,
        }
    }

    /// The same, of a server that knows the filter. What it knows at the beginning is left in
    /// `begun`.
    async fn changes_since(
        &self,
        state: &StreamState,
        watermark: Timestamp,
        begun: &mut Option<Pass>,
    ) -> Result<PassEnd, RunError> {
        let overlap = self.settings.overlap;
        let begins = self.start(state, watermark);
        let mut after = begins;
        let mut page = self.fetch(&self.changes_after(after)).await?;
        let server_time = page.server_time;
        // A pass cannot have ended in the future: its answer's time was wrong, and says nothing of
        // how long ago the newest change was.
        if state.observed_at.is_some_and(|at| at > server_time) {
            after = after.min(watermark - overlap);
        }
        // A server whose clock was set back stamps changes before the watermark.
        after = after.min(server_time - overlap);
        if after < begins {
            page = self.fetch(&self.changes_after(after)).await?;
        }
        let mut pass = self.begin(state, watermark, server_time);
        pass.see(newest(&page, self.stamp()));
        *begun = Some(pass);
        self.require_filter(&page, after)?;
        match self.extent(&page, after).await? {
            Extent::Whole => {
                let mark = Mark::of(&page, self.stamp(), self.cap_of_one_answer(server_time));
                let proof = mark.map(|mark| self.watermark(mark));
                self.send(Some(page), proof.into_iter().collect()).await?;
                return self.finish(pass).await;
            }
            Extent::Short => {
                let seen = Mark::of(&page, self.stamp(), server_time);
                self.learn(&mut pass, seen.map(|mark| mark.to));
                self.send(Some(page), Vec::new()).await?;
                return self.settled_changes(after, pass).await;
            }
            Extent::Part => {}
        }
        let mut climb = Climb::new(self.probe(after, Direction::Descending), server_time);
        let newest_first = self.fetch(climb.query()).await?;
        let mut goes_on = climb.take(&newest_first);
        while goes_on {
            goes_on = climb.take(&self.fetch(climb.query()).await?);
        }
        self.learn(&mut pass, climb.best.map(|mark| mark.to));
        // Read again: what was read before the newest change was known proves nothing.
        let page = self.fetch(&self.changes_after(after)).await?;
        self.pages(after, page, &newest_first, pass, begun).await
    }

    /// Reads page after page, from the one that begins after an instant.
    async fn pages(
        &self,
        start: Timestamp,
        mut page: Page,
        newest_first: &Page,
        mut pass: Pass,
        begun: &mut Option<Pass>,
    ) -> Result<PassEnd, RunError> {
        let stamp = self.stamp();
        let mut after = start;
        let mut cap = pass.cap;
        let counted = plan::pages(page.total.unwrap_or(0), self.settings.page_size);
        let mut beyond = 0;
        let mut is_first = true;
        // What the pages sent so far prove once the answer after them has shown that nothing was
        // passed over.
        let mut proven: Option<Mark> = None;
        loop {
            pass.see(newest(&page, stamp));
            *begun = Some(pass);
            self.require_filter(&page, after)?;
            match self.extent(&page, after).await? {
                Extent::Whole => {
                    let proof = Mark::later(proven, Mark::of(&page, stamp, cap));
                    let proof = proof.map(|mark| self.watermark(mark));
                    self.send(Some(page), proof.into_iter().collect()).await?;
                    break;
                }
                Extent::Short => {
                    let proof = proven.map(|mark| self.watermark(mark));
                    self.send(Some(page), proof.into_iter().collect()).await?;
                    return self.settled_changes(after, pass).await;
                }
                Extent::Part => {}
            }
            if self.has(Safeguard::OrderCheck) {
                pass.end.ordering = if is_first {
                    self.prove_order(pass.end.ordering, after, &page, newest_first)
                        .await?
                } else {
                    self.check_order(pass.end.ordering, &page)
                };
                if pass.end.ordering != Ordering::Honoured {
                    return self.windows(start, pass).await;
                }
            }
            is_first = false;
            // Behind a page without one readable time there is no instant to go on from; nor
            // behind one whose changes are all before the instant that was asked for.
            let Some(last) = newest(&page, stamp).filter(|last| *last + STEP > after) else {
                return self.windows(start, pass).await;
            };
            page = if last - STEP > after {
                let expected = left_behind(&page, last, stamp);
                let missing = self.missing(self.stream.cursor(), Span::between(after, last));
                let proof = proven.take().map(|mark| self.watermark(mark));
                proven = Mark::of(&page, stamp, cap);
                self.send(Some(page), proof.into_iter().collect()).await?;
                self.pause()?;
                after = last - STEP;
                let next = self.fetch(&self.changes_after(after)).await?;
                // Records only ever join the end of an ordered list. If fewer are left than were
                // there, some were passed over, or deleted, or are counted and not shown: the windows
                // tell.
                if self.has(Safeguard::OrderCheck)
                    && next
                        .total
                        .zip(expected)
                        .is_some_and(|(left, expected)| left + missing < expected)
                {
                    return self.windows(start, pass).await;
                }
                next
            } else {
                // Hundreds of records share one instant: there is no progress within it.
                let until = last + STEP * 2;
                let settled = pass.cap - self.settings.overlap;
                let on_page = page.items.len() as u64;
                let seen = Mark::of(&page, stamp, last);
                let window = Span::between(after, until);
                let shown = self.changed_window(window, until <= settled, cap).await?;
                // A server that compares by a coarser step than this shows another window.
                if self.has(Safeguard::Count) && shown.records < on_page {
                    return self.windows(start, pass).await;
                }
                if shown.is_short {
                    // It is not settled that something is missing: the watermark waits for that.
                    cap = cap.min(last - STEP);
                } else if until > settled {
                    // The next pass begins before it, and reads it again.
                    cap = cap.min(last + self.settings.overlap - STEP);
                }
                let is_within = |mark: &Mark| mark.to <= cap;
                let proven = proven.take().filter(is_within);
                let proof = Mark::later(proven, seen.filter(is_within));
                let proof = proof.map(|mark| self.watermark(mark));
                self.send(None, proof.into_iter().collect()).await?;
                self.pause()?;
                after = last + STEP;
                self.fetch(&self.changes_after(after)).await?
            };
            if last > pass.cap {
                beyond += 1;
                if beyond > PAGES_BEYOND.saturating_add(counted) {
                    let proof = proven.map(|mark| self.watermark(mark));
                    self.send(None, proof.into_iter().collect()).await?;
                    break;
                }
            }
        }
        self.finish(pass).await
    }

    /// A pass that begins.
    fn begin(&self, state: &StreamState, watermark: Timestamp, server_time: Timestamp) -> Pass {
        let reached = state.reached(watermark, self.settings.overlap);
        let mut pass = Pass {
            state: StreamState {
                watermark: Some(watermark),
                ..*state
            },
            reached,
            cap: reached,
            end: PassEnd {
                ordering: state.ordering,
                server_time,
                newest: None,
            },
        };
        self.learn(&mut pass, None);
        pass
    }

    /// Sets up to where a pass may call the stream complete, given the newest change that was visible
    /// before the first of its pages was read.
    pub(super) fn learn(&self, pass: &mut Pass, newest: Option<Timestamp>) {
        pass.cap = if !self.has(Safeguard::Cap) {
            Timestamp::from_micros(i64::MAX)
        } else if self.has(Safeguard::Stamps) {
            plan::cap(pass.end.server_time, newest, pass.reached)
        } else {
            pass.end.server_time
        };
    }

    fn cap_of_one_answer(&self, server_time: Timestamp) -> Timestamp {
        if self.has(Safeguard::Cap) {
            server_time
        } else {
            Timestamp::from_micros(i64::MAX)
        }
    }

    fn start(&self, state: &StreamState, watermark: Timestamp) -> Timestamp {
        let overlap = self.settings.overlap;
        if self.has(Safeguard::Durations) {
            return plan::start(state, watermark, overlap);
        }
        match state.observed_at {
            Some(at) if at >= watermark + overlap * 2 => watermark + STEP,
            _ => watermark - overlap,
        }
    }

    /// Notes that a pass has read everything.
    pub(super) async fn finish(&self, pass: Pass) -> Result<PassEnd, RunError> {
        let PassEnd {
            server_time,
            newest,
            ..
        } = pass.end;
        let stream = self.stream;
        let mut state_changes = vec![StateChange::PassDone {
            stream,
            server_time,
        }];
        let overlap = self.settings.overlap;
        let difference = newest
            .and_then(|newest| plan::clock_difference(&pass.state, newest, server_time, overlap));
        if let Some(milliseconds) = difference {
            if self.is_news(Oddity::Clock) {
                let seconds = milliseconds.unsigned_abs() / 1_000;
                let what = if milliseconds > 0 {
                    "ahead of the time stamps of records, or changes appear later than sync.overlap allows"
                } else {
                    "behind the time stamps of records, or records are dated in the future"
                };
                warn!(
                    %stream,
                    milliseconds,
                    "{stream}: the Date header of the platform's answers is {seconds} s {what}"
                );
            }
            state_changes.push(StateChange::ClockDifference {
                stream,
                milliseconds,
            });
        }
        self.send(None, state_changes).await?;
        Ok(pass.end)
    }

    fn changes_after(&self, after: Timestamp) -> PageQuery {
        self.changes(Span::after(after), Direction::Ascending)
    }

    fn probe(&self, after: Timestamp, direction: Direction) -> PageQuery {
        PageQuery {
            size: PROBE_SIZE,
            ..self.changes(Span::after(after), direction)
        }
    }

    fn require_filter(&self, page: &Page, after: Timestamp) -> Result<(), RunError> {
        if leaves(page, Span::after(after), self.stamp()) {
            return Err(self.unfiltered());
        }
        Ok(())
    }

    /// How much of what lies behind an instant a page shows. Where a page shows more than is counted it is
    /// the page behind it that tells.
    async fn extent(&self, page: &Page, after: Timestamp) -> Result<Extent, RunError> {
        let query = self.changes_after(after);
        if self.goes_on(page, &query) {
            return Ok(Extent::Part);
        }
        if page.is_doubtful() && self.has(Safeguard::FullPages) {
            if page.contradictory {
                self.tell_contradiction();
            }
            let second = PageQuery { number: 2, ..query };
            if !self.fetch(&second).await?.items.is_empty() {
                return Ok(Extent::Part);
            }
        }
        let shown = page.items.len() as u64;
        let missing = self.missing(self.stream.cursor(), Span::after(after));
        Ok(match page.total {
            Some(total) if total > shown + missing => Extent::Short,
            Some(_) | None => Extent::Whole,
        })
    }

    /// What is known of the order after a page that should be in it.
    fn check_order(&self, known: Ordering, page: &Page) -> Ordering {
        if is_sorted(page, self.stamp(), false) {
            return known;
        }
        self.unordered(known)
    }

    fn unordered(&self, known: Ordering) -> Ordering {
        if known != Ordering::Ignored && self.is_news(Oddity::Unordered) {
            warn!(
                stream = %self.stream,
                "the server does not sort {} by time of change; reading them by windows of time instead",
                self.stream
            );
        }
        Ordering::Ignored
    }

    /// Whether the server orders by the field of changes, from what is known and what it shows now.
    ///
    /// A page in order proves little by itself: records that were never updated since they were
    /// created are in order whatever the server does. A server that ignores the order answers the
    /// ascending and the descending question alike, so both are asked by every pass that has more
    /// than one page to read: a server may change overnight. What is already known decides only
    /// where their answers show too few instants to tell, unless they say that the order was ignored.
    async fn prove_order(
        &self,
        known: Ordering,
        after: Timestamp,
        page: &Page,
        descending: &Page,
    ) -> Result<Ordering, RunError> {
        if self.check_order(known, page) == Ordering::Ignored {
            return Ok(Ordering::Ignored);
        }
        let probe;
        let ascending = if self.settings.page_size == PROBE_SIZE {
            page
        } else {
            probe = self.fetch(&self.probe(after, Direction::Ascending)).await?;
            &probe
        };
        if self.check_order(known, ascending) == Ordering::Ignored {
            return Ok(Ordering::Ignored);
        }
        if !is_sorted(descending, self.stamp(), true) {
            return Ok(self.unordered(known));
        }
        let instants = |page: &Page| distinct_instants(page, self.stamp());
        if instants(ascending).min(instants(descending)) >= PROBE_INSTANTS {
            return Ok(Ordering::Honoured);
        }
        if [ascending, descending]
            .map(|page| page.order_echo)
            .contains(&Echo::Other)
        {
            return Ok(self.unordered(known));
        }
        Ok(known)
    }
}

impl Pass {
    fn see(&mut self, newest: Option<Timestamp>) {
        self.end.newest = self.end.newest.max(newest);
    }
}

/// How many records the server must still count behind an instant that the page ends with: those
/// that it counted, less those of the page that are read for good. `None` if it does not count.
fn left_behind(page: &Page, last: Timestamp, stamp: Stamp) -> Option<u64> {
    let is_passed = |at: Option<Timestamp>| at.is_none_or(|at| at < last);
    let times = page.items.iter().map(|item| stamp(&item.head));
    let passed = times.filter(|at| is_passed(*at)).count() as u64;
    page.total.map(|total| total.saturating_sub(passed))
}
