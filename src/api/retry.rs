//! The failures of requests, and the retry policy.
//!
//! Owns the list of failures and the one `match` that decides about them. Must not know how
//! requests are sent or how an account is paused: a 429 is only recognised here.

use std::time::Duration;

use super::exchange::Moment;
use crate::backoff::Backoff;
use crate::data::{SourceError, Timestamp};

/// How a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailureKind {
    /// No connection, or it broke before the answer began.
    Connection,
    /// Timeout.
    Timeout,
    /// The answer was cut off or stalled in the middle.
    Cut,
    /// Status 200 with a body that is empty, HTML or otherwise not JSON.
    NoJson,
    /// Status 200 with JSON of another shape than in the contract.
    Shape,
    /// Status 200 with a body that says `error: true` (API notes, 12).
    ErrorInside,
    /// Status 200 with the answer to another request: this parameter had no effect.
    Ignored(&'static str),
    /// 429.
    Limited,
    /// 401 or 403.
    Refused(u16),
    /// 404 or 410, or a 401 whose body says so.
    Missing(u16),
    /// Another 4xx, or a redirect.
    Declined(u16),
    /// 500: a failure of the platform, or its answer to bad input (API notes, 12).
    Internal,
    /// 408, or a 5xx other than 500, or a 4xx with an HTML page: the answer of a gateway, a
    /// firewall or a proxy.
    Gateway(u16),
}

/// What to do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RetryDecision {
    /// Do not retry: the answer would be the same.
    Final,
    /// Retry after a backoff, up to this number of attempts.
    Tries(u32),
    /// Retry when the account's pause is over, without a limit.
    Pause,
}

/// Attempts for failures that may be permanent.
const FEW: u32 = 3;
/// Attempts for temporary failures: about a minute in total.
const SEVERAL: u32 = 7;

/// The waits between the attempts of one request.
pub(super) const BACKOFF: Backoff =
    Backoff::new(Duration::from_secs(1), Duration::from_secs(30)).jittered();

impl FailureKind {
    /// The complete retry policy.
    pub(super) fn decision(self) -> RetryDecision {
        match self {
            Self::Refused(_) | Self::Missing(_) | Self::Declined(_) => RetryDecision::Final,
            Self::Internal | Self::Ignored(_) | Self::Shape => RetryDecision::Tries(FEW),
            Self::Connection
            | Self::Timeout
            | Self::Cut
            | Self::NoJson
            | Self::ErrorInside
            | Self::Gateway(_) => RetryDecision::Tries(SEVERAL),
            Self::Limited => RetryDecision::Pause,
        }
    }

    /// The kind of failure of an error status.
    pub(super) fn of_status(status: u16) -> Self {
        match status {
            429 => Self::Limited,
            401 | 403 => Self::Refused(status),
            404 | 410 => Self::Missing(status),
            500 => Self::Internal,
            408 | 501.. => Self::Gateway(status),
            0..=499 => Self::Declined(status),
        }
    }
}

/// A failed request: one that may be retried, or that has failed for good.
#[derive(Debug, Clone)]
pub(super) struct FailedRequest {
    pub(super) kind: FailureKind,
    /// What happened, in one line, without token or body.
    pub(super) detail: String,
    /// The answer's `Retry-After`.
    pub(super) retry_after: Option<Duration>,
    /// When the answer was given, if there was one.
    pub(super) moment: Option<Moment>,
    /// Whether the answer was an HTML page, which rarely comes from the platform itself.
    pub(super) html: bool,
    /// Whether a connection did not answer in time, so that the next request needs another one.
    pub(super) silent: bool,
    /// Method and path; empty if only a body was decoded.
    pub(super) request: String,
    /// The number of attempts so far.
    pub(super) attempts: u32,
}

impl FailedRequest {
    pub(super) fn new(kind: FailureKind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            retry_after: None,
            moment: None,
            html: false,
            silent: false,
            request: String::new(),
            attempts: 0,
        }
    }

    /// Appends a note to the detail.
    #[must_use]
    pub(super) fn noting(mut self, note: &str) -> Self {
        self.detail.push_str(note);
        self
    }

    /// What happened, without text of the answer: it is stored in the database.
    pub(super) fn cause(&self, host: &str) -> String {
        match self.kind {
            FailureKind::Connection | FailureKind::Timeout | FailureKind::Cut => {
                format!("{host}: {}", self.detail)
            }
            FailureKind::NoJson => format!("{host} answers with something other than JSON"),
            FailureKind::Shape => format!("{host} answers with JSON of an unknown shape"),
            FailureKind::ErrorInside => format!("{host} answers with status 200 and an error"),
            FailureKind::Ignored(parameter) => format!("{host} ignores {parameter}"),
            FailureKind::Limited => format!("{host} answers 429 (too many requests)"),
            FailureKind::Gateway(status) if self.html => {
                format!("a firewall or proxy of {host} answers {status}")
            }
            FailureKind::Refused(status)
            | FailureKind::Missing(status)
            | FailureKind::Declined(status)
            | FailureKind::Gateway(status) => format!("{host} answers {status}"),
            FailureKind::Internal => format!("{host} answers 500"),
        }
    }
}

impl From<FailedRequest> for SourceError {
    /// The error of a request that failed for good.
    fn from(failed: FailedRequest) -> Self {
        let FailedRequest {
            kind,
            detail,
            request,
            attempts,
            ..
        } = failed;
        match kind {
            FailureKind::Refused(status) => Self::Refused {
                request,
                status,
                detail,
            },
            FailureKind::Missing(status) => Self::NotFound {
                request,
                status,
                detail,
            },
            FailureKind::Declined(status) => Self::NotAccepted {
                request,
                status,
                detail,
            },
            FailureKind::Internal => Self::NotAccepted {
                request,
                status: 500,
                detail: failed_often(&detail, attempts),
            },
            FailureKind::Connection
            | FailureKind::Timeout
            | FailureKind::Limited
            | FailureKind::Gateway(_) => Self::Unavailable {
                request,
                attempts,
                detail,
            },
            FailureKind::Cut
            | FailureKind::NoJson
            | FailureKind::Shape
            | FailureKind::ErrorInside => Self::Malformed {
                request,
                attempts,
                detail,
            },
            FailureKind::Ignored(parameter) => Self::Ignored {
                request,
                parameter,
                detail: failed_often(&detail, attempts),
            },
        }
    }
}

/// A detail, and how often the request failed.
fn failed_often(detail: &str, attempts: u32) -> String {
    match attempts {
        1 => format!("{detail}; failed once"),
        more => format!("{detail}; failed {more} times"),
    }
}

/// The wait after another failed attempt. If the answer asks for a longer one than the backoff, that
/// counts, up to `longest`.
pub(super) fn wait(
    backoff: &mut Backoff,
    retry_after: Option<Duration>,
    longest: Duration,
) -> Duration {
    let asked = retry_after.unwrap_or_default().min(longest);
    backoff.after_failure().max(asked)
}

/// Parses a `Retry-After` header: seconds, or an HTTP date. The date is compared with the answer's
/// own `Date`, since the two clocks may differ. A date in the past means no wait.
pub(super) fn retry_after(
    header: &str,
    server_now: Option<Timestamp>,
    now: Timestamp,
) -> Option<Duration> {
    let header = header.trim();
    if let Ok(seconds) = header.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    if let Ok(seconds) = header.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    Some(http_date(header)?.since(server_now.unwrap_or(now)))
}

/// Parses an HTTP date, such as that of the `Date` header.
pub(super) fn http_date(header: &str) -> Option<Timestamp> {
    let at = httpdate::parse_http_date(header.trim()).ok()?;
    let since = at.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(Timestamp::from_micros(
        i64::try_from(since.as_micros()).ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_policy() {
        for (status, kind, decision) in [
            (301, FailureKind::Declined(301), RetryDecision::Final),
            (400, FailureKind::Declined(400), RetryDecision::Final),
            (401, FailureKind::Refused(401), RetryDecision::Final),
            (403, FailureKind::Refused(403), RetryDecision::Final),
            (404, FailureKind::Missing(404), RetryDecision::Final),
            (
                408,
                FailureKind::Gateway(408),
                RetryDecision::Tries(SEVERAL),
            ),
            (410, FailureKind::Missing(410), RetryDecision::Final),
            (422, FailureKind::Declined(422), RetryDecision::Final),
            (429, FailureKind::Limited, RetryDecision::Pause),
            (500, FailureKind::Internal, RetryDecision::Tries(FEW)),
            (
                502,
                FailureKind::Gateway(502),
                RetryDecision::Tries(SEVERAL),
            ),
            (
                503,
                FailureKind::Gateway(503),
                RetryDecision::Tries(SEVERAL),
            ),
            (
                504,
                FailureKind::Gateway(504),
                RetryDecision::Tries(SEVERAL),
            ),
            (
                522,
                FailureKind::Gateway(522),
                RetryDecision::Tries(SEVERAL),
            ),
        ] {
            assert_eq!(FailureKind::of_status(status), kind);
            assert_eq!(kind.decision(), decision, "{status}");
        }
    }

    #[test]
    fn retry_after_is_read_as_seconds_or_as_a_date_on_the_servers_clock() {
        let now = Timestamp::parse("2026-05-04T13:00:00Z").unwrap();
        let server = Timestamp::parse("2026-05-04T12:00:00Z").unwrap();
        let read = |text| retry_after(text, Some(server), now);
        assert_eq!(read("7"), Some(Duration::from_secs(7)));
        assert_eq!(read(" 0 "), Some(Duration::ZERO));
        assert_eq!(read("1.5"), Some(Duration::from_millis(1500)));
        assert_eq!(
            read("Mon, 04 May 2026 12:00:30 GMT"),
            Some(Duration::from_secs(30))
        );
        assert_eq!(read("Mon, 04 May 2026 11:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(
            retry_after("Mon, 04 May 2026 13:00:30 GMT", None, now),
            Some(Duration::from_secs(30))
        );
        for text in ["", "soon", "-3", "inf", "NaN", "2026-05-04"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn backoff_grows_to_half_a_minute_and_yields_to_what_the_answer_asks_for() {
        let window = Duration::from_mins(5);
        let mut backoff = BACKOFF;
        for seconds in [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0] {
            let delay = wait(&mut backoff, None, window).as_secs_f64();
            assert!(delay >= seconds * 0.9 && delay <= seconds * 1.1, "{delay}");
        }
        let asked = |seconds| wait(&mut { BACKOFF }, Some(Duration::from_secs(seconds)), window);
        assert_eq!(asked(40), Duration::from_secs(40));
        assert_eq!(asked(4000), window);
    }
}
