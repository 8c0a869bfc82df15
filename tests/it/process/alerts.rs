//! Alerts as operators set them up: `run`, `alerts`, `check`, with a real webhook and a real command.

use rustix::process::Signal;

use super::http::{address, get, listening};
use super::program::{Place, account, on_both, until};
use crate::support::receiver::{Receiver, SECRET_PATH};

#[tokio::test(flavor = "multi_thread")]
async fn run_tells_a_webhook_what_fails_and_when_it_is_over() {
    on_both(|place| async move {
        let sandbox = account(20).await;
        let receiver = Receiver::begin().await;
        let place = listening(place)
            .with("HELENA_BASE_URL", &sandbox.base_url())
            .with("HELENA_SYNC__SYNC__CATALOG_INTERVAL", "1s")
            .with("HELENA_SYNC__ALERTS__FAILING_AFTER", "1s")
            .with("HELENA_SYNC__ALERTS__DISK_PERCENT", "1")
            .with("HELENA_SYNC__ALERTS__WEBHOOK", &receiver.url());
        place.succeeds(&["sync"]).await;
        sandbox.account().moods.refused = vec!["/core/v1/tag".to_owned()];
        let mut program = place.start(&["run"]);
        let mut events = Vec::new();
        until("the webhook is told", async || {
            assert!(!program.has_ended(), "{}", program.err());
            events.extend(receiver.take_events());
            !events.is_empty()
        })
        .await;
        assert_eq!(events, ["default failing begin"]);
        let listed = place.succeeds(&["alerts", "--json"]).await.json();
        assert_eq!(listed[0]["alert"], "failing");
        assert_eq!(listed[0]["account"], "default");
        assert_eq!(listed[0]["waiting"], serde_json::json!([]));
        let shown = place.succeeds(&["alerts"]).await;
        assert!(shown.out.contains("tags: "), "{shown:?}");
        let status = place.succeeds(&["status"]).await;
        assert!(status.out.contains("alert: failing since "), "{status:?}");
        let status = place.succeeds(&["status", "--json"]).await.json();
        assert_eq!(status[0]["alerts"][0]["alert"], "failing");
        let at = address(&mut program).await;
        let open = "helena_sync_alerts_open{account=\"default\",kind=\"failing\"} 1";
        let sent = "helena_sync_alert_messages_total{channel=\"webhook\",outcome=\"sent\"} 1";
        until("the metrics show it", async || {
            let text = get(at, "/metrics").await.body;
            let has = |line: &str| text.lines().any(|it| it == line);
            has(open)
                && has(sent)
                && has("helena_sync_alert_messages_unsent{channel=\"webhook\"} 0")
        })
        .await;
        let status = get(at, "/api/status").await.json();
        let told = &status["accounts"][0]["alerts"][0];
        assert_eq!(told["alert"], "failing", "{status}");
        assert!(told["told_at"].is_string(), "{status}");
        assert_eq!(status["alerts"], serde_json::json!([]));
        program.signal(Signal::TERM);
        let done = program.end().await;
        assert_eq!(done.code, Some(0), "{done:?}");
        done.says(&["sent by alerts.webhook: helena-sync: failing, account default"]);
        assert!(!done.err.contains(SECRET_PATH), "{done:?}");

        // The next process ends what this one began.
        sandbox.account().moods.refused.clear();
        let mut program = place.start(&["run"]);
        until("the webhook is told of the end", async || {
            events.extend(receiver.take_events());
            events.len() > 1
        })
        .await;
        assert_eq!(events[1], "default failing end");
        let at = address(&mut program).await;
        let over = "helena_sync_alerts_open{account=\"default\",kind=\"failing\"} 0";
        until("the metrics show the end", async || {
            let text = get(at, "/metrics").await.body;
            text.lines().any(|line| line == over)
        })
        .await;
        program.signal(Signal::TERM);
        assert_eq!(program.end().await.code, Some(0));
        let listed = place.succeeds(&["alerts"]).await;
        listed.says(&["no alerts"]);

        // It begins again, and the webhook breaks.
        sandbox.account().moods.refused = vec!["/core/v1/tag".to_owned()];
        receiver.answer(Some(503));
        let mut program = place.start(&["run"]);
        let at = address(&mut program).await;
        until("the metrics show that it cannot be sent", async || {
            let unsent = "helena_sync_alert_messages_unsent{channel=\"webhook\"} 1";
            let text = get(at, "/metrics").await.body;
            text.lines().any(|line| line == unsent)
        })
        .await;
        program.signal(Signal::TERM);
        assert_eq!(program.end().await.code, Some(0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_says_of_each_way_whether_it_works() {
    let receiver = Receiver::begin().await;
    let place = Place::new();
    let told = ["set alerts.webhook or alerts.command"];
    place.refuses(&["alerts", "test"], 2, &told).await;

    let place = place
        .with("HELENA_SYNC__ALERTS__WEBHOOK", &receiver.url())
        .with(
            "HELENA_SYNC__ALERTS__COMMAND",
            "cat > told.json; env > environment",
        )
        // As from the .env file of docker-compose.yml.
        .with("REPORTS_PASSWORD", "anotherSecretNeverShown");
    let done = place.succeeds(&["alerts", "test"]).await;
    done.says(&[
        "alerts.webhook (http://127.0.0.1:",
        "alerts.command accepted",
    ]);
    assert!(!done.err.contains(SECRET_PATH), "{done:?}");
    let [message] = receiver.take().try_into().unwrap();
    assert_eq!(message["alerts"][0]["event"], "test");
    let told = std::fs::read_to_string(place.path().join("told.json")).unwrap();
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["alerts"][0]["event"], "test");
    let environment = std::fs::read_to_string(place.path().join("environment")).unwrap();
    assert!(environment.contains("ALERT_SUBJECT=helena-sync: test"));
    for secret in ["HELENA_API_TOKEN", SECRET_PATH, "NeverShown"] {
        assert!(!environment.contains(secret), "{environment}");
    }

    receiver.answer(Some(403));
    let place = place.with("HELENA_SYNC__ALERTS__COMMAND", "echo no mail >&2; exit 7");
    let told = ["answered 403 Forbidden", "exit status 7: no mail"];
    let done = place.refuses(&["alerts", "test"], 1, &told).await;
    assert!(!done.err.contains(SECRET_PATH), "{done:?}");

    let text = place.with("HELENA_SYNC__ALERTS__FORMAT", "text");
    receiver.answer(None);
    text.run(&["alerts", "test"]).await;
    let [message] = receiver.take().try_into().unwrap();
    let keys: Vec<&String> = message.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["text"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn check_and_config_show_never_show_the_address_of_the_webhook() {
    let sandbox = account(5).await;
    let place = Place::beside(&sandbox);
    place.write(
        "hook",
        "https://hooks.example.com/services/whSecretNeverShown\n",
    );
    let mut place = place.with("HELENA_SYNC__ALERTS__WEBHOOK_FILE", "hook");
    let checked = place.succeeds(&["check"]).await;
    let shown = "alerts.webhook (https://hooks.example.com/***)";
    assert!(checked.out.contains(shown), "{checked:?}");
    assert!(checked.out.contains("chmod 600 hook"), "{checked:?}");
    assert!(!checked.out.contains("whSecret"), "{checked:?}");

    place.unset("HELENA_SYNC__ALERTS__WEBHOOK_FILE");
    let url = "http://alerts.example.com/whSecretNeverShown";
    let place = place.with("HELENA_SYNC__ALERTS__WEBHOOK", url);
    let checked = place.succeeds(&["check"]).await;
    assert!(checked.out.contains("without encryption"), "{checked:?}");
    let shown = place.succeeds(&["config", "show"]).await;
    assert!(
        shown.out.contains("http://alerts.example.com/***"),
        "{shown:?}"
    );
    for done in [checked, shown] {
        assert!(!done.out.contains("whSecret"), "{done:?}");
    }
    let wrong = place.with("HELENA_SYNC__ALERTS__WEBHOOK", "whSecretNeverShown");
    let told = [
        "HELENA_SYNC__ALERTS__WEBHOOK",
        "is not a web address",
        "accepted",
    ];
    for command in ["check", "run"] {
        let done = wrong.refuses(&[command], 2, &told).await;
        assert!(!done.err.contains("whSecret"), "{done:?}");
    }
}
