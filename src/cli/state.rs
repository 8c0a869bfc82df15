//! `state`: shows and changes the watermarks.

use std::io::{self, Write};

use clap::{Args, Subcommand};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::choices::name_of;
use super::contacts::CONTACT_STATUSES;
use super::engine::resources;
use super::formats::TextOrJson;
use super::stored::Busy;
use super::{Access, Context, Exit, Failure, parse_date, refused_options, stored};
use crate::config::{Edge, one_of};
use crate::data::{Ordering, Resource, Stream, Timestamp};
use crate::output::{Format, Printer, terminal_width};
use crate::store::{Lease, Store};

/// Show or change the watermarks.
///
/// A watermark is the time up to which the mirror has all changes of a resource. While another
/// process holds the lease of the account, changes are refused. Each change is recorded with the
/// old and the new value.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  helena-sync state show
  helena-sync state set sessions 2026-01-31
  helena-sync state reset contacts --status ARCHIVED", args = refused_options::hidden(refused_options::STORED))]
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
    /// Prints one line for each account and resource, and for contacts one for each status: the
    /// watermark, when the resource was last read completely, whether the platform sorts as
    /// requested, and the last error. With --json, the same as state export.
    #[command(after_long_help = "Example:\n  helena-sync state show")]
    Show(TextOrJson),
    /// Set a watermark; the next sync reads all changes since then
    ///
    /// An earlier watermark only costs requests: rows that did not change are not written. A later
    /// watermark skips the changes in between, until a backfill or verify finds them. The command is
    /// refused while another process holds the lease of the account. Without --skip-load, it is also
    /// refused for a resource that was never loaded or was reset, since its load would be skipped.
    #[command(after_long_help = "\
Examples:
  helena-sync state set sessions 2026-01-31
  helena-sync state set contacts \"2026-01-31 18:30\" --status ARCHIVED")]
    Set(SetArgs),
    /// Clear a watermark; the next sync loads the whole resource again
    ///
    /// No row is deleted. The next run or sync starts a first load of the resource, for contacts of
    /// all statuses together. If a first load is unfinished, reset cancels it and clears the
    /// watermarks of all statuses. The command is refused while another process holds the lease of
    /// the account.
    #[command(after_long_help = "Example:\n  helena-sync state reset sessions")]
    Reset(ResetArgs),
    /// Print the state as JSON
    ///
    /// For archives and comparisons. state set can set the printed watermarks again.
    #[command(after_long_help = "Example:\n  helena-sync state export > state.json")]
    Export,
}

/// Which watermark.
#[derive(Debug, Clone, Args)]
pub struct StreamArgs {
    /// sessions or contacts. The other resources have no watermark, since each sync reads them completely
    #[arg(value_name = "RESOURCE", value_parser = resources().showing(|one| !one.is_list()))]
    pub resource: Resource,
    /// Only the contacts with this status [default: all three]
    #[arg(long, value_name = "STATUS", value_parser = name_of(&CONTACT_STATUSES))]
    pub status: Option<&'static str>,
}

/// Which watermark, and its new value.
#[derive(Debug, Args)]
pub struct SetArgs {
    /// Which.
    #[command(flatten)]
    pub stream: StreamArgs,
    /// The new watermark: 2025-12-31 (the first instant of that day), "2025-12-31 18:30" in the
    /// configured time zone, yesterday, 7d (so long ago), or RFC 3339
    #[arg(value_name = "DATE")]
    pub date: String,
    /// Accept a resource that was never loaded. Records from before DATE are not read until a
    /// backfill or verify reads them
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

/// Runs the subcommand.
pub(super) async fn run(context: &Context, args: StateArgs) -> Result<Exit, Failure> {
    match args.command {
        StateCommand::Show(format) if format.is_json() => export(context).await,
        StateCommand::Show(_) => show(context).await,
        StateCommand::Export => export(context).await,
        StateCommand::Set(args) => {
            let zone = context.zone()?;
            let to = parse_date("DATE", &args.date, &context.calendar()?, Edge::Start)?;
            if to > context.clock.now() {
                return Err(Failure::usage_text(format!(
                    "DATE: {} is in the future: changes before then would never be read. Give a date in \
                     the past.",
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
    let printer = Printer::new(io::stdout(), Format::Table, &COLUMNS, terminal_width())?;
    let mut printer = printer.apart("last error");
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
                        // Lists are not sorted, and in small accounts the order is never observed.
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
        context.note("nothing was synced into this database yet; run `helena-sync sync`");
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

/// The streams that the arguments name.
fn streams(args: &StreamArgs) -> Result<Vec<Stream>, Failure> {
    let mut streams = args.resource.streams();
    if streams.is_empty() {
        let followed = Resource::ALL.into_iter().filter(|one| !one.is_list());
        return Err(Failure::usage_text(format!(
            "{} have no watermark: each sync reads the list completely (accepted: {})",
            args.resource,
            Resource::names(followed, "and"),
        )));
    }
    if let Some(status) = args.status {
        if args.resource != Resource::Contacts {
            return Err(Failure::usage_text(
                "--status is accepted for contacts only. Leave it out.",
            ));
        }
        streams = vec![stream_of(args.resource, status)?];
    }
    Ok(streams)
}

/// The stream of a resource with this partition, such as a contact's status.
pub(super) fn stream_of(resource: Resource, partition: &str) -> Result<Stream, Failure> {
    let streams = resource.streams();
    let known: Vec<&str> = streams
        .iter()
        .map(|stream| stream.partition.as_str())
        .collect();
    let name = one_of(partition, &known)
        .map_err(|problem| Failure::usage_text(format!("--status: {problem}")))?;
    let found = streams
        .iter()
        .find(|stream| stream.partition.as_str() == name);
    Ok(found.copied().unwrap_or(Stream::whole(resource)))
}

/// A change of a watermark.
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
    let mut claim = stored::claim(context, &store, &account.name, &account.base_url)?;
    let never = CancellationToken::new();
    let kept = stored::acquire(context, &mut claim, Busy::Refuse, &never).await?;
    let changed = apply(context, &store, kept.lease(), &streams, change).await;
    kept.release().await;
    store.close().await;
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
        Change::Set { .. } | Change::Reset => {}
    }
    let now = context.clock.now();
    Ok(store
        .set_watermarks(lease, streams, change.watermark(), now)
        .await?)
}

/// Refuses to set a watermark for a resource that was never loaded: its load would be skipped.
async fn require_loaded(store: &Store, lease: &Lease, streams: &[Stream]) -> Result<(), Failure> {
    for &stream in streams {
        let state = store.state(lease.account(), stream).await?;
        if state.watermark.is_none() {
            return Err(Failure::usage_text(format!(
                "{stream} was never loaded, or was reset: a watermark would skip its load. Run \
                 `helena-sync sync` to load it, or add --skip-load to set the watermark anyway."
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(resource: Resource, status: Option<&'static str>) -> Result<usize, String> {
        streams(&StreamArgs { resource, status })
            .map(|streams| streams.len())
            .map_err(|failure| failure.text())
    }

    #[test]
    fn contacts_have_a_watermark_for_each_status_and_lists_have_none() {
        assert_eq!(named(Resource::Sessions, None), Ok(1));
        assert_eq!(named(Resource::Contacts, None), Ok(3));
        assert_eq!(named(Resource::Contacts, Some("ARCHIVED")), Ok(1));
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
    }

    #[test]
    fn the_statuses_of_contacts_are_those_of_their_streams() {
        let streams = Resource::Contacts.streams();
        let statuses: Vec<&str> = streams.iter().map(|one| one.partition.as_str()).collect();
        assert_eq!(statuses, CONTACT_STATUSES);
    }
}
