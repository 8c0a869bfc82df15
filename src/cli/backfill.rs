//! `backfill`: reads a range of sessions once.

use std::io::{self, Write};
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::account_outcomes::AccountOutcomes;
use super::engine::{self, LeasedEngine};
use super::record::number;
use super::{
    Access, Account, Context, Exit, Failure, FilterArgs, ResolvedFilter, duration, positive, stored,
};
use crate::api::Client;
use crate::data::Resource;
use crate::store::Backfill;
use crate::sync::{self, Estimate, RunLimits, RunReport, Runs};

/// Read a range of sessions again, or for the first time.
///
/// Without a range, it reads everything. It splits the range into windows of creation times and reads
/// the newest first; every finished window is a checkpoint. If it is killed or stopped, the next
/// backfill with the same range and filters resumes it and says so; so do run and sync. Rows that did
/// not change are not written.
///
/// Exits with 1 if the range of an account could not be read completely, and names the account. Also
/// exits with 1 if a signal stopped it. Exits with 3 if the API refuses the token of every account.
///
/// Dates: 2025-12-31, "2025-12-31 18:30" in the configured time zone, or RFC 3339. A day without a
/// time means the whole day: --to 2025-12-31 includes that day.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  helena-sync backfill --from 2024-01-01
  helena-sync backfill --from 2025-12-01 --to 2025-12-31 --status COMPLETED --tag VIP --dry-run
  helena-sync backfill --department Vendas --department Suporte --max-runtime 1h")]
pub struct BackfillArgs {
    /// Which sessions.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Print how many sessions and requests there are and how long the rate limits make them take,
    /// and write nothing
    #[arg(long, conflicts_with_all = ["max_runtime", "limit", "restart", "wait"])]
    pub dry_run: bool,
    /// Stop after this time (30s, 10m, 2h), with exit status 0; the next start resumes
    /// [default: no limit]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub max_runtime: Option<Duration>,
    /// Stop after the page that completes this many sessions, with exit status 0; the next start
    /// resumes [default: no limit]
    #[arg(long, value_name = "COUNT", value_parser = positive::<u64>)]
    pub limit: Option<u64>,
    /// Start from the beginning instead of resuming an unfinished backfill of the same range
    #[arg(long)]
    pub restart: bool,
    /// Wait for another process that holds the lease of the account to end, instead of exiting with 1
    #[arg(long)]
    pub wait: bool,
}

/// Reads the range of every account.
pub(super) async fn run(context: &Context, args: BackfillArgs) -> Result<Exit, Failure> {
    let zone = context.zone()?;
    engine::settings(context)?;
    let stop = engine::signals(Exit::Failed)?;
    let accounts = context.accounts()?;
    let mut outcomes = AccountOutcomes::of(context, accounts.len());
    // Resolves names and refuses wrong filters before anything is written.
    let mut asked = Vec::new();
    for account in &accounts {
        let client = engine::client(context, account, args.max_runtime)?;
        let question = match args.filter.resolve(&client, zone).await {
            Err(failure) if failure.exit == Exit::Usage => return Err(failure),
            question => question.map_err(|failure| account.concern(failure)),
        };
        if let Some(question) = outcomes.record(question) {
            asked.push((account, client, question));
        }
    }
    if args.dry_run {
        return dry_run(context, &asked, outcomes, &stop).await;
    }
    if asked.is_empty() {
        return outcomes.conclude(Exit::Done);
    }
    let store = context.store(Access::Create).await?;
    let over = engine::stop_after(&context.clock, &stop, args.max_runtime);
    let budget = args.limit.map(AtomicU64::new);
    let mut runs = Runs::new();
    for (account, client, question) in asked {
        let made = async {
            let leased =
                LeasedEngine::begin(context, &store, account, client, args.wait, &over).await?;
            let limits = RunLimits {
                stop: &leased.stop,
                budget: budget.as_ref(),
            };
            let made = read(context, &leased, &question, args.restart, limits).await;
            leased.end().await;
            made.map_err(|failure| account.concern(failure))
        };
        if let Some(made) = outcomes.record(engine::stopped_or(Box::pin(made).await)) {
            runs.extend(engine::named(account, made, outcomes.several()));
        }
    }
    let exit = engine::conclude_unless_stopped(context, &runs, &stop);
    if exit == Exit::Done && outcomes.all_well() && runs.iter().all(RunReport::succeeded) {
        let count = |rows: fn(&RunReport) -> u64| number(runs.iter().map(rows).sum());
        context.note(&format!(
            "done: {} sessions read, {} new, {} changed, {} unchanged, {} rejected",
            count(|run| run.counters.rows_read),
            count(|run| run.counters.rows_inserted),
            count(|run| run.counters.rows_updated),
            count(|run| run.counters.rows_unchanged),
            count(|run| run.counters.rows_rejected),
        ));
    }
    store.close().await;
    outcomes.conclude(exit)
}

/// Counts what would be read, all accounts together.
async fn dry_run(
    context: &Context,
    asked: &[(&Account, Client, ResolvedFilter)],
    mut outcomes: AccountOutcomes<'_>,
    stop: &CancellationToken,
) -> Result<Exit, Failure> {
    let size = engine::settings(context)?.walk.page_size;
    let store = context.store_if_readable().await?;
    let mut total = Estimate::default();
    for (account, client, question) in asked {
        let estimate = async {
            if let Some(store) = &store {
                stored::confirm(store, &account.name, client, stop).await?;
            }
            let (sessions, created) = (Resource::Sessions, question.created);
            let filters = &question.filters;
            Ok(sync::estimate(client, sessions, created, filters, size, stop).await?)
        };
        let estimate = estimate.await.map_err(|failure| account.concern(failure));
        if let Some(estimate) = outcomes.record(estimate) {
            total.records += estimate.records;
            total.requests += estimate.requests;
        }
    }
    if !outcomes.all_failed() {
        writeln!(
            io::stdout().lock(),
            "dry run, nothing was written: {} in at least {}, {}",
            engine::counted(total.records, "session"),
            engine::requests(total.requests),
            engine::least_time(context, total.requests)?,
        )?;
    }
    outcomes.conclude(Exit::Done)
}

/// Resumes the same backfill if one is unfinished, else starts it.
async fn read(
    context: &Context,
    leased: &LeasedEngine,
    question: &ResolvedFilter,
    restart: bool,
    limits: RunLimits<'_>,
) -> Result<Runs, Failure> {
    let (engine, store) = (&leased.engine, &leased.store);
    engine.identify(limits.stop).await?;
    let account = engine.lease().account();
    let same = |backfill: &Backfill| {
        !backfill.first_load
            && backfill.resource == Resource::Sessions
            && backfill.range == question.created
            && backfill.filters == question.filters
    };
    let unfinished = store
        .unfinished_backfills(account)
        .await?
        .into_iter()
        .find(same);
    let id = match unfinished {
        // The transaction that records the new backfill cancels the old one.
        Some(_) if restart => None,
        Some(old) => {
            context.note(&format!(
                "resuming the unfinished backfill: {} windows done, {} left (--restart starts over)",
                number(old.windows_done),
                number(old.windows_left)
            ));
            Some(old.id)
        }
        None => None,
    };
    let id = if let Some(id) = id {
        id
    } else {
        let (range, filters) = (question.created, question.filters.clone());
        engine
            .plan_backfill(Resource::Sessions, range, filters, false, limits)
            .await?
    };
    let backfill = store
        .unfinished_backfills(account)
        .await?
        .into_iter()
        .find(|b| b.id == id);
    let Some(backfill) = backfill else {
        return Ok(Runs::new());
    };
    let loaded = context.settings.sync()?.resources;
    Ok(engine.work_on(&backfill, &loaded, limits).await)
}
