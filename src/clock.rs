//! The injected clock: the current time, and how to wait.
//!
//! Only this module calls the operating system's clock and tokio's timer for program logic.
//! Everything else receives an [`Arc<dyn Clock>`](Clock), so that tests can set the time. Must not
//! know what the time is used for.

use std::future::Future;
use std::pin::Pin;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::data::Timestamp;

/// A boxed wait, so that [`Clock`] can be a trait object.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The time on this machine, and how to wait. A watermark never comes from it, but from the server's
/// clock (see [`crate::sync`]).
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// The current time in microseconds. The clock can be set forward or back at any moment, so the
    /// difference of two readings is not a duration: use [`Clock::running`].
    fn now(&self) -> Timestamp;

    /// A monotonic clock for durations: how long this clock has been running. On Linux and macOS it
    /// stops while the machine sleeps.
    fn running(&self) -> Duration;

    /// Time elapsed since an earlier reading of [`Clock::running`].
    fn elapsed(&self, since: Duration) -> Duration {
        self.running().saturating_sub(since)
    }

    /// A future that completes when `duration` has elapsed on this clock.
    fn sleep(&self, duration: Duration) -> Sleep;
}

/// The machine's clock.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the clock"
    )]
    fn now(&self) -> Timestamp {
        Timestamp::from_datetime(chrono::Utc::now())
    }

    fn running(&self) -> Duration {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        START.elapsed()
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that sleeps")]
    fn sleep(&self, duration: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// A clock that only moves when somebody sleeps on it or moves it. Sleeping takes no real time and
/// moves the clock forward by the time slept.
///
/// It is part of the library, not of the tests, because the sandbox uses it, too.
#[derive(Debug)]
pub struct FakeClock {
    /// In microseconds.
    now: AtomicI64,
    /// In nanoseconds, so that a sleep until an instant reaches exactly that instant.
    running: AtomicU64,
}

impl FakeClock {
    /// A clock that shows `start`.
    pub fn at(start: Timestamp) -> Self {
        Self {
            now: AtomicI64::new(start.micros()),
            running: AtomicU64::new(0),
        }
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        self.now.fetch_add(micros, Ordering::SeqCst);
        let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.running.fetch_add(nanos, Ordering::SeqCst);
    }

    /// Sets the clock forward or back. [`Clock::running`] does not change.
    pub fn set(&self, to: Timestamp) {
        self.now.store(to.micros(), Ordering::SeqCst);
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.now.load(Ordering::SeqCst))
    }

    fn running(&self) -> Duration {
        Duration::from_nanos(self.running.load(Ordering::SeqCst))
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        self.advance(duration);
        // Yields once, so that a loop that only sleeps cannot starve other tasks.
        Box::pin(tokio::task::yield_now())
    }
}
