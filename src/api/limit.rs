//! How many requests may go out, and when: the platform's limits kept on this side, one
//! [`Limiter`] for everything that uses an account.
//!
//! Owns the log of requests, the pause after a 429, and what is told about waiting. Must not know
//! what is requested.

use std::collections::VecDeque;
use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::Clock;
use crate::data::Timestamp;

/// A number of requests in any window of a length: `1000/5m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// How many.
    pub count: NonZeroU32,
    /// In which time.
    pub per: Duration,
}

/// A text that is no [`Limit`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a rate limit: {0:?} (accepted: a number of requests, a slash, a time: 1000/5m, 200/5s)"
)]
pub struct LimitError(String);

impl FromStr for Limit {
    type Err = LimitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || LimitError(text.chars().take(40).collect());
        let (count, per) = text.split_once('/').ok_or_else(wrong)?;
        let count = count.trim().parse().map_err(|_| wrong())?;
        let per = per.trim();
        // `1000/m` is one minute, as people write rates.
        let per = if per.starts_with(|first: char| first.is_ascii_digit()) {
            humantime::parse_duration(per)
        } else {
            humantime::parse_duration(&format!("1{per}"))
        }
        .map_err(|_| wrong())?;
        if per < Duration::from_millis(1) || per > Duration::from_hours(24) {
            return Err(wrong());
        }
        Ok(Self { count, per })
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per = humantime::format_duration(self.per).to_string();
        write!(f, "{}/{}", self.count, per.replace(' ', ""))
    }
}

/// Why requests are held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitReason {
    /// The account's own limits: as many requests went out as may.
    OwnLimit,
    /// The platform answered 429.
    Refused,
    /// A request failed and is tried again.
    Backoff,
}

/// Requests are held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Until when, by the local clock as it is set now.
    pub until: Timestamp,
    /// Why.
    pub reason: WaitReason,
}

/// The same as time by [`Clock::running`], which counts here: neither are requests too many because
/// the local clock was set forward, nor are they held back because it was set back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wait {
    until: Duration,
    reason: WaitReason,
}

/// The first pause after a 429 that does not say how long; doubled by each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(2);

/// The shortest pause after a 429, whatever the platform says.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// So many requests in so long a window.
#[derive(Debug, Clone, Copy)]
struct Layer {
    count: usize,
    window: Duration,
}

impl Layer {
    fn new(limit: Limit, share: f64) -> Self {
        let whole = f64::from(limit.count.get());
        // The tiny summand undoes what binary fractions take off: 0.29 * 100 is 28.999…
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 1 and a u32"
        )]
        let count = ((whole * share + 1e-9).floor().clamp(1.0, whole)) as usize;
        // A thousandth more, since the platform's clock may run a little slower than ours.
        let window = limit.per + limit.per / 1000;
        Self { count, window }
    }
}

#[derive(Debug, Default)]
struct State {
    /// When finished requests ended, oldest first; as far back as the longest window.
    ended: VecDeque<Duration>,
    /// Requests under way. Each counts as sent just now until it ends.
    under_way: usize,
    /// Nothing is sent before this.
    paused_until: Option<Duration>,
    /// Pauses since the last success.
    pauses: u32,
    /// Grows with every pause, so that requests sent before one are told from those sent after.
    generation: u64,
    /// What is waited for now, each with a number to find it by.
    waiting: Vec<(u64, Wait)>,
    next_wait: u64,
}

impl State {
    /// Drops what no window reaches, and a pause that is over.
    fn tidy(&mut self, now: Duration, longest: Duration) {
        while self.ended.front().is_some_and(|&at| at + longest <= now) {
            self.ended.pop_front();
        }
        self.paused_until = self.paused_until.filter(|&until| until > now);
    }
}

/// Why a request may not go out yet.
enum Hold {
    Until(Wait),
    /// Every place is taken by a request under way.
    UnderWay,
}

/// Keeps the limits of one account.
///
/// A request is counted as sent until its answer is there: the platform counts it at some instant
/// in between, which no window of ours may miss. So in no window do more requests leave than the
/// limit allows, nor do more arrive, however long the ways are.
#[derive(Debug)]
pub(super) struct Limiter {
    clock: Arc<dyn Clock>,
    layers: [Layer; 2],
    /// The longest pause: the sustained limit's window.
    longest: Duration,
    /// Callers queue here; tokio's mutex is fair.
    turnstile: tokio::sync::Mutex<()>,
    state: Mutex<State>,
    ended: Notify,
}

/// The account is paused for longer than the caller waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct PausedTooLong {
    /// Until when.
    pub(super) until: Timestamp,
}

impl Limiter {
    pub(super) fn new(sustained: Limit, burst: Limit, share: f64, clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            layers: [Layer::new(sustained, share), Layer::new(burst, share)],
            longest: sustained.per.max(burst.per),
            turnstile: tokio::sync::Mutex::new(()),
            state: Mutex::default(),
            ended: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reach(&self) -> Duration {
        self.layers[0].window.max(self.layers[1].window)
    }

    /// Waits until a request may be sent. Callers are served in the order in which they came. The
    /// account's own limits are always waited for; a pause after a 429 only if it ends within
    /// `patience`.
    pub(super) async fn acquire(
        &self,
        patience: Option<Duration>,
    ) -> Result<Permit<'_>, PausedTooLong> {
        let _turn = self.turnstile.lock().await;
        loop {
            match self.try_acquire() {
                Ok(permit) => return Ok(permit),
                Err(Hold::UnderWay) => self.ended.notified().await,
                Err(Hold::Until(Wait { until, reason })) => {
                    let delay = until.saturating_sub(self.clock.running());
                    if reason == WaitReason::Refused
                        && patience.is_some_and(|patience| delay > patience)
                    {
                        let until = self.clock.now() + delay;
                        return Err(PausedTooLong { until });
                    }
                    self.wait(delay, reason).await;
                }
            }
        }
    }

    fn try_acquire(&self) -> Result<Permit<'_>, Hold> {
        let now = self.clock.running();
        let mut state = self.state();
        state.tidy(now, self.reach());
        if let Some(until) = state.paused_until {
            return Err(Hold::Until(Wait {
                until,
                reason: WaitReason::Refused,
            }));
        }
        for layer in &self.layers {
            let first = state.ended.partition_point(|&at| at + layer.window <= now);
            let in_window = state.ended.len() - first;
            let taken = in_window + state.under_way;
            if taken < layer.count {
                continue;
            }
            // So many of the finished ones must leave the window before there is room.
            let surplus = taken - layer.count;
            let Some(&last) = state.ended.get(first + surplus) else {
                return Err(Hold::UnderWay);
            };
            return Err(Hold::Until(Wait {
                until: last + layer.window,
                reason: WaitReason::OwnLimit,
            }));
        }
        state.under_way += 1;
        Ok(Permit {
            limiter: self,
            generation: state.generation,
        })
    }

    /// Sleeps, and lets [`Limiter::waiting`] tell of it meanwhile.
    pub(super) async fn wait(&self, delay: Duration, reason: WaitReason) {
        let until = self.clock.running() + delay;
        let number = {
            let mut state = self.state();
            state.next_wait += 1;
            let number = state.next_wait;
            state.waiting.push((number, Wait { until, reason }));
            number
        };
        let _told = Told {
            limiter: self,
            number,
        };
        self.clock.sleep(delay).await;
    }

    /// What is waited for now, the longest first.
    pub(super) fn waiting(&self) -> Option<Waiting> {
        let now = self.clock.running();
        let waits = self.state();
        let waits = waits.waiting.iter().map(|&(_, wait)| wait);
        let longest = waits
            .filter(|wait| wait.until > now)
            .max_by_key(|wait| wait.until)?;
        Some(Waiting {
            until: self.clock.now() + longest.until.saturating_sub(now),
            reason: longest.reason,
        })
    }

    /// How long the account is paused from now on; zero if it is not.
    pub(super) fn pause_left(&self) -> Duration {
        let now = self.clock.running();
        self.state()
            .paused_until
            .map_or(Duration::ZERO, |until| until.saturating_sub(now))
    }
}

/// Removes a wait from what is told, also when the waiting future is dropped.
struct Told<'a> {
    limiter: &'a Limiter,
    number: u64,
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        self.limiter
            .state()
            .waiting
            .retain(|&(number, _)| number != self.number);
    }
}

/// Leave to send one request; dropped when its answer is complete, or given up.
#[derive(Debug)]
pub(super) struct Permit<'a> {
    limiter: &'a Limiter,
    generation: u64,
}

impl Permit<'_> {
    /// The request was answered with something else than 429.
    pub(super) fn answered(self) {
        let mut state = self.limiter.state();
        if self.generation == state.generation {
            state.pauses = 0;
        }
    }

    /// The request was answered with 429: pauses the account for what the platform says, at most
    /// the sustained window, or else for seconds that double with every further 429 up to that
    /// window. Requests that were under way together count as one.
    pub(super) fn refused(self, retry_after: Option<Duration>) {
        let now = self.limiter.clock.running();
        let longest = self.limiter.longest;
        let mut state = self.limiter.state();
        let first = self.generation == state.generation;
        if first {
            state.generation += 1;
            state.pauses = state.pauses.saturating_add(1);
        }
        let pause = match retry_after {
            Some(pause) => pause.max(SHORTEST_PAUSE).min(longest),
            None if first => growing(FIRST_PAUSE, state.pauses, longest),
            None => return,
        };
        let until = now + pause;
        if first {
            tracing::warn!(
                pause_seconds = pause.as_secs_f64(),
                "the platform answered 429: every request of the account waits {:.0} s",
                pause.as_secs_f64()
            );
        }
        if state.paused_until.is_none_or(|paused| paused < until) {
            state.paused_until = Some(until);
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let now = self.limiter.clock.running();
        let mut state = self.limiter.state();
        state.under_way = state.under_way.saturating_sub(1);
        state.tidy(now, self.limiter.reach());
        state.ended.push_back(now);
        drop(state);
        self.limiter.ended.notify_one();
    }
}

/// `first`, doubled for every time after the first one, at most `longest`; a tenth more or less,
/// so that several clients do not come back together.
pub(super) fn growing(first: Duration, times: u32, longest: Duration) -> Duration {
    let factor = 1_u32 << times.saturating_sub(1).min(20);
    let whole = first.saturating_mul(factor).min(longest);
    whole.mul_f64(0.9 + 0.2 * fastrand::f64()).min(longest)
}

#[cfg(test)]
mod tests;
