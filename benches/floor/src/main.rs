//! The floor of SQLite: how fast a program that does nothing else writes the rows of a mirror.
//!
//! `floor MIRROR TARGET` copies the mirror at one path into the empty one at another: the same
//! rows into the same tables with the same keys, indexes and durability, row by row through cached
//! statements, a thousand rows a transaction. Prints the seconds that the writing took; reading is
//! not counted.

use std::time::{Duration, Instant};

use rusqlite::types::Value;
use rusqlite::{Connection, Result, params_from_iter};

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

fn main() -> Result<()> {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    let [mirror, target] = &paths[..] else {
        eprintln!("usage: floor MIRROR TARGET");
        std::process::exit(2);
    };
    let mirror = Connection::open(mirror)?;
    let mut target = Connection::open(target)?;
    // What the mirror's own writer sets.
    target.execute_batch(
        "pragma foreign_keys = on; pragma journal_mode = wal; pragma synchronous = full; \
         pragma cache_size = -13000; pragma wal_autocheckpoint = 8000;",
    )?;
    let mut taken = Duration::ZERO;
    for table in TABLES {
        taken += copy(&mirror, &mut target, table)?;
    }
    println!("{:.6}", taken.as_secs_f64());
    Ok(())
}

fn copy(mirror: &Connection, target: &mut Connection, table: &str) -> Result<Duration> {
    let mut select = mirror.prepare(&format!("select * from {table}"))?;
    let names = select.column_names().join(", ");
    let columns = select.column_count();
    let insert = format!(
        "insert into {table} ({names}) values ({})",
        vec!["?"; columns].join(", ")
    );
    let mut found = select.query([])?;
    let mut taken = Duration::ZERO;
    loop {
        let mut rows: Vec<Vec<Value>> = Vec::with_capacity(ROWS);
        while rows.len() < ROWS
            && let Some(row) = found.next()?
        {
            rows.push((0..columns).map(|at| row.get(at)).collect::<Result<_>>()?);
        }
        if rows.is_empty() {
            return Ok(taken);
        }
        let begun = Instant::now();
        let transaction = target.transaction()?;
        {
            let mut insert = transaction.prepare_cached(&insert)?;
            for row in &rows {
                insert.execute(params_from_iter(row))?;
            }
        }
        transaction.commit()?;
        taken += begun.elapsed();
    }
}
