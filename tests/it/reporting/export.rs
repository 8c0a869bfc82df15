//! `helena-sync export`: its files have what the tables and views have, in every format.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use calamine::{Data, Reader as _, Xlsx};
use helena_sync::data::Timestamp;
use helena_sync::export::{DayRange, ExportError, Folder, Format, Request, Split, Style, export};
use helena_sync::report::Language;
use helena_sync::store::{AccountId, Cell, Rows, relations};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use super::account::{id, insert, quoted, sessions};
use super::now;
use super::report::{filled, place};
use super::rows::rows;
use crate::process::program::{Done, Place, on_both};
use crate::support::database::{Database, Kind, on_both as on_both_databases, on_sqlite};

/// Names as people make them who want to break something, or just have such names.
const HOSTILE: [&str; 12] = [
    "=HYPERLINK(\"http://x\";\"click\")",
    "+55 11 99999-0000",
    "-2+3",
    "@SUM(A1)",
    "\tTab",
    "\rReturn",
    "a \"quoted\"; name, with\r\nlines",
    "Zé 🦜 Ação \u{202e}rtl",
    "",
    "001234",
    "10-11",
    "NULL",
];

/// An account with everything odd, hostile names, JSON, and numbers of all kinds.
async fn odd(database: &Database) {
    filled(database).await;
    let mut sql = String::new();
    for (name, number) in HOSTILE.iter().zip(700_u128..) {
        let name = match database.kind {
            Kind::Sqlite => quoted(name),
            Kind::Postgres => format!("E{}", quoted(name.replace('\\', "\\\\"))),
        };
        let _ = writeln!(
            sql,
            "insert into contacts (id, name, phone_e164, created_at, custom_fields, account_id, run_id, \
             synced_at) values ('{}', {name}, '+5511999990000', '2026-05-{:02}T02:30:00.123456Z', \
             '{{\"a\": [1, null, \"é\"]}}', 1, 1, '2026-06-20T14:00:00.000000Z');",
            id(number),
            number - 699
        );
    }
    let _ = writeln!(
        sql,
        "update sessions set classification_amount = -0.1, unread_count = -3, \
         content_hash = -9223372036854775808 where id = '{}';",
        id(1_000_003)
    );
    // A session that only others refer to.
    let _ = writeln!(
        sql,
        "insert into sessions (id, account_id, run_id, synced_at) \
         values ('{}', 1, 1, '2026-06-20T14:00:00.000000Z');",
        id(999)
    );
    // Another account, which is not configured.
    sql.push_str(
        "insert into accounts (name, base_url, created_at) \
         values ('other', 'https://x', '2026-01-01T00:00:00.000000Z');\n",
    );
    let _ = writeln!(
        sql,
        "insert into tags (id, name, account_id, run_id, synced_at) \
         values ('{}', 'of another', 2, 1, '2026-06-20T14:00:00.000000Z');",
        id(499)
    );
    database.execute(&sql).await;
}

async fn run(place: &Place, arguments: &[&str]) -> Done {
    let line: Vec<&str> = ["export"].iter().chain(arguments).copied().collect();
    place.succeeds(&line).await
}

fn manifest(folder: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(folder.join("manifest.json")).unwrap()).unwrap()
}

/// The columns of a table in a manifest, with their types.
fn columns(table: &Value) -> Vec<(String, String)> {
    let columns = table["columns"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    columns
        .map(|it| (text(&it["name"]), text(&it["type"])))
        .collect()
}

fn files(table: &Value) -> Vec<&str> {
    let files = table["files"].as_array().unwrap().iter();
    files.map(|file| file["name"].as_str().unwrap()).collect()
}

/// A value as both databases have it, in the form of NDJSON.
fn as_exported(value: Value, kind: &str) -> Value {
    match (kind, value) {
        ("boolean", Value::Number(number)) => json!(number.as_f64() != Some(0.0)),
        ("integer", Value::Number(number)) if !number.is_i64() => json!(number.as_f64().unwrap()),
        ("json", Value::String(text)) => serde_json::from_str(&text).unwrap(),
        ("timestamp", Value::String(text)) => json!(Timestamp::parse(&text).unwrap()),
        (_, value) => value,
    }
}

/// Whole numbers and others in one form, rounded as the helper of the tests rounds.
fn rounded(value: Value) -> Value {
    match value {
        Value::Number(number) => json!((number.as_f64().unwrap() * 1e6).round() / 1e6),
        Value::Array(list) => list.into_iter().map(rounded).collect(),
        Value::Object(map) => map.into_iter().map(|(k, v)| (k, rounded(v))).collect(),
        other => other,
    }
}

fn lines(folder: &Path, name: &str) -> Vec<Map<String, Value>> {
    let text = fs::read_to_string(folder.join(name)).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

/// The rows of all files of a table, sorted.
fn exported(folder: &Path, table: &Value) -> Vec<Vec<Value>> {
    let names = columns(table);
    let mut rows: Vec<Vec<Value>> = files(table)
        .into_iter()
        .flat_map(|file| lines(folder, file))
        .map(|row| {
            assert_eq!(row.len(), names.len());
            names
                .iter()
                .map(|(name, _)| rounded(row[name].clone()))
                .collect()
        })
        .collect();
    rows.sort_by_cached_key(|row| format!("{row:?}"));
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn files_have_the_rows_of_all_tables_and_views() {
    on_both(|place| async move {
        let database = place.database().await;
        odd(&database).await;
        let line = ["--table", "all", "--view", "all", "--format", "ndjson"];
        run(&place, &line).await;
        let folder = place.path().join("helena-export");
        let manifest = manifest(&folder);
        let tables = manifest["tables"].as_array().unwrap();
        assert_eq!(tables.len(), relations().len());
        let mut names = vec!["manifest.json".to_owned()];
        let mut filled = 0;
        for table in tables {
            let name = table["name"].as_str().unwrap();
            let columns = columns(table);
            let quoted: Vec<String> = columns.iter().map(|(it, _)| format!("\"{it}\"")).collect();
            let quoted: Vec<&str> = quoted.iter().map(String::as_str).collect();
            let mine = match name {
                "accounts" => "id = 1",
                _ if columns.iter().any(|(it, _)| it == "account_id") => "account_id = 1",
                _ => "1 = 1",
            };
            let stored = rows(&database, &quoted, &format!("{name} where {mine}")).await;
            let mut stored: Vec<Vec<Value>> = stored
                .into_iter()
                .map(|row| {
                    let values = row.into_iter().zip(&columns);
                    let values = values.map(|(value, (_, kind))| as_exported(value, kind));
                    values.map(rounded).collect()
                })
                .collect();
            stored.sort_by_cached_key(|row| format!("{row:?}"));
            let found = exported(&folder, table);
            assert_eq!(found.len(), stored.len(), "{name}");
            for (found, stored) in found.iter().zip(&stored) {
                assert_eq!(found, stored, "{name}: {columns:?}");
            }
            filled += u32::from(!stored.is_empty());
            for file in table["files"].as_array().unwrap() {
                let path = folder.join(file["name"].as_str().unwrap());
                let bytes = fs::read(&path).unwrap();
                let mut hash = String::new();
                for byte in Sha256::digest(&bytes) {
                    let _ = write!(hash, "{byte:02x}");
                }
                assert_eq!(file["bytes"], bytes.len());
                assert_eq!(file["sha256"], hash);
                assert_eq!(
                    fs::metadata(&path).unwrap().permissions().mode() & 0o777,
                    0o600
                );
                names.push(file["name"].as_str().unwrap().to_owned());
            }
        }
        assert!(filled > 25, "{filled}");
        let mut there: Vec<String> = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        there.sort();
        names.sort();
        assert_eq!(there, names);
        assert_eq!(manifest["times"], "UTC");
        assert_eq!(manifest["days"], "America/Sao_Paulo");
        let accounts = json!([{"id": 1, "name": "default", "as_of": now(), "complete": true}]);
        assert_eq!(manifest["accounts"], accounts);
    })
    .await;
}

/// A value of NDJSON as exact CSV has it; `None` if it is missing.
fn plain(value: &Value, kind: &str) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) if kind != "json" => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// The cells of CSV: what is not in quotes and empty is missing.
fn cells_of_csv(text: &str, delimiter: char) -> Vec<Vec<Option<String>>> {
    let (mut rows, mut row, mut cell) = (Vec::new(), Vec::new(), String::new());
    let (mut is_quoted, mut was_quoted) = (false, false);
    let mut rest = text.chars().peekable();
    while let Some(it) = rest.next() {
        match it {
            '"' if is_quoted && rest.peek() == Some(&'"') => {
                rest.next();
                cell.push('"');
            }
            '"' => {
                is_quoted = !is_quoted;
                was_quoted = true;
            }
            it if is_quoted => cell.push(it),
            it if it == delimiter || it == '\r' => {
                let full = was_quoted || !cell.is_empty();
                row.push(full.then(|| std::mem::take(&mut cell)));
                was_quoted = false;
                if it == '\r' {
                    assert_eq!(rest.next(), Some('\n'));
                    rows.push(std::mem::take(&mut row));
                }
            }
            it => cell.push(it),
        }
    }
    assert!(row.is_empty() && cell.is_empty(), "the last line ends");
    rows
}

/// The tables and views that the formats are compared by.
const SOME: [&str; 6] = [
    "--table",
    "sessions,contacts,session_tags,report_days",
    "--view",
    "report_sessions,report_daily,report_agents",
    "--split",
    "none",
];

/// The rows as NDJSON has them, in order, by table: names and types of columns, values.
type Truth = BTreeMap<String, (Vec<(String, String)>, Vec<Vec<Value>>)>;

async fn truth(place: &Place) -> Truth {
    run(
        place,
        &[&SOME[..], &["--format", "ndjson", "--output", "truth"]].concat(),
    )
    .await;
    let folder = place.path().join("truth");
    let manifest = manifest(&folder);
    let tables = manifest["tables"].as_array().unwrap().iter();
    tables
        .map(|table| {
            let columns = columns(table);
            let rows = lines(&folder, files(table)[0]).into_iter().map(|row| {
                let values = columns.iter().map(|(name, _)| row[name].clone());
                values.collect()
            });
            let rows = rows.collect();
            (table["name"].as_str().unwrap().to_owned(), (columns, rows))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn csv_that_is_exact_has_every_value() {
    on_both(|place| async move {
        let database = place.database().await;
        odd(&database).await;
        let truth = truth(&place).await;
        run(&place, &[&SOME[..], &["--exact"]].concat()).await;
        for (name, (columns, rows)) in &truth {
            let file = place.path().join(format!("helena-export/{name}.csv"));
            let found = cells_of_csv(&fs::read_to_string(file).unwrap(), ',');
            let head: Vec<&str> = found[0].iter().map(|it| it.as_deref().unwrap()).collect();
            let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(head, names);
            assert_eq!(found.len() - 1, rows.len(), "{name}");
            for (found, row) in found[1..].iter().zip(rows) {
                for ((found, value), (column, kind)) in found.iter().zip(row).zip(columns) {
                    let expected = plain(value, kind);
                    let same = match kind.as_str() {
                        "real" | "json" => {
                            let read = found.as_ref().map(|it| serde_json::from_str(it).unwrap());
                            rounded(read.unwrap_or(Value::Null)) == rounded(value.clone())
                        }
                        _ => *found == expected,
                    };
                    assert!(same, "{name}.{column}: {found:?}, not {expected:?}");
                }
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workbooks_have_every_value_with_real_days_and_numbers() {
    on_both(|place| async move {
        let database = place.database().await;
        odd(&database).await;
        let truth = truth(&place).await;
        run(&place, &[&SOME[..], &["--format", "xlsx"]].concat()).await;
        for (name, (columns, rows)) in &truth {
            let file = place.path().join(format!("helena-export/{name}.xlsx"));
            let mut book: Xlsx<_> = calamine::open_workbook(file).unwrap();
            let (_, sheet) = book.worksheets().remove(0);
            assert_eq!(sheet.height(), rows.len() + 1, "{name}");
            for (found, row) in sheet.rows().skip(1).zip(rows) {
                for ((found, value), (column, kind)) in found.iter().zip(row).zip(columns) {
                    let expected = plain(value, kind).unwrap_or_default();
                    let same = match (found, kind.as_str()) {
                        (Data::Empty, _) => expected.is_empty(),
                        (Data::DateTime(found), "date") => {
                            #[expect(clippy::cast_possible_truncation, reason = "a day")]
                            let days = chrono::TimeDelta::days(found.as_f64() as i64 - 25_569);
                            (chrono::NaiveDate::default() + days).to_string() == expected
                        }
                        (Data::DateTime(found), "timestamp") => {
                            // São Paulo has been three hours behind since 2019.
                            let at =
                                Timestamp::parse(&expected).unwrap().micros() - 3 * 3_600_000_000;
                            let micros = (found.as_f64() - 25_569.0) * 86_400e6;
                            #[expect(clippy::cast_precision_loss, reason = "a millisecond will do")]
                            let apart = (micros - at as f64).abs();
                            apart < 1_000.0
                        }
                        (Data::Float(found), _) => Some(*found) == value.as_f64(),
                        (Data::Bool(found), _) => Some(*found) == value.as_bool(),
                        (Data::String(found), "json") => {
                            serde_json::from_str::<Value>(found).unwrap() == *value
                        }
                        (Data::String(found), _) => *found == expected,
                        _ => false,
                    };
                    assert!(same, "{name}.{column}: {found:?}, not {expected:?}");
                }
            }
        }
    })
    .await;
}

#[cfg(feature = "parquet")]
#[tokio::test(flavor = "multi_thread")]
async fn parquet_has_every_value() {
    use parquet::file::reader::{FileReader as _, SerializedFileReader};
    use parquet::record::Field;

    on_both(|place| async move {
        let database = place.database().await;
        odd(&database).await;
        let truth = truth(&place).await;
        run(&place, &[&SOME[..], &["--format", "parquet"]].concat()).await;
        for (name, (columns, rows)) in &truth {
            let file = place.path().join(format!("helena-export/{name}.parquet"));
            let reader = SerializedFileReader::new(fs::File::open(file).unwrap()).unwrap();
            let mut count = 0;
            for (found, row) in reader.get_row_iter(None).unwrap().zip(rows) {
                count += 1;
                let found = found.unwrap();
                let fields: Vec<(&String, &Field)> = found.get_column_iter().collect();
                assert_eq!(fields.len(), columns.len());
                for (((column, found), value), (_, kind)) in fields.iter().zip(row).zip(columns) {
                    let same = match found {
                        Field::Null => value.is_null(),
                        Field::Str(found) if kind == "json" => {
                            serde_json::from_str::<Value>(found).unwrap() == *value
                        }
                        Field::Str(found) => *value == json!(found),
                        Field::Long(found) => *value == json!(found),
                        Field::Double(found) => value.as_f64() == Some(*found),
                        Field::Bool(found) => *value == json!(found),
                        Field::Date(days) => {
                            let day = chrono::NaiveDate::default()
                                + chrono::Days::new(u64::try_from(*days).unwrap());
                            *value == json!(day.to_string())
                        }
                        Field::TimestampMicros(at) => *value == json!(Timestamp::from_micros(*at)),
                        _ => false,
                    };
                    assert!(same, "{name}.{column}: {found:?}, not {value:?}");
                }
            }
            assert_eq!(count, rows.len(), "{name}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn csv_for_spreadsheets_of_brazil_has_no_formula_and_keeps_telephones() {
    on_both(|place| async move {
        let database = place.database().await;
        odd(&database).await;
        let line = ["--table", "contacts", "--lang", "pt-BR"];
        let done = run(&place, &line).await;
        done.says(&["got an apostrophe", "--exact"]);
        let folder = place.path().join("helena-export");
        let text = fs::read_to_string(folder.join("contacts.csv")).unwrap();
        let text = text.strip_prefix('\u{feff}').unwrap();
        let rows = cells_of_csv(text, ';');
        let place_of = |name: &str| {
            let mut head = rows[0].iter();
            head.position(|it| it.as_deref() == Some(name)).unwrap()
        };
        let (name, phone, created) = (
            place_of("name"),
            place_of("phone_e164"),
            place_of("created_at"),
        );
        let of_hostile = rows.iter().filter(|row| row[phone].is_some()).skip(1);
        let mut found: Vec<[String; 3]> = of_hostile
            .map(|row| [name, phone, created].map(|at| row[at].clone().unwrap()))
            .collect();
        found.sort_by_key(|row| format!("{}{}", &row[2][3..5], &row[2][..2]));
        let names: Vec<&str> = found.iter().map(|row| row[0].as_str()).collect();
        assert_eq!(
            names,
            [
                "'=HYPERLINK(\"http://x\";\"click\")",
                "'+55 11 99999-0000",
                "'-2+3",
                "'@SUM(A1)",
                "'\tTab",
                "'\rReturn",
                "a \"quoted\"; name, with\r\nlines",
                "Zé 🦜 Ação \u{202e}rtl",
                "",
                "'001234",
                "'10-11",
                "NULL",
            ]
        );
        // At night in UTC it is still the day before.
        assert_eq!(found[0][1..], ["'+5511999990000", "30/04/2026 23:30:00"]);
        let manifest = manifest(&folder);
        assert_eq!(manifest["times"], "America/Sao_Paulo");
        assert_eq!(manifest["delimiter"], ";");
        // Eight names, and of each contact its number and the key of that.
        assert_eq!(
            manifest["tables"][0]["files"][0]["guarded_texts"],
            8 + 2 * 12
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_for_each_month_has_the_rows_of_the_month() {
    on_both(|place| async move {
        let database = place.database().await;
        odd(&database).await;
        let line = [
            "--table",
            "sessions",
            "--view",
            "report_sessions",
            "--format",
            "ndjson",
        ];
        run(&place, &[&line[..], &["--output", "whole"]].concat()).await;
        run(&place, &[&line[..], &["--split", "month"]].concat()).await;
        let (whole, months) = (
            place.path().join("whole"),
            place.path().join("helena-export"),
        );
        let (of_whole, of_months) = (manifest(&whole), manifest(&months));
        for at in 0..2 {
            let (one, several) = (&of_whole["tables"][at], &of_months["tables"][at]);
            assert_eq!(files(one).len(), 1);
            assert!(files(several).len() > 1, "{several}");
            assert_eq!(exported(&whole, one), exported(&months, several));
        }
        let names = files(&of_months["tables"][0]);
        assert!(names.contains(&"sessions-2026-05.ndjson"), "{names:?}");
        assert_eq!(names.last(), Some(&"sessions-undated.ndjson"));
        let of_may = lines(&months, "report_sessions-2026-05.ndjson");
        assert!(of_may.len() > 10);
        assert!(of_may.iter().all(|row| row["month"] == "2026-05-01"));
        // Months are those of the zone, for instants, too.
        let line = lines(&months, "sessions-2026-05.ndjson");
        let mine: Vec<&Value> = line.iter().map(|row| &row["id"]).collect();
        let theirs = of_may
            .iter()
            .filter(|row| !mine.contains(&&row["id"]))
            .count();
        assert_eq!(theirs, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn days_limit_what_belongs_to_days() {
    on_both(|place| async move {
        let database = place.database().await;
        odd(&database).await;
        let line = [
            "--table",
            "sessions,session_tags,tags",
            "--view",
            "report_daily,report_agents",
            "--from",
            "2026-05-10",
            "--to",
            "2026-05-19",
            "--format",
            "ndjson",
        ];
        let done = run(&place, &line).await;
        done.says(&[
            "belong to no day: tags",
            "whole months from 2026-05-01 to 2026-05-31, since their rows are of months: report_agents",
            "sessions: 1 row without a day left out, since they have no time of creation",
        ]);
        let folder = place.path().join("helena-export");
        let manifest = manifest(&folder);
        let of = |name: &str| {
            let tables = manifest["tables"].as_array().unwrap().iter();
            tables.clone().find(|table| table["name"] == name).unwrap()
        };
        let count = |name: &str| i64::try_from(exported(&folder, of(name)).len()).unwrap();
        let within = "account_id = 1 and created_at >= '2026-05-10T03:00:00.000000Z' \
                      and created_at < '2026-05-20T03:00:00.000000Z'";
        assert_eq!(count("sessions"), database.count("sessions", within).await);
        assert!(count("sessions") > 10);
        let tagged = format!("session_id in (select id from sessions where {within})");
        assert_eq!(
            count("session_tags"),
            database.count("session_tags", &tagged).await
        );
        assert!(count("session_tags") > 1);
        assert_eq!(count("tags"), 5);
        assert_eq!(count("report_daily"), 10);
        assert!(count("report_agents") > 2);
        assert_eq!(of("sessions")["from"], "2026-05-10");
        assert_eq!(of("sessions")["undated_rows"], 1);
        assert_eq!(of("tags")["from"], Value::Null);
        let may = format!(
            "report_agents where account_id = 1 and month = '{}'",
            "2026-05-01"
        );
        let whole = rows(&database, &["user_id"], &may).await.len();
        assert_eq!(count("report_agents"), i64::try_from(whole).unwrap());
        assert_eq!(of("report_agents")["from"], "2026-05-01");
        assert_eq!(of("report_agents")["to"], "2026-05-31");
        let line = ["--table", "sessions,tags", "--from", "2150"];
        place.refuses(&[&["export"], &line[..]].concat(), 2, &["--from"]).await;
        let line = ["--table", "sessions,tags", "--from", "2150-01-01"];
        run(&place, &line).await.says(&["no row belongs to these days"]);
    })
    .await;
}

/// How many rows of a table the files of an export have.
fn rows_in(folder: &Path, name: &str) -> i64 {
    let manifest = manifest(folder);
    let tables = manifest["tables"].as_array().unwrap().iter();
    let table = tables.clone().find(|table| table["name"] == name).unwrap();
    i64::try_from(exported(folder, table).len()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_all_years_are_exported() {
    on_both(|place| async move {
        let database = place.database().await;
        odd(&database).await;
        for (number, created) in [
            (8_001, "0001-01-01T00:00:00.000000Z"),
            (8_002, "1970-01-01T00:00:00.000000Z"),
            (8_003, "1989-12-31T23:00:00.000000Z"),
            (8_004, "2100-01-01T12:00:00.000000Z"),
            (8_005, "9999-12-31T23:59:59.999999Z"),
        ] {
            for table in ["sessions", "contacts"] {
                let sql = format!(
                    "insert into {table} (id, created_at, account_id, run_id, synced_at) values ('{}', \
                     '{created}', 1, 1, '2026-06-20T14:00:00.000000Z')",
                    id(number)
                );
                database.execute(&sql).await;
            }
            let tag = format!(
                "insert into session_tags (session_id, tag_id, account_id, run_id, synced_at) \
                 select '{}', tag_id, account_id, run_id, synced_at from session_tags limit 1",
                id(number)
            );
            database.execute(&tag).await;
        }
        let folder = place.path().join("helena-export");
        let tables = ["--table", "sessions,contacts,session_tags", "--format", "ndjson"];
        for split in ["none", "month"] {
            run(&place, &[&tables[..], &["--split", split]].concat()).await;
            for table in ["sessions", "contacts", "session_tags"] {
                let all = database.count(table, "account_id = 1").await;
                assert_eq!(rows_in(&folder, table), all, "{table}, {split}");
            }
        }
        let manifest = manifest(&folder);
        let names = files(&manifest["tables"][0]);
        for name in ["0000-12", "1969-12", "1989-12", "2100-01", "9999-12", "undated"] {
            let name = format!("sessions-{name}.ndjson");
            assert!(names.contains(&name.as_str()), "{name} in {names:?}");
        }
        for (limit, within) in [
            (["--from", "2026-05-10"], "created_at >= '2026-05-10T03:00:00.000000Z'"),
            (["--to", "2026-05-09"], "created_at < '2026-05-10T03:00:00.000000Z'"),
            (["--to", "9999-12-31"], "created_at is not null"),
            (["--from", "0001-01-01"], "created_at >= '0001-01-01T03:06:28.000000Z'"),
        ] {
            for split in ["none", "month"] {
                run(&place, &[&tables[..], &limit, &["--split", split]].concat()).await;
                let mine = format!("account_id = 1 and {within}");
                for table in ["sessions", "contacts"] {
                    let expected = database.count(table, &mine).await;
                    assert_eq!(rows_in(&folder, table), expected, "{table}, {limit:?}, {split}");
                }
                let tagged =
                    format!("session_id in (select id from sessions where {mine})");
                let expected = database.count("session_tags", &tagged).await;
                assert_eq!(rows_in(&folder, "session_tags"), expected, "{limit:?}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_month_that_ends_twice_has_each_row_once() {
    on_both_databases(|database| async move {
        odd(&database).await;
        // In St. John's clocks were put back from 00:01 to 23:01 of the day before.
        for (number, created) in [
            (8_001, "2009-11-01T02:29:00.000000Z"),
            (8_002, "2009-11-01T02:30:30.000000Z"),
            (8_003, "2009-11-01T02:45:00.000000Z"),
            (8_004, "2009-11-01T04:00:00.000000Z"),
        ] {
            let sql = format!(
                "insert into sessions (id, created_at, account_id, run_id, synced_at) values ('{}', \
                 '{created}', 1, 1, '2026-06-20T14:00:00.000000Z')",
                id(number)
            );
            database.execute(&sql).await;
        }
        let mut request = request(Format::Ndjson);
        request.relations.retain(|it| it.name == "sessions");
        request.style.zone = chrono_tz::America::St_Johns;
        request.split = Split::Month;
        let store = &database.store;
        let mut snapshot = store.export_snapshot(vec![AccountId(1)]).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut staged = Folder::take(folder.path()).unwrap();
        let stop = CancellationToken::new();
        let tables = export(&request, &mut snapshot, &mut staged, &stop, |_| {}).await;
        snapshot.end().await;
        let tables = tables.unwrap();
        let of = |month: &str| {
            let mut files = tables[0].files.iter();
            let file = files.find(|file| file.month.as_deref() == Some(month));
            file.map(|file| file.rows)
        };
        assert_eq!((of("2009-10"), of("2009-11")), (Some(1), Some(3)));
        let all = database.count("sessions", "account_id = 1").await;
        assert_eq!(i64::try_from(tables[0].rows()).unwrap(), all);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_only_the_export_before_has_are_removed() {
    on_both(|place| async move {
        let database = place.database().await;
        odd(&database).await;
        let line = ["--table", "sessions", "--split"];
        run(&place, &[&line[..], &["month"]].concat()).await;
        let folder = place.path().join("helena-export");
        let months = fs::read_dir(&folder).unwrap().count() - 1;
        assert!(months > 2);
        fs::write(folder.join("notes.txt"), "mine").unwrap();
        let done = run(&place, &[&line[..], &["none"]].concat()).await;
        done.says(&[&format!("{months} files of the export before removed")]);
        let mut left: Vec<_> = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["manifest.json", "notes.txt", "sessions.csv"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_loaded_is_no_export_unless_it_may_be_partial() {
    on_both(|place| async move {
        let database = place.database().await;
        odd(&database).await;
        let window = "insert into backfills (account_id, resource, first_load, filters, created_at) \
             values (1, 'sessions', true, '[]', '2026-06-20T00:00:00.000000Z'); \
             insert into backfill_windows (backfill_id, account_id, resource, partition, created_after, \
             created_before, filter_index) select id, 1, 'sessions', '', '2026-05-10T00:00:00.000000Z', \
             '2026-05-20T00:00:00.000000Z', 0 from backfills;";
        database.execute(window).await;
        let refused = [
            "has not read everything that is asked for yet (sessions of account default)",
            "--partial",
        ];
        for line in [
            &["export"][..],
            &["export", "--view", "report_daily"],
            &["export", "--table", "session_tags", "--from", "2026-05-12"],
        ] {
            place.refuses(line, 1, &refused).await;
        }
        assert!(!place.path().join("helena-export").exists());
        let folder = place.path().join("helena-export");
        let complete = || manifest(&folder)["accounts"][0]["complete"].as_bool().unwrap();
        let done = run(&place, &["--table", "sessions", "--partial"]).await;
        done.says(&["the files lack rows"]);
        assert!(!complete());
        // These have all of their rows.
        for line in [
            &["--table", "sessions", "--from", "2026-06-01"][..],
            &["--table", "tags,contacts,report_days"],
        ] {
            run(&place, line).await;
            assert!(complete(), "{line:?}");
        }
        database.execute("update backfills set finished_at = created_at").await;
        run(&place, &[]).await;
        assert!(complete());
        let never = "delete from sync_state where resource = 'contacts'; \
                     delete from contact_tags; update sessions set contact_id = null; delete from contacts";
        database.execute(never).await;
        let refused = ["(contacts of account default)"];
        place.refuses(&["export", "--table", "contacts"], 1, &refused).await;
        // What is not mirrored is not missing.
        let place = place.with("HELENA_SYNC__SYNC__RESOURCES", "sessions,tags");
        run(&place, &["--table", "contacts"]).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn json_in_csv_is_json_without_formulas() {
    on_both(|place| async move {
        let database = place.database().await;
        odd(&database).await;
        let formulas = r#"{"a": "=1+1", "@b": ["x;-2+3", -2, "+5", "plain"], "c": {"=d": null}}"#;
        let sql = format!(
            "update contacts set custom_fields = '{formulas}' where id = '{}'",
            id(700)
        );
        database.execute(&sql).await;
        for line in [
            &["--table", "contacts"][..],
            &["--table", "contacts", "--lang", "pt-BR"],
        ] {
            run(&place, line).await;
            let file = place.path().join("helena-export/contacts.csv");
            let text = fs::read_to_string(file).unwrap();
            let delimiter = if line.len() > 2 { ';' } else { ',' };
            let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
            let found = cells_of_csv(text, delimiter);
            let at = |name: &str| {
                let mut head = found[0].iter();
                head.position(|it| it.as_deref() == Some(name)).unwrap()
            };
            let (key, fields) = (at("id"), at("custom_fields"));
            let mut seen = false;
            for row in &found[1..] {
                let Some(cell) = &row[fields] else { continue };
                let value: Value = serde_json::from_str(cell).unwrap();
                if row[key] == Some(id(700).to_string()) {
                    seen = true;
                    assert_eq!(value, serde_json::from_str::<Value>(formulas).unwrap());
                    for formula in ["\"=", ";-", "\"+", "\"@"] {
                        assert!(!cell.contains(formula), "{formula} in {cell}");
                    }
                }
            }
            assert!(seen);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_told_before_anything_is_written() {
    let place = Place::new();
    let database = place.database().await;
    odd(&database).await;
    for (line, said) in [
        (&["--table", "session"][..], "did you mean sessions"),
        (
            &["--view", "sessions"],
            "sessions is a table: use --table sessions",
        ),
        (
            &["--format", "ndjson", "--lang", "pt-BR"],
            "--lang is for --format csv and xlsx",
        ),
        (
            &["--format", "xlsx", "--exact"],
            "--exact is for --format csv",
        ),
        (
            &["--format", "xlsx", "--delimiter", ","],
            "--delimiter is for --format csv",
        ),
        (
            &["--from", "2026-02-01", "--to", "2026-01-01"],
            "--from 2026-02-01 is after",
        ),
        (
            &["--account", "nobody"],
            "the database has no account \"nobody\"",
        ),
        (&["--timezone", "UTC"], "export does not accept --timezone"),
    ] {
        let line: Vec<&str> = ["export"].iter().chain(line).copied().collect();
        place.refuses(&line, 2, &[said]).await;
    }
    assert!(!place.path().join("helena-export").exists());
    place.write("taken", "x");
    let line = ["export", "--output", "taken"];
    place.refuses(&line, 1, &["cannot write taken"]).await;
    // Another account is not among those of the configuration.
    let line = [
        "export",
        "--table",
        "tags",
        "--account",
        "other",
        "--format",
        "ndjson",
    ];
    place.succeeds(&line).await;
    let tags = lines(&place.path().join("helena-export"), "tags.ndjson");
    assert_eq!(tags.len(), 1);
    assert_eq!(tags[0]["name"], "of another");
    database.store.close().await;
}

fn request(format: Format) -> Request {
    let wanted = ["contacts", "sessions"];
    Request {
        relations: relations()
            .iter()
            .filter(|it| wanted.contains(&it.name))
            .collect(),
        style: Style {
            format,
            language: Language::En,
            delimiter: None,
            is_exact: false,
            zone: chrono_tz::UTC,
        },
        split: Split::Auto,
        days: DayRange::default(),
    }
}

#[tokio::test]
async fn an_export_that_is_stopped_leaves_the_files_as_they_were() {
    on_both_databases(|database| async move {
        odd(&database).await;
        let folder = tempfile::tempdir().unwrap();
        let old = folder.path().join("sessions.csv");
        fs::write(&old, "old").unwrap();
        let mut snapshot = database
            .store
            .export_snapshot(vec![AccountId(1)])
            .await
            .unwrap();
        let stop = CancellationToken::new();
        let mut staged = Folder::take(folder.path()).unwrap();
        let request = request(Format::Csv);
        let ended = export(&request, &mut snapshot, &mut staged, &stop, |_| {
            stop.cancel();
        })
        .await;
        assert!(matches!(ended, Err(ExportError::Stopped)), "{ended:?}");
        drop(staged);
        snapshot.end().await;
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(left.len(), 1);
        assert_eq!(fs::read_to_string(&old).unwrap(), "old");
    })
    .await;
}

#[tokio::test]
async fn all_tables_are_of_one_state_while_others_write() {
    on_both_databases(|database| async move {
        odd(&database).await;
        let store = &database.store;
        let mut snapshot = store.export_snapshot(vec![AccountId(1)]).await.unwrap();
        let of = |name: &str| relations().iter().find(|it| it.name == name).unwrap();
        let before = database.count("sessions", "account_id = 1").await;
        let mut more = sessions(3, 99);
        for (session, number) in more.iter_mut().zip(5_000..) {
            session.number = number;
        }
        insert(&database, &more, &[]).await;
        let mut read = 0;
        let take = |cells: &[Cell]| {
            assert_eq!(cells.len(), of("sessions").columns.len());
            read += 1;
            Ok::<_, helena_sync::store::StoreError>(())
        };
        snapshot
            .rows(of("sessions"), Rows::All, take)
            .await
            .unwrap();
        assert_eq!(read, before);
        let count = snapshot.count(of("sessions"), Rows::All).await.unwrap();
        assert_eq!(i64::try_from(count).unwrap(), before);
        snapshot.end().await;
        assert_eq!(
            database.count("sessions", "account_id = 1").await,
            before + 3
        );
    })
    .await;
}

#[tokio::test]
async fn what_a_sheet_has_no_room_for_is_in_another_and_long_texts_are_counted() {
    on_sqlite(|database| async move {
        odd(&database).await;
        let long = format!(
            "update contacts set annotation = '{}' where id = '{}'",
            "é".repeat(40_000),
            id(700)
        );
        database.execute(&long).await;
        let place = place(&database);
        let line = ["--table", "contacts", "--format", "xlsx"];
        run(&place, &line).await.says(&["1 text was cut"]);
        let folder = place.path().join("helena-export");
        assert_eq!(manifest(&folder)["tables"][0]["files"][0]["cut_texts"], 1);
    })
    .await;
}
