//! Tests both walks against a model of the server, under every interleaving of a few changes.
//!
//! The model has six records and shows two on each page. A change is an update, a bulk edit, an insert, a
//! commit that becomes visible late but within the overlap, a version whose stamp goes back, an answer of a
//! stale replica, or a request that fails. Up to two changes, or more if requested, are made at every
//! combination of points of one pass or first load. Then quiet passes follow. After them the mirror must hold
//! exactly what the model shows. If one safeguard is disabled, the same search must find a loss.
//!
//! In some moods the model's `Date` header is minutes ahead or behind, its totals are too small or absent, or
//! it counts a record that it never shows. In these moods the account changes again after the quiet passes.
//! The mirror must find those changes, too, and must record a gap for the record that is never shown.
//!
//! The mirror decides as the store does which version to believe (see `store/upsert.rs`).

mod case;
mod mirror;
mod model;

use std::time::Duration;

use self::case::Case;
use self::model::{Mood, Totals};
use super::walk::Safeguard;
use crate::data::Ordering;

const RECORDS: usize = 6;
const PAGE: u32 = 2;
const OVERLAP: Duration = Duration::from_secs(20);
/// A late commit takes this long to become visible: longer than any pass lasts here.
const LATE: Duration = Duration::from_secs(19);
/// How long a commit that has been in progress for a while still takes to become visible. It appears during
/// the pass, at a place that the pass may already have read.
const HANGING: Duration = Duration::from_millis(2005);
const TICK: Duration = Duration::from_secs(1);
/// How far back a stamp goes at most if a second server, whose clock is behind, writes the record.
const BACK: Duration = Duration::from_secs(18);
/// The age of a stale answer.
const STALE: Duration = Duration::from_secs(12);
/// The error of a wrong `Date` header.
const OFF: Duration = Duration::from_mins(10);
/// How far the clock of the mirror's machine is from the server's clock. The two are independent.
const HERE: Duration = Duration::from_hours(7);
/// After this many quiet passes, the mirror must be complete. Some are needed to wait for a record that is
/// never shown.
const QUIET: usize = 6;

const SORTED: [i64; RECORDS] = [0, 1, 2, 3, 4, 5];
const REVERSED: [i64; RECORDS] = [5, 4, 3, 2, 1, 0];
const MIXED: [i64; RECORDS] = [2, 0, 1, 5, 3, 4];

fn cases(without: Option<Safeguard>) -> Vec<Case> {
    let mut cases = Vec::new();
    for ordered in [true, false] {
        for (shuffle, inclusive) in [
            (MIXED, false),
            (MIXED, true),
            (SORTED, false),
            (REVERSED, false),
        ] {
            let mood = Mood {
                ordered,
                inclusive,
                shuffle,
                date: 0,
                totals: Totals::Right,
                ghost: None,
            };
            let (unknown, believed) = (Ordering::Unknown, Ordering::Honoured);
            for (watermark, first_load, depth, believed) in [
                (50, false, 50, unknown),
                (125, false, 50, unknown),
                (50, false, 50, believed),
                (0, true, 50, unknown),
                (0, true, 2, unknown),
            ] {
                // If the server honours the order, believing it beforehand makes no difference: the pass
                // finds it out anyway.
                if ordered && believed == Ordering::Honoured {
                    continue;
                }
                cases.push(Case {
                    mood,
                    watermark,
                    first_load,
                    depth,
                    believed,
                    without,
                });
            }
        }
    }
    cases
}

/// Cases of a platform with one odd behaviour at a time.
fn odd(without: Option<Safeguard>) -> Vec<Case> {
    let off = i64::try_from(OFF.as_secs() / 60).unwrap();
    let mut cases = Vec::new();
    for ordered in [true, false] {
        let with = |date, totals, ghost| Mood {
            ordered,
            inclusive: false,
            shuffle: MIXED,
            date,
            totals,
            ghost,
        };
        let (right, small, absent) = (Totals::Right, Totals::TooSmall, Totals::Absent);
        for (mood, watermark, first_load, depth) in [
            (with(off, right, None), 50, false, 50),
            (with(off, right, None), 0, true, 2),
            (with(-off, right, None), 125, false, 50),
            (with(-off, right, None), 0, true, 50),
            (with(0, small, None), 50, false, 50),
            (with(0, small, None), 0, true, 2),
            (with(0, absent, None), 125, false, 50),
            (with(0, absent, None), 0, true, 50),
            (with(0, right, Some(2)), 50, false, 50),
            (with(0, right, Some(5)), 125, false, 50),
            (with(0, right, Some(1)), 0, true, 2),
            (with(0, absent, Some(2)), 50, false, 50),
            (with(0, absent, Some(1)), 0, true, 2),
        ] {
            cases.push(Case {
                mood,
                watermark,
                first_load,
                depth,
                believed: Ordering::Unknown,
                without,
            });
        }
    }
    cases
}

/// How many changes are combined, from the variable `EXHAUSTIVE`. If it is set, changes of all kinds are
/// combined; otherwise two changes of the kinds that find the most losses. `EXHAUSTIVE=2 cargo test --release
/// --lib exhaustive` uses an optimised build and takes a minute. With 3 it takes very long.
fn asked() -> Option<usize> {
    let asked = std::env::var("EXHAUSTIVE").ok()?;
    Some(asked.parse().unwrap())
}

fn search(cases: impl IntoIterator<Item = Case>) {
    let mut tried = 0;
    for case in cases {
        let (loss, count) = case.search();
        tried += count;
        assert_eq!(loss, None, "{case:?}");
    }
    println!("{tried} interleavings, nothing lost");
}

#[test]
fn no_interleaving_of_changes_loses_a_record_where_the_order_is_honoured() {
    search(cases(None).into_iter().filter(|case| case.mood.ordered));
}

#[test]
fn no_interleaving_of_changes_loses_a_record_where_the_order_is_ignored() {
    search(cases(None).into_iter().filter(|case| !case.mood.ordered));
}

fn loss_without(safeguard: Safeguard, cases: impl IntoIterator<Item = Case>) {
    let found = cases.into_iter().find_map(|mut case| {
        case.without = Some(safeguard);
        let (events, loss) = case.search().0?;
        Some((format!("{case:?}"), events, loss))
    });
    println!("without {safeguard:?}: {found:#?}");
    assert!(found.is_some(), "nothing is lost without {safeguard:?}");
}

fn passes(ordered: bool, shuffle: [i64; RECORDS], watermark: i64) -> Vec<Case> {
    cases(None)
        .into_iter()
        .filter(|case| {
            !case.first_load
                && case.watermark == watermark
                && case.mood.ordered == ordered
                && case.mood.shuffle == shuffle
        })
        .collect()
}

#[test]
fn without_the_order_check_a_record_is_lost() {
    loss_without(Safeguard::OrderCheck, passes(false, SORTED, 50));
}

#[test]
fn without_the_cap_at_the_beginning_of_the_pass_a_record_is_lost() {
    loss_without(Safeguard::Cap, passes(true, SORTED, 50));
}

#[test]
fn without_settled_windows_a_record_is_lost() {
    loss_without(Safeguard::Settled, passes(false, SORTED, 125));
}

#[test]
fn without_backward_reading_a_record_is_lost() {
    loss_without(Safeguard::Backward, passes(false, MIXED, 50));
}

#[test]
fn without_the_count_check_a_record_is_lost() {
    // One page comes from one replica, and the next page from a stale replica.
    let loads = cases(None).into_iter().filter(|case| case.first_load);
    loss_without(Safeguard::Count, loads);
}

#[test]
fn no_interleaving_of_changes_loses_a_record_of_an_odd_platform_where_the_order_is_honoured() {
    search(odd(None).into_iter().filter(|case| case.mood.ordered));
}

#[test]
fn no_interleaving_of_changes_loses_a_record_of_an_odd_platform_where_the_order_is_ignored() {
    search(odd(None).into_iter().filter(|case| !case.mood.ordered));
}

#[test]
fn without_believing_what_is_read_later_a_record_is_lost() {
    loss_without(Safeguard::LaterWins, passes(true, MIXED, 125));
}

fn odd_where(is: impl Fn(&Case) -> bool) -> Vec<Case> {
    odd(None).into_iter().filter(is).collect()
}

#[test]
fn without_a_watermark_from_the_stamps_of_records_a_record_is_lost() {
    let ahead = |case: &Case| case.mood.date > 0 && case.mood.ordered;
    let loads = odd_where(|case| ahead(case) && case.first_load);
    loss_without(Safeguard::Stamps, loads);
    let passes = odd_where(|case| case.mood.date > 0 && !case.first_load);
    loss_without(Safeguard::Stamps, passes);
}

#[test]
fn without_measuring_how_long_a_change_is_known_a_record_is_lost() {
    let ahead = odd_where(|case| case.mood.date > 0);
    loss_without(Safeguard::Durations, ahead);
}

#[test]
fn without_looking_behind_full_pages_a_record_is_lost() {
    for first_load in [true, false] {
        let small =
            odd_where(|case| case.mood.totals == Totals::TooSmall && case.first_load == first_load);
        loss_without(Safeguard::FullPages, small);
    }
}

#[test]
fn without_naming_what_is_never_shown_a_stream_stands_still() {
    for first_load in [true, false] {
        let ghosts = odd_where(|case| case.mood.ghost.is_some() && case.first_load == first_load);
        loss_without(Safeguard::Gaps, ghosts);
    }
}
