//! A platform that refuses, or answers with something else than it should.

use helena_sync::data::Resource;
use helena_sync::sandbox::{Fault, Sandbox};
use serde_json::Value;

use super::mirror::assert_perfect;
use super::program::{Place, account, on_both};
use crate::support::database::Kind;

fn asked(sandbox: &Sandbox, path: &str) -> usize {
    sandbox
        .requests()
        .iter()
        .filter(|request| request.path.contains(path))
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_refused_everywhere_is_3_and_asked_only_once_for_each() {
    let sandbox = account(50).await;
    let place = Place::beside(&sandbox).with("HELENA_API_TOKEN", "pn_another");
    for command in [
        &["sync"][..],
        &["backfill"],
        &["sessions"],
        &["tags"],
        &["check"],
    ] {
        sandbox.take_requests();
        let done = place.run(command).await;
        assert_eq!(done.code, Some(3), "{command:?}: {done:?}");
        assert!(
            done.err.contains("401") || done.out.contains("401"),
            "{done:?}"
        );
        assert!(!done.err.contains("pn_another"), "{done:?}");
        let mut paths: Vec<_> = sandbox
            .take_requests()
            .into_iter()
            .map(|request| (request.path, request.query))
            .collect();
        let all = paths.len();
        // Every resource is tried, and some of them again.
        let most = Resource::ALL.len() + 4;
        assert!((1..=most).contains(&all), "{paths:?}");
        paths.sort();
        paths.dedup();
        // One more shows that it is not about the word before the token, and another one that a
        // version of the list is not simply gone.
        let most = if command == ["check"] { 2 } else { 1 };
        let again = all - paths.len();
        assert!(again <= most, "nothing is tried again: {paths:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_that_is_refused_is_named_and_the_others_are_stored() {
    on_both(|place| async move {
        let sandbox = account(50).await;
        let place = place.with("HELENA_BASE_URL", &sandbox.base_url());
        let tags: &[&str] = &[
            "tags",
            "401",
            "error: could not read all of tags",
            "the other resources are stored",
        ];
        for (refused, told) in [
            ("/core/v1/tag", tags),
            (
                "/core/v1/contact",
                &["contacts", "401", "the other resources are stored"],
            ),
        ] {
            sandbox.take_requests();
            sandbox.account().moods.refused = vec![refused.to_owned()];
            let done = place.refuses(&["sync"], 1, told).await;
            assert!(!done.err.contains("sessions cannot"), "{done:?}");
            let count = asked(&sandbox, refused);
            assert!(count <= 8, "{refused} was asked {count} times");
            let failing = failing(&place).await;
            let its = |name: &String| name.starts_with(told[0]);
            assert!(
                !failing.is_empty() && failing.iter().all(its),
                "{failing:?}"
            );
            let status = place.succeeds(&["status"]).await;
            let said = format!(
                "partial: the last attempt failed for {}",
                failing.join(", ")
            );
            assert!(status.out.contains(&said), "{status:?}");
        }
        let database = place.database().await;
        assert_eq!(database.count("sessions", "removed_at is null").await, 50);
        let failed = "select resource from sync_runs where outcome = 'failed' group by resource";
        let failed = database.texts(failed).await;
        assert!(failed.contains(&"tags".to_owned()), "{failed:?}");
        database.store.close().await;
        // What is not to be mirrored is not missed.
        let place = place.with("HELENA_SYNC__SYNC__RESOURCES", "sessions,tags");
        assert_eq!(failing(&place).await, [""; 0]);
        let place = place.without("HELENA_SYNC__SYNC__RESOURCES");
        sandbox.account().moods.refused.clear();
        place.succeeds(&["sync"]).await;
        assert_perfect(&place, &sandbox).await;
        assert_eq!(failing(&place).await, [""; 0]);
    })
    .await;
}

/// What `status` says was not read when it was last tried.
async fn failing(place: &Place) -> Vec<String> {
    let status = place.succeeds(&["status", "--json"]).await;
    let status: Value = serde_json::from_str(&status.out).unwrap();
    let failing = status[0]["failing"].as_array().unwrap().iter();
    failing
        .map(|name| name.as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_answer_is_asked_for_again() {
    let sandbox = account(50).await;
    let place = Place::beside(&sandbox);
    sandbox.script([
        Fault::None,
        Fault::Html,
        Fault::ErrorTrue,
        Fault::None,
        Fault::Cut,
    ]);
    place.succeeds(&["sync"]).await;
    assert_perfect(&place, &sandbox).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_answers_without_end_are_a_failed_pass_that_names_what_came() {
    let sandbox = account(50).await;
    let place = Place::beside(&sandbox);
    place.succeeds(&["sync"]).await;
    let watermarks = watermarks(&place).await;
    sandbox.account().live_step(20);
    for (fault, told) in [
        (Fault::Html, "HTML"),
        (Fault::ErrorTrue, "error"),
        (Fault::Cut, "body"),
    ] {
        // The first request only shows whose token it is.
        sandbox.script([Fault::None]);
        sandbox.script(std::iter::repeat_n(fault.clone(), 100));
        let arguments = ["sync", "--resource", "sessions", "--max-runtime", "3s"];
        let done = place.refuses(&arguments, 1, &[told]).await;
        assert!(
            100 - sandbox.scripted() >= 2,
            "it was tried again: {done:?}"
        );
        sandbox.clear_script();
        assert_eq!(self::watermarks(&place).await, watermarks, "{fault:?}");
    }
    place.succeeds(&["sync"]).await;
    assert_perfect(&place, &sandbox).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_failure_kept_from_being_read_is_named_too() {
    on_both(|place| async move {
        let sandbox = account(60).await;
        let place = place.with("HELENA_BASE_URL", &sandbox.base_url());
        let database = place.database().await;
        database
            .execute(match place.kind {
                Kind::Sqlite => {
                    "create trigger full before insert on sessions \
                     begin select raise(abort, 'no room'); end"
                }
                Kind::Postgres => {
                    "create function no_room() returns trigger language plpgsql as \
                     $$ begin raise exception 'no room'; end $$; \
                     create trigger \"full\" before insert on sessions \
                     for each row execute function no_room()"
                }
            })
            .await;
        let told = &["no room", "could not read all of sessions, contacts"];
        place.refuses(&["sync"], 1, told).await;
        let drop = match place.kind {
            Kind::Sqlite => "drop trigger full",
            Kind::Postgres => "drop trigger \"full\" on sessions",
        };
        database.execute(drop).await;
        database.store.close().await;
        place.succeeds(&["sync"]).await;
        assert_perfect(&place, &sandbox).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_cannot_begin_leaves_its_error_in_the_state() {
    on_both(|place| async move {
        let sandbox = account(40).await;
        let place = place.with("HELENA_BASE_URL", &sandbox.base_url());
        sandbox.account().moods.refused = vec!["/core/v1/contact".to_owned()];
        place.refuses(&["sync"], 1, &["contacts"]).await;
        let database = place.database().await;
        let failed = "resource = 'contacts' and last_error like '%401%'";
        assert_eq!(database.count("sync_state", failed).await, 3);
        sandbox.account().moods.refused.clear();
        let only = ["sync", "--resource", "channels"];
        sandbox.account().moods.refused = vec!["/chat/v1/channel".to_owned()];
        place
            .refuses(&only, 3, &["refuses the token for channels"])
            .await;
        sandbox.account().moods.refused.clear();
        place.succeeds(&["sync"]).await;
        database.store.close().await;
        assert_perfect(&place, &sandbox).await;
    })
    .await;
}

async fn watermarks(place: &Place) -> Vec<String> {
    let export = place.succeeds(&["state", "export"]).await.json();
    let streams = export[0]["streams"].as_array().unwrap().iter();
    streams
        .map(|stream| format!("{} {}", stream["resource"], stream["watermark"]))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_429_is_logged_once_with_the_address_that_sent_it() {
    let sandbox = account(20).await;
    let place = Place::beside(&sandbox);
    sandbox.script([Fault::TooMany(Some("1".to_owned()))]);
    let done = place.succeeds(&["sync", "--resource", "tags"]).await;
    let told = format!(
        "the platform answered 429 (too many requests) at {}; pausing all requests of the account for 1 s",
        sandbox.base_url().trim_end_matches('/')
    );
    assert_eq!(done.err.matches(&told).count(), 1, "{told}: {done:?}");
}
