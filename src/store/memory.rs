//! Remembers which rows of the small tables this process has committed, so that a contact, channel
//! or tag that a thousand sessions mention is sent to the database once.
//!
//! Rows are remembered after their commit, never before. Everything is forgotten when a commit
//! fails, when the lease changes, and when a writing connection is opened. The server may have lost
//! commits meanwhile, for example after a crash with `synchronous_commit = off` or a failover to a
//! standby that lags. The commits of a connection stay as long as the connection lives. The memory
//! is bounded: when the newer half is full, the older half is dropped.

use std::collections::HashMap;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use super::lease::Lease;
use crate::data::Guard;

/// Entries per generation. Two generations take about 3 MB.
const GENERATION: usize = 20_000;

/// A row: account, table, kind of write, key.
pub(super) type RowId = (i64, &'static str, Guard, Uuid);

#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    epochs: HashMap<i64, i64>,
    /// How often everything was forgotten.
    forgotten: u64,
    new: HashMap<RowId, i64>,
    old: HashMap<RowId, i64>,
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, Generations> {
        // Nothing in here panics while it is held, and a stale entry would be forgotten below.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets everything if the memory belongs to another lease, since another process may have
    /// written meanwhile. Returns how often everything was forgotten so far, for
    /// [`Self::remember`].
    pub(super) fn enter(&self, lease: &Lease) -> u64 {
        let mut memory = self.lock();
        let known = memory.epochs.insert(lease.account.0, lease.epoch);
        if known.is_some_and(|epoch| epoch != lease.epoch) {
            memory.clear();
        }
        memory.forgotten
    }

    /// Whether exactly this content is known to be committed.
    pub(super) fn holds(&self, row: &RowId, hash: i64) -> bool {
        let memory = self.lock();
        memory.new.get(row).or_else(|| memory.old.get(row)) == Some(&hash)
    }

    /// Remembers rows of a commit that started when everything had been forgotten this often. If it
    /// was forgotten again since, the commit may be lost already, and is not remembered.
    pub(super) fn remember(&self, forgotten: u64, rows: impl IntoIterator<Item = (RowId, i64)>) {
        let mut memory = self.lock();
        if memory.forgotten != forgotten {
            return;
        }
        for (row, hash) in rows {
            if memory.new.len() >= GENERATION {
                memory.old = mem::take(&mut memory.new);
            }
            memory.new.insert(row, hash);
        }
    }

    /// Forgets a row that was changed by another kind of write.
    pub(super) fn forget(&self, row: &RowId) {
        let mut memory = self.lock();
        memory.new.remove(row);
        memory.old.remove(row);
    }

    pub(super) fn clear(&self) {
        self.lock().clear();
    }
}

impl Generations {
    fn clear(&mut self) {
        self.new.clear();
        self.old.clear();
        self.forgotten += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Timestamp;
    use crate::store::AccountId;

    fn row(number: u128) -> RowId {
        (1, "contacts", Guard::Observed, Uuid::from_u128(number))
    }

    #[test]
    fn it_holds_what_it_was_told_last_and_stays_bounded() {
        let memory = Memory::default();
        memory.remember(0, [(row(1), 10)]);
        memory.remember(0, [(row(1), 11)]);
        assert!(memory.holds(&row(1), 11));
        assert!(!memory.holds(&row(1), 10));
        memory.remember(0, (0..100_000).map(|number| (row(number), 0)));
        let inner = memory.lock();
        assert!(inner.new.len() + inner.old.len() <= 2 * GENERATION);
    }

    #[test]
    fn a_commit_from_before_all_was_forgotten_is_not_remembered() {
        let memory = Memory::default();
        let lease = Lease {
            account: AccountId(1),
            epoch: 1,
            reads_from: Timestamp::from_micros(0),
        };
        let begun = memory.enter(&lease);
        memory.clear();
        memory.remember(begun, [(row(1), 10)]);
        assert!(!memory.holds(&row(1), 10));
        memory.remember(memory.enter(&lease), [(row(1), 10)]);
        assert!(memory.holds(&row(1), 10));
        // Whoever had the lease meanwhile may have written.
        let next = Lease { epoch: 2, ..lease };
        assert_ne!(memory.enter(&next), begun);
        assert!(!memory.holds(&row(1), 10));
    }
}
