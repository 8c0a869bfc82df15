//! What a comparison found.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::data::{Timestamp, VersionTotals};
use crate::store::StoredVersion;

/// What was found of one stream or list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// The creation time up to which it was compared; `None` for a list, which is compared completely.
    pub until: Option<Timestamp>,
    /// How many records the API counts.
    pub shown: u64,
    /// How many rows are stored.
    pub stored: u64,
    /// Records that the API shows but that are not stored.
    pub missing: BTreeSet<Uuid>,
    /// Records that are stored in an older version, or in another partition.
    pub older: BTreeSet<Uuid>,
    /// Records that are stored in a version with a newer `updatedAt`.
    pub newer: BTreeSet<Uuid>,
    /// Records that are stored in this version with different content.
    pub altered: BTreeSet<Uuid>,
    /// Records that are stored but that the API no longer has.
    pub gone: BTreeSet<Uuid>,
    /// How many of the records that were met changed after the last pass. The next pass reads them.
    pub unread: u64,
    /// How many of the records that were met are kept as rejects.
    pub rejected: u64,
    /// How many windows were read although their counts are equal.
    pub sampled: u64,
    /// How many windows of a first load are not read yet, and were not compared.
    pub loading: u64,
    /// How many records the platform counts but never showed.
    pub gaps: u64,
    /// Records that could not be read by id, with the errors.
    pub failed: Vec<(Uuid, String)>,
    /// How many records are still to be read by id.
    pub left: u64,
    /// Whether a list lacks too many records to be believed at once.
    pub doubted: bool,
    /// How many sessions each version of the session list counts, if both answered.
    pub versions: Option<VersionTotals>,
    /// For each status that no list shows: how many contacts have it.
    pub unlisted: BTreeMap<String, u64>,
    /// Records that were to be repaired but did not change.
    pub unrepaired: BTreeSet<Uuid>,
    /// What the platform shows of the records whose repair was not checked yet.
    pub(in crate::sync) expected: BTreeMap<Uuid, ListedVersion>,
    /// The records of `gone` whose repair was not checked yet.
    pub(in crate::sync) vanished: BTreeSet<Uuid>,
}

/// What the platform shows of a record, as far as it is compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::sync) struct ListedVersion {
    /// Its `updatedAt`.
    pub(in crate::sync) version: Option<Timestamp>,
    /// The partition that the record itself names, if the resource is listed in several partitions; `None` if
    /// the record names none.
    pub(in crate::sync) partition: Option<String>,
    /// The hash of its content, if the content was compared.
    pub(in crate::sync) hash: Option<i64>,
}

/// How a stored record differs from what the platform shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sync) enum Difference {
    /// It is not stored.
    Missing,
    /// The stored version is older, or belongs to another partition.
    Older,
    /// The stored version is newer.
    Newer,
    /// Only the content differs.
    Altered,
}

impl ListedVersion {
    /// How the stored row differs from this version, by `updatedAt` and partition; `None` if it does not
    /// differ.
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

    /// Whether the stored row equals this version.
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

    /// The records that exist on both sides but differ.
    pub fn differing(&self) -> impl Iterator<Item = Uuid> {
        let sets = [&self.older, &self.newer, &self.altered];
        sets.into_iter().flatten().copied()
    }

    /// Whether the counts differ and nothing explains it: no difference, no record that the next pass reads,
    /// no reject, no known gap, and no record that is still to be read by id. A server may count records that
    /// it does not show.
    pub fn is_unexplained(&self) -> bool {
        let asked = self.failed.len() as u64 + self.left;
        let explained = self.differences() + self.unread + self.rejected + asked;
        explained == 0 && self.shown.abs_diff(self.stored) > self.gaps
    }

    /// Whether another version of the session list shows sessions that the version in use does not show.
    pub fn is_lacking(&self) -> bool {
        self.versions.is_some_and(|versions| versions.lacks())
    }

    /// Records a difference.
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
