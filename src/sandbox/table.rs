//! The records of one kind: which are visible, which become visible later, and their order.
//!
//! A record takes a few bytes, enough to filter and sort. The rest is generated from the seed when
//! it is shown. Only changed records are stored completely.

use std::collections::{BTreeMap, HashMap, VecDeque};

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

/// Versions that were taken back, newest first.
pub(super) type Undone<S, R> = Vec<(u32, Version<S, R>)>;

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
    /// What was replaced, and when; oldest first.
    past: VecDeque<(i64, u32, Version<S, R>)>,
    /// How much of the past is kept, in ticks.
    keep: i64,
    now: i64,
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
            past: VecDeque::new(),
            keep: 0,
            now: 0,
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
        self.change(self.now, index, version);
    }

    /// Makes a version visible at an instant, unless a newer one is visible by then.
    pub(super) fn show_at(&mut self, at: i64, index: u32, version: Version<S, R>) {
        self.commits += 1;
        self.newest.insert(index, (self.commits, version.clone()));
        self.pending.insert((at, self.commits), (index, version));
    }

    /// Makes visible what is due, and forgets the past but for so many ticks.
    pub(super) fn settle(&mut self, now: i64, keep: i64) {
        (self.now, self.keep) = (now, keep);
        while self.past.front().is_some_and(|(at, ..)| *at < now - keep) {
            self.past.pop_front();
        }
        while let Some(entry) = self.pending.first_entry() {
            if entry.key().0 > now {
                return;
            }
            let ((at, commit), (index, version)) = entry.remove_entry();
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
            self.change(at, index, version);
        }
        self.shown.clear();
    }

    fn change(&mut self, at: i64, index: u32, version: Version<S, R>) {
        if let Some(before) = self.replace(index, version)
            && self.keep > 0
        {
            self.past.push_back((at, index, before));
        }
    }

    /// Takes back what happened after an instant, as far as it is remembered.
    pub(super) fn go_back(&mut self, to: i64) -> Undone<S, R> {
        let mut undone = Vec::new();
        for position in (0..self.past.len()).rev() {
            let (at, index, version) = self.past[position].clone();
            if at <= to {
                break;
            }
            undone.extend(self.replace(index, version).map(|after| (index, after)));
        }
        undone
    }

    /// Makes again what was taken back.
    pub(super) fn return_to(&mut self, undone: Undone<S, R>) {
        for (index, version) in undone.into_iter().rev() {
            self.replace(index, version);
        }
    }

    /// Puts a version in the place of another, which is the answer.
    fn replace(&mut self, index: u32, version: Version<S, R>) -> Option<Version<S, R>> {
        let slot = self.slots.get_mut(index as usize)?;
        let old = std::mem::replace(slot, version.slot);
        if old.alive() {
            self.by_created.remove((old.created(), index));
            self.by_updated.remove((old.updated(), index));
        }
        if version.slot.alive() {
            self.by_created.insert((version.slot.created(), index));
            self.by_updated.insert((version.slot.updated(), index));
        }
        let record = match version.record {
            Some(record) => self.changed.insert(index, record),
            None => self.changed.remove(&index),
        };
        Some(Version { slot: old, record })
    }
}
