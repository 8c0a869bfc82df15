//! The model of the mirror, which stores pages as the store does.

use std::collections::BTreeMap;
use std::time::Duration;

use uuid::Uuid;

use super::model::{Model, ShownVersion};
use super::{HERE, OVERLAP};
use crate::data::{Gap, Ordering, Resource, Span, StateChange, StreamState, Timestamp};
use crate::sync::walk::Chunk;

/// What the database would hold.
#[derive(Debug, Default)]
pub(super) struct Mirror {
    pub(super) rows: BTreeMap<Uuid, ShownVersion>,
    pub(super) watermark: Option<Timestamp>,
    pub(super) seen: Option<(Timestamp, Timestamp)>,
    pub(super) observed: Option<(Timestamp, Timestamp)>,
    pub(super) ordering: Ordering,
    pub(super) left: Vec<Span>,
    pub(super) gaps: Vec<Gap>,
    /// Whether an older version is discarded, as if stamps never went back.
    pub(super) is_stubborn: bool,
}

impl Mirror {
    pub(super) fn state(&self) -> StreamState {
        let mut state = StreamState::new(Resource::Sessions.streams()[0]);
        state.watermark = self.watermark;
        state.ordering = self.ordering;
        (state.observed_at, state.observed_locally_at) = self.observed.unzip();
        (state.watermark_seen_at, state.watermark_seen_locally_at) = self.seen.unzip();
        state
    }

    /// Stores a page as the store does. A version with an older stamp replaces the stored version if that was
    /// older than the overlap when the last pass began. Otherwise the record is read by id.
    pub(super) fn store(&mut self, chunk: Chunk, window: Option<Span>, model: &Model) {
        let here = model.now - HERE;
        let state = self.state();
        let reached = state.watermark.map(|at| state.reached(at, OVERLAP));
        if let Some(page) = &chunk.page {
            for item in &page.items {
                let head = item.head;
                let shown = (head.updated_at.unwrap(), item.raw.start);
                let key = head.id.unwrap();
                let stored = self.rows.get(&key).copied();
                let is_older = stored.is_some_and(|(at, _)| shown.0 < at);
                let is_settled = stored
                    .is_some_and(|(at, _)| reached.is_some_and(|reached| at + OVERLAP <= reached));
                if is_older && self.is_stubborn {
                    continue;
                }
                let believed = if is_older && !is_settled {
                    let index = usize::try_from(key.as_u128()).unwrap();
                    model.records[index]
                        .shown(model.now, Duration::ZERO)
                        .unwrap()
                } else {
                    shown
                };
                self.rows.insert(key, believed);
            }
        }
        for change in chunk.state_changes {
            match change {
                StateChange::Watermark { to, seen_at, .. } => {
                    if self.watermark.is_none_or(|watermark| to > watermark) {
                        self.watermark = Some(to);
                        self.seen = Some((seen_at, here));
                    }
                }
                StateChange::PassDone { server_time, .. } => {
                    self.observed = Some((server_time, here));
                }
                StateChange::WindowDone { .. } => self.left.retain(|left| Some(*left) != window),
                StateChange::WindowSplit { into, .. } => {
                    self.left.retain(|left| Some(*left) != window);
                    self.left.extend(into);
                }
                StateChange::WindowsJoined { .. } => self.left = vec![Span::OPEN],
                StateChange::Gap(gap) => {
                    self.gaps.retain(|known| known.window != gap.window);
                    self.gaps.push(gap);
                }
                StateChange::GapClosed { gap } => {
                    let _closed = self.gaps.remove(usize::try_from(gap).unwrap());
                }
                StateChange::ClockDifference { .. }
                | StateChange::InteractionsAhead { .. }
                | StateChange::GapTried { .. } => {}
                StateChange::ListRead { .. }
                | StateChange::ListDoubted { .. }
                | StateChange::Gone { .. }
                | StateChange::Differing { .. }
                | StateChange::Recheck { .. }
                | StateChange::Rechecked { .. }
                | StateChange::RecheckFailed { .. } => {
                    unreachable!("walks read neither lists nor by id")
                }
            }
        }
    }
}
