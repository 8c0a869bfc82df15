//! `sessions`: lists sessions, read live from the platform.

#![expect(
    clippy::doc_markdown,
    reason = "help texts are read in a terminal, where nothing renders back-quotes"
)]

use std::collections::HashSet;
use std::io;

use clap::Args;
use serde_json::Value;

use super::empty::explain;
use super::flat::{self, Records};
use super::record::{Fields, Footer, shown_at};
use super::waiting::patiently;
use super::{
    Context, Exit, Failure, FilterArgs, Patience, direction, exact_is_for_csv, positive,
    refused_options,
};
use crate::api::{Client, Detail, LiveQuery};
use crate::config::{DETAILS, Zone, one_of};
use crate::data::{Direction, Echo, Pager, Resource};
use crate::output::Format;

/// List sessions, read live from the platform.
///
/// Reads the platform and needs no database. Filters accept names of tags, channels, departments
/// and users. An unknown or ambiguous name is refused, and the message lists similar names or the
/// matching records.
///
/// The platform accepts one department and one user for each request. For several, sessions sends
/// several requests and needs --all to join the results.
///
/// If no session matches, it prints which filter is probably too narrow.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Dates: 2025-12-31, \"2025-12-31 18:30\" in the configured time zone, or RFC 3339. A day without a
time means the whole day: --to 2025-12-31 includes that day.

Examples:
  helena-sync sessions
  helena-sync sessions --status PENDING --department Vendas --all
  helena-sync sessions --from 2025-12-01 --to 2025-12-31 --tag VIP --all --format csv > vip.csv", args = refused_options::hidden(refused_options::LIVE))]
pub struct SessionsArgs {
    /// Which sessions.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Number of the page, from 1
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = positive::<u32>)]
    pub page: u32,
    /// Sessions on each page, 1 to 100 [default: 10; with --all 100]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub size: Option<u32>,
    /// Print all pages
    #[arg(long, conflicts_with = "page")]
    pub all: bool,
    /// Field to sort by: CreatedAt, UpdatedAt or LastInteractionAt [default: the platform's own
    /// order]
    #[arg(long, value_name = "FIELD", value_parser = order)]
    pub order_by: Option<&'static str>,
    /// ascending or descending; without --order-by it sorts by CreatedAt, since the platform ignores
    /// a direction without a field
    #[arg(long, value_name = "DIRECTION", value_parser = direction)]
    pub direction: Option<Direction>,
    /// Details to include: AgentDetails, DepartmentsDetails, ContactDetails,
    /// ChannelTypeDetails, ClassificationDetails, ChannelDetails or none; may be repeated
    /// [default: all]
    #[arg(long = "include", value_name = "DETAIL")]
    pub include: Vec<String>,
    /// table (the most important fields, as far as they fit), json (one array), ndjson (one record on
    /// each line) or csv (all columns, named as in the database, with times in UTC)
    #[arg(long, value_name = "FORMAT", default_value_t)]
    pub format: Format,
    /// With csv: write texts as they are. Otherwise those that a spreadsheet would take for formulas get
    /// an apostrophe
    #[arg(long)]
    pub exact: bool,
}

const COLUMNS: [&str; 9] = [
    "number",
    "status",
    "created",
    "updated",
    "contact",
    "agent",
    "department",
    "channel",
    "id",
];

/// Prints the list.
pub(super) async fn run(context: &Context, args: SessionsArgs) -> Result<Exit, Failure> {
    exact_is_for_csv(args.exact, args.format == Format::Csv)?;
    let zone = context.zone()?;
    let details = details(&args.include)?;
    let several = args.filter.departments.len().max(1) * args.filter.users.len().max(1) > 1;
    if several && !args.all {
        return Err(Failure::usage_text(
            "the platform accepts one department and one user for each request, and pages of several requests cannot be joined: add --all, or give one department and one user",
        ));
    }
    let account = context.account()?;
    let client = account.client(context, &[], Patience::Endless)?;
    let at =
        |failure: Failure| failure.context(format!("cannot list sessions at {}", account.base_url));
    let resolved = args.filter.resolve(&client, zone);
    let question = patiently(context, &client, resolved)
        .await?
        .map_err(|failure| match failure.exit {
            Exit::Usage => failure,
            _ => at(failure),
        })?;
    let size = args.size.unwrap_or(if args.all { 100 } else { 10 });
    let order_by = args
        .order_by
        .or_else(|| args.direction.map(|_| "CreatedAt"))
        .map(str::to_owned);
    let queries: Vec<LiveQuery> = question
        .filters
        .into_iter()
        .map(|filter| LiveQuery {
            filter,
            created: question.created,
            order_by: order_by.clone(),
            direction: args.direction,
            details: details.clone(),
            number: args.page,
            size,
            ..LiveQuery::default()
        })
        .collect();
    let printing = print(&client, &queries, &args, zone);
    let printed = patiently(context, &client, printing).await?.map_err(at)?;
    let footer = Footer {
        what: "sessions",
        count: printed.count,
        total: printed.total,
        page: args.page,
        size,
        all: args.all,
    };
    if let Some(order) = args.order_by.filter(|_| printed.disordered) {
        context.note(&ignored_order(order));
    }
    if footer.is_empty() {
        let text = patiently(context, &client, explain(&client, &queries))
            .await?
            .map_err(|error| at(error.into()))?;
        context.note(&text);
    } else {
        context.note(&footer.text());
    }
    Ok(Exit::Done)
}

/// The fields by which the platform is known to sort sessions. It silently ignores others
/// (API notes, 2).
const ORDERS: [&str; 3] = ["CreatedAt", "UpdatedAt", "LastInteractionAt"];

/// Parses an option's value as a field to sort by.
fn order(text: &str) -> Result<&'static str, String> {
    one_of(text, &ORDERS)
}

fn details(names: &[String]) -> Result<Vec<Detail>, Failure> {
    if names.is_empty() {
        return Ok(Detail::ALL.to_vec());
    }
    if names.len() == 1 && names[0].eq_ignore_ascii_case("none") {
        return Ok(Vec::new());
    }
    names
        .iter()
        .map(|name| {
            let name = one_of(name, &DETAILS)
                .map_err(|problem| Failure::usage_text(format!("--include: {problem}")))?;
            name.parse().map_err(Failure::usage)
        })
        .collect()
}

struct Printed {
    count: u64,
    total: Option<u64>,
    /// Whether the platform says that it ignored the order.
    disordered: bool,
}

/// The warning that the platform ignored the requested order.
pub(super) fn ignored_order(order: &str) -> String {
    format!("the platform ignored --order-by {order}; the list is in the platform's own order")
}

async fn print(
    client: &Client,
    queries: &[LiveQuery],
    args: &SessionsArgs,
    zone: Zone,
) -> Result<Printed, Failure> {
    // Several requests, or a list that changes while it is read, may show a session twice.
    let mut seen = HashSet::new();
    let mut total = None;
    let mut disordered = false;
    let out = io::BufWriter::new(io::stdout());
    let mut records = Records::new(out, args.format, Resource::Sessions, &COLUMNS, args.exact)?;
    for query in queries {
        let mut query = query.clone();
        let mut pager = Pager::new("the list of sessions");
        loop {
            let page = client.sessions(&query).await?;
            disordered |= page.order_echo == Echo::Other;
            if query.number == args.page {
                total = match (total, page.total) {
                    (Some(sum), Some(more)) => Some(sum + more),
                    (sum, more) => sum.or(more),
                };
            }
            let taken = pager.take(&page)?;
            for item in taken.fresh {
                if item.head.id.is_none_or(|id| seen.insert(id)) {
                    records.record(&page, item, |raw| cells(raw, zone))?;
                }
            }
            if !args.all || !taken.more {
                break;
            }
            query.number += 1;
        }
    }
    let count = records.finish()?;
    Ok(Printed {
        count,
        total,
        disordered,
    })
}

fn cells(raw: &str, zone: Zone) -> Vec<String> {
    let value: Value = serde_json::from_str(raw).unwrap_or_default();
    let fields = Fields(&value);
    vec![
        fields.text(&["number"]).unwrap_or_default(),
        fields.text(&["status"]).unwrap_or_default(),
        shown_at(zone, fields.text(&["createdAt"])),
        shown_at(zone, fields.text(&["updatedAt"])),
        fields
            .text(&["contactDetails", "name"])
            .or_else(|| fields.text(&["contactDetails", "phonenumberFormatted"]))
            .unwrap_or_default(),
        fields.text(&["agentDetails", "name"]).unwrap_or_default(),
        flat::department(&fields).unwrap_or_default(),
        fields
            .text(&["channelDetails", "displayName"])
            .or_else(|| fields.text(&["channelType"]))
            .unwrap_or_default(),
        fields.text(&["id"]).unwrap_or_default(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_becomes_cells_whatever_is_missing() {
        let zone = "America/Sao_Paulo".parse().unwrap();
        let raw = r#"{"id":"x","number":"2024","status":"PENDING","createdAt":"2026-01-01T03:00:00.1Z",
            "contactDetails":{"name":null,"phonenumberFormatted":"(11) 9"},"agentDetails":null,
            "departmentsDetails":[{"name":"Vendas"}],"channelType":"WEBCHAT"}"#;
        assert_eq!(
            cells(raw, zone),
            [
                "2024",
                "PENDING",
                "2026-01-01 00:00",
                "",
                "(11) 9",
                "",
                "Vendas",
                "WEBCHAT",
                "x"
            ]
        );
        assert_eq!(cells("[]", zone).join(""), "");
    }

    #[test]
    fn an_unknown_detail_is_refused_with_the_nearest() {
        let failure = details(&["AgentDetail".into()]).unwrap_err();
        assert!(failure.text().contains("similar: AgentDetails"));
        assert_eq!(details(&["none".into()]).unwrap(), []);
        assert_eq!(details(&[]).unwrap().len(), 6);
    }
}
