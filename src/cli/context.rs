//! What every command needs: configuration, clock, accounts, database, log.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::recent_use::RecentUse;
use super::{Account, Calendar, Exit, Failure, Global, place};
use crate::api::Client;
use crate::clock::Clock;
use crate::config::{self, Environment, LogFormat, Settings, Zone};
use crate::data::{Source as _, Timestamp};
use crate::metrics;
use crate::store::{OpenOptions, Store};
use crate::telemetry;

/// How a command uses the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// The command reads it. Its tables must be those of this version.
    Read,
    /// The command writes to it. Its tables are migrated first, unless `database.migrate` is false.
    Write,
    /// The same, and the database is created if it does not exist.
    Create,
}

/// What every command needs.
pub struct Context {
    /// The configuration. Each command reads the sections that it needs.
    pub settings: Settings,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    selected: Vec<String>,
    json: bool,
    notes_are_logged: bool,
    quiet: bool,
    /// The time zone of the start, if the configuration was read again since.
    first_zone: Option<Zone>,
    /// The clients of accounts whose requests nothing else records, by the name of the account.
    used: Mutex<BTreeMap<String, Used>>,
}

/// A client of an account.
struct Used {
    recent: RecentUse,
    client: Client,
    since: Timestamp,
    window: Duration,
}

impl Context {
    /// Reads the configuration and starts the log.
    pub fn load(
        global: &Global,
        environment: Environment,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Failure> {
        let settings = Settings::load(global.config.as_deref(), environment, &global.flags())?;
        let log = settings.log()?;
        let located = settings.located_zone()?;
        telemetry::init(&telemetry::Options {
            json: log.format == LogFormat::Json,
            level: log.level,
            directives: settings.variable("RUST_LOG").map(str::to_owned),
            zone: located.zone.0,
            traces: telemetry::asks_for_traces(|name| settings.variable(name)),
        })?;
        if global.quiet {
            telemetry::screen().set_draw_target(indicatif::ProgressDrawTarget::hidden());
        }
        if let Some(problem) = located.problem {
            tracing::warn!("{problem}");
        }
        Ok(Self {
            settings,
            clock,
            selected: global.accounts.clone(),
            json: log.format == LogFormat::Json,
            notes_are_logged: false,
            quiet: global.quiet,
            first_zone: None,
            used: Mutex::default(),
        })
    }

    /// For a command whose stderr is a log: if log lines are JSON, notes are log lines, too.
    #[must_use]
    pub(super) fn of_log(mut self) -> Self {
        self.notes_are_logged = self.json;
        self
    }

    /// The same with other settings, for a process that goes on. The log and its time zone stay as they are.
    pub(super) fn renewed(&self, settings: Settings) -> Result<Self, Failure> {
        Ok(Self {
            settings,
            clock: Arc::clone(&self.clock),
            selected: self.selected.clone(),
            json: self.json,
            notes_are_logged: self.notes_are_logged,
            quiet: self.quiet,
            first_zone: Some(self.zone()?),
            used: Mutex::default(),
        })
    }

    /// With these settings only, and a log of errors only.
    pub(super) fn of_settings(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, Failure> {
        telemetry::init(&telemetry::Options {
            json: false,
            level: tracing::Level::ERROR,
            directives: settings.variable("RUST_LOG").map(str::to_owned),
            zone: settings.timezone()?.0,
            traces: false,
        })?;
        Ok(Self {
            settings,
            clock,
            selected: Vec::new(),
            json: false,
            notes_are_logged: false,
            quiet: false,
            first_zone: None,
            used: Mutex::default(),
        })
    }

    /// The time zone of dates.
    pub fn zone(&self) -> Result<Zone, Failure> {
        match self.first_zone {
            Some(zone) => Ok(zone),
            None => Ok(self.settings.timezone()?),
        }
    }

    /// How dates of the command line are read. In Portuguese, 05/06/2025 is a day in June.
    pub fn calendar(&self) -> Result<Calendar, Failure> {
        let language = ["LC_ALL", "LC_TIME", "LANG"]
            .into_iter()
            .filter_map(|name| self.settings.variable(name))
            .find(|text| !text.is_empty());
        Ok(Calendar {
            zone: self.zone()?,
            now: self.clock.now(),
            day_first: language.is_some_and(|text| text.to_lowercase().starts_with("pt")),
        })
    }

    /// The names of the accounts that `--account` chooses. Empty means all.
    pub fn selected(&self) -> &[String] {
        &self.selected
    }

    /// The chosen accounts. Never empty.
    pub fn accounts(&self) -> Result<Vec<Account>, Failure> {
        let accounts = self.settings.accounts()?;
        for warning in &accounts.warnings {
            tracing::warn!("{warning}");
        }
        let known: Vec<&str> = accounts.list.iter().map(|a| a.name.as_str()).collect();
        for name in &self.selected {
            if !known.contains(&name.as_str()) {
                return Err(Failure::usage_text(format!(
                    "--account: the configuration has no account {name:?} (it has: {})",
                    known.join(", ")
                )));
            }
        }
        let allow_http = self.settings.api()?.allow_http;
        accounts
            .list
            .into_iter()
            .filter(|account| self.is_selected(&account.name))
            .map(|account| Account::new(account, allow_http))
            .collect()
    }

    /// The chosen account, for commands that work on a single one.
    pub fn account(&self) -> Result<Account, Failure> {
        let mut accounts = self.accounts()?;
        if accounts.len() > 1 {
            let names: Vec<&str> = accounts.iter().map(|a| a.name.as_str()).collect();
            return Err(Failure::usage_text(format!(
                "the configuration has several accounts; choose one with --account ({})",
                names.join(", ")
            )));
        }
        accounts
            .pop()
            .ok_or_else(|| Failure::usage_text("the configuration has no account"))
    }

    /// The configured database.
    pub fn database(&self) -> Result<config::Database, Failure> {
        let database = self.settings.database()?;
        for name in database.url.unknown_parameters() {
            tracing::warn!(
                "the database address has an unknown parameter {name}; it has no effect"
            );
        }
        Ok(database)
    }

    /// Opens the database and makes sure that its tables are those of this version.
    pub async fn store(&self, access: Access) -> Result<Store, Failure> {
        let database = self.database()?;
        let doing = || format!("cannot use the database {}", database.url);
        let missing = database
            .url
            .sqlite_file()
            .is_some_and(|file| !file.exists());
        if missing && access != Access::Create {
            let command = if database.migrate { "sync" } else { "migrate" };
            return Err(Failure::failed(anyhow::anyhow!(
                "the database {} does not exist yet; run `helena-sync {command}` to create it",
                database.url
            )));
        }
        // Otherwise this would leave an empty file.
        if missing && !database.migrate {
            return Err(Failure::failed(anyhow::anyhow!(
                "the database {} does not exist yet, and database.migrate is false: run \
                 `helena-sync migrate` to create it",
                database.url
            )));
        }
        if access != Access::Read
            && let Some(file) = database.url.sqlite_file()
            && let Some(risk) = super::check::network_risk(file)
        {
            tracing::warn!("{risk}");
        }
        if access != Access::Read {
            // A mistake in the configuration must neither wait for the database nor come after migrations.
            self.settings.report()?;
        }
        if access != Access::Read
            && let Some(file) = database.url.sqlite_file()
            && !database.url.is_in_memory()
        {
            place::prepare(file).map_err(|why| {
                Failure::failed(anyhow::anyhow!(
                    "{why}; or choose another database with HELENA_DATABASE_URL"
                ))
                .context(doing())
            })?;
        }
        let options = OpenOptions {
            read_only: access == Access::Read,
        };
        let store = Store::open(database.url.expose(), &options)
            .await
            .map_err(|error| {
                let folder = database.url.sqlite_file().and_then(place::absent_folder);
                let folder = folder.map_or_else(String::new, |folder| {
                    format!(
                        ": the folder {} does not exist; create it",
                        folder.display()
                    )
                });
                Failure::from(error).context(doing() + &folder)
            })?
            .sharing(database.shared);
        if access != Access::Read && database.migrate {
            metrics::migrating(true);
            let applied = store.migrate().await;
            metrics::migrating(false);
            let applied = applied.map_err(|error| Failure::from(error).context(doing()))?;
            for name in &applied {
                if missing {
                    tracing::debug!(migration = name, "migration {name} applied");
                } else {
                    tracing::info!(migration = name, "migration {name} applied");
                }
            }
            if missing {
                tracing::info!("created the database {}", database.url);
            }
        } else {
            store
                .check_schema()
                .await
                .map_err(|error| Failure::from(error).context(doing()))?;
        }
        match access {
            Access::Read => {}
            // A command that changes one thing may run elsewhere, with another configuration.
            Access::Write => {
                let settings = self.report_settings()?;
                let kept = store.refresh_reports(&settings, self.clock.now()).await;
                kept.map_err(|error| Failure::from(error).context(doing()))?;
            }
            Access::Create => self
                .keep_reports(&store)
                .await
                .map_err(|failure| failure.context(doing()))?,
        }
        Ok(store)
    }

    /// Counts what other commands of this user have sent with an account's client, and remembers at the end
    /// what this command sends with it.
    pub(super) fn count_requests(
        &self,
        name: &str,
        recent: RecentUse,
        client: &Client,
        window: Duration,
    ) {
        let since = self.clock.now();
        client.note_earlier(recent.ages(since, window));
        let used = Used {
            recent,
            client: client.clone(),
            since,
            window,
        };
        self.used().insert(name.to_owned(), used);
    }

    /// The requests of this account are recorded in the database from now on. Yields how long ago each one
    /// was sent that is recorded elsewhere.
    pub(super) fn requests_are_recorded(&self, name: &str) -> Vec<Duration> {
        let used = self.used().remove(name);
        used.map_or_else(Vec::new, |used| {
            used.recent.ages(self.clock.now(), used.window)
        })
    }

    /// Remembers what this command has sent.
    pub(super) fn remember_requests(&self) {
        let now = self.clock.now();
        for used in std::mem::take(&mut *self.used()).into_values() {
            let requests = used.client.usage().requests;
            used.recent.add(used.since, now, requests, used.window);
        }
    }

    fn used(&self) -> MutexGuard<'_, BTreeMap<String, Used>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report_settings(&self) -> Result<crate::reporting::Settings, Failure> {
        Ok(self.settings.report()?.settings(self.zone()?))
    }

    /// Makes the days and open hours of reports in the database those of the configuration.
    pub(super) async fn keep_reports(&self, store: &Store) -> Result<(), Failure> {
        let settings = self.report_settings()?;
        if store.keep_reports(&settings, self.clock.now()).await? {
            let zone = settings.zone.name();
            tracing::debug!(zone, "the days of reports are those of {zone}");
        }
        Ok(())
    }

    /// Opens the database to read it. `None` if it cannot be read or does not exist yet.
    pub async fn store_if_readable(&self) -> Result<Option<Store>, Failure> {
        match self.store(Access::Read).await {
            Ok(store) => Ok(Some(store)),
            Err(failure) if failure.exit == Exit::Failed => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Where the tokens of the chosen accounts come from.
    pub fn token_origins(&self) -> Vec<String> {
        let accounts = self
            .settings
            .accounts()
            .map_or_else(|_| Vec::new(), |accounts| accounts.list);
        accounts
            .into_iter()
            .filter(|account| self.is_selected(&account.name))
            .map(|account| account.token_origin)
            .collect()
    }

    fn is_selected(&self, name: &str) -> bool {
        self.selected.is_empty() || self.selected.iter().any(|selected| selected == name)
    }

    /// Prints a message to stderr, unless `--quiet`. Data goes to stdout.
    pub fn note(&self, text: &str) {
        if !self.quiet || text.starts_with("error: ") {
            self.say(text);
        }
    }

    fn say(&self, text: &str) {
        if self.notes_are_logged {
            if let Some(text) = text.strip_prefix("error: ") {
                tracing::error!("{text}");
            } else {
                tracing::info!("{text}");
            }
            return;
        }
        telemetry::screen().suspend(|| {
            // If stderr is closed, nobody reads it.
            let text = telemetry::for_people(text);
            let _unwritable = writeln!(io::stderr().lock(), "{text}");
        });
    }

    /// Prints a failure after which the command continues.
    pub fn note_failure(&self, failure: &Failure) {
        if self.notes_are_logged {
            tracing::error!("{}", failure.line());
        } else {
            self.say(failure.text().trim_end());
        }
    }

    /// The command's result. If stderr is a log of JSON lines, a failure is logged here and the
    /// caller has nothing left to print.
    pub(super) fn concluded(&self, end: Result<Exit, Failure>) -> Result<Exit, Failure> {
        match end {
            Err(failure) if self.notes_are_logged && !failure.is_closed_pipe() => {
                self.note_failure(&failure);
                Ok(failure.exit)
            }
            end => end,
        }
    }
}
