//! What the README and the shipped samples say, held against the program: configuration, tables,
//! queries and commands.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use clap::{CommandFactory, Parser};
use helena_sync::cli::{self, Cli, Exit};
use helena_sync::clock::SystemClock;
use helena_sync::config::{self, ACCOUNT_KEYS, Environment, KEYS, Key, Settings};
use helena_sync::data::Timestamp;
use helena_sync::sandbox::{Sandbox, SandboxConfig};
use helena_sync::store::{OpenOptions, Store};
use tempfile::TempDir;

use crate::support::database::{Database, Kind, on_both};

fn shipped(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(path).unwrap()
}

/// The README's fenced blocks of a language.
fn blocks(language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut open: Option<String> = None;
    for line in shipped("README.md").lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(name)) => open = Some(format!("{name}\n")),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => {
                block.push_str(line);
                block.push('\n');
            }
            (None, None) => {}
        }
    }
    let first = format!("{language}\n");
    blocks
        .into_iter()
        .filter_map(|block| block.strip_prefix(&first).map(str::to_owned))
        .collect()
}

fn sample() -> String {
    let mut samples = blocks("toml");
    samples.retain(|block| block.contains("helena-sync.toml"));
    assert_eq!(samples.len(), 1, "one sample of the whole file");
    samples.remove(0)
}

/// The sample with every setting that it only mentions: a `#` without a space after it.
fn whole_sample() -> String {
    let told = |line: &str| match line.strip_prefix('#') {
        Some(rest) if !rest.is_empty() && !rest.starts_with(' ') => rest.to_owned(),
        _ => line.to_owned(),
    };
    sample().lines().map(|line| told(line) + "\n").collect()
}

fn load(text: &str, environment: Environment) -> (TempDir, Settings) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("helena-sync.toml");
    fs::write(&path, text).unwrap();
    let settings = Settings::load(Some(&path), environment, &[]).unwrap();
    (folder, settings)
}

fn check_sections(settings: &Settings) {
    settings.api().unwrap();
    settings.database().unwrap();
    settings.sync().unwrap();
    settings.backfill().unwrap();
    settings.store().unwrap();
    settings.verify().unwrap();
    settings.log().unwrap();
    settings.timezone().unwrap();
}

#[test]
fn the_configuration_table_is_the_one_of_the_code() {
    assert!(
        shipped("README.md").contains(&config::markdown()),
        "the README's table should be:\n{}",
        config::markdown()
    );
}

#[test]
fn the_sample_file_can_be_used_as_it_stands() {
    let (_folder, settings) = load(
        &sample(),
        Environment::from([("HELENA_API_TOKEN", "pn_sample")]),
    );
    check_sections(&settings);
    let accounts = settings.accounts().unwrap();
    assert_eq!(accounts.list.len(), 1);
    assert!(accounts.warnings.is_empty(), "{:?}", accounts.warnings);
}

#[test]
fn the_sample_file_names_every_key_with_its_default() {
    let table: toml::Table = whole_sample().parse().unwrap();
    for key in KEYS {
        let mut value = None;
        for part in key.name.split('.') {
            value = value.map_or(table.get(part), |section: &toml::Value| section.get(part));
        }
        let value = value.unwrap_or_else(|| panic!("{} is missing", key.name));
        if !key.default.is_empty() {
            assert_eq!(as_in_environment(value), key.default, "{}", key.name);
        }
    }
    let accounts = table["accounts"].as_array().unwrap();
    for (key, _) in ACCOUNT_KEYS {
        assert!(
            accounts.iter().any(|account| account.get(key).is_some()),
            "accounts.{key} is missing"
        );
    }
}

fn as_in_environment(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Array(items) => {
            let items: Vec<String> = items.iter().map(as_in_environment).collect();
            items.join(",")
        }
        other => other.to_string(),
    }
}

#[test]
fn the_accounts_of_the_sample_file_can_be_used() {
    let token_file = tempfile::NamedTempFile::new().unwrap();
    fs::write(token_file.path(), "pn_from_a_file\n").unwrap();
    let text = whole_sample().replace(
        "/run/secrets/loja-sul",
        &token_file.path().display().to_string(),
    );
    let variables = [("TOKEN_LOJA_OESTE", "pn_from_a_variable")];
    let (_folder, settings) = load(&text, Environment::from(variables));
    check_sections(&settings);
    let accounts = settings.accounts().unwrap().list;
    let names: BTreeSet<&str> = accounts.iter().map(|a| a.name.as_str()).collect();
    assert_eq!((accounts.len(), names.len()), (3, 3));
}

#[test]
fn the_sample_environment_names_only_what_is_known() {
    let text = shipped(".env.example");
    let mut variables: BTreeMap<&str, &str> = text
        .lines()
        .map(|line| line.strip_prefix('#').unwrap_or(line))
        .filter(|line| !line.starts_with(' '))
        .filter_map(|line| line.split_once('='))
        .collect();
    assert_eq!(variables.insert("HELENA_API_TOKEN", "pn_sample"), Some(""));
    assert_eq!(variables.remove("POSTGRES_PASSWORD"), Some(""));
    assert_eq!(variables.remove("POSTGRES_PORT"), Some("5433"));
    let variables: Vec<(&str, &str)> = variables.into_iter().collect();
    let known = KEYS.iter().map(Key::variable).collect::<Vec<_>>();
    for (name, _) in &variables {
        assert!(known.contains(&(*name).to_owned()), "{name}");
    }
    let &[a, b, c, d] = variables.as_slice() else {
        panic!("{variables:?}");
    };
    let (_folder, settings) = load("", Environment::from([a, b, c, d]));
    check_sections(&settings);
    settings.accounts().unwrap();
}

/// A diagram's tables with their columns, and its relations: (child, columns, parent).
#[derive(Default)]
struct Diagram {
    tables: BTreeMap<String, BTreeSet<String>>,
    relations: BTreeSet<(String, String, String)>,
}

fn diagram() -> Diagram {
    let mut diagram = Diagram::default();
    let mut table: Option<String> = None;
    for line in blocks("mermaid").iter().flat_map(|block| block.lines()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match (words.as_slice(), &table) {
            ([name, "{"], _) => {
                diagram.tables.entry((*name).to_owned()).or_default();
                table = Some((*name).to_owned());
            }
            (["}"], _) => table = None,
            ([_, column, ..], Some(table)) => {
                let columns = diagram.tables.get_mut(table).unwrap();
                columns.insert((*column).to_owned());
            }
            ([parent, _, child, ":", column], None) => {
                let relation = (*child).to_owned();
                let parent = (*parent).to_owned();
                diagram
                    .relations
                    .insert((relation, column.trim_matches('"').to_owned(), parent));
            }
            _ => {}
        }
    }
    diagram
}

#[tokio::test]
async fn the_diagram_shows_every_table_and_every_foreign_key() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/schema.db", folder.path().display());
    let store = Store::open(&url, &OpenOptions::default()).await.unwrap();
    store.migrate().await.unwrap();
    let kind = Kind::Sqlite;
    let database = Database { kind, url, store };
    let split = |texts: Vec<String>| -> BTreeSet<(String, String)> {
        let pairs = texts.iter().map(|text| text.split_once('|').unwrap());
        pairs.map(|(a, b)| (a.to_owned(), b.to_owned())).collect()
    };
    let ours =
        "m.type = 'table' and m.name not like 'sqlite%' and m.name not like '\\_%' escape '\\'";
    let columns = split(
        database
            .texts(&format!(
                "select m.name || '|' || c.name from sqlite_master m, pragma_table_info(m.name) c \
                 where {ours}"
            ))
            .await,
    );
    // A key of two columns has the account as its second; the first one names it.
    let relations: BTreeSet<(String, String)> = split(
        database
            .texts(&format!(
                "select m.name || '|' || f.\"from\" || '|' || f.\"table\" \
                 from sqlite_master m, pragma_foreign_key_list(m.name) f \
                 where {ours} and f.seq = 0"
            ))
            .await,
    );
    database.store.close().await;

    let shown = diagram();
    let tables: BTreeSet<&String> = columns.iter().map(|(table, _)| table).collect();
    assert_eq!(shown.tables.keys().collect::<BTreeSet<_>>(), tables);
    for (table, shown) in &shown.tables {
        for column in shown {
            assert!(
                columns.contains(&(table.clone(), column.clone())),
                "{table} has no column {column}"
            );
        }
    }
    let shown: BTreeSet<(String, String)> = shown
        .relations
        .into_iter()
        .map(|(child, column, parent)| (child, format!("{column}|{parent}")))
        .collect();
    assert_eq!(shown, relations);
}

/// One pass of the real command over a small account.
async fn sync(database: &Database) {
    let until = Timestamp::parse("2026-06-01T12:00:00Z").unwrap();
    let config = SandboxConfig {
        until: Some(until),
        ..SandboxConfig::of_size(600)
    };
    let sandbox = Sandbox::start(config, Arc::new(SystemClock)).await.unwrap();
    let (base_url, token) = (sandbox.base_url(), sandbox.token().to_owned());
    let environment = Environment::from([
        ("HELENA_BASE_URL", base_url.as_str()),
        ("HELENA_API_TOKEN", token.as_str()),
        ("DATABASE_URL", database.url.as_str()),
        ("HELENA_SYNC__LOG__LEVEL", "error"),
    ]);
    let runtime = tokio::runtime::Handle::current();
    let synced = tokio::task::spawn_blocking(move || {
        let cli = Cli::try_parse_from(["helena-sync", "sync"]).unwrap();
        runtime.block_on(cli::run_command(cli, environment, Arc::new(SystemClock)))
    });
    assert_eq!(synced.await.unwrap().unwrap(), Exit::Done);
    sandbox.stop().await;
}

#[tokio::test]
async fn every_query_answers_on_both_databases() {
    let queries = blocks("sql");
    assert!(queries.len() >= 5, "{} queries", queries.len());
    on_both(|database| async move {
        sync(&database).await;
        for query in blocks("sql") {
            database.execute(&query).await;
            let query = query.trim().trim_end_matches(';');
            let rows = database
                .text(&format!(
                    "select cast(count(*) as text) from ({query}\n) as answer"
                ))
                .await;
            assert_ne!(rows, "0", "{:?}: {query}", database.kind);
        }
    })
    .await;
}

/// What a line of a shell, or of prose, gives to the program; `None` if it calls something else.
fn arguments(line: &str) -> Option<Vec<String>> {
    let mut words: Vec<String> = vec![String::new()];
    let mut quote = None;
    for c in line.trim().chars() {
        let word = words.last_mut().unwrap();
        match (quote, c) {
            (None, '|' | '>' | '&' | ';' | '#') => break,
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            (None, ' ') => words.push(String::new()),
            _ => word.push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    let is_setting = |word: &&String| word.contains('=') && !word.starts_with('-');
    let skipped = words.iter().take_while(is_setting).count();
    let words = &words[skipped..];
    let callers: [&[&str]; 4] = [
        &["helena-sync"],
        &["cargo", "run", "--release", "--"],
        &["docker", "compose", "exec", "helena-sync", "helena-sync"],
        &["docker", "compose", "run", "--rm", "helena-sync"],
    ];
    callers.iter().find_map(|caller| {
        let (head, tail) = words.split_at_checked(caller.len())?;
        head.iter().eq(caller.iter()).then(|| tail.to_vec())
    })
}

#[test]
fn every_command_in_the_readme_is_one() {
    let text = shipped("README.md");
    let inline = text.split('`').skip(1).step_by(2);
    let inline = inline
        .filter(|code| !code.contains('\n'))
        .map(str::to_owned);
    let lines = blocks("sh")
        .iter()
        .flat_map(|block| block.lines().map(str::to_owned).collect::<Vec<_>>())
        .chain(inline)
        .collect::<Vec<_>>();
    let calls: Vec<Vec<String>> = lines.iter().filter_map(|line| arguments(line)).collect();
    assert!(calls.len() > 20, "{calls:?}");
    // The README is ahead of this one.
    let coming =
        |call: &&Vec<String>| call[0] == "demo" && Cli::command().find_subcommand("demo").is_none();
    let calls = calls.iter().filter(|call| !call.is_empty());
    for call in calls.filter(|call| !coming(call)) {
        let line = ["helena-sync".to_owned()].into_iter().chain(call.clone());
        match Cli::try_parse_from(line) {
            Ok(_) => {}
            Err(error) => {
                let kind = error.kind();
                let asked = kind == clap::error::ErrorKind::DisplayHelp;
                assert!(asked, "{call:?}: {error}");
            }
        }
    }
}

#[test]
fn the_readme_names_every_command() {
    let text = shipped("README.md");
    for command in Cli::command().get_subcommands() {
        let name = command.get_name();
        assert!(text.contains(&format!("`{name}`")), "{name}");
    }
}

#[test]
fn the_health_check_of_the_compose_file_is_a_command() {
    let text = shipped("docker-compose.yml");
    let check = text
        .lines()
        .find_map(|line| {
            line.trim()
                .strip_prefix("test: ")
                .filter(|l| l.contains("helena-sync"))
        })
        .unwrap();
    let words: Vec<String> = serde_json::from_str(check).unwrap();
    Cli::try_parse_from(&words[1..]).unwrap();
}
