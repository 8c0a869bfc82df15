//! `migrate`: the database's tables, brought up to date.

use clap::Args;

/// Bring the tables up to date.
///
/// Creates the database file if it is SQLite's and missing. run, sync and backfill do the same by
/// themselves unless database.migrate is false. Nothing is ever migrated backwards: a database of
/// a later version is refused.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Example:
  DATABASE_URL=postgres://helena:secret@db/helena helena-sync migrate")]
pub struct MigrateArgs {}
