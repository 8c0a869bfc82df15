//! What passes cannot see is found by re-reading the open sessions: changes that left `updatedAt`
//! alone, and sessions that were deleted.

use std::time::Duration;

use helena_sync::data::Resource;
use helena_sync::sandbox::{IdFault, Moods, SandboxAccount, Status};
use uuid::Uuid;

use crate::support::database::{Database, on_both};
use crate::support::mirror::{Mirror, Plan, assert_good};
use crate::support::truth::Scope;

fn open(account: &mut SandboxAccount) -> Vec<Uuid> {
    let ids = account.session_ids();
    ids.into_iter()
        .filter(|id| account.session(*id).unwrap().status.is_open())
        .collect()
}

async fn finds_what_is_silent(moods: Moods) {
    on_both(move |database| {
        let mut plan = Plan::of(300);
        plan.sandbox.moods = moods.clone();
        async move {
            let mirror = Mirror::begin(database, plan).await;
            mirror.change(|account| {
                for _ in 0..50 {
                    let session = account.draft_session();
                    account.insert_session(session);
                }
            });
            mirror.load().await;
            mirror.quiet().await;
            let open = mirror.change(open);
            assert!(open.len() >= 50);
            mirror.change(|account| {
                let silently = |account: &mut SandboxAccount, id, status| {
                    let at = account.session(id).unwrap().updated_at;
                    account.update_session(id, |session| {
                        session.updated_at = at;
                        session.status = status;
                        session.unread_count += 5;
                    });
                };
                for id in &open[..20] {
                    silently(account, *id, Status::Pending);
                }
                for id in &open[20..26] {
                    silently(account, *id, Status::Completed);
                }
                for id in &open[26..31] {
                    account.delete_session(*id);
                }
            });
            mirror.clock.advance(Duration::from_mins(10));
            assert_good(&mirror.pass().await);
            assert_eq!(
                mirror
                    .database
                    .count("sessions", "removed_at is not null")
                    .await,
                0
            );

            let run = mirror.engine.refresh_open(mirror.limits()).await;
            assert_good(&[run]);
            let scope = Scope {
                session_types: mirror.plan.sandbox.moods.v2_withdrawn.is_none(),
                ..Scope::default()
            };
            mirror.assert_mirrors_within(&scope).await;
            assert_eq!(
                mirror
                    .database
                    .count("sessions", "removed_at is not null")
                    .await,
                5
            );
            // What is gone is not asked for again, and nothing is written twice.
            let before = mirror.contents().await;
            mirror.sandbox.take_requests();
            mirror.clock.advance(Duration::from_mins(10));
            let run = mirror.engine.refresh_open(mirror.limits()).await;
            assert_good(&[run]);
            assert_eq!(mirror.contents().await, before);
            let asked = mirror.sandbox.take_requests();
            let by_id = asked
                .iter()
                .filter(|request| !request.path.ends_with("/session"));
            assert_eq!(by_id.count(), 0);
        }
    })
    .await;
}

#[tokio::test]
async fn silent_changes_and_deletions_of_open_sessions_are_found() {
    finds_what_is_silent(Moods::default()).await;
}

#[tokio::test]
async fn silent_changes_and_deletions_are_found_where_the_second_version_is_gone() {
    finds_what_is_silent(Moods {
        v2_withdrawn: Some(404),
        ..Moods::default()
    })
    .await;
}

#[tokio::test]
async fn a_session_that_was_marked_as_removed_and_is_shown_again_is_there_again() {
    on_both(|database| async move {
        let mirror = Mirror::begin(database, Plan::of(100)).await;
        let session = mirror.change(|account| {
            let session = account.draft_session();
            account.insert_session(session.clone());
            session
        });
        mirror.load().await;
        mirror.quiet().await;
        mirror.change(|account| account.delete_session(session.id));
        assert_good(&[mirror.engine.refresh_open(mirror.limits()).await]);
        let gone = format!("id = '{}' and removed_at is not null", session.id);
        assert_eq!(mirror.database.count("sessions", &gone).await, 1);
        mirror.change(|account| {
            let mut back = session.clone();
            back.updated_at = account.stamp();
            account.insert_session(back)
        });
        mirror.quiet().await;
        assert_eq!(mirror.database.count("sessions", &gone).await, 0);
        mirror.assert_mirrors().await;
    })
    .await;
}

#[tokio::test]
async fn a_session_that_ends_while_open_ones_are_read_again_is_not_taken_for_gone() {
    on_both(|database| async move {
        let mirror = Mirror::begin(database, Plan::of(60)).await;
        mirror.change(|account| {
            for _ in 0..60 {
                let session = account.draft_session();
                account.insert_session(session);
            }
        });
        mirror.load().await;
        let mut left = mirror.change(open);
        let clock = std::sync::Arc::clone(&mirror.clock);
        mirror.sandbox.on_answer(move |account, _| {
            clock.advance(Duration::from_millis(300));
            for id in left.drain(..left.len().min(3)) {
                account.update_session(id, |session| session.status = Status::Completed);
            }
        });
        let _run = mirror.engine.refresh_open(mirror.limits()).await;
        assert_eq!(
            mirror
                .database
                .count("sessions", "removed_at is not null")
                .await,
            0
        );
        mirror.quiet().await;
        mirror.assert_mirrors().await;
    })
    .await;
}

/// An account with so many sessions more, all of them open.
async fn with_open(database: Database, more: usize) -> (Mirror, Vec<Uuid>) {
    let mirror = Mirror::begin(database, Plan::of(60)).await;
    let open = mirror.change(|account| {
        let mut open = Vec::new();
        for _ in 0..more {
            let session = account.draft_session();
            open.push(account.insert_session(session));
        }
        open
    });
    mirror.load().await;
    mirror.quiet().await;
    (mirror, open)
}

async fn removed(mirror: &Mirror) -> i64 {
    mirror
        .database
        .count("sessions", "removed_at is not null")
        .await
}

fn by_id(mirror: &Mirror) -> usize {
    let asked = mirror.sandbox.take_requests();
    let one = |path: &str| path.starts_with("/chat/v2/session/");
    asked.iter().filter(|request| one(&request.path)).count()
}

#[tokio::test]
async fn an_open_session_that_cannot_be_asked_for_holds_up_no_other() {
    on_both(|database| async move {
        let (mirror, open) = with_open(database, 30).await;
        mirror.change(|account| {
            for id in &open[5..12] {
                account.delete_session(*id);
            }
            account.fail_id(open[8], IdFault::Internal);
            account.fail_id(open[9], IdFault::Forbidden);
        });
        assert_good(&[mirror.engine.refresh_open(mirror.limits()).await]);
        assert_eq!(removed(&mirror).await, 5);
        let named = "reason = 'not_listed' and attempts = 1 and last_error is not null";
        assert_eq!(mirror.database.count("rechecks", named).await, 2);
        assert_eq!(mirror.database.count("rechecks", "true").await, 2);
    })
    .await;
}

#[tokio::test]
async fn one_open_session_that_vanished_takes_one_request_and_the_proof() {
    on_both(|database| async move {
        let (mirror, open) = with_open(database, 30).await;
        mirror.change(|account| account.delete_session(open[7]));
        mirror.sandbox.take_requests();
        assert_good(&[mirror.engine.refresh_open(mirror.limits()).await]);
        assert_eq!(removed(&mirror).await, 1);
        assert_eq!(by_id(&mirror), 2);
    })
    .await;
}

#[tokio::test]
async fn open_sessions_that_vanish_by_the_hundred_are_kept_in_the_queue() {
    on_both(|database| async move {
        let (mirror, open) = with_open(database, 320).await;
        mirror.change(|account| {
            for id in &open[..300] {
                account.delete_session(*id);
            }
        });
        assert_good(&[mirror.engine.refresh_open(mirror.limits()).await]);
        assert_eq!(removed(&mirror).await, 200);
        let queued = "resource = 'sessions' and reason = 'not_listed'";
        assert_eq!(mirror.database.count("rechecks", queued).await, 100);
        mirror
            .engine
            .verify(&[Resource::Sessions], 0, mirror.limits())
            .await;
        assert_eq!(removed(&mirror).await, 300);
        assert_eq!(mirror.database.count("rechecks", "true").await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_date_header_that_is_behind_makes_no_open_session_suspect() {
    on_both(|database| async move {
        let (mirror, _) = with_open(database, 10).await;
        mirror.clock.advance(Duration::from_mins(30));
        mirror.change(|account| {
            for _ in 0..20 {
                let session = account.draft_session();
                account.insert_session(session);
            }
        });
        mirror.quiet().await;
        mirror.change(|account| account.moods.date_micros = -3_600_000_000);
        mirror.sandbox.take_requests();
        assert_good(&[mirror.engine.refresh_open(mirror.limits()).await]);
        assert_eq!(by_id(&mirror), 0);
        assert_eq!(mirror.database.count("rechecks", "true").await, 0);
    })
    .await;
}
