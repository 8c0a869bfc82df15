//! `helena-sync report`: its figures are those of the views, agree with each other and in every format.

use std::collections::BTreeMap;

use calamine::{Data, Reader as _, Xlsx};
use helena_sync::report::{METRICS, Metrics};
use helena_sync::reporting::Targets;
use serde_json::{Map, Value};

use super::account::{company, id, insert, sessions, tags};
use super::rows::rows;
use super::{now, settings};
use crate::process::program::{Done, Place, on_both};
use crate::support::database::{Database, on_sqlite};

const COUNT: u128 = 700;

/// An account with everything odd, its settings stored.
pub(super) async fn filled(database: &Database) {
    company(database).await;
    insert(database, &sessions(COUNT, 7), &tags(COUNT)).await;
    database
        .store
        .keep_reports(&settings(), now())
        .await
        .unwrap();
}

/// A folder in which the program uses this database.
pub(super) fn place(database: &Database) -> Place {
    Place::new().with("DATABASE_URL", &database.url)
}

pub(super) async fn run(place: &Place, arguments: &[&str]) -> Done {
    let line: Vec<&str> = ["report"].iter().chain(arguments).copied().collect();
    place.succeeds(&line).await
}

async fn json(place: &Place, arguments: &[&str]) -> Value {
    let line: Vec<&str> = arguments
        .iter()
        .chain(&["--format", "json"])
        .copied()
        .collect();
    run(place, &line).await.json()
}

/// Numbers in one form.
fn plain(value: &Value) -> Value {
    match value.as_f64() {
        Some(number) => serde_json::json!((number * 1e6).round() / 1e6),
        None => value.clone(),
    }
}

/// A section's rows, with these columns only.
fn section(report: &Value, name: &str, columns: &[&str]) -> Vec<Vec<Value>> {
    let rows = report["sections"][name].as_array().unwrap();
    let mut rows: Vec<Vec<Value>> = rows
        .iter()
        .map(|row| {
            let value = |column: &&str| {
                let value = row.get(*column);
                plain(value.unwrap_or_else(|| panic!("no {column} in {row}")))
            };
            columns.iter().map(value).collect()
        })
        .collect();
    rows.sort_by_key(|row| format!("{row:?}"));
    rows
}

fn sum(report: &Value, name: &str, column: &str) -> f64 {
    let rows = section(report, name, &[column]);
    rows.iter().filter_map(|row| row[0].as_f64()).sum()
}

fn same(found: f64, expected: f64, what: &str) {
    assert!(
        (found - expected).abs() < 1e-6,
        "{what}: {found}, not {expected}"
    );
}

/// What views and report both have of each key: the column of the view, that of the report.
const MEASURES: [(&str, &str); 26] = [
    ("opened", "opened"),
    ("contacts", "contacts"),
    ("completed_of_opened", "closed_of_opened"),
    ("answered", "answered"),
    ("answered_share", "answered_share"),
    ("wait_average", "wait_average"),
    ("wait_median", "wait_median"),
    ("wait_p90", "wait_p90"),
    ("wait_n", "wait_n"),
    ("first_response_average", "first_response_average"),
    ("first_response_median", "first_response_median"),
    ("first_response_p90", "first_response_p90"),
    ("first_response_n", "first_response_n"),
    ("resolution_average", "resolution_average"),
    ("resolution_median", "resolution_median"),
    ("resolution_p90", "resolution_p90"),
    ("resolution_n", "resolution_n"),
    ("sla_wait_n", "sla_wait_n"),
    ("sla_wait_share", "sla_wait_share"),
    ("sla_first_response_n", "sla_first_response_n"),
    ("sla_first_response_share", "sla_first_response_share"),
    ("completed", "completed"),
    ("won", "won"),
    ("lost", "lost"),
    ("win_rate", "win_rate"),
    ("amount_won", "amount_won"),
];

/// Rows that have a session.
fn with_sessions(mut rows: Vec<Vec<Value>>, opened: usize, completed: usize) -> Vec<Vec<Value>> {
    rows.retain(|row| row[opened].as_f64() != Some(0.0) || row[completed].as_f64() != Some(0.0));
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn a_months_breakdowns_are_those_of_the_views() {
    on_both(|place| async move {
        let database = place.database().await;
        filled(&database).await;
        for (by, key, view) in [
            ("agent", Some("user_id"), "report_agents"),
            ("department", Some("department_id"), "report_departments"),
            ("channel", Some("channel_id"), "report_channels"),
            ("tag", Some("tag_id"), "report_tags"),
            ("campaign", None, "report_campaigns"),
        ] {
            let report = json(&place, &["--month", "2026-05", "--by", by]).await;
            let mut of_view: Vec<&str> = MEASURES.iter().map(|(view, _)| *view).collect();
            let mut of_report: Vec<&str> = MEASURES.iter().map(|(_, report)| *report).collect();
            if let Some(key) = key {
                of_view.push(key);
                of_report.push("id");
            }
            if by == "campaign" {
                for column in [
                    "utm_source",
                    "utm_medium",
                    "utm_campaign",
                    "utm_source_id",
                    "has_click_id",
                ] {
                    of_view.push(column);
                    of_report.push(column);
                }
                let labels = section(&report, "by", &["campaign"]);
                let unique: std::collections::BTreeSet<_> =
                    labels.iter().map(|it| it[0].to_string()).collect();
                assert_eq!(unique.len(), labels.len(), "{labels:?}");
            }
            if by == "agent" {
                of_view.push("days_active");
                of_report.push("days_active");
            }
            let from = format!("{view} where account_id = 1 and month = '2026-05-01'");
            let columns: Vec<String> = of_view.iter().map(|&it| it.to_owned()).collect();
            let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
            let expected = with_sessions(rows(&database, &columns, &from).await, 0, 21);
            let found = with_sessions(section(&report, "by", &of_report), 0, 21);
            assert!(found.len() > 2, "{by}");
            assert_eq!(found, expected, "{by}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn days_are_those_of_the_views() {
    on_both(|place| async move {
        let database = place.database().await;
        filled(&database).await;
        let range = ["--from", "2026-05-02", "--to", "2026-06-19", "--by", "day"];
        let report = json(&place, &range).await;
        let among = "account_id = 1 and day >= '2026-05-02' and day <= '2026-06-19'";
        let columns = [
            "day", "opened", "completed", "answered", "lost_in_queue", "closed_unanswered",
            "bot_only", "won", "lost", "amount_won", "wait_n", "first_response_n", "service_n",
            "resolution_n", "sla_wait_n", "sla_first_response_n", "sla_service_n", "sla_resolution_n",
        ];
        let of_view = columns.map(|column| match column {
            "sla_wait_n" => "wait_sla_n",
            "sla_first_response_n" => "first_response_sla_n",
            "sla_service_n" => "service_sla_n",
            "sla_resolution_n" => "resolution_sla_n",
            same => same,
        });
        let expected = rows(&database, &of_view, &format!("report_daily where {among}")).await;
        assert_eq!(section(&report, "by", &columns), expected);
        for metric in [
            "wait", "first_response", "first_response_open", "service", "resolution",
            "resolution_open",
        ] {
            let of = |part: &str| format!("{metric}_{part}");
            let columns = ["average", "median", "p90", "n"].map(of);
            let mut with_day = vec!["day"];
            with_day.extend(columns.iter().map(String::as_str));
            let mut found = section(&report, "by", &with_day);
            // The view has rows of days with a value alone.
            found.retain(|row| row[4].as_f64() != Some(0.0));
            let from = format!("report_daily_times where {among} and metric = '{metric}'");
            let columns = ["day", "average", "median", "p90", "sessions"];
            let expected = rows(&database, &columns, &from).await;
            assert!(expected.len() > 10, "{metric}");
            assert_eq!(found, expected, "{metric}");
        }
        let from = format!("report_backlog_daily where {among}");
        let columns = ["opened", "completed", "open_at_end"];
        let mut expected = rows(&database, &columns, &from).await;
        expected.sort_by_key(|row| format!("{row:?}"));
        assert_eq!(section(&report, "volume", &columns), expected);
        let open = database.texts("select cast(count(*) as text) from report_backlog").await;
        let all = report["sections"]["open_now"].as_array().unwrap().last().unwrap();
        assert_eq!(all["open"].to_string(), open[0]);
        same(sum(&report, "open_now", "open"), 2.0 * all["open"].as_f64().unwrap(), "ages");
        let among = "account_id = 1 and is_counted = 1 and day >= '2026-05-02' and day <= '2026-06-19'";
        let new = "count(distinct case when is_new_contact = 1 then contact_id end)";
        let ended = "is_counted = 1 and ended_day >= '2026-05-02' and ended_day <= '2026-06-19' and stage = 'closed'";
        let figure = |key: &str| report["figures"][key]["value"].to_string();
        for (key, sql) in [
            ("contacts", format!("select cast(count(distinct contact_id) as text) from report_sessions where {among}")),
            ("new_contacts", format!("select cast({new} as text) from report_sessions where {among}")),
            ("opened_outside_hours", format!("select cast(sum(1 - arrived_open) as text) from report_sessions where {among}")),
        ] {
            assert_eq!(figure(key), database.texts(&sql).await[0], "{key}");
        }
        let returned = &report["figures"]["returned_7d"];
        let sql = format!("select cast(count(returned_7d) as text) from report_sessions where {ended}");
        assert_eq!(returned["n"].to_string(), database.texts(&sql).await[0]);
        let sql = format!("select cast(sum(returned_7d) as text) from report_sessions where {ended}");
        let returned = returned["value"].as_f64().unwrap() * returned["n"].as_f64().unwrap();
        let expected: f64 = database.texts(&sql).await[0].parse().unwrap();
        same(returned, expected, "returned");
        assert!(expected > 1.0);
        let sql = format!("select cast(count(after_response_seconds) as text) from report_sessions where {ended}");
        assert_eq!(report["times"]["conversation"]["n"].to_string(), database.texts(&sql).await[0]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn totals_agree_between_all_breakdowns() {
    on_sqlite(|database| async move {
        filled(&database).await;
        let place = place(&database);
        let mut reports = BTreeMap::new();
        for by in [
            "day",
            "week",
            "month",
            "hour",
            "channel",
            "department",
            "agent",
            "campaign",
            "reason",
            "status",
        ] {
            let line = ["--from", "2026-05-06", "--to", "today", "--by", by];
            reports.insert(by, json(&place, &line).await);
        }
        let figures = &reports["day"]["figures"];
        let opened = figures["opened"]["value"].as_f64().unwrap();
        let completed = figures["completed"]["value"].as_f64().unwrap();
        assert!(opened > 300.0 && completed > 100.0);
        for (by, report) in &reports {
            assert_eq!(report["figures"], *figures, "{by}");
            assert_eq!(report["times"], reports["day"]["times"], "{by}");
            for (column, figure) in [
                ("opened", "opened"),
                ("completed", "completed"),
                ("won", "won"),
                ("amount_won", "amount_won"),
            ] {
                let expected = figures[figure]["value"].as_f64().unwrap();
                same(
                    sum(report, "by", column),
                    expected,
                    &format!("{by} {column}"),
                );
            }
            for metric in ["wait", "first_response", "service", "resolution"] {
                let n = reports["day"]["times"][metric]["n"].as_f64().unwrap();
                same(sum(report, "by", &format!("{metric}_n")), n, by);
            }
        }
        let report = &reports["day"];
        for name in [
            "volume",
            "hours",
            "departments",
            "agents",
            "channels",
            "campaigns",
        ] {
            same(sum(report, name, "opened"), opened, name);
        }
        for name in ["volume", "departments", "agents", "channels", "campaigns"] {
            same(sum(report, name, "completed"), completed, name);
        }
        let answered = report["times"]["first_response"]["n"].as_f64().unwrap();
        let classes = section(report, "first_response_classes", &["class", "sessions"]);
        let within: f64 = classes
            .iter()
            .filter(|row| row[0] != "no answer")
            .map(|row| row[1].as_f64().unwrap())
            .sum();
        same(within, answered, "classes");
        assert_eq!(report["period"]["is_open"], true);
        assert_eq!(report["period"]["ends_at"], "2026-06-20T15:00:00.000000Z");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_change_their_own_rows_alone_and_filters_choose() {
    on_sqlite(|database| async move {
        filled(&database).await;
        let place = place(&database);
        let all = json(&place, &["--last", "40d", "--by", "agent"]).await;
        let more: Vec<(u128, u128)> = (0..COUNT)
            .filter(|number| number % 3 == 2)
            .flat_map(|number| [(number, 1), (number, 4)])
            .collect();
        insert(&database, &[], &more).await;
        let mut after = json(&place, &["--last", "40d", "--by", "agent"]).await;
        assert_ne!(after["sections"]["tags"], all["sections"]["tags"]);
        assert_ne!(after["sections"]["quality"], all["sections"]["quality"]);
        for name in ["tags", "quality"] {
            after["sections"][name] = all["sections"][name].clone();
        }
        assert_eq!(after, all);
        // One agent's report has the figures of its row.
        let one = json(
            &place,
            &["--last", "40d", "--agent", "age é101", "--by", "agent"],
        )
        .await;
        let row = all["sections"]["by"].as_array().unwrap();
        let row = row.iter().find(|row| row["agent"] == "age é101").unwrap();
        for (figure, column) in [
            ("opened", "opened"),
            ("completed", "completed"),
            ("won", "won"),
        ] {
            assert_eq!(one["figures"][figure]["value"], row[column], "{figure}");
        }
        assert_eq!(
            one["times"]["wait"]["median"],
            row["wait_median"].as_f64().unwrap()
        );
        assert_eq!(one["filters"]["agent"][0], "age é101");
        for filter in [
            ["--channel", "cha é300"],
            ["--department", "dep é201"],
            ["--tag", "tag é404"],
            ["--status", "completed"],
            ["--campaign", "verão"],
        ] {
            let line = ["--last", "40d", filter[0], filter[1]];
            let some = json(&place, &line).await["figures"]["opened"]["value"]
                .as_u64()
                .unwrap();
            let all = all["figures"]["opened"]["value"].as_u64().unwrap();
            assert!(some > 0 && some < all, "{filter:?}: {some} of {all}");
        }
        let anonymous = run(
            &place,
            &[
                "--anonymous",
                "--by",
                "agent",
                "--agent",
                "age é101",
                "--format",
                "html",
            ],
        )
        .await;
        assert!(!anonymous.out.contains("age é"), "agents have no names");
    })
    .await;
}

/// The rows of a CSV text, each by the heads of its columns.
fn parsed(text: &str, delimiter: u8) -> Vec<BTreeMap<String, String>> {
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .from_reader(text.as_bytes());
    reader.deserialize().map(Result::unwrap).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn csv_and_workbook_have_the_numbers_of_json() {
    on_sqlite(|database| async move {
        filled(&database).await;
        let place = place(&database);
        let line = ["--month", "2026-05", "--by", "channel"];
        let json = json(&place, &line).await;
        let rows = json["sections"]["by"].as_array().unwrap();
        let with = |more: &[&'static str]| -> Vec<&'static str> {
            line.iter().chain(more).copied().collect()
        };
        let csv = run(&place, &with(&["--format", "csv"])).await.out;
        assert!(!csv.starts_with('\u{feff}'));
        let csv = parsed(&csv, b',');
        assert_eq!(csv.len(), rows.len());
        for (found, expected) in csv.iter().zip(rows) {
            for (column, value) in expected.as_object().unwrap() {
                let text = found
                    .get(column)
                    .or_else(|| found.get(&format!("{column}_seconds")));
                let text = text.unwrap_or_else(|| panic!("no {column}"));
                match value {
                    Value::Null => assert_eq!(text, "", "{column}"),
                    Value::String(value) => assert_eq!(text, value),
                    number => same(text.parse().unwrap(), number.as_f64().unwrap(), column),
                }
            }
        }
        let local = run(&place, &with(&["--format", "csv", "--lang", "pt-BR"]))
            .await
            .out;
        let local = local.strip_prefix('\u{feff}').unwrap();
        assert!(local.contains("\r\n") && !local.contains("sep="));
        let local = parsed(local, b';');
        for (found, expected) in local.iter().zip(rows) {
            let number = |head: &str| found[head].replace(',', ".").parse::<f64>().unwrap();
            let wait = expected["wait_average"].as_f64().unwrap();
            same(
                (number("Espera: média (s)") * 1e6).round(),
                (wait * 1e6).round(),
                "seconds",
            );
            assert!((number("Espera: média (min)") - wait / 60.0).abs() <= 0.05 + 1e-9);
            same(
                number("Novos atendimentos"),
                expected["opened"].as_f64().unwrap(),
                "opened",
            );
        }
        let file = place.path().join("report.xlsx");
        let file = file.to_str().unwrap();
        let done = run(
            &place,
            &with(&["--format", "xlsx", "--output", "report.xlsx"]),
        )
        .await;
        assert_eq!(done.out, "");
        let first = std::fs::read(file).unwrap();
        run(
            &place,
            &with(&["--format", "xlsx", "--output", "report.xlsx"]),
        )
        .await;
        assert_eq!(
            std::fs::read(file).unwrap(),
            first,
            "the same data give the same bytes"
        );
        let mut book: Xlsx<_> = calamine::open_workbook(file).unwrap();
        let sheet = book.worksheet_range("By channel").unwrap();
        let heads: Vec<String> = sheet
            .rows()
            .next()
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect();
        let place_of = |head: &str| heads.iter().position(|it| it == head).unwrap();
        for (found, expected) in sheet.rows().skip(1).zip(rows) {
            for (head, column) in [
                ("Opened", "opened"),
                ("Wait: average (s)", "wait_average"),
                ("Amount won", "amount_won"),
            ] {
                let Data::Float(number) = found[place_of(head)] else {
                    panic!("{head} is no number: {found:?}");
                };
                same(number, expected[column].as_f64().unwrap(), head);
            }
        }
        let volume = book.worksheet_range("Volume").unwrap();
        assert!(
            matches!(volume.rows().nth(1).unwrap()[0], Data::DateTime(_)),
            "a day is a day"
        );
        assert_eq!(place.files(), ["report.xlsx"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_after_which_sessions_are_stale_is_told_as_it_is_configured() {
    on_sqlite(|database| async move {
        filled(&database).await;
        let place = place(&database);
        for (hours, told) in [(12, "12 h 00 min"), (24, "1 day"), (72, "3 days")] {
            let mut changed = settings();
            changed.stale = std::time::Duration::from_hours(hours);
            database.store.keep_reports(&changed, now()).await.unwrap();
            let report = json(&place, &["--last", "7d"]).await;
            let figures = section(&report, "open_figures", &["figure"]);
            let expected = format!("Nobody wrote for more than {told}");
            let texts = figures.iter().filter_map(|row| row[0].as_str());
            assert!(
                texts
                    .map(|it| it.replace('\u{a0}', " "))
                    .any(|it| it == expected),
                "{figures:?}"
            );
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn open_hours_count_in_every_section_where_they_are_asked_for() {
    on_sqlite(|database| async move {
        filled(&database).await;
        let place = place(&database);
        let of_view = |column: &'static str| {
            let database = &database;
            async move {
                // Hours with one response: its time is the median.
                let sql = format!(
                    "select cast(sum({column}) as text) from (select min({column}) as {column} from report_sessions \
                     where account_id = 1 and is_counted = 1 and day >= '2026-05-11' and day <= '2026-06-19' \
                     and {column} is not null group by weekday, hour having count(*) = 1)"
                );
                database.texts(&sql).await[0].parse::<f64>().unwrap()
            }
        };
        let line = ["--last", "40d", "--hours"];
        for (hours, column) in [("all", "first_response_seconds"), ("open", "first_response_open_seconds")] {
            let report = json(&place, &[line[0], line[1], line[2], hours]).await;
            let cells = section(&report, "hours", &["first_response_n", "first_response_median"]);
            let found: f64 = cells
                .iter()
                .filter(|row| row[0].as_f64() == Some(1.0))
                .filter_map(|row| row[1].as_f64())
                .sum();
            assert!(found > 0.0, "{hours}");
            same(found, of_view(column).await, hours);
            let page = run(&place, &[line[0], line[1], line[2], hours, "--format", "html"]).await.out;
            let is_open = page.contains("<h3>Median time to the first response within open hours, ");
            assert_eq!(is_open, hours == "open");
            let changes = page.split("Largest changes").nth(1).unwrap().split("</ul>").next().unwrap();
            let wrong = "The median time from beginning to end";
            let is_wrong = changes.contains(&format!("{wrong} rose")) || changes.contains(&format!("{wrong} fell"));
            assert!(hours == "all" || !is_wrong, "{changes}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_get_all_rows_and_people_the_largest() {
    on_sqlite(|database| async move {
        filled(&database).await;
        let more = "update sessions set utm_campaign = 'campanha ' || (cast(number as integer) % 30), \
             classification_category = 'LOST', \
             classification_category_description = 'motivo ' || (cast(number as integer) % 30);";
        database.execute(more).await;
        let place = place(&database);
        let line = ["--last", "40d"];
        let report = json(&place, &line).await;
        for name in ["campaigns", "reasons"] {
            let count = report["sections"][name].as_array().unwrap().len();
            assert!(count >= 30, "{name}: {count}");
        }
        let page = run(&place, &["--last", "40d", "--format", "html"]).await.out;
        assert!(page.contains("others") && page.matches("motivo ").count() == 10);
        run(&place, &["--last", "40d", "--format", "xlsx", "--output", "all.xlsx"]).await;
        let file = place.path().join("all.xlsx");
        let mut book: Xlsx<_> = calamine::open_workbook(file).unwrap();
        let rows = book.worksheet_range("Campaigns").unwrap().rows().count();
        assert_eq!(rows, 1 + report["sections"]["campaigns"].as_array().unwrap().len());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_separator_makes_a_formula_of_a_text() {
    on_sqlite(|database| async move {
        filled(&database).await;
        let hostile = "update sessions set utm_campaign = 'verao;=1+1' where utm_campaign = 'verão'; \
             update sessions set utm_source = 'x,=2+2' where utm_campaign = 'verao;=1+1';";
        database.execute(hostile).await;
        let place = place(&database);
        for (lang, own, other) in [("en", b',', b';'), ("pt-BR", b';', b',')] {
            let line = ["--last", "40d", "--by", "campaign", "--format", "csv", "--lang", lang];
            let text = run(&place, &line).await.out;
            assert!(text.contains("verao;'=1+1") && text.contains("x,'=2+2"), "{text}");
            for delimiter in [own, other, b'\t'] {
                let mut reader = csv::ReaderBuilder::new();
                reader.delimiter(delimiter).flexible(true).has_headers(false);
                for row in reader.from_reader(text.as_bytes()).records() {
                    let row = row.unwrap();
                    assert!(row.iter().all(|cell| !cell.starts_with('=')), "{row:?}");
                }
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn csv_that_is_exact_has_texts_as_they_are() {
    on_sqlite(|database| async move {
        filled(&database).await;
        let hostile = "update sessions set utm_campaign = '=1+1' where utm_campaign = 'verão';";
        database.execute(hostile).await;
        let place = place(&database);
        let line = [
            "--last", "40d", "--by", "campaign", "--format", "csv", "--exact",
        ];
        let text = run(&place, &line).await.out;
        assert!(
            text.contains("\"=1+1\"") && !text.contains("'=1+1"),
            "{text}"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_metrics_that_are_chosen_are_shown() {
    on_sqlite(|database| async move {
        filled(&database).await;
        let place = place(&database);
        let line = [
            "--month",
            "2026-05",
            "--by",
            "agent",
            "--metric",
            "opened,wait",
            "--metric",
            "sla",
        ];
        let with = |more: &[&'static str]| [&line[..], more].concat();
        let text = run(&place, &with(&["--format", "csv"])).await.out;
        let head = text.lines().next().unwrap();
        assert_eq!(
            head,
            "agent,opened,wait_average_seconds,wait_median_seconds,wait_p90_seconds,wait_n,\
             sla_wait_share,sla_wait_n,sla_first_response_share,sla_first_response_n,\
             sla_service_share,sla_service_n,sla_resolution_share,sla_resolution_n,id"
        );
        let of = |report: &Value, part: &str| -> Vec<String> {
            report[part].as_object().unwrap().keys().cloned().collect()
        };
        let some = json(&place, &line).await;
        assert_eq!(of(&some, "times"), ["wait"]);
        let slas = [
            "sla_first_response",
            "sla_resolution",
            "sla_service",
            "sla_wait",
        ];
        let mut figures = of(&some, "figures");
        figures.sort();
        assert_eq!(figures, [&["opened"][..], &slas].concat());
        let mut sections = of(&some, "sections");
        sections.sort();
        assert_eq!(
            sections,
            ["agents", "by", "channels", "departments", "quality"]
        );
        // What is shown is what it is without a choice, and each metric has something to show.
        let all = json(&place, &line[..4]).await;
        assert_eq!(some["times"]["wait"], all["times"]["wait"]);
        let columns = ["agent", "opened", "wait_p90", "sla_wait_share"];
        assert_eq!(
            section(&some, "by", &columns),
            section(&all, "by", &columns)
        );
        let mut keys = [of(&all, "times"), of(&all, "figures")].concat();
        let by = all["sections"]["by"][0].as_object().unwrap();
        keys.extend(by.keys().cloned());
        for metric in METRICS {
            let metrics = Metrics(vec![metric]);
            assert!(keys.iter().any(|key| metrics.show(key)), "{metric}");
        }
        // Each figure can be chosen, too.
        let metrics = Metrics(METRICS.to_vec());
        keys.retain(|key| key != "agent" && key != "id");
        for key in keys {
            assert!(metrics.show(&key), "{key}");
        }
        let table = run(&place, &line).await.out;
        assert!(
            table.contains("Wait (platform)") && !table.contains("Won"),
            "{table}"
        );
        // Without targets there is no place for them.
        let mut without = settings();
        without.targets = Targets::default();
        database.store.keep_reports(&without, now()).await.unwrap();
        let told = [
            "--metric sla: ",
            "sla needs a target, such as report.sla_first_response",
        ];
        place
            .refuses(&["report", "--metric", "sla"], 2, &told)
            .await;
    })
    .await;
}

#[test]
fn the_documents_name_all_metrics_and_no_others() {
    let text = include_str!("../../../docs/reporting.md");
    let (_, text) = text.split_once("**Metrics.**").unwrap();
    let (_, text) = text.split_once("There are ").unwrap();
    let (text, _) = text.split_once('.').unwrap();
    let named: Vec<&str> = text.split('`').skip(1).step_by(2).collect();
    assert_eq!(named, METRICS);
}

#[tokio::test(flavor = "multi_thread")]
async fn durations_of_centuries_are_those_of_the_views() {
    on_both(|place| async move {
        let database = place.database().await;
        filled(&database).await;
        let long = "update sessions set time_wait_seconds = 6000000000 \
                    where status = 'COMPLETED' and created_at >= '2026-06-10';";
        database.execute(long).await;
        let report = json(
            &place,
            &["--from", "2026-06-10", "--to", "2026-06-19", "--by", "day"],
        )
        .await;
        let columns = ["day", "wait_average", "wait_median", "wait_p90", "wait_n"];
        let found = section(&report, "by", &columns);
        let views = ["day", "average", "median", "p90", "sessions"];
        let among = "report_daily_times where account_id = 1 and metric = 'wait' \
                     and day >= '2026-06-10' and day <= '2026-06-19'";
        let expected = rows(&database, &views, among).await;
        let found: Vec<Vec<Value>> = found
            .into_iter()
            .filter(|row| row[4].as_f64() != Some(0.0))
            .collect();
        assert_eq!(found, expected);
        assert!(
            found
                .iter()
                .all(|row| row[2].as_f64() > Some(4_294_967_295.0))
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_reads_well_in_both_languages() {
    on_both(|place| async move {
        let database = place.database().await;
        filled(&database).await;
        let mut told = String::new();
        for line in [
            &["--last", "14d", "--by", "department"][..],
            &[
                "--last",
                "14d",
                "--by",
                "department",
                "--lang",
                "pt-BR",
                "--definitions",
            ],
        ] {
            told.push_str(&run(&place, line).await.out);
            told.push_str("\n====\n\n");
        }
        insta::assert_snapshot!("a_table_reads_well_in_both_languages", told);
        assert!(!told.contains("TMR"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn markdown_has_every_section() {
    on_sqlite(|database| async move {
        filled(&database).await;
        let place = place(&database);
        let done = run(
            &place,
            &[
                "--last",
                "14d",
                "--format",
                "md",
                "--lang",
                "pt-BR",
                "--definitions",
            ],
        )
        .await;
        for title in [
            "# Relatório de atendimento",
            "## Indicadores",
            "## Tempos",
            "## Horários de pico",
            "## Equipes",
            "## Etiquetas",
            "## Definições",
        ] {
            assert!(done.out.contains(title), "{title}");
        }
        for line in done.out.lines().filter(|line| line.starts_with('|')) {
            assert!(line.ends_with('|'), "{line}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_loaded_is_no_report_unless_it_may_be_partial() {
    on_both(|place| async move {
        let database = place.database().await;
        filled(&database).await;
        let window = "insert into backfills (account_id, resource, first_load, filters, created_at) \
             values (1, 'sessions', true, '[]', '2026-06-20T00:00:00.000000Z'); \
             insert into backfill_windows (backfill_id, account_id, resource, partition, created_after, \
             created_before, filter_index) select id, 1, 'sessions', '', '2026-05-10T00:00:00.000000Z', \
             '2026-05-20T00:00:00.000000Z', 0 from backfills;";
        database.execute(window).await;
        let refused = ["the first load has not read all sessions from 2026-05-01 to 2026-05-31 yet", "--partial"];
        place.refuses(&["report", "--month", "2026-05"], 1, &refused).await;
        let done = run(&place, &["--month", "2026-05", "--partial"]).await;
        assert!(done.out.contains("the period is not loaded completely"), "{done:?}");
        // These days are loaded, those before are not.
        let done = run(&place, &["--from", "2026-06-01", "--to", "2026-06-19"]).await;
        assert!(done.out.contains("nothing: those days are not loaded yet"), "{done:?}");
        assert!(!done.out.contains("Before"), "{done:?}");
        database.execute("update backfills set finished_at = created_at").await;
        run(&place, &["--month", "2026-05"]).await;
    })
    .await;
}

/// Arguments, the exit status, and what the message says.
const MISTAKES: &[(&[&str], i32, &str)] = &[
    (
        &["--from", "2026-06-02", "--to", "2026-06-01"],
        2,
        "its first day 2026-06-02 is later than its last day 2026-06-01",
    ),
    (
        &["--from", "01/06/2026"],
        2,
        "--from: \"01/06/2026\" can be 2026-06-01 or 2026-01-06; write one of them",
    ),
    (&["--month", "june"], 2, "must be a month such as 2025-12"),
    (
        &["--metric", "opened,open_now", "--format", "csv"],
        2,
        "--metric open_now: --format csv with --by day has no place for it",
    ),
    (
        &["--metric", "days_active"],
        2,
        "--metric days_active: --format table with --by day has no place for it",
    ),
    (
        &["--last", "30"],
        2,
        "must be a number of days, weeks or months",
    ),
    (&["--by", "agents"], 2, "a similar value exists: 'agent'"),
    (
        &["--agent", "age é10"],
        2,
        "no agent has the name \"age é10\" (similar: age é10",
    ),
    (&["--channel", "Loja"], 2, "cannot filter by --channel"),
    (&["--tag", "tag é40x"], 2, "similar: tag é400"),
    (
        &["--status", "CLOSED"],
        2,
        "invalid value 'CLOSED' for '--status <STATUS>'",
    ),
    (
        &["--campaign", "verao"],
        2,
        "no session of these days has the campaign \"verao\" (similar: verão)",
    ),
    (
        &["--account", "nobody"],
        2,
        "the database has no account \"nobody\"",
    ),
    (
        &["--timezone", "UTC"],
        2,
        "report does not accept --timezone",
    ),
    (
        &["--format", "csv", "--definitions"],
        2,
        "take another format",
    ),
    (
        &["--output", "no/such/folder.html", "--format", "html"],
        1,
        "cannot write no/such/folder.html",
    ),
    (
        &["--month", "2026-05", "--last", "3d"],
        2,
        "cannot be used with",
    ),
    (&["--metric", "waits"], 2, "a similar value exists: 'wait'"),
    (
        &["--metric", "wait", "--format", "html"],
        2,
        "--metric is not for --format html: the page always has all sections",
    ),
    (&["--exact"], 2, "--exact is for --format csv"),
];

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_told_with_what_to_do() {
    on_sqlite(|database| async move {
        filled(&database).await;
        let place = place(&database);
        for (line, code, said) in MISTAKES {
            let line: Vec<&str> = ["report"].iter().chain(*line).copied().collect();
            place.refuses(&line, *code, &[said]).await;
        }
        // As the database is, not as it is configured here.
        let mut without = settings();
        without.hours = helena_sync::reporting::Hours::default();
        database.store.keep_reports(&without, now()).await.unwrap();
        place
            .refuses(&["report", "--hours", "open"], 2, &["[report.hours]"])
            .await;
        let other = database
            .store
            .account("south", "https://api.helena.run", now());
        other.await.unwrap();
        let place = place.without("HELENA_API_TOKEN");
        place
            .refuses(
                &["report"],
                2,
                &["several accounts; choose one with --account (default, south)"],
            )
            .await;
        run(&place, &["--account", "default"]).await;
        place
            .refuses(
                &["report", "--account", "south"],
                1,
                &["the first load has not read"],
            )
            .await;
        assert_eq!(place.files(), [""; 0]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn days_without_sessions_are_told_as_such() {
    on_sqlite(|database| async move {
        filled(&database).await;
        let place = place(&database);
        let line = ["--from", "2020-01-01", "--to", "2020-01-31"];
        let done = run(&place, &line).await;
        assert_eq!(done.out, "");
        done.says(&["no sessions from 2020-01-01 to 2020-01-31"]);
        for format in ["json", "csv", "md", "html"] {
            let line: Vec<&str> = line.iter().chain(&["--format", format]).copied().collect();
            let done = run(&place, &line).await;
            assert!(
                !done.out.is_empty() && !done.out.contains("NaN") && !done.out.contains("inf%"),
                "{format}"
            );
        }
        let file = place.path().join("report.txt");
        std::fs::write(&file, "yesterday").unwrap();
        let line_to_file: Vec<&str> = line
            .iter()
            .chain(&["--output", "report.txt"])
            .copied()
            .collect();
        run(&place, &line_to_file).await;
        let written = std::fs::read_to_string(&file).unwrap();
        assert!(written.contains("1 Jan 2020 to 31 Jan 2020"), "{written}");
        let report = json(&place, &line).await;
        assert_eq!(report["figures"]["opened"]["value"], 0);
        assert_eq!(report["figures"]["opened_outside_hours"]["value"], 0);
        assert_eq!(report["figures"]["answered"]["value"], Value::Null);
        assert_eq!(report["times"]["wait"]["median"], Value::Null);
        let sections: &Map<String, Value> = report["sections"].as_object().unwrap();
        assert_eq!(sections["volume"].as_array().unwrap().len(), 31);
        // Days that are yet to come stay as they were asked for.
        let range = ["--from", "2026-08-01", "--to", "2026-08-03"];
        for (line, to, days) in [
            (&range[..], "2026-08-03", 3),
            (&["--month", "2026-08"], "2026-08-31", 31),
        ] {
            let report = json(&place, line).await;
            assert_eq!(report["period"]["from"], "2026-08-01");
            assert_eq!(report["period"]["to"], to);
            assert_eq!(report["figures"]["open_at_end"]["value"], Value::Null);
            let volume = report["sections"]["volume"].as_array().unwrap();
            assert_eq!(volume.len(), days);
            assert!(volume.iter().all(|row| row["open_at_end"].is_null()));
            let page = run(&place, &[line, &["--format", "html"]].concat())
                .await
                .out;
            assert!(page.contains("<p class=\"big\">–</p>") && !page.contains("NaN"));
        }
        let none = id(999).to_string();
        run(&place, &["--channel", &none])
            .await
            .says(&["with these filters"]);
    })
    .await;
}
