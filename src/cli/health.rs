//! `health`: asks the running daemon whether it makes progress.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::{Context, Exit, Failure, refused_options};
use crate::config::reachable;
use crate::data::without_os_numbers;

/// How long the daemon may take to answer.
const PATIENCE: Duration = Duration::from_secs(8);

/// Ask the running daemon whether it makes progress.
///
/// Asks run at http.listen, on this machine, and exits with 0 if no task of it is stuck. With --ready,
/// exits with 0 if the database answers and every account is as fresh as its schedule promises. Prints
/// why it is not. Meant for health checks of containers. It reads neither the database nor the
/// platform, so it is cheap. If the configuration names a database, an answer of run for another one
/// counts as none: give each run of a machine an http.listen of its own.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  helena-sync health
  helena-sync health --ready", args = refused_options::hidden(refused_options::HEALTH))]
pub struct HealthArgs {
    /// Ask whether the mirror is fresh, not only whether the process makes progress
    #[arg(long)]
    pub ready: bool,
}

/// The part of the answer that counts.
#[derive(Deserialize)]
struct Answer {
    reasons: Vec<String>,
    /// What does not count.
    #[serde(default)]
    refused: Vec<String>,
    /// Tells one run from another, if this may read it.
    #[serde(default)]
    database: Option<String>,
}

/// Asks the daemon.
pub(super) async fn run(context: &Context, args: HealthArgs) -> Result<Exit, Failure> {
    let (http, _) = context.settings.http()?;
    let Some(listen) = http.listen else {
        return Err(Failure::usage_text(
            "http.listen is off, so run answers nobody; `helena-sync status --max-lag` asks the database instead",
        ));
    };
    let address = reachable(listen);
    let token = http.token.as_ref();
    let ask = async |path| {
        ask(address, path, token).await.map_err(|error| {
            // The layers between say nothing more.
            let cause = anyhow::Error::from(error).root_cause().to_string();
            Failure::failed(anyhow::anyhow!(without_os_numbers(&cause))).context(format!(
                "no answer from run at {address}; check that it is running with the same http.listen"
            ))
        })
    };
    let health = ask("healthz").await?;
    // A wrong address of a database is not the daemon's.
    if let Ok(database) = context.settings.database()
        && !database.is_default
        && let Some(answered) = &health.database
        && *answered != database.fingerprint()
    {
        return Err(Failure::failed(anyhow::anyhow!(
            "what answers at {address} is run for another database than {}; give each run on this machine \
             an address of its own with http.listen",
            database.url
        )));
    }
    let answer = if args.ready {
        ask("readyz").await?
    } else {
        health
    };
    for text in &answer.refused {
        context.note(text);
    }
    if answer.reasons.is_empty() {
        context.note(if args.ready { "ready" } else { "healthy" });
        return Ok(Exit::Done);
    }
    for reason in &answer.reasons {
        context.note(reason);
    }
    Ok(Exit::Failed)
}

async fn ask(
    address: SocketAddr,
    path: &str,
    token: Option<&SecretString>,
) -> Result<Answer, reqwest::Error> {
    // If a provider is installed already, this client uses it.
    let _installed_before = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .timeout(PATIENCE)
        .no_proxy()
        // Plain http needs no certificates, and a container may have none.
        .tls_certs_only([])
        .build()?;
    let url = format!("http://{address}/{path}");
    let mut request = client.get(url);
    if let Some(token) = token {
        request = request.bearer_auth(token.expose_secret());
    }
    let answer = request.send().await?;
    let body = answer.bytes().await?;
    // Another program may have the address.
    Ok(serde_json::from_slice(&body).unwrap_or_else(|_| Answer {
        reasons: vec![format!(
            "what answers at {address} is not run; set http.listen to the address of run"
        )],
        refused: Vec::new(),
        database: None,
    }))
}
