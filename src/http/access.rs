//! Who may read: with a token, whoever sends it; without one, programs of this machine.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::said;

/// The form in which a program sends the token, and the one that a browser asks a person for: any
/// user, and the token as the password.
const CHALLENGE: &str = "Basic realm=\"helena-sync\", charset=\"UTF-8\"";

/// Who may read the guarded addresses.
#[derive(Debug)]
pub struct Access {
    /// Its hash, since hashes have one length and so are compared in constant time.
    token: RwLock<Option<[u8; 32]>>,
}

fn hashed(text: &[u8]) -> [u8; 32] {
    Sha256::digest(text).into()
}

impl Access {
    /// Whoever sends this token may read. Without a token, everybody who reaches the address.
    pub fn new(token: Option<&SecretString>) -> Self {
        let token = token.map(|token| hashed(token.expose_secret().as_bytes()));
        Self {
            token: RwLock::new(token),
        }
    }

    fn token(&self) -> Option<[u8; 32]> {
        // It is valid even if a holder panicked.
        *self.token.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether readers need a token.
    pub fn needs_token(&self) -> bool {
        self.token().is_some()
    }

    /// From now on, whoever sends this token may read, and nobody else. Returns false if that was so before.
    pub fn renew(&self, token: &SecretString) -> bool {
        let new = Some(hashed(token.expose_secret().as_bytes()));
        let mut token = self.token.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *token, new) != new
    }

    /// Whether the sender of a request with these headers may read everything.
    pub(super) fn may_read(&self, headers: &HeaderMap) -> bool {
        self.refusal(headers).is_none()
    }

    fn refusal(&self, headers: &HeaderMap) -> Option<Response> {
        let Some(token) = self.token() else {
            // A web page elsewhere may have its name point to this machine, and then read on behalf of
            // the person who looks at it.
            return (!names_this_machine(headers)).then(|| {
                said(
                    StatusCode::FORBIDDEN,
                    "without http.token, only requests to an IP address or to localhost are answered\n",
                )
            });
        };
        let is_theirs = sent(headers).is_some_and(|sent| hashed(&sent).ct_eq(&token).into());
        (!is_theirs).then(|| {
            let mut refused = said(
                StatusCode::UNAUTHORIZED,
                "send the token of http.token: Authorization: Bearer TOKEN, or as the password of any user\n",
            );
            let challenge = HeaderValue::from_static(CHALLENGE);
            refused.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            refused
        })
    }
}

/// The token that a request has in one of the two forms.
fn sent(headers: &HeaderMap) -> Option<Vec<u8>> {
    let header = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = header.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.as_bytes().to_vec());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = STANDARD.decode(rest).ok()?;
    let colon = pair.iter().position(|byte| *byte == b':')?;
    Some(pair[colon + 1..].to_vec())
}

/// Whether a request names the machine by an IP address or as localhost.
fn names_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST).and_then(|host| host.to_str().ok()) else {
        return false;
    };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => host.split(':').next(),
    };
    name.is_some_and(|name| {
        name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
    })
}

/// Refuses requests of readers who may not read.
pub(super) async fn guard(
    State(access): State<Arc<Access>>,
    request: Request,
    next: Next,
) -> Response {
    match access.refusal(request.headers()) {
        Some(refusal) => refusal,
        None => next.run(request).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef0123";

    fn status(access: &Access, headers: &[(axum::http::HeaderName, &str)]) -> Option<u16> {
        let headers = headers.iter();
        let headers = headers.map(|(name, value)| (name.clone(), value.parse().unwrap()));
        let refusal = access.refusal(&headers.collect());
        refusal.map(|refusal| refusal.status().as_u16())
    }

    #[test]
    fn the_token_is_accepted_in_both_forms_and_nothing_else_is() {
        let access = Access::new(Some(&SecretString::from(TOKEN)));
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        for sent in [
            format!("Bearer {TOKEN}"),
            format!("bearer {TOKEN}"),
            basic(&format!("anybody:{TOKEN}")),
            basic(&format!(":{TOKEN}")),
        ] {
            assert_eq!(status(&access, &[(AUTHORIZATION, &sent)]), None, "{sent}");
        }
        for sent in [
            String::new(),
            TOKEN.to_owned(),
            format!("Bearer {TOKEN}x"),
            format!("Bearer {}", &TOKEN[1..]),
            "Bearer".to_owned(),
            "Basic !!!".to_owned(),
            basic(TOKEN),
            basic(&format!("{TOKEN}:")),
            format!("Digest {TOKEN}"),
        ] {
            assert_eq!(
                status(&access, &[(AUTHORIZATION, &sent)]),
                Some(401),
                "{sent}"
            );
        }
        assert_eq!(status(&access, &[]), Some(401));

        // Another one takes its place.
        let other = SecretString::from("fedcba9876543210fedc");
        assert!(!access.renew(&SecretString::from(TOKEN)));
        assert!(access.renew(&other));
        let sent = format!("Bearer {TOKEN}");
        assert_eq!(status(&access, &[(AUTHORIZATION, &sent)]), Some(401));
        let sent = format!("Bearer {}", other.expose_secret());
        assert_eq!(status(&access, &[(AUTHORIZATION, &sent)]), None);
    }

    #[test]
    fn without_a_token_only_requests_that_name_this_machine_are_answered() {
        let access = Access::new(None);
        for host in [
            "127.0.0.1:9464",
            "localhost",
            "LOCALHOST:1",
            "[::1]:9464",
            "::1",
        ] {
            let refused = status(&access, &[(HOST, host)]);
            assert_eq!(refused.is_some(), host == "::1", "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:9464",
            "localhost.evil.example",
            "",
        ] {
            assert_eq!(status(&access, &[(HOST, host)]), Some(403), "{host}");
        }
        assert_eq!(status(&access, &[]), Some(403));
    }
}
