//! Parses the base URL and the token that people paste.
//!
//! Owns the accepted forms of both. Must not know how they are used.
//! No error of this module shows a token, or the credentials or parameters of a URL.

use std::net::IpAddr;

use secrecy::SecretString;
use url::{Host, Url};

/// The service prefixes that belong to the paths, not to the base URL (API notes, 1).
const SERVICES: [&str; 4] = ["chat", "core", "crm", "auth"];

/// Why a text is not a valid base URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BaseUrlError {
    /// It is empty.
    #[error("the base URL is empty (accepted: https://api.helena.run, or any other host)")]
    Empty,
    /// It does not begin with `https://` or `http://`.
    #[error("the base URL {0:?} has no scheme: write https:// before the host")]
    Scheme(String),
    /// It begins with the scheme of another protocol.
    #[error(
        "the base URL {0:?} has another protocol than https (accepted: https://api.helena.run)"
    )]
    Protocol(String),
    /// It is not a valid URL.
    #[error("the base URL {url:?} is not valid: {reason} (accepted: https://api.helena.run)")]
    Unreadable {
        /// The text, without credentials.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It contains a user name or a password.
    #[error(
        "the base URL {0:?} contains a user name or password; remove it: the platform needs only a token"
    )]
    Credentials(String),
    /// Plain http to another machine.
    #[error(
        "the base URL {0:?} would send the token unencrypted: use https://, or set \
         api.allow_http if the network is trusted"
    )]
    Plain(String),
}

/// Why a text is not a valid token. The message shows no part of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is empty after trimming.
    #[error(
        "the API token is empty; create one in the platform under Settings > Integrations > API"
    )]
    Empty,
    /// It contains a space, a line break or another character that no token has.
    #[error(
        "the API token contains a space, a line break or another character that no token has; copy \
         it again"
    )]
    Characters,
}

/// Parses a base URL. Removes trailing slashes, and service prefixes with what follows them (API
/// notes, 1). Accepts plain http for loopback addresses, and for others if `allow_http`.
pub fn base_url(text: &str, allow_http: bool) -> Result<Url, BaseUrlError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(BaseUrlError::Empty);
    }
    let lower = text.to_ascii_lowercase();
    if !lower.starts_with("https://") && !lower.starts_with("http://") {
        return Err(if text.contains("://") {
            BaseUrlError::Protocol(shown(text))
        } else {
            BaseUrlError::Scheme(shown(text))
        });
    }
    let mut url = Url::parse(text).map_err(|error| BaseUrlError::Unreadable {
        url: shown(text),
        reason: error.to_string(),
    })?;
    // If a password contains a slash, the parsed host ends there. The true host follows the `@`.
    if text.contains('@') {
        return Err(BaseUrlError::Credentials(shown(text)));
    }
    if url.scheme() == "http" && !allow_http && !is_loopback(&url) {
        return Err(BaseUrlError::Plain(shown(text)));
    }
    url.set_query(None);
    url.set_fragment(None);
    let segments: Vec<&str> = url
        .path()
        .split('/')
        .filter(|segment| !segment.is_empty())
        .collect();
    let end = (0..segments.len())
        .find(|&index| is_service(segments[index], segments.get(index + 1).copied()))
        .unwrap_or(segments.len());
    let path = segments[..end].join("/");
    url.set_path(&path);
    Ok(url)
}

/// Whether a path segment is a service prefix: the last segment, or followed by a version.
fn is_service(segment: &str, next: Option<&str>) -> bool {
    let versioned = next.is_none_or(|next| {
        next.strip_prefix(['v', 'V'])
            .is_some_and(|digits| digits.starts_with(|first: char| first.is_ascii_digit()))
    });
    versioned
        && SERVICES
            .iter()
            .any(|service| service.eq_ignore_ascii_case(segment))
}

/// Whether the URL's host is this machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            name == "localhost" || name.ends_with(".localhost")
        }
        None => false,
    }
}

/// The text without its parameters and without anything before an `@`.
fn shown(text: &str) -> String {
    let scheme = match text.split_once("://") {
        Some((scheme, _)) if scheme.chars().all(|c| c.is_ascii_alphanumeric()) => scheme,
        _ => "",
    };
    let separator = if scheme.is_empty() { "" } else { "://" };
    let visible = match text.rsplit_once('@') {
        // After a `?`, the text may be a parameter or a part of the password.
        Some((before, _)) if before.contains(['?', '#']) => format!("{scheme}{separator}…"),
        Some((_, after)) => format!("{scheme}{separator}…@{after}"),
        None => text.to_owned(),
    };
    let visible = visible.split(['?', '#']).next().unwrap_or_default();
    visible.chars().take(200).collect()
}

/// Parses a token. Removes surrounding white space and quotes, and a leading `Bearer ` (API notes,
/// 2).
pub fn token(text: &str) -> Result<SecretString, TokenError> {
    let mut rest = text.trim();
    for prefix in ["authorization:", "bearer"] {
        if let Some(head) = rest.get(..prefix.len())
            && head.eq_ignore_ascii_case(prefix)
        {
            let tail = &rest[prefix.len()..];
            if tail.is_empty() || tail.starts_with(char::is_whitespace) {
                rest = tail.trim();
            }
        }
    }
    for quote in ['"', '\''] {
        if let Some(inner) = rest
            .strip_prefix(quote)
            .and_then(|inner| inner.strip_suffix(quote))
        {
            return token(inner);
        }
    }
    if rest.is_empty() {
        return Err(TokenError::Empty);
    }
    if !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(TokenError::Characters);
    }
    Ok(SecretString::from(rest.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret as _;

    #[test]
    fn whatever_is_pasted_as_base_url_leads_to_the_same_host() {
        for text in [
            "https://api.helena.run",
            " https://API.helena.run/ ",
            "https://api.helena.run///",
            "https://api.helena.run/chat",
            "https://api.helena.run/core/v1",
            "https://api.helena.run/crm/v2/",
            "https://api.helena.run/chat/v1/session?PageSize=100#top",
        ] {
            let url = base_url(text, false).unwrap();
            assert_eq!(url.as_str(), "https://api.helena.run/", "{text}");
        }
    }

    #[test]
    fn a_path_that_is_no_service_stays() {
        let url = base_url("https://gateway.example/helena/chat/v2/", false).unwrap();
        assert_eq!(url.as_str(), "https://gateway.example/helena");
        let url = base_url("https://gateway.example/chat/helena/", false).unwrap();
        assert_eq!(url.as_str(), "https://gateway.example/chat/helena");
    }

    #[test]
    fn plain_http_is_for_this_machine_or_allowed_by_name() {
        for text in [
            "http://127.0.0.1:8080",
            "http://127.9.9.9",
            "http://localhost:1/",
            "http://[::1]:9",
        ] {
            assert!(base_url(text, false).is_ok(), "{text}");
        }
        for text in [
            "http://api.helena.run",
            "http://10.0.0.1",
            "http://localhost.example.com",
        ] {
            assert!(
                matches!(base_url(text, false), Err(BaseUrlError::Plain(_))),
                "{text}"
            );
            assert!(base_url(text, true).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_is_no_base_url_is_refused_without_showing_credentials() {
        assert_eq!(base_url("  ", false), Err(BaseUrlError::Empty));
        for text in [
            "api.helena.run",
            "api.helena.run:443",
            "localhost:8080",
            "//x",
        ] {
            assert!(
                matches!(base_url(text, false), Err(BaseUrlError::Scheme(_))),
                "{text}"
            );
        }
        let other = base_url("ftp://me:secret@x", false);
        assert_eq!(other, Err(BaseUrlError::Protocol("ftp://…@x".into())));
        for text in [
            "https://me:secret@api.helena.run/?token=secret",
            "me:secret@api.helena.run",
            "https://me:secret@:bad:host",
            "http://secret@api.helena.run",
            "https://a/?secret@x",
            "https://me:12/secret@x",
            "https://secret:12?34@x",
            "https://me:secret#34@x",
            "https://x/secret@y?token=secret",
            r"https:\\me:secret@x",
            "me:secret://y@x",
            "secret:x@y://z",
        ] {
            let error = base_url(text, false).unwrap_err();
            assert!(!error.to_string().contains("secret"), "{error}");
            assert!(!format!("{error:?}").contains("secret"), "{error:?}");
        }
        assert!(base_url("https://:80", false).is_err());
    }

    #[test]
    fn a_token_is_freed_from_what_was_pasted_with_it() {
        for text in [
            "pn_abc",
            " pn_abc\r\n",
            "Bearer pn_abc",
            "bearer  pn_abc ",
            "Authorization: Bearer pn_abc",
            "\"pn_abc\"",
            "'Bearer pn_abc'",
        ] {
            assert_eq!(token(text).unwrap().expose_secret(), "pn_abc", "{text}");
        }
        assert_eq!(token("bearerish").unwrap().expose_secret(), "bearerish");
    }

    #[test]
    fn what_is_no_token_is_refused() {
        for text in ["", "  ", "Bearer ", "Bearer", "\"\""] {
            assert_eq!(token(text).unwrap_err(), TokenError::Empty, "{text}");
        }
        for text in ["a b", "a\nb", "tökén", "a\u{0}b"] {
            assert_eq!(token(text).unwrap_err(), TokenError::Characters, "{text}");
        }
    }
}
