//! The rows of views in one form for both databases.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, LazyLock, Mutex};

use helena_sync::data::Timestamp;
use helena_sync::store::{TableMeaning, meanings};
use serde_json::Value;

use crate::support::database::{Database, Kind, on_both};

/// The name of a view, and of its columns.
type View = (&'static str, Vec<&'static str>);

/// The views and their columns.
pub(super) fn views() -> &'static [View] {
    static VIEWS: LazyLock<Vec<View>> = LazyLock::new(|| {
        let views = meanings().into_iter();
        let views = views.filter(|table| table.is_view && table.table.starts_with("report_"));
        let columns = |table: &TableMeaning| table.columns.iter().map(|(name, _)| *name).collect();
        views.map(|table| (table.table, columns(&table))).collect()
    });
    &VIEWS
}

/// The columns of a view.
pub(super) fn columns_of(view: &str) -> &'static [&'static str] {
    let found = views().iter().find(|(name, _)| *name == view);
    &found.unwrap_or_else(|| panic!("there is no view {view}")).1
}

/// The rows of a query, each an array of these columns, sorted as texts.
pub(super) async fn rows(database: &Database, columns: &[&str], from: &str) -> Vec<Vec<Value>> {
    let array = match database.kind {
        Kind::Sqlite => "json_array",
        Kind::Postgres => "json_build_array",
    };
    let sql = format!(
        "select cast({array}({}) as text) from {from}",
        columns.join(", ")
    );
    let mut rows: Vec<Vec<Value>> = database
        .texts(&sql)
        .await
        .iter()
        .map(|text| {
            let row: Vec<Value> = serde_json::from_str(text).unwrap();
            row.into_iter().map(plain).collect()
        })
        .collect();
    rows.sort_by_cached_key(|row| format!("{row:?}"));
    rows
}

/// Instants in the form that SQLite stores.
fn plain(value: Value) -> Value {
    match &value {
        Value::String(text) if text.len() > 10 && text.as_bytes()[10] == b'T' => {
            Timestamp::parse(text).map_or(value, |at| Value::String(at.to_string()))
        }
        Value::Number(number) => {
            // So that 1 and 1.0 are one, and the last digits of quotients do not count.
            let number = number.as_f64().unwrap();
            serde_json::json!((number * 1e6).round() / 1e6)
        }
        _ => value,
    }
}

/// The rows of all views.
pub(super) async fn all(database: &Database) -> BTreeMap<&'static str, Vec<Vec<Value>>> {
    let mut all = BTreeMap::new();
    for (view, columns) in views() {
        all.insert(*view, rows(database, columns, view).await);
    }
    all
}

/// Tells a story on both databases, and compares what it yields.
pub(super) async fn same_on_both<T, F, Fut>(story: F) -> T
where
    T: PartialEq + std::fmt::Debug + Send + Clone + 'static,
    F: Fn(Database) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = T> + Send + 'static,
{
    let told: Arc<Mutex<Vec<T>>> = Arc::default();
    let by = Arc::clone(&told);
    on_both(move |database| {
        let (story, by) = (story.clone(), Arc::clone(&by));
        async move {
            let answer = story(database).await;
            by.lock().unwrap().push(answer);
        }
    })
    .await;
    let told = told.lock().unwrap();
    assert_eq!(told.len(), 2);
    assert_eq!(told[0], told[1], "SQLite and Postgres differ");
    told[0].clone()
}
