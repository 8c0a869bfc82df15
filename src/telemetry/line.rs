//! The two forms of a log line: text for people, and one JSON object.
//!
//! A line belongs to what was going on when it was logged: an account, and a run of it. In JSON, both
//! are fields of every such line.

use std::fmt;

use serde::ser::{SerializeMap, Serializer as _};
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::{LookupSpan, Scope};

/// `2026-05-04 14:00:00-03:00  INFO message`.
pub(super) struct Text<T>(pub(super) T);

impl<T, S, N> FormatEvent<S, N> for Text<T>
where
    T: FormatTime,
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let is_coloured = writer.has_ansi_escapes();
        if is_coloured {
            writer.write_str("\u{1b}[2m")?;
        }
        self.0.format_time(&mut writer)?;
        if is_coloured {
            writer.write_str("\u{1b}[0m")?;
        }
        let (level, colour) = match *event.metadata().level() {
            Level::ERROR => ("ERROR", 31),
            Level::WARN => (" WARN", 33),
            Level::INFO => (" INFO", 32),
            Level::DEBUG => ("DEBUG", 34),
            Level::TRACE => ("TRACE", 35),
        };
        if is_coloured {
            write!(writer, " \u{1b}[{colour}m{level}\u{1b}[0m ")?;
        } else {
            write!(writer, " {level} ")?;
        }
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

/// One JSON object: time, level, message, then the fields of what was going on and of the line itself.
pub(super) struct Json<T>(pub(super) T);

impl<T, S> FormatEvent<S, JsonFields> for Json<T>
where
    T: FormatTime,
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Map::new();
        for span in context.event_scope().into_iter().flat_map(Scope::from_root) {
            let extensions = span.extensions();
            let Some(text) = extensions.get::<FormattedFields<JsonFields>>() else {
                continue;
            };
            if let Ok(Value::Object(of_span)) = serde_json::from_str(&text.fields) {
                fields.extend(of_span);
            }
        }
        event.record(&mut Fields(&mut fields));
        let mut time = String::new();
        self.0.format_time(&mut Writer::new(&mut time))?;
        let metadata = event.metadata();
        let line = written(&time, *metadata.level(), metadata.target(), fields);
        writeln!(writer, "{}", line.map_err(|_| fmt::Error)?)
    }
}

fn written(
    time: &str,
    level: Level,
    target: &str,
    mut fields: Map<String, Value>,
) -> Result<String, serde_json::Error> {
    let mut line = Vec::with_capacity(256);
    let mut serializer = serde_json::Serializer::new(&mut line);
    let mut object = serializer.serialize_map(None)?;
    object.serialize_entry("timestamp", time)?;
    object.serialize_entry("level", level.as_str())?;
    if let Some(message) = fields.remove("message") {
        object.serialize_entry("message", &message)?;
    }
    for (name, value) in &fields {
        object.serialize_entry(name, value)?;
    }
    object.serialize_entry("target", target)?;
    object.end()?;
    Ok(String::from_utf8_lossy(&line).into_owned())
}

/// Collects the fields of an event.
struct Fields<'a>(&'a mut Map<String, Value>);

impl Fields<'_> {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        let name = field.name();
        let name = name.strip_prefix("r#").unwrap_or(name);
        self.0.insert(name.to_owned(), value.into());
    }
}

impl Visit for Fields<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }
}
