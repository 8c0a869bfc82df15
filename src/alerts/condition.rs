//! Which conditions are there, and what follows for the alerts that are stored. Pure.

use std::time::Duration;

use crate::data::Timestamp;
use crate::status::{Promise, stream_name};
use crate::store::{AlertChange, NewlyFound, StoredAlert, StreamStatus};

/// How often an alert that goes on is told again.
pub(super) const REMIND: Duration = Duration::from_hours(24);

/// What was found within this time is new. An alert about it ends when nothing is.
pub(super) const NEW: Duration = Duration::from_hours(24);

/// How long a token is refused before that is told: a platform that restarts may refuse it for a moment.
pub(super) const REFUSED_FOR: Duration = Duration::from_mins(2);

/// By how many points more of the disk must be free for the alert to end, so that it does not begin and end
/// with every file.
const DISK_POINTS: u64 = 2;

/// How many failures a text names.
const NAMED: usize = 3;

/// The most characters of a failure in a text.
const LONGEST: usize = 300;

/// The kind of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Syncs fail.
    Failing,
    /// The platform refuses the token.
    TokenRefused,
    /// The mirror is older than its schedule allows.
    Behind,
    /// Records could not be stored.
    Rejects,
    /// The platform counts records that it does not show.
    Gaps,
    /// A verification found differences.
    Differences,
    /// The disk of a SQLite database is nearly full.
    Disk,
    /// The database does not answer.
    Database,
}

impl Kind {
    /// The kinds that concern one account.
    pub const OF_ACCOUNTS: [Self; 6] = [
        Self::Failing,
        Self::TokenRefused,
        Self::Behind,
        Self::Rejects,
        Self::Gaps,
        Self::Differences,
    ];

    /// Its name in the database and in messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failing => "failing",
            Self::TokenRefused => "token_refused",
            Self::Behind => "behind",
            Self::Rejects => "rejects",
            Self::Gaps => "gaps",
            Self::Differences => "differences",
            Self::Disk => "disk",
            Self::Database => "database",
        }
    }

    pub(super) fn from_stored(text: &str) -> Option<Self> {
        Self::OF_ACCOUNTS
            .into_iter()
            .chain([Self::Disk, Self::Database])
            .find(|kind| kind.as_str() == text)
    }
}

/// Whether a condition is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is, since then, with these words.
    There(Timestamp, String),
    /// It is not.
    Gone,
    /// That is not known, or another alert says it. What was told stays as it is.
    Open,
}

/// The verdict about a kind, and how long it must be there before it is told.
pub(super) type Judged = (Kind, Duration, Verdict);

/// What is known of an account.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub(super) now: Timestamp,
    /// When this process began.
    pub(super) started_at: Timestamp,
    /// The streams that are mirrored.
    pub(super) streams: Vec<&'a StreamStatus>,
    pub(super) promises: &'a [Promise],
    /// Since when and why the platform does not answer.
    pub(super) trouble: Option<(Timestamp, String)>,
    /// Whether the platform refuses the token for everything. `None` if that is not known.
    pub(super) refused: Option<bool>,
    /// What is new since [`NEW`].
    pub(super) new: NewlyFound,
    pub(super) failing_after: Duration,
    pub(super) max_lag: Duration,
}

impl Facts<'_> {
    /// The verdict about each kind of an account.
    pub(super) fn judge(&self, stored: &[StoredAlert]) -> Vec<Judged> {
        let is_open = |kind: Kind| {
            let mut stored = stored.iter();
            stored.any(|one| one.kind == kind.as_str() && one.opened_at.is_some())
        };
        // One cause is told once: a mirror whose token is refused fails, and one that fails gets older.
        let refused = self.token();
        let is_refused = match refused {
            Verdict::There(..) => true,
            Verdict::Open => is_open(Kind::TokenRefused),
            Verdict::Gone => false,
        };
        let failing = if is_refused {
            Verdict::Open
        } else {
            self.failing()
        };
        let has_failed = match &failing {
            Verdict::There(since, _) => {
                let since = began(stored, Kind::Failing, *since);
                is_open(Kind::Failing) || self.now.since(since) >= self.failing_after
            }
            Verdict::Open => true,
            Verdict::Gone => false,
        };
        let behind = if has_failed {
            Verdict::Open
        } else {
            self.behind()
        };
        let new = &self.new;
        let now = Duration::ZERO;
        vec![
            (Kind::TokenRefused, REFUSED_FOR, refused),
            (Kind::Failing, self.failing_after, failing),
            (Kind::Behind, now, behind),
            (Kind::Rejects, now, newly(new.rejects, new.rejects_since)),
            (Kind::Gaps, now, newly(new.gaps, new.gaps_since)),
            (
                Kind::Differences,
                now,
                newly(new.differences, new.differences_since),
            ),
        ]
    }

    fn token(&self) -> Verdict {
        match self.refused {
            Some(true) => Verdict::There(self.now, String::new()),
            Some(false) => Verdict::Gone,
            None => Verdict::Open,
        }
    }

    fn failing(&self) -> Verdict {
        if let Some((since, what)) = &self.trouble {
            return Verdict::There(
                *since,
                format!("the platform does not answer: {}", cut(what)),
            );
        }
        let failed: Vec<(&&StreamStatus, Timestamp)> = self
            .streams
            .iter()
            .filter_map(|stream| Some((stream, stream.last_error_at?)))
            .collect();
        let Some(since) = failed.iter().map(|(_, at)| *at).min() else {
            return Verdict::Gone;
        };
        let texts = failed.iter().map(|(stream, _)| {
            let name = stream_name(&stream.resource, &stream.partition);
            let error = stream
                .last_error
                .as_deref()
                .unwrap_or("the cause is not known");
            format!("{name}: {}", cut(error))
        });
        Verdict::There(since, some_of(texts.collect()))
    }

    fn behind(&self) -> Verdict {
        let late = |due: Timestamp| self.now.since(due) > self.max_lag;
        let overdue: Vec<(&Promise, Timestamp)> = self
            .promises
            .iter()
            .map(|promise| {
                (
                    promise,
                    promise.kept.map_or(self.started_at, |(_, due)| due),
                )
            })
            .filter(|(_, due)| late(*due))
            .collect();
        let Some(first) = overdue.iter().map(|(_, due)| *due).min() else {
            return Verdict::Gone;
        };
        if !late(self.started_at) {
            // It has just begun to catch up.
            return Verdict::Open;
        }
        let texts = overdue.iter().map(|(promise, due)| {
            let stream = promise.stream;
            match promise.kept {
                Some((at, _)) => format!(
                    "{stream} was last read {} ago, and was due {} ago",
                    lasting(self.now.since(at)),
                    lasting(self.now.since(*due))
                ),
                None => format!("{stream} was never read completely"),
            }
        });
        Verdict::There(first, some_of(texts.collect()))
    }
}

fn newly(count: u64, since: Option<Timestamp>) -> Verdict {
    match since {
        Some(since) if count > 0 => Verdict::There(since, count.to_string()),
        _ => Verdict::Gone,
    }
}

/// The verdict about a disk of which so many bytes are free, of so many.
pub(super) fn disk((free, size): (u64, u64), percent: u32, now: Timestamp) -> Judged {
    let left = u128::from(free) * 100;
    let share = |points: u64| u128::from(size) * u128::from(points.min(100));
    let least = u64::from(percent);
    let verdict = if left < share(least) {
        Verdict::There(now, format!("{} of {}", bytes(free), bytes(size)))
    } else if left < share(least + DISK_POINTS) {
        Verdict::Open
    } else {
        Verdict::Gone
    };
    (Kind::Disk, Duration::ZERO, verdict)
}

/// `1.2 GB`.
fn bytes(count: u64) -> String {
    let tenths = |unit: u64| {
        let tenths = count / (unit / 10);
        format!("{}.{}", tenths / 10, tenths % 10)
    };
    match count {
        1_000_000_000.. => format!("{} GB", tenths(1_000_000_000)),
        _ => format!("{} MB", tenths(1_000_000)),
    }
}

/// Since when a condition is there that is seen since then.
fn began(stored: &[StoredAlert], kind: Kind, since: Timestamp) -> Timestamp {
    stored
        .iter()
        .find(|alert| alert.kind == kind.as_str())
        .map_or(since, |alert| alert.began_at)
}

/// What follows from verdicts for the alerts that are stored and have not ended.
pub(super) fn changes(
    stored: &[StoredAlert],
    judged: &[Judged],
    now: Timestamp,
) -> Vec<AlertChange> {
    let mut changes = Vec::new();
    for (kind, delay, verdict) in judged {
        let current = stored.iter().find(|alert| alert.kind == kind.as_str());
        let change = match (current, verdict) {
            (None, Verdict::There(since, detail)) => AlertChange::Found {
                kind: kind.as_str(),
                detail: detail.clone(),
                began_at: *since,
                is_open: now.since(*since) >= *delay,
            },
            (Some(alert), Verdict::There(_, detail)) if alert.opened_at.is_none() => {
                if now.since(alert.began_at) < *delay {
                    continue;
                }
                AlertChange::Opened {
                    id: alert.id,
                    detail: detail.clone(),
                }
            }
            (Some(alert), Verdict::There(_, detail)) => {
                if alert.told_at.is_some_and(|told| now.since(told) < REMIND) {
                    continue;
                }
                AlertChange::Reminded {
                    id: alert.id,
                    detail: detail.clone(),
                    told_at: alert.told_at,
                }
            }
            (Some(alert), Verdict::Gone) => AlertChange::Ended { id: alert.id },
            (None, Verdict::Gone) | (_, Verdict::Open) => continue,
        };
        changes.push(change);
    }
    changes
}

/// The first of these texts, and how many more there are.
fn some_of(mut texts: Vec<String>) -> String {
    let more = texts.len().saturating_sub(NAMED);
    if more > 0 {
        texts.truncate(NAMED);
        texts.push(format!("and {more} more"));
    }
    texts.join("; ")
}

/// A text without its end if it is too long.
pub(super) fn cut(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// `2h 5m`: to the minute, or to the second below one.
pub(super) fn lasting(time: Duration) -> String {
    let seconds = time.as_secs();
    let seconds = if seconds < 60 {
        seconds
    } else {
        seconds / 60 * 60
    };
    humantime::format_duration(Duration::from_secs(seconds)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Ordering, Resource};

    const MINUTE: Duration = Duration::from_mins(1);
    const HALF_AN_HOUR: Duration = Duration::from_mins(30);

    fn at(minute: u64) -> Timestamp {
        Timestamp::parse("2026-05-04T14:00:00Z").unwrap() + MINUTE * u32::try_from(minute).unwrap()
    }

    fn stream(resource: &str, failed_at: Option<u64>) -> StreamStatus {
        StreamStatus {
            resource: resource.into(),
            partition: String::new(),
            watermark: None,
            observed_at: None,
            ordering: Ordering::Unknown,
            last_success_at: Some(at(0)),
            last_error: failed_at.map(|_| "it is broken".to_owned()),
            last_error_at: failed_at.map(at),
            refused_since: None,
            clock_difference: None,
            doubted_at: None,
            doubted_keys: Vec::new(),
            interactions_ahead: 0,
            interactions_ahead_at: None,
        }
    }

    fn promise(due: u64) -> Promise {
        Promise {
            stream: Resource::Sessions.streams()[0],
            kept: Some((at(0), at(due))),
        }
    }

    fn facts<'a>(minute: u64, streams: &'a [StreamStatus], promises: &'a [Promise]) -> Facts<'a> {
        Facts {
            now: at(minute),
            started_at: at(0),
            streams: streams.iter().collect(),
            promises,
            trouble: None,
            refused: Some(false),
            new: NewlyFound::default(),
            failing_after: HALF_AN_HOUR,
            max_lag: HALF_AN_HOUR,
        }
    }

    fn stored(kind: Kind, began: u64, opened: Option<u64>) -> StoredAlert {
        StoredAlert {
            id: 7,
            account: None,
            kind: kind.as_str().to_owned(),
            detail: String::new(),
            began_at: at(began),
            opened_at: opened.map(at),
            told_at: opened.map(at),
            ended_at: None,
        }
    }

    /// The kinds that are found and told, found and not yet told, and ended.
    fn told(facts: &Facts<'_>, known: &[StoredAlert]) -> Vec<String> {
        changes(known, &facts.judge(known), facts.now)
            .into_iter()
            .map(|change| match change {
                AlertChange::Found { kind, is_open, .. } => format!("{kind} {is_open}"),
                AlertChange::Opened { .. } => "opened".to_owned(),
                AlertChange::Reminded { .. } => "reminded".to_owned(),
                AlertChange::Ended { .. } => "ended".to_owned(),
            })
            .collect()
    }

    #[test]
    fn nothing_is_told_while_all_is_well() {
        let streams = [stream("sessions", None)];
        let promises = [promise(90)];
        assert_eq!(told(&facts(100, &streams, &promises), &[]), [] as [&str; 0]);
    }

    #[test]
    fn a_failure_is_told_when_it_has_lasted_and_again_a_day_later() {
        let streams = [stream("sessions", Some(10)), stream("tags", Some(12))];
        assert_eq!(told(&facts(12, &streams, &[]), &[]), ["failing false"]);
        let waiting = [stored(Kind::Failing, 10, None)];
        assert_eq!(told(&facts(39, &streams, &[]), &waiting), [] as [&str; 0]);
        assert_eq!(told(&facts(40, &streams, &[]), &waiting), ["opened"]);
        let open = [stored(Kind::Failing, 10, Some(40))];
        assert_eq!(
            told(&facts(40 + 1439, &streams, &[]), &open),
            [] as [&str; 0]
        );
        assert_eq!(told(&facts(40 + 1440, &streams, &[]), &open), ["reminded"]);
        let well = [stream("sessions", None)];
        assert_eq!(told(&facts(50, &well, &[]), &open), ["ended"]);
    }

    #[test]
    fn one_cause_is_told_once() {
        let streams = [stream("sessions", Some(1))];
        let promises = [promise(1)];
        // It is old because it fails.
        assert_eq!(told(&facts(40, &streams, &promises), &[]), ["failing true"]);
        // It fails because the token is refused.
        let mut refused = facts(40, &streams, &promises);
        refused.refused = Some(true);
        assert_eq!(told(&refused, &[]), ["token_refused false"]);
        let open = [stored(Kind::TokenRefused, 30, Some(35))];
        assert_eq!(told(&refused, &open), [] as [&str; 0]);
        // After a restart nobody knows yet whether the token is refused.
        refused.refused = None;
        assert_eq!(told(&refused, &open), [] as [&str; 0]);
        refused.refused = Some(false);
        assert_eq!(told(&refused, &open), ["ended", "failing true"]);
    }

    #[test]
    fn what_is_old_at_the_start_has_time_to_catch_up() {
        let promises = [promise(1)];
        let mut late = facts(400, &[], &promises);
        late.started_at = at(390);
        assert_eq!(told(&late, &[]), [] as [&str; 0]);
        // And what was told before the restart is not over.
        let open = [stored(Kind::Behind, 31, Some(31))];
        assert_eq!(told(&late, &open), [] as [&str; 0]);
        late.started_at = at(360);
        assert_eq!(told(&late, &[]), ["behind true"]);
    }

    #[test]
    fn a_disk_at_its_limit_begins_one_alert() {
        let verdict = |free: u64| disk((free, 1_000), 10, at(0)).2;
        assert!(matches!(verdict(99), Verdict::There(..)));
        assert_eq!(verdict(100), Verdict::Open);
        assert_eq!(verdict(119), Verdict::Open);
        assert_eq!(verdict(120), Verdict::Gone);
        assert_eq!(bytes(1_260_000_000), "1.2 GB");
        assert_eq!(bytes(40_500_000), "40.5 MB");
    }

    #[test]
    fn long_texts_are_cut() {
        assert_eq!(cut(&"é".repeat(400)).chars().count(), LONGEST + 1);
        let many = (0..5).map(|number| number.to_string()).collect();
        assert_eq!(some_of(many), "0; 1; 2; and 2 more");
        assert_eq!(lasting(Duration::from_secs(7_530)), "2h 5m");
        assert_eq!(lasting(Duration::from_secs(42)), "42s");
    }
}
