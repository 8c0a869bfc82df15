//! `backup`: copies a SQLite database while it is in use.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;

use super::{Context, Exit, Failure, engine, refused_options, whole_file};
use crate::store::{OpenOptions, Store};

/// Copy the SQLite database to a file, also while run is writing.
///
/// The copy is the database as it was when the copying began, complete and in one file. Writers do not
/// interrupt it, so it ends for databases of any size. Only its owner can read it. It takes as much
/// space as the database has rows for, and until it ends, the log of the database grows.
///
/// An existing file is never replaced. For Postgres, use pg_dump.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  helena-sync backup helena-2026-05-04.db
  helena-sync backup --database-url sqlite:///var/lib/helena/helena.db /backup/helena.db", args = refused_options::hidden(refused_options::BACKUP))]
pub struct BackupArgs {
    /// The file to create
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// Copies the database.
pub(super) async fn run(context: &Context, args: BackupArgs) -> Result<Exit, Failure> {
    let database = context.database()?;
    let Some(source) = database.url.sqlite_file() else {
        return Err(Failure::usage_text(format!(
            "backup copies SQLite files, and the database is {}; use `pg_dump --format=custom \
             --file=helena.dump ADDRESS`",
            database.url
        )));
    };
    if !source.exists() {
        return Err(Failure::failed(anyhow::anyhow!(
            "the database {} does not exist yet; there is nothing to copy",
            database.url
        )));
    }
    let copy = &args.file;
    if copy.is_dir() {
        return Err(Failure::usage_text(format!(
            "{} is a folder; name a file in it",
            copy.display()
        )));
    }
    if copy.to_str().is_none() {
        return Err(Failure::usage_text(format!(
            "{} is not UTF-8, and SQLite cannot write to it; choose another name",
            copy.display()
        )));
    }
    if fs::symlink_metadata(copy).is_ok() {
        return Err(Failure::usage_text(format!(
            "{} exists; name another file, or remove it first",
            copy.display()
        )));
    }
    let doing = || format!("cannot copy {} to {}", database.url, copy.display());
    let options = OpenOptions { read_only: true };
    let store = Store::open(database.url.expose(), &options)
        .await
        .map_err(|error| Failure::from(error).context(doing()))?;
    let began = context.clock.running();
    let partial = partial(copy);
    let stop = engine::signals(Exit::Failed)?;
    let kept = tokio::select! {
        biased;
        () = stop.cancelled() => {
            // SQLite goes on copying until the process ends. Nobody sees the file any more.
            let _gone = fs::remove_file(&partial);
            return Err(Failure::failed(anyhow::anyhow!("stopped; there is no copy")).context(doing()));
        }
        copied = store.copy_to(&partial) => match copied {
            Ok(()) => keep(&partial, copy).map_err(Failure::from),
            Err(error) => Err(error.into()),
        },
    };
    store.close().await;
    if kept.is_err() {
        // What is left of it is of no use.
        let _gone = fs::remove_file(&partial);
    }
    let size = kept.map_err(|failure| failure.context(doing()))?;
    context.note(&format!(
        "{} is a copy of {}: {:.1} MB in {:.1} s",
        copy.display(),
        database.url,
        // Precise enough for a person.
        f64::from(u32::try_from(size / 1000).unwrap_or(u32::MAX)) / 1000.0,
        context.clock.elapsed(began).as_secs_f64()
    ));
    Ok(Exit::Done)
}

/// Where the copy is until it is complete.
fn partial(copy: &Path) -> PathBuf {
    let mut name = copy.as_os_str().to_owned();
    name.push(format!(".{}.partial", std::process::id()));
    PathBuf::from(name)
}

/// Gives the complete copy its name. Returns its size.
fn keep(partial: &Path, copy: &Path) -> io::Result<u64> {
    let file = fs::File::open(partial)?;
    file.sync_all()?;
    let size = file.metadata()?.len();
    if size == 0 {
        return Err(io::Error::other("SQLite wrote nothing"));
    }
    whole_file::name(partial, copy)?;
    Ok(size)
}
