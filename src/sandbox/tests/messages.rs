//! What is said in sessions, and what sessions say of it.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::*;

async fn messages(asked: &Asked, session: &str) -> Vec<Value> {
    asked
        .all(&format!("/chat/v1/session/{session}/message?x=y"))
        .await
}

/// All sessions by id, each with its messages.
async fn everything(asked: &Asked) -> BTreeMap<String, (Value, Vec<Value>)> {
    let mut found = BTreeMap::new();
    for session in asked.all("/chat/v2/session?x=y").await {
        let id = session["id"].as_str().unwrap().to_owned();
        let said = messages(asked, &id).await;
        found.insert(id, (session, said));
    }
    found
}

/// Whether an entry of the list was said to somebody (API notes, 6).
fn is_talk(message: &Value) -> bool {
    !["TRACK", "TRANSITION", "NOTE"].contains(&message["type"].as_str().unwrap())
}

/// Holds what a session says of its messages against them.
fn assert_agree(session: &Value, messages: &[Value]) {
    let last = |direction: Option<&str>| {
        messages
            .iter()
            .filter(|message| is_talk(message))
            .rfind(|message| direction.is_none_or(|direction| message["direction"] == direction))
            .map_or(Value::Null, Clone::clone)
    };
    // The hub is the channel's gateway: what comes from it was written by the contact.
    let (incoming, outgoing) = (last(Some("FROM_HUB")), last(Some("TO_HUB")));
    assert_eq!(session["lastMessageIn"], incoming["createdAt"]);
    assert_eq!(session["lastMessageOut"], outgoing["createdAt"]);
    assert_eq!(session["lastMessageText"], last(None)["text"], "{session}");
    assert_eq!(session["lastInteractionDate"], last(None)["createdAt"]);
    assert!(messages.is_sorted_by_key(|message| ticks(&message["createdAt"])));
    assert!(ticks(&messages[0]["createdAt"]) >= ticks(&session["createdAt"]));
}

#[tokio::test]
async fn a_session_says_of_its_last_messages_what_they_say() {
    let asked = Asked::of_size(150).await;
    let found = everything(&asked).await;
    for (session, messages) in found.values() {
        assert_agree(session, messages);
        if session["firstResponseAt"].is_string() {
            let first = messages.iter().find(|message| {
                is_talk(message) && message["direction"] == "TO_HUB" && message["origin"] != "BOT"
            });
            assert_eq!(first.unwrap()["createdAt"], session["firstResponseAt"]);
            assert_eq!(first.unwrap()["userId"], session["userId"]);
        } else if session["unreadCount"] != 0 {
            assert_eq!(session["unreadCount"], messages.len());
        }
    }
    let mut ids: Vec<&str> = found
        .values()
        .flat_map(|(_, messages)| messages)
        .map(|message| message["id"].as_str().unwrap())
        .collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count);
    assert!(count > 600, "{count}");
}

#[tokio::test]
async fn direction_origin_and_user_tell_who_wrote() {
    let asked = Asked::of_size(150).await;
    for _ in 0..20 {
        asked.clock.advance(seconds(30));
        asked.sandbox.account().live_step(10);
    }
    let mut seen = BTreeMap::new();
    for (session, messages) in everything(&asked).await.into_values() {
        for message in messages {
            let who = match (
                message["direction"].as_str().unwrap(),
                message["origin"].as_str().unwrap(),
                message["userId"].is_string(),
            ) {
                ("FROM_HUB", "GATEWAY", false) => {
                    assert_eq!(message["status"], "DELIVERED");
                    assert_eq!(message["senderId"], session["contactId"]);
                    assert!(is_talk(&message), "{message}");
                    "contact"
                }
                ("TO_HUB", "BOT", false) => "bot",
                ("TO_HUB", "API", false) => "program",
                ("TO_HUB", "GATEWAY", true) => "agent's phone",
                ("TO_HUB", "DEFAULT", true) if is_talk(&message) => "agent",
                ("TO_HUB", "DEFAULT", true) => "agent's act",
                other => panic!("{other:?}: {message}"),
            };
            assert_eq!(
                message["text"].is_null(),
                matches!(message["type"].as_str().unwrap(), "TRACK" | "TRANSITION")
            );
            *seen.entry(who).or_insert(0) += 1;
        }
    }
    for who in ["contact", "bot", "agent's phone", "agent", "agent's act"] {
        assert!(seen.contains_key(who), "{who}: {seen:?}");
    }
}

#[tokio::test]
async fn messages_stay_as_they_are_and_an_answer_adds_one() {
    let asked = Asked::of_size(60).await;
    let before = everything(&asked).await;
    for _ in 0..40 {
        asked.clock.advance(seconds(30));
        asked.sandbox.account().live_step(10);
    }
    let after = everything(&asked).await;
    assert!(after.len() > before.len());
    for (id, (session, messages)) in &after {
        assert_agree(session, messages);
        if let Some((_, old)) = before.get(id) {
            assert_eq!(&messages[..old.len()], &old[..], "{id}");
        }
    }
    let grown = |id: &str| {
        let old = before.get(id).map_or(0, |(_, messages)| messages.len());
        after[id].1.len() - old
    };
    let added: usize = after.keys().map(|id| grown(id)).sum();
    assert!(added > 100, "{added}");
    for (_, messages) in after.values() {
        for message in messages {
            let path = format!("/chat/v1/message/{}", message["id"].as_str().unwrap());
            assert_eq!(asked.get(&path).await.body, *message);
        }
    }
}

#[tokio::test]
async fn what_else_happens_in_a_session_adds_no_message() {
    let asked = Asked::of_size(10).await;
    let id = asked.sandbox.account().session_ids()[3];
    let before = messages(&asked, &id.to_string()).await;
    asked.clock.advance(seconds(60));
    asked.sandbox.account().update_session(id, |session| {
        session.status = Status::InProgress;
        session.user_id = None;
        session.end_at = None;
    });
    asked.sandbox.account().bulk_touch(&[id]);
    assert_eq!(messages(&asked, &id.to_string()).await, before);
}

#[tokio::test]
async fn another_last_text_is_an_edit_of_the_last_message() {
    let asked = Asked::of_size(10).await;
    let id = asked.sandbox.account().session_ids()[3];
    let mut expected = messages(&asked, &id.to_string()).await;
    asked.clock.advance(seconds(60));
    asked
        .sandbox
        .account()
        .update_session(id, |session| session.last_message_text = Some("Ops".into()));
    let session = asked.get(&format!("/chat/v2/session/{id}")).await.body;
    let last = expected.last_mut().unwrap();
    (last["text"], last["type"]) = ("Ops".into(), "TEXT".into());
    last["updatedAt"] = session["updatedAt"].clone();
    assert_eq!(messages(&asked, &id.to_string()).await, expected);
    assert_agree(&session, &expected);
}

#[tokio::test]
async fn a_late_change_brings_its_message_with_it() {
    let asked = Asked::of_size(10).await;
    let id = asked.sandbox.account().session_ids()[3];
    let before = messages(&asked, &id.to_string()).await;
    {
        let mut account = asked.sandbox.account();
        let due = account.now() + seconds(30);
        account.update_session_late(id, due, |session| {
            session.last_message_in = Some(session.updated_at);
            session.last_interaction = Some(session.updated_at);
            session.last_message_text = Some("Alô?".into());
        });
    }
    assert_eq!(messages(&asked, &id.to_string()).await, before);
    asked.clock.advance(seconds(30));
    let after = messages(&asked, &id.to_string()).await;
    assert_eq!(after[..before.len()], before[..]);
    assert_eq!(after[before.len()]["text"], "Alô?");
    let session = asked.get(&format!("/chat/v2/session/{id}")).await.body;
    assert_agree(&session, &after);
}

#[tokio::test]
async fn an_inserted_session_has_the_messages_that_it_speaks_of() {
    let asked = Asked::of_size(0).await;
    let id: Uuid = {
        let mut account = asked.sandbox.account();
        let mut session = account.draft_session();
        session.last_message_out = Some(session.created_at + seconds(5));
        session.last_interaction = session.last_message_out;
        session.last_message_text = Some("Olá!".into());
        account.insert_session(session)
    };
    let session = asked.get(&format!("/chat/v2/session/{id}")).await.body;
    let said = messages(&asked, &id.to_string()).await;
    assert_eq!(said.len(), 2);
    assert_agree(&session, &said);
    asked.sandbox.account().delete_session(id);
    let path = format!("/chat/v1/message/{}", said[0]["id"].as_str().unwrap());
    assert_eq!(asked.get(&path).await.status, 404);
}
