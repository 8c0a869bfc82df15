//! Embeds the migrations: for each database a list of version, description and SQL, in the order of
//! their versions, which `src/store/migrate.rs` includes. (sqlx's own macro does the same, but brings
//! both databases' drivers into the build a second time, for the compiler's side.) Also says which
//! commit is built, and for which target.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

#[path = "commit.rs"]
mod commit;

fn main() {
    println!("cargo::rerun-if-changed=migrations");
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it"));
    for database in ["sqlite", "postgres"] {
        let list = list(&root.join("migrations").join(database));
        fs::write(out.join(format!("{database}_migrations.rs")), list)
            .expect("the build folder can be written");
    }
    let target = env::var("TARGET").unwrap_or_else(|_| "unknown".to_owned());
    println!("cargo::rustc-env=HELENA_SYNC_TARGET={target}");
    println!("cargo::rustc-env=HELENA_SYNC_COMMIT={}", commit_text(&root));
}

/// The commit for `--version`. Where there is no folder of git, as in an image, the variable
/// `HELENA_SYNC_COMMIT` may name it.
fn commit_text(root: &Path) -> String {
    println!("cargo::rerun-if-env-changed=HELENA_SYNC_COMMIT");
    if let Some(named) = env::var("HELENA_SYNC_COMMIT")
        .ok()
        .filter(|text| !text.trim().is_empty())
    {
        return named.trim().to_owned();
    }
    // A developer's build would be repeated after every commit.
    if env::var("PROFILE").is_ok_and(|profile| profile != "release") {
        return "not recorded, a build for development".to_owned();
    }
    let git = root.join(".git");
    for file in [git.join("HEAD"), git.join("logs/HEAD")] {
        if file.exists() {
            println!("cargo::rerun-if-changed={}", file.display());
        }
    }
    commit::commit_of(root).unwrap_or_else(|| "unknown".to_owned())
}

/// The text of a Rust slice of `(version, description, sql)`.
fn list(folder: &Path) -> String {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the folder of migrations is there")
        .map(|entry| entry.expect("a folder's entry can be read").path())
        .collect();
    files.sort();
    let mut list = String::from("&[\n");
    for file in files {
        let name = file
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a migration's name is text");
        let (version, description) = name
            .strip_suffix(".sql")
            .and_then(|stem| stem.split_once('_'))
            .unwrap_or_else(|| panic!("{name} is not named like 20260102030405_words.sql"));
        let version: i64 = version
            .parse()
            .unwrap_or_else(|_| panic!("{name} does not begin with a number"));
        let description = description.replace('_', " ");
        let path = file.to_str().expect("the path of the folder is text");
        writeln!(
            list,
            "    ({version}, {description:?}, include_str!({path:?})),"
        )
        .expect("a String can be written");
    }
    list.push_str("]\n");
    list
}
