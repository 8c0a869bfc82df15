//! What people see who sit at a terminal: colours, widths, and Ctrl-C.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Write as _};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::program::{Place, account, until};

/// A program on a terminal of its own. Killed when dropped.
struct OnTerminal {
    child: Child,
    keys: File,
    shown: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl OnTerminal {
    /// Starts the program on a terminal of so many columns.
    fn start(place: &Place, columns: u16, arguments: &[&str]) -> Self {
        let keys = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&keys).unwrap();
        unlockpt(&keys).unwrap();
        let path = ptsname(&keys, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY;
        let screen: OwnedFd = rustix::fs::open(&path, flags, Mode::empty()).unwrap();
        let size = Winsize {
            ws_row: 50,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&screen, size).unwrap();
        let end = || Stdio::from(screen.try_clone().unwrap());
        let child = Command::new(env!("CARGO_BIN_EXE_helena-sync"))
            .args(arguments)
            .env_clear()
            .env("TERM", "xterm-256color")
            .envs(place.environment())
            .current_dir(place.path())
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        drop(screen);
        let keys = File::from(keys);
        let shown = Arc::<Mutex<Vec<u8>>>::default();
        let (mut from, into) = (keys.try_clone().unwrap(), Arc::clone(&shown));
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // After the program's end, Linux answers with an error.
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                into.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        });
        Self {
            child,
            keys,
            shown,
            reader: Some(reader),
        }
    }

    fn shown(&self) -> String {
        let shown = self.shown.lock().unwrap();
        String::from_utf8_lossy(&shown).replace('\r', "")
    }

    async fn says(&self, text: &str) {
        let what = format!("it shows {text:?}");
        until(&what, async || self.shown().contains(text)).await;
    }

    fn types(&mut self, line: &str) {
        self.keys.write_all(line.as_bytes()).unwrap();
        self.keys.write_all(b"\n").unwrap();
    }

    /// Waits for its end, and returns what the terminal shows and the exit status.
    async fn end(mut self) -> (String, Option<i32>) {
        let mut status = None;
        until("the program ends", async || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        self.reader.take().unwrap().join().unwrap();
        (self.shown(), status.unwrap().code())
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

async fn shown(place: &Place, columns: u16, line: &str) -> String {
    let arguments: Vec<&str> = line.split(' ').collect();
    OnTerminal::start(place, columns, &arguments).end().await.0
}

/// The text without escape sequences, and whether one of them set a colour or a style.
fn without_escapes(text: &str) -> (String, bool) {
    let (mut plain, mut is_styled) = (String::new(), false);
    let mut parts = text.split("\u{1b}[");
    plain.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let end = part.find(|c: char| c.is_ascii_alphabetic());
        let (sequence, rest) = part.split_at(end.map_or(part.len(), |end| end + 1));
        is_styled |= sequence.ends_with('m');
        plain.push_str(rest);
    }
    (plain, is_styled)
}

/// Commands that print help, errors, log lines, tables and notes.
const LINES: [&str; 16] = [
    "--help",
    "sink",
    "sync --interval 5m",
    "tags --database-url x",
    "sync",
    "sync --log-format json",
    "backfill",
    "verify",
    "check",
    "status",
    "state show",
    "rejects",
    "sessions --limit 3",
    "report",
    "config show",
    "demo --sessions 20 --time 0s",
];

/// Those of them that show a colour.
const COLOURED: [&str; 7] = [
    "--help",
    "sink",
    "sync --interval 5m",
    "tags --database-url x",
    "sync",
    "backfill",
    "demo --sessions 20 --time 0s",
];

#[tokio::test(flavor = "multi_thread")]
async fn no_color_means_that_no_command_shows_a_colour() {
    let sandbox = account(20).await;
    for (variable, value, is_coloured) in [
        ("NO_COLOR", "1", false),
        ("TERM", "dumb", false),
        // It counts only if it has a value.
        ("NO_COLOR", "", true),
    ] {
        let place = Place::beside(&sandbox).with(variable, value);
        for line in LINES {
            let text = shown(&place, 100, line).await;
            let expected = is_coloured && COLOURED.contains(&line);
            let (_, is_styled) = without_escapes(&text);
            assert_eq!(is_styled, expected, "{variable}={value} {line}: {text}");
        }
    }
    // Nor does a pipe, whatever the terminal could show.
    let place = Place::beside(&sandbox).with("TERM", "xterm-256color");
    for line in LINES {
        let arguments: Vec<&str> = line.split(' ').collect();
        let done = place.run(&arguments).await;
        assert!(!done.out.contains('\u{1b}'), "{line}: {done:?}");
        assert!(!done.err.contains('\u{1b}'), "{line}: {done:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_line_is_wider_than_the_terminal() {
    let sandbox = account(40).await;
    let place = Place::beside(&sandbox);
    place.succeeds(&["sync"]).await;
    for columns in [80, 120] {
        for line in [
            "check",
            "status",
            "state show",
            "sessions --limit 3",
            "contacts --limit 3",
            "channels",
            "verify",
            "report --by day",
            "sessions --from 2026-02-30",
            "sessions --department Comercial",
            "state set tags 2026-01-01",
        ] {
            let text = shown(&place, columns, line).await;
            let (plain, _) = without_escapes(&text);
            for one in plain.lines() {
                let width = one.chars().count();
                assert!(width <= usize::from(columns), "{line} on {columns}: {one}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn screens_of_120_columns() {
    let sandbox = account(40).await;
    let place = Place::beside(&sandbox);
    let mut text = String::new();
    place.succeeds(&["sync"]).await;
    for line in [
        "channels",
        "sink",
        "sync --interval 5m",
        "backfill --resource contacts",
        "sessions --from 05/06/2026",
        "sessions --from 2026-02-30",
        "report --from 3m",
        "report --timezone UTC",
        "state set tags 2026-01-01",
    ] {
        let (plain, _) = without_escapes(&shown(&place, 120, line).await);
        let lines = plain.lines().map(str::trim_end);
        let _ = writeln!(text, "$ helena-sync {line}");
        lines.for_each(|one| text.extend([one, "\n"]));
        text.push('\n');
    }
    let place = Place::new().without("HELENA_API_TOKEN");
    for line in ["config show", "sync"] {
        let (plain, _) = without_escapes(&shown(&place, 120, line).await);
        let lines = plain.lines().map(str::trim_end);
        let _ = writeln!(text, "$ helena-sync {line}");
        lines.for_each(|one| text.extend([one, "\n"]));
        text.push('\n');
    }
    insta::assert_snapshot!(text);
}

#[tokio::test(flavor = "multi_thread")]
async fn init_ends_with_ctrl_c_also_after_the_first_question() {
    // It accepts connections and answers nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let place = Place::new().without("HELENA_API_TOKEN");
    let mut init = OnTerminal::start(&place, 80, &["init"]);
    init.says("Address of the API [https://api.helena.run]: ")
        .await;
    init.types(&url);
    init.says("Token (account settings, Integrations > API): ")
        .await;
    init.types("pn_geheim");
    init.says("no answer from ").await;
    init.says("press Ctrl-C to give up").await;
    kill_process(Pid::from_child(&init.child), Signal::INT).unwrap();
    let (shown, code) = init.end().await;
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains("stopped; nothing was written"), "{shown}");
    assert!(!shown.contains("geheim"), "{shown}");
    assert_eq!(place.files(), [""; 0]);
}
