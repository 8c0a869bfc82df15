//! Looking at a mirror and after it: status, state, check, migrate, rejects, completions.

use std::time::Duration;

use helena_sync::sandbox::Poison;
use sqlx::{AssertSqlSafe, Connection};

use super::mirror::assert_perfect;
use super::program::{Place, account, on_both};
use crate::support::database::Kind;

#[tokio::test(flavor = "multi_thread")]
async fn status_tells_rows_watermarks_runs_and_what_is_stale() {
    on_both(|place| async move {
        let sandbox = account(80).await;
        let place = place.with("HELENA_BASE_URL", &sandbox.base_url());
        place.succeeds(&["sync"]).await;
        let done = place.succeeds(&["status"]).await;
        for text in ["account default at http://127", "sessions", "80", "contacts", "ARCHIVED", "first_load"] {
            assert!(done.out.contains(text), "{text} in {done:?}");
        }
        let status = place.succeeds(&["status", "--json"]).await.json();
        let resources = status[0]["resources"].as_array().unwrap();
        let sessions = resources.iter().find(|r| r["resource"] == "sessions").unwrap();
        assert_eq!(sessions["rows"], 80);
        assert!(sessions["streams"][0]["watermark"].is_string(), "{sessions}");
        assert_eq!(status[0]["backfills"], serde_json::json!([]));

        place.succeeds(&["status", "--max-lag", "1h"]).await.says(&["up to date"]);
        let database = place.database().await;
        let old = "update sync_state set last_success_at = '2020-01-01T00:00:00.000000Z' where resource = 'sessions'";
        database.execute(old).await;
        database.store.close().await;
        let told = ["default: sessions was last read", "ago"];
        let done = place.refuses(&["status", "--max-lag", "1h"], 1, &told).await;
        assert_eq!(done.out, "", "nothing is counted");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn check_asks_for_little_and_changes_nothing() {
    let sandbox = account(30).await;
    let place = Place::beside(&sandbox);
    let done = place.succeeds(&["check"]).await;
    for text in [
        "configuration",
        "does not exist yet",
        "30 sessions",
        "tags",
        "agents",
    ] {
        assert!(done.out.contains(text), "{text} in {done:?}");
    }
    // One for each resource, one more for custom fields, and one for each version of the session
    // list.
    assert_eq!(sandbox.take_requests().len(), 14);
    assert_eq!(place.files(), [""; 0]);
    sandbox.account().moods.refused = vec!["/core/v1/tag".to_owned()];
    let done = place.refuses(&["check", "--json"], 1, &[]).await.json();
    let refused: Vec<_> = done
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| finding["result"] == "refused")
        .collect();
    assert_eq!(refused.len(), 1, "{done}");
    assert_eq!(refused[0]["what"], "tags");

    sandbox.account().moods.refused = vec!["/".to_owned()];
    sandbox.take_requests();
    place.refuses(&["check"], 3, &[]).await;
    assert_eq!(sandbox.take_requests().len(), 14);
    let help = place.succeeds(&["check", "--help"]).await;
    let help = help.out.split_whitespace().collect::<Vec<_>>().join(" ");
    let told = "twelve requests for each account, and up to four more";
    assert!(help.contains(told), "{help}");
    sandbox.account().moods.refused.clear();

    let place = place.with("HELENA_SYNC__SYNC__RESOURCES", "sessions,agents");
    let done = place.succeeds(&["check"]).await;
    assert!(done.out.contains("left out"), "{done:?}");
    assert_eq!(sandbox.take_requests().len(), 4);

    let place = place.with("HELENA_SYNC__TIMEZONE", "Mars/X");
    for command in [&["check"][..], &["sync", "--dry-run"]] {
        place
            .refuses(command, 2, &["unknown time zone", "Mars/X"])
            .await;
    }
    assert_eq!(place.files(), [""; 0]);
}

/// What `check` says of one thing of the account.
async fn checked(place: &Place, code: i32, what: &str) -> (String, String) {
    let done = place.refuses(&["check", "--json"], code, &[]).await.json();
    let findings = done.as_array().unwrap().clone();
    let finding = findings.iter().find(|finding| finding["what"] == what);
    let finding = finding.unwrap_or_else(|| panic!("no {what}: {done}"));
    let text = |name: &str| finding[name].as_str().unwrap().to_owned();
    (text("result"), text("detail"))
}

#[tokio::test(flavor = "multi_thread")]
async fn check_compares_both_versions_of_the_session_list() {
    let sandbox = account(300).await;
    let place = Place::beside(&sandbox);
    let sessions = async |place: &Place, code| checked(place, code, "sessions").await;
    let expected = "300 sessions (list version 2)";
    assert_eq!(sessions(&place, 0).await, ("ok".into(), expected.into()));
    sandbox.account().moods.v1_hides_groups = true;
    let (result, detail) = sessions(&place, 0).await;
    assert_eq!(result, "ok");
    assert!(detail.starts_with(expected), "{detail}");
    assert!(detail.contains("version 1 shows fewer"), "{detail}");
    let pinned = Place::beside(&sandbox).with("HELENA_SYNC__API__SESSION_VERSION", "1");
    let (result, detail) = sessions(&pinned, 1).await;
    assert_eq!(result, "failed");
    assert!(
        detail.contains("version 2 shows more sessions: 300"),
        "{detail}"
    );
    assert!(detail.contains("api.session_version"), "{detail}");
    sandbox.account().moods.v1_hides_groups = false;
    sandbox.account().moods.v2_withdrawn = Some(404);
    let expected = "300 sessions (list version 1; version 2 does not answer)";
    assert_eq!(sessions(&place, 0).await, ("ok".into(), expected.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn check_tells_of_interactions_later_than_the_last_change() {
    on_both(|place| async move {
        let sandbox = account(30).await;
        let place = place.with("HELENA_BASE_URL", &sandbox.base_url());
        let noted = async || {
            let done = place.succeeds(&["check", "--json"]).await;
            done.out.contains("lastInteractionDate").then_some(done.out)
        };
        assert_eq!(noted().await, None);
        let speak = |silent| {
            let mut account = sandbox.account();
            account.moods.silent_messages = silent;
            let later = account.now() + Duration::from_mins(1);
            for session in account.session_ids() {
                account.update_session(session, |session| session.last_interaction = Some(later));
            }
        };
        // On the page that it reads …
        speak(true);
        assert!(noted().await.unwrap().contains("this check read a session"));
        place.succeeds(&["sync", "--full-refresh"]).await;
        // … and in what passes have noted.
        speak(false);
        assert!(noted().await.unwrap().contains("earlier syncs read"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn check_tells_how_the_token_is_accepted_and_what_the_date_header_says() {
    let sandbox = account(30).await;
    let place = Place::beside(&sandbox);
    let done = place.succeeds(&["check"]).await;
    for what in ["Bearer", "Date"] {
        assert!(!done.out.contains(what), "{done:?}");
    }
    sandbox.account().moods.bare_token = true;
    let (result, detail) = checked(&place, 0, "token").await;
    assert_eq!(result, "note");
    assert!(detail.contains("without the word Bearer"), "{detail}");
    sandbox.account().moods.bare_token = false;
    for (micros, told) in [(600_000_000, "ahead of"), (-600_000_000, "behind")] {
        sandbox.account().moods.date_micros = micros;
        let (result, detail) = checked(&place, 0, "clock").await;
        assert_eq!(result, "note");
        assert!(detail.contains(told) && detail.contains("Date"), "{detail}");
    }
    sandbox.account().moods.date_micros = 0;
    sandbox.account().moods.no_date = true;
    let (result, detail) = checked(&place, 0, "clock").await;
    assert_eq!(result, "note");
    assert!(detail.contains("no readable Date header"), "{detail}");
    // A token that is refused everywhere is told as before.
    sandbox.account().moods.refused = vec!["/".to_owned()];
    place.refuses(&["check"], 3, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn status_tells_since_when_an_account_is_in_trouble_until_an_answer_comes() {
    on_both(|place| async move {
        let sandbox = account(20).await;
        let place = place.with("HELENA_BASE_URL", &sandbox.base_url());
        place.succeeds(&["sync"]).await;
        let status = place.succeeds(&["status", "--json"]).await.json();
        assert!(status[0]["trouble"].is_null(), "{status}");
        let database = place.database().await;
        database
            .execute(
                "update accounts set trouble = '127.0.0.1 answers 429 (too many requests)', \
                 trouble_since = '2026-05-04T14:03:00.000000Z'",
            )
            .await;
        let done = place.succeeds(&["status"]).await;
        let told =
            "platform not available since 2026-05-04 14:03:00: 127.0.0.1 answers 429 (too many requests)";
        assert!(done.out.contains(told), "{done:?}");
        let status = place.succeeds(&["status", "--json"]).await.json();
        let trouble = &status[0]["trouble"];
        assert_eq!(trouble["since"], "2026-05-04T14:03:00.000000Z");
        assert_eq!(trouble["what"], "127.0.0.1 answers 429 (too many requests)");
        place.succeeds(&["sync"]).await;
        let none = "trouble is null and trouble_since is null";
        assert_eq!(database.count("accounts", none).await, 1);
        database.store.close().await;
        let done = place.succeeds(&["status"]).await;
        assert!(!done.out.contains("not available"), "{done:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn check_says_what_the_role_may_not_do_and_no_more_is_needed() {
    on_both(|mut place| async move {
        // A file has no roles.
        if place.kind == Kind::Sqlite {
            return;
        }
        let sandbox = account(10).await;
        place.set("HELENA_BASE_URL", &sandbox.base_url());
        let mut url = url::Url::parse(&place.database_url).unwrap();
        let role = format!("{}_role", url.path().trim_start_matches('/'));
        let database = place.database().await;
        database
            .execute(&format!("create role \"{role}\" login password 'p'"))
            .await;
        database
            .execute("revoke create on schema public from public")
            .await;
        database
            .execute(&format!(
                "grant select on all tables in schema public to \"{role}\""
            ))
            .await;
        url.set_username(&role).unwrap();
        url.set_password(Some("p")).unwrap();
        place.set("DATABASE_URL", url.as_str());
        let lacking = async || {
            let check = place.refuses(&["check", "--json"], 1, &[]).await.json();
            let lines = check.as_array().unwrap().clone();
            let line = lines
                .iter()
                .find(|line| line["what"] == "database")
                .unwrap();
            assert_eq!(line["result"], "failed", "{line}");
            let detail = line["detail"].as_str().unwrap();
            let (_, lacking) = detail.split_once("the missing privileges: ").unwrap();
            lacking.split("; ").map(str::to_owned).collect::<Vec<_>>()
        };
        let before = lacking().await;
        assert!(
            before[0].starts_with("insert on accounts, agents,"),
            "{before:?}"
        );
        assert!(
            before[1].starts_with("update on accounts, agents,"),
            "{before:?}"
        );
        assert_eq!(
            before[2],
            "delete on alert_messages, alerts, contact_tags, doorbell_calls, instances, rechecks, report_days, report_open_hours, session_tags, sync_runs"
        );
        place.refuses(&["sync"], 1, &["permission denied"]).await;
        for lack in before {
            database
                .execute(&format!("grant {lack} to \"{role}\""))
                .await;
        }
        let check = place.succeeds(&["check"]).await;
        assert!(check.out.contains("tables up to date"), "{check:?}");
        // Views and comments of another version are the owner's business.
        let outdated = "update report_settings set views_hash = 'x', views_version = 0; \
                        comment on table _sqlx_migrations is null";
        database.execute(outdated).await;
        for command in [
            &["sync"][..],
            &["backfill"],
            &["state", "reset", "sessions"],
            &["sync"],
            &["verify", "--repair"],
        ] {
            place.succeeds(command).await;
        }
        assert_eq!(database.count("report_settings", "views_hash = 'x'").await, 1);
        // What a new version would bring needs more.
        database
            .execute(
                "delete from _sqlx_migrations \
                 where version = (select max(version) from _sqlx_migrations)",
            )
            .await;
        let create = lacking().await;
        assert_eq!(create, ["create in the schema"]);
        database
            .execute(&format!("drop owned by \"{role}\" cascade"))
            .await;
        database.execute(&format!("drop role \"{role}\"")).await;
        database.store.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_made_once_and_a_schema_of_another_version_is_refused() {
    on_both(|place| async move {
        let sandbox = account(10).await;
        let place = place.with("HELENA_BASE_URL", &sandbox.base_url());
        let manual = [("HELENA_SYNC__DATABASE__MIGRATE", "false")];
        let mut place = place;
        place.set(manual[0].0, manual[0].1);
        for command in ["sync", "backfill", "run"] {
            let done = place.refuses(&[command], 1, &["run `helena-sync migrate`"]).await;
            assert!(!done.err.contains("retry in"), "{done:?}");
        }
        place.refuses(&["status"], 1, &["migrate"]).await;
        // Migrating needs no token.
        place.unset("HELENA_API_TOKEN");
        let done = place.succeeds(&["migrate"]).await;
        assert!(done.out.contains("_mirror"), "{done:?}");
        place.succeeds(&["migrate"]).await.says(&["is up to date"]);
        place.set("HELENA_API_TOKEN", super::program::TOKEN);
        place.succeeds(&["sync"]).await;
        assert_perfect(&place, &sandbox).await;

        let database = place.database().await;
        let newer = "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
            select 29991231000000, 'of the future', success, checksum, 1 from _sqlx_migrations limit 1";
        database.execute(newer).await;
        database.store.close().await;
        for migrate in ["true", "false"] {
            place.set("HELENA_SYNC__DATABASE__MIGRATE", migrate);
            for command in ["run", "sync", "migrate", "status"] {
                place.refuses(&[command], 1, &["29991231000000", "does not know"]).await;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_listed_shown_and_fetched_again() {
    on_both(|place| async move {
        let sandbox = account(40).await;
        let place = place.with("HELENA_BASE_URL", &sandbox.base_url());
        let ids = sandbox.account().session_ids();
        sandbox.account().poison(ids[3], Poison::WrongType);
        sandbox.account().poison(ids[7], Poison::NotAnObject);
        place.succeeds(&["sync"]).await;
        let rejects = place.succeeds(&["rejects", "list", "--json"]).await.json();
        let rejects = rejects.as_array().unwrap().clone();
        assert_eq!(rejects.len(), 2, "{rejects:?}");
        let named = rejects
            .iter()
            .find(|r| r["record_id"] == ids[3].to_string())
            .unwrap();
        let shown = place
            .succeeds(&["rejects", "show", &named["id"].to_string()])
            .await;
        assert!(
            shown.out.contains(named["reason"].as_str().unwrap()),
            "{shown:?}"
        );
        assert!(shown.out.contains("rest stored  yes"), "{shown:?}");
        place
            .refuses(&["rejects", "show", "999"], 1, &["no reject 999"])
            .await;

        sandbox.account().heal(ids[3]);
        let done = place.succeeds(&["rejects", "retry"]).await;
        done.says(&["1 fetched again; 1 unresolved in all"]);
        let rejects = place.succeeds(&["rejects", "--json"]).await.json();
        assert_eq!(rejects.as_array().unwrap().len(), 1);
        sandbox.account().heal(ids[7]);
        place.succeeds(&["sync", "--full-refresh"]).await;
        assert_perfect(&place, &sandbox).await;
    })
    .await;
}

#[tokio::test]
async fn commands_that_only_look_say_that_there_is_no_database_yet() {
    let place = Place::new();
    for command in [
        &["status"][..],
        &["state", "show"],
        &["state", "export"],
        &["rejects"],
    ] {
        place.refuses(command, 1, &["does not exist yet"]).await;
    }
    assert_eq!(place.files(), [""; 0]);
}

#[tokio::test]
async fn commands_that_change_what_is_stored_make_no_database_of_a_mistyped_path() {
    let place = Place::new().with("HELENA_BASE_URL", "http://127.0.0.1:9");
    for command in [
        &["state", "set", "sessions", "2026-01-01"][..],
        &["state", "reset", "contacts"],
        &["rejects", "retry"],
        &["verify", "--repair"],
    ] {
        let told = ["does not exist yet", "run `helena-sync sync` to create it"];
        place.refuses(command, 1, &told).await;
    }
    let place = place.with("HELENA_SYNC__DATABASE__MIGRATE", "false");
    for command in [
        &["sync"][..],
        &["backfill"],
        &["run"],
        &["state", "reset", "sessions"],
    ] {
        place
            .refuses(command, 1, &["does not exist yet", "migrate"])
            .await;
    }
    assert_eq!(place.files(), [""; 0]);
}

#[tokio::test]
async fn completions_are_printed_for_every_shell_even_with_a_broken_file() {
    let place = Place::new().without("HELENA_API_TOKEN");
    place.write("helena-sync.toml", "[broken");
    for shell in ["bash", "zsh", "fish"] {
        let done = place.succeeds(&["completions", shell]).await;
        assert!(done.out.contains("helena-sync"), "{shell}");
        assert_eq!(done.err, "");
    }
    place
        .refuses(&["completions", "tcsh"], 2, &["bash", "zsh", "fish"])
        .await;
}

#[tokio::test]
async fn help_reads_like_a_manual_page() {
    let place = Place::new().without("HELENA_API_TOKEN");
    for command in [
        "run", "sync", "backfill", "status", "check", "migrate", "sessions", "tags", "state",
        "rejects",
    ] {
        let done = place.succeeds(&[command, "--help"]).await;
        assert!(done.out.contains("Example"), "{command}");
        assert!(
            done.out.lines().nth(2).is_some_and(|line| line.len() > 20),
            "{}",
            done.out
        );
        assert!(
            done.out.lines().all(|line| line.chars().count() <= 100),
            "{}",
            done.out
        );
    }
    let done = place.succeeds(&["help", "sync"]).await;
    assert!(done.out.contains("--full-refresh"), "{done:?}");
    let done = place.succeeds(&["--version"]).await;
    assert!(done.out.starts_with("helena-sync 0."), "{done:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_in_a_place_named_by_a_flag_is_used() {
    let sandbox = account(10).await;
    let place = Place::beside(&sandbox);
    place
        .succeeds(&[
            "sync",
            "--database-url",
            "sqlite://other.db",
            "--log-format",
            "json",
        ])
        .await;
    assert_eq!(place.files(), ["other.db"]);
    let mut file = sqlx::SqliteConnection::connect(&format!(
        "sqlite://{}",
        place.path().join("other.db").display()
    ))
    .await
    .unwrap();
    let count: i64 = sqlx::query_scalar(AssertSqlSafe("select count(*) from sessions"))
        .fetch_one(&mut file)
        .await
        .unwrap();
    assert_eq!(count, 10);
}
