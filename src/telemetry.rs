//! Writes log lines to stderr, as text or as JSON.
//!
//! Owns the subscriber and the terminal's bottom line, which log lines and progress bars share
//! ([`screen`]). Must not know what is logged. Tokens, bodies and row contents never reach it.

mod line;
#[cfg(feature = "otlp")]
mod traces;
mod wrap;

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::{LazyLock, OnceLock};

use chrono_tz::Tz;
use indicatif::{MultiProgress, ProgressDrawTarget};
use tracing::field::Field;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{JsonFields, Writer, debug_fn};
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use crate::clock::{Clock as _, SystemClock};

pub use wrap::{Wrapping, wrapped};

/// The format of log lines, and which of them are printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// One JSON object on each line instead of text.
    pub json: bool,
    /// The lowest level of our own lines. Libraries log from `warn` on.
    pub level: tracing::Level,
    /// The content of `RUST_LOG`, which replaces the level.
    pub directives: Option<String>,
    /// The time zone of the lines' times.
    pub zone: Tz,
    /// Whether traces are sent.
    pub traces: bool,
}

/// The target of spans that only traces have: walks, requests and commits. The log knows nothing of them.
pub const SPANS: &str = "traces";

/// Whether the variables of OpenTelemetry ask for traces. `variable` yields the value of one.
pub fn asks_for_traces<'a>(variable: impl Fn(&str) -> Option<&'a str>) -> bool {
    let set = |name| variable(name).is_some_and(|value| !value.trim().is_empty());
    let is_off = variable("OTEL_SDK_DISABLED").is_some_and(|it| it.eq_ignore_ascii_case("true"));
    !is_off
        && variable("OTEL_TRACES_EXPORTER").is_none_or(|exporter| exporter != "none")
        && (set("OTEL_EXPORTER_OTLP_ENDPOINT") || set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"))
}

/// Sends the spans of traces that were not sent yet. Waits 5 seconds at most.
#[cfg_attr(
    not(feature = "otlp"),
    expect(clippy::unused_async, reason = "callers wait for traces")
)]
pub async fn end() {
    #[cfg(feature = "otlp")]
    traces::end().await;
}

/// The time of a log line, in a time zone.
struct LocalTime {
    zone: Tz,
    form: &'static str,
}

/// `2026-05-04 14:00:00-03:00`.
const OF_TEXT: &str = "%Y-%m-%d %H:%M:%S%:z";

/// RFC 3339, to the microsecond.
const OF_JSON: &str = "%Y-%m-%dT%H:%M:%S%.6f%:z";

impl FormatTime for LocalTime {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let now = SystemClock.now().to_datetime().with_timezone(&self.zone);
        write!(writer, "{}", now.format(self.form))
    }
}

/// Why the log cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The directives are not valid.
    #[error(
        "RUST_LOG is not valid: {problem} (accepted: a level such as debug, or target=level pairs such as helena_sync=debug,sqlx=warn)"
    )]
    Directives {
        /// What the parser says.
        problem: String,
    },
    /// Traces cannot be sent.
    #[error(
        "cannot send traces: {problem}. Check the variables OTEL_EXPORTER_OTLP_*, or unset OTEL_EXPORTER_OTLP_ENDPOINT"
    )]
    Traces {
        /// What the exporter says.
        problem: String,
    },
}

/// The terminal's bottom line. Progress bars are added to it, and log lines are written above it.
/// Without a terminal, nothing is drawn.
pub fn screen() -> &'static MultiProgress {
    static SCREEN: LazyLock<MultiProgress> = LazyLock::new(|| {
        let target = if io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        MultiProgress::with_draw_target(target)
    });
    &SCREEN
}

/// Whether a person may be reading stderr.
pub fn is_on_terminal() -> bool {
    io::stderr().is_terminal()
}

/// The width of the terminal on stderr. `None` if stderr is a file or a pipe.
pub fn width() -> Option<u16> {
    let stderr = io::stderr();
    if !stderr.is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(&stderr).ok()?;
    (size.ws_col > 0).then_some(size.ws_col)
}

/// Whether text on a terminal may have colours: not if `NO_COLOR` has a value, and not on a terminal
/// that has none.
pub fn may_colour() -> bool {
    let set = |name| std::env::var_os(name).filter(|value: &std::ffi::OsString| !value.is_empty());
    set("NO_COLOR").is_none() && set("TERM").is_none_or(|term| term != "dumb")
}

/// A message as stderr shows it: on a terminal, lines are broken between words, and the word `error:` has
/// the colour that usage errors have.
pub fn for_people(text: &str) -> String {
    let Some(width) = width() else {
        return text.to_owned();
    };
    let text = wrapped(text, Some(width), "  ");
    match text.strip_prefix("error:") {
        Some(rest) if may_colour() => format!("\u{1b}[1m\u{1b}[31merror:\u{1b}[0m{rest}"),
        _ => text,
    }
}

/// Installs the process's subscriber. A second call does nothing, so that tests can run several
/// commands in one process.
pub fn init(options: &Options) -> Result<(), TelemetryError> {
    let filter = filter(options)?;
    let writer = AboveBars {
        wraps: !options.json,
    };
    let lines: Box<dyn Layer<Registry> + Send + Sync> = if options.json {
        Box::new(
            tracing_subscriber::fmt::layer()
                .with_writer(writer)
                .fmt_fields(JsonFields::new())
                .event_format(line::Json(LocalTime {
                    zone: options.zone,
                    form: OF_JSON,
                })),
        )
    } else {
        Box::new(
            tracing_subscriber::fmt::layer()
                .with_writer(writer)
                .with_ansi(io::stderr().is_terminal() && may_colour())
                .fmt_fields(debug_fn(sentence))
                .event_format(line::Text(LocalTime {
                    zone: options.zone,
                    form: OF_TEXT,
                })),
        )
    };
    let (filter, handle) = reload::Layer::new(filter);
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(filter));
    #[cfg(feature = "otlp")]
    let installed = if options.traces {
        subscriber.with(traces::layer()?).try_init()
    } else {
        subscriber.try_init()
    };
    #[cfg(not(feature = "otlp"))]
    let installed = subscriber.try_init();
    // Installing only fails if a subscriber is installed already.
    if installed.is_ok() {
        let _first = REPLACE.set(Box::new(move |filter| handle.reload(filter).is_ok()));
    }
    if options.traces && cfg!(not(feature = "otlp")) {
        tracing::warn!(
            "this build of helena-sync sends no traces, although OTEL_EXPORTER_OTLP_ENDPOINT is set: build it with \
             the feature otlp"
        );
    }
    Ok(())
}

/// Replaces the filter of the installed subscriber. Returns whether that worked.
type Replace = Box<dyn Fn(EnvFilter) -> bool + Send + Sync>;

static REPLACE: OnceLock<Replace> = OnceLock::new();

/// Prints lines from this level on from now on. The caller knows whether `RUST_LOG` sets the levels instead.
/// Returns whether that worked.
pub fn set_level(level: tracing::Level) -> bool {
    EnvFilter::try_new(of_level(level))
        .ok()
        .zip(REPLACE.get())
        .is_some_and(|(filter, replace)| replace(filter))
}

fn of_level(level: tracing::Level) -> String {
    format!("{LIBRARIES},helena_sync={level},{SILENT}")
}

/// Text lines print the message only. Its fields are for machines, and are in the JSON lines.
fn sentence(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    if field.name() == "message" {
        write!(writer, "{value:?}")
    } else {
        Ok(())
    }
}

/// Libraries log from `warn` on. Waiting for the connection that writes is normal for the store, so
/// sqlx's warning about it is off. The scheduler logs an error when it shuts down, although nothing
/// failed; its real failures come back as results.
const LIBRARIES: &str = "warn,sqlx::pool::acquire=error,tokio_cron_scheduler=off";

/// The driver logs unknown parameters of a database's address with their values. One may be a
/// password with a misspelt name, so these lines are off. So are spans that only traces have.
const SILENT: &str = "sqlx_postgres::options=off,traces=off";

fn filter(options: &Options) -> Result<EnvFilter, TelemetryError> {
    let directives = options.directives.as_deref().map(str::trim);
    let directives = directives.filter(|text| !text.is_empty()).map_or_else(
        || of_level(options.level),
        |directives| format!("{directives},{SILENT}"),
    );
    EnvFilter::try_new(directives).map_err(|error| TelemetryError::Directives {
        problem: error.to_string(),
    })
}

/// Writes each event above the progress bars.
struct AboveBars {
    /// Whether long lines are broken between words on a terminal.
    wraps: bool,
}

/// An event's text. It is written when it is complete.
struct Line {
    text: Vec<u8>,
    wraps: bool,
}

/// The indent of the second line of an event, and of those after it.
const INDENT: &str = "    ";

impl<'a> MakeWriter<'a> for AboveBars {
    type Writer = Line;
    fn make_writer(&'a self) -> Line {
        Line {
            text: Vec::with_capacity(256),
            wraps: self.wraps,
        }
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.text.is_empty() {
            return Ok(());
        }
        let mut line = std::mem::take(&mut self.text);
        if self.wraps
            && let Some(width) = width()
        {
            let text = String::from_utf8_lossy(&line);
            line = wrapped(&text, Some(width), INDENT).into_bytes();
        }
        screen().suspend(|| io::stderr().lock().write_all(&line))
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // If the log cannot be written, there is nowhere to report it.
        let _unwritable = self.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(directives: Option<&str>) -> Options {
        Options {
            json: false,
            level: tracing::Level::INFO,
            directives: directives.map(str::to_owned),
            zone: Tz::UTC,
            traces: false,
        }
    }

    #[test]
    fn the_level_is_ours_and_libraries_are_quiet() {
        let shown = filter(&options(None)).unwrap().to_string();
        assert!(shown.contains("helena_sync=info") && shown.contains("warn"));
        let shown = filter(&options(Some("sqlx=debug"))).unwrap().to_string();
        assert!(shown.contains("sqlx=debug") && !shown.contains("helena_sync"));
        assert!(shown.contains("sqlx_postgres::options=off"));
    }

    #[test]
    fn a_line_has_the_time_of_its_zone_and_the_difference_from_utc() {
        for (form, length) in [(OF_TEXT, 25), (OF_JSON, 32)] {
            let mut text = String::new();
            let zone = Tz::America__Sao_Paulo;
            let time = LocalTime { zone, form };
            time.format_time(&mut Writer::new(&mut text)).unwrap();
            assert!(text.ends_with("-03:00"), "{text}");
            assert_eq!(text.len(), length, "{text}");
        }
    }

    #[test]
    fn directives_that_are_none_are_refused_with_an_example() {
        let error = filter(&options(Some("helena_sync=loud"))).unwrap_err();
        assert!(error.to_string().contains("RUST_LOG is not valid"));
        assert!(error.to_string().contains("helena_sync=debug"));
    }
}
