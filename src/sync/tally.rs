//! Counts the records of a window, and decides whether these are all its records.

use std::collections::HashSet;

use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use super::walk::{Mark, Stamp, newest};
use crate::data::{Page, Timestamp, counted};

/// What one reading of a window showed, to be compared with what the server counts.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a finding of its own"
)]
pub(super) struct Tally {
    stamp: Stamp,
    until: Timestamp,
    ids: HashSet<Uuid>,
    /// Hashes of the records without a readable id.
    unreadable: HashSet<u64>,
    /// Whether a record came twice.
    repeated: bool,
    /// Totals, in the order in which the pages were added.
    first_total: Option<u64>,
    last_total: Option<u64>,
    grew: bool,
    shrank: bool,
    silent: bool,
    /// How many pages were added.
    pages: u32,
    /// The newest change.
    pub(super) newest: Option<Timestamp>,
    /// The newest change, not counting those after `until`.
    pub(super) mark: Option<Mark>,
}

impl Tally {
    /// An empty tally. `stamp` is the time of a change. Changes after `until` do not count for the mark.
    pub(super) fn new(stamp: Stamp, until: Timestamp) -> Self {
        Self {
            stamp,
            until,
            ids: HashSet::new(),
            unreadable: HashSet::new(),
            repeated: false,
            first_total: None,
            last_total: None,
            grew: false,
            shrank: false,
            silent: false,
            pages: 0,
            newest: None,
            mark: None,
        }
    }

    /// Adds a page.
    pub(super) fn add(&mut self, page: &Page) {
        self.add_total(page);
        self.newest = self.newest.max(newest(page, self.stamp));
        self.mark = Mark::later(self.mark, Mark::of(page, self.stamp, self.until));
        for item in &page.items {
            let is_new = match item.head.id {
                Some(id) => self.ids.insert(id),
                None => self.unreadable.insert(xxh3_64(page.raw(item).as_bytes())),
            };
            self.repeated |= !is_new;
        }
    }

    /// Adds only a page's total, if its records will be read again.
    pub(super) fn add_total(&mut self, page: &Page) {
        self.pages += 1;
        let Some(total) = page.total else {
            self.silent = true;
            return;
        };
        self.grew |= self.last_total.is_some_and(|last| total > last);
        self.shrank |= self.last_total.is_some_and(|last| total < last);
        self.first_total.get_or_insert(total);
        self.last_total = Some(total);
    }

    /// Adds another reading of the same window. The smallest of all totals is kept: a replica that counts
    /// more need not be right.
    fn join(&mut self, other: &Self) {
        self.ids.extend(&other.ids);
        self.unreadable.extend(&other.unreadable);
        self.newest = self.newest.max(other.newest);
        self.mark = Mark::later(self.mark, other.mark);
        let totals = [self.last_total, other.first_total, other.last_total];
        self.last_total = totals.into_iter().flatten().min();
    }

    /// The ids that were seen.
    pub(super) fn ids(&self) -> impl Iterator<Item = Uuid> {
        self.ids.iter().copied()
    }

    /// How many different records were seen.
    pub(super) fn records(&self) -> u64 {
        (self.ids.len() + self.unreadable.len()) as u64
    }

    /// The last total of the server.
    pub(super) fn counted(&self) -> u64 {
        self.last_total.unwrap_or(0)
    }

    /// Whether a record came twice. Then the border between two pages moved between their answers.
    pub(super) const fn is_repeated(&self) -> bool {
        self.repeated
    }

    /// Whether the total did not become smaller, and at least as many different records came as the last
    /// total says.
    pub(super) fn is_complete(&self) -> bool {
        !self.silent
            && self.last_total >= self.first_total
            && self.last_total.is_some_and(|last| self.records() >= last)
    }

    /// Why the window may not have been read completely. `None` if there is no reason.
    ///
    /// `leaving` says whether records may leave the window while it is read. If not, its total must be the
    /// same in every answer. `missing` records are known to be counted but not shown.
    pub(super) fn objection(&self, leaving: bool, missing: u64) -> Option<String> {
        let (Some(first), Some(last)) = (self.first_total, self.last_total) else {
            return Some("the server sent no total".to_owned());
        };
        let seen = self.records();
        if self.silent {
            Some("some answers of the server had no total".to_owned())
        } else if self.grew {
            Some(format!(
                "its total grew from {first} to {last} while it was read"
            ))
        } else if !leaving && first != last {
            Some(format!(
                "its total changed from {first} to {last} while it was read"
            ))
        } else if seen + missing < last || seen > first {
            Some(format!(
                "the server counts {} but showed {seen}",
                counted(last, "record")
            ))
        } else {
            None
        }
    }

    /// A value that is equal for two readings if they showed the same records, in any order, with the same
    /// total. `None` if the pages of one reading have different totals: one replica may lag behind another,
    /// and each replica may answer for the same pages every time. A reading of one page is a single answer,
    /// which cannot be torn. So its total is left out of the comparison.
    fn print(&self) -> Option<Print> {
        let is_silent = self.silent && self.last_total.is_some();
        if self.grew || self.shrank || is_silent {
            return None;
        }
        let ids = self.ids.iter().map(|id| xxh3_64(id.as_bytes()));
        let unreadable = self.unreadable.iter().copied();
        Some(Print {
            records: self.records(),
            sum: ids.chain(unreadable).fold(0, u64::wrapping_add),
            counted: self.last_total.filter(|_| self.pages > 1),
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Print {
    records: u64,
    sum: u64,
    counted: Option<u64>,
}

/// The readings of one window.
#[derive(Debug, Default)]
pub(super) struct Readings {
    /// How many readings were not believed.
    pub(super) attempts: u32,
    last: Option<Print>,
    /// What all of them showed together.
    union: Option<Tally>,
}

/// The judgement on a reading of a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Judgement {
    /// It showed everything.
    Complete,
    /// It showed the same as the reading before. So nothing changes, and this many records are counted but
    /// not shown.
    Still { missing: u64 },
    /// Records changed during the reading.
    Moving(String),
    /// After enough attempts, no two consecutive readings showed the same. What all of them showed together
    /// is believed.
    Torn,
}

impl Readings {
    /// Judges the next reading. `objection` is the reason why it may not be complete.
    pub(super) fn judge(&mut self, tally: &Tally, objection: Option<String>) -> Judgement {
        let Some(objection) = objection else {
            return Judgement::Complete;
        };
        self.attempts += 1;
        let union = self
            .union
            .get_or_insert_with(|| Tally::new(tally.stamp, tally.until));
        union.join(tally);
        let counted = if tally.pages > 1 {
            tally.counted()
        } else {
            union.counted()
        };
        let print = tally.print();
        if std::mem::replace(&mut self.last, print) == print && print.is_some() {
            let missing = counted.saturating_sub(tally.records());
            return Judgement::Still { missing };
        }
        Judgement::Moving(objection)
    }

    /// What all readings showed together, with the smallest total.
    pub(super) fn united(&mut self) -> Option<Tally> {
        self.union.take()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::data::{Head, Item};

    fn read(pages: &[(&[u128], Option<u64>)]) -> Tally {
        let mut tally = Tally::new(|head| head.updated_at, Timestamp::from_micros(0));
        for (ids, total) in pages {
            let items = ids.iter().map(|&id| Item {
                head: Head {
                    id: Some(Uuid::from_u128(id)),
                    ..Head::default()
                },
                raw: 0..0,
            });
            let now = Timestamp::from_micros(0);
            tally.add(&Page {
                total: *total,
                ..Page::new(Arc::from(""), items.collect(), now)
            });
        }
        tally
    }

    fn judge(readings: &mut Readings, tally: &Tally) -> Judgement {
        readings.judge(tally, tally.objection(true, 0))
    }

    #[test]
    fn two_readings_in_a_row_that_show_the_same_are_believed_whatever_is_counted() {
        let mut readings = Readings::default();
        let short = read(&[(&[1, 2], Some(4)), (&[3], Some(4))]);
        assert!(matches!(judge(&mut readings, &short), Judgement::Moving(_)));
        let other = read(&[(&[1, 2], Some(4)), (&[4], Some(4))]);
        assert!(matches!(judge(&mut readings, &other), Judgement::Moving(_)));
        let shuffled = read(&[(&[4, 2], Some(4)), (&[1], Some(4))]);
        let still = Judgement::Still { missing: 1 };
        assert_eq!(judge(&mut readings, &shuffled), still);
        assert_eq!(readings.attempts, 3);

        for total in [None, Some(1)] {
            let mut readings = Readings::default();
            let more = read(&[(&[1, 2], total), (&[3], total)]);
            assert!(matches!(judge(&mut readings, &more), Judgement::Moving(_)));
            let still = Judgement::Still { missing: 0 };
            assert_eq!(judge(&mut readings, &more), still);
        }
    }

    #[test]
    fn two_copies_of_which_one_lags_behind_are_not_believed() {
        let mut readings = Readings::default();
        for total in [Some(5), None] {
            let swapped = read(&[(&[1, 2], Some(4)), (&[4], total)]);
            for _ in 0..3 {
                let judgement = judge(&mut readings, &swapped);
                assert!(matches!(judgement, Judgement::Moving(_)), "{judgement:?}");
            }
        }
    }

    #[test]
    fn one_answer_is_the_same_whatever_it_counts() {
        let mut readings = Readings::default();
        let one = read(&[(&[1, 2], Some(3))]);
        let other = read(&[(&[1, 2], Some(4))]);
        assert!(matches!(judge(&mut readings, &other), Judgement::Moving(_)));
        let still = Judgement::Still { missing: 1 };
        assert_eq!(judge(&mut readings, &one), still);
        assert_eq!(judge(&mut readings, &other), still);
    }

    #[test]
    fn readings_that_differ_are_united_under_the_smallest_total() {
        let mut readings = Readings::default();
        for (ids, total) in [(&[1, 2][..], 4), (&[2, 3], 5), (&[1, 3], 4)] {
            let tally = read(&[(ids, Some(total))]);
            assert!(matches!(judge(&mut readings, &tally), Judgement::Moving(_)));
        }
        let united = readings.united().unwrap();
        assert_eq!((united.records(), united.counted()), (3, 4));
    }

    #[test]
    fn what_is_known_to_be_missing_speaks_against_nothing() {
        let short = read(&[(&[1, 2], Some(4)), (&[3], Some(4))]);
        assert_eq!(short.objection(true, 1), None);
        assert!(short.objection(true, 0).is_some());
        let whole = read(&[(&[1, 2], Some(4)), (&[3, 4], Some(4))]);
        assert_eq!(whole.objection(false, 1), None);
    }
}
