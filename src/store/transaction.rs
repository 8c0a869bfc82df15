//! A transaction on either database, with the two things one does in it.
//!
//! Must not know any table. It ends by [`Transaction::commit`]; dropped, it rolls back.

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{FromRow, SqlSafeStr};

use super::backend::{Backend, PostgresBackend, SqliteBackend};
use super::error::StoreError;
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

/// A connection for one transaction; of SQLite also whether it is the database, too, which lives in
/// memory as long as its connection.
#[derive(Debug)]
pub(super) enum Open {
    Sqlite(PoolConnection<sqlx::Sqlite>, bool),
    Postgres(PoolConnection<sqlx::Postgres>),
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
            Some(Open::Postgres(connection)) => {
                type $arguments = PgArguments;
                let $connection = &mut **connection;
                $body
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
        let mut transaction = Self {
            open: Some(open),
            doing,
            table,
        };
        transaction.control(begin).await?;
        Ok(transaction)
    }

    pub(super) fn backend(&self) -> &'static dyn Backend {
        match self.open {
            Some(Open::Postgres(_)) => &PostgresBackend,
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
        sql: impl SqlSafeStr,
        args: Vec<Arg<'_>>,
    ) -> Result<u64, StoreError> {
        let (doing, table) = (self.doing, self.table);
        on_open!(self, connection: A => {
            let query = bind::<A>(args).map(|args| sqlx::query_with(sql, args));
            match query {
                Ok(query) => query.execute(connection).await.map(|done| done.rows_affected()),
                Err(error) => Err(error),
            }
        })
        .map_err(|error| StoreError::from_sqlx(doing, table, error))
    }

    /// Runs a statement; yields its rows.
    pub(super) async fn rows<T: Record>(
        &mut self,
        sql: impl SqlSafeStr,
        args: Vec<Arg<'_>>,
    ) -> Result<Vec<T>, StoreError> {
        let (doing, table) = (self.doing, self.table);
        on_open!(self, connection: A => {
            let query = bind::<A>(args).map(|args| sqlx::query_as_with(sql, args));
            match query {
                Ok(query) => query.fetch_all(connection).await,
                Err(error) => Err(error),
            }
        })
        .map_err(|error| StoreError::from_sqlx(doing, table, error))
    }

    /// Runs a statement; yields its first row, if it has one.
    pub(super) async fn row<T: Record>(
        &mut self,
        sql: impl SqlSafeStr,
        args: Vec<Arg<'_>>,
    ) -> Result<Option<T>, StoreError> {
        Ok(self.rows(sql, args).await?.into_iter().next())
    }

    /// Runs a statement that yields one number.
    pub(super) async fn number(
        &mut self,
        sql: impl SqlSafeStr,
        args: Vec<Arg<'_>>,
    ) -> Result<i64, StoreError> {
        let row: Option<(i64,)> = self.row(sql, args).await?;
        row.map(|(number,)| number)
            .ok_or_else(|| self.inconsistent("", "is missing"))
    }

    /// Runs a statement that begins or ends the transaction.
    async fn control(&mut self, sql: &'static str) -> Result<(), StoreError> {
        let (doing, table) = (self.doing, self.table);
        on_open!(self, connection: _A => sqlx::raw_sql(sql).execute(connection).await.map(drop))
            .map_err(|error| StoreError::from_sqlx(doing, table, error))
    }

    pub(super) async fn commit(mut self) -> Result<(), StoreError> {
        self.control("commit").await?;
        // The connection is as it was, and goes back to the others.
        self.open = None;
        Ok(())
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if let Some(open) = self.open.take() {
            tokio::spawn(open.roll_back());
        }
    }
}

impl Open {
    /// Ends the transaction. A connection on which that fails, be it only because the database has
    /// done so by itself, is in a state that nobody knows, and not used again.
    async fn roll_back(self) {
        const ROLLBACK: &str = "rollback";
        match self {
            Self::Sqlite(mut connection, is_the_database) => {
                let ended = sqlx::raw_sql(ROLLBACK).execute(&mut *connection).await;
                if ended.is_err() && !is_the_database {
                    connection.close_on_drop();
                }
            }
            Self::Postgres(mut connection) => {
                let ended = sqlx::raw_sql(ROLLBACK).execute(&mut *connection).await;
                if ended.is_err() {
                    connection.close_on_drop();
                }
            }
        }
    }
}
