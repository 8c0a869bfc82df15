//! What the README, the documents and the shipped samples say, held against the program:
//! configuration, tables, queries and commands.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use helena_sync::cli::{self, Cli, Exit};
use helena_sync::clock::SystemClock;
use helena_sync::config::{self, ACCOUNT_KEYS, Environment, KEYS, Key, Settings};
use helena_sync::data::Timestamp;
use helena_sync::sandbox::{Sandbox, SandboxConfig};
use helena_sync::store::{OpenOptions, Store, meanings};
use tempfile::TempDir;

use crate::support::database::{Database, Kind, on_both};

fn shipped(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(path).unwrap()
}

/// The READMEs and all documents, one after the other. The notes on the API are not the program's.
fn documents() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|name| name == "md"))
        .filter(|path| path.file_name().is_none_or(|name| name != "api-notes.md"))
        .collect();
    files.sort();
    let texts = files.iter().map(|file| fs::read_to_string(file).unwrap());
    ["README.md", "README.pt-BR.md", "CONTRIBUTING.md"]
        .into_iter()
        .map(shipped)
        .chain(texts)
        .collect::<Vec<_>>()
        .join("\n")
}

/// The documents' fenced blocks of a language.
fn blocks(language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut open: Option<String> = None;
    for line in documents().lines() {
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
    settings.report().unwrap();
    settings.log().unwrap();
    settings.timezone().unwrap();
}

#[test]
fn the_configuration_table_is_the_one_of_the_code() {
    assert!(
        shipped("docs/configuration.md").contains(&config::markdown()),
        "the table in docs/configuration.md should be:\n{}",
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
    // That is for Postgres, and the sample's database is SQLite.
    let text = text.replace("schema = \"helena\"", "");
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
    assert_eq!(variables.remove("REPORTS_PASSWORD"), Some(""));
    assert_eq!(variables.remove("POSTGRES_PORT"), Some("5433"));
    assert_eq!(variables.remove("HTTP_PORT"), Some("9464"));
    assert_eq!(variables.remove("GRAFANA_PORT"), Some("3000"));
    assert_eq!(variables.remove("GRAFANA_PASSWORD"), Some(""));
    let token = "0123456789abcdef0123456789";
    let empty = variables.insert("HELENA_SYNC__HTTP__TOKEN", token);
    assert_eq!(empty, Some(""));
    let variables: Vec<(&str, &str)> = variables.into_iter().collect();
    let known = KEYS.iter().map(Key::variable).collect::<Vec<_>>();
    for (name, _) in &variables {
        assert!(known.contains(&(*name).to_owned()), "{name}");
    }
    let variables: [(&str, &str); 6] = variables.try_into().unwrap();
    let (_folder, settings) = load("", Environment::from(variables));
    check_sections(&settings);
    settings.http().unwrap();
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
                "select m.name || '|' || c.name from sqlite_master m, pragma_table_xinfo(m.name) c \
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

/// The document of all columns, held against the tables of both databases and against the comments
/// that Postgres keeps.
#[tokio::test]
async fn every_column_is_documented_and_its_meaning_is_its_comment() {
    on_both(|database| async move {
        let documented: BTreeMap<(String, String), String> = meanings()
            .into_iter()
            .flat_map(|table| {
                let name = table.table.to_owned();
                let columns = table.columns.into_iter();
                columns.map(move |(column, text)| ((name.clone(), column.to_owned()), text))
            })
            .collect();
        let sql = match database.kind {
            Kind::Sqlite => {
                "select m.name || '|' || c.name || '|' from sqlite_master m, \
                 pragma_table_xinfo(m.name) c where m.type in ('table', 'view') \
                 and m.name not like 'sqlite%' and m.name not like '\\_%' escape '\\'"
            }
            Kind::Postgres => {
                "select table_name || '|' || column_name || '|' || \
                 coalesce(col_description(to_regclass(table_name), ordinal_position), '') \
                 from information_schema.columns \
                 where table_schema = 'public' and table_name <> '_sqlx_migrations'"
            }
        };
        let stored: BTreeMap<(String, String), String> = database
            .texts(sql)
            .await
            .iter()
            .map(|line| {
                let mut parts = line.splitn(3, '|').map(str::to_owned);
                let mut next = || parts.next().unwrap();
                ((next(), next()), next())
            })
            .collect();
        let names = |map: &BTreeMap<(String, String), String>| -> Vec<(String, String)> {
            map.keys().cloned().collect()
        };
        assert_eq!(names(&documented), names(&stored));
        if database.kind == Kind::Postgres {
            assert_eq!(stored, documented);
            let about = "select coalesce(obj_description(to_regclass('sessions')), '')";
            assert_eq!(database.text(about).await, "Chat sessions, one row each.");
        }
    })
    .await;
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
fn every_command_in_the_documents_is_one() {
    let text = documents();
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
    for call in calls.iter().filter(|call| !call.is_empty()) {
        let line = ["helena-sync".to_owned()].into_iter().chain(call.clone());
        if let Err(error) = Cli::try_parse_from(line) {
            let shown = [ErrorKind::DisplayHelp, ErrorKind::DisplayVersion];
            assert!(shown.contains(&error.kind()), "{call:?}: {error}");
        }
    }
}

#[test]
fn the_documents_name_every_command() {
    let text = shipped("docs/commands.md");
    for command in Cli::command().get_subcommands() {
        let name = command.get_name();
        assert!(text.contains(&format!("`{name}`")), "{name}");
    }
}

#[test]
fn every_link_between_the_documents_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let anchor = |heading: &str| -> String {
        let kept = heading.chars().filter_map(|c| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c.to_ascii_lowercase()),
            _ => None,
        });
        kept.collect()
    };
    let top = [
        "README.md",
        "README.pt-BR.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
    ];
    let mut files: Vec<_> = top.iter().map(|name| root.join(name)).collect();
    let docs = fs::read_dir(root.join("docs")).unwrap();
    let docs = docs.map(|entry| entry.unwrap().path());
    files.extend(docs.filter(|path| path.is_file()));
    let mut links = 0;
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for target in text.split("](").skip(1) {
            let target = target.split(')').next().unwrap();
            if target.contains("://") {
                continue;
            }
            links += 1;
            let (path, wanted) = target.split_once('#').unwrap_or((target, ""));
            let path = if path.is_empty() {
                file.clone()
            } else {
                file.parent().unwrap().join(path)
            };
            let text = fs::read_to_string(&path)
                .unwrap_or_else(|_| panic!("{}: {target}", file.display()));
            let headings = text.lines().filter_map(|line| line.strip_prefix('#'));
            let mut headings = headings.map(|line| anchor(line.trim_start_matches('#').trim()));
            assert!(
                wanted.is_empty() || headings.any(|heading| heading == wanted),
                "{}: {target}",
                file.display()
            );
        }
    }
    assert!(links > 10, "{links}");
}

#[test]
fn the_readmes_are_short_and_lead_to_every_document() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let names: Vec<String> = fs::read_dir(docs)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    for readme in ["README.md", "README.pt-BR.md"] {
        let text = shipped(readme);
        let lines = text.lines().count();
        assert!(lines <= 250, "{readme}: {lines}");
        for name in &names {
            assert!(text.contains(&format!("](docs/{name}")), "{readme}: {name}");
        }
    }
}

/// A file that is built into the program and that the image's build does not see ends that build.
#[test]
fn the_image_is_built_from_every_file_that_is_embedded() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let ignored = shipped(".dockerignore");
    let mut folders = vec![root.join("src")];
    let mut embedded = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            for file in text.split("include_str!(\"").skip(1) {
                let file = folder.join(file.split('"').next().unwrap());
                let file = file.canonicalize().unwrap();
                let name = file.strip_prefix(root.canonicalize().unwrap()).unwrap();
                let name = name.to_str().unwrap();
                let top = name.split('/').next().unwrap();
                let is_hidden = ignored.lines().any(|line| line == top || line == name);
                let is_shown = ignored.lines().any(|line| line == format!("!{name}"));
                assert!(!is_hidden || is_shown, "{name}: see .dockerignore");
                embedded += 1;
            }
        }
    }
    assert!(embedded > 0);
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
