//! Sends a request, waits for its answer, and retries.
//!
//! Owns the connection pool, the counts of requests, what is known about the server's clock, and the
//! retry loop. [`super::retry`] owns the retry policy, [`super::limit`] the rate limits, and
//! [`mod@super::token`] how the token is sent. Must not know what is requested.

use std::error::Error as _;
use std::sync::atomic::{AtomicI64, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use reqwest::Method;
use reqwest::Response;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, DATE, HeaderName, RETRY_AFTER};
use secrecy::{ExposeSecret as _, SecretString};
use tracing::field::Empty;
use tracing::{Instrument as _, info_span};

use crate::clock::Clock;
use crate::data::{ReadAs, Resource, Standing, Timestamp, Trouble, Usage};
use crate::metrics::{Meter, Reason};
use crate::telemetry::SPANS;

use super::connections::Connections;
use super::limit::{LONGEST_PAUSE, Limiter, PausedTooLong, Permit, WaitReason};
use super::problem;
use super::query::Parameters;
use super::retry::{
    self, BACKOFF, FailedRequest, FailureKind, RetryDecision, http_date, retry_after,
};
use super::token::{Credentials, Scheme};
use super::wire::{self, Decoded, Shape};

/// The maximum size of a body. Larger ones are not read completely.
const LARGEST_BODY: usize = 256 << 20;

/// How often a request is sent that changes something, if each time the answer is 429.
const WRITES: u32 = 3;

/// How much of an error's body is read.
const LARGEST_PROBLEM: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) connections: Connections,
    /// Without a trailing slash.
    pub(super) base: String,
    pub(super) credentials: Credentials,
    pub(super) limiter: Limiter,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) patience: Option<Duration>,
    pub(super) waits_for_limits: bool,
    pub(super) requests: AtomicU64,
    /// The server's time of the last answer, in microseconds since 1970.
    pub(super) latest: AtomicI64,
    pub(super) retries: AtomicU64,
    pub(super) dates: Mutex<Dates>,
    pub(super) health: Mutex<Health>,
    /// Records the requests, if somebody asks for that.
    pub(super) meter: OnceLock<Meter>,
}

/// What is known from `Date` headers.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Dates {
    /// The last readable one.
    last: Option<Dated>,
    /// Whether the last answer had none.
    is_missing: bool,
    /// Whether the log already says that it is missing.
    was_told: bool,
}

#[derive(Debug, Clone, Copy)]
struct Dated {
    date: Timestamp,
    /// When the answer arrived, by the local clock and by [`Clock::running`].
    came: Timestamp,
    came_after: Duration,
}

/// What the `Date` header of the last answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DateHeader {
    /// It is missing or unreadable.
    Missing,
    /// It is this far ahead of this machine's clock.
    Ahead(Duration),
    /// It is this far behind this machine's clock.
    Behind(Duration),
}

/// Whether the platform answers.
#[derive(Debug, Clone, Default)]
pub(super) struct Health {
    answered: bool,
    trouble: Option<Outage>,
}

/// Why the last request failed that is retried, and since when requests fail.
#[derive(Debug, Clone)]
struct Outage {
    detail: String,
    cause: String,
    unreachable: bool,
    since: Timestamp,
    since_after: Duration,
    answered_before: bool,
}

/// The result of retrying a refused request with the token in its other form.
enum Retried {
    /// The other form is accepted, and this is the answer.
    Answer(Answer),
    /// Another request has found out meanwhile that the other form is accepted.
    Changed,
    /// The other form is refused, too, or was not tried.
    Refused,
}

/// What a request does. Bodies may contain a secret.
#[derive(Debug, Clone, Copy)]
pub(super) enum Act<'a> {
    /// Reads.
    Get,
    /// Creates what this JSON describes.
    Post(&'a SecretString),
    /// Replaces a record with what this JSON describes.
    Put(&'a SecretString),
    /// Deletes a record.
    Delete,
}

impl Act<'_> {
    const fn method(self) -> Method {
        match self {
            Self::Get => Method::GET,
            Self::Post(_) => Method::POST,
            Self::Put(_) => Method::PUT,
            Self::Delete => Method::DELETE,
        }
    }

    fn body(self) -> Option<String> {
        match self {
            Self::Get | Self::Delete => None,
            Self::Post(json) | Self::Put(json) => Some(json.expose_secret().to_owned()),
        }
    }
}

/// A request, and the form in which the token is sent.
#[derive(Debug, Clone, Copy)]
struct Question<'a> {
    act: Act<'a>,
    path: &'a str,
    parameters: &'a Parameters,
    shape: Shape,
    scheme: Scheme,
}

impl Question<'_> {
    /// Method and path, for messages.
    fn request(self) -> String {
        format!("{} {}", self.act.method(), self.path)
    }

    /// The failure of a request that is not sent, since requests pause until then.
    fn paused(self, until: Timestamp, attempts: u32, now: Timestamp) -> FailedRequest {
        let left = until.since(now).as_secs() + 1;
        let left = humantime::format_duration(Duration::from_secs(left));
        let detail = format!(
            "the platform limits this account's requests for another {left}, which is too long to wait"
        );
        FailedRequest {
            request: self.request(),
            attempts,
            ..FailedRequest::new(FailureKind::Limited, detail)
        }
    }
}

/// `Date` has whole seconds, rounded down (RFC 9110, 5.6.7).
const DATE_STEP: Duration = Duration::from_secs(1);

/// A decoded body, and when it was answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) decoded: Decoded,
    pub(super) moment: Moment,
}

/// When an answer was given.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// A lower bound of the instant at which the server began to answer, by the server's clock.
    pub(super) server_time: Timestamp,
    /// When the request was sent, by [`Clock::running`].
    pub(super) asked: Duration,
}

impl Exchange {
    pub(super) fn usage(&self) -> Usage {
        Usage {
            requests: self.requests.load(Ordering::Relaxed),
            retries: self.retries.load(Ordering::Relaxed),
        }
    }

    /// Sends a request, and retries until there is an answer or the retry policy says to stop.
    pub(super) async fn get(
        &self,
        path: &str,
        parameters: &Parameters,
        shape: Shape,
    ) -> Result<Answer, FailedRequest> {
        let mut attempts = 0_u32;
        let mut backoff = BACKOFF;
        let mut trouble_since = None;
        loop {
            let question = Question {
                act: Act::Get,
                path,
                parameters,
                shape,
                scheme: self.credentials.in_use(),
            };
            let left = self.left(trouble_since);
            let permit = match self.permitted(left).await {
                Ok(permit) => permit,
                Err(PausedTooLong { until }) => {
                    return Err(question.paused(until, attempts, self.clock.now()));
                }
            };
            attempts = attempts.saturating_add(1);
            let failed = match self.attempt(question, permit, attempts).await {
                Ok(answer) => {
                    self.credentials.accept(question.scheme);
                    self.is_answering();
                    return Ok(answer);
                }
                Err(failed) => failed,
            };
            if failed.kind == FailureKind::Refused(401) {
                match self.otherwise(question, left, attempts).await {
                    Retried::Answer(answer) => {
                        self.is_answering();
                        return Ok(answer);
                    }
                    Retried::Changed => continue,
                    Retried::Refused => {}
                }
            }
            let since = *trouble_since.get_or_insert_with(|| self.clock.running());
            let left = self.left(Some(since));
            let (delay, enough) = match failed.kind.decision() {
                RetryDecision::Final => {
                    // This is an answer, too: the platform is available.
                    self.is_answering();
                    return Err(failed);
                }
                RetryDecision::Pause => (self.limiter.pause_left(), false),
                RetryDecision::Tries(tries) => {
                    let delay = retry::wait(&mut backoff, failed.retry_after, LONGEST_PAUSE);
                    (delay, backoff.failures() >= tries)
                }
            };
            self.is_in_trouble(&failed);
            let left = if failed.kind == FailureKind::Limited {
                self.for_limits(left)
            } else {
                left
            };
            if enough || left.is_some_and(|left| delay > left) {
                return Err(if failed.kind == FailureKind::Limited {
                    let seconds = delay.as_secs_f64().ceil();
                    failed.noting(&format!(
                        "; the next request is allowed in {seconds} s, which is too long to wait"
                    ))
                } else {
                    failed
                });
            }
            tracing::debug!(
                attempts,
                "GET {path} failed; retry in {:.1} s: {}",
                delay.as_secs_f64(),
                failed.detail
            );
            // The limiter enforces the pause after a 429, for all requests.
            if failed.kind != FailureKind::Limited {
                let resting = self.meter.get().map(|meter| meter.pulse().rest());
                self.limiter.wait(delay, WaitReason::Backoff).await;
                drop(resting);
                if let Some(meter) = self.meter.get() {
                    meter.waited(Reason::Retry, delay);
                }
            }
        }
    }

    /// Sends a request that changes something. It is sent again only after a 429, since then it had no
    /// effect: after any other failure, nobody knows. Its answer is not read.
    pub(super) async fn write(&self, act: Act<'_>, path: &str) -> Result<(), FailedRequest> {
        let parameters = Parameters::default();
        let mut attempts = 0;
        loop {
            let question = Question {
                act,
                path,
                parameters: &parameters,
                shape: Shape::Record,
                scheme: self.credentials.in_use(),
            };
            let permit = match self.permitted(self.left(None)).await {
                Ok(permit) => permit,
                Err(PausedTooLong { until }) => {
                    return Err(question.paused(until, attempts, self.clock.now()));
                }
            };
            attempts += 1;
            match self.attempt(question, permit, attempts).await {
                Ok(_) => return Ok(()),
                Err(failed) if failed.kind == FailureKind::Limited && attempts < WRITES => {}
                Err(failed) => return Err(failed),
            }
        }
    }

    /// Waits until a request may be sent; see [`Limiter::acquire`].
    async fn permitted(&self, left: Option<Duration>) -> Result<Permit<'_>, PausedTooLong> {
        let began = self.clock.running();
        let resting = self.meter.get().map(|meter| meter.pulse().rest());
        let permit = self.limiter.acquire(self.for_limits(left)).await;
        drop(resting);
        if let Some(meter) = self.meter.get() {
            meter.waited(Reason::Limit, self.clock.elapsed(began));
        }
        permit
    }

    /// Retries a refused request with the token in its other form, if that may be the reason of the
    /// refusal: no request was accepted yet, and the other form was not tried before.
    async fn otherwise(
        &self,
        refused: Question<'_>,
        patience: Option<Duration>,
        attempts: u32,
    ) -> Retried {
        let Self { credentials, .. } = self;
        let is_other = || credentials.in_use() != refused.scheme;
        if is_other() {
            return Retried::Changed;
        }
        if !credentials.may_try(self.clock.running()) {
            return Retried::Refused;
        }
        let _trying = credentials.trying.lock().await;
        if is_other() {
            return Retried::Changed;
        }
        if !credentials.may_try(self.clock.running()) {
            return Retried::Refused;
        }
        let scheme = refused.scheme.other();
        let question = Question { scheme, ..refused };
        let Ok(permit) = self.permitted(patience).await else {
            return Retried::Refused;
        };
        match self
            .attempt(question, permit, attempts.saturating_add(1))
            .await
        {
            Ok(answer) => {
                credentials.adopt(scheme);
                let (how, not) = match scheme {
                    Scheme::Bare => ("without", "with"),
                    Scheme::Bearer => ("with", "without"),
                };
                tracing::info!(
                    "{} accepts the token only {how} the word Bearer, not {not} it; sending it that way \
                     from now on",
                    self.host()
                );
                Retried::Answer(answer)
            }
            Err(failed) => {
                if failed.kind == FailureKind::Refused(401) {
                    credentials.give_up(self.clock.running());
                }
                Retried::Refused
            }
        }
    }

    /// The base URL's host, with its port if the URL has one.
    fn host(&self) -> &str {
        let (_, rest) = self.base.split_once("://").unwrap_or(("", &self.base));
        rest.split('/').next().unwrap_or(rest)
    }

    /// The time that is left for a pause after a 429.
    fn for_limits(&self, left: Option<Duration>) -> Option<Duration> {
        left.filter(|_| !self.waits_for_limits)
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        // The value is valid even if a holder panicked.
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that an answer came.
    fn is_answering(&self) {
        *self.health() = Health {
            answered: true,
            trouble: None,
        };
    }

    /// Records that a request failed that is retried, now or by the next sync.
    fn is_in_trouble(&self, failed: &FailedRequest) {
        let mut health = self.health();
        let (since, since_after) = health.trouble.as_ref().map_or_else(
            || (self.clock.now(), self.clock.running()),
            |trouble| (trouble.since, trouble.since_after),
        );
        health.trouble = Some(Outage {
            cause: failed.cause(self.host()),
            unreachable: failed.kind == FailureKind::Connection,
            detail: failed.detail.clone(),
            since,
            since_after,
            answered_before: health.answered,
        });
    }

    /// Whether the platform answers.
    pub(super) fn standing(&self) -> Standing {
        let health = self.health().clone();
        let Some(trouble) = health.trouble else {
            return if health.answered {
                Standing::Answering
            } else {
                Standing::Unknown
            };
        };
        let paused = self.limiter.pause_left();
        let waiting = self.limiter.waiting();
        let waiting = waiting.filter(|waiting| waiting.reason != WaitReason::OwnLimit);
        let next_try = waiting
            .map(|waiting| waiting.until)
            .or_else(|| (!paused.is_zero()).then(|| self.clock.now() + paused));
        Standing::Troubled(Trouble {
            place: self.base.clone(),
            detail: trouble.detail,
            cause: trouble.cause,
            unreachable: trouble.unreachable,
            since: trouble.since,
            lasting: self.clock.elapsed(trouble.since_after),
            next_try,
            answered_before: trouble.answered_before,
        })
    }

    /// The time that is left for retries of a request that fails since then.
    fn left(&self, trouble_since: Option<Duration>) -> Option<Duration> {
        let spent = trouble_since.map_or(Duration::ZERO, |since| self.clock.elapsed(since));
        self.patience.map(|patience| patience.saturating_sub(spent))
    }

    /// A lower bound of the instant at which the server began to answer, by the server's clock. It
    /// did not begin before the request was sent, which was `took` before the answer's `date`. Nor
    /// did it begin before `known`, the time of an answer that had arrived when this request was
    /// sent. Without `known`, two answers of the same second would have no order. If the server's
    /// clock was set back, `known` is ignored.
    fn began(&self, date: Timestamp, took: Duration, known: Timestamp) -> Timestamp {
        let sent = date - took;
        let was_set_back = date + DATE_STEP < known;
        if was_set_back {
            self.latest.store(sent.micros(), Ordering::Relaxed);
            return sent;
        }
        let began = sent.max(known);
        // Requests can overtake each other, so this only moves forward.
        self.latest.fetch_max(began.micros(), Ordering::Relaxed);
        began
    }

    fn dates(&self) -> MutexGuard<'_, Dates> {
        // The value is valid even if a holder panicked.
        self.dates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The server's clock when an answer arrived: its `Date`, or else the last `Date` plus the
    /// elapsed time, or else the local clock.
    fn dated(&self, date: Option<Timestamp>, now: Timestamp) -> Timestamp {
        let running = self.clock.running();
        let mut dates = self.dates();
        dates.is_missing = date.is_none();
        if let Some(date) = date {
            dates.last = Some(Dated {
                date,
                came: now,
                came_after: running,
            });
            return date;
        }
        if !dates.was_told {
            dates.was_told = true;
            tracing::warn!(
                "answers of {} have no readable Date header (a proxy may remove it); using this machine's \
                 clock instead, so syncs read some records twice",
                self.host()
            );
        }
        dates.last.map_or(now, |last| {
            last.date + running.saturating_sub(last.came_after)
        })
    }

    /// What the `Date` header of the last answer says. `None` before the first answer.
    pub(super) fn date_header(&self) -> Option<DateHeader> {
        let dates = *self.dates();
        if dates.is_missing {
            return Some(DateHeader::Missing);
        }
        let Dated { date, came, .. } = dates.last?;
        Some(if date > came {
            DateHeader::Ahead(date.since(came))
        } else {
            DateHeader::Behind(came.since(date))
        })
    }

    /// Sends a request once. `attempts` includes this attempt.
    async fn attempt(
        &self,
        question: Question<'_>,
        permit: Permit<'_>,
        attempts: u32,
    ) -> Result<Answer, FailedRequest> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if attempts > 1 {
            self.retries.fetch_add(1, Ordering::Relaxed);
        }
        let (began, status) = (self.clock.running(), AtomicU16::new(0));
        let span = info_span!(
            target: SPANS,
            "request",
            otel.kind = "client",
            otel.status_code = Empty,
            http.request.method = question.act.method().as_str(),
            url.path = question.path,
            http.response.status_code = Empty,
            attempt = attempts,
            error = Empty
        );
        // The future is large, and those of all walks contain it.
        let answered = Box::pin(self.answer(question, permit, &status));
        let answered = answered.instrument(span.clone()).await;
        if let Err(failed) = &answered
            && !span.is_disabled()
        {
            span.record("otel.status_code", "error");
            span.record("error", self.credentials.hide(failed.detail.clone()));
        }
        let told = status.load(Ordering::Relaxed);
        if told > 0 {
            span.record("http.response.status_code", told);
        }
        if let Some(meter) = self.meter.get() {
            let status = Some(told).filter(|status| *status > 0);
            let took = self.clock.elapsed(began);
            meter.request(resource_of(question.path), status, took);
            if attempts > 1 {
                meter.retried();
            }
        }
        answered.map_err(|failed| FailedRequest {
            // The answer may repeat the token.
            detail: self.credentials.hide(failed.detail),
            request: question.request(),
            attempts,
            ..failed
        })
    }

    /// Sends a request and reads its answer. After a timeout, the next request opens a new connection.
    async fn answer(
        &self,
        question: Question<'_>,
        permit: Permit<'_>,
        status: &AtomicU16,
    ) -> Result<Answer, FailedRequest> {
        let connections = self.connections.current();
        let answered = self
            .answer_on(&connections.http, question, permit, status)
            .await;
        if let Err(failed) = &answered
            && failed.silent
        {
            self.connections.renew(&connections);
        }
        answered
    }

    async fn answer_on(
        &self,
        http: &reqwest::Client,
        question: Question<'_>,
        permit: Permit<'_>,
        answered: &AtomicU16,
    ) -> Result<Answer, FailedRequest> {
        let (sent_at, sent_after) = (self.clock.now(), self.clock.running());
        let known = Timestamp::from_micros(self.latest.load(Ordering::Relaxed));
        let url = format!("{}{}", self.base, question.path);
        let mut request = http
            .request(question.act.method(), url)
            .header(AUTHORIZATION, self.credentials.header(question.scheme))
            .query(question.parameters.pairs());
        if let Some(body) = question.act.body() {
            request = request.header(CONTENT_TYPE, "application/json").body(body);
        }
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Err(no_answer(error)),
        };
        let now = self.clock.now();
        let date = header(&response, &DATE).and_then(http_date);
        // The longer of the two: the local clock may have been set back meanwhile, and the other one
        // stops while the machine sleeps. Too long is safe: it only reads more records twice.
        let took = now.since(sent_at).max(self.clock.elapsed(sent_after));
        let moment = Moment {
            server_time: self.began(self.dated(date, now), took, known),
            asked: sent_after,
        };
        let status = response.status().as_u16();
        answered.store(status, Ordering::Relaxed);
        if !response.status().is_success() {
            let retry_after =
                header(&response, &RETRY_AFTER).and_then(|text| retry_after(text, date, now));
            if status == 429 {
                if let Some(pause) = permit.refused(retry_after) {
                    tracing::warn!(
                        pause_seconds = pause.as_secs_f64(),
                        "the platform answered 429 (too many requests) at {}; pausing all requests of \
                         the account for {:.0} s",
                        self.base,
                        pause.as_secs_f64()
                    );
                }
            } else {
                permit.answered();
            }
            return Err(FailedRequest {
                retry_after,
                moment: Some(moment),
                ..refusal(response, status, question.shape).await
            });
        }
        let kind = header(&response, &CONTENT_TYPE).map(str::to_owned);
        let body = body(response, LARGEST_BODY).await;
        permit.answered();
        if !matches!(question.act, Act::Get) {
            let decoded = Decoded::of(Vec::new());
            return Ok(Answer { decoded, moment });
        }
        let decoded = wire::decode(body?, kind.as_deref(), question.shape)?;
        Ok(Answer { decoded, moment })
    }
}

/// The resource that a path belongs to. A path has ids in it, which are no label of a metric.
fn resource_of(path: &str) -> &'static str {
    let is_below = |list: &str| {
        let rest = path.strip_prefix(list);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let lists = Resource::ALL.into_iter().find(
        |resource| matches!(resource.descriptor().reading, ReadAs::List(list, _) if is_below(list)),
    );
    match lists {
        Some(resource) => resource.name(),
        None if path.contains("/session") => Resource::Sessions.name(),
        None if path.contains("/contact") => Resource::Contacts.name(),
        None => "other",
    }
}

fn header<'a>(response: &'a Response, name: &HeaderName) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

/// The failure that an error status means for a request of this shape.
async fn refusal(response: Response, status: u16, shape: Shape) -> FailedRequest {
    let content_type = header(&response, &CONTENT_TYPE).map(str::to_owned);
    let redirected = response.status().is_redirection();
    let body = body(response, LARGEST_PROBLEM).await.unwrap_or_default();
    let said = problem::describe(&body, content_type.as_deref());
    let html = problem::is_html(&body, content_type.as_deref());
    // The platform answers in JSON, so a client error in HTML comes from a proxy. For a single
    // record, the caller decides what a 404 of any kind means.
    let is_between = html
        && (400..500).contains(&status)
        && status != 429
        && !(shape == Shape::Record && matches!(status, 404 | 410));
    let kind = if is_between {
        FailureKind::Gateway(status)
    } else if status == 401 && problem::says_missing(&body) {
        FailureKind::Missing(status)
    } else {
        FailureKind::of_status(status)
    };
    let detail = if redirected {
        "it redirects to another address, which is not followed; check the base URL".to_owned()
    } else if is_between {
        format!("status {status} from a firewall or proxy: {said}")
    } else {
        match kind {
            FailureKind::Limited => format!("too many requests (429): {said}"),
            FailureKind::Gateway(status) => format!("status {status}: {said}"),
            // The error that the first four become names the status. The others are of no status.
            FailureKind::Refused(_)
            | FailureKind::Missing(_)
            | FailureKind::Declined(_)
            | FailureKind::Internal
            | FailureKind::Connection
            | FailureKind::Timeout
            | FailureKind::Cut
            | FailureKind::NoJson
            | FailureKind::Shape
            | FailureKind::ErrorInside
            | FailureKind::Ignored(_) => said,
        }
    };
    FailedRequest {
        html,
        ..FailedRequest::new(kind, detail)
    }
}

/// Reads a whole body.
async fn body(mut response: Response, largest: usize) -> Result<Vec<u8>, FailedRequest> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                if body.len() + chunk.len() > largest {
                    return Err(FailedRequest::new(
                        FailureKind::Shape,
                        format!("the body is larger than {largest} bytes"),
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
                return Err(FailedRequest {
                    silent: error.is_timeout(),
                    ..FailedRequest::new(
                        FailureKind::Cut,
                        format!("the body {how} after {} bytes", body.len()),
                    )
                });
            }
        }
    }
}

/// What to check if the name of a host has no address: it may be that of the platform or of a proxy.
const UNKNOWN_HOST: &str = "DNS has no address for the host: the base URL is misspelt, this machine's DNS does not \
                            work, or it needs a proxy, which HTTPS_PROXY names";

/// Why there is no connection. What the system says of a host without an address differs from system to system.
fn unconnected(cause: &str) -> &str {
    if cause.contains("lookup address") {
        UNKNOWN_HOST
    } else {
        cause
    }
}

/// Why there was no answer. Uses the innermost cause, which is the most specific one.
fn no_answer(error: reqwest::Error) -> FailedRequest {
    let error = error.without_url();
    let mut cause = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        cause = inner.to_string();
        source = inner.source();
    }
    if error.is_timeout() {
        let when = if error.is_connect() {
            "timeout while connecting"
        } else {
            "timeout while waiting for an answer"
        };
        FailedRequest {
            silent: true,
            ..FailedRequest::new(FailureKind::Timeout, when)
        }
    } else if error.is_connect() {
        let cause = unconnected(&cause);
        FailedRequest::new(FailureKind::Connection, format!("no connection: {cause}"))
    } else {
        FailedRequest::new(
            FailureKind::Connection,
            format!("the connection failed before an answer: {cause}"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_an_address_is_told_with_what_to_check() {
        for cause in [
            "failed to lookup address information: Name or service not known",
            "failed to lookup address information: nodename nor servname provided, or not known",
        ] {
            let told = unconnected(cause);
            for part in ["base URL", "DNS", "HTTPS_PROXY"] {
                assert!(told.contains(part), "{part}: {told}");
            }
        }
        assert_eq!(unconnected("Connection refused"), "Connection refused");
    }
}
