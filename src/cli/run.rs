//! `run`: the daemon. Starts a task for each account and combines their results into the exit status.

#![warn(
    clippy::wildcard_enum_match_arm,
    reason = "each layer decides about every case of a failure"
)]

use std::sync::Arc;

use clap::Args;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::task::JoinError;

use super::account_outcomes;
use super::engine::{self, EngineMaker};
use super::stored::{self, Busy};
use super::{Access, Account, Context, Exit, Failure};
use crate::api::Client;
use crate::daemon::{self, AccountError, AccountTask, Intervals, WhenHeld};
use crate::schedule::{self, Scheduler, Trigger};
use crate::store::{Lease, StoreError};
use crate::sync::Engine;

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
    let sync = context.settings.sync()?;
    let verify = context.settings.verify()?;
    let zone = context.zone()?;
    let url = context.settings.database()?.url;
    engine::settings(context)?;
    let mut clients = Vec::new();
    for account in &accounts {
        clients.push(engine::client(context, account, None)?);
    }
    let stop = engine::signals(Exit::Done)?;
    let open = || context.store(Access::Create);
    let Some(store) = daemon::patiently(&context.clock, &stop, open).await else {
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
    for (account, client) in accounts.iter().zip(clients) {
        let (slots, triggers) = schedule::slots();
        for (trigger, schedule) in [
            (Trigger::Pass, Some(&sync.schedule)),
            (Trigger::Verify, verify.schedule.as_ref()),
        ] {
            if let Some(schedule) = schedule {
                scheduler.add(trigger, schedule, zone, slots.clone());
            }
        }
        let what = if alone {
            "1 account".to_owned()
        } else {
            format!("account {}", account.name)
        };
        let base_url = account.base_url.as_str();
        let task = AccountTask {
            claim: stored::claim(context, &store, &account.name, base_url)?,
            engines: Engines {
                maker: EngineMaker::new(context, &store, &account.name, client)?
                    .resuming_requested(args.backfills)
                    .quietly(),
                account: account.name.clone(),
                begun: format!("keeping {what} in {url} up to date, {}", sync.schedule),
            },
            clock: Arc::clone(&context.clock),
            resources: sync.resources.clone(),
            intervals: Intervals {
                catalog: sync.catalog_interval,
                refresh_open: sync.refresh_open,
            },
            is_alone: alone,
        };
        let task = tokio::spawn(task.run(when_held, triggers, stop.clone()));
        tasks.push(async move { (account, task.await) });
    }
    scheduler.start().await.map_err(Failure::failed)?;
    let mut failed = Vec::new();
    while let Some((account, ended)) = tasks.next().await {
        if let Err(failure) = conclude(context, account, ended) {
            if !alone {
                tracing::error!(account = account.name, "{}", failure.line());
            }
            failed.push(failure);
        }
    }
    if let Err(error) = scheduler.stop().await {
        tracing::debug!(error = %error, "the scheduler did not stop cleanly");
    }
    store.close().await;
    let exits: Vec<Exit> = failed.iter().map(|failure| failure.exit).collect();
    if exits.len() == accounts.len() {
        return match failed.pop() {
            Some(failure) if alone => Err(failure),
            _ => Ok(account_outcomes::together(
                &exits,
                accounts.len(),
                Exit::Failed,
            )),
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
        tokio::spawn(watching);
        tracing::info!(account = self.account, "{}", self.begun);
        Ok(engine)
    }
}
