//! Sends a message: to a webhook, or through a command.
//!
//! Must not know which messages there are. The address of a webhook reaches no log line and no error.

use std::io::{self, Read, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::message::Group;
use super::watch::Subject;
use crate::config::{AlertFormat, Webhook};
use crate::data::{last_cause, without_os_numbers};

/// How long a webhook may take to answer.
const WEBHOOK: Duration = Duration::from_secs(15);

/// How long a command may run.
pub(super) const COMMAND: Duration = Duration::from_secs(30);

/// How long what a command has printed is waited for after its end.
const PRINTED: Duration = Duration::from_secs(1);

/// How much of what a command prints to stderr is logged.
const MOST_PRINTED: usize = 400;

/// Chats that refuse fields which they do not know, or do not say that they accept them.
const CHATS: [&str; 5] = [
    "chat.googleapis.com",
    "hooks.slack.com",
    "hooks.slack-gov.com",
    "discord.com",
    "discordapp.com",
];

/// A way that messages go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// `alerts.webhook`.
    Webhook,
    /// `alerts.command`.
    Command,
}

impl Channel {
    /// All ways.
    pub const ALL: [Self; 2] = [Self::Webhook, Self::Command];

    /// Its name in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Command => "command",
        }
    }
}

/// Why a message could not be sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The webhook answered with something else than a success.
    #[error("{to} answered {status}; check alerts.webhook")]
    Answer {
        /// The webhook, with its host alone.
        to: String,
        /// The status.
        status: StatusCode,
    },
    /// No answer.
    #[error("no answer from {to}: {cause}; check alerts.webhook and the network")]
    NoAnswer {
        /// The webhook, with its host alone.
        to: String,
        /// Why.
        cause: String,
    },
    /// The shell cannot be started.
    #[error("cannot start /bin/sh for alerts.command: {0}")]
    Start(String),
    /// The command failed.
    #[error("alerts.command failed with {status}{printed}; check the command")]
    Command {
        /// How it ended.
        status: String,
        /// What it printed to stderr.
        printed: String,
    },
    /// The command took too long.
    #[error(
        "alerts.command did not end within {}, and was killed; check the command",
        humantime::format_duration(COMMAND)
    )]
    Late,
}

/// Sends a message. Does nothing if this way is not configured.
pub async fn send(subject: &Subject, channel: Channel, group: &Group) -> Result<(), SendError> {
    let alerts = &subject.alerts;
    match (channel, &alerts.webhook, &alerts.command) {
        (Channel::Webhook, Some(webhook), _) => post(webhook, alerts.format, group).await,
        (Channel::Command, _, Some(command)) => run(command, &subject.hidden, group, COMMAND).await,
        (Channel::Webhook, None, _) | (Channel::Command, _, None) => Ok(()),
    }
}

/// Whether the text alone is sent.
fn is_text(webhook: &Webhook, format: AlertFormat) -> bool {
    match format {
        AlertFormat::Auto => CHATS.contains(&webhook.host()),
        AlertFormat::Json => false,
        AlertFormat::Text => true,
    }
}

async fn post(webhook: &Webhook, format: AlertFormat, group: &Group) -> Result<(), SendError> {
    let no_answer = |error: reqwest::Error| SendError::NoAnswer {
        to: webhook.to_string(),
        // The layers between say nothing more.
        cause: without_os_numbers(&last_cause(&error.without_url())),
    };
    let body = if is_text(webhook, format) {
        json!({ "text": group.text() })
    } else {
        group.json()
    };
    // If a provider is installed already, this client uses it.
    let _installed_before = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("helena-sync/", env!("CARGO_PKG_VERSION")))
        .timeout(WEBHOOK)
        // The address is for this host only.
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never());
    if webhook.expose().scheme() == "http" {
        // Plain http needs no certificates, and a machine may have none.
        builder = builder.tls_certs_only([]);
        if !webhook.is_exposed() {
            builder = builder.no_proxy();
        }
    }
    let client = builder.build().map_err(no_answer)?;
    let answer = client
        .post(webhook.expose().clone())
        .header(CONTENT_TYPE, "application/json")
        .body(body.to_string())
        .send()
        .await
        .map_err(no_answer)?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    Err(SendError::Answer {
        to: webhook.to_string(),
        status,
    })
}

/// A process and those that it has started. They are killed when it is dropped before its end.
struct ProcessGroup {
    leader: Pid,
    has_ended: bool,
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        if !self.has_ended {
            kill(self.leader);
        }
    }
}

fn kill(leader: Pid) {
    // In most cases, nothing of it is left.
    let _ended = kill_process_group(leader, Signal::KILL);
}

/// Runs a command with a message on its standard input. Whatever it has started and left behind is killed.
///
/// `hidden` are the variables that it does not get, since they hold secrets.
async fn run(
    command: &str,
    hidden: &[String],
    group: &Group,
    limit: Duration,
) -> Result<(), SendError> {
    let start = |error: io::Error| SendError::Start(without_os_numbers(&error.to_string()));
    let mut shell = Command::new("/bin/sh");
    for name in hidden {
        shell.env_remove(name);
    }
    let mut child = shell
        .arg("-c")
        .arg(command)
        .env("ALERT_SUBJECT", group.subject())
        .env("ALERT_TEXT", group.text())
        .env("ALERT_COUNT", group.notices.len().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(start)?;
    let leader = Pid::from_child(&child);
    let mut all = ProcessGroup {
        leader,
        has_ended: false,
    };
    let message = group.json().to_string();
    let (tell, told) = oneshot::channel();
    // In threads: nothing else of the program starts processes, and all of them end when the group is killed.
    thread::spawn(move || {
        let input = child.stdin.take();
        thread::spawn(move || {
            // The command need not read it.
            let _unread = input.map(|mut input| input.write_all(message.as_bytes()));
        });
        let (send, printed) = mpsc::channel();
        let errors = child.stderr.take();
        thread::spawn(move || {
            let _unheard = send.send(errors.map_or_else(String::new, first));
        });
        let status = child.wait();
        kill(leader);
        let printed = printed.recv_timeout(PRINTED).unwrap_or_default();
        let _unheard = tell.send((status, printed));
    });
    let Ok(Ok((status, printed))) = timeout(limit, told).await else {
        return Err(SendError::Late);
    };
    all.has_ended = true;
    let status = status.map_err(start)?;
    if status.success() {
        return Ok(());
    }
    Err(SendError::Command {
        status: how(status),
        printed: if printed.is_empty() {
            String::new()
        } else {
            format!(": {printed}")
        },
    })
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// The first part of what a command prints, on one line. The rest is read, too, so that nothing waits.
fn first(mut from: impl Read) -> String {
    let mut text = Vec::new();
    let mut buffer = [0; 1024];
    while let Ok(length) = from.read(&mut buffer) {
        if length == 0 {
            break;
        }
        let room = MOST_PRINTED.saturating_sub(text.len());
        text.extend_from_slice(&buffer[..length.min(room)]);
    }
    let text = String::from_utf8_lossy(&text).replace(char::is_control, " ");
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerts::Notice;
    use crate::config::Zone;
    use crate::data::Timestamp;

    fn group() -> Group {
        let now = Timestamp::parse("2026-05-04T14:00:00Z").unwrap();
        Group {
            notices: vec![Notice::test(now)],
            host: "db1".to_owned(),
            zone: Zone::UTC,
            now,
        }
    }

    #[test]
    fn chats_get_the_text_alone() {
        let is_text = |address: &str, format| is_text(&Webhook::parse(address).unwrap(), format);
        for (address, by_itself) in [
            (
                "https://chat.googleapis.com/v1/spaces/A/messages?key=k&token=t",
                true,
            ),
            ("https://hooks.slack.com/services/T/B/x", true),
            ("https://discord.com/api/webhooks/1/x/slack", true),
            ("https://alerts.example.com/helena", false),
            ("https://chat.googleapis.com.example.com/", false),
        ] {
            assert_eq!(is_text(address, AlertFormat::Auto), by_itself, "{address}");
            assert!(is_text(address, AlertFormat::Text));
            assert!(!is_text(address, AlertFormat::Json));
        }
    }

    #[tokio::test]
    async fn a_command_gets_the_message_and_not_what_is_hidden() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("got");
        let command = format!(
            "(cat; echo; echo \"$ALERT_SUBJECT|$ALERT_COUNT|${{HOME+home}}\") > {0}.part; \
             mv {0}.part {0}",
            file.display()
        );
        let hidden = ["HOME".to_owned()];
        run(&command, &hidden, &group(), COMMAND).await.unwrap();
        let got = std::fs::read_to_string(file).unwrap();
        let (message, variables) = got.split_once('\n').unwrap();
        let message: serde_json::Value = serde_json::from_str(message).unwrap();
        assert_eq!(message["alerts"][0]["alert"], "test");
        assert_eq!(variables.trim(), "helena-sync: test|1|");
    }

    #[tokio::test]
    async fn a_command_that_fails_says_why_and_one_that_reads_nothing_succeeds() {
        let error = run("echo no such host >&2; exit 69", &[], &group(), COMMAND).await;
        assert_eq!(
            error.unwrap_err().to_string(),
            "alerts.command failed with exit status 69: no such host; check the command"
        );
        run("exec true", &[], &group(), COMMAND).await.unwrap();
    }

    /// Whether a process is there and works.
    fn lives(pid: &str) -> bool {
        std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()))
            .is_ok_and(|stat| !stat.contains(") Z "))
    }

    #[tokio::test]
    async fn what_a_command_leaves_behind_is_killed_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        for (end, limit) in [("exit 0", COMMAND), ("wait", Duration::from_millis(500))] {
            let command = format!("sleep 300 & echo $! > {}; {end}", file.display());
            let ended = run(&command, &[], &group(), limit).await;
            assert_eq!(ended.is_ok(), end == "exit 0", "{ended:?}");
            let pid = std::fs::read_to_string(&file).unwrap();
            while lives(&pid) {
                tokio::task::yield_now().await;
            }
        }
    }
}
