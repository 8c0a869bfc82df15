//! What finding a few differences in a large account costs.

use helena_sync::data::{Batch, Counters, Resource, Row, RunKind, StateChange, Stream, Timestamp};
use helena_sync::sandbox::SandboxConfig;
use helena_sync::schema::tables;
use helena_sync::store::Commit;
use helena_sync::sync::{Mirror, WalkSettings};
use serde_json::json;
use uuid::Uuid;

use super::{World, of, requests, set};
use crate::support::database::{Kind, on_both};
use crate::support::rows::{batch, row};

/// Rows with nothing but what is compared: loading them all would take the test's whole minute.
fn rows(known: &[(Uuid, Timestamp, Timestamp)]) -> Batch {
    let rows = known.iter().map(|(id, created_at, updated_at)| {
        let [created, updated] = [created_at, updated_at].map(|at| json!(at).to_string());
        let given = [("created_at", created.as_str()), ("updated_at", &updated)];
        Row {
            version: Some(*updated_at),
            ..row(&tables::SESSIONS, *id, &given)
        }
    });
    batch(&tables::SESSIONS, rows.collect())
}

#[tokio::test]
async fn three_missing_and_two_gone_of_200_000_take_fewer_than_120_requests() {
    on_both(|database| async move {
        // The questions are the same on either database; to fill a large one twice shows no more.
        let size: u32 = match database.kind {
            Kind::Sqlite => 200_000,
            Kind::Postgres => 20_000,
        };
        let mut world = World::new(database, SandboxConfig::of_size(size)).await;
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
        let at = |percent: usize| known[known.len() * percent / 100].0;
        let missing = [5, 45, 95].map(at);
        let gone = [25, 62].map(at);
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
            .begin_run(
                lease,
                RunKind::FirstLoad,
                Stream::whole(Resource::Sessions),
                now,
            )
            .await
            .unwrap();
        let stream = Resource::Sessions.streams()[0];
        let progress = [StateChange::Watermark {
            stream,
            to: now,
            seen_at: now,
        }];
        for part in stored.chunks(5_000) {
            let commit = Commit {
                lease,
                run,
                batch: &rows(part),
                state_changes: &progress,
                spent: Counters::default(),
                now,
                overlap: world.walk.overlap,
            };
            store.commit(commit).await.unwrap();
        }
        let mirror = Mirror {
            source: &world.client,
            store,
            account: world.account,
            settings: world.walk,
            samples: 0,
            clock: world.clock.as_ref(),
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
