//! `sessions`: lists sessions, read live from the platform.

use std::collections::{HashSet, VecDeque};
use std::io;

use clap::Args;
use serde_json::Value;

use super::choices::{Choice, choice};
use super::empty::explain;
use super::flat::{self, Records};
use super::formats::RecordFormat;
use super::record::{Fields, Footer, shown_at};
use super::waiting::patiently;
use super::{
    Context, Exit, Failure, FilterArgs, Patience, directions, exact_is_for_csv, positive,
    refused_options, within,
};
use crate::api::{Client, Detail, LiveQuery};
use crate::config::Zone;
use crate::data::{Direction, Echo, Item, OrderField, Page, Pager, Resource};
use crate::output::Format;

/// List sessions, read live from the platform.
///
/// Reads the platform and needs no database. Filters accept names of tags, channels, departments
/// and agents, in any case and without accents. An unknown or ambiguous name is refused, and the
/// message lists similar names or the matching records.
///
/// Prints the newest 10 sessions. --page prints another page of them, --limit the first so many,
/// --all every session. --order-by and --direction change the order. The platform accepts one
/// department and one agent for each request. For several, sessions sends several requests, needs
/// --all or --limit, and joins the results in one order.
///
/// If no session matches, it prints which filter is probably too narrow.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Dates: 2025-12-31, \"2025-12-31 18:30\" in the configured time zone, 2025-12, today, yesterday, 7d
(so long ago), or RFC 3339. A day without a time means the whole day: --to 2025-12-31 includes that
day; so does a month.

Examples:
  helena-sync sessions
  helena-sync sessions --status PENDING --department Vendas,Suporte --all
  helena-sync sessions --from 7d --agent ana --limit 50 --json
  helena-sync sessions --from 2025-12-01 --to 2025-12-31 --tag VIP --all --format csv > vip.csv", args = refused_options::hidden(refused_options::LIVE))]
pub struct SessionsArgs {
    /// Which sessions.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Page to print; the first one is 1
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = positive::<u32>)]
    pub page: u32,
    /// Sessions on each page, 1 to 100; with --all and --limit, sessions in each request [default: 10;
    /// with --all 100, with --limit as many, at most 100]
    #[arg(long, value_name = "COUNT", value_parser = within(1, 100))]
    pub size: Option<u32>,
    /// Print every session, from all pages
    #[arg(long, conflicts_with = "page")]
    pub all: bool,
    /// Print the first so many sessions, from as many pages as that takes
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = positive::<u64>, conflicts_with_all = ["page", "all"])]
    pub limit: Option<u64>,
    /// Time by which sessions are sorted [default: createdAt]
    #[arg(long, value_name = "FIELD", value_parser = orders())]
    pub order_by: Option<OrderField>,
    /// Order of these times: descending has the latest first [default: descending]
    #[arg(long, value_name = "DIRECTION", value_parser = directions())]
    pub direction: Option<Direction>,
    /// Details that each session comes with, or none; may be repeated, or a list with commas [default: all]
    #[arg(long = "include", value_name = "DETAIL", value_delimiter = ',', value_parser = included())]
    pub include: Vec<Option<Detail>>,
    /// The format.
    #[command(flatten)]
    pub format: RecordFormat,
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

impl SessionsArgs {
    /// The order of the list: the newest first, unless asked for otherwise. The platform's own order
    /// is not known.
    fn order(&self) -> (OrderField, Direction) {
        (
            self.order_by.unwrap_or(OrderField::CreatedAt),
            self.direction.unwrap_or(Direction::Descending),
        )
    }
}

/// Prints the list.
pub(super) async fn run(context: &Context, args: SessionsArgs) -> Result<Exit, Failure> {
    exact_is_for_csv(args.exact, args.format.chosen() == Format::Csv)?;
    let zone = context.zone()?;
    let calendar = context.calendar()?;
    let details = details(&args.include)?;
    for remark in args.filter.remarks(&calendar)? {
        context.note(&remark);
    }
    let account = context.account()?;
    let client = account.client(context, &[], Patience::Endless)?;
    let at =
        |failure: Failure| failure.context(format!("cannot list sessions at {}", account.base_url));
    let resolved = args.filter.resolve(&client, &calendar);
    let question = patiently(context, &client, resolved)
        .await?
        .map_err(|failure| match failure.exit {
            Exit::Usage => failure,
            _ => at(failure),
        })?;
    if question.filters.len() > 1 && !args.all && args.limit.is_none() {
        return Err(Failure::usage_text(
            "the platform accepts one department and one agent for each request, and pages of several requests cannot be joined: add --all or --limit, or give one department and one agent",
        ));
    }
    let size = page_size(args.size, args.all, args.limit);
    let (field, direction) = args.order();
    let queries: Vec<LiveQuery> = question
        .filters
        .into_iter()
        .map(|filter| LiveQuery {
            filter,
            created: question.created,
            order_by: Some(platform_name(field).to_owned()),
            direction: Some(direction),
            details: details.clone(),
            number: args.page,
            size,
            ..LiveQuery::default()
        })
        .collect();
    let printing = print(&client, &queries, &args, zone);
    let printed = patiently(context, &client, printing).await?.map_err(at)?;
    let footer = Footer {
        what: "session",
        which: "",
        count: printed.count,
        total: printed.total,
        page: args.page,
        size,
        all: args.all,
        limited: args.limit.is_some(),
    };
    if let Some(order) = args.order_by.filter(|_| printed.disordered) {
        context.note(&ignored_order(field_name(order)));
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
fn orders() -> Choice<OrderField> {
    let all = [
        OrderField::CreatedAt,
        OrderField::UpdatedAt,
        OrderField::LastInteractionAt,
    ];
    choice(all.map(|field| (field_name(field), field))).also(&FIELD_NAMES)
}

/// A field as the user types it, and as the records have it.
pub(super) const fn field_name(field: OrderField) -> &'static str {
    match field {
        OrderField::CreatedAt => "createdAt",
        OrderField::UpdatedAt => "updatedAt",
        OrderField::LastInteractionAt => "lastInteractionAt",
    }
}

/// Further names of the fields: those of columns, and short ones.
pub(super) const FIELD_NAMES: [(&str, &[&str]); 3] = [
    ("createdAt", &["created", "created_at"]),
    ("updatedAt", &["updated", "updated_at"]),
    ("lastInteractionAt", &["interacted", "last_interaction_at"]),
];

/// As the platform spells it.
fn platform_name(field: OrderField) -> &'static str {
    match field {
        OrderField::CreatedAt => "CreatedAt",
        OrderField::UpdatedAt => "UpdatedAt",
        OrderField::LastInteractionAt => "LastInteractionAt",
    }
}

/// Records on each page: as many as asked for, or what serves best.
pub(super) fn page_size(size: Option<u32>, all: bool, limit: Option<u64>) -> u32 {
    size.unwrap_or(match limit {
        Some(limit) => u32::try_from(limit.min(100)).unwrap_or(100),
        None if all => 100,
        None => 10,
    })
}

/// The details, and none of them.
fn included() -> Choice<Option<Detail>> {
    let all = Detail::ALL.map(|detail| (detail.as_str(), Some(detail)));
    choice(all.into_iter().chain([("none", None)]))
}

fn details(named: &[Option<Detail>]) -> Result<Vec<Detail>, Failure> {
    if named.is_empty() {
        return Ok(Detail::ALL.to_vec());
    }
    if named.len() > 1 && named.contains(&None) {
        return Err(Failure::usage_text(
            "--include: none excludes all details. Leave it, or the other details, out.",
        ));
    }
    let mut details: Vec<Detail> = named.iter().copied().flatten().collect();
    details.sort_unstable();
    details.dedup();
    Ok(details)
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

/// One query and what of its pages was not printed yet.
struct Reading {
    query: LiveQuery,
    pager: Pager,
    page: Option<Page>,
    waiting: VecDeque<Item>,
    more: bool,
}

impl Reading {
    fn new(query: &LiveQuery) -> Self {
        Self {
            query: query.clone(),
            pager: Pager::new("the list of sessions"),
            page: None,
            waiting: VecDeque::new(),
            more: true,
        }
    }

    /// Reads pages until a record waits, or until there is none.
    async fn fill(&mut self, client: &Client, whole: bool) -> Result<(), Failure> {
        while self.waiting.is_empty() && self.more {
            if self.page.is_some() {
                self.query.number += 1;
            }
            let page = client.sessions(&self.query).await?;
            let taken = self.pager.take(&page)?;
            self.waiting.extend(taken.fresh.into_iter().cloned());
            self.more = taken.more && whole;
            self.page = Some(page);
        }
        Ok(())
    }
}

/// Which of the readings has the record that comes first in the order. A record without the field
/// comes at once, so that it holds none up.
fn first_of(readings: &[Reading], field: OrderField, direction: Direction) -> Option<usize> {
    let heads = readings.iter().enumerate().filter_map(|(index, reading)| {
        let head = &reading.waiting.front()?.head;
        let at = match field {
            OrderField::CreatedAt => head.created_at,
            OrderField::UpdatedAt => head.updated_at,
            OrderField::LastInteractionAt => head.last_interaction_at,
        };
        Some((at, index))
    });
    let first = heads.min_by(|(one, _), (other, _)| match (one, other, direction) {
        (Some(one), Some(other), Direction::Descending) => other.cmp(one),
        (one, other, _) => one.cmp(other),
    });
    first.map(|(_, index)| index)
}

/// Prints the sessions of all queries in one order.
async fn print(
    client: &Client,
    queries: &[LiveQuery],
    args: &SessionsArgs,
    zone: Zone,
) -> Result<Printed, Failure> {
    let (field, direction) = args.order();
    let whole = args.all || args.limit.is_some();
    let mut left = args.limit.unwrap_or(u64::MAX);
    // Several requests, or a list that changes while it is read, may show a session twice.
    let mut seen = HashSet::new();
    let mut total: Option<u64> = None;
    let mut disordered = false;
    let out = io::BufWriter::new(io::stdout());
    let mut records = Records::new(
        out,
        args.format.chosen(),
        Resource::Sessions,
        &COLUMNS,
        args.exact,
    )?;
    let mut readings: Vec<Reading> = queries.iter().map(Reading::new).collect();
    for reading in &mut readings {
        reading.fill(client, whole).await?;
        if let Some(page) = &reading.page {
            disordered |= page.order_echo == Echo::Other;
            total = match (total, page.total) {
                (Some(sum), Some(more)) => Some(sum + more),
                (sum, more) => sum.or(more),
            };
        }
    }
    while left > 0
        && let Some(index) = first_of(&readings, field, direction)
    {
        let reading = &mut readings[index];
        if let (Some(item), Some(page)) = (reading.waiting.pop_front(), &reading.page)
            && item.head.id.is_none_or(|id| seen.insert(id))
        {
            records.record(page, &item, |raw| cells(raw, zone))?;
            left -= 1;
        }
        reading.fill(client, whole).await?;
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
    fn details_are_all_some_or_none() {
        assert_eq!(details(&[]).unwrap().len(), 6);
        assert_eq!(details(&[None]).unwrap(), []);
        let some = [
            Some(Detail::Contact),
            Some(Detail::Agent),
            Some(Detail::Agent),
        ];
        assert_eq!(details(&some).unwrap(), [Detail::Agent, Detail::Contact]);
        let both = details(&[None, Some(Detail::Agent)]).unwrap_err();
        assert!(both.text().contains("none excludes all details"));
    }
}
