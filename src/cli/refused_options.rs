//! Which global options each command accepts. A command hides the others in its help and refuses
//! them: a user who sets an option that has no effect expects something that will not happen.

use clap::{Arg, Args};

use super::{Command, Failure, Global, alerts, rejects};

/// Options that the live lists and `webhooks` refuse.
pub(super) const LIVE: &[&str] = &["database_url"];

/// Options that commands refuse which only read the database.
pub(super) const STORED: &[&str] = &["base_url"];

/// Options that `health` refuses.
pub(super) const HEALTH: &[&str] = &["accounts", "database_url", "base_url", "timezone"];

/// Options that `alerts test` refuses.
pub(super) const ALERTS_TEST: &[&str] = &["accounts", "database_url", "base_url"];

/// Options that `report` and `export` refuse.
pub(super) const REPORT: &[&str] = &["base_url", "timezone"];

/// Options that `migrate` refuses.
pub(super) const MIGRATE: &[&str] = &["accounts", "base_url", "timezone"];

/// Options that `init` refuses.
pub(super) const INIT: &[&str] = &["accounts", "log_format", "log_level", "verbose", "quiet"];

/// Options that `config` refuses.
pub(super) const CONFIG: &[&str] = &["accounts"];

/// Options that `backup` refuses.
pub(super) const BACKUP: &[&str] = &["accounts", "base_url", "timezone"];

/// Options that commands refuse which read no configuration: all.
pub(super) const UNCONFIGURED: &[&str] = &[
    "config",
    "accounts",
    "database_url",
    "base_url",
    "timezone",
    "log_format",
    "log_level",
    "verbose",
    "quiet",
];

/// These options, parsed but hidden in the help. They are parsed so that the error can say why the
/// command refuses them.
pub(super) fn hidden(ids: &[&str]) -> Vec<Arg> {
    Global::augment_args(clap::Command::new("options"))
        .get_arguments()
        .filter(|option| ids.contains(&option.get_id().as_str()))
        .map(|option| option.clone().hide(true))
        .collect()
}

/// Refuses options that the command does not accept, before and after the command's name.
pub(super) fn check(global: &Global, command: &Command) -> Result<(), Failure> {
    let given = [
        ("config", "--config", global.config.is_some()),
        ("accounts", "--account", !global.accounts.is_empty()),
        (
            "database_url",
            "--database-url",
            global.database_url.is_some(),
        ),
        ("base_url", "--base-url", global.base_url.is_some()),
        ("timezone", "--timezone", global.timezone.is_some()),
        ("log_format", "--log-format", global.log_format.is_some()),
        ("log_level", "--log-level", global.log_level.is_some()),
        ("verbose", "--verbose", global.verbose > 0),
        ("quiet", "--quiet", global.quiet),
    ];
    let levels = given
        .iter()
        .filter(|(id, _, given)| *given && ["log_level", "verbose", "quiet"].contains(id));
    if let [(_, one, _), (_, other, _), ..] = levels.collect::<Vec<_>>()[..] {
        return Err(Failure::usage_text(format!(
            "{one} and {other} both set the level of log lines. Leave one of them out."
        )));
    }
    let (name, without, why) = of(command);
    for (id, flag, given) in given {
        if given && without.contains(&id) {
            let why = match (id, name) {
                ("timezone", "report" | "export") => {
                    "its days are those of the time zone that the last sync stored in the database"
                }
                _ => why,
            };
            return Err(Failure::usage_text(format!(
                "{name} does not accept {flag}: {why}. Leave it out."
            )));
        }
    }
    Ok(())
}

/// The command's name, the options that it refuses, and why.
const fn of(command: &Command) -> (&'static str, &'static [&'static str], &'static str) {
    const ASKS: &str = "it reads the platform, not the database";
    const LOOKS: &str = "it only reads the database";
    match command {
        #[cfg(feature = "sandbox")]
        Command::Demo(_) => (
            "demo",
            UNCONFIGURED,
            "it simulates its own account and takes its database from --database",
        ),
        #[cfg(feature = "sandbox")]
        Command::Sandbox(_) => ("sandbox", UNCONFIGURED, "it reads no configuration"),
        Command::Completions(_) => ("completions", UNCONFIGURED, "it reads no configuration"),
        Command::Man(_) => ("man", UNCONFIGURED, "it reads no configuration"),
        Command::Init(_) => (
            "init",
            INIT,
            "it writes a configuration of one account and logs nothing",
        ),
        Command::Migrate(_) => ("migrate", MIGRATE, "it only changes the tables"),
        Command::Backup(_) => ("backup", BACKUP, "it only copies the database"),
        Command::Config(_) => (
            "config",
            CONFIG,
            "it shows the configuration of all accounts",
        ),
        Command::Status(_) => ("status", STORED, LOOKS),
        Command::Health(_) => ("health", HEALTH, "it only asks the running daemon"),
        Command::Alerts(args) => match args.command {
            Some(alerts::AlertsCommand::Test) => {
                ("alerts test", ALERTS_TEST, "it only sends a message")
            }
            _ => ("alerts", STORED, LOOKS),
        },
        Command::State(_) => (
            "state",
            STORED,
            "it works on the database, not on the platform",
        ),
        Command::Report(_) => ("report", REPORT, LOOKS),
        Command::Export(_) => ("export", REPORT, LOOKS),
        Command::Rejects(args) => match args.command {
            Some(rejects::RejectsCommand::Retry(_)) => ("rejects retry", &[], ""),
            _ => ("rejects", STORED, LOOKS),
        },
        Command::Sessions(_) => ("sessions", LIVE, ASKS),
        Command::Contacts(_) => ("contacts", LIVE, ASKS),
        Command::Tags(_) => ("tags", LIVE, ASKS),
        Command::Channels(_) => ("channels", LIVE, ASKS),
        Command::Departments(_) => ("departments", LIVE, ASKS),
        Command::Agents(_) => ("agents", LIVE, ASKS),
        Command::CustomFields(_) => ("custom-fields", LIVE, ASKS),
        Command::Chatbots(_) => ("chatbots", LIVE, ASKS),
        Command::Templates(_) => ("templates", LIVE, ASKS),
        Command::Portfolios(_) => ("portfolios", LIVE, ASKS),
        Command::OfficeHours(_) => ("office-hours", LIVE, ASKS),
        Command::Webhooks(_) => ("webhooks", LIVE, ASKS),
        Command::Run(_)
        | Command::Sync(_)
        | Command::Backfill(_)
        | Command::Check(_)
        | Command::Verify(_) => ("", &[], ""),
    }
}

#[cfg(test)]
#[cfg(feature = "sandbox")]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::super::Cli;
    use super::*;

    fn refused(line: &[&str]) -> String {
        let line = ["helena-sync"].iter().chain(line);
        let cli = Cli::try_parse_from(line).unwrap();
        check(&cli.global, &cli.command).map_or_else(|failure| failure.text(), |()| String::new())
    }

    #[test]
    fn options_without_effect_are_refused_before_and_after_the_name_of_the_command() {
        for line in [
            &["tags", "--database-url", "x"][..],
            &["--database-url", "x", "tags"],
            &["sessions", "--database-url", "x"],
            &["status", "--base-url", "x"],
            &["state", "set", "sessions", "2026-01-01", "--base-url", "x"],
            &["rejects", "--base-url", "x"],
            &["rejects", "show", "1", "--base-url", "x"],
            &["report", "--timezone", "UTC"],
            &["export", "--base-url", "x"],
            &["migrate", "--account", "x"],
            &["demo", "--account", "x"],
            &["demo", "--database-url", "x"],
            &["sandbox", "--config", "x"],
            &["completions", "bash", "--log-level", "info"],
        ] {
            let text = refused(line);
            assert!(text.contains("does not accept"), "{line:?}: {text}");
        }
        for line in [
            &["sync", "--base-url", "x", "--database-url", "y"][..],
            &["rejects", "retry", "--base-url", "x"],
            &["--timezone", "UTC", "sessions"],
            &["status", "--account", "x", "--config", "y"],
        ] {
            assert_eq!(refused(line), "", "{line:?}");
        }
    }

    #[test]
    fn the_reason_is_that_of_the_option() {
        for command in ["report", "export"] {
            let url = refused(&[command, "--base-url", "x"]);
            assert!(
                url.contains("it only reads the database. Leave it out."),
                "{url}"
            );
            let zone = refused(&[command, "--timezone", "UTC"]);
            assert!(
                zone.contains("that the last sync stored in the database"),
                "{zone}"
            );
        }
    }

    #[test]
    fn the_help_of_a_command_shows_only_the_options_that_it_accepts() {
        let shown = |command: &str, option: &str| {
            let mut cli = Cli::command();
            cli.build();
            let command = cli.find_subcommand_mut(command).unwrap();
            command.render_long_help().to_string().contains(option)
        };
        for (command, option, expected) in [
            ("sync", "--database-url", true),
            ("tags", "--database-url", false),
            ("tags", "--base-url", true),
            ("status", "--base-url", false),
            ("migrate", "--account", false),
            ("migrate", "--database-url", true),
            ("demo", "--config", false),
            ("sandbox", "--log-level", false),
            ("completions", "--config", false),
        ] {
            assert_eq!(shown(command, option), expected, "{command} {option}");
        }
    }
}
