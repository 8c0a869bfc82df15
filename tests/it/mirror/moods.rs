//! Whatever the answers to the open questions about the platform are, and however the account
//! changes while it is read, the mirror becomes perfect once it rests.

use std::sync::atomic::Ordering;
use std::time::Duration;

use helena_sync::sandbox::{Moods, Precision};

use super::churn::Churn;
use crate::support::database::on_both;
use crate::support::mirror::{Mirror, Plan, assert_good, beginning, failures, sessions};
use crate::support::truth::Scope;

/// First load and passes while the account changes after every answer, then a rest.
async fn becomes_perfect(moods: Moods, churn: Churn) {
    on_both(move |database| {
        let mut plan = Plan::of(140);
        plan.sandbox.moods = moods.clone();
        // A server that is behind has not lived through what a year up to our present holds.
        plan.sandbox.until = Some(beginning() - Duration::from_hours(2));
        let scope = Scope {
            session_types: moods.v2_withdrawn.is_none(),
            ..Scope::of_churn()
        };
        async move {
            let mirror = Mirror::begin(database, plan).await;
            let made = churn.after_answers(&mirror);
            let mut runs = mirror.sync().await;
            for _ in 0..3 {
                mirror.clock.advance(Duration::from_secs(20));
                runs.extend(mirror.pass().await);
            }
            assert!(made.load(Ordering::SeqCst) >= churn.changes / 3);
            // A range that would not hold still is the one failure that changes may cause.
            for (subject, error) in failures(&runs) {
                assert!(
                    error.contains("could not be read completely"),
                    "{subject}: {error}"
                );
            }
            mirror.quiet().await;
            mirror.assert_mirrors_within(&scope).await;
        }
    })
    .await;
}

macro_rules! moods {
    ($($name:ident: $seed:literal, $grows:literal, { $($field:ident: $value:expr),* $(,)? };)*) => {
        $(#[tokio::test]
        async fn $name() {
            let churn = Churn { grows: $grows, ..Churn::of($seed) };
            becomes_perfect(Moods { $($field: $value,)* ..Moods::default() }, churn).await;
        })*
    };
}

moods! {
    a_well_behaved_account_is_mirrored_while_it_changes: 1, true, {};
    an_account_that_is_not_ordered_is_mirrored: 2, true, { ignore_order: true };
    inclusive_ends_of_windows_lose_nothing: 3, true, {
        after_inclusive: true, before_inclusive: true
    };
    one_inclusive_end_in_no_order_loses_nothing: 4, true, {
        ignore_order: true, before_inclusive: true
    };
    a_filter_to_the_microsecond_loses_nothing: 5, true, { precision: Precision::Micros };
    a_filter_to_the_millisecond_loses_nothing: 6, true, { precision: Precision::Millis };
    a_filter_to_the_millisecond_with_inclusive_ends_in_no_order_loses_nothing: 7, true, {
        precision: Precision::Millis, after_inclusive: true, ignore_order: true
    };
    a_server_that_ignores_the_filter_of_changes_is_read_whole: 8, false, {
        ignore_updated_filter: true
    };
    a_server_that_ignores_the_filter_of_changes_and_the_order_is_read_whole: 9, false, {
        ignore_updated_filter: true, ignore_order: true
    };
    a_server_that_ignores_the_filter_of_creation_is_loaded_whole: 10, false, {
        ignore_created_filter: true
    };
    a_server_that_ignores_everything_is_read_whole: 11, false, {
        ignore_created_filter: true, ignore_updated_filter: true, ignore_order: true
    };
    a_server_an_hour_ahead_is_mirrored: 12, true, { skew_micros: 3_600_000_000 };
    a_server_an_hour_behind_is_mirrored: 13, true, { skew_micros: -3_600_000_000 };
    a_server_an_hour_behind_in_no_order_is_mirrored: 14, true, {
        skew_micros: -3_600_000_000, ignore_order: true
    };
    fields_that_are_absent_are_null: 15, true, { absent_share: 0.7 };
    fields_that_nobody_knows_are_kept: 16, true, { extra_fields: true };
    tags_that_were_not_asked_for_do_no_harm: 17, true, { tags_unasked: true };
    a_first_version_that_is_gone_is_not_missed: 18, true, { v1_withdrawn: Some(404) };
    a_first_version_that_hides_groups_hides_none: 19, true, { v1_hides_groups: true };
    a_second_version_refused_with_401_is_left_for_the_first: 20, true, {
        v2_withdrawn: Some(401)
    };
    a_second_version_gone_with_404_is_left_for_the_first: 21, true, { v2_withdrawn: Some(404) };
    a_second_version_gone_with_410_is_left_for_the_first: 22, true, { v2_withdrawn: Some(410) };
    answers_without_a_date_are_read: 23, true, { no_date: true };
    answers_without_a_date_from_a_server_an_hour_ahead_are_read: 24, true, {
        no_date: true, skew_micros: 3_600_000_000
    };
    a_token_that_is_accepted_bare_alone_reads_everything: 25, true, { bare_token: true };
    pages_that_repeat_nothing_of_the_question_are_read: 26, true, { no_echo: true };
}

#[tokio::test]
async fn a_first_load_makes_a_perfect_mirror() {
    on_both(|database| async move {
        let mut plan = Plan::of(300);
        plan.keep_raw = true;
        let mirror = Mirror::begin(database, plan).await;
        mirror.load().await;
        mirror.assert_mirrors().await;
        mirror.quiet().await;
        mirror.assert_mirrors().await;
        for (table, _) in crate::support::truth::TABLES {
            let kept = format!("resource = '{table}'");
            let kept = mirror.database.count("raw_records", &kept).await;
            // Placeholders have no record. Opening hours have no time of change.
            let own = match table {
                "office_hours" => "day_week is not null",
                _ => "updated_at is not null",
            };
            let stored = mirror.database.count(table, own).await;
            assert_eq!(kept, stored, "{table}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_server_whose_clock_is_set_back_is_followed() {
    on_both(|database| async move {
        let mirror = Mirror::begin(database, Plan::of(100)).await;
        mirror.load().await;
        let ids = mirror.change(|account| {
            account.moods.skew_micros = -2 * 3_600_000_000;
            account.session_ids()
        });
        for id in &ids[..50] {
            mirror.clock.advance(Duration::from_secs(1));
            mirror.change(|account| account.update_session(*id, |s| s.unread_count += 1));
        }
        assert_good(&mirror.pass().await);
        mirror.assert_mirrors().await;
    })
    .await;
}

#[tokio::test]
async fn a_token_that_may_not_read_contacts_mirrors_everything_else() {
    on_both(|database| async move {
        let mut plan = Plan::of(120);
        plan.sandbox.moods.refused = vec!["/core/v1/contact".to_owned()];
        let mirror = Mirror::begin(database, plan).await;
        for _ in 0..2 {
            let runs = mirror.sync().await;
            let failed = failures(&runs);
            assert_eq!(failed.len(), 1, "{failed:?}");
            assert_eq!(failed[0].0, "contacts");
            assert!(
                failed[0]
                    .1
                    .contains("/core/v1/contact was refused with 401")
            );
        }
        let scope = Scope {
            contacts: false,
            ..Scope::default()
        };
        mirror.assert_mirrors_within(&scope).await;
        // The refusal ends, and the resource is loaded as if it were new.
        mirror.change(|account| account.moods.refused.clear());
        mirror.quiet().await;
        mirror.assert_mirrors().await;
    })
    .await;
}

#[tokio::test]
async fn a_token_that_may_not_read_sessions_any_more_leaves_their_watermark() {
    on_both(|database| async move {
        let mirror = Mirror::begin(database, Plan::of(120)).await;
        mirror.load().await;
        let before = mirror.watermark(sessions()).await;
        mirror.change(|account| {
            account.moods.refused = vec!["/chat/v1/session".into(), "/chat/v2/session".into()];
            account.live_step(40);
        });
        mirror.clock.advance(Duration::from_secs(30));
        let runs = mirror.sync().await;
        let failed = failures(&runs);
        assert_eq!(failed.len(), 1, "{failed:?}");
        assert!(failed[0].1.contains("refused"), "{failed:?}");
        assert_eq!(mirror.watermark(sessions()).await, before);
        mirror.change(|account| account.moods.refused.clear());
        mirror.quiet().await;
        let scope = Scope::of_churn();
        mirror.assert_mirrors_within(&scope).await;
    })
    .await;
}
