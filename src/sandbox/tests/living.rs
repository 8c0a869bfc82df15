//! Changes: by hand, by hooks, and by themselves.

use super::*;

#[tokio::test]
async fn a_change_moves_a_record_to_the_end_of_the_order() {
    let asked = Asked::of_size(30).await;
    let id = asked.sandbox.account().session_ids()[4];
    assert!(
        asked
            .sandbox
            .account()
            .update_session(id, |session| session.unread_count = 9)
    );
    let order = "/chat/v2/session?OrderBy=UpdatedAt&OrderDirection=ASCENDING";
    let last = asked.all(order).await.pop().unwrap();
    assert_eq!(last["id"], id.to_string());
    assert_eq!(last["unreadCount"], 9);
    assert!(ticks(&last["updatedAt"]).timestamp() >= noon());
    assert!(
        !asked
            .sandbox
            .account()
            .update_session(uuid::Uuid::nil(), |_| ())
    );
}

#[tokio::test]
async fn a_touched_record_changes_in_nothing_but_its_date() {
    let asked = Asked::of_size(200).await;
    let mut account = asked.sandbox.account();
    let ids = account.session_ids();
    let before = account.truth_sessions();
    let at = account.bulk_touch(&ids);
    for (mut old, new) in before.into_iter().zip(account.truth_sessions()) {
        old["updatedAt"] = at.to_string().into();
        assert_eq!(old, new);
    }
    let own = account.draft_session();
    let own = account.insert_session(own);
    let at = account.bulk_touch(&[own, ids[0]]);
    assert_eq!(account.session(own).unwrap().updated_at, at);
    assert_eq!(account.session(ids[0]).unwrap().updated_at, at);
}

#[tokio::test]
async fn a_hook_sees_every_answer_and_changes_the_next() {
    let asked = Asked::of_size(10).await;
    asked.sandbox.on_answer(|account, seen| {
        if seen.items > 0 {
            let id = account.session_ids()[0];
            account.update_session(id, |session| session.unread_count += 1);
        }
    });
    let path = "/chat/v2/session?PageSize=1";
    let first = asked.get(path).await.items()[0]["unreadCount"]
        .as_i64()
        .unwrap();
    let second = asked.get(path).await.items()[0]["unreadCount"]
        .as_i64()
        .unwrap();
    assert_eq!(second, first + 1);
    asked.sandbox.clear_hooks();
    asked.get(path).await;
    assert_eq!(asked.get(path).await.items()[0]["unreadCount"], first + 2);
    assert_eq!(asked.sandbox.take_requests().len(), 4);
    assert!(asked.sandbox.requests().is_empty());
}

#[tokio::test]
async fn what_is_deleted_is_gone_and_what_is_inserted_is_there() {
    let asked = Asked::of_size(10).await;
    let (gone, new, contact) = {
        let mut account = asked.sandbox.account();
        let gone = account.session_ids()[2];
        assert!(account.delete_session(gone) && !account.delete_session(gone));
        let contact = account.draft_contact("Zuleica");
        let contact = account.insert_contact(contact);
        let mut session = account.draft_session();
        session.contact_id = Some(contact);
        (gone, account.insert_session(session), contact)
    };
    assert_eq!(
        asked.get(&format!("/chat/v2/session/{gone}")).await.status,
        404
    );
    let shown = asked
        .get(&format!(
            "/chat/v2/session/{new}?includeDetails=ContactDetails"
        ))
        .await;
    assert_eq!(shown.body["contactDetails"]["name"], "Zuleica");
    asked.sandbox.account().delete_contact(contact);
    let shown = asked
        .get(&format!(
            "/chat/v2/session/{new}?includeDetails=ContactDetails"
        ))
        .await;
    assert!(shown.body["contactDetails"].is_null());
    assert_eq!(shown.body["contactId"], contact.to_string());
    assert_eq!(
        asked
            .get(&format!("/core/v1/contact/{contact}"))
            .await
            .status,
        404
    );
    assert_eq!(asked.all("/chat/v2/session?x=y").await.len(), 10);
}

#[tokio::test]
async fn a_session_may_name_what_does_not_exist() {
    let asked = Asked::of_size(0).await;
    let id = {
        let mut account = asked.sandbox.account();
        let mut session = account.draft_session();
        session.contact_id = Some(account.new_id());
        session.channel_id = account.new_id();
        session.department_id = Some(account.new_id());
        session.user_id = Some(account.new_id());
        account.insert_session(session)
    };
    let shown = asked
        .get(&format!(
            "/chat/v2/session/{id}?{}",
            DETAILS.replace("Include", "include")
        ))
        .await
        .body;
    for field in [
        "contactDetails",
        "channelDetails",
        "departmentDetails",
        "agentDetails",
        "channelType",
    ] {
        assert!(shown[field].is_null(), "{field}");
    }
    let (contact, channel) = (
        shown["contactId"].as_str().unwrap(),
        shown["channelId"].as_str().unwrap(),
    );
    for query in [
        format!("ContactId={contact}"),
        format!("ChannelsId={channel}"),
    ] {
        assert_eq!(
            asked.get(&format!("/chat/v2/session?{query}")).await.body["totalItems"],
            1
        );
    }
    let channels = asked.get("/chat/v1/channel").await.body;
    assert!(
        channels
            .as_array()
            .unwrap()
            .iter()
            .all(|listed| listed["id"] != channel)
    );
}

#[tokio::test]
async fn retagging_shows_in_the_contact_and_in_its_sessions() {
    let asked = Asked::of_size(20).await;
    let sessions = asked.all("/chat/v2/session?x=y").await;
    let session = sessions
        .iter()
        .find(|item| item["contactId"].is_string())
        .unwrap();
    let contact = uuid::Uuid::parse_str(session["contactId"].as_str().unwrap()).unwrap();
    let (tag, other) = {
        let mut account = asked.sandbox.account();
        let tag = account.add_tag("Novo");
        let other = account.tags()[0];
        assert!(account.set_contact_tags(contact, &[tag, other]));
        assert!(account.rename_contact(contact, "Outra"));
        (tag, other)
    };
    let shown = async |asked: &Asked| {
        let path = format!(
            "/chat/v2/session/{}?includeDetails=ContactDetails",
            session["id"].as_str().unwrap()
        );
        asked.get(&path).await.body
    };
    let after = shown(&asked).await;
    assert_eq!(after["contactDetails"]["name"], "Outra");
    assert_eq!(
        after["contactDetails"]["tagsId"].as_array().unwrap().len(),
        2
    );
    assert_eq!(
        after["updatedAt"], session["updatedAt"],
        "a contact's change is not its session's"
    );
    asked.sandbox.account().remove_tag(tag);
    let after = shown(&asked).await;
    assert_eq!(
        after["contactDetails"]["tagsId"],
        serde_json::json!([other.to_string()])
    );
    asked
        .sandbox
        .account()
        .remove_tag_but_keep_it_on_contacts(other);
    assert_eq!(
        shown(&asked).await["contactDetails"]["tagsId"],
        serde_json::json!([other.to_string()])
    );
    let tags = asked.get("/core/v1/tag").await.body;
    assert_eq!(tags.as_array().unwrap().len(), 19);
    asked.sandbox.account().restore_tag(tag);
    assert_eq!(
        shown(&asked).await["contactDetails"]["tagsId"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[tokio::test]
async fn an_account_that_lives_opens_moves_and_closes_sessions() {
    let asked = Asked::of_size(100).await;
    let before = asked.sandbox.account().truth_sessions();
    asked.clock.advance(seconds(60));
    asked.sandbox.account().live_step(600);
    let after = asked.sandbox.account().truth_sessions();
    assert!(after.len() > before.len() + 50, "{}", after.len());
    assert!(asked.sandbox.account().contact_count() > 60);
    let changed = after
        .iter()
        .filter(|item| ticks(&item["updatedAt"]).timestamp() > noon() + seconds(59));
    let statuses: std::collections::BTreeSet<_> =
        changed.map(|item| item["status"].to_string()).collect();
    assert_eq!(statuses.len(), 4, "{statuses:?}");
    let mut dates: Vec<_> = after.iter().map(|item| ticks(&item["updatedAt"])).collect();
    dates.sort_unstable();
    assert!(dates.last().unwrap().timestamp() < noon() + seconds(61));
    assert_eq!(
        asked.all(&format!("/chat/v2/session?{DETAILS}")).await,
        after
    );
}

#[tokio::test]
async fn live_changes_can_be_late() {
    let moods = Moods {
        late_share: 1.0,
        late_max: seconds(30),
        ..Moods::default()
    };
    let asked = Asked::start(SandboxConfig {
        moods,
        ..SandboxConfig::of_size(50)
    })
    .await;
    let before = asked.sandbox.account().truth_sessions();
    asked.sandbox.account().live_step(40);
    asked.clock.advance(seconds(31));
    let mut account = asked.sandbox.account();
    let committed = account.committed_sessions();
    let mut visible = account.truth_sessions();
    assert_ne!(before, visible);
    visible.sort_by_key(|item| item["id"].to_string());
    let mut sorted = committed;
    sorted.sort_by_key(|item| item["id"].to_string());
    assert_eq!(visible, sorted);
}

#[tokio::test]
async fn the_background_changes_come_at_their_rate() {
    let config = SandboxConfig {
        live_rate: 200.0,
        ..SandboxConfig::of_size(50)
    };
    let clock = Arc::new(crate::clock::SystemClock);
    let sandbox = Sandbox::start(config, clock.clone()).await.unwrap();
    let start = sandbox.account().now();
    clock.sleep(Duration::from_millis(300)).await;
    let changed = sandbox
        .account()
        .truth_sessions()
        .iter()
        .filter(|item| ticks(&item["updatedAt"]) > start)
        .count();
    assert!((3..200).contains(&changed), "{changed}");
    sandbox.stop().await;
}

async fn odd(moods: Moods) -> Asked {
    Asked::start(SandboxConfig {
        moods,
        ..SandboxConfig::of_size(300)
    })
    .await
}

#[tokio::test]
async fn a_living_account_deletes_sessions_where_it_is_asked_to() {
    let asked = odd(Moods {
        deletion_share: 1.0,
        ..Moods::default()
    })
    .await;
    let mut account = asked.sandbox.account();
    let before = account.session_ids();
    account.live_step(20);
    let after = account.session_ids();
    assert_eq!(after.len(), 280);
    assert!(after.iter().all(|id| before.contains(id)));
    let gone = before.iter().find(|id| !after.contains(id)).unwrap();
    assert!(account.session(*gone).is_none());
    // Nothing is left to delete in the end, and it goes on living.
    account.live_step(400);
    assert!(account.session_count() < 150, "{}", account.session_count());
}

#[tokio::test]
async fn a_living_account_edits_in_bulk_where_it_is_asked_to() {
    let asked = odd(Moods {
        bulk_share: 1.0,
        ..Moods::default()
    })
    .await;
    let mut account = asked.sandbox.account();
    let before = account.truth_sessions();
    account.live_step(1);
    let after = account.truth_sessions();
    let edited: Vec<&Value> = before
        .iter()
        .zip(&after)
        .filter(|(old, new)| old != new)
        .map(|(_, new)| new)
        .collect();
    assert!(edited.len() >= 2, "{}", edited.len());
    assert!(
        edited
            .iter()
            .all(|new| new["updatedAt"] == edited[0]["updatedAt"])
    );
}

#[tokio::test]
async fn a_living_account_changes_its_lists_where_it_is_asked_to() {
    let asked = odd(Moods {
        list_share: 1.0,
        ..Moods::default()
    })
    .await;
    let mut account = asked.sandbox.account();
    let before = account.truth_sessions();
    let (tags, channels) = (account.tags().len(), account.channels().len());
    let (mut least, mut most) = ((tags, channels), (0, 0));
    for _ in 0..200 {
        account.live_step(1);
        let (tags, channels) = (account.tags().len(), account.channels().len());
        least = (least.0.min(tags), least.1.min(channels));
        most = (most.0.max(tags), most.1.max(channels));
    }
    assert!(least.0 < tags && least.1 < channels, "{least:?}");
    assert!(least.0 > 0 && least.1 > 0, "{least:?}");
    assert!(most.0 > least.0 + 1 && most.1 > least.1 + 1, "{most:?}");
    // No record's date moves by it.
    let dates = |sessions: &[Value]| -> Vec<Value> {
        let dates = sessions.iter().map(|session| session["updatedAt"].clone());
        dates.collect()
    };
    assert_eq!(dates(&account.truth_sessions()), dates(&before));
}
