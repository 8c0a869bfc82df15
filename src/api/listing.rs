//! Which path answers which question, and what to make of lists and of the two versions of the
//! session list.
//!
//! Owns the paths of the platform. Must not know HTTP.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use serde::Deserialize;
use uuid::Uuid;

use crate::data::{ColumnGroup, Item, Page, PageQuery, Resource, SourceError, Timestamp};

use super::exchange::{Answer, Exchange, GivenUp};
use super::query::{self, Detail, LiveQuery, Parameters};
use super::retry::{Failure, Kind};
use super::wire::Shape;

const SESSIONS: [&str; 2] = ["/chat/v1/session", "/chat/v2/session"];
const CONTACTS: &str = "/core/v1/contact";
const TAGS: &str = "/core/v1/tag";
const CHANNELS: &str = "/chat/v1/channel";
const DEPARTMENTS: &str = "/core/v2/department";
const AGENTS: &str = "/core/v1/agent";

/// No list has more pages; it bounds a server that always says that more follow.
const MOST_LIST_PAGES: u32 = 1000;

/// How often a list that moved while it was paged through is read.
const LIST_READINGS: u32 = 3;

/// Which version of the session list is in use (API notes, 4.1).
#[derive(Debug)]
pub(super) struct SessionVersion {
    current: AtomicU8,
    /// Held while the other version is tried, so that concurrent pages do it once.
    trying: tokio::sync::Mutex<()>,
}

impl SessionVersion {
    pub(super) fn new() -> Self {
        Self {
            current: AtomicU8::new(1),
            trying: tokio::sync::Mutex::new(()),
        }
    }

    pub(super) fn get(&self) -> u8 {
        self.current.load(Ordering::Acquire)
    }

    pub(super) fn set(&self, version: u8) {
        let version = if version == 2 { 2 } else { 1 };
        self.current.store(version, Ordering::Release);
    }
}

/// The questions, asked over an [`Exchange`].
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) exchange: Exchange,
    pub(super) version: SessionVersion,
    pub(super) details: Vec<Detail>,
}

impl Answer {
    fn into_page(self, unknown: ColumnGroup) -> Page {
        Page {
            body: self.decoded.body,
            items: self.decoded.items,
            total: self.decoded.total,
            has_more: self.decoded.has_more,
            server_time: self.server_time,
            unknown,
        }
    }
}

impl Listing {
    pub(super) async fn page(&self, query: &PageQuery) -> Result<Page, SourceError> {
        let shape = Shape::Page {
            number: query.number.max(1),
            size: query::page_size(query.size),
        };
        match query.stream.resource {
            Resource::Sessions => {
                let parameters = query::sessions(query, &self.details);
                let kind = query.filter.kind.is_some();
                self.sessions(&parameters, shape, &self.details, kind).await
            }
            Resource::Contacts => {
                let parameters = query::contacts(query);
                let answer = self.exchange.get(CONTACTS, &parameters, shape).await?;
                Ok(answer.into_page(ColumnGroup::NONE))
            }
            list @ (Resource::Tags
            | Resource::Channels
            | Resource::Departments
            | Resource::Agents) => self.list(list).await,
        }
    }

    pub(super) async fn live_sessions(&self, query: &LiveQuery) -> Result<Page, SourceError> {
        let shape = Shape::Page {
            number: query.number.max(1),
            size: query::page_size(query.size),
        };
        let parameters = query::live_sessions(query);
        let kind = query.filter.kind.is_some();
        self.sessions(&parameters, shape, &query.details, kind)
            .await
    }

    /// A page of sessions, from the version in use. A question by type goes to the second version
    /// whatever is in use: the first would ignore the filter and show everything.
    async fn sessions(
        &self,
        parameters: &Parameters,
        shape: Shape,
        details: &[Detail],
        needs_v2: bool,
    ) -> Result<Page, SourceError> {
        let version = if needs_v2 { 2 } else { self.version.get() };
        let of =
            |answer: Answer, version| answer.into_page(query::unknown_columns(details, version));
        if version == 2 {
            let answer = self.exchange.get(SESSIONS[1], parameters, shape).await?;
            return Ok(of(answer, 2));
        }
        match self.exchange.get(SESSIONS[0], parameters, shape).await {
            Ok(answer) => Ok(of(answer, 1)),
            Err(refused) if says_gone(&refused) => {
                let answer = self.second_version(parameters, shape, refused).await?;
                Ok(of(answer, 2))
            }
            Err(other) => Err(other.into()),
        }
    }

    /// Finds out what a refusal by the first version means, since the platform answers 401 to
    /// routes that are gone, too (API notes, 12): the second version answers, so it is used from
    /// now on and never left again; or the token may not read sessions; or it is no good at all.
    async fn second_version(
        &self,
        parameters: &Parameters,
        shape: Shape,
        refused: GivenUp,
    ) -> Result<Answer, SourceError> {
        let trying = self.version.trying.lock().await;
        if self.version.get() == 2 {
            // Found out by somebody else while this one waited.
            drop(trying);
            return Ok(self.exchange.get(SESSIONS[1], parameters, shape).await?);
        }
        let second = match self.exchange.get(SESSIONS[1], parameters, shape).await {
            Ok(answer) => {
                tracing::warn!(
                    "{} is no longer answered: sessions are read from {} from now on",
                    SESSIONS[0],
                    SESSIONS[1]
                );
                self.version.set(2);
                return Ok(answer);
            }
            Err(second) => second,
        };
        if !matches!(second.failure.kind, Kind::Refused(_) | Kind::Missing(_)) {
            // Nothing is proved by a failure that may pass.
            return Err(second.into());
        }
        let tags = self
            .exchange
            .get(TAGS, &Parameters::default(), Shape::List)
            .await;
        let note = match tags {
            Ok(_) => {
                "; nor does the second version of the list answer, but tags do: this token may \
                 not read sessions"
            }
            Err(tags) if matches!(tags.failure.kind, Kind::Refused(_)) => {
                "; the second version of the list and the tags are refused too: the token is not accepted"
            }
            Err(_) => "; nor does the second version of the list answer",
        };
        // A refusal tells the operator more than a missing path.
        let told = match (refused.failure.kind, second.failure.kind) {
            (Kind::Missing(_), Kind::Refused(_)) => second,
            _ => refused,
        };
        Err(told.noting(note).into())
    }

    /// A list, whole. It is documented as a plain array; pages are read to their end, and again if
    /// the list moved meanwhile.
    pub(super) async fn list(&self, resource: Resource) -> Result<Page, SourceError> {
        let path = match resource {
            Resource::Tags => TAGS,
            Resource::Channels => CHANNELS,
            Resource::Departments => DEPARTMENTS,
            Resource::Agents => AGENTS,
            Resource::Sessions => SESSIONS[0],
            Resource::Contacts => CONTACTS,
        };
        let malformed = |attempts, detail: &str| SourceError::Malformed {
            request: format!("GET {path}"),
            attempts,
            detail: detail.to_owned(),
        };
        if !resource.is_list() {
            return Err(malformed(0, "it is read in pages, not as a whole list"));
        }
        let first = self
            .exchange
            .get(path, &Parameters::default(), Shape::List)
            .await?;
        if !first.decoded.has_more {
            return Ok(first.into_page(ColumnGroup::NONE));
        }
        for _ in 0..LIST_READINGS {
            if let Some(page) = self.list_pages(path).await? {
                return Ok(page);
            }
        }
        Err(malformed(
            LIST_READINGS,
            "its pages do not hold as many different records as it counts",
        ))
    }

    /// The pages of a list as one; `None` if they do not fit together.
    async fn list_pages(&self, path: &str) -> Result<Option<Page>, SourceError> {
        let mut whole = Whole::default();
        for number in 1..=MOST_LIST_PAGES {
            let shape = Shape::Page {
                number,
                size: query::LARGEST_PAGE,
            };
            let answer = self
                .exchange
                .get(path, &query::list_page(number), shape)
                .await?;
            let has_more = answer.decoded.has_more;
            whole.add(answer);
            if !has_more {
                return Ok(whole.into_page());
            }
        }
        Ok(None)
    }

    pub(super) async fn by_id(&self, resource: Resource, id: Uuid) -> Result<Page, SourceError> {
        let (path, parameters, unknown) = match resource {
            Resource::Sessions => (
                SESSIONS[1],
                query::session(&self.details),
                query::unknown_columns(&self.details, 2),
            ),
            Resource::Contacts => (CONTACTS, query::contact(), ColumnGroup::NONE),
            Resource::Tags | Resource::Channels | Resource::Departments | Resource::Agents => {
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
            Ok(answer) => Ok(answer.into_page(unknown)),
            // An HTML page is a gateway's 404, which says nothing of the record.
            Err(GivenUp {
                failure:
                    Failure {
                        kind: Kind::Missing(_),
                        server_time: Some(server_time),
                        html: false,
                        ..
                    },
                ..
            }) => Ok(nothing(server_time, unknown)),
            Err(given_up) => Err(given_up.into()),
        }
    }
}

/// Whether the answer may mean that a path is withdrawn.
fn says_gone(given_up: &GivenUp) -> bool {
    matches!(
        given_up.failure.kind,
        Kind::Refused(401) | Kind::Missing(404 | 410)
    )
}

/// Whether a record of a list has this id. Agents go by their `userId` in the mirror, and by
/// either here.
fn is_named(raw: &str, item: &Item, resource: Resource, id: Uuid) -> bool {
    #[derive(Deserialize)]
    struct Agent {
        #[serde(rename = "userId")]
        user_id: Uuid,
    }
    item.head.id == Some(id)
        || resource == Resource::Agents
            && serde_json::from_str::<Agent>(raw).is_ok_and(|agent| agent.user_id == id)
}

/// The answer that there is no such record.
fn nothing(server_time: Timestamp, unknown: ColumnGroup) -> Page {
    Page {
        body: Arc::from(""),
        items: Vec::new(),
        total: Some(0),
        has_more: false,
        server_time,
        unknown,
    }
}

/// Pages put together.
#[derive(Default)]
struct Whole {
    body: String,
    items: Vec<Item>,
    totals: Vec<Option<u64>>,
    server_time: Option<Timestamp>,
}

impl Whole {
    fn add(&mut self, answer: Answer) {
        let offset = self.body.len();
        self.body.push_str(&answer.decoded.body);
        self.items
            .extend(answer.decoded.items.into_iter().map(|item| Item {
                raw: item.raw.start + offset..item.raw.end + offset,
                ..item
            }));
        self.totals.push(answer.decoded.total);
        // The first answer's: what was visible then is in one of the pages.
        self.server_time.get_or_insert(answer.server_time);
    }

    /// `None` if a record came twice, or not as many came as every page counted.
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
        (distinct && counted).then_some(Page {
            body: self.body.into(),
            items: self.items,
            total: Some(count),
            has_more: false,
            server_time: self.server_time?,
            unknown: ColumnGroup::NONE,
        })
    }
}
