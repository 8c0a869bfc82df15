//! The program as a process: how long it takes and how much memory.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use helena_sync::clock::{Clock as _, SystemClock};
use helena_sync::store::{OpenOptions, Store};

use super::Account;

/// How long the daemon may take from its start to its first request.
const START: Duration = Duration::from_secs(30);

/// How long it is left alone before its memory is read.
const IDLE: Duration = Duration::from_secs(3);

/// The program with an account and a database.
pub(super) struct Program<'a> {
    account: &'a Account,
    database: &'a str,
}

/// What a process took.
pub(super) struct Watched {
    pub(super) elapsed: Duration,
    /// Its own, without that of the server and the database.
    pub(super) processor: Duration,
    /// Its peak in MiB.
    pub(super) memory: f64,
    /// Time and memory when so many sessions had been served, each 100,000.
    pub(super) course: Vec<(u64, (Duration, f64))>,
}

/// What the daemon takes while nothing happens.
pub(super) struct Idle {
    /// From its start to its first request.
    pub(super) started: Duration,
    /// In MiB.
    pub(super) memory: f64,
}

impl<'a> Program<'a> {
    pub(super) fn new(account: &'a Account, database: &'a str) -> Self {
        Self { account, database }
    }

    /// A command that runs `program` with the settings of this account and database.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.account.folder.path())
            .env("HELENA_BASE_URL", self.account.sandbox.base_url())
            .env("HELENA_API_TOKEN", self.account.sandbox.token())
            .env("DATABASE_URL", self.database)
            .env("HELENA_SYNC__API__RATE_LIMIT__SUSTAINED", "1000000/5m")
            .env("HELENA_SYNC__API__RATE_LIMIT__BURST", "1000000/5s")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    fn timed(&self, arguments: &[&str]) -> Result<Child> {
        // The floor leaves pages to be written behind; the next measurement is not to pay for them.
        let _flushed = Command::new("sync").status();
        self.command("/usr/bin/time")
            .args(["-v", "-o", "time.txt", env!("CARGO_BIN_EXE_helena-sync")])
            .args(arguments)
            .spawn()
            .context("/usr/bin/time cannot be started (Debian, Ubuntu: apt-get install time)")
    }

    /// Runs the program to its end.
    pub(super) async fn run(&self, arguments: &[&str]) -> Result<Watched> {
        let begun = Instant::now();
        let mut child = self.timed(arguments)?;
        let (status, ended) =
            tokio::task::spawn_blocking(move || (child.wait(), Instant::now())).await?;
        ensure!(status?.success(), "helena-sync {arguments:?} failed");
        self.watched(ended - begun, Vec::new())
    }

    /// Runs the program to its end and notes its course.
    pub(super) async fn watch(&self, arguments: &[&str]) -> Result<Watched> {
        const STEP: u64 = 100_000;
        let begun = Instant::now();
        self.account.sandbox.take_requests();
        let mut child = self.timed(arguments)?;
        let timer = child.id();
        let mut course = Vec::new();
        let mut served = 0;
        let status = loop {
            for request in self.account.sandbox.take_requests() {
                if request.path.ends_with("/session") {
                    let before = served / STEP;
                    served += request.items as u64;
                    if served / STEP > before {
                        course.push((
                            served / STEP * STEP,
                            (begun.elapsed(), memory_below(timer)?),
                        ));
                    }
                }
            }
            if let Some(status) = child.try_wait()? {
                break status;
            }
            SystemClock.sleep(Duration::from_millis(20)).await;
        };
        ensure!(status.success(), "helena-sync {arguments:?} failed");
        self.watched(begun.elapsed(), course)
    }

    fn watched(&self, elapsed: Duration, course: Vec<(u64, (Duration, f64))>) -> Result<Watched> {
        let report = std::fs::read_to_string(self.account.folder.path().join("time.txt"))?;
        let value = |name: &str| -> Result<f64> {
            let line = report
                .lines()
                .find_map(|line| line.trim().strip_prefix(name));
            let line = line.with_context(|| format!("/usr/bin/time reported no {name:?}"))?;
            Ok(line.trim_start_matches(':').trim().parse()?)
        };
        Ok(Watched {
            elapsed,
            processor: Duration::from_secs_f64(
                value("User time (seconds)")? + value("System time (seconds)")?,
            ),
            memory: value("Maximum resident set size (kbytes)")? / 1024.0,
            course,
        })
    }

    /// How long each of the daemon's passes took, when it makes one every second. Its journal tells:
    /// a pass begins with the sessions and ends with the last status of contacts.
    pub(super) async fn passes(&self) -> Result<Vec<Duration>> {
        const LONG_ENOUGH: Duration = Duration::from_secs(12);
        let mut child = self
            .command(env!("CARGO_BIN_EXE_helena-sync"))
            .env("HELENA_SYNC__SYNC__SCHEDULE", "every 1s")
            .arg("run")
            .spawn()?;
        SystemClock.sleep(LONG_ENOUGH).await;
        child.kill()?;
        child.wait()?;
        let store = Store::open(self.database, &OpenOptions { read_only: true }).await?;
        let accounts = store.accounts().await?;
        let account = accounts.first().context("nothing was synced")?;
        let mut runs = store.last_runs(account.id, 40).await?;
        store.close().await;
        runs.reverse();
        let mut begun = None;
        let mut passes = Vec::new();
        for run in runs {
            if run.resource == "sessions" {
                begun = Some(run.started_at);
            } else if run.resource == "contacts (BLOCKED)"
                && let (Some(begun), Some(end)) = (begun.take(), run.finished_at)
            {
                passes.push(end.since(begun));
            }
        }
        ensure!(passes.len() > 2, "the daemon made {} passes", passes.len());
        Ok(passes)
    }

    /// Starts the daemon, waits until it has nothing to do, and looks at it.
    pub(super) async fn idle(&self) -> Result<Idle> {
        self.account.sandbox.take_requests();
        let begun = Instant::now();
        let mut child = self
            .command(env!("CARGO_BIN_EXE_helena-sync"))
            .arg("run")
            .spawn()?;
        let started = loop {
            if !self.account.sandbox.take_requests().is_empty() {
                break begun.elapsed();
            }
            if begun.elapsed() > START || child.try_wait()?.is_some() {
                let _ended = child.kill();
                bail!("helena-sync run made no request");
            }
            SystemClock.sleep(Duration::from_millis(1)).await;
        };
        SystemClock.sleep(IDLE).await;
        let memory = resident(child.id());
        child.kill()?;
        child.wait()?;
        Ok(Idle {
            started,
            memory: memory?,
        })
    }
}

/// Memory in MiB of the process that a process waits for.
fn memory_below(parent: u32) -> Result<f64> {
    let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))?;
    let child = children.split_whitespace().next().context("it has ended")?;
    resident(child.parse()?)
}

/// Memory in MiB that a process has now.
fn resident(process: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("no memory is reported")?;
    let kibibytes: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kibibytes / 1024.0)
}
