//! Starting the program, and what came of it.

use std::io::{BufRead, BufReader, Read};
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use futures::FutureExt;
use helena_sync::clock::{Clock, SystemClock};
use helena_sync::sandbox::{Sandbox, SandboxConfig};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::support::database::{self, Database, Kind};

/// No test waits longer than this for anything; it only keeps a hung one from hanging for ever.
pub(crate) const GUARD: Duration = Duration::from_mins(2);

/// The token of every sandbox here: no output may ever show it.
pub(crate) const TOKEN: &str = "pn_7hVq2ZsecretNeverShown";

/// An empty folder, and the environment that the program is started with.
pub(crate) struct Place {
    pub(crate) kind: Kind,
    pub(crate) database_url: String,
    folder: TempDir,
    environment: Vec<(String, String)>,
}

/// How a program ended, and what it printed.
#[derive(Debug)]
pub(crate) struct Done {
    /// `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A program at work. Killed when dropped.
pub(crate) struct Running {
    child: Child,
    out: Arc<Mutex<String>>,
    err: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

/// An account of so many sessions, on the machine's clock.
pub(crate) async fn account(sessions: u32) -> Sandbox {
    sandbox(SandboxConfig::of_size(sessions)).await
}

/// An account like this, on the machine's clock, with the token that must not be shown.
pub(crate) async fn sandbox(config: SandboxConfig) -> Sandbox {
    let config = SandboxConfig {
        token: TOKEN.to_owned(),
        ..config
    };
    Sandbox::start(config, Arc::new(SystemClock)).await.unwrap()
}

/// Tells a story on both databases, each in a folder of its own.
pub(crate) async fn on_both<F: Future<Output = ()>>(story: impl Fn(Place) -> F) {
    story(Place::new()).await;
    let (mut admin, url) = database::create().await;
    let mut place = Place::new();
    place.kind = Kind::Postgres;
    place.database_url.clone_from(&url);
    place.set("DATABASE_URL", &url);
    let told = AssertUnwindSafe(story(place)).catch_unwind().await;
    database::drop(&mut admin, &url).await;
    if let Err(panic) = told {
        std::panic::resume_unwind(panic);
    }
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !so().await {
            SystemClock.sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(GUARD, waiting).await;
    assert!(waited.is_ok(), "waited in vain until {what}");
}

impl Place {
    /// An empty folder; the database is the default one, a file in it.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database_url = format!("sqlite://{}", folder.path().join("helena.db").display());
        let environment = [
            ("PATH", "/usr/bin:/bin"),
            ("HELENA_API_TOKEN", TOKEN),
            ("HELENA_SYNC__TIMEZONE", "UTC"),
            // Tests run at the same time, and have one address.
            ("HELENA_SYNC__HTTP__LISTEN", "off"),
            // The platform's own limits would make a fast test wait.
            ("HELENA_SYNC__API__RATE_LIMIT__BURST", "100000/5s"),
            ("HELENA_SYNC__API__RATE_LIMIT__SUSTAINED", "100000/5m"),
        ];
        Self {
            kind: Kind::Sqlite,
            database_url,
            folder,
            environment: environment
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .to_vec(),
        }
    }

    /// The same, beside this account.
    pub(crate) fn beside(sandbox: &Sandbox) -> Self {
        Self::new().with("HELENA_BASE_URL", &sandbox.base_url())
    }

    /// Sets a variable.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.unset(name);
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Removes a variable.
    pub(crate) fn unset(&mut self, name: &str) {
        self.environment.retain(|(known, _)| known != name);
    }

    /// With a variable set.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.set(name, value);
        self
    }

    /// Without a variable.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.unset(name);
        self
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The environment that the program is started with.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        self.environment.clone()
    }

    /// Writes a file into the folder.
    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).unwrap();
    }

    /// The names of all files in the folder.
    pub(crate) fn files(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// The database that the program filled, for looking into it.
    pub(crate) async fn database(&self) -> Database {
        database::open(self.kind, self.database_url.clone()).await
    }

    /// Starts the program.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        self.start_as(Command::new(env!("CARGO_BIN_EXE_helena-sync")), arguments)
    }

    /// Starts the program by this command, which becomes the program.
    pub(crate) fn start_by(&self, command: &[&str], arguments: &[&str]) -> Running {
        let mut by = Command::new(command[0]);
        by.args(&command[1..])
            .arg(env!("CARGO_BIN_EXE_helena-sync"));
        self.start_as(by, arguments)
    }

    fn start_as(&self, mut command: Command, arguments: &[&str]) -> Running {
        let mut child = command
            .args(arguments)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (out, err) = (Arc::default(), Arc::default());
        let readers = vec![
            follow(child.stdout.take().unwrap(), &out),
            follow(child.stderr.take().unwrap(), &err),
        ];
        Running {
            child,
            out,
            err,
            readers,
        }
    }

    /// Runs the program to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Done {
        self.start(arguments).end().await
    }

    /// Runs it, and expects that it does what is asked.
    pub(crate) async fn succeeds(&self, arguments: &[&str]) -> Done {
        let done = self.run(arguments).await;
        assert_eq!(done.code, Some(0), "{arguments:?}: {done:?}");
        done
    }

    /// Runs it, and expects that it fails with this exit status and says all of this on stderr.
    pub(crate) async fn refuses(&self, arguments: &[&str], code: i32, said: &[&str]) -> Done {
        let done = self.run(arguments).await;
        assert_eq!(done.code, Some(code), "{arguments:?}: {done:?}");
        done.says(said);
        done
    }
}

fn follow(from: impl Read + Send + 'static, into: &Arc<Mutex<String>>) -> JoinHandle<()> {
    let into = Arc::clone(into);
    std::thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while from.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            into.lock()
                .unwrap()
                .push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    })
}

impl Done {
    /// Expects all of this on stderr.
    pub(crate) fn says(&self, texts: &[&str]) {
        for text in texts {
            assert!(self.err.contains(text), "no {text:?} in: {self:?}");
        }
    }

    /// What it printed, as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Running {
    /// Its process id.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Stops it. The signal returns before all of its threads stand still, so this waits for them.
    pub(crate) async fn stand_still(&self) {
        self.signal(Signal::STOP);
        let tasks = format!("/proc/{}/task", self.pid().as_raw_nonzero());
        until("all of its threads stand still", async || {
            std::fs::read_dir(&tasks).unwrap().flatten().all(|task| {
                // A thread that has just ended does nothing any more.
                let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
                stat.rsplit_once(") ")
                    .is_none_or(|(_, rest)| rest.starts_with('T'))
            })
        })
        .await;
    }

    /// What it has printed to stderr so far.
    pub(crate) fn err(&self) -> String {
        self.err.lock().unwrap().clone()
    }

    /// Waits until it has printed this to stderr.
    pub(crate) async fn says(&mut self, text: &str) {
        self.has(text, Self::err).await;
    }

    /// Waits until it has printed this to stdout.
    pub(crate) async fn prints(&mut self, text: &str) {
        self.has(text, |it| it.out.lock().unwrap().clone()).await;
    }

    async fn has(&mut self, text: &str, printed: fn(&Self) -> String) {
        let what = format!("it says {text:?}");
        until(&what, async || {
            if printed(self).contains(text) {
                return true;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "it ended instead: {}", self.err());
            false
        })
        .await;
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end. Whatever it was, the token was never shown.
    pub(crate) async fn end(mut self) -> Done {
        let mut status: Option<ExitStatus> = None;
        until("the program ends", async || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        let done = Done {
            code: status.unwrap().code(),
            out: self.out.lock().unwrap().clone(),
            err: self.err(),
        };
        assert!(!done.out.contains(TOKEN), "{done:?}");
        assert!(!done.err.contains(TOKEN), "{done:?}");
        done
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}
