//! Reads the small lists completely.
//!
//! A record that a list no longer shows counts as deleted, since records of lists cannot be read by
//! id. A single bad answer must not mark all of them. So a second answer must lack them, too. If a
//! list lacks all or most of its records, a run some minutes later must confirm it. Until then the
//! list is in doubt: its records are stored, but none is marked as removed. If the later run lacks
//! further records, those are in doubt in turn.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::warn;
use uuid::Uuid;

use super::engine::{RunLimits, Runs, goes_on};
use super::policy::RunError;
use super::recheck::send;
use super::run::{RunReport, Runner, Task};
use super::stop::unless_stopped;
use crate::data::{Guard, Page, Resource, RunKind, Source, StateChange, Stream, Timestamp};
use crate::schema::BatchBuilder;
use crate::store::{AccountId, Store, StoreError, StoredVersion};

/// A list with at most this many stored entries may lose most of them at once.
const FEW: usize = 5;

/// How long after the reading that put a list in doubt another reading may confirm it.
const AGREED_AFTER: Duration = Duration::from_mins(5);

/// What is stored of a list.
pub(super) struct Stored {
    pub(super) rows: HashMap<Uuid, StoredVersion>,
    /// Since when the list is in doubt.
    doubted_at: Option<Timestamp>,
    /// The records that the list lacked then and has lacked since.
    doubted: BTreeSet<Uuid>,
}

/// What a list showed.
pub(super) struct Reading {
    /// The answer, or two answers joined.
    pub(super) page: Page,
    /// Stored records that were not shown and are believed to be deleted.
    pub(super) gone: BTreeSet<Uuid>,
    /// Stored records that were not shown. Nothing follows from that yet.
    pub(super) doubted: BTreeSet<Uuid>,
    /// The state changes that the reading proves, if any.
    pub(super) proof: Vec<StateChange>,
}

/// What follows for the records that a list lacks.
#[derive(Debug, Default, PartialEq, Eq)]
struct Judged {
    gone: BTreeSet<Uuid>,
    doubted: BTreeSet<Uuid>,
    /// Whether the records in doubt were already in doubt before.
    again: bool,
}

impl Stored {
    pub(super) async fn read(
        store: &Store,
        account: AccountId,
        resource: Resource,
    ) -> Result<Self, StoreError> {
        let mut rows = store.all_versions(account, resource).await?;
        rows.retain(|_, version| !version.removed);
        let statuses = store.stream_statuses(account).await?;
        let its = |status: &crate::store::StreamStatus| status.resource == resource.name();
        let status = statuses.into_iter().find(its);
        let doubted_at = status.as_ref().and_then(|status| status.doubted_at);
        let doubted = status.map(|status| status.doubted_keys);
        Ok(Self {
            rows,
            doubted_at,
            doubted: doubted.unwrap_or_default().into_iter().collect(),
        })
    }

    /// Decides which of the records that a list lacks are believed to be deleted now.
    fn judge(&self, missing: BTreeSet<Uuid>, now: Timestamp) -> Judged {
        let (all, lacking) = (self.rows.len(), missing.len());
        let is_much = lacking == all || (all > FEW && lacking * 2 > all);
        let (agreed, new): (BTreeSet<Uuid>, BTreeSet<Uuid>) = missing
            .into_iter()
            .partition(|key| self.doubted.contains(key));
        if agreed.is_empty() {
            let (gone, doubted) = if is_much {
                (agreed, new)
            } else {
                (new, agreed)
            };
            return Judged {
                gone,
                doubted,
                again: false,
            };
        }
        // If the doubt began in the future, the clock was set back since then.
        let is_confirmed = self
            .doubted_at
            .is_some_and(|at| now < at || now >= at + AGREED_AFTER);
        match (is_confirmed, is_much) {
            (true, true) => Judged {
                gone: agreed,
                doubted: new,
                again: false,
            },
            (true, false) => Judged {
                gone: agreed.into_iter().chain(new).collect(),
                ..Judged::default()
            },
            // Other missing records can wait until the doubt is resolved.
            (false, _) => Judged {
                gone: BTreeSet::new(),
                doubted: agreed,
                again: self.doubted_at.is_some(),
            },
        }
    }
}

/// Reads a list, twice if it lacks something that is stored.
pub(super) async fn read<S: Source>(
    source: &S,
    resource: Resource,
    stored: &Stored,
    now: Timestamp,
    stop: &CancellationToken,
) -> Result<Reading, RunError> {
    let mut page = unless_stopped(stop, source.list(resource)).await??;
    let mut listed = keys(resource, &page);
    let missing = |listed: &HashSet<Uuid>| -> BTreeSet<Uuid> {
        let is_missing = |key: &&Uuid| !listed.contains(*key);
        stored.rows.keys().filter(is_missing).copied().collect()
    };
    // A record that only one of the two answers lacks is not deleted.
    if listed
        .as_ref()
        .is_some_and(|keys| !missing(keys).is_empty())
    {
        page = page.followed_by(unless_stopped(stop, source.list(resource)).await??);
        listed = keys(resource, &page);
    }
    // An unreadable record may be any of the missing ones. Then none counts as missing.
    let missing = listed.as_ref().map(missing).unwrap_or_default();
    let Judged {
        gone,
        doubted,
        again,
    } = stored.judge(missing, now);
    let mut proof = Vec::new();
    if let Some(listed) = listed {
        if doubted.is_empty() || !gone.is_empty() {
            // Records in doubt count as listed until the doubt is resolved.
            let keys = listed.into_iter().chain(doubted.iter().copied()).collect();
            proof.push(StateChange::ListRead { resource, keys });
        }
        if !doubted.is_empty() {
            let keys = doubted.iter().copied().collect();
            proof.push(StateChange::ListDoubted {
                resource,
                keys,
                again,
            });
        }
    }
    Ok(Reading {
        page,
        gone,
        doubted,
        proof,
    })
}

/// The keys of all records of a list. `None` if one record has no readable key, since then it is unknown
/// which records are missing.
fn keys(resource: Resource, page: &Page) -> Option<HashSet<Uuid>> {
    let mut builder = BatchBuilder::new(resource, false);
    builder.add(page);
    let batch = builder.finish();
    if batch.rejects.iter().any(|reject| !reject.partial) {
        return None;
    }
    let rows = batch
        .writes
        .iter()
        .filter(|write| write.table.guard == Guard::Version && write.table.name == resource.name());
    Some(
        rows.flat_map(|write| &write.rows)
            .map(|row| row.key)
            .collect(),
    )
}

/// Reads the small lists.
pub(super) struct Lists<'a, S> {
    pub(super) runner: &'a Runner<S>,
}

impl<S: Source + 'static> Lists<'_, S> {
    /// Reads the lists among `resources` completely.
    pub(super) async fn all(&self, resources: &[Resource], limits: RunLimits<'_>) -> Runs {
        let mut runs = Runs::new();
        for &resource in resources.iter().filter(|resource| resource.is_list()) {
            let run = self.one(resource, limits).await;
            let go_on = goes_on(&run);
            runs.push(run);
            if !go_on {
                break;
            }
        }
        runs
    }

    /// Reads one list completely. Stored records that the list lacks are marked as removed, unless the list
    /// lacks too many of them to be believed at once.
    pub(super) async fn one(&self, resource: Resource, limits: RunLimits<'_>) -> RunReport {
        self.runner.begin(resource.to_string(), None);
        let account = self.runner.account();
        let stored = match Stored::read(self.runner.store(), account, resource).await {
            Ok(stored) => stored,
            Err(error) => {
                return RunReport::not_begun(RunKind::List, Stream::whole(resource), error);
            }
        };
        let now = self.runner.clock().now();
        let (report, reading) = self
            .runner
            .run(
                Task::of(RunKind::List, resource),
                limits.stop,
                |out| async {
                    let source = self.runner.source();
                    let mut reading = read(source, resource, &stored, now, limits.stop).await?;
                    let lacking = reading.doubted.len();
                    let proof = std::mem::take(&mut reading.proof);
                    send(&out, Some(reading.page), proof).await?;
                    drop(out);
                    Ok::<_, RunError>(lacking)
                },
            )
            .await;
        if let Some(lacking) = reading.filter(|lacking| *lacking > 0) {
            self.runner.tell_doubted(resource, lacking, &stored);
        }
        report
    }
}

impl<S: Source + 'static> Runner<S> {
    /// Warns once that a list is in doubt.
    pub(super) fn tell_doubted(&self, resource: Resource, lacking: usize, stored: &Stored) {
        if stored.doubted_at.is_some() {
            return;
        }
        let (account, all) = (self.name(), stored.rows.len());
        warn!(
            account,
            resource = resource.name(),
            lacking,
            stored = all,
            "{resource}: the list lacks {lacking} of {all} stored entries; they are marked as removed \
             only if it still lacks them some minutes later"
        );
    }
}
