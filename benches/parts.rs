//! The parts by themselves: reading, mapping, walking, writing, and a pass that finds nothing.
//!
//! `cargo bench --bench parts`, or `scripts/with-postgres cargo bench --bench parts` for both
//! databases. Whole processes are measured by `scripts/bench`.

#![expect(clippy::unwrap_used, reason = "a bench that cannot run says where")]

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use helena_sync::api::{self, Client, ClientConfig, Detail};
use helena_sync::clock::{Clock as _, SystemClock};
use helena_sync::data::{
    BackfillWindow, Batch, Counters, Order, Page, PageQuery, Resource, RunKind, Source,
    SourceError, Span, Stream, Usage,
};
use helena_sync::sandbox::{Sandbox, SandboxConfig};
use helena_sync::schema::BatchBuilder;
use helena_sync::store::{Acquired, Commit, Holder, Lease, OpenOptions, Store};
use helena_sync::sync::walk::Walk;
use helena_sync::sync::{Engine, EngineSettings, RunLimits, WalkSettings};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

fn main() {
    divan::main();
}

/// Pages of a commit.
const PAGES: u32 = 10;

const SESSIONS: Stream = Stream::whole(Resource::Sessions);

const WALK: WalkSettings = WalkSettings {
    overlap: Duration::from_mins(2),
    page_size: 100,
    window_pages: 1_000,
    concurrency: 4,
};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// Ten pages of a hundred sessions with all details.
static READ: LazyLock<Vec<Page>> = LazyLock::new(|| {
    RUNTIME.block_on(async {
        let config = SandboxConfig::of_size(PAGES * 100);
        let sandbox = Sandbox::start(config, Arc::new(SystemClock)).await.unwrap();
        let client = client(&sandbox.base_url());
        let mut pages = Vec::new();
        for number in 1..=PAGES {
            pages.push(client.page(&query(number)).await.unwrap());
        }
        sandbox.stop().await;
        pages
    })
});

fn query(number: u32) -> PageQuery {
    PageQuery {
        stream: SESSIONS,
        created: Span::OPEN,
        updated: Span::OPEN,
        filter: Arc::default(),
        order: Some(Order::CREATED),
        number,
        size: 100,
    }
}

fn client(url: &str) -> Client {
    let config = ClientConfig {
        base_url: api::base_url(url, false).unwrap(),
        token: api::token("pn_sandbox").unwrap(),
        sustained: "1000000/1m".parse().unwrap(),
        burst: "1000000/1s".parse().unwrap(),
        share: 1.0,
        connect_timeout: Duration::from_secs(10),
        read_timeout: Duration::from_secs(10),
        request_timeout: Duration::from_secs(10),
        include_details: [
            "AgentDetails",
            "DepartmentsDetails",
            "ContactDetails",
            "ChannelTypeDetails",
            "ClassificationDetails",
            "ChannelDetails",
        ]
        .map(|name| name.parse::<Detail>().unwrap())
        .to_vec(),
        patience: None,
        waits_for_limits: false,
    };
    Client::new(config, Arc::new(SystemClock)).unwrap()
}

fn map(pages: &[Page]) -> Batch {
    let mut builder = BatchBuilder::new(Resource::Sessions, false);
    for page in pages {
        builder.add(page);
    }
    builder.finish()
}

/// Pages as they were read become rows.
#[divan::bench]
fn normalise_1000_sessions(bencher: Bencher<'_, '_>) {
    bencher
        .counter(ItemsCount::new(PAGES * 100))
        .bench(|| map(black_box(&READ)));
}

/// Ten pages, each asked for, received uncompressed over loopback, and cut into records.
#[divan::bench]
fn fetch_and_decode_1000_sessions(bencher: Bencher<'_, '_>) {
    let client = client(&RUNTIME.block_on(serve(&READ[0])));
    bencher.counter(ItemsCount::new(PAGES * 100)).bench(|| {
        RUNTIME.block_on(async {
            for number in 1..=PAGES {
                black_box(client.page(&query(number)).await.unwrap());
            }
        });
    });
}

/// A server that answers everything with one page; yields its address.
async fn serve(page: &Page) -> String {
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ndate: Sun, 01 Mar 2026 12:00:00 GMT\
         \r\ncontent-length: {}\r\n\r\n{}",
        page.body.len(),
        page.body
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                // A question of the client's is short and comes in one piece.
                let mut question = [0; 8_192];
                while let Ok(1..) = stream.read(&mut question).await {
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    format!("http://{address}")
}

/// A source that has its pages at hand.
struct AtHand(Vec<Page>);

impl Source for AtHand {
    async fn page(&self, query: &PageQuery) -> Result<Page, SourceError> {
        let index = usize::try_from(query.number - 1).unwrap();
        let mut page = self.0[index].clone();
        page.total = Some(self.0.len() as u64 * 100);
        page.has_more = index + 1 < self.0.len();
        Ok(page)
    }

    async fn list(&self, _resource: Resource) -> Result<Page, SourceError> {
        unreachable!("sessions are no list")
    }

    async fn by_id(&self, _resource: Resource, _id: Uuid) -> Result<Page, SourceError> {
        unreachable!("nothing is asked for one by one")
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }
}

/// What a walk does with ten pages besides waiting for them: order, counts, the channel.
#[divan::bench]
fn walk_over_1000_sessions(bencher: Bencher<'_, '_>) {
    let source = AtHand(READ.clone());
    let window = BackfillWindow {
        id: 1,
        stream: SESSIONS,
        created: Span::OPEN,
        filter: 0,
    };
    bencher.counter(ItemsCount::new(PAGES * 100)).bench(|| {
        RUNTIME.block_on(async {
            let stop = CancellationToken::new();
            let (out, mut chunks) = tokio::sync::mpsc::channel(8);
            let walk = Walk::new(&source, SESSIONS, WALK, &stop, out);
            let window = &window;
            let walking = async move { walk.backfill_window(window).await.unwrap() };
            let draining = async { while chunks.recv().await.is_some() {} };
            black_box(futures::join!(walking, draining));
        });
    });
}

/// A database with its tables, and the right to write to it.
struct Mirror {
    store: Store,
    lease: Lease,
    run: i64,
    _folder: tempfile::TempDir,
}

impl Mirror {
    async fn open(kind: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = match kind {
            "SQLite" => format!("sqlite://{}/mirror.db", folder.path().display()),
            _ => fresh_postgres().await,
        };
        let store = Store::open(&url, &OpenOptions::default()).await.unwrap();
        store.migrate().await.unwrap();
        let now = SystemClock.now();
        let account = store.account("bench", "http://bench", now).await.unwrap();
        let holder = Holder::current();
        let Acquired::Lease(lease) = store.acquire(account, &holder, now).await.unwrap() else {
            unreachable!("nobody else knows this database")
        };
        let run = store
            .begin_run(
                &lease,
                RunKind::Backfill,
                Stream::whole(Resource::Sessions),
                now,
            )
            .await
            .unwrap();
        Self {
            store,
            lease,
            run,
            _folder: folder,
        }
    }

    async fn commit(&self, batch: &Batch) -> Counters {
        let commit = Commit {
            lease: &self.lease,
            run: self.run,
            batch,
            state_changes: &[],
            spent: Counters::default(),
            now: SystemClock.now(),
            overlap: Duration::from_mins(2),
        };
        self.store.commit(commit).await.unwrap()
    }
}

/// Postgres only where there is one.
fn databases() -> Vec<&'static str> {
    match std::env::var("TEST_POSTGRES_URL") {
        Ok(_) => vec!["SQLite", "Postgres"],
        Err(_) => vec!["SQLite"],
    }
}

async fn fresh_postgres() -> String {
    let admin = std::env::var("TEST_POSTGRES_URL").unwrap();
    let mut connection = PgConnection::connect(&admin).await.unwrap();
    for sql in [
        "drop database if exists helena_bench_parts with (force)",
        "create database helena_bench_parts",
    ] {
        sqlx::query(AssertSqlSafe(sql))
            .execute(&mut connection)
            .await
            .unwrap();
    }
    let mut url: url::Url = admin.parse().unwrap();
    url.set_path("helena_bench_parts");
    url.into()
}

/// Sessions that are not stored yet, with everything that they mention.
#[divan::bench(args = databases(), sample_count = 10, sample_size = 1)]
fn insert_1000_sessions(bencher: Bencher<'_, '_>, kind: &str) {
    let batch = map(&READ);
    bencher
        .counter(ItemsCount::new(PAGES * 100))
        .with_inputs(|| RUNTIME.block_on(Mirror::open(kind)))
        .bench_refs(|mirror| RUNTIME.block_on(mirror.commit(&batch)));
}

/// Sessions that are stored as they are.
#[divan::bench(args = databases())]
fn re_read_1000_unchanged_sessions(bencher: Bencher<'_, '_>, kind: &str) {
    let batch = map(&READ);
    let mirror = RUNTIME.block_on(Mirror::open(kind));
    RUNTIME.block_on(mirror.commit(&batch));
    bencher
        .counter(ItemsCount::new(PAGES * 100))
        .bench(|| RUNTIME.block_on(mirror.commit(&batch)));
}

/// Sessions that are stored, with other content.
#[divan::bench(args = databases())]
fn update_1000_sessions(bencher: Bencher<'_, '_>, kind: &str) {
    let mut batch = map(&READ);
    let mirror = RUNTIME.block_on(Mirror::open(kind));
    RUNTIME.block_on(mirror.commit(&batch));
    bencher
        .counter(ItemsCount::new(PAGES * 100))
        .bench_local(|| {
            let sessions = batch
                .writes
                .iter_mut()
                .find(|write| write.table.name == "sessions");
            for row in &mut sessions.unwrap().rows {
                row.hash = row.hash.wrapping_add(1);
            }
            RUNTIME.block_on(mirror.commit(&batch))
        });
}

/// A pass over sessions and contacts that finds nothing, with so many sessions stored.
#[divan::bench(args = [1_000, 10_000], max_time = 3)]
fn pass_without_changes(bencher: Bencher<'_, '_>, sessions: u32) {
    let (sandbox, mirror) = RUNTIME.block_on(async {
        let config = SandboxConfig::of_size(sessions);
        let sandbox = Sandbox::start(config, Arc::new(SystemClock)).await.unwrap();
        (sandbox, Mirror::open("SQLite").await)
    });
    let settings = EngineSettings {
        keep_runs: Duration::from_hours(24),
        walk: WalkSettings {
            window_pages: 50,
            ..WALK
        },
        keep_raw: false,
        interleave: Duration::from_hours(1),
        catalog: Duration::from_hours(1),
    };
    let resources = [Resource::Sessions, Resource::Contacts];
    let engine = Engine::new(
        "bench".to_owned(),
        Arc::new(client(&sandbox.base_url())),
        mirror.store.clone(),
        Arc::new(SystemClock),
        mirror.lease.clone(),
        settings,
    );
    let stop = CancellationToken::new();
    let limits = RunLimits {
        stop: &stop,
        budget: None,
    };
    RUNTIME.block_on(async {
        for &resource in &resources {
            engine.plan_first_load(resource, limits).await.unwrap();
        }
        engine.work_off(&resources, limits).await;
    });
    bencher.bench(|| RUNTIME.block_on(engine.incremental(&resources, limits)));
}
