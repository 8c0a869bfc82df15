//! Records that cannot be asked for by their ids, and tokens that are sent in another way.

use super::*;

#[tokio::test]
async fn single_ids_fail_while_lists_show_them() {
    let asked = Asked::of_size(40).await;
    let (session, contact) = {
        let mut account = asked.sandbox.account();
        (account.session_ids()[3], account.contact_ids()[3])
    };
    for (id, path, list) in [
        (session, "/chat/v2/session", "/chat/v2/session?PageSize=100"),
        (contact, "/core/v1/contact", "/core/v1/contact?PageSize=100"),
    ] {
        let one = format!("{path}/{id}");
        let healthy = asked.get(&one).await;
        let listed = asked.get(list).await;
        for fault in IdFault::ALL {
            asked.sandbox.account().fail_id(id, fault);
            let failed = asked.get(&one).await;
            let kind = failed.headers["content-type"].to_str().unwrap().to_owned();
            let told = (failed.status, failed.body["key"].as_str());
            match fault {
                IdFault::Internal => assert_eq!(told, (500, Some("ERROR_INTERNAL"))),
                IdFault::Forbidden => assert_eq!(told, (403, Some("ERROR_FORBIDDEN"))),
                IdFault::Unauthorized => assert_eq!(told, (401, Some("ERROR_UNAUTHORIZED"))),
                IdFault::Gateway => assert_eq!((failed.status, &*kind), (403, "text/html")),
            }
            assert_eq!(asked.get(list).await.body, listed.body, "{fault:?}");
        }
        let other = listed.ids()[6];
        assert_eq!(asked.get(&format!("{path}/{other}")).await.status, 200);
        asked.sandbox.account().mend_id(id);
        assert_eq!(asked.get(&one).await.body, healthy.body);
    }
    asked.sandbox.account().moods.failing_share = 0.4;
    let ids = asked.sandbox.account().session_ids();
    let mut seen = std::collections::BTreeSet::new();
    for id in &ids {
        let status = asked.get(&format!("/chat/v2/session/{id}")).await.status;
        assert_eq!(
            status != 200,
            asked.sandbox.account().id_fault(*id).is_some()
        );
        seen.insert(status);
        asked.sandbox.account().mend_id(*id);
        assert_eq!(
            asked.get(&format!("/chat/v2/session/{id}")).await.status,
            200
        );
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [200, 401, 403, 500]);
}

#[tokio::test]
async fn questions_by_id_can_be_withdrawn_and_404_hide_behind_401() {
    let asked = Asked::of_size(20).await;
    let session = asked.sandbox.account().session_ids()[3];
    let contact = asked.sandbox.account().contact_ids()[3];
    let gone = uuid::Uuid::from_u128(7);
    let paths = [
        format!("/chat/v2/session/{session}"),
        format!("/core/v1/contact/{contact}"),
    ];
    let missing = [
        format!("/chat/v2/session/{gone}"),
        format!("/core/v1/contact/{gone}"),
    ];
    asked.sandbox.account().moods.by_id_withdrawn = true;
    for path in paths.iter().chain(&missing) {
        assert_eq!(asked.get(path).await.status, 404, "{path}");
    }
    assert_eq!(asked.get("/chat/v2/session").await.status, 200);
    assert_eq!(asked.get("/core/v1/webhook/subscription").await.status, 200);
    asked.sandbox.account().moods.masked_not_found = true;
    for path in paths.iter().chain(&missing) {
        let got = asked.get(path).await;
        assert_eq!(
            (got.status, &got.body["httpStatusCode"]),
            (401, &404.into()),
            "{path}"
        );
    }
    asked.sandbox.account().moods.by_id_withdrawn = false;
    for (path, missing) in paths.iter().zip(&missing) {
        assert_eq!(asked.get(path).await.status, 200, "{path}");
        let got = asked.get(missing).await;
        assert_eq!(
            (got.status, &got.body["httpStatusCode"]),
            (401, &404.into()),
            "{path}"
        );
    }
    // What tells a wrong path from a bad token.
    let wrong = asked.get("/chat/v9/session").await;
    assert_eq!(
        (wrong.status, &wrong.body["httpStatusCode"]),
        (401, &404.into())
    );
    asked.sandbox.account().moods.refused = vec!["/chat/".to_owned()];
    let refused = asked.get("/chat/v2/session").await;
    assert_eq!(
        (refused.status, &refused.body["httpStatusCode"]),
        (401, &401.into())
    );
}

#[tokio::test]
async fn the_token_is_taken_with_the_word_or_without_it() {
    let asked = Asked::of_size(1).await;
    let token = asked.sandbox.token().to_owned();
    for (bare_token, with, without) in [(false, 200, 401), (true, 401, 200)] {
        asked.sandbox.account().moods.bare_token = bare_token;
        for (header, expected) in [
            (format!("Bearer {token}"), with),
            (token.clone(), without),
            ("Bearer wrong".to_owned(), 401),
            ("wrong".to_owned(), 401),
        ] {
            for path in ["/core/v1/tag", "/chat/v2/session"] {
                let url = format!("{}{path}", asked.sandbox.base_url());
                let request = asked.http.get(url).header("Authorization", &header);
                let status = request.send().await.unwrap().status().as_u16();
                assert_eq!(status, expected, "{bare_token} {header}");
            }
        }
    }
}
