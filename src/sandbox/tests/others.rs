//! The smaller resources: lists, messages, bots, webhooks, the contact filter.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

#[tokio::test]
async fn the_lists_are_plain_arrays_and_the_truth() {
    let asked = Asked::of_size(1).await;
    let array = async |path: &str| asked.get(path).await.body.as_array().unwrap().clone();
    assert_eq!(
        array("/core/v1/tag").await,
        asked.sandbox.account().truth_tags()
    );
    assert_eq!(
        array("/chat/v1/channel").await,
        asked.sandbox.account().truth_channels()
    );
    assert_eq!(
        array("/core/v2/department").await,
        asked.sandbox.account().truth_departments()
    );
    assert_eq!(
        array("/core/v1/agent").await,
        asked.sandbox.account().truth_agents()
    );
    assert_eq!(array("/core/v1/tag/color").await.len(), 54);
    assert_eq!(
        array("/chat/v1/channel?ChannelType=Instagram").await.len(),
        1
    );
    assert_eq!(
        array("/chat/v1/channel?ChannelType=Whatsapp").await.len(),
        4
    );
    assert_eq!(array("/core/v1/webhook/event").await.len(), 18);
    let agent = &array("/core/v1/agent").await[2];
    assert_eq!(
        &asked
            .get(&format!("/core/v1/agent/{}", agent["id"].as_str().unwrap()))
            .await
            .body,
        agent
    );
    let department = &array("/core/v2/department").await[0];
    let path = format!("/core/v1/department/{}", department["id"].as_str().unwrap());
    let one = asked.get(&path).await.body;
    assert!(one["agents"].is_null() && one["description"].is_string());
    assert_eq!(
        asked.get(&format!("{path}?includeDetails=All")).await.body["agents"],
        department["agents"]
    );
    assert_eq!(
        asked.get(&format!("{path}/channel")).await.body["scope"],
        "ALL"
    );
}

#[tokio::test]
async fn what_leaves_a_list_can_come_back() {
    let asked = Asked::of_size(1).await;
    {
        let mut account = asked.sandbox.account();
        let (channel, department, agent) = (
            account.channels()[0],
            account.departments()[0],
            account.agents()[0],
        );
        assert!(
            account.remove_channel(channel)
                && account.remove_department(department)
                && account.remove_agent(agent)
        );
        assert!(!account.remove_agent(uuid::Uuid::nil()));
        assert!(account.rename_department(department, "Outro"));
    }
    for (path, left) in [
        ("/chat/v1/channel", 6),
        ("/core/v2/department", 5),
        ("/core/v1/agent", 2),
    ] {
        assert_eq!(
            asked.get(path).await.body.as_array().unwrap().len(),
            left,
            "{path}"
        );
    }
    let mut account = asked.sandbox.account();
    let (channel, department, agent) = (
        account.add_channel("Novo"),
        account.add_department("Novo"),
        account.add_agent("Nova Agente"),
    );
    assert!(account.channels().contains(&channel));
    assert!(account.departments().contains(&department));
    assert!(account.agents().contains(&agent));
    assert!(account.restore_agent(agent) && account.restore_channel(channel));
}

#[tokio::test]
async fn a_sessions_messages_lie_within_it() {
    let asked = Asked::of_size(10).await;
    let session = asked.get("/chat/v2/session").await.items()[3].clone();
    let id = session["id"].as_str().unwrap();
    let messages = asked
        .all(&format!("/chat/v1/session/{id}/message?x=y"))
        .await;
    assert!(messages.len() >= 2);
    assert_eq!(
        messages,
        asked.all(&format!("/chat/v1/message?SessionId={id}")).await
    );
    for message in &messages {
        assert!(ticks(&message["createdAt"]) >= ticks(&session["createdAt"]));
        assert!(ticks(&message["createdAt"]) <= ticks(&session["lastInteractionDate"]));
        let path = format!("/chat/v1/message/{}", message["id"].as_str().unwrap());
        assert_eq!(asked.get(&path).await.body, *message);
    }
    assert_eq!(asked.get("/chat/v1/message").await.status, 500);
    assert_eq!(asked.get("/chat/v1/session/x/message").await.status, 404);
    let bots = asked.get("/chat/v1/chatbot?Types=Automation").await;
    assert_eq!(bots.body["totalItems"], 2);
}

#[tokio::test]
async fn the_contact_filter_takes_its_questions_in_a_body() {
    let asked = Asked::of_size(500).await;
    let url = format!("{}/core/v1/contact/filter", asked.sandbox.base_url());
    let post = async |body: Value| {
        let request = asked
            .http
            .post(&url)
            .bearer_auth(asked.sandbox.token())
            .body(body.to_string());
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        (
            status,
            serde_json::from_str::<Value>(&answer.text().await.unwrap()).unwrap(),
        )
    };
    let (status, all) = post(json!({"pageSize": 100})).await;
    assert_eq!(
        (status, &all["totalItems"]),
        (200, &asked.get("/core/v1/contact").await.body["totalItems"])
    );
    let (_, silva) = post(json!({"name": "silva", "includeDetails": ["Tags"]})).await;
    let items = silva["items"].as_array().unwrap();
    assert!(
        !items.is_empty()
            && items
                .iter()
                .all(|item| item["name"].as_str().unwrap().contains("Silva"))
    );
    let tag = asked.sandbox.account().tags()[0];
    let (_, tagged) =
        post(json!({"tagIds": [tag], "includeDetails": ["Tags"], "pageSize": 100})).await;
    let items = tagged["items"].as_array().unwrap();
    assert!(
        items
            .iter()
            .all(|item| item["tagIds"].as_array().unwrap().contains(&json!(tag)))
    );
    assert!(!items.is_empty() && tagged["totalItems"] != all["totalItems"]);
    let (_, none) = post(json!({"updatedAt": {"after": "2030-01-01T00:00:00Z"}})).await;
    assert_eq!(none["totalItems"], 0);
    assert_eq!(post(json!({"pageSize": 101})).await.0, 500);
}

#[tokio::test]
async fn every_question_of_the_contact_filter_agrees_with_the_records() {
    let asked = Asked::of_size(500).await;
    let (known, own) = {
        let mut account = asked.sandbox.account();
        let mut own = account.draft_contact("Zuleica");
        own.metadata = Some(json!({"erp": "A-1", "loja": "2"}));
        own.custom_fields = Some(json!({"cidade": "Óbidos", "interesses": ["Peças", "Garantia"]}));
        (account.contact_count(), account.insert_contact(own))
    };
    let total = async |body: Value| {
        let (status, page) = asked
            .post("/core/v1/contact/filter", &body.to_string())
            .await;
        assert_eq!(status, 200, "{body}");
        page["totalItems"].as_u64().unwrap()
    };
    for body in [
        json!({"metadata": {"erp": "A-1"}}),
        json!({"metadata": {"erp": "A-1", "loja": "2"}}),
        json!({"customFields": {"cidade": "Óbidos"}}),
        json!({"customFields": {"cidade": "Óbidos", "interesses": ["Peças", "Garantia"]}}),
        json!({"customFields": {"cidade": "Óbidos", "interesses": "Garantia"}}),
    ] {
        assert_eq!(total(body.clone()).await, 1, "{body}");
    }
    for body in [
        json!({"metadata": {"erp": "A-1", "loja": "3"}}),
        json!({"metadata": {"outro": "A-1"}}),
        json!({"customFields": {"cidade": "Óbidos", "interesses": "Atacado"}}),
        // Nobody has a portfolio here.
        json!({"portfolioIds": [own]}),
        json!({"portfolioNames": ["Carteira"]}),
    ] {
        assert_eq!(total(body.clone()).await, 0, "{body}");
    }
    let cities = total(json!({"customFields": {"cidade": "Recife"}})).await;
    assert!(cities > 0 && cities < known as u64, "{cities}");
    let everyone = total(json!({})).await;
    let empty = json!({
        "pageSize": null, "status": null, "name": "", "tagIds": [], "tagNames": null,
        "portfolioIds": [], "portfolioNames": null, "customFields": {}, "metadata": null,
        "createdAt": null, "includeDetails": null, "unknown": [7]
    });
    assert_eq!(total(empty).await, everyone);
}

#[tokio::test]
async fn what_the_contact_filter_cannot_read_is_an_error() {
    let asked = Asked::of_size(20).await;
    for body in [
        "",
        "{",
        "[]",
        "7",
        "null",
        r#"{"tagIds":["abc"]}"#,
        r#"{"tagIds":"abc"}"#,
        r#"{"tagIds":[7]}"#,
        r#"{"tagNames":[7]}"#,
        r#"{"portfolioIds":["abc"]}"#,
        r#"{"portfolioNames":"abc"}"#,
        r#"{"pageSize":-5}"#,
        r#"{"pageSize":"abc"}"#,
        r#"{"pageSize":1.5}"#,
        r#"{"pageSize":0}"#,
        r#"{"pageNumber":-1}"#,
        r#"{"name":7}"#,
        r#"{"status":"GONE"}"#,
        r#"{"origin":"NOWHERE"}"#,
        r#"{"orderBy":7}"#,
        r#"{"orderDirection":"UP"}"#,
        r#"{"createdAt":"2026-01-01"}"#,
        r#"{"updatedAt":{"after":"yesterday"}}"#,
        r#"{"updatedAt":{"after":7}}"#,
        r#"{"includeDetails":["All"]}"#,
        r#"{"includeDetails":"Tags"}"#,
        r#"{"customFields":[]}"#,
        r#"{"metadata":"erp"}"#,
        r#"{"metadata":{"erp":7}}"#,
    ] {
        let (status, answer) = asked.post("/core/v1/contact/filter", body).await;
        assert_eq!(status, 500, "{body}");
        let detail = body.contains("includeDetails\":[\"");
        let expected = ["ERROR_INTERNAL", "FORM_ERROR"][usize::from(detail)];
        assert_eq!(answer["key"], expected, "{body}");
    }
}

type Keep = Box<dyn Fn(&Value) -> bool>;

#[tokio::test]
async fn every_question_to_the_chatbots_agrees_with_the_records() {
    let asked = Asked::of_size(1).await;
    let bots = asked.get("/chat/v1/chatbot").await;
    let bots = bots.items();
    let (channel, other) = {
        let account = asked.sandbox.account();
        (account.channels()[0], account.channels()[3])
    };
    let (department, nobody) = {
        let account = asked.sandbox.account();
        (account.departments()[0], account.departments()[3])
    };
    let cases: Vec<(String, Keep)> = vec![
        (
            format!("ChannelIds={channel}"),
            Box::new(move |bot| {
                bot["channelIds"]
                    .as_array()
                    .unwrap()
                    .contains(&json!(channel))
            }),
        ),
        (format!("ChannelIds={other}"), Box::new(|_| false)),
        (
            format!("ChannelIds={other}&ChannelIds={channel}"),
            Box::new(|_| true),
        ),
        (
            format!("DefaultDepartmentIds={department}"),
            Box::new(move |bot| bot["defaultDepartmentId"] == json!(department)),
        ),
        (
            format!("DefaultDepartmentIds={nobody}"),
            Box::new(|_| false),
        ),
        (
            "PublishStatuses=not_published".into(),
            Box::new(|bot| bot["publishStatus"] == "NOT_PUBLISHED"),
        ),
        (
            "AutomationUsages=Campaign&Types=Automation".into(),
            Box::new(|bot| {
                bot["automationUsage"]
                    .as_array()
                    .unwrap()
                    .contains(&json!("Campaign"))
                    && bot["type"] == "Automation"
            }),
        ),
    ];
    for (query, keep) in cases {
        let shown = asked.get(&format!("/chat/v1/chatbot?{query}")).await;
        let expected: Vec<&Value> = bots.iter().filter(|bot| keep(bot)).collect();
        assert_eq!(
            shown.items().iter().collect::<Vec<_>>(),
            expected,
            "{query}"
        );
    }
    for query in [
        "ChannelIds=7",
        "DefaultDepartmentIds=x",
        "Types=Chatty",
        "PublishStatuses=Gone",
        "AutomationUsages=Never",
    ] {
        let got = asked.get(&format!("/chat/v1/chatbot?{query}")).await;
        assert_eq!(got.status, 500, "{query}");
    }
}

#[tokio::test]
async fn webhooks_are_kept_and_called() {
    let asked = Asked::of_size(5).await;
    let receiver = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("{}/core/v1/webhook/subscription", asked.sandbox.base_url());
    let token = asked.sandbox.token();
    let body = json!({
        "name": "doorbell",
        "url": format!("http://{}/hook?k=1", receiver.local_addr().unwrap()),
        "events": ["SESSION_UPDATE"],
    });
    let created = asked
        .http
        .post(&url)
        .bearer_auth(token)
        .body(body.to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(created.status(), 200);
    let created: Value = serde_json::from_str(&created.text().await.unwrap()).unwrap();
    assert_eq!(created["events"][0]["event"], "SESSION_UPDATE");
    let id = created["id"].as_str().unwrap();
    let session = asked.sandbox.account().session_ids()[0];
    asked
        .sandbox
        .account()
        .update_session(session, |session| session.status = Status::Pending);
    let (mut stream, _) = receiver.accept().await.unwrap();
    let mut text = String::new();
    let call = loop {
        let mut part = [0; 1_024];
        let read = stream.read(&mut part).await.unwrap();
        assert!(read > 0, "{text}");
        text.push_str(std::str::from_utf8(&part[..read]).unwrap());
        let body = text.split_once("\r\n\r\n").map_or("", |parts| parts.1);
        if let Ok(call) = serde_json::from_str::<Value>(body) {
            break call;
        }
    };
    stream
        .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
        .await
        .unwrap();
    assert!(text.starts_with("POST /hook?k=1 HTTP/1.1\r\n"), "{text}");
    let kind = "\r\nContent-Type: application/json; charset=utf-8\r\n";
    assert!(text.contains(kind), "{text}");
    assert_eq!(call["eventType"], "SESSION_UPDATE");
    assert_eq!(call["content"]["id"], session.to_string());
    let off = json!({"name": "off", "url": "http://127.0.0.1:1/", "enabled": false, "events": ["SESSION_NEW"]});
    let one = format!("{url}/{id}");
    let put = asked
        .http
        .put(&one)
        .bearer_auth(token)
        .body(off.to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(put.status(), 200);
    assert_eq!(
        asked.get("/core/v1/webhook/subscription").await.body[0]["enabled"],
        false
    );
    assert_eq!(
        asked
            .http
            .delete(&one)
            .bearer_auth(token)
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
    assert_eq!(
        asked
            .get(&format!("/core/v1/webhook/subscription/{id}"))
            .await
            .status,
        404
    );
    let bad = asked
        .http
        .post(&url)
        .bearer_auth(token)
        .body("{}")
        .send()
        .await
        .unwrap();
    assert_eq!(bad.status(), 400);
}
