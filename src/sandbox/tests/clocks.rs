//! Clocks that disagree: of the servers that stamp records, and of the `Date` header.

use super::*;

#[tokio::test]
async fn a_second_server_stamps_what_it_changes_by_a_clock_that_is_behind() {
    let moods = Moods {
        behind_share: 0.5,
        ..Moods::default()
    };
    let asked = Asked::in_mood(30, moods).await;
    let mut account = asked.sandbox.account();
    let id = account.session_ids()[4];
    let (mut before, mut back, mut on) = (account.now(), 0, 0);
    for number in 0..40 {
        asked.clock.advance(Duration::from_millis(20));
        account.update_session(id, |session| session.unread_count = number);
        let session = account.session(id).unwrap();
        assert_eq!(session.unread_count, number);
        let behind = account.now().0 - session.updated_at.0;
        assert!([0, 2_000_000].contains(&behind), "{behind}");
        if session.updated_at < before {
            back += 1;
        } else {
            on += 1;
        }
        before = session.updated_at;
    }
    assert!(back > 5 && on > 8, "{back} {on}");
    // What is new is stamped by either, too.
    let drafts: Vec<Ticks> = (0..20)
        .map(|_| account.draft_session().updated_at)
        .collect();
    let late = drafts.iter().filter(|at| **at < account.now()).count();
    assert!((3..17).contains(&late), "{late}");
}

#[tokio::test]
async fn the_newest_content_can_carry_an_older_stamp() {
    let asked = Asked::of_size(40).await;
    let (session, contact, tag) = {
        let mut account = asked.sandbox.account();
        (
            account.session_ids()[7],
            account.contact_ids()[5],
            account.tags()[3],
        )
    };
    let stamps = |account: &mut SandboxAccount| {
        let tags = account.truth_tags();
        let tag = tags.iter().find(|shown| shown["id"] == tag.to_string());
        (
            account.session(session).unwrap().updated_at,
            account.contact(contact).unwrap().updated_at,
            ticks(&tag.unwrap()["updatedAt"]),
        )
    };
    let before = stamps(&mut asked.sandbox.account());
    let by = Duration::from_millis(200);
    {
        let mut account = asked.sandbox.account();
        assert!(account.update_session_behind(session, by, |session| session.unread_count = 9));
        assert!(account.update_contact_behind(contact, by, |contact| {
            contact.annotation = Some("nova".into());
        }));
        assert!(account.rename_tag(tag, "Nova") && account.date_tag(tag, before.2 - by));
        assert!(!account.update_session_behind(uuid::Uuid::nil(), by, |_| ()));
        assert!(!account.date_tag(uuid::Uuid::nil(), before.2));
    }
    let after = stamps(&mut asked.sandbox.account());
    let expected = (before.0 - by, before.1 - by, before.2 - by);
    assert_eq!(after, expected);
    let shown = asked.get(&format!("/chat/v2/session/{session}")).await.body;
    assert_eq!(shown["unreadCount"], 9);
    assert_eq!(ticks(&shown["updatedAt"]), after.0);
    let shown = asked.get(&format!("/core/v1/contact/{contact}")).await.body;
    assert_eq!(shown["annotation"], "nova");
    assert_eq!(ticks(&shown["updatedAt"]), after.1);
    let listed = asked.all("/chat/v2/session?OrderBy=UpdatedAt").await;
    assert!(listed.is_sorted_by_key(|item| ticks(&item["updatedAt"])));
}

#[tokio::test]
async fn a_stamp_can_lie_in_the_future() {
    let asked = Asked::of_size(40).await;
    let future = Ticks::from(noon() + seconds(86_400));
    let contact = asked.sandbox.account().contact_ids()[5];
    let contact_status = asked.sandbox.account().contact(contact).unwrap().status;
    {
        let mut account = asked.sandbox.account();
        let (session, tag) = (account.session_ids()[7], account.tags()[3]);
        let before = account.session(session).unwrap();
        assert!(account.date_session(session, future));
        assert!(account.date_contact(contact, future) && account.date_tag(tag, future));
        let mut after = account.session(session).unwrap();
        assert_eq!(after.updated_at, future);
        after.updated_at = before.updated_at;
        assert_eq!(after, before);
        // It is no clock: what changes afterwards is stamped now.
        account.update_session(session, |session| session.unread_count = 3);
        assert_eq!(
            account.session(session).unwrap().updated_at.timestamp(),
            noon()
        );
    }
    let status = contact_status.as_str();
    let query = format!("Status={status}&UpdatedAt.After={}", Ticks(future.0 - 1));
    let found = asked.get(&format!("/core/v1/contact?{query}")).await;
    assert_eq!(found.ids(), [contact.to_string()]);
    let tags = asked.get("/core/v1/tag").await.body;
    let dates: Vec<Ticks> = tags
        .as_array()
        .unwrap()
        .iter()
        .map(|tag| ticks(&tag["updatedAt"]))
        .collect();
    assert!(dates.contains(&future));
}

#[tokio::test]
async fn the_date_header_can_be_wrong_or_missing() {
    let asked = Asked::of_size(1).await;
    let date = async || {
        let got = asked.get("/core/v1/tag").await;
        assert_eq!(got.body.as_array().unwrap().len(), 20);
        let date = got.headers.get("date")?.to_str().unwrap().to_owned();
        Some(date)
    };
    assert_eq!(date().await.unwrap(), "Mon, 04 May 2026 15:00:00 GMT");
    asked.sandbox.account().moods.date_micros = 600_000_000;
    assert_eq!(date().await.unwrap(), "Mon, 04 May 2026 15:10:00 GMT");
    asked.sandbox.account().moods.date_micros = -600_000_000;
    assert_eq!(date().await.unwrap(), "Mon, 04 May 2026 14:50:00 GMT");
    asked.sandbox.account().moods.jumping_date = true;
    let mut dates = std::collections::BTreeSet::new();
    for _ in 0..20 {
        dates.insert(date().await.unwrap());
    }
    assert!(dates.len() > 10, "{dates:?}");
    let first = "Mon, 04 May 2026 14:50:00 GMT";
    let last = "Mon, 04 May 2026 15:10:00 GMT";
    assert!(
        dates.iter().all(|date| (first..=last).contains(&&**date)),
        "{dates:?}"
    );
    assert!(dates.iter().any(|date| date.contains(" 14:")));
    assert!(dates.iter().any(|date| date.contains(" 15:")));
    asked.sandbox.account().moods.no_date = true;
    for _ in 0..3 {
        assert_eq!(date().await, None);
    }
    asked.sandbox.account().moods.no_date = false;
    asked.sandbox.account().moods.garbage_date = true;
    let garbage = date().await.unwrap();
    assert!(httpdate::parse_http_date(&garbage).is_err(), "{garbage}");
    asked.sandbox.account().moods.garbage_date = false;
    assert!(date().await.is_some());
}
