//! The form in which the token is sent: after the word `Bearer`, as the platform documents it, or
//! bare (API notes, 2: its clients disagree about what is accepted).
//!
//! Owns which form is in use and whether the other one may be tried. Must not know how requests are
//! sent. Nothing in this module shows the token.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::header::{HeaderValue, InvalidHeaderValue};
use secrecy::{ExposeSecret as _, SecretString};

/// The word before the token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Scheme {
    /// The word `Bearer`.
    #[default]
    Bearer,
    /// Nothing.
    Bare,
}

impl Scheme {
    pub(super) const fn other(self) -> Self {
        match self {
            Self::Bearer => Self::Bare,
            Self::Bare => Self::Bearer,
        }
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    in_use: Scheme,
    /// Whether any request was accepted. If so, a refusal has another reason.
    accepted: bool,
    /// When the other scheme was also refused, by [`Clock::running`](crate::clock::Clock::running).
    tried: Option<Duration>,
}

/// How long a refusal of both schemes is remembered. A renewed token or a changed platform may need
/// the other one.
const REMEMBERED: Duration = Duration::from_hours(1);

/// The token in both forms.
#[derive(Debug)]
pub(super) struct Credentials {
    token: SecretString,
    bearer: HeaderValue,
    bare: HeaderValue,
    state: Mutex<State>,
    /// Held while the other scheme is tried, so that concurrent requests do it once.
    pub(super) trying: tokio::sync::Mutex<()>,
}

impl Credentials {
    pub(super) fn new(token: SecretString) -> Result<Self, InvalidHeaderValue> {
        let secret = |text: String| {
            HeaderValue::try_from(text).map(|mut value| {
                value.set_sensitive(true);
                value
            })
        };
        Ok(Self {
            bearer: secret(format!("Bearer {}", token.expose_secret()))?,
            bare: secret(token.expose_secret().to_owned())?,
            token,
            state: Mutex::default(),
            trying: tokio::sync::Mutex::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The value is valid even if a holder panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The header's value for a request.
    pub(super) fn header(&self, scheme: Scheme) -> HeaderValue {
        match scheme {
            Scheme::Bearer => self.bearer.clone(),
            Scheme::Bare => self.bare.clone(),
        }
    }

    pub(super) fn in_use(&self) -> Scheme {
        self.state().in_use
    }

    /// Starts with the scheme that an earlier process learned.
    pub(super) fn remember(&self, scheme: Scheme) {
        let mut state = self.state();
        if !state.accepted {
            state.in_use = scheme;
        }
    }

    /// Records that a request with this scheme was accepted.
    pub(super) fn accept(&self, scheme: Scheme) {
        let mut state = self.state();
        if state.in_use == scheme {
            state.accepted = true;
        }
    }

    /// Whether the scheme may be the reason of a refusal. `now` is
    /// [`Clock::running`](crate::clock::Clock::running).
    pub(super) fn may_try(&self, now: Duration) -> bool {
        let state = self.state();
        let is_known = |at| now.saturating_sub(at) < REMEMBERED;
        !state.accepted && !state.tried.is_some_and(is_known)
    }

    /// Records that this scheme was tried and accepted, and uses it from now on.
    pub(super) fn adopt(&self, scheme: Scheme) {
        let mut state = self.state();
        state.in_use = scheme;
        state.accepted = true;
    }

    /// Records that the other scheme was refused, too.
    pub(super) fn give_up(&self, now: Duration) {
        self.state().tried = Some(now);
    }

    /// The text without the token, in case an answer repeats it.
    pub(super) fn hide(&self, text: String) -> String {
        let token = self.token.expose_secret();
        if text.contains(token) {
            text.replace(token, "…")
        } else {
            text
        }
    }
}
