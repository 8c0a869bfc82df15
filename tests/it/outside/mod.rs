//! What comes from outside, and what must hold of it whatever it is: answers, dates, spans,
//! configuration.
//!
//! `tests/corpus/` holds an input a file, real-looking and nasty ones; each is replayed here. What
//! a fuzzer finds (`fuzz/README.md`) belongs there too.

#[expect(
    unreachable_pub,
    reason = "the fuzzer's targets use it as a crate's part"
)]
mod checks;

use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;

/// Every file of a folder of the corpus.
fn corpus(folder: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/corpus")
        .join(folder);
    let files: Vec<(String, Vec<u8>)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.display().to_string(), std::fs::read(path).unwrap())
        })
        .collect();
    assert!(files.len() >= 5, "the corpus is gone");
    files
}

fn replay(folder: &str, check: impl Fn(&str)) {
    for (name, bytes) in corpus(folder) {
        println!("{name}");
        check(&String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn every_page_of_the_corpus_is_read_or_refused() {
    for (name, bytes) in corpus("pages") {
        println!("{name}");
        checks::page(&bytes);
        // Wherever the connection breaks.
        for end in (0..bytes.len()).step_by(bytes.len() / 40 + 1) {
            checks::page(&bytes[..end]);
        }
    }
}

#[test]
fn every_date_of_the_corpus_is_read_or_refused() {
    replay("dates", |text| text.lines().for_each(checks::date));
}

#[test]
fn every_span_of_the_corpus_is_read_or_refused() {
    replay("spans", |text| text.lines().for_each(checks::span));
}

#[test]
fn every_configuration_of_the_corpus_is_read_or_refused() {
    replay("configurations", checks::configuration);
}

/// JSON that looks like an answer, with anything in the place of anything.
fn any_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>()
            .prop_filter("JSON has no others", |number| number.is_finite())
            .prop_map(|number| number.to_string()),
        "\\PC{0,12}".prop_map(|text| serde_json::to_string(&text).unwrap()),
        Just("\"antes\\u0000depois\"".to_owned()),
        Just("\"2026-05-04T12:44:52.1182041Z\"".to_owned()),
        Just("\"1.02:03:04\"".to_owned()),
        (0_u128..4).prop_map(|id| format!("\"{}\"", uuid::Uuid::from_u128(id))),
    ];
    let names = prop::sample::select(vec![
        "id",
        "userId",
        "createdAt",
        "updatedAt",
        "items",
        "totalItems",
        "hasMorePages",
        "error",
        "status",
        "contactId",
        "contactDetails",
        "departmentDetails",
        "agentDetails",
        "classification",
        "utm",
        "tagsId",
        "tagsName",
        "tagIds",
        "tagNames",
        "timeService",
        "unreadCount",
        "customFields",
        "identity",
        "name",
        "phoneNumber",
        "campoNovo",
    ]);
    leaf.prop_recursive(5, 60, 8, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(|all| format!("[{}]", all.join(","))),
            vec((names.clone(), inner), 0..8).prop_map(|fields| {
                let fields: Vec<String> = fields
                    .into_iter()
                    .map(|(name, value)| format!("\"{name}\":{value}"))
                    .collect();
                format!("{{{}}}", fields.join(","))
            }),
        ]
    })
}

/// A configuration with values of any kind in the place of any.
fn any_configuration() -> impl Strategy<Value = String> {
    let keys = helena_sync::config::KEYS.iter().map(|key| key.name);
    let keys: Vec<&'static str> = keys.filter(|name| !name.contains("file")).collect();
    let value = prop_oneof![
        "[a-z0-9:/.* ,-]{0,20}".prop_map(|text| format!("\"{text}\"")),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<bool>().prop_map(|flag| flag.to_string()),
        Just("[]".to_owned()),
        Just("{ x = 1 }".to_owned()),
        Just("[\"sessions\", 7]".to_owned()),
        Just("1e400".to_owned()),
        Just("2026-05-04".to_owned()),
    ];
    vec((prop::sample::select(keys), value), 0..6).prop_map(|lines| {
        let lines: Vec<String> = lines
            .into_iter()
            .map(|(key, value)| format!("{key} = {value}\n"))
            .collect();
        lines.concat()
    })
}

proptest! {
    #[test]
    fn any_bytes_as_an_answer_are_read_or_refused(body in vec(any::<u8>(), 0..200)) {
        checks::page(&body);
    }

    #[test]
    fn any_json_as_an_answer_is_read_or_refused(body in any_json()) {
        checks::page(body.as_bytes());
        checks::page(format!(r#"{{"items":[{body}],"totalItems":1}}"#).as_bytes());
    }

    #[test]
    fn any_text_as_a_date_is_read_or_refused(
        text in r"\PC{0,30}|[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{0,9})?)?(Z|[+-][0-9]{2}:?[0-9]{2})?"
    ) {
        checks::date(&text);
    }

    #[test]
    fn any_text_as_a_span_is_read_or_refused(
        text in r"\PC{0,20}|-?([0-9]{1,10}[.])?[0-9]{1,10}:[0-9]{1,2}:[0-9]{1,2}([.,][0-9]{0,8})?"
    ) {
        checks::span(&text);
    }

    #[test]
    fn any_configuration_is_read_or_refused(text in any_configuration(), other in r"[\PC\n]{0,60}") {
        checks::configuration(&text);
        checks::configuration(&other);
    }
}
