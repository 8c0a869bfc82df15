//! What a reader downstream finds that reads on from where it stopped.

use std::time::{Duration, Instant};

use helena_sync::data::{Batch, Counters, Resource, StateChange};
use helena_sync::store::{Acquired, Commit, Holder, OpenOptions, Store};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::{OVERLAP, Writer, at, batch, id, session, with};
use crate::support::database::{Database, Kind, on_both};
use crate::support::proof::proof;

/// A consumer of an account's sessions that remembers the greatest `change_seq` it has seen.
struct Reader<'a> {
    database: &'a Database,
    account: i64,
    last: i64,
}

impl Reader<'_> {
    /// The same in pages of one row, as documented, and without moving on.
    async fn read_by_page(&self) -> Vec<u128> {
        let (mut seq, mut last) = (self.last, "ffffffff-ffff-ffff-ffff-ffffffffffff".to_owned());
        let mut read = Vec::new();
        loop {
            let sql = format!(
                "select cast(change_seq as text) || ' ' || cast(id as text) from sessions \
                 where account_id = {} and (change_seq, id) > ({seq}, '{last}') \
                 order by change_seq, id limit 1",
                self.account
            );
            let Some(line) = self.database.texts(&sql).await.pop() else {
                return read;
            };
            let (next, id) = line.split_once(' ').unwrap();
            seq = next.parse().unwrap();
            id.clone_into(&mut last);
            read.push(id.parse::<uuid::Uuid>().unwrap().as_u128());
        }
    }

    /// What is new: the numbers of sessions, in the order of their ids.
    async fn read(&mut self) -> Vec<u128> {
        let sql = format!(
            "select cast(change_seq as text) || ' ' || cast(id as text) from sessions \
             where account_id = {} and change_seq > {} order by id",
            self.account, self.last
        );
        let mut read = Vec::new();
        for line in self.database.texts(&sql).await {
            let (seq, id) = line.split_once(' ').unwrap();
            self.last = self.last.max(seq.parse().unwrap());
            read.push(id.parse::<uuid::Uuid>().unwrap().as_u128());
        }
        read
    }
}

/// Stores sessions of a writer by a clock that shows this second.
async fn store(writer: &Writer, numbers: &[u128], updated: u64, now: u64) {
    let sessions: Vec<_> = numbers
        .iter()
        .map(|&number| session(number, updated))
        .collect();
    writer
        .try_commit(&batch(Resource::Sessions, &sessions, updated), &[], now)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_reader_between_two_writers_misses_nothing_whatever_their_clocks_show() {
    on_both(|database| async move {
        let one = Writer::named(&database, "one").await;
        let two = Writer::named(&database, "two").await;
        let reader = |writer: &Writer| Reader {
            database: &database,
            account: writer.account.0,
            last: 0,
        };
        let (mut first, mut second) = (reader(&one), reader(&two));
        store(&one, &[1, 2], 1, 100).await;
        assert_eq!(first.read().await, [1, 2]);
        // The machine's clock is set back: a reader by synced_at would never see these.
        store(&one, &[3], 2, 50).await;
        store(&two, &[11], 2, 90).await;
        assert_eq!(first.read().await, [3]);
        assert_eq!(second.read().await, [11]);
        store(&two, &[12], 3, 20).await;
        store(&one, &[1], 9, 10).await;
        assert_eq!(first.read().await, [1]);
        assert_eq!(second.read().await, [12]);
        // What did not change is not read again, and what is gone is.
        store(&one, &[2, 3], 2, 300).await;
        assert_eq!(first.read().await, [2]);
        store(&one, &[2, 3], 2, 301).await;
        assert_eq!(first.read().await, Vec::<u128>::new());
        let gone = StateChange::Gone {
            proof: proof(Resource::Sessions).await,
            keys: vec![id(3)],
        };
        one.progress(gone, 5).await;
        assert_eq!(first.read().await, [3]);
    })
    .await;
}

#[tokio::test]
async fn a_process_that_takes_over_goes_on_counting() {
    on_both(|database| async move {
        let one = Writer::new(&database).await;
        let mut reader = Reader {
            database: &database,
            account: one.account.0,
            last: 0,
        };
        store(&one, &[1], 1, 1).await;
        assert_eq!(reader.read().await, [1]);
        // The first one stands still for so long that another takes over.
        let later = at(1_000);
        let holder = Holder::current();
        let taken = one
            .store
            .acquire(one.account, &holder, later)
            .await
            .unwrap();
        let lease = match taken {
            Acquired::Lease(lease) => lease,
            // Postgres goes by its own clock.
            Acquired::Held(_) => {
                one.store.release(&one.lease).await.unwrap();
                let taken = one
                    .store
                    .acquire(one.account, &holder, later)
                    .await
                    .unwrap();
                let Acquired::Lease(lease) = taken else {
                    panic!("{taken:?}")
                };
                lease
            }
        };
        let two = Writer::under(&database, lease).await;
        store(&two, &[2], 1, 1).await;
        assert_eq!(reader.read().await, [2]);
        let batch = batch(Resource::Sessions, &[session(3, 1)], 1);
        assert!(one.try_commit(&batch, &[], 1).await.is_err());
        store(&two, &[4], 1, 1).await;
        assert_eq!(reader.read().await, [4]);
    })
    .await;
}

#[tokio::test]
async fn a_reader_misses_nothing_after_a_backup_was_restored() {
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        let mut reader = Reader {
            database: &database,
            account: writer.account.0,
            last: 0,
        };
        store(&writer, &[1, 2], 1, 1).await;
        let saved = database.text("select cast(change_seq as text) from leases");
        let saved = saved.await;
        store(&writer, &[3], 1, 2).await;
        store(&writer, &[1], 2, 3).await;
        assert_eq!(reader.read().await, [1, 2, 3]);
        // As it was before the last two commits.
        writer.store.release(&writer.lease).await.unwrap();
        let restored = format!(
            "delete from session_tags where session_id = '{0}'; \
             delete from sessions where id = '{0}'; update leases set change_seq = {saved}",
            id(3)
        );
        database.execute(&restored).await;
        let lease = super::lease(&database.store, writer.account, at(60)).await;
        let writer = Writer::under(&database, lease).await;
        store(&writer, &[3, 4], 1, 61).await;
        assert_eq!(reader.read_by_page().await, [3, 4]);
        assert_eq!(reader.read().await, [3, 4]);
        store(&writer, &[5], 1, 62).await;
        assert_eq!(reader.read().await, [5]);
        if database.kind == Kind::Postgres {
            // A standby that lacks the last commits takes over, and nobody notices.
            let behind = format!("update leases set change_seq = {saved}");
            database.execute(&behind).await;
            store(&writer, &[6], 1, 63).await;
            assert_eq!(reader.read().await, [6]);
        }
    })
    .await;
}

#[tokio::test]
async fn a_reader_of_a_lost_database_misses_nothing_of_the_new_one() {
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        // A position in the database that was there an hour before: so many commits cannot have been.
        let mut reader = Reader {
            database: &database,
            account: writer.account.0,
            last: (at(0) - Duration::from_hours(1)).micros() + 1_000_000,
        };
        store(&writer, &[1, 2], 1, 1).await;
        assert_eq!(reader.read().await, [1, 2]);
    })
    .await;
}

#[tokio::test]
async fn rows_of_a_commit_that_takes_long_come_after_those_that_a_reader_has_seen() {
    on_both(|database| async move {
        if database.kind == Kind::Sqlite {
            // It has one writer, and a reader sees all of a commit or nothing.
            return;
        }
        let writer = Writer::new(&database).await;
        let mut reader = Reader {
            database: &database,
            account: writer.account.0,
            last: 0,
        };
        store(&writer, &[1, 2], 1, 1).await;
        assert_eq!(reader.read().await, [1, 2]);
        // Somebody holds a row that the next commit changes.
        let mut other = PgConnection::connect(&database.url).await.unwrap();
        let sql = format!(
            "begin; select 1 from sessions where id = '{}' for update",
            id(2)
        );
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut other)
            .await
            .unwrap();
        let changed = [
            with(session(1, 2), "title", "x".into()),
            with(session(2, 2), "title", "x".into()),
        ];
        let changed: Batch = batch(Resource::Sessions, &changed, 2);
        let commit = writer.store.commit(Commit {
            lease: &writer.lease,
            run: writer.run,
            batch: &changed,
            state_changes: &[],
            spent: Counters::default(),
            now: at(2),
            overlap: OVERLAP,
        });
        let looked = async {
            let waiting = "datname = current_database() and wait_event_type = 'Lock'";
            while database.count("pg_stat_activity", waiting).await == 0 {
                tokio::task::yield_now().await;
            }
            assert_eq!(reader.read().await, Vec::<u128>::new());
            sqlx::raw_sql("commit").execute(&mut other).await.unwrap();
        };
        let (committed, ()) = tokio::join!(commit, looked);
        committed.unwrap();
        assert_eq!(reader.read().await, [1, 2]);
    })
    .await;
}

#[tokio::test]
async fn what_one_account_is_asked_does_not_read_the_rows_of_the_others() {
    on_both(|database| async move {
        const ACCOUNTS: u128 = 20;
        const EACH: u128 = 100;
        let mut first = None;
        for account in 0..ACCOUNTS {
            let writer = Writer::named(&database, &format!("account {account}")).await;
            let sessions: Vec<_> = (0..EACH)
                .map(|number| {
                    let number = account * EACH + number + 1_000;
                    with(session(number, 1), "id", serde_json::json!(id(number)))
                })
                .collect();
            writer.store(Resource::Sessions, &sessions, 1).await;
            first.get_or_insert(writer);
        }
        let account = first.unwrap().account;
        database.store.close().await;
        let stream = Resource::Sessions.streams()[0];
        let span = helena_sync::data::Span::OPEN;
        let ask = async || {
            let options = OpenOptions::default();
            let store = Store::open(&database.url, &options).await.unwrap();
            assert_eq!(
                store.count_created(account, stream, span).await.unwrap(),
                100
            );
            assert_eq!(
                store.open_session_ids(account, span).await.unwrap().len(),
                100
            );
            store.extra_keys(account).await.unwrap();
            store.close().await;
        };
        match database.kind {
            Kind::Postgres => {
                database.execute("analyze").await;
                let before = rows_read(&database).await;
                ask().await;
                let read = rows_read(&database).await - before;
                let all = i64::try_from(ACCOUNTS * EACH).unwrap();
                assert!(read < all / 2, "{read} of {all} rows");
            }
            Kind::Sqlite => {
                ask().await;
                for condition in ["created_at >= '2026'", "status in ('STARTED', 'PENDING')"] {
                    let sql = format!(
                        "explain query plan select count(*) from sessions \
                         where account_id = 1 and {condition}"
                    );
                    let plan = plan(&database, &sql).await;
                    assert!(plan.contains("account_id=?"), "{plan}");
                }
            }
        }
    })
    .await;
}

/// How many rows of the sessions Postgres has read so far.
async fn rows_read(database: &Database) -> i64 {
    // What a connection did is counted when it ends, at the latest.
    let others = "pid <> pg_backend_pid() and datname = current_database() \
                  and backend_type = 'client backend'";
    let begun = Instant::now();
    while database.count("pg_stat_activity", others).await > 0 {
        assert!(begun.elapsed() < Duration::from_mins(1), "still connected");
        tokio::task::yield_now().await;
    }
    let read = "select cast(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) as text) \
                from pg_stat_user_tables where relname = 'sessions'";
    database.text(read).await.parse().unwrap()
}

async fn plan(database: &Database, sql: &str) -> String {
    let mut connection = sqlx::SqliteConnection::connect(&database.url)
        .await
        .unwrap();
    let rows: Vec<(i64, i64, i64, String)> = sqlx::query_as(AssertSqlSafe(sql.to_owned()))
        .fetch_all(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    rows.into_iter().map(|(.., detail)| detail).collect()
}
