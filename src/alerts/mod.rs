//! Tells operators of what needs them: when a condition begins, when it ends, and once a day meanwhile.
//!
//! [`Watch`] looks at the database every few seconds, decides which conditions are there, and stores what
//! changed ([`crate::store::AlertChange`]) together with a message for each way. It also sends the messages,
//! in tasks of its own, so that a webhook that does not answer delays neither a sync nor the next look.
//! State and messages are in the database, so they survive restarts, and several processes tell everything
//! once. Only while the database does not answer, a process keeps both in its memory.
//!
//! Owns which conditions are worth an alert ([`condition`]), what messages say ([`message`]) and how they
//! are sent ([`mod@send`]). Must not know the platform's API, clap or SQL.

mod condition;
mod message;
mod send;
mod watch;

pub use condition::Kind;
pub use message::{Group, Notice};
pub use send::{Channel, SendError, send};
pub use watch::{Subject, Watch, Watched};
