//! What finding a few differences in a large account costs.

use helena_sync::data::{
    Batch, ColumnGroup, Counters, Progress, Resource, Row, RunKind, Timestamp, Write,
};
use helena_sync::sandbox::SandboxConfig;
use helena_sync::schema::tables;
use helena_sync::store::Commit;
use helena_sync::sync::{Mirror, WalkSettings};
use serde_json::json;
use uuid::Uuid;

use super::{World, of, requests, set};
use crate::support::database::on_both;

const SESSIONS: u32 = 200_000;

/// Rows with nothing but what is compared: loading them all would take the test's whole minute.
fn rows(known: &[(Uuid, Timestamp, Timestamp)]) -> Batch {
    let rows = known
        .iter()
        .map(|(id, created_at, updated_at)| Row {
            key: *id,
            version: Some(*updated_at),
            hash: 1,
            unknown: ColumnGroup::NONE,
            json: json!({"id": id, "created_at": created_at, "updated_at": updated_at}).to_string(),
            raw: None,
        })
        .collect();
    let write = Write {
        table: &tables::SESSIONS,
        rows,
    };
    Batch {
        writes: vec![write],
        ..Batch::default()
    }
}

#[tokio::test]
async fn three_missing_and_two_gone_of_200_000_take_fewer_than_120_requests() {
    on_both(|database| async move {
        let mut world = World::new(database, SandboxConfig::of_size(SESSIONS)).await;
        world.walk = WalkSettings {
            page_size: 100,
            ..world.walk
        };
        let known: Vec<(Uuid, Timestamp, Timestamp)> = {
            let mut account = world.sandbox.account();
            let ids = account.session_ids();
            ids.into_iter()
                .filter_map(|id| {
                    let session = account.session(id)?;
                    let (created, updated) = (session.created_at, session.updated_at);
                    Some((id, created.timestamp(), updated.timestamp()))
                })
                .collect()
        };
        let missing = [11_111, 90_000, 190_001].map(|at: usize| known[at].0);
        let gone = [50_505, 123_456].map(|at: usize| known[at].0);
        let stored: Vec<_> = known
            .iter()
            .filter(|(id, ..)| !missing.contains(id))
            .copied()
            .collect();
        for id in gone {
            world.sandbox.account().delete_session(id);
        }
        let lease = world.engine.lease();
        let store = &world.database.store;
        let now = helena_sync::clock::Clock::now(world.clock.as_ref());
        let run = store
            .begin_run(lease, RunKind::FirstLoad, "sessions", now)
            .await
            .unwrap();
        let stream = Resource::Sessions.streams()[0];
        let progress = [Progress::Watermark { stream, to: now }];
        for part in stored.chunks(5_000) {
            let commit = Commit {
                lease,
                run,
                batch: &rows(part),
                progress: &progress,
                spent: Counters::default(),
                now,
            };
            store.commit(commit).await.unwrap();
        }
        let mirror = Mirror {
            source: &world.client,
            store,
            account: world.account,
            settings: world.walk,
            samples: 0,
            stop: &world.stop,
        };
        let all = mirror.compare(&[Resource::Sessions]).await;
        let found = of(&all, Resource::Sessions);
        assert_eq!(found.missing, set(&missing));
        assert_eq!(found.gone, set(&gone));
        // Contacts and lists, of which nothing is stored here, cost 7 more.
        assert!(requests(&all) + 7 < 120, "{}", requests(&all));
    })
    .await;
}
