//! `rejects`: shows the rejects and fetches their records again.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Write};

use clap::{Args, Subcommand};
use uuid::Uuid;

use super::account_outcomes::AccountOutcomes;
use super::engine::{self, LeasedEngine, Resumed};
use super::formats::TextOrJson;
use super::record::number;
use super::{Access, Context, Exit, Failure, positive, refused_options, stored, whole};
use crate::data::Resource;
use crate::output::{Printer, Wrapping, cell, terminal_width};
use crate::store::{RejectFilter, StoredReject};
use crate::sync::RunLimits;

/// Show the rejects, or fetch their records again.
///
/// A reject is a record, or a part of one, that could not be stored in its table. It is kept as the
/// platform sent it, together with the reason, and does not stop other records. When a later
/// version of the record can be stored, the reject is resolved.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_long_help = "\
Examples:
  helena-sync rejects
  helena-sync rejects show 17
  helena-sync rejects retry"
)]
pub struct RejectsArgs {
    /// What to do. The default is list.
    #[command(subcommand)]
    pub command: Option<RejectsCommand>,
    /// Options of list.
    #[command(flatten)]
    pub list: ListArgs,
}

/// What to do with rejects.
#[derive(Debug, Subcommand)]
pub enum RejectsCommand {
    /// List the rejects, newest first
    ///
    /// The same as rejects alone. Prints the reject's id, the resource, the record's id if it is
    /// readable, the reason, and when the reject was last seen.
    #[command(after_long_help = "\
Examples:
  helena-sync rejects
  helena-sync rejects list --resource sessions --json", args = refused_options::hidden(refused_options::STORED))]
    List(ListArgs),
    /// Show a reject with its raw text
    ///
    /// The raw text is what the platform sent, and may contain personal data.
    #[command(after_long_help = "Example:\n  helena-sync rejects show 17", args = refused_options::hidden(refused_options::STORED))]
    Show(ShowArgs),
    /// Fetch the records again by their ids
    ///
    /// If the record can now be stored, the reject is resolved. Rejects without a readable record id
    /// cannot be fetched and stay unresolved.
    #[command(after_long_help = "\
Examples:
  helena-sync rejects retry
  helena-sync rejects retry 17 18")]
    Retry(RetryArgs),
}

/// Which rejects to list.
#[derive(Debug, Clone, Default, Args)]
pub struct ListArgs {
    /// List only rejects of this resource
    #[arg(long, value_name = "RESOURCE", value_parser = engine::resources())]
    pub resource: Option<Resource>,
    /// List resolved rejects, too
    #[arg(long)]
    pub resolved: bool,
    /// List at most this many [default: 50]
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = positive::<u32>, default_value_t = 50, hide_default_value = true)]
    pub limit: u32,
    /// The format. JSON has the raw texts.
    #[command(flatten)]
    pub format: TextOrJson,
}

/// Which reject to show.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The reject's id, from the list
    #[arg(value_name = "ID", value_parser = whole::<i64>)]
    pub id: i64,
}

/// Which rejects to fetch again.
#[derive(Debug, Args)]
pub struct RetryArgs {
    /// Ids of rejects, from the list [default: all unresolved ones with a readable record id]
    #[arg(value_name = "ID", value_parser = whole::<i64>)]
    pub ids: Vec<i64>,
    /// Wait for another process that holds the lease of the account to end, instead of exiting with 1
    #[arg(long)]
    pub wait: bool,
}

const COLUMNS: [&str; 7] = [
    "id",
    "resource",
    "record",
    "reason",
    "rest stored",
    "last seen",
    "resolved",
];

/// Runs the subcommand.
pub(super) async fn run(context: &Context, args: RejectsArgs) -> Result<Exit, Failure> {
    match args.command {
        None => list(context, &args.list).await,
        Some(RejectsCommand::List(args)) => list(context, &args).await,
        Some(RejectsCommand::Show(args)) => show(context, &args).await,
        Some(RejectsCommand::Retry(args)) => Box::pin(retry(context, args)).await,
    }
}

async fn list(context: &Context, args: &ListArgs) -> Result<Exit, Failure> {
    let zone = context.zone()?;
    let store = context.store(Access::Read).await?;
    let filter = RejectFilter {
        resource: args.resource,
        resolved: args.resolved,
        limit: args.limit,
    };
    let format = args.format.chosen();
    let printer = Printer::new(io::stdout(), format, &COLUMNS, terminal_width())?;
    let mut printer = printer.apart("reason");
    let mut unresolved = 0;
    for account in stored::accounts(context, &store).await? {
        unresolved += store.reject_counts(account.id).await?.values().sum::<u64>();
        for reject in store.rejects(account.id, filter).await? {
            let cells = [
                reject.id.to_string(),
                reject.resource.clone(),
                reject
                    .record_id
                    .map(|id| id.to_string())
                    .unwrap_or_default(),
                reject.reason.clone(),
                if reject.partial { "yes" } else { "no" }.to_owned(),
                zone.show(reject.last_seen_at),
                reject
                    .resolved_at
                    .map(|at| zone.show(at))
                    .unwrap_or_default(),
            ];
            printer.record(&cells, &json(&account.name, &reject).to_string())?;
        }
    }
    store.close().await;
    let count = printer.finish()?;
    context.note(&match (count, unresolved) {
        (0, 0) => "no rejects: every record could be stored".to_owned(),
        (0, rest) => format!("no reject matches; {} unresolved in all", number(rest)),
        (count, rest) => format!(
            "{} shown; {} unresolved in all",
            number(count),
            number(rest)
        ),
    });
    Ok(Exit::Done)
}

async fn show(context: &Context, args: &ShowArgs) -> Result<Exit, Failure> {
    let zone = context.zone()?;
    let store = context.store(Access::Read).await?;
    for account in stored::accounts(context, &store).await? {
        let Some(reject) = store.reject(account.id, args.id).await? else {
            continue;
        };
        store.close().await;
        let mut out = Wrapping::new(io::stdout().lock(), terminal_width());
        let record = reject
            .record_id
            .map_or("(no readable id)".to_owned(), |id| id.to_string());
        writeln!(out, "id           {}", reject.id)?;
        writeln!(out, "account      {}", account.name)?;
        writeln!(out, "resource     {}", reject.resource)?;
        writeln!(out, "record       {record}")?;
        writeln!(out, "reason       {}", cell(&reject.reason))?;
        writeln!(
            out,
            "rest stored  {}",
            if reject.partial { "yes" } else { "no" }
        )?;
        writeln!(
            out,
            "first seen   {}",
            zone.show_seconds(reject.first_seen_at)
        )?;
        writeln!(
            out,
            "last seen    {}",
            zone.show_seconds(reject.last_seen_at)
        )?;
        writeln!(
            out,
            "resolved     {}",
            reject
                .resolved_at
                .map_or("no".to_owned(), |at| zone.show_seconds(at))
        )?;
        writeln!(out)?;
        // Line breaks are printed. Other characters that move a terminal's cursor are removed.
        for line in reject.raw.lines() {
            writeln!(out, "{}", cell(line))?;
        }
        return Ok(Exit::Done);
    }
    store.close().await;
    Err(Failure::failed(anyhow::anyhow!(
        "there is no reject {}; `helena-sync rejects` lists all rejects",
        args.id
    )))
}

fn json(account: &str, reject: &StoredReject) -> serde_json::Value {
    serde_json::json!({
        "id": reject.id,
        "account": account,
        "resource": reject.resource,
        "record_id": reject.record_id,
        "reason": reject.reason,
        "partial": reject.partial,
        "first_seen_at": reject.first_seen_at,
        "last_seen_at": reject.last_seen_at,
        "resolved_at": reject.resolved_at,
        "raw": reject.raw,
    })
}

/// Fetches the records again by their ids. If a record can now be stored, its reject is resolved.
async fn retry(context: &Context, args: RetryArgs) -> Result<Exit, Failure> {
    let stop = engine::signals(Exit::Failed)?;
    let accounts = context.accounts()?;
    let store = context.store(Access::Write).await?;
    let (mut runs, mut asked, mut nameless) = (Vec::new(), 0, 0);
    let mut known = HashSet::new();
    let mut left = 0;
    let mut outcomes = AccountOutcomes::of(context, accounts.len());
    for account in &accounts {
        let Some(stored) = store.find_account(&account.name).await? else {
            continue;
        };
        let mut wanted: BTreeMap<Resource, HashSet<Uuid>> = BTreeMap::new();
        for reject in store.rejected(stored.id).await? {
            known.insert(reject.id);
            if !args.ids.is_empty() && !args.ids.contains(&reject.id) {
                continue;
            }
            match (reject.resource.parse::<Resource>(), reject.record_id) {
                (Ok(resource), Some(id)) => {
                    asked += u64::from(wanted.entry(resource).or_default().insert(id));
                }
                // A list is read whole, whether the record's id could be read or not.
                (Ok(resource), None) if resource.is_list() => {
                    asked += 1;
                    wanted.entry(resource).or_default();
                }
                _ => nameless += 1,
            }
        }
        if wanted.is_empty() {
            continue;
        }
        let made = async {
            let client = engine::client(context, account, None)?;
            let leased =
                LeasedEngine::begin(context, &store, account, client, args.wait, &stop).await?;
            let limits = RunLimits {
                stop: &leased.stop,
                budget: None,
            };
            let mut made = Vec::new();
            // With another company's token, all of these records would seem to be deleted.
            let identified = leased.engine.identify(limits.stop).await;
            if identified.is_ok() {
                for (resource, ids) in &wanted {
                    made.push(leased.engine.retry_rejects(*resource, ids, limits).await);
                }
            }
            leased.end().await;
            identified.map_err(|error| account.concern(error.into()))?;
            Ok(made)
        };
        if let Some(made) = outcomes.record(engine::stopped_or(Box::pin(made).await)) {
            runs.extend(engine::named(account, made, outcomes.several()));
        }
        left += store.reject_counts(stored.id).await?.values().sum::<u64>();
    }
    store.close().await;
    if let Some(id) = args.ids.iter().find(|id| !known.contains(id)) {
        return Err(Failure::failed(anyhow::anyhow!(
            "there is no unresolved reject {id}; `helena-sync rejects` lists all unresolved rejects"
        )));
    }
    if outcomes.all_failed() {
        return outcomes.conclude(Exit::Failed);
    }
    let exit = engine::conclude_unless_stopped(context, &runs, &stop, Resumed::BySync);
    context.note(&match (asked, nameless) {
        (0, 0) => "no rejects: every record could be stored".to_owned(),
        (0, _) => {
            "none of these rejects has a readable record id, so none can be fetched".to_owned()
        }
        (asked, _) => format!(
            "{} fetched again; {} unresolved in all",
            number(asked),
            number(left)
        ),
    });
    outcomes.conclude(exit)
}
