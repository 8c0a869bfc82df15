//! A sorted collection with fast access by position.
//!
//! Offset paging reads from, for example, position 70,000 on, and every change moves a record to
//! another position. The records are kept in sorted runs of limited length. To find a position,
//! add up a few hundred lengths; to move a record, shift one run.

/// A key: the value ordered by, then the record's slot, which breaks ties.
pub(super) type Key = (i64, u32);

/// Entries a run may hold before it is cut in two.
const FULL: usize = 1_024;

/// A sorted set of keys with positions.
#[derive(Debug, Default)]
pub(super) struct Ranked {
    runs: Vec<Vec<Key>>,
    len: usize,
}

impl Ranked {
    /// From keys in any order.
    pub(super) fn new(mut keys: Vec<Key>) -> Self {
        keys.sort_unstable();
        Self {
            len: keys.len(),
            runs: keys.chunks(FULL / 2).map(<[Key]>::to_vec).collect(),
        }
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The run in which a key is or would be.
    fn run(&self, key: Key) -> usize {
        self.runs
            .partition_point(|run| run.last().is_some_and(|last| *last < key))
    }

    pub(super) fn insert(&mut self, key: Key) {
        self.len += 1;
        if self.runs.is_empty() {
            self.runs.push(Vec::new());
        }
        let at = self.run(key).min(self.runs.len() - 1);
        let run = &mut self.runs[at];
        let position = run.partition_point(|entry| *entry < key);
        run.insert(position, key);
        if run.len() > FULL {
            let tail = run.split_off(FULL / 2);
            self.runs.insert(at + 1, tail);
        }
    }

    pub(super) fn remove(&mut self, key: Key) {
        let at = self.run(key);
        let Some(run) = self.runs.get_mut(at) else {
            return;
        };
        if let Ok(position) = run.binary_search(&key) {
            run.remove(position);
            self.len -= 1;
            if run.is_empty() {
                self.runs.remove(at);
            }
        }
    }

    /// How many keys have a smaller value.
    pub(super) fn below(&self, value: i64) -> usize {
        let at = self.run((value, 0));
        let before: usize = self.runs[..at].iter().map(Vec::len).sum();
        let within = self
            .runs
            .get(at)
            .map_or(0, |run| run.partition_point(|entry| *entry < (value, 0)));
        before + within
    }

    /// The slots at positions `from..to`, in order.
    pub(super) fn slots(&self, from: usize, to: usize) -> impl Iterator<Item = u32> + '_ {
        let mut skip = from;
        let mut first = 0;
        while let Some(run) = self.runs.get(first) {
            if skip < run.len() {
                break;
            }
            skip -= run.len();
            first += 1;
        }
        self.runs[first..]
            .iter()
            .flatten()
            .skip(skip)
            .take(to.saturating_sub(from))
            .map(|key| key.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn positions_agree_with_a_sorted_vector(
            start in proptest::collection::vec(0_i64..50, 0..3_000),
            changes in proptest::collection::vec((proptest::bool::ANY, 0_i64..50), 0..200),
            value in 0_i64..50,
            from in 0_usize..3_000,
        ) {
            let mut model: Vec<Key> = (0_u32..).zip(&start).map(|(slot, value)| (*value, slot)).collect();
            let mut ranked = Ranked::new(model.clone());
            for (slot, (add, value)) in (10_000_u32..).zip(changes) {
                if add || model.is_empty() {
                    model.push((value, slot));
                    ranked.insert((value, slot));
                } else {
                    let gone = model.swap_remove(usize::try_from(value).unwrap() % model.len());
                    ranked.remove(gone);
                }
            }
            model.sort_unstable();
            proptest::prop_assert_eq!(ranked.len(), model.len());
            proptest::prop_assert_eq!(ranked.below(value), model.iter().filter(|key| key.0 < value).count());
            let expected: Vec<u32> = model.iter().skip(from).take(100).map(|key| key.1).collect();
            let shown: Vec<u32> = ranked.slots(from, from + 100).collect();
            proptest::prop_assert_eq!(shown, expected);
        }
    }
}
