//! `tags`, `channels`, `agents` and the like: print a small list, read live from the platform.

use std::io;

use clap::Args;
use serde_json::Value;

use super::flat::Records;
use super::formats::RecordFormat;
use super::record::{Fields, number, shown_at};
use super::waiting::patiently;
use super::{Context, Exit, Failure, Patience, exact_is_for_csv, positive, refused_options};
use crate::config::Zone;
use crate::data::{Resource, Source, counted};
use crate::output::Format;

/// Options of all lists.
#[derive(Debug, Clone, Args)]
pub struct ListArgs {
    /// Print at most this many
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = positive::<usize>)]
    pub limit: Option<usize>,
    /// The format.
    #[command(flatten)]
    pub format: RecordFormat,
    /// With csv: write texts as they are. Otherwise those that a spreadsheet would take for formulas get
    /// an apostrophe
    #[arg(long)]
    pub exact: bool,
}

/// List tags, read live from the platform.
///
/// --tag accepts their names. Reads the platform, not the database.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  helena-sync tags\n  helena-sync tags --format csv", args = refused_options::hidden(refused_options::LIVE))]
pub struct TagsArgs {
    /// Options of all lists.
    #[command(flatten)]
    pub list: ListArgs,
}

/// List channels, read live from the platform.
///
/// --channel accepts their names and numbers. Reads the platform, not the database.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  helena-sync channels\n  helena-sync channels --format json", args = refused_options::hidden(refused_options::LIVE)
)]
pub struct ChannelsArgs {
    /// Options of all lists.
    #[command(flatten)]
    pub list: ListArgs,
}

/// List departments, read live from the platform.
///
/// --department accepts their names. Reads the platform, not the database.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  helena-sync departments\n  helena-sync departments --format json", args = refused_options::hidden(refused_options::LIVE)
)]
pub struct DepartmentsArgs {
    /// Options of all lists.
    #[command(flatten)]
    pub list: ListArgs,
}

/// List agents, read live from the platform.
///
/// --agent accepts their names, e-mail addresses and user ids. Reads the platform, not the database.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  helena-sync agents\n  helena-sync agents --format json", args = refused_options::hidden(refused_options::LIVE))]
pub struct AgentsArgs {
    /// Options of all lists.
    #[command(flatten)]
    pub list: ListArgs,
}

/// List custom fields, read live from the platform.
///
/// Prints the fields of contacts and of panels, with their options. Reads the platform, not the
/// database.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  helena-sync custom-fields\n  helena-sync custom-fields --format json", args = refused_options::hidden(refused_options::LIVE))]
pub struct CustomFieldsArgs {
    /// Options of all lists.
    #[command(flatten)]
    pub list: ListArgs,
}

/// List chatbots, read live from the platform.
///
/// Reads the platform, not the database.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  helena-sync chatbots\n  helena-sync chatbots --format json", args = refused_options::hidden(refused_options::LIVE))]
pub struct ChatbotsArgs {
    /// Options of all lists.
    #[command(flatten)]
    pub list: ListArgs,
}

/// List message templates, read live from the platform.
///
/// Reads the platform, not the database.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  helena-sync templates\n  helena-sync templates --format json", args = refused_options::hidden(refused_options::LIVE))]
pub struct TemplatesArgs {
    /// Options of all lists.
    #[command(flatten)]
    pub list: ListArgs,
}

/// List portfolios of contacts, read live from the platform.
///
/// Reads the platform, not the database.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  helena-sync portfolios\n  helena-sync portfolios --format json", args = refused_options::hidden(refused_options::LIVE))]
pub struct PortfoliosArgs {
    /// Options of all lists.
    #[command(flatten)]
    pub list: ListArgs,
}

/// List opening hours, read live from the platform.
///
/// Reads the platform, not the database.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  helena-sync office-hours\n  helena-sync office-hours --format json", args = refused_options::hidden(refused_options::LIVE))]
pub struct OfficeHoursArgs {
    /// Options of all lists.
    #[command(flatten)]
    pub list: ListArgs,
}

type Cells = fn(&Fields<'_>, Zone) -> Vec<String>;

pub(super) async fn tags(context: &Context, args: ListArgs) -> Result<Exit, Failure> {
    let columns = ["name", "color", "updated", "id"];
    list(context, Resource::Tags, &args, &columns, |fields, zone| {
        vec![
            fields.text(&["name"]).unwrap_or_default(),
            fields.text(&["color"]).unwrap_or_default(),
            shown_at(zone, fields.text(&["updatedAt"])),
            fields.text(&["id"]).unwrap_or_default(),
        ]
    })
    .await
}

pub(super) async fn channels(context: &Context, args: ListArgs) -> Result<Exit, Failure> {
    let columns = ["name", "number", "type", "active", "id"];
    list(context, Resource::Channels, &args, &columns, |fields, _| {
        vec![
            fields
                .text(&["identity", "displayName"])
                .or_else(|| fields.text(&["identity", "humanId"]))
                .unwrap_or_default(),
            fields
                .text(&["numberFormatted"])
                .or_else(|| fields.text(&["number"]))
                .unwrap_or_default(),
            fields.text(&["type"]).unwrap_or_default(),
            fields.text(&["active"]).unwrap_or_default(),
            fields.text(&["id"]).unwrap_or_default(),
        ]
    })
    .await
}

pub(super) async fn departments(context: &Context, args: ListArgs) -> Result<Exit, Failure> {
    let columns = ["name", "default", "agents", "id"];
    list(
        context,
        Resource::Departments,
        &args,
        &columns,
        |fields, _| {
            let agents = fields.0.get("agents").and_then(Value::as_array);
            vec![
                fields.text(&["name"]).unwrap_or_default(),
                fields.text(&["isDefault"]).unwrap_or_default(),
                agents
                    .map(|agents| agents.len().to_string())
                    .unwrap_or_default(),
                fields.text(&["id"]).unwrap_or_default(),
            ]
        },
    )
    .await
}

pub(super) async fn agents(context: &Context, args: ListArgs) -> Result<Exit, Failure> {
    let columns = ["name", "email", "profile", "availability", "user id"];
    list(context, Resource::Agents, &args, &columns, |fields, _| {
        vec![
            fields.text(&["name"]).unwrap_or_default(),
            fields.text(&["email"]).unwrap_or_default(),
            fields.text(&["profile"]).unwrap_or_default(),
            fields.text(&["availability"]).unwrap_or_default(),
            fields.text(&["userId"]).unwrap_or_default(),
        ]
    })
    .await
}

pub(super) async fn custom_fields(context: &Context, args: ListArgs) -> Result<Exit, Failure> {
    let columns = ["of", "key", "name", "type", "options", "id"];
    list(
        context,
        Resource::CustomFields,
        &args,
        &columns,
        |fields, _| {
            vec![
                cell(fields, "entityType"),
                cell(fields, "key"),
                cell(fields, "name"),
                cell(fields, "type"),
                names_of(fields.0.get("options")),
                cell(fields, "id"),
            ]
        },
    )
    .await
}

pub(super) async fn chatbots(context: &Context, args: ListArgs) -> Result<Exit, Failure> {
    let columns = ["name", "type", "status", "archived", "id", "key"];
    list(context, Resource::Chatbots, &args, &columns, |fields, _| {
        let all = ["name", "type", "publishStatus", "archived", "id", "key"];
        all.map(|field| cell(fields, field)).to_vec()
    })
    .await
}

pub(super) async fn templates(context: &Context, args: ListArgs) -> Result<Exit, Failure> {
    let columns = ["name", "category", "language", "status", "text", "id"];
    list(
        context,
        Resource::Templates,
        &args,
        &columns,
        |fields, _| {
            let all = ["name", "category", "language", "status", "text", "id"];
            all.map(|field| cell(fields, field)).to_vec()
        },
    )
    .await
}

pub(super) async fn portfolios(context: &Context, args: ListArgs) -> Result<Exit, Failure> {
    let columns = ["name", "type", "active", "contacts", "id"];
    list(
        context,
        Resource::Portfolios,
        &args,
        &columns,
        |fields, _| {
            let all = ["name", "type", "active", "contactsCount", "id"];
            all.map(|field| cell(fields, field)).to_vec()
        },
    )
    .await
}

pub(super) async fn office_hours(context: &Context, args: ListArgs) -> Result<Exit, Failure> {
    let columns = ["day", "from", "to", "time zone"];
    list(
        context,
        Resource::OfficeHours,
        &args,
        &columns,
        |fields, _| {
            let all = ["dayWeek", "startTime", "endTime", "timezoneDiff"];
            all.map(|field| cell(fields, field)).to_vec()
        },
    )
    .await
}

fn cell(fields: &Fields<'_>, field: &str) -> String {
    fields.text(&[field]).unwrap_or_default()
}

/// The names of objects in an array.
fn names_of(array: Option<&Value>) -> String {
    let objects = array.and_then(Value::as_array).into_iter().flatten();
    let names = objects.filter_map(|object| object.get("name")?.as_str());
    names.collect::<Vec<_>>().join(", ")
}

async fn list(
    context: &Context,
    resource: Resource,
    args: &ListArgs,
    columns: &[&str],
    cells: Cells,
) -> Result<Exit, Failure> {
    exact_is_for_csv(args.exact, args.format.chosen() == Format::Csv)?;
    let zone = context.zone()?;
    let account = context.account()?;
    let client = account.client(context, &[], Patience::Endless)?;
    let page = patiently(context, &client, client.list(resource))
        .await?
        .map_err(|error| {
            Failure::from(error).context(format!("cannot list {resource} at {}", account.base_url))
        })?;
    let out = io::BufWriter::new(io::stdout());
    let mut records = Records::new(out, args.format.chosen(), resource, columns, args.exact)?;
    for item in page.items.iter().take(args.limit.unwrap_or(usize::MAX)) {
        records.record(&page, item, |raw| {
            let value: Value = serde_json::from_str(raw).unwrap_or_default();
            cells(&Fields(&value), zone)
        })?;
    }
    let count = records.finish()?;
    let total = page.items.len() as u64;
    let of = |count| match resource {
        // One day has several of them.
        Resource::OfficeHours => format!("{} {resource}", number(count)),
        _ => counted(count, resource.descriptor().singular),
    };
    context.note(&match count {
        0 => format!("the account has no {resource}"),
        count if count < total => format!("{} of {}", number(count), of(total)),
        count => of(count),
    });
    Ok(Exit::Done)
}
