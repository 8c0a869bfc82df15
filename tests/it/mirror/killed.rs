//! Killed between any two transactions, whatever was being done: nothing that is stored then says
//! more than is true, and the next process ends with a perfect mirror.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use helena_sync::clock::Clock as _;
use helena_sync::data::{Resource, SessionFilter, Span, Stream};
use helena_sync::sandbox::Poison;
use helena_sync::sync::Verified;

use crate::support::deaths::Story;
use crate::support::mirror::{Mirror, Plan, assert_good};
use crate::support::truth::Scope;

fn plan() -> Plan {
    let mut plan = Plan::of(36);
    plan.walk.page_size = 10;
    plan.walk.window_pages = 2;
    plan.sandbox.contacts = Some(12);
    plan
}

/// Removes the rows of the oldest sessions behind the mirror's back.
async fn lose_oldest(mirror: &Mirror) {
    let oldest = "select id from sessions order by created_at limit 10";
    let sql = format!(
        "delete from session_tags where session_id in ({oldest}); \
         delete from sessions where id in ({oldest})"
    );
    mirror.database.execute(&sql).await;
}

/// Forgets all but the account.
async fn forget_everything(mirror: &Mirror) {
    // Those first that refer to others.
    let mut tables = vec!["session_tags", "contact_tags", "sessions"];
    let others = Resource::ALL.into_iter().rev();
    let others = others.filter(|resource| *resource != Resource::Sessions);
    tables.extend(others.map(Resource::name));
    tables.extend([
        "rejects",
        "backfill_windows",
        "backfills",
        "state_changes",
        "sync_state",
        "sync_runs",
    ]);
    let deletes: Vec<String> = tables
        .iter()
        .map(|table| format!("delete from {table}"))
        .collect();
    let sql = deletes.join("; ");
    mirror.database.execute(&sql).await;
    mirror
        .database
        .execute("update accounts set company_id = null")
        .await;
}

/// Nothing is under way any more, and no run is left that would be.
async fn assert_settled(mirror: &Mirror) {
    let unfinished = mirror.database.store.unfinished_backfills(mirror.account);
    assert_eq!(unfinished.await.unwrap(), []);
    assert_eq!(
        mirror.database.count("sync_runs", "outcome is null").await,
        0
    );
}

#[tokio::test]
async fn killed_at_any_point_of_the_first_start_the_next_one_loads_everything() {
    Story {
        plan: plan(),
        before: async |mirror: &mut Mirror| {
            forget_everything(mirror).await;
            // What this process remembers as stored is stored no more.
            mirror.restart().await;
        },
        act: async |mirror: &mut Mirror| {
            mirror.engine.identify(&mirror.stop).await.unwrap();
            assert_good(&mirror.sync().await);
        },
        next: async |mirror: &mut Mirror, count| {
            mirror.engine.identify(&mirror.stop).await.unwrap();
            assert_good(&mirror.sync().await);
            mirror.assert_mirrors().await;
            assert_settled(mirror).await;
            let known = "company_id is not null";
            assert_eq!(mirror.database.count("accounts", known).await, 1, "{count}");
        },
        every: 8,
    }
    .told()
    .await;
}

#[tokio::test]
async fn killed_at_any_point_of_a_reset_no_history_counts_as_loaded() {
    let streams: Vec<Stream> = [Resource::Sessions, Resource::Contacts]
        .into_iter()
        .flat_map(Resource::streams)
        .collect();
    Story {
        plan: plan(),
        before: async |mirror: &mut Mirror| {
            forget_everything(mirror).await;
            mirror.restart().await;
            // Sessions are loaded in part, contacts whole.
            let budget = AtomicU64::new(30);
            let _stopped = mirror.sync_within(Some(&budget)).await;
        },
        act: async |mirror: &mut Mirror| {
            let (store, lease) = (&mirror.database.store, mirror.engine.lease());
            let now = mirror.clock.now();
            let set = store.set_watermarks(lease, &streams, None, now);
            assert!(set.await.unwrap().iter().all(|(_, old)| old.is_some()));
        },
        next: async |mirror: &mut Mirror, _| {
            assert_good(&mirror.sync().await);
            mirror.assert_mirrors().await;
            assert_settled(mirror).await;
        },
        every: 1,
    }
    .told()
    .await;
}

async fn begin_backfill(mirror: &Mirror) {
    let filters = vec![SessionFilter::default()];
    mirror
        .engine
        .plan_backfill(
            Resource::Sessions,
            Span::OPEN,
            filters,
            false,
            mirror.limits(),
        )
        .await
        .unwrap();
}

#[tokio::test]
async fn killed_at_any_point_of_a_backfill_that_begins_again_one_of_the_two_is_gone_on_with() {
    Story {
        plan: plan(),
        before: async |mirror: &mut Mirror| {
            assert_good(&mirror.sync().await);
            begin_backfill(mirror).await;
            lose_oldest(mirror).await;
        },
        act: async |mirror: &mut Mirror| {
            begin_backfill(mirror).await;
            assert_good(&mirror.sync().await);
        },
        next: async |mirror: &mut Mirror, _| {
            assert_good(&mirror.sync().await);
            mirror.assert_mirrors().await;
            assert_settled(mirror).await;
        },
        every: 3,
    }
    .told()
    .await;
}

/// Compares and repairs everything.
async fn verify(mirror: &Mirror) {
    let resources = &mirror.plan.resources;
    let verified = mirror.engine.verify(resources, 0, mirror.limits()).await;
    let failed = verified.into_iter().filter_map(Verified::into_failure);
    assert_good(&failed.collect::<Vec<_>>());
}

async fn retry_rejects(mirror: &Mirror) {
    for resource in [Resource::Sessions, Resource::Contacts] {
        let rejects = mirror.rejects().await;
        let of_it = rejects
            .iter()
            .filter(|reject| reject.resource == resource.name());
        let ids = of_it.filter_map(|reject| reject.record_id).collect();
        let run = mirror.engine.retry_rejects(resource, &ids, mirror.limits());
        assert_good(&[run.await]);
    }
}

/// A day's work: passes, open sessions, rejects, verification.
async fn work(mirror: &Mirror) {
    assert_good(&mirror.sync().await);
    assert_good(&[mirror.engine.refresh_open(mirror.limits()).await]);
    retry_rejects(mirror).await;
    verify(mirror).await;
}

#[tokio::test]
async fn killed_at_any_point_of_a_days_work_the_next_day_finds_all_that_was_left() {
    Story {
        plan: plan(),
        before: async |mirror: &mut Mirror| {
            let broken = mirror.change(|account| {
                let broken = account.session_ids()[25];
                account.poison(broken, Poison::WrongType);
                account.update_session(broken, |session| session.unread_count += 1);
                broken
            });
            mirror.sync().await;
            mirror.clock.advance(Duration::from_mins(20));
            lose_oldest(mirror).await;
            mirror.change(|account| {
                account.heal(broken);
                let gone = account.session_ids()[20];
                account.delete_session(gone);
                account.live_step(20);
                let tag = account.add_tag("Nova");
                let contact = account.contact_ids()[0];
                account.set_contact_tags(contact, &[tag]);
            });
            mirror.clock.advance(Duration::from_mins(20));
        },
        act: async |mirror: &mut Mirror| work(mirror).await,
        next: async |mirror: &mut Mirror, count| {
            work(mirror).await;
            mirror.quiet().await;
            // Contacts are retagged without a word of their sessions.
            mirror.assert_mirrors_within(&Scope::of_churn()).await;
            assert_settled(mirror).await;
            assert_eq!(mirror.rejects().await, [], "{count}");
        },
        every: 16,
    }
    .told()
    .await;
}
