//! One question and its answer: sends, waits, sends again.
//!
//! Owns the connection pool, the counts of what was sent, and the loop around a request; the
//! policy is [`super::retry`]'s, the limits are [`super::limit`]'s. Must not know what is asked.

use std::error::Error as _;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::Response;
use reqwest::header::{CONTENT_TYPE, DATE, HeaderName, RETRY_AFTER};
use secrecy::{ExposeSecret as _, SecretString};

use crate::clock::Clock;
use crate::data::{SourceError, Timestamp, Usage};

use super::limit::{Limiter, PausedTooLong, WaitReason};
use super::problem;
use super::query::Parameters;
use super::retry::{Failure, Kind, Verdict, backoff, http_date, retry_after};
use super::wire::{self, Decoded, Shape};

/// No body is larger; one that claims to be is not read to its end.
const LARGEST_BODY: usize = 256 << 20;

/// As much of an error's body is read.
const LARGEST_PROBLEM: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) http: reqwest::Client,
    /// Without a trailing slash.
    pub(super) base: String,
    /// To make sure that no text from outside carries it on; sent by `http` itself.
    pub(super) token: SecretString,
    pub(super) limiter: Limiter,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) patience: Option<Duration>,
    /// The longest wait that an answer may ask for.
    pub(super) longest_wait: Duration,
    pub(super) requests: AtomicU64,
    /// The server's time of the last answer, in microseconds since 1970.
    pub(super) latest: AtomicI64,
    pub(super) retries: AtomicU64,
    /// What went wrong last, until an answer comes.
    pub(super) trouble: Mutex<Option<Trouble>>,
}

/// Why the last request failed that is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Where it went: the base URL.
    pub place: String,
    /// What happened, in one line.
    pub detail: String,
    /// Whether there was no connection at all.
    pub unreachable: bool,
}

/// `Date` is in whole seconds, cut off (RFC 9110, 5.6.7).
const DATE_STEP: Duration = Duration::from_secs(1);

/// A body that could be read, and when.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) decoded: Decoded,
    /// Not later than the instant at which the server began to answer.
    pub(super) server_time: Timestamp,
}

/// A request that is given up.
#[derive(Debug, Clone)]
pub(super) struct GivenUp {
    pub(super) failure: Failure,
    request: String,
    attempts: u32,
}

impl GivenUp {
    /// Adds to what is said of the failure.
    #[must_use]
    pub(super) fn noting(mut self, note: &str) -> Self {
        self.failure.detail.push_str(note);
        self
    }
}

impl From<GivenUp> for SourceError {
    fn from(given_up: GivenUp) -> Self {
        given_up
            .failure
            .into_error(given_up.request, given_up.attempts)
    }
}

impl Exchange {
    pub(super) fn usage(&self) -> Usage {
        Usage {
            requests: self.requests.load(Ordering::Relaxed),
            retries: self.retries.load(Ordering::Relaxed),
        }
    }

    /// Asks until there is an answer or the policy says that it is enough.
    pub(super) async fn get(
        &self,
        path: &str,
        parameters: &Parameters,
        shape: Shape,
    ) -> Result<Answer, GivenUp> {
        let mut attempts = 0_u32;
        let mut failed = 0_u32;
        let mut trouble_since = None;
        let given_up = |failure: Failure, attempts: u32| GivenUp {
            failure: Failure {
                detail: self.without_token(failure.detail),
                ..failure
            },
            request: format!("GET {path}"),
            attempts,
        };
        loop {
            let failure = match self
                .attempt(path, parameters, shape, self.left(trouble_since), attempts)
                .await
            {
                Ok(Ok(answer)) => {
                    *self.trouble() = None;
                    return Ok(answer);
                }
                Ok(Err(failure)) => failure,
                Err(PausedTooLong { until }) => {
                    let detail = format!(
                        "the platform limits this account's requests until {until}, which is \
                         longer than is waited"
                    );
                    return Err(given_up(Failure::new(Kind::Limited, detail), attempts));
                }
            };
            attempts = attempts.saturating_add(1);
            let since = *trouble_since.get_or_insert_with(|| self.clock.running());
            let left = self.left(Some(since));
            let (delay, enough) = match failure.kind.verdict() {
                Verdict::Final => return Err(given_up(failure, attempts)),
                Verdict::Pause => (self.limiter.pause_left(), false),
                Verdict::Tries(tries) => {
                    failed += 1;
                    let delay = backoff(failed, failure.retry_after, self.longest_wait);
                    (delay, failed >= tries)
                }
            };
            if enough || left.is_some_and(|left| delay > left) {
                let given_up = given_up(failure, attempts);
                return Err(if given_up.failure.kind == Kind::Limited {
                    let seconds = delay.as_secs_f64().ceil();
                    given_up.noting(&format!(
                        "; to be asked again in {seconds} s, which is longer than is waited"
                    ))
                } else {
                    given_up
                });
            }
            tracing::debug!(
                attempts,
                "GET {path} failed and is tried again in {:.1} s: {}",
                delay.as_secs_f64(),
                self.without_token(failure.detail.clone())
            );
            // The pause after a 429 is waited for at the limiter, in line with everyone else.
            if failure.kind != Kind::Limited {
                *self.trouble() = Some(Trouble {
                    place: self.base.clone(),
                    unreachable: failure.kind == Kind::Connection,
                    detail: self.without_token(failure.detail),
                });
                self.limiter.wait(delay, WaitReason::Backoff).await;
            }
        }
    }

    pub(super) fn trouble(&self) -> MutexGuard<'_, Option<Trouble>> {
        // What is behind it is whole whatever a panicking holder was doing.
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is left of the patience with a request that has been in trouble for a while.
    fn left(&self, trouble_since: Option<Duration>) -> Option<Duration> {
        let spent = trouble_since.map_or(Duration::ZERO, |since| self.clock.elapsed(since));
        self.patience.map(|patience| patience.saturating_sub(spent))
    }

    /// The latest instant, by the server's clock, before which it did not begin to answer: not
    /// before the question was sent, `took` before the answer's `date`; nor before `known`, the
    /// time of an answer that had come when this question was sent. Without the latter, two
    /// answers of one second would be in no order. What is `known` counts only while the server's
    /// clock was not set back.
    fn began(&self, date: Timestamp, took: Duration, known: Timestamp) -> Timestamp {
        let sent = date - took;
        let was_set_back = date + DATE_STEP < known;
        if was_set_back {
            self.latest.store(sent.micros(), Ordering::Relaxed);
            return sent;
        }
        let began = sent.max(known);
        // Questions overtake each other; what is known never goes back for that.
        self.latest.fetch_max(began.micros(), Ordering::Relaxed);
        began
    }

    fn without_token(&self, text: String) -> String {
        let token = self.token.expose_secret();
        if text.contains(token) {
            text.replace(token, "…")
        } else {
            text
        }
    }

    async fn attempt(
        &self,
        path: &str,
        parameters: &Parameters,
        shape: Shape,
        patience: Option<Duration>,
        attempts: u32,
    ) -> Result<Result<Answer, Failure>, PausedTooLong> {
        let permit = self.limiter.acquire(patience).await?;
        self.requests.fetch_add(1, Ordering::Relaxed);
        if attempts > 0 {
            self.retries.fetch_add(1, Ordering::Relaxed);
        }
        let (sent_at, sent_after) = (self.clock.now(), self.clock.running());
        let known = Timestamp::from_micros(self.latest.load(Ordering::Relaxed));
        let sent = self
            .http
            .get(format!("{}{path}", self.base))
            .query(parameters.pairs())
            .send()
            .await;
        let response = match sent {
            Ok(response) => response,
            Err(error) => return Ok(Err(no_answer(error))),
        };
        let now = self.clock.now();
        let date = header(&response, &DATE).and_then(http_date);
        // The longer of the two: the local clock may have been set back meanwhile, and the other
        // one stands still while the machine sleeps. Too long is safe: more is read again.
        let took = now.since(sent_at).max(self.clock.elapsed(sent_after));
        let server_time = date.map(|date| self.began(date, took, known));
        let status = response.status().as_u16();
        if !response.status().is_success() {
            let retry_after =
                header(&response, &RETRY_AFTER).and_then(|text| retry_after(text, date, now));
            if status == 429 {
                permit.refused(retry_after);
            } else {
                permit.answered();
            }
            return Ok(Err(Failure {
                retry_after,
                server_time,
                ..refusal(response, status).await
            }));
        }
        let kind = header(&response, &CONTENT_TYPE).map(str::to_owned);
        let body = body(response, LARGEST_BODY).await;
        permit.answered();
        Ok(body
            .and_then(|body| wire::decode(body, kind.as_deref(), shape))
            .and_then(|decoded| {
                let server_time = server_time.ok_or_else(|| {
                    Failure::new(
                        Kind::NoDate,
                        "an answer without a readable Date header: the server's time is needed \
                         to know how far the mirror has come (does a proxy take it away?)",
                    )
                })?;
                Ok(Answer {
                    decoded,
                    server_time,
                })
            }))
    }
}

fn header<'a>(response: &'a Response, name: &HeaderName) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

/// What a status that is no success says.
async fn refusal(response: Response, status: u16) -> Failure {
    let content_type = header(&response, &CONTENT_TYPE).map(str::to_owned);
    let redirected = response.status().is_redirection();
    let body = body(response, LARGEST_PROBLEM).await.unwrap_or_default();
    let said = problem::describe(&body, content_type.as_deref());
    let kind = Kind::of_status(status);
    let detail = if redirected {
        "it leads to another address, which is not followed: is the base URL right?".to_owned()
    } else {
        match kind {
            Kind::Limited => format!("too many requests (429): {said}"),
            Kind::Gateway(status) => format!("status {status}: {said}"),
            _ => said,
        }
    };
    Failure {
        html: problem::is_html(&body, content_type.as_deref()),
        ..Failure::new(kind, detail)
    }
}

/// Reads a body to its end.
async fn body(mut response: Response, largest: usize) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                if body.len() + chunk.len() > largest {
                    return Err(Failure::new(
                        Kind::Shape,
                        format!("a body of more than {largest} bytes"),
                    ));
                }
                body.extend_from_slice(&chunk);
            }
            Ok(None) => return Ok(body),
            Err(error) => {
                let how = if error.is_timeout() {
                    "stalled"
                } else {
                    "broke off"
                };
                return Err(Failure::new(
                    Kind::Cut,
                    format!("a body that {how} after {} bytes", body.len()),
                ));
            }
        }
    }
}

/// Why there was no answer at all: the innermost cause, which is the one that says something.
fn no_answer(error: reqwest::Error) -> Failure {
    let error = error.without_url();
    let mut cause = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        cause = inner.to_string();
        source = inner.source();
    }
    if error.is_timeout() {
        let when = if error.is_connect() {
            "no connection in time"
        } else {
            "no answer in time"
        };
        Failure::new(Kind::Timeout, when)
    } else if error.is_connect() {
        Failure::new(Kind::Connection, format!("no connection: {cause}"))
    } else {
        Failure::new(
            Kind::Connection,
            format!("the connection failed before an answer: {cause}"),
        )
    }
}
