//! `run`: the daemon. Starts a task for each account and combines their results into the exit status.

#![warn(
    clippy::wildcard_enum_match_arm,
    reason = "each layer decides about every case of a failure"
)]

use std::path::Path;
use std::sync::{Arc, Mutex};

use clap::Args;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use sd_notify::NotifyState;
use tokio::sync::watch;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument as _, error_span};

use super::account_outcomes;
use super::engine::{self, EngineMaker};
use super::serving::{self, Serving};
use super::stored::{self, Busy};
use super::{Access, Account, Context, Exit, Failure, alerts};
use crate::alerts::{Watch, Watched};
use crate::api::Client;
use crate::daemon::{self, AccountError, AccountTask, Intervals, WhenHeld};
use crate::data::counted;
use crate::http::Observed;
use crate::metrics::Meter;
use crate::schedule::{self, Scheduler, Slots, Trigger};
use crate::store::{Lease, Store, StoreError};
use crate::sync::{Engine, Report};

/// The progress of an account's engine, while there is one.
type Progress = Arc<Mutex<Option<watch::Receiver<Report>>>>;

/// Keep the mirror up to date until stopped.
///
/// Migrates the tables, loads the whole history if no earlier run has finished it, and then syncs
/// whenever sync.schedule fires (every minute by default). Of sessions and contacts, each sync reads
/// what changed. The small lists, such as tags and agents, are read every sync.catalog_interval, and
/// sessions that are still open every sync.refresh_open.
///
/// Outages of the platform or the database, rate limits and a machine that sleeps do not end run: it
/// retries. But what only you can mend ends run at its start: a token that is refused although nothing
/// was read yet, a folder that cannot be written, a wrong password, or another company's token.
///
/// run logs when the first load is done, then a line for each sync that changed something, and one an
/// hour if nothing changes. --log-level debug shows every sync.
///
/// http.listen (127.0.0.1:9464) serves a status page, and /healthz, /readyz and /metrics for monitors.
///
/// SIGTERM or Ctrl-C stops run: it finishes the current transaction and exits with 0 within
/// 10 seconds. A second signal ends it at once. If run is killed, the next start resumes.
///
/// Only one process writes for an account at a time: the lease holder. If another process holds the
/// lease, run names it, says since when, and exits with 1. If the holder may be dead, as after a
/// container was killed, run first waits until its lease expires, about 30 seconds.
///
/// With several accounts, each works on its own. If another process holds the lease of one, run
/// prints a warning and takes that account over when the process has ended; the others continue
/// meanwhile. If the token of one belongs to another company than its rows, that account ends, the
/// others continue, and the exit status is 1 in the end. If all accounts have ended, run exits at
/// once.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  HELENA_API_TOKEN=pn_... helena-sync run
  DATABASE_URL=postgres://helena:secret@db/helena helena-sync run --log-format json")]
pub struct RunArgs {
    /// Wait for another process that holds the lease of the account to end, instead of exiting with
    /// 1. With several accounts, run always waits, and prints a warning
    #[arg(long)]
    pub wait: bool,
    /// Also resume unfinished backfills. Without it, only the same backfill resumes them
    #[arg(long)]
    pub backfills: bool,
}

/// Runs until stopped, or until no account is left to sync.
pub(super) async fn run(context: &Context, args: RunArgs) -> Result<Exit, Failure> {
    let accounts = context.accounts()?;
    context.settings.sync()?;
    context.settings.verify()?;
    engine::settings(context)?;
    let mut clients = Vec::new();
    for account in &accounts {
        clients.push(engine::client(context, account, None)?);
    }
    let (subject, warning) = alerts::subject(context, Vec::new())?;
    if let Some(warning) = warning {
        tracing::warn!("{warning}");
    }
    let stop = engine::signals(Exit::Done)?;
    let serving = Box::pin(Serving::begin(context)).await?;
    let watch = Arc::new(Watch::new(Arc::clone(&context.clock), subject));
    let watching = tokio::spawn(Arc::clone(&watch).keep_watching());
    let _watching = AbortOnDropHandle::new(watching);
    let telling = (&serving, watch.as_ref());
    let ended = Box::pin(work(context, &args, (&accounts, clients), &stop, telling)).await;
    serving.end().await;
    ended
}

/// Opens the database, and works on the accounts until all their tasks have ended.
async fn work(
    context: &Context,
    args: &RunArgs,
    (accounts, clients): (&[Account], Vec<Client>),
    stop: &CancellationToken,
    (serving, watch): (&Serving, &Watch),
) -> Result<Exit, Failure> {
    let open = || context.store(Access::Create);
    let Some(store) = daemon::patiently(&context.clock, stop, open).await else {
        return Ok(Exit::Done);
    };
    let store = store?;
    let mut scheduler = Scheduler::new(Arc::clone(&context.clock))
        .await
        .map_err(Failure::failed)?;
    let alone = accounts.len() == 1;
    let when_held = match (args.wait, alone) {
        (true, _) => WhenHeld::Wait,
        (false, true) => WhenHeld::GiveUpIfAlive,
        (false, false) => WhenHeld::WaitAndWarn,
    };
    let mut tasks = FuturesUnordered::new();
    let (mut observed, mut watched) = (Vec::new(), Vec::new());
    for (account, client) in accounts.iter().zip(clients) {
        let (slots, triggers) = schedule::slots();
        plan(context, &scheduler, &slots)?;
        let meter = Meter::new(&account.name);
        meter.begin();
        serving.watch_account(&account.name, meter.pulse());
        watched.push(Watched {
            name: account.name.clone(),
            meter: meter.clone(),
        });
        let (task, progress) = task(context, &store, (account, alone), &client, meter, args)?;
        observed.push(Observed {
            name: account.name.clone(),
            client,
            slots,
            progress,
        });
        // Of the highest level, so that it is there whatever is logged.
        let span = error_span!("account", account = account.name);
        let working = task.run(when_held, triggers, stop.clone());
        let task = tokio::spawn(working.instrument(span));
        tasks.push(async move { (account, task.await) });
    }
    scheduler.start().await.map_err(Failure::failed)?;
    serving.watch_scheduler(scheduler.pulse());
    let url = context.settings.database()?.url;
    let file = url.sqlite_file().filter(|_| !url.is_in_memory());
    serving
        .view
        .begin(store.clone(), file.map(Path::to_owned), observed);
    watch.set(alerts::subject(context, watched)?.0);
    watch.begin(store.clone());
    serving.ready(&format!(
        "keeping {} up to date",
        counted(accounts.len() as u64, "account")
    ));
    let mut failed = Vec::new();
    while let Some((account, ended)) = tasks.next().await {
        serving.account_ended(&account.name);
        if let Err(failure) = conclude(context, account, ended) {
            if !alone {
                tracing::error!(account = account.name, "{}", failure.line());
            }
            failed.push(failure);
        }
    }
    serving::notify(&[NotifyState::Stopping]);
    if let Err(error) = scheduler.stop().await {
        tracing::debug!(error = %error, "the scheduler did not stop cleanly");
    }
    serving.end().await;
    store.close().await;
    together(failed, accounts.len())
}

/// Makes the schedules of an account fire.
fn plan(context: &Context, scheduler: &Scheduler, slots: &Slots) -> Result<(), Failure> {
    let zone = context.zone()?;
    for (trigger, schedule) in [
        (Trigger::Pass, Some(context.settings.sync()?.schedule)),
        (Trigger::Verify, context.settings.verify()?.schedule),
    ] {
        if let Some(schedule) = schedule {
            scheduler.add(trigger, &schedule, zone, slots.clone());
        }
    }
    Ok(())
}

/// The task of an account, and the progress of its engine.
fn task(
    context: &Context,
    store: &Store,
    (account, alone): (&Account, bool),
    client: &Client,
    meter: Meter,
    args: &RunArgs,
) -> Result<(AccountTask<Engines>, Progress), Failure> {
    let sync = context.settings.sync()?;
    let what = if alone {
        "1 account".to_owned()
    } else {
        format!("account {}", account.name)
    };
    let url = context.settings.database()?.url;
    let maker = EngineMaker::new(context, store, &account.name, client.clone())?
        .resuming_requested(args.backfills)
        .metered(meter.clone())
        .quietly();
    let progress = maker.progress();
    let base_url = account.base_url.as_str();
    let task = AccountTask {
        claim: stored::claim(context, store, &account.name, base_url)?,
        engines: Engines {
            maker,
            account: account.name.clone(),
            begun: format!("keeping {what} in {url} up to date, {}", sync.schedule),
        },
        clock: Arc::clone(&context.clock),
        resources: sync.resources,
        intervals: Intervals {
            catalog: sync.catalog_interval,
            refresh_open: sync.refresh_open,
        },
        is_alone: alone,
        meter,
    };
    Ok((task, progress))
}

/// The result of all accounts, of which these failed.
fn together(mut failed: Vec<Failure>, accounts: usize) -> Result<Exit, Failure> {
    let exits: Vec<Exit> = failed.iter().map(|failure| failure.exit).collect();
    if exits.len() == accounts {
        return match failed.pop() {
            Some(failure) if accounts == 1 => Err(failure),
            _ => Ok(account_outcomes::together(&exits, accounts, Exit::Failed)),
        };
    }
    tracing::info!("stopped");
    Ok(if exits.is_empty() {
        Exit::Done
    } else {
        Exit::Failed
    })
}

/// The failure that ended an account's task, if it did not end because of a signal.
fn conclude(
    context: &Context,
    account: &Account,
    ended: Result<Result<(), AccountError>, JoinError>,
) -> Result<(), Failure> {
    let name = &account.name;
    let error = match ended {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => error,
        Err(error) => {
            let doing = format!("account {name} is no longer synced: its task failed");
            return Err(Failure::failed(error).context(doing));
        }
    };
    Err(match error {
        AccountError::Held { .. } => stored::no_lease(context, name, Busy::GiveUp, error),
        AccountError::Run(error) => account.concern(error.into()),
    })
}

/// Builds the engines of an account, and logs when its syncs begin.
struct Engines {
    maker: EngineMaker,
    account: String,
    begun: String,
}

impl daemon::Engines for Engines {
    type Source = Client;

    async fn begin(&self, lease: &Lease) -> Result<Arc<Engine<Client>>, StoreError> {
        let (engine, watching) = self.maker.begin(lease).await?;
        tokio::spawn(watching.in_current_span());
        tracing::info!(account = self.account, "{}", self.begun);
        Ok(engine)
    }
}
