//! What is repaired, and what is left alone.

use std::sync::Arc;
use std::time::Duration;

use helena_sync::daemon::{AccountWorker, Intervals};
use helena_sync::data::{ReadAs, Resource};
use helena_sync::sandbox::ContactStatus;
use helena_sync::schedule::Trigger;
use uuid::Uuid;

use super::{World, found, of, set};
use crate::support::database::on_both;

#[tokio::test]
async fn sessions_are_repaired_and_what_was_found_is_counted() {
    on_both(|database| async move {
        let world = World::loaded(database, 300).await;
        let ids = world.sandbox.account().session_ids();
        world.lose(&ids[10..13]).await;
        world.sandbox.account().delete_session(ids[200]);
        world.sandbox.account().delete_session(ids[250]);
        let sessions = of(&world.repair().await, Resource::Sessions);
        assert_eq!(sessions.missing, set(&ids[10..13]));
        assert_eq!(sessions.gone, set(&[ids[200], ids[250]]));
        world.assert_equal().await;
        let counted = "kind = 'verify' and resource = 'sessions' and outcome = 'succeeded' \
                       and rows_inserted = 3 and rows_updated = 2 and rows_differing = 5";
        assert_eq!(world.database.count("sync_runs", counted).await, 1);
        let marked = "removed_at is not null and run_id in \
                      (select id from sync_runs where kind = 'verify')";
        assert_eq!(world.database.count("sessions", marked).await, 2);
        // A second look finds nothing.
        for verified in world.repair().await {
            assert_eq!(verified.differences(), 0);
            let pages = found(&verified).stored.div_ceil(10);
            let expected = match verified.resource.descriptor().reading {
                ReadAs::List(_, questions) => questions.len() as u64,
                // Both versions of the list are counted, and each stream without a window.
                ReadAs::Streams(_) if verified.resource == Resource::Sessions => 4 + pages,
                ReadAs::Streams(_) => 2 + pages,
            };
            assert_eq!(verified.requests, expected, "{verified:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn contacts_of_every_status_are_repaired() {
    on_both(|database| async move {
        let world = World::loaded(database, 400).await;
        let mut lost = Vec::new();
        for status in [
            ContactStatus::Active,
            ContactStatus::Archived,
            ContactStatus::Blocked,
        ] {
            let mut account = world.sandbox.account();
            let ids = account.contact_ids();
            let of_status = ids
                .into_iter()
                .find(|id| account.contact(*id).is_some_and(|one| one.status == status));
            lost.extend(of_status);
        }
        assert_eq!(lost.len(), 3);
        for id in &lost {
            // As if only sessions had ever mentioned it.
            world
                .database
                .execute(&format!(
                    "update contacts set created_at = null, updated_at = null, \
                     content_hash = null, email = null where id = '{id}'"
                ))
                .await;
        }
        let contacts = of(&world.repair().await, Resource::Contacts);
        assert_eq!(contacts.missing, set(&lost));
        world.assert_equal().await;
        for id in &lost {
            let whole = format!("id = '{id}' and created_at is not null");
            assert_eq!(world.database.count("contacts", &whole).await, 1);
        }
    })
    .await;
}

#[tokio::test]
async fn lists_are_repaired() {
    on_both(|database| async move {
        let world = World::loaded(database, 60).await;
        let (old, agents) = {
            let account = world.sandbox.account();
            (account.tags(), account.agents())
        };
        assert!(old.len() > 2);
        world
            .database
            .execute(&format!(
                "update tags set removed_at = synced_at where id = '{}'; \
                 update tags set updated_at = created_at, content_hash = 0 where id = '{}'; \
                 update tags set updated_at = '2020-01-01T00:00:00.000000Z' where id = '{}'",
                old[0], old[1], old[1]
            ))
            .await;
        assert!(world.sandbox.account().remove_agent(agents[0]));
        let all = world.repair().await;
        let tags = of(&all, Resource::Tags);
        assert_eq!(tags.missing, set(&[old[0]]));
        assert_eq!(tags.older, set(&[old[1]]));
        assert_eq!(of(&all, Resource::Agents).gone.len(), 1);
        world.assert_equal().await;
        assert_eq!(
            world
                .database
                .count("agents", "removed_at is not null")
                .await,
            1
        );
    })
    .await;
}

#[tokio::test]
async fn an_older_version_is_replaced_where_a_window_is_read() {
    on_both(|database| async move {
        let world = World::loaded(database, 200).await;
        let ids = world.sandbox.account().session_ids();
        world
            .database
            .execute(&format!(
                "update sessions set updated_at = '2020-01-01T00:00:00.000000Z', \
                 status = 'OLD', content_hash = 0 where id = '{}'",
                ids[60]
            ))
            .await;
        let sampled = world
            .engine
            .verify(&[Resource::Sessions], 1_000, world.limits())
            .await;
        assert_eq!(of(&sampled, Resource::Sessions).older, set(&[ids[60]]));
        assert_eq!(world.database.count("sessions", "status = 'OLD'").await, 0);
        world.assert_equal().await;
    })
    .await;
}

#[tokio::test]
async fn what_still_answers_by_its_id_is_not_marked_as_removed() {
    on_both(|database| async move {
        let world = World::loaded(database, 200).await;
        // A row that the list's filter does not show where it is stored.
        let ids = world.sandbox.account().session_ids();
        world
            .database
            .execute(&format!(
                "update sessions set created_at = '2020-01-01T00:00:00.000000Z' \
                 where id = '{}'",
                ids[150]
            ))
            .await;
        world.lose(&ids[20..21]).await;
        let sessions = of(&world.repair().await, Resource::Sessions);
        assert_eq!(sessions.gone, set(&[]));
        assert_eq!(
            world
                .database
                .count("sessions", "removed_at is not null")
                .await,
            0
        );
    })
    .await;
}

#[tokio::test]
async fn the_daemon_verifies_and_repairs_when_it_is_told_to() {
    on_both(|database| async move {
        let world = World::loaded(database, 300).await;
        let intervals = Intervals {
            catalog: Duration::from_mins(15),
            refresh_open: Duration::from_hours(6),
        };
        let engine = Arc::clone(&world.engine);
        let clock = Arc::clone(&world.clock);
        let mut worker = AccountWorker::new(engine, clock, Resource::ALL.to_vec(), intervals);
        let ids: Vec<Uuid> = world.sandbox.account().session_ids();
        world.lose(&ids[5..7]).await;
        world.sandbox.account().delete_session(ids[100]);
        // That the load counted the contacts of each status is no verification.
        let verified = "kind = 'verify'";
        assert_eq!(world.database.count("sync_runs", verified).await, 0);
        worker.step(Trigger::Verify, &world.stop).await;
        world.assert_equal().await;
        let found = "kind = 'verify' and rows_differing = 3";
        assert_eq!(world.database.count("sync_runs", found).await, 1);
        // Every list and stream has its run.
        let parts = i64::try_from(Resource::ALL.len() + 2).unwrap();
        assert_eq!(world.database.count("sync_runs", verified).await, parts);
        worker.step(Trigger::Verify, &world.stop).await;
        assert_eq!(world.database.count("sync_runs", found).await, 1);
        let account = world.engine.lease().account();
        let verified = world.database.store.verified(account).await.unwrap();
        assert_eq!(verified.map(|(_, differing)| differing), Some(3));
    })
    .await;
}

#[tokio::test]
async fn rows_that_were_altered_behind_the_mirrors_back_are_repaired() {
    on_both(|database| async move {
        let world = World::loaded(database, 300).await;
        let mut contacts = Vec::new();
        let (sessions, tags) = {
            let mut account = world.sandbox.account();
            for id in account.contact_ids() {
                let contact = account.contact(id);
                if let Some(contact) = contact
                    && contact.status == ContactStatus::Active
                {
                    contacts.push((contact.updated_at, id));
                }
            }
            (account.session_ids(), account.tags())
        };
        // No comparison leaves out what changed long ago.
        contacts.sort_unstable();
        let contacts: Vec<Uuid> = contacts.into_iter().take(3).map(|(_, id)| id).collect();
        // What the row says of itself, its hash, is that of the version that it no longer holds.
        let old = "updated_at = '2020-01-01T00:00:00.000000Z'";
        world
            .database
            .execute(&format!(
                "update sessions set {old}, title = 'STALE' where id = '{}'; \
                 update tags set {old}, name = 'STALE' where id = '{}'; \
                 update contacts set status = 'BLOCKED' where id in ('{}', '{}', '{}')",
                sessions[60], tags[0], contacts[0], contacts[1], contacts[2]
            ))
            .await;
        let compared = of(&world.compare(0).await, Resource::Contacts);
        assert_eq!(compared.older, set(&contacts));
        let limits = world.limits();
        let all = world.engine.verify(&Resource::ALL, 1_000, limits).await;
        for (resource, older) in [
            (Resource::Sessions, &sessions[60..61]),
            (Resource::Contacts, &contacts[..]),
            (Resource::Tags, &tags[..1]),
        ] {
            let found = of(&all, resource);
            assert_eq!(found.older, set(older), "{resource}");
            assert_eq!(found.unrepaired, set(&[]), "{resource}");
        }
        for table in ["sessions", "tags"] {
            let stale = "updated_at < '2021-01-01T00:00:00.000000Z'";
            assert_eq!(world.database.count(table, stale).await, 0, "{table}");
        }
        assert_eq!(world.database.count("sessions", "title = 'STALE'").await, 0);
        assert_eq!(world.database.count("tags", "name = 'STALE'").await, 0);
        let moved = format!("status = 'BLOCKED' and id = '{}'", contacts[0]);
        assert_eq!(world.database.count("contacts", &moved).await, 0);
        world.assert_equal().await;
    })
    .await;
}
