//! The connections to the platform, and when to open new ones.
//!
//! Must not know requests.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::ClientBuilder;

/// How often an HTTP/2 connection with an open request is asked whether it is alive, and how long it
/// may take to answer.
const PING_EVERY: Duration = Duration::from_secs(15);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Makes the configuration of a set of connections.
type Configure = Box<dyn Fn() -> ClientBuilder + Send + Sync>;

/// A set of connections that can be replaced by a new one.
///
/// All requests share one HTTP/2 connection. If its other end has died without closing it, as behind a
/// load balancer, every request on it would time out, until the process is restarted.
pub(super) struct Connections {
    configure: Configure,
    current: Mutex<Generation>,
}

/// A set of connections and its number.
#[derive(Clone)]
pub(super) struct Generation {
    pub(super) http: reqwest::Client,
    number: u64,
}

impl Connections {
    pub(super) fn new(
        configure: impl Fn() -> ClientBuilder + Send + Sync + 'static,
    ) -> Result<Self, reqwest::Error> {
        let configure: Configure = Box::new(move || {
            configure()
                .http2_keep_alive_interval(PING_EVERY)
                .http2_keep_alive_timeout(PING_TIMEOUT)
        });
        let http = configure().build()?;
        Ok(Self {
            configure,
            current: Mutex::new(Generation { http, number: 0 }),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Generation> {
        // The value is valid even if a holder panicked.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The set of connections for the next request.
    pub(super) fn current(&self) -> Generation {
        self.lock().clone()
    }

    /// Makes later requests open new connections, since one of this set has not answered. Requests that
    /// are in progress keep theirs.
    pub(super) fn renew(&self, silent: &Generation) {
        let mut current = self.lock();
        // Of several requests that time out together, the first one has renewed them.
        if current.number != silent.number {
            return;
        }
        match (self.configure)().build() {
            Ok(http) => {
                *current = Generation {
                    http,
                    number: silent.number + 1,
                };
                tracing::debug!(
                    "a request reached its timeout; later requests open a new connection"
                );
            }
            Err(error) => {
                tracing::debug!(error = %error.without_url(), "could not replace the connections");
            }
        }
    }
}

impl std::fmt::Debug for Connections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connections").finish_non_exhaustive()
    }
}
