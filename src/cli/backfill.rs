//! `backfill`: reads a range of sessions once.

use std::io::{self, Write};
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::account_outcomes::AccountOutcomes;
use super::engine::{self, LeasedEngine, Resumed};
use super::record::number;
use super::status::backfill_text;
use super::{
    Access, Account, Context, Exit, Failure, FilterArgs, ResolvedFilter, duration, positive,
    stored, whole,
};
use crate::api::Client;
use crate::config::Zone;
use crate::data::{Resource, counted};
use crate::status::{self, BackfillStatus};
use crate::store::{AccountId, Backfill};
use crate::sync::{self, Estimate, RunLimits, RunReport, Runs};

/// Read a range of sessions again, or for the first time.
///
/// Without a range, it reads everything. It splits the range into windows of creation times and reads
/// the newest first; every finished window is a checkpoint. If it is killed or stopped, the next
/// backfill with the same range and filters resumes it and says so. run and sync do so only with
/// --backfills. Rows that did not change are not written.
///
/// `status` shows unfinished backfills; --cancel cancels one of them.
///
/// Exits with 1 if the range of an account could not be read completely, and names the account. Also
/// exits with 1 if a signal stopped it. Exits with 3 if the API refuses the token of every account.
///
/// Dates: 2025-12-31, "2025-12-31 18:30" in the configured time zone, 2025-12, today, yesterday, 7d
/// (so long ago), or RFC 3339. A day without a time means the whole day: --to 2025-12-31 includes
/// that day; so does a month.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  helena-sync backfill --from 2024-01-01
  helena-sync backfill --from 2025-12-01 --to 2025-12-31 --status COMPLETED --tag VIP --dry-run
  helena-sync backfill --department Vendas --department Suporte --max-runtime 1h
  helena-sync backfill --cancel 5")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
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
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = positive::<u64>)]
    pub limit: Option<u64>,
    /// Start from the beginning instead of resuming an unfinished backfill of the same range
    #[arg(long)]
    pub restart: bool,
    /// Wait for another process that holds the lease of the account to end, instead of exiting with 1
    #[arg(long)]
    pub wait: bool,
    /// Cancel the unfinished backfill with this id instead of reading; the id may be left out if there is
    /// only one. Rows that it stored stay
    #[arg(long, value_name = "ID", num_args = 0..=1, value_parser = whole::<i64>, conflicts_with_all = ["dry_run", "max_runtime", "limit", "restart", "wait"])]
    pub cancel: Option<Option<i64>>,
    /// With --cancel: all unfinished backfills
    #[arg(long, requires = "cancel")]
    pub all: bool,
}

/// Reads the range of every account.
pub(super) async fn run(context: &Context, args: BackfillArgs) -> Result<Exit, Failure> {
    if let Some(id) = args.cancel {
        return cancel(context, &args, id).await;
    }
    let calendar = context.calendar()?;
    engine::settings(context)?;
    for remark in args.filter.remarks(&calendar)? {
        context.note(&remark);
    }
    let stop = engine::signals(Exit::Failed)?;
    let over = engine::stop_after(&context.clock, &stop, args.max_runtime);
    let accounts = context.accounts()?;
    let mut outcomes = AccountOutcomes::of(context, accounts.len());
    // Resolves names and refuses wrong filters before anything is written.
    let mut asked = Vec::new();
    for account in &accounts {
        let client = engine::client(context, account, args.max_runtime)?;
        let resolved = tokio::select! {
            biased;
            () = over.cancelled() => {
                context.note("stopped early, before anything was read; run the same command again");
                let ended = if stop.is_cancelled() { Exit::Failed } else { Exit::Done };
                return outcomes.conclude(ended);
            }
            resolved = args.filter.resolve(&client, &calendar) => resolved,
        };
        let question = match resolved {
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
    let exit = engine::conclude_unless_stopped(context, &runs, &stop, Resumed::ByBackfill);
    if exit == Exit::Done && outcomes.all_well() && runs.iter().all(RunReport::succeeded) {
        let count = |rows: fn(&RunReport) -> u64| number(runs.iter().map(rows).sum());
        context.note(&format!(
            "done: {} read, {} new, {} changed, {} unchanged, {} rejected",
            counted(
                runs.iter().map(|run| run.counters.rows_read).sum(),
                "session"
            ),
            count(|run| run.counters.rows_inserted),
            count(|run| run.counters.rows_updated),
            count(|run| run.counters.rows_unchanged),
            count(|run| run.counters.rows_rejected),
        ));
    }
    store.close().await;
    outcomes.conclude(exit)
}

/// Cancels unfinished backfills: the one with this id, the only one, or all.
async fn cancel(context: &Context, args: &BackfillArgs, id: Option<i64>) -> Result<Exit, Failure> {
    if args.filter != FilterArgs::default() {
        return Err(Failure::usage_text(
            "--cancel does not accept filters: give the id of the backfill, which `helena-sync status` \
             shows, or --all",
        ));
    }
    if args.all && id.is_some() {
        return Err(Failure::usage_text(
            "--cancel accepts an id or --all, not both",
        ));
    }
    let (zone, now) = (context.zone()?, context.clock.now());
    let store = context.store(Access::Write).await?;
    let mut known = Vec::new();
    for account in stored::accounts(context, &store).await? {
        for backfill in status::unfinished(&store, account.id, now).await? {
            known.push((account.id, backfill));
        }
    }
    let chosen = choose(&known, args.all, id, zone)?;
    let mut cancelled = 0;
    for (account, backfill) in chosen {
        cancelled += store
            .cancel_backfills(*account, &[backfill.id], now)
            .await?;
    }
    store.close().await;
    let loads = known.iter().filter(|(_, it)| !it.cancellable).count();
    context.note(&match cancelled {
        0 if loads > 0 => format!(
            "nothing to cancel: {} of all records cannot be cancelled, because rows would be missing; the next \
             sync resumes what is unfinished",
            counted(loads as u64, "load")
        ),
        0 => "no backfill is unfinished: nothing to cancel".to_owned(),
        count => format!(
            "cancelled {}; the rows that were stored stay",
            counted(count, "backfill")
        ),
    });
    Ok(Exit::Done)
}

/// The backfills to cancel.
fn choose(
    known: &[(AccountId, BackfillStatus)],
    all: bool,
    id: Option<i64>,
    zone: Zone,
) -> Result<Vec<&(AccountId, BackfillStatus)>, Failure> {
    if let Some(id) = id {
        let Some(one) = known.iter().find(|(_, backfill)| backfill.id == id) else {
            return Err(Failure::usage_text(format!(
                "there is no unfinished backfill {id}; `helena-sync status` shows all unfinished backfills"
            )));
        };
        if !one.1.cancellable {
            return Err(Failure::usage_text(format!(
                "{id} reads all {}, and rows may be missing until it is done: it cannot be cancelled. \
                 `helena-sync sync` resumes it.",
                one.1.resource
            )));
        }
        return Ok(vec![one]);
    }
    let cancellable = known.iter().filter(|(_, backfill)| backfill.cancellable);
    let chosen: Vec<_> = cancellable.collect();
    if !all && chosen.len() > 1 {
        let list: Vec<String> = chosen
            .iter()
            .map(|(_, backfill)| format!("\n  {}", backfill_text(backfill, zone)))
            .collect();
        return Err(Failure::usage_text(format!(
            "there are several unfinished backfills; give --cancel the id of one, or add --all:{}",
            list.concat()
        )));
    }
    Ok(chosen)
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
            counted(total.records, "session"),
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
        // The transaction that records the new backfill cancels the old ones.
        Some(_) if restart => None,
        Some(old) => {
            context.note(&format!(
                "resuming the unfinished backfill: {} done, {} left (--restart starts over)",
                counted(old.windows_done, "window"),
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
            .plan_backfill(Resource::Sessions, range, filters, true, limits)
            .await?
    };
    let backfill = store
        .unfinished_backfills(account)
        .await?
        .into_iter()
        .find(|b| b.id == id);
    let loaded = context.settings.sync()?.resources;
    let runs = match backfill {
        Some(backfill) => engine.work_on(&backfill, &loaded, limits).await,
        None => Runs::new(),
    };
    // A failed run says more.
    if runs.iter().all(RunReport::succeeded) && store.is_cancelled(id).await? {
        return Err(Failure::failed(anyhow::anyhow!(
            "backfill {id} was cancelled while this command read it; the rows that it stored stay. The same \
             command reads all of it again"
        )));
    }
    Ok(runs)
}
