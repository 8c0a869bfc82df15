//! Envelopes of pages that do not say what is so, and what follows another field than `updatedAt`.

use super::*;

const LISTS: [&str; 3] = ["/chat/v1/session", "/chat/v2/session", "/core/v1/contact"];

#[tokio::test]
async fn totals_can_say_less_than_the_pages_show() {
    let asked = Asked::of_size(300).await;
    let right = {
        let page = asked.get("/core/v1/contact").await;
        page.body["totalItems"].as_u64().unwrap()
    };
    for path in LISTS {
        let total = if path.contains("contact") { right } else { 300 };
        for (totals, items, pages, more) in [
            (
                Totals::Right,
                Some(total),
                Some(total.div_ceil(20)),
                Some(true),
            ),
            (Totals::Capped(40), Some(40), Some(2), Some(false)),
            (
                Totals::Short(u32::try_from(total - 41).unwrap()),
                Some(41),
                Some(3),
                Some(true),
            ),
            (Totals::Short(1_000), Some(0), Some(0), Some(false)),
            (
                Totals::ItemsCapped(40),
                Some(40),
                Some(total.div_ceil(20)),
                Some(true),
            ),
            (Totals::PagesCapped(40), Some(total), Some(2), Some(false)),
            (
                Totals::NoMore,
                Some(total),
                Some(total.div_ceil(20)),
                Some(false),
            ),
            (Totals::Uncounted, None, None, Some(true)),
            (Totals::Absent, None, None, None),
        ] {
            asked.sandbox.account().moods.totals = totals;
            let page = asked.get(&format!("{path}?PageSize=20&PageNumber=2")).await;
            let told = (
                page.body.get("totalItems").and_then(Value::as_u64),
                page.body.get("totalPages").and_then(Value::as_u64),
                page.body.get("hasMorePages").and_then(Value::as_bool),
            );
            assert_eq!(told, (items, pages, more), "{path} {totals:?}");
            assert_eq!(page.items().len(), 20, "{path} {totals:?}");
            // What is shown stays as it is, also where no page should be.
            let beyond = asked.get(&format!("{path}?PageSize=20&PageNumber=4")).await;
            assert_eq!(beyond.items().len(), 20, "{path} {totals:?}");
        }
    }
}

#[tokio::test]
async fn a_page_number_that_is_ignored_is_repeated_or_not() {
    let asked = Asked::of_size(60).await;
    let path = "/chat/v2/session?PageSize=20";
    let first = asked.get(path).await;
    for (echo_sent, no_echo, number) in [
        (false, false, Some(1)),
        (true, false, Some(3)),
        (false, true, None),
    ] {
        asked.sandbox.account().moods = Moods {
            ignore_page_number: true,
            echo_sent,
            no_echo,
            ..Moods::default()
        };
        let third = asked.get(&format!("{path}&PageNumber=3")).await;
        assert_eq!(third.ids(), first.ids());
        let shown = third.body.get("pageNumber").and_then(Value::as_u64);
        assert_eq!(shown, number);
        assert_eq!(third.body.get("pageSize").is_some(), !no_echo);
        assert_eq!(third.body["hasMorePages"], true);
        asked.sandbox.account().moods.ignore_page_number = false;
        let third = asked.get(&format!("{path}&PageNumber=3")).await;
        assert_ne!(third.ids(), first.ids());
        let shown = third.body.get("pageNumber").and_then(Value::as_u64);
        assert_eq!(shown, number.map(|_| 3));
    }
}

#[tokio::test]
async fn an_order_is_repeated_where_it_was_recognised() {
    let asked = Asked::of_size(20).await;
    let order = async |query: &str| {
        let body = asked.get(&format!("/chat/v2/session?{query}")).await.body;
        (body["orderBy"].clone(), body["orderDirection"].clone())
    };
    let sent = |by: &str, direction: &str| (by.into(), direction.into());
    let nothing = (Value::Null, Value::Null);
    let query = "OrderBy=UpdatedAt&OrderDirection=ASCENDING";
    assert_eq!(order(query).await, sent("UpdatedAt", "ASCENDING"));
    for ignored in ["OrderBy=Colour", "OrderDirection=DESCENDING", "x=y"] {
        assert_eq!(order(ignored).await, nothing, "{ignored}");
    }
    asked.sandbox.account().moods.ignore_order = true;
    assert_eq!(order(query).await, nothing);
    asked.sandbox.account().moods.echo_sent = true;
    assert_eq!(order(query).await, sent("UpdatedAt", "ASCENDING"));
    asked.sandbox.account().moods.no_echo = true;
    asked.sandbox.account().moods.ignore_order = false;
    let page = asked.get(&format!("/chat/v2/session?{query}")).await;
    assert!(page.body.get("orderBy").is_none() && page.body.get("pageNumber").is_none());
    assert!(
        page.items()
            .is_sorted_by_key(|item| ticks(&item["updatedAt"]))
    );
}

#[tokio::test]
async fn a_silent_message_moves_the_last_interaction_alone() {
    let moods = Moods {
        silent_messages: true,
        ..Moods::default()
    };
    let asked = Asked::in_mood(120, moods).await;
    let ids = asked.sandbox.account().session_ids();
    let before: Vec<_> = {
        let mut account = asked.sandbox.account();
        let ids = [ids[3], ids[50], ids[80]];
        ids.map(|id| account.session(id).unwrap()).into()
    };
    for session in &before {
        asked.clock.advance(seconds(60));
        let said = |session: &mut Session| {
            session.last_message_in = Some(session.updated_at);
            session.last_interaction = Some(session.updated_at);
            session.last_message_text = Some("Alô?".into());
            session.unread_count += 1;
        };
        assert!(asked.sandbox.account().update_session(session.id, said));
    }
    for old in &before {
        let shown = asked
            .get(&format!("/chat/v2/session/{}", old.id))
            .await
            .body;
        assert_eq!(ticks(&shown["updatedAt"]), old.updated_at);
        assert_eq!(shown["lastMessageText"], "Alô?");
        assert!(ticks(&shown["lastInteractionDate"]).timestamp() > noon());
        let path = format!("/chat/v1/session/{}/message?x=y", old.id);
        let last = asked.all(&path).await.pop().unwrap();
        assert_eq!(last["text"], "Alô?");
        assert_eq!(last["createdAt"], shown["lastMessageIn"]);
    }
    // By updatedAt nothing happened; by the other field everything shows, oldest first.
    let since = format!("{}", Ticks::from(noon()));
    let changed = asked
        .all(&format!("/chat/v1/session?UpdatedAt.After={since}"))
        .await;
    assert!(changed.is_empty());
    for version in ["v1", "v2"] {
        let query = format!("LastInteractionAt.After={since}&OrderBy=LastInteractionAt");
        let said = asked.get(&format!("/chat/{version}/session?{query}")).await;
        let expected: Vec<String> = before
            .iter()
            .map(|session| session.id.to_string())
            .collect();
        assert_eq!(said.ids(), expected);
        assert_eq!(said.body["orderBy"], "LastInteractionAt");
        let until = asked
            .get(&format!(
                "/chat/{version}/session?LastInteractionAt.Before={since}"
            ))
            .await;
        assert_eq!(until.body["totalItems"], 117);
    }
    // Anything else moves it, and so does what is touched without any change.
    let id = before[0].id;
    let mut account = asked.sandbox.account();
    account.update_session(id, |session| {
        session.unread_count = 0;
        session.status = Status::Pending;
    });
    assert!(account.session(id).unwrap().updated_at.timestamp() > noon());
    let id = before[1].id;
    account.update_session(id, |_| ());
    assert!(account.session(id).unwrap().updated_at.timestamp() > noon());
    // A living account has such sessions, too.
    let mut ahead = std::collections::BTreeSet::new();
    for _ in 0..60 {
        asked.clock.advance(seconds(60));
        account.live_step(5);
        let late = account.truth_sessions().into_iter().filter(|item| {
            ticks(&item["lastInteractionDate"]) > ticks(&item["updatedAt"]) + seconds(10)
        });
        ahead.extend(late.map(|item| item["id"].to_string()));
    }
    assert!(ahead.len() > 5, "{ahead:?}");
}
