//! `alerts`: lists the current alerts, and sends a test.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use clap::{Args, Subcommand};
use serde_json::json;

use super::formats::TextOrJson;
use super::{Access, Context, Exit, Failure, refused_options, stored};
use crate::alerts::{Channel, Group, Notice, Subject, Watched, send};
use crate::output::{Printer, terminal_width};
use crate::store::{Holder, StoredAlert};

/// List the current alerts, or send a test.
///
/// While run works, it tells operators when syncs fail for longer than alerts.failing_after, when the
/// platform refuses the token, when the mirror is older than alerts.max_lag allows, of new rejects, gaps and
/// differences, and when the disk of a SQLite database is nearly full. It sends one message when that begins,
/// one when it ends, and one a day meanwhile, to alerts.webhook, to alerts.command, or to both.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_long_help = "\
Examples:
  helena-sync alerts
  helena-sync alerts test"
)]
pub struct AlertsArgs {
    /// What to do. The default is list.
    #[command(subcommand)]
    pub command: Option<AlertsCommand>,
    /// The format of list.
    #[command(flatten)]
    pub format: TextOrJson,
}

/// What to do with alerts.
#[derive(Debug, Subcommand)]
pub enum AlertsCommand {
    /// List the current alerts
    ///
    /// The same as alerts alone. Prints the account, the kind of the alert, since when it is there, when it
    /// was last told, by which ways a message is still to be sent, and what was found. What has not lasted
    /// long enough to be told is shown, too.
    #[command(after_long_help = "\
Examples:
  helena-sync alerts list
  helena-sync alerts list --json", args = refused_options::hidden(refused_options::STORED))]
    List(TextOrJson),
    /// Send a test to alerts.webhook and alerts.command
    ///
    /// Says of each whether it accepted the message. Exits with 1 if one did not, and with 2 if neither is
    /// set. It reads neither the database nor the platform.
    #[command(after_long_help = "Example:\n  helena-sync alerts test", args = refused_options::hidden(refused_options::ALERTS_TEST))]
    Test,
}

const COLUMNS: [&str; 6] = ["account", "alert", "since", "told", "waiting", "detail"];

/// Runs the subcommand.
pub(super) async fn run(context: &Context, args: AlertsArgs) -> Result<Exit, Failure> {
    match args.command {
        None => list(context, args.format).await,
        Some(AlertsCommand::List(format)) => list(context, format).await,
        Some(AlertsCommand::Test) => test(context).await,
    }
}

/// What a process with these accounts watches, and whom it tells.
/// Also returns a warning about the file of the webhook.
pub(super) fn subject(
    context: &Context,
    accounts: Vec<Watched>,
) -> Result<(Subject, Option<String>), Failure> {
    let (alerts, warning) = context.settings.alerts()?;
    let url = context.settings.database()?.url;
    let file = url.sqlite_file().filter(|_| !url.is_in_memory());
    let subject = Subject {
        alerts,
        sync: context.settings.sync()?,
        zone: context.zone()?,
        accounts,
        file: file.map(Path::to_owned),
        hidden: context.settings.secret_variables(),
    };
    Ok((subject, warning))
}

/// Where messages of this way go, as text that may be shown.
pub(super) fn place(subject: &Subject, channel: Channel) -> String {
    match (channel, &subject.alerts.webhook) {
        (Channel::Webhook, Some(webhook)) => format!("alerts.webhook ({webhook})"),
        (Channel::Webhook, None) => "alerts.webhook".to_owned(),
        (Channel::Command, _) => "alerts.command".to_owned(),
    }
}

async fn test(context: &Context) -> Result<Exit, Failure> {
    let (subject, _) = subject(context, Vec::new())?;
    if subject.alerts.is_off() {
        return Err(Failure::usage_text(
            "nobody is told of alerts: set alerts.webhook or alerts.command, then try again",
        ));
    }
    let group = Group {
        notices: vec![Notice::test(context.clock.now())],
        host: Holder::current().host,
        zone: subject.zone,
        now: context.clock.now(),
    };
    let mut exit = Exit::Done;
    for channel in subject.channels() {
        match send(&subject, channel, &group).await {
            Ok(()) => context.note(&format!("{} accepted the test", place(&subject, channel))),
            Err(error) => {
                context.note(&format!("error: {error}"));
                exit = Exit::Failed;
            }
        }
    }
    Ok(exit)
}

async fn list(context: &Context, format: TextOrJson) -> Result<Exit, Failure> {
    let zone = context.zone()?;
    let store = context.store(Access::Read).await?;
    let mut waiting: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    let mut alerts: Vec<(Option<String>, StoredAlert)> = Vec::new();
    for account in stored::accounts(context, &store).await? {
        let of_account = store.current_alerts(Some(account.id)).await?;
        alerts.extend(
            of_account
                .into_iter()
                .map(|alert| (Some(account.name.clone()), alert)),
        );
    }
    let of_database = store.current_alerts(None).await?;
    alerts.extend(of_database.into_iter().map(|alert| (None, alert)));
    for channel in Channel::ALL {
        for message in store.pending_messages(channel.as_str()).await? {
            let ways = waiting.entry(message.alert.id).or_default();
            ways.push(channel.as_str().to_owned());
        }
    }
    store.close().await;
    let mut printer = Printer::new(io::stdout(), format.chosen(), &COLUMNS, terminal_width())?;
    let count = alerts.len();
    for (account, alert) in alerts {
        let ways = waiting.remove(&alert.id).unwrap_or_default();
        let json = json!({
            "account": account,
            "alert": alert.kind,
            "since": alert.began_at,
            "told_at": alert.told_at,
            "waiting": ways,
            "detail": alert.detail,
        });
        let told = alert
            .told_at
            .map_or_else(|| "not yet".to_owned(), |at| zone.show_seconds(at));
        let cells = [
            account.unwrap_or_default(),
            alert.kind,
            zone.show_seconds(alert.began_at),
            told,
            ways.join(", "),
            alert.detail,
        ];
        printer.record(&cells, &json.to_string())?;
    }
    printer.finish()?;
    if count == 0 {
        let is_off = context.settings.alerts()?.0.is_off();
        context.note(if is_off {
            "no alerts; nobody is told of any, since neither alerts.webhook nor alerts.command is set"
        } else {
            "no alerts"
        });
    }
    Ok(Exit::Done)
}
