//! Long work of a daemon: passes go on while the mirror is compared with the account and while
//! thousands of open sessions are read again.

use std::time::Duration;

use helena_sync::clock::Clock as _;
use helena_sync::daemon::{End, Intervals};
use helena_sync::data::Resource;
use helena_sync::sandbox::{Fault, SandboxAccount};
use helena_sync::schedule::{Trigger, slots};
use helena_sync::sync::OpenSessions;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::support::database::{Database, on_both};
use crate::support::mirror::{Mirror, Plan, assert_good};

const MINUTE: Duration = Duration::from_mins(1);

const INTERVALS: Intervals = Intervals {
    catalog: Duration::from_mins(15),
    refresh_open: Duration::from_hours(6),
};

/// A mirror of which hundreds of sessions are gone.
async fn with_deletions(database: Database, deletions: usize) -> Mirror {
    let mut plan = Plan::of(900);
    plan.resources = vec![Resource::Sessions, Resource::Tags];
    let mirror = Mirror::begin(database, plan).await;
    mirror.load().await;
    mirror.quiet().await;
    mirror.change(|account| {
        let ids = account.session_ids();
        for id in &ids[100..100 + deletions] {
            account.delete_session(*id);
        }
    });
    mirror
}

async fn removed(mirror: &Mirror) -> i64 {
    let removed = "removed_at is not null";
    mirror.database.count("sessions", removed).await
}

fn begin_session(account: &mut SandboxAccount) -> Uuid {
    let session = account.draft_session();
    account.insert_session(session)
}

#[tokio::test]
async fn passes_go_on_while_a_verification_takes_long() {
    on_both(|database| async move {
        let mirror = with_deletions(database, 450).await;
        let mut worker = mirror.worker(INTERVALS);
        worker.step(Trigger::Verify, &mirror.stop).await;
        let mut portions = 1;
        let mut before = removed(&mirror).await;
        while worker.is_verifying() {
            // What was found is stored with its portion.
            let now = removed(&mirror).await;
            assert!(portions < 3 || now > before, "{now} after {before}");
            before = now;
            let session = mirror.change(begin_session);
            mirror.clock.advance(MINUTE);
            let begun = mirror.clock.now();
            assert_good(&worker.step(Trigger::Pass, &mirror.stop).await);
            let stored = format!("id = '{session}'");
            assert_eq!(mirror.database.count("sessions", &stored).await, 1);
            worker.go_on(&mirror.stop).await;
            let took = mirror.clock.now().since(begun);
            assert!(took < MINUTE, "{took:?}");
            portions += 1;
        }
        assert!(portions >= 4, "{portions}");
        assert_eq!(removed(&mirror).await, 450);
        let counted = mirror.database.store.verified(mirror.account).await;
        assert_eq!(counted.unwrap().map(|(_, differing)| differing), Some(450));
        mirror.quiet().await;
        let ids = mirror.change(SandboxAccount::session_ids).len();
        let stored = mirror
            .database
            .count("sessions", "removed_at is null")
            .await;
        assert_eq!(stored, i64::try_from(ids).unwrap());
    })
    .await;
}

#[tokio::test]
async fn a_pass_that_waits_goes_before_the_next_portion() {
    on_both(|database| async move {
        let mirror = with_deletions(database, 450).await;
        let mut worker = mirror.worker(INTERVALS);
        let (slots, mut triggers) = slots();
        slots.put(Trigger::Verify);
        let stop = CancellationToken::new();
        let (asked, done) = (slots.clone(), stop.clone());
        let mut by_id = 0;
        mirror.sandbox.on_answer(move |_, request| {
            if request.path.starts_with("/chat/v2/session/") {
                by_id += 1;
                asked.put(Trigger::Pass);
            }
            if by_id >= 450 {
                done.cancel();
            }
        });
        let end = worker.work(&mut triggers, &stop, &mirror.stop).await;
        assert!(matches!(end, Ok(End::Stopped)), "{end:?}");
        let kinds = mirror
            .database
            .texts(
                "select kind from sync_runs where resource = 'sessions' \
                 and kind in ('verify', 'incremental') order by id",
            )
            .await;
        let first = kinds.iter().position(|kind| kind == "verify").unwrap();
        let verified = kinds.iter().filter(|kind| *kind == "verify").count();
        assert!(verified >= 4, "{kinds:?}");
        // No two portions follow each other without a pass in between.
        for pair in kinds[first..].windows(2).take(2 * verified - 3) {
            assert_ne!(pair[0], pair[1], "{kinds:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_was_found_before_the_process_was_killed_is_kept() {
    on_both(|database| async move {
        let mut mirror = with_deletions(database, 450).await;
        let mut worker = mirror.worker(INTERVALS);
        worker.step(Trigger::Verify, &mirror.stop).await;
        worker.go_on(&mirror.stop).await;
        worker.go_on(&mirror.stop).await;
        assert!(worker.is_verifying());
        drop(worker);
        let found = removed(&mirror).await;
        assert!((50..400).contains(&found), "{found}");
        let queued = "reason = 'not_listed'";
        let waiting = mirror.database.count("rechecks", queued).await;
        assert_eq!(found + waiting, 450);
        // It is not taken for a whole one.
        let verified = mirror.database.store.verified(mirror.account).await;
        assert_eq!(verified.unwrap(), None);

        mirror.restart().await;
        mirror.clock.advance(Duration::from_hours(24));
        let mut worker = mirror.worker(INTERVALS);
        worker.step(Trigger::Verify, &mirror.stop).await;
        while worker.is_verifying() {
            worker.go_on(&mirror.stop).await;
        }
        assert_eq!(removed(&mirror).await, 450);
        assert_eq!(mirror.database.count("rechecks", "true").await, 0);
        let verified = mirror.database.store.verified(mirror.account).await;
        assert_eq!(verified.unwrap().map(|(_, differing)| differing), Some(450));
    })
    .await;
}

#[tokio::test]
async fn a_verification_that_an_outage_stopped_goes_on_behind_the_next_good_pass() {
    on_both(|database| async move {
        let mirror = with_deletions(database, 450).await;
        let mut worker = mirror.worker(INTERVALS);
        worker.step(Trigger::Verify, &mirror.stop).await;
        assert!(worker.is_verifying());
        mirror.change(|account| account.moods.offline = true);
        worker.go_on(&mirror.stop).await;
        assert!(!worker.is_verifying());
        mirror.clock.advance(MINUTE);
        worker.step(Trigger::Pass, &mirror.stop).await;
        assert!(!worker.is_verifying());
        mirror.change(|account| account.moods.offline = false);
        mirror.clock.advance(MINUTE);
        assert_good(&worker.step(Trigger::Pass, &mirror.stop).await);
        while worker.is_verifying() {
            worker.go_on(&mirror.stop).await;
        }
        assert_eq!(removed(&mirror).await, 450);

        // So does one whose first pass failed.
        mirror.change(|account| account.moods.offline = true);
        worker.step(Trigger::Verify, &mirror.stop).await;
        assert!(!worker.is_verifying());
        mirror.change(|account| {
            account.moods.offline = false;
            let ids = account.session_ids();
            account.delete_session(ids[3])
        });
        mirror.clock.advance(MINUTE);
        assert_good(&worker.step(Trigger::Pass, &mirror.stop).await);
        while worker.is_verifying() {
            worker.go_on(&mirror.stop).await;
        }
        assert_eq!(removed(&mirror).await, 451);
    })
    .await;
}

#[tokio::test]
async fn thousands_of_open_sessions_are_read_again_between_passes() {
    on_both(|database| async move {
        let mut plan = Plan::of(60);
        plan.walk.page_size = 100;
        plan.resources = vec![Resource::Sessions];
        let mirror = Mirror::begin(database, plan).await;
        let open: Vec<Uuid> = mirror.change(|account| {
            let begin = |number: u32| {
                let mut session = account.draft_session();
                session.created_at.0 -= i64::from(4_500 - number) * 600_000_000;
                account.insert_session(session)
            };
            (0..4_500).map(begin).collect()
        });
        mirror.load().await;
        mirror.quiet().await;
        mirror.change(|account| {
            // One of each window.
            for id in [open[10], open[2_300], open[4_400]] {
                account.delete_session(id);
            }
            for id in &open[2_400..2_410] {
                let at = account.session(*id).unwrap().updated_at;
                account.update_session(*id, |session| {
                    session.unread_count += 1;
                    session.updated_at = at;
                });
            }
            account.moods.latency = Duration::from_secs(2);
        });
        mirror.clock.advance(Duration::from_hours(7));
        let mut worker = mirror.worker(INTERVALS);
        let runs = async |outcome: &str| {
            let made = format!("kind = 'refresh_open' and outcome = '{outcome}'");
            mirror.database.count("sync_runs", &made).await
        };
        let mut passes = 0;
        while runs("succeeded").await == 0 {
            assert!(passes < 6, "never done");
            let session = mirror.change(begin_session);
            mirror.clock.advance(MINUTE);
            assert_good(&worker.step(Trigger::Pass, &mirror.stop).await);
            let stored = format!("id = '{session}'");
            assert_eq!(mirror.database.count("sessions", &stored).await, 1);
            passes += 1;
        }
        assert!(passes > 1, "in one portion");
        assert_eq!(runs("stopped").await, passes - 1);
        assert_eq!(removed(&mirror).await, 3);
        mirror.change(|account| account.moods.latency = Duration::ZERO);
        mirror.quiet().await;
        let unread = "unread_count > 0 and removed_at is null";
        let expected = mirror.change(|account| {
            let ids = account.session_ids();
            let unread = |id: &&Uuid| account.session(**id).unwrap().unread_count > 0;
            ids.iter().filter(unread).count()
        });
        assert_eq!(
            mirror.database.count("sessions", unread).await,
            i64::try_from(expected).unwrap()
        );
    })
    .await;
}

#[tokio::test]
async fn a_stream_that_cannot_be_read_holds_up_the_verification_of_no_other() {
    on_both(|database| async move {
        let mirror = with_deletions(database, 1).await;
        let tags = mirror.change(|account| account.tags());
        mirror
            .database
            .execute(&format!(
                "update tags set name = 'STALE' where id = '{}'",
                tags[0]
            ))
            .await;
        let ids = mirror.change(|account| {
            account.moods.ignore_order = true;
            account.moods.ignore_page_number = true;
            let ids = account.session_ids();
            for id in &ids[..50] {
                account.update_session(*id, |session| session.unread_count += 1);
            }
            ids
        });
        let mut worker = mirror.worker(INTERVALS);
        let verified = async |resource: &str| {
            let made = format!("kind = 'verify' and resource = '{resource}'");
            mirror.database.count("sync_runs", &made).await
        };
        for night in 1..3 {
            mirror.clock.advance(MINUTE * 10);
            let runs = worker.step(Trigger::Verify, &mirror.stop).await;
            let failed = crate::support::mirror::failures(&runs);
            assert_eq!(failed.len(), 1, "{failed:?}");
            while worker.is_verifying() {
                worker.go_on(&mirror.stop).await;
            }
            assert_eq!(verified("tags").await, night);
            assert_eq!((verified("sessions").await, removed(&mirror).await), (0, 0));
        }
        // It follows once it can be read.
        mirror.change(|account| account.moods.ignore_page_number = false);
        mirror.clock.advance(MINUTE);
        assert_good(&worker.step(Trigger::Pass, &mirror.stop).await);
        assert!(worker.is_verifying());
        while worker.is_verifying() {
            worker.go_on(&mirror.stop).await;
        }
        assert_eq!((verified("tags").await, removed(&mirror).await), (2, 1));
        mirror.quiet().await;
        let read = format!("id = '{}' and unread_count > 0", ids[7]);
        assert_eq!(mirror.database.count("sessions", &read).await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_window_of_open_sessions_that_cannot_be_read_holds_up_no_other() {
    on_both(|database| async move {
        let mut plan = Plan::of(60);
        plan.walk.page_size = 100;
        plan.resources = vec![Resource::Sessions];
        let mirror = Mirror::begin(database, plan).await;
        let open: Vec<Uuid> = mirror.change(|account| {
            let begin = |number: u32| {
                let mut session = account.draft_session();
                session.created_at.0 -= i64::from(4_500 - number) * 600_000_000;
                account.insert_session(session)
            };
            (0..4_500).map(begin).collect()
        });
        mirror.load().await;
        mirror.quiet().await;
        mirror.change(|account| {
            // One of each window.
            for id in [open[10], open[2_300], open[4_400]] {
                account.delete_session(id);
            }
        });
        // The oldest window is answered by another page, however often it is asked for.
        let other = r#"{"items": [], "pageNumber": 9, "totalItems": 0}"#;
        let fault = Fault::Reply(200, other.to_owned());
        let faults = std::iter::repeat_n(fault, 3);
        mirror
            .sandbox
            .script(std::iter::once(Fault::None).chain(faults));
        let mut sessions = OpenSessions::new();
        let refresh = async |sessions: &mut OpenSessions| {
            loop {
                let run = mirror
                    .engine
                    .refresh_portion(sessions, mirror.limits())
                    .await;
                if sessions.is_done() || !run.succeeded() {
                    return run;
                }
            }
        };
        let run = refresh(&mut sessions).await;
        assert!(!run.succeeded() && !sessions.is_done());
        assert_eq!(removed(&mirror).await, 2);
        // Only that window is left.
        mirror.sandbox.take_requests();
        assert_good(&[refresh(&mut sessions).await]);
        assert!(sessions.is_done());
        assert_eq!(removed(&mirror).await, 3);
        // It ends before the sessions of the next one.
        let next = mirror.change(|account| account.session(open[2_100]).unwrap().created_at);
        let next = next.to_string();
        let asked = mirror.sandbox.take_requests();
        let ends: Vec<String> = asked
            .into_iter()
            .flat_map(|request| request.query)
            .filter(|(name, _)| name == "CreatedAt.Before")
            .map(|(_, end)| end)
            .collect();
        assert!(!ends.is_empty());
        assert!(ends.iter().all(|end| *end < next), "{ends:?}");
    })
    .await;
}
