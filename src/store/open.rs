//! Opening a database, and beginning transactions on it.

use std::pin::pin;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::Connection;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use super::backend::{Backend, PostgresBackend, SqliteBackend};
use super::error::StoreError;
use super::memory::Memory;
use super::transaction::{Open, Patience, Transaction};

/// How long a statement waits for another process's transaction on the same SQLite file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(15);

/// How long to wait for the one connection that writes to SQLite: longer than any commit.
const SQLITE_ACQUIRE_TIMEOUT: Duration = Duration::from_mins(1);

/// How long to wait for a connection to Postgres, tried again when it is refused.
const POSTGRES_ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long one that opens it waits for the first, before it asks what is wrong.
const POSTGRES_OPEN: Duration = Duration::from_millis(500);

/// How long the answer of a Postgres to one statement is waited for.
const POSTGRES_ANSWER: Duration = Duration::from_mins(1);

/// So many times as long if the statement only reads: it may have to count all rows there are.
const READING: u32 = 5;

/// How long an idle connection to Postgres may take to show that it is still there.
pub(super) const POSTGRES_SIGN: Duration = Duration::from_secs(2);

/// Readers of a SQLite file beside its one writer.
const SQLITE_READERS: u32 = 3;

/// One writes at a time; the rest are for reads and for the lease.
const POSTGRES_CONNECTIONS: u32 = 5;

/// The mirror's database. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Store {
    /// A SQLite file, or a database in memory.
    Sqlite(Sqlite),
    /// A Postgres database.
    Postgres(Postgres),
}

/// A SQLite database: one connection that writes, some that read.
#[derive(Debug, Clone)]
pub struct Sqlite {
    write: SqlitePool,
    read: SqlitePool,
    in_memory: bool,
    memory: Arc<Memory>,
}

/// A Postgres database.
#[derive(Debug, Clone)]
pub struct Postgres {
    pool: PgPool,
    patience: Patience,
    memory: Arc<Memory>,
}

/// How to open a database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OpenOptions {
    /// Only to look: nothing is created and writing fails.
    pub read_only: bool,
}

impl Store {
    /// Opens the database at `url` (`sqlite://PATH`, `sqlite::memory:`, `postgres://…`), creating a
    /// SQLite file that does not exist unless `options` forbid it. Does not look at the tables; see
    /// [`Store::migrate`] and [`Store::check_schema`].
    pub async fn open(url: &str, options: &OpenOptions) -> Result<Self, StoreError> {
        match url.split(':').next() {
            Some("sqlite") => open_sqlite(url, *options).await.map(Self::Sqlite),
            Some("postgres" | "postgresql") => {
                open_postgres(url, *options).await.map(Self::Postgres)
            }
            Some(kind) if url.contains("://") => Err(StoreError::Url(format!(
                "{kind:?} is no kind of database that is supported"
            ))),
            _ => Err(StoreError::Url("it has no scheme".to_owned())),
        }
    }

    /// Closes all connections, writing what SQLite keeps in its log back into the file.
    pub async fn close(&self) {
        match self {
            Self::Sqlite(sqlite) => {
                // The writer last: whoever closes the file last folds the log into it, which a
                // read-only connection cannot.
                sqlite.read.close().await;
                sqlite.write.close().await;
            }
            Self::Postgres(postgres) => postgres.pool.close().await,
        }
    }

    /// The same database; a Postgres is waited for so long when it does not answer a statement that
    /// writes, which is a minute otherwise.
    #[must_use]
    pub fn with_patience(mut self, answer: Duration) -> Self {
        if let Self::Postgres(postgres) = &mut self {
            postgres.patience.answer = answer;
        }
        self
    }

    /// Whether the last transaction that wrote under a lease had no answer.
    pub(super) fn wrote_in_vain(&self) -> bool {
        match self {
            Self::Sqlite(_) => false,
            Self::Postgres(postgres) => postgres.patience.in_vain.load(Ordering::Relaxed),
        }
    }

    /// `SQLite` or `Postgres`, for people.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "SQLite",
            Self::Postgres(_) => "Postgres",
        }
    }

    pub(super) fn backend(&self) -> &'static dyn Backend {
        match self {
            Self::Sqlite(_) => &SqliteBackend,
            Self::Postgres(_) => &PostgresBackend,
        }
    }

    pub(super) fn memory(&self) -> &Memory {
        match self {
            Self::Sqlite(Sqlite { memory, .. }) | Self::Postgres(Postgres { memory, .. }) => memory,
        }
    }

    /// A transaction that will write.
    pub(super) async fn writing(
        &self,
        doing: &'static str,
        table: &'static str,
    ) -> Result<Transaction, StoreError> {
        let open = match self {
            Self::Sqlite(sqlite) => sqlite
                .write
                .acquire()
                .await
                .map(|connection| Open::Sqlite(connection, sqlite.in_memory)),
            Self::Postgres(postgres) => {
                let patience = postgres.patience.clone();
                let connection = postgres.pool.acquire().await;
                connection.map(|connection| Open::Postgres(connection, patience))
            }
        }
        .map_err(|error| StoreError::from_sqlx(doing, table, error))?;
        Transaction::begin(open, self.backend().begin_writing(), doing, table).await
    }

    /// A transaction that only reads.
    pub(super) async fn reading(
        &self,
        doing: &'static str,
        table: &'static str,
    ) -> Result<Transaction, StoreError> {
        let open = match self {
            Self::Sqlite(sqlite) => sqlite
                .read
                .acquire()
                .await
                .map(|connection| Open::Sqlite(connection, sqlite.in_memory)),
            Self::Postgres(postgres) => {
                let mut patience = postgres.patience.clone();
                patience.answer *= READING;
                let connection = postgres.pool.acquire().await;
                connection.map(|connection| Open::Postgres(connection, patience))
            }
        }
        .map_err(|error| StoreError::from_sqlx(doing, table, error))?;
        Transaction::begin(open, "begin", doing, table).await
    }
}

impl Sqlite {
    pub(super) const fn pool(&self) -> &SqlitePool {
        &self.write
    }
}

impl Postgres {
    pub(super) const fn pool(&self) -> &PgPool {
        &self.pool
    }
}

const OPENING: &str = "open the database";

async fn open_sqlite(url: &str, options: OpenOptions) -> Result<Sqlite, StoreError> {
    let connect = SqliteConnectOptions::from_str(url)
        .map_err(|_| StoreError::Url("its path or options cannot be read".to_owned()))?
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .synchronous(SqliteSynchronous::Full);
    let in_memory = url.contains(":memory:") || url.contains("mode=memory");
    let pool = |connections| {
        SqlitePoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(SQLITE_ACQUIRE_TIMEOUT)
            .idle_timeout(None)
            .max_lifetime(None)
            // A file does not go away behind its connection.
            .test_before_acquire(false)
    };
    let failed = |error| StoreError::from_sqlx(OPENING, "it", error);
    let memory = Arc::new(Memory::default());
    if in_memory {
        // Every connection of its own would be a database of its own.
        let write = pool(1)
            .min_connections(1)
            .connect_with(connect)
            .await
            .map_err(failed)?;
        return Ok(Sqlite {
            read: write.clone(),
            write,
            in_memory,
            memory,
        });
    }
    let reading = connect.clone().read_only(true);
    if options.read_only {
        let read = pool(SQLITE_READERS)
            .connect_with(reading)
            .await
            .map_err(failed)?;
        return Ok(Sqlite {
            write: read.clone(),
            read,
            in_memory,
            memory,
        });
    }
    let write = pool(1)
        .connect_with(
            connect
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                // Measured: a log of as many pages before it is folded back gains a tenth.
                .pragma("wal_autocheckpoint", "8000"),
        )
        .await
        .map_err(failed)?;
    Ok(Sqlite {
        write,
        read: pool(SQLITE_READERS).connect_lazy_with(reading),
        in_memory,
        memory,
    })
}

async fn open_postgres(url: &str, options: OpenOptions) -> Result<Postgres, StoreError> {
    let mut connect = PgConnectOptions::from_str(url)
        .map_err(|_| StoreError::Url("its parts cannot be read".to_owned()))?
        .application_name("helena-sync");
    if options.read_only {
        connect = connect.options([("default_transaction_read_only", "on")]);
    }
    let patience = |answer| Patience {
        answer,
        in_vain: Arc::new(AtomicBool::new(false)),
    };
    let pool = PgPoolOptions::new()
        .max_connections(POSTGRES_CONNECTIONS)
        .acquire_timeout(POSTGRES_ACQUIRE_TIMEOUT)
        // sqlx's own test waits for ever for a server that is gone.
        .test_before_acquire(false)
        .before_acquire(move |connection, _| {
            Box::pin(async move {
                let sign = patience(POSTGRES_SIGN);
                Ok(sign.wait(connection.ping()).await.is_ok())
            })
        })
        .connect_lazy_with(connect.clone());
    let silence = patience(POSTGRES_ACQUIRE_TIMEOUT);
    let opened = first_connection(&pool, &connect, &silence)
        .await
        .map_err(|error| StoreError::from_sqlx(OPENING, "it", error))?;
    Open::Postgres(opened, silence).give_back().await;
    Ok(Postgres {
        pool,
        patience: patience(POSTGRES_ANSWER),
        memory: Arc::new(Memory::default()),
    })
}

/// The pool tries again until its timeout when a connection is refused; whoever opens a database
/// wants to be told what is wrong.
async fn first_connection(
    pool: &PgPool,
    connect: &PgConnectOptions,
    patience: &Patience,
) -> Result<PoolConnection<sqlx::Postgres>, sqlx::Error> {
    let mut first = pin!(pool.acquire());
    if let Ok(first) = tokio::time::timeout(POSTGRES_OPEN, &mut first).await {
        return first;
    }
    let another = async { PgConnection::connect_with(connect).await?.close().await };
    tokio::select! {
        first = &mut first => return first,
        asked = patience.wait(another) => asked?,
    }
    first.await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Timestamp;

    /// A disk that is full as SQLite sees it, and has room again later.
    async fn survives_a_full_disk(url: &str) {
        let store = Store::open(url, &OpenOptions::default()).await.unwrap();
        store.migrate().await.unwrap();
        let Store::Sqlite(sqlite) = &store else {
            panic!("{url} is SQLite");
        };
        let limit = async |pages: &'static str| {
            let mut connection = sqlite.pool().acquire().await.unwrap();
            sqlx::raw_sql(pages)
                .execute(&mut *connection)
                .await
                .unwrap();
        };
        let now = Timestamp::parse("2026-05-04T14:00:00Z").unwrap();
        let register = async |name: String| store.account(&name, "https://x", now).await;
        limit("pragma max_page_count = 1").await;
        let error = register("x".repeat(100_000)).await.unwrap_err();
        assert!(error.is_temporary(), "{error:?}");
        let StoreError::Unavailable { source, .. } = &error else {
            panic!("{error:?}");
        };
        assert!(source.to_string().contains("full"), "{source}");
        assert_eq!(store.accounts().await.unwrap(), []);
        limit("pragma max_page_count = 1000000").await;
        register("x".repeat(100_000)).await.unwrap();
        assert_eq!(store.accounts().await.unwrap().len(), 1);
        store.close().await;
    }

    #[tokio::test]
    async fn a_full_disk_that_has_room_again_is_written_to() {
        survives_a_full_disk("sqlite::memory:").await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("full.db");
        survives_a_full_disk(&format!("sqlite://{}", file.display())).await;
    }
}
