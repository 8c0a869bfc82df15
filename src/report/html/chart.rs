//! Charts as SVG.
//!
//! Across, everything is in percent, so that a chart fits any width while its text keeps its size. Lines
//! lie in a drawing of their own, which is stretched. Must not know which figures it draws.

use std::fmt::Write as _;

use maud::{Markup, html};

/// A number as an attribute.
fn n(number: f64) -> String {
    let text = format!("{number:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" {
        "0".to_owned()
    } else {
        text.to_owned()
    }
}

fn pc(percent: f64) -> String {
    format!("{}%", n(percent))
}

#[expect(clippy::cast_precision_loss, reason = "places and counts are small")]
const fn f(number: usize) -> f64 {
    number as f64
}

/// The greatest value of an axis, and the distance of its lines: few and round.
pub(super) fn scale(most: f64) -> (f64, f64) {
    if most <= 0.0 {
        return (1.0, 1.0);
    }
    let power = 10_f64.powf((most / 3.0).log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| most / step <= 4.0)
        .unwrap_or(power * 10.0)
        // Sessions cannot be halved.
        .max(1.0);
    ((most / step).ceil() * step, step)
}

/// A chart: its message in words, its height, whether an axis stands on its left, and what is drawn.
pub(super) fn chart(message: &str, height: f64, has_axis: bool, drawn: &Markup) -> Markup {
    html! {
        svg role="img" class=[has_axis.then_some("axis")] height=(n(height)) aria-label=(message) {
            title { (message) }
            g aria-hidden="true" { (drawn) }
        }
    }
}

/// Points of a line, from left to right; `None` leaves a gap.
pub(super) type Points = [Option<f64>];

/// Where a panel lies: its upper edge and its height.
#[derive(Clone, Copy)]
pub(super) struct Panel {
    pub(super) top: f64,
    pub(super) height: f64,
    /// The value at the upper edge.
    pub(super) most: f64,
}

impl Panel {
    fn y(self, value: f64) -> f64 {
        self.top + self.height * (1.0 - value / self.most)
    }

    /// Lines across, with the value on the left of each.
    pub(super) fn grid(self, step: f64, shown: impl Fn(f64) -> String) -> Markup {
        let mut values = Vec::new();
        let mut value = step;
        while value <= self.most * 1.0001 && values.len() < 8 {
            values.push(value);
            value += step;
        }
        html! {
            @for value in &values {
                line class="grid" x1="0" x2="100%" y1=(n(self.y(*value))) y2=(n(self.y(*value))) {}
                text x="-8" text-anchor="end" y=(n(self.y(*value) + 4.0)) { (shown(*value)) }
            }
        }
    }

    /// The line at the bottom.
    pub(super) fn base(self) -> Markup {
        let y = n(self.top + self.height);
        html! { line class="base" x1="0" x2="100%" y1=(y) y2=(y) {} }
    }

    /// Bars, each in its place among `count`: the part of the place at which it begins, and its width.
    pub(super) fn bars(self, values: &[f64], class: &str, begins: f64, width: f64) -> Markup {
        let slot = 100.0 / f(values.len().max(1));
        html! {
            @for (place, value) in values.iter().enumerate() {
                @if *value > 0.0 {
                    rect class=(class) x=(pc(slot * (f(place) + begins))) width=(pc(slot * width))
                        y=(n(self.y(*value))) height=(n(self.top + self.height - self.y(*value))) {}
                }
            }
        }
    }

    /// A line through the middle of the places.
    pub(super) fn line(self, points: &Points, class: &str) -> Markup {
        let slot = 1_000.0 / f(points.len().max(1));
        let mut path = String::new();
        let mut is_drawing = false;
        for (place, point) in points.iter().enumerate() {
            if let Some(value) = point {
                let x = n(slot * (f(place) + 0.5));
                let y = n(self.height * (1.0 - value / self.most));
                // A point between two gaps is a line of no length, of which its round ends are seen.
                // Writing to a String cannot fail.
                let _ = if is_drawing {
                    write!(path, "L{x} {y}")
                } else {
                    write!(path, "M{x} {y}h0")
                };
            }
            is_drawing = point.is_some();
        }
        self.stretched(&html! { path class=(class) vector-effect="non-scaling-stroke" d=(path) {} })
    }

    /// The area between two lines, where both have a point.
    pub(super) fn band(self, low: &Points, high: &Points, class: &str) -> Markup {
        let slot = 1_000.0 / f(low.len().max(1));
        let y = |value: f64| n(self.height * (1.0 - value / self.most));
        let mut path = String::new();
        let mut run: Vec<(f64, f64, f64)> = Vec::new();
        let places = low.iter().zip(high).map(|(low, high)| low.zip(*high));
        for (place, pair) in places.chain([None]).enumerate() {
            if let Some((low, high)) = pair {
                run.push((slot * (f(place) + 0.5), low, high));
                continue;
            }
            if let [(x, low, high)] = run[..] {
                // A run of one would have no width.
                run = vec![(x - slot * 0.3, low, high), (x + slot * 0.3, low, high)];
            }
            for (at, (x, _, high)) in run.iter().enumerate() {
                let letter = if at == 0 { "M" } else { "L" };
                let _ = write!(path, "{letter}{} {}", n(*x), y(*high));
            }
            for (x, low, _) in run.iter().rev() {
                let _ = write!(path, "L{} {}", n(*x), y(*low));
            }
            if !run.is_empty() {
                path.push('Z');
            }
            run.clear();
        }
        self.stretched(&html! { path class=(class) d=(path) {} })
    }

    fn stretched(self, drawn: &Markup) -> Markup {
        html! {
            svg x="0" y=(n(self.top)) width="100%" height=(n(self.height))
                viewBox=(format!("0 0 1000 {}", n(self.height))) preserveAspectRatio="none" {
                (drawn)
            }
        }
    }
}

/// Stripes behind a chart, in their places among `count`.
pub(super) fn stripes(places: &[bool], height: f64) -> Markup {
    let slot = 100.0 / f(places.len().max(1));
    html! {
        @for (place, is) in places.iter().enumerate() {
            @if *is {
                rect class="quiet" x=(pc(slot * f(place))) width=(pc(slot)) y="0" height=(n(height)) {}
            }
        }
    }
}

/// A few labels below a chart.
pub(super) fn labels(texts: &[String], y: f64, most: usize) -> Markup {
    let count = texts.len();
    let slot = 100.0 / f(count.max(1));
    let last = count.saturating_sub(1);
    let shortest = last.div_ceil(most.saturating_sub(1).max(1)).max(1);
    // The step with which the last label is nearest to a place of its own.
    let step = (shortest..=shortest + shortest / 2)
        .min_by_key(|step| {
            (
                (last % step).min(step - last % step),
                std::cmp::Reverse(*step),
            )
        })
        .unwrap_or(shortest);
    let mut places: Vec<usize> = (0..count).step_by(step).collect();
    // The last one stands at the edge, unless another is too near.
    if let Some(&last) = places.last()
        && count > 1
        && last != count - 1
    {
        if (count - 1 - last) * 7 < step * 6 {
            places.pop();
        }
        places.push(count - 1);
    }
    html! {
        @for place in places {
            @let (x, anchor) = if count == 1 {
                (50.0, "middle")
            } else if place == 0 {
                (0.0, "start")
            } else if place == count - 1 {
                (100.0, "end")
            } else {
                (slot * (f(place) + 0.5), "middle")
            };
            text x=(pc(x)) y=(n(y)) text-anchor=(anchor) { (texts[place]) }
        }
    }
}

/// A line of a list of bars.
pub(super) struct Bar {
    pub(super) label: String,
    pub(super) shown: String,
    /// The parts of the bar, each of 1, with the class of its colour.
    pub(super) parts: Vec<(f64, &'static str)>,
    /// What is said at the bar.
    pub(super) mark: Option<String>,
}

/// A list of bars below their labels: its height, and what is drawn.
pub(super) fn bar_list(bars: &[Bar]) -> (f64, Markup) {
    const LINE: f64 = 38.0;
    let drawn = html! {
        @for (place, bar) in bars.iter().enumerate() {
            @let y = LINE * f(place);
            text class="lab" x="0" y=(n(y + 14.0)) {
                (bar.label)
                @if let Some(mark) = &bar.mark {
                    tspan dx="8" class="soft" { "← " (mark) }
                }
            }
            text class="lab val" x="100%" y=(n(y + 14.0)) text-anchor="end" { (bar.shown) }
            rect class="track" x="0" width="100%" y=(n(y + 20.0)) height="9" rx="2" {}
            @let ends = bar.parts.iter().scan(0.0, |sum, (part, _)| { *sum += part; Some(*sum) });
            @for ((part, class), end) in bar.parts.iter().zip(ends) {
                @if *part > 0.0 {
                    rect class=(class) x=(pc((end - part) * 100.0)) width=(pc(part * 100.0))
                        y=(n(y + 20.0)) height="9" rx="2" {}
                }
            }
        }
    };
    (LINE * f(bars.len()), drawn)
}

/// A cell of a heat map.
#[derive(Clone, Default)]
pub(super) struct Heat {
    /// From 0 to 1; `None` for an empty cell.
    pub(super) level: Option<f64>,
    /// What is written into it where there is room.
    pub(super) text: String,
    /// Whether it lies within the outline.
    pub(super) is_inside: bool,
}

/// A map of weekdays and hours: its height, and what is drawn.
pub(super) fn heat_map(rows: &[(&str, Vec<Heat>)]) -> (f64, Markup) {
    const LEFT: f64 = 9.0;
    const LINE: f64 = 26.0;
    const TOP: f64 = 18.0;
    let columns = rows.first().map_or(24, |(_, cells)| cells.len()).max(1);
    let slot = (100.0 - LEFT) / f(columns);
    let is_inside = |row: Option<usize>, column: Option<usize>| {
        row.zip(column)
            .and_then(|(row, column)| rows.get(row)?.1.get(column))
            .is_some_and(|cell| cell.is_inside)
    };
    let mut edges: Vec<[f64; 4]> = Vec::new();
    for (row, (_, cells)) in rows.iter().enumerate() {
        for column in 0..cells.len() {
            if !is_inside(Some(row), Some(column)) {
                continue;
            }
            let (x, y) = (LEFT + slot * f(column), TOP + LINE * f(row));
            if !is_inside(row.checked_sub(1), Some(column)) {
                edges.push([x, y, x + slot, y]);
            }
            if !is_inside(Some(row + 1), Some(column)) {
                edges.push([x, y + LINE, x + slot, y + LINE]);
            }
            if !is_inside(Some(row), column.checked_sub(1)) {
                edges.push([x, y, x, y + LINE]);
            }
            if !is_inside(Some(row), Some(column + 1)) {
                edges.push([x + slot, y, x + slot, y + LINE]);
            }
        }
    }
    let drawn = html! {
        @for hour in (0..columns).step_by(3) {
            text x=(pc(LEFT + slot * f(hour))) y="11" { (hour) }
        }
        @for (row, (name, cells)) in rows.iter().enumerate() {
            @let y = TOP + LINE * f(row);
            text x="0" y=(n(y + 17.0)) { (name) }
            @for (column, cell) in cells.iter().enumerate() {
                @let x = LEFT + slot * f(column);
                @match cell.level {
                    Some(level) => {
                        rect class="a" x=(pc(x + 0.08)) width=(pc(slot - 0.16)) y=(n(y + 1.0))
                            height=(n(LINE - 2.0)) fill-opacity=(n(0.1 + 0.9 * level)) {}
                        @if !cell.text.is_empty() {
                            text class=(if level > 0.8 { "num on wide" } else { "num wide" })
                                x=(pc(x + slot / 2.0)) y=(n(y + 17.0)) text-anchor="middle" {
                                (cell.text)
                            }
                        }
                    }
                    None => {
                        rect class="track" x=(pc(x + 0.08)) width=(pc(slot - 0.16)) y=(n(y + 1.0))
                            height=(n(LINE - 2.0)) {}
                    }
                }
            }
        }
        @for [x1, y1, x2, y2] in edges {
            line class="edge" x1=(pc(x1)) y1=(n(y1)) x2=(pc(x2)) y2=(n(y2)) {}
        }
    };
    (TOP + LINE * f(rows.len()) + 2.0, drawn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_few_round_lines() {
        for (most, expected) in [
            (0.0, (1.0, 1.0)),
            (1.0, (1.0, 1.0)),
            (7.0, (8.0, 2.0)),
            (38.0, (40.0, 10.0)),
            (90.0, (100.0, 25.0)),
            (1_234.0, (1_500.0, 500.0)),
        ] {
            assert_eq!(scale(most), expected, "{most}");
        }
    }

    #[test]
    fn numbers_of_attributes_are_short() {
        assert_eq!(n(1.0), "1");
        assert_eq!(n(-0.001), "0");
        assert_eq!(pc(33.333_3), "33.33%");
    }

    #[test]
    fn a_line_has_gaps_where_nothing_is_known() {
        let panel = Panel {
            top: 0.0,
            height: 10.0,
            most: 10.0,
        };
        let drawn = panel.line(&[Some(1.0), None, Some(2.0), Some(3.0)], "line");
        let text = drawn.into_string();
        assert_eq!(text.matches('M').count(), 2, "{text}");
        assert_eq!(text.matches('L').count(), 1, "{text}");
    }
}
