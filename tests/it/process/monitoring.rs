//! The alert rules and the dashboard of `monitoring`, with Prometheus' own programs.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use helena_sync::metrics::METRICS;
use url::form_urlencoded;

use super::http::{address, get, listening};
use super::program::{Place, account, until};
use crate::support::tools;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("monitoring")
}

fn shipped(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).unwrap()
}

/// The queries of the dashboard.
fn queries() -> Vec<String> {
    let dashboard: serde_json::Value =
        serde_json::from_str(&shipped("grafana/operations.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array());
    let queries = targets
        .flatten()
        .map(|target| target["expr"].as_str().unwrap().to_owned());
    queries.collect()
}

/// The names in a text that begin as those of our metrics do, without what histograms add.
fn named(text: &str) -> BTreeSet<&str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !is_part(c));
    let ours =
        words.filter(|word| word.starts_with("helena_sync_") || word.starts_with("process_"));
    ours.map(|word| {
        let short = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| word.strip_suffix(end));
        short.unwrap_or(word)
    })
    .collect()
}

#[test]
fn rules_and_dashboard_name_only_metrics_that_exist() {
    let known: BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
    let rules = shipped("alerts.yml");
    let queries = queries().join("\n");
    for text in [&rules, &queries] {
        let named = named(text);
        assert!(named.len() > 10, "{named:?}");
        assert!(named.is_subset(&known), "{:?}", named.difference(&known));
    }
}

#[test]
fn every_alert_begins_when_it_should_and_not_when_all_is_well() {
    let rules = shipped("alerts.yml");
    let tests = shipped("alerts.test.yml");
    for alert in rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
    {
        let uses = tests.matches(&format!("alertname: {alert}")).count();
        assert!(uses >= 2, "{alert} is not tested");
    }
    tools::promtool(&["check", "rules", "alerts.yml"], &folder(), "");
    tools::promtool(&["test", "rules", "alerts.test.yml"], &folder(), "");
}

/// A Prometheus. Killed when dropped.
struct Prometheus(Child);

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_of_the_dashboard_has_an_answer() {
    let sandbox = account(60).await;
    let place =
        listening(Place::beside(&sandbox)).with("HELENA_SYNC__VERIFY__SCHEDULE", "every 2s");
    let mut program = place.start(&["run"]);
    let daemon = address(&mut program).await;
    place.write(
        "prometheus.yml",
        &format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs:\n  - job_name: helena-sync\n    \
             static_configs: [{{targets: ['{daemon}']}}]\n"
        ),
    );
    let started = Command::new("prometheus")
        .args([
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=data",
            "--log.level=info",
            // Any free port, which it logs.
            "--web.listen-address=127.0.0.1:0",
        ])
        .current_dir(place.path())
        .stdout(Stdio::null())
        .stderr(File::create(place.path().join("log")).unwrap())
        .spawn();
    let Ok(child) = started else {
        tools::missing("prometheus", "prometheus");
        return;
    };
    let _prometheus = Prometheus(child);
    let mut listen: Option<SocketAddr> = None;
    until("Prometheus listens", async || {
        let log = std::fs::read_to_string(place.path().join("log")).unwrap();
        let mut said = log.split("msg=\"Listening on\" address=").skip(1);
        listen = said
            .next()
            .and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        listen.is_some()
    })
    .await;
    let listen = listen.unwrap();
    let queries = queries();
    assert!(queries.len() > 20);
    for query in queries {
        // What Grafana fills in.
        let query = query
            .replace("$account", ".*")
            .replace("$__rate_interval", "20s");
        let encoded: String = form_urlencoded::byte_serialize(query.as_bytes()).collect();
        until(&format!("{query} has an answer"), async || {
            let answer = get(listen, &format!("/api/v1/query?query={encoded}")).await;
            // While it starts, it says so.
            if answer.status == 503 {
                return false;
            }
            assert_eq!(answer.status, 200, "{query}: {answer:?}");
            let result = &answer.json()["data"]["result"];
            result.as_array().is_some_and(|series| !series.is_empty())
        })
        .await;
    }
}
