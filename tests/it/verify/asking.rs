//! What is asked for by its id: how much of it, and what those mean that cannot be asked for.

use std::collections::BTreeSet;
use std::time::Duration;

use helena_sync::data::Resource;
use helena_sync::sandbox::{ContactStatus, IdFault, Poison, SandboxConfig};
use uuid::Uuid;

use super::{World, found, of, set};
use crate::support::database::{Kind, on_both};

fn by_id(world: &World) -> usize {
    let asked = world.sandbox.take_requests();
    let one =
        |path: &str| path.starts_with("/chat/v2/session/") || path.starts_with("/core/v1/contact/");
    asked.iter().filter(|request| one(&request.path)).count()
}

async fn removed(world: &World) -> i64 {
    world
        .database
        .count("sessions", "removed_at is not null")
        .await
}

#[tokio::test]
async fn one_id_that_cannot_be_asked_for_is_named_and_the_others_are_done() {
    for fault in IdFault::ALL {
        on_both(move |database| async move {
            let world = World::loaded(database, 200).await;
            let ids = world.sandbox.account().session_ids();
            world.lose(&ids[10..13]).await;
            for id in &ids[100..110] {
                let mut account = world.sandbox.account();
                account.delete_session(*id);
            }
            world.sandbox.account().fail_id(ids[104], fault);
            let sessions = of(&world.repair().await, Resource::Sessions);
            assert_eq!(sessions.missing, set(&ids[10..13]));
            assert_eq!(removed(&world).await, 9);
            let named = format!("record_id = '{}' and last_error is not null", ids[104]);
            assert_eq!(world.database.count("rechecks", &named).await, 1);
            let failed: Vec<Uuid> = sessions.failed.iter().map(|(id, _)| *id).collect();
            assert_eq!(failed, [ids[104]]);

            // Without the right to write it is named, too.
            let compared = of(&world.compare(0).await, Resource::Sessions);
            let failed: Vec<Uuid> = compared.failed.iter().map(|(id, _)| *id).collect();
            assert_eq!(failed, [ids[104]]);

            world.sandbox.account().mend_id(ids[104]);
            world.clock.advance(std::time::Duration::from_hours(25));
            world.pass().await;
            world.repair().await;
            assert_eq!(removed(&world).await, 10);
            assert_eq!(world.database.count("rechecks", "true").await, 0);
            world.assert_equal().await;
        })
        .await;
    }
}

#[tokio::test]
async fn three_thousand_deletions_are_asked_for_in_two_nights() {
    on_both(|database| async move {
        let mut world = World::new(database, SandboxConfig::of_size(3_600)).await;
        world.set_page_size(100);
        world.load().await;
        let ids = world.sandbox.account().session_ids();
        for id in &ids[300..3_300] {
            world.sandbox.account().delete_session(*id);
        }
        world.sandbox.take_requests();
        let compared = of(&world.compare(0).await, Resource::Sessions);
        assert_eq!(compared.gone.len(), 2_000);
        assert_eq!(compared.left, 1_000);
        assert!(by_id(&world) < 2_100);
        assert_eq!(world.database.count("rechecks", "true").await, 0);

        let night = of(&world.repair().await, Resource::Sessions);
        assert_eq!(night.gone.len(), 2_000);
        assert_eq!(night.left, 1_000);
        assert!(by_id(&world) < 2_100);
        assert_eq!(removed(&world).await, 2_000);
        let queued = "reason = 'not_listed'";
        assert_eq!(world.database.count("rechecks", queued).await, 1_000);

        world.clock.advance(std::time::Duration::from_hours(24));
        world.pass().await;
        assert_eq!(by_id(&world), 0);
        let night = of(&world.repair().await, Resource::Sessions);
        assert_eq!((night.gone.len(), night.left), (1_000, 0));
        assert_eq!(removed(&world).await, 3_000);
        assert_eq!(world.database.count("rechecks", "true").await, 0);
        world.assert_equal().await;
        let counted = world.database.store.verified(world.account).await.unwrap();
        assert_eq!(counted.map(|(_, differing)| differing), Some(3_000));
    })
    .await;
}

#[tokio::test]
async fn a_contact_that_no_list_shows_is_found_and_its_status_told() {
    on_both(|database| async move {
        let world = World::new(database, SandboxConfig::of_size(200)).await;
        // All of them have sessions.
        let named: Vec<Uuid> = {
            let mut account = world.sandbox.account();
            let sessions = account.truth_sessions();
            let contact = |it: &serde_json::Value| it["contactId"].as_str()?.parse().ok();
            let mut named: Vec<Uuid> = sessions.iter().filter_map(contact).collect();
            named.sort_unstable();
            named.dedup();
            for id in &named[..4] {
                account.update_contact(*id, |contact| {
                    contact.status = ContactStatus::Undefined;
                });
            }
            // Sessions go on naming this one.
            account.delete_contact(named[4]);
            named
        };
        world.load().await;
        let whole = async |id: Uuid| {
            let whole = format!("id = '{id}' and created_at is not null");
            world.database.count("contacts", &whole).await
        };
        assert_eq!(whole(named[0]).await, 0);
        let all = world.repair().await;
        for id in &named[..4] {
            assert_eq!(whole(*id).await, 1, "{id}");
        }
        let gone = format!("id = '{}' and removed_at is not null", named[4]);
        assert_eq!(world.database.count("contacts", &gone).await, 1);
        let told = all
            .iter()
            .any(|one| found(one).unlisted.contains_key("UNDEFINED"));
        assert!(told, "{all:?}");

        // Whatever becomes of it, no list will show it.
        world.clock.advance(std::time::Duration::from_hours(24));
        world.sandbox.account().rename_contact(named[2], "Nova");
        world.pass().await;
        world.repair().await;
        let renamed = format!("id = '{}' and name = 'Nova'", named[2]);
        assert_eq!(world.database.count("contacts", &renamed).await, 1);
        let sandbox = world.sandbox.account().contact_ids().len();
        let stored = world
            .database
            .count("contacts", "created_at is not null and removed_at is null")
            .await;
        assert_eq!(stored, i64::try_from(sandbox).unwrap());
    })
    .await;
}

#[tokio::test]
async fn a_record_that_is_hidden_is_not_taken_for_gone() {
    on_both(|database| async move {
        let world = World::loaded(database, 150).await;
        let ids = world.sandbox.account().session_ids();
        for id in &ids[60..63] {
            world.sandbox.account().poison(*id, Poison::Hidden);
        }
        world.sandbox.account().delete_session(ids[70]);
        let sessions = of(&world.repair().await, Resource::Sessions);
        assert_eq!(sessions.gone, set(&ids[70..71]));
        assert_eq!(removed(&world).await, 1);
        assert_eq!(world.database.count("rechecks", "true").await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_version_of_the_future_is_replaced_though_its_id_cannot_be_asked_for() {
    on_both(|database| async move {
        let world = World::loaded(database, 150).await;
        let ids = world.sandbox.account().session_ids();
        world
            .database
            .execute(&format!(
                "update sessions set updated_at = '2031-01-01T00:00:00.000000Z', title = 'STALE', \
                 content_hash = 7 where id = '{}'",
                ids[60]
            ))
            .await;
        world.sandbox.account().fail_id(ids[60], IdFault::Internal);
        let stale = async || world.database.count("sessions", "title = 'STALE'").await;
        // It may be what the list shows in a moment.
        let sessions = of(&world.repair().await, Resource::Sessions);
        assert_eq!((sessions.differences(), stale().await), (0, 1));
        assert_eq!(sessions.failed.len(), 1);
        world.clock.advance(std::time::Duration::from_hours(2));
        world.pass().await;
        let sessions = of(&world.repair().await, Resource::Sessions);
        assert_eq!(sessions.newer, set(&ids[60..61]));
        assert_eq!(sessions.unrepaired, set(&[]));
        assert_eq!(stale().await, 0);
        assert_eq!(world.database.count("rechecks", "true").await, 0);
    })
    .await;
}

/// A record in doubt whose id cannot be asked for, in an account that is counted in windows and not read
/// whole.
#[tokio::test]
async fn what_cannot_be_asked_for_is_read_from_the_list_once_that_is_certain() {
    for fault in [IdFault::Internal, IdFault::Forbidden] {
        on_both(move |database| async move {
            let world = World::loaded(database, 800).await;
            let ids = world.sandbox.account().session_ids();
            let (doubted, settled) = (ids[60], ids[400]);
            for (id, at) in [(doubted, "2031-01-01"), (settled, "2026-05-04")] {
                world
                    .database
                    .execute(&format!(
                        "update sessions set updated_at = '{at}T00:00:00.000000Z', \
                         title = 'STALE', content_hash = 7 where id = '{id}'"
                    ))
                    .await;
                let mut account = world.sandbox.account();
                account.fail_id(id, fault);
                account.update_session(id, |session| session.unread_count += 1);
            }
            world.clock.advance(std::time::Duration::from_secs(2));
            world.pass().await;
            let stale = async || world.database.count("sessions", "title = 'STALE'").await;
            let queued = async |condition: &str| world.database.count("rechecks", condition).await;
            assert_eq!((stale().await, queued("reason = 'older'").await), (1, 1));
            // It may be what the list shows in a moment.
            let sessions = of(&world.repair().await, Resource::Sessions);
            assert_eq!((sessions.differences(), stale().await), (0, 1));
            world.clock.advance(std::time::Duration::from_hours(2));
            world.pass().await;
            let sessions = of(&world.repair().await, Resource::Sessions);
            assert_eq!(sessions.newer, set(&[doubted]));
            assert_eq!(sessions.unrepaired, set(&[]));
            assert_eq!((stale().await, queued("true").await), (0, 0));
        })
        .await;
    }
}

#[tokio::test]
async fn a_doubt_that_the_list_does_not_share_ends() {
    on_both(|database| async move {
        let world = World::loaded(database, 800).await;
        let ids = world.sandbox.account().session_ids();
        world.sandbox.account().fail_id(ids[60], IdFault::Internal);
        world
            .database
            .execute(&format!(
                "insert into rechecks (account_id, resource, record_id, reason, queued_at) \
                 values ({}, 'sessions', '{}', 'older', '2026-05-04T00:00:00.000000Z')",
                world.account.0, ids[60]
            ))
            .await;
        let sessions = of(&world.repair().await, Resource::Sessions);
        assert_eq!(sessions.differences(), 0);
        assert_eq!(world.database.count("rechecks", "true").await, 0);
    })
    .await;
}

#[tokio::test]
async fn each_resource_has_its_share_of_a_night_and_new_findings_go_first() {
    on_both(|database| async move {
        let world = World::loaded(database, 200).await;
        let ids = world.sandbox.account().session_ids();
        // A backlog of more than a night, none of which is stored.
        world
            .database
            .execute(&format!(
                "with recursive numbers (n) as \
                 (select 1 union all select n + 1 from numbers where n < 2500) \
                 insert into rechecks (account_id, resource, record_id, reason, queued_at) \
                 select {}, 'sessions', {}, 'not_listed', '2026-05-01T00:00:00.000000Z' \
                 from numbers",
                world.account.0,
                match world.database.kind {
                    Kind::Sqlite =>
                        "lower(hex(randomblob(4))) || '-0000-4000-8000-' \
                                     || lower(hex(randomblob(6)))",
                    Kind::Postgres => "gen_random_uuid()",
                }
            ))
            .await;
        let contacts = world.sandbox.account().contact_ids();
        {
            let mut account = world.sandbox.account();
            account.delete_session(ids[100]);
            account.delete_contact(contacts[5]);
        }
        world.repair().await;
        assert_eq!(removed(&world).await, 1);
        let gone = "removed_at is not null";
        assert_eq!(world.database.count("contacts", gone).await, 1);
        assert_eq!(world.database.count("rechecks", "true").await, 501);
    })
    .await;
}

#[tokio::test]
async fn where_nothing_is_listed_any_more_nothing_is_marked_and_all_of_it_is_told() {
    on_both(|database| async move {
        let world = World::loaded(database, 40).await;
        let ids = world.sandbox.account().session_ids();
        for id in &ids {
            assert!(world.sandbox.account().delete_session(*id));
        }
        // Gone, or a route that was withdrawn: nothing tells, tonight or later.
        for nights in 1..=2 {
            let sessions = of(&world.repair().await, Resource::Sessions);
            assert_eq!(sessions.gone, set(&[]));
            let failed: BTreeSet<Uuid> = sessions.failed.iter().map(|(id, _)| *id).collect();
            assert_eq!(failed, set(&ids));
            let why = &sessions.failed[0].1;
            assert!(why.contains("no listed record could prove"), "{why}");
            let marked = "removed_at is not null";
            assert_eq!(world.database.count("sessions", marked).await, 0);
            let counts = world.database.store.recheck_counts(world.account).await;
            assert_eq!(counts.unwrap(), (40, 40), "{nights}");
            world.clock.advance(Duration::from_hours(25));
        }
        // One that is listed again proves it of the others.
        let draft = world.sandbox.account().draft_session();
        world.sandbox.account().insert_session(draft);
        world.clock.advance(Duration::from_mins(10));
        world.pass().await;
        let sessions = of(&world.repair().await, Resource::Sessions);
        assert_eq!(sessions.gone, set(&ids));
    })
    .await;
}
