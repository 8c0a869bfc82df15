//! A transaction on either database, with the two things one does in it.
//!
//! Must not know any table. It ends by [`Transaction::commit`]; dropped, it rolls back.

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

#[derive(Debug)]
enum Open {
    Sqlite(sqlx::Transaction<'static, sqlx::Sqlite>),
    Postgres(sqlx::Transaction<'static, sqlx::Postgres>),
}

/// One transaction, and what it is for, which goes into its errors.
#[derive(Debug)]
pub(super) struct Transaction {
    open: Open,
    doing: &'static str,
    table: &'static str,
}

/// One text for both databases: `$1` is a parameter in either.
macro_rules! on_open {
    ($self:ident, $connection:ident: $arguments:ident => $body:expr) => {
        match &mut $self.open {
            Open::Sqlite(transaction) => {
                type $arguments = SqliteArguments;
                let $connection = &mut **transaction;
                $body
            }
            Open::Postgres(transaction) => {
                type $arguments = PgArguments;
                let $connection = &mut **transaction;
                $body
            }
        }
    };
}

impl Transaction {
    pub(super) const fn sqlite(
        open: sqlx::Transaction<'static, sqlx::Sqlite>,
        doing: &'static str,
        table: &'static str,
    ) -> Self {
        Self {
            open: Open::Sqlite(open),
            doing,
            table,
        }
    }

    pub(super) const fn postgres(
        open: sqlx::Transaction<'static, sqlx::Postgres>,
        doing: &'static str,
        table: &'static str,
    ) -> Self {
        Self {
            open: Open::Postgres(open),
            doing,
            table,
        }
    }

    pub(super) fn backend(&self) -> &'static dyn Backend {
        match self.open {
            Open::Sqlite(_) => &SqliteBackend,
            Open::Postgres(_) => &PostgresBackend,
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

    pub(super) async fn commit(self) -> Result<(), StoreError> {
        let (doing, table) = (self.doing, self.table);
        match self.open {
            Open::Sqlite(open) => open.commit().await,
            Open::Postgres(open) => open.commit().await,
        }
        .map_err(|error| StoreError::from_sqlx(doing, table, error))
    }
}
