//! The status page, in a browser without a screen. Where Chromium or its driver is missing, the page is
//! not tested, and the test says so.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::http::{address, get, listening, ready, send};
use super::program::{Place, account, until};
use crate::support::tools;

/// The smallest contrast of text that people with weak eyes can read (WCAG 2.1, AA).
const CONTRAST: f64 = 4.5;

/// The texts of a page, each with its contrast to what is behind it.
const CONTRASTS: &str = r"
const parts = text => text.match(/[\d.]+/g).map(Number);
const light = text => {
  const [r, g, b] = parts(text).map(v => v / 255).map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
  return .2126 * r + .7152 * g + .0722 * b;
};
const behind = node => {
  for (let one = node; one; one = one.parentElement) {
    const color = getComputedStyle(one).backgroundColor;
    const [, , , alpha = 1] = parts(color);
    if (alpha > 0) return color;
  }
  return 'rgb(255, 255, 255)';
};
const found = [];
for (const node of document.querySelectorAll('main *')) {
  const own = [...node.childNodes].filter(it => it.nodeType === 3).map(it => it.textContent.trim()).join('');
  if (!own || node.closest('svg, noscript')) continue;
  const [a, b] = [light(getComputedStyle(node).color), light(behind(node))];
  found.push([own, (Math.max(a, b) + .05) / (Math.min(a, b) + .05)]);
}
return found;";

/// The card of the doorbell: its text, the classes of the word in colour, and whether all of it is in the card.
/// The page reads its data anew.
const BELL: &str = r"
document.dispatchEvent(new Event('visibilitychange'));
const part = [...document.querySelectorAll('.part')].find(it => it.querySelector('h3').innerText === 'DOORBELL');
if (!part) return [null];
const pill = part.querySelector('.pill');
const right = node => node.getBoundingClientRect().right;
const inside = [...part.querySelectorAll('*')].every(it => right(it) <= right(part) + 1);
return [part.innerText, pill ? pill.className.trim() : '', inside];";

/// A browser, and the page that it shows. Ends when dropped.
struct Browser {
    driver: Child,
    at: SocketAddr,
    session: String,
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver takes its browser with it when the session ends, and not when it is killed.
        let request = format!(
            "DELETE /session/{} HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\n\r\n",
            self.session, self.at
        );
        if let Ok(mut stream) = std::net::TcpStream::connect(self.at) {
            let _unsent = stream.write_all(request.as_bytes());
            // The answer comes when the browser has ended.
            let _answer = stream.read(&mut [0; 64]);
        }
        let _ended = self.driver.kill();
        let _reaped = self.driver.wait();
    }
}

/// Asks the driver. Returns the status and the value of its answer.
async fn ask(at: SocketAddr, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let body = if method == "GET" {
        String::new()
    } else {
        body.to_string()
    };
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = send(at, request.as_bytes()).await.unwrap();
    (answer.status, answer.json()["value"].clone())
}

async fn call(at: SocketAddr, method: &str, path: &str, body: &Value) -> Value {
    let (status, value) = ask(at, method, path, body).await;
    assert_eq!(status, 200, "{path}: {value}");
    value
}

/// The address at which the driver says that it listens.
fn port(printed: impl Read + Send + 'static) -> SocketAddr {
    const SAID: &str = "started successfully on port ";
    let mut lines = BufReader::new(printed).lines();
    let port = lines
        .by_ref()
        .map_while(Result::ok)
        .find_map(|line| Some(line.split_once(SAID)?.1.trim_end_matches('.').to_owned()));
    // So that it can go on printing.
    std::thread::spawn(move || lines.count());
    let port: u16 = port.expect("chromedriver ended").parse().unwrap();
    ([127, 0, 0, 1], port).into()
}

impl Browser {
    /// Starts one that prefers this language. `None` if there is none on this machine.
    async fn start(language: &str, folder: &Place) -> Option<Self> {
        let driver = Command::new("chromedriver")
            // Any free one, which it prints.
            .arg("--port=0")
            .env("TMPDIR", folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let has_browser = ["/usr/bin/chromium", "/usr/bin/google-chrome"];
        let binary = has_browser
            .iter()
            .find(|path| std::path::Path::new(path).exists());
        let (Ok(mut driver), Some(binary)) = (driver, binary) else {
            tools::missing("Chromium or its driver", "chromium-driver");
            return None;
        };
        let printed = driver.stdout.take().unwrap();
        let at = tokio::task::spawn_blocking(move || port(printed))
            .await
            .unwrap();
        let options = json!({
            "binary": binary,
            "args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                     format!("--lang={language}"), format!("--accept-lang={language}")],
            "prefs": {"intl.accept_languages": language},
        });
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let (_, session) = ask(at, "POST", "/session", &wanted).await;
        let Some(session) = session["sessionId"].as_str().map(str::to_owned) else {
            driver.kill().unwrap();
            driver.wait().unwrap();
            tools::missing("a Chromium that starts on this machine", "chromium-driver");
            return None;
        };
        Some(Self {
            driver,
            at,
            session,
        })
    }

    async fn tell(&self, what: &str, body: &Value) -> Value {
        call(
            self.at,
            "POST",
            &format!("/session/{}/{what}", self.session),
            body,
        )
        .await
    }

    async fn devtools(&self, command: &str, parameters: Value) {
        let body = json!({"cmd": command, "params": parameters});
        self.tell("goog/cdp/execute", &body).await;
    }

    async fn script(&self, text: &str) -> Value {
        self.tell("execute/sync", &json!({"script": text, "args": []}))
            .await
    }

    /// Shows the page on a screen of this width, in this scheme of colours.
    async fn show(&self, url: &str, width: u32, scheme: &str) {
        let size =
            json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500});
        self.devtools("Emulation.setDeviceMetricsOverride", size)
            .await;
        let scheme = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.devtools("Emulation.setEmulatedMedia", scheme).await;
        self.tell("url", &json!({"url": url})).await;
        until("the page shows the account", async || {
            self.script("return document.querySelectorAll('article rect').length > 0")
                .await
                == true
        })
        .await;
    }

    /// Checks what must be so of every page.
    async fn check(&self, what: &str) {
        let wide = "return [document.documentElement.scrollWidth, window.innerWidth]";
        let wide = self.script(wide).await;
        assert!(
            wide[0].as_u64() <= wide[1].as_u64(),
            "{what} scrolls sideways: {wide}"
        );
        let texts = self.script(CONTRASTS).await;
        let texts = texts.as_array().unwrap();
        assert!(texts.len() > 40, "{what}: {texts:?}");
        for text in texts {
            assert!(text[1].as_f64().unwrap() >= CONTRAST, "{what}: {text}");
        }
        let elsewhere = "return performance.getEntriesByType('resource').map(it => it.name)\
                         .filter(it => !it.startsWith(location.origin) && !it.startsWith('data:'))";
        assert_eq!(self.script(elsewhere).await, json!([]), "{what}");
        let said = self.tell("se/log", &json!({"type": "browser"})).await;
        assert_eq!(said, json!([]), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_the_mirror_on_every_screen_in_both_languages() {
    let sandbox = account(300).await;
    let place = listening(Place::beside(&sandbox));
    let mut program = place.start(&["run"]);
    let address = address(&mut program).await;
    ready(address).await;
    let database = place.database().await;
    let rung = "update accounts set doorbell = 'good', last_ring_at = '2026-05-04T12:00:00.000000Z', rings = 7";
    database.execute(rung).await;
    database.store.close().await;
    let url = format!("http://{address}/");
    for (language, words) in [
        (
            "en-US",
            [
                "Up to date",
                "Last syncs",
                "Next verification",
                "Fields without a column",
                "The platform rings",
            ],
        ),
        (
            "pt-BR",
            [
                "Em dia",
                "Últimas sincronizações",
                "Próxima verificação",
                "Campos sem coluna",
                "A plataforma toca",
            ],
        ),
    ] {
        let Some(browser) = Browser::start(language, &place).await else {
            return;
        };
        for (width, scheme) in [
            (360, "light"),
            (360, "dark"),
            (1280, "light"),
            (1280, "dark"),
        ] {
            browser.show(&url, width, scheme).await;
            browser
                .check(&format!("{language}, {width} px, {scheme}"))
                .await;
        }
        until("everything is loaded", async || {
            let text = browser
                .script("return document.querySelector('main').innerText")
                .await;
            let text = text.as_str().unwrap().to_lowercase();
            words.iter().all(|word| text.contains(&word.to_lowercase()))
        })
        .await;
        // It is the account that the data describes, and it updates by itself.
        let rows = "return [...document.querySelectorAll('td')].map(it => it.innerText)";
        let cells = browser.script(rows).await;
        assert!(
            cells.as_array().unwrap().contains(&json!("sessions")),
            "{cells}"
        );
        let shown = "return document.documentElement.dataset.shown";
        let before = browser.script(shown).await;
        until("it has updated", async || {
            browser.script(shown).await != before
        })
        .await;
        let lang = browser.script("return document.documentElement.lang").await;
        assert!(lang.as_str().unwrap().starts_with(&language[..2]), "{lang}");
    }
    // It says so when the program is gone.
    let status = get(address, "/api/status").await;
    assert_eq!(status.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_what_is_wrong_and_nothing_of_it_is_markup() {
    let sandbox = account(60).await;
    let place = listening(Place::beside(&sandbox));
    let mut program = place.start(&["run"]);
    let address = address(&mut program).await;
    ready(address).await;
    let database = place.database().await;
    let text = "<img src=x onerror=document.title=1>";
    database
        .execute(&format!(
            "insert into rejects (account_id, resource, raw, fingerprint, reason, partial, run_id, \
             first_seen_at, last_seen_at) values (1, 'sessions', '{{}}', 'x', '{text}', 0, 1, \
             '2026-05-04T12:00:00.000000Z', '2026-05-04T12:00:00.000000Z')"
        ))
        .await;
    let Some(browser) = Browser::start("en-US", &place).await else {
        return;
    };
    let url = format!("http://{address}/");
    browser.show(&url, 360, "light").await;
    // The daemon ends it once, when it has run for some seconds, since nobody is to be told of alerts.
    let alert = "insert into alerts (account_id, kind, detail, began_at, opened_at) values (1, 'rejects', \
                 '7', '2026-05-04T12:00:00.000000Z', '2026-05-04T12:00:00.000000Z') on conflict do nothing";
    until("the reject is shown", async || {
        database.execute(alert).await;
        let shown = browser
            .script("return document.querySelector('main').innerText")
            .await;
        let shown = shown.as_str().unwrap();
        let alert = "records that could not be stored (7)";
        [text, "Needs attention", alert]
            .iter()
            .all(|it| shown.contains(it))
    })
    .await;
    browser.check("a page with a reject").await;
    // Each card of the doorbell, on the narrowest screen.
    for (state, kind, words) in [
        ("good", "pill", "The platform rings"),
        ("missing", "pill warn", "no subscription"),
        ("disabled", "pill warn", "subscription disabled"),
        ("other_address", "pill warn", "other address"),
        ("lacks_events", "pill warn", "events are missing"),
        ("unknown", "", "It is not known whether the platform rings."),
    ] {
        let set = format!("update accounts set doorbell = '{state}'");
        database.execute(&set).await;
        let mut card = Value::Null;
        until(&format!("the page shows {state}"), async || {
            card = browser.script(BELL).await;
            card[0].as_str().is_some_and(|text| text.contains(words))
        })
        .await;
        assert_eq!(card[1], kind, "{card}");
        let advice = "helena-sync check says what to do";
        let is_advised = card[0].as_str().unwrap().contains(advice);
        assert_eq!(is_advised, kind == "pill warn", "{card}");
        // The word in colour is as wide as the card at most.
        assert_eq!(card[2], true, "{card}");
        browser.check(&format!("a doorbell that is {state}")).await;
    }
    database.store.close().await;
    assert_eq!(browser.script("return document.title").await, "helena-sync");
}
