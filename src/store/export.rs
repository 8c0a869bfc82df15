//! Reads tables and views row by row, all in one state of the database.
//!
//! Must not know what becomes of the rows.

use std::fmt::Write as _;

use chrono::NaiveDate;
use sqlx::{AssertSqlSafe, Decode, Row as _, SqlSafeStr, ValueRef as _};
use uuid::Uuid;

use super::account::AccountId;
use super::error::StoreError;
use super::open::Store;
use super::relation::{CellType, Relation, RowTime};
use super::reporting::stored_settings;
use super::run::count;
use super::transaction::{Fetched, Transaction};
use super::value::{Id, Time};
use crate::data::{Resource, Timestamp};
use crate::reporting::Settings;

/// A value of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// None.
    Null,
    /// A text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A floating-point number.
    Real(f64),
    /// True or false.
    Boolean(bool),
    /// A day.
    Date(NaiveDate),
    /// An instant.
    Timestamp(Timestamp),
    /// A key.
    Uuid(Uuid),
    /// The text of a JSON document.
    Json(String),
}

/// Which rows of a table or view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// All of them.
    All,
    /// Those of days, as days and as instants in microseconds; the ends are not included.
    Range {
        /// The first day, and the one after the last.
        days: (NaiveDate, NaiveDate),
        /// Where they begin and end.
        instants: (i64, i64),
    },
    /// Those of no day.
    Undated,
}

/// A database as it was at one instant.
#[derive(Debug)]
pub struct ExportSnapshot {
    store: Store,
    tx: Transaction,
    accounts: Vec<AccountId>,
    settings: Option<Settings>,
}

impl Store {
    /// Opens a snapshot of the rows of these accounts. It needs no lease, and holds up nobody who writes.
    pub async fn export_snapshot(
        &self,
        accounts: Vec<AccountId>,
    ) -> Result<ExportSnapshot, StoreError> {
        let mut tx = self
            .reading_one_state("read the rows to export", "the mirror")
            .await?;
        if let Self::Postgres(_) = self {
            // It may wait for the disk for as long as that takes.
            let script = "set local statement_timeout = 0; \
                          set local idle_in_transaction_session_timeout = '1h'";
            tx.script(script).await?;
        }
        // In SQLite the first reading fixes the state.
        let settings = stored_settings(&mut tx).await?;
        Ok(ExportSnapshot {
            store: self.clone(),
            tx,
            accounts,
            settings,
        })
    }
}

impl ExportSnapshot {
    /// The settings of reports; `None` if no program has stored any.
    pub const fn settings(&self) -> Option<&Settings> {
        self.settings.as_ref()
    }

    /// Up to when each account's sessions are complete; `None` before the first load.
    pub async fn as_of(&mut self) -> Result<Vec<Option<Timestamp>>, StoreError> {
        let mut all = Vec::new();
        for AccountId(account) in self.accounts.clone() {
            let sql = format!(
                "select min(last_success_at) from sync_state \
                 where account_id = {account} and resource = '{}'",
                Resource::Sessions.name()
            );
            let row: Option<(Option<Time>,)> = self.tx.row(AssertSqlSafe(sql), Vec::new()).await?;
            all.push(row.and_then(|(at,)| at).map(|Time(at)| at));
        }
        Ok(all)
    }

    /// How many rows there are.
    pub async fn count(&mut self, of: &Relation, rows: Rows) -> Result<u64, StoreError> {
        let which = self.condition(of, rows);
        let sql = format!("select count(*) from {} where {which}", of.name);
        Ok(count(self.tx.number(AssertSqlSafe(sql), Vec::new()).await?))
    }

    /// The first instant in a range of microseconds that a table or view has rows of, by which it is
    /// divided into months.
    pub async fn first_from(
        &mut self,
        of: &Relation,
        (from, to): (i64, i64),
    ) -> Result<Option<Timestamp>, StoreError> {
        let Some((table, column)) = of.months_of() else {
            return Ok(None);
        };
        let mut first: Option<Timestamp> = None;
        // One after the other: the index begins with the account.
        for AccountId(account) in self.accounts.clone() {
            let range = instants(column, (from, to));
            let sql = format!(
                "select min({column}) from {table} where account_id = {account} and {range}"
            );
            let row: Option<(Option<Time>,)> = self.tx.row(AssertSqlSafe(sql), Vec::new()).await?;
            if let Some((Some(Time(at)),)) = row {
                first = Some(first.map_or(at, |first| first.min(at)));
            }
        }
        Ok(first)
    }

    /// Hands over each row, with a value for each column. Only some rows are in memory at a time. Ends
    /// early if it fails to take one.
    pub async fn rows<E: From<StoreError>>(
        &mut self,
        of: &Relation,
        rows: Rows,
        mut take: impl FnMut(&[Cell]) -> Result<(), E>,
    ) -> Result<(), E> {
        let sql = self.select(of, rows);
        let mut cells = vec![Cell::Null; of.columns.len()];
        let mut taken = Ok(());
        let read = self
            .tx
            .each(AssertSqlSafe(sql).into_sql_str(), |row| {
                for (place, (cell, column)) in cells.iter_mut().zip(&of.columns).enumerate() {
                    *cell = row.cell(place, column.kind)?;
                }
                taken = take(&cells);
                Ok(taken.is_ok())
            })
            .await;
        taken?;
        read?;
        Ok(())
    }

    /// Ends the snapshot.
    pub async fn end(mut self) {
        self.tx.end().await;
    }

    /// See [`Store::check_unwritten`].
    pub fn check_unwritten(&self) -> Result<(), StoreError> {
        self.store.check_unwritten()
    }

    fn select(&self, of: &Relation, rows: Rows) -> String {
        let is_postgres = self.tx.is_postgres();
        let columns: Vec<String> = of
            .columns
            .iter()
            .map(|column| match column.kind {
                CellType::Json if is_postgres => format!("cast(\"{}\" as text)", column.name),
                CellType::Integer if is_postgres => format!("cast(\"{}\" as bigint)", column.name),
                _ => format!("\"{}\"", column.name),
            })
            .collect();
        let order: Vec<String> = of
            .order()
            .iter()
            .map(|column| format!("\"{column}\""))
            .collect();
        format!(
            "select {} from {} where {} order by {}",
            columns.join(", "),
            of.name,
            self.condition(of, rows),
            order.join(", ")
        )
    }

    fn condition(&self, of: &Relation, rows: Rows) -> String {
        let mut condition = match of.account() {
            Some(column) => format!("{column} in ({})", self.account_list()),
            None => "1 = 1".to_owned(),
        };
        let time = of.time();
        // Writing to a String cannot fail.
        let _ = match (rows, time) {
            (Rows::All, _) | (_, None) => Ok(()),
            (
                Rows::Range {
                    instants: range, ..
                },
                Some(RowTime::Instant(column)),
            ) => {
                write!(condition, " and {}", instants(column, range))
            }
            (Rows::Range { days, .. }, Some(RowTime::Day(column))) => {
                let (from, to) = days;
                write!(condition, " and {column} >= '{from}' and {column} < '{to}'")
            }
            (Rows::Range { days, .. }, Some(RowTime::Month(column))) => {
                let (from, to) = days;
                let from = from.format("%Y-%m-01");
                write!(condition, " and {column} >= '{from}' and {column} < '{to}'")
            }
            (
                Rows::Range {
                    instants: range, ..
                },
                Some(RowTime::Of { table, key }),
            ) => {
                let (accounts, range) = (self.account_list(), instants("created_at", range));
                write!(
                    condition,
                    " and {key} in (select id from {table} where account_id in ({accounts}) and {range})"
                )
            }
            (
                Rows::Undated,
                Some(RowTime::Instant(column) | RowTime::Day(column) | RowTime::Month(column)),
            ) => {
                write!(condition, " and {column} is null")
            }
            (Rows::Undated, Some(RowTime::Of { .. })) => write!(condition, " and 1 = 0"),
        };
        condition
    }

    fn account_list(&self) -> String {
        let ids: Vec<String> = self.accounts.iter().map(|id| id.0.to_string()).collect();
        ids.join(", ")
    }
}

/// That a column's instant lies in a range.
fn instants(column: &str, (from, to): (i64, i64)) -> String {
    let at = Timestamp::from_micros;
    format!("{column} >= '{}' and {column} < '{}'", at(from), at(to))
}

impl Fetched<'_> {
    /// The value at a place.
    fn cell(&self, place: usize, kind: CellType) -> Result<Cell, sqlx::Error> {
        if self.is_null(place)? {
            return Ok(Cell::Null);
        }
        Ok(match kind {
            CellType::Text => Cell::Text(self.value(place)?),
            CellType::Json => Cell::Json(self.value(place)?),
            CellType::Integer => Cell::Integer(self.value(place)?),
            CellType::Real => Cell::Real(self.value(place)?),
            CellType::Boolean => Cell::Boolean(self.value(place)?),
            CellType::Timestamp => Cell::Timestamp(self.value::<Time>(place)?.0),
            CellType::Uuid => Cell::Uuid(self.value::<Id>(place)?.0),
            CellType::Date => Cell::Date(self.value(place)?),
        })
    }

    fn is_null(&self, place: usize) -> Result<bool, sqlx::Error> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get_raw(place)?.is_null(),
            Self::Postgres(row) => row.try_get_raw(place)?.is_null(),
        })
    }

    /// Views of SQLite have no types, so none are compared.
    fn value<T>(&self, place: usize) -> Result<T, sqlx::Error>
    where
        T: for<'r> Decode<'r, sqlx::Sqlite> + for<'r> Decode<'r, sqlx::Postgres>,
    {
        match self {
            Self::Sqlite(row) => row.try_get_unchecked(place),
            Self::Postgres(row) => row.try_get_unchecked(place),
        }
    }
}
