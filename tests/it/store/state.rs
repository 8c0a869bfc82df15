//! Watermarks and what is known of a stream.

use std::time::Duration;

use helena_sync::data::{
    Ordering, Resource, RunKind, RunOutcome, SessionFilter, Span, StateChange, Stream,
};
use helena_sync::store::{FirstWatermark, NewBackfill};

use super::{Writer, at};
use crate::support::database::{Kind, on_both};

const SESSIONS: Stream = Stream::whole(Resource::Sessions);

#[tokio::test]
async fn a_watermark_only_moves_forward_until_an_operator_sets_it() {
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        let store = &database.store;
        let to = |second| StateChange::Watermark {
            stream: SESSIONS,
            to: at(second),
            seen_at: at(second),
        };
        for (second, expected) in [(5, 5), (3, 5), (5, 5), (8, 8)] {
            writer.progress(to(second), 1).await;
            let state = store.state(writer.account, SESSIONS).await.unwrap();
            assert_eq!(state.watermark, Some(at(expected)));
        }
        let run = &store.last_runs(writer.account, 1).await.unwrap()[0];
        assert_eq!(
            (run.watermark_before, run.watermark_after),
            (None, Some(at(8)))
        );
        let pass = |second| StateChange::PassDone {
            stream: SESSIONS,
            server_time: at(second),
        };
        writer.progress(pass(9), 2).await;
        writer.progress(pass(4), 2).await;
        let state = store.state(writer.account, SESSIONS).await.unwrap();
        // The later of two answers may well be the one whose time was right.
        assert_eq!(state.observed_at, Some(at(4)));

        let set = async |to, now| {
            let set = store.set_watermarks(&writer.lease, &[SESSIONS], to, now);
            set.await.unwrap()
        };
        assert_eq!(set(Some(at(2)), at(10)).await, [(SESSIONS, Some(at(8)))]);
        let state = store.state(writer.account, SESSIONS).await.unwrap();
        assert_eq!((state.watermark, state.observed_at), (Some(at(2)), None));
        assert_eq!(set(None, at(11)).await, [(SESSIONS, Some(at(2)))]);
        let state = store.state(writer.account, SESSIONS).await.unwrap();
        assert_eq!(state.watermark, None);
        assert_eq!(
            database
                .count("state_changes", "old_watermark is not null")
                .await,
            2
        );
        let runs = store.last_runs(writer.account, 2).await.unwrap();
        let recorded: Vec<_> = runs
            .iter()
            .map(|run| {
                let outcome = run.outcome.as_deref();
                let moved = (run.watermark_before, run.watermark_after);
                (run.kind.as_str(), run.resource.as_str(), outcome, moved)
            })
            .collect();
        let done = Some("succeeded");
        assert_eq!(
            recorded,
            [
                ("state", "sessions", done, (Some(at(2)), None)),
                ("state", "sessions", done, (Some(at(8)), Some(at(2)))),
            ]
        );
        writer.progress(to(1), 1).await;
        let state = store.state(writer.account, SESSIONS).await.unwrap();
        assert_eq!(state.watermark, Some(at(1)));
    })
    .await;
}

#[tokio::test]
async fn the_order_of_a_stream_and_its_last_error_are_kept() {
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        let store = &database.store;
        let archived = Stream::find("contacts", "ARCHIVED").unwrap();
        store
            .set_ordering(&writer.lease, archived, Ordering::Ignored, at(1))
            .await
            .unwrap();
        let state = store.state(writer.account, archived).await.unwrap();
        assert_eq!(state.ordering, Ordering::Ignored);
        assert_eq!(state.ordering_checked_at, Some(at(1)));

        for (stream, outcome, error) in [
            (archived, RunOutcome::Failed, Some("it was down")),
            (Stream::whole(Resource::Tags), RunOutcome::Succeeded, None),
        ] {
            let run = store
                .begin_run(&writer.lease, RunKind::Incremental, stream, at(1))
                .await
                .unwrap();
            store
                .finish_run(&writer.lease, run, outcome, error, at(2))
                .await
                .unwrap();
        }
        let statuses = store.stream_statuses(writer.account).await.unwrap();
        let found: Vec<_> = statuses
            .iter()
            .map(|status| {
                (
                    status.resource.as_str(),
                    status.partition.as_str(),
                    status.last_success_at,
                    status.last_error.as_deref(),
                )
            })
            .collect();
        assert_eq!(
            found,
            [
                ("contacts", "ARCHIVED", None, Some("it was down")),
                ("tags", "", Some(at(2)), None),
            ]
        );
        // A list is no stream.
        assert_eq!(store.states(writer.account).await.unwrap().len(), 1);

        // Read again it fails no more, whatever the clock has been set to since.
        let run = store
            .begin_run(&writer.lease, RunKind::Incremental, archived, at(0))
            .await
            .unwrap();
        store
            .finish_run(&writer.lease, run, RunOutcome::Succeeded, None, at(1))
            .await
            .unwrap();
        let statuses = store.stream_statuses(writer.account).await.unwrap();
        assert_eq!(statuses[0].last_success_at, Some(at(1)));
        assert_eq!(statuses[0].last_error, None);
        assert_eq!(statuses[0].last_error_at, None);
    })
    .await;
}

#[tokio::test]
async fn only_a_verification_that_ended_well_counts_as_one() {
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        let store = &database.store;
        let begin = async || {
            let run = store.begin_run(
                &writer.lease,
                RunKind::Verify,
                Stream::whole(Resource::Sessions),
                at(1),
            );
            run.await.unwrap()
        };
        let run = begin().await;
        store
            .finish_run(&writer.lease, run, RunOutcome::Failed, Some("no"), at(2))
            .await
            .unwrap();
        assert_eq!(store.verified(writer.account).await.unwrap(), None);
        // One whose process was killed.
        begin().await;
        store.release(&writer.lease).await.unwrap();
        let lease = super::lease(store, writer.account, at(3)).await;
        assert_eq!(store.verified(writer.account).await.unwrap(), None);
        let run = store
            .begin_run(
                &lease,
                RunKind::Verify,
                Stream::whole(Resource::Sessions),
                at(4),
            )
            .await
            .unwrap();
        store
            .finish_run(&lease, run, RunOutcome::Succeeded, None, at(5))
            .await
            .unwrap();
        let verified = store.verified(writer.account).await.unwrap();
        assert_eq!(verified, Some((at(5), 0)));
    })
    .await;
}

#[tokio::test]
async fn each_stream_is_verified_by_itself_and_that_is_known_after_a_year() {
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        let (store, lease) = (&database.store, &writer.lease);
        let run = async |kind: RunKind, resource: Resource, begin: u64, outcome: RunOutcome| {
            let stream = Stream::whole(resource);
            let run = store.begin_run(lease, kind, stream, at(begin)).await;
            let error = (outcome == RunOutcome::Failed).then_some("no");
            let ended = store.finish_run(lease, run.unwrap(), outcome, error, at(begin + 1));
            ended.await.unwrap();
        };
        let good = RunOutcome::Succeeded;
        run(RunKind::List, Resource::Tags, 10, good).await;
        run(RunKind::List, Resource::Agents, 12, good).await;
        run(RunKind::Verify, Resource::Tags, 20, good).await;
        // One of them fails in every verification.
        for begin in [30, 40, 50] {
            run(RunKind::Verify, Resource::Tags, begin, good).await;
            run(
                RunKind::Verify,
                Resource::Agents,
                begin + 2,
                RunOutcome::Failed,
            )
            .await;
        }
        let verified = async || {
            let all = store.verifications(writer.account).await.unwrap();
            let of = |resource: Resource| {
                let mut all = all.iter();
                let one = all.find(|one| one.resource == resource.name()).unwrap();
                (one.can_be_since, one.verified_at)
            };
            [of(Resource::Tags), of(Resource::Agents)]
        };
        let tags = (Some(at(10)), Some(at(51)));
        assert_eq!(verified().await, [tags, (Some(at(12)), None)]);
        // Runs are forgotten, but not when each was last verified.
        let year = Duration::from_hours(365 * 24);
        let keep = Duration::from_hours(90 * 24);
        let forgotten = store.forget_runs(lease, at(0) + year, keep).await.unwrap();
        assert!(forgotten >= 6, "{forgotten}");
        let [tags, agents] = verified().await;
        assert_eq!(tags.1, Some(at(51)));
        assert_eq!(agents, (Some(at(52)), None));
        // What is being loaded cannot be verified yet.
        let account = writer.account.0;
        let yes = match database.kind {
            Kind::Sqlite => "1",
            Kind::Postgres => "true",
        };
        database
            .execute(&format!(
                "insert into backfills (account_id, resource, first_load, filters, created_at) \
                 values ({account}, 'agents', {yes}, '[]', '{}')",
                at(60)
            ))
            .await;
        assert_eq!(verified().await[1], (None, None));
        let ended = format!("update backfills set finished_at = '{}'", at(70));
        database.execute(&ended).await;
        assert_eq!(verified().await[1], (Some(at(70)), None));
    })
    .await;
}

#[tokio::test]
async fn since_when_a_token_is_refused_is_known_however_often_it_is_tried() {
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        let (store, lease) = (&database.store, &writer.lease);
        let run = async |begin: u64, error: Option<&str>| {
            let stream = Stream::whole(Resource::Sessions);
            let run = store.begin_run(lease, RunKind::Incremental, stream, at(begin));
            let run = run.await.unwrap();
            let outcome = match error {
                None => RunOutcome::Succeeded,
                Some(_) => RunOutcome::Failed,
            };
            let ended = store.finish_run(lease, run, outcome, error, at(begin + 1));
            ended.await.unwrap();
            let statuses = store.stream_statuses(writer.account).await.unwrap();
            let status = statuses.iter().find(|one| one.resource == "sessions");
            status.unwrap().refused_since
        };
        let refused = Some("GET /x was refused with 401: no");
        assert_eq!(run(10, refused).await, Some(at(11)));
        assert_eq!(run(20, None).await, None);
        assert_eq!(run(30, Some("GET /x failed: 503")).await, None);
        assert_eq!(run(40, refused).await, Some(at(41)));
        assert_eq!(run(50, refused).await, Some(at(41)));
        // Its run may be forgotten.
        let delete = "delete from sync_runs where error is not null";
        database.execute(delete).await;
        let statuses = store.stream_statuses(writer.account).await.unwrap();
        let status = statuses.iter().find(|one| one.resource == "sessions");
        assert_eq!(status.unwrap().refused_since, Some(at(51)));
    })
    .await;
}

#[tokio::test]
async fn a_run_whose_end_could_not_be_recorded_is_no_longer_shown_as_running_when_the_next_begins()
{
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        let store = &database.store;
        let next = store
            .begin_run(
                &writer.lease,
                RunKind::List,
                Stream::whole(Resource::Tags),
                at(7),
            )
            .await
            .unwrap();
        let runs = store.last_runs(writer.account, 10).await.unwrap();
        let found: Vec<_> = runs
            .iter()
            .map(|run| (run.id, run.outcome.as_deref(), run.finished_at))
            .collect();
        assert_eq!(
            found,
            [
                (next, None, None),
                (writer.run, Some("interrupted"), Some(at(7)))
            ]
        );
    })
    .await;
}

#[tokio::test]
async fn what_was_learned_up_to_a_watermark_is_forgotten_with_it() {
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        let store = &database.store;
        let contacts = Resource::Contacts.streams();
        for &stream in contacts.iter().chain([&SESSIONS]) {
            let to = at(5);
            writer.progress(StateChange::Watermark { stream, to, seen_at: to }, 1).await;
        }
        let learned = "update sync_state set observed_at = watermark, watermark_seen_at = watermark, \
                       watermark_seen_locally_at = watermark, clock_difference_ms = 7, \
                       clock_difference_at = watermark, doubted_at = watermark, \
                       doubted_keys = '[]', interactions_ahead = 3, interactions_ahead_at = watermark";
        let forgotten = "observed_at is null and watermark_seen_at is null \
                         and watermark_seen_locally_at is null and clock_difference_ms is null \
                         and clock_difference_at is null and doubted_at is null \
                         and doubted_keys is null and interactions_ahead = 0 and interactions_ahead_at is null";
        for to in [Some(at(3)), None] {
            database.execute(learned).await;
            let set = store.set_watermarks(&writer.lease, &contacts, to, at(9));
            set.await.unwrap();
            let streams = database.count("sync_state", forgotten).await;
            assert_eq!(streams, 3, "{to:?}");
            let sessions = format!("resource = 'sessions' and not ({forgotten})");
            assert_eq!(database.count("sync_state", &sessions).await, 1);
        }
    })
    .await;
}

#[tokio::test]
async fn a_part_whose_load_is_given_up_for_another_part_counts_as_loaded_no_more() {
    on_both(|database| async move {
        let writer = Writer::new(&database).await;
        let store = &database.store;
        let contacts = Resource::Contacts.streams();
        let blocked = Stream::find("contacts", "BLOCKED").unwrap();
        let load = NewBackfill {
            resource: Resource::Contacts,
            first_load: true,
            on_request: false,
            records: None,
            range: Span::OPEN,
            filters: vec![SessionFilter::default()],
            windows: vec![(contacts[0], Span::OPEN, 0)],
            watermarks: contacts
                .iter()
                .map(|&stream| FirstWatermark {
                    stream,
                    to: at(5),
                    seen_at: at(5),
                })
                .collect(),
        };
        store
            .create_backfill(&writer.lease, &load, at(5))
            .await
            .unwrap();
        let loaded = async || {
            let states = store.states(writer.account).await.unwrap();
            states
                .iter()
                .filter(|state| state.watermark.is_some())
                .count()
        };
        assert_eq!(loaded().await, 3);
        let reset = async || {
            let streams = [blocked];
            let reset = store.set_watermarks(&writer.lease, &streams, None, at(6));
            reset.await.unwrap()
        };
        assert_eq!(reset().await.len(), 3);
        assert_eq!(loaded().await, 0);
        // Without a load under way the others have been loaded.
        let to = at(7);
        for stream in contacts {
            writer
                .progress(
                    StateChange::Watermark {
                        stream,
                        to,
                        seen_at: to,
                    },
                    7,
                )
                .await;
        }
        assert_eq!(reset().await, [(blocked, Some(to))]);
        assert_eq!(loaded().await, 2);
    })
    .await;
}
