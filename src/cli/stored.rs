//! What commands that work on the database share: its accounts, and the right to write.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Context, Failure};
use crate::api::Client;
use crate::store::{Account, AccountId, Acquired, Holder, Lease, Store};
use crate::sync;

/// The accounts that the database knows, as far as `--account` chooses them.
pub(super) async fn accounts(context: &Context, store: &Store) -> Result<Vec<Account>, Failure> {
    let accounts = store.accounts().await?;
    for name in context.selected() {
        if !accounts.iter().any(|account| account.name == *name) {
            let known: Vec<&str> = accounts.iter().map(|a| a.name.as_str()).collect();
            let known = if known.is_empty() {
                "none; the first run or sync adds them".to_owned()
            } else {
                known.join(", ")
            };
            return Err(Failure::usage_text(format!(
                "--account: the database has no account {name:?} (it has: {known})"
            )));
        }
    }
    let chosen = |account: &Account| {
        context.selected().is_empty() || context.selected().contains(&account.name)
    };
    Ok(accounts.into_iter().filter(chosen).collect())
}

/// The names of the accounts that a command is about unless it says otherwise: those of `--account`,
/// else those of the configuration; empty if neither names one, which means all.
///
/// What was taken out of the configuration stays in the database, and is nobody's concern any more.
pub(super) fn concerned(context: &Context) -> Result<Vec<String>, Failure> {
    if context.selected().is_empty() {
        Ok(context.settings.account_names()?)
    } else {
        Ok(context.selected().to_vec())
    }
}

/// The one account to work on.
pub(super) async fn account(context: &Context, store: &Store) -> Result<Account, Failure> {
    let mut accounts = accounts(context, store).await?;
    let joined = |accounts: &[Account]| {
        let names: Vec<&str> = accounts.iter().map(|a| a.name.as_str()).collect();
        names.join(", ")
    };
    let stored = joined(&accounts);
    let concerned = concerned(context)?;
    accounts.retain(|account| concerned.is_empty() || concerned.contains(&account.name));
    if accounts.is_empty() && !stored.is_empty() {
        return Err(Failure::usage_text(format!(
            "the database has no account of the configuration ({}); to change one that it has \
             ({stored}), choose it with --account",
            concerned.join(", ")
        )));
    }
    if accounts.len() > 1 {
        return Err(Failure::usage_text(format!(
            "the database has several accounts; choose one with --account ({})",
            joined(&accounts)
        )));
    }
    accounts.pop().ok_or_else(|| {
        Failure::usage_text("the database has no account yet; the first run or sync adds it")
    })
}

/// Refuses a token of another company than the one whose rows are stored for the account, or of one
/// that is stored under another name, before anything is said about what is stored.
pub(super) async fn confirm(
    store: &Store,
    name: &str,
    client: &Client,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    if let Some(company) = sync::company(client, stop).await? {
        store.check_company(name, company).await?;
    }
    Ok(())
}

/// What to do while another process writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Busy {
    /// Wait until it has ended.
    Wait,
    /// Give up, since `--wait` was not given.
    GiveUp,
    /// Give up; the command has no `--wait`.
    Refuse,
}

/// The right to write for an account. If another process has it: a failure that says which and
/// since when, or a wait until it is free.
pub(super) async fn acquire(
    context: &Context,
    store: &Store,
    name: &str,
    account: AccountId,
    busy: Busy,
) -> Result<Lease, Failure> {
    let holder = Holder::current();
    let zone = context.zone()?;
    let mut told = false;
    loop {
        match store.acquire(account, &holder, context.clock.now()).await? {
            Acquired::Lease(lease) => return Ok(lease),
            Acquired::Held { by, since } => {
                let since = zone.show_seconds(since);
                let advice = match busy {
                    Busy::Wait => None,
                    Busy::GiveUp => Some("stop it, or add --wait to wait for its end"),
                    Busy::Refuse => Some("stop it first"),
                };
                if let Some(advice) = advice {
                    return Err(Failure::failed(anyhow::anyhow!(
                        "{by} has been writing for account {name} since {since}; {advice}"
                    )));
                }
                if !told {
                    told = true;
                    tracing::info!(
                        account = name,
                        holder = by,
                        "waiting for {by}, which has been writing for account {name} since {since}"
                    );
                }
                context.clock.sleep(Duration::from_secs(1)).await;
            }
        }
    }
}
