//! Databases whose tables are made once for all tests of a build, and copied by each.
//!
//! To make all tables takes most of the time of a short test. A template belongs to the program that the
//! tests are linked with: another build makes its own.

use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::time::{Duration, UNIX_EPOCH};

use helena_sync::store::{OpenOptions, Store};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection};
use uuid::Uuid;

use super::database::{address, admin_url};

const HOUR: Duration = Duration::from_hours(1);

/// Names the build: the time and size of the program of the tests.
fn build() -> String {
    let program = std::env::current_exe().unwrap();
    let metadata = program.metadata().unwrap();
    let made = metadata.modified().unwrap();
    let made = made.duration_since(UNIX_EPOCH).unwrap().as_nanos();
    format!("{made:x}_{:x}", metadata.len())
}

async fn migrate(url: &str) {
    let store = Store::open(url, &OpenOptions::default()).await.unwrap();
    store.migrate().await.unwrap();
    store.close().await;
}

/// Copies the SQLite file with all tables to this place.
pub(crate) async fn copy_to(file: &Path) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let template = folder.join(format!("template_{}.db", build()));
    if !template.exists() {
        let making = folder.join(format!("making_{}.db", Uuid::new_v4().simple()));
        migrate(&format!("sqlite://{}", making.display())).await;
        // Those of other builds, and what a test left that was killed here.
        for entry in std::fs::read_dir(&folder).unwrap().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let age = entry.metadata().and_then(|file| file.modified());
            let is_old = age.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > HOUR));
            if name.starts_with("template_") || name.starts_with("making_") && is_old {
                let _ = std::fs::remove_file(entry.path());
            }
        }
        // Several tests may come here at once: the last one's stays.
        std::fs::rename(making, &template).unwrap();
    }
    if std::fs::copy(&template, file).is_err() {
        // Another test has just removed it, to put its own there.
        migrate(&format!("sqlite://{}", file.display())).await;
    }
}

/// The Postgres database with all tables, if the server is there for this run of the tests alone:
/// nothing is to be left on another one.
pub(crate) async fn name() -> Option<String> {
    std::env::var_os("TEST_POSTGRES_CONTROL")?;
    let template = format!("helena_template_{}", build());
    let options = PgConnectOptions::from_str(&admin_url()).unwrap();
    let mut admin = PgConnection::connect_with(&options).await.unwrap();
    let exists = format!("select exists (select 1 from pg_database where datname = '{template}')");
    let exists = || sqlx::query_scalar::<_, bool>(AssertSqlSafe(exists.clone()));
    if !exists().fetch_one(&mut admin).await.unwrap() {
        run(&mut admin, "select pg_advisory_lock(1)").await; // Of this database alone.
        if !exists().fetch_one(&mut admin).await.unwrap() {
            let making = format!("helena_making_{}", Uuid::new_v4().simple());
            run(&mut admin, &format!("create database \"{making}\"")).await;
            let url = options.database(&making).to_url_lossy();
            migrate(&format!("{}://{}", url.scheme(), address(&url, &making))).await;
            run(
                &mut admin,
                &format!("alter database \"{making}\" rename to \"{template}\""),
            )
            .await;
        }
    }
    // This ends the lock, too.
    admin.close().await.unwrap();
    Some(template)
}

async fn run(connection: &mut PgConnection, sql: &str) {
    let sql = AssertSqlSafe(sql.to_owned());
    sqlx::raw_sql(sql).execute(connection).await.unwrap();
}
