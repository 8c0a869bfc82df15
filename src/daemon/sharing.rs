//! Shares the accounts evenly with other processes of `run` on the same database.
//!
//! Each process records that it is there, and sees who else is and who holds which lease
//! ([`Store::shared`]). Then it takes free leases up to its share, and hands over what it has too much of:
//! between two syncs, or between two pages if a sync takes long. Nothing here gives the right to write: a
//! wrong guess costs a moment, and no row.
//!
//! Must not know what is done under a lease.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::fair::{self, Process, Share};
use crate::clock::Clock;
use crate::data::counted;
use crate::store::{
    AccountId, Holder, INSTANCE_TTL, Instance, LeaseStatus, Shared, Store, StoreError,
};

/// How often a process records that it is there. One failure does not hide it.
const ANNOUNCE_EVERY: Duration = Duration::from_secs(INSTANCE_TTL.as_secs() * 2 / 5);

/// How often a process looks who else is there while it misses an account. How soon it takes the accounts of
/// a process that was lost depends on this.
const LOOK: Duration = Duration::from_secs(1);

/// The same for a process that has all accounts that it wants. It has nothing to take, and only delays what
/// it hands over to a process that has come.
const LOOK_SELDOM: Duration = Duration::from_secs(4);

/// What was seen longer ago says nothing, for example because the database was away.
const STALE: Duration = Duration::from_secs(10);

/// How long a free lease is left to the process whose share it is. Then anybody takes it. Longer than a busy
/// process takes to see it.
const GRACE: Duration = Duration::from_secs(15);

/// A sync that takes longer than this ends between two pages if its account is to be handed over.
const PATIENCE: Duration = Duration::from_mins(1);

/// If nobody has taken what this process handed over, it hands over nothing for this long.
const KEEP_ALL: Duration = Duration::from_mins(1);

/// After an outage of the database, work that failed in it is tried again at once. What fails for this long
/// after it has another reason.
const OUTAGE: Duration = Duration::from_secs(30);

/// How long the end may be delayed by telling the others.
const FAREWELL: Duration = Duration::from_secs(2);

/// How many processes a log line names.
const NAMED: usize = 3;

/// What a worker is doing, for the choice of what to hand over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Doing {
    /// Waiting for a trigger.
    Resting = 0,
    /// Syncing.
    Syncing = 1,
    /// Verifying, which another process would have to begin again.
    Verifying = 2,
}

/// Asks a worker to leave its account to another process. Clones are the same request.
#[derive(Debug, Clone, Default)]
pub struct Handover(Arc<Request>);

#[derive(Debug, Default)]
struct Request {
    is_asked: AtomicBool,
    asked: Notify,
    doing: AtomicU8,
}

impl Handover {
    /// Whether the worker is asked to leave the account.
    pub(super) fn is_asked(&self) -> bool {
        self.0.is_asked.load(Ordering::SeqCst)
    }

    /// Waits until the worker is asked to.
    pub(super) async fn asked(&self) {
        while !self.is_asked() {
            self.0.asked.notified().await;
        }
    }

    /// The worker says what it is doing.
    pub(super) fn now(&self, doing: Doing) {
        self.0.doing.store(doing as u8, Ordering::SeqCst);
    }

    fn doing(&self) -> Doing {
        match self.0.doing.load(Ordering::SeqCst) {
            0 => Doing::Resting,
            1 => Doing::Syncing,
            _ => Doing::Verifying,
        }
    }

    fn ask(&self, wish: bool) {
        self.0.is_asked.store(wish, Ordering::SeqCst);
        if wish {
            self.0.asked.notify_one();
        }
    }
}

/// Shares the accounts of this process with others.
#[derive(Debug)]
pub struct Sharing {
    store: Store,
    clock: Arc<dyn Clock>,
    me: Holder,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// The accounts that this process can sync.
    wanted: BTreeSet<AccountId>,
    /// Those whose lease it holds.
    held: BTreeMap<AccountId, Held>,
    /// Those whose lease it is acquiring.
    taking: BTreeSet<AccountId>,
    /// When it handed over which account, by [`Clock::running`].
    given: BTreeMap<AccountId, Duration>,
    /// Since when the lease of an account is seen to be free.
    free_since: BTreeMap<AccountId, Duration>,
    seen: Option<Seen>,
    /// When the database last did not answer a look.
    failed_at: Option<Duration>,
    /// When it was last recorded that this process is there, and with which accounts.
    announced: Option<(Duration, BTreeSet<AccountId>)>,
    /// Until when nothing is handed over.
    keeps_until: Duration,
    /// Who the others were and how many accounts were here when that was logged.
    told: Option<(Vec<Holder>, usize)>,
}

#[derive(Debug)]
struct Held {
    handover: Handover,
    /// When it was asked for.
    asked_at: Option<Duration>,
    /// Ends the sync between two pages.
    stop: CancellationToken,
}

#[derive(Debug)]
struct Seen {
    shared: Shared,
    at: Duration,
    share: Share,
}

/// What a process may do about a lease that it wants.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Acquire it.
    Take,
    /// Wait: another process holds it.
    Held(LeaseStatus),
    /// Wait: it is free, and another process's share.
    Later,
}

impl Sharing {
    /// Shares accounts in this database.
    pub fn new(store: Store, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            clock,
            me: Holder::current(),
            state: Mutex::default(),
            changed: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on, this process wants the account.
    pub fn join(&self, account: AccountId) {
        self.state().wanted.insert(account);
    }

    /// This process cannot sync the account any more.
    pub(super) fn leave(&self, account: AccountId) {
        let mut state = self.state();
        state.wanted.remove(&account);
        state.taking.remove(&account);
    }

    /// What to do about the lease of an account. After [`Turn::Take`], call [`Self::took`] or
    /// [`Self::missed`].
    pub(super) fn turn(&self, account: AccountId) -> Turn {
        let now = self.clock.running();
        let mut state = self.state();
        let turn = state.turn(account, now, &self.me);
        if turn == Turn::Take {
            state.taking.insert(account);
        }
        turn
    }

    /// The lease could not be acquired.
    pub(super) fn missed(&self, account: AccountId) {
        self.state().taking.remove(&account);
    }

    /// This process holds the lease now, until the result is dropped.
    pub(super) fn took(
        self: &Arc<Self>,
        account: AccountId,
        stop: CancellationToken,
    ) -> HeldAccount {
        let now = self.clock.running();
        let handover = Handover::default();
        let mut state = self.state();
        state.taking.remove(&account);
        state.free_since.remove(&account);
        if state
            .given
            .remove(&account)
            .is_some_and(|at| now < at + PATIENCE)
        {
            state.keeps_until = now + KEEP_ALL;
        }
        let held = Held {
            handover: handover.clone(),
            asked_at: None,
            stop,
        };
        state.held.insert(account, held);
        drop(state);
        HeldAccount {
            sharing: Arc::clone(self),
            account,
            handover,
        }
    }

    /// Whether another process that shares the accounts is the holder, so that its log and this one say
    /// how many each has.
    pub(super) fn is_known(&self, holder: &Holder) -> bool {
        let state = self.state();
        let is_other = |instance: &Instance| instance.holder == *holder;
        let seen = state.seen.as_ref();
        state.wanted.len() > 1
            && seen.is_some_and(|seen| seen.shared.instances.iter().any(is_other))
    }

    /// Completes when something new was seen.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Completes when the database answers again, if it was away a moment ago; otherwise never. Whoever
    /// failed meanwhile tries again at once: the others already count on this process.
    pub(super) async fn is_back(&self) {
        let now = self.clock.running();
        let was_away = |state: &State| state.failed_at.is_some_and(|at| now < at + OUTAGE);
        if !was_away(&self.state()) {
            return std::future::pending().await;
        }
        loop {
            let changed = self.changed.notified();
            if self.state().seen.as_ref().is_some_and(|seen| seen.at > now) {
                return;
            }
            changed.await;
        }
    }

    /// Records that this process is there, if that is due, looks who else is, and asks workers to hand over
    /// what is too much.
    pub async fn look(&self) -> Result<(), StoreError> {
        let looked = self.look_once().await;
        if looked.is_err() {
            self.state().failed_at = Some(self.clock.running());
        }
        looked
    }

    async fn look_once(&self) -> Result<(), StoreError> {
        let (wanted, is_due) = {
            let state = self.state();
            let is_announced = state.announced.as_ref().is_some_and(|(at, wanted)| {
                self.clock.elapsed(*at) < ANNOUNCE_EVERY && *wanted == state.wanted
            });
            (state.wanted.clone(), !is_announced)
        };
        if is_due {
            let at = self.clock.running();
            let now = self.clock.now();
            self.store.announce(&self.me, &wanted, now).await?;
            self.state().announced = Some((at, wanted));
        }
        let at = self.clock.running();
        let shared = self.store.shared(&self.me, self.clock.now()).await?;
        let mut state = self.state();
        state.see(shared, at, &self.me);
        state.hand_over(self.clock.running());
        state.tell(&self.me);
        drop(state);
        self.changed.notify_waiters();
        Ok(())
    }

    /// Looks again and again until stopped. Then tells the others that this process ends.
    pub async fn keep_looking(self: Arc<Self>, stop: CancellationToken) {
        loop {
            let pause = if self.state().misses_any() {
                LOOK
            } else {
                LOOK_SELDOM
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = self.clock.sleep(pause) => {}
            }
            if let Err(error) = self.look().await {
                debug!(error = %error, "could not look who shares the accounts");
            }
        }
        tokio::select! {
            done = self.store.withdraw(&self.me) => if let Err(error) = done {
                debug!(error = %error, "could not record that this process ends");
            },
            () = self.clock.sleep(FAREWELL) => {}
        }
    }
}

impl State {
    fn misses_any(&self) -> bool {
        self.held.len() < self.wanted.len()
    }

    fn turn(&mut self, account: AccountId, now: Duration, me: &Holder) -> Turn {
        let given = self.given.get(&account);
        let was_given = given.is_some_and(|at| now < *at + GRACE);
        let is_recent = |seen: &&Seen| now < seen.at + STALE;
        let Some(seen) = self.seen.as_ref().filter(is_recent) else {
            return if was_given { Turn::Later } else { Turn::Take };
        };
        let lease = seen.shared.leases.get(&account);
        // This process has released it since.
        let lease = lease.filter(|lease| lease.holder != *me);
        if let Some(lease) = lease {
            self.free_since.remove(&account);
            self.given.remove(&account);
            return Turn::Held(lease.clone());
        }
        let since = *self.free_since.entry(account).or_insert(now);
        let has_room = self.held.len() + self.taking.len() < seen.share.target;
        if has_room && !was_given || now >= since + GRACE {
            Turn::Take
        } else {
            Turn::Later
        }
    }

    fn see(&mut self, shared: Shared, at: Duration, me: &Holder) {
        let mut processes = vec![Process {
            wanted: self.wanted.clone(),
            // What others can see may be older.
            held: self.held.keys().copied().collect(),
        }];
        let mut holders = vec![me];
        for Instance { holder, accounts } in &shared.instances {
            if holder != me {
                holders.push(holder);
                processes.push(Process {
                    wanted: accounts.clone(),
                    held: BTreeSet::new(),
                });
            }
        }
        let mut free: BTreeSet<AccountId> = processes
            .iter()
            .flat_map(|process| process.wanted.iter().copied())
            .collect();
        free.retain(|account| !self.held.contains_key(account));
        for (account, lease) in &shared.leases {
            if self.held.contains_key(account) {
                continue;
            }
            if lease.holder != *me {
                free.remove(account);
            }
            let holder = holders.iter().skip(1).position(|one| **one == lease.holder);
            if let Some(place) = holder {
                processes[place + 1].held.insert(*account);
            }
        }
        // All processes compare them in the same order.
        let mut order: Vec<usize> = (0..processes.len()).collect();
        let key = |holder: &Holder| {
            let Holder {
                host,
                boot_id,
                pid_namespace,
                pid,
                process_start,
            } = holder.clone();
            (host, boot_id, pid_namespace, pid, process_start)
        };
        order.sort_by_cached_key(|place| key(holders[*place]));
        let ordered: Vec<Process> = order
            .iter()
            .map(|place| std::mem::take(&mut processes[*place]))
            .collect();
        let place = order.iter().position(|place| *place == 0);
        let share = fair::share(&ordered, place.unwrap_or_default(), &free);
        self.free_since.retain(|account, _| free.contains(account));
        self.seen = Some(Seen { shared, at, share });
    }

    /// Asks workers to hand over what is too much: first those that rest.
    fn hand_over(&mut self, now: Duration) {
        let Some(seen) = &self.seen else {
            return;
        };
        let surplus = if now < self.keeps_until {
            0
        } else {
            self.held.len().saturating_sub(seen.share.target)
        };
        let mut asked = self
            .held
            .values()
            .filter(|held| held.asked_at.is_some())
            .count();
        for held in self.held.values_mut() {
            let Some(at) = held.asked_at else {
                continue;
            };
            if asked > surplus {
                // The process that it was for has gone.
                held.asked_at = None;
                held.handover.ask(false);
                asked -= 1;
            } else if now >= at + PATIENCE && held.handover.doing() == Doing::Syncing {
                held.stop.cancel();
            }
        }
        let mut candidates: Vec<(Doing, AccountId)> = self
            .held
            .iter()
            .filter(|(account, held)| {
                held.asked_at.is_none() && seen.share.givable.contains(account)
            })
            .map(|(account, held)| (held.handover.doing(), *account))
            .filter(|(doing, _)| *doing != Doing::Verifying)
            .collect();
        candidates.sort_unstable();
        for (_, account) in candidates.into_iter().take(surplus.saturating_sub(asked)) {
            if let Some(held) = self.held.get_mut(&account) {
                held.asked_at = Some(now);
                held.handover.ask(true);
            }
        }
    }

    /// Logs how many accounts are here when that has changed and is as it should be.
    fn tell(&mut self, me: &Holder) {
        let Some(seen) = &self.seen else {
            return;
        };
        let is_other = |instance: &&Instance| {
            instance.holder != *me && !instance.accounts.is_disjoint(&self.wanted)
        };
        let others = seen.shared.instances.iter().filter(is_other);
        let others: Vec<Holder> = others.map(|instance| instance.holder.clone()).collect();
        let held = self.held.len();
        let known = self.told.as_ref().map(|(others, held)| (others, *held));
        if self.wanted.len() < 2
            || held != seen.share.target
            || known == Some((&others, held))
            || known.is_none() && others.is_empty()
        {
            return;
        }
        let all = counted(self.wanted.len() as u64, "account");
        if others.is_empty() {
            info!(
                held,
                "no other process shares the {all} any more: {held} here"
            );
        } else {
            let mut names: Vec<String> = others.iter().take(NAMED).map(Holder::to_string).collect();
            if others.len() > NAMED {
                names.push(format!("{} more", others.len() - NAMED));
            }
            let names = names.join(", ");
            info!(held, "sharing {all} with {names}: {held} here");
        }
        self.told = Some((others, held));
    }
}

/// An account whose lease this process holds.
#[derive(Debug)]
pub(super) struct HeldAccount {
    sharing: Arc<Sharing>,
    account: AccountId,
    handover: Handover,
}

impl HeldAccount {
    /// Asks the worker to leave it.
    pub(super) const fn handover(&self) -> &Handover {
        &self.handover
    }
}

impl Drop for HeldAccount {
    fn drop(&mut self) {
        let now = self.sharing.clock.running();
        let mut state = self.sharing.state();
        state.held.remove(&self.account);
        if self.handover.is_asked() {
            state.given.insert(self.account, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::FakeClock;
    use crate::data::Timestamp;
    use crate::store::OpenOptions;

    const SECOND: Duration = Duration::from_secs(1);

    fn process(pid: i64) -> Holder {
        Holder {
            host: "elsewhere".to_owned(),
            boot_id: "another".to_owned(),
            pid,
            ..Holder::current()
        }
    }

    fn ids(numbers: impl IntoIterator<Item = i64>) -> BTreeSet<AccountId> {
        numbers.into_iter().map(AccountId).collect()
    }

    /// What is seen of these processes, that can all sync the first ten accounts and hold these.
    fn seen(processes: &[(&Holder, &[i64])]) -> Shared {
        let instance = |(holder, _): &(&Holder, &[i64])| Instance {
            holder: (*holder).clone(),
            accounts: ids(0..10),
        };
        let mut shared = Shared {
            instances: processes.iter().map(instance).collect(),
            leases: BTreeMap::new(),
        };
        for (holder, held) in processes {
            let status = LeaseStatus {
                by: holder.to_string(),
                holder: (*holder).clone(),
                since: Timestamp::from_micros(0),
                renewed_at: Timestamp::from_micros(0),
            };
            for account in *held {
                shared.leases.insert(AccountId(*account), status.clone());
            }
        }
        shared
    }

    async fn sharing() -> (Arc<Sharing>, Arc<FakeClock>) {
        let store = Store::open("sqlite::memory:", &OpenOptions::default()).await;
        let clock = Arc::new(FakeClock::at(Timestamp::from_micros(0)));
        let sharing = Sharing::new(store.unwrap(), Arc::clone(&clock) as _);
        for account in ids(0..10) {
            sharing.join(account);
        }
        (Arc::new(sharing), clock)
    }

    impl Sharing {
        /// Sees this, and asks workers for what follows.
        fn sees(&self, shared: Shared) {
            let mut state = self.state();
            state.see(shared, self.clock.running(), &self.me);
            state.hand_over(self.clock.running());
        }

        /// Takes whatever is its turn.
        fn takes(self: &Arc<Self>) -> BTreeMap<AccountId, (HeldAccount, CancellationToken)> {
            let mut held = BTreeMap::new();
            let missed = |account: &AccountId| !self.state().held.contains_key(account);
            let mine: Vec<AccountId> = ids(0..10).into_iter().filter(missed).collect();
            let turn = |account: &AccountId| self.turn(*account) == Turn::Take;
            for account in mine.into_iter().filter(turn) {
                let stop = CancellationToken::new();
                held.insert(account, (self.took(account, stop.clone()), stop));
            }
            held
        }
    }

    #[tokio::test]
    async fn free_accounts_are_taken_up_to_the_share_and_those_that_nobody_takes_later() {
        let (sharing, clock) = sharing().await;
        let other = process(1);
        sharing.sees(seen(&[(&sharing.me, &[]), (&other, &[7, 8])]));
        let held = sharing.takes();
        assert_eq!(held.len(), 5);
        assert!(matches!(sharing.turn(AccountId(7)), Turn::Held(_)));
        let left = ids(0..10)
            .into_iter()
            .filter(|one| !held.contains_key(one))
            .find(|one| sharing.turn(*one) == Turn::Later);
        let left = left.unwrap();
        clock.advance(GRACE);
        sharing.sees(seen(&[(&sharing.me, &[]), (&other, &[7, 8])]));
        assert_eq!(sharing.turn(left), Turn::Take);
        assert!(matches!(sharing.turn(AccountId(7)), Turn::Held(_)));
        // Without an answer of the database for long, the lease itself is asked.
        clock.advance(STALE);
        assert_eq!(sharing.turn(AccountId(7)), Turn::Take);
    }

    #[tokio::test]
    async fn accounts_at_rest_are_handed_over_first_and_a_long_sync_ends_between_two_pages() {
        let (sharing, clock) = sharing().await;
        let other = process(1);
        sharing.sees(seen(&[]));
        let mut held = sharing.takes();
        assert_eq!(held.len(), 10);
        let mine: Vec<i64> = (0..10).collect();
        for number in 0..9 {
            let doing = if number < 6 {
                Doing::Syncing
            } else {
                Doing::Verifying
            };
            held[&AccountId(number)].0.handover().now(doing);
        }
        sharing.sees(seen(&[(&sharing.me, &mine), (&other, &[])]));
        let asked = |held: &BTreeMap<AccountId, (HeldAccount, CancellationToken)>| {
            let asked = held
                .iter()
                .filter(|(_, (one, _))| one.handover().is_asked());
            asked.map(|(account, _)| account.0).collect::<Vec<_>>()
        };
        assert_eq!(asked(&held), [0, 1, 2, 3, 9]);
        // The one at rest is gone, and nobody else is to take it back here.
        held.remove(&AccountId(9));
        assert_eq!(sharing.turn(AccountId(9)), Turn::Later);
        sharing.sees(seen(&[(&sharing.me, &mine[..9]), (&other, &[9])]));
        assert_eq!(asked(&held), [0, 1, 2, 3]);
        assert!(held.values().all(|(_, stop)| !stop.is_cancelled()));

        clock.advance(PATIENCE);
        held[&AccountId(3)].0.handover().now(Doing::Verifying);
        sharing.sees(seen(&[(&sharing.me, &mine[..9]), (&other, &[9])]));
        let stopped = held.iter().filter(|(_, (_, stop))| stop.is_cancelled());
        assert_eq!(
            stopped.map(|(account, _)| account.0).collect::<Vec<_>>(),
            [0, 1, 2]
        );

        // The other one has ended: nothing is to be handed over any more.
        sharing.sees(seen(&[(&sharing.me, &mine[..9])]));
        assert_eq!(asked(&held), [] as [i64; 0]);
    }

    #[tokio::test]
    async fn what_nobody_took_is_not_handed_over_again_at_once() {
        let (sharing, clock) = sharing().await;
        let other = process(1);
        sharing.sees(seen(&[]));
        let mut held = sharing.takes();
        let mine: Vec<i64> = (0..10).collect();
        let both = || seen(&[(&sharing.me, &mine), (&other, &[])]);
        sharing.sees(both());
        held.retain(|_, (one, _)| !one.handover().is_asked());
        assert_eq!(held.len(), 5);
        sharing.sees(seen(&[(&sharing.me, &mine[5..]), (&other, &[])]));
        assert_eq!(sharing.takes().len(), 0);
        clock.advance(GRACE);
        sharing.sees(seen(&[(&sharing.me, &mine[5..]), (&other, &[])]));
        held.extend(sharing.takes());
        assert_eq!(held.len(), 10);
        sharing.sees(both());
        assert!(held.values().all(|(one, _)| !one.handover().is_asked()));
        clock.advance(KEEP_ALL + SECOND);
        sharing.sees(both());
        assert_eq!(
            held.values()
                .filter(|(one, _)| one.handover().is_asked())
                .count(),
            5
        );
    }
}
