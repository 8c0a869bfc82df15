//! A transaction on either database, with the two things one does in it.
//!
//! Must not know any table but that of the leases. It ends by [`Transaction::commit`], or by
//! [`Transaction::end`] if it has only read; dropped, it rolls back.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, FromRow, SqlSafeStr, SqlStr};
use tokio::task::JoinHandle;

use super::backend::{Backend, PostgresBackend, SqliteBackend};
use super::error::StoreError;
use super::lease::{LEASE_TTL, Lease};
use super::open::POSTGRES_SIGN;
use super::value::{Arg, bind};

/// What both drivers can read out of an answer.
pub(super) trait Record:
    for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin
{
}

impl<T> Record for T where
    T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin
{
}

/// How long a Postgres is waited for, and whether that was in vain.
///
/// A server that vanishes without a word, with its machine or behind a router that forgot the
/// connection, leaves its client waiting for ever.
#[derive(Debug, Clone)]
pub(super) struct Patience {
    /// For one answer.
    pub(super) answer: Duration,
    /// Whether the last transaction that wrote under a lease got none. Shared by all transactions.
    pub(super) in_vain: Arc<AtomicBool>,
}

impl Patience {
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

    /// The same, but no longer than this, for what has no work to do.
    fn at_most(&self, answer: Duration) -> Self {
        Self {
            answer: self.answer.min(answer),
            in_vain: Arc::clone(&self.in_vain),
        }
    }

    /// What makes the server as impatient as its client, a little more even, so that it says what it
    /// waits for: nothing that it was told to do goes on when nobody waits for it any more, and a
    /// transaction that nobody ends does not keep its locks.
    fn begin(&self, begin: &str) -> String {
        let statement = self.answer * 9 / 10;
        let idle = self.answer.min(LEASE_TTL);
        format!(
            "{begin}; set local statement_timeout = {}; \
             set local idle_in_transaction_session_timeout = {}",
            statement.as_millis(),
            idle.as_millis()
        )
    }
}

/// Whether a connection got no answer, and never will.
fn is_silence(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(error) if error.kind() == io::ErrorKind::TimedOut)
}

/// A statement, and whether its plan is kept.
///
/// Postgres keeps the plan of a statement that it has seen often enough, however its tables grow
/// afterwards. That is well for what every commit does, where a plan costs more than the work, and
/// where there is but one way to do it.
#[derive(Debug)]
pub(super) struct Statement {
    sql: SqlStr,
    plan_is_kept: bool,
}

impl Statement {
    /// One that is planned each time, for its parameters and for the tables as they are: for what
    /// compares a large table with a list, which is best done in another way for a small one. The text
    /// must be none whose plan is kept.
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

/// A connection for one transaction; of SQLite also whether it is the database, too, which lives in
/// memory as long as its connection.
#[derive(Debug)]
pub(super) enum Open {
    Sqlite(PoolConnection<sqlx::Sqlite>, bool),
    Postgres(PoolConnection<sqlx::Postgres>, Patience),
}

/// One transaction, and what it is for, which goes into its errors.
///
/// Begun and ended by statements of its own, not by sqlx's transactions: where SQLite rolls back by
/// itself, as on a full disk, sqlx's rollback fails, and its connection counts as being in a
/// transaction for ever after.
#[derive(Debug)]
pub(super) struct Transaction {
    /// There until the transaction has ended.
    open: Option<Open>,
    /// Under which it writes.
    lease: Option<Lease>,
    doing: &'static str,
    table: &'static str,
}

/// One text for both databases: `$1` is a parameter in either.
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

    /// An error about something stored that this program does not store.
    pub(super) fn inconsistent(&self, column: &str, problem: &str) -> StoreError {
        StoreError::Inconsistent {
            doing: self.doing,
            table: self.table,
            column: column.to_owned(),
            problem: problem.to_owned(),
        }
    }

    /// Runs a statement; yields the number of rows it changed.
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

    /// Runs a statement; yields its rows.
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

    /// Runs a statement; yields its first row, if it has one.
    pub(super) async fn row<T: Record>(
        &mut self,
        statement: impl Into<Statement>,
        args: Vec<Arg<'_>>,
    ) -> Result<Option<T>, StoreError> {
        Ok(self.rows(statement, args).await?.into_iter().next())
    }

    /// Runs a statement that yields one number.
    pub(super) async fn number(
        &mut self,
        statement: impl Into<Statement>,
        args: Vec<Arg<'_>>,
    ) -> Result<i64, StoreError> {
        let row: Option<(i64,)> = self.row(statement, args).await?;
        row.map(|(number,)| number)
            .ok_or_else(|| self.inconsistent("", "is missing"))
    }

    /// Runs a statement that begins or ends the transaction.
    async fn control(&mut self, sql: impl SqlSafeStr) -> Result<(), StoreError> {
        let done = on_open!(self, connection: _A => {
            sqlx::raw_sql(sql).execute(connection).await.map(drop)
        });
        done.map_err(|error| self.failed(error))
    }

    /// Sorts an error. A connection that was waited for in vain is given up at once: what was sent
    /// may still arrive, and whatever comes back would answer another question.
    pub(super) fn failed(&mut self, error: sqlx::Error) -> StoreError {
        if is_silence(&error)
            && let Some(Open::Postgres(mut connection, patience)) = self.open.take()
        {
            connection.close_on_drop();
            if self.lease.is_some() {
                patience.in_vain.store(true, Ordering::Relaxed);
            }
        }
        StoreError::from_sqlx(self.doing, self.table, error)
    }

    /// Says that this transaction writes under a lease.
    pub(super) fn under(&mut self, lease: &Lease) {
        self.lease = Some(lease.clone());
    }

    pub(super) async fn commit(mut self) -> Result<(), StoreError> {
        if let (Some(Open::Postgres(..)), Some(lease)) = (&self.open, self.lease.clone()) {
            self.renewed(&lease).await?;
        }
        self.control("commit").await?;
        if let (Some(Open::Postgres(_, patience)), Some(_)) = (&self.open, &self.lease) {
            patience.in_vain.store(false, Ordering::Relaxed);
        }
        // The connection is as it was.
        if let Some(open) = self.open.take() {
            finished(tokio::spawn(open.give_back())).await;
        }
        Ok(())
    }

    /// Ends a transaction that has only read, which then is no transaction any more. Dropped, it
    /// would end too, but some time later, and whoever asks next would get one more connection.
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

/// Waits for a task, which comes to its end also if nobody waits any more.
async fn finished(task: JoinHandle<()>) {
    // It is never aborted, and does not panic.
    let _ended = task.await;
}

impl Open {
    /// Ends the transaction and gives the connection back. One on which that fails, be it only
    /// because the database has done so by itself, is in a state that nobody knows, and not used
    /// again.
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

    /// Gives the connection back to its pool. Dropped, it would go there by itself, but some time
    /// later: whoever asks next would be given another one, which has to be opened, knows no
    /// prepared statement and keeps a page cache of its own.
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
