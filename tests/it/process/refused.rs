//! What wrong configuration and wrong arguments get: an exit status, and a message that says what
//! is accepted. That no message shows the token is checked of every program that is run.

use std::os::unix::fs::PermissionsExt;

use super::program::{Place, TOKEN, account};
use crate::support::database;

const NOWHERE: &str = "http://127.0.0.1:9";

fn place() -> Place {
    Place::new().with("HELENA_BASE_URL", NOWHERE)
}

#[tokio::test]
async fn without_a_token_it_says_which_variable_and_where_tokens_are_made() {
    let told = ["HELENA_API_TOKEN", "Integrations > API"];
    let without = place().without("HELENA_API_TOKEN");
    for command in ["run", "sync", "backfill", "sessions", "tags", "check"] {
        without.refuses(&[command], 2, &told).await;
    }
    let empty = place().with("HELENA_API_TOKEN", "  ");
    empty.refuses(&["sync"], 2, &told).await;
    let bearer = place().with("HELENA_API_TOKEN", "Bearer ");
    bearer.refuses(&["sync"], 2, &told).await;
    assert_eq!(without.files(), [""; 0]);
}

#[tokio::test]
async fn a_token_file_that_is_missing_or_empty_is_refused() {
    let place = place()
        .without("HELENA_API_TOKEN")
        .with("HELENA_API_TOKEN_FILE", "secret/token");
    let told = [
        "secret/token",
        "HELENA_API_TOKEN_FILE",
        "Integrations > API",
    ];
    place.refuses(&["sync"], 2, &told).await;
    std::fs::create_dir(place.path().join("secret")).unwrap();
    place.write("secret/token", "\n");
    let told = ["secret/token", "is empty", "Integrations > API"];
    place.refuses(&["sync"], 2, &told).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_file_that_everyone_can_read_works_with_a_warning() {
    let sandbox = account(5).await;
    let place = Place::beside(&sandbox)
        .without("HELENA_API_TOKEN")
        .with("HELENA_API_TOKEN_FILE", "token");
    place.write("token", &format!("Bearer {TOKEN}\n"));
    let mode = |mode| {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(place.path().join("token"), permissions).unwrap();
    };
    mode(0o644);
    let done = place.succeeds(&["tags"]).await;
    done.says(&[
        "WARN",
        "every user of this machine can read",
        "chmod 600 token",
    ]);
    mode(0o600);
    let done = place.succeeds(&["tags"]).await;
    assert!(!done.err.contains("WARN"), "{done:?}");
}

#[tokio::test]
async fn a_base_url_that_cannot_be_used_is_refused_without_its_credentials() {
    for (url, told) in [
        (
            "api.helena.run",
            vec!["api.helena.run", "has no scheme", "https://"],
        ),
        (
            "http://api.helena.run",
            vec!["http://api.helena.run", "unencrypted"],
        ),
        (
            "https://me:hunter2@api.helena.run",
            vec!["api.helena.run", "user name or password"],
        ),
        (
            "me:hunter2@api.helena.run",
            vec!["api.helena.run", "has no scheme"],
        ),
        ("http://me:hunter2@api.helena.run", vec!["api.helena.run"]),
        (
            "ftp://me:hunter2@api.helena.run",
            vec!["ftp://", "another protocol", "https://"],
        ),
        (
            "https://me:12/hunter2@api.helena.run",
            vec!["api.helena.run", "user name or password"],
        ),
        (
            "me:hunter2://you@api.helena.run",
            vec!["api.helena.run", "another protocol"],
        ),
        (" ", vec!["base_url", "is empty"]),
    ] {
        let place = place().with("HELENA_BASE_URL", url);
        for command in ["sync", "sessions", "check"] {
            let done = place.refuses(&[command], 2, &told).await;
            assert!(!done.err.contains("hunter2"), "{done:?}");
        }
    }
}

#[tokio::test]
async fn a_platform_that_cannot_be_reached_is_named_by_its_url() {
    let done = place().refuses(&["check"], 1, &[]).await;
    assert!(done.out.contains(NOWHERE), "{done:?}");
    assert!(done.out.contains("no connection"), "{done:?}");
    let told = [
        NOWHERE,
        "no connection: Connection refused",
        "retrying the last request",
        "cannot reach",
    ];
    place().refuses(&["tags"], 1, &told).await;
    let told = [NOWHERE, "no connection"];
    place()
        .refuses(&["sync", "--max-runtime", "3s"], 1, &told)
        .await;
    let told = [NOWHERE, "no connection", "--tag"];
    let backfill = ["backfill", "--tag", "VIP", "--max-runtime", "3s"];
    place().refuses(&backfill, 1, &told).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_cannot_be_used_is_named_without_its_password() {
    let sandbox = account(5).await;
    let (mut admin, url) = database::create().await;
    let right = url::Url::parse(&url).unwrap();
    let mut wrong_user = right.clone();
    wrong_user.set_username("nobody_here").unwrap();
    wrong_user.set_password(Some("hunter2")).unwrap();
    for (url, code, told) in [
        (
            "mysql://me:hunter2@host/db",
            2,
            vec!["mysql", "accepted: sqlite://", "postgres://"],
        ),
        (
            "me:hunter2@127.0.0.1:9/helena",
            2,
            vec!["DATABASE_URL", "accepted: sqlite://", "postgres://"],
        ),
        (
            "postgres:me:hunter2@127.0.0.1:9/helena",
            2,
            vec!["DATABASE_URL", "must start with postgres://"],
        ),
        (
            "postgres:/me:hunter2@127.0.0.1:9/helena",
            2,
            vec!["must start with postgres://"],
        ),
        (
            r"postgres:\\me:hunter2@127.0.0.1:9/helena",
            2,
            vec!["must start with postgres://"],
        ),
        (
            "postgres://me:12/hunter2@127.0.0.1:9/helena",
            2,
            vec!["%2F", "accepted: sqlite://"],
        ),
        (
            "postgres://127.0.0.1:9/helena?pasword=hunter2",
            1,
            vec!["an unknown parameter pasword"],
        ),
        (
            "sqlite://",
            2,
            vec![
                "DATABASE_URL",
                "names no file",
                "lost when the command ends",
            ],
        ),
        ("sqlite:", 2, vec!["names no file"]),
        ("sqlite://?mode=rwc", 2, vec!["names no file"]),
        (
            "sqlite::memory:",
            2,
            vec![
                "DATABASE_URL",
                "lost when the command ends",
                "sqlite://FILE",
            ],
        ),
        (
            "sqlite:///proc/no/such/folder/helena.db",
            1,
            vec!["/proc/no/such/folder/helena.db"],
        ),
        (wrong_user.as_str(), 1, vec!["nobody_here", right.path()]),
        (
            "postgres://me:hunter2@127.0.0.1:9/helena",
            1,
            vec!["127.0.0.1:9/helena", "not available"],
        ),
    ] {
        let place = Place::beside(&sandbox).with("DATABASE_URL", url);
        for command in [
            &["sync", "--log-format", "json"][..],
            &["backfill"],
            &["migrate"],
            &["status"],
        ] {
            let done = place.refuses(command, code, &told).await;
            assert!(!done.err.contains("hunter2"), "{done:?}");
        }
    }
    database::drop(&mut admin, &url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dates_and_names_that_mean_nothing_are_refused_with_what_is_accepted() {
    let sandbox = account(5).await;
    sandbox.account().add_tag("Renovação 2026");
    let place = Place::beside(&sandbox);
    let forms = ["2025-12-31", "2025-12-31 18:30", "RFC 3339"];
    for command in ["sessions", "backfill"] {
        let date = [command, "--from", "31/13/2025"];
        place
            .refuses(&date, 2, &["--from", "31/13/2025"])
            .await
            .says(&forms);
        let early = [command, "--from", "0000-01-01"];
        let told = ["--from", "0000-01-01", "accepted: years 0001 to 9999"];
        place.refuses(&early, 2, &told).await;
        let backwards = [command, "--from", "2026-02-01", "--to", "2026-01-01"];
        place
            .refuses(
                &backwards,
                2,
                &["--from", "2026-02-01", "--to", "2026-01-01", "empty"],
            )
            .await;
        let status = [command, "--status", "COMPLETE"];
        place
            .refuses(
                &status,
                2,
                &["--status", "a similar value exists: 'COMPLETED'"],
            )
            .await;
        let tag = [command, "--tag", "Renovacao 2025"];
        place
            .refuses(&tag, 2, &["--tag", "similar: Renovação 2026"])
            .await;
        let channel = [command, "--channel", "xyz"];
        place
            .refuses(&channel, 2, &["--channel", "xyz", "helena-sync channels"])
            .await;
    }
    assert!(
        sandbox
            .requests()
            .iter()
            .all(|request| !request.path.contains("session")),
        "nothing is asked about sessions before all is understood"
    );
    assert_eq!(place.files(), [""; 0]);
}

#[tokio::test]
async fn an_ambiguous_name_is_refused_with_the_candidates() {
    let sandbox = account(5).await;
    let ids = ["Loja", "Loja"].map(|name| sandbox.account().add_channel(name).to_string());
    let place = Place::beside(&sandbox);
    let told = ["--channel", "Loja", ids[0].as_str(), &ids[1]];
    place
        .refuses(&["sessions", "--channel", "Loja"], 2, &told)
        .await;
}

#[tokio::test]
async fn a_file_with_a_mistake_is_refused_with_file_key_and_the_nearest_key() {
    for (text, told) in [
        (
            "[sync]\nschedul = \"every 1m\"\n",
            vec!["sync.schedul", "similar key: sync.schedule"],
        ),
        ("[synk]\n", vec!["synk", "similar section: [sync]"]),
        (
            "schedule = \"every 1m\"\n",
            vec!["similar key: sync.schedule"],
        ),
        (
            "[xyzzy]\n",
            vec![
                "xyzzy",
                "accepted sections and keys: accounts, alerts, api,",
            ],
        ),
        (
            "[sync]\nschedule = \"every 0s\"\n",
            vec!["shorter than a second"],
        ),
        (
            "[api]\npage_size = \"many\"\n",
            vec!["api.page_size", "from 1 to 100", "many"],
        ),
        (
            "[api]\npage_size = 101\n",
            vec!["api.page_size", "from 1 to 100", "101"],
        ),
        (
            "[sync]\noverlap = 120\n",
            vec!["sync.overlap", "a duration", "120"],
        ),
        (
            "[sync]\nschedule = \"0 0 30 2 *\"\n",
            vec!["sync.schedule", "never fires"],
        ),
        (
            "[sync]\nschedule = \"hourly\"\n",
            vec!["sync.schedule", "every 1m", "cron"],
        ),
        (
            "[sync]\nresources = [\"session\"]\n",
            vec!["sync.resources", "similar: sessions"],
        ),
        ("[sync\n", vec![":1:"]),
        (
            "[[accounts]]\nname = \"a\"\ntokn_env = \"T\"\n",
            vec!["tokn_env", "token_env"],
        ),
    ] {
        let place = place();
        place.write("helena-sync.toml", text);
        for command in ["run", "sync"] {
            let done = place.refuses(&[command], 2, &told).await;
            done.says(&["helena-sync.toml"]);
        }
    }
    let place = place().with("HELENA_SYNC__VERIFY__SCHEDULE", "nightly");
    let told = ["verify.schedule", "accepted: every 1m", "off for never"];
    for command in ["run", "check"] {
        place.refuses(&[command], 2, &told).await;
    }
    let place = place
        .without("HELENA_SYNC__VERIFY__SCHEDULE")
        .with("HELENA_SYNC__SYNC__SCHEDUL", "every 1m");
    let told = ["HELENA_SYNC__SYNC__SCHEDUL", "HELENA_SYNC__SYNC__SCHEDULE"];
    place.refuses(&["sync"], 2, &told).await;
}

#[tokio::test]
async fn a_sandbox_with_a_limit_or_a_token_that_is_none_is_wrong_usage() {
    let place = Place::new();
    for (flags, told) in [
        (&["--limit", "foo"][..], "must be requests/time"),
        (
            &["--limit", "off", "--limit", "10/1s"],
            "--limit off cannot be combined",
        ),
        (&["--accept-token", ""], "--accept-token"),
        (&["--accept-token", "a b'c"], "must contain only letters"),
    ] {
        let line = [&["sandbox"], flags].concat();
        place.refuses(&line, 2, &[told]).await;
    }
}

#[tokio::test]
async fn options_that_mean_nothing_to_a_command_are_refused() {
    let place = place().with("DATABASE_URL", "sqlite://never.db");
    for line in [
        &["tags", "--database-url", "sqlite://x.db"][..],
        &["demo", "--account", "nope", "--config", "/nonexistent"],
        &["demo", "--database-url", "sqlite://x.db"],
        &["completions", "bash", "--log-level", "info"],
    ] {
        place
            .refuses(line, 2, &["does not accept", "Leave it out"])
            .await;
    }
    assert_eq!(place.files(), [""; 0]);
}

#[tokio::test]
async fn a_command_or_flag_that_does_not_exist_is_refused_with_the_nearest() {
    place().refuses(&["snyc"], 2, &["snyc", "sync"]).await;
    place()
        .refuses(&["sync", "--resourse", "tags"], 2, &["--resource"])
        .await;
    place()
        .refuses(&["sync", "--resource", "tag"], 2, &["tags"])
        .await;
    place()
        .refuses(&["sync", "--max-runtime", "10"], 2, &["30s"])
        .await;
    place()
        .refuses(&["sessions", "--size", "101"], 2, &["101", "100"])
        .await;
    place()
        .refuses(&["sessions", "--size", "0"], 2, &["from 1 to 100"])
        .await;
    for line in [
        ["sync", "--limit", "0"],
        ["backfill", "--limit", "0"],
        ["sessions", "--page", "0"],
        ["contacts", "--page", "0"],
        ["rejects", "--limit", "0"],
    ] {
        let done = place().refuses(&line, 2, &[line[1], "at least 1"]).await;
        assert!(!done.err.contains(".."), "{done:?}");
    }
    place()
        .refuses(
            &["sync", "--limit", "many"],
            2,
            &["--limit", "many", "whole number"],
        )
        .await;
    let told = [
        "--contact",
        "must be a contact's id",
        "helena-sync contacts",
    ];
    place()
        .refuses(&["sessions", "--contact", "abc"], 2, &told)
        .await;
    place()
        .refuses(
            &["state", "set", "sessions", "31/13/2025"],
            2,
            &["2025-12-31"],
        )
        .await;
    place()
        .refuses(
            &["--timezone", "America/Sao_Pualo", "sessions"],
            2,
            &["America/Sao_Paulo"],
        )
        .await;
}

#[tokio::test]
async fn a_mistake_in_the_section_of_reports_is_told_before_the_database_is_opened() {
    let place = place();
    place.write("helena-sync.toml", "[report]\nsla_wait = \"soon\"\n");
    for command in ["run", "sync", "backfill", "migrate"] {
        place.refuses(&[command], 2, &["report.sla_wait"]).await;
    }
    assert_eq!(place.files(), ["helena-sync.toml"]);
}
