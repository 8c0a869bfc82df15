//! What the database lets this program do. Only looks: nothing is tried.

use sqlx::AssertSqlSafe;

use super::error::StoreError;
use super::open::Store;

/// All tables: they are read, and rows are added to them.
const TABLES: [&str; 17] = [
    "accounts",
    "agents",
    "backfill_windows",
    "backfills",
    "channels",
    "contact_tags",
    "contacts",
    "departments",
    "leases",
    "raw_records",
    "rejects",
    "session_tags",
    "sessions",
    "state_changes",
    "sync_runs",
    "sync_state",
    "tags",
];

/// Those whose rows never change: they are added, and some are deleted.
const FIXED: [&str; 3] = ["contact_tags", "session_tags", "state_changes"];

/// Those whose rows are deleted.
const DELETED: [&str; 3] = ["contact_tags", "session_tags", "sync_runs"];

impl Store {
    /// What the role that connects may not do of what this program does, in words such as `insert
    /// on accounts, agents`; empty if it may do all. With `migrating`, tables are still to be made.
    /// A SQLite file has no roles.
    pub async fn lacking(&self, migrating: bool) -> Result<Vec<String>, StoreError> {
        if matches!(self, Self::Sqlite(_)) {
            return Ok(Vec::new());
        }
        let mut tx = self
            .reading("look at the role's rights", "the database")
            .await?;
        let mut lacking = Vec::new();
        let whole = "select pg_is_in_recovery(), \
                     coalesce(has_schema_privilege(current_schema(), 'create'), false)";
        let whole: Option<(bool, bool)> = tx.row(whole, Vec::new()).await?;
        if let Some((standby, creates)) = whole {
            if standby {
                lacking.push("any change, since the server is a standby".to_owned());
            }
            if migrating && !creates {
                lacking.push("create in the schema".to_owned());
            }
        }
        for privilege in ["select", "insert", "update", "delete"] {
            let sql = refused(privilege);
            let tables: Vec<(String,)> = tx.rows(AssertSqlSafe(sql), Vec::new()).await?;
            if !tables.is_empty() {
                let names: Vec<&str> = tables.iter().map(|(name,)| name.as_str()).collect();
                lacking.push(format!("{privilege} on {}", names.join(", ")));
            }
        }
        tx.end().await;
        Ok(lacking)
    }
}

/// The question on which tables a privilege is needed and not given. One that does not exist yet
/// has no privileges: nothing is said of it.
fn refused(privilege: &str) -> String {
    let needed = |table: &str| match privilege {
        "update" => !FIXED.contains(&table),
        "delete" => DELETED.contains(&table),
        _ => true,
    };
    let names: Vec<String> = TABLES
        .iter()
        .filter(|table| needed(table))
        .map(|table| format!("('{table}')"))
        .collect();
    format!(
        "select name from (values {}) as needed (name) \
         where not has_table_privilege(to_regclass(name), '{privilege}') order by name",
        names.join(", ")
    )
}
