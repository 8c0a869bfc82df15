//! What lists do not show, or not as it is.

use uuid::Uuid;

use super::*;

/// The ids that a list shows, and how many it counts.
async fn listed(asked: &Asked, path: &str) -> (Vec<String>, u64) {
    let (mut ids, mut total) = (Vec::new(), 0);
    for number in 1..20 {
        let page = asked
            .get(&format!("{path}&PageSize=20&PageNumber={number}"))
            .await;
        ids.extend(page.ids().into_iter().map(str::to_owned));
        total = page.body["totalItems"].as_u64().unwrap();
    }
    (ids, total)
}

#[tokio::test]
async fn a_ghost_is_counted_in_its_windows_and_shown_nowhere_until_revealed() {
    let asked = Asked::of_size(100).await;
    let (ghost, contact) = {
        let mut account = asked.sandbox.account();
        let (ghost, contact) = (account.session_ids()[40], account.contact_ids()[9]);
        account.poison(ghost, Poison::Ghost);
        account.poison(contact, Poison::Ghost);
        (
            account.session(ghost).unwrap(),
            account.contact(contact).unwrap(),
        )
    };
    let id = ghost.id.to_string();
    for version in ["v1", "v2"] {
        let path = format!("/chat/{version}/session?x=y");
        let (ids, total) = listed(&asked, &path).await;
        assert_eq!((ids.len(), total), (99, 100));
        assert!(!ids.contains(&id));
        // Also where it is alone.
        let edges = |at: Ticks| (Ticks(at.0 - 1), Ticks(at.0 + 1));
        let (after, before) = edges(ghost.created_at);
        let window = format!("CreatedAt.After={after}&CreatedAt.Before={before}");
        assert_eq!(
            listed(&asked, &format!("{path}&{window}")).await,
            (vec![], 1)
        );
        let (after, before) = edges(ghost.updated_at);
        let window = format!("UpdatedAt.After={after}&UpdatedAt.Before={before}");
        let (ids, total) = listed(&asked, &format!("{path}&{window}")).await;
        assert_eq!(ids.len() as u64 + 1, total);
    }
    let status = format!("/core/v1/contact?Status={}", contact.status.as_str());
    let (ids, total) = listed(&asked, &status).await;
    assert_eq!(ids.len() as u64 + 1, total);
    for path in [
        format!("/chat/v2/session/{id}"),
        format!("/chat/v1/session/{id}/message"),
        format!("/core/v1/contact/{}", contact.id),
    ] {
        assert_eq!(asked.get(&path).await.status, 404, "{path}");
    }
    let shows = |id: Uuid| {
        let mut account = asked.sandbox.account();
        let mut truth = account.truth_sessions();
        truth.extend(account.truth_contacts());
        truth.iter().any(|record| record["id"] == id.to_string())
    };
    assert!(!shows(ghost.id) && !shows(contact.id));
    asked.sandbox.account().heal(ghost.id);
    asked.sandbox.account().heal(contact.id);
    assert!(shows(ghost.id) && shows(contact.id));
    let (ids, total) = listed(&asked, "/chat/v2/session?x=y").await;
    assert_eq!((ids.len(), total), (100, 100));
    assert_eq!(
        asked.get(&format!("/chat/v2/session/{id}")).await.status,
        200
    );
}

#[tokio::test]
async fn a_share_of_the_records_can_be_ghosts() {
    let moods = Moods {
        ghost_share: 0.3,
        ..Moods::default()
    };
    let asked = Asked::in_mood(100, moods).await;
    let (ids, total) = listed(&asked, "/chat/v1/session?x=y").await;
    assert_eq!(total, 100);
    assert!((50..90).contains(&ids.len()), "{}", ids.len());
    let truth = asked.sandbox.account().truth_sessions();
    let truth: Vec<&str> = truth
        .iter()
        .map(|record| record["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, truth);
}

#[tokio::test]
async fn stamps_are_null_unreadable_or_absent() {
    let moods = Moods {
        unstamped_share: 0.3,
        ..Moods::default()
    };
    let asked = Asked::in_mood(120, moods).await;
    let mut seen = std::collections::BTreeMap::new();
    let sessions = asked.all(&format!("/chat/v2/session?{DETAILS}")).await;
    for path in ["/chat/v1/session", "/core/v1/contact"] {
        let by_date = asked.all(&format!("{path}?OrderBy=UpdatedAt")).await;
        for item in by_date {
            let kind = match item.get("updatedAt") {
                None => "absent",
                Some(Value::Null) => "null",
                Some(text) if Ticks::parse(text.as_str().unwrap()).is_none() => "unreadable",
                Some(_) => "good",
            };
            *seen.entry(kind).or_insert(0) += 1;
        }
    }
    assert_eq!(seen.len(), 4, "{seen:?}");
    assert!(seen["good"] > 70, "{seen:?}");
    // The truth is what is shown; what is left out is null there.
    let truth = asked.sandbox.account().truth_sessions();
    for (shown, truth) in sessions.iter().zip(&truth) {
        assert_eq!(shown["updatedAt"], truth["updatedAt"]);
        let path = format!("/chat/v2/session/{}", shown["id"].as_str().unwrap());
        let one = asked.get(&path).await.body;
        assert_eq!(one.get("updatedAt"), shown.get("updatedAt"));
    }
    let tags = asked.get("/core/v1/tag").await.body;
    let tags = tags.as_array().unwrap();
    let good = |tag: &&Value| tag["updatedAt"].as_str().and_then(Ticks::parse).is_some();
    assert!(tags.iter().filter(good).count() < tags.len());
    // One by one, too.
    asked.sandbox.account().moods.unstamped_share = 0.0;
    let channel = asked.sandbox.account().channels()[1];
    asked.sandbox.account().poison(channel, Poison::NoStamp);
    let shown = asked.get("/chat/v1/channel").await.body;
    assert!(shown[1].get("updatedAt").is_none() && shown[0]["updatedAt"].is_string());
    assert!(asked.sandbox.account().truth_channels()[1]["updatedAt"].is_null());
}

#[tokio::test]
async fn placeholders_of_dotnet_stand_where_null_would() {
    let asked = Asked::of_size(200).await;
    let path = format!("/chat/v2/session?{DETAILS}");
    let (before, contacts) = (
        asked.all(&path).await,
        asked.all("/core/v1/contact?x=y").await,
    );
    asked.sandbox.account().moods.dotnet_placeholders = true;
    let after = asked.all(&path).await;
    let nil = Value::from(Uuid::nil().to_string());
    let never = Value::from("0001-01-01T00:00:00");
    let mut counts = std::collections::BTreeMap::new();
    let mut hold = |before: &Value, after: &Value, fields: &[&'static str], with: &Value| {
        for field in fields {
            let expected = if before[field].is_null() {
                *counts.entry(*field).or_insert(0) += 1;
                with
            } else {
                &before[field]
            };
            assert_eq!(after[field], *expected, "{field}");
        }
    };
    let ids = ["contactId", "departmentId", "userId", "botId"];
    let times = [
        "endAt",
        "firstResponseAt",
        "lastInteractionDate",
        "lastMessageIn",
        "lastMessageOut",
    ];
    for (before, after) in before.iter().zip(&after) {
        hold(before, after, &ids, &nil);
        hold(before, after, &times, &never);
        for field in ["title", "channelId", "updatedAt", "contactDetails", "utm"] {
            assert_eq!(before[field], after[field], "{field}");
        }
    }
    let shown = asked.all("/core/v1/contact?x=y").await;
    for (before, after) in contacts.iter().zip(&shown) {
        hold(before, after, &["importedAt"], &never);
    }
    for field in [
        "contactId",
        "userId",
        "botId",
        "endAt",
        "firstResponseAt",
        "importedAt",
    ] {
        assert!(counts[field] > 0, "{field}: {counts:?}");
    }
    assert_eq!(asked.sandbox.account().truth_sessions(), after);
}

#[tokio::test]
async fn a_contact_can_be_told_by_its_details_alone() {
    let moods = Moods {
        contact_id_unlisted: true,
        ..Moods::default()
    };
    let asked = Asked::in_mood(200, moods).await;
    let truth = asked.sandbox.account().truth_sessions();
    for version in ["v1", "v2"] {
        let listed = asked
            .all(&format!("/chat/{version}/session?{DETAILS}"))
            .await;
        for (shown, truth) in listed.iter().zip(&truth) {
            if truth["contactDetails"].is_object() {
                assert!(shown.get("contactId").is_none());
                assert_eq!(shown["contactDetails"]["id"], truth["contactId"]);
            } else {
                assert_eq!(shown.get("contactId"), Some(&Value::Null));
            }
        }
        // Without details nothing else would tell it.
        let bare = asked.all(&format!("/chat/{version}/session?x=y")).await;
        assert!(
            bare.iter()
                .zip(&truth)
                .all(|(bare, truth)| { bare["contactId"] == truth["contactId"] })
        );
    }
    let one = format!("/chat/v2/session/{}", truth[3]["id"].as_str().unwrap());
    assert_eq!(
        asked.get(&one).await.body["contactId"],
        truth[3]["contactId"]
    );
}

#[tokio::test]
async fn no_list_shows_a_contact_without_a_status() {
    let asked = Asked::of_size(60).await;
    let (session, contact) = {
        let mut account = asked.sandbox.account();
        let sessions = account.truth_sessions();
        let with = sessions
            .iter()
            .find(|session| session["contactId"].is_string());
        let with = with.unwrap().clone();
        let contact = Uuid::parse_str(with["contactId"].as_str().unwrap()).unwrap();
        account.update_contact(contact, |contact| {
            contact.status = ContactStatus::Undefined;
        });
        (with, contact)
    };
    let id = contact.to_string();
    for status in ["ACTIVE", "ARCHIVED", "BLOCKED"] {
        let listed = asked
            .all(&format!("/core/v1/contact?Status={status}"))
            .await;
        assert!(listed.iter().all(|shown| shown["id"] != id), "{status}");
    }
    let (_, filtered) = asked
        .post("/core/v1/contact/filter", "{\"pageSize\":100}")
        .await;
    let filtered = filtered["items"].as_array().unwrap();
    assert!(filtered.iter().all(|shown| shown["id"] != id));
    assert_eq!(
        asked.get("/core/v1/contact?Status=UNDEFINED").await.status,
        500
    );
    let one = asked.get(&format!("/core/v1/contact/{id}")).await;
    assert_eq!(one.body["status"], "UNDEFINED");
    let path = format!("/chat/v2/session/{}", session["id"].as_str().unwrap());
    let told = asked
        .get(&format!("{path}?includeDetails=ContactDetails"))
        .await;
    assert_eq!(told.body["contactDetails"]["status"], "UNDEFINED");
    let mut account = asked.sandbox.account();
    assert!(
        account
            .truth_contacts()
            .iter()
            .any(|shown| shown["id"] == id)
    );
    // A living account has some where it is asked to.
    account.moods.undefined_share = 1.0;
    account.live_step(60);
    let undefined = |account: &mut SandboxAccount| {
        let contacts = account.truth_contacts();
        let undefined = contacts
            .iter()
            .filter(|shown| shown["status"] == "UNDEFINED");
        undefined.count()
    };
    let count = undefined(&mut account);
    assert!((3..22).contains(&count), "{count}");
}

#[tokio::test]
async fn a_list_can_lack_entries_for_a_while() {
    let asked = Asked::of_size(1).await;
    let count = async |path: &str| asked.get(path).await.body.as_array().unwrap().len();
    for (list, path) in [
        (List::Tags, "/core/v1/tag"),
        (List::Channels, "/chat/v1/channel"),
        (List::Departments, "/core/v2/department"),
        (List::Agents, "/core/v1/agent"),
    ] {
        let all = count(path).await;
        asked.sandbox.account().lose_entries(list, 1.0, 2);
        asked.sandbox.account().lose_entries(list, 0.5, 1);
        assert_eq!((count(path).await, count(path).await), (0, 0), "{path}");
        let some = count(path).await;
        assert!(some < all, "{path}: {some} of {all}");
        assert_eq!(count(path).await, all, "{path}");
        assert_eq!(count("/core/v1/tag").await, 20);
    }
    assert_eq!(asked.sandbox.account().truth_tags().len(), 20);
    asked.sandbox.account().moods.list_loss_share = 0.4;
    let (mut whole, mut empty, mut short) = (0, 0, 0);
    for _ in 0..60 {
        match count("/core/v1/tag").await {
            20 => whole += 1,
            0 => empty += 1,
            _ => short += 1,
        }
    }
    assert!(
        whole > 15 && empty > 3 && short > 3,
        "{whole} {empty} {short}"
    );
}

#[tokio::test]
async fn a_list_can_be_that_of_a_moment_ago() {
    let moods = Moods {
        stale_max: seconds(10),
        ..Moods::default()
    };
    let asked = Asked::in_mood(40, moods).await;
    let path = format!("/chat/v2/session?PageSize=100&{DETAILS}");
    let contacts = "/core/v1/contact?PageSize=100";
    let all = async || {
        let mut bodies = Vec::new();
        for path in [&path, contacts, "/core/v1/tag", "/chat/v1/channel"] {
            bodies.push(asked.get(path).await.body);
        }
        bodies
    };
    let before = all().await;
    asked.clock.advance(seconds(1));
    let (changed, new) = {
        let mut account = asked.sandbox.account();
        let ids = account.session_ids();
        account.update_session(ids[3], |session| session.unread_count = 77);
        account.update_session(ids[3], |session| session.unread_count += 1);
        account.delete_session(ids[5]);
        let due = account.now() + seconds(2);
        account.update_session_late(ids[9], due, |session| session.unread_count = 66);
        let contact = account.draft_contact("Nova");
        let contact = account.insert_contact(contact);
        let mut session = account.draft_session();
        session.contact_id = Some(contact);
        let new = account.insert_session(session);
        let (tag, channel) = (account.tags()[2], account.channels()[2]);
        account.rename_tag(tag, "Outra");
        account.remove_channel(channel);
        account.add_tag("Nova");
        (ids[3], new)
    };
    let after = all().await;
    asked.clock.advance(seconds(2));
    let last = all().await;
    assert!(before != after && after != last);
    assert_eq!(after[0]["totalItems"], 40);
    // So long ago, also what came into being since is not there yet.
    for (lag, expected) in [(0, &last), (1, &after), (3, &before), (10, &before)] {
        asked.sandbox.account().lag_lists(4, seconds(lag));
        assert_eq!(all().await, *expected, "{lag}");
        assert_eq!(all().await, last, "{lag}");
    }
    // By their ids they are current.
    asked.sandbox.account().lag_lists(1, seconds(3));
    let one = asked.get(&format!("/chat/v2/session/{changed}")).await.body;
    assert_eq!(one["unreadCount"], 78);
    assert_eq!(
        asked.get(&format!("/chat/v2/session/{new}")).await.status,
        200
    );
    let stale = asked.get(&path).await;
    assert_eq!(stale.body["items"], before[0]["items"]);
    assert_eq!(asked.get(&path).await.body, last[0]);
    // The truth is never stale, and the past is forgotten.
    asked.sandbox.account().lag_lists(1, seconds(3));
    let truth = asked.sandbox.account().truth_sessions();
    assert_eq!(truth, *last[0]["items"].as_array().unwrap());
    asked.clock.advance(seconds(20));
    assert_eq!(all().await, last);
}

#[tokio::test]
async fn lists_are_stale_by_chance() {
    let moods = Moods {
        stale_share: 0.5,
        stale_max: seconds(10),
        ..Moods::default()
    };
    let asked = Asked::in_mood(40, moods).await;
    let id = asked.sandbox.account().session_ids()[3];
    let mut seen = std::collections::BTreeMap::new();
    for number in 1..=40 {
        asked.clock.advance(seconds(1));
        asked
            .sandbox
            .account()
            .update_session(id, |session| session.unread_count = number);
        let listed = asked.get("/chat/v1/session?PageSize=100").await;
        let at = listed
            .ids()
            .iter()
            .position(|shown| *shown == id.to_string());
        let shown = listed.items()[at.unwrap()]["unreadCount"].as_i64().unwrap();
        *seen.entry(i64::from(number) - shown).or_insert(0) += 1;
        let one = asked.get(&format!("/chat/v2/session/{id}")).await;
        assert_eq!(one.body["unreadCount"], number);
    }
    let current = seen[&0];
    assert!((10..32).contains(&current), "{seen:?}");
    assert!(
        seen.keys().all(|lag| (0..=40).contains(lag)) && seen.len() > 4,
        "{seen:?}"
    );
}
