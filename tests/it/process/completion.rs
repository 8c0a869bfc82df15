//! Completion as a user meets it: the script is sourced in the shell, and the shell is asked.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use super::program::Place;
use crate::support::tools;

/// Completes a command line in a shell. The last word is the one to complete.
type Ask = fn(&Place, &[&str]) -> BTreeSet<String>;

/// The shells that are installed.
fn shells() -> Vec<(&'static str, Ask)> {
    let all: [(&'static str, Ask); 3] = [("bash", in_bash), ("zsh", in_zsh), ("fish", in_fish)];
    let is_installed = |name: &str| Command::new(name).arg("--version").output().is_ok();
    let (here, missing): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|(name, _)| is_installed(name));
    for (name, _) in &missing {
        tools::missing(name, name);
    }
    here
}

fn quoted(words: &[&str]) -> String {
    let quote = |word: &&str| format!("'{word}'");
    words.iter().map(quote).collect::<Vec<_>>().join(" ")
}

/// What a script prints, line by line, run in the place's folder with the program in the PATH.
fn lines(place: &Place, shell: &str, arguments: &[&str], script: &str) -> BTreeSet<String> {
    let program = Path::new(env!("CARGO_BIN_EXE_helena-sync"));
    let path = format!("{}:/usr/bin:/bin", program.parent().unwrap().display());
    let done = Command::new(shell)
        .args(arguments)
        .args(["-c", script])
        .env_clear()
        .env("PATH", path)
        .env("HOME", place.path())
        .env("LANG", "C.UTF-8")
        .current_dir(place.path())
        .output()
        .unwrap();
    let err = String::from_utf8_lossy(&done.stderr);
    assert!(err.trim().is_empty(), "{shell} {script}: {err}");
    let out = String::from_utf8(done.stdout).unwrap();
    let filled = out.lines().filter(|line| !line.is_empty());
    filled.map(str::to_owned).collect()
}

fn in_bash(place: &Place, words: &[&str]) -> BTreeSet<String> {
    let last = words.len() - 1;
    let script = format!(
        "source <(helena-sync completions bash)\n\
         COMP_WORDS=({}); COMP_CWORD={last}; COMP_TYPE=9\n\
         _clap_complete_helena_sync helena-sync '{}' '{}'\n\
         printf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
        quoted(words),
        words[last],
        words[last - 1],
    );
    lines(place, "bash", &["--norc", "--noprofile"], &script)
}

fn in_zsh(place: &Place, words: &[&str]) -> BTreeSet<String> {
    // Outside of its line editor, zsh has nowhere to show candidates: these stand for what would.
    let script = format!(
        "compdef() {{ :; }}\n\
         _describe() {{ local all=$3; print -rl -- ${{(P)all}}; }}\n\
         source <(helena-sync completions zsh)\n\
         words=({}); CURRENT={}\n\
         _clap_dynamic_completer_helena_sync\n",
        quoted(words),
        words.len(),
    );
    let shown = lines(place, "zsh", &["-f"], &script);
    let value = |line: &String| line.split(':').next().unwrap_or_default().to_owned();
    shown.iter().map(value).collect()
}

fn in_fish(place: &Place, words: &[&str]) -> BTreeSet<String> {
    let script = format!(
        "helena-sync completions fish | source\ncomplete --do-complete '{}'\n",
        words.join(" ")
    );
    let shown = lines(place, "fish", &["--no-config"], &script);
    let value = |line: &String| line.split('\t').next().unwrap_or_default().to_owned();
    shown.iter().map(value).collect()
}

fn set(values: &[&str]) -> BTreeSet<String> {
    values.iter().map(|&value| value.to_owned()).collect()
}

#[test]
fn every_shell_completes_commands_options_and_values() {
    let place = Place::new();
    place.write("stale.toml", "");
    place.write("PENDING.txt", "");
    for (shell, ask) in shells() {
        let of = |line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            ask(&place, &words)
        };
        let equals = |line: &str, expected: &[&str]| {
            assert_eq!(of(line), set(expected), "{shell}: {line}");
        };
        equals("helena-sync st", &["state", "status"]);
        equals("helena-sync sync --res", &["--resource"]);
        equals("helena-sync sync --resource se", &["sessions"]);
        equals("helena-sync sync --resource SE", &["sessions"]);
        equals("helena-sync sync --resource tags,se", &["tags,sessions"]);
        equals(
            "helena-sync sessions --status ",
            &[
                "UNDEFINED",
                "STARTED",
                "PENDING",
                "IN_PROGRESS",
                "COMPLETED",
                "HIDDEN",
            ],
        );
        equals("helena-sync sessions --status pen", &["PENDING"]);
        equals("helena-sync sessions --type ", &["INDIVIDUAL", "GROUP"]);
        equals("helena-sync sessions --direction d", &["descending"]);
        equals("helena-sync sessions --order-by u", &["updatedAt"]);
        equals("helena-sync sessions --include n", &["none"]);
        equals("helena-sync sessions --format n", &["ndjson"]);
        equals("helena-sync contacts --status a", &["ACTIVE", "ARCHIVED"]);
        equals("helena-sync state s", &["set", "show"]);
        let of_state = of("helena-sync state set ");
        assert!(
            of_state.is_superset(&set(&["sessions", "contacts"])),
            "{of_state:?}"
        );
        assert!(!of_state.contains("tags"), "{shell}: {of_state:?}");
        equals("helena-sync --log-level d", &["debug"]);
        equals("helena-sync run --log-format j", &["json"]);
        equals("helena-sync report --by de", &["department"]);
        equals("helena-sync completions z", &["zsh"]);
        // A file only where a file fits.
        equals("helena-sync --config st", &["stale.toml"]);
        equals("helena-sync sessions --status st", &["STARTED"]);
        equals("helena-sync sessions --tag st", &[]);
        equals("helena-sync sync --database-url st", &[]);
    }
}
