//! Answers calls of the platform while this process works on the account: reads what they concern, counts
//! them, and looks at the subscription that causes them.
//!
//! Must not know when a call is due ([`Bell`]), nor how it came here.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::AccountWorker;
use crate::data::{Source, Subscription, SubscriptionState, Timestamp};
use crate::doorbell::{Bell, Call};
use crate::sync::{FailureAction, RunError, RunLimits};

/// How often the subscription is looked at while calls come although it is not as it should be.
const LOOK_AGAIN: Duration = Duration::from_secs(15);

/// How often the calls of the platform are counted in the database.
const COUNTED_EVERY: Duration = Duration::from_secs(10);

/// The doorbell of an account, and what is known of it.
#[derive(Debug, Default)]
pub(super) struct Door {
    /// `None` if the platform cannot call.
    bell: Option<Arc<Bell>>,
    /// What was last seen of the subscription.
    state: Option<SubscriptionState>,
    /// When it was last looked at.
    checked_at: Option<Timestamp>,
    /// When calls were last counted in the database, by [`Clock::running`](crate::clock::Clock::running).
    counted_at: Option<Duration>,
}

impl Door {
    /// The door with this bell.
    pub(super) fn at(bell: Option<Arc<Bell>>) -> Self {
        Self {
            bell,
            ..Self::default()
        }
    }

    /// Forgets what is to be read, since everything is about to be read.
    pub(super) fn forget(&self) {
        if let Some(bell) = &self.bell {
            bell.forget();
        }
    }

    /// What is to be read now, if anything is.
    pub(super) fn waiting(&self) -> Option<Call> {
        self.bell.as_ref()?.waiting()
    }

    /// Waits for what the platform calls about. Without a doorbell, waits for ever.
    pub(super) async fn next_call(&self) -> Call {
        match &self.bell {
            Some(bell) => bell.next().await,
            None => std::future::pending().await,
        }
    }
}

impl<S: Source + 'static> AccountWorker<S> {
    /// Reads what the platform has called about, unless the API refuses it for now. A failure costs nothing:
    /// the next pass reads the same and reports it. `stop` ends it between requests.
    pub async fn answer(&mut self, call: Call, stop: &CancellationToken) {
        let Some(bell) = self.door.bell.clone() else {
            return;
        };
        let is_wanted = self.wanted().contains(&call.what.resource);
        if is_wanted && self.pause.is_over(self.clock.running()) {
            let limits = RunLimits { stop, budget: None };
            // If nothing is loaded yet, the first load reads it.
            if let Some((run, shown)) = self.engine.ring(&call.what, limits).await {
                let action = run.error.as_ref().map(RunError::action);
                if action == Some(FailureAction::LeaseLost) {
                    stop.cancel();
                }
                bell.followed(call, &shown);
            }
        }
        let may_store = |at: Duration| self.clock.elapsed(at) >= COUNTED_EVERY;
        if self.door.counted_at.is_none_or(may_store) {
            self.store_rings(&bell).await;
        }
        // The platform does ring after all.
        if self.door.state != Some(SubscriptionState::Good)
            && self.is_due(self.door.checked_at, LOOK_AGAIN)
        {
            self.check_subscription(&bell, stop).await;
        }
        self.meter.pulse().beat();
    }

    /// Counts calls in the database.
    async fn store_rings(&mut self, bell: &Bell) {
        let Some((count, last)) = bell.take_unstored() else {
            return;
        };
        self.door.counted_at = Some(self.clock.running());
        if let Err(error) = self.engine.note_rings(count, last).await {
            bell.give_back(count);
            let account = self.engine.name();
            debug!(account, %error, "account {account}: cannot store that the platform rang: {error}");
        }
    }

    /// Looks at the doorbell, as often as at the small lists: whether the platform will ring, and how often
    /// it did.
    pub(super) async fn tend_bell(&mut self, stop: &CancellationToken) {
        let Some(bell) = self.door.bell.clone() else {
            if self.door.checked_at.is_none() {
                self.door.checked_at = Some(self.clock.now());
                // If it fails, the next process tries again.
                let _forgotten = self.engine.forget_doorbell().await;
            }
            return;
        };
        self.store_rings(&bell).await;
        if self.is_due(self.door.checked_at, self.intervals.catalog) {
            self.check_subscription(&bell, stop).await;
        }
    }

    /// Looks whether the platform will ring, and logs when that changes.
    async fn check_subscription(&mut self, bell: &Bell, stop: &CancellationToken) {
        let judge = |all: &[Subscription]| bell.judge(all);
        let account = self.engine.name();
        let state = match self.engine.check_subscription(judge, stop).await {
            Ok(state) => state,
            Err(error) => {
                let error = error.line();
                debug!(
                    account,
                    error, "account {account}: cannot look at the doorbell: {error}"
                );
                return;
            }
        };
        let before = self.door.state.replace(state);
        self.door.checked_at = Some(self.clock.now());
        if before == Some(state) {
            return;
        }
        if let Some(problem) = state.problem() {
            warn!(account, "account {account}: {problem}");
        } else {
            info!(
                account,
                "account {account}: the platform rings the doorbell"
            );
        }
    }
}
