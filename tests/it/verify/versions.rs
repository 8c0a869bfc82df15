//! Rows that are there and are not what the platform shows.

use std::collections::BTreeSet;

use helena_sync::api::Detail;
use helena_sync::data::Resource;
use helena_sync::sandbox::{Poison, SandboxAccount, SandboxConfig, Ticks};
use uuid::Uuid;

use super::{World, found, of, set};
use crate::support::database::on_both;

/// Gives rows another content under another `updated_at`, as if they were that version.
async fn alter(world: &World, ids: &[Uuid], updated_at: &str) {
    for id in ids {
        world
            .database
            .execute(&format!(
                "update sessions set updated_at = {updated_at}, title = 'STALE', \
                 content_hash = 7 where id = '{id}'"
            ))
            .await;
    }
}

async fn stale(world: &World) -> i64 {
    world.database.count("sessions", "title = 'STALE'").await
}

/// Differences of sessions that are there on both sides.
async fn differing(world: &World) -> BTreeSet<Uuid> {
    let found = of(&world.compare(0).await, Resource::Sessions);
    assert!(
        found.missing.is_empty() && found.gone.is_empty(),
        "{found:?}"
    );
    found.differing().collect()
}

#[tokio::test]
async fn a_stored_version_that_is_newer_than_the_one_shown_is_a_difference() {
    on_both(|database| async move {
        let world = World::loaded(database, 200).await;
        let ids = world.sandbox.account().session_ids();
        // Long ago, in the overlap, and in a future that never comes.
        alter(&world, &ids[60..61], "'2026-05-01T00:00:00.000000Z'").await;
        alter(&world, &ids[61..62], "'2026-05-04T14:09:50.000000Z'").await;
        alter(&world, &ids[62..64], "'2031-01-01T00:00:00.000000Z'").await;
        assert_eq!(differing(&world).await, set(&ids[60..64]));
        // Nothing was written.
        assert_eq!(stale(&world).await, 4);
        assert_eq!(world.database.count("rechecks", "true").await, 0);
        let repaired = of(&world.repair().await, Resource::Sessions);
        assert_eq!(repaired.unrepaired, set(&[]));
        assert_eq!(repaired.differences(), 4);
        assert_eq!(stale(&world).await, 0);
        assert_eq!(world.database.count("rechecks", "true").await, 0);
        assert_eq!(differing(&world).await, set(&[]));
        world.assert_equal().await;
    })
    .await;
}

#[tokio::test]
async fn another_content_under_the_same_stamp_is_a_difference() {
    on_both(|database| async move {
        let world = World::loaded(database, 200).await;
        let ids = world.sandbox.account().session_ids();
        alter(&world, &ids[60..62], "updated_at").await;
        // A change of the platform's that leaves the stamp as it is.
        for id in &ids[80..82] {
            let mut account = world.sandbox.account();
            let at = account.session(*id).unwrap().updated_at;
            account.update_session(*id, |session| {
                session.updated_at = at;
                session.unread_count += 5;
            });
        }
        let expected = set(&[ids[60], ids[61], ids[80], ids[81]]);
        assert_eq!(differing(&world).await, expected);
        let repaired = of(&world.repair().await, Resource::Sessions);
        assert_eq!(repaired.unrepaired, set(&[]));
        assert_eq!(stale(&world).await, 0);
        assert_eq!(differing(&world).await, set(&[]));
    })
    .await;
}

#[tokio::test]
async fn records_without_a_stamp_are_compared_by_their_content() {
    on_both(|database| async move {
        let world = World::new(database, SandboxConfig::of_size(200)).await;
        let ids = world.sandbox.account().session_ids();
        for id in &ids[60..64] {
            world.sandbox.account().poison(*id, Poison::NullStamp);
        }
        world.load().await;
        assert_eq!(differing(&world).await, set(&[]));
        world.sandbox.account().update_session(ids[61], |session| {
            session.unread_count += 5;
        });
        // One that had a stamp, and one that has got one.
        world.sandbox.account().poison(ids[70], Poison::NullStamp);
        world.sandbox.account().heal(ids[63]);
        let expected = set(&[ids[61], ids[63], ids[70]]);
        assert_eq!(differing(&world).await, expected);
        let repaired = of(&world.repair().await, Resource::Sessions);
        assert_eq!(repaired.unrepaired, set(&[]));
        assert_eq!(differing(&world).await, set(&[]));
    })
    .await;
}

#[tokio::test]
async fn what_an_answer_cannot_know_is_no_difference() {
    on_both(|database| async move {
        let mut world = World::loaded(database, 200).await;
        let equal = async |world: &World| {
            for verified in world.compare(0).await {
                assert_eq!(found(&verified).differences(), 0, "{verified:?}");
            }
        };
        equal(&world).await;
        // The other version of the list has one field more.
        world.sandbox.account().moods.v1_withdrawn = Some(404);
        equal(&world).await;
        for details in [&[][..], &[Detail::Contact], &[Detail::Classification]] {
            world.ask_for(details);
            equal(&world).await;
        }
        // Nor are the tags that the contacts of old sessions wear by now.
        world.ask_for(&Detail::ALL);
        let (contacts, tags) = {
            let mut account = world.sandbox.account();
            (account.contact_ids(), account.tags())
        };
        for contact in &contacts {
            let mut account = world.sandbox.account();
            let at = account.contact(*contact).unwrap().updated_at;
            account.set_contact_tags(*contact, &tags[..2]);
            account.update_contact(*contact, |contact| contact.updated_at = at);
        }
        let sessions = of(&world.compare(0).await, Resource::Sessions);
        assert_eq!(sessions.differences(), 0);
    })
    .await;
}

#[tokio::test]
async fn many_rows_that_were_stamped_by_a_clock_that_was_ahead_are_found_and_repaired() {
    on_both(|database| async move {
        let world = World::new(database, SandboxConfig::of_size(150)).await;
        let ids = world.sandbox.account().session_ids();
        world.load().await;
        world.clock.advance(std::time::Duration::from_hours(1));
        let ahead = 10 * 60 * 10_000_000;
        let change = |account: &mut SandboxAccount, by: i64| {
            for id in &ids[20..80] {
                account.update_session(*id, |session| {
                    session.updated_at = Ticks(session.updated_at.0 + by);
                    session.unread_count += 1;
                });
            }
        };
        change(&mut world.sandbox.account(), ahead);
        for run in world.pass().await {
            assert!(run.succeeded(), "{:?}", run.error);
        }
        change(&mut world.sandbox.account(), 0);
        world.clock.advance(std::time::Duration::from_mins(5));
        world.pass().await;
        world.repair().await;
        assert_eq!(differing(&world).await, set(&[]));
        let shown: BTreeSet<String> = {
            let mut account = world.sandbox.account();
            let mut unread = |id: &Uuid| account.session(*id).unwrap().unread_count;
            ids.iter().map(|id| (id, unread(id))).map(line).collect()
        };
        let stored = world
            .database
            .texts("select cast(id as text) || ' ' || cast(unread_count as text) from sessions")
            .await;
        let stored: BTreeSet<String> = stored.into_iter().collect();
        let wrong: Vec<_> = stored.symmetric_difference(&shown).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    })
    .await;
}

fn line((id, unread): (&Uuid, i32)) -> String {
    format!("{id} {unread}")
}
