//! Acquires a lease, waits for it if another process holds it or it is another one's share, renews it, and
//! releases it.
//!
//! Must not know what is done under the lease. Waiting only reads the database.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, error, info, warn};

use super::AccountError;
use super::sharing::{Handover, HeldAccount, Sharing, Turn};
use crate::clock::Clock;
use crate::config::Zone;
use crate::store::{AccountId, Acquired, Holder, LEASE_TTL, Lease, LeaseStatus, Store, StoreError};
use crate::sync::RunError;

/// How often a lease is renewed. A renewal that fails is tried again until [`LAST_ANSWER`]: one without an
/// answer is given up after 6 seconds, and then a second one has 4 seconds.
const RENEW_EVERY: Duration = Duration::from_secs(LEASE_TTL.as_secs() / 3);

/// How soon a renewal that failed is tried again.
const RENEW_AGAIN: Duration = Duration::from_secs(1);

/// If the database has answered no renewal for this long, the work ends: the lease is about to expire, and
/// another process that the database answers would begin.
const LAST_ANSWER: Duration = Duration::from_secs(LEASE_TTL.as_secs() - 3);

/// How long a renewal may take after the process stood still, whatever time that was.
const A_MOMENT: Duration = Duration::from_secs(2);

/// If the lease holder has not renewed the lease for this long, the lease has expired.
const LAST_WORD: Duration = Duration::from_secs(LEASE_TTL.as_secs() + 5);

/// How often a waiting process checks the lease.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What to do while another process holds the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenHeld {
    /// Fail.
    GiveUp,
    /// Fail if the holder is known to be alive. Otherwise wait: it may have been killed, as in a
    /// container, and then its lease expires.
    GiveUpIfAlive,
    /// Wait until it ends, as the user asked.
    Wait,
    /// Wait until it ends, and warn, since the user may not know about the other process.
    WaitAndWarn,
}

/// A claim to the lease of an account.
#[derive(Debug)]
pub struct Claim {
    store: Store,
    clock: Arc<dyn Clock>,
    zone: Zone,
    account: String,
    base_url: String,
    holder: Holder,
    id: Option<AccountId>,
    /// The holder that the log already names.
    told: Option<Holder>,
    /// The last lease that was acquired.
    given: Option<Lease>,
    /// With whom the accounts are shared.
    sharing: Option<Arc<Sharing>>,
}

/// The lease at the last check.
enum Checked {
    Acquired(Lease),
    /// Another process holds it.
    Held(LeaseStatus),
    /// It is free, but the share of another process.
    Left,
}

impl Claim {
    /// A claim for the account of this name, which is read from `base_url`. Messages use this time
    /// zone.
    pub fn new(
        store: Store,
        clock: Arc<dyn Clock>,
        zone: Zone,
        account: String,
        base_url: String,
    ) -> Self {
        Self {
            store,
            clock,
            zone,
            account,
            base_url,
            holder: Holder::current(),
            id: None,
            told: None,
            given: None,
            sharing: None,
        }
    }

    /// Shares the accounts with other processes.
    #[must_use]
    pub fn sharing(mut self, sharing: Option<Arc<Sharing>>) -> Self {
        self.sharing = sharing;
        self
    }

    /// The account's name.
    pub fn account(&self) -> &str {
        &self.account
    }

    /// Acquires the lease. `stop` ends the wait.
    pub async fn acquire(
        &mut self,
        when_held: WhenHeld,
        stop: &CancellationToken,
    ) -> Result<KeptLease, AccountError> {
        let mut first: Option<(LeaseStatus, Duration)> = None;
        loop {
            let checked = tokio::select! {
                biased;
                // This comes first, so that a lease that was just acquired is not lost.
                checked = self.check() => checked.inspect_err(|_| self.id = None)?,
                () = stop.cancelled() => return Err(RunError::Stopped.into()),
            };
            let seen = match checked {
                Checked::Acquired(lease) => {
                    self.told = None;
                    self.given = Some(lease.clone());
                    return Ok(self.keep(lease, stop).await?);
                }
                Checked::Left => {
                    self.rest(stop).await?;
                    continue;
                }
                Checked::Held(seen) => seen,
            };
            let gives_up = match when_held {
                WhenHeld::GiveUp => true,
                WhenHeld::GiveUpIfAlive => match &first {
                    _ if self.holder.knows_alive(&seen.holder) => true,
                    None => false,
                    Some((then, at)) => {
                        then.holder != seen.holder
                            || then.renewed_at != seen.renewed_at
                            || self.clock.elapsed(*at) > LAST_WORD
                    }
                },
                WhenHeld::Wait | WhenHeld::WaitAndWarn => false,
            };
            if gives_up {
                let LeaseStatus { by, since, .. } = seen;
                return Err(AccountError::Held { by, since });
            }
            self.tell(&seen, when_held);
            first.get_or_insert_with(|| (seen, self.clock.running()));
            self.rest(stop).await?;
        }
    }

    /// Waits until it is time to check the lease again.
    async fn rest(&self, stop: &CancellationToken) -> Result<(), AccountError> {
        let changed = async {
            match &self.sharing {
                Some(sharing) => sharing.changed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => Err(RunError::Stopped.into()),
            () = changed => Ok(()),
            () = self.clock.sleep(LOOK_AGAIN) => Ok(()),
        }
    }

    /// Completes when the database answers again, if the accounts are shared; otherwise never.
    pub(super) async fn database_is_back(&self) {
        match &self.sharing {
            Some(sharing) => sharing.is_back().await,
            None => std::future::pending().await,
        }
    }

    /// Releases the last lease if the worker that held it panicked.
    pub(super) async fn give_back(&mut self) {
        if let Some(lease) = self.given.take()
            && let Err(error) = self.store.release(&lease).await
        {
            debug!(error = %error, "could not release the lease; it expires by itself");
        }
    }

    /// Acquires the lease if it is free and this process may have it.
    async fn check(&mut self) -> Result<Checked, StoreError> {
        let now = self.clock.now();
        let id = if let Some(id) = self.id {
            id
        } else {
            let id = self.store.account(&self.account, &self.base_url, now);
            *self.id.insert(id.await?)
        };
        let Some(sharing) = &self.sharing else {
            return Ok(match self.store.acquire(id, &self.holder, now).await? {
                Acquired::Lease(lease) => Checked::Acquired(lease),
                Acquired::Held(held) => Checked::Held(held),
            });
        };
        sharing.join(id);
        match sharing.turn(id) {
            Turn::Held(held) => return Ok(Checked::Held(held)),
            Turn::Later => return Ok(Checked::Left),
            Turn::Take => {}
        }
        match self.store.acquire(id, &self.holder, now).await {
            Ok(Acquired::Lease(lease)) => Ok(Checked::Acquired(lease)),
            Ok(Acquired::Held(held)) => {
                sharing.missed(id);
                Ok(Checked::Held(held))
            }
            Err(error) => {
                sharing.missed(id);
                Err(error)
            }
        }
    }

    /// Starts to renew a lease that was just acquired.
    async fn keep(&self, lease: Lease, stop: &CancellationToken) -> Result<KeptLease, StoreError> {
        let account = self.account.clone();
        let (store, clock) = (self.store.clone(), Arc::clone(&self.clock));
        let stop = stop.child_token();
        let sharing = self.sharing.as_ref();
        let held = sharing.map(|sharing| sharing.took(lease.account(), stop.clone()));
        let kept = KeptLease::start(account, store, clock, lease, stop, held);
        let noted = self.store.set_base_url(kept.lease(), &self.base_url).await;
        if let Err(error) = noted {
            kept.release().await;
            return Err(error);
        }
        Ok(kept)
    }

    /// Logs once for each holder that this process waits for it.
    fn tell(&mut self, seen: &LeaseStatus, when_held: WhenHeld) {
        let is_known = |sharing: &Arc<Sharing>| sharing.is_known(&seen.holder);
        if self.told.as_ref() == Some(&seen.holder) || self.sharing.as_ref().is_some_and(is_known) {
            return;
        }
        self.told = Some(seen.holder.clone());
        let (account, holder) = (&self.account, &seen.by);
        let since = self.zone.show_seconds(seen.since);
        match when_held {
            WhenHeld::GiveUp | WhenHeld::GiveUpIfAlive => info!(
                account,
                holder,
                "{holder} holds the lease of account {account}, but may be dead; waiting up to {} to find \
                 out",
                humantime::format_duration(LAST_WORD)
            ),
            WhenHeld::Wait => info!(
                account,
                holder,
                "waiting for {holder}, which holds the lease of account {account} since {since}"
            ),
            WhenHeld::WaitAndWarn => warn!(
                account,
                holder,
                "{holder} holds the lease of account {account} since {since}; this process takes over when \
                 that process ends"
            ),
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let (Some(sharing), Some(id)) = (&self.sharing, self.id) {
            sharing.leave(id);
        }
    }
}

/// A lease that is renewed until it is released.
#[derive(Debug)]
pub struct KeptLease {
    store: Store,
    lease: Lease,
    stop: CancellationToken,
    /// Unlike `stop`, which is also cancelled for other reasons.
    is_lost: Arc<AtomicBool>,
    renewing: AbortOnDropHandle<()>,
    /// Its place among the accounts that are shared.
    held: Option<HeldAccount>,
}

impl KeptLease {
    /// Starts to renew a lease. If another process acquires it, `stop` is cancelled.
    fn start(
        account: String,
        store: Store,
        clock: Arc<dyn Clock>,
        lease: Lease,
        stop: CancellationToken,
        held: Option<HeldAccount>,
    ) -> Self {
        let is_lost = Arc::new(AtomicBool::new(false));
        let renewing = renew(
            account,
            store.clone(),
            clock,
            lease.clone(),
            stop.clone(),
            Arc::clone(&is_lost),
        );
        Self {
            store,
            lease,
            stop,
            is_lost,
            renewing: AbortOnDropHandle::new(tokio::spawn(renewing)),
            held,
        }
    }

    /// Asks to leave the account to another process; never, if the accounts are not shared.
    pub(super) fn handover(&self) -> Handover {
        let held = self.held.as_ref();
        held.map_or_else(Handover::default, |held| held.handover().clone())
    }

    /// The lease, which every write names.
    pub const fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Cancelled when the work under the lease must end: at a stop, and when the lease is lost.
    pub const fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Releases the lease, unless another process has acquired it.
    pub async fn release(self) {
        drop(self.renewing);
        if self.is_lost.load(Ordering::Relaxed) {
            return;
        }
        if let Err(error) = self.store.release(&self.lease).await {
            debug!(error = %error, "could not release the lease; it expires by itself");
        }
    }
}

async fn renew(
    account: String,
    store: Store,
    clock: Arc<dyn Clock>,
    lease: Lease,
    stop: CancellationToken,
    is_lost: Arc<AtomicBool>,
) {
    // When the last renewal was sent that the database has answered.
    let mut answered = clock.running();
    let mut pause = RENEW_EVERY;
    loop {
        clock.sleep(pause).await;
        let sent = clock.running();
        let left = LAST_ANSWER.saturating_sub(clock.elapsed(answered));
        let renewed = tokio::select! {
            biased;
            renewed = store.renew(&lease, clock.now()) => Some(renewed),
            () = clock.sleep(left.max(A_MOMENT)) => None,
        };
        pause = RENEW_AGAIN;
        match renewed {
            Some(Ok(())) => {
                answered = sent;
                pause = RENEW_EVERY;
            }
            Some(Err(StoreError::LeaseLost)) => {
                error!(
                    account,
                    "another process has taken over the lease of account {account}; this process stops \
                     writing"
                );
                is_lost.store(true, Ordering::Relaxed);
                stop.cancel();
                return;
            }
            // The database is away. If another process acquires the lease meanwhile, later writes
            // of this process are refused.
            Some(Err(error)) => {
                debug!(account, error = %error, "could not renew the lease");
                if !matches!(error, StoreError::Unavailable { .. }) {
                    answered = sent;
                }
            }
            None => debug!(account, "no answer to the renewal of the lease"),
        }
        if clock.elapsed(answered) >= LAST_ANSWER {
            warn!(
                account,
                "account {account}: the database has answered no renewal of the lease for {}; the account \
                 rests until it answers, since another process may take over",
                humantime::format_duration(LAST_ANSWER)
            );
            stop.cancel();
            return;
        }
    }
}
