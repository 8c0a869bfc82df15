//! `backfill`: a range of sessions, once.

use std::io::{self, Write};
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use clap::Args;

use super::engine::{self, Working};
use super::record::number;
use super::{Access, Context, Exit, Failure, FilterArgs, Question, duration};
use crate::data::Resource;
use crate::store::Backfill;
use crate::sync::{self, Estimate, Limits, RunReport, Runs};

/// Read a range of sessions again, or for the first time.
///
/// Without a range: everything. The range is read in windows of creation time, newest first; every
/// window that is finished is a checkpoint. Killed or stopped, the next backfill with the same
/// range and filters goes on from there and says so; so do run and sync. What is already stored and
/// has not changed is not written again.
///
/// Dates: 2025-12-31, "2025-12-31 18:30" in the configured time zone, or RFC 3339. A day alone
/// is meant whole: --to 2025-12-31 includes that day.
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
    /// Say how many sessions and requests there are and how long they take under the limits; write
    /// nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Stop after this long (30s, 10m, 2h); the next start goes on from there [default: no limit]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub max_runtime: Option<Duration>,
    /// Stop after this many sessions; the next start goes on from there [default: no limit]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Begin again instead of going on with an unfinished backfill of the same range
    #[arg(long)]
    pub restart: bool,
    /// Wait until another process that writes for the account has ended, instead of exiting with 1
    #[arg(long)]
    pub wait: bool,
}

/// Reads the range of every account.
pub(super) async fn run(context: &Context, args: BackfillArgs) -> Result<Exit, Failure> {
    let zone = context.zone()?;
    let settings = engine::settings(context)?;
    let stop = engine::signals()?;
    let accounts = context.accounts()?;
    // Names are resolved, and what is wrong with the filters refused, before anything is touched.
    let mut asked = Vec::new();
    for account in &accounts {
        let client = engine::client(context, account, args.max_runtime)?;
        let question = args
            .filter
            .resolve(&client, zone)
            .await
            .map_err(|failure| match failure.exit {
                Exit::Usage => failure,
                _ => account.concern(failure),
            })?;
        asked.push((account, client, question));
    }
    if args.dry_run {
        let mut total = Estimate::default();
        for (_, client, question) in &asked {
            let (created, size) = (question.created, settings.walk.page_size);
            let sessions = Resource::Sessions;
            let estimate =
                sync::estimate(client, sessions, created, &question.filters, size, &stop).await?;
            total.records += estimate.records;
            total.requests += estimate.requests;
        }
        let least = engine::least_time(context, total.requests)?;
        writeln!(
            io::stdout().lock(),
            "{} sessions in {} requests, {least}; nothing was written",
            number(total.records),
            number(total.requests),
        )?;
        return Ok(Exit::Done);
    }
    let store = context.store(Access::Write).await?;
    engine::stop_after(&context.clock, &stop, args.max_runtime);
    let budget = args.limit.map(AtomicU64::new);
    let mut runs = Vec::new();
    for (account, client, question) in asked {
        let working = Working::begin(context, &store, account, client, args.wait, &stop).await?;
        let limits = Limits {
            stop: &working.stop,
            budget: budget.as_ref(),
        };
        let made = read(context, &working, &question, args.restart, limits).await;
        working.end().await;
        match made {
            Ok(made) => runs.extend(made),
            Err(failure) => {
                store.close().await;
                return Err(account.concern(failure));
            }
        }
    }
    let exit = engine::conclude(context, &runs);
    if exit == Exit::Done && runs.iter().all(RunReport::succeeded) {
        let count = |rows: fn(&RunReport) -> u64| number(runs.iter().map(rows).sum());
        context.note(&format!(
            "done: {} sessions read, {} new, {} changed, {} as they were, {} rejected",
            count(|run| run.counters.rows_read),
            count(|run| run.counters.rows_inserted),
            count(|run| run.counters.rows_updated),
            count(|run| run.counters.rows_unchanged),
            count(|run| run.counters.rows_rejected),
        ));
    }
    store.close().await;
    Ok(exit)
}

/// Goes on with the same backfill if it is unfinished, else begins it.
async fn read(
    context: &Context,
    working: &Working,
    question: &Question,
    restart: bool,
    limits: Limits<'_>,
) -> Result<Runs, Failure> {
    let (engine, store) = (&working.engine, &working.store);
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
        Some(old) if restart => {
            store
                .cancel_backfill(engine.lease(), old.id, context.clock.now())
                .await?;
            None
        }
        Some(old) => {
            context.note(&format!(
                "going on where the last one stopped: {} windows done, {} left (--restart begins again)",
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
