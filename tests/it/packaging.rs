//! What is shipped for systemd, containers and Kubernetes, held against the program and against systemd's
//! own checks.

use std::collections::BTreeSet;
use std::io::Write;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::process::{Command, Stdio};

use clap::Parser;
use futures::FutureExt;
use helena_sync::cli::Cli;
use helena_sync::config::{KEYS, Key};
use helena_sync::store::{OpenOptions, Store};
use rustix::process::Signal;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::net::UnixDatagram;
use uuid::Uuid;

use crate::process::program::{Place, account};
use crate::support::database::{self, Database, Kind};
use crate::support::tools;

const UNIT: &str = "packaging/systemd/helena-sync.service";

fn shipped(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(path).unwrap()
}

/// The names of variables in a text that begin as ours do.
fn variables(text: &str) -> BTreeSet<&str> {
    let is_part = |c: char| c.is_ascii_uppercase() || c == '_';
    let words = text.split(|c: char| !is_part(c));
    words
        .filter(|word| word.starts_with("HELENA_") || *word == "DATABASE_URL")
        .collect()
}

#[test]
fn what_is_shipped_sets_only_keys_that_exist_and_calls_only_commands_that_exist() {
    let known: BTreeSet<String> = KEYS.iter().flat_map(Key::variables).collect();
    for file in [
        UNIT,
        "packaging/kubernetes/helena-sync.yaml",
        "docker-compose.yml",
    ] {
        let text = shipped(file);
        let named = variables(&text);
        assert!(named.len() > 1, "{file}: {named:?}");
        for variable in named {
            assert!(known.contains(variable), "{file}: {variable}");
        }
    }
    let unit = shipped(UNIT);
    let start = unit
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="));
    Cli::try_parse_from(start.unwrap().split(' ')).unwrap();
    let pod = shipped("packaging/kubernetes/helena-sync.yaml");
    let arguments = pod
        .lines()
        .find_map(|line| line.trim().strip_prefix("args: "));
    let arguments: Vec<String> = serde_json::from_str(arguments.unwrap()).unwrap();
    Cli::try_parse_from(std::iter::once("helena-sync".to_owned()).chain(arguments)).unwrap();
    for path in ["/healthz", "/readyz"] {
        assert!(pod.contains(&format!("path: {path}\n")), "{path}");
    }
    let image = shipped("Dockerfile");
    let (_, check) = image.split_once("HEALTHCHECK").unwrap();
    let (_, check) = check.split_once("CMD ").unwrap();
    let check: Vec<String> = serde_json::from_str(check.lines().next().unwrap()).unwrap();
    Cli::try_parse_from(check).unwrap();
}

#[test]
fn systemd_finds_no_mistake_in_the_unit_and_calls_it_safe() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("helena-sync.service");
    // It checks whether the program is there.
    let program = env!("CARGO_BIN_EXE_helena-sync");
    let unit = shipped(UNIT).replace("/usr/local/bin/helena-sync", program);
    std::fs::write(&path, unit).unwrap();
    let path = path.to_str().unwrap();
    // An exposure of 2.5 of 10.
    let security = [
        "security",
        "--offline=yes",
        "--threshold=25",
        "--no-pager",
        path,
    ];
    for arguments in [&["verify", "--man=no", path][..], &security] {
        let Ok(done) = Command::new("systemd-analyze").args(arguments).output() else {
            tools::missing("systemd-analyze", "systemd");
            return;
        };
        let said = String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{arguments:?}: {said}");
        if arguments[0] == "verify" {
            assert_eq!(said, "");
        }
    }
}

/// Receives until a message has this line.
async fn told(socket: &UnixDatagram, wanted: &str) -> String {
    let mut heard = Vec::new();
    let listening = async {
        loop {
            let mut message = [0; 4096];
            let length = socket.recv(&mut message).await.unwrap();
            let text = String::from_utf8_lossy(&message[..length]).into_owned();
            let has = text.lines().any(|line| line.starts_with(wanted));
            heard.push(text.clone());
            if has {
                return text;
            }
        }
    };
    let heard_it = tokio::time::timeout(crate::process::program::GUARD, listening).await;
    heard_it.unwrap_or_else(|_| panic!("no {wanted}: {heard:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn run_tells_systemd_when_it_starts_works_and_stops() {
    let sandbox = account(20).await;
    let place = Place::beside(&sandbox);
    let socket = place.path().join("notify");
    let place_of_socket = socket.to_str().unwrap().to_owned();
    let listener = UnixDatagram::bind(&socket).unwrap();
    let place = place.with("NOTIFY_SOCKET", &place_of_socket);
    let mut program = place.start(&["run"]);
    let ready = told(&listener, "READY=1").await;
    assert!(
        ready.contains("STATUS=keeping 1 account up to date"),
        "{ready}"
    );
    program.says("keeping 1 account").await;
    told(&listener, "WATCHDOG=1").await;
    program.signal(Signal::TERM);
    told(&listener, "STOPPING=1").await;
    let done = program.end().await;
    assert_eq!(done.code, Some(0), "{done:?}");
}

/// The file that makes the role of reports.
const REPORTS: &str = "packaging/postgres/reports.sql";

/// Gives a script to psql with these variables. Returns what it says. `None` if there is no psql here.
fn psql(url: &str, script: &str, variables: &[(&str, &str)]) -> Option<String> {
    let started = Command::new("psql")
        .args(["--no-psqlrc", "--quiet", url])
        .env_remove("REPORTS_PASSWORD")
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = started else {
        tools::missing("psql", "postgresql-client");
        return None;
    };
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(script.as_bytes()).unwrap();
    drop(stdin);
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success(), "{done:?}");
    let said = [done.stdout, done.stderr].concat();
    Some(String::from_utf8(said).unwrap())
}

/// What becomes of the role in a database. `None` if there is no psql here.
async fn reports(url: &str, role: &str) -> Option<()> {
    let script = shipped(REPORTS).replace("reports", role);
    let database = |store| Database {
        kind: Kind::Postgres,
        url: url.to_owned(),
        store,
    };
    let store = Store::open(url, &OpenOptions::default()).await.unwrap();
    let database = database(store);
    let is_role = format!("rolname = '{role}'");
    let said = psql(url, &script, &[])?;
    assert!(
        said.contains("run \"docker compose up --detach --wait postgres\""),
        "{said}"
    );
    assert_eq!(database.count("pg_roles", &is_role).await, 0);
    let password = async || {
        let sql = format!("select rolpassword from pg_authid where {is_role}");
        database.text(&sql).await
    };
    let first = [
        ("REPORTS_PASSWORD", "it's $1"),
        ("REPORTS_TIMEZONE", "America/Sao_Paulo"),
    ];
    let said = psql(url, &script, &first)?;
    assert!(
        said.contains("has the password of REPORTS_PASSWORD"),
        "{said}"
    );
    let before = password().await;
    // The tables are made later.
    database.store.migrate().await.unwrap();

    let relations =
        "pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'v')";
    let may = |what: &str| format!("has_table_privilege('{role}', oid, '{what}')");
    let all = format!("select cast(count(*) as text) from {relations}");
    let all: usize = database.text(&all).await.parse().unwrap();
    assert!(all > 40, "{all}");
    let unread = format!(
        "select relname::text from {relations} and not {}",
        may("select")
    );
    assert_eq!(database.texts(&unread).await, [""; 0]);
    let writes = may("insert, update, delete, truncate, references, trigger");
    let written = format!("select relname::text from {relations} and {writes}");
    assert_eq!(database.texts(&written).await, [""; 0]);

    // For a database that exists, it runs again.
    let revoke = format!("revoke select on all tables in schema public from {role}");
    database.execute(&revoke).await;
    psql(url, &script, &[("REPORTS_PASSWORD", "another"), first[1]])?;
    assert_ne!(password().await, before);
    assert_eq!(database.texts(&unread).await, [""; 0]);

    let mut theirs = url::Url::parse(url).unwrap();
    theirs.set_username(role).unwrap();
    theirs.set_password(Some("another")).unwrap();
    let mut connection = PgConnection::connect(theirs.as_str()).await.unwrap();
    // The driver sets some of them for its own connections.
    let settings = format!(
        "select lower(array_to_string(setconfig, ' ')) from pg_db_role_setting \
         join pg_roles on pg_roles.oid = setrole where {is_role}"
    );
    assert_eq!(
        database.text(&settings).await,
        "default_transaction_read_only=on timezone=america/sao_paulo statement_timeout=30s jit=off"
    );
    for view in ["report_daily", "sessions", "alerts"] {
        let read = AssertSqlSafe(format!("select count(*) from {view}"));
        sqlx::query(read).execute(&mut connection).await.unwrap();
    }
    // Whoever switches the precaution off may not write all the same.
    let off = "set default_transaction_read_only = off";
    sqlx::query(off).execute(&mut connection).await.unwrap();
    for sql in [
        "update accounts set name = 'x'",
        "delete from sessions",
        "create table mine (id int)",
    ] {
        let refused = sqlx::query(sql).execute(&mut connection).await.unwrap_err();
        let code = refused
            .as_database_error()
            .and_then(sqlx::error::DatabaseError::code);
        assert_eq!(code.as_deref(), Some("42501"), "{sql}: {refused}");
    }
    connection.close().await.unwrap();
    database.store.close().await;
    Some(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_role_of_reports_reads_every_table_and_writes_none() {
    let (mut admin, url) = database::create().await;
    // Roles belong to the server, which other tests use, too.
    let role = format!("reports_{}", Uuid::new_v4().simple());
    let told = AssertUnwindSafe(Box::pin(reports(&url, &role)))
        .catch_unwind()
        .await;
    database::drop(&mut admin, &url).await;
    let sql = AssertSqlSafe(format!("drop role if exists \"{role}\""));
    sqlx::query(sql).execute(&mut admin).await.unwrap();
    if let Err(panic) = told {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn the_container_of_the_daemon_gets_no_password_of_another_one() {
    let compose = shipped("docker-compose.yml");
    let (_, daemon) = compose.split_once("\n  helena-sync:\n").unwrap();
    let (daemon, _) = daemon.split_once("\nvolumes:\n").unwrap();
    assert!(daemon.contains("env_file: .env\n"), "{daemon}");
    let sample = shipped(".env.example");
    let names = sample
        .lines()
        .map(|line| line.trim_start_matches('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name)
        .filter(|name| name.ends_with("_PASSWORD"));
    let names: Vec<&str> = names.collect();
    assert_eq!(names.len(), 3, "{names:?}");
    for name in names {
        assert!(
            daemon.contains(&format!("\n      {name}: \"\"\n")),
            "{name}"
        );
    }
}

#[test]
fn grafana_gets_no_other_password_than_that_of_the_role_that_reads() {
    let source = shipped("monitoring/grafana/provisioning/datasources/helena-sync.yml");
    assert!(source.contains("user: reports\n"), "{source}");
    assert!(source.contains("password: $REPORTS_PASSWORD\n"), "{source}");
    let compose = shipped("monitoring/docker-compose.yml");
    assert!(!compose.contains("POSTGRES_PASSWORD"), "{compose}");
    // Analysts know that of the role, and must not administer Grafana.
    let admin =
        "GF_SECURITY_ADMIN_PASSWORD: ${GRAFANA_PASSWORD:?set it in .env, see .env.example}\n";
    assert!(compose.contains(admin), "{compose}");
    let mount = format!("- ./{REPORTS}:/docker-entrypoint-initdb.d/reports.sql:ro");
    assert!(shipped("docker-compose.yml").contains(&mount));
    // What is written out for other databases grants and sets the same.
    let statements = |text: &str| -> BTreeSet<String> {
        let own = text
            .lines()
            .map(str::trim)
            .filter(|line| line.starts_with("grant ") || line.starts_with("alter default "));
        own.map(str::to_owned).collect()
    };
    let tools = shipped("docs/tools.md");
    let (_, block) = tools.split_once("```text\ncreate role reports").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    assert_eq!(statements(&shipped(REPORTS)), statements(block));
}
