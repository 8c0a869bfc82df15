//! The files for the tools around the database: whether they have every column with its meaning and its
//! type, and whether their queries answer.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use helena_sync::store::meanings;
use serde_json::Value;

use super::account::{company, insert, sessions, tags};
use super::rows::same_on_both;
use super::{now, settings};
use crate::support::database::{Database, on_both, on_postgres, on_sqlite};

const COUNT: u128 = 700;

/// The days and the month that the queries are about, and other values of variables.
const VARIABLES: [(&str, &str); 7] = [
    ("from", "2026-05-01"),
    ("to", "2026-06-21"),
    ("month", "2026-06-01"),
    ("department", "dep é200"),
    ("stage", "queue"),
    ("channel", "cha é300"),
    ("tag", "tag é400"),
];

/// Something of each column of each table.
type Columns = BTreeMap<(String, String), String>;

fn shipped(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/tools");
    fs::read_to_string(folder.join(name)).unwrap()
}

fn documented() -> Columns {
    let columns = meanings().into_iter().flat_map(|table| {
        let name = table.table;
        let columns = table.columns.into_iter();
        columns.map(move |(column, text)| ((name.to_owned(), column.to_owned()), text))
    });
    columns.collect()
}

/// What the sources of dbt say of each column under this key.
fn sources(key: &str) -> Columns {
    let (mut columns, mut table, mut column) = (Columns::new(), "", "");
    let key = format!("            {key}: ");
    let text = shipped("dbt/sources.yml");
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("      - name: ") {
            table = name;
        } else if let Some(name) = line.strip_prefix("          - name: ") {
            column = name;
        } else if let Some(value) = line.strip_prefix(&key) {
            columns.insert((table.to_owned(), column.to_owned()), value.to_owned());
        }
    }
    columns
}

/// A string of the files, which is one of JSON, too.
fn unquoted(texts: Columns) -> Columns {
    let texts = texts.into_iter();
    let texts = texts.map(|(column, text)| (column, serde_json::from_str(&text).unwrap()));
    texts.collect()
}

#[test]
fn the_sources_of_dbt_have_every_column_with_its_meaning() {
    assert_eq!(unquoted(sources("description")), documented());
}

#[test]
fn the_metadata_of_datasette_has_every_column_with_its_meaning() {
    let (mut columns, mut table) = (Columns::new(), "");
    let text = shipped("datasette/metadata.yaml");
    let (_, tables) = text.split_once("\n    tables:\n").unwrap();
    for line in tables.lines() {
        if let Some(line) = line.strip_prefix("          ") {
            let (column, text) = line.split_once(": ").unwrap();
            columns.insert((table.to_owned(), column.to_owned()), text.to_owned());
        } else if !line.starts_with("        ") {
            table = line.trim().trim_end_matches(':');
        }
    }
    assert_eq!(unquoted(columns), documented());
}

#[tokio::test]
async fn the_sources_of_dbt_name_the_types_of_postgres() {
    on_postgres(|database| async move {
        let types = "select table_name || '|' || column_name || '|' || data_type \
                     from information_schema.columns \
                     where table_schema = 'public' and table_name <> '_sqlx_migrations'";
        let stored: Columns = database
            .texts(types)
            .await
            .iter()
            .map(|line| {
                let mut parts = line.split('|').map(str::to_owned);
                let mut next = || parts.next().unwrap();
                ((next(), next()), next())
            })
            .collect();
        assert_eq!(sources("data_type"), stored);
    })
    .await;
}

async fn filled(database: &Database) {
    company(database).await;
    insert(database, &sessions(COUNT, 7), &tags(COUNT)).await;
    let since = "update report_settings set changes_since = '2026-06-01T00:00:00.000000Z'";
    database.execute(since).await;
    let store = &database.store;
    store.keep_reports(&settings(), now()).await.unwrap();
}

/// How many rows a query has.
async fn rows(database: &Database, query: &str) -> i64 {
    let query = query.trim().trim_end_matches(';');
    database
        .count(&format!("({query}\n) as answer"), "1 = 1")
        .await
}

/// Each question of Metabase, and whether the parts that may be left out are in it.
fn questions() -> Vec<(String, bool)> {
    let text = shipped("metabase/questions.sql");
    let mut questions = Vec::new();
    for question in text.split("\n-- name: ").skip(1) {
        let (_, question) = question.split_once('\n').unwrap();
        let mut short = String::new();
        let mut rest = question;
        while let Some((before, after)) = rest.split_once("[[") {
            short.push_str(before);
            rest = after.split_once("]]").unwrap().1;
        }
        short.push_str(rest);
        let whole = question.replace("[[", "").replace("]]", "");
        for (mut text, is_whole) in [(short, false), (whole, true)] {
            for (name, value) in VARIABLES {
                text = text.replace(&format!("{{{{{name}}}}}"), &format!("'{value}'"));
            }
            assert!(!text.contains("{{"), "{text}");
            questions.push((text, is_whole));
        }
    }
    questions
}

/// The queries of a page of the documents.
fn queries(page: &str) -> Vec<String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
    let blocks = text.split("```sql\n").skip(1);
    blocks
        .map(|block| block.split("```").next().unwrap().to_owned())
        .collect()
}

/// The rows of a query, with its column's names.
async fn answer(database: &Database, query: &str) -> Vec<Vec<Value>> {
    let query = query.trim().trim_end_matches(';');
    let names = database.columns(query).await;
    let names: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    super::rows::rows(database, &names, &format!("({query}\n) as answer")).await
}

#[tokio::test]
async fn the_questions_have_the_same_answers_on_both_databases() {
    let mut asked: Vec<String> = questions()
        .into_iter()
        .filter(|(_, is_whole)| !is_whole)
        .map(|(question, _)| question)
        .collect();
    asked.extend(queries("docs/questions.md"));
    asked.extend(queries("docs/reporting.md"));
    asked.extend(queries("README.md"));
    assert!(asked.len() > 20);
    same_on_both(move |database| {
        let asked = asked.clone();
        async move {
            filled(&database).await;
            let mut answers = Vec::new();
            for question in asked {
                let rows = answer(&database, &question).await;
                assert!(!rows.is_empty(), "{question}");
                answers.push((question, rows));
            }
            answers
        }
    })
    .await;
}

#[tokio::test]
async fn every_question_of_metabase_answers_on_both_databases() {
    assert!(questions().len() > 20);
    on_both(|database| async move {
        filled(&database).await;
        for (question, is_whole) in questions() {
            let rows = rows(&database, &question).await;
            assert!(rows > 0 || is_whole, "{:?}: {question}", database.kind);
        }
    })
    .await;
}

/// The queries of Datasette's metadata, with values for the variables.
fn canned() -> Vec<String> {
    let text = shipped("datasette/metadata.yaml");
    let mut queries: Vec<String> = Vec::new();
    let mut is_query = false;
    for line in text.lines() {
        match line.strip_prefix("          ") {
            Some(line) if is_query => {
                let query = queries.last_mut().unwrap();
                query.push_str(line);
                query.push('\n');
            }
            _ => {
                is_query = line == "        sql: |-";
                if is_query {
                    queries.push(String::new());
                }
            }
        }
    }
    for query in &mut queries {
        for (name, value) in VARIABLES {
            *query = query.replace(&format!(":{name}"), &format!("'{value}'"));
        }
        assert!(!query.contains(':'), "{query}");
    }
    queries
}

#[tokio::test]
async fn every_query_of_datasette_is_a_question_and_answers() {
    assert_eq!(canned().len() * 2, questions().len());
    on_sqlite(|database| async move {
        filled(&database).await;
        for query in canned() {
            rows(&database, &query).await;
        }
    })
    .await;
}

/// A query of the dashboard as Grafana sends it.
fn with_macros(query: &str) -> String {
    let mut text = String::new();
    let mut rest = query;
    while let Some((before, after)) = rest.split_once("$__timeFilter(") {
        let (column, after) = after.split_once(')').unwrap();
        let _ = write!(
            text,
            "{before}{column} BETWEEN '2026-05-01T03:00:00Z' AND '2026-06-20T15:00:00Z'"
        );
        rest = after;
    }
    text.push_str(rest);
    let text = text.replace("$account", "1");
    assert!(!text.contains('$'), "{text}");
    text
}

/// The queries of the dashboard's panels and variables.
fn dashboard() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&shipped("grafana/dashboard.json")).unwrap();
    let list = |value: &Value| value.as_array().unwrap().clone();
    let panels = list(&dashboard["panels"]);
    let targets = panels.iter().flat_map(|panel| list(&panel["targets"]));
    let mut queries: Vec<Value> = targets.map(|target| target["rawSql"].clone()).collect();
    let variables = list(&dashboard["templating"]["list"]);
    let asked = variables.iter().filter(|one| one["type"] == "query");
    queries.extend(asked.map(|variable| variable["query"].clone()));
    let queries = queries.iter();
    queries
        .map(|query| with_macros(query.as_str().unwrap()))
        .collect()
}

#[tokio::test]
async fn every_query_of_the_dashboard_answers_on_postgres() {
    assert!(dashboard().len() > 10);
    on_postgres(|database| async move {
        filled(&database).await;
        for query in dashboard() {
            assert!(rows(&database, &query).await > 0, "{query}");
        }
    })
    .await;
}
