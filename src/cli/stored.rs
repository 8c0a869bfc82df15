//! The database's accounts and their leases, for all commands that use the database.

#![warn(
    clippy::wildcard_enum_match_arm,
    reason = "each layer decides about every case of a failure"
)]

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{Context, Failure};
use crate::api::Client;
use crate::daemon::{AccountError, Claim, KeptLease, WhenHeld};
use crate::store::{Store, StoredAccount};
use crate::sync;

/// The accounts in the database that `--account` chooses; without it, all.
pub(super) async fn accounts(
    context: &Context,
    store: &Store,
) -> Result<Vec<StoredAccount>, Failure> {
    let accounts = store.accounts().await?;
    for name in context.selected() {
        if !accounts.iter().any(|account| account.name == *name) {
            let known: Vec<&str> = accounts.iter().map(|a| a.name.as_str()).collect();
            let known = if known.is_empty() {
                "none; the first sync adds them".to_owned()
            } else {
                known.join(", ")
            };
            return Err(Failure::usage_text(format!(
                "--account: the database has no account {name:?} (it has: {known})"
            )));
        }
    }
    let chosen = |account: &StoredAccount| {
        context.selected().is_empty() || context.selected().contains(&account.name)
    };
    Ok(accounts.into_iter().filter(chosen).collect())
}

/// The names of the accounts that a command covers by default: those of `--account`, else those of
/// the configuration. Empty means all.
///
/// An account that was removed from the configuration stays in the database, but is not covered.
pub(super) fn concerned(context: &Context) -> Result<Vec<String>, Failure> {
    if context.selected().is_empty() {
        Ok(context.settings.account_names()?)
    } else {
        Ok(context.selected().to_vec())
    }
}

/// The accounts in the database that a command covers: at least one.
pub(super) async fn covered(
    context: &Context,
    store: &Store,
) -> Result<Vec<StoredAccount>, Failure> {
    let mut accounts = accounts(context, store).await?;
    let stored = names(&accounts);
    let concerned = concerned(context)?;
    accounts.retain(|account| concerned.is_empty() || concerned.contains(&account.name));
    if accounts.is_empty() && !stored.is_empty() {
        return Err(Failure::usage_text(format!(
            "the database has none of the configured accounts ({}); it has {stored}: choose one with \
             --account",
            concerned.join(", ")
        )));
    }
    if accounts.is_empty() {
        return Err(Failure::usage_text(
            "the database has no account yet; run `helena-sync sync` first",
        ));
    }
    Ok(accounts)
}

fn names(accounts: &[StoredAccount]) -> String {
    let names: Vec<&str> = accounts.iter().map(|a| a.name.as_str()).collect();
    names.join(", ")
}

/// The chosen account, for commands that work on a single one.
pub(super) async fn account(context: &Context, store: &Store) -> Result<StoredAccount, Failure> {
    let mut accounts = covered(context, store).await?;
    if accounts.len() > 1 {
        return Err(Failure::usage_text(format!(
            "the database has several accounts; choose one with --account ({})",
            names(&accounts)
        )));
    }
    accounts.pop().ok_or_else(|| {
        Failure::usage_text("the database has no account yet; run `helena-sync sync` first")
    })
}

/// Refuses a token of the wrong company: another one than that of the account's rows, or one that is
/// stored under another account's name. Reuses what earlier requests learned about the API.
pub(super) async fn confirm(
    store: &Store,
    name: &str,
    client: &Client,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    if let Some(account) = store.find_account(name).await? {
        client.remember(&store.learned(account.id).await?);
    }
    if let Some(company) = sync::company(client, stop).await? {
        store.check_company(name, company).await?;
    }
    Ok(())
}

/// What to do while another process holds the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Busy {
    /// Wait until it has ended.
    Wait,
    /// Fail, and advise to use `--wait`.
    GiveUp,
    /// Fail. The command has no `--wait`.
    Refuse,
}

/// A claim to the lease of the account of this name, which is read from `base_url`.
pub(super) fn claim(
    context: &Context,
    store: &Store,
    name: &str,
    base_url: &str,
) -> Result<Claim, Failure> {
    Ok(Claim::new(
        store.clone(),
        Arc::clone(&context.clock),
        context.zone()?,
        name.to_owned(),
        base_url.to_owned(),
    ))
}

/// Acquires the lease of an account. If another process holds it, waits for it or fails with the
/// holder's name and since when it holds the lease.
pub(super) async fn acquire(
    context: &Context,
    claim: &mut Claim,
    busy: Busy,
    stop: &CancellationToken,
) -> Result<KeptLease, Failure> {
    let when_held = match busy {
        Busy::Wait => WhenHeld::Wait,
        Busy::GiveUp | Busy::Refuse => WhenHeld::GiveUp,
    };
    let acquired = claim.acquire(when_held, stop).await;
    acquired.map_err(|error| no_lease(context, claim.account(), busy, error))
}

/// The failure of a lease that could not be acquired, with advice.
pub(super) fn no_lease(
    context: &Context,
    account: &str,
    busy: Busy,
    error: AccountError,
) -> Failure {
    let (by, since) = match error {
        AccountError::Held { by, since } => (by, since),
        AccountError::Run(error) => return error.into(),
    };
    let zone = match context.zone() {
        Ok(zone) => zone,
        Err(failure) => return failure,
    };
    let advice = match busy {
        Busy::Wait | Busy::GiveUp => "stop it, or add --wait to wait until it ends",
        Busy::Refuse => "stop it first",
    };
    let since = zone.show_seconds(since);
    Failure::failed(anyhow::anyhow!(
        "another process writes for account {account}: {by}, since {since}; {advice}"
    ))
}
