//! `helena-sync` keeps a SQL copy of a Helena account, complete and fresh. This page is the
//! architecture document: what is where, how data flows, what must hold, how to add to it. What
//! the program does for whom is in the README; how the platform's API behaves, as far as that is
//! known, in `tests/helena-api.md`, which comments cite by section as the API notes.
//!
//! # The promise
//!
//! After a run that ends well, every record that the API showed is in the database at its newest
//! version, or in the table `rejects` with its raw text and the reason. Pages that shift under the
//! walk, kills, limits, half-sent bodies, a database that goes away and two processes at once do
//! not break that, and whatever is stored twice changes nothing.
//!
//! # Modules
//!
//! Imports point down this list, never up.
//!
//! | module | owns | must not know |
//! |---|---|---|
//! | [`cli`] | clap types, a file per command: load, wire, call, print; exit codes | SQL, HTTP |
//! | [`daemon`] | what `run` does when, and what a failed pass means for the next | SQL, HTTP, clap |
//! | [`schedule`] | from cron expressions to triggers in a bounded channel | what a trigger causes |
//! | [`sync`] | the engine: which walks are due, what has been read completely | `api`, clap, SQL |
//! | [`api`] | questions, limits, retries, cutting answers into records | tables, the store |
//! | [`schema`] | tables' descriptors, and from a record's JSON to rows; pure | SQL, HTTP, clocks |
//! | [`store`] | all SQL: commit, state, leases, migrations; two databases, one copy | where rows come from |
//! | [`config`] | every key, from defaults, file, environment and flags | what values are used for |
//! | [`report`] | what commands print: tables, JSON, CSV, progress | where data came from |
//! | [`telemetry`] | the log subscriber and the terminal's bottom line | what is logged |
//! | [`data`] | the shared nouns, and the seam [`data::Source`] | everything else |
//! | [`clock`] | the only calls of the machine's clock and timer | what time is used for |
//!
//! [`sandbox`] stands aside: a simulated account behind the real HTTP contract, which all tests and
//! the commands `sandbox` and `demo` use. It knows the clock and the instant and nothing else, so
//! that no misunderstanding of the contract can be shared with the client.
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
//! One way, from left to right. The walk asks for the next page while earlier ones are stored; the
//! channel between them bounds the memory, whatever the account's size. Up to ten pages that have
//! come share a transaction, but none waits for others. [`api`] and [`sync`] meet in
//! [`data::Source`] alone, so that the walks are tested against a model.
//!
//! A walk sends with each page the [`data::Progress`] that is true once that page and all before it
//! are stored: a watermark, a finished window, the keys of a list. It is stored in the same
//! transaction, so a kill at any point leaves rows and progress in step.
//!
//! # Invariants
//!
//! - Only two walks read pages: [`sync::keyset`] (changes) and [`sync::window`] (ranges). [`sync`]
//!   says why nothing is lost, and its tests try every interleaving.
//! - The order and the filter of every page are verified, never assumed.
//! - A watermark moves with the rows that justify it, never past the server's time at the pass's
//!   beginning, never by the local clock, and never when a page or a check failed.
//! - A stored row is replaced only by one that is not older ([`data::Guard`]). An unchanged one is
//!   not written, so `synced_at` and `run_id` say when it really changed.
//! - What an answer cannot know ([`data::ColumnGroup`]) is never cleared by it.
//! - No row of an entity is deleted: `removed_at` marks what is gone.
//! - Every write names a [`store::Lease`] and is refused in its own transaction once another process
//!   has taken over.
//! - Text that both databases cannot hold alike is cleaned before it reaches either; times are cut to
//!   microseconds, never rounded.
//! - Tokens, bodies and row contents never reach a log line or an error.
//!
//! # Failures
//!
//! [`api`] retries what can be retried and keeps the limits; a [`data::SourceError`] is final for the
//! pass. [`sync::policy`] says in one `match` what each failure means: go on with the next resource,
//! end the pass, or stop writing. The daemon tries again at the next trigger. Each module has an
//! error enum of its own; `anyhow` appears in [`cli`] and [`daemon`] only.
//!
//! # Two databases
//!
//! [`store::Store`] is an enum, and nothing generic leaves [`store`]. Fixed statements have one SQL
//! text for both. Rows of one table and batch are one statement, made from the table's descriptor;
//! only how it reads its parameters differs: SQLite's is one JSON text, Postgres gets an array a
//! column. Migrations have the same names, tables and columns in both folders, are forward only and
//! never edited; tests compare them.
//!
//! # Adding a resource
//!
//! 1. [`data::Resource`]: a variant, its name, whether it is a list, its streams. The compiler then
//!    shows every `match` that must answer for it.
//! 2. Two migrations of one name, in `migrations/sqlite` and `migrations/postgres`.
//! 3. [`schema::tables`]: a descriptor; a test compares it with the migrated tables.
//! 4. [`schema`]: a function from its record to its row, beside those of `lists` or `sessions`, and
//!    a descriptor with [`data::Guard::Absent`] if other tables refer to it.
//! 5. [`api`]: its path in `listing`.
//! 6. [`sandbox`]: its route and its records, so that it can be tested.
//! 7. The README's diagram, which a test holds against the tables.
//!
//! The walks, the store's statements, runs, rejects, backfills and `status` need nothing.

pub mod api;
pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod data;
pub mod report;
pub mod sandbox;
pub mod schedule;
pub mod schema;
pub mod store;
pub mod sync;
pub mod telemetry;
