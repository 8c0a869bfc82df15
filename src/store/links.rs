//! Sets of tags: `session_tags` and `contact_tags`.
//!
//! A set is replaced as a whole, and only for owners whose own row has just been stored.

use std::collections::{HashMap, HashSet};

use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::account::AccountId;
use super::error::StoreError;
use super::open::Store;
use super::parameter;
use super::transaction::Transaction;
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
        account: AccountId,
        contacts: &[Uuid],
    ) -> Result<HashMap<Uuid, Vec<Uuid>>, StoreError> {
        let mut tx = self.reading("read the tags", "contact_tags").await?;
        let sql = format!(
            "select contact_id, tag_id from contact_tags \
             where account_id = $2 and contact_id in ({})",
            tx.backend().ids("$1")
        );
        let contacts = parameter::ids(contacts.iter().copied());
        let pairs: Vec<(Id, Id)> = tx
            .rows(AssertSqlSafe(sql), args![contacts, account.0])
            .await?;
        tx.end().await;
        let mut tags: HashMap<Uuid, Vec<Uuid>> = HashMap::new();
        for (Id(contact), Id(tag)) in pairs {
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
    let account = stamp.lease.account().0;
    let pairs = parameter::pairs(
        links
            .iter()
            .flat_map(|links| links.tags.iter().map(|&tag| (links.owner, tag))),
    );
    let old: Vec<Uuid> = links
        .iter()
        .map(|links| links.owner)
        .filter(|owner| !new.contains(owner))
        .collect();
    if !old.is_empty() {
        let sql = format!(
            "delete from {table} where account_id = $3 and {key} in ({owners}) \
             and ({key}, tag_id) not in ({pairs})",
            owners = tx.backend().ids("$1"),
            pairs = tx.backend().pairs("$2"),
        );
        tx.execute(
            AssertSqlSafe(sql),
            args![parameter::ids(old), pairs.as_str(), account],
        )
        .await?;
    }
    if links.iter().any(|links| !links.tags.is_empty()) {
        let sql = format!(
            "insert into {table} ({key}, tag_id, account_id, run_id, synced_at) \
             select owner, tag, $2, $3, $4 from ({pairs}) as pairs where true \
             on conflict do nothing",
            pairs = tx.backend().pairs("$1"),
        );
        tx.execute(
            AssertSqlSafe(sql),
            args![pairs, account, stamp.run, stamp.now],
        )
        .await?;
    }
    Ok(())
}
