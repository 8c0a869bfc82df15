//! SIGHUP: asks `run` to read its configuration again. Decides what a changed key needs.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::Failure;
use crate::telemetry;

/// What a changed key needs to take effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    /// The work on an account starts over with it.
    NewWork,
    /// Its schedules are set anew.
    NewSchedule,
    /// It takes effect at once.
    Nothing,
    /// A process has it for its whole life.
    Restart,
    /// It only concerns other commands, or accounts and secrets, which are compared themselves.
    Elsewhere,
}

/// What a changed key needs.
pub(super) fn needs(key: &str) -> Needs {
    match key {
        "sync.schedule" | "verify.schedule" => Needs::NewSchedule,
        "log.level" => Needs::Nothing,
        "log.format" | "timezone" => Needs::Restart,
        "api.token"
        | "api.token_file"
        | "api.base_url"
        | "http.token"
        | "http.token_file"
        | "doorbell.secret"
        | "doorbell.secret_file" => Needs::Elsewhere,
        _ => match key.split_once('.').map_or(key, |(section, _)| section) {
            "api" | "sync" | "backfill" | "store" => Needs::NewWork,
            "alerts" | "report" => Needs::Nothing,
            // The database and the address are open.
            _ => Needs::Restart,
        },
    }
}

/// Wishes to read the configuration again.
pub(super) struct Reloads {
    hangups: Signal,
    on_terminal: bool,
    stop: CancellationToken,
}

impl Reloads {
    /// From now on, SIGHUP is such a wish. `stop` is cancelled if it means that the terminal was closed.
    pub(super) fn begin(stop: &CancellationToken) -> Result<Self, Failure> {
        Ok(Self {
            hangups: signal(SignalKind::hangup())?,
            on_terminal: telemetry::is_on_terminal(),
            stop: stop.clone(),
        })
    }

    /// Waits for the next wish.
    pub(super) async fn next(&mut self) {
        loop {
            if self.hangups.recv().await.is_none() {
                return std::future::pending().await;
            }
            // A terminal that was closed is none any more.
            if self.on_terminal && !telemetry::is_on_terminal() {
                self.stop.cancel();
            } else if !self.stop.is_cancelled() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::KEYS;

    #[test]
    fn only_what_a_process_has_for_its_whole_life_needs_a_restart() {
        let restart = KEYS.iter().filter(|key| needs(key.name) == Needs::Restart);
        let names: Vec<&str> = restart.map(|key| key.name).collect();
        assert_eq!(
            names,
            [
                "database.url",
                "database.schema",
                "database.shared",
                "database.migrate",
                "http.listen",
                "doorbell.listen",
                "log.format",
                "timezone",
            ]
        );
    }
}
