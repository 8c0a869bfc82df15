//! What a report reads: everything in one state of the database, each session once.
//!
//! Must not know what figures are made of it: see [`crate::reporting`].

use sqlx::AssertSqlSafe;

use super::account::AccountId;
use super::error::StoreError;
use super::open::Store;
use super::reporting::stored_settings;
use super::run::count;
use super::transaction::Transaction;
use super::value::{Arg, Id, Time, args};
use crate::data::{Resource, RunKind, Span, Timestamp};
use crate::reporting::{
    Named, Names, OpenSession, Session, SessionQueries, Settings, session_queries,
};

/// What is known of an account before its sessions are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportBasis {
    /// The settings of reports; `None` if no program has stored any.
    pub settings: Option<Settings>,
    /// Up to when the copy is complete; `None` before the first load.
    pub as_of: Option<Timestamp>,
    /// When the oldest session was created.
    pub oldest: Option<Timestamp>,
    /// The ranges of creation times that the first load has not read yet.
    pub pending: Vec<Span>,
    /// Sessions that only others refer to.
    pub without_created_at: u64,
    /// Records that could not be stored.
    pub rejects: u64,
    /// When sessions were last verified, and how many differences that found.
    pub verified: Option<(Timestamp, u64)>,
}

/// A database as it was at one instant.
#[derive(Debug)]
pub struct ReportSnapshot {
    tx: Transaction,
    account: AccountId,
    queries: SessionQueries,
    as_of: Option<Timestamp>,
}

/// What stands between two sessions, and behind each of their values.
const RECORD: char = '\u{1e}';
const UNIT: char = '\u{1f}';

/// A value that is missing or not of its form.
struct Odd;

/// The values of a session in one text, from the first to the last.
struct Values<'a>(std::str::Split<'a, char>);

impl<'a> Values<'a> {
    fn new(text: &'a str) -> Self {
        Self(text.split(UNIT))
    }

    fn text(&mut self) -> Result<Option<&'a str>, Odd> {
        let text = self.0.next().ok_or(Odd)?;
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    fn parsed<T>(&mut self, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Odd> {
        let text = self.text()?;
        text.map(|text| parse(text).ok_or(Odd)).transpose()
    }

    fn owned(&mut self) -> Result<Option<String>, Odd> {
        Ok(self.text()?.map(str::to_owned))
    }

    fn value<T: std::str::FromStr>(&mut self) -> Result<Option<T>, Odd> {
        self.parsed(|text| text.parse().ok())
    }

    fn time(&mut self) -> Result<Option<Timestamp>, Odd> {
        self.parsed(|text| Timestamp::parse(text).ok())
    }

    fn is(&mut self) -> Result<bool, Odd> {
        Ok(self.text()? == Some("1"))
    }

    fn maybe_is(&mut self) -> Result<Option<bool>, Odd> {
        Ok(self.text()?.map(|text| text == "1"))
    }

    fn session(&mut self) -> Result<Session, Odd> {
        Ok(Session {
            created_at: self.time()?.ok_or(Odd)?,
            start_at: self.time()?,
            first_response_at: self.time()?,
            end_at: self.time()?,
            status: self.owned()?,
            is_group: self.is()?,
            is_removed: self.is()?,
            contact: self.value()?,
            channel: self.value()?,
            department: self.value()?,
            agent: self.value()?,
            has_bot: self.is()?,
            wait: self.value()?,
            service: self.value()?,
            category: self.owned()?,
            reason: self.owned()?,
            amount: self.value()?,
            utm: [self.owned()?, self.owned()?, self.owned()?, self.owned()?],
            has_click_id: self.is()?,
            tags: self.owned()?,
            is_new_contact: self.maybe_is()?,
            returned: self.maybe_is()?,
        })
    }

    fn open_session(&mut self) -> Result<OpenSession, Odd> {
        Ok(OpenSession {
            session: self.session()?,
            number: self.owned()?,
            url: self.owned()?,
            last_in: self.time()?,
            last_out: self.time()?,
            last_interaction: self.time()?,
            is_window_closed: self.is()?,
            unread: count(self.value()?.unwrap_or(0)),
        })
    }
}

fn at(time: Option<Time>) -> Option<Timestamp> {
    time.map(|Time(at)| at)
}

impl Store {
    /// Opens a snapshot for a report of an account. It needs no lease, and holds up nobody who writes.
    pub async fn report_snapshot(&self, account: AccountId) -> Result<ReportSnapshot, StoreError> {
        let tx = self
            .reading_one_state("read the sessions of a report", "sessions")
            .await?;
        Ok(ReportSnapshot {
            tx,
            account,
            queries: session_queries(self.dialect()),
            as_of: None,
        })
    }
}

impl ReportSnapshot {
    /// What is known before sessions are read.
    pub async fn basis(&mut self) -> Result<ReportBasis, StoreError> {
        type Head = (Option<Time>, Option<Time>, i64, i64);
        let (tx, account) = (&mut self.tx, self.account.0);
        let settings = stored_settings(tx).await?;
        let sessions = Resource::Sessions.name();
        let head: Option<Head> = tx
            .row(
                "select (select min(last_success_at) from sync_state \
                 where account_id = $1 and resource = $2), \
                 (select min(created_at) from sessions where account_id = $1), \
                 (select count(*) from sessions where account_id = $1 and created_at is null), \
                 (select count(*) from rejects where account_id = $1 and resolved_at is null)",
                args![account, sessions],
            )
            .await?;
        let (as_of, oldest, without_created_at, rejects) = head.unwrap_or_default();
        self.as_of = at(as_of);
        Ok(ReportBasis {
            settings,
            as_of: self.as_of,
            oldest: at(oldest),
            pending: pending(&mut self.tx, self.account, Resource::Sessions).await?,
            without_created_at: count(without_created_at),
            rejects: count(rejects),
            verified: self.verified().await?,
        })
    }

    async fn verified(&mut self) -> Result<Option<(Timestamp, u64)>, StoreError> {
        let row: Option<(Option<Time>, Option<i64>)> = self
            .tx
            .row(
                "select (select max(finished_at) from sync_runs \
                 where account_id = $1 and kind = $2 and outcome = 'succeeded'), \
                 (select cast(sum(r.rows_differing) as bigint) from sync_runs r \
                 where r.account_id = $1 and r.kind = $2 and r.outcome = 'succeeded' \
                 and r.started_at >= (select max(v.started_at) from sync_runs v \
                 where v.account_id = $1 and v.kind = $2 and v.outcome = 'succeeded' \
                 and v.resource = $3))",
                args![
                    self.account.0,
                    RunKind::Verify.as_str(),
                    Resource::Sessions.name()
                ],
            )
            .await?;
        let (finished, differing) = row.unwrap_or_default();
        Ok(at(finished).map(|at| (at, count(differing.unwrap_or(0)))))
    }

    /// The records that sessions name.
    pub async fn names(&mut self) -> Result<Names, StoreError> {
        Ok(Names {
            channels: self
                .named(
                    "select id, identity_display_name, number_formatted, number, identity_human_id, \
                     removed_at from channels where account_id = $1",
                )
                .await?,
            departments: self
                .named(
                    "select id, name, null, null, null, removed_at from departments \
                     where account_id = $1",
                )
                .await?,
            agents: self
                .named(
                    "select user_id, name, short_name, email, null, removed_at from agents \
                     where account_id = $1",
                )
                .await?,
            tags: self
                .named(
                    "select id, name, null, null, null, removed_at from tags where account_id = $1",
                )
                .await?,
        })
    }

    async fn named(&mut self, sql: &'static str) -> Result<Vec<Named>, StoreError> {
        type Row = (
            Id,
            Option<String>,
            Option<String>,
            Option<String>,
            Option<String>,
            Option<Time>,
        );
        let rows: Vec<Row> = self.tx.rows(sql, args![self.account.0]).await?;
        let mut named: Vec<Named> = rows
            .into_iter()
            .map(|(Id(id), one, two, three, four, removed)| {
                let mut names = Vec::new();
                for name in [one, two, three, four].into_iter().flatten() {
                    if !name.is_empty() && !names.contains(&name) {
                        names.push(name);
                    }
                }
                Named {
                    id,
                    names,
                    is_removed: removed.is_some(),
                }
            })
            .collect();
        named.sort_by_key(|named| named.id);
        Ok(named)
    }

    /// Hands over each session once that was created in one of two ranges, or ended in one, or was open
    /// when one began; removed and hidden ones among them, for counting. The ranges are half-open, in
    /// microseconds since 1970, in order, and do not overlap; the first may be empty.
    pub async fn sessions(
        &mut self,
        ranges: [(i64, i64); 2],
        mut take: impl FnMut(Session),
    ) -> Result<(), StoreError> {
        let at = Timestamp::from_micros;
        let [first, second] = ranges.map(|(from, to)| (at(from), at(to)));
        let ended_later = &self.queries.ended_later;
        let mut parts = Vec::new();
        let read_to = if first.0 < first.1 {
            first.1
        } else {
            at(LONG_AGO)
        };
        for (read_to, (from, to)) in [(at(LONG_AGO), first), (read_to, second)] {
            if read_to < from && from < to {
                parts.push((ended_later, vec![read_to, from]));
            }
            // A day at a time, so that its sessions fit into memory.
            let mut day = from;
            while day < to {
                let next = (day + DAY).min(to);
                parts.push((&self.queries.created, vec![day, next]));
                day = next;
            }
        }
        // An end before the creation is odd, and counts as an end.
        for ((from, to), (later_from, later_to)) in
            [(first, second), (second, (second.1, second.1))]
        {
            if from < to {
                let instants = vec![from, to, later_from, later_to];
                parts.push((&self.queries.ended_before, instants));
            }
        }
        for (sql, instants) in parts {
            let mut args = args![self.account.0, self.as_of];
            args.extend(instants.into_iter().map(Arg::from));
            let parse = |line: &str| Values::new(line).session();
            read(&mut self.tx, sql, args, parse, &mut take).await?;
        }
        Ok(())
    }

    /// Hands over each open session that counts.
    pub async fn open_sessions(
        &mut self,
        mut take: impl FnMut(OpenSession),
    ) -> Result<(), StoreError> {
        let args = args![self.account.0, self.as_of];
        let open = &self.queries.open;
        let parse = |line: &str| Values::new(line).open_session();
        read(&mut self.tx, open, args, parse, &mut take).await
    }

    /// Ends the snapshot.
    pub async fn end(mut self) {
        self.tx.end().await;
    }
}

/// The windows of an unfinished first load of a resource that are still to be read.
pub(super) async fn pending(
    tx: &mut Transaction,
    AccountId(account): AccountId,
    resource: Resource,
) -> Result<Vec<Span>, StoreError> {
    let rows: Vec<(bool, Option<Time>, Option<Time>)> = tx
        .rows(
            "select b.first_load, w.created_after, w.created_before from backfills b \
             join backfill_windows w on w.backfill_id = b.id \
             where b.account_id = $1 and b.resource = $2 and b.finished_at is null \
             and b.cancelled_at is null and w.done_at is null and w.split_at is null",
            args![account, resource.name()],
        )
        .await?;
    let first = rows.into_iter().filter(|(is_first, ..)| *is_first);
    Ok(first
        .map(|(_, after, before)| Span {
            after: at(after),
            before: at(before),
        })
        .collect())
}

/// Reads the one text of a query, and hands over what it holds.
async fn read<T>(
    tx: &mut Transaction,
    sql: &str,
    args: Vec<Arg<'_>>,
    parse: impl Fn(&str) -> Result<T, Odd>,
    take: &mut impl FnMut(T),
) -> Result<(), StoreError> {
    let row: Option<(Option<String>,)> = tx.row(AssertSqlSafe(sql.to_owned()), args).await?;
    let text = row.and_then(|(text,)| text).unwrap_or_default();
    for line in text.split(RECORD).filter(|line| !line.is_empty()) {
        let parsed = parse(line);
        take(parsed.map_err(|Odd| tx.inconsistent("a session", "has a value of another form"))?);
    }
    Ok(())
}

const DAY: std::time::Duration = std::time::Duration::from_hours(24);

/// The year 1: earlier than any session.
const LONG_AGO: i64 = -62_135_510_400_000_000;
