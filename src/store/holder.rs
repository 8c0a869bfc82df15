//! Identifies a process, so that another process on the same machine can find out whether it still
//! runs.
//!
//! Owns the reading of `/proc`. A process id is not enough: ids are reused, and differ between
//! containers. The kernel's boot id and the pid namespace show whether two ids can be compared, and
//! the process's start time shows whether it is still the same process. Without `/proc`, or if
//! `/proc` hides the processes of others, nothing is known, and a lease is free only when it
//! expires.

use std::path::Path;
use std::{fs, io};

use sqlx::{ColumnIndex, Decode, FromRow, Row, Type};

const PROC: &str = "/proc";

/// A process that holds a lease or wants to acquire one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The machine's name, for messages.
    pub host: String,
    /// The kernel's id of this boot; empty if unknown.
    pub boot_id: String,
    /// The namespace that the process id belongs to; empty if unknown.
    pub pid_namespace: String,
    /// The process id.
    pub pid: i64,
    /// When the process started, in clock ticks since boot; 0 if unknown.
    pub process_start: i64,
}

/// The columns that identify a process in every table that has one.
impl<'r, R: Row> FromRow<'r, R> for Holder
where
    &'static str: ColumnIndex<R>,
    String: Decode<'r, R::Database> + Type<R::Database>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
{
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        Ok(Self {
            host: row.try_get("host")?,
            boot_id: row.try_get("boot_id")?,
            pid_namespace: row.try_get("pid_namespace")?,
            pid: row.try_get("pid")?,
            process_start: row.try_get("process_start")?,
        })
    }
}

impl Holder {
    /// This process.
    pub fn current() -> Self {
        let pid = i64::from(std::process::id());
        Self {
            host: read("/proc/sys/kernel/hostname"),
            boot_id: read("/proc/sys/kernel/random/boot_id"),
            pid_namespace: fs::read_link("/proc/self/ns/pid")
                .map(|path| path.to_string_lossy().into_owned())
                .unwrap_or_default(),
            pid,
            process_start: match look_up(Path::new(PROC), pid) {
                Seen::Since(start) => start,
                Seen::Ended | Seen::Unknown => 0,
            },
        }
    }

    /// Whether `other` ran on the same machine and has ended. `false` if that is not known.
    pub fn knows_dead(&self, other: &Self) -> bool {
        self.finds(Path::new(PROC), other) == Some(false)
    }

    /// Whether `other` runs on the same machine. `false` if that is not known.
    pub fn knows_alive(&self, other: &Self) -> bool {
        self.finds(Path::new(PROC), other) == Some(true)
    }

    /// Whether `other` still runs. `None` if that is not known.
    fn finds(&self, proc: &Path, other: &Self) -> Option<bool> {
        let same_ids = !self.boot_id.is_empty()
            && !self.pid_namespace.is_empty()
            && self.process_start != 0
            && other.process_start != 0
            && self.boot_id == other.boot_id
            && self.pid_namespace == other.pid_namespace;
        if !same_ids {
            return None;
        }
        match look_up(proc, other.pid) {
            Seen::Since(start) => Some(start == other.process_start),
            // `/proc` may hide other users' processes. If it hides process 1, nothing is known.
            Seen::Ended => matches!(look_up(proc, 1), Seen::Since(_)).then_some(false),
            Seen::Unknown => None,
        }
    }
}

/// `process 4711 on reports-1`.
impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {} on {}", self.pid, self.host)
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path)
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}

/// What `/proc` says about a process.
enum Seen {
    /// It started then.
    Since(i64),
    /// It does not exist, or is a zombie.
    Ended,
    /// `/proc` is not readable.
    Unknown,
}

/// Field 22 of `/proc/PID/stat`. The second field may hold any character, so fields are counted from
/// its closing bracket.
fn look_up(proc: &Path, pid: i64) -> Seen {
    let stat = match fs::read_to_string(proc.join(pid.to_string()).join("stat")) {
        Ok(stat) => stat,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Seen::Ended,
        Err(_) => return Seen::Unknown,
    };
    let Some((_, rest)) = stat.rsplit_once(')') else {
        return Seen::Unknown;
    };
    let mut fields = rest.split_ascii_whitespace();
    if fields
        .next()
        .is_some_and(|state| matches!(state, "Z" | "X"))
    {
        return Seen::Ended;
    }
    fields
        .nth(18)
        .and_then(|field| field.parse().ok())
        .map_or(Seen::Unknown, Seen::Since)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_dead_only_if_its_id_is_known_to_mean_nothing_or_another_one_here() {
        let me = Holder::current();
        assert!(me.process_start > 0);
        assert!(!me.knows_dead(&me));
        let reused = Holder {
            process_start: me.process_start - 1,
            ..me.clone()
        };
        assert!(me.knows_dead(&reused));
        let elsewhere = Holder {
            boot_id: "another".to_owned(),
            ..reused.clone()
        };
        assert!(!me.knows_dead(&elsewhere));
        let container = Holder {
            pid_namespace: "pid:[1]".to_owned(),
            ..reused
        };
        assert!(!me.knows_dead(&container));
    }

    #[test]
    fn where_processes_of_others_are_hidden_nothing_is_known_of_them() {
        let me = Holder::current();
        let other = Holder {
            pid: me.pid + 1,
            ..me.clone()
        };
        let proc = tempfile::tempdir().unwrap();
        let show = |pid: i64| {
            let folder = proc.path().join(pid.to_string());
            fs::create_dir(&folder).unwrap();
            let stat = format!("{pid} (a) name) S {} 7 0", "0 ".repeat(18));
            fs::write(folder.join("stat"), stat).unwrap();
        };
        show(me.pid);
        assert_eq!(me.finds(proc.path(), &other), None);
        show(1);
        assert_eq!(me.finds(proc.path(), &other), Some(false));
        show(other.pid);
        let running = Holder {
            process_start: 7,
            ..other
        };
        assert_eq!(me.finds(proc.path(), &running), Some(true));
    }
}
