//! Figures that must agree: between both databases, between views, and with tags and without.

use std::collections::BTreeMap;

use helena_sync::data::Timestamp;
use helena_sync::reporting::Settings;
use serde_json::Value;

use super::account::{company, id, insert, sessions, tags};
use super::rows::{all, columns_of, rows, same_on_both, views};
use super::{now, settings};
use crate::support::database::{Database, on_both, on_sqlite};

const COUNT: u128 = 700;

/// What commits wrote of changes, as inserts.
fn changes() -> String {
    let [rui, eva, sales, support] = [100, 101, 200, 201].map(|number| id(number).to_string());
    let ended = "2026-06-18T10:00:00.000001Z";
    let changes = [
        (5, 1, "status", "COMPLETED", "IN_PROGRESS"),
        (5, 1, "end_at", ended, "2026-06-19T10:00:00.000000Z"),
        (6, 2, "status", "PENDING", "IN_PROGRESS"),
        (7, 2, "status", "IN_PROGRESS", "COMPLETED"),
        (8, 3, "user_id", &rui, &eva),
        (8, 3, "department_id", &sales, &support),
    ];
    let inserts = changes.map(|(seq, session, field, old, new)| {
        format!(
            "insert into session_changes values ('{}', {seq}, '{field}', '{old}', '{new}', \
             '2026-06-19T1{seq}:00:00.000000Z', 1, 1);",
            id(1_000_000 + session)
        )
    });
    inserts.join("\n")
}

async fn filled(database: &Database) {
    company(database).await;
    insert(database, &sessions(COUNT, 7), &tags(COUNT)).await;
    let since = "update report_settings set changes_since = '2026-06-01T00:00:00.000000Z'; \
                 update accounts set created_at = '2026-05-20T00:00:00.000000Z';";
    database.execute(since).await;
    database.execute(&changes()).await;
    database
        .store
        .keep_reports(&settings(), now())
        .await
        .unwrap();
}

/// The sum of a column in the rows of a view that fulfil a condition.
fn sum_of(all: &All, view: &'static str, column: &str, of: &[(&str, Value)]) -> f64 {
    let columns = columns_of(view);
    let place = |column: &str| {
        let found = columns.iter().position(|name| *name == column);
        found.unwrap_or_else(|| panic!("{view} has no {column}"))
    };
    let is_meant = |row: &&Vec<Value>| {
        of.iter()
            .all(|(column, value)| row[place(column)] == *value)
    };
    all[view]
        .iter()
        .filter(is_meant)
        .filter_map(|row| row[place(column)].as_f64())
        .sum()
}

/// The rows of all views.
type All = BTreeMap<&'static str, Vec<Vec<Value>>>;

fn is(found: f64, expected: f64, what: &str) {
    assert!(
        (found - expected).abs() < 1e-6,
        "{what}: {found}, not {expected}"
    );
}

fn one() -> Value {
    Value::from(1.0)
}

/// The value of a column of `report_sessions` in one of its rows.
fn value<'a>(row: &'a [Value], column: &str) -> &'a Value {
    let columns = columns_of("report_sessions");
    let place = columns.iter().position(|name| *name == column).unwrap();
    &row[place]
}

/// How many sessions are counted and fulfil a condition.
fn count_of(all: &All, condition: impl Fn(&[Value]) -> bool) -> f64 {
    let sessions = all["report_sessions"].iter();
    let found = sessions.filter(|row| *value(row, "is_counted") == one() && condition(row));
    f64::from(u32::try_from(found.count()).unwrap())
}

#[tokio::test]
async fn every_view_has_the_same_rows_on_both_databases_and_their_totals_agree() {
    let all = same_on_both(|database| async move {
        filled(&database).await;
        all(&database).await
    })
    .await;
    counts_agree(&all);
    times_agree(&all);
    backlog_agrees(&all);
    each_figure_says_something(&all);
}

fn counts_agree(all: &All) {
    let sum = |view, column: &str| sum_of(all, view, column, &[]);
    let opened = count_of(all, |_| true);
    assert!(opened > 500.0);
    let is_closed = |row: &[Value]| *value(row, "stage") == "closed";
    let completed = count_of(all, |row| is_closed(row) && !value(row, "end_at").is_null());
    let answered = count_of(all, |row| *value(row, "attendance") == "answered");
    let won = sum("report_departments", "won");
    let amount = sum("report_departments", "amount_won");
    assert!(won > 10.0 && answered > 50.0 && amount > 0.0);
    for view in [
        "report_daily",
        "report_agents",
        "report_departments",
        "report_channels",
        "report_campaigns",
    ] {
        is(sum(view, "opened"), opened, view);
        is(sum(view, "completed"), completed, view);
        is(sum(view, "answered"), answered, view);
        is(sum(view, "won"), won, view);
        is(sum(view, "amount_won"), amount, view);
    }
    is(sum("report_hours", "opened"), opened, "hours");
    is(sum("report_hours", "answered"), answered, "hours");
    is(sum("report_backlog_daily", "opened"), opened, "backlog");
    is(
        sum("report_backlog_daily", "completed"),
        completed,
        "backlog",
    );
    let arrived = count_of(all, |row| *value(row, "arrived_open") == one());
    is(sum("report_daily", "opened_open"), arrived, "open hours");
}

fn times_agree(all: &All) {
    let sum = |view, column: &str| sum_of(all, view, column, &[]);
    for (metric, column) in [
        ("wait", "wait_seconds"),
        ("first_response", "first_response_seconds"),
        ("resolution", "resolution_seconds"),
    ] {
        let of_metric = [("metric", Value::from(metric))];
        let times = |column| sum_of(all, "report_daily_times", column, &of_metric);
        let daily = |part: &str| sum("report_daily", &format!("{metric}_{part}"));
        is(times("sum"), daily("sum"), metric);
        is(times("sessions"), daily("n"), metric);
        let counted = [("is_counted", one())];
        is(
            times("sum"),
            sum_of(all, "report_sessions", column, &counted),
            metric,
        );
        is(
            times("sessions"),
            sum("report_agents", &format!("{metric}_n")),
            metric,
        );
        // Sessions that are open and late have a verdict, and no value.
        let within = format!("within_sla_{metric}");
        let met = count_of(all, |row| {
            *value(row, &within) == one() && !value(row, column).is_null()
        });
        is(times("sla_met"), met, metric);
        is(daily("sla_met"), met, metric);
    }
    let verdicts = count_of(all, |row| !value(row, "within_sla_wait").is_null());
    is(sum("report_daily", "wait_sla_n"), verdicts, "verdicts");
    is(sum("report_channels", "sla_wait_n"), verdicts, "verdicts");
    assert!(verdicts > sum("report_daily", "wait_n"));
}

/// The last day of the backlog that is known is the present one.
fn backlog_agrees(all: &All) {
    let open = count_of(all, |row| *value(row, "is_open") == one());
    let listed = f64::from(u32::try_from(all["report_backlog"].len()).unwrap());
    is(listed, open, "open now");
    let columns = columns_of("report_backlog_daily");
    let place = |name: &str| columns.iter().position(|column| *column == name).unwrap();
    let known = |row: &&Vec<Value>| !row[place("open_at_end")].is_null();
    let last = all["report_backlog_daily"].iter().filter(known);
    let last = last
        .max_by_key(|row| row[place("day")].to_string())
        .unwrap();
    assert_eq!(last[place("day")], "2026-06-20");
    for (day, ends) in [
        ("2026-06-20", "2026-06-21T03:00:00.000000Z"),
        ("2026-06-01", "2026-06-02T03:00:00.000000Z"),
    ] {
        let text = |row: &[Value], name| value(row, name).as_str().unwrap_or_default().to_owned();
        let expected = count_of(all, |row| {
            text(row, "created_at").as_str() < ends
                && (*value(row, "is_open") == one()
                    || *value(row, "stage") == "closed"
                        && text(row, "end_at").as_str() >= ends
                        && text(row, "end_at") >= text(row, "created_at"))
        });
        let of_day = all["report_backlog_daily"]
            .iter()
            .find(|row| row[place("day")] == day)
            .unwrap();
        is(
            of_day[place("open_at_end")].as_f64().unwrap(),
            expected,
            day,
        );
        assert!(expected > 10.0);
    }
}

/// Each column has a value somewhere that is neither null nor 0.
fn each_figure_says_something(all: &All) {
    for (view, columns) in views() {
        if *view == "report_quality" {
            continue;
        }
        for (place, column) in columns.iter().enumerate() {
            let values = || all[view].iter().map(|row| &row[place]);
            let says = |value: &&Value| !value.is_null() && value.as_f64() != Some(0.0);
            // Nothing of the account has these.
            let none = [
                "utm_content",
                "utm_term",
                "utm_medium",
                "utm_source_id",
                "origin",
            ];
            let none =
                none.contains(column) || *column == "preview_url" || *column == "channel_type";
            assert_eq!(values().any(|value| says(&value)), !none, "{view}.{column}");
        }
    }
}

#[tokio::test]
async fn tags_change_no_figure_but_their_own() {
    on_sqlite(|database| async move {
        filled(&database).await;
        let before = all(&database).await;
        // Two tags more for a third of the sessions, and another account with sessions of its own.
        let more: Vec<(u128, u128)> = (0..COUNT)
            .filter(|number| number % 3 == 2)
            .flat_map(|number| [(number, 1), (number, 4)])
            .collect();
        insert(&database, &[], &more).await;
        let other = database
            .store
            .account("south", "https://api.helena.run", now());
        assert_eq!(other.await.unwrap().0, 2);
        let mut theirs = sessions(50, 8);
        for session in &mut theirs {
            session.number += COUNT;
            session.account = 2;
            // Agents are of one account.
            session.columns.retain(|(column, _)| *column != "user_id");
        }
        insert(&database, &theirs, &[]).await;
        let after = all(&database).await;
        for (view, columns) in views() {
            let place = |name: &str| columns.iter().position(|column| *column == name);
            let ignored = [
                place("tags"),
                place("tag_count"),
                place("sessions_with_2_tags"),
            ];
            // A contact of both accounts, which the platform never has, would not be new twice.
            let theirs = [
                place("is_new_contact"),
                place("returned_7d"),
                place("opened_new_contact"),
            ];
            let of_first = |rows: &Vec<Vec<Value>>| -> Vec<Vec<Value>> {
                let account = place("account_id").unwrap();
                let mut rows: Vec<Vec<Value>> = rows
                    .iter()
                    .filter(|row| row[account] == 1.0)
                    .cloned()
                    .collect();
                for row in &mut rows {
                    for place in ignored.iter().chain(&theirs).flatten() {
                        row[*place] = Value::Null;
                    }
                }
                rows.sort_by_cached_key(|row| format!("{row:?}"));
                rows
            };
            let (before, after) = (of_first(&before[view]), of_first(&after[view]));
            if *view == "report_tags" {
                assert_ne!(before, after);
            } else {
                assert_eq!(before, after, "{view}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn only_a_verification_that_succeeded_says_how_good_the_copy_is() {
    on_both(|database| async move {
        company(&database).await;
        let run = |day, rest| {
            format!(
                "insert into sync_runs (account_id, kind, resource, started_at, finished_at, \
                 outcome, rows_differing) \
                 values (1, 'verify', 'sessions', '2026-06-{day}T03:00:00.000000Z', {rest});"
            )
        };
        let runs = [
            run(15, "'2026-06-15T03:10:00.000000Z', 'succeeded', 50"),
            run(16, "'2026-06-16T03:10:00.000000Z', 'failed', 0"),
            run(17, "null, null, 0"),
        ];
        database.execute(&runs.concat()).await;
        let store = &database.store;
        store.keep_reports(&settings(), now()).await.unwrap();
        let columns = ["last_verify_at", "last_verify_differing"];
        let told = rows(&database, &columns, "report_quality").await;
        let at = "2026-06-15T03:10:00.000000Z";
        assert_eq!(told, [[Value::from(at), Value::from(50.0)]]);
        let account = store.accounts().await.unwrap()[0].id;
        let mut snapshot = store.report_snapshot(account).await.unwrap();
        let verified = snapshot.basis().await.unwrap().verified;
        snapshot.end().await;
        assert_eq!(verified, Some((Timestamp::parse(at).unwrap(), 50)));
    })
    .await;
}

#[tokio::test]
async fn a_day_without_sessions_has_none_that_arrived_in_open_hours() {
    on_both(|database| async move {
        filled(&database).await;
        let empty = "opened = 0 and opened_open is null";
        assert_eq!(database.count("report_daily", empty).await, 0);
        assert!(database.count("report_daily", "opened = 0").await > 0);
        // Without hours nobody knows.
        let store = &database.store;
        let closed = Settings::of_zone(chrono_tz::America::Sao_Paulo);
        store.keep_reports(&closed, now()).await.unwrap();
        let known = "opened_open is not null";
        assert_eq!(database.count("report_daily", known).await, 0);
    })
    .await;
}

#[tokio::test]
async fn amounts_that_are_none_hide_no_other_figure() {
    on_both(|database| async move {
        filled(&database).await;
        let won = "classification_category = 'WON' and classification_amount is not null";
        let ids = format!("select cast(id as text) from sessions where {won} order by id limit 2");
        let ids = database.texts(&ids).await;
        assert_eq!(ids.len(), 2);
        let sum = "select cast(count(*) as text) from report_agents where amount_won > 0";
        let before = database.text(sum).await;
        for id in ids {
            let absurd = format!(
                "update sessions set classification_amount = 1.7e308 where cast(id as text) = '{id}'"
            );
            database.execute(&absurd).await;
        }
        for view in ["report_sessions", "report_daily", "report_agents", "report_campaigns"] {
            assert!(database.count(view, "amount_won is not null").await > 0, "{view}");
            assert_eq!(database.count(view, "amount_won > 1e300").await, 0, "{view}");
        }
        assert!(before.parse::<u32>().unwrap() > 0);
    })
    .await;
}
