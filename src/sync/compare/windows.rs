//! Windows of creation times: counts them, and cuts those whose counts differ.
//!
//! A cut lies at an instant without stored rows near it, so that it is certain to which part a row belongs.
//! Must not know what differs in a window: [`super::pages`] reads it.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use uuid::Uuid;

use super::{Comparing, Sides, Step, tonight};
use crate::data::{Gap, Page, PageQuery, Source, Span, Timestamp};
use crate::sync::plan::{self, STEP};
use crate::sync::policy::{FailureAction, RunError};
use crate::sync::survey;
use crate::sync::verify::Mirror;

/// Into how many windows an account is cut. Counting them takes 20 seconds of the platform's request limit.
pub(super) const WINDOWS: u64 = 64;

/// How many neighbouring rows are searched for a place to cut.
const NEIGHBOURS: u64 = 8;

/// How many rows of a window are searched at most for a place to cut, if its middle has none.
const SEARCHED: u64 = 20_000;

/// The minimum distance of a cut from the stored rows.
pub(super) const QUIET: Duration = STEP.saturating_mul(2);

/// A window, and the counts of both sides.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
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

    fn pages(&self, size: u32) -> u64 {
        u64::from(plan::pages(self.shown().max(self.stored), size))
    }
}

/// A window that is being cut.
#[derive(Debug)]
pub(super) struct Cutting {
    whole: Window,
    cuts: VecDeque<Timestamp>,
    parts: Vec<Window>,
    rest: Window,
}

impl Comparing {
    /// How many records of a gap are still missing; 0 if one page cannot tell.
    pub(super) async fn count_gap<S: Source>(
        &self,
        on: &Sides<'_, S>,
        gap: &Gap,
    ) -> Result<u64, RunError> {
        let size = on.mirror.settings.page_size;
        let query = survey::everything(self.stream, plan::widen(gap.window), size);
        let page = on.ask(&query).await?;
        let missing = page
            .total
            .unwrap_or(0)
            .saturating_sub(page.items.len() as u64);
        Ok(if page.has_more {
            0
        } else {
            missing.min(gap.missing())
        })
    }

    /// Counts a span that the mirror has read completely. Its windows are counted, too, if the comparison is
    /// thorough or the totals differ.
    pub(super) async fn span<S: Source>(
        &mut self,
        on: &Sides<'_, S>,
        span: Span,
    ) -> Result<(), RunError> {
        let Some(before) = span.before else {
            return Ok(());
        };
        let below = match span.after {
            Some(after) => self.count_before(on, after).await?,
            None => Some(0),
        };
        let upto = self.count_before(on, before).await?;
        let stored = self.stored(on, span).await?;
        self.found.stored += stored;
        if self.found.until == Some(before) {
            self.counted = upto;
        }
        let Some((below, upto)) = below.zip(upto) else {
            self.is_uncounted = true;
            return self.read_span(on, span).await;
        };
        let window = Window {
            span,
            below,
            upto,
            stored,
        };
        self.found.shown += window.shown();
        if !self.is_thorough {
            self.steps.push(Step::Narrow(window));
            return Ok(());
        }
        let pages = window.pages(on.mirror.settings.page_size);
        if pages == 0 {
            return Ok(());
        }
        if pages <= WINDOWS || self.shows_uncounted(on, before, upto).await? {
            return self.read_span(on, span).await;
        }
        self.steps.push(Step::Samples(span));
        let step = window.stored.div_ceil(WINDOWS).max(1);
        let offset = fastrand::u64(0..step);
        let cuts = self.ranked_cuts(on, span, (offset, step)).await?;
        if cuts.is_empty() {
            self.steps.push(Step::Narrow(window));
        } else {
            self.steps.push(cutting(window, cuts));
        }
        Ok(())
    }

    /// Counts the next part of a window.
    pub(super) async fn cut<S: Source>(
        &mut self,
        on: &Sides<'_, S>,
        mut cutting: Cutting,
    ) -> Result<(), RunError> {
        if let Some(cut) = cutting.cuts.pop_front() {
            let rest = cutting.rest;
            let span = Span {
                before: Some(cut),
                ..rest.span
            };
            let Some(upto) = self.count_before(on, cut).await? else {
                return self.read_span(on, cutting.whole.span).await;
            };
            let part = Window {
                span,
                upto,
                stored: self.stored(on, span).await?,
                ..rest
            };
            cutting.parts.push(part);
            cutting.rest = Window {
                span: Span {
                    after: Some(cut),
                    ..rest.span
                },
                below: part.upto,
                stored: rest.stored.saturating_sub(part.stored),
                ..rest
            };
            self.steps.push(Step::Cut(cutting));
            return Ok(());
        }
        let Cutting {
            whole,
            mut parts,
            rest,
            ..
        } = cutting;
        if parts.iter().all(|part| part.upto == whole.upto) {
            // This server counts all records, whatever the window.
            self.steps.push(self.reading(on, whole.span));
            return Ok(());
        }
        parts.push(rest);
        let differing = parts.into_iter().filter(|part| part.differing() > 0);
        self.steps.extend(differing.map(Step::Narrow));
        Ok(())
    }

    /// Finds the differences of a window.
    pub(super) async fn narrow<S: Source>(
        &mut self,
        on: &Sides<'_, S>,
        window: Window,
    ) -> Result<(), RunError> {
        if window.differing() == 0 {
            return Ok(());
        }
        let pages = window.pages(on.mirror.settings.page_size);
        // If there are as many differences as pages, reading all pages costs no more than searching.
        let cuts = if pages <= 1 || window.differing() >= pages {
            Vec::new()
        } else {
            self.halves(on, window).await?
        };
        if cuts.is_empty() {
            return self.read_span(on, window.span).await;
        }
        self.steps.push(cutting(window, cuts));
        Ok(())
    }

    /// Reads a span in parts. The number of stored rows decides how many parts are needed, so that none has
    /// too many pages.
    async fn read_span<S: Source>(
        &mut self,
        on: &Sides<'_, S>,
        span: Span,
    ) -> Result<(), RunError> {
        let settings = on.mirror.settings;
        let depth = u64::from(settings.window_pages) * u64::from(settings.page_size);
        let cuts = self
            .ranked_cuts(on, span, (0, (depth * 3 / 4).max(1)))
            .await?;
        let mut rest = span;
        for cut in cuts {
            let part = Span {
                before: Some(cut),
                ..rest
            };
            self.steps.push(self.reading(on, part));
            rest.after = Some(cut);
        }
        self.steps.push(self.reading(on, rest));
        Ok(())
    }

    /// Chooses windows of about one page that were not read yet; each night others.
    pub(super) async fn sample<S: Source>(
        &mut self,
        on: &Sides<'_, S>,
        whole: Span,
    ) -> Result<(), RunError> {
        let samples = u64::from(self.samples);
        if samples == 0 {
            return Ok(());
        }
        let page = u64::from(on.mirror.settings.page_size);
        let Mirror { store, account, .. } = on.mirror;
        let rows = store.count_created(account, self.stream, whole).await?;
        if samples * page >= rows {
            self.found.sampled += rows.div_ceil(page);
            return self.read_span(on, whole).await;
        }
        // Take the first `width` of every `step` rows.
        let width = page.saturating_sub(NEIGHBOURS).max(1) + 2 * NEIGHBOURS;
        let step = (rows / samples).max(width + 1);
        // Each night takes the rows behind those of the night before, so that all rows are taken over time.
        let forward = page.saturating_sub(NEIGHBOURS).max(1);
        let offset = tonight(on.mirror.clock.now()).wrapping_mul(forward) % step;
        let ranks = store
            .created_ranks(account, self.stream, whole, (offset, step, width))
            .await?;
        let windows: Vec<Span> = ranks
            .chunk_by(|one, other| one.0 + 1 == other.0)
            .filter_map(quiet_span)
            .filter(|span| !self.read.iter().any(|read| overlap(*read, *span)))
            .collect();
        for span in windows.into_iter().take(self.samples as usize) {
            self.steps.push(self.reading(on, span));
            self.found.sampled += 1;
        }
        Ok(())
    }

    /// Where to cut a window into two.
    async fn halves<S: Source>(
        &self,
        on: &Sides<'_, S>,
        window: Window,
    ) -> Result<Vec<Timestamp>, RunError> {
        let step = window.stored.div_ceil(2).max(1);
        let cuts = self.ranked_cuts(on, window.span, (0, step)).await?;
        if !cuts.is_empty() || window.stored > SEARCHED {
            return Ok(cuts);
        }
        // Many rows around the middle share an instant. Cut at the place without rows that is nearest to the
        // middle.
        let Mirror { store, account, .. } = on.mirror;
        let ranks = store
            .created_ranks(account, self.stream, window.span, (0, 1, 1))
            .await?;
        let middle = window.stored / 2;
        let nearest = ranks
            .windows(2)
            .filter_map(|pair| Some((pair[1].0.abs_diff(middle), between(pair[0].1, pair[1].1)?)))
            .min();
        Ok(nearest.map(|(_, cut)| cut).into_iter().collect())
    }

    /// Cuts behind the row with the rank `offset`, and behind about every `step` rows from there.
    async fn ranked_cuts<S: Source>(
        &self,
        on: &Sides<'_, S>,
        span: Span,
        (offset, step): (u64, u64),
    ) -> Result<Vec<Timestamp>, RunError> {
        let Mirror { store, account, .. } = on.mirror;
        let width = NEIGHBOURS.min(step) + 1;
        let ranks = store
            .created_ranks(account, self.stream, span, (offset, step, width))
            .await?;
        let mut cuts: Vec<(u64, Timestamp)> = Vec::new();
        for pair in ranks.windows(2) {
            let [(left, before), (right, after)] = [pair[0], pair[1]];
            let group = (right - offset) / step;
            let is_first = cuts.last().is_none_or(|(last, _)| *last < group);
            // A part without rows is not cut off.
            if offset + group > 0
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
    pub(super) async fn quiet_before<S: Source>(
        &self,
        on: &Sides<'_, S>,
        at: Timestamp,
    ) -> Result<Timestamp, RunError> {
        let mut at = whole_step(at);
        for _ in 0..100 {
            if self.is_quiet(on, at).await? {
                break;
            }
            at = at - QUIET * 2;
        }
        Ok(at)
    }

    /// An instant at or after `at` with no stored row near it.
    pub(super) async fn quiet_after<S: Source>(
        &self,
        on: &Sides<'_, S>,
        at: Timestamp,
    ) -> Result<Timestamp, RunError> {
        let mut at = whole_step(at) + STEP;
        for _ in 0..100 {
            if self.is_quiet(on, at).await? {
                break;
            }
            at = at + QUIET * 2;
        }
        Ok(at)
    }

    async fn is_quiet<S: Source>(
        &self,
        on: &Sides<'_, S>,
        at: Timestamp,
    ) -> Result<bool, RunError> {
        let near = Span::between(at - QUIET, at + QUIET);
        let Mirror { store, account, .. } = on.mirror;
        Ok(store.count_created(account, self.stream, near).await? == 0)
    }

    /// C(at): how many records the API counts that were created before an instant; `None` if it sends no
    /// total.
    async fn count_before<S: Source>(
        &self,
        on: &Sides<'_, S>,
        at: Timestamp,
    ) -> Result<Option<u64>, RunError> {
        let span = Span {
            after: None,
            before: Some(at),
        };
        let query: PageQuery = survey::everything(self.stream, span, 1);
        Ok(on.ask(&query).await?.total)
    }

    /// Whether the API shows more records created before an instant than it counts. If its totals are too
    /// small, a record that is missing in the mirror and a record that is not counted by the API cancel out
    /// in every window.
    async fn shows_uncounted<S: Source>(
        &self,
        on: &Sides<'_, S>,
        at: Timestamp,
        total: u64,
    ) -> Result<bool, RunError> {
        let size = on.mirror.settings.page_size;
        let span = Span {
            after: None,
            before: Some(at),
        };
        let Ok(number) = u32::try_from(total / u64::from(size.max(1)) + 1) else {
            return Ok(false);
        };
        let ask = async |number| {
            let query = survey::everything(self.stream, span, size);
            match on.ask(&PageQuery { number, ..query }).await {
                Ok(page) => Ok(Some(page)),
                // The server may refuse pages past the end.
                Err(error) if error.action() == FailureAction::NextResource => Ok(None),
                Err(error) => Err(error),
            }
        };
        let Some(last) = ask(number).await?.filter(|page| page.contradictory) else {
            return Ok(false);
        };
        if number == 1 {
            return Ok(true);
        }
        // A server may answer a request past the end with its last page.
        let Some(before) = ask(number - 1).await? else {
            return Ok(true);
        };
        let ids = |page: &Page| -> HashSet<Uuid> {
            page.items.iter().filter_map(|item| item.head.id).collect()
        };
        Ok(!ids(&last).is_subset(&ids(&before)))
    }

    /// The rows of a window, as the API should count them: including rejects and records that the API never
    /// shows, without rows that it no longer lists.
    async fn stored<S: Source>(&self, on: &Sides<'_, S>, span: Span) -> Result<u64, RunError> {
        let Mirror { store, account, .. } = on.mirror;
        let rows = store.count_created(account, self.stream, span).await?;
        let is_in = |at: &Timestamp| lies_in(span, Some(*at));
        let rejects = self.rejects.iter().filter(|at| is_in(at)).count() as u64;
        let unlisted = self.unlisted.values().filter(|at| is_in(at)).count() as u64;
        let is_within = |gap: Span| {
            span.after
                .is_none_or(|after| gap.after.is_some_and(|begin| after <= begin))
                && span
                    .before
                    .is_none_or(|before| gap.before.is_some_and(|end| end <= before))
        };
        let gaps = self.gaps.iter().filter(|(gap, _)| is_within(*gap));
        let gaps: u64 = gaps.map(|(_, missing)| missing).sum();
        Ok((rows + rejects + gaps).saturating_sub(unlisted))
    }
}

fn cutting(whole: Window, cuts: Vec<Timestamp>) -> Step {
    Step::Cut(Cutting {
        whole,
        cuts: cuts.into(),
        parts: Vec::new(),
        rest: whole,
    })
}

/// The span of consecutive rows. It begins and ends near the first and the last row, at places without rows.
fn quiet_span(rows: &[(u64, Timestamp)]) -> Option<Span> {
    let neighbours = usize::try_from(NEIGHBOURS).unwrap_or(usize::MAX);
    let cut = |pair: &[(u64, Timestamp)]| between(pair[0].1, pair[1].1);
    let after = rows.windows(2).take(neighbours).find_map(cut)?;
    let before = rows.windows(2).rev().take(neighbours).find_map(cut)?;
    (after < before).then(|| Span::between(after, before))
}

/// The parts of all the time before an instant that belong to none of these spans.
pub(super) fn complement(until: Timestamp, spans: &[Span]) -> Vec<Span> {
    let mut spans = spans.to_vec();
    // The span without a beginning comes first.
    spans.sort_unstable_by_key(|span| span.after);
    let mut left = Vec::new();
    // Where the rest begins; `None` is the beginning of time.
    let mut from = None;
    for span in spans {
        if let Some(after) = span
            .after
            .filter(|after| from.is_none_or(|from| from < *after))
        {
            left.push(Span {
                after: from,
                before: Some(after.min(until)),
            });
        }
        match span.before {
            Some(before) => from = from.max(Some(before)),
            None => {
                return left
                    .into_iter()
                    .filter(|span| is_before(*span, until))
                    .collect();
            }
        }
    }
    left.push(Span {
        after: from,
        before: Some(until),
    });
    left.retain(|span| is_before(*span, until));
    left
}

fn is_before(span: Span, until: Timestamp) -> bool {
    span.after.is_none_or(|after| after < until)
}

/// The instant in the middle between two rows, if it is far enough from both.
fn between(before: Timestamp, after: Timestamp) -> Option<Timestamp> {
    (after.since(before) >= QUIET * 2 + STEP).then(|| whole_step(before.middle(after)))
}

/// The last whole step at or before an instant. A whole step is the same instant at any precision.
fn whole_step(at: Timestamp) -> Timestamp {
    let step = i64::try_from(STEP.as_micros()).unwrap_or(1);
    Timestamp::from_micros(at.micros() - at.micros().rem_euclid(step))
}

/// Whether an instant belongs to a span, and not to its neighbours.
pub(super) fn lies_in(span: Span, at: Option<Timestamp>) -> bool {
    at.is_some_and(|at| {
        span.after.is_none_or(|after| after <= at) && span.before.is_none_or(|before| at < before)
    })
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

    fn span(after: Option<i64>, before: Option<i64>) -> Span {
        Span {
            after: after.map(at),
            before: before.map(at),
        }
    }

    #[test]
    fn a_cut_is_a_whole_step_with_no_row_near_it() {
        assert_eq!(between(at(0), at(4_999)), None);
        assert_eq!(between(at(0), at(5_001)), Some(at(2_000)));
        assert_eq!(between(at(900), at(10_900)), Some(at(5_000)));
    }

    #[test]
    fn windows_that_touch_do_not_overlap() {
        assert!(!overlap(span(None, Some(5)), span(Some(5), None)));
        assert!(overlap(span(None, Some(6)), span(Some(5), None)));
        assert!(overlap(span(Some(1), Some(9)), span(Some(2), Some(3))));
    }

    #[test]
    fn what_a_load_has_not_read_is_left_out() {
        let left = |spans: &[Span]| complement(at(100), spans);
        assert_eq!(left(&[]), [span(None, Some(100))]);
        assert_eq!(left(&[Span::OPEN]), []);
        assert_eq!(left(&[span(None, Some(40))]), [span(Some(40), Some(100))]);
        assert_eq!(left(&[span(Some(120), None)]), [span(None, Some(100))]);
        let several = [
            span(Some(60), Some(80)),
            span(None, Some(20)),
            span(Some(90), None),
        ];
        let expected = [span(Some(20), Some(60)), span(Some(80), Some(90))];
        assert_eq!(left(&several), expected);
        let touching = [
            span(Some(18), Some(40)),
            span(None, Some(20)),
            span(Some(40), Some(300)),
        ];
        assert_eq!(left(&touching), []);
    }
}
