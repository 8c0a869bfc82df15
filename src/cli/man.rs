//! `man`: prints or writes man pages.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory};
use clap_mangen::Man;

use super::{Cli, Exit, Failure, refused_options};

/// Print the man page, or write those of all commands.
///
/// Without --output, prints the page of the program to stdout. With it, writes that page and one for each
/// command, such as helena-sync-sync.1, as files, and prints to stderr how many. Reads no configuration.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  helena-sync man | man -l -
  helena-sync man --output ~/.local/share/man/man1", args = refused_options::hidden(refused_options::UNCONFIGURED))]
pub struct ManArgs {
    /// Write the pages into this folder instead. It is created if it does not exist
    #[arg(long, value_name = "FOLDER", value_hint = clap::ValueHint::DirPath)]
    pub output: Option<PathBuf>,
}

/// Prints the page, or writes all.
pub(super) fn run(args: &ManArgs) -> Result<Exit, Failure> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let Some(folder) = &args.output else {
        let mut page = Vec::new();
        Man::new(command).render(&mut page)?;
        io::stdout().lock().write_all(&page)?;
        return Ok(Exit::Done);
    };
    let written = fs::create_dir_all(folder).and_then(|()| write(&command, folder));
    let count = written.map_err(|error| {
        Failure::from(error).context(format!("cannot write man pages into {}", folder.display()))
    })?;
    // If stderr is closed, nobody reads it. The pages are written.
    let _unwritable = writeln!(
        io::stderr().lock(),
        "{count} man pages written into {}",
        folder.display()
    );
    Ok(Exit::Done)
}

/// Writes the page of a command and those of its commands, and returns how many.
fn write(command: &Command, folder: &Path) -> io::Result<usize> {
    let page = Man::new(command.clone());
    let mut text = Vec::new();
    page.render(&mut text)?;
    fs::write(folder.join(page.get_filename()), text)?;
    let mut count = 1;
    for one in command.get_subcommands().filter(|one| !one.is_hide_set()) {
        count += write(one, folder)?;
    }
    Ok(count)
}
