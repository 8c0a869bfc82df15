//! Two living accounts in one database, and two processes that both keep both, killed, stopped and
//! gone on at random moments. Whoever holds which account when, in the end both mirrors are perfect.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use helena_sync::clock::{Clock, SystemClock};
use helena_sync::sandbox::{Sandbox, SandboxConfig};
use uuid::Uuid;

use super::database::Target;
use super::process::{End, Program, Running};
use super::server::{Scratch, Server};
use super::summary::Tally;
use super::weather::{self, Weather};
use super::{COMMAND, FAREWELL, ROUND, compare, number};
use crate::support::database::Kind;

const NAMES: [&str; 2] = ["north", "south"];

#[tokio::test(flavor = "multi_thread")]
async fn torture_of_two_accounts_leaves_perfect_mirrors_on_sqlite() {
    torture(Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn torture_of_two_accounts_leaves_perfect_mirrors_on_postgres() {
    torture(Kind::Postgres).await;
}

async fn torture(kind: Kind) {
    let seconds = number("TORTURE_SECONDS").unwrap_or(1);
    let mut seed = number("TORTURE_SEED").unwrap_or_else(|| fastrand::u64(..1_000_000));
    let scratch = Scratch::new();
    let server = match kind {
        Kind::Sqlite => None,
        Kind::Postgres => Some(Arc::new(Server::start(scratch.path()))),
    };
    let end = SystemClock.now() + Duration::from_secs(seconds);
    loop {
        let round = Round::start(kind, seed, server.clone(), &scratch).await;
        round.run().await;
        if SystemClock.now() >= end {
            return;
        }
        seed += 1;
    }
}

/// An account and what is done to it.
struct Account {
    sandbox: Sandbox,
    weather: Weather,
    deleted: HashSet<Uuid>,
}

struct Round {
    name: String,
    accounts: [Account; 2],
    target: Target,
    program: Program,
    dice: fastrand::Rng,
    /// The processes, while they are there, and whether each stands still.
    daemons: [Option<(Running, bool)>; 2],
    tally: Tally,
}

impl Round {
    async fn start(kind: Kind, seed: u64, server: Option<Arc<Server>>, scratch: &Scratch) -> Self {
        let name = format!("torture of two accounts: {kind:?}, seed {seed}");
        println!("{name}: begins");
        let mut dice = fastrand::Rng::with_seed(seed);
        let first = account(seed * 2, "pn_north", &mut dice).await;
        let second = account(seed * 2 + 1, "pn_south", &mut dice).await;
        let accounts = [first, second];
        let folder = scratch.empty();
        let target = Target::create(server, &folder).await;
        let entry = |number: usize| {
            let sandbox = &accounts[number].sandbox;
            (NAMES[number], sandbox.base_url(), sandbox.token())
        };
        let program =
            Program::new(&folder, "", "", &target.url, None).with_accounts(&[entry(0), entry(1)]);
        Self {
            name,
            accounts,
            target,
            program,
            dice,
            daemons: [None, None],
            tally: Tally::default(),
        }
    }

    async fn run(mut self) {
        let end = SystemClock.now() + ROUND;
        while SystemClock.now() < end {
            for account in &self.accounts {
                account.sandbox.account().live_step(self.dice.usize(..8));
            }
            self.blow().await;
            let pause = self.dice.u64(20..500);
            SystemClock.sleep(Duration::from_millis(pause)).await;
        }
        self.calm().await;
        self.command(&["sync", "--wait", "--backfills"]).await;
        self.compare().await;
        self.command(&["verify", "--repair"]).await;
        self.command(&["verify"]).await;
        self.compare().await;
        for (what, count) in &self.tally {
            println!("{}: {count:>4} {what}", self.name);
        }
        self.target.drop().await;
    }

    fn count(&mut self, what: impl Into<String>) {
        *self.tally.entry(what.into()).or_default() += 1;
    }

    async fn blow(&mut self) {
        match self.dice.u32(..100) {
            0..70 => {
                let which = self.dice.usize(..2);
                self.daemon(which).await;
            }
            70..80 => {
                let what = self.target.trouble(&mut self.dice).await;
                self.count(what);
            }
            80..90 => {
                let account = &mut self.accounts[self.dice.usize(..2)];
                let sessions = account.sandbox.account().session_ids();
                let id = sessions[self.dice.usize(..sessions.len())];
                account.sandbox.account().delete_session(id);
                account.deleted.insert(id);
                self.count("sessions deleted");
            }
            _ => {
                let account = &self.accounts[self.dice.usize(..2)];
                let mut account = account.sandbox.account();
                let sessions = account.session_ids();
                let some: Vec<Uuid> = sessions.into_iter().take(120).collect();
                account.bulk_touch(&some);
                drop(account);
                self.count("bulk edits");
            }
        }
    }

    /// Starts a process, or lets it go on, or stops, kills or ends it.
    async fn daemon(&mut self, which: usize) {
        let Some((mut daemon, stands_still)) = self.daemons[which].take() else {
            let config = ["helena-sync.toml", "reversed.toml"][which];
            let daemon = self.program.start(&["run", "--wait", "--config", config]);
            self.daemons[which] = Some((daemon, false));
            self.count("daemons started");
            return;
        };
        if let Some(end) = daemon.ended() {
            self.judge("daemons ended", end, &[0, 1]);
            return;
        }
        match (stands_still, self.dice.u32(..10)) {
            (_, 0..3) => {
                daemon.kill();
                self.count("daemons killed");
            }
            (true, 3..6) => {
                let what = self.target.expire(daemon.pid()).await;
                self.count(what);
                self.daemons[which] = Some((daemon, true));
            }
            (true, _) => {
                daemon.thaw();
                self.count("daemons gone on");
                self.daemons[which] = Some((daemon, false));
            }
            (false, 3..5) => {
                let end = daemon.terminate(FAREWELL).await;
                self.judge("daemons told to end", end, &[0]);
            }
            (false, _) => {
                daemon.freeze();
                self.count("daemons stopped");
                self.daemons[which] = Some((daemon, true));
            }
        }
    }

    async fn calm(&mut self) {
        // One that stands still may hold the file.
        let mut daemons: Vec<(Running, bool)> =
            self.daemons.iter_mut().filter_map(Option::take).collect();
        for (daemon, stands_still) in &daemons {
            if *stands_still {
                daemon.thaw();
            }
        }
        for (daemon, _) in &mut daemons {
            let (what, end) = match daemon.ended() {
                Some(end) => ("daemons ended", end),
                None => ("daemons told to end", daemon.terminate(FAREWELL).await),
            };
            let accepted: &[i32] = if what == "daemons ended" {
                &[0, 1]
            } else {
                &[0]
            };
            self.judge(what, end, accepted);
        }
        self.target.reopen().await;
        for account in &self.accounts {
            account.weather.calm(&mut account.sandbox.account());
        }
        SystemClock.sleep(weather::LATEST).await;
    }

    async fn command(&mut self, arguments: &[&str]) {
        let end = self.program.start(arguments).wait(COMMAND * 2).await;
        self.judge(&arguments.join(" "), end, &[0]);
    }

    /// Stops the test if one of the mirrors is not perfect.
    async fn compare(&mut self) {
        let mut found = Vec::new();
        let mut deleted = HashSet::new();
        for (name, account) in NAMES.into_iter().zip(&self.accounts) {
            let gone = &account.deleted;
            let truth = compare::Truth::of(name, &mut account.sandbox.account(), gone);
            let its = compare::differences(&self.target, &truth).await;
            found.extend(its.into_iter().map(|line| format!("{name}: {line}")));
            deleted.extend(gone.iter().copied());
        }
        found.extend(self.target.damage(&deleted).await);
        if found.is_empty() {
            return;
        }
        self.program.show_log();
        for line in found.iter().take(40) {
            println!("{}: {line}", self.name);
        }
        panic!("{}: {} differences", self.name, found.len());
    }

    fn judge(&mut self, what: &str, end: End, accepted: &[i32]) {
        let good = matches!(end, End::Exit(code) if accepted.contains(&code));
        if !good || self.program.panicked() {
            self.program.show_log();
            panic!("{}: {what}: {end:?}, accepted is {accepted:?}", self.name);
        }
        self.count(format!("{what}: {end:?}"));
    }
}

async fn account(seed: u64, token: &str, dice: &mut fastrand::Rng) -> Account {
    let weather = Weather::draw(dice);
    let config = SandboxConfig {
        token: token.to_owned(),
        ..weather.config(seed, dice)
    };
    println!("{token}: {:?}", config.moods);
    let sandbox = Sandbox::start(config, Arc::new(SystemClock)).await.unwrap();
    Account {
        sandbox,
        weather,
        deleted: HashSet::new(),
    }
}
