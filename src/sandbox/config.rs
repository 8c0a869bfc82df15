//! What a sandbox is to be like: its size, its limits, its moods and its faults.
//!
//! Plain values. Everything but the size, the seed and the port can be changed while it runs
//! (`account().moods`, `.faults`, `.limits`).

use std::time::Duration;

use crate::data::Timestamp;

/// How to start a [`Sandbox`](super::Sandbox). The default is a well-behaved account of 1,000
/// sessions that stands still and has no limits: what a test wants to begin with.
#[derive(Debug, Clone)]
pub struct SandboxConfig {
    /// Sessions of the year that the account begins with.
    pub sessions: u32,
    /// Contacts; two fifths of the sessions if `None`.
    pub contacts: Option<u32>,
    /// The same seed, sizes and `until` give the same account.
    pub seed: u64,
    /// The end of the year that is generated; the clock's present if `None`.
    pub until: Option<Timestamp>,
    /// The one token that is accepted.
    pub token: String,
    /// Port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// Whether answers are compressed for clients that accept it, as the platform does. Off by
    /// default: without optimisation it costs more than everything else that a test does.
    pub gzip: bool,
    /// Changes a second made in the background; 0 for an account that stands still. Runs on the
    /// clock, so on a fake clock it drives time as fast as it can: tests rather call
    /// [`Account::live_step`](super::Account::live_step).
    pub live_rate: f64,
    /// Requests that [`Sandbox::requests`](super::Sandbox::requests) remembers, newest kept.
    pub remembered_requests: usize,
    /// Which of the open questions about the platform are answered how.
    pub moods: Moods,
    /// How often what goes wrong.
    pub faults: FaultRates,
    /// Request limits; none are enforced if empty.
    pub limits: Vec<RequestLimit>,
}

impl Default for SandboxConfig {
    fn default() -> Self {
        Self {
            sessions: 1_000,
            contacts: None,
            seed: 1,
            until: None,
            token: "pn_sandbox".to_owned(),
            port: 0,
            gzip: false,
            live_rate: 0.0,
            remembered_requests: 200_000,
            moods: Moods::default(),
            faults: FaultRates::default(),
            limits: Vec::new(),
        }
    }
}

impl SandboxConfig {
    /// The default with another number of sessions.
    pub fn of_size(sessions: u32) -> Self {
        Self {
            sessions,
            ..Self::default()
        }
    }
}

/// A sliding window: at most `count` requests in any `per`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimit {
    /// Requests.
    pub count: usize,
    /// The window's length.
    pub per: Duration,
}

impl RequestLimit {
    /// What the platform documents (API notes, 13): 1000 in 5 minutes and 200 in 5 seconds.
    pub fn documented() -> Vec<Self> {
        let limit = |count, seconds| Self {
            count,
            per: Duration::from_secs(seconds),
        };
        vec![limit(1_000, 300), limit(200, 5)]
    }
}

/// Whether and how a 429 says how long to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RetryAfter {
    /// Not at all: there is no evidence that the platform does (API notes, 13).
    #[default]
    Absent,
    /// In whole seconds.
    Seconds,
    /// As an HTTP date on the server's clock.
    Date,
}

/// Times in which nothing is answered, counted from the start: each period ends with one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// How long nothing is answered.
    pub lasts: Duration,
    /// The period's length, in which it answers first.
    pub every: Duration,
}

impl Outage {
    /// Whether nothing is answered so long after the start.
    pub(super) fn holds(self, after: Duration) -> bool {
        let every = self.every.as_micros().max(1);
        after.as_micros() % every >= every.saturating_sub(self.lasts.as_micros())
    }
}

/// The precision at which the date filters compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// 100 ns, that of the data.
    #[default]
    Ticks,
    /// Microseconds; the rest is cut off on both sides.
    Micros,
    /// Milliseconds; the rest is cut off on both sides.
    Millis,
}

impl Precision {
    /// Its step in ticks.
    pub(super) fn step(self) -> i64 {
        match self {
            Self::Ticks => 1,
            Self::Micros => 10,
            Self::Millis => 10_000,
        }
    }
}

/// The questions that the API notes leave open (section 16), each with an answer.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one independent question about the platform"
)]
pub struct Moods {
    /// `OrderBy` has no effect: always creation order.
    pub ignore_order: bool,
    /// `*.After` lets the instant itself through.
    pub after_inclusive: bool,
    /// `*.Before` lets the instant itself through.
    pub before_inclusive: bool,
    /// How precisely date filters compare.
    pub precision: Precision,
    /// `UpdatedAt.*` has no effect.
    pub ignore_updated_filter: bool,
    /// `CreatedAt.*` has no effect.
    pub ignore_created_filter: bool,
    /// The first version of the session list is gone, and answers with this status.
    pub v1_withdrawn: Option<u16>,
    /// Path prefixes that the token may not use: 401.
    pub refused: Vec<String>,
    /// Nothing is answered at all: every connection is reset.
    pub offline: bool,
    /// The same, again and again for a while.
    pub outage: Option<Outage>,
    /// How far the server's clock is ahead of the real one; negative if behind. Microseconds.
    pub skew_micros: i64,
    /// How far `Date` alone is ahead of that, as a cache or a proxy may make it. Microseconds.
    pub date_micros: i64,
    /// Time between a request and its answer.
    pub latency: Duration,
    /// The share of live changes that become visible late (0 to 1) …
    pub late_share: f64,
    /// … and how late at most.
    pub late_max: Duration,
    /// The share of live changes that delete a session for good (0 to 1).
    pub deletion_share: f64,
    /// The share of live changes that give many sessions one `updatedAt` (0 to 1).
    pub bulk_share: f64,
    /// The share of live changes that take a tag or a channel from its list, or put one back
    /// (0 to 1).
    pub list_share: f64,
    /// The share of null fields that are left out instead (0 to 1).
    pub absent_share: f64,
    /// Records carry fields that no contract knows.
    pub extra_fields: bool,
    /// The share of records that are broken in some way (0 to 1), by their id.
    pub poison_share: f64,
    /// The share of records that are counted and never listed (0 to 1), by their id.
    pub hidden_share: f64,
    /// A contact's tags are listed even where `IncludeDetails=Tags` was not asked for.
    pub tags_unasked: bool,
}

impl Default for Moods {
    fn default() -> Self {
        Self {
            ignore_order: false,
            after_inclusive: false,
            before_inclusive: false,
            precision: Precision::Ticks,
            ignore_updated_filter: false,
            ignore_created_filter: false,
            v1_withdrawn: None,
            refused: Vec::new(),
            offline: false,
            outage: None,
            deletion_share: 0.0,
            bulk_share: 0.0,
            list_share: 0.0,
            skew_micros: 0,
            date_micros: 0,
            latency: Duration::ZERO,
            late_share: 0.0,
            late_max: Duration::from_secs(90),
            absent_share: 0.0,
            extra_fields: false,
            poison_share: 0.0,
            hidden_share: 0.0,
            tags_unasked: false,
        }
    }
}

/// How often an answer is replaced by a fault: shares of all requests, 0 to 1, drawn in order
/// from the seed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FaultRates {
    /// 429, as the limits would answer it.
    pub too_many: f64,
    /// 500 with the platform's own error body.
    pub internal: f64,
    /// 502 with a gateway's HTML page.
    pub bad_gateway: f64,
    /// 503 without a body.
    pub unavailable: f64,
    /// The body ends in the middle.
    pub cut: f64,
    /// The connection is reset before the answer.
    pub reset: f64,
    /// `"error": true` under status 200.
    pub error_true: f64,
    /// The body comes in drops, over `slow_for`.
    pub slow: f64,
    /// A page of HTML under status 200.
    pub html: f64,
    /// 401 with the platform's own error body, though the token is good.
    pub unauthorized: f64,
    /// How long a slow body takes.
    pub slow_for: Duration,
    /// What a 429 says about waiting.
    pub retry_after: RetryAfter,
}

impl FaultRates {
    /// The same rate for every kind that asking again may help against: not for `unauthorized`.
    pub fn all(rate: f64) -> Self {
        Self {
            too_many: rate,
            internal: rate,
            bad_gateway: rate,
            unavailable: rate,
            cut: rate,
            reset: rate,
            error_true: rate,
            slow: rate,
            html: rate,
            unauthorized: 0.0,
            slow_for: Duration::from_millis(200),
            retry_after: RetryAfter::Seconds,
        }
    }
}

/// What is wrong with one answer (see [`Sandbox::script`](super::Sandbox::script)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: the answer is a good one. Lets a script hit the third request.
    None,
    /// 429, with a `Retry-After` of this text if there is one.
    TooMany(Option<String>),
    /// 500 with the platform's own error body.
    Internal,
    /// 502 with a gateway's HTML page.
    BadGateway,
    /// 503 without a body.
    Unavailable,
    /// The right answer, but its body ends in the middle.
    Cut,
    /// The connection is reset instead of an answer.
    Reset,
    /// `"error": true` under status 200.
    ErrorTrue,
    /// The right answer, its body in drops over this time.
    Slow(Duration),
    /// The right answer, but only after this time.
    Late(Duration),
    /// 401 with the platform's own error body.
    Unauthorized,
    /// Any status with any body; `application/json`.
    Answer(u16, String),
    /// A page of HTML under status 200.
    Html,
}

/// What is wrong with one record, wherever it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Poison {
    /// The id is a text that is no uuid.
    BrokenId,
    /// There is no id.
    NoId,
    /// A text stands where the record should.
    NotAnObject,
    /// An optional field has another type (`unreadCount: "many"`, a contact's `name: 7`).
    WrongType,
    /// A text holds NUL.
    Nul,
    /// A text of a megabyte.
    Megabyte,
    /// An enum value that no contract knows.
    UnknownEnum,
    /// `timeService` is `1.02:03:04`.
    DaySpan,
    /// `timeWait` is the literal text `null`.
    NullSpan,
    /// `tagsId` and `tagsName` (`tagIds` and `tagNames`) differ in length.
    UnequalTags,
    /// It is counted, and never shown.
    Hidden,
}

impl Poison {
    /// All that can be seen, which are those that `poison_share` deals out.
    pub const ALL: [Self; 10] = [
        Self::BrokenId,
        Self::NoId,
        Self::NotAnObject,
        Self::WrongType,
        Self::Nul,
        Self::Megabyte,
        Self::UnknownEnum,
        Self::DaySpan,
        Self::NullSpan,
        Self::UnequalTags,
    ];
}
