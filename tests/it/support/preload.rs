//! A machine's clock that a test sets while the program runs, by a small library that is loaded
//! into the program's process before all others. There on Linux with its usual C library.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use helena_sync::clock::{Clock, SystemClock};
use helena_sync::data::Timestamp;

/// The clock of the processes that are started with its [`variables`](SteppedClock::variables).
#[derive(Debug)]
pub(crate) struct SteppedClock {
    file: File,
    path: PathBuf,
    /// In microseconds.
    ahead: i64,
}

impl SteppedClock {
    /// One that is right, kept in this folder. `None` where there is none.
    pub(crate) fn new(folder: &Path) -> Option<Self> {
        if !cfg!(all(target_os = "linux", target_env = "gnu")) {
            return None;
        }
        let path = folder.join("clock");
        let file = File::create(&path).unwrap();
        let clock = Self {
            file,
            path,
            ahead: 0,
        };
        clock.write();
        Some(clock)
    }

    /// What the program is started with.
    pub(crate) fn variables(&self) -> [(&'static str, &Path); 2] {
        [("LD_PRELOAD", library()), ("CLOCK_AHEAD_FILE", &self.path)]
    }

    /// How far it is ahead of the truth, in microseconds; negative if behind.
    pub(crate) const fn ahead(&self) -> i64 {
        self.ahead
    }

    /// Sets it so far ahead of the truth.
    pub(crate) fn set(&mut self, ahead: i64) {
        self.ahead = ahead;
        self.write();
    }

    /// What it shows now.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_micros(SystemClock.now().micros() + self.ahead)
    }

    fn write(&self) {
        self.file
            .write_all_at(&self.ahead.to_ne_bytes(), 0)
            .unwrap();
    }
}

/// Compiled once a process, by the C compiler that SQLite needs too.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        // Where programs are compiled to, they may be run from; a temporary folder may forbid that.
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/preload.c");
        let library = tempfile::NamedTempFile::new_in(folder).unwrap();
        let status = Command::new("cc")
            .args(["-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o"])
            .arg(library.path())
            .args([source, "-ldl"])
            .status()
            .unwrap();
        assert!(status.success(), "the C compiler: {status}");
        // In one step, since other test processes do the same at the same time.
        let finished = folder.join("preload.so");
        library.persist(&finished).unwrap();
        finished
    })
}
