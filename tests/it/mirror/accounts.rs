//! Several accounts in one database, and several who would write for one.

use std::sync::Arc;
use std::time::Duration;

use helena_sync::clock::{Clock as _, FakeClock};
use helena_sync::store::{Acquired, Holder, StoreError};
use helena_sync::sync::{FailureAction, RunError};

use crate::support::database::on_both;
use crate::support::mirror::{Mirror, Plan, assert_good, beginning};
use crate::support::truth::Scope;

fn plan(name: &'static str, seed: u64) -> Plan {
    let mut plan = Plan::of(80);
    plan.name = name;
    plan.sandbox.seed = seed;
    plan
}

#[tokio::test]
async fn two_accounts_share_a_database_and_not_a_row() {
    on_both(|database| async move {
        let clock = Arc::new(FakeClock::at(beginning()));
        let one = Mirror::on(database.clone(), plan("um", 1), Arc::clone(&clock)).await;
        let two = Mirror::on(database, plan("dois", 2), Arc::clone(&clock)).await;
        for mirror in [&one, &two] {
            mirror.engine.identify(&mirror.stop).await.unwrap();
            mirror.load().await;
        }
        clock.advance(Duration::from_mins(1));
        let ids = one.change(helena_sync::sandbox::SandboxAccount::session_ids);
        one.change(|account| {
            for id in &ids[..30] {
                account.update_session(*id, |session| session.unread_count += 1);
            }
            let contact = account.contact_ids()[0];
            account.rename_contact(contact, "Sã");
        });
        let before = two.contents().await;
        assert_good(&one.pass().await);
        assert_eq!(two.contents().await, before);
        two.assert_mirrors().await;
        assert_good(&two.pass().await);
        two.assert_mirrors().await;
    })
    .await;
}

#[tokio::test]
async fn two_accounts_that_are_one_company_are_refused() {
    on_both(|database| async move {
        let clock = Arc::new(FakeClock::at(beginning()));
        let one = Mirror::on(database.clone(), plan("um", 1), Arc::clone(&clock)).await;
        one.engine.identify(&one.stop).await.unwrap();
        one.load().await;
        let before = one.contents().await;
        let two = Mirror::on(database, plan("dois", 1), clock).await;
        let error = two.engine.identify(&two.stop).await.unwrap_err();
        assert!(
            matches!(error, RunError::Store(StoreError::SameCompany { .. })),
            "{error:?}"
        );
        assert!(error.line().contains("um"), "{}", error.line());
        assert_eq!(one.contents().await, before);
        assert_eq!(two.contents().await, Vec::<String>::new());
        // The first may go on.
        one.engine.identify(&one.stop).await.unwrap();
        one.quiet().await;
        one.assert_mirrors().await;
    })
    .await;
}

#[tokio::test]
async fn a_token_of_another_company_is_refused_before_anything_is_mixed() {
    on_both(|database| async move {
        let clock = Arc::new(FakeClock::at(beginning()));
        let one = Mirror::on(database.clone(), plan("um", 1), Arc::clone(&clock)).await;
        one.engine.identify(&one.stop).await.unwrap();
        one.load().await;
        let store = &database.store;
        store.release(one.engine.lease()).await.unwrap();
        let other = Mirror::on(database, plan("um", 2), clock).await;
        let error = other.engine.identify(&other.stop).await.unwrap_err();
        assert!(
            matches!(error, RunError::Store(StoreError::OtherCompany { .. })),
            "{error:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_second_engine_is_told_who_holds_the_account() {
    on_both(|database| async move {
        let mirror = Mirror::begin(database, plan("um", 1)).await;
        mirror.load().await;
        let store = &mirror.database.store;
        let acquired = store
            .acquire(mirror.account, &Holder::current(), mirror.clock.now())
            .await
            .unwrap();
        let Acquired::Held(held) = acquired else {
            panic!("two hold one account");
        };
        let by = held.by;
        assert!(by.contains(&std::process::id().to_string()), "{by}");
    })
    .await;
}

#[tokio::test]
async fn an_engine_that_lost_the_account_writes_nothing_more() {
    on_both(|database| async move {
        let mut mirror = Mirror::begin(database, plan("um", 1)).await;
        mirror.load().await;
        mirror.clock.advance(Duration::from_mins(10));
        mirror.change(|account| account.live_step(30));
        let before = (mirror.watermarks().await, mirror.contents().await);
        // Somebody else takes over while this one believes that it still holds the account.
        let store = &mirror.database.store;
        store.release(mirror.engine.lease()).await.unwrap();
        let now = mirror.clock.now();
        let acquired = store
            .acquire(mirror.account, &Holder::current(), now)
            .await
            .unwrap();
        let Acquired::Lease(lease) = acquired else {
            panic!("a released lease is still held");
        };
        let runs = mirror.sync_until_refused().await;
        assert_eq!(runs, [FailureAction::LeaseLost]);
        assert_eq!((mirror.watermarks().await, mirror.contents().await), before);
        mirror.database.store.release(&lease).await.unwrap();
        mirror.restart().await;
        mirror.quiet().await;
        let scope = Scope::of_churn();
        mirror.assert_mirrors_within(&scope).await;
    })
    .await;
}

impl Mirror {
    /// What the failures of a pass mean.
    async fn sync_until_refused(&self) -> Vec<FailureAction> {
        let runs = self.pass().await;
        runs.iter()
            .filter_map(|run| Some(run.error.as_ref()?.action()))
            .collect()
    }
}
