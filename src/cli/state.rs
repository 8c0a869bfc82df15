//! `state`: the watermarks, shown and changed.

use std::io::{self, Write};

use clap::{Args, Subcommand};
use serde_json::json;

use super::stored::Busy;
use super::{Access, Context, Exit, Failure, meaning, parse_date, stored};
use crate::config::{Edge, one_of};
use crate::data::{CONTACT_STATUSES, Ordering, Resource, RunKind, RunOutcome, Stream, Timestamp};
use crate::report::{Format, Printer, terminal_width};
use crate::store::{Lease, Store};

/// Show or change the watermarks.
///
/// A watermark is the time of change up to which a resource is complete. Changing one is refused
/// while another process writes for the account, and is recorded with its old and new value.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  helena-sync state show
  helena-sync state set sessions 2026-01-31
  helena-sync state reset contacts --status ARCHIVED", args = meaning::hidden(meaning::STORED))]
pub struct StateArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: StateCommand,
}

/// What to do with the state.
#[derive(Debug, Subcommand)]
pub enum StateCommand {
    /// Show the watermarks
    ///
    /// One line for each account and resource, for contacts one for each status: the watermark,
    /// when the resource was last read to its end, whether the platform was seen to honour the
    /// order that is asked for, and the last error.
    #[command(after_long_help = "Example:\n  helena-sync state show")]
    Show,
    /// Set a watermark; what changed since then is read again
    ///
    /// An earlier one costs requests and nothing else: rows that are stored already and did not
    /// change stay untouched. A later one skips what changed in between, until a backfill or verify
    /// finds it. Refused while another process writes for the account, and, without --skip-load,
    /// for a resource that was never loaded or was reset: its load would never be made.
    #[command(after_long_help = "\
Examples:
  helena-sync state set sessions 2026-01-31
  helena-sync state set contacts \"2026-01-31 18:30\" --status ARCHIVED")]
    Set(SetArgs),
    /// Forget a watermark; the resource is loaded from its beginning again
    ///
    /// No row is deleted. The next run or sync makes a first load of the resource, contacts of all
    /// statuses together; one that is under way is given up. Refused while another process writes
    /// for the account.
    #[command(after_long_help = "Example:\n  helena-sync state reset sessions")]
    Reset(ResetArgs),
    /// Print the state as JSON
    ///
    /// For records and for comparing; what it prints can be set again with state set.
    #[command(after_long_help = "Example:\n  helena-sync state export > state.json")]
    Export,
}

/// Which watermark.
#[derive(Debug, Clone, Args)]
pub struct StreamArgs {
    /// sessions or contacts; the other resources are lists, read whole, without a watermark
    #[arg(value_name = "RESOURCE")]
    pub resource: Resource,
    /// Only the contacts with this status: ACTIVE, ARCHIVED or BLOCKED [default: all three]
    #[arg(long, value_name = "STATUS")]
    pub status: Option<String>,
}

/// Which watermark, and its new value.
#[derive(Debug, Args)]
pub struct SetArgs {
    /// Which.
    #[command(flatten)]
    pub stream: StreamArgs,
    /// The new watermark: 2025-12-31 (its first instant), "2025-12-31 18:30" in the configured time
    /// zone, or RFC 3339
    #[arg(value_name = "DATE")]
    pub date: String,
    /// Also for a resource that was never loaded: what was there before DATE is not read, until a
    /// backfill or verify does it
    #[arg(long)]
    pub skip_load: bool,
}

/// Which watermark.
#[derive(Debug, Args)]
pub struct ResetArgs {
    /// Which.
    #[command(flatten)]
    pub stream: StreamArgs,
}

const COLUMNS: [&str; 7] = [
    "account",
    "resource",
    "status",
    "watermark",
    "last success",
    "order",
    "last error",
];

/// Does what is asked.
pub(super) async fn run(context: &Context, args: StateArgs) -> Result<Exit, Failure> {
    match args.command {
        StateCommand::Show => show(context).await,
        StateCommand::Export => export(context).await,
        StateCommand::Set(args) => {
            let zone = context.zone()?;
            let to = parse_date("DATE", &args.date, zone, Edge::Start)?;
            if to > context.clock.now() {
                return Err(Failure::usage_text(format!(
                    "DATE: {} is in the future; what changes until then would never be read",
                    zone.show_seconds(to)
                )));
            }
            let change = Change::Set {
                to,
                skip_load: args.skip_load,
            };
            make(context, &args.stream, change).await
        }
        StateCommand::Reset(args) => make(context, &args.stream, Change::Reset).await,
    }
}

async fn show(context: &Context) -> Result<Exit, Failure> {
    let zone = context.zone()?;
    let store = context.store(Access::Read).await?;
    let at = |at: Option<Timestamp>| at.map_or("-".to_owned(), |at| zone.show_seconds(at));
    let mut printer = Printer::new(io::stdout(), Format::Table, &COLUMNS, terminal_width())?;
    for account in stored::accounts(context, &store).await? {
        for stream in store.stream_statuses(account.id).await? {
            printer.record(
                &[
                    account.name.clone(),
                    stream.resource,
                    stream.partition,
                    at(stream.watermark),
                    at(stream.last_success_at),
                    match stream.ordering {
                        // Lists have no order, and small accounts show none.
                        Ordering::Unknown => "-".to_owned(),
                        known => known.as_str().to_owned(),
                    },
                    stream.last_error.unwrap_or_default(),
                ],
                "",
            )?;
        }
    }
    if printer.finish()? == 0 {
        context.note("no state yet: nothing was ever synced into this database");
    }
    store.close().await;
    Ok(Exit::Done)
}

async fn export(context: &Context) -> Result<Exit, Failure> {
    let store = context.store(Access::Read).await?;
    let mut accounts = Vec::new();
    for account in stored::accounts(context, &store).await? {
        let streams: Vec<serde_json::Value> = store
            .stream_statuses(account.id)
            .await?
            .into_iter()
            .map(|stream| {
                json!({
                    "resource": stream.resource,
                    "status": stream.partition,
                    "watermark": stream.watermark,
                    "observed_at": stream.observed_at,
                    "ordering": stream.ordering.as_str(),
                    "last_success_at": stream.last_success_at,
                    "last_error": stream.last_error,
                    "last_error_at": stream.last_error_at,
                })
            })
            .collect();
        accounts.push(json!({
            "account": account.name,
            "company_id": account.company,
            "streams": streams,
        }));
    }
    store.close().await;
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, &accounts).map_err(io::Error::from)?;
    writeln!(out)?;
    Ok(Exit::Done)
}

/// The streams that are meant.
fn streams(args: &StreamArgs) -> Result<Vec<Stream>, Failure> {
    let mut streams = args.resource.streams();
    if streams.is_empty() {
        return Err(Failure::usage_text(format!(
            "{} are a list, which is read whole and has no watermark (accepted: sessions, contacts)",
            args.resource
        )));
    }
    if let Some(status) = &args.status {
        if args.resource != Resource::Contacts {
            return Err(Failure::usage_text("--status is for contacts only"));
        }
        let status = one_of(status, &CONTACT_STATUSES)
            .map_err(|problem| Failure::usage_text(format!("--status: {problem}")))?;
        streams.retain(|stream| stream.partition == status);
    }
    Ok(streams)
}

/// What becomes of a watermark.
#[derive(Debug, Clone, Copy)]
enum Change {
    Set { to: Timestamp, skip_load: bool },
    Reset,
}

impl Change {
    const fn watermark(self) -> Option<Timestamp> {
        match self {
            Self::Set { to, .. } => Some(to),
            Self::Reset => None,
        }
    }
}

async fn make(context: &Context, args: &StreamArgs, change: Change) -> Result<Exit, Failure> {
    let to = change.watermark();
    let streams = streams(args)?;
    let zone = context.zone()?;
    let store = context.store(Access::Write).await?;
    let account = stored::account(context, &store).await?;
    let lease = stored::acquire(context, &store, &account.name, account.id, Busy::Refuse).await?;
    let changed = apply(context, &store, &lease, &streams, change).await;
    store.release(&lease).await?;
    let shown = |at: Option<Timestamp>| at.map_or("none".to_owned(), |at| zone.show_seconds(at));
    let mut out = io::stdout().lock();
    for (stream, old) in changed? {
        writeln!(
            out,
            "{} {stream}: watermark {} (was {})",
            account.name,
            shown(to),
            shown(old)
        )?;
    }
    store.close().await;
    Ok(Exit::Done)
}

async fn apply(
    context: &Context,
    store: &Store,
    lease: &Lease,
    streams: &[Stream],
    change: Change,
) -> Result<Vec<(Stream, Option<Timestamp>)>, Failure> {
    match change {
        Change::Set { skip_load, .. } if !skip_load => {
            require_loaded(store, lease, streams).await?;
        }
        Change::Set { .. } => {}
        Change::Reset => give_up_loads(context, store, lease, streams).await?,
    }
    let to = change.watermark();
    let mut changed = Vec::new();
    for &stream in streams {
        let now = context.clock.now();
        let run = store
            .begin_run(lease, RunKind::State, &stream.to_string(), now)
            .await?;
        let old = store.set_watermark(lease, run, stream, to, now).await?;
        store
            .finish_run(lease, run, RunOutcome::Succeeded, None, now)
            .await?;
        changed.push((stream, old));
    }
    Ok(changed)
}

/// Refuses a watermark that would stand in for a load that was never made.
async fn require_loaded(store: &Store, lease: &Lease, streams: &[Stream]) -> Result<(), Failure> {
    for &stream in streams {
        let state = store.state(lease.account(), stream).await?;
        if state.watermark.is_none() {
            return Err(Failure::usage_text(format!(
                "{stream} was never loaded, or was reset: with a watermark its load would never be \
                 made; run or sync load it whole, and --skip-load sets the watermark all the same"
            )));
        }
    }
    Ok(())
}

/// Gives up the first loads of these streams that are under way: another one will be made.
async fn give_up_loads(
    context: &Context,
    store: &Store,
    lease: &Lease,
    streams: &[Stream],
) -> Result<(), Failure> {
    for load in store.unfinished_backfills(lease.account()).await? {
        let is_asked_for = streams.iter().any(|it| it.resource == load.resource);
        if load.first_load && is_asked_for {
            let now = context.clock.now();
            store.cancel_backfill(lease, load.id, now).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(resource: Resource, status: Option<&str>) -> Result<usize, String> {
        streams(&StreamArgs {
            resource,
            status: status.map(str::to_owned),
        })
        .map(|streams| streams.len())
        .map_err(|failure| failure.text())
    }

    #[test]
    fn contacts_have_a_watermark_for_each_status_and_lists_have_none() {
        assert_eq!(named(Resource::Sessions, None), Ok(1));
        assert_eq!(named(Resource::Contacts, None), Ok(3));
        assert_eq!(named(Resource::Contacts, Some("archived")), Ok(1));
        assert!(
            named(Resource::Tags, None)
                .unwrap_err()
                .contains("no watermark")
        );
        assert!(
            named(Resource::Sessions, Some("ACTIVE"))
                .unwrap_err()
                .contains("contacts only")
        );
        assert!(
            named(Resource::Contacts, Some("ARCHIVE"))
                .unwrap_err()
                .contains("nearest: ARCHIVED")
        );
    }
}
