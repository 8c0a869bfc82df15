//! `sync`: one pass.

use std::io;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::each::Each;
use super::engine::{self, Working};
use super::record::number;
use super::{Access, Account, Context, Exit, Failure, duration, positive, stored};
use crate::data::{Resource, RunKind, SessionFilter, Source, Span, StreamState};
use crate::report::{Format, Printer, terminal_width};
use crate::store::Store;
use crate::sync::{self, Estimate, Limits, RunError, RunReport, Runs, Verdict, WalkError};

/// Make one pass and exit.
///
/// Reads what changed since the last pass and the small lists whole, or goes on with a first load
/// that was not finished. Logs one line for each resource.
///
/// Exits with 1 if a resource or an account could not be read, naming it, and if a signal stopped
/// it before its end; what else was read is stored all the same. Exits with 3 if the API refuses
/// the token of every account.
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
    /// Read everything again, whatever the watermark says; rows that did not change stay untouched.
    /// One that was stopped is gone on with
    #[arg(long)]
    pub full_refresh: bool,
    /// Say what would be read, and how many requests that takes at least; write nothing
    #[arg(long, conflicts_with_all = ["max_runtime", "limit", "wait"])]
    pub dry_run: bool,
    /// Stop after this long (30s, 10m, 2h), with exit status 0; the next start goes on from there
    /// [default: no limit]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub max_runtime: Option<Duration>,
    /// Stop at the end of the page with which this many sessions and contacts are read, with exit
    /// status 0; the next start goes on from there. Tags, channels, departments and agents are read
    /// whole and not counted [default: no limit]
    #[arg(long, value_name = "COUNT", value_parser = positive::<u64>)]
    pub limit: Option<u64>,
    /// Wait until another process that writes for the account has ended, instead of exiting with 1
    #[arg(long)]
    pub wait: bool,
}

/// Makes one pass over every account.
pub(super) async fn run(context: &Context, args: SyncArgs) -> Result<Exit, Failure> {
    let resources = engine::chosen(context, &args.resources)?;
    context.zone()?;
    let accounts = context.accounts()?;
    let stop = engine::signals(Exit::Failed)?;
    if args.dry_run {
        return dry_run(context, &args, &resources, &accounts, &stop).await;
    }
    let store = context.store(Access::Create).await?;
    let over = engine::stop_after(&context.clock, &stop, args.max_runtime);
    let budget = args.limit.map(AtomicU64::new);
    let mut runs = Runs::new();
    let mut each = Each::of(context, accounts.len());
    for account in &accounts {
        let made = async {
            let client = engine::client(context, account, args.max_runtime)?;
            let working =
                Working::begin(context, &store, account, client, args.wait, &over).await?;
            let limits = Limits {
                stop: &working.stop,
                budget: budget.as_ref(),
            };
            let made = pass(&working, &resources, args.full_refresh, limits).await;
            working.end().await;
            made.map_err(|error| account.concern(error.into()))
        };
        if let Some(made) = each.yielded(engine::stopped_or(made.await)) {
            runs.extend(engine::named(account, made, each.several()));
        }
    }
    let exit = engine::conclude_unless_stopped(context, &runs, &stop);
    store.close().await;
    each.conclude(exit)
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
    let unfinished = working
        .store
        .unfinished_backfills(engine.lease().account())
        .await?;
    for &resource in resources.iter().filter(|resource| !resource.is_list()) {
        let planned = if unloaded.contains(&resource) {
            engine.plan_first_load(resource, limits).await
        } else if full_refresh {
            let filters = vec![SessionFilter::default()];
            // One that was stopped is gone on with, below.
            let begun = unfinished.iter().any(|old| {
                !old.first_load
                    && old.resource == resource
                    && old.range == Span::OPEN
                    && old.filters == filters
            });
            if begun {
                continue;
            }
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
    note_unread(working, resources, &mut runs).await;
    Ok(runs)
}

/// Adds what no run says: resources that were not begun, or whose loads were not, since a run before
/// them ended everything.
async fn note_unread(working: &Working, resources: &[Resource], runs: &mut Runs) {
    if runs.iter().all(RunReport::succeeded) {
        return;
    }
    let account = working.engine.lease().account();
    // A database that cannot be asked has failed a run already.
    let loads = working.store.unfinished_backfills(account).await;
    let loads = loads.unwrap_or_default();
    for &resource in resources {
        let mut its = runs.iter().filter(|run| {
            let rest = run.subject.strip_prefix(resource.name());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(" ("))
        });
        let was_read = its.clone().next().is_some();
        let is_told = its.any(|run| !run.succeeded());
        let is_loading = loads.iter().any(|load| load.resource == resource);
        if !is_told && (is_loading || !was_read) {
            let kind = RunKind::FirstLoad;
            runs.push(RunReport::failed(kind, resource, WalkError::Stopped.into()));
        }
    }
}

async fn dry_run(
    context: &Context,
    args: &SyncArgs,
    resources: &[Resource],
    accounts: &[Account],
    stop: &CancellationToken,
) -> Result<Exit, Failure> {
    let store = context.store_if_readable().await?;
    if store.is_none() {
        context.note("there is no mirror that could be read: everything is counted as new");
    }
    let columns = [
        "account",
        "resource",
        "would read",
        "records",
        "requests at least",
    ];
    let mut printer = Printer::new(io::stdout(), Format::Table, &columns, terminal_width())?;
    let mut requests = 0;
    let mut each = Each::of(context, accounts.len());
    for account in accounts {
        let surveyed = survey(context, args, resources, account, store.as_ref(), stop).await;
        let surveyed = surveyed.map_err(|failure| account.concern(failure));
        for (resource, what, estimate) in each.yielded(surveyed).unwrap_or_default() {
            requests += estimate.requests;
            let cells = [
                account.name.clone(),
                resource.to_string(),
                what.to_owned(),
                number(estimate.records),
                number(estimate.requests),
            ];
            printer.record(&cells, "")?;
        }
    }
    printer.finish()?;
    context.note(&format!(
        "nothing was written; at least {}, {}",
        engine::requests(requests),
        engine::least_time(context, requests)?
    ));
    each.conclude(Exit::Done)
}

/// What a pass over an account would read, resource by resource.
async fn survey(
    context: &Context,
    args: &SyncArgs,
    resources: &[Resource],
    account: &Account,
    store: Option<&Store>,
    stop: &CancellationToken,
) -> Result<Vec<(Resource, &'static str, Estimate)>, Failure> {
    let settings = engine::settings(context)?;
    let client = engine::client(context, account, None)?;
    let stored = match store {
        Some(store) => {
            stored::confirm(store, &account.name, &client, stop).await?;
            store.find_account(&account.name).await?
        }
        None => None,
    };
    let mut surveyed = Vec::new();
    for &resource in resources {
        if resource.is_list() {
            let records = client.list(resource).await?.items.len() as u64;
            let estimate = Estimate {
                records,
                requests: 1,
            };
            surveyed.push((resource, "all", estimate));
            continue;
        }
        let mut changes = Some(Estimate::default());
        for stream in resource.streams() {
            let state = match (store, &stored) {
                (Some(store), Some(account)) => store.state(account.id, stream).await?,
                _ => StreamState::new(stream),
            };
            let more = sync::estimate_changes(&client, &state, &settings.walk, stop).await?;
            changes = changes.zip(more).map(|(sum, more)| Estimate {
                records: sum.records + more.records,
                requests: sum.requests + more.requests,
            });
        }
        if let Some(changes) = changes.filter(|_| !args.full_refresh) {
            surveyed.push((resource, "changes", changes));
        } else {
            let filters = [SessionFilter::default()];
            let size = settings.walk.page_size;
            let all = sync::estimate(&client, resource, Span::OPEN, &filters, size, stop).await?;
            surveyed.push((resource, "all", all));
        }
    }
    Ok(surveyed)
}
