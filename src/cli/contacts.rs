//! `contacts`: the platform's list of contacts, live.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::dates::span;
use super::flat::Records;
use super::record::{Fields, Footer, shown_at};
use super::waiting::patiently;
use super::{Context, Exit, Failure, direction, empty, meaning, positive};
use crate::api::Client;
use crate::config::{Zone, one_of};
use crate::data::{
    CONTACT_STATUSES, Direction, Order, OrderField, PageQuery, Resource, SessionFilter, Source,
    SourceError, Span, Stream,
};
use crate::report::Format;

/// List the platform's contacts, live.
///
/// Asks the platform, not the database. The platform shows the contacts of one status at a time,
/// and filters them by the dates of creation and change only.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Dates: 2025-12-31, \"2025-12-31 18:30\" in the configured time zone, or RFC 3339. A day alone is
meant whole.

Examples:
  helena-sync contacts --size 50
  helena-sync contacts --status ARCHIVED --all --format ndjson
  helena-sync contacts --created-after 2026-01-01 --order-by created --direction descending", args = meaning::hidden(meaning::LIVE))]
pub struct ContactsArgs {
    /// ACTIVE, ARCHIVED or BLOCKED
    #[arg(long, value_name = "STATUS", default_value = "ACTIVE")]
    pub status: String,
    /// Created from this date on
    #[arg(long, visible_alias = "from", value_name = "DATE")]
    pub created_after: Option<String>,
    /// Created before this date, or until the end of this day
    #[arg(long, visible_alias = "to", value_name = "DATE")]
    pub created_before: Option<String>,
    /// Changed after this date
    #[arg(long, value_name = "DATE")]
    pub updated_after: Option<String>,
    /// Changed before this date, or until the end of this day
    #[arg(long, value_name = "DATE")]
    pub updated_before: Option<String>,
    /// Page, from 1
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = positive::<u32>)]
    pub page: u32,
    /// Contacts a page, 1 to 100 [default: 10; with --all 100]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub size: Option<u32>,
    /// All pages, from the first on
    #[arg(long, conflicts_with = "page")]
    pub all: bool,
    /// Field to order by [default: the platform's own order]
    #[arg(long, value_name = "FIELD", ignore_case = true)]
    pub order_by: Option<ContactOrder>,
    /// ascending or descending; alone it orders by created
    #[arg(long, value_name = "DIRECTION", value_parser = direction)]
    pub direction: Option<Direction>,
    /// table, json (one array), ndjson (one record a line) or csv (every field a column, named as in
    /// the database, times in UTC); the table has the most important ones, as far as they fit
    #[arg(long, value_name = "FORMAT", default_value_t)]
    pub format: Format,
}

/// What contacts can be ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ContactOrder {
    /// Time of creation
    #[value(alias = "CreatedAt")]
    Created,
    /// Time of the last change
    #[value(alias = "UpdatedAt")]
    Updated,
}

const COLUMNS: [&str; 7] = ["name", "phone", "email", "tags", "created", "updated", "id"];

/// Prints the list.
pub(super) async fn run(context: &Context, args: ContactsArgs) -> Result<Exit, Failure> {
    let zone = context.zone()?;
    let mut query = query(&args, zone)?;
    let account = context.account()?;
    let client = account.client(context, &[], None)?;
    let at =
        |failure: Failure| failure.context(format!("cannot list contacts at {}", account.base_url));
    // A list that moves while it is read shows some contacts twice.
    let mut seen = HashSet::new();
    let mut total = None;
    let out = io::BufWriter::new(io::stdout());
    let mut records = Records::new(out, args.format, Resource::Contacts, &COLUMNS)?;
    loop {
        let page = patiently(context, &client, client.page(&query))
            .await?
            .map_err(|error| at(error.into()))?;
        total = page.total.or(total);
        for item in &page.items {
            if item.head.id.is_none_or(|id| seen.insert(id)) {
                records.record(&page, item, |raw| cells(raw, zone))?;
            }
        }
        if !args.all || !page.has_more || page.items.is_empty() {
            break;
        }
        query.number += 1;
    }
    let count = records.finish()?;
    let status = query.stream.partition;
    if count == 0 && (args.page == 1 || total == Some(0)) {
        let text = patiently(context, &client, explain(&client, &query))
            .await?
            .map_err(|error| at(error.into()))?;
        context.note(&text);
        return Ok(Exit::Done);
    }
    let footer = Footer {
        what: &format!("contacts with status {status}"),
        count,
        total,
        page: args.page,
        size: query.size,
        all: args.all,
    };
    context.note(&footer.text());
    Ok(Exit::Done)
}

/// Says which filter probably emptied the list, at one request each, and one for each other status.
async fn explain(client: &Client, query: &PageQuery) -> Result<String, SourceError> {
    let status = query.stream.partition;
    if query.created.is_open() && query.updated.is_open() {
        return Ok(format!(
            "no contact with status {status} matches (--status shows others)"
        ));
    }
    let count = async |query: PageQuery| {
        let query = PageQuery {
            number: 1,
            size: 1,
            ..query
        };
        let page = client.page(&query).await?;
        Ok::<_, SourceError>(page.total.unwrap_or(page.items.len() as u64))
    };
    let mut counts = Vec::new();
    if !query.created.is_open() {
        let created = Span::OPEN;
        let without = PageQuery {
            created,
            ..query.clone()
        };
        counts.push(("--from/--to", count(without).await?));
    }
    if !query.updated.is_open() {
        let updated = Span::OPEN;
        let without = PageQuery {
            updated,
            ..query.clone()
        };
        counts.push(("--updated-after/-before", count(without).await?));
    }
    let mut others = 0;
    for partition in CONTACT_STATUSES {
        if partition != status {
            let stream = Stream {
                partition,
                ..query.stream
            };
            let other = PageQuery {
                stream,
                ..query.clone()
            };
            others += count(other).await?;
        }
    }
    counts.push(("--status", others));
    Ok(empty::text(
        &format!("contact with status {status}"),
        &counts,
    ))
}

fn query(args: &ContactsArgs, zone: Zone) -> Result<PageQuery, Failure> {
    let status = one_of(&args.status, &CONTACT_STATUSES)
        .map_err(|problem| Failure::usage_text(format!("--status: {problem}")))?;
    let field = args
        .order_by
        .or(args.direction.map(|_| ContactOrder::Created));
    Ok(PageQuery {
        stream: Stream {
            resource: Resource::Contacts,
            partition: status,
        },
        created: span(
            zone,
            ("--created-after", args.created_after.as_deref()),
            ("--created-before", args.created_before.as_deref()),
        )?,
        updated: span(
            zone,
            ("--updated-after", args.updated_after.as_deref()),
            ("--updated-before", args.updated_before.as_deref()),
        )?,
        filter: Arc::new(SessionFilter::default()),
        order: field.map(|field| Order {
            field: match field {
                ContactOrder::Created => OrderField::CreatedAt,
                ContactOrder::Updated => OrderField::UpdatedAt,
            },
            direction: args.direction.unwrap_or(Direction::Ascending),
        }),
        number: args.page,
        size: args.size.unwrap_or(if args.all { 100 } else { 10 }),
    })
}

fn cells(raw: &str, zone: Zone) -> Vec<String> {
    let value: Value = serde_json::from_str(raw).unwrap_or_default();
    let fields = Fields(&value);
    let tags: Vec<&str> = value
        .get("tagNames")
        .and_then(Value::as_array)
        .map(|tags| tags.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    vec![
        fields
            .text(&["name"])
            .or_else(|| fields.text(&["nameWhatsapp"]))
            .unwrap_or_default(),
        fields
            .text(&["phoneNumberFormatted"])
            .or_else(|| fields.text(&["phoneNumber"]))
            .unwrap_or_default(),
        fields.text(&["email"]).unwrap_or_default(),
        tags.join(", "),
        shown_at(zone, fields.text(&["createdAt"])),
        shown_at(zone, fields.text(&["updatedAt"])),
        fields.text(&["id"]).unwrap_or_default(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contact_becomes_cells_whatever_is_missing() {
        let zone = "UTC".parse().unwrap();
        let raw = r#"{"id":"x","nameWhatsapp":"Zé","phoneNumber":"+55|11","tagNames":["VIP",null,"B2B"]}"#;
        assert_eq!(
            cells(raw, zone),
            ["Zé", "+55|11", "", "VIP, B2B", "", "", "x"]
        );
    }
}
