//! What a progress bar is shown.

use std::sync::Arc;
use std::time::Duration;

use helena_sync::api::{self, Client, ClientConfig};
use helena_sync::clock::SystemClock;
use helena_sync::data::Resource;
use helena_sync::sandbox::{Sandbox, SandboxConfig};
use helena_sync::store::{Acquired, Holder, OpenOptions, Store};
use helena_sync::sync::{Engine, EngineSettings, Report, RunLimits, RunReport, WalkSettings};
use tokio_util::sync::CancellationToken;

const MINUTE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn a_finished_load_is_no_longer_shown() {
    let clock = Arc::new(SystemClock);
    let sandbox = Sandbox::start(SandboxConfig::of_size(30), clock.clone());
    let sandbox = sandbox.await.unwrap();
    let client = Client::new(
        ClientConfig {
            base_url: api::base_url(&sandbox.base_url(), false).unwrap(),
            token: api::token(sandbox.token()).unwrap(),
            sustained: "1000/5m".parse().unwrap(),
            burst: "200/5s".parse().unwrap(),
            share: 1.0,
            connect_timeout: MINUTE,
            read_timeout: MINUTE,
            request_timeout: MINUTE,
            include_details: Vec::new(),
            patience: None,
            waits_for_limits: false,
        },
        clock.clone(),
    );
    let store = Store::open("sqlite::memory:", &OpenOptions::default())
        .await
        .unwrap();
    store.migrate().await.unwrap();
    let account = store.account("default", &sandbox.base_url(), now()).await;
    let holder = Holder::current();
    let lease = store.acquire(account.unwrap(), &holder, now()).await;
    let Acquired::Lease(lease) = lease.unwrap() else {
        panic!("nobody else is there");
    };
    let settings = EngineSettings {
        keep_runs: Duration::from_hours(90 * 24),
        walk: WalkSettings {
            overlap: 2 * MINUTE,
            page_size: 10,
            window_pages: 50,
            concurrency: 2,
        },
        keep_raw: false,
        interleave: MINUTE,
        catalog: 15 * MINUTE,
    };
    let engine = Engine::new(
        "default".to_owned(),
        Arc::new(client.unwrap()),
        store.clone(),
        clock,
        lease,
        settings,
    );
    let stop = CancellationToken::new();
    let limits = RunLimits {
        stop: &stop,
        budget: None,
    };
    let planned = engine.plan_first_load(Resource::Sessions, limits).await;
    planned.unwrap();
    let runs = engine.work_off(&Resource::ALL, limits).await;
    assert!(runs.iter().all(RunReport::succeeded), "{runs:?}");
    assert_eq!(*engine.reports().borrow(), Report::default());
    store.close().await;
    sandbox.stop().await;
}

fn now() -> helena_sync::data::Timestamp {
    use helena_sync::clock::Clock;
    SystemClock.now()
}
