//! `[http]`: where `run` serves its status, and who may read it.
//!
//! Must not know what is served.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::{Deserializer, Error};

use super::secret_file::{self, Wrong};
use super::values;

/// The fewest characters of a token: a shorter one can be guessed.
const SHORTEST_TOKEN: usize = 16;

/// `[http]`.
#[derive(Debug, Clone, Deserialize)]
pub struct Http {
    /// The address and port to listen on. `None` serves nothing.
    #[serde(deserialize_with = "listen")]
    pub listen: Option<SocketAddr>,
    /// The token that a reader must send.
    #[serde(default, deserialize_with = "optional_secret")]
    pub token: Option<SecretString>,
    /// The file that holds the token.
    #[serde(default, deserialize_with = "optional")]
    token_file: Option<String>,
    /// Whether the address is the default one.
    #[serde(skip)]
    pub is_default: bool,
}

impl Http {
    /// Refuses what cannot be used together, without reading the token's file.
    pub(super) fn check(&self) -> Result<(), Wrong> {
        if self.token.is_some() && self.token_file.is_some() {
            return Err((
                "token",
                "set either http.token or http.token_file, not both".to_owned(),
            ));
        }
        let has_token = self.token.is_some() || self.token_file.is_some();
        if let Some(address) = self.listen
            && !has_token
            && !is_loopback(address)
        {
            return Err((
                "listen",
                format!(
                    "other machines can reach {address}, so readers need a token: set http.token or \
                     http.token_file (openssl rand -hex 24), or listen on 127.0.0.1"
                ),
            ));
        }
        if let Some(token) = &self.token {
            usable(token.expose_secret(), "token")?;
        }
        Ok(())
    }

    /// Reads the token's file, if there is one. Returns a warning about it.
    pub(super) fn with_token(mut self) -> Result<(Self, Option<String>), Wrong> {
        const KEY: &str = "token_file";
        let Some(path) = self.token_file.take() else {
            return Ok((self, None));
        };
        let read = secret_file::read(&path, KEY, "token file", |text| usable(text, KEY));
        let (token, warning) = read?;
        self.token = Some(token);
        Ok((self, warning))
    }
}

/// Whether only this machine can reach the address.
fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// The token without surrounding white space. Refuses one that can be guessed, or that no header can
/// hold.
fn usable(text: &str, key: &'static str) -> Result<SecretString, Wrong> {
    let text = text.trim();
    if text.len() < SHORTEST_TOKEN {
        return Err((
            key,
            format!(
                "the token is shorter than {SHORTEST_TOKEN} characters; make one with `openssl rand -hex 24`"
            ),
        ));
    }
    if !text.chars().all(|c| c.is_ascii_graphic()) {
        return Err((
            key,
            "the token has characters that cannot be sent; make one with `openssl rand -hex 24`"
                .to_owned(),
        ));
    }
    Ok(SecretString::from(text))
}

pub(super) fn listen<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = values::text(from)?;
    if text.eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    let by_name = text.strip_prefix("localhost:").and_then(|port| {
        let port = port.parse().ok()?;
        Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    });
    by_name
        .or_else(|| text.parse().ok())
        .map(Some)
        .ok_or_else(|| {
            D::Error::custom(format!(
                "{text:?} is not an address with a port (accepted: an IP address, a colon and a port, \
                 such as 127.0.0.1:9464 or [::1]:9464; off for none)"
            ))
        })
}

pub(super) fn optional<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    values::text(from).map(Some)
}

pub(super) fn optional_secret<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<SecretString>, D::Error> {
    values::secret(from).map(Some)
}

/// The address under which this machine reaches a server that listens there.
pub fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        ip if !ip.is_unspecified() => ip,
        std::net::IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        std::net::IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, listen.port())
}
