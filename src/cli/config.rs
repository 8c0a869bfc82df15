//! `config`: shows the effective configuration.

use std::io;

use clap::{Args, Subcommand};
use serde_json::json;

use super::formats::TextOrJson;
use super::{Exit, Failure, Global, refused_options};
use crate::api;
use crate::config::{BaseUrlSource, ConfigError, Environment, Settings, Shown};
use crate::output::{Printer, terminal_width};

/// Show the configuration.
///
/// Settings come from defaults, the configuration file, the environment and flags; a later one wins.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: ConfigCommand,
}

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Show all keys with their effective values and where each comes from
    ///
    /// Tokens and passwords are not shown. A token key that another key replaces is "(ignored)". Keys that are not set and have no default are left out;
    /// docs/configuration.md has them. Exits with 2, after the table, if a value is not accepted.
    #[command(args = refused_options::hidden(refused_options::CONFIG), after_long_help = "\
Examples:
  helena-sync config show
  helena-sync --config /etc/helena-sync.toml config show --json")]
    Show(TextOrJson),
}

const COLUMNS: [&str; 3] = ["key", "value", "from"];

/// Runs the subcommand. It does without a `Context`: a wrong value must not keep it from showing the others.
pub(super) fn run(
    global: &Global,
    environment: Environment,
    args: &ConfigArgs,
) -> Result<Exit, Failure> {
    let ConfigCommand::Show(format) = args.command;
    let settings = Settings::load(global.config.as_deref(), environment, &global.flags())?;
    let mut printer = Printer::new(
        io::stdout().lock(),
        format.chosen(),
        &COLUMNS,
        terminal_width(),
    )?;
    for Shown { key, value, origin } in settings.shown() {
        let json = json!({ "key": key, "value": value, "from": origin });
        printer.record(&[key, value, origin], &json.to_string())?;
    }
    printer.finish()?;
    settings.check()?;
    check_base_urls(&settings)?;
    Ok(Exit::Done)
}

/// Refuses base URLs that no command accepts.
fn check_base_urls(settings: &Settings) -> Result<(), Failure> {
    let allow_http = settings.api()?.allow_http;
    for BaseUrlSource { origin, key, text } in settings.base_urls()? {
        api::base_url(&text, allow_http).map_err(|error| ConfigError::Value {
            origin,
            key,
            problem: error.to_string(),
        })?;
    }
    Ok(())
}
