//! A process that is killed between two of its transactions, at each place where that can happen.
//!
//! On SQLite the story is told once: the file's log holds every transaction, and cut off behind the
//! n-th it is what the process would have left. On Postgres the story is told once for each death,
//! through a proxy that ends just before the n-th commit.
//!
//! Where not every death is tried, the first one is drawn, so that other ones are tried each time.
//! `DEATHS_SEED` repeats a draw, which a test that fails has printed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use helena_sync::store::{OpenOptions, Store};
use tempfile::TempDir;

use super::database::{self, Database, Kind};
use super::mirror::{Mirror, Plan};
use super::proxy::Proxy;

/// What happens to a mirror whose process dies.
pub(crate) struct Story<P, A, H> {
    pub(crate) plan: Plan,
    /// What was before. On Postgres it is done again before each death.
    pub(crate) before: P,
    /// What is being done as the process dies.
    pub(crate) act: A,
    /// What the next process does, and what must be true then. The number says after how many
    /// transactions the process died.
    pub(crate) next: H,
    /// Of so many deaths one is tried on Postgres, where each costs the whole story; on SQLite it is
    /// one of an eighth as many.
    pub(crate) every: usize,
}

impl<P, A, H> Story<P, A, H>
where
    P: AsyncFn(&mut Mirror),
    A: AsyncFn(&mut Mirror),
    H: AsyncFn(&mut Mirror, usize),
{
    /// Tells it on both databases.
    pub(crate) async fn told(&self) {
        let seed = std::env::var("DEATHS_SEED").ok();
        let seed = seed.map_or_else(|| fastrand::u64(..1_000_000), |seed| seed.parse().unwrap());
        println!("DEATHS_SEED={seed}");
        let mut dice = fastrand::Rng::with_seed(seed);
        let step = (self.every / 8).max(1);
        self.on_sqlite(dice.usize(..step), step).await;
        self.on_postgres(dice.usize(..self.every)).await;
    }

    async fn on_sqlite(&self, first: usize, step: usize) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mirror.db");
        let mut mirror = Mirror::begin(open_file(&file).await, self.plan.clone()).await;
        (self.before)(&mut mirror).await;
        // Folds the log into the file, so that the next log holds this story alone.
        mirror.database.store.close().await;
        let base = std::fs::read(&file).unwrap();
        started(&mut mirror, open_file(&file).await).await;
        (self.act)(&mut mirror).await;
        assert_eq!(base, std::fs::read(&file).unwrap(), "the log was folded");
        let log = std::fs::read(beside(&file, "-wal")).unwrap();
        let ends = transactions(&log);
        assert!(ends.len() > 1, "nothing was written");
        let opened = mirror.database.store.clone();
        let deaths = std::iter::once(0).chain(ends).enumerate();
        for (count, end) in deaths.skip(first).step_by(step) {
            let left: TempDir = tempfile::tempdir().unwrap();
            let file = left.path().join("mirror.db");
            std::fs::write(&file, &base).unwrap();
            std::fs::write(beside(&file, "-wal"), &log[..end]).unwrap();
            started(&mut mirror, open_file(&file).await).await;
            (self.next)(&mut mirror, count).await;
            mirror.database.store.close().await;
        }
        opened.close().await;
    }

    async fn on_postgres(&self, first: usize) {
        let (mut admin, url) = database::create().await;
        let database = database::open(Kind::Postgres, url.clone()).await;
        let mut mirror = Mirror::begin(database.clone(), self.plan.clone()).await;
        for commits in (1 + first..).step_by(self.every) {
            (self.before)(&mut mirror).await;
            let (proxy, cut) = Proxy::until_commit(&url, commits).await;
            let store = Store::open(&proxy.address(&url), &OpenOptions::default())
                .await
                .unwrap()
                .with_patience(Duration::from_secs(20));
            let through = Database {
                store,
                ..database.clone()
            };
            let acted = async {
                started(&mut mirror, through).await;
                (self.act)(&mut mirror).await;
            };
            let died = tokio::select! {
                biased;
                () = cut.cancelled() => true,
                () = acted => false,
            };
            started(&mut mirror, database.clone()).await;
            (self.next)(&mut mirror, commits - 1).await;
            if !died {
                assert!(commits > 2, "nothing was written");
                break;
            }
        }
        database.store.close().await;
        database::drop(&mut admin, &url).await;
    }
}

/// What a process has that is started on this database after the death of the one before.
async fn started(mirror: &mut Mirror, database: Database) {
    // Its holder lives, since all of them are this process.
    database
        .execute("update leases set released_at = renewed_at where released_at is null")
        .await;
    mirror.database = database;
    mirror.restart().await;
}

async fn open_file(file: &Path) -> Database {
    database::open(Kind::Sqlite, format!("sqlite://{}", file.display())).await
}

fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Where the transactions of a SQLite file's log end. The log is a header of 32 bytes and frames: a
/// header of 24 bytes, of which bytes 4 to 8 are zero unless the frame is the last of its transaction,
/// and a page.
fn transactions(log: &[u8]) -> Vec<usize> {
    let word = |at: usize| u32::from_be_bytes(log[at..at + 4].try_into().unwrap());
    let frame = 24 + usize::try_from(word(8)).unwrap();
    let frames = (log.len() - 32) / frame;
    (0..frames)
        .map(|number| 32 + number * frame)
        .filter(|start| word(start + 4) != 0)
        .map(|start| start + frame)
        .collect()
}
