//! A simulated account, and the real client, engine and store that mirror it, all on one clock that
//! moves only when somebody waits on it or a test moves it.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use helena_sync::api::{self, Client, ClientConfig, Detail};
use helena_sync::clock::{Clock as _, FakeClock};
use helena_sync::daemon::{AccountWorker, Intervals};
use helena_sync::data::{Resource, Stream, Timestamp};
use helena_sync::sandbox::{FaultRates, Sandbox, SandboxAccount, SandboxConfig};
use helena_sync::store::{AccountId, Acquired, Holder, Lease, RejectFilter, Store, StoredReject};
use helena_sync::sync::{
    Engine, EngineSettings, FailureAction, RunError, RunLimits, RunReport, Runs, WalkSettings,
};
use tokio_util::sync::CancellationToken;

use super::database::Database;
use super::truth::{Scope, Truth};

/// How long a change may take to become visible, as the engine is told.
pub(crate) const OVERLAP: Duration = Duration::from_mins(2);

/// What a mirror is to be like.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) sandbox: SandboxConfig,
    /// The account's name in the database.
    pub(crate) name: &'static str,
    pub(crate) details: Vec<Detail>,
    pub(crate) patience: Option<Duration>,
    pub(crate) walk: WalkSettings,
    pub(crate) keep_raw: bool,
    pub(crate) resources: Vec<Resource>,
}

impl Plan {
    /// An account of so many sessions, in pages of 20.
    pub(crate) fn of(sessions: u32) -> Self {
        Self {
            sandbox: SandboxConfig::of_size(sessions),
            name: "default",
            details: Detail::ALL.to_vec(),
            patience: None,
            walk: WalkSettings {
                overlap: OVERLAP,
                page_size: 20,
                window_pages: 8,
                concurrency: 4,
            },
            keep_raw: false,
            resources: Resource::ALL.to_vec(),
        }
    }
}

/// An account and its mirror.
pub(crate) struct Mirror {
    pub(crate) database: Database,
    pub(crate) clock: Arc<FakeClock>,
    pub(crate) sandbox: Sandbox,
    pub(crate) client: Client,
    pub(crate) engine: Engine<Client>,
    pub(crate) account: AccountId,
    pub(crate) plan: Plan,
    pub(crate) stop: CancellationToken,
}

/// The instant at which all of these stories begin.
pub(crate) fn beginning() -> Timestamp {
    Timestamp::parse("2026-05-04T14:00:00.25Z").unwrap()
}

impl Mirror {
    /// An account that nobody has read yet.
    pub(crate) async fn begin(database: Database, plan: Plan) -> Self {
        let clock = Arc::new(FakeClock::at(beginning()));
        Self::on(database, plan, clock).await
    }

    /// The same, on a clock that others use too.
    pub(crate) async fn on(database: Database, plan: Plan, clock: Arc<FakeClock>) -> Self {
        let shared: Arc<dyn helena_sync::clock::Clock> = Arc::clone(&clock) as _;
        let sandbox = Sandbox::start(plan.sandbox.clone(), Arc::clone(&shared))
            .await
            .unwrap();
        let client = client(&sandbox, &plan, &clock);
        let account = database
            .store
            .account(plan.name, &sandbox.base_url(), clock.now())
            .await
            .unwrap();
        let engine = engine(&database.store, &client, &plan, account, &clock).await;
        Self {
            database,
            clock,
            sandbox,
            client,
            engine,
            account,
            plan,
            stop: CancellationToken::new(),
        }
    }

    /// What a process that is started anew has: another client and engine, the same database.
    pub(crate) async fn restart(&mut self) {
        let Self {
            database,
            clock,
            sandbox,
            plan,
            account,
            ..
        } = self;
        database.store.release(self.engine.lease()).await.unwrap();
        self.client = client(sandbox, plan, clock);
        self.engine = engine(&database.store, &self.client, plan, *account, clock).await;
        self.stop = CancellationToken::new();
    }

    pub(crate) fn limits(&self) -> RunLimits<'_> {
        RunLimits {
            stop: &self.stop,
            budget: None,
        }
    }

    /// A daemon that has just been started under the mirror's lease.
    pub(crate) fn worker(&self, intervals: Intervals) -> AccountWorker<Client> {
        let lease = self.engine.lease().clone();
        let store = &self.database.store;
        let engine = engine_under(store, &self.client, &self.plan, &self.clock, lease);
        let clock = Arc::clone(&self.clock);
        AccountWorker::new(
            Arc::new(engine),
            clock,
            self.plan.resources.clone(),
            intervals,
        )
    }

    /// What writes under another lease.
    pub(crate) fn engine_under(&self, lease: Lease) -> Engine<Client> {
        let store = &self.database.store;
        engine_under(store, &self.client, &self.plan, &self.clock, lease)
    }

    /// Begins as a process does: with what is stored of the platform.
    pub(crate) async fn restart_knowing(&mut self) {
        self.restart().await;
        let learned = self.database.store.learned(self.account).await.unwrap();
        self.client.remember(&learned);
        let engine = self.engine_under(self.engine.lease().clone());
        self.engine = engine.remembering(learned);
    }

    /// Looks into the account, or changes it.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut SandboxAccount) -> T) -> T {
        change(&mut self.sandbox.account())
    }

    /// What `helena-sync sync` does: lists, loads that are due or unfinished, changes.
    pub(crate) async fn sync(&self) -> Runs {
        Box::pin(self.sync_within(None)).await
    }

    /// The same, with so many records at most.
    pub(crate) async fn sync_within(&self, budget: Option<&AtomicU64>) -> Runs {
        let limits = RunLimits {
            stop: &self.stop,
            budget,
        };
        let resources = &self.plan.resources;
        let mut runs = self.engine.lists(resources, limits).await;
        for resource in self.engine.unloaded(resources).await.unwrap() {
            match self.engine.plan_first_load(resource, limits).await {
                Ok(_) => {}
                Err(error) => runs.push(failed(resource, error)),
            }
        }
        runs.extend(self.engine.incremental(resources, limits).await);
        runs.extend(self.engine.work_off(resources, limits).await);
        runs
    }

    /// One incremental pass over everything.
    pub(crate) async fn pass(&self) -> Runs {
        self.engine
            .incremental(&self.plan.resources, self.limits())
            .await
    }

    /// The first load of everything, and a pass behind it.
    pub(crate) async fn load(&self) -> Runs {
        let mut runs = self.sync().await;
        runs.extend(self.pass().await);
        assert_good(&runs);
        runs
    }

    /// Nothing changes or fails any more, and everything late has become visible: the passes that
    /// then have to make the mirror perfect.
    pub(crate) async fn quiet(&self) -> Runs {
        self.sandbox.clear_hooks();
        self.change(|account| {
            account.faults = FaultRates::default();
            account.moods.late_share = 0.0;
        });
        let mut runs = Runs::new();
        for _ in 0..2 {
            self.clock.advance(OVERLAP * 3);
            runs.extend(self.sync().await);
        }
        assert_good(&runs);
        runs
    }

    /// What the account holds now.
    pub(crate) fn truth(&self) -> Truth {
        self.change(Truth::of)
    }

    /// Compares everything, also the tags that sessions had.
    pub(crate) async fn assert_mirrors(&self) {
        self.assert_mirrors_within(&Scope::default()).await;
    }

    /// Compares what belongs to the scope.
    pub(crate) async fn assert_mirrors_within(&self, scope: &Scope) {
        super::truth::assert_mirrors(&self.database, self.account, &self.truth(), scope).await;
    }

    /// The stored watermark of a stream.
    pub(crate) async fn watermark(&self, stream: Stream) -> Option<Timestamp> {
        let state = self.database.store.state(self.account, stream).await;
        state.unwrap().watermark
    }

    /// The watermarks of all streams.
    pub(crate) async fn watermarks(&self) -> Vec<(Stream, Option<Timestamp>)> {
        let states = self.database.store.states(self.account).await.unwrap();
        let mut watermarks: Vec<_> = states
            .into_iter()
            .map(|state| (state.stream, state.watermark))
            .collect();
        watermarks.sort_unstable();
        watermarks
    }

    /// The rejects that are not resolved.
    pub(crate) async fn rejects(&self) -> Vec<StoredReject> {
        let filter = RejectFilter::default();
        let rejects = self.database.store.rejects(self.account, filter).await;
        rejects.unwrap()
    }

    /// Everything that is stored of the account's records, with when and by which run.
    pub(crate) async fn contents(&self) -> Vec<String> {
        let mut contents = Vec::new();
        for (table, key) in super::truth::TABLES {
            contents.extend(
                self.database
                    .texts(&format!(
                        "select '{table}' || cast({key} as text) || cast(synced_at as text) \
                         || cast(run_id as text) from {table} where account_id = {} order by 1",
                        self.account.0
                    ))
                    .await,
            );
        }
        contents
    }
}

fn client(sandbox: &Sandbox, plan: &Plan, clock: &Arc<FakeClock>) -> Client {
    let config = ClientConfig {
        base_url: api::base_url(&sandbox.base_url(), false).unwrap(),
        token: api::token(sandbox.token()).unwrap(),
        sustained: "1000/5m".parse().unwrap(),
        burst: "200/5s".parse().unwrap(),
        share: 0.9,
        connect_timeout: Duration::from_secs(10),
        read_timeout: Duration::from_secs(20),
        request_timeout: Duration::from_mins(1),
        include_details: plan.details.clone(),
        patience: plan.patience,
        waits_for_limits: false,
    };
    Client::new(config, Arc::clone(clock) as _).unwrap()
}

async fn engine(
    store: &Store,
    client: &Client,
    plan: &Plan,
    account: AccountId,
    clock: &Arc<FakeClock>,
) -> Engine<Client> {
    let holder = Holder::current();
    let lease = match store.acquire(account, &holder, clock.now()).await.unwrap() {
        Acquired::Lease(lease) => lease,
        Acquired::Held(held) => panic!("held by {}", held.by),
    };
    engine_under(store, client, plan, clock, lease)
}

fn engine_under(
    store: &Store,
    client: &Client,
    plan: &Plan,
    clock: &Arc<FakeClock>,
    lease: Lease,
) -> Engine<Client> {
    let settings = EngineSettings {
        walk: plan.walk,
        keep_raw: plan.keep_raw,
        keep_runs: Duration::from_hours(90 * 24),
        interleave: Duration::from_mins(1),
        catalog: Duration::from_mins(15),
    };
    Engine::new(
        plan.name.to_owned(),
        Arc::new(client.clone()),
        store.clone(),
        Arc::clone(clock) as _,
        lease,
        settings,
    )
}

fn failed(resource: Resource, error: RunError) -> RunReport {
    RunReport::failed(helena_sync::data::RunKind::FirstLoad, resource, error)
}

/// Why runs failed, by what they read.
pub(crate) fn failures(runs: &[RunReport]) -> Vec<(String, String)> {
    runs.iter()
        .filter_map(|run| {
            let error = run.error.as_ref()?;
            (error.action() != FailureAction::Stop).then(|| (run.subject(), error.line()))
        })
        .collect()
}

/// Fails unless all runs read and stored everything.
pub(crate) fn assert_good(runs: &[RunReport]) {
    let failures: Vec<_> = runs
        .iter()
        .filter_map(|run| Some((run.subject(), run.kind, run.error.as_ref()?.line())))
        .collect();
    assert!(failures.is_empty(), "{failures:#?}");
}

/// The sessions' one stream.
pub(crate) fn sessions() -> Stream {
    Resource::Sessions.streams()[0]
}
