//! Each open question of the API notes, answered both ways.

use super::*;

/// A sandbox with three sessions at .0000000, .0000005 and .0000010 of one second.
async fn three(moods: Moods) -> (Asked, Ticks) {
    let asked = Asked::start(SandboxConfig {
        moods,
        ..SandboxConfig::of_size(0)
    })
    .await;
    let base = Ticks::parse("2026-05-04T12:00:00Z").unwrap();
    {
        let mut account = asked.sandbox.account();
        for step in [0, 5, 10] {
            let mut session = account.draft_session();
            session.created_at = Ticks(base.0 + step);
            session.updated_at = session.created_at;
            account.insert_session(session);
        }
    }
    (asked, base)
}

async fn total(asked: &Asked, query: &str) -> u64 {
    asked.get(&format!("/chat/v1/session?{query}")).await.body["totalItems"]
        .as_u64()
        .unwrap()
}

#[tokio::test]
async fn the_ends_of_a_window_belong_to_it_or_not() {
    for (after_inclusive, before_inclusive, expected) in [
        (false, false, 1),
        (true, false, 2),
        (false, true, 2),
        (true, true, 3),
    ] {
        let moods = Moods {
            after_inclusive,
            before_inclusive,
            ..Moods::default()
        };
        let (asked, base) = three(moods).await;
        let window = format!(
            "UpdatedAt.After={base}&UpdatedAt.Before={}",
            Ticks(base.0 + 10)
        );
        assert_eq!(
            total(&asked, &window).await,
            expected,
            "{after_inclusive} {before_inclusive}"
        );
        assert_eq!(
            total(&asked, &window.replace("Updated", "Created")).await,
            expected
        );
    }
}

#[tokio::test]
async fn filters_compare_at_the_precision_of_the_mood() {
    let at = |precision| Moods {
        precision,
        ..Moods::default()
    };
    let (asked, base) = three(at(Precision::Ticks)).await;
    assert_eq!(total(&asked, &format!("UpdatedAt.After={base}")).await, 2);
    let (asked, _) = three(at(Precision::Micros)).await;
    assert_eq!(total(&asked, &format!("UpdatedAt.After={base}")).await, 1);
    assert_eq!(
        total(&asked, &format!("UpdatedAt.After={}", Ticks(base.0 - 1))).await,
        3
    );
    let (asked, _) = three(at(Precision::Millis)).await;
    assert_eq!(total(&asked, &format!("UpdatedAt.After={base}")).await, 0);
    assert_eq!(
        total(&asked, &format!("UpdatedAt.Before={}", Ticks(base.0 + 10))).await,
        0
    );
}

#[tokio::test]
async fn an_ignored_order_is_that_of_creation() {
    let moods = Moods {
        ignore_order: true,
        ..Moods::default()
    };
    let asked = Asked::start(SandboxConfig {
        moods,
        ..SandboxConfig::of_size(50)
    })
    .await;
    asked.sandbox.account().live_step(20);
    for query in [
        "OrderBy=UpdatedAt&OrderDirection=DESCENDING",
        "OrderBy=UpdatedAt",
        "x=y",
    ] {
        let items = asked.all(&format!("/chat/v1/session?{query}")).await;
        assert!(
            items.is_sorted_by_key(|item| ticks(&item["createdAt"])),
            "{query}"
        );
    }
}

#[tokio::test]
async fn an_ignored_filter_lets_the_whole_base_through() {
    let (asked, _) = three(Moods::default()).await;
    let future = "2030-01-01T00:00:00Z";
    assert_eq!(total(&asked, &format!("UpdatedAt.After={future}")).await, 0);
    asked.sandbox.account().moods.ignore_updated_filter = true;
    assert_eq!(total(&asked, &format!("UpdatedAt.After={future}")).await, 3);
    assert_eq!(total(&asked, &format!("CreatedAt.After={future}")).await, 0);
    asked.sandbox.account().moods.ignore_created_filter = true;
    assert_eq!(total(&asked, &format!("CreatedAt.After={future}")).await, 3);
}

#[tokio::test]
async fn the_first_version_can_be_withdrawn_and_the_token_scoped() {
    let asked = Asked::of_size(5).await;
    for status in [401, 404, 410] {
        asked.sandbox.account().moods.v1_withdrawn = Some(status);
        assert_eq!(asked.get("/chat/v1/session").await.status, status);
        assert_eq!(asked.get("/chat/v2/session").await.status, 200);
    }
    asked.sandbox.account().moods.refused = vec!["/chat/".to_owned()];
    assert_eq!(asked.get("/chat/v2/session").await.status, 401);
    assert_eq!(asked.get("/chat/v1/channel").await.status, 401);
    assert_eq!(asked.get("/core/v1/tag").await.status, 200);
}

#[tokio::test]
async fn the_second_version_can_be_withdrawn_and_the_first_hide_groups() {
    let asked = Asked::of_size(300).await;
    let total = async |version: u8, query: &str| {
        let got = asked
            .get(&format!("/chat/v{version}/session?{query}"))
            .await;
        got.body["totalItems"].as_u64().unwrap()
    };
    let groups = total(2, "Type=GROUP").await;
    assert!(groups > 0);
    assert_eq!((total(1, "").await, total(2, "").await), (300, 300));
    asked.sandbox.account().moods.v1_hides_groups = true;
    assert_eq!(
        (total(1, "").await, total(2, "").await),
        (300 - groups, 300)
    );
    let shown = asked.all("/chat/v1/session?OrderBy=UpdatedAt").await;
    assert_eq!(shown.len() as u64, 300 - groups);
    for status in [401, 404, 410] {
        asked.sandbox.account().moods.v2_withdrawn = Some(status);
        assert_eq!(asked.get("/chat/v2/session").await.status, status);
        assert_eq!(asked.get("/chat/v1/session").await.status, 200);
        let id = asked.sandbox.account().session_ids()[0];
        assert_eq!(
            asked.get(&format!("/chat/v2/session/{id}")).await.status,
            200
        );
    }
}

#[tokio::test]
async fn what_is_ignored_is_not_repeated_and_maybe_nothing_is() {
    let asked = Asked::of_size(60).await;
    let query =
        "/chat/v2/session?PageNumber=2&PageSize=20&OrderBy=UpdatedAt&OrderDirection=ASCENDING";
    let members = ["pageNumber", "pageSize", "orderBy", "orderDirection"];
    let got = asked.get(query).await.body;
    let said = members.map(|name| got[name].to_string());
    assert_eq!(said, ["2", "20", "\"UpdatedAt\"", "\"ASCENDING\""]);
    asked.sandbox.account().moods.ignore_order = true;
    let got = asked.get(query).await.body;
    assert_eq!(
        members.map(|name| got[name].to_string())[2..],
        ["null", "null"]
    );
    asked.sandbox.account().moods.ignore_page_number = true;
    let first = asked.get(query).await.body;
    assert_eq!(first["pageNumber"], 1);
    assert_ne!(first["items"][0]["id"], got["items"][0]["id"]);
    asked.sandbox.account().moods.no_echo = true;
    let silent = asked.get(query).await.body;
    assert!(members.iter().all(|name| silent.get(name).is_none()));
    assert_eq!(silent["items"], first["items"]);
}

#[tokio::test]
async fn the_servers_clock_is_the_clock_and_its_skew() {
    let asked = Asked::of_size(1).await;
    let date = |got: &Got| got.headers["date"].to_str().unwrap().to_owned();
    assert_eq!(
        date(&asked.get("/core/v1/tag").await),
        "Mon, 04 May 2026 15:00:00 GMT"
    );
    asked.clock.advance(seconds(90));
    assert_eq!(
        date(&asked.get("/core/v1/tag").await),
        "Mon, 04 May 2026 15:01:30 GMT"
    );
    asked.sandbox.account().moods.skew_micros = -3_600_000_000;
    assert_eq!(
        date(&asked.get("/core/v1/tag").await),
        "Mon, 04 May 2026 14:01:30 GMT"
    );
    let id = asked.sandbox.account().session_ids()[0];
    asked.sandbox.account().update_session(id, |_| ());
    let session = asked.sandbox.account().session(id).unwrap();
    assert_eq!(session.updated_at.to_string(), "2026-05-04T14:01:30Z");
    let seen = asked.sandbox.requests();
    assert_eq!(seen[2].at, noon() + seconds(90));
}

#[tokio::test]
async fn latency_passes_on_the_clock() {
    let asked = Asked::of_size(1).await;
    asked.sandbox.account().moods.latency = seconds(3);
    asked.get("/core/v1/tag").await;
    assert_eq!(asked.clock.now(), noon() + seconds(3));
}

#[tokio::test]
async fn null_fields_are_partly_left_out_and_always_the_same() {
    let moods = Moods {
        absent_share: 0.5,
        ..Moods::default()
    };
    let asked = Asked::start(SandboxConfig {
        moods,
        ..SandboxConfig::of_size(60)
    })
    .await;
    let page = asked.get("/chat/v1/session?PageSize=60").await;
    let with = |key: &str| {
        page.items()
            .iter()
            .filter(|item| item.get(key).is_some())
            .count()
    };
    assert!((10..50).contains(&with("title")), "{}", with("title"));
    assert_eq!(with("updatedAt"), 60);
    assert_eq!(
        asked.get("/chat/v1/session?PageSize=60").await.body,
        page.body
    );
    assert!(
        asked.sandbox.account().truth_sessions()[0]
            .get("title")
            .is_some()
    );
}

#[tokio::test]
async fn extra_fields_appear_everywhere() {
    let moods = Moods {
        extra_fields: true,
        ..Moods::default()
    };
    let asked = Asked::start(SandboxConfig {
        moods,
        ..SandboxConfig::of_size(20)
    })
    .await;
    for path in ["/chat/v1/session", "/core/v1/contact"] {
        assert!(
            asked.get(path).await.items()[0]["vendorBeta"].is_object(),
            "{path}"
        );
    }
    assert!(asked.get("/core/v1/tag").await.body[0]["scope"].is_string());
}

#[tokio::test]
async fn every_poison_shows_until_healed() {
    let asked = Asked::of_size(20).await;
    let ids = asked.sandbox.account().session_ids();
    let contacts = asked.sandbox.account().contact_ids();
    let path = format!("/chat/v2/session?PageSize=20&{DETAILS}");
    let healthy = asked.get(&path).await.body;
    let unseen = [Poison::Hidden, Poison::Ghost];
    let kinds = Poison::ALL.into_iter().chain(Poison::STAMPS);
    for kind in kinds.chain(unseen).chain([Poison::Undated]) {
        asked.sandbox.account().poison(ids[3], kind);
        asked.sandbox.account().poison(contacts[1], kind);
        let page = asked.get(&path).await;
        let item = &page.items()[3];
        match kind {
            Poison::BrokenId => assert_eq!(item["id"], "not-a-uuid"),
            Poison::NoId => assert!(item.get("id").is_none()),
            Poison::NotAnObject => assert!(item.is_string()),
            Poison::WrongType => assert!(item["unreadCount"].is_string()),
            Poison::Nul => assert!(item["lastMessageText"].as_str().unwrap().contains('\0')),
            Poison::Megabyte => {
                assert!(item["lastMessageText"].as_str().unwrap().len() > 1_000_000);
            }
            Poison::UnknownEnum => assert_eq!(item["status"], "ON_HOLD"),
            Poison::DaySpan => assert_eq!(item["timeService"], "1.02:03:04"),
            Poison::NullSpan => assert_eq!(item["timeWait"], "null"),
            Poison::UnequalTags => {
                assert_eq!(
                    item["contactDetails"]["tagsName"].as_array().unwrap().len(),
                    1
                );
            }
            Poison::NullStamp => assert!(item["updatedAt"].is_null()),
            Poison::BrokenStamp => assert!(item["updatedAt"].is_string()),
            Poison::NoStamp => assert!(item.get("updatedAt").is_none()),
            Poison::Undated => assert!(item["createdAt"].is_null()),
            Poison::Hidden | Poison::Ghost => {
                assert_eq!(item["id"], ids[4].to_string());
                assert_eq!(
                    (page.items().len(), &page.body["totalItems"]),
                    (19, &20.into())
                );
            }
        }
        assert_eq!(asked.send("/core/v1/contact").await.unwrap().status(), 200);
        let truth = &asked.sandbox.account().truth_sessions()[3];
        match kind {
            // What the platform shows of it everywhere is its truth.
            Poison::NullStamp | Poison::NoStamp => assert!(truth["updatedAt"].is_null()),
            Poison::Undated => assert!(truth["createdAt"].is_null()),
            Poison::BrokenStamp => assert_eq!(truth["updatedAt"], item["updatedAt"]),
            Poison::Ghost => assert_eq!(*truth, healthy["items"][4]),
            _ => assert_eq!(*truth, healthy["items"][3]),
        }
        asked.sandbox.account().heal(ids[3]);
        asked.sandbox.account().heal(contacts[1]);
        assert_eq!(asked.get(&path).await.body, healthy);
    }
    asked.sandbox.account().moods.poison_share = 0.5;
    let poisoned = ids
        .iter()
        .filter(|id| asked.sandbox.account().poison_of(**id).is_some())
        .count();
    assert!((3..17).contains(&poisoned), "{poisoned}");
}

#[tokio::test]
async fn a_late_change_is_invisible_until_it_is_due() {
    let asked = Asked::of_size(3).await;
    let ids = asked.sandbox.account().session_ids();
    let (late, before) = {
        let mut account = asked.sandbox.account();
        let before = account.session(ids[0]).unwrap();
        let due = account.now() + seconds(45);
        assert!(account.update_session_late(ids[0], due, |session| session.unread_count = 77));
        let fresh = account.draft_session();
        (account.insert_session_late(fresh, due), before)
    };
    asked.clock.advance(seconds(44));
    assert_eq!(total(&asked, "x=y").await, 3);
    assert_eq!(asked.sandbox.account().session(ids[0]).unwrap(), before);
    let committed = asked.sandbox.account().committed_sessions();
    assert_eq!(committed.len(), 4);
    assert!(committed.iter().any(|session| session["unreadCount"] == 77));
    assert_eq!(
        asked.get(&format!("/chat/v2/session/{late}")).await.status,
        404
    );
    asked.clock.advance(seconds(1));
    assert_eq!(total(&asked, "x=y").await, 4);
    let after = asked.sandbox.account().session(ids[0]).unwrap();
    assert_eq!(after.unread_count, 77);
    assert_eq!(after.updated_at.timestamp(), noon());
    let newest = asked
        .get("/chat/v1/session?OrderBy=UpdatedAt&OrderDirection=DESCENDING")
        .await;
    assert_eq!(
        newest.ids()[..2],
        [&*late.to_string(), &*ids[0].to_string()]
    );
}

#[tokio::test]
async fn a_newer_change_that_shows_first_is_not_undone_by_an_older_one() {
    let asked = Asked::of_size(1).await;
    let mut account = asked.sandbox.account();
    let id = account.session_ids()[0];
    let now = account.now();
    account.update_session_late(id, now + seconds(30), |session| session.unread_count = 1);
    account.update_session_late(id, now + seconds(10), |session| session.unread_count += 10);
    asked.clock.advance(seconds(10));
    assert_eq!(account.session(id).unwrap().unread_count, 11);
    asked.clock.advance(seconds(30));
    assert_eq!(account.session(id).unwrap().unread_count, 11);
    account.update_session_late(id, now + seconds(60), |session| session.unread_count = 50);
    account.update_session(id, |session| session.unread_count += 1);
    assert_eq!(account.session(id).unwrap().unread_count, 51);
    asked.clock.advance(seconds(60));
    assert_eq!(account.session(id).unwrap().unread_count, 51);
}

#[tokio::test]
async fn offline_resets_every_connection() {
    let asked = Asked::of_size(1).await;
    asked.sandbox.account().moods.offline = true;
    assert!(asked.send("/core/v1/tag").await.is_err());
    asked.sandbox.account().moods.offline = false;
    assert_eq!(asked.get("/core/v1/tag").await.status, 200);
}

#[tokio::test]
async fn a_share_of_the_records_can_be_counted_and_never_listed() {
    let moods = Moods {
        hidden_share: 0.3,
        ..Moods::default()
    };
    let asked = Asked::start(SandboxConfig {
        moods,
        ..SandboxConfig::of_size(100)
    })
    .await;
    let shown = async |asked: &Asked, path: &str| {
        let page = asked.get(&format!("{path}?PageSize=100")).await;
        let listed = page.items().len() as u64;
        (listed, page.body["totalItems"].as_u64().unwrap())
    };
    for path in ["/chat/v1/session", "/chat/v2/session", "/core/v1/contact"] {
        let (listed, total) = shown(&asked, path).await;
        assert!(
            listed > total / 2 && listed < total * 9 / 10,
            "{path}: {listed} of {total}"
        );
    }
    let (listed, total) = shown(&asked, "/core/v1/contact").await;
    let (_, filtered) = asked
        .post("/core/v1/contact/filter", r#"{"pageSize":100}"#)
        .await;
    assert_eq!(filtered["items"].as_array().unwrap().len() as u64, listed);
    assert_eq!(filtered["totalItems"], total);
    // What is hidden is hidden every time, and can be healed.
    let ids = asked.sandbox.account().session_ids();
    for id in &ids {
        asked.sandbox.account().heal(*id);
    }
    assert_eq!(shown(&asked, "/chat/v2/session").await, (100, 100));
}

#[tokio::test]
async fn every_period_ends_with_an_outage() {
    let asked = Asked::of_size(1).await;
    asked.sandbox.account().moods.outage = Some(Outage {
        lasts: seconds(10),
        every: seconds(60),
    });
    // The server's clock has no part in it.
    asked.sandbox.account().moods.skew_micros = 55_000_000;
    for (wait, answers) in [
        (0, true),
        (49, true),
        (1, false),
        (9, false),
        (1, true),
        (49, true),
        (1, false),
    ] {
        asked.clock.advance(seconds(wait));
        assert_eq!(asked.send("/core/v1/tag").await.is_ok(), answers);
    }
}
