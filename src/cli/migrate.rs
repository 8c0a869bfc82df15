//! `migrate`: migrates the tables.

use std::io::{self, Write};

use clap::Args;

use super::{Context, Exit, Failure, refused_options};
use crate::data::counted;
use crate::store::{OpenOptions, Store, StoreError};

/// Migrate the tables to this version.
///
/// Creates the database file if the database is SQLite and the file is missing. run, sync and
/// backfill migrate the tables, too, unless database.migrate is false. A database that a later
/// version has migrated is refused: there are no migrations backwards.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Example:
  DATABASE_URL=postgres://helena:secret@db/helena helena-sync migrate", args = refused_options::hidden(refused_options::MIGRATE))]
pub struct MigrateArgs {}

/// Migrates.
pub(super) async fn run(context: &Context, _args: MigrateArgs) -> Result<Exit, Failure> {
    let database = context.database()?;
    let concerning = |error: StoreError| {
        Failure::from(error).context(format!("cannot migrate the tables in {}", database.url))
    };
    context.settings.report()?;
    let store = Store::open(database.url.expose(), &OpenOptions::default())
        .await
        .map_err(concerning)?
        .sharing(database.shared);
    let applied = store.migrate().await.map_err(concerning)?;
    context.keep_reports(&store).await?;
    store.close().await;
    if applied.is_empty() {
        context.note(&format!("{} is up to date", database.url));
    } else {
        let mut out = io::stdout().lock();
        for name in &applied {
            writeln!(out, "{name}")?;
        }
        context.note(&format!(
            "{}: {} applied",
            database.url,
            counted(applied.len() as u64, "migration")
        ));
    }
    Ok(Exit::Done)
}
