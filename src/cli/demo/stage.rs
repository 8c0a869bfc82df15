//! The demo's steps: load the account, sync while it changes and while requests fail, stop the
//! changes, sync once more, and compare.

use std::io::{Read as _, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::verdict::{self, Compared};
use super::{DemoArgs, Show, counted};
use crate::api::Client;
use crate::cli::engine::{self, LeasedEngine};
use crate::cli::record::number;
use crate::cli::{Access, Context, Failure, report, sync};
use crate::clock::Clock;
use crate::config::{Environment, Settings};
use crate::data::{Resource, Source, without_os_numbers};
use crate::output::on_terminal;
use crate::sandbox::{FaultRates, RetryAfter, Sandbox, SandboxConfig};
use crate::store::{self, Holder, OpenOptions, QUESTIONS, Store, StoreError};
use crate::sync::{RunError, RunLimits, RunReport};
use crate::telemetry;

/// The pause between two syncs.
const PAUSE: Duration = Duration::from_millis(1_500);

/// The maximum delay until a change of the demo's account becomes visible.
const LATEST: Duration = Duration::from_secs(2);

/// The pause between two groups of changes.
const TURN: Duration = Duration::from_millis(200);

/// The name of the demo's account. It marks a database as that of an earlier demo. No configuration
/// can use it, since configured names have no parentheses.
const ACCOUNT: &str = "(demo)";

/// The account, the database and the settings of a demo.
pub(super) struct Stage {
    context: Context,
    sandbox: Arc<Sandbox>,
    store: Store,
    interrupted: CancellationToken,
    pub(super) sessions: usize,
    pub(super) contacts: usize,
    /// The length of the account's past.
    pub(super) days: u64,
    pub(super) database: String,
    report: PathBuf,
}

/// The results of a demo.
pub(super) struct DemoResult {
    pub(super) compared: Vec<Compared>,
    pub(super) tables: Vec<(&'static str, u64)>,
    pub(super) answers: Vec<Vec<Vec<Value>>>,
    pub(super) database: String,
    /// The file of the report, or why there is none.
    pub(super) report: Result<PathBuf, Failure>,
}

/// Totals of the syncs while the account changed.
#[derive(Debug, Default)]
struct SyncTotals {
    syncs: u64,
    failed: u64,
    new: u64,
    changed: u64,
}

impl Stage {
    /// Starts the account and prepares the database.
    pub(super) async fn set(
        environment: &Environment,
        args: &DemoArgs,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Failure> {
        let config = SandboxConfig {
            sessions: args.sessions,
            seed: args.seed,
            days: days_of(args.sessions),
            remembered_requests: 0,
            ..SandboxConfig::default()
        };
        let sandbox = Sandbox::start(config, Arc::clone(&clock))
            .await
            .map_err(|error| {
                Failure::from(error).context("cannot serve the simulated account on 127.0.0.1")
            })?;
        let (sessions, contacts, days) = {
            let mut account = sandbox.account();
            let past = account.now().timestamp().since(account.since());
            (
                account.session_count(),
                account.contact_count(),
                past.as_secs() / 86_400,
            )
        };
        let settings = Settings::without_file(Environment::from([
            ("HELENA_API_TOKEN", sandbox.token()),
            ("HELENA_BASE_URL", &sandbox.base_url()),
            ("DATABASE_URL", &args.database),
            ("RUST_LOG", environment.get("RUST_LOG").unwrap_or_default()),
            // Rate limits would only slow the demo down.
            ("HELENA_SYNC__API__RATE_LIMIT__SUSTAINED", "1000000/5m"),
            ("HELENA_SYNC__API__RATE_LIMIT__BURST", "20000/5s"),
            // The company's own days, hours and target.
            ("HELENA_SYNC__TIMEZONE", "America/Sao_Paulo"),
            ("HELENA_SYNC__REPORT__HOURS__MON_FRI", "08:00-18:00"),
            ("HELENA_SYNC__REPORT__HOURS__SAT", "08:00-13:00"),
            ("HELENA_SYNC__REPORT__SLA_FIRST_RESPONSE", "15m"),
            // Longer than any change is late here, but short, so that syncs stay small.
            ("HELENA_SYNC__SYNC__OVERLAP", "10s"),
        ]))?;
        let context = Context::of_settings(settings, clock)?;
        let report = report_file(args, &context)?;
        clear(&context).await?;
        let store = context.store(Access::Create).await?;
        let database = context.settings.database()?.url.to_string();
        Ok(Self {
            context,
            sandbox: Arc::new(sandbox),
            store,
            interrupted: ctrl_c()?,
            sessions,
            contacts,
            days,
            database,
            report,
        })
    }

    /// Runs all steps of the demo.
    pub(super) async fn play<W: Write>(
        self,
        args: &DemoArgs,
        show: &mut Show<W>,
    ) -> Result<DemoResult, Failure> {
        let mut account = self.context.account()?;
        ACCOUNT.clone_into(&mut account.name);
        let client = engine::client(&self.context, &account, None)?;
        // Not the token of Ctrl-C: an interrupted demo still compares.
        let calm = CancellationToken::new();
        let leased = LeasedEngine::begin(
            &self.context,
            &self.store,
            &account,
            client.clone(),
            false,
            &calm,
        )
        .await?;
        let result = self.act(args, show, &leased, &client).await;
        leased.end().await;
        self.store.close().await;
        if result.as_ref().is_err_and(Failure::is_stop) {
            return Err(self.undo());
        }
        result
    }

    async fn act<W: Write>(
        &self,
        args: &DemoArgs,
        show: &mut Show<W>,
        leased: &LeasedEngine,
        client: &Client,
    ) -> Result<DemoResult, Failure> {
        let clock = &self.context.clock;
        let begun = clock.now();
        let interrupted = RunLimits {
            stop: &self.interrupted,
            budget: None,
        };
        let runs = sync::pass(leased, &Resource::ALL, false, interrupted).await;
        if self.interrupted.is_cancelled() {
            return Err(interruption());
        }
        let runs = runs?;
        if let Some(error) = runs.iter().find_map(|run| run.error.as_ref()) {
            return Err(Failure::failed(anyhow::anyhow!(
                "the first load failed: {}",
                error.line()
            )));
        }
        let stored: u64 = runs.iter().map(|run| run.counters.rows_inserted).sum();
        show.step(
            "First load",
            &format!(
                "{} in {:.1} s, {}",
                counted(stored, "record"),
                clock.now().since(begun).as_secs_f64(),
                counted(client.usage().requests, "request"),
            ),
        )?;
        if args.keep || !args.time.is_zero() {
            self.live(args, show, leased, client).await?;
        }
        let calm = RunLimits {
            stop: &leased.stop,
            budget: None,
        };
        // Waits until all late changes are visible and the account no longer changes.
        clock.sleep(LATEST).await;
        let runs = sync::pass(leased, &Resource::ALL, false, calm).await?;
        if let Some(error) = runs.iter().find_map(|run| run.error.as_ref()) {
            return Err(Failure::failed(anyhow::anyhow!(
                "the last sync failed: {}",
                error.line()
            )));
        }
        show.step("Last sync", "stopped all changes and synced once more")?;
        let truth = verdict::truth(&mut self.sandbox.account());
        let id = leased.engine.lease().account();
        let compared = verdict::compare(&self.store, id, &truth).await?;
        let mut answers = Vec::new();
        for question in &QUESTIONS {
            answers.push(self.store.answer(question).await?);
        }
        let snapshot = self.store.report_snapshot(id).await?;
        let account = format!("Loja Ipê {ACCOUNT}");
        // Also without it, the comparison has a result.
        let report = report::write_page(&self.context, account, snapshot, &self.report)
            .await
            .map(|()| std::path::absolute(&self.report).unwrap_or_else(|_| self.report.clone()));
        Ok(DemoResult {
            compared,
            tables: self.store.all_counts().await?,
            answers,
            database: self.database.clone(),
            report,
        })
    }

    /// Syncs while the account changes and requests fail.
    async fn live<W: Write>(
        &self,
        args: &DemoArgs,
        show: &mut Show<W>,
        leased: &LeasedEngine,
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
            account.faults = fault_rates();
            account.moods.late_share = 0.2;
            account.moods.late_max = LATEST;
        }
        let changes = Arc::new(AtomicU64::new(0));
        let changing = self.spawn_changes(args.changes, &changes);
        let bar = Bar::new();
        let limits = RunLimits {
            stop: &over,
            budget: None,
        };
        let mut totals = SyncTotals::default();
        while !over.is_cancelled() {
            let runs = pass(leased, limits).await;
            totals.add(&runs);
            let failures = client.usage().retries - before.retries;
            let left = if args.keep {
                "press Ctrl-C to stop".to_owned()
            } else {
                let gone = clock.now().since(begun);
                format!("{} s left", args.time.saturating_sub(gone).as_secs())
            };
            bar.show(&format!(
                "syncing live changes: {}, {}, {} retried; {left}",
                counted(changes.load(Ordering::Relaxed), "change"),
                counted(totals.syncs, "sync"),
                counted(failures, "failed request"),
            ));
            tokio::select! {
                () = over.cancelled() => {}
                () = clock.sleep(PAUSE) => {}
            }
        }
        changing.abort();
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
            "Live changes",
            &format!(
                "{} in {} s; {} stored {} new and {} changed records",
                counted(changes.load(Ordering::Relaxed), "change"),
                clock.now().since(begun).as_secs(),
                counted(totals.syncs, "sync"),
                number(totals.new),
                number(totals.changed),
            ),
        )?;
        let given_up = if totals.failed == 0 {
            "no sync failed".to_owned()
        } else {
            format!(
                "{} failed, and the next one caught up",
                counted(totals.failed, "sync")
            )
        };
        show.step(
            "Failed requests",
            &format!(
                "{} of {} were cut off, refused, reset or answered with garbage, and retried; {given_up}",
                number(failed),
                counted(sent, "request"),
            ),
        )?;
        Ok(())
    }

    /// Changes the account until aborted.
    fn spawn_changes(&self, rate: u32, changes: &Arc<AtomicU64>) -> JoinHandle<()> {
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

impl Stage {
    /// Removes the file of a demo that was interrupted before it was loaded. Returns what to tell.
    fn undo(&self) -> Failure {
        let url = match self.context.settings.database() {
            Ok(database) => database.url,
            Err(error) => return error.into(),
        };
        let database = &self.database;
        let told = match url.sqlite_file().map(remove) {
            Some(Ok(())) => format!("{database} is removed"),
            Some(Err(error)) => format!(
                "{database} has a part of the simulated account and cannot be removed ({}): remove the file \
                 yourself",
                without_os_numbers(&error.to_string())
            ),
            None => format!(
                "{database} has a part of the simulated account: before the next demo, remove that \
                 database with dropdb and make an empty one with createdb, or choose another one with \
                 --database"
            ),
        };
        Failure::failed(anyhow::anyhow!(
            "the demo was interrupted during the first load; {told}"
        ))
    }
}

impl SyncTotals {
    fn add(&mut self, runs: &[RunReport]) {
        self.syncs += 1;
        let failed = |run: &RunReport| {
            run.error
                .as_ref()
                .is_some_and(|error| error.action() != crate::sync::FailureAction::Stop)
        };
        self.failed += u64::from(runs.iter().any(failed));
        for run in runs {
            self.new += run.counters.rows_inserted;
            self.changed += run.counters.rows_updated;
        }
    }
}

/// The days of the account's past: as many as make it a company with a few agents, who have enough
/// to do.
fn days_of(sessions: u32) -> u32 {
    (sessions / 65).clamp(45, 365)
}

/// Where the report is written: into a folder that exists. A page of another program is not replaced.
fn report_file(args: &DemoArgs, context: &Context) -> Result<PathBuf, Failure> {
    const NAME: &str = "demo-report.html";
    let url = context.settings.database()?.url;
    let beside = |file: &Path| {
        let stem = file.file_stem().unwrap_or_default().to_string_lossy();
        file.with_file_name(format!("{stem}-report.html"))
    };
    let file = args
        .report
        .clone()
        .unwrap_or_else(|| url.sqlite_file().map_or_else(|| NAME.into(), beside));
    let shown = file.display();
    let another = |what: &str| {
        Failure::usage_text(format!("{shown} {what}: choose another file with --report"))
    };
    // An empty text is the current folder. That of the database is checked with it.
    let asked = args.report.as_deref().and_then(Path::parent);
    let folder = asked.filter(|it| !it.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
        return Err(Failure::usage_text(format!(
            "{shown}: there is no folder {}: create it, or choose another file with --report",
            folder.display()
        )));
    }
    let unusable = |error| Failure::from(error).context(format!("cannot use {shown}"));
    match std::fs::metadata(&file) {
        Ok(found) if !found.is_file() => return Err(another("is not a file")),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(file),
        Err(error) => return Err(unusable(error)),
    }
    let mut head = Vec::new();
    std::fs::File::open(&file)
        .and_then(|open| open.take(HEAD).read_to_end(&mut head))
        .map_err(unusable)?;
    let is_ours =
        head.is_empty() || String::from_utf8_lossy(&head).contains("content=\"helena-sync\"");
    if is_ours {
        Ok(file)
    } else {
        Err(another("is not a report of helena-sync"))
    }
}

/// In so many bytes a report says who wrote it.
const HEAD: u64 = 4_096;

/// The failure of a first load that was interrupted.
fn interruption() -> Failure {
    RunError::Stopped.into()
}

/// A token that Ctrl-C cancels. A second Ctrl-C ends the process. Unlike in other commands, the end
/// has no time limit: the comparison of a large account takes a while.
fn ctrl_c() -> std::io::Result<CancellationToken> {
    let pressed = CancellationToken::new();
    let told = pressed.clone();
    let mut interrupts = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        if interrupts.recv().await.is_some() {
            told.cancel();
        }
        if interrupts.recv().await.is_some() {
            std::process::exit(130);
        }
    });
    Ok(pressed)
}

/// Syncs once, as the daemon does every minute.
async fn pass(leased: &LeasedEngine, limits: RunLimits<'_>) -> Vec<RunReport> {
    leased.engine.incremental(&Resource::ALL, limits).await
}

/// About a quarter of all requests fail.
fn fault_rates() -> FaultRates {
    FaultRates {
        too_many: 0.01,
        slow: 0.05,
        slow_for: Duration::from_millis(300),
        retry_after: RetryAfter::Seconds,
        ..FaultRates::all(0.03)
    }
}

/// Removes the database of an earlier demo. Refuses a database that contains anything else.
async fn clear(context: &Context) -> Result<(), Failure> {
    let url = context.settings.database()?.url;
    if url.sqlite_file().is_some_and(|file| !file.exists()) {
        return Ok(());
    }
    let occupied = |what: &str| {
        Failure::usage_text(format!(
            "{url} {what}; demo needs a database of its own: choose another one with --database, such \
             as sqlite://demo2.db"
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
    let mut holder = None;
    for account in accounts.iter().flatten() {
        if let Ok(Some(lease)) = store.valid_lease(account.id, context.clock.now()).await
            && !Holder::current().knows_dead(&lease.holder)
        {
            holder = Some(lease.by);
        }
    }
    store.close().await;
    if let Some(holder) = holder {
        return Err(occupied(&format!("is in use by {holder}")));
    }
    if empty.map_err(unusable)? {
        return Ok(());
    }
    let accounts = match accounts {
        Ok(accounts) => accounts,
        Err(error @ StoreError::Unavailable { .. }) => return Err(unusable(error)),
        // A database without a table of accounts belongs to another program.
        Err(_) => return Err(occupied("is not the database of an earlier demo")),
    };
    match url.sqlite_file() {
        // Left by `migrate`, or by a demo that ended before it registered its account.
        _ if accounts.is_empty() => Ok(()),
        _ if !accounts.iter().all(is_demo) => Err(occupied("contains the mirror of an account")),
        None => Err(occupied(
            "contains an earlier demo; drop that database first",
        )),
        Some(file) => remove(file).map_err(|error| {
            Failure::from(error).context(format!("cannot replace {}", file.display()))
        }),
    }
}

/// Whether a demo wrote this account: no configuration can use its name, and it was read from this
/// machine. The address alone does not prove it, since `sandbox` serves accounts there, too.
fn is_demo(account: &store::StoredAccount) -> bool {
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

/// A status line, on a terminal only.
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
