//! What `run` tells others about itself: over HTTP, and to systemd.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sd_notify::NotifyState;
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::{Context, Failure};
use crate::config::Http;
use crate::doorbell::Bells;
use crate::health::{Health, Pulse, Stuck};
use crate::http::{Access, View, doorbell_routes, routes, serve};
use crate::metrics::Recorder;

/// The task of an account may be silent for this long: much longer than a request or a statement may take,
/// of which several may follow each other.
const PATIENCE: Duration = Duration::from_mins(30);

/// The schedules are looked at every second.
const SCHEDULER_PATIENCE: Duration = Duration::from_mins(1);

/// How much longer systemd is to wait for the start, each time.
const LONGER: Duration = Duration::from_mins(1);

/// Tells systemd something. Without systemd, it does nothing.
pub(super) fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "cannot notify systemd: {error}");
    }
}

/// Tells systemd that the configuration is read again. [`Serving::ready`] tells that this is done.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "cannot notify systemd: {error}"),
    }
}

/// Where the platform can call, and what it calls there.
pub(super) struct Door {
    pub(super) at: SocketAddr,
    pub(super) bells: Bells,
}

/// What became of a secret that was read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Renewal {
    /// It is the same as before.
    Same,
    /// It is another one, and counts from now on.
    Applied,
    /// There is none any more, which only a restart can apply.
    NeedsRestart,
}

/// What tells others about this process, until it is dropped.
pub(super) struct Serving {
    pub(super) view: Arc<View>,
    health: Arc<Health>,
    is_ready: Arc<AtomicBool>,
    /// Who may read, if anything is served.
    access: Option<Arc<Access>>,
    servers: Mutex<Vec<JoinHandle<()>>>,
    stop: CancellationToken,
    _looking: AbortOnDropHandle<()>,
}

impl Serving {
    /// Listens where the configuration says, and tells systemd that the process is alive.
    pub(super) async fn begin(context: &Context, door: Option<Door>) -> Result<Self, Failure> {
        let (http, warning) = context.settings.http()?;
        if let Some(warning) = warning {
            tracing::warn!("{warning}");
        }
        let listener = listen(&http).await?;
        let door = match door {
            Some(Door { at, bells }) => Some((listen_at_door(at).await?, bells)),
            None => None,
        };
        let clock = Arc::clone(&context.clock);
        let health = Arc::new(Health::new(Arc::clone(&clock)));
        let recorder = listener.as_ref().and_then(|_| Recorder::of_process());
        let view = Arc::new(View::new(
            Arc::clone(&clock),
            context.zone()?,
            Arc::clone(&health),
            recorder.clone(),
            context.settings.database()?.fingerprint(),
        ));
        let stop = CancellationToken::new();
        let mut servers = Vec::new();
        let mut access = None;
        if let Some(listener) = listener {
            let access = access.insert(Arc::new(Access::new(http.token.as_ref())));
            let router = routes(Arc::clone(&view), Arc::clone(access));
            let serving = serve(listener, router, Arc::clone(&clock), stop.clone());
            servers.push(tokio::spawn(serving));
        }
        if let Some((listener, bells)) = door {
            bells.begin();
            let router = doorbell_routes(bells, Arc::clone(&clock));
            servers.push(tokio::spawn(serve(listener, router, clock, stop.clone())));
        }
        let is_ready = Arc::new(AtomicBool::new(false));
        let looking = tokio::spawn(look(Arc::clone(&health), recorder, Arc::clone(&is_ready)));
        Ok(Self {
            view,
            health,
            is_ready,
            access,
            servers: Mutex::new(servers),
            stop,
            _looking: AbortOnDropHandle::new(looking),
        })
    }

    /// Readers need this token from now on. Nothing is opened to readers without one while the process runs:
    /// the address that the configuration has now may be another one.
    pub(super) fn renew_token(&self, token: Option<&SecretString>) -> Renewal {
        match (&self.access, token) {
            (Some(access), Some(token)) if access.renew(token) => Renewal::Applied,
            (Some(access), None) if access.needs_token() => Renewal::NeedsRestart,
            _ => Renewal::Same,
        }
    }

    /// Watches the task of an account.
    pub(super) fn watch_account(&self, name: &str, pulse: &Pulse) {
        self.health.watch(task_of(name), pulse.clone(), PATIENCE);
    }

    /// Watches the scheduler.
    pub(super) fn watch_scheduler(&self, pulse: &Pulse) {
        let task = "the scheduler".to_owned();
        self.health.watch(task, pulse.clone(), SCHEDULER_PATIENCE);
    }

    /// The task of an account has ended.
    pub(super) fn account_ended(&self, name: &str) {
        self.health.ended(&task_of(name));
    }

    /// The work has begun.
    pub(super) fn ready(&self, what: &str) {
        self.is_ready.store(true, Ordering::SeqCst);
        notify(&[NotifyState::Ready, NotifyState::Status(what)]);
    }

    /// Answers what was asked, and stops. Comes before the database is closed: an answer may be reading it.
    pub(super) async fn end(&self) {
        self.stop.cancel();
        let servers = {
            let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *servers)
        };
        for server in servers {
            // It does not panic, and nobody aborts it.
            let _ended = server.await;
        }
    }
}

fn task_of(account: &str) -> String {
    format!("the task of account {account}")
}

async fn open(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await?;
    let at = listener.local_addr()?;
    Ok((listener, at))
}

/// Opens the address of the doorbell.
async fn listen_at_door(address: SocketAddr) -> Result<TcpListener, Failure> {
    let (listener, at) = open(address).await.map_err(|error| {
        Failure::failed(anyhow::anyhow!(
            "{}; set doorbell.listen to another address, or to off",
            cannot(address, &error)
        ))
    })?;
    tracing::info!(address = %at, "the doorbell is at http://{at}/");
    Ok(listener)
}

/// Opens the address of the configuration. If nobody has chosen it, another program may have it.
async fn listen(http: &Http) -> Result<Option<TcpListener>, Failure> {
    let Some(address) = http.listen else {
        return Ok(None);
    };
    match open(address).await {
        Ok((listener, at)) => {
            tracing::info!(address = %at, "status page, health and metrics: http://{at}/");
            Ok(Some(listener))
        }
        Err(error) if http.is_default => {
            tracing::warn!(
                "no status page, health or metrics: {}; set http.listen to another address, or to off",
                cannot(address, &error)
            );
            Ok(None)
        }
        // Not a mistake of the configuration for certain: the address may come with a network, or an old
        // process may be about to end. A service manager starts this again.
        Err(error) => Err(Failure::failed(anyhow::anyhow!(
            "{}; set http.listen to another address, or to off",
            cannot(address, &error)
        ))),
    }
}

fn cannot(address: SocketAddr, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("cannot listen on {address}: another program uses this address")
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("cannot listen on {address}: this machine does not have this address")
        }
        io::ErrorKind::PermissionDenied => {
            format!("cannot listen on {address}: this user may not use this port")
        }
        _ => format!("cannot listen on {address}: {error}"),
    }
}

/// Tells systemd every few seconds that the process makes progress, as long as it does, and logs which
/// task is stuck.
async fn look(health: Arc<Health>, recorder: Option<Recorder>, is_ready: Arc<AtomicBool>) {
    let longer = u32::try_from(LONGER.as_micros()).unwrap_or(u32::MAX);
    let mut told = BTreeSet::new();
    let say = |stuck: &[Stuck]| {
        if let Some(recorder) = &recorder {
            recorder.tidy();
        }
        if !is_ready.load(Ordering::SeqCst) {
            // It may have to wait for the database, or to migrate many rows.
            notify(&[NotifyState::ExtendTimeoutUsec(longer)]);
        }
        if stuck.is_empty() {
            notify(&[NotifyState::Watchdog]);
        }
        told.retain(|task| stuck.iter().any(|one| one.task == *task));
        for Stuck { task, silent } in stuck {
            if told.insert(task.clone()) {
                let silent = Duration::from_secs(silent.as_secs());
                tracing::error!(
                    task,
                    "{task} makes no progress since {}. This is a bug in helena-sync; please report it, \
                     and restart the process",
                    humantime::format_duration(silent)
                );
            }
        }
    };
    health.keep_looking(say).await;
}
