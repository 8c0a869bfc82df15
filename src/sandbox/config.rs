//! The configuration of a sandbox: size, limits, moods and faults.
//!
//! Plain values. All but the size, the seed and the port can be changed while the sandbox runs
//! (`account().moods`, `.faults`, `.limits`).

use std::time::Duration;

use super::choices::Totals;
use crate::data::Timestamp;

/// How to start a [`Sandbox`](super::Sandbox). The default is an account of 1,000 sessions without
/// changes, faults or rate limits.
#[derive(Debug, Clone)]
pub struct SandboxConfig {
    /// The number of sessions in the generated year.
    pub sessions: u32,
    /// The number of contacts; two fifths of the sessions if `None`.
    pub contacts: Option<u32>,
    /// The same seed, sizes and `until` generate the same account.
    pub seed: u64,
    /// How many days the generated time has, about: it begins with a month. A year unless a small
    /// account is to be as busy as a real one.
    pub days: u32,
    /// The end of the generated year; the clock's present if `None`.
    pub until: Option<Timestamp>,
    /// The accepted token.
    pub token: String,
    /// More accepted tokens of the same account.
    pub more_tokens: Vec<String>,
    /// Port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// Whether answers are compressed for clients that accept it, as on the platform. Off by
    /// default: in a debug build, compression takes longer than the rest of a test.
    pub gzip: bool,
    /// Background changes for each second; 0 for none. On a fake clock they advance time as fast as
    /// possible, so tests call [`SandboxAccount::live_step`](super::SandboxAccount::live_step) instead.
    pub live_rate: f64,
    /// How many of the newest requests [`Sandbox::requests`](super::Sandbox::requests) keeps.
    pub remembered_requests: usize,
    /// How this platform behaves where the real one's behaviour is not known.
    pub moods: Moods,
    /// How often each fault occurs.
    pub faults: FaultRates,
    /// Request limits; empty for none.
    pub limits: Vec<RequestLimit>,
}

impl Default for SandboxConfig {
    fn default() -> Self {
        Self {
            sessions: 1_000,
            contacts: None,
            seed: 1,
            days: 365,
            until: None,
            token: "pn_sandbox".to_owned(),
            more_tokens: Vec::new(),
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

/// A rate limit with a sliding window: at most `count` requests in any `per`.
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

/// The `Retry-After` header of a 429.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RetryAfter {
    /// No header: nothing shows that the platform sends one (API notes, 13).
    #[default]
    Absent,
    /// In whole seconds.
    Seconds,
    /// As an HTTP date on the server's clock.
    Date,
}

/// Periodic outages, counted from the start: each period ends with one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// How long an outage lasts.
    pub lasts: Duration,
    /// The length of a period, outage included.
    pub every: Duration,
}

impl Outage {
    /// Whether there is an outage this long after the start.
    pub(super) fn holds(self, after: Duration) -> bool {
        let every = self.every.as_micros().max(1);
        after.as_micros() % every >= every.saturating_sub(self.lasts.as_micros())
    }
}

/// The precision of the date filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// 100 ns, the precision of the data.
    #[default]
    Ticks,
    /// Microseconds; both sides are truncated.
    Micros,
    /// Milliseconds; both sides are truncated.
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

/// Behaviour that the API notes leave open (section 16), one field for each question.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one independent question about the platform"
)]
pub struct Moods {
    /// `OrderBy` has no effect: always creation order.
    pub ignore_order: bool,
    /// `*.After` includes the instant itself.
    pub after_inclusive: bool,
    /// `*.Before` includes the instant itself.
    pub before_inclusive: bool,
    /// The precision of date filters.
    pub precision: Precision,
    /// `UpdatedAt.*` has no effect.
    pub ignore_updated_filter: bool,
    /// `CreatedAt.*` has no effect.
    pub ignore_created_filter: bool,
    /// Version 1 of the session list does not exist any more and answers with this status.
    pub v1_withdrawn: Option<u16>,
    /// Version 2 of the session list does not exist any more and answers with this status.
    pub v2_withdrawn: Option<u16>,
    /// Version 1 of the session list neither shows nor counts sessions of groups.
    pub v1_hides_groups: bool,
    /// `PageNumber` has no effect: always the first page.
    pub ignore_page_number: bool,
    /// A `PageNumber` after the last page returns the last page again.
    pub clamp_page_number: bool,
    /// Pages do not repeat the request's parameters: no `pageNumber`, `pageSize`, `orderBy`,
    /// `orderDirection`.
    pub no_echo: bool,
    /// Answers have no `Date` header.
    pub no_date: bool,
    /// The token is accepted only without the word `Bearer`.
    pub bare_token: bool,
    /// Path prefixes that the token may not use: 401.
    pub refused: Vec<String>,
    /// Every connection is reset without an answer.
    pub offline: bool,
    /// Periodic outages in which every connection is reset.
    pub outage: Option<Outage>,
    /// How many microseconds the server's clock is ahead of the real one; negative if behind.
    pub skew_micros: i64,
    /// How many microseconds the `Date` header is ahead of the server's clock, as behind a proxy.
    pub date_micros: i64,
    /// The time between a request and its answer.
    pub latency: Duration,
    /// The share of live changes that become visible late (0 to 1) …
    pub late_share: f64,
    /// … and the longest delay.
    pub late_max: Duration,
    /// The share of live changes that delete a session for good (0 to 1).
    pub deletion_share: f64,
    /// The share of live changes that give many sessions one `updatedAt` (0 to 1).
    pub bulk_share: f64,
    /// The share of live changes that remove a tag or a channel from its list, or restore one
    /// (0 to 1).
    pub list_share: f64,
    /// The share of null fields that are left out instead (0 to 1).
    pub absent_share: f64,
    /// Records have fields that are not in the contract.
    pub extra_fields: bool,
    /// The share of records that are broken in some way (0 to 1), by their id.
    pub poison_share: f64,
    /// The share of records that are counted and never listed (0 to 1), by their id.
    pub hidden_share: f64,
    /// A contact's tags are listed even without `IncludeDetails=Tags`.
    pub tags_unasked: bool,
    /// The share of records that are counted and shown nowhere, also not by id (0 to 1), by their
    /// id.
    pub ghost_share: f64,
    /// The share of changes that a second server stamps, whose clock is behind (0 to 1) …
    pub behind_share: f64,
    /// … by this much.
    pub behind_by: Duration,
    /// The share of records whose `updatedAt` is null, unreadable or left out (0 to 1), by their
    /// id. Filters and orders use the real one.
    pub unstamped_share: f64,
    /// The share of live changes that give a contact a status that no list shows, or make it active
    /// again (0 to 1).
    pub undefined_share: f64,
    /// Instead of null, an id is the nil uuid and an instant is in the year 1, as in .NET.
    pub dotnet_placeholders: bool,
    /// Lists leave out `contactId` if the session's `contactDetails` have the id.
    pub contact_id_unlisted: bool,
    /// A message changes `lastInteractionDate` and similar fields, but not `updatedAt`.
    pub silent_messages: bool,
    /// The totals of paged lists.
    pub totals: Totals,
    /// Pages repeat also the parameters that had no effect.
    pub echo_sent: bool,
    /// The share of list answers from a lagging replica (0 to 1) …
    pub stale_share: f64,
    /// … and its greatest lag. Past versions are kept from the moment that this is above zero.
    pub stale_max: Duration,
    /// The share of answers of lists without pages that lack most or all entries (0 to 1).
    pub list_loss_share: f64,
    /// The share of records that cannot be asked for by their ids (0 to 1), by their id.
    pub failing_share: f64,
    /// Every request by id answers 404.
    pub by_id_withdrawn: bool,
    /// A record that is not found answers 401, with 404 only in the body.
    pub masked_not_found: bool,
    /// The `Date` header of each answer is wrong by a different time, up to `date_micros` in either
    /// direction.
    pub jumping_date: bool,
    /// The `Date` header never changes after its first answer, as behind a caching proxy.
    pub frozen_date: bool,
    /// The `Date` header is not a date.
    pub garbage_date: bool,
    /// The share of deliveries to webhooks that are lost (0 to 1).
    pub webhook_loss: f64,
    /// The share of deliveries that are sent twice (0 to 1).
    pub webhook_duplicates: f64,
    /// The share of deliveries that are sent after the next one (0 to 1).
    pub webhook_disorder: f64,
    /// A failed delivery is retried once, nine minutes later.
    pub webhook_retries: bool,
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
            v2_withdrawn: None,
            v1_hides_groups: false,
            ignore_page_number: false,
            clamp_page_number: false,
            no_echo: false,
            no_date: false,
            bare_token: false,
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
            ghost_share: 0.0,
            behind_share: 0.0,
            behind_by: Duration::from_millis(200),
            unstamped_share: 0.0,
            undefined_share: 0.0,
            dotnet_placeholders: false,
            contact_id_unlisted: false,
            silent_messages: false,
            totals: Totals::Right,
            echo_sent: false,
            stale_share: 0.0,
            stale_max: Duration::ZERO,
            list_loss_share: 0.0,
            failing_share: 0.0,
            by_id_withdrawn: false,
            masked_not_found: false,
            jumping_date: false,
            frozen_date: false,
            garbage_date: false,
            webhook_loss: 0.0,
            webhook_duplicates: 0.0,
            webhook_disorder: 0.0,
            webhook_retries: false,
        }
    }
}

/// The share of requests that get each fault (0 to 1), drawn in order from the seed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FaultRates {
    /// 429, like the answer of the rate limits.
    pub too_many: f64,
    /// 500 with the platform's own error body.
    pub internal: f64,
    /// 502 with a gateway's HTML page.
    pub bad_gateway: f64,
    /// 503 without a body.
    pub unavailable: f64,
    /// The body is cut off in the middle.
    pub cut: f64,
    /// The connection is reset before the answer.
    pub reset: f64,
    /// `"error": true` under status 200.
    pub error_true: f64,
    /// The body is sent in small pieces, over `slow_for`.
    pub slow: f64,
    /// A page of HTML under status 200.
    pub html: f64,
    /// 401 with the platform's own error body, although the token is valid.
    pub unauthorized: f64,
    /// 403 with a gateway's HTML page.
    pub forbidden: f64,
    /// The duration of a slow body.
    pub slow_for: Duration,
    /// The `Retry-After` header of a 429.
    pub retry_after: RetryAfter,
}

impl FaultRates {
    /// The same rate for every fault after which a retry can succeed: not for `unauthorized` and
    /// `forbidden`.
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
            forbidden: 0.0,
            slow_for: Duration::from_millis(200),
            retry_after: RetryAfter::Seconds,
        }
    }
}

/// The fault of one answer (see [`Sandbox::script`](super::Sandbox::script)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// No fault. With it a script can reach, for example, the third request.
    None,
    /// 429, with this `Retry-After` if there is one.
    TooMany(Option<String>),
    /// 500 with the platform's own error body.
    Internal,
    /// 502 with a gateway's HTML page.
    BadGateway,
    /// 503 without a body.
    Unavailable,
    /// The right answer, but its body is cut off in the middle.
    Cut,
    /// The connection is reset instead of an answer.
    Reset,
    /// `"error": true` under status 200.
    ErrorTrue,
    /// The right answer, with its body sent in small pieces over this time.
    Slow(Duration),
    /// The right answer, but only after this time.
    Late(Duration),
    /// 401 with the platform's own error body.
    Unauthorized,
    /// Any status with any body; `application/json`.
    Reply(u16, String),
    /// A page of HTML under status 200.
    Html,
    /// 403 with a gateway's HTML page.
    Forbidden,
}

/// The fault of one record, in every answer that shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Poison {
    /// The id is not a uuid.
    BrokenId,
    /// There is no id.
    NoId,
    /// A text instead of the record.
    NotAnObject,
    /// An optional field has another type (`unreadCount: "many"`, a contact's `name: 7`).
    WrongType,
    /// A text holds NUL.
    Nul,
    /// A text of a megabyte.
    Megabyte,
    /// An enum value that is not in the contract.
    UnknownEnum,
    /// `timeService` is `1.02:03:04`.
    DaySpan,
    /// `timeWait` is the literal text `null`.
    NullSpan,
    /// `tagsId` and `tagsName` (`tagIds` and `tagNames`) differ in length.
    UnequalTags,
    /// It is counted, but no list shows it. It can be read by id.
    Hidden,
    /// It is counted, but no list shows it, and it is not found by id.
    Ghost,
    /// `updatedAt` is null.
    NullStamp,
    /// `updatedAt` is not an instant.
    BrokenStamp,
    /// There is no `updatedAt`.
    NoStamp,
    /// `createdAt` is null, so that no window of creation times holds it. Of sessions only.
    Undated,
}

impl Poison {
    /// Those that `unstamped_share` deals out. Entries of the lists without pages can have them,
    /// too, and no other.
    pub const STAMPS: [Self; 3] = [Self::NullStamp, Self::BrokenStamp, Self::NoStamp];

    /// What can be seen of a record besides, which are those that `poison_share` deals out.
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
