//! Every difference between the two databases.
//!
//! Must not know what the tables are for.

use super::parameter;
use super::upsert::CONTENT_HASH;
use crate::data::{Column, Kind, Row};

/// A database's own words.
pub(super) trait Backend: Send + Sync + std::fmt::Debug {
    /// Opens a transaction that will write.
    fn begin_writing(&self) -> &'static str;

    /// Behind a `select` of a row that this transaction is about to change, or nobody else may.
    fn lock(&self) -> &'static str;

    /// The present, for leases. Processes on several machines share a Postgres and need one clock
    /// to agree on, the server's; a SQLite file is used from one machine, whose clock the caller
    /// passes as a parameter.
    fn lease_now(&self, parameter: &str) -> String;

    /// Rows that know these columns as one parameter: the JSON text that [`Self::unpacked`] reads.
    fn packed(&self, rows: &[&Row], columns: &[Column]) -> String;

    /// The values of `columns`, then of the row's hash if that is asked for, and the `from` clause
    /// that yields them, out of parameter 1.
    fn unpacked(&self, table: &str, columns: &[Column], hash: bool) -> (String, String);

    /// An expression that yields the columns as the text of a JSON array.
    fn array(&self, columns: &[&str]) -> String;

    /// An expression that yields the columns as the text of a JSON object.
    fn object(&self, columns: &[Column]) -> String;

    /// A query that yields the uuids of a JSON array.
    fn ids(&self, parameter: &str) -> String;

    /// A query that yields pairs of uuids of a JSON array of arrays.
    fn pairs(&self, parameter: &str) -> String;

    /// A query that yields the pairs `(id, json)` of a JSON array of arrays, the second a JSON text
    /// within a JSON string.
    fn texts(&self, parameter: &str) -> String;
}

#[derive(Debug)]
pub(super) struct SqliteBackend;

#[derive(Debug)]
pub(super) struct PostgresBackend;

impl Backend for SqliteBackend {
    fn begin_writing(&self) -> &'static str {
        // A deferred one fails in the middle if another process writes in between.
        "begin immediate"
    }

    fn lock(&self) -> &'static str {
        ""
    }

    fn lease_now(&self, parameter: &str) -> String {
        parameter.to_owned()
    }

    // To find a value by its name, SQLite compares all names before it; by its place, it only
    // steps over the values. Measured: that saves a sixth of the processor's time of a first load.
    fn packed(&self, rows: &[&Row], _columns: &[Column]) -> String {
        parameter::arrays(rows)
    }

    fn unpacked(&self, _table: &str, columns: &[Column], hash: bool) -> (String, String) {
        let mut values: Vec<String> = columns
            .iter()
            .zip(1..)
            .map(|(column, place)| match column.kind {
                // `->>` would take the quotes off a JSON text; `->` yields a JSON null as text.
                Kind::Json => format!("nullif(value -> {place}, 'null')"),
                _ => format!("value ->> {place}"),
            })
            .collect();
        if hash {
            values.push("value ->> 0".to_owned());
        }
        (
            values.join(", "),
            // `where true` keeps the parser from reading `on conflict` as a join's condition.
            "jsonb_each($1) where true".to_owned(),
        )
    }

    fn array(&self, columns: &[&str]) -> String {
        format!("json_array({})", columns.join(", "))
    }

    fn object(&self, columns: &[Column]) -> String {
        let fields: Vec<String> = columns
            .iter()
            .map(|Column { name, kind, .. }| match kind {
                Kind::Json => format!("'{name}', json({name})"),
                _ => format!("'{name}', {name}"),
            })
            .collect();
        format!("json_object({})", fields.join(", "))
    }

    fn ids(&self, parameter: &str) -> String {
        format!("select value from jsonb_each({parameter})")
    }

    fn pairs(&self, parameter: &str) -> String {
        format!("select value ->> 0 as owner, value ->> 1 as tag from jsonb_each({parameter})")
    }

    fn texts(&self, parameter: &str) -> String {
        format!("select value ->> 0 as id, value ->> 1 as json from jsonb_each({parameter})")
    }
}

impl Backend for PostgresBackend {
    fn begin_writing(&self) -> &'static str {
        "begin"
    }

    fn lock(&self) -> &'static str {
        " for update"
    }

    fn lease_now(&self, parameter: &str) -> String {
        // The parameter is named so that both databases take the same list of them.
        format!("coalesce(clock_timestamp(), {parameter})")
    }

    fn packed(&self, rows: &[&Row], columns: &[Column]) -> String {
        parameter::objects(rows, columns)
    }

    fn unpacked(&self, table: &str, columns: &[Column], hash: bool) -> (String, String) {
        let mut values: Vec<&str> = columns.iter().map(|column| column.name).collect();
        if hash {
            values.push(CONTENT_HASH);
        }
        (
            values.join(", "),
            format!("json_populate_recordset(null::{table}, $1::json)"),
        )
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

    fn ids(&self, parameter: &str) -> String {
        format!("select value::uuid from json_array_elements_text({parameter}::json)")
    }

    fn pairs(&self, parameter: &str) -> String {
        format!(
            "select (value ->> 0)::uuid as owner, (value ->> 1)::uuid as tag \
             from json_array_elements({parameter}::json)"
        )
    }

    fn texts(&self, parameter: &str) -> String {
        format!(
            "select (value ->> 0)::uuid as id, (value ->> 1)::json as json \
             from json_array_elements({parameter}::json)"
        )
    }
}
