//! Time, injected: what is now, and how to wait.
//!
//! Owns the only calls of the operating system's clock and of tokio's timer for program logic;
//! everything else receives an [`Arc<dyn Clock>`](Clock), so that tests decide what time it is.
//! Must not know what the time is used for.

use std::future::Future;
use std::pin::Pin;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::data::Timestamp;

/// A boxed wait, so that [`Clock`] can be a trait object.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What time it is here, and how to wait. Never the source of a watermark: those come from the
/// server's clock (see [`crate::sync`]).
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// The present, to the microsecond. Somebody may set it forward or back at any moment, so that
    /// the distance of two of them is no duration: see [`Clock::running`].
    fn now(&self) -> Timestamp;

    /// How long this clock has been running: what durations are measured by, since nobody sets it.
    /// On Linux and macOS it stands still while the machine sleeps.
    fn running(&self) -> Duration;

    /// What went by since it had been running for so long.
    fn elapsed(&self, since: Duration) -> Duration {
        self.running().saturating_sub(since)
    }

    /// A future that is ready once `duration` has gone by on this clock.
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

/// A clock that stands still until somebody sleeps on it or moves it: sleeping takes no real time
/// and moves it forward by the time slept.
///
/// Part of the library rather than of the tests because the sandbox runs on it too.
#[derive(Debug)]
pub struct FakeClock {
    /// In microseconds.
    now: AtomicI64,
    /// In nanoseconds: whoever sleeps until an instant of it must arrive there.
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

    /// Sets the clock, forward or back, in no time.
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
        // One turn of the scheduler, so that a loop that only sleeps cannot starve its neighbours.
        Box::pin(tokio::task::yield_now())
    }
}
