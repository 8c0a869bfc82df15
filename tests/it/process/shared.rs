//! Several processes of `run` on one Postgres share the accounts: evenly, each account worked by one, and
//! what a process leaves behind, however it ends, moves to the others.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::process::Command;
use std::time::Instant;

use helena_sync::sandbox::{RequestLimit, Sandbox, SandboxConfig};
use rustix::process::Signal;
use tokio::net::{TcpListener, TcpStream};

use super::mirror::differences;
use super::program::{Done, Place, Running, TOKEN, sandbox, until};
use crate::support::database::{self, Database, Kind};
use crate::support::tools;

/// The token that a process uses: the platform sees by it who asks.
fn token_of(process: usize) -> String {
    format!("{TOKEN}{process}")
}

fn name_of(account: usize) -> String {
    format!("a{account:03}")
}

/// Small accounts of different companies, with the platform's limits.
async fn accounts(count: usize) -> Vec<Sandbox> {
    let mut accounts = Vec::new();
    for seed in 1..=count {
        let config = SandboxConfig {
            seed: seed as u64,
            more_tokens: (0..5).map(token_of).collect(),
            limits: RequestLimit::documented(),
            ..SandboxConfig::of_size(3)
        };
        accounts.push(sandbox(config).await);
    }
    accounts
}

fn file(urls: &[String]) -> String {
    let mut text = String::new();
    for (number, url) in urls.iter().enumerate() {
        let name = name_of(number);
        writeln!(
            text,
            "[[accounts]]\nname = \"{name}\"\nbase_url = \"{url}\"\ntoken_env = \"TOKEN\""
        )
        .unwrap();
    }
    text
}

/// A place for processes that share these accounts in a Postgres.
async fn place(url: &str, accounts: &[Sandbox], schedule: &str) -> Place {
    let mut place = Place::new()
        .without("HELENA_API_TOKEN")
        // The platform's limits, and our share of them.
        .without("HELENA_SYNC__API__RATE_LIMIT__BURST")
        .without("HELENA_SYNC__API__RATE_LIMIT__SUSTAINED")
        .with("HELENA_SYNC__SYNC__SCHEDULE", schedule)
        .with("DATABASE_URL", url);
    place.kind = Kind::Postgres;
    place.database_url = url.to_owned();
    let urls: Vec<String> = accounts.iter().map(Sandbox::base_url).collect();
    place.write("helena-sync.toml", &file(&urls));
    place.succeeds(&["migrate"]).await;
    place
}

/// Starts the process of this number.
fn start(place: &mut Place, number: usize) -> Running {
    place.set("TOKEN", &token_of(number));
    place.start(&["run"])
}

fn pid(program: &Running) -> i64 {
    i64::from(program.pid().as_raw_nonzero().get())
}

/// How many accounts each process holds.
async fn held(database: &Database) -> BTreeMap<i64, usize> {
    let held = "select pid || ' ' || count(*) from leases where released_at is null group by pid";
    let rows = database.texts(held).await;
    rows.iter()
        .map(|row| {
            let (pid, count) = row.split_once(' ').unwrap();
            (pid.parse().unwrap(), count.parse().unwrap())
        })
        .collect()
}

/// Waits until these processes hold all accounts between them, none more than one more than another.
async fn spread(database: &Database, programs: &[&Running], accounts: usize) {
    let pids: BTreeSet<i64> = programs.iter().map(|program| pid(program)).collect();
    let low = accounts / programs.len();
    let high = accounts.div_ceil(programs.len());
    until(&format!("{pids:?} hold {low} to {high} each"), async || {
        let held = held(database).await;
        held.values().sum::<usize>() == accounts
            && held.keys().copied().collect::<BTreeSet<_>>() == pids
            && held.values().all(|held| (low..=high).contains(held))
    })
    .await;
}

async fn perfect(database: &Database, accounts: &[Sandbox]) {
    for (number, sandbox) in accounts.iter().enumerate() {
        let name = name_of(number);
        until(&format!("the mirror of {name} is perfect"), async || {
            differences(database, sandbox, &name).await.is_empty()
        })
        .await;
    }
}

async fn ends_well(program: Running) -> Done {
    program.signal(Signal::TERM);
    let done = program.end().await;
    assert_eq!(done.code, Some(0), "{done:?}");
    done
}

/// Keeps who acquired and released which lease, and when, in microseconds since 1970.
const LOG_LEASES: &str = "
    create table lease_log (account text, pid bigint, epoch bigint, at bigint, is_end boolean);
    create function log_lease() returns trigger language plpgsql as $$
    declare now bigint := extract(epoch from clock_timestamp()) * 1000000;
    begin
        insert into lease_log
        select name, old.pid, old.epoch, now, true from accounts
        where id = new.account_id and old.released_at is null
          and (new.released_at is not null or new.epoch <> old.epoch);
        insert into lease_log
        select name, new.pid, new.epoch, now, false from accounts
        where id = new.account_id and new.epoch <> old.epoch and new.released_at is null;
        return new;
    end $$;
    create trigger log_lease after update on leases for each row execute function log_lease();";

/// From when until when which process held the lease of each account.
async fn holdings(database: &Database) -> BTreeMap<String, Vec<(i64, i64, i64)>> {
    let log = "select account || ' ' || pid || ' ' || min(at) || ' ' || \
               coalesce(max(at) filter (where is_end), 9000000000000000) \
               from lease_log group by account, epoch, pid order by min(at)";
    let mut holdings: BTreeMap<String, Vec<(i64, i64, i64)>> = BTreeMap::new();
    for row in database.texts(log).await {
        let (account, numbers) = row.split_once(' ').unwrap();
        let numbers: Vec<i64> = numbers
            .split(' ')
            .map(|number| number.parse().unwrap())
            .collect();
        let holding = (numbers[0], numbers[1], numbers[2]);
        holdings
            .entry(account.to_owned())
            .or_default()
            .push(holding);
    }
    holdings
}

/// Expects that each request came from the process that held the lease at that moment, and that none was
/// over the limits. Two processes never hold one lease.
async fn worked_by_one_each(database: &Database, accounts: &[Sandbox], pids: &[i64]) {
    let holdings = holdings(database).await;
    for (number, sandbox) in accounts.iter().enumerate() {
        let holdings = &holdings[&name_of(number)];
        for pair in holdings.windows(2) {
            assert!(
                pair[0].2 <= pair[1].1,
                "{number}: two at once: {holdings:?}"
            );
        }
        let requests = sandbox.requests();
        assert!(!requests.is_empty(), "{number}: nobody works on it");
        for request in requests {
            assert_ne!(request.status, 429, "{number}: {request:?}");
            // The first token is that of nobody here.
            let from = pids[request.token.unwrap() - 1];
            let at = request.at.micros();
            let is_holder =
                |(pid, begin, end): &(i64, i64, i64)| *pid == from && (*begin..=*end).contains(&at);
            assert!(
                holdings.iter().any(is_holder),
                "{number}: process {from} did not hold the lease: {request:?}, {holdings:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_accounts_are_spread_over_three_processes_and_each_is_worked_by_one() {
    const ACCOUNTS: usize = 100;
    let (mut admin, url) = database::create().await;
    let accounts = accounts(ACCOUNTS).await;
    let mut place = place(&url, &accounts, "every 1m").await;
    let database = place.database().await;
    database.execute(LOG_LEASES).await;

    // The first one takes all, and then leaves the others their share.
    let mut zero = start(&mut place, 0);
    spread(&database, &[&zero], ACCOUNTS).await;
    let mut one = start(&mut place, 1);
    let mut two = start(&mut place, 2);
    spread(&database, &[&zero, &one, &two], ACCOUNTS).await;
    for program in [&mut zero, &mut one, &mut two] {
        program.says("sharing 100 accounts with process ").await;
    }
    let connections = "datname = current_database() and application_name = 'helena-sync'";
    let connections = database.count("pg_stat_activity", connections).await;
    // Ten each, and those of this test.
    assert!(connections <= 40, "{connections}");

    // One dies, and another one comes.
    one.signal(Signal::KILL);
    spread(&database, &[&zero, &two], ACCOUNTS).await;
    let three = start(&mut place, 3);
    spread(&database, &[&zero, &two, &three], ACCOUNTS).await;

    // One ends.
    let pids = [&zero, &one, &two, &three].map(pid);
    let done = ends_well(zero).await;
    spread(&database, &[&two, &three], ACCOUNTS).await;
    assert!(!done.err.contains("ERROR"), "{}", done.err);
    for sandbox in &accounts {
        sandbox.account().live_step(2);
    }
    perfect(&database, &accounts).await;
    for program in [two, three] {
        let done = ends_well(program).await;
        assert!(!done.err.contains("ERROR"), "{}", done.err);
    }
    assert_eq!(held(&database).await, BTreeMap::new());
    assert_eq!(
        database.count("instances", "true").await,
        1,
        "the one that was killed"
    );
    worked_by_one_each(&database, &accounts, &pids).await;
    database.store.close().await;
    database::drop(&mut admin, &url).await;
}

/// A machine of its own for processes: a network namespace that reaches this one over a cable.
struct Machine {
    name: String,
    /// The end of the cable on this side.
    cable: String,
    /// The address of this side.
    address: String,
}

fn ip(arguments: &str) -> bool {
    let done = Command::new("ip").args(arguments.split(' ')).output();
    done.is_ok_and(|done| done.status.success())
}

impl Machine {
    /// `None` where this is not possible.
    fn new() -> Option<Self> {
        let number = std::process::id() % 10_000;
        let machine = Self {
            name: format!("helena{number}"),
            cable: format!("hs{number}"),
            address: format!("10.213.{}.1", number % 250),
        };
        let Self {
            name,
            cable,
            address,
        } = &machine;
        let far = format!("{}2", address.strip_suffix('1').unwrap());
        let made = [
            format!("netns add {name}"),
            format!("link add {cable} type veth peer name eth0 netns {name}"),
            format!("addr add {address}/30 dev {cable}"),
            format!("link set {cable} up"),
            format!("-n {name} addr add {far}/30 dev eth0"),
            format!("-n {name} link set eth0 up"),
            format!("-n {name} link set lo up"),
        ];
        made.iter()
            .all(|arguments| ip(arguments))
            .then_some(machine)
    }

    fn plug(&self, is_in: bool) {
        let state = if is_in { "up" } else { "down" };
        assert!(ip(&format!("link set {} {state}", self.cable)));
    }

    /// The address at which the machine reaches a server of this one.
    async fn reaches(&self, url: &str) -> String {
        let mut url = url::Url::parse(url).unwrap();
        let server = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
        let listener = TcpListener::bind((self.address.as_str(), 0)).await.unwrap();
        url.set_host(Some(&self.address)).unwrap();
        url.set_port(Some(listener.local_addr().unwrap().port()))
            .unwrap();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut server = TcpStream::connect(&server).await.unwrap();
                tokio::spawn(async move {
                    let _ended = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        url.to_string()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        ip(&format!("link del {}", self.cable));
        ip(&format!("netns del {}", self.name));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_move_from_processes_that_die_stand_still_or_lose_their_network() {
    const ACCOUNTS: usize = 12;
    let (mut admin, url) = database::create().await;
    let accounts = accounts(ACCOUNTS).await;
    let mut place = place(&url, &accounts, "every 3s").await;
    let database = place.database().await;
    let survivor = start(&mut place, 0);
    let killed = start(&mut place, 1);
    let mut paused = start(&mut place, 2);
    let machine = Machine::new();
    let mut cut = None;
    if let Some(machine) = &machine {
        let mut urls = Vec::new();
        for sandbox in &accounts {
            urls.push(machine.reaches(&sandbox.base_url()).await);
        }
        place.write("far.toml", &file(&urls));
        place.set("TOKEN", &token_of(3));
        place.set("HELENA_SYNC__API__ALLOW_HTTP", "true");
        place.set("DATABASE_URL", &machine.reaches(&url).await);
        let command = ["ip", "netns", "exec", machine.name.as_str()];
        cut = Some(place.start_by(&command, &["run", "--config", "far.toml"]));
    } else {
        tools::missing("ip netns (as root)", "iproute2");
    }
    let mut all = vec![&survivor, &killed, &paused];
    all.extend(cut.as_ref());
    spread(&database, &all, ACCOUNTS).await;
    perfect(&database, &accounts).await;

    let begun = Instant::now();
    killed.signal(Signal::KILL);
    paused.stand_still().await;
    if let Some(machine) = &machine {
        machine.plug(false);
    }
    spread(&database, &[&survivor], ACCOUNTS).await;
    let took = begun.elapsed();
    println!("all accounts moved after {took:?}");
    let epochs = "select cast(sum(epoch) as text) from leases";
    let then = database.text(epochs).await;
    for sandbox in &accounts {
        sandbox.account().live_step(3);
    }
    perfect(&database, &accounts).await;
    assert_eq!(database.text(epochs).await, then, "nobody else took one");
    if let Some(cut) = &mut cut {
        cut.says("the database has answered no renewal of the lease")
            .await;
    }

    // Awake again, the one cannot write and says so; and both get their share again.
    paused.signal(Signal::CONT);
    paused.says("has taken over the lease of account").await;
    if let Some(machine) = &machine {
        machine.plug(true);
    }
    let mut all = vec![&survivor, &paused];
    all.extend(cut.as_ref());
    spread(&database, &all, ACCOUNTS).await;
    for sandbox in &accounts {
        sandbox.account().live_step(3);
    }
    perfect(&database, &accounts).await;
    for program in [Some(survivor), Some(paused), cut].into_iter().flatten() {
        ends_well(program).await;
    }
    database.store.close().await;
    database::drop(&mut admin, &url).await;
}
