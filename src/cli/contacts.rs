//! `contacts`: lists contacts, read live from the platform.

use std::io;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::dates::span;
use super::flat::Records;
use super::record::{Fields, Footer, shown_at};
use super::state::stream_of;
use super::waiting::patiently;
use super::{
    Context, Exit, Failure, Patience, direction, empty, exact_is_for_csv, positive,
    refused_options, sessions,
};
use crate::api::Client;
use crate::config::Zone;
use crate::data::{
    Direction, Echo, Order, OrderField, PageQuery, Pager, Resource, SessionFilter, Source,
    SourceError, Span,
};
use crate::output::Format;

/// List contacts, read live from the platform.
///
/// Reads the platform, not the database. The platform lists the contacts of one status at a time, and
/// can only filter them by the dates of creation and of the last change.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Dates: 2025-12-31, \"2025-12-31 18:30\" in the configured time zone, or RFC 3339. A day without a
time means the whole day.

Examples:
  helena-sync contacts --size 50
  helena-sync contacts --status ARCHIVED --all --format ndjson
  helena-sync contacts --created-after 2026-01-01 --order-by created --direction descending", args = refused_options::hidden(refused_options::LIVE))]
pub struct ContactsArgs {
    /// Status of the contacts: ACTIVE, ARCHIVED or BLOCKED
    #[arg(long, value_name = "STATUS", default_value = "ACTIVE")]
    pub status: String,
    /// Created on or after this date
    #[arg(long, visible_alias = "from", value_name = "DATE")]
    pub created_after: Option<String>,
    /// Created before this date; a day without a time includes the whole day
    #[arg(long, visible_alias = "to", value_name = "DATE")]
    pub created_before: Option<String>,
    /// Changed after this date
    #[arg(long, value_name = "DATE")]
    pub updated_after: Option<String>,
    /// Changed before this date; a day without a time includes the whole day
    #[arg(long, value_name = "DATE")]
    pub updated_before: Option<String>,
    /// Number of the page, from 1
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = positive::<u32>)]
    pub page: u32,
    /// Contacts on each page, 1 to 100 [default: 10; with --all 100]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub size: Option<u32>,
    /// Print all pages
    #[arg(long, conflicts_with = "page")]
    pub all: bool,
    /// Field to sort by [default: the platform's own order]
    #[arg(long, value_name = "FIELD", ignore_case = true)]
    pub order_by: Option<ContactOrder>,
    /// ascending or descending; without --order-by it sorts by created
    #[arg(long, value_name = "DIRECTION", value_parser = direction)]
    pub direction: Option<Direction>,
    /// table (the most important fields, as far as they fit), json (one array), ndjson (one record on
    /// each line) or csv (all columns, named as in the database, with times in UTC)
    #[arg(long, value_name = "FORMAT", default_value_t)]
    pub format: Format,
    /// With csv: write texts as they are. Otherwise those that a spreadsheet would take for formulas get
    /// an apostrophe
    #[arg(long)]
    pub exact: bool,
}

/// The fields by which contacts can be sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ContactOrder {
    /// Time of creation
    #[value(alias = "CreatedAt")]
    Created,
    /// Time of the last change
    #[value(alias = "UpdatedAt")]
    Updated,
}

impl ContactOrder {
    /// As the user types it.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
        }
    }
}

const COLUMNS: [&str; 7] = ["name", "phone", "email", "tags", "created", "updated", "id"];

/// Prints the list.
pub(super) async fn run(context: &Context, args: ContactsArgs) -> Result<Exit, Failure> {
    exact_is_for_csv(args.exact, args.format == Format::Csv)?;
    let zone = context.zone()?;
    let mut query = query(&args, zone)?;
    let account = context.account()?;
    let client = account.client(context, &[], Patience::Endless)?;
    let at =
        |failure: Failure| failure.context(format!("cannot list contacts at {}", account.base_url));
    let mut pager = Pager::new("the list of contacts");
    let mut total = None;
    let mut disordered = false;
    let out = io::BufWriter::new(io::stdout());
    let mut records = Records::new(out, args.format, Resource::Contacts, &COLUMNS, args.exact)?;
    loop {
        let page = patiently(context, &client, client.page(&query))
            .await?
            .map_err(|error| at(error.into()))?;
        total = page.total.or(total);
        disordered |= page.order_echo == Echo::Other;
        // A list that changes while it is read may show a contact twice.
        let taken = pager.take(&page).map_err(|error| at(error.into()))?;
        for item in taken.fresh {
            records.record(&page, item, |raw| cells(raw, zone))?;
        }
        if !args.all || !taken.more {
            break;
        }
        query.number += 1;
    }
    let count = records.finish()?;
    if let Some(order) = args.order_by.filter(|_| disordered) {
        context.note(&sessions::ignored_order(order.as_str()));
    }
    let status = query.stream.partition;
    let footer = Footer {
        what: &format!("contacts with status {status}"),
        count,
        total,
        page: args.page,
        size: query.size,
        all: args.all,
    };
    if footer.is_empty() {
        let text = patiently(context, &client, explain(&client, &query))
            .await?
            .map_err(|error| at(error.into()))?;
        context.note(&text);
    } else {
        context.note(&footer.text());
    }
    Ok(Exit::Done)
}

/// Says which filter is probably too narrow. Sends one request for each filter and for each other
/// status.
async fn explain(client: &Client, query: &PageQuery) -> Result<String, SourceError> {
    let status = query.stream.partition;
    if query.created.is_open() && query.updated.is_open() {
        return Ok(format!(
            "there is no contact with status {status}; --status shows those with another status"
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
    for stream in query.stream.resource.streams() {
        if stream.partition != status {
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
    let field = args
        .order_by
        .or(args.direction.map(|_| ContactOrder::Created));
    Ok(PageQuery {
        stream: stream_of(Resource::Contacts, &args.status)?,
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
