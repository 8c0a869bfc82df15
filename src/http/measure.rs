//! Metrics of what is in the database, of the process and of rate limits. They are measured when
//! somebody reads the metrics, and are absent from an answer for which they could not be measured.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::alerts::{Channel, Kind};
use crate::api::Client;
use crate::data::{Resource, Source as _, Standing, Stream, Timestamp};
use crate::metrics::{self, Samples};
use crate::status::{Promise, disk, lag, oldest_verification, stream_name};
use crate::store::{AccountId, Holder, Store, StoreError, StoredAlert, StreamStatus};

/// A message that was neither created nor tried within this time goes a way that is configured no more: others
/// are tried at least every hour.
const TRIED_WITHIN: Duration = Duration::from_hours(2);

/// A count as a gauge. Larger ones lose their last digits.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
const fn float(count: u64) -> f64 {
    count as f64
}

fn flag(is_so: bool) -> f64 {
    f64::from(u8::from(is_so))
}

/// A Unix time in seconds.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
fn unix(at: Timestamp) -> f64 {
    at.micros() as f64 / 1e6
}

/// The process itself.
pub(super) fn process(into: &mut Samples, stuck: usize) {
    into.set(metrics::STUCK, &[], float(stuck as u64));
    // They are absent where the system has no such files.
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    if let Some(kibibytes) = resident {
        into.set(metrics::MEMORY, &[], float(kibibytes * 1024));
    }
    if let Ok(files) = fs::read_dir("/proc/self/fd") {
        // Reading the folder opens one.
        let count = files.count().saturating_sub(1);
        into.set(metrics::OPEN_FILES, &[], float(count as u64));
    }
}

/// The database, if it is open, whether it answers, and the disk of a SQLite file.
pub(super) fn database(
    into: &mut Samples,
    store: Option<&Store>,
    is_up: bool,
    file: Option<&Path>,
) {
    into.set(metrics::DATABASE_UP, &[], flag(is_up));
    if let Some(store) = store {
        let kind = store.kind();
        let labels = [("database", kind), ("version", env!("CARGO_PKG_VERSION"))];
        into.set(metrics::BUILD_INFO, &labels, 1.0);
    }
    if let Some(size) = store.filter(|_| is_up).and_then(Store::log_size) {
        into.set(metrics::WAL_BYTES, &[], float(size));
    }
    if let Some((free, size)) = file.and_then(disk) {
        into.set(metrics::DISK_FREE, &[], float(free));
        into.set(metrics::DISK_SIZE, &[], float(size));
    }
}

/// The rate limits of an account, and whether the platform answers.
pub(super) fn client(into: &mut Samples, account: &str, client: &Client) {
    let budget = client.budget();
    for (window, allowance) in [("sustained", budget.sustained), ("burst", budget.burst)] {
        let labels = [("account", account), ("window", window)];
        into.set(metrics::BUDGET, &labels, float(allowance.allowed as u64));
        into.set(metrics::BUDGET_LEFT, &labels, float(allowance.left as u64));
    }
    let is_out = matches!(client.standing(), Standing::Troubled(_));
    into.set(metrics::OUTAGE, &[("account", account)], flag(is_out));
}

/// How fresh the streams of an account are, for a process that began then, and which are of resources that the
/// platform refuses.
pub(super) fn streams<'a>(
    into: &mut Samples,
    account: &str,
    statuses: impl Iterator<Item = &'a StreamStatus>,
    promises: &[Promise],
    refused: &[Resource],
    (began, now): (Timestamp, Timestamp),
) {
    for status in statuses {
        let stream = stream_name(&status.resource, &status.partition);
        let labels = [("account", account), ("stream", stream.as_str())];
        if let Some(lag) = lag(status, now) {
            into.set(metrics::LAG, &labels, float(lag));
        }
        if let Some(watermark) = status.watermark {
            into.set(metrics::WATERMARK, &labels, unix(watermark));
        }
        if let Some(at) = status.last_success_at {
            into.set(metrics::LAST_SUCCESS, &labels, unix(at));
        }
        into.set(
            metrics::FAILING,
            &labels,
            flag(status.last_error_at.is_some()),
        );
    }
    for Promise { stream, kept } in promises {
        let (resource, stream) = (stream.resource, stream.to_string());
        let labels = [("account", account), ("stream", stream.as_str())];
        // One that was never read should have been read when the process began.
        let late = now.since(kept.map_or(began, |(_, due)| due));
        into.set(metrics::OVERDUE, &labels, late.as_secs_f64());
        let is_refused = refused.contains(&resource);
        into.set(metrics::STREAM_REFUSED, &labels, flag(is_refused));
    }
}

/// Nobody has ever worked on an account.
pub(super) fn no_lease(into: &mut Samples, account: &str) {
    for name in [metrics::LEASE_HELD, metrics::LEASE_VALID] {
        into.set(name, &[("account", account)], 0.0);
    }
}

/// Which of these kinds of alerts are open, for an account or, without a name, for the whole database.
pub(super) fn alerts(into: &mut Samples, account: &str, kinds: &[Kind], stored: &[StoredAlert]) {
    for kind in kinds.iter().map(|kind| kind.as_str()) {
        let mut open = stored.iter().filter(|alert| alert.opened_at.is_some());
        let labels = [("account", account), ("kind", kind)];
        let is_open = open.any(|alert| alert.kind == kind);
        into.set(metrics::ALERTS_OPEN, &labels, flag(is_open));
    }
}

/// The messages of alerts that are still to be sent.
pub(super) async fn messages(
    into: &mut Samples,
    store: &Store,
    now: Timestamp,
) -> Result<(), StoreError> {
    let unsent = store.unsent_messages(now - TRIED_WITHIN).await?;
    for channel in Channel::ALL {
        let name = channel.as_str();
        let count = unsent.get(name).copied().unwrap_or_default();
        into.set(metrics::ALERTS_UNSENT, &[("channel", name)], float(count));
    }
    Ok(())
}

/// When the mirror was verified, but for what the platform refuses. `due` says when a verification is due after
/// the last one; `None` for never.
async fn verified(
    into: &mut Samples,
    (account, id): (&str, AccountId),
    store: &Store,
    resources: &[Resource],
    due: impl Fn(Option<Timestamp>) -> Option<Timestamp>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let whole = [("account", account)];
    let verified = store.verifications(id).await?;
    let differences = verified.iter().map(|one| one.differing).sum();
    into.set(metrics::DIFFERENCES, &whole, float(differences));
    let oldest = oldest_verification(resources, &verified);
    if let Some(at) = oldest.verified_at {
        into.set(metrics::LAST_VERIFY, &whole, unix(at));
    }
    if let Some(due) = due(oldest.counts_from) {
        let late = now.since(due).as_secs_f64();
        into.set(metrics::VERIFY_OVERDUE, &whole, late);
    }
    Ok(())
}

/// What the database says of an account besides. `refused` is not to be verified, and `verify_due` says when a
/// verification is due after the last one; `None` for never.
pub(super) async fn stored(
    into: &mut Samples,
    (account, id): (&str, AccountId),
    store: &Store,
    (mirrored, refused): (&[Resource], &[Resource]),
    verify_due: impl Fn(Option<Timestamp>) -> Option<Timestamp>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let whole = [("account", account)];
    let rejects = store.reject_counts(id).await?;
    let backfills = store.unfinished_backfills(id).await?;
    for resource in mirrored.iter().map(|resource| resource.name()) {
        let labels = [("account", account), ("resource", resource)];
        let open = rejects.get(resource).copied().unwrap_or_default();
        into.set(metrics::REJECTS, &labels, float(open));
        let left = backfills
            .iter()
            .filter(|backfill| backfill.resource.name() == resource)
            .map(|backfill| backfill.windows_left);
        into.set(metrics::WINDOWS_LEFT, &labels, float(left.sum()));
    }
    let gaps = store.open_gaps(id).await?;
    let streams = mirrored.iter().flat_map(|resource| resource.streams());
    for stream in streams.chain([Stream::INTERACTIONS]) {
        let open = gaps.iter().filter(|gap| gap.gap.stream == stream).count();
        let name = stream.to_string();
        into.set(
            metrics::GAPS,
            &[("account", account), ("stream", &name)],
            float(open as u64),
        );
    }
    let (waiting, _) = store.recheck_counts(id).await?;
    into.set(metrics::RECHECKS, &whole, float(waiting));
    let read = mirrored.iter().filter(|one| !refused.contains(one));
    let read: Vec<Resource> = read.copied().collect();
    verified(into, (account, id), store, &read, verify_due, now).await?;
    if let Some(doorbell) = store.doorbell(id).await? {
        if let Some(state) = doorbell.state {
            into.set(metrics::SUBSCRIBED, &whole, flag(state.problem().is_none()));
        }
        if let Some(at) = doorbell.last_ring_at {
            into.set(metrics::LAST_RING, &whole, unix(at));
        }
    }
    let open = store.current_alerts(Some(id)).await?;
    alerts(into, account, &Kind::OF_ACCOUNTS, &open);
    let lease = store.valid_lease(id, now).await?;
    let is_ours = |holder: &Holder| *holder == Holder::current();
    let held = lease.as_ref().is_some_and(|lease| is_ours(&lease.holder));
    into.set(metrics::LEASE_HELD, &whole, flag(held));
    into.set(metrics::LEASE_VALID, &whole, flag(lease.is_some()));
    Ok(())
}
