//! Whole-process runs: `helena-sync` against a local account, into each database, beside the floor.
//!
//! ```text
//! scripts/bench [--runs COUNT] [SESSIONS]...      20,000 sessions and 3 runs unless given
//! ```
//!
//! The account is served by this process, without limits, on the machine that also runs the
//! program and the database. Every run is a process of its own under `/usr/bin/time`. Prints a
//! Markdown table. Postgres is that of `TEST_POSTGRES_URL`; without it only SQLite is measured.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program of its own"
)]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]

mod floor;
mod machine;
mod process;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use helena_sync::clock::{Clock as _, SystemClock};
use helena_sync::sandbox::{Sandbox, SandboxConfig};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection};

use process::{Program, Watched};

/// Records changed for the pass that finds changes.
const CHANGES: usize = 200;

/// How long before the beginning nothing has changed any more.
const QUIET: Duration = Duration::from_hours(1);

/// Above this the course of a load is shown.
const LARGE: u32 = 50_000;

struct Asked {
    sizes: Vec<u32>,
    runs: usize,
}

impl Asked {
    fn read() -> Result<Self> {
        let mut asked = Self {
            sizes: Vec::new(),
            runs: 3,
        };
        let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
        while let Some(word) = words.next() {
            match word.as_str() {
                "--runs" => asked.runs = words.next().context("--runs COUNT")?.parse()?,
                size => asked.sizes.push(
                    size.replace(['_', ','], "")
                        .parse()
                        .with_context(|| format!("{size:?} is no number of sessions"))?,
                ),
            }
        }
        if asked.sizes.is_empty() {
            asked.sizes.push(20_000);
        }
        ensure!(asked.runs > 0, "--runs 0 measures nothing");
        Ok(asked)
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let asked = Asked::read()?;
    let admin = std::env::var("TEST_POSTGRES_URL").ok();
    println!("{}\n", machine::describe(admin.as_deref()).await);
    println!("| sessions | database | what | | of the floor |");
    println!("|---:|---|---|---:|---:|");
    for &sessions in &asked.sizes {
        let mut databases = vec![Database::Sqlite];
        databases.extend(admin.clone().map(Database::Postgres));
        for database in databases {
            // Each its own account: the changes made for one are not to be found by the next.
            let account = Account::start(sessions).await?;
            measure(&account, &database, asked.runs).await?;
            account.sandbox.stop().await;
        }
    }
    Ok(())
}

/// The account that is loaded, and a folder for what comes of it.
struct Account {
    sandbox: Sandbox,
    sessions: u32,
    folder: tempfile::TempDir,
}

impl Account {
    async fn start(sessions: u32) -> Result<Self> {
        let config = SandboxConfig {
            gzip: true,
            remembered_requests: 100_000,
            // Of an account in use each pass reads the last minutes again, which are as many requests
            // as it is busy.
            until: Some(SystemClock.now() - QUIET),
            ..SandboxConfig::of_size(sessions)
        };
        Ok(Self {
            sandbox: Sandbox::start(config, Arc::new(SystemClock)).await?,
            sessions,
            folder: tempfile::tempdir()?,
        })
    }

    /// Where the SQLite database of this name is.
    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.db"))
    }

    /// Changes records the way agents do: one after the other, each at its own instant.
    fn change(&self, salt: usize) {
        let mut account = self.sandbox.account();
        let ids = account.session_ids();
        let step = (ids.len() / CHANGES).max(1);
        for id in ids
            .into_iter()
            .skip(salt % step)
            .step_by(step)
            .take(CHANGES)
        {
            account.update_session(id, |session| session.unread_count += 1);
        }
    }
}

#[derive(Clone)]
enum Database {
    Sqlite,
    /// The address of a superuser.
    Postgres(String),
}

impl Database {
    const fn name(&self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres(_) => "Postgres",
        }
    }

    /// The address of an empty database.
    async fn fresh(&self, account: &Account, name: &str) -> Result<String> {
        match self {
            Self::Sqlite => {
                let path = account.file(name);
                for end in ["", "-wal", "-shm"] {
                    let _absent = std::fs::remove_file(format!("{}{end}", path.display()));
                }
                Ok(format!("sqlite://{}", path.display()))
            }
            Self::Postgres(admin) => {
                let options = PgConnectOptions::from_str(admin)?;
                let mut admin = PgConnection::connect_with(&options).await?;
                let name = format!("helena_bench_{name}");
                for sql in [
                    format!("drop database if exists {name} with (force)"),
                    format!("create database {name}"),
                ] {
                    sqlx::query(AssertSqlSafe(sql)).execute(&mut admin).await?;
                }
                let mut url = options.to_url_lossy();
                url.set_path(&name);
                url.set_query(None);
                Ok(url.into())
            }
        }
    }

    /// Does now what the server would do in the minutes after a load, while the passes are measured.
    async fn settle(&self, url: &str) -> Result<()> {
        if let Self::Postgres(_) = self {
            let mut connection = PgConnection::connect(url).await?;
            for sql in ["vacuum analyze", "checkpoint"] {
                sqlx::query(sql).execute(&mut connection).await?;
            }
            connection.close().await?;
        }
        Ok(())
    }

    /// Bytes that the database takes.
    async fn size(&self, url: &str) -> Result<u64> {
        match self {
            Self::Sqlite => Ok(std::fs::metadata(path(url))?.len()),
            Self::Postgres(_) => {
                let mut connection = PgConnection::connect(url).await?;
                let size: i64 = sqlx::query_scalar("select pg_database_size(current_database())")
                    .fetch_one(&mut connection)
                    .await?;
                Ok(size.unsigned_abs())
            }
        }
    }
}

/// A part of the table: one database at one size.
struct Rows<'a> {
    account: &'a Account,
    database: &'a Database,
}

impl Rows<'_> {
    fn print(&self, what: &str, value: &str, ratio: Option<f64>) {
        let ratio = ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"));
        let (size, name) = (self.account.sessions, self.database.name());
        println!("| {size} | {name} | {what} | {value} | {ratio} |");
    }
}

/// Everything about one database at one size.
async fn measure(account: &Account, database: &Database, runs: usize) -> Result<()> {
    let rows = Rows { account, database };
    let url = load(&rows, runs).await?;
    let program = Program::new(account, &url);
    // The rest of the account, which the passes below read too.
    program.run(&["sync"]).await?;
    database.settle(&url).await?;
    pass(&rows, &program, runs).await?;
    // Before anything changes: what changed in the last two minutes is read again by every pass.
    let passes = program.passes().await?;
    let pass = median(passes.iter().map(Duration::as_secs_f64));
    let pass = format!("{:.0} ms", pass * 1e3);
    rows.print("run: sync without changes", &pass, None);
    let mut changes = Vec::new();
    for run in 0..runs.max(3) {
        account.change(run);
        changes.push(program.run(&["sync"]).await?);
    }
    let change = median(changes.iter().map(|pass| pass.elapsed.as_secs_f64()));
    let what = format!("sync with {CHANGES} changes, a process");
    rows.print(&what, &format!("{:.0} ms", change * 1e3), None);
    let idle = program.idle().await?;
    let started = format!("{:.0} ms", idle.started.as_secs_f64() * 1e3);
    rows.print("run: start until the first request", &started, None);
    let memory = format!("{:.1} MiB", idle.memory);
    rows.print("run: memory when idle", &memory, None);
    Ok(())
}

/// First loads beside the floor. Yields the address of the mirror.
async fn load(rows: &Rows<'_>, runs: usize) -> Result<String> {
    let Rows { account, database } = *rows;
    let sessions = f64::from(account.sessions);
    let url = database.fresh(account, "mirror").await?;
    let mut loads = Vec::new();
    let mut floors = Vec::new();
    for run in 0..runs {
        if run > 0 {
            database.fresh(account, "mirror").await?;
        }
        let program = Program::new(account, &url);
        let load = if account.sessions > LARGE {
            program.watch(&["sync", "--resource", "sessions"]).await?
        } else {
            program.run(&["sync", "--resource", "sessions"]).await?
        };
        loads.push(load);
        floors.extend(floor(account, database, &url).await?);
    }
    let load = median(loads.iter().map(|load| load.elapsed.as_secs_f64()));
    let mut ratio = None;
    if !floors.is_empty() {
        let floor = median(floors.iter().map(Duration::as_secs_f64));
        let what = "floor: the same rows, nothing else";
        rows.print(what, &rate(sessions, floor), Some(1.0));
        ratio = Some(load / floor);
    }
    rows.print("first load of sessions", &rate(sessions, load), ratio);
    let processor = median(loads.iter().map(|load| load.processor.as_secs_f64()));
    rows.print(
        "… processor time of the program",
        &format!("{processor:.2} s"),
        None,
    );
    rows.print("… peak memory", &mebibytes(&loads), None);
    for (at, (elapsed, memory)) in loads.iter().take(1).flat_map(|load| &load.course) {
        let seconds = elapsed.as_secs_f64();
        let value = format!("{seconds:.1} s, {memory:.1} MiB");
        rows.print(&format!("… until {at} sessions"), &value, None);
    }
    // Emptied, lest the server tidies up after it while the passes are measured.
    database.fresh(account, "floor").await?;
    let bytes = database.size(&url).await? as f64 / sessions / 1024.0;
    rows.print("… database", &format!("{bytes:.2} KiB a session"), None);
    Ok(url)
}

/// Passes that find nothing.
async fn pass(rows: &Rows<'_>, program: &Program<'_>, runs: usize) -> Result<()> {
    let mut passes = Vec::new();
    let mut requests = BTreeMap::new();
    for _ in 0..runs.max(5) {
        rows.account.sandbox.take_requests();
        passes.push(program.run(&["sync"]).await?);
        requests.clear();
        for request in rows.account.sandbox.take_requests() {
            *requests.entry(request.path).or_insert(0_usize) += 1;
        }
    }
    let pass = median(passes.iter().map(|pass| pass.elapsed.as_secs_f64()));
    rows.print(
        "sync without changes, a process",
        &format!("{:.0} ms", pass * 1e3),
        None,
    );
    let mut paths = String::new();
    for (path, count) in &requests {
        let _ = write!(paths, "{count} × {path} ");
    }
    eprintln!("requests of a pass: {paths}");
    let count = requests.values().sum::<usize>();
    rows.print("… requests", &count.to_string(), None);
    rows.print("… peak memory", &mebibytes(&passes), None);
    Ok(())
}

/// The floor for this database. Its rows are those of a SQLite mirror, so Postgres needs one too.
async fn floor(account: &Account, database: &Database, url: &str) -> Result<Option<Duration>> {
    match database {
        Database::Sqlite => {
            let target = database.fresh(account, "floor").await?;
            floor::sqlite(path(url), path(&target)).await
        }
        Database::Postgres(_) => {
            let source = account.file("source");
            if !source.exists() {
                let mirror = Database::Sqlite.fresh(account, "source").await?;
                let program = Program::new(account, &mirror);
                program.run(&["sync", "--resource", "sessions"]).await?;
            }
            let target = database.fresh(account, "floor").await?;
            floor::postgres(&source.to_string_lossy(), &target)
                .await
                .map(Some)
        }
    }
}

fn path(url: &str) -> &str {
    url.trim_start_matches("sqlite://")
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn rate(sessions: f64, seconds: f64) -> String {
    format!("{seconds:.2} s, {:.0} sessions/s", sessions / seconds)
}

fn mebibytes(runs: &[Watched]) -> String {
    format!("{:.1} MiB", median(runs.iter().map(|run| run.memory)))
}
