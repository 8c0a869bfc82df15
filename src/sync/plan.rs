//! Which ranges to ask for. Pure arithmetic: no requests, no clock, no database.

use std::time::Duration;

use crate::data::{Span, StreamState, Timestamp};

/// The coarsest precision at which the platform is known to compare instants (API notes, 16:
/// milliseconds, microseconds or 100 ns). Going back by one step re-reads the records of an
/// instant whatever the precision, and whether its ends are inclusive or not.
pub const STEP: Duration = Duration::from_millis(1);

/// How far outside the window it asked for a record may lie before the filter counts as ignored.
/// Generous, since a server that ignores a filter answers with records that are months off.
pub const TOLERANCE: Duration = Duration::from_secs(2);

/// A window of a backfill aims at this share of the greatest depth, so that an uneven stretch of
/// time does not have to be split again.
const AIM: f64 = 0.7;

/// A window of this length or less is not split. Half of a longer one, begun earlier by
/// [`touching`], is shorter by a quarter at least: what is split again and again comes to an end,
/// also where more records share one instant than a window may hold.
const SMALLEST: Duration = Duration::from_millis(8);

/// 2010: no account of the platform is older. What is older still, by a broken clock, stays in a
/// window that is open below.
const FLOOR: Timestamp = Timestamp::from_micros(1_262_304_000_000_000);

/// Where an incremental pass begins to read: everything that changed before has been read for
/// good.
///
/// That is the watermark less the overlap, within which changes may still have become visible. But
/// where the last complete pass began long after the newest change, twice the overlap, the wait is
/// over: nothing can appear at or before the watermark any more, and reading its neighbourhood
/// again would cost a quiet account that ended with a bulk edit hundreds of pages every minute.
/// The second overlap is the margin for a `Date` header and a database that disagree.
pub fn start(state: &StreamState, watermark: Timestamp, overlap: Duration) -> Timestamp {
    match state.observed_at {
        Some(observed) if observed >= watermark + overlap * 2 => watermark + STEP,
        _ => watermark - overlap,
    }
}

/// The window to ask for so that a range is covered, its ends included, however the server treats
/// them.
pub fn widen(range: Span) -> Span {
    Span {
        after: range.after.map(|after| after - STEP),
        before: range.before.map(|before| before + STEP),
    }
}

/// Pages that hold so many records.
pub fn pages(total: u64, size: u32) -> u32 {
    u32::try_from(total.div_ceil(u64::from(size.max(1)))).unwrap_or(u32::MAX)
}

/// The windows of a backfill over `range`, newest first, given how many pages the whole of it has
/// and when its oldest record was made. `now` is the server's time: windows end there, and one
/// more looks for records dated in the future. What was made within the overlap is a window of its
/// own, since records may still appear in it, and a window that grew is read again.
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
            // The oldest record was only an answer of the server's: the last window is as open as
            // the range, so that a record that is older still is not left out.
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

/// What replaces a window of so many pages, newest first: equal slices of time, as many as make
/// each shallow enough if its records are evenly spread. Empty if the window can't be split.
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

/// A part of a window, begun two steps earlier, so that a record on the border is in one of the two
/// neighbours even if both exclude their ends.
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

    #[test]
    fn a_pass_begins_one_overlap_before_the_watermark_until_nothing_can_appear_there() {
        let mut state = StreamState::new(Resource::Sessions.streams()[0]);
        let overlap = Duration::from_mins(2);
        assert_eq!(start(&state, at(0), overlap), at(-120));
        state.observed_at = Some(at(239));
        assert_eq!(start(&state, at(0), overlap), at(-120));
        state.observed_at = Some(at(240));
        assert_eq!(start(&state, at(0), overlap), at(0) + STEP);
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

    proptest! {
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
