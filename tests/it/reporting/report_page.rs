//! The page that `report --format html` writes: what texts of the account can do to it, and what it shows
//! of persons.

use std::fmt::Write as _;

use super::account::{id, quoted};
use super::report::{filled, place, run};
use crate::support::database::on_sqlite;

/// Texts that no page should take for anything but text.
const HOSTILE: [&str; 4] = [
    "<script>alert(1)</script>",
    "\"' onload=\"x' & </title></style>",
    "\u{202e}txet tfel-ot-thgir\u{200f}",
    "]]>--><!-- {{x}} ${y}",
];

/// What a browser would fetch or run.
const FORBIDDEN: [&str; 9] = [
    "<script",
    "javascript:",
    "<link",
    "<img",
    "<iframe",
    "@import",
    "url(",
    "src=",
    "<object",
];

/// The charts of a page, each with what follows it.
fn charts(page: &str) -> Vec<(&str, &str)> {
    let mut charts = Vec::new();
    for (start, _) in page.match_indices("<svg role=\"img\"") {
        let mut depth = 0;
        let mut at = start;
        loop {
            let opens = page[at + 1..].find("<svg").map(|it| at + 1 + it);
            let closes = page[at + 1..].find("</svg>").map(|it| at + 1 + it).unwrap();
            match opens.filter(|&opens| opens < closes) {
                Some(opens) => {
                    depth += 1;
                    at = opens;
                }
                None if depth > 0 => {
                    depth -= 1;
                    at = closes;
                }
                None => {
                    let end = closes + "</svg>".len();
                    charts.push((&page[start..end], &page[end..]));
                    break;
                }
            }
        }
    }
    charts
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_texts_stay_texts() {
    on_sqlite(|database| async move {
        filled(&database).await;
        let long = "ã".repeat(300);
        let texts: Vec<&str> = HOSTILE.iter().copied().chain([long.as_str()]).collect();
        let mut sql = String::new();
        for (place, text) in (0_u128..).zip(&texts) {
            for (table, key, column, from) in [
                ("agents", "user_id", "name", 100),
                ("departments", "id", "name", 200),
                ("channels", "id", "identity_display_name", 300),
                ("tags", "id", "name", 400),
            ] {
                let _ = write!(
                    sql,
                    "update {table} set {column} = {} where {key} = '{}';",
                    quoted(text),
                    id(from + place)
                );
            }
            let _ = write!(
                sql,
                "update sessions set utm_campaign = {0}, utm_source = {0}, number = {0}, \
                 preview_url = 'javascript:alert(1)', classification_category_name = {0}, \
                 classification_category_description = {0} where cast(number as integer) % 5 = {place};",
                quoted(text)
            );
        }
        let _ = write!(sql, "update accounts set name = {};", quoted(HOSTILE[0]));
        database.execute(&sql).await;
        let place = place(&database).without("HELENA_API_TOKEN");
        for line in [
            &["--last", "40d", "--format", "html"][..],
            &["--last", "40d", "--format", "html", "--by", "campaign", "--lang", "pt-BR"],
        ] {
            let page = run(&place, line).await.out;
            for forbidden in FORBIDDEN {
                assert!(!page.contains(forbidden), "{forbidden}");
            }
            assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
            assert_eq!(page.matches("</title></head>").count() + page.matches("</style></head>").count(), 1);
            assert_eq!(page.matches("<style").count(), 1);
            assert!(page.contains(&long));
            let events = page.match_indices("onload=").map(|(at, _)| &page[at - 6..at]);
            for before in events {
                assert!(before.contains("&quot;") || before.ends_with("' "), "{before}");
            }
        }
        let csv = run(&place, &["--last", "40d", "--format", "csv", "--by", "tag"]).await.out;
        assert!(csv.contains("\"\"' onload"), "{csv}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_names_no_contact_and_is_the_same_every_time() {
    on_sqlite(|database| async move {
        filled(&database).await;
        let secret = "update contacts set name = 'Maria Segredo ' || id, phone_e164 = '+5511987654321', \
             email = 'maria@segredo.example'; \
             update sessions set last_message_text = 'Mensagem Segredo', title = 'Título Segredo', \
             preview_url = 'https://example.com/chat2/sessions/' || id;";
        database.execute(secret).await;
        let place = place(&database);
        for lang in ["en", "pt-BR"] {
            let line = ["--last", "45d", "--format", "html", "--lang", lang];
            let page = run(&place, &line).await.out;
            assert_eq!(run(&place, &line).await.out, page, "the same data give the same bytes");
            for personal in ["Segredo", "segredo", "98765", "con é"] {
                assert!(!page.contains(personal), "{personal}");
            }
            for number in 500..540 {
                assert!(!page.contains(&id(number).to_string()), "a contact's id");
            }
            assert!(page.contains("default-src &#39;none&#39;") || page.contains("default-src 'none'"));
            assert!(page.contains(&format!("<html lang=\"{lang}\">")));
            assert!(!page.contains("TMR"));
            // That is what the platform calls its queue.
            assert!(!page.contains(">Novos<") && !page.contains("Novos por"));
            assert!(page.len() < 300 * 1024, "{} bytes", page.len());
            for address in page.split("href=\"").skip(1) {
                assert!(address.starts_with("https://example.com/chat2/"), "{}", &address[..40]);
            }
            let charts = charts(&page);
            assert!(charts.len() >= 9, "{}", charts.len());
            for (chart, rest) in charts {
                assert!(chart.contains("<title>"), "{chart}");
                assert!(chart.contains("aria-hidden=\"true\""));
                let rest = rest.strip_prefix("</figure>").unwrap();
            assert!(rest.starts_with("<details><summary>"), "{}", &rest[..80]);
                let table = rest.split("</details>").next().unwrap();
                assert!(table.contains("<table") && table.contains("<tbody><tr>"), "{table}");
            }
        }
        let line = ["--last", "20d", "--format", "html", "--compare", "previous", "--lang", "pt-BR"];
        let page = run(&place, &line).await.out;
        assert!(page.contains("Novos atendimentos, 11/05/2026 a 30/05/2026"), "the legend names the days");
        let page = run(&place, &["--last", "45d", "--format", "html", "--anonymous"]).await.out;
        assert!(!page.contains("age é") && page.contains("Agent 1"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_the_numbers_of_the_other_formats() {
    on_sqlite(|database| async move {
        filled(&database).await;
        let place = place(&database);
        let json = run(&place, &["--last", "40d", "--format", "json"])
            .await
            .json();
        let page = run(&place, &["--last", "40d", "--format", "html"])
            .await
            .out;
        let table = run(&place, &["--last", "40d"]).await.out;
        for key in ["opened", "completed", "open_at_end", "won"] {
            let value = json["figures"][key]["value"].as_u64().unwrap();
            assert!(
                page.contains(&format!("<p class=\"big\">{value}</p>")),
                "{key}: {value}"
            );
            let line = table.lines().filter(|line| {
                line.split_whitespace()
                    .any(|word| word == value.to_string())
            });
            assert!(line.count() > 0, "{key}: {value}");
        }
        // The period ended yesterday: its shares are not final, and that is said in every format.
        assert_eq!(json["is_in_progress"], true);
        assert_eq!(json["is_provisional"], true);
        for note in json["notes"].as_array().unwrap() {
            let note = note.as_str().unwrap();
            assert_eq!(
                page.matches(&format!("<p class=\"note\">{note}</p>"))
                    .count(),
                2,
                "{note}"
            );
            assert!(table.contains(note), "{note}");
        }
        let over = ["--month", "2026-05", "--format"];
        let done = run(&place, &[over[0], over[1], over[2], "json"])
            .await
            .json();
        assert_eq!(done["is_in_progress"], false);
        assert_eq!(done["notes"], serde_json::json!([]));
        let done = run(&place, &[over[0], over[1], over[2], "html"]).await.out;
        assert!(!done.contains("n progress") && page.contains("Completed (in progress)"));
        // In whole days 7 have passed, and the period ended 6 days and a half ago.
        let line = [
            "--from",
            "2026-06-01",
            "--to",
            "2026-06-13",
            "--format",
            "json",
        ];
        let week = run(&place, &line).await.json();
        assert_eq!(week["is_in_progress"], true);
        assert_eq!(week["is_provisional"], false);
        // The chart's table is that of its bars.
        let volume = page.split("<h2>Volume").nth(1).unwrap();
        let body = volume
            .split("<tbody>")
            .nth(1)
            .unwrap()
            .split("</tbody>")
            .next()
            .unwrap();
        let opened: u64 = body
            .split("<tr>")
            .skip(1)
            .map(|row| {
                let cell = row.split("<td>").nth(1).unwrap();
                cell.split("</td>")
                    .next()
                    .unwrap()
                    .replace(',', "")
                    .parse::<u64>()
                    .unwrap()
            })
            .sum();
        assert_eq!(opened, json["figures"]["opened"]["value"].as_u64().unwrap());
    })
    .await;
}
