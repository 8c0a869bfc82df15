//! What stands in the bodies that webhooks are called with.

use serde_json::json;

use super::webhooks::{Called, event};
use super::*;

/// The fields of `content` in real deliveries (API notes, 17).
const SESSION: [&str; 34] = [
    "id",
    "contactId",
    "status",
    "active",
    "expired",
    "number",
    "startAt",
    "createdAt",
    "updatedAt",
    "channelType",
    "channelId",
    "channelDetails",
    "companyId",
    "departmentId",
    "departmentDetails",
    "botId",
    "botVersionId",
    "agentDetails",
    "contactDetails",
    "windowStatus",
    "waitReply",
    "unreadCount",
    "lastMessageIn",
    "lastMessageOut",
    "lastMessageText",
    "firstUserInteractionAt",
    "firstAgentMessageAt",
    "lastInteractionDate",
    "previousSessionId",
    "classification",
    "metadata",
    "previewUrl",
    "utm",
    "endAt",
];
const MESSAGE: [&str; 21] = [
    "id",
    "senderId",
    "createdAt",
    "updatedAt",
    "editedAt",
    "timestamp",
    "type",
    "active",
    "sessionId",
    "templateId",
    "userId",
    "text",
    "direction",
    "status",
    "origin",
    "readContactAt",
    "fileId",
    "refId",
    "waitingOptIn",
    "companyId",
    "details",
];
const CONTACT: [&str; 16] = [
    "id",
    "name",
    "phonenumber",
    "phonenumberFormatted",
    "email",
    "status",
    "origin",
    "active",
    "tags",
    "tagsId",
    "companyId",
    "createdAt",
    "updatedAt",
    "customFieldValues",
    "utm",
    "metadata",
];

#[tokio::test]
async fn bodies_have_the_fields_of_real_deliveries() {
    let called = Called::start().await;
    let calls = called
        .calls(|account| {
            let contact = account.draft_contact("Zuleica");
            let contact = account.insert_contact(contact);
            let mut session = account.draft_session();
            session.contact_id = Some(contact);
            session.user_id = Some(account.agents()[1]);
            session.department_id = Some(account.departments()[1]);
            session.last_message_text = Some("Oi".into());
            let session = account.insert_session(session);
            account.update_session(session, |session| {
                session.last_message_out = Some(session.updated_at);
                session.last_message_text = Some("Olá".into());
            });
            account.update_session(session, |session| {
                session.status = Status::Completed;
                session.end_at = Some(session.updated_at);
            });
            let tags = account.tags();
            account.set_contact_tags(contact, &tags[..1]);
        })
        .await;
    let mut events = Vec::new();
    for call in &calls {
        let mut outer: Vec<&String> = call.as_object().unwrap().keys().collect();
        outer.sort();
        assert_eq!(outer, ["changeMetadata", "content", "date", "eventType"]);
        let (event, content) = (event(call), &call["content"]);
        let mut expected = match event.split_once('_').unwrap().0 {
            "SESSION" => SESSION.to_vec(),
            "MESSAGE" => MESSAGE.to_vec(),
            _ => CONTACT.to_vec(),
        };
        if event != "SESSION_COMPLETE" {
            expected.retain(|field| *field != "endAt");
        }
        expected.sort_unstable();
        let mut fields: Vec<&String> = content.as_object().unwrap().keys().collect();
        fields.sort();
        assert_eq!(fields, expected, "{event}");
        assert_eq!(content["active"], true, "{event}");
        if event.starts_with("SESSION") {
            assert_eq!(content["channelDetails"]["id"], content["channelId"]);
            assert_eq!(content["contactDetails"]["name"], "Zuleica");
            assert!(content["agentDetails"]["userId"].is_string());
        }
        events.push(event);
    }
    assert_eq!(
        events,
        [
            "CONTACT_NEW",
            "SESSION_NEW",
            "MESSAGE_RECEIVED",
            "SESSION_UPDATE",
            "MESSAGE_SENT",
            "SESSION_COMPLETE",
            "CONTACT_UPDATE",
            "CONTACT_TAG_UPDATE"
        ]
    );
    assert!(calls[5]["content"]["endAt"].is_string());
    assert_eq!(calls[6]["content"]["tags"].as_array().unwrap().len(), 1);
    let mut details: Vec<&String> = calls[2]["content"]["details"]
        .as_object()
        .unwrap()
        .keys()
        .collect();
    details.sort();
    let expected = [
        "contact",
        "errors",
        "file",
        "from",
        "location",
        "to",
        "transcription",
    ];
    assert_eq!(details, expected);
}

#[tokio::test]
async fn an_update_says_what_changed_and_what_is_new_says_nothing() {
    let called = Called::start().await;
    let id = called.asked.sandbox.account().session_ids()[3];
    let contact = called.asked.sandbox.account().contact_ids()[1];
    let agent = called.asked.sandbox.account().agents()[2];
    let calls = called
        .calls(|account| {
            account.update_session(id, |session| {
                session.status = Status::InProgress;
                session.user_id = Some(agent);
                session.unread_count = 4;
            });
            account.update_session(id, |session| session.status = Status::Completed);
            account.rename_contact(contact, "Outra");
            let session = account.draft_session();
            account.insert_session(session);
            let contact = account.draft_contact("Nova");
            account.insert_contact(contact);
        })
        .await;
    let changes = |at: usize| {
        let changes = calls[at]["changeMetadata"]["changes"].as_array().unwrap();
        let mut changes: Vec<[&Value; 3]> = changes
            .iter()
            .map(|change| ["property", "previousValue", "currentValue"].map(|field| &change[field]))
            .collect();
        changes.sort_by_key(|change| change[0].to_string());
        changes
    };
    let update = changes(0);
    let of = |property: &str| update.iter().find(|change| change[0] == property);
    assert_eq!(of("status").unwrap()[2], "IN_PROGRESS");
    assert_eq!(of("unreadCount").unwrap()[2], 4);
    assert!(of("channelId").is_none());
    assert_eq!(calls[0]["changeMetadata"]["userId"], agent.to_string());
    assert_eq!(event(&calls[1]), "SESSION_COMPLETE");
    let complete = changes(1);
    assert!(complete.contains(&[&json!("status"), &json!("IN_PROGRESS"), &json!("COMPLETED")]));
    let renamed = changes(2);
    assert_eq!(
        (renamed[0][0], renamed[0][2]),
        (&json!("name"), &json!("Outra"))
    );
    for new in calls.iter().filter(|call| event(call).ends_with("_NEW")) {
        let told = &new["changeMetadata"];
        assert!(told.is_null() || told["changes"] == json!([]), "{told}");
    }
    assert_eq!(event(&calls[3]), "SESSION_NEW");
    assert_eq!(event(calls.last().unwrap()), "CONTACT_NEW");
}
