//! The database of a round, and the ways to trouble it.

use std::collections::HashSet;
use std::time::Duration;

use helena_sync::clock::{Clock, SystemClock};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};
use uuid::Uuid;

use crate::support::database::{self, Kind};

/// A database without tables: making them is the program's part.
pub(super) struct Target {
    pub(super) kind: Kind,
    pub(super) url: String,
    /// Postgres: a connection to another database, for what is done to this one.
    admin: Option<PgConnection>,
    _folder: tempfile::TempDir,
}

impl Target {
    pub(super) async fn create(kind: Kind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (admin, url) = match kind {
            Kind::Sqlite => (
                None,
                format!("sqlite://{}/mirror.db", folder.path().display()),
            ),
            Kind::Postgres => {
                let (admin, url) = database::create().await;
                (Some(admin), url)
            }
        };
        Self {
            kind,
            url,
            admin,
            _folder: folder,
        }
    }

    async fn admin(&mut self, sql: &str) {
        let name = self.url.rsplit('/').next().unwrap();
        let sql = AssertSqlSafe(sql.replace("{name}", name));
        let admin = self.admin.as_mut().unwrap();
        sqlx::raw_sql(sql).execute(admin).await.unwrap();
    }

    async fn cut(&mut self) {
        let sql = "select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'";
        self.admin(sql).await;
    }

    /// Postgres: all connections are cut, and for a while there may be no new ones. `SQLite`:
    /// another process holds the write lock.
    pub(super) async fn trouble(&mut self, dice: &mut fastrand::Rng) -> &'static str {
        let time = Duration::from_millis(dice.u64(..2_500));
        if self.kind == Kind::Postgres {
            if dice.bool() {
                self.cut().await;
                return "database connections cut";
            }
            self.admin("alter database {name} with allow_connections false")
                .await;
            self.cut().await;
            SystemClock.sleep(time).await;
            self.reopen().await;
            return "database restarts";
        }
        // It may not exist yet, or be locked itself for longer than this connection waits.
        let Ok(mut other) = SqliteConnection::connect(&self.url).await else {
            return "database not there yet";
        };
        let what = if dice.bool() {
            let held = sqlx::raw_sql("begin immediate").execute(&mut other).await;
            SystemClock.sleep(time).await;
            match held {
                Ok(_) => "database locked for a while",
                Err(_) => "database not to be locked",
            }
        } else {
            let emptied = sqlx::raw_sql("pragma wal_checkpoint(truncate)")
                .execute(&mut other)
                .await;
            match emptied {
                Ok(_) => "database's log emptied",
                Err(_) => "database's log in use",
            }
        };
        // Rolls back.
        drop(other);
        what
    }

    /// Lets connections in again.
    pub(super) async fn reopen(&mut self) {
        if self.kind == Kind::Postgres {
            self.admin("alter database {name} with allow_connections true")
                .await;
        }
    }

    /// What is wrong with the database as such, and with what the program says of its own work.
    pub(super) async fn damage(&self, deleted: &HashSet<Uuid>) -> Vec<String> {
        let mut found = Vec::new();
        if self.kind == Kind::Sqlite {
            for (check, good) in [
                ("pragma integrity_check", vec!["ok".to_owned()]),
                ("select \"table\" from pragma_foreign_key_check", Vec::new()),
            ] {
                let said = self.texts(check).await;
                if said != good {
                    found.push(format!("{check}: {said:?}"));
                }
            }
        }
        for (what, sql) in [
            (
                "runs without an end",
                "select kind from sync_runs where outcome is null",
            ),
            (
                "backfills that were not finished",
                "select resource from backfills where finished_at is null and cancelled_at is null",
            ),
            (
                "open rejects of records that are whole again",
                "select cast(record_id as text) || ': ' || reason from rejects \
                 where resolved_at is null and record_id is not null",
            ),
        ] {
            let mut rows = self.texts(sql).await;
            rows.retain(|row| !deleted.iter().any(|id| row.starts_with(&id.to_string())));
            if !rows.is_empty() {
                found.push(format!("{what}: {rows:?}"));
            }
        }
        found
    }

    /// The rows of a query of one text column.
    pub(super) async fn texts(&self, sql: &str) -> Vec<String> {
        let sql = AssertSqlSafe(sql.to_owned());
        match self.kind {
            Kind::Sqlite => {
                let mut connection = SqliteConnection::connect(&self.url).await.unwrap();
                sqlx::query_scalar(sql).fetch_all(&mut connection).await
            }
            Kind::Postgres => {
                let mut connection = PgConnection::connect(&self.url).await.unwrap();
                sqlx::query_scalar(sql).fetch_all(&mut connection).await
            }
        }
        .unwrap()
    }

    /// The rows of a table as JSON objects.
    pub(super) async fn rows(&self, table: &str) -> Vec<Value> {
        let sql = match self.kind {
            Kind::Postgres => format!("select row_to_json({table})::text from {table}"),
            Kind::Sqlite => {
                let columns = self
                    .texts(&format!("select name from pragma_table_info('{table}')"))
                    .await;
                // A function takes at most 127 arguments.
                let parts: Vec<String> = columns
                    .chunks(40)
                    .map(|names| {
                        let pairs: Vec<String> = names
                            .iter()
                            .map(|name| format!("'{name}', \"{name}\""))
                            .collect();
                        format!("json_object({})", pairs.join(", "))
                    })
                    .collect();
                let whole = parts
                    .into_iter()
                    .reduce(|whole, part| format!("json_patch({whole}, {part})"))
                    .unwrap();
                format!("select {whole} from {table}")
            }
        };
        self.texts(&sql)
            .await
            .iter()
            .map(|text| serde_json::from_str(text).unwrap())
            .collect()
    }

    pub(super) async fn drop(mut self) {
        if let Some(admin) = &mut self.admin {
            database::drop(admin, &self.url).await;
        }
    }
}
