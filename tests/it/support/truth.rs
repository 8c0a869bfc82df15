//! Whether a database is what the simulated account holds: every row, every column, every link, and
//! nothing else.
//!
//! What is expected is made from the account's own JSON and from the names of the database's
//! columns alone, so that a mistake of the mapping cannot excuse itself.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use helena_sync::data::Timestamp;
use helena_sync::sandbox::SandboxAccount;
use helena_sync::store::AccountId;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::database::{Database, Kind};

/// The tables of records, and their keys.
pub(crate) const TABLES: [(&str, &str); 11] = [
    ("sessions", "id"),
    ("contacts", "id"),
    ("tags", "id"),
    ("channels", "id"),
    ("departments", "id"),
    ("agents", "user_id"),
    ("custom_fields", "id"),
    ("chatbots", "id"),
    ("templates", "id"),
    ("portfolios", "id"),
    ("office_hours", "day_week"),
];

/// Columns that hold JSON.
const JSON: [&str; 15] = [
    "options",
    "channel_ids",
    "automation_usage",
    "params",
    "limit_hours",
    "extra",
    "metadata",
    "custom_fields",
    "portfolio_ids",
    "portfolio_names",
    "distribution_config",
    "direct_links",
    "agents",
    "channels",
    "departments",
];

/// Columns that the store keeps for itself.
const OWN: [&str; 9] = [
    "account_id",
    "run_id",
    "synced_at",
    "change_seq",
    "removed_at",
    "content_hash",
    "observed_at",
    "tags_hash",
    // The database computes it.
    "phone_key",
];

/// What numbers with a point begin with, where they are read from `SQLite` as texts.
const REAL: &str = "real:";

/// Fields of a session that are other tables' rows.
const DETAILS: [(&str, &str, &str); 4] = [
    ("contactDetails", "contacts", "contactId"),
    ("channelDetails", "channels", "channelId"),
    ("departmentDetails", "departments", "departmentId"),
    ("agentDetails", "agents", "userId"),
];

type Row = BTreeMap<String, Value>;
type Rows = BTreeMap<String, Row>;

/// What an account holds.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    tables: BTreeMap<&'static str, Vec<Value>>,
}

/// What is compared.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a question of its own"
)]
pub(crate) struct Scope {
    /// Whether the contacts' own listing was read.
    pub(crate) contacts: bool,
    /// Whether the tags of sessions must be those of their contacts now.
    pub(crate) session_tags: bool,
    /// Whether the sessions were read from the list's second version, as is usual: it alone knows
    /// `type`.
    pub(crate) session_types: bool,
    /// Whether what the platform no longer lists was asked for since.
    pub(crate) was_asked: bool,
    /// Records that are looked at elsewhere.
    pub(crate) except: HashSet<String>,
    /// Sessions that were shown and are gone. What they alone told of other records stays.
    pub(crate) gone: Vec<Value>,
}

impl Default for Scope {
    fn default() -> Self {
        Self {
            contacts: true,
            session_tags: true,
            session_types: true,
            was_asked: false,
            except: HashSet::new(),
            gone: Vec::new(),
        }
    }
}

impl Scope {
    /// For an account that changed while it was read: contacts are retagged after their sessions
    /// were read.
    pub(crate) fn of_churn() -> Self {
        Self {
            session_tags: false,
            ..Self::default()
        }
    }
}

impl Truth {
    /// Everything that is visible now.
    pub(crate) fn of(account: &mut SandboxAccount) -> Self {
        let tables = BTreeMap::from([
            ("sessions", account.truth_sessions()),
            ("contacts", account.truth_contacts()),
            ("tags", account.truth_tags()),
            ("channels", account.truth_channels()),
            ("departments", account.truth_departments()),
            ("agents", account.truth_agents()),
            ("custom_fields", account.truth_custom_fields()),
            ("chatbots", account.truth_chatbots()),
            ("templates", account.truth_templates()),
            ("portfolios", account.truth_portfolios()),
            ("office_hours", account.truth_office_hours()),
        ]);
        Self { tables }
    }

    /// The session of an id.
    pub(crate) fn session(&self, id: Uuid) -> Option<&Value> {
        let id = id.to_string();
        self.tables["sessions"]
            .iter()
            .find(|it| text(&it["id"]) == id)
    }

    /// The ids of all of it, as far as they are uuids.
    pub(crate) fn ids(&self) -> impl Iterator<Item = Uuid> {
        let records = self.tables.values().flatten();
        records.filter_map(|record| Uuid::parse_str(record["id"].as_str()?).ok())
    }

    /// The contacts that sessions name.
    pub(crate) fn contacts_of_sessions(&self) -> HashSet<Uuid> {
        let named = |session: &Value| Uuid::parse_str(session["contactId"].as_str()?).ok();
        self.tables["sessions"].iter().filter_map(named).collect()
    }
}

/// Fails with the first differences, if there are any.
pub(crate) async fn assert_mirrors(
    database: &Database,
    account: AccountId,
    truth: &Truth,
    scope: &Scope,
) {
    let found = differences(database, account, truth, scope).await;
    let shown = found
        .iter()
        .take(12)
        .cloned()
        .collect::<Vec<_>>()
        .join("\n");
    assert!(
        found.is_empty(),
        "{} differences on {:?}:\n{shown}",
        found.len(),
        database.kind
    );
}

/// Everything that is not as it should be.
pub(crate) async fn differences(
    database: &Database,
    account: AccountId,
    truth: &Truth,
    scope: &Scope,
) -> Vec<String> {
    let mut found = Vec::new();
    let mut stored = BTreeMap::new();
    for (table, key) in TABLES {
        stored.insert(table, rows(database, account, table, key, &mut found).await);
    }
    let mut details = BTreeMap::new();
    let known = |session: &&Value| !scope.except.contains(&text(&session["id"]));
    let sessions = truth.tables["sessions"].iter().filter(known);
    for session in scope.gone.iter().chain(sessions) {
        for (field, table, reference) in DETAILS {
            if session[field].is_object() {
                details.insert((table, text(&session[reference])), &session[field]);
            }
        }
    }
    // What a session tells that is looked at elsewhere may be known, or not.
    let mut perhaps: BTreeMap<_, Vec<&Value>> = BTreeMap::new();
    let others = truth.tables["sessions"].iter();
    for session in others.filter(|session| !known(session)) {
        for (field, table, reference) in DETAILS {
            if session[field].is_object() {
                let of = (table, text(&session[reference]));
                perhaps.entry(of).or_default().push(&session[field]);
            }
        }
    }
    for (table, key) in TABLES {
        if table == "contacts" && !scope.contacts {
            continue;
        }
        let columns = columns(database, table).await;
        let rows = &stored[table];
        let mut seen = BTreeSet::new();
        for record in &truth.tables[table] {
            let id = text(&record[camel(key)]);
            seen.insert(id.clone());
            if scope.except.contains(&id) {
                continue;
            }
            let mut expected = flat(table, record, &columns);
            if let Some(detail) = details.get(&(table, id.clone())) {
                let detail = flat(&format!("{table} of sessions"), detail, &columns);
                for (column, value) in detail {
                    if expected.get(&column).is_none_or(Value::is_null) && column != "extra" {
                        expected.insert(column, value);
                    }
                }
            }
            expected.insert("removed_at".to_owned(), Value::Null);
            let Some(row) = rows.get(&id) else {
                found.push(format!("{table} {id} is missing"));
                continue;
            };
            for (column, actual) in row {
                // Opening hours have no id on the platform; theirs is made.
                let made = table == "office_hours" && column == "id";
                let own = made || OWN.contains(&column.as_str()) && column != "removed_at";
                let expected = expected.get(column).unwrap_or(&Value::Null);
                let optional = column == "type" && !scope.session_types;
                let unknown = optional && actual.is_null();
                let told = perhaps.get(&(table, id.clone())).into_iter().flatten();
                let is_told = |detail: &&Value| {
                    let detail = flat(&format!("{table} of sessions"), detail, &columns);
                    detail.get(column).is_some_and(|told| same(told, actual))
                };
                let unknown = unknown || expected.is_null() && told.copied().any(|it| is_told(&it));
                if !own && !unknown && !same(expected, actual) {
                    found.push(format!(
                        "{table} {id} {column}: {actual} where {expected} is true"
                    ));
                }
            }
        }
        for (id, row) in rows {
            if !seen.contains(id) && !scope.except.contains(id) {
                surplus(table, id, row, (&stored, scope), &mut found);
            }
        }
    }
    links(database, account, truth, scope, &mut found).await;
    orphans(database, account, &mut found).await;
    found
}

/// A row that the account does not show may be there as what is gone, or as what a session or a
/// contact refers to.
fn surplus(
    table: &'static str,
    id: &str,
    row: &Row,
    (stored, scope): (&BTreeMap<&'static str, Rows>, &Scope),
    found: &mut Vec<String>,
) {
    if !row["removed_at"].is_null() {
        return;
    }
    let reference = match table {
        "contacts" => "contact_id",
        "channels" => "channel_id",
        "departments" => "department_id",
        "agents" => "user_id",
        _ => "",
    };
    let named = stored["sessions"]
        .values()
        .any(|session| session.get(reference).is_some_and(|value| value == id));
    // What is no list is not known to be gone before somebody asks for it.
    if table != "contacts" || !named || scope.was_asked {
        found.push(format!(
            "{table} {id} is stored and not gone, but nobody shows it"
        ));
    }
}

/// Tags of contacts and of sessions.
async fn links(
    database: &Database,
    account: AccountId,
    truth: &Truth,
    scope: &Scope,
    found: &mut Vec<String>,
) {
    let mut compare =
        |what: &str, owner: &str, expected: BTreeSet<String>, actual: BTreeSet<String>| {
            if expected != actual {
                found.push(format!(
                    "tags of {what} {owner}: {actual:?} where {expected:?} is true"
                ));
            }
        };
    let set = |value: &Value| -> BTreeSet<String> {
        value.as_array().into_iter().flatten().map(text).collect()
    };
    if scope.contacts {
        let mut stored = pairs(database, account, "contact_tags", "contact_id").await;
        for contact in &truth.tables["contacts"] {
            let id = text(&contact["id"]);
            let actual = stored.remove(&id).unwrap_or_default();
            if !scope.except.contains(&id) {
                compare("contact", &id, set(&contact["tagIds"]), actual);
            }
        }
    }
    if scope.session_tags {
        let mut stored = pairs(database, account, "session_tags", "session_id").await;
        for session in &truth.tables["sessions"] {
            let id = text(&session["id"]);
            let actual = stored.remove(&id).unwrap_or_default();
            if !scope.except.contains(&id) {
                let expected = set(&session["contactDetails"]["tagsId"]);
                compare("session", &id, expected, actual);
            }
        }
    }
}

/// What must never be: rows of runs that were not recorded, and runs that nobody ended.
async fn orphans(database: &Database, account: AccountId, found: &mut Vec<String>) {
    for (table, _) in TABLES {
        let condition = format!(
            "account_id = {} and run_id not in (select id from sync_runs)",
            account.0
        );
        let count = database.count(table, &condition).await;
        if count > 0 {
            found.push(format!("{count} rows of {table} name no recorded run"));
        }
    }
    let condition = format!("account_id = {} and outcome is null", account.0);
    let count = database.count("sync_runs", &condition).await;
    if count > 0 {
        found.push(format!(
            "{count} runs are recorded as if they were still going on"
        ));
    }
}

async fn columns(database: &Database, table: &str) -> Vec<String> {
    let sql = match database.kind {
        Kind::Sqlite => format!("select name from pragma_table_info('{table}')"),
        Kind::Postgres => format!(
            "select column_name::text from information_schema.columns where table_name = '{table}'"
        ),
    };
    database.texts(&sql).await
}

/// The rows of a table as JSON, brought into the form that both databases share.
async fn rows(
    database: &Database,
    account: AccountId,
    table: &'static str,
    key: &str,
    found: &mut Vec<String>,
) -> Rows {
    let sql = match database.kind {
        Kind::Sqlite => {
            let fields: Vec<String> = columns(database, table)
                .await
                .iter()
                .map(|column| {
                    // SQLite's own JSON shows 15 digits.
                    format!(
                        "'{column}', case typeof({column}) when 'real' \
                         then '{REAL}' || printf('%!.17g', {column}) else {column} end"
                    )
                })
                .collect();
            format!(
                "select json_object({}) from {table} where account_id = {}",
                fields.join(", "),
                account.0
            )
        }
        Kind::Postgres => format!(
            "select to_jsonb(t)::text from {table} t where account_id = {}",
            account.0
        ),
    };
    let mut rows = Rows::new();
    for line in database.texts(&sql).await {
        let mut row: Row = serde_json::from_str(&line).unwrap();
        for (column, value) in &mut row {
            if let Some(real) = value.as_str().and_then(|text| text.strip_prefix(REAL)) {
                *value = json!(real.parse::<f64>().unwrap());
            }
            if is_time(column) && value.is_string() {
                let shown = text(value);
                let read = Timestamp::parse(&shown).unwrap().to_string();
                if database.kind == Kind::Sqlite && shown != read {
                    found.push(format!("{table}.{column} is written as {shown}"));
                }
                *value = Value::String(read);
            } else if database.kind == Kind::Sqlite
                && JSON.contains(&column.as_str())
                && value.is_string()
            {
                *value = serde_json::from_str(&text(value)).unwrap();
            }
        }
        rows.insert(text(&row[key]), row);
    }
    rows
}

async fn pairs(
    database: &Database,
    account: AccountId,
    table: &str,
    owner: &str,
) -> BTreeMap<String, BTreeSet<String>> {
    let mut pairs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let sql = format!(
        "select cast({owner} as text) || ' ' || cast(tag_id as text) from {table} \
         where account_id = {}",
        account.0
    );
    for line in database.texts(&sql).await {
        let (owner, tag) = line.split_once(' ').unwrap();
        pairs
            .entry(owner.to_owned())
            .or_default()
            .insert(tag.to_owned());
    }
    pairs
}

/// A record as the columns that it should fill; what has no column is extra.
fn flat(table: &str, record: &Value, columns: &[String]) -> Row {
    let mut row = Row::new();
    let mut extra = Map::new();
    for (field, value) in record.as_object().unwrap() {
        match field.as_str() {
            "utm" | "identity" => {
                for (inner, value) in value.as_object().into_iter().flatten() {
                    row.insert(snake(&format!("{field}_{inner}")), value.clone());
                }
            }
            "classification" => {
                for (inner, value) in value.as_object().into_iter().flatten() {
                    row.insert(format!("classification_{}", snake(inner)), value.clone());
                }
            }
            "contactDetails" | "channelDetails" | "departmentDetails" | "agentDetails"
            | "tagIds" | "tagNames" | "tagsId" | "tagsName" => {}
            "timeService" | "timeWait" => {
                let column = snake(field);
                let seconds = value.as_str().map(seconds);
                row.insert(format!("{column}_seconds"), json!(seconds));
                row.insert(column, value.clone());
            }
            "phonenumber" | "phonenumberFormatted" => {
                let column = field
                    .replace("phonenumber", "phone_number")
                    .replace('F', "_f");
                if field == "phonenumber" {
                    row.insert("phone_e164".to_owned(), e164(value));
                }
                row.insert(column, value.clone());
            }
            _ => {
                let column = match table {
                    "channels of sessions" => format!("identity_{}", snake(field)),
                    _ => snake(field),
                };
                if table == "contacts" && field == "phoneNumber" {
                    row.insert("phone_e164".to_owned(), e164(value));
                }
                if !columns.contains(&column) {
                    extra.insert(field.clone(), value.clone());
                } else if is_placeholder(&column, value) {
                    extra.insert(field.clone(), value.clone());
                    row.insert(column, Value::Null);
                } else if is_time(&column) && value.is_string() {
                    // What cannot be read is a reject, and no instant.
                    let at = Timestamp::parse(&text(value)).ok();
                    row.insert(column, json!(at.map(|at| at.to_string())));
                } else {
                    row.insert(column, value.clone());
                }
            }
        }
    }
    if !extra.is_empty() {
        row.insert("extra".to_owned(), Value::Object(extra));
    }
    row
}

/// Whether a value says that there is none, as .NET says it: the nil id, and instants of the year 1.
fn is_placeholder(column: &str, value: &Value) -> bool {
    let Some(text) = value.as_str() else {
        return false;
    };
    (column.ends_with("_id") && text == "00000000-0000-0000-0000-000000000000")
        || (is_time(column) && text.starts_with("0001-"))
}

fn is_time(column: &str) -> bool {
    column.ends_with("_at")
        || [
            "last_interaction_date",
            "last_message_out",
            "last_message_in",
        ]
        .contains(&column)
}

fn seconds(span: &str) -> i64 {
    span.split(':')
        .fold(0, |sum, part| sum * 60 + part.parse::<i64>().unwrap())
}

fn e164(phone: &Value) -> Value {
    json!(phone.as_str().map(|text| text.replace('|', "")))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// `utm_sourceId` as `utm_source_id`.
fn snake(field: &str) -> String {
    let mut snake = String::new();
    for letter in field.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

fn camel(column: &str) -> &str {
    match column {
        "user_id" => "userId",
        "day_week" => "dayWeek",
        other => other,
    }
}

/// Whether two values are the same to somebody who asks the database.
fn same(expected: &Value, actual: &Value) -> bool {
    match (expected, actual) {
        (Value::Bool(expected), Value::Number(actual)) => {
            actual.as_i64() == Some(i64::from(*expected))
        }
        (Value::Number(expected), Value::Number(actual)) => expected.as_f64() == actual.as_f64(),
        (Value::Array(expected), Value::Array(actual)) => {
            expected.len() == actual.len()
                && expected
                    .iter()
                    .zip(actual)
                    .all(|(expected, actual)| same(expected, actual))
        }
        (Value::Object(expected), Value::Object(actual)) => {
            expected.len() == actual.len()
                && expected
                    .iter()
                    .all(|(key, value)| actual.get(key).is_some_and(|other| same(value, other)))
        }
        (expected, actual) => expected == actual,
    }
}

#[test]
fn what_stands_for_nothing_is_null_in_its_column_and_kept_beside_it() {
    let nil = "00000000-0000-0000-0000-000000000000";
    let never = "0001-01-01T00:00:00";
    let record = json!({
        "id": "9b2f6f0e-7a55-4c0c-9d6c-1f6a2b3c4d5e",
        "userId": nil,
        "endAt": never,
        "updatedAt": "04/05/2026 às 15h",
        "title": nil,
    });
    let columns = ["id", "user_id", "end_at", "updated_at", "title"].map(str::to_owned);
    let row = flat("sessions", &record, &columns);
    for column in ["user_id", "end_at", "updated_at"] {
        assert_eq!(row[column], Value::Null, "{column}");
    }
    assert_eq!(row["title"], nil);
    assert_eq!(row["extra"], json!({"userId": nil, "endAt": never}));
}
