//! `migrate`: the database's tables, brought up to date.

use std::io::{self, Write};

use clap::Args;

use super::{Context, Exit, Failure, meaning};
use crate::store::{OpenOptions, Store, StoreError};

/// Bring the tables up to date.
///
/// Creates the database file if it is SQLite's and missing. run, sync and backfill do the same by
/// themselves unless database.migrate is false. Nothing is ever migrated backwards: a database of
/// a later version is refused.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Example:
  DATABASE_URL=postgres://helena:secret@db/helena helena-sync migrate", args = meaning::hidden(meaning::MIGRATE))]
pub struct MigrateArgs {}

/// Migrates.
pub(super) async fn run(context: &Context, _args: MigrateArgs) -> Result<Exit, Failure> {
    let database = context.database()?;
    let concerning = |error: StoreError| {
        Failure::from(error).context(format!("cannot migrate the database {}", database.url))
    };
    let store = Store::open(database.url.expose(), &OpenOptions::default())
        .await
        .map_err(concerning)?;
    let applied = store.migrate().await.map_err(concerning)?;
    store.close().await;
    if applied.is_empty() {
        context.note(&format!("{} is up to date", database.url));
    } else {
        let mut out = io::stdout().lock();
        for name in &applied {
            writeln!(out, "{name}")?;
        }
        context.note(&format!(
            "{}: {} migration(s) applied",
            database.url,
            applied.len()
        ));
    }
    Ok(Exit::Done)
}
