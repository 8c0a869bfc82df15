//! Checks what the program's database role may do, without changing anything.

use sqlx::AssertSqlSafe;

use super::error::StoreError;
use super::migrate;
use super::open::Store;

/// Tables whose rows are never changed, but added and sometimes deleted.
const FIXED: [&str; 6] = [
    "contact_tags",
    "report_days",
    "report_open_hours",
    "session_changes",
    "session_tags",
    "state_changes",
];

/// Tables whose rows are deleted.
const DELETED: [&str; 6] = [
    "contact_tags",
    "rechecks",
    "report_days",
    "report_open_hours",
    "session_tags",
    "sync_runs",
];

impl Store {
    /// The rights that the database role lacks, such as `insert on accounts, agents`. Empty if it has all.
    /// With `migrating`, it must also be able to create tables. A SQLite file has no roles.
    pub async fn lacking(&self, migrating: bool) -> Result<Vec<String>, StoreError> {
        if matches!(self, Self::Sqlite(_)) {
            return Ok(Vec::new());
        }
        let mut tx = self
            .reading("read the role's rights", "the database")
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

/// A query for the tables on which a right is missing. Tables that do not exist yet are left out.
fn refused(privilege: &str) -> String {
    let needed = |table: &str| match privilege {
        "update" => !FIXED.contains(&table),
        "delete" => DELETED.contains(&table),
        _ => true,
    };
    let names: Vec<String> = migrate::own_tables()
        .filter(|table| needed(table))
        .map(|table| format!("('{table}')"))
        .collect();
    format!(
        "select name from (values {}) as needed (name) \
         where not has_table_privilege(to_regclass(name), '{privilege}') order by name",
        names.join(", ")
    )
}
