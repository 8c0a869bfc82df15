//! Comparing a stream with the API by count, at a cost that grows with the differences.
//!
//! Only beginnings are counted: C(t), the number of records created before t, is one request of one
//! record. A window's count is the difference of two of them, so a window is halved at the price of
//! one request, and whatever the server makes of the instant t itself, each record lies in exactly
//! one of two neighbours. Which of them a stored row belongs to is certain too, since windows are
//! cut where no row is stored within two milliseconds, the coarsest precision at which the platform
//! may compare being one.
//!
//! A miss and a surplus in one window cancel. So the first cut of an account that differs is into
//! [`FIRST_CUT`] windows of equally many rows, and only from there on into halves.
//!
//! The account lives meanwhile. Nothing is compared that the next pass will read anyway: records
//! created or changed after the instant up to which passes have read everything. And no difference
//! counts until it has been seen twice: what a page shows is looked for by id among what is stored
//! then, and what it does not show is asked for by id.
//!
//! Must not know what is done about differences, but for sending the pages that hold them on.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::plan::{self, STEP};
use super::policy::RunError;
use super::survey;
use super::walk::{Chunk, WalkError, WalkSettings, leaves};
use crate::data::{Page, PageQuery, Progress, Source, Span, Stream, Timestamp};
use crate::store::{AccountId, Store, StoredVersion};

/// Into how many windows an account that differs is cut first.
const FIRST_CUT: u64 = 64;

/// Neighbouring rows among which a place to cut is looked for.
const NEIGHBOURS: u64 = 8;

/// Rows of a window that are looked through for a place to cut, if its middle has none.
const SEARCHED: u64 = 20_000;

/// How far a cut stays away from the stored rows.
const QUIET: std::time::Duration = STEP.saturating_mul(2);

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
    /// Records that are stored and that the API has no longer.
    pub gone: BTreeSet<Uuid>,
    /// Records met that changed after the last pass: the next one reads them.
    pub unread: u64,
    /// Records met that are kept among the rejects.
    pub rejected: u64,
    /// Windows that were re-read although their counts agree.
    pub sampled: u64,
    /// Of what was to be repaired, what is as it was.
    pub unrepaired: BTreeSet<Uuid>,
    /// What the platform shows of those that are missing or older.
    pub(super) expected: BTreeMap<Uuid, Shown>,
}

/// What the platform shows of a record, as far as it is compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Shown {
    /// Its `updatedAt`.
    pub(super) version: Option<Timestamp>,
    /// Where the resource is listed in several parts, the one that the record belongs to by its own
    /// words; `None` if it does not say.
    pub(super) partition: Option<String>,
}

impl Shown {
    /// Whether a stored row is older than this: the version before, or the same one elsewhere.
    pub(super) fn is_newer_than(&self, stored: &StoredVersion) -> bool {
        let is_elsewhere = self.partition.is_some() && self.partition != stored.partition;
        self.version > stored.updated_at || (self.version == stored.updated_at && is_elsewhere)
    }

    /// Whether a row that is this record, or newer, is stored.
    pub(super) fn is_stored(&self, stored: Option<&StoredVersion>) -> bool {
        stored.is_some_and(|stored| !stored.removed && !self.is_newer_than(stored))
    }
}

impl Comparison {
    /// How many differences were found.
    pub fn differences(&self) -> u64 {
        (self.missing.len() + self.older.len() + self.gone.len()) as u64
    }

    /// Whether the counts differ although nothing was found that explains it: no difference, nothing
    /// that the next pass reads, and no reject. A server may count what it does not show.
    pub fn is_unexplained(&self) -> bool {
        let explained = self.differences() + self.unread + self.rejected;
        explained == 0 && self.shown != self.stored
    }

    /// Notes a record that is missing or older here.
    pub(super) fn note(&mut self, id: Uuid, is_older: bool, shown: Shown) {
        if is_older {
            self.older.insert(id);
        } else {
            self.missing.insert(id);
        }
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
}

/// A comparison under way.
pub(super) struct Comparing<'a, S> {
    pub(super) source: &'a S,
    pub(super) store: &'a Store,
    pub(super) account: AccountId,
    pub(super) settings: WalkSettings,
    pub(super) stream: Stream,
    /// Everything that was created or changed before has been read by a pass.
    pub(super) horizon: Timestamp,
    pub(super) stop: &'a CancellationToken,
    /// Where pages with differences go, if those are to be repaired.
    pub(super) out: Option<mpsc::Sender<Chunk>>,
    pub(super) found: Comparison,
    /// Creation times of the records that are nowhere but among the rejects.
    pub(super) rejects: Vec<Timestamp>,
    pub(super) rejected: HashSet<Uuid>,
    /// Stored rows that a re-read window did not show.
    pub(super) unseen: BTreeSet<Uuid>,
    /// Windows that were read.
    pub(super) read: Vec<Span>,
}

impl<S: Source> Comparing<'_, S> {
    /// Compares the stream, and re-reads so many windows whose counts agree.
    pub(super) async fn compare(mut self, samples: u32) -> Result<Comparison, RunError> {
        self.note_rejects().await?;
        let until = self.quiet(self.horizon).await?;
        let span = Span {
            after: None,
            before: Some(until),
        };
        let whole = Window {
            span,
            below: 0,
            upto: self.count_before(until).await?,
            stored: self.stored(span).await?,
        };
        self.found.until = Some(until);
        self.found.shown = whole.shown();
        self.found.stored = whole.stored;
        if whole.differing() > 0 {
            self.narrow(whole).await?;
        }
        self.sample(span, samples).await?;
        self.ask_for_unseen().await?;
        Ok(self.found)
    }

    /// Finds the differences of a window.
    async fn narrow(&mut self, whole: Window) -> Result<(), RunError> {
        let mut windows = vec![(whole, FIRST_CUT)];
        while let Some((window, parts)) = windows.pop() {
            if window.differing() == 0 {
                continue;
            }
            let records = window.shown().max(window.stored);
            let pages = u64::from(plan::pages(records, self.settings.page_size));
            // As many differences as pages: reading all of them costs no more than looking.
            let cuts = if pages <= 1 || window.differing() >= pages {
                Vec::new()
            } else {
                self.cuts(window, parts.min(pages)).await?
            };
            let mut left = Vec::with_capacity(cuts.len() + 1);
            let mut rest = window;
            for &cut in &cuts {
                let span = Span {
                    before: Some(cut),
                    ..rest.span
                };
                let part = Window {
                    span,
                    upto: self.count_before(cut).await?,
                    stored: self.stored(span).await?,
                    ..rest
                };
                rest = Window {
                    span: Span {
                        after: Some(cut),
                        ..rest.span
                    },
                    below: part.upto,
                    stored: rest.stored.saturating_sub(part.stored),
                    ..rest
                };
                left.push((part, 2));
            }
            let deaf = |part: &(Window, u64)| part.0.upto == window.upto;
            if cuts.is_empty() || left.iter().all(deaf) {
                // No place to cut, or a server that counts everything whatever the window.
                self.read_window(window.span).await?;
            } else {
                windows.push((rest, 2));
                windows.extend(left);
            }
        }
        Ok(())
    }

    /// Reads a window and compares every record of it.
    async fn read_window(&mut self, span: Span) -> Result<(), RunError> {
        let mut spans = vec![span];
        while let Some(span) = spans.pop() {
            let size = self.settings.page_size;
            let mut query = survey::everything(self.stream, plan::widen(span), size);
            let mut seen = HashSet::new();
            let mut split = Vec::new();
            loop {
                let page = survey::ask(self.source, &query, self.stop).await?;
                let pages = plan::pages(page.total.unwrap_or(0), size);
                let follows = !leaves(&page, query.created, |head| head.created_at);
                if query.number == 1 && pages > self.settings.window_pages && follows {
                    split = plan::split(span, pages, self.settings.window_pages);
                    if !split.is_empty() {
                        break;
                    }
                }
                let more = page.has_more && !page.items.is_empty();
                self.compare_page(page, &mut seen).await?;
                if !more {
                    break;
                }
                query.number += 1;
            }
            if !split.is_empty() {
                spans.append(&mut split);
                continue;
            }
            let stored = self
                .store
                .ids_created(self.account, self.stream, span)
                .await?;
            self.unseen
                .extend(stored.into_iter().filter(|id| !seen.contains(id)));
        }
        self.read.push(span);
        Ok(())
    }

    /// Compares the records of a page with what is stored now, and hands the page on if one differs.
    async fn compare_page(&mut self, page: Page, seen: &mut HashSet<Uuid>) -> Result<(), RunError> {
        let ids: Vec<Uuid> = page.items.iter().filter_map(|item| item.head.id).collect();
        let resource = self.stream.resource;
        let stored = self.store.versions(self.account, resource, &ids).await?;
        seen.extend(&ids);
        let mut differing = Vec::new();
        for item in &page.items {
            let Some(id) = item.head.id else {
                self.found.rejected += 1;
                continue;
            };
            let stored = stored.get(&id).filter(|stored| !stored.removed);
            let shown = Shown {
                version: item.head.updated_at,
                partition: self.partition(page.raw(item)),
            };
            if shown.is_stored(stored) {
                continue;
            }
            if self.rejected.contains(&id) {
                self.found.rejected += 1;
            } else if item.head.updated_at > Some(self.horizon) {
                self.found.unread += 1;
            } else {
                self.found.note(id, stored.is_some(), shown);
                differing.push(id);
            }
        }
        if !differing.is_empty() {
            self.send(page, differing).await?;
        }
        Ok(())
    }

    /// Which part of its resource a record belongs to by its own words, if there are parts.
    fn partition(&self, raw: &str) -> Option<String> {
        #[derive(Deserialize)]
        struct Record {
            status: String,
        }
        if self.stream.partition.is_empty() {
            return None;
        }
        let record: Option<Record> = serde_json::from_str(raw).ok();
        record.map(|record| record.status)
    }

    async fn send(&self, page: Page, differing: Vec<Uuid>) -> Result<(), RunError> {
        if let Some(out) = &self.out {
            let chunk = Chunk {
                page: Some(page),
                progress: vec![Progress::Differing {
                    resource: self.stream.resource,
                    keys: differing,
                }],
            };
            out.send(chunk).await.map_err(|_| WalkError::Closed)?;
        }
        Ok(())
    }

    /// Asks one by one for the rows that no page showed: only what the platform says it has not is
    /// gone.
    async fn ask_for_unseen(&mut self) -> Result<(), RunError> {
        let unseen: Vec<Uuid> = std::mem::take(&mut self.unseen).into_iter().collect();
        let resource = self.stream.resource;
        for ids in unseen.chunks(100) {
            let stored = self.store.versions(self.account, resource, ids).await?;
            for &id in ids {
                if stored.get(&id).is_none_or(|stored| stored.removed) {
                    continue;
                }
                let page = tokio::select! {
                    biased;
                    () = self.stop.cancelled() => return Err(WalkError::Stopped.into()),
                    page = self.source.by_id(resource, id) => page?,
                };
                if page.items.is_empty() {
                    self.found.gone.insert(id);
                } else {
                    // It is there, in another partition or created at another time.
                    self.compare_page(page, &mut HashSet::new()).await?;
                }
            }
        }
        Ok(())
    }

    /// Re-reads windows of about a page that were not read yet.
    async fn sample(&mut self, whole: Span, samples: u32) -> Result<(), RunError> {
        if samples == 0 {
            return Ok(());
        }
        let step = u64::from(self.settings.page_size).saturating_sub(NEIGHBOURS);
        let cuts = self.ranked_cuts(whole, step.max(1), NEIGHBOURS).await?;
        let ends = cuts.iter().copied().map(Some).chain([whole.before]);
        let mut begins = vec![None];
        begins.extend(cuts.iter().copied().map(Some));
        let mut windows: Vec<Span> = begins
            .into_iter()
            .zip(ends)
            .map(|(after, before)| Span { after, before })
            .filter(|span| !self.read.iter().any(|read| overlap(*read, *span)))
            .collect();
        fastrand::shuffle(&mut windows);
        for span in windows.into_iter().take(samples as usize) {
            self.read_window(span).await?;
            self.found.sampled += 1;
        }
        Ok(())
    }

    /// Where to cut a window into so many parts.
    async fn cuts(&self, window: Window, parts: u64) -> Result<Vec<Timestamp>, RunError> {
        let step = window.stored.div_ceil(parts).max(1);
        let cuts = self.ranked_cuts(window.span, step, NEIGHBOURS).await?;
        if !cuts.is_empty() || window.stored > SEARCHED {
            return Ok(cuts);
        }
        // Many rows share an instant there: the quiet place nearest to the middle.
        let ranks = self
            .store
            .created_ranks(self.account, self.stream, window.span, 1, 1)
            .await?;
        let middle = window.stored / 2;
        let nearest = ranks
            .windows(2)
            .filter_map(|pair| Some((pair[1].0.abs_diff(middle), between(pair[0].1, pair[1].1)?)))
            .min();
        Ok(nearest.map(|(_, cut)| cut).into_iter().collect())
    }

    /// A cut behind about every `step` rows.
    async fn ranked_cuts(
        &self,
        span: Span,
        step: u64,
        width: u64,
    ) -> Result<Vec<Timestamp>, RunError> {
        let ranks = self
            .store
            .created_ranks(self.account, self.stream, span, step, width.min(step) + 1)
            .await?;
        let mut cuts: Vec<(u64, Timestamp)> = Vec::new();
        for pair in ranks.windows(2) {
            let [(left, before), (right, after)] = [pair[0], pair[1]];
            let group = right / step;
            let is_first = cuts.last().is_none_or(|(last, _)| *last < group);
            if group > 0
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
    async fn quiet(&self, at: Timestamp) -> Result<Timestamp, RunError> {
        let mut at = whole_step(at);
        for _ in 0..100 {
            let near = Span::between(at - QUIET, at + QUIET);
            if self.stored(near).await? == 0 {
                break;
            }
            at = at - QUIET * 2;
        }
        Ok(at)
    }

    /// C(at): how many records the API counts that were created before an instant.
    async fn count_before(&self, at: Timestamp) -> Result<u64, RunError> {
        let span = Span {
            after: None,
            before: Some(at),
        };
        let query: PageQuery = survey::everything(self.stream, span, 1);
        let page = survey::ask(self.source, &query, self.stop).await?;
        page.total.ok_or_else(|| {
            WalkError::Unsteady {
                stream: self.stream,
                after: "the beginning".to_owned(),
                before: at.to_string(),
                attempts: 1,
                last: "the server does not say how many records there are".to_owned(),
            }
            .into()
        })
    }

    /// Rows of a window, and records among the rejects, which the API counts too.
    async fn stored(&self, span: Span) -> Result<u64, RunError> {
        let rows = self
            .store
            .count_created(self.account, self.stream, span)
            .await?;
        let rejects = self.rejects.iter().filter(|at| {
            span.after.is_none_or(|after| after <= **at)
                && span.before.is_none_or(|before| **at < before)
        });
        Ok(rows + rejects.count() as u64)
    }

    async fn note_rejects(&mut self) -> Result<(), RunError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Rejected {
            created_at: Timestamp,
            status: Option<String>,
        }
        let rejects = self
            .store
            .rejected_records(self.account, self.stream.resource)
            .await?;
        for (id, raw) in rejects {
            self.rejected.extend(id);
            let Ok(record) = serde_json::from_str::<Rejected>(&raw) else {
                continue;
            };
            let partition = self.stream.partition;
            if partition.is_empty() || record.status.as_deref() == Some(partition) {
                self.rejects.push(record.created_at);
            }
        }
        // One record may have been rejected in several versions.
        self.rejects.sort_unstable();
        self.rejects.dedup();
        Ok(())
    }
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

    #[test]
    fn a_cut_is_a_whole_step_with_no_row_near_it() {
        assert_eq!(between(at(0), at(4_999)), None);
        assert_eq!(between(at(0), at(5_001)), Some(at(2_000)));
        assert_eq!(between(at(900), at(10_900)), Some(at(5_000)));
    }

    #[test]
    fn windows_that_touch_do_not_overlap() {
        let span = |after: Option<i64>, before: Option<i64>| Span {
            after: after.map(at),
            before: before.map(at),
        };
        assert!(!overlap(span(None, Some(5)), span(Some(5), None)));
        assert!(overlap(span(None, Some(6)), span(Some(5), None)));
        assert!(overlap(span(Some(1), Some(9)), span(Some(2), Some(3))));
    }
}
