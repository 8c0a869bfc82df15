//! What an account's row remembers of its platform.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use helena_sync::clock::Clock;
use helena_sync::data::{Learned, SessionVersion, Source};
use helena_sync::sandbox::FaultRates;

use crate::support::database::{Database, on_both};
use crate::support::mirror::{Mirror, Plan, assert_good, failures};

#[tokio::test]
async fn a_platform_that_limits_for_long_is_told_with_its_beginning_until_it_answers() {
    on_both(|database| async move {
        let mut plan = Plan::of(40);
        plan.patience = Some(Duration::from_mins(2));
        let mut mirror = Mirror::begin(database, plan).await;
        mirror.load().await;
        mirror.engine.note_trouble(false).await;
        let stored = async |mirror: &Mirror| {
            let stored = mirror.database.store.trouble(mirror.account).await;
            stored.unwrap()
        };
        assert_eq!(stored(&mirror).await, None);
        mirror.change(|account| {
            account.faults = FaultRates {
                too_many: 1.0,
                ..FaultRates::default()
            };
        });
        let begun = mirror.clock.now();
        assert!(!failures(&mirror.pass().await).is_empty());
        mirror.engine.note_trouble(false).await;
        let (since, what) = stored(&mirror).await.unwrap();
        assert_eq!(since, begun);
        assert!(what.contains("answers 429 (too many requests)"), "{what}");
        // Another process that gets no answer either.
        mirror.restart().await;
        mirror.clock.advance(Duration::from_hours(2));
        assert!(!failures(&mirror.pass().await).is_empty());
        mirror.engine.note_trouble(false).await;
        assert_eq!(stored(&mirror).await.unwrap().0, begun);
        mirror.change(|account| account.faults = FaultRates::default());
        mirror.clock.advance(Duration::from_hours(2));
        assert_good(&mirror.pass().await);
        mirror.engine.note_trouble(false).await;
        assert_eq!(stored(&mirror).await, None);
    })
    .await;
}

#[tokio::test]
async fn what_is_learned_is_stored_with_the_run_that_learned_it() {
    on_both(|database| async move {
        let mut plan = Plan::of(60);
        plan.sandbox.moods.v2_withdrawn = Some(404);
        plan.sandbox.moods.bare_token = true;
        let mut mirror = Mirror::begin(database, plan).await;
        let stored = async |mirror: &Mirror| {
            let stored = mirror.database.store.learned(mirror.account).await;
            stored.unwrap()
        };
        assert_eq!(stored(&mirror).await, Learned::default());
        let tags = helena_sync::data::Resource::Tags;
        assert_good(&[mirror.engine.list(tags, mirror.limits()).await]);
        let bare = Learned {
            bare_token: true,
            ..Learned::default()
        };
        assert_eq!(stored(&mirror).await, bare);
        mirror.load().await;
        let learned = Learned {
            session_list: Some(SessionVersion::First),
            bare_token: true,
        };
        assert_eq!(stored(&mirror).await, learned);
        // Another process begins with it.
        mirror.restart().await;
        mirror.client.remember(&learned);
        mirror.sandbox.take_requests();
        assert_good(&mirror.pass().await);
        let requests = mirror.sandbox.take_requests();
        let refused: Vec<_> = requests.iter().filter(|seen| seen.status != 200).collect();
        let paths: Vec<_> = refused.iter().map(|seen| seen.path.as_str()).collect();
        // Only whether it is back.
        assert_eq!(paths, ["/chat/v2/session"]);
        // The usual version is back, which a comparison of both notices.
        mirror.change(|account| account.moods.v2_withdrawn = None);
        let totals = mirror.client.session_totals().await.unwrap().unwrap();
        assert_eq!(totals.difference(), None);
        assert_eq!(totals.in_use, SessionVersion::Second);
        mirror.engine = mirror.engine.remembering(learned);
        assert_good(&mirror.pass().await);
        assert_eq!(stored(&mirror).await, bare);
        // So does another token, or another platform behind the same address, that wants Bearer.
        mirror.restart().await;
        mirror.client.remember(&bare);
        mirror.engine = mirror.engine.remembering(bare);
        mirror.change(|account| account.moods.bare_token = false);
        assert_good(&mirror.pass().await);
        assert_eq!(stored(&mirror).await, Learned::default());
        mirror.quiet().await;
    })
    .await;
}

/// An account whose groups the first version of the list hides, read while the second one is away.
async fn without_groups(database: Database) -> Mirror {
    let mut plan = Plan::of(120);
    plan.sandbox.moods.v2_withdrawn = Some(404);
    plan.sandbox.moods.v1_hides_groups = true;
    let mirror = Mirror::begin(database, plan).await;
    mirror.load().await;
    let all = mirror.change(|account| account.session_ids().len());
    let stored = mirror.database.count("sessions", "true").await;
    assert!(usize::try_from(stored).unwrap() < all, "it has groups");
    mirror
}

#[tokio::test]
async fn a_sync_after_the_second_version_is_back_reads_what_the_first_one_hid() {
    on_both(|database| async move {
        let mut mirror = without_groups(database).await;
        // As long as it is away each process asks it once.
        mirror.restart_knowing().await;
        mirror.sandbox.take_requests();
        assert_good(&mirror.sync().await);
        assert_good(&mirror.pass().await);
        let requests = mirror.sandbox.take_requests();
        let asked = |path: &str| requests.iter().filter(|it| it.path == path).count();
        assert_eq!(asked("/chat/v2/session"), 1);
        mirror.change(|account| account.moods.v2_withdrawn = None);
        mirror.restart_knowing().await;
        assert_good(&mirror.sync().await);
        mirror.assert_mirrors().await;
        let stored = mirror.database.store.learned(mirror.account).await;
        assert_eq!(stored.unwrap(), Learned::default());
        // Once.
        let backfills = mirror.database.count("backfills", "not first_load").await;
        assert_eq!(backfills, 1);
        mirror.restart_knowing().await;
        mirror.quiet().await;
        let backfills = mirror.database.count("backfills", "not first_load").await;
        assert_eq!(backfills, 1);
        mirror.assert_mirrors().await;
    })
    .await;
}

#[tokio::test]
async fn a_process_that_goes_on_asks_the_second_version_every_hour() {
    on_both(|database| async move {
        let mirror = without_groups(database).await;
        mirror.change(|account| account.moods.v2_withdrawn = None);
        mirror.clock.advance(Duration::from_mins(58));
        assert_good(&mirror.sync().await);
        assert_eq!(mirror.client.session_version(), SessionVersion::First);
        mirror.clock.advance(Duration::from_mins(3));
        assert_good(&mirror.sync().await);
        assert_eq!(mirror.client.session_version(), SessionVersion::Second);
        mirror.assert_mirrors().await;
    })
    .await;
}

#[tokio::test]
async fn that_the_first_version_was_read_is_known_whenever_the_process_ends() {
    on_both(|database| async move {
        let mut plan = Plan::of(120);
        plan.sandbox.moods.v2_withdrawn = Some(404);
        plan.sandbox.moods.v1_hides_groups = true;
        let mut mirror = Mirror::begin(database, plan).await;
        // As if killed in the middle of a run: nothing that its end would do is done.
        let account = mirror.account;
        let store = mirror.database.store.clone();
        let seen = Arc::new(AtomicU64::new(0));
        let told = Arc::clone(&seen);
        let stop = mirror.stop.clone();
        let load = async {
            let runs = mirror.sync().await;
            assert!(!runs.is_empty());
        };
        let watch = async {
            loop {
                let rows = mirror
                    .database
                    .count("sessions", "start_at is not null")
                    .await;
                let learned = store.learned(account).await.unwrap();
                if rows > 0 {
                    told.fetch_add(1, Ordering::SeqCst);
                    assert_eq!(learned.session_list, Some(SessionVersion::First));
                }
                if rows >= 40 || stop.is_cancelled() {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = load => {}
            () = watch => {}
        }
        assert!(seen.load(Ordering::SeqCst) > 0);
        mirror.change(|account| account.moods.v2_withdrawn = None);
        mirror.restart_knowing().await;
        mirror.quiet().await;
        mirror.assert_mirrors().await;
    })
    .await;
}

#[tokio::test]
async fn what_was_learned_at_another_address_is_forgotten() {
    on_both(|database| async move {
        let mirror = Mirror::begin(database, Plan::of(5)).await;
        let store = &mirror.database.store;
        let lease = mirror.engine.lease();
        let learned = Learned {
            session_list: Some(SessionVersion::First),
            bare_token: true,
        };
        let trouble = (mirror.clock.now(), "x answers 503".to_owned());
        store.set_learned(lease, &learned).await.unwrap();
        store.set_trouble(lease, Some(&trouble)).await.unwrap();
        for (url, kept) in [
            (mirror.sandbox.base_url(), true),
            ("http://b".to_owned(), false),
        ] {
            let now = mirror.clock.now();
            let id = store.account("default", &url, now).await.unwrap();
            assert_eq!(id, mirror.account);
            store.set_base_url(lease, &url).await.unwrap();
            let expected = if kept { learned } else { Learned::default() };
            assert_eq!(store.learned(id).await.unwrap(), expected);
            let expected = kept.then(|| trouble.clone());
            assert_eq!(store.trouble(id).await.unwrap(), expected);
        }
        // Nobody writes who has not the right to.
        store.release(lease).await.unwrap();
        assert!(store.set_learned(lease, &learned).await.is_err());
        assert!(store.set_trouble(lease, Some(&trouble)).await.is_err());
    })
    .await;
}
