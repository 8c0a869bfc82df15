//! The folder of an export: files are made in a hidden folder in it and get their names when all of them
//! are complete.
//!
//! A lock tells a process that is at work from one that was killed, whose leftovers the next one removes.
//! Files of the export before, which the new one does not write, are removed, too. Must not know what
//! files contain.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::ExportError;
use super::manifest::names_in;

/// The hidden folder.
const STAGING: &str = ".helena-sync-export";

const LOCK: &str = "lock";

/// The manifest of the export before, from when new files get their names until its files are removed.
const EARLIER: &str = "earlier.json";

/// How often the lock is tried again, because an export that ended has removed it.
const ATTEMPTS: u32 = 100;

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
            let lock = lock(path, &staging)?;
            for left in fs::read_dir(&staging)? {
                let left = left?;
                if left.file_name() != LOCK && left.file_name() != EARLIER {
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

    /// Gives all files their names, the manifest last, and removes those that the manifest of the export
    /// before names and this one does not. Returns how many were removed.
    pub fn publish(self, manifest: &str, text: &str) -> Result<u64, ExportError> {
        let written = self.create(manifest).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
        written.map_err(|source| self.failed(manifest, source))?;
        for name in self.sealed.iter().map(String::as_str).chain([manifest]) {
            if fs::symlink_metadata(self.path.join(name)).is_ok_and(|found| found.is_dir()) {
                let source =
                    io::Error::other("it is a folder: remove it, or choose another folder");
                return Err(self.failed(name, source));
            }
        }
        let before = self.before(manifest);
        // A reader that sees an old manifest beside new files would take them for damaged. Kept until its
        // files are gone, also if this process is killed before.
        let gone = fs::rename(self.path.join(manifest), self.staging.join(EARLIER));
        gone.or_else(ignore_missing)
            .map_err(|source| self.failed(manifest, source))?;
        for name in &self.sealed {
            self.name(name)?;
        }
        let mut removed = 0;
        for name in before {
            let gone = fs::remove_file(self.path.join(&name));
            gone.map_err(|source| self.failed(&name, source))?;
            removed += 1;
        }
        self.name(manifest)?;
        let synced = File::open(&self.path).and_then(|folder| folder.sync_all());
        synced.map_err(|source| self.failed(manifest, source))?;
        let gone = fs::remove_file(self.staging.join(EARLIER));
        gone.or_else(ignore_missing)
            .map_err(|source| self.failed(manifest, source))?;
        Ok(removed)
    }

    fn name(&self, name: &str) -> Result<(), ExportError> {
        fs::rename(self.staging.join(name), self.path.join(name))
            .map_err(|source| self.failed(name, source))
    }

    /// The files in this folder that the manifest of the export before names, and this export does not
    /// write.
    fn before(&self, manifest: &str) -> BTreeSet<String> {
        let manifests = [self.path.join(manifest), self.staging.join(EARLIER)];
        let mut names = BTreeSet::new();
        for found in manifests {
            names.extend(names_in(&fs::read(found).unwrap_or_default()));
        }
        names.retain(|name| {
            let is_new = name == manifest || self.sealed.contains(name);
            // Nothing outside of this folder, and nothing that no export writes.
            let is_plain = Path::new(name).file_name().is_some_and(|it| it == &**name);
            let found = fs::symlink_metadata(self.path.join(name));
            !is_new && is_plain && found.is_ok_and(|found| found.is_file())
        });
        names
    }
}

/// Makes the folders and takes their lock.
fn lock(path: &Path, staging: &Path) -> io::Result<File> {
    let busy = || {
        io::Error::other(
            "another export writes to this folder: wait until it ends, or choose another folder",
        )
    };
    for _ in 0..ATTEMPTS {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        if let Err(error) = DirBuilder::new().mode(0o700).create(staging)
            && error.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(error);
        }
        match fs::symlink_metadata(staging) {
            Ok(found) if !is_own_folder(&found) => {
                return Err(io::Error::other(format!(
                    "{} is no folder of this user: remove it, or choose another folder",
                    staging.display()
                )));
            }
            _ => {}
        }
        let opened = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(staging.join(LOCK));
        let lock = match opened {
            // An export that ended has removed the hidden folder.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            opened => opened?,
        };
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(busy()),
            // Some file systems have no locks.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
        if is_still(&lock, &staging.join(LOCK))? {
            return Ok(lock);
        }
    }
    Err(busy())
}

/// Whether it is a folder, not a link to one, that nobody else made.
fn is_own_folder(found: &fs::Metadata) -> bool {
    found.is_dir() && found.uid() == rustix::process::geteuid().as_raw()
}

/// Whether a path still leads to an open file. It does not if an export that ended has removed the lock
/// between the opening and the locking: then another one may hold a new lock.
fn is_still(open: &File, path: &Path) -> io::Result<bool> {
    let open = open.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(found.ino() == open.ino() && found.dev() == open.dev()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
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
        // What cannot be removed, the next export removes. The lock goes last: from then on another export
        // may use the hidden folder.
        let left = fs::read_dir(&self.staging).into_iter().flatten().flatten();
        for left in left.filter(|left| left.file_name() != LOCK && left.file_name() != EARLIER) {
            let _gone = fs::remove_file(left.path());
        }
        if !self.staging.join(EARLIER).exists() {
            let _gone = fs::remove_file(self.staging.join(LOCK));
            let _gone = fs::remove_dir(&self.staging);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    use serde_json::json;

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

    /// A manifest that names these files.
    fn manifest(names: &[&str]) -> String {
        let files: Vec<_> = names.iter().map(|name| json!({ "name": name })).collect();
        json!({ "tables": [{ "name": "x", "files": files }] }).to_string()
    }

    /// Exports these files.
    fn exported(path: &Path, names: &[&str]) -> u64 {
        let mut folder = Folder::take(path).unwrap();
        for name in names {
            make(&mut folder, name, "x");
        }
        folder.publish("manifest.json", &manifest(names)).unwrap()
    }

    #[test]
    fn files_of_the_export_before_are_removed_and_no_others() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("out");
        assert_eq!(
            exported(&path, &["a-2026-05.csv", "a-2026-06.csv", "b.csv"]),
            0
        );
        fs::write(path.join("notes.txt"), "mine").unwrap();
        assert_eq!(exported(&path, &["a.csv", "b.csv"]), 2);
        assert_eq!(
            names(&path),
            ["a.csv", "b.csv", "manifest.json", "notes.txt"]
        );
        // A manifest that somebody wrote names nothing outside of the folder, no folder and no link.
        fs::write(root.path().join("outside.csv"), "mine").unwrap();
        fs::create_dir(path.join("folder.csv")).unwrap();
        std::os::unix::fs::symlink("notes.txt", path.join("link.csv")).unwrap();
        let odd = [
            "../outside.csv",
            "folder.csv",
            "link.csv",
            "",
            ".",
            "..",
            "manifest.json",
        ];
        fs::write(path.join("manifest.json"), manifest(&odd)).unwrap();
        assert_eq!(exported(&path, &["a.csv"]), 0);
        assert!(root.path().join("outside.csv").exists());
        let left = [
            "a.csv",
            "b.csv",
            "folder.csv",
            "link.csv",
            "manifest.json",
            "notes.txt",
        ];
        assert_eq!(names(&path), left);
        fs::write(path.join("manifest.json"), "no manifest").unwrap();
        assert_eq!(exported(&path, &["a.csv"]), 0);
    }

    #[test]
    fn files_of_the_export_before_are_removed_although_one_was_killed_in_between() {
        let root = tempfile::tempdir().unwrap();
        exported(root.path(), &["old.csv"]);
        let staging = root.path().join(STAGING);
        fs::create_dir(&staging).unwrap();
        fs::rename(root.path().join("manifest.json"), staging.join(EARLIER)).unwrap();
        // One that ends early leaves it to the next.
        drop(Folder::take(root.path()).unwrap());
        assert_eq!(exported(root.path(), &["new.csv"]), 1);
        assert_eq!(names(root.path()), ["manifest.json", "new.csv"]);
    }

    #[test]
    fn a_folder_in_the_place_of_a_file_leaves_the_export_before_as_it_was() {
        let root = tempfile::tempdir().unwrap();
        exported(root.path(), &["a.csv"]);
        fs::create_dir(root.path().join("b.csv")).unwrap();
        let mut folder = Folder::take(root.path()).unwrap();
        make(&mut folder, "a.csv", "new");
        make(&mut folder, "b.csv", "new");
        let refused = folder.publish("manifest.json", "{}").unwrap_err();
        let ExportError::File { path, source } = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(path, root.path().join("b.csv"));
        assert!(source.to_string().contains("is a folder"), "{source}");
        assert_eq!(names(root.path()), ["a.csv", "b.csv", "manifest.json"]);
        assert_eq!(fs::read_to_string(root.path().join("a.csv")).unwrap(), "x");
    }

    #[test]
    fn a_lock_that_was_removed_is_no_lock() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::take(root.path()).unwrap();
        let path = root.path().join(STAGING).join(LOCK);
        let late = File::options().write(true).open(&path).unwrap();
        assert!(is_still(&late, &path).unwrap());
        drop(folder);
        late.try_lock().unwrap();
        assert!(!is_still(&late, &path).unwrap());
        let _other = Folder::take(root.path()).unwrap();
        assert!(!is_still(&late, &path).unwrap());
    }

    #[test]
    fn many_exports_at_once_take_turns() {
        let root = tempfile::tempdir().unwrap();
        let (at_work, taken) = (AtomicBool::new(false), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        if let Ok(folder) = Folder::take(root.path()) {
                            assert!(!at_work.swap(true, Ordering::SeqCst));
                            folder.create("a.csv").unwrap();
                            taken.fetch_add(1, Ordering::SeqCst);
                            at_work.store(false, Ordering::SeqCst);
                        }
                    }
                });
            }
        });
        assert!(taken.into_inner() > 0);
        assert!(names(root.path()).is_empty());
    }

    #[test]
    fn a_hidden_folder_that_is_a_link_is_not_used() {
        let root = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        fs::write(elsewhere.path().join("precious"), "mine").unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), root.path().join(STAGING)).unwrap();
        let refused = Folder::take(root.path()).unwrap_err();
        let ExportError::File { source, .. } = refused else {
            panic!("{refused:?}");
        };
        assert!(
            source.to_string().contains("no folder of this user"),
            "{source}"
        );
        assert_eq!(names(elsewhere.path()), ["precious"]);
        let of_another = if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(elsewhere.path(), Some(1), None).unwrap();
            elsewhere.path()
        } else {
            Path::new("/")
        };
        assert!(!is_own_folder(&fs::symlink_metadata(of_another).unwrap()));
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
