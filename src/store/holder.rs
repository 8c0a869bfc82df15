//! Who a process is, so that another on the same machine can tell whether it still lives.
//!
//! Owns the reading of `/proc`. A process id alone is worth nothing: ids are reused, and mean
//! something else in another container. The kernel's boot id and the pid namespace say whether an
//! id means the same there as here, the process's start time whether it is still the same process.
//! Where there is no `/proc` nothing matches, and a lease is free when it runs out.

use std::fs;

/// A process that writes, or wants to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The machine's name, for people.
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
            process_start: process_start(pid).unwrap_or(0),
        }
    }

    /// Whether `other` ran where this process runs and has ended; `false` if that cannot be known
    /// from here.
    pub(super) fn knows_dead(&self, other: &Self) -> bool {
        let same_ids = !self.boot_id.is_empty()
            && !self.pid_namespace.is_empty()
            && self.process_start != 0
            && other.process_start != 0
            && self.boot_id == other.boot_id
            && self.pid_namespace == other.pid_namespace;
        same_ids && process_start(other.pid) != Some(other.process_start)
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

/// Field 22 of `/proc/PID/stat`; `None` for a process that does not exist or has ended and only
/// waits for its parent to notice. The second field may hold any character, so fields are counted
/// from its closing bracket.
fn process_start(pid: i64) -> Option<i64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
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
}
