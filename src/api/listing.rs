//! The paths of the API, reading lists completely, and choosing between the two versions of the
//! session list.
//!
//! Owns the paths of the platform. Must not know HTTP.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::data::{
    ColumnGroup, Item, Page, PageQuery, Pager, Parameters as Fixed, ReadAs, Resource,
    SessionVersion, SourceError, VersionTotals,
};

use super::exchange::{Answer, Exchange, Moment};
use super::limit::WaitReason;
use super::query::{self, Detail, LiveQuery, Parameters};
use super::retry::{FailedRequest, FailureKind};
use super::wire::{Decoded, Shape};

const CONTACTS: &str = "/core/v1/contact";

const fn sessions_path(version: SessionVersion) -> &'static str {
    match version {
        SessionVersion::First => "/chat/v1/session",
        SessionVersion::Second => "/chat/v2/session",
    }
}

/// The maximum number of pages of a list, for a server that always says that more follow.
const MOST_LIST_PAGES: u32 = 1000;

/// How often a list is read that changes while its pages are read.
const LIST_READINGS: u32 = 3;

/// The version of the session list in use. Version 2 is preferred: version 1 is no longer
/// documented, has no `type` and may omit sessions of groups (API notes, 4.1).
#[derive(Debug)]
pub(super) struct Versions {
    in_use: AtomicU8,
    /// Whether only this version may be used.
    pinned: AtomicBool,
    /// Held while the other version is tried, so that concurrent pages do it once.
    trying: tokio::sync::Mutex<()>,
    /// When version 2 was last tried while version 1 is in use, by
    /// [`Clock::running`](crate::clock::Clock::running). `None` if the next request tries it.
    asked_again: Mutex<Option<Duration>>,
}

/// How long to wait before trying version 2 once more and switching to version 1. It may only be away
/// while the platform is updated.
const LEFT_AFTER: Duration = Duration::from_secs(5);

/// How often version 2 is tried while version 1 is in use.
const ASKED_AGAIN: Duration = Duration::from_hours(1);

impl Versions {
    pub(super) fn new() -> Self {
        Self {
            in_use: AtomicU8::new(SessionVersion::Second.number()),
            pinned: AtomicBool::new(false),
            trying: tokio::sync::Mutex::new(()),
            asked_again: Mutex::new(None),
        }
    }

    pub(super) fn in_use(&self) -> SessionVersion {
        SessionVersion::of_number(self.in_use.load(Ordering::Acquire).into())
            .expect("only numbers of versions are stored")
    }

    /// Uses this version from now on, unless another one is pinned.
    fn set(&self, version: SessionVersion) {
        if !self.is_pinned() {
            self.in_use.store(version.number(), Ordering::Release);
        }
    }

    /// Starts with the version that an earlier process used. The first request still tries version 2.
    pub(super) fn remember(&self, version: SessionVersion) {
        if self.in_use() != version {
            self.set(version);
            *self.asked_again() = None;
        }
    }

    fn asked_again(&self) -> MutexGuard<'_, Option<Duration>> {
        // No code panics while it holds the lock.
        self.asked_again
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that version 2 was just tried and did not answer.
    fn note_asked(&self, now: Duration) {
        *self.asked_again() = Some(now);
    }

    /// Whether the caller must try version 2 again. Returns true to one caller only.
    fn is_due(&self, now: Duration) -> bool {
        if self.is_pinned() || self.in_use() == SessionVersion::Second {
            return false;
        }
        let mut asked = self.asked_again();
        if asked.is_some_and(|at| now.saturating_sub(at) < ASKED_AGAIN) {
            return false;
        }
        *asked = Some(now);
        true
    }

    /// Records that version 2 answers, and switches back to it.
    fn come_back(&self) {
        let usual = SessionVersion::Second;
        if self.is_pinned() || self.in_use() == usual {
            return;
        }
        tracing::info!(
            "{} answers again; reading sessions from it from now on",
            sessions_path(usual)
        );
        self.set(usual);
    }

    pub(super) fn pin(&self, version: SessionVersion) {
        self.in_use.store(version.number(), Ordering::Release);
        self.pinned.store(true, Ordering::Release);
    }

    fn is_pinned(&self) -> bool {
        self.pinned.load(Ordering::Acquire)
    }

    /// The version in use if it is version 1, which the database must remember. A pinned version
    /// counts, too: when it is no longer used, sessions that it omits must be read.
    pub(super) fn learned(&self) -> Option<SessionVersion> {
        let first = SessionVersion::First;
        (self.in_use() == first).then_some(first)
    }
}

/// Sends the requests over an [`Exchange`].
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) exchange: Exchange,
    pub(super) versions: Versions,
    pub(super) details: Vec<Detail>,
}

impl Answer {
    /// The answer as a page. `order_by` is the requested order.
    fn into_page(self, unknown: ColumnGroup, order_by: Option<&str>) -> Page {
        let Decoded {
            body,
            items,
            total,
            has_more,
            contradictory,
            silent,
            order_by: repeated,
        } = self.decoded;
        Page {
            total,
            has_more,
            contradictory,
            silent,
            order_echo: repeated.echo(order_by),
            unknown,
            asked: self.moment.asked,
            ..Page::new(body, items, self.moment.server_time)
        }
    }
}

/// A request to the session list, for either version.
struct SessionRequest<'a> {
    parameters: Parameters,
    shape: Shape,
    details: &'a [Detail],
    order_by: Option<&'a str>,
    /// Whether it filters by type. Version 1 would ignore that and show everything.
    by_type: bool,
}

impl SessionRequest<'_> {
    fn page(&self, answer: Answer, version: SessionVersion) -> Page {
        let unknown = query::unknown_columns(self.details, version);
        answer.into_page(unknown, self.order_by)
    }
}

impl Listing {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "all resources but these are lists"
    )]
    pub(super) async fn page(&self, query: &PageQuery) -> Result<Page, SourceError> {
        let shape = Shape::Page {
            number: query.number.max(1),
            size: query::page_size(query.size),
        };
        let order_by = query.order.map(query::order_by);
        match query.stream.resource {
            Resource::Sessions => {
                self.sessions(&SessionRequest {
                    parameters: query::sessions(query, &self.details),
                    shape,
                    details: &self.details,
                    order_by,
                    by_type: query.filter.kind.is_some(),
                })
                .await
            }
            Resource::Contacts => {
                let parameters = query::contacts(query);
                let answer = self.exchange.get(CONTACTS, &parameters, shape).await?;
                Ok(answer.into_page(ColumnGroup::NONE, order_by))
            }
            list => self.list(list).await,
        }
    }

    pub(super) async fn live_sessions(&self, query: &LiveQuery) -> Result<Page, SourceError> {
        self.sessions(&SessionRequest {
            parameters: query::live_sessions(query),
            shape: Shape::Page {
                number: query.number.max(1),
                size: query::page_size(query.size),
            },
            details: &query.details,
            order_by: query.order_by.as_deref(),
            by_type: query.filter.kind.is_some(),
        })
        .await
    }

    /// A page of sessions, from the version in use.
    async fn sessions(&self, question: &SessionRequest<'_>) -> Result<Page, SourceError> {
        if !question.by_type
            && let Some(answer) = self.usual_again(question).await
        {
            return Ok(question.page(answer, SessionVersion::Second));
        }
        let version = if question.by_type {
            SessionVersion::Second
        } else {
            self.versions.in_use()
        };
        let refused = match self.sessions_from(version, question).await {
            Ok(answer) => return Ok(question.page(answer, version)),
            Err(refused) => refused,
        };
        if !says_gone(&refused) || question.by_type {
            return Err(refused.into());
        }
        if self.versions.is_pinned() {
            let note = "; api.session_version does not allow the other version of the session list";
            return Err(refused.noting(note).into());
        }
        let (answer, version) = self.other_version(question, version, refused).await?;
        Ok(question.page(answer, version))
    }

    /// Tries version 2 again, if version 1 is in use and a try is due. `None` if it does not answer.
    async fn usual_again(&self, question: &SessionRequest<'_>) -> Option<Answer> {
        if !self.versions.is_due(self.exchange.clock.running()) {
            return None;
        }
        let answer = self.sessions_from(SessionVersion::Second, question).await;
        let answer = answer.ok()?;
        self.versions.come_back();
        Some(answer)
    }

    async fn sessions_from(
        &self,
        version: SessionVersion,
        question: &SessionRequest<'_>,
    ) -> Result<Answer, FailedRequest> {
        let SessionRequest {
            parameters, shape, ..
        } = question;
        let path = sessions_path(version);
        self.exchange.get(path, parameters, *shape).await
    }

    /// Finds out what a refusal by one version of the list means. The platform also answers 401 if
    /// a route was withdrawn (API notes, 12). If the other version answers, it is used from now on.
    /// Otherwise the token may not read sessions, or is not valid at all.
    async fn other_version(
        &self,
        question: &SessionRequest<'_>,
        gone: SessionVersion,
        refused: FailedRequest,
    ) -> Result<(Answer, SessionVersion), SourceError> {
        let trying = self.versions.trying.lock().await;
        let in_use = self.versions.in_use();
        if in_use != gone {
            // Another request has switched the version meanwhile.
            drop(trying);
            return Ok((self.sessions_from(in_use, question).await?, in_use));
        }
        let other = gone.other();
        let second = match self.sessions_from(other, question).await {
            Ok(answer) if gone == SessionVersion::First => {
                tracing::info!(
                    "{} no longer answers; reading sessions from {} from now on",
                    sessions_path(gone),
                    sessions_path(other)
                );
                self.versions.set(other);
                return Ok((answer, other));
            }
            Ok(answer) => return self.leave(question, gone, answer).await,
            Err(second) => second,
        };
        if !says_gone(&second) && !matches!(second.kind, FailureKind::Refused(_)) {
            // A temporary failure proves nothing.
            return Err(second.into());
        }
        let tags = self.list(Resource::Tags).await;
        let number = other.number();
        let note = match tags {
            Ok(_) => format!(
                "; version {number} of the list does not answer either, but tags do: this token may not \
                 read sessions"
            ),
            Err(SourceError::Refused { .. }) => format!(
                "; version {number} of the list and the tags are refused, too: the token is not valid"
            ),
            Err(_) => format!("; version {number} of the list does not answer either"),
        };
        // A refusal tells the operator more than a missing path.
        let is_more = matches!(refused.kind, FailureKind::Missing(_))
            && matches!(second.kind, FailureKind::Refused(_));
        let told = if is_more { second } else { refused };
        Err(told.noting(&note).into())
    }

    /// Switches to the other version, whose answer has arrived, if the usual version still does not
    /// answer some seconds later. The other version may show less, so a temporary refusal is not
    /// enough.
    async fn leave(
        &self,
        question: &SessionRequest<'_>,
        usual: SessionVersion,
        answer: Answer,
    ) -> Result<(Answer, SessionVersion), SourceError> {
        let Exchange {
            limiter,
            clock,
            patience,
            ..
        } = &self.exchange;
        // With little patience, this must not use up the time.
        let wait = patience.map_or(LEFT_AFTER, |patience| LEFT_AFTER.min(patience / 4));
        limiter.wait(wait, WaitReason::Backoff).await;
        match self.sessions_from(usual, question).await {
            Ok(answer) => return Ok((answer, usual)),
            Err(again) if !says_gone(&again) => return Err(again.into()),
            Err(_) => {}
        }
        let other = usual.other();
        tracing::warn!(
            "{} does not answer; reading sessions from {}, which has no type and may omit sessions of \
             groups",
            sessions_path(usual),
            sessions_path(other)
        );
        self.versions.note_asked(clock.running());
        self.versions.set(other);
        Ok((answer, other))
    }

    /// How many sessions each version of the list counts; see [`crate::data::Source`].
    pub(super) async fn session_totals(&self) -> Result<Option<VersionTotals>, SourceError> {
        let count = async |version| {
            let shape = Shape::Page { number: 1, size: 1 };
            let path = sessions_path(version);
            match self.exchange.get(path, &query::one(), shape).await {
                Ok(answer) => Ok(answer.decoded.total),
                Err(gone) if says_gone(&gone) => Ok(None),
                Err(other) => Err(SourceError::from(other)),
            }
        };
        let usual = SessionVersion::Second;
        let Some(mut second) = count(usual).await? else {
            return Ok(None);
        };
        self.versions.come_back();
        let Some(first) = count(usual.other()).await? else {
            return Ok(None);
        };
        if first != second {
            // Sessions may have been created or deleted in between.
            let before = second;
            second = count(usual).await?.unwrap_or(second);
            if (before.min(second)..=before.max(second)).contains(&first) {
                second = first;
            }
        }
        Ok(Some(VersionTotals {
            first,
            second,
            in_use: self.versions.in_use(),
        }))
    }

    /// A complete list: the answers to all its requests.
    pub(super) async fn list(&self, resource: Resource) -> Result<Page, SourceError> {
        let ReadAs::List(path, questions) = resource.descriptor().reading else {
            return Err(SourceError::Malformed {
                request: format!("GET {resource}"),
                attempts: 0,
                detail: "the resource is read in pages, not as a list".to_owned(),
            });
        };
        let mut whole: Option<Page> = None;
        for fixed in questions {
            let page = self.list_part(path, fixed).await?;
            whole = Some(match whole {
                Some(before) => before.joined(page),
                None => page,
            });
        }
        whole.ok_or_else(|| SourceError::Malformed {
            request: format!("GET {path}"),
            attempts: 0,
            detail: "the resource has no request".to_owned(),
        })
    }

    /// The answer to one request of a list. A plain array is complete. Pages are read to their end,
    /// and again if the list changed meanwhile.
    async fn list_part(&self, path: &str, fixed: Fixed) -> Result<Page, SourceError> {
        let first = self
            .exchange
            .get(path, &query::list_page(fixed, None), Shape::List)
            .await?;
        if !first.decoded.has_more {
            return Ok(first.into_page(ColumnGroup::NONE, None));
        }
        for _ in 0..LIST_READINGS {
            if let Some(page) = self.list_pages(path, fixed).await? {
                return Ok(page);
            }
        }
        Err(SourceError::Malformed {
            request: format!("GET {path}"),
            attempts: LIST_READINGS,
            detail: "its pages show another number of records than it counts".to_owned(),
        })
    }

    /// The pages of a list, joined. `None` if they do not fit together.
    async fn list_pages(&self, path: &str, fixed: Fixed) -> Result<Option<Page>, SourceError> {
        let mut whole = JoinedPages::default();
        let mut pager = Pager::new(format!("GET {path}"));
        for number in 1..=MOST_LIST_PAGES {
            let shape = Shape::Page {
                number,
                size: query::LARGEST_PAGE,
            };
            let answer = self
                .exchange
                .get(path, &query::list_page(fixed, Some(number)), shape)
                .await?;
            let page = answer.into_page(ColumnGroup::NONE, None);
            let more = pager.take(&page)?.more;
            whole.add(page);
            if !more {
                return Ok(whole.into_page());
            }
        }
        Ok(None)
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "all resources but these are lists"
    )]
    pub(super) async fn by_id(&self, resource: Resource, id: Uuid) -> Result<Page, SourceError> {
        let (path, parameters, unknown) = match resource {
            // Version 1 has no such route.
            Resource::Sessions => (
                sessions_path(SessionVersion::Second),
                query::session(&self.details),
                query::unknown_columns(&self.details, SessionVersion::Second),
            ),
            Resource::Contacts => (CONTACTS, query::contact(), ColumnGroup::NONE),
            _ => {
                let mut page = self.list(resource).await?;
                let items = std::mem::take(&mut page.items);
                page.items = items
                    .into_iter()
                    .filter(|item| is_named(page.raw(item), item, resource, id))
                    .collect();
                page.total = Some(page.items.len() as u64);
                return Ok(page);
            }
        };
        let path = query::with_id(path, id);
        match self.exchange.get(&path, &parameters, Shape::Record).await {
            Ok(answer) => Ok(Page {
                by_id: true,
                ..answer.into_page(unknown, None)
            }),
            // An HTML page is a gateway's 404, which says nothing about the record.
            Err(FailedRequest {
                kind: FailureKind::Missing(_),
                moment: Some(moment),
                html: false,
                ..
            }) => Ok(nothing(moment, unknown)),
            Err(failed) => Err(failed.into()),
        }
    }
}

/// Whether the answer may mean that a path was withdrawn. A gateway may say so, too, if it does so
/// repeatedly.
fn says_gone(failed: &FailedRequest) -> bool {
    let FailedRequest { kind, html, .. } = *failed;
    matches!(kind, FailureKind::Refused(401) | FailureKind::Missing(_))
        || html && matches!(kind, FailureKind::Gateway(404 | 410))
}

/// Whether a record of a list has this id. Agents have two ids: the mirror uses `userId`, and this
/// accepts either.
fn is_named(raw: &str, item: &Item, resource: Resource, id: Uuid) -> bool {
    let key = resource.descriptor().key_field;
    let is_key = |record: Map<String, Value>| {
        let text = record.get(key).and_then(Value::as_str);
        text.and_then(|text| Uuid::parse_str(text).ok()) == Some(id)
    };
    item.head.id == Some(id) || key != "id" && serde_json::from_str(raw).is_ok_and(is_key)
}

/// The page that says that there is no such record.
fn nothing(moment: Moment, unknown: ColumnGroup) -> Page {
    Page {
        total: Some(0),
        by_id: true,
        unknown,
        asked: moment.asked,
        ..Page::new(Arc::from(""), Vec::new(), moment.server_time)
    }
}

/// Joins pages.
#[derive(Default)]
struct JoinedPages {
    body: String,
    items: Vec<Item>,
    totals: Vec<Option<u64>>,
    moment: Option<Moment>,
}

impl JoinedPages {
    fn add(&mut self, page: Page) {
        let offset = self.body.len();
        self.body.push_str(&page.body);
        self.items.extend(page.items.into_iter().map(|item| Item {
            raw: item.raw.start + offset..item.raw.end + offset,
            ..item
        }));
        self.totals.push(page.total);
        // The time of the first answer: everything that was visible then is on one of the pages.
        self.moment.get_or_insert(Moment {
            server_time: page.server_time,
            asked: page.asked,
        });
    }

    /// `None` if a record occurs twice, or if a page counts another number of records.
    fn into_page(self) -> Option<Page> {
        let mut seen = HashSet::new();
        let distinct = self
            .items
            .iter()
            .all(|item| item.head.id.is_none_or(|id| seen.insert(id)));
        let count = self.items.len() as u64;
        let counted = self
            .totals
            .iter()
            .all(|total| total.is_none_or(|total| total == count));
        let moment = self.moment?;
        (distinct && counted).then_some(Page {
            total: Some(count),
            asked: moment.asked,
            ..Page::new(self.body.into(), self.items, moment.server_time)
        })
    }
}
