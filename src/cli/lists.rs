//! `tags`, `channels`, `departments`, `agents`: the platform's small lists, live.

use std::io;

use clap::Args;
use serde_json::Value;

use super::flat::Records;
use super::record::{Fields, number, shown_at};
use super::waiting::patiently;
use super::{Context, Exit, Failure, meaning};
use crate::config::Zone;
use crate::data::{Resource, Source};
use crate::report::Format;

/// How a list is printed.
#[derive(Debug, Clone, Args)]
pub struct ListArgs {
    /// table, json (one array), ndjson (one record a line) or csv (every field a column, named as in
    /// the database, times in UTC); the table has the most important ones, as far as they fit
    #[arg(long, value_name = "FORMAT", default_value_t)]
    pub format: Format,
}

/// List the platform's tags, live.
///
/// Their names are what --tag takes. Asks the platform, not the database.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  helena-sync tags\n  helena-sync tags --format csv", args = meaning::hidden(meaning::LIVE))]
pub struct TagsArgs {
    /// Options of all lists.
    #[command(flatten)]
    pub list: ListArgs,
}

/// List the platform's channels, live.
///
/// Their names and numbers are what --channel takes. Asks the platform, not the database.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  helena-sync channels\n  helena-sync channels --format json", args = meaning::hidden(meaning::LIVE)
)]
pub struct ChannelsArgs {
    /// Options of all lists.
    #[command(flatten)]
    pub list: ListArgs,
}

/// List the platform's departments, live.
///
/// Their names are what --department takes. Asks the platform, not the database.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  helena-sync departments\n  helena-sync departments --format json", args = meaning::hidden(meaning::LIVE)
)]
pub struct DepartmentsArgs {
    /// Options of all lists.
    #[command(flatten)]
    pub list: ListArgs,
}

/// List the platform's agents, live.
///
/// Their names, e-mail addresses and user ids are what --user takes. Asks the platform, not the
/// database.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  helena-sync agents\n  helena-sync agents --format json", args = meaning::hidden(meaning::LIVE))]
pub struct AgentsArgs {
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

async fn list(
    context: &Context,
    resource: Resource,
    args: &ListArgs,
    columns: &[&str],
    cells: Cells,
) -> Result<Exit, Failure> {
    let zone = context.zone()?;
    let account = context.account()?;
    let client = account.client(context, &[], None)?;
    let page = patiently(context, &client, client.list(resource))
        .await?
        .map_err(|error| {
            Failure::from(error).context(format!("cannot list {resource} at {}", account.base_url))
        })?;
    let out = io::BufWriter::new(io::stdout());
    let mut records = Records::new(out, args.format, resource, columns)?;
    for item in &page.items {
        records.record(&page, item, |raw| {
            let value: Value = serde_json::from_str(raw).unwrap_or_default();
            cells(&Fields(&value), zone)
        })?;
    }
    let count = records.finish()?;
    context.note(&match count {
        0 => format!("the account has no {resource}"),
        count => format!("{} {resource}", number(count)),
    });
    Ok(Exit::Done)
}
