//! Merges defaults, file, environment and flags.
//!
//! Must not know the meaning of sections. It knows keys, where their values come from, and how to
//! report a wrong value.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use figment::value::{Dict, Map, Tag, Value};
use figment::{Figment, Metadata, Profile, Provider, Source};
use secrecy::SecretString;
use serde::de::DeserializeOwned;

use super::accounts::{self, Accounts, DefaultAccount, Entry};
use super::keys::{CONFIG_VARIABLE, KEYS, Key, PREFIX, Shape, TOKEN_FILE_VARIABLE, TOKEN_VARIABLE};
use super::known::{check_keys, check_variables, holds_token, token_variables};
use super::{
    Alerts, Api, Backfill, ConfigError, DEFAULT_ACCOUNT, DEFAULT_FILE, Database, Doorbell, Http,
    LocatedZone, Log, Report, Store, Sync, Verify, Zone, secret_file, values,
};

/// Keys whose values are secrets.
const SECRET_KEYS: [&str; 5] = [
    "api.token",
    "database.url",
    "http.token",
    "doorbell.secret",
    "alerts.webhook",
];

/// The environment variables, read once.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The environment of this process.
    pub fn of_process() -> Result<Self, ConfigError> {
        let mut variables = BTreeMap::new();
        for (name, value) in std::env::vars_os() {
            let Ok(name) = name.into_string() else {
                continue;
            };
            match value.into_string() {
                Ok(value) => {
                    variables.insert(name, value);
                }
                Err(_) if is_ours(&name) => return Err(ConfigError::NotText(name)),
                Err(_) => {}
            }
        }
        Ok(Self(variables))
    }

    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The same without these variables.
    #[must_use]
    pub fn without(&self, names: &[String]) -> Self {
        let kept = self.0.iter().filter(|(name, _)| !names.contains(name));
        Self(
            kept.map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
        )
    }

    /// The names of all variables.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Environment {
    fn from(variables: [(&str, &str); N]) -> Self {
        Self(
            variables
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        )
    }
}

fn is_ours(name: &str) -> bool {
    name.starts_with(PREFIX)
        || name == CONFIG_VARIABLE
        || KEYS.iter().any(|key| key.is_set_by(name))
}

/// A key set on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// The key's name, as in [`KEYS`].
    pub key: &'static str,
    /// The flag as typed: `--database-url`.
    pub flag: &'static str,
    /// Its value as typed.
    pub value: String,
}

/// A configured base URL, as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrlSource {
    /// The file, the variable or the flag that sets it, or `default`.
    pub origin: String,
    /// Its key.
    pub key: String,
    /// Its text, which may not be valid.
    pub text: String,
}

/// The configuration before its sections are checked. It contains no unknown key.
pub struct Settings {
    figment: Figment,
    file: Option<PathBuf>,
    environment: Environment,
    warnings: Vec<String>,
    others: Vec<String>,
    /// The file of the command line.
    named: Option<PathBuf>,
    flags: Vec<Flag>,
}

/// One key from one origin. It is a provider of its own, so that the error for a wrong value can
/// name the origin.
struct KeyProvider {
    origin: String,
    key: &'static Key,
    text: String,
}

impl Provider for KeyProvider {
    fn metadata(&self) -> Metadata {
        Metadata::from(self.origin.clone(), Source::Custom(self.origin.clone()))
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let value = shaped(self.key.shape, &self.text);
        Ok(Profile::Default.collect(nested(self.key.name, value)))
    }
}

/// The file's content.
struct Content {
    path: PathBuf,
    table: toml::Table,
}

impl Provider for Content {
    fn metadata(&self) -> Metadata {
        Metadata::from("configuration file", Source::File(self.path.clone()))
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let value = Value::serialize(&self.table)?;
        Ok(Profile::Default.collect(value.into_dict().unwrap_or_default()))
    }
}

/// Parses the text of a variable for a key of this shape. Text that does not fit stays text, so
/// that the check of the section reports it.
fn shaped(shape: Shape, text: &str) -> Value {
    let text = text.trim();
    let as_text = || Value::from(text);
    match shape {
        Shape::Text => as_text(),
        Shape::Integer => text.parse::<i64>().map_or_else(|_| as_text(), Value::from),
        Shape::Number => text.parse::<f64>().map_or_else(|_| as_text(), Value::from),
        Shape::Bool => match text.to_ascii_lowercase().as_str() {
            "true" => Value::from(true),
            "false" => Value::from(false),
            _ => as_text(),
        },
        Shape::List => Value::Array(
            Tag::Default,
            text.trim_start_matches('[')
                .trim_end_matches(']')
                .split(',')
                .map(|name| name.trim().trim_matches('"'))
                .filter(|name| !name.is_empty())
                .map(Value::from)
                .collect(),
        ),
    }
}

fn nested(name: &str, value: Value) -> Dict {
    match name.split_once('.') {
        None => Dict::from([(name.to_owned(), value)]),
        Some((section, rest)) => Dict::from([(
            section.to_owned(),
            Value::Dict(Tag::Default, nested(rest, value)),
        )]),
    }
}

impl Settings {
    /// Reads all sources and refuses unknown keys.
    ///
    /// `file` is the file of the command line, which must exist, and so must the one of
    /// [`CONFIG_VARIABLE`]. Without both, [`DEFAULT_FILE`] is read if it exists.
    pub fn load(
        file: Option<&Path>,
        environment: Environment,
        flags: &[Flag],
    ) -> Result<Self, ConfigError> {
        let named = environment.get(CONFIG_VARIABLE).map(str::trim);
        let named = named.filter(|text| !text.is_empty()).map(PathBuf::from);
        let content = read(file.or(named.as_deref()))?;
        let mut settings = Self::assemble(content, environment, flags)?;
        settings.named = file.map(Path::to_owned);
        Ok(settings)
    }

    /// Reads the file again, with the environment and the flags of the first time.
    pub fn again(&self) -> Result<Self, ConfigError> {
        Self::load(self.named.as_deref(), self.environment.clone(), &self.flags)
    }

    /// The keys whose values differ from those of other settings, in the order of the documents. The accounts
    /// are not among them.
    pub fn differing(&self, other: &Self) -> Vec<&'static str> {
        let differs = |key: &&Key| self.value(key.name) != other.value(key.name);
        KEYS.iter().filter(differs).map(|key| key.name).collect()
    }

    /// Reads the defaults and these variables, and no file.
    pub fn without_file(environment: Environment) -> Result<Self, ConfigError> {
        Self::assemble(None, environment, &[])
    }

    /// The same as [`Settings::load`] with the text of a file that need not exist. Messages call it
    /// `path`.
    pub fn parse(
        path: &Path,
        text: &str,
        environment: Environment,
        flags: &[Flag],
    ) -> Result<Self, ConfigError> {
        Self::assemble(Some(content(path, text)?), environment, flags)
    }

    fn assemble(
        content: Option<Content>,
        environment: Environment,
        flags: &[Flag],
    ) -> Result<Self, ConfigError> {
        let mut figment = Figment::new();
        for key in KEYS.iter().filter(|key| !key.default.is_empty()) {
            figment = figment.merge(KeyProvider {
                origin: "default".into(),
                key,
                text: key.default.into(),
            });
        }
        let mut warnings = Vec::new();
        let path = content.as_ref().map(|content| content.path.clone());
        let table = content.as_ref().map(|content| &content.table);
        let others = check_variables(
            &environment,
            &table.map_or_else(Vec::new, token_variables),
            table.is_some(),
        )?;
        if let Some(content) = content {
            let origin = content.path.display().to_string();
            check_keys(&origin, "", &content.table)?;
            if holds_token(&content.table) && secret_file::readable_by_everyone(&content.path) {
                warnings.push(format!(
                    "every user of this machine can read {origin}, which contains a token; run chmod 600 \
                     {origin}"
                ));
            }
            figment = figment.merge(content);
        }
        let token_set = |name: &str| environment.get(name).is_some_and(|t| !t.trim().is_empty());
        if token_set(TOKEN_VARIABLE) && token_set(TOKEN_FILE_VARIABLE) {
            return Err(ConfigError::TwoTokens);
        }
        for key in KEYS {
            for variable in key.variables() {
                if let Some(text) = environment.get(&variable) {
                    figment = figment.merge(KeyProvider {
                        origin: variable,
                        key,
                        text: text.to_owned(),
                    });
                }
            }
        }
        for flag in flags {
            if let Some(key) = Key::find(flag.key) {
                figment = figment.merge(KeyProvider {
                    origin: flag.flag.to_owned(),
                    key,
                    text: flag.value.clone(),
                });
            }
        }
        Ok(Self {
            figment,
            file: path,
            environment,
            warnings,
            others,
            named: None,
            flags: flags.to_vec(),
        })
    }

    /// The file that was read.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Warnings about the file itself, for the log.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The variables with the brand's prefix that belong to other programs.
    pub fn others_variables(&self) -> &[String] {
        &self.others
    }

    /// The value of a variable that sets no key, such as `RUST_LOG`.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.environment.get(name)
    }

    /// The value of a key, if it has one.
    pub(super) fn value(&self, name: &str) -> Option<Value> {
        self.figment.find_value(name).ok()
    }

    /// Where a value comes from: a file, a variable, a flag, or `default`.
    pub(super) fn origin(&self, value: &Value) -> String {
        let metadata = self.figment.get_metadata(value.tag());
        metadata.map_or_else(String::new, |metadata| match &metadata.source {
            Some(Source::File(path)) => path.display().to_string(),
            _ => metadata.name.to_string(),
        })
    }

    /// `[api]`.
    pub fn api(&self) -> Result<Api, ConfigError> {
        self.section("api")
    }

    /// `[database]`.
    pub fn database(&self) -> Result<Database, ConfigError> {
        let mut database: Database = self.section("database")?;
        database.is_default = self
            .value("database.url")
            .is_none_or(|value| self.origin(&value) == "default");
        if let Some(schema) = &database.schema {
            database.url = database.url.in_schema(schema).map_err(|problem| {
                let origin = self.text("database.schema");
                ConfigError::Value {
                    origin: origin.ok().flatten().map_or_else(
                        || "configuration".to_owned(),
                        |(_, origin)| without_key(&origin, "database.schema"),
                    ),
                    key: "database.schema".into(),
                    problem,
                }
            })?;
        }
        Ok(database)
    }

    /// `[sync]`.
    pub fn sync(&self) -> Result<Sync, ConfigError> {
        self.section("sync")
    }

    /// `[backfill]`.
    pub fn backfill(&self) -> Result<Backfill, ConfigError> {
        self.section("backfill")
    }

    /// `[store]`.
    pub fn store(&self) -> Result<Store, ConfigError> {
        self.section("store")
    }

    /// `[verify]`.
    pub fn verify(&self) -> Result<Verify, ConfigError> {
        self.section("verify")
    }

    /// `[report]`.
    pub fn report(&self) -> Result<Report, ConfigError> {
        self.section("report")
    }

    /// `[log]`.
    pub fn log(&self) -> Result<Log, ConfigError> {
        self.section("log")
    }

    /// `[http]`, with the token, and a warning about the token's file.
    pub fn http(&self) -> Result<(Http, Option<String>), ConfigError> {
        let http = self.checked_http()?;
        http.with_token().map_err(|wrong| self.wrong("http", wrong))
    }

    /// `[doorbell]`, with the secret, and a warning about the secret's file.
    pub fn doorbell(&self) -> Result<(Doorbell, Option<String>), ConfigError> {
        let doorbell = self.checked_doorbell()?;
        doorbell
            .with_secret()
            .map_err(|wrong| self.wrong("doorbell", wrong))
    }

    /// `[doorbell]` without the secret of a file.
    fn checked_doorbell(&self) -> Result<Doorbell, ConfigError> {
        let doorbell: Doorbell = self.section("doorbell")?;
        let status = self.checked_http()?.listen;
        doorbell
            .check(status)
            .map_err(|wrong| self.wrong("doorbell", wrong))?;
        Ok(doorbell)
    }

    /// `[http]` without the token of a file.
    fn checked_http(&self) -> Result<Http, ConfigError> {
        let mut http: Http = self.section("http")?;
        http.is_default = self
            .value("http.listen")
            .is_none_or(|value| self.origin(&value) == "default");
        http.check().map_err(|wrong| self.wrong("http", wrong))?;
        Ok(http)
    }

    /// `[alerts]`, with the address of the webhook, and a warning about its file.
    pub fn alerts(&self) -> Result<(Alerts, Option<String>), ConfigError> {
        let alerts = self.checked_alerts()?;
        let alerts = alerts.with_webhook();
        alerts.map_err(|wrong| self.wrong("alerts", wrong))
    }

    /// `[alerts]` without the address of a file.
    fn checked_alerts(&self) -> Result<Alerts, ConfigError> {
        let alerts: Alerts = self.section("alerts")?;
        let checked = alerts.check();
        checked.map_err(|wrong| self.wrong("alerts", wrong))?;
        Ok(alerts)
    }

    /// The variables of the environment that hold secrets, whether they are set or not.
    pub fn secret_variables(&self) -> Vec<String> {
        let keys = SECRET_KEYS.iter().filter_map(|name| Key::find(name));
        let mut names: Vec<String> = keys.flat_map(Key::variables).collect();
        // The driver of Postgres reads it.
        names.push("PGPASSWORD".to_owned());
        // Those of a collector of traces often have a token.
        for signal in ["", "TRACES_"] {
            names.push(format!("OTEL_EXPORTER_OTLP_{signal}HEADERS"));
        }
        // Those of other programs, such as a .env file that several containers get.
        let passwords = self.environment.names();
        let passwords = passwords.filter(|name| name.ends_with("_PASSWORD"));
        names.extend(passwords.map(str::to_owned));
        let entries = self.entries().unwrap_or_default();
        names.extend(
            entries
                .iter()
                .filter_map(Entry::token_env)
                .map(str::to_owned),
        );
        names
    }

    /// The error for a key of a section.
    fn wrong(&self, section: &str, (key, problem): (&str, String)) -> ConfigError {
        let key = format!("{section}.{key}");
        let origin = self.value(&key).map(|value| self.origin(&value));
        ConfigError::Value {
            origin: origin.unwrap_or_else(|| "configuration".to_owned()),
            key,
            problem,
        }
    }

    /// `timezone`.
    pub fn timezone(&self) -> Result<Zone, ConfigError> {
        self.located_zone().map(|located| located.zone)
    }

    /// Refuses values that no command accepts. A token need not be set.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.api()?;
        self.database()?;
        self.sync()?;
        self.backfill()?;
        self.store()?;
        self.verify()?;
        self.report()?;
        self.checked_http()?;
        self.checked_alerts()?;
        self.checked_doorbell()?;
        self.log()?;
        self.timezone()?;
        self.account_names()?;
        Ok(())
    }

    /// `timezone`, and where it comes from.
    pub fn located_zone(&self) -> Result<LocatedZone, ConfigError> {
        #[derive(serde::Deserialize)]
        struct Wrapper(#[serde(deserialize_with = "values::zone")] Option<Zone>);
        let Wrapper(zone) = self.section("timezone")?;
        Ok(match zone {
            Some(zone) => LocatedZone {
                zone,
                origin: self
                    .text("timezone")?
                    .map_or_else(|| "timezone".to_owned(), |(_, origin)| origin),
                problem: None,
            },
            None => LocatedZone::local(&self.environment),
        })
    }

    fn entries(&self) -> Result<Vec<Entry>, ConfigError> {
        match self.figment.find_value("accounts") {
            Ok(_) => self.section("accounts"),
            Err(_) => Ok(Vec::new()),
        }
    }

    /// The names of the configured accounts, even if their tokens cannot be read. Empty if none is
    /// configured.
    pub fn account_names(&self) -> Result<Vec<String>, ConfigError> {
        let entries = self.entries()?;
        if !entries.is_empty() {
            return Ok(entries.iter().map(Entry::name).map(str::to_owned).collect());
        }
        for key in ["api.token", "api.token_file"] {
            if self
                .text(key)?
                .is_some_and(|(text, _)| !text.trim().is_empty())
            {
                return Ok(vec![DEFAULT_ACCOUNT.to_owned()]);
            }
        }
        Ok(Vec::new())
    }

    /// The base URLs in use, each with its key and where it comes from, even if no token is configured.
    pub fn base_urls(&self) -> Result<Vec<BaseUrlSource>, ConfigError> {
        let entries = self.entries()?;
        let mut urls = Vec::new();
        if entries.is_empty() || entries.iter().any(|entry| entry.base_url().is_none()) {
            let key = "api.base_url";
            urls.extend(self.text(key)?.map(|(text, origin)| BaseUrlSource {
                origin: without_key(&origin, key),
                key: key.to_owned(),
                text,
            }));
        }
        let file = self.file.as_deref().unwrap_or(Path::new(DEFAULT_FILE));
        urls.extend(entries.iter().enumerate().filter_map(|(index, entry)| {
            Some(BaseUrlSource {
                origin: file.display().to_string(),
                key: format!("accounts[{index}].base_url"),
                text: entry.base_url()?.to_owned(),
            })
        }));
        Ok(urls)
    }

    /// The configured accounts. Never empty.
    pub fn accounts(&self) -> Result<Accounts, ConfigError> {
        let entries = self.entries()?;
        let file = self
            .file
            .as_deref()
            .unwrap_or(Path::new(DEFAULT_FILE))
            .display()
            .to_string();
        let mut token = self.text("api.token")?;
        let mut token_file = self.text("api.token_file")?;
        // A token variable overrides both token keys of the file, since api.token and
        // api.token_file set the same thing.
        let set = |name: &str| {
            self.environment
                .get(name)
                .is_some_and(|text| !text.trim().is_empty())
        };
        if set(TOKEN_VARIABLE) {
            token_file = None;
        } else if set(TOKEN_FILE_VARIABLE) {
            token = None;
        } else if token.is_some() && token_file.is_some() && entries.is_empty() {
            let empty = |pair: &Option<(String, String)>| {
                pair.as_ref()
                    .is_some_and(|(text, _)| text.trim().is_empty())
            };
            match (empty(&token), empty(&token_file)) {
                (true, false) => token = None,
                (false, true) => token_file = None,
                _ => {
                    return Err(ConfigError::Value {
                        origin: file,
                        key: "api.token_file".into(),
                        problem: "is set together with api.token: remove one of them".into(),
                    });
                }
            }
        }
        let base_url = match self.text("api.base_url")? {
            Some((url, origin)) if url.trim().is_empty() => {
                return Err(ConfigError::Value {
                    origin: without_key(&origin, "api.base_url"),
                    key: "api.base_url".into(),
                    problem: "is empty (accepted: a URL such as https://api.helena.run)".into(),
                });
            }
            Some((url, _)) => url,
            None => String::new(),
        };
        let single = DefaultAccount {
            base_url,
            token: token.map(|(text, origin)| (SecretString::from(text), origin)),
            token_file: token_file.filter(|(text, _)| !text.trim().is_empty()),
        };
        let mut accounts = accounts::accounts(entries, &file, single, &self.environment)?;
        accounts.warnings.extend(self.warnings.iter().cloned());
        Ok(accounts)
    }

    /// The text of a key, and where it comes from.
    fn text(&self, name: &str) -> Result<Option<(String, String)>, ConfigError> {
        let Ok(value) = self.figment.find_value(name) else {
            return Ok(None);
        };
        let origin = self
            .figment
            .get_metadata(value.tag())
            .map_or_else(|| name.to_owned(), |metadata| origin(metadata, name));
        match value.into_string() {
            Some(text) => Ok(Some((text, origin))),
            None => Err(ConfigError::Value {
                origin: without_key(&origin, name),
                key: name.to_owned(),
                problem: "expected text in quotes".into(),
            }),
        }
    }

    fn section<T: DeserializeOwned>(&self, name: &str) -> Result<T, ConfigError> {
        self.figment
            .extract_inner(name)
            .map_err(|error| report(&error, name, self.figment.find_metadata(name)))
    }
}

/// Where a value comes from, in terms that an operator can find.
fn origin(metadata: &Metadata, key: &str) -> String {
    match &metadata.source {
        Some(Source::File(path)) => format!("{key} in {}", path.display()),
        _ => metadata.name.to_string(),
    }
}

/// The same without the key, for errors that name the key themselves.
fn without_key(origin: &str, key: &str) -> String {
    let place = origin
        .strip_prefix(key)
        .and_then(|rest| rest.strip_prefix(" in "));
    place.unwrap_or(origin).to_owned()
}

/// Turns figment's error into ours. `whole` is the origin of the section, for errors of a key
/// outside of any section: those have no origin.
fn report(error: &figment::Error, section: &str, whole: Option<&Metadata>) -> ConfigError {
    use figment::error::Kind;
    let origin = error.metadata.as_ref().or(whole).map_or_else(
        || "configuration".to_owned(),
        |metadata| match &metadata.source {
            Some(Source::File(path)) => path.display().to_string(),
            _ => metadata.name.to_string(),
        },
    );
    // figment puts the section after the path within it.
    let inner = error.path.iter().map(String::as_str);
    let inner = inner.filter(|part| *part != section);
    let mut key = section.to_owned();
    for part in inner {
        let index = part.parse::<usize>().is_ok();
        let (before, after) = if index { ("[", "]") } else { (".", "") };
        key.extend([before, part, after]);
    }
    let problem = match &error.kind {
        Kind::Message(text) => text.clone(),
        Kind::InvalidType(actual, expected) => format!("expected {expected}, found {actual}"),
        Kind::MissingField(name) => format!("{name} is missing"),
        other => other.to_string(),
    };
    ConfigError::Value {
        origin,
        key,
        problem,
    }
}

fn read(file: Option<&Path>) -> Result<Option<Content>, ConfigError> {
    let path = file.unwrap_or(Path::new(DEFAULT_FILE));
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if file.is_none() && error.kind() == io::ErrorKind::NotFound => {
            return Ok(None);
        }
        Err(source) => {
            return Err(ConfigError::File {
                path: path.to_owned(),
                source,
            });
        }
    };
    content(path, &text).map(Some)
}

fn content(path: &Path, text: &str) -> Result<Content, ConfigError> {
    let table = text.parse::<toml::Table>().map_err(|error| {
        let start = error.span().map_or(0, |span| span.start).min(text.len());
        let before = text.get(..start).unwrap_or_default();
        ConfigError::Syntax {
            path: path.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before
                .rsplit('\n')
                .next()
                .unwrap_or_default()
                .chars()
                .count()
                + 1,
            problem: match error.message() {
                "" => "a value is missing or is not valid TOML".to_owned(),
                message => message.to_owned(),
            },
        }
    })?;
    Ok(Content {
        path: path.to_owned(),
        table,
    })
}
