//! What the platform is like in a round, and how that changes.

use std::time::Duration;

use helena_sync::sandbox::{
    Account, FaultRates, Moods, Precision, RequestLimit, RetryAfter, SandboxConfig,
};

/// The overlap that the program is given. A change may become visible this much after its
/// `updatedAt`; what is late and what the server's clock is set back must fit in it together.
pub(super) const OVERLAP: Duration = Duration::from_secs(8);
/// How late a change becomes visible, at most.
pub(super) const LATEST: Duration = Duration::from_millis(3_500);
/// How far the server's clock may stand behind the latest it ever showed, in microseconds.
const FURTHEST_BACK: i64 = 3_500_000;

/// The platform's lasting character, and how far its clock was ahead at most.
#[derive(Debug)]
pub(super) struct Weather {
    lasting: Moods,
    ahead: i64,
}

impl Weather {
    /// Answers to the open questions, which hold for the round.
    pub(super) fn draw(dice: &mut fastrand::Rng) -> Self {
        let precisions = [Precision::Ticks, Precision::Micros, Precision::Millis];
        let lasting = Moods {
            ignore_order: dice.u32(..4) == 0,
            after_inclusive: dice.bool(),
            before_inclusive: dice.bool(),
            precision: precisions[dice.usize(..3)],
            latency: Duration::from_millis(dice.u64(..8)),
            late_share: 0.3,
            late_max: LATEST,
            absent_share: if dice.bool() { 0.3 } else { 0.0 },
            extra_fields: dice.bool(),
            tags_unasked: dice.bool(),
            v1_withdrawn: [None, None, Some(401), Some(404), Some(410)][dice.usize(..5)],
            skew_micros: dice.i64(-3_600_000_000..3_600_000_000),
            ..Moods::default()
        };
        Self {
            ahead: lasting.skew_micros,
            lasting,
        }
    }

    pub(super) fn config(&self, seed: u64, dice: &mut fastrand::Rng) -> SandboxConfig {
        SandboxConfig {
            sessions: dice.u32(300..1_500),
            seed,
            // What it begins with lies in the past also where its clock is behind.
            until: Some(super::now() - Duration::from_hours(2)),
            gzip: true,
            moods: self.lasting.clone(),
            faults: faults(dice),
            ..SandboxConfig::default()
        }
    }

    /// Another kind of trouble, until the next.
    pub(super) fn change(&self, account: &mut Account, dice: &mut fastrand::Rng) -> &'static str {
        let skew_micros = account.moods.skew_micros;
        account.moods = Moods {
            skew_micros,
            ..self.lasting.clone()
        };
        account.faults = FaultRates::default();
        account.limits = Vec::new();
        match dice.u32(..8) {
            0..3 => {
                account.faults = faults(dice);
                "changes to faulty answers"
            }
            3 => {
                account.moods.offline = true;
                "changes to no answers"
            }
            4 => {
                let prefix = ["/chat/", "/core/", "/core/v1/contact"][dice.usize(..3)];
                account.moods.refused = vec![prefix.to_owned()];
                "changes to a scoped token"
            }
            5 => {
                account.limits = vec![RequestLimit {
                    count: dice.usize(5..40),
                    per: Duration::from_secs(2),
                }];
                account.faults.retry_after = RetryAfter::Seconds;
                "changes to tight limits"
            }
            6 => {
                account.moods.latency = Duration::from_millis(dice.u64(50..400));
                "changes to slow answers"
            }
            _ => "changes to good answers",
        }
    }

    /// Sets the server's clock: forward by up to a minute, or back by no more than what the
    /// overlap allows in all.
    pub(super) fn step_clock(&mut self, account: &mut Account, dice: &mut fastrand::Rng) {
        let skew = if dice.bool() {
            account.moods.skew_micros + dice.i64(0..60_000_000)
        } else {
            self.ahead - dice.i64(0..FURTHEST_BACK)
        };
        account.moods.skew_micros = skew;
        self.ahead = self.ahead.max(skew);
    }

    /// Good answers from now on.
    pub(super) fn calm(&self, account: &mut Account) {
        account.moods = Moods {
            skew_micros: self.ahead,
            ..self.lasting.clone()
        };
        account.faults = FaultRates::default();
        account.limits = Vec::new();
    }
}

fn faults(dice: &mut fastrand::Rng) -> FaultRates {
    let hints = [RetryAfter::Seconds, RetryAfter::Date];
    FaultRates {
        retry_after: hints[dice.usize(..2)],
        // A 429 costs a second or more; the others next to nothing.
        too_many: 0.005,
        ..FaultRates::all([0.01, 0.03, 0.08][dice.usize(..3)])
    }
}
