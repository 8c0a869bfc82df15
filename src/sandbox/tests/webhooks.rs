//! Which events are called when, and which subscriptions are taken.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use uuid::Uuid;

use super::*;

/// A sandbox, and what it calls for all events.
struct Called {
    asked: Asked,
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
    async fn start() -> Self {
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
        let (mut stream, _) = self.receiver.accept().await.unwrap();
        let mut text = Vec::new();
        loop {
            let read = stream.read_buf(&mut text).await.unwrap();
            assert!(read > 0);
            let text = String::from_utf8_lossy(&text);
            let body = text.split_once("\r\n\r\n").map_or("", |parts| parts.1);
            if let Ok(call) = serde_json::from_str::<Value>(body) {
                stream
                    .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
                    .await
                    .unwrap();
                return call;
            }
        }
    }

    /// The events that a change calls.
    async fn calls(&self, change: impl FnOnce(&mut Account)) -> Vec<(String, Value)> {
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
            let event = call["eventType"].as_str().unwrap().to_owned();
            calls.push((event, call["content"].clone()));
        }
    }

    async fn events(&self, change: impl FnOnce(&mut Account)) -> Vec<String> {
        let calls = self.calls(change).await;
        calls.into_iter().map(|(event, _)| event).collect()
    }
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
    let events: Vec<&str> = calls.iter().map(|(event, _)| event.as_str()).collect();
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
    let (received, sent, updated) = (&calls[1].1, &calls[3].1, &calls[5].1);
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
        move |account: &mut Account| {
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
    let new = |account: &mut Account| {
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
