//! Records of one kind: what is visible now, what becomes visible later, and in which order.
//!
//! A record is a slot of a few bytes, enough to filter and order by; the rest is drawn from the
//! seed when it is shown. Only records that were changed are kept whole.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use super::ranked::Ranked;

/// What can be filtered and ordered by without looking at the whole record.
pub(super) trait Slot: Copy {
    fn created(&self) -> i64;
    fn updated(&self) -> i64;
    fn set_updated(&mut self, ticks: i64);
    /// Whether the record is there at all.
    fn alive(&self) -> bool;
    fn bury(&mut self);
}

/// A version of a record: its slot, and the whole record where it is not the generator's.
#[derive(Debug, Clone)]
pub(super) struct Version<S, R> {
    pub(super) slot: S,
    pub(super) record: Option<Box<R>>,
}

#[derive(Debug)]
pub(super) struct Table<S, R> {
    slots: Vec<S>,
    changed: HashMap<u32, Box<R>>,
    foreign: HashMap<Uuid, u32>,
    pub(super) by_created: Ranked,
    pub(super) by_updated: Ranked,
    pending: BTreeMap<(i64, u64), (u32, Version<S, R>)>,
    newest: HashMap<u32, (u64, Version<S, R>)>,
    /// Which commit of a record became visible last, while older ones may still be pending.
    shown: HashMap<u32, u64>,
    commits: u64,
}

fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

impl<S: Slot, R: Clone> Table<S, R> {
    pub(super) fn new(slots: Vec<S>) -> Self {
        let keys = |key: fn(&S) -> i64| {
            Ranked::new(
                slots
                    .iter()
                    .enumerate()
                    .map(|(index, slot)| (key(slot), number(index)))
                    .collect(),
            )
        };
        Self {
            by_created: keys(S::created),
            by_updated: keys(S::updated),
            slots,
            changed: HashMap::new(),
            foreign: HashMap::new(),
            pending: BTreeMap::new(),
            newest: HashMap::new(),
            shown: HashMap::new(),
            commits: 0,
        }
    }

    /// Slots ever used, those of deleted records included.
    pub(super) fn size(&self) -> u32 {
        number(self.slots.len())
    }

    pub(super) fn slot(&self, index: u32) -> Option<&S> {
        self.slots.get(index as usize)
    }

    /// The whole visible record, if it is not the generator's.
    pub(super) fn changed(&self, index: u32) -> Option<&R> {
        self.changed.get(&index).map(Box::as_ref)
    }

    /// The slot of an id that the generator did not give.
    pub(super) fn foreign(&self, id: Uuid) -> Option<u32> {
        self.foreign.get(&id).copied()
    }

    pub(super) fn adopt(&mut self, id: Uuid, index: u32) {
        self.foreign.insert(id, index);
    }

    /// A new slot, empty until a version of it becomes visible.
    pub(super) fn reserve(&mut self, mut slot: S) -> u32 {
        slot.bury();
        self.slots.push(slot);
        number(self.slots.len() - 1)
    }

    /// The newest version, visible or not.
    pub(super) fn committed(&self, index: u32) -> Option<Version<S, R>> {
        if let Some((_, version)) = self.newest.get(&index) {
            return Some(version.clone());
        }
        Some(Version {
            slot: *self.slot(index)?,
            record: self.changed.get(&index).cloned(),
        })
    }

    /// Makes a version visible now. What was to become visible of this record is superseded.
    pub(super) fn show(&mut self, index: u32, version: Version<S, R>) {
        self.commits += 1;
        if self.newest.remove(&index).is_some() {
            self.shown.insert(index, self.commits);
        }
        self.replace(index, version);
    }

    /// Makes a version visible at an instant, unless a newer one is visible by then.
    pub(super) fn show_at(&mut self, at: i64, index: u32, version: Version<S, R>) {
        self.commits += 1;
        self.newest.insert(index, (self.commits, version.clone()));
        self.pending.insert((at, self.commits), (index, version));
    }

    /// Makes visible what is due.
    pub(super) fn settle(&mut self, now: i64) {
        while let Some(entry) = self.pending.first_entry() {
            if entry.key().0 > now {
                return;
            }
            let ((_, commit), (index, version)) = entry.remove_entry();
            if self.shown.get(&index).is_some_and(|shown| *shown > commit) {
                continue;
            }
            self.shown.insert(index, commit);
            if self
                .newest
                .get(&index)
                .is_some_and(|(newest, _)| *newest == commit)
            {
                self.newest.remove(&index);
            }
            self.replace(index, version);
        }
        self.shown.clear();
    }

    fn replace(&mut self, index: u32, version: Version<S, R>) {
        let Some(slot) = self.slots.get_mut(index as usize) else {
            return;
        };
        let old = std::mem::replace(slot, version.slot);
        if old.alive() {
            self.by_created.remove((old.created(), index));
            self.by_updated.remove((old.updated(), index));
        }
        if version.slot.alive() {
            self.by_created.insert((version.slot.created(), index));
            self.by_updated.insert((version.slot.updated(), index));
        }
        match version.record {
            Some(record) => {
                self.changed.insert(index, record);
            }
            None => {
                self.changed.remove(&index);
            }
        }
    }
}
