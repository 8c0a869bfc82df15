//! Opens a database, and starts transactions.

use std::future::ready;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::Access;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection};

use super::account::AccountId;
use super::backend::{Backend, PostgresBackend, SqliteBackend};
use super::error::{Cause, StoreError};
use super::file;
use super::lease::LEASE_TTL;
use super::memory::Memory;
use super::server::{self, Server};
use super::transaction::{Open, Patience, Transaction};
use crate::clock::{Clock as _, SystemClock};
use crate::data::{counted, without_os_numbers};

/// How long a statement waits for another process's transaction on the same SQLite file. A renewal that waits so
/// long must come before the lease expires.
const BUSY_TIMEOUT: Duration = Duration::from_secs(12);
const _: () = assert!(BUSY_TIMEOUT.as_secs() + LEASE_TTL.as_secs() / 3 < LEASE_TTL.as_secs());

/// How long to wait for the one connection that writes to SQLite: longer than any commit.
const SQLITE_ACQUIRE_TIMEOUT: Duration = Duration::from_mins(1);

/// How long to wait for a connection to Postgres. A refused connection is retried.
const POSTGRES_ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait for the first connection before trying once to find the cause.
const POSTGRES_OPEN: Duration = Duration::from_millis(500);

/// The timeout of a statement on Postgres.
const POSTGRES_ANSWER: Duration = Duration::from_mins(1);

/// A reading statement may take this many times as long, since it may count all rows.
const READING: u32 = 5;

/// How long an idle connection to Postgres may take to respond to a check.
pub(super) const POSTGRES_SIGN: Duration = Duration::from_secs(2);

/// SQLite's codes for a file that may not be written, and for one that cannot be opened.
const READ_ONLY: i32 = 8;
const CANNOT_OPEN: i32 = 14;

/// How long a short reading waits for the connection that writes before it opens one of its own, which takes
/// about 3 ms.
const SQLITE_WRITER_PATIENCE: Duration = Duration::from_millis(10);

/// Reading connections to a SQLite file, in addition to the one that writes.
const SQLITE_READERS: u32 = 3;

/// The maximum number of connections to Postgres. For each account, only one connection writes;
/// others read or renew the lease. They are opened when needed: one account needs less than half of
/// them, several share them.
const POSTGRES_CONNECTIONS: u32 = 10;

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
    file: PathBuf,
    /// Whether a reader has created a log that only a writer removes.
    leaves_log: bool,
    shares: bool,
    memory: Arc<Memory>,
    /// The file as it was when it was opened, unless it is only read.
    opened: Option<Arc<OpenFile>>,
    /// The version of a file that is read without locks.
    unlocked: Option<Version>,
}

/// When a file was changed, its size and its inode.
type Version = (std::time::SystemTime, u64, u64);

fn version(file: &Path) -> io::Result<Version> {
    let meta = std::fs::metadata(file)?;
    Ok((meta.modified()?, meta.len(), meta.ino()))
}

/// The error of a file that cannot be looked at.
fn unseen(error: &io::Error) -> StoreError {
    StoreError::Unavailable {
        doing: "look at the database file",
        source: Cause::new(without_os_numbers(&error.to_string())),
    }
}

/// A file as it was when it was opened.
#[derive(Debug)]
struct OpenFile {
    path: PathBuf,
    /// Device and inode.
    id: (u64, u64),
}

impl OpenFile {
    fn at(path: &Path) -> Option<Self> {
        let id = Self::id(path).ok()?;
        let path = path.to_owned();
        Some(Self { path, id })
    }

    fn id(path: &Path) -> io::Result<(u64, u64)> {
        let meta = std::fs::metadata(path)?;
        Ok((meta.dev(), meta.ino()))
    }

    /// Fails if another file, or none, has the path.
    fn check(&self) -> Result<(), StoreError> {
        match Self::id(&self.path) {
            Ok(id) if id == self.id => Ok(()),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unseen(&error)),
            Ok(_) | Err(_) => Err(StoreError::Replaced {
                file: self.path.display().to_string(),
            }),
        }
    }
}

/// A Postgres database.
#[derive(Debug, Clone)]
pub struct Postgres {
    pool: PgPool,
    patience: Patience,
    read_only: bool,
    /// The most connections at a time, and whose limit it is, if it is a low one.
    limit: Option<(u32, String)>,
    shares: bool,
    memory: Arc<Memory>,
}

/// How to open a database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OpenOptions {
    /// Only read: nothing is created, and writing fails.
    pub read_only: bool,
}

impl Store {
    /// Opens the database at `url` (`sqlite://PATH`, `sqlite::memory:`, `postgres://…`). Creates a
    /// missing SQLite file unless `options` forbid it. Does not check the tables; see
    /// [`Store::migrate`] and [`Store::check_schema`].
    pub async fn open(url: &str, options: &OpenOptions) -> Result<Self, StoreError> {
        match url.split(':').next() {
            Some("sqlite") => Box::pin(open_sqlite(url, *options)).await.map(Self::Sqlite),
            Some("postgres" | "postgresql") => Box::pin(open_postgres(url, *options))
                .await
                .map(Self::Postgres),
            Some(kind) if url.contains("://") => Err(StoreError::Url(format!(
                "databases of the kind {kind:?} are not supported"
            ))),
            _ => Err(StoreError::Url("it has no scheme".to_owned())),
        }
    }

    /// Closes all connections. SQLite writes its log back into the file.
    pub async fn close(&self) {
        match self {
            Self::Sqlite(sqlite) => {
                // The writer last: whoever closes the file last folds the log into it, which a
                // read-only connection cannot.
                sqlite.read.close().await;
                sqlite.write.close().await;
                if sqlite.leaves_log {
                    remove_log(&sqlite.file).await;
                }
            }
            Self::Postgres(postgres) => postgres.pool.close().await,
        }
    }

    /// The same database with this timeout for writing statements on Postgres. The default is a
    /// minute.
    #[must_use]
    pub fn with_patience(mut self, answer: Duration) -> Self {
        if let Self::Postgres(postgres) = &mut self {
            postgres.patience.answer = answer;
        }
        self
    }

    /// The same database with a timeout that is not longer than this.
    pub(super) fn with_patience_up_to(mut self, answer: Duration) -> Self {
        if let Self::Postgres(postgres) = &mut self {
            postgres.patience.answer = postgres.patience.answer.min(answer);
        }
        self
    }

    /// The same database, among whose tables may be those of another program.
    #[must_use]
    pub fn sharing(mut self, shares: bool) -> Self {
        match &mut self {
            Self::Sqlite(sqlite) => sqlite.shares = shares,
            Self::Postgres(postgres) => postgres.shares = shares,
        }
        self
    }

    pub(super) const fn shares(&self) -> bool {
        match self {
            Self::Sqlite(sqlite) => sqlite.shares,
            Self::Postgres(postgres) => postgres.shares,
        }
    }

    /// Copies a SQLite database into a new file, which only its owner may read: all that was committed
    /// when the copying began. Writers continue meanwhile.
    pub async fn copy_to(&self, copy: &Path) -> Result<(), StoreError> {
        const COPYING: &str = "copy the database";
        let Self::Sqlite(sqlite) = self else {
            return Err(StoreError::Url(
                "only a SQLite database is a file that can be copied".to_owned(),
            ));
        };
        let failed = |error| StoreError::from_sqlx(COPYING, "it", error);
        // SQLite takes names as text.
        let name = copy
            .to_str()
            .ok_or_else(|| StoreError::Url(format!("{} is not UTF-8", copy.display())))?;
        file::create_privately(copy).map_err(|error| failed(error.into()))?;
        let mut connection = sqlite.read.acquire().await.map_err(failed)?;
        // One statement is one transaction: unlike sqlite3_backup, it does not start over when somebody
        // writes.
        let copied = sqlx::query("vacuum into $1")
            .bind(name.to_owned())
            .execute(&mut *connection)
            .await;
        copied.map(drop).map_err(failed)?;
        sqlite.check_unwritten(COPYING)
    }

    /// The log of a SQLite file and its size, if it is so large that a reader probably keeps it from
    /// starting over.
    pub fn large_log(&self) -> Option<(PathBuf, u64)> {
        let Self::Sqlite(sqlite) = self else {
            return None;
        };
        let size = file::log_size(&sqlite.file);
        (!sqlite.in_memory && size > file::LARGE_LOG)
            .then(|| (file::beside(&sqlite.file, "-wal"), size))
    }

    /// The size of the log of a SQLite file in bytes. `None` on Postgres.
    pub fn log_size(&self) -> Option<u64> {
        match self {
            Self::Sqlite(sqlite) if !sqlite.in_memory => Some(file::log_size(&sqlite.file)),
            Self::Sqlite(_) | Self::Postgres(_) => None,
        }
    }

    /// Whether the last writing transaction of an account had no answer.
    pub(super) fn wrote_in_vain(&self, account: AccountId) -> bool {
        match self {
            Self::Sqlite(_) => false,
            Self::Postgres(postgres) => postgres.patience.was_in_vain(account),
        }
    }

    /// `SQLite` or `Postgres`, for messages.
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

    /// Starts a writing transaction.
    pub(super) async fn writing(
        &self,
        doing: &'static str,
        table: &'static str,
    ) -> Result<Transaction, StoreError> {
        let open = match self {
            Self::Sqlite(sqlite) => {
                if let Some(file) = &sqlite.opened {
                    file.check()?;
                }
                let connection = sqlite.write.acquire().await;
                connection.map(|connection| Open::Sqlite(connection, sqlite.in_memory))
            }
            Self::Postgres(postgres) => {
                let patience = postgres.patience.clone();
                let connection = postgres.acquire(doing, table).await?;
                Ok(Open::Postgres(connection, patience))
            }
        }
        .map_err(|error| StoreError::from_sqlx(doing, table, error))?;
        let begin = match self {
            Self::Postgres(Postgres {
                read_only: true, ..
            }) => "begin read only",
            Self::Sqlite(_) | Self::Postgres(_) => self.backend().begin_writing(),
        };
        Transaction::begin(open, begin, doing, table).await
    }

    /// Starts a reading transaction for a few rows.
    pub(super) async fn reading(
        &self,
        doing: &'static str,
        table: &'static str,
    ) -> Result<Transaction, StoreError> {
        if let Self::Sqlite(sqlite) = self
            && let Some(connection) = sqlite.free_writer().await
        {
            let open = Open::Sqlite(connection, sqlite.in_memory);
            return Transaction::begin(open, "begin", doing, table).await;
        }
        self.reading_at_length(doing, table).await
    }

    /// Starts a reading transaction that may take so long that a writer should not wait for it.
    pub(super) async fn reading_at_length(
        &self,
        doing: &'static str,
        table: &'static str,
    ) -> Result<Transaction, StoreError> {
        self.reading_by("begin read only", doing, table).await
    }

    /// Starts a reading transaction, on Postgres with this statement.
    async fn reading_by(
        &self,
        postgres_begin: &'static str,
        doing: &'static str,
        table: &'static str,
    ) -> Result<Transaction, StoreError> {
        let open = match self {
            Self::Sqlite(sqlite) => {
                sqlite.check_unwritten(doing)?;
                let connection = sqlite.read.acquire().await;
                connection.map(|connection| Open::Sqlite(connection, sqlite.in_memory))
            }
            Self::Postgres(postgres) => {
                let mut patience = postgres.patience.clone();
                patience.answer *= READING;
                let connection = postgres.acquire(doing, table).await?;
                Ok(Open::Postgres(connection, patience))
            }
        }
        .map_err(|error| StoreError::from_sqlx(doing, table, error))?;
        let begin = match self {
            Self::Postgres(_) => postgres_begin,
            Self::Sqlite(_) => "begin",
        };
        Transaction::begin(open, begin, doing, table).await
    }

    /// Starts a reading transaction in which every statement sees the same state of the database.
    pub(super) async fn reading_one_state(
        &self,
        doing: &'static str,
        table: &'static str,
    ) -> Result<Transaction, StoreError> {
        // In SQLite any transaction sees the state at its first reading.
        let begin = "begin isolation level repeatable read, read only";
        let mut tx = self.reading_by(begin, doing, table).await?;
        if matches!(self, Self::Postgres(_)) {
            // Compilation takes longer than these queries.
            tx.script("set local jit = off").await?;
        }
        Ok(tx)
    }

    /// Fails if a SQLite file that is read without locks was written since it was opened: what was read may
    /// mix two states. Every reading transaction asks this when it begins, and report, export and backup ask
    /// it again before they give a result.
    pub fn check_unwritten(&self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.check_unwritten("read the database"),
            Self::Postgres(_) => Ok(()),
        }
    }
}

impl Sqlite {
    pub(super) const fn pool(&self) -> &SqlitePool {
        &self.write
    }

    /// The writing connection, if it is free within a moment and no reader is open. A program that does one
    /// thing after the other does not open a second connection then, which would have to read the schema
    /// again.
    async fn free_writer(&self) -> Option<PoolConnection<sqlx::Sqlite>> {
        let is_alone = self.opened.is_some() && self.read.size() == 0;
        if !is_alone {
            return None;
        }
        let free = tokio::time::timeout(SQLITE_WRITER_PATIENCE, self.write.acquire()).await;
        free.ok()?.ok()
    }

    fn check_unwritten(&self, doing: &'static str) -> Result<(), StoreError> {
        let Some(unlocked) = self.unlocked else {
            return Ok(());
        };
        if version(&self.file).map_err(|error| unseen(&error))? == unlocked {
            return Ok(());
        }
        Err(StoreError::Unavailable {
            doing,
            source: Cause::new(format!(
                "{} was written while it was read, and this user may not lock it; run the command again, \
                 or as the user that runs helena-sync",
                self.file.display()
            )),
        })
    }
}

impl Postgres {
    pub(super) const fn pool(&self) -> &PgPool {
        &self.pool
    }

    pub(super) const fn patience(&self) -> &Patience {
        &self.patience
    }

    /// A connection. If none becomes free in time, the error says why.
    async fn acquire(
        &self,
        doing: &'static str,
        table: &'static str,
    ) -> Result<PoolConnection<sqlx::Postgres>, StoreError> {
        match self.pool.acquire().await {
            Ok(connection) => Ok(connection),
            // Boxed, since every transaction would have room for it.
            Err(sqlx::Error::PoolTimedOut) => Err(Box::pin(self.why_none(doing, table)).await),
            Err(error) => Err(StoreError::from_sqlx(doing, table, error)),
        }
    }

    /// Why the pool had no connection: the server refuses another one, or all are in use.
    async fn why_none(&self, doing: &'static str, table: &'static str) -> StoreError {
        let options = self.pool.connect_options();
        let another = async { PgConnection::connect_with(&options).await?.close().await };
        let patience = Patience::of(POSTGRES_SIGN);
        if let Err(error) = patience.wait(another).await {
            return StoreError::from_sqlx(doing, table, error);
        }
        let Some((limit, whose)) = &self.limit else {
            return StoreError::from_sqlx(doing, table, sqlx::Error::PoolTimedOut);
        };
        StoreError::Unavailable {
            doing,
            source: Cause::new(format!(
                "all {} that {whose} may have were in use for too long; end other connections, or raise \
                 the connection limit of {whose}",
                counted(u64::from(*limit), "connection")
            )),
        }
    }
}

const OPENING: &str = "open the database";

async fn open_sqlite(url: &str, options: OpenOptions) -> Result<Sqlite, StoreError> {
    let connect = SqliteConnectOptions::from_str(url)
        .map_err(|_| StoreError::Url("its path or options are not valid".to_owned()))?
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .synchronous(SqliteSynchronous::Full);
    let in_memory = url.contains(":memory:") || url.contains("mode=memory");
    let file = connect.get_filename().to_owned();
    let failed = |error| StoreError::from_sqlx(OPENING, "it", error);
    let memory = Arc::new(Memory::default());
    let writing = || {
        let memory = Arc::clone(&memory);
        sqlite_pool(1).after_connect(move |_, _| {
            memory.clear();
            Box::pin(ready(Ok(())))
        })
    };
    if in_memory {
        // Every connection of its own would be a database of its own.
        let write = writing()
            .min_connections(1)
            .connect_with(connect)
            .await
            .map_err(failed)?;
        return Ok(Sqlite {
            read: write.clone(),
            write,
            in_memory,
            file,
            leaves_log: false,
            shares: false,
            memory,
            opened: None,
            unlocked: None,
        });
    }
    // A reader, too, would see a mixture.
    file::check_log(&file, SystemClock.now().to_datetime().into())?;
    let reading = connect.clone().read_only(true);
    if options.read_only {
        let (read, leaves_log, unlocked) = open_reader(&file, reading).await?;
        return Ok(Sqlite {
            write: read.clone(),
            read,
            in_memory,
            file,
            leaves_log,
            shares: false,
            memory,
            opened: None,
            unlocked,
        });
    }
    // If that fails, SQLite tells why.
    let _unwritable = file::create_privately(&file);
    let write = writing()
        .connect_with(
            connect
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                // Measured: a log of as many pages before it is folded back gains a tenth.
                .pragma("wal_autocheckpoint", "8000")
                // After a long reader, the log starts over with at most this size.
                .pragma("journal_size_limit", file::LARGE_LOG.to_string()),
        )
        .await
        .map_err(failed)?;
    let opened = OpenFile::at(&file).map(Arc::new);
    Ok(Sqlite {
        write,
        read: sqlite_pool(SQLITE_READERS).connect_lazy_with(reading),
        in_memory,
        file,
        leaves_log: false,
        shares: false,
        memory,
        opened,
        unlocked: None,
    })
}

fn sqlite_pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(SQLITE_ACQUIRE_TIMEOUT)
        .idle_timeout(None)
        .max_lifetime(None)
        // A file does not go away behind its connection.
        .test_before_acquire(false)
}

/// Connections that only read a file, whether they create a log that a reader cannot remove, and the
/// version of the file if they read it without locks.
async fn open_reader(
    file: &Path,
    reading: SqliteConnectOptions,
) -> Result<(SqlitePool, bool, Option<Version>), StoreError> {
    let failed = |error| StoreError::from_sqlx(OPENING, "it", error);
    // A report or an export may take its time.
    let reading = reading.disable_statement_logging();
    // Nobody writes to a file without a log.
    let unlocked = async || {
        let version = version(file).map_err(|error| failed(error.into()))?;
        let pool = sqlite_pool(SQLITE_READERS);
        let read = pool.connect_with(reading.clone().immutable(true)).await;
        let read = read.map_err(|error| explained(file, failed(error)))?;
        Ok((read, false, Some(version)))
    };
    let is_alone = !file::beside(file, "-wal").exists();
    let is_writable = file::may(file, Access::WRITE_OK);
    if is_alone && !is_writable {
        // SQLite would create a log that this user cannot remove afterwards.
        return unlocked().await;
    }
    let opened = async {
        let read = sqlite_pool(SQLITE_READERS)
            .connect_with(reading.clone())
            .await?;
        // Only the first reading opens the log.
        sqlx::raw_sql("select count(*) from sqlite_master")
            .execute(&read)
            .await?;
        Ok(read)
    };
    match opened.await {
        Ok(read) => Ok((read, is_alone && is_writable, None)),
        // The place of its log cannot be written to.
        Err(error) if lacks_log(&error) && file::is_whole(file) => unlocked().await,
        Err(error) => Err(explained(file, failed(error))),
    }
}

/// Removes the empty log that a reader has created, unless somebody uses it: the last writer that closes
/// a database does that.
async fn remove_log(file: &Path) {
    let writer = SqliteConnectOptions::new().filename(file);
    let opened = SqliteConnection::connect_with(&writer).await;
    if let Ok(mut writer) = opened {
        // Only the first reading opens the log. If it fails, the log stays, which harms nobody.
        let _read = sqlx::raw_sql("select count(*) from sqlite_master")
            .execute(&mut writer)
            .await;
        let _closed = writer.close().await;
    }
}

/// Whether SQLite could not create the log of a file, or could not open it.
fn lacks_log(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(error) = error else {
        return false;
    };
    let code = error.code().and_then(|code| code.parse::<i32>().ok());
    // The lower byte is the primary code.
    code.is_some_and(|code| [READ_ONLY, CANNOT_OPEN].contains(&(code & 0xff)))
}

/// The error of a file that could not be opened for reading, with what is needed.
fn explained(file: &Path, error: StoreError) -> StoreError {
    let StoreError::Unavailable { doing, source } = error else {
        return error;
    };
    let readable = |suffix: &str| {
        let file = file::beside(file, suffix);
        (file.exists() && !file::may(&file, Access::READ_OK)).then(|| file.display().to_string())
    };
    let closed: Vec<String> = ["", "-wal", "-shm"]
        .into_iter()
        .filter_map(readable)
        .collect();
    let needed = if !closed.is_empty() {
        format!("this user must be able to read {}", closed.join(" and "))
    } else if file::log_size(file) > 0 {
        format!(
            "{0}-wal has changes that {0} lacks, and reading them needs {0}-shm or the right to write \
             into the folder: run this command as the user that runs helena-sync",
            file.display()
        )
    } else {
        return StoreError::Unavailable { doing, source };
    };
    StoreError::Unavailable {
        doing,
        source: Cause::new(format!("{source}; {needed}")),
    }
}

async fn open_postgres(url: &str, options: OpenOptions) -> Result<Postgres, StoreError> {
    let (url, search_path) = server::without_search_path(url);
    let connect = PgConnectOptions::from_str(&url)
        .map_err(|_| StoreError::Url("it is not a valid URL".to_owned()))?
        .application_name("helena-sync")
        // Poolers refuse it, and the default of servers shows all digits, too.
        .extra_float_digits(None);
    // A report or an export may take its time.
    let connect = if options.read_only {
        connect.disable_statement_logging()
    } else {
        connect
    };
    let memory = Arc::new(Memory::default());
    let failed = |error: sqlx::Error| {
        server::refusal(&error).unwrap_or_else(|| StoreError::from_sqlx(OPENING, "it", error))
    };
    let mut pool = pool_of(&connect, &memory, POSTGRES_CONNECTIONS);
    let silence = Patience::of(POSTGRES_ACQUIRE_TIMEOUT);
    let mut first = first_connection(&pool, &connect, &silence)
        .await
        .map_err(failed)?;
    let asked = check_pooler(&mut first, &connect, options.read_only).await;
    let asked = asked.and_then(|server| server.check_encoding().map(|()| server));
    let server = match asked {
        Ok(server) => server,
        Err(error) => {
            first.close_on_drop();
            return Err(error);
        }
    };
    let limit = server
        .limit()
        .filter(|(limit, _)| *limit <= POSTGRES_CONNECTIONS);
    if let Some((limit, _)) = &limit {
        // One is left to other programs, if two remain.
        let ours = if *limit > 2 {
            limit - 1
        } else {
            (*limit).max(1)
        };
        first.close_on_drop();
        drop(first);
        pool.close().await;
        pool = pool_of(&connect, &memory, ours);
    } else {
        Open::Postgres(first, silence).give_back().await;
    }
    Ok(Postgres {
        pool,
        patience: Patience::of(POSTGRES_ANSWER).within(search_path),
        read_only: options.read_only,
        limit,
        shares: false,
        memory,
    })
}

/// A pool of so many connections at most. It opens them when they are needed.
fn pool_of(connect: &PgConnectOptions, memory: &Arc<Memory>, connections: u32) -> PgPool {
    let remembered = Arc::clone(memory);
    PgPoolOptions::new()
        .max_connections(connections)
        // Any of them may write.
        .after_connect(move |_, _| {
            remembered.clear();
            Box::pin(ready(Ok(())))
        })
        // The fewer there are, the longer each is waited for.
        .acquire_timeout(POSTGRES_ACQUIRE_TIMEOUT * (POSTGRES_CONNECTIONS / connections.max(1)))
        // sqlx's own test waits for ever for a server that is gone.
        .test_before_acquire(false)
        .before_acquire(move |connection, _| {
            Box::pin(async move {
                let sign = Patience::of(POSTGRES_SIGN);
                Ok(sign.wait(connection.ping()).await.is_ok())
            })
        })
        .connect_lazy_with(connect.clone())
}

/// Refuses a pooler in transaction mode. Returns what the server says about itself.
async fn check_pooler(
    first: &mut PgConnection,
    connect: &PgConnectOptions,
    read_only: bool,
) -> Result<Server, StoreError> {
    let patience = Patience::of(POSTGRES_ACQUIRE_TIMEOUT);
    let server = patience.wait(Server::ask(first)).await.map_err(|error| {
        server::refusal(&error).unwrap_or_else(|| StoreError::from_sqlx(OPENING, "it", error))
    })?;
    if server::is_shared(first, connect, &server, read_only).await? {
        return Err(server::transaction_mode());
    }
    Ok(server)
}

/// The error of a single connection attempt. The pool only retries until its timeout and then does
/// not say why it failed.
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
    async fn a_file_that_is_written_while_it_is_read_without_locks_gives_no_result() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("helena.db");
        let url = format!("sqlite://{}", file.display());
        let writer = Store::open(&url, &OpenOptions::default()).await.unwrap();
        writer.migrate().await.unwrap();
        writer.close().await;
        let options = OpenOptions { read_only: true };
        let mut reader = Store::open(&url, &options).await.unwrap();
        if let Store::Sqlite(sqlite) = &mut reader {
            // As for a user who may not write.
            let options = SqliteConnectOptions::new().filename(&file).immutable(true);
            sqlite.read.close().await;
            sqlite.read = sqlite_pool(1).connect_with(options).await.unwrap();
            sqlite.unlocked = Some(version(&file).unwrap());
        }
        reader.check_unwritten().unwrap();
        let accounts = reader.accounts().await;
        assert_eq!(accounts.unwrap(), []);
        let writer = Store::open(&url, &OpenOptions::default()).await.unwrap();
        let now = Timestamp::parse("2026-05-04T14:00:00Z").unwrap();
        writer.account("north", "https://x", now).await.unwrap();
        writer.close().await;
        // However coarse the clock of the file system is.
        let changed = std::fs::File::options().write(true).open(&file).unwrap();
        let later = version(&file).unwrap().0 + Duration::from_secs(1);
        changed.set_modified(later).unwrap();
        let told = |error: StoreError| match error {
            StoreError::Unavailable { source, .. } => source.to_string(),
            error => panic!("{error:?}"),
        };
        let read = told(reader.accounts().await.unwrap_err());
        assert!(read.contains("was written while it was read"), "{read}");
        told(reader.check_unwritten().unwrap_err());
        let copy = folder.path().join("copy.db");
        told(reader.copy_to(&copy).await.unwrap_err());
        reader.close().await;
    }

    #[test]
    fn another_file_in_its_place_is_told_and_a_place_that_cannot_be_seen_is_retried() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("folder");
        std::fs::create_dir(&place).unwrap();
        let file = place.join("helena.db");
        std::fs::write(&file, "one").unwrap();
        let opened = OpenFile::at(&file).unwrap();
        opened.check().unwrap();
        // Neither the file nor its absence can be seen.
        std::fs::rename(&place, folder.path().join("away")).unwrap();
        std::fs::write(&place, "a file").unwrap();
        let unseen = opened.check().unwrap_err();
        assert!(
            matches!(unseen, StoreError::Unavailable { .. }),
            "{unseen:?}"
        );
        std::fs::remove_file(&place).unwrap();
        let gone = opened.check().unwrap_err();
        assert!(matches!(gone, StoreError::Replaced { .. }), "{gone:?}");
        std::fs::create_dir(&place).unwrap();
        std::fs::write(&file, "another").unwrap();
        let other = opened.check().unwrap_err();
        assert!(matches!(other, StoreError::Replaced { .. }), "{other:?}");
    }

    #[tokio::test]
    async fn a_full_disk_that_has_room_again_is_written_to() {
        survives_a_full_disk("sqlite::memory:").await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("full.db");
        survives_a_full_disk(&format!("sqlite://{}", file.display())).await;
    }
}
