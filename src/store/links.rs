//! Sets of tags: `session_tags` and `contact_tags`.
//!
//! A set is replaced as a whole, and only for owners whose own row has just been stored. It is its owner's,
//! so its account is not asked for. A link that is gone is deleted, and noted in `session_tags_removed` or
//! `contact_tags_removed`, for readers that read on from where they stopped.

use std::collections::{HashMap, HashSet};

use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::error::StoreError;
use super::open::Store;
use super::parameter;
use super::transaction::{Statement, Transaction};
use super::upsert::Stamp;
use super::value::{Id, args};
use crate::data::Links;

/// Whose tags.
#[derive(Debug, Clone, Copy)]
pub(super) enum Owner {
    Session,
    Contact,
}

impl Owner {
    const fn table(self) -> (&'static str, &'static str) {
        match self {
            Self::Session => ("session_tags", "session_id"),
            Self::Contact => ("contact_tags", "contact_id"),
        }
    }
}

impl Store {
    /// The tags of these contacts, of each in any order; one without tags may be left out.
    pub async fn contact_tags(
        &self,
        contacts: &[Uuid],
    ) -> Result<HashMap<Uuid, Vec<Uuid>>, StoreError> {
        let mut tx = self.reading("read the tags", "contact_tags").await?;
        let pairs = pairs(&mut tx, Owner::Contact, contacts.iter().copied()).await?;
        tx.end().await;
        let mut tags: HashMap<Uuid, Vec<Uuid>> = HashMap::new();
        for (contact, tag) in pairs {
            tags.entry(contact).or_default().push(tag);
        }
        Ok(tags)
    }
}

/// Makes the stored sets of the owners in `changed` what `links` say. `new` owners are known to
/// have none stored.
pub(super) async fn replace(
    tx: &mut Transaction,
    owner: Owner,
    links: &[Links],
    changed: &HashSet<Uuid>,
    new: &HashSet<Uuid>,
    stamp: Stamp<'_>,
) -> Result<(), StoreError> {
    let links: Vec<&Links> = links
        .iter()
        .filter(|links| changed.contains(&links.owner))
        .collect();
    if links.is_empty() {
        return Ok(());
    }
    let (table, key) = owner.table();
    let wanted: Vec<(Uuid, Uuid)> = links
        .iter()
        .flat_map(|links| links.tags.iter().map(|&tag| (links.owner, tag)))
        .collect();
    let old: Vec<Uuid> = links
        .iter()
        .map(|links| links.owner)
        .filter(|owner| !new.contains(owner))
        .collect();
    let stored = if old.is_empty() {
        HashSet::new()
    } else {
        pairs(tx, owner, old).await?
    };
    let gone: Vec<(Uuid, Uuid)> = stored
        .difference(&wanted.iter().copied().collect())
        .copied()
        .collect();
    if !gone.is_empty() {
        let sql = format!(
            "insert into {table}_removed ({key}, tag_id, account_id, run_id, removed_at, change_seq) \
             select owner, tag, $1, $2, $3, $4 from ({pairs}) as pairs where true \
             on conflict ({key}, tag_id) do update set run_id = excluded.run_id, \
             removed_at = excluded.removed_at, change_seq = excluded.change_seq",
            pairs = tx.backend().pairs(5),
        );
        let account = stamp.lease.account().0;
        let mut args = args![account, stamp.run, stamp.now, stamp.change_seq];
        args.extend(tx.backend().packed_pairs(&gone));
        tx.execute(AssertSqlSafe(sql), args).await?;
        let sql = format!(
            "delete from {table} where ({key}, tag_id) in ({pairs})",
            pairs = tx.backend().pairs(1),
        );
        let pairs = tx.backend().packed_pairs(&gone);
        tx.execute(Statement::planned_anew(sql), pairs).await?;
    }
    // In the order of the owners, in which the index is written fastest.
    let missing: Vec<(Uuid, Uuid)> = wanted
        .into_iter()
        .filter(|pair| !stored.contains(pair))
        .collect();
    if !missing.is_empty() {
        let sql = format!(
            "insert into {table} ({key}, tag_id, account_id, run_id, synced_at, change_seq) \
             select owner, tag, $1, $2, $3, $4 from ({pairs}) as pairs where true \
             on conflict do nothing",
            pairs = tx.backend().pairs(5),
        );
        let account = stamp.lease.account().0;
        let mut args = args![account, stamp.run, stamp.now, stamp.change_seq];
        args.extend(tx.backend().packed_pairs(&missing));
        tx.execute(AssertSqlSafe(sql), args).await?;
    }
    Ok(())
}

/// The stored pairs of these owners.
async fn pairs(
    tx: &mut Transaction,
    owner: Owner,
    owners: impl IntoIterator<Item = Uuid>,
) -> Result<HashSet<(Uuid, Uuid)>, StoreError> {
    let (table, key) = owner.table();
    let sql = tx
        .backend()
        .rows_by_id(table, key, &format!("{key}, tag_id"));
    let owners = args![parameter::ids(owners)];
    let pairs: Vec<(Id, Id)> = tx.rows(AssertSqlSafe(sql), owners).await?;
    Ok(pairs
        .into_iter()
        .map(|(Id(owner), Id(tag))| (owner, tag))
        .collect())
}
