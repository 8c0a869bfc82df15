//! `[doorbell]`: where the platform can call, and the secret of that address.
//!
//! Must not know what a call causes.

use std::net::SocketAddr;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::http::{listen, optional, optional_secret};
use super::secret_file::{self, Wrong};

/// The fewest characters of the secret: as many as 32 random bytes have in hexadecimal digits are
/// recommended, and half of them cannot be guessed either.
const SHORTEST: usize = 32;

/// How to make a secret.
const MAKE: &str = "make one with `openssl rand -hex 32`";

/// `[doorbell]`.
#[derive(Debug, Clone, Deserialize)]
pub struct Doorbell {
    /// The address and port to listen on. `None` for nowhere.
    #[serde(deserialize_with = "listen")]
    pub listen: Option<SocketAddr>,
    /// The secret from which the addresses of the accounts are made.
    #[serde(default, deserialize_with = "optional_secret")]
    pub secret: Option<SecretString>,
    /// The file that holds the secret.
    #[serde(default, deserialize_with = "optional")]
    secret_file: Option<String>,
}

impl Doorbell {
    /// Refuses what cannot be used together, without reading the secret's file. `status` is where the
    /// status page listens.
    pub(super) fn check(&self, status: Option<SocketAddr>) -> Result<(), Wrong> {
        if self.secret.is_some() && self.secret_file.is_some() {
            return Err((
                "secret",
                "set either doorbell.secret or doorbell.secret_file, not both".to_owned(),
            ));
        }
        if let Some(address) = self.listen {
            if self.secret.is_none() && self.secret_file.is_none() {
                return Err((
                    "listen",
                    format!(
                        "the doorbell needs a secret: set doorbell.secret_file or doorbell.secret; {MAKE}"
                    ),
                ));
            }
            // Port 0 is another one each time.
            if status == Some(address) && address.port() != 0 {
                return Err((
                    "listen",
                    format!(
                        "http.listen has {address}, too; choose another port: only the doorbell may be \
                         reached from outside"
                    ),
                ));
            }
        }
        if let Some(secret) = &self.secret {
            usable(secret.expose_secret(), "secret")?;
        }
        Ok(())
    }

    /// Reads the secret's file, if there is one. Returns a warning about it.
    pub(super) fn with_secret(mut self) -> Result<(Self, Option<String>), Wrong> {
        const KEY: &str = "secret_file";
        let Some(path) = self.secret_file.take() else {
            return Ok((self, None));
        };
        let read = secret_file::read(&path, KEY, "secret file", |text| usable(text, KEY));
        let (secret, warning) = read?;
        self.secret = Some(secret);
        Ok((self, warning))
    }
}

/// The secret without surrounding white space. Refuses one that can be guessed.
fn usable(text: &str, key: &'static str) -> Result<SecretString, Wrong> {
    let text = text.trim();
    if text.chars().count() < SHORTEST {
        return Err((
            key,
            format!("the secret is shorter than {SHORTEST} characters; {MAKE}"),
        ));
    }
    Ok(SecretString::from(text))
}
