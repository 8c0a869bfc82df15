//! Shows the progress of a long command: a progress bar on a terminal, log lines otherwise.

use std::collections::VecDeque;
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::Duration;

use indicatif::{HumanCount, ProgressBar, ProgressStyle};

use crate::clock::Clock;
use crate::data::{Timestamp, counted};
use crate::telemetry;

/// Whether stderr is a terminal, where progress bars can be drawn.
pub fn on_terminal() -> bool {
    io::stderr().is_terminal()
}

/// The progress at a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The account, if it has a name of its own.
    pub account: Option<String>,
    /// The current work: `first load of sessions`.
    pub phase: String,
    /// Rows done so far.
    pub rows: u64,
    /// Expected total of rows. `None` if it is not known yet.
    pub total: Option<u64>,
    /// What the work waits for: `rate limit, 12s`.
    pub waiting: Option<String>,
}

/// Rows per second over the last half minute.
#[derive(Debug, Default)]
pub struct Pace {
    samples: VecDeque<(Timestamp, u64)>,
}

const MEMORY: Duration = Duration::from_secs(30);
/// The narrowest terminal on which there is room for a bar beside the words.
const WITH_BAR: u16 = 110;
/// The interval between log lines, without a terminal.
const QUIET: Duration = Duration::from_secs(10);

impl Pace {
    /// Records the number of rows at an instant.
    pub fn note(&mut self, at: Timestamp, rows: u64) {
        if self.samples.back().is_some_and(|(_, last)| rows < *last) {
            self.samples.clear();
        }
        self.samples.push_back((at, rows));
        while self.samples.len() > 2
            && self
                .samples
                .get(1)
                .is_some_and(|(next, _)| at.since(*next) >= MEMORY)
        {
            self.samples.pop_front();
        }
    }

    /// Rows per second. `None` until there are two measurements.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a rate for people; row counts stay far below 2^52"
    )]
    pub fn rate(&self) -> Option<f64> {
        let (first, last) = (self.samples.front()?, self.samples.back()?);
        let seconds = last.0.since(first.0).as_secs_f64();
        (seconds > 0.0).then(|| (last.1 - first.1) as f64 / seconds)
    }

    /// The time that `rest` rows take at this rate, in whole seconds.
    #[expect(
        clippy::cast_precision_loss,
        reason = "an estimate for people; row counts stay far below 2^52"
    )]
    pub fn eta(&self, rest: u64) -> Option<Duration> {
        let rate = self.rate().filter(|rate| *rate > 0.0)?;
        let seconds = (rest as f64 / rate).ceil();
        (seconds < 1e9).then(|| Duration::from_secs_f64(seconds))
    }
}

/// Shows [`Snapshot`]s.
pub struct ProgressDisplay {
    clock: Arc<dyn Clock>,
    bar: Option<ProgressBar>,
    pace: Pace,
    shown_at: Option<Timestamp>,
    phase: String,
}

impl ProgressDisplay {
    /// Shows a progress bar if `on_terminal`, else a log line every ten seconds.
    pub fn new(clock: Arc<dyn Clock>, on_terminal: bool) -> Self {
        let bar = on_terminal.then(|| {
            let bar = telemetry::screen().add(ProgressBar::new_spinner());
            bar.enable_steady_tick(Duration::from_millis(250));
            bar
        });
        Self {
            clock,
            bar,
            pace: Pace::default(),
            shown_at: None,
            phase: String::new(),
        }
    }

    /// Shows a snapshot. It is cheap enough to be called after every page and while waiting.
    pub fn show(&mut self, snapshot: &Snapshot) {
        let now = self.clock.now();
        if snapshot.phase != self.phase {
            self.phase.clone_from(&snapshot.phase);
            self.pace = Pace::default();
            self.shown_at = None;
        }
        self.pace.note(now, snapshot.rows);
        let text = describe(snapshot, &self.pace);
        if let Some(bar) = &self.bar {
            style(bar, snapshot.total);
            bar.set_position(snapshot.rows);
            bar.set_message(text);
        } else if self.shown_at.is_none_or(|at| now.since(at) >= QUIET) {
            self.shown_at = Some(now);
            tracing::info!(
                account = snapshot.account,
                phase = snapshot.phase,
                rows = snapshot.rows,
                total = snapshot.total,
                waiting = snapshot.waiting,
                "{text}"
            );
        }
    }

    /// Removes the progress bar.
    pub fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
            telemetry::screen().remove(&bar);
        }
    }
}

impl Drop for ProgressDisplay {
    fn drop(&mut self) {
        self.finish();
    }
}

fn style(bar: &ProgressBar, total: Option<u64>) {
    let template = match total {
        Some(total) if bar.length() != Some(total) => {
            bar.set_length(total);
            // The words need about 75 columns.
            if telemetry::width().is_some_and(|width| width >= WITH_BAR) {
                "{spinner} [{bar:24}] {percent:>3}% {wide_msg}"
            } else {
                "{spinner} {percent:>3}% {wide_msg}"
            }
        }
        None if bar.length().is_some() => {
            bar.unset_length();
            "{spinner} {wide_msg}"
        }
        _ => return,
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
}

/// From ten minutes on, seconds are noise.
fn coarse(left: Duration) -> Duration {
    let seconds = left.as_secs();
    if seconds < 600 {
        left
    } else {
        Duration::from_secs(seconds.div_ceil(60) * 60)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate for people, which is never negative"
)]
fn whole(rate: f64) -> u64 {
    rate.round() as u64
}

/// `first load of sessions: 1,200 of 20,000 rows, 310/s, 1m 1s left`.
fn describe(snapshot: &Snapshot, pace: &Pace) -> String {
    use std::fmt::Write;
    let whose = match &snapshot.account {
        Some(account) => format!("{account}: "),
        None => String::new(),
    };
    if snapshot.phase.is_empty() {
        // No phase has begun.
        let waiting = snapshot.waiting.as_deref().unwrap_or("the first answer");
        return format!("{whose}waiting: {waiting}");
    }
    let (phase, rows) = (&snapshot.phase, HumanCount(snapshot.rows));
    let mut text = format!("{whose}{phase}");
    // Writing to a String cannot fail. Without a total, zero rows are not worth printing.
    if let Some(total) = snapshot.total {
        let _ = write!(text, ": {rows} of {}", counted(total, "row"));
    } else if snapshot.rows > 0 {
        let _ = write!(text, ": {}", counted(snapshot.rows, "row"));
    }
    // While nothing comes, a pace says nothing.
    if let Some(waiting) = &snapshot.waiting {
        let _ = write!(text, "; waiting: {waiting}");
        return text;
    }
    if snapshot.total.is_some_and(|total| snapshot.rows >= total) {
        // Some windows are read again, or have grown.
        text.push_str(", checking what changed meanwhile");
        return text;
    }
    if let Some(rate) = pace.rate().filter(|_| snapshot.rows > 0) {
        let _ = write!(text, ", {}/s", HumanCount(whole(rate)));
    }
    if let Some(eta) = snapshot
        .total
        .and_then(|total| pace.eta(total.saturating_sub(snapshot.rows)))
    {
        let _ = write!(text, ", {} left", humantime::format_duration(coarse(eta)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::FakeClock;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn the_pace_forgets_what_is_long_ago() {
        let mut pace = Pace::default();
        assert_eq!(pace.rate(), None);
        pace.note(at(0), 0);
        pace.note(at(10), 1000);
        assert_eq!(pace.eta(500), Some(Duration::from_secs(5)));
        pace.note(at(100), 1000);
        pace.note(at(140), 1400);
        assert_eq!(pace.rate(), Some(10.0));
    }

    #[test]
    fn a_line_says_rows_rate_rest_and_what_is_waited_for() {
        let mut pace = Pace::default();
        pace.note(at(0), 0);
        pace.note(at(4), 1200);
        let mut snapshot = Snapshot {
            account: None,
            phase: "first load of sessions".into(),
            rows: 1200,
            total: Some(20_000),
            waiting: Some("rate limit, 12s".into()),
        };
        assert_eq!(
            describe(&snapshot, &pace),
            "first load of sessions: 1,200 of 20,000 rows; waiting: rate limit, 12s"
        );
        let mut going = Snapshot {
            waiting: None,
            ..snapshot.clone()
        };
        assert_eq!(
            describe(&going, &pace),
            "first load of sessions: 1,200 of 20,000 rows, 300/s, 1m 3s left"
        );
        going.rows = 20_000;
        assert_eq!(
            describe(&going, &pace),
            "first load of sessions: 20,000 of 20,000 rows, checking what changed meanwhile"
        );
        going.rows = 1;
        going.total = Some(1);
        assert_eq!(
            describe(&going, &pace),
            "first load of sessions: 1 of 1 row, checking what changed meanwhile"
        );
        let mut fast = Pace::default();
        fast.note(at(0), 0);
        fast.note(at(100), 123_400);
        going.rows = 123_400;
        going.total = Some(9_876_543);
        let text = describe(&going, &fast);
        assert_eq!(
            text,
            "first load of sessions: 123,400 of 9,876,543 rows, 1,234/s, 2h 12m left"
        );
        // With the spinner and the share before it.
        assert!(text.len() + 7 <= 80, "{text}");
        snapshot.account = Some("north".into());
        assert!(describe(&snapshot, &pace).starts_with("north: first load of sessions: 1,200"));
        snapshot.phase = "checking the token's company".into();
        (snapshot.rows, snapshot.total) = (0, None);
        assert_eq!(
            describe(&snapshot, &pace),
            "north: checking the token's company; waiting: rate limit, 12s"
        );
        snapshot.phase = String::new();
        assert_eq!(
            describe(&snapshot, &pace),
            "north: waiting: rate limit, 12s"
        );
    }

    #[test]
    fn without_a_terminal_there_is_no_bar() {
        let clock = Arc::new(FakeClock::at(at(0)));
        let mut progress = ProgressDisplay::new(clock, false);
        progress.show(&Snapshot::default());
        assert!(progress.bar.is_none() && progress.shown_at.is_some());
    }
}
