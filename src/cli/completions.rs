//! `completions`: prints completion scripts for shells.

use std::io::{self, Write};

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, Exit, Failure, refused_options};

/// Print a completion script for a shell.
///
/// Reads no configuration.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  helena-sync completions bash > ~/.local/share/bash-completion/completions/helena-sync
  helena-sync completions zsh > ~/.zfunc/_helena-sync
  helena-sync completions fish > ~/.config/fish/completions/helena-sync.fish", args = refused_options::hidden(refused_options::UNCONFIGURED))]
pub struct CompletionsArgs {
    /// bash, zsh, fish, elvish or powershell
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

/// Prints the script.
pub(super) fn run(args: &CompletionsArgs) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "helena-sync", &mut script);
    io::stdout().lock().write_all(&script)?;
    Ok(Exit::Done)
}
