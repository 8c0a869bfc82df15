//! The accounts of `run` and their tasks: started, ended, and replaced when the configuration is read again.

#![warn(
    clippy::wildcard_enum_match_arm,
    reason = "each layer decides about every case of a failure"
)]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument as _, error_span};

use super::engine::{self, EngineMaker};
use super::reload::{self, Needs};
use super::run::RunArgs;
use super::serving::{Renewal, Serving};
use super::shares::Shares;
use super::stored::{self, Busy};
use super::{Account, Context, Exit, Failure, alerts};
use crate::alerts::{Watch, Watched};
use crate::api::Client;
use crate::config::{DatabaseUrl, Doorbell, Http};
use crate::daemon::{self, AccountError, AccountTask, Intervals, Relay, WhenHeld};
use crate::data::counted;
use crate::doorbell::Bells;
use crate::http::Observed;
use crate::metrics::Meter;
use crate::schedule::{self, Scheduler, Slots, Trigger};
use crate::store::{Lease, Store, StoreError};
use crate::sync::{Engine, Report};
use crate::telemetry;

/// The progress of an account's engine, while there is one.
type Progress = Arc<Mutex<Option<watch::Receiver<Report>>>>;

/// The name of an account, and how its task ended.
type Ended = (String, Result<Result<(), AccountError>, JoinError>);

/// An account and its task.
struct Member {
    account: Account,
    client: Client,
    slots: Slots,
    progress: Progress,
    meter: Meter,
    /// Ends its task alone.
    stop: CancellationToken,
    is_working: bool,
    /// What takes its place once its task has ended.
    next: Option<(Account, Client)>,
    /// Whether the configuration has it no more.
    is_leaving: bool,
}

/// What the tasks share.
pub(super) struct Shared<'a> {
    pub(super) args: &'a RunArgs,
    pub(super) store: Store,
    pub(super) serving: &'a Serving,
    pub(super) watch: Arc<Watch>,
    /// The doorbells, if the platform can call.
    pub(super) bells: Option<Bells>,
    pub(super) stop: CancellationToken,
    /// The database that is open, whatever the configuration says since.
    pub(super) url: DatabaseUrl,
}

/// The accounts of a process.
pub(super) struct Fleet<'a> {
    context: Arc<Context>,
    /// The configuration at the start.
    first: Arc<Context>,
    shared: Shared<'a>,
    scheduler: Scheduler,
    members: Vec<Member>,
    tasks: FuturesUnordered<BoxFuture<'static, Ended>>,
    shares: Shares,
    /// Passes on calls of the platform, and what takes them.
    relay: Option<(Arc<Relay>, AbortOnDropHandle<Infallible>)>,
    /// The accounts whose tasks failed.
    failed: BTreeMap<String, Failure>,
}

/// What was done with a new configuration.
#[derive(Default)]
struct Outcome {
    applied: Vec<String>,
    restart: Vec<String>,
}

impl<'a> Fleet<'a> {
    /// Starts a task for each account.
    pub(super) async fn begin(
        context: Arc<Context>,
        shared: Shared<'a>,
        accounts: Vec<(Account, Client)>,
    ) -> Result<Self, Failure> {
        let scheduler = Scheduler::new(Arc::clone(&context.clock))
            .await
            .map_err(Failure::failed)?;
        let (store, stop) = (&shared.store, &shared.stop);
        let all = accounts.iter().map(|(account, _)| account);
        let sharing = Box::pin(Shares::begin(&context, store, all, shared.args, stop)).await;
        let relay = shared.bells.as_ref().map(|_| {
            let relay = Arc::new(Relay::new(store.clone(), Arc::clone(&context.clock)));
            let taking = tokio::spawn(Arc::clone(&relay).keep_taking());
            (relay, AbortOnDropHandle::new(taking))
        });
        let mut fleet = Self {
            first: Arc::clone(&context),
            context,
            shared,
            scheduler,
            members: Vec::new(),
            tasks: FuturesUnordered::new(),
            shares: sharing,
            relay,
            failed: BTreeMap::new(),
        };
        let alone = accounts.len() == 1;
        let when_held = match (fleet.shared.args.wait, alone) {
            (true, _) => WhenHeld::Wait,
            (false, true) => WhenHeld::GiveUpIfAlive,
            (false, false) => WhenHeld::WaitAndWarn,
        };
        for (account, client) in accounts {
            fleet.start(account, client, alone, when_held)?;
        }
        fleet.scheduler.start().await.map_err(Failure::failed)?;
        fleet
            .shared
            .serving
            .watch_scheduler(fleet.scheduler.pulse());
        fleet.show()?;
        Ok(fleet)
    }

    /// Starts the task of an account. `alone` if the process has no other one at its start.
    fn start(
        &mut self,
        account: Account,
        client: Client,
        alone: bool,
        when_held: WhenHeld,
    ) -> Result<(), Failure> {
        let (slots, triggers) = schedule::slots();
        self.plan(&slots)?;
        let meter = Meter::new(&account.name);
        meter.begin();
        let serving = self.shared.serving;
        serving.watch_account(&account.name, meter.pulse());
        let (task, progress) = self.task(&account, alone, &client, meter.clone())?;
        // Of the highest level, so that it is there whatever is logged.
        let span = error_span!("account", account = account.name);
        let stop = self.shared.stop.child_token();
        let working = task.run(when_held, triggers, stop.clone());
        let task = tokio::spawn(working.instrument(span));
        let name = account.name.clone();
        self.tasks.push(Box::pin(async move { (name, task.await) }));
        let member = Member {
            account,
            client,
            slots,
            progress,
            meter,
            stop,
            is_working: true,
            next: None,
            is_leaving: false,
        };
        let name = &member.account.name;
        match self
            .members
            .iter_mut()
            .find(|one| one.account.name == *name)
        {
            Some(place) => *place = member,
            None => self.members.push(member),
        }
        Ok(())
    }

    /// The task of an account, and the progress of its engine.
    fn task(
        &self,
        account: &Account,
        alone: bool,
        client: &Client,
        meter: Meter,
    ) -> Result<(AccountTask<Engines>, Progress), Failure> {
        let (context, store) = (&self.context, &self.shared.store);
        let sync = context.settings.sync()?;
        let what = if alone {
            "1 account".to_owned()
        } else {
            format!("account {}", account.name)
        };
        let url = &self.shared.url;
        let maker = EngineMaker::new(context, store, &account.name, client.clone())?
            .resuming_requested(self.shared.args.backfills)
            .metered(meter.clone())
            .quietly();
        let progress = maker.progress();
        let base_url = account.base_url.as_str();
        let task = AccountTask {
            claim: stored::claim(context, store, &account.name, base_url)?
                .sharing(self.shares.handle()),
            engines: Engines {
                maker,
                account: account.name.clone(),
                begun: format!("keeping {what} in {url} up to date, {}", sync.schedule),
            },
            clock: Arc::clone(&context.clock),
            bell: self
                .shared
                .bells
                .as_ref()
                .map(|bells| bells.add(&account.name, &sync.resources)),
            resources: sync.resources,
            intervals: Intervals {
                catalog: sync.catalog_interval,
                refresh_open: sync.refresh_open,
            },
            is_alone: alone,
            meter,
            relay: self.relay.as_ref().map(|(relay, _)| Arc::clone(relay)),
        };
        Ok((task, progress))
    }

    /// Makes the schedules of an account fire.
    fn plan(&self, slots: &Slots) -> Result<(), Failure> {
        let (settings, zone) = (&self.context.settings, self.context.zone()?);
        for (trigger, schedule) in [
            (Trigger::Pass, Some(settings.sync()?.schedule)),
            (Trigger::Verify, settings.verify()?.schedule),
        ] {
            if let Some(schedule) = schedule {
                self.scheduler.add(trigger, &schedule, zone, slots.clone());
            }
        }
        Ok(())
    }

    /// Tells the status page and the alerts which accounts there are.
    fn show(&self) -> Result<(), Failure> {
        let staying = || self.members.iter().filter(|member| !member.is_leaving);
        let observed = staying().map(|member| Observed {
            name: member.account.name.clone(),
            client: member.client.clone(),
            slots: member.slots.clone(),
            progress: Arc::clone(&member.progress),
        });
        let shared = &self.shared;
        let sync = self.context.settings.sync()?;
        let view = &shared.serving.view;
        let schedules = (sync, self.context.settings.verify()?.schedule);
        view.begin(
            shared.store.clone(),
            self.file(),
            schedules,
            observed.collect(),
        );
        let watched = staying().map(|member| Watched {
            name: member.account.name.clone(),
            meter: member.meter.clone(),
        });
        let (mut subject, _) = alerts::subject(&self.context, watched.collect())?;
        subject.file = self.file();
        shared.watch.set(subject);
        shared.watch.begin(shared.store.clone());
        Ok(())
    }

    /// The file of a SQLite database.
    fn file(&self) -> Option<PathBuf> {
        let url = &self.shared.url;
        let file = url.sqlite_file().filter(|_| !url.is_in_memory());
        file.map(Path::to_owned)
    }

    /// What the process does.
    pub(super) fn doing(&self) -> String {
        let staying = self.members.iter().filter(|member| !member.is_leaving);
        let count = counted(staying.count() as u64, "account");
        format!("keeping {count} up to date")
    }

    /// Waits until a task ends, and starts what takes its place. False if none is left.
    pub(super) async fn one_ended(&mut self) -> bool {
        let Some((name, ended)) = self.tasks.next().await else {
            return false;
        };
        self.shared.serving.account_ended(&name);
        let place = self.members.iter().position(|one| one.account.name == name);
        let Some(place) = place else {
            return true;
        };
        let member = &mut self.members[place];
        member.is_working = false;
        let next = member
            .next
            .take()
            .filter(|_| !self.shared.stop.is_cancelled());
        let failure = conclude(&self.context, &member.account, ended).err();
        if let Some((account, client)) = next {
            self.replace(account, client);
        } else if member.is_leaving {
            let member = self.members.remove(place);
            self.forget(&member);
        } else if let Some(failure) = failure {
            if self.members.len() > 1 {
                tracing::error!(account = name, "{}", failure.line());
            }
            self.failed.insert(name, failure);
        }
        true
    }

    /// The configuration has this account no more, and its task has ended.
    fn forget(&self, member: &Member) {
        self.scheduler.remove(&member.slots);
        if let Some(bells) = &self.shared.bells {
            bells.remove(&member.account.name);
        }
    }

    /// Starts the work on an account over, or for the first time, while others go on.
    fn replace(&mut self, account: Account, client: Client) {
        let name = account.name.clone();
        self.failed.remove(&name);
        if let Some(member) = self.members.iter().find(|one| one.account.name == name) {
            self.scheduler.remove(&member.slots);
        }
        let when_held = if self.members.len() > 1 {
            WhenHeld::WaitAndWarn
        } else {
            WhenHeld::Wait
        };
        let started = self.start(account, client, false, when_held);
        if let Err(failure) = started.and_then(|()| self.show()) {
            tracing::error!(account = name, "{}", failure.line());
            self.failed.insert(name, failure);
        }
    }

    /// Reads the configuration again and applies what has changed, or says why nothing changes.
    pub(super) async fn reload(&mut self) {
        match Box::pin(self.apply()).await {
            Ok(outcome) => outcome.tell(),
            Err(failure) if failure.exit != Exit::Usage => tracing::error!(
                "the configuration was read again and cannot be applied now, so nothing changes: {}. Send \
                 SIGHUP again later",
                failure.line()
            ),
            Err(failure) => tracing::error!(
                "the configuration was read again and is wrong, so nothing changes: {}. Correct it, and \
                 send SIGHUP again",
                failure.line()
            ),
        }
    }

    async fn apply(&mut self) -> Result<Outcome, Failure> {
        let settings = self.context.settings.again()?;
        settings.check()?;
        let context = Arc::new(self.context.renewed(settings)?);
        let (http, _) = context.settings.http()?;
        let (doorbell, _) = context.settings.doorbell()?;
        context.settings.alerts()?;
        engine::settings(&context)?;
        let accounts = clients(&context)?;
        let changed = self.context.settings.differing(&context.settings);
        let need = |wanted: Needs| changed.iter().any(|key| reload::needs(key) == wanted);
        let mut outcome = Outcome::default();
        if changed.iter().any(|key| key.starts_with("report.")) {
            context.keep_reports(&self.shared.store).await?;
        }
        if changed.contains(&"log.level") && !has_own_levels(&context) {
            telemetry::set_level(context.settings.log()?.level);
        }
        self.context = Arc::clone(&context);
        for key in &changed {
            match reload::needs(key) {
                Needs::Nothing if *key == "log.level" && has_own_levels(&context) => {
                    outcome
                        .applied
                        .push("log.level (RUST_LOG goes before it)".to_owned());
                }
                Needs::NewWork | Needs::NewSchedule | Needs::Nothing => {
                    outcome.applied.push((*key).to_owned());
                }
                // Compared with the start, so that it is named until then.
                Needs::Restart | Needs::Elsewhere => {}
            }
        }
        self.renew_secrets(&http, &doorbell, &changed, &mut outcome);
        let since_start = self.first.settings.differing(&context.settings);
        let restart = since_start.into_iter().map(str::to_owned);
        let restart = restart.filter(|key| reload::needs(key) == Needs::Restart);
        outcome.restart.extend(restart);
        let all = accounts.iter().map(|(account, _)| account);
        let shares = Box::pin(self.shares.grow(&context, &self.shared.store, all)).await;
        self.take_over(accounts, shares || need(Needs::NewWork), &mut outcome);
        if need(Needs::NewSchedule) {
            for member in &self.members {
                self.scheduler.remove(&member.slots);
                self.plan(&member.slots)?;
            }
        }
        self.show()?;
        Ok(outcome)
    }

    /// Applies the token of readers and the secret of the doorbell. They are compared themselves, since a
    /// file may have another content under the same name.
    fn renew_secrets(
        &self,
        http: &Http,
        doorbell: &Doorbell,
        changed: &[&str],
        outcome: &mut Outcome,
    ) {
        let token = self.shared.serving.renew_token(http.token.as_ref());
        let secret = match (&self.shared.bells, &doorbell.secret) {
            (Some(_), None) => Renewal::NeedsRestart,
            (Some(bells), Some(secret)) if bells.renew(secret) => Renewal::Applied,
            (Some(_), Some(_)) | (None, _) => Renewal::Same,
        };
        for (key, renewal) in [("http.token", token), ("doorbell.secret", secret)] {
            let names = changed.iter().filter(|name| name.starts_with(key));
            let names: Vec<String> = names.map(|name| (*name).to_owned()).collect();
            match renewal {
                Renewal::NeedsRestart => outcome.restart.push(key.to_owned()),
                Renewal::Applied if names.is_empty() => {
                    let content = format!("the new content of {key}_file");
                    outcome.applied.push(content);
                }
                // Also the same secret by another key, or one that nothing uses now.
                Renewal::Applied | Renewal::Same => outcome.applied.extend(names),
            }
        }
        if secret == Renewal::Applied {
            tracing::warn!(
                "the doorbell has another secret, and the platform still calls the old addresses; run \
                 `helena-sync webhooks install --url https://...` to correct that"
            );
        }
    }

    /// Makes the accounts those of the new configuration. `all` if the work on each one starts over.
    fn take_over(&mut self, accounts: Vec<(Account, Client)>, all: bool, outcome: &mut Outcome) {
        for member in &mut self.members {
            let name = &member.account.name;
            if !accounts.iter().any(|(account, _)| account.name == *name) {
                outcome.applied.push(format!("account {name} removed"));
                member.next = None;
                member.is_leaving = true;
                member.stop.cancel();
            }
        }
        // Those that have failed are gone at once.
        let members = std::mem::take(&mut self.members);
        for member in members {
            if member.is_leaving && !member.is_working {
                self.failed.remove(&member.account.name);
                self.forget(&member);
            } else {
                self.members.push(member);
            }
        }
        for (account, client) in accounts {
            let name = account.name.clone();
            let Some(member) = self.members.iter_mut().find(|one| one.account.name == name) else {
                outcome.applied.push(format!("account {name} added"));
                self.replace(account, client);
                continue;
            };
            let is_same = member.account.is_same(&account) && !member.is_leaving;
            if !is_same {
                outcome.applied.push(format!("account {name} changed"));
            } else if !all && member.next.is_none() {
                continue;
            }
            member.is_leaving = false;
            if member.is_working {
                member.next = Some((account, client));
                member.stop.cancel();
            } else {
                self.replace(account, client);
            }
        }
    }

    /// Stops the schedules. Returns the failures of tasks and the number of accounts.
    pub(super) async fn end(self) -> (Vec<Failure>, usize) {
        self.shares.end().await;
        if let Err(error) = self.scheduler.stop().await {
            tracing::debug!(error = %error, "the scheduler did not stop cleanly");
        }
        (self.failed.into_values().collect(), self.members.len())
    }
}

impl Outcome {
    /// Logs what was done, on one line.
    fn tell(&self) {
        let applied = self.applied.join(", ");
        let restart = self.restart.join(", ");
        match (self.applied.is_empty(), self.restart.is_empty()) {
            (true, true) => tracing::info!("the configuration was read again; nothing has changed"),
            (false, true) => tracing::info!("the configuration was read again; applied: {applied}"),
            (true, false) => tracing::warn!(
                "the configuration was read again; to apply {restart}, restart the process"
            ),
            (false, false) => tracing::warn!(
                "the configuration was read again; applied: {applied}; to apply {restart}, restart the \
                 process"
            ),
        }
    }
}

/// Whether `RUST_LOG` sets the levels of the log.
fn has_own_levels(context: &Context) -> bool {
    let levels = context.settings.variable("RUST_LOG");
    levels.is_some_and(|levels| !levels.trim().is_empty())
}

/// The configured accounts and their clients.
pub(super) fn clients(context: &Context) -> Result<Vec<(Account, Client)>, Failure> {
    let accounts = context.accounts()?.into_iter();
    accounts
        .map(|account| {
            let client = engine::client(context, &account, None)?;
            Ok((account, client))
        })
        .collect()
}

/// The failure that ended an account's task, if it did not end because of a signal.
fn conclude(
    context: &Context,
    account: &Account,
    ended: Result<Result<(), AccountError>, JoinError>,
) -> Result<(), Failure> {
    let name = &account.name;
    let error = match ended {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => error,
        Err(error) => {
            let doing = format!("account {name} is no longer synced: its task failed");
            return Err(Failure::failed(error).context(doing));
        }
    };
    Err(match error {
        AccountError::Held { .. } => stored::no_lease(context, name, Busy::GiveUp, error),
        AccountError::Run(error) => account.concern(error.into()),
    })
}

/// Builds the engines of an account, and logs when its syncs begin.
struct Engines {
    maker: EngineMaker,
    account: String,
    begun: String,
}

impl daemon::Engines for Engines {
    type Source = Client;

    async fn begin(&self, lease: &Lease) -> Result<Arc<Engine<Client>>, StoreError> {
        let (engine, watching) = self.maker.begin(lease).await?;
        tokio::spawn(watching.in_current_span());
        tracing::info!(account = self.account, "{}", self.begun);
        Ok(engine)
    }
}
