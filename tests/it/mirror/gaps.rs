//! Counts and pages that do not agree: records that are counted and never shown, totals that are too
//! small, pages that come again whatever page is asked for.

use std::time::Duration;

use helena_sync::data::Resource;
use helena_sync::sandbox::{Fault, Moods, Poison, SandboxAccount, Totals};
use helena_sync::store::StoredGap;
use uuid::Uuid;

use crate::support::database::on_both;
use crate::support::mirror::{Mirror, OVERLAP, Plan, assert_good, failures, sessions};

const MINUTE: Duration = Duration::from_mins(1);

impl Mirror {
    async fn gaps(&self) -> Vec<StoredGap> {
        let gaps = self.database.store.open_gaps(self.account).await;
        gaps.unwrap()
    }

    /// How many records of sessions are named as missing.
    async fn missing(&self) -> u64 {
        let gaps = self.gaps().await;
        let of_sessions = gaps
            .iter()
            .filter(|stored| stored.gap.stream.resource == Resource::Sessions);
        of_sessions.map(|stored| stored.gap.missing()).sum()
    }

    /// Passes a minute apart, each of which ends well.
    async fn passes(&self, count: usize) {
        for _ in 0..count {
            self.clock.advance(MINUTE);
            assert_good(&self.pass().await);
        }
    }

    /// How many questions a pass over sessions asks.
    async fn questions(&self) -> usize {
        self.sandbox.take_requests();
        assert_good(&self.pass().await);
        let asked = self.sandbox.take_requests();
        let of_sessions = asked.iter().filter(|it| it.path.ends_with("/session"));
        of_sessions.count()
    }

    /// Lets some sessions be counted and no longer shown.
    fn hide(&self, ids: &[Uuid]) {
        self.change(|account| {
            for id in ids {
                account.poison(*id, Poison::Ghost);
            }
        });
    }
}

/// The first load of an account in which a session here and there is never shown.
async fn a_load_with_ghosts(moods: Moods) {
    on_both(move |database| {
        let mut plan = Plan::of(400);
        plan.sandbox.moods = moods.clone();
        async move {
            let mirror = Mirror::begin(database, plan).await;
            let ids = mirror.change(SandboxAccount::session_ids);
            // The first and the last among them, and neighbours on the border of two pages.
            let ghosts = [ids[0], ids[19], ids[20], ids[200], ids[399]];
            mirror.hide(&ghosts);
            mirror.load().await;
            mirror.assert_mirrors().await;
            assert!(mirror.missing().await >= 5, "{:#?}", mirror.gaps().await);

            // The account lives on.
            mirror.clock.advance(OVERLAP * 3);
            mirror.change(|account| {
                account.update_session(ids[7], |session| session.unread_count += 1);
                let session = account.draft_session();
                account.insert_session(session);
            });
            mirror.quiet().await;
            mirror.assert_mirrors().await;
        }
    })
    .await;
}

#[tokio::test]
async fn sessions_that_are_counted_and_never_shown_stop_no_first_load_and_are_named() {
    a_load_with_ghosts(Moods::default()).await;
}

#[tokio::test]
async fn sessions_that_are_never_shown_stop_no_first_load_in_no_order() {
    a_load_with_ghosts(Moods {
        ignore_order: true,
        ..Moods::default()
    })
    .await;
}

#[tokio::test]
async fn sessions_that_are_never_shown_stop_no_load_of_a_server_without_filters() {
    a_load_with_ghosts(Moods {
        ignore_order: true,
        ignore_created_filter: true,
        ignore_updated_filter: true,
        ..Moods::default()
    })
    .await;
}

/// A session changes and is not shown from then on, between others that are.
async fn a_pass_with_a_ghost(moods: Moods, others: usize) {
    on_both(move |database| {
        let mut plan = Plan::of(200);
        plan.sandbox.moods = moods.clone();
        async move {
            let mirror = Mirror::begin(database, plan).await;
            mirror.load().await;
            mirror.quiet().await;
            let ids = mirror.change(SandboxAccount::session_ids);
            let ghost = ids[100];
            mirror.change(|account| {
                for (number, id) in ids[..others].iter().chain([&ghost]).enumerate() {
                    account.update_session(*id, |session| session.unread_count += 1);
                    if number == others / 2 {
                        account.update_session(ghost, |session| session.unread_count += 1);
                    }
                }
                account.poison(ghost, Poison::Ghost);
            });
            let before = mirror.watermark(sessions()).await;
            mirror.passes(10).await;
            assert_eq!(mirror.missing().await, 1, "{:#?}", mirror.gaps().await);
            assert_eq!(mirror.questions().await, 1);
            if others > 0 {
                assert!(mirror.watermark(sessions()).await > before);
            }

            // What changes behind it is found at once, and by as many questions as ever.
            mirror.clock.advance(MINUTE);
            mirror.change(|account| {
                account.update_session(ids[150], |session| session.unread_count = 99);
            });
            assert_eq!(mirror.questions().await, 1);
            let read = format!("id = '{}' and unread_count = 99", ids[150]);
            assert_eq!(mirror.database.count("sessions", &read).await, 1);

            // One day it is shown.
            mirror.change(|account| account.heal(ghost));
            assert_good(&mirror.engine.recheck_gaps(mirror.limits()).await);
            assert_eq!(mirror.gaps().await, []);
            mirror.quiet().await;
            mirror.assert_mirrors().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_session_that_vanishes_from_the_pages_but_not_from_the_counts_stops_no_pass() {
    a_pass_with_a_ghost(Moods::default(), 12).await;
}

#[tokio::test]
async fn a_session_that_vanishes_alone_stops_no_pass() {
    a_pass_with_a_ghost(Moods::default(), 0).await;
}

#[tokio::test]
async fn a_session_that_vanishes_among_pages_of_others_stops_no_pass() {
    a_pass_with_a_ghost(Moods::default(), 70).await;
}

#[tokio::test]
async fn a_session_that_vanishes_where_nothing_is_ordered_stops_no_pass() {
    let moods = Moods {
        ignore_order: true,
        ..Moods::default()
    };
    a_pass_with_a_ghost(moods, 70).await;
}

#[tokio::test]
async fn a_gap_that_is_still_there_is_renewed_and_not_named_twice() {
    on_both(|database| async move {
        let mirror = Mirror::begin(database, Plan::of(120)).await;
        let ids = mirror.change(SandboxAccount::session_ids);
        mirror.hide(&ids[50..51]);
        mirror.load().await;
        let before = mirror.gaps().await;
        mirror.clock.advance(MINUTE);
        assert_good(&mirror.engine.recheck_gaps(mirror.limits()).await);
        let after = mirror.gaps().await;
        let what = |gaps: &[StoredGap]| -> Vec<_> {
            gaps.iter()
                .map(|it| (it.id, it.gap, it.first_seen_at))
                .collect()
        };
        assert_eq!(what(&before), what(&after));
        assert!(after[0].last_seen_at > before[0].last_seen_at);
        // The record is gone from the counts, too.
        mirror.change(|account| account.delete_session(ids[50]));
        assert_good(&mirror.engine.recheck_gaps(mirror.limits()).await);
        assert_eq!(mirror.gaps().await, []);
    })
    .await;
}

/// The totals of an account are wrong, and it lives.
async fn a_flood(totals: Totals, ignore_order: bool) {
    on_both(move |database| {
        let mut plan = Plan::of(300);
        plan.sandbox.moods.totals = totals;
        plan.sandbox.moods.ignore_order = ignore_order;
        async move {
            let mirror = Mirror::begin(database, plan).await;
            mirror.load().await;
            mirror.assert_mirrors().await;
            let ids = mirror.change(SandboxAccount::session_ids);
            for changed in [1, 20, 40, 130] {
                mirror.clock.advance(MINUTE);
                mirror.change(|account| {
                    for id in &ids[..changed] {
                        account.update_session(*id, |session| session.unread_count += 1);
                    }
                });
                assert_good(&mirror.pass().await);
                mirror.assert_mirrors().await;
            }
            mirror.quiet().await;
            mirror.passes(5).await;
            mirror.assert_mirrors().await;
            assert_eq!(mirror.gaps().await, []);
            // Where nothing is said of what follows, the page behind an empty one is looked at, too.
            let questions = if totals == Totals::Absent { 2 } else { 1 };
            assert_eq!(mirror.questions().await, questions);
        }
    })
    .await;
}

/// Where nothing says whether a page follows, one that lacks a record is not the last.
#[tokio::test]
async fn sessions_that_are_never_shown_end_no_page_of_a_server_that_says_nothing_of_what_follows() {
    for ignore_order in [false, true] {
        on_both(move |database| async move {
            let mut plan = Plan::of(200);
            plan.sandbox.moods.totals = Totals::Absent;
            plan.sandbox.moods.ignore_order = ignore_order;
            let mirror = Mirror::begin(database, plan).await;
            let ids = mirror.change(SandboxAccount::session_ids);
            mirror.hide(&[ids[5], ids[25], ids[195]]);
            mirror.load().await;
            mirror.assert_mirrors().await;
            mirror.clock.advance(MINUTE);
            mirror.change(|account| {
                for id in &ids[..150] {
                    account.update_session(*id, |session| session.unread_count += 1);
                }
            });
            mirror.passes(2).await;
            mirror.assert_mirrors().await;
        })
        .await;
    }
}

/// A page of which no record is shown is not the last one either.
#[tokio::test]
async fn a_page_of_which_nothing_is_shown_ends_no_walk_where_nothing_is_counted() {
    for ignore_order in [false, true] {
        on_both(move |database| async move {
            let mut plan = Plan::of(200);
            plan.sandbox.moods.totals = Totals::Absent;
            plan.sandbox.moods.ignore_order = ignore_order;
            let mirror = Mirror::begin(database, plan).await;
            let ids = mirror.change(SandboxAccount::session_ids);
            // The second page of 20, and a whole one wherever pages begin, but no two of them.
            mirror.hide(&ids[20..59]);
            mirror.load().await;
            mirror.assert_mirrors().await;
            mirror.clock.advance(MINUTE);
            mirror.change(|account| {
                for id in &ids[..150] {
                    account.update_session(*id, |session| session.unread_count += 1);
                }
            });
            mirror.passes(2).await;
            mirror.assert_mirrors().await;
            mirror.quiet().await;
            // The comparison reads on behind it, too. It leaves what changed lately to the next pass.
            let lost = ids[170];
            mirror
                .database
                .execute(&format!(
                    "delete from session_tags where session_id = '{lost}'; \
                     delete from sessions where id = '{lost}'"
                ))
                .await;
            let sessions = [Resource::Sessions];
            mirror.engine.verify(&sessions, 0, mirror.limits()).await;
            mirror.assert_mirrors().await;
        })
        .await;
    }
}

macro_rules! floods {
    ($($name:ident: $totals:expr, $ignore_order:literal;)*) => {
        $(#[tokio::test]
        async fn $name() {
            a_flood($totals, $ignore_order).await;
        })*
    };
}

floods! {
    an_index_that_stops_counting_hides_nothing: Totals::Capped(95), false;
    an_index_that_counts_less_than_a_page_hides_nothing: Totals::Capped(7), false;
    an_index_that_counts_whole_pages_hides_nothing_in_no_order: Totals::Capped(60), true;
    totals_that_are_short_by_one_hide_nothing: Totals::Short(1), false;
    items_that_are_counted_short_hide_nothing: Totals::ItemsCapped(95), false;
    pages_that_are_counted_short_hide_nothing: Totals::PagesCapped(95), true;
    a_server_that_says_that_no_page_follows_hides_nothing: Totals::NoMore, false;
    a_server_without_totals_is_mirrored: Totals::Uncounted, false;
    a_server_without_totals_is_mirrored_in_no_order: Totals::Uncounted, true;
    a_server_that_says_nothing_of_what_follows_is_mirrored: Totals::Absent, true;
}

#[tokio::test]
async fn a_server_that_ignores_page_numbers_is_told_by_that_name_and_stops_nothing_else() {
    on_both(|database| async move {
        let mut plan = Plan::of(130);
        plan.sandbox.moods.ignore_page_number = true;
        let mirror = Mirror::begin(database, plan).await;
        let failed = failures(&mirror.sync().await);
        let named = |(_, error): &(String, String)| error.contains("PageNumber");
        assert!(
            !failed.is_empty() && failed.iter().all(named),
            "{failed:#?}"
        );
        assert_ne!(mirror.database.count("agents", "true").await, 0);
        mirror.change(|account| account.moods.ignore_page_number = false);
        mirror.quiet().await;
        mirror.assert_mirrors().await;
    })
    .await;
}

/// A server that answers with its last page where there is no other, and an account whose numbers are
/// multiples of a page.
async fn a_last_page_that_comes_again(moods: Moods) {
    on_both(move |database| {
        let mut plan = Plan::of(300);
        plan.sandbox.contacts = Some(60);
        plan.sandbox.moods = Moods {
            clamp_page_number: true,
            ..moods.clone()
        };
        async move {
            let mirror = Mirror::begin(database, plan).await;
            mirror.load().await;
            mirror.assert_mirrors().await;
            let ids = mirror.change(SandboxAccount::session_ids);
            for changed in [1, 20, 40, 100, 160] {
                mirror.clock.advance(OVERLAP * 2);
                mirror.change(|account| {
                    for id in &ids[..changed] {
                        account.update_session(*id, |session| session.unread_count += 1);
                    }
                });
                mirror.sandbox.take_requests();
                assert_good(&mirror.pass().await);
                let asked = mirror.sandbox.take_requests().len();
                assert!(asked < 100, "{asked}");
                mirror.assert_mirrors().await;
            }
            mirror.change(|account| account.bulk_touch(&ids[100..200]));
            mirror.clock.advance(MINUTE);
            assert_good(&mirror.pass().await);
            let resources = [Resource::Sessions, Resource::Contacts];
            for verified in mirror.engine.verify(&resources, 3, mirror.limits()).await {
                assert_eq!(verified.differences(), 0, "{verified:?}");
                assert!(verified.into_failure().is_none());
            }
            mirror.quiet().await;
            mirror.assert_mirrors().await;
        }
    })
    .await;
}

macro_rules! last_pages {
    ($($name:ident: { $($field:ident: $value:expr),* $(,)? };)*) => {
        $(#[tokio::test]
        async fn $name() {
            a_last_page_that_comes_again(Moods { $($field: $value,)* ..Moods::default() }).await;
        })*
    };
}

last_pages! {
    a_last_page_that_comes_again_and_says_so_is_the_last: {};
    a_last_page_that_comes_again_in_silence_is_the_last: { no_echo: true };
    a_last_page_that_comes_again_as_another_is_the_last: { echo_sent: true };
    a_last_page_that_comes_again_in_no_order_is_the_last: { no_echo: true, ignore_order: true };
    a_last_page_that_comes_again_without_filters_is_the_last: {
        no_echo: true, ignore_order: true, ignore_created_filter: true, ignore_updated_filter: true
    };
    a_last_page_that_comes_again_behind_short_totals_is_the_last: {
        no_echo: true, totals: Totals::Capped(80)
    };
}

/// Copies of the data that answer in turn, and count one record more or less than the other.
async fn counts_that_fluctuate(ignore_order: bool) {
    on_both(move |database| {
        let mut plan = Plan::of(200);
        plan.sandbox.moods.ignore_order = ignore_order;
        async move {
            let mirror = Mirror::begin(database, plan).await;
            let ids = mirror.change(SandboxAccount::session_ids);
            mirror.hide(&ids[50..52]);
            let mut is_short = false;
            mirror.sandbox.on_answer(move |account, _| {
                is_short = !is_short;
                account.moods.totals = if is_short {
                    Totals::Short(1)
                } else {
                    Totals::Right
                };
            });
            mirror.load().await;
            for round in 0..6 {
                mirror.clock.advance(MINUTE);
                mirror.change(|account| {
                    for id in &ids[45 + round..60 + round * 4] {
                        account.update_session(*id, |session| session.unread_count += 1);
                    }
                });
                assert_good(&mirror.pass().await);
            }
            mirror.clock.advance(OVERLAP * 3);
            assert_good(&mirror.pass().await);
            mirror.assert_mirrors().await;
            mirror.sandbox.clear_hooks();
            mirror.change(|account| account.moods.totals = Totals::Right);
            mirror.quiet().await;
            mirror.assert_mirrors().await;
        }
    })
    .await;
}

#[tokio::test]
async fn counts_that_fluctuate_stop_no_stream() {
    counts_that_fluctuate(false).await;
}

#[tokio::test]
async fn counts_that_fluctuate_stop_no_stream_in_no_order() {
    counts_that_fluctuate(true).await;
}

#[tokio::test]
async fn a_ghost_that_changes_again_and_again_is_one_gap() {
    on_both(|database| async move {
        let mirror = Mirror::begin(database, Plan::of(120)).await;
        mirror.load().await;
        mirror.quiet().await;
        let ids = mirror.change(SandboxAccount::session_ids);
        let ghost = ids[50];
        mirror.change(|account| account.poison(ghost, Poison::Ghost));
        // It changes, is found to be missing, and changes again.
        for round in 0..12 {
            for id in [ghost, ids[60 + round]] {
                mirror.change(|account| {
                    account.update_session(id, |session| session.unread_count += 1);
                    account.update_session(ids[round], |session| session.unread_count += 1);
                });
                mirror.clock.advance(OVERLAP * 2);
                assert_good(&mirror.pass().await);
            }
            mirror.passes(2).await;
        }
        let gaps = mirror.gaps().await;
        assert!((1..=3).contains(&gaps.len()), "{gaps:#?}");
        mirror.quiet().await;
        // What nothing shows any more, not even by its id, is found to be gone at night.
        let sessions = [Resource::Sessions];
        mirror.engine.verify(&sessions, 0, mirror.limits()).await;
        mirror.assert_mirrors().await;
    })
    .await;
}

/// One record that is never shown is missing once, however many windows are about it.
#[tokio::test]
async fn what_one_gap_tells_no_other_one_tells() {
    on_both(|database| async move {
        let mirror = Mirror::begin(database, Plan::of(120)).await;
        let ids = mirror.change(SandboxAccount::session_ids);
        mirror.hide(&ids[50..51]);
        mirror.load().await;
        let found = mirror.gaps().await;
        let sessions = |gaps: &[StoredGap]| -> Vec<StoredGap> {
            let of_sessions =
                |stored: &&StoredGap| stored.gap.stream.resource == Resource::Sessions;
            gaps.iter().filter(of_sessions).cloned().collect()
        };
        assert_eq!(sessions(&found).len(), 1, "{found:#?}");
        // A wider one, of another time.
        mirror
            .database
            .execute(
                "insert into gaps (account_id, resource, partition, field, window_after, \
                 window_before, counted, shown, first_seen_at, last_seen_at, run_id) \
                 select account_id, resource, partition, field, '2020-01-01T00:00:00.000000Z', \
                 '2030-01-01T00:00:00.000000Z', 3, 2, first_seen_at, last_seen_at, run_id \
                 from gaps where resource = 'sessions'",
            )
            .await;
        mirror.clock.advance(MINUTE);
        assert_good(&mirror.engine.recheck_gaps(mirror.limits()).await);
        let left = sessions(&mirror.gaps().await);
        assert_eq!(left.len(), 1, "{left:#?}");
        assert_eq!(left[0].id, sessions(&found)[0].id);
    })
    .await;
}

#[tokio::test]
async fn a_gap_that_cannot_be_read_holds_up_no_other() {
    on_both(|database| async move {
        let mirror = Mirror::begin(database, Plan::of(200)).await;
        let ids = mirror.change(SandboxAccount::session_ids);
        let ghosts = [ids[20], ids[120]];
        mirror.hide(&ghosts);
        mirror.load().await;
        let before = mirror.gaps().await;
        assert_eq!(before.len(), 2, "{before:#?}");
        mirror.change(|account| ghosts.map(|ghost| account.heal(ghost)));
        // One page is answered by another, however often it is asked for.
        let other = r#"{"items": [], "pageNumber": 9, "totalItems": 0}"#;
        let fault = Fault::Reply(200, other.to_owned());
        mirror.sandbox.script(std::iter::repeat_n(fault, 3));
        mirror.clock.advance(MINUTE);
        let failed = failures(&mirror.engine.recheck_gaps(mirror.limits()).await);
        assert_eq!(
            (failed.len(), mirror.sandbox.scripted()),
            (1, 0),
            "{failed:?}"
        );
        let left = mirror.gaps().await;
        assert_eq!(left.len(), 1, "{left:#?}");
        assert!(left[0].last_tried_at > Some(left[0].last_seen_at));
        assert_good(&mirror.engine.recheck_gaps(mirror.limits()).await);
        assert_eq!(mirror.gaps().await, []);
        mirror.assert_mirrors().await;
    })
    .await;
}
