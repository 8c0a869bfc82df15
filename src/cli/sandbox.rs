//! `helena-sync sandbox`: a simulated account in the foreground.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};

use super::{dates, meaning};
use crate::clock::Clock;
use crate::config::{Edge, Zone};
use crate::data::Timestamp;
use crate::sandbox::{
    FaultRates, Moods, Outage, Precision, RequestLimit, RetryAfter, Sandbox, SandboxConfig,
};

/// Serve a simulated account to try the program with.
///
/// The real HTTP contract, on this machine only. Sessions are opened, answered, transferred,
/// completed and retagged while it runs. It needs no token and no network, writes nothing to disk,
/// and prints the lines that sync it. The same seed, sizes and end (--seed, --sessions, --contacts,
/// --until) give the same account to begin with; without --until the end is the present, and so
/// another one each time. Shares are from 0 to 1.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  helena-sync sandbox --sessions 20000 --rate 5 --faults 0.02", args = meaning::hidden(meaning::UNCONFIGURED))]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an independent flag of the command line"
)]
pub struct SandboxCommand {
    /// Sessions of the year that the account begins with, 5000000 at most.
    #[arg(long, value_name = "COUNT", default_value_t = 5_000, value_parser = count)]
    sessions: u32,
    /// Contacts, 5000000 at most; two fifths of the sessions unless given.
    #[arg(long, value_name = "COUNT", value_parser = count)]
    contacts: Option<u32>,
    /// The same seed, sizes and --until give the same account.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// End of the year that is generated: 2025-12-31 (the whole day), "2025-12-31 18:30" (in the
    /// machine's time zone) or RFC 3339; not in the future. Now unless given.
    #[arg(long, value_name = "INSTANT")]
    until: Option<String>,
    /// Port on 127.0.0.1; 0 takes a free one.
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    port: u16,
    /// The token that is accepted.
    #[arg(long, value_name = "TOKEN", default_value = "pn_sandbox", value_parser = token)]
    accept_token: String,
    /// Changes a second; 0 for an account that stands still.
    #[arg(long, value_name = "CHANGES", default_value_t = 1.0, value_parser = rate)]
    rate: f64,
    /// Time between a request and its answer.
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = humantime::parse_duration)]
    latency: Duration,
    /// Requests that are let through (1000/5m), repeatable; off for no limit. The
    /// platform's own unless given: 1000/5m and 200/5s.
    #[arg(long = "limit", value_name = "COUNT/TIME", value_parser = limit)]
    limits: Vec<Allowance>,
    /// Answers are not compressed.
    #[arg(long)]
    no_gzip: bool,

    /// Share of answers of every kind of fault from --too-many to --html that is not given its own.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share, help_heading = "Faults")]
    faults: f64,
    /// 429 beyond those of the limits.
    #[arg(long, value_name = "SHARE", value_parser = share, help_heading = "Faults")]
    too_many: Option<f64>,
    /// 500 with the platform's own error body.
    #[arg(long, value_name = "SHARE", value_parser = share, help_heading = "Faults")]
    internal: Option<f64>,
    /// 502 with a gateway's HTML page.
    #[arg(long, value_name = "SHARE", value_parser = share, help_heading = "Faults")]
    bad_gateway: Option<f64>,
    /// 503 without a body.
    #[arg(long, value_name = "SHARE", value_parser = share, help_heading = "Faults")]
    unavailable: Option<f64>,
    /// Bodies that end in the middle.
    #[arg(long, value_name = "SHARE", value_parser = share, help_heading = "Faults")]
    cut: Option<f64>,
    /// Connections that are reset.
    #[arg(long, value_name = "SHARE", value_parser = share, help_heading = "Faults")]
    reset: Option<f64>,
    /// "error": true under status 200.
    #[arg(long, value_name = "SHARE", value_parser = share, help_heading = "Faults")]
    error_true: Option<f64>,
    /// Bodies that come in drops, over --slow-for.
    #[arg(long, value_name = "SHARE", value_parser = share, help_heading = "Faults")]
    slow: Option<f64>,
    /// A page of HTML under status 200.
    #[arg(long, value_name = "SHARE", value_parser = share, help_heading = "Faults")]
    html: Option<f64>,
    /// 401 though the token is good; never part of --faults, since asking again is no cure.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share, help_heading = "Faults")]
    unauthorized: f64,
    /// Nothing is answered and connections are reset: 30s/10m for the last 30 seconds of every 10
    /// minutes.
    #[arg(long, value_name = "TIME/PERIOD", value_parser = outage, help_heading = "Faults")]
    outage: Option<Outage>,
    /// How long a slow body takes.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = humantime::parse_duration, help_heading = "Faults")]
    slow_for: Duration,
    /// What a 429 says about waiting.
    #[arg(long, value_enum, default_value_t = WaitHint::Absent, help_heading = "Faults")]
    retry_after: WaitHint,
    /// Share of records that are broken in some way.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share, help_heading = "Faults")]
    poison: f64,
    /// Share of records that are counted and never listed, by their id.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share, help_heading = "Faults")]
    hidden: f64,
    /// Share of live changes that become visible late, by up to --late-for.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share, help_heading = "Faults")]
    late: f64,
    /// How late at most.
    #[arg(long, value_name = "DURATION", default_value = "90s", value_parser = humantime::parse_duration, help_heading = "Faults")]
    late_for: Duration,
    /// Share of live changes that delete a session for good.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share, help_heading = "Faults")]
    deletions: f64,
    /// Share of live changes that edit up to 250 sessions at once, with one updatedAt.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share, help_heading = "Faults")]
    bulk_edits: f64,
    /// Share of live changes that take a tag or a channel from its list, or put one back.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share, help_heading = "Faults")]
    list_changes: f64,

    /// OrderBy has no effect.
    #[arg(long, help_heading = "Open questions about the platform")]
    ignore_order: bool,
    /// *.After lets the instant itself through.
    #[arg(long, help_heading = "Open questions about the platform")]
    after_inclusive: bool,
    /// *.Before lets the instant itself through.
    #[arg(long, help_heading = "Open questions about the platform")]
    before_inclusive: bool,
    /// How precisely the date filters compare.
    #[arg(long, value_enum, default_value_t = Compare::Ticks, help_heading = "Open questions about the platform")]
    precision: Compare,
    /// UpdatedAt.* has no effect.
    #[arg(long, help_heading = "Open questions about the platform")]
    ignore_updated_filter: bool,
    /// CreatedAt.* has no effect.
    #[arg(long, help_heading = "Open questions about the platform")]
    ignore_created_filter: bool,
    /// The first version of the session list is gone, and answers 401, 404 or 410.
    #[arg(long, value_name = "STATUS", value_parser = withdrawn, help_heading = "Open questions about the platform")]
    v1_withdrawn: Option<u16>,
    /// A path prefix that the token may not use (/chat/), repeatable.
    #[arg(
        long = "refuse",
        value_name = "PREFIX",
        help_heading = "Open questions about the platform"
    )]
    refused: Vec<String>,
    /// Seconds that the server's clock is ahead; negative if behind.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 0,
        allow_negative_numbers = true,
        help_heading = "Open questions about the platform"
    )]
    clock_skew: i32,
    /// How far the Date header alone is ahead of that, in seconds; behind if negative.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 0,
        allow_negative_numbers = true,
        help_heading = "Open questions about the platform"
    )]
    date_skew: i32,
    /// Share of null fields that are left out instead.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share, help_heading = "Open questions about the platform")]
    absent: f64,
    /// Records carry fields that no contract knows.
    #[arg(long, help_heading = "Open questions about the platform")]
    extra_fields: bool,
    /// Contacts list their tags without being asked.
    #[arg(long, help_heading = "Open questions about the platform")]
    tags_unasked: bool,
}

/// How a 429 says how long to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum WaitHint {
    /// Not at all.
    Absent,
    /// In seconds.
    Seconds,
    /// As a date.
    Date,
}

/// The precision of the date filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Compare {
    /// 100 ns.
    Ticks,
    /// Microseconds.
    Micros,
    /// Milliseconds.
    Millis,
}

/// What a machine holds in memory without trouble: a record takes about a hundred bytes.
const MOST: u32 = 5_000_000;

/// The earliest end of a year: before it the company would have been founded before dates of the
/// platform's kind.
const EARLIEST: &str = "2000-01-01T00:00:00Z";

fn count(text: &str) -> Result<u32, String> {
    text.parse()
        .ok()
        .filter(|count| *count <= MOST)
        .ok_or_else(|| format!("accepted: a number from 0 to {MOST}"))
}

fn share(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| "a share is a number from 0 to 1".to_owned())
}

fn rate(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|rate| (0.0..=10_000.0).contains(rate))
        .ok_or_else(|| "a rate is a number of changes a second, from 0 to 10000".to_owned())
}

fn withdrawn(text: &str) -> Result<u16, String> {
    match text {
        "401" => Ok(401),
        "404" => Ok(404),
        "410" => Ok(410),
        _ => Err("accepted: 401, 404, 410".to_owned()),
    }
}

/// What `--limit` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Allowance {
    /// Everything is let through.
    Off,
    /// So much is.
    Limit(RequestLimit),
}

/// A token as it can be pasted into a shell and sent in a header.
fn token(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.~+/=".contains(c);
    if text.is_empty() || !text.chars().all(plain) {
        return Err("a token is letters, digits and -_.~+/= without spaces".to_owned());
    }
    Ok(text.to_owned())
}

fn limit(text: &str) -> Result<Allowance, String> {
    if text == "off" {
        return Ok(Allowance::Off);
    }
    let read = || {
        let (count, per) = text.split_once('/')?;
        let per = humantime::parse_duration(per)
            .ok()
            .filter(|per| !per.is_zero())?;
        let count = count.parse().ok().filter(|count| *count > 0)?;
        Some(Allowance::Limit(RequestLimit { count, per }))
    };
    read().ok_or_else(|| "accepted: requests/time such as 1000/5m or 200/5s, or off".to_owned())
}

fn outage(text: &str) -> Result<Outage, String> {
    let read = || {
        let (lasts, every) = text.split_once('/')?;
        let [lasts, every] = [lasts, every].map(|text| humantime::parse_duration(text).ok());
        let outage = Outage {
            lasts: lasts?,
            every: every?,
        };
        (!outage.lasts.is_zero() && outage.lasts < outage.every).then_some(outage)
    };
    read().ok_or_else(|| {
        "accepted: time/period such as 30s/10m, the time shorter than the period".to_owned()
    })
}

impl SandboxCommand {
    /// The account that the flags ask for at an instant.
    pub fn config(&self, now: Timestamp) -> anyhow::Result<SandboxConfig> {
        let mut limits = Vec::new();
        for allowance in &self.limits {
            match allowance {
                Allowance::Limit(limit) => limits.push(*limit),
                Allowance::Off if self.limits.len() == 1 => {}
                Allowance::Off => bail!("--limit off stands alone: leave it or the others out"),
            }
        }
        if self.limits.is_empty() {
            limits = RequestLimit::documented();
        }
        let of = |own: Option<f64>| own.unwrap_or(self.faults);
        Ok(SandboxConfig {
            sessions: self.sessions,
            contacts: self.contacts,
            seed: self.seed,
            until: self.until(now)?,
            token: self.accept_token.clone(),
            port: self.port,
            gzip: !self.no_gzip,
            live_rate: self.rate,
            remembered_requests: 0,
            moods: self.moods(),
            faults: FaultRates {
                too_many: of(self.too_many),
                internal: of(self.internal),
                bad_gateway: of(self.bad_gateway),
                unavailable: of(self.unavailable),
                cut: of(self.cut),
                reset: of(self.reset),
                error_true: of(self.error_true),
                slow: of(self.slow),
                html: of(self.html),
                unauthorized: self.unauthorized,
                slow_for: self.slow_for,
                retry_after: match self.retry_after {
                    WaitHint::Absent => RetryAfter::Absent,
                    WaitHint::Seconds => RetryAfter::Seconds,
                    WaitHint::Date => RetryAfter::Date,
                },
            },
            limits,
        })
    }

    fn moods(&self) -> Moods {
        Moods {
            ignore_order: self.ignore_order,
            after_inclusive: self.after_inclusive,
            before_inclusive: self.before_inclusive,
            precision: match self.precision {
                Compare::Ticks => Precision::Ticks,
                Compare::Micros => Precision::Micros,
                Compare::Millis => Precision::Millis,
            },
            ignore_updated_filter: self.ignore_updated_filter,
            ignore_created_filter: self.ignore_created_filter,
            v1_withdrawn: self.v1_withdrawn,
            refused: self.refused.clone(),
            offline: false,
            outage: self.outage,
            deletion_share: self.deletions,
            bulk_share: self.bulk_edits,
            list_share: self.list_changes,
            skew_micros: i64::from(self.clock_skew) * 1_000_000,
            date_micros: i64::from(self.date_skew) * 1_000_000,
            latency: self.latency,
            late_share: self.late,
            late_max: self.late_for,
            absent_share: self.absent,
            extra_fields: self.extra_fields,
            poison_share: self.poison,
            hidden_share: self.hidden,
            tags_unasked: self.tags_unasked,
        }
    }

    fn until(&self, now: Timestamp) -> anyhow::Result<Option<Timestamp>> {
        let Some(text) = &self.until else {
            return Ok(None);
        };
        let until = dates::parse("--until", text, Zone::machine(), Edge::End)?;
        let earliest = Timestamp::parse(EARLIEST).context("the earliest end cannot be read")?;
        if until > now {
            bail!("--until {text:?} is {until}, in the future: accepted are instants up to {now}");
        }
        if until < earliest {
            bail!("--until {text:?} is {until}: accepted are instants from {EARLIEST} on");
        }
        Ok(Some(until))
    }
}

/// Serves an account until stop is ready, having said on out how to sync it.
pub async fn run(
    config: SandboxConfig,
    clock: Arc<dyn Clock>,
    out: &mut (impl Write + Send),
    stop: impl Future<Output = ()> + Send,
) -> anyhow::Result<()> {
    let port = config.port;
    let sandbox = Sandbox::start(config, clock)
        .await
        .with_context(|| format!("the sandbox cannot listen on 127.0.0.1:{port}"))?;
    let (sessions, contacts) = {
        let mut account = sandbox.account();
        (account.session_count(), account.contact_count())
    };
    announce(out, &sandbox, sessions, contacts).context("the address cannot be printed")?;
    stop.await;
    sandbox.stop().await;
    Ok(())
}

fn announce(
    out: &mut impl Write,
    sandbox: &Sandbox,
    sessions: usize,
    contacts: usize,
) -> io::Result<()> {
    let (url, token) = (sandbox.base_url(), sandbox.token());
    writeln!(
        out,
        "# {sessions} sessions, {contacts} contacts; Ctrl-C ends it. In another terminal:"
    )?;
    writeln!(out, "export HELENA_BASE_URL={url} HELENA_API_TOKEN={token}")?;
    writeln!(out, "helena-sync run")?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::clock::FakeClock;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        command: SandboxCommand,
    }

    fn now() -> Timestamp {
        Timestamp::parse("2026-05-04T15:00:00Z").unwrap()
    }

    fn config(flags: &[&str]) -> anyhow::Result<SandboxConfig> {
        let line = ["sandbox"].into_iter().chain(flags.iter().copied());
        Line::try_parse_from(line)?.command.config(now())
    }

    #[test]
    fn the_platforms_own_limits_hold_unless_others_are_given() {
        assert_eq!(config(&[]).unwrap().limits, RequestLimit::documented());
        assert!(config(&["--limit", "off"]).unwrap().limits.is_empty());
        let limits = config(&["--limit", "10/1m", "--limit", "2/1s"])
            .unwrap()
            .limits;
        assert_eq!(
            limits[0],
            RequestLimit {
                count: 10,
                per: Duration::from_mins(1)
            }
        );
        assert_eq!(limits.len(), 2);
    }

    #[test]
    fn a_fault_of_its_own_goes_before_the_common_share() {
        let faults = config(&["--faults", "0.1", "--cut", "0"]).unwrap().faults;
        assert_eq!((faults.reset, faults.cut), (0.1, 0.0));
    }

    #[test]
    fn what_asking_again_does_not_cure_comes_only_where_it_is_asked_for() {
        let all = config(&["--faults", "0.1"]).unwrap();
        assert_eq!((all.faults.html, all.faults.unauthorized), (0.1, 0.0));
        assert_eq!(all.moods, Moods::default());
        let flags = [
            "--unauthorized",
            "0.2",
            "--outage",
            "30s/10m",
            "--deletions",
            "0.01",
            "--bulk-edits",
            "0.02",
            "--list-changes",
            "0.03",
            "--hidden",
            "0.04",
        ];
        let own = config(&flags).unwrap();
        assert_eq!((own.faults.html, own.faults.unauthorized), (0.0, 0.2));
        assert_eq!(
            own.moods,
            Moods {
                outage: Some(Outage {
                    lasts: Duration::from_secs(30),
                    every: Duration::from_mins(10),
                }),
                deletion_share: 0.01,
                bulk_share: 0.02,
                list_share: 0.03,
                hidden_share: 0.04,
                ..Moods::default()
            }
        );
    }

    #[test]
    fn what_is_no_share_limit_or_status_is_refused() {
        for flags in [
            ["--faults", "2"],
            ["--rate", "-1"],
            ["--limit", "many"],
            ["--limit", "0/5s"],
            ["--v1-withdrawn", "500"],
            ["--outage", "10m"],
            ["--outage", "10m/30s"],
            ["--outage", "0s/10m"],
            ["--outage", "10m/10m"],
            ["--deletions", "2"],
            ["--accept-token", " "],
            ["--accept-token", ""],
            ["--accept-token", "a b'c"],
        ] {
            assert!(config(&flags).is_err(), "{flags:?}");
        }
        let both = config(&["--limit", "off", "--limit", "10/1s"]).unwrap_err();
        assert!(
            both.to_string().contains("--limit off stands alone"),
            "{both}"
        );
    }

    #[test]
    fn the_year_ends_now_or_when_it_is_said_to() {
        assert_eq!(config(&[]).unwrap().until, None);
        for text in ["2026-05-04T15:00:00Z", "2025-12-31T18:30:00-03:00"] {
            let until = config(&["--until", text]).unwrap().until;
            assert_eq!(until, Some(Timestamp::parse(text).unwrap()));
        }
        let day = config(&["--until", "2025-12-31"]).unwrap().until.unwrap();
        let next = Timestamp::parse("2026-01-01T00:00:00Z").unwrap();
        assert!(
            day.since(next).max(next.since(day)) <= Duration::from_hours(14),
            "{day}"
        );
        for (text, told) in [
            (
                "2026-05-04T15:00:01Z",
                "in the future: accepted are instants up to 2026-05-04T15",
            ),
            (
                "1999-12-31T23:59:59Z",
                "accepted are instants from 2000-01-01",
            ),
            (
                "yesterday",
                "--until: \"yesterday\" is no date (accepted: 2025-12-31",
            ),
        ] {
            let refused = config(&["--until", text]).unwrap_err().to_string();
            assert!(refused.contains(told), "{refused}");
        }
    }

    #[tokio::test]
    async fn the_same_seed_size_and_end_give_the_same_account_whenever_it_starts() {
        let account = async |until: &str, now: Timestamp| {
            let config = config(&["--sessions", "40", "--until", until]).unwrap();
            let clock = Arc::new(FakeClock::at(now));
            let sandbox = Sandbox::start(config, clock).await.unwrap();
            let mut account = sandbox.account();
            (
                account.truth_sessions(),
                account.truth_contacts(),
                account.truth_tags(),
                account.truth_channels(),
                account.truth_departments(),
                account.truth_agents(),
            )
        };
        let until = "2026-03-01T12:00:00Z";
        let first = account(until, now()).await;
        assert_eq!(
            account(until, now() + Duration::from_hours(100)).await,
            first
        );
        assert_ne!(account("2026-03-02T12:00:00Z", now()).await, first);
    }

    #[test]
    fn an_account_that_no_machine_holds_is_refused() {
        let most = config(&["--sessions", "5000000", "--contacts", "5000000"]).unwrap();
        assert_eq!((most.sessions, most.contacts), (5_000_000, Some(5_000_000)));
        for flag in ["--sessions", "--contacts"] {
            for value in ["4294967295", "5000001", "99999999999", "many"] {
                let refused = config(&[flag, value]).unwrap_err().to_string();
                assert!(
                    refused.contains("accepted: a number from 0 to 5000000"),
                    "{refused}"
                );
            }
        }
    }

    #[tokio::test]
    async fn it_prints_the_lines_that_sync_it() {
        let config = config(&["--sessions", "10"]).unwrap();
        let clock = Arc::new(FakeClock::at(now()));
        let mut out = Vec::new();
        run(config, clock, &mut out, async {}).await.unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.contains("export HELENA_BASE_URL=http://127.0.0.1:"),
            "{text}"
        );
        assert!(
            text.contains("HELENA_API_TOKEN=pn_sandbox\nhelena-sync run\n"),
            "{text}"
        );
    }
}
