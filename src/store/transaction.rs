//! A transaction on either database: executes statements and reads rows.
//!
//! Must not know any table except `leases`. It ends with [`Transaction::commit`], or with
//! [`Transaction::end`] if it only read. If it is dropped, it rolls back.

use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::TryStreamExt as _;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, FromRow, SqlSafeStr, SqlStr};
use tokio::task::JoinHandle;

use super::account::AccountId;
use super::backend::{Backend, PostgresBackend, SqliteBackend};
use super::error::StoreError;
use super::lease::{LEASE_TTL, Lease};
use super::open::POSTGRES_SIGN;
use super::server::set_search_path;
use super::value::{Arg, bind};
use crate::data::Timestamp;

/// A type that both drivers can read.
pub(super) trait Record:
    for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin
{
}

impl<T> Record for T where
    T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin
{
}

/// Makes a struct that is read by column name, from either database. A field after `..` is a record of its
/// own, which is read from the same row.
macro_rules! record {
    (
        $(#[$attribute:meta])*
        struct $name:ident { $(..$part:ident: $whole:ty,)? $($field:ident: $type:ty,)* }
    ) => {
        $(#[$attribute])*
        struct $name {
            $($part: $whole,)?
            $($field: $type,)*
        }

        impl<'r, R: sqlx::Row> sqlx::FromRow<'r, R> for $name
        where
            &'static str: sqlx::ColumnIndex<R>,
            $($whole: sqlx::FromRow<'r, R>,)?
            $($type: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,)*
        {
            fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
                Ok(Self {
                    $($part: sqlx::FromRow::from_row(row)?,)?
                    $($field: row.try_get(stringify!($field))?,)*
                })
            }
        }
    };
}
pub(super) use record;

/// The timeout for Postgres, and the accounts whose last write timed out.
///
/// If a server disappears without closing its connections, for example with its machine, its client
/// would wait for ever.
#[derive(Debug, Clone)]
pub(super) struct Patience {
    /// The timeout of one answer.
    pub(super) answer: Duration,
    /// The schemas of the tables, if they are not those of the role.
    search_path: Option<Arc<str>>,
    /// The accounts whose last transaction under a lease had no answer. All transactions share it.
    in_vain: Arc<Mutex<HashSet<AccountId>>>,
}

impl Patience {
    /// With this timeout.
    pub(super) fn of(answer: Duration) -> Self {
        Self {
            answer,
            search_path: None,
            in_vain: Arc::default(),
        }
    }

    /// The same, for transactions with this search path.
    pub(super) fn within(mut self, search_path: Option<String>) -> Self {
        self.search_path = search_path.map(Arc::from);
        self
    }

    /// The search path of transactions.
    pub(super) fn search_path(&self) -> Option<&str> {
        self.search_path.as_deref()
    }

    fn in_vain(&self) -> MutexGuard<'_, HashSet<AccountId>> {
        // Nothing in here panics while it is held.
        self.in_vain.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the last writing transaction of an account had no answer.
    pub(super) fn was_in_vain(&self, account: AccountId) -> bool {
        self.in_vain().contains(&account)
    }

    /// Waits for an answer.
    pub(super) async fn wait<T>(
        &self,
        answer: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error> {
        tokio::time::timeout(self.answer, answer)
            .await
            .unwrap_or_else(|_| {
                let limit = humantime::format_duration(self.answer);
                let silence = format!("no answer within {limit}");
                Err(io::Error::new(io::ErrorKind::TimedOut, silence).into())
            })
    }

    /// The same, but at most this long, for statements without work.
    fn at_most(&self, answer: Duration) -> Self {
        Self {
            answer: self.answer.min(answer),
            search_path: self.search_path.clone(),
            in_vain: Arc::clone(&self.in_vain),
        }
    }

    /// Gives the server a timeout that is slightly shorter than the client's, so that it can report
    /// what it waits for. It ends statements that nobody waits for any more, and transactions that
    /// nobody ends, which would keep their locks.
    fn begin(&self, begin: &str) -> String {
        let statement = self.answer * 9 / 10;
        let idle = self.answer.min(LEASE_TTL);
        let path = self.search_path().map_or_else(String::new, |path| {
            format!("; {}", set_search_path(path, true))
        });
        format!(
            "{begin}; set local statement_timeout = {}; \
             set local idle_in_transaction_session_timeout = {}{path}",
            statement.as_millis(),
            idle.as_millis()
        )
    }
}

/// Whether a connection had no answer and must not be used again.
fn is_silence(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(error) if error.kind() == io::ErrorKind::TimedOut)
}

/// A statement, and whether Postgres keeps its plan.
///
/// Postgres keeps the plan of a statement that it has seen often enough, even if the tables grow
/// afterwards. That is good for statements of every commit, where planning costs more than the
/// work, and where there is only one good plan.
#[derive(Debug)]
pub(super) struct Statement {
    sql: SqlStr,
    plan_is_kept: bool,
}

impl Statement {
    /// A statement that is planned each time, for its parameters and the current size of the
    /// tables. It is for statements that compare a large table with a list, whose best plan depends
    /// on the size of the list. Its text must not be that of a statement whose plan is kept.
    pub(super) fn planned_anew(sql: String) -> Self {
        Self {
            sql: AssertSqlSafe(sql).into_sql_str(),
            plan_is_kept: false,
        }
    }
}

impl<T: SqlSafeStr> From<T> for Statement {
    fn from(sql: T) -> Self {
        Self {
            sql: sql.into_sql_str(),
            plan_is_kept: true,
        }
    }
}

/// A row that was read, from either database.
#[derive(Debug)]
pub(super) enum Fetched<'r> {
    Sqlite(&'r SqliteRow),
    Postgres(&'r PgRow),
}

/// A connection for one transaction. A SQLite database in memory lives only as long as its
/// connection.
#[derive(Debug)]
pub(super) enum Open {
    Sqlite(PoolConnection<sqlx::Sqlite>, bool),
    Postgres(PoolConnection<sqlx::Postgres>, Patience),
}

/// A transaction, and its purpose, which goes into its errors.
///
/// It starts and ends with its own statements, not with sqlx's transactions. If SQLite rolls back
/// by itself, for example because the disk is full, sqlx's rollback fails, and sqlx considers the
/// connection to be in a transaction for ever.
#[derive(Debug)]
pub(super) struct Transaction {
    /// `Some` until the transaction has ended.
    open: Option<Open>,
    /// The lease under which it writes.
    lease: Option<Lease>,
    /// The account's `change_seq` before this transaction.
    change_seq: i64,
    /// The next `change_seq`. No other transaction can use it, since the lease's row is locked.
    next_change: i64,
    /// Whether it wrote rows with the next `change_seq`.
    has_changes: bool,
    /// The newest reading that is written, in the order of readings.
    read_to: Option<Timestamp>,
    /// The time that the clock that stamps records has certainly reached, once it was read.
    pub(super) reached: Option<Timestamp>,
    doing: &'static str,
    table: &'static str,
}

/// One SQL text for both databases: both accept `$1` as a parameter.
macro_rules! on_open {
    ($self:ident, $connection:ident: $arguments:ident => $body:expr) => {
        match $self.open.as_mut() {
            Some(Open::Sqlite(connection, _)) => {
                type $arguments = SqliteArguments;
                let $connection = &mut **connection;
                $body
            }
            Some(Open::Postgres(connection, patience)) => {
                type $arguments = PgArguments;
                let $connection = &mut **connection;
                patience.wait(async { $body }).await
            }
            None => Err(sqlx::Error::WorkerCrashed),
        }
    };
}

impl Transaction {
    /// Begins a transaction with this statement.
    pub(super) async fn begin(
        open: Open,
        begin: &'static str,
        doing: &'static str,
        table: &'static str,
    ) -> Result<Self, StoreError> {
        // Before the statement: if nobody waits for its end, there is something to roll back.
        let begin = match &open {
            Open::Sqlite(..) => begin.to_owned(),
            Open::Postgres(_, patience) => patience.begin(begin),
        };
        let mut transaction = Self {
            open: Some(open),
            lease: None,
            change_seq: 0,
            next_change: 0,
            has_changes: false,
            read_to: None,
            reached: None,
            doing,
            table,
        };
        transaction.control(AssertSqlSafe(begin)).await?;
        Ok(transaction)
    }

    pub(super) fn backend(&self) -> &'static dyn Backend {
        match self.open {
            Some(Open::Postgres(..)) => &PostgresBackend,
            Some(Open::Sqlite(..)) | None => &SqliteBackend,
        }
    }

    pub(super) const fn is_postgres(&self) -> bool {
        matches!(self.open, Some(Open::Postgres(..)))
    }

    /// The error for a stored value that this program does not write.
    pub(super) fn inconsistent(&self, column: &str, problem: &str) -> StoreError {
        StoreError::Inconsistent {
            doing: self.doing,
            table: self.table,
            column: column.to_owned(),
            problem: problem.to_owned(),
        }
    }

    /// Executes a statement. Returns the number of rows it changed.
    pub(super) async fn execute(
        &mut self,
        statement: impl Into<Statement>,
        args: Vec<Arg<'_>>,
    ) -> Result<u64, StoreError> {
        let Statement { sql, plan_is_kept } = statement.into();
        let done = on_open!(self, connection: A => {
            let query = bind::<A>(args).map(|args| sqlx::query_with(sql, args));
            match query.map(|query| query.persistent(plan_is_kept)) {
                Ok(query) => query.execute(connection).await.map(|done| done.rows_affected()),
                Err(error) => Err(error),
            }
        });
        done.map_err(|error| self.failed(error))
    }

    /// Executes a statement. Returns its rows.
    pub(super) async fn rows<T: Record>(
        &mut self,
        statement: impl Into<Statement>,
        args: Vec<Arg<'_>>,
    ) -> Result<Vec<T>, StoreError> {
        let Statement { sql, plan_is_kept } = statement.into();
        let rows = on_open!(self, connection: A => {
            let query = bind::<A>(args).map(|args| sqlx::query_as_with(sql, args));
            match query.map(|query| query.persistent(plan_is_kept)) {
                Ok(query) => query.fetch_all(connection).await,
                Err(error) => Err(error),
            }
        });
        rows.map_err(|error| self.failed(error))
    }

    /// Executes a statement, and hands over its rows one by one while they arrive, until `take` answers
    /// false. Each row is waited for as long as an answer.
    pub(super) async fn each(
        &mut self,
        sql: SqlStr,
        mut take: impl FnMut(Fetched<'_>) -> Result<bool, sqlx::Error>,
    ) -> Result<(), StoreError> {
        let done = match self.open.as_mut() {
            Some(Open::Sqlite(connection, _)) => {
                let mut rows = sqlx::query(sql).persistent(false).fetch(&mut **connection);
                loop {
                    match rows.try_next().await {
                        Ok(Some(row)) => match take(Fetched::Sqlite(&row)) {
                            Ok(true) => {}
                            Ok(false) => break Ok(()),
                            Err(error) => break Err(error),
                        },
                        Ok(None) => break Ok(()),
                        Err(error) => break Err(error),
                    }
                }
            }
            Some(Open::Postgres(connection, patience)) => {
                let mut rows = sqlx::query(sql).persistent(false).fetch(&mut **connection);
                loop {
                    match patience.wait(rows.try_next()).await {
                        Ok(Some(row)) => match take(Fetched::Postgres(&row)) {
                            Ok(true) => {}
                            Ok(false) => break Ok(()),
                            Err(error) => break Err(error),
                        },
                        Ok(None) => break Ok(()),
                        Err(error) => break Err(error),
                    }
                }
            }
            None => Err(sqlx::Error::WorkerCrashed),
        };
        done.map_err(|error| self.failed(error))
    }

    /// Executes a statement. Returns its first row, if there is one.
    pub(super) async fn row<T: Record>(
        &mut self,
        statement: impl Into<Statement>,
        args: Vec<Arg<'_>>,
    ) -> Result<Option<T>, StoreError> {
        Ok(self.rows(statement, args).await?.into_iter().next())
    }

    /// Executes a statement that returns one number.
    pub(super) async fn number(
        &mut self,
        statement: impl Into<Statement>,
        args: Vec<Arg<'_>>,
    ) -> Result<i64, StoreError> {
        let row: Option<(i64,)> = self.row(statement, args).await?;
        row.map(|(number,)| number)
            .ok_or_else(|| self.inconsistent("", "is missing"))
    }

    /// Executes several statements without parameters.
    pub(super) async fn script(&mut self, sql: impl SqlSafeStr) -> Result<(), StoreError> {
        self.control(sql).await
    }

    /// Executes a statement that starts or ends the transaction.
    async fn control(&mut self, sql: impl SqlSafeStr) -> Result<(), StoreError> {
        let done = on_open!(self, connection: _A => {
            sqlx::raw_sql(sql).execute(connection).await.map(drop)
        });
        done.map_err(|error| self.failed(error))
    }

    /// Sorts an error. After a timeout, closes the connection at once: the answer may still arrive,
    /// and would be read as the answer to another statement.
    pub(super) fn failed(&mut self, error: sqlx::Error) -> StoreError {
        if is_silence(&error)
            && let Some(Open::Postgres(mut connection, patience)) = self.open.take()
        {
            connection.close_on_drop();
            if let Some(lease) = &self.lease {
                patience.in_vain().insert(lease.account());
            }
        }
        StoreError::from_sqlx(self.doing, self.table, error)
    }

    /// Sets the lease under which this transaction writes, the account's `change_seq`, and the next
    /// one.
    pub(super) fn under(&mut self, lease: &Lease, change_seq: i64, next_change: i64) {
        self.lease = Some(lease.clone());
        self.change_seq = change_seq;
        self.next_change = next_change;
    }

    /// The `change_seq` of the rows that this transaction writes.
    pub(super) const fn next_change(&self) -> i64 {
        self.next_change
    }

    /// Records that rows were written with [`Self::next_change`].
    pub(super) const fn note_changes(&mut self) {
        self.has_changes = true;
    }

    /// Records that something was written that was read at this position in the order of readings.
    pub(super) fn note_reading(&mut self, at: Timestamp) {
        self.read_to = self.read_to.max(Some(at));
    }

    pub(super) async fn commit(mut self) -> Result<(), StoreError> {
        if let Some(lease) = self.lease.clone() {
            let change_seq = if self.has_changes {
                self.next_change
            } else {
                self.change_seq
            };
            let read_to = self.read_to;
            if matches!(self.open, Some(Open::Postgres(..))) {
                self.renewed(&lease, change_seq, read_to).await?;
            } else if self.has_changes {
                // What was read without changing anything left no trace of its place.
                self.changed(&lease, change_seq, read_to).await?;
            }
        }
        self.control("commit").await?;
        if let (Some(Open::Postgres(_, patience)), Some(lease)) = (&self.open, &self.lease) {
            patience.in_vain().remove(&lease.account());
        }
        // The connection is as it was.
        if let Some(open) = self.open.take() {
            finished(tokio::spawn(open.give_back())).await;
        }
        Ok(())
    }

    /// Ends a reading transaction at once. If it is dropped instead, it ends later, and the next
    /// caller needs another connection.
    pub(super) async fn end(&mut self) {
        if let Some(open) = self.open.take() {
            finished(tokio::spawn(open.roll_back())).await;
        }
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if let Some(open) = self.open.take() {
            tokio::spawn(open.roll_back());
        }
    }
}

/// Waits for a task, which runs to its end even if nobody waits for it.
async fn finished(task: JoinHandle<()>) {
    // It is never aborted, and does not panic.
    let _ended = task.await;
}

impl Open {
    /// Ends the transaction and returns the connection to the pool. If that fails, for example
    /// because the database has already rolled back, the connection is in an unknown state and is
    /// closed.
    async fn roll_back(mut self) {
        const ROLLBACK: &str = "rollback";
        match &mut self {
            Self::Sqlite(connection, is_the_database) => {
                let ended = sqlx::raw_sql(ROLLBACK).execute(&mut **connection).await;
                if ended.is_err() && !*is_the_database {
                    connection.close_on_drop();
                    return;
                }
            }
            Self::Postgres(connection, patience) => {
                let ended = sqlx::raw_sql(ROLLBACK).execute(&mut **connection);
                let ended = patience.at_most(POSTGRES_SIGN).wait(ended).await.map(drop);
                if ended.is_err() {
                    connection.close_on_drop();
                    return;
                }
            }
        }
        self.give_back().await;
    }

    /// Returns the connection to its pool at once. If it is dropped instead, that happens later,
    /// and the next caller gets another connection, which must be opened, has no prepared
    /// statements and has a page cache of its own.
    pub(super) async fn give_back(self) {
        match self {
            Self::Sqlite(mut connection, _) => Box::pin(connection.return_to_pool()).await,
            Self::Postgres(mut connection, patience) => {
                let back = async {
                    Box::pin(connection.return_to_pool()).await;
                    Ok(())
                };
                // In vain: it is closed.
                let _silence = patience.at_most(POSTGRES_SIGN).wait(back).await;
            }
        }
    }
}
