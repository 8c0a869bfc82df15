//! One writer an account, and what becomes of the one before.

use std::time::Duration;

use helena_sync::data::{Batch, Counters, Progress, Resource, RunKind, RunOutcome};
use helena_sync::store::{Acquired, Commit, Holder, LEASE_TTL, OpenOptions, Store, StoreError};

use super::{Writer, at, batch, contact_details, id, lease, rows, session, with};
use crate::support::database::{Kind, on_both};

#[tokio::test]
async fn a_second_process_is_told_who_writes_and_since_when() {
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        let answer = database
            .store
            .acquire(writer.account, &Holder::current(), at(5))
            .await
            .unwrap();
        let Acquired::Held { by, .. } = answer else {
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
        assert!(matches!(held, Acquired::Held { .. }), "{held:?}");
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
        assert!(matches!(answer, Acquired::Held { .. }), "{answer:?}");
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
            .begin_run(&old.lease, RunKind::List, "tags", at(2))
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
        let begin = || store.begin_run(&writer.lease, RunKind::List, "tags", at(0));
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
        lease(store, writer.account, at(8 * 24 * 60 * 60)).await;
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
        let commit = async |run: i64, batch: Batch, progress: Vec<Progress>| {
            let commit = Commit {
                lease: &writer.lease,
                run,
                batch: &batch,
                progress: &progress,
                spent: Counters::default(),
                now: at(8),
            };
            let counters = store.commit(commit).await.unwrap();
            end(run).await;
            rows(&counters)
        };
        let begin = async || {
            let begun = store.begin_run(&writer.lease, RunKind::List, "tags", at(1));
            begun.await.unwrap()
        };
        let read = |keys: Vec<u128>| {
            vec![Progress::ListRead {
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
            let forgotten = store.forget_idle_runs(&writer.lease, at(second)).await;
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
                store.forget_idle_runs(&lease, now).await.unwrap(),
                forgotten
            );
        }
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
