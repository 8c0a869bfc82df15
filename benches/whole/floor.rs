//! The floor: how fast a program that does nothing else writes the rows of a mirror.
//!
//! The same rows into the same tables with the same keys, indexes and durability, table by table,
//! a thousand rows a transaction, the conversion of values not counted. For SQLite that is the
//! program of `benches/floor`; Postgres gets arrays of the columns' own types (`unnest`).

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use chrono::{DateTime, Utc};
use helena_sync::store::{OpenOptions, Store};
use sqlx::postgres::PgArguments;
use sqlx::sqlite::SqliteRow;
use sqlx::{
    Arguments as _, AssertSqlSafe, Column as _, Connection as _, PgConnection, Row as _,
    SqliteConnection,
};
use uuid::Uuid;

/// In the order in which foreign keys allow them to be written.
const TABLES: [&str; 9] = [
    "accounts",
    "tags",
    "channels",
    "departments",
    "agents",
    "contacts",
    "sessions",
    "contact_tags",
    "session_tags",
];

/// Rows a transaction.
const ROWS: usize = 1_000;

/// The time that it takes to write all rows of the mirror at a path into an empty SQLite file.
/// `None` where the program for it is not built.
pub(super) async fn sqlite(mirror: &str, target: &str) -> Result<Option<Duration>> {
    let Ok(program) = std::env::var("FLOOR") else {
        return Ok(None);
    };
    migrate(&format!("sqlite://{target}")).await?;
    let output = Command::new(program).args([mirror, target]).output()?;
    ensure!(
        output.status.success(),
        "the floor failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let seconds: f64 = String::from_utf8(output.stdout)?.trim().parse()?;
    Ok(Some(Duration::from_secs_f64(seconds)))
}

/// The time that it takes to write all rows of the mirror at a path into an empty Postgres
/// database.
pub(super) async fn postgres(mirror: &str, target: &str) -> Result<Duration> {
    migrate(target).await?;
    let mut mirror = SqliteConnection::connect(&format!("sqlite://{mirror}")).await?;
    let mut target = PgConnection::connect(target).await?;
    let mut taken = Duration::ZERO;
    for table in TABLES {
        let sql = format!("select * from {table}");
        let rows = sqlx::query(AssertSqlSafe(sql))
            .fetch_all(&mut mirror)
            .await?;
        for rows in rows.chunks(ROWS) {
            taken += insert(&mut target, table, rows).await?;
        }
    }
    Ok(taken)
}

async fn migrate(url: &str) -> Result<()> {
    let store = Store::open(url, &OpenOptions::default()).await?;
    store.migrate().await?;
    store.close().await;
    Ok(())
}

async fn insert(
    connection: &mut PgConnection,
    table: &str,
    rows: &[SqliteRow],
) -> Result<Duration> {
    let types: Vec<(String, String)> = sqlx::query_as(
        "select column_name::text, data_type::text from information_schema.columns \
         where table_name = $1 and table_schema = current_schema()",
    )
    .bind(table)
    .fetch_all(&mut *connection)
    .await?;
    let mut arguments = PgArguments::default();
    let mut names = Vec::new();
    let mut values = Vec::new();
    for column in rows[0].columns() {
        let name = column.name();
        let (_, kind) = types
            .iter()
            .find(|(known, _)| known == name)
            .with_context(|| format!("{table}.{name} is in one database only"))?;
        add(&mut arguments, kind, rows, name)?;
        names.push(name);
        values.push(match kind.as_str() {
            "jsonb" => format!("${}::text[]::jsonb[]", names.len()),
            _ => format!("${}", names.len()),
        });
    }
    let overriding = match table {
        "accounts" => "overriding system value",
        _ => "",
    };
    let sql = format!(
        "insert into {table} ({}) {overriding} select * from unnest({})",
        names.join(", "),
        values.join(", ")
    );
    let begun = Instant::now();
    let mut transaction = connection.begin().await?;
    sqlx::query_with(AssertSqlSafe(sql), arguments)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(begun.elapsed())
}

/// Adds a column as one array.
fn add(arguments: &mut PgArguments, kind: &str, rows: &[SqliteRow], name: &str) -> Result<()> {
    fn read<'r, T, U>(
        rows: &'r [SqliteRow],
        name: &str,
        convert: impl Fn(T) -> Result<U>,
    ) -> Result<Vec<Option<U>>>
    where
        T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
    {
        rows.iter()
            .map(|row| row.try_get::<Option<T>, _>(name)?.map(&convert).transpose())
            .collect()
    }
    let added = match kind {
        "uuid" => arguments.add(read(rows, name, |text: &str| Ok(Uuid::parse_str(text)?))?),
        "timestamp with time zone" => arguments.add(read(rows, name, |text: &str| {
            Ok(DateTime::parse_from_rfc3339(text)?.with_timezone(&Utc))
        })?),
        "text" | "jsonb" => arguments.add(read(rows, name, |text: String| Ok(text))?),
        "bigint" => arguments.add(read(rows, name, |number: i64| Ok(number))?),
        "integer" => arguments.add(read(rows, name, |number: i32| Ok(number))?),
        "boolean" => arguments.add(read(rows, name, |number: i64| Ok(number != 0))?),
        "double precision" => arguments.add(read(rows, name, |number: f64| Ok(number))?),
        _ => bail!("columns of type {kind} are not expected"),
    };
    added.map_err(|error| anyhow::anyhow!(error))
}
