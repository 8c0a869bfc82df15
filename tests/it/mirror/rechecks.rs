//! Records that are asked for by their ids: those of which a listing may have shown a stale version,
//! and those that it no longer shows.

use std::time::Duration;

use helena_sync::data::Resource;
use helena_sync::sandbox::{IdFault, SandboxAccount, Ticks};
use uuid::Uuid;

use crate::support::database::{Database, on_both};
use crate::support::mirror::{Mirror, Plan, assert_good, failures};

const MINUTE: Duration = Duration::from_mins(1);
const DAY: Duration = Duration::from_hours(24);

async fn loaded(database: Database, sessions: u32) -> Mirror {
    let mirror = Mirror::begin(database, Plan::of(sessions)).await;
    mirror.load().await;
    mirror.quiet().await;
    mirror.sandbox.take_requests();
    mirror
}

/// Changes sessions twice, the second time by a server whose clock is behind, each change read by a
/// pass.
async fn go_back(mirror: &Mirror, ids: &[Uuid]) {
    mirror.change(|account| {
        for id in ids {
            account.update_session(*id, |session| session.unread_count += 1);
        }
    });
    mirror.clock.advance(Duration::from_secs(2));
    assert_good(&mirror.pass().await);
    mirror.change(|account| {
        for id in ids {
            let behind = account.session(*id).unwrap().updated_at.0 - 2_000_000;
            account.update_session(*id, |session| {
                session.unread_count += 1;
                session.updated_at = Ticks(behind);
            });
        }
    });
    mirror.clock.advance(Duration::from_secs(2));
}

fn by_id(mirror: &Mirror) -> usize {
    let asked = mirror.sandbox.take_requests();
    let one =
        |path: &str| path.starts_with("/chat/v2/session/") || path.starts_with("/core/v1/contact/");
    asked.iter().filter(|request| one(&request.path)).count()
}

async fn queued(mirror: &Mirror, condition: &str) -> i64 {
    mirror.database.count("rechecks", condition).await
}

#[tokio::test]
async fn content_with_an_older_stamp_is_stored_by_the_pass_that_meets_it() {
    on_both(|database| async move {
        let mirror = loaded(database, 80).await;
        let ids = mirror.change(SandboxAccount::session_ids);
        go_back(&mirror, &ids[10..13]).await;
        assert_good(&mirror.pass().await);
        mirror.assert_mirrors().await;
        assert_eq!(queued(&mirror, "true").await, 0);
        let reverted = "kind = 'recheck' and outcome = 'succeeded' and rows_reverted = 3";
        assert_eq!(mirror.database.count("sync_runs", reverted).await, 1);
        mirror.quiet().await;
        mirror.assert_mirrors().await;
    })
    .await;
}

#[tokio::test]
async fn nothing_is_asked_for_by_its_id_where_nothing_is_in_doubt() {
    on_both(|database| async move {
        let mirror = loaded(database, 80).await;
        // The totals of contacts were counted after their load.
        let rechecks = || mirror.database.count("sync_runs", "kind = 'recheck'");
        let before = rechecks().await;
        mirror.change(|account| account.live_step(40));
        for _ in 0..4 {
            mirror.clock.advance(MINUTE);
            assert_good(&mirror.pass().await);
        }
        assert_eq!(by_id(&mirror), 0);
        assert_eq!(rechecks().await, before);
    })
    .await;
}

#[tokio::test]
async fn one_id_that_cannot_be_asked_for_holds_up_no_other() {
    for fault in IdFault::ALL {
        on_both(move |database| async move {
            let mirror = loaded(database, 60).await;
            let ids = mirror.change(SandboxAccount::session_ids);
            go_back(&mirror, &ids[20..25]).await;
            // Also where the proof that others can be asked for would look first.
            mirror.change(|account| {
                for id in [ids[22], ids[59], ids[0]] {
                    account.fail_id(id, fault);
                }
            });
            assert_good(&mirror.pass().await);
            assert_eq!(queued(&mirror, "true").await, 1);
            let named = format!(
                "record_id = '{}' and attempts = 1 and last_error is not null",
                ids[22]
            );
            assert_eq!(queued(&mirror, &named).await, 1);

            // It is tried again after a day, and not before.
            mirror.clock.advance(MINUTE * 5);
            mirror.sandbox.take_requests();
            assert_good(&mirror.pass().await);
            assert_eq!(by_id(&mirror), 0);
            mirror.clock.advance(DAY);
            assert_good(&mirror.pass().await);
            assert_eq!(queued(&mirror, "attempts = 2").await, 1);
            mirror.change(|account| account.mend_id(ids[22]));
            mirror.clock.advance(DAY + MINUTE);
            assert_good(&mirror.pass().await);
            assert_eq!(queued(&mirror, "true").await, 0);
            mirror.assert_mirrors().await;
        })
        .await;
    }
}

#[tokio::test]
async fn where_nothing_can_be_asked_for_by_its_id_the_run_fails_and_the_queue_stays() {
    on_both(|database| async move {
        let mirror = loaded(database, 60).await;
        let ids = mirror.change(SandboxAccount::session_ids);
        go_back(&mirror, &ids[20..25]).await;
        mirror.change(|account| account.moods.refused = vec!["/chat/v2/session/".to_owned()]);
        let failed = failures(&mirror.pass().await);
        assert_eq!(failed.len(), 1, "{failed:?}");
        assert_eq!(failed[0].0, "sessions");
        assert_eq!(queued(&mirror, "attempts = 0").await, 5);
        // Not with every pass: it takes a while until somebody has mended it.
        mirror.sandbox.take_requests();
        mirror.clock.advance(MINUTE);
        mirror.pass().await;
        assert_eq!(by_id(&mirror), 0);

        mirror.change(|account| account.moods.refused.clear());
        mirror.clock.advance(MINUTE * 60);
        assert_good(&mirror.pass().await);
        assert_eq!(queued(&mirror, "true").await, 0);
        mirror.assert_mirrors().await;
    })
    .await;
}

#[tokio::test]
async fn a_route_that_is_withdrawn_marks_nothing_as_gone() {
    for masked in [false, true] {
        on_both(move |database| async move {
            let mirror = loaded(database, 200).await;
            let ids = mirror.change(SandboxAccount::session_ids);
            go_back(&mirror, &ids[20..25]).await;
            let open: Vec<Uuid> = mirror.change(|account| {
                account.moods.by_id_withdrawn = true;
                account.moods.masked_not_found = masked;
                let is_open = |id: &&Uuid| account.session(**id).unwrap().status.is_open();
                let ids = ids.clone();
                let open: Vec<Uuid> = ids.iter().filter(is_open).copied().collect();
                open
            });
            mirror.change(|account| {
                for id in open.iter().take(2).chain(&ids[100..103]) {
                    account.delete_session(*id);
                }
            });
            mirror.pass().await;
            mirror.engine.refresh_open(mirror.limits()).await;
            mirror
                .engine
                .verify(&Resource::ALL, 0, mirror.limits())
                .await;
            let rejected = std::collections::HashSet::from([ids[30], ids[31]]);
            mirror
                .engine
                .retry_rejects(Resource::Sessions, &rejected, mirror.limits())
                .await;
            for table in ["sessions", "contacts"] {
                let marked = "removed_at is not null";
                assert_eq!(mirror.database.count(table, marked).await, 0, "{table}");
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_doubt_is_asked_for_by_the_pass_that_meets_it_also_if_the_record_waits_already() {
    on_both(|database| async move {
        let mirror = loaded(database, 80).await;
        let ids = mirror.change(SandboxAccount::session_ids);
        for (id, reason) in [(ids[10], "not_listed"), (ids[11], "never_listed")] {
            mirror
                .database
                .execute(&format!(
                    "insert into rechecks (account_id, resource, record_id, reason, queued_at, \
                     attempts, last_tried_at, last_error) select id, 'sessions', '{id}', \
                     '{reason}', '2026-05-04T14:00:00.000000Z', 1, \
                     '2026-05-04T14:20:00.000000Z', 'x' from accounts"
                ))
                .await;
        }
        go_back(&mirror, &ids[10..12]).await;
        assert_good(&mirror.pass().await);
        assert_eq!(queued(&mirror, "true").await, 0);
        mirror.assert_mirrors().await;
    })
    .await;
}

#[tokio::test]
async fn that_ids_can_be_asked_for_is_proven_by_records_of_any_age() {
    for newest in [3, 60] {
        on_both(move |database| async move {
            let mirror = loaded(database, 200).await;
            let ids = mirror.change(SandboxAccount::session_ids);
            mirror.change(|account| {
                // Those of a department, say, that the token may not see.
                for id in &ids[ids.len() - newest..] {
                    account.fail_id(*id, IdFault::Forbidden);
                }
                account.delete_session(ids[100]);
            });
            let verified = mirror
                .engine
                .verify(&Resource::ALL, 0, mirror.limits())
                .await;
            for verified in verified {
                let failed = verified.into_failure();
                assert!(failed.is_none(), "{failed:?}");
            }
            let marked = format!("id = '{}' and removed_at is not null", ids[100]);
            assert_eq!(mirror.database.count("sessions", &marked).await, 1);
        })
        .await;
    }
}
