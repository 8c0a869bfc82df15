//! Setting the program up: `init`, `config show`, `man`, `--version`.

use std::io::Write;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use super::program::{Done, Place, TOKEN, account};

/// Runs the program with a line on stdin, and nothing in its environment.
fn told(place: &Place, line: &str, arguments: &[&str]) -> Done {
    let mut child = Command::new(env!("CARGO_BIN_EXE_helena-sync"))
        .args(arguments)
        .env_clear()
        .current_dir(place.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that reads nothing may have ended already.
    let _unread = child.stdin.take().unwrap().write_all(line.as_bytes());
    let done = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let done = Done {
        code: done.status.code(),
        out: text(done.stdout),
        err: text(done.stderr),
    };
    assert!(
        !done.out.contains(TOKEN) && !done.err.contains(TOKEN),
        "{done:?}"
    );
    done
}

#[tokio::test(flavor = "multi_thread")]
async fn init_tests_what_it_writes_and_the_file_is_enough() {
    let sandbox = account(30).await;
    let place = Place::new()
        .without("HELENA_API_TOKEN")
        .without("HELENA_SYNC__TIMEZONE");
    let url = sandbox.base_url();
    let init = ["init", "--token-stdin", "--base-url", &url];

    let refused = told(&place, "pn_another\n", &init);
    assert_eq!(refused.code, Some(3), "{refused:?}");
    refused.says(&["refuses the token", "refused with 401"]);
    let nowhere = [
        &init[..],
        &["--database-url", "sqlite:///nowhere/at/all/x.db"],
    ]
    .concat();
    let refused = told(&place, TOKEN, &nowhere);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    refused.says(&[
        "cannot write to /nowhere/at/all as uid",
        "No such file or directory",
    ]);
    assert_eq!(
        place.files(),
        [""; 0],
        "a test failed, so nothing is written"
    );

    let zoned = [&init[..], &["--timezone", "America/Sao_Paulo"]].concat();
    let written = told(&place, &format!("{TOKEN}\n"), &zoned);
    assert_eq!(written.code, Some(0), "{written:?}");
    written.says(&[
        "the API accepts the token",
        "helena-sync.toml written; only you can read it. Next: helena-sync run",
    ]);
    assert_eq!(place.files(), ["helena-sync.toml"]);
    let meta = std::fs::metadata(place.path().join("helena-sync.toml")).unwrap();
    assert_eq!(meta.permissions().mode() & 0o777, 0o600);

    let again = told(&place, TOKEN, &init);
    assert_eq!(again.code, Some(2), "{again:?}");
    again.says(&["helena-sync.toml exists already: edit it, or add --force to replace it"]);
    // Others can read the old file; they must not read the token.
    let file = place.path().join("helena-sync.toml");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let forced = told(&place, TOKEN, &[&zoned[..], &["--force"]].concat());
    assert_eq!(forced.code, Some(0), "{forced:?}");
    assert_eq!(place.files(), ["helena-sync.toml"]);
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // No answer mends another variable.
    let wrong = place
        .with("HELENA_API_TOKEN", TOKEN.trim())
        .with("HELENA_SYNC__SYNC__SCHEDULE", "now and then");
    let forced = ["init", "--base-url", &url, "--force"];
    wrong.refuses(&forced, 2, &["sync.schedule"]).await;
    let place = wrong
        .without("HELENA_API_TOKEN")
        .without("HELENA_SYNC__SYNC__SCHEDULE");

    let synced = told(&place, "", &["sync"]);
    assert_eq!(synced.code, Some(0), "{synced:?}");
    let rows = place.database().await.count("sessions", "true").await;
    assert_eq!(rows, 30);

    // Beside another folder's configuration, a relative path would mean another file.
    std::fs::create_dir(place.path().join("etc")).unwrap();
    let elsewhere = [&["--config", "etc/helena.toml"][..], &init].concat();
    let done = told(&place, TOKEN, &elsewhere);
    assert_eq!(done.code, Some(0), "{done:?}");
    let text = std::fs::read_to_string(place.path().join("etc/helena.toml")).unwrap();
    let here = place.path().canonicalize().unwrap();
    let url = format!("url = \"sqlite://{}/helena.db\"", here.display());
    assert!(text.contains(&url), "{url}: {text}");

    let unasked = Place::new().without("HELENA_API_TOKEN");
    unasked
        .refuses(
            &["init"],
            2,
            &["there is no terminal to ask for the token", "--token-stdin"],
        )
        .await;
    sandbox.stop().await;
}

#[tokio::test]
async fn config_show_says_where_every_value_comes_from_and_shows_no_secret() {
    let place = Place::new().with("DATABASE_URL", "postgres://ana:geheim@db/helena");
    place.write("other.toml", "[api]\npage_size = 50\n");
    let place = place.with("HELENA_SYNC_CONFIG", "other.toml");
    let shown = place
        .succeeds(&["config", "show", "--json", "--log-level", "DEBUG"])
        .await;
    assert!(!shown.out.contains("geheim"), "{shown:?}");
    let shown = shown.json();
    let of = |key: &str| {
        let all = shown.as_array().unwrap();
        let one = all.iter().find(|one| one["key"] == key);
        let one = one.unwrap_or_else(|| panic!("no {key} in {shown}"));
        let text = |name: &str| one[name].as_str().unwrap().to_owned();
        (text("value"), text("from"))
    };
    let pair = |value: &str, from: &str| (value.to_owned(), from.to_owned());
    assert_eq!(of("api.token"), pair("***", "HELENA_API_TOKEN"));
    assert_eq!(
        of("database.url"),
        pair("postgres://***@db/helena", "DATABASE_URL")
    );
    assert_eq!(of("api.page_size"), pair("50", "other.toml"));
    assert_eq!(of("log.level"), pair("debug", "--log-level"));
    assert_eq!(of("sync.overlap"), pair("2m", "default"));

    // The file of the flag goes before that of the variable.
    place.write(
        "accounts.toml",
        "[[accounts]]\nname = \"north\"\ntoken = \"pn_geheim\"\n",
    );
    let shown = place
        .succeeds(&["config", "show", "--config", "accounts.toml"])
        .await;
    assert!(!shown.out.contains("geheim"), "{shown:?}");
    assert!(shown.out.contains("accounts[0].name"), "{shown:?}");

    // A token of the list of accounts, or of a variable, goes before others.
    for (variable, file, ignored) in [
        ("HELENA_API_TOKEN", "accounts.toml", "api.token"),
        ("HELENA_API_TOKEN_FILE", "accounts.toml", "api.token_file"),
    ] {
        let place = Place::new().without("HELENA_API_TOKEN");
        place.write(
            file,
            "[[accounts]]\nname = \"north\"\ntoken = \"pn_geheim\"\n",
        );
        let place = place.with(variable, "geheim");
        let shown = place
            .succeeds(&["config", "show", "--json", "--config", file])
            .await;
        assert!(!shown.out.contains("geheim"), "{shown:?}");
        let all = shown.json();
        let one = all.as_array().unwrap().iter();
        let mut one = one.filter(|one| one["key"] == ignored);
        assert_eq!(one.next().unwrap()["value"], "(ignored)", "{all}");
    }
    let both = Place::new();
    both.write("both.toml", "[api]\ntoken_file = \"pn_geheim\"\n");
    let shown = both
        .succeeds(&["config", "show", "--config", "both.toml"])
        .await;
    assert!(!shown.out.contains("geheim"), "{shown:?}");
    assert!(shown.out.contains("(ignored)"), "{shown:?}");

    // A base URL that no command accepts.
    let host = Place::new().with("HELENA_BASE_URL", "api.helena.run");
    let told = ["HELENA_BASE_URL: api.base_url: the base URL \"api.helena.run\" has no scheme"];
    host.refuses(&["config", "show"], 2, &told).await;
    host.write(
        "accounts.toml",
        "[[accounts]]\nname = \"north\"\ntoken = \"pn_x\"\nbase_url = \"http://example.com\"\n",
    );
    let told =
        ["accounts.toml: accounts[0].base_url: the base URL \"http://example.com\" would send"];
    let line = ["config", "show", "--config", "accounts.toml"];
    host.refuses(&line, 2, &told).await;

    place.write("wrong.toml", "[api]\npage_size = 500\n");
    let wrong = ["config", "show", "--config", "wrong.toml"];
    let said = ["wrong.toml: api.page_size: expected a whole number from 1 to 100"];
    let shown = place.refuses(&wrong, 2, &said).await;
    assert!(
        shown.out.contains("500"),
        "the wrong value is shown, too: {shown:?}"
    );

    let missing = place.with("HELENA_SYNC_CONFIG", "missing.toml");
    missing
        .refuses(
            &["config", "show"],
            2,
            &["cannot read the configuration file missing.toml"],
        )
        .await;
}

#[tokio::test]
async fn man_pages_are_written_for_every_command() {
    let place = Place::new().without("HELENA_API_TOKEN");
    let page = place.succeeds(&["man"]).await;
    assert!(page.out.contains(".TH helena-sync 1"), "{page:?}");
    let written = place.succeeds(&["man", "--output", "pages"]).await;
    assert_eq!(written.out, "", "a note is no data: {written:?}");
    written.says(&["man pages written into pages"]);
    let pages = std::fs::read_dir(place.path().join("pages")).unwrap();
    let names: Vec<String> = pages
        .map(|page| page.unwrap().file_name().into_string().unwrap())
        .collect();
    for name in [
        "helena-sync.1",
        "helena-sync-sync.1",
        "helena-sync-state-set.1",
    ] {
        assert!(
            names.iter().any(|known| known == name),
            "{name} in {names:?}"
        );
    }
}

#[tokio::test]
async fn the_version_tells_what_a_report_of_a_fault_needs() {
    let place = Place::new().without("HELENA_API_TOKEN");
    let long = place.succeeds(&["--version"]).await.out;
    let version = concat!("helena-sync ", env!("CARGO_PKG_VERSION"));
    for part in [version, "\ncommit: ", "\nSQLite: 3.", "\ntarget: "] {
        assert!(long.contains(part), "{part}: {long}");
    }
    assert_eq!(place.succeeds(&["-V"]).await.out.trim_end(), version);
}

/// The part of the build that finds the commit.
#[path = "../../../migrations/commit.rs"]
mod commit;

#[test]
fn a_build_tells_its_commit_with_and_without_git() {
    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
    let of = |files: &[(&str, &str)]| {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        commit::commit_of(folder.path())
    };
    let short = Some(COMMIT[..12].to_owned());
    assert_eq!(of(&[(".git/HEAD", COMMIT)]), short);
    let on_main = (".git/HEAD", "ref: refs/heads/main\n");
    assert_eq!(of(&[on_main, (".git/refs/heads/main", COMMIT)]), short);
    let packed = format!("# pack-refs\n{COMMIT} refs/heads/main\n");
    assert_eq!(of(&[on_main, (".git/packed-refs", &packed)]), short);
    let worktree = [
        (".git", "gitdir: repository/worktrees/one\n"),
        ("repository/worktrees/one/HEAD", "ref: refs/heads/one\n"),
        ("repository/worktrees/one/commondir", "../..\n"),
        ("repository/refs/heads/one", COMMIT),
    ];
    assert_eq!(of(&worktree), short);
    let package = format!("{{\n  \"git\": {{\n    \"sha1\": \"{COMMIT}\"\n  }}\n}}");
    assert_eq!(of(&[(".cargo_vcs_info.json", &package)]), short);
    assert_eq!(of(&[]), None);
    assert_eq!(of(&[on_main]), None);
}
