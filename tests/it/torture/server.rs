//! A Postgres server that is the torture's own, so that it can be crashed, and a folder that is
//! gone with the test.
//!
//! Both are looked after by processes that end when their input does: the kernel closes it
//! whatever becomes of the test.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The status with which `scripts/with-postgres` says that Postgres is not installed.
const NOT_INSTALLED: i32 = 127;

/// A folder that is removed when the test ends, also by kill -9.
pub(super) struct Scratch {
    path: PathBuf,
    keeper: Child,
}

impl Scratch {
    pub(super) fn new() -> Self {
        let path = tempfile::tempdir().unwrap().keep();
        // Twice, since the processes that use it die at the same moment.
        let keep = "trap '' INT TERM HUP; cat; rm -rf -- \"$1\" || sleep 1; rm -rf -- \"$1\"";
        let keeper = Command::new("sh")
            .args(["-c", keep, "sh"])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C and whoever kills the test with its group do not reach it.
            .process_group(0)
            .spawn()
            .unwrap();
        Self { path, keeper }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// An empty folder in it, in place of the last one.
    pub(super) fn empty(&self) -> PathBuf {
        let folder = self.path.join("round");
        if folder.exists() {
            std::fs::remove_dir_all(&folder).unwrap();
        }
        std::fs::create_dir(&folder).unwrap();
        folder
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        end(&mut self.keeper);
    }
}

/// A server on which databases may be created.
pub(super) struct Server {
    pub(super) url: String,
    own: Option<Own>,
}

/// What belongs to a server that was started here.
struct Own {
    /// `scripts/with-postgres`.
    script: Child,
    control: String,
}

impl Server {
    /// Starts one. Where Postgres is not installed, takes the one that was named.
    pub(super) fn start(folder: &Path) -> Self {
        let named = std::env::var("TEST_POSTGRES_URL").ok();
        let log = folder.join("with-postgres.log");
        let mut script = Command::new(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/scripts/with-postgres"
        ));
        script
            .args(["sh", "-c"])
            .arg("printf '%s\\n' \"$TEST_POSTGRES_URL\" \"$TEST_POSTGRES_CONTROL\"; exec cat")
            .env_remove("TEST_POSTGRES_URL")
            .env_remove("TEST_POSTGRES_CONTROL")
            // What was committed must outlive a crash of the server; the machine itself lives on.
            .env("WITH_POSTGRES_OPTIONS", "-c synchronous_commit=on")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap())
            .process_group(0);
        if named.is_some() {
            script.env("WITH_POSTGRES_INSTALL", "no");
        }
        let mut script = script.spawn().unwrap();
        let said = BufReader::new(script.stdout.take().unwrap()).lines();
        let said: Vec<String> = said.take(2).map(Result::unwrap).collect();
        if let [url, control] = &said[..] {
            return Self {
                url: url.clone(),
                own: Some(Own {
                    script,
                    control: control.clone(),
                }),
            };
        }
        let status = script.wait().unwrap();
        match named {
            Some(url) if status.code() == Some(NOT_INSTALLED) => {
                println!(
                    "torture: Postgres is not installed here: the server of TEST_POSTGRES_URL is \
                     not restarted, its connections are cut and refused"
                );
                Self { url, own: None }
            }
            _ => panic!(
                "scripts/with-postgres: {status}\n{}",
                std::fs::read_to_string(log).unwrap()
            ),
        }
    }

    /// Whether it may be stopped.
    pub(super) const fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// Stops it: at once, as a crash does, or in order.
    pub(super) fn stop(&self, at_once: bool) {
        self.control(&["stop", if at_once { "immediate" } else { "fast" }]);
    }

    /// Starts it again, and waits until it lets connections in.
    pub(super) fn start_again(&self) {
        self.control(&["start"]);
    }

    fn control(&self, arguments: &[&str]) {
        let control = &self.own.as_ref().unwrap().control;
        let mut command = Command::new("bash");
        let done = command.arg(control).args(arguments).output().unwrap();
        assert!(done.status.success(), "{arguments:?}: {done:?}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(own) = &mut self.own {
            end(&mut own.script);
        }
    }
}

/// Ends a process that reads to the end of its input, and waits for it.
fn end(process: &mut Child) {
    drop(process.stdin.take());
    let _ended = process.wait();
}
