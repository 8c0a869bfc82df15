//! Refuses unknown keys and variables, and suggests a similar known one.
//!
//! Must not know the values of keys.

use std::collections::BTreeSet;

use super::keys::{ACCOUNT_KEYS, CONFIG_VARIABLE, KEYS, Key, PREFIX};
use super::nearest::{near_key, nearest, nearest_key};
use super::{ConfigError, Environment};

/// Whether the file itself contains a token or another secret.
pub(super) fn holds_token(table: &toml::Table) -> bool {
    let has = |section, key| table.get(section).and_then(|it| it.get(key)).is_some();
    let in_api = has("api", "token") || has("http", "token") || has("doorbell", "secret");
    // Whoever has the address of a webhook can write there: it is a token, too.
    let in_alerts = has("alerts", "webhook");
    let in_accounts = table
        .get("accounts")
        .and_then(toml::Value::as_array)
        .is_some_and(|accounts| {
            accounts
                .iter()
                .any(|account| account.get("token").is_some())
        });
    in_api || in_alerts || in_accounts
}

/// Refuses unknown keys of the file, and values where a section is expected.
pub(super) fn check_keys(
    origin: &str,
    prefix: &str,
    table: &toml::Table,
) -> Result<(), ConfigError> {
    for (name, value) in table {
        let path = if prefix.is_empty() {
            name.clone()
        } else {
            format!("{prefix}.{name}")
        };
        if path == "accounts" {
            check_account_keys(origin, value)?;
        } else if Key::find(&path).is_some() {
        } else if KEYS
            .iter()
            .any(|key| key.name.starts_with(&format!("{path}.")))
        {
            let section = value.as_table().ok_or_else(|| ConfigError::Value {
                origin: origin.to_owned(),
                key: path.clone(),
                problem: format!("expected a section [{path}], found a single value"),
            })?;
            check_keys(origin, &path, section)?;
        } else {
            let known = KEYS.iter().map(|key| key.name).chain(["accounts"]);
            let hint = match value.as_table() {
                Some(section) => {
                    hint_of_section(&path, section.keys().next().map(String::as_str), known)
                }
                None => hint(&path, &path, known),
            };
            return Err(ConfigError::UnknownKey {
                origin: origin.to_owned(),
                hint,
                key: path,
            });
        }
    }
    Ok(())
}

fn check_account_keys(origin: &str, value: &toml::Value) -> Result<(), ConfigError> {
    let wrong = || ConfigError::Value {
        origin: origin.to_owned(),
        key: "accounts".into(),
        problem: "expected entries of the form [[accounts]]".into(),
    };
    for (index, account) in value.as_array().ok_or_else(wrong)?.iter().enumerate() {
        for name in account.as_table().ok_or_else(wrong)?.keys() {
            let known = || ACCOUNT_KEYS.iter().map(|(key, _)| *key);
            if !known().any(|key| key == name) {
                return Err(ConfigError::UnknownKey {
                    origin: origin.to_owned(),
                    key: format!("accounts[{index}].{name}"),
                    hint: near_key(name, known()).map_or_else(
                        || format!("accepted: {}", join(known())),
                        |near| format!("similar key: {near}"),
                    ),
                });
            }
        }
    }
    Ok(())
}

/// The prefix of our variables, except `DATABASE_URL`.
const BRAND: &str = "HELENA_";

/// Suggests a section with a similar name, or a key similar to the section's first key.
fn hint_of_section<'a>(
    path: &str,
    first: Option<&str>,
    known: impl Iterator<Item = &'a str>,
) -> String {
    let sections: BTreeSet<&str> = KEYS
        .iter()
        .filter_map(|key| key.name.rsplit_once('.'))
        .map(|(section, _)| section)
        .collect();
    if let Some(near) = nearest(path, sections, 1).first() {
        return format!("similar section: [{near}]");
    }
    let probe = first.map_or_else(|| path.to_owned(), |first| format!("{path}.{first}"));
    hint(&probe, path, known)
}

/// Suggests a similar key. If there is none, lists the sections.
fn hint<'a>(probe: &str, path: &str, known: impl Iterator<Item = &'a str>) -> String {
    let sections: BTreeSet<&str> = KEYS
        .iter()
        .map(|key| {
            key.name
                .split_once('.')
                .map_or(key.name, |(section, _)| section)
        })
        .chain(["accounts"])
        .collect();
    let near = near_key(probe, known).or_else(|| near_key(path, sections.iter().copied()));
    match near {
        Some(near) => format!("similar key: {near}"),
        None => format!("accepted sections and keys: {}", join(sections)),
    }
}

fn join<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().collect::<Vec<_>>().join(", ")
}

/// Refuses misspelt variables. Returns the variables with the brand's prefix that are those of other
/// programs, which are ignored.
///
/// `tokens` are the variables that the file names in `token_env`. With a file, another spelling of the
/// variable that names it does no harm.
pub(super) fn check_variables(
    environment: &Environment,
    tokens: &[&str],
    has_file: bool,
) -> Result<Vec<String>, ConfigError> {
    let ours = |name: &&str| name.starts_with(BRAND) && !tokens.contains(name);
    let mut others = Vec::new();
    for variable in environment.names().filter(ours) {
        if variable == CONFIG_VARIABLE || KEYS.iter().any(|key| key.is_set_by(variable)) {
            continue;
        }
        if !has_file && means_the_file(variable) {
            return Err(ConfigError::UnknownVariable {
                variable: variable.to_owned(),
                nearest: CONFIG_VARIABLE.to_owned(),
                key: "the configuration file",
            });
        }
        let key = if let Some(path) = variable.strip_prefix(PREFIX) {
            let path = path.replace("__", ".").to_lowercase();
            nearest_key(&path, KEYS.iter().map(|key| key.name)).and_then(Key::find)
        } else {
            meant(variable).filter(|key| !is_set(environment, key))
        };
        match key {
            Some(key) => {
                return Err(ConfigError::UnknownVariable {
                    variable: variable.to_owned(),
                    nearest: key.variable(),
                    key: key.name,
                });
            }
            None => others.push(variable.to_owned()),
        }
    }
    Ok(others)
}

fn is_set(environment: &Environment, key: &Key) -> bool {
    environment.names().any(|name| key.is_set_by(name))
}

/// Names that people give to variables of ours, without the brand, and the keys that they mean.
const ALIASES: [(&str, &str); 8] = [
    ("token", "api.token"),
    ("key", "api.token"),
    ("api_key", "api.token"),
    ("token_path", "api.token_file"),
    ("url", "api.base_url"),
    ("api_url", "api.base_url"),
    ("db_url", "database.url"),
    ("tz", "timezone"),
];

/// How many letters of a misspelt variable may be wrong.
const SLIPS: usize = 2;

fn letters(text: &str) -> String {
    text.to_lowercase().replace(['_', '.', '-'], "")
}

/// Whether a variable is another spelling of the one that names the configuration file.
fn means_the_file(variable: &str) -> bool {
    let wanted = letters(variable);
    let is_near = strsim::damerau_levenshtein(&wanted, &letters(CONFIG_VARIABLE)) <= SLIPS;
    !is_of_a_service(variable)
        && (is_near
            || ["helenaconfig", "helenaconfigfile", "helenasyncconfigfile"]
                .contains(&wanted.as_str()))
}

/// The key that a variable without our prefix probably means: it is misspelt, has too few
/// underscores or is a common name for it. Variables that Kubernetes and Docker make for services
/// mean none.
fn meant(variable: &str) -> Option<&'static Key> {
    if is_of_a_service(variable) {
        return None;
    }
    let rest = variable.strip_prefix(BRAND)?.to_lowercase();
    let (rest, of_sync) = match rest.strip_prefix("sync_") {
        Some(rest) => (rest.trim_start_matches('_'), true),
        None => (rest.as_str(), false),
    };
    if let Some((_, key)) = ALIASES.iter().find(|(alias, _)| *alias == rest) {
        return Key::find(key);
    }
    let wanted = letters(rest);
    let is_named = |key: &&Key| {
        let whole = letters(key.name);
        // `HELENA_SYNC_SCHEDULE`: the last parts of a key are enough after the program's name.
        let is_end = |(at, _): (usize, &str)| letters(&key.name[at + 1..]) == wanted;
        whole == wanted || of_sync && key.name.match_indices('.').any(is_end)
    };
    let is_misspelt = |key: &&Key| {
        let is_near = |known: String| {
            strsim::damerau_levenshtein(&letters(variable), &letters(&known)) <= SLIPS
        };
        key.variables().any(is_near)
    };
    let named = KEYS.iter().find(is_named);
    named.or_else(|| KEYS.iter().find(is_misspelt))
}

/// Whether Kubernetes or Docker makes variables of this form for every service of a name:
/// `HELENA_DB_SERVICE_HOST`, `HELENA_SYNC_PORT_8080_TCP_ADDR`.
fn is_of_a_service(variable: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    let is_port = |(_, port): (&str, &str)| {
        let mut parts = port.split('_');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(number), Some("TCP" | "UDP" | "SCTP"), last, None) => {
                is_number(number) && matches!(last, None | Some("ADDR" | "PORT" | "PROTO"))
            }
            _ => false,
        }
    };
    variable.contains("_SERVICE_HOST")
        || variable.contains("_SERVICE_PORT")
        || variable.ends_with("_PORT")
        || variable.rsplit_once("_PORT_").is_some_and(is_port)
}

/// The variables that the file names in `token_env`.
pub(super) fn token_variables(table: &toml::Table) -> Vec<&str> {
    let accounts = table.get("accounts").and_then(toml::Value::as_array);
    accounts
        .into_iter()
        .flatten()
        .filter_map(|account| account.get("token_env")?.as_str())
        .collect()
}
