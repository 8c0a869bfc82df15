//! What happens in sessions without touching their `updatedAt`.

use std::time::Duration;

use helena_sync::data::Stream;
use helena_sync::sandbox::{Moods, SandboxAccount};
use uuid::Uuid;

use crate::support::database::on_both;
use crate::support::mirror::{Mirror, Plan, assert_good, failures};

const MINUTE: Duration = Duration::from_mins(1);

impl Mirror {
    /// A message comes in a session.
    fn say(&self, session: Uuid, text: &str) {
        self.change(|account| {
            let now = account.now();
            assert!(account.update_session(session, |session| {
                session.last_interaction = Some(now);
                session.last_message_in = Some(now);
                session.last_message_text = Some(text.to_owned().into());
                session.unread_count += 1;
            }));
        });
    }

    /// How many sessions hold this as their last message.
    async fn heard(&self, text: &str) -> i64 {
        let said = format!("last_message_text = '{text}'");
        self.database.count("sessions", &said).await
    }

    async fn interactions_ahead(&self) -> u64 {
        let states = self.database.store.stream_statuses(self.account).await;
        let states = states.unwrap();
        let of_sessions = states
            .iter()
            .find(|state| (state.resource.as_str(), state.partition.as_str()) == ("sessions", ""));
        of_sessions.map_or(0, |state| state.interactions_ahead)
    }

    async fn session_questions(&self) -> usize {
        self.sandbox.take_requests();
        assert_good(&self.pass().await);
        let asked = self.sandbox.take_requests();
        asked
            .iter()
            .filter(|it| it.path.ends_with("/session"))
            .count()
    }
}

fn silent() -> Moods {
    Moods {
        silent_messages: true,
        ..Moods::default()
    }
}

/// A session that is open, or one that is closed.
fn find(account: &mut SandboxAccount, is_open: bool) -> Uuid {
    let ids = account.session_ids();
    let mut ids = ids.into_iter();
    let found = ids.find(|id| account.session(*id).unwrap().end_at.is_none() == is_open);
    found.unwrap()
}

async fn a_silent_platform(moods: Moods) {
    on_both(move |database| {
        let mut plan = Plan::of(150);
        plan.sandbox.moods = moods.clone();
        async move {
            let mirror = Mirror::begin(database, plan).await;
            let ids = mirror.change(SandboxAccount::session_ids);
            for id in &ids[..5] {
                mirror.clock.advance(MINUTE);
                mirror.say(*id, "antes");
            }
            mirror.clock.advance(MINUTE);
            mirror.load().await;
            assert_eq!(mirror.heard("antes").await, 5);
            assert!(mirror.interactions_ahead().await >= 5);
            for number in 0..60 {
                mirror.clock.advance(MINUTE / 6);
                mirror.say(ids[number * 2], "depois");
                if number % 6 == 5 {
                    assert_good(&mirror.pass().await);
                }
            }
            mirror.assert_mirrors().await;
            mirror.quiet().await;
            mirror.assert_mirrors().await;
            assert_eq!(mirror.heard("depois").await, 60);
            // One question more than one that touches `updatedAt` with every message.
            assert_eq!(mirror.session_questions().await, 2);
        }
    })
    .await;
}

#[tokio::test]
async fn messages_that_do_not_touch_a_session_are_followed_by_what_they_touch() {
    a_silent_platform(silent()).await;
}

#[tokio::test]
async fn messages_that_do_not_touch_a_session_are_followed_in_no_order() {
    a_silent_platform(Moods {
        ignore_order: true,
        ..silent()
    })
    .await;
}

#[tokio::test]
async fn messages_that_do_not_touch_a_session_are_followed_whatever_the_header_shows() {
    a_silent_platform(Moods {
        date_micros: 600_000_000,
        ..silent()
    })
    .await;
}

/// A platform whose messages fall silent one day is noticed by whoever reads an open session, and then
/// nothing that happened since the first load is missing.
#[tokio::test]
async fn what_happened_before_it_was_noticed_is_read_once_it_is() {
    on_both(|database| async move {
        let mirror = Mirror::begin(database, Plan::of(150)).await;
        mirror.load().await;
        mirror.quiet().await;
        assert_eq!(mirror.interactions_ahead().await, 0);
        assert_eq!(mirror.session_questions().await, 1);
        let states = mirror.database.store.states(mirror.account).await.unwrap();
        assert!(
            states
                .iter()
                .all(|state| state.stream != Stream::INTERACTIONS)
        );

        mirror.change(|account| account.moods.silent_messages = true);
        let (open, closed) = mirror.change(|account| (find(account, true), find(account, false)));
        mirror.say(closed, "em silêncio");
        mirror.clock.advance(MINUTE * 5);
        mirror.say(open, "em silêncio");
        mirror.clock.advance(MINUTE * 5);
        assert_good(&mirror.pass().await);
        assert_eq!(mirror.heard("em silêncio").await, 0);

        assert_good(&[mirror.engine.refresh_open(mirror.limits()).await]);
        assert_eq!(mirror.heard("em silêncio").await, 1);
        assert_eq!(mirror.interactions_ahead().await, 1);
        assert_good(&mirror.pass().await);
        assert_eq!(mirror.heard("em silêncio").await, 2);
        mirror.assert_mirrors().await;
        mirror.quiet().await;
        assert_eq!(mirror.session_questions().await, 2);
    })
    .await;
}

/// A mirror that was loaded by a program which did not note where its load began reads from the first
/// session on.
#[tokio::test]
async fn a_mirror_of_an_older_program_follows_from_the_first_session_on() {
    on_both(|database| async move {
        let mut plan = Plan::of(150);
        plan.sandbox.moods = silent();
        let mirror = Mirror::begin(database, plan).await;
        mirror.load().await;
        let forget = "delete from sync_state where partition = 'interactions'";
        mirror.database.execute(forget).await;
        let ids = mirror.change(SandboxAccount::session_ids);
        let open = mirror.change(|account| find(account, true));
        for id in ids[..39].iter().chain([&open]) {
            mirror.clock.advance(MINUTE);
            mirror.say(*id, "em silêncio");
        }
        assert_eq!(mirror.heard("em silêncio").await, 0);
        assert_good(&[mirror.engine.refresh_open(mirror.limits()).await]);
        mirror.quiet().await;
        mirror.assert_mirrors().await;
        assert_eq!(mirror.heard("em silêncio").await, 40);
    })
    .await;
}

#[tokio::test]
async fn a_platform_that_touches_sessions_is_followed_by_that_alone() {
    on_both(|database| async move {
        let mirror = Mirror::begin(database, Plan::of(80)).await;
        mirror.load().await;
        let ids = mirror.change(SandboxAccount::session_ids);
        for id in &ids[..20] {
            mirror.clock.advance(MINUTE);
            mirror.say(*id, "à vista");
            assert_good(&mirror.pass().await);
        }
        mirror.quiet().await;
        mirror.assert_mirrors().await;
        assert_eq!(mirror.interactions_ahead().await, 0);
        assert_eq!(mirror.session_questions().await, 1);
        assert!(failures(&mirror.sync().await).is_empty());
    })
    .await;
}
