//! Keeps a lease alive while its holder works.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use crate::clock::Clock;
use crate::store::{LEASE_TTL, Lease, Store, StoreError};

/// How often a lease is renewed: often enough that two failures in a row do not lose it.
const RENEW_EVERY: Duration = Duration::from_secs(LEASE_TTL.as_secs() / 3);

/// Renews a lease until dropped.
#[derive(Debug)]
pub struct Keeper {
    task: JoinHandle<()>,
    lost: Arc<AtomicBool>,
}

impl Keeper {
    /// Begins to renew. `stop` is cancelled when another process has taken the lease.
    pub fn start(
        store: Store,
        lease: Lease,
        clock: Arc<dyn Clock>,
        stop: CancellationToken,
    ) -> Self {
        // Apart from the token, which is cancelled for other reasons too.
        let lost = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&lost);
        let task = tokio::spawn(async move {
            loop {
                clock.sleep(RENEW_EVERY).await;
                match store.renew(&lease, clock.now()).await {
                    Ok(()) => {}
                    Err(StoreError::LeaseLost) => {
                        error!(
                            "another process writes for this account now; this one stops writing"
                        );
                        told.store(true, Ordering::Relaxed);
                        stop.cancel();
                        return;
                    }
                    // The database is away. What this process writes later is refused if somebody
                    // else has taken over until then.
                    Err(error) => debug!(error = %error, "lease not renewed"),
                }
            }
        });
        Self { task, lost }
    }

    /// Whether another process has taken the lease.
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}
