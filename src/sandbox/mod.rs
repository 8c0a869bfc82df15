//! A simulated Helena account behind the platform's HTTP API.
//!
//! `helena-sync sandbox`, `helena-sync demo` and most tests use it. Two kinds of tests use their
//! own fake instead. The unit tests of the HTTP client use a server that sends scripted bytes,
//! because broken headers, encodings and envelopes are outside the scope of an account. The
//! exhaustive search of the sync engine uses a model in memory, because it runs more histories
//! than a server can answer.
//!
//! The sandbox implements the platform's behaviour as the API notes describe it. Every question
//! that they leave open is a [mood](Moods), and every failure of an answer is a [fault](Fault).
//! The sandbox uses only the clock and the instant of this crate, so it shares no misreading of
//! the contract with the client.
//!
//! ```text
//! config  size, moods, faults            serve   requests, answers, hooks, scripts
//! year    when customers wrote, and who  routes  from path to handler
//! plan    what happens in a session      query   filters, orders, pages
//! dress   generated texts                agenda  plans that are due
//! account records and their ids          render  JSON
//! changes changes to records             replica lagging lists
//! ```
//!
//! The company has a calendar of seasons, holidays and opening hours, agents who differ (`staff`),
//! kinds of customers (`segments`), and waits that grow with the load. `chance` says which facts
//! about real support teams that follows. What happens live is drawn like the year.
//!
//! A million sessions fit in memory. Each record takes about sixty bytes, and the rest is
//! generated from the seed when it is shown. Only changed records are stored completely.

mod account;
mod agenda;
mod calendar;
mod catalog;
mod chance;
mod changes;
mod choices;
mod company;
mod config;
mod deliveries;
mod drafts;
mod dress;
mod errors;
mod faults;
mod filter_body;
mod ids;
mod json;
mod limits;
mod lists;
mod live;
mod messages;
mod names;
mod odd;
mod plan;
mod poison;
mod query;
mod ranked;
mod record;
mod render;
mod render_lists;
mod replica;
mod routes;
mod segments;
mod serve;
mod slots;
mod staff;
mod stamps;
mod table;
#[cfg(test)]
mod tests;
mod ticks;
mod webhooks;
mod wire;
mod year;

pub use account::SandboxAccount;
pub use choices::{IdFault, List, Totals};
pub use config::{
    Fault, FaultRates, Moods, Outage, Poison, Precision, RequestLimit, RetryAfter, SandboxConfig,
};
pub use record::{
    Agent, AgentMore, Category, Channel, ChannelMore, Classification, Contact, ContactStatus,
    Department, DepartmentMore, Entry, Origin, Session, SessionKind, Status, Tag, TagMore, Text,
    Utm, WindowStatus,
};
pub use serve::{RequestSeen, Sandbox};
pub use ticks::Ticks;
