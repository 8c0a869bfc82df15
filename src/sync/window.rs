//! The window walk: a closed range of time, read whole and counted.
//!
//! In a window of change that is settled records can only leave, so it is read from the last page
//! to the first: what shifts, shifts toward pages not yet read, whatever the server's order. In a
//! window of creation nothing leaves, so its pages are read concurrently. Either way the totals and
//! the number of different records must agree, or the window is read again, and in the end in
//! parts: a window of one page is one answer, and never torn.

use std::collections::HashSet;

use futures::{StreamExt, TryStreamExt, stream};
use tracing::{debug, warn};
use uuid::Uuid;

use super::keyset::PassEnd;
use super::plan::{self, STEP};
use super::walk::{Safeguard, Tally, Walk, WalkError, is_whole, leaves, mostly_leaves};
use crate::data::{BackfillWindow, Order, Page, PageQuery, Progress, Source, Span, Timestamp};

/// Times a window is read before it is read in parts, or, where it has no parts, given up.
const ATTEMPTS: u32 = 3;
/// Times a window that can't be split is read.
const LAST_ATTEMPTS: u32 = 8;

/// What became of a window of creation times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WindowEnd {
    /// It was read completely.
    Done {
        /// Records it holds.
        records: u64,
    },
    /// The server shows everything, whatever range is asked for.
    Unfiltered,
    /// It was too deep, or would not hold still, and has to be read in these parts, newest first.
    Split(Vec<Span>),
}

impl<S: Source> Walk<'_, S> {
    /// Reads what changed after an instant without relying on the server's order.
    ///
    /// First the part that is settled: changes that carry a time before the server's less the
    /// overlap have all become visible. Then what came since, for the sake of freshness alone: it
    /// still moves, so nothing is concluded from it, and the watermark stays before it.
    pub(super) async fn windows(
        &self,
        after: Timestamp,
        end: PassEnd,
    ) -> Result<PassEnd, WalkError> {
        let settled = if self.has(Safeguard::Settled) {
            end.server_time - self.settings.overlap
        } else {
            end.server_time
        };
        if after < settled {
            self.changed_window(after, settled, true).await?;
        }
        let rest = after.max(settled - STEP);
        self.backward(
            &self.query(Span::OPEN, Span::after(rest), Order::UPDATED),
            None,
        )
        .await?;
        self.send(None, vec![self.done(&end)]).await?;
        Ok(end)
    }

    /// Reads a window of change and, where it is settled, moves the watermark through it. Yields
    /// how many records it showed; one on a border between two parts counts in both.
    pub(super) async fn changed_window(
        &self,
        after: Timestamp,
        before: Timestamp,
        settled: bool,
    ) -> Result<u64, WalkError> {
        let mut windows = vec![Span::between(after, before)];
        let mut attempts = 0;
        let mut records = 0;
        // Oldest first, since the watermark only moves forward.
        while let Some(window) = windows.pop() {
            let query = self.query(Span::OPEN, window, Order::UPDATED);
            let first = self.fetch(&query).await?;
            if leaves(&first, window, |head| head.updated_at) {
                return Err(self.unfiltered());
            }
            let pages = plan::pages(first.total.unwrap_or(0), query.size);
            let parts = plan::split(window, pages, self.settings.window_pages);
            if pages > self.settings.window_pages && !parts.is_empty() {
                windows.extend(parts.into_iter().map(|part| plan::touching(part, window)));
                continue;
            }
            let tally = self.backward(&query, Some(first)).await?;
            let objection = tally.objection(true).filter(|_| self.has(Safeguard::Count));
            match objection {
                None => {
                    attempts = 0;
                    records += tally.records();
                    let proof = tally.newest.filter(|_| settled).map(|at| {
                        self.watermark(window.before.map_or(at, |before| at.min(before)))
                    });
                    self.send(None, proof.into_iter().collect()).await?;
                    if settled && !windows.is_empty() {
                        self.pause()?;
                    }
                }
                Some(objection) => {
                    attempts += 1;
                    debug!(stream = %self.stream, ?window, objection, "window read again");
                    if attempts >= LAST_ATTEMPTS {
                        return Err(self.unsteady(window, attempts, objection));
                    }
                    if attempts % ATTEMPTS == 0 && !parts.is_empty() {
                        windows.extend(parts.into_iter().map(|part| plan::touching(part, window)));
                    } else {
                        windows.push(window);
                    }
                }
            }
        }
        Ok(records)
    }

    /// Reads a window from its last page to its first.
    async fn backward(&self, query: &PageQuery, first: Option<Page>) -> Result<Tally, WalkError> {
        let first = match first {
            Some(first) => first,
            None => self.fetch(query).await?,
        };
        let mut tally = Tally::default();
        if is_whole(&first) {
            tally.add(&first);
            self.send(Some(first), Vec::new()).await?;
            return Ok(tally);
        }
        tally.add_total(&first);
        let pages = plan::pages(first.total.unwrap_or(0), query.size).max(1);
        let numbers: Vec<u32> = if self.has(Safeguard::Backward) {
            (1..=pages).rev().collect()
        } else {
            (1..=pages).collect()
        };
        for number in numbers {
            let page = self
                .fetch(&PageQuery {
                    number,
                    ..query.clone()
                })
                .await?;
            if leaves(&page, query.updated, |head| head.updated_at) {
                return Err(self.unfiltered());
            }
            tally.add(&page);
            self.send(Some(page), Vec::new()).await?;
        }
        Ok(tally)
    }

    /// Reads everything there is, for a server that knows no filter.
    pub(super) async fn everything(&self, mut end: PassEnd) -> Result<PassEnd, WalkError> {
        let query = self.query(Span::OPEN, Span::OPEN, Order::CREATED);
        let mut attempts = 0;
        let tally = loop {
            let tally = self.backward(&query, None).await?;
            let Some(objection) = tally
                .objection(false)
                .filter(|_| self.has(Safeguard::Count))
            else {
                break tally;
            };
            attempts += 1;
            if attempts >= ATTEMPTS {
                return Err(self.unsteady(Span::OPEN, attempts, objection));
            }
        };
        end.newest = end.newest.max(tally.newest);
        let proof = tally
            .newest
            .map(|at| self.watermark(at.min(end.server_time)));
        self.send(None, proof.into_iter().chain([self.done(&end)]).collect())
            .await?;
        Ok(end)
    }

    /// Reads one window of a backfill, or replaces it by parts.
    pub async fn backfill_window(&self, window: &BackfillWindow) -> Result<WindowEnd, WalkError> {
        let end = self
            .created_window(window.created, &mut HashSet::new())
            .await?;
        let progress = match &end {
            WindowEnd::Unfiltered => {
                warn!(
                    stream = %self.stream,
                    "the server ignores the CreatedAt filter of {}: all of them are read at once",
                    self.stream
                );
                Progress::WindowsJoined { window: window.id }
            }
            WindowEnd::Done { records } => Progress::WindowDone {
                window: window.id,
                records: *records,
            },
            WindowEnd::Split(into) => Progress::WindowSplit {
                window: window.id,
                into: into.clone(),
            },
        };
        self.send(None, vec![progress]).await?;
        self.pause()?;
        Ok(end)
    }

    /// Reads a range of creation times whole, splitting it as needed. Yields the ids it showed.
    pub async fn created_range(&self, range: Span) -> Result<HashSet<Uuid>, WalkError> {
        let mut seen = HashSet::new();
        let mut windows = vec![range];
        while let Some(window) = windows.pop() {
            match self.created_window(window, &mut seen).await? {
                WindowEnd::Done { .. } => {}
                WindowEnd::Split(parts) => windows.extend(parts),
                WindowEnd::Unfiltered => windows = vec![Span::OPEN],
            }
        }
        Ok(seen)
    }

    /// Reads one window of creation times, its pages concurrently, adding what it shows to `seen`.
    async fn created_window(
        &self,
        window: Span,
        seen: &mut HashSet<Uuid>,
    ) -> Result<WindowEnd, WalkError> {
        let query = self.query(plan::widen(window), Span::OPEN, Order::CREATED);
        let depth = self.settings.window_pages;
        let mut attempts = 0;
        loop {
            let first = self.fetch(&query).await?;
            if mostly_leaves(&first, query.created, |head| head.created_at) {
                return Ok(WindowEnd::Unfiltered);
            }
            let pages = plan::pages(first.total.unwrap_or(0), query.size).max(1);
            let parts = plan::split(window, pages, depth);
            if (pages > depth || attempts >= ATTEMPTS) && !parts.is_empty() {
                self.send(Some(first), Vec::new()).await?;
                return Ok(WindowEnd::Split(parts));
            }
            let whole = is_whole(&first);
            let begun = first.server_time;
            let mut tally = Tally::default();
            tally.add(&first);
            self.send(Some(first), Vec::new()).await?;
            if !whole {
                let mut answers = stream::iter(2..=pages)
                    .map(|number| {
                        let query = PageQuery {
                            number,
                            ..query.clone()
                        };
                        async move { self.fetch(&query).await }
                    })
                    .buffered(self.settings.concurrency.max(1));
                while let Some(page) = answers.try_next().await? {
                    if mostly_leaves(&page, query.created, |head| head.created_at) {
                        return Ok(WindowEnd::Unfiltered);
                    }
                    tally.add(&page);
                    self.send(Some(page), Vec::new()).await?;
                }
            }
            seen.extend(tally.ids());
            // Records dated in the future are looked for while new ones arrive; those carry a
            // change after the backfill's beginning, which the incremental passes read.
            let future = window.after.is_some() && window.before.is_none();
            // So do those that arrive while everything is read in one window; the rest of it must
            // have come.
            let arrived = window == Span::OPEN && tally.is_complete();
            let objection = tally
                .objection(false)
                .or_else(|| self.may_have_swapped(&tally, begun))
                .filter(|_| !whole && !future && !arrived && self.has(Safeguard::Count));
            let Some(objection) = objection else {
                return Ok(WindowEnd::Done {
                    records: tally.records(),
                });
            };
            attempts += 1;
            debug!(stream = %self.stream, ?window, objection, "window read again");
            if attempts >= LAST_ATTEMPTS {
                return Err(self.unsteady(window, attempts, objection));
            }
        }
    }

    /// Where a filter chooses, one session that leaves and one that enters cancel in every count,
    /// and a third slips through. Both changed while the window was read, and the one that entered
    /// shows it. (Contacts, which are listed by status, are counted after their load instead.)
    fn may_have_swapped(&self, tally: &Tally, begun: Timestamp) -> Option<String> {
        (!self.filter.is_empty() && tally.newest >= Some(begun))
            .then(|| "a record changed while it was read, and may have entered it".to_owned())
    }

    pub(super) fn unfiltered(&self) -> WalkError {
        WalkError::Unfiltered {
            stream: self.stream,
        }
    }

    fn unsteady(&self, window: Span, attempts: u32, last: String) -> WalkError {
        let show = |end: Option<Timestamp>, open: &str| {
            end.map_or_else(|| open.to_owned(), |at| at.to_string())
        };
        WalkError::Unsteady {
            stream: self.stream,
            after: show(window.after, "the beginning"),
            before: show(window.before, "now"),
            attempts,
            last,
        }
    }
}
