//! The command line: clap types, and a file per command that loads, wires, calls and prints.
//!
//! Must not know SQL or HTTP. Data goes to stdout, everything else to stderr.

#![expect(
    clippy::doc_markdown,
    reason = "help texts are read in a terminal, where nothing renders back-quotes"
)]

mod account;
mod context;
mod dates;
mod each;
mod empty;
mod engine;
mod failure;
mod filter;
mod flat;
mod meaning;
mod names;
mod record;
mod stored;
mod waiting;

pub mod backfill;
pub mod check;
pub mod completions;
pub mod contacts;
pub mod demo;
pub mod lists;
pub mod migrate;
pub mod rejects;
pub mod run;
pub mod sandbox;
pub mod sessions;
pub mod state;
pub mod status;
pub mod sync;
pub mod verify;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};

use crate::clock::Clock;
use crate::config::{self, Environment, Flag};
use crate::data::Direction;

pub use account::Account;
pub use context::{Access, Context};
pub use dates::{DateError, parse as parse_date};
pub use failure::{Exit, Failure};
pub use filter::{FilterArgs, Question};
pub use names::{Catalog, NameError};

const ABOUT: &str =
    "Keeps a complete SQL copy of a Helena account (also WTS Chat, FLW Chat and other brands)";

const AFTER_HELP: &str = "\
The common case needs no configuration file:

  HELENA_API_TOKEN=pn_... helena-sync run

creates helena.db in the current folder, loads the account's whole history and keeps it fresh.

Environment:
  HELENA_API_TOKEN       the account's token (account settings, Integrations > API)
  HELENA_API_TOKEN_FILE  a file that holds it
  HELENA_BASE_URL        where the API answers [default: https://api.helena.run]
  DATABASE_URL           sqlite://FILE or postgres://... [default: sqlite://helena.db]
  HELENA_SYNC__SECTION__KEY  any other key of helena-sync.toml
  RUST_LOG               finer filters for log lines

Exit status: 0 done, 1 failed, 2 wrong usage or configuration, 3 refused by the API.";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "helena-sync", version, about = ABOUT, after_help = AFTER_HELP)]
pub struct Cli {
    /// Options of all commands.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of all commands.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Options of all commands")]
pub struct Global {
    /// Configuration file [default: helena-sync.toml, if it exists]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Only this account of the configuration; may be repeated
    #[arg(long = "account", global = true, value_name = "NAME")]
    pub accounts: Vec<String>,
    /// Database, instead of DATABASE_URL; other users of this machine can see it
    #[arg(long, global = true, value_name = "URL")]
    pub database_url: Option<String>,
    /// Where the API answers, instead of HELENA_BASE_URL
    #[arg(long, global = true, value_name = "URL")]
    pub base_url: Option<String>,
    /// Time zone of dates, such as America/Sao_Paulo [default: the machine's]
    #[arg(long, global = true, value_name = "ZONE")]
    pub timezone: Option<String>,
    /// Log lines for people (text) or as JSON (json) [default: text]
    #[arg(long, global = true, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// Least severe log lines shown: error, warn, info, debug or trace [default: info]
    #[arg(long, global = true, value_name = "LEVEL")]
    pub log_level: Option<String>,
}

impl Global {
    /// The keys that are set by flags.
    fn flags(&self) -> Vec<Flag> {
        [
            ("database.url", "--database-url", &self.database_url),
            ("api.base_url", "--base-url", &self.base_url),
            ("timezone", "--timezone", &self.timezone),
            ("log.format", "--log-format", &self.log_format),
            ("log.level", "--log-level", &self.log_level),
        ]
        .into_iter()
        .filter_map(|(key, flag, value)| value.clone().map(|value| Flag { key, flag, value }))
        .collect()
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
#[expect(
    missing_docs,
    reason = "a command's help stands whole on its arguments; a text here would replace all of it"
)]
pub enum Command {
    Demo(demo::DemoArgs),
    Run(run::RunArgs),
    Sync(sync::SyncArgs),
    Backfill(backfill::BackfillArgs),
    Status(status::StatusArgs),
    State(state::StateArgs),
    Check(check::CheckArgs),
    Verify(verify::VerifyArgs),
    Migrate(migrate::MigrateArgs),
    Rejects(rejects::RejectsArgs),
    Sessions(sessions::SessionsArgs),
    Contacts(contacts::ContactsArgs),
    Tags(lists::TagsArgs),
    Channels(lists::ChannelsArgs),
    Departments(lists::DepartmentsArgs),
    Agents(lists::AgentsArgs),
    Sandbox(sandbox::SandboxCommand),
    Completions(completions::CompletionsArgs),
}

impl Command {
    /// Whether its stderr is a log: somebody collects it, and nobody may be looking.
    const fn logs(&self) -> bool {
        match self {
            Self::Run(_) | Self::Sync(_) | Self::Backfill(_) | Self::Verify(_) => true,
            Self::Rejects(args) => matches!(args.command, Some(rejects::RejectsCommand::Retry(_))),
            _ => false,
        }
    }
}

/// Parses the command line and does what it says. Usage errors and `--help` are printed here, as
/// clap words them; every other failure is returned for `main` to print.
pub async fn main(
    arguments: impl IntoIterator<Item = OsString>,
    clock: Arc<dyn Clock>,
) -> Result<Exit, Failure> {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let exit = match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Done,
                _ => Exit::Usage,
            };
            // A closed pipe is nobody to tell anything.
            let _unread = error.print();
            return Ok(exit);
        }
    };
    run_command(cli, Environment::of_process()?, clock).await
}

/// Does what a parsed command line says.
pub async fn run_command(
    cli: Cli,
    environment: Environment,
    clock: Arc<dyn Clock>,
) -> Result<Exit, Failure> {
    meaning::check(&cli.global, &cli.command)?;
    // These need no configuration, and must work with a broken one.
    match &cli.command {
        Command::Completions(args) => return completions::run(args),
        Command::Sandbox(args) => {
            let config = args.config(clock.now()).map_err(Failure::usage)?;
            let stop = engine::signals(Exit::Done)?;
            let served =
                sandbox::run(config, clock, &mut std::io::stdout(), stop.cancelled()).await;
            return served.map(|()| Exit::Done).map_err(Failure::failed);
        }
        Command::Demo(args) => return demo::run(&environment, args, clock).await,
        _ => {}
    }
    let mut context = Context::load(&cli.global, environment, clock)?;
    if cli.command.logs() {
        context = context.of_log();
    }
    let end = match cli.command {
        Command::Run(args) => run::run(&context, args).await,
        Command::Sync(args) => sync::run(&context, args).await,
        Command::Backfill(args) => backfill::run(&context, args).await,
        Command::Status(args) => status::run(&context, args).await,
        Command::State(args) => state::run(&context, args).await,
        Command::Check(args) => check::run(&context, args).await,
        Command::Verify(args) => verify::run(&context, args).await,
        Command::Migrate(args) => migrate::run(&context, args).await,
        Command::Rejects(args) => rejects::run(&context, args).await,
        Command::Sessions(args) => sessions::run(&context, args).await,
        Command::Contacts(args) => contacts::run(&context, args).await,
        Command::Tags(args) => lists::tags(&context, args.list).await,
        Command::Channels(args) => lists::channels(&context, args.list).await,
        Command::Departments(args) => lists::departments(&context, args.list).await,
        Command::Agents(args) => lists::agents(&context, args.list).await,
        Command::Completions(_) | Command::Sandbox(_) | Command::Demo(_) => Ok(Exit::Done),
    };
    context.concluded(end)
}

/// A length of time above zero, as an option's value.
fn duration(text: &str) -> Result<Duration, String> {
    let duration = config::duration_of(text)?;
    if duration.is_zero() {
        return Err("must be longer than nothing".to_owned());
    }
    Ok(duration)
}

/// A count from 1 on, as an option's value.
fn positive<T: std::str::FromStr + PartialEq + Default>(text: &str) -> Result<T, String> {
    match text.trim().parse() {
        Ok(count) if count == T::default() => Err("must be at least 1".to_owned()),
        Ok(count) => Ok(count),
        Err(_) => Err("is no whole number that can be counted to (at least 1)".to_owned()),
    }
}

/// A direction, as an option's value.
fn direction(text: &str) -> Result<Direction, String> {
    match config::one_of(text, &["ascending", "descending", "asc", "desc"])? {
        "descending" | "desc" => Ok(Direction::Descending),
        _ => Ok(Direction::Ascending),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_an_example_and_every_option_a_text() {
        fn check(command: &clap::Command) {
            if command.get_subcommands().next().is_none() {
                let help = command.get_after_long_help().or(command.get_after_help());
                let help = help.map(ToString::to_string).unwrap_or_default();
                assert!(help.contains("Example"), "{}", command.get_name());
                let about = command.get_long_about().map(ToString::to_string);
                let short = command.get_about().map(ToString::to_string);
                assert!(
                    about.is_some() && about > short,
                    "{} says no more than its summary",
                    command.get_name()
                );
            }
            for argument in command.get_arguments() {
                assert!(
                    argument.get_help().is_some(),
                    "{} {}",
                    command.get_name(),
                    argument.get_id()
                );
            }
            command.get_subcommands().for_each(check);
        }
        Cli::command().get_subcommands().for_each(check);
    }
}
