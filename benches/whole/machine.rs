//! Where the figures come from: machine and versions, in one line.

use sqlx::{Connection as _, PgConnection, SqliteConnection};

/// One line for above the table.
pub(super) async fn describe(postgres: Option<&str>) -> String {
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let model = std::fs::read_to_string("/proc/cpuinfo")
        .unwrap_or_default()
        .lines()
        .find_map(|line| {
            Some(
                line.strip_prefix("model name")?
                    .split_once(':')?
                    .1
                    .trim()
                    .to_owned(),
            )
        })
        .unwrap_or_else(|| "unknown processor".to_owned());
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let postgres = match postgres {
        Some(url) => describe_postgres(url)
            .await
            .unwrap_or_else(|error| error.to_string()),
        None => "no Postgres".to_owned(),
    };
    format!(
        "{processors} × {model}, Linux {}, load {} at the beginning; helena-sync {}, SQLite {}, {postgres}.",
        kernel.trim(),
        load.split_whitespace().next().unwrap_or("unknown"),
        env!("CARGO_PKG_VERSION"),
        describe_sqlite()
            .await
            .unwrap_or_else(|error| error.to_string()),
    )
}

async fn describe_sqlite() -> Result<String, sqlx::Error> {
    let mut connection = SqliteConnection::connect("sqlite::memory:").await?;
    sqlx::query_scalar("select sqlite_version()")
        .fetch_one(&mut connection)
        .await
}

async fn describe_postgres(url: &str) -> Result<String, sqlx::Error> {
    let mut connection = PgConnection::connect(url).await?;
    sqlx::query_scalar(
        "select 'PostgreSQL ' || current_setting('server_version') || ' with fsync ' || \
         current_setting('fsync') || ' and synchronous_commit ' || \
         current_setting('synchronous_commit')",
    )
    .fetch_one(&mut connection)
    .await
}
