//! Keys and variables that mean nothing, refused with what was probably meant.
//!
//! Must not know what the values of the known ones may be.

use super::keys::{ACCOUNT_KEYS, KEYS, Key, PREFIX};
use super::nearest::nearest_key;
use super::{ConfigError, Environment};

/// Whether a token stands in the file itself.
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

/// Refuses keys of the file that mean nothing, and sections that are none.
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
            // An unknown section is told by what it holds, if it holds anything.
            let probe = value
                .as_table()
                .and_then(|section| section.keys().next())
                .map_or_else(|| path.clone(), |first| format!("{path}.{first}"));
            return Err(ConfigError::UnknownKey {
                origin: origin.to_owned(),
                nearest: nearest_key(&probe, known).unwrap_or_default().to_owned(),
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
                    nearest: nearest_key(name, known()).unwrap_or_default().to_owned(),
                });
            }
        }
    }
    Ok(())
}

/// Refuses variables with our prefix that mean nothing.
pub(super) fn check_variables(environment: &Environment) -> Result<(), ConfigError> {
    for variable in environment.names().filter(|name| name.starts_with(PREFIX)) {
        if KEYS.iter().any(|key| key.variable() == variable) {
            continue;
        }
        let path = variable[PREFIX.len()..].replace("__", ".").to_lowercase();
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
