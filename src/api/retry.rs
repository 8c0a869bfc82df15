//! What went wrong with a request, whether it is worth another try, and when.
//!
//! Owns the list of failures and the one `match` that decides on them. Must not know how requests
//! are sent, nor how an account is paused: a 429 is only recognised here.

use std::time::Duration;

use crate::data::{SourceError, Timestamp};

use super::limit::growing;

/// How a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// No connection, or it broke before an answer began.
    Connection,
    /// Nothing came in time.
    Timeout,
    /// The answer ended, or stalled, in the middle.
    Cut,
    /// A success whose body is HTML, or nothing, or no JSON.
    NoJson,
    /// A success whose body is JSON of another shape than the contract's.
    Shape,
    /// A success whose body says `error: true` (API notes, 12).
    ErrorInside,
    /// No `Date` header, so that nothing is known of the server's time.
    NoDate,
    /// 429.
    Limited,
    /// 401 or 403.
    Refused(u16),
    /// 404 or 410.
    Missing(u16),
    /// Another 4xx, or a redirect.
    Declined(u16),
    /// 500: trouble, or the platform's word for bad input (API notes, 12).
    Internal,
    /// 408, or a 5xx other than 500.
    Gateway(u16),
}

/// What to do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Asking again would bring the same.
    Final,
    /// Again, after a backoff, as long as fewer than so many tries failed.
    Tries(u32),
    /// Again, when the account's pause is over, however often.
    Pause,
}

/// Tries of what may well be permanent.
const FEW: u32 = 3;
/// Tries of what passes by: about a minute, together.
const SEVERAL: u32 = 7;

const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);

impl Kind {
    /// The retry policy, whole.
    pub(super) fn verdict(self) -> Verdict {
        match self {
            Self::Refused(_) | Self::Missing(_) | Self::Declined(_) => Verdict::Final,
            Self::Internal | Self::NoDate | Self::Shape => Verdict::Tries(FEW),
            Self::Connection
            | Self::Timeout
            | Self::Cut
            | Self::NoJson
            | Self::ErrorInside
            | Self::Gateway(_) => Verdict::Tries(SEVERAL),
            Self::Limited => Verdict::Pause,
        }
    }

    /// The kind of a status that is no success.
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

/// A failed request.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) kind: Kind,
    /// What happened, in one line, without token or body.
    pub(super) detail: String,
    /// What the answer said of when to come again.
    pub(super) retry_after: Option<Duration>,
    /// The server's time, if there was an answer that said it.
    pub(super) server_time: Option<Timestamp>,
    /// Whether the answer was an HTML page, so that it hardly came from the platform itself.
    pub(super) html: bool,
}

impl Failure {
    pub(super) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            retry_after: None,
            server_time: None,
            html: false,
        }
    }

    /// The final word on a request that failed so after `attempts`.
    pub(super) fn into_error(self, request: String, attempts: u32) -> SourceError {
        let detail = self.detail;
        match self.kind {
            Kind::Refused(status) => SourceError::Refused {
                request,
                status,
                detail,
            },
            Kind::Missing(status) => SourceError::NotFound {
                request,
                status,
                detail,
            },
            Kind::Declined(status) => SourceError::NotAccepted {
                request,
                status,
                detail,
            },
            Kind::Internal => SourceError::NotAccepted {
                request,
                status: 500,
                detail: format!("{detail}; so it was {attempts} times"),
            },
            Kind::Connection | Kind::Timeout | Kind::Limited | Kind::Gateway(_) => {
                SourceError::Unavailable {
                    request,
                    attempts,
                    detail,
                }
            }
            Kind::Cut | Kind::NoJson | Kind::Shape | Kind::ErrorInside | Kind::NoDate => {
                SourceError::Malformed {
                    request,
                    attempts,
                    detail,
                }
            }
        }
    }
}

/// How long to wait after so many failed tries: seconds that double up to half a minute, or what
/// the answer asked for, at most `longest`.
pub(super) fn backoff(failed: u32, retry_after: Option<Duration>, longest: Duration) -> Duration {
    growing(FIRST_BACKOFF, failed, LONGEST_BACKOFF)
        .max(retry_after.unwrap_or_default().min(longest))
}

/// Reads a `Retry-After` header: seconds, or an HTTP date, which is compared with the answer's own
/// `Date` because the two clocks may differ. A date that has gone by is a wait of nothing.
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

/// Reads an HTTP date, such as that of the `Date` header.
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
        for (status, kind, verdict) in [
            (301, Kind::Declined(301), Verdict::Final),
            (400, Kind::Declined(400), Verdict::Final),
            (401, Kind::Refused(401), Verdict::Final),
            (403, Kind::Refused(403), Verdict::Final),
            (404, Kind::Missing(404), Verdict::Final),
            (408, Kind::Gateway(408), Verdict::Tries(SEVERAL)),
            (410, Kind::Missing(410), Verdict::Final),
            (422, Kind::Declined(422), Verdict::Final),
            (429, Kind::Limited, Verdict::Pause),
            (500, Kind::Internal, Verdict::Tries(FEW)),
            (502, Kind::Gateway(502), Verdict::Tries(SEVERAL)),
            (503, Kind::Gateway(503), Verdict::Tries(SEVERAL)),
            (504, Kind::Gateway(504), Verdict::Tries(SEVERAL)),
            (522, Kind::Gateway(522), Verdict::Tries(SEVERAL)),
        ] {
            assert_eq!(Kind::of_status(status), kind);
            assert_eq!(kind.verdict(), verdict, "{status}");
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
        for (failed, seconds) in [(1, 1.0), (2, 2.0), (4, 8.0), (6, 30.0), (99, 30.0)] {
            let delay = backoff(failed, None, window).as_secs_f64();
            assert!(delay >= seconds * 0.9 && delay <= seconds * 1.1, "{delay}");
        }
        let asked = |seconds| backoff(1, Some(Duration::from_secs(seconds)), window);
        assert_eq!(asked(40), Duration::from_secs(40));
        assert_eq!(asked(4000), window);
    }
}
