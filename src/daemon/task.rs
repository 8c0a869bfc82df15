//! The task of one account: acquires the lease, syncs, releases the lease, and starts over.
//!
//! Must not know other accounts, so that no account delays another.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use super::lease::{Claim, KeptLease, WhenHeld};
use super::relay::Relay;
use super::{AccountError, AccountWorker, End, Intervals, RETRIES, is_mendable, rest, wait};
use crate::clock::Clock;
use crate::data::{Resource, Source};
use crate::doorbell::Bell;
use crate::metrics::Meter;
use crate::schedule::Triggers;
use crate::store::{Lease, StoreError};
use crate::sync::{Engine, RunError};

/// If work panics after running for longer than this, the backoff starts over.
const WELL_AFTER: Duration = Duration::from_mins(10);

/// Builds the engines of an account, one for each lease.
pub trait Engines: Send + Sync + 'static {
    /// The platform that the engines read.
    type Source: Source + 'static;

    /// Builds the engine that writes under this lease.
    fn begin(
        &self,
        lease: &Lease,
    ) -> impl Future<Output = Result<Arc<Engine<Self::Source>>, StoreError>> + Send;
}

/// The task that keeps an account's mirror up to date.
pub struct AccountTask<E> {
    /// The claim to the account's lease.
    pub claim: Claim,
    /// Builds the engines.
    pub engines: E,
    /// The clock of triggers and pauses.
    pub clock: Arc<dyn Clock>,
    /// The resources to mirror.
    pub resources: Vec<Resource>,
    /// How often the periodic work is done.
    pub intervals: Intervals,
    /// Whether the process has no other account, so that it may end if the first token is refused.
    pub is_alone: bool,
    /// Records what the account's task does.
    pub meter: Meter,
    /// What the platform calls when something changes, if it does.
    pub bell: Option<Arc<Bell>>,
    /// Passes on calls that reach a process without the lease.
    pub relay: Option<Arc<Relay>>,
}

impl<E: Engines> AccountTask<E> {
    /// Syncs the account until stopped, and acquires the lease again if it was lost. Work that panics
    /// starts over, since a single record or answer may be the cause.
    pub async fn run(
        mut self,
        mut when_held: WhenHeld,
        mut triggers: Triggers,
        stop: CancellationToken,
    ) -> Result<(), AccountError> {
        let mut backoff = RETRIES;
        loop {
            let begun = self.clock.running();
            let serving = self.serve(when_held, &mut triggers, &stop);
            if let Ok(ended) = AssertUnwindSafe(serving).catch_unwind().await {
                return ended;
            }
            // The work has ended, so nobody needs to wait until the lease expires.
            self.claim.give_back().await;
            if self.clock.elapsed(begun) > WELL_AFTER {
                backoff.reset();
            }
            let delay = backoff.after_failure();
            let account = self.claim.account();
            error!(
                account,
                "account {account}: its task panicked. This is a bug in helena-sync; please report the \
                 panic message above. The task restarts in {}",
                humantime::format_duration(delay)
            );
            if !rest(&self.clock, &stop, delay).await {
                return Ok(());
            }
            if when_held != WhenHeld::WaitAndWarn {
                when_held = WhenHeld::Wait;
            }
        }
    }

    async fn serve(
        &mut self,
        mut when_held: WhenHeld,
        triggers: &mut Triggers,
        stop: &CancellationToken,
    ) -> Result<(), AccountError> {
        loop {
            let (kept, engine) = match self.begin_patiently(when_held, stop).await {
                Ok(begun) => begun,
                Err(AccountError::Run(RunError::Stopped)) => return Ok(()),
                Err(error) => return Err(error),
            };
            // Triggers that were skipped earlier do not concern this lease.
            let _skipped = triggers.take_skipped();
            let clock = Arc::clone(&self.clock);
            let resources = self.resources.clone();
            let mut worker =
                AccountWorker::new(Arc::clone(&engine), clock, resources, self.intervals)
                    .metered(self.meter.clone())
                    .ringing(self.bell.clone())
                    .giving_way(kept.handover());
            if self.is_alone {
                worker = worker.ending_if_refused();
            }
            let relayed = self.relayed();
            let taking = relayed.map(|(relay, bell)| relay.hold(kept.lease().account(), bell));
            let end = worker.work(triggers, stop, kept.stop()).await;
            drop(taking);
            engine.note_trouble(true).await;
            kept.release().await;
            match end? {
                End::Stopped => return Ok(()),
                End::LeaseLost => {}
                End::HandedOver => {
                    let account = self.claim.account();
                    debug!(account, "account {account}: left to another process");
                }
            }
            // When the new lease holder ends, this process continues.
            if when_held != WhenHeld::WaitAndWarn {
                when_held = WhenHeld::Wait;
            }
        }
    }

    /// Acquires the lease and builds the engine. Retries until the database is available.
    async fn begin_patiently(
        &mut self,
        when_held: WhenHeld,
        stop: &CancellationToken,
    ) -> Result<(KeptLease, Arc<Engine<E::Source>>), AccountError> {
        let mut backoff = RETRIES;
        loop {
            self.meter.pulse().beat();
            let error = match self.begin(when_held, stop).await {
                Err(AccountError::Run(RunError::Store(error))) if is_mendable(&error) => error,
                done => return done,
            };
            let account = self.claim.account();
            let error = anyhow::Error::from(error)
                .context(format!("account {account}: cannot acquire the lease"));
            let goes_on = tokio::select! {
                biased;
                goes_on = wait(&mut backoff, &self.clock, stop, &error) => goes_on,
                () = self.claim.database_is_back() => true,
            };
            if !goes_on {
                return Err(RunError::Stopped.into());
            }
        }
    }

    /// What passes calls of the platform on, and the bell that they ring.
    fn relayed(&self) -> Option<(Arc<Relay>, Arc<Bell>)> {
        self.relay.clone().zip(self.bell.clone())
    }

    async fn begin(
        &mut self,
        when_held: WhenHeld,
        stop: &CancellationToken,
    ) -> Result<(KeptLease, Arc<Engine<E::Source>>), AccountError> {
        let resting = self.meter.pulse().rest();
        let (relayed, account) = (self.relayed(), self.claim.account().to_owned());
        // Another process may work on the account meanwhile.
        let forwarding = async {
            match &relayed {
                Some((relay, bell)) => relay.forward(&account, bell).await,
                None => std::future::pending().await,
            }
        };
        let acquired = tokio::select! {
            biased;
            acquired = self.claim.acquire(when_held, stop) => acquired,
            never = forwarding => match never {},
        };
        drop(resting);
        let kept = acquired?;
        match self.engines.begin(kept.lease()).await {
            Ok(engine) => Ok((kept, engine)),
            Err(error) => {
                kept.release().await;
                Err(error.into())
            }
        }
    }
}
