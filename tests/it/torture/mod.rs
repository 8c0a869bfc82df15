//! Everything at once: a living account with every fault, the real program killed at random
//! moments, its database crashed, restarted, cut off and locked, second processes beside it, clocks
//! that jump on either side, a platform that shows too little or something wrong. When all that is over,
//! one quiet `sync` must leave a perfect mirror, but for what waits to be asked for by its id; after a
//! spell in which the platform did not show the truth, the night that follows must. And a daemon must go
//! on whatever its clock says.
//!
//! The same with two accounts and two processes that keep both of them is in [`accounts`].
//!
//! Half a minute on each database in the normal run. For as long as you like, in rounds of half a
//! minute with an account, moods and a database of their own:
//!
//! ```text
//! scripts/torture --for 8h
//! scripts/torture --seed 1234 --database postgres
//! ```
//!
//! It sets `TORTURE_SECONDS` and `TORTURE_SEED`, the seed of the first round. A seed repeats an
//! account and its moods, and the order of blows as far as what they meet is the same: how they fall
//! on the processes is the machine's business. (`cargo nextest` would end a long run as hung.)
//!
//! Postgres is a server of the torture's own, since it is crashed; see [`server`]. The program's
//! clock can be set on Linux only; see [`crate::support::preload`].

mod accounts;
mod clock;
mod compare;
mod database;
mod process;
mod server;
mod summary;
mod weather;

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use helena_sync::clock::{Clock, SystemClock};
use helena_sync::data::Timestamp;
use helena_sync::sandbox::{Poison, Sandbox};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::database::Kind;
use crate::support::preload::SteppedClock;
use clock::ClientClock;
use database::Target;
use process::{End, Program, Running};
use server::{Scratch, Server};
use summary::{Summary, Tally};
use weather::Weather;

/// What one round lasts before it is quiet again.
const ROUND: Duration = Duration::from_secs(20);
/// How many of the account's changes are made at a time, at most.
const BURST: usize = 12;
/// A daemon that is told to end does so within this (the promise is 10 seconds) on a machine that
/// is busy with other tests.
const FAREWELL: Duration = Duration::from_secs(20);
/// How long anything else is waited for while there is trouble; then it is killed.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long a command may take when all is quiet.
const COMMAND: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread")]
async fn torture_leaves_a_perfect_mirror_on_sqlite() {
    torture(Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn torture_leaves_a_perfect_mirror_on_postgres() {
    torture(Kind::Postgres).await;
}

async fn torture(kind: Kind) {
    let seconds = number("TORTURE_SECONDS").unwrap_or(1);
    let seed = number("TORTURE_SEED").unwrap_or_else(|| fastrand::u64(..1_000_000));
    // In the order in which they must end, from the last one up: what is in the folder, the server.
    let scratch = Scratch::new();
    let server = match kind {
        Kind::Sqlite => None,
        Kind::Postgres => Some(Arc::new(Server::start(scratch.path()))),
    };
    let mut summary = Summary::new(kind, seed);
    let end = SystemClock.now() + Duration::from_secs(seconds);
    loop {
        let round = Round::start(&mut summary, server.clone(), &scratch).await;
        round.run().await;
        if SystemClock.now() >= end {
            return;
        }
        summary.seed += 1;
    }
}

/// A number of the environment.
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{name} is no number")))
}

/// One account, one database, and what befalls them.
struct Round<'a> {
    name: String,
    sandbox: Arc<Sandbox>,
    weather: Weather,
    target: Target,
    program: Program,
    clock: ClientClock,
    dice: fastrand::Rng,
    /// The daemon, while there is one.
    daemon: Option<Running>,
    deleted: HashSet<Uuid>,
    poisoned: HashSet<Uuid>,
    /// How often what was done and seen.
    tally: Tally,
    summary: &'a mut Summary,
}

impl<'a> Round<'a> {
    async fn start(
        summary: &'a mut Summary,
        server: Option<Arc<Server>>,
        scratch: &Scratch,
    ) -> Self {
        let seed = summary.seed;
        let name = format!("torture: {:?}, seed {seed}", summary.kind);
        println!("{name}: begins");
        let mut dice = fastrand::Rng::with_seed(seed);
        let weather = Weather::draw(&mut dice);
        let config = weather.config(seed, &mut dice);
        println!("{name}: {:?}", config.moods);
        let sandbox = Sandbox::start(config, Arc::new(SystemClock)).await.unwrap();
        let folder = scratch.empty();
        let target = Target::create(server, &folder).await;
        let clock = SteppedClock::new(&folder);
        if clock.is_none() {
            println!("{name}: the program's clock cannot be set here, and is left alone");
        }
        let program = Program::new(
            &folder,
            &sandbox.base_url(),
            sandbox.token(),
            &target.url,
            clock.as_ref(),
        );
        Self {
            name,
            sandbox: Arc::new(sandbox),
            weather,
            target,
            program,
            clock: ClientClock(clock),
            dice,
            daemon: None,
            deleted: HashSet::new(),
            poisoned: HashSet::new(),
            tally: Tally::default(),
            summary,
        }
    }

    async fn run(mut self) {
        let end = SystemClock.now() + ROUND;
        while SystemClock.now() < end {
            let changes = self.dice.usize(..BURST);
            self.sandbox.account().live_step(changes);
            self.blow().await;
            self.pause(20..600).await;
        }
        self.calm().await;
        self.last_pass().await;
        if !self.weather.needs_a_night() {
            self.compare_but_what_waits().await;
        }
        self.night().await;
        self.compare().await;
        self.last_daemon().await;
        self.compare().await;
        self.report();
        self.summary.rounds += 1;
        self.target.drop().await;
    }

    /// What the program itself finds: nothing but the sessions that were deleted, which are still there
    /// until they are missed, and what it knows it has to ask for. After a spell that needs a night it may
    /// find more. Repaired, it finds nothing.
    async fn night(&mut self) {
        let waiting = self.waiting().await;
        let (end, found) = self.program.json(&["verify", "--json"], COMMAND).await;
        self.judge("verify", end, &[0, 1]);
        let all_within = |part: &Value, what: &str, known: &HashSet<Uuid>| {
            let mut ids = part[what].as_array().unwrap().iter();
            ids.all(|id| known.contains(&Uuid::parse_str(id.as_str().unwrap()).unwrap()))
        };
        for part in found["verified"].as_array().unwrap() {
            let is_clean = part["missing"] == json!([])
                && part["altered"] == json!([])
                && all_within(part, "older", &waiting)
                && all_within(part, "newer", &waiting)
                && all_within(part, "gone", &self.deleted);
            assert!(
                is_clean || self.weather.needs_a_night(),
                "{}: {part}",
                self.name
            );
        }
        for arguments in [&["verify", "--repair"][..], &["verify"]] {
            let end = self.program.start(arguments).wait(COMMAND).await;
            self.judge(&arguments.join(" "), end, &[0]);
        }
        for row in self.target.rows("sessions").await {
            let id = Uuid::parse_str(row["id"].as_str().unwrap()).unwrap();
            let is_there = row["removed_at"].is_null() && self.deleted.contains(&id);
            assert!(!is_there, "{}: {id} was deleted", self.name);
        }
    }

    /// The records that wait to be asked for by their ids.
    async fn waiting(&self) -> HashSet<Uuid> {
        let ids = "select cast(record_id as text) from rechecks";
        let ids = self.target.texts(ids).await;
        ids.iter().map(|id| Uuid::parse_str(id).unwrap()).collect()
    }

    fn count(&mut self, what: impl Into<String>) {
        let what = what.into();
        self.summary.count(&what);
        *self.tally.entry(what).or_default() += 1;
    }

    /// Real time, since real processes are at work in it.
    async fn pause(&mut self, milliseconds: Range<u64>) {
        let milliseconds = self.dice.u64(milliseconds);
        SystemClock.sleep(Duration::from_millis(milliseconds)).await;
    }

    /// One thing that happens.
    async fn blow(&mut self) {
        match self.dice.u32(..100) {
            0..20 => self.daemon().await,
            20..37 => self.one_shot().await,
            37..46 => self.beside().await,
            46..60 => {
                let what = self
                    .weather
                    .change(&mut self.sandbox.account(), &mut self.dice);
                self.count(what);
            }
            60..74 => {
                let what = self.target.trouble(&mut self.dice).await;
                self.count(what);
            }
            74..80 => {
                self.weather
                    .step_clock(&mut self.sandbox.account(), &mut self.dice);
                self.count("platform clock steps");
            }
            80..90 => {
                let what = self.clock.step(&mut self.dice);
                self.count(what);
            }
            _ => self.edit(),
        }
    }

    /// Starts the daemon, or ends it in one of three ways.
    async fn daemon(&mut self) {
        let Some(mut daemon) = self.daemon.take() else {
            self.count("daemons started");
            self.daemon = Some(self.program.start(&["run"]));
            return;
        };
        if let Some(end) = daemon.ended() {
            self.judge("daemons ended", end, &[0, 1]);
            return;
        }
        match self.dice.u32(..10) {
            0..5 => {
                daemon.kill();
                self.count("daemons killed");
            }
            5..8 => {
                let end = daemon.terminate(FAREWELL).await;
                self.judge("daemons told to end", end, &[0]);
            }
            _ => {
                daemon.freeze();
                self.pause(100..1_500).await;
                daemon.thaw();
                self.daemon = Some(daemon);
                self.count("daemons frozen for a moment");
            }
        }
    }

    /// A pass of its own, killed in the middle as often as not. Beside a daemon it is refused.
    async fn one_shot(&mut self) {
        let commands: [&[&str]; 5] = [
            &["sync"],
            &["sync"],
            &["sync", "--full-refresh"],
            &["backfill", "--from", "2020-01-01", "--restart"],
            &["rejects", "retry"],
        ];
        let command = commands[self.dice.usize(..commands.len())];
        let mut running = self.program.start(command);
        if self.dice.bool() {
            self.pause(5..3_000).await;
            if let Some(end) = running.ended() {
                self.judge(command[0], end, &[0, 1, 3]);
            } else {
                running.kill();
                self.count(format!("{} killed", command[0]));
            }
            return;
        }
        if let Some(end) = running.within(PATIENCE).await {
            self.judge(command[0], end, &[0, 1, 3]);
        } else {
            running.kill();
            self.count(format!("{} killed", command[0]));
        }
    }

    /// Two processes that want the same, and some that only look.
    async fn beside(&mut self) {
        let mut first = self.program.start(&["sync"]);
        let mut second = self
            .program
            .start(&["sync", "--wait", "--max-runtime", "2s"]);
        let mut third = self.program.start(&["status", "--json"]);
        for (what, running) in [
            ("sync beside another", &mut first),
            ("sync that waits", &mut second),
            ("status", &mut third),
        ] {
            // One that waits for a daemon's lease ends with the daemon, or by its own limit.
            if let Some(end) = running.within(PATIENCE).await {
                self.judge(what, end, &[0, 1, 3]);
            } else {
                running.kill();
                self.count(format!("{what} killed"));
            }
        }
    }

    /// Something that is done to the account's records.
    fn edit(&mut self) {
        let sandbox = Arc::clone(&self.sandbox);
        let mut account = sandbox.account();
        let sessions = account.session_ids();
        let any = |dice: &mut fastrand::Rng, ids: &[Uuid]| ids[dice.usize(..ids.len())];
        match self.dice.u32(..5) {
            0 => {
                let id = any(&mut self.dice, &sessions);
                account.delete_session(id);
                self.deleted.insert(id);
                self.count("sessions deleted");
            }
            1 => {
                let from = self.dice.usize(..sessions.len());
                let some: Vec<Uuid> = sessions.iter().skip(from).take(120).copied().collect();
                account.bulk_touch(&some);
                self.count("bulk edits");
            }
            2 | 3 => {
                let contacts = account.contact_ids();
                let ids = if self.dice.bool() {
                    &contacts
                } else {
                    &sessions
                };
                let id = any(&mut self.dice, ids);
                account.poison(id, Poison::ALL[self.dice.usize(..Poison::ALL.len())]);
                self.poisoned.insert(id);
                self.count("records poisoned");
            }
            _ => {
                let name = format!("Renomeado {}", self.dice.u32(..1_000));
                let tags = account.tags();
                account.rename_tag(any(&mut self.dice, &tags), &name);
                let agents = account.agents();
                account.rename_agent(any(&mut self.dice, &agents), &name);
                let channels = account.channels();
                let channel = any(&mut self.dice, &channels);
                if channels.len() > 2 {
                    account.remove_channel(channel);
                }
                self.count("lists edited");
            }
        }
    }

    /// The end of all troubles: nothing changes any more, all records are whole and visible.
    async fn calm(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            // Its last chance to trip over what was done to it.
            if let Some(end) = daemon.ended() {
                self.judge("daemons ended", end, &[0, 1]);
            } else {
                let mut daemon = self.daemon.take().unwrap();
                let end = daemon.terminate(FAREWELL).await;
                self.judge("daemons told to end", end, &[0]);
            }
        }
        self.target.reopen().await;
        {
            let mut account = self.sandbox.account();
            self.weather.calm(&mut account);
            for id in &self.poisoned {
                account.heal(*id);
            }
        }
        SystemClock.sleep(weather::LATEST).await;
        let mut account = self.sandbox.account();
        for id in &self.poisoned {
            // Healed by somebody who saved the record again.
            let _either =
                account.update_session(*id, |_| {}) || account.update_contact(*id, |_| {});
        }
    }

    /// One quiet pass, by whatever clock.
    async fn last_pass(&mut self) {
        if self.dice.bool() {
            self.clock.put_right();
        }
        let end = self
            .program
            .start(&["sync", "--wait", "--backfills"])
            .wait(COMMAND)
            .await;
        self.judge("the quiet pass", end, &[0]);
    }

    /// A daemon that makes its passes, also once it was stopped for a while and its clock was set.
    async fn last_daemon(&mut self) {
        let mut daemon = self.program.start(&["run"]);
        self.goes_on(&mut daemon, "a daemon").await;
        daemon.freeze();
        self.clock.leap(&mut self.dice);
        self.pause(1_500..2_500).await;
        daemon.thaw();
        self.goes_on(&mut daemon, "a daemon whose clock was set")
            .await;
        let end = daemon.terminate(FAREWELL).await;
        self.judge("daemons told to end", end, &[0]);
    }

    /// Waits until two passes have begun at what the program must take for the present: the first of
    /// them may have been due before.
    async fn goes_on(&mut self, daemon: &mut Running, what: &str) {
        let since = self.clock.now();
        let until = now() + COMMAND;
        loop {
            let runs = self.target.rows("sync_runs").await;
            let begun = runs.iter().filter(|run| {
                let at = Timestamp::parse(run["started_at"].as_str().unwrap()).unwrap();
                run["resource"] == "sessions"
                    && run["kind"] == "incremental"
                    && (since..=self.clock.now()).contains(&at)
            });
            if begun.count() >= 2 {
                self.count(format!("{what} goes on"));
                return;
            }
            let end = daemon.ended();
            if end.is_some() || now() >= until {
                self.judge(what, end.unwrap_or(End::Hung), &[]);
            }
            self.pause(100..200).await;
        }
    }

    /// Stops the test if the mirror is not perfect, but for records that could not be asked for.
    async fn compare_but_what_waits(&mut self) {
        let waiting = self.waiting().await;
        let mut found = self.differences().await;
        found.retain(|line| !waiting.iter().any(|id| line.contains(&id.to_string())));
        self.judge_differences(&found);
    }

    /// Stops the test if the mirror is not perfect.
    async fn compare(&mut self) {
        let found = self.differences().await;
        self.judge_differences(&found);
    }

    fn judge_differences(&mut self, found: &[String]) {
        if found.is_empty() {
            return;
        }
        self.summary.differences += found.len();
        self.program.show_log();
        self.report();
        for line in found.iter().take(40) {
            println!("{}: {line}", self.name);
        }
        panic!("{}: {} differences", self.name, found.len());
    }

    async fn differences(&mut self) -> Vec<String> {
        let mut found = self.target.damage(&self.deleted).await;
        let truth = compare::Truth::of("default", &mut self.sandbox.account(), &self.deleted);
        found.extend(compare::differences(&self.target, &truth).await);
        found
    }

    /// Counts how a process ended; stops the test if it ended in a way it never may.
    fn judge(&mut self, what: &str, end: End, accepted: &[i32]) {
        let good = matches!(end, End::Exit(code) if accepted.contains(&code));
        if !good || self.program.panicked() {
            self.program.show_log();
            self.report();
            panic!("{}: {what}: {end:?}, accepted is {accepted:?}", self.name);
        }
        self.count(format!("{what}: {end:?}"));
    }

    fn report(&mut self) {
        let requests = self.sandbox.requests();
        self.summary.requests += requests.len();
        let good = requests.iter().filter(|seen| seen.status == 200).count();
        println!(
            "{}: {} requests, {good} answered well",
            self.name,
            requests.len()
        );
        for (what, count) in &self.tally {
            println!("{}: {count:>4} {what}", self.name);
        }
    }
}

/// The present, for those who step clocks.
fn now() -> Timestamp {
    SystemClock.now()
}
