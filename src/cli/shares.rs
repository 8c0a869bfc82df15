//! The accounts that `run` shares with other processes.

use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::run::RunArgs;
use super::{Account, Context};
use crate::daemon::Sharing;
use crate::store::Store;

/// Shares the accounts with other processes, if this one waits for leases.
pub(super) struct Shares {
    sharing: Option<(Arc<Sharing>, JoinHandle<()>)>,
    stop: CancellationToken,
}

impl Shares {
    /// Tells the other processes which accounts this one can sync, and sees who else is there.
    pub(super) async fn begin<'a>(
        context: &Context,
        store: &Store,
        accounts: impl ExactSizeIterator<Item = &'a Account>,
        args: &RunArgs,
        stop: &CancellationToken,
    ) -> Self {
        let mut shares = Self {
            sharing: None,
            stop: stop.child_token(),
        };
        // Another process ends this one, if it is alive.
        if accounts.len() > 1 || args.wait {
            shares.start(context, store, accounts).await;
        }
        shares
    }

    /// The process has these accounts from now on. If they have become several, it shares them, and this
    /// returns true: the work on accounts that it had before knows nothing of it.
    pub(super) async fn grow<'a>(
        &mut self,
        context: &Context,
        store: &Store,
        accounts: impl ExactSizeIterator<Item = &'a Account>,
    ) -> bool {
        if self.sharing.is_some() || accounts.len() < 2 {
            return false;
        }
        self.start(context, store, accounts).await;
        true
    }

    async fn start<'a>(
        &mut self,
        context: &Context,
        store: &Store,
        accounts: impl Iterator<Item = &'a Account>,
    ) {
        let sharing = Arc::new(Sharing::new(store.clone(), Arc::clone(&context.clock)));
        // Before the first lease: processes that start together take their shares at once. What fails here
        // is told where the lease is acquired.
        for account in accounts {
            let now = context.clock.now();
            let id = store.account(&account.name, account.base_url.as_str(), now);
            match id.await {
                Ok(id) => sharing.join(id),
                Err(error) => {
                    tracing::debug!(%error, "cannot share account {} yet", account.name);
                    break;
                }
            }
        }
        if let Err(error) = sharing.look().await {
            tracing::debug!(%error, "cannot see yet who shares the accounts");
        }
        let looking = tokio::spawn(Arc::clone(&sharing).keep_looking(self.stop.clone()));
        self.sharing = Some((sharing, looking));
    }

    /// For the claims of the accounts.
    pub(super) fn handle(&self) -> Option<Arc<Sharing>> {
        let (sharing, _) = self.sharing.as_ref()?;
        Some(Arc::clone(sharing))
    }

    /// Tells the others that this process is gone.
    pub(super) async fn end(self) {
        self.stop.cancel();
        if let Some((_, looking)) = self.sharing {
            // It does not panic, and nobody aborts it.
            let _ended = looking.await;
        }
    }
}
