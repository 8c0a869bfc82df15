//! Whether a database holds what an account shows.

use std::collections::BTreeSet;

use helena_sync::data::Timestamp;
use helena_sync::sandbox::Sandbox;
use serde_json::Value;

use super::program::Place;
use crate::support::database::{Database, Kind};

/// Expects that the place's database holds exactly what the account shows.
pub(crate) async fn assert_perfect(place: &Place, sandbox: &Sandbox) {
    let database = place.database().await;
    let differences = differences(&database, sandbox, "default").await;
    database.store.close().await;
    assert!(differences.is_empty(), "{differences:#?}");
}

/// Every record that only one side has, in the form in which they are compared.
pub(crate) async fn differences(
    database: &Database,
    sandbox: &Sandbox,
    account: &str,
) -> Vec<String> {
    let mine = format!("(select id from accounts where name = '{account}')");
    let at = |column: &str| match database.kind {
        Kind::Sqlite => column.to_owned(),
        Kind::Postgres => {
            format!("to_char({column} at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
        }
    };
    let id = |column: &str| format!("coalesce(cast({column} as text), '-')");
    let sessions = format!(
        "select {} || ' ' || {} || ' ' || status || ' ' || {} || ' ' || {} || ' ' || {} || ' ' || {}
         from sessions where account_id = {mine} and removed_at is null",
        id("id"),
        at("updated_at"),
        id("contact_id"),
        id("channel_id"),
        id("department_id"),
        id("user_id"),
    );
    let contacts = format!(
        "select {} || ' ' || {} || ' ' || status || ' ' || coalesce(name, '-')
         from contacts where account_id = {mine} and removed_at is null and created_at is not null",
        id("id"),
        at("updated_at"),
    );
    let contact_tags = format!(
        "select {} || ' has ' || {} from contact_tags where account_id = {mine}",
        id("contact_id"),
        id("tag_id"),
    );
    let named = |table: &str, name: &str| {
        format!(
            "select '{table} ' || {} || ' ' || coalesce({name}, '-') from {table}
             where account_id = {mine} and removed_at is null and updated_at is not null",
            id("id"),
        )
    };
    let queries = [
        sessions,
        contacts,
        contact_tags,
        named("tags", "name"),
        named("channels", "identity_display_name"),
        named("departments", "name"),
        named("agents", "name"),
    ];
    let mut stored = BTreeSet::new();
    for query in &queries {
        stored.extend(database.texts(query).await);
    }
    let truth = truth(sandbox);
    let missing = truth
        .difference(&stored)
        .map(|line| format!("missing: {line}"));
    let wrong = stored
        .difference(&truth)
        .map(|line| format!("wrong: {line}"));
    missing.chain(wrong).take(20).collect()
}

fn truth(sandbox: &Sandbox) -> BTreeSet<String> {
    let mut account = sandbox.account();
    let mut truth = BTreeSet::new();
    for session in account.truth_sessions() {
        truth.insert(format!(
            "{} {} {} {} {} {} {}",
            text(&session, "/id"),
            instant(&session, "/updatedAt"),
            text(&session, "/status"),
            text(&session, "/contactId"),
            text(&session, "/channelId"),
            text(&session, "/departmentId"),
            text(&session, "/userId"),
        ));
    }
    for contact in account.truth_contacts() {
        let id = text(&contact, "/id");
        truth.insert(format!(
            "{id} {} {} {}",
            instant(&contact, "/updatedAt"),
            text(&contact, "/status"),
            text(&contact, "/name"),
        ));
        for tag in contact["tagIds"].as_array().into_iter().flatten() {
            truth.insert(format!("{id} has {}", tag.as_str().unwrap()));
        }
    }
    for (table, name, records) in [
        ("tags", "/name", account.truth_tags()),
        (
            "channels",
            "/identity/displayName",
            account.truth_channels(),
        ),
        ("departments", "/name", account.truth_departments()),
        ("agents", "/name", account.truth_agents()),
    ] {
        for record in records {
            let (id, name) = (text(&record, "/id"), text(&record, name));
            truth.insert(format!("{table} {id} {name}"));
        }
    }
    truth
}

fn text(record: &Value, path: &str) -> String {
    let text = record.pointer(path).and_then(Value::as_str);
    text.unwrap_or("-").to_owned()
}

fn instant(record: &Value, path: &str) -> String {
    Timestamp::parse(&text(record, path)).unwrap().to_string()
}
