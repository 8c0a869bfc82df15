//! The descriptions of all tables and columns: reads `docs/columns.md` and writes it into Postgres as
//! comments.
//!
//! Must not know the content of the texts.

use std::fmt::Write as _;

use sqlx::AssertSqlSafe;
use xxhash_rust::xxh3::xxh3_64;

use super::error::StoreError;
use super::open::Store;
use super::transaction::Transaction;

const DOCUMENT: &str = include_str!("../../docs/columns.md");

/// The description of a table or view and of its columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableMeaning {
    /// The name of the table or view.
    pub table: &'static str,
    /// Whether it is a view.
    pub is_view: bool,
    /// What it contains.
    pub about: String,
    /// Its columns and their descriptions, in the order of the document.
    pub columns: Vec<(&'static str, String)>,
}

/// All tables and views.
pub fn meanings() -> Vec<TableMeaning> {
    let mut tables: Vec<TableMeaning> = Vec::new();
    for line in DOCUMENT.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            let view = title.strip_suffix(" (view)");
            tables.push(TableMeaning {
                table: view.unwrap_or(title),
                is_view: view.is_some(),
                about: String::new(),
                columns: Vec::new(),
            });
            continue;
        }
        let Some(table) = tables.last_mut() else {
            continue;
        };
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        match cells[..] {
            ["", name, source, meaning, ""] => {
                let Some(name) = name.strip_prefix('`').and_then(|n| n.strip_suffix('`')) else {
                    continue;
                };
                let meaning = plain(meaning);
                let text = match plain(source) {
                    source if source.is_empty() => meaning,
                    source => format!("{meaning} (API: {source})"),
                };
                table.columns.push((name, text));
            }
            [about] if !about.is_empty() => table.about = plain(about),
            _ => {}
        }
    }
    tables
}

fn plain(text: &str) -> String {
    text.replace('`', "")
}

impl Store {
    /// Whether the role that connects owns the tables, and whether their comments are those of this
    /// version. SQLite has neither owners nor comments: both are true.
    pub(super) async fn owns_and_described(
        &self,
        tx: &mut Transaction,
    ) -> Result<(bool, bool), StoreError> {
        if let Self::Sqlite(_) = self {
            return Ok((true, true));
        }
        let row: Option<(Option<String>, bool)> = tx
            .row(
                "select obj_description(to_regclass('_sqlx_migrations'), 'pg_class'), \
                 coalesce((select pg_has_role(relowner, 'usage') from pg_class \
                 where oid = to_regclass('_sqlx_migrations')), false)",
                Vec::new(),
            )
            .await?;
        let (present, is_owner) = row.unwrap_or_default();
        Ok((is_owner, present == Some(mark())))
    }

    /// Makes the comments of tables and columns those of this version. SQLite has no comments.
    pub(super) async fn describe(&self) -> Result<(), StoreError> {
        if let Self::Sqlite(_) = self {
            return Ok(());
        }
        let mark = mark();
        let mut sql = format!("comment on table _sqlx_migrations is '{mark}'");
        for TableMeaning {
            table,
            is_view,
            about,
            columns,
        } in meanings()
        {
            // Writing to a String cannot fail.
            let kind = if is_view { "view" } else { "table" };
            let _ = write!(sql, "; comment on {kind} {table} is '{}'", quoted(&about));
            for (column, meaning) in columns {
                let _ = write!(
                    sql,
                    "; comment on column {table}.{column} is '{}'",
                    quoted(&meaning)
                );
            }
        }
        let mut tx = self
            .writing("describe the columns", "_sqlx_migrations")
            .await?;
        // Another process may have been faster.
        if let (_, true) = self.owns_and_described(&mut tx).await? {
            tx.end().await;
            return Ok(());
        }
        tx.script(AssertSqlSafe(sql)).await?;
        tx.commit().await
    }
}

/// The comment that says of which version the comments are.
fn mark() -> String {
    format!("helena-sync, columns {:016x}", xxh3_64(DOCUMENT.as_bytes()))
}

fn quoted(text: &str) -> String {
    text.replace('\'', "''")
}
