//! The texts of the views: one for both databases, with named fragments.
//!
//! `views/*.sql` have a select each. `@name` or `@name(argument, argument)` stands for a fragment, which
//! is defined in `views/fragments.sql` for both databases, or below for each. Nothing here may need
//! what SQLite 3.37 lacks: a view that names a missing function breaks programs that only draw the
//! schema. Columns are only ever appended to a view, so that in Postgres it can be replaced under
//! views of others that rest on it.

use std::collections::HashMap;

use xxhash_rust::xxh3::Xxh3;

/// Grows with every change of the views: of two versions of the program that use one database, the newer
/// one's views stay.
pub const VIEWS_VERSION: i64 = 1;

/// The database whose SQL is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// SQLite.
    Sqlite,
    /// Postgres.
    Postgres,
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
const FILES: [(&str, &str); 15] = files![
    "report_sessions",
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

/// Whole seconds of an instant since 1970, fractions cut off; so many seconds later; names in one text;
/// text in the order of its bytes; lower case of ASCII letters; an instant that is stored as text; and the sessions of a day, which both
/// databases are to look up by the index, for one day after the other. `cross join` keeps SQLite to that
/// order; Postgres, which takes a ninth of all sessions to lie in any day, would read all of them.
const SQLITE: &str = "\
define epoch(x)
cast(strftime('%s', substr(:x, 1, 19)) as integer)

define later(x, seconds)
(strftime('%Y-%m-%dT%H:%M:%S', substr(:x, 1, 19), '+:seconds seconds') || substr(:x, 20))

define names(x)
group_concat(:x, '; ')

define binary(x)
:x

define lower(x)
lower(:x)

define instant(x)
:x

define sessions_of_day(x)
cross join sessions s

define is_of_day(x)
s.account_id = a.id and :x >= d.starts_at and :x < d.ends_at
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

define lower(x)
lower(:x collate \"C\")

define instant(x)
cast(:x as timestamptz)

define sessions_of_day(x)
cross join lateral (select s.* from sessions s
where s.account_id = a.id and :x >= d.starts_at and :x < d.ends_at offset 0) s

define is_of_day(x)
true
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
    let mut shared = Fragments::new();
    let own = match dialect {
        Dialect::Sqlite => SQLITE,
        Dialect::Postgres => POSTGRES,
    };
    for text in [own, FRAGMENTS] {
        defined(text, &mut shared);
    }
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

/// A hash of the views in a database's SQL.
pub fn views_hash(dialect: Dialect) -> String {
    let mut hash = Xxh3::new();
    for View { name, sql } in views(dialect) {
        hash.update(name.as_bytes());
        hash.update(sql.as_bytes());
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
                "json",
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
