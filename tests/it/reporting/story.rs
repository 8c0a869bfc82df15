//! One story through all views: reopened, removed, hidden, of a group, unknown, without times, with
//! negative ones, and in the future.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::account::{Session, company, id, insert};
use super::rows::{all, same_on_both, views};
use super::{now, settings};

fn sessions() -> Vec<Session> {
    let day = |text: &str| format!("2026-06-{text}.000000Z");
    let plain = |number: u128, created: &str| {
        Session::new(number)
            .with("number", 100 + number)
            .with("created_at", day(created))
            .with("channel_id", id(300))
            .with("type", "INDIVIDUAL")
    };
    let closed = |number: u128, created: &str, end: &str| {
        plain(number, created)
            .with("status", "COMPLETED")
            .with("end_at", day(end))
    };
    vec![
        // Answered in office hours, won, and back within a week.
        closed(1, "08T13:00:00", "08T14:00:00")
            .with("first_response_at", "2026-06-08T13:04:59.900000Z")
            .with("contact_id", id(500))
            .with("department_id", id(200))
            .with("user_id", id(100))
            .with_number("time_wait_seconds", 299)
            .with_number("time_service_seconds", 3_301)
            .with("classification_category", "WON")
            .with_number("classification_amount", 150.5),
        // The same contact again, at night, over midnight, lost.
        closed(2, "13T02:30:00", "15T12:00:00")
            .with("first_response_at", "2026-06-15T11:30:00.000000Z")
            .with("contact_id", id(500))
            .with("department_id", id(201))
            .with("user_id", id(101))
            .with_number("time_wait_seconds", 0)
            .with("classification_category", "LOST")
            .with_number("classification_amount", 99),
        // Lost in the queue; closed by an agent without an answer; with the bot alone; with nobody.
        closed(3, "16T12:00:00", "16T13:00:00").with("department_id", id(200)),
        closed(4, "16T12:00:00", "16T13:00:00").with("user_id", id(100)),
        closed(5, "16T12:00:00", "16T12:01:00").with("bot_id", id(900)),
        closed(6, "16T12:00:00", "16T12:01:00").with("classification_category", "Etc"),
        // It was reopened: no end any more.
        plain(7, "17T12:00:00")
            .with("status", "IN_PROGRESS")
            .with("user_id", id(100))
            .with("contact_id", id(501))
            .with("last_message_in", day("20T14:00:00"))
            .with("last_message_out", day("20T13:00:00"))
            .with("window_status", "ACTIVE")
            .with_number("unread_count", 2),
        // Answers and ends before it began; closed without an end.
        closed(8, "17T12:00:00", "17T11:00:00").with("first_response_at", day("17T11:59:00")),
        plain(9, "17T12:00:00").with("status", "COMPLETED"),
        // What no figure counts.
        closed(10, "17T12:00:00", "17T13:00:00").with("removed_at", day("18T00:00:00")),
        plain(11, "17T12:00:00").with("status", "HIDDEN"),
        closed(12, "17T12:00:00", "17T13:00:00").with("type", "GROUP"),
        Session::new(13),
        // Neither open nor closed.
        plain(14, "17T12:00:00").with("status", "SNOOZED"),
        // In the queue and late; with the bot, of the future.
        plain(15, "20T02:00:00")
            .with("status", "PENDING")
            .with("department_id", id(200)),
        plain(16, "21T12:00:00")
            .with("status", "STARTED")
            .with("bot_id", id(900)),
    ]
}

#[tokio::test]
async fn one_story_is_told_alike_by_all_views() {
    let told = same_on_both(|database| async move {
        company(&database).await;
        insert(&database, &sessions(), &[(1, 0), (1, 1), (2, 1), (10, 2)]).await;
        let mut settings = settings();
        settings.targets.service = None;
        database.store.keep_reports(&settings, now()).await.unwrap();
        let since = "update report_settings set changes_since = '2026-06-10T00:00:00.000000Z'; \
                     update accounts set created_at = '2026-06-12T00:00:00.000000Z';";
        database.execute(since).await;
        let change = |seq: u32, field: &str, old: &str, new: &str, at: &str| {
            format!(
                "insert into session_changes values ('{}', {seq}, '{field}', '{old}', '{new}', \
                 '2026-06-{at}:00.000000Z', 1, 1);",
                id(1_000_007)
            )
        };
        let (rui, eva) = (id(100).to_string(), id(101).to_string());
        let changes = [
            change(5, "status", "PENDING", "IN_PROGRESS", "17T12:10"),
            change(6, "status", "IN_PROGRESS", "COMPLETED", "17T13:00"),
            change(7, "status", "COMPLETED", "PENDING", "18T09:00"),
            change(7, "end_at", "2026-06-17T12:59:30.000000Z", "", "18T09:00"),
            change(8, "status", "PENDING", "IN_PROGRESS", "18T09:30"),
            change(8, "user_id", &eva, &rui, "18T09:30"),
        ];
        database.execute(&changes.join("\n")).await;
        all(&database).await
    })
    .await;
    let columns: BTreeMap<&str, Vec<&str>> = views().iter().cloned().collect();
    let shown: BTreeMap<&str, Vec<Map<String, Value>>> = told
        .into_iter()
        .map(|(view, rows)| {
            let place = |name: &str| columns[view].iter().position(|column| *column == name);
            // Days on which nothing happened tell nothing.
            let says = |row: &Vec<Value>| {
                let quiet = |name| {
                    place(name).is_none_or(|at| row[at].is_null() || row[at].as_f64() == Some(0.0))
                };
                !view.starts_with("report_daily") && view != "report_backlog_daily"
                    || view == "report_daily_times"
                    || !quiet("opened")
                    || !quiet("completed")
            };
            let rows = rows.into_iter().filter(says).map(|row| {
                let fields = columns[view]
                    .iter()
                    .map(|&column| column.to_owned())
                    .zip(row);
                fields.filter(|(_, value)| !value.is_null()).collect()
            });
            (view, rows.collect())
        })
        .collect();
    insta::assert_json_snapshot!(shown);
}
