//! `run`: the daemon.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::engine::{self, Working};
use super::{Access, Account, Context, Exit, Failure};
use crate::api::Client;
use crate::daemon::{self, End, Intervals, Tender};
use crate::schedule::{self, Scheduler, Trigger, Triggers};
use crate::store::{Holder, LEASE_TTL, LeaseStatus, Store, StoreError};

/// How long the holder of a lease may be silent before it must have lost it.
const LAST_WORD: Duration = Duration::from_secs(LEASE_TTL.as_secs() + 5);

/// How often it is looked whether it has.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Keep the mirror fresh until stopped.
///
/// Brings the tables up to date, loads the whole history if that was not done or not finished, and
/// then makes a pass whenever sync.schedule fires (every minute by default). Sessions and contacts
/// are read by what changed; tags, channels, departments and agents every sync.catalog_interval;
/// sessions that are still open every sync.refresh_open.
///
/// It survives what passes: a platform or a database that goes away and comes back, limits, a
/// machine that sleeps. SIGTERM or Ctrl-C ends it: the transaction in progress is finished, nothing
/// new begins, and it exits with 0 within 10 seconds; a second signal ends it at once. Killed at
/// any point, the next start goes on from there.
///
/// One process writes for an account at a time. If another one does, this one says which and since
/// when, and exits with 1. If that one may have ended without a word, as in a container that was
/// killed, it is first waited for until its right to write runs out, some 30 seconds.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  HELENA_API_TOKEN=pn_... helena-sync run
  DATABASE_URL=postgres://helena:secret@db/helena helena-sync run --log-format json")]
pub struct RunArgs {
    /// Wait until another process that writes for the account has ended, instead of exiting with 1
    #[arg(long)]
    pub wait: bool,
}

/// Runs until stopped.
pub(super) async fn run(context: &Context, args: RunArgs) -> Result<Exit, Failure> {
    let accounts = context.accounts()?;
    let sync = context.settings.sync()?;
    let verify = context.settings.verify()?;
    let zone = context.zone()?;
    engine::settings(context)?;
    let mut clients = Vec::new();
    for account in &accounts {
        clients.push(engine::client(context, account, None)?);
    }
    let stop = engine::signals(Exit::Done)?;
    let open = || async {
        context
            .store(Access::Create)
            .await
            .map_err(|failure| failure.error)
    };
    let store = match daemon::patiently(&context.clock, &stop, open).await {
        None => return Ok(Exit::Done),
        Some(Ok(store)) => store,
        // Asked again for the exit status that belongs to it.
        Some(Err(error)) => return Err(Failure::of(error)),
    };
    let mut leased = Vec::new();
    for (account, client) in accounts.iter().zip(clients) {
        // The database may go away again, or its disk be full, before the first thing is written.
        let begin = || async {
            begin(context, &store, account, &client, args.wait, &stop)
                .await
                .map_err(|failure| failure.error)
        };
        let working = match daemon::patiently(&context.clock, &stop, begin).await {
            Some(Ok(working)) => working,
            Some(Err(error)) if !stop.is_cancelled() => return Err(Failure::of(error)),
            Some(Err(_)) | None => break,
        };
        leased.push((account, client, working));
    }
    // Not before: a scheduler that is dropped before it runs complains on stderr.
    let mut scheduler = Scheduler::new(Arc::clone(&context.clock))
        .await
        .map_err(Failure::failed)?;
    let mut tenders = Vec::new();
    for (account, client, working) in leased {
        let (slots, triggers) = schedule::slots();
        for (trigger, schedule) in [
            (Trigger::Pass, Some(&sync.schedule)),
            (Trigger::Verify, verify.schedule.as_ref()),
        ] {
            if let Some(schedule) = schedule {
                scheduler.add(trigger, schedule, zone, slots.clone());
            }
        }
        tenders.push((account, client, working, triggers));
    }
    scheduler.start().await.map_err(Failure::failed)?;
    tracing::info!(
        accounts = tenders.len(),
        "keeping {} in {} fresh, {}",
        if tenders.len() == 1 {
            "1 account"
        } else {
            "the accounts"
        },
        context.settings.database()?.url,
        sync.schedule,
    );
    let intervals = Intervals {
        catalog: sync.catalog_interval,
        refresh_open: sync.refresh_open,
    };
    let tending = tenders
        .into_iter()
        .map(|(account, client, working, triggers)| {
            let tended = Tended {
                context,
                store: &store,
                account,
                client,
                intervals,
            };
            tended.tend(working, triggers, &stop)
        });
    let ended = futures::future::try_join_all(tending).await;
    if let Err(error) = scheduler.stop().await {
        tracing::debug!(error = %error, "the scheduler did not stop cleanly");
    }
    store.close().await;
    ended?;
    tracing::info!("stopped");
    Ok(Exit::Done)
}

/// Begins to work on an account. A holder of its lease that may be dead is waited for until the lease
/// must have run out, or shows that its holder lives.
async fn begin(
    context: &Context,
    store: &Store,
    account: &Account,
    client: &Client,
    wait: bool,
    stop: &CancellationToken,
) -> Result<Working, Failure> {
    let clock = &context.clock;
    let mut first: Option<(LeaseStatus, Duration)> = None;
    loop {
        let begun = Working::begin(context, store, account, client.clone(), wait, stop).await;
        let failure = match begun {
            Err(failure) if !stop.is_cancelled() => failure,
            done => return done,
        };
        if failure.error.is::<StoreError>() {
            return Err(failure);
        }
        let holder = match store.find_account(&account.name).await? {
            Some(account) => store.lease_status(account.id).await?,
            None => None,
        };
        let Some(holder) = holder else {
            return Err(failure);
        };
        match &first {
            _ if Holder::current().knows_alive(&holder.holder) => return Err(failure),
            None => {
                let LeaseStatus { by, .. } = &holder;
                let name = &account.name;
                tracing::info!(
                    account = name,
                    holder = by,
                    "{by} writes for account {name}, or has ended without a word: waiting until that \
                     is known, {} at most",
                    humantime::format_duration(LAST_WORD)
                );
                first = Some((holder, clock.running()));
            }
            Some((seen, since)) => {
                let lives = seen.holder != holder.holder || seen.renewed_at != holder.renewed_at;
                if lives || clock.elapsed(*since) > LAST_WORD {
                    return Err(failure);
                }
            }
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return Err(failure),
            () = clock.sleep(LOOK_AGAIN) => {}
        }
    }
}

/// An account that is tended, through as many leases as it takes.
struct Tended<'a> {
    context: &'a Context,
    store: &'a Store,
    account: &'a Account,
    client: Client,
    intervals: Intervals,
}

impl Tended<'_> {
    async fn tend(
        self,
        mut working: Working,
        mut triggers: Triggers,
        stop: &CancellationToken,
    ) -> Result<(), Failure> {
        let resources = self.context.settings.sync()?.resources;
        loop {
            let mut tender = Tender::new(
                Arc::clone(&working.engine),
                Arc::clone(&self.context.clock),
                resources.clone(),
                self.intervals,
            );
            let lost = working.stop.clone();
            let end = tender.tend(&mut triggers, stop, &lost).await;
            working.end().await;
            if end == End::Stopped {
                return Ok(());
            }
            // Whoever has the lease now may end; then this one goes on.
            let client = self.client.clone();
            let open = || async {
                let (client, store) = (client.clone(), self.store);
                Working::begin(self.context, store, self.account, client, true, stop)
                    .await
                    .map_err(|failure| failure.error)
            };
            working = match daemon::patiently(&self.context.clock, stop, open).await {
                Some(Ok(working)) => working,
                _ if stop.is_cancelled() => return Ok(()),
                None => return Ok(()),
                Some(Err(error)) => return Err(Failure::of(error)),
            };
        }
    }
}
