//! What a load and a pass cost, in requests, virtual time and statements: counts, never the time
//! that this machine takes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use helena_sync::api::{Client, ClientConfig, Detail};
use helena_sync::clock::{Clock, FakeClock};
use helena_sync::data::{ReadAs, Resource, RunKind, Timestamp};
use helena_sync::sandbox::{RequestLimit, RequestSeen, Sandbox, SandboxConfig};
use helena_sync::store::{Acquired, Holder, OpenOptions, Store};
use helena_sync::sync::{Engine, EngineSettings, RunLimits, Runs, WalkSettings};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::support::database;

/// A load of 100,000 sessions and 40,000 contacts, with records and pages both a twentieth of the
/// real ones: as many requests, under the platform's own limits.
const SESSIONS: u32 = 5_000;
const CONTACTS: u32 = 2_000;
const PAGE: u32 = 5;

struct World {
    clock: Arc<FakeClock>,
    sandbox: Sandbox,
}

impl World {
    async fn of(sessions: u32, contacts: u32, limits: Vec<RequestLimit>) -> Self {
        let start = Timestamp::parse("2026-03-01T12:00:00Z").unwrap();
        let clock = Arc::new(FakeClock::at(start));
        let config = SandboxConfig {
            contacts: Some(contacts),
            limits,
            // Another company for every account.
            seed: sessions.into(),
            ..SandboxConfig::of_size(sessions)
        };
        let sandbox = Sandbox::start(config, Arc::<FakeClock>::clone(&clock))
            .await
            .unwrap();
        Self { clock, sandbox }
    }

    /// An engine that keeps the platform's limits.
    async fn engine(&self, store: &Store, page: u32) -> Engine<Client> {
        let clock = Arc::<FakeClock>::clone(&self.clock);
        let url = self.sandbox.base_url();
        let config = ClientConfig {
            base_url: helena_sync::api::base_url(&url, false).unwrap(),
            token: helena_sync::api::token(self.sandbox.token()).unwrap(),
            sustained: "1000/5m".parse().unwrap(),
            burst: "200/5s".parse().unwrap(),
            share: 1.0,
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_mins(1),
            include_details: ["ContactDetails", "AgentDetails", "ClassificationDetails"]
                .map(|name| name.parse::<Detail>().unwrap())
                .to_vec(),
            patience: None,
            waits_for_limits: false,
        };
        let client = Client::new(config, Arc::<FakeClock>::clone(&clock)).unwrap();
        // On one store every sandbox is an account of its own.
        let name = url.clone();
        let account = store.account(&name, &url, clock.now()).await.unwrap();
        let holder = Holder::current();
        let acquired = store.acquire(account, &holder, clock.now()).await.unwrap();
        let Acquired::Lease(lease) = acquired else {
            panic!("nobody else wants the lease");
        };
        let settings = EngineSettings {
            keep_runs: Duration::from_hours(90 * 24),
            walk: WalkSettings {
                overlap: Duration::from_mins(2),
                page_size: page,
                window_pages: 50,
                concurrency: 4,
            },
            keep_raw: false,
            interleave: Duration::from_mins(1),
            catalog: Duration::from_mins(15),
        };
        Engine::new(
            name,
            Arc::new(client),
            store.clone(),
            clock,
            lease,
            settings,
        )
    }
}

/// What `sync` does.
async fn sync(engine: &Engine<Client>) -> Runs {
    let stop = CancellationToken::new();
    let limits = RunLimits {
        stop: &stop,
        budget: None,
    };
    engine.identify(&stop).await.unwrap();
    let mut runs = engine.lists(&Resource::ALL, limits).await;
    for resource in engine.unloaded(&Resource::ALL).await.unwrap() {
        engine.plan_first_load(resource, limits).await.unwrap();
    }
    runs.extend(engine.incremental(&Resource::ALL, limits).await);
    runs.extend(engine.work_off(&Resource::ALL, limits).await);
    for run in &runs {
        assert!(run.succeeded(), "{run:?}");
    }
    runs
}

/// The least time that so many requests take: whole windows that must pass before the last one.
fn least_time(requests: u64) -> Duration {
    let rounds = |count: u64| u32::try_from((requests - 1) / count).unwrap();
    let burst_of = |rest: u64| Duration::from_secs(5) * u32::try_from((rest - 1) / 200).unwrap();
    let rest = (requests - 1) % 1_000 + 1;
    Duration::from_mins(5) * rounds(1_000) + burst_of(rest)
}

#[tokio::test]
async fn a_load_takes_hardly_more_requests_and_time_than_the_limits_allow_and_no_429() {
    let world = World::of(SESSIONS, CONTACTS, RequestLimit::documented()).await;
    let store = Store::open("sqlite::memory:", &OpenOptions::default())
        .await
        .unwrap();
    store.migrate().await.unwrap();
    let engine = world.engine(&store, PAGE).await;
    // Nobody works while it is loaded: what changes meanwhile is read once more, as it must be.
    world.clock.advance(Duration::from_hours(1));
    let begun = world.clock.now();
    sync(&engine).await;
    let taken = world.clock.now().since(begun);

    let requests = world.sandbox.requests();
    let refused = requests.iter().filter(|request| request.status == 429);
    assert_eq!(refused.count(), 0, "requests that were refused");
    let stored = store.table_counts(engine.lease().account()).await.unwrap();
    let rows = |resource| {
        stored
            .iter()
            .find(|found| found.resource == resource)
            .unwrap()
            .rows
    };
    assert_eq!(rows(Resource::Sessions), u64::from(SESSIONS));
    assert!(rows(Resource::Contacts) >= u64::from(CONTACTS));

    // Every record once, in full pages, and each of the lists.
    let questions = |resource: &Resource| match resource.descriptor().reading {
        ReadAs::List(_, questions) => questions.len() as u64,
        ReadAs::Streams(_) => 0,
    };
    let lists: u64 = Resource::ALL.iter().map(questions).sum();
    let least = u64::from(SESSIONS / PAGE + CONTACTS / PAGE) + lists;
    let made = requests.len() as u64;
    assert!(
        made * 100 <= least * 105,
        "{made} requests where {least} would do: {:?}",
        by_path(&requests)
    );
    let least = least_time(least);
    assert!(
        taken.as_millis() * 100 <= least.as_millis() * 105,
        "{taken:?} where the limits ask for {least:?}"
    );
}

fn by_path(requests: &[RequestSeen]) -> BTreeMap<&str, usize> {
    let mut paths = BTreeMap::new();
    for request in requests {
        *paths.entry(request.path.as_str()).or_default() += 1;
    }
    paths
}

/// Counts the statements that this thread sends to Postgres. sqlx runs those of SQLite in a thread
/// of its own, which has no subscriber.
struct Statements(Arc<AtomicUsize>);

impl<S: tracing::Subscriber> Layer<S> for Statements {
    fn on_event(&self, event: &tracing::Event<'_>, _context: Context<'_, S>) {
        if event.metadata().target() == "sqlx::query" {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Requests, statements and rows read of a pass that finds nothing new in an account that is fully
/// loaded.
async fn idle_pass(store: &Store, sessions: u32) -> (BTreeMap<String, usize>, usize, u64) {
    let world = World::of(sessions, 100, Vec::new()).await;
    let engine = world.engine(store, 100).await;
    sync(&engine).await;
    // Longer than the overlap: nothing of the load is read again.
    world.clock.advance(Duration::from_hours(1));
    sync(&engine).await;
    world.clock.advance(Duration::from_mins(1));

    world.sandbox.take_requests();
    let count = Arc::new(AtomicUsize::new(0));
    let subscriber = tracing_subscriber::registry().with(Statements(Arc::clone(&count)));
    let counting = tracing::subscriber::set_default(subscriber);
    let runs = sync(&engine).await;
    drop(counting);
    let read = runs
        .iter()
        .filter(|run| run.kind == RunKind::Incremental)
        .map(|run| run.counters.rows_read)
        .sum();
    let mut requests = BTreeMap::new();
    for request in world.sandbox.take_requests() {
        *requests.entry(request.path).or_default() += 1;
    }
    (requests, count.load(Ordering::SeqCst), read)
}

async fn costs_the_same(store: &Store) -> usize {
    let small = idle_pass(store, 300).await;
    let large = idle_pass(store, 3_000).await;
    assert_eq!(small, large);
    let (requests, statements, read) = small;
    assert_eq!(read, 0);
    // One for sessions, one for each of the three statuses that contacts are listed by.
    for (path, count) in [("/chat/v2/session", 1), ("/core/v1/contact", 3)] {
        assert_eq!(requests.get(path), Some(&count), "{path} of {requests:?}");
    }
    statements
}

#[tokio::test]
async fn a_pass_without_changes_costs_the_same_whatever_is_stored() {
    let store = Store::open("sqlite::memory:", &OpenOptions::default())
        .await
        .unwrap();
    store.migrate().await.unwrap();
    costs_the_same(&store).await;

    let (mut admin, url) = database::create().await;
    let store = Store::open(&url, &OpenOptions::default()).await.unwrap();
    store.migrate().await.unwrap();
    let statements = costs_the_same(&store).await;
    assert!(statements > 0, "statements are not counted");
    store.close().await;
    database::drop(&mut admin, &url).await;
}
