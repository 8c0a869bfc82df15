//! Whatever goes wrong with answers: while it passes by, the mirror becomes perfect; where it stays,
//! the run fails, says what came, and has claimed nothing.

use std::time::Duration;

use helena_sync::data::Resource;
use helena_sync::sandbox::{Fault, FaultRates, RetryAfter};

use super::churn::Churn;
use crate::support::database::on_both;
use crate::support::mirror::{Mirror, Plan, assert_good, failures};
use crate::support::truth::Scope;

/// Loads and passes while answers fail and the account changes, until everything was read.
async fn is_survived(rates: FaultRates) {
    on_both(move |database| {
        let mut plan = Plan::of(120);
        plan.sandbox.faults = rates.clone();
        async move {
            let mirror = Mirror::begin(database, plan).await;
            let churn = Churn {
                changes: 60,
                ..Churn::of(7)
            };
            let _made = churn.after_answers(&mirror);
            let mut last = Vec::new();
            for _ in 0..12 {
                last = failures(&mirror.sync().await);
                if last.is_empty() {
                    break;
                }
                mirror.clock.advance(Duration::from_secs(30));
            }
            assert!(last.is_empty(), "{last:?}");
            mirror.quiet().await;
            let scope = Scope::of_churn();
            mirror.assert_mirrors_within(&scope).await;
        }
    })
    .await;
}

/// Every answer fails: the run says so in these words, and nothing has moved.
async fn fails_a_run(rates: FaultRates, words: &'static str) {
    on_both(move |database| {
        let rates = rates.clone();
        let mut plan = Plan::of(60);
        plan.patience = Some(Duration::from_mins(2));
        async move {
            let mirror = Mirror::begin(database, plan).await;
            mirror.load().await;
            let before = (mirror.watermarks().await, mirror.contents().await);
            mirror.change(|account| {
                account.live_step(30);
                account.faults = rates;
            });
            mirror.clock.advance(Duration::from_secs(30));
            let runs = mirror.pass().await;
            let failed = failures(&runs);
            assert!(!failed.is_empty());
            assert_eq!(failed[0].0, "sessions");
            for (subject, error) in &failed {
                assert!(error.contains(words), "{subject}: {error}");
                assert!(error.contains("GET /c"), "{subject}: {error}");
                assert!(!error.contains(mirror.sandbox.token()), "{error}");
            }
            let after = (mirror.watermarks().await, mirror.contents().await);
            assert_eq!(after, before);
            let recorded = mirror
                .database
                .texts("select outcome || ': ' || error from sync_runs where error is not null")
                .await;
            assert_eq!(recorded.len(), failed.len());
            assert!(recorded[0].starts_with("failed: ") && recorded[0].contains(words));
            mirror.quiet().await;
            let scope = Scope::of_churn();
            mirror.assert_mirrors_within(&scope).await;
        }
    })
    .await;
}

macro_rules! faults {
    ($($some:ident, $all:ident: $field:ident, $words:literal;)*) => {
        $(#[tokio::test]
        async fn $some() {
            is_survived(FaultRates { $field: 0.15, ..FaultRates::default() }).await;
        }

        #[tokio::test]
        async fn $all() {
            fails_a_run(FaultRates { $field: 1.0, ..FaultRates::default() }, $words).await;
        })*
    };
}

faults! {
    some_429_without_a_time_to_wait_are_survived,
        nothing_but_429_fails_the_run: too_many, "429";
    some_500_are_survived,
        nothing_but_500_fails_the_run: internal, "not accepted (500)";
    some_gateway_pages_are_survived,
        nothing_but_gateway_pages_fails_the_run: bad_gateway, "502: an HTML page";
    some_503_are_survived,
        nothing_but_503_fails_the_run: unavailable, "503";
    some_cut_bodies_are_survived,
        nothing_but_cut_bodies_fails_the_run: cut, "broke off";
    some_resets_are_survived,
        nothing_but_resets_fails_the_run: reset, "the connection failed before an answer";
    some_errors_under_200_are_survived,
        nothing_but_errors_under_200_fails_the_run: error_true, "had an unreadable answer";
}

#[tokio::test]
async fn some_429_that_say_seconds_are_survived() {
    is_survived(FaultRates {
        too_many: 0.2,
        retry_after: RetryAfter::Seconds,
        ..FaultRates::default()
    })
    .await;
}

#[tokio::test]
async fn some_429_that_say_a_date_are_survived() {
    is_survived(FaultRates {
        too_many: 0.2,
        retry_after: RetryAfter::Date,
        ..FaultRates::default()
    })
    .await;
}

#[tokio::test]
async fn slow_bodies_are_waited_for() {
    is_survived(FaultRates {
        slow: 0.5,
        slow_for: Duration::from_secs(3),
        ..FaultRates::default()
    })
    .await;
}

#[tokio::test]
async fn every_fault_at_once_is_survived() {
    is_survived(FaultRates {
        slow_for: Duration::from_secs(1),
        ..FaultRates::all(0.04)
    })
    .await;
}

#[tokio::test]
async fn a_page_of_html_under_200_fails_the_run_and_says_so() {
    on_both(|database| async move {
        let mirror = Mirror::begin(database, Plan::of(60)).await;
        mirror.load().await;
        let before = (mirror.watermarks().await, mirror.contents().await);
        mirror.sandbox.script(vec![Fault::Html; 7]);
        let failed = failures(&mirror.pass().await);
        assert!(failed[0].1.contains("HTML"), "{failed:?}");
        assert_eq!((mirror.watermarks().await, mirror.contents().await), before);
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_fails_in_the_middle_of_a_pass_leaves_what_was_proved() {
    on_both(|database| async move {
        let mirror = Mirror::begin(database, Plan::of(200)).await;
        mirror.load().await;
        mirror.clock.advance(Duration::from_hours(1));
        let ids = mirror.change(helena_sync::sandbox::SandboxAccount::session_ids);
        for id in &ids[..100] {
            mirror.clock.advance(Duration::from_secs(1));
            mirror.change(|account| account.update_session(*id, |s| s.unread_count += 1));
        }
        // Two pages and the two answers that show the order come; then nothing does.
        let mut script = vec![Fault::None; 4];
        script.extend(vec![Fault::Unavailable; 7]);
        mirror.sandbox.script(script);
        let failed = failures(&mirror.pass().await);
        assert!(failed[0].1.contains("503"), "{failed:?}");
        let (watermark, truth) = (
            mirror.watermark(crate::support::mirror::sessions()).await,
            mirror.change(|account| {
                let updated =
                    |id: &uuid::Uuid, account: &mut helena_sync::sandbox::SandboxAccount| {
                        account.session(*id).unwrap().updated_at.timestamp()
                    };
                (updated(&ids[0], account), updated(&ids[99], account))
            }),
        );
        assert!(watermark.unwrap() < truth.1);
        // What lies at or before the watermark is there.
        let behind = format!(
            "unread_count = 0 and updated_at <= '{}' and updated_at >= '{}'",
            watermark.unwrap(),
            truth.0
        );
        assert_eq!(mirror.database.count("sessions", &behind).await, 0);
        mirror.quiet().await;
        mirror.assert_mirrors().await;
    })
    .await;
}

#[tokio::test]
async fn a_list_that_is_empty_once_has_lost_nothing() {
    on_both(|database| async move {
        let mirror = Mirror::begin(database, Plan::of(60)).await;
        mirror.load().await;
        let removed = || mirror.database.count("tags", "removed_at is not null");
        let before = removed().await;
        for empty in ["[]", r#"{"items":[],"totalItems":0}"#, r#"{"items":null}"#] {
            mirror.sandbox.script([Fault::Reply(200, empty.to_owned())]);
            assert_good(
                &mirror
                    .engine
                    .lists(&[Resource::Tags], mirror.limits())
                    .await,
            );
            assert_eq!(mirror.sandbox.scripted(), 0);
            assert_eq!(removed().await, before, "{empty}");
        }
        mirror.assert_mirrors().await;
    })
    .await;
}

#[tokio::test]
async fn an_error_with_items_is_no_empty_account() {
    on_both(|database| async move {
        let mirror = Mirror::begin(database, Plan::of(60)).await;
        let nothing = r#"{"error":true,"text":"try later","items":[],"totalItems":0}"#;
        for _ in 0..3 {
            mirror
                .sandbox
                .script([Fault::None, Fault::Reply(200, nothing.to_owned())]);
        }
        mirror.load().await;
        mirror.assert_mirrors().await;
    })
    .await;
}

#[tokio::test]
async fn a_server_that_was_a_day_ahead_for_one_pass_loses_nothing_late() {
    on_both(|database| async move {
        let mirror = Mirror::begin(database, Plan::of(60)).await;
        mirror.load().await;
        mirror.clock.advance(Duration::from_mins(30));
        mirror.pass().await;
        let day = 24 * 3_600 * 1_000_000;
        // Only `Date` is wrong: the account lives on by the right time. What was read then is no
        // newer for it.
        mirror.change(|account| {
            account.live_step(40);
            account.moods.date_micros = day;
        });
        mirror.pass().await;
        mirror.change(|account| account.moods.date_micros = 0);
        for _ in 0..4 {
            mirror.change(|account| {
                account.moods.late_share = 1.0;
                account.moods.late_max = Duration::from_secs(100);
                account.live_step(10);
                account.moods.late_share = 0.0;
                account.live_step(3);
            });
            mirror.clock.advance(Duration::from_secs(20));
            mirror.pass().await;
        }
        mirror.quiet().await;
        mirror.assert_mirrors_within(&Scope::of_churn()).await;
    })
    .await;
}
