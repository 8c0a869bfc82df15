//! `helena-sync sandbox`: serves a simulated account.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};

use super::sandbox_oddities::Oddities;
use super::{Calendar, dates, refused_options, whole};
use crate::clock::Clock;
use crate::config::{Edge, Zone, duration_of};
use crate::data::{Timestamp, counted};
use crate::sandbox::{
    FaultRates, Moods, Outage, Precision, RequestLimit, RetryAfter, Sandbox, SandboxConfig,
};

/// Serve a simulated account to try the program with.
///
/// Serves the real HTTP contract on this machine only. While it runs, sessions are opened,
/// answered, transferred, completed and retagged. It needs no token and no network, writes nothing
/// to disk, and prints the commands that sync the account. The same --seed, --sessions, --contacts
/// and --until give the same initial account. Without --until, the account ends now, so each start
/// gives another one. Shares are numbers from 0 to 1.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  helena-sync sandbox --sessions 20000 --rate 5 --faults 0.02", args = refused_options::hidden(refused_options::UNCONFIGURED))]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an independent flag of the command line"
)]
pub struct SandboxCommand {
    /// Sessions of the generated year, at most 5,000,000.
    #[arg(long, value_name = "COUNT", default_value_t = 20_000, value_parser = count)]
    sessions: u32,
    /// Contacts, at most 5,000,000 [default: two fifths of --sessions].
    #[arg(long, value_name = "COUNT", value_parser = count)]
    contacts: Option<u32>,
    /// Seed of the generator. The same seed, sizes and --until give the same account.
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = whole::<u64>)]
    seed: u64,
    /// End of the generated year: 2025-12-31 (the whole day), "2025-12-31 18:30" (in the machine's
    /// time zone) or RFC 3339; not in the future [default: now].
    #[arg(long, value_name = "INSTANT")]
    until: Option<String>,
    /// Port on 127.0.0.1; 0 chooses a free one.
    #[arg(long, value_name = "PORT", default_value_t = 0, value_parser = port)]
    port: u16,
    /// The token that the sandbox accepts.
    #[arg(long, value_name = "TOKEN", default_value = "pn_sandbox", value_parser = token)]
    accept_token: String,
    /// Changes per second; 0 for an account that does not change.
    #[arg(long, value_name = "CHANGES", default_value_t = 1.0, value_parser = rate)]
    rate: f64,
    /// Delay of every answer.
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration_of)]
    latency: Duration,
    /// Rate limit, such as 1000/5m; may be repeated; off for no limit [default: the platform's
    /// limits, 1000/5m and 200/5s].
    #[arg(long = "limit", value_name = "COUNT/TIME", value_parser = limit)]
    limits: Vec<Allowance>,
    /// Do not compress answers.
    #[arg(long)]
    no_gzip: bool,

    /// Share of answers for each kind of fault from --too-many to --html that has no share of its
    /// own.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share, help_heading = "Faults")]
    faults: f64,
    /// 429 in addition to those of the rate limits.
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
    /// Bodies that are cut off in the middle.
    #[arg(long, value_name = "SHARE", value_parser = share, help_heading = "Faults")]
    cut: Option<f64>,
    /// Connections that are reset.
    #[arg(long, value_name = "SHARE", value_parser = share, help_heading = "Faults")]
    reset: Option<f64>,
    /// Status 200 with "error": true in the body.
    #[arg(long, value_name = "SHARE", value_parser = share, help_heading = "Faults")]
    error_true: Option<f64>,
    /// Bodies that arrive slowly, over --slow-for.
    #[arg(long, value_name = "SHARE", value_parser = share, help_heading = "Faults")]
    slow: Option<f64>,
    /// Status 200 with an HTML page.
    #[arg(long, value_name = "SHARE", value_parser = share, help_heading = "Faults")]
    html: Option<f64>,
    /// 401 although the token is valid; not part of --faults, since a retry does not help.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share, help_heading = "Faults")]
    unauthorized: f64,
    /// Reset all connections for a while: 30s/10m means the last 30 seconds of every 10 minutes.
    #[arg(long, value_name = "TIME/PERIOD", value_parser = outage, help_heading = "Faults")]
    outage: Option<Outage>,
    /// How long a slow body takes.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration_of, help_heading = "Faults")]
    slow_for: Duration,
    /// How a 429 says how long to wait.
    #[arg(long, value_enum, default_value_t = WaitHint::Absent, help_heading = "Faults")]
    retry_after: WaitHint,
    /// Share of records that break the contract in some way.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share, help_heading = "Faults")]
    poison: f64,
    /// Share of records that are counted but never listed. The record's id decides.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share, help_heading = "Faults")]
    hidden: f64,
    /// Share of live changes that become visible late, by up to --late-for.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share, help_heading = "Faults")]
    late: f64,
    /// Maximum delay of late changes.
    #[arg(long, value_name = "DURATION", default_value = "90s", value_parser = duration_of, help_heading = "Faults")]
    late_for: Duration,
    /// Share of live changes that delete a session for good.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share, help_heading = "Faults")]
    deletions: f64,
    /// Share of live changes that edit up to 250 sessions at once, with one updatedAt.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share, help_heading = "Faults")]
    bulk_edits: f64,
    /// Share of live changes that remove a tag or a channel from its list, or add one again.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share, help_heading = "Faults")]
    list_changes: f64,

    /// OrderBy has no effect.
    #[arg(long, help_heading = "Open questions about the platform")]
    ignore_order: bool,
    /// *.After includes the instant itself.
    #[arg(long, help_heading = "Open questions about the platform")]
    after_inclusive: bool,
    /// *.Before includes the instant itself.
    #[arg(long, help_heading = "Open questions about the platform")]
    before_inclusive: bool,
    /// Precision of the date filters.
    #[arg(long, value_enum, default_value_t = Compare::Ticks, help_heading = "Open questions about the platform")]
    precision: Compare,
    /// UpdatedAt.* has no effect.
    #[arg(long, help_heading = "Open questions about the platform")]
    ignore_updated_filter: bool,
    /// CreatedAt.* has no effect.
    #[arg(long, help_heading = "Open questions about the platform")]
    ignore_created_filter: bool,
    /// Version 1 of the session list is withdrawn and answers 401, 404 or 410.
    #[arg(long, value_name = "STATUS", value_parser = withdrawn, help_heading = "Open questions about the platform")]
    v1_withdrawn: Option<u16>,
    /// Version 2 of the session list is withdrawn and answers 401, 404 or 410.
    #[arg(long, value_name = "STATUS", value_parser = withdrawn, help_heading = "Open questions about the platform")]
    v2_withdrawn: Option<u16>,
    /// Version 1 of the session list does not show sessions of groups.
    #[arg(long, help_heading = "Open questions about the platform")]
    v1_hides_groups: bool,
    /// PageNumber has no effect.
    #[arg(long, help_heading = "Open questions about the platform")]
    ignore_page_number: bool,
    /// Pages do not repeat the parameters of the request.
    #[arg(long, help_heading = "Open questions about the platform")]
    no_echo: bool,
    /// Answers have no Date header.
    #[arg(long, help_heading = "Open questions about the platform")]
    no_date: bool,
    /// Accept the token only without the word Bearer.
    #[arg(long, help_heading = "Open questions about the platform")]
    bare_token: bool,
    /// Path prefix that the token may not use, such as /chat/; may be repeated.
    #[arg(
        long = "refuse",
        value_name = "PREFIX",
        help_heading = "Open questions about the platform"
    )]
    refused: Vec<String>,
    /// How far the server's clock is ahead, in seconds; negative if it is behind.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 0,
        allow_negative_numbers = true,
        help_heading = "Open questions about the platform"
    )]
    clock_skew: i32,
    /// How far the Date header is ahead of the server's clock, in seconds; negative if it is behind.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 0,
        allow_negative_numbers = true,
        help_heading = "Open questions about the platform"
    )]
    date_skew: i32,
    /// Share of null fields that are omitted instead.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share, help_heading = "Open questions about the platform")]
    absent: f64,
    /// Records have fields that are not in the contract.
    #[arg(long, help_heading = "Open questions about the platform")]
    extra_fields: bool,
    /// Lists of contacts include tags without a request for them.
    #[arg(long, help_heading = "Open questions about the platform")]
    tags_unasked: bool,
    #[command(flatten)]
    oddities: Oddities,
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

/// The maximum that fits in a machine's memory: a record takes about 100 bytes.
const MOST: u32 = 5_000_000;

/// The earliest end of the generated year.
const EARLIEST: &str = "2000-01-01T00:00:00Z";

fn count(text: &str) -> Result<u32, String> {
    text.parse()
        .ok()
        .filter(|count| *count <= MOST)
        .ok_or_else(|| format!("must be a whole number from 0 to {MOST}"))
}

pub(super) fn share(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| "must be a number from 0 to 1".to_owned())
}

fn port(text: &str) -> Result<u16, String> {
    let port = text.trim().parse();
    port.map_err(|_| {
        "must be a port, a whole number from 0 to 65535; 0 takes a free one".to_owned()
    })
}

fn rate(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|rate| (0.0..=10_000.0).contains(rate))
        .ok_or_else(|| "must be a number from 0 to 10000 (changes per second)".to_owned())
}

fn withdrawn(text: &str) -> Result<u16, String> {
    match text {
        "401" => Ok(401),
        "404" => Ok(404),
        "410" => Ok(410),
        _ => Err("must be 401, 404 or 410".to_owned()),
    }
}

/// A value of `--limit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Allowance {
    /// No limit.
    Off,
    /// A limit.
    Limit(RequestLimit),
}

/// Parses an option's value as a token that works in a shell and in a header without quotes.
fn token(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.~+/=".contains(c);
    if text.is_empty() || !text.chars().all(plain) {
        return Err("must contain only letters, digits and -_.~+/=".to_owned());
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
    read().ok_or_else(|| "must be requests/time, such as 1000/5m, or off".to_owned())
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
        "must be time/period, such as 30s/10m; the time must be shorter than the period".to_owned()
    })
}

impl SandboxCommand {
    /// The sandbox's configuration from the flags.
    pub fn config(&self, now: Timestamp, zone: Zone) -> anyhow::Result<SandboxConfig> {
        let mut limits = Vec::new();
        for allowance in &self.limits {
            match allowance {
                Allowance::Limit(limit) => limits.push(*limit),
                Allowance::Off if self.limits.len() == 1 => {}
                Allowance::Off => {
                    bail!("--limit off cannot be combined with other limits: leave one of them out")
                }
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
            days: 365,
            until: self.until(now, zone)?,
            more_tokens: Vec::new(),
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
                forbidden: self.oddities.forbidden,
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
        let mut moods = Moods {
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
            v2_withdrawn: self.v2_withdrawn,
            v1_hides_groups: self.v1_hides_groups,
            ignore_page_number: self.ignore_page_number,
            no_echo: self.no_echo,
            no_date: self.no_date,
            bare_token: self.bare_token,
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
            ..Moods::default()
        };
        self.oddities.put_into(&mut moods);
        moods
    }

    fn until(&self, now: Timestamp, zone: Zone) -> anyhow::Result<Option<Timestamp>> {
        let Some(text) = &self.until else {
            return Ok(None);
        };
        let calendar = Calendar {
            zone,
            now,
            day_first: false,
        };
        let until = dates::parse("--until", text, &calendar, Edge::End)?;
        let earliest = Timestamp::parse(EARLIEST).context("the earliest end cannot be read")?;
        if until > now {
            bail!("--until {text:?} is {until}, which is in the future; the latest is {now}");
        }
        if until < earliest {
            bail!("--until {text:?} is {until}, which is too early; the earliest is {EARLIEST}");
        }
        Ok(Some(until))
    }
}

/// Prints to `out` how to sync the account, and serves it until `stop` completes.
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
    announce(out, &sandbox, sessions, contacts).context("cannot print the address")?;
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
    let sessions = counted(sessions as u64, "session");
    let contacts = counted(contacts as u64, "contact");
    writeln!(
        out,
        "# {sessions}, {contacts}; press Ctrl-C to stop. In another terminal:"
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
        Line::try_parse_from(line)?.command.config(now(), Zone::UTC)
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
            both.to_string().contains("--limit off cannot be combined"),
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
                "in the future; the latest is 2026-05-04T15",
            ),
            ("1999-12-31T23:59:59Z", "the earliest is 2000-01-01"),
            (
                "tomorrow",
                "--until: \"tomorrow\" is not a valid date (accepted: 2025-12-31",
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
                    refused.contains("must be a whole number from 0 to 5000000"),
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
