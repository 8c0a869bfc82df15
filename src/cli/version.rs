//! What `--version` prints.

use std::sync::LazyLock;

/// The version, the commit, SQLite's version and the target: what a report of a fault needs.
pub(super) static LONG: LazyLock<String> = LazyLock::new(|| {
    let sqlite = libsqlite3_sys::SQLITE_VERSION.to_string_lossy();
    format!(
        "{}\ncommit: {}\nSQLite: {}\ntarget: {}",
        env!("CARGO_PKG_VERSION"),
        env!("HELENA_SYNC_COMMIT"),
        sqlite,
        env!("HELENA_SYNC_TARGET")
    )
});
