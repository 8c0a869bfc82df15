//! `verify`: is the mirror complete?

use std::io::{self, Write};
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::each::Each;
use super::engine::{self, Working};
use super::record::number;
use super::{Access, Account, Context, Exit, Failure, duration, stored};
use crate::config::Zone;
use crate::data::Resource;
use crate::report::{Format, Printer, terminal_width};
use crate::store::Store;
use crate::sync::{Comparison, Limits, Mirror, Outcome, Verified};

/// Differences that are printed of each kind; --json has them all.
const PRINTED: usize = 10;

/// Compare the mirror with the API, and repair it.
///
/// Asks whose token it is, and compares counts: one request for each stream, if they agree. Where
/// they differ, windows of creation times are halved until each difference is found in a window of at
/// most one page, which is then compared record by record. Prints what is missing here, older here,
/// and gone there. Tags, channels, departments and agents are compared whole.
///
/// A record that could not be read (see helena-sync rejects) is counted as rejected: the API has it,
/// the mirror does not, and asking again would not change that.
///
/// What was created or changed since the last pass (less sync.overlap) is no difference: the next
/// pass reads it. A mirror that is still being loaded is not compared.
///
/// Without --repair nothing is written, and it may run beside a daemon. The daemon itself verifies
/// and repairs at verify.schedule, every night by default.
///
/// Exits with 0 if the mirror equals the account or was repaired, with 1 if it differs.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  helena-sync verify
  helena-sync verify --resource sessions --sample 20
  helena-sync verify --repair --json")]
pub struct VerifyArgs {
    /// Only this resource: sessions, contacts, tags, channels, departments or agents; may be
    /// repeated [default: sync.resources]
    #[arg(long = "resource", value_name = "RESOURCE")]
    pub resources: Vec<Resource>,
    /// Make a pass, store what is missing or older, and mark as removed what the platform, asked
    /// for it by its id, says it has no longer
    #[arg(long)]
    pub repair: bool,
    /// Also re-read this many random windows of one page, of sessions and of each status of
    /// contacts, whose counts agree: a miss and a surplus can cancel
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub sample: u32,
    /// Print the result as JSON, with the ids of all differences
    #[arg(long)]
    pub json: bool,
    /// Stop after this long (30s, 10m, 2h) [default: no limit]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub max_runtime: Option<Duration>,
    /// With --repair, wait until another process that writes for the account has ended, instead of
    /// exiting with 1
    #[arg(long, requires = "repair")]
    pub wait: bool,
}

/// Verifies every account.
pub(super) async fn run(context: &Context, args: VerifyArgs) -> Result<Exit, Failure> {
    let resources = engine::chosen(context, &args.resources)?;
    let accounts = context.accounts()?;
    let zone = context.zone()?;
    let stop = engine::signals(Exit::Failed)?;
    let stop = engine::stop_after(&context.clock, &stop, args.max_runtime);
    let access = if args.repair {
        Access::Write
    } else {
        Access::Read
    };
    let store = context.store(access).await?;
    let mut verified = Vec::new();
    let mut each = Each::of(context, accounts.len());
    for account in &accounts {
        let found = if args.repair {
            repair(context, &store, account, &args, &resources, &stop).await
        } else {
            compare(context, &store, account, &args, &resources, &stop).await
        };
        let found = each.yielded(found.map_err(|failure| account.concern(failure)));
        let found = found.unwrap_or_default().into_iter();
        verified.extend(found.map(|one| (account.name.as_str(), one)));
    }
    store.close().await;
    if each.all_failed() {
        return each.conclude(Exit::Failed);
    }
    let out = io::stdout().lock();
    if args.json {
        print_json(out, &verified, args.repair)?;
    } else {
        print(out, &verified, zone, args.repair)?;
    }
    let exit = conclude(context, &verified, args.repair);
    each.conclude(exit)
}

/// Compares without the right to write.
async fn compare(
    context: &Context,
    store: &Store,
    account: &Account,
    args: &VerifyArgs,
    resources: &[Resource],
    stop: &tokio_util::sync::CancellationToken,
) -> Result<Vec<Verified>, Failure> {
    let client = engine::client(context, account, args.max_runtime)?;
    stored::confirm(store, &account.name, &client, stop).await?;
    let Some(stored) = store.find_account(&account.name).await? else {
        return Err(Failure::failed(anyhow::anyhow!(
            "nothing of it is stored yet; run `helena-sync sync` first"
        )));
    };
    let mirror = Mirror {
        source: &client,
        store,
        account: stored.id,
        settings: engine::settings(context)?.walk,
        samples: args.sample,
        stop,
    };
    Ok(mirror.compare(resources).await)
}

/// Compares and repairs, after a pass over what changed.
async fn repair(
    context: &Context,
    store: &Store,
    account: &Account,
    args: &VerifyArgs,
    resources: &[Resource],
    stop: &tokio_util::sync::CancellationToken,
) -> Result<Vec<Verified>, Failure> {
    let client = engine::client(context, account, args.max_runtime)?;
    let working = Working::begin(context, store, account, client, args.wait, stop).await?;
    let limits = Limits {
        stop: &working.stop,
        budget: None,
    };
    let verified = match working.engine.identify(limits.stop).await {
        Ok(()) => {
            working.engine.incremental(resources, limits).await;
            Ok(working.engine.verify(resources, args.sample, limits).await)
        }
        Err(error) => Err(Failure::from(error)),
    };
    working.end().await;
    verified
}

/// A table of what was compared, the ids of what differs, and one line that says it all.
fn print(
    mut out: impl Write,
    verified: &[(&str, Verified)],
    zone: Zone,
    repaired: bool,
) -> Result<(), Failure> {
    let columns = [
        "account", "resource", "stored", "API", "rejected", "missing", "older", "gone", "requests",
        "result",
    ];
    let mut printer = Printer::new(&mut out, Format::Table, &columns, terminal_width())?;
    for (account, one) in verified {
        let mut cells = vec![(*account).to_owned(), one.subject.clone()];
        let result = match &one.outcome {
            Outcome::Compared(found) => {
                cells.extend(
                    [
                        found.stored,
                        found.shown,
                        found.rejected,
                        found.missing.len() as u64,
                        found.older.len() as u64,
                        found.gone.len() as u64,
                        one.requests,
                    ]
                    .map(number),
                );
                result(found, repaired)
            }
            Outcome::NotLoaded => {
                cells.extend(["", "", "", "", "", "", "0"].map(str::to_owned));
                "not loaded"
            }
            Outcome::Failed(_) => {
                cells.extend(["", "", "", "", "", ""].map(str::to_owned));
                cells.push(number(one.requests));
                "failed"
            }
        };
        cells.push(result.to_owned());
        printer.record(&cells, "")?;
    }
    printer.finish()?;
    for (account, one) in verified {
        match &one.outcome {
            Outcome::Compared(found) => {
                for (what, ids) in [
                    ("missing here", &found.missing),
                    ("older here", &found.older),
                    ("gone there", &found.gone),
                    ("of these not repaired", &found.unrepaired),
                ] {
                    if ids.is_empty() {
                        continue;
                    }
                    writeln!(out, "\n{account}: {} {what}:", one.subject)?;
                    for id in ids.iter().take(PRINTED) {
                        writeln!(out, "  {id}")?;
                    }
                    if ids.len() > PRINTED {
                        let more = number((ids.len() - PRINTED) as u64);
                        writeln!(out, "  and {more} more (--json has them all)")?;
                    }
                }
            }
            Outcome::NotLoaded if one.resource.is_list() => writeln!(
                out,
                "\n{account}: {} was never read to its end, so there is nothing to compare; run or \
                 sync read it, or say why not",
                one.subject
            )?,
            Outcome::NotLoaded => writeln!(
                out,
                "\n{account}: {} is still being loaded, so there is nothing to compare; run or \
                 sync finish the load",
                one.subject
            )?,
            Outcome::Failed(error) => {
                writeln!(out, "\n{account}: {}: {}", one.subject, error.line())?;
            }
        }
    }
    let until = verified.iter().filter_map(|(_, one)| match &one.outcome {
        Outcome::Compared(found) => found.until,
        _ => None,
    });
    if let Some(until) = until.min() {
        let unread: u64 = verified.iter().map(|(_, one)| unread(one)).sum();
        let unread = if unread == 0 {
            String::new()
        } else {
            format!("; {} met that changed since", number(unread))
        };
        writeln!(
            out,
            "\nSessions and contacts compared up to {}, from where on the next pass reads{unread}.",
            zone.show_seconds(until)
        )?;
    }
    Ok(())
}

/// What came of a comparison, in a word or few.
fn result(found: &Comparison, repaired: bool) -> &'static str {
    match (found.differences(), repaired) {
        (0, _) if found.is_unexplained() => "equal but for counts",
        (0, _) => "equal",
        (_, true) if found.unrepaired.is_empty() => "repaired",
        (_, true) => "not repaired",
        (_, false) => "differs",
    }
}

const fn unread(verified: &Verified) -> u64 {
    match &verified.outcome {
        Outcome::Compared(found) => found.unread,
        Outcome::NotLoaded | Outcome::Failed(_) => 0,
    }
}

fn print_json(
    mut out: impl Write,
    verified: &[(&str, Verified)],
    repaired: bool,
) -> Result<(), Failure> {
    let parts: Vec<serde_json::Value> = verified
        .iter()
        .map(|(account, one)| {
            let mut part = json!({
                "account": account, "resource": one.subject, "requests": one.requests,
            });
            let more = match &one.outcome {
                Outcome::Compared(found) => json!({
                    "result": result(found, repaired),
                    "stored": found.stored, "api": found.shown, "until": found.until,
                    "missing": found.missing, "older": found.older, "gone": found.gone,
                    "unrepaired": found.unrepaired,
                    "unread": found.unread, "rejected": found.rejected,
                    "windows_sampled": found.sampled,
                }),
                Outcome::NotLoaded => json!({ "result": "not loaded" }),
                Outcome::Failed(error) => json!({ "result": "failed", "error": error.line() }),
            };
            if let (Some(part), serde_json::Value::Object(more)) = (part.as_object_mut(), more) {
                part.extend(more);
            }
            part
        })
        .collect();
    let whole = json!({
        "requests": verified.iter().map(|(_, one)| one.requests).sum::<u64>(),
        "differences": verified.iter().map(|(_, one)| one.differences()).sum::<u64>(),
        "repaired": repaired,
        "verified": parts,
    });
    serde_json::to_writer_pretty(&mut out, &whole).map_err(io::Error::from)?;
    writeln!(out)?;
    Ok(())
}

fn compared<'a>(verified: &'a [(&str, Verified)]) -> impl Iterator<Item = &'a Comparison> {
    verified.iter().filter_map(|(_, one)| match &one.outcome {
        Outcome::Compared(found) => Some(found),
        Outcome::NotLoaded | Outcome::Failed(_) => None,
    })
}

/// One line on stderr, and the exit status.
fn conclude(context: &Context, verified: &[(&str, Verified)], repaired: bool) -> Exit {
    let requests: u64 = verified.iter().map(|(_, one)| one.requests).sum();
    let differences: u64 = verified.iter().map(|(_, one)| one.differences()).sum();
    let unsure = verified
        .iter()
        .filter(|(_, one)| !matches!(one.outcome, Outcome::Compared(_)))
        .count();
    let cost = format!("{} requests", number(requests));
    let refused =
        |one: &Verified| matches!(&one.outcome, Outcome::Failed(error) if error.is_refusal());
    if unsure > 0 {
        context.note(&format!(
            "error: {unsure} of {} could not be compared ({cost})",
            verified.len()
        ));
        if verified.iter().all(|(_, one)| refused(one)) {
            return Exit::Refused;
        }
        return Exit::Failed;
    }
    if differences == 0 {
        let unexplained = compared(verified).any(Comparison::is_unexplained);
        let but = if unexplained {
            ", but for records that the API counts and does not show, or shows and does not count"
        } else {
            ""
        };
        context.note(&format!("the mirror equals the account{but} ({cost})"));
        return Exit::Done;
    }
    let what = if differences == 1 {
        "1 difference".to_owned()
    } else {
        format!("{} differences", number(differences))
    };
    if repaired {
        let left: usize = compared(verified).map(|found| found.unrepaired.len()).sum();
        if left == 0 {
            context.note(&format!("{what} found and repaired ({cost})"));
            return Exit::Done;
        }
        context.note(&format!(
            "error: {what} found, of which {} could not be repaired ({cost}); `helena-sync rejects` \
             may say why",
            number(left as u64)
        ));
        return Exit::Failed;
    }
    context.note(&format!(
        "error: {what} found ({cost}); `helena-sync verify --repair` repairs them"
    ));
    Exit::Failed
}
