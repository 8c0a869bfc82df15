//! One writer an account, and what becomes of the one before.

use std::time::Duration;

use helena_sync::clock::{Clock as _, SystemClock};
use helena_sync::data::{
    Batch, ColumnGroup, Counters, Learned, Page, Resource, RunKind, RunOutcome, SessionVersion,
    StateChange, Stream,
};
use helena_sync::schema::{BatchBuilder, ReadingOrder};
use helena_sync::status;
use helena_sync::store::{
    Acquired, Commit, Holder, INSTANCE_TTL, LEASE_TTL, LeaseStatus, OpenOptions, Store, StoreError,
};

use sqlx::{Connection, PgConnection, SqliteConnection};

use super::{OVERLAP, Writer, at, batch, contact_details, id, lease, page, rows, session, with};
use crate::support::database::{Database, Kind, on_both};

/// How long runs are remembered.
const KEEP: Duration = Duration::from_hours(365 * 24);

#[tokio::test]
async fn a_second_process_is_told_who_writes_and_since_when() {
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        let answer = database
            .store
            .acquire(writer.account, &Holder::current(), at(5))
            .await
            .unwrap();
        let Acquired::Held(LeaseStatus { by, .. }) = answer else {
            panic!("{answer:?}");
        };
        assert!(by.contains(&std::process::id().to_string()), "{by}");
        assert!(
            database
                .store
                .lease_status(writer.account)
                .await
                .unwrap()
                .is_some()
        );

        database.store.release(&writer.lease).await.unwrap();
        assert_eq!(
            database.store.lease_status(writer.account).await.unwrap(),
            None
        );
        lease(&database.store, writer.account, at(6)).await;
    })
    .await;
}

#[tokio::test]
async fn a_holder_that_died_on_this_machine_blocks_nobody() {
    on_both(|database| async move {
        let store = &database.store;
        let account = store.account("a", "https://x", at(0)).await.unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let dead = Holder {
            pid: i64::from(child.id()),
            ..Holder::current()
        };
        child.wait().unwrap();
        let taken = store.acquire(account, &dead, at(0)).await.unwrap();
        assert!(matches!(taken, Acquired::Lease(_)));
        lease(store, account, at(0)).await;
    })
    .await;
}

#[tokio::test]
async fn a_holder_elsewhere_is_waited_for_until_its_lease_runs_out() {
    on_both(|database| async move {
        let store = &database.store;
        let account = store.account("a", "https://x", at(0)).await.unwrap();
        let elsewhere = Holder {
            host: "elsewhere".to_owned(),
            boot_id: "another".to_owned(),
            ..Holder::current()
        };
        let Acquired::Lease(old) = store.acquire(account, &elsewhere, at(0)).await.unwrap() else {
            panic!("it is free");
        };
        let later = at(0) + LEASE_TTL;
        let held = store
            .acquire(account, &Holder::current(), later)
            .await
            .unwrap();
        assert!(matches!(held, Acquired::Held(_)), "{held:?}");
        if database.kind == Kind::Postgres {
            // Its own clock counts there.
            database
                .execute("update leases set renewed_at = renewed_at - interval '31 seconds'")
                .await;
        }
        let new = lease(store, account, later + Duration::from_secs(1)).await;
        assert!(new.epoch() > old.epoch());
        assert!(matches!(
            store.renew(&old, later).await,
            Err(StoreError::LeaseLost)
        ));
        store.renew(&new, later).await.unwrap();
        // Giving back what is lost takes it from nobody.
        store.release(&old).await.unwrap();
        store.renew(&new, later).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_lease_is_as_old_as_the_clock_says_that_leases_use() {
    const HOUR: Duration = Duration::from_hours(1);
    on_both(|database| async move {
        let store = &database.store;
        let id = store.account("a", "https://x", at(0)).await.unwrap();
        lease(store, id, at(0)).await;
        let account = store.find_account("a").await.unwrap().unwrap();
        let is_held = async |now| {
            let none = Vec::new();
            let status = status::gather(store, &account, none, &[], now, Vec::new());
            let status = Box::pin(status).await.unwrap();
            let lease = store.valid_lease(id, now).await.unwrap();
            assert_eq!(status.writer.is_some(), lease.is_some());
            lease.is_some()
        };
        let late = at(0) + LEASE_TTL + Duration::from_secs(1);
        if database.kind == Kind::Sqlite {
            assert!(is_held(at(0) + LEASE_TTL).await);
            assert!(!is_held(late).await);
            // The clock was set back since, and nobody has renewed it.
            assert!(!is_held(at(0) - HOUR).await);
            return;
        }
        // The process's clock is an hour ahead of the server's, or an hour behind.
        let server = SystemClock.now();
        assert!(is_held(server + HOUR).await);
        assert!(is_held(server - HOUR).await);
        let seconds = LEASE_TTL.as_secs() + 1;
        let sql =
            format!("update leases set renewed_at = renewed_at - interval '{seconds} seconds'");
        database.execute(&sql).await;
        for now in [server - HOUR, server, server + HOUR] {
            assert!(!is_held(now).await);
        }
    })
    .await;
}

#[tokio::test]
async fn who_shares_the_accounts_is_seen_until_it_ends_or_was_silent_for_too_long() {
    on_both(|database| async move {
        let store = &database.store;
        let account = store.account("a", "https://x", at(0)).await.unwrap();
        let elsewhere = |pid| Holder {
            host: "elsewhere".to_owned(),
            boot_id: "another".to_owned(),
            pid,
            ..Holder::current()
        };
        let (me, other, third) = (Holder::current(), elsewhere(1), elsewhere(2));
        let seen = async |second| {
            let shared = store.shared(&me, at(second)).await.unwrap();
            let pids = shared.instances.iter().map(|one| one.holder.pid);
            (pids.collect::<Vec<_>>(), shared.leases.len())
        };
        for (holder, accounts) in [(&other, vec![account]), (&third, vec![])] {
            let accounts = accounts.into_iter().collect();
            store.announce(holder, &accounts, at(0)).await.unwrap();
        }
        let taken = store.acquire(account, &other, at(0)).await.unwrap();
        assert!(matches!(taken, Acquired::Lease(_)));
        assert_eq!(seen(1).await, (vec![1, 2], 1));
        let shared = store.shared(&me, at(1)).await.unwrap();
        assert_eq!(shared.instances[0].accounts, [account].into());
        assert_eq!(shared.leases[&account].holder, other);

        store.withdraw(&third).await.unwrap();
        assert_eq!(seen(1).await, (vec![1], 1));
        let age = async |seconds: u64| {
            if database.kind == Kind::Postgres {
                // Its own clock counts there.
                let sql = format!(
                    "update instances set seen_at = clock_timestamp() - interval '{seconds} seconds'; \
                     update leases set renewed_at = clock_timestamp() - interval '{seconds} seconds'"
                );
                database.execute(&sql).await;
            }
        };
        // It counts as gone before its leases expire.
        let (first, then) = (INSTANCE_TTL.as_secs() + 1, LEASE_TTL.as_secs() + 1);
        assert!(first < then);
        age(first).await;
        assert_eq!(seen(first).await, (vec![], 1));
        age(then).await;
        assert_eq!(seen(then).await, (vec![], 0));

        // It is there again, and rows of processes that ended long ago are deleted.
        let week = 7 * 24 * 60 * 60;
        age(week).await;
        store.announce(&third, &[].into(), at(week)).await.unwrap();
        assert_eq!(seen(week).await.0, [2]);
        assert_eq!(database.count("instances", "true").await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_long_transaction_costs_nobody_the_lease() {
    on_both(|database| async move {
        if database.kind == Kind::Sqlite {
            return;
        }
        let writer = Writer::new(&database).await;
        // While a transaction writes, nothing else can renew.
        database
            .execute("update leases set renewed_at = renewed_at - interval '31 seconds'")
            .await;
        writer.store(Resource::Sessions, &[session(1, 1)], 1).await;
        let elsewhere = Holder {
            boot_id: "another".to_owned(),
            ..Holder::current()
        };
        let answer = database.store.acquire(writer.account, &elsewhere, at(2));
        let answer = answer.await.unwrap();
        assert!(matches!(answer, Acquired::Held(_)), "{answer:?}");
    })
    .await;
}

#[tokio::test]
async fn a_renewal_does_not_wait_for_a_transaction_that_writes_for_the_account() {
    on_both(|database| async move {
        if database.kind == Kind::Sqlite {
            return;
        }
        let writer = Writer::new(&database).await;
        let mut other = PgConnection::connect(&database.url).await.unwrap();
        let lock = "begin; select 1 from leases for update";
        sqlx::raw_sql(lock).execute(&mut other).await.unwrap();
        let renewed = writer.store.renew(&writer.lease, at(1));
        let soon = Duration::from_secs(5);
        tokio::time::timeout(soon, renewed).await.unwrap().unwrap();
        sqlx::raw_sql("rollback").execute(&mut other).await.unwrap();

        database.store.release(&writer.lease).await.unwrap();
        lease(&database.store, writer.account, at(2)).await;
        sqlx::raw_sql(lock).execute(&mut other).await.unwrap();
        let refused = writer.store.renew(&writer.lease, at(3)).await;
        assert!(matches!(refused, Err(StoreError::LeaseLost)), "{refused:?}");
        other.close().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn who_has_lost_the_lease_writes_nothing_any_more() {
    on_both(|database| async move {
        let old = Writer::new(&database).await;
        old.store(Resource::Sessions, &[session(1, 1)], 1).await;
        database.store.release(&old.lease).await.unwrap();
        let lease = lease(&database.store, old.account, at(2)).await;

        let refused = old
            .try_commit(
                &super::batch(Resource::Sessions, &[session(2, 2)], 2),
                &[],
                2,
            )
            .await;
        assert!(matches!(refused, Err(StoreError::LeaseLost)), "{refused:?}");
        let begun = database
            .store
            .begin_run(
                &old.lease,
                RunKind::List,
                Stream::whole(Resource::Tags),
                at(2),
            )
            .await;
        assert!(matches!(begun, Err(StoreError::LeaseLost)), "{begun:?}");
        assert_eq!(database.count("sessions", "true").await, 1);

        let new = Writer { lease, ..old };
        new.try_commit(&Batch::default(), &[], 3).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn runs_left_unfinished_are_marked_and_idle_ones_forgotten_after_a_week() {
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        let store = &database.store;
        let begin = || {
            store.begin_run(
                &writer.lease,
                RunKind::List,
                Stream::whole(Resource::Tags),
                at(0),
            )
        };
        let idle = begin().await.unwrap();
        store
            .finish_run(&writer.lease, idle, RunOutcome::Succeeded, None, at(1))
            .await
            .unwrap();
        let failed = begin().await.unwrap();
        store
            .finish_run(&writer.lease, failed, RunOutcome::Failed, Some("no"), at(1))
            .await
            .unwrap();
        store.release(&writer.lease).await.unwrap();
        let later = at(8 * 24 * 60 * 60);
        let next = lease(store, writer.account, later).await;
        let kept = Duration::from_hours(90 * 24);
        assert_eq!(store.forget_runs(&next, later, kept).await.unwrap(), 1);
        let runs = store.last_runs(writer.account, 10).await.unwrap();
        let found: Vec<_> = runs
            .iter()
            .map(|run| (run.id, run.outcome.as_deref().unwrap()))
            .collect();
        assert_eq!(found, [(failed, "failed"), (writer.run, "interrupted")]);
    })
    .await;
}

#[tokio::test]
async fn a_run_that_some_row_names_is_never_forgotten() {
    const WEEK: u64 = 7 * 24 * 60 * 60;
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        let store = &database.store;
        let end = async |run: i64| {
            store
                .finish_run(&writer.lease, run, RunOutcome::Succeeded, None, at(9))
                .await
                .unwrap();
        };
        let commit = async |run: i64, batch: Batch, progress: Vec<StateChange>| {
            let commit = Commit {
                lease: &writer.lease,
                run,
                batch: &batch,
                state_changes: &progress,
                spent: Counters::default(),
                now: at(8),
                overlap: OVERLAP,
            };
            let counters = store.commit(commit).await.unwrap();
            end(run).await;
            rows(&counters)
        };
        let begin = async || {
            let begun = store.begin_run(
                &writer.lease,
                RunKind::List,
                Stream::whole(Resource::Tags),
                at(1),
            );
            begun.await.unwrap()
        };
        let read = |keys: Vec<u128>| {
            vec![StateChange::ListRead {
                resource: Resource::Tags,
                keys: keys.into_iter().map(id).collect(),
            }]
        };
        let (first, details, removal, back, idle) = (
            writer.run,
            begin().await,
            begin().await,
            begin().await,
            begin().await,
        );
        let nothing = Batch::default;
        commit(
            first,
            batch(Resource::Sessions, &[session(1, 1)], 1),
            vec![],
        )
        .await;
        // The session is as it was; what it says of its contact is not.
        let renamed = with(
            session(1, 1),
            "contactDetails",
            contact_details("Bia", &[1, 2]),
        );
        let renamed = batch(Resource::Sessions, &[renamed], 2);
        let contact_alone = Batch {
            writes: renamed
                .writes
                .into_iter()
                .filter(|write| write.table.name == "contacts")
                .collect(),
            ..nothing()
        };
        assert_eq!(commit(details, contact_alone, vec![]).await, [0, 0, 0, 0]);
        assert_eq!(
            commit(removal, nothing(), read(vec![1])).await,
            [0, 1, 0, 0]
        );
        assert_eq!(
            commit(back, nothing(), read(vec![1, 2])).await,
            [0, 1, 0, 0]
        );
        assert_eq!(
            commit(idle, nothing(), read(vec![1, 2])).await,
            [0, 0, 0, 0]
        );
        let forget = async |second| {
            let forgotten = store.forget_runs(&writer.lease, at(second), KEEP).await;
            forgotten.unwrap()
        };
        assert_eq!(forget(WEEK).await, 0);
        assert_eq!(forget(WEEK + 2).await, 1);
        let left = database.count("sync_runs", &format!("id = {idle}")).await;
        assert_eq!(left, 0);
        for table in [
            "sessions",
            "contacts",
            "tags",
            "session_tags",
            "contact_tags",
        ] {
            let dangling = "run_id not in (select id from sync_runs)";
            assert_eq!(database.count(table, dangling).await, 0, "{table}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_run_that_failed_and_stored_nothing_is_remembered_for_three_months() {
    const WEEK: u64 = 7 * 24 * 60 * 60;
    on_both(|database| async move {
        let Writer {
            store, lease, run, ..
        } = Writer::new(&database).await;
        store
            .finish_run(&lease, run, RunOutcome::Failed, Some("no"), at(9))
            .await
            .unwrap();
        for (weeks, forgotten) in [(12, 0), (13, 1)] {
            let now = at(weeks * WEEK);
            assert_eq!(
                store.forget_runs(&lease, now, KEEP).await.unwrap(),
                forgotten
            );
        }
    })
    .await;
}

#[tokio::test]
async fn old_runs_are_forgotten_but_for_what_found_differences_and_the_newest_of_each_kind() {
    on_both(|database| async move {
        let Writer {
            store, lease, run, ..
        } = Writer::new(&database).await;
        let keep = Duration::from_hours(24);
        let day = 24 * 60 * 60;
        let finish = async |run: i64| {
            let done = RunOutcome::Succeeded;
            store
                .finish_run(&lease, run, done, None, at(9))
                .await
                .unwrap();
        };
        finish(run).await;
        let commit = async |kind: RunKind, second: u64, progress: &[StateChange]| {
            let run = store
                .begin_run(&lease, kind, Stream::whole(Resource::Sessions), at(second))
                .await;
            let run = run.unwrap();
            let number = u128::from(second);
            let changed = batch(Resource::Sessions, &[session(number, second)], second);
            let commit = Commit {
                lease: &lease,
                run,
                batch: &changed,
                state_changes: progress,
                spent: Counters::default(),
                now: at(second),
                overlap: OVERLAP,
            };
            store.commit(commit).await.unwrap();
            finish(run).await;
            run
        };
        let differing = [StateChange::Differing {
            resource: Resource::Sessions,
            keys: vec![id(20)],
        }];
        let old = commit(RunKind::Incremental, 10, &[]).await;
        let found = commit(RunKind::Verify, 20, &differing).await;
        let open = commit(RunKind::RefreshOpen, 30, &[]).await;
        let newer = commit(RunKind::Incremental, day, &[]).await;
        // The run that the test's own writer began with.
        let forgotten = store.forget_runs(&lease, at(day + 5), keep).await;
        assert_eq!(forgotten.unwrap(), 1);
        let forgotten = store.forget_runs(&lease, at(day + 50), keep).await;
        assert_eq!(forgotten.unwrap(), 1);
        let left = database.texts("select cast(id as text) from sync_runs order by id");
        let left: Vec<i64> = left.await.iter().map(|id| id.parse().unwrap()).collect();
        assert!(!left.contains(&old));
        for kept in [found, open, newer] {
            assert!(left.contains(&kept), "{kept} of {left:?}");
        }
        let verified = store.verified(lease.account()).await.unwrap();
        assert_eq!(verified.map(|(_, differing)| differing), Some(1));
    })
    .await;
}

#[tokio::test]
async fn however_many_old_runs_there_are_all_are_forgotten() {
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        let many = "with recursive numbers (number) as \
             (select 1 union all select number + 1 from numbers where number < 12000) \
             insert into sync_runs (account_id, kind, resource, started_at, outcome, touched) \
             select 1, 'list', 'tags', '2025-01-01T00:00:00.000000Z', 'succeeded', number % 2 = 0 \
             from numbers";
        database.execute(many).await;
        let forgotten = writer.store.forget_runs(&writer.lease, at(0), KEEP).await;
        // All that are touched are older than is kept, but for the newest.
        assert_eq!(forgotten.unwrap(), 12_000 - 1);
    })
    .await;
}

#[tokio::test]
async fn two_accounts_cannot_be_one_company_nor_one_account_two() {
    on_both(|database| async move {
        let store = &database.store;
        let first = store.account("first", "https://x", at(0)).await.unwrap();
        let second = store.account("second", "https://x", at(0)).await.unwrap();
        assert_eq!(
            store.account("first", "https://y", at(0)).await.unwrap(),
            first
        );
        let company = super::id(1);
        store.set_company(first, company).await.unwrap();
        store.set_company(first, company).await.unwrap();
        assert!(matches!(
            store.set_company(second, company).await,
            Err(StoreError::SameCompany { other }) if other == "first"
        ));
        assert!(matches!(
            store.set_company(first, super::id(2)).await,
            Err(StoreError::OtherCompany { .. })
        ));
    })
    .await;
}

/// Runs this while nobody else can write, though everybody can read.
async fn while_locked<T>(database: &Database, what: impl Future<Output = T>) -> T {
    const SOON: Duration = Duration::from_secs(5);
    match database.kind {
        Kind::Sqlite => {
            let mut lock = SqliteConnection::connect(&database.url).await.unwrap();
            sqlx::raw_sql("begin immediate")
                .execute(&mut lock)
                .await
                .unwrap();
            let done = tokio::time::timeout(SOON, what).await;
            lock.close().await.unwrap();
            done.expect("it waits for the right to write")
        }
        Kind::Postgres => {
            let mut lock = PgConnection::connect(&database.url).await.unwrap();
            let exclusive = "begin; lock table accounts, leases, sync_runs in exclusive mode";
            sqlx::raw_sql(exclusive).execute(&mut lock).await.unwrap();
            let done = tokio::time::timeout(SOON, what).await;
            lock.close().await.unwrap();
            done.expect("it waits for the right to write")
        }
    }
}

#[tokio::test]
async fn who_waits_for_a_lease_writes_nothing() {
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        let other = Store::open(&database.url, &OpenOptions::default())
            .await
            .unwrap();
        let me = Holder::current();
        let url = "https://api.helena.run";
        let asked = async {
            let account = other.account("default", url, at(1)).await.unwrap();
            other.acquire(account, &me, at(1)).await.unwrap()
        };
        let answer = Box::pin(while_locked(&database, asked)).await;
        assert!(matches!(answer, Acquired::Held(_)), "{answer:?}");
        assert_eq!(database.count("leases", "epoch = 1").await, 1);
        writer.store.renew(&writer.lease, at(2)).await.unwrap();
        other.close().await;
    })
    .await;
}

#[tokio::test]
async fn where_an_account_is_read_from_is_for_its_lease_holder_to_say() {
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        let store = &database.store;
        let (old, new) = ("https://api.helena.run", "https://elsewhere.example");
        let url = async || database.text("select base_url from accounts").await;
        let learned = Learned {
            session_list: Some(SessionVersion::First),
            bare_token: true,
        };
        store.set_learned(&writer.lease, &learned).await.unwrap();
        let again = store.account("default", new, at(1)).await.unwrap();
        assert_eq!((again, url().await.as_str()), (writer.account, old));
        while_locked(&database, store.set_base_url(&writer.lease, old))
            .await
            .unwrap();
        assert_eq!(store.learned(writer.account).await.unwrap(), learned);

        store.release(&writer.lease).await.unwrap();
        let next = lease(store, writer.account, at(2)).await;
        let refused = store.set_base_url(&writer.lease, new).await;
        assert!(matches!(refused, Err(StoreError::LeaseLost)), "{refused:?}");
        assert_eq!(url().await, old);
        store.set_base_url(&next, new).await.unwrap();
        assert_eq!(url().await, new);
        // What was learned of the other address says nothing of this one.
        let forgotten = store.learned(writer.account).await.unwrap();
        assert_eq!(forgotten, Learned::default());
    })
    .await;
}

#[tokio::test]
async fn of_two_that_ask_at_once_one_gets_the_lease() {
    on_both(|database| async move {
        let other = Store::open(&database.url, &OpenOptions::default())
            .await
            .unwrap();
        let account = other.account("a", "https://x", at(0)).await.unwrap();
        let me = Holder::current();
        let (one, two) = tokio::join!(
            database.store.acquire(account, &me, at(0)),
            other.acquire(account, &me, at(0))
        );
        let leases = [one.unwrap(), two.unwrap()];
        let got = |answer: &&Acquired| matches!(answer, Acquired::Lease(_));
        assert_eq!(leases.iter().filter(got).count(), 1, "{leases:?}");
        other.close().await;
    })
    .await;
}

impl Writer {
    /// What a process with this clock stores of a contact's name that it has asked for so many seconds
    /// after it began.
    async fn reads_name(&self, name: &str, clock: u64, asked: u64) {
        let order = ReadingOrder {
            base: self.lease.reads_from().max(at(clock)),
            from: Duration::from_secs(1_000),
        };
        let item = with(session(1, 1), "contactDetails", contact_details(name, &[1]));
        let mut builder = BatchBuilder::new(Resource::Sessions, true).ordered(order);
        builder.add(&Page {
            asked: Duration::from_secs(1_000 + asked),
            ..page(&[item], clock + asked, ColumnGroup::NONE)
        });
        let batch = builder.finish();
        let stored = self.try_commit(&batch, &[], clock + asked);
        stored.await.unwrap();
    }
}

/// Each holder's clock is an hour behind that of the one before.
#[tokio::test]
async fn what_is_read_later_is_right_whatever_the_clock_of_who_reads_it() {
    // What is read again and again changes nothing, and leaves no trace.
    for readings in [1, 4] {
        on_both(move |database| async move {
            let store = &database.store;
            let account = store.account("a", "https://x", at(0)).await.unwrap();
            for (holder, name) in ["Ana", "Bia", "Ana", "Cid"].into_iter().enumerate() {
                let clock = 20_000 - 3_600 * u64::try_from(holder).unwrap();
                let lease = lease(store, account, at(clock)).await;
                let writer = Writer::under(&database, lease).await;
                for reading in 0..readings {
                    writer.reads_name(name, clock, reading * 10).await;
                }
                let named = format!("name = '{name}'");
                assert_eq!(database.count("contacts", &named).await, 1, "{holder}");
                store.release(&writer.lease).await.unwrap();
            }
        })
        .await;
    }
}
