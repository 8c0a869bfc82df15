//! The folder of an export: files are made in a hidden folder in it and get their names when all of them
//! are complete.
//!
//! A lock tells a process that is at work from one that was killed, whose leftovers the next one removes.
//! Must not know what files contain.

use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::ExportError;

/// The hidden folder.
const STAGING: &str = ".helena-sync-export";

const LOCK: &str = "lock";

/// A folder that files are exported to.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    staging: PathBuf,
    /// Complete files, in order.
    sealed: Vec<String>,
    /// Held until the end.
    _lock: File,
}

impl Folder {
    /// Makes the folder, if it does not exist, and takes it. What a killed process left is removed.
    pub fn take(path: &Path) -> Result<Self, ExportError> {
        let staging = path.join(STAGING);
        let taken = || {
            DirBuilder::new().recursive(true).mode(0o700).create(path)?;
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&staging)?;
            let lock = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .mode(0o600)
                .open(staging.join(LOCK))?;
            match lock.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(io::Error::other(
                        "another export writes to this folder: wait until it ends, or choose another \
                         folder",
                    ));
                }
                // Some file systems have no locks.
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
                Err(TryLockError::Error(error)) => return Err(error),
            }
            for left in fs::read_dir(&staging)? {
                let left = left?;
                if left.file_name() != LOCK {
                    fs::remove_file(left.path())?;
                }
            }
            Ok(lock)
        };
        let lock = taken().map_err(|source| ExportError::File {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            path: path.to_owned(),
            staging,
            sealed: Vec::new(),
            _lock: lock,
        })
    }

    /// Where files are made.
    pub(super) fn staging(&self) -> &Path {
        &self.staging
    }

    /// The error of a file.
    pub(super) fn failed(&self, name: &str, source: io::Error) -> ExportError {
        ExportError::File {
            path: self.path.join(name),
            source,
        }
    }

    /// Makes a file that only its owner may read.
    pub(super) fn create(&self, name: &str) -> io::Result<File> {
        OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(self.staging.join(name))
    }

    /// Makes sure that a file is on the disk. Returns its length and its SHA-256, of what can be read.
    pub(super) fn seal(&mut self, name: &str) -> io::Result<(u64, String)> {
        let mut file = File::open(self.staging.join(name))?;
        file.sync_all()?;
        let (mut hash, mut bytes) = (Sha256::new(), 0);
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let read = file.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            hash.update(&buffer[..read]);
            bytes += read as u64;
        }
        self.sealed.push(name.to_owned());
        let mut sha256 = String::new();
        for byte in hash.finalize() {
            // Writing to a String cannot fail.
            let _ = write!(sha256, "{byte:02x}");
        }
        Ok((bytes, sha256))
    }

    /// Gives all files their names, this one last.
    pub fn publish(mut self, last: &str, text: &str) -> Result<(), ExportError> {
        let written = self.create(last).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
        written.map_err(|source| self.failed(last, source))?;
        self.sealed.push(last.to_owned());
        // A reader that sees an old manifest beside new files would take them for damaged.
        let manifest = self.path.join(last);
        let gone = fs::remove_file(&manifest);
        if let Err(source) = gone.or_else(ignore_missing) {
            return Err(self.failed(last, source));
        }
        for name in &self.sealed {
            fs::rename(self.staging.join(name), self.path.join(name))
                .map_err(|source| self.failed(name, source))?;
        }
        let synced = File::open(&self.path).and_then(|folder| folder.sync_all());
        synced.map_err(|source| self.failed(last, source))
    }
}

fn ignore_missing(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed, the next export removes.
        let _left = fs::remove_dir_all(&self.staging);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn make(folder: &mut Folder, name: &str, text: &str) -> (u64, String) {
        let mut file = folder.create(name).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        folder.seal(name).unwrap()
    }

    fn names(path: &Path) -> Vec<String> {
        let entries = fs::read_dir(path).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn files_get_their_names_when_all_are_complete() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b");
        let mut folder = Folder::take(&path).unwrap();
        let (bytes, hash) = make(&mut folder, "one.csv", "abc");
        assert_eq!(bytes, 3);
        assert_eq!(
            hash,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(names(&path), [STAGING]);
        folder.publish("manifest.json", "{}").unwrap();
        assert_eq!(names(&path), ["manifest.json", "one.csv"]);
        for name in names(&path) {
            let mode = fs::metadata(path.join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn an_export_that_ends_early_leaves_the_files_before_it() {
        let root = tempfile::tempdir().unwrap();
        let mut folder = Folder::take(root.path()).unwrap();
        make(&mut folder, "one.csv", "old");
        folder.publish("manifest.json", "{}").unwrap();
        let mut folder = Folder::take(root.path()).unwrap();
        make(&mut folder, "one.csv", "new");
        drop(folder);
        assert_eq!(names(root.path()), ["manifest.json", "one.csv"]);
        let text = fs::read_to_string(root.path().join("one.csv")).unwrap();
        assert_eq!(text, "old");
    }

    #[test]
    fn two_exports_do_not_share_a_folder_and_a_killed_one_is_cleared_away() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::take(root.path()).unwrap();
        let refused = Folder::take(root.path()).unwrap_err();
        let ExportError::File { source, .. } = refused else {
            panic!("{refused:?}");
        };
        assert!(source.to_string().contains("another export"), "{source}");
        drop(folder);
        let staging = root.path().join(STAGING);
        fs::create_dir(&staging).unwrap();
        fs::write(staging.join("half.csv"), "x").unwrap();
        let folder = Folder::take(root.path()).unwrap();
        assert_eq!(names(&staging), [LOCK]);
        drop(folder);
        assert!(names(root.path()).is_empty());
    }
}
