//! The place of a database file: whether this user can write there, and why not.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::Access;

use crate::data::without_os_numbers;
use crate::store::create_privately;

/// The folder of a file.
pub(super) fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// The folder of a file, if it does not exist.
pub(super) fn absent_folder(file: &Path) -> Option<&Path> {
    Some(folder_of(file)).filter(|folder| !folder.exists())
}

/// Creates the file if it does not exist. The error says why it cannot be written or created. A folder
/// that does not exist yet may be one that is mounted later, so that is no error.
pub(super) fn prepare(file: &Path) -> Result<(), String> {
    if absent_folder(file).is_some() {
        return Ok(());
    }
    let exists = file.exists();
    // An existing file is not opened: closing it would release the locks that SQLite has in this process.
    let tried = if file.is_dir() {
        Err(io::ErrorKind::IsADirectory.into())
    } else if exists {
        rustix::fs::access(file, Access::WRITE_OK).map_err(io::Error::from)
    } else {
        create_privately(file)
    };
    tried.map_err(|error| refused(if exists { file } else { folder_of(file) }, &error))
}

/// Why a SQLite file could not be written, whether it exists or not. Leaves nothing behind. Nothing in
/// this process may have the file open: closing it here would release SQLite's locks.
pub(super) fn unwritable(file: &Path) -> Option<String> {
    let beside = |suffix: &str| {
        let mut name = file.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    // Opening a file for writing does not change it.
    for path in [file.to_owned(), beside("-wal"), beside("-shm")] {
        match OpenOptions::new().write(true).open(&path) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Some(refused(&path, &error)),
        }
    }
    // SQLite creates its log there.
    unwritable_folder(file)
}

/// Why no file can be created beside this one. Leaves nothing behind.
pub(super) fn unwritable_folder(file: &Path) -> Option<String> {
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".check-{}", std::process::id()));
    let probe = PathBuf::from(name);
    let create = || OpenOptions::new().write(true).create_new(true).open(&probe);
    let created = create().or_else(|error| match error.kind() {
        // A process that was killed left it, such as the one before in a container.
        io::ErrorKind::AlreadyExists => fs::remove_file(&probe).and_then(|()| create()),
        _ => Err(error),
    });
    let written = created.and_then(|mut made| made.write_all(b"x"));
    let removed = fs::remove_file(&probe);
    match written {
        Ok(()) => removed.err().map(|error| refused(&probe, &error)),
        Err(error) => Some(refused(folder_of(file), &error)),
    }
}

/// Names the owner and the mode of a file or folder, and this user, and says what to do.
fn refused(path: &Path, error: &io::Error) -> String {
    let own = rustix::process::geteuid().as_raw();
    let whose = match fs::metadata(path) {
        Ok(found) => format!(
            " (owner uid {}, mode {:04o})",
            found.uid(),
            found.mode() & 0o7777
        ),
        Err(_) => String::new(),
    };
    let known = [
        (
            io::ErrorKind::PermissionDenied,
            "permission denied; change its owner or its rights",
        ),
        (
            io::ErrorKind::ReadOnlyFilesystem,
            "the file system is read-only",
        ),
        (io::ErrorKind::StorageFull, "no space is left"),
        (io::ErrorKind::IsADirectory, "it is a folder, not a file"),
    ];
    let known = known.iter().find(|(kind, _)| *kind == error.kind());
    let reason = known.map_or_else(
        || without_os_numbers(&error.to_string()),
        |(_, reason)| (*reason).to_owned(),
    );
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    format!(
        "cannot write to {}{whose} as uid {own}: {reason}",
        path.display()
    )
}
