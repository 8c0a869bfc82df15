//! Stories of `verify`: a simulated account and its mirror, made to differ.

mod asking;
mod finding;
mod playing;
mod repairing;
mod scale;
mod versions;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use helena_sync::api::{self, Client, ClientConfig, Detail};
use helena_sync::clock::{Clock, FakeClock};
use helena_sync::data::{Resource, Timestamp};
use helena_sync::sandbox::{Sandbox, SandboxConfig};
use helena_sync::store::{AccountId, Acquired, Holder, Lease, Store};
use helena_sync::sync::{
    Comparison, Engine, EngineSettings, Mirror, Outcome, RunLimits, Verified, WalkSettings,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::support::database::Database;

/// An account, and what writes its mirror.
struct World {
    database: Database,
    clock: Arc<FakeClock>,
    sandbox: Sandbox,
    client: Client,
    account: AccountId,
    engine: Arc<Engine<Client>>,
    walk: WalkSettings,
    stop: CancellationToken,
}

impl World {
    /// An account that was loaded, and whose every record has long been visible.
    async fn loaded(database: Database, sessions: u32) -> Self {
        let world = Self::new(database, SandboxConfig::of_size(sessions)).await;
        world.load().await;
        world
    }

    /// Another account, beside others in the same database.
    async fn loaded_as(database: Database, sessions: u32, name: &str) -> Self {
        let config = SandboxConfig {
            seed: u64::from(sessions),
            ..SandboxConfig::of_size(sessions)
        };
        let world = Self::named(database, config, name).await;
        world.load().await;
        world
    }

    async fn new(database: Database, config: SandboxConfig) -> Self {
        Self::named(database, config, "default").await
    }

    async fn named(database: Database, config: SandboxConfig, name: &str) -> Self {
        let start = Timestamp::parse("2026-05-04T14:00:00.25Z").unwrap();
        let clock = Arc::new(FakeClock::at(start));
        let shared: Arc<dyn Clock> = clock.clone();
        let sandbox = Sandbox::start(config, Arc::clone(&shared)).await.unwrap();
        let client = client(&sandbox, &shared, &Detail::ALL);
        let store = database.store.clone();
        let account = store
            .account(name, &sandbox.base_url(), start)
            .await
            .unwrap();
        let acquired = store.acquire(account, &Holder::current(), start).await;
        let Acquired::Lease(lease) = acquired.unwrap() else {
            panic!("somebody else writes");
        };
        let walk = WalkSettings {
            overlap: Duration::from_mins(2),
            page_size: 10,
            window_pages: 50,
            concurrency: 4,
        };
        let engine = engine(&client, store, shared, lease, walk);
        Self {
            database,
            clock,
            sandbox,
            client,
            account,
            engine: Arc::new(engine),
            walk,
            stop: CancellationToken::new(),
        }
    }

    /// Asks for these details of sessions from now on, where it only compares.
    fn ask_for(&mut self, details: &[Detail]) {
        let clock: Arc<dyn Clock> = self.clock.clone();
        self.client = client(&self.sandbox, &clock, details);
    }

    fn set_page_size(&mut self, size: u32) {
        self.walk.page_size = size;
        let lease = self.engine.lease().clone();
        let store = self.database.store.clone();
        let clock = self.clock.clone();
        self.engine = Arc::new(engine(&self.client, store, clock, lease, self.walk));
    }

    fn limits(&self) -> RunLimits<'_> {
        RunLimits {
            stop: &self.stop,
            budget: None,
        }
    }

    async fn load(&self) {
        self.engine.identify(&self.stop).await.unwrap();
        for resource in [Resource::Sessions, Resource::Contacts] {
            let planned = self.engine.plan_first_load(resource, self.limits()).await;
            planned.unwrap();
        }
        let mut runs = self.engine.work_off(&Resource::ALL, self.limits()).await;
        self.clock.advance(Duration::from_mins(10));
        runs.extend(self.pass().await);
        for run in runs {
            assert!(run.succeeded(), "{:?}", run.error);
        }
    }

    /// Lists and changes.
    async fn pass(&self) -> helena_sync::sync::Runs {
        let mut runs = self.engine.lists(&Resource::ALL, self.limits()).await;
        runs.extend(self.engine.incremental(&Resource::ALL, self.limits()).await);
        runs
    }

    /// Compares without writing.
    async fn compare(&self, samples: u32) -> Vec<Verified> {
        let mirror = Mirror {
            source: &self.client,
            store: &self.database.store,
            account: self.account,
            settings: self.walk,
            samples,
            clock: self.clock.as_ref(),
            stop: &self.stop,
        };
        mirror.compare(&Resource::ALL).await
    }

    async fn repair(&self) -> Vec<Verified> {
        self.engine.verify(&Resource::ALL, 0, self.limits()).await
    }

    /// Takes sessions out of the database, as nothing that works well ever does.
    async fn lose(&self, ids: &[Uuid]) {
        for id in ids {
            self.database
                .execute(&format!(
                    "delete from session_tags where session_id = '{id}'; \
                     delete from sessions where id = '{id}'"
                ))
                .await;
        }
    }

    async fn assert_equal(&self) {
        for verified in self.compare(1_000).await {
            assert_eq!(found(&verified).differences(), 0, "{verified:?}");
        }
        let mut ids: Vec<Uuid> = self.sandbox.account().session_ids();
        ids.sort_unstable();
        let stored = self
            .database
            .texts(
                "select cast(id as text) from sessions where removed_at is null \
                 order by cast(id as text)",
            )
            .await;
        assert_eq!(stored, ids.iter().map(Uuid::to_string).collect::<Vec<_>>());
    }
}

fn client(sandbox: &Sandbox, clock: &Arc<dyn Clock>, details: &[Detail]) -> Client {
    let config = ClientConfig {
        base_url: api::base_url(&sandbox.base_url(), false).unwrap(),
        token: api::token(sandbox.token()).unwrap(),
        sustained: "1000/5m".parse().unwrap(),
        burst: "200/5s".parse().unwrap(),
        share: 0.9,
        connect_timeout: Duration::from_secs(10),
        read_timeout: Duration::from_secs(20),
        request_timeout: Duration::from_mins(1),
        include_details: details.to_vec(),
        patience: None,
        waits_for_limits: false,
    };
    Client::new(config, Arc::clone(clock)).unwrap()
}

fn engine(
    client: &Client,
    store: Store,
    clock: Arc<dyn Clock>,
    lease: Lease,
    walk: WalkSettings,
) -> Engine<Client> {
    let settings = EngineSettings {
        keep_runs: Duration::from_hours(90 * 24),
        walk,
        keep_raw: false,
        interleave: Duration::from_mins(1),
        catalog: Duration::from_mins(15),
    };
    let source = Arc::new(client.clone());
    Engine::new("default".to_owned(), source, store, clock, lease, settings)
}

fn found(verified: &Verified) -> &Comparison {
    match &verified.outcome {
        Outcome::Compared(found) => found,
        other => panic!("{}: {other:?}", verified.subject),
    }
}

/// What was found of a resource, its streams put together.
fn of(all: &[Verified], resource: Resource) -> Comparison {
    let mut sum = Comparison::default();
    for verified in all.iter().filter(|one| one.resource == resource) {
        let found = found(verified);
        sum.missing.extend(&found.missing);
        sum.older.extend(&found.older);
        sum.newer.extend(&found.newer);
        sum.altered.extend(&found.altered);
        sum.gone.extend(&found.gone);
        sum.failed.extend(found.failed.clone());
        sum.left += found.left;
        sum.unrepaired.extend(&found.unrepaired);
        sum.unread += found.unread;
        sum.rejected += found.rejected;
        sum.sampled += found.sampled;
    }
    sum
}

fn requests_of(all: &[Verified], resource: Resource) -> u64 {
    let of = all.iter().filter(|verified| verified.resource == resource);
    of.map(|verified| verified.requests).sum()
}

fn requests(all: &[Verified]) -> u64 {
    all.iter().map(|verified| verified.requests).sum()
}

fn set(ids: &[Uuid]) -> BTreeSet<Uuid> {
    ids.iter().copied().collect()
}
