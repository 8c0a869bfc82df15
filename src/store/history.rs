//! What changes in stored sessions: `session_changes`.
//!
//! Written by the commit that changes a session, in its transaction. The first version of a session is no
//! change. Costs one statement for the sessions of a batch that change, and one more if any of the
//! fields below did.

use std::collections::{HashMap, HashSet};

use sqlx::AssertSqlSafe;
use sqlx::error::BoxDynError;
use uuid::Uuid;

use super::error::StoreError;
use super::parameter;
use super::transaction::Transaction;
use super::upsert::Stamp;
use super::value::{Id, Time, args};
use crate::data::{ColumnType, Guard, Row, Table, Timestamp};

/// The columns whose changes are kept.
const FIELDS: [&str; 5] = [
    "status",
    "user_id",
    "department_id",
    "end_at",
    "classification_category",
];

/// What was stored of a session.
type Stored = (
    Id,
    Option<String>,
    Option<Id>,
    Option<Id>,
    Option<Time>,
    Option<String>,
    bool,
);

/// The values of [`FIELDS`] as texts, for each session.
pub(super) type Before = HashMap<Uuid, [Option<String>; 5]>;

/// What is stored of the rows that are not new, if their changes are kept.
pub(super) async fn before(
    tx: &mut Transaction,
    table: &Table,
    rows: &[&Row],
    new: &HashSet<Uuid>,
) -> Result<Before, StoreError> {
    let is_kept = table.name == "sessions" && table.guard == Guard::Version;
    let old = rows
        .iter()
        .map(|row| row.key)
        .filter(|key| !new.contains(key));
    let old: Vec<Uuid> = if is_kept { old.collect() } else { Vec::new() };
    if old.is_empty() {
        return Ok(Before::new());
    }
    let columns = format!(
        "id, {}, content_hash is null and updated_at is null",
        FIELDS.join(", ")
    );
    let sql = tx.backend().rows_by_id("sessions", "id", &columns);
    let stored: Vec<Stored> = tx
        .rows(AssertSqlSafe(sql), args![parameter::ids(old)])
        .await?;
    let is_placeholder = |stored: &Stored| stored.6;
    Ok(stored
        .into_iter()
        .filter(|stored| !is_placeholder(stored))
        .map(|(Id(key), status, user, department, end, category, _)| {
            let id = |id: Option<Id>| id.map(|Id(id)| id.to_string());
            let end = end.map(|Time(at)| at.to_string());
            (key, [status, id(user), id(department), end, category])
        })
        .collect())
}

/// A value as a text, which is the same in both databases; `None` for null.
fn text(kind: ColumnType, json: &str) -> Result<Option<String>, BoxDynError> {
    if json == "null" {
        return Ok(None);
    }
    let text = parameter::text(json)?;
    Ok(Some(match kind {
        ColumnType::Uuid => Uuid::try_parse(&text)?.to_string(),
        ColumnType::Time => Timestamp::parse(&text)?.to_string(),
        _ => text.into_owned(),
    }))
}

/// Keeps what these rows, which were just stored, have changed.
pub(super) async fn keep(
    tx: &mut Transaction,
    table: &Table,
    rows: &[&Row],
    before: &Before,
    changed: &HashSet<Uuid>,
    stamp: Stamp<'_>,
) -> Result<(), StoreError> {
    let mut kept: Vec<(Uuid, &str, Option<&str>, Option<String>)> = Vec::new();
    for row in rows.iter().filter(|row| changed.contains(&row.key)) {
        let Some(before) = before.get(&row.key) else {
            continue;
        };
        for (column, json) in table.known(row.unknown).zip(row.values.iter()) {
            let Some(place) = FIELDS.iter().position(|field| *field == column.name) else {
                continue;
            };
            let old = before.get(place).and_then(Option::as_deref);
            // It was stored, so it can be read.
            let Ok(new) = text(column.kind, json) else {
                continue;
            };
            if new.as_deref() != old {
                kept.push((row.key, column.name, old, new));
            }
        }
    }
    if kept.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "insert into session_changes \
         (session_id, change_seq, field, old_value, new_value, observed_at, account_id, run_id) \
         select id, $2, field, old_value, new_value, $3, $4, $5 from ({}) as changes where true \
         on conflict (session_id, change_seq, field) do update set new_value = excluded.new_value",
        tx.backend().changes("$1")
    );
    let kept = serde_json::to_string(&kept).unwrap_or_default();
    let account = stamp.lease.account().0;
    let args = args![kept, stamp.change_seq, stamp.now, account, stamp.run];
    tx.execute(AssertSqlSafe(sql), args).await?;
    Ok(())
}
