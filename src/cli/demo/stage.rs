//! The demo's course: the account comes to life, is mirrored, misbehaves, and stands still.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::verdict::{self, Compared};
use super::{DemoArgs, Show, counted};
use crate::api::Client;
use crate::cli::engine::{self, Working};
use crate::cli::record::number;
use crate::cli::{Access, Context, Failure, sync};
use crate::clock::Clock;
use crate::config::{Environment, Settings};
use crate::data::{Resource, Source};
use crate::report::on_terminal;
use crate::sandbox::{FaultRates, RetryAfter, Sandbox, SandboxConfig};
use crate::store::{self, OpenOptions, QUESTIONS, Store, StoreError};
use crate::sync::{Limits, RunReport};
use crate::telemetry;

/// Between two passes.
const PAUSE: Duration = Duration::from_millis(1_500);

/// How late a change of the demo's account becomes visible at most.
const LATEST: Duration = Duration::from_secs(2);

/// Between two looks at the account: changes come in small groups.
const TURN: Duration = Duration::from_millis(200);

/// The name of the demo's account, by which a demo knows a database of an earlier one. No
/// configuration can give it to an account: names there have no parentheses.
const ACCOUNT: &str = "(demo)";

/// What is ready before the first request.
pub(super) struct Stage {
    context: Context,
    sandbox: Arc<Sandbox>,
    store: Store,
    interrupted: CancellationToken,
    pub(super) sessions: usize,
    pub(super) contacts: usize,
    pub(super) database: String,
}

/// What there is to tell in the end.
pub(super) struct Played {
    pub(super) compared: Vec<Compared>,
    pub(super) tables: Vec<(&'static str, u64)>,
    pub(super) answers: Vec<Vec<Vec<Value>>>,
    pub(super) database: String,
}

/// What happened while the account lived.
#[derive(Debug, Default)]
struct Lived {
    passes: u64,
    failed: u64,
    new: u64,
    changed: u64,
}

impl Stage {
    /// Starts the account, and makes the database ready for it.
    pub(super) async fn set(
        environment: &Environment,
        args: &DemoArgs,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Failure> {
        let config = SandboxConfig {
            sessions: args.sessions,
            seed: args.seed,
            remembered_requests: 0,
            ..SandboxConfig::default()
        };
        let sandbox = Sandbox::start(config, Arc::clone(&clock))
            .await
            .map_err(|error| {
                Failure::from(error).context("the simulated account cannot listen on 127.0.0.1")
            })?;
        let (sessions, contacts) = {
            let mut account = sandbox.account();
            (account.session_count(), account.contact_count())
        };
        let settings = Settings::without_file(Environment::from([
            ("HELENA_API_TOKEN", sandbox.token()),
            ("HELENA_BASE_URL", &sandbox.base_url()),
            ("DATABASE_URL", &args.database),
            ("RUST_LOG", environment.get("RUST_LOG").unwrap_or_default()),
            // An account on this machine has no limits worth waiting for in a demo.
            ("HELENA_SYNC__API__RATE_LIMIT__SUSTAINED", "1000000/5m"),
            ("HELENA_SYNC__API__RATE_LIMIT__BURST", "20000/5s"),
            // Longer than anything is late here, and short, so that passes stay small.
            ("HELENA_SYNC__SYNC__OVERLAP", "10s"),
        ]))?;
        let context = Context::of_settings(settings, clock)?;
        clear(&context).await?;
        let store = context.store(Access::Create).await?;
        let database = context.settings.database()?.url.to_string();
        Ok(Self {
            context,
            sandbox: Arc::new(sandbox),
            store,
            interrupted: ctrl_c(),
            sessions,
            contacts,
            database,
        })
    }

    /// Loads, lives, stands still, compares.
    pub(super) async fn play<W: Write>(
        self,
        args: &DemoArgs,
        show: &mut Show<W>,
    ) -> Result<Played, Failure> {
        let mut account = self.context.account()?;
        ACCOUNT.clone_into(&mut account.name);
        let client = engine::client(&self.context, &account, None)?;
        // Not the signals' token: the comparison follows an interrupted demo too.
        let calm = CancellationToken::new();
        let working = Working::begin(
            &self.context,
            &self.store,
            &account,
            client.clone(),
            false,
            &calm,
        )
        .await?;
        let played = self.act(args, show, &working, &client).await;
        working.end().await;
        self.store.close().await;
        played
    }

    async fn act<W: Write>(
        &self,
        args: &DemoArgs,
        show: &mut Show<W>,
        working: &Working,
        client: &Client,
    ) -> Result<Played, Failure> {
        let clock = &self.context.clock;
        let begun = clock.now();
        let interrupted = Limits {
            stop: &self.interrupted,
            budget: None,
        };
        let runs = sync::pass(working, &Resource::ALL, false, interrupted).await?;
        if let Some(error) = runs.iter().find_map(|run| run.error.as_ref()) {
            return Err(Failure::failed(anyhow::anyhow!(
                "the first load did not end: {}",
                error.line()
            )));
        }
        let stored: u64 = runs.iter().map(|run| run.counters.rows_inserted).sum();
        show.step(
            "First load",
            &format!(
                "{} records in {:.1} s, {}",
                number(stored),
                clock.now().since(begun).as_secs_f64(),
                requests(client.usage().requests),
            ),
        )?;
        if args.keep || !args.time.is_zero() {
            self.live(args, show, working, client).await?;
        }
        let calm = Limits {
            stop: &working.stop,
            budget: None,
        };
        // What is late becomes visible, and the last pass finds a quiet account.
        clock.sleep(LATEST).await;
        let runs = sync::pass(working, &Resource::ALL, false, calm).await?;
        if let Some(error) = runs.iter().find_map(|run| run.error.as_ref()) {
            return Err(Failure::failed(anyhow::anyhow!(
                "the last pass did not end: {}",
                error.line()
            )));
        }
        show.step(
            "The last pass",
            "the account stands still, and is read once more",
        )?;
        let truth = verdict::truth(&mut self.sandbox.account());
        let id = working.engine.lease().account();
        let compared = verdict::compare(&self.store, id, &truth).await?;
        let mut answers = Vec::new();
        for question in &QUESTIONS {
            answers.push(self.store.answer(question).await?);
        }
        Ok(Played {
            compared,
            tables: self.store.all_counts().await?,
            answers,
            database: self.database.clone(),
        })
    }

    /// Passes while the account changes and answers go wrong.
    async fn live<W: Write>(
        &self,
        args: &DemoArgs,
        show: &mut Show<W>,
        working: &Working,
        client: &Client,
    ) -> Result<(), Failure> {
        let clock = &self.context.clock;
        let begun = clock.now();
        let before = client.usage();
        let over = self.interrupted.child_token();
        if !args.keep {
            let (clock, over, time) = (Arc::clone(clock), over.clone(), args.time);
            tokio::spawn(async move {
                clock.sleep(time).await;
                over.cancel();
            });
        }
        {
            let mut account = self.sandbox.account();
            account.faults = weather();
            account.moods.late_share = 0.2;
            account.moods.late_max = LATEST;
        }
        let changes = Arc::new(AtomicU64::new(0));
        let life = self.give_life(args.changes, &changes);
        let bar = Bar::new();
        let limits = Limits {
            stop: &over,
            budget: None,
        };
        let mut lived = Lived::default();
        while !over.is_cancelled() {
            let runs = pass(working, limits).await;
            lived.add(&runs);
            let failures = client.usage().retries - before.retries;
            let left = if args.keep {
                "Ctrl-C ends it".to_owned()
            } else {
                let gone = clock.now().since(begun);
                format!("{} s left", args.time.saturating_sub(gone).as_secs())
            };
            bar.show(&format!(
                "living: {} changes, {} passes, {} failed requests repeated; {left}",
                number(changes.load(Ordering::Relaxed)),
                number(lived.passes),
                number(failures),
            ));
            tokio::select! {
                () = over.cancelled() => {}
                () = clock.sleep(PAUSE) => {}
            }
        }
        life.abort();
        drop(bar);
        {
            let mut account = self.sandbox.account();
            account.faults = FaultRates::default();
            account.moods.late_share = 0.0;
        }
        let used = client.usage();
        let (sent, failed) = (
            used.requests - before.requests,
            used.retries - before.retries,
        );
        show.step(
            "Living",
            &format!(
                "{} of the account in {} s; {}: {} new and {} changed records stored",
                counted(
                    usize::try_from(changes.load(Ordering::Relaxed)).unwrap_or(usize::MAX),
                    "change"
                ),
                clock.now().since(begun).as_secs(),
                if lived.passes == 1 {
                    "1 pass".to_owned()
                } else {
                    format!("{} passes", number(lived.passes))
                },
                number(lived.new),
                number(lived.changed),
            ),
        )?;
        let given_up = if lived.failed == 0 {
            "no pass was given up".to_owned()
        } else {
            format!(
                "{} given up, and made up for by the next",
                if lived.failed == 1 {
                    "1 pass was".to_owned()
                } else {
                    format!("{} passes were", number(lived.failed))
                }
            )
        };
        show.step(
            "Bad weather",
            &format!(
                "{} of {} cut in half, refused, reset, or answered with nonsense, and sent again; \
                 {given_up}",
                number(failed),
                requests(sent),
            ),
        )?;
        Ok(())
    }

    /// Changes the account until aborted.
    fn give_life(&self, rate: u32, changes: &Arc<AtomicU64>) -> JoinHandle<()> {
        let (sandbox, clock) = (Arc::clone(&self.sandbox), Arc::clone(&self.context.clock));
        let changes = Arc::clone(changes);
        tokio::spawn(async move {
            let begun = clock.now();
            loop {
                clock.sleep(TURN).await;
                let due = clock.now().since(begun).as_millis() * u128::from(rate) / 1_000;
                let done = changes.load(Ordering::Relaxed);
                let more = u64::try_from(due).unwrap_or(u64::MAX).saturating_sub(done);
                let step = usize::try_from(more).unwrap_or(usize::MAX).min(1_000);
                sandbox.account().live_step(step);
                changes.fetch_add(step as u64, Ordering::Relaxed);
            }
        })
    }
}

impl Lived {
    fn add(&mut self, runs: &[RunReport]) {
        self.passes += 1;
        let failed = |run: &RunReport| {
            run.error
                .as_ref()
                .is_some_and(|error| error.verdict() != crate::sync::Verdict::Stop)
        };
        self.failed += u64::from(runs.iter().any(failed));
        for run in runs {
            self.new += run.counters.rows_inserted;
            self.changed += run.counters.rows_updated;
        }
    }
}

/// Cancelled by Ctrl-C; a second one ends the process. Unlike that of the other commands it sets no
/// time for the end: the comparison of a large account takes a while, and is what people wait for.
fn ctrl_c() -> CancellationToken {
    let pressed = CancellationToken::new();
    let told = pressed.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            told.cancel();
        }
        if tokio::signal::ctrl_c().await.is_ok() {
            std::process::exit(130);
        }
    });
    pressed
}

/// What the daemon does every minute.
async fn pass(working: &Working, limits: Limits<'_>) -> Vec<RunReport> {
    working.engine.incremental(&Resource::ALL, limits).await
}

fn requests(count: u64) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{} request{s}", number(count))
}

/// About a quarter of all answers go wrong.
fn weather() -> FaultRates {
    FaultRates {
        too_many: 0.01,
        slow: 0.05,
        slow_for: Duration::from_millis(300),
        retry_after: RetryAfter::Seconds,
        ..FaultRates::all(0.03)
    }
}

/// Makes sure that the database holds nothing but, perhaps, an earlier demo, which is removed.
async fn clear(context: &Context) -> Result<(), Failure> {
    let url = context.settings.database()?.url;
    if url.sqlite_file().is_some_and(|file| !file.exists()) {
        return Ok(());
    }
    let occupied = |what: &str| {
        Failure::usage_text(format!(
            "{url} {what}; demo writes only into a database of its own: choose another with \
             --database, such as sqlite://demo2.db"
        ))
    };
    let unusable =
        |error: StoreError| Failure::from(error).context(format!("cannot use the database {url}"));
    let read_only = OpenOptions { read_only: true };
    let store = Store::open(url.expose(), &read_only)
        .await
        .map_err(unusable)?;
    let empty = store.is_empty().await;
    let accounts = store.accounts().await;
    store.close().await;
    if empty.map_err(unusable)? {
        return Ok(());
    }
    let accounts = match accounts {
        Ok(accounts) => accounts,
        Err(error @ StoreError::Unavailable { .. }) => return Err(unusable(error)),
        // Without such a table it is somebody else's.
        Err(_) => return Err(occupied("is no database of an earlier demo")),
    };
    match url.sqlite_file() {
        // What a demo leaves that was ended before it registered its account, or `migrate`.
        _ if accounts.is_empty() => Ok(()),
        _ if !accounts.iter().all(is_demo) => Err(occupied("holds the mirror of an account")),
        None => Err(occupied("holds an earlier demo; drop that database first")),
        Some(file) => remove(file).map_err(|error| {
            Failure::from(error).context(format!("cannot replace {}", file.display()))
        }),
    }
}

/// Whether only a demo can have written this account: its name is one that no configuration can
/// give, and it was read from this machine. The address alone tells nothing: `sandbox` serves
/// accounts there too.
fn is_demo(account: &store::Account) -> bool {
    account.name == ACCOUNT && account.base_url.starts_with("http://127.0.0.1:")
}

fn remove(file: &Path) -> std::io::Result<()> {
    std::fs::remove_file(file)?;
    for suffix in ["-wal", "-shm"] {
        let mut name = file.as_os_str().to_owned();
        name.push(suffix);
        match std::fs::remove_file(&name) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// One line that changes, on a terminal only.
struct Bar(Option<ProgressBar>);

impl Bar {
    fn new() -> Self {
        Self(on_terminal().then(|| {
            let bar = telemetry::screen().add(ProgressBar::new_spinner());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        }))
    }

    fn show(&self, text: &str) {
        if let Some(bar) = &self.0 {
            bar.set_message(text.to_owned());
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = self.0.take() {
            bar.finish_and_clear();
            telemetry::screen().remove(&bar);
        }
    }
}
