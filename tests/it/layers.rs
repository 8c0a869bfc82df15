//! Imports between the modules point down the list in `src/lib.rs`, never up.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The modules, in the order of the table in `src/lib.rs`.
fn listed() -> Vec<String> {
    let text = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let rows = text
        .lines()
        .filter_map(|line| line.strip_prefix("//! | [`"));
    rows.filter_map(|row| row.split_once("`]"))
        .map(|(name, _)| name.to_owned())
        .collect()
}

fn files(of: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(of).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            found.push(path);
        }
    }
}

/// The modules that a text names as `crate::MODULE`, comments aside.
fn imported(text: &str) -> BTreeSet<&str> {
    let code = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| line.split("crate::").skip(1))
        .map(|rest| {
            let end = rest.find(|it: char| !it.is_ascii_lowercase() && it != '_');
            &rest[..end.unwrap_or(rest.len())]
        })
        .collect()
}

#[test]
fn imports_point_down_the_list_of_modules() {
    let order = listed();
    let place = |module: &str| order.iter().position(|name| name == module);
    let source = root().join("src");
    let mut paths = Vec::new();
    files(&source, &mut paths);
    let mut modules = BTreeSet::new();
    let mut wrong = Vec::new();
    for path in paths {
        let relative = path.strip_prefix(&source).unwrap();
        let first = relative.iter().next().unwrap().to_string_lossy();
        let module = first.trim_end_matches(".rs");
        if matches!(module, "lib" | "main") {
            continue;
        }
        modules.insert(module.to_owned());
        let text = fs::read_to_string(&path).unwrap();
        for import in imported(&text)
            .into_iter()
            .filter(|&import| import != module)
        {
            let allowed = match module {
                // It stands aside: see `src/lib.rs`.
                "sandbox" => matches!(import, "clock" | "data"),
                _ if import == "sandbox" => module == "cli",
                _ => place(module)
                    .zip(place(import))
                    .is_some_and(|(from, to)| from < to),
            };
            if !allowed {
                wrong.push(format!("{} imports {import}", relative.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    modules.remove("sandbox");
    assert_eq!(
        modules,
        order.into_iter().collect(),
        "the table in src/lib.rs names all modules"
    );
}
