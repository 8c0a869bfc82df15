//! The texts that users read, as snapshots: help, errors, and what commands print to stderr. A
//! changed text shows in the diff of `snapshots/`. `INSTA_UPDATE=always` writes the snapshots anew.

use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};

use clap::{CommandFactory, Parser};
use helena_sync::api::{self, BaseUrlError, ClientError, Shape, TokenError};
use helena_sync::cli::{Cli, DateError, NameError};
use helena_sync::config::{
    ConfigError, Environment, Flag, Schedule, ScheduleError, Settings, Zone,
};
use helena_sync::daemon::AccountError;
use helena_sync::data::{RateLimit, Resource, SourceError, Stream, Timestamp, without_os_numbers};
use helena_sync::store::{Cause, OpenOptions, Store, StoreError};
use helena_sync::sync::RunError;
use helena_sync::telemetry::TelemetryError;
use uuid::Uuid;

use crate::process::program::{Place, account};

/// The long help of every command at this width.
fn help(width: usize) -> String {
    fn add(text: &mut String, command: &mut clap::Command, name: &str) {
        let _ = writeln!(text, "==== {name}\n{}", command.render_long_help());
        let names: Vec<String> = command
            .get_subcommands()
            .map(|command| command.get_name().to_owned())
            .collect();
        for sub in names.iter().filter(|name| *name != "help") {
            let command = command.find_subcommand_mut(sub).unwrap();
            add(text, command, &format!("{name} {sub}"));
        }
    }
    let mut command = Cli::command().term_width(width);
    command.build();
    let mut text = String::new();
    add(&mut text, &mut command, "helena-sync");
    // No editor leaves white space at the end of a line as it is.
    text.lines()
        .map(str::trim_end)
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn help_fits_80_columns() {
    insta::assert_snapshot!(help(80));
}

#[test]
fn help_fits_100_columns() {
    insta::assert_snapshot!(help(100));
}

/// An error with its causes, as it is printed.
fn line(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = without_os_numbers(&cause.to_string());
        if !text.contains(&cause_text) {
            let _ = write!(text, "\n  because: {cause_text}");
        }
        next = cause.source();
    }
    text
}

/// Each error in a paragraph of its own, after the name of its variant.
fn paragraphs<E: std::error::Error>(errors: &[E], name: fn(&E) -> &'static str) -> String {
    let mut text = String::new();
    for error in errors {
        let _ = writeln!(
            text,
            "{}\n  {}\n",
            name(error),
            line(error).replace('\n', "\n  ")
        );
    }
    text
}

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

/// A cause, which only the store itself makes.
async fn cause() -> Cause {
    let url = "sqlite:///nowhere/at/all/helena.db";
    match Store::open(url, &OpenOptions::default()).await {
        Err(StoreError::Unavailable { source, .. } | StoreError::Database { source, .. }) => source,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn errors_of_the_store() {
    let doing = "store a batch";
    let errors = [
        StoreError::Url("the text".into()),
        StoreError::TooOld {
            missing: vec!["0012_office_hours".into(), "0013_next".into()],
        },
        StoreError::TooNew { version: 99 },
        StoreError::Foreign {
            found: "it has a table customers".into(),
        },
        StoreError::Altered { version: 7 },
        StoreError::SharedIds {
            found: "3 ids of contacts have rows of the accounts north and south".into(),
        },
        StoreError::Encoding {
            encoding: "LATIN1".into(),
            database: "helena".into(),
        },
        StoreError::Pooler {
            problem: "it gives each transaction another connection to the server".into(),
        },
        StoreError::Parameter {
            said: "unsupported startup parameter: options".into(),
        },
        StoreError::Certificate {
            source: cause().await,
        },
        StoreError::OldLog {
            file: PathBuf::from("/var/lib/helena/helena.db"),
            by: std::time::Duration::from_hours(2),
        },
        StoreError::LeaseLost,
        StoreError::SameCompany {
            other: "north".into(),
        },
        StoreError::OtherCompany {
            account: "north".into(),
            stored: id(1),
            found: id(2),
        },
        StoreError::Unavailable {
            doing,
            source: cause().await,
        },
        StoreError::Inconsistent {
            doing: "read the backfills",
            table: "backfills",
            column: "resource".into(),
            problem: "names no resource".into(),
        },
        StoreError::Unfit {
            table: "sessions",
            key: id(3),
            problem: "has 1 value for 2 columns".into(),
        },
        StoreError::Database {
            doing,
            source: cause().await,
        },
        StoreError::Locked {
            holders: "process 4711 (psql, user metabase)".into(),
        },
        StoreError::Replaced {
            file: "/data/helena.db".into(),
        },
        StoreError::Migrate(cause().await),
    ];
    let text = paragraphs(&errors, |error| match error {
        StoreError::Url(_) => "Url",
        StoreError::TooOld { .. } => "TooOld",
        StoreError::TooNew { .. } => "TooNew",
        StoreError::Foreign { .. } => "Foreign",
        StoreError::Altered { .. } => "Altered",
        StoreError::SharedIds { .. } => "SharedIds",
        StoreError::Encoding { .. } => "Encoding",
        StoreError::Pooler { .. } => "Pooler",
        StoreError::Parameter { .. } => "Parameter",
        StoreError::Certificate { .. } => "Certificate",
        StoreError::OldLog { .. } => "OldLog",
        StoreError::LeaseLost => "LeaseLost",
        StoreError::SameCompany { .. } => "SameCompany",
        StoreError::OtherCompany { .. } => "OtherCompany",
        StoreError::Unavailable { .. } => "Unavailable",
        StoreError::Inconsistent { .. } => "Inconsistent",
        StoreError::Unfit { .. } => "Unfit",
        StoreError::Database { .. } => "Database",
        StoreError::Locked { .. } => "Locked",
        StoreError::Replaced { .. } => "Replaced",
        StoreError::Migrate(_) => "Migrate",
    });
    insta::assert_snapshot!(text);
}

fn source_errors() -> Vec<SourceError> {
    let request = || "GET /chat/v2/session".to_owned();
    let detail = || "ERROR_UNAUTHORIZED: Acesso negado (id a1b2c3d4)".to_owned();
    let unavailable = |attempts| SourceError::Unavailable {
        request: request(),
        attempts,
        detail: "timeout while connecting".into(),
    };
    vec![
        SourceError::Refused {
            request: request(),
            status: 401,
            detail: detail(),
        },
        SourceError::NotFound {
            request: request(),
            status: 404,
            detail: "no body".into(),
        },
        SourceError::NotAccepted {
            request: request(),
            status: 400,
            detail: "about PageSize".into(),
        },
        unavailable(0),
        unavailable(1),
        unavailable(7),
        SourceError::Malformed {
            request: request(),
            attempts: 3,
            detail: "the list is null".into(),
        },
        SourceError::Ignored {
            request: request(),
            parameter: "PageNumber",
            detail: "3 pages in a row only repeated earlier pages".into(),
        },
    ]
}

#[test]
fn errors_of_requests() {
    let text = paragraphs(&source_errors(), |error| match error {
        SourceError::Refused { .. } => "Refused",
        SourceError::NotFound { .. } => "NotFound",
        SourceError::NotAccepted { .. } => "NotAccepted",
        SourceError::Unavailable { .. } => "Unavailable",
        SourceError::Malformed { .. } => "Malformed",
        SourceError::Ignored { .. } => "Ignored",
    });
    insta::assert_snapshot!(text);
}

#[test]
fn errors_of_syncs() {
    let stream = Stream::whole(Resource::Sessions);
    let errors = [
        RunError::Source(source_errors().remove(0)),
        RunError::Unsteady {
            stream,
            after: "the beginning".into(),
            before: "now".into(),
            attempts: 5,
            last: "the server counts 100 records but showed 98".into(),
        },
        RunError::Unfiltered { stream },
        RunError::Unpaged { stream, number: 2 },
        RunError::Stopped,
        RunError::Paused,
        RunError::Closed,
        RunError::Store(StoreError::LeaseLost),
    ];
    let mut text = paragraphs(&errors, |error| match error {
        RunError::Source(_) => "Source",
        RunError::Unsteady { .. } => "Unsteady",
        RunError::Unfiltered { .. } => "Unfiltered",
        RunError::Unpaged { .. } => "Unpaged",
        RunError::Stopped => "Stopped",
        RunError::Paused => "Paused",
        RunError::Closed => "Closed",
        RunError::Store(_) => "Run of the store",
    });
    let since = Timestamp::parse("2026-01-31T12:34:56Z").unwrap();
    let errors = [
        AccountError::Held {
            by: "process 4711 on reports-1".into(),
            since,
        },
        AccountError::Run(RunError::Store(StoreError::LeaseLost)),
    ];
    text.push_str(&paragraphs(&errors, |error| match error {
        AccountError::Held { .. } => "Held",
        AccountError::Run(_) => "Account of a run",
    }));
    insta::assert_snapshot!(text);
}

#[test]
fn errors_of_the_configuration() {
    let not_found = || io::Error::from(io::ErrorKind::NotFound);
    let file = || "helena-sync.toml".to_owned();
    let errors = [
        ConfigError::File {
            path: PathBuf::from("helena-sync.toml"),
            source: not_found(),
        },
        ConfigError::Syntax {
            path: PathBuf::from("helena-sync.toml"),
            line: 2,
            column: 13,
            problem: "string values must be quoted".into(),
        },
        ConfigError::UnknownKey {
            origin: file(),
            key: "sync.shedule".into(),
            hint: "similar key: sync.schedule".into(),
        },
        ConfigError::UnknownVariable {
            variable: "HELENA_TOKEN".into(),
            nearest: "HELENA_API_TOKEN".into(),
            key: "api.token",
        },
        ConfigError::Value {
            origin: file(),
            key: "api.page_size".into(),
            problem: "expected a whole number from 1 to 100, found the number 101".into(),
        },
        ConfigError::NoToken { hint: None },
        ConfigError::NoToken {
            hint: Some("API_TOKEN".into()),
        },
        ConfigError::EmptyToken {
            origin: "HELENA_API_TOKEN".into(),
        },
        ConfigError::NoTokenVariable {
            variable: "NORTH_TOKEN".into(),
            account: "north".into(),
        },
        ConfigError::TokenFile {
            path: "/run/secrets/token".into(),
            origin: "HELENA_API_TOKEN_FILE".into(),
            source: not_found(),
        },
        ConfigError::AccountToken {
            origin: file(),
            account: "north".into(),
            problem: "has no token",
        },
        ConfigError::TwoTokens,
        ConfigError::NotText("HELENA_API_TOKEN".into()),
    ];
    let text = paragraphs(&errors, |error| match error {
        ConfigError::File { .. } => "File",
        ConfigError::Syntax { .. } => "Syntax",
        ConfigError::UnknownKey { .. } => "UnknownKey",
        ConfigError::UnknownVariable { .. } => "UnknownVariable",
        ConfigError::Value { .. } => "Value",
        ConfigError::NoToken { .. } => "NoToken",
        ConfigError::EmptyToken { .. } => "EmptyToken",
        ConfigError::NoTokenVariable { .. } => "NoTokenVariable",
        ConfigError::TokenFile { .. } => "TokenFile",
        ConfigError::AccountToken { .. } => "AccountToken",
        ConfigError::TwoTokens => "TwoTokens",
        ConfigError::NotText(_) => "NotText",
    });
    insta::assert_snapshot!(text);
}

#[test]
#[expect(clippy::too_many_lines, reason = "one value of each kind of error")]
fn errors_of_values() {
    let http = || {
        let builder = reqwest::Client::builder().user_agent("\n");
        builder.build().unwrap_err()
    };
    let url = || "api.helena.run".to_owned();
    let mut text = paragraphs(
        &[
            BaseUrlError::Empty,
            BaseUrlError::Scheme(url()),
            BaseUrlError::Protocol(format!("ftp://{}", url())),
            BaseUrlError::Unreadable {
                url: "https://".into(),
                reason: "empty host".into(),
            },
            BaseUrlError::Credentials(format!("https://…@{}", url())),
            BaseUrlError::Plain(format!("http://{}", url())),
        ],
        |error| match error {
            BaseUrlError::Empty => "Empty",
            BaseUrlError::Scheme(_) => "Scheme",
            BaseUrlError::Protocol(_) => "Protocol",
            BaseUrlError::Unreadable { .. } => "Unreadable",
            BaseUrlError::Credentials(_) => "Credentials",
            BaseUrlError::Plain(_) => "Plain",
        },
    );
    text += &paragraphs(
        &[TokenError::Empty, TokenError::Characters],
        |error| match error {
            TokenError::Empty => "Token empty",
            TokenError::Characters => "Token with other characters",
        },
    );
    text += &paragraphs(
        &[
            ClientError::Share(1.5),
            ClientError::Token,
            ClientError::Http(http()),
        ],
        |error| match error {
            ClientError::Share(_) => "Client share",
            ClientError::Token => "Client token",
            ClientError::Http(_) => "Client http",
        },
    );
    text += &paragraphs(
        &[
            NameError::Unknown {
                what: "tag",
                list: "tags",
                text: "VPI".into(),
                near: vec!["VIP".into()],
            },
            NameError::Unknown {
                what: "channel",
                list: "channels",
                text: "Loja".into(),
                near: Vec::new(),
            },
            NameError::Ambiguous {
                list: "agents",
                text: "Ana".into(),
                candidates: vec![format!("Ana ({})", id(1)), format!("Ana ({})", id(2))],
            },
        ],
        |error| match error {
            NameError::Unknown { .. } => "Name unknown",
            NameError::Ambiguous { .. } => "Name ambiguous",
        },
    );
    text += &paragraphs(
        &[
            DateError::Form {
                flag: "--from",
                text: "31/13/2025".into(),
            },
            DateError::NoDay {
                flag: "--from",
                text: "soon".into(),
            },
            DateError::PartOfDay {
                flag: "--from",
                text: "3m".into(),
                length: "3 minutes".into(),
            },
            DateError::Ambiguous {
                flag: "--from",
                text: "05/06/2025".into(),
                days: ["2025-06-05", "2025-05-06"].map(|day| day.parse().unwrap()),
            },
            DateError::Year {
                flag: "--from",
                text: "0000-01-01".into(),
            },
            DateError::Backwards {
                after_flag: "--from",
                after: "2026-02-01".into(),
                before_flag: "--to",
                before: "2026-01-01".into(),
            },
        ],
        |error| match error {
            DateError::Form { .. } => "Date form",
            DateError::NoDay { .. } => "Date no day",
            DateError::PartOfDay { .. } => "Date part of a day",
            DateError::Ambiguous { .. } => "Date ambiguous",
            DateError::Year { .. } => "Date year",
            DateError::Backwards { .. } => "Date backwards",
        },
    );
    text += &paragraphs(
        &[
            "sometimes".parse::<Schedule>().unwrap_err(),
            "every 1ms".parse::<Schedule>().unwrap_err(),
            "every 2y".parse::<Schedule>().unwrap_err(),
            "0 0 30 2 *".parse::<Schedule>().unwrap_err(),
        ],
        |error| match error {
            ScheduleError::Form { .. } => "Schedule form",
            ScheduleError::Never(_) => "Schedule never",
        },
    );
    text += &paragraphs(
        &[
            TelemetryError::Directives {
                problem: "invalid filter directive".into(),
            },
            TelemetryError::Traces {
                problem: "invalid URI".into(),
            },
        ],
        |error| match error {
            TelemetryError::Directives { .. } => "Telemetry directives",
            TelemetryError::Traces { .. } => "Telemetry traces",
        },
    );
    let bodies = [
        "",
        "<html>",
        "{",
        "[1",
        "{\"a\":1}",
        "{\"error\":true}",
        "7",
    ];
    for body in bodies {
        let decoded = api::decode(
            body.as_bytes().to_vec(),
            None,
            Shape::Page { number: 1, size: 2 },
            Timestamp::from_micros(0),
        );
        let _ = writeln!(text, "Body {body:?}\n  {}\n", decoded.unwrap_err());
    }
    let others: [&dyn std::error::Error; 4] = [
        &"Marte".parse::<Zone>().unwrap_err(),
        &"1000".parse::<RateLimit>().unwrap_err(),
        &"yesterday".parse::<Timestamp>().unwrap_err(),
        &"session".parse::<Resource>().unwrap_err(),
    ];
    for error in others {
        let _ = writeln!(text, "Text\n  {}\n", line(error));
    }
    insta::assert_snapshot!(text);
}

/// What the whole configuration says of a file, the first complaint of each section.
fn complaints(text: &str, environment: Environment, flags: &[Flag]) -> String {
    let path = Path::new("helena-sync.toml");
    let settings = match Settings::parse(path, text, environment, flags) {
        Ok(settings) => settings,
        Err(error) => return line(&error),
    };
    let all = [
        settings.api().err(),
        settings.database().err(),
        settings.sync().err(),
        settings.backfill().err(),
        settings.store().err(),
        settings.verify().err(),
        settings.alerts().err(),
        settings.log().err(),
        settings.timezone().err(),
        settings.accounts().err(),
    ];
    let all: Vec<String> = all.iter().flatten().map(|error| line(error)).collect();
    all.first().cloned().unwrap_or_else(|| "no error".into())
}

#[test]
fn mistakes_in_the_configuration() {
    let files = [
        "page_size = 5",
        "[sync]\nshedule = \"every 1m\"",
        "[synk]\noverlap = \"1m\"",
        "[xyzzy]",
        "[api]\npage_size = ",
        "[api]\npage_size = 101",
        "[api]\nread_timeout = 30",
        "[api]\nread_timeout = \"30\"",
        "[api]\nread_timeout = \"0s\"",
        "[api]\nallow_http = \"yes\"",
        "[api]\nsession_version = 3",
        "[api]\nbase_url = \"\"",
        "[api]\nrate_limit = 5",
        "[api.rate_limit]\nsustained = \"1000\"",
        "[api.rate_limit]\nshare = 1.5",
        "[api]\ntoken = \"a\"\ntoken_file = \"b\"",
        "[database]\nurl = \"\"",
        "[database]\nurl = \"mysql://db/helena\"",
        "[database]\nurl = \"postgres:db\"",
        "[database]\nurl = \"helena.db\"",
        "[database]\nurl = \"sqlite://:memory:\"",
        "[database]\nurl = \"sqlite://\"",
        "[database]\nurl = \"postgres://u:p@ss@w/rd@db/helena\"",
        "[sync]\nschedule = \"sometimes\"",
        "[sync]\nresources = [\"session\"]",
        "[sync]\nresources = []",
        "[sync]\ninclude_details = [\"Agent\"]",
        "[backfill]\nconcurrency = 33",
        "[verify]\nschedule = \"never\"",
        "[alerts]\nwebhook = \"hooks.example.com\"",
        "[alerts]\nwebhook = \"https://a.example\"\nwebhook_file = \"hook\"",
        "[alerts]\nwebhook_file = \"/nowhere/hook\"",
        "[alerts]\nformat = \"xml\"",
        "[alerts]\ndisk_percent = 100",
        "[alerts]\nmax_lag = \"soon\"",
        "[log]\nlevel = \"loud\"",
        "timezone = \"Sao Paulo\"",
        "accounts = 5",
        "[[accounts]]\ntoken = \"x\"",
        "[[accounts]]\nname = \"a\"",
        "[[accounts]]\nname = \"a b\"\ntoken = \"x\"",
        "[[accounts]]\nname = \"a\"\ntoken = \"x\"\ntoken_env = \"Y\"",
        "[[accounts]]\nname = \"a\"\ntoken_env = \"Y\"",
        "[[accounts]]\nname = \"a\"\ntokn = \"x\"",
    ];
    let mut text = String::new();
    for file in files {
        let complaint = complaints(file, Environment::default(), &[]);
        let _ = writeln!(text, "{file}\n  {}\n", complaint.replace('\n', "\n  "));
    }
    for (name, value) in [
        ("HELENA_API_TOKEN", ""),
        ("HELENA_API_TOKEN_FILE", "/nowhere/token"),
        ("HELENA_TOKEN", "pn_x"),
        ("HELENA_SYNC__API__PAGE_SIZE", "lots"),
        ("API_TOKEN", "pn_x"),
    ] {
        let complaint = complaints("", [(name, value)].into(), &[]);
        let _ = writeln!(
            text,
            "{name}={value}\n  {}\n",
            complaint.replace('\n', "\n  ")
        );
    }
    insta::assert_snapshot!(text);
}

#[test]
fn mistakes_on_the_command_line() {
    let mut text = String::new();
    for line in [
        "sink",
        "sync --max-runtime 0s",
        "sync --max-runtime soon",
        "sync --limit 0",
        "sync --limit many",
        "sync --resource session",
        "sync --dry-run --limit 5",
        "sessions --contact Ana",
        "sessions --order-by Name",
        "sessions --direction up",
        "sessions --format xml",
        "contacts --page 0",
        "state set sessions",
        "verify --wait",
        "sandbox --faults 2",
        "sandbox --limit 5",
        "sandbox --outage 5m/1m",
        "sandbox --totals none",
        "sandbox --accept-token a:b",
        "sandbox --v1-withdrawn 500",
    ] {
        let arguments = std::iter::once("helena-sync").chain(line.split(' '));
        let error = Cli::try_parse_from(arguments).unwrap_err();
        let _ = writeln!(text, "{line}\n{}", error.to_string().trim_end());
        text.push('\n');
    }
    insta::assert_snapshot!(text);
}

/// Numbers, times and ids that differ from run to run become `N`.
fn steady(text: &str, place: &Place) -> String {
    let text = text.replace(&place.path().display().to_string(), "FOLDER");
    let mut steady = String::new();
    let mut in_number = false;
    for letter in text.chars() {
        let belongs = letter.is_ascii_digit() || in_number && matches!(letter, ',' | '.' | ':');
        if belongs && !in_number {
            steady.push('N');
        }
        if !belongs {
            steady.push(letter);
        }
        in_number = belongs;
    }
    steady
}

#[tokio::test(flavor = "multi_thread")]
async fn notes_of_commands() {
    let sandbox = account(40).await;
    let place = Place::beside(&sandbox);
    let mut text = String::new();
    for line in [
        "status",
        "sync --dry-run --resource sessions",
        "sync --resource tags --log-level error",
        "sync --log-level error --limit 1",
        "sync --log-level error",
        "backfill --dry-run",
        "backfill --log-level error",
        "status --max-lag 1h",
        "status --max-lag 1h --account other",
        "verify --resource tags",
        "verify",
        "rejects",
        "rejects show 5",
        "rejects retry",
        "rejects retry 5",
        "state set sessions 2999-01-01",
        "state set tags 2026-01-01",
        "state set sessions 2026-01-01 --status ACTIVE",
        "state reset sessions",
        "state set sessions 2026-01-01",
        "migrate",
        "tags",
        "contacts --status BLOCKED --from 2001-01-01 --to 2001-01-01",
        "sessions --from 2001-01-01 --to 2001-01-02 --status PENDING",
        "sessions --page 9999",
        "sessions --tag Nowhere",
        "sessions --department a --department b",
        "sessions --from tomorrow",
        "sessions --from 2026-02-01 --to 2026-01-01",
        "sessions --database-url x",
        "status --base-url x",
        "migrate --account x",
        "demo --config x",
        "sandbox --log-level info",
    ] {
        let arguments: Vec<&str> = line.split(' ').collect();
        let done = place.run(&arguments).await;
        let code = done.code.unwrap();
        let notes = steady(&done.err, &place);
        let _ = writeln!(text, "$ helena-sync {line}\n{notes}[{code}]\n");
    }
    sandbox.stop().await;
    let nowhere = Place::new()
        .with("HELENA_BASE_URL", "http://127.0.0.1:9")
        .without("HELENA_API_TOKEN");
    for line in ["sync", "check", "demo --database sqlite:///nowhere/demo.db"] {
        let arguments: Vec<&str> = line.split(' ').collect();
        let done = nowhere.run(&arguments).await;
        let notes = steady(&done.err, &nowhere);
        let code = done.code.unwrap();
        let _ = writeln!(text, "$ helena-sync {line}\n{notes}[{code}]\n");
    }
    insta::assert_snapshot!(text);
}

/// What new users type most often, and what they are told: a table for review.
#[tokio::test(flavor = "multi_thread")]
async fn the_commonest_mistakes() {
    let sandbox = account(40).await;
    let place = Place::beside(&sandbox);
    let mut text = String::new();
    let mut tell = |line: &str, done: &crate::process::program::Done| {
        let notes = steady(&done.err, &place);
        let _ = writeln!(text, "$ {line}\n{notes}[{}]\n", done.code.unwrap());
    };
    let without_token = Place::beside(&sandbox).without("HELENA_API_TOKEN");
    let wrong_token = Place::beside(&sandbox).with("HELENA_API_TOKEN", "pn_wrong");
    let wrong_host = Place::new().with("HELENA_BASE_URL", "api.helena.run");
    let wrong_database = Place::beside(&sandbox).with("DATABASE_URL", "mysql://db/helena");
    let misspelt = Place::beside(&sandbox)
        .without("HELENA_API_TOKEN")
        .with("HELENA_TOKEN", "pn_x");
    for (place, shown, line) in [
        (&without_token, "", "sync"),
        (&misspelt, "HELENA_TOKEN=pn_x ", "sync"),
        (&wrong_token, "HELENA_API_TOKEN=pn_wrong ", "sync -q"),
        (&wrong_host, "HELENA_BASE_URL=api.helena.run ", "sync"),
        (&wrong_database, "DATABASE_URL=mysql://db/helena ", "sync"),
        (&place, "", "status"),
        (&place, "", "start"),
        (&place, "", "sync sessions"),
        (&place, "", "sync --resource session"),
        (&place, "", "sync --interval 5m"),
        (&place, "", "sync --max-runtime 10"),
        (&place, "", "sessions --status pendente"),
        (&place, "", "sessions --from 05/06/2026"),
        (&place, "", "sessions --from 2999-01-01"),
        (&place, "", "sessions --from 2026-02-30"),
        (&place, "", "sessions --department Comercial"),
        (&place, "", "sessions --agent ana"),
        (&place, "", "sessions --contact Ana"),
        (&place, "", "sessions --order createdAt"),
        (&place, "", "backfill --resource contacts"),
    ] {
        let arguments: Vec<&str> = line.split(' ').collect();
        let done = place.run(&arguments).await;
        tell(&format!("{shown}helena-sync {line}"), &done);
    }
    insta::assert_snapshot!(text);
}

/// What reads like a program's inside: numbers of errors, and words of the language it is written in.
const INSIDE: [&str; 6] = [
    "(os error",
    "(code",
    "(s) ",
    "invalid digit",
    "ParseIntError",
    "RowNotFound",
];

/// `1 requests` and the like.
fn wrong_plural(text: &str) -> Option<String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let trimmed = |word: &str| word.trim_matches(|c: char| !c.is_alphanumeric()).to_owned();
    words.windows(2).find_map(|pair| {
        let is_one = matches!(pair[0], "1" | "(1");
        let what = trimmed(pair[1]);
        let is_plural =
            what.len() > 3 && what.ends_with('s') && what.chars().all(char::is_lowercase);
        (is_one && is_plural).then(|| format!("1 {what}"))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn one_thing_is_never_several_things() {
    let sandbox = account(1).await;
    let place = Place::beside(&sandbox);
    for line in [
        "sync --dry-run --resource sessions",
        "sync --limit 1",
        "sync",
        "sync --resource sessions --full-refresh",
        "backfill --dry-run",
        "backfill",
        "verify",
        "verify --repair",
        "status",
        "state show",
        "rejects",
        "check",
        "sessions",
        "sessions --all",
        "sessions --page 9",
        "sessions --limit 1",
        "sessions --from 2999-01-01",
        "contacts",
        "contacts --status BLOCKED",
        "tags --limit 1",
        "departments -n 1",
        "report",
    ] {
        let arguments: Vec<&str> = line.split(' ').collect();
        let done = place.run(&arguments).await;
        let said = format!("{}\n{}", done.out, done.err);
        assert_eq!(wrong_plural(&said), None, "{line}: {said}");
        let inside = INSIDE.iter().find(|text| said.contains(*text));
        assert_eq!(inside, None, "{line}: {said}");
    }
}

#[test]
fn no_message_shows_the_inside_of_the_program() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/snapshots");
    let mut read = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        read += 1;
        for inside in INSIDE {
            assert!(!text.contains(inside), "{}: {inside}", path.display());
        }
        assert_eq!(wrong_plural(&text), None, "{}", path.display());
    }
    assert!(read > 5);
    // A count in brackets, as in `4 row(s)`, is a plural that nobody decided.
    for line in sources().lines().filter(|line| line.contains("(s)")) {
        let is_heading = line.contains("quoted(&format!") || line.contains("Kind::Seconds");
        assert!(is_heading || !line.contains("{}"), "{line}");
    }
}

/// The sources of the program, with every text of several lines on one.
fn sources() -> String {
    fn add(text: &mut String, folder: &Path) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                add(text, &path);
            } else {
                text.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }
    let mut text = String::new();
    add(
        &mut text,
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
    );
    let mut joined = String::new();
    for part in text.split("\\\n") {
        joined.push_str(if joined.is_empty() {
            part
        } else {
            part.trim_start()
        });
    }
    joined
}

/// Other words for what `docs/commands.md` has a word for, or other spellings of these words.
const OTHER_WORDS: [&str; 9] = [
    "up-to-date",
    "out of date",
    "timed out",
    "time-out",
    "canceled",
    "canceling",
    "re-try",
    "missing locally",
    "local copy",
];

#[test]
fn one_thing_has_one_word() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut texts = vec![("the sources".to_owned(), sources())];
    let documents = std::fs::read_dir(root.join("docs")).unwrap();
    let documents = documents.map(|entry| entry.unwrap().path());
    for path in documents.chain([root.join("README.md"), root.join("CHANGELOG.md")]) {
        if path.extension().is_some_and(|kind| kind == "md") {
            texts.push((
                path.display().to_string(),
                std::fs::read_to_string(&path).unwrap(),
            ));
        }
    }
    for (name, text) in texts {
        let text = text.to_lowercase();
        for word in OTHER_WORDS {
            let mut lines = text.lines().map(str::trim_start);
            let line = lines.find(|line| line.contains(word) && !line.starts_with("//"));
            assert_eq!(line, None, "{name}: {word}");
        }
    }
}

#[test]
fn the_documents_quote_messages_of_the_program() {
    let sources = sources();
    for document in [
        "docs/troubleshooting.md",
        "docs/operating.md",
        "README.pt-BR.md",
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
        let text = std::fs::read_to_string(path).unwrap();
        for row in text.lines().filter(|line| line.starts_with("| `")) {
            let quote = row.split('`').nth(1).unwrap();
            // What varies is left out of the quotes.
            let parts = quote.split('…').map(str::trim);
            for part in parts.filter(|part| part.contains(' ')) {
                let part = part
                    .trim_end_matches(": channels")
                    .trim_end_matches(" channels");
                assert!(sources.contains(part), "{document}: {quote}");
            }
        }
    }
}
