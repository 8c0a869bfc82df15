//! The configured accounts and their tokens.
//!
//! Must not know what a token is used for. A token leaves this module only as a secret.

use std::fs;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::keys::{TOKEN_FILE_VARIABLE, TOKEN_VARIABLE};
use super::nearest::nearest;
use super::secret_file;
use super::values;
use super::{ConfigError, Environment};

/// The name of the account when the file lists no accounts.
pub const DEFAULT_ACCOUNT: &str = "default";

/// Where users create tokens. Every message about a missing token ends with it.
pub(super) const WHERE_TOKENS_ARE_MADE: &str =
    "create a token in the account settings of the platform, under Integrations > API";

/// An account: one token, one company.
#[derive(Debug, Clone)]
pub struct AccountConfig {
    /// Its name, unique among the configured ones.
    pub name: String,
    /// Its base URL, as configured.
    pub base_url: String,
    /// Its token without surrounding white space. Never empty.
    pub token: SecretString,
    /// Where the token comes from, in terms that an operator can find.
    pub token_origin: String,
}

/// The accounts, and warnings about their configuration.
#[derive(Debug, Clone)]
pub struct Accounts {
    /// The accounts. Never empty.
    pub list: Vec<AccountConfig>,
    /// Warnings for the log.
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
    /// The name of its account.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The variable that holds its token, if one does.
    pub(super) fn token_env(&self) -> Option<&str> {
        self.token_env.as_deref()
    }

    /// Its base URL, if it has one of its own.
    pub(super) fn base_url(&self) -> Option<&str> {
        self.base_url.as_deref()
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

/// The keys of the `[api]` section that belong to the accounts.
pub(super) struct DefaultAccount {
    pub(super) base_url: String,
    /// The token, and the key or variable that sets it.
    pub(super) token: Option<(SecretString, String)>,
    /// The token's file, and the key or variable that sets it.
    pub(super) token_file: Option<(String, String)>,
}

/// The warning that a token outside the list of accounts is not used, if there is one.
fn ignored_token(origin: &str, entries: &[Entry], file: &str) -> Option<String> {
    let is_used = |entry: &Entry| entry.token_env.as_deref() == Some(origin);
    (!entries.iter().any(is_used)).then(|| {
        format!(
            "{origin} is ignored, since {file} lists accounts; to use it, set token_env of an account \
             there"
        )
    })
}

/// The configured accounts: those that the file lists, or else the one that the keys of `[api]`
/// describe.
pub(super) fn accounts(
    entries: Vec<Entry>,
    file: &str,
    single: DefaultAccount,
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
        let account = AccountConfig {
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
    let token = single.token.map(|(_, origin)| origin);
    let origin = token.or(single.token_file.map(|(_, origin)| origin));
    warnings.extend(origin.and_then(|origin| ignored_token(&origin, &entries, file)));
    let mut list: Vec<AccountConfig> = Vec::new();
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
                    "{:?} is not a valid name (accepted: up to 64 letters, digits, '-', '_' and '.')",
                    entry.name
                ),
            ));
        }
        if list.iter().any(|account| account.name == entry.name) {
            return Err(wrong(
                "name",
                format!(
                    "two accounts have the name {:?}; rename one of them",
                    entry.name
                ),
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
        list.push(AccountConfig {
            name: entry.name,
            base_url: entry.base_url.unwrap_or_else(|| single.base_url.clone()),
            token,
            token_origin,
        });
    }
    Ok(Accounts { list, warnings })
}

/// The token without surrounding white space. Refuses an empty token.
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

/// Reads the token of a file. Also returns where it comes from: the file, and what names the file.
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
    warnings.extend(secret_file::exposed(path, "token file"));
    let token = usable(&SecretString::from(text), &format!("the token file {path}"))?;
    Ok((token, format!("the file {path}, {origin}")))
}

/// A variable that is set and whose name is similar to the token's variable.
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
