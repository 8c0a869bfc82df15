//! The names of records, for people who see their ids.

use std::collections::BTreeMap;

use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::account::AccountId;
use super::error::StoreError;
use super::open::Store;
use super::parameter;
use super::value::{Id, args};

/// Tables of records that have names, with the columns of the id and the name.
const NAMED: [(&str, &str, &str); 5] = [
    ("agents", "user_id", "name"),
    ("channels", "id", "identity_display_name"),
    ("contacts", "id", "name"),
    ("departments", "id", "name"),
    ("tags", "id", "name"),
];

impl Store {
    /// The stored names of the account's records with these ids.
    pub async fn names(
        &self,
        account: AccountId,
        ids: &[Uuid],
    ) -> Result<BTreeMap<Uuid, String>, StoreError> {
        let mut names = BTreeMap::new();
        if ids.is_empty() {
            return Ok(names);
        }
        let mut tx = self.reading("read names", "the lists").await?;
        let listed = tx.backend().ids("$1");
        for (table, key, name) in NAMED {
            let sql = format!(
                "select {key}, {name} from {table} \
                 where {key} in ({listed}) and account_id = $2 and {name} is not null"
            );
            let args = args![parameter::ids(ids.iter().copied()), account.0];
            let rows: Vec<(Id, String)> = tx.rows(AssertSqlSafe(sql), args).await?;
            names.extend(rows.into_iter().map(|(Id(id), name)| (id, name)));
        }
        tx.end().await;
        Ok(names)
    }
}
