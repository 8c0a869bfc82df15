//! `run`: the daemon. Starts a task for each account and combines their results into the exit status.

#![warn(
    clippy::wildcard_enum_match_arm,
    reason = "each layer decides about every case of a failure"
)]

use std::sync::Arc;

use clap::Args;
use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::fleet::{self, Fleet, Shared};
use super::reload::Reloads;
use super::serving::{self, Door, Serving};
use super::{Access, Account, Context, Exit, Failure, account_outcomes, alerts, engine};
use crate::alerts::Watch;
use crate::api::Client;
use crate::daemon;
use crate::doorbell::Bells;
use crate::store::Store;

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
/// If doorbell.listen is set and `webhooks install` was run, the platform calls there when something
/// changes, and run reads it within a second or two.
///
/// SIGHUP makes run read its configuration again, and the files of tokens. It applies what has changed:
/// accounts, tokens, schedules, limits, alerts, the level of the log. It names what needs a restart. If the
/// configuration is wrong, run says so, and nothing changes.
///
/// SIGTERM or Ctrl-C stops run: it finishes the current transaction and exits with 0 within
/// 10 seconds. A second signal ends it at once. If run is killed, the next start resumes.
///
/// Only one process writes for an account at a time: the lease holder. If another process holds the
/// lease, run names it, says since when, and exits with 1. If the holder may be dead, as after a
/// container was killed, run first waits until its lease expires, up to 25 seconds.
///
/// With several accounts, each works on its own. Several processes of run that use one Postgres share the
/// accounts evenly, each account synced by one of them. A new process gets its share between two syncs.
/// The accounts of a process that ends, stands still or loses its network move to the others within 30
/// seconds. If another command holds the lease of an account, run prints a warning and takes that account
/// over when the command has ended; the others continue meanwhile. If the token of one account belongs to
/// another company than its rows, that account ends, the others continue, and the exit status is 1 in the
/// end. If all accounts have ended, run exits at once.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  HELENA_API_TOKEN=pn_... helena-sync run
  DATABASE_URL=postgres://helena:secret@db/helena helena-sync run --log-format json")]
pub struct RunArgs {
    /// Wait for another process that holds the lease of the account to end, instead of exiting with
    /// 1. With several accounts, run always waits
    #[arg(long)]
    pub wait: bool,
    /// Also resume unfinished backfills. Without it, only the same backfill resumes them
    #[arg(long)]
    pub backfills: bool,
}

/// Runs until stopped, or until no account is left to sync.
pub(super) async fn run(context: Arc<Context>, args: RunArgs) -> Result<Exit, Failure> {
    context.settings.sync()?;
    context.settings.verify()?;
    engine::settings(&context)?;
    let accounts = fleet::clients(&context)?;
    let (subject, warning) = alerts::subject(&context, Vec::new())?;
    if let Some(warning) = warning {
        tracing::warn!("{warning}");
    }
    let stop = engine::signals(Exit::Done)?;
    let reloads = Reloads::begin(&stop)?;
    let door = door(&context, &accounts)?;
    let bells = door.as_ref().map(|door| door.bells.clone());
    let serving = Box::pin(Serving::begin(&context, door)).await?;
    let watch = Arc::new(Watch::new(Arc::clone(&context.clock), subject));
    let watching = tokio::spawn(Arc::clone(&watch).keep_watching());
    let _watching = AbortOnDropHandle::new(watching);
    let opened = Box::pin(open(&context, &stop, reloads)).await;
    let ended = match opened {
        None => Ok(Exit::Done),
        Some(Err(failure)) => Err(failure),
        Some(Ok((store, reloads))) => {
            let url = context.settings.database()?.url;
            let shared = Shared {
                args: &args,
                store,
                serving: &serving,
                watch,
                bells,
                stop,
                url,
            };
            Box::pin(work(Arc::clone(&context), shared, accounts, reloads)).await
        }
    };
    serving.end().await;
    ended
}

/// Where the platform can call, with the doorbells of the accounts. `None` if it cannot.
fn door(context: &Context, accounts: &[(Account, Client)]) -> Result<Option<Door>, Failure> {
    let (doorbell, warning) = context.settings.doorbell()?;
    if let Some(warning) = warning {
        tracing::warn!("{warning}");
    }
    let Some((at, secret)) = doorbell.listen.zip(doorbell.secret) else {
        return Ok(None);
    };
    let bells = Bells::new(secret, Arc::clone(&context.clock));
    let mirrored = context.settings.sync()?.resources;
    for (account, _) in accounts {
        bells.add(&account.name, &mirrored);
    }
    Ok(Some(Door { at, bells }))
}

/// Opens the database, and retries until it answers. `None` if stopped meanwhile.
async fn open(
    context: &Context,
    stop: &CancellationToken,
    mut reloads: Reloads,
) -> Option<Result<(Store, Reloads), Failure>> {
    let open = || context.store(Access::Create);
    let mut opening = std::pin::pin!(daemon::patiently(&context.clock, stop, open));
    loop {
        tokio::select! {
            biased;
            opened = &mut opening => return Some(opened?.map(|store| (store, reloads))),
            () = reloads.next() => tracing::warn!(
                "the configuration is not read again while run waits for the database; restart the process \
                 to apply changes"
            ),
        }
    }
}

/// Works on the accounts until all their tasks have ended.
async fn work(
    context: Arc<Context>,
    shared: Shared<'_>,
    accounts: Vec<(Account, Client)>,
    mut reloads: Reloads,
) -> Result<Exit, Failure> {
    let (serving, store) = (shared.serving, shared.store.clone());
    let mut fleet = Box::pin(Fleet::begin(context, shared, accounts)).await?;
    serving.ready(&fleet.doing());
    loop {
        tokio::select! {
            biased;
            is_left = fleet.one_ended() => if !is_left {
                break;
            },
            () = reloads.next() => {
                serving::reloading();
                Box::pin(fleet.reload()).await;
                serving.ready(&fleet.doing());
            }
        }
    }
    serving::notify(&[NotifyState::Stopping]);
    let (failed, accounts) = fleet.end().await;
    serving.end().await;
    store.close().await;
    together(failed, accounts)
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
