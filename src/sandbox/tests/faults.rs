//! What goes wrong on the way: refusals, limits, scripts and chance.

use super::*;

#[tokio::test]
async fn the_token_the_prefix_and_the_route_are_refused_as_the_platform_does() {
    let asked = Asked::of_size(1).await;
    let url = format!("{}/core/v1/tag", asked.sandbox.base_url());
    for header in [
        None,
        Some("pn_sandbox"),
        Some("Bearer wrong"),
        Some("Bearer "),
    ] {
        let mut request = asked.http.get(&url);
        if let Some(header) = header {
            request = request.header("Authorization", header);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 401, "{header:?}");
        let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert_eq!(body["key"], "ERROR_UNAUTHORIZED");
        assert_eq!(body["error"], true);
    }
    let prefixless = asked.get("/v1/channel").await;
    assert_eq!(prefixless.status, 400);
    assert_eq!(prefixless.body["title"], "Bad Request");
    for path in [
        "/chat/v3/session",
        "/core/v1/nothing",
        "/chat/v1/session/extra/path/more",
    ] {
        assert_eq!(asked.get(path).await.status, 401, "{path}");
    }
    let missing = asked
        .get("/chat/v2/session/00000000-0000-4000-8000-000000000000")
        .await;
    assert_eq!(missing.status, 404);
    assert_eq!(missing.body["httpStatusCode"], "NotFound");
}

#[tokio::test]
async fn too_many_requests_are_refused_until_the_window_has_moved() {
    let limits = RequestLimit::documented();
    let asked = Asked::start(SandboxConfig {
        limits,
        ..SandboxConfig::of_size(1)
    })
    .await;
    for _ in 0..200 {
        assert_eq!(asked.get("/core/v1/tag").await.status, 200);
    }
    let refused = asked.get("/core/v1/tag").await;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.body["title"], "Too Many Requests");
    assert!(refused.headers.get("retry-after").is_none());
    asked.sandbox.account().faults.retry_after = RetryAfter::Seconds;
    assert_eq!(asked.get("/core/v1/tag").await.headers["retry-after"], "5");
    asked.sandbox.account().faults.retry_after = RetryAfter::Date;
    let date = &asked.get("/core/v1/tag").await.headers["retry-after"];
    assert_eq!(date, "Mon, 04 May 2026 15:00:06 GMT");
    asked.clock.advance(seconds(5));
    assert_eq!(asked.get("/core/v1/tag").await.status, 200);
}

#[tokio::test]
async fn a_script_happens_in_order_and_then_all_is_well() {
    let asked = Asked::of_size(40).await;
    asked.sandbox.script([
        Fault::TooMany(Some("7".to_owned())),
        Fault::Internal,
        Fault::None,
        Fault::BadGateway,
        Fault::Unavailable,
        Fault::ErrorTrue,
        Fault::Unauthorized,
        Fault::Reply(418, "{\"a\":1}".to_owned()),
        Fault::Html,
        Fault::Forbidden,
    ]);
    let mut statuses = Vec::new();
    for _ in 0..11 {
        let got = asked.get("/chat/v1/session?PageSize=40").await;
        statuses.push(got.status);
        match statuses.len() {
            1 => assert_eq!(got.headers["retry-after"], "7"),
            3 | 11 => assert_eq!(got.items().len(), 40),
            4 | 9 | 10 => assert_eq!(got.headers["content-type"], "text/html"),
            6 => assert_eq!(got.body["error"], true),
            8 => assert_eq!(got.body["a"], 1),
            _ => {}
        }
    }
    assert_eq!(
        statuses,
        [429, 500, 200, 502, 503, 200, 401, 418, 200, 403, 200]
    );
    assert_eq!(asked.sandbox.scripted(), 0);
    let seen = asked.sandbox.requests();
    assert_eq!(seen.iter().map(|seen| seen.items).sum::<usize>(), 80);
    assert_eq!(seen[0].param("PageSize"), Some("40"));
}

#[tokio::test]
async fn bodies_are_cut_connections_reset_and_answers_slow() {
    let asked = Asked::of_size(40).await;
    let path = "/chat/v1/session?PageSize=40";
    asked.sandbox.script([
        Fault::Cut,
        Fault::Reset,
        Fault::Slow(seconds(20)),
        Fault::Late(seconds(9)),
    ]);
    let cut = asked.send(path).await.unwrap();
    assert_eq!(cut.status(), 200);
    assert!(cut.text().await.is_err());
    assert!(asked.send(path).await.is_err());
    assert_eq!(asked.get(path).await.items().len(), 40);
    assert_eq!(asked.clock.now(), noon() + seconds(20));
    assert_eq!(asked.get(path).await.items().len(), 40);
    assert_eq!(asked.clock.now(), noon() + seconds(29));
    let statuses: Vec<u16> = asked
        .sandbox
        .requests()
        .iter()
        .map(|seen| seen.status)
        .collect();
    assert_eq!(statuses, [200, 0, 200, 200]);
}

#[tokio::test]
async fn chance_is_drawn_from_the_seed() {
    let run = async |seed| {
        let faults = FaultRates {
            cut: 0.0,
            reset: 0.0,
            ..FaultRates::all(0.08)
        };
        let config = SandboxConfig {
            seed,
            faults,
            ..SandboxConfig::of_size(1)
        };
        let asked = Asked::start(config).await;
        let mut statuses = Vec::new();
        for _ in 0..150 {
            statuses.push(asked.get("/core/v1/tag").await.status);
        }
        statuses
    };
    let first = run(3).await;
    for status in [200, 429, 500, 502, 503] {
        assert!(first.contains(&status), "{status}");
    }
    assert_eq!(run(3).await, first);
    assert_ne!(run(4).await, first);
}

#[tokio::test]
async fn pages_of_html_and_refusals_of_both_kinds_come_by_chance() {
    let faults = FaultRates {
        html: 0.2,
        unauthorized: 0.2,
        forbidden: 0.2,
        ..FaultRates::default()
    };
    let asked = Asked::start(SandboxConfig {
        faults,
        ..SandboxConfig::of_size(1)
    })
    .await;
    let (mut good, mut html, mut refused, mut forbidden) = (0, 0, 0, 0);
    for _ in 0..100 {
        let got = asked.get("/core/v1/tag").await;
        match got.status {
            200 if got.headers["content-type"] == "text/html" => html += 1,
            200 => good += 1,
            403 => {
                assert_eq!(got.headers["content-type"], "text/html");
                forbidden += 1;
            }
            status => {
                assert_eq!(
                    (status, &got.body["key"]),
                    (401, &"ERROR_UNAUTHORIZED".into())
                );
                refused += 1;
            }
        }
    }
    assert!(
        good > 25 && html > 8 && refused > 8 && forbidden > 8,
        "{good} {html} {refused} {forbidden}"
    );
}

#[tokio::test]
async fn answers_are_compressed_for_those_who_take_it() {
    let config = SandboxConfig {
        gzip: true,
        ..SandboxConfig::of_size(40)
    };
    let asked = Asked::start(config).await;
    let path = "/chat/v1/session?PageSize=40";
    assert_eq!(asked.get(path).await.items().len(), 40);
    let url = format!("{}{path}", asked.sandbox.base_url());
    let plain = reqwest::Client::builder().no_gzip().build().unwrap();
    let request = plain
        .get(url)
        .bearer_auth(asked.sandbox.token())
        .header("Accept-Encoding", "gzip");
    let answer = request.send().await.unwrap();
    assert_eq!(answer.headers()["content-encoding"], "gzip");
    asked.sandbox.script([Fault::Cut]);
    assert!(asked.send(path).await.unwrap().text().await.is_err());
}

#[tokio::test]
async fn a_stopped_sandbox_refuses_connections() {
    let Asked { sandbox, http, .. } = Asked::of_size(1).await;
    let url = format!("{}/core/v1/tag", sandbox.base_url());
    assert!(http.get(&url).send().await.is_ok());
    sandbox.stop().await;
    assert!(http.get(&url).send().await.is_err());
}
