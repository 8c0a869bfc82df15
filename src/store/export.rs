//! Reads tables and views row by row, all in one state of the database.
//!
//! Must not know what becomes of the rows.

use std::fmt::{Display, Write as _};

use chrono::NaiveDate;
use sqlx::{AssertSqlSafe, Decode, Row as _, SqlSafeStr, ValueRef as _};
use uuid::Uuid;

use super::account::AccountId;
use super::error::StoreError;
use super::open::Store;
use super::relation::{CellType, Relation, RowTime};
use super::report::pending;
use super::reporting::stored_settings;
use super::run::count;
use super::transaction::{Fetched, Transaction};
use super::value::{Id, Time, args};
use crate::data::{Resource, Span, Timestamp};
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

/// A day of the reports' time zone, and its first instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayStart {
    /// The day.
    pub day: NaiveDate,
    /// When it begins.
    pub at: Timestamp,
}

/// Which rows of a table or view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// All of them.
    All,
    /// Those of days.
    Range {
        /// The first day; `None` for no limit.
        from: Option<DayStart>,
        /// The day after the last one; `None` for no limit.
        to: Option<DayStart>,
    },
    /// Those of no day.
    Undated,
}

/// How complete an account's rows are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportBasis {
    /// Up to when changes of sessions were read; `None` before the first load.
    pub as_of: Option<Timestamp>,
    /// The ranges of creation times that the first load has not read yet, of sessions and of contacts.
    pub pending: Vec<(Resource, Span)>,
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

    /// How complete each account's rows are.
    pub async fn basis(&mut self) -> Result<Vec<ExportBasis>, StoreError> {
        let mut all = Vec::new();
        for account in self.accounts.clone() {
            let mut basis = ExportBasis {
                as_of: None,
                pending: Vec::new(),
            };
            for resource in [Resource::Sessions, Resource::Contacts] {
                let read = self.read_up_to(account, resource).await?;
                if resource == Resource::Sessions {
                    basis.as_of = read;
                }
                let mut spans = pending(&mut self.tx, account, resource).await?;
                if read.is_none() && spans.is_empty() && !self.has_rows(account, resource).await? {
                    spans.push(Span::OPEN);
                }
                let spans = spans.into_iter().map(|span| (resource, span));
                basis.pending.extend(spans);
            }
            all.push(basis);
        }
        Ok(all)
    }

    /// Up to when changes of a resource were read; `None` before the first load.
    async fn read_up_to(
        &mut self,
        AccountId(account): AccountId,
        resource: Resource,
    ) -> Result<Option<Timestamp>, StoreError> {
        let row: Option<(Option<Time>,)> = self
            .tx
            .row(
                "select min(last_success_at) from sync_state \
                 where account_id = $1 and resource = $2",
                args![account, resource.name()],
            )
            .await?;
        Ok(row.and_then(|(at,)| at).map(|Time(at)| at))
    }

    async fn has_rows(
        &mut self,
        AccountId(account): AccountId,
        resource: Resource,
    ) -> Result<bool, StoreError> {
        let sql = format!(
            "select count(*) from (select 1 from {} where account_id = {account} limit 1) s",
            resource.name()
        );
        Ok(self.tx.number(AssertSqlSafe(sql), Vec::new()).await? > 0)
    }

    /// How many rows there are.
    pub async fn count(&mut self, of: &Relation, rows: Rows) -> Result<u64, StoreError> {
        let which = self.condition(of, rows);
        let sql = format!("select count(*) from {} where {which}", of.name);
        Ok(count(self.tx.number(AssertSqlSafe(sql), Vec::new()).await?))
    }

    /// The first instant from a day on, up to another one, that a table or view has rows of, by which it
    /// is divided into months.
    pub async fn first_from(
        &mut self,
        of: &Relation,
        from: Option<DayStart>,
        to: Option<DayStart>,
    ) -> Result<Option<Timestamp>, StoreError> {
        let Some((table, column)) = of.months_of() else {
            return Ok(None);
        };
        let mut first: Option<Timestamp> = None;
        // One after the other: the index begins with the account.
        for AccountId(account) in self.accounts.clone() {
            let range = instants(column, from, to);
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
            (Rows::Range { from, to }, Some(RowTime::Instant(column))) => {
                write!(condition, " and {}", instants(column, from, to))
            }
            (Rows::Range { from, to }, Some(RowTime::Day(column))) => {
                let range = between(column, from.map(|it| it.day), to.map(|it| it.day));
                write!(condition, " and {range}")
            }
            (Rows::Range { from, to }, Some(RowTime::Month(column))) => {
                let from = from.map(|from| from.day.format("%Y-%m-01"));
                let range = between(column, from, to.map(|it| it.day));
                write!(condition, " and {range}")
            }
            (Rows::Range { from, to }, Some(RowTime::Of { table, key })) => {
                let (accounts, range) = (self.account_list(), instants("created_at", from, to));
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
            (Rows::Undated, Some(RowTime::Of { table, key })) => {
                let accounts = self.account_list();
                write!(
                    condition,
                    " and {key} in (select id from {table} where account_id in ({accounts}) \
                     and created_at is null)"
                )
            }
        };
        condition
    }

    fn account_list(&self) -> String {
        let ids: Vec<String> = self.accounts.iter().map(|id| id.0.to_string()).collect();
        ids.join(", ")
    }
}

/// That a column's instant lies in a range.
fn instants(column: &str, from: Option<DayStart>, to: Option<DayStart>) -> String {
    between(column, from.map(|it| it.at), to.map(|it| it.at))
}

/// That a column has a value in a range, whose end is not included. `None` is no limit: a text for it
/// would be beyond the years that a database knows.
fn between<F: Display, T: Display>(column: &str, from: Option<F>, to: Option<T>) -> String {
    let from = from.map(|from| format!("{column} >= '{from}'"));
    let to = to.map(|to| format!("{column} < '{to}'"));
    let limits: Vec<String> = [from, to].into_iter().flatten().collect();
    if limits.is_empty() {
        format!("{column} is not null")
    } else {
        limits.join(" and ")
    }
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
