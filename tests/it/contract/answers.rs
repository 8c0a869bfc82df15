//! Every answer of the sandbox, asked for over the wire.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use helena_sync::clock::FakeClock;
use helena_sync::sandbox::{Fault, Moods, RequestLimit, RetryAfter, Sandbox, SandboxConfig};
use serde_json::{Value, json};
use uuid::Uuid;

use super::spec::Spec;
use super::{assert_none, start};

/// Operations of the contract that the sandbox does not simulate: it answers them as the platform
/// answers an unknown route.
const NOT_SIMULATED: [&str; 7] = [
    "GET /crm/v2/panel",
    "GET /crm/v1/panel/{id}",
    "GET /crm/v1/panel/{id}/custom-fields",
    "GET /crm/v1/panel/{id}/lost-reason",
    "GET /crm/v2/panel/card",
    "GET /crm/v2/panel/card/{id}",
    "GET /crm/v1/panel/card/{cardId}/note",
];

const PAGING: [&str; 7] = [
    "PageSize=100",
    "PageSize=1&PageNumber=3",
    "PageNumber=100000",
    "OrderBy=UpdatedAt&OrderDirection=DESCENDING",
    "OrderBy=LastInteractionAt&OrderDirection=ASCENDING",
    "CreatedAt.After=2026-01-01T00:00:00Z&UpdatedAt.Before=2026-04-01T00:00:00.1234567Z",
    // Refused.
    "PageSize=101",
];

/// Asks, and holds every answer against the contract.
struct Asker {
    spec: Spec,
    http: reqwest::Client,
    base: String,
    token: String,
    wrong: Vec<String>,
    /// Operations that were answered well.
    answered: BTreeSet<String>,
}

impl Asker {
    fn of(sandbox: &Sandbox) -> Self {
        // Another test may have been first.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().tls_certs_only([]).no_proxy();
        Self {
            spec: Spec::load(),
            http: http.build().unwrap(),
            base: sandbox.base_url(),
            token: sandbox.token().to_owned(),
            wrong: Vec::new(),
            answered: BTreeSet::new(),
        }
    }

    /// GET with a query, as it is written in an address.
    async fn get(&mut self, path: &str, query: &str) -> (u16, Value) {
        self.ask("GET", path, query, None).await
    }

    async fn ask(
        &mut self,
        method: &str,
        path: &str,
        query: &str,
        body: Option<&Value>,
    ) -> (u16, Value) {
        let address = format!("{}{path}?{query}", self.base);
        let mut request = self
            .http
            .request(method.parse().unwrap(), address)
            .bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let kind = answer.headers()["content-type"]
            .to_str()
            .unwrap()
            .to_owned();
        let text = answer.text().await.unwrap();
        let value: Value = serde_json::from_str(&text).unwrap_or_else(|error| {
            panic!(
                "{method} {path}?{query}: {error}: {}",
                &text[..text.len().min(80)]
            )
        });
        if !kind.starts_with("application/json") {
            self.wrong
                .push(format!("{method} {path}: is sent as {kind}"));
        }
        let wrong = self.spec.wrong_answer((method, path), status, &value);
        self.wrong.extend(wrong);
        if status == 200
            && let Some((name, _)) = self.spec.operation(method, path)
        {
            self.answered.insert(name);
        }
        (status, value)
    }

    /// Asks for a listing in every way that a listing can be asked for.
    async fn page_through(&mut self, path: &str) {
        self.get(path, "").await;
        for query in PAGING {
            let (status, page) = self.get(path, query).await;
            if query == "PageSize=101" {
                assert_eq!(status, 500, "{path}");
            } else {
                assert!(page["items"].is_array(), "{path}?{query}");
            }
        }
        self.get(path, "CreatedAt.After=yesterday").await;
    }
}

/// An account that shows all it has: changed and late records, records without a contact, lists
/// with members that are gone.
async fn lively(sessions: u32) -> (Sandbox, Arc<FakeClock>) {
    let (sandbox, clock) = start(SandboxConfig {
        moods: Moods {
            late_share: 0.2,
            ..Moods::default()
        },
        ..SandboxConfig::of_size(sessions)
    })
    .await;
    {
        let mut account = sandbox.account();
        for _ in 0..30 {
            account.live_step(10);
            clock.advance(Duration::from_secs(20));
        }
        let gone = account.tags()[1];
        account.remove_tag_but_keep_it_on_contacts(gone);
        let gone = account.agents()[1];
        account.remove_agent(gone);
        let gone = account.channels()[1];
        account.remove_channel(gone);
        let gone = account.departments()[1];
        account.remove_department(gone);
        account.add_tag("Nova");
        account.add_channel("Novo canal");
        account.add_department("Novo setor");
        account.add_agent("Nova agente");
        let contact = account.contact_ids()[0];
        account.delete_contact(contact);
    }
    (sandbox, clock)
}

#[tokio::test]
async fn every_answer_of_the_sandbox_is_a_documented_one() {
    let (sandbox, _clock) = lively(250).await;
    let mut asker = Asker::of(&sandbox);
    for absent_share in [0.0, 0.5] {
        sandbox.account().moods.absent_share = absent_share;
        sandbox.account().moods.tags_unasked = absent_share > 0.0;
        sessions(&sandbox, &mut asker).await;
        contacts(&sandbox, &mut asker).await;
        lists(&sandbox, &mut asker).await;
        others(&mut asker).await;
    }
    let operations = asker.spec.operations();
    let unasked = operations
        .iter()
        .filter(|name| !asker.answered.contains(*name) && !NOT_SIMULATED.contains(&name.as_str()));
    asker
        .wrong
        .extend(unasked.map(|name| format!("{name}: was never answered well")));
    assert_none(asker.wrong);
}

async fn sessions(sandbox: &Sandbox, asker: &mut Asker) {
    const DETAILS: [&str; 7] = [
        "Undefined",
        "AgentDetails",
        "DepartmentsDetails",
        "ContactDetails",
        "ChannelTypeDetails",
        "ClassificationDetails",
        "ChannelDetails",
    ];
    let all = DETAILS
        .map(|detail| format!("IncludeDetails={detail}"))
        .join("&");
    for path in ["/chat/v1/session", "/chat/v2/session"] {
        asker.page_through(path).await;
        for page in 1..=4 {
            asker
                .get(path, &format!("PageSize=100&PageNumber={page}&{all}"))
                .await;
        }
        for detail in DETAILS {
            asker
                .get(path, &format!("IncludeDetails={detail}&PageSize=50"))
                .await;
        }
        asker
            .get(path, "Status=COMPLETED&Status=PENDING&Type=GROUP")
            .await;
        asker.get(path, "Status=NEVER").await;
    }
    let ids = sandbox.account().session_ids();
    let all = all.replace("IncludeDetails", "includeDetails");
    for id in ids
        .iter()
        .step_by(25)
        .chain([&ids[ids.len() - 1], &Uuid::nil()])
    {
        let path = format!("/chat/v2/session/{id}");
        asker.get(&path, "").await;
        asker.get(&path, &all).await;
        let path = format!("/chat/v1/session/{id}/message");
        let (_, page) = asker.get(&path, "PageSize=100").await;
        asker
            .get("/chat/v1/message", &format!("SessionId={id}"))
            .await;
        if let Some(message) = page["items"][0]["id"].as_str() {
            asker.get(&format!("/chat/v1/message/{message}"), "").await;
        }
    }
    asker
        .page_through(&format!("/chat/v1/session/{}/message", ids[0]))
        .await;
    assert_eq!(asker.get("/chat/v1/message", "").await.0, 500);
    assert_eq!(asker.get("/chat/v2/session/no-uuid", "").await.0, 404);
    assert_eq!(
        asker
            .get(&format!("/chat/v1/message/{}", Uuid::nil()), "")
            .await
            .0,
        404
    );
}

async fn contacts(sandbox: &Sandbox, asker: &mut Asker) {
    const PATH: &str = "/core/v1/contact";
    const FILTER: &str = "/core/v1/contact/filter";
    let all = "IncludeDetails=Tags&IncludeDetails=CustomFields&IncludeDetails=Portfolios";
    asker.page_through(PATH).await;
    for status in ["ACTIVE", "ARCHIVED", "BLOCKED"] {
        asker
            .get(PATH, &format!("Status={status}&PageSize=100"))
            .await;
        asker
            .get(PATH, &format!("Status={status}&PageSize=100&{all}"))
            .await;
    }
    asker.get(PATH, "Status=GONE").await;
    let ids = sandbox.account().contact_ids();
    for id in [ids[0], ids[1], ids[ids.len() - 1], Uuid::nil()] {
        let path = format!("{PATH}/{id}");
        asker.get(&path, "").await;
        asker.get(&path, all).await;
    }
    let name = sandbox.account().contact(ids[1]).unwrap().name.unwrap();
    let tag = sandbox.account().tags()[0];
    for body in [
        json!({}),
        json!({"pageNumber": 1, "pageSize": 100, "includeDetails": ["Tags", "CustomFields"]}),
        json!({"name": name, "textFilter": name, "status": "ACTIVE", "orderBy": "UpdatedAt",
               "orderDirection": "DESCENDING", "tagIds": [tag], "tagNames": ["VIP"],
               "createdAt": {"after": "2025-01-01T00:00:00Z", "before": null},
               "updatedAt": {"before": "2026-12-31T00:00:00Z"}}),
        json!({"phoneNumber": "+55|11", "email": "a", "instagram": null, "origin": "IMPORTED",
               "customFields": {}, "metadata": {}, "portfolioIds": [], "portfolioNames": []}),
        json!({"pageSize": 500}),
    ] {
        let wrong = asker.spec.wrong_body("POST", FILTER, &body);
        asker.wrong.extend(wrong);
        let (status, _) = asker.ask("POST", FILTER, "", Some(&body)).await;
        assert_eq!(
            status,
            if body["pageSize"] == 500 { 500 } else { 200 },
            "{body}"
        );
    }
}

async fn lists(sandbox: &Sandbox, asker: &mut Asker) {
    for kind in [
        "All",
        "Whatsapp",
        "Messenger",
        "Instagram",
        "WebChat",
        "Fax",
    ] {
        asker
            .get("/chat/v1/channel", &format!("ChannelType={kind}"))
            .await;
    }
    asker.get("/chat/v1/channel", "").await;
    asker.get("/core/v1/tag", "").await;
    asker.get("/core/v1/tag/color", "").await;
    asker.get("/core/v2/department", "").await;
    let department = sandbox.account().departments()[0];
    for id in [department, Uuid::nil()] {
        for query in [
            "",
            "includeDetails=All",
            "includeDetails=Agents",
            "includeDetails=Channels",
        ] {
            asker.get(&format!("/core/v1/department/{id}"), query).await;
        }
        asker
            .get(&format!("/core/v1/department/{id}/channel"), "")
            .await;
    }
    let (_, agents) = asker.get("/core/v1/agent", "").await;
    let id = agents[0]["id"].as_str().unwrap().to_owned();
    for id in [id, Uuid::nil().to_string()] {
        asker.get(&format!("/core/v1/agent/{id}"), "").await;
    }
}

async fn others(asker: &mut Asker) {
    for path in [
        "/chat/v1/chatbot",
        "/chat/v1/template",
        "/core/v1/portfolio",
    ] {
        asker.page_through(path).await;
    }
    asker
        .get("/chat/v1/template", "IncludeDetails=Params")
        .await;
    let both = "IncludeDetails=Departments&IncludeDetails=ContactCount";
    asker.get("/core/v1/portfolio", both).await;
    for query in [
        "",
        "EntityType=CONTACT",
        "EntityType=PANEL&NestedList=false",
    ] {
        asker.get("/core/v1/custom-field", query).await;
    }
    asker.get("/core/v1/contact/custom-field", "").await;
    asker.get("/core/v1/company/officehours", "").await;
    for query in [
        "Name=a",
        "Types=Reactive&Types=Automation",
        "PublishStatuses=Ready&PublishStatuses=Not_Published",
        "AutomationUsages=Api&AutomationUsages=Manual",
    ] {
        asker.get("/chat/v1/chatbot", query).await;
    }
    asker.get("/core/v1/webhook/event", "").await;
    let path = "/core/v1/webhook/subscription";
    asker.get(path, "").await;
    // Writing is not in the contract's file, which knows reads alone: asked beside it.
    let body =
        json!({"name": "campainha", "url": "http://127.0.0.1:9/x", "events": ["SESSION_NEW"]});
    let made = asker
        .http
        .post(format!("{}{path}", asker.base))
        .bearer_auth(&asker.token)
        .body(body.to_string());
    let made = made.send().await.unwrap().text().await.unwrap();
    let made: Value = serde_json::from_str(&made).unwrap();
    asker.get(path, "").await;
    for id in [made["id"].as_str().unwrap(), &Uuid::nil().to_string()] {
        asker.get(&format!("{path}/{id}"), "").await;
    }
}

#[tokio::test]
async fn every_error_of_the_sandbox_is_a_documented_one() {
    let (sandbox, _clock) = start(SandboxConfig::of_size(20)).await;
    let mut asker = Asker::of(&sandbox);
    for path in ["/chat/v1/session", "/core/v1/tag", "/core/v1/agent"] {
        sandbox.script([Fault::Internal, Fault::Unauthorized, Fault::TooMany(None)]);
        for status in [500, 401, 429] {
            assert_eq!(asker.get(path, "").await.0, status);
        }
        sandbox.account().limits = vec![RequestLimit {
            count: 1,
            per: Duration::from_mins(1),
        }];
        for hint in [RetryAfter::Absent, RetryAfter::Seconds, RetryAfter::Date] {
            sandbox.account().faults.retry_after = hint;
            asker.get(path, "").await;
            assert_eq!(asker.get(path, "").await.0, 429);
        }
        sandbox.account().limits.clear();
    }
    for status in [401, 404] {
        sandbox.account().moods.v1_withdrawn = Some(status);
        sandbox.account().moods.v2_withdrawn = Some(status);
        for path in ["/chat/v1/session", "/chat/v2/session"] {
            assert_eq!(asker.get(path, "").await.0, status);
        }
    }
    // What is not simulated, and what the token may not see.
    for name in NOT_SIMULATED {
        let path = name.trim_start_matches("GET ");
        let path = path.replace("{id}", &Uuid::nil().to_string());
        let path = path.replace("{cardId}", &Uuid::nil().to_string());
        if asker.spec.operation("GET", &path).is_some() {
            let status = asker.get(&path, "").await.0;
            assert!([401, 404].contains(&status), "{path}: {status}");
        }
    }
    sandbox.account().moods.refused = vec!["/core/".to_owned()];
    assert_eq!(asker.get("/core/v1/contact", "").await.0, 401);
    asker.token = "pn_another".to_owned();
    assert_eq!(asker.get("/core/v2/department", "").await.0, 401);
    assert_none(asker.wrong);
}
