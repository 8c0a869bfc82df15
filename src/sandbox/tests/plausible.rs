//! Records that agree with each other, and with the calendar.

use super::*;

/// An account of a year that has lived for a while, and what it shows.
async fn lived() -> (Asked, Vec<Value>, Vec<Value>) {
    let asked = Asked::of_size(2_000).await;
    for _ in 0..60 {
        asked.clock.advance(seconds(60));
        asked.sandbox.account().live_step(10);
    }
    let (sessions, contacts) = {
        let mut account = asked.sandbox.account();
        (account.truth_sessions(), account.truth_contacts())
    };
    (asked, sessions, contacts)
}

#[tokio::test]
async fn a_messaging_window_is_open_for_a_day() {
    let asked = Asked::of_size(2_000).await;
    let day = seconds(86_400);
    let mut account = asked.sandbox.account();
    let now = account.now();
    let mut counts = [0; 2];
    for session in account.truth_sessions() {
        let open = ticks(&session["lastMessageIn"]) > now - day;
        let expected = ["EXPIRED", "ACTIVE"][usize::from(open)];
        assert_eq!(session["windowStatus"], expected, "{session}");
        counts[usize::from(open)] += 1;
    }
    assert!(counts[0] > 1_900 && counts[1] > 0, "{counts:?}");
    // Who writes opens it; what else happens later finds it closed.
    drop(account);
    asked.clock.advance(day * 2);
    asked.sandbox.account().live_step(300);
    let mut account = asked.sandbox.account();
    let start = account.now() - seconds(1);
    let moved: Vec<Value> = account
        .truth_sessions()
        .into_iter()
        .filter(|session| ticks(&session["updatedAt"]) > start)
        .collect();
    let shows = |window: &str| {
        moved
            .iter()
            .any(|session| session["windowStatus"] == window)
    };
    assert!(shows("ACTIVE") && shows("EXPIRED"));
    for session in moved {
        let open = ticks(&session["lastMessageIn"]) > start - day;
        let expected = ["EXPIRED", "ACTIVE"][usize::from(open)];
        assert_eq!(session["windowStatus"], expected, "{session}");
    }
}

#[tokio::test]
async fn contacts_can_be_reached_over_the_channels_of_their_sessions() {
    let (_asked, sessions, _) = lived().await;
    let mut seen = std::collections::BTreeMap::new();
    for session in &sessions {
        let channel = session["channelType"].as_str().unwrap();
        *seen.entry(channel).or_insert(0) += 1;
        if session["contactId"].is_null() {
            assert_eq!(session["type"], "GROUP");
            assert!(channel.ends_with("WHATSAPP"), "{session}");
            continue;
        }
        let contact = &session["contactDetails"];
        if channel.ends_with("WHATSAPP") {
            assert!(contact["phonenumber"].is_string(), "{session}");
        }
        if channel == "INSTAGRAM" {
            assert!(contact["instagram"].is_string(), "{session}");
        }
    }
    assert_eq!(seen.len(), 6, "{seen:?}");
    assert!((150..450).contains(&seen["INSTAGRAM"]), "{seen:?}");
}

#[tokio::test]
async fn campaigns_run_in_their_season() {
    let (_asked, sessions, contacts) = lived().await;
    let mut seen = std::collections::BTreeSet::new();
    for record in sessions.iter().chain(&contacts) {
        let Some(campaign) = record["utm"]["campaign"].as_str() else {
            continue;
        };
        seen.insert(campaign.to_owned());
        // In local time.
        let created = ticks(&record["createdAt"]) - seconds(3 * 3_600);
        let month = created.to_string()[5..7].to_owned();
        let months: &[&str] = match campaign {
            "black-friday" => &["11"],
            "dia-das-mães" => &["04", "05"],
            "inverno" => &["06", "07", "08"],
            "volta-às-aulas" => &["01", "02"],
            _ => continue,
        };
        assert!(months.contains(&&*month), "{campaign} in {month}");
    }
    assert_eq!(seen.len(), 8, "{seen:?}");
}

#[tokio::test]
async fn who_classifies_a_session_has_attended_it() {
    let (_asked, sessions, _) = lived().await;
    let start = Ticks::from(noon());
    let mut live = 0;
    for session in &sessions {
        if session["classification"].is_object() {
            assert!(session["userId"].is_string(), "{session}");
            assert!(session["firstResponseAt"].is_string(), "{session}");
            live += usize::from(ticks(&session["updatedAt"]) > start);
        }
        if session["status"] == "IN_PROGRESS" {
            assert!(session["userId"].is_string(), "{session}");
            assert!(session["firstResponseAt"].is_string(), "{session}");
        }
    }
    assert!(live > 20, "{live}");
}
