//! What the platform is like in a round, and how that changes.
//!
//! After some spells passes alone do not make the mirror perfect, since what the platform showed in them
//! was not the truth or not all of it: the night after them has to ([`Weather::needs_a_night`]).

use std::time::Duration;

use helena_sync::sandbox::{
    FaultRates, Moods, Precision, RequestLimit, RetryAfter, SandboxAccount, SandboxConfig, Totals,
};

/// The overlap that the program is given. A change may become visible this much after its
/// `updatedAt`; what is late, how far a copy lags, and what the clocks of servers are set back or behind
/// must fit in it together.
pub(super) const OVERLAP: Duration = Duration::from_secs(11);
/// How late a change becomes visible, at most.
pub(super) const LATEST: Duration = Duration::from_millis(3_500);
/// How far the server's clock may stand behind the latest it ever showed, in microseconds.
const FURTHEST_BACK: i64 = 3_500_000;
/// How far the clock of a second server is behind, at most.
const BEHIND: Duration = Duration::from_secs(1);
/// How far copies of the data lag, at most.
const LAGGING: Duration = Duration::from_secs(2);

/// The platform's lasting character, and how far its clock was ahead at most.
#[derive(Debug)]
pub(super) struct Weather {
    lasting: Moods,
    ahead: i64,
    needs_a_night: bool,
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
            v1_hides_groups: dice.bool(),
            bare_token: dice.u32(..4) == 0,
            no_echo: dice.u32(..4) == 0,
            skew_micros: dice.i64(-3_600_000_000..3_600_000_000),
            echo_sent: dice.u32(..4) == 0,
            dotnet_placeholders: dice.u32(..4) == 0,
            contact_id_unlisted: dice.u32(..4) == 0,
            masked_not_found: dice.u32(..4) == 0,
            behind_share: if dice.bool() { 0.2 } else { 0.0 },
            behind_by: Duration::from_millis(
                dice.u64(1..u64::try_from(BEHIND.as_millis()).unwrap()),
            ),
            // The past is kept from the beginning.
            stale_max: LAGGING,
            totals: totals(dice),
            ..dates(dice)
        };
        Self {
            ahead: lasting.skew_micros,
            lasting,
            needs_a_night: false,
        }
    }

    /// Whether a night has to follow before the mirror can be perfect.
    pub(super) const fn needs_a_night(&self) -> bool {
        self.needs_a_night
    }

    pub(super) fn config(&self, seed: u64, dice: &mut fastrand::Rng) -> SandboxConfig {
        SandboxConfig {
            // A night reads what has at most 64 pages of 20 whole.
            sessions: dice.u32(300..1_000),
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
    pub(super) fn change(
        &mut self,
        account: &mut SandboxAccount,
        dice: &mut fastrand::Rng,
    ) -> &'static str {
        let skew_micros = account.moods.skew_micros;
        account.moods = Moods {
            skew_micros,
            ..self.lasting.clone()
        };
        account.faults = FaultRates::default();
        account.limits = Vec::new();
        match dice.u32(..16) {
            8.. => self.oddity(&mut account.moods, dice),
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

    /// A platform that shows too little or something wrong, until the next change.
    fn oddity(&mut self, moods: &mut Moods, dice: &mut fastrand::Rng) -> &'static str {
        let share = 0.02 + dice.f64() * 0.2;
        let (needs_a_night, what) = match dice.u32(..11) {
            0 => {
                moods.stale_share = share * 2.0;
                (false, "changes to copies that lag")
            }
            1 => {
                moods.list_loss_share = share * 3.0;
                (false, "changes to lists that lose entries")
            }
            2 => {
                *moods = Moods {
                    no_date: false,
                    garbage_date: false,
                    jumping_date: true,
                    date_micros: 3_600_000_000,
                    ..moods.clone()
                };
                (false, "changes to dates that jump")
            }
            3 => {
                moods.totals = totals(dice);
                (false, "changes to other totals")
            }
            4 => {
                moods.behind_share = share * 3.0;
                moods.behind_by = BEHIND;
                (false, "changes to a server whose clock is behind")
            }
            5 => {
                moods.unstamped_share = share;
                (true, "changes to records without stamps")
            }
            6 => {
                moods.ghost_share = share / 4.0;
                (true, "changes to records that are counted and not shown")
            }
            7 => {
                moods.hidden_share = share / 4.0;
                (true, "changes to records that are not listed")
            }
            8 => {
                moods.failing_share = share * 2.0;
                moods.by_id_withdrawn = dice.u32(..4) == 0;
                (true, "changes to ids that cannot be asked for")
            }
            9 => {
                moods.undefined_share = share;
                (true, "changes to contacts of a status that no list shows")
            }
            _ => {
                moods.silent_messages = true;
                (true, "changes to messages that touch no stamp")
            }
        };
        self.needs_a_night |= needs_a_night;
        what
    }

    /// Sets the server's clock: forward by up to a minute, or back by no more than what the
    /// overlap allows in all.
    pub(super) fn step_clock(&mut self, account: &mut SandboxAccount, dice: &mut fastrand::Rng) {
        let skew = if dice.bool() {
            account.moods.skew_micros + dice.i64(0..60_000_000)
        } else {
            self.ahead - dice.i64(0..FURTHEST_BACK)
        };
        account.moods.skew_micros = skew;
        self.ahead = self.ahead.max(skew);
    }

    /// Good answers from now on.
    pub(super) fn calm(&self, account: &mut SandboxAccount) {
        account.moods = Moods {
            skew_micros: self.ahead,
            ..self.lasting.clone()
        };
        account.faults = FaultRates::default();
        account.limits = Vec::new();
    }
}

/// Totals that may be wrong.
fn totals(dice: &mut fastrand::Rng) -> Totals {
    let most = dice.u32(1..500);
    match dice.u32(..12) {
        0 => Totals::Capped(most),
        1 => Totals::Short(1 + most % 30),
        2 => Totals::ItemsCapped(most),
        3 => Totals::PagesCapped(most),
        4 => Totals::NoMore,
        5 => Totals::Uncounted,
        6 => Totals::Absent,
        _ => Totals::Right,
    }
}

/// Moods of a `Date` header that may be wrong, and nothing else.
fn dates(dice: &mut fastrand::Rng) -> Moods {
    let moods = Moods::default();
    let micros = dice.i64(-3_600_000_000..3_600_000_000);
    match dice.u32(..6) {
        0 => Moods {
            date_micros: micros,
            ..moods
        },
        1 => Moods {
            no_date: true,
            ..moods
        },
        2 => Moods {
            garbage_date: true,
            ..moods
        },
        _ => moods,
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
