//! The demo, played without its waiting.

use clap::Parser;
use helena_sync::cli::{self, Cli, Exit};
use helena_sync::clock::SystemClock;
use helena_sync::config::Environment;
use std::sync::Arc;

use crate::support::database;

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
    for _ in 0..2 {
        assert_eq!(play(&["--database", &url]).await, Ok(Exit::Done));
    }
}

#[tokio::test]
async fn the_demo_plays_on_postgres_and_leaves_other_data_alone() {
    let (mut admin, url) = database::create().await;
    let first = play(&["--database", &url]).await;
    let second = play(&["--database", &url]).await;
    database::drop(&mut admin, &url).await;
    assert_eq!(first, Ok(Exit::Done));
    assert!(second.unwrap_err().contains("holds an earlier demo"));
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
