//! What passes cannot see is found by re-reading the open sessions: changes that left `updatedAt`
//! alone, and sessions that were deleted.

use std::time::Duration;

use helena_sync::sandbox::{Account, Moods, Status};
use uuid::Uuid;

use crate::support::database::on_both;
use crate::support::mirror::{Mirror, Plan, assert_good};

fn open(account: &mut Account) -> Vec<Uuid> {
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
                let silently = |account: &mut Account, id, status| {
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
            mirror.assert_mirrors().await;
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
async fn silent_changes_and_deletions_are_found_where_the_first_version_is_gone() {
    finds_what_is_silent(Moods {
        v1_withdrawn: Some(404),
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
