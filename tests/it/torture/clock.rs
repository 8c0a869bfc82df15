//! The clock of the machine that the program runs on, which somebody sets.

use helena_sync::data::Timestamp;

use super::now;
use crate::support::preload::SteppedClock;

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// The clock, as far as it can be set here.
pub(super) struct ClientClock(pub(super) Option<SteppedClock>);

impl ClientClock {
    /// What the program takes for the present.
    pub(super) fn now(&self) -> Timestamp {
        self.0.as_ref().map_or_else(now, SteppedClock::now)
    }

    /// Sets it forward or back by seconds, minutes, hours or days, the more seldom the further; now
    /// and then it is put right. Yields how that is counted.
    pub(super) fn step(&mut self, dice: &mut fastrand::Rng) -> &'static str {
        let Some(clock) = &mut self.0 else {
            return "steps of the client's clock left out";
        };
        let furthest = match dice.u32(..10) {
            0..3 => MINUTE,
            3..6 => HOUR,
            6..8 => 12 * HOUR,
            8 => 5 * DAY,
            _ => {
                clock.set(0);
                return "client clock put right";
            }
        };
        let by = dice.i64(SECOND..furthest);
        let by = if dice.bool() { by } else { -by };
        clock.set((clock.ahead() + by).clamp(-30 * DAY, 30 * DAY));
        "client clock steps"
    }

    /// Sets it forward or back by so much that nothing takes it for a correction.
    pub(super) fn leap(&mut self, dice: &mut fastrand::Rng) {
        if let Some(clock) = &mut self.0 {
            let by = dice.i64(HOUR..2 * DAY);
            let by = if clock.ahead() > 0 { -by } else { by };
            clock.set(clock.ahead() + by);
        }
    }

    /// Puts it right.
    pub(super) fn put_right(&mut self) {
        if let Some(clock) = &mut self.0 {
            clock.set(0);
        }
    }
}
