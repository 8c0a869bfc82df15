//! `check`: configuration, database, and what the token may read.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use uuid::Uuid;

use super::record::number;
use super::{Account, Context, Exit, Failure};
use crate::api::Client;
use crate::config;
use crate::data::{Page, PageQuery, Resource, SessionFilter, Source, SourceError, Span};
use crate::report::{Format, Printer};
use crate::store::{OpenOptions, Store, StoreError};
use crate::sync;

/// Check configuration, database and what the token may read.
///
/// Reads every section of the configuration, opens the database and looks whether it may be written
/// to, and asks the API for one record of each resource in sync.resources with each account's token:
/// at most six requests an account, and two more where sessions are refused, to find out why.
/// Compares whose token it is with whose data is stored. Changes nothing.
///
/// Exits with 0 if all is well, 1 if something failed, 2 if the configuration is wrong, also in that
/// a token is of another company than the account's data, 3 if the API refuses a token everywhere.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  helena-sync check
  helena-sync check --json")]
pub struct CheckArgs {
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Good,
    Failed,
    Refused,
    Skipped,
    /// Not mirrored, so not asked for.
    LeftOut,
    /// The configuration is wrong in what only the platform can tell.
    Wrong,
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Skipped => "not tried",
            Self::LeftOut => "left out",
            Self::Wrong => "wrong",
        }
    }
}

/// One line of the result.
struct Finding {
    account: String,
    what: String,
    place: String,
    outcome: Outcome,
    detail: String,
}

/// How long a request may spend on retries here: enough for a hiccup, not for an outage.
const PATIENCE: Duration = Duration::from_secs(10);

/// Checks everything and prints what it found.
pub(super) async fn run(context: &Context, args: CheckArgs) -> Result<Exit, Failure> {
    let settings = &context.settings;
    let database = context.database()?;
    let resources = settings.sync()?.resources;
    context.zone()?;
    settings.backfill()?;
    settings.store()?;
    settings.verify()?;
    let accounts = context.accounts()?;
    let mut findings = vec![Finding {
        account: String::new(),
        what: "configuration".into(),
        place: settings
            .file()
            .map_or_else(String::new, |file| file.display().to_string()),
        outcome: Outcome::Good,
        detail: if settings.file().is_some() {
            "file, environment and defaults".into()
        } else {
            "environment and defaults; no file".into()
        },
    }];
    let (finding, store) = check_database(&database).await?;
    findings.push(finding);
    let mut companies: Vec<(Uuid, &str)> = Vec::new();
    for account in &accounts {
        let client = account.client(context, &[], Some(PATIENCE))?;
        let (found, company) = check_api(&client, account, &resources).await;
        findings.extend(found);
        let Some(company) = company else { continue };
        let wrong = match companies.iter().find(|(known, _)| *known == company) {
            Some((_, other)) => Some((
                Outcome::Wrong,
                format!(
                    "belongs to the same company as account {other:?}: remove one of them from \
                     the configuration"
                ),
            )),
            None => mismatch(store.as_ref(), &account.name, company).await,
        };
        companies.push((company, &account.name));
        if let Some((outcome, detail)) = wrong {
            findings.push(Finding {
                account: account.name.clone(),
                what: "company".into(),
                place: account.base_url.to_string(),
                outcome,
                detail,
            });
        }
    }
    if let Some(store) = store {
        store.close().await;
    }
    print(&findings, args.json)?;
    Ok(exit(&findings))
}

fn exit(findings: &[Finding]) -> Exit {
    let of_api = || {
        findings
            .iter()
            .filter(|finding| !finding.account.is_empty() && finding.outcome != Outcome::LeftOut)
    };
    let refused = |finding: &Finding| finding.outcome == Outcome::Refused;
    let well = |finding: &Finding| matches!(finding.outcome, Outcome::Good | Outcome::LeftOut);
    if findings
        .iter()
        .any(|finding| finding.outcome == Outcome::Wrong)
    {
        Exit::Usage
    } else if findings.iter().all(well) {
        Exit::Done
    } else if of_api().next().is_some() && of_api().all(refused) {
        Exit::Refused
    } else {
        Exit::Failed
    }
}

/// Why what is stored and whose token it is do not go together.
async fn mismatch(store: Option<&Store>, name: &str, company: Uuid) -> Option<(Outcome, String)> {
    let error = store?.check_company(name, company).await.err()?;
    let outcome = match error {
        StoreError::SameCompany { .. } | StoreError::OtherCompany { .. } => Outcome::Wrong,
        _ => Outcome::Failed,
    };
    Some((outcome, chain(&error)))
}

/// The database, and the store if its tables can be read.
async fn check_database(database: &config::Database) -> Result<(Finding, Option<Store>), Failure> {
    let found = |outcome, detail: String| Finding {
        account: String::new(),
        what: "database".into(),
        place: database.url.to_string(),
        outcome,
        detail,
    };
    // Only to look: a check creates no file. What is not there yet is no mistake as long as its
    // folder is.
    if let Some(path) = database.url.sqlite_file().filter(|path| !path.exists()) {
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let finding = match std::fs::metadata(folder) {
            Ok(meta) if meta.is_dir() && !meta.permissions().readonly() => found(
                Outcome::Good,
                "does not exist yet; run, sync, backfill and migrate create it".into(),
            ),
            Ok(_) => found(Outcome::Failed, "its folder cannot be written to".into()),
            Err(error) => found(Outcome::Failed, format!("its folder: {error}")),
        };
        return Ok((finding, None));
    }
    // Opened for writing and not written to, a file stays as it was. Not while SQLite has it open:
    // closing it here would take SQLite's locks away.
    let writable = database.url.sqlite_file().map_or(Ok(()), |path| {
        std::fs::OpenOptions::new().write(true).open(path).map(drop)
    });
    let options = OpenOptions { read_only: true };
    let store = match Store::open(database.url.expose(), &options).await {
        Ok(store) => store,
        Err(error @ StoreError::Url(_)) => return Err(error.into()),
        Err(error) => return Ok((found(Outcome::Failed, chain(&error)), None)),
    };
    let (detail, migrating) = match store.check_schema().await {
        Ok(()) => (format!("{}, tables up to date", store.kind()), false),
        Err(StoreError::TooOld { missing }) if database.migrate => (
            format!(
                "{}, {} migration(s) to apply; run, sync, backfill and migrate do",
                store.kind(),
                missing.len()
            ),
            true,
        ),
        Err(error) => {
            store.close().await;
            return Ok((found(Outcome::Failed, chain(&error)), None));
        }
    };
    let finding = match (writable, store.lacking(migrating).await) {
        (Err(error), _) => found(
            Outcome::Failed,
            format!("{detail}, but it cannot be written to: {error}"),
        ),
        (_, Err(error)) => found(Outcome::Failed, chain(&error)),
        (_, Ok(lacking)) if lacking.is_empty() => found(Outcome::Good, detail),
        (_, Ok(lacking)) => found(
            Outcome::Failed,
            format!(
                "{detail}, but it cannot be written to: its role lacks {}",
                lacking.join("; ")
            ),
        ),
    };
    if migrating {
        store.close().await;
        return Ok((finding, None));
    }
    Ok((finding, Some(store)))
}

/// An error and its causes on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

/// What the token may read of these resources, and the company it belongs to, if a record tells.
async fn check_api(
    client: &Client,
    account: &Account,
    resources: &[Resource],
) -> (Vec<Finding>, Option<Uuid>) {
    let mut findings = Vec::new();
    let mut company = None;
    let mut unreachable = false;
    for resource in Resource::ALL {
        let (outcome, detail) = if !resources.contains(&resource) {
            (Outcome::LeftOut, "not in sync.resources".to_owned())
        } else if unreachable {
            (Outcome::Skipped, String::new())
        } else {
            match ask(client, resource).await {
                Ok(page) => {
                    company = company.or_else(|| sync::owner(&page));
                    (Outcome::Good, readable(client, resource, &page))
                }
                Err(error) => {
                    unreachable = matches!(error, SourceError::Unavailable { .. });
                    let outcome = match error {
                        SourceError::Refused { .. } => Outcome::Refused,
                        _ => Outcome::Failed,
                    };
                    (outcome, error.to_string())
                }
            }
        };
        findings.push(Finding {
            account: account.name.clone(),
            what: resource.to_string(),
            place: account.base_url.to_string(),
            outcome,
            detail,
        });
    }
    (findings, company)
}

async fn ask(client: &Client, resource: Resource) -> Result<Page, SourceError> {
    let Some(stream) = resource.streams().first().copied() else {
        return client.list(resource).await;
    };
    let query = PageQuery {
        stream,
        created: Span::OPEN,
        updated: Span::OPEN,
        filter: Arc::new(SessionFilter::default()),
        order: None,
        number: 1,
        size: 1,
    };
    client.page(&query).await
}

fn readable(client: &Client, resource: Resource, page: &Page) -> String {
    let count = page
        .total
        .unwrap_or(u64::try_from(page.items.len()).unwrap_or(u64::MAX));
    let count = number(count);
    match resource {
        Resource::Sessions => format!(
            "{count} sessions (list version {})",
            client.session_version()
        ),
        Resource::Contacts => format!("{count} active contacts"),
        _ => format!("{count} {resource}"),
    }
}

fn print(findings: &[Finding], json: bool) -> Result<(), Failure> {
    let format = if json { Format::Json } else { Format::Table };
    let columns = ["account", "what", "where", "result", "detail"];
    let mut printer = Printer::new(io::stdout(), format, &columns, None)?;
    for finding in findings {
        let cells = [
            finding.account.clone(),
            finding.what.clone(),
            finding.place.clone(),
            finding.outcome.as_str().to_owned(),
            finding.detail.clone(),
        ];
        let json = serde_json::json!({
            "account": if finding.account.is_empty() { None } else { Some(&finding.account) },
            "what": finding.what,
            "where": finding.place,
            "result": finding.outcome.as_str(),
            "detail": finding.detail,
        });
        printer.record(&cells, &json.to_string())?;
    }
    printer.finish()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(account: &str, outcome: Outcome) -> Finding {
        Finding {
            account: account.into(),
            what: String::new(),
            place: String::new(),
            outcome,
            detail: String::new(),
        }
    }

    #[test]
    fn a_token_refused_everywhere_is_3_and_on_one_resource_1() {
        let good = || finding("", Outcome::Good);
        let refused = || finding("a", Outcome::Refused);
        assert_eq!(exit(&[good(), finding("a", Outcome::Good)]), Exit::Done);
        assert_eq!(exit(&[good(), refused(), refused()]), Exit::Refused);
        assert_eq!(
            exit(&[good(), refused(), finding("a", Outcome::Good)]),
            Exit::Failed
        );
        assert_eq!(exit(&[finding("", Outcome::Failed)]), Exit::Failed);
        let left_out = || finding("a", Outcome::LeftOut);
        assert_eq!(exit(&[good(), left_out()]), Exit::Done);
        assert_eq!(exit(&[good(), refused(), left_out()]), Exit::Refused);
        let wrong = finding("b", Outcome::Wrong);
        assert_eq!(exit(&[good(), refused(), wrong]), Exit::Usage);
    }
}
