//! Writes files as a whole: whoever reads one sees the old content or the new one, never a part.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// The mode of new files: they name people, or hold a token.
const PRIVATE: u32 = 0o600;

/// Replaces a file, or creates one that only its owner may read. An existing file keeps its mode, and a
/// symbolic link stays. A pipe or a device is written to.
pub(super) fn replace(file: &Path, bytes: &[u8]) -> io::Result<()> {
    if file.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let known = fs::metadata(file).ok();
    if known.as_ref().is_some_and(|known| !known.is_file()) {
        return fs::OpenOptions::new()
            .write(true)
            .open(file)?
            .write_all(bytes);
    }
    let target = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let mode = known.map_or(PRIVATE, |known| known.permissions().mode() & 0o7777);
    let beside = write_beside(&target, bytes, mode)?;
    keep(&beside, fs::rename(&beside, &target))
}

/// The same, but only its owner may read the new content, whatever the mode of an existing file was.
pub(super) fn replace_privately(file: &Path, bytes: &[u8]) -> io::Result<()> {
    if fs::metadata(file).is_ok_and(|known| !known.is_file()) {
        return Err(io::Error::other("it is not a regular file"));
    }
    let target = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let beside = write_beside(&target, bytes, PRIVATE)?;
    keep(&beside, fs::rename(&beside, &target))
}

/// Creates a file that only its owner may read. Fails if it exists.
pub(super) fn create(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = write_beside(file, bytes, PRIVATE)?;
    keep(&beside, name(&beside, file))
}

/// Gives a complete file its name. Fails if a file has it. On a file system without links, one that appears
/// at the same instant is replaced.
pub(super) fn name(complete: &Path, file: &Path) -> io::Result<()> {
    match fs::hard_link(complete, file) {
        Ok(()) => {
            let _gone = fs::remove_file(complete);
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        Err(_) if fs::symlink_metadata(file).is_ok() => Err(io::ErrorKind::AlreadyExists.into()),
        // The file system has no links.
        Err(_) => fs::rename(complete, file),
    }
}

fn write_beside(file: &Path, bytes: &[u8], mode: u32) -> io::Result<PathBuf> {
    let mut name = file
        .file_name()
        .ok_or_else(|| io::Error::from(io::ErrorKind::IsADirectory))?
        .to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let beside = file.with_file_name(name);
    let create = || -> io::Result<File> {
        let out = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(PRIVATE)
            .open(&beside)?;
        out.set_permissions(fs::Permissions::from_mode(mode))?;
        Ok(out)
    };
    let written = create().and_then(|mut out| {
        out.write_all(bytes)?;
        out.sync_all()
    });
    keep(&beside, written)?;
    Ok(beside)
}

/// Removes a file of no use after a failure.
fn keep(beside: &Path, done: io::Result<()>) -> io::Result<()> {
    if done.is_err() {
        let _gone = fs::remove_file(beside);
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_whole_private_and_replaced_only_if_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        create(&file, b"one").unwrap();
        assert_eq!(mode(&file), 0o600);
        let error = create(&file, b"two").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&file).unwrap(), b"one");

        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        replace(&link, b"three").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"three");
        assert_eq!(mode(&file), 0o640);
        replace_privately(&link, b"four").unwrap();
        assert_eq!(mode(&file), 0o600);
        assert_eq!(fs::read(&file).unwrap(), b"four");
        assert!(replace_privately(folder.path(), b"x").is_err());
        assert!(replace(folder.path(), b"x").is_err());
        assert!(replace(&folder.path().join("no/such"), b"x").is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
