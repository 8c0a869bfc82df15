//! Clocks of the platform that do not agree: a `Date` header that is not the clock which stamps records,
//! and copies of the data that lag.

use std::time::Duration;

use helena_sync::sandbox::{Moods, SandboxAccount};

use super::churn::Churn;
use crate::support::database::on_both;
use crate::support::mirror::{Mirror, Plan, assert_good, sessions};
use crate::support::truth::Scope;

const MINUTE: Duration = Duration::from_mins(1);
const MINUTES: i64 = 60_000_000;

impl Mirror {
    /// The difference of clocks that `status` shows for sessions, in whole minutes.
    async fn clock_difference(&self) -> Option<i64> {
        let states = self.database.store.stream_statuses(self.account).await;
        let states = states.unwrap();
        let state = states.iter().find(|state| state.resource == "sessions");
        let difference = state.and_then(|state| state.clock_difference);
        difference.map(|(milliseconds, _)| milliseconds / 60_000)
    }

    /// A minute in which some sessions and contacts change, and a pass.
    async fn live_a_minute(&self, dice: &mut fastrand::Rng, churn: Churn) {
        for _ in 0..6 {
            self.clock.advance(MINUTE / 6);
            self.change(|account| {
                for _ in 0..dice.u32(1..4) {
                    super::churn::change(account, dice, churn);
                }
            });
        }
        assert_good(&self.pass().await);
    }
}

/// First load and passes of an account that lives, while the header shows another time.
async fn a_wrong_header(moods: Moods, told: Option<i64>) {
    on_both(move |database| {
        let mut plan = Plan::of(200);
        plan.sandbox.moods = moods.clone();
        let churn = Churn {
            // What cannot be filtered cannot be counted while it grows.
            grows: !moods.ignore_updated_filter,
            ..Churn::of(3)
        };
        async move {
            let mirror = Mirror::begin(database, plan).await;
            churn.after_answers(&mirror);
            assert_good(&mirror.sync().await);
            mirror.sandbox.clear_hooks();
            let mut dice = fastrand::Rng::with_seed(5);
            for _ in 0..8 {
                mirror.live_a_minute(&mut dice, churn).await;
            }
            let difference = mirror.clock_difference().await;
            assert_eq!(difference.is_some(), told.is_some());
            let off = difference.zip(told).map(|(one, other)| one - other);
            assert!(off.is_none_or(|off| off.abs() <= 1), "{difference:?}");
            mirror.quiet().await;
            mirror.assert_mirrors_within(&Scope::of_churn()).await;
        }
    })
    .await;
}

macro_rules! headers {
    ($($name:ident: $told:expr, { $($field:ident: $value:expr),* $(,)? };)*) => {
        $(#[tokio::test]
        async fn $name() {
            a_wrong_header(Moods { $($field: $value,)* ..Moods::default() }, $told).await;
        })*
    };
}

headers! {
    a_header_that_is_right_is_not_told: None, {};
    a_header_ten_minutes_ahead_of_the_stamps_loses_nothing: Some(10), {
        date_micros: 10 * MINUTES
    };
    a_header_ten_minutes_behind_the_stamps_loses_nothing: Some(-10), {
        date_micros: -10 * MINUTES
    };
    a_header_a_day_ahead_of_the_stamps_loses_nothing: Some(24 * 60), {
        date_micros: 24 * 60 * MINUTES
    };
    a_header_a_month_behind_the_stamps_loses_nothing: Some(-30 * 24 * 60), {
        date_micros: -30 * 24 * 60 * MINUTES
    };
    a_header_an_hour_behind_the_stamps_loses_nothing: Some(-60), {
        date_micros: -60 * MINUTES
    };
    a_header_ten_minutes_ahead_loses_nothing_in_no_order: Some(10), {
        date_micros: 10 * MINUTES, ignore_order: true
    };
    a_header_an_hour_behind_loses_nothing_in_no_order: Some(-60), {
        date_micros: -60 * MINUTES, ignore_order: true
    };
    a_header_ten_minutes_ahead_of_a_server_without_filters_loses_nothing: Some(10), {
        date_micros: 10 * MINUTES, ignore_updated_filter: true
    };
}

#[tokio::test]
async fn a_header_that_jumps_by_an_hour_loses_nothing() {
    on_both(|database| async move {
        let mut plan = Plan::of(200);
        plan.sandbox.moods.date_micros = 60 * MINUTES;
        plan.sandbox.moods.jumping_date = true;
        let mirror = Mirror::begin(database, plan).await;
        assert_good(&mirror.sync().await);
        let mut dice = fastrand::Rng::with_seed(7);
        for jumping in [true, false] {
            mirror.change(|account| account.moods.jumping_date = jumping);
            for _ in 0..12 {
                mirror.live_a_minute(&mut dice, Churn::of(0)).await;
            }
            mirror.quiet().await;
            mirror.assert_mirrors_within(&Scope::of_churn()).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_header_that_stands_still_loses_nothing() {
    on_both(|database| async move {
        let mut plan = Plan::of(200);
        plan.sandbox.moods.frozen_date = true;
        let mirror = Mirror::begin(database, plan).await;
        assert_good(&mirror.sync().await);
        let mut dice = fastrand::Rng::with_seed(13);
        for _ in 0..12 {
            mirror.live_a_minute(&mut dice, Churn::of(3)).await;
        }
        assert!(mirror.clock_difference().await.is_some());
        mirror.quiet().await;
        mirror.assert_mirrors_within(&Scope::of_churn()).await;
        // It is right again.
        mirror.change(|account| account.moods.frozen_date = false);
        for _ in 0..6 {
            mirror.live_a_minute(&mut dice, Churn::of(3)).await;
        }
        mirror.quiet().await;
        mirror.assert_mirrors_within(&Scope::of_churn()).await;
    })
    .await;
}

/// An account that rests settles by the time that passes, whatever the header shows.
#[tokio::test]
async fn a_quiet_account_is_one_question_a_pass_whatever_the_header_shows() {
    for minutes in [0, 10, -10] {
        on_both(move |database| async move {
            let mut plan = Plan::of(200);
            plan.sandbox.moods.date_micros = minutes * MINUTES;
            let mirror = Mirror::begin(database, plan).await;
            mirror.load().await;
            // A bulk edit is what a quiet account would read again for ever.
            let ids = mirror.change(SandboxAccount::session_ids);
            mirror.clock.advance(MINUTE * 20);
            let edited = mirror.change(|account| account.bulk_touch(&ids[..150]));
            // A header that is behind holds the watermark back, first before the edit and then on it.
            for _ in 0..30 - 2 * minutes.min(0) {
                mirror.clock.advance(MINUTE);
                assert_good(&mirror.pass().await);
            }
            mirror.assert_mirrors().await;
            let watermark = mirror.watermark(sessions()).await;
            assert_eq!(watermark, Some(edited.timestamp()));
            mirror.sandbox.take_requests();
            assert_good(&mirror.pass().await);
            let asked = mirror.sandbox.take_requests();
            let of_sessions = asked.iter().filter(|it| it.path.ends_with("/session"));
            assert_eq!(of_sessions.count(), 1, "{minutes}");
        })
        .await;
    }
}

#[tokio::test]
async fn an_empty_stream_is_complete_up_to_its_first_record() {
    on_both(|database| async move {
        let mut plan = Plan::of(30);
        plan.sandbox.moods.date_micros = 10 * MINUTES;
        let mirror = Mirror::begin(database, plan).await;
        let contacts = mirror.change(|account| {
            let contacts = account.contact_ids();
            for id in &contacts {
                account.update_contact(*id, |contact| {
                    contact.status = helena_sync::sandbox::ContactStatus::Active;
                });
            }
            contacts
        });
        mirror.clock.advance(MINUTE * 30);
        mirror.load().await;
        mirror.clock.advance(MINUTE);
        mirror.change(|account| {
            account.update_contact(contacts[0], |contact| {
                contact.status = helena_sync::sandbox::ContactStatus::Blocked;
            });
        });
        mirror.clock.advance(MINUTE);
        assert_good(&mirror.pass().await);
        mirror.assert_mirrors().await;
    })
    .await;
}

/// Lists are answered by copies that lag, and two servers stamp whose clocks differ.
async fn lagging_copies(moods: Moods) {
    on_both(move |database| {
        let mut plan = Plan::of(200);
        plan.sandbox.moods = moods.clone();
        async move {
            let mirror = Mirror::begin(database, plan).await;
            assert_good(&mirror.sync().await);
            let mut dice = fastrand::Rng::with_seed(11);
            for _ in 0..10 {
                mirror.live_a_minute(&mut dice, Churn::of(0)).await;
            }
            // What was asked for is a copy's last word; the rest comes with the passes behind it.
            mirror.change(|account| account.moods.stale_share = 0.0);
            mirror.quiet().await;
            mirror.assert_mirrors_within(&Scope::of_churn()).await;
        }
    })
    .await;
}

#[tokio::test]
async fn copies_that_lag_by_forty_seconds_lose_nothing() {
    lagging_copies(Moods {
        stale_share: 0.4,
        stale_max: Duration::from_secs(40),
        ..Moods::default()
    })
    .await;
}

#[tokio::test]
async fn copies_that_lag_lose_nothing_in_no_order() {
    lagging_copies(Moods {
        stale_share: 0.4,
        stale_max: Duration::from_secs(40),
        ignore_order: true,
        ..Moods::default()
    })
    .await;
}
