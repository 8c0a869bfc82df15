//! Finds the commit that is built, without running git: a build from an archive has neither.

use std::fs;
use std::path::{Path, PathBuf};

/// The commit of the sources in this folder, if it can be told: from the folder `.git`, or from what
/// `cargo package` leaves in an archive.
pub(crate) fn commit_of(root: &Path) -> Option<String> {
    in_git(root).or_else(|| in_package(root))
}

fn in_git(root: &Path) -> Option<String> {
    let git = folder_of_git(&root.join(".git"))?;
    let head = fs::read_to_string(git.join("HEAD")).ok()?;
    let Some(name) = head.trim().strip_prefix("ref: ") else {
        return hash(&head);
    };
    // A worktree has its own HEAD. Its branches are in the repository that it belongs to.
    let common = fs::read_to_string(git.join("commondir"))
        .map_or_else(|_| git.clone(), |folder| git.join(folder.trim()));
    [&git, &common].into_iter().find_map(|folder| {
        let loose = fs::read_to_string(folder.join(name)).ok();
        loose.and_then(|text| hash(&text)).or_else(|| {
            let packed = fs::read_to_string(folder.join("packed-refs")).ok()?;
            let mut lines = packed.lines().filter_map(|line| line.split_once(' '));
            lines
                .find(|(_, known)| *known == name)
                .and_then(|(commit, _)| hash(commit))
        })
    })
}

/// `.git` is a folder, or in a worktree a file that names one.
fn folder_of_git(path: &Path) -> Option<PathBuf> {
    if path.is_dir() {
        return Some(path.to_owned());
    }
    let text = fs::read_to_string(path).ok()?;
    let folder = text.trim().strip_prefix("gitdir: ")?;
    Some(path.parent()?.join(folder))
}

fn in_package(root: &Path) -> Option<String> {
    let text = fs::read_to_string(root.join(".cargo_vcs_info.json")).ok()?;
    let (_, rest) = text.split_once("\"sha1\"")?;
    hash(rest.split('"').nth(1)?)
}

fn hash(text: &str) -> Option<String> {
    let text = text.trim();
    let is_hash = text.len() >= 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash.then(|| text[..12].to_owned())
}
