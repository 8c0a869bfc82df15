//! The live lists: asked of the platform, printed in every format, without any database.

use std::collections::BTreeSet;

use helena_sync::data::Timestamp;
use helena_sync::sandbox::{Fault, Sandbox};
use serde_json::Value;

use super::program::{Place, account};

fn ids(records: &[Value]) -> BTreeSet<String> {
    let id = |record: &Value| record["id"].as_str().unwrap().to_owned();
    records.iter().map(id).collect()
}

fn array(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

async fn listed(place: &Place, arguments: &[&str]) -> Vec<Value> {
    let arguments = [&["sessions", "--format", "json"], arguments].concat();
    array(&place.succeeds(&arguments).await.json()).to_vec()
}

/// The sessions that the account has and that fulfil a condition.
fn truth(sandbox: &Sandbox, condition: impl Fn(&Value) -> bool) -> BTreeSet<String> {
    let sessions = sandbox.account().truth_sessions();
    let kept: Vec<Value> = sessions.into_iter().filter(condition).collect();
    ids(&kept)
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_come_in_every_format_page_by_page_or_all() {
    let sandbox = account(230).await;
    let place = Place::beside(&sandbox).with("DATABASE_URL", "postgres://nobody@127.0.0.1:9/none");
    let done = place.succeeds(&["sessions"]).await;
    assert_eq!(done.out.lines().count(), 11, "{done:?}");
    assert!(done.out.trim_start().starts_with("number"), "{done:?}");
    assert_eq!(
        done.err.trim(),
        "10 of 230 sessions; page 1 of 23; --page 2 for the next, --all for all"
    );

    let page = listed(&place, &["--page", "3", "--size", "100"]).await;
    assert_eq!(page.len(), 30);
    let all = listed(&place, &["--all"]).await;
    assert_eq!(ids(&all), truth(&sandbox, |_| true));

    let done = place
        .succeeds(&["sessions", "--all", "--format", "ndjson"])
        .await;
    let lines: Vec<Value> = done
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(ids(&lines), ids(&all));

    let done = place
        .succeeds(&["sessions", "--all", "--format", "csv"])
        .await;
    let mut csv = csv::Reader::from_reader(done.out.as_bytes());
    let column = csv
        .headers()
        .unwrap()
        .iter()
        .position(|name| name == "id")
        .unwrap();
    let written: BTreeSet<String> = csv
        .records()
        .map(|record| record.unwrap()[column].to_owned())
        .collect();
    assert_eq!(written, ids(&all));
    let headers = csv.headers().unwrap();
    for name in [
        "utm_source",
        "time_wait_seconds",
        "created_at",
        "contact_name",
        "tags",
    ] {
        assert!(
            headers.iter().any(|header| header == name),
            "{name} in {headers:?}"
        );
    }

    let newest = listed(
        &place,
        &[
            "--order-by",
            "CreatedAt",
            "--direction",
            "descending",
            "--size",
            "1",
        ],
    )
    .await;
    let last = sandbox.account().session_ids().last().unwrap().to_string();
    assert_eq!(newest[0]["id"], last.as_str());
    let lenient = [
        "--order-by",
        "createdat",
        "--direction",
        "DESC",
        "--size",
        "1",
    ];
    assert_eq!(listed(&place, &lenient).await, newest);
    let bogus = ["sessions", "--order-by", "Bogus"];
    let told = [
        "Bogus",
        "possible values: createdAt, updatedAt, lastInteractionAt",
    ];
    place.refuses(&bogus, 2, &told).await;
    let bare = listed(&place, &["--include", "none", "--size", "1"]).await;
    assert!(bare[0]["contactDetails"].is_null(), "{bare:?}");

    place
        .succeeds(&["sessions", "--page", "24"])
        .await
        .says(&["page 24 is past the end: 230 sessions on 23 pages of 10"]);
    assert_eq!(place.files(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_filtered_by_names_statuses_and_dates() {
    let sandbox = account(300).await;
    let place = Place::beside(&sandbox);
    let sample = sandbox
        .account()
        .truth_sessions()
        .into_iter()
        .rev()
        .find(|session| {
            !session["departmentId"].is_null()
                && !session["userId"].is_null()
                && session["status"] == "COMPLETED"
        })
        .unwrap();
    let name = |record: &Value| record["name"].as_str().unwrap().to_owned();
    let (department, agent) = {
        let account = sandbox.account();
        let departments = account.truth_departments();
        let agents = account.truth_agents();
        (
            name(
                departments
                    .iter()
                    .find(|d| d["id"] == sample["departmentId"])
                    .unwrap(),
            ),
            name(
                agents
                    .iter()
                    .find(|a| a["userId"] == sample["userId"])
                    .unwrap(),
            ),
        )
    };
    let same = |key: &'static str| {
        let wanted = sample[key].clone();
        truth(&sandbox, move |session| session[key] == wanted)
    };
    for (flags, expected) in [
        (vec!["--status", "completed"], same("status")),
        (
            vec!["--department", department.as_str()],
            same("departmentId"),
        ),
        (vec!["--user", agent.as_str()], same("userId")),
        (vec!["--agent", agent.as_str()], same("userId")),
        (
            vec!["--channel", sample["channelId"].as_str().unwrap()],
            same("channelId"),
        ),
        (
            vec!["--contact", sample["contactId"].as_str().unwrap()],
            same("contactId"),
        ),
    ] {
        let found = listed(&place, &[&["--all"], flags.as_slice()].concat()).await;
        assert_eq!(ids(&found), expected, "{flags:?}");
        assert!(!expected.is_empty());
    }
    let day = &sample["createdAt"].as_str().unwrap()[..10];
    let found = listed(&place, &["--all", "--from", day, "--to", day]).await;
    let that_day = truth(&sandbox, |session| {
        session["createdAt"].as_str().unwrap().starts_with(day)
    });
    assert_eq!(ids(&found), that_day);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_list_says_which_filter_emptied_it() {
    let sandbox = account(120).await;
    sandbox.account().add_tag("Nunca usada");
    let place = Place::beside(&sandbox);
    let completed = truth(&sandbox, |session| session["status"] == "COMPLETED").len();
    sandbox.take_requests();
    let done = place
        .succeeds(&["sessions", "--status", "COMPLETED", "--tag", "Nunca usada"])
        .await;
    done.says(&[
        "no session matches",
        "without --status: 0",
        &format!("without --tag: {completed}"),
        "--tag is probably too narrow",
    ]);
    let asked = sandbox
        .requests()
        .iter()
        .filter(|r| r.path.ends_with("/session"))
        .count();
    assert!(asked <= 3, "{asked} requests");
    let done = place
        .succeeds(&["sessions", "--from", "2001-01-01", "--to", "2001-12-31"])
        .await;
    done.says(&["no session matches --from/--to; without it there would be 120"]);
    for format in ["json", "csv", "ndjson"] {
        let empty = ["sessions", "--tag", "Nunca usada", "--format", format];
        let done = place.succeeds(&empty).await;
        done.says(&["no session matches --tag"]);
        if format == "json" {
            assert_eq!(done.json(), serde_json::json!([]));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_departments_are_put_together_by_all_alone() {
    let sandbox = account(150).await;
    let place = Place::beside(&sandbox);
    let departments: Vec<String> = sandbox.account().departments()[..2]
        .iter()
        .map(ToString::to_string)
        .collect();
    let flags = [
        "--department",
        departments[0].as_str(),
        "--department",
        &departments[1],
    ];
    let one_page = [&["sessions"], flags.as_slice()].concat();
    place
        .refuses(&one_page, 2, &["one department and one agent", "--all"])
        .await;
    let found = listed(&place, &[&["--all"], flags.as_slice()].concat()).await;
    let expected = truth(&sandbox, |session| {
        departments
            .iter()
            .any(|id| session["departmentId"] == id.as_str())
    });
    assert_eq!(ids(&found), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_small_lists_print_the_names_that_can_be_used() {
    let sandbox = account(10).await;
    let place = Place::beside(&sandbox).with("DATABASE_URL", "sqlite:///proc/none/helena.db");
    let (tags, channels, departments, agents) = {
        let account = sandbox.account();
        (
            account.truth_tags(),
            account.truth_channels(),
            account.truth_departments(),
            account.truth_agents(),
        )
    };
    for (command, records, name) in [
        ("tags", tags, "/name"),
        ("channels", channels, "/identity/displayName"),
        ("departments", departments, "/name"),
        ("agents", agents, "/name"),
    ] {
        let done = place.succeeds(&[command]).await;
        assert_eq!(done.out.lines().count(), records.len() + 1, "{done:?}");
        done.says(&[&format!("{} {command}", records.len())]);
        for record in &records {
            if let Some(name) = record.pointer(name).and_then(Value::as_str) {
                assert!(done.out.contains(name.trim()), "{name} in {done:?}");
            }
        }
        let done = place.succeeds(&[command, "--format", "json"]).await;
        assert_eq!(ids(array(&done.json())), ids(&records));
    }
    let others = {
        let account = sandbox.account();
        [
            ("custom-fields", account.truth_custom_fields()),
            ("chatbots", account.truth_chatbots()),
            ("templates", account.truth_templates()),
            ("portfolios", account.truth_portfolios()),
            ("office-hours", account.truth_office_hours()),
        ]
    };
    for (command, records) in others {
        let done = place.succeeds(&[command]).await;
        assert_eq!(done.out.lines().count(), records.len() + 1, "{done:?}");
        let done = place.succeeds(&[command, "--format", "json"]).await;
        let sorted = |records: &[Value]| {
            let mut texts: Vec<String> = records.iter().map(Value::to_string).collect();
            texts.sort();
            texts
        };
        assert_eq!(sorted(array(&done.json())), sorted(&records));
        let done = place.succeeds(&[command, "--format", "csv"]).await;
        assert_eq!(done.out.lines().count(), records.len() + 1, "{done:?}");
    }
    let archived = place
        .succeeds(&[
            "contacts", "--status", "archived", "--all", "--format", "json",
        ])
        .await;
    let contacts = sandbox.account().truth_contacts();
    let expected: Vec<Value> = contacts
        .into_iter()
        .filter(|contact| contact["status"] == "ARCHIVED")
        .collect();
    assert_eq!(ids(array(&archived.json())), ids(&expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn contacts_say_which_page_it_is_and_how_to_see_the_next() {
    let sandbox = account(100).await;
    let place = Place::beside(&sandbox);
    let contacts = sandbox.account().truth_contacts();
    let active = contacts.iter().filter(|c| c["status"] == "ACTIVE").count();
    let pages = active.div_ceil(5);
    assert!(pages > 2);
    for (page, told) in [
        (
            1,
            format!(
                "5 of {active} contacts with status ACTIVE; page 1 of {pages}; --page 2 for the next, --all for all"
            ),
        ),
        (
            99,
            format!(
                "page 99 is past the end: {active} contacts with status ACTIVE on {pages} pages of 5"
            ),
        ),
    ] {
        let page = page.to_string();
        let done = place
            .succeeds(&["contacts", "--size", "5", "--page", &page])
            .await;
        assert_eq!(done.err.trim(), told);
    }
    let ordered = ["contacts", "--order-by", "UpdatedAt", "--direction", "desc"];
    place.succeeds(&ordered).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_list_of_contacts_says_which_filter_probably_emptied_it() {
    let sandbox = account(40).await;
    let place = Place::beside(&sandbox);
    let contacts = sandbox.account().truth_contacts();
    let with = |status: &str| contacts.iter().filter(|c| c["status"] == status).count();
    let blocked = with("BLOCKED");
    let future = ["contacts", "--status", "BLOCKED", "--from", "2099-01-01"];
    place.succeeds(&future).await.says(&[&format!(
        "no contact with status BLOCKED matches; without --from/--to: {blocked}, without \
         --status: 0. --from/--to is probably too narrow"
    )]);
    assert_eq!(sandbox.take_requests().len(), 4);
    let line = [
        "contacts",
        "--from",
        "2000-01-01",
        "--updated-after",
        "2099-01-01",
    ];
    place.succeeds(&line).await.says(&[&format!(
        "without --from/--to: 0, without --updated-after/-before: {}, without --status: 0. \
         --updated-after/-before is probably too narrow",
        with("ACTIVE")
    )]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_that_ignores_the_page_number_ends_a_list_with_an_error() {
    let sandbox = account(230).await;
    let place = Place::beside(&sandbox);
    sandbox.account().moods.ignore_page_number = true;
    for no_echo in [false, true] {
        sandbox.account().moods.no_echo = no_echo;
        for list in ["sessions", "contacts"] {
            sandbox.take_requests();
            let command = [list, "--all", "--size", "10"];
            place.refuses(&command, 1, &["ignores PageNumber"]).await;
            let requests = sandbox.take_requests().len();
            assert!(requests < 10, "{list}: {requests}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_the_platform_ignores_is_told_once() {
    let sandbox = account(60).await;
    let place = Place::beside(&sandbox);
    let told = "the platform ignored --order-by";
    for (list, order) in [("sessions", "UpdatedAt"), ("contacts", "updated")] {
        let command = [list, "--all", "--size", "10", "--order-by", order];
        sandbox.account().moods.ignore_order = true;
        let done = place.succeeds(&command).await;
        assert_eq!(done.err.matches(told).count(), 1, "{done:?}");
        let done = place.succeeds(&command[..4]).await;
        assert!(!done.err.contains(told), "{done:?}");
        sandbox.account().moods.ignore_order = false;
        let done = place.succeeds(&command).await;
        assert!(!done.err.contains(told), "{done:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_are_counted_and_not_shown_are_no_empty_account() {
    let sandbox = account(20).await;
    let place = Place::beside(&sandbox);
    for (list, page) in [
        ("sessions", r#"{"items":[],"totalItems":9}"#),
        ("contacts", r#"{"items":null,"totalItems":9}"#),
    ] {
        for flags in [&[list][..], &[list, "--all"]] {
            sandbox.script([Fault::Reply(200, page.to_owned())]);
            let told = ["the platform counts 9", "shows none of them"];
            place.succeeds(flags).await.says(&told);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_departments_are_joined_in_one_order() {
    let sandbox = account(260).await;
    let place = Place::beside(&sandbox);
    let filters = ["--department", "vendas,SUPORTE", "--department", "Retencao"];
    let of = |record: &Value, field: &str| record[field].as_str().unwrap().to_owned();
    let names = ["Vendas", "Suporte", "Retenção"];
    let departments = place.succeeds(&["departments", "--json"]).await.json();
    let wanted: BTreeSet<String> = array(&departments)
        .iter()
        .filter(|one| names.contains(&one["name"].as_str().unwrap()))
        .map(|one| of(one, "id"))
        .collect();
    assert_eq!(wanted.len(), 3);
    let expected = truth(&sandbox, |session| {
        session["departmentId"]
            .as_str()
            .is_some_and(|id| wanted.contains(id))
    });
    // Small pages, so that each department has several.
    let all = [&["--all", "--size", "7"], &filters[..]].concat();
    for (order, field, newest_first) in [
        (&[][..], "createdAt", true),
        (&["--order-by", "updatedat"], "updatedAt", true),
        (
            &["--order-by", "createdAt", "--direction", "asc"],
            "createdAt",
            false,
        ),
    ] {
        let found = listed(&place, &[&all[..], order].concat()).await;
        assert_eq!(ids(&found), expected, "{order:?}");
        assert_eq!(found.len(), expected.len(), "{order:?}: none twice");
        let times: Vec<Timestamp> = found
            .iter()
            .map(|one| Timestamp::parse(&of(one, field)).unwrap())
            .collect();
        let is_sorted = if newest_first {
            times.is_sorted_by(|one, next| one >= next)
        } else {
            times.is_sorted()
        };
        assert!(is_sorted, "{order:?}: {times:?}");
    }
    // So many of them are the first of all.
    let whole = listed(&place, &all).await;
    let some = listed(&place, &[&["-n", "11"], &filters[..]].concat()).await;
    assert_eq!(some, whole[..11]);
    let unjoined = [&["sessions"], &filters[..]].concat();
    place.refuses(&unjoined, 2, &["add --all or --limit"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn options_are_spelled_alike_everywhere() {
    let sandbox = account(40).await;
    let place = Place::beside(&sandbox);
    place.succeeds(&["sync", "-q"]).await;
    for line in [
        "sessions -n 3 --json",
        "contacts -n 3 -f json",
        "tags -n 3 -f JSON",
        "agents --limit 3 --format json",
        "rejects -n 3 --json",
        "status --format json",
        "state show --json",
        "verify --resource tags,channels --json",
        "check --format json",
        "config show -f json",
        "report --json",
    ] {
        let arguments: Vec<&str> = line.split(' ').collect();
        let found = place.succeeds(&arguments).await.json();
        if line.contains('3') && !line.contains("rejects") {
            assert_eq!(array(&found).len(), 3, "{line}");
        }
    }
    let quiet = place.succeeds(&["tags", "-q"]).await;
    assert_eq!(quiet.err, "");
    let loud = place.succeeds(&["sync", "-v", "--resource", "tags"]).await;
    assert!(loud.err.contains("DEBUG"), "{loud:?}");
    let both = ["sync", "-q", "-v"];
    place
        .refuses(&both, 2, &["--verbose and --quiet both set"])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_of_one_user_remember_their_requests_for_each_other() {
    let sandbox = account(5).await;
    let place = Place::beside(&sandbox);
    let home = place.path().display().to_string();
    let place = place.with("HOME", &home);
    let folder = place.path().join(".local/state/helena-sync");
    let lines = || -> Vec<String> {
        let Some(Ok(file)) = std::fs::read_dir(&folder)
            .ok()
            .and_then(|mut all| all.next())
        else {
            return Vec::new();
        };
        let text = std::fs::read_to_string(file.path()).unwrap();
        text.lines().map(str::to_owned).collect()
    };
    place.succeeds(&["tags"]).await;
    place.succeeds(&["sessions", "--limit", "1"]).await;
    let requests: Vec<u64> = lines()
        .iter()
        .map(|line| line.rsplit(' ').next().unwrap().parse().unwrap())
        .collect();
    assert_eq!(requests.len(), 2);
    let sent = u64::try_from(sandbox.requests().len()).unwrap();
    assert_eq!(requests.iter().sum::<u64>(), sent);
    // The database has what a sync sends.
    place.succeeds(&["sync"]).await;
    assert_eq!(lines().len(), 2);
    let names: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names.len(), 1, "{names:?}");
    // A file that cannot be written stops nothing.
    let file = folder.join(&names[0]);
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    place.succeeds(&["tags"]).await;
}
