//! Where the program is started: whose files, whose variables, whose tables, which encoding.

use std::fmt::Write as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::process::Command;

use helena_sync::sandbox::SandboxConfig;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use super::program::{Place, TOKEN, account, on_both, sandbox, until};
use crate::support::database::{self, Kind};
use crate::support::socks::Socks;

/// A user that owns nothing.
const NOBODY: u32 = 65534;

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_of_other_programs_are_ignored_and_misspelt_ones_refused() {
    let sandbox = account(5).await;
    let mut place = Place::beside(&sandbox);
    let others = [
        ("HELENA_POSTGRES_SERVICE_HOST", "10.0.0.1"),
        ("HELENA_POSTGRES_PORT_5432_TCP_ADDR", "10.0.0.1"),
        ("HELENA_SYNC_PORT", "tcp://10.0.0.1:80"),
        ("HELENA_SYNC_SERVICE_PORT_HTTP", "80"),
        ("HELENA_BOT_GREETING", "hello"),
        // Another tool's: ours is set, too.
        ("HELENA_TOKEN", "theirs"),
    ];
    for (name, value) in others {
        place.set(name, value);
    }
    place.succeeds(&["sync"]).await;
    place.succeeds(&["status", "--max-lag", "10m"]).await;
    let checked = place.succeeds(&["check", "--json"]).await;
    for (name, value) in others {
        assert!(checked.out.contains(name), "{checked:?}");
        assert!(!checked.out.contains(&format!("{name}={value}")));
    }
    for (name, nearest) in [
        ("HELENA_SYNC__SYNC__SHEDULE", "HELENA_SYNC__SYNC__SCHEDULE"),
        ("HELENA_SYNC_SCHEDULE", "HELENA_SYNC__SYNC__SCHEDULE"),
        ("HELENA_SYNC_LOG_LEVEL", "HELENA_SYNC__LOG__LEVEL"),
        ("HELENA_LOG_LEVEL", "HELENA_SYNC__LOG__LEVEL"),
        ("HELENA_API_TOKEN_FIEL", "HELENA_API_TOKEN_FILE"),
        ("HELENA_DATABSE_URL", "DATABASE_URL"),
    ] {
        let place = Place::beside(&sandbox).with(name, "x");
        place.refuses(&["status"], 2, &[name, nearest]).await;
    }
    let unset = Place::beside(&sandbox)
        .without("HELENA_API_TOKEN")
        .with("HELENA_TOKEN", "pn_x");
    let told = ["HELENA_TOKEN", "HELENA_API_TOKEN"];
    unset.refuses(&["sync"], 2, &told).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_times_are_in_the_zone_of_tz_and_check_says_where_it_comes_from() {
    let sandbox = account(5).await;
    let place = Place::beside(&sandbox)
        .without("HELENA_SYNC__TIMEZONE")
        .with("TZ", "Asia/Kathmandu");
    let done = place.succeeds(&["sync"]).await;
    let lines: Vec<&str> = done.err.lines().filter(|line| !line.is_empty()).collect();
    let logged = |line: &&&str| line.contains(" INFO ");
    assert!(lines.iter().any(|line| logged(&line)), "{done:?}");
    for line in lines.iter().filter(logged) {
        assert_eq!(&line[19..25], "+05:45", "{line}");
    }
    let json = place.succeeds(&["sync", "--log-format", "json"]).await;
    let first: serde_json::Value = serde_json::from_str(json.err.lines().next().unwrap()).unwrap();
    let at = first["timestamp"].as_str().unwrap();
    assert!(at.ends_with("+05:45"), "{at}");
    let checked = place.succeeds(&["check", "--json"]).await;
    let zone = finding(&checked.json(), "time zone");
    assert_eq!(zone["where"], "TZ");
    assert!(
        zone["detail"]
            .as_str()
            .unwrap()
            .starts_with("Asia/Kathmandu"),
        "{zone}"
    );
    // The dates of one screen are those of the log.
    let status = place.succeeds(&["status"]).await;
    let hour = &lines[0][..13];
    assert!(status.out.contains(hour), "{hour}: {status:?}");

    let flag = ["--timezone", "UTC", "check", "--json"];
    let flag = place.succeeds(&flag).await;
    assert_eq!(finding(&flag.json(), "time zone")["where"], "--timezone");

    let rule = place.with("TZ", "BRT3BRST,M10.3.0/0,M2.3.0/0");
    let told = rule.succeeds(&["sync"]).await;
    told.says(&["TZ=BRT3BRST", "instead"]);
}

fn finding(findings: &serde_json::Value, what: &str) -> serde_json::Value {
    let text = findings.to_string();
    let all = match findings {
        serde_json::Value::Array(all) => all.clone(),
        other => vec![other.clone()],
    };
    all.into_iter()
        .find(|found| found["what"] == what)
        .unwrap_or_else(|| panic!("no {what} in {text}"))
}

/// Runs the program as a user that owns nothing; as this user, if it is not root.
fn as_nobody(place: &Place, command: &str) -> (Option<i32>, String) {
    let mut program = Command::new("setpriv");
    if rustix::process::geteuid().is_root() {
        program.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    } else {
        program = Command::new("env");
    }
    let done = program
        .arg(place.path().join("helena-sync"))
        .args(command.split(' '))
        .env_clear()
        .envs(place.environment())
        .current_dir(place.path())
        .output()
        .unwrap();
    let text = [done.stdout, done.stderr].concat();
    (
        done.status.code(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

/// A copy of the program where every user can reach it.
fn with_program(place: &Place) {
    set_mode(place.path(), 0o755);
    let copy = place.path().join("helena-sync");
    if std::fs::hard_link(env!("CARGO_BIN_EXE_helena-sync"), &copy).is_err() {
        std::fs::copy(env!("CARGO_BIN_EXE_helena-sync"), &copy).unwrap();
    }
    set_mode(&copy, 0o755);
}

#[tokio::test(flavor = "multi_thread")]
async fn check_names_the_file_or_folder_that_run_could_not_write_and_leaves_nothing() {
    let sandbox = account(5).await;
    let place = Place::beside(&sandbox);
    with_program(&place);
    set_mode(place.path(), 0o555);
    let before = place.files();
    let (code, text) = as_nobody(&place, "check");
    assert_eq!(code, Some(1), "{text}");
    for told in [
        "cannot write to",
        "mode 0555",
        "as uid",
        "permission denied",
    ] {
        assert!(flat(&text).contains(told), "no {told:?} in {text}");
    }
    assert_eq!(place.files(), before);
    set_mode(place.path(), 0o755);
    place.succeeds(&["sync"]).await;
    let before = place.files();
    let own = place.succeeds(&["check"]).await;
    place.succeeds(&["status"]).await;
    assert_eq!(place.files(), before);
    assert!(flat(&own.out).contains("tables up to date"), "{own:?}");
    // The folder may be written, and the file may not.
    set_mode(place.path(), 0o777);
    let file = place.path().join("helena.db");
    set_mode(&file, 0o444);
    let before = place.files();
    let (code, text) = as_nobody(&place, "check");
    assert_eq!(code, Some(1), "{text}");
    assert!(flat(&text).contains("mode 0444"), "{text}");
    assert_eq!(place.files(), before);
}

/// A table's text without its line breaks.
fn flat(text: &str) -> String {
    text.split_whitespace()
        .filter(|word| word.chars().any(|c| c.is_ascii_alphanumeric()))
        .collect::<Vec<_>>()
        .join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_reads_a_file_that_it_cannot_write_or_is_told_what_it_needs() {
    let sandbox = account(5).await;
    let place = Place::beside(&sandbox);
    with_program(&place);
    place.succeeds(&["sync"]).await;
    let file = place.path().join("helena.db");
    // A read-only place, and nobody writes.
    set_mode(&file, 0o444);
    set_mode(place.path(), 0o555);
    let (code, text) = as_nobody(&place, "status");
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("sessions"), "{text}");
    if rustix::process::geteuid().is_root() {
        set_mode(&file, 0o600);
        let (code, text) = as_nobody(&place, "status");
        assert_eq!(code, Some(1), "{text}");
        let told = "this user must be able to read";
        assert!(flat(&text).contains(told), "{text}");
        assert!(text.contains("helena.db"), "{text}");
        set_mode(&file, 0o444);
        // Changes that are only in the log, whose index is gone.
        set_mode(place.path(), 0o755);
        std::fs::write(place.path().join("helena.db-wal"), "changes").unwrap();
        set_mode(&place.path().join("helena.db-wal"), 0o444);
        chown(&file, Some(NOBODY), None).unwrap();
        let (code, text) = as_nobody(&place, "status");
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("helena.db-wal has changes"), "{text}");
        assert!(text.contains("the user that runs helena-sync"), "{text}");
    }
    set_mode(place.path(), 0o755);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_database_is_private_with_its_log_and_an_old_mode_stays() {
    let sandbox = account(5).await;
    let place = Place::beside(&sandbox);
    let mut daemon = place.start(&["run"]);
    daemon.says("sessions").await;
    for name in ["helena.db", "helena.db-wal", "helena.db-shm"] {
        assert_eq!(mode(&place.path().join(name)), 0o600, "{name}");
    }
    daemon.signal(rustix::process::Signal::TERM);
    daemon.end().await;
    let file = place.path().join("helena.db");
    set_mode(&file, 0o644);
    place.succeeds(&["sync"]).await;
    assert_eq!(mode(&file), 0o644);
    let checked = place.succeeds(&["check", "--json"]).await;
    assert!(checked.out.contains("chmod 600"), "{checked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_with_tables_of_another_program_is_refused_unless_it_is_shared() {
    on_both(|place| async move {
        let sandbox = account(5).await;
        let place = place.with("HELENA_BASE_URL", &sandbox.base_url());
        let theirs = "create table orders (id integer primary key)";
        match place.kind {
            Kind::Sqlite => {
                let options = sqlx::sqlite::SqliteConnectOptions::new()
                    .filename(place.path().join("helena.db"))
                    .create_if_missing(true);
                let mut file = sqlx::SqliteConnection::connect_with(&options)
                    .await
                    .unwrap();
                file.execute(theirs).await.unwrap();
                file.close().await.unwrap();
            }
            Kind::Postgres => {
                let mut server = PgConnection::connect(&place.database_url).await.unwrap();
                server.execute(theirs).await.unwrap();
                server.close().await.unwrap();
            }
        }
        let told = ["another program", "(orders)", "database.shared"];
        for command in ["run", "sync", "migrate"] {
            place.refuses(&[command], 1, &told).await;
        }
        let checked = place.run(&["check", "--json"]).await;
        assert_eq!(checked.code, Some(1), "{checked:?}");
        assert!(checked.out.contains("another program"), "{checked:?}");
        if place.kind == Kind::Postgres {
            // A schema of its own, by the key or by the address.
            let key = Place::new()
                .with("HELENA_BASE_URL", &sandbox.base_url())
                .with("DATABASE_URL", &place.database_url)
                .with("HELENA_SYNC__DATABASE__SCHEMA", "helena");
            key.succeeds(&["sync"]).await;
            let address = format!("{}?options[search_path]=helena", place.database_url);
            let by_address = Place::new()
                .with("HELENA_BASE_URL", &sandbox.base_url())
                .with("DATABASE_URL", &address);
            by_address.succeeds(&["sync"]).await.says(&["nothing new"]);
            by_address.succeeds(&["check"]).await;
            by_address.succeeds(&["report", "--last", "3m"]).await;
            by_address
                .succeeds(&["export", "--output", "exported"])
                .await;
            // Neither the schema of the role nor the next one exists.
            let path = format!(
                "{}?options[search_path]=\"$user\",another",
                place.database_url
            );
            let another = Place::new()
                .with("HELENA_BASE_URL", &sandbox.base_url())
                .with("DATABASE_URL", &path.replace('"', "%22"));
            another.succeeds(&["sync"]).await;
            let wrong = by_address.with("HELENA_SYNC__DATABASE__SCHEMA", "helena");
            wrong.refuses(&["sync"], 2, &["remove one"]).await;
        } else {
            let wrong = Place::new().with("HELENA_SYNC__DATABASE__SCHEMA", "helena");
            wrong.refuses(&["sync"], 2, &["only for Postgres"]).await;
        }
        let shared = place.with("HELENA_SYNC__DATABASE__SHARED", "true");
        shared.succeeds(&["check"]).await;
        shared.succeeds(&["sync"]).await;
        let database = shared.database().await;
        assert_eq!(database.count("sessions", "true").await, 5);
        assert_eq!(database.count("orders", "true").await, 0);
        database.store.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_variable_of_our_own_goes_first_and_a_path_is_a_file() {
    let sandbox = account(5).await;
    let place = Place::beside(&sandbox)
        .with("DATABASE_URL", "mysql://another@application/db")
        .with("HELENA_DATABASE_URL", "mirror.sqlite");
    place.succeeds(&["sync"]).await;
    assert_eq!(place.files(), ["mirror.sqlite"]);
    let flag = ["status", "--database-url", "./mirror.sqlite"];
    place.succeeds(&flag).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_utf8_is_refused_with_the_command_that_makes_one() {
    let sandbox = account(5).await;
    let (mut admin, url) = database::create().await;
    let name = url.rsplit('/').next().unwrap();
    let latin = format!("{name}_latin");
    let make = format!(
        "create database \"{latin}\" encoding 'LATIN1' lc_collate 'C' lc_ctype 'C' template template0"
    );
    admin.execute(AssertSqlSafe(make)).await.unwrap();
    let address = url.replace(name, &latin);
    let place = Place::beside(&sandbox).with("DATABASE_URL", &address);
    let told = ["LATIN1", "emoji", "create database", "encoding 'UTF8'"];
    for command in ["run", "sync", "migrate", "status"] {
        let done = place.refuses(&[command], 2, &told).await;
        // The command works as it stands.
        let start = done.err.find("create database helena").unwrap();
        let printed = &done.err[start..];
        let printed = &printed[..printed.find('`').unwrap()];
        if command == "run" {
            let right = printed.replace("helena", &format!("\"{name}_right\""));
            admin.execute(AssertSqlSafe(right)).await.unwrap();
            let right = url.replace(name, &format!("{name}_right"));
            let place = Place::beside(&sandbox).with("DATABASE_URL", &right);
            place.succeeds(&["sync"]).await;
            let drop = format!("drop database \"{name}_right\" with (force)");
            admin.execute(AssertSqlSafe(drop)).await.unwrap();
        }
    }
    let checked = place.run(&["check", "--json"]).await;
    assert_eq!(checked.code, Some(2), "{checked:?}");
    assert!(checked.out.contains("LATIN1"), "{checked:?}");
    let drop = format!("drop database \"{latin}\" with (force)");
    admin.execute(AssertSqlSafe(drop)).await.unwrap();
    database::drop(&mut admin, &url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn check_warns_when_the_public_roles_of_an_api_may_read_the_tables() {
    let sandbox = account(5).await;
    let (mut admin, url) = database::create().await;
    let place = Place::beside(&sandbox).with("DATABASE_URL", &url);
    let mut server = PgConnection::connect(&url).await.unwrap();
    // Roles belong to the whole server, where another test may make the same.
    let role = "do $$ begin create role anon; exception when duplicate_object or unique_violation then \
                null; end $$";
    server.execute(role).await.unwrap();
    let warns = async || {
        let checked = place.succeeds(&["check", "--json"]).await;
        checked.out.contains("anon may read the tables")
    };
    assert!(!warns().await);
    // As Supabase sets up a new project.
    let by_default = "grant usage on schema public to anon; \
                      alter default privileges in schema public grant select on tables to anon";
    server.execute(sqlx::raw_sql(by_default)).await.unwrap();
    assert!(warns().await);
    place.succeeds(&["sync"]).await;
    assert!(warns().await);
    // What the warning advises.
    let revoked = "revoke all on all tables in schema public from anon; \
                   alter default privileges in schema public revoke all on tables from anon";
    server.execute(sqlx::raw_sql(revoked)).await.unwrap();
    assert!(!warns().await);
    let everybody = "grant select on sessions to public";
    server.execute(everybody).await.unwrap();
    let checked = place.succeeds(&["check", "--json"]).await;
    assert!(
        checked.out.contains("public may read the tables"),
        "{checked:?}"
    );
    server.close().await.unwrap();
    database::drop(&mut admin, &url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_platform_is_reached_through_a_socks_proxy() {
    let sandbox = account(5).await;
    let server = sandbox.base_url();
    let server = server.trim_start_matches("http://").trim_end_matches('/');
    let socks = Socks::to(server.to_owned()).await;
    let place = Place::new()
        .with("HELENA_BASE_URL", "http://platform.example")
        .with("HELENA_SYNC__API__ALLOW_HTTP", "true")
        .with("ALL_PROXY", &socks.url());
    place.succeeds(&["sync"]).await;
    let database = place.database().await;
    assert_eq!(database.count("sessions", "true").await, 5);
    database.store.close().await;
    assert_eq!(socks.asked()[0], "platform.example");
}

/// As many accounts as a reseller has, on a role that may open two connections.
#[tokio::test(flavor = "multi_thread")]
async fn many_accounts_work_on_a_role_with_two_connections() {
    const ACCOUNTS: u64 = 30;
    let (mut admin, url) = database::create().await;
    let name = url.rsplit('/').next().unwrap();
    let role = format!("role_{name}");
    let make = format!(
        "create role \"{role}\" login password 'p' connection limit 2; \
         alter database \"{name}\" owner to \"{role}\""
    );
    admin
        .execute(sqlx::raw_sql(AssertSqlSafe(make)))
        .await
        .unwrap();
    let mut address = url::Url::parse(&url).unwrap();
    address.set_username(&role).unwrap();
    address.set_password(Some("p")).unwrap();
    let mut place = Place::new()
        .without("HELENA_API_TOKEN")
        .with("DATABASE_URL", address.as_str());
    let mut file = String::new();
    let mut accounts = Vec::new();
    for number in 0..ACCOUNTS {
        let config = SandboxConfig {
            seed: number + 1,
            ..SandboxConfig::of_size(3)
        };
        let account = sandbox(config).await;
        let url = account.base_url();
        place.set(&format!("TOKEN_{number}"), TOKEN);
        writeln!(
            file,
            "[[accounts]]\nname = \"a{number}\"\nbase_url = \"{url}\"\ntoken_env = \"TOKEN_{number}\""
        )
        .unwrap();
        accounts.push(account);
    }
    place.write("helena-sync.toml", &file);
    let mut daemon = place.start(&["run"]);
    let mut server = PgConnection::connect(&url).await.unwrap();
    until("all accounts are loaded", async || {
        assert!(!daemon.has_ended(), "{}", daemon.err());
        let loaded: Result<i64, _> =
            sqlx::query_scalar("select count(distinct account_id) from sessions")
                .fetch_one(&mut server)
                .await;
        loaded.is_ok_and(|loaded| loaded == i64::try_from(ACCOUNTS).unwrap())
    })
    .await;
    // The role's other connection is in use as well, by somebody else.
    daemon.signal(rustix::process::Signal::TERM);
    assert_eq!(daemon.end().await.code, Some(0));
    let mut others = Vec::new();
    for _ in 0..2 {
        others.push(PgConnection::connect(address.as_str()).await.unwrap());
    }
    let told = ["too many connections for role", "raise the limit"];
    place.refuses(&["status"], 1, &told).await;
    for other in others {
        other.close().await.unwrap();
    }
    server.close().await.unwrap();
    database::drop(&mut admin, &url).await;
    let drop = format!("drop role \"{role}\"");
    admin.execute(AssertSqlSafe(drop)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_copy_beside_the_log_of_another_database_is_refused() {
    let sandbox = account(5).await;
    let place = Place::beside(&sandbox);
    place.succeeds(&["sync"]).await;
    place.succeeds(&["backup", "copy.db"]).await;
    // A log that a killed process left, of an hour ago.
    place.write("helena.db-wal", "frames of the replaced database");
    let log = place.path().join("helena.db-wal");
    let hour = std::time::Duration::from_hours(1);
    let made = std::fs::metadata(&log).unwrap().modified().unwrap();
    let open = std::fs::File::options().write(true).open(&log).unwrap();
    open.set_modified(made - hour).unwrap();
    std::fs::copy(place.path().join("copy.db"), place.path().join("helena.db")).unwrap();
    let told = [
        "probably belongs to another database",
        "delete helena.db-wal",
    ];
    for command in ["run", "sync", "migrate"] {
        place.refuses(&[command], 1, &told).await;
    }
    std::fs::remove_file(log).unwrap();
    place.succeeds(&["sync"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_complete_private_and_replaces_nothing() {
    let sandbox = account(40).await;
    let place = Place::beside(&sandbox);
    let told = ["does not exist yet"];
    place.refuses(&["backup", "copy.db"], 1, &told).await;
    place.succeeds(&["sync"]).await;
    let mut daemon = place.start(&["run", "--log-level", "debug"]);
    daemon.says("nothing new").await;
    place
        .succeeds(&["backup", "copy.db"])
        .await
        .says(&["copy.db is a copy of", "MB in"]);
    daemon.signal(rustix::process::Signal::TERM);
    daemon.end().await;
    assert_eq!(mode(&place.path().join("copy.db")), 0o600);
    let told = ["copy.db exists"];
    place.refuses(&["backup", "copy.db"], 2, &told).await;
    place.refuses(&["backup", "."], 2, &["is a folder"]).await;
    let missing = ["backup", "no/such/folder/copy.db"];
    place.refuses(&missing, 1, &["no/such/folder"]).await;
    // The copy goes on where the original stood.
    let restored = Place::beside(&sandbox).with(
        "DATABASE_URL",
        &place.path().join("copy.db").display().to_string(),
    );
    restored
        .succeeds(&["sync"])
        .await
        .says(&["sessions: nothing new"]);
    let postgres = Place::new().with("DATABASE_URL", "postgres://u:hunter2@h/db");
    let done = postgres.refuses(&["backup", "x"], 2, &["pg_dump"]).await;
    assert!(!done.err.contains("hunter2"), "{done:?}");
}
