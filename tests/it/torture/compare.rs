//! The mirror against the sandbox's truth, row by row and field by field.
//!
//! Written from the API notes and the design alone, so that no mistake of the mapping is shared.

use std::collections::{HashMap, HashSet};

use helena_sync::data::Timestamp;
use helena_sync::sandbox::SandboxAccount;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::database::Target;

/// What a mirror should hold.
pub(super) struct Truth {
    /// The account's name in the mirror.
    pub(super) account: &'static str,
    pub(super) sessions: Vec<Value>,
    pub(super) contacts: Vec<Value>,
    pub(super) tags: Vec<Value>,
    pub(super) channels: Vec<Value>,
    pub(super) departments: Vec<Value>,
    pub(super) agents: Vec<Value>,
    /// Gone from the platform; whether the mirror noticed is another matter.
    pub(super) deleted: HashSet<Uuid>,
}

impl Truth {
    /// What this account shows, and what was deleted from it.
    pub(super) fn of(
        name: &'static str,
        account: &mut SandboxAccount,
        deleted: &HashSet<Uuid>,
    ) -> Self {
        Self {
            account: name,
            sessions: account.truth_sessions(),
            contacts: account.truth_contacts(),
            tags: account.truth_tags(),
            channels: account.truth_channels(),
            departments: account.truth_departments(),
            agents: account.truth_agents(),
            deleted: deleted.clone(),
        }
    }
}

/// Nested objects that are columns of the table, with the table they are in.
const FLAT: [(&str, &str); 4] = [
    ("sessions", "classification"),
    ("sessions", "utm"),
    ("contacts", "utm"),
    ("channels", "identity"),
];

/// Fields that are rows of other tables.
const ELSEWHERE: [&str; 6] = [
    "contactDetails",
    "agentDetails",
    "channelDetails",
    "departmentDetails",
    "tagIds",
    "tagNames",
];

/// Fields that no contract knows, kept as they are in `extra`.
const UNMODELLED: [&str; 6] = [
    "sentimentScore",
    "vendorBeta",
    "scope",
    "qualityRating",
    "icon",
    "capacity",
];

/// Every difference, in words; none if the mirror is perfect.
pub(super) async fn differences(target: &Target, truth: &Truth) -> Vec<String> {
    let mut found = Vec::new();
    for (table, key, field, records) in [
        ("tags", "id", "id", &truth.tags),
        ("channels", "id", "id", &truth.channels),
        ("departments", "id", "id", &truth.departments),
        ("agents", "user_id", "userId", &truth.agents),
        ("contacts", "id", "id", &truth.contacts),
        ("sessions", "id", "id", &truth.sessions),
    ] {
        let mut rows: HashMap<String, Value> = target
            .rows_of(truth.account, table)
            .await
            .into_iter()
            .map(|row| (text(&row[key]).to_owned(), row))
            .collect();
        for record in records {
            let id = text(&record[field]);
            match rows.remove(id) {
                None => found.push(format!("{table} {id}: missing")),
                Some(row) => compare(table, id, record, &row, &mut found),
            }
        }
        // What is left is a placeholder, was removed, or should not be there.
        for (id, row) in rows {
            let placeholder = row["created_at"].is_null();
            let gone = !row["removed_at"].is_null()
                || Uuid::parse_str(&id).is_ok_and(|id| truth.deleted.contains(&id));
            if !placeholder && !gone {
                found.push(format!("{table} {id}: the platform has no such record"));
            }
        }
    }
    found.extend(tag_links(target, truth).await);
    found
}

fn compare(table: &str, id: &str, record: &Value, row: &Value, found: &mut Vec<String>) {
    if !row["removed_at"].is_null() {
        found.push(format!("{table} {id}: marked as removed"));
    }
    for (name, expected) in flat(table, record) {
        let got = row.get(&name).unwrap_or(&Value::Null);
        let expected = if is_placeholder(&name, &expected) {
            Value::Null
        } else {
            expected
        };
        if !same(&expected, got) {
            found.push(format!("{table} {id}: {name} is {got}, not {expected}"));
        }
    }
    let extra: Value = match &row["extra"] {
        Value::String(text) => serde_json::from_str(text).unwrap(),
        value => value.clone(),
    };
    for name in UNMODELLED {
        if !same(&record[name], &extra[name]) {
            found.push(format!("{table} {id}: {name} is not kept"));
        }
    }
}

/// Whether a value says that there is none, as .NET says it.
fn is_placeholder(column: &str, value: &Value) -> bool {
    let is_time = ["_at", "_date", "_in", "_out"]
        .iter()
        .any(|end| column.ends_with(end));
    column.ends_with("_id") && text(value) == "00000000-0000-0000-0000-000000000000"
        || is_time && text(value).starts_with("0001-")
}

/// The columns of a record.
fn flat(table: &str, record: &Value) -> Map<String, Value> {
    let mut columns = Map::new();
    for (name, value) in record.as_object().unwrap() {
        if ELSEWHERE.contains(&name.as_str()) || UNMODELLED.contains(&name.as_str()) {
            continue;
        }
        match value {
            Value::Object(nested) if FLAT.contains(&(table, name.as_str())) => {
                for (inner, value) in nested {
                    columns.insert(format!("{}_{}", snake(name), snake(inner)), value.clone());
                }
            }
            // Without a value the prefixed columns are null, and are not looked at one by one.
            Value::Null if FLAT.contains(&(table, name.as_str())) => {}
            _ => {
                columns.insert(snake(name), value.clone());
            }
        }
    }
    columns
}

/// `nameWhatsapp` as `name_whatsapp`.
fn snake(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

/// Whether a column holds what the field says: instants to the microsecond, numbers by value,
/// booleans as 0 and 1 too, nested JSON also as text.
fn same(expected: &Value, got: &Value) -> bool {
    match (expected, got) {
        (Value::String(expected), Value::String(got)) => {
            let instants = Timestamp::parse(expected)
                .ok()
                .zip(Timestamp::parse(got).ok());
            expected == got || instants.is_some_and(|(expected, got)| expected == got)
        }
        (Value::Number(expected), Value::Number(got)) => {
            let (expected, got) = (expected.as_f64().unwrap(), got.as_f64().unwrap());
            // `SQLite` shows 15 digits.
            (expected - got).abs() <= expected.abs() * 1e-14
        }
        (Value::Bool(expected), Value::Number(got)) => got.as_i64() == Some(i64::from(*expected)),
        (Value::Array(_) | Value::Object(_), Value::String(got)) => {
            serde_json::from_str::<Value>(got).is_ok_and(|got| same(expected, &got))
        }
        (Value::Array(expected), Value::Array(got)) => {
            expected.len() == got.len()
                && expected
                    .iter()
                    .zip(got)
                    .all(|(expected, got)| same(expected, got))
        }
        (Value::Object(expected), Value::Object(got)) => {
            expected.len() == got.len()
                && expected
                    .iter()
                    .all(|(name, value)| got.get(name).is_some_and(|got| same(value, got)))
        }
        _ => expected == got,
    }
}

/// The tags of contacts.
async fn tag_links(target: &Target, truth: &Truth) -> Vec<String> {
    let link = |contact: &Value, tag: &Value| (text(contact).to_owned(), text(tag).to_owned());
    let stored: HashSet<(String, String)> = target
        .rows_of(truth.account, "contact_tags")
        .await
        .iter()
        .map(|row| link(&row["contact_id"], &row["tag_id"]))
        .collect();
    let mut expected = HashSet::new();
    for contact in &truth.contacts {
        for tag in contact["tagIds"].as_array().into_iter().flatten() {
            expected.insert(link(&contact["id"], tag));
        }
    }
    let missing = expected.difference(&stored);
    let missing = missing.map(|(contact, tag)| format!("contact {contact}: tag {tag} is missing"));
    let surplus = stored.difference(&expected);
    let surplus = surplus.map(|(contact, tag)| format!("contact {contact}: tag {tag} is too much"));
    missing.chain(surplus).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
