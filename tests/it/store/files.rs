//! The files of a SQLite database: copies while it is written, and its log after long readers.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use helena_sync::store::{OpenOptions, Store};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, Executor as _, SqliteConnection};

use super::at;
use crate::support::database::on_sqlite;

async fn reader(file: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(file).read_only(true);
    SqliteConnection::connect_with(&options).await.unwrap()
}

async fn number(connection: &mut SqliteConnection, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(connection).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_ends_while_somebody_writes_and_has_all_that_was_there_before() {
    on_sqlite(|database| async move {
        let folder = tempfile::tempdir().unwrap();
        // A file of some size, so that copying takes a while.
        database
            .execute(
                "with recursive n (n) as (select 1 union all select n + 1 from n where n < 20) \
                 insert into accounts (name, base_url, created_at) \
                 select 'account ' || n, hex(randomblob(500000)), '2026-05-04T14:00:00.000000Z' from n",
            )
            .await;
        let store = database.store.clone();
        let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let writer = {
            let (store, stop, written) = (store.clone(), Arc::clone(&stop), Arc::clone(&written));
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    let number = written.fetch_add(1, Ordering::SeqCst);
                    let name = format!("written {number}");
                    store.account(&name, "https://x", at(0)).await.unwrap();
                }
            })
        };
        while written.load(Ordering::SeqCst) < 5 {
            tokio::task::yield_now().await;
        }
        // On a busy machine, the first copies may be made between two writes.
        let mut found = None;
        for number in 0..100 {
            let copy = folder.path().join(format!("copy{number}.db"));
            let before = written.load(Ordering::SeqCst);
            store.copy_to(&copy).await.unwrap();
            if written.load(Ordering::SeqCst) > before + 1 {
                found = Some((copy, before));
                break;
            }
            std::fs::remove_file(copy).unwrap();
        }
        stop.store(true, Ordering::SeqCst);
        writer.await.unwrap();
        let (copy, before) = found.expect("nobody wrote while it was copied");
        let mut copied = reader(&copy).await;
        let check: String = sqlx::query_scalar("pragma integrity_check")
            .fetch_one(&mut copied)
            .await
            .unwrap();
        assert_eq!(check, "ok");
        let old = "select count(*) from accounts where name like 'account %'";
        assert_eq!(number(&mut copied, old).await, 20);
        let new = "select count(*) from accounts where name like 'written %'";
        let found = u64::try_from(number(&mut copied, new).await).unwrap();
        // The last one may have been on its way when the copying began.
        assert!(found + 1 >= before, "{found} of {before}");
        copied.close().await.unwrap();
        let url = format!("sqlite://{}", copy.display());
        let opened = Store::open(&url, &OpenOptions::default()).await.unwrap();
        opened.check_schema().await.unwrap();
        opened.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_a_long_reader_made_large_is_told_and_cut_by_the_next_commits() {
    on_sqlite(|database| async move {
        let store = &database.store;
        let file = database.url.trim_start_matches("sqlite://").to_owned();
        assert_eq!(store.large_log(), None);
        let mut reading = reader(Path::new(&file)).await;
        reading.execute("begin").await.unwrap();
        number(&mut reading, "select count(*) from accounts").await;
        // 70 MB in the log, which the reader keeps from starting over.
        database
            .execute(
                "with recursive n (n) as (select 1 union all select n + 1 from n where n < 70) \
                 insert into accounts (name, base_url, created_at) \
                 select n, hex(randomblob(500000)), '2026-05-04T14:00:00.000000Z' from n",
            )
            .await;
        let (log, size) = store.large_log().unwrap();
        assert!(log.display().to_string().ends_with("-wal"));
        assert!(size > 64 << 20, "{size}");
        reading.execute("rollback").await.unwrap();
        reading.close().await.unwrap();
        // One commit folds the log into the file, and the next one starts it over.
        for number in 0..2 {
            let name = format!("after {number}");
            store.account(&name, "https://x", at(0)).await.unwrap();
        }
        assert!(std::fs::metadata(&log).unwrap().len() <= 64 << 20);
        assert_eq!(store.large_log(), None);
        assert_eq!(database.count("accounts", "true").await, 72);
    })
    .await;
}
