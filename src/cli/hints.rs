//! What to type instead of an argument that a command does not have.
//!
//! Must not change what is accepted. It only adds a line to clap's own message.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::Cli;
use crate::data::Resource;

/// Options that people expect of a command that runs again and again.
const REPEATING: [&str; 5] = ["--interval", "--every", "--schedule", "--cron", "--watch"];

/// Adds to an error about an unknown argument what to type instead, if that is known and clap has no
/// suggestion of its own.
pub(super) fn add(error: &mut clap::Error, typed: &[OsString]) {
    if error.kind() != ErrorKind::UnknownArgument || error.get(ContextKind::Suggested).is_some() {
        return;
    }
    let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg) else {
        return;
    };
    let typed: Vec<&str> = typed.iter().filter_map(|text| text.to_str()).collect();
    if let Some(hint) = hint(argument, &typed) {
        let hints = vec![hint.into()];
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(hints));
    }
}

fn hint(argument: &str, typed: &[&str]) -> Option<String> {
    use clap::CommandFactory as _;
    let cli = Cli::command();
    let command = typed.iter().find_map(|text| cli.find_subcommand(text))?;
    let resource = |text: &&&str| text.parse::<Resource>().is_ok();
    let named = typed.iter().find(resource).copied();
    match (command.get_name(), argument) {
        ("sync" | "run" | "verify", option) if REPEATING.contains(&option) => Some(
            "'helena-sync run' syncs again and again; set sync.schedule, or \
             HELENA_SYNC__SYNC__SCHEDULE='every 5m'"
                .to_owned(),
        ),
        ("backfill", "--resource") => {
            let other = named.filter(|name| *name != Resource::Sessions.name());
            Some(other.map_or_else(
                || "backfill always reads sessions; leave '--resource' out".to_owned(),
                |name| {
                    format!(
                        "backfill reads sessions alone; 'helena-sync sync --resource {name} \
                         --full-refresh' reads all {name} again"
                    )
                },
            ))
        }
        _ if argument.parse::<Resource>().is_ok() => command
            .get_arguments()
            .any(|one| one.get_long() == Some("resource"))
            .then(|| format!("to choose a resource, write '--resource {argument}'")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn told(line: &str) -> String {
        let words = ["helena-sync"].into_iter().chain(line.split(' '));
        let typed: Vec<OsString> = words.map(OsString::from).collect();
        let mut error = Cli::try_parse_from(&typed).unwrap_err();
        add(&mut error, &typed);
        error.to_string()
    }

    #[test]
    fn an_argument_that_people_expect_comes_with_what_to_type_instead() {
        for (line, hint) in [
            ("sync sessions", "write '--resource sessions'"),
            ("verify contacts", "write '--resource contacts'"),
            (
                "sync --interval 5m",
                "'helena-sync run' syncs again and again",
            ),
            ("run --every 5m", "HELENA_SYNC__SYNC__SCHEDULE='every 5m'"),
            (
                "backfill --resource contacts",
                "'helena-sync sync --resource contacts --full-refresh' reads all contacts again",
            ),
            ("backfill --resource sessions", "leave '--resource' out"),
        ] {
            let text = told(line);
            assert!(
                text.contains("tip: ") && text.contains(hint),
                "{line}: {text}"
            );
        }
        for line in [
            "sync everything",
            "tags sessions",
            "sync --nothing",
            "--nothing",
        ] {
            let text = told(line);
            assert!(!text.contains("tip: "), "{line}: {text}");
        }
    }
}
