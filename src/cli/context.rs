//! What a command starts from: configuration, clock, accounts, database, log lines.

use std::io::{self, Write};
use std::sync::Arc;

use super::{Account, Exit, Failure, Global};
use crate::clock::Clock;
use crate::config::{self, Environment, LogFormat, Settings, Zone};
use crate::store::{OpenOptions, Store};
use crate::telemetry;

/// What a command wants of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// To read it; its tables must be those of this version.
    Read,
    /// To change what is in it; its tables are brought up to date first, unless the configuration
    /// says that somebody else does that.
    Write,
    /// The same, and to create it if it is not there.
    Create,
}

/// Everything a command starts from.
pub struct Context {
    /// The configuration; a command takes the sections that it needs.
    pub settings: Settings,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    selected: Vec<String>,
    json: bool,
    notes_are_logged: bool,
}

impl Context {
    /// Reads the configuration and begins to log.
    pub fn load(
        global: &Global,
        environment: Environment,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Failure> {
        let settings = Settings::load(global.config.as_deref(), environment, &global.flags())?;
        let log = settings.log()?;
        telemetry::init(&telemetry::Options {
            json: log.format == LogFormat::Json,
            level: log.level,
            directives: settings.variable("RUST_LOG").map(str::to_owned),
        })?;
        Ok(Self {
            settings,
            clock,
            selected: global.accounts.clone(),
            json: log.format == LogFormat::Json,
            notes_are_logged: false,
        })
    }

    /// For a command whose stderr is a log: where that is JSON, what the command notes is, too.
    #[must_use]
    pub(super) fn of_log(mut self) -> Self {
        self.notes_are_logged = self.json;
        self
    }

    /// With these settings and no others, and a logger that only tells of errors.
    pub(super) fn of_settings(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, Failure> {
        telemetry::init(&telemetry::Options {
            json: false,
            level: tracing::Level::ERROR,
            directives: settings.variable("RUST_LOG").map(str::to_owned),
        })?;
        Ok(Self {
            settings,
            clock,
            selected: Vec::new(),
            json: false,
            notes_are_logged: false,
        })
    }

    /// The time zone of dates.
    pub fn zone(&self) -> Result<Zone, Failure> {
        Ok(self.settings.timezone()?)
    }

    /// The names of the accounts chosen by `--account`; all, if empty.
    pub fn selected(&self) -> &[String] {
        &self.selected
    }

    /// The accounts to work on, at least one.
    pub fn accounts(&self) -> Result<Vec<Account>, Failure> {
        let accounts = self.settings.accounts()?;
        for warning in &accounts.warnings {
            tracing::warn!("{warning}");
        }
        let known: Vec<&str> = accounts.list.iter().map(|a| a.name.as_str()).collect();
        for name in &self.selected {
            if !known.contains(&name.as_str()) {
                return Err(Failure::usage_text(format!(
                    "--account: unknown account {name:?} (configured: {})",
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

    /// The one account to work on, for commands that talk to one.
    pub fn account(&self) -> Result<Account, Failure> {
        let mut accounts = self.accounts()?;
        if accounts.len() > 1 {
            let names: Vec<&str> = accounts.iter().map(|a| a.name.as_str()).collect();
            return Err(Failure::usage_text(format!(
                "several accounts are configured; choose one with --account ({})",
                names.join(", ")
            )));
        }
        accounts
            .pop()
            .ok_or_else(|| Failure::usage_text("no account is configured"))
    }

    /// Which database there is to work on.
    pub fn database(&self) -> Result<config::Database, Failure> {
        let database = self.settings.database()?;
        for name in database.url.unknown_parameters() {
            tracing::warn!("the database address has a parameter {name} that means nothing");
        }
        Ok(database)
    }

    /// The database, open and with the tables of this version.
    pub async fn store(&self, access: Access) -> Result<Store, Failure> {
        let database = self.database()?;
        let doing = || format!("cannot use the database {}", database.url);
        let missing = database
            .url
            .sqlite_file()
            .is_some_and(|file| !file.exists());
        if missing && access != Access::Create {
            return Err(Failure::failed(anyhow::anyhow!(
                "the database {} does not exist yet; run, sync, backfill and migrate create it",
                database.url
            )));
        }
        // Else an empty file would be left behind.
        if missing && !database.migrate {
            return Err(Failure::failed(anyhow::anyhow!(
                "the database {} does not exist yet, and database.migrate is false: run \
                 `helena-sync migrate` to create it",
                database.url
            )));
        }
        let options = OpenOptions {
            read_only: access == Access::Read,
        };
        let store = Store::open(database.url.expose(), &options)
            .await
            .map_err(|error| Failure::from(error).context(doing()))?;
        if access != Access::Read && database.migrate {
            for name in store
                .migrate()
                .await
                .map_err(|error| Failure::from(error).context(doing()))?
            {
                tracing::info!(migration = name, "migration {name} applied");
            }
        } else {
            store
                .check_schema()
                .await
                .map_err(|error| Failure::from(error).context(doing()))?;
        }
        Ok(store)
    }

    /// The database, to read it; `None` if it cannot be read or does not exist yet.
    pub async fn store_if_readable(&self) -> Result<Option<Store>, Failure> {
        match self.store(Access::Read).await {
            Ok(store) => Ok(Some(store)),
            Err(failure) if failure.exit == Exit::Failed => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Where the tokens of the accounts to work on come from.
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

    /// Tells the person at the terminal something that is no data: to stderr.
    pub fn note(&self, text: &str) {
        if self.notes_are_logged {
            if let Some(text) = text.strip_prefix("error: ") {
                tracing::error!("{text}");
            } else {
                tracing::info!("{text}");
            }
            return;
        }
        telemetry::screen().suspend(|| {
            // A stderr that is gone has no reader.
            let _unwritable = writeln!(io::stderr().lock(), "{text}");
        });
    }

    /// Tells of something that failed while the command goes on.
    pub fn note_failure(&self, failure: &Failure) {
        if self.notes_are_logged {
            tracing::error!("{}", failure.line());
        } else {
            self.note(failure.text().trim_end());
        }
    }

    /// How the command ended, unless that is for the caller to tell: where stderr is a log of JSON
    /// lines, a failure is one of them.
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
