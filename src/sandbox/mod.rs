//! A simulated Helena account behind the real HTTP contract.
//!
//! `helena-sync sandbox` and `demo` run it, and so does every test of whole answers and of whole
//! programs. Two kinds of tests have a fake of their own: the client's unit tests a server that
//! sends scripted bytes, since what is malformed below JSON (headers, encodings, broken envelopes)
//! is not for an account to say; and the exhaustive search of the engine a model in memory, since
//! it plays through more histories than a server could answer.
//!
//! It owns what the API notes say of the platform's behaviour, with every question that they leave
//! open as a [mood](Moods), and every way in which an answer can go wrong as a [fault](Fault). It
//! knows the clock and the instant, and nothing else of this crate, so that no misunderstanding of
//! the contract can be shared with the client.
//!
//! ```text
//! config  what it is to be like          serve   bytes in and out, hooks, scripts
//! year    times and relations, drawn     routes  which path means what
//! dress   texts, drawn                   query   filters, orders, pages
//! account the records and every change   render  JSON
//! ```
//!
//! A million sessions fit because a record is a slot of some fifty bytes; the rest of it is drawn
//! from the seed whenever it is shown, and only records that were changed are kept whole.

mod account;
mod company;
mod config;
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
mod poison;
mod query;
mod ranked;
mod record;
mod render;
mod render_lists;
mod routes;
mod serve;
mod slots;
mod table;
#[cfg(test)]
mod tests;
mod ticks;
mod webhooks;
mod wire;
mod year;

pub use account::Account;
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
