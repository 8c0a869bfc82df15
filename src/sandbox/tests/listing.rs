//! Paging, filters, orders, details, dates.

use super::*;

#[tokio::test]
async fn all_pages_together_are_the_truth() {
    let asked = Asked::of_size(730).await;
    let listed = asked.all(&format!("/chat/v2/session?{DETAILS}")).await;
    assert_eq!(listed.len(), 730);
    assert_eq!(listed, asked.sandbox.account().truth_sessions());
    let mut contacts = Vec::new();
    for status in ["ACTIVE", "ARCHIVED", "BLOCKED"] {
        let details = "IncludeDetails=Tags&IncludeDetails=CustomFields&IncludeDetails=Portfolios";
        contacts.extend(
            asked
                .all(&format!("/core/v1/contact?Status={status}&{details}"))
                .await,
        );
    }
    contacts.sort_by_key(|contact| (ticks(&contact["createdAt"]), contact["id"].to_string()));
    let mut truth = asked.sandbox.account().truth_contacts();
    truth.sort_by_key(|contact| (ticks(&contact["createdAt"]), contact["id"].to_string()));
    assert_eq!(contacts.len(), 292);
    assert_eq!(contacts, truth);
}

#[tokio::test]
async fn the_envelope_counts_and_the_last_page_is_short() {
    let asked = Asked::of_size(31).await;
    let first = asked.get("/chat/v1/session").await;
    assert_eq!(first.items().len(), 15);
    assert_eq!(first.body["pageNumber"], 1);
    assert_eq!(first.body["pageSize"], 15);
    assert_eq!(first.body["totalItems"], 31);
    assert_eq!(first.body["totalPages"], 3);
    assert_eq!(first.body["hasMorePages"], true);
    assert!(first.body["orderBy"].is_null());
    let last = asked.get("/chat/v1/session?PageNumber=3").await;
    assert_eq!(last.items().len(), 1);
    assert_eq!(last.body["hasMorePages"], false);
    let beyond = asked.get("/chat/v1/session?PageNumber=4").await;
    assert!(beyond.items().is_empty());
    assert!(first.items()[0].get("type").is_none());
    assert!(
        asked.get("/chat/v2/session").await.items()[0]
            .get("type")
            .is_some()
    );
}

#[tokio::test]
async fn every_order_works_in_both_directions_and_any_case() {
    let asked = Asked::of_size(400).await;
    for (order, field) in [
        ("UpdatedAt", "updatedAt"),
        ("updatedat", "updatedAt"),
        ("CreatedAt", "createdAt"),
        ("LastInteractionAt", "lastInteractionDate"),
    ] {
        let up = asked
            .all(&format!(
                "/chat/v1/session?OrderBy={order}&OrderDirection=ASCENDING"
            ))
            .await;
        assert!(up.is_sorted_by_key(|item| ticks(&item[field])), "{order}");
        let mut down = asked
            .all(&format!(
                "/chat/v1/session?OrderBy={order}&OrderDirection=DESCENDING"
            ))
            .await;
        down.reverse();
        assert_eq!(up, down, "{order}");
    }
    let alone = asked
        .all("/chat/v1/session?OrderDirection=DESCENDING")
        .await;
    assert!(alone.is_sorted_by_key(|item| ticks(&item["createdAt"])));
}

type Keep<'a> = Box<dyn Fn(&Value) -> bool + 'a>;

#[tokio::test]
#[expect(
    clippy::too_many_lines,
    reason = "one case a line; apart they say less"
)]
async fn every_filter_agrees_with_the_records() {
    let asked = Asked::of_size(900).await;
    let all = asked.all(&format!("/chat/v2/session?{DETAILS}")).await;
    let of = |field: &str| {
        all.iter()
            .filter_map(|item| item[field].as_str())
            .nth(40)
            .unwrap()
            .to_owned()
    };
    let (department, user, contact, channel) = (
        of("departmentId"),
        of("userId"),
        of("contactId"),
        of("channelId"),
    );
    let other = all
        .iter()
        .filter_map(|item| item["channelId"].as_str())
        .find(|id| *id != channel)
        .unwrap()
        .to_owned();
    let tags = asked.sandbox.account().truth_tags();
    let (tag, name) = (
        tags[0]["id"].as_str().unwrap(),
        tags[1]["name"].as_str().unwrap(),
    );
    let has = |item: &Value, field: &str, wanted: &str| {
        let list = item["contactDetails"][field].as_array();
        list.is_some_and(|list| list.iter().any(|value| value == wanted))
    };
    let middle = all[450]["createdAt"].as_str().unwrap().to_owned();
    let early = all[100]["createdAt"].as_str().unwrap().to_owned();
    let half = Ticks::parse(&middle).unwrap();
    let at = |item: &Value, field: &str| item[field].as_str().and_then(Ticks::parse);
    let cases: Vec<(String, Keep<'_>)> = vec![
        (
            "Status=pending&Status=IN_PROGRESS".into(),
            Box::new(|item| item["status"] == "PENDING" || item["status"] == "IN_PROGRESS"),
        ),
        (
            format!("DepartmentId={department}"),
            Box::new(|item| item["departmentId"] == *department),
        ),
        (
            format!("UserId={user}"),
            Box::new(|item| item["userId"] == *user),
        ),
        (
            format!("ContactId={contact}"),
            Box::new(|item| item["contactId"] == *contact),
        ),
        (
            format!("ChannelsId={channel}&ChannelsId={other}"),
            Box::new(|item| item["channelId"] == *channel || item["channelId"] == *other),
        ),
        (
            format!("TagsId={tag}"),
            Box::new(|item| has(item, "tagsId", tag)),
        ),
        (
            format!("TagsName={}", name.to_uppercase()),
            Box::new(|item| has(item, "tagsName", name)),
        ),
        (
            "Type=Group".into(),
            Box::new(|item| item["type"] == "GROUP"),
        ),
        (
            format!("CreatedAt.After={middle}"),
            Box::new(|item| at(item, "createdAt") > Some(half)),
        ),
        (
            format!("CreatedAt.Before={middle}"),
            Box::new(|item| at(item, "createdAt") < Some(half)),
        ),
        (
            format!("UpdatedAt.After={middle}&OrderBy=UpdatedAt"),
            Box::new(|item| at(item, "updatedAt") > Some(half)),
        ),
        (
            format!("UpdatedAt.Before={middle}"),
            Box::new(|item| at(item, "updatedAt") < Some(half)),
        ),
        (
            format!("EndAt.After={middle}"),
            Box::new(|item| at(item, "endAt").is_some_and(|end| end > half)),
        ),
        (
            format!("EndAt.Before={middle}"),
            Box::new(|item| at(item, "endAt").is_some_and(|end| end < half)),
        ),
        (
            format!("LastInteractionAt.Before={middle}"),
            Box::new(|item| at(item, "lastInteractionDate").is_some_and(|last| last < half)),
        ),
        (
            format!("ActiveAt.After={middle}"),
            Box::new(|item| at(item, "lastInteractionDate").is_some_and(|last| last > half)),
        ),
        (
            format!("CreatedAt.After={early}&UpdatedAt.Before={middle}"),
            Box::new(|item| {
                at(item, "createdAt") > Ticks::parse(&early) && at(item, "updatedAt") < Some(half)
            }),
        ),
        (
            format!("Status=COMPLETED&ChannelsId={channel}&CreatedAt.After={middle}"),
            Box::new(|item| {
                item["status"] == "COMPLETED"
                    && item["channelId"] == *channel
                    && at(item, "createdAt") > Some(half)
            }),
        ),
    ];
    for (query, keep) in cases {
        let mut expected: Vec<Value> = all.iter().filter(|item| keep(item)).cloned().collect();
        if query.contains("OrderBy=UpdatedAt") {
            expected.sort_by_key(|item| ticks(&item["updatedAt"]));
        }
        let mut shown = asked
            .all(&format!("/chat/v2/session?{query}&{DETAILS}"))
            .await;
        if query.contains("OrderBy=UpdatedAt") {
            assert!(shown.is_sorted_by_key(|item| ticks(&item["updatedAt"])));
            shown.sort_by_key(|item| item["id"].to_string());
            expected.sort_by_key(|item| item["id"].to_string());
        }
        assert!(
            !expected.is_empty() && expected.len() < all.len(),
            "{query}: {}",
            expected.len()
        );
        assert_eq!(shown, expected, "{query}");
    }
}

#[tokio::test]
async fn metadata_is_asked_for_by_its_keys() {
    let asked = Asked::of_size(900).await;
    let all = asked.all("/chat/v2/session?x=y").await;
    let some = all
        .iter()
        .find_map(|item| item["metadata"]["lead_ref"].as_str())
        .unwrap()
        .to_owned();
    let own = {
        let mut account = asked.sandbox.account();
        let mut own = account.draft_session();
        own.metadata = Some(serde_json::json!({"lead_ref": some, "n": 7, "a b": "c=d"}));
        account.insert_session(own)
    };
    let expected = all
        .iter()
        .filter(|item| item["metadata"]["lead_ref"] == *some)
        .count();
    let total = async |query: &str| asked.get(&format!("/chat/v2/session?{query}")).await;
    let found = total(&format!("Metadata[lead_ref]={some}")).await;
    assert_eq!(found.body["totalItems"], expected + 1);
    let escaped = total(&format!("Metadata%5Blead_ref%5D={some}")).await;
    assert_eq!(escaped.body, found.body);
    for query in [
        format!("Metadata[lead_ref]={some}&Metadata[n]=7"),
        "Metadata[a%20b]=c%3Dd".to_owned(),
        "Metadata[n]=7&Status=STARTED".to_owned(),
    ] {
        assert_eq!(total(&query).await.ids(), [own.to_string()], "{query}");
    }
    for query in [
        "Metadata[lead_ref]=B-0",
        "Metadata[other]=7",
        "Metadata[n]=7&Metadata[lead_ref]=B-0",
        "Metadata[n]=7&Status=COMPLETED",
    ] {
        assert!(total(query).await.items().is_empty(), "{query}");
    }
    // What is written in another way is no filter, and the first version has none.
    for path in [
        "/chat/v2/session?Metadata=A-8152",
        "/chat/v2/session?Metadata.lead_ref=B-0",
        "/chat/v2/session?metadata[lead_ref]=B-0",
        "/chat/v2/session?Metadata[lead_ref]=",
        "/chat/v1/session?Metadata[lead_ref]=B-0",
    ] {
        assert_eq!(asked.get(path).await.body["totalItems"], 901, "{path}");
    }
}

#[tokio::test]
async fn what_is_misspelt_is_ignored_and_what_is_empty_too() {
    let asked = Asked::of_size(60).await;
    for query in [
        "CreatedAt.Gt=2030-01-01",
        "StartDate=2030-01-01",
        "ChannelId=x",
        "TagIds=x",
        "status=PENDING",
        "Status=",
        "contactId=x",
        "Status%5B%5D=PENDING",
        "pagesize=500",
    ] {
        let got = asked.get(&format!("/chat/v2/session?{query}")).await;
        assert_eq!(got.body["totalItems"], 60, "{query}");
    }
    // The first version knows no Type.
    assert_eq!(
        asked.get("/chat/v1/session?Type=GROUP").await.body["totalItems"],
        60
    );
}

#[tokio::test]
async fn bad_input_is_an_internal_error_in_the_platforms_words() {
    let asked = Asked::of_size(5).await;
    for query in [
        "PageSize=101",
        "PageSize=0",
        "PageNumber=x",
        "Status=OPEN",
        "DepartmentId=7",
        "CreatedAt.After=31/12/2025",
        "OrderBy=CreatedAt&OrderDirection=UP",
        "IncludeDetails=All",
        "IncludeDetails=contactDetails",
    ] {
        let got = asked.get(&format!("/chat/v2/session?{query}")).await;
        assert_eq!(got.status, 500, "{query}");
        assert_eq!(got.body["error"], true);
        let form = query.starts_with("IncludeDetails");
        let key = ["ERROR_INTERNAL", "FORM_ERROR"][usize::from(form)];
        assert_eq!(got.body["key"], key, "{query}");
        assert_eq!(got.body["httpStatusCode"], 500);
        assert_eq!(got.body["id"]["shortValue"].as_str().unwrap().len(), 8);
    }
}

#[tokio::test]
async fn details_come_on_request_only() {
    let asked = Asked::of_size(300).await;
    let bare = asked.all("/chat/v2/session?Status=COMPLETED").await;
    for (detail, field) in [
        ("ContactDetails", "contactDetails"),
        ("AgentDetails", "agentDetails"),
        ("DepartmentsDetails", "departmentDetails"),
        ("ChannelDetails", "channelDetails"),
        ("ChannelTypeDetails", "channelType"),
        ("ClassificationDetails", "classification"),
    ] {
        assert!(bare.iter().all(|item| item[field].is_null()), "{field}");
        let asked_for = asked
            .all(&format!(
                "/chat/v2/session?Status=COMPLETED&IncludeDetails={detail}"
            ))
            .await;
        assert!(
            asked_for.iter().any(|item| !item[field].is_null()),
            "{detail}"
        );
        let id = asked_for
            .iter()
            .find(|item| !item[field].is_null())
            .unwrap();
        let path = format!("/chat/v2/session/{}", id["id"].as_str().unwrap());
        let one = asked.get(&format!("{path}?includeDetails={detail}")).await;
        assert_eq!(one.body[field], id[field]);
        assert!(
            asked
                .get(&format!("{path}?IncludeDetails={detail}"))
                .await
                .body[field]
                .is_null()
        );
    }
    let contacts = asked.all("/core/v1/contact?Status=ACTIVE").await;
    assert!(
        contacts
            .iter()
            .all(|item| item["tagIds"].is_null() && item["customFields"].is_null())
    );
    let tagged = asked.all("/core/v1/contact?IncludeDetails=Tags").await;
    assert!(
        tagged
            .iter()
            .any(|item| !item["tagIds"].as_array().unwrap().is_empty())
    );
}

#[tokio::test]
async fn fractions_have_zero_to_seven_digits_and_no_trailing_zero() {
    let asked = Asked::of_size(3_000).await;
    let mut lengths = [0; 8];
    for item in asked.all("/chat/v2/session?x=1").await {
        for field in ["createdAt", "updatedAt", "lastMessageIn"] {
            let text = item[field].as_str().unwrap();
            let fraction = text
                .trim_end_matches('Z')
                .split_once('.')
                .map_or("", |parts| parts.1);
            assert!(!fraction.ends_with('0') && !text.contains(".Z"), "{text}");
            lengths[fraction.len()] += 1;
        }
    }
    assert!(lengths.iter().all(|count| *count > 0), "{lengths:?}");
}

#[tokio::test]
async fn a_year_looks_like_one() {
    let asked = Asked::of_size(5_000).await;
    let all = asked.all(&format!("/chat/v2/session?{DETAILS}")).await;
    let count = |keep: &dyn Fn(&Value) -> bool| all.iter().filter(|item| keep(item)).count();
    assert!(count(&|item| item["status"] == "COMPLETED") > 4_800);
    assert!(count(&|item| item["classification"]["category"] == "WON") > 500);
    assert!(count(&|item| item["utm"]["campaign"].is_string()) > 500);
    let hour = |item: &Value| {
        item["createdAt"].as_str().unwrap()[11..13]
            .parse::<u32>()
            .unwrap()
    };
    let office = count(&|item| (11..21).contains(&hour(item)));
    assert!(office > 4_000, "{office} within business hours");
    let until = Ticks::from(noon());
    for item in &all {
        let (created, updated) = (ticks(&item["createdAt"]), ticks(&item["updatedAt"]));
        assert!(created <= updated && updated <= until, "{item}");
        if let Some(end) = item["endAt"].as_str().and_then(Ticks::parse) {
            assert!(created <= end && end <= updated, "{item}");
        }
    }
    // The nightly job leaves ties.
    let mut updates: Vec<Ticks> = all.iter().map(|item| ticks(&item["updatedAt"])).collect();
    updates.sort_unstable();
    assert!(updates.windows(3).any(|three| three[0] == three[2]));
}

#[tokio::test]
async fn the_same_seed_gives_the_same_account() {
    let truth = async |seed| {
        let asked = Asked::start(SandboxConfig {
            seed,
            ..SandboxConfig::of_size(200)
        })
        .await;
        let mut account = asked.sandbox.account();
        account.live_step(50);
        (
            account.truth_sessions(),
            account.truth_contacts(),
            account.truth_agents(),
        )
    };
    assert_eq!(truth(7).await, truth(7).await);
    assert_ne!(truth(7).await, truth(8).await);
}
