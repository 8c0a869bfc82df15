//! `check`: checks the configuration, the database, and what the token may read.

#![warn(
    clippy::wildcard_enum_match_arm,
    reason = "each layer decides about every case of a failure"
)]

mod surroundings;

pub(super) use surroundings::{large_log, network_risk};

use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use secrecy::SecretString;
use uuid::Uuid;

use super::formats::TextOrJson;
use super::record::number;
use super::{Account, Context, Exit, Failure, Patience, place};
use crate::api::{Client, DateHeader};
use crate::config;
use crate::data::{
    Page, PageQuery, Resource, SessionFilter, Source, SourceError, Span, counted, with_causes,
};
use crate::doorbell::Address;
use crate::output::{Format, Printer, cell, terminal_width, wrapped};
use crate::store::{OpenOptions, Store, StoreError};
use crate::sync;

/// Check the configuration, the database and what the token may read.
///
/// Reads every section of the configuration. Opens the database and checks that it is writable, has the
/// right encoding and no pooler that confuses it, and that nobody unexpected can read it. Shows the
/// time zone, and which variables of the environment are ignored.
/// Requests one record of each resource in sync.resources with each account's token: twelve
/// requests for each account, and up to four more to compare both versions of the session list or
/// to find out why a request is refused. With doorbell.listen, one more checks that the platform rings.
/// Checks that the token belongs to the company whose data is
/// stored. Reports if the token is accepted in an unusual form, and if the platform's Date header
/// differs from this machine's clock by more than a minute. Prints each result as it comes, and in the
/// end what to do next. Changes nothing.
///
/// Exits with 0 if all is well, and with 1 if a check failed. Exits with 2 if the configuration is
/// wrong, or if a token belongs to another company than the stored data. Exits with 3 if the API
/// refuses the tokens for every resource.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  helena-sync check
  helena-sync check --json")]
pub struct CheckArgs {
    /// The format.
    #[command(flatten)]
    pub format: TextOrJson,
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Good,
    Failed,
    Refused,
    Skipped,
    /// Not mirrored, so not requested.
    LeftOut,
    /// A hint, not a failure.
    Noted,
    /// The configuration is wrong, which only an answer of the platform could show.
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
            Self::Noted => "note",
            Self::Wrong => "wrong",
        }
    }
}

impl From<Exit> for Outcome {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Done => Self::Good,
            Exit::Failed => Self::Failed,
            Exit::Usage => Self::Wrong,
            Exit::Refused => Self::Refused,
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

/// How long a request may spend on retries here: enough for a short failure, not for an outage.
const PATIENCE: Duration = Duration::from_secs(10);

/// After this time without an answer, a person is told.
const SOON: Duration = Duration::from_secs(3);

/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// A smaller difference between clocks is not reported.
const WORTH_NOTING: Duration = Duration::from_mins(1);

/// Checks everything and prints what it found.
pub(super) async fn run(context: &Context, args: CheckArgs) -> Result<Exit, Failure> {
    let settings = &context.settings;
    let database = context.database()?;
    let resources = settings.sync()?.resources;
    settings.check()?;
    let accounts = context.accounts()?;
    let mut findings = Findings::new(args.format.is_json())?;
    findings.add(Finding {
        account: String::new(),
        what: "configuration".into(),
        place: settings
            .file()
            .map_or_else(String::new, |file| file.display().to_string()),
        outcome: Outcome::Good,
        detail: if settings.file().is_some() {
            "file, environment and defaults".into()
        } else {
            "environment and defaults, no file".into()
        },
    })?;
    for finding in surroundings::of_configuration(context)? {
        findings.add(finding)?;
    }
    let (finding, store, migrates) = check_database(&database).await?;
    let is_new = migrates && finding.outcome == Outcome::Good;
    findings.add(finding)?;
    for finding in surroundings::of_database(&database, store.as_ref()).await {
        findings.add(finding)?;
    }
    let store = match store {
        // Its tables are still to be created or changed.
        Some(store) if migrates => {
            store.close().await;
            None
        }
        store => store,
    };
    let secret = doorbell_secret(context)?;
    let mut companies: Vec<(Uuid, &str)> = Vec::new();
    for account in &accounts {
        let client = account.client(context, &[], Patience::Within(PATIENCE))?;
        let checked = Api {
            context,
            client: &client,
            account,
            resources: &resources,
        };
        let (company, ahead) = checked.check(&mut findings).await?;
        if let Some(secret) = &secret {
            let (outcome, detail) = checked.doorbell(secret).await;
            findings.add(checked.finding("doorbell".into(), outcome, detail))?;
        }
        if let Some(detail) = interactions(store.as_ref(), &account.name, ahead).await {
            findings.add(Finding {
                account: account.name.clone(),
                what: "interactions".into(),
                place: account.base_url.to_string(),
                outcome: Outcome::Noted,
                detail,
            })?;
        }
        let Some(company) = company else { continue };
        let wrong = match companies.iter().find(|(known, _)| *known == company) {
            Some((_, other)) => Some((
                Outcome::Wrong,
                format!(
                    "the token belongs to the same company as account {other:?}; remove one of the \
                     two from the configuration"
                ),
            )),
            None => mismatch(store.as_ref(), &account.name, company).await,
        };
        companies.push((company, &account.name));
        if let Some((outcome, detail)) = wrong {
            findings.add(Finding {
                account: account.name.clone(),
                what: "company".into(),
                place: account.base_url.to_string(),
                outcome,
                detail,
            })?;
        }
    }
    if let Some(store) = store {
        store.close().await;
    }
    let findings = findings.finish()?;
    let exit = exit(&findings);
    let origins = context.token_origins();
    context.note(&verdict(&findings, &origins, exit, is_new));
    Ok(exit)
}

/// What the findings come to, and the next command. `origins` are where the tokens come from.
fn verdict(findings: &[Finding], origins: &[String], exit: Exit, is_new: bool) -> String {
    let failed = |finding: &&Finding| {
        let outcome = finding.outcome;
        matches!(outcome, Outcome::Failed | Outcome::Refused | Outcome::Wrong)
    };
    let failed: Vec<&Finding> = findings.iter().filter(failed).collect();
    let mut names: Vec<&str> = failed.iter().map(|finding| finding.what.as_str()).collect();
    names.dedup();
    let all = |outcome| failed.iter().all(|finding| finding.outcome == outcome);
    // After no answer at all, the rest of the account is not tried.
    let is_unreachable = |failed: &&Finding| {
        let mut skipped = findings.iter().filter(|it| it.outcome == Outcome::Skipped);
        skipped.any(|it| it.account == failed.account)
    };
    let again = "then run `helena-sync check` again";
    let advice = match exit {
        Exit::Done if is_new => {
            return "all is well; `helena-sync run` creates the mirror and keeps it up to date"
                .to_owned();
        }
        Exit::Done => {
            return "all is well; `helena-sync run` keeps the mirror up to date, `helena-sync status` shows \
                    how far it is"
                .to_owned();
        }
        Exit::Refused if all(Outcome::Refused) => format!(
            "the platform refuses the token: create one under Integrations > API ({}), {again}",
            origins.join("; ")
        ),
        Exit::Usage if all(Outcome::Wrong) => format!("change the configuration, {again}"),
        Exit::Failed if failed.iter().all(is_unreachable) => {
            format!("check the base URL and the network, {again}")
        }
        Exit::Failed if all(Outcome::Refused) => format!(
            "give the token the missing rights, or remove these resources from sync.resources; {again}"
        ),
        // One advice would hide the others.
        Exit::Refused | Exit::Usage | Exit::Failed => {
            format!("the lines above say what to do; {again}")
        }
    };
    format!(
        "{} did not succeed ({}): {advice}",
        counted(names.len() as u64, "check"),
        names.join(", ")
    )
}

fn exit(findings: &[Finding]) -> Exit {
    let of_api = || {
        let tells = |outcome| !matches!(outcome, Outcome::LeftOut | Outcome::Noted);
        findings
            .iter()
            .filter(move |finding| !finding.account.is_empty() && tells(finding.outcome))
    };
    let refused = |finding: &Finding| finding.outcome == Outcome::Refused;
    let well = |finding: &Finding| {
        let outcome = finding.outcome;
        matches!(outcome, Outcome::Good | Outcome::LeftOut | Outcome::Noted)
    };
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

/// Why the token's company does not match the stored data, if it does not.
async fn mismatch(store: Option<&Store>, name: &str, company: Uuid) -> Option<(Outcome, String)> {
    let error = store?.check_company(name, company).await.err()?;
    Some((Outcome::from(Exit::of_store(&error)), with_causes(&error)))
}

/// The doorbell's secret, if run listens for the platform.
fn doorbell_secret(context: &Context) -> Result<Option<SecretString>, Failure> {
    let (doorbell, warning) = context.settings.doorbell()?;
    if let Some(warning) = warning {
        tracing::warn!("{warning}");
    }
    Ok(doorbell.secret.filter(|_| doorbell.listen.is_some()))
}

/// Checks the database. Returns the store if it can be opened, and whether its tables are still to be created
/// or changed.
async fn check_database(
    database: &config::Database,
) -> Result<(Finding, Option<Store>, bool), Failure> {
    let found = |outcome, detail: String| Finding {
        account: String::new(),
        what: "database".into(),
        place: database.url.to_string(),
        outcome,
        detail,
    };
    // Before SQLite opens the file: closing it here later would release SQLite's locks.
    let unwritable = database.url.sqlite_file().and_then(place::unwritable);
    if database
        .url
        .sqlite_file()
        .is_some_and(|path| !path.exists())
    {
        let finding = match unwritable {
            None => found(
                Outcome::Good,
                "does not exist yet; the first run or sync creates it".into(),
            ),
            Some(refused) => found(Outcome::Failed, refused),
        };
        return Ok((finding, None, true));
    }
    let failed = |error: &StoreError| {
        let outcome = match Exit::of_store(error) {
            Exit::Usage => Outcome::Wrong,
            Exit::Done | Exit::Failed | Exit::Refused => Outcome::Failed,
        };
        (found(outcome, with_causes(error)), None, false)
    };
    let options = OpenOptions { read_only: true };
    let store = match Store::open(database.url.expose(), &options).await {
        Ok(store) => store.sharing(database.shared),
        Err(error @ StoreError::Url(_)) => return Err(error.into()),
        Err(error) => return Ok(failed(&error)),
    };
    let (detail, migrating) = match store.check_schema().await {
        Ok(()) => (format!("{}, tables up to date", store.kind()), false),
        Err(StoreError::TooOld { missing }) if database.migrate => (
            format!(
                "{}, {} to apply; the next run or sync applies them",
                store.kind(),
                counted(missing.len() as u64, "migration")
            ),
            true,
        ),
        Err(error) => {
            store.close().await;
            return Ok((found(Outcome::Failed, with_causes(&error)), None, false));
        }
    };
    let finding = match (unwritable, store.lacking(migrating).await) {
        (Some(refused), _) => found(Outcome::Failed, format!("{detail}, but {refused}")),
        (_, Err(error)) => found(Outcome::Failed, with_causes(&error)),
        (_, Ok(lacking)) if lacking.is_empty() => found(Outcome::Good, detail),
        (_, Ok(lacking)) => found(
            Outcome::Failed,
            format!(
                "{detail}, but not writable; grant the role the missing privileges: {}",
                lacking.join("; ")
            ),
        ),
    };
    Ok((finding, Some(store), migrating))
}

/// Reports sessions whose last interaction is later than their `updatedAt`, whether on the page that
/// this check read or in earlier syncs.
async fn interactions(store: Option<&Store>, name: &str, on_page: u64) -> Option<String> {
    let stored = async {
        let store = store?;
        let account = store.find_account(name).await.ok()??;
        let statuses = store.stream_statuses(account.id).await.ok()?;
        let of_sessions = statuses
            .into_iter()
            .find(|status| status.interactions_ahead_at.is_some())?;
        Some(of_sessions.interactions_ahead)
    };
    // A database that cannot be read is reported on its own.
    let stored = stored.await.unwrap_or(0);
    (stored > 0 || on_page > 0).then(|| {
        let seen = if stored > 0 {
            format!("earlier syncs read {} with", counted(stored, "session"))
        } else {
            "this check read a session with".to_owned()
        };
        format!(
            "{seen} a lastInteractionDate later than updatedAt: messages do not always change \
             updatedAt, so syncs follow both fields"
        )
    })
}

/// The part of the check that asks the platform.
struct Api<'a> {
    context: &'a Context,
    client: &'a Client,
    account: &'a Account,
    resources: &'a [Resource],
}

impl Api<'_> {
    fn finding(&self, what: String, outcome: Outcome, detail: String) -> Finding {
        Finding {
            account: self.account.name.clone(),
            what,
            place: self.account.base_url.to_string(),
            outcome,
            detail,
        }
    }

    /// Checks what the token may read of these resources. Returns the token's company, if a record names it,
    /// and how many of the sessions that were read have an interaction later than their last change.
    async fn check(&self, findings: &mut Findings) -> Result<(Option<Uuid>, u64), Failure> {
        let mut company = None;
        let mut ahead = 0;
        let mut unreachable = false;
        for resource in Resource::ALL {
            let (outcome, detail) = if !self.resources.contains(&resource) {
                (Outcome::LeftOut, "not in sync.resources".to_owned())
            } else if unreachable {
                (Outcome::Skipped, String::new())
            } else {
                match self.soon(resource, ask(self.client, resource)).await {
                    Ok(page) => {
                        company = company.or_else(|| sync::owner(&page));
                        ahead += sync::interactions_ahead(resource, &page);
                        readable(self.client, resource, &page).await
                    }
                    Err(error) => {
                        unreachable = matches!(error, SourceError::Unavailable { .. });
                        (Outcome::from(Exit::of_source(&error)), error.to_string())
                    }
                }
            };
            findings.add(self.finding(resource.to_string(), outcome, detail))?;
        }
        let notes = [
            ("token", how_sent(self.client)),
            ("clock", clock(self.client)),
        ];
        for (what, detail) in notes {
            if let Some(detail) = detail {
                findings.add(self.finding(what.to_owned(), Outcome::Noted, detail))?;
            }
        }
        Ok((company, ahead))
    }

    /// Checks whether the platform rings the doorbell.
    async fn doorbell(&self, secret: &SecretString) -> (Outcome, String) {
        let subscriptions = match self.client.subscriptions().await {
            Ok(subscriptions) => subscriptions,
            Err(error) => return (Outcome::from(Exit::of_source(&error)), error.to_string()),
        };
        let address = Address::new(secret, &self.account.name);
        match address.judge(&subscriptions, self.resources).problem() {
            None => (
                Outcome::Good,
                "the platform rings when something changes".into(),
            ),
            Some(problem) => (Outcome::Failed, problem.to_owned()),
        }
    }

    /// Waits for an answer. Says after some seconds that none came, and gives up then if there is no
    /// connection at all.
    async fn soon(
        &self,
        resource: Resource,
        answer: impl Future<Output = Result<Page, SourceError>>,
    ) -> Result<Page, SourceError> {
        let begun = self.context.clock.running();
        let mut was_told = false;
        let mut answer = std::pin::pin!(answer);
        loop {
            tokio::select! {
                answer = &mut answer => return answer,
                () = self.context.clock.sleep(LOOK) => {}
            }
            if self.context.clock.elapsed(begun) < SOON {
                continue;
            }
            let trouble = self.client.trouble();
            if let Some(trouble) = trouble.as_ref().filter(|trouble| trouble.unreachable) {
                return Err(SourceError::Unavailable {
                    request: format!("a request for {resource} to {}", trouble.place),
                    attempts: 0,
                    detail: trouble.detail.clone(),
                });
            }
            if !was_told {
                was_told = true;
                let why = trouble.map_or_else(String::new, |it| format!(" ({})", it.detail));
                self.context.note(&format!(
                    "no usable answer from {} yet{why}; waiting for up to {} s",
                    self.account.base_url,
                    PATIENCE.as_secs()
                ));
            }
        }
    }
}

/// Reports a token that is accepted in an unusual form.
fn how_sent(client: &Client) -> Option<String> {
    let told = "the API accepts the token only without the word Bearer, so it is sent without it";
    client.learned().bare_token.then(|| told.to_owned())
}

/// Reports a platform clock that is missing or wrong.
fn clock(client: &Client) -> Option<String> {
    let (by, which) = match client.date_header()? {
        DateHeader::Missing => {
            let told = "answers have no readable Date header (a proxy may remove it): syncs read some \
                        records twice to be safe, and nothing is lost";
            return Some(told.to_owned());
        }
        DateHeader::Ahead(by) => (by, "ahead of"),
        DateHeader::Behind(by) => (by, "behind"),
    };
    (by > WORTH_NOTING).then(|| {
        let by = humantime::format_duration(Duration::from_secs(by.as_secs()));
        format!(
            "the Date header of answers is {by} {which} this machine's clock: one of the two is wrong; \
             check this machine's clock"
        )
    })
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

/// How many records a readable resource has, and whether the API shows all of them.
async fn readable(client: &Client, resource: Resource, page: &Page) -> (Outcome, String) {
    let count = page
        .total
        .unwrap_or(u64::try_from(page.items.len()).unwrap_or(u64::MAX));
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "all resources but these are lists"
    )]
    let text = match resource {
        Resource::Sessions => return sessions(client, &counted(count, "session")).await,
        Resource::Contacts => counted(count, "active contact"),
        // One day has several of them.
        Resource::OfficeHours => format!("{} opening hours", number(count)),
        _ => counted(count, resource.descriptor().singular),
    };
    (Outcome::Good, text)
}

/// Which version of the session list is read, and whether the other version shows the same number.
async fn sessions(client: &Client, count: &str) -> (Outcome, String) {
    let totals = client.session_totals().await;
    let version = client.session_version().number();
    let told = |more: &str| format!("{count} (list version {version}{more})");
    let totals = match totals {
        Ok(Some(totals)) => totals,
        Ok(None) if client.learned().session_list.is_some() => {
            return (Outcome::Good, told("; version 2 does not answer"));
        }
        Ok(None) => return (Outcome::Good, told("")),
        // The version that syncs read has answered, so this is not a failure.
        Err(error) => {
            let told = told("");
            let text = format!("{told}; could not compare it with the other version: {error}");
            return (Outcome::Good, text);
        }
    };
    let outcome = if totals.lacks() {
        Outcome::Failed
    } else {
        Outcome::Good
    };
    let difference = totals.difference();
    let difference = difference.map_or_else(String::new, |text| format!("; {text}"));
    (outcome, format!("{}{difference}", told("")))
}

/// Prints findings as they come, and keeps them.
struct Findings {
    list: Vec<Finding>,
    /// `None` for text.
    json: Option<Printer<io::Stdout>>,
    width: Option<u16>,
}

/// The widths of the first columns of text.
const WHAT: usize = 14;
const RESULT: usize = 10;

impl Findings {
    fn new(json: bool) -> Result<Self, Failure> {
        let columns = ["account", "what", "where", "result", "detail"];
        let json = if json {
            Some(Printer::new(io::stdout(), Format::Json, &columns, None)?)
        } else {
            None
        };
        Ok(Self {
            list: Vec::new(),
            json,
            width: terminal_width(),
        })
    }

    fn add(&mut self, finding: Finding) -> Result<(), Failure> {
        if let Some(printer) = &mut self.json {
            let json = serde_json::json!({
                "account": if finding.account.is_empty() { None } else { Some(&finding.account) },
                "what": finding.what,
                "where": finding.place,
                "result": finding.outcome.as_str(),
                "detail": finding.detail,
            });
            printer.record(&[], &json.to_string())?;
        } else {
            let mut out = io::stdout().lock();
            let is_new = |last: &Finding| last.account != finding.account;
            if self.list.last().is_some_and(is_new) {
                writeln!(out, "account {} at {}", finding.account, finding.place)?;
            }
            writeln!(out, "{}", finding.text(self.width))?;
            out.flush()?;
        }
        self.list.push(finding);
        Ok(())
    }

    fn finish(self) -> Result<Vec<Finding>, Failure> {
        if let Some(printer) = self.json {
            printer.finish()?;
        }
        Ok(self.list)
    }
}

impl Finding {
    /// One line, or more on a narrow terminal.
    fn text(&self, width: Option<u16>) -> String {
        let place = if self.account.is_empty() && !self.place.is_empty() {
            format!("{}: ", self.place)
        } else {
            String::new()
        };
        let (what, outcome) = (&self.what, self.outcome.as_str());
        let detail = cell(&self.detail);
        let line = format!("{what:<WHAT$} {outcome:<RESULT$} {place}{detail}");
        // Below the details, if there is room.
        let indent = if width.is_some_and(|width| usize::from(width) < 60) {
            2
        } else {
            WHAT + RESULT + 2
        };
        let text = wrapped(line.trim_end(), width, &" ".repeat(indent));
        text.trim_end().to_owned()
    }
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
    fn a_finding_fits_narrow_terminals_and_breaks_no_word() {
        let finding = Finding {
            what: "database".into(),
            place: "sqlite://helena.db".into(),
            detail: "does not exist yet; the first run or sync creates it".into(),
            ..finding("", Outcome::Good)
        };
        insta::assert_snapshot!(finding.text(Some(80)), @r"
        database       ok         sqlite://helena.db: does not exist yet; the first run
                                  or sync creates it
        ");
        insta::assert_snapshot!(finding.text(Some(40)), @r"
        database       ok
          sqlite://helena.db: does not exist
          yet; the first run or sync creates it
        ");
        assert_eq!(finding.text(None).lines().count(), 1);
    }

    #[test]
    fn one_cause_has_its_advice_and_several_causes_that_of_the_lines_above() {
        let origins = ["HELENA_API_TOKEN".to_owned()];
        let of = |outcome, account: &str, what: &str| Finding {
            what: what.into(),
            ..finding(account, outcome)
        };
        let told = |findings: &[Finding]| verdict(findings, &origins, exit(findings), false);
        let database = || of(Outcome::Failed, "", "database");
        let tags = |outcome| of(outcome, "a", "tags");
        let skipped = || of(Outcome::Skipped, "a", "channels");
        let good = || of(Outcome::Good, "a", "sessions");
        let several = "the lines above say what to do; then run `helena-sync check` again";
        for (findings, advice) in [
            (
                vec![tags(Outcome::Failed), skipped()],
                "check the base URL and the network",
            ),
            (vec![database(), tags(Outcome::Failed), skipped()], several),
            (
                vec![tags(Outcome::Refused), good()],
                "give the token the missing rights",
            ),
            (vec![database(), tags(Outcome::Refused), good()], several),
            (
                vec![tags(Outcome::Refused)],
                "create one under Integrations > API (HELENA_API_TOKEN)",
            ),
            (vec![database(), tags(Outcome::Refused)], several),
            (vec![tags(Outcome::Wrong)], "change the configuration"),
            (vec![database(), tags(Outcome::Wrong)], several),
        ] {
            let text = told(&findings);
            assert!(text.contains(advice), "{text}");
        }
        assert!(
            told(&[database(), tags(Outcome::Wrong)])
                .starts_with("2 checks did not succeed (database, tags)")
        );
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
