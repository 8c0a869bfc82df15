//! The log as programs read it: one JSON object a line, with fields whose names are documented.

use std::collections::BTreeSet;

use helena_sync::sandbox::Fault;
use rustix::process::Signal;
use serde_json::Value;

use super::program::{Done, Place, account, on_both};

/// The names of fields in the table of the document.
fn documented() -> BTreeSet<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/monitoring.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, text) = text.split_once("## Log lines").unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| row.split_once("` | "))
        .flat_map(|(names, _)| names.split("`, `").map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

fn lines(done: &Done) -> Vec<Value> {
    let line = |line: &str| {
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?} in {done:?}"))
    };
    done.err.lines().map(line).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_of_a_run_names_its_account_its_stream_and_the_run() {
    on_both(|place| async move {
        let sandbox = account(60).await;
        let place = place
            .with("HELENA_BASE_URL", &sandbox.base_url())
            .with("HELENA_SYNC__LOG__FORMAT", "json")
            .with(
                "RUST_LOG",
                "warn,helena_sync=debug,tokio_cron_scheduler=off",
            )
            .with("HELENA_SYNC__SYNC__SCHEDULE", "every 1s");
        // A request of a list fails and is retried.
        let well = std::iter::repeat_n(Fault::None, 5);
        sandbox.script(well.chain([Fault::Unavailable]));
        let mut program = place.start(&["run"]);
        program.says("sessions: first load: ").await;
        program.says("contacts (BLOCKED): nothing new").await;
        program.signal(Signal::TERM);
        let done = program.end().await;
        assert_eq!(done.code, Some(0), "{done:?}");
        let database = place.database().await;
        let documented = documented();
        let mut runs = 0;
        let lines = lines(&done);
        for line in &lines {
            let fields = line.as_object().unwrap();
            for name in fields.keys() {
                assert!(
                    documented.contains(name),
                    "{name} is not documented: {line}"
                );
            }
            for name in ["timestamp", "level", "message", "target"] {
                assert!(fields[name].is_string(), "{line}");
            }
            let Some(run) = fields.get("run") else {
                assert!(
                    !fields.contains_key("requests") || fields.contains_key("duration_ms"),
                    "{line}"
                );
                continue;
            };
            runs += 1;
            assert_eq!(fields["account"], "default", "{line}");
            let stream = fields["stream"].as_str().unwrap();
            let resource = stream.split(' ').next().unwrap();
            let kind = fields["kind"].as_str().unwrap();
            let its = format!("id = {run} and kind = '{kind}' and resource = '{resource}'");
            assert_eq!(database.count("sync_runs", &its).await, 1, "{line}");
        }
        assert!(runs > 10, "{lines:#?}");
        let of_client = |line: &&Value| line["target"] == "helena_sync::api::exchange";
        let retried = lines.iter().find(of_client).unwrap();
        assert!(retried["run"].is_number(), "{retried}");
        database.store.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_of_text_has_the_time_the_level_and_the_message_alone() {
    let sandbox = account(20).await;
    let done = Place::beside(&sandbox).succeeds(&["sync"]).await;
    let line = done
        .err
        .lines()
        .find(|line| line.contains("tags: "))
        .unwrap();
    let (head, message) = line.split_once(" INFO ").unwrap();
    assert_eq!(head.len(), "2026-05-04 14:00:00+00:00 ".len(), "{line}");
    assert!(message.starts_with("tags: 20 new"), "{line}");
}
