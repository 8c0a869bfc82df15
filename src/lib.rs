//! `helena-sync` mirrors a Helena account in a SQL database, complete and up to date. This page is
//! the architecture document: modules, data flow, invariants, and how to extend the program. The
//! README and `docs` describe the program for its users. `docs/api-notes.md` describes the
//! platform's API as far as it is known; comments cite it by section as the API notes.
//!
//! # The promise
//!
//! After a successful run, every record that the API showed is in the database at its newest version,
//! or in the table `rejects` with its raw text and the reason. That holds if pages shift during the
//! walk, if the process is killed, if bodies are cut off, under rate limits, if the database goes away,
//! and with two processes at once. Storing a record twice changes nothing.
//!
//! # Modules
//!
//! Imports point down this list, never up.
//!
//! | module | owns | must not know |
//! |---|---|---|
//! | [`cli`] | clap types, a file per command: load, wire, call, print; exit codes | SQL, HTTP |
//! | [`daemon`] | when `run` does what, and what a failed pass means for the next one | SQL, HTTP, clap |
//! | [`http`] | what `run` serves: health, metrics, the status page, the doorbell; to whom, and limits | SQL, clap |
//! | [`alerts`] | of what operators are told, when, and how messages are sent | the API, clap, SQL |
//! | [`doorbell`] | when the platform's calls cause a read, their secret address, their limit | HTTP, SQL, how something is read |
//! | [`schedule`] | turns schedules into triggers in bounded channels | what a trigger causes |
//! | [`status`] | the status of each account, and what of it is too old or failing | the API, clap, SQL |
//! | [`export`] | files of rows: their formats, their folder, the manifest | clap, SQL, clocks |
//! | [`sync`] | the engine: which walks are due, what was read completely | `api`, clap, SQL |
//! | [`api`] | requests, rate limits, retries, splitting answers into records | tables, the store |
//! | [`schema`] | descriptors of tables, and mapping a record's JSON to rows; pure | SQL, HTTP, clocks |
//! | [`store`] | all SQL: commits, state, leases, migrations, for both databases | where rows come from |
//! | [`config`] | every key, from defaults, file, environment and flags | what values are used for |
//! | [`report`] | a report as people read it: tables, CSV, HTML, XLSX, languages; pure | SQL, clap, clocks |
//! | [`reporting`] | days of a time zone, open hours, the texts of the views, figures; pure | who asks, the database |
//! | [`output`] | printing: tables, JSON, CSV, progress | where data comes from |
//! | [`metrics`] | the names of all metrics, their recorder, and the handle to record them | who reads them |
//! | [`health`] | signs of life of the tasks, and which are stuck | what the tasks do |
//! | [`telemetry`] | the log subscriber and the terminal's bottom line | what is logged |
//! | [`backoff`] | how long to wait before the next attempt | what is retried |
//! | [`clock`] | the only calls of the machine's clock and timer | what time is used for |
//! | [`data`] | the shared types, and the interface [`data::Source`] | everything else |
//!
//! [`sandbox`] is separate: a simulated account behind the real HTTP contract. All tests and the
//! commands `sandbox` and `demo` use it. It knows only the clock and the type of instants, so it
//! cannot share a misunderstanding of the contract with the client.
//!
//! # Flow
//!
//! ```text
//! trigger (schedule, cli) -> Engine -> walk: Source::page -> channel -> BatchBuilder -> Store::commit
//!                                        limits, retries     4 pages    pure mapping    one transaction:
//!                                                                                       rows, links, rejects,
//!                                                                                       progress, run counters
//! ```
//!
//! Data flows one way, from left to right. The walk requests the next page while earlier ones are
//! stored. The channel between them bounds the memory, whatever the account's size. Up to ten pages
//! share a transaction, but no page waits for others. [`data::Source`] is the only interface between
//! [`api`] and [`sync`], so that the walks can be tested against a model.
//!
//! With each page, a walk sends the [`data::StateChange`] that is true once that page and all earlier
//! ones are stored: a watermark, a finished window, the keys of a list. It is stored in the same
//! transaction. So after a kill at any point, rows and state match.
//!
//! # Invariants
//!
//! - Only two walks read pages: [`sync::keyset`] (changes) and [`sync::window`] (ranges). [`sync`]
//!   explains why nothing is lost, and its tests try every interleaving.
//! - The order and the filter of every page are verified, never assumed.
//! - A watermark moves in the transaction of the rows that prove it. It never moves past the server's
//!   time at the beginning of the pass, by the local clock, or when a page or a check failed.
//! - A stored row is only replaced by one that is not older ([`data::Guard`]). An unchanged row is not
//!   written, so `synced_at` and `run_id` say when it really changed.
//! - An answer never clears columns that it lacks ([`data::ColumnGroup`]).
//! - An id has one row: a record whose id another account holds is a reject and never replaces that
//!   row. Agents and opening hours have a row for each account: one user may work for several
//!   accounts, and the ids of opening hours are made here ([`data::Table::per_account`]).
//! - No row of a record is deleted: `removed_at` marks deleted records. A record counts as deleted only
//!   if the platform does not find it by id, and then finds another one by id ([`data::ByIdProof`]). An
//!   entry of a list counts as deleted if a second answer lacks it, too. If the list lacks all or most
//!   entries, a run some minutes later must confirm it.
//! - Every write of records and their progress names a [`store::Lease`]. If another process has taken the
//!   lease over, the write's own transaction refuses it. Only what cannot hurt the holder needs no lease:
//!   to cancel a backfill, to keep the days of reports, to say which processes share the accounts, and to
//!   pass on calls of the platform.
//! - Text that the databases store differently is cleaned before. Times are cut to microseconds, never
//!   rounded.
//! - Tokens, bodies and row contents never reach a log line or an error.
//!
//! # Failures
//!
//! Six types lie between the status code of an answer and the exit status. Each decides something that
//! the one before it cannot know:
//!
//! | decision | type |
//! |---|---|
//! | retry after a backoff, retry after the pause of a 429, or give up; use the other session list | `FailedRequest` in [`api`] |
//! | what failed, in terms of any platform: refused, not found, unavailable …; final for the pass | [`data::SourceError`] |
//! | continue with the next resource, end the pass, stop writing, or end the account | [`sync::RunError`] |
//! | wait for the lease or the database, or end the account's task | [`daemon::AccountError`] |
//! | the message of the command, with what it was doing, and its exit status | [`cli::Failure`] |
//! | the exit status, and that of several accounts together | [`cli::Exit`] |
//!
//! Failures of the database are a [`store::StoreError`], which is one of the cases of
//! [`sync::RunError`]. [`sync::policy`] decides what follows from each case within a pass, and [`daemon`]
//! which failures to open the database are worth a retry. In the modules that decide, clippy refuses a
//! `match` on these types that does not list all cases; it does not look into `matches!`.
//!
//! The daemon retries at the next trigger. Each of its accounts is a task of its own
//! ([`daemon::AccountTask`]), which acquires the lease, syncs, releases the lease and starts over, even
//! if its work panics. So do the tasks of the alerts ([`alerts::Watch`]). Tasks are independent of each
//! other. Only [`cli`] and [`daemon`] use `anyhow`.
//!
//! Changes that belong together are one transaction, so the process may be killed between any two
//! transactions: a backfill with its windows and watermarks, a reset with the loads that it cancels, a
//! page with its state changes. `tests/it/mirror/killed.rs` kills the process at each of these places.
//!
//! # Two databases
//!
//! [`store::Store`] is an enum, and [`store`] exports nothing generic. Fixed statements have one SQL
//! text for both databases. One statement writes the rows of one table and batch. It is made from the
//! table's descriptor, and only its parameters differ: SQLite gets one JSON text, Postgres gets one
//! array for each column. Migrations have the same names, tables and columns in both folders; tests
//! compare them. They are never edited, and none goes backwards.
//!
//! # Adding a resource
//!
//! Add a variant to [`data::Resource`] and a [`data::Descriptor`]. The compiler then shows every
//! `match` that needs a decision. `CONTRIBUTING.md` lists all files, with an example.

pub mod alerts;
pub mod api;
pub mod backoff;
pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod data;
pub mod doorbell;
pub mod export;
pub mod health;
pub mod http;
pub mod metrics;
pub mod output;
pub mod report;
pub mod reporting;
#[cfg(feature = "sandbox")]
pub mod sandbox;
pub mod schedule;
pub mod schema;
pub mod status;
pub mod store;
pub mod sync;
pub mod telemetry;
