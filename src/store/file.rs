//! The files of a SQLite database: who may read them, and whether they belong together.
//!
//! Must not know any table.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::Access;

use super::error::StoreError;

/// The mode of a new database: it holds names and telephone numbers.
const PRIVATE: u32 = 0o600;

/// A log that is larger than this is cut when it starts over.
pub(super) const LARGE_LOG: u64 = 64 << 20;

/// How much later than its log a database may have been changed. A checkpoint follows the commit that
/// causes it, and a file that is closed has no log.
const TOGETHER: Duration = Duration::from_mins(2);

/// The path of a file beside the database: its log (`-wal`) or the index of the log (`-shm`).
pub(super) fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Creates an empty file that only its owner may read, unless it exists. SQLite gives its log the same
/// mode.
pub fn create_privately(file: &Path) -> io::Result<()> {
    let created = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(PRIVATE)
        .open(file);
    match created {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Refuses a database that was changed long after its log: it is most likely a copy that was put into
/// the place of another one, whose log SQLite would mix into it.
pub(super) fn check_log(file: &Path, now: SystemTime) -> Result<(), StoreError> {
    let changed = |path: &Path| {
        let found = fs::metadata(path).ok()?;
        let at = found.modified().ok()?;
        (found.len() > 0).then_some(at)
    };
    let (Some(database), Some(log)) = (changed(file), changed(&beside(file, "-wal"))) else {
        return Ok(());
    };
    // A file of the future says that the machine's clock was wrong, and nothing else.
    let is_past = database <= now + TOGETHER;
    match database.duration_since(log) {
        Ok(by) if by > TOGETHER && is_past => Err(StoreError::OldLog {
            file: file.to_owned(),
            by: Duration::from_secs(by.as_secs()),
        }),
        _ => Ok(()),
    }
}

/// The size of the database's log in bytes.
pub(super) fn log_size(file: &Path) -> u64 {
    fs::metadata(beside(file, "-wal")).map_or(0, |found| found.len())
}

/// Whether this user may do this with a file. Opening and closing it instead would release the locks
/// that SQLite holds for this process.
pub(super) fn may(file: &Path, access: Access) -> bool {
    rustix::fs::access(file, access).is_ok()
}

/// Whether nobody has a database open and it has no log, so that its file alone is the whole database.
pub(super) fn is_whole(file: &Path) -> bool {
    log_size(file) == 0 && !beside(file, "-shm").exists() && may(file, Access::READ_OK)
}

/// The kind of a file system that is shared with other machines or lies outside of the system's control,
/// if this folder is on one. SQLite's locks and shared memory do not work there.
#[cfg(target_os = "linux")]
pub fn network_file_system(folder: &Path) -> Option<&'static str> {
    // Of another width on other processors.
    #[allow(clippy::useless_conversion, clippy::unnecessary_fallible_conversions)]
    let kind = i64::try_from(rustix::fs::statfs(folder).ok()?.f_type).ok()?;
    shared_kind(kind & 0xffff_ffff)
}

/// On other systems than Linux, file systems have no numbers.
#[cfg(not(target_os = "linux"))]
pub fn network_file_system(_folder: &Path) -> Option<&'static str> {
    None
}

/// The numbers of `statfs(2)`.
#[cfg(target_os = "linux")]
const fn shared_kind(number: i64) -> Option<&'static str> {
    match number {
        0x6969 => Some("NFS"),
        0xff53_4d42 => Some("CIFS"),
        0xfe53_4d42 | 0x517b => Some("SMB"),
        0x0102_1997 => Some("9p"),
        0x6573_5546 => Some("FUSE"),
        0x00c3_6400 => Some("Ceph"),
        0x786f_4256 => Some("VirtualBox shared folder"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_new_file_is_private_and_the_mode_of_an_old_one_stays() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("helena.db");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        create_privately(&file).unwrap();
        assert_eq!(mode(&file), 0o600);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        create_privately(&file).unwrap();
        assert_eq!(mode(&file), 0o640);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn shared_file_systems_are_known_by_their_numbers() {
        assert_eq!(shared_kind(0x6969), Some("NFS"));
        assert_eq!(shared_kind(0x0102_1997), Some("9p"));
        // ext4 and tmpfs.
        assert_eq!(shared_kind(0xef53), None);
        assert_eq!(shared_kind(0x0102_1994), None);
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(network_file_system(folder.path()), None);
    }

    #[test]
    fn a_file_that_somebody_has_open_or_that_has_a_log_is_not_the_whole_database() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("helena.db");
        fs::write(&file, "database").unwrap();
        assert!(is_whole(&file));
        fs::write(beside(&file, "-wal"), "").unwrap();
        assert!(is_whole(&file));
        fs::write(beside(&file, "-shm"), "").unwrap();
        assert!(!is_whole(&file));
        fs::remove_file(beside(&file, "-shm")).unwrap();
        fs::write(beside(&file, "-wal"), "frames").unwrap();
        assert!(!is_whole(&file));
    }

    #[test]
    fn a_database_that_is_much_newer_than_its_log_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("helena.db");
        let log = beside(&file, "-wal");
        let now = fs::metadata(folder.path()).unwrap().modified().unwrap();
        fs::write(&file, "database").unwrap();
        check_log(&file, now).unwrap();
        let aged = |path: &Path, by: Duration| {
            let file = fs::File::options().write(true).open(path).unwrap();
            file.set_modified(now - by).unwrap();
        };
        fs::write(&log, "").unwrap();
        aged(&log, Duration::from_hours(1));
        check_log(&file, now).unwrap();
        fs::write(&log, "frames").unwrap();
        aged(&log, Duration::from_mins(1));
        check_log(&file, now).unwrap();
        aged(&log, Duration::from_hours(1));
        let error = check_log(&file, now).unwrap_err().to_string();
        assert!(error.contains("delete"), "{error}");
        assert!(error.contains("helena.db-wal"), "{error}");
        aged(&file, Duration::from_hours(2));
        check_log(&file, now).unwrap();
        // The clock was wrong when the file was written.
        let future = fs::File::options().write(true).open(&file).unwrap();
        let tomorrow = now + Duration::from_hours(24);
        future.set_modified(tomorrow).unwrap();
        check_log(&file, now).unwrap();
    }
}
