//! The filters of the platform's session list, as flags shared by `sessions` and `backfill`.

use clap::Args;
use uuid::Uuid;

use super::choices::name_of;
use super::dates::span;
use super::{Calendar, Catalog, Failure};
use crate::data::{Resource, SessionFilter, Source, Span};

/// The statuses of sessions (API notes, 4.2).
const STATUSES: [&str; 6] = [
    "UNDEFINED",
    "STARTED",
    "PENDING",
    "IN_PROGRESS",
    "COMPLETED",
    "HIDDEN",
];

const KINDS: [&str; 2] = ["INDIVIDUAL", "GROUP"];

/// Which sessions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Which sessions")]
pub struct FilterArgs {
    /// Created on or after this date: 2025-12-31, "2025-12-31 18:30" (in the configured time zone),
    /// 2025-12, today, yesterday, 7d (so long ago) or RFC 3339; a day without a time means its first
    /// instant
    #[arg(long, visible_alias = "created-after", value_name = "DATE")]
    pub from: Option<String>,
    /// Created before this date; a day without a time includes the whole day, so that
    /// --from 2025-12-31 --to 2025-12-31 is one whole day
    #[arg(long, visible_alias = "created-before", value_name = "DATE")]
    pub to: Option<String>,
    /// Status; may be repeated, or a list with commas, to match any of several
    #[arg(long, value_name = "STATUS", value_delimiter = ',', value_parser = name_of(&STATUSES))]
    pub status: Vec<&'static str>,
    /// Tag of the session's contact, by name or id; may be repeated, or a list with commas, to match
    /// any of several
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
    /// Channel, by name, number or id; may be repeated, or a list with commas, to match any of several
    #[arg(long = "channel", value_name = "CHANNEL")]
    pub channels: Vec<String>,
    /// Department, by name or id; may be repeated, or a list with commas: each department takes
    /// requests of its own
    #[arg(long = "department", value_name = "DEPARTMENT")]
    pub departments: Vec<String>,
    /// Agent of the session, by name, e-mail or user id; may be repeated, or a list with commas: each
    /// agent takes requests of its own
    #[arg(long = "agent", visible_alias = "user", value_name = "AGENT")]
    pub agents: Vec<String>,
    /// Contact, by id
    #[arg(long, value_name = "ID", value_parser = contact)]
    pub contact: Option<Uuid>,
    /// Type; only version 2 of the platform's session list has this filter
    #[arg(long = "type", value_name = "TYPE", value_parser = name_of(&KINDS))]
    pub kind: Option<&'static str>,
    /// Changed after this date
    #[arg(long, value_name = "DATE")]
    pub updated_after: Option<String>,
    /// Changed before this date; a day without a time includes the whole day
    #[arg(long, value_name = "DATE")]
    pub updated_before: Option<String>,
    /// Active after this date
    #[arg(long, value_name = "DATE")]
    pub active_after: Option<String>,
    /// Active before this date; a day without a time includes the whole day
    #[arg(long, value_name = "DATE")]
    pub active_before: Option<String>,
    /// Ended after this date
    #[arg(long, value_name = "DATE")]
    pub ended_after: Option<String>,
    /// Ended before this date; a day without a time includes the whole day
    #[arg(long, value_name = "DATE")]
    pub ended_before: Option<String>,
    /// Last interaction after this date
    #[arg(long, value_name = "DATE")]
    pub interacted_after: Option<String>,
    /// Last interaction before this date; a day without a time includes the whole day
    #[arg(long, value_name = "DATE")]
    pub interacted_before: Option<String>,
}

/// Parses an option's value as a contact's id.
fn contact(text: &str) -> Result<Uuid, String> {
    text.trim().parse().map_err(|_| {
        "must be a contact's id, such as 01234567-89ab-cdef-0123-456789abcdef; \
         helena-sync contacts shows the ids"
            .to_owned()
    })
}

/// The parsed filters, with ids instead of names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedFilter {
    /// The range of creation times.
    pub created: Span,
    /// One filter for each query: the platform takes one department and one user at a time. Never
    /// empty. The range of times of change is in [`SessionFilter::updated`].
    pub filters: Vec<SessionFilter>,
}

impl FilterArgs {
    /// The part of the filter that needs no request. Refuses wrong dates and statuses before any
    /// request is sent.
    fn checked(&self, calendar: &Calendar) -> Result<(Span, SessionFilter), Failure> {
        let window = |after_flag, after: &Option<String>, before_flag, before: &Option<String>| {
            span(
                calendar,
                (after_flag, after.as_deref()),
                (before_flag, before.as_deref()),
            )
        };
        let created = window("--from", &self.from, "--to", &self.to)?;
        let mut status = Vec::new();
        for &name in &self.status {
            if !status.iter().any(|known| known == name) {
                status.push(name.to_owned());
            }
        }
        let filter = SessionFilter {
            status,
            kind: self.kind.map(str::to_owned),
            contact: self.contact,
            updated: window(
                "--updated-after",
                &self.updated_after,
                "--updated-before",
                &self.updated_before,
            )?,
            active: window(
                "--active-after",
                &self.active_after,
                "--active-before",
                &self.active_before,
            )?,
            ended: window(
                "--ended-after",
                &self.ended_after,
                "--ended-before",
                &self.ended_before,
            )?,
            interacted: window(
                "--interacted-after",
                &self.interacted_after,
                "--interacted-before",
                &self.interacted_before,
            )?,
            ..SessionFilter::default()
        };
        Ok((created, filter))
    }

    /// What to say of ranges that begin in the future.
    pub fn remarks(&self, calendar: &Calendar) -> Result<Vec<String>, Failure> {
        let (created, filter) = self.checked(calendar)?;
        let spans = [
            ("--from", created),
            ("--updated-after", filter.updated),
            ("--active-after", filter.active),
            ("--ended-after", filter.ended),
            ("--interacted-after", filter.interacted),
        ];
        let remarks = spans.map(|(flag, span)| calendar.remark(flag, span));
        Ok(remarks.into_iter().flatten().collect())
    }

    /// The filters with names resolved to ids. Reads only those lists of the account that a filter
    /// needs.
    pub async fn resolve<S: Source>(
        &self,
        source: &S,
        calendar: &Calendar,
    ) -> Result<ResolvedFilter, Failure> {
        let (created, filter) = self.checked(calendar)?;
        let filter = SessionFilter {
            tags: resolve(source, Resource::Tags, "--tag", &self.tags).await?,
            channels: resolve(source, Resource::Channels, "--channel", &self.channels).await?,
            ..filter
        };
        let departments = resolve(
            source,
            Resource::Departments,
            "--department",
            &self.departments,
        )
        .await?;
        let users = resolve(source, Resource::Agents, "--agent", &self.agents).await?;
        let one_each = |ids: Vec<Uuid>| -> Vec<Option<Uuid>> {
            if ids.is_empty() {
                vec![None]
            } else {
                ids.into_iter().map(Some).collect()
            }
        };
        let users = one_each(users);
        let mut filters = Vec::new();
        for department in one_each(departments) {
            for &user in &users {
                filters.push(SessionFilter {
                    department,
                    user,
                    ..filter.clone()
                });
            }
        }
        Ok(ResolvedFilter { created, filters })
    }
}

async fn resolve<S: Source>(
    source: &S,
    resource: Resource,
    flag: &str,
    wanted: &[String],
) -> Result<Vec<Uuid>, Failure> {
    // An agent has two ids, and the filter takes one of them. So agents are looked up by id, too.
    let only_ids = wanted
        .iter()
        .all(|text| text.trim().parse::<Uuid>().is_ok());
    let catalog = if wanted.is_empty() || only_ids && resource != Resource::Agents {
        Catalog::empty(resource)
    } else {
        let page = source.list(resource).await.map_err(|error| {
            Failure::from(error).context(format!("cannot look up the names given by {flag}"))
        })?;
        Catalog::new(resource, &page)
    };
    catalog.resolve_all(flag, wanted)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::cli::Exit;
    use crate::data::{Head, Item, Page, PageQuery, SourceError, Timestamp, Usage};

    /// A platform with one list for every resource.
    struct Lists(&'static str);

    impl Source for Lists {
        async fn page(&self, _query: &PageQuery) -> Result<Page, SourceError> {
            unreachable!("names are looked up in lists")
        }

        async fn list(&self, _resource: Resource) -> Result<Page, SourceError> {
            Ok(Page::new(
                Arc::from(self.0),
                vec![Item {
                    head: Head::default(),
                    raw: 0..self.0.len(),
                }],
                Timestamp::from_micros(0),
            ))
        }

        async fn by_id(&self, _resource: Resource, _id: Uuid) -> Result<Page, SourceError> {
            unreachable!("names are looked up in lists")
        }

        fn usage(&self) -> Usage {
            Usage::default()
        }
    }

    const ID: &str = "00000000-0000-4000-8000-00000000000a";
    const LISTS: Lists = Lists(
        r#"{"id":"00000000-0000-4000-8000-00000000000a","userId":"00000000-0000-4000-8000-00000000000b","name":"Ana"}"#,
    );

    fn calendar() -> Calendar {
        Calendar {
            zone: "UTC".parse().unwrap(),
            now: Timestamp::parse("2026-03-10T12:00:00Z").unwrap(),
            day_first: false,
        }
    }

    async fn refused(args: FilterArgs) -> String {
        let failure = args.resolve(&LISTS, &calendar()).await.unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        failure.text()
    }

    #[tokio::test]
    async fn names_become_ids_and_several_users_become_several_questions() {
        let args = FilterArgs {
            tags: vec!["ana".into(), ID.into()],
            agents: vec!["Ana".into(), Uuid::from_u128(7).to_string()],
            status: vec!["IN_PROGRESS", "IN_PROGRESS"],
            from: Some("2025-12-31".into()),
            to: Some("2025-12-31".into()),
            ..FilterArgs::default()
        };
        let question = args.resolve(&LISTS, &calendar()).await.unwrap();
        assert_eq!(question.filters.len(), 2);
        let first = &question.filters[0];
        assert_eq!(first.tags, [ID.parse::<Uuid>().unwrap()]);
        assert_eq!(first.status, ["IN_PROGRESS"]);
        assert_eq!(
            first.user,
            Some(Uuid::from_u128(0x4000_8000_0000_0000_000b))
        );
        assert_eq!(question.filters[1].user, Some(Uuid::from_u128(7)));
        assert_eq!(
            question.created.before.unwrap().to_string(),
            "2026-01-01T00:00:00.000000Z"
        );
    }

    #[tokio::test]
    async fn an_unknown_name_is_refused_with_the_nearest() {
        for (args, expected) in [
            (
                FilterArgs {
                    tags: vec!["Anna".into()],
                    ..FilterArgs::default()
                },
                "no tag has the name \"Anna\" (similar: Ana)",
            ),
            (
                FilterArgs {
                    channels: vec!["Loja".into()],
                    ..FilterArgs::default()
                },
                "no channel has the name \"Loja\"; helena-sync channels",
            ),
        ] {
            let text = refused(args).await;
            assert!(text.contains(expected), "{text}");
        }
    }

    #[tokio::test]
    async fn a_wrong_date_and_an_empty_range_are_refused() {
        let text = refused(FilterArgs {
            from: Some("31/13/2025".into()),
            ..FilterArgs::default()
        })
        .await;
        assert!(
            text.contains("--from: \"31/13/2025\" is not a valid date (accepted: "),
            "{text}"
        );
        let text = refused(FilterArgs {
            ended_after: Some("2026-02-01".into()),
            ended_before: Some("2026-01-01".into()),
            ..FilterArgs::default()
        })
        .await;
        assert!(
            text.contains("--ended-after \"2026-02-01\" must be earlier than"),
            "{text}"
        );
    }
}
