//! Bringing the tables to this program's version, and telling whether they are.
//!
//! Forward only; each database has its own files of the same names. Must not know what is in them.

use std::collections::BTreeSet;

use sqlx::migrate::{MigrateError, Migrator};

use super::error::StoreError;
use super::open::Store;

static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");

impl Store {
    /// Applies what is missing; yields the names of what was applied now, in order. Safe to call
    /// from several processes at once.
    pub async fn migrate(&self) -> Result<Vec<String>, StoreError> {
        let missing = self.missing().await?;
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        match self.run_migrations().await {
            Ok(()) => Ok(missing),
            // sqlx locks Postgres for this, but not SQLite: if another process was faster, there
            // is nothing left to do.
            Err(error) => match self.missing().await {
                Ok(rest) if rest.is_empty() => Ok(Vec::new()),
                _ => Err(StoreError::from_migrate(error)),
            },
        }
    }

    /// Whether the tables are of this program's version.
    pub async fn check_schema(&self) -> Result<(), StoreError> {
        let missing = self.missing().await?;
        if missing.is_empty() {
            Ok(())
        } else {
            Err(StoreError::TooOld { missing })
        }
    }

    /// Whether there is no table at all, of this program or of another, where its own would be.
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
            Self::Sqlite(sqlite) => SQLITE.run(sqlite.pool()).await,
            Self::Postgres(postgres) => POSTGRES.run(postgres.pool()).await,
        }
    }

    /// The names of the migrations that are not applied; an unknown applied one is an error.
    async fn missing(&self) -> Result<Vec<String>, StoreError> {
        let mut tx = self
            .reading("read the database's version", "_sqlx_migrations")
            .await?;
        // sqlx's own table, which is not there before the first migration.
        let tables = match self {
            Self::Sqlite(_) => {
                tx.number(
                    "select count(*) from sqlite_master where name = '_sqlx_migrations'",
                    Vec::new(),
                )
                .await?
            }
            Self::Postgres(_) => {
                tx.number("select count(to_regclass('_sqlx_migrations'))", Vec::new())
                    .await?
            }
        };
        let mut applied = BTreeSet::new();
        if tables > 0 {
            let rows: Vec<(i64,)> = tx
                .rows(
                    "select version from _sqlx_migrations where success",
                    Vec::new(),
                )
                .await?;
            applied.extend(rows.into_iter().map(|(version,)| version));
        }
        tx.end().await;
        let known = self.migrator();
        if let Some(&version) = applied
            .iter()
            .find(|&&version| !known.version_exists(version))
        {
            return Err(StoreError::TooNew { version });
        }
        Ok(known
            .iter()
            .filter(|migration| !applied.contains(&migration.version))
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
