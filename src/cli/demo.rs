//! `demo`: runs the whole program on a simulated account inside this process.

mod stage;
mod verdict;

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::record::number;
use super::{Exit, Failure, refused_options, whole, within};
use crate::clock::Clock;
use crate::config::{self, Environment};
use crate::data::{Resource, counted};
use crate::output::{Format, Printer, terminal_width, wrapped};
use crate::store::{QUESTIONS, Question};
use crate::telemetry;
use stage::{DemoResult, Stage};
use verdict::Compared;

/// Mirror a simulated account and check the result.
///
/// Needs no token, no database and no network. Starts a simulated account of a customer-service
/// company inside this process and loads it into demo.db. Then it keeps syncing while sessions are
/// opened, answered and completed, and while answers are cut off, refused or never sent. Finally it
/// stops all changes, syncs once more, compares the mirror with the account, value by value, and
/// writes a report of the last 30 days.
///
/// demo ignores HELENA_API_TOKEN, DATABASE_URL and helena-sync.toml. It replaces the demo.db of an
/// earlier demo, and its report. It refuses a database that contains anything else, such as another
/// account's mirror, and does not change it.
///
/// Ctrl-C ends the syncing early and starts the comparison. During the first load it ends the demo and
/// removes the SQLite file; in Postgres, what was loaded stays. While a demo runs, a second one needs another database. Exits with 0 if the
/// mirror equals the account, and with 1 if it differs.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  helena-sync demo
  helena-sync demo --sessions 50000 --time 2m
  helena-sync demo --database postgres://postgres:secret@localhost/demo --keep", args = refused_options::hidden(refused_options::UNCONFIGURED))]
pub struct DemoArgs {
    /// Sessions; the account has two fifths as many contacts, and a past of one to three months, or
    /// of a year if there are many
    #[arg(long, value_name = "COUNT", default_value_t = 5_000, value_parser = within(1, 1_000_000))]
    pub sessions: u32,
    /// How long to keep syncing (0s, 30s, 5m)
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = config::duration_of)]
    pub time: Duration,
    /// Keep syncing until Ctrl-C, instead of --time
    #[arg(long, conflicts_with = "time")]
    pub keep: bool,
    /// Database of the mirror: sqlite://FILE, where an earlier demo is replaced, or postgres://...,
    /// which must be empty
    #[arg(long, value_name = "URL", default_value = "sqlite://demo.db")]
    pub database: String,
    /// File of the report [default: demo-report.html, beside the SQLite file]
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Seed of the generator; the same seed gives the same account
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = whole::<u64>)]
    pub seed: u64,
    /// Changes per second
    #[arg(long, value_name = "COUNT", default_value_t = 5, value_parser = within(0, 1_000))]
    pub changes: u32,
}

/// Runs the demo.
pub(super) async fn run(
    environment: &Environment,
    args: &DemoArgs,
    clock: Arc<dyn Clock>,
) -> Result<Exit, Failure> {
    let mut show = Show::new(io::stdout());
    show.title(
        "helena-sync demo: a simulated account and its mirror; nothing leaves this machine",
    )?;
    let stage = Stage::set(environment, args, clock).await?;
    show.step(
        "The account",
        &format!(
            "{}, {}, seed {}; {} days of a customer-service company",
            counted(stage.sessions as u64, "session"),
            counted(stage.contacts as u64, "contact"),
            args.seed,
            stage.days,
        ),
    )?;
    show.step("The mirror", &stage.database)?;
    let result = Box::pin(stage.play(args, &mut show)).await?;
    conclude(&mut show, args, &result)
}

/// Prints the result of the comparison, the tables and what to do next.
fn conclude<W: Write>(
    show: &mut Show<W>,
    args: &DemoArgs,
    result: &DemoResult,
) -> Result<Exit, Failure> {
    let differing: u64 = result.compared.iter().map(|one| one.differing).sum();
    let records: u64 = result.compared.iter().map(|one| one.records).sum();
    let values: u64 = result.compared.iter().map(|one| one.values).sum();
    show.blank()?;
    let rows: Vec<[String; 5]> = result.compared.iter().map(row).collect();
    show.table(
        &["table", "account", "mirror", "differing", "result"],
        &rows,
    )?;
    show.blank()?;
    if differing == 0 {
        show.verdict(
            true,
            &format!(
                "EQUAL: compared {} and {} one by one, no difference",
                counted(records, "record"),
                counted(values, "value")
            ),
        )?;
    } else {
        show.verdict(
            false,
            &format!(
                "DIFFERENT: {} of {} differ. This is a bug; please report it with --seed {} \
                 and --sessions {}",
                number(differing),
                counted(records, "record"),
                args.seed,
                args.sessions
            ),
        )?;
        for one in &result.compared {
            for difference in &one.differences {
                show.line(&format!("  {}: {difference}", one.resource))?;
            }
        }
    }
    show.blank()?;
    show.title(&format!("What is in {} now", result.database))?;
    show.table(
        &["table", "rows", "what"],
        &result
            .tables
            .iter()
            .map(|(table, rows)| {
                [
                    (*table).to_owned(),
                    number(*rows),
                    what_is_in(table).to_owned(),
                ]
            })
            .collect::<Vec<_>>(),
    )?;
    for (question, answer) in QUESTIONS.iter().zip(&result.answers) {
        show.blank()?;
        show.title(question.asks)?;
        show.question(question, answer)?;
    }
    show.blank()?;
    show.title("What to type next")?;
    for line in next(args) {
        show.line(&line)?;
    }
    show.blank()?;
    show.title("A report of this account")?;
    let is_written = match &result.report {
        Ok(file) => {
            show.line(&format!("  {}", file.display()))?;
            true
        }
        Err(failure) => {
            show.line(&format!("  none: {}", failure.line()))?;
            false
        }
    };
    Ok(if differing == 0 && is_written {
        Exit::Done
    } else {
        Exit::Failed
    })
}

fn row(one: &Compared) -> [String; 5] {
    [
        one.resource.to_string(),
        number(one.records),
        number(one.rows),
        number(one.differing),
        if one.differing == 0 {
            "equal"
        } else {
            "DIFFERS"
        }
        .to_owned(),
    ]
}

/// What a table contains.
fn what_is_in(table: &str) -> &'static str {
    match table {
        "contact_tags" => "the current tags of each contact",
        "session_tags" => "the tags that a contact had when its session was last read",
        "sync_runs" => "the results of every sync",
        resource => resource
            .parse::<Resource>()
            .map_or("", |resource| resource.descriptor().about),
    }
}

fn next(args: &DemoArgs) -> Vec<String> {
    let mut lines = Vec::new();
    // Another database may have a password in its address.
    if let Some(file) = args.database.strip_prefix("sqlite://") {
        let look = format!("sqlite3 {file}");
        lines.push(format!("  {look:<36} # query the mirror"));
        let database = &args.database;
        lines.push(format!(
            "  helena-sync report --database-url {database} --last 8w --by week"
        ));
    }
    lines.extend(
        [
            "  export HELENA_API_TOKEN=pn_...       # settings, Integrations > API",
            "  export HELENA_BASE_URL=https://...   # unless it is api.helena.run",
            "  helena-sync check                    # may this token read what is needed?",
            "  helena-sync run                      # keeps helena.db up to date",
            "  helena-sync verify                   # is it complete? (any time later)",
        ]
        .map(str::to_owned),
    );
    lines
}

/// Prints the demo's output.
pub(super) struct Show<W: Write> {
    out: W,
    styled: bool,
    steps: u32,
}

impl<W: Write> Show<W> {
    fn new(out: W) -> Self {
        Self {
            out,
            styled: terminal_width().is_some() && telemetry::may_colour(),
            steps: 0,
        }
    }

    fn styled(&self, code: &str, text: &str) -> String {
        if self.styled {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }

    fn line(&mut self, text: &str) -> io::Result<()> {
        let text = wrapped(text, terminal_width(), "  ");
        self.put(&text)
    }

    /// Prints lines as they are. Progress bars on the same terminal make room.
    fn put(&mut self, text: &str) -> io::Result<()> {
        let out = &mut self.out;
        telemetry::screen().suspend(|| {
            writeln!(out, "{text}")?;
            out.flush()
        })
    }

    fn blank(&mut self) -> io::Result<()> {
        self.line("")
    }

    fn title(&mut self, text: &str) -> io::Result<()> {
        let text = self.styled("1", text);
        self.line(&text)
    }

    /// Prints a numbered step and its result.
    fn step(&mut self, what: &str, outcome: &str) -> io::Result<()> {
        self.steps += 1;
        let what = self.styled("1", &format!("{what:<16}"));
        let text = format!("{:>2}. {what} {outcome}", self.steps);
        // Below the outcome.
        let text = wrapped(&text, terminal_width(), &" ".repeat(21));
        self.put(&text)
    }

    fn verdict(&mut self, good: bool, text: &str) -> io::Result<()> {
        let text = self.styled(if good { "1;32" } else { "1;31" }, text);
        self.line(&text)
    }

    /// Prints an indented table.
    fn table<const N: usize>(
        &mut self,
        columns: &[&str; N],
        rows: &[[String; N]],
    ) -> io::Result<()> {
        let rows: Vec<Vec<String>> = rows.iter().map(|row| row.to_vec()).collect();
        self.records(columns, &rows)
    }

    fn records(&mut self, columns: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
        let mut text = Vec::new();
        let width = terminal_width().map(|width| width.saturating_sub(2));
        let mut printer = Printer::new(&mut text, Format::Table, columns, width)?;
        for row in rows {
            printer.record(row, "")?;
        }
        printer.finish()?;
        for line in String::from_utf8_lossy(&text).lines() {
            self.put(&format!("  {line}"))?;
        }
        Ok(())
    }

    /// Prints an SQL query and its result.
    fn question(&mut self, question: &Question, answer: &[Vec<Value>]) -> io::Result<()> {
        for line in question.sql.lines() {
            // Below the clause that is broken.
            let line = wrapped(&format!("  {line}"), terminal_width(), &" ".repeat(11));
            let line = self.styled("2", &line);
            self.put(&line)?;
        }
        self.blank()?;
        let rows: Vec<Vec<String>> = answer
            .iter()
            .map(|row| row.iter().map(shown).collect())
            .collect();
        self.records(question.columns, &rows)
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Number(count) => count.as_u64().map_or_else(|| count.to_string(), number),
        other => other.to_string(),
    }
}
