//! Writes the rows of a [`Table`]: finds out which are new or changed, and stores them with one
//! statement.
//!
//! Owns the SQL that is made from descriptors. A statement's text only depends on the table, its
//! guard and the columns that the rows do not have. So there are few statements, and each
//! connection prepares each once.
//!
//! # Which version is right
//!
//! The version that the platform shows later, even if its `updatedAt` is older: two servers with
//! different clocks may write the same record, and the newest content may have the older time
//! stamp. A row without an `updatedAt` is stored if its content differs. There is one case in which
//! the later reading is wrong: a list that a stale replica of the platform answers. By the one
//! assumption of this program (every replica shows a change one overlap after its `updatedAt`), a
//! stale replica lacks only changes of the last overlap. So an older version
//! - is stored at once if the stored one was older than the overlap when the last pass began,
//! - otherwise is not stored; the record is queued in `rechecks`, in the same transaction, and read by id. That
//!   answer is stored, whatever it says. This costs one request and is rare. If the record cannot be read by id,
//!   the nightly verification reads the list when no replica can be stale any more.
//!
//! Of two versions in one commit, the newer one by `updatedAt` is stored. If the other one was read
//! later, the record is queued in the same way.
//!
//! Rows that a verification found to differ ([`StateChange::Differing`](crate::data::StateChange))
//! are replaced by the version in the same commit: the verification has read it by id, or knows
//! that no replica can be so stale.
//!
//! A stored version that is dated in the future delays other versions only until that request.
//! Lists are read completely and often, so their versions are stored at once.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::account::AccountId;
use super::backend::Backend;
use super::error::StoreError;
use super::history;
use super::lease::Lease;
use super::parameter::{self, Unfit};
use super::transaction::Transaction;
use super::value::{Id, Time, args};
use crate::data::{Column, ColumnGroup, ColumnType, Counters, Guard, Row, Table, Timestamp};

/// The column by which the content of versions is compared. Null means that the stored row does not
/// equal any version of the record, so the next version is always stored.
pub(super) const CONTENT_HASH: &str = "content_hash";

const OBSERVED_AT: &str = "observed_at";
const UPDATED_AT: &str = "updated_at";

const HASH_COLUMN: Column = Column {
    name: CONTENT_HASH,
    kind: ColumnType::Int,
    group: ColumnGroup::NONE,
    shared: false,
};

/// The lease, run and time of a write.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp<'a> {
    pub(super) lease: &'a Lease,
    pub(super) run: i64,
    pub(super) now: Timestamp,
    /// How long a change may take to appear in every replica of the platform.
    pub(super) overlap: Duration,
    /// The account's `change_seq` for this commit.
    pub(super) change_seq: i64,
}

/// The result of one write.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// Counters; only for [`Guard::Version`].
    pub(super) counters: Counters,
    /// Keys that had no row at all.
    pub(super) new: HashSet<Uuid>,
    /// Keys whose row was inserted or changed.
    pub(super) changed: HashSet<Uuid>,
    /// Keys whose row may be older than the stored one and was not written: they must be read by id.
    pub(super) doubtful: HashSet<Uuid>,
    /// Keys whose row belongs to another account, with that account: they were not written.
    pub(super) held: HashMap<Uuid, AccountId>,
    /// Those of `changed` whose shared columns now come from this write: no other kind of answer
    /// was read later.
    pub(super) prevailed: HashSet<Uuid>,
}

enum RowChange {
    Inserted,
    Updated,
    /// Updated by a version that is older by its `updatedAt`.
    Reverted,
    Unchanged,
    /// Older than the stored version, and from a list.
    Doubtful {
        stored: Timestamp,
    },
}

struct Stored {
    updated_at: Option<Timestamp>,
    hash: Option<i64>,
    removed: bool,
}

impl Stored {
    /// What a version of the record means for the stored row. It is certain if its answer is
    /// authoritative, or if the stored row was found to differ.
    fn change_to(&self, row: &Row, is_certain: bool) -> RowChange {
        if self.hash == Some(row.hash) && !self.removed && self.updated_at == row.version {
            return RowChange::Unchanged;
        }
        if self.updated_at.is_none() && self.hash.is_none() {
            // A placeholder, made for a foreign key: the record itself was never stored.
            return RowChange::Inserted;
        }
        match (row.version, self.updated_at) {
            (Some(new), Some(stored)) if new < stored => {
                if is_certain {
                    RowChange::Reverted
                } else {
                    RowChange::Doubtful { stored }
                }
            }
            _ => RowChange::Updated,
        }
    }
}

/// Stores rows. Unchanged rows of a [`Guard::Version`] table are not sent. Stored rows with the
/// keys in `differing` are known to be wrong.
pub(super) async fn write(
    tx: &mut Transaction,
    table: &'static Table,
    rows: &[&Row],
    differing: &HashSet<Uuid>,
    stamp: Stamp<'_>,
) -> Result<Written, StoreError> {
    let mut written = Written::default();
    let to_write = match table.guard {
        Guard::Version => changed_rows(tx, table, rows, differing, stamp, &mut written).await?,
        Guard::Observed | Guard::Absent => rows.to_vec(),
    };
    let before = history::before(tx, table, &to_write, &written.new).await?;
    let mut groups: HashMap<(ColumnGroup, bool), Vec<&Row>> = HashMap::new();
    for &row in &to_write {
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
        let mut args = args![
            stamp.lease.account().0,
            stamp.run,
            stamp.now,
            stamp.change_seq
        ];
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
    if !before.is_empty() {
        history::keep(tx, table, &to_write, &before, &written.changed, stamp).await?;
    }
    Ok(written)
}

/// A stored row: its key, its account, its version, its hash, and whether it is removed.
type Found = (Id, i64, Option<Time>, Option<i64>, bool);

/// The rows that are new or changed, counted. Rows of another account are recorded but not changed.
async fn changed_rows<'a>(
    tx: &mut Transaction,
    table: &Table,
    rows: &[&'a Row],
    differing: &HashSet<Uuid>,
    stamp: Stamp<'_>,
    written: &mut Written,
) -> Result<Vec<&'a Row>, StoreError> {
    let columns = format!(
        "{}, account_id, {UPDATED_AT}, {CONTENT_HASH}, removed_at is not null",
        table.key
    );
    let sql = tx.backend().rows_by_id(table.name, table.key, &columns);
    let keys = parameter::ids(rows.iter().map(|row| row.key));
    let found: Vec<Found> = tx.rows(AssertSqlSafe(sql), args![keys]).await?;
    let mut stored = HashMap::with_capacity(found.len());
    for (Id(key), account, updated_at, hash, removed) in found {
        if account == stamp.lease.account().0 {
            let row = Stored {
                updated_at: updated_at.map(|Time(at)| at),
                hash,
                removed,
            };
            stored.insert(key, row);
        } else if !table.per_account {
            written.held.insert(key, AccountId(account));
        }
    }
    let mut to_write = Vec::with_capacity(rows.len());
    for &row in rows {
        if written.held.contains_key(&row.key) {
            continue;
        }
        let is = if let Some(stored) = stored.get(&row.key) {
            let is_certain = row.reading.certain || differing.contains(&row.key);
            stored.change_to(row, is_certain)
        } else {
            written.new.insert(row.key);
            RowChange::Inserted
        };
        let counters = &mut written.counters;
        match is {
            RowChange::Inserted => counters.rows_inserted += 1,
            RowChange::Updated => counters.rows_updated += 1,
            RowChange::Reverted => {
                counters.rows_updated += 1;
                counters.rows_reverted += 1;
            }
            RowChange::Unchanged => {
                counters.rows_unchanged += 1;
                continue;
            }
            RowChange::Doubtful { stored } if tx.is_settled(stored, stamp).await? => {
                counters.rows_updated += 1;
                counters.rows_reverted += 1;
            }
            RowChange::Doubtful { .. } => {
                counters.rows_unchanged += 1;
                written.doubtful.insert(row.key);
                continue;
            }
        }
        to_write.push(row);
    }
    Ok(to_write)
}

/// Stores rows that are not stored yet. Parameters: 1 the account, 2 the run, 3 now, 4 the commit's
/// `change_seq`, and the rows. If another account stores one of the keys at the same moment,
/// Postgres refuses the statement, and the next sync finds that row.
fn insert(backend: &dyn Backend, table: &Table, known: &[Column]) -> String {
    format!("insert into {}", into(backend, table, known))
}

/// Parameters: those of [`insert`]. Returns the keys of the inserted or changed rows, and whether
/// their shared columns come from this write. Rows of another account are not changed.
fn upsert(backend: &dyn Backend, table: &Table, known: &[Column]) -> String {
    let columns = stored(table, known);
    let name = table.name;
    let (action, prevailed) = match table.guard {
        Guard::Absent => ("nothing".to_owned(), "true".to_owned()),
        Guard::Observed => (replace_observed(table, &columns), "true".to_owned()),
        Guard::Version => (
            replace_version(table, &columns),
            format!("{name}.{CONTENT_HASH} is not null"),
        ),
    };
    format!(
        "insert into {into} on conflict ({key}{account}) do {action} returning {key}, {prevailed}",
        into = into(backend, table, known),
        key = table.key,
        account = if table.per_account {
            ", account_id"
        } else {
            ""
        },
    )
}

/// The columns that a write sets, except those of the run.
fn stored(table: &Table, known: &[Column]) -> Vec<Column> {
    let mut columns = known.to_vec();
    if table.guard == Guard::Version {
        columns.push(HASH_COLUMN);
    }
    columns
}

/// The table, the columns, and the query that returns their values.
fn into(backend: &dyn Backend, table: &Table, known: &[Column]) -> String {
    let columns = stored(table, known);
    let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
    let (values, from) = backend.unpacked(known, table.guard == Guard::Version, 5);
    format!(
        "{name} ({names}, account_id, run_id, synced_at, change_seq) \
         select {values}, $1, $2, $3, $4 from {from}",
        name = table.name,
        names = names.join(", "),
    )
}

/// True unless the stored row's shared columns were read later.
fn read_later(name: &str) -> String {
    format!("({name}.{OBSERVED_AT} is null or excluded.{OBSERVED_AT} >= {name}.{OBSERVED_AT})")
}

/// A condition for the rows that an account may change, followed by `and`.
fn own(table: &Table) -> String {
    if table.per_account {
        // The key that the two rows share says it.
        return String::new();
    }
    format!("{}.account_id = excluded.account_id and ", table.name)
}

fn replace_version(table: &Table, columns: &[Column]) -> String {
    let Table { name, key, .. } = *table;
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
         change_seq = excluded.change_seq, removed_at = null \
         where {own}({name}.{CONTENT_HASH} is distinct from excluded.{CONTENT_HASH} \
         or {name}.{UPDATED_AT} is distinct from excluded.{UPDATED_AT} \
         or {name}.removed_at is not null)",
        sets.join(", "),
        own = own(table),
    )
}

/// A version keeps its hash unless one of its values is replaced. Values that only details have are
/// never in the hash, and a null column of a group was left out by the list.
fn replace_observed(table: &Table, columns: &[Column]) -> String {
    let Table { name, key, .. } = *table;
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
        "update set {}, run_id = excluded.run_id, synced_at = excluded.synced_at, \
         change_seq = excluded.change_seq where {}{} and ({})",
        sets.join(", "),
        own(table),
        read_later(name),
        differs.join(" or ")
    )
}
