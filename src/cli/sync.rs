//! `sync`: one pass.

use std::io;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use clap::Args;

use super::engine::{self, Working};
use super::record::number;
use super::{Access, Account, Context, Exit, Failure, duration};
use crate::data::{Resource, RunKind, SessionFilter, Source, Span, StreamState};
use crate::report::{Format, Printer, terminal_width};
use crate::sync::{self, Estimate, Limits, RunError, Runs, Verdict};

/// Make one pass and exit.
///
/// Reads what changed since the last pass and the small lists whole, or goes on with a first load
/// that was not finished. Logs one line for each resource.
///
/// Exits with 1 if a resource could not be read, naming it; the others are stored all the same.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  helena-sync sync
  helena-sync sync --resource sessions --resource tags
  helena-sync sync --full-refresh --max-runtime 30m")]
pub struct SyncArgs {
    /// Only this resource: sessions, contacts, tags, channels, departments or agents; may be
    /// repeated [default: sync.resources]
    #[arg(long = "resource", value_name = "RESOURCE")]
    pub resources: Vec<Resource>,
    /// Read everything again, whatever the watermark says; rows that did not change stay untouched
    #[arg(long)]
    pub full_refresh: bool,
    /// Say what would be read, and how many requests that takes at least; write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Stop after this long (30s, 10m, 2h); the next start goes on from there [default: no limit]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub max_runtime: Option<Duration>,
    /// Stop after this many records; the next start goes on from there [default: no limit]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Wait until another process that writes for the account has ended, instead of exiting with 1
    #[arg(long)]
    pub wait: bool,
}

/// Makes one pass over every account.
pub(super) async fn run(context: &Context, args: SyncArgs) -> Result<Exit, Failure> {
    let resources = engine::chosen(context, &args.resources)?;
    let accounts = context.accounts()?;
    if args.dry_run {
        return dry_run(context, &args, &resources, &accounts).await;
    }
    let stop = engine::signals()?;
    let store = context.store(Access::Write).await?;
    engine::stop_after(&context.clock, &stop, args.max_runtime);
    let budget = args.limit.map(AtomicU64::new);
    let mut runs = Vec::new();
    for account in &accounts {
        let client = engine::client(context, account, args.max_runtime)?;
        let working = Working::begin(context, &store, account, client, args.wait, &stop).await?;
        let limits = Limits {
            stop: &working.stop,
            budget: budget.as_ref(),
        };
        let made = pass(&working, &resources, args.full_refresh, limits).await;
        working.end().await;
        match made {
            Ok(made) => runs.extend(made),
            Err(error) => {
                store.close().await;
                return Err(account.concern(error.into()));
            }
        }
    }
    let exit = engine::conclude(context, &runs);
    store.close().await;
    Ok(exit)
}

/// One pass: lists, loads that are due or unfinished, changes.
pub(super) async fn pass(
    working: &Working,
    resources: &[Resource],
    full_refresh: bool,
    limits: Limits<'_>,
) -> Result<Runs, RunError> {
    let engine = &working.engine;
    engine.identify(limits.stop).await?;
    let mut runs = engine.lists(resources, limits).await;
    let unloaded = engine.unloaded(resources).await?;
    for &resource in resources.iter().filter(|resource| !resource.is_list()) {
        let planned = if unloaded.contains(&resource) {
            engine.plan_first_load(resource, limits).await
        } else if full_refresh {
            let filters = vec![SessionFilter::default()];
            engine
                .plan_backfill(resource, Span::OPEN, filters, false, limits)
                .await
        } else {
            continue;
        };
        match planned {
            Ok(_) => {}
            Err(error) if error.verdict() == Verdict::NextResource => {
                runs.push(engine.failed(RunKind::FirstLoad, resource, error).await);
            }
            Err(error) => return Err(error),
        }
    }
    runs.extend(engine.incremental(resources, limits).await);
    if !limits.stop.is_cancelled() {
        runs.extend(engine.work_off(resources, limits).await);
    }
    Ok(runs)
}

async fn dry_run(
    context: &Context,
    args: &SyncArgs,
    resources: &[Resource],
    accounts: &[Account],
) -> Result<Exit, Failure> {
    let settings = engine::settings(context)?;
    let stop = engine::signals()?;
    let store = match context.store(Access::Read).await {
        Ok(store) => Some(store),
        Err(failure) if failure.exit == Exit::Failed => {
            context.note("there is no mirror that could be read: everything is counted as new");
            None
        }
        Err(failure) => return Err(failure),
    };
    let columns = ["account", "resource", "would read", "records", "requests"];
    let mut printer = Printer::new(io::stdout(), Format::Table, &columns, terminal_width())?;
    let mut requests = 0;
    for account in accounts {
        let client = engine::client(context, account, args.max_runtime)?;
        let stored = match &store {
            Some(store) => store.find_account(&account.name).await?,
            None => None,
        };
        for &resource in resources {
            let (what, estimate) = if resource.is_list() {
                let records = client.list(resource).await?.items.len() as u64;
                (
                    "all",
                    Estimate {
                        records,
                        requests: 1,
                    },
                )
            } else {
                let mut changes = Some(Estimate::default());
                for stream in resource.streams() {
                    let state = match (&store, &stored) {
                        (Some(store), Some(account)) => store.state(account.id, stream).await?,
                        _ => StreamState::new(stream),
                    };
                    let more =
                        sync::estimate_changes(&client, &state, &settings.walk, &stop).await?;
                    changes = changes.zip(more).map(|(sum, more)| Estimate {
                        records: sum.records + more.records,
                        requests: sum.requests + more.requests,
                    });
                }
                if let Some(changes) = changes.filter(|_| !args.full_refresh) {
                    ("changes", changes)
                } else {
                    let filters = [SessionFilter::default()];
                    let size = settings.walk.page_size;
                    let all = sync::estimate(&client, resource, Span::OPEN, &filters, size, &stop)
                        .await?;
                    ("all", all)
                }
            };
            requests += estimate.requests;
            let cells = [
                account.name.clone(),
                resource.to_string(),
                what.to_owned(),
                number(estimate.records),
                number(estimate.requests),
            ];
            let json = serde_json::json!({
                "account": account.name, "resource": resource.name(), "reads": what,
                "records": estimate.records, "requests": estimate.requests,
            });
            printer.record(&cells, &json.to_string())?;
        }
    }
    printer.finish()?;
    context.note(&format!(
        "nothing was written; {} requests, {}",
        number(requests),
        engine::least_time(context, requests)?
    ));
    Ok(Exit::Done)
}
