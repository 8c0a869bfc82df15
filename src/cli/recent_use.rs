//! Remembers how many requests commands without a database have sent, so that several of them in a row
//! keep the rate limits of an account together. Commands with a database remember that in `sync_runs`.
//!
//! There is one file for each account in the user's folder for state (`$XDG_STATE_HOME`, else
//! `~/.local/state`), with a line for each command: when it ended, how long it ran, and how many requests it
//! sent. The name of the file is a hash of address and token. Without such a folder, or if it cannot be
//! written, nothing is remembered and no command fails.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use url::Url;

use super::whole_file;
use crate::config::Settings;
use crate::data::Timestamp;

/// From this size on, the old lines of a file are removed.
const LARGE: u64 = 16 << 10;

/// A command cannot have sent more requests than this within a window.
const MOST: u64 = 100_000;

/// The use of one account by commands of this user.
#[derive(Debug)]
pub(super) struct RecentUse {
    file: PathBuf,
}

/// What one command sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sent {
    ended: Timestamp,
    took: Duration,
    requests: u64,
}

impl Sent {
    /// `END TOOK REQUESTS`, times in microseconds.
    fn parse(line: &str) -> Option<Self> {
        let mut parts = line.split(' ');
        let ended = Timestamp::from_micros(parts.next()?.parse().ok()?);
        let took = Duration::from_micros(parts.next()?.parse().ok()?);
        let requests = parts.next()?.parse().ok()?;
        parts.next().is_none().then_some(Self {
            ended,
            took,
            requests,
        })
    }

    fn line(&self) -> String {
        let (ended, took) = (self.ended.micros(), self.took.as_micros());
        format!("{ended} {took} {}\n", self.requests)
    }
}

impl RecentUse {
    /// Of the account with this address and token.
    pub(super) fn of(settings: &Settings, base_url: &Url, token: &SecretString) -> Option<Self> {
        let variable = |name| settings.variable(name).filter(|text| !text.is_empty());
        let folder = match variable("XDG_STATE_HOME") {
            Some(folder) => PathBuf::from(folder),
            None => Path::new(variable("HOME")?).join(".local/state"),
        };
        if !folder.is_absolute() {
            return None;
        }
        let mut hash = Sha256::new();
        hash.update(base_url.as_str());
        hash.update([0]);
        hash.update(token.expose_secret());
        let mut name = "requests-".to_owned();
        for byte in hash.finalize().iter().take(8) {
            // Writing to a String cannot fail.
            let _ = write!(name, "{byte:02x}");
        }
        let file = folder.join("helena-sync").join(name);
        Some(Self { file })
    }

    fn sent(&self) -> Vec<Sent> {
        let text = fs::read_to_string(&self.file).unwrap_or_default();
        text.lines().filter_map(Sent::parse).collect()
    }

    /// How long ago each request of the last `window` was sent. Those of a command are spread evenly over
    /// the time that it took.
    pub(super) fn ages(&self, now: Timestamp, window: Duration) -> Vec<Duration> {
        let mut ages = Vec::new();
        for sent in self.sent() {
            // A clock that was ahead tells nothing.
            if sent.ended > now {
                continue;
            }
            let requests = sent.requests.min(MOST);
            let step = sent.took / u32::try_from(requests).unwrap_or(u32::MAX).max(1);
            let mut age = now.since(sent.ended);
            for _ in 0..requests {
                if age >= window {
                    break;
                }
                ages.push(age);
                age += step;
            }
        }
        ages
    }

    /// Adds what a command sent, and removes what is older than `window` if there is much.
    pub(super) fn add(&self, began: Timestamp, ended: Timestamp, requests: u64, window: Duration) {
        if requests == 0 {
            return;
        }
        let sent = Sent {
            ended,
            took: ended.since(began),
            requests,
        };
        if let Err(error) = self.write(&sent, window) {
            let file = self.file.display();
            tracing::debug!(%error, "cannot remember the requests in {file}: {error}");
        }
    }

    fn write(&self, sent: &Sent, window: Duration) -> io::Result<()> {
        if let Some(folder) = self.file.parent() {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)?;
        }
        if fs::metadata(&self.file).is_ok_and(|known| known.len() > LARGE) {
            let is_recent = |one: &Sent| sent.ended.since(one.ended) < window + one.took;
            let recent = self.sent().into_iter().filter(is_recent);
            let lines: String = recent.map(|one| one.line()).collect();
            whole_file::replace_privately(&self.file, lines.as_bytes())?;
        }
        // Commands that end at the same time write one after the other.
        OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&self.file)?
            .write_all(sent.line().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const WINDOW: Duration = Duration::from_mins(5);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(1_800_000_000_000_000 + seconds * 1_000_000)
    }

    #[test]
    fn what_commands_sent_is_known_until_it_leaves_the_window() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state/helena-sync/requests-1");
        let using = RecentUse { file: file.clone() };
        assert!(using.ages(at(0), WINDOW).is_empty());
        using.add(at(0), at(10), 2, WINDOW);
        using.add(at(20), at(20), 1, WINDOW);
        using.add(at(21), at(22), 0, WINDOW);
        let seconds = |now| -> Vec<u64> {
            let ages = using.ages(at(now), WINDOW);
            ages.iter().map(Duration::as_secs).collect()
        };
        assert_eq!(seconds(30), [20, 25, 10]);
        assert_eq!(seconds(306), [296, 286]);
        assert!(seconds(400).is_empty());
        // A clock that was set back.
        assert!(seconds(5).is_empty());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&file), 0o600);
        assert_eq!(mode(file.parent().unwrap()), 0o700);
    }

    #[test]
    fn a_large_file_loses_its_old_lines_and_a_broken_one_does_no_harm() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("requests");
        let using = RecentUse { file: file.clone() };
        for second in 0..1000 {
            using.add(at(second), at(second), 1, WINDOW);
        }
        assert!(fs::metadata(&file).unwrap().len() < 2 * LARGE);
        assert_eq!(using.ages(at(999), WINDOW).len(), 300);
        fs::write(&file, "1 2\nno number\n\u{fffd} 1 1\n-5 0 1\n1 1 -1\n").unwrap();
        assert!(using.ages(at(0), WINDOW).is_empty());
        fs::write(&file, format!("{} 0 99999999999\n", at(0).micros())).unwrap();
        assert_eq!(using.ages(at(1), WINDOW).len(), 100_000);
        // Where nothing can be written, nothing is remembered.
        let nowhere = RecentUse {
            file: folder.path().join("requests/below"),
        };
        nowhere.add(at(0), at(1), 1, WINDOW);
        assert!(nowhere.ages(at(1), WINDOW).is_empty());
    }
}
