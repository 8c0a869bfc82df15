//! The database of a round, and the ways to trouble it.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use helena_sync::clock::{Clock, SystemClock};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};
use uuid::Uuid;

use super::server::Server;
use crate::support::database::{self, Kind};

/// A database without tables: making them is the program's part.
pub(super) struct Target {
    pub(super) kind: Kind,
    pub(super) url: String,
    /// Postgres.
    server: Option<Arc<Server>>,
}

impl Target {
    /// A database on this server, or else a file in this folder.
    pub(super) async fn create(server: Option<Arc<Server>>, folder: &Path) -> Self {
        let (kind, url) = match &server {
            None => (
                Kind::Sqlite,
                format!("sqlite://{}/mirror.db", folder.display()),
            ),
            Some(server) => {
                let (_admin, url) = database::create_on(&server.url).await;
                (Kind::Postgres, url)
            }
        };
        Self { kind, url, server }
    }

    /// A connection to another database of the server, for what is done to this one.
    async fn connect(&self) -> PgConnection {
        let server = self.server.as_ref().unwrap();
        PgConnection::connect(&server.url).await.unwrap()
    }

    async fn admin(&self, sql: &str) {
        let name = self.url.rsplit('/').next().unwrap();
        let sql = AssertSqlSafe(sql.replace("{name}", name));
        let mut admin = self.connect().await;
        sqlx::raw_sql(sql).execute(&mut admin).await.unwrap();
    }

    async fn cut(&self) {
        let sql = "select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'";
        self.admin(sql).await;
    }

    /// Postgres: the server crashes, or is stopped in order, and comes back at once or after a
    /// while; or all connections are cut, and for a while there may be no new ones. `SQLite`: another
    /// process holds the write lock, or takes its log away.
    pub(super) async fn trouble(&self, dice: &mut fastrand::Rng) -> &'static str {
        let time = Duration::from_millis(dice.u64(..2_500));
        if let Some(server) = &self.server {
            if server.is_own() && dice.u32(..3) > 0 {
                let at_once = dice.bool();
                server.stop(at_once);
                if dice.bool() {
                    SystemClock.sleep(time * 2).await;
                }
                server.start_again();
                return if at_once {
                    "database crashes"
                } else {
                    "database restarts"
                };
            }
            if dice.bool() {
                self.cut().await;
                return "database connections cut";
            }
            self.admin("alter database {name} with allow_connections false")
                .await;
            self.cut().await;
            SystemClock.sleep(time).await;
            self.reopen().await;
            return "database connections refused for a while";
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

    /// Lets the leases of a process run out, as they do when it stands still for long enough; unless
    /// somebody has locked them.
    pub(super) async fn expire(&self, pid: u32) -> &'static str {
        let done = match self.kind {
            Kind::Sqlite => {
                let sql = format!(
                    "update leases set renewed_at = '2020-01-01T00:00:00.000000Z' where pid = {pid}"
                );
                match SqliteConnection::connect(&self.url).await {
                    Ok(mut other) => {
                        sqlx::raw_sql(AssertSqlSafe(format!("pragma busy_timeout = 300; {sql}")))
                            .execute(&mut other)
                            .await
                            .is_ok()
                    }
                    Err(_) => false,
                }
            }
            Kind::Postgres => {
                let sql = format!(
                    "set lock_timeout = 300; \
                     update leases set renewed_at = '2020-01-01' where pid = {pid}"
                );
                match PgConnection::connect(&self.url).await {
                    Ok(mut other) => sqlx::raw_sql(AssertSqlSafe(sql))
                        .execute(&mut other)
                        .await
                        .is_ok(),
                    Err(_) => false,
                }
            }
        };
        if done {
            "leases of a process that stands still run out"
        } else {
            "leases locked by a process that stands still"
        }
    }

    /// Lets connections in again.
    pub(super) async fn reopen(&self) {
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
        self.rows_where(table, "true").await
    }

    /// The same of one account.
    pub(super) async fn rows_of(&self, account: &str, table: &str) -> Vec<Value> {
        let its = format!("account_id = (select id from accounts where name = '{account}')");
        self.rows_where(table, &its).await
    }

    async fn rows_where(&self, table: &str, condition: &str) -> Vec<Value> {
        let sql = match self.kind {
            Kind::Postgres => {
                format!("select row_to_json({table})::text from {table} where {condition}")
            }
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
                format!("select {whole} from {table} where {condition}")
            }
        };
        self.texts(&sql)
            .await
            .iter()
            .map(|text| serde_json::from_str(text).unwrap())
            .collect()
    }

    pub(super) async fn drop(self) {
        if self.kind == Kind::Postgres {
            let mut admin = self.connect().await;
            database::drop(&mut admin, &self.url).await;
        }
    }
}
