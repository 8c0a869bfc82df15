//! The store's stories, each told on both databases.

mod backfills;
mod calls;
mod commits;
mod downstream;
mod files;
mod history;
mod keys;
mod leases;
mod memory;
mod parents;
mod plans;
mod rejects;
mod schema;
mod silence;
mod state;
mod upgrade;
mod values;

use std::sync::Arc;
use std::time::Duration;

use helena_sync::data::{
    Batch, ColumnGroup, Counters, Head, Item, Page, Resource, RunKind, StateChange, Stream,
    Timestamp,
};
use helena_sync::schema::BatchBuilder;
use helena_sync::store::{AccountId, Acquired, Commit, Holder, Lease, Store, StoreError};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::database::Database;

/// A writer with a lease and a run.
struct Writer {
    store: Store,
    account: AccountId,
    lease: Lease,
    run: i64,
}

/// How long a change may take to be visible everywhere.
const OVERLAP: Duration = Duration::from_mins(2);

fn at(second: u64) -> Timestamp {
    Timestamp::parse("2026-05-04T14:00:00Z").unwrap() + Duration::from_secs(second)
}

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

impl Writer {
    async fn new(database: &Database) -> Self {
        Self::named(database, "default").await
    }

    async fn named(database: &Database, name: &str) -> Self {
        let store = database.store.clone();
        let account = store
            .account(name, "https://api.helena.run", at(0))
            .await
            .unwrap();
        let lease = lease(&store, account, at(0)).await;
        Self::under(database, lease).await
    }

    /// One that has a lease already.
    async fn under(database: &Database, lease: Lease) -> Self {
        let store = database.store.clone();
        let account = lease.account();
        let run = store
            .begin_run(
                &lease,
                RunKind::Incremental,
                Stream::whole(Resource::Sessions),
                at(0),
            )
            .await
            .unwrap();
        Self {
            store,
            account,
            lease,
            run,
        }
    }

    async fn try_commit(
        &self,
        batch: &Batch,
        progress: &[StateChange],
        second: u64,
    ) -> Result<Counters, StoreError> {
        self.store
            .commit(Commit {
                lease: &self.lease,
                run: self.run,
                batch,
                state_changes: progress,
                spent: Counters {
                    pages: 1,
                    requests: 2,
                    retries: 1,
                    ..Counters::default()
                },
                now: at(second),
                overlap: OVERLAP,
            })
            .await
    }

    /// Stores records of a resource read at a second.
    async fn store(&self, resource: Resource, items: &[Value], second: u64) -> Counters {
        self.try_commit(&batch(resource, items, second), &[], second)
            .await
            .unwrap()
    }

    async fn progress(&self, progress: StateChange, second: u64) {
        self.try_commit(&Batch::default(), &[progress], second)
            .await
            .unwrap();
    }
}

async fn lease(store: &Store, account: AccountId, now: Timestamp) -> Lease {
    match store
        .acquire(account, &Holder::current(), now)
        .await
        .unwrap()
    {
        Acquired::Lease(lease) => lease,
        Acquired::Held(held) => panic!("held by {}", held.by),
    }
}

fn page(items: &[Value], second: u64, unknown: ColumnGroup) -> Page {
    let mut body = String::new();
    let items = items
        .iter()
        .map(|item| {
            let from = body.len();
            body.push_str(&item.to_string());
            Item {
                head: Head::default(),
                raw: from..body.len(),
            }
        })
        .collect();
    Page {
        unknown,
        ..Page::new(Arc::from(body), items, at(second))
    }
}

fn batch(resource: Resource, items: &[Value], second: u64) -> Batch {
    batch_without(resource, items, second, ColumnGroup::NONE)
}

/// The same as an answer to questions for these records by their ids.
fn batch_by_id(resource: Resource, items: &[Value], second: u64) -> Batch {
    let mut builder = BatchBuilder::new(resource, true);
    builder.add(&Page {
        by_id: true,
        ..page(items, second, ColumnGroup::NONE)
    });
    builder.finish()
}

fn batch_without(resource: Resource, items: &[Value], second: u64, unknown: ColumnGroup) -> Batch {
    let mut builder = BatchBuilder::new(resource, true);
    builder.add(&page(items, second, unknown));
    builder.finish()
}

/// A session changed at a second, with all kinds of details.
fn session(number: u128, updated: u64) -> Value {
    json!({
        "id": id(number),
        "createdAt": "2026-05-04T12:00:00.1182041Z",
        "updatedAt": at(updated),
        "status": "IN_PROGRESS",
        "companyId": id(900),
        "contactId": id(100),
        "channelId": id(200),
        "departmentId": id(300),
        "userId": id(400),
        "timeService": "26:00:01",
        "unreadCount": 3,
        "metadata": {"a": [1, 2, {"b": null}]},
        "classification": {"id": id(500), "category": "WON", "amount": 12.5},
        "contactDetails": contact_details("Ana", &[1, 2]),
        "agentDetails": {"id": id(401), "userId": id(400), "name": "Rui"},
        "departmentDetails": {"id": id(300), "companyId": id(900), "name": "Vendas", "isDefault": true},
        "channelDetails": {"displayName": "Loja"},
    })
}

fn contact_details(name: &str, tags: &[u128]) -> Value {
    json!({
        "id": id(100),
        "name": name,
        "phonenumber": "+55|11999999999",
        "status": "ACTIVE",
        "tagsId": tags.iter().map(|&tag| id(tag)).collect::<Vec<_>>(),
        "tagsName": tags.iter().map(|tag| format!("tag {tag}")).collect::<Vec<_>>(),
    })
}

/// A contact of the contacts' own list.
fn contact(number: u128, name: &str, updated: u64, tags: &[u128]) -> Value {
    json!({
        "id": id(number),
        "createdAt": at(0),
        "updatedAt": at(updated),
        "companyId": id(900),
        "name": name,
        "email": "ana@example.com",
        "status": "ACTIVE",
        "origin": "IMPORTED",
        "customFields": {"cpf": "1"},
        "tagIds": tags.iter().map(|&tag| id(tag)).collect::<Vec<_>>(),
    })
}

/// The session with a field set to another value.
fn with(mut record: Value, field: &str, value: Value) -> Value {
    record[field] = value;
    record
}

fn rows(counters: &Counters) -> [u64; 4] {
    [
        counters.rows_inserted,
        counters.rows_updated,
        counters.rows_unchanged,
        counters.rows_rejected,
    ]
}
