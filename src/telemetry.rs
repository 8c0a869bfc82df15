//! Writes log lines to stderr, as text or as JSON.
//!
//! Owns the subscriber and the terminal's bottom line, which log lines and progress bars share
//! ([`screen`]). Must not know what is logged. Tokens, bodies and row contents never reach it.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::LazyLock;

use indicatif::{MultiProgress, ProgressDrawTarget};
use tracing::field::Field;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::fmt::time::ChronoLocal;

/// The format of log lines, and which of them are printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// One JSON object on each line instead of text.
    pub json: bool,
    /// The lowest level of our own lines. Libraries log from `warn` on.
    pub level: tracing::Level,
    /// The content of `RUST_LOG`, which replaces the level.
    pub directives: Option<String>,
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

/// Installs the process's subscriber. A second call does nothing, so that tests can run several
/// commands in one process.
pub fn init(options: &Options) -> Result<(), TelemetryError> {
    let filter = filter(options)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(AboveBars);
    let installed = if options.json {
        builder.json().flatten_event(true).try_init()
    } else {
        builder
            .with_ansi(io::stderr().is_terminal())
            .with_target(false)
            .with_timer(ChronoLocal::new("%Y-%m-%d %H:%M:%S".to_owned()))
            .fmt_fields(debug_fn(sentence))
            .try_init()
    };
    // It only fails if a subscriber is installed already.
    drop(installed);
    Ok(())
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
/// password with a misspelt name, so these lines are off.
const SILENT: &str = "sqlx_postgres::options=off";

fn filter(options: &Options) -> Result<EnvFilter, TelemetryError> {
    let directives = options
        .directives
        .as_deref()
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .map_or_else(
            || format!("{LIBRARIES},helena_sync={}", options.level),
            str::to_owned,
        );
    EnvFilter::try_new(format!("{directives},{SILENT}")).map_err(|error| {
        TelemetryError::Directives {
            problem: error.to_string(),
        }
    })
}

/// Writes each event above the progress bars.
struct AboveBars;

/// An event's text. It is written when it is complete.
struct Line(Vec<u8>);

impl<'a> MakeWriter<'a> for AboveBars {
    type Writer = Line;
    fn make_writer(&'a self) -> Line {
        Line(Vec::with_capacity(256))
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let line = std::mem::take(&mut self.0);
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
    fn directives_that_are_none_are_refused_with_an_example() {
        let error = filter(&options(Some("helena_sync=loud"))).unwrap_err();
        assert!(error.to_string().contains("RUST_LOG is not valid"));
        assert!(error.to_string().contains("helena_sync=debug"));
    }
}
