//! What the two walks share: asking for pages, judging them, handing them on.
//!
//! A walk reads pages from a [`Source`] and sends them, with the progress they prove, into a
//! bounded channel; whoever stores them sits at the other end. It decides what has been read
//! completely. It must not know the database, the clock of this machine, or where pages come from.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering as Atomic};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use super::plan::{self, TOLERANCE};
use crate::data::{
    Head, Order, Page, PageQuery, Progress, SessionFilter, Source, SourceError, Span, Stream,
    Timestamp,
};

/// How walks behave.
#[derive(Debug, Clone, Copy)]
pub struct WalkSettings {
    /// A change becomes visible at most this long after the `updatedAt` it carries.
    pub overlap: Duration,
    /// Records a page, 1 to 100.
    pub page_size: u32,
    /// A window deeper than this is split, in pages.
    pub window_pages: u32,
    /// Pages of a window of creation times that are read at a time.
    pub concurrency: usize,
}

/// A page on its way to the store, and what it proves once it is stored.
#[derive(Debug)]
pub struct Chunk {
    /// The page; `None` where only the progress is new.
    pub page: Option<Page>,
    /// What is true once this chunk and all chunks before it are stored.
    pub progress: Vec<Progress>,
}

/// Why a walk ended early. What it sent before remains true.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    /// A page could not be had.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A range would not hold still: its total kept growing, or records were missing from it.
    #[error(
        "{stream} between {after} and {before} could not be read completely in {attempts} \
         attempts: {last}"
    )]
    Unsteady {
        /// Which stream.
        stream: Stream,
        /// Beginning of the range.
        after: String,
        /// End of the range.
        before: String,
        /// How often it was read.
        attempts: u32,
        /// What was wrong the last time.
        last: String,
    },
    /// The server shows what it was not asked for.
    #[error("the server ignores the filter by which {stream} are read")]
    Unfiltered {
        /// Which stream.
        stream: Stream,
    },
    /// The operator or a limit of time or rows stopped it.
    #[error("stopped before the end")]
    Stopped,
    /// Nobody stores the pages any more; the cause is known there.
    #[error("the pages could not be stored")]
    Closed,
}

/// The checks on which the promise rests. Each can be taken out in a test, which must then find
/// the loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Safeguard {
    /// That pages come in the order asked for is verified, not assumed.
    OrderCheck,
    /// The watermark stays at or before the server's time at which the pass began.
    Cap,
    /// A window of change ends where changes may still appear.
    Settled,
    /// A settled window is read from its last page to its first.
    Backward,
    /// Totals and distinct ids of a window must agree.
    Count,
}

/// A walk over one stream.
pub struct Walk<'a, S> {
    pub(super) source: &'a S,
    pub(super) stream: Stream,
    pub(super) filter: Arc<SessionFilter>,
    pub(super) settings: WalkSettings,
    pub(super) stop: &'a CancellationToken,
    pub(super) out: mpsc::Sender<Chunk>,
    /// Records that may still be read, if they are limited.
    pub(super) budget: Option<&'a AtomicU64>,
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
            #[cfg(test)]
            without: None,
        }
    }

    /// Reads only what this filter lets through.
    #[must_use]
    pub fn filtered(mut self, filter: Arc<SessionFilter>) -> Self {
        self.filter = filter;
        self
    }

    /// Stops where so many records have been read and proven, counted across walks. Windows are
    /// cut so that one of them is not much more than what is left.
    #[must_use]
    pub fn limited(mut self, budget: Option<&'a AtomicU64>) -> Self {
        if let Some(budget) = budget {
            let left = plan::pages(budget.load(Atomic::SeqCst), self.settings.page_size);
            self.settings.window_pages = self.settings.window_pages.min(left.max(1));
        }
        self.budget = budget;
        self
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

    /// The question for one page.
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

    /// Asks, unless the walk is to stop.
    pub(super) async fn fetch(&self, query: &PageQuery) -> Result<Page, WalkError> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(WalkError::Stopped),
            // A database that went away is noticed at once, and not after minutes of rate limit.
            () = self.out.closed() => Err(WalkError::Closed),
            page = self.source.page(query) => Ok(page?),
        }
    }

    /// Hands a page on to be stored.
    pub(super) async fn send(
        &self,
        page: Option<Page>,
        progress: Vec<Progress>,
    ) -> Result<(), WalkError> {
        let records = page.as_ref().map_or(0, |page| page.items.len() as u64);
        self.out
            .send(Chunk { page, progress })
            .await
            .map_err(|_| WalkError::Closed)?;
        if let Some(budget) = self.budget
            && records > 0
        {
            let _previous = budget.fetch_update(Atomic::SeqCst, Atomic::SeqCst, |left| {
                Some(left.saturating_sub(records))
            });
        }
        Ok(())
    }

    /// Ends the walk if as many records were read as may be. Asked where what was read is proven,
    /// or will be by the next page: whoever goes on begins there, and not where this walk began.
    pub(super) fn pause(&self) -> Result<(), WalkError> {
        match self.budget {
            Some(budget) if budget.load(Atomic::SeqCst) == 0 => Err(WalkError::Stopped),
            _ => Ok(()),
        }
    }

    pub(super) fn watermark(&self, to: Timestamp) -> Progress {
        Progress::Watermark {
            stream: self.stream,
            to,
        }
    }
}

/// Whether a page is all there is: one answer of the server's, and so never torn.
pub(super) fn is_whole(page: &Page) -> bool {
    !page.has_more
        && page
            .total
            .is_none_or(|total| total <= page.items.len() as u64)
}

/// The newest change on a page.
pub(super) fn newest(page: &Page) -> Option<Timestamp> {
    page.items
        .iter()
        .filter_map(|item| item.head.updated_at)
        .max()
}

/// Whether the changes on a page go up, or down. Records without a readable time are passed over.
pub(super) fn is_sorted(page: &Page, descending: bool) -> bool {
    let times = page.items.iter().filter_map(|item| item.head.updated_at);
    if descending {
        times.is_sorted_by(|a, b| a >= b)
    } else {
        times.is_sorted()
    }
}

/// How many different instants the changes on a page have.
pub(super) fn distinct_instants(page: &Page) -> usize {
    page.items
        .iter()
        .filter_map(|item| item.head.updated_at)
        .collect::<HashSet<_>>()
        .len()
}

/// How many records of a page a window cannot hold, by more than the tolerance.
fn outside(page: &Page, window: Span, field: fn(&Head) -> Option<Timestamp>) -> usize {
    page.items
        .iter()
        .filter_map(|item| field(&item.head))
        .filter(|at| {
            window.after.is_some_and(|after| *at < after - TOLERANCE)
                || window.before.is_some_and(|before| *at > before + TOLERANCE)
        })
        .count()
}

/// Whether a page shows records that the window cannot hold: the server ignored the filter (API
/// notes, 3.4).
pub(super) fn leaves(page: &Page, window: Span, field: fn(&Head) -> Option<Timestamp>) -> bool {
    outside(page, window, field) > 0
}

/// The same where a few strays are no proof: windows of creation are only a way to read everything
/// in parts, and one record whose two times disagree must not make one part of them all.
pub(super) fn mostly_leaves(
    page: &Page,
    window: Span,
    field: fn(&Head) -> Option<Timestamp>,
) -> bool {
    outside(page, window, field) * 2 > page.items.len()
}

/// What was seen of a window, to be compared with what the server says it holds.
#[derive(Debug, Default)]
pub(super) struct Tally {
    ids: HashSet<Uuid>,
    /// Hashes of the texts that show no id.
    unreadable: HashSet<u64>,
    /// Totals in the order of the answers' pages being taken in.
    first_total: Option<u64>,
    last_total: Option<u64>,
    grew: bool,
    silent: bool,
    pub(super) newest: Option<Timestamp>,
}

impl Tally {
    /// Takes a page into account.
    pub(super) fn add(&mut self, page: &Page) {
        self.add_total(page);
        self.newest = self.newest.max(newest(page));
        for item in &page.items {
            match item.head.id {
                Some(id) => {
                    self.ids.insert(id);
                }
                None => {
                    self.unreadable.insert(xxh3_64(page.raw(item).as_bytes()));
                }
            }
        }
    }

    /// Takes only a page's total into account, where its records will be read again.
    pub(super) fn add_total(&mut self, page: &Page) {
        let Some(total) = page.total else {
            self.silent = true;
            return;
        };
        self.grew |= self.last_total.is_some_and(|last| total > last);
        self.first_total.get_or_insert(total);
        self.last_total = Some(total);
    }

    /// The ids seen.
    pub(super) fn ids(&self) -> impl Iterator<Item = Uuid> {
        self.ids.iter().copied()
    }

    /// Records seen, each once.
    pub(super) fn records(&self) -> u64 {
        (self.ids.len() + self.unreadable.len()) as u64
    }

    /// Whether the total only grew, and as many different records came as the server counted in
    /// the end.
    pub(super) fn is_complete(&self) -> bool {
        !self.silent
            && self.last_total >= self.first_total
            && self.last_total.is_some_and(|last| self.records() >= last)
    }

    /// What speaks against the window having been read completely, if anything does.
    ///
    /// `leaving` tells whether records may leave the window while it is read; if not, its total
    /// must be the same in every answer.
    pub(super) fn objection(&self, leaving: bool) -> Option<String> {
        let (Some(first), Some(last)) = (self.first_total, self.last_total) else {
            return Some("the server does not say how many records there are".to_owned());
        };
        let seen = self.records();
        if self.silent {
            Some("the server did not always say how many records there are".to_owned())
        } else if self.grew {
            Some(format!(
                "its total grew while it was read (from {first} to {last})"
            ))
        } else if !leaving && first != last {
            Some(format!(
                "its total went from {first} to {last} while it was read"
            ))
        } else if seen < last || seen > first {
            Some(format!(
                "{seen} different records came where the server counts {last}"
            ))
        } else {
            None
        }
    }
}
