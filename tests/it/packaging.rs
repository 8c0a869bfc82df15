//! What is shipped for systemd, containers and Kubernetes, held against the program and against systemd's
//! own checks.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use clap::Parser;
use helena_sync::cli::Cli;
use helena_sync::config::{KEYS, Key};
use rustix::process::Signal;
use tokio::net::UnixDatagram;

use crate::process::program::{Place, account};
use crate::support::tools;

const UNIT: &str = "packaging/systemd/helena-sync.service";

fn shipped(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(path).unwrap()
}

/// The names of variables in a text that begin as ours do.
fn variables(text: &str) -> BTreeSet<&str> {
    let is_part = |c: char| c.is_ascii_uppercase() || c == '_';
    let words = text.split(|c: char| !is_part(c));
    words
        .filter(|word| word.starts_with("HELENA_") || *word == "DATABASE_URL")
        .collect()
}

#[test]
fn what_is_shipped_sets_only_keys_that_exist_and_calls_only_commands_that_exist() {
    let known: BTreeSet<String> = KEYS.iter().flat_map(Key::variables).collect();
    for file in [
        UNIT,
        "packaging/kubernetes/helena-sync.yaml",
        "docker-compose.yml",
    ] {
        let text = shipped(file);
        let named = variables(&text);
        assert!(named.len() > 1, "{file}: {named:?}");
        for variable in named {
            assert!(known.contains(variable), "{file}: {variable}");
        }
    }
    let unit = shipped(UNIT);
    let start = unit
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="));
    Cli::try_parse_from(start.unwrap().split(' ')).unwrap();
    let pod = shipped("packaging/kubernetes/helena-sync.yaml");
    let arguments = pod
        .lines()
        .find_map(|line| line.trim().strip_prefix("args: "));
    let arguments: Vec<String> = serde_json::from_str(arguments.unwrap()).unwrap();
    Cli::try_parse_from(std::iter::once("helena-sync".to_owned()).chain(arguments)).unwrap();
    for path in ["/healthz", "/readyz"] {
        assert!(pod.contains(&format!("path: {path}\n")), "{path}");
    }
    let image = shipped("Dockerfile");
    let (_, check) = image.split_once("HEALTHCHECK").unwrap();
    let (_, check) = check.split_once("CMD ").unwrap();
    let check: Vec<String> = serde_json::from_str(check.lines().next().unwrap()).unwrap();
    Cli::try_parse_from(check).unwrap();
}

#[test]
fn systemd_finds_no_mistake_in_the_unit_and_calls_it_safe() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("helena-sync.service");
    // It checks whether the program is there.
    let program = env!("CARGO_BIN_EXE_helena-sync");
    let unit = shipped(UNIT).replace("/usr/local/bin/helena-sync", program);
    std::fs::write(&path, unit).unwrap();
    let path = path.to_str().unwrap();
    // An exposure of 2.5 of 10.
    let security = [
        "security",
        "--offline=yes",
        "--threshold=25",
        "--no-pager",
        path,
    ];
    for arguments in [&["verify", "--man=no", path][..], &security] {
        let Ok(done) = Command::new("systemd-analyze").args(arguments).output() else {
            tools::missing("systemd-analyze", "systemd");
            return;
        };
        let said = String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{arguments:?}: {said}");
        if arguments[0] == "verify" {
            assert_eq!(said, "");
        }
    }
}

/// Receives until a message has this line.
async fn told(socket: &UnixDatagram, wanted: &str) -> String {
    let mut heard = Vec::new();
    let listening = async {
        loop {
            let mut message = [0; 4096];
            let length = socket.recv(&mut message).await.unwrap();
            let text = String::from_utf8_lossy(&message[..length]).into_owned();
            let has = text.lines().any(|line| line.starts_with(wanted));
            heard.push(text.clone());
            if has {
                return text;
            }
        }
    };
    let heard_it = tokio::time::timeout(crate::process::program::GUARD, listening).await;
    heard_it.unwrap_or_else(|_| panic!("no {wanted}: {heard:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn run_tells_systemd_when_it_starts_works_and_stops() {
    let sandbox = account(20).await;
    let place = Place::beside(&sandbox);
    let socket = place.path().join("notify");
    let place_of_socket = socket.to_str().unwrap().to_owned();
    let listener = UnixDatagram::bind(&socket).unwrap();
    let place = place.with("NOTIFY_SOCKET", &place_of_socket);
    let mut program = place.start(&["run"]);
    let ready = told(&listener, "READY=1").await;
    assert!(
        ready.contains("STATUS=keeping 1 account up to date"),
        "{ready}"
    );
    program.says("keeping 1 account").await;
    told(&listener, "WATCHDOG=1").await;
    program.signal(Signal::TERM);
    told(&listener, "STOPPING=1").await;
    let done = program.end().await;
    assert_eq!(done.code, Some(0), "{done:?}");
}
