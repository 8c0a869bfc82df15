//! One process writes for an account at a time; the others are told which, and since when.

use rustix::process::Signal;

use super::mirror::assert_perfect;
use super::program::{Place, Running, account, on_both};
use crate::support::database::Kind;

/// A daemon that holds the account and does little.
async fn holder(place: &Place) -> Running {
    let mut program = place.start(&["run"]);
    program.says("contacts: first load").await;
    program
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_is_told_who_writes_since_when_or_waits() {
    on_both(|place| async move {
        let sandbox = account(60).await;
        let place = place.with("HELENA_BASE_URL", &sandbox.base_url());
        let first = holder(&place).await;
        let pid = first.pid().as_raw_nonzero().to_string();
        let told = [&format!("process {pid} on "), ", since 20", "--wait"];
        for command in ["sync", "run", "backfill"] {
            let done = place.refuses(&[command], 1, &told).await;
            assert_eq!(done.err.trim().lines().count(), 1, "one line: {done:?}");
        }
        for change in [
            &["state", "set", "sessions", "2026-01-01"][..],
            &["state", "reset", "sessions"],
        ] {
            let done = place
                .refuses(change, 1, &[&format!("process {pid} on "), "stop it first"])
                .await;
            assert!(!done.err.contains("--wait"), "{done:?}");
        }
        let status = place.succeeds(&["status"]).await;
        assert!(
            status
                .out
                .contains(&format!("lease holder: process {pid} on ")),
            "{status:?}"
        );

        let mut waiting = place.start(&["sync", "--wait"]);
        waiting
            .says(&format!("waiting for process {pid} on "))
            .await;
        sandbox.account().live_step(10);
        first.signal(Signal::TERM);
        assert_eq!(first.end().await.code, Some(0));
        let done = waiting.end().await;
        assert_eq!(done.code, Some(0), "{done:?}");
        assert_perfect(&place, &sandbox).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_was_killed_blocks_nobody() {
    on_both(|place| async move {
        let sandbox = account(60).await;
        let place = place.with("HELENA_BASE_URL", &sandbox.base_url());
        let first = holder(&place).await;
        first.signal(Signal::KILL);
        let done = first.end().await;
        assert_eq!(done.code, None);
        let done = place.succeeds(&["sync"]).await;
        assert!(!done.err.contains("waiting"), "{done:?}");
        assert_perfect(&place, &sandbox).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watermark_does_not_stand_in_for_a_load_that_was_never_made() {
    on_both(|place| async move {
        let sandbox = account(120).await;
        let place = place.with("HELENA_BASE_URL", &sandbox.base_url());
        place.succeeds(&["sync", "--resource", "tags"]).await;
        let set = ["state", "set", "sessions", "2026-01-01"];
        place
            .refuses(&set, 2, &["never loaded", "--skip-load"])
            .await;
        place.succeeds(&["sync"]).await;
        assert_perfect(&place, &sandbox).await;
        place.succeeds(&["state", "reset", "sessions"]).await;
        place.refuses(&set, 2, &["was reset"]).await;
        place.succeeds(&[&set[..], &["--skip-load"]].concat()).await;
        place.succeeds(&["sync"]).await;
        let database = place.database().await;
        let loads = "first_load and resource = 'sessions'";
        assert_eq!(database.count("backfills", loads).await, 1);
        database.store.close().await;
        assert_perfect(&place, &sandbox).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_gives_up_the_load_that_is_under_way() {
    on_both(|place| async move {
        let sandbox = account(300).await;
        let place = place
            .with("HELENA_BASE_URL", &sandbox.base_url())
            .with("HELENA_SYNC__API__PAGE_SIZE", "10")
            .with("HELENA_SYNC__BACKFILL__WINDOW_PAGES", "5");
        place.succeeds(&["sync", "--limit", "60"]).await;
        place.succeeds(&["state", "reset", "sessions"]).await;
        place.succeeds(&["sync"]).await;
        let database = place.database().await;
        let loads = "first_load and resource = 'sessions' and finished_at is not null";
        assert_eq!(database.count("backfills", loads).await, 1);
        let given_up = "first_load and resource = 'sessions' and cancelled_at is not null";
        assert_eq!(database.count("backfills", given_up).await, 1);
        database.store.close().await;
        assert_perfect(&place, &sandbox).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_a_watermark_are_recorded_with_old_value_new_value_and_when() {
    on_both(|place| async move {
        let sandbox = account(60).await;
        let place = place.with("HELENA_BASE_URL", &sandbox.base_url());
        place.succeeds(&["sync"]).await;
        let done = place.succeeds(&["state", "set", "sessions", "2026-01-01 12:30"]).await;
        assert!(done.out.contains("sessions: watermark 2026-01-01 12:30:00 (was 20"), "{done:?}");
        let done = place.succeeds(&["state", "reset", "contacts", "--status", "blocked"]).await;
        assert!(done.out.contains("contacts (BLOCKED): watermark none (was 20"), "{done:?}");
        let database = place.database().await;
        let recorded = "select resource || ' ' || partition || ' ' || substr(cast(old_watermark as text), 1, 4)
            || ' ' || coalesce(substr(cast(new_watermark as text), 1, 10), 'none')
            || ' ' || substr(cast(changed_at as text), 1, 2)
            from state_changes order by id";
        let recorded = database.texts(recorded).await;
        assert_eq!(recorded.len(), 2);
        assert!(recorded[0].starts_with("sessions  20") && recorded[0].ends_with(" 2026-01-01 20"), "{recorded:?}");
        assert!(recorded[1].starts_with("contacts BLOCKED 20") && recorded[1].ends_with(" none 20"), "{recorded:?}");
        database.store.close().await;
        let exported = place.succeeds(&["state", "export"]).await.json();
        let streams = exported[0]["streams"].as_array().unwrap();
        let sessions = streams.iter().find(|stream| stream["resource"] == "sessions").unwrap();
        assert_eq!(sessions["watermark"], "2026-01-01T12:30:00.000000Z");
        place.succeeds(&["sync"]).await;
        assert_perfect(&place, &sandbox).await;

        place.refuses(&["state", "set", "sessions", "2999-01-01"], 2, &["future"]).await;
        place.refuses(&["state", "reset", "tags"], 2, &["no watermark", "sessions and contacts"]).await;
    })
    .await;
}

/// A holder whose machine or container nobody can look into.
async fn hidden(place: &Place) {
    let database = place.database().await;
    database
        .execute("update leases set boot_id = 'another'")
        .await;
    database.store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_waits_for_a_holder_that_may_have_ended_until_it_is_known() {
    on_both(|place| async move {
        let sandbox = account(60).await;
        let place = place.with("HELENA_BASE_URL", &sandbox.base_url());
        let first = holder(&place).await;
        first.signal(Signal::KILL);
        first.end().await;
        hidden(&place).await;
        let mut second = place.start(&["run"]);
        second.says("but may be dead").await;
        let database = place.database().await;
        let long_ago = match place.kind {
            Kind::Sqlite => "update leases set renewed_at = '2020-01-01T00:00:00.000000Z'",
            Kind::Postgres => "update leases set renewed_at = '2020-01-01'",
        };
        // It runs out, as it would in half a minute.
        database.execute(long_ago).await;
        second.says("keeping 1 account").await;

        // This one shows by its next renewal that it lives.
        hidden(&place).await;
        let mut third = place.start(&["run"]);
        third.says("but may be dead").await;
        let renewed = match place.kind {
            Kind::Sqlite => {
                "update leases set renewed_at = strftime('%Y-%m-%dT%H:%M:%S.000001Z', 'now')"
            }
            Kind::Postgres => "update leases set renewed_at = clock_timestamp()",
        };
        database.execute(renewed).await;
        let third = third.end().await;
        assert_eq!(third.code, Some(1), "{third:?}");
        third.says(&["another process writes for account default: process "]);
        second.signal(Signal::TERM);
        assert_eq!(second.end().await.code, Some(0));
        database.store.close().await;
    })
    .await;
}
