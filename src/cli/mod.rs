//! The command line: clap types, and a file per command that loads, wires, calls and prints.
//!
//! Must not know SQL or HTTP. Data goes to stdout, everything else to stderr.

#![expect(
    clippy::doc_markdown,
    reason = "help texts are read in a terminal, where nothing renders back-quotes"
)]

mod account;
mod account_outcomes;
mod choices;
mod context;
mod dates;
mod empty;
mod engine;
mod failure;
mod filter;
mod flat;
mod fleet;
mod formats;
mod hints;
mod names;
mod place;
mod recent_use;
mod record;
mod refused_options;
mod reload;
mod serving;
mod shares;
mod stored;
mod version;
mod waiting;
mod whole_file;

pub mod alerts;
pub mod backfill;
pub mod backup;
pub mod check;
pub mod completions;
pub mod config;
pub mod contacts;
#[cfg(feature = "sandbox")]
pub mod demo;
pub mod export;
pub mod health;
pub mod init;
pub mod lists;
pub mod man;
pub mod migrate;
pub mod rejects;
pub mod report;
pub mod run;
#[cfg(feature = "sandbox")]
pub mod sandbox;
#[cfg(feature = "sandbox")]
mod sandbox_oddities;
pub mod sessions;
pub mod state;
pub mod status;
pub mod sync;
pub mod verify;
pub mod webhooks;

use std::ffi::OsString;
use std::future::ready;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{ArgAction, Args, Parser, Subcommand, ValueHint};
use futures::FutureExt as _;
use futures::future::BoxFuture;

use crate::clock::Clock;
use crate::config::{self as configuration, Environment, Flag};
use crate::data::Direction;

pub use account::{Account, Patience};
pub use context::{Access, Context};
pub use dates::{Calendar, DateError, parse as parse_date};
pub use failure::{Exit, Failure};
pub use filter::{FilterArgs, ResolvedFilter};
pub use names::{Catalog, NameError};

const ABOUT: &str =
    "Mirrors a Helena account (also WTS Chat, FLW Chat and other brands) in a SQL database";

const AFTER_HELP: &str = "\
Most users need no configuration file:

  HELENA_API_TOKEN=pn_... helena-sync run

This creates helena.db in the current folder, loads the account's whole
history and keeps the mirror up to date. helena-sync init asks for the token
and the database, tests both and writes a configuration file.

Environment:
  HELENA_API_TOKEN       the account's token (account settings, Integrations > API)
  HELENA_API_TOKEN_FILE  a file that holds the token
  HELENA_BASE_URL        address of the API [default: https://api.helena.run]
  HELENA_DATABASE_URL    the database: a file, sqlite://FILE or postgres://...
                         [default: DATABASE_URL, else sqlite://helena.db]
  HELENA_SYNC_CONFIG     a configuration file
  HELENA_SYNC__SECTION__KEY  any other key of helena-sync.toml
  TZ                     the time zone, such as America/Sao_Paulo [default: the machine's]
  RUST_LOG               log levels of single modules
  OTEL_EXPORTER_OTLP_ENDPOINT  where to send traces [default: none are sent]

Exit status: 0 done, 1 failed, 2 wrong usage or configuration, 3 token refused.";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "helena-sync", version, long_version = version::LONG.as_str(), about = ABOUT, after_help = AFTER_HELP)]
pub struct Cli {
    /// Options that most commands have.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// Options that most commands have. The help of a command shows those that it accepts.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Common options")]
pub struct Global {
    /// Configuration file [default: HELENA_SYNC_CONFIG, or helena-sync.toml if it exists]
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// Use only this account of the configuration; may be repeated
    #[arg(long = "account", global = true, value_name = "NAME")]
    pub accounts: Vec<String>,
    /// Address of the database, instead of HELENA_DATABASE_URL or DATABASE_URL. Other users of this machine can see it in
    /// the list of processes
    #[arg(long, global = true, value_name = "URL")]
    pub database_url: Option<String>,
    /// Address of the API, instead of HELENA_BASE_URL
    #[arg(long, global = true, value_name = "URL")]
    pub base_url: Option<String>,
    /// Time zone of dates, times and log lines, such as America/Sao_Paulo [default: timezone of the
    /// configuration, else that of TZ, else the machine's]
    #[arg(long, global = true, value_name = "ZONE")]
    pub timezone: Option<String>,
    /// Format of log lines [default: text]
    #[arg(long, global = true, value_name = "FORMAT", value_parser = choices::name_of(&configuration::LOG_FORMATS))]
    pub log_format: Option<&'static str>,
    /// Lowest level of log lines to print [default: info]
    #[arg(long, global = true, value_name = "LEVEL", value_parser = choices::name_of(&configuration::LOG_LEVELS))]
    pub log_level: Option<&'static str>,
    /// Print more log lines, as --log-level debug does; twice for trace
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// Print warnings and errors alone: no notes, no progress
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

impl Global {
    /// The configuration keys that flags set.
    fn flags(&self) -> Vec<Flag> {
        let level = match (self.log_level, self.quiet, self.verbose) {
            (Some(level), ..) => Some(("--log-level", level)),
            (None, true, _) => Some(("--quiet", "warn")),
            (None, false, 0) => None,
            (None, false, 1) => Some(("--verbose", "debug")),
            (None, false, _) => Some(("--verbose", "trace")),
        };
        let (level_flag, level) = level.unzip();
        [
            (
                "database.url",
                "--database-url",
                self.database_url.as_deref(),
            ),
            ("api.base_url", "--base-url", self.base_url.as_deref()),
            ("timezone", "--timezone", self.timezone.as_deref()),
            ("log.format", "--log-format", self.log_format),
            ("log.level", level_flag.unwrap_or_default(), level),
        ]
        .into_iter()
        .filter_map(|(key, flag, value)| {
            let value = value?.to_owned();
            Some(Flag { key, flag, value })
        })
        .collect()
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
#[expect(
    missing_docs,
    reason = "each command's help is on its arguments; a comment here would replace it"
)]
pub enum Command {
    #[cfg(feature = "sandbox")]
    Demo(demo::DemoArgs),
    Init(init::InitArgs),
    Run(run::RunArgs),
    Sync(sync::SyncArgs),
    Backfill(backfill::BackfillArgs),
    Status(status::StatusArgs),
    Health(health::HealthArgs),
    Alerts(alerts::AlertsArgs),
    State(state::StateArgs),
    Check(check::CheckArgs),
    Config(config::ConfigArgs),
    Verify(verify::VerifyArgs),
    Migrate(migrate::MigrateArgs),
    Backup(backup::BackupArgs),
    Rejects(rejects::RejectsArgs),
    Report(report::ReportArgs),
    Export(export::ExportArgs),
    Sessions(sessions::SessionsArgs),
    Contacts(contacts::ContactsArgs),
    Tags(lists::TagsArgs),
    Channels(lists::ChannelsArgs),
    Departments(lists::DepartmentsArgs),
    Agents(lists::AgentsArgs),
    CustomFields(lists::CustomFieldsArgs),
    Chatbots(lists::ChatbotsArgs),
    Templates(lists::TemplatesArgs),
    Portfolios(lists::PortfoliosArgs),
    OfficeHours(lists::OfficeHoursArgs),
    Webhooks(webhooks::WebhooksArgs),
    #[cfg(feature = "sandbox")]
    Sandbox(sandbox::SandboxCommand),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
}

impl Command {
    /// Whether the command's stderr is a log that a service collects, not text for a person at a
    /// terminal.
    const fn logs(&self) -> bool {
        match self {
            Self::Run(_) | Self::Sync(_) | Self::Backfill(_) | Self::Verify(_) => true,
            Self::Rejects(args) => matches!(args.command, Some(rejects::RejectsCommand::Retry(_))),
            _ => false,
        }
    }
}

/// Parses the command line and runs the command. Prints usage errors and `--help` itself, with
/// clap's texts; returns every other failure for `main` to print.
pub async fn main(
    arguments: impl IntoIterator<Item = OsString>,
    clock: Arc<dyn Clock>,
) -> Result<Exit, Failure> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(mut error) => {
            hints::add(&mut error, &arguments);
            let exit = match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Done,
                _ => Exit::Usage,
            };
            // If the pipe is closed, nobody can read a message about it.
            let _unread = error.print();
            return Ok(exit);
        }
    };
    let exit = run_command(cli, Environment::of_process()?, clock).await;
    crate::telemetry::end().await;
    exit
}

/// Runs the command of a parsed command line.
pub async fn run_command(
    cli: Cli,
    environment: Environment,
    clock: Arc<dyn Clock>,
) -> Result<Exit, Failure> {
    refused_options::check(&cli.global, &cli.command)?;
    // These need no configuration, and must work with a broken one.
    match &cli.command {
        Command::Completions(args) => return completions::run(args),
        Command::Man(args) => return man::run(args),
        Command::Config(args) => return config::run(&cli.global, environment, args),
        Command::Init(args) => {
            return init::run(&cli.global, environment, args, clock)
                .boxed()
                .await;
        }
        #[cfg(feature = "sandbox")]
        Command::Sandbox(args) => {
            let config = args
                .config(
                    clock.now(),
                    configuration::LocatedZone::local(&environment).zone,
                )
                .map_err(Failure::usage)?;
            let stop = engine::signals(Exit::Done)?;
            let served =
                sandbox::run(config, clock, &mut std::io::stdout(), stop.cancelled()).await;
            return served.map(|()| Exit::Done).map_err(Failure::failed);
        }
        #[cfg(feature = "sandbox")]
        Command::Demo(args) => return demo::run(&environment, args, clock).boxed().await,
        _ => {}
    }
    let mut context = Context::load(&cli.global, environment, clock)?;
    if cli.command.logs() {
        context = context.of_log();
    }
    let context = Arc::new(context);
    // Boxed, so that a caller's stack need not hold the largest of them.
    let command: BoxFuture<'_, Result<Exit, Failure>> = match cli.command {
        Command::Run(args) => run::run(Arc::clone(&context), args).boxed(),
        Command::Sync(args) => sync::run(&context, args).boxed(),
        Command::Backfill(args) => backfill::run(&context, args).boxed(),
        Command::Status(args) => status::run(&context, args).boxed(),
        Command::Health(args) => health::run(&context, args).boxed(),
        Command::Alerts(args) => alerts::run(&context, args).boxed(),
        Command::State(args) => state::run(&context, args).boxed(),
        Command::Check(args) => check::run(&context, args).boxed(),
        Command::Verify(args) => verify::run(&context, args).boxed(),
        Command::Migrate(args) => migrate::run(&context, args).boxed(),
        Command::Backup(args) => backup::run(&context, args).boxed(),
        Command::Rejects(args) => rejects::run(&context, args).boxed(),
        Command::Report(args) => report::run(&context, args).boxed(),
        Command::Export(args) => export::run(&context, args).boxed(),
        Command::Sessions(args) => sessions::run(&context, args).boxed(),
        Command::Contacts(args) => contacts::run(&context, args).boxed(),
        Command::Tags(args) => lists::tags(&context, args.list).boxed(),
        Command::Channels(args) => lists::channels(&context, args.list).boxed(),
        Command::Departments(args) => lists::departments(&context, args.list).boxed(),
        Command::Agents(args) => lists::agents(&context, args.list).boxed(),
        Command::CustomFields(args) => lists::custom_fields(&context, args.list).boxed(),
        Command::Chatbots(args) => lists::chatbots(&context, args.list).boxed(),
        Command::Templates(args) => lists::templates(&context, args.list).boxed(),
        Command::Portfolios(args) => lists::portfolios(&context, args.list).boxed(),
        Command::OfficeHours(args) => lists::office_hours(&context, args.list).boxed(),
        Command::Webhooks(args) => webhooks::run(&context, args).boxed(),
        Command::Completions(_) | Command::Man(_) | Command::Config(_) | Command::Init(_) => {
            ready(Ok(Exit::Done)).boxed()
        }
        #[cfg(feature = "sandbox")]
        Command::Sandbox(_) | Command::Demo(_) => ready(Ok(Exit::Done)).boxed(),
    };
    let end = command.await;
    context.remember_requests();
    context.concluded(end)
}

/// Refuses `--exact` for another format than CSV.
fn exact_is_for_csv(is_exact: bool, is_csv: bool) -> Result<(), Failure> {
    if is_exact && !is_csv {
        return Err(Failure::usage_text(
            "--exact is for --format csv: the other formats have texts as they are anyway. Leave it out.",
        ));
    }
    Ok(())
}

/// Parses an option's value as a duration greater than zero.
fn duration(text: &str) -> Result<Duration, String> {
    let duration = configuration::duration_of(text)?;
    if duration.is_zero() {
        return Err("must be greater than zero".to_owned());
    }
    Ok(duration)
}

/// Parses an option's value as a whole number of at least 1.
fn positive<T: std::str::FromStr + PartialEq + Default>(text: &str) -> Result<T, String> {
    match text.trim().parse() {
        Ok(count) if count != T::default() => Ok(count),
        _ => Err("must be a whole number of at least 1".to_owned()),
    }
}

/// Parses an option's value as a whole number in this range.
fn within(least: u32, most: u32) -> impl Fn(&str) -> Result<u32, String> + Clone {
    move |text| {
        let number = text.trim().parse().ok();
        number
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| format!("must be a whole number from {least} to {most}"))
    }
}

/// Parses an option's value as a whole number.
fn whole<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    let number = text.trim().parse();
    number.map_err(|_| "must be a whole number".to_owned())
}

/// The directions in which a list is sorted.
fn directions() -> choices::Choice<Direction> {
    choices::choice([
        ("ascending", Direction::Ascending),
        ("descending", Direction::Descending),
    ])
    .also(&[("ascending", &["asc"]), ("descending", &["desc"])])
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
