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
const DELETED: [&str; 10] = [
    "alert_messages",
    "alerts",
    "contact_tags",
    "doorbell_calls",
    "instances",
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
                     coalesce(has_schema_privilege(current_schema(), 'create'), \
                     has_database_privilege(current_database(), 'create'), false)";
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

/// Roles that serve anybody: those of Supabase's API, of `PostgREST`'s examples, and every role.
const FOR_ANYBODY: [&str; 4] = ["anon", "authenticated", "web_anon", "public"];

impl Store {
    /// The roles that serve anybody and may read the tables, or would once the tables are created. A
    /// SQLite file has no roles. Each comes with the schema of the tables.
    pub async fn exposed_to(&self) -> Result<Vec<(String, String)>, StoreError> {
        if matches!(self, Self::Sqlite(_)) {
            return Ok(Vec::new());
        }
        let quoted = |names: &mut dyn Iterator<Item = &'static str>| {
            let names: Vec<String> = names.map(|name| format!("('{name}')")).collect();
            names.join(", ")
        };
        let tables = quoted(&mut migrate::own_tables());
        let roles = quoted(&mut FOR_ANYBODY.into_iter());
        // has_table_privilege takes "public" for every role.
        let sql = format!(
            "with named as materialized (select role from (values {roles}) as r (role) \
             where role = 'public' or exists (select 1 from pg_roles where rolname = role)), \
             here as (select oid from pg_namespace where nspname = current_schema()) \
             select role, current_schema()::text from named where case when role = 'public' \
             then has_schema_privilege('public', (select oid from here), 'usage') \
             else has_schema_privilege(role, (select oid from here), 'usage') end \
             and (exists (select 1 from (values {tables}) as t (name) \
             where has_table_privilege(role, to_regclass(name), 'select')) \
             or (to_regclass('sessions') is null and exists (select 1 from pg_default_acl as d \
             cross join lateral aclexplode(d.defaclacl) as given \
             where d.defaclobjtype = 'r' and given.privilege_type = 'SELECT' \
             and d.defaclnamespace in (0, (select oid from here)) \
             and d.defaclrole = (select oid from pg_roles where rolname = current_user) \
             and given.grantee = coalesce((select oid from pg_roles where rolname = role), 0)))) \
             order by role"
        );
        let mut tx = self
            .reading("find out who may read the tables", "the database")
            .await?;
        let roles = tx.rows(AssertSqlSafe(sql), Vec::new()).await?;
        tx.end().await;
        Ok(roles)
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
