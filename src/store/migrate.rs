//! Migrates the tables to this program's version, and checks their version.
//!
//! There are no migrations backwards. Each database has its own files with the same names. Released
//! migrations are never edited: checksums of applied migrations are compared with those of this
//! program. Must not know the content of migrations.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, SqlSafeStr as _};

use super::error::StoreError;
use super::open::Store;
use super::server::set_search_path;
use super::transaction::Transaction;
use crate::data::{Resource, counted};

/// Tables that every version creates, in addition to those of resources.
const OWN: [&str; 23] = [
    "accounts",
    "alert_messages",
    "alerts",
    "backfill_windows",
    "backfills",
    "contact_tags",
    "contact_tags_removed",
    "doorbell_calls",
    "gaps",
    "instances",
    "leases",
    "raw_records",
    "rechecks",
    "rejects",
    "report_days",
    "report_open_hours",
    "report_settings",
    "session_changes",
    "session_tags",
    "session_tags_removed",
    "state_changes",
    "sync_runs",
    "sync_state",
];

/// All tables that the migrations create.
pub(super) fn own_tables() -> impl Iterator<Item = &'static str> {
    OWN.into_iter()
        .chain(Resource::ALL.into_iter().map(Resource::name))
}

/// The migration that gives each id only one row for all accounts, and the tables that it changes.
const KEYS_OF_ONE_COLUMN: &str = "20261201000000_keys_of_one_column";
const KEYED_BY_ID: [&str; 5] = ["sessions", "contacts", "channels", "departments", "tags"];

/// Version, description and SQL of each migration, as the build script lists them.
type Embedded = &'static [(i64, &'static str, &'static str)];

#[expect(clippy::unreadable_literal, reason = "written by the build script")]
const SQLITE_FILES: Embedded = include!(concat!(env!("OUT_DIR"), "/sqlite_migrations.rs"));
#[expect(clippy::unreadable_literal, reason = "written by the build script")]
const POSTGRES_FILES: Embedded = include!(concat!(env!("OUT_DIR"), "/postgres_migrations.rs"));

static SQLITE: LazyLock<Migrator> = LazyLock::new(|| migrator(SQLITE_FILES));
static POSTGRES: LazyLock<Migrator> = LazyLock::new(|| migrator(POSTGRES_FILES));

fn migrator(embedded: Embedded) -> Migrator {
    let migrations = embedded.iter().map(|&(version, description, sql)| {
        let kind = MigrationType::Simple;
        Migration::new(version, description.into(), kind, sql.into_sql_str(), false)
    });
    Migrator::with_migrations(migrations.collect())
}

/// Runs before each migration but the first, in its transaction. It takes all leases away, since a
/// program that is older than the tables must not continue to write. It comes first, as in every
/// writing transaction; in another order, the two could deadlock.
const MOVE_LEASES_ON: &str = "update leases set epoch = epoch + 1, \
                              released_at = coalesce(released_at, renewed_at);\n";

/// How long a migration waits for a lock, as a share of the timeout of Postgres. Others who want
/// the tables meanwhile wait behind it.
const LOCK_SHARE: u32 = 6;

/// How many tables of another program a message names.
const SHOWN: usize = 3;

/// The SQLSTATE of a lock timeout.
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// The migrations with what comes before each. Their checksums are those of their files.
fn prepared(migrator: &Migrator, before: &str) -> Migrator {
    let first = migrator.iter().map(|migration| migration.version).min();
    let migrations = migrator.iter().map(|migration| {
        let leases = if Some(migration.version) == first {
            ""
        } else {
            MOVE_LEASES_ON
        };
        let sql = format!("{before}{leases}{}", migration.sql.as_str());
        Migration {
            sql: AssertSqlSafe(sql).into_sql_str(),
            ..migration.clone()
        }
    });
    Migrator::with_migrations(migrations.collect())
}

impl Store {
    /// Applies the missing migrations. Returns their names in order. Takes all leases away. Several
    /// processes may call it at the same time.
    pub async fn migrate(&self) -> Result<Vec<String>, StoreError> {
        self.make_schema().await?;
        let mut missing = self.missing().await?;
        let mut applied = Vec::new();
        if !missing.is_empty() {
            self.withdraw_views().await?;
        }
        while !missing.is_empty() {
            let has_tables = missing.len() < self.migrator().iter().count();
            if has_tables && missing.iter().any(|name| name == KEYS_OF_ONE_COLUMN) {
                self.check_ids().await?;
            }
            match self.run_migrations().await {
                Ok(()) => applied = std::mem::take(&mut missing),
                // sqlx locks Postgres for this, but not SQLite: if another process was faster, there
                // is less left to do.
                Err(error) => match self.missing().await {
                    Ok(rest) if rest.len() < missing.len() => missing = rest,
                    _ => return Err(self.migration_failed(error).await),
                },
            }
        }
        let mut tx = self
            .reading("look for views and comments", "report_settings")
            .await?;
        let has_views = self.has_views(&mut tx).await?;
        let (owns, described) = self.owns_and_described(&mut tx).await?;
        tx.end().await;
        // A role that does not own the tables leaves views and comments as they are.
        if owns && !has_views {
            self.make_views().await?;
        }
        if owns && !(has_views && described) {
            self.describe().await?;
        }
        Ok(applied)
    }

    /// Creates the schema of the search path if none of its schemas exists: the first one that is not
    /// that of the role (`$user`).
    async fn make_schema(&self) -> Result<(), StoreError> {
        let Self::Postgres(postgres) = self else {
            return Ok(());
        };
        let path = postgres.patience().search_path().unwrap_or_default();
        let first = path
            .split(',')
            .map(str::trim)
            .find(|entry| !matches!(*entry, "" | "\"$user\"" | "$user"))
            .unwrap_or_default();
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let name = match first
            .strip_prefix('"')
            .and_then(|name| name.strip_suffix('"'))
        {
            Some(name) => name,
            None if first.chars().all(plain) => first,
            None => return Ok(()),
        };
        if name.is_empty() || name.contains('"') {
            return Ok(());
        }
        let mut tx = self.reading("look for the schema", "the database").await?;
        let none = "select count(*) where current_schema() is null";
        let none = tx.number(none, Vec::new()).await? > 0;
        tx.end().await;
        if none {
            let mut tx = self.writing("create the schema", "the database").await?;
            let create = format!("create schema if not exists \"{name}\"");
            tx.script(AssertSqlSafe(create)).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    /// Whether the tables are those of this version.
    pub async fn check_schema(&self) -> Result<(), StoreError> {
        let missing = self.missing().await?;
        if missing.is_empty() {
            Ok(())
        } else {
            Err(StoreError::TooOld { missing })
        }
    }

    /// Whether the database has no table at all where this program's would be.
    pub async fn is_empty(&self) -> Result<bool, StoreError> {
        let mut tx = self.reading("look for tables", "the database").await?;
        let tables = match self {
            Self::Sqlite(_) => "select count(*) from sqlite_master",
            Self::Postgres(_) => {
                "select count(*) from pg_tables where schemaname = any (current_schemas(false))"
            }
        };
        let number = tx.number(tables, Vec::new()).await?;
        tx.end().await;
        Ok(number == 0)
    }

    fn migrator(&self) -> &'static Migrator {
        match self {
            Self::Sqlite(_) => &SQLITE,
            Self::Postgres(_) => &POSTGRES,
        }
    }

    async fn run_migrations(&self) -> Result<(), MigrateError> {
        match self {
            Self::Sqlite(sqlite) => prepared(&SQLITE, "").run(sqlite.pool()).await,
            Self::Postgres(postgres) => {
                let lock = postgres.patience().answer / LOCK_SHARE;
                // An index of a large table takes longer than a server may be set to allow.
                let timeouts = format!(
                    "set local statement_timeout = 0; set local lock_timeout = {};\n",
                    lock.as_millis()
                );
                let Some(path) = postgres.patience().search_path() else {
                    return prepared(&POSTGRES, &timeouts).run(postgres.pool()).await;
                };
                let mut connection = postgres.pool().acquire().await?;
                // sqlx looks for its own table outside of transactions. The connection keeps the
                // setting, so it is not used for anything else.
                let set = AssertSqlSafe(set_search_path(path, false));
                sqlx::raw_sql(set).execute(&mut *connection).await?;
                let migrator = prepared(&POSTGRES, &timeouts);
                let ran = migrator.run_direct(None, &mut *connection, false).await;
                connection.close_on_drop();
                ran
            }
        }
    }

    /// Refuses a database where several accounts have rows with the same id, since only one could
    /// be kept.
    async fn check_ids(&self) -> Result<(), StoreError> {
        let mut tx = self
            .reading("look for ids of several accounts", "the mirror")
            .await?;
        let mut found = Vec::new();
        if tx
            .number("select count(*) from accounts", Vec::new())
            .await?
            > 1
        {
            for table in KEYED_BY_ID {
                let shared = format!("select id from {table} group by id having count(*) > 1");
                let sql = format!("select count(*) from ({shared}) as shared");
                let ids = tx.number(AssertSqlSafe(sql), Vec::new()).await?;
                if ids == 0 {
                    continue;
                }
                let sql = format!(
                    "select name from accounts where id in \
                     (select account_id from {table} where id in ({shared})) order by name"
                );
                let names: Vec<(String,)> = tx.rows(AssertSqlSafe(sql), Vec::new()).await?;
                let names: Vec<String> = names.iter().map(|(name,)| format!("{name:?}")).collect();
                let names = names.join(", ");
                found.push(format!(
                    "{} of {table} with rows of more than one of the accounts {names}",
                    counted(ids.unsigned_abs(), "id")
                ));
            }
        }
        tx.end().await;
        if found.is_empty() {
            return Ok(());
        }
        let found = found.join(", ");
        Err(StoreError::SharedIds { found })
    }

    /// Sorts a failure of the migrations. If a lock was the cause, names who holds it.
    async fn migration_failed(&self, error: MigrateError) -> StoreError {
        let (MigrateError::Execute(sqlx::Error::Database(cause))
        | MigrateError::ExecuteMigration(sqlx::Error::Database(cause), _)) = &error
        else {
            return StoreError::from_migrate(error);
        };
        if matches!(self, Self::Sqlite(_)) || cause.code().as_deref() != Some(LOCK_NOT_AVAILABLE) {
            return StoreError::from_migrate(error);
        }
        // They may be gone by now; and then it is not worth another error.
        let holders = self.lock_holders().await.unwrap_or_default();
        StoreError::Locked {
            holders: if holders.is_empty() {
                "sessions that have ended meanwhile".to_owned()
            } else {
                holders.join(", ")
            },
        }
    }

    /// Which other sessions hold locks on tables of a Postgres database, the oldest transaction
    /// first.
    async fn lock_holders(&self) -> Result<Vec<String>, StoreError> {
        let mut tx = self.reading("look for locks", "pg_locks").await?;
        let rows: Vec<(String,)> = tx
            .rows(
                "select 'process ' || cast(a.pid as text) || ' (' \
                 || coalesce(nullif(a.application_name, ''), cast(a.usename as text), 'unknown') \
                 || ', ' || coalesce(a.state, 'state unknown') || ')' \
                 from pg_stat_activity as a \
                 where a.datname = current_database() and a.pid <> pg_backend_pid() \
                 and exists (select 1 from pg_locks as l join pg_class as c on c.oid = l.relation \
                 where l.pid = a.pid and l.granted and c.relkind = 'r' \
                 and c.relnamespace = \
                 (select oid from pg_namespace where nspname = current_schema())) \
                 order by a.xact_start",
                Vec::new(),
            )
            .await?;
        tx.end().await;
        Ok(rows.into_iter().map(|(holder,)| holder).collect())
    }

    /// The names of the missing migrations. Fails if applied migrations are not those of this
    /// program.
    async fn missing(&self) -> Result<Vec<String>, StoreError> {
        let mut tx = self
            .reading("read the database's version", "_sqlx_migrations")
            .await?;
        let missing = self.missing_in(&mut tx).await;
        tx.end().await;
        missing
    }

    /// Fails unless the tables are those of this version.
    pub(super) async fn confirm_version(&self, tx: &mut Transaction) -> Result<(), StoreError> {
        let missing = self.missing_in(tx).await?;
        if missing.is_empty() {
            Ok(())
        } else {
            Err(StoreError::TooOld { missing })
        }
    }

    /// Why the tables cannot be created beside these of another program, if they cannot.
    fn in_the_way(&self, there: &[String]) -> Option<String> {
        let is_own = |table: &&String| own_tables().any(|own| own == table.as_str());
        if let Some(table) = there.iter().find(is_own) {
            return Some(format!(
                "it has a table {table} that helena-sync did not create"
            ));
        }
        if there.is_empty() || self.shares() {
            return None;
        }
        let shown: Vec<&str> = there.iter().take(SHOWN).map(String::as_str).collect();
        let more = match there.len() - shown.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        Some(format!(
            "it has tables that helena-sync did not create ({}{more}), and database.shared is false",
            shown.join(", ")
        ))
    }

    async fn missing_in(&self, tx: &mut Transaction) -> Result<Vec<String>, StoreError> {
        let (exists, tables) = match self {
            Self::Sqlite(_) => (
                "select count(*) from sqlite_master where name = '_sqlx_migrations'",
                "select name from sqlite_master where type in ('table', 'view') \
                 and name not like 'sqlite\\_%' escape '\\' and name <> '_sqlx_migrations' order by name",
            ),
            Self::Postgres(_) => (
                "select count(*) from pg_class where relname = '_sqlx_migrations' and relnamespace = \
                 (select oid from pg_namespace where nspname = current_schema())",
                // Those of extensions, such as PostGIS, are in nobody's way.
                "select cast(relname as text) from pg_class as c where relnamespace = \
                 (select oid from pg_namespace where nspname = current_schema()) \
                 and relkind in ('r', 'p', 'v', 'm', 'f') and relname <> '_sqlx_migrations' \
                 and not exists (select 1 from pg_depend where classid = cast('pg_class' as regclass) \
                 and objid = c.oid and deptype = 'e') order by relname",
            ),
        };
        let mut applied = BTreeMap::new();
        // sqlx's own table, which is not there before the first migration.
        if tx.number(exists, Vec::new()).await? > 0 {
            let rows: Vec<(i64, Vec<u8>)> = tx
                .rows(
                    "select version, checksum from _sqlx_migrations where success",
                    Vec::new(),
                )
                .await?;
            applied.extend(rows);
        }
        let known = self.migrator();
        let is_ours = applied.keys().any(|version| known.version_exists(*version));
        let foreign = if is_ours {
            None
        } else if let Some(version) = applied.keys().next() {
            Some(format!(
                "its table _sqlx_migrations has migration {version}, but no migration of helena-sync"
            ))
        } else {
            let there: Vec<(String,)> = tx.rows(tables, Vec::new()).await?;
            let there: Vec<String> = there.into_iter().map(|(table,)| table).collect();
            self.in_the_way(&there)
        };
        if let Some(found) = foreign {
            return Err(StoreError::Foreign { found });
        }
        for (&version, checksum) in &applied {
            let migration = known.iter().find(|known| known.version == version);
            let Some(migration) = migration else {
                return Err(StoreError::TooNew { version });
            };
            if migration.checksum.as_ref() != checksum.as_slice() {
                return Err(StoreError::Altered { version });
            }
        }
        Ok(known
            .iter()
            .filter(|migration| !applied.contains_key(&migration.version))
            .map(|migration| {
                format!(
                    "{}_{}",
                    migration.version,
                    migration.description.replace(' ', "_")
                )
            })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_tables_are_those_that_the_migrations_make() {
        for files in [SQLITE_FILES, POSTGRES_FILES] {
            let lines = files.iter().flat_map(|(_, _, sql)| sql.lines());
            let made: BTreeSet<&str> = lines
                .filter_map(|line| line.strip_prefix("create table ")?.strip_suffix(" ("))
                .collect();
            assert_eq!(made, own_tables().collect());
        }
    }
}
