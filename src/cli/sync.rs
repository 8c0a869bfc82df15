//! `sync`: one pass.

use std::io;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::account_outcomes::AccountOutcomes;
use super::engine::{self, EngineMaker, LeasedEngine, Resumed};
use super::record::number;
use super::{Access, Account, Context, Exit, Failure, duration, positive, stored};
use crate::data::{Resource, RunKind, SessionFilter, Source, Span, StreamState};
use crate::output::{Format, Printer, terminal_width};
use crate::store::Store;
use crate::sync::{self, Estimate, FailureAction, RunError, RunLimits, RunReport, Runs};

/// Sync once and exit.
///
/// Reads what changed since the last sync, and the small lists completely. Resumes a first load that
/// is unfinished. Logs one line for each resource.
///
/// Exits with 1 if a resource or an account could not be read, and names it; everything else that
/// was read is stored. Also exits with 1 if a signal stopped it. Exits with 3 if the API refuses
/// the token of every account.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  helena-sync sync
  helena-sync sync --resource sessions --resource tags
  helena-sync sync --full-refresh --max-runtime 30m")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub struct SyncArgs {
    /// The resources to sync. Empty means all in sync.resources.
    #[arg(long = "resource", value_name = "RESOURCE", value_delimiter = ',', value_parser = engine::resources(), help = engine::WHICH_RESOURCES)]
    pub resources: Vec<Resource>,
    /// Read everything again, whatever the watermark says. Rows that did not change are not written.
    /// If an earlier full refresh was interrupted, it is resumed
    #[arg(long)]
    pub full_refresh: bool,
    /// Print what would be read and the minimum number of requests, and write nothing
    #[arg(long, conflicts_with_all = ["max_runtime", "limit", "wait", "backfills"])]
    pub dry_run: bool,
    /// Stop after this time (30s, 10m, 2h), with exit status 0; the next sync resumes
    /// [default: no limit]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub max_runtime: Option<Duration>,
    /// Stop after the page that completes this many sessions and contacts, with exit status 0; the
    /// next sync resumes. The small lists do not count [default: no limit]
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = positive::<u64>)]
    pub limit: Option<u64>,
    /// Also resume unfinished backfills. Without it, only the same backfill resumes them
    #[arg(long)]
    pub backfills: bool,
    /// Wait for another process that holds the lease of the account to end, instead of exiting with 1
    #[arg(long)]
    pub wait: bool,
}

/// Syncs every account once.
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
    let mut outcomes = AccountOutcomes::of(context, accounts.len());
    for account in &accounts {
        let made = async {
            let client = engine::client(context, account, args.max_runtime)?;
            let maker = EngineMaker::new(context, &store, &account.name, client)?
                .resuming_requested(args.backfills);
            let leased = Box::pin(LeasedEngine::made_by(
                maker, context, &store, account, args.wait, &over,
            ))
            .await?;
            let limits = RunLimits {
                stop: &leased.stop,
                budget: budget.as_ref(),
            };
            let made = pass(&leased, &resources, args.full_refresh, limits).await;
            leased.end().await;
            made.map_err(|error| account.concern(error.into()))
        };
        if let Some(made) = outcomes.record(engine::stopped_or(Box::pin(made).await)) {
            runs.extend(engine::named(account, made, outcomes.several()));
        }
    }
    let exit = engine::conclude_unless_stopped(context, &runs, &stop, Resumed::BySync);
    store.close().await;
    outcomes.conclude(exit)
}

/// Syncs once: reads lists, loads that are due or unfinished, and changes.
pub(super) async fn pass(
    leased: &LeasedEngine,
    resources: &[Resource],
    full_refresh: bool,
    limits: RunLimits<'_>,
) -> Result<Runs, RunError> {
    let engine = &leased.engine;
    engine.identify(limits.stop).await?;
    let mut runs = engine.lists(resources, limits).await;
    let unloaded = engine.unloaded(resources).await?;
    let unfinished = leased
        .store
        .unfinished_backfills(engine.lease().account())
        .await?;
    for &resource in resources.iter().filter(|resource| !resource.is_list()) {
        let planned = if unloaded.contains(&resource) {
            engine.plan_first_load(resource, limits).await
        } else if full_refresh {
            let filters = vec![SessionFilter::default()];
            // `work_off`, below, resumes an interrupted one.
            let begun = unfinished.iter().any(|old| {
                !old.first_load
                    && !old.on_request
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
            Err(error) if error.action() == FailureAction::NextResource => {
                runs.push(engine.failed(RunKind::FirstLoad, resource, error).await);
            }
            Err(error) => return Err(error),
        }
    }
    runs.extend(engine.incremental(resources, limits).await);
    // Also after a stop, since this reports the loads that stay unfinished.
    runs.extend(engine.work_off(resources, limits).await);
    note_unread(leased, resources, &mut runs).await;
    // Without a daemon, nothing else deletes old runs.
    engine.forget_runs().await;
    Ok(runs)
}

/// Adds a stopped run for each resource that has none because an earlier failure ended the sync:
/// resources that were not read, and those with unfinished loads.
async fn note_unread(leased: &LeasedEngine, resources: &[Resource], runs: &mut Runs) {
    if runs.iter().all(RunReport::succeeded) {
        return;
    }
    let account = leased.engine.lease().account();
    // If the database cannot be read, a run has failed already.
    let loads = leased.store.unfinished_backfills(account).await;
    let loads = loads.unwrap_or_default();
    for &resource in resources {
        let mut its = runs.iter().filter(|run| run.stream.resource == resource);
        let was_read = its.clone().next().is_some();
        let is_told = its.any(|run| !run.succeeded());
        let is_loading = loads
            .iter()
            .any(|load| load.resource == resource && !load.on_request);
        if !is_told && (is_loading || !was_read) {
            let kind = RunKind::FirstLoad;
            runs.push(RunReport::failed(kind, resource, RunError::Stopped));
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
        context
            .note("cannot read the mirror, or it does not exist yet: counting everything as new");
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
    let mut outcomes = AccountOutcomes::of(context, accounts.len());
    for account in accounts {
        let surveyed = survey(context, args, resources, account, store.as_ref(), stop).await;
        let surveyed = surveyed.map_err(|failure| account.concern(failure));
        for (resource, what, estimate) in outcomes.record(surveyed).unwrap_or_default() {
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
        "dry run, nothing was written; a sync takes at least {}, {}",
        engine::requests(requests),
        engine::least_time(context, requests)?
    ));
    outcomes.conclude(Exit::Done)
}

/// What a sync of an account would read of each resource.
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
                uncounted: false,
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
                uncounted: sum.uncounted || more.uncounted,
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
