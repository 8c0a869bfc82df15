//! The effective configuration as people may see it: without tokens and passwords.
//!
//! Must not know what the values are used for.

use figment::value::Value;

use super::keys::{ACCOUNT_KEYS, KEYS, Key, TOKEN_FILE_VARIABLE, TOKEN_VARIABLE};
use super::{DatabaseUrl, Settings, Webhook};

/// A key, its effective value and where the value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The key.
    pub key: String,
    /// Its value; secrets are masked.
    pub value: String,
    /// A file, a variable, a flag, or `default`.
    pub origin: String,
}

/// What stands for a secret.
const MASK: &str = "***";

/// What stands for a token, or for its file, that another key or the list of accounts replaces.
const IGNORED: &str = "(ignored)";

impl Settings {
    /// All keys that have a value, in the order of the documents.
    pub fn shown(&self) -> Vec<Shown> {
        let keys = KEYS.iter().filter_map(|key| {
            let value = self.value(key.name)?;
            let mut text = masked(key, &value);
            let mut origin = self.origin(&value);
            if !text.is_empty() && self.is_ignored(key.name, &value) {
                IGNORED.clone_into(&mut text);
            }
            if key.name == "timezone"
                && let Ok(located) = self.located_zone()
            {
                (text, origin) = (located.zone.to_string(), located.origin);
            }
            (!text.is_empty()).then(|| Shown {
                key: key.name.to_owned(),
                value: text,
                origin,
            })
        });
        keys.chain(self.accounts_shown()).collect()
    }

    /// Whether a key of the token has no effect, as [`Settings::accounts`] decides.
    fn is_ignored(&self, key: &str, value: &Value) -> bool {
        let set = |name: &str| {
            let text = self.variable(name);
            text.is_some_and(|text| !text.trim().is_empty())
        };
        let entries = self.value("accounts").and_then(Value::into_array);
        let entries = entries.unwrap_or_default();
        let origin = self.origin(value);
        let uses =
            |entry: &Value| entry.find_ref("token_env").and_then(Value::as_str) == Some(&origin);
        match key {
            "api.token" | "api.token_file" if !entries.is_empty() => !entries.iter().any(uses),
            "api.token" => !set(TOKEN_VARIABLE) && set(TOKEN_FILE_VARIABLE),
            "api.token_file" => set(TOKEN_VARIABLE),
            _ => false,
        }
    }

    fn accounts_shown(&self) -> Vec<Shown> {
        let entries = self.value("accounts").and_then(Value::into_array);
        let mut shown = Vec::new();
        for (index, entry) in entries.into_iter().flatten().enumerate() {
            let origin = self.origin(&entry);
            for (name, _) in ACCOUNT_KEYS {
                let Some(value) = entry.find_ref(name) else {
                    continue;
                };
                let value = match *name {
                    "token" => MASK.to_owned(),
                    "base_url" => without_credentials(&text(value)),
                    _ => text(value),
                };
                shown.push(Shown {
                    key: format!("accounts[{index}].{name}"),
                    value,
                    origin: origin.clone(),
                });
            }
        }
        shown
    }
}

fn masked(key: &Key, value: &Value) -> String {
    let text = text(value);
    match key.name {
        _ if text.is_empty() => text,
        "api.token" | "http.token" | "doorbell.secret" => MASK.to_owned(),
        // An address that is not valid may be anything.
        "database.url" => text
            .parse::<DatabaseUrl>()
            .map_or_else(|_| MASK.to_owned(), |url| url.to_string()),
        "api.base_url" => without_credentials(&text),
        "alerts.webhook" => {
            Webhook::parse(&text).map_or_else(|_| MASK.to_owned(), |webhook| webhook.to_string())
        }
        _ => text,
    }
}

/// A web address without the user and the password that somebody wrote into it.
fn without_credentials(url: &str) -> String {
    match url.rsplit_once('@') {
        Some((before, place)) => {
            let scheme = before.split_once("://").map_or("", |(scheme, _)| scheme);
            format!("{scheme}://{MASK}@{place}")
        }
        None => url.to_owned(),
    }
}

/// A value as it would be written in the environment.
fn text(value: &Value) -> String {
    match value {
        Value::String(_, text) => text.clone(),
        Value::Char(_, char) => char.to_string(),
        Value::Bool(_, value) => value.to_string(),
        Value::Num(_, number) => match (number.to_i128(), number.to_u128(), number.to_f64()) {
            (Some(number), ..) => number.to_string(),
            (_, Some(number), _) => number.to_string(),
            (.., Some(number)) => number.to_string(),
            _ => String::new(),
        },
        Value::Array(_, items) => items.iter().map(text).collect::<Vec<_>>().join(","),
        Value::Dict(..) | Value::Empty(..) => String::new(),
    }
}
