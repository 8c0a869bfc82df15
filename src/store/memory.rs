//! What this process has committed of the small tables, so that the contact, channel and tags that
//! a thousand sessions mention travel to the database once.
//!
//! Rows are remembered after their commit and never before, and all is forgotten when a commit
//! fails or the lease changes. Bounded: the older half goes when the newer one is full.

use std::collections::HashMap;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use super::lease::Lease;
use crate::data::Guard;

/// Entries a generation; two generations take some 3 MB.
const GENERATION: usize = 20_000;

/// A row: account, table, kind of write, key.
pub(super) type RowId = (i64, &'static str, Guard, Uuid);

#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    epochs: HashMap<i64, i64>,
    new: HashMap<RowId, i64>,
    old: HashMap<RowId, i64>,
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, Generations> {
        // Nothing in here panics while it is held, and a stale entry would be forgotten below.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets everything if the lease is not the one that the memory belongs to: another process
    /// may have written since.
    pub(super) fn enter(&self, lease: &Lease) {
        let mut memory = self.lock();
        let known = memory.epochs.insert(lease.account.0, lease.epoch);
        if known.is_some_and(|epoch| epoch != lease.epoch) {
            memory.new.clear();
            memory.old.clear();
        }
    }

    /// Whether exactly this content is known to be committed.
    pub(super) fn holds(&self, row: &RowId, hash: i64) -> bool {
        let memory = self.lock();
        memory.new.get(row).or_else(|| memory.old.get(row)) == Some(&hash)
    }

    pub(super) fn remember(&self, rows: impl IntoIterator<Item = (RowId, i64)>) {
        let mut memory = self.lock();
        for (row, hash) in rows {
            if memory.new.len() >= GENERATION {
                memory.old = mem::take(&mut memory.new);
            }
            memory.new.insert(row, hash);
        }
    }

    /// Forgets a row that was written in another way.
    pub(super) fn forget(&self, row: &RowId) {
        let mut memory = self.lock();
        memory.new.remove(row);
        memory.old.remove(row);
    }

    pub(super) fn clear(&self) {
        let mut memory = self.lock();
        memory.new.clear();
        memory.old.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(number: u128) -> RowId {
        (1, "contacts", Guard::Observed, Uuid::from_u128(number))
    }

    #[test]
    fn it_holds_what_it_was_told_last_and_stays_bounded() {
        let memory = Memory::default();
        memory.remember([(row(1), 10)]);
        memory.remember([(row(1), 11)]);
        assert!(memory.holds(&row(1), 11));
        assert!(!memory.holds(&row(1), 10));
        memory.remember((0..100_000).map(|number| (row(number), 0)));
        let inner = memory.lock();
        assert!(inner.new.len() + inner.old.len() <= 2 * GENERATION);
    }
}
