//! What must hold of any input from outside, whatever it is.
//!
//! Each check takes one input and panics if something does not hold. The corpus, the property
//! tests and the fuzzer all call these.

use std::collections::HashSet;
use std::path::Path;

use helena_sync::api::{self, Shape};
use helena_sync::cli::{self, Calendar};
use helena_sync::config::{Edge, Environment, Settings};
use helena_sync::data::{Page, Resource, Timestamp};
use helena_sync::schema::{BatchBuilder, span_seconds};
use serde_json::Value;
use uuid::Uuid;

/// The body of an answer: it is cut into records that stand in it, and every record of every
/// resource becomes a row or a reject.
pub fn page(body: &[u8]) {
    let server_time = Timestamp::from_micros(1_777_900_000_000_000);
    for shape in [
        Shape::Page { number: 1, size: 2 },
        Shape::Page {
            number: 3,
            size: 100,
        },
        Shape::List,
        Shape::Record,
    ] {
        let Ok(page) = api::decode(body.to_vec(), None, shape, server_time) else {
            continue;
        };
        for item in &page.items {
            let raw = page.raw(item);
            assert!(!raw.is_empty(), "a record without a text");
            assert!(
                page.body.get(item.raw.clone()).is_some(),
                "a record outside of its page"
            );
        }
        assert!(
            !(page.has_more && page.items.is_empty()),
            "an empty page that is followed by others would be asked for for ever"
        );
        for resource in Resource::ALL {
            mapped(resource, &page);
        }
    }
}

fn mapped(resource: Resource, page: &Page) {
    let mut builder = BatchBuilder::new(resource, true);
    builder.add(page);
    let batch = builder.finish();
    assert_eq!(batch.rows_read, page.items.len() as u64, "records lost");
    let mut own = HashSet::new();
    for write in &batch.writes {
        let keys: HashSet<Uuid> = write.rows.iter().map(|row| row.key).collect();
        assert_eq!(
            keys.len(),
            write.rows.len(),
            "{}: a key twice",
            write.table.name
        );
        for row in &write.rows {
            let json: Value =
                serde_json::from_str(&row.object(write.table)).expect("a row is JSON");
            let columns = json.as_object().expect("a row is an object");
            for name in columns.keys() {
                assert!(
                    write.table.columns.iter().any(|column| column.name == name),
                    "{} has no column {name}",
                    write.table.name
                );
            }
            assert!(!holds_nul(&json), "Postgres takes no NUL");
        }
        if write.table.name == resource.name() {
            own.extend(keys);
        }
    }
    let rejected: HashSet<Uuid> = batch
        .rejects
        .iter()
        .filter_map(|reject| reject.record_id)
        .collect();
    if resource == Resource::Agents {
        // Their key is another field than their id.
        return;
    }
    for item in &page.items {
        match item.head.id {
            Some(id) => assert!(
                own.contains(&id) || rejected.contains(&id),
                "{resource}: a record is neither a row nor a reject"
            ),
            // The mapping reads a little more leniently than the walk.
            None => assert!(
                !batch.rejects.is_empty() || !own.is_empty(),
                "{resource}: a record without an id is not rejected"
            ),
        }
    }
}

fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(all) => all.iter().any(holds_nul),
        Value::Object(fields) => fields
            .iter()
            .any(|(name, value)| name.contains('\0') || holds_nul(value)),
        _ => false,
    }
}

/// A date, of the platform or of a person.
pub fn date(text: &str) {
    if let Ok(at) = Timestamp::parse(text) {
        // The form that is stored and sent. Years beyond 9999 come of an offset alone.
        let shown = at.to_string();
        if shown.len() == 27 {
            assert_eq!(Timestamp::parse(&shown), Ok(at), "{shown}");
        }
        if let Ok(other) = chrono::DateTime::parse_from_rfc3339(text.trim()) {
            // A leap second is nobody's business but ours.
            if other.timestamp_subsec_micros() < 1_000_000 {
                assert_eq!(
                    at.micros(),
                    other.timestamp_micros(),
                    "cut off, not rounded"
                );
            }
        }
    }
    for zone in ["UTC", "America/Sao_Paulo", "Pacific/Apia"] {
        let calendar = Calendar {
            zone: zone.parse().expect("a zone"),
            now: Timestamp::from_micros(1_777_900_000_000_000),
            day_first: false,
        };
        let start = cli::parse_date("--from", text, &calendar, Edge::Start);
        let end = cli::parse_date("--to", text, &calendar, Edge::End);
        match (start, end) {
            (Ok(start), Ok(end)) => assert!(start <= end, "{start} to {end}"),
            (
                Err(cli::DateError::Ambiguous {
                    days: [one, other], ..
                }),
                Err(_),
            ) => {
                assert_ne!(one, other);
            }
            (Err(start), Err(_)) => assert!(start.to_string().contains("accepted: ")),
            // The last day of the calendar has no day after it.
            (Ok(_), Err(_)) => {}
            (Err(_), Ok(end)) => panic!("only an end: {end}"),
        }
    }
}

/// A span of time of the platform's.
pub fn span(text: &str) {
    let Some(seconds) = span_seconds(text) else {
        return;
    };
    let sign = if seconds < 0 { "-" } else { "" };
    let rest = seconds.unsigned_abs();
    let (days, hours) = (rest / 86_400, rest / 3_600 % 24);
    let (minutes, rest) = (rest / 60 % 60, rest % 60);
    let shown = format!("{sign}{days}.{hours:02}:{minutes:02}:{rest:02}.9999999");
    if days < 1_000_000_000 {
        assert_eq!(span_seconds(&shown), Some(seconds), "{shown}");
    }
}

/// A configuration file: every section is a value or a message.
pub fn configuration(text: &str) {
    let environment = Environment::from([("HELENA_API_TOKEN", "pn_secret_canary")]);
    let settings = match Settings::parse(Path::new("fuzz.toml"), text, environment, &[]) {
        Ok(settings) => settings,
        Err(error) => return told(&error),
    };
    let _ = settings.api().map_err(|error| told(&error));
    let _ = settings.database().map_err(|error| told(&error));
    let _ = settings.sync().map_err(|error| told(&error));
    let _ = settings.backfill().map_err(|error| told(&error));
    let _ = settings.store().map_err(|error| told(&error));
    let _ = settings.verify().map_err(|error| told(&error));
    let _ = settings.log().map_err(|error| told(&error));
    let _ = settings.timezone().map_err(|error| told(&error));
    // It would be read, and the machine has files without an end.
    if !text.contains("file") && !text.contains('\\') {
        let _ = settings.accounts().map_err(|error| told(&error));
    }
}

/// A message that an operator can use, and nobody else.
fn told(error: &dyn std::error::Error) {
    let text = error.to_string();
    assert!(text.len() > 10, "{text}");
    assert!(!text.contains("canary"), "a token in a message");
}
