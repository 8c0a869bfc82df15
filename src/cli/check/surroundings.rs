//! What `check` says about the surroundings of the program: its time zone, variables of other
//! programs, file systems that SQLite cannot use, readers that nobody expects.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::{Finding, Outcome};
use crate::cli::place::folder_of;
use crate::cli::{Context, Failure, alerts};
use crate::config;
use crate::store::{Store, network_file_system};

/// Other users than the owner's group may read the file.
const BY_OTHERS: u32 = 0o004;

fn finding(what: &str, place: String, outcome: Outcome, detail: String) -> Finding {
    Finding {
        account: String::new(),
        what: what.to_owned(),
        place,
        outcome,
        detail,
    }
}

/// The time zone and where it comes from, and variables that look like ours and are ignored.
pub(super) fn of_configuration(context: &Context) -> Result<Vec<Finding>, Failure> {
    let located = context.settings.located_zone()?;
    let now = located.zone.show_offset(context.clock.now());
    let (outcome, detail) = match located.problem {
        Some(problem) => (Outcome::Noted, problem),
        None => (
            Outcome::Good,
            format!("{}; it is {now} there", located.zone),
        ),
    };
    let mut findings = vec![finding("time zone", located.origin, outcome, detail)];
    let others = context.settings.others_variables();
    if !others.is_empty() {
        let names = others.join(", ");
        let detail = format!("ignored, since they set no key of helena-sync: {names}");
        findings.push(finding(
            "environment",
            String::new(),
            Outcome::Noted,
            detail,
        ));
    }
    findings.extend(of_alerts(context)?);
    Ok(findings)
}

/// Where alerts go, if they go anywhere.
fn of_alerts(context: &Context) -> Result<Vec<Finding>, Failure> {
    let (subject, warning) = alerts::subject(context, Vec::new())?;
    let ways = subject.channels().into_iter();
    let mut findings: Vec<Finding> = ways
        .map(|way| {
            let place = alerts::place(&subject, way);
            let detail = "is told of alerts; `helena-sync alerts test` tries it".to_owned();
            finding("alerts", place, Outcome::Good, detail)
        })
        .collect();
    if let Some(warning) = warning {
        let place = "alerts.webhook_file".to_owned();
        findings.push(finding("alerts", place, Outcome::Noted, warning));
    }
    if subject.alerts.command.is_some() && !std::path::Path::new("/bin/sh").exists() {
        let place = "alerts.command".to_owned();
        let detail = "needs /bin/sh, which is not here; use alerts.webhook instead";
        findings.push(finding("alerts", place, Outcome::Noted, detail.to_owned()));
    }
    let webhook = subject.alerts.webhook.as_ref();
    if let Some(webhook) = webhook.filter(|webhook| webhook.is_exposed()) {
        let detail = "is reached without encryption, so others on the way can read its address and write \
                      there; use https";
        let place = webhook.to_string();
        findings.push(finding("alerts", place, Outcome::Noted, detail.to_owned()));
    }
    Ok(findings)
}

/// What is risky about the database.
pub(super) async fn of_database(
    database: &config::Database,
    store: Option<&Store>,
) -> Vec<Finding> {
    let place = database.url.to_string();
    let note = |detail: String| finding("database", place.clone(), Outcome::Noted, detail);
    let mut findings = Vec::new();
    if let Some(file) = database.url.sqlite_file() {
        findings.extend(network_risk(file).map(note));
        let mode = fs::metadata(file).map(|found| found.permissions().mode());
        if let Ok(mode) = mode
            && mode & BY_OTHERS != 0
        {
            findings.push(note(format!(
                "every user of this machine can read {0} (mode {1:04o}), which holds names and telephone \
                 numbers; run chmod 600 {0}",
                file.display(),
                mode & 0o7777
            )));
        }
    }
    if let Some(store) = store {
        if let Some((log, size)) = store.large_log() {
            findings.push(note(large_log(&log, size)));
        }
        match store.exposed_to().await {
            Ok(roles) if roles.is_empty() => {}
            Ok(roles) => findings.push(note(exposure(&roles))),
            Err(error) => findings.push(note(format!(
                "could not find out who may read the tables: {}",
                crate::data::with_causes(&error)
            ))),
        }
    }
    findings
}

/// The warning about a log of SQLite that does not start over.
pub(in crate::cli) fn large_log(log: &Path, size: u64) -> String {
    format!(
        "the log {} has {} MB: a program that reads the database for a long time keeps it from starting \
         over; end that program",
        log.display(),
        size / 1_000_000
    )
}

/// The warning about a file system on which SQLite loses data.
pub(in crate::cli) fn network_risk(file: &Path) -> Option<String> {
    let kind = network_file_system(folder_of(file))?;
    Some(format!(
        "{} is on a network or shared file system ({kind}), on which SQLite can lose or corrupt data; put \
         it on a disk of this machine, or use Postgres",
        file.display()
    ))
}

fn exposure(found: &[(String, String)]) -> String {
    let roles: Vec<&str> = found.iter().map(|(role, _)| role.as_str()).collect();
    let roles = roles.join(", ");
    let schema = found
        .first()
        .map_or("public", |(_, schema)| schema.as_str());
    let own = if schema == "public" {
        "Use a schema of their own (database.schema), or run"
    } else {
        "Run"
    };
    format!(
        "{roles} may read the tables: on Supabase and with PostgREST, whoever has the project's public key \
         reads them, too. {own} `revoke all on all tables in schema {schema} from {roles}` and the same \
         with `alter default privileges in schema {schema}`"
    )
}
