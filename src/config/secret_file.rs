//! Reads the files that hold secrets.
//!
//! Must not know what a secret is used for. The text of a file never gets into an error or a warning.

use std::fs;
use std::path::Path;

use crate::data::without_os_numbers;

/// A key of a section, and what is wrong with it.
pub(super) type Wrong = (&'static str, String);

/// Reads the file that a key names. Returns what `parse` makes of its text, and a warning if every user of the
/// machine can read it. `what` says what kind of file it is.
pub(super) fn read<T>(
    path: &str,
    key: &'static str,
    what: &str,
    parse: impl FnOnce(&str) -> Result<T, Wrong>,
) -> Result<(T, Option<String>), Wrong> {
    let text = fs::read_to_string(path).map_err(|error| {
        let cause = without_os_numbers(&error.to_string());
        (key, format!("cannot read {path}: {cause}; create it"))
    })?;
    Ok((parse(&text)?, exposed(path, what)))
}

/// A warning if every user of the machine can read a file.
pub(super) fn exposed(path: &str, what: &str) -> Option<String> {
    readable_by_everyone(Path::new(path)).then(|| {
        format!("every user of this machine can read the {what} {path}; run chmod 600 {path}")
    })
}

/// Whether the file's mode lets every user of the machine read it.
#[cfg(unix)]
pub(super) fn readable_by_everyone(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o004 != 0)
}

/// Whether the file's mode lets every user of the machine read it. Not known on this platform.
#[cfg(not(unix))]
pub(super) fn readable_by_everyone(_path: &Path) -> bool {
    false
}
