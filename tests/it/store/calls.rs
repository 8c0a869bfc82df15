//! Calls of the platform that wait for the lease holder of their account.

use helena_sync::data::Resource;
use helena_sync::store::{AccountId, Store, WaitingCall};
use uuid::Uuid;

use super::{at, id};
use crate::support::database::{Database, Kind, on_both};

async fn account(store: &Store, name: &str) -> AccountId {
    store.account(name, "https://x", at(0)).await.unwrap()
}

/// The resource, the record, and how many calls.
fn briefly(calls: Vec<WaitingCall>) -> Vec<(Resource, Option<Uuid>, u64)> {
    let mut briefly: Vec<_> = calls
        .into_iter()
        .map(|call| (call.resource, call.record, call.calls))
        .collect();
    briefly.sort_unstable();
    briefly
}

/// Makes stored calls so much older.
async fn age(database: &Database, seconds: u64) {
    if database.kind == Kind::Postgres {
        // Its own clock counts there.
        let sql = format!(
            "update doorbell_calls set called_at = called_at - interval '{seconds} seconds'"
        );
        database.execute(&sql).await;
    }
}

#[tokio::test]
async fn calls_add_up_until_they_are_taken_and_are_taken_once() {
    on_both(|database| async move {
        let store = &database.store;
        let (north, south) = (account(store, "north").await, account(store, "south").await);
        let forward = async |name: &str, resource, records: &[Option<Uuid>], calls| {
            let done = store.forward_calls(name, resource, records, calls, at(1));
            done.await.unwrap();
        };
        forward("north", Resource::Sessions, &[Some(id(2)), Some(id(1))], 5).await;
        forward("north", Resource::Sessions, &[Some(id(1)), None], 2).await;
        forward("north", Resource::Contacts, &[Some(id(1))], 0).await;
        forward("south", Resource::Templates, &[None], 1).await;
        // An account that nobody has heard of.
        forward("east", Resource::Sessions, &[None], 1).await;
        assert_eq!(store.take_calls(&[]).await.unwrap(), []);

        // Two take at the same time.
        let these = [north];
        let (one, two) = tokio::join!(store.take_calls(&these), store.take_calls(&these));
        let taken: Vec<WaitingCall> = one.unwrap().into_iter().chain(two.unwrap()).collect();
        assert!(taken.iter().all(|call| call.account == north));
        if database.kind == Kind::Sqlite {
            assert!(taken.iter().all(|call| call.called_at == at(1)));
        }
        assert_eq!(
            briefly(taken),
            [
                (Resource::Sessions, None, 2),
                (Resource::Sessions, Some(id(1)), 5),
                (Resource::Sessions, Some(id(2)), 0),
                (Resource::Contacts, Some(id(1)), 0),
            ]
        );
        let taken = store.take_calls(&[north, south]).await.unwrap();
        assert_eq!(briefly(taken), [(Resource::Templates, None, 1)]);
        assert_eq!(database.count("doorbell_calls", "true").await, 0);
    })
    .await;
}

#[tokio::test]
async fn calls_that_nobody_takes_do_not_pile_up() {
    on_both(|database| async move {
        let store = &database.store;
        let (north, south) = (account(store, "north").await, account(store, "south").await);
        let forward = async |name: &str, number, second| {
            let records = [Some(id(number))];
            let done = store.forward_calls(name, Resource::Sessions, &records, 1, at(second));
            done.await.unwrap();
        };
        forward("south", 1, 0).await;
        for step in 0..10_u64 {
            forward("north", u128::from(step), 30 * step).await;
            age(&database, 30).await;
        }
        // Those of the last minute. Of the other account, for which nobody is called any more, nothing is left.
        let stored = database.count("doorbell_calls", "true").await;
        assert!((2..=3).contains(&stored), "{stored}");
        assert_eq!(store.take_calls(&[south]).await.unwrap(), []);
        assert!(!store.take_calls(&[north]).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_call_for_the_same_record_is_not_lost_while_the_first_one_is_taken() {
    on_both(|database| async move {
        let store = &database.store;
        let north = account(store, "north").await;
        let mut taken = 0;
        let forwarding = async {
            for _ in 0..40 {
                let records = [Some(id(1)), Some(id(2)), None];
                let done = store.forward_calls("north", Resource::Sessions, &records, 1, at(1));
                done.await.unwrap();
            }
        };
        let taking = async {
            for _ in 0..40 {
                for call in store.take_calls(&[north]).await.unwrap() {
                    taken += call.calls;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::join!(forwarding, taking);
        for call in store.take_calls(&[north]).await.unwrap() {
            taken += call.calls;
        }
        assert_eq!(taken, 40);
    })
    .await;
}
