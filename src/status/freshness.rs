//! Decides which streams are too old, and which of them do not count.
//!
//! Must not know the database, or how the status is shown.

use std::time::Duration;

use crate::data::{Resource, Stream, Timestamp};
use crate::store::{StreamStatus, VerifiedStream};

/// A mirrored stream, when it was last read completely, and when it is to be read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promise {
    /// The stream; of a list, the resource as a whole.
    pub stream: Stream,
    /// When it was last read completely, and when it is due. `None` if it was never read.
    pub kept: Option<(Timestamp, Timestamp)>,
}

/// When each of the mirrored streams is to be read again.
///
/// `due` says when the schedule reads something again that was read at this time and is to be read
/// again after this duration.
pub fn promises(
    statuses: &[StreamStatus],
    resources: &[Resource],
    catalog_interval: Duration,
    due: impl Fn(Timestamp, Duration) -> Timestamp,
) -> Vec<Promise> {
    let mut promises = Vec::new();
    for resource in resources {
        let after = if resource.is_list() {
            catalog_interval
        } else {
            Duration::ZERO
        };
        for stream in parts(*resource) {
            let partition = stream.partition.as_str();
            let last = statuses
                .iter()
                .find(|s| s.resource == resource.name() && s.partition == partition)
                .and_then(|status| status.last_success_at);
            let kept = last.map(|at| (at, due(at, after)));
            promises.push(Promise { stream, kept });
        }
    }
    promises
}

/// What is too old, and what does not count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lateness {
    /// Streams that should have been read long ago, as text.
    pub stale: Vec<String>,
    /// Resources whose age does not count, since the platform refuses the token for them and not for the
    /// others, as text.
    pub refused: Vec<String>,
}

/// The resources among `mirrored` for which the platform refuses the token, and not for the others: since then,
/// another one was read. Each comes with what the platform said. If nothing was read since, the token is what is
/// wrong, and lists may not have been tried since.
pub fn refused<'a>(
    statuses: &'a [StreamStatus],
    mirrored: &[Resource],
) -> Vec<(Resource, &'a str)> {
    let of = |resource: &Resource| {
        let name = resource.name();
        statuses
            .iter()
            .filter(move |status| status.resource == name)
    };
    let refusal = |resource: &Resource| {
        of(resource)
            .filter_map(|status| Some((status.refused_since?, status.last_error.as_deref()?)))
            .max_by_key(|(since, _)| *since)
            .map(|(since, error)| (*resource, since, error))
    };
    let refused: Vec<_> = mirrored.iter().filter_map(refusal).collect();
    if refused.len() == mirrored.len() {
        return Vec::new();
    }
    let is_read_since = |resource: Resource, since: Timestamp| {
        let others = mirrored.iter().filter(|other| **other != resource);
        let mut read = others.flat_map(of).filter_map(|one| one.last_success_at);
        read.any(|at| at > since)
    };
    refused
        .into_iter()
        .filter(|(resource, since, _)| is_read_since(*resource, *since))
        .map(|(resource, _, error)| (resource, error))
        .collect()
}

/// The streams of a resource; of a list, the resource as a whole.
pub fn parts(resource: Resource) -> Vec<Stream> {
    let streams = resource.streams();
    if streams.is_empty() {
        vec![Stream::whole(resource)]
    } else {
        streams
    }
}

/// The oldest verification of a mirror.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Oldest {
    /// When the stream was last verified whose last verification is the oldest. `None` if none ever was.
    pub verified_at: Option<Timestamp>,
    /// The same, but a stream that was never verified counts from when it could be. `None` if none can be yet.
    pub counts_from: Option<Timestamp>,
}

/// The oldest verification of all parts of these resources.
pub fn oldest_verification(resources: &[Resource], verified: &[VerifiedStream]) -> Oldest {
    let its = |part: &Stream| {
        let is_it = |one: &&VerifiedStream| {
            one.resource == part.resource.name() && one.partition == part.partition.as_str()
        };
        verified.iter().find(is_it)
    };
    let parts: Vec<Stream> = resources.iter().copied().flat_map(parts).collect();
    let known: Vec<&VerifiedStream> = parts.iter().filter_map(its).collect();
    Oldest {
        verified_at: known.iter().filter_map(|one| one.verified_at).min(),
        counts_from: known
            .iter()
            .filter_map(|one| one.verified_at.or(one.can_be_since))
            .min(),
    }
}

/// Which streams should have been read more than `max_lag` ago, and were not. A resource that the platform
/// refuses to this token, while it shows others, is named and does not count: it may be so for ever.
pub fn too_old(
    promises: &[Promise],
    statuses: &[StreamStatus],
    now: Timestamp,
    max_lag: Duration,
) -> Lateness {
    let mut mirrored: Vec<Resource> = promises
        .iter()
        .map(|promise| promise.stream.resource)
        .collect();
    mirrored.dedup();
    let refused = refused(statuses, &mirrored);
    let counts = |stream: &Stream| {
        let mut refused = refused.iter();
        !refused.any(|(resource, _)| *resource == stream.resource)
    };
    let mut old = Vec::new();
    for Promise { stream, kept } in promises.iter().filter(|promise| counts(&promise.stream)) {
        match *kept {
            None => old.push(format!("{stream} was never read completely")),
            Some((at, due)) if now.since(due) > max_lag => {
                let ago = |at: Timestamp| {
                    let ago = Duration::from_secs(now.since(at).as_secs());
                    humantime::format_duration(ago).to_string()
                };
                old.push(format!(
                    "{stream} was last read {} ago, and was due {} ago",
                    ago(at),
                    ago(due)
                ));
            }
            Some(_) => {}
        }
    }
    let texts = refused.iter().map(|(resource, error)| {
        format!(
            "{resource} does not count, since the platform refuses the token for it: {error}; give the \
             token the right to read it, or take it out of sync.resources"
        )
    });
    Lateness {
        stale: old,
        refused: texts.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Ordering;

    fn status(resource: &str, partition: &str, last: Option<i64>) -> StreamStatus {
        StreamStatus {
            resource: resource.into(),
            partition: partition.into(),
            watermark: None,
            observed_at: None,
            ordering: Ordering::Unknown,
            last_success_at: last.map(|minute| Timestamp::from_micros(minute * 60_000_000)),
            last_error: None,
            last_error_at: None,
            refused_since: None,
            clock_difference: None,
            doubted_at: None,
            doubted_keys: Vec::new(),
            interactions_ahead: 0,
            interactions_ahead_at: None,
        }
    }

    #[test]
    fn what_was_not_read_for_too_long_or_never_is_stale() {
        let statuses = [
            status("sessions", "", Some(55)),
            status("contacts", "ACTIVE", Some(40)),
            status("contacts", "ARCHIVED", None),
            status("tags", "", Some(40)),
            status("agents", "", Some(30)),
        ];
        let resources = [
            Resource::Tags,
            Resource::Agents,
            Resource::Sessions,
            Resource::Contacts,
        ];
        let now = Timestamp::from_micros(60 * 60_000_000);
        let minutes = Duration::from_mins;
        let due = |at: Timestamp, after: Duration| at + after + minutes(1);
        let promises = promises(&statuses, &resources, minutes(15), due);
        assert_eq!(
            too_old(&promises, &statuses, now, minutes(10)).stale,
            [
                "agents was last read 30m ago, and was due 14m ago",
                "contacts (ACTIVE) was last read 20m ago, and was due 19m ago",
                "contacts (ARCHIVED) was never read completely",
                "contacts (BLOCKED) was never read completely",
            ]
        );
    }

    #[test]
    fn what_the_platform_refuses_is_named_and_counts_only_if_it_refuses_everything() {
        let refused_at = |minute: i64, mut status: StreamStatus| {
            status.last_error = Some("GET /x was refused with 403: no right".into());
            status.refused_since = Some(Timestamp::from_micros(minute * 60_000_000));
            status
        };
        let refused = |status| refused_at(58, status);
        let now = Timestamp::from_micros(60 * 60_000_000);
        let late = |statuses: &[StreamStatus]| {
            let resources = [Resource::Tags, Resource::Contacts];
            let promises = promises(statuses, &resources, Duration::ZERO, |at, _| at);
            too_old(&promises, statuses, now, Duration::from_mins(10))
        };
        let fresh = ["ACTIVE", "ARCHIVED", "BLOCKED"]
            .map(|part| status("contacts", part, Some(59)))
            .to_vec();
        // It was never read, or long ago.
        for last in [None, Some(1)] {
            let mut statuses = fresh.clone();
            statuses.push(refused(status("tags", "", last)));
            let late = late(&statuses);
            assert_eq!(late.stale, [""; 0]);
            assert_eq!(
                late.refused,
                [
                    "tags does not count, since the platform refuses the token for it: GET /x was \
                     refused with 403: no right; give the token the right to read it, or take it out of \
                     sync.resources"
                ]
            );
        }
        // Another failure counts, and so does what else is old.
        let mut statuses = fresh.clone();
        let mut failed = status("tags", "", Some(1));
        failed.last_error = Some("GET /x failed: 503".into());
        statuses.push(failed);
        assert_eq!(late(&statuses).stale.len(), 1);
        statuses[3] = refused(status("tags", "", Some(1)));
        statuses[1] = status("contacts", "ARCHIVED", Some(1));
        assert_eq!(late(&statuses).stale.len(), 1);
        // One part of a resource that is refused says it of the whole.
        let mut statuses = vec![status("tags", "", Some(59)), refused(fresh[0].clone())];
        assert_eq!(late(&statuses).stale, [""; 0]);
        assert_eq!(late(&statuses).refused.len(), 1);
        // Nothing was read since it is refused: the token was revoked, and tags were not tried since.
        let before = [
            status("tags", "", Some(40)),
            refused_at(41, status("contacts", "ACTIVE", Some(40))),
        ];
        let late_before = late(&before);
        assert_eq!(late_before.refused, [""; 0]);
        assert_eq!(late_before.stale.len(), 4);
        // If everything is refused, the token is what is wrong.
        statuses[0] = refused(status("tags", "", Some(1)));
        let late = late(&statuses);
        assert_eq!((late.stale.len(), late.refused.len()), (3, 0));
    }

    #[test]
    fn a_mirror_is_verified_as_far_as_the_stream_that_waits_longest() {
        let at = |minute: i64| Timestamp::from_micros(minute * 60_000_000);
        let stream = |resource: &str, since: Option<i64>, verified: Option<i64>| VerifiedStream {
            resource: resource.to_owned(),
            partition: String::new(),
            can_be_since: since.map(at),
            verified_at: verified.map(at),
            differing: 0,
        };
        let oldest = |verified: &[VerifiedStream]| {
            let oldest = oldest_verification(&[Resource::Tags, Resource::Sessions], verified);
            (oldest.verified_at, oldest.counts_from)
        };
        let tags = stream("tags", Some(1), Some(10));
        // Each night, sessions fail: at first they were verified, and then never.
        let late = stream("sessions", Some(2), Some(5));
        assert_eq!(oldest(&[tags.clone(), late]), (Some(at(5)), Some(at(5))));
        let never = stream("sessions", Some(2), None);
        assert_eq!(oldest(&[tags.clone(), never]), (Some(at(10)), Some(at(2))));
        // What is not loaded yet cannot be verified, and what is not mirrored need not be.
        let unloaded = stream("sessions", None, None);
        let other = stream("agents", Some(1), None);
        assert_eq!(
            oldest(&[tags, unloaded, other]),
            (Some(at(10)), Some(at(10)))
        );
        assert_eq!(oldest(&[]), (None, None));
    }
}
