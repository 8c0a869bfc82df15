//! A fresh database of each kind, for one test.
//!
//! Postgres is that of `TEST_POSTGRES_URL`, the address of a superuser; a test that finds none
//! fails, since half of what it says would not be shown.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::str::FromStr;
use std::time::Duration;

use futures::FutureExt as _;
use helena_sync::store::{OpenOptions, Store};
use sqlx::postgres::PgConnectOptions;
use sqlx::{
    AssertSqlSafe, Column, ConnectOptions, Connection, PgConnection, Row as _, SqliteConnection,
};
use uuid::Uuid;

use super::proxy::Proxy;
use super::template;

/// Which database a story runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
}

/// A database with its tables made, open.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    pub(crate) kind: Kind,
    pub(crate) url: String,
    pub(crate) store: Store,
}

/// Tells a story on both databases, each fresh, one after the other.
pub(crate) async fn on_both<F, Fut>(story: F)
where
    F: Fn(Database) -> Fut,
    Fut: Future<Output = ()>,
{
    on_sqlite(&story).await;
    on_postgres(&story).await;
}

/// Tells a story on SQLite alone, where telling it often matters more than telling it twice.
pub(crate) async fn on_sqlite<F, Fut>(story: F)
where
    F: FnOnce(Database) -> Fut,
    Fut: Future<Output = ()>,
{
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mirror.db");
    template::copy_to(&file).await;
    let url = format!("sqlite://{}", file.display());
    let database = open(Kind::Sqlite, url).await;
    let opened = database.store.clone();
    // Boxed: a story may be larger than a test's stack has room for.
    Box::pin(story(database)).await;
    opened.close().await;
}

/// Tells a story on Postgres alone.
///
/// The story need not be `Send`: a task of its own would need that, and to prove it for each story took the
/// compiler longer than everything else about the tests.
pub(crate) async fn on_postgres<F, Fut>(story: F)
where
    F: FnOnce(Database) -> Fut,
    Fut: Future<Output = ()>,
{
    let (mut admin, url) = create_from(template::name().await.as_deref()).await;
    let database = open(Kind::Postgres, url.clone()).await;
    let opened = database.store.clone();
    // The database is dropped even if the story fails.
    let told = AssertUnwindSafe(Box::pin(story(database)))
        .catch_unwind()
        .await;
    if told.is_ok() {
        opened.close().await;
    }
    drop(&mut admin, &url).await;
    if let Err(panic) = told {
        std::panic::resume_unwind(panic);
    }
}

/// Tells a story on a database of one kind.
pub(crate) async fn on_one<F, Fut>(kind: Kind, story: F)
where
    F: FnOnce(Database) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    match kind {
        Kind::Sqlite => on_sqlite(story).await,
        Kind::Postgres => on_postgres(story).await,
    }
}

/// Tells a story on a Postgres that is reached through a proxy, and waited for only so long.
pub(crate) async fn through_a_proxy<F, Fut>(patience: Duration, story: F)
where
    F: FnOnce(Database, Proxy) -> Fut,
    Fut: Future<Output = ()>,
{
    let (mut admin, url) = create_from(template::name().await.as_deref()).await;
    let mut behind = url::Url::parse(&url).unwrap();
    let server = format!(
        "{}:{}",
        behind.host_str().unwrap(),
        behind.port().unwrap_or(5432)
    );
    let proxy = Proxy::to(server).await;
    behind.set_host(Some("127.0.0.1")).unwrap();
    behind.set_port(Some(proxy.port())).unwrap();
    let mut database = open(Kind::Postgres, behind.to_string()).await;
    // Looking into the database is nothing that the proxy should see.
    database.url.clone_from(&url);
    database.store = database.store.with_patience(patience);
    let opened = database.store.clone();
    Box::pin(story(database, proxy)).await;
    opened.close().await;
    drop(&mut admin, &url).await;
}

/// Drops what [`create`] created, whoever is still connected.
pub(crate) async fn drop(admin: &mut PgConnection, url: &str) {
    let name = url.rsplit('/').next().unwrap();
    sqlx::query(AssertSqlSafe(format!(
        "drop database \"{name}\" with (force)"
    )))
    .execute(admin)
    .await
    .unwrap();
}

pub(crate) async fn open(kind: Kind, url: String) -> Database {
    let store = Store::open(&url, &OpenOptions::default()).await.unwrap();
    store.migrate().await.unwrap();
    Database { kind, url, store }
}

/// An empty Postgres database: a connection that can drop it, and its address.
pub(crate) async fn create() -> (PgConnection, String) {
    create_from(None).await
}

/// A Postgres database that is a copy of another one, or empty.
async fn create_from(template: Option<&str>) -> (PgConnection, String) {
    create_copy_on(&admin_url(), template).await
}

/// The address of a superuser.
pub(super) fn admin_url() -> String {
    std::env::var("TEST_POSTGRES_URL").expect(
        "TEST_POSTGRES_URL is not set: start a Postgres and set it to the address of a superuser, \
         for example postgres://postgres@127.0.0.1:5432/postgres",
    )
}

/// An empty Postgres database on the server of this address of a superuser.
pub(crate) async fn create_on(admin_url: &str) -> (PgConnection, String) {
    create_copy_on(admin_url, None).await
}

async fn create_copy_on(admin_url: &str, template: Option<&str>) -> (PgConnection, String) {
    let options = PgConnectOptions::from_str(admin_url).unwrap();
    let mut admin = PgConnection::connect_with(&options).await.unwrap();
    let name = format!("helena_test_{}", Uuid::new_v4().simple());
    let template = template.map_or_else(String::new, |name| format!(" template \"{name}\""));
    sqlx::query(AssertSqlSafe(format!(
        "create database \"{name}\"{template}"
    )))
    .execute(&mut admin)
    .await
    .unwrap();
    let url = options.database(&name).to_url_lossy();
    (
        admin,
        format!("{}://{}", url.scheme(), address(&url, &name)),
    )
}

/// User, password, host, port and database, without any of the driver's own options.
pub(super) fn address(url: &url::Url, name: &str) -> String {
    let password = url
        .password()
        .map(|password| format!(":{password}"))
        .unwrap_or_default();
    format!(
        "{}{password}@{}:{}/{name}",
        url.username(),
        url.host_str().unwrap_or("localhost"),
        url.port().unwrap_or(5432)
    )
}

impl Database {
    /// Runs statements beside the store, on a connection of their own.
    pub(crate) async fn execute(&self, sql: &str) {
        let sql = AssertSqlSafe(sql.to_owned());
        match self.kind {
            Kind::Sqlite => {
                let mut connection = SqliteConnection::connect(&self.url).await.unwrap();
                sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
                connection.close().await.unwrap();
            }
            Kind::Postgres => {
                let mut connection = PgConnection::connect(&self.url).await.unwrap();
                sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
                connection.close().await.unwrap();
            }
        }
    }

    /// The one text column of a query's rows; null is `-`.
    pub(crate) async fn texts(&self, sql: &str) -> Vec<String> {
        let sql = AssertSqlSafe(sql.to_owned());
        let rows: Vec<Option<String>> = match self.kind {
            Kind::Sqlite => {
                let mut connection = SqliteConnection::connect(&self.url).await.unwrap();
                sqlx::query_scalar(sql)
                    .fetch_all(&mut connection)
                    .await
                    .unwrap()
            }
            Kind::Postgres => {
                let mut connection = PgConnection::connect(&self.url).await.unwrap();
                sqlx::query_scalar(sql)
                    .fetch_all(&mut connection)
                    .await
                    .unwrap()
            }
        };
        rows.into_iter()
            .map(|text| text.unwrap_or_else(|| "-".to_owned()))
            .collect()
    }

    /// The names of a query's columns. The query must have a row.
    pub(crate) async fn columns(&self, sql: &str) -> Vec<String> {
        fn names<C: Column>(columns: &[C]) -> Vec<String> {
            columns.iter().map(|one| one.name().to_owned()).collect()
        }
        let sql = AssertSqlSafe(sql.to_owned());
        match self.kind {
            Kind::Sqlite => {
                let mut connection = SqliteConnection::connect(&self.url).await.unwrap();
                names(
                    sqlx::query(sql)
                        .fetch_one(&mut connection)
                        .await
                        .unwrap()
                        .columns(),
                )
            }
            Kind::Postgres => {
                let mut connection = PgConnection::connect(&self.url).await.unwrap();
                names(
                    sqlx::query(sql)
                        .fetch_one(&mut connection)
                        .await
                        .unwrap()
                        .columns(),
                )
            }
        }
    }

    /// The steps of a plan that SQLite explains.
    pub(crate) async fn plan(&self, sql: &str) -> Vec<String> {
        let mut connection = SqliteConnection::connect(&self.url).await.unwrap();
        let sql = AssertSqlSafe(sql.to_owned());
        let rows: Vec<(i64, i64, i64, String)> = sqlx::query_as(sql)
            .fetch_all(&mut connection)
            .await
            .unwrap();
        rows.into_iter().map(|(.., step)| step).collect()
    }

    /// The one text of a query.
    pub(crate) async fn text(&self, sql: &str) -> String {
        self.texts(sql).await.join("|")
    }

    /// How many rows of a table fulfil a condition.
    pub(crate) async fn count(&self, table: &str, condition: &str) -> i64 {
        let sql = format!("select cast(count(*) as text) from {table} where {condition}");
        self.text(&sql).await.parse().unwrap()
    }
}
