//! Instants: hundreds of records that share one, records that show late, fractions of any length.

use std::time::Duration;

use helena_sync::sandbox::{Moods, Precision, SandboxAccount, Ticks};
use uuid::Uuid;

use crate::support::database::on_both;
use crate::support::mirror::{Mirror, OVERLAP, Plan, assert_good, sessions};

/// 450 of 600 sessions get one `updatedAt` by a bulk edit, `age` before the next pass.
async fn a_bulk_edit(moods: Moods, age: Duration) {
    on_both(move |database| {
        let mut plan = Plan::of(600);
        plan.sandbox.contacts = Some(60);
        plan.sandbox.moods = moods.clone();
        async move {
            let mirror = Mirror::begin(database, plan).await;
            mirror.load().await;
            mirror.clock.advance(Duration::from_secs(1_000));
            let ids = mirror.change(SandboxAccount::session_ids);
            let instant = mirror.change(|account| account.bulk_touch(&ids[100..550]));
            // Some follow, some of those that shared the instant among them.
            for id in &ids[540..580] {
                mirror.clock.advance(Duration::from_millis(3));
                mirror.change(|account| account.update_session(*id, |s| s.unread_count += 1));
            }
            mirror.clock.advance(age);
            mirror.sandbox.take_requests();
            assert_good(&mirror.pass().await);
            let asked = mirror.sandbox.take_requests().len();
            // Twice the edit, in pages of 20, and what it takes to find the instant by halving time
            // where the order is not known yet.
            assert!(asked < 2 * 450 / 20 + 200, "{asked} requests");
            mirror.assert_mirrors().await;
            let at = format!("updated_at = '{}'", instant.timestamp());
            assert_eq!(mirror.database.count("sessions", &at).await, 440);
            mirror.quiet().await;
            mirror.assert_mirrors().await;
            assert!(mirror.watermark(sessions()).await.unwrap() >= instant.timestamp());
        }
    })
    .await;
}

#[tokio::test]
async fn hundreds_of_sessions_of_one_instant_are_read_at_once() {
    a_bulk_edit(Moods::default(), Duration::from_secs(1)).await;
}

#[tokio::test]
async fn hundreds_of_sessions_of_one_settled_instant_are_read() {
    a_bulk_edit(Moods::default(), Duration::from_hours(1)).await;
}

#[tokio::test]
async fn hundreds_of_sessions_of_one_instant_in_no_order_are_read() {
    let moods = Moods {
        ignore_order: true,
        ..Moods::default()
    };
    a_bulk_edit(moods, Duration::from_hours(1)).await;
}

#[tokio::test]
async fn hundreds_of_sessions_of_one_instant_to_the_millisecond_are_read() {
    let moods = Moods {
        precision: Precision::Millis,
        after_inclusive: true,
        ..Moods::default()
    };
    a_bulk_edit(moods, Duration::from_secs(1)).await;
}

/// Sessions change now and show 45 seconds later, behind others that show at once.
async fn late_ones(moods: Moods) {
    on_both(move |database| {
        let mut plan = Plan::of(200);
        plan.sandbox.moods = moods.clone();
        async move {
            let mirror = Mirror::begin(database, plan).await;
            mirror.load().await;
            let ids = mirror.change(SandboxAccount::session_ids);
            let late: Vec<Uuid> = ids.iter().copied().step_by(7).collect();
            for (turn, id) in ids.iter().take(60).enumerate() {
                mirror.clock.advance(Duration::from_secs(2));
                mirror.change(|account| {
                    let visible = account.now() + Duration::from_secs(45);
                    if let Some(late) = late.get(turn) {
                        account.update_session_late(*late, visible, |s| s.unread_count = 77);
                    }
                    if turn % 10 == 0 {
                        let session = account.draft_session();
                        account.insert_session_late(session, visible);
                    }
                    if !late.contains(id) {
                        account.update_session(*id, |s| s.unread_count = 78);
                    }
                });
                if turn % 5 == 0 {
                    assert_good(&mirror.pass().await);
                }
            }
            for _ in 0..3 {
                mirror.clock.advance(Duration::from_secs(16));
                assert_good(&mirror.pass().await);
            }
            mirror.assert_mirrors().await;
            let found = mirror.database.count("sessions", "unread_count = 77").await;
            assert_eq!(found, i64::try_from(late.len()).unwrap());
        }
    })
    .await;
}

#[tokio::test]
async fn sessions_that_show_45_seconds_late_are_found() {
    late_ones(Moods::default()).await;
}

#[tokio::test]
async fn sessions_that_show_45_seconds_late_in_no_order_are_found() {
    late_ones(Moods {
        ignore_order: true,
        ..Moods::default()
    })
    .await;
}

#[tokio::test]
async fn sessions_that_show_45_seconds_late_during_the_first_load_are_found() {
    on_both(|database| async move {
        let mirror = Mirror::begin(database, Plan::of(200)).await;
        let clock = std::sync::Arc::clone(&mirror.clock);
        let mut left = 20;
        mirror.change(|account| {
            let visible = account.now() + Duration::from_secs(45);
            for _ in 0..5 {
                let session = account.draft_session();
                account.insert_session_late(session, visible);
            }
        });
        mirror.sandbox.on_answer(move |account, seen| {
            clock.advance(Duration::from_secs(4));
            if left > 0 && seen.items > 0 {
                left -= 1;
                let visible = account.now() + Duration::from_secs(45);
                let session = account.draft_session();
                account.insert_session_late(session, visible);
            }
        });
        assert_good(&mirror.sync().await);
        mirror.sandbox.clear_hooks();
        mirror.clock.advance(OVERLAP / 2);
        assert_good(&mirror.pass().await);
        mirror.assert_mirrors().await;
        assert_eq!(mirror.database.count("sessions", "true").await, 225);
    })
    .await;
}

#[tokio::test]
async fn fractions_of_every_length_are_compared_as_time() {
    for precision in [Precision::Ticks, Precision::Micros, Precision::Millis] {
        on_both(move |database| async move {
            let mut plan = Plan::of(40);
            plan.walk.page_size = 3;
            plan.sandbox.moods.precision = precision;
            let mirror = Mirror::begin(database, plan).await;
            mirror.load().await;
            mirror.clock.advance(Duration::from_hours(1));
            let ids = mirror.change(|account| {
                let fractions = [
                    "", ".9", ".3", ".30", ".12", ".123", ".1234", ".12345", ".123456", ".1234567",
                    ".0000001", ".9999999", ".999", ".1230001",
                ];
                for (second, fraction) in
                    (57..59).flat_map(|second| fractions.iter().map(move |f| (second, f)))
                {
                    let text = format!("2026-05-04T14:55:{second}{fraction}Z");
                    let mut session = account.draft_session();
                    session.created_at = Ticks::parse(&text).unwrap();
                    session.updated_at = session.created_at;
                    account.insert_session(session);
                }
                account.session_ids()
            });
            mirror.clock.advance(Duration::from_secs(10));
            assert_good(&mirror.pass().await);
            mirror.assert_mirrors().await;
            // And again from the middle of them.
            mirror.change(|account| {
                for id in &ids[45..50] {
                    account.update_session(*id, |s| s.unread_count += 1);
                }
            });
            mirror.quiet().await;
            mirror.assert_mirrors().await;
        })
        .await;
    }
}
