//! Computes which ranges to read. Pure arithmetic: no requests, no clock, no database.

use std::time::Duration;

use crate::data::{Span, StreamState, Timestamp};

/// The coarsest precision at which the platform is known to compare instants (API notes, 16: milliseconds,
/// microseconds or 100 ns). Going back by one step reads the records of an instant again, whatever the
/// precision, and whether the server includes the ends of a window or not.
pub const STEP: Duration = Duration::from_millis(1);

/// How far outside the requested window a record may lie before the filter counts as ignored. The tolerance
/// is generous, since a server that ignores a filter answers with records that are months off.
pub const TOLERANCE: Duration = Duration::from_secs(2);

/// The planned depth of a backfill's windows, as a share of the maximum depth. The margin keeps windows with
/// unevenly distributed records from being split again.
const AIM: f64 = 0.7;

/// A window of this length or less is not split. Half of a longer window, extended by [`touching`], is still
/// shorter than the window by at least a quarter. So repeated splitting comes to an end, even if more records
/// share one instant than a window may hold.
const SMALLEST: Duration = Duration::from_millis(8);

/// The year 2010: no account of the platform is older. Records that a broken clock has dated earlier stay in
/// a window without a beginning. This is also the watermark of a stream that has shown no record yet.
pub const FLOOR: Timestamp = Timestamp::from_micros(1_262_304_000_000_000);

/// Where an incremental pass begins to read. Everything that changed before has been read for good.
///
/// This is usually the watermark minus the overlap, since changes within the overlap may still have become
/// visible. But if the last complete pass began at least twice the overlap after the newest change, nothing
/// can appear at or before the watermark any more. Then the pass begins after the watermark. Otherwise, a
/// quiet account whose last change was a bulk edit would cost hundreds of pages every minute.
pub fn start(state: &StreamState, watermark: Timestamp, overlap: Duration) -> Timestamp {
    if state.reached(watermark, overlap) - overlap >= watermark {
        watermark + STEP
    } else {
        watermark - overlap
    }
}

/// The `updatedAt` up to which passes have read everything for good; `None` before the first load.
pub fn read_until(state: &StreamState, overlap: Duration) -> Option<Timestamp> {
    let watermark = state.watermark?;
    Some(state.reached(watermark, overlap) - overlap)
}

/// The stamp up to which a pass may declare a stream complete, whatever else it reads. It is at or before the
/// time of the stamping clock when the pass began: later changes may still appear with stamps after that time
/// minus the overlap.
///
/// `newest` is the newest stamp that the platform showed at the beginning of the pass, `reached` what is
/// known from earlier passes. `server_time`, the `Date` header, can only make the result earlier. It keeps a
/// record that is dated in the future from moving the watermark into the future.
pub fn cap(server_time: Timestamp, newest: Option<Timestamp>, reached: Timestamp) -> Timestamp {
    newest
        .map_or(reached, |newest| newest.max(reached))
        .min(server_time)
}

/// How far the `Date` header is ahead of the stamps of records, in milliseconds, if the two disagree;
/// negative if it is behind, or if records are dated in the future.
///
/// `newest` is the newest stamp that a pass saw. If it is newer than the watermark, it was not visible yet
/// when the last complete pass began, at `observed_at` by the header. So it is at most one overlap older than
/// that.
pub fn clock_difference(
    state: &StreamState,
    newest: Timestamp,
    server_time: Timestamp,
    overlap: Duration,
) -> Option<i64> {
    // The header has whole seconds.
    const EXACT: Duration = Duration::from_secs(1);
    let is_new = state.watermark.is_some_and(|watermark| newest > watermark);
    let ahead = state
        .observed_at
        .is_some_and(|at| newest < at - overlap - EXACT);
    let behind = newest > server_time + overlap + EXACT;
    (is_new && (ahead || behind)).then(|| (server_time.micros() - newest.micros()) / 1_000)
}

/// The window to request so that a range is covered with both its ends, whether the server includes the ends
/// of a window or not.
pub fn widen(range: Span) -> Span {
    Span {
        after: range.after.map(|after| after - STEP),
        before: range.before.map(|before| before + STEP),
    }
}

/// How many pages this many records fill.
pub fn pages(total: u64, size: u32) -> u32 {
    u32::try_from(total.div_ceil(u64::from(size.max(1)))).unwrap_or(u32::MAX)
}

/// The windows of a backfill over `range`, newest first. `pages` is the number of pages of the whole range,
/// and `oldest` the creation time of its oldest record. `now` is the newest stamp that the platform shows.
/// The windows end there. One more window looks for records that come meanwhile or are dated in the future.
/// The records created within the overlap have a window of their own: more records may still appear in it,
/// and a window that grew is read again.
pub fn windows(
    range: Span,
    oldest: Option<Timestamp>,
    now: Timestamp,
    overlap: Duration,
    (pages, depth): (u32, u32),
) -> Vec<Span> {
    let mut windows = Vec::new();
    let top = if let Some(before) = range.before {
        before
    } else {
        windows.push(Span::after(range.after.map_or(now, |after| after.max(now))));
        now
    };
    if range.after.is_some_and(|after| after >= top) {
        return windows;
    }
    let settled = now - overlap;
    let top = if top > settled && range.after.is_none_or(|after| after < settled) {
        windows.push(Span::between(settled, top));
        settled
    } else {
        top
    };
    let bottom = range.after.into_iter().chain(oldest).max();
    match bottom {
        Some(bottom) if pages > depth && bottom < top => {
            let mut slices = split(Span::between(bottom, top), pages, depth);
            // The server may have shown an oldest record that is not the oldest. So the last window begins
            // where the range begins, and does not leave out an older record.
            if let Some(last) = slices.last_mut() {
                last.after = range.after;
            }
            windows.append(&mut slices);
        }
        _ => windows.push(Span {
            after: range.after,
            before: Some(top),
        }),
    }
    windows
}

/// The windows that replace a window of this many pages, newest first: equal slices of time. There are as
/// many slices as make each one shallow enough if the records are evenly distributed. Empty if the window
/// cannot be split.
pub fn split(window: Span, pages: u32, depth: u32) -> Vec<Span> {
    let Some(before) = window.before else {
        return Vec::new();
    };
    let after = window.after.unwrap_or(FLOOR);
    if before.since(after) <= SMALLEST {
        return Vec::new();
    }
    let wanted = f64::from(pages) / (f64::from(depth.max(1)) * AIM);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to a small positive range"
    )]
    let slices = wanted.ceil().clamp(2.0, 10_000.0) as u64;
    let span = before.since(after);
    let slices =
        slices.min(u64::try_from((span.as_micros() / STEP.as_micros()).max(2)).unwrap_or(2));
    let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    let edge = |index: u64| {
        let share = u128::from(micros) * u128::from(index) / u128::from(slices);
        after + Duration::from_micros(u64::try_from(share).unwrap_or(micros))
    };
    (0..slices)
        .rev()
        .map(|index| Span {
            after: if index == 0 {
                window.after
            } else {
                Some(edge(index))
            },
            before: Some(edge(index + 1)),
        })
        .collect()
}

/// A part of a window, extended to begin two steps earlier. So a record on the border is in one of the two
/// neighbours, even if the server excludes both ends.
pub fn touching(part: Span, whole: Span) -> Span {
    if part.after == whole.after {
        part
    } else {
        Span {
            after: part.after.map(|after| after - STEP * 2),
            ..part
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::data::Resource;

    const OVERLAP: Duration = Duration::from_mins(2);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(1_700_000_000_000_000 + seconds * 1_000_000)
    }

    /// A state whose watermark was first seen at its own time. Its last pass was `theirs` seconds later by
    /// the platform's clock, and `ours` seconds later by this machine's clock, which is seven hours behind.
    fn state(theirs: i64, ours: i64) -> StreamState {
        let local = Duration::from_hours(7);
        StreamState {
            watermark: Some(at(0)),
            watermark_seen_at: Some(at(0)),
            watermark_seen_locally_at: Some(at(0) - local),
            observed_at: Some(at(theirs)),
            observed_locally_at: Some(at(ours) - local),
            ..StreamState::new(Resource::Sessions.streams()[0])
        }
    }

    #[test]
    fn a_pass_begins_one_overlap_before_the_watermark_until_nothing_can_appear_there() {
        let none = StreamState::new(Resource::Sessions.streams()[0]);
        for (state, begins) in [
            (none, at(-120)),
            (state(239, 300), at(-120)),
            (state(240, 300), at(0) + STEP),
            // One of the two clocks was set.
            (state(3_600, 239), at(-120)),
            (state(-3_600, 300), at(-120)),
            (state(300, -3_600), at(-120)),
        ] {
            assert_eq!(start(&state, at(0), OVERLAP), begins, "{state:?}");
        }
    }

    #[test]
    fn what_is_read_for_good_follows_the_time_that_passes() {
        let stream = Resource::Sessions.streams()[0];
        assert_eq!(read_until(&StreamState::new(stream), OVERLAP), None);
        assert_eq!(read_until(&state(60, 60), OVERLAP), Some(at(-120)));
        assert_eq!(read_until(&state(600, 601), OVERLAP), Some(at(360)));
    }

    #[test]
    fn a_header_that_is_ahead_or_behind_is_noticed_by_what_is_new() {
        let difference = |newest, now| clock_difference(&state(60, 60), newest, now, OVERLAP);
        // The newest change was seen before, or is as old as a new change may be.
        assert_eq!(difference(at(0), at(700)), None);
        assert_eq!(difference(at(1), at(70)), None);
        assert_eq!(difference(at(190), at(70)), None);
        assert_eq!(difference(at(192), at(70)), Some(-122_000));
        let ahead = |observed| clock_difference(&state(observed, 60), at(30), at(700), OVERLAP);
        assert_eq!(ahead(151), None);
        assert_eq!(ahead(152), Some(670_000));
    }

    #[test]
    fn a_small_account_is_one_window_and_one_each_for_what_still_moves() {
        let windows = windows(Span::OPEN, Some(at(-1000)), at(0), OVERLAP, (3, 50));
        let settled = at(-120);
        let rest = Span {
            after: None,
            before: Some(settled),
        };
        assert_eq!(
            windows,
            [Span::after(at(0)), Span::between(settled, at(0)), rest]
        );
    }

    #[test]
    fn a_range_in_the_past_is_not_looked_for_in_the_future() {
        let range = Span::between(at(-1000), at(-500));
        assert_eq!(windows(range, None, at(0), OVERLAP, (3, 50)), [range]);
    }

    #[test]
    fn a_window_of_an_instant_is_not_split() {
        assert!(split(Span::between(at(0), at(0) + STEP), 9, 5).is_empty());
    }

    /// What a stamping clock, a `Date` header and a machine's clock show, in microseconds, when a record was
    /// first shown and when a later pass began. One of the last two clocks may be set in between.
    fn clocks() -> impl Strategy<Value = (StreamState, Timestamp, Timestamp)> {
        const DAY: i64 = 86_400_000_000;
        let set = prop_oneof![
            Just((0, 0)),
            (-DAY..DAY).prop_map(|by| (by, 0)),
            (-DAY..DAY).prop_map(|by| (0, by))
        ];
        (0..DAY, 0..DAY, -DAY..DAY, -DAY..DAY, set).prop_map(
            |(age, elapsed, header, machine, (set_header, set_machine))| {
                let seen = at(0).micros();
                let observed = seen + elapsed;
                let time = |micros: i64| Some(Timestamp::from_micros(micros));
                let state = StreamState {
                    watermark: time(seen - age),
                    watermark_seen_at: time(seen + header),
                    watermark_seen_locally_at: time(seen + machine),
                    observed_at: time(observed + header + set_header),
                    observed_locally_at: time(observed + machine + set_machine),
                    ..StreamState::new(Resource::Sessions.streams()[0])
                };
                (
                    state,
                    Timestamp::from_micros(seen - age),
                    Timestamp::from_micros(observed),
                )
            },
        )
    }

    proptest! {
        #[test]
        fn whatever_clocks_show_nothing_appears_where_passes_no_longer_read(
            (state, watermark, observed) in clocks(),
        ) {
            // Changes that become visible after the last complete pass began have later stamps than this.
            let appears = observed - OVERLAP;
            prop_assert!(state.reached(watermark, OVERLAP) <= observed);
            prop_assert!(read_until(&state, OVERLAP).unwrap() <= appears);
            prop_assert!(start(&state, watermark, OVERLAP) <= appears.max(watermark - OVERLAP));
        }

        #[test]
        fn a_header_moves_the_cap_of_a_pass_only_back(
            header in -100_000_i64..100_000, newest in -100_000_i64..0, known in -100_000_i64..0,
        ) {
            // The stamping clock shows 0, so both instants are at or before its time.
            let cap = cap(at(header), Some(at(newest)), at(known));
            prop_assert!(cap <= at(0));
            prop_assert!(cap <= at(header));
            prop_assert_eq!(cap, at(newest.max(known).min(header)));
        }
        #[test]
        fn windows_tile_the_range_without_a_gap(
            pages in 0_u32..100_000,
            depth in 1_u32..200,
            age in 1_i64..100_000_000,
            bounded in any::<bool>(),
        ) {
            let after = bounded.then(|| at(-age));
            let windows = windows(Span { after, before: None }, Some(at(-age)), at(0), OVERLAP, (pages, depth));
            prop_assert_eq!(windows[0], Span::after(at(0)));
            for pair in windows.windows(2) {
                prop_assert_eq!(pair[0].after, pair[1].before);
            }
            prop_assert_eq!(windows.last().unwrap().after, after);
        }

        #[test]
        fn splitting_comes_to_an_end(
            pages in 0_u32..100_000, depth in 1_u32..200, micros in 1_u64..100_000,
        ) {
            let window = Span::between(at(0), at(0) + Duration::from_micros(micros));
            for part in split(window, pages, depth) {
                let Span { after: Some(after), before: Some(before) } = touching(part, window) else {
                    panic!("a part without an end");
                };
                let length = before.since(after).as_micros();
                prop_assert!(length <= u128::from(micros) * 3 / 4 + 1, "{length} of {micros}");
            }
        }

        #[test]
        fn the_parts_of_a_split_tile_the_window(
            pages in 0_u32..100_000, depth in 1_u32..200, micros in 1_u64..1_000_000_000_000,
        ) {
            let window = Span::between(at(0), at(0) + Duration::from_micros(micros));
            let parts = split(window, pages, depth);
            if let (Some(first), Some(last)) = (parts.first(), parts.last()) {
                prop_assert!(parts.len() > 1);
                prop_assert_eq!(first.before, window.before);
                prop_assert_eq!(last.after, window.after);
            }
            for pair in parts.windows(2) {
                prop_assert_eq!(pair[0].after, pair[1].before);
                prop_assert!(pair[0].after < pair[0].before);
            }
        }
    }
}
