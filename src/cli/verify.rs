//! `verify`: compares the mirror with the account, and repairs it.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::time::Duration;

use clap::Args;
use serde_json::json;
use uuid::Uuid;

use super::account_outcomes::AccountOutcomes;
use super::engine::{self, LeasedEngine};
use super::formats::TextOrJson;
use super::record::number;
use super::{Access, Account, Context, Exit, Failure, duration, stored, whole};
use crate::config::Zone;
use crate::data::{Resource, counted};
use crate::output::{Format, Printer, Wrapping, terminal_width};
use crate::store::Store;
use crate::sync::{Comparison, Mirror, Outcome, RunLimits, Verified};

/// The maximum number of differences that are printed of each kind. --json prints all of them.
const PRINTED: usize = 10;

/// Compare the mirror with the account, and repair it.
///
/// Splits the sessions, and the contacts of each status, into 64 windows of creation times and
/// compares the counts. Each verification draws the windows differently. Where counts differ, it
/// halves the window until it fits on one page, and then compares record by record: by updatedAt
/// and, if that is equal, by content. Sessions or contacts that fit on 64 pages are compared
/// completely, and so are lists, such as tags and agents. Prints the records that are missing in
/// the mirror, older or newer in the mirror, equal in updatedAt but not in content, and deleted on
/// the platform.
///
/// Stored records that the API's list does not show, and contacts that no list shows, are read by
/// id: at most 2,000 records. The others are counted; the next verification reads them.
///
/// A reject (see helena-sync rejects) is not a difference and is counted in a column of its own:
/// the API has the record, but the mirror cannot store it.
///
/// Records that were created or changed since the last sync (less sync.overlap) are not
/// differences: the next sync reads them. While the mirror is still being loaded, only its loaded
/// part is compared.
///
/// Without --repair, verify writes nothing and may run beside a daemon. The daemon itself verifies
/// and repairs at verify.schedule, every night by default.
///
/// Exits with 0 if the mirror equals the account or was repaired. Exits with 1 if it differs, or if
/// some records could not be compared or read.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  helena-sync verify
  helena-sync verify --resource sessions --sample 20
  helena-sync verify --repair --json")]
pub struct VerifyArgs {
    /// The resources to verify. Empty means all in sync.resources.
    #[arg(long = "resource", value_name = "RESOURCE", value_delimiter = ',', value_parser = engine::resources(), help = engine::WHICH_RESOURCES)]
    pub resources: Vec<Resource>,
    /// Sync first; then store records that are missing or older in the mirror, and mark rows as
    /// removed if the API, asked for the record by its id, answers that it was deleted
    #[arg(long)]
    pub repair: bool,
    /// Also compare this many random windows of one page, of sessions and of each status of contacts,
    /// whose counts are equal, since a missing and a surplus record can cancel out
    #[arg(long, value_name = "COUNT", default_value_t = 0, value_parser = whole::<u32>)]
    pub sample: u32,
    /// The format. JSON has the ids of all differences.
    #[command(flatten)]
    pub format: TextOrJson,
    /// Stop after this time (30s, 10m, 2h) [default: no limit]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub max_runtime: Option<Duration>,
    /// With --repair, wait for another process that holds the lease of the account to end, instead of
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
    let mut outcomes = AccountOutcomes::of(context, accounts.len());
    for account in &accounts {
        let found = if args.repair {
            Box::pin(repair(context, &store, account, &args, &resources, &stop)).await
        } else {
            compare(context, &store, account, &args, &resources, &stop).await
        };
        let found = outcomes.record(found.map_err(|failure| account.concern(failure)));
        let found = found.unwrap_or_default().into_iter();
        verified.extend(found.map(|one| (account.name.as_str(), one)));
    }
    store.close().await;
    if outcomes.all_failed() {
        return outcomes.conclude(Exit::Failed);
    }
    let out = io::stdout().lock();
    if args.format.is_json() {
        print_json(out, &verified, args.repair)?;
    } else {
        let width = terminal_width();
        print(out, width, &verified, (zone, args.repair))?;
    }
    let exit = conclude(context, &verified, args.repair);
    outcomes.conclude(exit)
}

/// Compares without a lease, and writes nothing.
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
            "the mirror has no data of this account yet; run `helena-sync sync` first"
        )));
    };
    let mirror = Mirror {
        source: &client,
        store,
        account: stored.id,
        settings: engine::settings(context)?.walk,
        samples: args.sample,
        clock: context.clock.as_ref(),
        stop,
    };
    Ok(mirror.compare(resources).await)
}

/// Syncs the changes, then compares and repairs.
async fn repair(
    context: &Context,
    store: &Store,
    account: &Account,
    args: &VerifyArgs,
    resources: &[Resource],
    stop: &tokio_util::sync::CancellationToken,
) -> Result<Vec<Verified>, Failure> {
    let client = engine::client(context, account, args.max_runtime)?;
    let leased = LeasedEngine::begin(context, store, account, client, args.wait, stop).await?;
    let limits = RunLimits {
        stop: &leased.stop,
        budget: None,
    };
    let verified = match leased.engine.identify(limits.stop).await {
        Ok(()) => {
            leased.engine.incremental(resources, limits).await;
            Ok(leased.engine.verify(resources, args.sample, limits).await)
        }
        Err(error) => Err(Failure::from(error)),
    };
    leased.end().await;
    verified
}

/// Prints a table of the comparisons, the ids of the differences, and up to when it compared, for a terminal
/// of this width, or for none.
fn print(
    out: impl Write,
    width: Option<u16>,
    verified: &[(&str, Verified)],
    (zone, repaired): (Zone, bool),
) -> Result<(), Failure> {
    let mut out = Wrapping::new(out, width);
    let columns = [
        "account", "resource", "stored", "API", "rejected", "missing", "older", "newer", "altered",
        "deleted", "requests", "result",
    ];
    let mut printer = Printer::new(&mut out, Format::Table, &columns, width)?;
    for (account, one) in verified {
        let mut cells = vec![(*account).to_owned(), one.subject.clone()];
        match one.found() {
            Some(found) => cells.extend(
                [
                    found.stored,
                    found.shown,
                    found.rejected,
                    found.missing.len() as u64,
                    found.older.len() as u64,
                    found.newer.len() as u64,
                    found.altered.len() as u64,
                    found.gone.len() as u64,
                ]
                .map(number),
            ),
            None => cells.extend(vec![String::new(); 8]),
        }
        cells.push(number(one.requests));
        cells.push(result(&one.outcome, repaired).to_owned());
        printer.record(&cells, "")?;
    }
    printer.finish()?;
    for (account, one) in verified {
        if let Some(found) = one.found() {
            print_found(&mut out, account, &one.subject, found, repaired)?;
        }
        match &one.outcome {
            Outcome::Compared(_) => {}
            Outcome::NotLoaded if one.resource.is_list() => writeln!(
                out,
                "\n{account}: {} was never read completely, so it was not compared; run `helena-sync \
                 sync`, which reads it or prints why it cannot",
                one.subject
            )?,
            Outcome::NotLoaded => writeln!(
                out,
                "\n{account}: {} is still being loaded, so it was not compared; run `helena-sync sync` \
                 to finish the load",
                one.subject
            )?,
            Outcome::Failed { error, .. } => {
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
            format!(" ({} seen)", counted(unread, "such record"))
        };
        writeln!(
            out,
            "\nCompared sessions and contacts up to {}; the next sync reads later changes{unread}.",
            zone.show_seconds(until)
        )?;
    }
    Ok(())
}

/// Prints the ids of the differences, and notes on the resource.
fn print_found(
    mut out: impl Write,
    account: &str,
    subject: &str,
    found: &Comparison,
    repaired: bool,
) -> Result<(), Failure> {
    let failed: Vec<String> = found
        .failed
        .iter()
        .map(|(id, error)| format!("{id}: {error}"))
        .collect();
    let ids = |ids: &BTreeSet<Uuid>| ids.iter().map(Uuid::to_string).collect();
    for (what, lines) in [
        ("missing in the mirror", ids(&found.missing)),
        ("older in the mirror", ids(&found.older)),
        ("newer in the mirror", ids(&found.newer)),
        ("with different content in the mirror", ids(&found.altered)),
        ("deleted on the platform", ids(&found.gone)),
        ("of these not repaired", ids(&found.unrepaired)),
        ("that could not be read by id", failed),
    ] {
        if lines.is_empty() {
            continue;
        }
        writeln!(out, "\n{account}: {subject} {what}:")?;
        for line in lines.iter().take(PRINTED) {
            writeln!(out, "  {line}")?;
        }
        if lines.len() > PRINTED {
            let more = number((lines.len() - PRINTED) as u64);
            writeln!(out, "  and {more} more (--json prints all)")?;
        }
    }
    if found.left > 0 {
        let left = counted(found.left, "more record");
        let when = if repaired {
            "the next verification continues"
        } else {
            "--repair reads some of them, and run reads the others in the next nights"
        };
        writeln!(
            out,
            "\n{account}: {subject}: {left} still to be read by id; {when}"
        )?;
    }
    if found.loading > 0 {
        let windows = counted(found.loading, "window");
        writeln!(
            out,
            "\n{account}: {subject} is still being loaded, so {windows} of creation times could not be \
             compared yet"
        )?;
    }
    let lacking = found.versions.filter(|_| found.is_lacking());
    if let Some(line) = lacking.and_then(|versions| versions.difference()) {
        writeln!(out, "\n{account}: {subject}: {line}")?;
    }
    if found.gaps > 0 {
        let gaps = counted(found.gaps, "record");
        writeln!(
            out,
            "\n{account}: {subject}: the API counts {gaps} without showing any of them"
        )?;
    }
    if found.doubted {
        writeln!(
            out,
            "\n{account}: the list of {subject} lacks most of the stored records; they are marked as \
             removed only if the list still lacks them when it is read again some minutes later"
        )?;
    }
    for (status, contacts) in &found.unlisted {
        let (contacts, have) = (
            counted(*contacts, "contact"),
            if *contacts == 1 { "has" } else { "have" },
        );
        writeln!(
            out,
            "\n{account}: {contacts} {have} the status {status}, which no list shows: each \
             verification reads some of them by id"
        )?;
    }
    Ok(())
}

/// The result of a comparison, in a few words.
fn result(outcome: &Outcome, repaired: bool) -> &'static str {
    let found = match outcome {
        Outcome::Compared(found) => found,
        Outcome::NotLoaded => return "not loaded",
        Outcome::Failed { .. } => return "failed",
    };
    match (found.differences(), repaired) {
        (0, _) if found.is_lacking() => "differs",
        (0, _) if found.doubted => "list in doubt",
        (0, _) if found.loading > 0 => "equal so far",
        (0, _) if found.left + found.failed.len() as u64 > 0 => "some not read by id",
        (0, _) if found.is_unexplained() => "no differing rows, but the totals differ",
        (0, _) => "equal",
        (_, true) if found.unrepaired.is_empty() && found.left == 0 => "repaired",
        (_, true) if found.unrepaired.is_empty() => "repaired so far",
        (_, true) => "not repaired",
        (_, false) => "differs",
    }
}

fn unread(verified: &Verified) -> u64 {
    verified.found().map_or(0, |found| found.unread)
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
            let mut more = json!({ "result": result(&one.outcome, repaired) });
            if let Some(found) = one.found() {
                let failed = found.failed.iter();
                let failed: Vec<serde_json::Value> = failed
                    .map(|(id, error)| json!({ "id": id, "error": error }))
                    .collect();
                more = json!({
                    "result": result(&one.outcome, repaired),
                    "stored": found.stored, "api": found.shown, "until": found.until,
                    "missing": found.missing, "older": found.older, "newer": found.newer,
                    "altered": found.altered, "gone": found.gone,
                    "unrepaired": found.unrepaired,
                    "not_asked_for": found.left, "could_not_be_asked_for": failed,
                    "unread": found.unread, "rejected": found.rejected,
                    "windows_sampled": found.sampled, "windows_not_loaded": found.loading,
                    "counted_and_never_shown": found.gaps, "doubted": found.doubted,
                    "unlisted_statuses": found.unlisted,
                    "session_list_versions": found.versions.map(|versions| json!({
                        "first": versions.first, "second": versions.second,
                        "in_use": versions.in_use.number(),
                    })),
                });
            }
            if let Outcome::Failed { error, .. } = &one.outcome {
                more["error"] = error.line().into();
            }
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
        Outcome::NotLoaded | Outcome::Failed { .. } => None,
    })
}

/// Prints one line to stderr and returns the exit status.
fn conclude(context: &Context, verified: &[(&str, Verified)], repaired: bool) -> Exit {
    let requests: u64 = verified.iter().map(|(_, one)| one.requests).sum();
    let differences: u64 = verified.iter().map(|(_, one)| one.differences()).sum();
    let is_unsure = |one: &Verified| match &one.outcome {
        Outcome::Compared(found) => found.loading > 0,
        Outcome::NotLoaded | Outcome::Failed { .. } => true,
    };
    let unsure = verified.iter().filter(|(_, one)| is_unsure(one)).count();
    let cost = counted(requests, "request");
    let refused = |one: &Verified| matches!(&one.outcome, Outcome::Failed { error, .. } if error.is_refusal());
    let what = counted(differences, "difference");
    if unsure > 0 {
        let found = if differences == 0 {
            String::new()
        } else {
            format!("; {what} found so far")
        };
        context.note(&format!(
            "error: {unsure} of {} incomplete{found} ({cost})",
            counted(verified.len() as u64, "comparison")
        ));
        if verified.iter().all(|(_, one)| refused(one)) {
            return Exit::Refused;
        }
        return Exit::Failed;
    }
    if compared(verified).any(Comparison::is_lacking) {
        context.note(&format!(
            "error: the version of the session list in use lacks sessions; set api.session_version to \
             read the other version ({cost})"
        ));
        return Exit::Failed;
    }
    let left: u64 = compared(verified).map(|found| found.left).sum();
    if differences == 0 && left == 0 {
        let mut buts = Vec::new();
        if compared(verified).any(|found| found.is_unexplained() || found.gaps > 0) {
            buts.push("records that the API counts but does not show, or shows but does not count");
        }
        if compared(verified).any(|found| !found.failed.is_empty()) {
            buts.push("records that could not be read by id");
        }
        if compared(verified).any(|found| found.doubted) {
            buts.push("lists that lack most of the stored records");
        }
        let but = if buts.is_empty() {
            String::new()
        } else {
            format!(", except for {}", buts.join(" and "))
        };
        context.note(&format!("the mirror equals the account{but} ({cost})"));
        return Exit::Done;
    }
    let more = if left == 0 {
        String::new()
    } else {
        format!("; {} still to be read by id", counted(left, "more record"))
    };
    if repaired {
        let unrepaired: usize = compared(verified).map(|found| found.unrepaired.len()).sum();
        if unrepaired == 0 && left == 0 {
            context.note(&format!("{what} found and repaired ({cost})"));
            return Exit::Done;
        }
        if unrepaired == 0 {
            context.note(&format!("error: {what} found and repaired{more} ({cost})"));
            return Exit::Failed;
        }
        context.note(&format!(
            "error: {what} found, {} of them could not be repaired{more} ({cost}); `helena-sync \
             rejects` may show why",
            number(unrepaired as u64)
        ));
        return Exit::Failed;
    }
    context.note(&format!(
        "error: {what} found{more} ({cost}); `helena-sync verify --repair` repairs them"
    ));
    Exit::Failed
}
