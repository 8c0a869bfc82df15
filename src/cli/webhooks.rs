//! `webhooks`: manages the subscription through which the platform rings the doorbell. It is the only
//! command that writes to the platform.

use std::io;

use clap::{Args, Subcommand};
use secrecy::ExposeSecret as _;
use serde_json::json;
use url::{Host, Url};

use super::formats::TextOrJson;
use super::waiting::patiently;
use super::{Account, Context, Exit, Failure, Patience, refused_options};
use crate::api::{Client, SubscriptionBody};
use crate::data::{Resource, Source as _, Subscription, SubscriptionState};
use crate::doorbell::{self, Address, LONGEST_URL, SUBSCRIPTION};
use crate::output::{Printer, terminal_width};

/// Manage the webhooks of the platform that ring the doorbell.
///
/// With them, run reads a change within a second or two, and not only when sync.schedule fires. install
/// and remove are the only commands that change anything on the platform, and change nothing but the
/// subscription named "helena-sync doorbell". docs/doorbell.md says how to set everything up.
#[derive(Debug, Args)]
pub struct WebhooksArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: WebhooksCommand,
}

/// What to do with the webhooks.
#[derive(Debug, Subcommand)]
pub enum WebhooksCommand {
    /// Let the platform ring the doorbell
    ///
    /// Writes to the platform: creates the subscription "helena-sync doorbell" of each account, or corrects
    /// it if its address, its events or its state are not right. Its events are those of the resources in
    /// sync.resources: sessions, contacts and templates. Its address is the one of --url with a secret path
    /// made of doorbell.secret. Then looks whether the platform has taken it over.
    #[command(args = refused_options::hidden(refused_options::LIVE), after_long_help = "\
Examples:
  helena-sync webhooks install --url https://mirror.example.com
  helena-sync webhooks install --url https://example.com/helena --account loja-norte")]
    Install(InstallArgs),
    /// List the subscriptions of webhooks
    ///
    /// Of all programs that use the account, read live from the platform. Of addresses, only the host is
    /// shown, since the rest may be secret. Changes nothing.
    #[command(args = refused_options::hidden(refused_options::LIVE), after_long_help = "\
Examples:
  helena-sync webhooks list
  helena-sync webhooks list --json")]
    List(TextOrJson),
    /// Let the platform ring no longer
    ///
    /// Writes to the platform: deletes the subscription "helena-sync doorbell" of each account. Changes are
    /// then read when sync.schedule fires. Set doorbell.listen to off, too.
    #[command(args = refused_options::hidden(refused_options::LIVE), after_long_help = "\
Examples:
  helena-sync webhooks remove
  helena-sync webhooks remove --account loja-norte")]
    Remove,
}

/// Options of `install`.
#[derive(Debug, Args)]
pub struct InstallArgs {
    /// Address at which the platform reaches the doorbell through your proxy, without the secret path
    #[arg(long, value_name = "URL", value_parser = base)]
    pub url: Url,
}

/// Does it.
pub(super) async fn run(context: &Context, args: WebhooksArgs) -> Result<Exit, Failure> {
    match args.command {
        WebhooksCommand::Install(InstallArgs { url }) => install(context, &url).await,
        WebhooksCommand::List(format) => list(context, format).await,
        WebhooksCommand::Remove => remove(context).await,
    }
}

const ACCEPTED: &str = "(accepted: https:// and a host, such as https://mirror.example.com)";

/// Parses the address of the proxy.
fn base(text: &str) -> Result<Url, String> {
    let url = Url::parse(text.trim()).map_err(|error| format!("{error} {ACCEPTED}"))?;
    let is_loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => return Err(format!("it has no host {ACCEPTED}")),
    };
    if url.scheme() == "http" && !is_loopback {
        return Err(format!(
            "plain http would show the secret path to others on the way {ACCEPTED}"
        ));
    }
    if !matches!(url.scheme(), "https" | "http") {
        return Err(format!("it has another protocol than https {ACCEPTED}"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it contains a user name or a password; remove it".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("it has a part after ? or #; remove it".to_owned());
    }
    Ok(url)
}

/// The platform's side of an account.
struct Hooks<'a> {
    context: &'a Context,
    account: &'a Account,
    client: Client,
}

impl<'a> Hooks<'a> {
    fn of(context: &'a Context, account: &'a Account) -> Result<Self, Failure> {
        Ok(Self {
            context,
            account,
            client: account.client(context, &[], Patience::Endless)?,
        })
    }

    fn concern(&self, doing: &str, failure: impl Into<Failure>) -> Failure {
        let (name, url) = (&self.account.name, &self.account.base_url);
        failure
            .into()
            .context(format!("cannot {doing} of account {name} at {url}"))
    }

    async fn subscriptions(&self) -> Result<Vec<Subscription>, Failure> {
        let asked = self.client.subscriptions();
        patiently(self.context, &self.client, asked)
            .await?
            .map_err(|error| self.concern("read the subscriptions", error))
    }

    fn note(&self, text: &str) {
        let (name, url) = (&self.account.name, &self.account.base_url);
        self.context
            .note(&format!("account {name} at {url}: {text}"));
    }

    /// The events of the mirrored resources that the platform knows, as it spells them.
    async fn events(&self, mirrored: &[Resource]) -> Vec<String> {
        let wanted = doorbell::events(mirrored);
        // One that cannot tell its events may still accept them.
        let known = self.client.webhook_events().await.unwrap_or_default();
        let spelled = |event: &&str| {
            if known.is_empty() {
                return Some((*event).to_owned());
            }
            let mut known = known.iter();
            known.find(|it| it.eq_ignore_ascii_case(event)).cloned()
        };
        wanted.iter().filter_map(spelled).collect()
    }

    /// Makes the subscription right. Returns what was changed, if anything was.
    async fn install(
        &self,
        address: &Address,
        url: &Url,
        mirrored: &[Resource],
    ) -> Result<(), Failure> {
        let doing = "install the doorbell's subscription";
        let whole = address.below(url);
        let events = self.events(mirrored).await;
        let all = self.subscriptions().await?;
        let ours: Vec<&Subscription> = all.iter().filter(|one| doorbell::is_ours(one)).collect();
        let is_there = |one: &&&Subscription| one.url == whole.expose_secret();
        let kept = ours.iter().find(is_there).or(ours.first()).copied();
        let body = SubscriptionBody {
            name: SUBSCRIPTION,
            url: &whole,
            events: &events,
        };
        let is_right = |one: &Subscription| {
            let has = |event: &String| one.events.iter().any(|it| it.eq_ignore_ascii_case(event));
            one.enabled && one.url == whole.expose_secret() && events.iter().all(has)
        };
        let written = match kept {
            Some(one) if is_right(one) => None,
            Some(one) => Some(("corrected", self.client.resubscribe(one.id, &body).await)),
            None => Some(("created", self.client.subscribe(&body).await)),
        };
        let done = match written {
            Some((done, written)) => {
                written.map_err(|error| self.concern(doing, error))?;
                Some(done)
            }
            None => None,
        };
        let others = ours
            .iter()
            .filter(|one| kept.is_none_or(|it| it.id != one.id));
        let mut deleted = 0;
        for one in others {
            let removed = self.client.unsubscribe(one.id).await;
            removed.map_err(|error| self.concern(doing, error))?;
            deleted += 1;
        }
        let state = address.judge(&self.subscriptions().await?, mirrored);
        if let (Some(_), Some(_)) = (done, state.problem()) {
            let why = anyhow::anyhow!(
                "the platform accepted the subscription, but shows it otherwise ({}); look at it in the \
                 account's settings",
                state.as_str()
            );
            return Err(self.concern(doing, Failure::failed(why)));
        }
        let events = events.join(", ");
        let twice = match deleted {
            0 => String::new(),
            more => format!("; deleted {more} more of the same name"),
        };
        self.note(&match done {
            Some(done) => format!(
                "wrote to the platform: {done} the subscription {SUBSCRIPTION:?} with the events {events}{twice}"
            ),
            None => format!(
                "the subscription {SUBSCRIPTION:?} is right, with the events {events}{twice}"
            ),
        });
        Ok(())
    }
}

async fn install(context: &Context, url: &Url) -> Result<Exit, Failure> {
    let (doorbell, warning) = context.settings.doorbell()?;
    if let Some(warning) = warning {
        tracing::warn!("{warning}");
    }
    let Some(secret) = doorbell.secret else {
        return Err(Failure::usage_text(
            "the doorbell has no secret: set doorbell.secret_file or doorbell.secret, for run too; make one \
             with `openssl rand -hex 32`",
        ));
    };
    let mirrored = context.settings.sync()?.resources;
    if doorbell::events(&mirrored).is_empty() {
        return Err(Failure::usage_text(
            "no resource in sync.resources has webhooks; add sessions, contacts or templates",
        ));
    }
    let accounts = context.accounts()?;
    for account in &accounts {
        let address = Address::new(&secret, &account.name);
        if address.below(url).expose_secret().len() > LONGEST_URL {
            return Err(Failure::usage_text(format!(
                "--url is too long: with the secret path, the platform accepts {LONGEST_URL} characters"
            )));
        }
        let hooks = Hooks::of(context, account)?;
        hooks.install(&address, url, &mirrored).await?;
    }
    context.note(if doorbell.listen.is_none() {
        "doorbell.listen is off: set it and start `helena-sync run` again, so that somebody hears the platform"
    } else {
        "`helena-sync status` shows when the platform rang last"
    });
    Ok(Exit::Done)
}

async fn remove(context: &Context) -> Result<Exit, Failure> {
    for account in &context.accounts()? {
        let hooks = Hooks::of(context, account)?;
        let all = hooks.subscriptions().await?;
        let mut deleted = 0;
        for one in all.iter().filter(|one| doorbell::is_ours(one)) {
            let removed = hooks.client.unsubscribe(one.id).await;
            let doing = "delete the doorbell's subscription";
            removed.map_err(|error| hooks.concern(doing, error))?;
            deleted += 1;
        }
        hooks.note(&match deleted {
            0 => format!("there is no subscription {SUBSCRIPTION:?}"),
            1 => format!("wrote to the platform: deleted the subscription {SUBSCRIPTION:?}"),
            more => format!("wrote to the platform: deleted {more} subscriptions {SUBSCRIPTION:?}"),
        });
    }
    Ok(Exit::Done)
}

/// The part of an address that is no secret.
fn shown(url: &str) -> String {
    let parsed = Url::parse(url);
    parsed.map_or_else(
        |_| "?".to_owned(),
        |url| format!("{}/...", url.origin().ascii_serialization()),
    )
}

async fn list(context: &Context, format: TextOrJson) -> Result<Exit, Failure> {
    const COLUMNS: [&str; 7] = [
        "account", "name", "address", "enabled", "doorbell", "events", "id",
    ];
    let secret = context.settings.doorbell()?.0.secret;
    let mirrored = context.settings.sync()?.resources;
    let mut printer = Printer::new(io::stdout(), format.chosen(), &COLUMNS, terminal_width())?;
    let mut notes = Vec::new();
    for account in &context.accounts()? {
        let hooks = Hooks::of(context, account)?;
        let all = hooks.subscriptions().await?;
        for one in &all {
            let address = secret.as_ref().filter(|_| doorbell::is_ours(one));
            let address = address.map(|secret| Address::new(secret, &account.name));
            let state = address.map(|it| it.judge(std::slice::from_ref(one), &mirrored));
            let state = state.map(SubscriptionState::as_str);
            let json = json!({
                "account": account.name,
                "name": one.name,
                "address": shown(&one.url),
                "enabled": one.enabled,
                "doorbell": state,
                "events": one.events,
                "id": one.id,
            });
            let cells = [
                account.name.clone(),
                one.name.clone(),
                shown(&one.url),
                if one.enabled { "yes" } else { "no" }.to_owned(),
                state.unwrap_or_default().to_owned(),
                one.events.join(" "),
                one.id.to_string(),
            ];
            printer.record(&cells, &json.to_string())?;
        }
        if !all.iter().any(doorbell::is_ours) {
            notes.push(format!(
                "account {} has no subscription {SUBSCRIPTION:?}",
                account.name
            ));
        }
    }
    printer.finish()?;
    for note in &notes {
        context.note(note);
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_needs_https_and_no_secrets_of_its_own() {
        for text in [
            "https://mirror.example.com",
            "https://mirror.example.com:8443/helena/",
            "http://127.0.0.1:9465",
            "http://localhost:9465",
            "http://[::1]:9465",
        ] {
            assert!(base(text).is_ok(), "{text}");
        }
        for (text, why) in [
            ("mirror.example.com", "accepted: https://"),
            ("http://mirror.example.com", "plain http"),
            ("ftp://mirror.example.com", "another protocol"),
            ("https://u:p@mirror.example.com", "user name or a password"),
            ("https://mirror.example.com/?a=b", "after ? or #"),
            ("https://mirror.example.com/#a", "after ? or #"),
            ("https://", "accepted: https://"),
        ] {
            let said = base(text).unwrap_err();
            assert!(said.contains(why), "{text}: {said}");
        }
    }

    #[test]
    fn only_the_host_of_an_address_is_shown() {
        for (url, expected) in [
            ("https://example.com/ring/0123", "https://example.com/..."),
            (
                "http://127.0.0.1:9465/x?token=y",
                "http://127.0.0.1:9465/...",
            ),
            ("nonsense", "?"),
        ] {
            assert_eq!(shown(url), expected);
        }
    }
}
