//! `rejects`: what could not be read.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Write};

use clap::{Args, Subcommand};
use uuid::Uuid;

use super::each::Each;
use super::engine::{self, Working};
use super::record::number;
use super::{Access, Context, Exit, Failure, meaning, positive, stored};
use crate::data::Resource;
use crate::report::{Format, Printer, cell, terminal_width};
use crate::store::{RejectFilter, StoredReject};
use crate::sync::Limits;

/// Show or fetch again what could not be read.
///
/// A record, or a part of one, that breaks a rule is kept as it came, with the reason, and does not
/// hold up its neighbours. A later good version of the same record resolves it by itself.
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
    /// What to do; list if nothing is said.
    #[command(subcommand)]
    pub command: Option<RejectsCommand>,
    /// Options of list.
    #[command(flatten)]
    pub list: ListArgs,
}

/// What to do with rejects.
#[derive(Debug, Subcommand)]
pub enum RejectsCommand {
    /// List them, newest first
    ///
    /// The same as rejects without a further word: id, resource, the record's id if it could be
    /// read, the reason, and when it was last seen.
    #[command(after_long_help = "\
Examples:
  helena-sync rejects
  helena-sync rejects list --resource sessions --json", args = meaning::hidden(meaning::STORED))]
    List(ListArgs),
    /// Show one whole, with its raw text
    ///
    /// The raw text is what the platform sent, with whatever personal data it holds.
    #[command(after_long_help = "Example:\n  helena-sync rejects show 17", args = meaning::hidden(meaning::STORED))]
    Show(ShowArgs),
    /// Fetch the records again by their ids
    ///
    /// A good answer stores the record and resolves its reject. Records without a readable id
    /// cannot be asked for and stay as they are.
    #[command(after_long_help = "\
Examples:
  helena-sync rejects retry
  helena-sync rejects retry 17 18")]
    Retry(RetryArgs),
}

/// Which rejects to list.
#[derive(Debug, Clone, Default, Args)]
pub struct ListArgs {
    /// Only of this resource
    #[arg(long, value_name = "RESOURCE")]
    pub resource: Option<Resource>,
    /// Resolved ones too
    #[arg(long)]
    pub resolved: bool,
    /// At most this many [default: 50]
    #[arg(long, value_name = "COUNT", value_parser = positive::<u32>, default_value_t = 50, hide_default_value = true)]
    pub limit: u32,
    /// Print JSON, with the raw texts, instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Which reject to show.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Its id, from the list
    #[arg(value_name = "ID")]
    pub id: i64,
}

/// Which rejects to fetch again.
#[derive(Debug, Args)]
pub struct RetryArgs {
    /// Their ids, from the list [default: all that are unresolved and name a record]
    #[arg(value_name = "ID")]
    pub ids: Vec<i64>,
    /// Wait until another process that writes for the account has ended, instead of exiting with 1
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

/// Does what is asked.
pub(super) async fn run(context: &Context, args: RejectsArgs) -> Result<Exit, Failure> {
    match args.command {
        None => list(context, &args.list).await,
        Some(RejectsCommand::List(args)) => list(context, &args).await,
        Some(RejectsCommand::Show(args)) => show(context, &args).await,
        Some(RejectsCommand::Retry(args)) => retry(context, args).await,
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
    let format = if args.json {
        Format::Json
    } else {
        Format::Table
    };
    let mut printer = Printer::new(io::stdout(), format, &COLUMNS, terminal_width())?;
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
        (0, 0) => "no rejects: every record could be read".to_owned(),
        (0, rest) => format!("none of these; {} unresolved in all", number(rest)),
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
        let mut out = io::stdout().lock();
        let record = reject
            .record_id
            .map_or("(no id that can be read)".to_owned(), |id| id.to_string());
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
        // Line breaks belong to the text; anything else that moves a terminal's cursor does not.
        for line in reject.raw.lines() {
            writeln!(out, "{}", cell(line))?;
        }
        return Ok(Exit::Done);
    }
    store.close().await;
    Err(Failure::failed(anyhow::anyhow!(
        "there is no reject {}; helena-sync rejects lists them",
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

/// Fetches the records again by their ids; a good answer resolves the reject.
async fn retry(context: &Context, args: RetryArgs) -> Result<Exit, Failure> {
    let stop = engine::signals(Exit::Failed)?;
    let accounts = context.accounts()?;
    let store = context.store(Access::Write).await?;
    let (mut runs, mut asked, mut nameless) = (Vec::new(), 0, 0);
    let mut known = HashSet::new();
    let mut left = 0;
    let mut each = Each::of(context, accounts.len());
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
            let working =
                Working::begin(context, &store, account, client, args.wait, &stop).await?;
            let limits = Limits {
                stop: &working.stop,
                budget: None,
            };
            let mut made = Vec::new();
            for (resource, ids) in &wanted {
                made.push(working.engine.retry_rejects(*resource, ids, limits).await);
            }
            working.end().await;
            Ok(made)
        };
        if let Some(made) = each.yielded(engine::stopped_or(made.await)) {
            runs.extend(engine::named(account, made, each.several()));
        }
        left += store.reject_counts(stored.id).await?.values().sum::<u64>();
    }
    store.close().await;
    if let Some(id) = args.ids.iter().find(|id| !known.contains(id)) {
        return Err(Failure::failed(anyhow::anyhow!(
            "there is no unresolved reject {id}; helena-sync rejects lists them"
        )));
    }
    if each.all_failed() {
        return each.conclude(Exit::Failed);
    }
    let exit = engine::conclude_unless_stopped(context, &runs, &stop);
    context.note(&match (asked, nameless) {
        (0, 0) => "no rejects: every record could be read".to_owned(),
        (0, _) => "none of them names a record that could be fetched".to_owned(),
        (asked, _) => format!(
            "{} fetched again; {} unresolved in all",
            number(asked),
            number(left)
        ),
    });
    each.conclude(exit)
}
