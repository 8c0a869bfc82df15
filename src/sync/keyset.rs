//! The keyset walk: reads what changed since the watermark, oldest change first.
//!
//! Offset pages over moving data lose records. A record that is updated moves to the end, the records behind
//! it move up, and one of them crosses a page boundary unread. This walk always requests page 1, beginning
//! where the last page ended, so that every record that moves is met later. That is only right if the server
//! orders by the field of changes. The walk verifies the order. If the server does not order, the window walk
//! reads instead (see [`super::window`]).
//!
//! If one answer completes a pass, no record can have moved between pages, so the newest record of that
//! answer is the watermark. A pass of several pages first requests the newest change, and then the pages. Its
//! watermark stays at or before what was visible when the first page was read.

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

/// How many different instants both answers must show. A server that ignores the order answers both queries
/// in the same order. The second answer would still look descending only if all of these records but one
/// changed between the two answers, the newest last.
const PROBE_INSTANTS: usize = 5;

/// How many pages a pass reads beyond the newest change at its beginning, in addition to as many as were
/// counted then. The next pass reads those pages again. Without a limit, a pass might never end if an account
/// changes faster than it can be read, or dates its records in the future.
const PAGES_BEYOND: u32 = 20;

/// The end of a pass that read everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PassEnd {
    /// What is now known of the server's ordering.
    pub ordering: Ordering,
    /// Server time before the first answer.
    pub server_time: Timestamp,
    /// The newest change that was seen, if any was.
    pub newest: Option<Timestamp>,
}

/// A pass in progress.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pass {
    state: StreamState,
    /// A lower bound for the clock that stamps records, known from earlier passes.
    reached: Timestamp,
    /// The stamp up to which the pass may declare the stream complete.
    pub(super) cap: Timestamp,
    pub(super) end: PassEnd,
}

/// How many of the changes after the requested instant a page shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// All that are counted.
    Whole,
    /// All that the server shows, which are fewer than it counts. They still come in a single answer.
    Short,
    /// Only some of them.
    Part,
}

impl<S: Source> Walk<'_, S> {
    /// Reads everything that changed since the watermark of `state`.
    ///
    /// The watermark moves with every page that proves it. It stays at or before what was visible at the
    /// beginning of the pass. Later changes are stored, but the next pass reads them again, since more
    /// records may still appear among them.
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

    /// The same, for a server that honours the filter. Stores the pass in `begun`, so that the caller has it
    /// after an error.
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
        // The last pass cannot have been made in the future. So the time of its answer was wrong, and does
        // not show how long ago the newest change was.
        if state.observed_at.is_some_and(|at| at > server_time) {
            after = after.min(watermark - overlap);
        }
        // A server whose clock was set back stamps new changes with times before the watermark.
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
        // Read the page again: a page that was read before the newest change was known proves nothing.
        let page = self.fetch(&self.changes_after(after)).await?;
        self.pages(after, page, &newest_first, pass, begun).await
    }

    /// Reads page after page. The first page begins after `start`.
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
        // What the pages sent so far prove, once the next answer has shown that no record was skipped.
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
            // If no record of the page has a readable time, there is no instant to continue from. The same
            // holds if all changes on the page are before the requested instant.
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
                // Records only join the end of an ordered list. If fewer records are left than expected, some
                // were skipped or deleted, or are counted but not shown. Reading windows finds out which.
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
                // Hundreds of records share one instant, so the cursor cannot advance. The instant is read as
                // a window.
                let until = last + STEP * 2;
                let settled = pass.cap - self.settings.overlap;
                let on_page = page.items.len() as u64;
                let seen = Mark::of(&page, stamp, last);
                let window = Span::between(after, until);
                let shown = self.changed_window(window, until <= settled, cap).await?;
                // A server that compares at a coarser precision than `STEP` shows another window.
                if self.has(Safeguard::Count) && shown.records < on_page {
                    return self.windows(start, pass).await;
                }
                if shown.is_short {
                    // It is not certain yet that a record is missing, so the watermark stays before this
                    // instant.
                    cap = cap.min(last - STEP);
                } else if until > settled {
                    // The next pass must begin before this instant and read it again.
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

    /// Begins a pass.
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

    /// Sets the stamp up to which a pass may declare the stream complete. `newest` is the newest change that
    /// was visible before the first page was read.
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

    /// Sends the state change that a pass has read everything.
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
                    difference_ms = milliseconds,
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

    /// How many of the changes after an instant a page shows. If a page shows more than is counted, the page
    /// behind it decides.
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

    /// What is known of the server's order after this page, which should be sorted.
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

    /// Decides whether the server orders by the field of changes, from what is known and what it shows now.
    ///
    /// A sorted page proves little by itself: if its records were never updated since they were created, it
    /// is sorted whatever the server does. A server that ignores the order answers the ascending and the
    /// descending query alike. So every pass of more than one page sends both queries, since a server may
    /// change overnight. What is already known decides only if the answers show too few instants, and do not
    /// say that the order was ignored.
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

/// How many records the server must still count behind `last`, the instant with which the page ends: those
/// that it counted, minus those of the page that are read for good. `None` if the server sends no total.
fn left_behind(page: &Page, last: Timestamp, stamp: Stamp) -> Option<u64> {
    let is_passed = |at: Option<Timestamp>| at.is_none_or(|at| at < last);
    let times = page.items.iter().map(|item| stamp(&item.head));
    let passed = times.filter(|at| is_passed(*at)).count() as u64;
    page.total.map(|total| total.saturating_sub(passed))
}
