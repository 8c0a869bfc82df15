//! Writing the rows of a [`Table`]: which of them are news, and the one statement that stores them.
//!
//! Owns the SQL made from descriptors. A statement's text depends on the table, its guard and the
//! columns that the rows do not know, and on nothing else, so there are few and each connection
//! prepares each once.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::backend::Backend;
use super::error::StoreError;
use super::lease::Lease;
use super::parameter::{self, Unfit};
use super::transaction::Transaction;
use super::value::{Id, Time, args};
use crate::data::{Column, ColumnGroup, Counters, Guard, Kind, Row, Table, Timestamp};

/// The column that a version's content is compared by. Null means that the stored row is no
/// faithful copy of any version of the record, so that the next one is stored whatever it holds.
pub(super) const CONTENT_HASH: &str = "content_hash";

const OBSERVED_AT: &str = "observed_at";
const UPDATED_AT: &str = "updated_at";

const HASH_COLUMN: Column = Column {
    name: CONTENT_HASH,
    kind: Kind::Int,
    group: ColumnGroup::NONE,
    shared: false,
};

/// How much later than what is written now a stored row may have been read: pages that were read
/// later may be stored earlier, but not by as much. Beyond it the server's time was wrong when the
/// row was read.
const READ_LATER: Duration = Duration::from_hours(1);

/// Under what a row is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp<'a> {
    pub(super) lease: &'a Lease,
    pub(super) run: i64,
    pub(super) now: Timestamp,
    /// Server time at which the newest of what is written was read, if that is known.
    pub(super) observed_at: Option<Timestamp>,
}

/// What became of the rows of one write.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// In numbers; of [`Guard::Version`] only.
    pub(super) counters: Counters,
    /// Keys that had no row at all.
    pub(super) new: HashSet<Uuid>,
    /// Keys whose row was inserted or changed.
    pub(super) changed: HashSet<Uuid>,
    /// Those of `changed` whose shared columns are now this write's: what was read later, by
    /// another kind of answer, has not prevailed.
    pub(super) prevailed: HashSet<Uuid>,
}

enum News {
    Inserted,
    Updated,
    Unchanged,
}

struct Stored {
    updated_at: Option<Timestamp>,
    hash: Option<i64>,
    removed: bool,
}

impl Stored {
    /// What a version of the record means, given what is stored. The statement's own condition
    /// says the same.
    fn news(&self, row: &Row) -> News {
        let is_older = match (row.version, self.updated_at) {
            (Some(new), Some(stored)) => new < stored,
            (None, Some(_)) => true,
            (_, None) => false,
        };
        let is_newer = row.version > self.updated_at;
        if is_older || (self.hash == Some(row.hash) && !self.removed && !is_newer) {
            News::Unchanged
        } else if self.updated_at.is_none() && self.hash.is_none() {
            // A placeholder, made for a foreign key: the record itself was never stored.
            News::Inserted
        } else {
            News::Updated
        }
    }
}

/// Stores rows; those of a [`Guard::Version`] table that are no news are not sent to it.
pub(super) async fn write(
    tx: &mut Transaction,
    table: &'static Table,
    rows: &[&Row],
    stamp: Stamp<'_>,
) -> Result<Written, StoreError> {
    let mut written = Written::default();
    let news = match table.guard {
        Guard::Version => news(tx, table, rows, stamp, &mut written).await?,
        Guard::Observed | Guard::Absent => rows.to_vec(),
    };
    let mut groups: HashMap<(ColumnGroup, bool), Vec<&Row>> = HashMap::new();
    for row in news {
        let is_new = written.new.contains(&row.key);
        groups.entry((row.unknown, is_new)).or_default().push(row);
    }
    for ((unknown, is_new), rows) in groups {
        let known: Vec<Column> = table.known(unknown).copied().collect();
        let hash = table.guard == Guard::Version;
        let packed = parameter::whole(&rows, &known)
            .and_then(|()| tx.backend().packed(&rows, &known, hash))
            .map_err(|Unfit { key, problem }| StoreError::Unfit {
                table: table.name,
                key,
                problem,
            })?;
        let latest = stamp.observed_at.map(|at| at + READ_LATER);
        let mut args = args![stamp.lease.account().0, stamp.run, stamp.now, latest];
        args.extend(packed);
        if is_new {
            let sql = insert(tx.backend(), table, &known);
            tx.execute(AssertSqlSafe(sql), args).await?;
            written.changed.extend(rows.iter().map(|row| row.key));
            written.prevailed.extend(rows.iter().map(|row| row.key));
            continue;
        }
        let sql = upsert(tx.backend(), table, &known);
        let changed: Vec<(Id, bool)> = tx.rows(AssertSqlSafe(sql), args).await?;
        for (Id(key), prevailed) in changed {
            written.changed.insert(key);
            if prevailed {
                written.prevailed.insert(key);
            }
        }
    }
    Ok(written)
}

/// The rows that are news, counted.
async fn news<'a>(
    tx: &mut Transaction,
    table: &Table,
    rows: &[&'a Row],
    stamp: Stamp<'_>,
    written: &mut Written,
) -> Result<Vec<&'a Row>, StoreError> {
    let columns = format!(
        "{}, {UPDATED_AT}, {CONTENT_HASH}, removed_at is not null",
        table.key
    );
    let sql = tx.backend().rows_by_id(table.name, table.key, &columns);
    let keys = parameter::ids(rows.iter().map(|row| row.key));
    let found: Vec<(Id, Option<Time>, Option<i64>, bool)> = tx
        .rows(AssertSqlSafe(sql), args![keys, stamp.lease.account().0])
        .await?;
    let stored: HashMap<Uuid, Stored> = found
        .into_iter()
        .map(|(Id(key), updated_at, hash, removed)| {
            let stored = Stored {
                updated_at: updated_at.map(|Time(at)| at),
                hash,
                removed,
            };
            (key, stored)
        })
        .collect();
    let mut news = Vec::with_capacity(rows.len());
    for &row in rows {
        let is = if let Some(stored) = stored.get(&row.key) {
            stored.news(row)
        } else {
            written.new.insert(row.key);
            News::Inserted
        };
        let counters = &mut written.counters;
        match is {
            News::Inserted => counters.rows_inserted += 1,
            News::Updated => counters.rows_updated += 1,
            News::Unchanged => {
                counters.rows_unchanged += 1;
                continue;
            }
        }
        news.push(row);
    }
    Ok(news)
}

/// Stores rows that are not stored yet. Parameters: 1 the account, 2 the run, 3 now, 4 the latest
/// instant at which a stored row may have been read, and the rows.
fn insert(backend: &dyn Backend, table: &Table, known: &[Column]) -> String {
    format!("insert into {}", into(backend, table, known))
}

/// Parameters: as of [`insert`]. Yields the keys of the rows that were inserted or changed, and
/// whether their shared columns are this write's.
fn upsert(backend: &dyn Backend, table: &Table, known: &[Column]) -> String {
    let columns = stored(table, known);
    let name = table.name;
    let (action, prevailed) = match table.guard {
        Guard::Absent => ("nothing".to_owned(), "true".to_owned()),
        Guard::Observed => (
            replace_observed(name, table.key, &columns),
            "true".to_owned(),
        ),
        Guard::Version => (
            replace_version(name, table.key, &columns),
            format!("{name}.{CONTENT_HASH} is not null"),
        ),
    };
    format!(
        "insert into {into} on conflict ({key}, account_id) do {action} returning {key}, {prevailed}",
        into = into(backend, table, known),
        key = table.key,
    )
}

/// The columns that a write of these sets, but for those of the run.
fn stored(table: &Table, known: &[Column]) -> Vec<Column> {
    let mut columns = known.to_vec();
    if table.guard == Guard::Version {
        columns.push(HASH_COLUMN);
    }
    columns
}

/// Which table and columns, and the query that yields their values.
fn into(backend: &dyn Backend, table: &Table, known: &[Column]) -> String {
    let columns = stored(table, known);
    let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
    let (values, from) = backend.unpacked(known, table.guard == Guard::Version, 5);
    format!(
        "{name} ({names}, account_id, run_id, synced_at) select {values}, $1, $2, $3 from {from}",
        name = table.name,
        names = names.join(", "),
    )
}

/// True unless the stored row's shared columns were read later. One that would have been read in
/// the future was read at an unknown time.
fn read_later(name: &str) -> String {
    format!(
        "({name}.{OBSERVED_AT} is null or excluded.{OBSERVED_AT} >= {name}.{OBSERVED_AT} \
         or {name}.{OBSERVED_AT} > $4)"
    )
}

fn replace_version(name: &str, key: &str, columns: &[Column]) -> String {
    let is_observed = columns.iter().any(|column| column.name == OBSERVED_AT);
    let mut sets = Vec::with_capacity(columns.len() + 3);
    for column in columns.iter().filter(|column| column.name != key) {
        let column_name = column.name;
        sets.push(match column_name {
            CONTENT_HASH if is_observed => format!(
                "{CONTENT_HASH} = case when {} then excluded.{CONTENT_HASH} end",
                read_later(name)
            ),
            _ if is_observed && (column.shared || column_name == OBSERVED_AT) => format!(
                "{column_name} = case when {} then excluded.{column_name} \
                 else {name}.{column_name} end",
                read_later(name)
            ),
            _ => format!("{column_name} = excluded.{column_name}"),
        });
    }
    format!(
        "update set {}, run_id = excluded.run_id, synced_at = excluded.synced_at, \
         removed_at = null \
         where ({name}.{UPDATED_AT} is null or excluded.{UPDATED_AT} >= {name}.{UPDATED_AT}) \
         and ({name}.{CONTENT_HASH} is distinct from excluded.{CONTENT_HASH} \
         or {name}.{UPDATED_AT} is distinct from excluded.{UPDATED_AT} \
         or {name}.removed_at is not null)",
        sets.join(", ")
    )
}

/// A version keeps its hash unless something that it told is replaced. What details alone tell was
/// never in the hash, and a column of a group that is null was left out by the list.
fn replace_observed(name: &str, key: &str, columns: &[Column]) -> String {
    let mut sets = Vec::with_capacity(columns.len());
    let mut differs = Vec::with_capacity(columns.len());
    let mut replaces = Vec::with_capacity(columns.len());
    for column in columns.iter().filter(|column| column.name != key) {
        let Column {
            name: column,
            group,
            shared,
            ..
        } = *column;
        sets.push(format!("{column} = excluded.{column}"));
        if column == OBSERVED_AT {
            continue;
        }
        let differing = format!("{name}.{column} is distinct from excluded.{column}");
        if shared && group == ColumnGroup::NONE {
            replaces.push(differing.clone());
        } else if shared {
            replaces.push(format!("({name}.{column} is not null and {differing})"));
        }
        differs.push(differing);
    }
    if differs.is_empty() {
        return "nothing".to_owned();
    }
    if !replaces.is_empty() {
        sets.push(format!(
            "{CONTENT_HASH} = case when {} then null else {name}.{CONTENT_HASH} end",
            replaces.join(" or ")
        ));
    }
    format!(
        "update set {}, run_id = excluded.run_id, synced_at = excluded.synced_at \
         where {} and ({})",
        sets.join(", "),
        read_later(name),
        differs.join(" or ")
    )
}
