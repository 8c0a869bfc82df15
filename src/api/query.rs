//! The parameters of requests, in the platform's spelling.
//!
//! Owns the names of parameters. The platform ignores a misspelt parameter and then shows everything
//! (API notes, 3.4). Must not know how they are sent.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use crate::data::{
    self, ColumnGroup, Direction, Order, OrderField, PageQuery, SessionFilter, SessionVersion,
    Span, Timestamp,
};

/// The largest page size. The platform answers larger ones with 500 (API notes, 3.1).
pub(super) const LARGEST_PAGE: u32 = 100;

/// A part of a session that is sent only on request (API notes, 4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Detail {
    /// `AgentDetails`.
    Agent,
    /// `DepartmentsDetails`.
    Departments,
    /// `ContactDetails`.
    Contact,
    /// `ChannelTypeDetails`.
    ChannelType,
    /// `ClassificationDetails`.
    Classification,
    /// `ChannelDetails`.
    Channel,
}

/// A text that is not the name of a [`Detail`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown detail {0:?} (accepted: AgentDetails, DepartmentsDetails, ContactDetails, \
     ChannelTypeDetails, ClassificationDetails, ChannelDetails)"
)]
pub struct UnknownDetail(pub String);

impl Detail {
    /// All details.
    pub const ALL: [Self; 6] = [
        Self::Agent,
        Self::Departments,
        Self::Contact,
        Self::ChannelType,
        Self::Classification,
        Self::Channel,
    ];

    /// As the platform spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "AgentDetails",
            Self::Departments => "DepartmentsDetails",
            Self::Contact => "ContactDetails",
            Self::ChannelType => "ChannelTypeDetails",
            Self::Classification => "ClassificationDetails",
            Self::Channel => "ChannelDetails",
        }
    }

    /// The columns that need this detail.
    pub(super) const fn columns(self) -> ColumnGroup {
        match self {
            Self::Agent => ColumnGroup::AGENT,
            Self::Departments => ColumnGroup::DEPARTMENT,
            Self::Contact => ColumnGroup::CONTACT,
            Self::ChannelType => ColumnGroup::CHANNEL_TYPE,
            Self::Classification => ColumnGroup::CLASSIFICATION,
            Self::Channel => ColumnGroup::CHANNEL,
        }
    }
}

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Detail {
    type Err = UnknownDetail;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|detail| detail.as_str().eq_ignore_ascii_case(text.trim()))
            .ok_or_else(|| UnknownDetail(text.chars().take(60).collect()))
    }
}

/// A query of the session list by a person.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LiveQuery {
    /// Which sessions.
    pub filter: SessionFilter,
    /// The range of creation times.
    pub created: Span,
    /// The range of times of change.
    pub updated: Span,
    /// The field to sort by, in the platform's spelling. `None` for the platform's own order.
    pub order_by: Option<String>,
    /// The direction. Without `order_by` the platform ignores it (API notes, 3.3).
    pub direction: Option<Direction>,
    /// Details to include.
    pub details: Vec<Detail>,
    /// The page's number, from 1.
    pub number: u32,
    /// Records per page, 1 to 100.
    pub size: u32,
}

/// Parameters of a request, in order; arrays are repeated names (API notes, 3.4).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Parameters(Vec<(&'static str, String)>);

impl Parameters {
    pub(super) fn pairs(&self) -> &[(&'static str, String)] {
        &self.0
    }

    fn push(&mut self, name: &'static str, value: impl fmt::Display) {
        self.0.push((name, value.to_string()));
    }

    fn push_all<T: fmt::Display>(
        &mut self,
        name: &'static str,
        values: impl IntoIterator<Item = T>,
    ) {
        for value in values {
            self.push(name, value);
        }
    }

    fn span(&mut self, [after, before]: [&'static str; 2], span: Span) {
        if let Some(at) = span.after {
            self.push(after, at);
        }
        if let Some(at) = span.before {
            self.push(before, at);
        }
    }

    fn windows(&mut self, created: Span, updated: Span) {
        self.span(["CreatedAt.After", "CreatedAt.Before"], created);
        self.span(["UpdatedAt.After", "UpdatedAt.Before"], updated);
    }

    fn paging(&mut self, number: u32, size: u32) {
        self.push("PageNumber", number.max(1));
        self.push("PageSize", size);
    }

    fn order(&mut self, order: Option<Order>) {
        if let Some(order) = order {
            self.push("OrderBy", order_by(order));
            self.push("OrderDirection", direction(order.direction));
        }
    }

    fn filter(&mut self, filter: &SessionFilter) {
        self.push_all("Status", &filter.status);
        self.push_all("DepartmentId", filter.department);
        self.push_all("UserId", filter.user);
        self.push_all("ContactId", filter.contact);
        self.push_all("TagsId", &filter.tags);
        self.push_all("ChannelsId", &filter.channels);
        self.push_all("Type", &filter.kind);
        self.span(["EndAt.After", "EndAt.Before"], filter.ended);
        self.span(["ActiveAt.After", "ActiveAt.Before"], filter.active);
        self.span(
            ["LastInteractionAt.After", "LastInteractionAt.Before"],
            filter.interacted,
        );
    }
}

/// The name of the field to sort by.
pub(super) fn order_by(order: Order) -> &'static str {
    match order.field {
        OrderField::UpdatedAt => "UpdatedAt",
        OrderField::CreatedAt => "CreatedAt",
        OrderField::LastInteractionAt => "LastInteractionAt",
    }
}

fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Ascending => "ASCENDING",
        Direction::Descending => "DESCENDING",
    }
}

/// The intersection of two ranges.
fn both(one: Span, other: Span) -> Span {
    let end =
        |one: Option<Timestamp>, other: Option<Timestamp>, of: fn(_, _) -> _| match (one, other) {
            (Some(one), Some(other)) => Some(of(one, other)),
            (one, other) => one.or(other),
        };
    Span {
        after: end(one.after, other.after, Timestamp::max),
        before: end(one.before, other.before, Timestamp::min),
    }
}

/// A page size that the platform accepts.
pub(super) fn page_size(size: u32) -> u32 {
    size.clamp(1, LARGEST_PAGE)
}

/// Parameters of the list of sessions, either version, for a walk.
pub(super) fn sessions(query: &PageQuery, details: &[Detail]) -> Parameters {
    let mut parameters = Parameters::default();
    parameters.filter(&query.filter);
    parameters.push_all("IncludeDetails", details);
    parameters.windows(query.created, both(query.updated, query.filter.updated));
    parameters.paging(query.number, page_size(query.size));
    parameters.order(query.order);
    parameters
}

/// Parameters of the list of sessions, either version, for a person.
pub(super) fn live_sessions(query: &LiveQuery) -> Parameters {
    let mut parameters = Parameters::default();
    parameters.filter(&query.filter);
    parameters.push_all("IncludeDetails", &query.details);
    parameters.windows(query.created, both(query.updated, query.filter.updated));
    parameters.paging(query.number, page_size(query.size));
    parameters.push_all("OrderBy", &query.order_by);
    parameters.push_all("OrderDirection", query.direction.map(direction));
    parameters
}

/// All details of a contact that can be requested (API notes, 8).
const CONTACT_DETAILS: [&str; 3] = ["Tags", "CustomFields", "Portfolios"];

/// Parameters of the list of contacts; the stream's partition is the status.
pub(super) fn contacts(query: &PageQuery) -> Parameters {
    let mut parameters = contact();
    parameters.push("Status", query.stream.partition);
    parameters.windows(query.created, query.updated);
    parameters.paging(query.number, page_size(query.size));
    parameters.order(query.order);
    parameters
}

/// Parameters of one contact.
pub(super) fn contact() -> Parameters {
    let mut parameters = Parameters::default();
    parameters.push_all("IncludeDetails", CONTACT_DETAILS);
    parameters
}

/// Parameters of one session; this one name is in camelCase (API notes, 4.3).
pub(super) fn session(details: &[Detail]) -> Parameters {
    let mut parameters = Parameters::default();
    parameters.push_all("includeDetails", details);
    parameters
}

/// Parameters of a request for the total of a list: one record is enough.
pub(super) fn one() -> Parameters {
    let mut parameters = Parameters::default();
    parameters.paging(1, 1);
    parameters
}

/// Parameters of a request of a list: its fixed ones, and the page's number if the list is paged.
pub(super) fn list_page(fixed: data::Parameters, number: Option<u32>) -> Parameters {
    let mut parameters = Parameters::default();
    for (name, value) in fixed {
        parameters.push(name, value);
    }
    if let Some(number) = number {
        parameters.paging(number, LARGEST_PAGE);
    }
    parameters
}

/// The columns of a session that an answer with these details does not have.
pub(super) fn unknown_columns(details: &[Detail], version: SessionVersion) -> ColumnGroup {
    let unknown = match version {
        SessionVersion::First => ColumnGroup::SESSION_TYPE,
        SessionVersion::Second => ColumnGroup::NONE,
    };
    Detail::ALL
        .into_iter()
        .filter(|detail| !details.contains(detail))
        .fold(unknown, |unknown, detail| unknown.with(detail.columns()))
}

/// `/chat/v2/session/{id}` and the like.
pub(super) fn with_id(path: &str, id: Uuid) -> String {
    format!("{path}/{id}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Resource;
    use std::sync::Arc;

    fn shown(parameters: &Parameters) -> Vec<String> {
        parameters
            .pairs()
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect()
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn every_filter_of_the_session_list_is_spelt_as_documented() {
        let id = Uuid::from_u128(7);
        let span = Span::between(at("2026-01-01T00:00:00Z"), at("2026-01-02T00:00:00Z"));
        let query = PageQuery {
            stream: Resource::Sessions.streams()[0],
            created: span,
            updated: Span::after(at("2026-01-01T00:00:00Z")),
            filter: Arc::new(SessionFilter {
                status: vec!["STARTED".into(), "PENDING".into()],
                kind: Some("GROUP".into()),
                department: Some(id),
                user: Some(id),
                contact: Some(id),
                tags: vec![id, id],
                channels: vec![id],
                active: span,
                ended: span,
                interacted: span,
                updated: span,
            }),
            order: Some(Order::UPDATED),
            number: 3,
            size: 500,
        };
        insta::assert_snapshot!(
            shown(&sessions(&query, &[Detail::Agent, Detail::Departments])).join("\n"),
            @r"
        Status=STARTED
        Status=PENDING
        DepartmentId=00000000-0000-0000-0000-000000000007
        UserId=00000000-0000-0000-0000-000000000007
        ContactId=00000000-0000-0000-0000-000000000007
        TagsId=00000000-0000-0000-0000-000000000007
        TagsId=00000000-0000-0000-0000-000000000007
        ChannelsId=00000000-0000-0000-0000-000000000007
        Type=GROUP
        EndAt.After=2026-01-01T00:00:00.000000Z
        EndAt.Before=2026-01-02T00:00:00.000000Z
        ActiveAt.After=2026-01-01T00:00:00.000000Z
        ActiveAt.Before=2026-01-02T00:00:00.000000Z
        LastInteractionAt.After=2026-01-01T00:00:00.000000Z
        LastInteractionAt.Before=2026-01-02T00:00:00.000000Z
        IncludeDetails=AgentDetails
        IncludeDetails=DepartmentsDetails
        CreatedAt.After=2026-01-01T00:00:00.000000Z
        CreatedAt.Before=2026-01-02T00:00:00.000000Z
        UpdatedAt.After=2026-01-01T00:00:00.000000Z
        UpdatedAt.Before=2026-01-02T00:00:00.000000Z
        PageNumber=3
        PageSize=100
        OrderBy=UpdatedAt
        OrderDirection=ASCENDING
        "
        );
    }

    #[test]
    fn contacts_are_asked_for_by_status_with_all_details() {
        let query = PageQuery {
            stream: Resource::Contacts.streams()[1],
            created: Span::OPEN,
            updated: Span::OPEN,
            filter: Arc::default(),
            order: None,
            number: 1,
            size: 100,
        };
        insta::assert_snapshot!(shown(&contacts(&query)).join("\n"), @r"
        IncludeDetails=Tags
        IncludeDetails=CustomFields
        IncludeDetails=Portfolios
        Status=ARCHIVED
        PageNumber=1
        PageSize=100
        ");
    }

    #[test]
    fn a_live_question_says_only_what_was_asked() {
        let query = LiveQuery {
            number: 1,
            size: 10,
            ..LiveQuery::default()
        };
        assert_eq!(
            shown(&live_sessions(&query)),
            ["PageNumber=1", "PageSize=10"]
        );
        let query = LiveQuery {
            order_by: Some("LastInteractionAt".into()),
            direction: Some(Direction::Descending),
            details: vec![Detail::Contact],
            ..query
        };
        assert_eq!(
            shown(&live_sessions(&query)),
            [
                "IncludeDetails=ContactDetails",
                "PageNumber=1",
                "PageSize=10",
                "OrderBy=LastInteractionAt",
                "OrderDirection=DESCENDING"
            ]
        );
    }

    #[test]
    fn columns_are_unknown_unless_asked_for() {
        assert_eq!(
            unknown_columns(&Detail::ALL, SessionVersion::Second),
            ColumnGroup::NONE
        );
        assert_eq!(
            unknown_columns(&Detail::ALL, SessionVersion::First),
            ColumnGroup::SESSION_TYPE
        );
        let unknown = unknown_columns(&[Detail::Agent], SessionVersion::Second);
        assert!(unknown.contains(ColumnGroup::CONTACT.with(ColumnGroup::CLASSIFICATION)));
        assert!(!unknown.contains(ColumnGroup::AGENT));
        assert!(!unknown.contains(ColumnGroup::SESSION_TYPE));
    }

    #[test]
    fn details_are_read_in_any_case() {
        for detail in Detail::ALL {
            assert_eq!(detail.as_str().to_lowercase().parse(), Ok(detail));
        }
        assert!("agent".parse::<Detail>().is_err());
    }
}
