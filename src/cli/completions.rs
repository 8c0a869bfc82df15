//! `completions`: prints scripts that make shells complete command lines.
//!
//! The scripts ask the program itself, so that they know what this version accepts. Must not read
//! the configuration: it may be broken, and a shell waits.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};

use clap::{Args, Command, CommandFactory};
use clap_complete::env::Shells;
use clap_complete::{ArgValueCompleter, CompleteEnv, CompletionCandidate, Shell};

use super::{Cli, Exit, Failure, refused_options};

/// Print a script with which a shell completes commands, options and values.
///
/// The script asks helena-sync itself what can follow, so helena-sync must be in the PATH. The lines of the
/// examples read the script anew in each shell, so that it fits the installed version. Reads no
/// configuration.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  echo 'source <(helena-sync completions bash)' >> ~/.bashrc
  echo 'source <(helena-sync completions zsh)' >> ~/.zshrc
  echo 'helena-sync completions fish | source' > ~/.config/fish/completions/helena-sync.fish

In ~/.zshrc, the line belongs behind the one with compinit.", args = refused_options::hidden(refused_options::UNCONFIGURED))]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL", ignore_case = true)]
    pub shell: Shell,
}

/// The variable with which a shell asks for completions.
const VARIABLE: &str = "_HELENA_SYNC_COMPLETE";

/// The program's name in command lines.
const PROGRAM: &str = "helena-sync";

/// Prints the script.
pub(super) fn run(args: &CompletionsArgs) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    let shells = Shells::builtins();
    let shell = shells
        .completer(&args.shell.to_string())
        .ok_or_else(|| Failure::usage_text(format!("{} has no script", args.shell)))?;
    shell.write_registration(VARIABLE, PROGRAM, PROGRAM, PROGRAM, &mut script)?;
    io::stdout().lock().write_all(&script)?;
    Ok(Exit::Done)
}

/// If a shell asks for completions, prints them and returns true. Called before anything else, since
/// the command line is not complete then.
pub fn complete(arguments: impl IntoIterator<Item = OsString>) -> bool {
    let folder = std::env::current_dir().ok();
    let completed = CompleteEnv::with_factory(command)
        .var(VARIABLE)
        .try_complete(arguments, folder.as_deref());
    // The shell shows no error, and the user can type without completion.
    completed.unwrap_or(true)
}

/// The command line, with values that complete in any case.
fn command() -> Command {
    in_any_case(Cli::command())
}

fn in_any_case(command: Command) -> Command {
    let command = command.mut_args(|argument| {
        let values: Vec<_> = argument
            .get_possible_values()
            .into_iter()
            .filter(|value| !value.is_hide_set())
            .collect();
        if values.is_empty() || !argument.get_action().takes_values() {
            return argument;
        }
        argument.add(ArgValueCompleter::new(move |typed: &OsStr| {
            let typed = typed.to_string_lossy().to_lowercase();
            let fits = |name: &str| name.to_lowercase().starts_with(&typed);
            let fitting = values.iter().filter(|value| fits(value.get_name()));
            fitting
                .map(|value| {
                    CompletionCandidate::new(value.get_name()).help(value.get_help().cloned())
                })
                .collect::<Vec<_>>()
        }))
    });
    let names: Vec<String> = command
        .get_subcommands()
        .map(|command| command.get_name().to_owned())
        .collect();
    names.iter().fold(command, |command, name| {
        command.mut_subcommand(name, in_any_case)
    })
}
