//! The rate limiter: keeps the platform's limits, with one [`Limiter`] for all requests of an
//! account.
//!
//! Owns the log of requests, the pause after a 429, and what is shown about waiting. Must not know
//! what is requested.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::data::{RateLimit, Timestamp};

/// Why requests wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitReason {
    /// Our share of the account's rate limits is used up.
    OwnLimit,
    /// The platform answered 429.
    Refused,
    /// A request failed and is retried.
    Backoff,
}

/// A wait of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Until when, by the local clock as it is set now.
    pub until: Timestamp,
    /// Why.
    pub reason: WaitReason,
}

/// What is allowed in a window of a rate limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Requests that this process may send in the window.
    pub allowed: usize,
    /// Those of them that are left now.
    pub left: usize,
    /// The length of the window.
    pub window: Duration,
}

/// What the rate limits of an account allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// In the longer window.
    pub sustained: Allowance,
    /// In the shorter window.
    pub burst: Allowance,
}

/// The same, by [`Clock::running`]. So setting the local clock neither lets too many requests
/// through nor delays them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wait {
    until: Duration,
    reason: WaitReason,
}

/// The shortest pause after a 429, whatever the platform says.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause, whatever the platform says. It is this long because a request during a ban may
/// renew the ban (API notes, 17).
pub(super) const LONGEST_PAUSE: Duration = Duration::from_hours(1);

/// The pauses after 429s without `Retry-After`.
const PAUSES: Backoff = Backoff::new(Duration::from_secs(2), LONGEST_PAUSE).jittered();

/// How long before the beginning of the clock's running time a request may have been sent.
const BEFORE: Duration = Duration::from_hours(24);

/// So many pauses in a row last as long as the platform says. If 429s continue, later pauses are
/// longer.
const BELIEVED_PAUSES: u32 = 3;

/// A number of requests in a window of time.
#[derive(Debug, Clone, Copy)]
struct Layer {
    count: usize,
    window: Duration,
}

impl Layer {
    fn new(limit: RateLimit, share: f64) -> Self {
        let whole = f64::from(limit.count.get());
        // The small term corrects binary fractions: 0.29 * 100 is 28.999…
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 1 and a u32"
        )]
        let count = ((whole * share + 1e-9).floor().clamp(1.0, whole)) as usize;
        // A thousandth longer, since the platform's clock may be slightly slower than ours.
        let window = limit.per + limit.per / 1000;
        Self { count, window }
    }
}

#[derive(Debug)]
struct State {
    /// When finished requests ended, oldest first, within the longest window.
    ended: VecDeque<Duration>,
    /// Requests in progress. Each counts as sent just now until it ends.
    under_way: usize,
    /// No request is sent before this.
    paused_until: Option<Duration>,
    /// Counts the pauses since the last success.
    pauses: Backoff,
    /// Incremented with every pause, to distinguish requests sent before and after it.
    generation: u64,
    /// The current waits, each with a number to find it by.
    waiting: Vec<(u64, Wait)>,
    next_wait: u64,
    /// Those of `ended` that were stored before this process had the account.
    earlier: Vec<Duration>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            ended: VecDeque::new(),
            under_way: 0,
            paused_until: None,
            pauses: PAUSES,
            generation: 0,
            waiting: Vec::new(),
            next_wait: 0,
            earlier: Vec::new(),
        }
    }
}

impl State {
    /// Drops entries older than the longest window, and a pause that is over.
    fn tidy(&mut self, now: Duration, longest: Duration) {
        while self.ended.front().is_some_and(|&at| at + longest <= now) {
            self.ended.pop_front();
        }
        self.paused_until = self.paused_until.filter(|&until| until > now);
    }
}

/// Why a request must wait.
enum Hold {
    Until(Wait),
    /// Requests in progress use up the limit.
    UnderWay,
}

/// Keeps the rate limits of one account.
///
/// A request counts as sent until its answer has arrived, since the platform counts it at some
/// instant in between. So no window has more requests than the limit allows, neither when they
/// leave here nor when they arrive there, however long they take.
#[derive(Debug)]
pub(super) struct Limiter {
    clock: Arc<dyn Clock>,
    layers: [Layer; 2],
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
    pub(super) fn new(
        sustained: RateLimit,
        burst: RateLimit,
        share: f64,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            clock,
            layers: [Layer::new(sustained, share), Layer::new(burst, share)],
            turnstile: tokio::sync::Mutex::new(()),
            state: Mutex::default(),
            ended: Notify::new(),
        }
    }

    /// The clock's running time, with room before its beginning for requests of earlier processes.
    fn now(&self) -> Duration {
        self.clock.running() + BEFORE
    }

    /// Counts the stored requests of this account, each with how long ago it was sent, in place of those of
    /// an earlier call. A process that regains its account may have stored some of them itself, so those
    /// count twice until they leave the window: rather too many than too few.
    pub(super) fn note_earlier(&self, ages: impl IntoIterator<Item = Duration>) {
        let now = self.now();
        let reach = self.reach();
        let mut state = self.state();
        for at in std::mem::take(&mut state.earlier) {
            if let Ok(place) = state.ended.binary_search(&at) {
                state.ended.remove(place);
            }
        }
        let earlier = ages.into_iter().filter(|age| *age < reach);
        state.earlier = earlier.map(|age| now.saturating_sub(age)).collect();
        let earlier = state.earlier.clone();
        state.ended.extend(earlier);
        state.ended.make_contiguous().sort_unstable();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reach(&self) -> Duration {
        self.layers[0].window.max(self.layers[1].window)
    }

    /// Waits until a request may be sent. Callers are served in order of arrival. It always waits
    /// for the rate limits, but for a pause after a 429 only if the pause ends within `patience`.
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
                    let delay = until.saturating_sub(self.now());
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
        let now = self.now();
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
            // So many finished requests must leave the window first.
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

    /// Sleeps. Meanwhile, [`Limiter::waiting`] returns the wait.
    pub(super) async fn wait(&self, delay: Duration, reason: WaitReason) {
        let until = self.now() + delay;
        let number = {
            let mut state = self.state();
            state.next_wait += 1;
            let number = state.next_wait;
            state.waiting.push((number, Wait { until, reason }));
            number
        };
        let _told = WaitingEntry {
            limiter: self,
            number,
        };
        self.clock.sleep(delay).await;
    }

    /// The longest of the current waits.
    pub(super) fn waiting(&self) -> Option<Waiting> {
        let now = self.now();
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

    /// How many requests the rate limits allow, and how many of them are left.
    pub(super) fn budget(&self) -> Budget {
        let now = self.now();
        let mut state = self.state();
        state.tidy(now, self.reach());
        let allowance = |layer: &Layer| {
            let first = state.ended.partition_point(|&at| at + layer.window <= now);
            let taken = state.ended.len() - first + state.under_way;
            Allowance {
                allowed: layer.count,
                left: layer.count.saturating_sub(taken),
                window: layer.window,
            }
        };
        Budget {
            sustained: allowance(&self.layers[0]),
            burst: allowance(&self.layers[1]),
        }
    }

    /// How long the account is still paused. Zero if it is not paused.
    pub(super) fn pause_left(&self) -> Duration {
        let now = self.now();
        self.state()
            .paused_until
            .map_or(Duration::ZERO, |until| until.saturating_sub(now))
    }
}

/// Removes a wait from the list, also when the waiting future is dropped.
struct WaitingEntry<'a> {
    limiter: &'a Limiter,
    number: u64,
}

impl Drop for WaitingEntry<'_> {
    fn drop(&mut self) {
        self.limiter
            .state()
            .waiting
            .retain(|&(number, _)| number != self.number);
    }
}

/// The permission to send one request. It is dropped when the request has ended.
#[derive(Debug)]
pub(super) struct Permit<'a> {
    limiter: &'a Limiter,
    generation: u64,
}

impl Permit<'_> {
    /// Records an answer other than 429.
    pub(super) fn answered(self) {
        let mut state = self.limiter.state();
        if self.generation == state.generation {
            state.pauses.reset();
        }
    }

    /// Records a 429 and pauses the account: for as long as the platform says, or else as long as
    /// [`PAUSES`] says, at most for [`LONGEST_PAUSE`]. After [`BELIEVED_PAUSES`] pauses in a row, the
    /// longer of the two counts. Requests that were in progress together count as one: the first of them
    /// yields how long all requests pause.
    pub(super) fn refused(self, retry_after: Option<Duration>) -> Option<Duration> {
        let now = self.limiter.now();
        let mut state = self.limiter.state();
        let first = self.generation == state.generation;
        let growing = first.then(|| {
            state.generation += 1;
            state.pauses.after_failure()
        });
        let asked = retry_after.map(|pause| pause.clamp(SHORTEST_PAUSE, LONGEST_PAUSE));
        let is_believed = state.pauses.failures() <= BELIEVED_PAUSES;
        let pause = match (asked, growing) {
            (Some(asked), Some(growing)) if !is_believed => asked.max(growing),
            (Some(asked), _) => asked,
            (None, Some(growing)) => growing,
            (None, None) => return None,
        };
        let until = now + pause;
        if state.paused_until.is_none_or(|paused| paused < until) {
            state.paused_until = Some(until);
        }
        first.then_some(pause)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let now = self.limiter.now();
        let mut state = self.limiter.state();
        state.under_way = state.under_way.saturating_sub(1);
        state.tidy(now, self.limiter.reach());
        state.ended.push_back(now);
        drop(state);
        self.limiter.ended.notify_one();
    }
}

#[cfg(test)]
mod tests;
