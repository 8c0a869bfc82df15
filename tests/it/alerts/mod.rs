//! What operators are told, and when: on a clock of its own, with both databases and a real webhook.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use helena_sync::alerts::{Channel, Subject, Watch, Watched};
use helena_sync::clock::{Clock, FakeClock, Sleep, SystemClock};
use helena_sync::config::{Environment, Settings, Zone};
use helena_sync::data::Timestamp;
use helena_sync::metrics::Meter;
use helena_sync::store::{AccountId, Acquired, Holder, Lease};
use tokio_util::task::AbortOnDropHandle;

use crate::support::database::{Database, Kind, on_both};
use crate::support::receiver::Receiver;

const MINUTE: Duration = Duration::from_mins(1);
const DAY: Duration = Duration::from_hours(24);
const NOTHING: [&str; 0] = [];

/// One account that a process of this test works on, and a webhook.
struct Story {
    database: Database,
    clock: Arc<FakeClock>,
    receiver: Receiver,
    account: AccountId,
    lease: Lease,
    meter: Meter,
    more: String,
    watch: Watch,
}

fn beginning() -> Timestamp {
    Timestamp::parse("2026-05-04T14:00:00Z").unwrap()
}

/// Another process, on another machine.
fn elsewhere() -> Holder {
    Holder {
        host: "elsewhere".to_owned(),
        boot_id: "another".to_owned(),
        pid_namespace: "another".to_owned(),
        pid: 1,
        process_start: 1,
    }
}

async fn lease(database: &Database, account: AccountId, holder: &Holder, now: Timestamp) -> Lease {
    match database.store.acquire(account, holder, now).await.unwrap() {
        Acquired::Lease(lease) => lease,
        Acquired::Held(seen) => panic!("held by {}", seen.by),
    }
}

/// What is watched with these lines of the section `[alerts]`.
fn subject(lines: &str, meter: &Meter) -> Subject {
    let text = format!("[sync]\nresources = [\"sessions\"]\n[alerts]\n{lines}\n");
    let path = Path::new("helena-sync.toml");
    let settings = Settings::parse(path, &text, Environment::default(), &[]).unwrap();
    Subject {
        alerts: settings.alerts().unwrap().0,
        sync: settings.sync().unwrap(),
        zone: Zone::UTC,
        accounts: vec![Watched {
            name: "north".to_owned(),
            meter: meter.clone(),
        }],
        file: None,
        hidden: Vec::new(),
    }
}

impl Story {
    /// All is well: sessions were just read.
    async fn begin(database: Database) -> Self {
        Self::with(database, "").await
    }

    /// The same, with more lines of the section `[alerts]`.
    async fn with(database: Database, more: &str) -> Self {
        let clock = Arc::new(FakeClock::at(beginning()));
        let account = database
            .store
            .account("north", "https://a.example", clock.now())
            .await
            .unwrap();
        let lease = lease(&database, account, &Holder::current(), clock.now()).await;
        let receiver = Receiver::begin().await;
        let meter = Meter::new("north");
        meter.token(false);
        let lines = format!("webhook = \"{}\"\n{more}", receiver.url());
        let watch = Watch::new(Arc::clone(&clock) as _, subject(&lines, &meter));
        watch.begin(database.store.clone());
        let story = Self {
            database,
            clock,
            receiver,
            account,
            lease,
            meter,
            more: more.to_owned(),
            watch,
        };
        story.read().await;
        story
    }

    fn lines(&self) -> String {
        format!("webhook = \"{}\"\n{}", self.receiver.url(), self.more)
    }

    /// A process that was started anew.
    fn restart(&mut self) {
        self.meter = Meter::new("north");
        self.watch = Watch::new(
            Arc::clone(&self.clock) as _,
            subject(&self.lines(), &self.meter),
        );
        self.watch.begin(self.database.store.clone());
    }

    /// Time passes, while the lease is renewed.
    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
        let store = &self.database.store;
        store.renew(&self.lease, self.clock.now()).await.unwrap();
    }

    /// The conditions are looked at, and what is due is sent.
    async fn look(&self) {
        self.watch.look().await;
        for channel in Channel::ALL {
            self.watch.deliver(channel).await;
        }
    }

    /// What is told after this time.
    async fn told_after(&self, time: Duration) -> Vec<String> {
        self.pass(time).await;
        self.look().await;
        self.receiver.take_events()
    }

    async fn stream(&self, success: Timestamp, error: Option<&str>) {
        let error_at =
            error.map_or_else(|| "null".to_owned(), |_| format!("'{}'", self.clock.now()));
        let error = error.map_or_else(|| "null".to_owned(), |text| format!("'{text}'"));
        let account = self.account.0;
        self.database
            .execute(&format!(
                "delete from sync_state where account_id = {account}; \
                 insert into sync_state (account_id, resource, partition, ordering, last_success_at, \
                 last_error, last_error_at, interactions_ahead) \
                 values ({account}, 'sessions', '', 'unknown', '{success}', {error}, {error_at}, 0)"
            ))
            .await;
    }

    /// Sessions were just read.
    async fn read(&self) {
        self.stream(self.clock.now(), None).await;
    }

    /// The sync of sessions has just failed.
    async fn fail(&self) {
        self.stream(self.clock.now(), Some("it is broken")).await;
    }

    /// The alerts that have not ended: `kind told`.
    async fn current(&self) -> Vec<String> {
        let sql = "select kind || case when told_at is null then '' else ' told' end from alerts \
                   where ended_at is null order by 1";
        self.database.texts(sql).await
    }

    async fn waiting(&self) -> i64 {
        self.database.count("alert_messages", "1 = 1").await
    }
}

#[tokio::test]
async fn a_failure_is_told_once_a_day_and_at_its_end_however_often_the_process_is_restarted() {
    on_both(|database| async move {
        let mut story = Story::begin(database).await;
        assert_eq!(story.told_after(MINUTE).await, NOTHING);
        story.fail().await;
        assert_eq!(story.told_after(Duration::ZERO).await, NOTHING);
        assert_eq!(story.current().await, ["failing"]);
        // Each attempt fails anew, and the process is restarted.
        story.pass(MINUTE * 20).await;
        story.fail().await;
        story.restart();
        story.meter.token(false);
        assert_eq!(story.told_after(MINUTE * 9).await, NOTHING);
        assert_eq!(story.told_after(MINUTE).await, ["north failing begin"]);
        for _ in 0..10 {
            story.fail().await;
            assert_eq!(story.told_after(MINUTE * 10).await, NOTHING);
            story.restart();
            story.meter.token(false);
        }
        story.pass(DAY).await;
        story.fail().await;
        let reminder = story.told_after(Duration::ZERO).await;
        assert_eq!(reminder, ["north failing reminder"]);
        assert_eq!(story.told_after(MINUTE).await, NOTHING);
        story.read().await;
        assert_eq!(story.told_after(MINUTE).await, ["north failing end"]);
        assert_eq!(story.current().await, NOTHING);
        assert_eq!(story.waiting().await, 0);
        // What ends before it has lasted is told to nobody.
        story.fail().await;
        assert_eq!(story.told_after(MINUTE * 29).await, NOTHING);
        story.read().await;
        assert_eq!(story.told_after(MINUTE).await, NOTHING);
        let alerts = story.database.count("alerts", "1 = 1").await;
        assert_eq!(alerts, 1, "the one that was told is kept");
        // For a while.
        story.pass(DAY * 91).await;
        story.fail().await;
        story.told_after(MINUTE).await;
        assert_eq!(story.current().await, ["failing"]);
        assert_eq!(story.database.count("alerts", "1 = 1").await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_message_names_what_happened_since_when_and_what_to_do() {
    on_both(|database| async move {
        let story = Story::with(database, "failing_after = \"1s\"").await;
        story.fail().await;
        story.pass(MINUTE).await;
        story.look().await;
        let message = story.receiver.take().remove(0);
        let text = message["text"].as_str().unwrap();
        for part in [
            "account north: syncs fail: sessions: it is broken.",
            "`helena-sync status`",
            "It began at 2026-05-04 14:00",
        ] {
            assert!(text.contains(part), "{text}");
        }
        let alert = &message["alerts"][0];
        assert_eq!(alert["since"], "2026-05-04T14:00:00.000000Z");
        assert_eq!(alert["lasted_seconds"], 60);
        assert_eq!(alert["until"], serde_json::Value::Null);
        assert_eq!(message["host"], Holder::current().host);
        let stored = "select detail from alerts";
        assert_eq!(story.database.text(stored).await, "sessions: it is broken");
    })
    .await;
}

#[tokio::test]
async fn a_webhook_that_fails_is_tried_less_and_less_often_and_gets_only_the_latest() {
    on_both(|database| async move {
        let mut story = Story::begin(database).await;
        story.receiver.answer(Some(503));
        story.fail().await;
        story.pass(MINUTE * 30).await;
        let mut times = Vec::new();
        let mut seen = 0;
        for step in 0..130 {
            story.look().await;
            if step == 50 {
                story.restart();
                story.meter.token(false);
            }
            if story.receiver.requests() > seen {
                seen = story.receiver.requests();
                times.push(step);
            }
            story.pass(Duration::from_secs(30)).await;
        }
        // 30 s, 1, 2, 4, 8, 16, 32 min, and then an hour.
        assert_eq!(times, [0, 1, 3, 7, 15, 31, 63, 127]);
        assert_eq!(story.waiting().await, 1);
        let unsent = async |since: Timestamp| {
            let unsent = story.database.store.unsent_messages(since).await;
            unsent.unwrap().get("webhook").copied()
        };
        // It was last tried half a minute ago.
        let tried = story.clock.now() - Duration::from_secs(90);
        assert_eq!(unsent(tried).await, Some(1));
        assert_eq!(unsent(tried + Duration::from_secs(1)).await, None);
        // It ends before anybody heard of it: that is told, once.
        story.read().await;
        story.look().await;
        story.receiver.answer(None);
        assert_eq!(story.told_after(MINUTE).await, ["north failing end"]);
        assert_eq!(story.waiting().await, 0);
        assert_eq!(story.told_after(MINUTE).await, NOTHING);
    })
    .await;
}

#[tokio::test]
async fn a_refused_token_is_told_once_and_hides_what_follows_from_it() {
    on_both(|database| async move {
        let mut story = Story::begin(database).await;
        story.meter.token(true);
        story.fail().await;
        assert_eq!(story.told_after(MINUTE).await, NOTHING);
        let begin = story.told_after(MINUTE * 2).await;
        assert_eq!(begin, ["north token_refused begin"]);
        assert_eq!(story.told_after(MINUTE * 90).await, NOTHING);
        // A new process does not know yet whether the token is refused.
        story.restart();
        assert_eq!(story.told_after(MINUTE).await, NOTHING);
        story.meter.token(false);
        story.read().await;
        assert_eq!(story.told_after(MINUTE).await, ["north token_refused end"]);
    })
    .await;
}

#[tokio::test]
async fn a_mirror_that_is_not_read_in_time_is_told() {
    on_both(|database| async move {
        let story = Story::with(database, "max_lag = \"10m\"").await;
        assert_eq!(story.told_after(MINUTE * 11).await, NOTHING);
        assert_eq!(story.told_after(MINUTE).await, ["north behind begin"]);
        story.read().await;
        assert_eq!(story.told_after(MINUTE).await, ["north behind end"]);
    })
    .await;
}

#[tokio::test]
async fn an_outage_of_the_platform_is_told_once_although_the_mirror_gets_older() {
    on_both(|database| async move {
        let story = Story::begin(database).await;
        let outage = (story.clock.now(), "GET /x failed: 503".to_owned());
        let opened = &story.database.store;
        opened
            .set_trouble(&story.lease, Some(&outage))
            .await
            .unwrap();
        assert_eq!(story.told_after(MINUTE * 29).await, NOTHING);
        assert_eq!(story.told_after(MINUTE).await, ["north failing begin"]);
        assert_eq!(story.told_after(MINUTE * 60).await, NOTHING);
        opened.set_trouble(&story.lease, None).await.unwrap();
        story.read().await;
        assert_eq!(story.told_after(MINUTE).await, ["north failing end"]);
    })
    .await;
}

impl Story {
    async fn run(&self, kind: &str, differing: u64, finished: Timestamp) {
        let account = self.account.0;
        self.database
            .execute(&format!(
                "insert into sync_runs (account_id, kind, resource, partition, started_at, finished_at, \
                 outcome, pages, requests, retries, rows_read, rows_inserted, rows_updated, \
                 rows_unchanged, rows_rejected, rows_differing, touched) \
                 values ({account}, '{kind}', 'sessions', '', '{finished}', '{finished}', 'succeeded', \
                 0, 0, 0, 0, 0, 0, 0, 0, {differing}, {})",
                self.flag(true)
            ))
            .await;
    }

    fn flag(&self, value: bool) -> &'static str {
        match (self.database.kind, value) {
            (Kind::Sqlite, true) => "1",
            (Kind::Sqlite, false) => "0",
            (Kind::Postgres, true) => "true",
            (Kind::Postgres, false) => "false",
        }
    }

    async fn reject(&self, number: u32) {
        let (account, now) = (self.account.0, self.clock.now());
        self.database
            .execute(&format!(
                "insert into rejects (account_id, resource, raw, reason, partial, fingerprint, \
                 first_seen_at, last_seen_at, run_id) values ({account}, 'sessions', 'x', 'no id', {}, \
                 '{number}', '{now}', '{now}', 1)",
                self.flag(false)
            ))
            .await;
    }

    async fn gap(&self) {
        let (account, now) = (self.account.0, self.clock.now());
        self.database
            .execute(&format!(
                "insert into gaps (account_id, resource, partition, field, counted, shown, \
                 first_seen_at, last_seen_at, run_id) \
                 values ({account}, 'sessions', '', 'created', 3, 2, '{now}', '{now}', 1)"
            ))
            .await;
    }
}

#[tokio::test]
async fn new_rejects_gaps_and_differences_are_told_and_old_ones_are_not() {
    on_both(|database| async move {
        let story = Story::with(database, "max_lag = \"900h\"").await;
        story.run("verify", 0, story.clock.now()).await;
        assert_eq!(story.told_after(MINUTE).await, NOTHING);
        story.reject(1).await;
        story.gap().await;
        story.run("verify", 5, story.clock.now()).await;
        story.pass(MINUTE).await;
        story.look().await;
        let messages = story.receiver.take();
        assert_eq!(messages.len(), 1, "all in one message: {messages:?}");
        let text = messages[0]["text"].as_str().unwrap();
        for part in [
            "1 record could not be stored",
            "(1 new gap",
            "found 5 differences",
        ] {
            assert!(text.contains(part), "{text}");
        }
        // More of the same begins nothing.
        story.reject(2).await;
        assert_eq!(story.told_after(MINUTE * 60).await, NOTHING);
        // They go on being there, but nobody needs to be told of them again and again.
        assert_eq!(story.told_after(DAY / 2).await, NOTHING);
        let mut told = story.told_after(DAY / 2 + MINUTE).await;
        told.sort();
        assert_eq!(
            told,
            [
                "north differences end",
                "north gaps end",
                "north rejects end"
            ]
        );
        assert_eq!(story.told_after(DAY * 3).await, NOTHING);
        story.reject(3).await;
        assert_eq!(story.told_after(MINUTE).await, ["north rejects begin"]);
        let resolve = "update rejects set resolved_at = last_seen_at";
        story.database.execute(resolve).await;
        assert_eq!(story.told_after(MINUTE).await, ["north rejects end"]);
    })
    .await;
}

#[tokio::test]
async fn only_the_process_that_works_on_an_account_speaks_for_it() {
    on_both(|database| async move {
        let mut story = Story::with(database, "failing_after = \"1m\"").await;
        story.fail().await;
        let opened = story.database.store.clone();
        opened.release(&story.lease).await.unwrap();
        story.lease = lease(
            &story.database,
            story.account,
            &elsewhere(),
            story.clock.now(),
        )
        .await;
        assert_eq!(story.told_after(MINUTE * 2).await, NOTHING);
        assert_eq!(story.current().await, NOTHING);
        // If nobody works on it, everybody who is configured for it does, and it is told once.
        opened.release(&story.lease).await.unwrap();
        let other = Watch::new(
            Arc::clone(&story.clock) as _,
            subject(&story.lines(), &story.meter),
        );
        other.begin(opened.clone());
        for _ in 0..3 {
            story.clock.advance(MINUTE);
            tokio::join!(story.watch.look(), other.look());
            tokio::join!(
                story.watch.deliver(Channel::Webhook),
                other.deliver(Channel::Webhook)
            );
        }
        assert_eq!(story.receiver.take_events(), ["north failing begin"]);
        // Whoever takes it over goes on where the others were.
        story.lease = lease(
            &story.database,
            story.account,
            &Holder::current(),
            story.clock.now(),
        )
        .await;
        story.read().await;
        assert_eq!(story.told_after(MINUTE).await, ["north failing end"]);
    })
    .await;
}

#[tokio::test]
async fn a_disk_that_is_nearly_full_is_told_of_without_an_account() {
    on_both(|database| async move {
        let story = Story::begin(database).await;
        let watching = |percent: u32| {
            let lines = format!("{}\ndisk_percent = {percent}", story.lines());
            let mut subject = subject(&lines, &story.meter);
            // Its disk is neither empty nor full.
            subject.file = Some(std::env::current_exe().unwrap());
            story.watch.set(subject);
        };
        watching(99);
        assert_eq!(story.told_after(MINUTE).await, ["- disk begin"]);
        assert_eq!(story.told_after(MINUTE).await, NOTHING);
        let rows = story.database.count("alerts", "account_id is null").await;
        assert_eq!(rows, 1);
        watching(1);
        assert_eq!(story.told_after(MINUTE).await, ["- disk end"]);
    })
    .await;
}

#[tokio::test]
async fn a_database_that_does_not_answer_is_told_by_the_process_itself() {
    on_both(|database| async move {
        let mut story = Story::begin(database).await;
        // It could not be opened yet.
        story.watch = Watch::new(
            Arc::clone(&story.clock) as _,
            subject(&story.lines(), &story.meter),
        );
        assert_eq!(story.told_after(Duration::ZERO).await, NOTHING);
        story.receiver.answer(Some(500));
        assert_eq!(story.told_after(MINUTE * 30).await, NOTHING);
        assert_eq!(story.told_after(Duration::from_secs(10)).await, NOTHING);
        assert_eq!(story.receiver.requests(), 1);
        story.receiver.answer(None);
        assert_eq!(story.told_after(MINUTE).await, ["- database begin"]);
        assert_eq!(story.told_after(MINUTE * 60).await, NOTHING);
        assert_eq!(story.told_after(DAY).await, ["- database reminder"]);
        story.watch.begin(story.database.store.clone());
        story.read().await;
        assert_eq!(story.told_after(MINUTE).await, ["- database end"]);
        assert_eq!(story.told_after(MINUTE).await, NOTHING);
        assert_eq!(story.database.count("alerts", "1 = 1").await, 0);
    })
    .await;
}

#[tokio::test]
async fn both_ways_are_independent_of_each_other() {
    on_both(|database| async move {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("told");
        let command = format!("command = \"echo $ALERT_SUBJECT >> {}\"", file.display());
        let story = Story::with(database, &command).await;
        story.receiver.answer(Some(404));
        story.reject(1).await;
        for _ in 0..5 {
            assert_eq!(story.told_after(MINUTE).await, NOTHING);
        }
        story.receiver.answer(None);
        story.pass(MINUTE * 60).await;
        story.read().await;
        let told = story.told_after(Duration::ZERO).await;
        assert_eq!(told, ["north rejects begin"]);
        let told = std::fs::read_to_string(&file).unwrap();
        assert_eq!(told, "helena-sync: rejects, account north\n");
    })
    .await;
}

/// A clock that panics so many times when it is asked for the time.
#[derive(Debug)]
struct Panicking {
    clock: Arc<FakeClock>,
    times: AtomicU32,
}

impl Clock for Panicking {
    fn now(&self) -> Timestamp {
        let less = |times: u32| times.checked_sub(1);
        let again = self
            .times
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
        assert!(again.is_err(), "a test panics");
        self.clock.now()
    }

    fn running(&self) -> Duration {
        self.clock.running()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        self.clock.sleep(duration)
    }
}

#[tokio::test]
async fn a_watch_that_panics_goes_on_looking_and_sending() {
    on_both(|database| async move {
        let story = Story::with(database, "failing_after = \"1s\"").await;
        let clock = Arc::new(Panicking {
            clock: Arc::clone(&story.clock),
            times: AtomicU32::new(0),
        });
        let subject = subject(&story.lines(), &story.meter);
        let watch = Arc::new(Watch::new(Arc::clone(&clock) as _, subject));
        watch.begin(story.database.store.clone());
        story.fail().await;
        // More often than there are tasks.
        clock.times.store(7, Ordering::SeqCst);
        let watching = AbortOnDropHandle::new(tokio::spawn(watch.keep_watching()));
        let mut told = Vec::new();
        for _ in 0..3_000 {
            told.extend(story.receiver.take_events());
            if !told.is_empty() || watching.is_finished() {
                break;
            }
            SystemClock.sleep(Duration::from_millis(10)).await;
        }
        assert!(!watching.is_finished(), "it has ended");
        assert_eq!(told[0], "north failing begin");
        assert_eq!(clock.times.load(Ordering::SeqCst), 0);
    })
    .await;
}

#[tokio::test]
async fn what_is_open_ends_in_silence_when_nobody_is_to_be_told_any_more() {
    on_both(|database| async move {
        let story = Story::begin(database).await;
        story.reject(1).await;
        story.receiver.answer(Some(503));
        assert_eq!(story.told_after(MINUTE).await, NOTHING);
        assert_eq!(story.current().await, ["rejects told"]);
        assert_eq!(story.waiting().await, 1);
        story.watch.set(subject("", &story.meter));
        story.receiver.answer(None);
        assert_eq!(story.told_after(MINUTE).await, NOTHING);
        assert_eq!(story.current().await, NOTHING);
        assert_eq!(story.waiting().await, 0);
        // It is still there.
        story.watch.set(subject(&story.lines(), &story.meter));
        assert_eq!(story.told_after(MINUTE).await, ["north rejects begin"]);
        // While another process works on the account, this one leaves it alone.
        let opened = &story.database.store;
        opened.release(&story.lease).await.unwrap();
        let now = story.clock.now();
        let other = lease(&story.database, story.account, &elsewhere(), now).await;
        story.watch.set(subject("", &story.meter));
        for _ in 0..2 {
            story.watch.look().await;
            assert_eq!(story.current().await, ["rejects told"]);
        }
        // Once that process has ended, nobody else would end it.
        opened.release(&other).await.unwrap();
        story.watch.look().await;
        assert_eq!(story.current().await, NOTHING);
    })
    .await;
}

#[tokio::test]
async fn what_is_switched_off_is_silent() {
    on_both(|database| async move {
        let story = Story::begin(database).await;
        story.reject(1).await;
        story.watch.set(subject("", &story.meter));
        assert_eq!(story.told_after(MINUTE * 90).await, NOTHING);
        assert_eq!(story.current().await, NOTHING);
    })
    .await;
}
