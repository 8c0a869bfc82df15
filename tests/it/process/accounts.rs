//! Several accounts in one file and one database.

use std::time::Duration;

use helena_sync::sandbox::{Poison, Sandbox, SandboxConfig};

use super::mirror::differences;
use super::program::{Done, Place, TOKEN, account, on_both, sandbox};

pub(super) fn file<const N: usize>(accounts: [(&str, &str); N]) -> String {
    let accounts = accounts.map(|(name, url)| {
        format!("[[accounts]]\nname = \"{name}\"\nbase_url = \"{url}\"\ntoken_env = \"TOKEN_OF_{name}\"\n")
    });
    accounts.join("\n")
}

/// An account of another company than that of [`account`].
pub(super) async fn other_account(sessions: u32) -> Sandbox {
    sandbox(SandboxConfig {
        seed: 2,
        ..SandboxConfig::of_size(sessions)
    })
    .await
}

pub(super) fn with_tokens(place: Place) -> Place {
    place
        .without("HELENA_API_TOKEN")
        .with("TOKEN_OF_north", TOKEN)
        .with("TOKEN_OF_south", TOKEN)
        .with("TOKEN_OF_east", TOKEN)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_accounts_share_a_database_and_nothing_else() {
    on_both(|place| async move {
        let north = account(60).await;
        let south = other_account(90).await;
        let place = with_tokens(place);
        place.write(
            "helena-sync.toml",
            &file([("north", &north.base_url()), ("south", &south.base_url())]),
        );
        place.succeeds(&["sync", "--account", "north"]).await;
        assert!(south.requests().is_empty());
        place.succeeds(&["sync"]).await;
        let database = place.database().await;
        for (name, sandbox) in [("north", &north), ("south", &south)] {
            let differences = differences(&database, sandbox, name).await;
            assert!(differences.is_empty(), "{name}: {differences:#?}");
        }
        database.store.close().await;
        let status = place.succeeds(&["status", "--json"]).await.json();
        assert_eq!(status.as_array().unwrap().len(), 2);
        let told = ["several accounts", "--account", "north, south"];
        place.refuses(&["sessions"], 2, &told).await;
        place
            .refuses(&["state", "reset", "sessions"], 2, &told)
            .await;
        place
            .refuses(&["sync", "--account", "east"], 2, &["east", "north, south"])
            .await;
        place
            .succeeds(&["sessions", "--account", "south"])
            .await
            .says(&["of 90 sessions"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_accounts_that_are_the_same_company_are_refused() {
    on_both(|place| async move {
        let north = account(20).await;
        let place = with_tokens(place);
        place.write(
            "helena-sync.toml",
            &file([("north", &north.base_url()), ("south", &north.base_url())]),
        );
        let told = ["same company as account \"north\"", "remove one of them"];
        place.refuses(&["sync"], 2, &told).await;
        let done = place.refuses(&["check"], 2, &[]).await;
        assert!(
            done.out.contains(told[0]) && done.out.contains("wrong"),
            "{done:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn an_account_without_its_token_says_which_variable() {
    let place = Place::new()
        .without("HELENA_API_TOKEN")
        .with("TOKEN_OF_north", TOKEN);
    place.write(
        "helena-sync.toml",
        &file([
            ("north", "https://a.example"),
            ("south", "https://b.example"),
        ]),
    );
    let told = ["TOKEN_OF_south", "account south", "Integrations > API"];
    place.refuses(&["sync"], 2, &told).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_whose_token_is_refused_does_not_hold_up_the_others() {
    on_both(|place| async move {
        let (north, south) = (account(20).await, other_account(30).await);
        let mut place = with_tokens(place);
        place.set("TOKEN_OF_north", "pn_wrong");
        let file = file([("north", &north.base_url()), ("south", &south.base_url())]);
        place.write("helena-sync.toml", &file);
        let told = [
            "account north",
            "check the token (TOKEN_OF_north)",
            "was refused with 401",
        ];
        for command in [&["backfill", "--status", "COMPLETED"][..], &["sync"]] {
            let done = place.refuses(command, 1, &told).await;
            assert!(!done.err.contains("account south"), "{done:?}");
        }
        let dry = place.refuses(&["sync", "--dry-run"], 1, &told).await;
        assert!(dry.out.contains("south"), "{dry:?}");
        let dry = place.refuses(&["backfill", "--dry-run"], 1, &told).await;
        assert!(dry.out.contains("30 sessions in"), "{dry:?}");
        let database = place.database().await;
        let differences = differences(&database, &south, "south").await;
        assert!(differences.is_empty(), "{differences:#?}");
        database.store.close().await;
        place.set("TOKEN_OF_south", "pn_wrong");
        let told = ["account north", "account south"];
        place.refuses(&["sync"], 3, &told).await;
        place.refuses(&["backfill"], 3, &told).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_that_could_not_be_read_is_named_with_its_account() {
    let (north, south) = (account(20).await, other_account(30).await);
    let place = with_tokens(Place::new());
    let file = file([("north", &north.base_url()), ("south", &south.base_url())]);
    place.write("helena-sync.toml", &file);
    south.account().moods.refused = vec!["/core/v1/tag".to_owned()];
    place
        .refuses(&["sync"], 1, &["could not read all of tags of south"])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_left_the_configuration_is_shown_and_no_concern_any_more() {
    on_both(|place| async move {
        let (north, south) = (account(20).await, other_account(30).await);
        let mut place = with_tokens(place);
        let both = file([("north", &north.base_url()), ("south", &south.base_url())]);
        place.write("helena-sync.toml", &both);
        place.succeeds(&["sync"]).await;
        let database = place.database().await;
        let old = "update sync_state set last_success_at = '2020-01-01T00:00:00.000000Z' \
                   where account_id = (select id from accounts where name = 'south')";
        database.execute(old).await;
        database.store.close().await;
        let health = ["status", "--max-lag", "1h"];
        place
            .refuses(&health, 1, &["south: sessions was last read"])
            .await;

        place.write("helena-sync.toml", &file([("north", &north.base_url())]));
        // Neither needs a token.
        place.unset("TOKEN_OF_north");
        place.succeeds(&health).await.says(&["up to date"]);
        let status = place.succeeds(&["status"]).await;
        let left = format!(
            "account south at {}/ (not in the configuration)",
            south.base_url()
        );
        assert!(status.out.contains(&left), "{status:?}");
        assert!(
            !status.out.contains(&format!("{}/ (", north.base_url())),
            "{status:?}"
        );
        let status = place
            .succeeds(&["status", "--json", "--max-lag", "1h"])
            .await
            .json();
        let configured: Vec<_> = status
            .as_array()
            .unwrap()
            .iter()
            .map(|account| (account["account"].as_str(), account["configured"].as_bool()))
            .collect();
        assert_eq!(
            configured,
            [(Some("north"), Some(true)), (Some("south"), Some(false))]
        );
        let reset = place.succeeds(&["state", "reset", "sessions"]).await;
        assert!(
            reset.out.starts_with("north sessions: watermark none"),
            "{reset:?}"
        );

        // Whoever asks for it by its name gets it all the same.
        let of_south = ["status", "--max-lag", "1h", "--account", "south"];
        place
            .refuses(&of_south, 1, &["south: sessions was last read"])
            .await;
        place
            .succeeds(&["state", "reset", "contacts", "--account", "south"])
            .await;

        place.write("helena-sync.toml", &file([("east", &north.base_url())]));
        place
            .refuses(&health, 1, &["east: nothing was synced yet"])
            .await;
        let told = [
            "none of the configured accounts (east)",
            "north, south",
            "--account",
        ];
        place
            .refuses(&["state", "reset", "sessions"], 2, &told)
            .await;

        // Without any configuration all of them count.
        place.write("helena-sync.toml", "");
        place
            .refuses(&health, 1, &["south: sessions was last read"])
            .await;
        let told = ["several accounts", "north, south"];
        place
            .refuses(&["state", "reset", "sessions"], 2, &told)
            .await;
    })
    .await;
}

/// Commands that say something about what is stored and what the platform has, and write nothing.
const PROMISES: [&[&str]; 4] = [
    &["verify"],
    &["sync", "--dry-run"],
    &["backfill", "--dry-run"],
    &["sync", "--dry-run", "--full-refresh"],
];

#[tokio::test(flavor = "multi_thread")]
async fn a_company_that_is_stored_under_another_name_is_to_be_named_so() {
    on_both(|place| async move {
        let north = account(20).await;
        let mut place = with_tokens(place);
        place.set("HELENA_API_TOKEN", TOKEN);
        place.set("HELENA_BASE_URL", &north.base_url());
        place.succeeds(&["sync"]).await;
        place.unset("HELENA_API_TOKEN");
        place.write("helena-sync.toml", &file([("north", &north.base_url())]));
        let told = [
            "same company as account \"default\"",
            "rename this account to \"default\" in the configuration",
            "use another database",
        ];
        for command in PROMISES {
            north.take_requests();
            place.refuses(command, 2, &told).await;
            assert_eq!(north.take_requests().len(), 1, "{command:?}");
        }
        let check = place.refuses(&["check"], 2, &[]).await;
        for text in told.into_iter().chain(["wrong"]) {
            assert!(check.out.contains(text), "{check:?}");
        }
        place.refuses(&["sync"], 2, &told).await;

        let text = file([("default", &north.base_url())]);
        place.write("helena-sync.toml", &text);
        place.set("TOKEN_OF_default", TOKEN);
        for command in [&["check"][..], &["sync"], &["verify"]] {
            place.succeeds(command).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_another_company_is_refused_before_anything_is_compared() {
    on_both(|mut place| async move {
        let (north, south) = (account(20).await, other_account(30).await);
        place.set("HELENA_BASE_URL", &north.base_url());
        let broken = north.account().session_ids()[0];
        north.account().poison(broken, Poison::WrongType);
        place.succeeds(&["sync"]).await;
        place.set("HELENA_BASE_URL", &south.base_url());
        let told = [
            "this token belongs to company",
            "account \"default\" has the data of company",
        ];
        for command in PROMISES {
            south.take_requests();
            let done = place.refuses(command, 2, &told).await;
            assert_eq!(done.out, "", "{command:?}");
            assert_eq!(south.take_requests().len(), 1, "{command:?}");
        }
        let check = place.refuses(&["check"], 2, &[]).await;
        assert!(
            check.out.contains(told[0]) && check.out.contains("wrong"),
            "{check:?}"
        );
        place.refuses(&["sync"], 2, &told).await;
        // Nor is a record gone because another company has it not.
        place.refuses(&["rejects", "retry"], 2, &told).await;
        let database = place.database().await;
        assert_eq!(database.count("rejects", "resolved_at is null").await, 1);
        assert_eq!(database.count("sessions", "removed_at is null").await, 20);
        database.store.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_refused_is_looked_for_where_the_account_has_it_from() {
    let north = account(5).await;
    let place = Place::new();
    let account = |token: &str| {
        format!(
            "[[accounts]]\nname = \"north\"\nbase_url = \"{}\"\n{token}\n",
            north.base_url()
        )
    };
    place.write("wrong", "pn_wrong");
    for (token, told) in [
        (
            "token = \"pn_wrong\"",
            "(token of account north in helena-sync.toml)",
        ),
        (
            "token_file = \"wrong\"",
            "(the file wrong, token_file of account north in helena-sync.toml)",
        ),
    ] {
        place.write("helena-sync.toml", &account(token));
        let done = place
            .refuses(&["sync"], 3, &["check the token", told])
            .await;
        // It is warned that it is not used; it is not named as what to check.
        assert!(!done.err.contains("(HELENA_API_TOKEN"), "{done:?}");
    }
    let place = Place::beside(&north).with("HELENA_API_TOKEN", "pn_wrong");
    place
        .refuses(&["sync"], 3, &["check the token (HELENA_API_TOKEN)"])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_is_shown_names_its_account() {
    let north = account(20).await;
    north.account().moods.latency = Duration::from_millis(400);
    let place = with_tokens(Place::new());
    place.write("helena-sync.toml", &file([("north", &north.base_url())]));
    place
        .succeeds(&["sync", "--resource", "sessions"])
        .await
        .says(&[" north: first load of sessions: "]);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_log_is_json_all_of_stderr_is() {
    let (north, south) = (account(20).await, other_account(30).await);
    let mut place = with_tokens(Place::new()).with("HELENA_SYNC__LOG__FORMAT", "json");
    let both = file([("north", &north.base_url()), ("south", &south.base_url())]);
    place.write("helena-sync.toml", &both);
    let lines = |done: &Done| -> Vec<(String, String)> {
        let line = |line: &str| {
            let line: serde_json::Value =
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {done:?}"));
            let text = |field: &str| line[field].as_str().unwrap().to_owned();
            (text("level"), text("message"))
        };
        done.err.lines().map(line).collect()
    };
    let says = |done: &Done, level: &str, start: &str| {
        let lines = lines(done);
        let said = |(of, text): &(String, String)| of == level && text.starts_with(start);
        assert!(lines.iter().any(said), "no {level} {start:?} in {lines:#?}");
    };
    let done = place.succeeds(&["sync", "--dry-run"]).await;
    says(&done, "INFO", "dry run, nothing was written; a sync takes");
    assert!(done.out.contains("would read"), "{done:?}");
    south.account().moods.refused = vec!["/core/v1/tag".to_owned()];
    let done = place.run(&["sync"]).await;
    assert_eq!(done.code, Some(1), "{done:?}");
    says(&done, "ERROR", "could not read all of tags of south");
    south.account().moods.refused.clear();
    place.set("TOKEN_OF_north", "pn_wrong");
    let done = place.run(&["sync"]).await;
    assert_eq!(done.code, Some(1), "{done:?}");
    says(&done, "ERROR", "cannot sync account north at ");
    let done = place.run(&["sync", "--account", "north"]).await;
    assert_eq!(done.code, Some(3), "{done:?}");
    says(&done, "ERROR", "cannot sync account north at ");
    let done = place.succeeds(&["backfill", "--account", "south"]).await;
    says(&done, "INFO", "done: 30 sessions read");
    let done = place.succeeds(&["verify", "--account", "south"]).await;
    says(&done, "INFO", "the mirror equals the account");
    place.unset("TOKEN_OF_north");
    for command in [["run"], ["sync"], ["backfill"]] {
        let done = place.run(&command).await;
        assert_eq!(done.code, Some(2), "{done:?}");
        says(&done, "ERROR", "the environment variable TOKEN_OF_north");
    }
}
