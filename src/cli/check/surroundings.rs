//! What `check` says about the surroundings of the program: its time zone, variables of other
//! programs, files that cannot be written, file systems that SQLite cannot use, readers that nobody
//! expects.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::{Finding, Outcome};
use crate::cli::{Context, Failure};
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
                super::chain(&error)
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

fn exposure(roles: &[String]) -> String {
    let roles = roles.join(", ");
    format!(
        "{roles} may read the tables: on Supabase and with PostgREST, whoever has the project's public key \
         reads them, too. Use a schema of their own (database.schema), or run `revoke all on all tables in \
         schema public from {roles}` and the same with `alter default privileges in schema public`"
    )
}

fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Why the daemon could not write to a SQLite file, whether it exists or not. Leaves nothing behind.
pub(super) fn unwritable(file: &Path) -> Option<String> {
    let folder = folder_of(file);
    let beside = |suffix: &str| {
        let mut name = file.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    // Opening a file for writing does not change it.
    for path in [file.to_owned(), beside("-wal"), beside("-shm")] {
        match OpenOptions::new().write(true).open(&path) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Some(refused(&path, &error)),
        }
    }
    // SQLite creates its log there.
    let probe = beside(&format!(".check-{}", std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&probe)
        .and_then(|mut made| made.write_all(b"x"));
    let removed = fs::remove_file(&probe);
    match written {
        Ok(()) => removed.err().map(|error| refused(&probe, &error)),
        Err(error) => Some(refused(folder, &error)),
    }
}

/// Names the owner and the mode of a file or folder, and this user.
fn refused(path: &Path, error: &io::Error) -> String {
    let own = rustix::process::geteuid().as_raw();
    let whose = match fs::metadata(path) {
        Ok(found) => format!(
            " (owner uid {}, mode {:04o})",
            found.uid(),
            found.mode() & 0o7777
        ),
        Err(_) => String::new(),
    };
    let known = [
        (io::ErrorKind::PermissionDenied, "permission denied"),
        (
            io::ErrorKind::ReadOnlyFilesystem,
            "the file system is read-only",
        ),
        (io::ErrorKind::StorageFull, "no space is left"),
    ];
    let known = known.iter().find(|(kind, _)| *kind == error.kind());
    let reason = known.map_or_else(|| error.to_string(), |(_, reason)| (*reason).to_owned());
    format!(
        "cannot write to {}{whose} as uid {own}: {reason}",
        path.display()
    )
}
