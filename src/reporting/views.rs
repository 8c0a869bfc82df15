//! The texts of the views: one for both databases, with named fragments.
//!
//! `views/*.sql` have a select each. `@name` or `@name(argument, argument)` stands for a fragment, which
//! is defined in `views/fragments.sql` for both databases, or below for each. Nothing here may need
//! what SQLite 3.37 lacks: a view that names a missing function breaks programs that only draw the
//! schema. SQLite's functions for JSON are there: views of the migrations need them, too. Columns are
//! only ever appended to a view, so that in Postgres it can be replaced under views of others that rest
//! on it.

use std::collections::HashMap;

use xxhash_rust::xxh3::Xxh3;

/// Grows with every change of the views: of two versions of the program that use one database, the newer
/// one's views stay.
pub const VIEWS_VERSION: i64 = 2;

/// The database whose SQL is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// SQLite.
    Sqlite,
    /// Postgres.
    Postgres,
}

impl Dialect {
    /// What is written in another way for this database.
    const fn fragments(self) -> &'static str {
        match self {
            Self::Sqlite => SQLITE,
            Self::Postgres => POSTGRES,
        }
    }
}

/// A view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Its name.
    pub name: &'static str,
    /// The select that it stands for.
    pub sql: String,
}

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("views/", $name, ".sql")))),*]
    };
}

/// Those that others rest on come first.
const FILES: [(&str, &str); 16] = files![
    "report_sessions",
    "report_completed",
    "report_daily",
    "report_daily_times",
    "report_agents",
    "report_departments",
    "report_channels",
    "report_tags",
    "report_campaigns",
    "report_hours",
    "report_backlog",
    "report_backlog_daily",
    "report_quality",
    "report_reopened",
    "report_transfers",
    "report_stage_times",
];

const FRAGMENTS: &str = include_str!("views/fragments.sql");

/// What is written in another way for each database:
///
/// - `epoch`: whole seconds of an instant since 1970, fractions cut off. `later`: so many seconds later.
///   `names`: names in one text. `binary`: text in the order of its bytes. `lower`: lower case of ASCII
///   letters. `instant`, `uuid`: an instant and a key that are texts.
///   `greatest`, `least`: of two numbers. `unit`, `record`, `joined`, `utc`: what separates values in one
///   text, how rows are joined, and an instant in such a text.
/// - `sessions_of_day`, `is_of_day`: the sessions of a day, which both databases are to look up by the
///   index, for one day after the other. `cross join` keeps SQLite to that order; Postgres, which takes a
///   ninth of all sessions to lie in any day, would read all of them.
/// - `agg` to `grouped`: one row for each value of `@keys`, with counts and percentiles. Postgres groups.
///   SQLite passes a filter by a key on to its rows only if there are windows over that key and nothing
///   else, so it computes the figures for each row and keeps the first (`i = 1`). `ranked` comes before
///   `median` and `p90`. Where `over` is empty, SQLite groups, too.
/// - `group` to `breakdown`: the figures of breakdowns by month. Postgres groups by month. SQLite computes
///   them for one month after the other, in a subquery that yields the rows of a month as JSON: so a filter
///   by month reads that month, and grouping takes half the time of windows.
const SQLITE: &str = "\
define epoch(x)
cast(strftime('%s', substr(:x, 1, 19)) as integer)

define later(x, seconds)
(strftime('%Y-%m-%dT%H:%M:%S', substr(:x, 1, 19), '+:seconds seconds') || substr(:x, 20))

define names(x)
group_concat(:x, '; ')

define binary(x)
:x

define unit
char(31)

define record
char(30)

define joined(x)
group_concat(:x, @record)

define utc(x)
:x

define lower(x)
lower(:x)

define instant(x)
:x

define uuid(x)
:x

define greatest(x, y)
max(:x, :y)

define least(x, y)
min(:x, :y)

define sessions_of_day(x)
cross join sessions s

define is_of_day(x)
s.account_id = a.id and :x >= d.starts_at and :x < d.ends_at

define agg(x)
:x @over

define over


define number
row_number() over w

define ranked(x, rows)
select *, cume_dist() over (partition by @keys, :x is null order by :x) as :x_rank from :rows :x_ranked

define median(x)
(min(:x) filter (where :x_rank >= 0.5) @over + min(:x) filter (where :x_rank > 0.5) @over) / 2.0

define p90(x)
min(:x) filter (where :x_rank >= 0.9) @over

define no_rank
null

define grouped
window w as (partition by @keys)

define group
@key

define is_of_month
account_id = a.id and month = d.month

define of_each_month


define each_month


define is_month


define get(x)
json_extract(e.value, '$.:x') as :x

define pack(x)
':x', :x

define packed_spread(x)
@pack(:x_average), @pack(:x_median), @pack(:x_p90), @pack(:x_n)

define unpacked_spread(x)
@get(:x_average), @get(:x_median), @get(:x_p90), @get(:x_n)

define breakdown
from (select x.account_id, x.month, @unpacked_key, @get(opened), @get(contacts), @get(completed_of_opened),
@get(answered), @unpacked_spread(wait), @unpacked_spread(first_response), @unpacked_spread(resolution),
@get(sla_wait_met), @get(sla_wait_n), @get(sla_first_response_met), @get(sla_first_response_n),
@get(completed), @get(won), @get(lost), @get(amount_won), @get(days_active)
from (select a.id as account_id, d.month, (select json_group_array(json_object(@packed_key, @pack(opened),
@pack(contacts), @pack(completed_of_opened), @pack(answered), @packed_spread(wait),
@packed_spread(first_response), @packed_spread(resolution), @pack(sla_wait_met), @pack(sla_wait_n),
@pack(sla_first_response_met), @pack(sla_first_response_n), @pack(completed), @pack(won), @pack(lost),
@pack(amount_won), @pack(days_active))) from @figures f) as packed
from accounts a cross join report_days d where d.day = d.month) x cross join json_each(x.packed) e) figures
";

const POSTGRES: &str = "\
define epoch(x)
cast(floor(extract(epoch from :x)) as bigint)

define later(x, seconds)
(:x + interval ':seconds seconds')

define names(x)
string_agg(:x, '; ')

define binary(x)
:x collate \"C\"

define unit
chr(31)

define record
chr(30)

define joined(x)
string_agg(:x, @record)

define utc(x)
to_char(:x at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')

define lower(x)
lower(:x collate \"C\")

define instant(x)
cast(:x as timestamptz)

define sessions_of_day(x)
cross join lateral (select s.* from sessions s
where s.account_id = a.id and :x >= d.starts_at and :x < d.ends_at offset 0) s

define is_of_day(x)
true

define uuid(x)
cast(:x as uuid)

define greatest(x, y)
greatest(:x, :y)

define least(x, y)
least(:x, :y)

define agg(x)
:x

define number
1

define ranked(x, rows)
select *, cast(null as int) as :x_rank from :rows :x_ranked

define median(x)
percentile_cont(0.5) within group (order by :x)

define p90(x)
percentile_disc(0.9) within group (order by :x)

define no_rank
cast(null as int)

define grouped
group by @keys

define group
account_id, month, @key

define is_of_month
true

define of_each_month
a.id, d.month,

define each_month
accounts a cross join report_days d cross join

define is_month
d.day = d.month and

define breakdown
from @figures figures
";

/// A fragment: the names of its parameters, and its text.
type Fragments = HashMap<&'static str, (Vec<&'static str>, String)>;

/// The fragments that a text defines, and the rest of it. Blank lines lie between them.
fn defined(text: &'static str, fragments: &mut Fragments) -> String {
    let mut rest = Vec::new();
    for block in text.split("\n\n") {
        let block = without_comment(block);
        let Some(block) = block.strip_prefix("define ") else {
            rest.push(block);
            continue;
        };
        let (head, body) = block.split_once('\n').unwrap_or((block, ""));
        let (name, parameters) = head.split_once('(').unwrap_or((head, ""));
        let parameters = parameters
            .trim_end_matches(')')
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty());
        fragments.insert(name.trim(), (parameters.collect(), body.to_owned()));
    }
    rest.join("\n").trim().to_owned()
}

/// A block without the lines of comment before it.
fn without_comment(block: &str) -> &str {
    let mut block = block.trim();
    while block.starts_with("--") {
        block = block.split_once('\n').map_or("", |(_, rest)| rest);
    }
    block
}

/// The views in a database's SQL, those that others rest on first.
pub fn views(dialect: Dialect) -> Vec<View> {
    let shared = shared(dialect);
    FILES
        .iter()
        .map(|&(name, text)| {
            let mut fragments = shared.clone();
            let text = defined(text, &mut fragments);
            View {
                name,
                sql: expand(&text, &fragments),
            }
        })
        .collect()
}

/// The queries by which a report reads sessions, in a database's SQL. `$1` is the account, `$2` up to when
/// the copy is complete. They use the fragments of the views, so that they mean the same.
///
/// Each yields one text: sessions with `\u{1e}` between them, their values with `\u{1f}` behind each. Most
/// of the time of reading a row with many columns is spent on handing over its columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionQueries {
    /// Sessions created from `$3` on, before `$4`.
    pub created: String,
    /// Sessions created from `$3` on, before `$4`, that ended at `$4` or later.
    pub ended_later: String,
    /// Sessions that ended from `$3` on, before `$4`, and were created at `$4` or later, but not from `$5`
    /// on, before `$6`.
    pub ended_before: String,
    /// Open sessions.
    pub open: String,
}

/// The queries by which a report reads sessions.
pub fn session_queries(dialect: Dialect) -> SessionQueries {
    let mut fragments = shared(dialect);
    let text = defined(include_str!("sessions.sql"), &mut fragments);
    let mut query = |more: &str, which: &str| {
        fragments.insert("more", (Vec::new(), more.to_owned()));
        fragments.insert("which", (Vec::new(), which.to_owned()));
        expand(&text, &fragments)
    };
    SessionQueries {
        created: query("", "s.created_at >= $3 and s.created_at < $4"),
        // So that both databases look up ends by their index, not the longer range of creations.
        ended_later: query(
            "",
            "s.end_at >= $4 and s.removed_at is null and @is_closed \
             and case when s.created_at >= $3 and s.created_at < $4 then 1 end = 1",
        ),
        ended_before: query(
            "",
            "s.end_at >= $3 and s.end_at < $4 and s.removed_at is null and @is_closed \
             and case when s.created_at >= $4 and not (s.created_at >= $5 and s.created_at < $6) \
             then 1 end = 1",
        ),
        open: query("@open", "@is_open and @counted"),
    }
}

/// The fragments that all texts share.
fn shared(dialect: Dialect) -> Fragments {
    let mut shared = Fragments::new();
    for text in [dialect.fragments(), FRAGMENTS] {
        defined(text, &mut shared);
    }
    shared
}

/// A hash of all that the views in a database's SQL are made of.
pub fn views_hash(dialect: Dialect) -> String {
    let mut hash = Xxh3::new();
    for text in [dialect.fragments(), FRAGMENTS] {
        hash.update(text.as_bytes());
    }
    for (name, text) in FILES {
        hash.update(name.as_bytes());
        hash.update(text.as_bytes());
    }
    format!("{:016x}", hash.digest())
}

/// Puts fragments in until there is none.
fn expand(text: &str, fragments: &Fragments) -> String {
    let mut done = String::with_capacity(text.len() * 2);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('@') {
        done.push_str(before);
        let end = after
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(after.len());
        let (name, after) = after.split_at(end);
        let (parameters, body) = fragments
            .get(name)
            .unwrap_or_else(|| panic!("there is no fragment {name}"));
        let (arguments, after) = if parameters.is_empty() {
            (Vec::new(), after)
        } else {
            arguments(after)
        };
        assert_eq!(arguments.len(), parameters.len(), "arguments of {name}");
        let mut body = body.clone();
        for (parameter, argument) in parameters.iter().zip(&arguments) {
            body = body.replace(&format!(":{parameter}"), argument.trim());
        }
        done.push_str(&expand(&body, fragments));
        rest = after;
    }
    done.push_str(rest);
    done
}

/// The arguments in brackets at the beginning of a text, and what follows them.
fn arguments(text: &str) -> (Vec<String>, &str) {
    let mut arguments = vec![String::new()];
    let mut depth = 0;
    for (place, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        match (c, depth) {
            ('(', 1) => {}
            (')', 0) => return (arguments, &text[place + 1..]),
            (',', 1) => arguments.push(String::new()),
            _ => arguments.last_mut().expect("there is one").push(c),
        }
    }
    panic!("brackets of a fragment's arguments do not close");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_may_hold_brackets_and_fragments() {
        let mut fragments = Fragments::new();
        defined(SQLITE, &mut fragments);
        let text = expand("select @lower(coalesce(a, @lower(b))) from t", &fragments);
        assert_eq!(text, "select lower(coalesce(a, lower(b))) from t");
    }

    #[test]
    fn views_need_nothing_that_sqlite_337_lacks() {
        for View { name, sql } in views(Dialect::Sqlite) {
            let sql = sql.replace("group_concat(", "");
            for later in [
                "->",
                "unixepoch",
                "string_agg",
                "concat(",
                "concat_ws(",
                "format(",
                "full join",
                "right join",
                "is distinct",
                "is not distinct",
                "octet_length",
                "median(",
                "percentile",
                "ceil(",
                "floor(",
                "jsonb",
                "json_pretty",
            ] {
                assert!(!sql.contains(later), "{name}: {later}");
            }
        }
    }

    #[test]
    fn nothing_is_left_to_put_in() {
        for dialect in [Dialect::Sqlite, Dialect::Postgres] {
            for View { name, sql } in views(dialect) {
                assert!(!sql.contains('@') && !sql.contains("--"), "{name}: {sql}");
            }
        }
    }
}
