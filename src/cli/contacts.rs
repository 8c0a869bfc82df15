//! `contacts`: lists contacts, read live from the platform.

use std::io;
use std::sync::Arc;

use clap::Args;
use serde_json::Value;

use super::choices::{Choice, choice, name_of};
use super::dates::span;
use super::flat::Records;
use super::formats::RecordFormat;
use super::record::{Fields, Footer, shown_at};
use super::sessions::{FIELD_NAMES, field_name, page_size};
use super::state::stream_of;
use super::waiting::patiently;
use super::{
    Calendar, Context, Exit, Failure, Patience, directions, empty, exact_is_for_csv, positive,
    refused_options, sessions, within,
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
Dates: 2025-12-31, \"2025-12-31 18:30\" in the configured time zone, 2025-12, today, yesterday, 7d
(so long ago), or RFC 3339. A day without a time means the whole day; so does a month.

Examples:
  helena-sync contacts --size 50
  helena-sync contacts --status ARCHIVED --all --format ndjson
  helena-sync contacts --created-after 2026-01-01 --order-by updatedAt --limit 20", args = refused_options::hidden(refused_options::LIVE))]
pub struct ContactsArgs {
    /// Status of the contacts
    #[arg(long, value_name = "STATUS", default_value = "ACTIVE", value_parser = name_of(&CONTACT_STATUSES))]
    pub status: &'static str,
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
    /// Page to print; the first one is 1
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = positive::<u32>)]
    pub page: u32,
    /// Contacts on each page, 1 to 100; with --all and --limit, contacts in each request [default: 10;
    /// with --all 100, with --limit as many, at most 100]
    #[arg(long, value_name = "COUNT", value_parser = within(1, 100))]
    pub size: Option<u32>,
    /// Print every contact, from all pages
    #[arg(long, conflicts_with = "page")]
    pub all: bool,
    /// Print the first so many contacts, from as many pages as that takes
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = positive::<u64>, conflicts_with_all = ["page", "all"])]
    pub limit: Option<u64>,
    /// Time by which contacts are sorted [default: createdAt]
    #[arg(long, value_name = "FIELD", value_parser = orders())]
    pub order_by: Option<OrderField>,
    /// Order of these times: descending has the latest first [default: descending]
    #[arg(long, value_name = "DIRECTION", value_parser = directions())]
    pub direction: Option<Direction>,
    /// The format.
    #[command(flatten)]
    pub format: RecordFormat,
    /// With csv: write texts as they are. Otherwise those that a spreadsheet would take for formulas get
    /// an apostrophe
    #[arg(long)]
    pub exact: bool,
}

/// The statuses of contacts (API notes, 8).
pub(super) const CONTACT_STATUSES: [&str; 3] = ["ACTIVE", "ARCHIVED", "BLOCKED"];

/// The fields by which contacts can be sorted.
fn orders() -> Choice<OrderField> {
    let all = [OrderField::CreatedAt, OrderField::UpdatedAt];
    choice(all.map(|field| (field_name(field), field))).also(&FIELD_NAMES)
}

const COLUMNS: [&str; 7] = ["name", "phone", "email", "tags", "created", "updated", "id"];

/// Prints the list.
pub(super) async fn run(context: &Context, args: ContactsArgs) -> Result<Exit, Failure> {
    exact_is_for_csv(args.exact, args.format.chosen() == Format::Csv)?;
    let zone = context.zone()?;
    let calendar = context.calendar()?;
    let mut query = query(&args, &calendar)?;
    for (flag, span) in [
        ("--created-after", query.created),
        ("--updated-after", query.updated),
    ] {
        if let Some(remark) = calendar.remark(flag, span) {
            context.note(&remark);
        }
    }
    let account = context.account()?;
    let client = account.client(context, &[], Patience::Endless)?;
    let at =
        |failure: Failure| failure.context(format!("cannot list contacts at {}", account.base_url));
    let mut pager = Pager::new("the list of contacts");
    let mut total = None;
    let mut disordered = false;
    let out = io::BufWriter::new(io::stdout());
    let mut left = args.limit.unwrap_or(u64::MAX);
    let mut records = Records::new(
        out,
        args.format.chosen(),
        Resource::Contacts,
        &COLUMNS,
        args.exact,
    )?;
    loop {
        let page = patiently(context, &client, client.page(&query))
            .await?
            .map_err(|error| at(error.into()))?;
        total = page.total.or(total);
        disordered |= page.order_echo == Echo::Other;
        // A list that changes while it is read may show a contact twice.
        let taken = pager.take(&page).map_err(|error| at(error.into()))?;
        let room = usize::try_from(left).unwrap_or(usize::MAX);
        for item in taken.fresh.into_iter().take(room) {
            records.record(&page, item, |raw| cells(raw, zone))?;
            left -= 1;
        }
        if !args.all && args.limit.is_none() || !taken.more || left == 0 {
            break;
        }
        query.number += 1;
    }
    let count = records.finish()?;
    if let Some(order) = args.order_by.filter(|_| disordered) {
        context.note(&sessions::ignored_order(field_name(order)));
    }
    let status = query.stream.partition;
    let footer = Footer {
        what: "contact",
        which: &format!(" with status {status}"),
        count,
        total,
        page: args.page,
        size: query.size,
        all: args.all,
        limited: args.limit.is_some(),
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

fn query(args: &ContactsArgs, calendar: &Calendar) -> Result<PageQuery, Failure> {
    Ok(PageQuery {
        stream: stream_of(Resource::Contacts, args.status)?,
        created: span(
            calendar,
            ("--created-after", args.created_after.as_deref()),
            ("--created-before", args.created_before.as_deref()),
        )?,
        updated: span(
            calendar,
            ("--updated-after", args.updated_after.as_deref()),
            ("--updated-before", args.updated_before.as_deref()),
        )?,
        filter: Arc::new(SessionFilter::default()),
        order: Some(Order {
            field: args.order_by.unwrap_or(OrderField::CreatedAt),
            direction: args.direction.unwrap_or(Direction::Descending),
        }),
        number: args.page,
        size: page_size(args.size, args.all, args.limit),
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
