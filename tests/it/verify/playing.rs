//! The demo, played without its waiting.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use clap::Parser;
use futures::FutureExt;
use helena_sync::cli::{self, Cli, Exit};
use helena_sync::clock::SystemClock;
use helena_sync::config::Environment;
use helena_sync::sandbox::{Sandbox, SandboxConfig};

use crate::support::database::{self, Database, Kind, on_sqlite};

async fn play(arguments: &[&str]) -> Result<Exit, String> {
    let line = ["helena-sync", "demo", "--time", "0s", "--sessions", "150"];
    let cli = Cli::try_parse_from(line.iter().chain(arguments)).unwrap();
    // Whatever points to a real account or database is not looked at.
    let environment = Environment::from([
        ("HELENA_API_TOKEN", "pn_real"),
        ("HELENA_BASE_URL", "https://api.helena.run"),
        ("DATABASE_URL", "postgres://nobody@127.0.0.1:1/real"),
    ]);
    cli::run_command(cli, environment, Arc::new(SystemClock))
        .await
        .map_err(|failure| failure.text())
}

#[tokio::test]
async fn the_demo_ends_with_an_equal_mirror_and_may_be_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/demo.db", folder.path().display());
    let report = folder.path().join("demo-report.html");
    for _ in 0..2 {
        assert_eq!(play(&["--database", &url]).await, Ok(Exit::Done));
        let page = std::fs::read_to_string(&report).unwrap();
        assert!(page.starts_with("<!DOCTYPE html>") && page.contains("Loja Ipê"));
        assert!(page.len() < 300_000, "{}", page.len());
    }
}

#[tokio::test]
async fn the_demo_does_not_replace_a_page_of_somebody_else() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/demo.db", folder.path().display());
    let page = folder.path().join("demo-report.html");
    std::fs::write(&page, "<!DOCTYPE html><p>My own</p>").unwrap();
    let refused = play(&["--database", &url]).await.unwrap_err();
    assert!(
        refused.contains("choose another file with --report"),
        "{refused}"
    );
    assert!(std::fs::read_to_string(&page).unwrap().contains("My own"));
    assert!(!folder.path().join("demo.db").exists());
    let other = folder.path().join("other.html");
    let other = other.to_str().unwrap();
    let played = play(&["--database", &url, "--report", other]).await;
    assert_eq!(played, Ok(Exit::Done));
    assert!(
        std::fs::read_to_string(other)
            .unwrap()
            .contains("helena-sync")
    );
}

#[tokio::test]
async fn the_demo_checks_where_its_report_goes_before_it_begins() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/demo.db", folder.path().display());
    let missing = folder.path().join("missing/report.html");
    for (report, said) in [
        (missing.to_str().unwrap(), "there is no folder"),
        ("/dev/null", "is not a file"),
        ("/dev/zero", "is not a file"),
        (folder.path().to_str().unwrap(), "is not a file"),
    ] {
        let refused = play(&["--database", &url, "--report", report]).await;
        let refused = refused.unwrap_err();
        assert!(
            refused.contains(said) && refused.contains("--report"),
            "{refused}"
        );
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_report_that_cannot_be_written_does_not_hide_the_verdict() {
    on_both(|database| async move {
        let folder = tempfile::tempdir().unwrap();
        let report = folder.path().join("report.html");
        // What the report is to be written to first.
        let taken = format!("report.html.{}.tmp", std::process::id());
        std::fs::create_dir(folder.path().join(taken)).unwrap();
        let url = match database.kind {
            Kind::Sqlite => format!("sqlite://{}/demo.db", folder.path().display()),
            Kind::Postgres => database.url.clone(),
        };
        let played = play(&["--database", &url, "--report", report.to_str().unwrap()]).await;
        assert_eq!(played, Ok(Exit::Failed));
        assert!(!report.exists());
    })
    .await;
}

#[tokio::test]
async fn the_demo_plays_on_postgres_and_leaves_other_data_alone() {
    let (mut admin, url) = database::create().await;
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report.html");
    let arguments = ["--database", &url, "--report", report.to_str().unwrap()];
    let first = play(&arguments).await;
    let second = play(&arguments).await;
    database::drop(&mut admin, &url).await;
    assert_eq!(first, Ok(Exit::Done));
    assert!(report.exists());
    assert!(second.unwrap_err().contains("contains an earlier demo"));
}

#[tokio::test]
async fn the_demo_does_not_touch_a_file_that_is_not_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("precious.db");
    std::fs::write(&file, "not a database").unwrap();
    let url = format!("sqlite://{}", file.display());
    play(&["--database", &url]).await.unwrap_err();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "not a database");
}

/// Tells a story on both databases; the demo cannot be sent to another thread.
async fn on_both<F: Future<Output = ()>>(story: impl Fn(Database) -> F) {
    on_sqlite(&story).await;
    let (mut admin, url) = database::create().await;
    let database = database::open(Kind::Postgres, url.clone()).await;
    let opened = database.store.clone();
    let told = AssertUnwindSafe(story(database)).catch_unwind().await;
    opened.close().await;
    database::drop(&mut admin, &url).await;
    if let Err(panic) = told {
        std::panic::resume_unwind(panic);
    }
}

#[tokio::test]
async fn the_demo_does_not_replace_the_mirror_of_an_account_on_this_machine() {
    on_both(|database| async move {
        let sandbox = Sandbox::start(SandboxConfig::of_size(30), Arc::new(SystemClock))
            .await
            .unwrap();
        let environment = Environment::from([
            ("HELENA_API_TOKEN", sandbox.token()),
            ("HELENA_BASE_URL", &sandbox.base_url()),
            ("DATABASE_URL", &database.url),
        ]);
        let cli = Cli::try_parse_from(["helena-sync", "sync"]).unwrap();
        let synced = cli::run_command(cli, environment, Arc::new(SystemClock)).await;
        assert_eq!(synced.unwrap(), Exit::Done);
        let refused = play(&["--database", &database.url]).await.unwrap_err();
        assert!(
            refused.contains("contains the mirror of an account"),
            "{refused}"
        );
        assert_eq!(database.count("sessions", "1 = 1").await, 30);
    })
    .await;
}

#[tokio::test]
async fn the_demo_does_not_write_beside_the_tables_of_another_program() {
    on_both(|database| async move {
        database
            .execute("alter table accounts rename to customers")
            .await;
        let refused = play(&["--database", &database.url]).await.unwrap_err();
        assert!(
            refused.contains("is not the database of an earlier demo"),
            "{refused}"
        );
    })
    .await;
}
