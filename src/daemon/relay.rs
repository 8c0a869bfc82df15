//! Passes calls of the platform on to the process that works on the account, its lease holder.
//!
//! A load balancer sends a call to any process. One without the lease stores what it was called about, after
//! it has gathered calls as for a read ([`Bell::next_to_pass_on`]). The lease holder looks every second for all its
//! accounts at once, and rings its own bell ([`Bell::ring_for`]). A failure loses nothing but time: the next
//! sync reads the change.
//!
//! Owns when a call is passed on and taken. Must not know how it is stored, or what is read because of it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::{debug, info, warn};

use crate::clock::Clock;
use crate::doorbell::{Bell, Call, Elsewhere};
use crate::store::{AccountId, Store, StoreError};

/// How often the calls that wait for this process are taken. Calls are gathered for half a second, and a read
/// takes less than that, so a change is in the database two seconds after the call.
const TAKE_EVERY: Duration = Duration::from_secs(1);

/// Passes calls on, and takes those for the accounts of this process.
#[derive(Debug)]
pub struct Relay {
    store: Store,
    clock: Arc<dyn Clock>,
    /// The doorbells of the accounts whose lease this process holds.
    held: Mutex<BTreeMap<AccountId, Arc<Bell>>>,
    /// Whether passing on or taking failed the last time.
    fails: AtomicBool,
}

impl Relay {
    /// Passes calls on in this database.
    pub fn new(store: Store, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            clock,
            held: Mutex::default(),
            fails: AtomicBool::new(false),
        }
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<AccountId, Arc<Bell>>> {
        // Nothing in here panics while it is held.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This process works on the account: calls for it ring this bell, until the result is dropped.
    pub(super) fn hold(self: &Arc<Self>, account: AccountId, bell: Arc<Bell>) -> Taking {
        self.held().insert(account, bell);
        Taking {
            relay: Arc::clone(self),
            account,
        }
    }

    /// Passes on what the platform calls about at this bell, while another process works on the account of
    /// this name. Ends when it is dropped.
    pub(super) async fn forward(self: &Arc<Self>, account: &str, bell: &Arc<Bell>) -> Infallible {
        loop {
            let call = bell.next_to_pass_on().await;
            let (relay, bell) = (Arc::clone(self), Arc::clone(bell));
            let account = account.to_owned();
            // Of its own, so that nothing is half done if this process acquires the lease meanwhile.
            let sending =
                tokio::spawn(async move { relay.forward_one(&account, &bell, call).await });
            // It does not panic, and nobody aborts it.
            let _sent = sending.await;
        }
    }

    async fn forward_one(&self, account: &str, bell: &Bell, call: Call) {
        let (calls, _) = bell.take_unstored().unzip();
        let calls = calls.unwrap_or_default();
        let (resource, records) = (call.what.resource, call.records());
        let now = self.clock.now();
        let stored = self
            .store
            .forward_calls(account, resource, &records, calls, now);
        if let Err(error) = stored.await {
            bell.give_back(calls);
            bell.put_back(call);
            self.failed(
                "pass calls of the platform on to the process that works on the account",
                &error,
            );
        } else {
            self.worked();
            debug!(
                account,
                calls, "account {account}: passed a call about {resource} on to the lease holder"
            );
        }
    }

    /// Warns once for each series of failures.
    fn failed(&self, doing: &str, error: &StoreError) {
        if self.fails.swap(true, Ordering::Relaxed) {
            debug!(%error, "cannot {doing}: {error}");
        } else {
            warn!(
                %error,
                "cannot {doing}: {error}. Syncs go on as before and read what has changed; this is tried again"
            );
        }
    }

    fn worked(&self) {
        if self.fails.swap(false, Ordering::Relaxed) {
            info!("calls of the platform reach the process that works on the account again");
        }
    }

    /// Takes the calls that wait for this process, again and again.
    pub async fn keep_taking(self: Arc<Self>) -> Infallible {
        loop {
            self.clock.sleep(TAKE_EVERY).await;
            match self.take().await {
                Ok(()) => self.worked(),
                Err(error) => self.failed(
                    "take calls of the platform that reached other processes",
                    &error,
                ),
            }
        }
    }

    /// Takes the calls that wait for this process once.
    pub(super) async fn take(&self) -> Result<(), StoreError> {
        // If the lease is lost meanwhile, the bell has the call, and it is passed on again.
        let bells = self.held().clone();
        if bells.is_empty() {
            return Ok(());
        }
        let accounts: Vec<AccountId> = bells.keys().copied().collect();
        let mut by_account: BTreeMap<AccountId, Vec<Elsewhere>> = BTreeMap::new();
        for call in self.store.take_calls(&accounts).await? {
            by_account.entry(call.account).or_default().push(Elsewhere {
                resource: call.resource,
                id: call.record,
                calls: call.calls,
                last: call.called_at,
            });
        }
        for (account, calls) in by_account {
            if let Some(bell) = bells.get(&account) {
                bell.ring_for(calls);
            }
        }
        Ok(())
    }
}

/// An account whose calls this process takes.
#[derive(Debug)]
pub(super) struct Taking {
    relay: Arc<Relay>,
    account: AccountId,
}

impl Drop for Taking {
    fn drop(&mut self) {
        self.relay.held().remove(&self.account);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use secrecy::SecretString;
    use uuid::Uuid;

    use super::*;
    use crate::clock::FakeClock;
    use crate::data::{Resource, Timestamp};
    use crate::doorbell::Ring;
    use crate::store::OpenOptions;

    /// A process, with its doorbell of the account.
    struct Process {
        relay: Arc<Relay>,
        bell: Arc<Bell>,
    }

    struct Story {
        store: Store,
        clock: Arc<FakeClock>,
        account: AccountId,
    }

    impl Story {
        async fn begin() -> Self {
            let store = Store::open("sqlite::memory:", &OpenOptions::default()).await;
            let store = store.unwrap();
            store.migrate().await.unwrap();
            let clock = Arc::new(FakeClock::at(Timestamp::from_micros(1_000_000)));
            let account = store.account("north", "https://x", clock.now()).await;
            Self {
                store,
                clock,
                account: account.unwrap(),
            }
        }

        fn process(&self) -> Process {
            let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as _;
            let mirrored = [Resource::Sessions, Resource::Contacts];
            let secret = SecretString::from("0123456789abcdef0123456789abcdef");
            Process {
                relay: Arc::new(Relay::new(self.store.clone(), Arc::clone(&clock))),
                bell: Arc::new(Bell::new(&secret, "north", &mirrored, clock)),
            }
        }
    }

    impl Process {
        fn rings(&self, resource: Resource, id: Option<u128>) {
            self.bell.ring(Ring {
                resource: Some(resource),
                id: id.map(Uuid::from_u128),
            });
        }

        /// Passes on what is due.
        async fn forwards(&self) -> u32 {
            let mut passed_on = 0;
            while let Some(call) = self.bell.waiting() {
                self.relay.forward_one("north", &self.bell, call).await;
                passed_on += 1;
            }
            passed_on
        }

        /// What is to be read now: the resource and the records.
        async fn takes(&self) -> Vec<(Resource, Vec<Uuid>)> {
            self.relay.take().await.unwrap();
            let mut taken = Vec::new();
            while let Some(call) = self.bell.waiting() {
                taken.push((call.what.resource, call.what.ids.clone()));
                let shown: HashSet<Uuid> = call.what.ids.iter().copied().collect();
                self.bell.followed(call, &shown);
            }
            taken
        }
    }

    const HALF: Duration = Duration::from_millis(500);

    #[tokio::test]
    async fn calls_reach_the_lease_holder_once_and_are_due_at_once() {
        let story = Story::begin().await;
        let (standby, holder) = (story.process(), story.process());
        let taking = holder.relay.hold(story.account, Arc::clone(&holder.bell));
        for _ in 0..3 {
            standby.rings(Resource::Sessions, Some(1));
            standby.rings(Resource::Sessions, Some(2));
        }
        standby.rings(Resource::Contacts, None);
        assert_eq!(standby.forwards().await, 0, "they are gathered first");
        story.clock.advance(HALF);
        assert_eq!(standby.forwards().await, 2);
        // Once more, before the holder looks.
        standby.rings(Resource::Sessions, Some(1));
        story.clock.advance(HALF);
        assert_eq!(standby.forwards().await, 1);
        assert_eq!(
            holder.takes().await,
            [
                (
                    Resource::Sessions,
                    vec![Uuid::from_u128(1), Uuid::from_u128(2)]
                ),
                (Resource::Contacts, vec![]),
            ]
        );
        // All eight are counted, once, where they are followed.
        assert_eq!(standby.bell.take_unstored(), None);
        let (calls, last) = holder.bell.take_unstored().unwrap();
        assert_eq!((calls, last), (8, story.clock.now()));
        assert!(holder.takes().await.is_empty());

        // Without the lease it takes nothing.
        drop(taking);
        standby.rings(Resource::Sessions, Some(3));
        story.clock.advance(HALF);
        assert_eq!(standby.forwards().await, 1);
        assert!(holder.takes().await.is_empty());
        let _taking = standby.relay.hold(story.account, Arc::clone(&standby.bell));
        assert_eq!(
            standby.takes().await,
            [(Resource::Sessions, vec![Uuid::from_u128(3)])]
        );
    }

    #[tokio::test]
    async fn calls_that_cannot_be_passed_on_are_kept_and_tried_again() {
        let story = Story::begin().await;
        let (standby, holder) = (story.process(), story.process());
        let _taking = holder.relay.hold(story.account, Arc::clone(&holder.bell));
        standby.rings(Resource::Sessions, Some(1));
        standby.rings(Resource::Sessions, None);
        story.clock.advance(HALF);
        let call = standby.bell.waiting().unwrap();
        story.store.close().await;
        standby
            .relay
            .forward_one("north", &standby.bell, call)
            .await;
        assert!(holder.relay.take().await.is_err());
        assert!(standby.bell.waiting().is_none());
        story.clock.advance(Duration::from_secs(3));
        let again = standby.bell.waiting().unwrap();
        assert_eq!(again.records(), [Some(Uuid::from_u128(1)), None]);
        assert_eq!(standby.bell.take_unstored().unwrap().0, 2);
    }

    #[tokio::test]
    async fn a_flood_is_passed_on_as_seldom_as_it_would_be_read_and_without_its_records() {
        let story = Story::begin().await;
        let standby = story.process();
        for id in 0..150 {
            standby.rings(Resource::Sessions, Some(id));
        }
        story.clock.advance(HALF);
        let call = standby.bell.waiting().unwrap();
        assert_eq!(call.records(), [None]);
        let mut passed_on = 0;
        for id in 0..600 {
            standby.rings(Resource::Sessions, Some(id));
            story.clock.advance(Duration::from_millis(100));
            passed_on += standby.forwards().await;
        }
        // Twenty at first, and then one every three seconds.
        assert!((30..=42).contains(&passed_on), "{passed_on}");
    }
}
