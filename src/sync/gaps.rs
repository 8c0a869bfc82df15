//! Reads gaps again: does the platform now show the records that it counts there?
//!
//! Owns which gaps are due, and which of them other gaps cover. The window walk decides what a
//! reading of a gap found. A gap that cannot be read does not delay others.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::engine::{RunLimits, Runs, goes_on};
use super::policy::{FailureAction, RunError};
use super::portion::Portion;
use super::run::{RunReport, Runner, Task};
use super::walk::{Chunk, overlap};
use super::window::GapCheck;
use crate::data::{
    Gap, OrderField, Resource, RunKind, Source, Span, StateChange, Stream, Timestamp,
};
use crate::store::StoredGap;

/// How many gaps a night reads again. The others are read in the following nights.
const MOST: usize = 200;

/// How many older gaps of a stream a pass reads again after it has found a new gap.
const AFTER_A_PASS: usize = 10;

/// The gaps themselves, without the details of their rows.
pub(super) fn known(gaps: &[StoredGap]) -> Arc<[Gap]> {
    gaps.iter().map(|stored| stored.gap).collect()
}

/// The gaps that one night reads again.
#[derive(Debug, Default)]
pub(super) struct Night {
    /// All open gaps, to know which missing records other gaps account for.
    open: Vec<StoredGap>,
    /// The gaps still to read; `None` before they were chosen.
    due: Option<VecDeque<StoredGap>>,
}

impl Night {
    fn is_done(&self) -> bool {
        self.due.as_ref().is_some_and(VecDeque::is_empty)
    }

    fn choose(&mut self, open: Vec<StoredGap>) {
        let mut due = open.clone();
        due.sort_by_key(touched);
        due.truncate(MOST);
        // Narrower gaps first: the wider ones need not account for the same missing records.
        due.sort_by_key(|stored| (stored.gap.stream, width(stored.gap.window), stored.id));
        self.open = open;
        self.due = Some(due.into());
    }

    /// The other gaps that account for missing records in the window of this gap.
    fn told_by_others(&self, stored: &StoredGap) -> Arc<[Gap]> {
        let Gap {
            stream,
            field,
            window,
            ..
        } = stored.gap;
        let tells = |other: &&StoredGap| {
            other.id != stored.id
                && (other.gap.stream, other.gap.field) == (stream, field)
                && (contains(window, other.gap.window)
                    || other.id < stored.id && overlap(window, other.gap.window))
        };
        self.open
            .iter()
            .filter(tells)
            .map(|other| other.gap)
            .collect()
    }

    fn note(&mut self, id: i64, looked: &GapCheck) {
        match looked {
            GapCheck::Closed => self.open.retain(|stored| stored.id != id),
            GapCheck::Open(gap) => {
                for stored in &mut self.open {
                    if stored.id == id {
                        stored.gap = *gap;
                    }
                }
            }
            GapCheck::Nothing => {}
        }
    }
}

/// When a gap was last read.
fn touched(stored: &StoredGap) -> Timestamp {
    stored
        .last_tried_at
        .map_or(stored.last_seen_at, |at| at.max(stored.last_seen_at))
}

fn width(window: Span) -> Duration {
    let ends = window.after.zip(window.before);
    ends.map_or(Duration::MAX, |(after, before)| before.since(after))
}

fn contains(whole: Span, part: Span) -> bool {
    let begins = whole
        .after
        .is_none_or(|whole| part.after.is_some_and(|part| whole <= part));
    let ends = whole
        .before
        .is_none_or(|whole| part.before.is_some_and(|part| part <= whole));
    begins && ends && whole != part
}

/// Reads windows again in which the platform counted records that it did not show.
pub(super) struct Gaps<'a, S> {
    pub(super) runner: &'a Runner<S>,
}

impl<S: Source + 'static> Gaps<'_, S> {
    /// Reads the windows of gaps again, beginning with those that were not read for the longest time. Records
    /// that are shown are stored, and a gap is closed if all its records are shown. Each stream is one
    /// recorded run.
    pub(super) async fn all(&self, limits: RunLimits<'_>) -> Runs {
        self.some(&mut Night::default(), None, limits).await.0
    }

    /// Continues with the gaps until the portion is over. Returns the runs, and whether no gap is left.
    pub(super) async fn some(
        &self,
        night: &mut Night,
        portion: Option<&Portion<'_, S>>,
        limits: RunLimits<'_>,
    ) -> (Runs, bool) {
        let mut runs = Runs::new();
        if night.due.is_none() {
            match self.runner.store().open_gaps(self.runner.account()).await {
                Ok(open) => night.choose(open),
                Err(error) => {
                    let stream = Stream::whole(Resource::Sessions);
                    runs.push(RunReport::not_begun(RunKind::Recheck, stream, error));
                    return (runs, true);
                }
            }
        }
        let front = |night: &Night| night.due.as_ref()?.front().cloned();
        while let Some(first) = front(night) {
            let stream = first.gap.stream;
            if limits.is_spent() {
                runs.push(RunReport::stopped(RunKind::Recheck, stream.resource));
                break;
            }
            self.runner.begin(format!("gaps of {stream}"), None);
            let task = Task {
                stream,
                ..Task::of(RunKind::Recheck, stream.resource)
            };
            let (run, _) = self
                .runner
                .run(task, limits.stop, |out| {
                    let night = &mut *night;
                    async move {
                        let mut failure = None;
                        while let Some(stored) =
                            front(night).filter(|stored| stored.gap.stream == stream)
                        {
                            if let Err(error) = self.look_again(night, &stored, limits, &out).await
                            {
                                if error.action() != FailureAction::NextResource {
                                    return Err(error);
                                }
                                failure.get_or_insert(error);
                            }
                            night.due.as_mut().and_then(VecDeque::pop_front);
                            if portion.is_some_and(Portion::is_over) {
                                break;
                            }
                        }
                        failure.map_or(Ok(()), Err)
                    }
                })
                .await;
            let go_on = goes_on(&run);
            runs.push(run);
            if !go_on || portion.is_some_and(Portion::is_over) {
                break;
            }
        }
        (runs, night.is_done())
    }

    /// Reads one gap again. A failure is recorded, so that other gaps go first the next time.
    async fn look_again(
        &self,
        night: &mut Night,
        stored: &StoredGap,
        limits: RunLimits<'_>,
        out: &mpsc::Sender<Chunk>,
    ) -> Result<(), RunError> {
        let walk = self
            .runner
            .walk(stored.gap.stream, limits, out.clone())
            .knowing(night.told_by_others(stored));
        match walk.look_again(stored.id, &stored.gap).await {
            Ok(looked) => {
                night.note(stored.id, &looked);
                Ok(())
            }
            Err(error) => {
                if error.action() == FailureAction::NextResource {
                    let gap = stored.id;
                    super::recheck::send(out, None, vec![StateChange::GapTried { gap }]).await?;
                }
                Err(error)
            }
        }
    }

    /// Reads some older gaps of a stream again after a pass that has found a new gap. If a record is never
    /// shown and changes again and again, each change leaves a gap in another window.
    pub(super) async fn close_older(
        &self,
        stream: Stream,
        open: Vec<StoredGap>,
        limits: RunLimits<'_>,
        out: &mpsc::Sender<Chunk>,
    ) -> Result<(), RunError> {
        let its = |stored: &&StoredGap| {
            stored.gap.stream == stream && stored.gap.field != OrderField::CreatedAt
        };
        let mut older: Vec<StoredGap> = open.iter().filter(its).cloned().collect();
        // The record has most likely left the window of the newest gap.
        older.sort_by_key(|stored| Reverse(touched(stored)));
        let rest = older.split_off(older.len().min(AFTER_A_PASS / 2));
        older.extend(rest.into_iter().rev().take(AFTER_A_PASS / 2));
        let mut night = Night { open, due: None };
        for stored in older {
            match self.look_again(&mut night, &stored, limits, out).await {
                Err(error) if error.action() != FailureAction::NextResource => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }
}
