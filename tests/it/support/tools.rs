//! Other programs that some tests need. Where one is missing, what needs it is not tested, and says so.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Set where no program may be missing, as in the workflow of CI.
const REQUIRED: &str = "TEST_TOOLS_REQUIRED";

/// Says that a program is missing, and which package of Debian has it. Fails where none may be missing.
pub(crate) fn missing(program: &str, package: &str) {
    assert!(
        std::env::var_os(REQUIRED).is_none(),
        "{program} is not installed, and {REQUIRED} is set"
    );
    println!(
        "WARNING: {program} is not installed: what needs it was NOT tested (Debian: {package})"
    );
}

/// Runs Prometheus' `promtool` with this input, and expects that it finds nothing wrong.
pub(crate) fn promtool(arguments: &[&str], folder: &Path, input: &str) {
    let started = Command::new("promtool")
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = started else {
        missing("promtool", "prometheus");
        return;
    };
    let mut stdin = child.stdin.take().unwrap();
    // A tool that reads no input may have closed it.
    let _unread = stdin.write_all(input.as_bytes());
    drop(stdin);
    let done = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "promtool {arguments:?}: {said}");
}
