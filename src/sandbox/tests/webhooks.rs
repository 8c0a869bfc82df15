//! Which events are called when, and which subscriptions are taken.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use uuid::Uuid;

use super::*;

/// A sandbox, and what it calls for all events.
pub(super) struct Called {
    pub(super) asked: Asked,
    receiver: tokio::net::TcpListener,
    /// Whose renaming marks the end of what is waited for.
    last: Uuid,
}

impl Asked {
    async fn subscribe(&self, body: &Value) -> (u16, Value) {
        let path = "/core/v1/webhook/subscription";
        self.post(path, &body.to_string()).await
    }
}

impl Called {
    pub(super) async fn start() -> Self {
        let asked = Asked::of_size(30).await;
        let receiver = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let events = asked.get("/core/v1/webhook/event").await.body;
        let body = json!({
            "name": "all",
            "url": format!("http://{}/hook", receiver.local_addr().unwrap()),
            "events": events,
        });
        assert_eq!(asked.subscribe(&body).await.0, 200);
        let last = asked.sandbox.account().contact_ids()[0];
        Self {
            asked,
            receiver,
            last,
        }
    }

    async fn one(&self) -> Value {
        self.answer("204 No Content").await
    }

    /// The next delivery, which is answered so.
    async fn answer(&self, status: &str) -> Value {
        let (mut stream, _) = self.receiver.accept().await.unwrap();
        let mut text = Vec::new();
        loop {
            let read = stream.read_buf(&mut text).await.unwrap();
            assert!(read > 0);
            let text = String::from_utf8_lossy(&text);
            let body = text.split_once("\r\n\r\n").map_or("", |parts| parts.1);
            if let Ok(call) = serde_json::from_str::<Value>(body) {
                let answer = format!("HTTP/1.1 {status}\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
                return call;
            }
        }
    }

    /// What a change calls.
    pub(super) async fn calls(&self, change: impl FnOnce(&mut SandboxAccount)) -> Vec<Value> {
        {
            let mut account = self.asked.sandbox.account();
            change(&mut account);
            account.rename_contact(self.last, "Fim");
        }
        let mut calls = Vec::new();
        loop {
            let call = self.one().await;
            if call["content"]["id"] == self.last.to_string() {
                return calls;
            }
            calls.push(call);
        }
    }

    async fn events(&self, change: impl FnOnce(&mut SandboxAccount)) -> Vec<String> {
        let calls = self.calls(change).await;
        calls.iter().map(event).collect()
    }
}

pub(super) fn event(call: &Value) -> String {
    call["eventType"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn messages_are_called() {
    let called = Called::start().await;
    let id = called.asked.sandbox.account().session_ids()[3];
    let calls = called
        .calls(|account| {
            account.update_session(id, |session| {
                session.last_message_in = Some(session.updated_at);
                session.last_message_text = Some("Alô?".into());
                session.status = Status::Pending;
            });
            account.update_session(id, |session| {
                session.last_message_out = Some(session.updated_at);
                session.last_message_text = Some("Oi!".into());
            });
            account.update_session(id, |session| {
                session.last_message_text = Some("Olá!".into());
            });
        })
        .await;
    let events: Vec<String> = calls.iter().map(event).collect();
    assert_eq!(
        events,
        [
            "SESSION_UPDATE",
            "MESSAGE_RECEIVED",
            "SESSION_UPDATE",
            "MESSAGE_SENT",
            "SESSION_UPDATE",
            "MESSAGE_UPDATED"
        ]
    );
    let [received, sent, updated] = [1, 3, 5].map(|at: usize| &calls[at]["content"]);
    assert_eq!(
        (&received["direction"], &sent["direction"]),
        (&json!("FROM_HUB"), &json!("TO_HUB"))
    );
    assert_eq!(
        (&received["text"], &sent["text"]),
        (&json!("Alô?"), &json!("Oi!"))
    );
    assert_eq!(
        (&updated["text"], &updated["id"]),
        (&json!("Olá!"), &sent["id"])
    );
    assert_eq!(sent["sessionId"], id.to_string());
    let path = format!("/chat/v1/message/{}", sent["id"].as_str().unwrap());
    assert_eq!(called.asked.get(&path).await.body["text"], "Olá!");
}

#[tokio::test]
async fn a_completion_is_called_once() {
    let called = Called::start().await;
    let id = called.asked.sandbox.account().session_ids()[3];
    let to = |status| {
        move |account: &mut SandboxAccount| {
            account.update_session(id, |session| session.status = status);
        }
    };
    assert_eq!(called.events(to(Status::Pending)).await, ["SESSION_UPDATE"]);
    assert_eq!(
        called.events(to(Status::Completed)).await,
        ["SESSION_COMPLETE"]
    );
    assert_eq!(
        called.events(to(Status::Completed)).await,
        ["SESSION_UPDATE"]
    );
    let new = |account: &mut SandboxAccount| {
        let mut session = account.draft_session();
        session.last_message_text = Some("Oi".into());
        session.status = Status::Completed;
        account.insert_session(session);
    };
    assert_eq!(
        called.events(new).await,
        ["SESSION_NEW", "MESSAGE_RECEIVED"]
    );
}

#[tokio::test]
async fn tags_are_called_where_they_changed() {
    let called = Called::start().await;
    let id = called.asked.sandbox.account().contact_ids()[1];
    let tags = called.asked.sandbox.account().tags();
    called
        .events(|account| {
            account.set_contact_tags(id, &tags[..2]);
        })
        .await;
    let turned = [tags[1], tags[0]];
    for (worn, expected) in [
        (&turned[..], &["CONTACT_UPDATE"][..]),
        (&tags[..1], &["CONTACT_UPDATE", "CONTACT_TAG_UPDATE"]),
        (&[], &["CONTACT_UPDATE", "CONTACT_TAG_UPDATE"]),
    ] {
        let events = called
            .events(|account| {
                account.set_contact_tags(id, worn);
            })
            .await;
        assert_eq!(events, expected, "{worn:?}");
    }
    let renamed = called
        .events(|account| {
            account.rename_contact(id, "Outra");
        })
        .await;
    assert_eq!(renamed, ["CONTACT_UPDATE"]);
    let new = called
        .events(|account| {
            let contact = account.draft_contact("Nova");
            account.insert_contact(contact);
        })
        .await;
    assert_eq!(new, ["CONTACT_NEW"]);
}

#[tokio::test]
async fn a_subscription_that_cannot_be_is_refused() {
    let asked = Asked::of_size(0).await;
    let good = json!({"name": "n", "url": "https://example.com/h", "events": ["SESSION_NEW"]});
    assert_eq!(asked.subscribe(&good).await.0, 200);
    for (field, value) in [
        ("url", json!("not a url")),
        ("url", json!("ftp://example.com/")),
        ("url", json!("/hook")),
        ("url", json!(null)),
        ("name", json!("n".repeat(101))),
        ("events", json!([])),
        ("events", json!("SESSION_NEW")),
        ("events", json!(["SESSION_NEW", "SESSION_DELETED"])),
        ("events", json!(["SESSION_NEW", 7])),
        ("enabled", json!("yes")),
    ] {
        let mut body = good.clone();
        body[field] = value;
        let refused = asked.subscribe(&body).await;
        assert_eq!(refused.0, 400, "{body}");
        assert_eq!(refused.1["status"], 400);
    }
    let kept = asked.get("/core/v1/webhook/subscription").await.body;
    assert_eq!(kept.as_array().unwrap().len(), 1);
    // Hundred characters are more bytes.
    let mut body = good.clone();
    body["name"] = json!("ã".repeat(100));
    assert_eq!(asked.subscribe(&body).await.0, 200);
}

/// How often each of forty changes is told, in the order in which they are.
async fn told(moods: Moods) -> Vec<i64> {
    let called = Called::start().await;
    let id = called.asked.sandbox.account().session_ids()[3];
    called.asked.sandbox.account().moods = moods;
    let calls = called
        .calls(|account| {
            for number in 0..40 {
                account.update_session(id, |session| session.unread_count = 100 + number);
            }
            account.moods = Moods::default();
            account.tend_webhooks();
        })
        .await;
    calls
        .iter()
        .map(|call| call["content"]["unreadCount"].as_i64().unwrap() - 100)
        .collect()
}

#[tokio::test]
async fn deliveries_are_lost_doubled_and_out_of_order() {
    let all: Vec<i64> = (0..40).collect();
    assert_eq!(told(Moods::default()).await, all);
    let lost = told(Moods {
        webhook_loss: 0.3,
        ..Moods::default()
    })
    .await;
    assert!(
        (15..38).contains(&lost.len()) && lost.is_sorted(),
        "{lost:?}"
    );
    let mut doubled = told(Moods {
        webhook_duplicates: 0.3,
        ..Moods::default()
    })
    .await;
    assert!((44..65).contains(&doubled.len()), "{doubled:?}");
    doubled.dedup();
    assert_eq!(doubled, all);
    let mut turned = told(Moods {
        webhook_disorder: 0.3,
        ..Moods::default()
    })
    .await;
    assert!(!turned.is_sorted(), "{turned:?}");
    turned.sort_unstable();
    assert_eq!(turned, all);
}

#[tokio::test]
async fn a_delivery_that_failed_comes_again_after_nine_minutes_where_it_is_asked_to() {
    let called = Called::start().await;
    let asked = &called.asked;
    let id = asked.sandbox.account().session_ids()[3];
    let waiting = || asked.sandbox.account().webhooks.again.len();
    for retries in [false, true] {
        asked.sandbox.account().moods.webhook_retries = retries;
        asked
            .sandbox
            .account()
            .update_session(id, |session| session.unread_count += 1);
        let failed = called.answer("500 Internal Server Error").await;
        if !retries {
            // What is sent after it has been noticed to have failed.
            called.calls(|_| ()).await;
            asked.get("/core/v1/tag").await;
            assert_eq!(waiting(), 0);
            continue;
        }
        while waiting() == 0 {
            asked.get("/core/v1/tag").await;
        }
        asked.clock.advance(seconds(9 * 60 - 1));
        asked.get("/core/v1/tag").await;
        assert_eq!(waiting(), 1);
        asked.clock.advance(seconds(1));
        asked.get("/core/v1/tag").await;
        assert_eq!(waiting(), 0);
        assert_eq!(called.answer("500 Internal Server Error").await, failed);
        // Once, and no more.
        called.calls(|_| ()).await;
        asked.get("/core/v1/tag").await;
        assert_eq!(waiting(), 0);
    }
}
