//! What a new user is told: while it loads, while it waits, and when it cannot go on.

use std::time::{Duration, Instant};

use helena_sync::sandbox::Fault;
use rustix::process::Signal;
use serde_json::Value;

use super::mirror::assert_perfect;
use super::program::{Place, account, on_both, until};
use crate::support::database::Kind;

/// A place where a load of an account takes many windows.
fn in_windows(place: Place, url: &str) -> Place {
    place
        .with("HELENA_BASE_URL", url)
        .with("HELENA_SYNC__API__PAGE_SIZE", "10")
        .with("HELENA_SYNC__BACKFILL__WINDOW_PAGES", "4")
}

async fn status(place: &Place) -> Value {
    place.succeeds(&["status", "--json"]).await.json()[0].clone()
}

fn of<'a>(status: &'a Value, resource: &str) -> &'a Value {
    let resources = status["resources"].as_array().unwrap();
    resources
        .iter()
        .find(|one| one["resource"] == resource)
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_is_not_complete_before_its_end_and_says_how_far_it_is() {
    on_both(|place| async move {
        let sandbox = account(300).await;
        let place = in_windows(place, &sandbox.base_url());
        place.succeeds(&["sync", "--limit", "150"]).await;
        let shown = status(&place).await;
        let sessions = of(&shown, "sessions");
        assert_eq!(sessions["loaded"], false, "{sessions}");
        let loading = &sessions["loading"];
        assert_eq!(loading["records"], 300, "{sessions}");
        let (done, percent) = (&loading["records_done"], &loading["percent"]);
        let done = done.as_u64().unwrap();
        assert!(done > 0 && done < 300, "{sessions}");
        assert_eq!(percent.as_u64().unwrap(), done * 100 / 300, "{sessions}");
        assert_eq!(of(&shown, "tags")["loaded"], true);

        let text = place.succeeds(&["status"]).await.out;
        let told = format!("{percent} % ({done} of 300)");
        assert!(text.contains(&told), "{text}");
        let told = ["sessions: loading, ", "contacts: "];
        place.refuses(&["status", "--complete"], 1, &told).await;
        let fresh = place.run(&["status", "--max-lag", "1h"]).await;
        assert!(!fresh.err.contains("\nup to date"), "{fresh:?}");

        place.succeeds(&["sync"]).await;
        let done = place
            .succeeds(&["status", "--complete", "--max-lag", "1h"])
            .await;
        done.says(&["up to date"]);
        assert_eq!(
            of(&status(&place).await, "sessions")["loading"],
            Value::Null
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_just_read_is_not_behind_whatever_the_age_of_its_newest_change() {
    on_both(|place| async move {
        let sandbox = account(40).await;
        let place = place.with("HELENA_BASE_URL", &sandbox.base_url());
        place.succeeds(&["sync"]).await;
        let done = place.succeeds(&["sync", "--log-format", "json"]).await;
        let lags: Vec<u64> = done
            .err
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok()?["lag_s"].as_u64())
            .collect();
        assert!(
            !lags.is_empty() && lags.iter().all(|lag| *lag < 60),
            "{done:?}"
        );
        let shown = status(&place).await;
        for stream in of(&shown, "sessions")["streams"].as_array().unwrap() {
            assert!(stream["lag_seconds"].as_u64().unwrap() < 60, "{shown}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_limit_ends_well_and_on_time_while_the_platform_makes_it_wait() {
    let sandbox = account(40).await;
    let place = Place::beside(&sandbox);
    place.succeeds(&["sync"]).await;
    for command in [&["sync"][..], &["backfill", "--tag", "VIP"]] {
        sandbox.script(std::iter::repeat_n(
            Fault::TooMany(Some("300".to_owned())),
            50,
        ));
        let begun = Instant::now();
        let line = [command, &["--max-runtime", "3s"]].concat();
        let done = place.succeeds(&line).await;
        assert!(begun.elapsed() >= Duration::from_secs(3), "{done:?}");
        done.says(&["--max-runtime is over", "stopped early"]);
        sandbox.clear_script();
        let shown = status(&place).await;
        assert_eq!(shown["failing"], serde_json::json!([]), "{shown}");
    }
    place.succeeds(&["sync"]).await;
    assert_perfect(&place, &sandbox).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn run_says_when_all_is_loaded_and_then_only_what_changed() {
    on_both(|place| async move {
        let sandbox = account(40).await;
        let place = place
            .with("HELENA_BASE_URL", &sandbox.base_url())
            .with("HELENA_SYNC__SYNC__SCHEDULE", "every 1s");
        let mut program = place.start(&["run"]);
        program.says("the first load is done; stored: ").await;
        program.says("sessions 40").await;
        program.says("next sync in ").await;
        // A log that no person reads says nothing of keys.
        assert!(!program.err().contains("Ctrl-C"), "{}", program.err());
        let pages = || sandbox.requests().len();
        let before = pages();
        until("it makes two more syncs", async || pages() > before + 12).await;
        let told = program.err();
        assert!(!told.contains("nothing new"), "{told}");
        sandbox.account().live_step(10);
        program.says("sessions: ").await;
        program.signal(Signal::TERM);
        let done = program.end().await;
        assert_eq!(done.code, Some(0), "{done:?}");
        // A second start has nothing to load.
        let mut program = place.start(&["run"]);
        program.says("next sync in ").await;
        program.signal(Signal::TERM);
        let done = program.end().await;
        assert!(!done.err.contains("first load"), "{done:?}");
        assert_perfect(&place, &sandbox).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_names_the_address_and_the_cause_once_and_status_knows_it() {
    let nowhere = "http://127.0.0.1:9";
    let place = Place::new().with("HELENA_BASE_URL", nowhere);
    let mut program = place.start(&["run"]);
    let told = "no usable answer from http://127.0.0.1:9: no connection";
    program.says(told).await;
    program.says("next try in").await;
    until("it tried again", async || program.err().contains(told)).await;
    program.signal(Signal::TERM);
    let done = program.end().await;
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(done.err.matches("no usable answer").count(), 1, "{done:?}");
    let shown = place.succeeds(&["status"]).await.out;
    assert!(shown.contains("platform not available since"), "{shown}");
    assert!(shown.contains("127.0.0.1:9: no connection"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn run_ends_at_its_first_start_for_what_only_the_user_can_mend() {
    on_both(|place| async move {
        let sandbox = account(20).await;
        let mut place = place
            .with("HELENA_BASE_URL", &sandbox.base_url())
            .with("HELENA_SYNC__SYNC__SCHEDULE", "every 1s");
        place.set("HELENA_API_TOKEN", "pn_another");
        place
            .refuses(&["run"], 3, &["401", "check the token"])
            .await;
        let shown = status(&place).await;
        assert_eq!(shown["failing"], serde_json::json!(["sessions"]), "{shown}");
        place.set("HELENA_API_TOKEN", super::program::TOKEN);
        place.succeeds(&["sync"]).await;
        assert_eq!(status(&place).await["failing"], serde_json::json!([]));
        // It has worked once: the token may come back.
        place.set("HELENA_API_TOKEN", "pn_another");
        let mut program = place.start(&["run"]);
        program
            .says("refuses the token for every resource; retry in")
            .await;
        assert!(!program.has_ended());
        program.signal(Signal::TERM);
        assert_eq!(program.end().await.code, Some(0));
    })
    .await;
    let place = Place::new();
    std::fs::create_dir(place.path().join("helena.db")).unwrap();
    let path = place.path().join("helena.db").display().to_string();
    let done = place.refuses(&["run"], 1, &[&path, "it is a folder"]).await;
    assert!(!done.err.contains("retry in"), "{done:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_that_was_stopped_is_left_alone_until_somebody_asks_for_it() {
    on_both(|place| async move {
        let sandbox = account(300).await;
        let place = in_windows(place, &sandbox.base_url());
        place.succeeds(&["sync"]).await;
        let backfill = ["backfill", "--status", "COMPLETED", "--limit", "40"];
        let done = place.succeeds(&backfill).await;
        done.says(&["the same backfill resumes here"]);
        let id = status(&place).await["backfills"][0]["id"].clone();
        place.succeeds(&["sync"]).await;
        let left = status(&place).await["backfills"].clone();
        assert_eq!(left[0]["id"], id, "{left}");
        assert_eq!(left[0]["on_request"], true, "{left}");
        let text = place.succeeds(&["status"]).await.out;
        assert!(text.contains(&format!("--cancel {id}")), "{text}");
        // It is resumed by the same command, or by a sync that is told to.
        place.succeeds(&backfill).await.says(&["resuming"]);
        place.succeeds(&["sync", "--backfills"]).await;
        assert_eq!(status(&place).await["backfills"], serde_json::json!([]));
        assert_perfect(&place, &sandbox).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn backfills_are_cancelled_and_first_loads_are_not() {
    on_both(|place| async move {
        let sandbox = account(300).await;
        let place = in_windows(place, &sandbox.base_url());
        place.succeeds(&["sync", "--limit", "60"]).await;
        let department = sandbox.account().truth_departments()[0].clone();
        let department = department["name"].as_str().unwrap().to_owned();
        let ids = async |place: &Place| -> Vec<String> {
            let backfills = status(place).await["backfills"].clone();
            let backfills = backfills.as_array().unwrap().iter();
            backfills.map(|one| one["id"].to_string()).collect()
        };
        let loads = ids(&place).await;
        let first = format!("--cancel={}", loads[0]);
        place
            .refuses(&["backfill", &first], 2, &["cannot be cancelled"])
            .await;
        place
            .refuses(
                &["backfill", "--cancel", "999"],
                2,
                &["no unfinished backfill 999"],
            )
            .await;
        for filter in [
            ["--status", "COMPLETED"],
            ["--department", department.as_str()],
        ] {
            place
                .succeeds(&[&["backfill", "--limit", "10"], &filter[..]].concat())
                .await;
        }
        // By the name that a person knows.
        let text = place.succeeds(&["status"]).await.out;
        assert!(
            text.contains(&format!("with department {department}")),
            "{text}"
        );
        place
            .refuses(
                &["backfill", "--cancel"],
                2,
                &["several", "--all", department.as_str()],
            )
            .await;
        let filtered = ["backfill", "--cancel", "--all", "--status", "COMPLETED"];
        place
            .refuses(&filtered, 2, &["does not accept filters"])
            .await;
        let done = place.succeeds(&["backfill", "--cancel", "--all"]).await;
        done.says(&["cancelled 2 backfills"]);
        assert_eq!(ids(&place).await, loads);
        place
            .succeeds(&["backfill", "--cancel"])
            .await
            .says(&["nothing to cancel"]);
        place.succeeds(&["sync"]).await;
        assert_perfect(&place, &sandbox).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_that_is_cancelled_while_it_reads_says_so_and_fails() {
    on_both(|place| async move {
        let sandbox = account(200).await;
        let place = in_windows(place, &sandbox.base_url());
        place.succeeds(&["sync"]).await;
        // So long that it is cancelled before it is done, on a slow machine, too.
        sandbox.account().moods.latency = Duration::from_secs(2);
        let place = place.with("HELENA_SYNC__BACKFILL__CONCURRENCY", "1");
        let reading = place.start(&["backfill", "--status", "COMPLETED"]);
        let database = place.database().await;
        until("it reads", async || {
            database
                .count("backfills", "on_request and records is not null")
                .await
                > 0
        })
        .await;
        let cancelled = place.succeeds(&["backfill", "--cancel"]).await;
        sandbox.account().moods.latency = Duration::ZERO;
        cancelled.says(&["cancelled 1 backfill"]);
        let done = reading.end().await;
        assert_eq!(done.code, Some(1), "{done:?}");
        done.says(&[
            "was cancelled while this command read it",
            "reads all of it again",
        ]);
        database.store.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn check_ends_with_a_verdict_and_soon_if_nothing_answers() {
    let sandbox = account(20).await;
    let place = Place::beside(&sandbox);
    let done = place.succeeds(&["check"]).await;
    done.says(&["all is well", "helena-sync run"]);
    sandbox.account().moods.refused = vec!["/core/v1/tag".to_owned()];
    let done = place
        .refuses(&["check"], 1, &["1 check did not succeed (tags)"])
        .await;
    done.says(&["helena-sync check"]);
    let nowhere = Place::new().with("HELENA_BASE_URL", "http://127.0.0.1:9");
    let begun = Instant::now();
    let told = ["check the base URL and the network"];
    let done = nowhere.refuses(&["check"], 1, &told).await;
    assert!(begun.elapsed() < Duration::from_secs(9), "{done:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn run_notices_that_its_file_was_removed_or_replaced() {
    let sandbox = account(20).await;
    let place = Place::beside(&sandbox).with("HELENA_SYNC__SYNC__SCHEDULE", "every 1s");
    for replaced in [false, true] {
        let mut program = place.start(&["run"]);
        program.says("next sync in").await;
        let file = place.path().join("helena.db");
        let other = place.path().join("other.db");
        if replaced {
            std::fs::copy(&file, &other).unwrap();
            std::fs::rename(&other, &file).unwrap();
        } else {
            std::fs::remove_file(&file).unwrap();
        }
        let done = program.end().await;
        assert_eq!(done.code, Some(1), "{done:?}");
        done.says(&[
            "was removed or replaced while helena-sync used it",
            "helena.db",
        ]);
        for name in place.files() {
            std::fs::remove_file(place.path().join(name)).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_demo_leaves_the_file_of_the_first_one_alone() {
    let place = Place::new();
    let small = ["demo", "--sessions", "50", "--keep"];
    let first = place.start(&small);
    until("the first demo has loaded", async || {
        place.path().join("demo.db").exists()
            && place
                .run(&[
                    "status",
                    "--database-url",
                    "sqlite://demo.db",
                    "--account",
                    "(demo)",
                    "--complete",
                ])
                .await
                .code
                == Some(0)
    })
    .await;
    let told = ["is in use by process", "--database"];
    place.refuses(&["demo", "--sessions", "50"], 2, &told).await;
    assert!(place.path().join("demo.db").exists());
    first.signal(Signal::INT);
    let done = first.end().await;
    assert_eq!(done.code, Some(0), "{done:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_share_the_rate_limit() {
    on_both(|place| async move {
        let sandbox = account(40).await;
        let mut place = place
            .with("HELENA_BASE_URL", &sandbox.base_url())
            .with("HELENA_SYNC__API__RATE_LIMIT__SHARE", "1");
        place.succeeds(&["sync"]).await;
        assert!(sandbox.take_requests().len() >= 20);
        // All of it was used by the command before.
        place.set("HELENA_SYNC__API__RATE_LIMIT__SUSTAINED", "15/1h");
        let done = place.succeeds(&["sync", "--max-runtime", "1s"]).await;
        done.says(&["the configured share of the platform's rate limit is used up"]);
        assert_eq!(sandbox.take_requests().len(), 0, "{done:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_during_the_first_load_of_a_demo_says_what_is_left() {
    on_both(|place| async move {
        let url = match place.kind {
            Kind::Sqlite => "sqlite://demo.db".to_owned(),
            Kind::Postgres => place.database_url.clone(),
        };
        let line = ["demo", "--sessions", "20000", "--database", &url];
        let mut demo = place.start(&line);
        demo.prints("The mirror").await;
        demo.signal(Signal::INT);
        let done = demo.end().await;
        assert_eq!(done.code, Some(1), "{done:?}");
        done.says(&["the demo was interrupted during the first load"]);
        match place.kind {
            Kind::Sqlite => done.says(&["demo.db is removed"]),
            Kind::Postgres => done.says(&["has a part of the simulated account", "dropdb"]),
        }
        assert_eq!(place.files(), [""; 0]);
        if place.kind == Kind::Postgres {
            let database = place.database().await;
            assert_eq!(database.count("accounts", "name = '(demo)'").await, 1);
            database.store.close().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_during_the_syncing_of_a_demo_starts_the_comparison() {
    let place = Place::new();
    let mut demo = place.start(&["demo", "--sessions", "100", "--keep"]);
    demo.prints("First load").await;
    demo.signal(Signal::INT);
    let done = demo.end().await;
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.out.contains("EQUAL: compared"), "{done:?}");
    assert_eq!(place.files(), ["demo-report.html", "demo.db"]);
}
