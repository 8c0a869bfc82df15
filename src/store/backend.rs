//! Every difference between the two databases.
//!
//! Must not know what the tables are for.

use uuid::Uuid;

use super::parameter::{self, GROUP, Unfit};
use super::upsert::CONTENT_HASH;
use super::value::{Arg, args};
use crate::data::{Column, ColumnType, Row};

/// A transaction with at least this many rows belongs to a load, not to an incremental pass.
const MANY_ROWS: usize = 500;

/// The SQL that differs between the databases.
pub(super) trait Backend: Send + Sync + std::fmt::Debug {
    /// Starts a writing transaction.
    fn begin_writing(&self) -> &'static str;

    /// A statement that prepares a transaction for so many rows, if one is needed.
    fn make_room(&self, rows: usize) -> Option<&'static str>;

    /// The suffix of a `select` that locks the row.
    fn lock(&self) -> &'static str;

    /// The suffix of a `select` that locks the row, and leaves it out if another transaction has locked it.
    fn lock_if_free(&self) -> &'static str;

    /// The current time, for leases. Processes on several machines share a Postgres, so they use
    /// the server's clock. A SQLite file is used from one machine, whose time the caller passes as
    /// a parameter.
    fn lease_now(&self, parameter: &str) -> String;

    /// The next `change_seq` of a transaction that has locked its account's lease. It was never
    /// used before, even if the database was restored, because it is not behind the clock that
    /// leases use. For SQLite, acquiring a lease makes sure of that.
    fn next_change(&self) -> &'static str;

    /// Packs these columns of rows, and their hashes if `hash` is set, into the last parameters of a
    /// statement, which [`Self::unpacked`] reads. Fails if a value does not have its column's type.
    fn packed<'a>(
        &self,
        rows: &[&'a Row],
        columns: &[Column],
        hash: bool,
    ) -> Result<Vec<Arg<'a>>, Unfit>;

    /// The expressions for `columns`, and for the hash if `hash` is set, and the `from` clause that
    /// reads them out of the parameters from `first` on.
    fn unpacked(&self, columns: &[Column], hash: bool, first: usize) -> (String, String);

    /// An expression that yields the columns as the text of a JSON array.
    fn array(&self, columns: &[&str]) -> String;

    /// An expression that yields the columns as the text of a JSON object.
    fn object(&self, columns: &[Column]) -> String;

    /// A query that returns the texts and numbers of a JSON array, as texts in `value`.
    fn values(&self, parameter: &str) -> String;

    /// A query that returns the uuids of a list, as `id`.
    fn ids(&self, parameter: &str) -> String;

    /// A query that returns these columns of the rows of all accounts whose column `key`, which has
    /// an index, is in a list of uuids. Parameter: 1 the list.
    fn rows_by_id(&self, table: &str, key: &str, columns: &str) -> String;

    /// Pairs of uuids as the last parameters of a statement, which [`Self::pairs`] reads.
    fn packed_pairs(&self, pairs: &[(Uuid, Uuid)]) -> Vec<Arg<'static>>;

    /// A query that returns pairs of uuids, `owner` and `tag`, out of the parameters from `first` on.
    fn pairs(&self, first: usize) -> String;

    /// A query that returns the pairs `(id, json)` of a JSON array of arrays. `json` is JSON inside
    /// a JSON string.
    fn texts(&self, parameter: &str) -> String;

    /// A query that yields `(id, field, old_value, new_value)` of a JSON array of arrays.
    fn changes(&self, parameter: &str) -> String;
}

/// A condition on rows of an account whose key is in a list of uuids. Parameters: 1 the list, 2 the
/// account.
///
/// The plus keeps SQLite from using an index that begins with the account. SQLite assumes that an
/// account has about ten rows, and would read all rows of the account instead of those of the list.
pub(super) fn is_listed(backend: &dyn Backend, key: &str) -> String {
    format!("{key} in ({}) and +account_id = $2", backend.ids("$1"))
}

#[derive(Debug)]
pub(super) struct SqliteBackend;

#[derive(Debug)]
pub(super) struct PostgresBackend;

impl Backend for SqliteBackend {
    fn begin_writing(&self) -> &'static str {
        // A deferred transaction fails in the middle if another process writes in between.
        "begin immediate"
    }

    // Measured: with 13 MB of cache for a first load the process stays below 64 MiB, and more gain
    // little. A daemon that stores what has changed does not need them, and gives them back.
    fn make_room(&self, rows: usize) -> Option<&'static str> {
        Some(if rows < MANY_ROWS {
            "pragma cache_size = -1000"
        } else {
            "pragma cache_size = -13000"
        })
    }

    fn lock(&self) -> &'static str {
        ""
    }

    fn lock_if_free(&self) -> &'static str {
        ""
    }

    fn lease_now(&self, parameter: &str) -> String {
        parameter.to_owned()
    }

    fn next_change(&self) -> &'static str {
        "change_seq + 1"
    }

    // To find a value by its name, SQLite compares all names before it; by its place, it only
    // steps over the values. Measured: that saves a sixth of the processor's time of a first load.
    fn packed<'a>(
        &self,
        rows: &[&'a Row],
        _columns: &[Column],
        _hash: bool,
    ) -> Result<Vec<Arg<'a>>, Unfit> {
        Ok(args![parameter::by_row(rows)])
    }

    fn unpacked(&self, columns: &[Column], hash: bool, first: usize) -> (String, String) {
        let mut values: Vec<String> = columns
            .iter()
            .enumerate()
            .map(|(place, column)| {
                let path = format!("'$[{}][{}]'", 1 + place / GROUP, place % GROUP);
                match column.kind {
                    // `->>` would take the quotes off a JSON text; `->` yields a JSON null as text.
                    ColumnType::Json => format!("nullif(value -> {path}, 'null')"),
                    _ => format!("value ->> {path}"),
                }
            })
            .collect();
        if hash {
            values.push("value ->> '$[0]'".to_owned());
        }
        (
            values.join(", "),
            // `where true` keeps the parser from reading `on conflict` as a join's condition.
            format!("jsonb_each(${first}) where true"),
        )
    }

    fn array(&self, columns: &[&str]) -> String {
        format!("json_array({})", columns.join(", "))
    }

    fn object(&self, columns: &[Column]) -> String {
        let fields: Vec<String> = columns
            .iter()
            .map(|Column { name, kind, .. }| match kind {
                ColumnType::Json => format!("'{name}', json({name})"),
                _ => format!("'{name}', {name}"),
            })
            .collect();
        format!("json_object({})", fields.join(", "))
    }

    fn values(&self, parameter: &str) -> String {
        format!("select cast(value as text) as value from jsonb_each({parameter})")
    }

    fn ids(&self, parameter: &str) -> String {
        format!("select value as id from jsonb_each({parameter})")
    }

    fn rows_by_id(&self, table: &str, key: &str, columns: &str) -> String {
        let ids = self.ids("$1");
        format!("select {columns} from {table} where {key} in ({ids})")
    }

    fn packed_pairs(&self, pairs: &[(Uuid, Uuid)]) -> Vec<Arg<'static>> {
        args![parameter::pairs(pairs)]
    }

    fn pairs(&self, first: usize) -> String {
        format!("select value ->> 0 as owner, value ->> 1 as tag from jsonb_each(${first})")
    }

    fn texts(&self, parameter: &str) -> String {
        format!("select value ->> 0 as id, value ->> 1 as json from jsonb_each({parameter})")
    }

    fn changes(&self, parameter: &str) -> String {
        format!(
            "select value ->> 0 as id, value ->> 1 as field, value ->> 2 as old_value, \
             value ->> 3 as new_value from jsonb_each({parameter})"
        )
    }
}

impl Backend for PostgresBackend {
    // The server plans a statement once and keeps to it, as to its checks of foreign keys. What it
    // planned for a table of some rows, to read it whole for each row of a batch, takes hours when
    // the table is large; an index costs little even then. Which index it takes is another matter:
    // see `Statement`. And nothing here is worth compiling.
    fn begin_writing(&self) -> &'static str {
        "begin; set local enable_seqscan = off; set local jit = off"
    }

    fn make_room(&self, _rows: usize) -> Option<&'static str> {
        None
    }

    fn lock(&self) -> &'static str {
        " for update"
    }

    fn lock_if_free(&self) -> &'static str {
        " for update skip locked"
    }

    fn lease_now(&self, parameter: &str) -> String {
        // The parameter is named so that both databases take the same list of them.
        format!("coalesce(clock_timestamp(), {parameter})")
    }

    fn next_change(&self) -> &'static str {
        "greatest(change_seq + 1, \
         cast(extract(epoch from clock_timestamp()) * 1000000 as bigint))"
    }

    // The server reads arrays of the columns' own types much faster than any JSON: with
    // `json_populate_recordset`, that took it a third of the time of a first load.
    fn packed<'a>(
        &self,
        rows: &[&'a Row],
        columns: &[Column],
        hash: bool,
    ) -> Result<Vec<Arg<'a>>, Unfit> {
        parameter::by_column(rows, columns, hash)
    }

    fn unpacked(&self, columns: &[Column], hash: bool, first: usize) -> (String, String) {
        let mut names: Vec<&str> = columns.iter().map(|column| column.name).collect();
        if hash {
            names.push(CONTENT_HASH);
        }
        let lists: Vec<String> = (first..first + names.len())
            .map(|number| format!("${number}"))
            .collect();
        let names = names.join(", ");
        let from = format!("unnest({}) as batch ({names})", lists.join(", "));
        (names, from)
    }

    fn array(&self, columns: &[&str]) -> String {
        format!("cast(json_build_array({}) as text)", columns.join(", "))
    }

    fn object(&self, columns: &[Column]) -> String {
        // `json_build_object` takes a hundred arguments; a row has no such limit.
        let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
        format!(
            "(select cast(row_to_json(fields) as text) from (select {}) as fields)",
            names.join(", ")
        )
    }

    fn values(&self, parameter: &str) -> String {
        format!("select value from json_array_elements_text({parameter}::json)")
    }

    fn ids(&self, parameter: &str) -> String {
        format!("select unnest({parameter}::uuid[]) as id")
    }

    // One after the other, by the index. Left to itself the server compares all rows of a table that
    // it has not analysed yet with all of the list. `offset 0` keeps it from making one query of the
    // two.
    fn rows_by_id(&self, table: &str, key: &str, columns: &str) -> String {
        format!(
            "select found.* from unnest($1::uuid[]) as ids (id) cross join lateral \
             (select {columns} from {table} where {key} = ids.id offset 0) as found"
        )
    }

    fn packed_pairs(&self, pairs: &[(Uuid, Uuid)]) -> Vec<Arg<'static>> {
        vec![
            parameter::ids(pairs.iter().map(|(owner, _)| *owner)),
            parameter::ids(pairs.iter().map(|(_, tag)| *tag)),
        ]
    }

    fn pairs(&self, first: usize) -> String {
        let second = first + 1;
        format!(
            "select owner, tag from unnest(${first}::uuid[], ${second}::uuid[]) as pairs (owner, tag)"
        )
    }

    fn texts(&self, parameter: &str) -> String {
        format!(
            "select (value ->> 0)::uuid as id, (value ->> 1)::json as json \
             from json_array_elements({parameter}::json)"
        )
    }

    fn changes(&self, parameter: &str) -> String {
        format!(
            "select (value ->> 0)::uuid as id, value ->> 1 as field, value ->> 2 as old_value, \
             value ->> 3 as new_value from json_array_elements({parameter}::json)"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Resource;
    use crate::store::{OpenOptions, Store};

    #[tokio::test]
    async fn sqlite_finds_the_rows_of_a_list_by_their_keys() {
        let options = OpenOptions::default();
        let store = Store::open("sqlite::memory:", &options).await.unwrap();
        store.migrate().await.unwrap();
        for resource in Resource::ALL {
            let key = resource.descriptor().key;
            let is_listed = is_listed(&SqliteBackend, key);
            let mut tx = store.reading("explain", "the mirror").await.unwrap();
            let sql = format!(
                "explain query plan select 1 from {} where {is_listed} and removed_at is null",
                resource.name()
            );
            let args = args![parameter::ids([]), 1_i64];
            let plan: Vec<(i64, i64, i64, String)> =
                tx.rows(sqlx::AssertSqlSafe(sql), args).await.unwrap();
            tx.end().await;
            let plan: Vec<String> = plan.into_iter().map(|(.., step)| step).collect();
            assert!(plan[0].contains(&format!("_1 ({key}=?)")), "{plan:?}");
        }
    }
}
