//! Which accounts there are, and where their tokens come from.
//!
//! Must not know what a token is used for; it leaves this module as a secret only.

use std::fs;
use std::path::Path;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::keys::{TOKEN_FILE_VARIABLE, TOKEN_VARIABLE};
use super::nearest::nearest;
use super::values;
use super::{ConfigError, Environment};

/// The name of the account that the environment alone describes.
pub const DEFAULT_ACCOUNT: &str = "default";

/// Where tokens are made; part of every message about a missing one.
pub(super) const WHERE_TOKENS_ARE_MADE: &str =
    "a token is made in the account settings of the platform, under Integrations > API";

/// An account: one token, one company.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its name, unique among the configured ones.
    pub name: String,
    /// Its base URL, as configured.
    pub base_url: String,
    /// Its token, as configured but for surrounding white space; never empty.
    pub token: SecretString,
    /// Where the token came from, as an operator would look for it.
    pub token_origin: String,
}

/// The accounts, and what is doubtful about how they are configured.
#[derive(Debug, Clone)]
pub struct Accounts {
    /// At least one.
    pub list: Vec<Account>,
    /// For the log.
    pub warnings: Vec<String>,
}

/// An entry of `[[accounts]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    #[serde(deserialize_with = "values::text")]
    name: String,
    #[serde(default, deserialize_with = "optional")]
    base_url: Option<String>,
    #[serde(default, deserialize_with = "optional_secret")]
    token: Option<SecretString>,
    #[serde(default, deserialize_with = "optional")]
    token_file: Option<String>,
    #[serde(default, deserialize_with = "optional")]
    token_env: Option<String>,
}

impl Entry {
    /// What it calls its account.
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

fn optional<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    values::text(from).map(Some)
}

fn optional_secret<'de, D: serde::Deserializer<'de>>(
    from: D,
) -> Result<Option<SecretString>, D::Error> {
    values::secret(from).map(Some)
}

/// What of the `[api]` section concerns the accounts.
pub(super) struct Single {
    pub(super) base_url: String,
    /// The token itself, and the key or variable it came from.
    pub(super) token: Option<(SecretString, String)>,
    /// The token's file, and the key or variable that names it.
    pub(super) token_file: Option<(String, String)>,
}

/// The configured accounts: those of the file, or else the one of the environment.
pub(super) fn accounts(
    entries: Vec<Entry>,
    file: &str,
    single: Single,
    environment: &Environment,
) -> Result<Accounts, ConfigError> {
    let mut warnings = Vec::new();
    if entries.is_empty() {
        let (token, token_origin) = match (single.token, single.token_file) {
            (Some((token, origin)), _) => (usable(&token, &origin)?, origin),
            (None, Some((path, origin))) => from_file(&path, &origin, &mut warnings)?,
            (None, None) => {
                return Err(ConfigError::NoToken {
                    hint: misspelt_variable(environment),
                });
            }
        };
        let account = Account {
            name: DEFAULT_ACCOUNT.to_owned(),
            base_url: single.base_url,
            token,
            token_origin,
        };
        return Ok(Accounts {
            list: vec![account],
            warnings,
        });
    }
    if let Some(origin) = single
        .token
        .map(|(_, origin)| origin)
        .or(single.token_file.map(|(_, origin)| origin))
        && !entries
            .iter()
            .any(|entry| entry.token_env.as_deref() == Some(origin.as_str()))
    {
        warnings.push(format!(
            "{origin} is not used, since {file} lists accounts; name it there as token_env to use it"
        ));
    }
    let mut list: Vec<Account> = Vec::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let wrong = |key: &str, problem: String| ConfigError::Value {
            origin: file.to_owned(),
            key: format!("accounts[{index}].{key}"),
            problem,
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if entry.name.len() > 64 || !entry.name.chars().all(plain) {
            return Err(wrong(
                "name",
                format!(
                    "{:?} is no name (accepted: up to 64 letters, digits, '-', '_' and '.')",
                    entry.name
                ),
            ));
        }
        if list.iter().any(|account| account.name == entry.name) {
            return Err(wrong(
                "name",
                format!("{:?} names two accounts; give each its own", entry.name),
            ));
        }
        let origin = |key: &str| format!("{key} of account {} in {file}", entry.name);
        let (token, token_origin) = match (entry.token, entry.token_file, entry.token_env) {
            (Some(token), None, None) => {
                let origin = origin("token");
                (usable(&token, &origin)?, origin)
            }
            (None, Some(path), None) => from_file(&path, &origin("token_file"), &mut warnings)?,
            (None, None, Some(variable)) => {
                let token =
                    environment
                        .get(&variable)
                        .ok_or_else(|| ConfigError::NoTokenVariable {
                            variable: variable.clone(),
                            account: entry.name.clone(),
                        })?;
                (usable(&SecretString::from(token), &variable)?, variable)
            }
            (None, None, None) => {
                return Err(ConfigError::AccountToken {
                    origin: file.to_owned(),
                    account: entry.name,
                    problem: "has no token",
                });
            }
            _ => {
                return Err(ConfigError::AccountToken {
                    origin: file.to_owned(),
                    account: entry.name,
                    problem: "has more than one token",
                });
            }
        };
        list.push(Account {
            name: entry.name,
            base_url: entry.base_url.unwrap_or_else(|| single.base_url.clone()),
            token,
            token_origin,
        });
    }
    Ok(Accounts { list, warnings })
}

/// A token that is not empty, whatever was pasted around it.
fn usable(token: &SecretString, origin: &str) -> Result<SecretString, ConfigError> {
    let text = token.expose_secret().trim();
    let bare = text
        .get(..6)
        .filter(|scheme| scheme.eq_ignore_ascii_case("bearer"))
        .map_or(text, |_| text[6..].trim());
    if bare.is_empty() {
        return Err(ConfigError::EmptyToken {
            origin: origin.to_owned(),
        });
    }
    Ok(SecretString::from(text))
}

/// The token of a file, and what it is called: the file, and what names it.
fn from_file(
    path: &str,
    origin: &str,
    warnings: &mut Vec<String>,
) -> Result<(SecretString, String), ConfigError> {
    let text = fs::read_to_string(path).map_err(|source| ConfigError::TokenFile {
        path: path.to_owned(),
        origin: origin.to_owned(),
        source,
    })?;
    if readable_by_everyone(Path::new(path)) {
        warnings.push(format!(
            "the token file {path} can be read by everyone on this machine; chmod 600 {path}"
        ));
    }
    let token = usable(&SecretString::from(text), &format!("the token file {path}"))?;
    Ok((token, format!("the file {path}, {origin}")))
}

/// Whether the file's mode lets every user of the machine read it.
#[cfg(unix)]
pub(super) fn readable_by_everyone(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o004 != 0)
}

/// Whether the file's mode lets every user of the machine read it; not known here.
#[cfg(not(unix))]
pub(super) fn readable_by_everyone(_path: &Path) -> bool {
    false
}

/// A variable that is set and looks like the token's.
fn misspelt_variable(environment: &Environment) -> Option<String> {
    let set = environment
        .names()
        .filter(|name| name.contains("TOKEN") || name.contains("HELENA") && name.contains("KEY"));
    nearest(TOKEN_VARIABLE, set, 1)
        .into_iter()
        .filter(|name| ![TOKEN_VARIABLE, TOKEN_FILE_VARIABLE].contains(name))
        .find(|name| name.contains("HELENA") || name.contains("API"))
        .map(str::to_owned)
}
