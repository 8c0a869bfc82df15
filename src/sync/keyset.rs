//! The keyset walk: what changed since the watermark, oldest change first.
//!
//! Offset pages over moving data lose records: one that is updated moves to the end, its followers
//! move up, and one of them slips over a page boundary unread. This walk always asks for page 1,
//! beginning where the last page ended, so that whatever moves is met later. It is only right
//! where the server orders by `updatedAt`; that is verified, and where it does not hold the
//! window walk reads instead (see [`super::window`]).

use tracing::warn;

use super::plan::{self, STEP};
use super::walk::{
    Safeguard, Walk, WalkError, distinct_instants, is_sorted, is_whole, leaves, newest,
};
use crate::data::{
    Direction, Order, OrderField, Ordering, Page, Progress, Source, Span, StreamState, Timestamp,
};

/// Records of the two answers that show whether the server orders. The greatest page there is.
const PROBE_SIZE: u32 = 100;

/// Different instants that both answers must show. A server that ignores the order answers both
/// questions in the same one; to make the second look descending nonetheless, all of these
/// records but one would have to change in between, newest last.
const PROBE_INSTANTS: usize = 5;

/// Pages that are read beyond the server's time at the beginning of the pass. What lies there is
/// read again by the next pass, and an account that changes faster than it can be read, or dates
/// its records in the future, must not keep a pass from ending.
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

impl<S: Source> Walk<'_, S> {
    /// Reads everything that changed since the watermark of `state`.
    ///
    /// The watermark moves with every page that proves it, and stays at or before the server's
    /// time at the beginning of the pass: what lies behind it is stored, but read again next time,
    /// since records may still appear among it.
    pub async fn incremental(
        &self,
        state: &StreamState,
        watermark: Timestamp,
    ) -> Result<PassEnd, WalkError> {
        let mut begun = None;
        match (self.changes(state, watermark, &mut begun).await, begun) {
            (Err(WalkError::Unfiltered { .. }), Some(end)) => {
                warn!(
                    stream = %self.stream,
                    "the server ignores the UpdatedAt filter of {}: everything is read in every pass",
                    self.stream
                );
                self.everything(end).await
            }
            (end, _) => end,
        }
    }

    /// The same, of a server that knows the filter. What it knows at the beginning is left in
    /// `begun`.
    async fn changes(
        &self,
        state: &StreamState,
        watermark: Timestamp,
        begun: &mut Option<PassEnd>,
    ) -> Result<PassEnd, WalkError> {
        let overlap = self.settings.overlap;
        let mut after = plan::start(state, watermark, overlap);
        let mut page = self.fetch(&self.changes_after(after)).await?;
        let server_time = page.server_time;
        // A pass cannot have ended in the future: its answer's time was wrong, and says nothing of
        // how long ago the newest change was.
        if state.observed_at.is_some_and(|at| at > server_time) {
            after = after.min(watermark - overlap);
        }
        // A server whose clock was set back stamps changes before the watermark.
        after = after.min(server_time - overlap);
        if after < plan::start(state, watermark, overlap) {
            page = self.fetch(&self.changes_after(after)).await?;
        }
        let start = after;
        let mut end = PassEnd {
            ordering: state.ordering,
            server_time,
            newest: None,
        };
        *begun = Some(end);
        let mut cap = if self.has(Safeguard::Cap) {
            server_time
        } else {
            Timestamp::from_micros(i64::MAX)
        };
        let mut beyond = 0;
        let mut is_first = true;
        // What the pages sent so far prove once the answer after them has shown that nothing was
        // passed over.
        let mut proven: Option<Timestamp> = None;
        loop {
            end.newest = end.newest.max(newest(&page));
            if leaves(&page, Span::after(after), |head| head.updated_at) {
                return Err(self.unfiltered());
            }
            if is_whole(&page) {
                let proof = newest(&page).map(|at| at.min(cap)).max(proven);
                let proof = proof.map(|at| self.watermark(at));
                self.send(Some(page), proof.into_iter().collect()).await?;
                break;
            }
            if self.has(Safeguard::OrderCheck) {
                end.ordering = if is_first {
                    self.prove_order(end.ordering, after, &page).await?
                } else {
                    self.check_order(end.ordering, &page)
                };
                if end.ordering != Ordering::Honoured {
                    return self.windows(start, end).await;
                }
            }
            is_first = false;
            // Behind a page without one readable time there is no instant to go on from; nor
            // behind one whose changes are all before the instant that was asked for.
            let Some(last) = newest(&page).filter(|last| *last + STEP > after) else {
                return self.windows(start, end).await;
            };
            page = if last - STEP > after {
                let expected = left_behind(&page, last);
                let proof = proven.take().map(|at| self.watermark(at));
                self.send(Some(page), proof.into_iter().collect()).await?;
                self.pause()?;
                after = last - STEP;
                let next = self.fetch(&self.changes_after(after)).await?;
                // Records only ever join the end of an ordered list. If fewer are left than were
                // there, some were passed over, or deleted: the windows tell.
                if self.has(Safeguard::OrderCheck)
                    && next
                        .total
                        .zip(expected)
                        .is_some_and(|(left, expected)| left < expected)
                {
                    return self.windows(start, end).await;
                }
                proven = Some(last.min(cap));
                next
            } else {
                // Hundreds of records share one instant: there is no progress within it.
                let until = last + STEP * 2;
                let settled = server_time - overlap;
                let shown = page.items.len() as u64;
                let records = self.changed_window(after, until, until <= settled).await?;
                // A server that compares by a coarser step than this shows another window.
                if self.has(Safeguard::Count) && records < shown {
                    return self.windows(start, end).await;
                }
                if until > settled {
                    cap = cap.min(settled);
                }
                proven = None;
                self.send(None, vec![self.watermark(last.min(cap))]).await?;
                self.pause()?;
                after = last + STEP;
                self.fetch(&self.changes_after(after)).await?
            };
            if last > server_time {
                beyond += 1;
                if beyond > PAGES_BEYOND {
                    let proof = proven.map(|at| self.watermark(at));
                    self.send(None, proof.into_iter().collect()).await?;
                    break;
                }
            }
        }
        self.send(None, vec![self.done(&end)]).await?;
        Ok(end)
    }

    pub(super) fn done(&self, end: &PassEnd) -> Progress {
        Progress::PassDone {
            stream: self.stream,
            server_time: end.server_time,
        }
    }

    fn changes_after(&self, after: Timestamp) -> crate::data::PageQuery {
        self.query(Span::OPEN, Span::after(after), Order::UPDATED)
    }

    /// What is known of the order after a page that should be in it.
    fn check_order(&self, known: Ordering, page: &Page) -> Ordering {
        if is_sorted(page, false) {
            return known;
        }
        if known != Ordering::Ignored {
            warn!(
                stream = %self.stream,
                "the server does not order {} by UpdatedAt: they are read by windows of time",
                self.stream
            );
        }
        Ordering::Ignored
    }

    /// Whether the server orders by `updatedAt`, from what is known and what it shows now.
    ///
    /// A page in order proves little by itself: records that were never updated since they were
    /// created are in order whatever the server does. A server that ignores the order answers the
    /// ascending and the descending question alike, so both are asked by every pass that has more
    /// than one page to read: a server may change overnight. What is already known decides only
    /// where their answers show too few instants to tell.
    async fn prove_order(
        &self,
        known: Ordering,
        after: Timestamp,
        page: &Page,
    ) -> Result<Ordering, WalkError> {
        if self.check_order(known, page) == Ordering::Ignored {
            return Ok(Ordering::Ignored);
        }
        let mut probe = self.changes_after(after);
        probe.size = PROBE_SIZE;
        let ascending = self.fetch(&probe).await?;
        probe.order = Some(Order {
            field: OrderField::UpdatedAt,
            direction: Direction::Descending,
        });
        let descending = self.fetch(&probe).await?;
        if self.check_order(known, &ascending) == Ordering::Ignored {
            return Ok(Ordering::Ignored);
        }
        let shown = distinct_instants(&ascending).min(distinct_instants(&descending));
        if is_sorted(&descending, true) {
            return Ok(if shown >= PROBE_INSTANTS {
                Ordering::Honoured
            } else {
                known
            });
        }
        if known != Ordering::Ignored {
            warn!(
                stream = %self.stream,
                "the server does not order {} by UpdatedAt: they are read by windows of time",
                self.stream
            );
        }
        Ok(Ordering::Ignored)
    }
}

/// How many records the server must still count behind an instant that the page ends with: those
/// that it counted, less those of the page that are read for good. `None` if it does not count.
fn left_behind(page: &Page, last: Timestamp) -> Option<u64> {
    let is_passed = |at: Option<Timestamp>| at.is_none_or(|at| at < last);
    let times = page.items.iter().map(|item| item.head.updated_at);
    let passed = times.filter(|at| is_passed(*at)).count() as u64;
    page.total.map(|total| total.saturating_sub(passed))
}
