//! The options of `sync` and `backfill`.

use std::time::Duration;

use helena_sync::sandbox::Sandbox;
use rustix::process::Signal;
use serde_json::Value;

use super::mirror::assert_perfect;
use super::program::{Place, account, on_both, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_what_would_be_read_and_writes_nothing() {
    let sandbox = account(230).await;
    let place = Place::beside(&sandbox);
    for command in [
        &["sync", "--dry-run"][..],
        &["sync", "--dry-run", "--full-refresh"],
    ] {
        let done = place.succeeds(command).await;
        let sessions = done
            .out
            .lines()
            .find(|line| line.contains("sessions"))
            .unwrap()
            .to_owned();
        let words: Vec<&str> = sessions.split_whitespace().collect();
        assert_eq!(
            words,
            ["default", "sessions", "all", "230", "3"],
            "{done:?}"
        );
        done.says(&["nothing was written"]);
    }
    let done = place.succeeds(&["backfill", "--dry-run"]).await;
    assert!(
        done.out
            .starts_with("dry run, nothing was written: 230 sessions in at least 3 requests, "),
        "{done:?}"
    );
    let none = ["backfill", "--dry-run", "--to", "2001-01-01"];
    let done = place.succeeds(&none).await;
    assert!(
        done.out
            .starts_with("dry run, nothing was written: 0 sessions in at least 1 request, "),
        "{done:?}"
    );
    assert_eq!(place.files(), [""; 0]);

    place.succeeds(&["sync"]).await;
    let before = std::fs::read(place.path().join("helena.db")).unwrap();
    sandbox.account().live_step(10);
    place.succeeds(&["sync", "--dry-run"]).await;
    place.succeeds(&["backfill", "--dry-run"]).await;
    let after = std::fs::read(place.path().join("helena.db")).unwrap();
    assert!(before == after, "the file is as it was");
    let others = place.files();
    let of_sqlite = |name: &String| name.starts_with("helena.db");
    assert!(others.iter().all(of_sqlite), "{others:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_without_news_says_so_with_the_watermark() {
    let sandbox = account(60).await;
    let place = Place::beside(&sandbox);
    place.succeeds(&["sync"]).await;
    sandbox.take_requests();
    let done = place.succeeds(&["sync", "--resource", "sessions"]).await;
    done.says(&["sessions: nothing new, read all changes up to 20"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_rows_and_time_end_a_load_that_the_next_start_goes_on_with() {
    on_both(|place| async move {
        let sandbox = account(300).await;
        let place = place
            .with("HELENA_BASE_URL", &sandbox.base_url())
            .with("HELENA_SYNC__API__PAGE_SIZE", "10")
            .with("HELENA_SYNC__BACKFILL__WINDOW_PAGES", "8");
        let done = place.succeeds(&["sync", "--limit", "150"]).await;
        done.says(&["the next sync resumes here"]);
        sandbox.account().moods.latency = Duration::from_millis(40);
        let done = place.succeeds(&["sync", "--max-runtime", "1s"]).await;
        done.says(&["--max-runtime", "the next sync resumes here"]);
        // Over before anything was read, and still what was asked for.
        let done = place.succeeds(&["sync", "--max-runtime", "1ms"]).await;
        done.says(&["the next sync resumes here"]);
        sandbox.account().moods.latency = Duration::ZERO;
        place.succeeds(&["sync"]).await;
        assert_perfect(&place, &sandbox).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_refresh_reads_everything_again_and_rewrites_only_what_differs() {
    on_both(|place| async move {
        let sandbox = account(120).await;
        let place = place.with("HELENA_BASE_URL", &sandbox.base_url());
        place.succeeds(&["sync"]).await;
        let database = place.database().await;
        let id = sandbox.account().session_ids()[5];
        // What no pass could ever notice: a row that was damaged here.
        let damage = format!("update sessions set title = 'damaged', content_hash = 0 where cast(id as text) = '{id}'");
        database.execute(&damage).await;
        let synced = "select cast(max(synced_at) as text) || ' ' || cast(count(*) as text)
            from sessions where title is null or title <> 'damaged'";
        let before = database.text(synced).await;
        place.succeeds(&["sync", "--full-refresh"]).await;
        assert_eq!(database.count("sessions", "title = 'damaged'").await, 0);
        let others = format!("select cast(max(synced_at) as text) || ' ' || cast(count(*) as text)
            from sessions where cast(id as text) <> '{id}'");
        assert_eq!(database.text(&others).await, before);
        database.store.close().await;
        assert_perfect(&place, &sandbox).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_refresh_that_was_stopped_goes_on() {
    on_both(|place| async move {
        let sandbox = account(300).await;
        let place = place
            .with("HELENA_BASE_URL", &sandbox.base_url())
            .with("HELENA_SYNC__API__PAGE_SIZE", "10")
            .with("HELENA_SYNC__BACKFILL__WINDOW_PAGES", "4");
        place.succeeds(&["sync"]).await;
        let refresh = ["sync", "--resource", "sessions", "--full-refresh"];
        for _ in 0..3 {
            let done = place
                .succeeds(&[&refresh[..], &["--limit", "60"]].concat())
                .await;
            done.says(&["the next sync resumes here"]);
        }
        place.succeeds(&refresh).await;
        let database = place.database().await;
        let refreshed = "first_load = false and finished_at is not null";
        assert_eq!(database.count("backfills", refreshed).await, 1);
        assert_eq!(database.count("backfills", "finished_at is null").await, 0);
        database.store.close().await;
        assert_perfect(&place, &sandbox).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_resources_that_are_named_are_read() {
    let sandbox = account(30).await;
    let place = Place::beside(&sandbox);
    place
        .succeeds(&["sync", "--resource", "tags", "--resource", "channels"])
        .await;
    let database = place.database().await;
    assert_eq!(database.count("sessions", "1 = 1").await, 0);
    let tags = sandbox.account().truth_tags().len();
    assert_eq!(
        database.count("tags", "1 = 1").await,
        i64::try_from(tags).unwrap()
    );
    database.store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_reads_what_its_filters_choose_and_nothing_else() {
    on_both(|place| async move {
        let sandbox = account(300).await;
        let place = place.with("HELENA_BASE_URL", &sandbox.base_url());
        let sessions = sandbox.account().truth_sessions();
        let department = sandbox.account().truth_departments()[0].clone();
        let name = department["name"].as_str().unwrap();
        let chosen = sessions
            .iter()
            .filter(|s: &&Value| {
                s["status"] == "COMPLETED" && s["departmentId"] == department["id"]
            })
            .count();
        assert!(chosen > 0);
        let filters = ["--status", "COMPLETED", "--department", name];
        let dry = place
            .succeeds(&[&["backfill", "--dry-run"], filters.as_slice()].concat())
            .await;
        assert!(
            dry.out.starts_with(&format!(
                "dry run, nothing was written: {chosen} sessions in "
            )),
            "{dry:?}"
        );
        let done = place
            .succeeds(&[&["backfill"], filters.as_slice()].concat())
            .await;
        done.says(&[&format!("done: {chosen} sessions read, {chosen} new")]);
        let database = place.database().await;
        let stored = database.count("sessions", "1 = 1").await;
        assert_eq!(stored, i64::try_from(chosen).unwrap());
        database.store.close().await;
        // What was backfilled first takes nothing from the first load.
        place.succeeds(&["sync"]).await;
        assert_perfect(&place, &sandbox).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_that_was_stopped_goes_on_or_begins_again_if_told_to() {
    on_both(|place| async move {
        let sandbox = account(300).await;
        let place = place
            .with("HELENA_BASE_URL", &sandbox.base_url())
            .with("HELENA_SYNC__API__PAGE_SIZE", "10")
            .with("HELENA_SYNC__BACKFILL__WINDOW_PAGES", "8");
        let stopped = ["backfill", "--from", "2000-01-01", "--limit", "120"];
        place
            .succeeds(&stopped)
            .await
            .says(&["the same backfill resumes here"]);
        place
            .succeeds(&stopped)
            .await
            .says(&["resuming the unfinished backfill", "--restart"]);
        // As an earlier version stored it.
        let database = place.database().await;
        let earlier = "update backfills set on_request = false where not first_load";
        database.execute(earlier).await;
        database.store.close().await;
        let again = ["backfill", "--from", "2000-01-01", "--restart"];
        let done = place.succeeds(&again).await;
        assert!(!done.err.contains("resuming"), "{done:?}");
        done.says(&["done: 300 sessions read"]);
        let status = place.succeeds(&["status", "--json"]).await.json();
        assert_eq!(status[0]["backfills"], serde_json::json!([]));
        place.succeeds(&["sync"]).await;
        assert_perfect(&place, &sandbox).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_a_pass_and_a_backfill_with_1_so_that_nothing_builds_on_half_of_them() {
    let sandbox = account(300).await;
    let place = Place::beside(&sandbox)
        .with("HELENA_SYNC__API__PAGE_SIZE", "10")
        .with("HELENA_SYNC__BACKFILL__CONCURRENCY", "1");
    let told = [
        "the next sync resumes here",
        "the same backfill resumes here",
    ];
    let commands = [("sync", Signal::TERM), ("backfill", Signal::INT)];
    for ((command, signal), told) in commands.into_iter().zip(told) {
        sandbox.account().moods.latency = Duration::from_millis(50);
        sandbox.take_requests();
        let program = place.start(&[command]);
        let what = format!("{command} reads sessions");
        until(&what, async || {
            let requests = sandbox.requests();
            let pages = requests.iter().filter(|r| r.path.ends_with("/session"));
            pages.count() > 5
        })
        .await;
        program.signal(signal);
        let done = program.end().await;
        assert_eq!(done.code, Some(1), "{done:?}");
        done.says(&["stopped early", told]);
    }
    sandbox.account().moods.latency = Duration::ZERO;
    place.succeeds(&["sync"]).await;
    assert_perfect(&place, &sandbox).await;
}

#[tokio::test]
async fn a_dry_run_with_the_limits_of_a_real_one_is_refused() {
    let place = Place::new();
    for (command, flags) in [
        ("sync", ["--limit", "5"]),
        ("sync", ["--max-runtime", "1s"]),
        ("backfill", ["--limit", "5"]),
        ("backfill", ["--max-runtime", "1s"]),
    ] {
        let line = [&[command, "--dry-run"], flags.as_slice()].concat();
        place
            .refuses(&line, 2, &["--dry-run", flags[0], "cannot be used with"])
            .await;
    }
    let line = ["backfill", "--dry-run", "--restart"];
    place.refuses(&line, 2, &["cannot be used with"]).await;
}

/// Requests to a path since it was asked the last time.
fn asked(sandbox: &Sandbox, path: &str) -> usize {
    let requests = sandbox.take_requests();
    requests.iter().filter(|seen| seen.path == path).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawn_version_of_the_list_is_noticed_once() {
    on_both(|place| async move {
        let sandbox = account(60).await;
        sandbox.account().moods.v2_withdrawn = Some(410);
        let mut place = place.with("HELENA_BASE_URL", &sandbox.base_url());
        let done = place.succeeds(&["sync"]).await;
        let told = "/chat/v2/session does not answer; reading sessions from /chat/v1/session";
        done.says(&[told]);
        // Once, and once more before it is left.
        assert_eq!(asked(&sandbox, "/chat/v2/session"), 2);
        // Each process looks whether it is back, and a comparison compares both.
        for (command, expected) in [("sync", 1), ("verify", 2)] {
            let done = place.succeeds(&[command]).await;
            assert!(!done.err.contains("does not answer"), "{done:?}");
            assert_eq!(asked(&sandbox, "/chat/v2/session"), expected, "{command}");
        }
        assert_perfect(&place, &sandbox).await;
        let shown = "session list: version 1";
        assert!(place.succeeds(&["status"]).await.out.contains(shown));
        // What was learned is about this address.
        let other = sandbox.base_url().replace("127.0.0.1", "localhost");
        place.set("HELENA_BASE_URL", &other);
        place.succeeds(&["sync"]).await.says(&[told]);
        assert_eq!(asked(&sandbox, "/chat/v2/session"), 2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_after_the_second_version_is_back_makes_the_mirror_equal() {
    on_both(|place| async move {
        let sandbox = account(300).await;
        sandbox.account().moods.v2_withdrawn = Some(404);
        sandbox.account().moods.v1_hides_groups = true;
        let place = place.with("HELENA_BASE_URL", &sandbox.base_url());
        place.succeeds(&["sync"]).await;
        let database = place.database().await;
        assert!(database.count("sessions", "true").await < 300);
        database.store.close().await;
        sandbox.account().moods.v2_withdrawn = None;
        place.succeeds(&["sync"]).await;
        assert_perfect(&place, &sandbox).await;
        let status = place.succeeds(&["status"]).await;
        assert!(!status.out.contains("session list:"), "{status:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_learned_is_stored_before_the_command_ends() {
    on_both(|place| async move {
        let sandbox = account(60).await;
        {
            let mut account = sandbox.account();
            account.moods.v2_withdrawn = Some(404);
            account.moods.bare_token = true;
        }
        let place = place
            .with("HELENA_BASE_URL", &sandbox.base_url())
            .with("HELENA_SYNC__SYNC__SCHEDULE", "every 1s");
        let program = place.start(&["run"]);
        until("it is stored", async || {
            // Until it has made the tables there is nothing to look into.
            place.run(&["status"]).await.code == Some(0) && {
                let database = place.database().await;
                let learned = "session_list = 1 and token_scheme = 'bare'";
                let stored = database.count("accounts", learned).await;
                database.store.close().await;
                stored == 1
            }
        })
        .await;
        program.signal(Signal::KILL);
        program.end().await;
        sandbox.take_requests();
        place.succeeds(&["sync", "--wait"]).await;
        let requests = sandbox.take_requests();
        let failed = requests.iter().filter(|seen| seen.status != 200);
        let failed: Vec<_> = failed.map(|seen| seen.path.as_str()).collect();
        // Only whether it is back.
        assert_eq!(failed, ["/chat/v2/session"]);
        assert_perfect(&place, &sandbox).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_was_read_from_the_first_version_is_read_from_the_second() {
    on_both(|place| async move {
        let sandbox = account(60).await;
        sandbox.account().moods.v1_hides_groups = true;
        let place = place.with("HELENA_BASE_URL", &sandbox.base_url());
        for version in [1, 2] {
            place.succeeds(&["migrate"]).await;
            let database = place.database().await;
            let old = format!("update accounts set session_version = {version}");
            database.execute(&old).await;
            database.store.close().await;
            place.succeeds(&["sync"]).await;
            assert_eq!(asked(&sandbox, "/chat/v1/session"), 0);
            assert_perfect(&place, &sandbox).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_pinned_is_read_and_no_other() {
    let sandbox = account(300).await;
    for (version, read, other) in [
        ("1", "/chat/v1/session", "/chat/v2/session"),
        ("2", "/chat/v2/session", "/chat/v1/session"),
    ] {
        let flags = ["sync", "--full-refresh"];
        let place = Place::beside(&sandbox).with("HELENA_SYNC__API__SESSION_VERSION", version);
        sandbox.take_requests();
        place.succeeds(&flags).await;
        let requests = sandbox.take_requests();
        assert!(requests.iter().any(|seen| seen.path == read), "{version}");
        assert!(!requests.iter().any(|seen| seen.path == other), "{version}");
    }
    let place = Place::beside(&sandbox).with("HELENA_SYNC__API__SESSION_VERSION", "1");
    sandbox.account().moods.v1_hides_groups = true;
    place.succeeds(&["sync"]).await;
    for more in [&["verify"][..], &["verify", "--repair"]] {
        let done = place.refuses(more, 1, &["api.session_version"]).await;
        assert!(
            done.out.contains("version 2 shows more sessions: 300"),
            "{done:?}"
        );
    }
    sandbox.account().moods.v1_withdrawn = Some(404);
    let told = ["/chat/v1/session", "api.session_version"];
    place.refuses(&["sync"], 1, &told).await;
    let place = place.with("HELENA_SYNC__API__SESSION_VERSION", "3");
    let told = ["api.session_version", "auto, 1, 2"];
    place.refuses(&["sync"], 2, &told).await;
}
