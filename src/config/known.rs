//! Refuses unknown keys and variables, and suggests a similar known one.
//!
//! Must not know the values of keys.

use std::collections::BTreeSet;

use super::keys::{ACCOUNT_KEYS, CONFIG_VARIABLE, KEYS, Key, PREFIX};
use super::nearest::{near_key, nearest, nearest_key};
use super::{ConfigError, Environment};

/// Whether the file itself contains a token.
pub(super) fn holds_token(table: &toml::Table) -> bool {
    let in_api = table.get("api").and_then(|api| api.get("token")).is_some();
    let in_accounts = table
        .get("accounts")
        .and_then(toml::Value::as_array)
        .is_some_and(|accounts| {
            accounts
                .iter()
                .any(|account| account.get("token").is_some())
        });
    in_api || in_accounts
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

/// Refuses unknown variables with our prefix.
///
/// `tokens` are the variables that the file names in `token_env`.
pub(super) fn check_variables(
    environment: &Environment,
    tokens: &[&str],
) -> Result<(), ConfigError> {
    let ours = |name: &&str| name.starts_with(BRAND) && !tokens.contains(name);
    for variable in environment.names().filter(ours) {
        if variable == CONFIG_VARIABLE || KEYS.iter().any(|key| key.variable() == variable) {
            continue;
        }
        let Some(path) = variable.strip_prefix(PREFIX) else {
            return Err(unknown_variable(variable));
        };
        let path = path.replace("__", ".").to_lowercase();
        let names = KEYS.iter().map(|key| key.name);
        let key = nearest_key(&path, names).and_then(Key::find);
        return Err(ConfigError::UnknownVariable {
            variable: variable.to_owned(),
            nearest: key.map(Key::variable).unwrap_or_default(),
            key: key.map_or("", |key| key.name),
        });
    }
    Ok(())
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

/// The error for an unknown variable with our prefix.
fn unknown_variable(variable: &str) -> ConfigError {
    let variables: Vec<String> = KEYS.iter().map(Key::variable).collect();
    let near = nearest_key(variable, variables.iter().map(String::as_str));
    let key = KEYS
        .iter()
        .find(|key| Some(key.variable().as_str()) == near);
    ConfigError::UnknownVariable {
        variable: variable.to_owned(),
        nearest: near.unwrap_or_default().to_owned(),
        key: key.map_or("", |key| key.name),
    }
}
