//! The real program, run against the sandbox.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use helena_sync::clock::{Clock, SystemClock};
use helena_sync::data::Timestamp;
use rustix::process::{Pid, Signal, kill_process};

use super::{now, weather};
use crate::support::preload::SteppedClock;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// By itself.
    Exit(i32),
    /// By a signal that was not meant for it.
    Signal,
    /// Not at all, within its time.
    Hung,
}

/// The program with its configuration, and what it wrote.
pub(super) struct Program {
    folder: PathBuf,
    variables: Vec<(&'static str, String)>,
}

impl Program {
    /// The program in this folder, on a machine with this clock.
    pub(super) fn new(
        folder: &Path,
        base_url: &str,
        token: &str,
        database: &str,
        clock: Option<&SteppedClock>,
    ) -> Self {
        let overlap = format!("{}s", weather::OVERLAP.as_secs());
        let variables = [
            ("HELENA_BASE_URL", base_url),
            ("HELENA_API_TOKEN", token),
            ("DATABASE_URL", database),
            ("HELENA_SYNC__SYNC__SCHEDULE", "every 1s"),
            ("HELENA_SYNC__SYNC__OVERLAP", &overlap),
            ("HELENA_SYNC__SYNC__CATALOG_INTERVAL", "2s"),
            ("HELENA_SYNC__SYNC__REFRESH_OPEN", "5s"),
            ("HELENA_SYNC__API__PAGE_SIZE", "20"),
            ("HELENA_SYNC__BACKFILL__WINDOW_PAGES", "5"),
            // A 429 without a hint is waited out for a whole window, which must not be minutes.
            ("HELENA_SYNC__API__RATE_LIMIT__SUSTAINED", "4000/5s"),
            ("HELENA_SYNC__API__RATE_LIMIT__BURST", "1000/1s"),
            ("HELENA_SYNC__API__READ_TIMEOUT", "3s"),
            ("HELENA_SYNC__API__REQUEST_TIMEOUT", "6s"),
            ("HELENA_SYNC__LOG__LEVEL", "debug"),
            ("TZ", "UTC"),
        ];
        let mut variables: Vec<(&'static str, String)> = variables
            .map(|(name, value)| (name, value.to_owned()))
            .into();
        for (name, path) in clock.into_iter().flat_map(SteppedClock::variables) {
            variables.push((name, path.to_str().unwrap().to_owned()));
        }
        Self {
            folder: folder.to_owned(),
            variables,
        }
    }

    /// The same with accounts of these names in place of the one.
    pub(super) fn with_accounts(mut self, accounts: &[(&str, String, &str)]) -> Self {
        let is_of_one = |name: &str| ["HELENA_BASE_URL", "HELENA_API_TOKEN"].contains(&name);
        self.variables.retain(|(name, _)| !is_of_one(name));
        let entry = |(name, url, token): &(&str, String, &str)| {
            self.write(&format!("{name}.token"), token);
            let file = self.folder.join(format!("{name}.token"));
            format!(
                "[[accounts]]\nname = \"{name}\"\nbase_url = \"{url}\"\ntoken_file = \"{}\"\n",
                file.display()
            )
        };
        let entries: Vec<String> = accounts.iter().map(entry).collect();
        self.write("helena-sync.toml", &entries.concat());
        let reversed: Vec<String> = entries.into_iter().rev().collect();
        self.write("reversed.toml", &reversed.concat());
        self
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.join(name), text).unwrap();
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    pub(super) fn start(&self, arguments: &[&str]) -> Running {
        Running(self.command(arguments).spawn().unwrap(), now())
    }

    /// Runs it to its end; what it printed is JSON.
    pub(super) async fn json(
        &self,
        arguments: &[&str],
        time: Duration,
    ) -> (End, serde_json::Value) {
        let answer = self.folder.join("answer.json");
        let mut command = self.command(arguments);
        command.stdout(File::create(&answer).unwrap());
        let end = Running(command.spawn().unwrap(), now()).wait(time).await;
        let text = std::fs::read_to_string(answer).unwrap();
        (end, serde_json::from_str(&text).unwrap_or_default())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let log = File::options().create(true).append(true).open(self.log());
        let mut command = Command::new(env!("CARGO_BIN_EXE_helena-sync"));
        command
            .args(arguments)
            .env_clear()
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.unwrap());
        command
    }

    fn text(&self) -> String {
        let bytes = std::fs::read(self.log()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Whether any of its processes panicked so far.
    pub(super) fn panicked(&self) -> bool {
        self.text().contains("panicked at")
    }

    /// Prints the end of what its processes wrote.
    pub(super) fn show_log(&self) {
        let text = self.text();
        let lines: Vec<&str> = text.lines().collect();
        for line in &lines[lines.len().saturating_sub(200)..] {
            println!("    {line}");
        }
    }
}

/// A process of the program and when it was started; killed when dropped.
pub(super) struct Running(Child, Timestamp);

impl Running {
    /// How it ended, if it did.
    pub(super) fn ended(&mut self) -> Option<End> {
        let status = self.0.try_wait().unwrap()?;
        Some(status.code().map_or(End::Signal, End::Exit))
    }

    /// kill -9.
    pub(super) fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.0.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    pub(super) fn pid(&self) -> u32 {
        self.0.id()
    }

    pub(super) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    pub(super) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Its end within a time; `None` if it goes on.
    pub(super) async fn within(&mut self, time: Duration) -> Option<End> {
        let until = now() + time;
        loop {
            if let Some(end) = self.ended() {
                return Some(end);
            }
            if now() >= until {
                return None;
            }
            SystemClock.sleep(Duration::from_millis(10)).await;
        }
    }

    /// Its end, which must come within a time.
    pub(super) async fn wait(&mut self, time: Duration) -> End {
        self.within(time).await.unwrap_or(End::Hung)
    }

    /// SIGTERM, and the end that follows.
    pub(super) async fn terminate(&mut self, time: Duration) -> End {
        // One that has hardly begun does not listen yet, and ends as every process does.
        let young = now().since(self.1) < Duration::from_secs(3);
        self.signal(Signal::TERM);
        match self.wait(time).await {
            End::Signal if young => End::Exit(0),
            end => end,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended().is_none() {
            self.kill();
        }
    }
}
