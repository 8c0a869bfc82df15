//! What a comparison found.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::data::{Timestamp, VersionTotals};
use crate::store::StoredVersion;

/// What was found of one stream or list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Up to which creation time it was compared; `None` for a list, which is compared whole.
    pub until: Option<Timestamp>,
    /// Records that the API counts.
    pub shown: u64,
    /// Rows that are stored.
    pub stored: u64,
    /// Records that the API shows and that are not stored.
    pub missing: BTreeSet<Uuid>,
    /// Records that are stored in an older version, or in another partition.
    pub older: BTreeSet<Uuid>,
    /// Records that are stored in a version which is newer by its `updatedAt`.
    pub newer: BTreeSet<Uuid>,
    /// Records that are stored in this version with another content.
    pub altered: BTreeSet<Uuid>,
    /// Records that are stored and that the API has no longer.
    pub gone: BTreeSet<Uuid>,
    /// Records met that changed after the last pass: the next one reads them.
    pub unread: u64,
    /// Records met that are kept among the rejects.
    pub rejected: u64,
    /// Windows that were re-read although their counts agree.
    pub sampled: u64,
    /// Windows of a first load that are not read yet, and were not compared.
    pub loading: u64,
    /// Records that the platform counts and was found never to show.
    pub gaps: u64,
    /// Records that could not be asked for by their ids, and what was answered.
    pub failed: Vec<(Uuid, String)>,
    /// Records that are still to be asked for by their ids.
    pub left: u64,
    /// Whether a list lacks too much to be believed at once.
    pub doubted: bool,
    /// How many sessions each version of their list counts, if both answered.
    pub versions: Option<VersionTotals>,
    /// How many contacts have which status that no list shows.
    pub unlisted: BTreeMap<String, u64>,
    /// Of what was to be repaired, what is as it was.
    pub unrepaired: BTreeSet<Uuid>,
    /// What the platform shows of the differences that were found last.
    pub(in crate::sync) expected: BTreeMap<Uuid, ListedVersion>,
    /// Those of `gone` that were found last.
    pub(in crate::sync) vanished: BTreeSet<Uuid>,
}

/// What the platform shows of a record, as far as it is compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::sync) struct ListedVersion {
    /// Its `updatedAt`.
    pub(in crate::sync) version: Option<Timestamp>,
    /// Where the resource is listed in several parts, the one that the record belongs to by its own
    /// words; `None` if it does not say.
    pub(in crate::sync) partition: Option<String>,
    /// What its content is compared by, if that was compared.
    pub(in crate::sync) hash: Option<i64>,
}

/// How a record that is stored differs from what is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sync) enum Difference {
    /// It is not stored.
    Missing,
    /// The stored one is older, or elsewhere.
    Older,
    /// The stored one is newer.
    Newer,
    /// Only the content is another.
    Altered,
}

impl ListedVersion {
    /// How the stored row differs from this by what both say of themselves; `None` if it does not.
    pub(in crate::sync) fn differs(&self, stored: Option<&StoredVersion>) -> Option<Difference> {
        let Some(stored) = stored.filter(|stored| !stored.removed) else {
            return Some(Difference::Missing);
        };
        let is_elsewhere = self.partition.is_some() && self.partition != stored.partition;
        match (self.version, stored.updated_at) {
            (Some(shown), Some(stored)) if shown < stored => Some(Difference::Newer),
            (shown, stored) if shown != stored || is_elsewhere => Some(Difference::Older),
            _ => None,
        }
    }

    /// Whether a row that is this record is stored.
    pub(in crate::sync) fn is_stored(&self, stored: Option<&StoredVersion>) -> bool {
        let has_content = |stored: &StoredVersion| self.hash.is_none() || self.hash == stored.hash;
        self.differs(stored).is_none() && stored.is_some_and(has_content)
    }
}

impl Comparison {
    /// How many differences were found.
    pub fn differences(&self) -> u64 {
        (self.missing.len() + self.differing().count() + self.gone.len()) as u64
    }

    /// The records that are there on both sides, and not the same.
    pub fn differing(&self) -> impl Iterator<Item = Uuid> {
        let sets = [&self.older, &self.newer, &self.altered];
        sets.into_iter().flatten().copied()
    }

    /// Whether the counts differ although nothing was found that explains it: no difference, nothing
    /// that the next pass reads, no reject, no known gap, and nothing that is still to be asked for. A
    /// server may count what it does not show.
    pub fn is_unexplained(&self) -> bool {
        let asked = self.failed.len() as u64 + self.left;
        let explained = self.differences() + self.unread + self.rejected + asked;
        explained == 0 && self.shown.abs_diff(self.stored) > self.gaps
    }

    /// Whether another version of the session list shows sessions that the one which is read does not.
    pub fn is_lacking(&self) -> bool {
        self.versions.is_some_and(|versions| versions.lacks())
    }

    /// Notes a difference.
    pub(in crate::sync) fn note(&mut self, id: Uuid, how: Difference, shown: ListedVersion) {
        let set = match how {
            Difference::Missing => &mut self.missing,
            Difference::Older => &mut self.older,
            Difference::Newer => &mut self.newer,
            Difference::Altered => &mut self.altered,
        };
        set.insert(id);
        self.expected.insert(id, shown);
    }
}
